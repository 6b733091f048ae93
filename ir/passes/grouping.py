"""Which operations share a kernel, and in which stage each kernel is: the plan that ``fuse`` carries out."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ..graph import Graph, Op, Value
from ..ops import (
    add,
    adjoin,
    argsort,
    broadcast,
    cast,
    eq,
    gather,
    ge,
    gt,
    index_select,
    le,
    lt,
    mul,
    ne,
    neg,
    pad,
    reshape,
    slice_,
    sub,
    uniform,
    where,
    windows,
    write_slice,
)
from ..ops.movement import is_unit_reshape
from ..ops.reduce import SHORT, kept_axes
from ..primitive import Kind
from ..regions import Noted, Region, disjoint, region_of, whole
from .hazards import Hazards, Home, is_change, is_write

_DUPLICATED = ("broadcast", "permute", "slice", "flip", "pad", "windows", "full", "iota", "reshape")

_MEMORY = (reshape, adjoin)  # describe only where values are stored


def has_kernel(op: Op) -> bool:
    """True if kernels can be generated for an operation on values of its types."""
    if op.primitive is argsort and op.operands[0].dtype.itemsize > 4:  # their keys would need more than 64 bits
        return False
    return op.primitive.has_kernel and all(v.type.dtype.is_native for v in (*op.operands, *op.results))


def _is_free(op: Op) -> bool:
    """True if an operation is repeated inside each kernel that reads it."""
    if not has_kernel(op):
        return False
    if op.primitive is reshape:
        return is_unit_reshape(op.operands[0].shape, op.result.shape)
    return op.primitive.name in _DUPLICATED


_SIMPLE = (add, sub, mul, neg, where, eq, ne, lt, le, gt, ge, cast)
_CHAIN = 4  # longest chain of simple operations that is repeated
_NESTING = 6  # nested branches around free operations
_AROUND = 50  # kernels examined to find out if one must run between two others
_EXAMINED = 500  # and operations in them
_OVERLAP = 1.5  # elements of windows for each of the array
_LITTLE = 1 << 16  # bytes of an input that may be read once more


def _is_fusible(op: Op) -> bool:
    """True if an operation is computed inside a kernel of several operations."""
    kind = op.primitive.kind
    return has_kernel(op) and (
        kind in (Kind.ELEMENTWISE, Kind.REDUCTION)
        or op.primitive in (uniform, gather, index_select)
        or (kind is Kind.MOVEMENT and op.primitive not in _MEMORY)
    )


@dataclass(eq=False)
class Group:
    """Operations that become one kernel. ``axes`` is None until a reduction joins.

    ``writes`` are the regions that its writes into slices change, by the memory that they are in. Then it has no reduction.
    """

    stage: int
    domain: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    ops: list[Op] = field(default_factory=list)
    into: Group | None = None  # the group this one was merged into
    writes: dict[Value, Noted[Region]] = field(default_factory=dict)

    @property
    def row(self) -> tuple[int, ...]:
        return tuple(n for i, n in enumerate(self.domain) if i not in (self.axes or ()))

    @property
    def is_column(self) -> bool:
        if not self.axes or len(self.domain) - 1 in self.axes:
            return False
        return math.prod(self.domain[a] for a in self.axes) > SHORT


def find(group: Group) -> Group:
    while (into := group.into) is not None:
        if into.into is not None:
            group.into = into.into  # later calls take shorter paths
        group = into
    return group


class Planner:
    def __init__(self, graph: Graph):
        self.stage: dict[Value, int] = {}  # of values that some kernel computes; inputs are in stage 0
        self.group: dict[Value, Group] = {}
        self.free: dict[Value, Op] = {}
        self.users, self.outputs = graph.users(), set(graph.outputs)
        self.inputs_of: dict[Value, frozenset[Value]] = {v: frozenset([v]) for v in graph.inputs}  # also for free operations
        self.length: dict[Value, int] = {}  # length of the longest chain of simple operations
        self.nesting: dict[Value, int] = {}  # number of nested branches for reading free operations
        self.hazards = Hazards(graph, _is_free)
        self._after: dict[int, tuple[float, int]] = {}  # by the id of a kernel: see ``_first_after``
        # Operations that read a written value, in another kernel, from the array into which it was written.
        self.from_home: dict[tuple[Op, Value], Home] = {}
        for op in graph.ops:
            simple = self._is_simple(op)
            nesting = (op.primitive is pad) + max((self.nesting.get(v, 0) for v in op.operands), default=0)
            apart = op in self.hazards.kept or (op.primitive is pad and self._has_windows(op.result))
            if (_is_free(op) or simple) and nesting <= _NESTING and not apart:
                self.nesting[op.result] = nesting
                self.free[op.result] = op
                self.length[op.result] = simple + max((self.length.get(v, 0) for v in op.operands), default=0)
                if all(v in self.inputs_of for v in op.operands):
                    self.inputs_of[op.result] = frozenset().union(*(self.inputs_of[v] for v in op.operands))
            elif is_write(op):
                self.place_write(op)
            elif _is_fusible(op):
                self.place(op)
            else:
                bound = 0 if op.primitive in _MEMORY else 1
                stage = max((self.ready(v, bound) for v in op.operands), default=0)
                if is_change(op):
                    for reader in self.hazards.overwritten(op):
                        stage = max(stage, self.stage[reader.results[0]] + 1)
                        self.hazards.must_precede(reader, op)
                for r in op.results:
                    self.stage[r] = stage
            if op.results[0] not in self.free:
                self._note_reads(op)
        self.sink(graph)
        self.unite(graph)

    def _has_windows(self, v: Value) -> bool:
        """True if a value is read by windows that overlap: its elements are read several times, and the conditions of a padding
        would keep these loops from being vectorised.
        """
        readers = [op for op in self.users.get(v, ()) if op.primitive is windows]
        return any(op.result.type.numel > _OVERLAP * v.type.numel for op in readers)

    def _is_simple(self, op: Op) -> bool:
        """True if readers repeat an operation: reading its result would cost no less than reading its one input."""
        if op.primitive not in _SIMPLE or not has_kernel(op) or not all(v in self.inputs_of for v in op.operands):
            return False
        inputs = frozenset().union(*(self.inputs_of[v] for v in op.operands))
        long = max(self.length.get(v, 0) for v in op.operands) >= _CHAIN
        if len(inputs) != 1 or op.result in self.outputs or long or not inputs.isdisjoint(self.hazards.first):
            return False
        nbytes = next(iter(inputs)).type.nbytes
        return (nbytes <= _LITTLE or nbytes <= op.result.type.nbytes) and all(map(_is_fusible, self.users.get(op.result, ())))

    def made(self, v: Value) -> list[Value]:
        """The computed values and inputs that ``v`` consists of, looking through free movements."""
        while v in self.free:
            operands = self.free[v].operands
            if not operands:
                return []
            v = operands[0]
        return [v]

    def _read(self, op: Op, v: Value) -> tuple[Value, Region] | None:
        """The value in memory, and its region, that ``op`` reads for its operand ``v``, looking through free movements."""
        movement = op if op.primitive is slice_ else None
        while v in self.free:
            movement = self.free[v]
            if not movement.operands:
                return None
            v = movement.operands[0]
        return v, region_of(movement) if movement is not None and movement.primitive is slice_ else whole(v.shape)

    def _note_reads(self, op: Op) -> None:
        """Notes what a placed operation reads of memory that is written."""
        for k, v in enumerate(op.operands):
            read = self._read(op, v)
            if read is not None and (k or not is_change(op) or op in self.hazards.copies):
                self.hazards.read(op, *read)
                self._read_at_home(op, read[0])
        if is_write(op) and op.operands[1] in self.group and self._together(op, op.operands[1].op):
            self.hazards.written(op)

    def _together(self, a: Op, b: Op | None) -> bool:
        """True if one kernel computes the results of both."""
        return b is not None and find(self.group[a.results[0]]) is find(self.group[b.results[0]])

    def _read_at_home(self, op: Op, v: Value) -> None:
        """If another kernel has written ``v`` into an array, ``op`` reads it there, so that it is stored only once."""
        if v not in self.hazards.home or v in self.outputs or op.results[0] not in self.group or v not in self.group:
            return
        if not self._together(op, v.op):
            self.from_home[op, v] = self.hazards.home[v]
            self.hazards.read(op, *self.hazards.home[v])

    def homes_read(self, op: Op) -> list[tuple[Value, Home]]:
        """The values that an operation reads from arrays, and where they are."""
        made = [u for v in op.operands for u in self.made(v)]
        return [(u, self.from_home[op, u]) for u in made if (op, u) in self.from_home]

    def ready(self, v: Value, bound: int = 1) -> int:
        """The first stage in which ``v`` can be read from memory."""
        return max((self.stage[u] + bound for u in self.made(v) if u in self.stage), default=0)

    def place(self, op: Op) -> None:
        """Chooses the stage and the group of a fusible operation."""
        reduces = op.primitive.kind is Kind.REDUCTION
        domain = op.operands[0].shape if reduces else op.result.shape
        wanted = Group(0, domain, op.attrs["axes"] if reduces else None)
        joined: list[Group] = []
        stage = 0
        for k, v in enumerate(op.operands):
            u = next(iter(self.made(v)), None)
            group = self._shared(op, k, v, u, wanted) if u is not None else None
            if group is not None:
                joined.append(group)
                stage = max(stage, group.stage)
            else:
                stage = max(stage, self.ready(v))
        wanted.stage = stage
        merged: Group | None = wanted
        for group in joined:
            if group.stage == stage and merged is not None:
                merged = _merge(merged, find(group))
        if merged is None:
            merged = Group(stage + 1, wanted.domain, wanted.axes)
        merged.ops.append(op)
        self.stage[op.result] = merged.stage
        self.group[op.result] = merged

    def place_write(self, op: Op) -> None:
        """Chooses the stage and the group of a write: after all that reads the old elements.

        It joins the kernel that computes the slice, unless that kernel reads other old elements than the one it replaces,
        and the kernel that has written other slices of the array, of the same shape.
        """
        x, v = op.operands
        memory, region = self.hazards.first[op.result], region_of(op)
        wanted = Group(0, v.shape, writes={memory: Noted()})
        wanted.writes[memory].add(region, region)
        u = next(iter(self.made(v)), None)
        computing = self._shared(op, 1, v, u, wanted) if u is not None else None
        before = self._written_by(x, op, memory)
        stages = (self.ready(v) if computing is None else computing.stage, self.ready(x) if before is None else before.stage)
        stage = max(stages)
        if computing is not None and computing.stage < stage and self._can_wait(computing):
            computing.stage = stage
            self.stage.update((o.result, stage) for o in computing.ops)
        joined = [g for g in (computing, before) if g is not None and g.stage == stage]
        for reader in self.hazards.overwritten(op):
            group = self.group.get(reader.results[0])
            inside = group is not None and any(find(group) is g for g in joined)
            if not (inside and self._reads_only(reader, memory, region)):
                stage = max(stage, self.stage[reader.results[0]] + 1)
                self.hazards.must_precede(reader, op)
        wanted.stage = stage
        merged = wanted
        for kernel in joined:
            if kernel.stage == stage:
                merged = _merge(merged, find(kernel)) or merged
        merged.ops.append(op)
        self.stage[op.result] = merged.stage
        self.group[op.result] = merged

    def _can_wait(self, group: Group) -> bool:
        """True if nothing that has been placed so far must run after a kernel."""
        if group.writes or any(self.hazards.after.get(op) for op in group.ops):
            return False
        readers = (reader for op in group.ops for reader in self.readers(op.result))
        placed = (reader for reader in readers if reader.results and reader.results[0] in self.stage)
        return all(r.results[0] in self.group and find(self.group[r.results[0]]) is group for r in placed)

    def _written_by(self, x: Value, op: Op, memory: Value) -> Group | None:
        """The group that makes ``x`` by writes of slices, if ``op`` may write one more in the same loop."""
        if x.op is None or not is_write(x.op) or x in self.outputs or self.users[x] != [op]:
            return None
        group, region = find(self.group[x]), region_of(op)
        if group.domain != op.operands[1].shape or next(group.writes[memory].overlapping(region), None) is not None:
            return None
        return group

    def _reads_only(self, op: Op, memory: Value, region: Region) -> bool:
        """True if all that an operation reads of a region are the elements at the position that it computes."""
        for k, v in enumerate(op.operands):
            read = self._read(op, v)
            if read is None:
                continue
            home = self.from_home.get((op, read[0]))
            x, there = home or read
            if self.hazards.first.get(x) is not memory or disjoint(there, region):
                continue
            while v in self.free and self.free[v].primitive is reshape:
                (v,) = self.free[v].operands
            slice_alone = v in self.free and self.free[v].primitive is slice_ and self.free[v].operands[0] is x
            direct = v is read[0] if home is not None else slice_alone
            if not (direct and there == region and _reads_in_place(op, k)):
                return False
        return True

    def sink(self, graph: Graph) -> None:
        """Moves operations to the one later kernel that reads them, unless other values must be stored instead."""
        for op in reversed(graph.ops):
            if op.primitive.kind is not Kind.ELEMENTWISE or op.result in self.outputs or op.result not in self.group:
                continue
            here, readers = find(self.group[op.result]), self.users.get(op.result, [])
            targets = {id(g): g for r in readers if (g := self._group_reading(r, op.result)) is not None}
            if len(targets) != 1 or any(self._group_reading(r, op.result) is None for r in readers):
                continue
            (there,) = targets.values()
            if self._must_precede(op, there):
                continue
            if there.stage > here.stage and op.result.shape == there.domain and self._in_memory(op, here):
                here.ops.remove(op)
                there.ops.append(op)
                self.stage[op.result], self.group[op.result] = there.stage, there

    def unite(self, graph: Graph) -> None:
        """Merges a kernel with a later one that reads its elements, if no other kernel lies between them."""
        apart: set[tuple[int, int]] = set()
        readers = functools.cache(self.readers)
        for op in graph.ops:
            if op.results[0] not in self.group:
                continue
            for v in op.operands:
                here, there = self.group.get(v), find(self.group[op.result])
                if here is None or (here := find(here)) is there or v.shape != there.domain:
                    continue
                if (id(here), id(there)) in apart:
                    continue
                if self._read_alike(here, there) and not self._has_between(here, there, readers):
                    _merge(here, there)
                else:
                    apart.add((id(here), id(there)))

    def _must_precede(self, op: Op, there: Group) -> bool:
        """True if an operation reads elements that are overwritten before a later kernel has run."""
        if find(self.group[op.result]).writes:  # perhaps those elements
            reads = [self._read(op, v) for v in op.operands] + [home for _, home in self.homes_read(op)]
            return any(read is not None and self.hazards.is_overwritten(*read) for read in reads)
        return any(self.stage[write.result] <= there.stage for write in self.hazards.after.get(op, ()))

    def _first_after(self, group: Group) -> float:
        """The stage of the first write that must run after some operation of a kernel, which writes nothing itself."""
        known, count = self._after.get(id(group), (math.inf, 0))
        for op in group.ops[count:]:
            known = min([known, *(self.stage[write.result] for write in self.hazards.after.get(op, ()))])
        self._after[id(group)] = known, len(group.ops)
        return known

    def _read_alike(self, here: Group, there: Group) -> bool:
        """True if two kernels have a common domain on which the second can read all it reads of the first."""
        if here.is_column or there.is_column or _merged_domain(here, there) is None:
            return False
        if here.writes or self._first_after(here) <= there.stage:
            return False
        for op in there.ops:
            for k, v in enumerate(op.operands):
                u = next(iter(self.made(v)), None)
                if u in self.group and find(self.group[u]) is here and self._shared(op, k, v, u, there) is None:
                    return False
        return True

    def _has_between(self, here: Group, there: Group, readers: Callable[[Value], list[Op]]) -> bool:
        """True if something must run after one kernel and before the other, or if finding out takes too long."""
        seen: set[int] = {id(here), id(there)}
        work: list[Op] = list(here.ops)
        first, examined = True, 0
        while work:
            ops, work = work, []
            for op in ops:
                for reader in itertools.chain(*map(readers, op.results), self.hazards.after.get(op, ())):
                    examined += 1
                    group = self.group.get(reader.results[0])
                    item: Group | Op = reader if group is None else find(group)
                    if item is there and not first:
                        return True
                    if id(item) not in seen:
                        seen.add(id(item))
                        work += [item] if isinstance(item, Op) else item.ops
                    if len(seen) > _AROUND or examined > _EXAMINED:
                        return True
            first = False
        return False

    def readers(self, v: Value) -> list[Op]:
        """The operations that read ``v``, directly or through free operations."""
        found: list[Op] = []
        work = [v]
        while work:
            for op in self.users.get(work.pop(), ()):
                if op.results[0] in self.free:
                    work.append(op.result)
                    if op.result in self.outputs:
                        found.append(op)
                else:
                    found.append(op)
        return found

    def _group_reading(self, reader: Op, v: Value) -> Group | None:
        """The group of an operation that reads ``v`` element by element."""
        if reader.results[0] not in self.group:
            return None
        in_place = all(_reads_in_place(reader, k) for k, u in enumerate(reader.operands) if u is v)
        return find(self.group[reader.results[0]]) if in_place else None

    def _in_memory(self, op: Op, here: Group) -> bool:
        """True if all operands of ``op`` are stored anyway."""
        for v in op.operands:
            for u in self.made(v):
                inside = u in self.group and find(self.group[u]) is here
                if inside and all(
                    find(self.group[r.results[0]]) is here if r.results[0] in self.group else False for r in self.users[u]
                ):
                    return False
        return True

    def _shared(self, op: Op, k: int, v: Value, u: Value, wanted: Group) -> Group | None:
        """The group that computes operand ``k`` if ``op`` can read it there, element by element or row by row."""
        if u not in self.group or not _reads_in_place(op, k) or (u.op is not None and is_write(u.op)):
            return None
        group = find(self.group[u])
        if u.op is not None and u.op.primitive.kind is Kind.REDUCTION and group.is_column:
            return None
        if v is u:
            fits = _merged_domain(group, wanted) is not None
        else:
            fits = self._is_row_broadcast(v, u) and group.row == u.shape and group.axes is not None
            fits = fits and group.domain == v.shape and kept_axes(len(v.shape), group.axes or ()) == self._axes(v)
            if not fits and self._is_row_broadcast(v, u) and group.axes is None:
                # Rows computed by elementwise operations alone are lifted into the domain if rows come first.
                fits = self._axes(v) == tuple(range(len(u.shape))) and bool(u.shape) and wanted.axes in (None, _rest(v, u))
                if fits and wanted.axes is None:
                    wanted.axes = _rest(v, u)
            fits = fits and _merged_domain(group, wanted) is not None
        return group if fits else None

    def _is_row_broadcast(self, v: Value, u: Value) -> bool:
        op = self.free.get(v)
        return op is not None and op.primitive is broadcast and op.operands[0] is u

    def _axes(self, v: Value) -> tuple[int, ...]:
        return self.free[v].attrs["axes"]


def _rest(v: Value, u: Value) -> tuple[int, ...]:
    return tuple(range(len(u.shape), len(v.shape)))


def _reads_in_place(op: Op, k: int) -> bool:
    """True if operand ``k`` is read at the element that is being computed."""
    if op.primitive is write_slice:
        return k == 1
    if op.primitive in (index_select, gather):
        return k == 1 and op.operands[1].shape == op.result.shape
    return op.primitive.kind is not Kind.MOVEMENT and op.primitive is not uniform


def _merged_domain(a: Group, b: Group) -> tuple[tuple[int, ...], tuple[int, ...] | None] | None:
    """The domain two groups can share, or None."""
    if (a.writes or b.writes) and (a.domain != b.domain or a.axes is not None or b.axes is not None):
        return None
    if a.domain == b.domain:
        if a.axes is None or b.axes is None or a.axes == b.axes:
            return a.domain, a.axes if a.axes is not None else b.axes
        return None
    if a.axes is not None and b.axes is None and b.domain == a.row and not a.is_column:
        return a.domain, a.axes
    if b.axes is not None and a.axes is None and a.domain == b.row and not b.is_column:
        return b.domain, b.axes
    return None


def _merge(a: Group, b: Group) -> Group | None:
    if a is b:
        return a
    shared = _merged_domain(a, b)
    if shared is None:
        return None
    b.domain, b.axes = shared
    b.ops += a.ops
    for memory, regions in a.writes.items():
        few, many = sorted((regions, b.writes.get(memory, Noted())), key=len)
        for region in few.notes():
            many.add(region, region)
        b.writes[memory] = many
    a.ops = []
    a.into = b
    return b
