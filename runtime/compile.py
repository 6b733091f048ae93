"""Kernel source to machine code.

The source is translated to LLVM IR (``lower``), optimised for this CPU with vectors of full width, compiled to an object file
that exports one symbol, and kept on disk (``cache``), from where the next process loads it.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from . import cache

_lock = threading.RLock()


@dataclass
class Stats:
    """What this process has done so far."""

    compiled: int = 0
    loaded: int = 0  # from disk
    seconds: float = 0.0  # spent compiling


stats = Stats()


@functools.cache
def _host() -> tuple[str, str]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    # Without this LLVM halves the vectors on CPUs that once lowered their clock for wide ones.
    return llvm.get_host_cpu_name(), f"{features},-prefer-256-bit" if "+avx512f" in features else features


def _machine(jit: bool) -> llvm.TargetMachine:
    name, features = _host()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=name,
        features=features,
        opt=3,
        # Absolute addresses of 64 bits: a large process may have code and its constants further apart than 32 can say.
        reloc="static",
        codemodel="large",
        jit=jit,
    )


@functools.cache
def _toolchain() -> str:
    from .. import codegen

    # What kernel text means is decided by these files, and what native functions are.
    here, text = Path(__file__).parent, Path(codegen.__file__ or "").parent
    files = [
        here / f"{name}.py" for name in ("compile", "lower", "intrinsics", "arithmetic", "vector", "driver", "team", "gemm")
    ]
    files += [text / f"{name}.py" for name in ("math", "circular", "error", "powers", "special")]
    meaning = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    return "|".join((meaning, llvmlite.__version__, *_host()))


def key(source: str) -> str:
    """The content address of a kernel: its text, what translates it, and the CPU."""
    return hashlib.sha256(f"{_toolchain()}\n{source}".encode()).hexdigest()[:40]


def _optimised(source: str, symbol: str) -> llvm.ModuleRef:
    from .lower import lower  # not before something is compiled

    text = lower(source, symbol)
    module = llvm.parse_assembly(text)
    machine = _machine(jit=False)
    module.triple, module.data_layout = llvm.get_process_triple(), str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = True
    options.loop_unrolling = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    if "alwaysinline" in text:  # what loops over vectors call, once they are such (``vector``)
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.add_instruction_combine_pass()
        passes.run(module, builder)
    module.verify()
    for f in module.functions:
        # The linker would end the process.
        if f.is_declaration and not f.name.startswith("llvm.") and llvm.address_of_symbol(f.name) is None:
            raise NotImplementedError(f"a kernel needs {f.name!r}, which this process does not have")
    return module


def llvm_ir(source: str) -> str:
    """The optimised LLVM IR of a kernel."""
    with _lock:
        return str(_optimised(source, "kernel"))


def assembly(source: str) -> str:
    """The machine code of a kernel, as text."""
    with _lock:
        return _machine(jit=False).emit_assembly(_optimised(source, "kernel"))


class _Loader:
    """The process's linker: object files in, addresses out."""

    def __init__(self) -> None:
        _host()
        empty = llvm.parse_assembly("")
        self.engine = llvm.create_mcjit_compiler(empty, _machine(jit=True))
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
    """The address of each kernel, compiling those that neither this process nor the disk has."""
    found: dict[str, int] = {}
    with _lock:
        return [found.get(s) or found.setdefault(s, _load(s)) for s in sources]


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
        code = _machine(jit=False).emit_object(_optimised(source, symbol))
        cache.write(symbol, code)
        stats.compiled += 1
        stats.seconds += time.perf_counter() - begin
    loader.add(code, symbol)
    return loader.addresses[symbol]


def features() -> str:
    """The instruction sets of this CPU, as LLVM names them."""
    return _host()[1]


def native(what: str, code: Callable[[], str], names: Iterable[str]) -> dict[str, int]:
    """The addresses of functions of the runtime, given as LLVM IR, which are called SYMBOL_name there.

    ``what`` identifies the code together with the text of the files that write it.
    """
    with _lock:
        symbol = f"n_{key(what)}"
        loader = _loader()
        wanted = {name: f"{symbol}_{name}" for name in names}
        if any(s not in loader.addresses for s in wanted.values()):
            object_code = cache.read(symbol)
            if object_code is None:
                object_code = _machine(jit=False).emit_object(llvm.parse_assembly(code().replace("SYMBOL", symbol)))
                cache.write(symbol, object_code)
            loader.add(object_code, *wanted.values())
        return {name: loader.addresses[s] for name, s in wanted.items()}
