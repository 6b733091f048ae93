"""What ``TracedFunction.explain`` says of arguments and guards, in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import Tensor
from .kinds import STATIC

if TYPE_CHECKING:
    from .guards import Environment

_SHOWN = 12  # names, and items of containers, that are listed


def arguments(function: Callable[..., Any], args: tuple, kwargs: dict) -> list[str]:
    """A line for each argument of a call: ``x: float32[3, 4], requires grad``."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {**{f"argument {i}": a for i, a in enumerate(args)}, **kwargs}
    return [f"{name}: {described(a)}" for name, a in bound.items()]


def described(x: Any, depth: int = 0) -> str:
    """The type of an argument, as a trace depends on it."""
    if isinstance(x, Tensor):
        more = ", requires grad" if x.requires_grad else ""
        more += "" if x._grad_fn is None else ", computed"
        return f"{x.dtype.name}{list(x.shape)}{more}"
    if isinstance(x, np.ndarray):
        return f"NumPy array {x.dtype}{list(x.shape)}"
    if type(x) is float:
        return "float"
    if isinstance(x, STATIC):
        text = repr(x)
        return f"{type(x).__name__} {text if len(text) <= 40 else text[:37] + '...'}" if x is not None else "None"
    if isinstance(x, dict) and depth < 3:
        items = [f"{key!r}: {described(value, depth + 1)}" for key, value in list(x.items())[:_SHOWN]]
        return f"{type(x).__name__} {{{', '.join(items)}{', ...' * (len(x) > _SHOWN)}}}"
    if isinstance(x, (list, tuple)) and depth < 3:
        items = [described(item, depth + 1) for item in x[:_SHOWN]]
        return f"{type(x).__name__} ({', '.join(items)}{', ...' * (len(x) > _SHOWN)})"
    return type(x).__qualname__


def guards(environment: Environment) -> str:
    """What is compared in every call, beside the arguments."""
    names = list(dict.fromkeys(name for name in environment.names if not name.startswith("__")))
    found = [f"the names {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"] if names else []
    if environment.tensors:
        found.append(f"{len(environment.tensors)} tensors, by dtype, shape and requires_grad")
    return "; ".join([*found, "whether gradients are enabled, and the default dtype"])
