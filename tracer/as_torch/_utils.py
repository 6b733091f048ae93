"""``torch._utils``: lists of tensors as one vector, as packages for distributed training use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.tensor import Tensor
from ..nn.utils import parameters_to_vector as _flatten_dense_tensors


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The parts of a vector as tensors with these shapes."""
    parts = flat.split([t.numel() for t in tensors])
    return tuple(part.view(t.shape) for part, t in zip(parts, tensors, strict=True))


def _get_device_index(device: Any, optional: bool = False, allow_cpu: bool = False) -> int:
    """The number of a device; -1 for the CPU."""
    if isinstance(device, int):
        return device
    from ..core.device import device as named

    where = named(device if device is not None else "cpu")
    return -1 if where.type == "cpu" else where.index or 0
