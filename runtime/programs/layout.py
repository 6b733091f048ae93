"""From a fused graph to its program's plan: the steps in order, and the memory of every value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...codegen import cpu, cuda
from ...codegen.fusion import lower, written
from ...codegen.library import LARGE_PRODUCT, gathered_fold, lower_op
from ...codegen.mapping import Mapped, mapped
from ...codegen.nest import Kernel
from ...codegen.placed import apart_from_places, with_places
from ...codegen.ranges import divided
from ...codegen.scatter import stages
from ...ir.graph import Builder, Graph, Op, Value
from ...ir.interp import EVALUATE
from ...ir.ops import (
    RENAMING,
    addmm,
    adjoin,
    argsort,
    blank,
    constant,
    contract,
    fold,
    fusion,
    index_add,
    matmul,
    scatter_add,
    set_at,
    write_slice,
)
from ...ir.passes.grouping import has_kernel
from ...ir.primitive import Kind
from ..support.memory import ALIGNMENT, arrange
from .dependencies import Access, predecessors
from .plan import STATUS, Plan, StepKind
from .sharing import Sharing, changed, identity


def lay_out(graph: Graph, device: str = "cpu") -> Plan:
    """The plan of a fused graph for a device, ``cpu`` or ``cuda``."""
    layout = Layout(graph, device)
    layout.write()
    return layout.plan


def steps_of(graph: Graph) -> list[tuple[Op, list[Value]]]:
    """For each step of a fused graph's plan, its operation and the values that it reads and writes."""
    return [(step.op, step.arrays) for step in Layout(graph, "cpu").steps]


_ALIGNMENTS = {"cpu": ALIGNMENT, "cuda": 256}  # bytes


@dataclass(frozen=True)
class _Step:
    """One step: its operation, the number of its kind, its kernel, the values of its arrays."""

    op: Op
    kind: int
    kernel: Kernel | None
    arrays: list[Value]


