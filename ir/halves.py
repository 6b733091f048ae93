"""Arithmetic on 16-bit floating types: float32 inside, one rounding at the end.

Arithmetic operations convert 16-bit operands to float32, so sums, means and products accumulate in float32, and round their
result once. Operations that move numbers, or depend on the format itself, keep the format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .types import HALVES, TensorType, dtype_of, type_of

if TYPE_CHECKING:
    from .primitive import Primitive


def compute(primitive: Primitive, function: Callable[..., Any], args: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    """Applies ``function``, a primitive's meaning, to arrays (and numbers) of which some are 16-bit."""
    if primitive.keeps_format:
        return function(*args, **attrs)
    wide = [a.astype(np.float32) if getattr(a, "dtype", None) in HALVES else a for a in args]
    if all(a is b for a, b in zip(args, wide, strict=True)):
        return function(*args, **attrs)
    result = function(*wide, **attrs)
    types = primitive.infer_types(_types(primitive, args), attrs)
    if isinstance(result, tuple):
        return tuple(np.asarray(r).astype(t.dtype.numpy, copy=False) for r, t in zip(result, types, strict=True))
    return np.asarray(result).astype(types[0].dtype.numpy, copy=False)


def _types(primitive: Primitive, args: Sequence[Any]) -> list[TensorType]:
    """The operands' types; for elementwise operations without shapes, because those broadcast."""
    known = [None if isinstance(a, (bool, int, float, complex)) else type_of(a) for a in args]
    if not primitive.is_elementwise:
        return [t for t in known if t is not None]
    like = max((t for t in known if t is not None), key=lambda t: t.dtype.category)
    return [(t or like).with_shape(()) for t in known]


def widened(x: Any) -> Any:
    """An argument of a rule, converted to float32 if it is 16-bit; None is unchanged."""
    if x is None or x.dtype.itemsize != 2:
        return x
    from .ops.elementwise import cast

    return cast(x, dtype="f32") if is_half(x.dtype) else x


def is_half(dtype: Any) -> bool:
    """True for a 16-bit floating dtype, NumPy's or the IR's."""
    return dtype in HALVES if isinstance(dtype, np.dtype) else dtype.is_half


def narrowed(x: Any, like: Any) -> Any:
    """``x``, rounded to the format of ``like`` if that is 16-bit."""
    if like.dtype.itemsize != 2:
        return x
    from .ops.elementwise import cast

    dtype = like.dtype if not isinstance(like.dtype, np.dtype) else dtype_of(like.dtype)
    return cast(x, dtype=dtype.short)


class WideTypes(Sequence[TensorType]):
    """Operand types on demand, with 16-bit types replaced by float32."""

    __slots__ = ("types",)

    def __init__(self, types: Sequence[TensorType]):
        self.types = types

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, i: Any) -> Any:
        found = self.types[i]
        return found.with_dtype(found.dtype.wide)
