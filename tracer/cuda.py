"""CUDA devices: their number, memory, and what programs for PyTorch ask of them.

Work runs in streams, each in order, and calls return when it has been started; ``synchronize`` waits for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from .core.context import context
from .core.device import device as Place
from .core.device import memory_of
from .runtime.devices import Device
from .runtime.devices.device import OutOfMemoryError, devices_of, selected
from .runtime.devices.pool import Pool


def is_available() -> bool:
    """Whether there is a CUDA device."""
    return bool(devices_of("cuda"))


def device_count() -> int:
    """The number of CUDA devices."""
    return len(devices_of("cuda"))


def _device(device: Any = None) -> Device:
    """A device by number or name. Raises RuntimeError if it does not exist."""
    named = Place("cuda", device) if device is None or isinstance(device, int) else device
    found = memory_of(named)
    if found is None:
        raise RuntimeError(f"expected a CUDA device, but got {named}")
    return found


def current_device() -> int:
    """The number of the device that ``"cuda"`` stands for."""
    return _device().index


def set_device(device: Any) -> None:
    """Sets the device that ``current_device`` returns. Raises RuntimeError if it does not exist."""
    number = _device(device).index
    if number:
        selected["cuda"] = number
    else:  # the first one has no entry, so that traces recorded before any was set remain valid
        selected.pop("cuda", None)


def get_device_name(device: Any = None) -> str:
    """The name of the hardware."""
    return _device(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability: major and minor number."""
    return _device(device).capability


def get_device_properties(device: Any = None) -> Any:
    """An object with ``name``, ``total_memory`` in bytes, and the compute capability, ``major`` and ``minor``."""
    found = _device(device)
    major, minor = found.capability
    return SimpleNamespace(name=found.name, total_memory=found.total_memory, major=major, minor=minor)


def init() -> None:
    """No effect: devices are found when they are first used."""


def is_initialized() -> bool:
    """Whether there is a device."""
    return is_available()


def synchronize(device: Any = None) -> None:
    """Waits until the device has finished what was started; no effect without one."""
    if is_available():
        _device(device).synchronize()


def empty_cache() -> None:
    """Releases the memory that no tensor uses."""
    for found in devices_of("cuda"):
        found.empty_cache()


def _pool(device: Any = None) -> Pool:
    """The allocator of a device, whose numbers change without a function's doing."""
    if context.recorder is not None:
        context.recorder.give_up("reads how much memory of a CUDA device is in use")
    return _device(device).pool


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors occupy."""
    return _pool(device).allocated if is_available() else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors occupied at a time, since ``reset_peak_memory_stats``."""
    return _pool(device).most_allocated if is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the driver: those of tensors, and freed ones that are kept for new tensors."""
    return _pool(device).reserved if is_available() else 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from the driver at a time, since ``reset_peak_memory_stats``."""
    return _pool(device).most_reserved if is_available() else 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Restarts the counts of ``max_memory_allocated`` and ``max_memory_reserved``."""
    if is_available():
        pool = _pool(device)
        pool.most_allocated, pool.most_reserved = pool.allocated, pool.reserved


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """The numbers of bytes, as text."""
    names = ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved")
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {globals()[name](device):>16,} bytes" for name in names)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the device."""
    found = _device(device)
    return found.total_memory - _pool(device).reserved, found.total_memory


def manual_seed_all(seed: int) -> None:
    """No effect: random numbers are those of the CPU's generator, whatever the device."""


manual_seed = manual_seed_all


class Event:
    """A point in the work of a stream. Without ``enable_timing``, ``elapsed_time`` raises RuntimeError. ``blocking`` and
    ``interprocess`` have no effect.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        self._timed = enable_timing
        self._on: Any = None  # the device and its event, after ``record``

    def record(self, stream: Stream | None = None) -> None:
        """Marks the work that was started so far in a stream; None is the current one."""
        chosen = _current(stream)
        with chosen._entered():
            self._on = chosen._found, chosen._found.event(self._timed)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another one. Raises RuntimeError unless both were recorded with timing, and have
        happened.
        """
        if not (self._timed and end_event._timed):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if self._on is None or end_event._on is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        found, event = self._on
        return found.elapsed(event, end_event._on[1])

    def query(self) -> bool:
        """Whether the work before the event has finished."""
        return self._on is None or self._on[0].happened(self._on[1])

    def wait(self, stream: Stream | None = None) -> None:
        """What is started in a stream from now on follows the work before the event."""
        if self._on is not None:
            chosen = _current(stream)
            with chosen._entered():
                chosen._found.wait(self._on[1])

    def synchronize(self) -> None:
        """Waits until the work before the event has finished."""
        if self._on is not None:
            self._on[0].synchronize(self._on[1])


class Stream:
    """A queue of work on ``device``, run in order; None is the current device. Work in different streams runs at the same time
    unless an event or a synchronisation orders it. There are 32 streams of each ``priority``, given in turn; a lower number is
    a higher priority. Raises RuntimeError for a device that does not exist.
    """

    def __init__(self, device: Any = None, priority: int = 0):
        found = _device(device)
        self._begin(found, found.next_stream(priority))

    def _begin(self, found: Device, number: int) -> None:
        self._found, self.cuda_stream, self.device = found, number, Place("cuda", found.index)

    @staticmethod
    def _of(found: Device, number: int) -> Stream:
        made = Stream.__new__(Stream)
        made._begin(found, number)
        return made

    def _entered(self) -> contextlib.AbstractContextManager[None]:
        _leave_trace()
        return self._found.using_stream(self.cuda_stream)

    def synchronize(self) -> None:
        """Waits until what was started in the stream has finished."""
        self._found.synchronize(self.cuda_stream)

    def query(self) -> bool:
        """Whether what was started in the stream has finished."""
        _leave_trace()
        return self._found.happened(self.cuda_stream)

    def wait_stream(self, stream: Stream) -> None:
        """What is started from now on follows what was started in another stream so far."""
        self.wait_event(stream.record_event())

    def wait_event(self, event: Event) -> None:
        """What is started from now on follows the work before an event."""
        event.wait(self)

    def record_event(self, event: Event | None = None) -> Event:
        """An event that marks what was started so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (other.device, other.cuda_stream) == (self.device, self.cuda_stream)

    def __hash__(self) -> int:
        return hash((self.device, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<tracer.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


def _leave_trace() -> None:
    if context.recorder is not None:  # replays start their work in one stream
        context.recorder.give_up("uses a stream of a CUDA device")


def _current(stream: Stream | None) -> Stream:
    return current_stream() if stream is None else stream


def current_stream(device: Any = None) -> Stream:
    """The stream in which this thread starts work on a device."""
    _leave_trace()
    found = _device(device)
    return Stream._of(found, found.stream)


def default_stream(device: Any = None) -> Stream:
    """The stream in which work is started unless another one was chosen."""
    return Stream._of(_device(device), 0)


def set_stream(stream: Stream) -> None:
    """Starts this thread's work on the stream's device in that stream."""
    _leave_trace()
    stream._found.stream = stream.cuda_stream


@contextlib.contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """In this context, a stream and its device are the current ones; None changes nothing."""
    if stream is None:
        yield
        return
    with device(stream.device.index), stream._entered():
        yield


@contextlib.contextmanager
def device(device: Any) -> Iterator[None]:
    """In this context, another device is the current one."""
    before = current_device()
    set_device(device)
    try:
        yield
    finally:
        set_device(before)


__all__ = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_summary",
    "reset_peak_memory_stats",
    "set_device",
    "set_stream",
    "stream",
    "synchronize",
]
