"""A plan as a native function that any number of threads may call concurrently, without Python.

A program has one arena and one set of argument blocks, so it runs one call at a time. A native function holds several
*instances* of the program, one per CPU. A call takes a free instance, runs it and returns it; if there is none, it waits.
All instances share the kernels.

The function is called as ``i32 call(ptr pool, ptr words)``. The words are the addresses of the arguments, then those of the
results, then one word that receives the number in a failed check's message. It returns 0, or the number of the failed
check, counted from 1, in ``NativeFunction.failures``.
"""

from __future__ import annotations

import functools
import hashlib
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..compiler import compile as compiler
from ..support import driver
from ..support.memory import aligned_empty
from ..support.objects import address
from .plan import Plan
from .program import ERRORS, Frame, Program

# The pool begins with its description: the number of instances, the driver, the numbers of arguments and results, the slot of
# the first result, the checks' table and its length. An instance is a lock, a header, slots and status cells. Each is aligned
# to two cache lines and shares none with another, because CPUs fetch lines in pairs.
_LINE = 16  # words
_MAX_INSTANCES = 64

# The search for a free instance starts at a position that depends on the thread: stacks of different threads are far apart. A
# row of the checks' table is a step's number and the number of its first check.
_CODE = """
DECLARE

define i32 @SYMBOL_call(ptr %pool, ptr %words) {
entry:
  %w1 = getelementptr i64, ptr %pool, i64 1
  %w2 = getelementptr i64, ptr %pool, i64 2
  %w3 = getelementptr i64, ptr %pool, i64 3
  %w4 = getelementptr i64, ptr %pool, i64 4
  %count = load i64, ptr %pool
  %driver = load ptr, ptr %w1
  %arguments = load i64, ptr %w2
  %results = load i64, ptr %w3
  %first_result = load i64, ptr %w4
  %stack = ptrtoint ptr %words to i64
  %page = lshr i64 %stack, 16
  %mixed = mul i64 %page, -7046029254386353131
  %high = lshr i64 %mixed, 32
  %scaled = mul i64 %high, %count
  %start = lshr i64 %scaled, 32
  br label %try
try:
  %k = phi i64 [%start, %entry], [%following, %turn]
  %tries = phi i64 [1, %entry], [%more, %turn]
  %line = shl i64 %k, 4
  %at = add i64 %line, 16
  %lock = getelementptr i64, ptr %pool, i64 %at
  %taken = cmpxchg ptr %lock, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %taken, 1
  br i1 %mine, label %run, label %next
next:
  %after = add i64 %k, 1
  %wraps = icmp eq i64 %after, %count
  %following = select i1 %wraps, i64 0, i64 %after
  %all = icmp eq i64 %tries, %count
  br i1 %all, label %wait, label %turn
wait:
  WAIT
  br label %turn
turn:
  %so_far = phi i64 [%tries, %next], [0, %wait]
  %more = add i64 %so_far, 1
  br label %try
run:
  %i1 = getelementptr i64, ptr %lock, i64 1
  %i2 = getelementptr i64, ptr %lock, i64 2
  %header = load ptr, ptr %i1
  %slots = load ptr, ptr %i2
  br label %argument_test
argument_test:
  %i = phi i64 [0, %run], [%i_next, %argument]
  %argument_more = icmp ult i64 %i, %arguments
  br i1 %argument_more, label %argument, label %result_test
argument:
  %argument_from = getelementptr i64, ptr %words, i64 %i
  %argument_to = getelementptr i64, ptr %slots, i64 %i
  %argument_word = load i64, ptr %argument_from
  store i64 %argument_word, ptr %argument_to
  %i_next = add i64 %i, 1
  br label %argument_test
result_test:
  %j = phi i64 [0, %argument_test], [%j_next, %result]
  %result_more = icmp ult i64 %j, %results
  br i1 %result_more, label %result, label %go
result:
  %from = add i64 %arguments, %j
  %to = add i64 %first_result, %j
  %result_from = getelementptr i64, ptr %words, i64 %from
  %result_to = getelementptr i64, ptr %slots, i64 %to
  %result_word = load i64, ptr %result_from
  store i64 %result_word, ptr %result_to
  %j_next = add i64 %j, 1
  br label %result_test
go:
  %failed = call i32 %driver(ptr %header)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %done, label %search
search:
  %w5 = getelementptr i64, ptr %pool, i64 5
  %w6 = getelementptr i64, ptr %pool, i64 6
  %i3 = getelementptr i64, ptr %lock, i64 3
  %rows = load ptr, ptr %w5
  %row_count = load i64, ptr %w6
  %cells = load ptr, ptr %i3
  br label %row_test
row_test:
  %r = phi i64 [0, %search], [%r_next, %row]
  %row_more = icmp ult i64 %r, %row_count
  br i1 %row_more, label %row, label %done
row:
  %r2 = mul i64 %r, 2
  %row_at = getelementptr i64, ptr %rows, i64 %r2
  %base_at = getelementptr i64, ptr %row_at, i64 1
  %step = load i64, ptr %row_at
  %base = load i64, ptr %base_at
  %pair = mul i64 %step, 2
  %cell = getelementptr i64, ptr %cells, i64 %pair
  %cell1 = getelementptr i64, ptr %cell, i64 1
  %site = load i64, ptr %cell
  %bad = load i64, ptr %cell1
  %found = icmp ne i64 %site, 0
  %r_next = add i64 %r, 1
  br i1 %found, label %report, label %row_test
report:
  store i64 0, ptr %cell
  store i64 0, ptr %cell1
  %last = add i64 %arguments, %results
  %bad_to = getelementptr i64, ptr %words, i64 %last
  store i64 %bad, ptr %bad_to
  %number = add i64 %base, %site
  %code = trunc i64 %number to i32
  br label %done
done:
  %answer = phi i32 [0, %go], [%failed, %row_test], [%code, %report]
  store atomic i64 0, ptr %lock release, align 8
  ret i32 %answer
}
"""


