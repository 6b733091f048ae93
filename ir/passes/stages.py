"""Two-stage reductions, for devices with more threads than a kernel has rows or columns.

A GPU kernel assigns a row to a block and a column to a thread. A matrix of few long rows, or of many rows and few columns,
leaves most of the device idle. So the reduced axes are cut into equal parts. One kernel reduces the parts, and another
combines their results. If kept axes stand between reduced ones, the last axes are reduced first. The parts depend only on
the shape, and so does the order of addition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import broadcast, full, fusion, max_, min_, reshape, sum_
from ..primitive import Kind

_ROWS, _LEAST_ROW = 256, 2048  # blocks that fill a device; elements worth a block
_COLUMNS, _LEAST_COLUMN = 1 << 15, 32  # threads that fill a device; rows worth a thread


def two_stages(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        division = _division(op.attrs["body"]) if op.primitive is fusion else None
        if division is None:
            rewriter.copy(op)
        else:
            _Split(rewriter, op, division).write()
    return rewriter.finish()


@dataclass(frozen=True)
class _Division:
    """How the reductions of a body are divided into two stages: the shape and axes of each."""

    shape: tuple[int, ...]  # the reduced shape
    kept: tuple[int, ...]  # the results' axes
    cut: tuple[int, ...]  # the shape, with the reduced axes in parts
    places: dict[int, tuple[int, ...]]  # maps an axis of the shape to axes of the cut shape
    first: tuple[int, ...]
    second: tuple[int, ...]


def _division(body: Graph) -> _Division | None:
    """The division of a body's reductions; None if they are not divided, or if the body does something else."""
    reductions = [op for op in body.ops if op.primitive.kind is Kind.REDUCTION]
    found = {(op.operands[0].shape, op.attrs["axes"]) for op in reductions}
    if len(found) != 1 or not all(op.primitive in (sum_, max_, min_) for op in reductions):
        return None
    ((shape, axes),) = found
    if not axes or len(axes) == len(shape) > 1:  # block_reductions divides full reductions
        return None
    division = _in_runs(shape, axes) if axes[-1] - axes[0] >= len(axes) else _in_parts(shape, axes)
    return division if division is not None and _fits(body, division) else None


def _in_runs(shape: tuple[int, ...], axes: tuple[int, ...]) -> _Division | None:
    """The last axes first, if kept axes precede them: sums of channels, for example."""
    last = tuple(a for a in axes if all(b in axes for b in range(a, axes[-1])))
    rows = math.prod(n for a, n in enumerate(shape) if a not in last)
    if not rows or math.prod(shape) // rows < 32 or math.prod(shape) < _ROWS * _LEAST_ROW:
        return None
    kept = tuple(n for a, n in enumerate(shape) if a not in axes)
    left = [a for a in range(len(shape)) if a not in last]
    second = tuple(i for i, a in enumerate(left) if a in axes)
    return _Division(shape, kept, shape, {a: (a,) for a in range(len(shape))}, last, second)


