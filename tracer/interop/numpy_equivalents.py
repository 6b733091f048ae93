"""NumPy's functions, with NumPy's parameters, where more than names differ from this package's. All are differentiable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import linalg, ops
from ..core.tensor import Tensor
from ..ir.types import DType, float64
from ..nn import functional as F

Axes = int | Sequence[int] | None


def _floating(x: Tensor) -> Tensor:
    """Integers and bools as float64, the dtype of NumPy's means."""
    return x if x.is_floating_point() or x.is_complex() else x.to(float64)


def _axes(axis: Axes, rank: int) -> list[int]:
    return list(range(rank)) if axis is None else [a % rank for a in ([axis] if isinstance(axis, int) else axis)]


def ndim(a: Tensor) -> int:
    return a.ndim


def shape(a: Tensor) -> tuple[int, ...]:
    return tuple(a.shape)


def size(a: Tensor, axis: int | Sequence[int] | None = None) -> int:
    return math.prod(a.shape[i] for i in _axes(axis, a.ndim))


def iscomplexobj(x: Tensor) -> bool:
    return x.is_complex()


def isrealobj(x: Tensor) -> bool:
    return not x.is_complex()


def mean(a: Tensor, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    return ops.mean(_floating(a), axis, keepdims, dtype=dtype)


def var(a: Tensor, axis: Axes = None, dtype: DType | None = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    x = _floating(a) if dtype is None else a.to(dtype)
    return ops.var(x, axis, correction=ddof, keepdim=keepdims)


def std(a: Tensor, axis: Axes = None, dtype: DType | None = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    x = _floating(a) if dtype is None else a.to(dtype)
    return ops.std(x, axis, correction=ddof, keepdim=keepdims)


def _last(a: Tensor, axis: Axes) -> tuple[Tensor, list[int]]:
    """The given axes merged into the last one; and their positions."""
    axes = _axes(axis, a.ndim)
    rest = [i for i in range(a.ndim) if i not in axes]
    return ops.permute(a, (*rest, *axes)).reshape(*(a.shape[i] for i in rest), -1), axes


def quantile(a: Tensor, q: Any, axis: Axes = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    x, axes = _last(_floating(a), axis)
    at = q if isinstance(q, Tensor) else ops.tensor(q, dtype=x.dtype)
    found = ops.quantile(x, at.to(x.dtype).reshape(-1), -1, interpolation=method)
    kept = [1 if i in axes else n for i, n in enumerate(a.shape)] if keepdims else found.shape[1:]
    return found.reshape(*at.shape, *kept)


def percentile(a: Tensor, q: Any, axis: Axes = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    at = q if isinstance(q, Tensor) else ops.tensor(q, dtype=float64)
    return quantile(a, at / 100, axis, method, keepdims)


def median(a: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    return quantile(a, 0.5, axis, keepdims=keepdims)


def average(a: Tensor, axis: Axes = None, weights: Tensor | None = None, keepdims: bool = False) -> Tensor:
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    w = ops.as_tensor(weights)
    if w.shape != a.shape:
        if not isinstance(axis, int):
            raise TypeError("numpy.average(): argument 'axis' must be int where argument 'weights' has another shape")
        w = w.reshape([-1 if i == axis % a.ndim else 1 for i in range(a.ndim)])
    total = ops.sum(ops.expand(w, a.shape), axis, keepdims)
    return ops.sum(_floating(a) * w, axis, keepdims) / total


def ptp(a: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    return ops.amax(a, axis, keepdims) - ops.amin(a, axis, keepdims)


def count_nonzero(a: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    return ops.sum(ops.ne(a, 0), axis, keepdims)


def nanmean(a: Tensor, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    return ops.nanmean(_floating(a), axis, keepdims, dtype=dtype)


def nanvar(a: Tensor, axis: Axes = None, dtype: DType | None = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    a = _floating(a) if dtype is None else a.to(dtype)
    there = ops.logical_not(ops.isnan(a))
    n = ops.sum(there, axis, keepdim=True)
    apart = ops.where(there, a - ops.nanmean(a, axis, keepdim=True), 0.0)
    out = ops.sum(apart * apart, axis, keepdim=True) / (n - ddof)
    return out if keepdims else ops.squeeze(out, tuple(_axes(axis, a.ndim)))


def nanstd(a: Tensor, axis: Axes = None, dtype: DType | None = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    return ops.sqrt(nanvar(a, axis, dtype, ddof, keepdims))


def nanmax(a: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    return ops.amax(ops.where(ops.isnan(a), -math.inf, a), axis, keepdims)


def nanmin(a: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    return ops.amin(ops.where(ops.isnan(a), math.inf, a), axis, keepdims)


def nanprod(a: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return prod(ops.where(ops.isnan(a), 1.0, a), axis, keepdims=keepdims)


def nancumsum(a: Tensor, axis: int | None = None) -> Tensor:
    x = ops.where(ops.isnan(a), 0.0, a)
    return ops.cumsum(x.reshape(-1) if axis is None else x, axis or 0)


def prod(a: Tensor, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    if axis is None or isinstance(axis, int):
        out = ops.prod(a, axis, dtype=dtype) if axis is None else ops.prod(a, axis, keepdims, dtype=dtype)
        return out.reshape((1,) * a.ndim) if axis is None and keepdims else out
    x, axes = _last(a, axis)
    out = ops.prod(x, -1, dtype=dtype)
    return out.reshape([1 if i in axes else n for i, n in enumerate(a.shape)]) if keepdims else out


def sort(a: Tensor, axis: int | None = -1, kind: str | None = None, stable: bool | None = None) -> Tensor:
    return ops.sort(a.reshape(-1) if axis is None else a, -1 if axis is None else axis).values


def argsort(a: Tensor, axis: int | None = -1, kind: str | None = None, stable: bool | None = None) -> Tensor:
    return ops.sort(a.reshape(-1) if axis is None else a, -1 if axis is None else axis, stable=True).indices


def unique(ar: Tensor, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None) -> Any:
    return ops.unique(ar, True, return_inverse, return_counts, axis)


def searchsorted(a: Tensor, v: Any, side: str = "left") -> Tensor:
    return ops.searchsorted(a, v if isinstance(v, Tensor) else ops.as_tensor(np.asarray(v)), side=side)


def digitize(x: Tensor, bins: Tensor, right: bool = False) -> Tensor:
    return ops.bucketize(x, bins, right=not right)


def ufunc_divmod(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    return ops.floor_divide(x1, x2), ops.remainder(x1, x2)


def ufunc_modf(x: Tensor) -> tuple[Tensor, Tensor]:
    return ops.frac(x), ops.trunc(x)


def imag(val: Tensor) -> Tensor:
    return ops.imag(val) if val.is_complex() else ops.zeros_like(val)


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    a, b = (ops.as_tensor(x) for x in (a, b))
    dtype = ops.result_type(a, b)
    a, b = ops.broadcast_tensors(a.to(dtype), b.to(dtype))
    return ops.isclose(a, b, rtol, atol, equal_nan)


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    return bool(isclose(a, b, rtol, atol, equal_nan).all())


def cov(m: Tensor, rowvar: bool = True, bias: bool = False, ddof: int | None = None) -> Tensor:
    x = _floating(m) if rowvar or m.ndim < 2 else _floating(m).T
    return ops.cov(x, correction=int(not bias) if ddof is None else ddof)


def dot(a: Any, b: Any) -> Tensor:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or a.ndim == 0 or b.ndim == 0:
        return ops.as_tensor(a) * b
    return ops.tensordot(a, b, ([-1], [-2 if b.ndim > 1 else -1]))


def inner(a: Any, b: Any) -> Tensor:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or a.ndim == 0 or b.ndim == 0:
        return ops.as_tensor(a) * b
    return ops.tensordot(a, b, ([-1], [-1]))


def matrix_transpose(x: Tensor) -> Tensor:
    return ops.transpose(x, -2, -1)


def outer(a: Any, b: Any) -> Tensor:
    x, y = (ops.as_tensor(v).reshape(-1) for v in (a, b))
    return x[:, None] * y


def vdot(a: Tensor, b: Tensor) -> Tensor:
    return ops.vdot(a.reshape(-1), b.reshape(-1))


def cross(a: Tensor, b: Tensor, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Tensor:
    if axis is not None:
        axisa = axisb = axisc = axis
    found = linalg.cross(*ops.broadcast_tensors(ops.movedim(a, axisa, -1), ops.movedim(b, axisb, -1)))
    return ops.movedim(found, -1, axisc)


def trace(a: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: DType | None = None) -> Tensor:
    return ops.sum(ops.diagonal(a, offset, axis1, axis2), -1, dtype=dtype)


def convolve(a: Tensor, v: Tensor, mode: str = "full") -> Tensor:
    if len(v) > len(a):
        a, v = v, a
    return correlate(a, ops.conj(ops.flip(v, 0)), mode)


def correlate(a: Tensor, v: Tensor, mode: str = "valid") -> Tensor:
    n, k = len(a), len(v)
    if k > n:
        return ops.conj(ops.flip(correlate(v, a, mode), 0))
    before = {"full": k - 1, "same": k // 2, "valid": 0}[mode]
    after = {"full": k - 1, "same": k - 1 - k // 2, "valid": 0}[mode]
    dtype = ops.result_type(a, v)
    out = F.conv1d(F.pad(a.to(dtype), (before, after)).reshape(1, 1, -1), ops.conj(v.to(dtype)).reshape(1, 1, -1))
    return out.reshape(-1)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Tensor:
    x, xp, fp = (ops.as_tensor(v) for v in (x, xp, fp))
    i = ops.clamp(ops.searchsorted(xp, x.detach(), right=True) - 1, 0, max(len(xp) - 2, 0))
    j = ops.clamp(i + 1, max=len(xp) - 1)
    slope = (fp[j] - fp[i]) / ops.where(ops.eq(xp[j], xp[i]), 1.0, xp[j] - xp[i])
    out = fp[i] + slope * (x - xp[i])
    out = ops.where(ops.lt(x, xp[0]), fp[0] if left is None else left, out)
    return ops.where(ops.gt(x, xp[-1]), fp[-1] if right is None else right, out)


def gradient(f: Tensor, *varargs: Any, axis: Axes = None, edge_order: int = 1) -> Any:
    axes = _axes(axis, f.ndim)
    spacing: Any = varargs[0] if len(varargs) == 1 else list(varargs) or 1
    found = ops.gradient(_floating(f), spacing=spacing, dim=axes, edge_order=edge_order)
    return found[0] if len(axes) == 1 else found


def ediff1d(ary: Tensor) -> Tensor:
    return ops.diff(ary.reshape(-1))


def transpose(a: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    return ops.permute(a, tuple(reversed(range(a.ndim))) if axes is None else tuple(axes))


def rollaxis(a: Tensor, axis: int, start: int = 0) -> Tensor:
    axis, start = axis % a.ndim, start % (a.ndim + 1) if start >= 0 else start + a.ndim
    return ops.movedim(a, axis, start - (axis < start))


def expand_dims(a: Tensor, axis: int | Sequence[int]) -> Tensor:
    places = [axis] if isinstance(axis, int) else list(axis)
    rank = a.ndim + len(places)
    for at in sorted(p % rank for p in places):
        a = ops.unsqueeze(a, at)
    return a


def squeeze(a: Tensor, axis: Axes = None) -> Tensor:
    for i in [] if axis is None else _axes(axis, a.ndim):
        if a.shape[i] != 1:
            raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return ops.squeeze(a) if axis is None else ops.squeeze(a, tuple(_axes(axis, a.ndim)))


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    parts = [ops.as_tensor(a) for a in arrays]
    return ops.cat([a.reshape(-1) for a in parts] if axis is None else parts, axis or 0)


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    return ops.stack([ops.as_tensor(a) for a in arrays], axis)


def append(arr: Any, values: Any, axis: int | None = None) -> Tensor:
    return concatenate([arr, values], axis)


def array_split(ary: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    return list(ops.tensor_split(ary, _positions(indices_or_sections), axis))


def split(ary: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    n = indices_or_sections
    if isinstance(n, int) and ary.shape[axis] % n:
        raise ValueError("array split does not result in an equal division")
    return array_split(ary, n, axis)


def hsplit(ary: Tensor, indices_or_sections: Any) -> list[Tensor]:
    return split(ary, indices_or_sections, 0 if ary.ndim == 1 else 1)


def vsplit(ary: Tensor, indices_or_sections: Any) -> list[Tensor]:
    return split(ary, indices_or_sections, 0)


def dsplit(ary: Tensor, indices_or_sections: Any) -> list[Tensor]:
    return split(ary, indices_or_sections, 2)


def _positions(where: Any) -> Any:
    return where if isinstance(where, (int, Tensor)) else [int(i) for i in where]


def flip(m: Tensor, axis: Axes = None) -> Tensor:
    return ops.flip(m, tuple(_axes(axis, m.ndim)))


def roll(a: Tensor, shift: Any, axis: Axes = None) -> Tensor:
    if axis is None:
        return ops.roll(a, sum(shift) if isinstance(shift, (list, tuple)) else shift)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = tuple(shift) if isinstance(shift, (list, tuple)) else (shift,) * len(axes)
    return ops.roll(a, shifts, axes)


def tile(A: Tensor, reps: Any) -> Tensor:
    return ops.tile(A, (reps,) if isinstance(reps, int) else tuple(reps))


def repeat(a: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    times = repeats if isinstance(repeats, (int, Tensor)) else ops.as_tensor(np.asarray(repeats))
    return ops.repeat_interleave(a, times, axis)


def atleast_1d(*arys: Tensor) -> Any:
    return ops.atleast_1d(*arys)


def atleast_2d(*arys: Tensor) -> Any:
    return ops.atleast_2d(*arys)


def atleast_3d(*arys: Tensor) -> Any:
    return ops.atleast_3d(*arys)


def broadcast_arrays(*args: Any) -> tuple[Tensor, ...]:
    return tuple(ops.broadcast_tensors(*(ops.as_tensor(a) for a in args)))


def meshgrid(*xi: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    return tuple(ops.meshgrid([ops.as_tensor(x).reshape(-1) for x in xi], indexing=indexing))


def take(a: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    at = ops.as_tensor(indices)
    x, axis = (a.reshape(-1), 0) if axis is None else (a, axis % a.ndim)
    return x[(slice(None),) * axis + (at,)]


def compress(condition: Any, a: Tensor, axis: int | None = None) -> Tensor:
    return take(a, ops.where(ops.as_tensor(condition))[0], axis)


def take_along_axis(arr: Tensor, indices: Tensor, axis: int | None = -1) -> Tensor:
    return ops.take_along_dim(arr, indices, axis)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    c = ops.as_tensor(condition)
    return ops.where(c if c.dtype.name == "bool" else ops.ne(c, 0), x, y)


def nonzero(a: Tensor) -> Any:
    return ops.where(a)


def flatnonzero(a: Tensor) -> Tensor:
    return ops.where(a.reshape(-1))[0]


def round(a: Tensor, decimals: int = 0) -> Tensor:
    return ops.round(a, decimals=decimals)


def clip(a: Tensor, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Tensor:
    low, high = a_min if min is None else min, a_max if max is None else max
    return a.clone() if low is None and high is None else ops.clamp(a, low, high)


def einsum(*operands: Any) -> Tensor:
    return ops.einsum(*(ops.as_tensor(x) if isinstance(x, np.ndarray) else x for x in operands))


def trapezoid(y: Tensor, x: Tensor | None = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    return ops.trapezoid(y, dx=dx, dim=axis) if x is None else ops.trapezoid(y, x, dim=axis)


def diag(v: Tensor, k: int = 0) -> Tensor:
    return ops.diag(v, k)


_MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "symmetric": "symmetric", "wrap": "circular"}


def pad(array: Tensor, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Tensor:
    """Pads one axis after the other, as NumPy defines it: later axes include the padding of earlier ones."""
    if mode not in _MODES:
        raise NotImplementedError(f"numpy.pad(): argument 'mode' may be one of {', '.join(_MODES)} for tensors, not {mode!r}")
    widths = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2))
    values = np.broadcast_to(np.asarray(constant_values), (array.ndim, 2))
    x = array
    for axis, ((before, after), fill) in enumerate(zip(widths.tolist(), values.tolist(), strict=True)):
        if mode == "constant":
            sizes = [[w if i == axis else n for i, n in enumerate(x.shape)] for w in (before, after)]
            first, last = (ops.full(size, v, dtype=x.dtype) for size, v in zip(sizes, fill, strict=True))
            x = ops.cat([first, x, last], axis)
        elif before or after:
            n = x.shape[axis]
            at = np.pad(np.arange(n), (before, after), mode=mode)  # type: ignore[call-overload]
            x = ops.index_select(x, axis, ops.tensor(at))
    return x


# numpy.linalg


def svd(a: Tensor, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    return linalg.svd(a, full_matrices) if compute_uv else linalg.svdvals(a)


def eigh(a: Tensor, UPLO: str = "L") -> Any:
    return linalg.eigh(a, UPLO)


def lstsq(a: Tensor, b: Tensor, rcond: float | None = None) -> Any:
    return linalg.lstsq(a, b if b.ndim > 1 else b.reshape(-1, 1), rcond)


def solve(a: Tensor, b: Tensor) -> Tensor:
    return linalg.solve(a, b)


def norm(x: Tensor, ord: Any = None, axis: Axes = None, keepdims: bool = False) -> Tensor:
    return linalg.norm(_floating(x), ord, axis, keepdims)


def multi_dot(arrays: Sequence[Tensor]) -> Tensor:
    return linalg.multi_dot(list(arrays))


def cholesky(a: Tensor, upper: bool = False) -> Tensor:
    return linalg.cholesky(a, upper=upper)


def qr(a: Tensor, mode: str = "reduced") -> Any:
    found = linalg.qr(a, mode)
    return found.R if mode == "r" else found
