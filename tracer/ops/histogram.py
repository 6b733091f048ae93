"""Histograms: counts or weights of elements per bin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.device import beside
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import DType, float32, float64, int64
from . import pointwise as F
from . import reduce, shape
from .common import require_real, to_dtype, underived
from .create import factory, fixed
from .order import searchsorted
from .special import isfinite

__all__ = ["bincount", "histc", "histogram", "histogramdd"]


class Histogram(NamedTuple):
    hist: Tensor
    bin_edges: Tensor


class Histogramdd(NamedTuple):
    hist: Tensor
    bin_edges: tuple[Tensor, ...]


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """The number of occurrences of each integer 0, 1, ..., or the sum of its ``weights``: at least ``minlength`` numbers.

    Not differentiable. Raises RuntimeError for negative integers and other dtypes, and for weights that do not fit.
    """
    if input.ndim != 1 or input.dtype.kind not in "ui":
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and weights._data.shape != input._data.shape and input._data.size:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    if not input._data.size:
        return fixed(np.zeros(minlength, np.int64))
    if input.dtype.kind == "i" and bool(reduce.any(F.lt(input, 0))):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    most, size = reduce.amax(input), minlength
    if not minlength or P.ge(most, minlength)._observed("a number of bins", truth=True):
        size = int(most._observed("a number of bins")) + 1
    if weights is None:
        return _added(to_dtype(input, int64), None, size)
    added = to_dtype(weights.detach(), float32 if weights.dtype is float32 else float64)
    return underived("bincount", _added(to_dtype(input, int64), added, size), weights)


def _added(places: Tensor, weights: Tensor | None, size: int) -> Tensor:
    """How often each integer below ``size`` is among the places, or the sum of the weights there."""
    added = P.full(value=1, shape=places._data.shape, dtype="i64") if weights is None else weights
    return P.index_add(added, places, axis=0, extent=size)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """The number of elements in each of ``bins`` equal intervals from ``min`` to ``max`` (both 0: the elements' range).

    The last interval includes its upper end. Raises RuntimeError for bins and ranges that do not fit.
    """
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    require_real("histc", input)
    if min > max:
        raise RuntimeError("max must be larger than min")
    x = shape.reshape(input.detach(), (-1,))
    x = x if x.dtype in (float32, float64) else to_dtype(x, float32 if x.is_floating_point() else float64)
    given = min < max or not x._data.size
    low, high = (float(min), float(max)) if given else _extremes(x, "tracer.histc: range of")
    edges = _spaced(*_apart(low, high, 1), int(bins), dtype=x.dtype, device=beside(x))
    inside, at = _interval(x, edges)
    counts = _added(F.where(inside, at, bins), None, int(bins) + 1)
    return to_dtype(shape.narrow(counts, 0, 0, int(bins)), input.dtype)


def histogram(
    input: Tensor,
    bins: int | Tensor = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Histogram:
    """The number of elements in each bin, and the edges of the bins.

    ``bins``: the number of equal bins over ``range`` (by default from the minimum to the maximum), or their edges,
    ascending, as a tensor of the input's dtype. The last bin includes its upper edge. ``weight``, of the input's shape, is
    summed instead of counted. ``density``: divided by the total and the widths. Not differentiable.

    Raises RuntimeError for bins, ranges or weights that do not fit, NotImplementedError for dtypes that are not floating.
    """
    points = shape.reshape(input, (-1, 1))
    flat = None if weight is None else _weights(weight, input, input._data.shape, shape.reshape(weight, (-1,)))
    given: Any = [bins] if isinstance(bins, Tensor) else (bins,)
    hist, edges = _count(points, given, range, flat, density)
    return Histogram(hist, edges[0])


def histogramdd(
    input: Tensor,
    bins: int | Sequence[int] | Sequence[Tensor],
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Histogramdd:
    """The histogram of points (..., D), an array of D axes, and the edges along each.

    ``bins`` is a number for all axes, a number for each, or the edges of each; ``range`` a minimum and a maximum for each
    axis; ``weight`` has the shape of the points without their last axis. Raises like ``histogram``.
    """
    if input.ndim < 2:
        raise RuntimeError("tracer.histogramdd: input tensor should have at least 2 dimensions")
    d = input._data.shape[-1]
    given = [bins] * d if isinstance(bins, int) else list(bins)
    if len(given) != d:
        raise RuntimeError("histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    points = shape.reshape(input, (-1, d))
    flat = None if weight is None else _weights(weight, input, input._data.shape[:-1], shape.reshape(weight, (-1,)))
    return _count(points, given, range, flat, density)


def _weights(weight: Tensor, input: Tensor, wanted: tuple[int, ...], flat: Tensor) -> Tensor:
    if weight._data.shape != wanted:
        raise RuntimeError(
            "tracer.histogramdd: if weight tensor is provided it should have the same shape as the input tensor excluding its "
            f"innermost dimension, but got input with shape {list(input.shape)} and weight with shape {list(weight.shape)}"
        )
    if weight.dtype is not input.dtype:
        raise RuntimeError(
            "tracer.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same dtype, but "
            f"got input({input.dtype.name}), and weight({weight.dtype.name})"
        )
    return flat.detach()


def _count(points: Tensor, bins: Sequence[Any], limits: Any, weight: Tensor | None, density: bool) -> Histogramdd:
    if not points.is_floating_point():
        raise NotImplementedError(f"\"histogramdd\" not implemented for '{points.dtype.ctype}'")
    x = points.detach()
    if limits is not None and len(limits) != 2 * len(bins):
        raise RuntimeError(
            f"tracer.histogramdd: for a {len(bins)}-dimensional histogram range should have {2 * len(bins)} elements, but got "
            f"{len(limits)}"
        )
    columns = [shape.reshape(shape.narrow(x, 1, k, 1), (-1,)) for k in range(len(bins))]
    edges = [
        _edges(k, column, b, None if limits is None else limits[2 * k : 2 * k + 2])
        for k, (column, b) in enumerate(zip(columns, bins, strict=True))
    ]
    counts = [e._data.shape[0] - 1 for e in edges]
    place: Any = P.full(value=0, shape=columns[0]._data.shape, dtype="i64")
    inside: Any = None
    for column, e, n, b in zip(columns, edges, counts, bins, strict=True):
        within, at = _between(column, e) if isinstance(b, Tensor) else _nearest(column, e)
        inside = within if inside is None else F.bitwise_and(inside, within)
        place = F.add(F.mul(place, n), at)
    total = math.prod(counts)
    sums = _added(F.where(inside, place, total), weight, total + 1)  # the last is that of points outside
    hist = to_dtype(shape.reshape(shape.narrow(sums, 0, 0, total), tuple(counts)), x.dtype)
    if density:
        hist = F.div(hist, reduce.sum(hist))
        for k, e in enumerate(edges):
            widths = F.sub(shape.narrow(e, 0, 1, counts[k]), shape.narrow(e, 0, 0, counts[k]))
            hist = F.div(hist, shape.reshape(widths, tuple(-1 if i == k else 1 for i in range(len(counts)))))
    return Histogramdd(underived("histogram", hist.detach(), points, weight), tuple(edges))


def _between(x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Whether elements are between the first and the last edge, and the numbers of their bins."""
    n = edges._data.shape[0] - 1
    inside = F.bitwise_and(F.ge(x, shape.narrow(edges, 0, 0, 1)), F.le(x, shape.narrow(edges, 0, n, 1)))
    return inside, F.clamp(F.sub(searchsorted(edges, x, right=True), 1), 0, max(n - 1, 0))


def _interval(x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The same for equal bins, by arithmetic: near an edge, rounding may give the bin beside."""
    n = edges._data.shape[0] - 1
    first, last = shape.narrow(edges, 0, 0, 1), shape.narrow(edges, 0, n, 1)
    inside = F.bitwise_and(F.ge(x, first), F.le(x, last))
    above, width = F.sub(F.where(inside, x, first), first), F.sub(last, first)
    scaled = F.div(F.mul(above, n), width)
    scaled = F.where(isfinite(scaled), scaled, F.mul(F.div(above, width), n))  # the first product may be too large
    return inside, F.clamp(to_dtype(scaled, int64), 0, n - 1)


def _nearest(x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The same, compared with the edges of the bin."""
    n = edges._data.shape[0] - 1
    inside, at = _interval(x, edges)
    below = F.lt(x, P.index_select(edges, at, axis=0))
    above = F.ge(x, P.index_select(edges, F.add(at, 1), axis=0))
    return inside, F.clamp(F.sub(F.add(at, to_dtype(above, int64)), to_dtype(below, int64)), 0, n - 1)


def _edges(axis: int, x: Tensor, bins: Any, limits: Any) -> Tensor:
    if isinstance(bins, Tensor):
        if bins.ndim != 1:
            raise RuntimeError(
                f"tracer.histogramdd: bins tensor should have one dimension, but got {bins.ndim} dimensions in the bins tensor "
                f"for dimension {axis}"
            )
        if bins.dtype is not x.dtype:
            raise RuntimeError(
                "tracer.histogramdd: input tensor and bins tensors should have the same dtype, but got input with dtype "
                f"{x.dtype.name} and bins for dimension {axis} with dtype {bins.dtype.name}"
            )
        if bins._data.shape[0] == 0:
            raise RuntimeError(f"tracer.histogramdd: bins tensor for dimension {axis} should have at least one element")
        return F.clone(bins.detach())
    if bins <= 0:
        raise RuntimeError(f"tracer.histogram(): bins must be > 0, but got {bins} for dimension {axis}")
    low: Any
    high: Any
    if limits is not None:
        low, high = (float(v) for v in limits)
        if not low <= high:
            raise RuntimeError(
                f"tracer.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for dimension {axis}"
            )
    elif x.numel() == 0:
        low, high = 0.0, 1.0
    else:
        low, high = _extremes(x, f"tracer.histogramdd: dimension {axis}'s range")
    return _spaced(*_apart(low, high, 0.5), bins, dtype=x.dtype, device=beside(x))


def _extremes(x: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """The least and the greatest element. Raises RuntimeError if they are not finite."""
    low, high = reduce.amin(x), reduce.amax(x)
    if not bool(F.bitwise_and(isfinite(low), isfinite(high))):
        raise RuntimeError(f"{what} [{low.item():g}, {high.item():g}] is not finite")
    return low, high


def _apart(low: Any, high: Any, margin: float) -> tuple[Any, Any]:
    """Both limits; with a margin around them if they are equal."""
    if not isinstance(low, Tensor):
        return (low - margin, high + margin) if low == high else (low, high)
    same = F.eq(low, high)
    return F.where(same, F.sub(low, margin), low), F.where(same, F.add(high, margin), high)


@factory
def _spaced(low: Any, high: Any, bins: int, *, dtype: DType) -> Tensor:
    """``bins + 1`` evenly spaced numbers, computed in float64 from both ends, so that the last one is exactly ``high``."""
    i = P.iota(shape=(bins + 1,), axis=0, dtype="f64")
    low, high = (to_dtype(v, float64) if isinstance(v, Tensor) else v for v in (low, high))
    step = F.div(F.sub(high, low), bins) if isinstance(high, Tensor) else (high - low) / bins
    upwards, downwards = F.add(F.mul(i, step), low), F.sub(high, F.mul(F.sub(bins, i), step))
    return to_dtype(F.where(F.lt(i, (bins + 1) / 2), upwards, downwards), dtype)
