"""The decorator: when to record, when to replay, when to stay eager."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..context import context
from ..ir.graph import Graph
from .guards import Call, Environment, Untraceable, Wrapper
from .recorder import Recorder, Source
from .replay import Trace, finish

_MAX_TRACES = 8  # of one signature: beyond, something changes in every call
_DISABLED = os.environ.get("TRACER_DISABLE", "0") not in ("", "0")
_MAX_UNSTABLE = 4  # calls in a row that change what they depend on


class _Mode(threading.local):
    eager: bool = False


_mode = _Mode()


@contextmanager
def eager() -> Iterator[None]:
    """In this block traced functions run eagerly, as written: for debugging."""
    before = _mode.eager
    _mode.eager = True
    try:
        yield
    finally:
        _mode.eager = before


class TraceWarning(UserWarning):
    """A traced function runs eagerly, for the reason given."""


class TracedFunction(Wrapper):
    """What ``@tracer.trace`` makes of a function: call it like the function.

    The first call of a signature runs the function eagerly and records it; later calls replay the recorded graph as
    one native program. What cannot be replayed runs eagerly, with one warning that says why and where.
    """

    def __init__(self, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self.function = function
        self.environment = Environment(function)
        self.traces: dict[Any, list[Trace]] = {}
        self.eager_reasons: dict[Any, str] = {}
        self._unstable = 0
        self._warned = False
        self._lock = threading.RLock()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", "function").replace("<", "").replace(">", "")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if context.recorder is not None or _mode.eager or _DISABLED:
            return self.function(*args, **kwargs)
        try:
            call = Call(args, kwargs)
            surroundings = self.environment.key()
            key = (call.key, surroundings, context.grad_enabled, context.default_dtype, self._captured_too(call))
        except Untraceable as e:
            self._stay_eager(None, str(e))
            return self.function(*args, **kwargs)
        for trace in self.traces.get(key, ()):
            if trace.matches(call):
                return trace.replay(call)
        if key in self.eager_reasons:
            return self.function(*args, **kwargs)
        with self._lock:
            return self._record(key, call, args, kwargs)

    def _captured_too(self, call: Call) -> tuple[int, ...]:
        """Which arguments the function can also reach by itself: the recorder cannot tell the two ways apart."""
        reached = self.environment.tensors
        return tuple([i for t in call.tensors for i in (id(t), id(t._root())) if i in reached]) if reached else ()

    def _record(self, key: Any, call: Call, args: tuple, kwargs: dict) -> Any:
        traces = self.traces.setdefault(key, [])
        if len(traces) >= _MAX_TRACES:
            self._stay_eager(key, f"it was recorded {_MAX_TRACES} times for one signature: a float it looks at keeps changing")
            return self.function(*args, **kwargs)
        allowed = {**self.environment.tensors, **call.reached}
        recorder, result = record(self.function, self.name, call, args, kwargs)
        if recorder.reason:
            self._stay_eager(key, recorder.reason)
            return result
        if self.environment.key() != key[1]:
            # The call changed what it depends on: an optimizer made its state, say. The next one may be stable.
            self._unstable += 1
            if self._unstable >= _MAX_UNSTABLE:
                self._stay_eager(key, "every call changes what the function depends on")
            return result
        self._unstable = 0
        trace = finish(recorder, call, result, allowed)
        if trace is None:
            self._stay_eager(key, recorder.reason)
        else:
            traces.append(trace)
        return result

    def _stay_eager(self, key: Any, reason: str) -> None:
        self.eager_reasons[key] = reason
        if not self._warned:
            self._warned = True
            code = getattr(self.function, "__code__", None)
            where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
            warnings.warn(f"{self.name}{where} runs eagerly: {reason}", TraceWarning, stacklevel=4)

    def explain(self) -> str:
        """What is compiled, what is not, and why."""
        lines = [f"{self.name}: {sum(map(len, self.traces.values()))} traces"]
        for n, trace in enumerate(t for traces in self.traces.values() for t in traces):
            lines.append(f"  trace {n}: {trace.summary()}")
        lines += [f"  eager: {reason}" for reason in dict.fromkeys(self.eager_reasons.values())]
        return "\n".join(lines)

    def graphs(self) -> list[Graph]:
        """The recorded graphs, one for each trace."""
        return [t.graph for traces in self.traces.values() for t in traces]

    def fused_graphs(self) -> list[Graph]:
        """What is run for each trace: its graph after all passes."""
        return [t.executable.fused for traces in self.traces.values() for t in traces]


def trace(function: Callable[..., Any]) -> TracedFunction:
    """Decorator: the same function, recorded once for each signature and then replayed as compiled code, forward and backward.

    Take it away, and the program means the same. See ``TracedFunction.explain`` for what was compiled.
    """
    if isinstance(function, TracedFunction):
        return function
    if not callable(function):
        raise TypeError(f"trace() takes a function, got {type(function).__name__}")
    return TracedFunction(function)


def graph_of(function: Callable[..., Any], args: tuple) -> tuple[Graph | None, str]:
    """The graph that one eager run of ``function`` records; or None, and why there is none."""
    environment = Environment(function)
    environment.key()
    call = Call(args, {})
    name = getattr(function, "__name__", "function").strip("<>")
    recorder, result = record(function, name, call, args, {})
    if recorder.reason:
        return None, recorder.reason
    trace = finish(recorder, call, result, {**environment.tensors, **call.reached})
    return (None, recorder.reason) if trace is None else (trace.graph, "")


def record(function: Callable[..., Any], name: str, call: Call, args: tuple, kwargs: dict) -> tuple[Recorder, Any]:
    """Runs a function eagerly while a recorder listens."""
    recorder = Recorder(name)
    for i, t in enumerate(call.tensors):
        if id(t) not in recorder.known:
            recorder.input(t, Source("argument", i))
    numbers = [recorder.float_input(x, Source("float", i)) for i, x in enumerate(call.floats)]
    replaced = iter(numbers)
    new_args = tuple(_with_floats(a, replaced) for a in args)
    new_kwargs = {k: _with_floats(v, replaced) for k, v in kwargs.items()}
    context.recorder = recorder
    try:
        result = function(*new_args, **new_kwargs)
    except BaseException:
        recorder.reason = recorder.reason or "it raised an exception"
        raise
    finally:
        context.recorder = None
    return recorder, result


def _with_floats(a: Any, replaced: Iterator[Any]) -> Any:
    """The argument with its floats, in the order ``Call`` found them, replaced."""
    if type(a) is float:
        return next(replaced)
    if isinstance(a, (list, tuple)) and not isinstance(a, str):
        items = [_with_floats(x, replaced) for x in a]
        return type(a)(*items) if hasattr(a, "_fields") else type(a)(items)
    if isinstance(a, dict):
        return {k: _with_floats(v, replaced) for k, v in a.items()}
    return a
