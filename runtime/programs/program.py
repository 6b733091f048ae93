"""A plan as one native program: kernels compiled, addresses filled in, one call to run it all.

Inputs and results have *slots*: their addresses are given at each call, and the driver copies them into the argument
blocks. All other addresses are fixed when the program is created.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.interp import evaluate
from ...ir.parse import parse_graph
from ...ir.types import TensorType
from ..compiler import compile as compiler
from ..compiler import machine
from ..forks import reentrant_lock
from ..support import driver
from ..support.memory import ResultPool, aligned_empty, take
from ..support.objects import HEAD, address, array_checks, reads_arrays
from ..support.products import product
from ..support.team import sharing
from . import timing
from .plan import Plan, StepKind
from .progress import shown

_SHARED = 16 << 20  # bytes of arena: a larger one exists once


class Program:
    """The executable form of a plan on the CPU.

    Inputs are given by address and must be contiguous; updated ones are overwritten. A call works in a ``Frame``, which it
    takes from ``frames`` and returns. So calls in several threads, or in a signal handler that interrupts another call,
    have separate frames, and a call that never completes leaves nothing behind that others wait for. If inputs are updated,
    or frames are large, one thread calls at a time: then ``lock`` must be held.
    """

    def __init__(self, plan: Plan):
        if plan.device != "cpu":
            raise ValueError(f"a plan for {plan.device} is not a program for the CPU")
        machine.check_runs_here(machine.selected())
        self.plan = plan
        self.unsafe, self.unsafe_results, self.may_fail = plan.unsafe, plan.unsafe_results, bool(plan.locs)
        self.lock = reentrant_lock() if plan.updates or plan.arena > _SHARED else None
        self.pack = struct.Struct(f"{len(plan.inputs) + len(plan.results)}q").pack_into
        self.call = _driver()
        sources = dict.fromkeys(kind.source for kind in plan.kinds if kind.source)
        addresses = dict(zip(sources, compiler.load(sources, shown), strict=True))
        self.kernels = [addresses.get(kind.source, 0) for kind in plan.kinds]
        self.constants = aligned_empty(len(plan.constants))
        self.constants[:] = np.frombuffer(plan.constants, np.uint8)
        self.is_shared = any(plan.kinds[k].large for k in plan.steps)
        self.team = sharing() if self.is_shared else (0, 0)
        self._frames: tuple[list[Frame], Sequence[int], bool] = [self.frame()], (), False

    @property
    def steps(self) -> list[StepKind]:
        """The steps, in order."""
        return [self.plan.kinds[k] for k in self.plan.steps]

    @property
    def frames(self) -> list[Frame]:
        """The unused frames."""
        return self._frames[0]

    @property
    def nbytes(self) -> int:
        """The memory of the unused frames."""
        frames = self.frames
        pools = [pool for frame in frames for pool in frame.pools]
        return len(frames) * self.plan.arena + sum(array.nbytes for pool in pools for array, _ in pool.entries)

    def run(self, inputs: Sequence[int]) -> list[np.ndarray]:
        """One native call. Returns the results that are not updates, in buffers that nothing else refers to.

        Raises IndexError if a position is out of range, RuntimeError for an integer division by zero. Then only inputs in
        ``unsafe`` may have been written.
        """
        if self.lock is None:
            return self._run(inputs)
        with self.lock:
            return self._run(inputs)

    def _run(self, inputs: Sequence[int]) -> list[np.ndarray]:
        frames, slots, views = self._frames
        try:
            frame = frames.pop()
        except IndexError:
            frame = self.frame(slots, views)
        try:
            return frame.run(inputs)
        finally:
            frames.append(frame)

    def frame(self, slots: Sequence[int] = (), views: bool = False) -> Frame:
        """A new frame, for when none is free; its ``written`` is for calls that put array objects into these slots."""
        frame = Frame(self)
        frame.look_at(slots, views)
        return frame

    def look_at(self, slots: Sequence[int], views: bool = False) -> list[Frame]:
        """The free frames from here on: ``written`` has what a call needs that puts array objects into these slots, which own
        their memory unless ``views``.

        Such a call takes its frame from this list, creates one with ``frame`` if it is empty, and returns it. The previous
        list stays in use by calls that were generated for other slots.
        """
        before, *seen = self._frames
        if seen == [slots, views]:
            return before
        frames: list[Frame] = []
        with contextlib.suppress(IndexError):  # other threads take frames, and return some
            while before:
                frame = before.pop()
                frame.look_at(slots, views)
                frames.append(frame)
        self._frames = frames, slots, views
        return frames

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Runs on arrays and returns all outputs, updates included. Inputs are not modified."""
        taken = [np.array(a, dtype=t.dtype.numpy, order="C") for a, t in zip(arrays, self.plan.inputs, strict=True)]
        fresh = iter(self.run([address(a) for a in taken]))
        updates = self.plan.updates
        return tuple(taken[updates[k]] if k in updates else next(fresh) for k in range(len(self.plan.outputs)))


