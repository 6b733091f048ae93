"""Tracing without decorators: calls of modules, and steps of optimizers, that repeat.

An outermost call of a module is traced from its third time on, like a call of ``tracer.trace(module)``; so are the steps of an
optimizer. Results are the same by the rules of tracing: what cannot be compiled runs eagerly. There are no warnings, because
nobody asked for tracing there; ``tracer explain`` gives the reasons.
"""

from __future__ import annotations

import functools
import threading
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .. import optim
from ..core.context import context
from ..nn.module import Module
from ..optim.optimizer import Optimizer
from ..tracing.failure import TraceWarning
from ..tracing.function import TracedFunction

_FIRST = 3  # the traced call
_MAX_OBJECTS = 64  # for each method


class _Outermost(threading.local):
    inside = False


class _Repeated:
    """A method whose repeated calls, unless they are part of another one, are traced for each object."""

    def __init__(self, method: Callable[..., Any]):
        self.method = method
        # By id, least recently used first: the object, which is kept alive; its calls; the traced method.
        self.known: OrderedDict[int, list[Any]] = OrderedDict()

    def call(self, x: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if _state.inside or context.recorder is not None:
            return self.method(x, *args, **kwargs)
        entry = self.known.setdefault(id(x), [x, 0, None])
        self.known.move_to_end(id(x))
        if len(self.known) > _MAX_OBJECTS:
            self.known.popitem(last=False)
        entry[1] += 1
        if entry[1] >= _FIRST and entry[2] is None:
            entry[2] = TracedFunction(types.MethodType(self.method, x))
        _state.inside = True
        try:
            return (entry[2] or functools.partial(self.method, x))(*args, **kwargs)
        finally:
            _state.inside = False


_state = _Outermost()


def enter() -> None:
    """Traces repeated calls of all modules, and repeated steps of all optimizers, from now on."""
    warnings.filterwarnings("ignore", category=TraceWarning)
    _replace(Module, "__call__")
    for cls in {cls for cls in vars(optim).values() if isinstance(cls, type) and issubclass(cls, Optimizer)}:
        if "step" in vars(cls):
            _replace(cls, "step")


def _replace(cls: Any, name: str) -> None:
    original = vars(cls)[name]
    repeated = _Repeated(original)

    @functools.wraps(original)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        return repeated.call(self, args, kwargs)

    setattr(cls, name, called)
