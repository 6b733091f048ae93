"""Indexing: basic indices give views, index tensors give copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import ops as P
from ..tensor import Tensor
from .common import one_dim, to_dtype
from .inquiry import fitting
from .shape import narrow, reshape

__all__ = [
    "gather",
    "index_select",
    "masked_fill",
]


def _expanded(index: Any, rank: int) -> list[Any]:
    """The index as a list with one entry for each axis (besides None), Ellipsis written out."""
    items = list(index) if isinstance(index, tuple) else [index]
    used = sum(_consumes(i) for i in items)
    if used > rank:
        if rank == 0:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
                "0-dim tensor to a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {rank}")
    dots = [k for k, i in enumerate(items) if i is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    at = dots[0] if dots else len(items)
    fill = [slice(None)] * (rank - used)
    return items[:at] + fill + items[at + 1 :] if dots else items + fill


def _consumes(item: Any) -> int:
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    if isinstance(item, Tensor) and item.dtype.name == "bool":
        return item.ndim
    return 1


def getitem(input: Tensor, index: Any) -> Tensor:
    """``input[index]``: numbers, slices, None, Ellipsis; index tensors and masks. Raises IndexError as PyTorch does."""
    items = [_as_tensor(i) for i in _expanded(index, input.ndim)]
    basic, tensors = _split(items)
    out = _basic(input, basic)
    for axis in _false_axes(basic):
        out = narrow(out, axis, 0, 0)
    return _advanced(out, tensors) if tensors else out


def _false_axes(items: list[Any]) -> list[int]:
    """The axes of the result that stand for a False: it takes nothing of the whole."""
    kept = [i for i in items if isinstance(i, bool) or not isinstance(i, int)]
    return [axis for axis, i in enumerate(kept) if i is False]


def _as_tensor(item: Any) -> Any:
    if isinstance(item, (list, range, np.ndarray)):
        from .create import tensor

        return tensor(item)
    if isinstance(item, Tensor) and item.ndim == 0 and item.dtype.kind in "ui":
        return int(item)
    if not (item is None or isinstance(item, (int, slice, Tensor)) or hasattr(item, "__index__")):
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(item).__name__})"
        )
    return item


def _split(items: list[Any]) -> tuple[list[Any], dict[int, Tensor]]:
    """Basic indices, with a whole slice in place of each index tensor; and the tensors by axis of what comes out."""
    basic: list[Any] = []
    tensors: dict[int, Tensor] = {}
    axis = 0
    for item in items:
        if isinstance(item, Tensor):
            tensors[axis] = item
            width = _consumes(item)
            basic += [slice(None)] * width
            axis += width
        else:
            basic.append(item)
            axis += isinstance(item, bool) or not isinstance(item, int)
    return basic, tensors


def _basic(input: Tensor, items: list[Any]) -> Tensor:
    shape = input._data.shape
    starts, stops, steps, final = [], [], [], []
    axis = 0
    for item in items:
        if item is None or isinstance(item, bool):
            final.append(1)
            continue
        extent = shape[axis]
        if isinstance(item, slice):
            a, b, s = item.indices(extent)
            if s < 0:
                raise ValueError("step must be greater than zero")
            b = max(a, b)
            final.append(-(-(b - a) // s))
        else:
            i = item.__index__()
            if not -extent <= i < extent:
                raise IndexError(f"index {i} is out of bounds for dimension {axis} with size {extent}")
            a, b, s = i % extent, i % extent + 1, 1
        starts.append(a)
        stops.append(b)
        steps.append(s)
        axis += 1
    out = input
    if tuple(starts) != (0,) * len(shape) or tuple(stops) != shape or any(s != 1 for s in steps):
        out = P.slice_(out, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))
    elif all(isinstance(i, slice) for i in items):
        return P.reshape(input, shape=shape)  # x[:] is a new view
    return out if out._data.shape == tuple(final) else P.reshape(out, shape=tuple(final))


def _advanced(x: Tensor, tensors: dict[int, Tensor]) -> Tensor:
    (first, index), *rest = tensors.items()
    if index.dtype.name == "bool":
        if rest:
            raise NotImplementedError("a mask together with other index tensors")
        return _masked(x, index, first)
    if not rest:
        return P.index_select(x, _wrapped(index, x._data.shape[first], first), axis=first)
    axes = list(tensors)
    if axes != list(range(first, first + len(axes))):
        # What is indexed by tensors that are not neighbours comes first in the result.
        x = P.permute(x, axes=(*axes, *(a for a in range(x.ndim) if a not in axes)))
        return _advanced(x, dict(enumerate(tensors.values())))
    flat = None
    for axis, i in tensors.items():
        extent = x._data.shape[axis]
        i = _wrapped(i, extent, axis)
        flat = i if flat is None else flat * extent + i
    assert flat is not None
    old = x._data.shape
    merged = P.reshape(x, shape=(*old[:first], int(np.prod([old[a] for a in axes])), *old[first + len(axes) :]))
    return P.index_select(merged, flat, axis=first)


def _wrapped(index: Tensor, extent: int, axis: int) -> Tensor:
    """Negative positions counted from the end. Raises IndexError for those out of range."""
    if index.dtype.kind not in "ui":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if index.dtype.is_signed:
        index = P.where(P.lt(index, 0), P.add(index, extent), index)
    return P.check_index(index, extent=extent, message=f"index {{}} is out of bounds for dimension {axis} with size {extent}")


def _masked(x: Tensor, mask: Tensor, axis: int) -> Tensor:
    """The elements where the mask holds. How many there are is data: a trace cannot know it."""
    part = x._data.shape[axis : axis + mask.ndim]
    if part != mask._data.shape:
        raise IndexError(
            f"The shape of the mask {list(mask.shape)} at index 0 does not match the shape of the indexed tensor "
            f"{list(x.shape)} at index {axis}"
        )
    from .create import tensor

    positions = tensor(np.flatnonzero(mask._observed("a boolean mask")))
    old = x._data.shape
    flat = P.reshape(x, shape=(*old[:axis], int(np.prod(part)), *old[axis + mask.ndim :]))
    return P.index_select(flat, positions, axis=axis)


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """result[i][j] = input[i][index[i][j]] for dim 1, and so on."""
    axis = one_dim(dim, input.ndim)
    if index.numel() == 0 and (index.ndim != input.ndim or index.dtype.name not in ("int64", "int32")):
        nothing = P.full(value=0, shape=(0,), dtype="i64")
        return reshape(P.index_select(reshape(input, (-1,)), nothing, axis=0), index._data.shape)
    if index.dtype.name not in ("int64", "int32"):
        raise RuntimeError("gather(): Expected dtype int32/int64 for index")
    if input.ndim == 0 or index.ndim == 0:
        x = reshape(input, (1,)) if input.ndim == 0 else input
        i = reshape(index, (1,)) if index.ndim == 0 else index
        return reshape(P.gather(x, i, axis=0), index._data.shape)
    if input.ndim != index.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    try:
        return P.gather(input, index, axis=axis)
    except IndexError as e:
        raise RuntimeError(str(e)) from None


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of ``input`` along ``dim`` at the positions in the vector ``index``."""
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if index.dtype.name not in ("int64", "int32"):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    if input.ndim == 0:
        return reshape(P.index_select(reshape(input, (1,)), reshape(index, (-1,)), axis=0), ())
    return P.index_select(input, index, axis=one_dim(dim, input.ndim))


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``value`` where the mask holds."""
    if mask.dtype.name != "bool":
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype.ctype.lower()}")
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
        )
    from .pointwise import where

    if isinstance(value, Tensor):
        fitting(1j if value.is_complex() else 0, input.dtype)
        return where(mask, to_dtype(value, input.dtype), input)
    return where(mask, fitting(value, input.dtype), input)
