"""``torch.jit``: functions and modules stay what they are. ``tracer.trace`` compiles them, with Python's semantics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..nn.module import Module
from .absent import absent

__all__ = ["Attribute", "Final", "ScriptFunction", "ScriptModule", "annotate", "export", "freeze", "ignore", "interface"]
__all__ += ["is_scripting", "is_tracing", "load", "optimize_for_inference", "save", "script", "script_if_tracing", "trace"]
__all__ += ["unused"]

ScriptFunction = absent("jit.ScriptFunction")
RecursiveScriptModule = absent("jit.RecursiveScriptModule")
load, save = absent("jit.load"), absent("jit.save")


class ScriptModule(Module):
    """A module."""


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """The function, class or module itself."""
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """The function or module itself."""
    return func


freeze = optimize_for_inference = script
trace_module = trace


def unused(fn: Any) -> Any:
    """The function itself."""
    return fn


export = interface = script_if_tracing = script_method = _overload_method = _overload = unused


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function itself, or a decorator that returns it."""
    return drop if callable(drop) else unused


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
    import contextlib

    return contextlib.nullcontext()


def isinstance(obj: Any, target_type: Any) -> bool:  # noqa: A001
    """Python's ``isinstance``."""
    import builtins

    return builtins.isinstance(obj, target_type)
