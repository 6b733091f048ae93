"""Factories. Shapes are given as numbers or as one sequence; ``dtype`` defaults to the default floating dtype."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..core.context import context
from ..core.device import CHOSEN, array_on, get_default_device, memory_for_new, moved
from ..core.pinning import pin_memory
from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.types import DType, as_dtype, bfloat16, dtype_of, float64, int64, promote, scalar_dtype
from ..runtime.devices import USED, Device, device_of, filled
from ..tracing.arrays import is_runtime_array
from ..tracing.scalars import RuntimeFloat, RuntimeInt
from .common import element, is_number, operand, typed
from .inquiry import filling, stored
from .shape import _sizes, expand

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


_IGNORED = ("layout", "memory_format", "names", "non_blocking")


def factory(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The factory with the arguments ``device``, ``out``, and PyTorch's memory layouts, of which only one exists here."""

    @functools.wraps(function)
    def make(*args: Any, device: Any = None, out: Tensor | None = None, **more: Any) -> Tensor:
        if device is None and USED and args and isinstance(args[0], Tensor) and _is_beside(function.__name__):
            device = args[0].device
        target = memory_for_new(device) if device is not None or CHOSEN else None
        pin = False
        if more:
            pin = more.pop("pin_memory", False)
            for name in _IGNORED:
                more.pop(name, None)
            if more.get("dtype") is not None:
                more["dtype"] = as_dtype(more["dtype"])
        if target is context.place:  # both None, as a rule
            t = function(*args, **more)
        else:
            with _placed(target):
                t = function(*args, **more)
        if target is not None and device_of(t._data) is not target:
            t._data = array_on(t._data, target)
        if pin:
            t = pin_memory(t)
        return t if out is None else out.copy_(t)

    return make


@contextlib.contextmanager
def _placed(target: Device | None) -> Iterator[None]:
    """In this context, ``_filled`` makes tensors on a device."""
    before = context.place
    context.place = target if context.recorder is None else None
    try:
        yield
    finally:
        context.place = before


def _filled(value: Any, shape: tuple[int, ...], dtype: DType) -> Tensor:
    """A tensor of equal numbers. Raises RuntimeError for negative extents."""
    if dtype.kind == "b":
        value = bool(value)
    if context.place is None or min(shape, default=0) < 0:
        return P.full(value=value, shape=shape, dtype=dtype.short)
    return wrap(filled(P.full(value=value, shape=(), dtype=dtype.short)._data, shape, context.place))


def _is_beside(name: str) -> bool:
    """Whether a factory makes tensors on the device of its first argument."""
    return name == "tensor" or name.endswith("_like")


