"""Which steps must precede a write into an array: those that read the old elements."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Graph, Op, Value
from ..ops import RENAMING, set_at, slice_, write_slice
from ..regions import History, Noted, Region, region_of, whole

Home = tuple[Value, Region]  # an array, and where a value is in it


def is_write(op: Op) -> bool:
    """True if an operation writes a slice into the memory of an array, by a kernel."""
    return op.primitive is write_slice and op.result.dtype.is_native


def is_change(op: Op) -> bool:
    """True if the result of an operation takes the memory of its first operand, of which the operation changes a part."""
    return op.primitive in (write_slice, set_at) and op.result.dtype.is_native


def _reached(op: Op) -> Region:
    """The region that such an operation may write."""
    return region_of(op) if op.primitive is write_slice else whole(op.result.shape)


class Hazards:
    """Values that share memory because writes of parts make one from the other, and the reads of each memory so far."""

    def __init__(self, graph: Graph, is_free: Callable[[Op], bool]):
        """``is_free``: whether an operation is repeated wherever its result is read."""
        self.first: dict[Value, Value] = {}  # the value whose memory a value shares
        old: set[Value] = set()  # the values that are overwritten
        self._number: dict[Value, int] = {}  # of writes so far
        self._writes: dict[Value, History[int]] = {}
        self.copies: set[Op] = set()  # writes into a copy, because another has taken the memory
        for op in filter(is_change, graph.ops):
            x = op.operands[0]
            if x in old:
                self.copies.add(op)
                self.first[op.result], self._number[op.result] = op.result, 0
                continue
            self.first[op.result] = self.first.setdefault(x, x)
            old.add(x)
            self._number[op.result] = self._number.setdefault(x, 0) + 1
            self._writes.setdefault(self.first[x], History()).add(_reached(op), self._number[op.result])
        self.before: dict[Op, list[Op]] = {}  # for each write, operations that must precede it
        self.after: dict[Op, list[Op]] = {}  # and the converse
        self.home: dict[Value, Home] = {}  # where a written value is in memory, until that is overwritten
        self.kept: set[Op] = self._read_late(graph, is_free) if self.first else set()
        self._reads: dict[Value, Noted[Op]] = {memory: Noted() for memory in self.first.values()}
        self._homes: dict[Value, Noted[Value]] = {memory: Noted() for memory in self.first.values()}

    def _read_late(self, graph: Graph, is_free: Callable[[Op], bool]) -> set[Op]:
        """The slices that are read after their elements have been overwritten: they are copied before."""
        last: dict[Value, int] = {}
        for i, op in reversed(list(enumerate(graph.ops))):
            at = max((last.get(v, i) for v in op.results), default=i) if is_free(op) else i
            for v in op.operands:
                last[v] = max(last.get(v, at), at)
        found: set[Op] = set()
        reads: dict[Value, Noted[Op]] = {memory: Noted() for memory in self.first.values()}
        for i, op in enumerate(graph.ops):
            if is_change(op):
                taken = reads[self.first[op.result]].take(_reached(op))
                found.update(read for read in taken if last.get(read.result, i) > i)
            elif op.operands and op.operands[0] in self.first and is_free(op):
                region = region_of(op) if op.primitive is slice_ else whole(op.operands[0].shape)
                reads[self.first[op.operands[0]]].add(region, op)
        return found

    def read(self, op: Op, v: Value, region: Region) -> None:
        """Notes that ``op`` reads elements of ``v``."""
        v, region = self._named(v, region)
        if v in self.first:
            self._reads[self.first[v]].add(region, op)

    def _named(self, v: Value, region: Region) -> Home:
        """The elements that a part of a complex value names."""
        while v not in self.first and v.op is not None and v.op.primitive in RENAMING:
            (v,) = v.op.operands
            region = whole(v.shape)
        return v, region

    def must_precede(self, reader: Op, write: Op) -> None:
        """Notes that a write must follow a read."""
        self.before.setdefault(write, []).append(reader)
        self.after.setdefault(reader, []).append(write)

    def is_same(self, a: Value, b: Value, region: Region) -> bool:
        """True if a region has the same elements in the values ``a`` and ``b``, the later one."""
        if self.first.get(a) is not self.first[b]:
            return False
        since, until = self._number[a], self._number[b]
        if since == until:
            return True
        latest = self._writes[self.first[b]].latest(region, until) or 0
        return latest <= since < until

    def is_overwritten(self, v: Value, region: Region) -> bool:
        """True if a later write overwrites elements of a region of ``v``."""
        v, region = self._named(v, region)
        if v not in self.first or self.first[v] not in self._writes:
            return False
        writes = self._writes[self.first[v]]
        return (writes.latest(region, len(writes)) or 0) > self._number[v]

    def overwritten(self, op: Op) -> list[Op]:
        """The operations so far that read elements that a write overwrites. They need not be compared with later writes: those
        follow this one.
        """
        memory, region = self.first[op.result], _reached(op)
        for v in self._homes[memory].take(region):
            self.home.pop(v, None)
        return self._reads[memory].take(region)

    def written(self, op: Op) -> None:
        """Notes where a written value is from now on."""
        v = op.operands[1]
        self.home[v] = op.result, region_of(op)
        self._homes[self.first[op.result]].add(region_of(op), v)
