"""Elementwise operations: result[i] depends only on the operands' elements i."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import (
    Kind,
    elementwise,
    floating,
    inexact,
    numeric,
    predicate,
    primitive,
    same_shape,
    same_type,
    underivable,
)
from ..types import TensorType, bool_, dtype_named


def _where(*args: Any) -> Any:
    return where(*args)


# Arithmetic.

neg = elementwise("neg", np.negative, "-{x}", vjp=(lambda g: neg(g),))


def _abs(x: Any) -> Any:
    """NumPy's absolute value, with complex numbers accurate to the last digit in nearly all cases, so equal magnitudes are
    equal and share gradients.
    """
    x = np.asarray(x)
    if x.dtype.kind != "c":
        return np.abs(x)
    re, im = x.real.astype(np.float64), x.imag.astype(np.float64)
    with np.errstate(all="ignore"):
        size = np.asarray(np.sqrt(re * re + im * im))
        risky = ~((size > 1e-140) & (size < 1e140))  # squares overflow or lose digits; or NaN
        np.hypot(re, im, out=size, where=risky)
        return size.astype(x.real.dtype)


abs_ = elementwise(
    "abs",
    _abs,
    "abs_({x})",
    infer=lambda x: x.with_dtype(x.dtype.real),
    vjp=(lambda g, x, x_type: mul(_widened(g, x_type), sign(x)),),
    holomorphic=False,
)


def _widened(g: Any, type_: TensorType) -> Any:
    """A real cotangent, converted to complex if the operand is complex."""
    return cast(g, dtype=type_.dtype.short) if type_.dtype.is_complex else g


def _sign(x: Any) -> Any:
    if np.iscomplexobj(x):
        return np.sign(x)
    if np.result_type(x).kind == "b":
        return np.array(x)
    return np.subtract(np.greater(x, 0), np.less(x, 0), dtype=np.result_type(x))  # 0 at NaN, as in PyTorch


def _sign_vjp(g: Any, y: Any, x: Any, x_type: TensorType) -> Any:
    """For a complex number, the part of ``g`` perpendicular to its direction, divided by its magnitude."""
    if not x_type.dtype.is_complex:
        return mul(g, 0)
    from .complex import conj, real

    size = abs_(x)
    zero = eq(size, 0)
    across = sub(g, mul(y, _widened(real(mul(conj(y), g)), x_type)))
    return _where(zero, 0.0, div(across, _widened(_where(zero, 1.0, size), x_type)))


sign = elementwise(
    "sign",
    _sign,
    lambda types, attrs: "{x}" if types[0].dtype is bool_ else "{T}({x} > {T}(0)) - {T}({x} < {T}(0))",
    vjp=(_sign_vjp,),
    holomorphic=False,
)


def _of_numbers(arithmetic: str, logical: str) -> Any:
    """The scalar source of an operation that is a logical one on booleans."""
    return lambda types, attrs: logical if types[0].dtype is bool_ else arithmetic


add = elementwise("add", np.add, _of_numbers("{a} + {b}", "{a} | {b}"), "a b", vjp=(lambda g: g, lambda g: g))
sub = elementwise("sub", np.subtract, "{a} - {b}", "a b", vjp=(lambda g: g, lambda g: neg(g)))
mul = elementwise(
    "mul",
    np.multiply,
    _of_numbers("{a} * {b}", "{a} & {b}"),
    "a b",
    vjp=(lambda g, b: mul(g, b), lambda g, a: mul(g, a)),
)
div = elementwise(
    "div",
    np.divide,
    "{a} / {b}",
    "a b",
    infer=inexact,
    vjp=(lambda g, b: div(g, b), lambda g, a, b: neg(mul(g, div(div(a, b), b)))),
)
reciprocal = elementwise("reciprocal", np.reciprocal, "{T}(1) / {x}", infer=inexact, vjp=(lambda g, y: neg(mul(g, mul(y, y))),))
square = elementwise("square", np.square, "{x} * {x}", infer=numeric, torch_name="Pow", vjp=(lambda g, x: mul(mul(g, x), 2),))


def _remainder(types: list[TensorType], attrs: dict[Any, Any]) -> str:
    # Python's and PyTorch's sign: that of the divisor. `fmod` has the dividend's sign.
    if not types[0].dtype.is_floating_point:
        return "floor_mod({a}, check_divisor({b}, status, {site}))"
    r = "fmod({a}, {b})"
    return f"select(({r} != {{T}}(0)) & (({r} < {{T}}(0)) != ({{b}} < {{T}}(0))), {r} + {{b}}, {r})"


def nonzero_divisor(function: Any) -> Any:
    """Integer division and remainder: PyTorch raises where NumPy gives 0, unless there are no elements."""
    silent = function

    def impl(a: Any, b: Any) -> Any:
        result = silent(a, b)
        if result.size and result.dtype.kind in "ui" and not np.all(b):
            raise RuntimeError("ZeroDivisionError")
        return result

    return impl


def _floor_divide(types: list[TensorType], attrs: dict[Any, Any]) -> str:
    if not types[0].dtype.is_floating_point:
        return "floor_div({a}, check_divisor({b}, status, {site}))"
    # As in NumPy: the exact quotient of a - fmod(a, b), less 1 if fmod has the dividend's sign and not the divisor's.
    r = "fmod({a}, {b})"
    less = f"{{T}}(({r} != {{T}}(0)) & (({r} < {{T}}(0)) != ({{b}} < {{T}}(0))))"
    return f"select({{b}} == {{T}}(0), {{a}} / {{b}}, rint(({{a}} - {r}) / {{b}} - {less}))"


BY_ZERO = (RuntimeError, "ZeroDivisionError")
floor_divide = elementwise(
    "floor_divide",
    nonzero_divisor(np.floor_divide),
    _floor_divide,
    "a b",
    infer=numeric,
    error=BY_ZERO,
    vjp=(lambda g: mul(g, 0), lambda g: mul(g, 0)),
    real=True,
)
remainder = elementwise(
    "remainder",
    nonzero_divisor(np.remainder),
    _remainder,
    "a b",
    infer=numeric,
    error=BY_ZERO,
    vjp=(lambda g: g, lambda g, a, b: neg(mul(g, floor(div(detach(a), detach(b)))))),
    real=True,
)


def _real_part(x: Any, x_type: TensorType) -> Any:
    from .complex import real

    return real(x) if x_type.dtype.is_complex else x


# pow at a zero base: d/da is 0 where the exponent is 0, d/db is 0 where the exponent is not negative. Negative integer powers
# are truncated: 0 unless the base is 1 or -1.
def _power(a: Any, b: Any) -> Any:
    if isinstance(a, np.ndarray) and a.dtype.kind == "f" and np.ndim(b) == 0 and np.result_type(a, b) == a.dtype:
        if b == 2:
            return np.square(a)
        if b == 0.5:  # as in PyTorch, also of -0.0 and -inf, whose power would be 0.0 and inf
            return np.sqrt(a)
        if b == 3:  # PyTorch's products and quotients, a tenth of the time of the power
            return np.square(a) * a
        if b in (-1, -2):
            return np.reciprocal(a if b == -1 else np.square(a))
    if np.result_type(a, b).kind != "i" or not np.any(negative := np.less(b, 0)):
        return np.power(a, b)
    unit = np.equal(a, 1) | np.equal(a, -1)
    return np.where(negative & ~unit, 0, np.power(a, np.where(negative, np.bitwise_and(b, 1), b))).astype(np.result_type(a, b))


pow_ = elementwise(
    "pow",
    _power,
    lambda types, attrs: "pow_({a}, {b})" if types[0].dtype.kind == "f" else "int_pow({a}, {b})",
    "a b",
    infer=numeric,
    vjp=(
        lambda g, a, b: _where(eq(b, 0), 0.0, mul(g, mul(b, pow_(a, sub(b, 1))))),
        lambda g, y, a, b, b_type: _where(and_(eq(a, 0), ge(_real_part(b, b_type), 0)), 0.0, mul(g, mul(y, log(a)))),
    ),
)

# The truncated quotient, which has no derivative, not even where the divisor is 0.
trunc_divide = elementwise(
    "trunc_divide",
    lambda a, b: np.trunc(np.divide(a, b)),
    "trunc({a} / {b})",
    "a b",
    infer=inexact,
    vjp=(lambda g: mul(g, 0), lambda g: mul(g, 0)),
    torch_name="Div",
    real=True,
)

# Ties share the cotangent, as in PyTorch; NaN wins.
maximum = elementwise(
    "maximum",
    np.maximum,
    "maximum({a}, {b})",
    "a b",
    vjp=(
        lambda g, a, b, a_type: mul(g, _share(lt(a, b), eq(a, b), a_type)),
        lambda g, a, b, a_type: mul(g, _share(gt(a, b), eq(a, b), a_type)),
    ),
    real=True,
)
minimum = elementwise(
    "minimum",
    np.minimum,
    "minimum({a}, {b})",
    "a b",
    vjp=(
        lambda g, a, b, a_type: mul(g, _share(gt(a, b), eq(a, b), a_type)),
        lambda g, a, b, a_type: mul(g, _share(lt(a, b), eq(a, b), a_type)),
    ),
    real=True,
)


def _share(loses: Any, ties: Any, type: TensorType) -> Any:
    """1 for the selected operand, 1/2 for ties, 0 for the other; an operand compared with NaN gets 0."""
    short = type.dtype.short
    return sub(sub(1, cast(loses, dtype=short)), mul(cast(ties, dtype=short), 0.5))


# Exponentials, logarithms, roots.

exp = elementwise("exp", np.exp, "exp({x})", infer=inexact, vjp=(lambda g, y: mul(g, y),))
expm1 = elementwise("expm1", np.expm1, "expm1({x})", infer=inexact, vjp=(lambda g, y: mul(g, add(y, 1)),))
log = elementwise("log", np.log, "log({x})", infer=inexact, vjp=(lambda g, x: div(g, x),))
log1p = elementwise("log1p", np.log1p, "log1p({x})", infer=inexact, vjp=(lambda g, x: div(g, add(x, 1)),))
sqrt = elementwise("sqrt", np.sqrt, "sqrt({x})", infer=inexact, vjp=(lambda g, y: div(g, mul(y, 2)),))
rsqrt = elementwise(
    "rsqrt",
    lambda x: np.reciprocal(np.sqrt(x)),
    "{T}(1) / sqrt({x})",
    infer=inexact,
    vjp=(lambda g, y: mul(mul(g, mul(y, mul(y, y))), -0.5),),
)

# Trigonometric and related functions.

sin = elementwise("sin", np.sin, "sin({x})", infer=inexact, vjp=(lambda g, x: mul(g, cos(x)),))
cos = elementwise("cos", np.cos, "cos({x})", infer=inexact, vjp=(lambda g, x: neg(mul(g, sin(x))),))
tan = elementwise("tan", np.tan, "tan({x})", infer=inexact, vjp=(lambda g, y: mul(g, add(mul(y, y), 1)),))
asin = elementwise("asin", np.arcsin, "asin({x})", infer=inexact, vjp=(lambda g, x: mul(g, rsqrt(sub(1, mul(x, x)))),))
acos = elementwise("acos", np.arccos, "acos({x})", infer=inexact, vjp=(lambda g, x: neg(mul(g, rsqrt(sub(1, mul(x, x))))),))
atan = elementwise("atan", np.arctan, "atan({x})", infer=inexact, vjp=(lambda g, x: div(g, add(mul(x, x), 1)),))
atan2 = elementwise(
    "atan2",
    np.arctan2,
    "atan2({a}, {b})",
    "a b",
    infer=floating,
    vjp=(
        lambda g, a, b: mul(g, mul(b, _over_squares(a, b))),
        lambda g, a, b: neg(mul(g, mul(a, _over_squares(a, b)))),
    ),
)


def _over_squares(a: Any, b: Any) -> Any:
    """1 / (a**2 + b**2), and 0 at the origin, where the angle has no derivative."""
    total = add(mul(a, a), mul(b, b))
    origin = eq(total, 0)
    return _where(origin, 0.0, reciprocal(_where(origin, 1.0, total)))


sinh = elementwise("sinh", np.sinh, "sinh({x})", infer=inexact, vjp=(lambda g, x: mul(g, cosh(x)),))
cosh = elementwise("cosh", np.cosh, "cosh({x})", infer=inexact, vjp=(lambda g, x: mul(g, sinh(x)),))
tanh = elementwise("tanh", np.tanh, "tanh({x})", infer=inexact, vjp=(lambda g, y: mul(g, sub(1, mul(y, y))),))
sigmoid = elementwise(
    "sigmoid",
    lambda x: np.reciprocal(np.exp(-x) + 1),
    "sigmoid({x})",
    infer=inexact,
    vjp=(lambda g, y: mul(g, mul(y, sub(1, y))),),
)


def _erf(x: Any) -> Any:
    from scipy.special import erf  # NumPy has none; imported when first needed

    return np.asarray(erf(x)).astype(x.dtype, copy=False)


_TWO_OVER_SQRT_PI = 2 / np.pi**0.5
erf = elementwise(
    "erf",
    _erf,
    "erf({x})",
    infer=floating,
    vjp=(lambda g, x: mul(g, mul(exp(neg(mul(x, x))), float(_TWO_OVER_SQRT_PI))),),
)

# Piecewise linear functions. The derivative of relu at 0 is 0; NaN passes through.

relu = elementwise(
    "relu",
    lambda x: np.maximum(x, 0),
    "maximum({x}, {T}(0))",
    infer=numeric,
    real=True,
    vjp=(lambda g, y: _where(le(y, 0), 0, g),),
)
floor = elementwise("floor", np.floor, "floor({x})", infer=floating, vjp=(lambda g: mul(g, 0),))
ceil = elementwise("ceil", np.ceil, "ceil({x})", infer=floating, vjp=(lambda g: mul(g, 0),))
round_ = elementwise("round", np.rint, "rint({x})", infer=floating, vjp=(lambda g: mul(g, 0),))

# Comparisons and logic: bool out.

eq = elementwise("eq", np.equal, "{a} == {b}", "a b", infer=predicate)
ne = elementwise("ne", np.not_equal, "{a} != {b}", "a b", infer=predicate)
lt = elementwise("lt", np.less, "{a} < {b}", "a b", infer=predicate, real=True)
le = elementwise("le", np.less_equal, "{a} <= {b}", "a b", infer=predicate, real=True)
gt = elementwise("gt", np.greater, "{a} > {b}", "a b", infer=predicate, real=True)
ge = elementwise("ge", np.greater_equal, "{a} >= {b}", "a b", infer=predicate, real=True)
isnan = elementwise("isnan", np.isnan, "{x} != {x}", infer=lambda x: inexact(x).with_dtype(bool_))


def _bits(*types: TensorType) -> TensorType:
    result = same_type(*types)
    if result.dtype.is_floating_point:
        raise TypeError(f"needs a bool or integer dtype, got {result}")
    return result


and_ = elementwise("and", np.bitwise_and, "{a} & {b}", "a b", infer=_bits, torch_name="BitwiseAnd")
or_ = elementwise("or", np.bitwise_or, "{a} | {b}", "a b", infer=_bits, torch_name="BitwiseOr")
xor = elementwise("xor", np.bitwise_xor, "{a} ^ {b}", "a b", infer=_bits, torch_name="BitwiseXor")
not_ = elementwise(
    "not",
    np.invert,
    lambda types, attrs: "not {x}" if types[0].dtype is bool_ else "~{x}",
    infer=_bits,
    torch_name="BitwiseNot",
)


def _infer_where(c: TensorType, a: TensorType, b: TensorType) -> TensorType:
    same_shape(c, a, b)
    if c.dtype is not bool_:
        raise TypeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {c.dtype.name}")
    return same_type(a, b)


where = elementwise(
    "where",
    np.where,
    "select({c}, {a}, {b})",
    "c a b",
    infer=_infer_where,
    vjp=(None, lambda g, c: where(c, g, 0), lambda g, c: where(c, 0, g)),
)

# The operand itself. ``detach`` has no rule: nothing flows back through it.
detach = elementwise("detach", lambda x: np.array(x, order="C"), "{x}", put=lambda base, view, base_type: view, in_format=True)
copy = elementwise(
    "copy",
    lambda x: np.array(x, order="C"),
    "{x}",
    in_format=True,
    vjp=(lambda g: g,),
    torch_name="Clone",
)

# The second operand in place of the first: after a change that autograd did not record, a tensor has new values and the old
# history.
substitute = elementwise("substitute", lambda x, v: np.array(v, order="C"), "{v}", "x v", vjp=(lambda g: g, None))


def _nothing(g: Any, x_type: TensorType) -> Any:
    from .source import full

    return full(value=0, shape=x_type.shape, dtype=x_type.dtype.short)


def _unread(v: Any, x: Any) -> Any:
    return np.array(np.broadcast_to(v, np.broadcast_shapes(np.shape(v), np.shape(x))), order="C")


# v, as a function of x that does not read it: the gradient of x is 0, not None.
unread = elementwise("unread", _unread, "{v}", "v x", in_format=True, vjp=(lambda g: g, lambda g, x_type: _nothing(g, x_type)))


def _underived(g: Any, of: str) -> Any:
    return underivable(of)(g)


# A result, computed outside the graph, of an operation without a derivative.
underived = elementwise(
    "underived",
    lambda x, of: np.array(x, order="C"),
    "{x}",
    infer=lambda x, of: x,
    in_format=True,
    vjp=(_underived,),
)

# Casts.


def _parts(x: np.ndarray, dtype: str) -> np.ndarray:
    """The part of complex numbers that another dtype holds: the real part."""
    return x.real if x.dtype.kind == "c" and dtype not in ("c64", "c128", "bool") else x


cast = primitive(
    "cast",
    Kind.ELEMENTWISE,
    "x",
    infer=lambda x, dtype: x.with_dtype(dtype_named(dtype)),
    impl=lambda x, dtype: _parts(np.asarray(x), dtype).astype(dtype_named(dtype).numpy),
    scalar=lambda types, attrs: "{x} != {D}(0)" if attrs["dtype"] == "bool" else f"{attrs['dtype']}({{x}})",
    vjp=(lambda g, x_type: cast(g, dtype=x_type.dtype.short),),
    torch_name="ToCopy",
    in_format=True,
)


def _check_index(x: Any, extent: int, message: str) -> Any:
    bad = (x < 0) | (x >= extent)
    if np.any(bad):
        raise IndexError(message.format(np.asarray(x)[bad].flat[0]))
    return x


# The operand itself, after a check that every element is in [0, extent); raises IndexError otherwise.
check_index = primitive(
    "check_index",
    Kind.ELEMENTWISE,
    "x",
    infer=lambda x, extent, message: _bits(numeric(x)),
    impl=_check_index,
    scalar=lambda types, attrs: "check_index({x}, {extent}, status, {site})",
)
