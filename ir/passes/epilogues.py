"""Joins products with what the library of a GPU does while it stores the result: adding a bias, and rounding to 16 bits.

    add(matmul(a, b), broadcast(bias))                          becomes  addmm(a, b, bias)
    matmul(a, b, wide=True)                                     becomes  cast(matmul(a, b), "f32")

The product must have no other reader than the sum. A separate pass over the result would cost about as much as a small
product, and a 16-bit result needs half the traffic. A product with a bias is rounded once; eager mode rounds ``x @ w + b``
twice, and ``linear`` once.
"""

from __future__ import annotations

from ..graph import Graph, Op, Rewriter, Value
from ..ops import add, addmm, broadcast, cast, matmul, reshape
from ..types import DType
from .dce import dce


def join_epilogues(graph: Graph) -> Graph:
    users, outputs = graph.users(), set(graph.outputs)

    def reader_of(v: Value) -> Op | None:
        """The only operation that reads a value."""
        return users[v][0] if len(users.get(v, ())) == 1 and v not in outputs else None

    joined: dict[Op, tuple[Op, Value | None]] = {}  # the last operation, and the product and its bias
    for op in graph.ops:
        if op.primitive is matmul and op.operands[0].dtype.is_floating_point:
            v = op.result
            reader = reader_of(v)
            if reader is not None and reader.primitive is reshape and reader.result.shape[-1:] == v.shape[-1:]:  # of the rows
                v = reader.result
                reader = reader_of(v)
            bias = _bias(reader, v, op.operands[0].dtype) if reader is not None else None
            if bias is not None and reader is not None:
                joined[reader] = op, bias
            elif op.attrs["wide"]:
                joined[op] = op, None
    if not joined:
        return graph
    rewriter = Rewriter(graph)
    narrow: dict[Value, Value] = {}  # float32 values, rounded
    for op in graph.ops:
        if op.primitive is cast and op.operands[0] in narrow and narrow[op.operands[0]].dtype is op.result.dtype:
            rewriter.map[op.result] = narrow[op.operands[0]]
        elif op in joined:
            result = _join(rewriter, *joined[op], op.loc)
            if result.shape != op.result.shape:
                (result,) = rewriter.builder.append(reshape, [result], {"shape": op.result.shape}, op.loc)
            if result.dtype is not op.result.dtype:
                narrow[op.result] = result
                (result,) = rewriter.builder.append(cast, [result], {"dtype": op.result.dtype.short}, op.loc)
            rewriter.map[op.result] = result
        else:
            rewriter.copy(op)
    return dce(rewriter.finish())


def _join(rewriter: Rewriter, product: Op, bias: Value | None, loc: str) -> Value:
    attrs = {"ta": product.attrs["ta"], "tb": product.attrs["tb"]}
    a, b = (rewriter.map[v] for v in product.operands)
    if bias is None:
        return rewriter.builder.append(matmul, [a, b], {**attrs, "wide": False}, loc)[0]
    return rewriter.builder.append(addmm, [a, b, rewriter.map[bias]], attrs, loc)[0]


def _bias(op: Op, v: Value, dtype: DType) -> Value | None:
    """The vector of this dtype of which ``op`` adds one element to each column of ``v``. Libraries add no float64 biases."""
    if op.primitive is not add or dtype.itemsize > 4:
        return None
    a, b = op.operands
    vector = b if a is v else a
    columns = False
    while vector.op is not None and vector.op.primitive in (cast, broadcast):
        if vector.op.primitive is broadcast:
            if columns or vector.op.operands[0].shape != v.shape[-1:] or vector.op.attrs["axes"] != (len(v.shape) - 1,):
                return None
            columns = True
        elif vector.dtype is dtype:  # a cast of the program
            break
        vector = vector.op.operands[0]
    return vector if columns and vector.dtype is dtype else None