class Frame:
    """The state of one call of a program: arena, argument blocks, slots, error cells, result buffers.

    ``written`` is for generated replays: the slots, the address of a header, and the entries of each pool.
    """

    written: tuple[Any, ...]

    def __init__(self, program: Program):
        """Replaces the plan's relative positions by addresses."""
        self.plan, self._pack, self._call, self._team = program.plan, program.pack, program.call, program.team
        plan, steps = self.plan, program.steps
        self.pools = [ResultPool(plan.outputs[k]) for k in plan.results]
        self._failures: list[BaseException] = []  # of steps in Python
        kernels = np.array(program.kernels, np.int64)[plan.steps]
        self._status = np.zeros((max(len(steps), 1), 2), np.int64)
        # Each needs a separate function, which knows the cell to report errors to.
        fallbacks = {i: kind.fallback for i, kind in enumerate(steps) if not kind.source}
        self._callbacks = {i: _callback(text, self._status[i], self._failures) for i, text in fallbacks.items()}
        for i, function in self._callbacks.items():
            kernels[i] = ctypes.cast(function, ctypes.c_void_p).value or 0
        self.arena = aligned_empty(plan.arena)
        bases = {"arena": self.arena, "constants": program.constants, "status": self._status}
        self._words = np.array(plan.words or [0], np.int64)
        for base, positions in plan.relocations.items():
            self._words[positions] += address(bases[base]) if base in bases else product(base)
        self._patches = np.zeros((max(len(plan.patches), 1), 4), np.int64)
        if plan.patches:
            self._patches[:, :3] = plan.patches
        self._slots = np.zeros(max(len(plan.inputs) + len(plan.results), 1), np.int64)
        self.view = self._slots.data
        self.cells = np.zeros(len(plan.inputs))  # for a call's floats
        self.cells_view, self.cells_at = self.cells.data, address(self.cells)
        self._table = np.zeros((max(len(steps), 1), 5), np.int64)  # kernel, argument block, range, whether it is divided
        if steps:
            self._table[:, 0] = kernels
            self._table[:, 1] = address(self._words) + 8 * np.array(plan.starts)
            self._table[:, 3] = [kind.domain for kind in steps]
            self._table[:, 4] = [kind.large for kind in steps]
        self._headers: dict[Any, tuple[np.ndarray, ...]] = {}
        self._header = self._header_for(())

    def _header_for(self, slots: Sequence[int], views: bool = False) -> int:
        """The address of a header for calls that put array objects, not addresses, into the slots of some inputs, and result
        buffers into theirs.

        The call returns 2 and does nothing unless each object has the expected type, is contiguous, owns its memory (inputs
        only unless ``views``), and is writeable if it is an updated input or a result.
        """
        results = [(len(self.plan.inputs) + j, pool) for j, pool in enumerate(self.pools)] if reads_arrays else []
        patches = self._patches.copy()
        patches[np.isin(patches[:, 1], [*slots, *(i for i, _ in results)]), 3] = HEAD
        types = [(i, self.plan.inputs[i]) for i in slots]
        written = set(self.plan.updates.values())
        rows = [(i, *row) for i, t in types for row in array_checks(t.shape, t.dtype.numpy, i in written, views)]
        rows += [(i, *row) for i, pool in results for row in array_checks(pool.shape, pool.dtype, True)]
        return self._written_header(patches, np.array(rows or [(0,) * 5], np.int64), len(rows))

    def _written_header(self, patches: np.ndarray, checks: np.ndarray, count: int) -> int:
        table, slots, at, cells = map(address, (self._table, self._slots, self._words, self._status))
        steps, places = len(self.plan.steps), len(self.plan.patches)
        fields = (table, steps, address(patches), places, slots, at, cells, *self._team, address(checks), count)
        header = np.array((*fields, *timing.header_words(self)), np.int64)
        where = address(header)
        self._headers[where] = header, patches, checks  # kept alive
        return where

    def time(self, record: int, run: int) -> None:
        """Sets the profiler's words of all headers. A running call may read them between two statements."""
        for header, *_ in list(self._headers.values()):
            if record:
                header[12] = run
            header[11] = record

    def look_at(self, slots: Sequence[int], views: bool) -> None:
        """Creates ``written``."""
        self.written = (self.view, self._header_for(slots, views), *(pool.entries for pool in self.pools))

    def run(self, inputs: Sequence[int]) -> list[np.ndarray]:
        """Like ``Program.run``."""
        arrays, words = take(self.pools)
        self._pack(self.view, 0, *inputs, *words)
        self.arm()
        failed = self._call(self._header)
        if failed == 2:  # the array of an earlier result was changed, for example its shape
            for pool in self.pools:
                pool.entries.clear()
            arrays, words = take(self.pools)
            self._pack(self.view, 0, *inputs, *words)
            failed = self._call(self._header)
        if failed:
            self._raise_failure()
        return arrays

    def arm(self) -> None:
        """Before a call: steps in Python count as failed until they complete."""
        for i in self._callbacks:
            self._status[i, 0] = 1

    def instance(self, first: int, addresses: Sequence[int]) -> tuple[int, int, int]:
        """The addresses of header, slots and status cells, for native code that calls the driver directly.

        The slots hold addresses; those from number ``first`` on hold ``addresses`` from now on.
        """
        self._slots[first : first + len(addresses)] = addresses
        header = self._written_header(self._patches, np.zeros((1, 5), np.int64), 0)
        return header, address(self._slots), address(self._status)

    def forget_failure(self) -> None:
        """Clears an error that will not be raised, unless it was an interrupt."""
        self._status[:] = 0
        failures = self._failures.copy()
        self._failures.clear()
        for failure in failures:
            if not isinstance(failure, Exception):
                raise failure

    def _raise_failure(self) -> None:
        for i, loc in self.plan.locs.items():
            site, bad = self._status[i]
            if site:
                self._status[:] = 0
                if i in self._callbacks:
                    raise self._failures.pop() if self._failures else KeyboardInterrupt  # interrupted before it began
                error, message = self.plan.kinds[self.plan.steps[i]].checks[site - 1]
                raise ERRORS[error](message.format(bad) + (f" ({loc})" if loc else ""))
        raise RuntimeError("a native program failed without an error from any of its steps")


