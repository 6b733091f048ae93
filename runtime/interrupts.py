"""Signals that wait: what Python's handlers do, raise KeyboardInterrupt for one, comes when a piece of work is over.

Some work must not end between two of its lines. LLVM's and Numba's locks are taken by Python code, and an interrupt that leaves
them held blocks every other thread that compiles. A recording changes objects for as long as it runs, and changes them back.
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
    """The handler of all signals that have one, in place of those: it calls them while ``open`` is locked, and notes the rest.

    ``open`` is a lock because its ``__exit__`` is C code: no handler runs between the last line of its block and the closing.
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
        except BaseException:  # raised by a handler that was still in its place
            self.remove()
            raise

    def remove(self) -> None:
        """Puts the handlers back, and runs those of the signals that came. One that raises an exception stops no other."""
        error = None
        while True:
            try:
                for number, handler in self._handlers.items():
                    if signal.getsignal(number) is self:
                        signal.signal(number, handler)
                break
            except BaseException as e:  # of a handler that is back
                error = e
        try:
            self.deliver()
        finally:
            if error is not None:
                raise error

    def deliver(self) -> None:
        """Runs the handlers of the signals that came."""
        while self._came:
            number = self._came.pop(0)
            try:
                self._call(self._handlers[number], number, sys._getframe())
            finally:
                self.deliver()


_gate: _Gate | None = None  # in the main thread, which alone runs handlers


class gated:
    """No handler of a signal runs in this block, but where it says so; those of signals that came run at its end.

        with gated(call) as gate:
            before()
            with gate.open:
                work()  # handlers run, by call(handler, number, frame)
            after()

    Inside of another such block, ``call`` is that of the outermost one, and no gate opens where that one's is closed.
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
    """A function whose calls no handler of a signal interrupts."""

    @functools.wraps(work)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with gated():
            return work(*args, **kwargs)

    return call
