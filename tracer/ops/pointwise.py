"""Elementwise functions. Operands broadcast and are promoted as in PyTorch; numbers take the tensor's dtype."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, overload

from ..core.fused import fused
from ..core.layout import require_format
from ..core.tensor import Tensor
from ..core.warning import warn
from ..ir import ops as P
from ..ir.primitive import Primitive
from ..ir.types import bool_, int64
from .common import (
    Operand,
    as_floating,
    element,
    in_format,
    match,
    operand,
    require_real,
    result_dtype,
    to_dtype,
    typed,
    walked_again,
)
from .inquiry import filling
from .opmath import opmath

__all__ = [
    "abs",
    "acos",
    "add",
    "asin",
    "atan",
    "atan2",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "ceil",
    "clamp",
    "clone",
    "cos",
    "cosh",
    "div",
    "eq",
    "erf",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "ge",
    "gt",
    "isnan",
    "le",
    "log",
    "log1p",
    "logical_not",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "ne",
    "neg",
    "pow",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "sub",
    "tan",
    "tanh",
    "true_divide",
    "where",
]


def _unary(primitive: Primitive, name: str, what: str, floating: bool = True) -> Any:
    if floating:

        def f(input: Tensor) -> Tensor:
            return primitive(as_floating(input))
    else:

        def f(input: Tensor) -> Tensor:
            return primitive(input)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{what}, elementwise." + (" Integers become the default dtype." if floating else "")
    return f


def _binary(primitive: Primitive, name: str, what: str, floating: bool = False) -> Any:
    def f(input: Any, other: Any) -> Tensor:
        a, b = match(input, other, floating=floating)
        return primitive(a, b)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{what}, elementwise."
    return f


def _comparison(primitive: Primitive, name: str, what: str) -> Any:
    ordered = name not in ("eq", "ne")

    def f(input: Any, other: Any) -> Tensor:
        a, b = match(input, other)
        if ordered:
            for x in (a, b):
                if isinstance(x, Tensor) and x._data.dtype.kind == "c":
                    raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{x.dtype.ctype}'")
        return primitive(*_in_one_format(a, b))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{what}, elementwise."
    return f


def _in_one_format(a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands; a number beside a tensor of 16 bits is rounded to its format first."""
    if isinstance(a, Tensor) and a._data.itemsize == 2:
        return a, in_format(b, a)
    return (in_format(a, b), b) if isinstance(b, Tensor) and b._data.itemsize == 2 else (a, b)


def _numeric(primitive: Primitive, name: str, what: str) -> Any:
    def f(input: Any, other: Any) -> Tensor:
        return primitive(*_in_one_format(*_not_bools(name, input, other)))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{what}, elementwise. Raises NotImplementedError for bools."
    return f


def _not_bools(name: str, input: Any, other: Any) -> Sequence[Any]:
    a, b = match(input, other)
    if (a if isinstance(a, Tensor) else b)._data.dtype.kind == "b":
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for 'Bool'")
    return a, b


def _bitwise(primitive: Primitive, name: str, what: str) -> Any:
    def f(input: Any, other: Any) -> Tensor:
        dtype = result_dtype(operand(input), operand(other))
        if dtype.is_floating_point:
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{dtype.ctype}'")
        a, b = match(input, other)
        return primitive(a, b)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{what}, elementwise. Raises NotImplementedError for floating operands."
    return f


exp = _unary(P.exp, "exp", "e to the power of the input")
expm1 = _unary(P.expm1, "expm1", "exp(x) - 1, exact near zero")
log = _unary(P.log, "log", "The natural logarithm")
log1p = _unary(P.log1p, "log1p", "log(1 + x), exact near zero")
sqrt = _unary(P.sqrt, "sqrt", "The square root")
rsqrt = _unary(P.rsqrt, "rsqrt", "The reciprocal of the square root")
sin = _unary(P.sin, "sin", "The sine")
cos = _unary(P.cos, "cos", "The cosine")
tan = _unary(P.tan, "tan", "The tangent")
asin = _unary(P.asin, "asin", "The inverse sine")
acos = _unary(P.acos, "acos", "The inverse cosine")
atan = _unary(P.atan, "atan", "The inverse tangent")
sinh = _unary(P.sinh, "sinh", "The hyperbolic sine")
cosh = _unary(P.cosh, "cosh", "The hyperbolic cosine")
tanh = _unary(P.tanh, "tanh", "The hyperbolic tangent")
sigmoid = _unary(P.sigmoid, "sigmoid", "1 / (1 + exp(-x))")
erf = _unary(P.erf, "erf", "The error function")
reciprocal = _unary(P.reciprocal, "reciprocal", "1 / x")
abs = _unary(P.abs_, "abs", "The absolute value", floating=False)

