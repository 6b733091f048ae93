"""Compiling in the background: a thread compiles one program after another, while calls run eagerly (``trace(wait=False)``)."""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable

_PATIENCE = 10  # seconds that a fork waits


class Compilation:
    """Work of the background thread. It is begun in the order of creation; at the interpreter's exit, no longer."""

    def __init__(self, work: Callable[[], object]):
        self._work, self._process = work, os.getpid()
        self._done = threading.Event()
        self._error: Exception | None = None
        _queue().add(self)

    @property
    def is_lost(self) -> bool:
        """True in a forked process, which has no such thread."""
        return self._process != os.getpid() and not self._done.is_set()

    @property
    def is_under_way(self) -> bool:
        return not (self.is_lost or self._done.is_set())

    def is_complete(self, timeout: float | None = 0) -> bool:
        """Waits for the end of the work, at most ``timeout`` seconds. Raises its error."""
        complete = self._done.wait(timeout)
        if self._error is not None:
            raise self._error
        return complete

    def run(self) -> None:
        try:
            self._work()
        except Exception as e:
            self._error = e
        finally:
            self._done.set()


class _Queue:
    """The thread exists while there is work. A fork waits for the current compilation: the copy would inherit its locks."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may add work while its thread does
        self._working = threading.RLock()  # held by the thread during a compilation
        self._waiting: deque[Compilation] = deque()
        self._thread: threading.Thread | None = None
        self._is_between = False  # two compilations

    def add(self, compilation: Compilation) -> None:
        with self._lock:
            self._waiting.append(compilation)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tracer-background")
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._working:
                with self._lock:
                    if not self._waiting or not threading.main_thread().is_alive():
                        self._thread = None
                        return
                    compilation = self._waiting.popleft()
                compilation.run()

    def before_fork(self) -> None:
        self._is_between = self._working.acquire(timeout=_PATIENCE)

    def after_fork(self) -> None:
        if self._is_between:
            self._working.release()


@functools.cache
def _queue() -> _Queue:
    queue = _Queue()
    if hasattr(os, "register_at_fork"):
        # A fork first takes the locks that were registered last: this one, before those of two modules that compiling needs.
        import concurrent.futures.thread  # noqa: F401
        import logging  # noqa: F401

        forget = queue.__init__  # type: ignore[misc]
        os.register_at_fork(before=queue.before_fork, after_in_parent=queue.after_fork, after_in_child=forget)
    return queue
