"""Elements that a mask selects, computed where they are.

    y[mask] = f(x[mask])        becomes  where(mask, f(x), y)
    sum(f(x[mask]))             becomes  sum(where(mask, f(x), 0))

Selected elements have positions that only a sequential search finds. If what is computed from them is elementwise, and is
written back where the same mask is true, or reduced, then it is computed for all elements instead, in one kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..graph import Graph, Op, Rewriter, Value
from ..ops import (
    broadcast,
    cast,
    cumsum,
    flat_nonzero,
    full,
    gt,
    index_add,
    index_select,
    lt,
    max_,
    min_,
    reshape,
    sub,
    sum_,
    where,
)
from ..primitive import Kind, Primitive
from ..types import bool_
from .dce import dce

_SPARSE = 8  # elements for each selected one: for more, only a few operations are repeated
_FEW = 8


def compute_at_masks(graph: Graph) -> Graph:
    if not any(op.primitive in (flat_nonzero, cumsum) for op in graph.ops):
        return graph
    return dce(_Masks(graph).run())


@dataclass(frozen=True)
class _Site:
    """A mask, whatever its shape; the axis along which it selects; and how many elements it selects, of how many."""

    mask: Value
    axis: int
    count: int
    extent: int


def _named(v: Value) -> Value:
    """The value that reshapes give other shapes."""
    while v.op is not None and v.op.primitive is reshape:
        (v,) = v.op.operands
    return v


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
    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.users, self.outputs = graph.users(), set(graph.outputs)

    def run(self) -> Graph:
        for op in self.graph.ops:
            new = self._rewritten(op)
            if new is None:
                self.copy(op)
            else:
                self.map[op.result] = new
        return self.finish()

    def _rewritten(self, op: Op) -> Value | None:
        self.builder.loc = op.loc
        if op.primitive is index_select:
            return self._put_back(op)
        if op.primitive in (sum_, max_, min_):
            return self._reduced(op)
        if op.primitive is index_add:
            return self._scattered(op)
        return None

    def _selection(self, op: Op) -> _Site | None:
        """The site of an ``index_select`` of selected elements, or of an ``index_add`` of what has been computed of them."""
        positions = _named(op.operands[1])
        if positions.op is None or positions.op.primitive is not flat_nonzero or len(op.operands[1].shape) != 1:
            return None
        mask, axis = _named(positions.op.operands[0]), op.attrs["axis"]
        whole = op.operands[0] if op.primitive is index_select else op.result
        count, extent = positions.op.attrs["count"], whole.shape[axis]
        fits = mask.dtype is bool_ and extent == mask.type.numel and count > 0
        return _Site(mask, axis, count, extent) if fits else None

    def _ranked(self, op: Op) -> _Site | None:
        """The site of an ``index_select`` that gives each element of a mask the one of its rank among the true ones."""
        rank, axis = op.operands[1], op.attrs["axis"]
        count = op.operands[0].shape[axis]
        rank = _unclamped(_unclamped(rank, gt, count - 1), lt, 0)
        o = rank.op
        if o is None or o.primitive is not sub or _number(o.operands[1]) != 1:
            return None
        o = o.operands[0].op
        o = _named(o.operands[0]).op if o is not None and _counts_along_a_vector(o) else None
        if o is None or o.primitive is not cast or o.operands[0].dtype is not bool_:
            return None
        return _Site(_named(o.operands[0]), axis, count, rank.type.numel)

    def _put_back(self, op: Op) -> Value | None:
        """The elements of a mask's ranks, if only those at its true elements are read."""
        site = self._ranked(op)
        if site is None or op.result in self.outputs:
            return None
        if not all(self._keeps(reader, op.result, site) for reader in self.users[op.result]):
            return None
        return _Dense(self, site).of(op.operands[0])

    def _keeps(self, reader: Op, v: Value, site: _Site) -> bool:
        """True if an operation reads the elements of ``v`` only where the mask is true."""
        if reader.primitive is not where or reader.operands[1] is not v or v in (reader.operands[0], reader.operands[2]):
            return False
        condition = reader.operands[0]
        o = condition.op
        if o is not None and o.primitive is broadcast:
            if o.attrs["axes"] != (site.axis,):
                return False
            condition = o.operands[0]
        return len(condition.shape) == 1 and _named(condition) is site.mask

    def _reduced(self, op: Op) -> Value | None:
        """A reduction of selected elements."""
        x = op.operands[0]
        site = self._source(x)
        dense = None if site is None or site.axis not in op.attrs["axes"] else _Dense(self, site).of(x)
        if site is None or dense is None:
            return None
        return self.builder.append(op.primitive, [self._masked(dense, site, _neutral(op))], op.attrs, op.loc)[0]

    def _source(self, v: Value) -> _Site | None:
        """The site of a selection from which a value is computed elementwise."""
        seen: set[Value] = set()
        work = [v]
        while work:
            u = work.pop()
            if u in seen or u.op is None:
                continue
            seen.add(u)
            if u.op.primitive is index_select:
                return self._selection(u.op)
            if _is_elementwise(u.op):
                work += reversed(u.op.operands)
        return None

    def _scattered(self, op: Op) -> Value | None:
        """The adjoint of a selection: what has been computed of selected elements, at their positions, and zeros elsewhere."""
        site = self._selection(op)
        dense = None if site is None else _Dense(self, site).of(op.operands[0])
        return None if site is None or dense is None else self._masked(dense, site, 0)

    def _masked(self, v: Value, site: _Site, other: object) -> Value:
        """A value where the mask is true, and a number elsewhere."""
        append, mask = self.builder.append, self.map[site.mask]
        if mask.shape != (site.extent,):
            (mask,) = append(reshape, [mask], {"shape": (site.extent,)}, self.builder.loc)
        if mask.shape != v.shape:
            (mask,) = append(broadcast, [mask], {"shape": v.shape, "axes": (site.axis,)}, self.builder.loc)
        (fill,) = append(full, (), {"value": other, "shape": v.shape, "dtype": v.dtype.short}, self.builder.loc)
        return append(where, [mask, v, fill], {}, self.builder.loc)[0]


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


