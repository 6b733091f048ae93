"""Utilities for training loops."""

from . import _pytree, checkpoint, data

__all__ = ["checkpoint", "data"]
