"""Scans along an axis; sorting, counting and searching."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from ..core.context import context
from ..core.device import near, placed
from ..core.fused import fused
from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.types import DType, int32, int64, promote
from ..runtime.devices import USED
from . import pointwise as F
from . import reduce, shape
from .common import as_floating, one_dim, require_real, result_dtype, to_dtype, typed, underived
from .create import fixed, tensor
from .index import gather, nonzero_by_axis, number_of_nonzero
from .opmath import opmath
from .special import lerp

__all__ = [
    "argsort",
    "argwhere",
    "bucketize",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "isin",
    "kthvalue",
    "logcumsumexp",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "nanquantile",
    "nonzero",
    "quantile",
    "searchsorted",
    "sort",
    "topk",
    "unique",
    "unique_consecutive",
]


class Ordered(NamedTuple):
    """Elements and their original positions."""

    values: Tensor
    indices: Tensor


def _scalar_safe(function: Any, input: Tensor, dim: int) -> Any:
    """Applies ``function(x, axis)`` with at least one axis; results for a number are numbers again."""
    axis = one_dim(dim, input.ndim)
    if input.ndim:
        return function(input, axis)
    out = function(shape.reshape(input, (1,)), 0)
    if isinstance(out, tuple):
        return type(out)(*(shape.reshape(o, ()) for o in out))
    return shape.reshape(out, ())


def _accumulating(input: Tensor, dtype: DType | None) -> Tensor:
    return (
        to_dtype(input, dtype)
        if dtype
        else input
        if input.is_floating_point() or input.is_complex()
        else to_dtype(input, int64)
    )


@fused
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running sums along ``dim``. Integers and bools are summed in int64."""
    return _scalar_safe(lambda x, axis: P.cumsum(x, axis=axis), _accumulating(input, dtype), dim)


@fused
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running products along ``dim``."""
    return _scalar_safe(lambda x, axis: P.cumprod(x, axis=axis), _accumulating(input, dtype), dim)


def _running(input: Tensor, dim: int, largest: bool) -> Ordered:
    def run(x: Tensor, axis: int) -> Ordered:
        positions = P.cumargmax(x, axis=axis, largest=largest)
        return Ordered(gather(x, axis, positions), positions)

    return _scalar_safe(run, input, dim)


def cummax(input: Tensor, dim: int) -> Ordered:
    """The running maximum along ``dim``, and its positions."""
    return _running(input, dim, True)


def cummin(input: Tensor, dim: int) -> Ordered:
    """The running minimum along ``dim``, and its positions."""
    return _running(input, dim, False)


@opmath
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(x))) along ``dim``, without overflow."""
    return _scalar_safe(lambda x, axis: P.logcumsumexp(x, axis=axis), as_floating(input), dim)


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Ordered:
    """The sorted elements along ``dim``, and their original positions. Always stable; NaN sorts above every number."""

    def run(x: Tensor, axis: int) -> Ordered:
        order = P.argsort(x, axis=axis, descending=bool(descending))
        return Ordered(gather(x, axis, order), order)

    return _scalar_safe(run, input, dim)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort the elements along ``dim``."""
    return _scalar_safe(lambda x, axis: P.argsort(x, axis=axis, descending=bool(descending)), input, dim)


def msort(input: Tensor) -> Tensor:
    """The sorted elements along the first axis."""
    return sort(input, 0).values


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Ordered:
    """The ``k`` largest (or smallest) elements along ``dim``, sorted, and their positions."""
    axis = one_dim(dim, input.ndim)
    if not 0 <= k <= (input._data.shape[axis] if input.ndim else 1):
        raise RuntimeError("selected index k out of range")

    def run(x: Tensor, axis: int) -> Ordered:
        return Ordered(*_first(x, axis, k, bool(largest)))

    if input.ndim == 0 and k == 0:
        return run(shape.reshape(input, (1,)), 0)
    return _scalar_safe(run, input, dim)


@fused
def _first(x: Tensor, axis: int, k: int, descending: bool) -> tuple[Tensor, Tensor]:
    """The first ``k`` elements of the sorted ones along an axis, and their positions."""
    order = P.copy(shape.part(P.argsort(x, axis=axis, descending=descending), axis, 0, k))
    return P.gather(x, order, axis=axis), order


@fused
def _of_rank(x: Tensor, axis: int, k: int) -> tuple[Tensor, Tensor]:
    """Element ``k`` of the sorted ones along an axis, and its position."""
    order = P.copy(shape.narrow(P.argsort(x, axis=axis, descending=False), axis, k, 1))
    return gather(x, axis, order), order


def _ordered(found: tuple[Tensor, Tensor], axis: int, keepdim: bool) -> Ordered:
    """Elements and their positions, with or without the axis of extent 1."""
    return Ordered(*found) if keepdim else Ordered(*[shape.squeeze(t, axis) for t in found])


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Ordered:
    """The k-th smallest element along ``dim`` (counting from 1), and its position."""
    axis = one_dim(dim, input.ndim)
    if input.ndim:
        reduce.require_elements("kthvalue", input, dim, (axis,), IndexError)
    if not 1 <= k <= (input._data.shape[axis] if input.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
    if input.ndim == 0:
        return Ordered(input, P.full(value=0, shape=(), dtype="i64"))
    return _ordered(_of_rank(input, axis, k - 1), axis, keepdim)


def _has_nan(x: Tensor, axis: int) -> Tensor:
    return reduce.any(F.isnan(x), axis, keepdim=True)


@overload
def median(input: Tensor) -> Tensor: ...
@overload
def median(input: Tensor, dim: int, keepdim: bool = False) -> Ordered: ...
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of all elements; or, along ``dim``, (values, indices). NaN wins."""
    if dim is None:
        if input.numel() == 0:
            nothing = P.full(value=math.nan, shape=(), dtype=input.dtype.short)
            return F.add(reduce.sum(input), nothing) if input.is_floating_point() else nothing
        return _shared(shape.reshape(input, (-1,)), median)
    if input.ndim == 0:
        return Ordered(input, P.full(value=0, shape=(), dtype="i64"))
    axis = one_dim(dim, input.ndim)
    reduce.require_elements("median", input, dim, (axis,), IndexError)
    return _ordered(_median_along(input, axis), axis, keepdim)


