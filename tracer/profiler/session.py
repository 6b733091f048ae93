"""The profiler, and the profile that it makes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Self

from ..runtime.programs.plan import Plan
from ..runtime.programs.timing import WHOLE, Timing, start, stop
from .kernels import Kernel, kernels
from .spans import Nested, Span, Spans, nested

_current: list[Profile] = []


class Profile:
    """A profile: use it as a ``with`` block, or call ``start`` and ``stop``.

    Times of kernels are exact. The trace file holds the first 262,144 events of each sort.
    """

    def __init__(self) -> None:
        self.began = self.ended = 0
        self._timing, self._spans = Timing(), Spans()

    def start(self) -> Self:
        """Begins the profile. Raises RuntimeError if another one is active in this process."""
        start(self._timing)
        _current.append(self)
        self._spans.start()
        self.began = perf_counter_ns()
        self._spans.memory.sample(self.began, always=True)
        return self

    def stop(self) -> None:
        """Ends the profile."""
        self.ended = perf_counter_ns()
        self._spans.memory.sample(self.ended, always=True)
        self._spans.stop()
        _current.remove(self)
        stop(self._timing)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # What it measured.

    @cached_property
    def kernels(self) -> list[Kernel]:
        """The kernels that ran, in the order of programs and steps."""
        return kernels(self._timing)

    @property
    def plans(self) -> list[Plan]:
        """The plans of the native programs, by number."""
        return self._timing.programs

    @cached_property
    def nested(self) -> list[Nested]:
        """The spans that are in no other span; native programs and kernels are spans too."""
        spans = list(self._spans.spans)
        for program, step, begin, end, thread in self._timing.events():
            kind = "program" if step == WHOLE else "kernel"
            spans.append(Span(kind, "", begin, end, thread, program, -1 if step == WHOLE else step))
        return nested(spans)

    @cached_property
    def phases(self) -> dict[str, float]:
        """Seconds by what the time was spent on; their sum is the whole time if one thread did all the work.

        recording, compiling     of traced functions: the first calls
        guards                   from the call to the native program: comparison with what was recorded
        forward, backward, optimizer   kernels, by the phase of their operations
        results                  from the native program to the end of the call: new tensors, gradients, changed objects
        eager forward, eager backward, eager optimizer   operations that run one by one
        Python                   everything else
        """
        from .phases import phases

        return phases(self)

    @property
    def seconds(self) -> float:
        """The duration."""
        return (self.ended - self.began) / 1e9

    @property
    def memory(self) -> list[tuple[float, int]]:
        """The process's resident memory over time: seconds since the start, and bytes."""
        return [((t - self.began) / 1e9, used) for t, used in self._spans.memory.samples]

    @property
    def eager(self) -> dict[tuple[str, str], tuple[int, float]]:
        """Eager operations, by primitive and phase: the number of applications, and seconds."""
        return {key: (x.calls, x.nanoseconds / 1e9) for key, x in self._spans.eager.items()}

    # Output.

    def table(self, sort_by: str = "time", limit: int = 20) -> str:
        """The profile as text: phases, then the kernels and the eager operations.

        ``sort_by`` is "time", "calls", "bytes", "flops" or "roof" (the lowest share first). ``limit`` is the number of rows.
        Raises ValueError for another ``sort_by``.
        """
        from .table import table

        return table(self, sort_by, limit)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from .table import html

        return html(self)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes a trace file for Perfetto (https://ui.perfetto.dev) or ``chrome://tracing``."""
        from .chrome import events

        Path(path).write_text(json.dumps({"traceEvents": list(events(self)), "displayTimeUnit": "ns"}))

    def export_html(self, path: str | os.PathLike[str]) -> None:
        """Writes the profile as one HTML file that needs nothing else: the stages of each traced function side by side, its
        graph, and the times of its kernels.
        """
        from .page import page

        Path(path).write_text(page(self), encoding="utf-8")


profile = Profile


class record_function:
    """Names a part of a program in profiles: ``with record_function("loading"): ...``, or as a decorator."""

    def __init__(self, name: str):
        self.name = name
        self._started: list[int] = []

    def __enter__(self) -> Self:
        self._started.append(perf_counter_ns())
        return self

    def __exit__(self, *exception: object) -> None:
        begin = self._started.pop()
        for p in _current:
            p._spans.add("mark", self.name, begin)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import functools

        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return named
