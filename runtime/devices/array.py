"""An array in a device's memory, with NumPy's protocol.

Shape, strides, dtype and address are those of a NumPy array, ``layout``, whose elements cannot be read on the host. NumPy makes
views, because they only compute with strides. What computes with elements does it on the device if a primitive corresponds to
NumPy's function, and otherwise on copies on the host (``on_host``), with a warning that names the function.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..support.objects import address as host_address
from .pinned import owner_of, pinned

if TYPE_CHECKING:
    from .device import Device


USED: list[Device] = []  # the device of the first allocation: until then all arrays are NumPy's


class Memory:
    """An allocation: its device, address and size. It is given back when nothing refers to it.

    It belongs to the stream in which it was allocated. If work in another stream uses it, ``used_by`` keeps it from being used
    again before that work has finished.
    """

    __slots__ = ("_others", "_stream", "address", "device", "nbytes")

    def __init__(self, device: Device, nbytes: int):
        if not USED:
            USED.append(device)
        self.device, self.nbytes = device, nbytes
        self.address = device.allocate(nbytes)
        self._stream = device.stream
        self._others: tuple[int, ...] = ()

    def used_by(self, stream: int) -> None:
        """Notes that work in a stream uses it."""
        if stream != self._stream and stream not in self._others:
            self._others += (stream,)

    def __del__(self) -> None:
        if hasattr(self, "_others"):
            self.device.free(self.address, self.nbytes, self._stream, self._others)

    def array(self, shape: Sequence[int], dtype: Any, offset: int = 0) -> DeviceArray:
        """A contiguous array at an offset in bytes."""
        return DeviceArray(self.device.layout(self.address + offset, tuple(shape), np.dtype(dtype)), self)


ALIGNED = 16  # bytes: kernels read this many at once


class Flags:
    """What programs ask of an array's memory. To a kernel, an array that is not aligned is not contiguous."""

    __slots__ = ("c_contiguous", "writeable")

    def __init__(self, layout: np.ndarray[Any, Any]):
        self.c_contiguous = layout.flags.c_contiguous and (host_address(layout) % ALIGNED == 0 or not layout.size)
        self.writeable = True


class Part:
    """A part of an allocation that shares no bytes with other parts."""

    __slots__ = ("address", "device", "whole")

    def __init__(self, whole: Memory, offset: int):
        self.device, self.whole, self.address = whole.device, whole, whole.address + offset

    def used_by(self, stream: int) -> None:
        self.whole.used_by(stream)


class Borrowed:
    """Memory that another object owns, which is kept alive. The owner orders streams for memory of other packages."""

    __slots__ = ("device", "owner")

    def __init__(self, device: Device, owner: object = None):
        self.device, self.owner = device, owner

    def used_by(self, stream: int) -> None:
        pass


