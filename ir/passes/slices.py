"""Reads and writes of slices: a read finds the value that was written, and writes that nothing reads go away.

In a loop that writes an array row by row, every update is a new value of the whole array. Here a read of a row looks through
the updates of other rows. If it reads exactly what an update wrote, it becomes that value: a recurrence becomes arithmetic
on rows, and the gradient of its array needs no array. An update whose elements are all overwritten is skipped.

Cotangents of slices are zeros around a part (``pad``). Where many of them are added to one array, each becomes an update of
its part: a sum is as long as the parts together, not as the array times their number. Outside its part an element keeps the
sign of a zero, which the addition of zero would lose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ..graph import Graph, Op, Rewriter, Value, free
from ..ops import add, full, pad, slice_, slice_update
from ..regions import History, Noted, Region, attributes, extents, inside, part_of, region_of, whole

_MANY = 4  # parts of an array that are updated separately, rather than in a kernel for the whole
_SMALL = 4  # a part has at most one of this many elements


def simplify_slices(graph: Graph) -> Graph:
    if not any(op.primitive in (slice_, slice_update, pad) for op in graph.ops):
        return graph
    between = _Slices(graph).run()
    after = _without_overwritten(between)
    free(between, graph, after)
    return after


@dataclass(eq=False)
class _Sequence:
    """Updates, each of the result of the one before: the array before the first, and the results by what they write."""

    first: Value
    writes: History[Value] = field(default_factory=History)


class _Slices(Rewriter):
    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.sequence: dict[Value, _Sequence] = {}  # of results of updates
        self.count: dict[Value, int] = {}  # of updates in the sequence so far
        self.old: set[Value] = set()  # arrays that have been updated
        self.many = _summed(graph)

    def run(self) -> Graph:
        for op in self.graph.ops:
            if op.primitive is slice_:
                self._read(op)
            elif op.primitive is slice_update:
                x, v = (self.map[u] for u in op.operands)
                self.map[op.result] = self._update(x, v, region_of(op), op)
            elif op.primitive is add and op.result in self.many:
                self._add(op)
            else:
                self.copy(op)
        return self.finish()

    def _origin(self, x: Value, region: Region) -> tuple[Value, Region]:
        """The value and the region of it that have the elements ``region`` of ``x``."""
        while True:
            op = x.op
            if op is not None and op.primitive is slice_:
                x, region = op.operands[0], part_of(region, region_of(op))
                continue
            if x not in self.sequence:
                return x, region
            sequence = self.sequence[x]
            last = sequence.writes.latest(region, self.count[x])
            update = last.op if last is not None else None
            if last is None or update is None:
                x = sequence.first
            elif region_of(update) == region:
                x = update.operands[1]
                region = whole(x.shape)
            else:
                return last, region

    def _read(self, op: Op) -> None:
        x = self.map[op.operands[0]]
        origin, region = self._origin(x, region_of(op))
        if origin is x and x is op.operands[0]:
            self.copy(op)
        else:
            self.map[op.result] = self._slice(origin, region, op)

    def _slice(self, x: Value, region: Region, op: Op) -> Value:
        """The elements ``region`` of ``x``."""
        if extents(region) == x.shape:
            return x
        if x.op is not None and x.op.primitive is full:
            return self.builder.append(full, (), {**x.op.attrs, "shape": extents(region)}, op.loc)[0]
        return self.builder.append(slice_, [x], attributes(region), op.loc)[0]

    def _update(self, x: Value, v: Value, region: Region, op: Op) -> Value:
        """``x`` with the elements ``region`` replaced by ``v``."""
        if v.shape == x.shape:
            return v
        if not v.type.numel or self._has(x, v, region):
            return x
        if op.primitive is slice_update and op.operands == (x, v):
            self.copy(op)
            result = op.result
        else:
            (result,) = self.builder.append(slice_update, [x, v], attributes(region), op.loc)
            result.name = op.result.name
        if x in self.old or x not in self.sequence:
            self.sequence[result], self.count[result] = _Sequence(x), 1
        else:
            self.sequence[result], self.count[result] = self.sequence[x], self.count[x] + 1
        self.sequence[result].writes.add(region, result)
        self.old.add(x)
        return result

    def _has(self, x: Value, v: Value, region: Region) -> bool:
        """True if ``x`` has the elements of ``v`` there already."""
        origin, there = self._origin(x, region)
        if origin is v:
            return True
        if v.op is None or origin.op is None:
            return False
        if v.op.primitive is full and origin.op.primitive is full:
            return bool(_bits(v.op) == _bits(origin.op))
        return v.op.primitive is slice_ and v.op.operands[0] is origin and region_of(v.op) == there

    def _add(self, op: Op) -> None:
        """A sum with zeros around a part: an update of the part."""
        x, y = (self.map[v] for v in op.operands)
        part = _part(y) or _part(x)
        if part is None:
            self.copy(op)
            return
        if _part(y) is None:
            x, y = y, x
        inner, region = part
        origin, there = self._origin(x, region)
        here = self._slice(origin, there, op)
        terms = (here, inner) if x is self.map[op.operands[0]] else (inner, here)
        (total,) = self.builder.append(add, terms, {}, op.loc)
        self.map[op.result] = self._update(x, total, region, op)


def _without_overwritten(graph: Graph) -> Graph:
    """Skips updates whose elements later ones overwrite before anything reads them."""
    users, outputs = graph.users(), set(graph.outputs)
    later: dict[Value, Noted[Region]] = {}  # for values that only an update reads: what it and those after it write
    dead: set[Op] = set()
    for op in reversed(graph.ops):
        if op.primitive is not slice_update:
            continue
        region = region_of(op)
        writes = later.pop(op.result, Noted[Region]())
        if any(inside(region, other) for other in writes.overlapping(region)):
            dead.add(op)
        else:
            writes.add(region, region)
        x, v = op.operands
        if users[x] == [op] and x is not v and x not in outputs:
            later[x] = writes
    if not dead:
        return graph
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op in dead:
            rewriter.map[op.result] = rewriter.map[op.operands[0]]
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _bits(op: Op) -> bytes:
    """The number of a constant: -0.0 is not 0.0."""
    return np.asarray(op.attrs["value"], op.result.dtype.numpy).tobytes()


def _part(v: Value) -> tuple[Value, Region] | None:
    """The value around which ``v`` has zeros, and where it is, if it is a small part."""
    op = v.op
    if op is None or op.primitive is not pad or op.attrs["value"] != 0:
        return None
    (inner,) = op.operands
    if not inner.type.numel or inner.type.numel * _SMALL > v.type.numel:
        return None
    attrs = zip(inner.shape, op.attrs["low"], op.attrs["interior"], strict=True)
    return inner, tuple(range(low, low + (n - 1) * (gap + 1) + 1, gap + 1) for n, low, gap in attrs)


def _summed(graph: Graph) -> set[Value]:
    """The sums of an array and a padded part, where an array has many parts that are added or replaced."""
    array: dict[Value, Value] = {}  # the first value of an array that is changed by parts
    sums: list[Value] = []
    count: Counter[Value] = Counter()
    for op in graph.ops:
        if op.primitive is slice_update:
            x = op.operands[0]
        elif op.primitive is add and op.result.dtype.kind != "b":
            x, y = op.operands
            if _part(y) is None:
                if _part(x) is None:
                    continue
                x, y = y, x
            sums.append(op.result)
        else:
            continue
        first = array[op.result] = array.get(x, x)
        count[first] += 1
    return {v for v in sums if count[array[v]] >= _MANY}
