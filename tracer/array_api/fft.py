"""Discrete Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import fft as F
from ..core.tensor import Tensor
from ..ir.types import DType


def _along_one(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    def f(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
        return function(x, n, axis, norm)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = function.__doc__
    return f


def _along_several(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    def f(x: Tensor, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
        return function(x, s, axes, norm)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = function.__doc__
    return f


fft, ifft = _along_one(F.fft, "fft"), _along_one(F.ifft, "ifft")
rfft, irfft = _along_one(F.rfft, "rfft"), _along_one(F.irfft, "irfft")
hfft, ihfft = _along_one(F.hfft, "hfft"), _along_one(F.ihfft, "ihfft")
fftn, ifftn = _along_several(F.fftn, "fftn"), _along_several(F.ifftn, "ifftn")
rfftn, irfftn = _along_several(F.rfftn, "rfftn"), _along_several(F.irfftn, "irfftn")


def fftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The frequencies of ``fft``."""
    return F.fftfreq(n, d, dtype=dtype, device=device)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The frequencies of ``rfft``."""
    return F.rfftfreq(n, d, dtype=dtype, device=device)


def fftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """Moves the zero frequency to the middle."""
    return F.fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """The inverse of ``fftshift``."""
    return F.ifftshift(x, axes)
