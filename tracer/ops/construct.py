"""Tensors on the memory of other objects, and with given strides."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.context import context
from ..core.device import memory_for_new, moved
from ..core.dlpack import from_dlpack
from ..core.tensor import Tensor, wrap
from ..ir.types import DType
from ..runtime.devices import borrowed, device_named
from .common import is_number
from .create import _leaf, arange, factory, from_numpy, full, tensor, zeros

__all__ = ["asarray", "empty_permuted", "empty_strided", "frombuffer", "range", "scalar_tensor"]


def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """``obj`` as a tensor: a tensor, an array, a buffer, an object with DLPack or with
    ``__cuda_array_interface__``, a number, nested sequences.

    Memory is shared where possible. ``copy=True`` always copies; ``copy=False`` raises ValueError if a copy is needed. With
    ``requires_grad=False`` a tensor is detached.
    """
    target = memory_for_new(device)
    alias: Tensor | None = None
    if isinstance(obj, Tensor):
        alias = obj.detach() if requires_grad is False and obj.requires_grad else obj
    elif isinstance(obj, np.ndarray):
        alias = from_numpy(obj)
    elif hasattr(obj, "__cuda_array_interface__"):
        alias = wrap(borrowed(obj, device_named("cuda")))
    elif hasattr(obj, "__dlpack__"):
        alias = from_dlpack(obj)
    elif isinstance(obj, (bytearray, memoryview, bytes)):
        alias = frombuffer(obj, dtype=dtype or context.default_dtype)
    if alias is None:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        return _leaf(tensor(obj, dtype, device=device), bool(requires_grad))
    if device is not None and alias._data.device is not (target or "cpu"):
        if copy is False:
            raise ValueError(f"can't alias a tensor on {alias.device} on {device}")
        alias = moved(alias, device)
    if dtype is not None and alias.dtype is not dtype:
        if copy is False:
            raise ValueError(f"can't alias tensor with dtype '{alias.dtype.ctype}' into dtype '{dtype.ctype}'.")
        alias = alias.to(dtype)
    elif copy:
        alias = alias.clone()
    return _leaf(alias, True) if requires_grad and not alias.requires_grad else alias


def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector on the memory of an object with Python's buffer protocol: ``count`` elements (-1: all) from byte ``offset``.

    Raises ValueError for objects without a buffer, and for a count or offset that does not fit its length.
    """
    try:
        view = memoryview(buffer).cast("B")
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    length, size = len(view), dtype.numpy.itemsize
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({length} bytes) minus 1"
        )
    if count > 0 and offset + count * size > length:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than actual "
            f"buffer length ({length} bytes)"
        )
    if count < 0 and (length - offset) % size:
        raise ValueError(
            f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})"
        )
    data = np.frombuffer(view, np.uint8)[offset:]
    data = data[: (len(data) // size if count < 0 else count) * size]
    try:
        return _leaf(from_numpy(data.view(dtype.numpy)), requires_grad)
    except TypeError:
        raise TypeError(f"frombuffer(): argument 'dtype' must be a dtype of tensors, not {dtype}") from None


@factory
def scalar_tensor(s: Any, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A number as a tensor without axes; the dtype defaults to the default one."""
    if not is_number(s):
        raise TypeError(f"scalar_tensor(): argument 's' must be a number, not {type(s).__name__}")
    return full((), s, dtype=dtype or context.default_dtype, requires_grad=requires_grad)


@factory
def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros with the given strides, in elements."""
    if len(size) != len(stride):
        raise RuntimeError(f"dimensionality of sizes ({len(size)}) must match dimensionality of strides ({len(stride)})")
    if any(n < 0 for n in size):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(size)}: {list(size)}")
    if any(n < 0 for n in stride):
        raise RuntimeError(f"negative strides are not supported, got {list(stride)}")
    kind = (dtype or context.default_dtype).numpy
    if context.recorder is not None:
        context.recorder.give_up("makes a tensor with given strides")
    count = 0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    data = np.ndarray(tuple(size), kind, np.zeros(count, kind), 0, tuple(s * kind.itemsize for s in stride))
    return _leaf(wrap(data), requires_grad)


@factory
def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros with axes in the memory order ``physical_layout``, outermost first."""
    order = list(physical_layout)
    if len(order) != len(size):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = "
            f"{len(size)} is not equal to len(physical_layout) = {len(order)}"
        )
    for k in order:
        if not 0 <= k < len(size):
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(size) - 1}, but got {k} at index "
                f"{order.index(k)}). NB: negative dims not currently supported; file an issue if you want it."
            )
    if len(set(order)) < len(order):
        raise RuntimeError("Duplicate dim not allowed")
    inner = zeros(*(size[k] for k in order), dtype=dtype) if order else zeros((), dtype=dtype)
    return _leaf(inner.permute(*(order.index(k) for k in builtins.range(len(order)))) if order else inner, requires_grad)


@factory
def range(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """start, start + step, ... up to ``end``, inclusive; the dtype defaults to the default one. See ``arange``."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    count = math.floor((end - start) / step) + 1
    whole = arange(count, dtype=dtype or context.default_dtype)
    return _leaf(whole * step + start, requires_grad)
