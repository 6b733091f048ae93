"""Elements that a mask selects, computed where they are.

    y[mask] = f(x[mask])        becomes  where(mask, f(x), y)
    sum(f(x[mask]))             becomes  sum(where(mask, f(x), 0))

Selected elements have positions that only a sequential search finds. If what is computed from them is elementwise, and is
written back where the same mask is true, or reduced, then it is computed for all elements instead, in one kernel.

With ``rows``, also if it is computed from each selected row on its own, as a softmax is. That takes longer than selecting the
rows, but the result is a graph that does not depend on how many there are. If it is to be differentiated (``safe``), a selected
element stands for those that are not: a function may have no finite derivative there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..graph import Graph, Op, Rewriter, Value
from ..ops import (
    argmax,
    broadcast,
    cast,
    check_index,
    cumsum,
    flat_nonzero,
    full,
    gt,
    index_add,
    index_select,
    iota,
    lt,
    max_,
    min_,
    reshape,
    sub,
    sum_,
    where,
)
from ..ops.reduce import kept_axes
from ..primitive import Kind, Primitive
from ..types import bool_
from .dce import dce

_SPARSE = 8  # elements for each selected one: for more, only a few operations are repeated
_FEW = 8


def compute_at_masks(graph: Graph, rows: bool = False, safe: bool = False) -> Graph:
    if not any(op.primitive in (flat_nonzero, cumsum) for op in graph.ops):
        return graph
    return dce(_Masks(graph, rows, safe).run())


@dataclass(frozen=True)
class _Site:
    """A mask, whatever its shape, and how many elements it selects, of how many."""

    mask: Value
    count: int
    extent: int


def _named(v: Value) -> Value:
    """The value that reshapes give other shapes."""
    while v.op is not None and v.op.primitive is reshape:
        (v,) = v.op.operands
    return v


def _positions(v: Value) -> Op | None:
    """The ``flat_nonzero`` of which ``v`` are the positions, perhaps after the checks that an index gets."""
    while v.op is not None and v.op.primitive is not flat_nonzero:
        o = v.op
        if o.primitive is where and _is_negative(o.operands[0], o.operands[2]):
            v = o.operands[2]
        elif o.primitive in (reshape, check_index):
            (v,) = o.operands
        else:
            return None
    return v.op


def _is_negative(condition: Value, x: Value) -> bool:
    """True if the condition is that ``x`` is less than 0."""
    o = condition.op
    return o is not None and o.primitive is lt and o.operands[0] is x and _number(o.operands[1]) == 0


def _number(v: Value) -> object:
    """The number that all elements have, if it is known."""
    return v.op.attrs["value"] if v.op is not None and v.op.primitive is full else None


def _unclamped(v: Value, beyond: Primitive, bound: int) -> Value:
    """The value that has been clamped: ``where(beyond(x, bound), bound, x)`` is clamped."""
    o = v.op
    if o is None or o.primitive is not where or _number(o.operands[1]) != bound:
        return v
    condition, _, x = o.operands
    c = condition.op
    clamps = c is not None and c.primitive is beyond and c.operands[0] is x and _number(c.operands[1]) == bound
    return x if clamps else v


def _counts_along_a_vector(op: Op) -> bool:
    return op.primitive is cumsum and len(op.result.shape) == 1 and not op.attrs["reverse"]


class _Masks(Rewriter):
    def __init__(self, graph: Graph, rows: bool, safe: bool):
        super().__init__(graph)
        self.rows, self.safe = rows, safe
        self._firsts: dict[Value, Value] = {}  # the position of the first true element, by mask
        self.users, self.outputs = graph.users(), set(graph.outputs)

    def run(self) -> Graph:
        return self.replaced(self._rewritten)

    def _rewritten(self, op: Op) -> Value | None:
        if op.primitive is index_select:
            return self._put_back(op)
        if op.primitive in (sum_, max_, min_):
            return self._reduced(op)
        if op.primitive is index_add:
            return self._scattered(op)
        if op.primitive is check_index:
            return self._checked(op)
        return None

    def _checked(self, op: Op) -> Value | None:
        """An index: the positions of a mask's elements need no check; others, computed from selected elements, get one where
        they are.
        """
        x = op.operands[0]
        found = _positions(x)
        if found is not None:
            return self.map[x] if _named(found.operands[0]).type.numel <= op.attrs["extent"] else None
        site = self._source(x) if self.rows else None
        dense = None if site is None else _Dense(self, site).of(x, 0)
        if site is None or dense is None:
            return None
        self.builder.append(check_index, [self.masked(dense, site, 0, 0)], op.attrs, op.loc)
        return self.map[x]

    def selection(self, op: Op) -> _Site | None:
        """The site of an ``index_select`` of selected elements, or of an ``index_add`` of what has been computed of them."""
        found = _positions(op.operands[1])
        if found is None or len(op.operands[1].shape) != 1:
            return None
        mask, axis = _named(found.operands[0]), op.attrs["axis"]
        whole = op.operands[0] if op.primitive is index_select else op.result
        count, extent = found.attrs["count"], whole.shape[axis]
        fits = mask.dtype is bool_ and extent == mask.type.numel and count > 0
        return _Site(mask, count, extent) if fits else None

    def ranked(self, op: Op) -> _Site | None:
        """The site of an ``index_select`` that gives each element of a mask the one of its rank among the true ones; or of its
        adjoint.
        """
        rank, axis = op.operands[1], op.attrs["axis"]
        count = (op.operands[0] if op.primitive is index_select else op.result).shape[axis]
        rank = _unclamped(_unclamped(rank, gt, count - 1), lt, 0)
        o = rank.op
        if o is None or o.primitive is not sub or _number(o.operands[1]) != 1:
            return None
        o = o.operands[0].op
        o = _named(o.operands[0]).op if o is not None and _counts_along_a_vector(o) else None
        if o is None or o.primitive is not cast or o.operands[0].dtype is not bool_:
            return None
        return _Site(_named(o.operands[0]), count, rank.type.numel)

    def _put_back(self, op: Op) -> Value | None:
        """The elements of a mask's ranks, if only those at its true elements are read."""
        site, axis = self.ranked(op), op.attrs["axis"]
        if site is None or op.result in self.outputs:
            return None
        if not all(self._keeps(reader, op.result, site, axis) for reader in self.users[op.result]):
            return None
        return _Dense(self, site).of(op.operands[0], axis)

    def _keeps(self, reader: Op, v: Value, site: _Site, axis: int) -> bool:
        """True if an operation reads the elements of ``v`` only where the mask is true."""
        if reader.primitive is not where or reader.operands[1] is not v or v in (reader.operands[0], reader.operands[2]):
            return False
        condition = reader.operands[0]
        o = condition.op
        if o is not None and o.primitive is broadcast:
            if o.attrs["axes"] != (axis,):
                return False
            condition = o.operands[0]
        return len(condition.shape) == 1 and _named(condition) is site.mask

    def is_zero_elsewhere(self, v: Value, site: _Site, axis: int) -> bool:
        """True if the elements of ``v`` are zero where the mask is false."""
        if v.op is None or v.op.primitive is not where:
            return False
        return self._keeps(v.op, v.op.operands[1], site, axis) and _number(v.op.operands[2]) == 0

    def _reduced(self, op: Op) -> Value | None:
        """A reduction of selected elements."""
        x = op.operands[0]
        site = self._source(x)
        if site is None:
            return None
        for axis in op.attrs["axes"]:
            dense = _Dense(self, site).of(x, axis)
            if dense is not None:
                return self.builder.append(op.primitive, [self.masked(dense, site, axis, _neutral(op))], op.attrs, op.loc)[0]
        return None

    def _source(self, v: Value) -> _Site | None:
        """The site of a selection from which a value is computed, elementwise or by rows."""
        seen: set[Value] = set()
        work = [v]
        while work:
            u = work.pop()
            if u in seen or u.op is None:
                continue
            seen.add(u)
            if u.op.primitive is index_select:
                return self.selection(u.op)
            if self.rows and u.op.primitive is index_add:
                return self.ranked(u.op)
            if _is_elementwise(u.op) or (self.rows and _is_by_rows(u.op)):
                work += reversed(u.op.operands)
        return None

    def _scattered(self, op: Op) -> Value | None:
        """The adjoint of a selection: what has been computed of selected elements, at their positions, and zeros elsewhere."""
        site, axis = self.selection(op), op.attrs["axis"]
        dense = None if site is None else _Dense(self, site).of(op.operands[0], axis)
        return None if site is None or dense is None else self.masked(dense, site, axis, 0)

    def elements(self, x: Value, site: _Site, axis: int) -> Value:
        """The elements from which others are selected; if that is to be ``safe``, with the first selected one elsewhere."""
        if not self.safe:
            return x
        append, loc = self.builder.append, self.builder.loc
        if site.mask not in self._firsts:
            (flat,) = append(reshape, [self.map[site.mask]], {"shape": (site.extent,)}, loc)
            (first,) = append(argmax, append(cast, [flat], {"dtype": "i64"}, loc), {"axes": (0,)}, loc)
            (self._firsts[site.mask],) = append(reshape, [first], {"shape": (1,)}, loc)
        (row,) = append(index_select, [x, self._firsts[site.mask]], {"axis": axis}, loc)
        kept = tuple([a for a in range(len(x.shape)) if a != axis])
        (row,) = append(reshape, [row], {"shape": tuple([x.shape[a] for a in kept])}, loc)
        (row,) = append(broadcast, [row], {"shape": x.shape, "axes": kept}, loc)
        return append(where, [self._mask_of(x, site, axis), x, row], {}, loc)[0]

    def masked(self, v: Value, site: _Site, axis: int, other: object) -> Value:
        """A value where the mask is true, and a number elsewhere."""
        append = self.builder.append
        (fill,) = append(full, (), {"value": other, "shape": v.shape, "dtype": v.dtype.short}, self.builder.loc)
        return append(where, [self._mask_of(v, site, axis), v, fill], {}, self.builder.loc)[0]

    def _mask_of(self, v: Value, site: _Site, axis: int) -> Value:
        """The mask for the elements of a value along an axis."""
        append, mask = self.builder.append, self.map[site.mask]
        if mask.shape != (site.extent,):
            (mask,) = append(reshape, [mask], {"shape": (site.extent,)}, self.builder.loc)
        if mask.shape != v.shape:
            (mask,) = append(broadcast, [mask], {"shape": v.shape, "axes": (axis,)}, self.builder.loc)
        return mask


