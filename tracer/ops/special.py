"""More elementwise functions: logarithms and exponentials to other bases, inverse hyperbolic and special functions, and
combinations.
"""

from __future__ import annotations

import math
from typing import Any

from ..core.fused import fused
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import bool_, complex128, float64
from . import pointwise as F
from .common import as_floating, match, require_real, result_dtype, to_dtype, walked_again
from .complex import complex
from .opmath import opmath
from .pointwise import _binary, _numeric, _unary

__all__ = [
    "absolute",
    "acosh",
    "addcdiv",
    "addcmul",
    "allclose",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asinh",
    "atanh",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "clamp_max",
    "clamp_min",
    "clip",
    "copysign",
    "deg2rad",
    "digamma",
    "divide",
    "equal",
    "erfc",
    "erfinv",
    "exp2",
    "fix",
    "float_power",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "gcd",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "i0",
    "isclose",
    "isfinite",
    "isinf",
    "isneginf",
    "isposinf",
    "isreal",
    "lcm",
    "ldexp",
    "lerp",
    "less",
    "less_equal",
    "lgamma",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logit",
    "mvlgamma",
    "nan_to_num",
    "negative",
    "nextafter",
    "not_equal",
    "polygamma",
    "positive",
    "rad2deg",
    "rsub",
    "sgn",
    "signbit",
    "sinc",
    "subtract",
    "trunc",
    "xlogy",
]

log2 = _unary(P.log2, "log2", "The logarithm to base 2")
log10 = _unary(P.log10, "log10", "The logarithm to base 10")
exp2 = _unary(P.exp2, "exp2", "2 to the power of the input")
cbrt = _unary(P.cbrt, "cbrt", "The cube root")
asinh = _unary(P.asinh, "asinh", "The inverse hyperbolic sine")
acosh = _unary(P.acosh, "acosh", "The inverse hyperbolic cosine")
atanh = _unary(P.atanh, "atanh", "The inverse hyperbolic tangent")
erfc = _unary(P.erfc, "erfc", "1 - erf(x)")
erfinv = _unary(P.erfinv, "erfinv", "The inverse of erf")
erfcx = _unary(P.erfcx, "erfcx", "exp(x**2) * erfc(x)")
lgamma = _unary(P.lgamma, "lgamma", "The logarithm of the absolute value of the gamma function")
digamma = _unary(P.digamma, "digamma", "The derivative of lgamma")
sinc = _unary(P.sinc, "sinc", "sin(pi x) / (pi x)")
ndtr = _unary(P.ndtr, "ndtr", "The normal distribution function")
ndtri = _unary(P.ndtri, "ndtri", "The inverse of the normal distribution function")
log_ndtr = _unary(P.log_ndtr, "log_ndtr", "The logarithm of the normal distribution function")
i0 = _unary(P.i0, "i0", "The modified Bessel function of the first kind of order 0")
i0e = _unary(P.i0e, "i0e", "exp(-|x|) * i0(x)")
i1 = _unary(P.i1, "i1", "The modified Bessel function of the first kind of order 1")
i1e = _unary(P.i1e, "i1e", "exp(-|x|) * i1(x)")
bessel_j0 = _unary(P.j0, "bessel_j0", "The Bessel function of the first kind of order 0")
bessel_j1 = _unary(P.j1, "bessel_j1", "The Bessel function of the first kind of order 1")
bessel_y0 = _unary(P.y0, "bessel_y0", "The Bessel function of the second kind of order 0")
bessel_y1 = _unary(P.y1, "bessel_y1", "The Bessel function of the second kind of order 1")
modified_bessel_i0 = _unary(P.i0, "modified_bessel_i0", "The modified Bessel function of the first kind of order 0")
modified_bessel_i1 = _unary(P.i1, "modified_bessel_i1", "The modified Bessel function of the first kind of order 1")
modified_bessel_k0 = _unary(P.k0, "modified_bessel_k0", "The modified Bessel function of the second kind of order 0")
modified_bessel_k1 = _unary(P.k1, "modified_bessel_k1", "The modified Bessel function of the second kind of order 1")
scaled_modified_bessel_k0 = _unary(P.k0e, "scaled_modified_bessel_k0", "exp(x) * k0(x)")
scaled_modified_bessel_k1 = _unary(P.k1e, "scaled_modified_bessel_k1", "exp(x) * k1(x)")
spherical_bessel_j0 = _unary(P.spherical_j0, "spherical_bessel_j0", "sin(x) / x")
airy_ai = _unary(P.airy_ai, "airy_ai", "The Airy function")

