"""Removes ``detach``: it says something to differentiation only, and hides the same value from every other pass."""

from __future__ import annotations

from ..graph import Graph, Rewriter
from ..ops import detach


def undetach(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.primitive is detach:
            rewriter.map[op.result] = rewriter.map[op.operands[0]]
        else:
            rewriter.copy(op)
    return rewriter.finish()
