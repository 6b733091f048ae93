"""Creation of arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..core.context import context
from ..core.device import require_cpu
from ..core.tensor import Tensor
from ..ir.types import DType, int64


def asarray(obj: Any, /, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """``obj`` as an array. Raises ValueError if ``copy`` is False and one would be needed."""
    require_cpu(device)
    if isinstance(obj, Tensor):
        if dtype is not None and obj.dtype is not dtype:
            if copy is False:
                raise ValueError("a copy is needed to change the dtype")
            return obj.to(dtype)
        return obj.clone() if copy else obj
    if isinstance(obj, np.ndarray) or hasattr(obj, "__dlpack__") or hasattr(obj, "__array__"):
        array = np.asarray(obj)
        wanted = array.dtype if dtype is None else dtype.numpy
        if array.dtype != wanted:
            if copy is False:
                raise ValueError("a copy is needed to change the dtype")
            array, copy = array.astype(wanted), False
        if copy or not array.flags.writeable:
            if copy is False:
                raise ValueError("a copy is needed: the array is read-only")
            array = array.copy()
        return ops.from_numpy(array) if array.ndim else ops.tensor(array)
    if copy is False:
        raise ValueError("a copy is needed to create an array from Python numbers")
    if dtype is None and isinstance(obj, int) and not isinstance(obj, bool) and obj > 2**63 - 1:
        return ops.tensor(np.array(obj, np.uint64))
    return ops.tensor(obj, dtype=dtype)


def _dims(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def empty(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of zeros: memory is always initialised."""
    return zeros(shape, dtype=dtype, device=device)


def zeros(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros."""
    return ops.zeros(_dims(shape), dtype=dtype, device=device)


def ones(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones."""
    return ops.ones(_dims(shape), dtype=dtype, device=device)


def full(shape: Any, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array whose elements all equal ``fill_value``."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    return ops.full(_dims(shape), fill_value, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros of the shape and dtype of ``x``."""
    return zeros_like(x, dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros of the shape and dtype of ``x``."""
    return ops.zeros_like(x, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones of the shape and dtype of ``x``."""
    return ops.ones_like(x, dtype=dtype, device=device)


def full_like(x: Tensor, /, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of ``fill_value`` with the shape and dtype of ``x``."""
    return full(tuple(x.shape), fill_value, dtype=dtype or x.dtype, device=device)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """start, start + step, ... up to stop, exclusive; empty if stop is not ahead."""
    require_cpu(device)
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        dtype = int64 if all(isinstance(v, int) for v in (start, stop, step)) else context.default_dtype
    count = max(0, math.ceil((stop - start) / step))
    if count == 0:
        return ops.zeros(0, dtype=dtype)
    return ops.tensor(np.arange(start, stop, step, dtype=dtype.numpy)[:count])


def linspace(
    start: Any,
    stop: Any,
    /,
    num: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> Tensor:
    """``num`` evenly spaced numbers from start to stop; stop is excluded unless ``endpoint``."""
    require_cpu(device)
    values = np.linspace(start, stop, num, endpoint=endpoint)
    kind = context.default_dtype.to_complex() if np.iscomplexobj(values) else context.default_dtype
    return ops.tensor(values.astype((dtype or kind).numpy))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones on diagonal ``k``, zeros elsewhere."""
    require_cpu(device)
    return ops.tensor(np.eye(n_rows, n_cols, k, dtype=(dtype or context.default_dtype).numpy))


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """The coordinates of a grid. Raises ValueError unless ``indexing`` is "xy" or "ij"."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij', got {indexing!r}")
    return tuple(ops.meshgrid(*arrays, indexing=indexing)) if arrays else ()


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The lower triangle, zeros above."""
    return ops.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The upper triangle, zeros below."""
    return ops.triu(x, k)
