"""Functions of two numbers, other than powers and angles, as straight-line arithmetic; see ``math``."""

from __future__ import annotations

from collections.abc import Callable

from .math import Arithmetic, Value

_DIGITS = 50  # of quotients that one step finds: rounding such a quotient is off by less than one half
_MOST_DIGITS = {32: 277, 64: 2098}  # of a quotient of finite numbers


def fmod(m: Arithmetic, x: Value, y: Value) -> Value:
    """x - n y, with the sign of x, for the quotient n rounded toward zero: exact, because a fused multiplication and addition
    gives the remainder for a quotient of up to 53 digits. Longer quotients are found by steps, like a long division's.
    """
    if m.bits == 32:
        w = m.wide
        return m.narrowed(_fmod(w, w.widened(x), w.widened(y), _MOST_DIGITS[32]))
    return _fmod(m, x, y, _MOST_DIGITS[64])


def _fmod(m: Arithmetic, x: Value, y: Value, most_digits: int) -> Value:
    infinity = float("inf")
    a, b = m.absolute(x), m.absolute(y)

    def long() -> tuple[Value]:
        left = a
        for digits in range(_DIGITS * (most_digits // _DIGITS), 0, -_DIGITS):
            step = _shifted(b, digits)
            left = m.select(step <= left, _step(m, left, step), left)
        return (_step(m, left, b),)

    quotient = a / b
    (r,) = m.rarely(quotient >= 2.0**_DIGITS, (_nearest(m, a, b, quotient),), long)
    r = m.select((b == infinity) & (a < infinity), a, r)
    return m.copysign(r, x)


def _shifted(b: Value, digits: int) -> Value:
    """b 2^digits, where the power itself may be too large."""
    while digits > 1000:
        b, digits = b * 2.0**1000, digits - 1000
    return b * 2.0**digits


def _step(m: Arithmetic, a: Value, b: Value) -> Value:
    return _nearest(m, a, b, a / b)


def _nearest(m: Arithmetic, a: Value, b: Value, quotient: Value) -> Value:
    """The remainder of the nearest whole quotient, or the next, made non-negative."""
    r = m.fma(-m.rint(quotient), b, a)
    return m.select(r < 0.0, r + b, r)


def hypot(m: Arithmetic, x: Value, y: Value) -> Value:
    """sqrt(x^2 + y^2), without overflow: in 64 bits by the ratio of the smaller to the larger one."""
    infinity = float("inf")
    a, b = m.absolute(x), m.absolute(y)
    if m.bits == 32:
        w = m.wide
        c, d = w.widened(a), w.widened(b)
        value = m.narrowed(w.sqrt(w.fma(c, c, d * d)))
    else:
        large, small = m.select(a < b, b, a), m.select(a < b, a, b)
        ratio = small / m.select(large == 0.0, m.real(1.0), large)
        value = large * m.sqrt(m.fma(ratio, ratio, m.real(1.0)))
    return m.select((a == infinity) | (b == infinity), m.real(infinity), value)


def copysign(m: Arithmetic, x: Value, y: Value) -> Value:
    return m.copysign(x, y)


BINARY: dict[str, Callable[[Arithmetic, Value, Value], Value]] = {f.__name__: f for f in (fmod, hypot, copysign)}
BRANCHING = (fmod,)  # by ``rarely``
