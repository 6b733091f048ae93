"""Chooses the updates of slices that write into the memory of their array: ``write_slice`` touches only the slice.

Such an update is a separate step, or the end of the kernel that computes the slice; the array must be in memory. The other
updates stay in the kernel that computes or reads the array, where they are a branch: arrays that are only read element by
element, so that no memory is needed for them.
"""

from __future__ import annotations

from ..graph import Graph, Op, Rewriter, Value
from ..ops import reshape, set_at, slice_update, write_slice
from ..ops.movement import is_unit_reshape
from ..primitive import Kind


def choose_writes(graph: Graph) -> Graph:
    if not any(op.primitive is slice_update for op in graph.ops):
        return graph
    users, outputs = graph.users(), set(graph.outputs)
    rewriter = Rewriter(graph)
    for op in graph.ops:
        readers = users.get(op.result, [])
        if op.primitive is slice_update and _is_written(rewriter.map[op.operands[0]], op.result, readers, outputs):
            x, v = (rewriter.map[v] for v in op.operands)
            while v.op is not None and v.op.primitive is reshape and is_unit_reshape(v.op.operands[0].shape, v.shape):
                (v,) = v.op.operands  # the shape in which it is computed
            (result,) = rewriter.builder.add(write_slice, [x, v], op.attrs, [op.result.type], op.loc)
            result.name = op.result.name
            rewriter.map[op.result] = result
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _is_written(x: Value, y: Value, readers: list[Op], outputs: set[Value]) -> bool:
    if not y.type.numel or not x.dtype.is_native:
        return False
    if x.op is not None and x.op.primitive in (write_slice, set_at):
        return True
    return y in outputs or not all(_reads_elements(op, y) for op in readers)


def _reads_elements(op: Op, y: Value) -> bool:
    """True if an operation reads ``y`` at the element that it computes, or that it writes into another array."""
    if op.primitive is slice_update:
        return op.operands[0] is not y
    return op.primitive.kind in (Kind.ELEMENTWISE, Kind.REDUCTION)
