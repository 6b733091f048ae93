"""DLPack: memory shared with other packages."""

from __future__ import annotations

from typing import Any

import numpy as np

from .context import context
from .device import require_cpu
from .tensor import Tensor, wrap


def dlpack(self: Tensor, **kwargs: Any) -> Any:
    """A DLPack capsule of the tensor's memory. Raises BufferError if it requires a gradient."""
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    kwargs.pop("stream", None)
    return self.numpy().__dlpack__(**kwargs)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of any object with ``__dlpack__``; on a copy of it if ``copy``. It has its shape and dtype.

    Raises TypeError for other objects, ValueError or BufferError if a copy is needed and ``copy`` is False.
    """
    require_cpu(device)
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(f"from_dlpack(): argument 'ext_tensor' must have __dlpack__, not {type(ext_tensor).__name__}")
    if context.recorder is not None:
        context.recorder.give_up("makes a tensor from foreign memory")
    array = np.from_dlpack(ext_tensor)
    if copy is False and not array.flags.writeable:
        raise ValueError("from_dlpack(): argument 'copy' is False, but memory that is read-only must be copied")
    # Read-only memory is copied.
    return wrap(array if array.flags.writeable and not copy else array.copy())
