"""Elements that a mask selects, computed where they are.

    y[mask] = f(x[mask])        becomes  where(mask, f(x), y)
    sum(f(x[mask]))             becomes  sum(where(mask, f(x), 0))

Selected elements have positions that only a sequential search finds. If what is computed from them is elementwise, and is
written back where the same mask is true, or reduced, then it is computed for all elements instead, in one kernel.

With ``rows``, also if it is computed from each selected row on its own, as a softmax or a layer is, or from its position. That
takes longer than selecting the rows, but the result is a graph that does not depend on how many there are. If it is to be
differentiated (``safe``), a selected element stands for those that are not: a function may have no finite derivative there.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass

from ..graph import Graph, Op, Rewriter, Value
from ..ops import (
    argmax,
    broadcast,
    cast,
    check_index,
    concatenate,
    cumsum,
    flat_nonzero,
    flip,
    full,
    gather,
    ge,
    gt,
    index_add,
    index_select,
    iota,
    lt,
    matmul,
    max_,
    min_,
    pad,
    permute,
    reshape,
    scatter_add,
    scatter_reduce,
    slice_,
    sub,
    sum_,
    where,
)
from ..ops.reduce import kept_axes
from ..types import bool_
from .dce import dce
from .selected import (
    ALONG_AN_AXIS,
    Site,
    condition_of,
    counts_along_a_vector,
    is_by_rows,
    is_elementwise,
    is_negative,
    named,
    neutral,
    number,
    positions,
    reshaped,
    site_of,
    terms,
    unclamped,
)

_SPARSE = 8  # elements for each selected one: for more, only a few operations are repeated
_FEW = 8
_SMALL = 1 << 20  # elements that may be computed in vain, however few are selected
_FLOPS = 1 << 27  # of products in vain, for the same reason
_DENSE = 3  # elements for each selected one, up to which products may take any time


def compute_at_masks(graph: Graph, rows: bool = False, safe: bool = False) -> Graph:
    if not any(op.primitive in (flat_nonzero, cumsum) for op in graph.ops):
        return graph
    return dce(_Masks(graph, rows, safe).run())


@dataclass(frozen=True)
class _Writer:
    """Which selected rows were written last; ``is_plain``: each to the position at which the mask selects it."""

    site: Site
    is_plain: bool


class _Masks(Rewriter):
    def __init__(self, graph: Graph, rows: bool, safe: bool):
        super().__init__(graph)
        self.rows, self.safe = rows, safe
        self._firsts: dict[Value, Value] = {}  # the position of the first true element, by mask
        self._dense: dict[Site, _Dense] = {}
        self._writers: dict[Value, _Writer] = {}
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
        if self.rows and op.primitive is matmul:
            return self._multiplied(op)
        if self.rows and op.primitive is scatter_reduce:
            return self._writer(op)
        return None

    def at(self, site: Site) -> _Dense:
        """The values that are computed from a site's elements: without ``rows``, for one reader."""
        if site not in self._dense or not self.rows:
            self._dense[site] = _Dense(self, site)
        return self._dense[site]

    def _checked(self, op: Op) -> Value | None:
        """An index: the positions of a mask's elements need no check; others, computed from selected elements, get one where
        they are.
        """
        x = op.operands[0]
        found = positions(x)
        if found is not None:
            return self.map[x] if named(found.operands[0]).type.numel <= op.attrs["extent"] else None
        site = self._source(x, x.shape) if self.rows else None
        dense = None if site is None else self.at(site).of(x, 0)
        if site is None or dense is None:
            return None
        self.builder.append(check_index, [self.masked(dense, site, 0, 0)], op.attrs, op.loc)
        return self.map[x]

    def selection(self, op: Op) -> Site | None:
        """The site of an ``index_select`` of selected elements, or of an ``index_add`` of what has been computed of them."""
        found = positions(op.operands[1])
        if found is None or len(op.operands[1].shape) != 1:
            return None
        mask, axis = named(found.operands[0]), op.attrs["axis"]
        whole = op.operands[0] if op.primitive is index_select else op.result
        count, extent = found.attrs["count"], whole.shape[axis]
        fits = mask.dtype is bool_ and extent == mask.type.numel and count > 0
        return Site(mask, count, extent) if fits else None

    def ranked(self, op: Op) -> Site | None:
        """The site of an ``index_select`` that gives each element of a mask the one of its rank among the true ones; or of its
        adjoint.
        """
        rank, axis = op.operands[1], op.attrs["axis"]
        count = (op.operands[0] if op.primitive is index_select else op.result).shape[axis]
        rank = unclamped(unclamped(rank, gt, count - 1), lt, 0)
        o = rank.op
        if o is None or o.primitive is not sub or number(o.operands[1]) != 1:
            return None
        o = o.operands[0].op
        o = named(o.operands[0]).op if o is not None and counts_along_a_vector(o) else None
        if o is None or o.primitive is not cast or o.operands[0].dtype is not bool_:
            return None
        return Site(named(o.operands[0]), count, rank.type.numel)

    def _put_back(self, op: Op) -> Value | None:
        """The elements of a mask's ranks, if only those at its true elements are read; or those that were written last."""
        x, axis = op.operands[0], op.attrs["axis"]
        writer = self.writer_of(op.operands[1])
        if writer is not None:
            dense = self.at(writer.site).made(x, axis)
            at, readers = op.operands[1], self.users[op.result]
            if writer.is_plain and all(self.is_where_written(reader, op.result, at, axis) for reader in readers):
                return dense
            return self.builder.append(index_select, [dense, self.map[at]], {"axis": axis}, op.loc)[0]
        site = self.ranked(op)
        if site is None or op.result in self.outputs:
            return None
        if not all(self._keeps(reader, op.result, site, axis) for reader in self.users[op.result]):
            return None
        return self.at(site).of(x, axis)

    # Rows that are written at computed positions. A kernel finds the last one of each position, by its number among the
    # selected ones; it may be its number among all instead.

    def _writer(self, op: Op) -> Value | None:
        """The number of the last selected row that is written to each position, if it serves to read the rows alone."""
        base, numbers, at = op.operands
        counts = named(numbers).op
        if (
            op.attrs["reduce"] != "max"
            or number(base) != -1
            or counts is None
            or counts.primitive is not iota
            or len(at.shape) != 1
        ):
            return None
        site = self._source(at, at.shape)
        if site is None or op.result in self.outputs:
            return None
        readers: list[Op] = []
        for reader in self.users[op.result]:
            if reader.primitive is where and is_negative(reader.operands[0], op.result) and reader.result not in self.outputs:
                readers += self.users.get(reader.result, ())
            elif not (reader.primitive in (ge, lt) and number(reader.operands[1]) == 0):
                return None
        known = self.at(site)
        for reader in readers:
            axis = reader.attrs.get("axis", 0)
            if reader.primitive is index_select and known.of(reader.operands[0], axis) is None:
                return None
            if reader.primitive not in (index_select, index_add) or unclamped(reader.operands[1], lt, 0) is not op.result:
                return None
        there = known.of(at, 0)
        if there is None:
            return None
        self._writers[op.result] = _Writer(site, positions(at) is not None and base.shape == (site.extent,))
        append, loc = self.builder.append, op.loc
        (rows,) = append(iota, (), {"shape": (site.extent,), "axis": 0, "dtype": "i64"}, loc)
        rows = self.masked(rows, site, 0, -1)
        if self._writers[op.result].is_plain:
            return rows
        return append(scatter_reduce, [self.map[base], rows, self.masked(there, site, 0, 0)], op.attrs, loc)[0]

    def writer_of(self, index: Value) -> _Writer | None:
        """What has written last, of an index that is the number of the last row written to each position, or 0."""
        return self._writers.get(unclamped(index, lt, 0))

    def is_where_written(self, reader: Op, v: Value, index: Value, axis: int) -> bool:
        """True if an operation reads ``v`` only where something was written, according to an index as above."""
        condition = condition_of(reader, v, axis)
        o = condition.op if condition is not None else None
        return o is not None and o.primitive is ge and o.operands[0] is unclamped(index, lt, 0)

    def _multiplied(self, op: Op) -> Value | None:
        """A product whose terms are those of the selected rows."""
        axes = terms(op)
        count = op.operands[0].shape[axes[0]]
        site = self._source(op.operands[0], (count,)) or self._source(op.operands[1], (count,))
        if site is None:
            return None
        self.at(site).multiplies(op.result.type.numel, site.extent)
        dense = [self.at(site).of(x, axis) for x, axis in zip(op.operands, axes, strict=True)]
        known = [self.masked(d, site, axis, 0) for d, axis in zip(dense, axes, strict=True) if d is not None]
        return self.builder.append(matmul, known, op.attrs, op.loc)[0] if len(known) == len(dense) else None

    def _keeps(self, reader: Op, v: Value, site: Site, axis: int) -> bool:
        """True if an operation reads the elements of ``v`` only where the mask is true."""
        condition = condition_of(reader, v, axis)
        return condition is not None and named(condition) is site.mask

    def is_zero_elsewhere(self, v: Value, site: Site, axis: int) -> bool:
        """True if the elements of ``v`` are zero where the mask is false."""
        o = _zero_or(v)
        return o is not None and self._keeps(o, o.operands[1], site, axis)

    def is_zero_unwritten(self, v: Value, index: Value, axis: int) -> bool:
        """True if the elements of ``v`` are zero where nothing was written."""
        o = _zero_or(v)
        return o is not None and self.is_where_written(o, o.operands[1], index, axis)

    def _reduced(self, op: Op) -> Value | None:
        """A reduction of selected elements."""
        x = op.operands[0]
        site = self._source(x, [x.shape[a] for a in op.attrs["axes"]])
        if site is None:
            return None
        for axis in op.attrs["axes"]:
            dense = self.at(site).of(x, axis)
            if dense is not None:
                return self.builder.append(op.primitive, [self.masked(dense, site, axis, neutral(op))], op.attrs, op.loc)[0]
        return None

    def _source(self, v: Value, counts: Container[int]) -> Site | None:
        """The site of a selection of so many elements from which a value is computed, elementwise or by rows."""
        seen: set[Value] = set()
        work = [v]
        while work:
            u = work.pop()
            if u in seen or u.op is None:
                continue
            seen.add(u)
            site = self._site_at(u.op)
            if site is not None and site.count in counts:
                return site
            if site is None and (is_elementwise(u.op) or (self.rows and is_by_rows(u.op))):
                work += reversed(u.op.operands) if u.op.primitive is not index_select else u.op.operands
        return None

    def _site_at(self, op: Op) -> Site | None:
        """The site whose elements an operation selects, or gives."""
        if op.primitive is index_select:
            return self.selection(op)
        if self.rows and op.primitive is index_add:
            writer = self.writer_of(op.operands[1])
            return writer.site if writer is not None else self.ranked(op)
        return site_of(op) if self.rows and op.primitive is flat_nonzero else None

    def _scattered(self, op: Op) -> Value | None:
        """The adjoint of a selection: what has been computed of selected elements, at their positions, and zeros elsewhere."""
        (x, at), site, axis = op.operands, self.selection(op), op.attrs["axis"]
        if site is not None:
            dense = self.at(site).of(x, axis)
            return None if dense is None else self.masked(dense, site, axis, 0)
        site = self._source(at, at.shape) if self.rows and len(at.shape) == 1 else None
        if site is None:
            return None
        dense, there = self.at(site).of(x, axis), self.at(site).of(at, 0)
        if dense is None or there is None:
            return None
        rows = [self.masked(dense, site, axis, 0), self.masked(there, site, 0, 0)]
        return self.builder.append(index_add, rows, op.attrs, op.loc)[0]

    def first(self, site: Site) -> Value:
        """The position of the first selected element, as a vector."""
        append, loc = self.builder.append, self.builder.loc
        if site.mask not in self._firsts:
            (flat,) = append(reshape, [self.map[site.mask]], {"shape": (site.extent,)}, loc)
            (first,) = append(argmax, append(cast, [flat], {"dtype": "i64"}, loc), {"axes": (0,)}, loc)
            (self._firsts[site.mask],) = append(reshape, [first], {"shape": (1,)}, loc)
        return self._firsts[site.mask]

    def elements(self, x: Value, site: Site, axis: int) -> Value:
        """The elements from which others are selected; if that is to be ``safe``, with the first selected one elsewhere."""
        if not self.safe:
            return x
        append, loc = self.builder.append, self.builder.loc
        (row,) = append(index_select, [x, self.first(site)], {"axis": axis}, loc)
        kept = tuple([a for a in range(len(x.shape)) if a != axis])
        (row,) = append(reshape, [row], {"shape": tuple([x.shape[a] for a in kept])}, loc)
        (row,) = append(broadcast, [row], {"shape": x.shape, "axes": kept}, loc)
        return append(where, [self._mask_of(x, site, axis), x, row], {}, loc)[0]

    def all_positions(self, site: Site) -> Value:
        """The positions of all elements; if that is to be ``safe``, the first selected one's in place of those not selected."""
        append, loc, shape = self.builder.append, self.builder.loc, (site.extent,)
        (rows,) = append(iota, (), {"shape": shape, "axis": 0, "dtype": "i64"}, loc)
        if not self.safe:
            return rows
        (first,) = append(broadcast, append(reshape, [self.first(site)], {"shape": ()}, loc), {"shape": shape, "axes": ()}, loc)
        return append(where, [self._mask_of(rows, site, 0), rows, first], {}, loc)[0]

    def masked(self, v: Value, site: Site, axis: int, other: object) -> Value:
        """A value where the mask is true, and a number elsewhere."""
        append = self.builder.append
        (fill,) = append(full, (), {"value": other, "shape": v.shape, "dtype": v.dtype.short}, self.builder.loc)
        return append(where, [self._mask_of(v, site, axis), v, fill], {}, self.builder.loc)[0]

    def _mask_of(self, v: Value, site: Site, axis: int) -> Value:
        """The mask for the elements of a value along an axis."""
        append, mask = self.builder.append, self.map[site.mask]
        if mask.shape != (site.extent,):
            (mask,) = append(reshape, [mask], {"shape": (site.extent,)}, self.builder.loc)
        if mask.shape != v.shape:
            (mask,) = append(broadcast, [mask], {"shape": v.shape, "axes": (axis,)}, self.builder.loc)
        return mask


