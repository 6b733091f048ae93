"""Discrete Fourier transforms. ``norm``: backward (the inverse divides by n), ortho (both divide by sqrt(n)), or forward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .core.context import context
from .core.tensor import Tensor
from .ir import ops as P
from .ir.types import DType
from .ops import create, pointwise
from .ops import shape as S
from .ops.common import one_dim
from .ops.complex import conj, real
from .ops.moving import roll
from .ops.offering import offer

__all__ = [
    *("fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift"),
    *("ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn"),
]


def _complex(x: Tensor) -> Tensor:
    if x.is_complex():
        return x
    kind = x.dtype if x.is_floating_point() else context.default_dtype
    return x.to(kind.to_complex())


def _scale(norm: str | None, n: int, inverse: bool) -> float:
    if norm not in (None, "backward", "ortho", "forward"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if inverse == (norm in (None, "backward")) else 1.0


def _resized(x: Tensor, axis: int, n: int) -> Tensor:
    """Truncated, or padded with zeros, to ``n`` elements."""
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    extent = x.shape[axis]
    if extent > n:
        return S.narrow(x, axis, 0, n)
    return x if extent == n else S.pad(x, [0, 0] * (x.ndim - 1 - axis) + [0, n - extent])


def _axes(x: Tensor, s: Any, dim: Any) -> tuple[list[int], list[int | None]]:
    """The axes to transform, and their target extents."""
    sizes = None if s is None else [s] if isinstance(s, int) else list(s)
    if dim is None:
        axes = list(range(x.ndim)) if sizes is None else list(range(x.ndim - len(sizes), x.ndim))
    else:
        axes = [one_dim(d, x.ndim) for d in ([dim] if isinstance(dim, int) else dim)]
    if len(set(axes)) < len(axes):
        raise RuntimeError("FFT dims must be unique")
    if sizes is not None and len(sizes) != len(axes):
        raise RuntimeError("When given, dim and shape arguments must have the same length")
    if sizes is not None and len(sizes) > x.ndim:
        raise RuntimeError(f"Got shape with {len(sizes)} values but input tensor only has {x.ndim} dimensions.")
    return axes, [None if n in (None, -1) else n for n in sizes or [None] * len(axes)]


def _c2c(x: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool) -> Tensor:
    axes, sizes = _axes(x, s, dim)
    x = _complex(x)
    for axis, n in zip(axes, sizes, strict=True):
        x = _resized(x, axis, x.shape[axis] if n is None else n)
    if not axes:
        return pointwise.clone(x)
    scale = _scale(norm, math.prod(x.shape[a] for a in axes), inverse)
    return P.fft(x, axes=tuple(axes), inverse=inverse, scale=scale)


def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform along one axis, of ``n`` elements."""
    return _c2c(input, n, dim, norm, False)


def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse transform along one axis."""
    return _c2c(input, n, dim, norm, True)


def fftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform along several axes, by default all."""
    return _c2c(input, s, dim, norm, False)


def ifftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse transform along several axes, by default all."""
    return _c2c(input, s, dim, norm, True)


def fft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The transform along the last two axes."""
    return _c2c(input, s, dim, norm, False)


def ifft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse transform along the last two axes."""
    return _c2c(input, s, dim, norm, True)


def _require_real(name: str, x: Tensor) -> None:
    if x.is_complex():
        raise RuntimeError(f"{name} expects a real input tensor, but got {x.dtype.ctype}")


def rfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform of real numbers: the non-redundant half along the last of the axes."""
    _require_real("rfftn", input)
    axes, _ = _axes(input, s, dim)
    if not axes:
        raise RuntimeError("rfftn must transform at least one axis")
    whole = _c2c(input, s, dim, norm, False)
    return S.narrow(whole, axes[-1], 0, whole.shape[axes[-1]] // 2 + 1)


def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform of real numbers along one axis: the non-redundant half."""
    _require_real("rfft", input)
    return rfftn(input, None if n is None else [n], (dim,), norm)


def rfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The transform of real numbers along the last two axes."""
    _require_real("rfft2", input)
    return rfftn(input, s, dim, norm)


def _real_result(input: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool, name: str) -> Tensor:
    """The real transform whose non-redundant half is the input."""
    axes, sizes = _axes(input, s, dim)
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    x, last = _complex(input), axes[-1]
    for axis, size in zip(axes[:-1], sizes[:-1], strict=True):
        x = _resized(x, axis, x.shape[axis] if size is None else size)
    n = 2 * (x.shape[last] - 1) if sizes[-1] is None else sizes[-1]
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    scale = _scale(norm, n * math.prod(x.shape[a] for a in axes[:-1]), inverse)
    if axes[:-1]:
        x = P.fft(x, axes=tuple(axes[:-1]), inverse=inverse, scale=1.0)
    x = _resized(x, last, n // 2 + 1)
    rest = S.narrow(x, last, 1, (n - 1) // 2)
    whole = S.cat([x, conj(S.flip(rest, (last,)))], last)
    return real(P.fft(whole, axes=(last,), inverse=inverse, scale=scale))


def irfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of ``rfftn``; the last extent is even unless given."""
    return _real_result(input, s, dim, norm, True, "irfftn")


def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of ``rfft``; ``n`` elements, an even number unless given."""
    return _real_result(input, None if n is None else [n], (dim,), norm, True, "irfft")


def irfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of ``rfft2``."""
    return _real_result(input, s, dim, norm, True, "irfft2")


def hfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The real transform of Hermitian numbers, given by their half along the last of the axes."""
    return _real_result(input, s, dim, norm, False, "hfftn")


def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real transform of Hermitian numbers, given by their half."""
    return hfftn(input, None if n is None else [n], (dim,), norm)


def hfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """``hfftn`` along the last two axes."""
    return hfftn(input, s, dim, norm)


def ihfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of ``hfftn``: for real numbers, the half of the Hermitian result."""
    _require_real("ihfftn", input)
    axes, _ = _axes(input, s, dim)
    if not axes:
        raise RuntimeError("ihfftn must transform at least one axis")
    whole = _c2c(input, s, dim, norm, True)
    return S.narrow(whole, axes[-1], 0, whole.shape[axes[-1]] // 2 + 1)


def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of ``hfft``."""
    return ihfftn(input, None if n is None else [n], (dim,), norm)


def ihfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """``ihfftn`` along the last two axes."""
    return ihfftn(input, s, dim, norm)


def fftfreq(n: int, d: float = 1.0, *, dtype: DType | None = None, **more: Any) -> Tensor:
    """The frequencies of ``fft`` on ``n`` samples with spacing ``d``: 0, 1, ..., then the negative ones, divided by n d."""
    half = (n + 1) // 2
    whole = [*range(half), *range(-(n // 2), 0)]
    return create.tensor([k / (n * d) for k in whole], dtype=dtype or context.default_dtype, **more)


def rfftfreq(n: int, d: float = 1.0, *, dtype: DType | None = None, **more: Any) -> Tensor:
    """The frequencies of ``rfft``."""
    return create.tensor([k / (n * d) for k in range(n // 2 + 1)], dtype=dtype or context.default_dtype, **more)


def _shifted(input: Tensor, dim: Any, back: bool) -> Tensor:
    axes = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = [one_dim(a, input.ndim) for a in axes]
    if not axes:
        return input
    return roll(input, [(input.shape[a] + back) // 2 if back else input.shape[a] // 2 for a in axes], axes)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Moves the zero frequency to the middle."""
    return _shifted(input, dim, False)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of ``fftshift``."""
    return _shifted(input, dim, True)


if not TYPE_CHECKING:  # a type checker uses the definitions above
    offer(globals(), __all__)
