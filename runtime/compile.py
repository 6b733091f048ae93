"""Kernel source to machine code.

Numba types the source and lowers it to LLVM IR; from there on it is ours: optimised for this CPU with vectors of
full width, compiled to an object file that exports one symbol, kept on disk (``cache``) and
loaded without Numba the next time.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        reloc="pic" if not jit else "default",
        codemodel="default" if not jit else "jitdefault",
        jit=jit,
    )


@functools.cache
def _toolchain() -> str:
    from importlib.metadata import version

    from ..codegen import math

    # What kernel text means is decided by these files.
    here = Path(__file__).parent
    files = (here / "compile.py", here / "intrinsics.py", Path(math.__file__))
    meaning = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    return "|".join((meaning, version("numba"), llvmlite.__version__, *_host()))


def key(source: str) -> str:
    """The content address of a kernel: its text, what translates it, and the CPU."""
    return hashlib.sha256(f"{_toolchain()}\n{source}".encode()).hexdigest()[:40]


def _lower(source: str) -> tuple[str, str]:
    """LLVM IR of the kernel's source, not yet optimised, and the name of its function."""
    from numba.core import compiler, types
    from numba.core.registry import cpu_target

    from .intrinsics import NAMESPACE

    space: dict[str, Any] = dict(NAMESPACE)
    exec(compile(source, "<kernel>", "exec"), space)
    flags: Any = compiler.Flags()
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.nrt = False
    flags.boundscheck = False
    flags.error_model = "numpy"
    typing, target = cpu_target.typing_context, cpu_target.target_context
    typing.refresh()
    target.refresh()
    args = (types.CPointer(types.int64), types.int64, types.int64)
    result = compiler.compile_extra(typing, target, space["kernel"], args, types.void, flags, {})
    return str(result.library._final_module), result.fndesc.llvm_func_name


def _wrap(text: str, inner: str, symbol: str) -> str:
    """Numba's convention, (ret, exception, args...) -> status, behind the program's: (args, start, stop)."""
    name = f'@"{inner}"' if f'@"{inner}"' in text else f"@{inner}"
    return (
        text
        + f"""
define void @{symbol}(ptr noalias %args, i64 %start, i64 %stop) {{
  %ret = alloca ptr
  %exc = alloca ptr
  %status = call i32 {name}(ptr %ret, ptr %exc, ptr %args, i64 %start, i64 %stop)
  ret void
}}
"""
    )


def _optimised(source: str, symbol: str) -> llvm.ModuleRef:
    text, inner = _lower(source)
    module = llvm.parse_assembly(_wrap(text, inner, symbol))
    for f in module.functions:
        if f.name != symbol and not f.is_declaration:
            f.linkage = "internal"
    for g in module.global_variables:
        if not g.is_declaration:
            g.linkage = "internal"
    machine = _machine(jit=False)
    module.triple, module.data_layout = llvm.get_process_triple(), str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = True
    options.loop_unrolling = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
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

    def add(self, code: bytes, symbol: str) -> int:
        self.engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self.engine.finalize_object()
        address = self.engine.get_function_address(symbol)
        if not address:
            raise RuntimeError(f"the object file has no symbol {symbol}")
        self.addresses[symbol] = address
        return address


@functools.cache
def _loader() -> _Loader:
    return _Loader()


def load(sources: Iterable[str]) -> list[int]:
    """The address of each kernel, compiling those that neither this process nor the disk has."""
    with _lock:
        return [_load(s) for s in sources]


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
    return loader.add(code, symbol)


# A program is a header of seven words: steps, their number, patches, their number, slots, arguments, status cells.
# A patch (position, slot) writes the address in a slot to a position in the argument blocks; then the steps run in order,
# up to one that has written to its status cell.
_DRIVER = """
define i32 @SYMBOL(ptr %header) {
entry:
  %h1 = getelementptr i64, ptr %header, i64 1
  %h2 = getelementptr i64, ptr %header, i64 2
  %h3 = getelementptr i64, ptr %header, i64 3
  %h4 = getelementptr i64, ptr %header, i64 4
  %h5 = getelementptr i64, ptr %header, i64 5
  %h6 = getelementptr i64, ptr %header, i64 6
  %steps = load ptr, ptr %header
  %count = load i64, ptr %h1
  %patches = load ptr, ptr %h2
  %patch_count = load i64, ptr %h3
  %slots = load ptr, ptr %h4
  %arguments = load ptr, ptr %h5
  %cells = load ptr, ptr %h6
  br label %patch_test
patch_test:
  %j = phi i64 [0, %entry], [%j_next, %patch]
  %patch_more = icmp slt i64 %j, %patch_count
  br i1 %patch_more, label %patch, label %step_test
patch:
  %j2 = mul i64 %j, 2
  %q0 = getelementptr i64, ptr %patches, i64 %j2
  %q1 = getelementptr i64, ptr %q0, i64 1
  %position = load i64, ptr %q0
  %slot = load i64, ptr %q1
  %from = getelementptr i64, ptr %slots, i64 %slot
  %address = load i64, ptr %from
  %to = getelementptr i64, ptr %arguments, i64 %position
  store i64 %address, ptr %to
  %j_next = add i64 %j, 1
  br label %patch_test
step_test:
  %i = phi i64 [0, %patch_test], [%i_next, %passed]
  %step_more = icmp slt i64 %i, %count
  br i1 %step_more, label %step, label %done
step:
  %row = mul i64 %i, 4
  %p0 = getelementptr i64, ptr %steps, i64 %row
  %p1 = getelementptr i64, ptr %p0, i64 1
  %p2 = getelementptr i64, ptr %p0, i64 2
  %p3 = getelementptr i64, ptr %p0, i64 3
  %kernel = load ptr, ptr %p0
  %args = load ptr, ptr %p1
  %start = load i64, ptr %p2
  %stop = load i64, ptr %p3
  call void %kernel(ptr %args, i64 %start, i64 %stop)
  %pair = mul i64 %i, 2
  %cell = getelementptr i64, ptr %cells, i64 %pair
  %status = load i64, ptr %cell
  %failed = icmp ne i64 %status, 0
  br i1 %failed, label %stopped, label %passed
passed:
  %i_next = add i64 %i, 1
  br label %step_test
done:
  ret i32 0
stopped:
  ret i32 1
}
"""


@functools.cache
def driver() -> int:
    """The address of the function that runs a program, given the address of its header."""
    with _lock:
        symbol = f"run_{key(_DRIVER)}"
        code = cache.read(symbol)
        if code is None:
            _host()
            code = _machine(jit=False).emit_object(llvm.parse_assembly(_DRIVER.replace("SYMBOL", symbol)))
            cache.write(symbol, code)
        return _loader().add(code, symbol)
