"""Signals that wait: what Python's handlers do, raise KeyboardInterrupt for one, comes when a piece of work is over.

LLVM's and Numba's locks are taken by Python code. An interrupt between its lines leaves them held, and then every other thread
that compiles waits forever.
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


def uninterrupted(work: Callable[P, R]) -> Callable[P, R]:
    """A function whose calls no handler of a signal interrupts. Handlers run in the main thread alone."""

    @functools.wraps(work)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if threading.current_thread() is not threading.main_thread():
            return work(*args, **kwargs)
        came: list[int] = []  # without their frames, which would keep LLVM's objects
        handlers: dict[int, Any] = {}

        def later(number: int, frame: Any) -> None:
            came.append(number)

        try:
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    handlers[number] = handler
                    signal.signal(number, later)
            return work(*args, **kwargs)
        finally:
            _restore(handlers, later)
            for given in came:
                handlers[given](given, sys._getframe())

    return call


def _restore(handlers: dict[int, Any], later: Any) -> None:
    """Puts handlers back. One that is back may raise at once: the others are put back first."""
    error = None
    while True:
        try:
            for number, handler in handlers.items():
                if signal.getsignal(number) is later:
                    signal.signal(number, handler)
            break
        except BaseException as e:
            error = e
    if error is not None:
        raise error
