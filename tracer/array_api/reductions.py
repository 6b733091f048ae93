"""Reductions, sorting, sets and selection."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..core.tensor import Tensor
from ..ir.types import DType, int64, uint64
from .dtypes import promote, result_type


def _axes(axis: Any, x: Tensor) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)


def _over(function: Any, x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """The reduction over the given axes; the array itself if there are none."""
    axes = _axes(axis, x)
    return function(x, axes, keepdims) if axes else function(ops.unsqueeze(x, 0), (0,))


def _adding(x: Tensor, dtype: DType | None) -> Tensor:
    """``x`` in the dtype of its sum: small integers become 64-bit."""
    if dtype is None and x.dtype.kind in "bui":
        dtype = uint64 if x.dtype.kind == "u" else int64
    return x if dtype is None or x.dtype is dtype else x.to(dtype)


def sum(x: Tensor, /, *, axis: Any = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The sum over axes, by default all."""
    wide = _adding(x, dtype)
    return _over(lambda t, axes, keep=False: ops.sum(t, axes, keep, dtype=wide.dtype), wide, axis, keepdims)


def prod(x: Tensor, /, *, axis: Any = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The product over axes, by default all."""
    wide = _adding(x, dtype)
    out = wide
    for a in sorted((a % x.ndim for a in _axes(axis, x)), reverse=True):
        out = ops.prod(out, a, keepdims, dtype=wide.dtype)
    return out


def max(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The maximum over axes, by default all."""
    return _over(ops.amax, x, axis, keepdims)


def min(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The minimum over axes, by default all."""
    return _over(ops.amin, x, axis, keepdims)


def mean(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The mean over axes, by default all."""
    return _over(ops.mean, x, axis, keepdims)


def var(x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over axes, by default all, divided by the count minus ``correction``."""
    return _over(lambda t, axes, keep=False: ops.var(t, axes, keepdim=keep, correction=correction), x, axis, keepdims)


def std(x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over axes, by default all."""
    return _over(lambda t, axes, keep=False: ops.std(t, axes, keepdim=keep, correction=correction), x, axis, keepdims)


def all(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """True if all elements are true, over axes."""
    return _over(ops.all, x, axis, keepdims)


def any(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """True if any element is true, over axes."""
    return _over(ops.any, x, axis, keepdims)


def count_nonzero(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The number of non-zero elements, over axes."""
    return sum(ops.ne(x, 0), axis=axis, keepdims=keepdims)


def _extreme(function: Any, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    if axis is None:
        at = function(ops.reshape(x, (-1,)))
        return ops.reshape(at, (1,) * x.ndim) if keepdims else at
    return function(x, axis, keepdims)


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The first position of the maximum."""
    return _extreme(ops.argmax, x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The first position of the minimum."""
    return _extreme(ops.argmin, x, axis, keepdims)


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """Running sums; with a leading zero if ``include_initial``."""
    return _cumulative(ops.cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """Running products; with a leading one if ``include_initial``."""
    return _cumulative(ops.cumprod, 1, x, axis, dtype, include_initial)


def _cumulative(function: Any, first: int, x: Tensor, axis: int | None, dtype: DType | None, initial: bool) -> Tensor:
    if axis is None:
        if x.ndim != 1:
            raise ValueError("axis is required of arrays with more than one dimension")
        axis = 0
    wide = _adding(x, dtype)
    out = function(wide, axis, dtype=wide.dtype)
    if not initial:
        return out
    shape = tuple(1 if i == axis % x.ndim else n for i, n in enumerate(x.shape))
    return ops.cat([ops.full(shape, first, dtype=out.dtype), out], axis)


def diff(x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """Differences of adjacent elements, ``n`` times."""
    return ops.diff(x, n, axis, prepend, append)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The sorted elements along an axis."""
    return ops.sort(x, axis, descending, stable=stable)[0]


def argsort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort the elements along an axis."""
    return ops.sort(x, axis, descending, stable=stable)[1]


def searchsorted(x1: Tensor, x2: Any, /, *, side: str = "left", sorter: Tensor | None = None) -> Tensor:
    """The insertion points of the elements of ``x2`` in the sorted vector ``x1``."""
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', got {side!r}")
    ordered = x1 if sorter is None else ops.index_select(x1, 0, sorter)
    if isinstance(x2, Tensor):
        ordered, x2 = promote(ordered, x2)
    return ops.searchsorted(ordered, x2, right=side == "right")


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The indices of non-zero elements, one array per axis. Raises ValueError for arrays without axes."""
    if x.ndim == 0:
        raise ValueError("nonzero of an array without axes")
    return tuple(ops.nonzero(x, as_tuple=True))


def where(condition: Tensor, x1: Any, x2: Any, /) -> Tensor:
    """``x1`` where the condition holds, else ``x2``."""
    if not (isinstance(x1, Tensor) or isinstance(x2, Tensor)):
        raise TypeError("where: one of the choices must be an array")
    first, second = promote(x1, x2)
    return ops.where(condition, first, second)


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """For each element of ``x1``: True if ``x2`` contains it."""
    dtype = result_type(x1, x2)
    a, b = (x if isinstance(x, Tensor) else ops.tensor(x, dtype=dtype) for x in (x1, x2))
    return ops.isin(a.to(dtype), b.to(dtype), invert=invert)


class UniqueAll(NamedTuple):
    """The result of ``unique_all``."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """The result of ``unique_counts``."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """The result of ``unique_inverse``."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """The distinct elements, their first positions, the inverse indices, and their counts.

    NaNs are all distinct.
    """
    found = np.unique(x._observed("unique"), return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    _, first, inverse, counts = found
    return UniqueAll(
        ops.index_select(ops.reshape(x, (-1,)), 0, ops.tensor(first.astype(np.int64))),
        ops.tensor(first.astype(np.int64)),
        ops.tensor(inverse.reshape(x.shape).astype(np.int64)),
        ops.tensor(counts.astype(np.int64)),
    )


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The distinct elements, and their counts."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The distinct elements, and the inverse indices."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """The distinct elements."""
    return unique_all(x).values
