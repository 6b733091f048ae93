"""Products with vectors as sums of products, which are fused with what is computed before and after them.

They are the products of two vectors, and those of a vector and a matrix that is computed element by element for this product
alone: it is not stored.
"""

from __future__ import annotations

from collections.abc import Container

from ..graph import Graph, Op, Rewriter, Value
from ..ops import broadcast, matmul, mul, reshape, sum_
from ..primitive import Kind
from ..types import float32, float64


def sum_dots(graph: Graph) -> Graph:
    if not any(op.primitive is matmul for op in graph.ops):
        return graph
    users, outputs = graph.users(), set(graph.outputs)
    alone = {v for v, readers in users.items() if len(readers) == 1 and v not in outputs}
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.primitive is matmul and _is_sum(op, alone):
            rewriter.map[op.result] = _sum(rewriter, op)
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _is_sum(op: Op, alone: Container[Value]) -> bool:
    a, b = op.operands
    if a.dtype not in (float32, float64):
        return False
    m, n = op.result.shape[-2:]
    if m == n == 1:
        return True
    if n == 1:
        return not op.attrs["ta"] and _is_computed(a, alone)
    return m == 1 and op.attrs["tb"] and _is_computed(b, alone)


def _is_computed(v: Value, alone: Container[Value]) -> bool:
    return v in alone and v.op is not None and v.op.primitive.kind is Kind.ELEMENTWISE


def _sum(rewriter: Rewriter, op: Op) -> Value:
    """The sum of products along the last axis."""
    *lead, m, n = op.result.shape
    a, b = op.operands
    k = a.shape[-2 if op.attrs["ta"] else -1]
    shape = (*lead, k) if m == n == 1 else (*lead, m if n == 1 else n, k)
    terms = [_terms(rewriter, rewriter.map[v], rows, shape, op.loc) for v, rows in ((a, m), (b, n))]
    append = rewriter.builder.append
    (product,) = append(mul, terms, {}, op.loc)
    (total,) = append(sum_, [product], {"axes": (len(shape) - 1,)}, op.loc)
    return append(reshape, [total], {"shape": op.result.shape}, op.loc)[0]


def _terms(rewriter: Rewriter, v: Value, rows: int, shape: tuple[int, ...], loc: str) -> Value:
    """The elements of a matrix, or of a vector for each row of the other matrix, for each product of a batch."""
    own = (*v.shape[:-2], *([rows] if rows != 1 else []), shape[-1])
    x = v if own == v.shape else rewriter.builder.append(reshape, [v], {"shape": own}, loc)[0]
    if own == shape:
        return x
    axes = (*range(len(own) - 1), len(shape) - 1) if len(own) > 1 else (len(shape) - 1,)
    return rewriter.builder.append(broadcast, [x], {"shape": shape, "axes": axes}, loc)[0]