class _Dense:
    """Values that are computed elementwise from selected elements, computed for all elements instead."""

    def __init__(self, masks: _Masks, site: _Site):
        self._masks, self._site = masks, site
        self._made: dict[Value, Value | None] = {}

    def of(self, v: Value) -> Value | None:
        """A value for all elements; None if it depends on others than those that are selected, or takes long."""
        if v.shape[self._site.axis] != self._site.count:
            return None
        work = [v]
        while work:
            u = work[-1]
            if u in self._made:
                work.pop()
                continue
            below = [w for w in self._operands(u) if w not in self._made]
            if below:
                work += below
                continue
            work.pop()
            self._made[u] = self._new(u)
        takes_long = self._site.extent > _SPARSE * self._site.count and len(self._made) > _FEW
        return None if takes_long else self._made[v]

    def _operands(self, v: Value) -> list[Value]:
        same = v.op is not None and _is_elementwise(v.op)
        return list(v.op.operands) if same and v.op is not None else []

    def _new(self, v: Value) -> Value | None:
        op, site, masks = v.op, self._site, self._masks
        if op is None:
            return None
        append = masks.builder.append
        shape = (*v.shape[: site.axis], site.extent, *v.shape[site.axis + 1 :])
        if op.primitive is index_select and masks._selection(op) == site:
            return masks.map[op.operands[0]]
        if op.primitive is full:
            return append(full, (), {**op.attrs, "shape": shape}, op.loc)[0]
        if op.primitive is broadcast and site.axis not in op.attrs["axes"]:
            return append(broadcast, [masks.map[op.operands[0]]], {**op.attrs, "shape": shape}, op.loc)[0]
        operands = [self._made[w] for w in self._operands(v)]
        if not operands or any(w is None for w in operands):
            return None
        return append(op.primitive, [w for w in operands if w is not None], op.attrs, op.loc)[0]
