"""Accurate forms for long float32 sums outside fusions, so that their error does not grow with the number of terms.

Indexed sums use float64 and are rounded once. The product of a vector with a matrix whose terms are in columns becomes a
sum of columns, which kernels compute accurately.
"""

from __future__ import annotations

import math
from typing import Any

from ..graph import Graph, Op, Rewriter, Value
from ..ops import broadcast, cast, index_add, matmul, mul, reshape, scatter_add, sum_
from ..types import float32

_FEW = 128  # terms that are added in their own format
_SPARSE = 4  # ratio of sums to terms: most sums have few terms, and memory traffic dominates
_MANY = 1 << 14  # terms of one sum that are too many even then
_DEEP = 2048  # terms of a product


def wide_sums(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if _is_long_scatter(op):
            (total,) = rewriter.builder.append(
                op.primitive, [rewriter.map[v] for v in op.operands], {**op.attrs, "wide": True}, op.loc
            )
            (rewriter.map[op.result],) = rewriter.builder.append(cast, [total], {"dtype": "f32"}, op.loc)
        elif _is_deep_sum_of_rows(op):
            rewriter.map[op.result] = _sum_of_rows(rewriter, op)
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _is_long_scatter(op: Op) -> bool:
    if op.primitive not in (index_add, scatter_add) or op.result.dtype is not float32:
        return False
    x, where = op.operands
    count = where.type.numel if op.primitive is index_add else where.shape[op.attrs["axis"]]
    return count > _FEW and (op.result.type.numel <= _SPARSE * x.type.numel or count > _MANY)


def _is_deep_sum_of_rows(op: Op) -> bool:
    """True if it is a vector times a long matrix, whose rows are scaled by one number each and added."""
    if op.primitive is not matmul or op.result.dtype is not float32 or op.result.type.device != "cpu":
        return False
    a, (m, n) = op.operands[0], op.result.shape[-2:]
    if math.prod(op.result.shape[:-2]) != 1 or 1 not in (m, n) or m == n or a.dtype is not float32:
        return False
    inner = a.shape[-2 if op.attrs["ta"] else -1]
    return inner > _DEEP and (op.attrs["ta"] if n == 1 else not op.attrs["tb"])


def _sum_of_rows(rewriter: Rewriter, op: Op) -> Value:
    a, b = (rewriter.map[v] for v in op.operands)
    matrix, vector = (a, b) if op.result.shape[-1] == 1 else (b, a)
    shape = matrix.shape[-2:]

    def append(primitive: Any, operands: list[Value], **attrs: Any) -> Value:
        (value,) = rewriter.builder.append(primitive, operands, attrs, op.loc)
        return value

    matrix = append(reshape, [matrix], shape=shape)
    factors = append(broadcast, [append(reshape, [vector], shape=shape[:1])], shape=shape, axes=(0,))
    return append(reshape, [append(sum_, [append(mul, [matrix, factors])], axes=(0,))], shape=op.result.shape)
