"""What a graph computes from the elements that a mask selects: the patterns that ``masks`` looks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..graph import Op, Value
from ..ops import (
    argsort,
    broadcast,
    check_index,
    concatenate,
    cumsum,
    flat_nonzero,
    flip,
    floor_divide,
    full,
    gather,
    index_add,
    index_select,
    lt,
    matmul,
    max_,
    pad,
    permute,
    remainder,
    reshape,
    scatter_add,
    slice_,
    sum_,
    where,
)
from ..primitive import Kind, Primitive
from ..types import bool_


@dataclass(frozen=True)
class Site:
    """A mask, whatever its shape, and how many elements it selects, of how many."""

    mask: Value
    count: int
    extent: int


def site_of(found: Op) -> Site | None:
    """The site of a ``flat_nonzero``."""
    mask = named(found.operands[0])
    fits = mask.dtype is bool_ and found.attrs["count"] > 0
    return Site(mask, found.attrs["count"], mask.type.numel) if fits else None


def named(v: Value) -> Value:
    """The value that reshapes give other shapes."""
    while v.op is not None and v.op.primitive is reshape:
        (v,) = v.op.operands
    return v


def positions(v: Value) -> Op | None:
    """The ``flat_nonzero`` of which ``v`` are the positions, perhaps after the checks that an index gets."""
    while v.op is not None and v.op.primitive is not flat_nonzero:
        o = v.op
        if o.primitive is where and is_negative(o.operands[0], o.operands[2]):
            v = o.operands[2]
        elif o.primitive in (reshape, check_index):
            (v,) = o.operands
        else:
            return None
    return v.op


def is_negative(condition: Value, x: Value) -> bool:
    """True if the condition is that ``x`` is less than 0."""
    o = condition.op
    return o is not None and o.primitive is lt and o.operands[0] is x and number(o.operands[1]) == 0


def number(v: Value) -> object:
    """The number that all elements have, if it is known."""
    return v.op.attrs["value"] if v.op is not None and v.op.primitive is full else None


def unclamped(v: Value, beyond: Primitive, bound: int) -> Value:
    """The value that has been clamped: ``where(beyond(x, bound), bound, x)`` is clamped."""
    o = v.op
    if o is None or o.primitive is not where or number(o.operands[1]) != bound:
        return v
    condition, _, x = o.operands
    c = condition.op
    clamps = c is not None and c.primitive is beyond and c.operands[0] is x and number(c.operands[1]) == bound
    return x if clamps else v


def condition_of(reader: Op, v: Value, axis: int) -> Value | None:
    """The condition, of the elements along an axis, under which an operation reads ``v``; None if it may always do so."""
    if reader.primitive is not where or reader.operands[1] is not v or v in (reader.operands[0], reader.operands[2]):
        return None
    condition = reader.operands[0]
    o = condition.op
    if o is not None and o.primitive is broadcast:
        if o.attrs["axes"] != (axis,):
            return None
        condition = o.operands[0]
    return condition if len(condition.shape) == 1 else None


def counts_along_a_vector(op: Op) -> bool:
    return op.primitive is cumsum and len(op.result.shape) == 1 and not op.attrs["reverse"]


def neutral(op: Op) -> object:
    """The number that does not change a reduction."""
    if op.primitive is sum_:
        return 0
    dtype = op.operands[0].dtype
    lowest = op.primitive is max_
    if dtype is bool_:
        return not lowest
    if dtype.is_floating_point:
        return -math.inf if lowest else math.inf
    info = np.iinfo(dtype.numpy)
    return int(info.min if lowest else info.max)


def is_elementwise(op: Op) -> bool:
    """True if an operation can also be computed for elements that nothing reads."""
    if op.primitive.kind is not Kind.ELEMENTWISE:
        return False
    return op.primitive.error is None or (op.primitive in (floor_divide, remainder) and number(op.operands[1]) not in (None, 0))


def is_by_rows(op: Op) -> bool:
    """True if an operation may compute each row of its result from a row of an operand."""
    return op.primitive.kind is Kind.REDUCTION or op.primitive in _BY_ROWS


ALONG_AN_AXIS = (argsort, concatenate, cumsum, gather, index_add, scatter_add)  # ``axis``, others are independent of it
_BY_ROWS = (*ALONG_AN_AXIS, broadcast, check_index, flip, index_select, matmul, pad, permute, reshape, slice_)


def terms(op: Op) -> tuple[int, int]:
    """The axes of the operands of a product along which terms are added."""
    a, b = (len(x.shape) for x in op.operands)
    return a - (2 if op.attrs["ta"] else 1), b - (1 if op.attrs["tb"] else 2)


def reshaped(op: Op, axis: int) -> int | None:
    """The axis of the operand of a reshape that is an axis of the result."""
    x, y = op.operands[0].shape, op.result.shape
    before = math.prod(y[:axis])
    return next((a for a, n in enumerate(x) if n == y[axis] and math.prod(x[:a]) == before), None)
