"""Times of programs and of their steps, measured in native code.

A program's header refers to a *record* while a profiler is active (``driver``): a word with the address of the log, the
program's number, then the number of calls and nanoseconds of the program, and the same for each step. The log has its cursor
and its capacity, then events of four words: the program's number times 2**32 plus the step (or ``WHOLE``), start, end, and
thread. A full log drops events; the records remain exact. Without a profiler a call pays for one comparison.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..compiler import compile as compiler
from ..support.driver import STEP
from ..support.objects import address

if TYPE_CHECKING:
    from .plan import Plan
    from .program import Frame

WHOLE = 2**32 - 1  # instead of a step: the whole program
_CAPACITY = 1 << 18  # events: 8 MiB

# The clock of ``time.perf_counter_ns``.
_CLOCK = getattr(time, "CLOCK_UPTIME_RAW", None) if sys.platform == "darwin" else getattr(time, "CLOCK_MONOTONIC", None)

_CODE = (
    """
declare i32 @clock_gettime(i32, ptr)
declare i64 @pthread_self()

define private i64 @now(ptr %time) {
  call i32 @clock_gettime(i32 CLOCK, ptr %time)
  %p1 = getelementptr i64, ptr %time, i64 1
  %seconds = load i64, ptr %time
  %rest = load i64, ptr %p1
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %rest
  ret i64 %sum
}

define private void @log(ptr %record, i64 %which, i64 %start, i64 %stop) {
entry:
  %r1 = getelementptr i64, ptr %record, i64 1
  %log = load ptr, ptr %record
  %number = load i64, ptr %r1
  %l1 = getelementptr i64, ptr %log, i64 1
  %capacity = load i64, ptr %l1
  %at = atomicrmw add ptr %log, i64 1 monotonic
  %fits = icmp slt i64 %at, %capacity
  br i1 %fits, label %write, label %done
write:
  %high = shl i64 %number, 32
  %what = or i64 %high, %which
  %words = shl i64 %at, 2
  %position = add i64 %words, 2
  %e0 = getelementptr i64, ptr %log, i64 %position
  %e1 = getelementptr i64, ptr %e0, i64 1
  %e2 = getelementptr i64, ptr %e0, i64 2
  %e3 = getelementptr i64, ptr %e0, i64 3
  %thread = call i64 @pthread_self()
  store i64 %what, ptr %e0
  store i64 %start, ptr %e1
  store i64 %stop, ptr %e2
  store i64 %thread, ptr %e3
  br label %done
done:
  ret void
}

define private void @count(ptr %sums, i64 %start, i64 %stop) {
  %s1 = getelementptr i64, ptr %sums, i64 1
  %took = sub i64 %stop, %start
  %a = atomicrmw add ptr %sums, i64 1 monotonic
  %b = atomicrmw add ptr %s1, i64 %took monotonic
  ret void
}

define i32 @SYMBOL_run(ptr %header) {
entry:
  %time = alloca [2 x i64]
  %h1 = getelementptr i64, ptr %header, i64 1
  %h6 = getelementptr i64, ptr %header, i64 6
  %h7 = getelementptr i64, ptr %header, i64 7
  %h8 = getelementptr i64, ptr %header, i64 8
  %h11 = getelementptr i64, ptr %header, i64 11
  %steps = load ptr, ptr %header
  %count = load i64, ptr %h1
  %cells = load ptr, ptr %h6
  %team = load ptr, ptr %h7
  %share = load ptr, ptr %h8
  %record = load ptr, ptr %h11
  %totals = getelementptr i64, ptr %record, i64 2
  %sums = getelementptr i64, ptr %record, i64 4
  %begin = call i64 @now(ptr %time)
  br label %step_test
step_test:
  %i = phi i64 [0, %entry], [%i_next, %passed]
  %before = phi i64 [%begin, %entry], [%after, %passed]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %step, label %done
"""
    + STEP
    + """ran:
  %after = call i64 @now(ptr %time)
  %pair = mul i64 %i, 2
  %sum = getelementptr i64, ptr %sums, i64 %pair
  call void @count(ptr %sum, i64 %before, i64 %after)
  call void @log(ptr %record, i64 %i, i64 %before, i64 %after)
  %cell = getelementptr i64, ptr %cells, i64 %pair
  %status = load i64, ptr %cell
  %failed = icmp ne i64 %status, 0
  %i_next = add i64 %i, 1
  br i1 %failed, label %stopped, label %passed
passed:
  br label %step_test
done:
  br label %end
stopped:
  br label %end
end:
  %last = phi i64 [%before, %done], [%after, %stopped]
  %outcome = phi i32 [0, %done], [1, %stopped]
  call void @count(ptr %totals, i64 %begin, i64 %last)
  call void @log(ptr %record, i64 WHOLE, i64 %begin, i64 %last)
  ret i32 %outcome
}
"""
)


@functools.cache
def _run() -> int:
    text = _CODE.replace("CLOCK,", f"{_CLOCK},").replace("WHOLE", str(WHOLE))
    return compiler.native("timing", lambda: text, ("run",))["run"]


class Timing:
    """The times of all programs that run between ``start`` and ``stop``.

    ``programs`` are the plans of these programs by their numbers, ``records`` their records.
    """

    def __init__(self, capacity: int = _CAPACITY):
        self.programs: list[Plan] = []
        self.records: list[np.ndarray] = []
        self._numbers: dict[int, int] = {}
        self._capacity = capacity
        self._log = np.zeros(2 + 4 * capacity, np.int64)
        self._log[1] = capacity
        self._lock = threading.Lock()

    def words(self, plan: Plan) -> tuple[int, int]:
        """The two words of a program's header."""
        with self._lock:
            number = self._numbers.get(id(plan))
            if number is None:
                number = self._numbers[id(plan)] = len(self.programs)
                record = np.zeros(4 + 2 * max(len(plan.steps), 1), np.int64)
                record[:2] = address(self._log), number
                self.programs.append(plan)
                self.records.append(record)
        return address(self.records[number]), _run()

    def events(self) -> Iterator[tuple[int, int, int, int, int]]:
        """The logged events: program, step or ``WHOLE``, start and end in nanoseconds, thread."""
        count = min(int(self._log[0]), self._capacity)
        for what, start, stop, thread in self._log[2 : 2 + 4 * count].reshape(-1, 4).tolist():
            yield what >> 32, what & WHOLE, start, stop, thread

    @property
    def dropped(self) -> int:
        """The number of events that the log had no space for."""
        return max(int(self._log[0]) - self._capacity, 0)


_NONE = (0, 0)
_active: list[Timing] = []
_last: list[Timing] = []  # another thread may still write to it
_frames: weakref.WeakSet[Frame] = weakref.WeakSet()


def is_available() -> bool:
    """Whether this system has the clock and the threads that native code reads."""
    return _CLOCK is not None


def header_words(frame: Frame) -> tuple[int, int]:
    """The words of a new header of a frame, which is timed from the next ``start`` on."""
    _frames.add(frame)
    return _active[-1].words(frame.plan) if _active else _NONE


def start(timing: Timing) -> None:
    """Times all programs of this process from now on. Raises RuntimeError if they are timed already."""
    if _active:
        raise RuntimeError("a profiler is active already")
    if is_available():
        _active.append(timing)
        _last[:] = [timing]
        for frame in list(_frames):
            frame.time(*timing.words(frame.plan))


def stop(timing: Timing) -> None:
    """Ends ``start``."""
    if timing in _active:
        _active.remove(timing)
        for frame in list(_frames):
            frame.time(*_NONE)
