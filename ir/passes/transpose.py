"""The transpose of a product is the product of the swapped transposes: (A B)^T = B^T A^T.

Gradients of weights that are used transposed are transposed products; with this rule the product computes them in the
required order.
"""

from __future__ import annotations

from ..graph import Graph, Op, Rewriter
from ..ops import matmul, permute


def _swaps_last(op: Op) -> bool:
    n = len(op.result.shape)
    return op.primitive is permute and n >= 2 and op.attrs["axes"] == (*range(n - 2), n - 1, n - 2)


def transpose_products(graph: Graph) -> Graph:
    users = graph.users()
    outputs = set(graph.outputs)
    rewriter = Rewriter(graph)
    for op in graph.ops:
        product = op.operands[0].op if _swaps_last(op) else None
        if product is None or product.primitive is not matmul or len(users[product.result]) > 1 or product.result in outputs:
            rewriter.copy(op)
            continue
        a, b = (rewriter.map[v] for v in product.operands)
        attrs = {**product.attrs, "ta": not product.attrs["tb"], "tb": not product.attrs["ta"]}
        (rewriter.map[op.result],) = rewriter.builder.append(matmul, (b, a), attrs, product.loc)
    return rewriter.finish()
