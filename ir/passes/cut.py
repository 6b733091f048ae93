"""Splits kernels of few long rows at their reductions, for devices with more threads than a row's block has.

A kernel that divides a million elements by their sum has one row. On a GPU that is one block, while all others are idle.
Split at its reductions it is a kernel for the sum, which other passes parallelise, and an elementwise one. Values that both
need are computed or read twice, which costs less than the idle blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import fusion
from ..ops.reduce import kept_axes
from ..primitive import Kind

_ROWS, _LONG = 128, 1 << 15  # rows that fill a device; elements of a row worth splitting


def cut_long_rows(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.primitive is fusion and _is_long(op.attrs["body"]):
            _cut(rewriter, op, op.attrs["body"])
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _is_long(body: Graph) -> bool:
    """True if a body has few long rows, and elements that depend on a reduction of their row."""
    reductions = [op for op in body.ops if op.primitive.kind is Kind.REDUCTION]
    shapes = {op.operands[0].shape for op in reductions}
    if len(shapes) != 1 or len({op.attrs["axes"] for op in reductions}) != 1:
        return False
    (shape,) = shapes
    rows = math.prod(shape[a] for a in kept_axes(len(shape), reductions[0].attrs["axes"]))
    if not 0 < rows < _ROWS or math.prod(shape) // rows < _LONG:
        return False
    level = _levels(body)
    return any(level[op.result] and op.result.shape == shape for op in body.ops)


def _levels(body: Graph) -> dict[Value, int]:
    """The number of successive reductions that each value depends on."""
    level: dict[Value, int] = dict.fromkeys(body.inputs, 0)
    for op in body.ops:
        found = max((level[v] for v in op.operands), default=0) + (op.primitive.kind is Kind.REDUCTION)
        level.update(dict.fromkeys(op.results, found))
    return level


def _cut(rewriter: Rewriter, op: Op, body: Graph) -> None:
    """Appends a fusion for the reductions of each level, and one for the results."""
    outer, level = rewriter.builder, _levels(body)
    outer.loc = op.loc
    known = {x: rewriter.map[v] for x, v in zip(body.inputs, op.operands, strict=True)}
    reductions = [o.result for o in body.ops if o.primitive.kind is Kind.REDUCTION]
    stages: list[list[Value]] = [[v for v in reductions if level[v] == d] for d in range(1, max(level.values()) + 1)]
    for k, wanted in enumerate([*stages, list(dict.fromkeys(body.outputs))]):
        left = [v for v in wanted if v not in known]
        if left:
            inner, reads = _part(body, left, known, f"{body.name}.{k}")
            made = outer.append(fusion, [known[x] for x in reads], {"body": inner})
            known.update(zip(left, made, strict=True))
    for old, inner_value in zip(op.results, body.outputs, strict=True):
        rewriter.map[old] = known[inner_value]


def _part(body: Graph, wanted: Sequence[Value], known: dict[Value, Value], name: str) -> tuple[Graph, list[Value]]:
    """The part of a body that computes ``wanted`` from known values, and which of these it reads."""
    needed, work = set[Op](), list(wanted)
    read: set[Value] = set()
    while work:
        v = work.pop()
        if v in known:
            read.add(v)
        elif v.op is not None and v.op not in needed:
            needed.add(v.op)
            work += v.op.operands
    reads = [v for v in known if v in read]
    builder = Builder(name)
    new = {v: builder.input(v.type, v.name) for v in reads}
    for o in body.ops:
        if o in needed:
            new.update(zip(o.results, builder.append(o.primitive, [new[v] for v in o.operands], o.attrs, o.loc), strict=True))
    return builder.finish([new[v] for v in wanted]), reads
