"""Operations that are composed of others, written out: attention by parts.

And values one above the other (``concatenate`` along the first axis) are computed where they shall be, if they are large: what
the parts give is not moved again.
"""

from __future__ import annotations

from ..graph import Graph, Rewriter
from ..interp import Build, using
from ..ops import adjoin, attention, attention_gradient, biased_attention, biased_attention_gradient, concatenate
from ..ops.attention import composed
from ..primitive import Primitive
from .cse import cse

_LARGE = 1 << 20  # bytes: a smaller value may as well be read through a kernel's branches


_RESULTS = (attention, biased_attention)
_GRADIENTS = (attention_gradient, biased_attention_gradient)


def expand(graph: Graph) -> Graph:
    """Gradients first: what they compute again they may share, but not with what the results are computed from."""
    for composite in (_GRADIENTS, _RESULTS):
        if any(op.primitive in composite for op in graph.ops):
            graph = _written_out(graph, composite)
            if composite is _GRADIENTS:
                graph = cse(graph)
    return _adjoined(graph)


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


def _adjoined(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        above = op.primitive is concatenate and op.attrs["axis"] == 0
        if above and all(v.op is not None and v.type.nbytes >= _LARGE for v in op.operands):
            (made,) = rewriter.builder.append(adjoin, [rewriter.map[v] for v in op.operands], {}, op.loc)
            rewriter.map[op.result] = made
        else:
            rewriter.copy(op)
    return rewriter.finish()
