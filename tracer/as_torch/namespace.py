"""The module ``torch``: the public names of ``tracer``, and those that only PyTorch has."""

from __future__ import annotations

import importlib as _importlib
from collections.abc import Callable as _Callable
from typing import Any as _Any

import tracer as _tracer

from . import amp, distributed, hub, jit, version
from .absent import fill as _fill
from .amp import GradScaler, autocast
from .finder import VERSION as __version__

globals().update({name: value for name, value in vars(_tracer).items() if not name.startswith("_")})

__path__: list[str] = []


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


def is_storage(obj: _Any) -> bool:
    """False: tensors have no storage objects."""
    return False


def typename(o: _Any) -> str:
    """The name of an object's type, for messages."""
    cls = type(o)
    return f"torch.{o.dtype.name}" if isinstance(o, _tracer.Tensor) else f"{cls.__module__}.{cls.__qualname__}"


def set_float32_matmul_precision(precision: str) -> None:
    """No effect: products of float32 are computed in float32."""


def get_float32_matmul_precision() -> str:
    """``"highest"``."""
    return "highest"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """No effect: all algorithms are deterministic."""


def are_deterministic_algorithms_enabled() -> bool:
    """True."""
    return True


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """False."""
    return False


def set_num_interop_threads(number: int) -> None:
    """No effect: operations run one after the other."""


def get_num_interop_threads() -> int:
    """1."""
    return 1


def _keep(fn: _Any = None, *args: _Any, **kwargs: _Any) -> _Any:
    """A decorator that returns the function."""
    return fn if callable(fn) else _keep


fx = _fill("fx", "Graph GraphModule Interpreter Node Proxy Tracer Transformer symbolic_trace", wrap=_keep)
_fill("fx.graph_module", "GraphModule _copy_attr")
_fill("fx.node", "Node")
onnx = _fill("onnx", "OperatorExportTypes export register_custom_op_symbolic", is_in_onnx_export=lambda: False)
library = _fill("library", "Library", register_fake=_keep, custom_op=_keep, impl=_keep, define=_keep)
export = _fill("export", "Dim ExportedProgram export")
multiprocessing = _importlib.import_module("multiprocessing")
overrides: _Any = _fill("overrides", "TorchFunctionMode", has_torch_function=lambda args: False)
classes = _fill("classes", "")
Storage = UntypedStorage = TypedStorage = FloatStorage = _fill("storage", "UntypedStorage TypedStorage").UntypedStorage


def __getattr__(name: str) -> _Any:
    """Imports a package that is not imported with the others, on first use."""
    try:
        return getattr(_tracer, name)
    except AttributeError:
        raise AttributeError(f"module 'torch' has no attribute {name!r}: tracer does not have it") from None


_LATER: _Callable[[str], _Any] = __getattr__
