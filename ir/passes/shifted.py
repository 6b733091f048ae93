"""Computes a value again in the kernel that reads it at several shifts, instead of storing it.

The fluxes of a stencil are such values: ``flux[1:] - flux[:-1]`` reads each flux twice. Storing it moves its bytes three times,
and what a flux is computed from is read in any case. Its kernel must be elementwise in slices of its operands; a slice of the
value is then the same operations on slices of slices. The arithmetic that is added must be small, so a value that is read at
many shifts, or takes many operations, stays.
"""

from __future__ import annotations

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import broadcast, full, fusion, slice_
from ..primitive import Kind
from ..regions import Region, attributes, extents, part_of, region_of, whole

_SMALLEST = 1 << 18  # bytes: smaller values stay in a cache that is close
_MOST_OPERATIONS, _MOST_READS = 24, 16  # of all copies together


def repeat_shifted(graph: Graph) -> Graph:
    if not any(op.primitive is fusion for op in graph.ops):
        return graph
    users, outputs = graph.users(), set(graph.outputs)
    rewriter = Rewriter(graph)
    repeated: dict[Value, tuple[Graph, list[Value]]] = {}  # values that are not stored: their bodies, and the operands outside
    for op in graph.ops:
        if op.primitive is not fusion:
            rewriter.copy(op)
            continue
        known = [v for v in op.operands if v in repeated]
        if known:
            body, operands = _inlined(op, rewriter, repeated)
        else:
            body, operands = op.attrs["body"], [rewriter.map[v] for v in op.operands]
        if len(op.results) == 1 and op.result not in outputs and _pays(body, op.result, users.get(op.result, [])):
            repeated[op.result] = body, operands
        elif known:
            results = rewriter.builder.append(fusion, operands, {**op.attrs, "body": body}, op.loc)
            for old, new in zip(op.results, results, strict=True):
                new.name = old.name
                rewriter.map[old] = new
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _pays(body: Graph, v: Value, readers: list[Op]) -> bool:
    """Whether the only reader of a kernel's result should compute it itself."""
    if v.type.nbytes < _SMALLEST or len(readers) != 1 or readers[0].primitive is not fusion:
        return False
    (reader,) = readers
    if reader.operands.count(v) != 1 or not all(map(_is_plain, body.ops)):
        return False
    there = reader.attrs["body"]
    if any(o.primitive.kind is Kind.MOVEMENT and o.primitive not in (slice_, broadcast) for o in there.ops):
        return False  # it may write into memory that the value is computed from
    inside = there.inputs[reader.operands.index(v)]
    shifts = [o for o in there.ops if inside in o.operands]
    if inside in there.outputs or len(shifts) < 2 or any(o.primitive is not slice_ for o in shifts):
        return False
    operations = sum(o.primitive.kind is Kind.ELEMENTWISE for o in body.ops)
    reads = sum(o.primitive is slice_ for o in body.ops) + sum(
        any(x in o.operands and o.primitive is not slice_ for o in body.ops) for x in body.inputs
    )
    return len(shifts) * operations <= _MOST_OPERATIONS and len(shifts) * reads <= _MOST_READS


def _is_plain(op: Op) -> bool:
    elementwise = op.primitive.kind is Kind.ELEMENTWISE and op.primitive.error is None
    return elementwise or op.primitive in (broadcast, full, slice_)


def _inlined(op: Op, rewriter: Rewriter, repeated: dict[Value, tuple[Graph, list[Value]]]) -> tuple[Graph, list[Value]]:
    """The body of a kernel, with the values that are not stored computed in it, and its operands."""
    old: Graph = op.attrs["body"]
    body = Builder(old.name)
    operands: list[Value] = []

    def read(outside: Value) -> Value:
        if outside not in operands:
            operands.append(outside)
            body.input(outside.type, outside.name)
        return body.inputs[operands.index(outside)]

    inner: dict[Value, Value] = {}
    copies: dict[Value, _Copies] = {}
    for outside, inside in zip(op.operands, old.inputs, strict=True):
        if outside in repeated:
            recipe, sources = repeated[outside]
            copies[inside] = _Copies(body, recipe, [read(x) for x in sources])
        else:
            inner[inside] = read(rewriter.map[outside])
    for o in old.ops:
        if o.primitive is slice_ and o.operands[0] in copies:
            inner[o.result] = copies[o.operands[0]].at(o)
            continue
        made = body.append(o.primitive, [inner[v] for v in o.operands], o.attrs, o.loc)
        for v, new in zip(o.results, made, strict=True):
            new.name = v.name
            inner[v] = new
    return body.finish([inner[v] for v in old.outputs]), operands


class _Copies:
    """Copies of a kernel's body, each for a region of its result."""

    def __init__(self, body: Builder, recipe: Graph, sources: list[Value]):
        self._body, self._result = body, recipe.outputs[0]
        self._sources = dict(zip(recipe.inputs, sources, strict=True))
        self._made: dict[tuple[Value, Region], Value] = {}

    def at(self, op: Op) -> Value:
        """What a slice of the result is."""
        return self._of(self._result, region_of(op))

    def _of(self, v: Value, region: Region) -> Value:
        if (v, region) not in self._made:
            self._made[v, region] = self._computed(v, region)
        return self._made[v, region]

    def _computed(self, v: Value, region: Region) -> Value:
        if v.op is None:
            source = self._sources[v]
            if region == whole(source.shape):
                return source
            return self._body.append(slice_, [source], attributes(region))[0]
        op, attrs = v.op, v.op.attrs
        if op.primitive is full:
            return self._body.append(full, [], {**attrs, "shape": extents(region)}, op.loc)[0]
        if op.primitive is slice_:
            return self._of(op.operands[0], part_of(region, region_of(op)))
        if op.primitive is broadcast:
            x = self._of(op.operands[0], tuple(region[a] for a in attrs["axes"]))
            return self._body.append(broadcast, [x], {**attrs, "shape": extents(region)}, op.loc)[0]
        return self._body.append(op.primitive, [self._of(u, region) for u in op.operands], attrs, op.loc)[0]