hypot = _binary(P.hypot, "hypot", "sqrt(input**2 + other**2), without overflow", floating=True)
logaddexp2 = _binary(P.logaddexp2, "logaddexp2", "log2(2**input + 2**other), without overflow", floating=True)
fmod = _numeric(P.fmod, "fmod", "input modulo other, with the sign of input")
copysign = _binary(P.copysign, "copysign", "The magnitude of input with the sign of other", floating=True)
nextafter = _binary(P.nextafter, "nextafter", "The next floating number after input towards other")
heaviside = _binary(P.heaviside, "heaviside", "0, other or 1 where input is negative, zero or positive")
zeta = _binary(P.zeta, "zeta", "The Hurwitz zeta function", floating=True)
gcd = _numeric(P.gcd, "gcd", "The greatest common divisor")
lcm = _numeric(P.lcm, "lcm", "The least common multiple")
gammainc = _binary(P.gammainc, "gammainc", "The regularized lower incomplete gamma function", floating=True)
gammaincc = _binary(P.gammaincc, "gammaincc", "The regularized upper incomplete gamma function", floating=True)
bitwise_left_shift = _numeric(P.shift_left, "bitwise_left_shift", "input << other")
bitwise_right_shift = _numeric(P.shift_right, "bitwise_right_shift", "input >> other")


def logaddexp(input: Any, other: Any) -> Tensor:
    """log(exp(input) + exp(other)), without overflow, elementwise."""
    a, b = match(input, other, floating=True)
    if not a.is_complex():
        return P.logaddexp(a, b)
    first = F.ge(P.real(a), P.real(b))
    large, small = F.where(first, a, b), F.where(first, b, a)
    return F.add(F.log1p(F.exp(F.sub(small, large))), large)


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    x = as_floating(input)
    return P.digamma(x) if n == 0 else P.trigamma(x) if n == 1 else P.polygamma(x, n=n)


