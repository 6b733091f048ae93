"""What training loops need beside tensors and modules."""

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
