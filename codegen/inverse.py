"""Inverses: of the error function and of the hyperbolic functions; see ``math``."""

from __future__ import annotations

from collections.abc import Callable

from .math import Arithmetic, Value, log, log1p
from .special import times_polynomial

# erfinv(x) / x on [0, 6.25] of w = -log(1 - x^2), in w / 3.125 - 1.
_ERFINV = (
    1.6536545626831027,
    0.7504943200799635,
    -0.0589225671037876,
    -0.022604447453444733,
    0.0178083618187569,
    -0.004137314377547895,
    -0.0012716922769885114,
    0.0012324855702994214,
    -0.00026439358646646055,
    -0.0001168888508125076,
    9.336692787624058e-05,
    -1.5027665773117194e-05,
    -1.1255653983969421e-05,
    7.12993974314695e-06,
    -6.87655180725494e-07,
    -1.0591188098187532e-06,
    5.456420572209782e-07,
    -1.0412692841159635e-08,
    -1.0514990713371436e-07,
    3.931511157646558e-08,
    9.07207594789291e-09,
    -8.627191009014394e-09,
    -8.577966939639941e-11,
    7.801712199036253e-10,
)
# The same on [2.5, 6.1] of s = sqrt(w), in (s - 4.3) / 1.8.
_ERFINV_TAIL = (
    4.142724044720679,
    1.818081174723638,
    0.0020239307699227186,
    -0.003306839420057498,
    0.0020664928146106815,
    -0.0011020499787512117,
    0.0006389407112224472,
    -0.0004984969490080951,
    0.0004980556474514697,
    -0.0005026859438967274,
    0.00043663534089624764,
    -0.0002927881288531173,
    0.00012010450874833281,
    1.6347155163827307e-05,
    -7.874158008239471e-05,
    7.377180411370165e-05,
    -3.713172551144287e-05,
    3.745955622280759e-06,
    1.1447926847131117e-05,
    -1.1484681192879563e-05,
    5.0535079440152474e-06,
    5.548906511998393e-07,
    -1.7371216640878207e-06,
    3.181214562729474e-07,
    1.4363307117092063e-07,
    3.22382525825124e-07,
    -1.99808685078718e-07,
    -1.4336766017119113e-07,
    9.981023764946129e-08,
    1.4999355685447028e-08,
    -1.3781789120638015e-08,
)
_LN_2 = 0.6931471805599453


def erfinv(m: Arithmetic, x: Value) -> Value:
    """x times a polynomial in w = -log(1 - x^2), or in its root where w is large, after Giles (Approximating the erfinv
    function, GPU Computing Gems, 2011). In 32 bits it is computed in 64.
    """
    if m.bits == 32:
        w = m.wide
        return m.narrowed(erfinv(w, w.widened(x)))
    a = m.absolute(x)
    w = -log(m, (1.0 - a) * (a + 1.0))
    zero = m.real(0.0)
    near = times_polynomial(m, x, zero, m.fma(m.select(w < 6.25, w, zero), m.real(0.32), m.real(-1.0)), _ERFINV)

    def tail() -> tuple[Value]:
        s = m.sqrt(m.select(w > 6.25, m.select(w < 38.0, w, m.real(38.0)), m.real(6.25)))
        far = times_polynomial(m, x, zero, (s - 4.3) * (1 / 1.8), _ERFINV_TAIL)
        return (m.select(w > 6.25, far, near),)

    (value,) = m.rarely(w > 6.25, (near,), tail)
    value = m.select(a == 1.0, m.copysign(m.real(float("inf")), x), value)
    value = m.select(x == 0.0, x, value)
    return m.select(a <= 1.0, value, m.real(float("nan")))


def asinh(m: Arithmetic, x: Value) -> Value:
    """log(a + sqrt(a^2 + 1)) of a = |x|, with the part that is small for small a apart."""
    a = m.absolute(x)
    large = a > _LARGE
    b = m.select(large, m.real(1.0), a)
    square = b * b
    value = log1p(m, b + square / (m.sqrt(square + 1.0) + 1.0))
    return m.copysign(m.select(large, log(m, a) + _LN_2, value), x)


def acosh(m: Arithmetic, x: Value) -> Value:
    """log(x + sqrt(x^2 - 1)), in x - 1; the rounding errors of the root and the sum are added."""
    large = x > _LARGE
    t = m.select(large, m.real(1.0), x - 1.0)
    square = m.fma(t, t, t + t)
    root = m.sqrt(square)
    z = t + root
    lost = (t - (z - root)) + m.fma(-root, root, square) * 0.5 / m.select(root > 0.0, root, m.real(1.0))
    value = m.select(large, log(m, x) + _LN_2, log1p(m, z) + lost / (z + 1.0))
    return m.select(x >= 1.0, value, m.real(float("nan")))


def atanh(m: Arithmetic, x: Value) -> Value:
    """log((1 + a) / (1 - a)) / 2 of a = |x|."""
    a = m.absolute(x)
    twice = a + a
    small = a < 0.5
    value = log1p(m, m.select(small, m.fma(twice, a / (1.0 - a), twice), twice / (1.0 - a)))
    return m.copysign(value * 0.5, x)


_LARGE = 2.0**28  # from here on the square root rounds to x
FUNCTIONS: dict[str, Callable[[Arithmetic, Value], Value]] = {f.__name__: f for f in (erfinv, asinh, acosh, atanh)}
BRANCHING = (erfinv,)  # by ``rarely``
