"""Computes the operands of a ``concatenate`` in place, directly in the result's memory, to avoid a copy.

The axis must be the first, and the operands large or many. A concatenation of many values along another axis is done in parts,
because a kernel has a bounded number of operands.
"""

from __future__ import annotations

import math

from ..graph import Graph, Op, Rewriter, Value
from ..ops import adjoin, concatenate, reshape

_LARGE = 1 << 20  # bytes: a smaller value may be read through a kernel's branches
_MOST = 16  # operands that one kernel concatenates
_PART = 1 << 10  # bytes: of many operands, a larger one gets a separate step


def adjoin_parts(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.primitive is concatenate and op.result.type.dtype.is_native:
            rewriter.map[op.result] = _concatenated(op, rewriter)
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _concatenated(op: Op, rewriter: Rewriter) -> Value:
    """A concatenation: unchanged, by parts, or with operands written directly into the result (``adjoin``)."""
    builder, axis, shape = rewriter.builder, op.attrs["axis"], op.result.shape
    builder.loc = op.loc
    above = math.prod(shape[:axis]) == 1
    large = all(v.op is not None and v.type.nbytes >= _LARGE for v in op.operands)
    many = len(op.operands) > _MOST
    if not op.result.type.numel or (not many and not (above and large)):
        return rewriter.copy(op)[0]

    def joined(values: list[Value]) -> Value:
        return builder.append(concatenate, values, {"axis": axis})[0] if len(values) > 1 else values[0]

    def reshaped(v: Value, to: tuple[int, ...]) -> Value:
        return v if v.shape == to else builder.append(reshape, [v], {"shape": to})[0]

    parts = [rewriter.map[v] for v in op.operands if v.shape[axis]]
    if not above or any(v.type.nbytes < _PART for v in parts):
        while len(parts) > _MOST:
            parts = [joined(parts[i : i + _MOST]) for i in range(0, len(parts), _MOST)]
            if above:
                break
    if not above:
        return joined(parts)
    (made,) = builder.append(adjoin, [reshaped(v, v.shape[axis:]) for v in parts], {})
    return reshaped(made, shape)