def _code() -> str:
    """Without a scheduler to yield to, a waiting thread keeps trying."""
    if os.name == "posix":
        return _CODE.replace("DECLARE", "declare i32 @sched_yield()").replace("WAIT", "call i32 @sched_yield()")
    return _CODE.replace("DECLARE", "").replace("WAIT", "")


@functools.cache
def entry() -> int:
    """The address of the calling function."""
    code = _code()
    what = f"native {hashlib.sha256(code.encode()).hexdigest()}"
    return compiler.native(what, lambda: code, ("call",))["call"]


@dataclass(frozen=True)
class Failure:
    """The exception of a failed check, and its message; if ``numbered``, with a number between the two parts."""

    error: type[Exception]
    before: str
    after: str = ""
    numbered: bool = False

    def __str__(self) -> str:
        return f"{self.error.__name__}: {self.before}{'...' if self.numbered else ''}{self.after}"


class NativeFunction:
    """The pool of a plan's instances. Any thread may call it at ``entry()`` with ``address``.

    ``captured`` are the arrays of the last inputs; their addresses are fixed, and they are kept alive. All other inputs are
    arguments. Raises NotImplementedError for plans with steps that call back into Python, and ValueError for plans that
    update their inputs.
    """

    def __init__(self, plan: Plan, captured: Sequence[np.ndarray] = ()):
        _check_native(plan)
        self.plan = plan
        self.captured = list(captured)
        self.arguments = len(plan.inputs) - len(self.captured)
        self.failures, rows = _failures(plan)
        self._rows = np.array(rows or [(0, 0)], np.int64)
        program = Program(plan)
        self._instances = [Frame(program) for _ in range(_count())]
        self._pool = aligned_empty(8 * _LINE * (1 + len(self._instances))).view(np.int64)
        self._pool[:] = 0
        counts = self.arguments, len(plan.results), len(plan.inputs)
        self._pool[:7] = len(self._instances), driver.run(), *counts, address(self._rows), len(rows)
        for k, frame in enumerate(self._instances):
            at = _LINE * (k + 1)
            self._pool[at : at + 4] = (0, *frame.instance(self.arguments, [address(a) for a in self.captured]))
        self.address = address(self._pool)
        _pools.add(self)

    def unlock(self) -> None:
        """Frees every instance, in a forked child: the parent's threads that held some do not exist there."""
        self._pool[_LINE::_LINE] = 0
        for frame in self._instances:
            frame.forget_failure()


_pools: weakref.WeakSet[NativeFunction] = weakref.WeakSet()


def _unlock_all() -> None:
    for pool in _pools:
        pool.unlock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)


def _count() -> int:
    """One instance per CPU, and at least two."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cpus, 2), _MAX_INSTANCES)


def _check_native(plan: Plan) -> None:
    if plan.updates:
        raise ValueError("a program that updates its inputs cannot be a native function")
    hosts = [i for i, k in enumerate(plan.steps) if not plan.kinds[k].source]
    if hosts:
        named = dict.fromkeys(f"{plan.kinds[plan.steps[i]].name.removeprefix('@')} ({plan.locs[i]})" for i in hosts)
        raise NotImplementedError(f"these operations are computed by NumPy, which needs Python: {', '.join(named)}")


def _failures(plan: Plan) -> tuple[list[Failure], list[tuple[int, int]]]:
    """The possible failures, in order, and for each step that may fail the number of failures before its own."""
    failures: list[Failure] = []
    rows: list[tuple[int, int]] = []
    for i, loc in plan.locs.items():
        rows.append((i, len(failures)))
        place = f" ({loc})" if loc else ""
        for error, message in plan.kinds[plan.steps[i]].checks:
            before, number, after = message.partition("{}")
            failures.append(Failure(ERRORS[error], before, after + place, bool(number)))
    return failures, rows
