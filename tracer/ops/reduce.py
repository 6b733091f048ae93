"""Reductions. ``dim`` (or ``axis``) is one axis, several, or None for all."""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple, overload

from ..core.fused import fused
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import DType, bool_, int64, uint8
from . import pointwise, shape
from .common import Dims, as_floating, dims, number_of_elements, one_dim, to_dtype, walked_again
from .opmath import opmath

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "softmax",
    "std",
    "sum",
    "var",
]


class Extremum(NamedTuple):
    """The result of ``max`` and ``min`` along a dimension."""

    values: Tensor
    indices: Tensor


def _keep(out: Tensor, input: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    if not keepdim:
        return out
    return shape.reshape(out, tuple(1 if i in axes else n for i, n in enumerate(input._data.shape)))


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum over ``dim``. Integers and bools are summed in int64."""
    whole = input._data.dtype.kind in "bui"
    x = to_dtype(input, dtype) if dtype else to_dtype(input, int64) if whole else input
    axes = tuple(range(x._data.ndim)) if dim is None else dims(dim, x._data.ndim)
    total = P.sum_(x, axes=axes)
    return _keep(total, x, axes, True) if keepdim else total


@fused
@opmath
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean over ``dim``. Raises RuntimeError unless the input is floating."""
    x = to_dtype(input, dtype) if dtype else input
    if not (x.is_floating_point() or x.is_complex()):
        raise RuntimeError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {input.dtype.ctype}"
        )
    axes = dims(dim, x.ndim)
    count = number_of_elements(x, axes)
    return walked_again(pointwise.div(sum(x, axes if dim is not None or axes else None, keepdim), count))


