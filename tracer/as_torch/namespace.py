"""The module ``torch``: the public names of ``tracer``, and those that only PyTorch has."""

from __future__ import annotations

import builtins as _builtins
import importlib as _importlib
import sys as _sys
from types import ModuleType as _ModuleType
from typing import Any as _Any

import tracer as _tracer
from tracer.ir.types import DType as _DType

from . import (
    _C,
    _utils,
    amp,
    common_types,
    compiler,
    config,
    cuda,
    distributed,
    dlpack,
    hooks,
    hub,
    jit,
    library,
    onnx,
    ops,
    overrides,
    profiler,
    sparse,
    storage,
    testing,
    types,
    version,
)
from . import foreach as _foreach
from . import private as _private
from .absent import PACKAGES as _PACKAGES
from .absent import absent as _absent
from .amp import GradScaler, autocast, get_autocast_dtype, is_autocast_enabled
from .finder import DIFFERENT as _DIFFERENT
from .finder import offer_modules as _offer_modules
from .version import __version__

_HERE = {*globals(), *_DIFFERENT}
globals().update({name: value for name, value in vars(_tracer).items() if not name.startswith("_") and name not in _HERE})
_dynamo = compiler
__config__ = config
legacy_contiguous_format = _tracer.contiguous_format
sym_int, sym_float, sym_max, sym_min = _builtins.int, _builtins.float, _builtins.max, _builtins.min
sym_not = lambda a: not a
globals().update(_foreach.functions())
ScriptModule = jit.ScriptModule
UntypedStorage = TypedStorage = storage.UntypedStorage
sparse_coo_tensor, spmm, smm = sparse.sparse_coo_tensor, sparse.mm, sparse.mm
sparse.enter()
trace = _tracer.Tensor.trace  # the sum of a diagonal


def compile(model: _Any = None, **kwargs: _Any) -> _Any:
    """``tracer.trace``, for a function or module, or as a decorator. Keyword arguments have no effect, but for ``disable``."""
    if model is None:
        return lambda function: compile(function, **kwargs)
    return model if kwargs.get("disable") else _tracer.trace(model)


def save(obj: _Any, f: _Any, *args: _Any, **kwargs: _Any) -> None:
    """``tracer.save`` in PyTorch's format."""
    _tracer.save(obj, f, format="torch")


def _assert(condition: _Any, message: str) -> None:
    """Raises AssertionError with the message unless the condition holds."""
    assert condition, message


def _check(cond: _Any, message: _Any = None) -> None:
    """Raises RuntimeError with the message, or the result of calling it, unless the condition holds."""
    _check_with(RuntimeError, cond, message)


def _check_with(error_type: _Any, cond: _Any, message: _Any = None) -> None:
    """Raises an error of this type unless the condition holds."""
    if not cond:
        raise error_type(message() if callable(message) else "Expected cond to be True" if message is None else message)


def finfo(type: _Any = None) -> _Any:
    """``tracer.finfo``; also for floating-point types that tensors do not have."""
    if isinstance(type, _DType) or type is None:
        return _tracer.finfo(type)
    import ml_dtypes

    return ml_dtypes.finfo(type.__name__)


def _assert_async(input: _Any, message: str = "") -> None:
    """Raises RuntimeError with the message unless a tensor's element is not zero."""
    _check(_builtins.bool(input.item()), message or "Expected Tensor with single nonzero value, but got zero")


def _check_tensor_all(cond: _Any, message: _Any = None) -> None:
    """Raises RuntimeError unless all elements of a tensor are true."""
    _check(_builtins.bool(cond.all()), message)


def _shape_as_tensor(self: _Any) -> _Any:
    """The shape as a tensor."""
    return _tracer.tensor(list(self.shape))


def _sample_dirichlet(self: _Any, generator: _Any = None) -> _Any:
    """Samples of Dirichlet distributions with these concentrations along the last axis."""
    return _tracer.distributions.Dirichlet(self).sample()


def detach(input: _Any) -> _Any:
    """``input.detach()``."""
    return input.detach()


