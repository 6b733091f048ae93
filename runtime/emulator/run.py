"""Runs a kernel: registers are vectors over all threads, and one NumPy operation runs an instruction for a group."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .control import split
from .elementwise import Execute
from .grid import Grid, Group
from .kernel import Kernel, Layout
from .memory import DECLARED, GAP, WRITTEN, Clock, Space, Watch, rounded_up
from .operands import Reader, spread
from .parse import DTYPES, Parameter

ALIGN = 256  # alignment of allocations
_FIRST = 4096  # lower addresses are invalid


@dataclass(frozen=True)
class Array:
    """An array argument at an address ``align`` bytes above a multiple of 256: aligned to ``align``, but not more."""

    data: np.ndarray
    align: int = 0


Argument = np.ndarray | Array | int | float | np.number


@dataclass(frozen=True)
class Outcome:
    """An array argument after a launch, and which bytes, from its first to its last, the kernel read and wrote."""

    data: np.ndarray
    read: np.ndarray
    written: np.ndarray


def launch(
    kernel: Kernel,
    arguments: Sequence[Argument],
    blocks: int | Sequence[int],
    threads: int | Sequence[int],
    *,
    shared: int = 0,
    limit: int = 10**6,
) -> list[np.ndarray]:
    """Runs a kernel. Returns copies of the array arguments as the kernel left them; the arguments are not changed.

    An array is passed as a pointer to its first element, a number as the parameter's type. Arrays that share memory on
    the host share it in the launch. ``shared``: bytes of dynamic shared memory. ``limit``: maximum number of executed
    instructions. Raises ``Fault``.
    """
    return [outcome.data for outcome in outcomes(kernel, arguments, blocks, threads, shared=shared, limit=limit)]


def outcomes(
    kernel: Kernel,
    arguments: Sequence[Argument],
    blocks: int | Sequence[int],
    threads: int | Sequence[int],
    *,
    shared: int = 0,
    limit: int = 10**6,
) -> list[Outcome]:
    """``launch``, with the bytes that the kernel accessed."""
    grid = Grid(blocks, threads)
    if kernel.limit is not None and grid.threads > kernel.limit:
        raise ValueError(f"{grid.threads} threads in a block; the kernel takes {kernel.limit}")
    arrays = [a if isinstance(a, Array) else Array(a) for a in arguments if isinstance(a, np.ndarray | Array)]
    regions, places, top = _placed(arrays)
    run = Run(kernel, grid, _values(arguments, places), top, shared)
    for region in regions:
        run.spaces["global"].fill(region.address, region.raw)
        for low, high in region.parts:
            run.spaces["global"].declare(region.address + low, high - low, WRITTEN)
    with np.errstate(all="ignore"):
        run.run(limit)
    return [_outcome(run.spaces["global"], array.data, place) for array, place in zip(arrays, places, strict=True)]


def _values(arguments: Sequence[Argument], places: list[int]) -> list[Any]:
    addresses = iter(places)
    return [next(addresses) if isinstance(a, np.ndarray | Array) else a for a in arguments]


# Placement of arrays in device memory.


@dataclass(frozen=True)
class _Region:
    """Host memory shared by one or more arrays, and its address on the device."""

    address: int
    raw: np.ndarray
    parts: list[tuple[int, int]]  # byte ranges of the arrays, relative to the region


def _pointer(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _placed(arrays: list[Array]) -> tuple[list[_Region], list[int], int]:
    """The regions, the address of each array, and the next free address."""
    order = sorted(range(len(arrays)), key=lambda k: byte_bounds(_root(arrays[k].data))[0])
    together: list[list[int]] = []
    end = -1
    for k in order:
        low, high = byte_bounds(_root(arrays[k].data))
        if low < end:
            together[-1].append(k)
        else:
            together.append([k])
        end = max(end, high)
    regions, places, top = [], [0] * len(arrays), _FIRST
    for members in together:
        region, origin = _region([arrays[k] for k in members], top)
        regions.append(region)
        top = region.address + len(region.raw) + GAP
        for k in members:
            places[k] = region.address + _pointer(arrays[k].data) - origin
    return regions, places, top


def _region(arrays: list[Array], top: int) -> tuple[_Region, int]:
    """The region of arrays that share memory, and its address on the host.

    Several views keep their offsets in the array that they share, and so their alignment. A single array is aligned.
    """
    bounds = [byte_bounds(a.data) for a in arrays]
    lowest = min(low for low, _ in bounds)
    alone = all(low == lowest for low, _ in bounds)
    root = lowest if alone else min(byte_bounds(_root(a.data))[0] for a in arrays)
    origin = lowest - (lowest - root) % ALIGN
    size = max(high for _, high in bounds) - origin
    anchor = next((a for a in arrays if a.align), arrays[0])
    offset = anchor.align - (byte_bounds(anchor.data)[0] - origin if anchor.align else 0)
    address = rounded_up(top - offset, ALIGN) + offset
    raw = np.frombuffer(ctypes.string_at(origin, size), np.uint8)
    return _Region(address, raw, [(low - origin, high - origin) for low, high in bounds]), origin


def _outcome(space: Space, array: np.ndarray, place: int) -> Outcome:
    if array.size == 0:
        return Outcome(array.copy(), *np.zeros((2, 0), bool))
    low, high = (bound - _pointer(array) + place for bound in byte_bounds(array))
    cells = slice(low // space.cell, -(-high // space.cell))
    bytes_ = slice(low - cells.start * space.cell, high - cells.start * space.cell)
    read, written = (np.repeat(mask, space.cell)[bytes_] for mask in space.watch.accessed(cells))  # type: ignore[union-attr]
    return Outcome(np.ndarray(array.shape, array.dtype, space.bytes, place, array.strides).copy(), read, written)


class Run:
    """One launch.

    ``fronts``: groups of runnable threads by program counter; ``parked``: groups that wait at a warp instruction.
    """

    def __init__(self, kernel: Kernel, grid: Grid, values: list[Any], top: int, shared: int) -> None:
        self.kernel, self.grid = kernel, grid
        self.executed = 0
        self.fronts: dict[int, Group] = {0: Group(grid.everyone)}
        self.parked: dict[int, Group] = {}
        self.waiting = np.full(grid.count, -1)
        self.ended = np.zeros(grid.count, bool)
        self.windows = {"shared": 1 << 40, "local": 1 << 41}
        self.rows = _registers(kernel, grid.count)
        self.defined = {key: np.zeros(grid.count, bool) for key in kernel.watched}
        self.block_clock, self.warp_clock = Clock(grid.block, grid.blocks), Clock(grid.warp, grid.warps)
        self._symbols: dict[str, int] = {}
        self.spaces = {"global": self._global(top), "shared": self._shared(shared), "local": self._local()}
        self.spaces["const"] = self.spaces["global"]
        if len(values) != len(kernel.parameters):
            raise ValueError(f"{len(values)} arguments for {len(kernel.parameters)} parameters")
        self._parameters = {p.name: _encoded(p, v) for p, v in zip(kernel.parameters, values, strict=True)}

    # Memory.

    def symbol(self, name: str) -> int:
        """The address of a variable within its state space."""
        if name not in self._symbols:
            raise NotImplementedError(f"the address of {name}")
        return self._symbols[name]

    def parameter(self, name: str, offset: int, dtype: np.dtype) -> np.generic:
        return np.frombuffer(self._parameters[name], dtype, 1, offset)[0]

    def _global(self, top: int) -> Space:
        for table in self.kernel.tables:
            top = rounded_up(top, max(table.align, 16))
            self._symbols[table.name] = top
            top += table.size + GAP
        cell = self.kernel.cell("global")
        space = Space(self.grid, "global", rounded_up(top, 16), None, 1, min(cell, self.kernel.cell("const")))
        for table in self.kernel.tables:
            space.declare(self._symbols[table.name], table.size, WRITTEN)
            if table.data is not None:
                space.fill(self._symbols[table.name], table.data.view(np.uint8))
        space.watch = Watch(self.grid, "global", len(space.status), self.block_clock, same_value=True)
        return space

    def _shared(self, dynamic: int) -> Space:
        layout = self.kernel.shared
        space = self._space("shared", layout, layout.size + dynamic, self.grid.block, self.grid.blocks)
        for variable in layout.variables:
            size = dynamic if variable.external else variable.size
            space.declare(layout.offsets[variable.name], size, DECLARED)
        space.watch = Watch(self.grid, "shared", len(space.status), self.warp_clock, same_value=False)
        return space

    def _local(self) -> Space:
        layout = self.kernel.local
        space = self._space("local", layout, layout.size, self.grid.everyone, self.grid.count)
        for variable in layout.variables:
            space.declare(layout.offsets[variable.name], variable.size, DECLARED)
        return space

    def _space(self, name: str, layout: Layout, size: int, part: np.ndarray, parts: int) -> Space:
        self._symbols.update(layout.offsets)
        size = rounded_up(size, 16)
        return Space(self.grid, name, size, part * size, parts, self.kernel.cell(name))

    # Execution.

    def run(self, limit: int) -> None:
        while self.fronts:
            # The lowest program counter runs first, so that divergent threads reconverge.
            pc = min(self.fronts)
            self._advance(pc, self.fronts.pop(pc), limit)
        self._check_finished()

    def _advance(self, pc: int, group: Group, limit: int) -> None:
        """Runs a group until it diverges, is suspended, or reaches another group."""
        code = self.kernel.code
        stop = min(self.fronts, default=len(code))
        while pc < stop:
            step = code[pc]
            self.executed += 1
            if self.executed > limit:
                raise self.grid.fault("endless", step.text, group.threads[0], f"after {limit} instructions")
            mask = None if step.guard is None else step.guard(self, group)
            if step.control is not None:
                target = step.control(self, pc, group, mask)
                if target is None:
                    return
                pc = target
                continue
            active = group if mask is None else group.where(mask)
            if active.count:
                step.execute(self, active)  # type: ignore[misc]
            pc += 1
        if pc >= len(code):
            self.end(group)
        else:
            self.join(pc, group)

    def join(self, pc: int, group: Group) -> None:
        """Makes threads runnable at an instruction."""
        if group.count:
            self.fronts[pc] = self.fronts[pc].merged(group) if pc in self.fronts else group

    def end(self, group: Group) -> None:
        self.ended[group.at] = True

    def together(self, pc: int, group: Group, mask: np.ndarray | None, execute: Execute, lanes: Reader) -> int | None:
        """Executes a warp instruction for the threads whose mask is complete, and suspends the others until theirs is."""
        active, rest = split(group, mask)
        if pc in self.parked:
            active = active.merged(self.parked.pop(pc))
        absent = self._absent(pc, active, lanes)
        if absent is None and active is group:
            execute(self, group)
            return pc + 1
        self.join(pc + 1, rest)
        if not active.count:
            return None
        here, apart = split(active, None if absent is None else absent == 0)
        if apart.count:
            self.parked[pc] = apart
        if here.count:
            execute(self, here)
            self.join(pc + 1, here)
        return None

    def _absent(self, pc: int, group: Group, lanes: Reader) -> np.ndarray | None:
        """For each thread, the lanes of its mask that are missing. None if no lanes are missing."""
        if not group.count:
            return None
        named = lanes(self, group)
        outside = (spread(named, group) & self.grid.bit[group.at]) == 0
        if outside.any():
            thread = group.threads[int(np.argmax(outside))]
            raise self.grid.fault("missing lanes", self.kernel.texts[pc], thread, "the mask leaves this lane out")
        present = self.grid.present(group)
        if group.whole:
            return None
        warp = self.grid.warp[group.at]
        absent = named & self.grid.existing[warp] & ~present[warp]
        return absent if absent.any() else None

    def arrive(self, pc: int, group: Group) -> None:
        """Suspends threads at a barrier, and releases the blocks that are complete."""
        if not group.count:
            return
        self.waiting[group.at] = pc
        arrived = np.bincount(self.grid.block, self.waiting >= 0, self.grid.blocks)
        blocks = np.flatnonzero(arrived == self.grid.threads)
        if not blocks.size:
            return
        released = Group(self.grid.everyone[(arrived == self.grid.threads)[self.grid.block]])
        elsewhere = self.waiting[released.at] != pc
        if elsewhere.any():
            k = int(np.argmax(elsewhere))
            text = self.kernel.texts[self.waiting[released.at][k]]
            raise self.grid.fault("divergent barrier", text, released.threads[k], "others of the block are at another barrier")
        self.waiting[released.at] = -1
        self.block_clock.advance(blocks)
        self._synchronise_shared(blocks)
        self.join(pc + 1, released)

    def _synchronise_shared(self, blocks: np.ndarray) -> None:
        space = self.spaces["shared"]
        cells = space.size // space.cell
        if space.watch is None or not cells:
            return
        if blocks.size == self.grid.blocks:
            space.watch.clear(slice(None))
            return
        for block in blocks:
            space.watch.clear(slice(block * cells, (block + 1) * cells))

    def _check_finished(self) -> None:
        """Raises if threads are still suspended when no thread can run."""
        for pc, group in self.parked.items():
            thread = group.threads[0]
            raise self.grid.fault("missing lanes", self.kernel.texts[pc], thread, "lanes that the mask names do not come here")
        if (self.waiting < 0).all():
            return
        thread = int(np.argmax(self.waiting >= 0))
        text = self.kernel.texts[self.waiting[thread]]
        if self.ended[self.grid.block == self.grid.block[thread]].any():
            raise self.grid.fault("barrier after exit", text, thread, "other threads of the block have ended")
        raise self.grid.fault("divergent barrier", text, thread, "other threads of the block do not come here")


def _registers(kernel: Kernel, count: int) -> dict[str, list[np.ndarray]]:
    """Views of the registers: for each type, the list of rows by slot."""
    rows: dict[str, list[np.ndarray]] = {}
    for size, number in kernel.registers.items():
        file = np.zeros((number, count), np.bool_ if size == 0 else f"u{size}")
        for name, dtype in DTYPES.items():
            if (name == "pred") if size == 0 else (name != "pred" and dtype.itemsize == size):
                rows[name] = list(file.view(dtype))
    return rows


def _encoded(parameter: Parameter, value: Any) -> bytes:
    """The bytes of a parameter. Integers wrap."""
    if isinstance(value, bytes):
        return value.ljust(parameter.size, b"\0")
    dtype = DTYPES[parameter.type]
    if dtype.kind in "iu":
        return (int(value) & ((1 << 8 * dtype.itemsize) - 1)).to_bytes(dtype.itemsize, "little")
    return np.asarray(value).astype(dtype).tobytes()
