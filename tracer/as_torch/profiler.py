"""``torch.profiler`` and ``torch.autograd.profiler``: their interface to ``tracer.profiler``.

Events are the operations, kernels and calls that ``tracer.profiler`` records. Their names are those of primitives and kernels
here. Memory of single operations and times of devices are 0.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self

from ..profiler import Profile, record_function
from ..profiler.spans import Nested
from ..profiler.table import duration

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(Enum):
    """What is profiled: there is only one set of events, for all of them."""

    CPU, CUDA, XPU, MTIA, HPU, PrivateUse1 = range(6)


class ProfilerAction(Enum):
    """What a profiler does in a step."""

    NONE, WARMUP, RECORD, RECORD_AND_SAVE = range(4)


def kineto_available() -> bool:
    """False: PyTorch's library for events is not used."""
    return False


def supported_activities() -> set[ProfilerActivity]:
    """The processor."""
    return {ProfilerActivity.CPU}


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """The action by step: after ``skip_first`` steps, cycles of steps that wait, warm up, and are recorded; ``repeat`` of them,
    or any number for 0. With ``skip_first_wait`` the first cycle does not wait. Raises AssertionError for negative numbers.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError(
            f"Invalid profiler schedule arguments. Got wait={wait} (need >= 0), warmup={warmup} (need >= 0), active={active} "
            f"(need > 0), repeat={repeat} (need >= 0), skip_first={skip_first} (need >= 0)."
        )
    cycle = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        if step < skip_first:
            return ProfilerAction.NONE
        step += (wait if skip_first_wait else 0) - skip_first
        at = step % cycle
        if (repeat and step >= repeat * cycle) or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if at == cycle - 1 else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False) -> Callable[[Any], None]:
    """An ``on_trace_ready`` that writes each trace to a new file in a directory, created if necessary."""

    def write(profiler: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        path = os.path.join(dir_name, f"{worker}.{time.time_ns()}.pt.trace.json")
        profiler.export_chrome_trace(f"{path}.gz" if use_gzip else path)

    return write


@dataclass
class Event:
    """An event; or, in averages, all events of a name. Times are in microseconds.

    cpu_time_total       with that of the events within
    self_cpu_time_total  without it
    """

    key: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    input_shapes: list[Any] = field(default_factory=list)
    cpu_memory_usage = self_cpu_memory_usage = device_memory_usage = self_device_memory_usage = flops = 0
    device_time = device_time_total = self_device_time_total = cuda_time = cuda_time_total = self_cuda_time_total = 0.0
    stack: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.key

    @property
    def cpu_time(self) -> float:
        """The average of ``cpu_time_total``."""
        return self.cpu_time_total / self.count if self.count else 0.0


class EventList(list[Event]):
    """Events, or averages of events."""

    @property
    def self_cpu_time_total(self) -> float:
        return sum(e.self_cpu_time_total for e in self)

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        """The sums of the events of each name, in the order of their first."""
        found: dict[str, Event] = {}
        for e in self:
            total = found.setdefault(e.key, Event(e.key))
            total.count += e.count
            total.cpu_time_total += e.cpu_time_total
            total.self_cpu_time_total += e.self_cpu_time_total
        return EventList(found.values())

    def total_average(self) -> Event:
        """The sums of all events."""
        whole = self.self_cpu_time_total
        return Event("Total", sum(e.count for e in self), whole, whole)

    def table(self, sort_by: str | None = None, row_limit: int = 100, *args: Any, **kwargs: Any) -> str:
        """The events as text, sorted by an attribute, the largest first."""
        rows = list(self)
        if sort_by is not None:
            rows.sort(key=lambda e: getattr(e, sort_by.replace("cuda", "device")), reverse=True)
        whole = self.self_cpu_time_total or 1.0
        names = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls"]
        lines = [names]
        for e in rows[: row_limit if row_limit >= 0 else None]:
            own, total = e.self_cpu_time_total, e.cpu_time_total
            shares = f"{100 * own / whole:.2f}%", _shown(own), f"{100 * total / whole:.2f}%", _shown(total)
            lines.append([e.key[:54], *shares, _shown(e.cpu_time), str(e.count)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = "  ".join("-" * w for w in widths)
        text = ["  ".join(x.rjust(w) for x, w in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([rule, text[0], rule, *text[1:], rule, f"Self CPU time total: {_shown(self.self_cpu_time_total)}", ""])

    def __str__(self) -> str:
        return self.table()


def _shown(microseconds: float) -> str:
    return duration(microseconds * 1e3)


class profile:
    """A profiler: a ``with`` block, or ``start`` and ``stop``. With a ``schedule``, ``step`` ends a step; ``on_trace_ready`` is
    called at the end of each recorded cycle. The other arguments have no effect.
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        activities: Iterable[Any] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        **ignored: Any,
    ):
        self.enabled, self.schedule, self.on_trace_ready = enabled, schedule, on_trace_ready
        self.step_num = 0
        self.current_action = self._planned()
        self._running: Profile | None = None
        self._last: Profile | None = None

    def _planned(self) -> ProfilerAction:
        if not self.enabled:
            return ProfilerAction.NONE
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def _record(self) -> None:
        if self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE) and self._running is None:
            self._running = Profile().start()

    def _finish(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._last, self._running = self._running, None
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def start(self) -> None:
        """Begins the first step."""
        self.current_action = self._planned()
        self._record()

    def stop(self) -> None:
        """Ends the last step."""
        self._finish()

    def step(self) -> None:
        """Ends a step, and begins the next one."""
        if self.current_action is ProfilerAction.RECORD_AND_SAVE:
            self._finish()
        self.step_num += 1
        self.current_action = self._planned()
        self._record()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _profile(self) -> Profile:
        if self._last is None:
            raise AssertionError("the profiler has recorded nothing: it must have been stopped, or have ended a cycle")
        return self._last

    def events(self) -> EventList:
        """The events of the last profile."""

        def walk(x: Nested) -> Iterator[Event]:
            name = names.get((x.span.owner, x.span.step)) or x.span.name or x.span.kind
            yield Event(name, 1, x.nanoseconds / 1e3, x.own / 1e3)
            for i in x.inner:
                yield from walk(i)

        recorded = self._profile()
        names = {(k.program, k.step): k.name for k in recorded.kernels}
        return EventList(e for x in recorded.nested for e in walk(x))

    @property
    def function_events(self) -> EventList:
        """``events()``."""
        return self.events()

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        """The sums of the events of each name."""
        return self.events().key_averages()

    def total_average(self) -> Event:
        """The sums of all events."""
        return self.events().total_average()

    def table(self, sort_by: str | None = None, row_limit: int = 100, **kwargs: Any) -> str:
        """The averages as text."""
        return self.key_averages().table(sort_by, row_limit)

    def __str__(self) -> str:
        return str(self._last and self.key_averages())

    def export_chrome_trace(self, path: str) -> None:
        """Writes the last profile as a trace file, compressed if the name ends in ``.gz``."""
        if not path.endswith(".gz"):
            self._profile().export_chrome_trace(path)
            return
        import gzip

        plain = path[:-3]
        self._profile().export_chrome_trace(plain)
        with gzip.open(path, "wb") as f:
            f.write(Path(plain).read_bytes())
        os.unlink(plain)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Writes the events with their times; no stacks are recorded."""
        lines = [f"{e.key} {int(getattr(e, metric.replace('cuda', 'device')))}\n" for e in self.key_averages()]
        Path(path).write_text("".join(lines))

    def add_metadata(self, key: str, value: str) -> None:
        """No effect."""

    add_metadata_json = preset_metadata_json = add_metadata

    def export_memory_timeline(self, path: str, device: str | None = None) -> None:
        """Warns: memory of single operations is not recorded."""
        warnings.warn("export_memory_timeline: memory of single operations is not recorded", stacklevel=2)


def _no_events(enabled: bool = True, record_shapes: bool = False) -> contextlib.nullcontext[None]:
    """A context without effect, for the tools of devices."""
    return contextlib.nullcontext()


emit_nvtx = emit_itt = _no_events
