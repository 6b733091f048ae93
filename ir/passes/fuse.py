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
from collections.abc import Iterator, Mapping, Sequence

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import RENAMING, concatenate, constant, fusion, named, pad, reshape, slice_, slice_update
from ..primitive import Kind
from ..regions import attributes, region_of
from .grouping import Group, Planner, find
from .hazards import Home, is_write

_LARGE = 1 << 20  # bytes: larger values are few in a program
# A kernel with this many of these is complete; the next operation starts another kernel.
_LENGTH = 400  # operations; function calls and writes count as four
_ARRAYS = 32
_REDUCTIONS = 32
_BRANCHES = 16
_WRITES = 8  # of slices of at least the following elements: each is a stream of memory accesses
_LONG = 32

_BRANCHING = (pad, slice_update, concatenate)  # an element is selected by its position


def _weight(op: Op) -> int:
    scalar = op.primitive.scalar
    return 4 if is_write(op) or (isinstance(scalar, str) and "(" in scalar) else 1


def _is_given(v: Value) -> bool:
    """True if the memory of ``v`` is an input's or a constant's."""
    return v.op is None or v.op.primitive is constant


def fuse(graph: Graph) -> Graph:
    planner = Planner(graph)
    return _Emitter(graph, planner).run()


def _shape(op: Op) -> tuple[int, ...]:
    """The shape of the elements that an operation computes or writes."""
    return op.operands[1].shape if is_write(op) else op.result.shape


