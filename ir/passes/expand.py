"""Expands composed operations: attention by parts."""

from __future__ import annotations

from ..graph import Graph, Rewriter
from ..interp import Build, using
from ..ops import attention, attention_gradient, biased_attention, biased_attention_gradient
from ..ops.attention import composed
from ..primitive import Primitive
from .cse import cse

_RESULTS = (attention, biased_attention)
_GRADIENTS = (attention_gradient, biased_attention_gradient)


def expand(graph: Graph) -> Graph:
    """Gradients first: their recomputations may be shared among them, but not with the forward results."""
    for composite in (_GRADIENTS, _RESULTS):
        if any(op.primitive in composite for op in graph.ops):
            graph = _written_out(graph, composite)
            if composite is _GRADIENTS:
                graph = cse(graph)
    return graph


def _written_out(graph: Graph, composite: tuple[Primitive, ...]) -> Graph:
    rewriter = Rewriter(graph)
    with using(Build(rewriter.builder)):
        for op in graph.ops:
            if op.primitive not in composite:
                rewriter.copy(op)
                continue
            rewriter.builder.loc = op.loc
            attrs = {"what": "y", **op.attrs}
            rewriter.map[op.result] = composed(operands=[rewriter.map[v] for v in op.operands], constant=lambda x: x, **attrs)
    return rewriter.finish()
