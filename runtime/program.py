"""A plan as one native program: kernels compiled, addresses filled in, one call to run it all.

Inputs and results have *slots*: their addresses are given at each call, and the driver copies them into the argument blocks
that want them. All else is fixed when the program is made.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.interp import evaluate
from ..ir.parse import parse_graph
from ..ir.types import TensorType, dtype_named
from . import compile as compiler
from . import driver
from .gemm import gemm
from .memory import ResultPool, aligned_empty, take
from .objects import HEAD, Word, address, array_checks
from .plan import Plan, StepKind
from .team import sharing


class Program:
    """The executable form of a plan on the CPU.

    Inputs are given by address and contiguous; updated ones are overwritten. One call runs at a time; others wait.
    """

    def __init__(self, plan: Plan):
        if plan.device != "cpu":
            raise ValueError(f"a plan for {plan.device} is no program for the CPU")
        self.plan = plan
        self.pools = [ResultPool(plan.outputs[k]) for k in plan.results]
        self.unsafe, self.unsafe_results, self.may_fail = plan.unsafe, plan.unsafe_results, bool(plan.locs)
        self._lock = threading.Lock()
        self._link()

    @property
    def steps(self) -> list[StepKind]:
        """What is run, in order."""
        return [self.plan.kinds[k] for k in self.plan.steps]

    def _link(self) -> None:
        """Puts addresses where the plan has distances."""
        plan, steps = self.plan, self.steps
        self._failure: Exception | None = None
        compiled = iter(compiler.load(kind.source for kind in plan.kinds if kind.source))
        by_kind = np.array([next(compiled) if kind.source else 0 for kind in plan.kinds], np.int64)
        kernels = by_kind[plan.steps]
        # Each needs a function of its own, which knows the cell to report errors to.
        self._callbacks = {i: self._callback(i, kind.fallback) for i, kind in enumerate(steps) if not kind.source}
        for i, function in self._callbacks.items():
            kernels[i] = ctypes.cast(function, ctypes.c_void_p).value or 0
        self._arena, self._constants = aligned_empty(plan.arena), aligned_empty(len(plan.constants))
        self._constants[:] = np.frombuffer(plan.constants, np.uint8)
        self._status = np.zeros((max(len(steps), 1), 2), np.int64)
        bases = {"arena": self._arena, "constants": self._constants, "status": self._status}
        self._words = np.array(plan.words or [0], np.int64)
        for base, positions in plan.relocations.items():
            self._words[positions] += address(bases[base]) if base in bases else gemm(dtype_named(base))
        self._patches = np.zeros((max(len(plan.patches), 1), 4), np.int64)
        if plan.patches:
            self._patches[:, :3] = plan.patches
        self._slots = np.zeros(len(plan.inputs) + len(plan.results) + 1, np.int64)
        self._slots_view = self._slots.data
        self._pack = struct.Struct(f"{len(self._slots) - 1}q").pack_into
        at = address(self._words)
        self._table = np.zeros((max(len(steps), 1), 5), np.int64)  # kernel, argument block, range, whether it is shared
        if steps:
            self._table[:, 0] = kernels
            self._table[:, 1] = at + 8 * np.array(plan.starts)
            self._table[:, 3] = [kind.domain for kind in steps]
            self._table[:, 4] = [kind.large for kind in steps]
        at_team, share = sharing() if self._table[:, 4].any() else (0, 0)
        table, patches, slots, cells = map(address, (self._table, self._patches, self._slots, self._status))
        header = (table, len(steps), patches, len(plan.patches), slots, at, cells, at_team, share, 0, 0)
        self._header = np.array(header, np.int64)
        self._header_address = address(self._header)
        self._others: list[tuple[np.ndarray, ...]] = []
        self._call = _driver()

    def run(self, inputs: Sequence[int]) -> list[np.ndarray]:
        """One native call. Returns the results that are not updates, in buffers that nobody else holds.

        Raises IndexError when a position is out of range, RuntimeError for a division of integers by zero; inputs in
        ``unsafe`` may then have been written to, and no others.
        """
        with self._lock:
            arrays, addresses = take(self.pools)
            self._pack(self._slots_view, 0, *inputs, *addresses)
            if self._call(self._header_address):
                self._raise_failure()
        return arrays

    def header_for_arrays(self, slots: Sequence[int], words: Sequence[Word] = ()) -> int:
        """The address of a header for calls that put array objects, not addresses, into the slots of some inputs.

        The call returns 2 and does nothing unless each is of its input's type, contiguous, owns its memory, and may be written
        to if it is updated; and unless ``words`` are as given.
        """
        patches = self._patches.copy()
        patches[np.isin(patches[:, 1], slots), 3] = HEAD
        types = [(i, self.plan.inputs[i]) for i in slots]
        written = set(self.plan.updates.values())
        rows = [(i, *row) for i, t in types for row in array_checks(t.shape, t.dtype.numpy, i in written)]
        rows += [(len(self._slots) - 1, where, -1, -1, word) for where, word in words]  # the last slot is always zero
        checks = np.array(rows, np.int64)
        header = self._header.copy()
        header[2], header[9:] = address(patches), (address(checks), len(rows))
        self._others.append((header, patches, checks))
        return address(header)

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Runs on arrays and returns all outputs, updates included. Inputs are not written to."""
        taken = [np.array(a, dtype=t.dtype.numpy, order="C") for a, t in zip(arrays, self.plan.inputs, strict=True)]
        fresh = iter(self.run([address(a) for a in taken]))
        updates = self.plan.updates
        return tuple(taken[updates[k]] if k in updates else next(fresh) for k in range(len(self.plan.outputs)))

    def _callback(self, i: int, text: str) -> Any:
        """A function with a kernel's signature that evaluates the graph of a step with NumPy."""
        graph = parse_graph(text)
        types = [v.type for v in (*graph.inputs, *graph.outputs)]
        n = len(graph.inputs)

        def run(args: int, start: int, stop: int) -> None:
            try:
                where = (ctypes.c_int64 * len(types)).from_address(args)
                arrays = [_array_at(at, t) for at, t in zip(where, types, strict=True)]
                for target, value in zip(arrays[n:], evaluate(graph, *arrays[:n]), strict=True):
                    np.copyto(target, value)
            except Exception as e:
                self._failure = e
                self._status[i, 0] = 1

        return _KERNEL(run)

    def instance(self, first: int, addresses: Sequence[int]) -> tuple[int, int, int]:
        """The addresses of header, slots and status cells, for native code that calls the driver itself.

        The slots from number ``first`` on hold ``addresses`` from now on.
        """
        self._slots[first : first + len(addresses)] = addresses
        return self._header_address, address(self._slots), address(self._status)

    def forget_failure(self) -> None:
        """After a call that met an error which nobody will raise."""
        self._status[:] = 0
        self._failure = None

    def _raise_failure(self) -> None:
        for i, loc in self.plan.locs.items():
            site, bad = self._status[i]
            if site:
                self._status[:] = 0
                if i in self._callbacks:
                    assert self._failure is not None
                    failure, self._failure = self._failure, None
                    raise failure
                error, message = self.plan.kinds[self.plan.steps[i]].checks[site - 1]
                raise ERRORS[error](message.format(bad) + (f" ({loc})" if loc else ""))


ERRORS = {error.__name__: error for error in (IndexError, RuntimeError, ZeroDivisionError)}
_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def _array_at(where: int, t: TensorType) -> np.ndarray:
    """An array on memory of the given address."""
    if not t.nbytes:
        return np.empty(t.shape, t.dtype.numpy)
    memory: Any = (ctypes.c_char * t.nbytes).from_address(where)
    return np.frombuffer(memory, t.dtype.numpy).reshape(t.shape)


@functools.cache
def _driver() -> ctypes._FuncPointer:  # type: ignore[name-defined]
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(driver.run())
