"""Remainders, as straight-line arithmetic; see ``math``."""

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


BINARY: dict[str, Callable[[Arithmetic, Value, Value], Value]] = {"fmod": fmod}
BRANCHING = (fmod,)  # by ``rarely``