class DeviceArray(NDArrayOperatorsMixin):
    """An array of a device. ``memory`` is the allocation that its elements are in."""

    __slots__ = ("__weakref__", "layout", "memory")

    def __init__(self, layout: np.ndarray[Any, Any], memory: Memory | Part | Borrowed):
        self.layout, self.memory = layout, memory

    # What NumPy's arrays have, without their elements.

    @property
    def device(self) -> Device:
        return self.memory.device

    shape = property(lambda self: self.layout.shape)
    strides = property(lambda self: self.layout.strides)
    dtype = property(lambda self: self.layout.dtype)
    ndim = property(lambda self: self.layout.ndim)
    size = property(lambda self: self.layout.size)
    itemsize = property(lambda self: self.layout.itemsize)
    nbytes = property(lambda self: self.layout.nbytes)
    flags = property(lambda self: Flags(self.layout))
    base = property(lambda self: self.memory)
    T = property(lambda self: self._view(self.layout.T))

    @property
    def address(self) -> int:
        """The address of the first element."""
        return host_address(self.layout)

    def __len__(self) -> int:
        return len(self.layout)

    def __repr__(self) -> str:
        return f"DeviceArray({to_host(self)!r}, device={str(self.device)!r})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
            "first."
        )

    # Views.

    def _view(self, layout: np.ndarray[Any, Any]) -> DeviceArray:
        return DeviceArray(layout, self.memory)

    def reshape(self, *shape: Any, order: Any = "C") -> DeviceArray:
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
        try:
            return self._view(self.layout.reshape(shape, copy=False))
        except ValueError:
            if self.layout.flags.c_contiguous:  # the shape does not fit
                raise
            return self.copy().reshape(shape)

    def transpose(self, *axes: Any) -> DeviceArray:
        return self._view(self.layout.transpose(*axes))

    def swapaxes(self, a: int, b: int) -> DeviceArray:
        return self._view(self.layout.swapaxes(a, b))

    def squeeze(self, axis: Any = None) -> DeviceArray:
        return self._view(self.layout.squeeze(axis))

    def view(self, *dtype: Any, **kwargs: Any) -> DeviceArray:
        return self._view(self.layout.view(*dtype, **kwargs))

    def ravel(self, order: Any = "C") -> DeviceArray:
        return self.reshape(-1) if order == "C" or self.layout.flags.c_contiguous else on_host(np.ravel, (self, order), {})

    def __getitem__(self, index: Any) -> Any:
        if _is_basic(index):
            parts = index if isinstance(index, tuple) else (index,)
            whole = parts if any(p is Ellipsis for p in parts) else (*parts, Ellipsis)
            part = self._view(self.layout[whole])
            return part if part.ndim or whole is parts else to_host(part)[()]
        return on_host(np.ndarray.__getitem__, (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        if _is_basic(index):
            parts = index if isinstance(index, tuple) else (index,)
            part = self._view(self.layout[parts if any(p is Ellipsis for p in parts) else (*parts, Ellipsis)])
            fill(part, value)
        else:
            on_host(np.ndarray.__setitem__, (self, index, value), {}, writes=(self,))

    # Elements.

    def copy(self, order: Any = "C") -> DeviceArray:
        """A contiguous copy."""
        return self.device.contiguous(self)

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
    ) -> DeviceArray:
        if self.dtype == np.dtype(dtype):
            return self.copy() if copy else self
        return self.device.cast(self, np.dtype(dtype))

    def item(self, *index: Any) -> Any:
        return to_host(self).item(*index)

    def tolist(self) -> Any:
        return to_host(self).tolist()

    def fill(self, value: Any) -> None:
        fill(self, value)

    def __bool__(self) -> bool:
        return bool(to_host(self))

    def __int__(self) -> int:
        return int(to_host(self))

    def __float__(self) -> float:
        return float(to_host(self))

    def __index__(self) -> int:
        return to_host(self).__index__()

    def __getattr__(self, name: str) -> Any:
        """Any other method of NumPy's arrays: on the host."""
        method = None if name.startswith("__") else getattr(np.ndarray, name, None)
        if method is None:
            raise AttributeError(f"a device's array has no attribute {name!r}")
        if not callable(method):  # real, imag, flat
            return on_host(getattr, (self, name), {})
        return lambda *args, **kwargs: on_host(method, (self, *args), kwargs)

    # NumPy's functions.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out", ())
        if method == "__call__" and len(kwargs) == len(out) and (found := self.device.elementwise(ufunc, inputs)) is not None:
            if not out:
                return found
            if isinstance(out[0], DeviceArray) and out[0].dtype == found.dtype and out[0].shape == found.shape:
                fill(out[0], found)
                return out[0]
        writes = tuple(x for x in (inputs[0] if method == "at" else None, *out) if isinstance(x, DeviceArray))
        return on_host(ufunc if method == "__call__" else getattr(ufunc, method), inputs, kwargs, writes)

    def __array_function__(self, function: Any, types: Iterable[type], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        known = _FUNCTIONS.get(function)
        return known(*args, **kwargs) if known is not None else on_host(function, args, kwargs)


def device_of(array: Any) -> Device | None:
    """The device whose memory an array is in; None for the host's."""
    return array.memory.device if isinstance(array, DeviceArray) else None


def layout_of(array: Any) -> np.ndarray[Any, Any]:
    """A NumPy array with an array's shape, strides, dtype and address. Those of a device have elements that cannot be read."""
    return array.layout if isinstance(array, DeviceArray) else array


def address_on(array: Any, device: Device, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The address of an array on a device, as a kernel expects it; 0 for any other array."""
    if device_of(array) is not device:
        return 0
    layout = array.layout
    where = host_address(layout)
    fits = layout.shape == shape and layout.dtype is dtype and layout.flags.c_contiguous and not where % ALIGNED
    return where if fits else 0


def on_memory_of(owner: Any, layout: np.ndarray[Any, Any], device: Device) -> DeviceArray:
    """An array on memory of a device that another object owns."""
    return DeviceArray(layout, Borrowed(device, owner))


def address(array: np.ndarray[Any, Any] | DeviceArray) -> int:
    """The address of an array's first element, in the memory of its device."""
    return host_address(array) if array.__class__ is np.ndarray else array.address  # type: ignore[union-attr]


def bounds(array: np.ndarray[Any, Any] | DeviceArray) -> tuple[int, int]:
    """The addresses of an array's first byte, and after its last."""
    return byte_bounds(layout_of(array))


def contiguous(array: Any) -> Any:
    """The array, or a contiguous copy on its device."""
    if array.flags.c_contiguous:
        return array
    return array.copy() if isinstance(array, DeviceArray) else np.ascontiguousarray(array)


def borrowed(owner: Any, device: Device) -> DeviceArray:
    """An array on the memory of an object with ``__cuda_array_interface__``. Work on it
    follows that of the stream that the object names. Raises TypeError for an interface with a mask.
    """
    said = owner.__cuda_array_interface__
    if said.get("mask") is not None:
        raise TypeError("masked arrays are not supported")
    if (stream := said.get("stream")) is not None:
        device.chain(0 if stream == 1 else stream, device.stream)
    shape, dtype, address = tuple(said["shape"]), np.dtype(said["typestr"]), said["data"][0]
    strides = said.get("strides")
    if strides is None or 0 in shape:
        return DeviceArray(device.layout(address, shape, dtype), Borrowed(device, owner))
    span = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + dtype.itemsize
    whole = device.layout(address, (span,), np.dtype(np.uint8))
    return DeviceArray(np.ndarray(shape, dtype, whole, 0, strides), Borrowed(device, owner))


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        p is None or p is Ellipsis or (isinstance(p, int | np.integer | slice) and not isinstance(p, bool)) for p in parts
    )


def read_bytes(device: Device, address: int, nbytes: int) -> np.ndarray[Any, Any]:
    """A copy of some bytes of a device."""
    out = np.empty(nbytes, np.uint8)
    if nbytes:
        device.read(address, out)
    return out


def to_host(array: Any, wait: bool = True) -> np.ndarray[Any, Any]:
    """A copy in the host's memory, with the same strides if the elements are dense; an array that is there, itself. With
    ``wait=False`` a copy is page-locked and contiguous (unless it is empty), and has the elements after a synchronisation.
    """
    if not isinstance(array, DeviceArray):
        return array  # type: ignore[no-any-return]
    layout = array.layout
    if not layout.size:
        return np.empty(layout.shape, layout.dtype)
    if not wait:
        return _copied_to(pinned(array.device, layout.shape, layout.dtype), array)
    low, high = byte_bounds(layout)
    data = read_bytes(array.device, low, high - low)
    return np.ndarray(layout.shape, layout.dtype, data, array.address - low, layout.strides).copy("K")


def _copied_to(out: np.ndarray[Any, Any], array: DeviceArray) -> np.ndarray[Any, Any]:
    """Starts a copy of an array to contiguous page-locked memory, which is returned."""
    source, owner = contiguous(array), owner_of(out)
    assert owner is not None
    array.device.read(source.address, out, wait=False)
    owner.copying(array.device)
    return out


def to_device(array: np.ndarray[Any, Any], device: Device, wait: bool = True) -> DeviceArray:
    """A copy in a device's memory, contiguous. With ``wait=False`` page-locked memory is read later."""
    out = Memory(device, array.nbytes).array(array.shape, array.dtype)
    if array.size:
        _write(out, array, wait)
    return out


def filled(number: np.ndarray[Any, Any], shape: Sequence[int], device: Device) -> DeviceArray:
    """An array of equal numbers. A number of eight bytes is copied from the host unless its halves are equal."""
    pattern = number.tobytes()
    while len(pattern) > 1 and pattern[: len(pattern) // 2] == pattern[len(pattern) // 2 :]:
        pattern = pattern[: len(pattern) // 2]
    if len(pattern) > 4:
        return to_device(np.broadcast_to(number, tuple(shape)), device)
    nbytes = math.prod(shape) * number.itemsize
    out = Memory(device, nbytes).array(shape, number.dtype)
    if nbytes:
        device.fill(out.address, pattern, nbytes // len(pattern))
    return out


def _write(to: DeviceArray, array: np.ndarray[Any, Any], wait: bool = True) -> None:
    """Copies an array into a contiguous one of a device."""
    owner = None if wait or not array.flags.c_contiguous else owner_of(array)
    to.device.write(to.address, np.ascontiguousarray(array), wait=owner is None)
    if owner is not None:
        owner.copying(to.device)


def may_copy_later(to: Any, value: Any) -> bool:
    """Whether ``copy_later`` takes these arrays: contiguous, of one shape and dtype, on a device and in page-locked memory."""
    host, there = (value, to) if isinstance(to, DeviceArray) else (to, value)
    alike = to.shape == value.shape and to.dtype == value.dtype and to.size > 0
    apart = isinstance(there, DeviceArray) and host.__class__ is np.ndarray
    return alike and apart and to.flags.c_contiguous and host.flags.c_contiguous and owner_of(host) is not None


def copy_later(to: Any, value: Any) -> None:
    """Starts a copy between a device and page-locked memory."""
    if isinstance(to, DeviceArray):
        _write(to, value, wait=False)
    else:
        _copied_to(to, value)


def fill(to: DeviceArray, value: Any) -> None:
    """Writes a value, broadcast to the array's shape, into it."""
    if isinstance(value, DeviceArray) and value.memory.device is not to.memory.device:
        value = to_host(value)
    if not to.size:
        np.broadcast_to(np.empty(np.shape(value)), to.shape)
        return
    if not isinstance(value, DeviceArray) and to.layout.flags.c_contiguous and np.shape(value) == to.shape:
        _write(to, np.asarray(value, to.dtype))
        return
    if not isinstance(value, DeviceArray):
        value = to_device(np.asarray(value).astype(to.dtype), to.device)
    given = value if value.dtype == to.dtype else value.astype(to.dtype)
    if _may_share(given, to):
        given = given.copy()
    if to.layout.flags.c_contiguous and given.shape == to.shape and given.layout.flags.c_contiguous:
        to.device.copy(to.address, given.address, to.nbytes)
        return
    if to.device.assign(to, given):
        return
    low, high = byte_bounds(to.layout)
    data = read_bytes(to.device, low, high - low)
    part = np.ndarray(to.shape, to.dtype, data, to.address - low, to.strides)
    part[...] = to_host(given)
    to.device.write(low, data)


def broadcast_to(array: DeviceArray, shape: Any, subok: bool = False) -> DeviceArray:
    return array._view(np.broadcast_to(array.layout, shape))


# The host, for what has no kernel.

_named: set[str] = set()


def on_host(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], writes: Sequence[DeviceArray] = ()
) -> Any:
    """Calls a function with copies of the devices' arrays, and copies arrays that it returns to the device. ``writes``:
    arguments that it changes.
    """
    copies: dict[int, np.ndarray[Any, Any]] = {}
    found: list[Device] = []

    def given(x: Any) -> Any:
        if isinstance(x, DeviceArray):
            found.append(x.device)
            if id(x) not in copies:
                copies[id(x)] = to_host(x)
            return copies[id(x)]
        if x.__class__ in (tuple, list):
            return x.__class__(given(y) for y in x)
        return x

    new_args, new_kwargs = given(tuple(args)), {k: given(v) for k, v in kwargs.items()}
    device = found[0]
    warn_of(getattr(function, "__name__", str(function)))
    result = function(*new_args, **new_kwargs)
    for x in writes:
        fill(x, copies[id(x)])
    back: dict[int, Any] = {id(copies[id(x)]): x for x in writes}
    back |= {id(x): x for x in kwargs.get("out", ()) if isinstance(x, np.ndarray)}

    def returned(x: Any) -> Any:
        if isinstance(x, np.ndarray | np.generic):
            return back[id(x)] if id(x) in back else to_device(np.asarray(x), device)
        if x.__class__ in (tuple, list):
            return x.__class__(returned(y) for y in x)
        return x

    return returned(result)


def warn_of(name: str) -> None:
    """Says, once for each operation, that it is computed on the host."""
    if name not in _named:
        _named.add(name)
        warnings.warn(
            f"{name} has no kernel for this device: its operands are copied to the host and back", UserWarning, stacklevel=3
        )


def _on_layout(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that only makes a view."""
    return lambda array, *args, **kwargs: array._view(function(array.layout, *args, **kwargs))


def _may_share(a: Any, b: Any, max_work: Any = None) -> bool:
    alike = isinstance(a, DeviceArray) and isinstance(b, DeviceArray) and a.memory is b.memory
    return alike and bool(np.may_share_memory(a.layout, b.layout))


def _new(array: DeviceArray, shape: Any = None, dtype: Any = None) -> DeviceArray:
    layout = array.layout
    shape = layout.shape if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = np.dtype(layout.dtype if dtype is None else dtype)
    return Memory(array.device, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize).array(shape, dtype)


def _full(
    array: DeviceArray, value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None
) -> DeviceArray:
    out = _new(array, shape, dtype)
    fill(out, value)
    return out


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if where is not True:
        on_host(np.copyto, (dst, src), {"casting": casting, "where": where}, writes=(dst,))
    elif isinstance(dst, DeviceArray):
        fill(dst, src)
    else:
        np.copyto(dst, to_host(src), casting=casting)  # type: ignore[arg-type]


def _writes_first(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda array, *args, **kwargs: on_host(function, (array, *args), kwargs, writes=(array,))


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{
        f: _on_layout(f)
        for f in (np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze, np.broadcast_to, np.flip, np.diagonal)
    },
    **{f: _writes_first(f) for f in (np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis)},
    np.reshape: lambda a, shape, order="C", copy=None: a.reshape(shape),
    np.ravel: lambda a, order="C": a.ravel(),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.may_share_memory: _may_share,
    np.shares_memory: _may_share,
    np.copyto: _copyto,
    np.copy: lambda a, order="K", subok=False: a.copy(),
    np.empty_like: lambda a, dtype=None, order="K", subok=True, shape=None: _new(a, shape, dtype),
    np.zeros_like: lambda a, dtype=None, order="K", subok=True, shape=None: _full(a, 0, dtype, shape=shape),
    np.ones_like: lambda a, dtype=None, order="K", subok=True, shape=None: _full(a, 1, dtype, shape=shape),
    np.full_like: _full,
}
