"""Sampling between pixels: grids of positions, and images sampled at them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from ...core.fused import fused
from ...core.tensor import Tensor
from ...core.warning import warn
from ...ir import ops as P
from ...ir.types import int64
from ...ops import pointwise as F
from ...ops import shape as S
from ...ops.common import to_dtype
from ...ops.linalg import matmul
from ...ops.opmath import opmath

__all__ = ["affine_grid", "grid_sample"]


def _warn_of_default(name: str) -> None:
    warn(
        f"Default {name} and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
        "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details."
    )


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The positions to which affine maps send an image's pixels, for ``grid_sample``.

    ``theta`` (N, 2, 3) and ``size`` (N, C, H, W) give (N, H, W, 2); (N, 3, 4) and (N, C, D, H, W) give (N, D, H, W, 3).
    Coordinates range from -1 to 1: between the centres of the outer pixels if ``align_corners``, else between the image's
    edges. Raises ValueError for other shapes and dtypes (Jaderberg et al. 2015).
    """
    if align_corners is None:
        _warn_of_default("grid_sample")
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    sizes = tuple(int(n) for n in size)
    d = len(sizes) - 2
    if d not in (2, 3):
        raise NotImplementedError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size {list(sizes)}."
        )
    if theta._data.shape != (sizes[0], d, d + 1):
        raise ValueError(
            f"Expected a batch of {d}D affine matrices of shape Nx{d}x{d + 1} for size {list(sizes)}. Got {list(theta.shape)}."
        )
    if any(n <= 0 for n in sizes):
        raise ValueError(f"Expected non-zero, positive output size. Got {list(sizes)}")
    extents = sizes[2:]
    columns = []
    for axis in reversed(range(d)):  # x first
        n = extents[axis]
        at = P.iota(shape=extents, axis=axis, dtype=theta.dtype.short)
        if n == 1:
            columns.append(F.mul(at, 0.0))
        elif align_corners:
            columns.append(F.sub(F.mul(at, 2 / (n - 1)), 1))
        else:
            columns.append(F.sub(F.mul(F.add(at, 0.5), 2 / n), 1))
    one = P.full(value=1, shape=extents, dtype=theta.dtype.short)
    points = S.reshape(S.stack([*columns, one], d), (1, math.prod(extents), d + 1))
    grid = matmul(S.expand(points, (sizes[0], *points._data.shape[1:])), S.transpose(theta, 1, 2))
    return S.reshape(grid, (sizes[0], *extents, d))


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """``input`` (N, C, H, W) at the positions ``grid`` (N, H', W', 2), or (N, C, D, H, W) at (N, D', H', W', 3).

    Positions are (x, y) or (x, y, z), from -1 to 1: between the centres of the outer pixels if ``align_corners``, else
    between the edges of the image. Modes: bilinear, nearest, and, of images, bicubic (Keys 1981, a = -0.75). Outside the
    image, ``padding_mode`` gives zeros, the border, or a reflection. Differentiable in both arguments; a NaN position
    counts as -1. Raises ValueError for other modes, RuntimeError for shapes and dtypes that do not fit.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    if align_corners is None:
        _warn_of_default("grid_sample")
        align_corners = False
    _check(input, grid, mode)
    return _sampled(input, grid, mode, padding_mode, align_corners)


@fused
@opmath
def _sampled(input: Tensor, grid: Tensor, mode: str, padding_mode: str, align_corners: bool) -> Tensor:
    d = input.ndim - 2
    extents = input._data.shape[2:]
    # The coordinates by axis of the image; x comes first and belongs to the last axis.
    wanted = [S.reshape(S.narrow(grid, d + 1, d - 1 - axis, 1), grid._data.shape[:-1]) for axis in range(d)]
    places = [_unnormalized(x, n, align_corners) for x, n in zip(wanted, extents, strict=True)]
    if mode == "bicubic":
        return _bicubic(input, places, padding_mode, align_corners)
    inside = [_reflected_or_clipped(x, n, padding_mode, align_corners) for x, n in zip(places, extents, strict=True)]
    if mode == "nearest":
        at = [to_dtype(P.round_(x.detach()), int64) for x in inside]
        # Zero, but with a gradient.
        return F.add(_pixels(input, at), F.mul(S.unsqueeze(inside[0], 1), 0.0)) if grid.requires_grad else _pixels(input, at)
    lower = [P.floor(x.detach()) for x in inside]
    fractions = [F.sub(x, low) for x, low in zip(inside, lower, strict=True)]
    corners = [to_dtype(low, int64) for low in lower]
    total: Tensor | None = None
    for corner in product((0, 1), repeat=d):
        weight: Any = None
        for up, t in zip(corner, fractions, strict=True):
            w = t if up else F.sub(1, t)
            weight = w if weight is None else F.mul(weight, w)
        at = [F.add(c, up) if up else c for c, up in zip(corners, corner, strict=True)]
        term = F.mul(_pixels(input, at), S.unsqueeze(weight, 1))
        total = term if total is None else F.add(total, term)
    assert total is not None
    return total


def _check(input: Tensor, grid: Tensor, mode: str) -> None:
    if input.dtype is not grid.dtype:
        raise RuntimeError(
            "grid_sampler(): expected input and grid to have same dtype, but input has "
            f"{input.dtype.ctype.lower()} and grid has {grid.dtype.ctype.lower()}"
        )
    if input.ndim not in (4, 5) or input.ndim != grid.ndim:
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input._data.shape[0] != grid._data.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid._data.shape[-1] != input.ndim - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.ndim - 2} in last dimension, but got grid with sizes "
            f"{list(grid.shape)}"
        )
    if 0 in input._data.shape[2:]:
        raise RuntimeError(
            f"grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes {list(input.shape)}"
        )
    if mode == "bicubic" and input.ndim != 4:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if not (input.is_floating_point() or input.is_complex()):
        raise NotImplementedError(f"\"grid_sampler\" not implemented for '{input.dtype.ctype}'")


def _unnormalized(x: Tensor, extent: int, align: bool) -> Tensor:
    """From [-1, 1] to pixel coordinates."""
    if align:
        return F.mul(F.add(x, 1), (extent - 1) / 2)
    return F.div(F.sub(F.mul(F.add(x, 1), extent), 1), 2)


def _reflected_or_clipped(x: Tensor, extent: int, padding_mode: str, align: bool) -> Tensor:
    if padding_mode == "zeros":
        return _finite(x)
    if padding_mode == "reflection":
        x = _reflected(x, 0 if align else -1, 2 * (extent - 1) if align else 2 * extent - 1)
    # Outside the limits, and on them, there is no gradient; NaN counts as the lower limit.
    held = F.where(F.bitwise_and(F.gt(x, 0), F.lt(x, extent - 1)), x, 0.0)
    return F.where(F.ge(x, extent - 1), float(extent - 1), held)


def _finite(x: Tensor) -> Tensor:
    """Replaces NaN, and positions too far away for an integer, by a position outside."""
    return F.where(F.bitwise_and(F.gt(x, -(2.0**30)), F.lt(x, 2.0**30)), x, -100.0)


def _reflected(x: Tensor, twice_low: int, twice_high: int) -> Tensor:
    """Reflects at two limits, given as their doubles, into the range between them."""
    if twice_low == twice_high:
        return F.mul(x, 0.0)
    low, span = twice_low / 2, (twice_high - twice_low) / 2
    distance = F.abs(F.sub(x, low))
    turns = P.floor(F.div(distance.detach(), span))
    extra = F.sub(distance, F.mul(turns, span))
    even = F.eq(F.remainder(turns, 2), 0)
    return F.where(even, F.add(extra, low), F.sub(span + low, extra))


def _pixels(input: Tensor, at: list[Tensor]) -> Tensor:
    """The pixels at integer positions (N, ...), one tensor per axis: (N, C, ...), zero outside."""
    n, c, *extents = input._data.shape
    inside: Any = None
    flat: Any = None
    for i, extent in zip(at, extents, strict=True):
        within = F.bitwise_and(F.ge(i, 0), F.lt(i, extent))
        inside = within if inside is None else F.bitwise_and(inside, within)
        i = F.clamp(i, 0, extent - 1)
        flat = i if flat is None else F.add(F.mul(flat, extent), i)
    batch, *out = flat._data.shape
    # One lookup in (image and position, channel), for all channels at once.
    image = S.reshape(P.iota(shape=(batch,), axis=0, dtype="i64"), (batch, *(1,) * len(out)))
    row = F.add(flat, F.mul(image, math.prod(extents)))
    rows = S.reshape(S.permute(S.reshape(input, (n, c, math.prod(extents))), (0, 2, 1)), (n * math.prod(extents), c))
    found = P.index_select(rows, S.reshape(row, (-1,)), axis=0)
    found = S.permute(S.reshape(found, (batch, math.prod(out), c)), (0, 2, 1))
    return F.where(S.unsqueeze(inside, 1), S.reshape(found, (batch, c, *out)), 0.0)


def _bicubic(input: Tensor, places: list[Tensor], padding_mode: str, align: bool) -> Tensor:
    extents = input._data.shape[2:]
    lower = [P.floor(_finite(x).detach()) for x in places]
    weights = [_keys(F.sub(_finite(x), low)) for x, low in zip(places, lower, strict=True)]
    positions = []
    for low, extent in zip(lower, extents, strict=True):
        moved = [F.add(low, k) for k in (-1.0, 0.0, 1.0, 2.0)]
        if padding_mode != "zeros":
            moved = [_reflected_or_clipped(x, extent, padding_mode, align) for x in moved]
        positions.append([to_dtype(x, int64) for x in moved])
    total: Tensor | None = None
    for i in range(4):
        row: Tensor | None = None
        for j in range(4):
            term = F.mul(_pixels(input, [positions[0][i], positions[1][j]]), S.unsqueeze(weights[1][j], 1))
            row = term if row is None else F.add(row, term)
        assert row is not None
        term = F.mul(row, S.unsqueeze(weights[0][i], 1))
        total = term if total is None else F.add(total, term)
    assert total is not None
    return total


def _keys(t: Tensor) -> list[Tensor]:
    """The weights of the four pixels around a position, ``t`` after the second of them (Keys 1981)."""
    a = -0.75

    def near(x: Tensor) -> Tensor:
        return F.add(F.mul(F.mul(F.sub(F.mul(x, a + 2), a + 3), x), x), 1)

    def far(x: Tensor) -> Tensor:
        return F.sub(F.mul(F.add(F.mul(F.sub(F.mul(x, a), 5 * a), x), 8 * a), x), 4 * a)

    rest = F.sub(1, t)
    return [far(F.add(t, 1)), near(t), near(rest), far(F.add(rest, 1))]
