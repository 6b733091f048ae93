"""Page-locked memory, and copies that are not waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir import ops as P
from ..runtime.devices import device_of
from ..runtime.devices.device import device_named, devices_of
from ..runtime.devices.pinned import owner_of, pinned
from .context import context, not_in_traces
from .tensor import Tensor

if TYPE_CHECKING:
    from ..cuda import Stream


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the tensor is in page-locked memory of the host, from which a device copies while the host goes on."""
    not_in_traces(self, "reads whether the memory of a tensor made outside is page-locked")
    return _is_pinned(self)


def _is_pinned(t: Tensor) -> bool:
    return device_of(t._data) is None and owner_of(t._data) is not None


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in page-locked memory; the tensor itself if it is there, or if there is no device to copy to.

    Raises RuntimeError for a tensor on a device.
    """
    if device_of(self._data) is not None:
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
    if _is_pinned(self) or not devices_of("cuda"):
        return self
    if context.recorder is not None:
        context.recorder.give_up("pins memory")
    made: Tensor = P.copy(self)
    data = pinned(device_named("cuda"), self._data.shape, self._data.dtype)
    data[...] = self._data
    made._data = data
    return made


def record_stream(self: Tensor, s: Stream) -> None:
    """Notes that work in the stream ``s`` uses the tensor. Its memory is not given to another one before that has finished.

    Needed if the tensor was made in another stream, and may be deleted while the work is under way. Raises RuntimeError for a
    tensor that is not on a device.
    """
    data: Any = self._data
    if device_of(data) is None:
        raise RuntimeError(f"record_stream(): expected a tensor on a CUDA device, but it is on '{self.device}'")
    data.memory.used_by(s.cuda_stream)
