"""``torch.compiler``: that of ``tracer``. Programs are not told that they are traced: a replay does what the program does."""

from __future__ import annotations

from typing import Any

from ..compiler import (
    allow_in_graph,
    assume_constant_result,
    cudagraph_mark_step_begin,
    disable,
    graph_break,
    is_exporting,
    mark_dynamic,
    mark_static,
    maybe_mark_dynamic,
    reset,
)
from .absent import rest_of

__all__ = ["allow_in_graph", "assume_constant_result", "cudagraph_mark_step_begin", "disable", "graph_break", "is_compiling"]
__all__ += ["is_dynamo_compiling", "is_exporting", "mark_dynamic", "mark_static", "maybe_mark_dynamic", "reset"]

__getattr__ = rest_of("compiler")


def is_compiling() -> bool:
    """False."""
    return False


is_dynamo_compiling = is_compiling


def mark_static_address(t: Any, guard: bool = True) -> None:
    """No effect: replays find tensors where they are."""
