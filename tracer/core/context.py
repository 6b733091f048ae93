"""The state of a thread: gradient mode, and the current recording."""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from ..ir.types import DType, float32
from ..runtime.devices.device import selected

if TYPE_CHECKING:
    from ..runtime.devices import Device
    from ..tracing.recorder import Recorder
    from .tensor import Tensor


class _Context(threading.local):
    grad_enabled: bool = True  # whether autograd records operations
    recorder: Recorder | None = None
    recording: bool = False  # whether a recorded run continues, even if the recorder has given up
    default_dtype: DType = float32
    inference: bool = False  # nothing is recorded, and results are inference tensors
    _asked: bool = False  # in inference mode: whether gradients would be enabled otherwise
    check_nan: bool = True  # in anomaly mode
    # Whether creating nodes requires extra work: one of the following modes is on, or there are inference tensors.
    watches_nodes: bool = False
    hooks_disabled: str | None = None  # the error raised when saved-tensors hooks are entered
    autocast: tuple[tuple[str, Any], ...] = ()  # kinds of devices, and the dtype of their products; None: no casts
    devices: tuple[Any, ...] = ()  # that new tensors are made on: the default one if it is not the CPU, then those entered
    place: Device | None = None  # where a factory fills its result; None outside factories, on the CPU, and in recordings
    has_default_device: bool = False  # whether the first of them is the default one
    _anomaly: bool = False
    _saved_tensors_hooks: tuple[tuple[Any, Any], ...] = ()

    @property
    def anomaly(self) -> bool:
        """Whether nodes store where they were created."""
        return self._anomaly

    @anomaly.setter
    def anomaly(self, mode: bool) -> None:
        if mode != self._anomaly:
            SPECIAL.append(_ANOMALY) if mode else SPECIAL.remove(_ANOMALY)
        self._anomaly = mode
        self._watch()

    @property
    def saved_tensors_hooks(self) -> tuple[tuple[Any, Any], ...]:
        """The active pairs of saved-tensors hooks, the innermost last."""
        return self._saved_tensors_hooks

    @saved_tensors_hooks.setter
    def saved_tensors_hooks(self, hooks: tuple[tuple[Any, Any], ...]) -> None:
        self._saved_tensors_hooks = hooks
        self._watch()

    def _watch(self) -> None:
        if self._anomaly or self._saved_tensors_hooks:
            self.watches_nodes = True
        else:  # for all threads, from the first inference tensor on
            vars(self).pop("watches_nodes", None)

    @property
    def mode(self) -> Any:
        """What a call depends on besides gradient mode and default dtype: inference mode, casts of operands, the device."""
        if self.autocast or self.devices or selected:
            return self.inference, self.autocast, self.devices[-1:], tuple(selected.items())
        return self.inference

    @property
    def grad_mode(self) -> bool:
        """The last setting of ``no_grad``, ``enable_grad`` and ``set_grad_enabled``."""
        return self._asked if self.inference else self.grad_enabled

    @grad_mode.setter
    def grad_mode(self, mode: bool) -> None:
        if self.inference:
            self._asked = mode
        else:
            self.grad_enabled = mode

    def infer(self, inference: bool) -> None:
        """Enters inference mode, or leaves it temporarily."""
        self.inference = inference
        self.grad_enabled = not inference
        self._asked = False
        if inference:
            _Context.watches_nodes = True


context = _Context()


def not_in_traces(t: Tensor, what: str) -> None:
    """Ends a recording that reads something of a tensor made outside which traces do not compare."""
    if context.recorder is not None and not context.recorder.is_new(t):
        context.recorder.give_up(what)


@contextlib.contextmanager
def unrecorded() -> Iterator[None]:
    """In this context, a recording does not see what runs: compilers read clocks, for example."""
    recorder, context.recorder = context.recorder, None
    try:
        yield
    finally:
        context.recorder = recorder


# The number of entered blocks, in any thread, in which generated replays do not apply: inference mode, saved-tensors hooks,
# anomaly mode, eager mode.
SPECIAL: list[object] = []
_ANOMALY = object()


# Not empty during a recording in which extents depend on values (``tracing.counts``).
COUNTED: list[object] = []
_PACKAGE = __name__.partition(".")[0] + "."
# Modules of functions that give users what they read.
_INQUIRIES = tuple(
    _PACKAGE + name for name in ("core.methods", "ops.inquiry", "ops.offering", "ops.special", "interop.", "tracing.callsites")
)
# Those that call what the user calls: checks of arguments, and the substitute of ``len``.
_CALLS = (_PACKAGE + "ops.offering", _PACKAGE + "tracing.callsites")


def shape_is_read(t: Tensor) -> None:
    """Notes that a tensor's shape is read, where user code does: the library reads shapes all the time."""
    if context.recorder is None:
        return
    frame, is_direct = sys._getframe(2), True
    name = frame.f_globals.get("__name__", "")
    while name.startswith(_INQUIRIES) and frame.f_back is not None:
        is_direct &= name in _CALLS
        frame = frame.f_back
        name = frame.f_globals.get("__name__", "")
    if not name.startswith(_PACKAGE):
        context.recorder.counts.show(t, context.recorder, frame if is_direct else None)


class Structure:
    """Counts announced changes: of modules' and optimizers' attributes, and of ``requires_grad`` flags of leaves.

    While the count is unchanged, so is what a traced function can reach through them. ``settings`` of the package change
    functions without being reached. Replays announce nothing: ``written`` has the slots (``tracing.effects``) that replays
    write to, which are compared instead.
    """

    epoch: int = 0
    settings: ClassVar[dict[str, Any]] = {}
    written: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()


def structure_changed() -> None:
    Structure.epoch += 1


def set_setting(name: str, value: Any) -> None:
    """Sets a setting. Traces recorded under one value are not replayed under another."""
    Structure.settings[name] = value
    structure_changed()
