"""``torch._C``: the few names that Python programs use."""

from __future__ import annotations

import contextlib
from typing import Any

from ..core.tensor import Tensor as TensorBase
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


def _log_api_usage_once(name: str) -> None:
    """No effect."""


def _get_tracing_state() -> Any:
    """None: nothing is traced for ``torch.jit``."""
    return None
