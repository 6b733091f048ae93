"""Elementwise functions: of one array, ``f(x, /)``, and of two, ``f(x1, x2, /)``, one of which may be a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..core.tensor import Tensor
from ..ops.common import is_number, result_dtype
from .dtypes import promote


def _one(function: Callable[..., Tensor], name: str) -> Callable[[Tensor], Tensor]:
    def f(x: Tensor, /) -> Tensor:
        return function(x)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = function.__doc__
    return f


def _whole(function: Callable[..., Tensor], name: str) -> Callable[[Tensor], Tensor]:
    def f(x: Tensor, /) -> Tensor:
        if x.dtype.kind in "ui":
            return x.clone()
        if x.is_complex():
            return ops.complex(function(ops.real(x)), function(ops.imag(x)))
        return function(x)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{function.__doc__} Integers stay what they are."
    return f


def _two(function: Callable[..., Tensor], name: str) -> Callable[[Any, Any], Tensor]:
    def f(x1: Any, x2: Any, /) -> Tensor:
        if is_number(x1) and is_number(x2):
            raise TypeError(f"{name}: one of the operands must be an array")
        dtype = result_dtype(x1, x2)
        return function(*promote(*(ops.full((), x, dtype=dtype) if is_number(x) else x for x in (x1, x2))))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = function.__doc__
    return f


abs = _one(ops.abs, "abs")
acos = _one(ops.acos, "acos")
acosh = _one(ops.acosh, "acosh")
asin = _one(ops.asin, "asin")
asinh = _one(ops.asinh, "asinh")
atan = _one(ops.atan, "atan")
atanh = _one(ops.atanh, "atanh")
conj = _one(ops.conj, "conj")
cos = _one(ops.cos, "cos")
cosh = _one(ops.cosh, "cosh")
exp = _one(ops.exp, "exp")
expm1 = _one(ops.expm1, "expm1")
imag = _one(ops.imag, "imag")
isfinite = _one(ops.isfinite, "isfinite")
isinf = _one(ops.isinf, "isinf")
isnan = _one(ops.isnan, "isnan")
log = _one(ops.log, "log")
log1p = _one(ops.log1p, "log1p")
log2 = _one(ops.log2, "log2")
log10 = _one(ops.log10, "log10")
logical_not = _one(ops.logical_not, "logical_not")
negative = _one(ops.neg, "negative")
positive = _one(ops.positive, "positive")
real = _one(ops.real, "real")
reciprocal = _one(ops.reciprocal, "reciprocal")
signbit = _one(ops.signbit, "signbit")
sin = _one(ops.sin, "sin")
sinh = _one(ops.sinh, "sinh")
square = _one(ops.square, "square")
sqrt = _one(ops.sqrt, "sqrt")
tan = _one(ops.tan, "tan")
tanh = _one(ops.tanh, "tanh")
bitwise_invert = _one(ops.bitwise_not, "bitwise_invert")

ceil = _whole(ops.ceil, "ceil")
floor = _whole(ops.floor, "floor")
round = _whole(ops.round, "round")
trunc = _whole(ops.trunc, "trunc")

add = _two(ops.add, "add")
atan2 = _two(ops.atan2, "atan2")
bitwise_and = _two(ops.bitwise_and, "bitwise_and")
bitwise_left_shift = _two(ops.bitwise_left_shift, "bitwise_left_shift")
bitwise_or = _two(ops.bitwise_or, "bitwise_or")
bitwise_right_shift = _two(ops.bitwise_right_shift, "bitwise_right_shift")
bitwise_xor = _two(ops.bitwise_xor, "bitwise_xor")
copysign = _two(ops.copysign, "copysign")
divide = _two(ops.div, "divide")
equal = _two(ops.eq, "equal")
floor_divide = _two(ops.floor_divide, "floor_divide")
greater = _two(ops.gt, "greater")
greater_equal = _two(ops.ge, "greater_equal")
hypot = _two(ops.hypot, "hypot")
less = _two(ops.lt, "less")
less_equal = _two(ops.le, "less_equal")
logaddexp = _two(ops.logaddexp, "logaddexp")
logical_and = _two(ops.logical_and, "logical_and")
logical_or = _two(ops.logical_or, "logical_or")
logical_xor = _two(ops.logical_xor, "logical_xor")
maximum = _two(ops.maximum, "maximum")
minimum = _two(ops.minimum, "minimum")
multiply = _two(ops.mul, "multiply")
nextafter = _two(ops.nextafter, "nextafter")
not_equal = _two(ops.ne, "not_equal")
pow = _two(ops.pow, "pow")
remainder = _two(ops.remainder, "remainder")
subtract = _two(ops.sub, "subtract")


def sign(x: Tensor, /) -> Tensor:
    """-1, 0 or 1; for complex numbers the direction; NaN for NaN."""
    signs = ops.sgn(x)
    return ops.where(ops.isnan(x), x, signs) if x.is_floating_point() else signs


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """``x`` clamped to [min, max], in the dtype of ``x``."""
    if min is None and max is None:
        return x.clone()
    limits = [v.to(x.dtype) if isinstance(v, Tensor) else v for v in (min, max)]
    return ops.clamp(x, *limits)


__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
]
