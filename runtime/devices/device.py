"""What a device can do, and which devices there are.

A device has memory, copies to and from it, streams of work, and starts kernels and products of matrices. Everything else is
built of these: a device of another kind implements the methods that raise NotImplementedError, and registers (``register``).
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ...ir.types import DType, TensorType
from .array import DeviceArray
from .pool import DeviceError as DeviceError
from .pool import OutOfMemoryError, Pool

if TYPE_CHECKING:
    from ...ir.primitive import Primitive

_STREAMS = 32


class Kernel(NamedTuple):
    """A generated kernel, and how many blocks of how many threads run it. Its arguments are addresses and integers."""

    source: str
    blocks: int
    threads: int


class Product(NamedTuple):
    """The product of two contiguous matrices, or of batches of them, with transposes. A bias is added to each row. The
    arguments are the addresses of the operands and of the result.
    """

    a: TensorType
    b: TensorType
    out: TensorType
    ta: bool
    tb: bool
    bias: TensorType | None = None
    tf32: bool = False  # float32 operands may be rounded to 11 bits

    @property
    def operands(self) -> list[TensorType]:
        """The operands' types, in the order of the arguments."""
        return [self.a, self.b, *([self.bias] if self.bias is not None else [])]


Task = Kernel | Product


class NotStarted(DeviceError):
    """Tasks could not be made one unit of work. None was started."""


class Started(Protocol):
    """Tasks that are started by one call."""

    def start(self, words: np.ndarray[Any, Any]) -> None:
        """Starts the tasks, with their arguments among the words. May raise NotStarted if they are one unit (``graph``)."""


WITH_STREAMS: list[Device] = []  # the devices that have streams beside the default ones


