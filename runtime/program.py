"""A fused graph as one native program: kernels in order, buffers planned, one call to run it all.

Every step is a kernel's address, its argument block and the range of its domain. A block holds addresses of arrays,
then integers, then the addresses of a status cell and of the product of matrices. Inputs and results have *slots*: their
addresses are given at each call, and the driver copies them into the blocks that want them. All else is fixed when the
program is made.
"""

from __future__ import annotations

import ctypes
import functools
import math
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..codegen.cpu import source
from ..codegen.fusion import lower
from ..codegen.library import LARGE_PRODUCT, lower_op
from ..codegen.nest import Kernel
from ..ir.graph import Builder, Graph, Op, Value
from ..ir.interp import EVALUATE, evaluate
from ..ir.ops import adjoin, constant, fusion, reshape
from ..ir.passes.fuse import has_kernel
from ..ir.primitive import Kind
from ..ir.types import TensorType
from . import compile as compiler
from . import driver
from .gemm import gemm
from .memory import ResultPool, aligned_empty, plan, take
from .objects import HEAD, Word, address, array_checks
from .team import sharing


@dataclass
class Step:
    """One kernel of a program: what it computes, its nest, the values its arrays are.

    Without a kernel the step is left to NumPy: the program calls back into Python.
    """

    op: Op
    kernel: Kernel | None
    source: str
    arrays: list[Value]

    @property
    def is_large(self) -> bool:
        """Whether the work is worth sharing among threads: it takes ten times as long as to tell them, or more."""
        if self.kernel is None or self.kernel.domain < 2 * self.kernel.grain:
            return False
        if "(gemm," in self.source:
            inner = self.op.operands[0].shape[-2 if self.op.attrs["ta"] else -1]
            return 2.0 * math.prod(self.op.result.shape) * inner >= LARGE_PRODUCT
        operations = len(self.op.attrs["body"].ops) if self.op.primitive is fusion else 1
        body = self.op.attrs["body"].ops if self.op.primitive is fusion else ()
        elements = max([v.type.numel for v in (*self.arrays, *(o.result for o in body))])
        return elements * (operations + 1) >= _LARGE

    @property
    def may_fail(self) -> bool:
        return self.kernel is None or bool(self.kernel.checks)


