"""The interface of ``torch.compiler``. Here, ``tracer.trace`` compiles functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .core.context import context


def is_compiling() -> bool:
    """True if a function is being recorded."""
    return context.recorder is not None


is_dynamo_compiling = is_compiling


def is_exporting() -> bool:
    """False."""
    return False


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The function, made eager wherever it is called, and with it traced functions that call it; ``reason`` is reported.

    Without ``fn`` a decorator. ``recursive`` is accepted: functions that it calls run eagerly too.
    """
    if fn is None:
        return functools.partial(disable, reason=reason)
    from .tracing.switches import eager

    @functools.wraps(fn)
    def disabled(*args: Any, **kwargs: Any) -> Any:
        if context.recorder is not None:
            context.recorder.give_up("calls a function that is disabled" + (f": {reason}" if reason else ""))
        with eager():
            return fn(*args, **kwargs)

    return disabled


def _as_it_is(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
    return fn if callable(fn) else lambda function: function


allow_in_graph: Callable[..., Any] = _as_it_is
assume_constant_result: Callable[..., Any] = _as_it_is


def reset() -> None:
    """No effect: each traced function has its own traces."""


def cudagraph_mark_step_begin() -> None:
    """No effect."""


def graph_break(*args: Any, **kwargs: Any) -> None:
    """No effect."""


def mark_dynamic(t: Any, index: Any, **more: Any) -> None:
    """No effect: traces depend on shapes."""


mark_static = maybe_mark_dynamic = mark_dynamic
