"""Dtypes and shapes: inspection, conversion and promotion."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..core.context import context
from ..core.device import CPU, require_cpu
from ..core.tensor import Tensor
from ..ir import types as T
from ..ir.types import DType, TensorType, combine, promoted, scalar_dtype
from ..ops.inquiry import FloatInfo, IntInfo

VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")

_KINDS: dict[str, tuple[DType, ...]] = {
    "bool": (T.bool_,),
    "signed integer": (T.int8, T.int16, T.int32, T.int64),
    "unsigned integer": (T.uint8, T.uint16, T.uint32, T.uint64),
    "real floating": (T.float32, T.float64),
    "complex floating": (T.complex64, T.complex128),
}
_KINDS["integral"] = _KINDS["signed integer"] + _KINDS["unsigned integer"]
_KINDS["numeric"] = _KINDS["integral"] + _KINDS["real floating"] + _KINDS["complex floating"]


def isdtype(dtype: DType, kind: Any) -> bool:
    """True if ``dtype`` equals ``kind``, is of that kind, or matches any in a tuple. Raises ValueError for unknown kinds."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, DType):
        return dtype is kind
    if kind not in _KINDS:
        raise ValueError(f"unknown kind of dtypes: {kind!r}")
    if kind in ("real floating", "numeric") and dtype in (T.float16, T.bfloat16):
        return True
    return dtype in _KINDS[kind]


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """``x`` in another dtype. Raises TypeError for a conversion of complex numbers to real ones."""
    require_cpu(device)
    if x.dtype is dtype:
        return x.clone() if copy else x
    if x.is_complex() and not dtype.is_complex:
        raise TypeError("complex numbers cannot be cast to real ones: use their real part")
    return x.to(dtype)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of an operation on arrays, dtypes and Python numbers. Raises ValueError without any array or dtype."""
    strong = [TensorType(x, (1,)) for x in arrays_and_dtypes if isinstance(x, DType)]
    strong += [TensorType(x.dtype, (1,)) for x in arrays_and_dtypes if isinstance(x, Tensor)]
    if not strong:
        raise ValueError("at least one array or dtype is required")
    best = promoted(strong)
    for x in arrays_and_dtypes:
        if not isinstance(x, (DType, Tensor)):
            best = combine(best, scalar_dtype(x, context.default_dtype))
    assert best is not None
    return best


def promote(*xs: Any) -> list[Any]:
    """Arrays in their common dtype; Python numbers are unchanged."""
    wanted = result_type(*xs)
    return [x.to(wanted) if isinstance(x, Tensor) and x.dtype is not wanted else x for x in xs]


def can_cast(from_: Any, to: DType, /) -> bool:
    """True if promotion can lead from one dtype to another."""
    dtype = from_.dtype if isinstance(from_, Tensor) else from_
    return bool(np.can_cast(dtype.numpy, to.numpy))


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating dtype, or of an array's dtype."""
    return ops.finfo(type.dtype if isinstance(type, Tensor) else type)


def iinfo(type: Any, /) -> IntInfo:
    """The limits of an integer dtype, or of an array's dtype."""
    return ops.iinfo(type.dtype if isinstance(type, Tensor) else type)


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """``x`` broadcast to a shape."""
    return ops.expand(x, tuple(shape))


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """All arrays broadcast to a common shape."""
    return list(ops.broadcast_tensors(*arrays))


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all the given shapes broadcast to."""
    return tuple(int(n) for n in np.broadcast_shapes(*shapes))


class _Info:
    """Information about the namespace."""

    def capabilities(self) -> dict[str, Any]:
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Any:
        return CPU

    def devices(self) -> list[Any]:
        return [CPU]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        real = context.default_dtype
        return {"real floating": real, "complex floating": real.to_complex(), "integral": T.int64, "indexing": T.int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        known = _KINDS["bool"] + _KINDS["numeric"]
        return {d.name: d for d in known if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> _Info:
    """Devices, dtypes and capabilities."""
    return _Info()
