"""What training loops need beside tensors and modules."""

from . import _pytree, checkpoint, data

__all__ = ["checkpoint", "data"]
