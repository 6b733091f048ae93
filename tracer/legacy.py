"""Constructors by type, as PyTorch had them before dtypes: ``FloatTensor([[2, 3]])``, ``LongTensor(2, 3)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .ir.types import DType, bfloat16, bool_, float16, float32, float64, int8, int16, int32, int64, uint8
from .tensor import Tensor


def construct(args: tuple[Any, ...], dtype: DType) -> Tensor:
    """A tensor of the given extents, or of the given data. Raises TypeError for data that is neither numbers nor a sequence."""
    from .ops import create

    if not args:
        return create.zeros(0, dtype=dtype)
    if len(args) == 1 and not isinstance(args[0], (int, np.integer)):
        data = args[0]
        if isinstance(data, (float, str, bytes, dict)) or data is None:
            raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
        if isinstance(data, tuple) and hasattr(data, "numel"):  # a Size
            return create.zeros(data, dtype=dtype)
        return create.tensor(data, dtype=dtype)
    return create.zeros(args, dtype=dtype)


class _Typed(type):
    """``isinstance(t, FloatTensor)`` asks for the dtype."""

    dtype: DType

    def __instancecheck__(cls, t: Any) -> bool:
        return isinstance(t, Tensor) and t.dtype is cls.dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        kwargs.pop("device", None)
        if kwargs:
            raise TypeError(f"{cls.__name__}() got an unexpected keyword argument '{next(iter(kwargs))}'")
        return construct(args, cls.dtype)


def _typed(name: str, of: DType) -> Any:
    return _Typed(name, (), {"dtype": of, "__doc__": f"Makes tensors of {of}.", "__module__": "tracer"})


HalfTensor, FloatTensor, DoubleTensor = (
    _typed(*pair) for pair in (("HalfTensor", float16), ("FloatTensor", float32), ("DoubleTensor", float64))
)
BFloat16Tensor, BoolTensor, ByteTensor = (
    _typed(*pair) for pair in (("BFloat16Tensor", bfloat16), ("BoolTensor", bool_), ("ByteTensor", uint8))
)
CharTensor, ShortTensor, IntTensor, LongTensor = (
    _typed(*pair) for pair in (("CharTensor", int8), ("ShortTensor", int16), ("IntTensor", int32), ("LongTensor", int64))
)
