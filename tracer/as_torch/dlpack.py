"""``torch.utils.dlpack``."""

from __future__ import annotations

from typing import Any

from ..core.dlpack import from_dlpack
from ..core.tensor import Tensor

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """The tensor as a DLPack capsule, which can be read once."""
    return tensor.__dlpack__()