mul = _binary(P.mul, "mul", "input * other")
maximum = _binary(P.maximum, "maximum", "The larger; NaN wins")
minimum = _binary(P.minimum, "minimum", "The smaller; NaN wins")
remainder = _numeric(P.remainder, "remainder", "input modulo other, with the sign of other")
atan2 = _binary(P.atan2, "atan2", "The angle of the point (other, input)", floating=True)
eq = _comparison(P.eq, "eq", "input == other")
ne = _comparison(P.ne, "ne", "input != other")
lt = _comparison(P.lt, "lt", "input < other")
le = _comparison(P.le, "le", "input <= other")
gt = _comparison(P.gt, "gt", "input > other")
ge = _comparison(P.ge, "ge", "input >= other")
bitwise_and = _bitwise(P.and_, "bitwise_and", "input & other")
bitwise_or = _bitwise(P.or_, "bitwise_or", "input | other")
bitwise_xor = _bitwise(P.xor, "bitwise_xor", "input ^ other")
multiply = mul


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, elementwise; integers become the default dtype, unless the quotient is rounded (floor or trunc)."""
    if rounding_mode is None:
        a, b = match(input, other, floating=True)
        return P.div(a, b)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")
    a, b = _not_bools("div_trunc", input, other)
    like = a if isinstance(a, Tensor) else b
    if like.is_floating_point():
        return P.trunc_divide(a, b)
    down = P.floor_divide(a, b)
    short = P.ne(P.mul(down, b), a)
    negative = P.lt(down, 0)
    return P.add(down, P.cast(P.and_(short, negative), dtype=down.dtype.short))


true_divide = div


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other, elementwise."""
    if not _is_one(alpha):
        return _scaled_sum(input, other, alpha)
    a, b = match(input, other)
    return P.add(a, b)


def _scaled(b: Any, alpha: Any, a: Any) -> Any:
    """alpha * b, in the dtype of both operands."""
    dtype = (b if isinstance(b, Tensor) else a).dtype
    if isinstance(alpha, bool) and dtype.name != "bool":
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, (float, complex)) and not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    alpha = to_dtype(alpha, dtype) if isinstance(alpha, Tensor) else element(alpha, dtype)
    if isinstance(b, Tensor):
        return P.mul(b, alpha)
    return P.mul(alpha, b) if isinstance(alpha, Tensor) else element(b * alpha, dtype)


@opmath
def _scaled_sum(input: Any, other: Any, alpha: Any) -> Tensor:
    a, b = match(input, other)
    return P.add(a, _scaled(b, alpha, a))


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other, elementwise. Raises RuntimeError for bools."""
    bools = [isinstance(x, bool) or (isinstance(x, Tensor) and x._data.dtype.kind == "b") for x in (input, other)]
    if True in bools:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. "
            "Use the `^` or `logical_xor()` operator instead."
            if all(bools)
            else "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead."
        )
    if not _is_one(alpha):
        return _scaled_difference(input, other, alpha)
    a, b = match(input, other)
    return P.sub(a, b)


@opmath
def _scaled_difference(input: Any, other: Any, alpha: Any) -> Tensor:
    a, b = match(input, other)
    return P.sub(a, _scaled(b, alpha, a))


def _is_one(alpha: Any) -> bool:
    return isinstance(alpha, (int, float)) and alpha == 1 and alpha is not True


def times(x: Tensor, factor: Any) -> Tensor:
    """x * factor in the dtype of x: for integers the factor is truncated."""
    if isinstance(factor, (int, float)) and factor == 1:
        return x
    return mul(x, factor if x.is_floating_point() or x.is_complex() else typed(factor, x.dtype))


def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power of exponent, elementwise."""
    if isinstance(exponent, (int, float)) and not isinstance(exponent, bool) and isinstance(input, Tensor):
        if input.is_floating_point() and exponent in (2, 0.5, -0.5):
            return {2: P.square, 0.5: P.sqrt, -0.5: P.rsqrt}[exponent](input)
        if input.is_complex() and exponent in (-1, 1, 2, 3):  # PyTorch's products
            return _whole_power(input, int(exponent))
        if isinstance(exponent, int) and input.dtype.kind in "ui" and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    a, b = match(input, exponent)
    if (a if isinstance(a, Tensor) else b)._data.dtype.kind == "b":
        return P.or_(typed(a, bool_), P.not_(typed(b, bool_)))
    return P.pow_(a, b)


def _whole_power(x: Tensor, n: int) -> Tensor:
    return {-1: reciprocal, 1: clone, 2: P.square, 3: lambda x: P.mul(P.square(x), x)}[n](x)


def square(input: Tensor) -> Tensor:
    """x * x, elementwise; bools become int64."""
    return P.square(to_dtype(input, int64) if input.dtype.name == "bool" else input)


def relu(input: Tensor) -> Tensor:
    """max(x, 0), elementwise; NaN stays. Raises RuntimeError for bools."""
    if input.dtype.name == "bool":
        raise RuntimeError("Boolean inputs not supported for relu")
    return P.relu(input)


