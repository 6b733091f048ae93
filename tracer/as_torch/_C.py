"""``torch._C``: the few names that Python programs use."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from ..core.device import device
from ..core.tensor import Tensor as TensorBase
from ..ir.interp import selection
from ..ir.types import DType
from ..random import Generator
from .absent import rest_of

__all__ = ["DisableTorchFunction", "DisableTorchFunctionSubclass", "Generator", "TensorBase"]

__getattr__ = rest_of("_C")
_TensorBase = TensorBase


class DisableTorchFunctionSubclass(contextlib.nullcontext[None]):
    """A context without effect."""


DisableTorchFunction = _ExcludeDispatchKeyGuard = DisableTorchFunctionSubclass


class DispatchKeySet(frozenset[Any]):
    """A set of keys, which nothing reads."""

    def __new__(cls, key: Any) -> DispatchKeySet:
        return super().__new__(cls, [key])


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """The device, the dtype, ``non_blocking`` and the memory format of the arguments of ``to``; the first two may be None."""
    where, dtype = kwargs.get("device"), kwargs.get("dtype")
    for a in args:
        if isinstance(a, DType):
            dtype = a
        elif isinstance(a, TensorBase):
            where, dtype = a.device, a.dtype
        elif a is not None and not isinstance(a, bool):
            where = a
    return None if where is None else device(where), dtype, bool(kwargs.get("non_blocking", False)), kwargs.get("memory_format")


_nn = sys.modules[__name__]


def _log_api_usage_once(name: str) -> None:
    """No effect."""


def _are_functorch_transforms_active() -> bool:
    """Whether a function of ``torch.func`` is being transformed in this thread."""
    return selection.interpreter is not None


def _get_tracing_state() -> Any:
    """None: nothing is traced for ``torch.jit``."""
    return None
