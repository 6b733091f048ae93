"""Products of two vectors as sums of products, which are fused with what computes the vectors and with what reads the sum."""

from __future__ import annotations

from ..graph import Graph, Op, Rewriter, Value
from ..ops import broadcast, matmul, mul, reshape, sum_
from ..types import float32, float64


def sum_dots(graph: Graph) -> Graph:
    if not any(map(_is_dot, graph.ops)):
        return graph
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if _is_dot(op):
            rewriter.map[op.result] = _sum(rewriter, op)
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _is_dot(op: Op) -> bool:
    return op.primitive is matmul and op.result.shape[-2:] == (1, 1) and op.operands[0].dtype in (float32, float64)


def _sum(rewriter: Rewriter, op: Op) -> Value:
    lead = op.result.shape[:-2]
    vectors = [_vector(rewriter, rewriter.map[v], lead, op.loc) for v in op.operands]
    append = rewriter.builder.append
    (terms,) = append(mul, vectors, {}, op.loc)
    (total,) = append(sum_, [terms], {"axes": (len(lead),)}, op.loc)
    return append(reshape, [total], {"shape": op.result.shape}, op.loc)[0]


def _vector(rewriter: Rewriter, v: Value, lead: tuple[int, ...], loc: str) -> Value:
    """The elements of a matrix of one row or one column, or of a batch of them, for each product of a batch."""
    n = v.shape[-2] * v.shape[-1]
    (flat,) = rewriter.builder.append(reshape, [v], {"shape": (*v.shape[:-2], n)}, loc)
    if flat.shape == (*lead, n):
        return flat
    return rewriter.builder.append(broadcast, [flat], {"shape": (*lead, n), "axes": (len(lead),)}, loc)[0]
