"""NumPy's names for arguments, understood wherever PyTorch's are: ``axis`` for ``dim``, ``keepdims`` for ``keepdim``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def spelled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which takes both spellings; itself if it has no such argument."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return function
    names = {"axis": next((n for n in ("dim", "dims") if n in parameters), None), "keepdims": "keepdim"}
    known = {new: old for new, old in names.items() if old is not None and old in parameters and new not in parameters}
    if not known:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {known.get(name, name): value for name, value in kwargs.items()}
        return function(*args, **kwargs)

    return call