def _in_parts(shape: tuple[int, ...], axes: tuple[int, ...]) -> _Division | None:
    """Adjacent axes merged and cut into equal parts."""
    begin, end = axes[0], axes[-1] + 1
    n, kept = math.prod(shape[begin:end]), (*shape[:begin], *shape[end:])
    count = _parts(n, math.prod(kept), trailing=end == len(shape))
    if not count:
        return None
    cut = (*shape[:begin], count, n // count, *shape[end:])
    places: dict[int, tuple[int, ...]] = {
        a: (a,) if a < begin else (a - len(axes) + 2,) for a in range(len(shape)) if a not in axes
    }
    if len(axes) == 1:
        places[begin] = (begin, begin + 1)
    return _Division(shape, kept, cut, places, (begin + 1,), (begin,))


def _parts(n: int, kept: int, trailing: bool) -> int:
    """The number of equal parts of ``n`` elements, for each of the ``kept`` results; 0 if they are not cut."""
    wanted, least = (_ROWS, _LEAST_ROW) if trailing else (_COLUMNS, _LEAST_COLUMN)
    if not kept or kept * 2 > wanted or n < 2 * least:
        return 0
    # One thread combines a column's parts, a warp or a block a row's.
    most = min(wanted // kept, n // least, n if trailing else math.isqrt(n))
    return next((c for c in range(most, 1, -1) if n % c == 0), 0)


def _fits(body: Graph, d: _Division) -> bool:
    """True if a body has only elementwise operations around its reductions, and its axes are distinguishable."""
    vector = (d.shape[d.first[0] - 1],) if d.cut != d.shape and len(d.places) == len(d.shape) else None
    if d.kept == vector:
        return False
    allowed = (d.shape, d.kept, (), *([vector] if vector else []))
    if any(v.shape not in allowed for v in (*body.inputs, *(op.result for op in body.ops))):
        return False
    after = _after(body)
    for op in body.ops:
        if not (op.primitive.kind in (Kind.ELEMENTWISE, Kind.REDUCTION) or op.primitive in (broadcast, full)):
            return False
        if op.result in after and op.result.shape not in (d.kept, ()):
            return False
        if op.primitive is broadcast and op.result.shape == d.shape and not set(op.attrs["axes"]) <= set(d.places):
            return False
    return True


def _after(body: Graph) -> set[Value]:
    """The values computed from a reduction, including its result."""
    found: set[Value] = set()
    for op in body.ops:
        if op.primitive.kind is Kind.REDUCTION or any(v in found for v in op.operands):
            found.add(op.result)
    return found


class _Split:
    """Splits one fusion into two."""

    def __init__(self, rewriter: Rewriter, op: Op, division: _Division):
        self.rewriter, self.op, self.body, self.division = rewriter, op, op.attrs["body"], division
        d = division
        self.cut = {d.shape: d.cut}
        if d.cut != d.shape and len(d.places) == len(d.shape):  # vectors along the cut axis
            self.cut[(d.shape[d.first[0] - 1],)] = d.cut[d.first[0] - 1 : d.first[0] + 1]
        self.after = _after(self.body)
        self.reductions = [o for o in self.body.ops if o.primitive.kind is Kind.REDUCTION]

    def write(self) -> None:
        op, body, outer = self.op, self.body, self.rewriter.builder
        outer.loc = op.loc
        early = [v for v in body.outputs if v not in self.after]
        made = outer.append(fusion, [self._reshaped(v, x) for v, x in self._operands()], {"body": self._first(early)})
        given = dict(zip(early, made[len(self.reductions) :], strict=True))
        late = [v for v in body.outputs if v in self.after]
        second, reads = self._second(late, made)
        given |= dict(zip(late, outer.append(fusion, reads, {"body": second}), strict=True))
        for inner, old in zip(body.outputs, op.results, strict=True):
            value = given[inner]
            back = value.shape != old.shape
            self.rewriter.map[old] = outer.append(reshape, [value], {"shape": old.shape})[0] if back else value

    def _operands(self) -> Sequence[tuple[Value, Value]]:
        return list(zip(self.op.operands, self.body.inputs, strict=True))

    def _reshaped(self, v: Value, x: Value) -> Value:
        mapped = self.rewriter.map[v]
        if x.shape not in self.cut:
            return mapped
        return self.rewriter.builder.append(reshape, [mapped], {"shape": self.cut[x.shape]})[0]

    def _first(self, early: Sequence[Value]) -> Graph:
        """The body up to the reductions of the parts."""
        builder = Builder(self.body.name)
        new = {v: builder.input(v.type.with_shape(self.cut.get(v.shape, v.shape)), v.name) for v in self.body.inputs}
        for o in self.body.ops:
            attrs = dict(o.attrs)
            if o.primitive.kind is Kind.REDUCTION:
                attrs["axes"] = self.division.first
            elif o.result in self.after:
                continue
            elif o.primitive is broadcast and attrs["shape"] == self.division.shape:
                attrs["axes"] = tuple(b for a in attrs["axes"] for b in self.division.places[a])
            if attrs.get("shape") in self.cut:
                attrs["shape"] = self.cut[attrs["shape"]]
            (new[o.result],) = builder.append(o.primitive, [new[v] for v in o.operands], attrs, o.loc)
        return builder.finish([*(new[o.result] for o in self.reductions), *(new[v] for v in early)])

    def _second(self, late: Sequence[Value], made: Sequence[Value]) -> tuple[Graph, list[Value]]:
        """The reductions of the parts' results, and what depends on them."""
        builder = Builder(f"{self.body.name}.total")
        reads = list(made[: len(self.reductions)])
        new = {o.result: builder.input(p.type) for o, p in zip(self.reductions, reads, strict=True)}
        for o in self.reductions:
            (new[o.result],) = builder.append(o.primitive, [new[o.result]], {**o.attrs, "axes": self.division.second}, o.loc)
        kept = self.reductions[0].result.shape
        for v, x in self._operands():
            if x.shape in (kept, ()):
                new[x] = builder.input(x.type, x.name)
                reads.append(self.rewriter.map[v])
        for o in self.body.ops:
            small = o.primitive.kind is not Kind.REDUCTION and o.result.shape in (kept, ())
            if small and all(v in new for v in o.operands):
                (new[o.result],) = builder.append(o.primitive, [new[v] for v in o.operands], o.attrs, o.loc)
        return builder.finish([new[v] for v in late]), reads
