"""Orthogonal polynomials of any degree, by their three-term recurrences (Abramowitz and Stegun 1964, table 22.7).

NumPy computes them, in compiled programs too. The degree is an operand; for negative degrees the result is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import elementwise, floating
from ..types import TensorType

# For each family the polynomial of degree 1, and the next one from k >= 1, x and the last two.
_FAMILIES: dict[str, tuple[Callable[[Any], Any], Callable[..., Any]]] = {
    "chebyshev_t": (lambda x: x, lambda k, x, p, q: 2 * x * p - q),
    "chebyshev_u": (lambda x: 2 * x, lambda k, x, p, q: 2 * x * p - q),
    "chebyshev_v": (lambda x: 2 * x - 1, lambda k, x, p, q: 2 * x * p - q),
    "chebyshev_w": (lambda x: 2 * x + 1, lambda k, x, p, q: 2 * x * p - q),
    "hermite_h": (lambda x: 2 * x, lambda k, x, p, q: 2 * x * p - 2 * k * q),
    "hermite_he": (lambda x: x, lambda k, x, p, q: x * p - k * q),
    "laguerre_l": (lambda x: 1 - x, lambda k, x, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)),
    "legendre_p": (lambda x: x, lambda k, x, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)),
}
# Above these degrees Hermite's recurrences overflow or are meaningless.
_HIGHEST = {"float32": 128, "float64": 512}


def _by_angle(family: str, x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Chebyshev's polynomials inside (-1, 1), where the recurrence would take n steps."""
    angle = np.arccos(x)
    half = angle / 2
    if family == "chebyshev_t":
        return np.cos(n * angle)
    if family == "chebyshev_u":
        return np.sin((n + 1) * angle) / np.sin(angle)
    if family == "chebyshev_v":
        return np.cos((n + 0.5) * angle) / np.cos(half)
    return np.sin((n + 0.5) * angle) / np.sin(half)


def _polynomial(x: Any, n: Any, family: str) -> np.ndarray:
    dtype = np.result_type(x)
    x = np.asarray(x, np.float64)
    degrees = np.trunc(np.clip(np.nan_to_num(np.asarray(n, np.float64)), -1, 2**31))
    if family.startswith("shifted_"):
        x, family = 2 * x - 1, family.removeprefix("shifted_")
    out = np.where(degrees < 0, 0.0, 1.0)
    first, following = _FAMILIES[family]
    open_ = degrees > 0
    if family.startswith("chebyshev"):
        far = (degrees > 64) & (np.abs(x) < 1)
        out = np.where(far, _by_angle(family, np.where(far, x, 0.5), degrees), out)
        open_ = open_ & ~far
    elif family.startswith("hermite"):
        beyond = degrees > _HIGHEST.get(dtype.name, 128)
        out = np.where(beyond, np.nan, out)
        open_ = open_ & ~beyond
    steps = np.where(open_, degrees, 0)
    before, value = np.ones_like(x), first(x)
    out = np.where(steps == 1, value, out)
    for k in range(1, int(steps.max(initial=0))):
        value, before = following(k, x, value, before), value
        out = np.where(steps == k + 1, value, out)
    return np.asarray(out.astype(dtype))


def _infer(x: TensorType, n: TensorType, family: str) -> TensorType:
    if family.removeprefix("shifted_") not in _FAMILIES:
        raise ValueError(f"there is no family of polynomials {family!r}")
    return floating(x, n)


orthogonal_polynomial = elementwise("orthogonal_polynomial", _polynomial, None, "x n", infer=_infer)

__all__ = ["orthogonal_polynomial"]
