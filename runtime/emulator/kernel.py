"""Compiles a kernel for emulation: instructions to functions, and the layout of its memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import access, elementwise, warp
from .control import Control, control
from .elementwise import Execute
from .grid import Group
from .memory import GAP, rounded_up
from .operands import Reader, reader
from .parse import DTYPES, NO_EFFECT, Function, Instruction, Register, Variable, parse

if TYPE_CHECKING:
    from .run import Run


@dataclass(frozen=True)
class Step:
    """A compiled instruction: ``control`` for those that affect control flow, ``execute`` for all others."""

    text: str
    guard: Reader | None
    execute: Execute | None
    control: Control | None


@dataclass(frozen=True)
class Layout:
    """Offsets of the variables of one state space, within the part of each block or thread."""

    offsets: dict[str, int]
    variables: tuple[Variable, ...]
    size: int


class Kernel:
    """A kernel of a PTX module: the one of that name, or the only one."""

    def __init__(self, text: str, name: str | None = None) -> None:
        function = parse(text, name)
        self.name, self.parameters, self.limit = function.name, function.parameters, function.limit
        self.registers = function.registers
        self.watched = _read_early(function)
        self.code = [self._step(function, i) for i in function.code]
        self.texts = [i.text for i in function.code]
        self.tables = [v for v in function.variables if v.space in ("global", "const")]
        self.shared = _layout([v for v in function.variables if v.space == "shared"])
        self.local = _layout([v for v in function.variables if v.space == "local"])
        self._instructions = function.code

    def cell(self, space: str) -> int:
        """The size of the smallest element that the kernel loads or stores in a space."""
        here = [
            DTYPES[i.type].itemsize
            for i in self._instructions
            if i.name in ("ld", "ldu", "st", "atom", "red") and access.space_of(i) in (space, "generic")
        ]
        return min(here, default=4)

    def _step(self, function: Function, instruction: Instruction) -> Step:
        moves = control(instruction, function.labels, function.tables)
        execute = None if moves else _execute(instruction)
        guard = _guard(instruction)
        watched = [r for r in instruction.reads() + instruction.writes() if r.key in self.watched]
        if watched and execute is not None:
            execute = _watching(instruction, execute, self.watched)
        if instruction.guard is not None and instruction.guard.key in self.watched and guard is not None:
            guard = _watching_guard(instruction, guard)
        lanes = warp.mask_of(instruction)
        if lanes is not None and execute is not None:
            return Step(instruction.text, guard, None, _together(execute, lanes))
        return Step(instruction.text, guard, execute, moves)


def _execute(instruction: Instruction) -> Execute:
    if instruction.name in NO_EFFECT:
        return lambda run, group: None
    for sort in (elementwise, access, warp):
        try:
            execute = sort.compiled(instruction)
        except (ValueError, KeyError, IndexError) as error:
            raise NotImplementedError(f"{instruction.text}: {error}") from error
        if execute is not None:
            return execute
    raise NotImplementedError(instruction.text)


def _guard(instruction: Instruction) -> Reader | None:
    if instruction.guard is None:
        return None
    plain = reader(instruction.guard, "pred")
    return (lambda run, group: ~plain(run, group)) if instruction.negated else plain


def _together(execute: Execute, lanes: Reader) -> Control:
    return lambda run, pc, group, mask: run.together(pc, group, mask, execute, lanes)


def _layout(variables: Iterable[Variable]) -> Layout:
    """Places variables with gaps between them. Those of dynamic size share the last offset, as on hardware."""
    ordered = sorted(variables, key=lambda v: v.external)
    offsets, top = {}, 0
    for variable in ordered:
        offsets[variable.name] = rounded_up(top, max(variable.align, 16))
        if not variable.external:
            top = offsets[variable.name] + variable.size + GAP
    return Layout(offsets, tuple(ordered), top)


# Reads of uninitialised registers.


def _is_copy(instruction: Instruction) -> bool:
    """Copies of undefined values are no faults: compilers emit them for values that are not used later."""
    return instruction.name == "mov" and len(instruction.operands) == 2 and isinstance(instruction.operands[1], Register)


def _read_early(function: Function) -> frozenset[int]:
    """The registers that some path through the kernel may read before it writes them.

    Only these are checked at run time. Sets of definitely assigned registers are bit masks in Python integers.
    """
    code = function.code
    written: list[int | None] = [None] * len(code)
    pending = [(0, 0)] if code else []
    while pending:
        at, known = pending.pop()
        while at < len(code):
            before = written[at]
            known = known if before is None else known & before
            if known == before:
                break
            written[at] = known
            instruction = code[at]
            after = _after(instruction, known)
            pending.extend((target, after) for target in _targets(instruction, function))
            if _ends(instruction):
                break
            at, known = at + 1, after
    reads = zip(code, written, strict=True)
    return frozenset(r.key for i, known in reads if known is not None for r in i.reads() if not known >> r.key & 1)


def _after(instruction: Instruction, known: int) -> int:
    source = instruction.reads()[-1] if _is_copy(instruction) else None
    for register in instruction.writes():
        if source is not None and not known >> source.key & 1:
            known &= ~(1 << register.key)
        elif instruction.guard is None:
            known |= 1 << register.key
    return known


def _targets(instruction: Instruction, function: Function) -> list[int]:
    if instruction.name == "bra":
        return [function.labels[getattr(instruction.operands[0], "name", "")]]
    if instruction.name == "brx":
        return [function.labels[label] for label in function.tables[getattr(instruction.operands[1], "name", "")]]
    return []


def _ends(instruction: Instruction) -> bool:
    return instruction.guard is None and instruction.name in ("bra", "brx", "ret", "exit", "trap")


def _check_defined(run: Run, group: Group, registers: list[Register], text: str) -> None:
    for register in registers:
        defined = run.defined[register.key][group.at]
        if not defined.all():
            thread = group.threads[int(np.argmin(defined))]
            raise run.grid.fault("uninitialised register", text, thread, register.name)


def _watching(instruction: Instruction, execute: Execute, watched: frozenset[int]) -> Execute:
    """Adds the run-time check of the registers in ``watched`` to an instruction."""
    reads = [r for r in instruction.reads() if r.key in watched and r != instruction.guard]
    writes = [r for r in instruction.writes() if r.key in watched]
    source = reads[0] if _is_copy(instruction) and reads else None

    def execute_watching(run: Run, group: Group) -> None:
        if source is None:
            _check_defined(run, group, reads, instruction.text)
        execute(run, group)
        for register in writes:
            run.defined[register.key][group.at] = True if source is None else run.defined[source.key][group.at]

    return execute_watching


def _watching_guard(instruction: Instruction, guard: Reader) -> Reader:
    def read(run: Run, group: Group) -> np.ndarray:
        _check_defined(run, group, [instruction.guard] if instruction.guard else [], instruction.text)
        return guard(run, group)

    return read
