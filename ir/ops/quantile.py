"""Quantiles of distributions. A distribution's random numbers are its quantiles at uniform numbers. SciPy computes them, in
compiled programs too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import elementwise, floating
from .elementwise import mul


def _wide(*xs: Any) -> list[np.ndarray]:
    return [np.asarray(x, np.float64) for x in xs]


def _smallest(k: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``k`` or ``k - 1``: the smallest at which the distribution function reaches the probability."""
    return np.where(below, np.maximum(k - 1, 0), k)


def _poisson(u: Any, rate: Any) -> np.ndarray:
    from scipy import special

    p, m = _wide(u, rate)
    if (m < 0).any():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    k = np.ceil(special.pdtrik(p, np.where(m > 0, m, 1)))
    k = _smallest(k, special.pdtr(np.maximum(k - 1, 0), np.where(m > 0, m, 1)) >= p)
    return np.asarray(np.where(np.isnan(m), np.nan, np.where(m > 0, k, 0.0)).astype(np.result_type(rate)))


def _binomial(u: Any, count: Any, probability: Any) -> np.ndarray:
    from scipy import special

    v, n, p = _wide(u, count, probability)
    inside = (p > 0) & (p < 1) & (n > 0)
    m, q = np.where(inside, n, 1), np.where(inside, p, 0.5)
    k = np.clip(np.ceil(special.bdtrik(v, m, q)), 0, m)
    k = _smallest(k, special.bdtr(np.maximum(k - 1, 0), m.astype(np.int64), q) >= v)
    ends = np.where(p >= 1, n, np.where(np.isnan(p) | np.isnan(n), np.nan, 0.0))
    return np.asarray(np.where(inside, k, ends).astype(np.result_type(probability)))


def _gamma(u: Any, a: Any) -> np.ndarray:
    from scipy import special

    p, shape = _wide(u, a)
    return np.asarray(special.gammaincinv(shape, p).astype(np.result_type(a)))


def _gamma_slope(x: Any, a: Any) -> np.ndarray:
    """The derivative of a gamma distribution's quantile x with respect to its shape, at constant probability: of log x by log
    a, by central differences of fourth order, from the smaller tail.
    """
    from scipy import special

    y, shape = _wide(x, a)
    lower, upper = special.gammainc(shape, y), special.gammaincc(shape, y)
    left = lower < 0.5

    def log_quantile(step: float) -> np.ndarray:
        moved = shape * np.exp(step)
        return np.log(np.where(left, special.gammaincinv(moved, lower), special.gammainccinv(moved, upper)))

    h = 2e-3
    slope = (8 * (log_quantile(h) - log_quantile(-h)) - (log_quantile(2 * h) - log_quantile(-2 * h))) / (12 * h)
    return np.asarray(np.where(y > 0, np.where(np.isfinite(slope), slope, 0) * y / shape, 0).astype(np.result_type(a)))


# Operands are the probability and the parameters, all of one shape; the probability has its own dtype.
def _of_last(*types: Any) -> Any:
    return floating(*types[1:])


poisson_quantile = elementwise("poisson_quantile", _poisson, None, "u rate", infer=_of_last)
binomial_quantile = elementwise("binomial_quantile", _binomial, None, "u count p", infer=_of_last)
gamma_quantile_slope = elementwise("gamma_quantile_slope", _gamma_slope, None, "x a", infer=floating)
# The derivative by the shape is that of a random number at constant probability (Figurnov, Mohamed, Mnih 2018).
gamma_quantile = elementwise(
    "gamma_quantile",
    _gamma,
    None,
    "u a",
    infer=_of_last,
    vjp=(None, lambda g, y, a: mul(g, gamma_quantile_slope(y, a))),
    torch_name="StandardGamma",
)

__all__ = ["binomial_quantile", "gamma_quantile", "gamma_quantile_slope", "poisson_quantile"]
