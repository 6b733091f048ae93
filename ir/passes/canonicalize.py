"""Algebraic simplification: one canonical form, and as few operations as possible.

A rule looks at an operation's operands in the new graph and returns a simpler value, or None. Rules may apply operations
themselves; those are simplified in turn. No rule changes a result, not even for NaN, infinities or -0.0, with one
exception: a sum over axes of one element keeps the sign of a zero that addition would lose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..interp import Build, using
from ..ops import broadcast, cast, full, matmul, mul, neg, permute, reshape, slice_, sqrt
from ..primitive import Kind, Primitive

Rule = Callable[..., "Value | None"]
_RULES: dict[str, list[Rule]] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def register(f: Rule) -> Rule:
        for name in names:
            _RULES.setdefault(name, []).append(f)
        return f

    return register


def _made_by(v: Value, primitive: Primitive) -> Op | None:
    return v.op if v.op is not None and v.op.primitive is primitive else None


def _is_number(v: Value, number: float) -> bool:
    op = _made_by(v, full)
    return op is not None and op.attrs["value"] == number


# x * 1, x / 1, x - 0, --x. (x + 0 is not x when x is -0.0, nor is x * 0 zero when x is NaN.)


@rule("mul")
def _mul_one(a: Value, b: Value) -> Value | None:
    return a if _is_number(b, 1) else b if _is_number(a, 1) else None


@rule("div")
def _div_one(a: Value, b: Value) -> Value | None:
    return a if _is_number(b, 1) else None


@rule("sub")
def _sub_zero(a: Value, b: Value) -> Value | None:
    op = _made_by(b, full)
    return a if op is not None and repr(op.attrs["value"]) in ("0", "0.0") else None


@rule("neg")
def _neg_neg(x: Value) -> Value | None:
    inner = _made_by(x, neg)
    return inner.operands[0] if inner else None


@rule("pow")
def _root(x: Value, exponent: Value) -> Value | None:
    op = _made_by(exponent, full)
    return sqrt(x) if op and op.attrs["value"] == 0.5 and x.dtype.is_floating_point else None


@rule("copy")
def _copy(x: Value) -> Value | None:
    return x


@rule("where")
def _where_same(condition: Value, x: Value, y: Value) -> Value | None:
    return x if x is y else None


@rule("cast")
def _cast_same(x: Value, dtype: str) -> Value | None:
    return x if x.type.dtype.short == dtype else None


@rule("check_index")
def _check_known(x: Value, extent: int, message: str) -> Value | None:
    op = _made_by(x, full)
    return x if op and 0 <= op.attrs["value"] < extent else None


# A movement of a constant is a constant; identity movements; movements of movements.


@rule("broadcast", "reshape", "permute", "slice")
def _move_constant(x: Value, **attrs: Any) -> Value | None:
    op = _made_by(x, full)
    if op is None:
        return None
    if "starts" in attrs:
        shape = slice_.infer(x.type, **attrs).shape
    elif "shape" in attrs:
        shape = attrs["shape"]
    elif attrs["axes"] and len(attrs["axes"]) == len(x.shape):
        shape = tuple(x.shape[a] for a in attrs["axes"])
    else:
        return None
    return full(value=op.attrs["value"], shape=tuple(shape), dtype=op.attrs["dtype"])


@rule("select")
def _select(x: Value, shape: tuple[int, ...], **region: Any) -> Value:
    return reshape(slice_(x, **region), shape=shape)


@rule("flip")
def _flip_constant(x: Value, axes: tuple[int, ...]) -> Value | None:
    return x if _made_by(x, full) else None


def _selects(op: Op) -> bool:
    """True if a reshape removes axes on which a slice has chosen one position: such a value is read from the array directly,
    among others of that shape.
    """
    x = op.operands[0]
    return _made_by(x, slice_) is not None and op.result.shape == tuple(n for n in x.shape if n != 1)


@rule("reshape")
def _reshape(x: Value, shape: tuple[int, ...]) -> Value | None:
    if x.shape == shape:
        return x
    inner = _made_by(x, reshape)
    return reshape(inner.operands[0], shape=shape) if inner else None


@rule("broadcast")
def _broadcast(x: Value, shape: tuple[int, ...], axes: tuple[int, ...]) -> Value | None:
    if x.shape == shape:
        return x
    inner = _made_by(x, broadcast)
    if inner:
        return broadcast(inner.operands[0], shape=shape, axes=tuple(axes[a] for a in inner.attrs["axes"]))
    return None


@rule("permute")
def _permute(x: Value, axes: tuple[int, ...]) -> Value | None:
    if axes == tuple(range(len(axes))):
        return x
    inner = _made_by(x, permute)
    if inner:
        return permute(inner.operands[0], axes=tuple(inner.attrs["axes"][a] for a in axes))
    moved = [x.shape[a] for a in axes]
    stays = [a for a in axes if x.shape[a] != 1]
    return reshape(x, shape=tuple(moved)) if stays == sorted(stays) else None


@rule("slice")
def _slice(x: Value, starts: tuple[Any, ...], stops: tuple[Any, ...], steps: tuple[Any, ...]) -> Value | None:
    whole = all(a == 0 and b == n and s == 1 for a, b, s, n in zip(starts, stops, steps, x.shape, strict=True))
    return x if whole else None


@rule("pad")
def _pad(x: Value, low: tuple[Any, ...], high: tuple[Any, ...], interior: tuple[Any, ...], value: Any) -> Value | None:
    nothing = not any((*low, *high)) and all(g == 0 or n <= 1 for g, n in zip(interior, x.shape, strict=True))
    return x if nothing else None


@rule("sum", "max", "min")
def _reduce_nothing(x: Value, axes: tuple[int, ...]) -> Value | None:
    if all(x.shape[a] == 1 for a in axes):
        return reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))
    return None


@rule("sum")
def _sum_of_constant(x: Value, axes: tuple[int, ...]) -> Value | None:
    op = _made_by(x, full)
    if op is None or x.type.dtype.kind != "f":
        return None
    count = 1
    for a in axes:
        count *= x.shape[a]
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    if count == 0:  # for any constant: the sum of no elements is 0
        return full(value=0, shape=shape, dtype=op.attrs["dtype"])
    if count > 2**24:  # for more, sequential addition would not give the product
        return None
    return mul(full(value=op.attrs["value"], shape=shape, dtype=op.attrs["dtype"]), float(count))


# A transposed operand of a product becomes a flag.


@rule("matmul")
def _matmul(a: Value, b: Value, ta: bool, tb: bool, wide: bool) -> Value | None:
    a2, b2 = _untransposed(a), _untransposed(b)
    if a2 is None and b2 is None:
        return None
    ta, tb = ta != (a2 is not None), tb != (b2 is not None)
    return matmul(a if a2 is None else a2, b if b2 is None else b2, ta=ta, tb=tb, wide=wide)


def _untransposed(v: Value) -> Value | None:
    op = _made_by(v, permute)
    if op is None:
        return None
    n = len(v.shape)
    return op.operands[0] if op.attrs["axes"] == (*range(n - 2), n - 1, n - 2) else None


def _reshapes_outward(primitive: Primitive, operands: Sequence[Value], attrs: Mapping[str, Any]) -> Value | None:
    """Moves reshapes from the operands of an elementwise operation to its result: reshapes move towards the graph's results,
    where they meet and cancel. Exception: readers convert 16-bit values, and a reshape of a stored value is free.
    """
    if primitive is cast and operands[0].dtype.is_half:
        return None
    reshaped = [op for v in operands if (op := _made_by(v, reshape))]
    if not reshaped or len(reshaped) + sum(_made_by(v, full) is not None for v in operands) < len(operands):
        return None
    shape = reshaped[0].operands[0].shape
    if any(op.operands[0].shape != shape for op in reshaped) or all(map(_selects, reshaped)):
        return None
    inner = [v.op.operands[0] if _made_by(v, reshape) and v.op else _with_shape(v, shape) for v in operands]
    return reshape(primitive(*inner, **attrs), shape=operands[0].shape)


def _with_shape(constant: Value, shape: tuple[int, ...]) -> Value:
    assert constant.op is not None
    return full(**{**constant.op.attrs, "shape": shape})


class _Simplify(Builder):
    """A builder that tries the rules on every appended operation."""

    def append(
        self, primitive: Primitive, operands: Sequence[Value], attrs: Mapping[str, Any], loc: str | None = None
    ) -> tuple[Value, ...]:
        simpler = _simpler(primitive, operands, attrs)
        return super().append(primitive, operands, attrs, loc) if simpler is None else (simpler,)


def _simpler(primitive: Primitive, operands: Sequence[Value], attrs: Mapping[str, Any]) -> Value | None:
    """The replacement by the first rule that applies."""
    if primitive.kind is not Kind.FUSION:
        for r in _RULES.get(primitive.name, ()):
            simpler = r(*operands, **attrs)
            if simpler is not None:
                return simpler
    return _reshapes_outward(primitive, operands, attrs) if primitive.kind is Kind.ELEMENTWISE else None


def canonicalize(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    simplify = _Simplify(graph.name)
    simplify.inputs = rewriter.builder.inputs
    rewriter.builder = simplify
    with using(Build(simplify)):
        for op in graph.ops:
            simplify.loc = op.loc
            simpler = _simpler(op.primitive, [rewriter.map[v] for v in op.operands], op.attrs)
            if simpler is None:
                rewriter.copy(op)
                continue
            if simpler.op is not None and not simpler.name:
                simpler.name = op.result.name
            rewriter.map[op.result] = simpler
    return rewriter.finish()
