"""Compiles kernel source to machine code.

Numba lowers the source for the selected CPU (``numba_cpu``), and LLVM, in worker processes (``workers``), makes an object
file of it, which is kept on disk (``cache``) and loaded from there by later processes. Numba is imported when a kernel is
compiled, not when it is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from .. import forks
from ..interrupts import uninterrupted
from . import cache, machine, workers
from .numba_version import check_version

_lock = threading.RLock()
forks.waits_for(_lock)


@dataclass
class Stats:
    """Counts for this process."""

    compiled: int = 0
    loaded: int = 0  # from disk
    seconds: float = 0.0  # spent compiling


stats = Stats()


def sources() -> list[Path]:
    """The source files that determine the code of kernels and native functions."""
    from ... import codegen

    here, text = Path(__file__).parent, Path(codegen.__file__ or "").parent
    names = ("backend", "machine", "compile", "numba_cpu", "lower", "intrinsics", "arithmetic", "vector")
    files = [here / f"{name}.py" for name in names]
    support = ("driver", "team", "gemm", "contraction", "direct", "winograd", "winograd_gradient")
    files += [here.parent / "support" / f"{name}.py" for name in support]
    files.append(here.parent / "programs" / "timing.py")
    functions = ("math", "circular", "error", "powers", "binary", "special", "inverse", "contraction")
    return files + [text / f"{name}.py" for name in functions]


@functools.cache
def _meaning() -> str:
    """What determines the code of kernels and native functions, besides the CPU: the sources, and the versions of compilers."""
    # Numba's version, without importing Numba, or the package metadata, which takes as long as a small kernel.
    numba = find_spec("numba")
    versions = [Path(place) / "_version.py" for place in (numba.submodule_search_locations if numba else None) or ()]
    content = hashlib.sha256(b"".join(f.read_bytes() for f in [*sources(), *versions])).hexdigest()
    return f"{content}|{llvmlite.__version__}"


def key(source: str) -> str:
    """The content address of a kernel: its text, its compiler, and the CPU."""
    return hashlib.sha256(f"{_meaning()}\n{machine.selected()}\n{source}".encode()).hexdigest()[:40]


@functools.cache
def _compiler() -> Callable[[str, str], str]:
    """The function by which Numba lowers a kernel, given its text and name, to LLVM IR. Raises ImportError for an unsupported
    Numba version.
    """
    check_version()
    from .numba_cpu import instructions  # imports Numba: only when something is compiled

    return instructions


@uninterrupted
def _instructions(source: str, symbol: str) -> str:
    with _lock:
        return _compiler()(source, symbol)


def _produced(source: str, symbol: str, form: str) -> bytes:
    return workers.produce(_instructions(source, symbol), machine.selected().described, form)[0]


def llvm_ir(source: str) -> str:
    """The optimised LLVM IR of a kernel."""
    return _produced(source, "kernel", "ir").decode()


def assembly(source: str) -> str:
    """The machine code of a kernel, as text."""
    return _produced(source, "kernel", "asm").decode()


def machine_texts(kernels: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The optimised LLVM IR and the assembly of each kernel; ``kernels`` gives the names for them by the kernels' texts."""
    cpu = machine.selected().described
    with workers.Batch(len(kernels)) as batch:
        answers = {source: batch.produce(_instructions(source, "kernel"), cpu, "ir+asm") for source in kernels}
        found = {source: answer.result()[0].decode() for source, answer in answers.items()}
    ir_and_asm = {source: renamed(text, kernels[source]).partition("\0") for source, text in found.items()}
    return {source: (ir, asm) for source, (ir, _, asm) in ir_and_asm.items()}


def renamed(text: str, name: str) -> str:
    """LLVM IR or assembly in which the kernel's symbol has its name."""
    return re.sub(r'(?<![\w.%$"])(@?)kernel(?=[(:\s,-]|$)', rf"\g<1>{name}", text, flags=re.MULTILINE)


def object_code(source: str, symbol: str) -> bytes:
    """An object file with the kernel under that name, for the selected CPU; it may need functions of the C library."""
    return _produced(source, symbol, "object")


