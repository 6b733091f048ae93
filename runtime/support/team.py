"""A thread pool (the *team*) whose threads divide the work of one kernel. It needs no installed threading library.

Workers wait by spinning for some hundred microseconds and then sleep. A job is a kernel, its argument block and a range, in as
many parts as there are threads. The calling thread takes the first part, and any other that no worker has claimed by then: it
does not wait for a worker without a CPU. One program uses the team at a time; a concurrent one runs on its own thread.
Splitting a range does not affect results, because the elements of a kernel's domain are independent.

The code is LLVM IR, on POSIX threads. Without them, or with a single CPU, kernels run on the calling thread.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import platform
import threading
from typing import Any

import numpy as np

from ..compiler import compile as compiler
from .memory import ALIGNMENT
from .objects import address

# The words of the team's state, each written by one side on a separate cache line.
GENERATION, PENDING, JOB, SLEEPERS, BUSY, SIZE, MUTEX, CONDITION, CLAIM = 0, 8, 16, 24, 32, 40, 48, 64, 80
_WORDS = 96
_MAX = 64

# Worker: waits until the generation changes, runs parts of the job (kernel, arguments, start, stop) and reports them. A job
# without a kernel ends it. @SHARE passes a job to the team and returns when all of it is done. It yields its CPU soon while
# waiting, because a worker may have been scheduled on that CPU.
#
# The claim is 256 times the generation plus the next part that nobody has claimed. A worker that comes too late finds another
# generation, or no part, and reads nothing of the job: the job's words do not change before all claimed parts are reported.
_CODE = """
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()

define private void @part(ptr %team, i64 %index, ptr %kernel, ptr %args, i64 %start, i64 %stop) {
  %at = getelementptr i64, ptr %team, i64 40
  %size = load i64, ptr %at
  %n = sub i64 %stop, %start
  %a = mul i64 %n, %index
  %b = udiv i64 %a, %size
  %from = add i64 %start, %b
  %next = add i64 %index, 1
  %c = mul i64 %n, %next
  %d = udiv i64 %c, %size
  %to = add i64 %start, %d
  %some = icmp slt i64 %from, %to
  br i1 %some, label %work, label %done
work:
  call void %kernel(ptr %args, i64 %from, i64 %to)
  br label %done
done:
  ret void
}

define private void @parts(ptr %team, i64 %now) {
entry:
  %claim = getelementptr i64, ptr %team, i64 80
  %pending = getelementptr i64, ptr %team, i64 8
  %job = getelementptr i64, ptr %team, i64 16
  %at = getelementptr i64, ptr %team, i64 40
  %size = load i64, ptr %at
  br label %next
next:
  %c = load atomic i64, ptr %claim acquire, align 8
  %generation = lshr i64 %c, 8
  %same = icmp eq i64 %generation, %now
  br i1 %same, label %same_job, label %done
same_job:
  %index = and i64 %c, 255
  %some = icmp ult i64 %index, %size
  br i1 %some, label %try, label %done
try:
  %c1 = add i64 %c, 1
  %claimed = cmpxchg ptr %claim, i64 %c, i64 %c1 acquire monotonic
  %mine = extractvalue { i64, i1 } %claimed, 1
  br i1 %mine, label %run, label %next
run:
  %j1 = getelementptr i64, ptr %job, i64 1
  %j2 = getelementptr i64, ptr %job, i64 2
  %j3 = getelementptr i64, ptr %job, i64 3
  %kernel = load atomic ptr, ptr %job monotonic, align 8
  %args = load ptr, ptr %j1
  %start = load i64, ptr %j2
  %stop = load i64, ptr %j3
  call void @part(ptr %team, i64 %index, ptr %kernel, ptr %args, i64 %start, i64 %stop)
  atomicrmw sub ptr %pending, i64 1 release
  br label %next
done:
  ret void
}