def _neutral(op: Op) -> object:
    """The number that does not change a reduction."""
    if op.primitive is sum_:
        return 0
    dtype = op.operands[0].dtype
    lowest = op.primitive is max_
    if dtype is bool_:
        return not lowest
    if dtype.is_floating_point:
        return -math.inf if lowest else math.inf
    info = np.iinfo(dtype.numpy)
    return int(info.min if lowest else info.max)


def _is_elementwise(op: Op) -> bool:
    """True if an operation can also be computed for elements that nothing reads."""
    return op.primitive.kind is Kind.ELEMENTWISE and op.primitive.error is None


def _is_by_rows(op: Op) -> bool:
    """True if an operation may compute each row of its result from a row of an operand."""
    return op.primitive.kind is Kind.REDUCTION or op.primitive in (broadcast, check_index)


class _Dense:
    """Values that are computed from selected elements, or rows, computed for all of them instead."""

    def __init__(self, masks: _Masks, site: _Site):
        self._masks, self._site = masks, site
        self._made: dict[tuple[Value, int], Value | None] = {}

    def of(self, v: Value, axis: int) -> Value | None:
        """A value for all elements along an axis; None if it depends on others than those that are selected, or takes long."""
        if v.shape[axis] != self._site.count:
            return None
        work = [(v, axis)]
        while work:
            at = work[-1]
            if at in self._made:
                work.pop()
                continue
            below = [w for w in self._operands(*at) if w not in self._made]
            if below:
                work += below
                continue
            work.pop()
            self._made[at] = self._new(*at)
        takes_long = self._site.extent > _SPARSE * self._site.count and len(self._made) > _FEW
        return None if takes_long else self._made[v, axis]

    def _operands(self, v: Value, axis: int) -> list[tuple[Value, int]]:
        """The operands that are computed for all elements, and the axis of these."""
        op = v.op
        if op is None:
            return []
        if _is_elementwise(op):
            return [(x, axis) for x in op.operands]
        if not self._masks.rows or not _is_by_rows(op):
            return []
        (x, *_) = op.operands
        if op.primitive is broadcast:
            axes = op.attrs["axes"]
            return [(x, axes.index(axis))] if axis in axes and x.shape[axes.index(axis)] == self._site.count else []
        return [(x, axis if op.primitive is check_index else kept_axes(len(x.shape), op.attrs["axes"])[axis])]

    def _new(self, v: Value, axis: int) -> Value | None:
        op, site, masks = v.op, self._site, self._masks
        if op is None:
            return None
        append = masks.builder.append
        shape = (*v.shape[:axis], site.extent, *v.shape[axis + 1 :])
        if op.primitive is index_select and op.attrs["axis"] == axis and masks.selection(op) == site:
            return masks.elements(masks.map[op.operands[0]], site, axis)
        if masks.rows and op.primitive is index_add and op.attrs["axis"] == axis and masks.ranked(op) == site:
            return masks.map[op.operands[0]] if masks.is_zero_elsewhere(op.operands[0], site, axis) else None
        if op.primitive is full or (masks.rows and op.primitive is iota and op.attrs["axis"] != axis):
            return append(op.primitive, (), {**op.attrs, "shape": shape}, op.loc)[0]
        if op.primitive is broadcast and axis not in op.attrs["axes"]:
            return append(broadcast, [masks.map[op.operands[0]]], {**op.attrs, "shape": shape}, op.loc)[0]
        operands = [self._made[at] for at in self._operands(v, axis)]
        known = [w for w in operands if w is not None]
        if not known or len(known) < len(operands):
            return None
        if op.primitive is check_index:
            known = [masks.masked(known[0], site, axis, 0)]
        attrs = {**op.attrs, "shape": shape} if op.primitive is broadcast else op.attrs
        return append(op.primitive, known, attrs, op.loc)[0]
