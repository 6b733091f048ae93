"""Room on the stack for walks through objects: lists linked node by node are as deep as they are long."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..runtime.interrupts import gated

_FRAMES = 200_000  # what a walk may need: it calls nothing of a user's, and such calls of Python take no room on the C stack
_NEAR = 50  # frames to the limit, at which it cannot be set
_lock = threading.Lock()
_users = 0
_before = 0


def probe_stack(frames: int) -> None:
    """Raises RecursionError unless there is room for so many frames."""
    if frames:
        probe_stack(frames - 1)


def with_room(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that may call itself many times. It is called again where the usual room isn't enough."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except RecursionError:
            with room():
                return method(*args, **kwargs)

    return call


@contextlib.contextmanager
def room() -> Iterator[None]:
    """Meanwhile there is room for many calls within one another. Raises RecursionError where the stack is almost full."""
    global _users, _before
    probe_stack(_NEAR)
    with gated():
        with _lock:
            _users += 1
            if _users == 1:
                _before = sys.getrecursionlimit()
                sys.setrecursionlimit(max(_before, _FRAMES))
        try:
            yield
        finally:
            with _lock:
                _users -= 1
                if _users == 0:
                    sys.setrecursionlimit(_before)
