"""Special functions. SciPy computes those without a scalar source, in compiled programs too."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import Primitive, elementwise, floating, inexact, numeric, underivable
from ..types import TensorType
from .elementwise import (
    BY_ZERO,
    add,
    and_,
    cos,
    detach,
    div,
    eq,
    exp,
    ge,
    gt,
    le,
    log,
    log1p,
    maximum,
    mul,
    neg,
    nonzero_divisor,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sub,
    where,
)

_SQRT_PI = math.pi**0.5


def _scipy(name: str) -> Callable[..., Any]:
    """A function of ``scipy.special``, imported on first use; the result has the first operand's dtype."""

    def impl(*args: Any, **attrs: Any) -> Any:
        import scipy.special

        function = getattr(scipy.special, name)
        return np.asarray(function(*args, **attrs)).astype(np.result_type(*args), copy=False)

    return impl


def _special(
    name: str,
    *vjp: Callable[..., Any] | None,
    operands: str = "x",
    torch_name: str = "",
    scipy: str = "",
    scalar: str | None = None,
) -> Primitive:
    return elementwise(
        name, _scipy(scipy or name), scalar, operands, infer=floating, vjp=vjp if any(vjp) else None, torch_name=torch_name
    )


# log(1 + exp(x)), whose derivatives are smooth where the formula is not.
softplus = elementwise(
    "softplus",
    lambda x: np.logaddexp(x, np.zeros((), np.result_type(x))),
    "maximum({x}, {T}(0)) + log1p(exp(-abs_({x})))",
    infer=floating,
    vjp=(lambda g, x: mul(g, sigmoid(x)),),
)


def _cross_entropy(p: Any, t: Any) -> Any:
    yes, no = np.maximum(np.log(p), -100), np.maximum(np.log1p(-np.asarray(p)), -100)
    return -(t * yes + (1 - t) * no)


# -(t log(p) + (1 - t) log(1 - p)), with logarithms of at least -100, and PyTorch's derivatives at the ends.
binary_cross_entropy = elementwise(
    "binary_cross_entropy",
    _cross_entropy,
    "-({t} * maximum(log({p}), {T}(-100)) + ({T}(1) - {t}) * maximum(log1p(-{p}), {T}(-100)))",
    "p t",
    infer=floating,
    vjp=(
        lambda g, p, t: div(mul(g, sub(p, t)), maximum(mul(p, sub(1, p)), 1e-12)),
        lambda g, p: mul(g, sub(log1p(neg(p)), log(p))),
    ),
)

