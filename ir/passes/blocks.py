"""Splits full reductions into blocks: a kernel of many rows, and one that adds up the partial sums.

A kernel that reduces its whole domain to numbers has a single row. Only one thread can work on it, and it does not fit a
cache. Split into blocks of about a thousand elements it has many rows. The blocks depend only on the shape, so the order of
addition, and with it every bit of the result, does not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import broadcast, full, fusion, max_, min_, reshape, sum_
from ..primitive import Kind

_SMALLEST = 1 << 16  # elements: smaller sums are faster on one thread
_BLOCK = 1024  # maximum elements if possible: what a sum accumulates in its own format (codegen.blocked)
_VECTORS = 32  # elements per iteration of a vector loop
_FEWEST, _MOST = 8, 1 << 16  # blocks


def block_reductions(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        body = op.attrs["body"] if op.primitive is fusion else None
        shape = _domain(body) if body is not None else None
        count = _count(math.prod(shape)) if shape is not None else 0
        if body is None or shape is None or not count:
            rewriter.copy(op)
            continue
        _split(rewriter, op, body, shape, count)
    return rewriter.finish()


def _count(n: int) -> int:
    """A number of equal blocks of about the wanted size, if possible without a remainder in vector code; 0 if there is none."""
    if n < _SMALLEST:
        return 0
    wanted = max(_FEWEST, min(-(-n // _BLOCK), _MOST))
    if even := next((c for c in range(wanted, 2 * wanted) if n % (c * _VECTORS) == 0), 0):
        return even
    return next((c for d in range(wanted) for c in (wanted + d, wanted - d) if _FEWEST <= c <= _MOST and n % c == 0), 0)


def _domain(body: Graph) -> tuple[int, ...] | None:
    """The shape that is reduced to numbers, if a body has only elementwise operations, full reductions and numbers."""
    reductions = [op for op in body.ops if op.primitive.kind is Kind.REDUCTION]
    shapes = {op.operands[0].shape for op in reductions}
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    after = _after_reductions(body)
    for op in body.ops:
        simple = op.primitive.kind is Kind.ELEMENTWISE or op.primitive is full
        lifted = op.primitive is broadcast and op.operands[0].shape == ()
        whole = op.primitive in (sum_, max_, min_) and len(op.attrs["axes"]) == len(shape)
        if not (simple or lifted or whole) or (op.result in after and op.result.shape != ()):
            return None
    return shape if shape and all(v.shape in (shape, ()) for v in _values(body)) else None


def _values(body: Graph) -> list[Value]:
    return [*body.inputs, *(op.result for op in body.ops)]


def _after_reductions(body: Graph) -> set[Value]:
    """The values computed from a reduction, including its result."""
    found: set[Value] = set()
    for op in body.ops:
        if op.primitive.kind is Kind.REDUCTION or any(v in found for v in op.operands):
            found.add(op.result)
    return found


def _split(rewriter: Rewriter, op: Op, body: Graph, shape: tuple[int, ...], count: int) -> None:
    blocks = (count, math.prod(shape) // count)
    after = _after_reductions(body)
    reductions = [o for o in body.ops if o.primitive.kind is Kind.REDUCTION]
    outer = rewriter.builder
    outer.loc = op.loc

    def reshaped(v: Value, to: Sequence[int]) -> Value:
        return outer.append(reshape, [v], {"shape": tuple(to)})[0]

    # The blocks: the body up to the reductions.
    first = Builder(body.name)
    new = {v: first.input(v.type.with_shape(blocks) if v.shape == shape else v.type, v.name) for v in body.inputs}
    for o in body.ops:
        if o.primitive.kind is Kind.REDUCTION:
            (new[o.result],) = first.append(o.primitive, [new[o.operands[0]]], {**o.attrs, "axes": (1,)}, o.loc)
        elif o.result not in after:
            attrs = {**o.attrs, "shape": blocks} if o.attrs.get("shape") == shape else o.attrs
            (new[o.result],) = first.append(o.primitive, [new[v] for v in o.operands], attrs, o.loc)
    early = [v for v in body.outputs if v.shape == shape]
    results = [new[o.result] for o in reductions] + [new[v] for v in early]
    operands = [reshaped(rewriter.map[v], blocks) if v.shape == shape else rewriter.map[v] for v in op.operands]
    made = outer.append(fusion, operands, {"body": first.finish(results)})
    given = dict(zip(early, made[len(reductions) :], strict=True))

    # The rest, on numbers: reductions of the partial results, and what depends on them.
    second = Builder(f"{body.name}.total")
    new = {o.result: second.input(p.type) for o, p in zip(reductions, made, strict=False)}
    reads = list(made[: len(reductions)])
    for o in reductions:
        (new[o.result],) = second.append(o.primitive, [new[o.result]], {**o.attrs, "axes": (0,)}, o.loc)
    for v, u in zip(body.inputs, op.operands, strict=True):
        if v.shape == ():
            new[v] = second.input(v.type, v.name)
            reads.append(rewriter.map[u])
    for o in body.ops:
        if o.primitive.kind is not Kind.REDUCTION and o.result.shape == ():
            (new[o.result],) = second.append(o.primitive, [new[v] for v in o.operands], o.attrs, o.loc)
    late = [v for v in body.outputs if v.shape != shape]
    totals = outer.append(fusion, reads, {"body": second.finish([new[v] for v in late])})
    given |= dict(zip(late, totals, strict=True))
    for inner, old in zip(body.outputs, op.results, strict=True):
        value = given[inner]
        rewriter.map[old] = reshaped(value, shape) if old.shape == shape else value