@fused
@opmath
def var(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The variance over ``dim``, divided by the count minus ``correction`` (1, or 0 if not ``unbiased``)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 0 if unbiased is False else 1
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError("std and var only support floating point and complex dtypes")
    axes = dims(dim, input.ndim)
    count = number_of_elements(input, axes)
    centred = pointwise.sub(input, mean(input, axes or None, keepdim=True))
    squares = P.real(pointwise.mul(centred, P.conj(centred))) if input.is_complex() else pointwise.square(centred)
    total = _keep(P.sum_(squares, axes=axes), input, axes, keepdim)
    if isinstance(count, Tensor):
        return pointwise.div(total, pointwise.clamp(pointwise.sub(count, correction), min=0))
    return pointwise.div(total, builtins.max(count - correction, 0) if count else 0)


@fused
@opmath
def std(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The standard deviation over ``dim``; its gradient is 0 where the deviation is 0."""
    v = var(input, dim, unbiased, keepdim, correction=correction)
    zero = pointwise.eq(v, 0)
    return pointwise.where(zero, pointwise.mul(v, 0), pointwise.sqrt(pointwise.where(zero, 1.0, v)))


def require_elements(name: str, input: Tensor, dim: Dims, axes: tuple[int, ...], error: type[Exception]) -> None:
    if input._data.size == 0:
        if dim is None or (not isinstance(dim, int) and len(dim) == 0):
            raise error(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        for a in axes:
            if input._data.shape[a] == 0:
                raise IndexError(f"{name}(): Expected reduction dim {a} to have non-zero size.")


def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The maximum over ``dim``; elements that equal it share the gradient evenly."""
    return spread(_limit(P.max_, input, dim, keepdim))


def spread(extremum: Tensor) -> Tensor:
    """An extremum; where it is NaN, so is the gradient of all its elements, as in PyTorch's versions of these functions."""
    if not (extremum._requires_grad and extremum.is_floating_point()):
        return extremum
    factor = pointwise.where(pointwise.ne(extremum, extremum), math.nan, 1.0)
    return pointwise.mul(extremum, to_dtype(factor, extremum.dtype))


def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The minimum over ``dim``; elements that equal it share the gradient evenly."""
    return spread(_limit(P.min_, input, dim, keepdim))


def _limit(primitive: Any, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    axes = dims(dim, input.ndim)
    require_elements(f"a{primitive.name}", input, dim, axes, RuntimeError)
    return _keep(primitive(input, axes=axes), input, axes, keepdim)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the first maximum along ``dim``, or in the flattened input."""
    return _position(P.argmax, input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the first minimum along ``dim``, or in the flattened input."""
    return _position(P.argmin, input, dim, keepdim)


def _position(primitive: Any, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    axes = dims(dim, input.ndim)
    require_elements(primitive.name, input, dim, axes, IndexError)
    if dim is None:
        out = primitive(shape.reshape(input, (-1,)), axes=(0,))
        return shape.reshape(out, (1,) * input.ndim) if keepdim else out
    axis = one_dim(dim, input.ndim)
    if input.ndim == 0:
        return primitive(shape.reshape(input, (1,)), axes=(0,))
    return _keep(primitive(input, axes=(axis,)), input, (axis,), keepdim)


@overload
def max(input: Tensor) -> Tensor: ...
@overload
def max(input: Tensor, dim: int, keepdim: bool = False) -> Extremum: ...
@overload
def max(input: Tensor, other: Tensor) -> Tensor: ...
def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:  # type: ignore[misc]  # `other` is another name of `dim`
    """The maximum of all elements; or, along ``dim``, (values, indices); or of two tensors, elementwise."""
    return _extremum(input, dim, keepdim, True)


@overload
def min(input: Tensor) -> Tensor: ...
@overload
def min(input: Tensor, dim: int, keepdim: bool = False) -> Extremum: ...
@overload
def min(input: Tensor, other: Tensor) -> Tensor: ...
def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:  # type: ignore[misc]  # `other` is another name of `dim`
    """The minimum of all elements; or, along ``dim``, (values, indices); or of two tensors, elementwise."""
    return _extremum(input, dim, keepdim, False)


def _extremum(input: Tensor, dim: Any, keepdim: bool, largest: bool) -> Any:
    if isinstance(dim, Tensor):
        if not isinstance(input, Tensor):
            raise TypeError(f"argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        return pointwise.maximum(input, dim) if largest else pointwise.minimum(input, dim)
    if dim is None:
        primitive = P.max_ if largest else P.min_
        require_elements(primitive.name, input, None, (), RuntimeError)
        return _limit(primitive, input, None, False)
    if input.ndim == 0:
        return Extremum(input, argmax(input, dim) if largest else argmin(input, dim))
    return Extremum(*_values_and_indices(input, dim, keepdim, largest))


@fused(by_numpy=True)
def _values_and_indices(input: Tensor, dim: int, keepdim: bool, largest: bool) -> tuple[Tensor, Tensor]:
    indices = _position(P.argmax if largest else P.argmin, input, dim, False)
    axes = dims(dim, input.ndim)
    kept = _keep(indices, input, axes, True)
    values = P.gather(input, kept, axis=axes[0])
    return (values, kept) if keepdim else (P.reshape(values, shape=indices._data.shape), indices)


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """True if all elements are true (not zero); uint8 for uint8."""
    return _logical(P.min_, input, dim, keepdim, True)


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """True if any element is true (not zero); uint8 for uint8."""
    return _logical(P.max_, input, dim, keepdim, False)


def _logical(primitive: Any, input: Tensor, dim: Dims, keepdim: bool, of_nothing: bool) -> Tensor:
    if input.dtype is uint8:  # as before PyTorch had bools
        return P.cast(_logical(primitive, pointwise.ne(input, 0), dim, keepdim, of_nothing), dtype="u8")
    x = input if input.dtype is bool_ else pointwise.ne(input, 0)
    if dim is not None and not isinstance(dim, int) and len(dim) == 0:  # unlike sums, over no axes
        return pointwise.clone(x)
    axes = dims(dim, input.ndim)
    if builtins.any(x._data.shape[a] == 0 for a in axes):
        kept = tuple(n for i, n in enumerate(x._data.shape) if i not in axes)
        return _keep(P.full(value=of_nothing, shape=kept, dtype="bool"), x, axes, keepdim)
    return _keep(primitive(x, axes=axes), x, axes, keepdim)


@fused
@opmath
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over ``dim``, without overflow."""
    x = as_floating(input)
    if x.ndim == 0:
        return shape.reshape(logsumexp(shape.reshape(x, (1,)), 0), ()) if x.is_complex() else pointwise.clone(x)
    axes = dims(dim, x.ndim)
    if builtins.any(x._data.shape[a] == 0 for a in axes):
        return pointwise.log(sum(pointwise.exp(x), dim, keepdim))
    top = amax(P.real(x.detach()) if x.is_complex() else x.detach(), dim, keepdim=True)
    top = pointwise.where(pointwise.eq(pointwise.abs(top), math.inf), 0.0, top)
    out = pointwise.add(pointwise.log(sum(pointwise.exp(pointwise.sub(x, top)), dim, keepdim=True)), top)
    return out if keepdim else shape.squeeze(out, dims(dim, x.ndim))


@fused
@opmath
def softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along ``dim``, without overflow."""
    x, dim = to_dtype(input, dtype) if dtype else as_floating(input), one_dim(dim, input.ndim)
    if x.numel() == 0:
        return pointwise.clone(x)
    e = pointwise.exp(pointwise.sub(x, amax(x.detach(), dim, keepdim=True)))
    return pointwise.div(e, sum(e, dim, keepdim=True))


@fused
@opmath
def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """log(softmax(x)) along ``dim``, without overflow."""
    x, dim = to_dtype(input, dtype) if dtype else as_floating(input), one_dim(dim, input.ndim)
    if x.numel() == 0:
        return pointwise.clone(x)
    z = pointwise.sub(x, amax(x.detach(), dim, keepdim=True))
    return pointwise.sub(z, pointwise.log(sum(pointwise.exp(z), dim, keepdim=True)))
