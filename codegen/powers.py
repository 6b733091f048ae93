"""Powers and roots, as straight-line arithmetic; see ``math``."""

from __future__ import annotations

from collections.abc import Callable

from .math import Arithmetic, Value, exp, exp_of_sum, log, normalised, polynomial

_LN2 = (float.fromhex("0x1.62e42fefa3800p-1"), 5.497923018708371e-14, 1.94704509238075e-31)
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
# (2 atanh(s) - 2 s - 2/3 s^3) / s^5 in s^2, on |s| <= 3 - 2 sqrt(2).
_LOG_TAIL = (
    0.4,
    0.2857142857142937,
    0.22222222221652765,
    0.18181818336099848,
    0.1538459488700718,
    0.1333480879881234,
    0.11706126464563398,
    0.11724327060846747,
)
# The cube root on [1, 8], to 0.002.
_CBRT = (
    0.6084349186865862,
    0.48881233581505845,
    -0.11212010655657866,
    0.018251656689589422,
    -0.001596887337316374,
    5.655254894221102e-05,
)


def pow_(m: Arithmetic, x: Value, y: Value) -> Value:
    """e^(y log|x|), with the sign and the special cases of IEEE 754's pow. In 64 bits the logarithm has about ten digits more
    than the result; in 32 bits, the magnitude is computed in 64.
    """
    infinity = float("inf")
    if m.bits == 32:
        w = m.wide
        value = m.narrowed(exp(w, w.widened(y) * log(w, w.widened(m.absolute(x)))))
        one = m.absolute(x) == 1.0
    else:
        value, one = _power_64(m, m.absolute(x), y)
    value = m.select(one, m.real(1.0), value)  # also for infinite y
    rounded, half = m.rint(y), y * 0.5
    odd = (rounded == y) & (m.absolute(m.rint(half) - half) == 0.5)
    value = m.select(odd & (m.to_bits(x) < 0), -value, value)  # also for -0
    impossible = (x < 0.0) & (x > -infinity) & ((rounded < y) | (rounded > y))
    value = m.select(impossible, m.real(float("nan")), value)
    value = m.select(x == x, m.select(y == y, value, y), x)
    return m.select(y == 0.0, m.real(1.0), m.select(x == 1.0, m.real(1.0), value))


def _power_64(m: Arithmetic, a: Value, y: Value) -> tuple[Value, Value]:
    """a^y for a >= 0, and whether a is 1."""
    infinity = float("inf")
    high, low = long_log(m, a)
    high = m.select(a == 0.0, m.real(-infinity), m.select(a < infinity, high, a))
    product = y * high
    rest = m.fma(y, high, -product) + y * low
    rest = m.select(m.absolute(product) < 1000.0, rest, m.real(0.0))
    return exp_of_sum(m, product, rest), high == 0.0


def long_log(m: Arithmetic, a: Value) -> tuple[Value, Value]:
    """log(a) of a finite a > 0 and its rounding error: like ``math.log``, with products and sums that keep rounding errors."""
    normal, subnormal, digits = normalised(m, a)
    bits = m.to_bits(normal)
    k = (bits - 0x3FE6A09E667F3BCD) >> 52  # sqrt(1/2)
    t = m.from_bits(bits - (k << 52)) - 1.0
    n = m.to_real(k)
    n = m.select(subnormal, n - float(digits), n)
    d = t + 2.0
    s = t / d
    s_rest = (m.fma(-s, d, t) - s * (t - (d - 2.0))) / d
    z = s * s
    z_rest = m.fma(s, s, -z) + s * s_rest * 2.0
    cube = s * z
    cube_rest = m.fma(s, z, -cube) + (s * z_rest + s_rest * z)
    third = cube * _TWO_THIRDS[0]
    third_rest = m.fma(cube, m.real(_TWO_THIRDS[0]), -third) + (cube * _TWO_THIRDS[1] + cube_rest * _TWO_THIRDS[0])
    third_rest = m.fma(cube * z, polynomial(m, z, _LOG_TAIL), third_rest)
    whole, s = n * _LN2[0], s + s  # exact: the first part of log(2) is short
    u = whole + s
    u_rest = m.select(m.absolute(whole) > m.absolute(s), (whole - u) + s, (s - u) + whole)
    v = u + third
    v_rest = (u - v) + third
    low = (u_rest + v_rest) + (m.fma(n, m.real(_LN2[1]), s_rest * 2.0) + third_rest)
    high = v + low
    return high, (v - high) + low


def cbrt(m: Arithmetic, x: Value) -> Value:
    """For x = 8^q u: 2^q times the cube root of u, a polynomial improved by one step of Halley's and one of Newton's."""
    if m.bits == 32:
        w = m.wide
        return m.narrowed(cbrt(w, w.widened(x)))
    a = m.absolute(x)
    normal, subnormal, _ = normalised(m, a)  # times 2^53
    scaled = m.select(subnormal, normal * 2.0, normal)  # times 2^54, a cube
    bits = m.to_bits(scaled)
    magic = 1.5 * 2**52
    shifted = (m.to_real(bits >> 52) - 1023.0) * 0.3333333333333333 - 0.33 + magic  # the exponent over 3, rounded down
    q = m.to_bits(shifted) - m.to_bits(m.real(magic))
    u = m.from_bits(bits - ((q * 3) << 52))
    t = polynomial(m, u, _CBRT)
    cube = t * t * t
    t = t * ((cube + u + u) / (cube + cube + u))
    square = t * t
    square_rest = m.fma(t, t, -square)
    cube = square * t
    excess = (cube - u) + (m.fma(square, t, -cube) + square_rest * t)
    t = t - excess / (square * 3.0)
    q = m.select(subnormal, q - 18, q)
    value = m.copysign(m.from_bits(m.to_bits(t) + (q << 52)), x)
    return m.select(a < float("inf"), m.select(a == 0.0, x, value), x)


FUNCTIONS: dict[str, Callable[[Arithmetic, Value], Value]] = {"cbrt": cbrt}
BINARY: dict[str, Callable[[Arithmetic, Value, Value], Value]] = {"pow_": pow_}