define ptr @SYMBOL_worker(ptr %me) {
entry:
  %team = load ptr, ptr %me
  %me1 = getelementptr i64, ptr %me, i64 1
  %first = load i64, ptr %me1
  %generation = getelementptr i64, ptr %team, i64 0
  %job = getelementptr i64, ptr %team, i64 16
  %sleepers = getelementptr i64, ptr %team, i64 24
  %mutex = getelementptr i64, ptr %team, i64 48
  %condition = getelementptr i64, ptr %team, i64 64
  br label %wait
wait:
  %seen = phi i64 [%first, %entry], [%now, %finished]
  br label %spin
spin:
  %turns = phi i64 [0, %wait], [%more, %again]
  %g = load atomic i64, ptr %generation acquire, align 8
  %new = icmp ne i64 %g, %seen
  br i1 %new, label %work, label %again
again:
  PAUSE
  %more = add i64 %turns, 1
  %tired = icmp ugt i64 %more, 20000
  br i1 %tired, label %sleep, label %spin
sleep:
  call i32 @pthread_mutex_lock(ptr %mutex)
  atomicrmw add ptr %sleepers, i64 1 seq_cst
  br label %look
look:
  %g2 = load atomic i64, ptr %generation seq_cst, align 8
  %new2 = icmp ne i64 %g2, %seen
  br i1 %new2, label %awake, label %rest
rest:
  call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %look
awake:
  atomicrmw sub ptr %sleepers, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %work
work:
  %now = load atomic i64, ptr %generation acquire, align 8
  %kernel = load atomic ptr, ptr %job monotonic, align 8
  %end = icmp eq ptr %kernel, null
  br i1 %end, label %over, label %finished
finished:
  call void @parts(ptr %team, i64 %now)
  br label %wait
over:
  ret ptr null
}

define i32 @SYMBOL_take(ptr %team) {
  %busy = getelementptr i64, ptr %team, i64 32
  %taken = cmpxchg ptr %busy, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %taken, 1
  %result = zext i1 %mine to i32
  ret i32 %result
}

define void @SYMBOL_share(ptr %team, ptr %kernel, ptr %args, i64 %start, i64 %stop) {
entry:
  %taken = call i32 @SYMBOL_take(ptr %team)
  %mine = icmp ne i32 %taken, 0
  br i1 %mine, label %post, label %alone
alone:
  call void %kernel(ptr %args, i64 %start, i64 %stop)
  ret void
post:
  %busy = getelementptr i64, ptr %team, i64 32
  %generation = getelementptr i64, ptr %team, i64 0
  %pending = getelementptr i64, ptr %team, i64 8
  %job = getelementptr i64, ptr %team, i64 16
  %sleepers = getelementptr i64, ptr %team, i64 24
  %at = getelementptr i64, ptr %team, i64 40
  %mutex = getelementptr i64, ptr %team, i64 48
  %condition = getelementptr i64, ptr %team, i64 64
  %j1 = getelementptr i64, ptr %job, i64 1
  %j2 = getelementptr i64, ptr %job, i64 2
  %j3 = getelementptr i64, ptr %job, i64 3
  store atomic ptr %kernel, ptr %job monotonic, align 8
  store ptr %args, ptr %j1
  store i64 %start, ptr %j2
  store i64 %stop, ptr %j3
  %size = load i64, ptr %at
  %others = sub i64 %size, 1
  store atomic i64 %others, ptr %pending release, align 8
  %before = load atomic i64, ptr %generation monotonic, align 8
  %now = add i64 %before, 1
  %high = shl i64 %now, 8
  %parts = add i64 %high, 1
  %claim = getelementptr i64, ptr %team, i64 80
  store atomic i64 %parts, ptr %claim release, align 8
  atomicrmw add ptr %generation, i64 1 seq_cst
  %asleep = load atomic i64, ptr %sleepers seq_cst, align 8
  %any = icmp ne i64 %asleep, 0
  br i1 %any, label %wake, label %own
wake:
  call i32 @pthread_mutex_lock(ptr %mutex)
  call i32 @pthread_cond_broadcast(ptr %condition)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %own
own:
  call void @part(ptr %team, i64 0, ptr %kernel, ptr %args, i64 %start, i64 %stop)
  call void @parts(ptr %team, i64 %now)
  br label %spin
spin:
  %turns = phi i64 [0, %own], [0, %yield], [%more, %again]
  %left = load atomic i64, ptr %pending acquire, align 8
  %all = icmp eq i64 %left, 0
  br i1 %all, label %done, label %again
again:
  PAUSE
  %more = add i64 %turns, 1
  %tired = icmp ugt i64 %more, 1000
  br i1 %tired, label %yield, label %spin
yield:
  call i32 @sched_yield()
  br label %spin
done:
  store atomic i64 0, ptr %busy release, align 8
  ret void
}
"""


def _code() -> str:
    """The code, with the hint that identifies a spin loop to CPUs where it is known."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return "declare void @llvm.x86.sse2.pause()" + _CODE.replace("PAUSE", "call void @llvm.x86.sse2.pause()")
    if machine in ("aarch64", "arm64"):
        return "declare void @llvm.aarch64.hint(i32)" + _CODE.replace("PAUSE", "call void @llvm.aarch64.hint(i32 1)")
    return _CODE.replace("PAUSE", "")