def _callback(text: str, cell: np.ndarray, failures: list[BaseException]) -> Any:
    """A function with a kernel's signature that evaluates a step's graph with NumPy, and clears its cell on success."""
    graph = parse_graph(text)
    types = [v.type for v in (*graph.inputs, *graph.outputs)]
    n = len(graph.inputs)

    def run(args: int, start: int, stop: int) -> None:
        try:
            where = (ctypes.c_int64 * len(types)).from_address(args)
            arrays = [_array_at(at, t) for at, t in zip(where, types, strict=True)]
            for target, value in zip(arrays[n:], evaluate(graph, *arrays[:n]), strict=True):
                np.copyto(target, value)
            cell[0] = 0
        except BaseException as e:  # an interrupt may arrive after the cell is cleared
            cell[0] = 1
            failures.append(e)

    return _KERNEL(run)


ERRORS = {error.__name__: error for error in (IndexError, RuntimeError, ZeroDivisionError)}
_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def _array_at(where: int, t: TensorType) -> np.ndarray:
    """An array on the memory at an address."""
    if not t.nbytes:
        return np.empty(t.shape, t.dtype.numpy)
    memory: Any = (ctypes.c_char * t.nbytes).from_address(where)
    return np.frombuffer(memory, t.dtype.numpy).reshape(t.shape)


@functools.cache
def _driver() -> ctypes._FuncPointer:  # type: ignore[name-defined]
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(driver.run())