@opmath
def multigammaln(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``p``."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = as_floating(input)
    parts = [lgamma(F.sub(x, j / 2)) for j in range(p)]
    total = parts[0]
    for part in parts[1:]:
        total = F.add(total, part)
    return F.add(total, p * (p - 1) / 4 * math.log(math.pi))


mvlgamma = multigammaln


def trunc(input: Tensor) -> Tensor:
    """The integer part, elementwise, in the input's dtype."""
    return F.to_whole(P.trunc, input)


def frac(input: Tensor) -> Tensor:
    """x - trunc(x), elementwise."""
    require_real("frac", input)
    return F.sub(input, trunc(input))


def sgn(input: Tensor) -> Tensor:
    """The sign: x / |x| for complex numbers."""
    return P.sign(input)


def signbit(input: Tensor) -> Tensor:
    """For each element: True if the sign bit is set, as in -0.0."""
    return F.lt(copysign(_ones(input), input), 0) if input.is_floating_point() else F.lt(input, 0)


def _ones(input: Tensor) -> Tensor:
    return P.full(value=1, shape=input._data.shape, dtype=input.dtype.short)


def positive(input: Tensor) -> Tensor:
    """The input itself. Raises RuntimeError for bools."""
    if input.dtype is bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@opmath
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x clamped to [eps, 1 - eps] if ``eps`` is given."""
    x = as_floating(input)
    require_real("logit", x)
    if eps is not None:
        x = F.where(F.lt(x, eps), eps, F.clamp(x, max=1 - eps))
    return P.logit(x)


@opmath
def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other); 0 where input is 0 and other is not NaN."""
    a, b = match(input, other, floating=True)
    return P.xlogy(a, b)


@opmath
def xlog1py(input: Any, other: Any) -> Tensor:
    """input * log1p(other); 0 where input is 0 and other is not NaN."""
    a, b = match(input, other, floating=True)
    return P.xlog1py(a, b)


@opmath
def entr(input: Tensor) -> Tensor:
    """-x log(x); 0 at 0, -inf for negative x."""
    return P.entr(as_floating(input))


def isinf(input: Tensor) -> Tensor:
    """For each element: True if it is infinite."""
    if input.is_complex():
        return F.bitwise_or(isinf(P.real(input)), isinf(P.imag(input)))
    return F.eq(F.abs(input), math.inf) if input.is_floating_point() else F.ne(input, input)


def isposinf(input: Tensor) -> Tensor:
    """For each element: True if it is +inf."""
    require_real("isposinf", input)
    return F.eq(input, math.inf) if input.is_floating_point() else F.ne(input, input)


def isneginf(input: Tensor) -> Tensor:
    """For each element: True if it is -inf."""
    require_real("isneginf", input)
    return F.eq(input, -math.inf) if input.is_floating_point() else F.ne(input, input)


def isfinite(input: Tensor) -> Tensor:
    """For each element: True if it is neither infinite nor NaN."""
    if input.is_complex():
        return F.bitwise_and(isfinite(P.real(input)), isfinite(P.imag(input)))
    return F.lt(F.abs(input), math.inf) if input.is_floating_point() else F.eq(input, input)


def isreal(input: Tensor) -> Tensor:
    """For each element: True if it is real."""
    if input.is_complex():
        return F.eq(P.imag(input), 0)
    return F.bitwise_or(F.eq(input, input), F.isnan(input)) if input.is_floating_point() else F.eq(input, input)


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """|input - other| <= atol + rtol * |other|, elementwise; equal infinities are close."""
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype.ctype} did not match {other.dtype.ctype}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"{'rtol' if rtol < 0 else 'atol'} must be greater than or equal to zero, but got {min(rtol, atol)}")
    same = F.eq(input, other)
    if equal_nan and (input.is_floating_point() or input.is_complex()):
        same = F.bitwise_or(same, F.bitwise_and(F.isnan(input), F.isnan(other)))
    if rtol == 0 and atol == 0:
        return same
    a, b = as_floating(input), as_floating(other)
    allowed = F.add(F.abs(F.mul(b, rtol)), atol)
    difference = F.abs(F.sub(a, b))
    return F.bitwise_or(same, F.bitwise_and(isfinite(difference), F.le(difference, allowed)))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """True if all elements are close: see ``isclose``."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """True if two tensors have the same shape and elements."""
    return input.shape == other.shape and bool(F.eq(input, other).all())


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """True where both elements are true (not zero)."""
    return F.bitwise_and(F.ne(input, 0), F.ne(other, 0))


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """True where one of the elements is true (not zero)."""
    return F.bitwise_or(F.ne(input, 0), F.ne(other, 0))


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """True where exactly one of the elements is true (not zero)."""
    return F.bitwise_xor(F.ne(input, 0), F.ne(other, 0))


def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    require_real("deg2rad", input)
    return walked_again(F.mul(as_floating(input), math.pi / 180))


def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    require_real("rad2deg", input)
    return walked_again(F.mul(as_floating(input), 180 / math.pi))


@fused
def nan_to_num(input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """Replaces NaN and infinities by numbers: by default 0, and the largest and smallest finite numbers."""
    if input.is_complex():
        return complex(*(nan_to_num(part, nan, posinf, neginf) for part in (P.real(input), P.imag(input))))
    if not input.is_floating_point():
        return F.clone(input)
    import ml_dtypes

    limits = ml_dtypes.finfo(input._data.dtype)
    out = F.where(F.isnan(input), nan or 0.0, input)
    out = F.where(F.eq(input, math.inf), float(limits.max) if posinf is None else posinf, out)
    return F.where(F.eq(input, -math.inf), float(limits.min) if neginf is None else neginf, out)


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """The larger of the input and ``min``."""
    return F.clamp(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """The smaller of the input and ``max``."""
    return F.clamp(input, max=max)


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger element; a number is preferred to NaN."""
    return _extremum(F.ge, input, other)


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller element; a number is preferred to NaN."""
    return _extremum(F.le, input, other)


def _extremum(better: Any, input: Tensor, other: Tensor) -> Tensor:
    a, b = match(input, other)
    return F.where(F.bitwise_or(better(a, b), F.isnan(b)), a, b)


@opmath
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input); from a weight of 1/2 on as end - (1 - weight) * (end - input), which is exact at 1.

    Raises NotImplementedError for integers and bools.
    """
    if input.dtype.category < 2:
        raise NotImplementedError(f"\"lerp_cpu\" not implemented for '{input.dtype.ctype}'")
    for t, name in ((end, "end"), (weight, "weight")):
        if isinstance(t, Tensor) and t.dtype is not input.dtype:
            raise RuntimeError(f"expected dtype {input.dtype.name} for `{name}` but got dtype {t.dtype.name}")
    way = F.sub(end, input)
    if isinstance(weight, Tensor):
        near = F.lt(F.abs(weight), 0.5)
        return F.where(near, F.add(input, F.mul(way, weight)), F.sub(end, F.mul(way, F.sub(1, weight))))
    return F.add(input, F.mul(way, weight)) if abs(weight) < 0.5 else F.sub(end, F.mul(way, 1 - weight))


