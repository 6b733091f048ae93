"""Switches for all traced functions: turn tracing off, compare every replay, or observe which ones are created."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..core.context import SPECIAL

_DISABLED = os.environ.get("TRACER_DISABLE", "0") not in ("", "0")
CHECKED = os.environ.get("TRACER_CHECK", "0") not in ("", "0")


class _Mode(threading.local):
    eager: bool = False


_mode = _Mode()
if _DISABLED:
    SPECIAL.append(_mode)


def is_eager() -> bool:
    """True if traced functions run eagerly in this thread, also because hooks observe all modules."""
    return _mode.eager or _DISABLED or any(getattr(x, "observes_modules", False) for x in SPECIAL)


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Runs traced functions eagerly in this block, for debugging."""
    before = _mode.eager
    _mode.eager = True
    SPECIAL.append(_mode)
    try:
        yield
    finally:
        SPECIAL.remove(_mode)
        _mode.eager = before


_observers: list[Callable[[Any], None]] = []


def created(function: Any) -> None:
    """Reports a new traced function to the observers."""
    for observe in _observers:
        observe(function)


@contextlib.contextmanager
def observing(observe: Callable[[Any], None]) -> Iterator[None]:
    """Calls ``observe`` with each traced function that is created in this block."""
    _observers.append(observe)
    try:
        yield
    finally:
        _observers.remove(observe)
