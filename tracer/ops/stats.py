"""More reductions: products, norms, statistics, and sums that ignore NaN."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

from ..core.device import placed
from ..core.fused import fused
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import DType, int64
from . import pointwise as F
from . import reduce, shape
from .common import Dims, as_floating, dims, one_dim, require_real, to_dtype
from .complex import complex, conj, imag, real
from .diagonals import diagonal
from .opmath import opmath

__all__ = [
    "aminmax",
    "corrcoef",
    "count_nonzero",
    "cov",
    "cumulative_trapezoid",
    "diff",
    "dist",
    "meshgrid",
    "nanmean",
    "nansum",
    "norm",
    "prod",
    "renorm",
    "std_mean",
    "trapezoid",
    "trapz",
    "var_mean",
]


class Extrema(NamedTuple):
    """The result of ``aminmax``."""

    min: Tensor
    max: Tensor


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The product of all elements, or along ``dim``. Integers and bools are multiplied in int64."""
    x = to_dtype(input, dtype) if dtype else input
    if not (x.is_floating_point() or x.is_complex()) and dtype is None:
        x = to_dtype(x, int64)
    if dim is None:
        out = P.prod(shape.reshape(x, (-1,)), axis=0)
        return shape.reshape(out, (1,) * x.ndim) if keepdim else out
    axis = one_dim(dim, x.ndim)
    if x.ndim == 0:
        return F.clone(x)
    out = P.prod(x, axis=axis)
    return shape.unsqueeze(out, axis) if keepdim else out


