"""Reductions over the attribute ``axes``. The reduced axes disappear from the result."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..primitive import Kind, primitive
from ..types import TensorType, int64
from .elementwise import cast, div, eq, mul, ne, or_
from .movement import broadcast
from .summation import total

_FEW, _MANY = 32, 1 << 10  # elements per window, number of windows
SHORT = 9  # largest extent that kernels unroll: a window of 3 by 3


def kept_axes(rank: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(i for i in range(rank) if i not in axes)


def _infer(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    if list(axes) != sorted(set(axes)) or any(not 0 <= a < x.rank for a in axes):
        raise ValueError(f"axes {axes} do not fit {x}")
    return x.with_shape(tuple(x.shape[i] for i in kept_axes(x.rank, axes)))


def _infer_nonempty(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    if any(x.shape[a] == 0 for a in axes):
        raise IndexError(f"expected reduction dims {list(axes)} to have non-zero size, but the operand is {x}")
    return _infer(x, axes)


def _back(g: Any, x_type: TensorType, axes: tuple[int, ...]) -> Any:
    """``g``, of the reduced shape, broadcast to the operand's shape."""
    return broadcast(g, shape=x_type.shape, axes=kept_axes(x_type.rank, axes))


# For booleans: any.
sum_ = primitive(
    "sum",
    Kind.REDUCTION,
    "x",
    infer=_infer,
    impl=total,
    vjp=(lambda g, x_type, axes: _back(g, x_type, axes),),
)


# The rounding error of a sum: kernels keep it beside the sum, take it along, and add it at the end.
sum_lost = primitive(
    "sum_lost",
    Kind.REDUCTION,
    "x",
    infer=_infer,
    impl=lambda x, axes: (np.add.reduce(x, axis=axes, dtype=np.float64) - total(x, axes)).astype(x.dtype),
    vjp=(lambda g: None,),
)


def is_reduced_whole(shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """True if NumPy's own reduction computes an extremum."""
    count = math.prod(shape[a] for a in axes)
    return not axes or count > _FEW or math.prod(shape) < _MANY * count


def _extremum(combine: np.ufunc, x: Any, axes: tuple[int, ...]) -> Any:
    """The extremum over the axes. For short axes NumPy would run a loop of a few elements per result."""
    x = np.asarray(x)
    if is_reduced_whole(x.shape, axes):
        return combine.reduce(x, axis=axes)
    extents = [x.shape[a] for a in axes]
    parts = np.moveaxis(x, axes, range(len(axes)))
    first, *others = (parts[index] for index in np.ndindex(*extents))
    result = first.copy()
    for part in others:
        combine(result, part, out=result)
    return result


def _extremum_vjp(g: Any, y: Any, x: Any, x_type: TensorType, axes: tuple[int, ...]) -> Any:
    """Elements that equal the extremum share the cotangent evenly, as in PyTorch."""
    best = eq(x, _back(y, x_type, axes))
    if x_type.dtype.is_floating_point:  # if the extremum is NaN, the NaNs share it
        best = or_(best, ne(x, x))
    ties = cast(best, dtype=x_type.dtype.short)
    return mul(ties, _back(div(g, sum_(ties, axes=axes)), x_type, axes))


max_ = primitive(
    "max",
    Kind.REDUCTION,
    "x",
    infer=_infer_nonempty,
    impl=functools.partial(_extremum, np.maximum),
    real=True,
    vjp=(_extremum_vjp,),
    torch_name="Amax",
)
min_ = primitive(
    "min",
    Kind.REDUCTION,
    "x",
    infer=_infer_nonempty,
    impl=functools.partial(_extremum, np.minimum),
    real=True,
    vjp=(_extremum_vjp,),
    torch_name="Amin",
)


def _infer_arg(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    if len(axes) != 1:
        raise ValueError(f"takes one axis, got {axes}")
    return _infer_nonempty(x, axes).with_dtype(int64)


# The first position of the extremum; a NaN counts as the extremum.
argmax = primitive(
    "argmax",
    Kind.REDUCTION,
    "x",
    infer=_infer_arg,
    impl=lambda x, axes: np.argmax(x, axis=axes[0]).astype(np.int64),
    real=True,
)
argmin = primitive(
    "argmin",
    Kind.REDUCTION,
    "x",
    infer=_infer_arg,
    impl=lambda x, axes: np.argmin(x, axis=axes[0]).astype(np.int64),
    real=True,
)
