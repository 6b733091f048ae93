"""Indexing and joining by NumPy alone, for tensors that nothing records or tracks.

NumPy selects the same elements as the general functions, which take a dozen operations for their checks. Where NumPy's meaning
differs, or it raises an error, these functions leave the work to the general ones, which also have PyTorch's messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.context import context
from ..core.inplace import is_plain
from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.interp import selection
from .inquiry import as_number

_INT64, _BOOL = np.dtype(np.int64), np.dtype(np.bool_)
_NUMBERS = (float, int, bool)


def read(x: Tensor, index: Any) -> Tensor | None:
    """``x[index]`` for a mask, for an index tensor, alone or after whole slices, and for several on the first axes; None for
    other indices.
    """
    if (data := _array(x)) is None:
        return None
    items = index if index.__class__ is tuple else (index,)
    axis = 0
    while axis < len(items) and items[axis].__class__ is slice and _is_whole(items[axis]):
        axis += 1
    found = [_selector(item) for item in items[axis:]]
    try:
        if len(found) == 1:
            (at,) = found
            if at is not None and (not axis or at.dtype is _INT64):
                return wrap(data.take(at, axis) if at.dtype is _INT64 else data[at])
        elif found and not axis and all(at is not None and at.dtype is _INT64 for at in found):
            return wrap(data[tuple(found)])
    except (IndexError, ValueError):
        pass
    return None


def write(x: Tensor, index: Any, value: Any) -> bool:
    """``x[index] = value`` for slices and numbers, or for slices and index tensors; False, and nothing written, otherwise."""
    if not is_plain(x) or x._data.itemsize == 2:
        return False
    data = x._data
    items: list[Any] = []
    tensors = numbers = False
    for item in index if index.__class__ is tuple else (index,):
        if item.__class__ is slice:
            if item.step is not None and (item.step.__class__ is not int or item.step < 1):
                return False
        elif item.__class__ is int:
            numbers = True
        elif item is not ...:
            if (item := _selector(item)) is None:
                return False
            tensors = True
        items.append(item)
    if tensors and numbers:  # a number would be an index tensor to NumPy
        return False
    if isinstance(value, Tensor):
        theirs = value._data
        if theirs.__class__ is not np.ndarray or theirs.dtype != data.dtype or np.may_share_memory(theirs, data):
            return False
        if context.grad_enabled and (value._requires_grad or (value._view is not None and value._followed())):
            return False
    elif value.__class__ in _NUMBERS:
        theirs = as_number(value, x.dtype)
    else:
        return False
    try:
        data[tuple(items)] = theirs
    except (IndexError, ValueError, TypeError):
        return False
    x._changes()[0] += 1
    return True


def joined(xs: Sequence[Tensor], shape: tuple[int, ...] | None, axis: int) -> Tensor | None:
    """Tensors of one dtype, in the given shape, concatenated along an axis; None if something records or tracks them."""
    arrays = []
    for x in xs:
        if (data := _array(x)) is None or data.dtype is not xs[0]._data.dtype:
            return None
        arrays.append(data if shape is None else data.reshape(shape))
    return wrap(P.concatenate.eager(*arrays, axis=axis))


def _array(x: Tensor) -> np.ndarray | None:
    """The array of a tensor on the CPU that nothing records or tracks; None for others."""
    data = x._data
    if data.__class__ is not np.ndarray or context.recorder is not None or selection.interpreter is not None:
        return None
    return None if context.grad_enabled and (x._requires_grad or (x._view is not None and x._followed())) else data


def _is_whole(item: slice) -> bool:
    return item.start is None and item.stop is None and item.step is None


def _selector(item: Any) -> np.ndarray | None:
    """The array of an index tensor with axes, of 64-bit positions or bools; None for any other item."""
    if not isinstance(item, Tensor):
        return None
    data = item._data
    return data if data.__class__ is np.ndarray and data.ndim and data.dtype in (_INT64, _BOOL) else None
