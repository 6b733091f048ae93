"""Loads, stores and atomic operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .elementwise import Execute
from .grid import Group
from .operands import addresses, reader, spread, writer
from .parse import DTYPES, Address, Instruction, Operand, Symbol, Vector

if TYPE_CHECKING:
    from .memory import Space
    from .run import Run

SPACES = ("global", "shared", "local", "const", "param")
# .acquire and .release are left out: the race detection does not model the order that they establish.
_CACHED = frozenset(("weak", "volatile", "relaxed", "nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "v2", "v4"))
_SCOPES = frozenset(("cta", "gpu", "sys"))


def space_of(instruction: Instruction) -> str:
    """The state space in the instruction's name, or ``generic``."""
    for modifier in instruction.modifiers:
        if modifier.partition(":")[0] in SPACES:
            return modifier.partition(":")[0]
    return "generic"


def compiled(instruction: Instruction) -> Execute | None:
    if instruction.name in ("ld", "ldu"):
        return _load_parameter(instruction) if space_of(instruction) == "param" else _load(instruction)
    if instruction.name == "st":
        return _store(instruction)
    if instruction.name in ("atom", "red"):
        return _atomic(instruction)
    return None


def _check(instruction: Instruction, known: frozenset[str]) -> None:
    for modifier in instruction.modifiers:
        name = modifier.partition(":")[0]
        if modifier not in DTYPES and name not in known and name not in SPACES and name not in ("L1", "L2"):
            raise NotImplementedError(instruction.text)


def _parts(operand: Operand) -> tuple[Operand, ...]:
    return operand.parts if isinstance(operand, Vector) else (operand,)


def _load_parameter(instruction: Instruction) -> Execute:
    destination, source = instruction.operands
    if not isinstance(source, Address) or not isinstance(source.base, Symbol):
        raise NotImplementedError(instruction.text)
    name, offset, dtype = source.base.name, source.offset, DTYPES[instruction.type]
    writers = [writer(part, instruction.type) for part in _parts(destination)]

    def execute(run: Run, group: Group) -> None:
        for k, write in enumerate(writers):
            write(run, group, run.parameter(name, offset + k * dtype.itemsize, dtype))

    return execute


def _load(instruction: Instruction) -> Execute:
    _check(instruction, _CACHED | _SCOPES)
    destination, source = instruction.operands
    dtype, text, space = DTYPES[instruction.type], instruction.text, space_of(instruction)
    constant = "nc" in instruction.modifiers or instruction.name == "ldu"
    where, writers = addresses(source), [writer(part, instruction.type) for part in _parts(destination)]

    def execute(run: Run, group: Group) -> None:
        memory, at = _resolved(run, space, where(run, group), text)
        rows = memory.load(dtype, len(writers), at, group, text, constant)
        for write, row in zip(writers, rows, strict=True):
            write(run, group, row)

    return execute


def _store(instruction: Instruction) -> Execute:
    _check(instruction, _CACHED | _SCOPES)
    destination, source = instruction.operands
    text, space = instruction.text, space_of(instruction)
    if space in ("param", "const"):
        raise NotImplementedError(text)
    where, readers = addresses(destination), [reader(part, instruction.type) for part in _parts(source)]

    def execute(run: Run, group: Group) -> None:
        memory, at = _resolved(run, space, where(run, group), text)
        memory.store(np.stack([spread(read(run, group), group) for read in readers]), at, group, text)

    return execute


def _resolved(run: Run, space: str, where: np.ndarray, text: str) -> tuple[Space, np.ndarray]:
    """The memory space of an access, and the addresses within it. Generic addresses encode the space as a window."""
    if space != "generic":
        return run.spaces[space], where
    for name, window in run.windows.items():
        inside = (where >= window) & (where < 2 * window)
        if inside.all():
            return run.spaces[name], where - np.uint64(window)
        if inside.any():
            raise NotImplementedError(f"threads with addresses of different spaces: {text}")
    return run.spaces["global"], where


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda old, b: old + b,
    "min": lambda old, b: np.minimum(old, b),
    "max": lambda old, b: np.maximum(old, b),
    "and": lambda old, b: old & b,
    "or": lambda old, b: old | b,
    "xor": lambda old, b: old ^ b,
    "exch": lambda old, b: b,
    "cas": lambda old, b, c: c if old == b else old,
}


def _atomic(instruction: Instruction) -> Execute:
    """Runs the threads one by one. Floating-point operations are left out: their results depend on the order."""
    _check(instruction, {"relaxed", *_SCOPES} | frozenset(_OPERATIONS))
    dtype, text, space = DTYPES[instruction.type], instruction.text, space_of(instruction)
    operation = next((f for m, f in _OPERATIONS.items() if m in instruction.modifiers), None)
    if operation is None or dtype.kind not in "iu":
        raise NotImplementedError(text)
    has_result = instruction.name == "atom"
    write = writer(instruction.operands[0], instruction.type) if has_result else None
    target, *sources = instruction.operands[has_result:]
    where, readers = addresses(target), [reader(s, instruction.type) for s in sources]

    def execute(run: Run, group: Group) -> None:
        memory, at = _resolved(run, space, where(run, group), text)
        numbers, places = memory.update(dtype, at, group, text)
        operands = [spread(read(run, group), group) for read in readers]
        before = np.empty(group.count, dtype)
        for k, place in enumerate(places):
            before[k] = numbers[place]
            numbers[place] = operation(numbers[place], *[x[k] for x in operands])
        if write is not None:
            write(run, group, before)

    return execute