def _zero_or(v: Value) -> Op | None:
    """The ``where`` that makes ``v``, if its other elements are zero."""
    return v.op if v.op is not None and v.op.primitive is where and number(v.op.operands[2]) == 0 else None


class _Dense:
    """Values that are computed from selected elements, or rows, computed for all of them instead."""

    def __init__(self, masks: _Masks, site: Site):
        self._masks, self._site = masks, site
        self._made: dict[tuple[Value, int], Value | None] = {}
        self._elements = self._flops = 0

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
            below = [w for w in self._operands(*at).values() if w not in self._made]
            if below:
                work += below
                continue
            work.pop()
            self._made[at] = self._new(*at)
        return None if self._takes_long() else self._made[v, axis]

    def made(self, v: Value, axis: int) -> Value:
        """A value that ``of`` has given before."""
        known = self._made[v, axis]
        assert known is not None
        return known

    def multiplies(self, elements: int, length: int) -> None:
        """Counts a product of this many elements and terms."""
        self._flops += 2 * elements * length

    def _takes_long(self) -> bool:
        """True if most of what is computed is in vain, and much is."""
        site, vain = self._site, 1 - self._site.count / self._site.extent
        if site.extent > _DENSE * site.count and self._flops * vain > _FLOPS:
            return True
        if site.extent <= _SPARSE * site.count or len(self._made) <= _FEW:
            return False
        return not self._masks.rows or self._elements * vain > _SMALL

    def _operands(self, v: Value, axis: int) -> dict[int, tuple[Value, int]]:
        """The operands that are computed for all elements, by number, and the axis of these."""
        op = v.op
        if op is None:
            return {}
        if is_elementwise(op):
            return {i: (x, axis) for i, x in enumerate(op.operands)}
        if not self._masks.rows or not is_by_rows(op):
            return {}
        found = self._rows(op, axis)
        fits = all(a is not None and op.operands[i].shape[a] == self._site.count for i, a in found.items())
        return {i: (op.operands[i], a) for i, a in found.items() if a is not None} if fits else {}

    def _rows(self, op: Op, axis: int) -> dict[int, int | None]:
        """The operands of which each row gives a row of the result, by number, and the axis of these."""
        attrs, rank = op.attrs, len(op.result.shape)
        if op.primitive is broadcast:
            return {0: attrs["axes"].index(axis)} if axis in attrs["axes"] else {}
        if op.primitive is permute:
            return {0: attrs["axes"][axis]}
        if op.primitive is reshape:
            return {0: reshaped(op, axis)}
        if op.primitive in ALONG_AN_AXIS:
            several = op.primitive in (concatenate, gather, scatter_add)
            return dict.fromkeys(range(len(op.operands) if several else 1), axis) if attrs["axis"] != axis else {}
        if op.primitive is slice_:
            whole = (attrs["starts"][axis], attrs["stops"][axis], attrs["steps"][axis]) == (0, self._site.count, 1)
            return {0: axis} if whole else {}
        if op.primitive is index_select:
            by_index = attrs["axis"] == axis
            return {} if len(op.operands[1].shape) != 1 else {1: 0} if by_index else {0: axis}
        if op.primitive is matmul:
            first, second = (len(x.shape) for x in op.operands)
            if axis == rank - 2:
                return {0: first - (1 if attrs["ta"] else 2)}
            if axis == rank - 1:
                return {1: second - (2 if attrs["tb"] else 1)}
            return {0: axis, 1: axis} if first == second == rank else {}
        if op.primitive is flip:
            return {0: axis} if axis not in attrs["axes"] else {}
        if op.primitive is pad:
            return {0: axis} if (attrs["low"][axis], attrs["high"][axis], attrs["interior"][axis]) == (0, 0, 0) else {}
        if op.primitive is check_index:
            return {0: axis}
        return {0: kept_axes(len(op.operands[0].shape), attrs["axes"])[axis]}

    def _new(self, v: Value, axis: int) -> Value | None:
        op, site, masks = v.op, self._site, self._masks
        if op is None:
            return None
        append = masks.builder.append
        shape = (*v.shape[:axis], site.extent, *v.shape[axis + 1 :])
        if op.primitive is index_select and op.attrs["axis"] == axis and masks.selection(op) == site:
            return masks.elements(masks.map[op.operands[0]], site, axis)
        if masks.rows and op.primitive is flat_nonzero:
            return masks.all_positions(site) if site_of(op) == site else None
        if masks.rows and op.primitive is index_add and op.attrs["axis"] == axis:
            return self._of_written(op)
        if op.primitive is full or (masks.rows and op.primitive is iota and op.attrs["axis"] != axis):
            return append(op.primitive, (), {**op.attrs, "shape": shape}, op.loc)[0]
        if op.primitive is broadcast and axis not in op.attrs["axes"]:
            return append(broadcast, [masks.map[op.operands[0]]], {**op.attrs, "shape": shape}, op.loc)[0]
        rows = self._operands(v, axis)
        known = {i: self._made[at] for i, at in rows.items()}
        if not known or None in known.values():
            return None
        operands = [known.get(i) or masks.map[x] for i, x in enumerate(op.operands)]
        if op.primitive is check_index:
            operands = [masks.masked(operands[0], site, axis, 0)]
        elif op.primitive in (index_select, gather, scatter_add) and 1 in known:
            at = 0 if op.primitive is index_select else axis
            operands[1] = masks.masked(operands[1], site, at, 0)
        attrs = op.attrs
        if op.primitive in (broadcast, reshape, scatter_add):
            attrs = {**attrs, "shape": shape}
        elif op.primitive is slice_:
            stops = attrs["stops"]
            attrs = {**attrs, "stops": (*stops[:axis], site.extent, *stops[axis + 1 :])}
        self._elements += math.prod(shape)
        if op.primitive is matmul:
            self.multiplies(math.prod(shape), op.operands[0].shape[terms(op)[0]])
        return append(op.primitive, operands, attrs, op.loc)[0]

    def _of_written(self, op: Op) -> Value | None:
        """The adjoint of writing rows: the cotangents of those that were written last, and zeros."""
        masks, axis, (x, at) = self._masks, op.attrs["axis"], op.operands
        writer = masks.writer_of(at)
        if writer is None:
            is_it = masks.ranked(op) == self._site and masks.is_zero_elsewhere(x, self._site, axis)
            return masks.map[x] if is_it else None
        if writer.site != self._site or not masks.is_zero_unwritten(x, at, axis):
            return None
        if writer.is_plain:
            return masks.map[x]
        attrs = {**op.attrs, "extent": self._site.extent}
        return masks.builder.append(index_add, [masks.map[x], masks.map[at]], attrs, op.loc)[0]