@opmath
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return F.add(input, F.times(F.mul(tensor1, tensor2), value))


@opmath
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2. Raises RuntimeError for integers."""
    if tensor1.dtype.category < 2 and tensor2.dtype.category < 2:
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform a true "
            "division of tensor1 and tensor2. The historic addcdiv behavior can be implemented as (input + value * "
            "tracer.trunc(tensor1 / tensor2)).to(input.dtype) for integer inputs and as (input + value * tensor1 / tensor2) "
            "for float inputs. The future addcdiv behavior is just the latter implementation: "
            "(input + value * tensor1 / tensor2), for all dtypes."
        )
    return F.add(input, F.mul(F.div(tensor1, tensor2), value))


def float_power(input: Any, exponent: Any) -> Tensor:
    """The power in float64, or complex128."""
    wide = complex128 if result_dtype(input, exponent).is_complex else float64
    a, b = (to_dtype(x, wide) if isinstance(x, Tensor) else x for x in (input, exponent))
    if not isinstance(a, Tensor):
        a = P.full(value=a, shape=(), dtype=wide.short)
    return F.pow(a, b)


@opmath
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2**other."""
    return F.mul(input, F.pow(_two(input, other), other))


def _two(input: Tensor, other: Tensor) -> Tensor:
    dtype = result_dtype(as_floating(other))
    return P.full(value=2, shape=(), dtype=dtype.short)


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    return F.sub(other, input, alpha=alpha)


@opmath
def log_sigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))), without overflow."""
    x = as_floating(input)
    return F.sub(F.minimum(x, 0), F.log1p(F.exp(F.neg(F.abs(x)))))


arcsin, arccos, arctan, arctan2 = F.asin, F.acos, F.atan, F.atan2
arcsinh, arccosh, arctanh = asinh, acosh, atanh
absolute, negative, fix, subtract, divide = F.abs, F.neg, trunc, F.sub, F.div
greater, greater_equal, less, less_equal, not_equal = F.gt, F.ge, F.lt, F.le, F.ne
clip = F.clamp
expit, psi, gammaln = F.sigmoid, digamma, lgamma