class Device:
    """One device. ``str(device)`` is the name that users give it."""

    kernels = "cuda"  # the plans and kernels that it runs
    # What surrounds the compilation of a program of one operation.
    compiling: Callable[[], contextlib.AbstractContextManager[Any]] = staticmethod(contextlib.nullcontext)
    tf32 = False  # whether products of float32 may round their operands to 11 bits, on all devices
    capability = (8, 0)  # of CUDA devices: the instructions that kernels may use

    def __init__(self, type: str, index: int, name: str, total_memory: int):
        """``name``: that of the hardware; ``total_memory``: in bytes."""
        self.type, self.index, self.name, self.total_memory = type, index, name, total_memory
        self.pool = self.new_pool(self.reserve, self.release)
        self.host_pool = self.new_pool(self.reserve_host, self.release_host)
        self._threads = threading.local()
        self._lock = threading.RLock()
        self._streams: dict[int, list[int]] = {}  # by priority
        self._turns: dict[int, itertools.count[int]] = {}

    def new_pool(self, reserve: Callable[[int], int], release: Callable[[int, int], None]) -> Pool:
        """The allocator of one kind of memory."""
        return Pool(reserve, release, self.happened)

    def __str__(self) -> str:
        return f"{self.type}:{self.index}"

    # A kind of device implements these. Work is started in the thread's current stream, ``self.stream``.

    def reserve(self, nbytes: int) -> int:
        """The address of new memory. Raises MemoryError if there is none."""
        raise NotImplementedError

    def release(self, address: int, nbytes: int) -> None:
        """Gives back what ``reserve`` returned. The device has finished with it."""
        raise NotImplementedError

    def reserve_host(self, nbytes: int) -> int:
        """The address of new page-locked memory of the host. Raises MemoryError if there is none."""
        raise NotImplementedError

    def release_host(self, address: int, nbytes: int) -> None:
        """Gives back what ``reserve_host`` returned."""
        raise NotImplementedError

    def read(self, address: int, out: np.ndarray[Any, Any], wait: bool = True) -> None:
        """Copies bytes of the device into a contiguous array. ``wait=False``: the array is page-locked, and filled later."""
        raise NotImplementedError

    def write(self, address: int, array: np.ndarray[Any, Any], wait: bool = True) -> None:
        """Copies a contiguous array into the device's memory. ``wait=False``: the array is page-locked, and read later."""
        raise NotImplementedError

    def copy(self, to: int, source: int, nbytes: int) -> None:
        """Copies bytes within the device's memory."""
        raise NotImplementedError

    def fill(self, address: int, pattern: bytes, count: int) -> None:
        """Repeats 1, 2 or 4 bytes in the device's memory, ``count`` times."""
        raise NotImplementedError

    def prepare(self, task: Task) -> None:
        """Compiles what a task needs."""
        raise NotImplementedError

    def in_order(self, tasks: Sequence[Task], spans: Sequence[slice]) -> Started:
        """The tasks, to be started one after the other. Their arguments are these slices of 64-bit words."""
        raise NotImplementedError

    def graph(self, tasks: Sequence[Task], spans: Sequence[slice], after: Sequence[Sequence[int]]) -> Started | None:
        """The same as one unit of work, in which each task follows some earlier ones; None if there are no such units."""
        return None

    def multiplies(self, dtype: DType) -> bool:
        """Whether ``Product`` takes such matrices; otherwise the host multiplies them."""
        return dtype.is_floating_point

    def create_stream(self, priority: int) -> int:
        """A new stream: work in it is not ordered with work in others. A lower number is a higher priority."""
        raise NotImplementedError

    def event(self, timed: bool = False) -> Any:
        """An event that marks the work started so far."""
        raise NotImplementedError

    def wait(self, event: Any) -> None:
        """What is started from now on follows the work before an event."""
        raise NotImplementedError

    def happened(self, what: Any) -> bool:
        """Whether the work before an event, or that was started in a stream (its number), has finished."""
        raise NotImplementedError

    def elapsed(self, start: Any, end: Any) -> float:
        """The milliseconds between two timed events that have happened."""
        raise NotImplementedError

    def synchronize(self, what: Any = None) -> None:
        """Waits until the work before an event, in a stream (its number), or in all streams has finished."""
        raise NotImplementedError

    def aside(self) -> contextlib.AbstractContextManager[None]:
        """A context for calls that garbage collection makes, at any time: afterwards the thread's state is as before."""
        return contextlib.nullcontext()

    # Streams.

    @property
    def stream(self) -> int:
        """The stream that the thread's work is started in; 0 is the default one."""
        return getattr(self._threads, "stream", 0)

    @stream.setter
    def stream(self, stream: int) -> None:
        self._threads.stream = stream

    @contextlib.contextmanager
    def using_stream(self, stream: int) -> Iterator[None]:
        """Starts work in another stream."""
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    def chain(self, first: int, then: int) -> None:
        """What is started in a stream from now on follows what was started in another one."""
        if first != then:
            with self.using_stream(first):
                event = self.event()
            with self.using_stream(then):
                self.wait(event)

    def gather(self) -> None:
        """What is started in the current stream from now on follows what was started in all others."""
        for stream in self._all_streams():
            self.chain(stream, self.stream)

    def spread(self) -> None:
        """What is started in all other streams from now on follows what was started in the current one."""
        for stream in self._all_streams():
            self.chain(self.stream, stream)

    def _all_streams(self) -> list[int]:
        return [0, *(stream for streams in list(self._streams.values()) for stream in list(streams))]

    def next_stream(self, priority: int = 0) -> int:
        """A stream other than the default one. There are at most 32 of a priority, given in turn, as PyTorch does."""
        with self._lock:
            found = self._streams.setdefault(priority, [])
            turn = next(self._turns.setdefault(priority, itertools.count())) % _STREAMS
            if turn == len(found):
                found.append(self.create_stream(priority))
                if self not in WITH_STREAMS:
                    WITH_STREAMS.append(self)
            return found[turn]

    # Memory.

    def allocate_host(self, nbytes: int) -> int:
        """The address of page-locked memory of the host. Raises OutOfMemoryError, after the unused memory has been released."""
        for attempt in range(2):
            with contextlib.suppress(MemoryError):
                return self.host_pool.allocate(nbytes)
            if not attempt:
                self.empty_cache()
        raise OutOfMemoryError(f"The host has no page-locked memory left. Tried to allocate {_shown(nbytes)}.")

    def allocate(self, nbytes: int) -> int:
        """The address of memory of at least that size. Raises OutOfMemoryError, after the unused memory has been released."""
        try:
            return self.pool.allocate(nbytes, self.stream)
        except MemoryError:
            self.empty_cache()
        try:
            return self.pool.allocate(nbytes, self.stream)
        except MemoryError:
            used, idle = self.pool.allocated, self.pool.reserved - self.pool.allocated
            raise OutOfMemoryError(
                f"{self.type.upper()} out of memory. Tried to allocate {_shown(nbytes)}. "
                f"GPU {self.index} has a total capacity of {_shown(self.total_memory)}. Of the allocated memory {_shown(used)} "
                f"is allocated by tracer, and {_shown(idle)} is reserved by tracer but unallocated."
            ) from None

    def free(self, address: int, nbytes: int, stream: int, others: Sequence[int] = ()) -> None:
        """Gives memory back to the stream that it was allocated in. ``others``: streams with work that uses it."""
        events = []
        for other in others:
            with self.aside(), self.using_stream(other):
                events.append(self.event())
        self.pool.free(address, nbytes, stream, events)

    def empty_cache(self) -> None:
        """Releases the memory that no array uses."""
        self.synchronize()
        self.pool.empty()
        self.host_pool.empty()

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

    def assign(self, to: DeviceArray, value: DeviceArray) -> bool:
        """Writes an array of the same dtype, broadcast, into another one. False, with nothing written, if no kernel does."""
        from .apply import assign

        return assign(to, value)

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
