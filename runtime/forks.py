"""Locks in forked processes. A child has only the thread that forked: a lock that another thread held would stay locked.

A fork first takes the locks of work that must not be copied half done, for at most ``_PATIENCE`` seconds each; other locks are
free in the child.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

_PATIENCE = 10.0
_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def reentrant_lock() -> Any:
    """A ``threading.RLock`` that is free in a forked process, unless the thread that forked holds it."""
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def _free_all() -> None:
    for lock in list(_locks):
        if not lock._is_owned():  # type: ignore[attr-defined]
            lock._at_fork_reinit()


def waits_for(lock: Any, is_mine: Callable[[], bool] = lambda: False) -> None:
    """A fork waits for the work that holds ``lock``, unless ``is_mine`` says that it is the forking thread's own."""
    taken: list[bool] = []  # by the current fork

    def before() -> None:
        taken.append(not is_mine() and lock.acquire(timeout=_PATIENCE))

    def after() -> None:
        if taken.pop():
            lock.release()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)
