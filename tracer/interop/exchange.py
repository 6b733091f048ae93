"""Tensors' methods for NumPy, DLPack and the array API standard."""

from __future__ import annotations

from typing import Any

from ..core.device import moved
from ..core.dlpack import dlpack, dlpack_device
from ..core.tensor import Tensor
from .numpy_protocol import array_function, array_ufunc


def array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """``tracer.array_api``: the Python array API standard's names and semantics. Raises ValueError for unknown versions."""
    from .. import array_api

    if api_version is not None and api_version not in array_api.VERSIONS:
        raise ValueError(f"unknown version of the array API standard: {api_version!r}")
    return array_api


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on another device; the tensor itself if it is there. Raises RuntimeError if there is no such device."""
    return moved(self, device)


def attach() -> None:
    """Called once, on import of ``tracer``."""
    more: dict[str, Any] = {
        "__array_ufunc__": array_ufunc,
        "__array_function__": array_function,
        "__dlpack__": dlpack,
        "__dlpack_device__": dlpack_device,
        "__array_namespace__": array_namespace,
        "to_device": to_device,
    }
    for name, value in more.items():
        setattr(Tensor, name, value)
