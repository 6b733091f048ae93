"""Elementary functions as straight-line arithmetic, which LLVM vectorises; for every back end.

A function here is written over an ``Arithmetic``: the operations of one floating format on one back end. Values are
combined with Python's operators; there are no branches, only ``select``. All are accurate to 2 units in the last place,
including zeros, infinities, NaN and subnormal numbers.

Methods: argument reduction to a small interval, then a polynomial that interpolates the remainder of the function at the
Chebyshev nodes of that interval, computed with sixty digits. (Muller, Elementary Functions, 2016; the reductions of exp and
log are those of Tang, ACM TOMS 15 and 16.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Value = Any  # the back end's floating-point, integer or boolean value, with Python's operators


class Arithmetic(Protocol):
    """The operations that the functions need. ``bits`` is 32 or 64, also for integers.

    ``wide`` is the 64-bit arithmetic. ``table`` looks up an element of a constant array. ``rarely`` returns ``usual``, or
    other values where a condition holds; these are computed only if it holds somewhere. ``scales``: in 32 bits, whether
    ``scaled``, x 2^n for an integer n, is one instruction.
    """

    bits: int
    wide: Arithmetic
    scales: bool

    def real(self, x: float) -> Value: ...
    def fma(self, a: Value, b: Value, c: Value) -> Value: ...
    def select(self, condition: Value, a: Value, b: Value) -> Value: ...
    def absolute(self, x: Value) -> Value: ...
    def copysign(self, x: Value, sign: Value) -> Value: ...
    def to_bits(self, x: Value) -> Value: ...
    def from_bits(self, n: Value) -> Value: ...
    def to_real(self, n: Value) -> Value: ...
    def sqrt(self, x: Value) -> Value: ...
    def rint(self, x: Value) -> Value: ...
    def scaled(self, x: Value, n: Value) -> Value: ...
    def rarely(self, condition: Value, usual: Sequence[Value], rare: Callable[[], Sequence[Value]]) -> Sequence[Value]: ...
    def table(self, name: str, numbers: Sequence[float], index: Value) -> Value: ...
    def widened(self, x: Value) -> Value: ...
    def narrowed(self, x: Value) -> Value: ...


@dataclass(frozen=True)
class Format:
    """The numbers that depend on the floating format."""

    mantissa: int  # fraction bits
    bias: int
    magic: float  # adding it rounds to an integer, found in the low bits
    highest: float  # the exponential overflows above this
    lowest: float  # and is zero below this
    ln2: tuple[float, float]  # in two parts, the first short enough that products with exponents are exact
    exp: Sequence[float]  # (e^r - 1 - r) / r^2 on |r| <= ln(2)/2
    expm1: Sequence[float]  # the same on |x| <= 1/2
    log: Sequence[float]  # (2 atanh(s) - 2 s) / s^3 in s^2, on |s| <= 3 - 2 sqrt(2)
    tanh: Sequence[float]  # (tanh(x) - x) / x^3 in x^2, on |x| <= 5/8
    sinh: Sequence[float]  # (sinh(x) - x) / x^3 in x^2, on |x| <= 1
    log2: tuple[float, float]  # log(2) and its rounding error


_FORMATS = {
    32: Format(
        23,
        127,
        1.5 * 2**23,
        89.0,
        -104.0,
        (0.693115234375, 3.1946184945309415e-05),
        (0.5, 0.16666576266288757, 0.041666556149721146, 0.008363178931176662, 0.0013926184037700295),
        (0.5, 0.1666666716337204, 0.041665785014629364, 0.008333235047757626, 0.0013982560485601425, 0.00019945290114264935),
        (0.6666666865348816, 0.4000012278556824, 0.28550779819488525, 0.23331613838672638),
        (-0.333333283662796, 0.1333276778459549, -0.05385059490799904, 0.020995695143938065, -0.006094554904848337),
        (0.1666666716337204, 0.008333339355885983, 0.00019838094885926694, 2.8063311674486613e-06),
        (0.6931471824645996, -1.904654299957768e-09),
    ),
    64: Format(
        52,
        1023,
        1.5 * 2**52,
        710.0,
        -746.0,
        (float.fromhex("0x1.62e42fefa3800p-1"), float.fromhex("0x1.ef35793c76730p-45")),
        (
            0.5,
            0.1666666666666667,
            0.04166666666666667,
            0.008333333333326136,
            0.0013888888888883748,
            0.00019841269874820627,
            2.4801587325547743e-05,
            2.7557255400206422e-06,
            2.75572736431103e-07,
            2.5105217004720745e-08,
            2.0914686968086876e-09,
        ),
        (
            0.5,
            0.16666666666666666,
            0.041666666666666664,
            0.008333333333333401,
            0.001388888888888893,
            0.00019841269841053426,
            2.4801587301452085e-05,
            2.7557319519553605e-06,
            2.755731940865969e-07,
            2.5051912181924982e-08,
            2.0876634393986503e-09,
            1.6121541090196928e-10,
            1.1509798368964402e-11,
        ),
        (
            0.6666666666666666,
            0.40000000000000885,
            0.28571428570799784,
            0.22222222392581045,
            0.18181795547521137,
            0.15386244737621665,
            0.13268638369266825,
            0.13088034850927555,
        ),
        (
            -0.3333333333333333,
            0.1333333333333332,
            -0.05396825396823572,
            0.0218694885351239,
            -0.008863235499557543,
            0.0035921275038310256,
            -0.0014558283631233406,
            0.0005899815811274601,
            -0.00023888844776970479,
            9.603829184742069e-05,
            -3.707610183975954e-05,
            1.2204868570057292e-05,
            -2.4365865605863497e-06,
        ),
        (
            0.16666666666666666,
            0.008333333333333299,
            0.00019841269841324471,
            2.7557319191250885e-06,
            2.50521177239532e-08,
            1.6057676882739475e-10,
            7.746278224810715e-13,
        ),
        (0.6931471805599453, 2.3190468138462996e-17),
    ),
}


def polynomial(m: Arithmetic, x: Value, coefficients: Sequence[float]) -> Value:
    """Constant first; by Estrin's scheme, which has shorter dependency chains than Horner's."""
    terms = [m.real(c) for c in coefficients]
    while len(terms) > 1:
        pairs = [m.fma(b, x, a) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms, x = pairs + terms[2 * len(pairs) :], x * x
    return terms[0]


def exp(m: Arithmetic, x: Value) -> Value:
    """e^x = 2^n e^r with n the integer nearest to x / ln 2."""
    return _scaled(m, *_exp(m, _within_range(m, x)))


def exp_of_sum(m: Arithmetic, x: Value, rest: Value) -> Value:
    """e^(x + rest) for a rest that is small compared with 1."""
    t, k = _exp_less_1(m, _within_range(m, x))
    return _scaled(m, (t + m.fma(t, rest, rest)) + 1.0, k)


def exp_times(m: Arithmetic, x: Value, factor: Value) -> Value:
    """e^x times a factor of at most 1."""
    t, k = _exp_less_1(m, _within_range(m, x))
    return _scaled(m, m.fma(t, factor, factor), k)


def _within_range(m: Arithmetic, x: Value) -> Value:
    """x, clamped to the range in which the exponential neither overflows nor is zero."""
    f = _FORMATS[m.bits]
    x = m.select(x > f.highest, m.real(f.highest), x)
    return m.select(x < f.lowest, m.real(f.lowest), x)


_MAGIC_BITS = 0x4B400000  # those of the magic number, in 32 bits


def _scaled(m: Arithmetic, e: Value, k: Value) -> Value:
    """e 2^k, where ``magic`` was added to k. In two factors, unless one instruction does it: 2^k may overflow or underflow."""
    if m.scales:
        return m.scaled(e, k - _MAGIC_BITS)
    half = k >> 1  # shifts remove the magic number from k
    return e * _power_of_2(m, half) * _power_of_2(m, k - half)


def _exp(m: Arithmetic, x: Value) -> tuple[Value, Value]:
    """e^r and n, for ``_scaled``. |x| must be in the range in which the exponential does not overflow."""
    r, _, n = _reduced(m, x)
    return m.fma(r * r, polynomial(m, r, _FORMATS[m.bits].exp), r) + 1.0, n


def _exp_less_1(m: Arithmetic, x: Value) -> tuple[Value, Value]:
    """e^r - 1, accurate to another quarter of a unit in the last place, and n."""
    r, rest, n = _reduced(m, x)
    return _exp_near(m, r, rest), n


def _reduced(m: Arithmetic, x: Value) -> tuple[Value, Value, Value]:
    """r = x - n ln 2, its rounding error, and the integer n with ``magic`` added."""
    f = _FORMATS[m.bits]
    shifted = m.fma(x, m.real(1.4426950408889634), m.real(f.magic))
    n = shifted - f.magic
    exact = m.fma(n, m.real(-f.ln2[0]), x)
    r = m.fma(n, m.real(-f.ln2[1]), exact)
    return r, m.fma(n, m.real(-f.ln2[1]), exact - r), m.to_bits(shifted)


def _exp_near(m: Arithmetic, r: Value, rest: Value) -> Value:
    """e^(r + rest) - 1 for |r| <= ln(2)/2."""
    return m.fma(r * r, polynomial(m, r, _FORMATS[m.bits].exp), rest) + r


def normal_exp(m: Arithmetic, x: Value) -> Value:
    """e^x where that is a normal number."""
    e, k = _exp(m, x)
    return m.from_bits(m.to_bits(e) + (k << _FORMATS[m.bits].mantissa))


def _power_of_2(m: Arithmetic, n: Value) -> Value:
    f = _FORMATS[m.bits]
    return m.from_bits((n + f.bias) << f.mantissa)


def exp2(m: Arithmetic, x: Value) -> Value:
    """2^x = 2^n e^((x - n) ln 2)."""
    f = _FORMATS[m.bits]
    highest, lowest = float(f.bias + 2), float(-f.bias - f.mantissa - 2)
    x = m.select(x > highest, m.real(highest), x)
    x = m.select(x < lowest, m.real(lowest), x)
    shifted = x + f.magic
    r = x - (shifted - f.magic)
    y = r * f.log2[0]
    rest = m.fma(r, m.real(f.log2[0]), -y) + r * f.log2[1]
    return _scaled(m, _exp_near(m, y, rest) + 1.0, m.to_bits(shifted))


def cosh(m: Arithmetic, x: Value) -> Value:
    """h + 1/(4 h) with h = e^|x| / 2, which does not overflow before the result does."""
    half, quarter = _half_exp(m, x)
    return half + quarter


def sinh(m: Arithmetic, x: Value) -> Value:
    """Near zero a polynomial, else as the hyperbolic cosine."""
    z = x * x
    near = m.fma(x * z, polynomial(m, z, _FORMATS[m.bits].sinh), x)
    half, quarter = _half_exp(m, x)
    value = m.select(m.absolute(x) < 1.0, near, m.copysign(half - quarter, x))
    return m.select(x == 0.0, x, value)


def _half_exp(m: Arithmetic, x: Value) -> tuple[Value, Value]:
    """e^|x| / 2 and e^-|x| / 2."""
    f = _FORMATS[m.bits]
    a = m.absolute(x)
    a = m.select(a > f.highest + 1.0, m.real(f.highest + 1.0), a)
    e, k = _exp(m, a)
    half = _scaled(m, e, k - 1)
    return half, 0.25 / half


def expm1(m: Arithmetic, x: Value) -> Value:
    """e^x - 1; a separate polynomial near zero."""
    near = m.fma(x * x, polynomial(m, x, _FORMATS[m.bits].expm1), x)
    small = m.absolute(x) < 0.5
    t, k = _exp_less_1(m, _within_range(m, x))
    value = m.select(small, near, _scaled(m, t + 1.0, k) - 1.0)
    return m.select(x == 0.0, x, value)  # -0


def _log(m: Arithmetic, u: Value) -> Value:
    """log(u) of a normal u > 0, as log(2^k) + log(1 + t)."""
    f = _FORMATS[m.bits]
    n, t, half, tail = _log_parts(m, u)
    return m.fma(n, m.real(f.ln2[0]), t - (half - m.fma(n, m.real(f.ln2[1]), tail)))


def _log_parts(m: Arithmetic, u: Value) -> tuple[Value, Value, Value, Value]:
    """k, t, t^2 / 2 and the remainder of log(1 + t) = t - (t^2 / 2 - rest): 2 atanh(t / (2 + t)), where 1 + t = u / 2^k is in
    [sqrt(1/2), sqrt(2)).
    """
    f = _FORMATS[m.bits]
    least = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}[m.bits]  # sqrt(1/2)
    bits = m.to_bits(u)
    k = (bits - least) >> f.mantissa
    t = m.from_bits(bits - (k << f.mantissa)) - 1.0
    s = t / (t + 2.0)
    z = s * s
    half = t * t * 0.5
    tail = s * m.fma(z, polynomial(m, z, f.log), half)
    return m.to_real(k), t, half, tail


def log(m: Arithmetic, x: Value) -> Value:
    normal, subnormal, digits = normalised(m, x)
    value = _log(m, normal)
    value = m.select(subnormal, value - digits * 0.6931471805599453, value)
    return _log_specials(m, x, value)


def normalised(m: Arithmetic, x: Value) -> tuple[Value, Value, int]:
    """x, or x 2^d if x is subnormal; whether it is; and d."""
    f = _FORMATS[m.bits]
    subnormal = x < 2.0 ** (1 - f.bias)
    return m.select(subnormal, x * 2.0 ** (f.mantissa + 1), x), subnormal, f.mantissa + 1


def log2(m: Arithmetic, x: Value) -> Value:
    return _log_of_base(m, x, 1.0, 1 / 0.6931471805599453)


def log10(m: Arithmetic, x: Value) -> Value:
    return _log_of_base(m, x, 0.3010299956639812, 0.4342944819032518)


def _log_of_base(m: Arithmetic, x: Value, of_2: float, of_e: float) -> Value:
    """k log(2) + log(1 + t) in another base, given the logarithms of 2 and e in it."""
    normal, subnormal, digits = normalised(m, x)
    k, t, half, tail = _log_parts(m, normal)
    k = m.select(subnormal, k - float(digits), k)
    near = t - (half - tail)
    rest = (t - near) - (half - tail)  # the rounding error
    value = m.fma(k, m.real(of_2), m.fma(near, m.real(of_e), rest * of_e))
    return _log_specials(m, x, value)


def _log_specials(m: Arithmetic, x: Value, value: Value) -> Value:
    """Infinity and NaN are unchanged; the logarithm of zero is -inf, that of negative numbers NaN."""
    value = m.select(x == 0.0, m.real(-float("inf")), value)
    value = m.select(x < 0.0, m.real(float("nan")), value)
    return m.select(x < float("inf"), value, x)


def log1p(m: Arithmetic, x: Value) -> Value:
    """log(u) for u = 1 + x as rounded, plus the rounding error divided by u."""
    u = x + 1.0
    large = x > 2.0 ** (_FORMATS[m.bits].mantissa + 1)
    rest = m.select(large, m.real(0.0), m.select(x < 1.0, x - (u - 1.0), 1.0 - (u - x)))
    value = _log_specials(m, u, _log(m, u) + rest / u)
    return m.select(m.absolute(x) < 2.0 ** -(_FORMATS[m.bits].mantissa + 2), x, value)


def sigmoid(m: Arithmetic, x: Value) -> Value:
    """1 / (1 + e^-x), from e^-|x|, which does not overflow."""
    e = exp(m, -m.absolute(x))
    numerator, d = m.select(x < 0.0, e, m.real(1.0)), e + 1.0
    rest = e - (d - 1.0)  # the rounding error of d
    r = 1.0 / d
    q = numerator * r
    return m.fma(m.fma(-q, rest, m.fma(-q, d, numerator)), r, q)  # one Newton step


def tanh(m: Arithmetic, x: Value) -> Value:
    """Near zero a polynomial, else 1 - 2 / (e^(2|x|) + 1)."""
    a = m.absolute(x)
    z = a * a
    near = m.fma(a * z, polynomial(m, z, _FORMATS[m.bits].tanh), a)
    c = m.select(a < 20.0, a, m.real(20.0))
    far = 1.0 - 2.0 / (normal_exp(m, c + c) + 1.0)
    return m.copysign(m.select(a >= 0.625, far, near), x)  # near, for NaN


FUNCTIONS: dict[str, Callable[[Arithmetic, Value], Value]] = {
    f.__name__: f for f in (exp, exp2, expm1, log, log1p, log2, log10, sigmoid, tanh, sinh, cosh)
}
