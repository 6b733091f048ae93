"""The progress of a long compilation, on a terminal or in a notebook."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE = 1.0  # seconds without a message


def shown(kernels: Sequence[T]) -> Iterator[T]:
    """The kernels, one by one, with a message on how many of them are compiled, if that takes more than a second.

    The message is removed at the end. Without a terminal or a notebook there is none.
    """
    start, message = perf_counter(), None
    try:
        for done, kernel in enumerate(kernels):
            seconds = perf_counter() - start
            if seconds >= _PATIENCE:
                message = message or _message()
                message.show(f"tracer: compiled {done} of {len(kernels)} kernels, {seconds:.0f} s")
            yield kernel
    finally:
        if message is not None:
            message.remove()


class _Message:
    """Where nobody looks."""

    def show(self, text: str) -> None:
        pass

    def remove(self) -> None:
        pass


class _OnTerminal(_Message):
    """One line, which is overwritten. It goes past ``sys.stderr``, which a program may have replaced."""

    def __init__(self, stream: Any):
        self._stream = stream

    def show(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()

    def remove(self) -> None:
        self.show("")


class _InNotebook(_Message):
    """One output, which is updated."""

    def __init__(self, display: Any):
        self._display, self._handle = display, None

    def show(self, text: str) -> None:
        with contextlib.suppress(Exception):  # the user's front end
            if self._handle is None:
                self._handle = self._display({"text/plain": text}, raw=True, display_id=True)
            else:
                self._handle.update({"text/plain": text}, raw=True)

    def remove(self) -> None:
        self.show("")


def _message() -> _Message:
    notebook = sys.modules.get("IPython")
    with contextlib.suppress(Exception):
        shell = notebook.get_ipython() if notebook is not None else None
        if shell is not None and hasattr(shell, "kernel"):
            return _InNotebook(sys.modules["IPython.display"].display)
    with contextlib.suppress(ValueError, AttributeError):  # closed, or none
        if sys.__stderr__ is not None and sys.__stderr__.isatty():
            return _OnTerminal(sys.__stderr__)
    return _Message()
