"""A Numba target for kernels on NVIDIA GPUs. This file has everything that depends on numba-cuda's internals.

As on the CPU (``numba_cpu``) a kernel is a function of one statement, the call of a ``Body``. numba-cuda analyses the
function, types it, lowers it and compiles it with NVVM. ``grid`` writes the body's instructions through the builder that
numba-cuda passes to lowering functions. Differences from numba-cuda's own target: arguments are passed by value and never
checked, arrays do not overlap, products and sums are not contracted, and no registries of Python's and NumPy's library are
loaded.

No GPU and no driver are needed: NVVM produces PTX on any machine.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from llvmlite import ir
from numba.core.compiler_lock import global_compiler_lock
from numba.cuda import compiler, datamodel, types, typing
from numba.cuda.core import callconv, imputils, typed_passes, untyped_passes
from numba.cuda.core.compiler_machinery import PassManager
from numba.cuda.cudadrv import nvvm
from numba.cuda.datamodel import models
from numba.cuda.flags import CUDAFlags
from numba.cuda.target import CUDATargetContext
from numba.cuda.typing.typeof import typeof_impl
from numba.cuda.utils import numba_target_override

from .grid import Signature, write
from .intrinsics import I64
from .nvvm import GLOBAL, stored_type

OLDEST, NEWEST = (0, 30), (0, 30)  # the tested versions


def check_version(found: str = version("numba-cuda")) -> None:
    """Raises ImportError for an untested version of numba-cuda."""
    if not OLDEST <= tuple(int(n) for n in found.split(".")[:2]) <= NEWEST:
        low, high = (".".join(map(str, v)) for v in (OLDEST, NEWEST))
        raise ImportError(f"numba-cuda {found} is not supported: install {low} to {high} (pip install 'tracer[cuda]')")


check_version()


class Body:
    """A kernel's body, as text, for blocks of ``threads``."""

    def __init__(self, source: str, threads: int) -> None:
        self.source, self.threads = source, threads


class BodyType(types.Callable, types.Opaque):
    """The type of a ``Body``: a call of it returns nothing, and is lowered by ``grid.write``."""

    def __init__(self, body: Body) -> None:
        self.body = body
        super().__init__(f"Body({hash(body.source):x}, {body.threads})")

    @property
    def key(self) -> tuple:
        return self.body.source, self.body.threads

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        return typing.signature(types.void, *args, recvr=self)

    def get_call_signatures(self) -> tuple:
        return (), False

    def get_impl_key(self, sig: Any) -> Any:
        return BodyType


_REGISTRY = imputils.Registry("tracer-cuda")
datamodel.registry.register_default(BodyType)(models.OpaqueModel)


@typeof_impl.register(Body)
def _(value: Body, c: Any) -> BodyType:
    return BodyType(value)


@_REGISTRY.lower_constant(types.NoneType)
@_REGISTRY.lower_constant(BodyType)
def _(context: Any, builder: Any, type_: Any, value: Any) -> Any:
    return context.get_dummy_value()


@_REGISTRY.lower(BodyType, types.VarArg(types.Any))
def _(context: Any, builder: ir.IRBuilder, sig: Any, values: list) -> Any:
    body = sig.args[0].body
    write(builder, body.source, list(builder.function.args), body.threads)
    return context.get_dummy_value()


