"""Times of Python functions: spans, taken by timed versions of some functions of this package while a profiler is active.

Without a profiler these functions are the plain ones, so a replay costs the same as ever.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, NamedTuple

from ..autograd.engine import _Engine
from ..core.eager import Eager
from ..ops import direct, parts
from ..tracing.compiled_node import CompiledNode
from ..tracing.function import TracedFunction
from ..tracing.graph_function import Executable
from ..tracing.numpy_function import NumpyFunction
from .memory import Memory

# Functions by NumPy alone, by the module that calls them, and the operations that they are.
_DIRECT = (
    (direct, "read", "index"),
    (direct, "write", "index_put"),
    (direct, "joined", "concatenate"),
    (parts, "slices", "select"),
)
_MAX_SPANS = 1 << 18
_DEEP = 8  # frames between an operation and the optimizer that applies it
_OPTIMIZERS = f"{__name__.split('.')[0]}.optim."


class Span(NamedTuple):
    """A piece of time in one thread, in nanoseconds of ``time.perf_counter_ns``.

    kind    call: of a traced function; record, compile; backward: a backward pass; node: the compiled backward of a traced
            function; eager: one operation; mark: a block of ``record_function``; program, kernel: native code
    owner   the traced function, or the number of the program; None for others
    """

    kind: str
    name: str
    start: int
    stop: int
    thread: int
    owner: Any = None
    step: int = -1


@dataclass
class Eagerly:
    """The eager applications of one primitive in one phase."""

    calls: int = 0
    nanoseconds: int = 0


@dataclass
class Spans:
    """The spans of one profile. If there are too many, later ones are only counted in ``dropped``."""

    spans: list[Span] = field(default_factory=list)
    eager: dict[tuple[str, str], Eagerly] = field(default_factory=dict)  # by primitive and phase
    memory: Memory = field(default_factory=Memory)
    dropped: int = 0

    def __post_init__(self) -> None:
        self._plain: list[tuple[Any, str, Any]] = []

    def add(self, kind: str, name: str, start: int, owner: Any = None) -> None:
        """Adds a span that ends now."""
        stop = perf_counter_ns()
        if len(self.spans) < _MAX_SPANS:
            self.spans.append(Span(kind, name, start, stop, threading.get_ident(), owner))
        else:
            self.dropped += 1
        if kind != "eager":
            self.memory.sample(stop)

    def start(self) -> None:
        """Replaces the functions by their timed versions."""
        self._replace(TracedFunction, "__call__", "call", lambda f: f._name)
        self._replace(TracedFunction, "_record", "record", lambda f: f._name)
        self._replace(TracedFunction, "_prepare", "compile", lambda f: f._name)
        self._replace(Executable, "__init__", "compile", lambda x: "program")
        self._replace(CompiledNode, "cotangents", "node", lambda node: node.function.graph.name)
        self._replace(_Engine, "drain", "backward", lambda engine: "backward")
        self._replace(CompiledNode, "gradients", "backward", lambda node: "backward", if_true=True)
        plain, composite = Eager.bind, NumpyFunction.__call__

        def bind(primitive: Any, args: Sequence[Any], attrs: Any) -> Any:
            begin = perf_counter_ns()
            try:
                return plain(primitive, args, attrs)
            finally:
                self._applied(primitive.name, begin, sys._getframe(1))

        def call(function: NumpyFunction, tensors: Sequence[Any]) -> Any:
            begin = perf_counter_ns()
            try:
                return composite(function, tensors)
            finally:
                self._applied(function.graph.name, begin, sys._getframe(1))

        self._plain += [(Eager, "bind", Eager.__dict__["bind"]), (NumpyFunction, "__call__", composite)]
        Eager.bind = staticmethod(bind)  # type: ignore[method-assign, assignment]
        NumpyFunction.__call__ = call  # type: ignore[method-assign, assignment]
        for module, name, shown in _DIRECT:
            self._replace_direct(module, name, shown)

    def _replace_direct(self, module: Any, name: str, shown: str) -> None:
        """Replaces a function that leaves an eager operation to NumPy, or returns nothing and does nothing."""
        plain = getattr(module, name)

        def timed(*args: Any) -> Any:
            begin, result = perf_counter_ns(), plain(*args)
            if result is not None and result is not False:
                self._applied(shown, begin, sys._getframe(1))
            return result

        self._plain.append((module, name, plain))
        setattr(module, name, timed)

    def _applied(self, name: str, begin: int, frame: Any) -> None:
        """Adds an eager operation that ends now."""
        took, phase = perf_counter_ns() - begin, _phase(frame)
        known = self.eager.setdefault((name, phase), Eagerly())
        known.calls += 1
        known.nanoseconds += took
        self.add("eager", name, begin, phase)

    def _replace(self, cls: type, method: str, kind: str, named: Callable[[Any], str], if_true: bool = False) -> None:
        """Replaces a method by its timed version; ``if_true``: calls that return nothing have done nothing."""
        plain = getattr(cls, method)

        @functools.wraps(plain)
        def timed(it: Any, /, *args: Any, **kwargs: Any) -> Any:
            begin, result = perf_counter_ns(), None
            try:
                result = plain(it, *args, **kwargs)
                return result
            finally:
                if not if_true or result:
                    self.add(kind, named(it), begin, it if isinstance(it, TracedFunction) else None)

        self._plain.append((cls, method, cls.__dict__[method]))
        setattr(cls, method, timed)

    def stop(self) -> None:
        """Puts the plain functions back."""
        for cls, method, plain in reversed(self._plain):
            setattr(cls, method, plain)
        self._plain.clear()


def _phase(frame: Any) -> str:
    """The phase of an eager operation that is applied in this frame."""
    for _ in range(_DEEP):
        if frame is None:
            break
        name = frame.f_globals.get("__name__", "")
        if name.startswith(_OPTIMIZERS):
            return "optimizer"
        frame = frame.f_back
    return "forward"


class Nested(NamedTuple):
    """A span with those that it contains."""

    span: Span
    inner: list[Nested]

    @property
    def nanoseconds(self) -> int:
        return self.span.stop - self.span.start

    @property
    def own(self) -> int:
        """The time outside the inner spans."""
        return self.nanoseconds - sum(x.nanoseconds for x in self.inner)


def nested(spans: Iterable[Span]) -> list[Nested]:
    """The outermost spans, in order of threads and time."""
    found: list[Nested] = []
    stack: list[Nested] = []
    for span in sorted(spans, key=lambda s: (s.thread, s.start, -s.stop)):
        new = Nested(span, [])
        while stack and (stack[-1].span.thread != span.thread or stack[-1].span.stop < span.stop):
            stack.pop()
        (stack[-1].inner if stack else found).append(new)
        stack.append(new)
    return found
