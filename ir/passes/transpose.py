"""The transpose of a product is the product of the swapped transposes: (A B)^T = B^T A^T.

Gradients of weights that are used transposed are transposed products; with this rule the product computes them in the
required order. A 16-bit one is rounded before it is transposed.
"""

from __future__ import annotations

from ..graph import Graph, Op, Rewriter, Value
from ..ops import cast, matmul, permute
from ..primitive import Primitive


def _swaps_last(op: Op) -> bool:
    n = len(op.result.shape)
    return op.primitive is permute and n >= 2 and op.attrs["axes"] == (*range(n - 2), n - 1, n - 2)


def transpose_products(graph: Graph) -> Graph:
    users = graph.users()
    outputs = set(graph.outputs)

    def made_for(v: Value, primitives: tuple[Primitive, ...]) -> Op | None:
        """The operation that makes ``v``, if it is one of these and ``v`` has one reader."""
        return v.op if v.op is not None and v.op.primitive in primitives and len(users[v]) == 1 and v not in outputs else None

    rewriter = Rewriter(graph)
    for op in graph.ops:
        product = made_for(op.operands[0], (matmul, cast)) if _swaps_last(op) else None
        if product is not None and product.primitive is cast:
            product = made_for(product.operands[0], (matmul,))
        if product is None:
            rewriter.copy(op)
            continue
        a, b = (rewriter.map[v] for v in product.operands)
        attrs = {**product.attrs, "ta": not product.attrs["tb"], "tb": not product.attrs["ta"]}
        (result,) = rewriter.builder.append(matmul, (b, a), attrs, product.loc)
        if result.dtype is not op.result.dtype:
            (result,) = rewriter.builder.append(cast, [result], {"dtype": op.result.dtype.short}, op.loc)
        rewriter.map[op.result] = result
    return rewriter.finish()
