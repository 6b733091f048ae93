"""Dead code elimination: removes operations none of whose results reach an output."""

from __future__ import annotations

from ..graph import Graph, Rewriter
from ..ops import check_index


def dce(graph: Graph) -> Graph:
    live = set(graph.outputs)
    kept = []
    for op in reversed(graph.ops):
        # A check is kept for the error it raises.
        if op.primitive is check_index or any(v in live for v in op.results):
            live.update(op.operands)
            kept.append(op)
    rewriter = Rewriter(graph)
    for op in reversed(kept):
        rewriter.copy(op)
    return rewriter.finish()
