"""A run's output: captured while it is recorded, and written again by a replay once its path is complete."""

from __future__ import annotations

import builtins
import io
import logging
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.context import context
from ..core.printing import shows_elements
from ..core.tensor import Tensor
from .formats import Number, Template, Text
from .kinds import STATIC
from .known import PROGRESS, root_of
from .scalars import RuntimeNumber
from .substitutes import register, register_made

if TYPE_CHECKING:
    from .recorder import Recorder


class _Muted(threading.local):
    on: bool = False


muted = _Muted()  # while a replay is only compared


class Written(NamedTuple):
    """A write: ``write(*parts)``, possibly with dynamic numbers."""

    write: Callable[..., Any]
    parts: tuple[Any, ...]

    def again(self, values: list[Any]) -> None:
        """Repeats the write with a replay's numbers."""
        if not muted.on:
            self.write(*[_filled(part, values) for part in self.parts])


class _Stream:
    """Replaces a stream while a run is recorded, and records writes to it."""

    def __init__(self, name: str, stream: Any):
        self._name, self._stream = name, stream

    def write(self, text: str) -> Any:
        frame = sys._getframe(1)
        if root_of(frame.f_globals.get("__name__")) != PROGRESS or frame.f_code.co_name == "write":  # replays draw no bars
            _tell(_write, self._name, text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        if context.recorder is not None:
            context.recorder.give_up(f"writes bytes to sys.{self._name}")
        return self._stream.buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _write(name: str, text: str) -> None:
    getattr(sys, name).write(text)


def _print(name: str, sep: Any, end: Any, flush: Any, *args: Any) -> None:
    builtins.print(*args, sep=sep, end=end, file=getattr(sys, name), flush=flush)


def _log(logger: logging.Logger, fields: dict[str, Any], message: Any, args: Any) -> None:
    now = time.time()
    fields = {**fields, "msg": message, "args": args, "created": now, "msecs": now % 1 * 1000}
    logger.handle(logging.makeLogRecord(fields))


def _tell(write: Callable[..., Any], *parts: Any) -> None:
    recorder = context.recorder
    if recorder is not None and recorder.captures_output:
        recorder.prints.append(Written(write, parts))


# Substitutes of ``print``, of the logging method through which all records go, and of streams, while a run is recorded.


def _capturing_print(plain_print: Callable[..., None]) -> Callable[..., None]:
    def capturing_print(*args: Any, sep: Any = " ", end: Any = "\n", file: Any = None, flush: Any = False) -> None:
        recorder = context.recorder
        target = sys.stdout if file is None else file
        if recorder is None or target is None:
            plain_print(*args, sep=sep, end=end, file=file, flush=flush)
            return
        stream = _stream_of(target)
        if stream is None:  # a file, unless it is text in memory
            if not isinstance(target, io.StringIO):
                recorder.give_up("prints to a file")
            plain_print(*args, sep=sep, end=end, file=file, flush=flush)
            return
        with recorder.output_ignored():
            args = tuple([_shown(x, recorder) for x in args])
            parts = map(_part, recorder.floats.formats.printed(sys._getframe(1), args))
            plain_print(*map(_plain, args), sep=sep, end=end, file=stream._stream, flush=flush)
        _tell(_print, stream._name, sep, end, flush, *parts)

    return capturing_print


def _stream_of(target: Any) -> _Stream | None:
    """The substitute of a stream, given it or the stream itself."""
    if isinstance(target, _Stream):
        return target
    placed = [x for x in (sys.stdout, sys.stderr) if isinstance(x, _Stream)]
    return next((x for x in placed if x._stream is target), None)


def _capturing_handle(plain_handle: Callable[..., Any]) -> Callable[..., Any]:
    def capturing_handle(self: logging.Logger, record: logging.LogRecord) -> Any:
        recorder = context.recorder
        if recorder is None:
            return plain_handle(self, record)
        record.msg, record.args = _shown(record.msg, recorder), _shown(record.args, recorder)
        (message,) = recorder.floats.formats.printed(_outside(logging, sys._getframe(1)), [record.msg])
        _tell(_log, self, dict(vars(record)), _part(message), _part(record.args))
        record.args = _plain(record.args)
        with recorder.output_ignored():
            return plain_handle(self, record)

    return capturing_handle


register(builtins, "print", _capturing_print(builtins.print))
register(logging.Logger, "handle", _capturing_handle(logging.Logger.handle))
register_made(sys, "stdout", _Stream)
register_made(sys, "stderr", _Stream)


def _outside(module: types.ModuleType, frame: types.FrameType | None) -> types.FrameType | None:
    """The innermost frame whose code is not in a module."""
    while frame is not None and frame.f_globals is vars(module):
        frame = frame.f_back
    return frame


def _shown(x: Any, recorder: Recorder) -> Any:
    """A printed object, with text for tensors, which replays format from their elements."""
    if isinstance(x, Tensor) and shows_elements(x):
        text = recorder.text(x)
        return x if text is None else text
    if type(x) in (list, tuple):
        return type(x)([_shown(item, recorder) for item in x])
    return {k: _shown(v, recorder) for k, v in x.items()} if type(x) is dict else x


def _part(x: Any) -> Any:
    """A printed object in its current state: dynamic numbers by index, other mutable objects as text."""
    if isinstance(x, RuntimeNumber):
        return Number(x._index)
    if type(x) is Text:
        return Number(x.place)
    if isinstance(x, (Template, *STATIC)):
        return x
    if type(x) in (list, tuple):
        return type(x)(map(_part, x))
    if type(x) is dict:
        return {_plain(k): _part(v) for k, v in x.items()}
    return str(x)


def _plain(x: Any) -> Any:
    """With floats for dynamic numbers."""
    if isinstance(x, RuntimeNumber):
        return x._value
    if type(x) in (list, tuple):
        return type(x)(map(_plain, x))
    if type(x) is dict:
        return {_plain(k): _plain(v) for k, v in x.items()}
    return x


def _filled(x: Any, values: list[Any]) -> Any:
    """With the numbers of a replay."""
    if type(x) is Number:
        return values[x.place]
    if type(x) is Template:
        return "".join([values[p.place] if type(p) is Number else p for p in x.pieces])  # type: ignore[misc]
    if type(x) in (list, tuple):
        return type(x)([_filled(item, values) for item in x])
    if type(x) is dict:
        return {k: _filled(v, values) for k, v in x.items()}
    return x