class Layout:
    """Decides the steps and the place of every value: an input's or result's slot, the arena, or the constants."""

    def __init__(self, graph: Graph, device: str):
        self.graph = graph
        self.plan = Plan([v.type for v in graph.inputs], [v.type for v in graph.outputs], graph.updates, device)
        self._alignment = _ALIGNMENTS[device]
        self._places: dict[Value, tuple[str, int]] = {v: ("slot", i) for i, v in enumerate(graph.inputs)}
        self._sharing = Sharing(graph)
        for j, k in enumerate(self.plan.results):
            self._places[self.root(graph.outputs[k])] = ("slot", len(graph.inputs) + j)
        self._constants = bytearray()
        self._part_of: dict[Value, tuple[Value, int]] = {}
        self._kinds: dict[tuple, tuple[int, Kernel | None]] = {}
        # Bodies, by identity: the first one with the same structure, and the starts of the body's slices.
        self._alike: dict[int, tuple[int, list[int]]] = {}
        self._first: dict[tuple, int] = {}
        self._readers = self._last_reads()
        copies = self._place_updates()
        self.steps: list[_Step] = []
        for op in [*self._sharing.ops, *(op for op, _ in copies)]:
            if op.primitive is constant:
                self._add_constant(op)
            elif op.primitive is adjoin:
                self._adjoin(op)
            elif device == "cuda" and op.primitive in (index_add, scatter_add):
                self.steps += self._scatter(op)
            elif op.primitive not in RENAMING and op.primitive is not blank:
                self.steps.append(self._step(op))
        for op, i in copies:
            self._places[op.result] = ("slot", i)
        self._arrange_arena()

    def write(self) -> None:
        """Writes the steps and their argument blocks into the plan."""
        plan = self.plan
        plan.constants = bytes(self._constants)
        words, relocations = plan.words, plan.relocations
        for i, step in enumerate(self.steps):
            kind = plan.kinds[step.kind]
            plan.steps.append(step.kind)
            plan.starts.append(len(words))
            for v in step.arrays:
                base, where, offset = self.place(v)
                if base == "slot":
                    plan.patches.append((len(words), where, offset))
                    words.append(0)
                else:
                    relocations.setdefault(base, []).append(len(words))
                    words.append(where + offset)
            values = step.kernel.values if step.kernel is not None else []
            if plan.device == "cpu":
                words += values
            relocations.setdefault("status", []).append(len(words))
            words.append(i * STATUS)
            if called := _PRODUCT.search(kind.source):
                relocations.setdefault(called[1], []).append(len(words))
            words += [0] if plan.device == "cpu" else [*values, 0, kind.domain]
            if kind.checks or (not kind.source and not self._by_library(step.op)):
                plan.locs[i] = step.op.loc
        if plan.device == "cuda":
            plan.after = predecessors([self._accesses(step) for step in self.steps])
        risky = self.steps[: max(plan.locs, default=-1) + 1]
        written = {self.place(v)[:2] for s in risky for v in s.op.results}
        plan.unsafe = [i for i in sorted(set(plan.updates.values())) if ("slot", i) in written]
        plan.unsafe_results = [j for j in range(len(plan.results)) if ("slot", len(plan.inputs) + j) in written]

    def _accesses(self, step: _Step) -> list[Access]:
        """What a step reads and writes."""
        found = []
        kernel = step.kernel
        for k, v in enumerate(step.arrays):
            base, where, offset = self.place(v)
            memory, low = ((base, where), offset) if base == "slot" else (base, where + offset)
            written = v in step.op.results if kernel is None else kernel.arrays[k].name in kernel.written
            found.append(Access(memory, low, low + v.type.nbytes, written))
        return found

    def root(self, v: Value) -> Value:
        """The value that owns the memory of ``v``: others only name it, or write a slice of it."""
        return self._sharing.root(v)

    def place(self, v: Value) -> tuple[str, int, int]:
        """The kind of memory, its number (a slot, or an offset), and the offset in bytes."""
        whole, offset = self._whole(v)
        return *self._places[whole], offset

    def _whole(self, v: Value) -> tuple[Value, int]:
        """The value that owns the memory of which ``v`` is a part, and the offset of that part."""
        v, offset = self.root(v), 0
        while v in self._part_of:
            v, more = self._part_of[v]
            offset += more
        return v, offset

    def _adjoin(self, op: Op) -> None:
        """Computes the operands directly in the result's memory; operands that live elsewhere, or occur twice, are copied."""
        offset = 0
        for v in op.operands:
            part = self.root(v)
            if part.op is None or part.op.primitive in (constant, adjoin) or part in self._places or part in self._part_of:
                copy = identity(v)
                self.steps.append(self._step(copy))
                part = copy.result
            self._part_of[part] = op.result, offset
            offset += v.type.nbytes

    def _last_reads(self) -> dict[Value, list[int]]:
        readers: dict[Value, list[int]] = {}
        for i, op in enumerate(self._sharing.ops):
            for v in op.operands:
                if op.primitive not in RENAMING:
                    readers.setdefault(self.root(v), []).append(i)
        return readers

    def _place_updates(self) -> list[tuple[Op, int]]:
        """Writes updated values directly into their inputs' memory if no later step reads the old value.

        Returns the copies that the others need at the end, with the input that each goes to.
        """
        position = {op: i for i, op in enumerate(self._sharing.ops)}
        copies: list[tuple[Op, int]] = []
        self.inplace: dict[Op, dict[int, int]] = {}
        for k, i in self.graph.updates.items():
            new, old = self.graph.outputs[k], self.graph.inputs[i]
            if self.root(new) is old:
                continue
            op = self.root(new).op
            last = max(self._readers.get(old, [-1]))
            at = position[op] if op is not None else -1
            # The parts of a concatenated value are written earlier than its own step.
            if op is None or op.primitive in (constant, adjoin) or self.root(new) in self._places or last > at:
                copies.append((identity(new), i))
                continue
            if last == at:
                operand = self._replaced_operand(op, self.root(new), old)
                if operand is None:
                    copies.append((identity(new), i))
                    continue
                self.inplace.setdefault(op, {})[op.results.index(self.root(new))] = operand
            self._places[self.root(new)] = ("slot", i)
        return copies

    def _replaced_operand(self, op: Op, new: Value, old: Value) -> int | None:
        """The operand of a fusion that its result may overwrite: it, and values computed from it, are read only at that
        element.
        """
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
        self._constants += bytes(-len(self._constants) % self._alignment)
        self._places[op.result] = ("constants", len(self._constants))
        self._constants += array.tobytes()

    def _step(self, op: Op) -> _Step:
        reused = self.inplace.get(op, {})
        kind, kernel = self._kind(op, reused)
        if kernel is None:
            return _Step(op, kind, None, [*op.operands, *op.results])
        writes = written(op.attrs["body"]) if op.primitive is fusion else []
        results = [*writes, *(i for i in range(len(op.results)) if i not in reused and i not in writes)]
        return _Step(op, kind, kernel, [*op.operands, *(op.results[i] for i in results)])

    def _scatter(self, op: Op) -> list[_Step]:
        """The steps of indexed sums, by sorting."""
        steps = []
        for stage in stages(op):
            kernel, kind = self._given(stage.name, stage.mapped)
            steps.append(_Step(op, self._numbered(kind), kernel, stage.arrays))
        return steps

    def _numbered(self, kind: StepKind) -> int:
        """The number of a kind; equal kinds share it."""
        if kind in self.plan.kinds:
            return self.plan.kinds.index(kind)
        self.plan.kinds.append(kind)
        return len(self.plan.kinds) - 1

    def _kind(self, op: Op, reused: dict[int, int]) -> tuple[int, Kernel | None]:
        """The common data of equal steps, computed once. Steps that differ in the starts of slices share it."""
        starts: list[int] = []
        body = op.attrs.get("body")
        if body is None:
            key: tuple = op.primitive, tuple([v.type for v in op.operands]), repr(op.attrs)
        else:
            if id(body) not in self._alike:
                structure, starts = self._structure(body)
                self._alike[id(body)] = self._first.setdefault(structure, id(body)), starts
            first, starts = self._alike[id(body)]
            key = first, tuple(reused.items())
        if key not in self._kinds:
            name = op.primitive.name if body is None else f"@{body.name}"
            if not self._has_kernel(op) or not self._is_lowered(body):
                kernel, kind = None, StepKind(name, "", str(_alone(op) if body is None else body), 1, False, [])
            else:
                kernel = self._lowered(op) if body is None else lower(self._placed(body), reused)
                kernel, kind = self._with_text(name, op, kernel)
            self._kinds[key] = len(self.plan.kinds), kernel
            self.plan.kinds.append(kind)
        number, kernel = self._kinds[key]
        return number, kernel.at(starts) if kernel is not None and kernel.places else kernel

    def _is_lowered(self, body: Graph | None) -> bool:
        """True if a fusion's body becomes a kernel."""
        return body is None or all(map(self._has_kernel, body.ops))

    def _structure(self, body: Graph) -> tuple[tuple[Any, ...], list[int]]:
        """What bodies with the same kernel have in common, and the starts of slices that its arguments hold."""
        return apart_from_places(body) if self._shares_places(body) else (body.structure(), [])

    def _placed(self, body: Graph) -> Graph:
        return with_places(body) if self._shares_places(body) else body

    def _shares_places(self, body: Graph) -> bool:
        """True if the kernel does not depend on where slices begin. Kernels for GPUs depend on the alignment of slices."""
        return self.plan.device == "cpu" and self._is_lowered(body)

    def _lowered(self, op: Op) -> Kernel:
        """The kernel of a separate operation."""
        return gathered_fold(op) if self.plan.device == "cuda" and op.primitive is fold else lower_op(op)

    def _has_kernel(self, op: Op) -> bool:
        """True if a kernel is generated for an operation on this device. Sorts run on the host."""
        return has_kernel(op) and not self._by_library(op) and not (self.plan.device == "cuda" and op.primitive is argsort)

    def _by_library(self, op: Op) -> bool:
        """True if an operation is a product that the device's library computes."""
        return op.primitive is addmm or (self.plan.device == "cuda" and op.primitive is matmul)

    def _with_text(self, name: str, op: Op, kernel: Kernel) -> tuple[Kernel, StepKind]:
        """The kernel for the device, and the common data of its steps."""
        if self.plan.device == "cpu":
            kernel = divided(kernel)
            text = cpu.source(kernel)
            checks = [[error.__name__, message] for error, message in kernel.checks]
            return kernel, StepKind(name, text, "", kernel.domain, _is_large(op, kernel, text), checks)
        return self._given(name, mapped(kernel))

    @staticmethod
    def _given(name: str, given: Mapped) -> tuple[Kernel, StepKind]:
        kernel, launch = given.kernel, (given.launch.blocks, given.launch.threads)
        checks = [[error.__name__, message] for error, message in kernel.checks]
        return kernel, StepKind(name, cuda.source(given), "", kernel.domain, False, checks, launch)

    def _arrange_arena(self) -> None:
        lives: dict[Value, list[int]] = {}
        for i, step in enumerate(self.steps):
            for v in step.arrays:
                r, _ = self._whole(v)
                if r not in self._places:
                    lives.setdefault(r, [i, i])[1] = i
        offsets, self.plan.arena = arrange(
            [(v.type.nbytes, first, last) for v, (first, last) in lives.items()], self._alignment
        )
        for v, offset in zip(lives, offsets, strict=True):
            self._places[v] = ("arena", offset)


