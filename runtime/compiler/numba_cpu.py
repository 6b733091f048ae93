"""A Numba target for kernels on the CPU. This file has all of the CPU back end that depends on Numba's internals.

A kernel is passed to Numba as a function of one statement, the call of an object of a Numba type (``Body``). Numba analyses
the function, types it, and creates the module. ``lower`` writes the body's instructions through the builder that Numba passes
to lowering functions. Differences from Numba's own CPU target, and the
reasons:

- the calling convention is C's, ``void (ptr args, i64 start, i64 stop)``: no status and no exceptions, hence no wrappers;
- no registries for Python's and NumPy's library, which take 0.35 s to load, and no reference counting;
- the CPU is a parameter, vectors have their full width, and modules are optimised once;
- a pipeline with only the passes that a kernel needs;
- no execution engine, and no code generation here: ``workers`` make object code, and ``compile`` loads it, new or cached.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import callconv, codegen, compiler, cpu, datamodel, imputils, typed_passes, types, typing, untyped_passes
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.datamodel import models
from numba.core.target_extension import CPU as NumbaCPU
from numba.core.target_extension import target_registry
from numba.core.typing.typeof import typeof_impl

from . import machine
from .lower import write
from .vector import annotated

_NAME = "tracer-cpu"
_ARGUMENTS = (types.CPointer(types.int64), types.int64, types.int64)


class _Target(NumbaCPU):
    """The kernels' target in Numba's hierarchy."""


target_registry[_NAME] = _Target


class Body:
    """A kernel's body, as text."""

    def __init__(self, source: str) -> None:
        self.source = source


class BodyType(types.Callable, types.Opaque):
    """The type of a ``Body``: a call of it returns nothing, and is lowered by ``lower.write``."""

    def __init__(self, source: str) -> None:
        self.source = source
        super().__init__(f"Body({hash(source):x})")

    @property
    def key(self) -> str:
        return self.source

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        return typing.signature(types.void, *args, recvr=self)

    def get_call_signatures(self) -> tuple:
        return (), False

    def get_impl_key(self, sig: Any) -> Any:
        return BodyType


datamodel.register_default(BodyType)(models.OpaqueModel)
_REGISTRY = imputils.Registry("tracer")


@typeof_impl.register(Body)
def _(value: Body, c: Any) -> BodyType:
    return BodyType(value.source)


@_REGISTRY.lower_constant(types.NoneType)
@_REGISTRY.lower_constant(BodyType)
def _(context: Any, builder: Any, type_: Any, value: Any) -> Any:
    return context.get_dummy_value()


@_REGISTRY.lower(BodyType, types.VarArg(types.Any))
def _(context: Any, builder: ir.IRBuilder, sig: Any, values: list) -> Any:
    body, *_ = sig.args
    write(builder, body.source, *values[1:])
    return context.get_dummy_value()


class _CConvention(callconv.BaseCallConv):
    """C's calling convention for functions that return nothing."""

    def get_function_type(self, restype: Any, argtypes: Any) -> ir.FunctionType:
        return ir.FunctionType(ir.VoidType(), [self.context.get_value_type(t) for t in argtypes])

    def decorate_function(self, fn: ir.Function, args: Any, fe_argtypes: Any, noalias: bool = False) -> None:
        fn.args[0].add_attribute("noalias")

    def get_arguments(self, func: ir.Function) -> Any:
        return func.args

    def decode_arguments(self, builder: Any, argtypes: Any, func: ir.Function) -> list:
        return list(func.args)

    def init_call_helper(self, builder: Any) -> None:
        return None

    def return_value(self, builder: ir.IRBuilder, retval: Any) -> None:
        builder.ret_void()


class _Library(codegen.AOTCodeLibrary):
    """A module as text: LLVM's passes and code generation run elsewhere (``backend``)."""

    text = ""

    def add_ir_module(self, ir_module: ir.Module) -> None:
        if self.text:
            raise NotImplementedError("Numba makes two modules of a kernel")
        ir_module.data_layout = self._codegen._data_layout
        self.text = annotated(ir_module)


class _Codegen(codegen.AOTCPUCodegen):
    """Creates libraries for one CPU."""

    _library_class = _Library

    def __init__(self, target: machine.CPU) -> None:
        self._target = target
        super().__init__("tracer")

    def _init(self, llvm_module: Any) -> None:
        self._tm = machine.target_machine(self._target)
        self._tm_features = self._target.features
        self._target_data = self._tm.target_data
        self._data_layout = str(self._target_data)

    def _create_empty_module(self, name: str) -> ir.Module:
        module = super()._create_empty_module(name)
        module.triple = self._target.triple
        return module

    def _check_llvm_bugs(self) -> None:
        """Numba checks for a bug of LLVM 3.4 at every compilation; not needed here."""


class _Context(cpu.CPUContext):
    """Lowers one kind of call, and nothing else."""

    def __init__(self, typing_context: Any, target: machine.CPU) -> None:
        self._target = target
        super().__init__(typing_context, _NAME)

    def init(self) -> None:
        self.is32bit = False
        self._internal_codegen = _Codegen(self._target)  # type: ignore[assignment]

    def load_additional_registries(self) -> None:
        self.install_registry(_REGISTRY)

    def refresh(self) -> None:
        """Loads the registry once, because it does not change."""
        if not self._registries:
            self.load_additional_registries()

    def post_lowering(self, mod: Any, library: Any) -> None:
        """There is no run-time library to link with."""

    def mangler(self, name: str, types: Any, *, abi_tags: Any = (), uid: Any = None) -> str:
        """Kernels keep their names, which are content addresses."""
        return name if name.startswith(".NumbaEnv.") else name.rpartition(".")[2]

    @property
    def call_conv(self) -> _CConvention:
        return _CConvention(self)


class _Typing(typing.BaseContext):
    """No known functions: a call in a kernel has its own type information."""

    def refresh(self) -> None:
        """Nothing to load."""


class _Pipeline(compiler.CompilerBase):
    def define_pipelines(self) -> list:
        passes = PassManager("kernel")
        passes.add_pass(untyped_passes.TranslateByteCode, "bytecode")
        passes.add_pass(untyped_passes.FixupArgs, "arguments")
        passes.add_pass(untyped_passes.IRProcessing, "post-processing")
        passes.add_pass(typed_passes.NopythonTypeInference, "types")
        passes.add_pass(typed_passes.NativeLowering, "lowering")
        passes.add_pass(typed_passes.NoPythonBackend, "result")
        passes.finalize()
        return [passes]


@functools.cache
def _contexts(target: machine.CPU) -> tuple[_Typing, _Context]:
    typing_context = _Typing()
    return typing_context, _Context(typing_context, target)


def _flags() -> Any:
    flags: Any = compiler.Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.nrt = flags.boundscheck = False
    flags.error_model = "numpy"
    return flags


compiled = 0  # number of kernels that this process has compiled


@global_compiler_lock
def instructions(source: str, symbol: str) -> str:
    """A kernel as LLVM IR for the selected CPU. Raises TypeError or NameError for text that is not a kernel."""
    global compiled
    body = Body(source)

    def kernel(args: Any, start: int, stop: int) -> None:
        body(args, start, stop)  # type: ignore[operator]

    kernel.__name__ = kernel.__qualname__ = symbol
    typing_context, context = _contexts(machine.selected())
    result = compiler.compile_extra(
        typing_context, context, kernel, _ARGUMENTS, types.void, _flags(), {}, pipeline_class=_Pipeline
    )
    compiled += 1
    text: str = result.library.text
    return text
