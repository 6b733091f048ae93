"""Reductions in two stages, for devices with more threads than a kernel has rows or columns.

A GPU kernel gives a row to a block and a column to a thread. A matrix of few long rows, or of many rows and few columns, leaves
most of the device idle. So the reduced axis is cut into equal parts. One kernel reduces the parts, and another joins their
results. The parts depend on the shape alone, and so does the order of addition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import broadcast, full, fusion, max_, min_, reshape, sum_
from ..primitive import Kind

_ROWS, _LEAST_ROW = 256, 2048  # blocks that fill a device; elements that are worth one
_COLUMNS, _LEAST_COLUMN = 1 << 15, 32  # threads that fill a device; rows that are worth one


def two_stages(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        found = _reduction(op.attrs["body"]) if op.primitive is fusion else None
        count = _parts(*found) if found is not None else 0
        if found is None or not count:
            rewriter.copy(op)
        else:
            _Split(rewriter, op, *found, count).write()
    return rewriter.finish()


def _parts(shape: tuple[int, ...], axis: int) -> int:
    """Into how many equal parts the axis is cut; 0 if it is not."""
    n, kept = shape[axis], math.prod(shape) // max(shape[axis], 1)
    wanted, least = (_ROWS, _LEAST_ROW) if axis == len(shape) - 1 else (_COLUMNS, _LEAST_COLUMN)
    if not kept or kept * 2 > wanted or n < 2 * least:
        return 0
    most = min(wanted // kept, n // least)
    return next((c for c in range(most, 1, -1) if n % c == 0), 0)


def _reduction(body: Graph) -> tuple[tuple[int, ...], int] | None:
    """The shape and the axis that a body reduces, if it has elementwise work around reductions of one axis and nothing else."""
    reductions = [op for op in body.ops if op.primitive.kind is Kind.REDUCTION]
    found = {(op.operands[0].shape, op.attrs["axes"]) for op in reductions}
    if len(found) != 1:
        return None
    ((shape, axes),) = found
    if len(axes) != 1 or not all(op.primitive in (sum_, max_, min_) for op in reductions):
        return None
    (axis,) = axes
    kept = (*shape[:axis], *shape[axis + 1 :])
    if kept == (shape[axis],):  # which axis a vector belongs to must be plain
        return None
    allowed = (shape, kept, (shape[axis],), ())
    if any(v.shape not in allowed for v in (*body.inputs, *(op.result for op in body.ops))):
        return None
    after = _after(body)
    for op in body.ops:
        if not (op.primitive.kind in (Kind.ELEMENTWISE, Kind.REDUCTION) or op.primitive in (broadcast, full)):
            return None
        if op.result in after and op.result.shape not in (kept, ()):
            return None
    return shape, axis


def _after(body: Graph) -> set[Value]:
    """What is computed from a reduction, it included."""
    found: set[Value] = set()
    for op in body.ops:
        if op.primitive.kind is Kind.REDUCTION or any(v in found for v in op.operands):
            found.add(op.result)
    return found


class _Split:
    """One fusion as two."""

    def __init__(self, rewriter: Rewriter, op: Op, shape: tuple[int, ...], axis: int, count: int):
        self.rewriter, self.op, self.body = rewriter, op, op.attrs["body"]
        self.shape, self.axis = shape, axis
        parts = (count, shape[axis] // count)
        self.cut = {shape: (*shape[:axis], *parts, *shape[axis + 1 :]), (shape[axis],): parts}
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
        """As the body, to the reductions of the parts."""
        builder = Builder(self.body.name)
        new = {v: builder.input(v.type.with_shape(self.cut.get(v.shape, v.shape)), v.name) for v in self.body.inputs}
        for o in self.body.ops:
            attrs = dict(o.attrs)
            if o.primitive.kind is Kind.REDUCTION:
                attrs["axes"] = (self.axis + 1,)
            elif o.result in self.after:
                continue
            elif o.primitive is broadcast and attrs["shape"] == self.shape:
                attrs["axes"] = tuple(b for a in attrs["axes"] for b in self._axes(a))
            if attrs.get("shape") in self.cut:
                attrs["shape"] = self.cut[attrs["shape"]]
            (new[o.result],) = builder.append(o.primitive, [new[v] for v in o.operands], attrs, o.loc)
        return builder.finish([*(new[o.result] for o in self.reductions), *(new[v] for v in early)])

    def _axes(self, a: int) -> tuple[int, ...]:
        """Where an axis of the shape is in the cut shape."""
        return (a, a + 1) if a == self.axis else (a if a < self.axis else a + 1,)

    def _second(self, late: Sequence[Value], made: Sequence[Value]) -> tuple[Graph, list[Value]]:
        """The reductions of what the parts gave, and what depends on them."""
        builder = Builder(f"{self.body.name}.total")
        reads = list(made[: len(self.reductions)])
        new = {o.result: builder.input(p.type) for o, p in zip(self.reductions, reads, strict=True)}
        for o in self.reductions:
            (new[o.result],) = builder.append(o.primitive, [new[o.result]], {**o.attrs, "axes": (self.axis,)}, o.loc)
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