def set_printoptions(*args: _Any, **kwargs: _Any) -> None:
    """No effect: tensors are printed with PyTorch's default settings."""


def is_storage(obj: _Any) -> bool:
    """False: tensors have no storage objects."""
    return False


def typename(o: _Any) -> str:
    """The name of an object's type, for messages."""
    cls = type(o)
    return f"torch.{o.dtype.name}" if isinstance(o, _tracer.Tensor) else f"{cls.__module__}.{cls.__qualname__}"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """No effect: all algorithms are deterministic."""


def are_deterministic_algorithms_enabled() -> bool:
    """True."""
    return True


def get_deterministic_debug_mode() -> int:
    """0."""
    return 0


def is_autocast_cpu_enabled() -> bool:
    """Whether operations on the CPU are cast."""
    return is_autocast_enabled("cpu")


def is_autocast_cache_enabled() -> bool:
    """False: casts are not kept."""
    return False


def set_default_tensor_type(t: _Any) -> None:
    """Sets the default dtype by a name or class such as ``torch.DoubleTensor``, and the default device if it is CUDA's.

    Raises TypeError for others.
    """
    *path, kind = (t if isinstance(t, str) else t.__qualname__).split(".")
    if kind not in _FLOATING:
        raise TypeError(f"invalid type object: only floating-point types are supported as the default type, not {kind}")
    _tracer.set_default_dtype(_FLOATING[kind])
    if "cuda" in path:
        _tracer.set_default_device("cuda")


_FLOATING = {f"{d.ctype}Tensor": d for d in (_tracer.float16, _tracer.bfloat16, _tracer.float32, _tracer.float64)}


def set_deterministic_debug_mode(debug_mode: _Any) -> None:
    """No effect: all algorithms are deterministic."""


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """False."""
    return False


def set_warn_always(b: bool) -> None:
    """No effect: a warning is issued as Python's filters say."""


def is_warn_always_enabled() -> bool:
    """False."""
    return False


def get_device_module(device: _Any = None) -> _Any:
    """The module of functions for a kind of device."""
    return _importlib.import_module(f"torch.{_tracer.device('cpu' if device is None else device).type}")


def set_num_interop_threads(number: int) -> None:
    """No effect: operations run one after the other."""


def get_num_interop_threads() -> int:
    """1."""
    return 1


def set_flush_denormal(mode: bool) -> bool:
    """False: the setting is not supported."""
    return False


def __getattr__(name: str) -> _Any:
    """Imports a package that is not imported with the others, on first use."""
    if name in _PACKAGES or name in ("mps", "xpu", "multiprocessing"):
        return _importlib.import_module(f"torch.{name}")
    if name in _ABSENT:
        globals()[name] = found = _absent(name)
        return found
    if name in _DIFFERENT or not hasattr(_tracer, name):
        raise AttributeError(f"module 'torch' has no attribute {name!r}: tracer does not have it")
    return getattr(_tracer, name)


# Classes that programs name in annotations and tests of types; dtypes and layouts that tensors do not have.
_ABSENT = frozenset(
    [
        *(
            "BoolStorage",
            "ByteStorage",
            "CharStorage",
            "ShortStorage",
            "DoubleStorage",
            "FloatStorage",
            "HalfStorage",
            "IntStorage",
            "LongStorage",
            "Storage",
        ),
        *("Event", "Future", "OutOfMemoryError", "PyTorchFileReader", "Stream", "SymBool", "SymFloat", "SymInt", "TensorType"),
        *("chalf", "complex32", "float4_e2m1fn_x2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
        *("float8_e8m0fnu", "qint32", "qint8", "quint8", "jagged"),
        *("sparse_bsc", "sparse_bsr", "sparse_coo", "sparse_csc", "sparse_csr"),
    ]
)
_private.enter()
_offer_modules()
torch = functional = _sys.modules[__name__]  # ``torch.torch`` is ``torch``


class _Torch(_ModuleType):
    """A module that is called ``torch``, as packages expect; its functions are those of this package."""

    __name__ = property(lambda self: "torch")  # type: ignore[assignment]


torch.__class__ = _Torch
