"""One eager run of a function while a recorder listens."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..context import context
from ..ir.interp import using
from ..ir.pipeline import collector_paused
from .arrays import RuntimeArray
from .escape import plain, release
from .guards import Call
from .recorder import Recorder, Source
from .scalars import Argument
from .world import heard


class Recording:
    """A run of a function on arguments whose floats are floats of the run. ``copies``: ids of containers made for that."""

    def __init__(self, name: str, call: Call):
        self.recorder = Recorder(name)
        self.copies: set[int] = set()
        self._copied: list[tuple[Any, Any, list[Any]]] = []  # copy, original, what the copy held
        for i, t in enumerate(call.tensors):
            if not self.recorder.knows(t):
                self.recorder.input(t, Source("argument", i))
        root = self.recorder.floats.root
        self._floats = iter([root(Argument(i), x) for i, x in enumerate(call.floats)])
        self._arrays = {at: RuntimeArray(self.recorder, t, t._data, t) for at, t in call.arrays.items()}
        self._plain = not call.floats and not call.arrays

    def run(self, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """The function's result, in which floats of the run may be."""
        new_args = tuple(map(self._put, args))
        new_kwargs = {name: self._put(x) for name, x in kwargs.items()}
        context.recorder = self.recorder
        try:
            with collector_paused(), signals_apart(), heard(self.recorder):  # the graph grows, and nothing of it is garbage
                result = function(*new_args, **new_kwargs)
                self.recorder.floats.formats.settle()
                return result
        except BaseException:
            self.recorder.reason = self.recorder.reason or "it raised an exception"
            del new_args, new_kwargs
            self.settle(None)
            raise
        finally:
            context.recorder = None
            self._give_back()

    def _put(self, x: Any) -> Any:
        """The argument with its floats, in the order ``Call`` found them, replaced; itself if there are none."""
        if self._plain:
            return x
        if type(x) is float:
            return next(self._floats, x)
        if id(x) in self._arrays:
            return self._arrays[id(x)]
        if not _is_container(x):
            return x
        items = list(x.values()) if isinstance(x, dict) else list(x)
        new = [self._put(item) for item in items]
        if all(a is b for a, b in zip(new, items, strict=True)):
            return x
        if isinstance(x, tuple):
            return type(x)(*new) if hasattr(x, "_fields") else tuple(new)
        copy: Any = dict(zip(x, new, strict=True)) if isinstance(x, dict) else new.copy()
        self._copied.append((copy, x, new))
        self.copies.add(id(copy))
        return copy

    def _give_back(self) -> None:
        """What the function did to the copy of a container, it did to the container."""
        for copy, original, before in self._copied:
            items = list(copy.values()) if isinstance(copy, dict) else copy
            if len(items) != len(before) or any(a is not b for a, b in zip(items, before, strict=True)):
                original.clear()
                original.update(plain(dict(copy))) if isinstance(copy, dict) else original.extend(plain(list(copy)))

    def settle(self, result: Any) -> Any:
        """The result with plain floats; where a float of the run was kept, it becomes a plain float, too."""
        originals = {id(copy): original for copy, original, _ in self._copied}
        result = originals.get(id(result), result)
        result = plain(result)
        self.recorder.hosts.clear()
        self._copied.clear()
        self._arrays.clear()
        self._floats = iter(())  # an iterator that has not met its end holds what it gave
        release(self.recorder.floats)
        return result


@contextlib.contextmanager
def signals_apart() -> Iterator[None]:
    """Meanwhile what handlers of signals do is no part of what is recorded or compiled."""
    if threading.current_thread() is not threading.main_thread():  # which handlers run in
        yield
        return
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    wrapped = {n: _apart(h) for n, h in handlers.items() if callable(h) and h is not signal.default_int_handler}
    try:
        for number, handler in wrapped.items():
            signal.signal(number, handler)
        yield
    finally:
        for number, handler in wrapped.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, handlers[number])


def _apart(handler: Callable[..., Any]) -> Callable[..., Any]:
    def apart(number: int, frame: Any) -> Any:
        recorder = context.recorder
        try:
            context.recorder = None
            with using(None):
                return handler(number, frame)
        finally:
            context.recorder = recorder if recorder is not None and not recorder.reason else None

    return apart


def _is_container(x: Any) -> bool:
    return type(x) in (list, tuple, dict) or (isinstance(x, tuple) and hasattr(x, "_fields"))


def containers(x: Any) -> Iterator[int]:
    """The ids of the mutable containers among arguments."""
    for item in x.values() if isinstance(x, dict) else x:
        if _is_container(item):
            yield id(item)
            yield from containers(item)
