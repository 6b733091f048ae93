"""Common subexpressions: equal operations on equal operands are computed once."""

from __future__ import annotations

from ..graph import Graph, Rewriter, Value
from ..primitive import Kind


def cse(graph: Graph) -> Graph:
    seen: dict[tuple, tuple[Value, ...]] = {}
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.primitive.kind is Kind.FUSION:
            rewriter.copy(op)
            continue
        # repr distinguishes 1, 1.0 and True, and -0.0 from 0.0; equality does not.
        key = (op.primitive.name, *(id(rewriter.map[v]) for v in op.operands), repr(sorted(op.attrs.items())))
        known = seen.get(key)
        if known is None:
            seen[key] = rewriter.copy(op)
        else:
            rewriter.map.update(zip(op.results, known, strict=True))
    return rewriter.finish()
