"""Removes ``detach``, ``underived``, ``unread`` and ``substitute``. They matter only for differentiation, and hide equal
values from all other passes.
"""

from __future__ import annotations

from ..graph import Graph, Rewriter
from ..ops import detach, substitute, underived, unread


def undetach(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.primitive in (detach, underived, unread):
            rewriter.map[op.result] = rewriter.map[op.operands[0]]
        elif op.primitive is substitute:
            rewriter.map[op.result] = rewriter.map[op.operands[1]]
        else:
            rewriter.copy(op)
    return rewriter.finish()