class _Emitter:
    """Builds the graph of fusions, stage by stage."""

    def __init__(self, graph: Graph, planner: Planner):
        self.graph, self.planner = graph, planner
        self.rewriter = Rewriter(graph)
        self.outputs = set(graph.outputs)
        self.count = 0

    def run(self) -> Graph:
        order = {op: i for i, op in enumerate(self.graph.ops)}
        outputs = self.outputs
        for item in self.ordered():
            if isinstance(item, Group):
                for part in self.parts(self._in_order(item.ops, order)):
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
            if named(new) in taken or _is_given(named(new)):
                # Every result needs separate memory.
                results.append(self.copied(v))
                self.rewriter.map[v] = new
            else:
                results.append(new)
            taken.add(named(results[-1]))
        return self.rewriter.builder.finish(results, self.graph.updates)

    def copied(self, v: Value) -> Value:
        """A copy of a value in memory; of a complex one, that of the real elements that it names."""
        if v.dtype.is_native or v.op is None or v.op.primitive not in RENAMING:
            return self.emit([v], [])[0]
        self.stored(v.op.operands[0])
        (result,) = self.rewriter.builder.append(v.op.primitive, [self.copied(v.op.operands[0])], v.op.attrs, v.op.loc)
        return result

    def _in_order(self, ops: Sequence[Op], order: Mapping[Op, int]) -> Sequence[Op]:
        """A kernel's operations in order. Writes, and values that are only written, are as early as possible: if the kernel is
        cut, they are in the part that computes what they need.
        """
        place: dict[Op, int] = {}
        for op in sorted(ops, key=order.__getitem__):
            readers = self.planner.users.get(op.result, [])
            soon = is_write(op) or (readers and all(map(is_write, readers)))
            made = [u for v in op.operands for u in self.planner.made(v)] if soon else ()
            before = [place[u.op] for u in made if u.op in place]
            place[op] = max(before, default=order[op])
        return sorted(ops, key=lambda op: (place[op], order[op]))

    def ordered(self) -> list[Op | Group]:
        """The steps, each after its operands and as early as the first of its operations was.

        Readers of a large value run as early as possible, so that the value's memory can be reused, if they compute less than
        their share of what they read.
        """
        item_of: dict[Value, Op | Group] = {}
        for op in self.graph.ops:
            if op.results[0] not in self.planner.free:
                item = find(self.planner.group[op.result]) if op.results[0] in self.planner.group else op
                item_of.update(dict.fromkeys(op.results, item))
        items = {id(item): item for item in item_of.values()}
        sources: dict[int, list[Op | Group]] = {}
        readers: dict[int, list[Op | Group]] = {}
        large: dict[int, list[Value]] = {}  # what each reads of these
        kept: dict[int, int] = {}  # bytes of results that others read
        shares: dict[Value, int] = {}  # readers of each value
        for key, item in items.items():
            ops = [item] if isinstance(item, Op) else item.ops
            reads = [v for op in ops for v in op.operands]
            made = [u for v in reads for u in self.planner.made(v) if u in item_of and item_of[u] is not item]
            overwritten = [r.results[0] for op in ops for r in self.planner.hazards.before.get(op, ())]
            found = [item_of[u] for u in (*made, *overwritten)]
            sources[key] = [*{id(source): source for source in found if source is not item}.values()]
            for source in sources[key]:
                readers.setdefault(id(source), []).append(item)
            for u in dict.fromkeys(made):
                if not shares.setdefault(u, 0):
                    kept[id(item_of[u])] = kept.get(id(item_of[u]), 0) + u.type.nbytes
                shares[u] += 1
            large[key] = [u for u in dict.fromkeys(made) if u.type.nbytes >= _LARGE]
        hasty = {
            key for key, read in large.items() if read and sum(u.type.nbytes / shares[u] for u in read) >= kept.get(key, 0)
        }
        missing = {key: len(found) for key, found in sources.items()}
        result: list[Op | Group] = []
        done: set[int] = set()
        entered: set[int] = set()
        work = [(item, False) for item in reversed(items.values())]
        while work:
            item, complete = work.pop()
            key = id(item)
            if key in done:
                continue
            if missing[key] and not complete:
                entered.add(key)
                work.append((item, True))
                work += [(s, False) for s in reversed(sources[key]) if id(s) not in done and id(s) not in entered]
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
                yield from (list(run) for _, run in itertools.groupby(part, _shape))

    def _end(self, ops: Sequence[Op], start: int) -> int:
        """The position where a kernel that begins at ``start`` has its full length."""
        chain: dict[Op, None] = {}
        reads: set[Value] = set()
        length = branches = reductions = written = 0
        for k in range(start, len(ops)):
            before = len(chain)
            self._with_free(ops[k], chain)
            for added in itertools.islice(chain, before, None):
                length += _weight(added)
                branches += added.primitive in _BRANCHING
                reductions += added.primitive.kind is Kind.REDUCTION
                reads.update(v for v in added.operands if v.op not in chain)
                written += is_write(added) and added.operands[1].type.numel >= _LONG
            few = length < _LENGTH and len(reads) < _ARRAYS and branches < _BRANCHES and reductions < _REDUCTIONS
            if not few or written >= _WRITES:
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
            readers = [r for r in self.planner.readers(op.result) if (r, op.result) not in self.planner.from_home]
            if op.result in outputs or any(r not in inside for r in readers) or not self.planner.users.get(op.result):
                results.append(op.result)
        chain: dict[Op, None] = {}
        for op in ops:
            self._with_free(op, chain)
        self.emit(results, list(chain), {v: home for op in ops for v, home in self.planner.homes_read(op)})

    def _with_free(self, op: Op, chain: dict[Op, None]) -> None:
        """Appends an operation to a kernel, preceded by the free operations between it and memory."""
        for v in op.operands[is_write(op) :]:
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

    def _written(self, v: Value) -> Value:
        """An array after all the writes of the kernel that makes ``v``."""
        while v not in self.rewriter.map:
            (write,) = self.planner.users[v]
            v = write.result
        return v

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
        self.rewriter.map[v] = self.emit([v], list(chain))[0]

    def emit(self, results: list[Value], ops: list[Op], homes: Mapping[Value, Home] | None = None) -> tuple[Value, ...]:
        """Appends one fusion of ``ops`` that returns ``results``. ``homes``: values that it reads as parts of arrays."""
        body = Builder(f"k{self.count}")
        self.count += 1
        made = {v for op in ops for v in op.results}
        reads: dict[Value, Value] = {}
        inner: dict[Value, Value] = {}

        def stored(v: Value) -> Value:
            if v not in reads:
                self.stored(v)
                reads[v] = body.input(v.type, v.name)
            return reads[v]

        def operand(v: Value) -> Value:
            if v not in inner:
                if homes and v in homes:
                    array, region = homes[v]
                    (part,) = body.append(slice_, [stored(self._written(array))], attributes(region))
                    inner[v] = part if part.shape == v.shape else body.append(reshape, [part], {"shape": v.shape})[0]
                else:
                    inner[v] = stored(v)
            return inner[v]

        writes = [op.operands[0] for op in ops if is_write(op) and op.operands[0] not in made]
        for op in ops:
            if op.primitive is slice_:  # of the array to be written, not of an older value in the same memory
                x = next((x for x in writes if self.planner.hazards.is_same(op.operands[0], x, region_of(op))), op.operands[0])
                (inner[op.result],) = body.add(slice_, [operand(x)], op.attrs, [op.result.type], op.loc)
                continue
            operands = [operand(v) for v in op.operands[is_write(op) :]]
            if is_write(op):  # of an array in memory, perhaps with other writes by this kernel
                x = op.operands[0]
                operands.insert(0, inner[x] if x in inner and x.op is not None and is_write(x.op) else stored(x))
            results_inside = body.add(op.primitive, operands, op.attrs, [v.type for v in op.results], op.loc)
            for old, new in zip(op.results, results_inside, strict=True):
                new.name = old.name
                inner[old] = new
        graph = body.finish([operand(v) for v in results])
        outer = self.rewriter.builder
        outer.loc = next((op.loc for op in reversed(ops) if op.loc), "")
        values = outer.append(fusion, [self.rewriter.map[v] for v in reads], {"body": graph})
        for old, new in zip(results, values, strict=True):
            new.name = old.name
            self.rewriter.map[old] = new
        return values
