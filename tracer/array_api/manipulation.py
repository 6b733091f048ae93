"""Shapes, concatenation, and indexing."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..core.tensor import Tensor
from .dtypes import promote


def concat(arrays: Any, /, *, axis: int | None = 0) -> Tensor:
    """Concatenates arrays along ``axis``; flattens them first if it is None."""
    joined = promote(*arrays)
    if axis is None:
        joined, axis = [ops.reshape(x, (-1,)) for x in joined], 0
    return ops.cat(joined, axis)


def stack(arrays: Any, /, *, axis: int = 0) -> Tensor:
    """Stacks arrays along a new axis."""
    return ops.stack(promote(*arrays), axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis."""
    return ops.unbind(x, axis)


def expand_dims(x: Tensor, /, axis: Any = 0) -> Tensor:
    """Inserts a new axis of extent 1, or several."""
    if isinstance(axis, int):
        return ops.unsqueeze(x, axis)
    rank = x.ndim + len(axis)
    places = sorted(a + rank if a < 0 else a for a in axis)
    if len(set(places)) < len(places) or any(not 0 <= a < rank for a in places):
        raise IndexError(f"axes {tuple(axis)} do not fit {rank} dimensions")
    for a in places:
        x = ops.unsqueeze(x, a)
    return x


def squeeze(x: Tensor, /, axis: Any) -> Tensor:
    """Removes axes of extent 1. Raises ValueError for other axes."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise IndexError(f"axis {a} does not fit {x.ndim} dimensions")
        if x.shape[a] != 1:
            raise ValueError(f"axis {a} has extent {x.shape[a]}, not 1")
    return ops.squeeze(x, tuple(axes)) if axes else x


def flip(x: Tensor, /, *, axis: Any = None) -> Tensor:
    """Reverses axes, by default all."""
    return ops.flip(x, tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis))


def moveaxis(x: Tensor, source: Any, destination: Any, /) -> Tensor:
    """Moves axes to new positions."""
    return ops.movedim(x, source, destination)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """Permutes the axes."""
    return ops.permute(x, tuple(axes))


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Repeats each element along an axis, or of the flattened array."""
    return ops.repeat_interleave(x, repeats, axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """Repeats the whole array."""
    return ops.tile(x, tuple(repetitions))


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """The elements in another shape. Raises ValueError if ``copy`` is False and a copy is needed."""
    out = ops.reshape(x, tuple(shape))
    if copy is False and x.numel() and out._address() != x._address():
        raise ValueError("a copy is needed to reshape this array")
    return out.clone() if copy else out


def roll(x: Tensor, /, shift: Any, *, axis: Any = None) -> Tensor:
    """Shifts elements along axes, cyclically."""
    return ops.roll(x, shift, axis)


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The slices at the given indices along an axis, which is optional for a vector. Negative indices count from the end."""
    if axis is None:
        if x.ndim != 1:
            raise ValueError("axis is required of arrays with more than one dimension")
        axis = 0
    positions = ops.where(ops.lt(indices, 0), ops.add(indices, x.shape[axis]), indices)
    return ops.index_select(x, axis, positions)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """The element at the given index in each row along an axis."""
    axis = axis % x.ndim
    positions = ops.where(ops.lt(indices, 0), ops.add(indices, x.shape[axis]), indices)
    return ops.take_along_dim(x, positions, axis)
