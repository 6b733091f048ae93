"""A plan for a device, run there: kernels are launched, products computed by the device's library, and the rest on the host."""

from __future__ import annotations

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
from .array import DeviceArray, Memory, to_host, warn_of
from .device import Device


class DeviceProgram:
    """The executable form of a plan on a device."""

    def __init__(self, plan: Plan, device: Device):
        self.plan, self.device = plan, device
        self._words = np.array(plan.words or [0], np.int64)
        self._constants = Memory(device, len(plan.constants))
        if plan.constants:
            device.write(self._constants.address, np.frombuffer(plan.constants, np.uint8))
        self._checks = any(plan.kinds[k].checks for k in plan.steps)

    @property
    def nbytes(self) -> int:
        """The memory that is kept between calls."""
        return len(self.plan.constants)

    def run(self, inputs: Sequence[DeviceArray]) -> list[DeviceArray]:
        """The results that are not updates. Inputs are contiguous; updated ones are overwritten.

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
        slots = [a.address for a in (*inputs, *results)]
        for position, slot, offset in plan.patches:
            words[position] = slots[slot] + offset
        ends = [*plan.starts[1:], len(words)]
        for k, start, end in zip(plan.steps, plan.starts, ends, strict=True):
            kind, arguments = plan.kinds[k], words[start:end].tolist()
            if kind.source:
                device.launch(kind.source, kind.launch, arguments)
            else:
                _without_kernel(kind, arguments, bases.values(), (*inputs, *results))
        if self._checks:
            self._raise_failure(device.read(status.address, status.nbytes).view(np.int64).reshape(-1, 2))
        return results

    def _raise_failure(self, status: np.ndarray[Any, Any]) -> None:
        for i, loc in self.plan.locs.items():
            site, bad = status[i]
            if site:
                error, message = self.plan.kinds[self.plan.steps[i]].checks[site - 1]
                raise ERRORS[error](message.format(bad) + (f" ({loc})" if loc else ""))


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> Graph:
    return parse_graph(text)


def _without_kernel(kind: StepKind, arguments: Sequence[int], memory: Any, arrays: Sequence[DeviceArray]) -> None:
    graph = _parsed(kind.fallback)
    owners = [*memory, *(a.memory for a in arrays)]
    values = [_at(address, v.type, owners) for address, v in zip(arguments, (*graph.inputs, *graph.outputs), strict=False)]
    operands, results = values[: len(graph.inputs)], values[len(graph.inputs) :]
    device = results[0].device
    (op, *others) = graph.ops
    if op.primitive is matmul and not others and op.operands == graph.inputs:
        (a, b), (out,) = operands, results
        device.product(a, b, out, op.attrs["ta"], op.attrs["tb"])
        return
    for op in graph.ops:
        warn_of(op.primitive.name)
    for result, array in zip(results, evaluate(graph, *map(to_host, operands)), strict=True):
        if result.size:
            device.write(result.address, np.ascontiguousarray(array))


def _at(address: int, type: TensorType, owners: Sequence[Memory]) -> DeviceArray:
    owner = next(m for m in owners if m.address <= address and address + type.nbytes <= m.address + max(m.nbytes, 1))
    return owner.array(type.shape, type.dtype.numpy, address - owner.address)