class Program:
    """The executable form of a fused graph on the CPU.

    Inputs are given by address and contiguous; updated ones are overwritten. One call runs at a time; others wait.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.results = [k for k in range(len(graph.outputs)) if k not in graph.updates]
        self.pools = [ResultPool(graph.outputs[k].type) for k in self.results]
        self._lock = threading.Lock()
        layout = _Layout(graph, self.results)
        self.steps = layout.steps
        self._build(layout)

    def _build(self, layout: _Layout) -> None:
        compiled = iter(compiler.load(step.source for step in self.steps if step.kernel is not None))
        self._failure: Exception | None = None
        self._callbacks = [None if step.kernel is not None else self._callback(i, step) for i, step in enumerate(self.steps)]
        addresses = [next(compiled) if f is None else ctypes.cast(f, ctypes.c_void_p).value or 0 for f in self._callbacks]
        self._arena = aligned_empty(layout.arena_size)
        base = address(self._arena)
        self._constants = layout.constants
        self._status = np.zeros((max(len(self.steps), 1), 2), np.int64)
        self._checked = [i for i, s in enumerate(self.steps) if s.may_fail]
        self.may_fail = bool(self._checked)
        risky = self.steps[: max(self._checked, default=-1) + 1]
        written = {layout.place(v)[:2] for s in risky for v in s.op.results}
        # The inputs, and the results, that have been written to when the last step that may fail does.
        self.unsafe = [i for i in sorted(set(self.graph.updates.values())) if ("slot", i) in written]
        self.unsafe_results = [j for j in range(len(self.results)) if ("slot", len(self.graph.inputs) + j) in written]
        blocks: list[int] = []
        patches: list[tuple[int, int, int, int]] = []
        starts: list[int] = []
        for i, step in enumerate(self.steps):
            starts.append(len(blocks))
            for v in step.arrays:
                kind, where, offset = layout.place(v)
                if kind == "slot":
                    patches.append((len(blocks), where, offset, 0))
                blocks.append({"slot": 0, "arena": base + where + offset, "constant": where + offset}[kind])
            blocks += step.kernel.values if step.kernel is not None else []
            blocks.append(address(self._status) + i * 16)
            blocks.append(gemm(step.op.result.type.dtype) if "(gemm," in step.source else 0)
        self._blocks = np.array(blocks or [0], np.int64)
        self._patches = np.array(patches or [(0, 0, 0, 0)], np.int64)
        self._slots = np.zeros(len(self.graph.inputs) + len(self.results) + 1, np.int64)
        self._slots_view = self._slots.data
        self._pack = struct.Struct(f"{len(self._slots) - 1}q").pack_into
        at = address(self._blocks)
        domains = [step.kernel.domain if step.kernel is not None else 1 for step in self.steps]
        large = [step.is_large for step in self.steps]
        rows = [(a, at + 8 * s, 0, n, int(w)) for a, s, n, w in zip(addresses, starts, domains, large, strict=True)]
        self._table = np.array(rows or [(0, 0, 0, 0, 0)], np.int64)
        cells = address(self._status)
        header = (address(self._table), len(rows), address(self._patches), len(patches), address(self._slots), at, cells)
        at_team, share = sharing() if any(large) else (0, 0)
        self._header = np.array([*header, at_team, share, 0, 0], np.int64)
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
        types = [(i, self.graph.inputs[i].type) for i in slots]
        written = set(self.graph.updates.values())
        rows = [(i, *row) for i, t in types for row in array_checks(t.shape, t.dtype.numpy, i in written)]
        rows += [(len(self._slots) - 1, where, -1, -1, word) for where, word in words]  # the last slot is always zero
        checks = np.array(rows, np.int64)
        header = self._header.copy()
        header[2], header[9:] = address(patches), (address(checks), len(rows))
        self._others.append((header, patches, checks))
        return address(header)

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Runs on arrays and returns all outputs, updates included. Inputs are not written to."""
        taken = [np.array(a, dtype=v.type.dtype.numpy, order="C") for a, v in zip(arrays, self.graph.inputs, strict=True)]
        fresh = iter(self.run([address(a) for a in taken]))
        updates = self.graph.updates
        return tuple(taken[updates[k]] if k in updates else next(fresh) for k in range(len(self.graph.outputs)))

    def _callback(self, i: int, step: Step) -> Any:
        """A function with a kernel's signature that computes a step with NumPy."""
        op, types = step.op, [v.type for v in step.arrays]
        n = len(op.operands)

        def run(args: int, start: int, stop: int) -> None:
            try:
                where = (ctypes.c_int64 * len(types)).from_address(args)
                arrays = [_array_at(at, t) for at, t in zip(where, types, strict=True)]
                if op.primitive is fusion:
                    out = evaluate(op.attrs["body"], *arrays[:n])
                else:
                    out = EVALUATE.bind(op.primitive, arrays[:n], op.attrs)
                for target, value in zip(arrays[n:], out if isinstance(out, tuple) else (out,), strict=True):
                    np.copyto(target, value)
            except Exception as e:
                self._failure = e
                self._status[i, 0] = 1

        return _KERNEL(run)

    def forget_failure(self) -> None:
        """After a call that met an error which nobody will raise."""
        self._status[:] = 0
        self._failure = None

    def _raise_failure(self) -> None:
        for i in self._checked:
            site, bad = self._status[i]
            if site:
                self._status[:] = 0
                step = self.steps[i]
                if step.kernel is None:
                    assert self._failure is not None
                    failure, self._failure = self._failure, None
                    raise failure
                where = f" ({step.op.loc})" if step.op.loc else ""
                error, message = step.kernel.checks[site - 1]
                raise error(message.format(bad) + where)


_LARGE = 1 << 18  # operations on elements: some tens of microseconds
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


def _identity(v: Value) -> Op:
    """A fusion that copies a value."""
    body = Builder("copy")
    x = body.input(v.type)
    return Op(fusion, [v], {"body": body.finish([x])}, [v.type])


