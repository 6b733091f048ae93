"""Primitives on a device's arrays: each is a program of one operation, generated once for each combination of types."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from ...ir import ops, pipeline
from ...ir.graph import Builder, Graph
from ...ir.interp import Build, using
from ...ir.primitive import Kind, Primitive
from ...ir.types import TensorType, array_type, dtype_of
from ..programs.layout import lay_out
from ..programs.plan import Plan
from .array import ALIGNED, Borrowed, DeviceArray, Memory, broadcast_to, on_host, to_device, to_host
from .device import Device
from .program import DeviceProgram

_MOST = 4096  # programs of one operation


def apply(device: Device, primitive: Primitive, operands: Sequence[Any], attrs: Mapping[str, Any]) -> DeviceArray:
    """``Device.apply``."""
    arrays = [_operand(x, operands, device) for x in operands]
    if primitive.makes_views and primitive.kind is not Kind.ELEMENTWISE:
        (x,) = arrays
        return _viewed(primitive, x, attrs)
    if primitive is ops.matmul:
        arrays, attrs = _as_stored(arrays, attrs)
    types = tuple([array_type(x.dtype, x.shape) for x in arrays])
    # The text of attributes distinguishes 1, 1.0 and True, and -0.0 from 0.0; equality does not.
    key = device, primitive, types, repr(attrs), Device.tf32
    if key not in _programs:
        if len(_programs) >= _MOST:
            _programs.pop(next(iter(_programs)))
        _programs[key] = _program(device, primitive, types, attrs)
    program = _programs[key]
    if program is None:
        return on_host(primitive.impl, arrays, attrs)
    whole = [x if x.flags.c_contiguous else contiguous(x) for x in arrays]
    (result,) = program.run([x.address for x in whole])
    return result


def _as_stored(arrays: list[DeviceArray], attrs: Mapping[str, Any]) -> tuple[list[DeviceArray], Mapping[str, Any]]:
    """The operands of a product, with transposed ones as they are stored: libraries transpose while they read."""
    found, flags = [], {}
    for x, flag in zip(arrays, ("ta", "tb"), strict=True):
        turned = not x.layout.flags.c_contiguous and x.layout.swapaxes(-1, -2).flags.c_contiguous
        found.append(x.swapaxes(-1, -2) if turned else x)
        flags[flag] = attrs.get(flag, False) != turned
    return found, {**attrs, **flags}


def _viewed(primitive: Primitive, x: DeviceArray, attrs: Mapping[str, Any]) -> DeviceArray:
    if primitive is ops.reshape:
        return x.reshape(attrs["shape"])
    if primitive is ops.view_as_complex and x.size and x.strides[-1] != x.itemsize:
        x = contiguous(x)
    if primitive.lazy:
        return on_host(primitive.impl, [x], attrs)
    return DeviceArray(primitive.impl(x.layout, **attrs), x.memory)


def _operand(x: Any, operands: Sequence[Any], device: Device) -> DeviceArray:
    """An operand on the device. A Python number has the dtype of the other operand."""
    if isinstance(x, DeviceArray):
        return x
    if isinstance(x, np.ndarray | np.generic):
        array = np.asarray(x)
        return to_device(array, device) if x.ndim else _scalar(array.tobytes(), x.dtype, device, device.stream)
    dtypes = [dtype_of(y.dtype) for y in operands if hasattr(y, "dtype")]
    like = max(dtypes, key=lambda d: d.category)
    return _scalar(np.asarray(x, like.numpy).tobytes(), like.numpy, device, device.stream)


@functools.lru_cache(maxsize=256)
def _scalar(data: bytes, dtype: np.dtype[Any], device: Device, stream: int) -> DeviceArray:
    """A number on the device. ``stream`` is the current one: memory that is freed is used again there."""
    return to_device(np.frombuffer(data, dtype).reshape(()), device)


_programs: dict[Any, DeviceProgram | None] = {}


def _program(
    device: Device, primitive: Primitive, types: tuple[TensorType, ...], attrs: Mapping[str, Any]
) -> DeviceProgram | None:
    """The program of one operation; None if it does not compile."""
    builder = Builder(primitive.name)
    values = [builder.input(t) for t in types]
    with using(Build(builder)):
        result = primitive(*values, **attrs)
    try:
        return _compiled(builder.finish([result]), device)
    except Exception:  # of the compiler: the host computes it
        return None


def plan(graph: Graph, device: Device) -> Plan:
    """The plan of a graph for a device."""
    return lay_out(pipeline.compiled(graph, pipeline.COMPILE_FOR_GRIDS), device.kernels)


def _compiled(graph: Graph, device: Device) -> DeviceProgram:
    with Device.compiling():
        return DeviceProgram(plan(graph, device), device)


@functools.lru_cache(maxsize=_MOST)
def _gathered(device: Device, span: TensorType, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> DeviceProgram:
    """The program that copies a strided view of adjacent elements."""
    builder = Builder("contiguous")
    whole = builder.input(span)
    (view,) = builder.append(ops.strided, [whole], {"shape": shape, "strides": strides, "offset": offset})
    return _compiled(builder.finish([view]), device)


def contiguous(x: DeviceArray) -> DeviceArray:
    """A contiguous copy of an array."""
    device = x.device
    if x.layout.flags.c_contiguous or not x.size:
        out = Memory(device, x.nbytes).array(x.shape, x.dtype)
        if x.size:
            device.copy(out.address, x.address, x.nbytes)
        return out
    strides = tuple([s // x.itemsize for s in x.strides])
    native = dtype_of(x.dtype).is_native
    if not native or min(strides) < 0:
        return to_device(to_host(x), device)
    low, high = byte_bounds(x.layout)
    low -= low % ALIGNED if x.itemsize <= ALIGNED else 0
    span, offset = array_type(x.dtype, ((high - low) // x.itemsize,)), (x.address - low) // x.itemsize
    (result,) = _gathered(device, span, x.shape, strides, offset).run([low])
    return result


class _Slice(NamedTuple):
    """A strided array as a slice of a contiguous one: the array's axes in the order of that, its extents, and the slice."""

    low: int  # the address of the contiguous one
    order: tuple[int, ...]
    extents: tuple[int, ...]
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]


