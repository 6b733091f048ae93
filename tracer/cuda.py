"""CUDA devices: their number, memory, and what programs for PyTorch ask of them.

Kernels run in order, and calls return when they have been started; ``synchronize`` waits for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from .core.device import device as Place
from .core.device import memory_of
from .runtime.devices import Device
from .runtime.devices.device import OutOfMemoryError, devices_of, selected


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


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors occupy."""
    return _device(device).pool.allocated if is_available() else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors occupied at a time, since ``reset_peak_memory_stats``."""
    return _device(device).pool.most_allocated if is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the driver: those of tensors, and freed ones that are kept for new tensors."""
    return _device(device).pool.reserved if is_available() else 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from the driver at a time, since ``reset_peak_memory_stats``."""
    return _device(device).pool.most_reserved if is_available() else 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Restarts the counts of ``max_memory_allocated`` and ``max_memory_reserved``."""
    if is_available():
        pool = _device(device).pool
        pool.most_allocated, pool.most_reserved = pool.allocated, pool.reserved


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """The numbers of bytes, as text."""
    names = ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved")
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {globals()[name](device):>16,} bytes" for name in names)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the device."""
    found = _device(device)
    return found.total_memory - found.pool.reserved, found.total_memory


def manual_seed_all(seed: int) -> None:
    """No effect: random numbers are those of the CPU's generator, whatever the device."""


manual_seed = manual_seed_all


class Event:
    """A time in a device's work. Without ``enable_timing``, ``elapsed_time`` raises RuntimeError. ``blocking`` and
    ``interprocess`` have no effect.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        self._timed, self._at = enable_timing, 0.0

    def record(self, stream: Stream | None = None) -> None:
        """Notes the time at which what was started before has finished, and waits for it."""
        synchronize()
        self._at = perf_counter()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this time to another one. Raises RuntimeError unless both were recorded, with timing."""
        if not (self._timed and end_event._timed and self._at and end_event._at):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True' and recorded.")
        return (end_event._at - self._at) * 1e3

    def query(self) -> bool:
        """True: ``record`` waits."""
        return True

    def wait(self, stream: Stream | None = None) -> None:
        """No effect: work runs in order."""

    def synchronize(self) -> None:
        """No effect: ``record`` waits."""


class Stream:
    """An order of work. There is one for each ``device``, so all streams of a device are the same order, and ``priority`` has
    no effect. Raises RuntimeError for a device that does not exist.
    """

    def __init__(self, device: Any = None, priority: int = 0):
        self.device = Place("cuda", _device(device).index)

    def synchronize(self) -> None:
        """Waits until the device has finished what was started."""
        synchronize(self.device)

    def query(self) -> bool:
        """True, after what was started has finished."""
        self.synchronize()
        return True

    def wait_stream(self, stream: Stream) -> None:
        """No effect: work runs in order."""

    def wait_event(self, event: Event) -> None:
        """No effect: work runs in order."""

    def record_event(self, event: Event | None = None) -> Event:
        """An event that is recorded now."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.device == self.device

    def __hash__(self) -> int:
        return hash(self.device)


def current_stream(device: Any = None) -> Stream:
    """The stream of a device."""
    return Stream(device)


default_stream = current_stream


@contextlib.contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """No effect: there is one stream for each device."""
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
    "stream",
    "synchronize",
]
