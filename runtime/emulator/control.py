"""Control flow: branches, exits and barriers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .grid import Group
from .operands import reader, spread
from .parse import Instruction, Symbol

if TYPE_CHECKING:
    from .run import Run

# Takes the program counter, the threads there, and the mask of those whose guard holds (None: all). Returns the next
# program counter of the whole group, or None if it was split or suspended; then the run holds the threads.
Control = Callable[["Run", int, Group, np.ndarray | None], int | None]


def control(instruction: Instruction, labels: dict[str, int], tables: dict[str, list[str]]) -> Control | None:
    """The control function of an instruction; None if it has no effect on control flow."""
    name = instruction.name
    if name == "bra":
        return _branch(labels[_label(instruction, 0)])
    if name == "brx":
        return _indexed(instruction, [labels[label] for label in tables[_label(instruction, 1)]])
    if name in ("ret", "exit"):
        return _exit
    if name == "trap":
        return _trap
    if name in ("bar", "barrier") and instruction.modifiers[:1] != ("warp",):
        return _barrier(instruction)
    return None


def _label(instruction: Instruction, place: int) -> str:
    operand = instruction.operands[place]
    if not isinstance(operand, Symbol):
        raise NotImplementedError(instruction.text)
    return operand.name


def split(group: Group, mask: np.ndarray | None) -> tuple[Group, Group]:
    """The threads that execute an instruction, and those whose guard is false."""
    if mask is None:
        return group, group.where(np.zeros(group.count, bool))
    return group.where(mask), group.where(~mask)


def _branch(target: int) -> Control:
    def move(run: Run, pc: int, group: Group, mask: np.ndarray | None) -> int | None:
        if mask is None:
            return target
        taken = np.count_nonzero(mask)
        if taken == group.count:
            return target
        if taken == 0:
            return pc + 1
        run.join(target, group.where(mask))
        run.join(pc + 1, group.where(~mask))
        return None

    return move


def _indexed(instruction: Instruction, targets: list[int]) -> Control:
    read = reader(instruction.operands[0], "u32")

    def move(run: Run, pc: int, group: Group, mask: np.ndarray | None) -> None:
        active, rest = split(group, mask)
        index = spread(read(run, active), active)
        if active.count and index.max() >= len(targets):
            raise run.grid.fault("out of bounds", run.kernel.texts[pc], active.threads[int(np.argmax(index))], "no such label")
        for k, target in enumerate(targets):
            run.join(target, active.where(index == k))
        run.join(pc + 1, rest)

    return move


def _exit(run: Run, pc: int, group: Group, mask: np.ndarray | None) -> None:
    active, rest = split(group, mask)
    run.end(active)
    run.join(pc + 1, rest)


def _trap(run: Run, pc: int, group: Group, mask: np.ndarray | None) -> int:
    active, _ = split(group, mask)
    if active.count:
        raise run.grid.fault("trap", run.kernel.texts[pc], active.threads[0])
    return pc + 1


def _barrier(instruction: Instruction) -> Control:
    if not {"sync", "cta", "aligned"} >= set(instruction.modifiers) or "sync" not in instruction.modifiers:
        raise NotImplementedError(instruction.text)
    if len(instruction.operands) != 1:
        raise NotImplementedError(f"a barrier for a part of the block: {instruction.text}")

    def move(run: Run, pc: int, group: Group, mask: np.ndarray | None) -> None:
        active, rest = split(group, mask)
        run.join(pc + 1, rest)
        run.arrive(pc, active)

    return move