def _as_slice(x: DeviceArray) -> _Slice | None:
    """None if the axes are not nested: those of slices and permutations of contiguous arrays are."""
    axes = [axis for axis, n in enumerate(x.shape) if n > 1]
    order = sorted(axes, key=lambda axis: -x.strides[axis])
    steps = [x.strides[axis] // x.itemsize for axis in order] or [1]
    counts = [x.shape[axis] for axis in order] or [1]
    if steps[-1] < 1 or any(a % b for a, b in itertools.pairwise(steps[:-1])):
        return None
    # The innermost axis may have a step. Each outer one advances by whole rows of what is inside.
    row = steps[-2] if len(steps) > 1 else counts[-1] * steps[-1] + ALIGNED
    last = (counts[-1] - 1) * steps[-1]
    begin = x.address if isinstance(x.memory, Borrowed) else x.memory.address
    for start in range(min(row - last, ALIGNED)):
        low = x.address - start * x.itemsize
        if low % ALIGNED == 0 and low >= begin:
            break
    else:
        return None
    extents = [counts[0], *(a // b for a, b in itertools.pairwise(steps[:-1])), row] if len(steps) > 1 else [row]
    if any(n > whole for n, whole in zip(counts[1:-1], extents[1:-1], strict=True)):
        return None
    sliced = [(0, n, 1) for n in counts[:-1]] + [(start, start + last + 1, steps[-1])]
    missing = [axis for axis in range(x.ndim) if axis not in axes]
    return _Slice(low, (*missing, *order), tuple(extents), *map(tuple, zip(*sliced, strict=True)))


@functools.lru_cache(maxsize=_MOST)
def _assigning(device: Device, to: _Slice, shape: tuple[int, ...], value: TensorType) -> DeviceProgram:
    """The program that writes an array, broadcast to ``shape``, into a slice of another one."""
    builder = Builder("assign")
    whole, v = builder.input(TensorType(value.dtype, to.extents)), builder.input(value)
    with using(Build(builder)):
        axes = tuple(range(len(shape) - len(v.shape), len(shape)))
        given = v if v.shape == shape else ops.broadcast(v, shape=shape, axes=axes)
        part = tuple([len(range(*s)) for s in zip(to.starts, to.stops, to.steps, strict=True)])
        inner = ops.reshape(ops.permute(given, axes=to.order), shape=part)
        new = ops.slice_update(whole, inner, starts=to.starts, stops=to.stops, steps=to.steps)
    return _compiled(builder.finish([new], updates={0: 0}), device)


def assign(to: DeviceArray, value: DeviceArray) -> bool:
    """``Device.assign``."""
    found = _as_slice(to)
    if found is None or not dtype_of(to.dtype).is_native:
        return False
    if value.shape != to.shape[to.ndim - value.ndim :]:
        value = broadcast_to(value, to.shape)
    whole = value if value.flags.c_contiguous else contiguous(value)
    program = _assigning(to.device, found._replace(low=0), to.shape, array_type(value.dtype, value.shape))
    program.run([found.low, whole.address])
    return True


def cast(x: DeviceArray, dtype: np.dtype[Any]) -> DeviceArray:
    """The elements in another dtype."""
    return apply(x.device, ops.cast, [x], {"dtype": dtype_of(dtype).short})


_UFUNCS: dict[Any, Callable[[], Primitive]] = {
    np.add: lambda: ops.add,
    np.subtract: lambda: ops.sub,
    np.multiply: lambda: ops.mul,
    np.true_divide: lambda: ops.div,
    np.negative: lambda: ops.neg,
}


def elementwise(ufunc: Any, operands: Sequence[Any]) -> DeviceArray | None:
    """What a NumPy function computes, if a primitive computes the same: floating operands of one dtype, and numbers."""
    find = _UFUNCS.get(ufunc)
    dtypes = {x.dtype for x in operands if hasattr(x, "dtype")}
    if find is None or len(dtypes) != 1 or next(iter(dtypes)).kind not in "fV":
        return None
    if any(isinstance(x, np.ndarray) and x.ndim for x in operands):
        return None
    device = next(x.device for x in operands if isinstance(x, DeviceArray))
    return apply(device, find(), operands, {})
