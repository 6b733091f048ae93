"""Computes the scores of attention by parts, however they are spelled.

A product of thin matrices can be far larger than its operands, and often only elementwise operations, sums, and products that
make it small again read it: softmax(q k') v, sums of a kernel over pairs of points, and the gradients of both. Then each part
of the rows is computed from the operands to the results before the next part, and no whole matrix is in memory.

A gradient that reads the scores again, after the result is known, recomputes their parts, also the maximum and the sum of a
row: to read those of the first time would make one kernel of both times, and both parts would be in memory. This is the method
of T. Dao et al., "FlashAttention" (2022), derived from the graph.

All these values are seen as arrays of ``(leads, rows, columns)`` or ``(leads, rows)``. Of other operands, a part reads a slice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Graph, Op, Rewriter, Value
from ..ops import add, broadcast, concatenate, constant, encode, full, iota, matmul, reshape, slice_, sum_, uniform
from ..primitive import Kind
from .dce import dce

LARGE = 1 << 26  # bytes: a smaller matrix is computed whole
PART = 1 << 21  # elements in memory at a time: some megabytes, which fit a cache
_MOST_PARTS = 256  # each is several operations of a graph
_THIN = 256  # an inner extent up to this is as fast to multiply again as a stored product is to write and read


def divide(graph: Graph) -> Graph:
    waiting = list(_regions(graph)) if any(is_thin(op) for op in graph.ops) else []
    divided = False
    while waiting:
        region = _Region(graph, *waiting.pop(0))
        if region.repays():
            division = _Division(region)
            graph, new, divided = division.run(), division.rewriter.map, True
            waiting = [
                (grid, {new[v] for v in members}, {new[v] for v in free if v in new})
                for grid, members, free in waiting
                if all(v in new for v in members)
            ]
    return dce(graph) if divided else graph


def is_thin(op: Op) -> bool:
    """Whether an operation is a large product of thin matrices, which is computed again rather than stored."""
    if op.primitive is not matmul or not op.result.dtype.is_native or op.result.type.nbytes < LARGE:
        return False
    inner = op.operands[0].shape[-2 if op.attrs["ta"] else -1]
    rows, columns = op.result.shape[-2:]
    return rows > 1 and 0 < inner <= _THIN and 2 * inner <= columns


@dataclass(frozen=True)
class _Grid:
    """The extents of large values: of all leading axes, and of the last two."""

    leads: int
    rows: int
    columns: int

    def is_large(self, v: Value) -> bool:
        shape = v.shape
        return len(shape) >= 2 and shape[-2:] == (self.rows, self.columns) and math.prod(shape[:-2]) == self.leads

    def is_per_row(self, v: Value) -> bool:
        shape = v.shape[:-1] if v.shape[-1:] == (1,) else v.shape
        return shape[-1:] == (self.rows,) and math.prod(shape[:-1]) == self.leads


def _regions(graph: Graph) -> Iterator[tuple[_Grid, set[Value], set[Value]]]:
    """The sets of connected values whose parts are computed from one another, and the values that each part computes anew."""
    products = [op for op in graph.ops if is_thin(op)]
    for grid in dict.fromkeys(_Grid(math.prod(op.result.shape[:-2]), *op.result.shape[-2:]) for op in products):
        members, free = _connected(graph, grid)
        for connected in members:
            yield grid, connected, free


def _connected(graph: Graph, grid: _Grid) -> tuple[list[set[Value]], set[Value]]:
    parent: dict[Value, Value] = {}
    free: set[Value] = set()

    def root(v: Value) -> Value:
        while parent[v] is not v:
            parent[v] = v = parent[parent[v]]
        return v

    for op in graph.ops:
        if len(op.results) != 1:
            continue
        v = op.result
        large = grid.is_large(v)
        inside = [x for x in op.operands if x in parent]
        if large and is_thin(op):
            parent[v] = v
        elif (large or grid.is_per_row(v)) and _goes_on(op, grid, inside):
            parent[v] = root(inside[0])
            for x in inside[1:]:
                parent[root(x)] = root(v)
        elif large and _is_free(op, free):
            free.add(v)
    members: dict[Value, set[Value]] = {}
    for v in parent:
        members.setdefault(root(v), set()).add(v)
    return list(members.values()), free


def _is_free(op: Op, free: set[Value]) -> bool:
    """Whether each part of a large value can be computed from small operands, so that it connects nothing."""
    if op.primitive in (broadcast, full, uniform):
        return True
    if op.primitive is iota:
        return op.attrs["axis"] == len(op.result.shape) - 1
    return op.primitive.kind is Kind.ELEMENTWISE and all(x in free for x in op.operands)


def _goes_on(op: Op, grid: _Grid, inside: list[Value]) -> bool:
    """Whether a part of the result is computed from the same part of the operands ``inside``."""
    if not inside:
        return False
    (x, *_), v = inside, op.result
    if op.primitive.kind is Kind.ELEMENTWISE:
        return True
    if op.primitive is reshape:
        return grid.is_large(x) == grid.is_large(v)
    if op.primitive is broadcast:
        return grid.is_large(v) and not grid.is_large(x) and len(v.shape) - 1 not in op.attrs["axes"]
    along_rows = op.primitive.kind is Kind.REDUCTION and op.attrs.get("axes") == (len(x.shape) - 1,)
    return along_rows and grid.is_large(x) and not grid.is_large(v)


class _Region:
    """Connected values of one grid, and the operations that make small values of them."""

    def __init__(self, graph: Graph, grid: _Grid, members: set[Value], free: set[Value]):
        self.graph, self.grid, self.members, self.free = graph, grid, members, free
        # What is computed of members by parts, and whether it is summed over the matrices, and over the rows.
        self.results: dict[Op, tuple[bool, bool]] = {}
        self.whole: set[Value] = set()  # members that something else reads
        # A phase computes what depends on the same results of the phases before.
        self.phase: dict[Value, int] = {}
        self.phases = 0
        for op in graph.ops:
            self._visit(op)
        self.whole |= members.intersection(graph.outputs)

    def _visit(self, op: Op) -> None:
        phase, members = self.phase, self.members
        at = max((phase.get(x, 0) for x in op.operands), default=0)
        mine = [x for x in op.operands if x in members]
        if op.results[0] in members:
            if is_thin(op) and mine:  # it reads them whole
                self.whole.update(mine)
                at = max(at, 1 + max(phase[x] for x in mine))
            self.phases = max(self.phases, at + 1)
        elif mine:
            summed = self._summed(op)
            if summed is not None:
                self.results[op] = summed
                self.phases = max(self.phases, at + 1)
                at += 1
            else:
                self.whole.update(mine)
                at = max(at, 1 + max(phase[x] for x in mine))
        for v in op.results:
            phase[v] = at

    def _summed(self, op: Op) -> tuple[bool, bool] | None:
        """For a product of members, or a sum of one, whether it is summed over the matrices, and over the rows. None for an
        operation that is not computed by parts.
        """
        grid, members = self.grid, self.members
        if op.primitive is sum_ and grid.is_large(op.operands[0]) and op.result.dtype.is_floating_point:
            axes, rank = op.attrs["axes"], len(op.operands[0].shape)
            leads = [op.operands[0].shape[a] for a in axes if a < rank - 2]
            return (len(leads) > 0, rank - 2 in axes) if not leads or math.prod(leads) == grid.leads else None
        if op.primitive is not matmul or op.result.dtype.is_complex:
            return None
        a, b = op.operands
        if any(x in members and not grid.is_large(x) for x in (a, b)):
            return None
        if a in members and b not in members and not op.attrs["ta"]:
            return False, False
        leads = [math.prod(x.shape[:-2]) for x in (a, b)]
        rows = [a.shape[-2 if op.attrs["ta"] else -1], b.shape[-2]]
        parts = not op.attrs["tb"] and (op.attrs["ta"] or a not in members)
        return (False, True) if parts and leads == [grid.leads] * 2 and rows == [grid.rows] * 2 else None

    def repays(self) -> bool:
        """Whether less is stored by parts."""
        large = {v for v in self.members if self.grid.is_large(v)}
        read = {x for op in self.results for x in op.operands if op.primitive is matmul}
        stored = sum(1 for v in large if v in read or (v.op is not None and v.op.primitive is matmul))
        return bool(self.results) and 2 * len(large & self.whole) < stored


@dataclass(frozen=True)
class _Part:
    """Matrices ``first`` to ``last``, and their rows ``top`` to ``bottom``: adjacent in memory."""

    first: int
    last: int
    top: int
    bottom: int


class _Division:
    def __init__(self, region: _Region):
        self.region, self.grid = region, region.grid
        self.rewriter = Rewriter(region.graph)
        self.builder = self.rewriter.builder
        self.many = 1  # matrices of a part
        self.parts = self._parts()
        self.slices: dict[Any, Value] = {}
        self.now = self.parts[0][0]
        self.here: dict[Value, Value] = {}  # the values of this part, in one phase

    def _parts(self) -> list[list[_Part]]:
        """The parts, by matrices: several matrices, or some of the rows of one."""
        leads, rows, columns = self.grid.leads, self.grid.rows, self.grid.columns
        part = max(PART, leads * rows * columns // _MOST_PARTS)
        large = [v for v in (*self.region.members, *self.region.free) if self.grid.is_large(v)]
        step = math.gcd(*(_innermost(v.shape[:-2])[1] for v in large))
        self.many = max(c for c in range(1, step + 1) if step % c == 0 and (c == 1 or c * rows * columns <= part))
        count = math.ceil(rows / min(rows, max(1, part // columns)))
        tops = [rows * i // count for i in range(count + 1)]
        return [
            [_Part(first, first + self.many, top, bottom) for top, bottom in itertools.pairwise(tops)]
            for first in range(0, leads, self.many)
        ]

    def run(self) -> Graph:
        region = self.region
        results: list[list[Op]] = [[] for _ in range(region.phases)]
        for op in region.graph.ops:
            if op in region.results:
                results[region.phase[op.result] - 1].append(op)
            elif op.results[0] in region.whole:
                results[region.phase[op.result]].append(op)
        reads = [self._read_from_outside(ops) for ops in results]
        for op in region.graph.ops:
            self._place(op, results, reads)
        return self.rewriter.finish()

    def _read_from_outside(self, results: list[Op]) -> list[Value]:
        """The values from outside that a phase reads."""
        found: dict[Value, None] = {}
        seen = set(results)
        work = list(results)
        while work:
            op = work.pop()
            reads_whole = op.results[0] in self.region.members and is_thin(op)
            for x in op.operands:
                if x.op is None or reads_whole or not (x in self.region.members or x in self.region.free):
                    found[x] = None
                elif x.op not in seen:
                    seen.add(x.op)
                    work.append(x.op)
        return list(found)

    def _place(self, op: Op, results: list[list[Op]], reads: list[list[Value]]) -> None:
        """Writes an operation, or the phase it belongs to, after what it reads."""
        region, map = self.region, self.rewriter.map
        work, entered = [op], set[Op]()
        while work:
            op = work[-1]
            v = op.results[0]
            inside = v in region.members
            if v in map or (inside and v not in region.whole):
                work.pop()
                continue
            result = op in region.results
            phase = region.phase[v] - result if inside or result else None
            before = op.operands if phase is None else reads[phase]
            missing = [x.op for x in before if x not in map and x.op is not None]
            if missing:
                assert op not in entered, f"phases of {region.graph.name} depend on each other"
                entered.add(op)
                work += missing
            else:
                work.pop()
                if phase is None:
                    self.rewriter.copy(op)
                else:
                    self._write(phase, results[phase])

    def _write(self, phase: int, results: list[Op]) -> None:
        """Writes a phase, and its results as whole values."""
        pieces: dict[Op, list[list[Value]]] = {op: [[] for _ in self.parts] for op in results}
        for k, row_of_parts in enumerate(self.parts):
            for part in row_of_parts:
                self.here, self.now = {}, part
                for op in results:
                    pieces[op][k].append(self._result(op) if op in self.region.results else self._piece(op.result))
        for op in results:
            self.builder.loc = op.loc
            over_matrices, over_rows = self.region.results.get(op, (False, False))
            below = int(not over_matrices)
            of_matrices = [self._total(of) if over_rows else self._joined(of, below) for of in pieces[op]]
            whole = self._total(of_matrices) if over_matrices else self._joined(of_matrices, 0)
            self.rewriter.map[op.result] = self._reshaped(whole, op.result.shape)

    def _result(self, op: Op) -> Value:
        if op.primitive is matmul:
            return self._product(op)
        axes, rank = op.attrs["axes"], len(op.operands[0].shape)
        over = [*([0] if self.region.results[op][0] else []), *(a - rank + 3 for a in axes if a >= rank - 2)]
        piece = self._piece(op.operands[0])
        self.builder.loc = op.loc
        return self._append(sum_, [piece], axes=tuple(over))

    def _append(self, primitive: Any, operands: list[Value], **attrs: Any) -> Value:
        return self.builder.append(primitive, operands, attrs)[0]

    def _reshaped(self, v: Value, shape: tuple[int, ...]) -> Value:
        return v if v.shape == shape else self._append(reshape, [v], shape=shape)

    def _joined(self, values: list[Value], axis: int) -> Value:
        return values[0] if len(values) == 1 else self._append(concatenate, values, axis=axis)

    def _total(self, values: list[Value]) -> Value:
        total = values[0]
        for v in values[1:]:
            total = self._append(add, [total, v])
        return total

    # The part of a value.

    def _piece(self, v: Value) -> Value:
        region, found = self.region, self.here.get(v)
        if found is None:
            if v.op is not None and (v in region.members or v in region.free):
                operands = self._operands(v.op)
                self.builder.loc = v.op.loc
                found = self._computed(v.op, operands)
            else:
                found = self._from_outside(v)
            self.here[v] = found
        return found

    def _operands(self, op: Op) -> list[Value]:
        if op.primitive.kind is Kind.ELEMENTWISE or (op.operands and op.operands[0] in self.region.members and not is_thin(op)):
            return [self._piece(x) for x in op.operands]
        return []

    def _computed(self, op: Op, operands: list[Value]) -> Value:
        """The part of an operation's result. ``operands`` are parts of its operands, if these have equal parts."""
        part = self.now
        shape: tuple[int, ...] = (part.last - part.first, part.bottom - part.top, self.grid.columns)
        if op.primitive.kind is Kind.ELEMENTWISE:
            return self.builder.append(op.primitive, operands, op.attrs)[0]
        if op.primitive.kind is Kind.REDUCTION:
            return self._append(op.primitive, operands, **{**op.attrs, "axes": (2,)})
        if op.primitive is reshape:
            return operands[0]
        if op.primitive is matmul:
            return self._product(op)
        if op.primitive is iota:
            return self._append(iota, [], **{**op.attrs, "shape": shape, "axis": 2})
        if op.primitive is uniform:
            first = (part.first * self.grid.rows + part.top) * self.grid.columns
            offset = self._append(constant, [], data=encode(np.array([0, first])), shape=(2,), dtype="i64")
            state = self._append(add, [self.rewriter.map[op.operands[0]], offset])
            return self._append(uniform, [state], **{**op.attrs, "shape": shape})
        if op.primitive is full:
            return self._append(full, [], **{**op.attrs, "shape": shape})
        if operands:
            return self._append(broadcast, operands, shape=shape, axes=(0, 1))
        return self._spread(op, shape)

    def _product(self, op: Op) -> Value:
        """The part of a product: of the members' rows, or summed over them."""
        a, b = op.operands
        ta, summed = op.attrs["ta"], self.region.results.get(op)
        if summed is None:
            x, y = self._slice_of_rows(a, -1 if ta else -2), self._matrices_of(b)
        elif summed == (False, True):
            x, y = self._rows_of(a, -2 if ta else -1), self._rows_of(b, -2)
        else:
            x, y = self._piece(a), self._matrices_of(b)
        self.builder.loc = op.loc
        if len(x.shape) == len(y.shape) == 2:
            x = self._reshaped(x, (1, *x.shape))
        return self.builder.append(matmul, [x, y], op.attrs)[0]

    def _rows_of(self, v: Value, axis: int) -> Value:
        """The part's rows, which are an axis of matrices."""
        return self._piece(v) if v in self.region.members else self._slice_of_rows(v, axis)

    def _slice_of_rows(self, v: Value, axis: int) -> Value:
        part = self.now
        return self._slice(self._matrices(v), {len(v.shape[-3:]) + axis: (part.top, part.bottom), **self._leads(v)})

    def _matrices_of(self, v: Value) -> Value:
        return self._slice(self._matrices(v), self._leads(v))

    def _matrices(self, v: Value) -> Value:
        """A value from outside with at most one leading axis."""
        new = self.rewriter.map[v]
        return new if len(v.shape) <= 3 else self._once(("matrices", v), new, (math.prod(v.shape[:-2]), *v.shape[-2:]))

    def _leads(self, v: Value) -> dict[int, tuple[int, int]]:
        part = self.now
        return {0: (part.first, part.last)} if len(v.shape) > 2 else {}

    def _once(self, key: Any, v: Value, shape: tuple[int, ...]) -> Value:
        if key not in self.slices:
            self.slices[key] = self._reshaped(v, shape)
        return self.slices[key]

    def _from_outside(self, v: Value) -> Value:
        """The part of a large value, or of one per row, that is computed whole."""
        columns = (self.grid.columns,) if self.grid.is_large(v) else ()
        whole = self._once(("whole", v), self.rewriter.map[v], (self.grid.leads, self.grid.rows, *columns))
        part = self.now
        return self._slice(whole, {0: (part.first, part.last), 1: (part.top, part.bottom)})

    def _slice(self, v: Value, ranges: dict[int, tuple[int, int]]) -> Value:
        starts, stops = [0] * len(v.shape), list(v.shape)
        for axis, (start, stop) in ranges.items():
            starts[axis], stops[axis] = start, stop
        if tuple(stops) == v.shape and not any(starts):
            return v
        key = v, tuple(starts), tuple(stops)
        if key not in self.slices:
            self.slices[key] = self._append(slice_, [v], starts=tuple(starts), stops=tuple(stops), steps=(1,) * len(starts))
        return self.slices[key]

    def _spread(self, op: Op, shape: tuple[int, ...]) -> Value:
        """The part of a small value that is broadcast."""
        part = self.now
        leads, rank = op.result.shape[:-2], len(op.result.shape)
        innermost, _ = _innermost(leads)
        ranges: dict[int, tuple[int, int]] = {}
        axes: list[int] = []
        for i, axis in enumerate(op.attrs["axes"]):
            if axis >= rank - 2:
                axes.append(axis - rank + 3)
                if axis == rank - 2:
                    ranges[i] = part.top, part.bottom
            else:
                first = part.first // math.prod(leads[axis + 1 :]) % leads[axis]
                ranges[i] = first, first + (self.many if axis == innermost else 1)
                axes += [0] if axis == innermost else []
        small = self._slice(self.rewriter.map[op.operands[0]], ranges)
        small = self._reshaped(small, tuple(shape[a] for a in axes))
        return self._append(broadcast, [small], shape=shape, axes=tuple(axes))


def _innermost(leads: tuple[int, ...]) -> tuple[int, int]:
    """The last leading axis of more than one element, and its extent."""
    return max(((i, n) for i, n in enumerate(leads) if n > 1), default=(-1, 1))
