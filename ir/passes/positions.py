"""Positions of extrema as two reductions that are vectorized: the extremum, and the first position that has it."""

from __future__ import annotations

from ..graph import Graph, Op, Rewriter, Value
from ..interp import Build, using
from ..ops import argmax, argmin, broadcast, cast, eq, iota, max_, min_, ne, or_, where
from ..ops.reduce import SHORT, kept_axes

_EXTREMA = {argmax: max_, argmin: min_}


def find_positions(graph: Graph) -> Graph:
    if not any(op.primitive in _EXTREMA for op in graph.ops):
        return graph
    rewriter = Rewriter(graph)

    def replace(op: Op) -> Value | None:
        (axis,) = op.attrs["axes"] if op.primitive in _EXTREMA else (-1,)
        if axis < 0 or op.operands[0].shape[axis] <= SHORT:  # short axes are unrolled
            return None
        x = rewriter.map[op.operands[0]]
        return _first(x, _EXTREMA[op.primitive](x, axes=(axis,)), axis)

    with using(Build(rewriter.builder)):
        return rewriter.replaced(replace)


def _first(x: Value, extremum: Value, axis: int) -> Value:
    """The first position along an axis of the extremum, or of a NaN."""
    best = eq(x, broadcast(extremum, shape=x.shape, axes=kept_axes(len(x.shape), (axis,))))
    if x.dtype.is_floating_point:
        best = or_(best, ne(x, x))
    extent = x.shape[axis]
    places = iota(shape=x.shape, axis=axis, dtype="i32" if extent < 1 << 31 else "i64")
    return cast(min_(where(best, places, extent), axes=(axis,)), dtype="i64")  # type: ignore[no-any-return]
