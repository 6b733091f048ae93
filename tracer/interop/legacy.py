"""PyTorch's older interfaces: constructors by type (``FloatTensor([[2, 3]])``, ``LongTensor(2, 3)``), ``svd`` returning V."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..core.tensor import Tensor
from ..ir.types import DType, bfloat16, bool_, float16, float32, float64, int8, int16, int32, int64, uint8


def construct(args: tuple[Any, ...], dtype: DType, device: Any = None) -> Tensor:
    """A tensor with the given extents, or the given data, on a device. Raises TypeError for data that is neither numbers nor a
    sequence.
    """
    from ..ops import create

    if not args:
        return create.zeros(0, dtype=dtype, device=device)
    if len(args) == 1 and not isinstance(args[0], (int, np.integer)):
        data = args[0]
        if isinstance(data, (float, str, bytes, dict)) or data is None:
            raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
        if isinstance(data, tuple) and hasattr(data, "numel"):  # a Size
            return create.zeros(data, dtype=dtype, device=device)
        return create.tensor(data, dtype=dtype, device=device)
    return create.zeros(args, dtype=dtype, device=device)


class _Typed(type):
    """``isinstance(t, FloatTensor)`` compares the dtype."""

    dtype: DType

    def __instancecheck__(cls, t: Any) -> bool:
        return isinstance(t, Tensor) and t.dtype is cls.dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        kwargs.pop("device", None)
        if kwargs:
            raise TypeError(f"{cls.__name__}() got an unexpected keyword argument '{next(iter(kwargs))}'")
        return construct(args, cls.dtype)


def _typed(name: str, of: DType) -> Any:
    about = (
        f"Makes tensors of the dtype {of.name}, by shape or data: ``(2, 3)``, ``([2, 3])``. Raises TypeError for other data."
    )
    return _Typed(name, (), {"dtype": of, "__doc__": about, "__module__": "tracer"})


HalfTensor, FloatTensor, DoubleTensor = (
    _typed(*pair) for pair in (("HalfTensor", float16), ("FloatTensor", float32), ("DoubleTensor", float64))
)
BFloat16Tensor, BoolTensor, ByteTensor = (
    _typed(*pair) for pair in (("BFloat16Tensor", bfloat16), ("BoolTensor", bool_), ("ByteTensor", uint8))
)
CharTensor, ShortTensor, IntTensor, LongTensor = (
    _typed(*pair) for pair in (("CharTensor", int8), ("ShortTensor", int16), ("IntTensor", int32), ("LongTensor", int64))
)


class SVD(NamedTuple):
    U: Tensor
    S: Tensor
    V: Tensor


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> SVD:
    """U, S, V with A = U diag(S) V^H, thin if ``some``; zeros for U and V unless ``compute_uv``. See ``linalg.svd``."""
    from .. import linalg
    from ..ops import conj, create, transpose

    if not compute_uv:
        batch, (m, n) = input._data.shape[:-2], input._data.shape[-2:]
        return SVD(
            create.zeros(*batch, m, m, dtype=input.dtype), linalg.svdvals(input), create.zeros(*batch, n, n, dtype=input.dtype)
        )
    u, s, vh = linalg.svd(input, full_matrices=not some)
    return SVD(u, s, conj(transpose(vh, -1, -2)))
