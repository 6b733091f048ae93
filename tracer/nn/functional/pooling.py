"""Pooling and its windows, in one, two and three dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from ...core.device import placed
from ...core.fused import fused
from ...core.tensor import Tensor
from ...ir import ops as P
from ...ir.types import int64
from ...ops import permute, reshape
from ...ops import pointwise as F
from ...ops import reduce as R
from ...ops import shape as S
from ...ops.inquiry import iinfo
from ...ops.opmath import opmath
from ...ops.writes import scatter, scatter_add
from .convolution import ntuple, require_images
from .ranks import by_rank

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "fold",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "unfold",
]


def _windows(
    n: int, x: Tensor, size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, value: float
) -> tuple[Tensor, tuple[int, ...]]:
    """The windows of the last ``n`` axes, (..., k..., o...), of an input padded with ``value``; and the leading padding."""
    k, d, p = ntuple(size, n), ntuple(dilation, n), ntuple(padding, n)
    s = k if stride is None or (not isinstance(stride, int) and len(stride) == 0) else ntuple(stride, n)
    if min(s) <= 0:
        raise RuntimeError("stride should not be zero")
    if any(pi > ((ki - 1) * di + 1) // 2 for pi, ki, di in zip(p, k, d, strict=True)):
        raise RuntimeError(
            f"pad should be at most half of effective kernel size, but got pad={max(p)}, kernel_size={max(k)} and "
            f"dilation={max(d)}"
        )
    if min(p) < 0:
        raise RuntimeError("pad must be non-negative, but got pad: " + str(min(p)))
    amounts: list[int] = []
    for e, ki, si, pi, di in zip(x._data.shape[-n:], k, s, p, d, strict=True):
        reach = di * (ki - 1) + 1
        room = e + 2 * pi - reach
        count = (-(-room // si) if ceil_mode else room // si) + 1
        if ceil_mode and (count - 1) * si >= e + pi:
            count -= 1
        if count < 1:
            raise RuntimeError(f"Given input size: {list(x.shape[-n - 1 :])}. Calculated output size is too small")
        amounts = [*amounts, pi, (count - 1) * si + reach - e - pi]
    pairs = [tuple(amounts[2 * i : 2 * i + 2]) for i in range(n)]
    flat = [a for pair in reversed(pairs) for a in pair]
    padded = S.pad(x, flat, value=value) if any(flat) else x
    extents = padded._data.shape[-n:]
    if s == k and set(d) == {1} and not any(e % ki for e, ki in zip(extents, k, strict=True)):
        return _tiles(n, padded, k), s
    return P.windows(padded, size=k, stride=s, dilation=d), s


def _tiles(n: int, x: Tensor, k: Sequence[int]) -> Tensor:
    """Adjacent windows without overlap: the same memory with additional axes."""
    *lead, _ = x._data.shape[: x.ndim - n + 1]
    pairs = [m for e, ki in zip(x._data.shape[-n:], k, strict=True) for m in (e // ki, ki)]
    first = len(lead)
    axes = [*range(first), *range(first + 1, first + 2 * n, 2), *range(first, first + 2 * n, 2)]
    return permute(reshape(x, (*lead, *pairs)), axes)


def _lowest(x: Tensor) -> float:
    return -math.inf if x.is_floating_point() else iinfo(x.dtype).min


@fused
def max_pool_nd(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of {inputs} (N, C, {axes}) or (C, {axes}).

    With ``return_indices`` also its position in the flattened axes {axes}. Raises RuntimeError for windows that do not fit.
    """
    require_images(f"max_pool{n}d", n, input)
    w, _ = _windows(n, input, kernel_size, stride, padding, dilation, ceil_mode, _lowest(input))
    lead = input.ndim - n
    shape, axes = tuple(w._data.shape), tuple(range(lead, input.ndim))
    picked = _first_maximum(n, w, shape, axes)
    if not return_indices:
        return picked(w)
    # Positions in the input: an array of positions goes through the same windows.
    extents = input._data.shape[lead:]
    numbers = reshape(P.iota(shape=(math.prod(extents),), axis=0, dtype="i64"), extents)
    spots, _ = _windows(n, numbers, kernel_size, stride, padding, dilation, ceil_mode, -1)
    return picked(w), picked(S.expand(spots, shape))


