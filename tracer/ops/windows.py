"""Window functions of a given length: one period if ``periodic``, else symmetric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..core.context import context
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import DType
from . import pointwise as F
from .common import to_dtype
from .create import _leaf, factory
from .special import i0

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]


def window(
    name: str, length: int, periodic: bool, dtype: DType | None, requires_grad: bool, shape: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """The values of the elementwise ``shape(n, last)`` at n = 0, 1, ..., in float64; ``last`` is ``length`` if ``periodic``.

    Raises RuntimeError for a negative length or a dtype that is not floating.
    """
    kind = dtype or context.default_dtype
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    if not kind.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {kind}")
    last = length if periodic else length - 1
    if length <= 1:
        return _leaf(P.full(value=1, shape=(length,), dtype=kind.short), requires_grad)
    n = P.iota(shape=(length,), axis=0, dtype="f64")
    return _leaf(to_dtype(shape(n, last), kind), requires_grad)


def cosines(n: Tensor, last: int, a: Sequence[float]) -> Tensor:
    """a[0] - a[1] cos(2 pi n / last) + a[2] cos(4 pi n / last) - ..."""
    total = P.full(value=float(a[0]), shape=n._data.shape, dtype="f64")
    for k, c in enumerate(a[1:], 1):
        total = F.add(total, F.mul(F.cos(F.mul(n, 2 * math.pi * k / last)), -c if k % 2 else c))
    return total


def kaiser(n: Tensor, last: int, beta: float) -> Tensor:
    """I0(beta sqrt(1 - (2 n / last - 1)^2)) / I0(beta)."""
    from scipy.special import i0 as number

    x = F.sub(F.mul(n, 2 / last), 1)
    return F.div(i0(F.mul(F.sqrt(F.clamp(F.sub(1, F.square(x)), min=0)), beta)), float(number(beta)))


def triangle(n: Tensor, last: int) -> Tensor:
    """1 - |2 n / last - 1|."""
    return F.sub(1, F.abs(F.sub(F.mul(n, 2 / last), 1)))


@factory
def hann_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """0.5 - 0.5 cos(2 pi n / N)."""
    return window("hann_window", window_length, periodic, dtype, requires_grad, lambda n, last: cosines(n, last, (0.5, 0.5)))


@factory
def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """alpha - beta cos(2 pi n / N)."""
    return window(
        "hamming_window", window_length, periodic, dtype, requires_grad, lambda n, last: cosines(n, last, (alpha, beta))
    )


@factory
def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)."""
    return window(
        "blackman_window", window_length, periodic, dtype, requires_grad, lambda n, last: cosines(n, last, (0.42, 0.5, 0.08))
    )


@factory
def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """A triangle: 1 - |2 n / N - 1|."""
    return window("bartlett_window", window_length, periodic, dtype, requires_grad, triangle)


@factory
def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """I0(beta sqrt(1 - (2 n / N - 1)^2)) / I0(beta) (Kaiser 1974)."""
    return window("kaiser_window", window_length, periodic, dtype, requires_grad, lambda n, last: kaiser(n, last, beta))


def symmetric(name: str, M: int, sym: bool, dtype: DType | None, requires_grad: bool, shape: Any) -> Tensor:
    """``window`` with the arguments of ``signal.windows``. Raises ValueError for invalid arguments."""
    kind = dtype or context.default_dtype
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if kind.name not in ("float32", "float64"):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {kind}")
    return window(name, M, not sym, kind, requires_grad, shape)
