"""Windows of M values: symmetric if ``sym``, else one period, as spectral analysis requires."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..core.tensor import Tensor
from ..ir.types import DType
from ..ops import pointwise as F
from ..ops.contracts import complete
from ..ops.create import factory
from ..ops.windows import cosines, symmetric, triangle
from ..ops.windows import kaiser as kaiser_shape

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]


@factory
def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """exp(-|n - center| / tau); the center is the middle, and can be given only if not ``sym``."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def shape(n: Tensor, last: int) -> Tensor:
        middle = (M if not sym and M > 1 else M - 1) / 2 if center is None else center
        return F.exp(F.mul(F.abs(F.sub(n, middle)), -1 / tau))

    return symmetric("exponential", M, sym, dtype, requires_grad, shape)


@factory
def cosine(M: int, *, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """sin(pi (n + 0.5) / M)."""

    def shape(n: Tensor, last: int) -> Tensor:
        return F.sin(F.mul(F.add(n, 0.5), math.pi / (last + 1)))

    return symmetric("cosine", M, sym, dtype, requires_grad, shape)


@factory
def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """exp(-((n - middle) / std)^2 / 2)."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def shape(n: Tensor, last: int) -> Tensor:
        return F.exp(F.mul(F.square(F.mul(F.sub(n, last / 2), 1 / std)), -0.5))

    return symmetric("gaussian", M, sym, dtype, requires_grad, shape)


@factory
def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """I0(beta sqrt(1 - (2 n / (M - 1) - 1)^2)) / I0(beta) (Kaiser 1974)."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return symmetric("kaiser", M, sym, dtype, requires_grad, lambda n, last: kaiser_shape(n, last, beta))


@factory
def hamming(M: int, *, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """0.54 - 0.46 cos(2 pi n / (M - 1))."""
    return general_hamming(M, sym=sym, dtype=dtype, requires_grad=requires_grad)


@factory
def hann(M: int, *, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """0.5 - 0.5 cos(2 pi n / (M - 1))."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, requires_grad=requires_grad)


@factory
def blackman(M: int, *, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1))."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, requires_grad=requires_grad)


@factory
def bartlett(M: int, *, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A triangle: 1 - |2 n / (M - 1) - 1|."""
    return symmetric("bartlett", M, sym, dtype, requires_grad, triangle)


@factory
def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """a[0] - a[1] cos(2 pi n / (M - 1)) + a[2] cos(4 pi n / (M - 1)) - ..."""
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    given: Any = list(a)
    if not given:
        raise ValueError("Coefficients cannot be empty")
    return symmetric("general_cosine", M, sym, dtype, requires_grad, lambda n, last: cosines(n, last, given))


@factory
def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """alpha - (1 - alpha) cos(2 pi n / (M - 1))."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, requires_grad=requires_grad)


@factory
def nuttall(M: int, *, sym: bool = True, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Four cosine terms with low side lobes (Nuttall 1981)."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, requires_grad=requires_grad)


complete(globals(), "signal.windows.")
