"""Constant folding: an elementwise operation on constants is a constant."""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Op, Rewriter
from ..interp import EVALUATE
from ..ops import full
from ..primitive import Kind


def _number(op: Op, rewriter: Rewriter) -> object | None:
    """The number that every element of the result equals, if all operands are constants."""
    values = [rewriter.map[v].op for v in op.operands]
    if op.primitive.kind is not Kind.ELEMENTWISE or not all(o is not None and o.primitive is full for o in values):
        return None
    arrays = [np.full((), o.attrs["value"], v.type.dtype.numpy) for o, v in zip(values, op.operands, strict=True) if o]
    return np.asarray(EVALUATE.bind(op.primitive, arrays, op.attrs)).item()


def fold(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        number = _number(op, rewriter) if len(op.results) == 1 else None
        if number is None:
            rewriter.copy(op)
            continue
        t = op.result.type
        rewriter.builder.loc = op.loc
        (v,) = rewriter.builder.append(full, (), {"value": number, "shape": t.shape, "dtype": t.dtype.short})
        rewriter.map[op.result] = v
    return rewriter.finish()
