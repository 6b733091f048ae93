"""Warp instructions: shuffles, votes, reductions. The run executes them once all lanes in the mask are present."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .elementwise import Execute
from .grid import WARP, Group
from .operands import Reader, reader, spread, writer
from .parse import DTYPES, Immediate, Instruction, Pair

if TYPE_CHECKING:
    from .run import Run

EVERY_LANE = np.uint32(0xFFFFFFFF)


def mask_of(instruction: Instruction) -> Reader | None:
    """The reader of the lane mask; None for instructions that do not wait for other lanes."""
    name, modifiers = instruction.name, instruction.modifiers
    if name in ("shfl", "vote", "redux") and "sync" in modifiers:
        return reader(instruction.operands[-1], "b32")
    if name in ("bar", "barrier") and modifiers[:2] == ("warp", "sync"):
        return reader(instruction.operands[0] if instruction.operands else Immediate(-1), "b32")
    return None


def compiled(instruction: Instruction) -> Execute | None:
    name, modifiers = instruction.name, instruction.modifiers
    if name == "activemask":
        write = writer(instruction.operands[0], "b32")
        return lambda run, group: write(run, group, run.grid.present(group)[run.grid.warp[group.at]])
    if mask_of(instruction) is None:
        return None
    if name == "shfl":
        return _shuffle(instruction)
    if name == "vote":
        return _vote(instruction)
    if name == "redux":
        return _redux(instruction)
    return _synchronise if modifiers else None


def _synchronise(run: Run, group: Group) -> None:
    """Orders accesses within complete warps. Partial masks establish no order here, so false races are possible."""
    present = run.grid.present(group)
    run.warp_clock.advance(np.flatnonzero((present != 0) & (present == run.grid.existing)))


def _sources(mode: str, lane: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """The source lane of each lane, and whether it is in range, by the definition of shfl.sync in the PTX ISA."""
    b, clamp, segment = b & 31, c & 31, c >> 8 & 31
    lowest = lane & segment
    highest = lowest | (clamp & ~segment)
    if mode == "up":
        source = lane - b
        inside = source >= highest
    else:
        source = {"down": lane + b, "bfly": lane ^ b, "idx": lowest | (b & ~segment)}[mode]
        inside = source <= highest
    return np.where(inside, source, lane), inside


def _shuffle(instruction: Instruction) -> Execute:
    target, value, b_operand, c_operand, mask_operand = instruction.operands
    mode, text = next(m for m in instruction.modifiers if m in ("up", "down", "bfly", "idx")), instruction.text
    read, b, c = reader(value, "b32"), reader(b_operand, "u32"), reader(c_operand, "u32")
    mask = reader(mask_operand, "b32")
    both = isinstance(target, Pair)
    write = writer(target.first if both else target, "b32")
    write_inside = writer(target.second, "pred") if both else None

    def execute(run: Run, group: Group) -> None:
        grid, threads = run.grid, group.threads
        lane = grid.lane[group.at]
        source, inside = _sources(mode, lane, b(run, group).astype(np.int64), c(run, group).astype(np.int64))
        named = mask(run, group) & grid.present(group)[grid.warp[group.at]]
        absent = (named >> source.astype(np.uint32) & np.uint32(1)) == 0
        if absent.any():
            k = int(np.argmax(absent))
            raise grid.fault("missing lanes", text, threads[k], f"it reads lane {source[k]}, which is not there")
        values = np.zeros(grid.count, np.uint32)
        values[group.at] = read(run, group)
        write(run, group, values[threads - lane + source])
        if write_inside is not None:
            write_inside(run, group, inside)

    return execute


def _vote(instruction: Instruction) -> Execute:
    target, vote_operand, mask_operand = instruction.operands
    mode = next((m for m in instruction.modifiers if m in _VOTES), None)
    if mode is None:
        raise NotImplementedError(instruction.text)
    vote, mask = reader(vote_operand, "pred"), reader(mask_operand, "b32")
    write = writer(target, "b32" if mode == "ballot" else "pred")

    def execute(run: Run, group: Group) -> None:
        named = mask(run, group)
        everyone = named & run.grid.present(group)[run.grid.warp[group.at]]
        votes = named & run.grid.ballot(group, spread(vote(run, group), group))
        write(run, group, _VOTES[mode](votes, everyone))

    return execute


_VOTES: dict[str, Callable[[Any, Any], Any]] = {
    "ballot": lambda votes, everyone: votes,
    "any": lambda votes, everyone: votes != 0,
    "all": lambda votes, everyone: votes == everyone,
    "uni": lambda votes, everyone: (votes == everyone) | (votes == 0),
}
_REDUCTIONS: dict[str, np.ufunc] = {
    "add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip


def _redux(instruction: Instruction) -> Execute:
    target, value, mask_operand = instruction.operands
    ufunc = next((f for m, f in _REDUCTIONS.items() if m in instruction.modifiers), None)
    dtype = DTYPES[instruction.type]
    if ufunc is None or dtype.kind not in "iu":
        raise NotImplementedError(instruction.text)
    read, mask, write = reader(value, instruction.type), reader(mask_operand, "b32"), writer(target, instruction.type)

    def execute(run: Run, group: Group) -> None:
        values, named = spread(read(run, group), group), spread(mask(run, group), group)
        # Disjoint masks of one warp may be active at once.
        teams = run.grid.warp[group.at] << WARP | named
        result = np.empty(group.count, dtype)
        for team in np.unique(teams):
            members = teams == team
            result[members] = ufunc.reduce(values[members], dtype=dtype)
        write(run, group, result)

    return execute
