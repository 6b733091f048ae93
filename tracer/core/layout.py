"""Memory layouts, for programs that pass them on. Memory is row-major, or a view of row-major memory."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..ir.types import shown
from ..runtime.devices import address


class layout:
    """A kind of storage, called ``name``; only ``strided`` exists. ``zeros`` and other factories accept and ignore it."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"{shown.package}.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format:
    """An order of the axes in memory, called ``name``, for tensors of ``rank`` axes; None is any. Accepted wherever PyTorch
    takes one, and ignored. A tensor with another number of axes raises RuntimeError.
    """

    __slots__ = ("name", "rank")

    def __init__(self, name: str, rank: int | None = None):
        self.name, self.rank = name, rank

    def __repr__(self) -> str:
        return f"{shown.package}.{self.name}"

    def __reduce__(self) -> str:
        return self.name


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last", 4)
channels_last_3d = memory_format("channels_last_3d", 5)


def require_format(name: str, given: Any, rank: int) -> None:
    """Raises TypeError for anything but a memory format, RuntimeError for a format of another rank."""
    if given is None:
        return
    if not isinstance(given, memory_format):
        raise TypeError(f"{name}(): argument 'memory_format' must be tracer.memory_format, not {type(given).__name__}")
    if given.rank is not None and given.rank != rank:
        raise RuntimeError(f"required rank {given.rank} tensor to use {given.name} format")


def is_in_format(shape: tuple[int, ...], strides: tuple[int, ...], given: memory_format) -> bool:
    """True if memory is contiguous with the channels innermost. ``strides`` are in elements."""
    if given.rank != len(shape):
        return False
    expected = 1
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        if shape[axis] != 1 and strides[axis] != expected:
            return False
        expected *= shape[axis]
    return True


def is_same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """True if two arrays have the same elements at the same addresses."""
    alike = a.dtype == b.dtype and a.shape == b.shape and a.strides == b.strides
    return alike and address(a) == address(b)


def overlaps(data: np.ndarray) -> bool:
    """True if an array certainly has several elements at one address."""
    return 0 in data.strides and data.size > 0 and any(s == 0 and n > 1 for s, n in zip(data.strides, data.shape, strict=True))


def is_apart(data: np.ndarray) -> bool:
    """True if no two elements of an array share memory: each stride is at least the extent of the axes with smaller strides.

    False for some arrays with interleaved elements, which share none either.
    """
    return data.flags.c_contiguous or _are_apart(data.shape, data.strides, data.itemsize)


@functools.lru_cache(4096)
def _are_apart(shape: tuple[int, ...], strides: tuple[int, ...], extent: int) -> bool:
    for s, n in sorted(zip(map(abs, strides), shape, strict=True)):
        if n > 1:
            if s < extent:
                return False
            extent += s * (n - 1)
    return True