@fused
def _median_along(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    order = P.argsort(x, axis=axis, descending=False)
    at = P.copy(shape.narrow(order, axis, (x._data.shape[axis] - 1) // 2, 1))
    if x.is_floating_point():
        first_nan = P.argmax(P.cast(F.isnan(x), dtype="i64"), axes=(axis,))
        at = F.where(_has_nan(x, axis), shape.unsqueeze(first_nan, axis), at)
    return gather(x, axis, at), at


def _shared(x: Tensor, function: Any) -> Tensor:
    """A median of all elements; the elements that equal it share the gradient."""
    value = function(x.detach(), 0).values
    if not x._requires_grad:
        return value
    equal = F.bitwise_or(F.eq(x, value), F.bitwise_and(F.isnan(x), F.isnan(value)))
    # Computed as the extremum of the equal elements, after pushing the others away from it.
    high, low = P.max_(F.where(equal, x, -math.inf), axes=(0,)), P.min_(F.where(equal, x, math.inf), axes=(0,))
    return F.where(F.lt(value, 0), low, high)


@overload
def nanmedian(input: Tensor) -> Tensor: ...
@overload
def nanmedian(input: Tensor, dim: int, keepdim: bool = False) -> Ordered: ...
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of the elements that are not NaN."""
    if dim is None:
        return _shared(shape.reshape(input, (-1,)), nanmedian) if input.numel() else median(input)
    if input.ndim == 0:
        return Ordered(input, P.full(value=0, shape=(), dtype="i64"))
    axis = one_dim(dim, input.ndim)
    reduce.require_elements("median", input, dim, (axis,), IndexError)
    order = P.argsort(input, axis=axis, descending=False)
    count = reduce.sum(F.logical_not(F.isnan(input)), axis, keepdim=True)
    at = gather(order, axis, F.clamp(F.floor_divide(F.sub(count, 1), 2), min=0))
    values = gather(input, axis, at)
    return Ordered(values, at) if keepdim else Ordered(shape.squeeze(values, axis), shape.squeeze(at, axis))


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Ordered:
    """The most frequent element along ``dim``, the smallest of several, and its last position."""
    if input.ndim == 0:
        return Ordered(input, P.full(value=0, shape=(), dtype="i64"))
    axis = one_dim(dim, input.ndim)
    reduce.require_elements("mode", input, dim, (axis,), IndexError)
    require_real("mode", input)
    return _ordered(_mode_along(input, axis), axis, keepdim)


@fused
def _mode_along(input: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    order = P.argsort(input, axis=axis, descending=False)
    ordered = gather(input, axis, order)
    n = input._data.shape[axis]
    first = F.ne(shape.narrow(ordered, axis, 1, n - 1), shape.narrow(ordered, axis, 0, n - 1))
    first = shape.cat([F.ne(shape.narrow(order, axis, 0, 1), -1), first], axis)
    place = P.iota(shape=input._data.shape, axis=axis, dtype="i64")
    earlier = F.sub(place, cummax(F.where(first, place, 0), axis).values)  # number of equal elements before each in the order
    positions = gather(order, axis, reduce.argmax(earlier, axis, keepdim=True))
    return gather(input, axis, positions), positions


def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    _skip_nan: bool = False,
) -> Tensor:
    """The ``q`` quantiles along ``dim``, or of all elements; ``interpolation`` between two elements."""
    if interpolation not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise RuntimeError(
            "quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, but got " + interpolation
        )
    if not input.is_floating_point():
        raise RuntimeError("quantile() input tensor must be either float or double dtype")
    if isinstance(q, Tensor) and q.dtype is not input.dtype:
        raise RuntimeError("quantile() q tensor must be same dtype as the input tensor")
    if input.numel() == 0:
        raise RuntimeError("quantile() input tensor must be non-empty")
    levels = q if isinstance(q, Tensor) else P.full(value=float(q), shape=(), dtype=input.dtype.short)
    if levels.ndim > 1:
        raise RuntimeError("quantile() q must be a scalar or 1D tensor")
    if not isinstance(q, Tensor) and not 0 <= q <= 1:
        raise RuntimeError("quantile() q must be in the range [0, 1] but got " + str(q))
    x = shape.reshape(input, (-1,)) if dim is None else shape.unsqueeze(input, 0) if input.ndim == 0 else input
    axis = 0 if dim is None else one_dim(dim, x.ndim)
    ordered = shape.transpose(sort(x, axis).values, axis, -1)
    n = ordered._data.shape[-1]
    flat = shape.reshape(levels, (-1,))
    m = flat._data.shape[0]
    if _skip_nan:
        last = F.sub(reduce.sum(F.logical_not(F.isnan(ordered)), -1, keepdim=True), 1)
        ranks = F.mul(to_dtype(last, x.dtype), flat)
        ranks = F.where(F.lt(last, 0), 0.0, ranks)
    else:
        ranks = F.mul(flat, float(n - 1))
        nan = reduce.any(F.isnan(ordered), -1, keepdim=True)
        ranks = F.where(nan, float(n - 1), ranks)
    lower, upper = F.floor(ranks), F.ceil(ranks)
    lead = ordered._data.shape[:-1]
    if interpolation == "nearest":
        lower = upper = F.round(ranks)
    elif interpolation == "lower":
        upper = lower
    elif interpolation == "higher":
        lower = upper

    def at(positions: Tensor) -> Tensor:
        whole = shape.expand(to_dtype(positions, int64), (*lead, m))
        return gather(ordered, ordered.ndim - 1, whole)

    low = at(lower)
    if interpolation == "midpoint":
        out = F.mul(F.add(low, at(upper)), 0.5)
    elif interpolation == "linear":
        out = lerp(low, at(upper), F.sub(ranks, lower))
    else:
        out = low
    # (..., levels) with the reduced axis last: restore the axes, the levels first.
    if dim is None:
        out = shape.reshape(out, (m,))
        if keepdim:
            out = shape.reshape(out, (m, *(1,) * input.ndim))
    else:
        out = shape.unsqueeze(out, -2)  # position of the reduced axis
        out = shape.transpose(shape.permute(out, (out.ndim - 1, *range(out.ndim - 1))), axis + 1, -1)
        if not keepdim:
            out = shape.squeeze(out, axis + 1)
        elif input.ndim == 0:
            out = shape.reshape(out, (m,))
    return out if levels.ndim else shape.squeeze(out, 0)


def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """``quantile`` of the elements that are not NaN."""
    return quantile(input, q, dim, keepdim, interpolation=interpolation, _skip_nan=True)


def searchsorted(
    sorted_sequence: Tensor,
    values: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """The insertion points of ``values`` in the sequence, sorted along its last axis: before equal elements, or after
    (``right``).
    """
    if side == "left" and right:
        raise RuntimeError(
            "tracer.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    if sorter is not None:
        sorted_sequence = gather(sorted_sequence, sorted_sequence.ndim - 1, sorter)
    number = not isinstance(values, Tensor)
    v = typed(values, result_dtype(sorted_sequence, values)) if number else values
    if sorted_sequence.ndim > 1 and sorted_sequence._data.shape[:-1] != v._data.shape[:-1]:
        raise RuntimeError(
            "tracer.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor "
            "and "
            f"input value tensor must match, but we got boundaries tensor {list(sorted_sequence.shape)} and input value tensor "
            f"{list(v.shape)}"
        )
    dtype = promote(sorted_sequence.dtype, v.dtype)
    out = P.searchsorted(to_dtype(sorted_sequence, dtype), to_dtype(v, dtype), right=right or side == "right")
    return to_dtype(out, int32) if out_int32 else out


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of each element's bucket, between the sorted ``boundaries``."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def _require_slices(name: str, input: Tensor, dim: int | None) -> None:
    if dim is not None:
        axis, empty = one_dim(dim, input.ndim), input._data.shape.count(0)
        if empty > 1 or (empty and input._data.shape[axis]):
            raise RuntimeError(f"{name}(): slices along dimension {axis} of a tensor of shape {list(input.shape)} are empty")


@overload
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: Literal[False] = False,
    return_counts: Literal[False] = False,
    dim: int | None = None,
) -> Tensor: ...
@overload
def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[Tensor, ...]: ...
def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The distinct elements in order (or slices along ``dim``), their inverse indices and counts."""
    _require_slices("unique", input, dim)
    require_real("unique", input)
    if dim is None and context.recorder is not None:
        return _unique_in_a_trace(input, return_inverse, return_counts)
    data = input._observed("unique")
    axis = None if dim is None else one_dim(dim, input.ndim)
    values, inverse, counts = np.unique(data, return_inverse=True, return_counts=True, axis=axis, equal_nan=axis is not None)
    inverse = inverse.reshape(data.shape if axis is None else (-1,))
    found = [underived("unique", fixed(values), input)]
    if return_inverse:
        found.append(fixed(inverse.astype(np.int64)))
    if return_counts:
        found.append(fixed(counts.astype(np.int64)))
    return found[0] if len(found) == 1 else tuple(found)


def _unique_in_a_trace(input: Tensor, return_inverse: bool, return_counts: bool) -> Any:
    """The trace reads only the number of distinct elements."""
    count = int(P.unique_count(input)._observed("a number of different elements"))
    found = [underived("unique", P.unique_values(input.detach(), count=count), input)]
    if return_inverse:
        found.append(P.unique_inverse(input))
    if return_counts:
        found.append(P.unique_counts(input, count=count))
    return found[0] if len(found) == 1 else tuple(found)


@overload
def unique_consecutive(
    input: Tensor, return_inverse: Literal[False] = False, return_counts: Literal[False] = False, dim: int | None = None
) -> Tensor: ...
@overload
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[Tensor, ...]: ...
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The elements without consecutive duplicates."""
    _require_slices("unique_consecutive", input, dim)
    if USED and input.is_cuda:  # on the host
        there = unique_consecutive(input.cpu(), return_inverse, return_counts, dim)
        return tuple(near(t, input) for t in there) if isinstance(there, tuple) else near(there, input)
    data = input._observed("unique_consecutive")
    rows = data.reshape(-1) if dim is None else np.moveaxis(data, one_dim(dim, input.ndim), 0)
    flat = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
    starts = np.ones(len(rows), bool)
    starts[1:] = (flat[1:] != flat[:-1]).any(1) if len(rows) else True
    values = rows[starts] if dim is None else np.moveaxis(rows[starts], 0, one_dim(dim, input.ndim))
    found = [underived("unique_consecutive", fixed(np.ascontiguousarray(values)), input)]
    inverse = np.cumsum(starts) - 1
    if return_inverse:
        found.append(fixed(inverse.reshape(data.shape if dim is None else (-1,)).astype(np.int64)))
    if return_counts:
        found.append(fixed(np.bincount(inverse, minlength=0).astype(np.int64)))
    return found[0] if len(found) == 1 else tuple(found)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """For each element: True if it is one of ``test_elements``."""
    x = elements if isinstance(elements, Tensor) else tensor(elements)
    y = test_elements if isinstance(test_elements, Tensor) else tensor(test_elements)
    if y.numel() == 0:
        found = P.full(value=False, shape=x._data.shape, dtype="bool")
    else:
        found = reduce.any(F.eq(shape.unsqueeze(x, -1), shape.reshape(y, (-1,))), -1)
    return F.logical_not(found) if invert else found


@overload
def nonzero(input: Tensor, *, as_tuple: Literal[False] = False) -> Tensor: ...
@overload
def nonzero(input: Tensor, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The positions of non-zero elements, one per row; or, as a tuple, one tensor per axis."""
    if as_tuple:
        return tuple(nonzero_by_axis(input if input.ndim else shape.reshape(input, (1,))))
    if context.recorder is None:
        return wrap(np.argwhere(input._data).astype(np.int64, copy=False))
    if not input.ndim:
        count = number_of_nonzero(input)
        return placed(P.full(value=0, shape=(count, 0), dtype="i64"), input)
    found = nonzero_by_axis(input)
    return shape.stack(found, 1) if len(found) > 1 else shape.reshape(found[0], (-1, 1))


def argwhere(input: Tensor) -> Tensor:
    """The positions of non-zero elements, one per row."""
    return nonzero(input)