class Team:
    """The process's team. Its state is never freed or moved, because programs and workers hold its address."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self.state = self._permanent(_WORDS)
        self.address = address(self.state)
        self._threads: list[ctypes.c_void_p] = []
        self._lock = threading.Lock()
        self._places: list[np.ndarray] = []
        self.forget()

    def _permanent(self, words: int) -> np.ndarray:
        """Memory allocated by C, which outlives the interpreter's objects, aligned to a cache line."""
        allocate = self._libc.malloc
        allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_void_p
        where = allocate(8 * words + ALIGNMENT)
        if not where:
            raise MemoryError
        array: Any = (ctypes.c_int64 * words).from_address(where + -where % ALIGNMENT)
        return np.frombuffer(array, np.int64)

    @property
    def size(self) -> int:
        return int(self.state[SIZE])

    def forget(self) -> None:
        """Resets the state to no workers: in a forked child the threads are the parent's."""
        self.state[:] = 0
        self.state[SIZE] = 1
        self._threads.clear()
        self._lock = threading.Lock()
        self._libc.pthread_mutex_init(ctypes.c_void_p(self.address + 8 * MUTEX), None)
        self._libc.pthread_cond_init(ctypes.c_void_p(self.address + 8 * CONDITION), None)

    def resize(self, size: int) -> None:
        """Ends the workers and starts others, between two jobs."""
        with self._lock:
            # Concurrent programs find the team busy, and run on their own thread.
            take = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_functions()["take"])
            while not take(self.address):
                self._libc.sched_yield()
            self._stop()
            worker = _functions()["worker"]
            for _ in range(1, size):
                place = np.array([self.address, self.state[GENERATION]], np.int64)
                self._places.append(place)
                thread = ctypes.c_void_p()
                where = (ctypes.c_void_p(worker), ctypes.c_void_p(address(place)))
                if self._libc.pthread_create(ctypes.byref(thread), None, *where):
                    break
                self._threads.append(thread)
            self.state[SIZE] = 1 + len(self._threads)
            self.state[BUSY] = 0

    def _stop(self) -> None:
        self.state[JOB] = 0
        mutex, condition = (ctypes.c_void_p(self.address + 8 * k) for k in (MUTEX, CONDITION))
        self._libc.pthread_mutex_lock(mutex)
        self.state[GENERATION] += 1
        self._libc.pthread_cond_broadcast(condition)
        self._libc.pthread_mutex_unlock(mutex)
        for thread in self._threads:
            self._libc.pthread_join(thread, None)
        self._threads.clear()
        self._places.clear()


def _functions() -> dict[str, int]:
    """The addresses of the native functions: the worker's, the one that takes the team, the one that divides a job."""
    return compiler.native("team", _code, ("worker", "take", "share"))


@functools.cache
def _team() -> Team | None:
    """The team, created with the configured number of threads on first use; None without POSIX threads."""
    if os.name != "posix" or not hasattr(ctypes.CDLL(None), "pthread_create"):
        return None
    made = Team()
    atexit.register(made.resize, 1)
    os.register_at_fork(after_in_child=made.forget)
    made.resize(number_of_threads())
    return made


def sharing() -> tuple[int, int]:
    """The addresses of the team's state and of the function that divides a job; zeros if there is no team."""
    team = _team()
    return (0, 0) if team is None else (team.address, _functions()["share"])


def number_of_threads() -> int:
    """``$TRACER_NUM_THREADS``, or the number of CPUs. Raises ValueError."""
    given = os.environ.get("TRACER_NUM_THREADS", "")
    if given:
        if not given.isdecimal() or not 1 <= int(given) <= _MAX:
            raise ValueError(f"TRACER_NUM_THREADS must be a number from 1 to {_MAX}, not {given!r}")
        return int(given)
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _MAX)


def get_num_threads() -> int:
    """The number of threads that run large kernels."""
    team = _team()
    return 1 if team is None else team.size


def set_num_threads(n: int) -> None:
    """Sets the number of threads that run large kernels, 1 to 64 (else ValueError). Results do not depend on it."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MAX:
        raise ValueError(f"the number of threads must be from 1 to {_MAX}, not {n!r}")
    team = _team()
    if team is not None:
        team.resize(n)
