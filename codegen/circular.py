"""The trigonometric functions and their inverses, as straight-line arithmetic; see ``math``.

Argument reduction modulo pi/2 is accurate for all magnitudes: up to some power of two by subtraction with exact products
(Cody and Waite, Software Manual for the Elementary Functions, 1980), beyond with a table of the powers of two modulo pi/2
(Payne and Hanek, SIGNUM Newsletter 18, 1983). In 32 bits the sine, cosine and tangent are computed in 64.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from .math import Arithmetic, Value, polynomial

_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)  # in 64 bits, and its rounding error
_REST_OF_HALF_PI = -1.4973849048591698e-33  # the rounding error of both
_HALF_PI_32 = (1.5707963705062866, -4.3711390001862426e-08)
# (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2, on |r| <= pi/4, for 32 bits.
_SIN = (-0.16666666663853044, 0.008333331873837089, -0.00019840086263755443, 2.7249864655139585e-06)
_COS = (0.04166666465830042, -0.0013888302802309161, 2.454789161981386e-05)
# The same for 64 bits, where |r| may be 1.02 times as large.
_SIN_64 = (
    -0.16666666666666663,
    0.008333333333330428,
    -0.00019841269835985584,
    2.7557315709635293e-06,
    -2.505105158684691e-08,
    1.5912461499839467e-10,
)
_COS_64 = (
    0.041666666666666664,
    -0.001388888888888707,
    2.4801587298282115e-05,
    -2.755731702592346e-07,
    2.0876096058995368e-09,
    -1.1379086634729478e-11,
)
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
_MAGIC = 1.5 * 2**52  # adding it rounds to an integer, found in the low bits
_FIRST, _LAST = 28, 127  # exponents of large 32-bit arguments
_FIRST_64, _LAST_64 = 40, 1023  # and of 64-bit ones
_DIGITS = 1300  # binary digits of 2/pi: enough for 2^1023 and the fraction


@functools.cache
def _two_over_pi() -> int:
    """2/pi in units of 2^-1300, by Machin's formula: pi/4 = 4 arctan(1/5) - arctan(1/239)."""
    one = 1 << (_DIGITS + 64)

    def arctan_of_inverse(n: int) -> int:
        total, power, k = 0, one // n, 1
        while power:
            total += power // k if k % 4 == 1 else -(power // k)
            power //= n * n
            k += 2
        return total

    quarter = 4 * arctan_of_inverse(5) - arctan_of_inverse(239)
    return (one * one) // (2 * quarter) >> 64


@functools.cache
def _powers(first: int, last: int, mantissa: int, widths: tuple[int, ...]) -> list[list[float]]:
    """For each exponent e: 2^(e - mantissa) 2/pi modulo 4, in parts of the given widths in bits."""
    parts: list[list[float]] = [[] for _ in widths]
    total = sum(widths)
    for e in range(first, last + 1):
        whole = (_two_over_pi() >> (_DIGITS - (e - mantissa) - (total - 2))) % (1 << total)
        below = total
        for part, width in zip(parts, widths, strict=True):
            below -= width
            part.append(math.ldexp(whole >> below, below - (total - 2)))
            whole %= 1 << below
    return parts


def _exponent(m: Arithmetic, x: Value, first: int, last: int) -> tuple[Value, Value]:
    """The index of |x| in a table of exponents (0 if it is smaller or not finite), and its significand as an integer."""
    bits = m.to_bits(m.absolute(x))
    exponent = (bits >> 52) - 1023
    index = m.select(exponent >= first, exponent - first, exponent - exponent)
    index = m.select(index > last - first, index - index, index)
    return index, (bits & ((1 << 52) - 1)) | (1 << 52)


def _reduced(m: Arithmetic, x: Value) -> tuple[Value, Value, Value]:
    """For 32-bit x, in 64 bits: r with x = n pi/2 + r and |r| <= pi/4, whether n is odd, and whether n is 2 or 3 modulo 4."""
    magic = m.real(_MAGIC)
    n = m.fma(x, m.real(0.6366197723675814), magic)
    near = n - _MAGIC
    small = m.fma(near, m.real(-_HALF_PI[1]), m.fma(near, m.real(-_HALF_PI[0]), x))

    def far() -> tuple[Value, Value]:
        # A 24-bit integer times a power of two; the product with the first part is exact. The error of the second part is at
        # most 2^-56 of a quarter turn; no 32-bit number from 2^28 on is nearer to a multiple of one than 2^-30.
        index, digits = _exponent(m, x, _FIRST, _LAST)
        first, second = _powers(_FIRST, _LAST, 23, (29, 53))
        integer = m.to_real(digits >> 29)
        turns = integer * m.table("turns_0", first, index)
        k = turns + _MAGIC
        fraction = m.fma(integer, m.table("turns_1", second, index), turns - (k - _MAGIC))
        r = fraction * _HALF_PI[0] * m.copysign(m.real(1.0), x)
        return r, m.select(x < 0.0, magic + magic - k, k)

    r, n = m.rarely(m.absolute(x) >= 2.0**_FIRST, (small, n), far)
    return r, *_quadrant(m, n)


def _quadrant(m: Arithmetic, n: Value) -> tuple[Value, Value]:
    """For an integer to which the magic number was added: whether it is odd, and whether it is 2 or 3 modulo 4."""
    count = m.to_bits(n)
    return (count & 1) == 1, (count & 2) == 2


