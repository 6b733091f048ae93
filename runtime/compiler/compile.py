"""Compiles kernel source to machine code.

Numba compiles the source for the selected CPU (``numba_cpu``) to an object file, which is kept on disk (``cache``) and
loaded from there by later processes. Numba is imported when a kernel is compiled, not when it is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from ..interrupts import uninterrupted
from . import cache, machine
from .numba_version import check_version

_lock = threading.RLock()


@dataclass
class Stats:
    """Counts for this process."""

    compiled: int = 0
    loaded: int = 0  # from disk
    seconds: float = 0.0  # spent compiling


stats = Stats()


@functools.cache
def _meaning() -> str:
    """What determines the code of kernels and native functions, besides the CPU: the relevant source files, and the compilers'
    versions.
    """
    from ... import codegen

    here, text = Path(__file__).parent, Path(codegen.__file__ or "").parent
    names = ("machine", "compile", "numba_cpu", "lower", "intrinsics", "arithmetic", "vector")
    files = [here / f"{name}.py" for name in names]
    files += [here.parent / "support" / f"{name}.py" for name in ("driver", "team", "gemm")]
    files.append(here.parent / "programs" / "timing.py")
    files += [text / f"{name}.py" for name in ("math", "circular", "error", "powers", "special")]
    # Numba's version, without importing Numba, or the package metadata, which takes as long as a small kernel.
    numba = find_spec("numba")
    files += [Path(place) / "_version.py" for place in (numba.submodule_search_locations if numba else None) or ()]
    content = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    return f"{content}|{llvmlite.__version__}"


def key(source: str) -> str:
    """The content address of a kernel: its text, its compiler, and the CPU."""
    return hashlib.sha256(f"{_meaning()}\n{machine.selected()}\n{source}".encode()).hexdigest()[:40]


@functools.cache
def _compiler() -> Callable[[str, str], Any]:
    """The function by which Numba compiles a kernel, given its text and name. Raises ImportError for an unsupported Numba
    version.
    """
    check_version()
    from .numba_cpu import library  # imports Numba: only when something is compiled

    return library


@uninterrupted
def llvm_ir(source: str) -> str:
    """The optimised LLVM IR of a kernel."""
    with _lock:
        return _compiler()(source, "kernel").get_llvm_str()


@uninterrupted
def assembly(source: str) -> str:
    """The machine code of a kernel, as text."""
    with _lock:
        return _compiler()(source, "kernel").get_asm_str()


@uninterrupted
def object_code(source: str, symbol: str) -> bytes:
    """An object file with the kernel under that name, for the selected CPU; it may need functions of the C library."""
    with _lock:
        return _compiler()(source, symbol).emit_native_object()


@uninterrupted
def native_object(code: str, symbol: str) -> bytes:
    """An object file, for the selected CPU, of LLVM IR in which ``SYMBOL`` is replaced by a name."""
    module = llvm.parse_assembly(code.replace("SYMBOL", symbol))
    return machine.target_machine(machine.selected()).emit_object(module)


def _linkable(source: str, symbol: str) -> bytes:
    """An object file that this process can link.

    Raises NotImplementedError if it needs a function that this process does not have, because the linker would abort.
    """
    library = _compiler()(source, symbol)
    for name in library.external_functions():
        if llvm.address_of_symbol(name) is None:
            raise NotImplementedError(f"a kernel needs {name!r}, which this process does not have")
    return library.emit_native_object()


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


def load(sources: Iterable[str]) -> list[int]:
    """The address of each kernel; compiles those that are neither loaded nor on disk.

    Raises RuntimeError if code for the selected CPU cannot run on this machine.
    """
    machine.check_runs_here(machine.selected())
    found: dict[str, int] = {}
    with _lock:
        return [found.get(s) or found.setdefault(s, _load(s)) for s in sources]


@uninterrupted
def _load(source: str) -> int:
    symbol = f"k_{key(source)}"
    loader = _loader()
    if symbol in loader.addresses:
        return loader.addresses[symbol]
    code = cache.read(symbol)
    if code is not None:
        stats.loaded += 1
    else:
        begin = time.perf_counter()
        code = _linkable(source, symbol)
        cache.write(symbol, code)
        stats.compiled += 1
        stats.seconds += time.perf_counter() - begin
    loader.add(code, symbol)
    return loader.addresses[symbol]


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
