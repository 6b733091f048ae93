"""What programs call of ``torch.compiler``. Functions are compiled by ``tracer.trace`` here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .context import context


def is_compiling() -> bool:
    """Whether a function is being recorded."""
    return context.recorder is not None


is_dynamo_compiling = is_compiling


def is_exporting() -> bool:
    """False."""
    return False


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The function, run eagerly wherever it is called: so is a traced function that calls it, and ``reason`` is part of why.

    Without ``fn`` a decorator. ``recursive`` is accepted: what the function calls runs eagerly too.
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
    """Nothing: each traced function keeps its own traces."""


def cudagraph_mark_step_begin() -> None:
    """Nothing."""


def graph_break(*args: Any, **kwargs: Any) -> None:
    """Nothing."""


def mark_dynamic(t: Any, index: Any, **more: Any) -> None:
    """Nothing: shapes are part of what a trace depends on."""


mark_static = maybe_mark_dynamic = mark_dynamic
