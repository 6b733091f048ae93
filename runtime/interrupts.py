"""Delayed signal handlers: Python's handlers, such as the one that raises KeyboardInterrupt, run when a section of work is
over.

Some work must not be interrupted between two statements. Python code takes LLVM's and Numba's locks, and an interrupt that
leaves them held blocks every other thread that compiles. A recording changes objects while it runs, and restores them
afterwards.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_SIGNALS = signal.valid_signals()


def _call(handler: Callable[..., Any], number: int, frame: Any) -> None:
    handler(number, frame)


class _Gate:
    """Replaces the handlers of all signals that have one: calls them while ``open`` is locked, and stores the other signals.

    ``open`` is a lock because its ``__exit__`` is C code: no handler runs between the last statement of its block and the
    release.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self.open = threading.Lock()
        self._call = call
        self._handlers: dict[int, Any] = {}
        self._came: list[int] = []  # without their frames, which would keep LLVM's objects

    def __call__(self, number: int, frame: Any) -> None:
        if self.open.locked():
            self._call(self._handlers[number], number, frame)
        else:
            self._came.append(number)

    def place(self) -> None:
        try:
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self)
        except BaseException:  # raised by a handler not yet replaced
            self.remove()
            raise

    def remove(self) -> None:
        """Restores the handlers, and runs those of the stored signals. An exception in one does not prevent the others."""
        error = None
        while True:
            try:
                for number, handler in self._handlers.items():
                    if signal.getsignal(number) is self:
                        signal.signal(number, handler)
                break
            except BaseException as e:  # from a restored handler
                error = e
        try:
            self.deliver()
        finally:
            if error is not None:
                raise error

    def deliver(self) -> None:
        """Runs the handlers of the stored signals."""
        while self._came:
            number = self._came.pop(0)
            try:
                self._call(self._handlers[number], number, sys._getframe())
            finally:
                self.deliver()


_gate: _Gate | None = None  # of the main thread, the only one that runs handlers


class gated:
    """Delays signal handlers in this block, except where the gate is open; handlers of stored signals run at its end.

        with gated(call) as gate:
            before()
            with gate.open:
                work()  # handlers run, by call(handler, number, frame)
            after()

    In nested blocks the outermost block's ``call`` applies, and an inner gate does not open while the outer one is closed.
    """

    def __init__(self, call: Callable[..., Any] = _call) -> None:
        self._call = call
        self._outermost = self._was_open = False

    def __enter__(self) -> _Gate:
        global _gate
        if threading.current_thread() is not threading.main_thread():
            return _Gate(self._call)
        if _gate is None:
            gate = _Gate(self._call)
            gate.place()
            self._outermost, _gate = True, gate
            return gate
        if not _gate.open.locked():
            return _Gate(self._call)
        _gate.open.release()
        self._was_open = True
        return _gate

    def __exit__(self, *error: Any) -> None:
        global _gate
        gate = _gate
        if self._outermost and gate is not None:
            _gate = None
            gate.remove()
        elif self._was_open and gate is not None:
            try:
                gate.open.acquire()
            finally:
                gate.deliver()


def uninterrupted(work: Callable[P, R]) -> Callable[P, R]:
    """A function whose calls are not interrupted by signal handlers."""

    @functools.wraps(work)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with gated():
            return work(*args, **kwargs)

    return call