def neg(input: Tensor) -> Tensor:
    """-x, elementwise. Raises RuntimeError for bools."""
    if input.dtype.name == "bool":
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead."
        )
    return P.neg(input)


def floor_divide(input: Any, other: Any) -> Tensor:
    """The floor of input / other, elementwise; the derivative is 0. Raises NotImplementedError for bools."""
    a, b = _not_bools("div_floor", input, other)
    return P.floor_divide(a, b)


def to_whole(primitive: Primitive, input: Tensor) -> Tensor:
    """The elements rounded by a primitive; integers are copied. Raises NotImplementedError for bools and complex numbers."""
    kind = input._data.dtype.kind
    if kind == "b":
        raise NotImplementedError(f"\"{primitive.name}_cpu\" not implemented for 'Bool'")
    return P.copy(input) if kind in "iu" else primitive(input)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1, elementwise; 0 at NaN. Raises NotImplementedError for complex numbers: use ``sgn``."""
    require_real("sign", input)
    return walked_again(P.sign(input))


def floor(input: Tensor) -> Tensor:
    """The largest integer not above, elementwise, in the input's dtype."""
    return to_whole(P.floor, input)


def ceil(input: Tensor) -> Tensor:
    """The smallest integer not below, elementwise, in the input's dtype."""
    return to_whole(P.ceil, input)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, half to even, elementwise, in the input's dtype; or rounded to ``decimals``."""
    if decimals == 0 or not input.is_floating_point():
        return to_whole(P.round_, input)
    return _rounded(input, decimals)


@opmath
def _rounded(input: Tensor, decimals: int) -> Tensor:
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return P.div(P.round_(P.mul(input, scale)), scale)
    return P.mul(P.round_(P.div(input, scale)), scale)


def isnan(input: Tensor) -> Tensor:
    """For each element: True if it is NaN."""
    return P.isnan(input) if input.is_floating_point() else P.ne(input, input)


def logical_not(input: Tensor) -> Tensor:
    """For each element: True if it is zero."""
    return P.eq(input, 0)


def bitwise_not(input: Tensor) -> Tensor:
    """~x, elementwise. Raises TypeError for floating tensors."""
    if input.is_floating_point():
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return P.not_(input)


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Operand, other: Operand) -> Tensor: ...
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where the condition is true, ``other`` elsewhere; all three broadcast. With only a condition, its non-zero
    positions, as ``nonzero(as_tuple=True)``.
    """
    if input is None and other is None:
        from .order import nonzero

        return nonzero(condition, as_tuple=True)
    if condition.dtype.name == "uint8":
        warn("where received a uint8 condition tensor, which is deprecated: use a dtype bool.")
        condition = P.ne(condition, 0)
    if condition.dtype.name != "bool":
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.dtype.ctype}"
        )
    a, b = operand(input), operand(other)
    dtype = result_dtype(a, b)
    if isinstance(a, Tensor) and a._data.dtype == dtype.numpy:
        return P.where(condition, a, typed(b, dtype) if isinstance(b, Tensor) else element(b, dtype))
    return P.where(condition, typed(a, dtype), typed(b, dtype))


def unread(input: Tensor, value: Tensor) -> Tensor:
    """``value`` broadcast to the shape of ``input``, as a function of it with derivative 0."""
    return P.unread(value, input)


@fused
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Clamped to [min, max]; the gradient is 1 inside and on the limits, as in PyTorch."""
    if min is None and max is None:
        raise RuntimeError("tracer.clamp: At least one of 'min' or 'max' must not be None")
    if isinstance(min, Tensor) and isinstance(max, Tensor):
        # Where the limits meet or cross, the lower one has no gradient.
        min = where(ge(min, max), min.detach(), min)
    out = input
    if input._data.dtype.kind in "bui":
        dtype = result_dtype(*(x for x in (input, min, max) if x is not None))
        if dtype.category < 2:
            min, max = (x if x is None else filling(x, dtype) for x in (min, max))
    if min is not None:
        out = where(_passed(lt(out, min), min), _known(min), out)
    if max is not None:
        out = where(_passed(gt(out, max), max), _known(max), out)
    # NaN is kept, without a derivative.
    return where(ne(input, input), input.detach(), out) if out._requires_grad and input.is_floating_point() else out


def _known(limit: Any) -> Any:
    """A limit without a derivative at NaN."""
    return where(ne(limit, limit), limit.detach(), limit) if isinstance(limit, Tensor) and limit._requires_grad else limit


def _passed(beyond: Tensor, limit: Any) -> Tensor:
    """The mask where a limit applies: where an element is beyond it, or it is NaN."""
    if isinstance(limit, Tensor):
        return P.or_(beyond, ne(limit, limit)) if limit.is_floating_point() else beyond
    return P.or_(beyond, P.eq(beyond, beyond)) if limit != limit else beyond


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A differentiable copy. Memory formats are accepted and ignored."""
    require_format("clone", memory_format, input._data.ndim)
    return P.copy(input)
