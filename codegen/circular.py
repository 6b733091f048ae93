"""The circular functions and their inverses, as straight-line arithmetic; see ``math``.

In 32 bits the sine, cosine and tangent are computed in 64: the argument less its multiple of pi/2 is then exact enough
however large it is, with a table of the powers of two (Payne and Hanek's idea, SIGNUM Newsletter 18, 1983). In 64 bits
they are the platform's.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from .math import Arithmetic, Value, polynomial

_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)  # in 64 bits, and what is missing
_HALF_PI_32 = (1.5707963705062866, -4.3711390001862426e-08)
# (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2, on |r| <= pi/4, for 32 bits.
_SIN = (-0.16666666663853044, 0.008333331873837089, -0.00019840086263755443, 2.7249864655139585e-06)
_COS = (0.04166666465830042, -0.0013888302802309161, 2.454789161981386e-05)
# (atan(q) - q) / q^3 in q^2, on |q| <= sqrt(2) - 1.
_ATAN = {
    32: (-0.3333333134651184, 0.19999536871910095, -0.14263838529586792, 0.10742467641830444, -0.06447742879390717),
    64: (
        -0.3333333333333333,
        0.1999999999999999,
        -0.14285714285711462,
        0.11111111110748206,
        -0.09090909066620814,
        0.07692306722348839,
        -0.06666641717454794,
        0.05881920850292149,
        -0.05257998927708906,
        0.0471912307867654,
        -0.041033382962583305,
        0.030610287402309498,
        -0.013892533041866743,
    ),
}
# (asin(s) - s) / s^3 in s^2, on |s| <= 1/2.
_ASIN = {
    32: (
        0.1666666567325592,
        0.07500095665454865,
        0.04459898918867111,
        0.031106000766158104,
        0.017121586948633194,
        0.03374028205871582,
    ),
    64: (
        0.16666666666666669,
        0.07499999999998389,
        0.04464285714644605,
        0.0303819441312372,
        0.022372173243832207,
        0.017352385393480947,
        0.013971325328728771,
        0.011478047472510145,
        0.010330370295404406,
        0.005424230839804001,
        0.017493569476248205,
        -0.014999855783811349,
        0.02886097438799853,
    ),
}
# 2/pi to 320 bits: enough for 2^128 and what lies below the point.
_TWO_OVER_PI = Fraction(0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163ABDEBBC561B7246E3A424DD2E0, 1 << 320)
_FIRST = 28  # the exponent from which arguments are large
_LAST = 127


def _powers() -> list[list[float]]:
    """For each exponent e: 2^(e - 23) 2/pi modulo 4 in two parts, of which the first times 24 bits is exact in 64.

    What the second lacks is 2^-56 of a quarter turn at most; no number of 32 bits from 2^28 on is nearer to a multiple of one
    than 2^-30.
    """
    parts: list[list[float]] = [[], []]
    for e in range(_FIRST, _LAST + 1):
        whole = _TWO_OVER_PI * Fraction(2) ** (e - 23) % 4
        first = Fraction(int(whole * 2**27), 2**27)
        parts[0].append(float(first))
        parts[1].append(float(whole - first))
    return parts


_TABLE = _powers()


def _reduced(m: Arithmetic, x: Value) -> tuple[Value, Value, Value]:
    """In 64 bits: r with x = n pi/2 + r and |r| <= pi/4, whether n is odd, and whether n is 2 or 3 modulo 4."""
    magic = m.real(1.5 * 2**52)
    n = m.fma(x, m.real(0.6366197723675814), magic)
    near = n - 1.5 * 2**52
    small = m.fma(near, m.real(-_HALF_PI[1]), m.fma(near, m.real(-_HALF_PI[0]), x))
    # A large x is an integer of 24 bits times a power of two.
    bits = m.to_bits(m.absolute(x))
    exponent = (bits >> 52) - 1023
    large = m.absolute(x) >= 2.0**_FIRST
    index = m.select(large, exponent - _FIRST, exponent - exponent)
    index = m.select(index > _LAST - _FIRST, index - index, index)  # infinity and NaN
    digits = m.from_bits((bits & ((1 << 52) - 1)) | ((1023 + 23) << 52))
    turns = digits * m.table("turns_0", _TABLE[0], index)
    k = turns + 1.5 * 2**52
    fraction = turns - (k - 1.5 * 2**52)
    fraction = m.fma(digits, m.table("turns_1", _TABLE[1], index), fraction)
    far = m.copysign(m.real(1.0), x)
    r = m.select(large, fraction * _HALF_PI[0] * far, small)
    count = m.to_bits(m.select(large, m.select(x < 0.0, magic + magic - k, k), n))
    return r, (count & 1) == 1, (count & 2) == 2


def _sine_and_cosine(m: Arithmetic, r: Value) -> tuple[Value, Value]:
    z = r * r
    return m.fma(r * z, polynomial(m, z, _SIN), r), m.fma(z * z, polynomial(m, z, _COS), m.fma(z, m.real(-0.5), m.real(1.0)))


def sin(m: Arithmetic, x: Value) -> Value:
    if m.bits == 64:
        return m.library("sin", x)
    w = m.wide
    r, odd, upper = _reduced(w, w.widened(x))
    s, c = _sine_and_cosine(w, r)
    value = w.select(odd, c, s)
    value = m.narrowed(w.select(upper, -value, value))
    return _finite(m, x, m.select(x == 0.0, x, value))


def cos(m: Arithmetic, x: Value) -> Value:
    if m.bits == 64:
        return m.library("cos", x)
    w = m.wide
    r, odd, upper = _reduced(w, w.widened(m.absolute(x)))
    s, c = _sine_and_cosine(w, r)
    value = w.select(odd, -s, c)
    return _finite(m, x, m.narrowed(w.select(upper, -value, value)))


def tan(m: Arithmetic, x: Value) -> Value:
    if m.bits == 64:
        return m.library("tan", x)
    w = m.wide
    r, odd, _ = _reduced(w, w.widened(x))
    s, c = _sine_and_cosine(w, r)
    value = m.narrowed(w.select(odd, -c, s) / w.select(odd, s, c))
    return _finite(m, x, m.select(x == 0.0, x, value))


def _finite(m: Arithmetic, x: Value, value: Value) -> Value:
    """``value``; NaN where x is infinite or NaN."""
    return m.select(m.absolute(x) < float("inf"), value, x - x)


def atan(m: Arithmetic, x: Value) -> Value:
    """pi/2 - atan(1/a) for a > 1 + sqrt(2), pi/4 + atan((a - 1) / (a + 1)) for a > sqrt(2) - 1."""
    a = m.absolute(x)
    high, low = _HALF_PI if m.bits == 64 else _HALF_PI_32
    far, middle = a > 2.414213562373095, a > 0.41421356237309503
    numerator = m.select(far, m.real(-1.0), m.select(middle, a - 1.0, a))
    denominator = m.select(far, a, m.select(middle, a + 1.0, m.real(1.0)))
    whole = m.select(far, m.real(high), m.select(middle, m.real(high / 2), m.real(0.0)))
    rest = m.select(far, m.real(low), m.select(middle, m.real(low / 2), m.real(0.0)))
    q = numerator / denominator
    z = q * q
    value = whole + (q + m.fma(q * z, polynomial(m, z, _ATAN[m.bits]), rest))
    return m.copysign(m.select(a == a, value, a), x)


def atan2(m: Arithmetic, y: Value, x: Value) -> Value:
    """atan of the lesser over the greater, as an angle of the triangle, and from there that of the quadrant."""
    high, low = _HALF_PI if m.bits == 64 else _HALF_PI_32
    a, b, infinity = m.absolute(y), m.absolute(x), float("inf")
    steep = a > b
    less, more = m.select(steep, b, a), m.select(steep, a, b)
    less = m.select(more == infinity, m.select(less == infinity, m.real(1.0), m.real(0.0)), less)
    more = m.select(more == infinity, m.real(1.0), m.select(more == 0.0, m.real(1.0), more))
    scale = m.select(more > 1.0, m.real(0.25), m.real(1.0))  # their sum may overflow
    less, more = less * scale, more * scale
    middle = less > more * 0.41421356237309503
    q = m.select(middle, less - more, less) / m.select(middle, less + more, more)
    z = q * q
    whole, rest = m.select(middle, m.real(high / 2), m.real(0.0)), m.select(middle, m.real(low / 2), m.real(0.0))
    angle = whole + (q + m.fma(q * z, polynomial(m, z, _ATAN[m.bits]), rest))
    left = m.to_bits(x) < 0  # also -0
    quarters = m.select(steep, m.real(1.0), m.select(left, m.real(2.0), m.real(0.0)))
    angle = quarters * high + (m.select(steep == left, angle, -angle) + quarters * low)
    return m.select(x == x, m.select(a == a, m.copysign(angle, y), y), x)


def _asin_near(m: Arithmetic, s: Value, z: Value) -> Value:
    """asin(s) for |s| <= 1/2, z = s^2."""
    return m.fma(s * z, polynomial(m, z, _ASIN[m.bits]), s)


def asin(m: Arithmetic, x: Value) -> Value:
    """Beyond 1/2 as pi/2 - 2 asin(sqrt((1 - x) / 2))."""
    a = m.absolute(x)
    high, low = _HALF_PI if m.bits == 64 else _HALF_PI_32
    z = (1.0 - a) * 0.5
    s = m.sqrt(z)
    missing = m.select(z > 0.0, m.fma(-s, s, z) / (s + s), z)  # from the root
    rest = m.fma(s * z, polynomial(m, z, _ASIN[m.bits]), missing) * 2.0 - low
    far = high / 2 - (rest - (high / 2 - s * 2.0))
    value = m.copysign(m.select(a < 0.5, _asin_near(m, a, a * a), far), x)
    return m.select(a <= 1.0, value, m.real(float("nan")))


def acos(m: Arithmetic, x: Value) -> Value:
    a = m.absolute(x)
    high, low = _HALF_PI if m.bits == 64 else _HALF_PI_32
    z = (1.0 - a) * 0.5
    far = _asin_near(m, m.sqrt(z), z) * 2.0
    far = m.select(x < 0.0, high * 2.0 - (far - low * 2.0), far)
    value = m.select(a < 0.5, high - (_asin_near(m, x, x * x) - low), far)
    return m.select(a <= 1.0, value, m.real(float("nan")))


FUNCTIONS: dict[str, Callable[[Arithmetic, Value], Value]] = {f.__name__: f for f in (sin, cos, tan, asin, acos, atan)}
BINARY: dict[str, Callable[[Arithmetic, Value, Value], Value]] = {"atan2": atan2}
