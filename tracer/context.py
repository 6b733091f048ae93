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
    check_nan: bool = True  # in anomaly mode
    watches_nodes: bool = False  # whether either of the following is on
    _anomaly: bool = False
    _saved_tensors_hooks: tuple[tuple[Any, Any], ...] = ()

    @property
    def anomaly(self) -> bool:
        """Whether nodes remember where they were made."""
        return self._anomaly

    @anomaly.setter
    def anomaly(self, mode: bool) -> None:
        self._anomaly = mode
        self.watches_nodes = mode or bool(self._saved_tensors_hooks)

    @property
    def saved_tensors_hooks(self) -> tuple[tuple[Any, Any], ...]:
        """The pairs of hooks for what nodes save, the innermost last."""
        return self._saved_tensors_hooks

    @saved_tensors_hooks.setter
    def saved_tensors_hooks(self, hooks: tuple[tuple[Any, Any], ...]) -> None:
        self._saved_tensors_hooks = hooks
        self.watches_nodes = self._anomaly or bool(hooks)


context = _Context()


class Structure:
    """Counts the changes of everything that announces them: modules' and optimizers' attributes, ``requires_grad`` flags.

    While the count stays the same, what a traced function can reach through them is the same.
    """

    epoch: int = 0


def structure_changed() -> None:
    Structure.epoch += 1
