"""Histograms: counts or weights of elements per bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core.device import beside
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import DType, float64
from . import pointwise as F
from . import reduce, shape
from .common import to_dtype, underived
from .create import factory
from .order import searchsorted
from .special import isfinite

__all__ = ["histogram", "histogramdd"]


class Histogram(NamedTuple):
    hist: Tensor
    bin_edges: Tensor


class Histogramdd(NamedTuple):
    hist: Tensor
    bin_edges: tuple[Tensor, ...]


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
    for column, e, n in zip(columns, edges, counts, strict=True):
        first, last = shape.narrow(e, 0, 0, 1), shape.narrow(e, 0, n, 1)
        within = F.bitwise_and(F.ge(column, first), F.le(column, last))
        inside = within if inside is None else F.bitwise_and(inside, within)
        at = F.clamp(F.sub(searchsorted(e, column, right=True), 1), 0, max(n - 1, 0))
        place = F.add(F.mul(place, n), at)
    one = P.full(value=1, shape=place._data.shape, dtype=x.dtype.short) if weight is None else weight
    total = 1
    for n in counts:
        total *= n
    hist = P.index_add(F.where(inside, one, 0.0), F.where(inside, place, 0), axis=0, extent=max(total, 1))
    hist = shape.reshape(shape.narrow(hist, 0, 0, total), tuple(counts))
    if density:
        hist = F.div(hist, reduce.sum(hist))
        for k, e in enumerate(edges):
            widths = F.sub(shape.narrow(e, 0, 1, counts[k]), shape.narrow(e, 0, 0, counts[k]))
            hist = F.div(hist, shape.reshape(widths, tuple(-1 if i == k else 1 for i in range(len(counts)))))
    return Histogramdd(underived("histogram", hist.detach(), points, weight), tuple(edges))


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
        if low == high:
            low, high = low - 0.5, high + 0.5
    elif x.numel() == 0:
        low, high = 0.0, 1.0
    else:
        low, high = reduce.amin(x), reduce.amax(x)
        if not bool(F.bitwise_and(isfinite(low), isfinite(high))):
            raise RuntimeError(f"tracer.histogramdd: dimension {axis}'s range [{low.item():g}, {high.item():g}] is not finite")
        same = F.eq(low, high)
        low, high = F.where(same, F.sub(low, 0.5), low), F.where(same, F.add(high, 0.5), high)
    return _spaced(low, high, bins, dtype=x.dtype, device=beside(x))


@factory
def _spaced(low: Any, high: Any, bins: int, *, dtype: DType) -> Tensor:
    """``bins + 1`` evenly spaced numbers, computed in float64 from both ends, so that the last one is exactly ``high``."""
    i = P.iota(shape=(bins + 1,), axis=0, dtype="f64")
    low, high = (to_dtype(v, float64) if isinstance(v, Tensor) else v for v in (low, high))
    step = F.div(F.sub(high, low), bins) if isinstance(high, Tensor) else (high - low) / bins
    upwards, downwards = F.add(F.mul(i, step), low), F.sub(high, F.mul(F.sub(bins, i), step))
    return to_dtype(F.where(F.lt(i, (bins + 1) / 2), upwards, downwards), dtype)
