"""Long float32 column sums with error compensation.

A kernel that sums columns traverses the rows and adds each to a row of sums in memory, term by term. The error of such a
sum grows with the number of terms. So the kernel also keeps the rounding error of the last addition, which the next one takes
along, and a small kernel adds it at the end.
"""

from __future__ import annotations

import math

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import add, fusion, isnan, sum_, sum_lost, where
from ..types import float32

_FEW = 128  # rows: fewer are summed in their own format
_COLUMNS = 8  # fewer are rows to a kernel


def exact_columns(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        long = _long_columns(op.attrs["body"]) if op.primitive is fusion else []
        if long:
            _compensate(rewriter, op, long)
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _long_columns(body: Graph) -> list[Op]:
    """The sums of many rows, if all are results that the body does not read again."""
    users = body.users()
    found = []
    for op in body.ops:
        if op.primitive is not sum_ or op.result.type.dtype is not float32:
            continue
        shape, axes = op.operands[0].shape, op.attrs["axes"]
        if shape and len(shape) - 1 not in axes and math.prod(shape[a] for a in axes) > _FEW and shape[-1] >= _COLUMNS:
            if users.get(op.result):
                return []
            found.append(op)
    return found


def _compensate(rewriter: Rewriter, op: Op, long: list[Op]) -> None:
    body, outer = op.attrs["body"], rewriter.builder
    outer.loc = op.loc
    inner = Builder(body.name)
    new: dict[Value, Value] = {v: inner.input(v.type, v.name) for v in body.inputs}
    lost: list[Value] = []
    for o in body.ops:
        operands = [new[v] for v in o.operands]
        (new[o.result],) = inner.append(o.primitive, operands, o.attrs, o.loc)
        if o in long:
            lost += inner.append(sum_lost, operands, o.attrs, o.loc)
    results = inner.finish([*(new[v] for v in body.outputs), *lost])
    made = outer.append(fusion, [rewriter.map[v] for v in op.operands], {"body": results})
    rewriter.map.update(zip(op.results, made, strict=False))
    given = dict(zip(body.outputs, op.results, strict=True))
    for o, error in zip(long, made[len(op.results) :], strict=True):
        value = given[o.result]
        rewriter.map[value] = _total(outer, rewriter.map[value], error, body.name)


def _total(outer: Builder, value: Value, error: Value, name: str) -> Value:
    """The sum plus its error; the error of an infinite sum is NaN."""
    body = Builder(f"{name}.total")
    x, y = body.input(value.type), body.input(error.type)
    (unknown,) = body.append(isnan, [y], {})
    (total,) = body.append(add, [x, y], {})
    (result,) = body.append(where, [unknown, x, total], {})
    return outer.append(fusion, [value, error], {"body": body.finish([result])})[0]
