"""Fractional max pooling: maxima over randomly placed windows (Graham 2014)."""

from __future__ import annotations

import math
from typing import Any

from ...core.tensor import Tensor
from ...ir import ops as P
from ...ir.types import float32, int64
from ...ops import pointwise as F
from ...ops import reduce as R
from ...ops import shape as S
from ...ops.common import to_dtype
from ...ops.index import gather
from ...random import rand
from .convolution import ntuple, require_images
from .ranks import by_rank

__all__ = [
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]


def _starts(u: Tensor, extent: int, out: int, size: int) -> Tensor:
    """The start positions of ``out`` windows, from one random number each: (..., out)."""
    last = P.full(value=extent - size, shape=(*u._data.shape, 1), dtype="i64")
    if out == 1:
        return last
    dtype = u.dtype

    def rounded(x: Tensor) -> Tensor:
        """The result of an operation, rounded to the dtype of ``u``. Kernels round 16-bit values only at the end, which would
        move windows.
        """
        return to_dtype(to_dtype(x, dtype), float32) if dtype.is_half else x

    alpha = rounded(P.full(value=(extent - size) / (out - 1), shape=(), dtype=dtype.short))
    u = rounded(S.unsqueeze(u, -1))
    steps = rounded(P.iota(shape=(out - 1,), axis=0, dtype=dtype.short))
    first = F.floor(rounded(F.mul(u, alpha)))
    places = F.floor(rounded(F.mul(rounded(F.add(steps, u)), alpha)))
    return S.cat([to_dtype(rounded(F.sub(places, first)), int64), last], -1)


def _pool(
    n: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Tensor | None
) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}")
    x = input if input.ndim == n + 2 else S.unsqueeze(input, 0)
    require_images(name, n, input, input.ndim - 1)
    batch, channels, *extents = x._data.shape
    kernel = ntuple(kernel_size, n)
    if output_size is None:
        sizes = tuple(
            int(e * r)
            for e, r in zip(extents, (output_ratio,) * n if isinstance(output_ratio, float) else output_ratio, strict=True)
        )
    else:
        sizes = tuple(ntuple(output_size, n))
    for o, k, e in zip(sizes, kernel, extents, strict=True):
        if o <= 0 or o + k - 1 > e:
            raise RuntimeError(f"{name}(): out-of-range output {o} with windows of {k} for an input of {e}")
    if samples is None:
        samples = rand((batch, channels, n), dtype=x.dtype)
    place: Any = None
    for axis in range(n):
        # PyTorch's first number belongs to the width of images, but to the depth of volumes.
        which = n - 1 - axis if n == 2 else axis
        u = S.reshape(S.narrow(S.narrow(samples, 0, 0, batch), 2, which, 1), (batch, channels))
        starts = _starts(u, extents[axis], sizes[axis], kernel[axis])
        lift = [1] * (2 * n)
        lift[axis] = sizes[axis]
        at = S.reshape(starts, (batch, channels, *lift))
        inside = [1] * (2 * n)
        inside[n + axis] = kernel[axis]
        at = F.add(at, S.reshape(P.iota(shape=(kernel[axis],), axis=0, dtype="i64"), tuple(inside)))
        place = at if place is None else F.add(F.mul(place, extents[axis]), at)
    index = S.reshape(place, (batch, channels, math.prod(sizes), math.prod(kernel)))
    flat = S.reshape(x, (batch, channels, math.prod(extents)))
    windows = S.reshape(gather(flat, 2, S.flatten(index, 2)), index._data.shape)
    values, first = R.max(windows, -1)
    found = gather(index, 3, S.unsqueeze(first, -1))
    lead = (batch, channels) if input.ndim == n + 2 else (channels,)
    return S.reshape(values, (*lead, *sizes)), S.reshape(found, (*lead, *sizes))


def fractional_max_pool_nd_with_indices(
    n: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``fractional_max_pool{n}d`` with the positions of the maxima."""
    return _pool(n, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool_nd(
    n: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The maxima of randomly placed windows of {inputs} (N, C, {axes}) or (C, {axes}); with their positions in the
    flattened axes if ``return_indices``.

    ``output_size``: the number of windows along each axis; or ``output_ratio``, relative to the input. Raises ValueError
    without either, RuntimeError for sizes that do not fit.
    """
    found = _pool(n, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


_, fractional_max_pool2d_with_indices, fractional_max_pool3d_with_indices = by_rank(fractional_max_pool_nd_with_indices)
_, fractional_max_pool2d, fractional_max_pool3d = by_rank(fractional_max_pool_nd)
