"""A plan for a device, run there: kernels are launched, products computed by the device's library, and the rest on the host."""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.graph import Graph, Op
from ...ir.interp import evaluate
from ...ir.ops import addmm, matmul
from ...ir.parse import parse_graph
from ...ir.types import TensorType, float32
from ..programs.plan import STATUS, Plan, StepKind
from ..programs.program import ERRORS
from ..support.objects import address as host_address
from .array import Borrowed, DeviceArray, Memory, Part, read_bytes, to_device, to_host, warn_of
from .device import Device, Kernel, NotStarted, Product, Task
from .pinned import pinned

_FEW = 1 << 12  # bytes of inputs from the host that are compared with those of the last call
_APART = 256  # bytes: the alignment of values
_SMALL = 1 << 14  # bytes: results up to this size, gradients of small layers for example, share one allocation


class DeviceProgram:
    """The executable form of a plan on a device."""

    lock = None  # calls have separate memory

    def __init__(self, plan: Plan, device: Device, on_host: frozenset[int] = frozenset()):
        """``on_host``: inputs in the host's memory. They are copied to the device, and back if they are updated."""
        self.plan, self.device, self.on_host = plan, device, sorted(on_host)
        self.unsafe, self.unsafe_results, self.may_fail = plan.unsafe, plan.unsafe_results, bool(plan.locs)
        self._constants = to_device(np.frombuffer(plan.constants, np.uint8), device) if plan.constants else None
        checks = any(kind.checks for kind in self.steps)
        self._clear = to_device(np.zeros(STATUS * len(plan.steps), np.uint8), device) if checks else None
        self._kept = [x.memory for x in (self._constants, self._clear) if x is not None]
        last = max(plan.locs, default=len(plan.steps) - 1)  # the later steps may change what must not change if a check fails
        self._checked = _parts(plan, device, range(last + 1))
        self._then = _parts(plan, device, range(last + 1, len(plan.steps)))
        self._blocks = _blocks([plan.outputs[k] for k in plan.results])
        self._updated = sorted(on_host & set(plan.updates.values()))
        self._given = _Given([plan.inputs[i] for i in self.on_host], bool(self._updated))
        self._words, self._where, self._which = self._relocated()

    def _relocated(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The words, with offsets instead of addresses; the positions of those; and for each the number of its base: an input,
        a block of results, the arena, the step's status cells, or the inputs from the host.
        """
        plan = self.plan
        words = np.array(plan.words or [0], np.int64)
        bases = len(plan.inputs) + len(self._blocks)
        places = {len(plan.inputs) + k: place for k, place in self._result_places().items()}
        places |= {i: (bases + 2, offset) for i, offset in zip(self.on_host, self._given.offsets, strict=True)}
        rows = [(position, *places.get(slot, (slot, 0)), offset) for position, slot, offset in plan.patches]
        for position, _, start, offset in rows:
            words[position] = start + offset
        found = [(position, base) for position, base, _, _ in rows]
        for number, base in enumerate(("arena", "status")):
            found += [(position, bases + number) for position in plan.relocations.get(base, ())]
        if self._constants is not None:
            words[plan.relocations.get("constants", [])] += self._constants.address
        where, which = np.array(found or np.zeros((0, 2)), np.int64).T
        return words, where, which

    def _result_places(self) -> dict[int, tuple[int, int]]:
        """For each result, the number of its base and its offset."""
        first = len(self.plan.inputs)
        return {k: (first + b, offset) for b, block in enumerate(self._blocks) for k, offset in block.places.items()}

    @property
    def steps(self) -> list[StepKind]:
        """The steps, in order."""
        return [self.plan.kinds[k] for k in self.plan.steps]

    @property
    def nbytes(self) -> int:
        """The constants' memory, which is kept between calls."""
        return len(self.plan.constants)

    def run(self, inputs: Sequence[int]) -> list[DeviceArray]:
        """The results that are not updates. Inputs are given by address and contiguous; updated ones are overwritten.

        Raises IndexError if a position is out of range, RuntimeError for an integer division by zero.
        """
        plan, device = self.plan, self.device
        results: dict[int, DeviceArray] = {}
        bases = list(inputs)
        for block in self._blocks:
            bases.append(block.allocate(device, results))
        arena = Memory(device, plan.arena) if plan.arena else None
        status = None if self._clear is None else self._clear.copy()
        given = self._given.copied(device, [inputs[i] for i in self.on_host]) if self.on_host else None
        bases += [0 if x is None else x.address for x in (arena, status, given)]
        words = self._words.copy()
        words[self._where] += np.array(bases, np.int64)[self._which]
        for memory in self._kept:
            memory.used_by(device.stream)
        for part in self._checked:
            part.start(words)
        if status is not None:
            self._raise_failure(to_host(status).view(np.int64).reshape(-1, 2))
        for part in self._then:
            part.start(words)
        for i in self._updated:
            assert given is not None
            new = read_bytes(device, given.address + self._given.offsets[self.on_host.index(i)], plan.inputs[i].nbytes)
            ctypes.memmove(inputs[i], new.ctypes.data, new.nbytes)
        return [results[k] for k in range(len(results))]

    def _raise_failure(self, status: np.ndarray[Any, Any]) -> None:
        for i, loc in self.plan.locs.items():
            site, bad = status[i]
            if site:
                error, message = self.steps[i].checks[site - 1]
                raise ERRORS[error](message.format(bad) + (f" ({loc})" if loc else ""))


class _Packed:
    """Places for some values in one piece of memory."""

    def __init__(self, types: Sequence[TensorType]):
        self.types = types
        *self.offsets, self.nbytes = itertools.accumulate([-(-t.nbytes // _APART) * _APART for t in types], initial=0)


class _Given(_Packed):
    """Inputs in the host's memory, and their last copy on the device."""

    def __init__(self, types: Sequence[TensorType], changes: bool):
        """``changes``: the program changes the copy."""
        super().__init__(types)
        self._changes = changes
        self._last: tuple[int, bytes, Memory] | None = None

    def copied(self, device: Device, where: Sequence[int]) -> Memory:
        """A copy of the values at these addresses of the host. The host does not wait for it. Equal values, a learning rate for
        example, are not copied again.
        """
        few = not self._changes and self.nbytes <= _FEW
        data = b"".join([ctypes.string_at(a, t.nbytes) for a, t in zip(where, self.types, strict=True)]) if few else b""
        last = self._last
        if few and last is not None and last[:2] == (device.stream, data):
            return last[2]
        staged = pinned(device, (self.nbytes,), np.dtype(np.uint8))
        start = host_address(staged)
        for offset, address, t in zip(self.offsets, where, self.types, strict=True):
            ctypes.memmove(start + offset, address, t.nbytes)
        found = to_device(staged, device, wait=False).memory
        assert isinstance(found, Memory)
        self._last = (device.stream, data, found) if few else None
        return found


class _Block(_Packed):
    """Results that share an allocation. ``numbers`` are theirs among all results."""

    def __init__(self, numbers: Sequence[int], types: Sequence[TensorType]):
        super().__init__(types)
        self.places = dict(zip(numbers, self.offsets, strict=True))
        self._layouts = [(k, t.shape, t.dtype.numpy, offset) for (k, offset), t in zip(self.places.items(), types, strict=True)]

    def allocate(self, device: Device, results: dict[int, DeviceArray]) -> int:
        """The address of new memory for the results, which are entered into ``results``."""
        memory = Memory(device, self.nbytes)
        whole = device.layout(memory.address, (max(self.nbytes, 1),), np.dtype(np.uint8))
        for k, shape, dtype, offset in self._layouts:
            results[k] = DeviceArray(np.ndarray(shape, dtype, whole, offset), Part(memory, offset))  # type: ignore[arg-type]
        return memory.address


def _blocks(types: Sequence[TensorType]) -> list[_Block]:
    """The allocations of the results: one for all small ones, one for each of the others. A number is often kept, a loss for
    example, and would keep the others: it has its own too.
    """
    small = [k for k, t in enumerate(types) if t.nbytes <= _SMALL and t.numel > 1]
    others = [[k] for k in range(len(types)) if k not in small]
    return [_Block(numbers, [types[k] for k in numbers]) for numbers in (*([small] if small else []), *others)]


def _parts(plan: Plan, device: Device, steps: range) -> list[_OnDevice | _OnHost]:
    """Some of the plan's steps, in parts that the device runs without the host, and steps of the host."""
    tasks = [_task(kind, device) for kind in plan.kinds]
    ends = [*plan.starts, len(plan.words)][1:]
    spans = [slice(start, end) for start, end in zip(plan.starts, ends, strict=True)]
    parts: list[_OnDevice | _OnHost] = []
    for here, some in itertools.groupby(steps, lambda i: tasks[plan.steps[i]] is not None):
        first, *_ = chosen = list(some)
        if here:
            given = [task for i in chosen if (task := tasks[plan.steps[i]]) is not None]
            after = [[j - first for j in plan.after[i] if j >= first] for i in chosen]
            parts.append(_OnDevice(device, given, [spans[i] for i in chosen], after))
        else:
            parts += [_OnHost(device, plan.kinds[plan.steps[i]], spans[i]) for i in chosen]
    return parts


def _task(kind: StepKind, device: Device) -> Task | None:
    """What the device does for a step; None if the host computes it."""
    if kind.source:
        return Kernel(kind.source, *kind.launch)
    graph = _parsed(kind.fallback)
    op = graph.ops[0] if len(graph.ops) == 1 else None
    if op is None or op.primitive not in (addmm, matmul) or op.operands != graph.inputs:
        return None
    inner = op.operands[0].shape[-2 if op.attrs["ta"] else -1]  # the library takes no matrices without terms
    return _product(op) if device.multiplies(op.operands[0].dtype) and inner else None


def _product(op: Op) -> Product:
    """A product as a task. A batch times one matrix is the product of all rows with it."""
    a, b, *bias = [v.type for v in op.operands]
    out, ta = op.result.type, op.attrs["ta"]
    if len(a.shape) > 2 == len(b.shape) and not ta:
        a, out = (TensorType(t.dtype, (math.prod(t.shape[:-1]), t.shape[-1]), t.device) for t in (a, out))
    return Product(a, b, out, ta, op.attrs["tb"], bias[0] if bias else None, Device.tf32 and a.dtype is float32)


class _OnDevice:
    """Steps that follow one another on the device. From the second run on they are one unit of work, if the device has such:
    making it pays only for programs that are run again.
    """

    def __init__(self, device: Device, tasks: Sequence[Task], spans: Sequence[slice], after: Sequence[Sequence[int]]):
        for task in dict.fromkeys(tasks):
            device.prepare(task)
        self._lock = threading.Lock()
        self._runs = 0
        self._started = self._in_order = device.in_order(tasks, spans)
        self._together = (lambda: device.graph(tasks, spans, after)) if len(tasks) > 1 else (lambda: None)

    def start(self, words: np.ndarray[Any, Any]) -> None:
        with self._lock:
            if self._runs == 1:
                self._started = self._together() or self._started
            self._runs = min(self._runs + 1, 2)
            try:
                self._started.start(words)
            except NotStarted as e:
                warnings.warn(f"{e}; kernels are launched one by one instead of as a graph", UserWarning, stacklevel=2)
                self._started = self._in_order
                self._started.start(words)


class _OnHost:
    """A step that the host computes, on copies."""

    def __init__(self, device: Device, kind: StepKind, span: slice):
        self._device, self._graph, self._span = device, _parsed(kind.fallback), span

    def start(self, words: np.ndarray[Any, Any]) -> None:
        graph, device = self._graph, self._device
        values = [_at(a, v.type, device) for a, v in zip(words[self._span].tolist(), (*graph.inputs, *graph.outputs))]  # noqa: B905 the step's status cell and numbers follow
        operands, results = values[: len(graph.inputs)], values[len(graph.inputs) :]
        for op in graph.ops:
            warn_of(op.primitive.name)
        for result, array in zip(results, evaluate(graph, *map(to_host, operands)), strict=True):
            if result.size:
                device.write(result.address, np.ascontiguousarray(array))


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> Graph:
    return parse_graph(text)


def _at(address: int, type: TensorType, device: Device) -> DeviceArray:
    return DeviceArray(device.layout(address, type.shape, type.dtype.numpy), Borrowed(device))
