"""Numerical differentiation, Vandermonde matrices, index conversion, and floating-point decomposition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core.device import placed
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import int64
from . import pointwise as F
from . import shape
from .common import is_number, one_dim, to_dtype
from .linalg import outer
from .order import cumprod
from .stats import norm, vector_norm

__all__ = [
    "frexp",
    "frobenius_norm",
    "ger",
    "gradient",
    "nonzero_static",
    "norm_except_dim",
    "nuclear_norm",
    "unravel_index",
    "vander",
]


class Frexp(NamedTuple):
    mantissa: Tensor
    exponent: Tensor


def frexp(input: Tensor) -> Frexp:
    """Mantissas in (-1, -0.5] and [0.5, 1), or 0, and integer exponents (int32): input = mantissa * 2**exponent.

    Raises RuntimeError for dtypes that are not floating.
    """
    if not input.is_floating_point():
        raise RuntimeError("tracer.frexp() only supports floating-point dtypes")
    return Frexp(P.frexp_mantissa(input), P.frexp_exponent(input.detach()))


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of the powers of a vector's elements, from N - 1 down to 0, or from 0 up if ``increasing``; N defaults to the
    vector's length. Raises RuntimeError for anything but vectors, and for negative N.
    """
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x._data.shape[0] if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    x = to_dtype(x, int64) if not (x.is_floating_point() or x.is_complex()) else x
    rows = x._data.shape[0]
    if n == 0:
        return placed(P.full(value=0, shape=(rows, 0), dtype=x.dtype.short), x)
    one = placed(P.full(value=1, shape=(rows, 1), dtype=x.dtype.short), x)
    if n == 1:
        return one
    powers = cumprod(shape.expand(shape.unsqueeze(x, 1), (rows, n - 1)), 1)
    return shape.cat([one, powers], 1) if increasing else shape.cat([shape.flip(powers, (1,)), one], 1)


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The coordinates of flat positions in an array of the given shape: one int64 tensor per axis.

    Raises TypeError for positions that are not integers, ValueError for negative extents.
    """
    if not isinstance(indices, Tensor):
        raise TypeError(f"unravel_index(): argument 'indices' must be Tensor, not {type(indices).__name__}")
    if indices.dtype.kind not in "ui":
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    sizes: tuple[int, ...] = tuple(int(n) for n in ((shape,) if is_number(shape) else shape))  # type: ignore
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    at = to_dtype(indices, int64)
    out = []
    for axis, n in enumerate(sizes):
        step = math.prod(sizes[axis + 1 :])
        part = F.floor_divide(at, step) if step > 1 else at
        out.append(F.remainder(part, n))
    return tuple(out)


def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Derivatives along each axis (or those in ``dim``) from values at points: by central differences of second order inside,
    one-sided ones of order ``edge_order`` at the ends.

    ``spacing``: the distance of the points, one per axis, or a tensor of coordinates per axis. Raises RuntimeError for
    spacings that do not fit, and axes shorter than ``edge_order + 1``.
    """
    if edge_order not in (1, 2):
        raise RuntimeError("tracer.gradient only supports edge_order=1 and edge_order=2.")
    if isinstance(spacing, Tensor):
        raise TypeError("gradient(): argument 'spacing' must be a number or a list, not Tensor")
    axes = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    axes = [one_dim(d, input.ndim) for d in axes]
    if len(set(axes)) < len(axes):
        repeated = next(d for d in axes if axes.count(d) > 1)
        raise RuntimeError(f"dim {repeated} appears multiple times in the list of dims")
    spacing = 1 if spacing is None else spacing
    steps = [spacing] * len(axes) if is_number(spacing) else list(spacing)
    if len(steps) != len(axes):
        raise RuntimeError(
            "tracer.gradient expected spacing to be unspecified, a scalar, or a list of length equal to "
            f"{f'{len(axes)}, the number of dims' if dim is not None else f'the number of axes, {input.ndim}'}, but got a list "
            f"of length {len(steps)}"
        )
    for axis in axes:
        if input._data.shape[axis] <= edge_order:
            raise RuntimeError("tracer.gradient expected each dimension size to be at least edge_order+1")
    return tuple(_derivative(input, axis, h, edge_order) for axis, h in zip(axes, steps, strict=True))


