"""The accelerator of this machine, whatever its kind: CUDA devices, if there are any."""

from __future__ import annotations

from typing import Any

from . import cuda
from .core.device import device as Device


def is_available() -> bool:
    """Whether there is an accelerator."""
    return cuda.is_available()


def device_count() -> int:
    """The number of accelerators."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Device | None:
    """The kind of the accelerators; None if there are none."""
    return Device("cuda") if is_available() else None


def current_device_index() -> int:
    """The number of the current accelerator. Raises RuntimeError if there is none."""
    if not is_available():
        raise RuntimeError("there is no accelerator: tensors live on 'cpu'")
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Sets the current accelerator. Raises RuntimeError if it does not exist."""
    cuda.set_device(device)


def current_stream(device: Any = None) -> cuda.Stream:
    """The stream in which this thread starts work. Raises RuntimeError if there is no accelerator."""
    return cuda.current_stream(device)


def set_stream(stream: cuda.Stream) -> None:
    """Starts this thread's work on the stream's device in that stream."""
    cuda.set_stream(stream)


def synchronize(device: Any = None) -> None:
    """Waits until the accelerator has finished what was started; no effect without one."""
    cuda.synchronize(device)


def empty_cache() -> None:
    """Releases the memory of accelerators that no tensor uses."""
    cuda.empty_cache()