trunc = elementwise("trunc", np.trunc, "trunc({x})", infer=floating, vjp=(lambda g: mul(g, 0),))
log2 = elementwise("log2", np.log2, "log2({x})", infer=inexact, vjp=(lambda g, x: div(g, mul(x, math.log(2))),))
log10 = elementwise("log10", np.log10, "log10({x})", infer=inexact, vjp=(lambda g, x: div(g, mul(x, math.log(10))),))
exp2 = elementwise("exp2", np.exp2, "exp2({x})", infer=inexact, vjp=(lambda g, y: mul(g, mul(y, math.log(2))),))
cbrt = elementwise("cbrt", np.cbrt, "cbrt({x})", infer=floating, vjp=(lambda g, y: div(g, mul(mul(y, y), 3)),))
asinh = elementwise("asinh", np.arcsinh, "asinh({x})", infer=inexact, vjp=(lambda g, x: mul(g, rsqrt(add(mul(x, x), 1))),))
acosh = elementwise("acosh", np.arccosh, "acosh({x})", infer=inexact, vjp=(lambda g, x: mul(g, rsqrt(sub(mul(x, x), 1))),))
atanh = elementwise("atanh", np.arctanh, "atanh({x})", infer=inexact, vjp=(lambda g, x: div(g, sub(1, mul(x, x))),))
erfc = _special("erfc", lambda g, x: mul(g, mul(exp(neg(mul(x, x))), -2 / _SQRT_PI)), scalar="erfc({x})")
erfinv = _special("erfinv", lambda g, y: mul(g, mul(exp(mul(y, y)), _SQRT_PI / 2)), scalar="erfinv({x})")
erfcx = _special("erfcx", lambda g, x, y: mul(g, sub(mul(mul(x, y), 2), 2 / _SQRT_PI)))
ndtr = _special("ndtr", lambda g, x: mul(g, mul(exp(mul(mul(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))))
ndtri = _special("ndtri", lambda g, y: mul(g, mul(exp(mul(mul(y, y), 0.5)), math.sqrt(2 * math.pi))))
log_ndtr = _special("log_ndtr", lambda g, x: div(mul(g, 2 / math.sqrt(2 * math.pi)), erfcx(mul(x, -(2**-0.5)))))
i0 = _special("i0", lambda g, x: mul(g, i1(x)))
i0e = _special("i0e", lambda g, x, y: mul(g, sub(i1e(x), mul(sign(x), y))))
i1 = _special("i1", lambda g, x, y: mul(g, sub(i0(x), _over(y, x, 0.5))))
i1e = _special("i1e", lambda g, x, y: mul(g, sub(i0e(x), add(mul(sign(x), y), _over(y, x, 0.5)))))
j0 = _special("bessel_j0", lambda g, x: neg(mul(g, j1(x))), scipy="j0")
j1 = _special("bessel_j1", lambda g, x, y: mul(g, sub(j0(x), _over(y, x, 0.5))), scipy="j1")
y0 = _special("bessel_y0", None, scipy="y0")
y1 = _special("bessel_y1", None, scipy="y1")
k0 = _special("modified_bessel_k0", None, scipy="k0")
k1 = _special("modified_bessel_k1", None, scipy="k1")
k0e = _special("scaled_modified_bessel_k0", None, scipy="k0e")
k1e = _special("scaled_modified_bessel_k1", None, scipy="k1e")


def _over(y: Any, x: Any, at_zero: float) -> Any:
    """y / x, with the limit where x is 0."""
    zero = eq(x, 0)
    return where(zero, at_zero, div(y, where(zero, 1.0, x)))


def _airy(x: Any) -> Any:
    from scipy.special import airy

    return airy(x)[0].astype(np.result_type(x), copy=False)


airy_ai = elementwise("airy_ai", _airy, None, infer=floating)


def _spherical(x: Any) -> Any:
    from scipy.special import spherical_jn

    return spherical_jn(0, np.abs(x)).astype(np.result_type(x), copy=False)


spherical_j0 = elementwise("spherical_bessel_j0", _spherical, None, infer=floating)


def _amended(name: str, where: Callable[[Any], Any], value: Callable[[Any], Any]) -> Callable[..., Any]:
    """SciPy's function with PyTorch's values where the two differ."""
    function = _scipy(name)

    def impl(x: Any) -> Any:
        x, y = np.asarray(x), function(x)
        return np.where(where(x), value(x), y).astype(y.dtype)

    return impl


_lgamma = _amended("gammaln", np.isneginf, lambda x: np.inf)
_digamma = _amended("psi", lambda x: x == 0, lambda x: np.copysign(np.inf, -x))
lgamma = elementwise("lgamma", _lgamma, "lgamma({x})", infer=floating, vjp=(lambda g, x: mul(g, digamma(x)),))
digamma = elementwise("digamma", _digamma, "digamma({x})", infer=floating, vjp=(lambda g, x: mul(g, trigamma(x)),))


def _polygamma(x: Any, n: int) -> Any:
    import scipy.special

    return np.asarray(scipy.special.polygamma(n, x)).astype(np.result_type(x), copy=False)


trigamma = elementwise(
    "trigamma",
    lambda x: _polygamma(np.where(np.isneginf(x), np.nan, x).astype(np.result_type(x)), 1),
    "trigamma({x})",
    infer=floating,
    vjp=(lambda g, x: mul(g, polygamma(x, n=2)),),
    torch_name="polygamma",
)
polygamma = elementwise(
    "polygamma",
    _polygamma,
    None,
    infer=lambda x, n: floating(x),
    vjp=(lambda g, x, n: mul(g, polygamma(x, n=n + 1)),),
)

hypot = elementwise(
    "hypot",
    np.hypot,
    "hypot({a}, {b})",
    "a b",
    infer=floating,
    vjp=(lambda g, y, a: mul(g, div(a, y)), lambda g, y, b: mul(g, div(b, y))),
)


logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    "select({a} == {b}, {a} + {T}(0.6931471805599453), maximum({a}, {b}) + log1p(exp(-abs_({a} - {b}))))",
    "a b",
    infer=floating,
    vjp=(lambda g, a, b: mul(g, sigmoid(sub(a, b))), lambda g, a, b: mul(g, sigmoid(sub(b, a)))),
)
logaddexp2 = elementwise(
    "logaddexp2",
    np.logaddexp2,
    "select({a} == {b}, {a} + {T}(1.0), maximum({a}, {b}) + log1p(exp2(-abs_({a} - {b}))) * {T}(1.4426950408889634))",
    "a b",
    infer=floating,
    vjp=(
        lambda g, a, b: mul(g, sigmoid(mul(sub(a, b), math.log(2)))),
        lambda g, a, b: mul(g, sigmoid(mul(sub(b, a), math.log(2)))),
    ),
)


def _fmod(types: list[TensorType], attrs: dict[Any, Any]) -> str:
    if types[0].dtype.is_floating_point:
        return "fmod({a}, {b})"
    r = "floor_mod({a}, check_divisor({b}, status, {site}))"
    return f"select(({r} != 0) & (({{a}} < 0) != ({{b}} < 0)), {r} - {{b}}, {r})"


# The remainder with the sign of the dividend.
fmod = elementwise(
    "fmod",
    nonzero_divisor(np.fmod),
    _fmod,
    "a b",
    infer=numeric,
    error=BY_ZERO,
    vjp=(lambda g: g, lambda g, a, b: neg(mul(g, trunc(div(detach(a), detach(b)))))),
)
copysign = elementwise(
    "copysign",
    np.copysign,
    "copysign({a}, {b})",
    "a b",
    infer=floating,
    vjp=(lambda g, a, b: mul(g, mul(sign(a), copysign(where(eq(a, 0), 0.0, _one(a)), b))), lambda g: mul(g, 0)),
)


def _one(a: Any) -> Any:
    return add(mul(a, 0), 1)


nextafter = elementwise(
    "nextafter",
    np.nextafter,
    None,
    "a b",
    infer=floating,
    in_format=True,
    vjp=(lambda g, a, b: where(eq(a, b), 0.0, g), lambda g: mul(g, 0)),
)


def _heaviside(a: Any, b: Any) -> Any:
    dtype = np.result_type(a, b)
    if dtype.kind == "f":
        return np.where(np.isnan(a), np.zeros((), dtype), np.heaviside(a, b))
    return np.where(np.equal(a, 0), b, np.greater(a, 0)).astype(dtype)


_STEP = "select({a} == {T}(0), {b}, {T}(select({a} > {T}(0), 1, 0)))"
heaviside = elementwise("heaviside", _heaviside, _STEP, "a b", vjp=(underivable("heaviside"),) * 2, real=True)
zeta = elementwise(
    "zeta",
    lambda a, b: _zeta(a, b),
    None,
    "a b",
    infer=floating,
    vjp=(underivable("zeta"), lambda g, a, b: mul(g, neg(mul(a, zeta(add(a, 1.0), b))))),
)
gcd = elementwise("gcd", np.gcd, None, "a b", infer=numeric)
lcm = elementwise("lcm", np.lcm, None, "a b", infer=numeric)
# In 64 bits, in which a shift by less than 0 or more than 63 has no meaning: all digits are gone.
_SHIFTS = "({b} >= 0) & ({b} < 64)"
_LEFT = f"select({_SHIFTS}, {{a}} << select({_SHIFTS}, {{b}}, 0), 0)"
shift_left = elementwise("shift_left", np.left_shift, _LEFT, "a b", infer=numeric)
shift_right = elementwise("shift_right", np.right_shift, f"{{a}} >> select({_SHIFTS}, {{b}}, 63)", "a b", infer=numeric)
gammainc = elementwise(
    "gammainc", _scipy("gammainc"), None, "a b", infer=floating, vjp=(None, lambda g, a, b: mul(g, _density(a, b)))
)
gammaincc = elementwise(
    "gammaincc", _scipy("gammaincc"), None, "a b", infer=floating, vjp=(None, lambda g, a, b: neg(mul(g, _density(a, b))))
)


def _density(a: Any, x: Any) -> Any:
    return exp(sub(sub(mul(sub(a, 1), log(x)), x), lgamma(a)))


def _zeta(a: Any, b: Any) -> Any:
    import scipy.special

    return np.asarray(scipy.special.zeta(a, b)).astype(np.result_type(a, b), copy=False)


def _sinc_slope(x: Any) -> Any:
    z = mul(x, math.pi)
    zero = eq(x, 0)
    safe = where(zero, 1.0, x)
    return where(zero, 0.0, div(sub(cos(z), div(sin(z), mul(safe, math.pi))), safe))


sinc = elementwise("sinc", np.sinc, None, infer=inexact, vjp=(lambda g, x: mul(g, _sinc_slope(x)),))


def _times(log_of: Callable[..., Any], a: Any, b: Any) -> Any:
    """a * log_of(b), 0 where a is 0 unless b is NaN."""
    a, b = (np.asarray(x, np.result_type(a, b)) for x in (a, b))
    nothing = (a == 0) & ~np.isnan(b)
    return np.where(nothing, np.zeros((), a.dtype), np.multiply(a, log_of(np.where(nothing, np.ones((), b.dtype), b))))


_TIMES = "select(({{a}} == {{T}}(0)) & ({{b}} == {{b}}), {{T}}(0), {{a}} * {function}({{b}}))"
# At a = 0 the derivative in a is the logarithm where that exists, and 0 elsewhere.
xlogy = elementwise(
    "xlogy",
    functools.partial(_times, np.log),
    _TIMES.format(function="log"),
    "a b",
    infer=floating,
    vjp=(
        lambda g, a, b: where(and_(eq(a, 0), le(b, 0)), 0.0, mul(g, log(b))),
        lambda g, a, b: mul(g, div(a, b)),
    ),
)
xlog1py = elementwise(
    "xlog1py",
    functools.partial(_times, np.log1p),
    _TIMES.format(function="log1p"),
    "a b",
    infer=floating,
    vjp=(
        lambda g, a, b: where(and_(eq(a, 0), le(b, -1)), 0.0, mul(g, log1p(b))),
        lambda g, a, b: mul(g, div(a, add(b, 1))),
    ),
)


def _entr(x: Any) -> Any:
    x = np.asarray(x)
    inside = x > 0
    value = -x * np.log(np.where(inside, x, np.ones((), x.dtype)))
    return np.where(np.isnan(x) | inside, value, np.where(x == 0, np.zeros((), x.dtype), np.full((), -np.inf, x.dtype)))


entr = elementwise(
    "entr",
    _entr,
    "select({x} > {T}(0), -{x} * log({x}), select({x} == {T}(0), {T}(0), select({x} < {T}(0), {T}(-inf), {x})))",
    infer=floating,
    vjp=(
        lambda g, x: mul(
            g, where(gt(x, 0), neg(add(log(where(gt(x, 0), x, 1.0)), 1)), where(eq(x, 0), math.inf, mul(detach(x), math.nan)))
        ),
    ),
)

# log(x / (1 - x)), differentiable only between 0 and 1.
logit = elementwise(
    "logit",
    lambda x: np.log(np.divide(x, np.subtract(1, x))),
    "log({x} / ({T}(1) - {x}))",
    infer=floating,
    vjp=(lambda g, x: where(and_(ge(x, 0), le(x, 1)), div(g, mul(x, sub(1, x))), math.nan),),
)

__all__ = [
    "acosh",
    "airy_ai",
    "asinh",
    "atanh",
    "binary_cross_entropy",
    "cbrt",
    "copysign",
    "digamma",
    "entr",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "fmod",
    "gammainc",
    "gammaincc",
    "gcd",
    "heaviside",
    "hypot",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "j0",
    "j1",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "lcm",
    "lgamma",
    "log2",
    "log10",
    "log_ndtr",
    "logaddexp",
    "logaddexp2",
    "logit",
    "ndtr",
    "ndtri",
    "nextafter",
    "polygamma",
    "shift_left",
    "shift_right",
    "sinc",
    "softplus",
    "spherical_j0",
    "trigamma",
    "trunc",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
    "zeta",
]
