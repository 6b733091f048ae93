"""A plan for a device, run there: kernels are launched, products computed by the device's library, and the rest on the host."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.graph import Graph
from ...ir.interp import evaluate
from ...ir.ops import matmul
from ...ir.parse import parse_graph
from ...ir.types import TensorType
from ..programs.plan import STATUS, Plan, StepKind
from ..programs.program import ERRORS
from .array import Borrowed, DeviceArray, Memory, to_device, to_host, warn_of
from .device import Device


class DeviceProgram:
    """The executable form of a plan on a device."""

    lock = None  # calls have separate memory

    def __init__(self, plan: Plan, device: Device, on_host: frozenset[int] = frozenset()):
        """``on_host``: inputs in the host's memory. They are copied to the device, and back if they are updated."""
        self.plan, self.device, self.on_host = plan, device, on_host
        self.unsafe, self.unsafe_results, self.may_fail = plan.unsafe, plan.unsafe_results, bool(plan.locs)
        for kind in plan.kinds:
            if kind.source:
                device.prepare(kind.source, kind.launch)
        self._words = np.array(plan.words or [0], np.int64)
        self._constants = Memory(device, len(plan.constants))
        if plan.constants:
            device.write(self._constants.address, np.frombuffer(plan.constants, np.uint8))
        self._checks = any(kind.checks for kind in self.steps)

    @property
    def steps(self) -> list[StepKind]:
        """The steps, in order."""
        return [self.plan.kinds[k] for k in self.plan.steps]

    @property
    def nbytes(self) -> int:
        """The memory that is kept between calls."""
        return len(self.plan.constants)

    def run(self, inputs: Sequence[int]) -> list[DeviceArray]:
        """The results that are not updates. Inputs are given by address and contiguous; updated ones are overwritten.

        Raises IndexError if a position is out of range, RuntimeError for an integer division by zero.
        """
        plan, device = self.plan, self.device
        types = [plan.outputs[k] for k in plan.results]
        results = [Memory(device, t.nbytes).array(t.shape, t.dtype.numpy) for t in types]
        arena, status = Memory(device, plan.arena), Memory(device, STATUS * max(len(plan.steps), 1))
        if self._checks:
            device.write(status.address, np.zeros(STATUS * len(plan.steps), np.uint8))
        words = self._words.copy()
        bases = {"arena": arena, "constants": self._constants, "status": status}
        for base, positions in plan.relocations.items():
            words[positions] += bases[base].address
        copies = {i: self._copy_of(i, inputs[i]) for i in self.on_host}
        slots = [*(copies[i].address if i in copies else a for i, a in enumerate(inputs)), *(a.address for a in results)]
        for position, slot, offset in plan.patches:
            words[position] = slots[slot] + offset
        ends = [*plan.starts, len(words)][1:]
        for kind, start, end in zip(self.steps, plan.starts, ends, strict=True):
            arguments = words[start:end].tolist()
            if kind.source:
                device.launch(kind.source, kind.launch, arguments)
            else:
                _without_kernel(kind, arguments, device)
        if self._checks:
            self._raise_failure(device.read(status.address, status.nbytes).view(np.int64).reshape(-1, 2))
        for i in copies.keys() & set(plan.updates.values()):
            new = to_host(copies[i])
            ctypes.memmove(inputs[i], new.ctypes.data, new.nbytes)
        return results

    def _copy_of(self, i: int, where: int) -> DeviceArray:
        type_ = self.plan.inputs[i]
        data = np.frombuffer(ctypes.string_at(where, type_.nbytes), type_.dtype.numpy)
        return to_device(data.reshape(type_.shape), self.device)

    def _raise_failure(self, status: np.ndarray[Any, Any]) -> None:
        for i, loc in self.plan.locs.items():
            site, bad = status[i]
            if site:
                error, message = self.steps[i].checks[site - 1]
                raise ERRORS[error](message.format(bad) + (f" ({loc})" if loc else ""))


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> Graph:
    return parse_graph(text)


def _without_kernel(kind: StepKind, arguments: Sequence[int], device: Device) -> None:
    graph = _parsed(kind.fallback)
    values = [_at(address, v.type, device) for address, v in zip(arguments, (*graph.inputs, *graph.outputs), strict=False)]
    operands, results = values[: len(graph.inputs)], values[len(graph.inputs) :]
    op = graph.ops[0] if len(graph.ops) == 1 else None
    product = op is not None and op.primitive is matmul and op.operands == graph.inputs
    if op is not None and product and device.multiplies(op.operands[0].dtype):
        (a, b), (out,) = operands, results
        device.product(a, b, out, op.attrs["ta"], op.attrs["tb"])
        return
    for op in graph.ops:
        warn_of(op.primitive.name)
    for result, array in zip(results, evaluate(graph, *map(to_host, operands)), strict=True):
        if result.size:
            device.write(result.address, np.ascontiguousarray(array))


def _at(address: int, type: TensorType, device: Device) -> DeviceArray:
    return DeviceArray(device.layout(address, type.shape, type.dtype.numpy), Borrowed(device))
