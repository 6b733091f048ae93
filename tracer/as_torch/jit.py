"""``torch.jit``: functions and modules stay what they are. ``tracer.trace`` compiles them, with Python's semantics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

from ..nn.module import Module
from .absent import as_it_is, rest_of

__all__ = ["Attribute", "Final", "ScriptModule", "annotate", "export", "freeze", "fuser", "ignore", "interface"]
__all__ += ["is_scripting", "is_tracing", "optimize_for_inference", "script", "script_if_tracing", "trace", "trace_module"]
__all__ += ["TracerWarning", "unused"]

__getattr__ = rest_of("jit")  # also ``load`` and ``save``: files of programs


class ScriptModule(Module):
    """A module."""


class TracerWarning(Warning):
    """Never issued: traces follow Python's control flow."""


export = interface = script_if_tracing = script_method = unused = ignore = as_it_is
freeze = optimize_for_inference = script = trace = trace_module = as_it_is
_overload = _overload_method = _script_if_tracing = as_it_is


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value."""
    return the_value


def is_scripting() -> bool:
    """False."""
    return False


is_tracing = is_scripting
Attribute: Callable[..., Any] = lambda value, type: value


def fuser(name: str) -> Any:
    """A context without effect."""
    return contextlib.nullcontext()
