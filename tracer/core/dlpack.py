"""DLPack: memory shared with other packages."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..ir.types import bfloat16
from ..runtime.devices import Device, device_of, devices_of, on_memory_of
from ..runtime.support.dlpack import CPU, CUDA, CUDA_HOST, Opened, capsule, opened
from .context import context
from .device import memory_of
from .device import moved as moved_to
from .tensor import Tensor, wrap

_NUMBERS = {"cuda": CUDA}


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's kind and number of the device: 1 and 0 for the CPU, 2 and the number for a CUDA device. Raises BufferError for
    other kinds.
    """
    device = device_of(self._data)
    if device is None:
        return CPU, 0
    if device.type not in _NUMBERS:
        raise BufferError(f"DLPack has no devices of the kind {device.type!r}")
    return _NUMBERS[device.type], device.index


def dlpack(
    self: Tensor,
    *,
    stream: int | None = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule of the tensor's memory, or of a copy of it. ``stream``: the stream of a CUDA device in which it will be
    used, as the array API standard numbers them; None and 1 are the default one. It waits for work on the tensor, unless -1.

    Raises BufferError if the tensor requires a gradient, or is not on ``dl_device`` and must not be copied.
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if dl_device is not None and tuple(dl_device) != dlpack_device(self):
        if copy is False or tuple(dl_device) != (CPU, 0):
            raise BufferError(f"a tensor on {self.device} cannot be exported to device {tuple(dl_device)} without a copy")
        self = self.cpu()
    elif copy:
        self = self.clone()
    data: Any = self._data
    if device_of(data) is not None:
        if context.recorder is not None:
            context.recorder.give_up("shares memory with another package")
        if stream != -1:  # no order is wanted
            data.device.chain(data.device.stream, 0 if stream in (None, 1) else stream)
        return capsule(data.layout, dlpack_device(self), data.memory, max_version is not None and max_version[0] >= 1)
    array = self.numpy()
    if self.dtype is bfloat16:  # which NumPy's capsules do not know
        return capsule(array, (CPU, 0), array, max_version is not None and max_version[0] >= 1)
    return array.__dlpack__(max_version=max_version)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of any object with ``__dlpack__``, or of a DLPack capsule; on a copy of it if ``copy``, or if
    ``device`` is another one. It has its shape and dtype.

    Raises TypeError for other objects, ValueError or BufferError if a copy is needed and ``copy`` is False.
    """
    is_capsule = type(ext_tensor).__name__ == "PyCapsule"
    if not is_capsule and not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(f"from_dlpack(): argument 'ext_tensor' must have __dlpack__, not {type(ext_tensor).__name__}")
    if context.recorder is not None:
        context.recorder.give_up("makes a tensor from foreign memory")
    if is_capsule:
        found = _tensor_on(opened(ext_tensor))
    elif (kind := ext_tensor.__dlpack_device__())[0] == CUDA:
        found = _tensor_on(opened(_exported(ext_tensor, _device(kind))))
    elif getattr(ext_tensor, "dtype", None) is bfloat16:
        found = _tensor_on(opened(ext_tensor.__dlpack__()))
    else:
        found = wrap(np.from_dlpack(ext_tensor))
    needs_copy = device_of(found._data) is None and not found._data.flags.writeable
    if device is not None and found._data.device is not (memory_of(device) or "cpu"):
        if copy is False:
            raise ValueError(
                f"from_dlpack(): argument 'copy' is False, but memory on {found.device} must be copied to {device}"
            )
        return moved_to(found, device)
    if copy is False and needs_copy:
        raise ValueError("from_dlpack(): argument 'copy' is False, but memory that is read-only must be copied")
    return wrap(found._data.copy()) if copy or needs_copy else found


def _device(kind: tuple[int, int]) -> Device:
    devices = devices_of("cuda")
    if kind[1] >= len(devices):
        raise BufferError(f"from_dlpack(): the memory is on CUDA device {kind[1]}, and there are {len(devices)}")
    return devices[kind[1]]


def _exported(owner: Any, device: Device) -> Any:
    """The capsule of memory on a CUDA device, ready for the current stream."""
    stream = device.stream or 1
    try:
        return owner.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # of packages with the first version of the protocol
        return owner.__dlpack__(stream=stream)


def _tensor_on(found: Opened) -> Tensor:
    """A tensor on the memory of a capsule."""
    kind, _ = found.device
    reach = [(n - 1) * s for n, s in zip(found.shape, found.strides, strict=True)]
    low, empty = sum(min(r, 0) for r in reach), 0 in found.shape
    span = 0 if empty else sum(max(r, 0) for r in reach) - low + found.dtype.itemsize
    if kind == CUDA:
        device = _device(found.device)
        whole = device.layout(found.address + low, (span,), np.dtype(np.uint8))
        layout = np.ndarray(found.shape, found.dtype, whole, 0 if empty else -low, found.strides)
        return wrap(on_memory_of(found.owner, layout, device))
    if kind not in (CPU, CUDA_HOST):
        raise BufferError(f"from_dlpack(): memory on devices of kind {kind} cannot be used")
    memory = (ctypes.c_char * span).from_address(found.address + low) if span else (ctypes.c_char * 1)()
    memory._owner = found.owner  # type: ignore[attr-defined]
    array: np.ndarray[Any, Any] = np.ndarray(found.shape, found.dtype, memory, -low if span else 0, found.strides)  # type: ignore[arg-type]
    array.flags.writeable = not found.read_only
    return wrap(array)
