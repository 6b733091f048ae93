"""What a device can do, and which devices there are.

A device has memory, copies to and from it, launches kernels, and computes products of matrices. Everything else is built of
these: a device of another kind implements the methods that raise NotImplementedError here, and registers (``register``).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from .array import DeviceArray

if TYPE_CHECKING:
    from ...ir.primitive import Primitive
    from ...ir.types import DType

_ROUND = 512  # bytes: sizes of allocations are multiples


class OutOfMemoryError(RuntimeError):
    """A device has no memory left for an allocation."""


class Device:
    """One device. ``str(device)`` is the name that users give it."""

    kernels = "cuda"  # the plans and kernels that it runs
    capability = (8, 0)  # of CUDA devices: the instructions that kernels may use

    def __init__(self, type: str, index: int, name: str, total_memory: int):
        """``name``: that of the hardware; ``total_memory``: in bytes."""
        self.type, self.index, self.name, self.total_memory = type, index, name, total_memory
        self._lock = threading.RLock()  # an array may be freed while another is allocated
        self._unused: dict[int, list[int]] = {}  # addresses of freed allocations, by size
        self.allocated = self.reserved = self.most_allocated = self.most_reserved = 0  # bytes

    def __str__(self) -> str:
        return f"{self.type}:{self.index}"

    # A kind of device implements these.

    def reserve(self, nbytes: int) -> int:
        """The address of new memory. Raises MemoryError if there is none."""
        raise NotImplementedError

    def release(self, address: int, nbytes: int) -> None:
        """Gives back what ``reserve`` returned. The device has finished with it."""
        raise NotImplementedError

    def read(self, address: int, nbytes: int) -> np.ndarray[Any, Any]:
        """A copy of some bytes, after everything that was started before has finished."""
        raise NotImplementedError

    def write(self, address: int, array: np.ndarray[Any, Any]) -> None:
        """Copies a contiguous array into the device's memory."""
        raise NotImplementedError

    def copy(self, to: int, source: int, nbytes: int) -> None:
        """Copies bytes within the device's memory."""
        raise NotImplementedError

    def prepare(self, source: str, launch: Sequence[int]) -> None:
        """Compiles the kernel of a text, so that ``launch`` finds it."""
        raise NotImplementedError

    def launch(self, source: str, launch: Sequence[int], arguments: Sequence[int]) -> None:
        """Starts the kernel of a text. ``launch``: blocks, and threads of a block. Arguments are addresses and integers."""
        raise NotImplementedError

    def multiplies(self, dtype: DType) -> bool:
        """Whether ``product`` takes such matrices; otherwise the host multiplies them."""
        return dtype.is_floating_point

    def product(self, a: DeviceArray, b: DeviceArray, out: DeviceArray, ta: bool, tb: bool) -> None:
        """The product of two contiguous matrices, or of batches of them, with transposes, into ``out``."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Waits until everything that was started has finished."""
        raise NotImplementedError

    # Memory: freed allocations are kept, because those of the driver take long and wait for the device.

    def allocate(self, nbytes: int) -> int:
        """The address of memory of at least that size. Raises OutOfMemoryError, after the unused memory has been released."""
        size = -(-max(nbytes, 1) // _ROUND) * _ROUND
        with self._lock:
            if unused := self._unused.get(size):
                address = unused.pop()
            else:
                address = self._reserved(size)
                self.reserved += size
                self.most_reserved = max(self.reserved, self.most_reserved)
            self.allocated += size
            self.most_allocated = max(self.allocated, self.most_allocated)
        return address

    def _reserved(self, size: int) -> int:
        try:
            return self.reserve(size)
        except MemoryError:
            self.empty_cache()
        try:
            return self.reserve(size)
        except MemoryError:
            total, used, idle = (_shown(n) for n in (self.total_memory, self.allocated, self.reserved - self.allocated))
            raise OutOfMemoryError(
                f"{self.type.upper()} out of memory. Tried to allocate {_shown(size)}. "
                f"GPU {self.index} has a total capacity of {total}. "
                f"Of the allocated memory {used} is allocated by tracer, and {idle} is reserved by tracer but unallocated."
            ) from None

    def free(self, address: int, nbytes: int) -> None:
        size = -(-max(nbytes, 1) // _ROUND) * _ROUND
        with self._lock:
            self._unused.setdefault(size, []).append(address)
            self.allocated -= size

    def empty_cache(self) -> None:
        """Releases the memory that no array uses."""
        self.synchronize()
        with self._lock:
            for size, addresses in self._unused.items():
                for address in addresses:
                    self.release(address, size)
                self.reserved -= size * len(addresses)
            self._unused.clear()

    # Arrays.

    def layout(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """An array with this address, whose elements must not be read."""
        nbytes = max(math.prod(shape) * dtype.itemsize, 1)
        return np.ndarray(shape, dtype, (ctypes.c_char * nbytes).from_address(address))  # type: ignore[arg-type]

    def apply(self, primitive: Primitive, operands: Sequence[Any], attrs: Mapping[str, Any]) -> DeviceArray:
        """A primitive on arrays of this device. Operands without axes may be numbers; those on the host are copied."""
        from .apply import apply  # imports the compiler

        return apply(self, primitive, operands, attrs)

    def contiguous(self, array: DeviceArray) -> DeviceArray:
        """A contiguous copy."""
        from .apply import contiguous

        return contiguous(array)

    def cast(self, array: DeviceArray, dtype: np.dtype[Any]) -> DeviceArray:
        """The elements in another dtype."""
        from .apply import cast

        return cast(array, dtype)

    def elementwise(self, ufunc: Any, operands: Sequence[Any]) -> DeviceArray | None:
        """What a NumPy function computes of arrays and numbers, if a primitive computes the same."""
        from .apply import elementwise

        return elementwise(ufunc, operands)


def _shown(nbytes: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes} bytes"


class Applying:
    """The interpreter of primitives that computes on a device."""

    def __init__(self, device: Device):
        self.device = device

    def bind(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
        return self.device.apply(primitive, args, attrs)


_kinds: dict[str, Callable[[], list[Device]]] = {}
selected: dict[str, int] = {}  # the device that a kind's name alone stands for; the first unless another was selected


def register(type: str, devices: Callable[[], list[Device]]) -> None:
    """Registers a kind of device: ``devices()`` returns those that exist, once."""
    _kinds[type] = functools.cache(devices)


def devices_of(type: str) -> list[Device]:
    """The devices of a kind; none if it is not registered."""
    return _kinds[type]() if type in _kinds else []


def is_registered(type: str) -> bool:
    """Whether a kind of device has this name."""
    return type in _kinds


def device_named(type: str, index: int | None = None) -> Device:
    """A device. Raises RuntimeError, in PyTorch's words, if it does not exist."""
    found = devices_of(type)
    if not found:
        raise RuntimeError(f"no device '{type if index is None else f'{type}:{index}'}': {_missing(type)}")
    number = selected.get(type, 0) if index is None else index
    if not 0 <= number < len(found):
        raise RuntimeError(f"{type.upper()} error: invalid device ordinal: {number}; there are {len(found)}")
    return found[number]


def _missing(type: str) -> str:
    if type == "cuda":
        return "tensors live on 'cpu', because no NVIDIA GPU can be used (TRACER_CUDA=emulate runs an emulated one)"
    return "tensors live on 'cpu'"


def _cuda() -> list[Device]:
    if os.environ.get("TRACER_CUDA") == "emulate":
        if find_spec("numba_cuda") is None:
            raise RuntimeError("TRACER_CUDA=emulate needs the compiler for GPUs: pip install 'tracer[cuda]'")
        from .emulated import EmulatedCuda

        return [EmulatedCuda(0)]
    if ctypes.util.find_library("cuda") is None or find_spec("cuda") is None or find_spec("numba_cuda") is None:
        return []
    from .cuda import devices

    return devices()


register("cuda", _cuda)
