"""Recomputes large values between two kernels in the reader where that moves fewer bytes.

Values that a forward pass leaves for the backward pass are often elementwise in something that is in memory anyway: the
pieces of a gelu's derivative, the exponentials of a softmax, the mask of a relu. Storing such a value costs its bytes twice
(memory is read before it is written), and reading it once more. Recomputing it costs reading its operands; the arithmetic
is free in comparison. Values that fit a cache are stored: recomputing them gains nothing.

A value qualifies if, within its kernel, it is elementwise in the kernel's operands and in its *rows* (sums, extrema and the
like, which are small and are stored for the reader if necessary), and if all its readers are kernels that read it element
by element. The values that one kernel passes to others are judged together, since they have operands in common, and then
one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import broadcast, full, fusion, iota
from ..primitive import Kind

_SMALLEST = 4 << 20  # bytes: more than the caches of a CPU hold
_LONGEST = 40  # operations to recompute a value
_SMALL = 8  # a row is at least this many times smaller than the value


@dataclass
class _Recipe:
    """How a value is computed inside its kernel: the operations, and their leaves."""

    ops: list[Op] = field(default_factory=list)
    leaves: list[Value] = field(default_factory=list)


def recompute(graph: Graph) -> Graph:
    return _Recomputer(graph).run()


class _Recomputer:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.users = graph.users()
        self.outputs = set(graph.outputs)
        self.rewriter = Rewriter(graph)
        # Values that are no longer stored: the recipe, and for each of its leaves the value outside.
        self.recipes: dict[Value, tuple[_Recipe, dict[Value, Value]]] = {}

    def run(self) -> Graph:
        for op in self.graph.ops:
            if op.primitive is fusion:
                self.emit(op)
            else:
                self.rewriter.copy(op)
        return self.rewriter.finish()

    def emit(self, op: Op) -> None:
        """Appends a kernel without the results that its readers recompute, and with the rows that they need."""
        chosen = self.choose(op)
        if not chosen and not any(v in self.recipes for v in op.operands):
            self.rewriter.copy(op)
            return
        body = Builder(op.attrs["body"].name)
        inner: dict[Value, Value] = {}
        operands: list[Value] = []

        def read(outside: Value) -> Value:
            mapped = self.rewriter.map[outside]
            if mapped not in operands:
                operands.append(mapped)
                body.input(mapped.type, mapped.name)
            return body.inputs[operands.index(mapped)]

        for outside, inside in zip(op.operands, op.attrs["body"].inputs, strict=True):
            if outside in self.recipes:
                recipe, places = self.recipes[outside]
                computed = {leaf: read(place) for leaf, place in places.items()}
                _append(body, recipe.ops, computed)
                inner[inside] = computed[recipe.ops[-1].result]
            else:
                inner[inside] = read(outside)
        _append(body, op.attrs["body"].ops, inner)
        stored = [v for v in op.results if v not in chosen]
        given = dict(zip(op.results, op.attrs["body"].outputs, strict=True))
        results = {given[v]: v for v in stored}
        rows = [leaf for recipe in chosen.values() for leaf in recipe.leaves if leaf.op is not None]
        extra = [leaf for leaf in dict.fromkeys(rows) if leaf not in results]
        self.rewriter.builder.loc = op.loc
        wanted = [inner[v] for v in (*(given[v] for v in stored), *extra)]
        made: tuple[Value, ...] = ()
        if wanted:  # else its readers do all its work
            made = self.rewriter.builder.append(fusion, operands, {"body": body.finish(wanted)})
        for v, new in zip(stored, made, strict=False):
            new.name = v.name
            self.rewriter.map[v] = new
        for leaf, new in zip(extra, made[len(stored) :], strict=True):
            self.rewriter.map[leaf] = new
        outside_of = {**dict(zip(op.attrs["body"].inputs, op.operands, strict=True)), **results, **{v: v for v in extra}}
        for v, recipe in chosen.items():
            self.recipes[v] = recipe, {leaf: outside_of[leaf] for leaf in recipe.leaves}

    def choose(self, op: Op) -> dict[Value, _Recipe]:
        """The results of a kernel that its readers should recompute."""
        body = op.attrs["body"]
        outside = dict(zip(body.inputs, op.operands, strict=True))
        rows = {v.shape for v in body.outputs} | {o.result.shape for o in body.ops if o.primitive.kind is Kind.REDUCTION}
        found: dict[Value, _Recipe] = {}
        for v, inside in zip(op.results, body.outputs, strict=True):
            # A value that the kernel itself would recompute would take one more step in each reader.
            if v.type.nbytes < _SMALLEST or v in self.outputs or not self.users.get(v):
                continue
            recipe = _recipe(inside, rows)
            if recipe is None or not all(_reads_elements(u, v) for u in self.users[v]):
                continue
            if all(leaf.op is not None or outside[leaf] not in self.recipes for leaf in recipe.leaves):
                found[v] = recipe
        if self.gain(op, found) > 0:
            return found
        return {v: r for v, r in found.items() if self.gain(op, {v: r}) > 0}

    def gain(self, op: Op, chosen: dict[Value, _Recipe]) -> int:
        """The number of bytes saved."""
        body = op.attrs["body"]
        stored = {inside for v, inside in zip(op.results, body.outputs, strict=True) if v not in chosen}
        outside = dict(zip(body.inputs, op.operands, strict=True))
        total = 0
        needs: dict[Op, set[Value]] = {}
        for v, recipe in chosen.items():
            total += 2 * v.type.nbytes
            for reader in self.users[v]:
                total += v.type.nbytes
                needs.setdefault(reader, set()).update(recipe.leaves)
        for leaf in {leaf for recipe in chosen.values() for leaf in recipe.leaves}:
            if leaf.op is not None and leaf not in stored:
                total -= 2 * leaf.type.nbytes
        for reader, leaves in needs.items():
            total -= sum(leaf.type.nbytes for leaf in leaves if outside.get(leaf) not in reader.operands)
        return total


def _append(body: Builder, ops: list[Op] | tuple[Op, ...], inner: dict[Value, Value]) -> None:
    """Appends copies of operations whose operands ``inner`` maps, and maps their results."""
    for op in ops:
        made = body.append(op.primitive, [inner[v] for v in op.operands], op.attrs, op.loc)
        for old, new in zip(op.results, made, strict=True):
            new.name = old.name
            inner[old] = new


def _recipe(v: Value, rows: set[tuple[int, ...]]) -> _Recipe | None:
    """How ``v`` is computed from its kernel's operands and rows; None if that is not elementwise, or too long.

    ``rows`` are the shapes that the kernel can store.
    """
    recipe = _Recipe()
    seen: set[Value] = set()
    work = [(v, False)]
    while work:
        u, ready = work.pop()
        if ready:
            assert u.op is not None
            recipe.ops.append(u.op)
            continue
        if u in seen:
            continue
        seen.add(u)
        small = u.type.numel * _SMALL <= v.type.numel
        if u.op is None or (small and u.shape in rows and u.op.primitive.kind in (Kind.ELEMENTWISE, Kind.REDUCTION)):
            recipe.leaves.append(u)
        elif _is_repeatable(u.op) or (small and u.op.primitive.kind is Kind.MOVEMENT):
            work.append((u, True))
            work += [(operand, False) for operand in u.op.operands]
        else:
            return None
    return recipe if recipe.ops and len(recipe.ops) <= _LONGEST else None


def _is_repeatable(op: Op) -> bool:
    elementwise = op.primitive.kind is Kind.ELEMENTWISE and op.primitive.error is None
    return elementwise or op.primitive in (broadcast, full, iota)


def _reads_elements(reader: Op, v: Value) -> bool:
    """True if a kernel reads ``v`` only at the element that it computes."""
    if reader.primitive is not fusion:
        return False
    body = reader.attrs["body"]
    inside = [x for outside, x in zip(reader.operands, body.inputs, strict=True) if outside is v]
    if any(x in body.outputs for x in inside):
        return False
    readers = [o for o in body.ops if any(x in o.operands for x in inside)]
    return all(o.primitive.kind in (Kind.ELEMENTWISE, Kind.REDUCTION) for o in readers)
