"""Which values share memory: an array of which a slice is written takes the memory of the array before.

That is possible if nothing reads the old elements of the slice afterwards, and in the same step only at the position that is
being written. Otherwise the array is copied first. Reads are compared with writes by region: rows of a matrix may be read
after others have been written.
"""

from __future__ import annotations

from typing import NamedTuple

from ...codegen.fusion import chain_of, read_elsewhere, written
from ...ir.graph import Builder, Graph, Op, Value
from ...ir.ops import RENAMING, adjoin, constant, fusion, named, set_at, slice_
from ...ir.regions import Noted, Region, region_of, whole


class _Read(NamedTuple):
    at: int  # position of the operation
    region: Region
    result: int | None = None  # what the elements are for, if it is to replace them


class Sharing:
    """Decides for each written array whose memory it takes.

    ``ops`` are the operations in order, with the copies that are needed.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.ops: list[Op] = []
        self._owner: dict[Value, Value] = {}  # for a value that takes the memory of another: the first that had it
        self._reads = self._all_reads() if any(map(changed, graph.ops)) else {}
        self._late: dict[Value, Noted[int]] = {}  # by memory: when old versions are read after a write
        for i, op in enumerate(graph.ops):
            for k in changed(op):
                self._place(op, i, k)
            self.ops.append(op)

    def root(self, v: Value) -> Value:
        """The value that owns the memory of ``v``."""
        v = named(v)
        return self._owner.get(v, v)

    def _all_reads(self) -> dict[Value, list[_Read]]:
        """The reads of each value, also under other shapes."""
        end = len(self.graph.ops)
        reads: dict[Value, list[_Read]] = {}
        for i, op in enumerate(self.graph.ops):
            if op.primitive in RENAMING:
                continue
            for v, regions in zip(op.operands, _regions(op), strict=True):
                for region, result in regions:
                    # A concatenated value is a part of the result's memory from then on.
                    reads.setdefault(named(v), []).append(_Read(end if op.primitive is adjoin else i, _fit(region, v), result))
        for v in self.graph.outputs:
            reads.setdefault(named(v), []).append(_Read(end, whole(named(v).shape)))
        return reads

    def _place(self, op: Op, i: int, k: int) -> None:
        """Chooses the memory of result ``k`` of operation number ``i``, an array of which it writes slices."""
        result = op.results[k]
        if op.primitive is fusion:
            body = op.attrs["body"]
            chain = chain_of(body.outputs[k])
            x, regions = op.operands[body.inputs.index(chain[0].operands[0])], [region_of(write) for write in chain]
        else:
            x, regions = op.operands[0], [whole(result.shape)]
        memory, before = self.root(x), named(x)
        late = self._late.setdefault(memory, Noted())
        for read in self._reads[before]:
            if read.at > i or (read.at == i and read.result != k):
                late.add(read.region if before.shape == memory.shape else whole(memory.shape), read.at)
        if x.shape != memory.shape:
            regions = [whole(memory.shape)]
        if self._is_writeable(memory, result) and all(at < i for r in regions for at in late.overlapping(r)):
            self._owner[result] = memory
        else:
            copy = identity(x)
            self.ops.append(copy)
            self._owner[result] = copy.result

    def _is_writeable(self, memory: Value, result: Value) -> bool:
        """True if a program may write into the memory of a value, to make another."""
        if memory.op is not None:
            return memory.op.primitive not in (constant, adjoin)
        updates, inputs = self.graph.updates, self.graph.inputs
        outputs = [k for k, v in enumerate(self.graph.outputs) if named(v) is result]
        return memory in [inputs[i] for i in updates.values()] and all(
            k in updates and inputs[updates[k]] is memory for k in outputs
        )


def _fit(region: Region, v: Value) -> Region:
    """A region of ``v`` as one of the value that it names, or all of that."""
    base = named(v)
    return region if base.shape == v.shape else whole(base.shape)


def changed(op: Op) -> list[int]:
    """The results that are arrays of which the operation changes a part."""
    if op.primitive is fusion:
        return written(op.attrs["body"])
    return [0] if op.primitive is set_at and op.result.dtype.is_native else []


def _regions(op: Op) -> list[list[tuple[Region, int | None]]]:
    """For each operand, the regions that an operation reads, with the number of the result that replaces the elements."""
    everything = [whole(v.shape) for v in op.operands]
    if op.primitive is not fusion:
        first = 0 if changed(op) else None
        return [[(region, first if k == 0 else None)] for k, region in enumerate(everything)]
    body = op.attrs["body"]
    found: dict[Value, list[tuple[Region, int | None]]] = {x: [] for x in body.inputs}
    replaced: dict[tuple[Value, Region], int] = {}
    starts: set[Op] = set()  # the first writes of arrays
    for i in written(body):
        chain = chain_of(body.outputs[i])
        x = chain[0].operands[0]
        starts.add(chain[0])
        found[x].append((whole(x.shape), i))
        replaced |= {(x, region_of(write)): i for write in chain}
    elsewhere = read_elsewhere(body)
    for v in body.outputs:
        if v in found:
            found[v].append((whole(v.shape), None))
    for o in body.ops:
        for x in dict.fromkeys(o.operands):
            if x not in found or (o in starts and o.operands[0] is x):
                continue
            if o.primitive is slice_:
                region = region_of(o)
                found[x].append((region, replaced.get((x, region)) if o.result not in elsewhere else None))
            else:
                found[x].append((whole(x.shape), None))
    return [found[x] for x in body.inputs]


def identity(v: Value) -> Op:
    """A fusion that copies a value."""
    body = Builder("copy")
    x = body.input(v.type)
    return Op(fusion, [v], {"body": body.finish([x])}, [v.type])