@uninterrupted
def native_object(code: str, symbol: str) -> bytes:
    """An object file, for the selected CPU, of LLVM IR in which ``SYMBOL`` is replaced by a name."""
    module = llvm.parse_assembly(code.replace("SYMBOL", symbol))
    return machine.target_machine(machine.selected()).emit_object(module)


def _linkable(code: bytes, functions: Iterable[str]) -> bytes:
    """An object file that this process can link.

    Raises NotImplementedError if it needs a function that this process does not have, because the linker would abort.
    """
    for name in functions:
        if llvm.address_of_symbol(name) is None:
            raise NotImplementedError(f"a kernel needs {name!r}, which this process does not have")
    return code


class _Loader:
    """The process's linker: object files in, addresses out."""

    def __init__(self) -> None:
        target = machine.target_machine(machine.cpu_named("host"), jit=True)
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
        self.addresses: dict[str, int] = {}

    def add(self, code: bytes, *symbols: str) -> None:
        self.engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self.engine.finalize_object()
        for symbol in symbols:
            address = self.engine.get_function_address(symbol)
            if not address:
                raise RuntimeError(f"the object file has no symbol {symbol}")
            self.addresses[symbol] = address


@functools.cache
def _loader() -> _Loader:
    return _Loader()


def load(sources: Iterable[str], watched: Callable[[list[str]], Iterable[str]] = iter) -> list[int]:
    """The address of each kernel; compiles those that are neither loaded nor on disk.

    ``watched`` is given the kernels that are compiled, and yields them one by one. Raises RuntimeError if code for the selected
    CPU cannot run on this machine.
    """
    machine.check_runs_here(machine.selected())
    with _lock:
        wanted = list(sources)
        symbols = {source: f"k_{key(source)}" for source in wanted}
        missing = [source for source, symbol in symbols.items() if not _found(symbol)]
        if missing:
            _compile(missing, symbols, watched)
        addresses = _loader().addresses
        return [addresses[symbols[source]] for source in wanted]


@uninterrupted
def _found(symbol: str) -> bool:
    """True if a kernel is loaded, now or before, without compiling it."""
    if symbol in _loader().addresses:
        return True
    code = cache.read(symbol)
    if code is None:
        return False
    _loader().add(code, symbol)
    stats.loaded += 1
    return True


def _compile(sources: list[str], symbols: dict[str, str], watched: Callable[[list[str]], Iterable[str]]) -> None:
    """Compiles and loads kernels. While workers run LLVM, this thread lowers the next kernels."""
    begin = time.perf_counter()
    cpu, waiting = machine.selected().described, iter(sources)
    with workers.Batch(len(sources)) as batch:
        answers: dict[str, Future[workers.Answer]] = {}
        for n, source in enumerate(watched(sources)):
            for later in itertools.islice(waiting, max(0, n + 1 + 2 * batch.width - len(answers))):
                answers[later] = batch.produce(_instructions(later, symbols[later]), cpu, "object")
            _keep(symbols[source], _linkable(*answers[source].result()))
    stats.seconds += time.perf_counter() - begin


@uninterrupted
def _keep(symbol: str, code: bytes) -> None:
    """Stores and loads a new object file."""
    cache.write(symbol, code)
    _loader().add(code, symbol)
    stats.compiled += 1


@uninterrupted
def native(what: str, code: Callable[[], str], names: Iterable[str]) -> dict[str, int]:
    """The addresses of runtime functions, given as LLVM IR in which they are called SYMBOL_name.

    ``what`` identifies the code, together with the source files that generate it.
    """
    machine.check_runs_here(machine.selected())
    with _lock:
        symbol = f"n_{key(what)}"
        loader = _loader()
        wanted = {name: f"{symbol}_{name}" for name in names}
        if any(s not in loader.addresses for s in wanted.values()):
            object_file = cache.read(symbol)
            if object_file is None:
                object_file = native_object(code(), symbol)
                cache.write(symbol, object_file)
            loader.add(object_file, *wanted.values())
        return {name: loader.addresses[s] for name, s in wanted.items()}
