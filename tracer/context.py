"""What a thread is doing: whether it records for autograd, and into which trace."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .ir.types import DType, float32

if TYPE_CHECKING:
    from .tracing.recorder import Recorder


class _Context(threading.local):
    grad_enabled: bool = True
    recorder: Recorder | None = None
    default_dtype: DType = float32
    inference: bool = False
    anomaly: bool = False  # nodes remember where they were made
    check_nan: bool = True  # in anomaly mode
    saved_tensors_hooks: tuple[tuple[Any, Any], ...] = ()


context = _Context()


class Structure:
    """Counts the changes of everything that announces them: modules' and optimizers' attributes, ``requires_grad`` flags.

    While the count stays the same, what a traced function can reach through them is the same.
    """

    epoch: int = 0


def structure_changed() -> None:
    Structure.epoch += 1
