"""Padding, resizing, and rearrangement of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.fused import fused
from ...core.tensor import Tensor
from ...ir import ops as P
from ...ir.types import int32, uint8
from ...ops import permute, reshape
from ...ops import pointwise as F
from ...ops import shape as S
from ...ops.common import to_dtype
from ...ops.create import fixed
from ...ops.opmath import opmath
from .convolution import require_images
from .pooling import adaptive_avg_pool_nd

__all__ = [
    "channel_shuffle",
    "interpolate",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pads the input with ``value`` (constant), its reflection, its edge (replicate), or its opposite side (circular).

    Amounts in pairs, from the last axis.
    """
    if mode == "constant":
        return S.pad(input, pad, value=0.0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    n = len(pad) // 2
    if len(pad) % 2 or input.ndim not in (n + 1, n + 2) or n not in (1, 2, 3):
        raise NotImplementedError("Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now")
    if mode != "circular":
        require_images(f"{mode} padding", n, input)
    return _padded(input, tuple(pad), mode)


@fused
def _padded(input: Tensor, pad: tuple[int, ...], mode: str) -> Tensor:
    out = input
    for i in range(len(pad) // 2):
        out = _pad_axis(out, input.ndim - 1 - i, pad[2 * i], pad[2 * i + 1], mode)
    return P.copy(out) if out is input else out


def _pad_axis(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    extent = x._data.shape[axis]
    if (result := extent + before + after) < (mode != "circular"):  # as in PyTorch, a circular one may be empty
        raise RuntimeError(f"padding ({before}, {after}) of an axis of {extent} elements gives an extent of {result}")
    at = np.arange(-before, extent + after)
    if mode == "reflect":
        if max(before, after) >= extent:
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
                f"({before}, {after}) at dimension {axis} of input {list(x.shape)}"
            )
        at = np.abs(at)
        at = np.where(at >= extent, 2 * (extent - 1) - at, at)
    elif mode == "replicate":
        at = np.clip(at, 0, extent - 1)
    else:
        if max(before, after) > extent:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        # Negative amounts crop; the rest wraps around.
        first, left = max(-before, 0), extent - max(-before, 0) - max(-after, 0)
        around = np.arange(-max(before, 0), left + max(after, 0))
        at = around % left + first if left > 0 else around
    if len(at) == extent and (at == np.arange(extent)).all():
        return x
    return P.index_select(x, fixed(at), axis=axis)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Rearranges channels to pixels: (..., C r r, H, W) to (..., C, H r, W r) (Shi et al. 2016)."""
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, c, h, w = input._data.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(lead)
    x = reshape(input, (*lead, c // (r * r), r, r, h, w))
    x = permute(x, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return S.apart(reshape(x, (*lead, c // (r * r), h * r, w * r)))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Rearranges pixels to channels: (..., C, H r, W r) to (..., C r r, H, W)."""
    r = downscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, c, h, w = input._data.shape
    if h % r or w % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but got {h}x{w} and {r}"
        )
    if not input.numel():  # as in PyTorch, an empty input keeps its shape
        return P.copy(input)
    n = len(lead)
    x = reshape(input, (*lead, c, h // r, r, w // r, r))
    x = permute(x, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return S.apart(reshape(x, (*lead, c * r * r, h // r, w // r)))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleaves the channels of groups (Zhang et al. 2018)."""
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    n, c, *rest = input._data.shape
    if groups <= 0 or c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    x = reshape(input, (n, groups, c // groups, *rest))
    return S.apart(reshape(S.transpose(x, 1, 2), input._data.shape))


@opmath
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The last axes resized to ``size``, or by ``scale_factor``.

    Modes: nearest, nearest-exact, linear, bilinear, trilinear, bicubic, area. Axes are resized one at a time, by gathers
    with weights. Images of bytes are rounded after each axis. ``antialias`` (modes bilinear and bicubic) widens the filter
    where an axis becomes shorter. Raises NotImplementedError for other integers, and for bytes in the modes linear,
    trilinear and area; ValueError for options that the mode does not take.
    """
    if input.dtype.category < 2 and not (input.dtype is uint8 and mode in ("nearest", "nearest-exact", "bilinear", "bicubic")):
        raise NotImplementedError(f"\"interpolate\" of mode {mode} not implemented for '{input.dtype.ctype}'")
    n = input.ndim - 2
    for what, numbers in (("output size", size), ("scale factor", scale_factor)):
        if isinstance(numbers, (list, tuple)) and len(numbers) != n:
            raise ValueError(
                f"Input and {what} must have the same number of spatial dimensions, but got input with spatial dimensions of "
                f"{list(input.shape[2:])} and {what} of {numbers}. Please provide input tensor in (N, C, d1, d2, ...,dK) "
                f"format and {what} in (o1, o2, ...,oK) format."
            )
    modes = {"nearest", "nearest-exact", "area", *{1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}.get(n, ())}
    if mode not in modes or n not in (1, 2, 3):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: nearest | linear | "
            f"bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    if mode in ("nearest", "area", "nearest-exact") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "only one of size or scale_factor should be defined"
            if size is not None
            else "either size or scale_factor should be defined"
        )
    extents = input._data.shape[2:]
    scales: list[float | None] = [None] * n
    if size is not None:
        sizes = [int(size)] * n if isinstance(size, (int, Tensor)) else [int(s) for s in size]
    else:
        factors = [float(scale_factor)] * n if isinstance(scale_factor, (int, float)) else [float(f) for f in scale_factor]
        sizes = [math.floor(e * f) for e, f in zip(extents, factors, strict=True)]
        if not recompute_scale_factor:
            scales = list(factors)
    if mode == "area":
        return adaptive_avg_pool_nd(n, input, sizes)
    require_images("interpolate", n, input)
    if 0 in sizes:
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {list(extents)} and output {list(sizes)}"
        )
    return _resized(input, mode, bool(align_corners), antialias, tuple(sizes), *scales)


@fused
def _resized(input: Tensor, mode: str, align: bool, antialias: bool, sizes: tuple[int, ...], *scales: float | None) -> Tensor:
    n, out = len(sizes), input
    for i in reversed(range(n)) if input.dtype is uint8 else range(n):  # bytes: rows first, because each axis rounds
        out = _resize(out, 2 + i, sizes[i], scales[i], mode, align, antialias)
    return P.copy(out) if out is input else out


@opmath
def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """``interpolate`` under its old name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate`` with mode nearest, under its old name."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate`` with mode bilinear and ``align_corners``, under its old name."""
    return interpolate(input, size, scale_factor, "bilinear", True)


def _resize(x: Tensor, axis: int, out: int, scale: float | None, mode: str, align: bool, antialias: bool) -> Tensor:
    extent = x._data.shape[axis]
    step = 1 / scale if scale is not None else extent / out if out else 0
    is_linear, is_plane = mode in ("linear", "bilinear", "trilinear"), mode == "nearest" and x.ndim == 4
    if out == extent and (is_linear or is_plane or x.dtype is uint8 or antialias):
        return x  # whatever the scale
    if is_plane and out == 2 * extent:
        step = 0.5
    if mode.startswith("nearest"):
        shift = 0.5 if mode == "nearest-exact" else 0.0
        f: Any = np.float32
        at = np.floor((np.arange(out, dtype=f) + f(shift)) * f(step)).astype(np.int64)
        return P.index_select(x, fixed(np.minimum(at, extent - 1)), axis=axis)
    kind: Any = np.float64 if x.dtype.name in ("float64", "uint8") else np.float32
    places = np.arange(out, dtype=kind)
    if align:
        step = (extent - 1) / (out - 1) if out > 1 else 0
    if antialias:
        lower, taps = _widened(places, extent, step, mode == "bicubic")
        return _bytes(x, axis, lower, taps) if x.dtype is uint8 else _weighted(x, axis, lower, taps)
    if align:
        where = places * kind(step)
    else:
        where = (places + kind(0.5)) * kind(step) - kind(0.5)
        if mode != "bicubic":
            where = np.maximum(where, 0)
    lower = np.floor(where).astype(np.int64)
    t = (where - lower).astype(kind)
    if mode == "bicubic":
        a = kind(-0.75)
        taps = [(k, _cubic(np.abs(t - k), a)) for k in (-1, 0, 1, 2)]
    else:
        taps = [(0, 1 - t), (1, t)]
    if x.dtype is uint8:
        return _bytes(x, axis, lower, taps)
    return _weighted(x, axis, lower, taps)


def _widened(places: np.ndarray, extent: int, step: float, cubic: bool) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """For each output the first element that it reads, and the weights of the elements from there on, which sum to 1.

    The filter is as wide as the spacing of outputs, and at least as wide as that of inputs, as in Pillow's resize.
    """
    kind = places.dtype.type
    wide, centre = kind(max(step, 1.0)), kind(step) * (places + kind(0.5))
    reach = wide * kind(2 if cubic else 1) - kind(0.5)
    lower = np.maximum((centre - reach).astype(np.int64), 0)
    count = np.minimum((centre + reach + kind(1)).astype(np.int64), extent) - lower
    weights = []
    for k in range(count.max(initial=0)):
        distance = np.abs((lower + k - centre + kind(0.5)) / wide).astype(kind)
        w = _cubic(distance, kind(-0.5)) if cubic else np.maximum(1 - distance, 0)
        weights.append(np.where(k < count, w, 0))
    total = sum(weights)
    return lower, [(k, (w / total).astype(kind)) for k, w in enumerate(weights)]


def _bytes(x: Tensor, axis: int, lower: np.ndarray, taps: Sequence[tuple[int, np.ndarray]]) -> Tensor:
    """The weighted sums of bytes, with weights of as many binary digits as fit 16 bits, rounded half up."""
    taps = _joined(lower, taps, x._data.shape[axis])
    largest = max(float(w.max()) for _, w in taps)
    digits = next(d for d in range(22) if d == 21 or int(0.5 + largest * 2 ** (d + 1)) >= 1 << 15)
    whole = [(k, np.trunc(w * 2.0**digits + np.copysign(0.5, w)).astype(np.int32)) for k, w in taps]
    total = F.add(_weighted(to_dtype(x, int32), axis, lower, whole), 1 << (digits - 1))
    return to_dtype(F.clamp(F.floor_divide(total, 1 << digits), 0, 255), uint8)


def _joined(lower: np.ndarray, taps: Sequence[tuple[int, np.ndarray]], extent: int) -> list[tuple[int, np.ndarray]]:
    """Merges taps that read the same element, at the ends."""
    places = [np.clip(lower + k, 0, extent - 1) for k, _ in taps]
    weights = [w.copy() for _, w in taps]
    for i in range(1, len(weights)):
        same = places[i] == places[i - 1]
        weights[i] = np.where(same, weights[i] + weights[i - 1], weights[i])
        weights[i - 1] = np.where(same, 0, weights[i - 1])
    return [(k, w) for (k, _), w in zip(taps, weights, strict=True)]


def _weighted(x: Tensor, axis: int, lower: np.ndarray, taps: Sequence[tuple[int, np.ndarray]]) -> Tensor:
    """The weighted sums of the elements at ``lower + k``, for all (k, weights)."""
    extent = x._data.shape[axis]
    total: Tensor | None = None
    lift = tuple(-1 if i == axis else 1 for i in range(x.ndim))
    for k, weights in taps:
        part = P.index_select(x, fixed(np.clip(lower + k, 0, extent - 1)), axis=axis)
        term = F.mul(part, reshape(fixed(weights.astype(x._data.dtype)), lift))
        total = term if total is None else F.add(total, term)
    assert total is not None
    return total


def _cubic(d: np.ndarray, a: Any) -> np.ndarray:
    """Keys' convolution kernel (1981)."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