class _Layout:
    """Decides the steps and where every value lives: an input's or result's slot, the arena, or a constant."""

    def __init__(self, graph: Graph, results: list[int]):
        self.graph = graph
        self.constants: list[np.ndarray] = []
        self._places: dict[Value, tuple[str, int]] = {v: ("slot", i) for i, v in enumerate(graph.inputs)}
        for j, k in enumerate(results):
            self._places[self.root(graph.outputs[k])] = ("slot", len(graph.inputs) + j)
        self._part_of: dict[Value, tuple[Value, int]] = {}
        self._kernels: dict[tuple, tuple[Kernel | None, str]] = {}
        self._alike: dict[int, int] = {}  # bodies, by identity: the first one of the same structure
        self._first: dict[tuple, int] = {}
        self._readers = self._last_reads()
        copies = self._place_updates()
        self.steps: list[Step] = []
        for op in [*graph.ops, *(op for op, _ in copies)]:
            if op.primitive is constant:
                self._add_constant(op)
            elif op.primitive is adjoin:
                self._adjoin(op)
            elif op.primitive is not reshape:
                self.steps.append(self._step(op))
        for op, i in copies:
            self._places[op.result] = ("slot", i)
        self.arena_size = self._plan_arena()

    def root(self, v: Value) -> Value:
        """The value whose memory ``v`` is: a reshape only names it anew."""
        while v.op is not None and v.op.primitive is reshape:
            v = v.op.operands[0]
        return v

    def place(self, v: Value) -> tuple[str, int, int]:
        """The kind of memory, which of that kind (a slot, an offset in the arena, an address), and how many bytes further."""
        whole, offset = self._whole(v)
        return *self._places[whole], offset

    def _whole(self, v: Value) -> tuple[Value, int]:
        """The value that has memory of its own of which that of ``v`` is a part, and where in it that begins."""
        v, offset = self.root(v), 0
        while v in self._part_of:
            v, more = self._part_of[v]
            offset += more
        return v, offset

    def _adjoin(self, op: Op) -> None:
        """Lets the operands be computed where they shall be; those that are elsewhere, or twice, are copied."""
        offset = 0
        for v in op.operands:
            part = self.root(v)
            if part.op is None or part.op.primitive in (constant, adjoin) or part in self._places or part in self._part_of:
                copy = _identity(v)
                self.steps.append(self._step(copy))
                part = copy.result
            self._part_of[part] = op.result, offset
            offset += v.type.nbytes

    def _last_reads(self) -> dict[Value, list[int]]:
        readers: dict[Value, list[int]] = {}
        for i, op in enumerate(self.graph.ops):
            for v in op.operands:
                if op.primitive is not reshape:
                    readers.setdefault(self.root(v), []).append(i)
        return readers

    def _place_updates(self) -> list[tuple[Op, int]]:
        """Puts updated values straight into their inputs' memory where no later step reads the old value.

        Returns the copies that the others need at the end, with the input each goes to.
        """
        position = {op: i for i, op in enumerate(self.graph.ops)}
        copies: list[tuple[Op, int]] = []
        self.inplace: dict[Op, dict[int, int]] = {}
        for k, i in self.graph.updates.items():
            new, old = self.graph.outputs[k], self.graph.inputs[i]
            op = self.root(new).op
            last = max(self._readers.get(old, [-1]))
            at = position[op] if op is not None else -1
            # What adjoins others is written part by part, before its turn.
            if op is None or op.primitive in (constant, adjoin) or self.root(new) in self._places or last > at:
                copies.append((_identity(new), i))
                continue
            if last == at:
                operand = self._replaced_operand(op, self.root(new), old)
                if operand is None:
                    copies.append((_identity(new), i))
                    continue
                self.inplace.setdefault(op, {})[op.results.index(self.root(new))] = operand
            self._places[self.root(new)] = ("slot", i)
        return copies

    def _replaced_operand(self, op: Op, new: Value, old: Value) -> int | None:
        """The operand of a fusion that its result may overwrite: read, and what is computed from it, only at that element."""
        if op.primitive is not fusion or [self.root(v) for v in op.operands].count(old) != 1:
            return None
        k = [self.root(v) for v in op.operands].index(old)
        body = op.attrs["body"]
        inner, outer = body.inputs[k], body.outputs[op.results.index(new)]
        whole = max((v.shape for v in body.outputs), key=len)
        if inner.shape != outer.shape or outer.shape != whole:
            return None
        computed = {inner}
        for o in body.ops:
            if not computed.isdisjoint(o.operands):
                if o.primitive.kind in (Kind.MOVEMENT, Kind.INDEXING, Kind.SOURCE):
                    return None
                if o.primitive.kind is not Kind.REDUCTION:  # known before the row's elements are written
                    computed.update(o.results)
        return k

    def _add_constant(self, op: Op) -> None:
        array = np.array(EVALUATE.bind(op.primitive, (), op.attrs), order="C")
        self.constants.append(array)
        self._places[op.result] = ("constant", address(array))

    def _step(self, op: Op) -> Step:
        reused = self.inplace.get(op, {})
        kernel, text = self._kernel(op, reused)
        if kernel is None:
            return Step(op, None, "", [*op.operands, *op.results])
        return Step(op, kernel, text, [*op.operands, *(v for i, v in enumerate(op.results) if i not in reused)])

    def _kernel(self, op: Op, reused: dict[int, int]) -> tuple[Kernel | None, str]:
        """The kernel and its source, written once for steps that are alike; none for what is left to NumPy."""
        body = op.attrs.get("body")
        if body is None:
            key: tuple = op.primitive, tuple([v.type for v in op.operands]), repr(op.attrs)
        else:
            if id(body) not in self._alike:
                self._alike[id(body)] = self._first.setdefault(body.structure(), id(body))
            key = self._alike[id(body)], tuple(reused.items())
        if key not in self._kernels:
            if not all(map(has_kernel, body.ops if body is not None else [op])) or not has_kernel(op):
                self._kernels[key] = None, ""
            else:
                kernel = lower(body, reused) if body is not None else lower_op(op)
                self._kernels[key] = kernel, source(kernel)
        return self._kernels[key]

    def _plan_arena(self) -> int:
        lives: dict[Value, list[int]] = {}
        for i, step in enumerate(self.steps):
            for v in step.arrays:
                r, _ = self._whole(v)
                if r not in self._places:
                    lives.setdefault(r, [i, i])[1] = i
        offsets, size = plan([(v.type.nbytes, first, last) for v, (first, last) in lives.items()])
        for v, offset in zip(lives, offsets, strict=True):
            self._places[v] = ("arena", offset)
        return size
