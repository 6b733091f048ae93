"""Stack space for walks through objects: linked lists are as deep as they are long."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..runtime.interrupts import gated

_FRAMES = 200_000  # frames that a walk may need: it calls no user code, and such Python calls take no space on the C stack
_NEAR = 50  # distance to the limit at which it cannot be set
_lock = threading.Lock()
_users = 0
_before = 0


def probe_stack(frames: int) -> None:
    """Raises RecursionError unless there is space for this many frames."""
    if frames:
        probe_stack(frames - 1)


def with_room(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that may recurse deeply. It is called again if the usual space is insufficient."""

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
    """Provides space for deep recursion in this block. Raises RecursionError if the stack is almost full."""
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