max_pool1d, max_pool2d, max_pool3d = by_rank(max_pool_nd)


def _first_maximum(n: int, w: Tensor, shape: tuple[int, ...], axes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """A function that reads values at the first maximum of ``w`` in each window, or at a NaN.

    It uses comparisons: then everything is elementwise, also the gradient, which would otherwise scatter.
    """
    extents = shape[axes[0] : axes[-1] + 1]
    number = reshape(P.iota(shape=(math.prod(extents),), axis=0, dtype="i32"), (*extents, *(1,) * n))
    fixed = w.detach()
    hit = P.eq(fixed, _beside_windows(P.max_(fixed, axes=axes), n))
    if w.is_floating_point():
        hit = P.or_(hit, P.isnan(fixed))
    first = P.min_(F.where(hit, number, math.prod(extents)), axes=axes)
    here = P.eq(number, _beside_windows(first, n))
    return lambda x: P.sum_(F.where(here, x, 0), axes=axes)


def _beside_windows(x: Tensor, n: int) -> Tensor:
    """One number per window, broadcast against its elements."""
    image = x._data.shape[x.ndim - n :]
    return reshape(x, (*x._data.shape[: x.ndim - n], *(1,) * n, *image))


def max_unpool_nd(
    n: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The elements of ``input`` at the positions of the maxima of ``max_pool{n}d``, zeros elsewhere.

    Raises RuntimeError for indices of another shape, ValueError for an ``output_size`` that these windows cannot have.
    """
    k, p = ntuple(kernel_size, n), ntuple(padding, n)
    s = k if stride is None else ntuple(stride, n)
    *lead, _ = input._data.shape[: input.ndim - n + 1]
    image = input._data.shape[input.ndim - n :]
    least = [(e - 1) * si - 2 * pi + ki for e, si, pi, ki in zip(image, s, p, k, strict=True)]
    extents = least if output_size is None else [int(e) for e in output_size][-n:]
    if output_size is not None:
        for i, (found, usual, si) in enumerate(zip(extents, least, s, strict=True)):
            if not usual - si < found < usual + si:
                raise ValueError(f"invalid output_size {extents} (dim {i} must be between {usual - si} and {usual + si})")
    if indices._data.shape != input._data.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices tensor "
            f"with shape: {list(indices.shape)}"
        )
    require_images(f"max_unpool{n}d", n, input, input.ndim - 1)
    flat = (*lead, math.prod(image))
    empty = P.full(value=0, shape=(*lead, math.prod(extents)), dtype=input.dtype.short)
    # Positions of overlapping windows occur several times, with equal values: one is kept, and all receive its gradient.
    places, values = reshape(indices, flat), reshape(input, flat)
    out = scatter(empty, -1, places, values.detach())
    if values.requires_grad:
        total = scatter_add(empty, -1, places, values)
        out = F.add(out, F.sub(total, total.detach()))
    return reshape(out, (*lead, *extents))


max_unpool1d, max_unpool2d, max_unpool3d = by_rank(max_unpool_nd)


@fused
@opmath
def avg_pool_nd(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of {inputs} (N, C, {axes}) or (C, {axes}).

    Padding counts unless ``count_include_pad`` is False; ``divisor_override`` is the divisor instead of the size. Raises
    RuntimeError for windows that do not fit.
    """
    divisor = divisor_override
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    if input.dtype.category < 2 and input.dtype is not int64:
        raise NotImplementedError(f"\"avg_pool{n}d_out_frame\" not implemented for '{input.dtype.ctype}'")
    require_images(f"avg_pool{n}d", n, input)
    w, _ = _windows(n, input, kernel_size, stride, padding, 1, ceil_mode, 0.0)
    lead = input.ndim - n
    total = R.sum(w, tuple(range(lead, lead + n)))
    k = ntuple(kernel_size, n)
    p = ntuple(padding, n)
    if divisor is not None:
        return quotient(total, divisor)
    if not any(p) and not ceil_mode:
        return quotient(total, math.prod(k))
    # The number of elements in each window: of the input, with or without padding.
    extents = input._data.shape[lead:]
    ones = P.full(value=1, shape=extents, dtype=input.dtype.short)
    if count_include_pad:
        ones = S.pad(ones, [a for pi in reversed(p) for a in (pi, pi)], value=1.0)
        counts = _counts(n, ones, k, stride, ceil_mode, total._data.shape[lead:])
    else:
        counts = R.sum(_windows(n, ones, kernel_size, stride, padding, 1, ceil_mode, 0.0)[0], tuple(range(n)))
    return quotient(total, counts)


def quotient(total: Tensor, count: Any) -> Tensor:
    """The quotient, truncated for integers."""
    return F.div(total, count) if total.dtype is not int64 else F.div(total, count, rounding_mode="trunc")


def _counts(n: int, ones: Tensor, k: tuple[int, ...], stride: Any, ceil_mode: bool, image: tuple[int, ...]) -> Tensor:
    s = k if stride is None or (not isinstance(stride, int) and len(stride) == 0) else ntuple(stride, n)
    need = [(o - 1) * si + ki - e for o, si, ki, e in zip(image, s, k, ones._data.shape, strict=True)]
    flat = [a for more in reversed(need) for a in (0, more)]
    w = P.windows(S.pad(ones, flat) if any(flat) else ones, size=k, stride=s, dilation=(1,) * n)
    return R.sum(w, tuple(range(n)))


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of signals."""
    return avg_pool_nd(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


_, avg_pool2d, avg_pool3d = by_rank(avg_pool_nd)  # PyTorch's avg_pool1d has no divisor_override


@opmath
def lp_pool_nd(
    n: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The power mean of each window of {inputs}, times its size to the power of 1 / norm_type."""
    k = math.prod(ntuple(kernel_size, n))
    powers = F.pow(input, norm_type)
    mean = avg_pool_nd(n, powers, kernel_size, stride, 0, ceil_mode)
    safe = relu_sign(mean)
    return F.pow(F.mul(safe, float(k)), 1.0 / norm_type)


lp_pool1d, lp_pool2d, lp_pool3d = by_rank(lp_pool_nd)


def relu_sign(x: Tensor) -> Tensor:
    """sign(x) * relu(|x|)."""
    return F.mul(F.sign(x), F.relu(F.abs(x)))


def _bounds(extent: int, out: int) -> list[tuple[int, int]]:
    return [((i * extent) // out, -(-((i + 1) * extent) // out)) for i in range(out)]


def _sizes(n: int, input: Tensor, output_size: Any) -> list[Any]:
    sizes = [output_size] * n if isinstance(output_size, int) or output_size is None else list(output_size)
    if len(sizes) != n:
        raise RuntimeError(f"adaptive_pool{n}d: internal error: 'output_size' should contain {n} ints")
    if input.ndim not in (n + 1, n + 2):
        raise (RuntimeError if n == 1 else ValueError)(
            f"adaptive_pool{n}d(): Input dimension should be at least {n + 1}, got input of {list(input.shape)}"
        )
    return sizes


@fused
@opmath
def adaptive_avg_pool_nd(n: int, input: Tensor, output_size: Any) -> Tensor:
    """The means of ``output_size`` windows that cover {inputs} (N, C, {axes}) or (C, {axes}) evenly."""
    sizes = _sizes(n, input, output_size)
    if any(o != 1 for o in sizes):  # for one window PyTorch takes the mean, possibly of no elements
        require_images(f"adaptive_avg_pool{n}d", n, input, n if n < 3 else input.ndim - 1)
    x = input
    for i, out in enumerate(sizes):
        axis = input.ndim - n + i
        extent = x._data.shape[axis]
        out = extent if out is None else out
        if out and extent % out == 0:
            old = x._data.shape
            x = R.mean(reshape(x, (*old[:axis], out, extent // out, *old[axis + 1 :])), axis + 1)
        else:
            parts = [S.unsqueeze(R.mean(S.narrow(x, axis, a, b - a), axis), axis) for a, b in _bounds(extent, out)]
            x = S.cat(parts, axis) if parts else P.copy(S.narrow(x, axis, 0, 0))
    return x


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = by_rank(adaptive_avg_pool_nd)


def adaptive_max_pool_nd(n: int, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of ``output_size`` windows that cover {inputs} (N, C, {axes}) or (C, {axes}) evenly; with ``return_indices``
    also their positions in the flattened axes {axes}. Window by window, so that the first maximum is found.
    """
    sizes = _sizes(n, input, output_size)
    require_images(f"adaptive_max_pool{n}d", n, input, input.ndim - 1)
    lead = input.ndim - n
    extents = input._data.shape[lead:]
    sizes = [e if o is None else o for o, e in zip(sizes, extents, strict=True)]
    if all(o and e % o == 0 for o, e in zip(sizes, extents, strict=True)):
        return max_pool_nd(n, input, tuple(e // o for o, e in zip(sizes, extents, strict=True)), return_indices=return_indices)
    numbers = reshape(P.iota(shape=(math.prod(extents),), axis=0, dtype="i64"), extents)
    values, places = [], []
    for bounds in itertools.product(*(_bounds(e, o) for e, o in zip(extents, sizes, strict=True))):
        part, spots = input, numbers
        for i, (a, b) in enumerate(bounds):
            part, spots = S.narrow(part, lead + i, a, b - a), S.narrow(spots, i, a, b - a)
        flat = S.flatten(part, lead)
        at = P.argmax(flat, axes=(lead,))
        values.append(P.gather(flat, S.unsqueeze(at, lead), axis=lead))
        places.append(S.unsqueeze(P.index_select(reshape(spots, (-1,)), at, axis=0), lead))
    shape = (*input._data.shape[:lead], *sizes)
    if not values:
        empty = reshape(S.narrow(input, lead, 0, 0), shape)
        return (empty, placed(P.full(value=0, shape=shape, dtype="i64"), input)) if return_indices else empty
    out = reshape(S.cat(values, lead), shape)
    return (out, reshape(S.cat(places, lead), shape)) if return_indices else out


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = by_rank(adaptive_max_pool_nd)


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """All windows of images as columns: (N, C * kH * kW, number of windows)."""
    if input.ndim == 3:
        return S.squeeze(unfold(S.unsqueeze(input, 0), kernel_size, dilation, padding, stride), 0)
    require_images("unfold", 2, input)
    k, d, p, s = (ntuple(v, 2) for v in (kernel_size, dilation, padding, stride))
    amounts = [a for pi in reversed(p) for a in (pi, pi)]
    x = S.pad(input, amounts) if any(amounts) else input
    w = P.windows(x, size=k, stride=s, dilation=d)
    n, c = input._data.shape[:2]
    return S.apart(reshape(w, (n, c * math.prod(k), math.prod(w._data.shape[4:]))))


def fold(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The adjoint of ``unfold``: sums columns as overlapping windows."""
    if input.ndim == 2:
        return S.squeeze(fold(S.unsqueeze(input, 0), output_size, kernel_size, dilation, padding, stride), 0)
    size, k, d, p, s = (ntuple(v, 2) for v in (output_size, kernel_size, dilation, padding, stride))
    whole = [e + 2 * pi for e, pi in zip(size, p, strict=True)]
    image = [(e - di * (ki - 1) - 1) // si + 1 for e, ki, di, si in zip(whole, k, d, s, strict=True)]
    n, rows = input._data.shape[:2]
    if rows % math.prod(k) or input._data.shape[2] != math.prod(image):
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={k}, dilation={d}, padding={p}, stride={s}, expected size of input's "
            f"dimension "
            f"2 to match the calculated number of sliding blocks {' * '.join(map(str, image))} = {math.prod(image)}, but got "
            f"input.size(2)={input._data.shape[2]}."
        )
    windows = reshape(input, (n, rows // math.prod(k), *k, *image))
    # The windows may end before the image does.
    reach = [(o - 1) * si + di * (ki - 1) + 1 for o, si, di, ki in zip(image, s, d, k, strict=True)]
    out = P.fold(windows, extents=tuple(reach), stride=s, dilation=d)
    cuts: list[int] = []
    for e, r, pi in zip(reversed(whole), reversed(reach), reversed(p), strict=True):
        cuts += [-pi, e - r - pi]
    return S.pad(out, cuts) if any(cuts) else out