def two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """a + b and its rounding error (Knuth, The Art of Computer Programming 2, 4.2.2)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _reduced_64(m: Arithmetic, x: Value) -> tuple[Value, Value, Value, Value]:
    """r and a small remainder, with x = n pi/2 + r + rest; and ``_quadrant`` of n."""
    n = m.fma(x, m.real(0.6366197723675814), m.real(_MAGIC))
    near = -(n - _MAGIC)
    high, low = m.real(_HALF_PI[0]), m.real(_HALF_PI[1])
    taken = near * low
    r, rest = two_sum(m.fma(near, high, x), taken)  # the first is exact: it has no digits below those of pi/2
    rest = rest + m.fma(near, m.real(_REST_OF_HALF_PI), m.fma(near, low, -taken))

    def far() -> tuple[Value, Value, Value]:
        # A 53-bit integer times a power of two. Products keep their rounding errors.
        index, digits = _exponent(m, x, _FIRST_64, _LAST_64)
        integer = m.to_real(digits)
        tables = _powers(_FIRST_64, _LAST_64, 52, (53, 53, 53, 53))
        parts = [m.table(f"turns_64_{i}", numbers, index) for i, numbers in enumerate(tables)]
        a, b, c = (integer * p for p in parts[:3])
        a_rest, b_rest, c_rest = (m.fma(integer, p, -y) for p, y in zip(parts, (a, b, c), strict=False))
        a = a - m.rint(a * 0.25) * 4.0
        s, s_rest = two_sum(a, a_rest)
        turns, turns_rest = two_sum(s, b)
        whole = m.rint(turns)
        (d, d_rest), (e, e_rest) = two_sum(s_rest, turns_rest), two_sum(b_rest, c)
        lower, lower_rest = two_sum(d, e)
        lower_rest = lower_rest + (d_rest + e_rest) + m.fma(integer, parts[3], c_rest)
        fraction, fraction_rest = two_sum(turns - whole, lower)
        angle = fraction * high
        angle_rest = m.fma(fraction, high, -angle) + m.fma(fraction, low, (fraction_rest + lower_rest) * high)
        sign = m.copysign(m.real(1.0), x)
        return angle * sign, angle_rest * sign, whole * sign + _MAGIC

    r, rest, n = m.rarely(m.absolute(x) >= 2.0**_FIRST_64, (r, rest, n), far)
    return *two_sum(r, rest), *_quadrant(m, n)


def _sine_and_cosine(m: Arithmetic, r: Value) -> tuple[Value, Value]:
    z = r * r
    return m.fma(r * z, polynomial(m, z, _SIN), r), m.fma(z * z, polynomial(m, z, _COS), m.fma(z, m.real(-0.5), m.real(1.0)))


def sine_and_cosine(m: Arithmetic, r: Value, rest: Value) -> tuple[Value, Value, Value, Value]:
    """Sine and cosine of r + rest, each with the rounding error of its last addition."""
    z = r * r
    sine, sine_rest = r, m.fma(r * z, polynomial(m, z, _SIN_64), rest)
    half = z * 0.5
    cosine = 1.0 - half
    cosine_rest = ((1.0 - cosine) - half) + m.fma(z * z, polynomial(m, z, _COS_64), -(r * rest))
    return sine, sine_rest, cosine, cosine_rest


def sin(m: Arithmetic, x: Value) -> Value:
    if m.bits == 64:
        r, rest, odd, upper = _reduced_64(m, x)
        s, s_rest, c, c_rest = sine_and_cosine(m, r, rest)
        value = m.select(odd, c, s) + m.select(odd, c_rest, s_rest)
        value = m.select(upper, -value, value)
    else:
        w = m.wide
        r, odd, upper = _reduced(w, w.widened(x))
        s, c = _sine_and_cosine(w, r)
        value = w.select(odd, c, s)
        value = m.narrowed(w.select(upper, -value, value))
    return _finite(m, x, m.select(x == 0.0, x, value))


def cos(m: Arithmetic, x: Value) -> Value:
    if m.bits == 64:
        r, rest, odd, upper = _reduced_64(m, m.absolute(x))
        s, s_rest, c, c_rest = sine_and_cosine(m, r, rest)
        value = m.select(odd, -s, c) + m.select(odd, -s_rest, c_rest)
        return _finite(m, x, m.select(upper, -value, value))
    w = m.wide
    r, odd, upper = _reduced(w, w.widened(m.absolute(x)))
    s, c = _sine_and_cosine(w, r)
    value = w.select(odd, -s, c)
    return _finite(m, x, m.narrowed(w.select(upper, -value, value)))


def tan(m: Arithmetic, x: Value) -> Value:
    if m.bits == 64:
        r, rest, odd, _ = _reduced_64(m, x)
        s, s_rest, c, c_rest = sine_and_cosine(m, r, rest)
        above, above_rest = m.select(odd, -c, s), m.select(odd, -c_rest, s_rest)
        below, below_rest = m.select(odd, s, c), m.select(odd, s_rest, c_rest)
        q = (above + above_rest) / (below + below_rest)
        error = (m.fma(-q, below, above) + above_rest) - q * below_rest
        value = q + error / below
    else:
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
    """atan of the smaller over the larger magnitude, then the angle of the quadrant."""
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
    """Beyond 1/2, pi/2 - 2 asin(sqrt((1 - x) / 2))."""
    a = m.absolute(x)
    high, low = _HALF_PI if m.bits == 64 else _HALF_PI_32
    z = (1.0 - a) * 0.5
    s = m.sqrt(z)
    missing = m.select(z > 0.0, m.fma(-s, s, z) / (s + s), z)  # of the root
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
BRANCHING = (sin, cos, tan)  # by ``rarely``
