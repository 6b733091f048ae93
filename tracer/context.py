"""What a thread is doing: whether it records for autograd, and into which trace."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from .ir.types import DType, float32

if TYPE_CHECKING:
    from .tracing.recorder import Recorder


class _Context(threading.local):
    grad_enabled: bool = True  # whether operations are followed
    recorder: Recorder | None = None
    recording: bool = False  # whether a recorded run goes on, even if the recorder has given up
    default_dtype: DType = float32
    inference: bool = False  # nothing is followed, and results are inference tensors
    _asked: bool = False  # in inference mode: whether gradients would be enabled otherwise
    check_nan: bool = True  # in anomaly mode
    # Whether nodes look around when they are made: one of the following is on, or there are inference tensors.
    watches_nodes: bool = False
    hooks_disabled: str | None = None  # the error that entering hooks for saved tensors raises
    _anomaly: bool = False
    _saved_tensors_hooks: tuple[tuple[Any, Any], ...] = ()

    @property
    def anomaly(self) -> bool:
        """Whether nodes remember where they were made."""
        return self._anomaly

    @anomaly.setter
    def anomaly(self, mode: bool) -> None:
        if mode != self._anomaly:
            SPECIAL.append(_ANOMALY) if mode else SPECIAL.remove(_ANOMALY)
        self._anomaly = mode
        self._watch()

    @property
    def saved_tensors_hooks(self) -> tuple[tuple[Any, Any], ...]:
        """The pairs of hooks for what nodes save, the innermost last."""
        return self._saved_tensors_hooks

    @saved_tensors_hooks.setter
    def saved_tensors_hooks(self, hooks: tuple[tuple[Any, Any], ...]) -> None:
        self._saved_tensors_hooks = hooks
        self._watch()

    def _watch(self) -> None:
        if self._anomaly or self._saved_tensors_hooks:
            self.watches_nodes = True
        else:  # as all threads have it: from the first inference tensor on
            vars(self).pop("watches_nodes", None)

    @property
    def grad_mode(self) -> bool:
        """What ``no_grad``, ``enable_grad`` and ``set_grad_enabled`` have said last."""
        return self._asked if self.inference else self.grad_enabled

    @grad_mode.setter
    def grad_mode(self, mode: bool) -> None:
        if self.inference:
            self._asked = mode
        else:
            self.grad_enabled = mode

    def infer(self, inference: bool) -> None:
        """Enters inference mode, or leaves it for a while."""
        self.inference = inference
        self.grad_enabled = not inference
        self._asked = False
        if inference:
            _Context.watches_nodes = True


context = _Context()
# Blocks entered, in any thread, in which replays that were written out do not apply: of inference mode, with hooks for saved
# tensors, in anomaly mode, in which traced functions run eagerly.
SPECIAL: list[object] = []
_ANOMALY = object()


class Structure:
    """Counts the changes of everything that announces them: modules' and optimizers' attributes, ``requires_grad`` flags.

    While the count stays the same, what a traced function can reach through them is the same. ``settings`` of the package
    change what functions do, without being reached. Replays announce nothing: ``written`` has the slots
    (``tracing.effects``) that some replay writes to, which are looked at instead.
    """

    epoch: int = 0
    settings: ClassVar[dict[str, Any]] = {}
    written: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()


def structure_changed() -> None:
    Structure.epoch += 1


def set_setting(name: str, value: Any) -> None:
    """Traces recorded under one value of a setting are not replayed under another one."""
    Structure.settings[name] = value
    structure_changed()
