"""Expands composed operations: attention by parts."""

from __future__ import annotations

from typing import Any

from ..graph import Graph, Op, Rewriter
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

    def replace(op: Op) -> Any:
        if op.primitive not in composite:
            return None
        attrs = {"what": "y", **op.attrs}
        return composed(operands=[rewriter.map[v] for v in op.operands], constant=lambda x: x, **attrs)

    with using(Build(rewriter.builder)):
        return rewriter.replaced(replace)
