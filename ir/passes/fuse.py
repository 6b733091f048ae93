"""Fusion: which operations become one kernel.

The cost model, in English. Memory traffic dominates; arithmetic is free in comparison, except for matrix products. So a
value is stored only for one of these reasons:

1. A product, a scatter or a fold reads or computes it: those run as separate kernels.
2. A kernel reads it at other positions than its own element or its own row (a transpose, a window, a slice of a computed
   value): the cost of recomputing it for each reader is unbounded.
3. It is reduced over other axes than those of the kernel that computes it.
4. It is a result of the graph.

Movements and constants are free: they are repeated inside every kernel that reads them, as index arithmetic.

A kernel works on one *domain*: a shape, and the set of its axes that are reduced (perhaps none). Its operations live on the
whole domain or on a *row*: the domain without the reduced axes. Rows are broadcast back to the whole domain, so a softmax,
a layer norm or a cross entropy with its gradient is one kernel. When the last axis is not among those reduced (a *column*
reduction of more than a few rows: bias gradients), results are known only after the last row, and nothing in the same
kernel reads them.

Operations are assigned *stages*, in one forward sweep: an operation is in the stage of its latest operand if the two can
share a kernel, else in the next one. Operations of one stage never depend on each other through another kernel, so any of
them may be fused, and no cycle can arise. A second sweep, backwards, moves operations that were placed early without need
into the one later kernel that reads them. A third sweep merges a kernel with a later one that reads its elements, if no
other kernel must run between the two: for example a loss with its gradient, which waits for the count of targets. Simple
operations on one input are repeated like movements; otherwise the mask that is counted would make the count wait for the
loss. All sweeps are linear in the graph: the third examines a few kernels around each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import (
    add,
    adjoin,
    broadcast,
    cast,
    concatenate,
    constant,
    eq,
    fusion,
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
    slice_update,
    sub,
    uniform,
    where,
)
from ..ops.reduce import SHORT, kept_axes
from ..primitive import Kind

_DUPLICATED = ("broadcast", "permute", "slice", "flip", "pad", "windows", "full", "iota", "reshape")

_MEMORY = (reshape, adjoin)  # describe only where values are stored


def has_kernel(op: Op) -> bool:
    """True if kernels can be generated for an operation on values of its types."""
    return op.primitive.has_kernel and all(v.type.dtype.is_native for v in (*op.operands, *op.results))


def _is_free(op: Op) -> bool:
    """True if an operation is repeated inside each kernel that reads it."""
    if not has_kernel(op):
        return False
    if op.primitive is reshape:
        return _only_units_move(op)
    return op.primitive.name in _DUPLICATED


def _only_units_move(op: Op) -> bool:
    old, new = op.operands[0].shape, op.result.shape
    return [n for n in old if n != 1] == [n for n in new if n != 1]


_SIMPLE = (add, sub, mul, neg, where, eq, ne, lt, le, gt, ge, cast)
_CHAIN = 4  # longest chain of simple operations that is repeated
_NESTING = 6  # nested branches around free operations
_LARGE = 1 << 20  # bytes: larger values are few in a program
_AROUND = 50  # kernels examined to find out if one must run between two others
_LITTLE = 1 << 16  # bytes of an input that may be read once more
# A kernel with this many of these is complete; the next operation starts another kernel.
_LENGTH = 400  # operations; function calls count as four
_ARRAYS = 32
_REDUCTIONS = 32
_BRANCHES = 16

_BRANCHING = (pad, slice_update, concatenate)  # an element is selected by its position


def _is_fusible(op: Op) -> bool:
    """True if an operation is computed inside a kernel of several operations."""
    kind = op.primitive.kind
    return has_kernel(op) and (
        kind in (Kind.ELEMENTWISE, Kind.REDUCTION)
        or op.primitive in (uniform, gather, index_select)
        or (kind is Kind.MOVEMENT and op.primitive not in _MEMORY)
    )


def _weight(op: Op) -> int:
    scalar = op.primitive.scalar
    return 4 if isinstance(scalar, str) and "(" in scalar else 1


@dataclass(eq=False)
class _Group:
    """Operations that become one kernel. ``axes`` is None until a reduction joins."""

    stage: int
    domain: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    ops: list[Op] = field(default_factory=list)
    into: _Group | None = None  # the group this one was merged into

    @property
    def row(self) -> tuple[int, ...]:
        return tuple(n for i, n in enumerate(self.domain) if i not in (self.axes or ()))

    @property
    def is_column(self) -> bool:
        if not self.axes or len(self.domain) - 1 in self.axes:
            return False
        return math.prod(self.domain[a] for a in self.axes) > SHORT


def _find(group: _Group) -> _Group:
    while group.into is not None:
        group = group.into
    return group


class _Planner:
    def __init__(self, graph: Graph):
        self.stage: dict[Value, int] = {}  # of values that some kernel computes; inputs are in stage 0
        self.group: dict[Value, _Group] = {}
        self.free: dict[Value, Op] = {}
        self.users, self.outputs = graph.users(), set(graph.outputs)
        self.inputs_of: dict[Value, frozenset[Value]] = {v: frozenset([v]) for v in graph.inputs}  # also for free operations
        self.length: dict[Value, int] = {}  # length of the longest chain of simple operations
        self.nesting: dict[Value, int] = {}  # number of nested branches for reading free operations
        for op in graph.ops:
            simple = self._is_simple(op)
            nesting = (op.primitive is pad) + max((self.nesting.get(v, 0) for v in op.operands), default=0)
            if (_is_free(op) or simple) and nesting <= _NESTING:
                self.nesting[op.result] = nesting
                self.free[op.result] = op
                self.length[op.result] = simple + max((self.length.get(v, 0) for v in op.operands), default=0)
                if all(v in self.inputs_of for v in op.operands):
                    self.inputs_of[op.result] = frozenset().union(*(self.inputs_of[v] for v in op.operands))
            elif _is_fusible(op):
                self.place(op)
            else:
                bound = 0 if op.primitive in _MEMORY else 1
                stage = max((self.ready(v, bound) for v in op.operands), default=0)
                for r in op.results:
                    self.stage[r] = stage
        self.sink(graph)
        self.unite(graph)

    def _is_simple(self, op: Op) -> bool:
        """True if readers repeat an operation: reading its result would cost no less than reading its one input."""
        if op.primitive not in _SIMPLE or not has_kernel(op) or not all(v in self.inputs_of for v in op.operands):
            return False
        inputs = frozenset().union(*(self.inputs_of[v] for v in op.operands))
        long = max(self.length.get(v, 0) for v in op.operands) >= _CHAIN
        if len(inputs) != 1 or op.result in self.outputs or long:
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

    def ready(self, v: Value, bound: int = 1) -> int:
        """The first stage in which ``v`` can be read from memory."""
        return max((self.stage[u] + bound for u in self.made(v) if u in self.stage), default=0)

    def place(self, op: Op) -> None:
        """Chooses the stage and the group of a fusible operation."""
        reduces = op.primitive.kind is Kind.REDUCTION
        domain = op.operands[0].shape if reduces else op.result.shape
        wanted = _Group(0, domain, op.attrs["axes"] if reduces else None)
        joined: list[_Group] = []
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
        merged: _Group | None = wanted
        for group in joined:
            if group.stage == stage and merged is not None:
                merged = _merge(merged, _find(group))
        if merged is None:
            merged = _Group(stage + 1, wanted.domain, wanted.axes)
        merged.ops.append(op)
        self.stage[op.result] = merged.stage
        self.group[op.result] = merged

    def sink(self, graph: Graph) -> None:
        """Moves operations to the one later kernel that reads them, unless other values must be stored instead."""
        for op in reversed(graph.ops):
            if op.primitive.kind is not Kind.ELEMENTWISE or op.result in self.outputs or op.result not in self.group:
                continue
            here, readers = _find(self.group[op.result]), self.users.get(op.result, [])
            targets = {id(g): g for r in readers if (g := self._group_reading(r, op.result)) is not None}
            if len(targets) != 1 or any(self._group_reading(r, op.result) is None for r in readers):
                continue
            (there,) = targets.values()
            if there.stage > here.stage and op.result.shape == there.domain and self._in_memory(op, here):
                here.ops.remove(op)
                there.ops.append(op)
                self.stage[op.result], self.group[op.result] = there.stage, there

    def unite(self, graph: Graph) -> None:
        """Merges a kernel with a later one that reads its elements, if no other kernel lies between them."""
        apart: set[tuple[int, int]] = set()
        for op in graph.ops:
            if op.results[0] not in self.group:
                continue
            for v in op.operands:
                here, there = self.group.get(v), _find(self.group[op.result])
                if here is None or (here := _find(here)) is there or v.shape != there.domain:
                    continue
                if (id(here), id(there)) in apart:
                    continue
                if self._read_alike(here, there) and not self._has_between(here, there):
                    _merge(here, there)
                else:
                    apart.add((id(here), id(there)))

    def _read_alike(self, here: _Group, there: _Group) -> bool:
        """True if two kernels have a common domain on which the second can read all it reads of the first."""
        if here.is_column or there.is_column or _merged_domain(here, there) is None:
            return False
        for op in there.ops:
            for k, v in enumerate(op.operands):
                u = next(iter(self.made(v)), None)
                if u in self.group and _find(self.group[u]) is here and self._shared(op, k, v, u, there) is None:
                    return False
        return True

    def _has_between(self, here: _Group, there: _Group) -> bool:
        """True if something must run after one kernel and before the other, or if finding out takes too long."""
        seen: set[int] = {id(here), id(there)}
        work: list[Op] = list(here.ops)
        first = True
        while work:
            ops, work = work, []
            for op in ops:
                for reader in [r for v in op.results for r in self.readers(v)]:
                    group = self.group.get(reader.results[0])
                    item: _Group | Op = reader if group is None else _find(group)
                    if item is there and not first:
                        return True
                    if id(item) not in seen:
                        seen.add(id(item))
                        work += [item] if isinstance(item, Op) else item.ops
                        if len(seen) > _AROUND:
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

    def _group_reading(self, reader: Op, v: Value) -> _Group | None:
        """The group of an operation that reads ``v`` element by element."""
        if reader.results[0] not in self.group:
            return None
        in_place = all(_reads_in_place(reader, k) for k, u in enumerate(reader.operands) if u is v)
        return _find(self.group[reader.results[0]]) if in_place else None

    def _in_memory(self, op: Op, here: _Group) -> bool:
        """True if all operands of ``op`` are stored anyway."""
        for v in op.operands:
            for u in self.made(v):
                inside = u in self.group and _find(self.group[u]) is here
                if inside and all(
                    _find(self.group[r.results[0]]) is here if r.results[0] in self.group else False for r in self.users[u]
                ):
                    return False
        return True

    def _shared(self, op: Op, k: int, v: Value, u: Value, wanted: _Group) -> _Group | None:
        """The group that computes operand ``k`` if ``op`` can read it there, element by element or row by row."""
        if u not in self.group or not _reads_in_place(op, k):
            return None
        group = _find(self.group[u])
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
    if op.primitive in (index_select, gather):
        return k == 1 and op.operands[1].shape == op.result.shape
    return op.primitive.kind is not Kind.MOVEMENT and op.primitive is not uniform


def _merged_domain(a: _Group, b: _Group) -> tuple[tuple[int, ...], tuple[int, ...] | None] | None:
    """The domain two groups can share, or None."""
    if a.domain == b.domain:
        if a.axes is None or b.axes is None or a.axes == b.axes:
            return a.domain, a.axes if a.axes is not None else b.axes
        return None
    if a.axes is not None and b.axes is None and b.domain == a.row and not a.is_column:
        return a.domain, a.axes
    if b.axes is not None and a.axes is None and a.domain == b.row and not b.is_column:
        return b.domain, b.axes
    return None


def _merge(a: _Group, b: _Group) -> _Group | None:
    if a is b:
        return a
    shared = _merged_domain(a, b)
    if shared is None:
        return None
    b.domain, b.axes = shared
    b.ops += a.ops
    a.ops = []
    a.into = b
    return b


def _root(v: Value) -> Value:
    """The value that owns the memory of ``v``: a reshape only renames it."""
    while v.op is not None and v.op.primitive is reshape:
        v = v.op.operands[0]
    return v


def _is_given(v: Value) -> bool:
    """True if the memory of ``v`` is an input's or a constant's."""
    return v.op is None or v.op.primitive is constant


def fuse(graph: Graph) -> Graph:
    planner = _Planner(graph)
    return _Emitter(graph, planner).run()


class _Emitter:
    """Builds the graph of fusions, stage by stage."""

    def __init__(self, graph: Graph, planner: _Planner):
        self.graph, self.planner = graph, planner
        self.rewriter = Rewriter(graph)
        self.outputs = set(graph.outputs)
        self.count = 0

    def run(self) -> Graph:
        order = {op: i for i, op in enumerate(self.graph.ops)}
        outputs = self.outputs
        for item in self.ordered():
            if isinstance(item, _Group):
                for part in self.parts(sorted(item.ops, key=order.__getitem__)):
                    self.emit_group(part, outputs)
            else:
                for v in item.operands:
                    self.stored(v)
                self.rewriter.copy(item)
        results: list[Value] = []
        taken: set[Value] = set()
        for v in self.graph.outputs:
            self.stored(v)
            new = self.rewriter.map[v]
            if _root(new) in taken or _is_given(_root(new)):
                # Every result needs separate memory.
                results.append(self.emit([v], [], {v: v})[0])
                self.rewriter.map[v] = new
            else:
                results.append(new)
            taken.add(_root(results[-1]))
        return self.rewriter.builder.finish(results, self.graph.updates)

    def ordered(self) -> list[Op | _Group]:
        """The steps, each after its operands and as early as the first of its operations was.

        Readers of a large value run as early as possible, so that the value's memory can be reused.
        """
        item_of: dict[Value, Op | _Group] = {}
        for op in self.graph.ops:
            if op.results[0] not in self.planner.free:
                item = _find(self.planner.group[op.result]) if op.results[0] in self.planner.group else op
                item_of.update(dict.fromkeys(op.results, item))
        items = {id(item): item for item in item_of.values()}
        sources: dict[int, list[Op | _Group]] = {}
        readers: dict[int, list[Op | _Group]] = {}
        hasty: set[int] = set()  # those that read large values
        for key, item in items.items():
            reads = [v for op in ([item] if isinstance(item, Op) else item.ops) for v in op.operands]
            made = [u for v in reads for u in self.planner.made(v) if u in item_of and item_of[u] is not item]
            sources[key] = [*{id(item_of[u]): item_of[u] for u in made}.values()]
            for source in sources[key]:
                readers.setdefault(id(source), []).append(item)
            if any(u.type.nbytes >= _LARGE for u in made):
                hasty.add(key)
        missing = {key: len(found) for key, found in sources.items()}
        result: list[Op | _Group] = []
        done: set[int] = set()
        work = [(item, False) for item in reversed(items.values())]
        while work:
            item, complete = work.pop()
            key = id(item)
            if key in done:
                continue
            if missing[key] and not complete:
                work.append((item, True))
                work += [(s, False) for s in reversed(sources[key]) if id(s) not in done]
                continue
            done.add(key)
            result.append(item)
            for reader in reversed(readers.get(key, [])):
                missing[id(reader)] -= 1
                if not missing[id(reader)] and id(reader) in hasty:
                    work.append((reader, False))
        return result

    def parts(self, ops: Sequence[Op]) -> Iterator[Sequence[Op]]:
        """The operations of a kernel, in order; as several kernels if one would be too long.

        The time of LLVM and of the code generator grows faster than a kernel's length. A kernel is cut where few values are
        live, so that the kernels of a repetitive program have equal text. A part without reductions has results of one
        shape.
        """
        if (end := self._end(ops, 0)) == len(ops):
            yield ops
            return
        alive = self._alive(ops)
        start = 0
        while start < len(ops):
            if (end := self._end(ops, start)) < len(ops):
                last_quarter = range(end, end - (end - start + 3) // 4, -1)
                end = min(last_quarter, key=lambda k: alive[k - 1])
            part = ops[start:end]
            start = end
            if any(op.primitive.kind is Kind.REDUCTION for op in part):
                yield part
            else:
                yield from (list(run) for _, run in itertools.groupby(part, lambda op: op.result.shape))

    def _end(self, ops: Sequence[Op], start: int) -> int:
        """The position where a kernel that begins at ``start`` has its full length."""
        chain: dict[Op, None] = {}
        reads: set[Value] = set()
        length = branches = reductions = 0
        for k in range(start, len(ops)):
            before = len(chain)
            self._with_free(ops[k], chain)
            for added in itertools.islice(chain, before, None):
                length += _weight(added)
                branches += added.primitive in _BRANCHING
                reductions += added.primitive.kind is Kind.REDUCTION
                reads.update(v for v in added.operands if v.op not in chain)
            if length >= _LENGTH or len(reads) >= _ARRAYS or branches >= _BRANCHES or reductions >= _REDUCTIONS:
                return k + 1
        return len(ops)

    def _alive(self, ops: Sequence[Op]) -> list[int]:
        """The number of live values after each operation: those that later operations read."""
        place = {op: k for k, op in enumerate(ops)}
        changes = [0] * (len(ops) + 1)
        for k, op in enumerate(ops):
            changes[k] += 1
            changes[max((place.get(r, k) for r in self.planner.readers(op.result)), default=k)] -= 1
        return list(itertools.accumulate(changes))

    def emit_group(self, ops: Sequence[Op], outputs: set[Value]) -> None:
        inside = set(ops)
        results = []
        for op in ops:
            readers = self.planner.readers(op.result)
            if op.result in outputs or any(r not in inside for r in readers) or not readers:
                results.append(op.result)
        chain: dict[Op, None] = {}
        for op in ops:
            self._with_free(op, chain)
        made = {op.result for op in chain}
        self.emit(results, list(chain), {v: v for op in chain for v in op.operands if v not in made})

    def _with_free(self, op: Op, chain: dict[Op, None]) -> None:
        """Appends an operation to a kernel, preceded by the free operations between it and memory."""
        for v in op.operands:
            self._free_chain(v, chain)
        chain[op] = None

    def _free_chain(self, v: Value, chain: dict[Op, None]) -> None:
        """Inserts the free operations between ``v`` and memory before the operation that reads it."""
        work = [(v, False)]
        while work:
            u, complete = work.pop()
            op = self.planner.free.get(u)
            if op is None or op in chain:
                continue
            if complete:
                chain[op] = None
            else:
                work += [(u, True), *((operand, False) for operand in reversed(op.operands))]

    def stored(self, v: Value) -> None:
        """Ensures that ``v`` is in memory: a movement whose reader is not a generated kernel runs as a kernel."""
        if v in self.rewriter.map:
            return
        op = self.planner.free[v]
        if op.primitive is reshape:
            self.stored(op.operands[0])
            self.rewriter.copy(op)
            return
        chain: dict[Op, None] = {}
        self._free_chain(v, chain)
        # A reshape at the start of the chain only renames existing memory.
        made = {o.result for o in chain}
        self.rewriter.map[v] = self.emit([v], list(chain), {u: u for o in chain for u in o.operands if u not in made})[0]

    def emit(self, results: list[Value], ops: list[Op], reads: dict[Value, Value]) -> tuple[Value, ...]:
        """Appends one fusion of ``ops`` that reads ``reads`` and returns ``results``."""
        body = Builder(f"k{self.count}")
        self.count += 1
        inner: dict[Value, Value] = {}
        for v in reads:
            self.stored(v)
            inner[v] = body.input(v.type, v.name)
        for op in ops:
            made = body.append(op.primitive, [inner[v] for v in op.operands], op.attrs, op.loc)
            for old, new in zip(op.results, made, strict=True):
                new.name = old.name
                inner[old] = new
        graph = body.finish([inner[v] for v in results])
        outer = self.rewriter.builder
        outer.loc = next((op.loc for op in reversed(ops) if op.loc), "")
        values = outer.append(fusion, [self.rewriter.map[v] for v in reads], {"body": graph})
        for old, new in zip(results, values, strict=True):
            new.name = old.name
            self.rewriter.map[old] = new
        return values