_LARGE = 1 << 18  # element operations: some tens of microseconds
_PRODUCT = re.compile(r"(\w+)\(gemm,")  # the function that a kernel calls


def _is_large(op: Op, kernel: Kernel, text: str) -> bool:
    """True if the work is worth dividing among threads."""
    if kernel.domain < 2 * kernel.grain:
        return False
    if op.primitive is contract:
        return 2.0 * math.prod(op.attrs["extents"]) >= LARGE_PRODUCT
    if "(gemm," in text:
        inner = op.operands[0].shape[-2 if op.attrs["ta"] else -1]
        return 2.0 * math.prod(op.result.shape) * inner >= LARGE_PRODUCT
    body = op.attrs["body"].ops if op.primitive is fusion else ()
    operations = len(body) if op.primitive is fusion else 1
    values = [*op.operands, *op.results, *(o.result for o in body)]
    if changed(op):  # only the parts
        values = [v for o in (body or [op]) for v in (o.operands[1:] if o.primitive in (write_slice, set_at) else o.results)]
    elements = max([v.type.numel for v in values])
    return elements * (operations + 1) >= _LARGE


def _alone(op: Op) -> Graph:
    """A graph of one operation."""
    builder = Builder(op.primitive.name)
    inputs = [builder.input(v.type) for v in op.operands]
    return builder.finish(builder.add(op.primitive, inputs, op.attrs, [v.type for v in op.results]))