def _derivative(x: Tensor, axis: int, h: Any, order: int) -> Tensor:
    n = x._data.shape[axis]

    def part(start: int, length: int) -> Tensor:
        return shape.narrow(x, axis, start, length)

    if not isinstance(h, Tensor):
        middle = F.div(F.sub(part(2, n - 2), part(0, n - 2)), 2 * h)
        if order == 1:
            first, last = F.div(F.sub(part(1, 1), part(0, 1)), h), F.div(F.sub(part(n - 1, 1), part(n - 2, 1)), h)
        else:
            first = _combined([(-1.5 / h, part(0, 1)), (2 / h, part(1, 1)), (-0.5 / h, part(2, 1))])
            last = _combined([(0.5 / h, part(n - 3, 1)), (-2 / h, part(n - 2, 1)), (1.5 / h, part(n - 1, 1))])
        return shape.cat([first, middle, last], axis)
    if h.ndim != 1 or h._data.shape[0] != n:
        raise RuntimeError("tracer.gradient expected each element of spacing to have the length of the axis")
    lifted = shape.reshape(h, tuple(-1 if i == axis else 1 for i in range(x.ndim)))
    gaps = F.sub(shape.narrow(lifted, axis, 1, n - 1), shape.narrow(lifted, axis, 0, n - 1))

    def gap(start: int, length: int) -> Tensor:
        return shape.narrow(gaps, axis, start, length)

    a, b = gap(0, n - 2), gap(1, n - 2)
    both = F.add(a, b)
    middle = _combined(
        [
            (F.neg(F.div(b, F.mul(a, both))), part(0, n - 2)),
            (F.div(F.sub(b, a), F.mul(a, b)), part(1, n - 2)),
            (F.div(a, F.mul(b, both)), part(2, n - 2)),
        ]
    )
    if order == 1:
        first = F.div(F.sub(part(1, 1), part(0, 1)), gap(0, 1))
        last = F.div(F.sub(part(n - 1, 1), part(n - 2, 1)), gap(n - 2, 1))
        return shape.cat([first, middle, last], axis)
    first = _one_sided(gap(0, 1), gap(1, 1), [part(0, 1), part(1, 1), part(2, 1)])
    last = F.neg(_one_sided(gap(n - 2, 1), gap(n - 3, 1), [part(n - 1, 1), part(n - 2, 1), part(n - 3, 1)]))
    return shape.cat([first, middle, last], axis)


def _one_sided(a: Tensor, b: Tensor, values: list[Tensor]) -> Tensor:
    """The derivative at the first of three points, at distances a and b."""
    both = F.add(a, b)
    weights = [F.neg(F.div(F.add(a, both), F.mul(a, both))), F.div(both, F.mul(a, b)), F.neg(F.div(a, F.mul(b, both)))]
    return _combined(list(zip(weights, values, strict=True)))


def _combined(terms: list[tuple[Any, Tensor]]) -> Tensor:
    (w, x), *rest = terms
    total = F.mul(x, w)
    for w, x in rest:
        total = F.add(total, F.mul(x, w))
    return total


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The coordinates of the first ``size`` non-zero elements, in rows; missing rows are filled with ``fill_value``."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    flat = shape.reshape(F.ne(input, 0), (-1,))
    n = flat._data.shape[0]
    if input.ndim == 0 or n == 0 or size == 0:
        return placed(P.full(value=fill_value, shape=(size, input.ndim), dtype="i64"), input)
    rank = F.sub(P.cumsum(to_dtype(flat, int64), axis=0), 1)
    kept = F.bitwise_and(flat, F.lt(rank, size))
    # Element k is added at its rank; the others go to a last row, which is removed.
    at = F.where(kept, rank, size)
    number = F.where(kept, P.iota(shape=(n,), axis=0, dtype="i64"), 0)
    positions = shape.narrow(P.index_add(number, at, axis=0, extent=size + 1), 0, 0, size)
    found = F.le(P.iota(shape=(size,), axis=0, dtype="i64"), shape.narrow(rank, 0, n - 1, 1))
    rows = shape.stack(list(unravel_index(positions, input._data.shape)), 1)
    return F.where(shape.unsqueeze(found, 1), rows, fill_value)


def fill_diagonal(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """The input with ``fill_value`` on the main diagonal; ``wrap``: repeated below the square part of a tall matrix."""
    if input.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    sizes = input._data.shape
    if input.ndim > 2 and len(set(sizes)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    places = [P.iota(shape=sizes, axis=k, dtype="i64") for k in range(input.ndim)]
    if wrap and input.ndim == 2:
        places[0] = F.remainder(places[0], sizes[1] + 1)
    on = F.eq(places[0], places[1])
    for a in places[2:]:
        on = F.bitwise_and(on, F.eq(places[0], a))
    return F.where(on, P.full(value=fill_value, shape=(), dtype=input.dtype.short), input)


def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """``outer`` under its old name."""
    return outer(input, vec2)


def frobenius_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The square root of the sum of squares over the given axes."""
    return norm(input, 2, dim, keepdim)


def nuclear_norm(input: Tensor, dim: Sequence[int] = (-2, -1), keepdim: bool = False) -> Tensor:
    """The sum of the singular values of matrices."""
    from ..linalg import matrix_norm

    return matrix_norm(input, "nuc", dim, keepdim)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over all axes except ``dim``, kept with extent 1; over all axes for -1."""
    if dim == -1:
        return norm(v, pow)
    axis = one_dim(dim, v.ndim)
    others = tuple(i for i in range(v.ndim) if i != axis)
    return vector_norm(v, pow, others, keepdim=True) if others else F.abs(v)
