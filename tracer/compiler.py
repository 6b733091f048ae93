"""PyTorch's words about its compiler, for programs that use them. Functions are compiled by ``tracer.trace`` here."""

from __future__ import annotations

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
    """The function, which stays eager inside traced ones. Also as a decorator with arguments."""
    from .tracing.function import eager

    return eager() if fn is None else eager()(fn)


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