class _KernelConvention(callconv.BaseCallConv):
    """A kernel's calling convention: arguments by value, no result, and arrays that do not overlap."""

    needs_env = False

    def __init__(self, context: Any, signature: Signature, symbol: str):
        super().__init__(context)
        self.signature, self.symbol = signature, symbol

    def _make_call_helper(self, builder: Any) -> None:
        return None

    def get_function_type(self, restype: Any, argtypes: Any) -> ir.FunctionType:
        pointers = [stored_type(dtype).as_pointer(GLOBAL) for dtype in self.signature.dtypes]
        return ir.FunctionType(ir.VoidType(), [*pointers, *[I64] * (self.signature.integers + 2)])

    def decorate_function(self, fn: ir.Function, args: Any, fe_argtypes: Any, noalias: bool = False) -> None:
        for k, (parameter, name) in enumerate(zip(fn.args, args, strict=True)):
            parameter.name = name
            if k < len(self.signature.dtypes):
                parameter.add_attribute("noalias")
                # Four elements: NVVM fails to select instructions for the vectors of 8 halves that it makes otherwise.
                parameter.attributes.align = min(16, 4 * self.signature.dtypes[k].itemsize)

    def get_arguments(self, func: ir.Function) -> Any:
        return func.args

    def decode_arguments(self, builder: Any, argtypes: Any, func: ir.Function) -> list:
        return list(func.args)

    def return_value(self, builder: ir.IRBuilder, retval: Any) -> None:
        builder.ret_void()

    def mangler(self, name: str, argtypes: Any, *, abi_tags: Any = None, uid: Any = None) -> str:
        return self.symbol


class _Pipeline(compiler.CompilerBase):
    def define_pipelines(self) -> list:
        passes = PassManager("kernel")
        passes.add_pass(compiler.CUDATranslateBytecode, "bytecode")
        passes.add_pass(untyped_passes.FixupArgs, "arguments")
        passes.add_pass(untyped_passes.IRProcessing, "post-processing")
        passes.add_pass(typed_passes.NopythonTypeInference, "types")
        passes.add_pass(compiler.CreateLibrary, "library")
        passes.add_pass(compiler.CUDANativeLowering, "lowering")
        passes.add_pass(compiler.CUDABackend, "result")
        passes.finalize()
        return [passes]


class _Context(CUDATargetContext):
    """Lowers one kind of call, and nothing else."""

    def load_additional_registries(self) -> None:
        self.install_registry(_REGISTRY)

    def refresh(self) -> None:
        """Loads the registry once, because it does not change."""
        if not self._registries:
            self.load_additional_registries()


class _Typing(typing.BaseContext):
    """No known functions: a call in a kernel has its own type information."""

    def refresh(self) -> None:
        """Nothing to load."""


_TYPING = _Typing()
_CONTEXT = _Context(_TYPING)


def _parameters(signature: Signature) -> tuple:
    """The Numba types of a kernel's parameters."""
    elements = [getattr(types, {"bool": "uint8", "bfloat16": "int16"}.get(d.name, d.name)) for d in signature.dtypes]
    return (*(types.CPointer(e, addrspace=GLOBAL) for e in elements), *[types.int64] * (signature.integers + 2))


@global_compiler_lock
def library(source: str, symbol: str, threads: int, capability: tuple[int, int] = (8, 0)) -> Any:
    """numba-cuda's code library of a kernel for blocks of ``threads``; ``llvm_strs`` and ``get_asm_strs`` are its forms."""
    signature = Signature.of(source)
    names = ", ".join(signature.names)
    space: dict[str, Any] = {"body": Body(source, threads)}
    exec(f"def kernel({names}):\n    body()", space)  # Python passes many arguments in a tuple, which is not supported
    flags: Any = CUDAFlags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.nvvm_options = {"opt": 3, "fma": 0}
    flags.compute_capability = capability
    with numba_target_override():
        result = compiler.compile_extra(
            _TYPING,
            _CONTEXT,
            space["kernel"],
            _parameters(signature),
            types.void,
            flags,
            {},
            pipeline_class=_Pipeline,
            call_conv=_KernelConvention(_CONTEXT, signature, symbol),
            abi_info={},
        )
    made = result.library
    made.finalize()
    function = made.get_function(symbol)
    nvvm.set_cuda_kernel(function)
    nvvm.set_launch_bounds(function, threads)
    made._entry_name = symbol
    return made


def nvvm_ir(source: str, threads: int) -> str:
    """The kernel in NVVM's dialect, unoptimised."""
    return "\n".join(library(source, "kernel", threads).llvm_strs)


def ptx(source: str, threads: int, symbol: str = "kernel", capability: tuple[int, int] = (8, 0)) -> str:
    """The kernel as PTX for a compute capability and later ones."""
    (text,) = library(source, symbol, threads, capability).get_asm_strs(cc=capability)
    return text