@opmath
def var_mean(
    input: Tensor, dim: Any = None, unbiased: Any = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The variance and the mean over ``dim``."""
    v = reduce.var(input, dim, unbiased, correction=correction, keepdim=keepdim)
    dim = None if isinstance(dim, bool) else dim
    return v, reduce.mean(input, dim, keepdim)


@opmath
def std_mean(
    input: Tensor, dim: Any = None, unbiased: Any = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean over ``dim``."""
    s = reduce.std(input, dim, unbiased, correction=correction, keepdim=keepdim)
    dim = None if isinstance(dim, bool) else dim
    return s, reduce.mean(input, dim, keepdim)


@opmath
def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum of the elements that are not NaN."""
    require_real("nansum", input)
    x = F.where(F.isnan(input), 0.0, input) if input.is_floating_point() else input
    return reduce.sum(x, dim, keepdim, dtype=dtype)


@opmath
def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean of the elements that are not NaN."""
    if not input.is_floating_point():
        raise RuntimeError(f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype.ctype}")
    x = to_dtype(input, dtype) if dtype else input
    count = reduce.sum(F.logical_not(F.isnan(x)), dim, keepdim)
    return F.div(nansum(x, dim, keepdim), count)


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """The number of non-zero elements."""
    return reduce.sum(F.ne(input, 0), dim)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Extrema:
    """The minimum and the maximum, of all elements or along ``dim``."""
    if dim is None and input.numel() == 0:
        raise RuntimeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.")
    return Extrema(reduce.amin(input, dim, keepdim), reduce.amax(input, dim, keepdim))


@fused
@opmath
def vector_norm(x: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The ``ord`` norm of vectors along ``dim``: (sum |x|**ord)**(1/ord), or an extremum, or the number of non-zero
    elements.
    """
    if not (x.is_floating_point() or x.is_complex()):
        raise RuntimeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {x.dtype.ctype}")
    x = to_dtype(x, dtype) if dtype else x
    if dim is not None and not isinstance(dim, int) and len(dim) == 0:
        dim = None
    axes = dims(dim, x.ndim)
    empty = any(x._data.shape[a] == 0 for a in axes)
    if empty and (ord < 0 or ord == math.inf):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the operation does not have an "
            f"identity"
        )
    size = F.abs(x)
    if ord == math.inf:
        return _extreme(reduce.amax, size, dim, keepdim)
    if ord == -math.inf:
        return _extreme(reduce.amin, size, dim, keepdim)
    if ord == 0:
        return reduce.sum(F.where(F.ne(x, 0), 1.0, F.mul(size, 0)), dim, keepdim)
    if ord == 1:
        return reduce.sum(size, dim, keepdim)
    if ord == 2:
        squares = F.square(size) if x.is_complex() else F.square(x)
        return _root(reduce.sum(squares, dim, keepdim), lambda s: F.sqrt(s))
    zero = F.eq(size, 0)
    powers = F.where(zero, 0.0 if ord > 0 else math.inf, F.pow(F.where(zero, 1.0, size), ord))
    return _root(reduce.sum(powers, dim, keepdim), lambda s: F.pow(s, 1 / ord))


def _extreme(function: Any, x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    return function(x, dim, keepdim)


def _root(total: Tensor, root: Any) -> Tensor:
    """The root, with the subgradient 0 where the norm is 0."""
    zero = F.eq(total, 0)
    return F.where(zero, F.mul(total, 0), root(F.where(zero, 1.0, total)))


@opmath
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The ``p`` norm over ``dim``: a vector norm, also for two axes; ``fro`` and ``nuc`` are matrix norms."""
    if p == "nuc":
        from .. import linalg

        return linalg.matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    order = 2 if p in ("fro", None) else p
    return vector_norm(input, order, dim, keepdim, dtype=dtype)


@opmath
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The ``p`` norm of input - other."""
    return vector_norm(F.sub(input, other), p)


@opmath
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """``input`` with the slices along ``dim`` scaled down to a ``p`` norm of at most ``maxnorm``."""
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    axis = one_dim(dim, input.ndim)
    others = [i for i in range(input.ndim) if i != axis]
    size = vector_norm(input, p, others, keepdim=True)
    factor = F.where(F.gt(size, maxnorm), F.div(maxnorm, F.add(size, 1e-7)), 1.0)
    return F.mul(input, factor)


def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """The differences of adjacent elements along ``dim``, ``n`` times."""
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    axis = one_dim(dim, input.ndim)
    parts = [p for p in (prepend, input, append) if p is not None]
    x = shape.cat(parts, axis) if len(parts) > 1 else input
    if n == 0:
        return F.clone(input)
    for _ in range(min(n, x._data.shape[axis])):
        count = x._data.shape[axis] - 1
        later, earlier = shape.narrow(x, axis, 1, count), shape.narrow(x, axis, 0, count)
        x = F.bitwise_xor(later, earlier) if x.dtype.name == "bool" else F.sub(later, earlier)
    return x


@opmath
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1) -> Tensor:
    """The integral along ``dim`` by the trapezoidal rule."""
    step = 1 if dx is None else dx
    axis = one_dim(dim, y.ndim)
    n = y._data.shape[axis]
    if n == 0:
        return placed(P.full(value=0, shape=y._data.shape[:axis] + y._data.shape[axis + 1 :], dtype=y.dtype.short), y)
    if x is None and y.dtype.category < 2:
        ends = F.add(*(shape.squeeze(shape.narrow(y, axis, k, 1), axis) for k in (0, n - 1)))
        return F.mul(F.sub(reduce.sum(y, dim), F.mul(ends, 0.5)), step)
    scale, areas = _trapezoids(y, x, step, dim)
    return F.mul(reduce.sum(areas, dim), scale)


@opmath
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1) -> Tensor:
    """The integrals up to each point along ``dim`` by the trapezoidal rule."""
    from .order import cumsum

    scale, areas = _trapezoids(y, x, 1 if dx is None else dx, dim)
    return F.mul(cumsum(areas, dim), scale)


trapz = trapezoid


def _trapezoids(y: Tensor, x: Tensor | None, dx: float, dim: int) -> tuple[float, Tensor]:
    """A factor, and values that times the factor are the areas; integers are added and multiplied in their dtype."""
    axis = one_dim(dim, y.ndim)
    n = y._data.shape[axis] - 1
    if n < 0:
        n = 0
    heights = F.add(shape.narrow(y, axis, y._data.shape[axis] - n, n), shape.narrow(y, axis, 0, n))
    if x is None:
        return 1.0, F.mul(heights, dx / 2)
    widths = diff(x, dim=-1 if x.ndim == 1 else dim)
    if x.ndim == 1 and y.ndim > 1:
        widths = shape.reshape(widths, tuple(-1 if i == axis else 1 for i in range(y.ndim)))
    return 0.5, F.mul(heights, widths)


@opmath
def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariance matrix of variables in rows and observations in columns."""
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    x = shape.reshape(input, (1, -1)) if input.ndim < 2 else input
    x = as_floating(x)
    for name, w, whole in (("fweights", fweights, True), ("aweights", aweights, False)):
        if w is None:
            continue
        if w.ndim > 1:
            raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {w.ndim}")
        if whole != (w.dtype.kind in "ui"):
            kind = "integral" if whole else "floating point"
            raise RuntimeError(f"cov(): expected {name} to have {kind} dtype but got {name} with {w.dtype.ctype} dtype")
        if w.numel() != x._data.shape[1]:
            raise RuntimeError(f"cov(): expected {name} to have the same numel as there are observations in the input")
        if bool((w < 0).any()):
            raise RuntimeError(f"cov(): {name} cannot be negative")
    weights, of = None, real(x).dtype
    if fweights is not None:
        weights = to_dtype(fweights, of)
    if aweights is not None:
        weights = to_dtype(aweights, of) if weights is None else F.mul(weights, aweights)
    count = x._data.shape[1]
    total: Any = count if weights is None else reduce.sum(weights)
    if weights is not None and not bool(total != 0):
        raise RuntimeError("cov(): weights sum to zero, can't be normalized")
    mean = F.div(reduce.sum(x if weights is None else F.mul(x, weights), 1, keepdim=True), total)
    centred = F.sub(x, mean)
    if weights is None:
        norm: Any = builtins.max(count - correction, 0)
    elif aweights is not None and correction:
        spread = F.mul(to_dtype(aweights, of), weights)
        norm = F.sub(total, F.mul(F.div(reduce.sum(spread), total), correction))
        norm = F.clamp(norm, min=0)
    else:
        norm = F.clamp(F.sub(total, correction), min=0)
    right = centred if weights is None else F.mul(centred, weights)
    out = F.div(P.matmul(right, conj(centred), ta=False, tb=True), norm)
    return shape.squeeze(out) if out.numel() == 1 else out


@opmath
def corrcoef(input: Tensor) -> Tensor:
    """The correlation matrix of variables in rows and observations in columns."""
    c = cov(input)
    if c.ndim == 0:
        return F.div(c, c)
    deviation = F.sqrt(real(diagonal(c)))
    out = F.div(F.div(c, shape.unsqueeze(deviation, 1)), shape.unsqueeze(deviation, 0))
    if out.is_complex():
        return complex(F.clamp(real(out), -1, 1), F.clamp(imag(out), -1, 1))
    return F.clamp(out, -1, 1)


@overload
def meshgrid(tensors: Sequence[Tensor], /, *, indexing: str = "ij") -> tuple[Tensor, ...]: ...
@overload
def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple[Tensor, ...]: ...
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid: each tensor along a separate axis. ``xy`` swaps the first two axes."""
    xs: Sequence[Tensor] = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if not xs:
        raise ValueError("meshgrid expects a non-empty TensorList")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'tracer.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for x in xs:
        if x.ndim > 1:
            raise RuntimeError(f"tracer.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x}")
    if len({x.dtype for x in xs}) > 1:
        raise RuntimeError("tracer.meshgrid expects all tensors to have the same dtype")
    swap = indexing == "xy" and len(xs) > 1
    order = [1, 0, *range(2, len(xs))] if swap else list(range(len(xs)))
    ordered = [xs[i] for i in order]
    sizes = tuple(x.numel() for x in ordered)
    grids = [
        shape.expand(shape.reshape(x, tuple(-1 if i == k else 1 for i in range(len(xs)))), sizes) for k, x in enumerate(ordered)
    ]
    return tuple(grids[i] for i in order)
