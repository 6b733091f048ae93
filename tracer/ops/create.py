"""Factories. Shapes are given as numbers or as one sequence; ``dtype`` defaults to the default floating dtype."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..context import context
from ..device import require_cpu
from ..ir import ops as P
from ..ir.types import DType, bfloat16, dtype_of, float64, int64
from ..tensor import Tensor, wrap
from .inquiry import fitting
from .shape import _sizes

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


_IGNORED = ("layout", "pin_memory", "memory_format", "names", "non_blocking")


def factory(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The factory, which takes ``device``, ``out``, and the memory layouts of PyTorch's, of which there is one here."""

    @functools.wraps(function)
    def make(*args: Any, device: Any = None, out: Tensor | None = None, **more: Any) -> Tensor:
        require_cpu(device)
        for name in _IGNORED:
            more.pop(name, None)
        t = function(*args, **more)
        return t if out is None else out.copy_(t)

    return make


def _leaf(t: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        if not (t.is_floating_point() or t.is_complex()):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        t.requires_grad_()
    return t


@factory
def tensor(data: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data``: numbers, nested sequences, an array.

    Python floats get the default dtype, arrays keep theirs. Raises TypeError for what is not numeric, RuntimeError for
    ``requires_grad`` on a dtype that is not floating.
    """
    if isinstance(data, Tensor):
        data = data.numpy() if not data._requires_grad else data.detach().numpy()
    elif context.recorder is not None and isinstance(data, np.ndarray):
        context.recorder.give_up("makes a tensor from an array")
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if data is None:
        raise RuntimeError("Could not infer dtype of NoneType")
    try:
        array = np.array(_plain(data))
    except ValueError:
        _require_rectangle(data)
        raise
    if array.dtype.kind not in "buifc" and array.dtype != bfloat16.numpy:
        raise TypeError(f"can't convert {type(data).__name__} to a tensor")
    if dtype is None and array.dtype == np.float64 and not _has_dtype(data):
        dtype = context.default_dtype
    if dtype is None and array.dtype == np.complex128 and not _has_dtype(data):
        dtype = context.default_dtype.to_complex()
    t = wrap(array.astype((dtype or dtype_of(array.dtype)).numpy, copy=False))
    if context.recorder is not None:
        context.recorder.constant(t)
    return _leaf(t, requires_grad)


def _plain(data: Any) -> Any:
    """Nested sequences of tensors and numbers as nested sequences of numbers."""
    if isinstance(data, Tensor):
        return data.item() if data.ndim == 0 else data.tolist()
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    return data


def _has_dtype(data: Any) -> bool:
    """Whether the first number in ``data`` is NumPy's, and so brings a dtype."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic)) or (isinstance(data, Tensor) and data.is_floating_point())


def _require_rectangle(data: Any, dim: int = 0) -> None:
    """Raises ValueError, in PyTorch's words, where a nested sequence has rows of different lengths."""
    if not isinstance(data, (list, tuple)):
        return
    lengths = [len(x) if isinstance(x, (list, tuple)) else 0 for x in data]
    for n in lengths:
        if n != lengths[0]:
            raise ValueError(f"expected sequence of length {lengths[0]} at dim {dim + 1} (got {n})")
    for x in data:
        _require_rectangle(x, dim + 1)


@factory
def as_tensor(data: Any, dtype: DType | None = None) -> Tensor:
    """``data`` as a tensor, without a copy where that is possible."""
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    if isinstance(data, np.ndarray) and (dtype is None or data.dtype == dtype.numpy):
        return from_numpy(data)
    return tensor(data, dtype)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory. Raises TypeError for dtypes there is no tensor of."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    dtype_of(array.dtype)
    if context.recorder is not None:
        context.recorder.give_up("makes a tensor from an array")
    return wrap(array)


@factory
def full(size: Any, fill_value: Any, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the given shape with every element ``fill_value``; the dtype defaults to the value's."""
    if dtype is None:
        kind = type(fill_value)
        number = context.default_dtype.to_complex() if kind is complex else context.default_dtype
        dtype = dtype_of(np.bool_) if kind is bool else int64 if kind is int else number
    shape = (size,) if isinstance(size, int) else tuple(size)
    return _leaf(P.full(value=fitting(fill_value, dtype), shape=shape, dtype=dtype.short), requires_grad)


@factory
def zeros(*size: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros."""
    return full(_sizes(size), 0, dtype=dtype or context.default_dtype, requires_grad=requires_grad)


@factory
def ones(*size: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return full(_sizes(size), 1, dtype=dtype or context.default_dtype, requires_grad=requires_grad)


empty = zeros


@factory
def zeros_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros, with the shape and dtype of ``input``."""
    return full(input._data.shape, 0, dtype=dtype or input.dtype, requires_grad=requires_grad)


@factory
def ones_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones, with the shape and dtype of ``input``."""
    return full(input._data.shape, 1, dtype=dtype or input.dtype, requires_grad=requires_grad)


@factory
def full_like(input: Tensor, fill_value: Any, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """``fill_value``, with the shape and dtype of ``input``."""
    return full(input._data.shape, fill_value, dtype=dtype or input.dtype, requires_grad=requires_grad)


empty_like = zeros_like


@factory
def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """start, start + step, ... below end."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not np.isfinite(float(start) + float(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    whole = all(isinstance(v, int) for v in (start, end, step))
    count = max(0, int(np.ceil((end - start) / step)))
    out_dtype = dtype or (int64 if whole else context.default_dtype)
    # Computed in 64 bits: start + i * step, rounded once.
    steps = P.iota(shape=(count,), axis=0, dtype="i64" if whole else "f64")
    if (start, step) != (0, 1):
        steps = P.add(P.mul(steps, step), start)
    return _leaf(steps if steps.dtype is out_dtype else P.cast(steps, dtype=out_dtype.short), requires_grad)


@factory
def linspace(start: float, end: float, steps: int, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """``steps`` numbers evenly spaced from start to end, both included."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if any(isinstance(v, Tensor) and v.ndim for v in (start, end)):
        raise RuntimeError("linspace only supports 0-dimensional start and end tensors")
    start, end = (P.cast(v, dtype=float64.short) if isinstance(v, Tensor) else v for v in (start, end))
    position = P.iota(shape=(steps,), axis=0, dtype=float64.short)
    out = P.add(P.mul(position, (end - start) / max(steps - 1, 1)), start)
    return _leaf(P.cast(out, dtype=(dtype or context.default_dtype).short), requires_grad)


@factory
def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """``steps`` powers of ``base``, with exponents evenly spaced from start to end."""
    exponents = linspace(start, end, steps, dtype=float64)
    powers = P.pow_(P.full(value=float(base), shape=(), dtype="f64"), exponents)
    return _leaf(P.cast(powers, dtype=(dtype or context.default_dtype).short), requires_grad)


@factory
def eye(n: int, m: int | None = None, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal, zeros elsewhere."""
    shape = (n, n if m is None else m)
    diagonal = P.eq(P.iota(shape=shape, axis=0, dtype="i64"), P.iota(shape=shape, axis=1, dtype="i64"))
    return _leaf(P.cast(diagonal, dtype=(dtype or context.default_dtype).short), requires_grad)
