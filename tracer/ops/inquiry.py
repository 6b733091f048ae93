"""Properties of tensors and dtypes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor
from ..ir.types import DType, as_dtype, promote
from .common import element, result_dtype, to_dtype, typed

__all__ = [
    "can_cast",
    "finfo",
    "iinfo",
    "is_floating_point",
    "is_inference",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "is_tensor",
    "numel",
    "promote_types",
    "result_type",
]


def is_tensor(obj: Any) -> bool:
    """True if ``obj`` is a tensor."""
    return isinstance(obj, Tensor)


def is_inference(input: Tensor) -> bool:
    """True if the tensor was created in ``inference_mode``."""
    return input.is_inference()


def is_floating_point(input: Tensor) -> bool:
    """True if the dtype is floating."""
    return input.is_floating_point()


def is_signed(input: Tensor) -> bool:
    """True if the dtype has negative numbers."""
    return input.dtype.kind in "ifc"


def is_nonzero(input: Tensor) -> bool:
    """True if the only element is not zero. Raises RuntimeError for other numbers of elements."""
    if input.numel() != 1:
        word = "more than one value" if input.numel() else "no values"
        raise RuntimeError(f"Boolean value of Tensor with {word} is ambiguous")
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """True if the shapes are equal."""
    return input.shape == other.shape


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def promote_types(type1: DType, type2: DType) -> DType:
    """The dtype of an operation on tensors of two dtypes."""
    return promote(as_dtype(type1), as_dtype(type2))


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of an operation on tensors and numbers."""
    return result_dtype(tensor1, tensor2)


def can_cast(from_: DType, to: DType) -> bool:
    """True if an in-place operation may convert a result from one dtype to the other: not to a lower category."""
    return as_dtype(from_).category <= as_dtype(to).category


@dataclass(frozen=True)
class FloatInfo:
    """The limits of a floating dtype."""

    bits: int
    eps: float
    max: float
    min: float
    tiny: float
    smallest_normal: float
    resolution: float
    dtype: DType


@dataclass(frozen=True)
class IntInfo:
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


@functools.cache
def _of_floats(dtype: DType) -> FloatInfo:
    if dtype.name == "bfloat16":
        import ml_dtypes

        info: Any = ml_dtypes.finfo(dtype.numpy)
    else:
        info = np.finfo(dtype.numpy)
    tiny = float(info.smallest_normal)
    return FloatInfo(info.bits, float(info.eps), float(info.max), float(info.min), tiny, tiny, float(info.resolution), dtype)


@functools.cache
def _of_ints(dtype: DType) -> IntInfo:
    info = np.iinfo(dtype.numpy)
    return IntInfo(info.bits, int(info.max), int(info.min), dtype)


def finfo(type: DType | None = None) -> FloatInfo:
    """The limits of a floating dtype; of a complex one, of its parts. Raises TypeError for others."""
    dtype = as_dtype(type or context.default_dtype).real
    if not dtype.is_floating_point:
        raise TypeError(f"tracer.finfo() requires a floating point input type. Use tracer.iinfo to handle '{dtype.name}'")
    return _of_floats(dtype)


def iinfo(type: DType) -> IntInfo:
    """The limits of an integer dtype. Raises TypeError for others."""
    type = as_dtype(type)
    if type.kind not in "ui":
        raise TypeError(f"tracer.iinfo() requires an integer input type. Use tracer.finfo to handle '{type.name}'")
    return _of_ints(type)


_C_NAMES = {"float16": "at::Half", "bfloat16": "at::BFloat16", "float32": "float", "float64": "double"}


def stored(value: Any, dtype: DType) -> Any:
    """``fitting`` for a number that becomes a tensor first: beyond the range of a 16-bit format it is an infinity."""
    if dtype.is_floating_point and dtype.itemsize == 2 and isinstance(value, (int, float)) and abs(value) > finfo(dtype).max:
        return math.copysign(math.inf, value)
    return fitting(value, dtype)


def fitting(value: Any, dtype: DType) -> Any:
    """A number as an element of ``dtype``: a complex number without imaginary part becomes real.

    Infinities and NaN fit floating dtypes; negative numbers not below the negated maximum fit an unsigned dtype, and wrap.
    Raises RuntimeError for a number out of range.
    """
    if not isinstance(value, (int, float, complex)) or isinstance(value, bool) or dtype.is_complex or dtype.kind == "b":
        return value
    if isinstance(value, complex):
        fits, value = value.imag == 0, value.real
    elif dtype.is_floating_point:
        fits = value - value != 0 or abs(value) <= finfo(dtype).max  # infinities and NaN fit
    else:
        limits = iinfo(dtype)
        lowest = limits.min if dtype.is_signed else -limits.max
        fits = value - value == 0 and lowest <= value <= limits.max
    if not fits:
        name = _C_NAMES.get(dtype.name, f"{dtype.name}_t")
        raise RuntimeError(f"value cannot be converted to type {name} without overflow")
    return value


def as_number(value: Any, dtype: DType) -> Any:
    """A number as an element of ``dtype``, as ``filling``: a number, or a tensor if it is dynamic."""
    return element(fitting(value, dtype), dtype)


def filling(value: Any, dtype: DType) -> Tensor:
    """A number, or a tensor without dimensions, as an element of ``dtype``: fractions are truncated for integers. Raises
    RuntimeError for numbers out of range, and for complex numbers if the dtype is real.
    """
    if isinstance(value, Tensor):
        fitting(1j if value.is_complex() else 0, dtype)
        return to_dtype(value, dtype)
    return typed(fitting(value, dtype), dtype)