def _leaf(t: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        if not (t.is_floating_point() or t.is_complex()):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        t.requires_grad_()
    return t


@factory
def tensor(data: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data``: numbers, nested sequences, an array, a tensor.

    The dtype defaults to the promotion of all numbers: Python floats have the default dtype, integers int64, tensors and
    arrays, also in sequences, their own dtype. Raises TypeError for non-numeric data, RuntimeError for Python numbers out
    of the dtype's range, and for ``requires_grad`` with a dtype that is not floating.
    """
    if isinstance(data, Tensor):
        if context.recorder is not None:
            t = data.detach().clone()
            return _leaf(t if dtype is None else t.to(dtype), requires_grad)
        data = (data if not data._requires_grad else data.detach()).cpu().numpy()
    elif is_runtime_array(data):
        t = data.tensor().clone()
        return _leaf(t if dtype is None else t.to(dtype), requires_grad)
    if type(data) is RuntimeFloat or (type(data) is RuntimeInt and abs(data) <= 1 << 53):  # type: ignore[arg-type]
        number = dtype or (int64 if type(data) is RuntimeInt else context.default_dtype)
        if isinstance(data, np.generic):
            data, number = data.item(), dtype or dtype_of(np.dtype(data.__class__))
        if number.category > 1 or number is int64:
            return _leaf(P.copy(typed(data, number)), requires_grad)
    types = _types(data)
    if context.recorder is not None and not types.isdisjoint((RuntimeFloat, RuntimeInt)):
        found = _of_numbers(data, dtype)
        if found is not None:
            return _leaf(P.copy(found), requires_grad)
    if context.recorder is not None and Tensor in types and (made := _of_elements(data, dtype)) is not None:
        return _leaf(made, requires_grad)
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if data is None:
        raise RuntimeError("Could not infer dtype of NoneType")
    plain = types <= _NUMBERS
    try:
        array = np.array(data if plain else _plain(data))
    except ValueError:
        _require_rectangle(data)
        raise
    if plain and (array.dtype.kind == "O" or (dtype is None and array.dtype == np.uint64)):
        raise ValueError("Overflow when unpacking long long")
    if array.dtype.kind not in "buifc" and array.dtype != bfloat16.numpy:
        raise TypeError(f"can't convert {type(data).__name__} to a tensor")
    if dtype is None:
        dtype = dtype_of(array.dtype) if plain else _dtype_of(data)
        if dtype is None or (plain and dtype.category > 1):
            dtype = context.default_dtype.to_complex() if array.dtype.kind == "c" else context.default_dtype
    elif not isinstance(data, np.ndarray):
        if array.dtype.kind == "c" and not dtype.is_complex:
            raise TypeError("must be real number, not complex")
        if dtype.kind in "ui":
            _require_range(array, dtype)
    return _leaf(fixed(array.astype(dtype.numpy, copy=False)), requires_grad)


def _of_elements(data: Any, dtype: DType | None) -> Tensor | None:
    """A vector of numbers and of tensors without axes, which a recorded run does not read; None for other data."""
    kind = dtype or _dtype_of(data)
    if kind is None or not all(type(x) in (int, float) or (type(x) is Tensor and x.ndim == 0) for x in data):
        return None
    if kind.category < 2 and any(type(x) is float or (type(x) is Tensor and x.dtype is not kind) for x in data):
        return None  # the numbers' range is checked
    ones = [
        P.reshape(x.detach(), shape=(1,)) if type(x) is Tensor else P.full(value=x, shape=(1,), dtype=kind.short) for x in data
    ]
    parts = [x if x.dtype is kind else P.cast(x, dtype=kind.short) for x in ones]
    return P.concatenate(*parts, axis=0)  # type: ignore[no-any-return]


_NUMBERS = {bool, int, float, complex}


def _types(data: Any) -> set[type]:
    """The types of the leaves of nested lists and tuples."""
    if type(data) not in (list, tuple):
        return {type(data)}
    found = set(map(type, data))
    if found & {list, tuple}:
        return (found - {list, tuple}).union(*(_types(x) for x in data if type(x) in (list, tuple)))
    return found


def _of_numbers(data: Any, dtype: DType | None) -> Tensor | None:
    """Nested sequences of numbers of a recorded run as a tensor that replays recompute; None if that is not possible."""
    leaves: list[Any] = []
    shape = _flattened(data, leaves)
    kinds = {x.__class__ for x in leaves}
    dtype = dtype or (context.default_dtype if float in kinds else int64)
    if (
        shape is None
        or not kinds <= {bool, int, float}
        or not (dtype.is_floating_point or (dtype is int64 and float not in kinds))
    ):
        return None
    if not all(-(1 << 63) <= x < 1 << 63 for x in leaves if type(x) is int):
        return None
    assert context.recorder is not None
    return context.recorder.array_of(leaves, dtype, shape)


def _flattened(data: Any, leaves: list[Any]) -> tuple[int, ...] | None:
    """The shape of nested sequences, whose ``leaves`` are collected; None if they are ragged."""
    if type(data) not in (list, tuple):
        leaves.append(data)
        return ()
    shapes = {_flattened(x, leaves) for x in data}
    (inner,) = shapes if len(shapes) == 1 else (None,)
    return None if inner is None else (len(data), *inner)


def _plain(data: Any) -> Any:
    """Nested sequences of tensors and numbers as nested sequences of numbers."""
    if isinstance(data, Tensor):
        return data.item() if data.ndim == 0 else data.tolist()
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    return data


def _dtype_of(data: Any) -> DType | None:
    """The dtype that the numbers in ``data`` are promoted to; None if there are none."""
    if isinstance(data, Tensor):
        return data.dtype
    if isinstance(data, (np.ndarray, np.generic)):
        return dtype_of(data.dtype)
    if isinstance(data, (list, tuple)):
        found = [d for d in map(_dtype_of, data) if d is not None]
        return functools.reduce(promote, found) if found else None
    if is_number(data):
        return scalar_dtype(data, context.default_dtype)
    dtype = dtype_of(np.asarray(data).dtype)
    return dtype if dtype.category < 2 else None


def _require_range(array: np.ndarray, dtype: DType) -> None:
    """Raises RuntimeError for Python numbers out of an integer dtype's range. Negative integers wrap in unsigned dtypes."""
    limits = np.iinfo(dtype.numpy)
    if array.dtype.kind in "fc":
        bad = ~((array.real >= limits.min) & (array.real <= limits.max))
    else:
        bad = (array > limits.max) | (array < (limits.min if dtype.is_signed else -limits.max))
    if np.any(bad):
        raise RuntimeError(f"value cannot be converted to type {dtype.name}_t without overflow")


def _require_rectangle(data: Any, dim: int = 0) -> None:
    """Raises ValueError with PyTorch's message for a ragged nested sequence."""
    if not isinstance(data, (list, tuple)):
        return
    lengths = [len(x) if isinstance(x, (list, tuple)) else 0 for x in data]
    for n in lengths:
        if n != lengths[0]:
            raise ValueError(f"expected sequence of length {lengths[0]} at dim {dim + 1} (got {n})")
    for x in data:
        _require_rectangle(x, dim + 1)


def fixed(array: np.ndarray) -> Tensor:
    """The array as a tensor. Its elements depend only on extents and Python numbers, so it is a constant of a trace."""
    t = wrap(array)
    if context.recorder is not None:
        context.recorder.constant(t)
    return t


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, without a copy where possible. A tensor stays where it is unless ``device`` says otherwise."""
    dtype = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        t = data if dtype is None else data.to(dtype)
        return t if device is None else moved(t, device)
    if not isinstance(data, np.ndarray) and hasattr(data, "__cuda_array_interface__"):
        from .construct import asarray

        return asarray(data, dtype=dtype, device=device)
    shared = isinstance(data, np.ndarray) and (dtype is None or data.dtype == dtype.numpy)
    t = from_numpy(data) if shared else tensor(data, dtype, device="cpu")
    target = memory_for_new(device)
    return t if target is None else moved(t, device if device is not None else get_default_device())


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory. Raises TypeError for unsupported dtypes."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    dtype_of(array.dtype)
    if is_runtime_array(array):
        return array.tensor()  # type: ignore[attr-defined, no-any-return]
    if type(array) is not np.ndarray:
        array = array.view(np.ndarray)  # of a subclass
    recorder = context.recorder
    if recorder is None:
        return wrap(array)
    known = recorder.arrays.get(id(array))
    if known is not None:
        return known.detach()
    t = fixed(array.view())
    recorder.shows(t, array)
    return t


@factory
def full(size: Any, fill_value: Any, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the given shape filled with ``fill_value``; the dtype defaults to the value's.

    Raises TypeError unless it is a number or a tensor without dimensions, RuntimeError for a number out of the dtype's
    range.
    """
    return _full(size, fill_value, dtype, requires_grad)


def _full(size: Any, fill_value: Any, dtype: DType | None, requires_grad: bool) -> Tensor:
    if isinstance(fill_value, Tensor) and fill_value.ndim == 0:
        dtype = dtype or (fill_value.dtype if fill_value.dtype.category < 2 else context.default_dtype)
        return _leaf(P.copy(expand(filling(fill_value, dtype), size)), requires_grad)
    if not is_number(fill_value):
        raise TypeError(f"full(): argument 'fill_value' must be a number, not {type(fill_value).__name__}")
    if dtype is None:
        dtype = scalar_dtype(operand(fill_value), context.default_dtype)
    shape = (size,) if isinstance(size, int) else tuple(size)
    value = element(stored(fill_value, dtype), dtype)
    if isinstance(value, Tensor):  # a number that differs between calls
        return _leaf(P.copy(expand(value, shape)), requires_grad)
    return _leaf(_filled(value, shape, dtype), requires_grad)


@factory
def zeros(*size: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return _leaf(_filled(0, _sizes(size), dtype or context.default_dtype), requires_grad)


@factory
def ones(*size: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _leaf(_filled(1, _sizes(size), dtype or context.default_dtype), requires_grad)


empty = zeros


@factory
def zeros_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros, with the shape and dtype of ``input``."""
    return _leaf(_filled(0, input._data.shape, dtype or input.dtype), requires_grad)


@factory
def ones_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones, with the shape and dtype of ``input``."""
    return _leaf(_filled(1, input._data.shape, dtype or input.dtype), requires_grad)


@factory
def full_like(input: Tensor, fill_value: Any, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """``fill_value``, with the shape and dtype of ``input``."""
    return _full(input._data.shape, fill_value, dtype or input.dtype, requires_grad)


empty_like = zeros_like


@factory
def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """start, start + step, ... up to end, exclusive."""
    if end is None:
        start, end = 0, start
        if end.__class__ is int and end >= 0 and dtype in (None, int64) and step == 1:
            return _leaf(P.iota(shape=(end,), axis=0, dtype="i64"), requires_grad)
    start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))
    if dtype is not None and dtype.kind == "b":
        raise NotImplementedError("\"arange_cpu\" not implemented for 'Bool'")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not np.isfinite(float(start) + float(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    out_dtype = dtype or (int64 if all(isinstance(v, int) for v in (start, end, step)) else context.default_dtype)
    whole = out_dtype.category < 2
    if out_dtype is int64:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise RuntimeError("step must be nonzero")
    count = max(0, int(np.ceil((end - start) / step)))
    if whole:
        start, step = int(start), int(step)
    # Computed in 64 bits: start + i * step, rounded once.
    steps = P.iota(shape=(count,), axis=0, dtype="i64" if whole else "f64")
    if (start, step) != (0, 1):
        steps = P.add(P.mul(steps, step), start)
    return _leaf(steps if steps.dtype is out_dtype else P.cast(steps, dtype=out_dtype.short), requires_grad)


@factory
def linspace(
    start: float | Tensor, end: float | Tensor, steps: int, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """``steps`` evenly spaced numbers from start to end, inclusive; for integers they are truncated, the limits first. Raises
    NotImplementedError for bools.
    """
    out = _spaced("linspace", start, end, steps, dtype or context.default_dtype, np.float64)
    return _leaf(P.cast(out, dtype=(dtype or context.default_dtype).short), requires_grad)


def _spaced(name: str, start: Any, end: Any, steps: int, dtype: DType, step_type: Any) -> Tensor:
    """Evenly spaced numbers, in float64; for integers each half from its limit, with a step of ``step_type``."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if any(isinstance(v, Tensor) and v.ndim for v in (start, end)):
        raise RuntimeError(f"{name} only supports 0-dimensional start and end tensors")
    if dtype.kind == "b":
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for 'Bool'")
    position = P.iota(shape=(steps,), axis=0, dtype=float64.short)
    if dtype.kind not in "ui":
        start, end = (P.cast(v, dtype=float64.short) if isinstance(v, Tensor) else v for v in (start, end))
        return P.add(P.mul(position, (end - start) / max(steps - 1, 1)), start)
    first, last = (P.cast(typed(v, dtype), dtype="f64") for v in (start, end))
    if step_type is np.float32:
        position, first, last = (P.cast(v, dtype="f32") for v in (position, first, last))
    step = P.div(P.sub(last, first), max(steps - 1, 1))
    rising = P.add(first, P.mul(step, position))
    falling = P.sub(last, P.mul(step, P.sub(steps - 1, position)))
    return P.where(P.lt(position, steps // 2 if steps > 1 else 1), rising, falling)


@factory
def logspace(
    start: float | Tensor,
    end: float | Tensor,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` powers of ``base`` with evenly spaced exponents from start to end; for integers they are truncated, the limits
    first. Raises NotImplementedError for bools.
    """
    out_dtype = dtype or context.default_dtype
    exponents = P.cast(_spaced("logspace", start, end, steps, out_dtype, np.float32), dtype="f64")
    powers = P.pow_(P.full(value=float(base), shape=(), dtype="f64"), exponents)
    return _leaf(P.cast(powers, dtype=out_dtype.short), requires_grad)


@factory
def eye(n: int, m: int | None = None, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal, zeros elsewhere."""
    shape = (n, n if m is None else m)
    diagonal = P.eq(P.iota(shape=shape, axis=0, dtype="i64"), P.iota(shape=shape, axis=1, dtype="i64"))
    return _leaf(P.cast(diagonal, dtype=(dtype or context.default_dtype).short), requires_grad)
