"""Nested backward passes, to any depth.

Every level takes a number of Python frames, and a thread has about a thousand. So each level that is a multiple of
``_LEVELS`` runs on a new thread, with the same modes: they are copied to it and back.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..core.context import context
from ..ir.interp import current, using

T = TypeVar("T")
_LEVELS = 16


class _Depth(threading.local):
    level: int = 0


_depth = _Depth()


def guarded(function: Callable[..., T], *args: Any) -> T:
    """``function(*args)``, one level deeper."""
    _depth.level += 1
    try:
        return function(*args) if _depth.level % _LEVELS else _elsewhere(function, args)
    finally:
        _depth.level -= 1


def _elsewhere(function: Callable[..., T], args: tuple[Any, ...]) -> T:
    from ..tracing.switches import eager

    level, interpreter, before = _depth.level, current(), dict(vars(context))
    results: list[T] = []
    errors: list[BaseException] = []
    after: dict[str, Any] = {}

    def work() -> None:
        _depth.level = level
        vars(context).update(before)
        try:
            # A traced function might wait for this thread's parent.
            with using(interpreter), eager():
                results.append(function(*args))
        except BaseException as e:
            errors.append(e)
        after.update(vars(context))

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="tracer-backward", daemon=True)
    thread.start()
    thread.join()
    vars(context).update(after)
    if errors:
        raise errors[0]
    return results[0]
