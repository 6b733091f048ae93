"""Memory of a launch, with checks of bounds, alignment, initialisation and races."""

from __future__ import annotations

import numpy as np

from .grid import Fault, Grid, Group

OUTSIDE, DECLARED, WRITTEN = 0, 1, 2
GAP = 256  # invalid bytes between variables, so that overruns do not reach the next variable

_NONE = 0
_SEVERAL = np.iinfo(np.int64).max
_SEVERAL_TEAMS = -1


class Clock:
    """A logical clock: counts the synchronisations of each team. Teams are the warps, or the blocks.

    A moment encodes a team and its count. Two accesses by one team are ordered if their moments differ; accesses by
    different teams are never ordered.
    """

    def __init__(self, team: np.ndarray, teams: int) -> None:
        self.team, self.teams = team, teams
        self.moments = np.arange(teams)

    def now(self, group: Group) -> np.ndarray:
        return self.moments[self.team[group.at]]

    def advance(self, teams: np.ndarray) -> None:
        self.moments[teams] += self.teams


class Accesses:
    """For each memory cell, a summary of its accesses of one kind: the thread and the moment, or that there were several.

    The threads are stored plus one. ``np.zeros`` gets pages lazily, so cells that are never accessed cost nothing.
    """

    def __init__(self, cells: int, clock: Clock) -> None:
        self.thread = np.zeros(cells, np.int64)
        self.moment = np.zeros(cells, np.int64)
        self.clock = clock

    def clear(self, cells: slice) -> None:
        self.thread[cells] = _NONE

    def any(self, cells: np.ndarray) -> np.ndarray:
        return self.thread[cells] != _NONE

    def conflicts(self, cells: np.ndarray, threads: np.ndarray, now: np.ndarray) -> np.ndarray | None:
        """Where another thread made an unordered access. None if no cell was accessed before, the usual case."""
        other = self.thread[cells]
        if not other.any():
            return None
        then, teams = self.moment[cells], self.clock.teams
        unordered = (then == now) | (then % teams != now % teams) | (then == _SEVERAL_TEAMS)
        return (other != _NONE) & (other != threads + 1) & unordered

    def record(self, cells: np.ndarray, threads: np.ndarray, now: np.ndarray) -> np.ndarray | None:
        """Adds accesses. Returns where several threads access one cell now, or None."""
        before, then = self.thread[cells], self.moment[cells]
        self.thread[cells], self.moment[cells] = threads + 1, now
        together = self.thread[cells] != threads + 1
        crowded = together.any()
        if not crowded and not before.any():
            return None
        seen, teams = before != _NONE, self.clock.teams
        several_teams = self.moment[cells] != now
        several_teams |= seen & ((then % teams != now % teams) | (then == _SEVERAL_TEAMS))
        several = together | several_teams | (seen & (then == now) & (before != threads + 1))
        self.thread[cells[several]] = _SEVERAL
        self.moment[cells[several_teams]] = _SEVERAL_TEAMS
        return together if crowded else None


class Watch:
    """Detects races in one space. ``same_value``: unordered stores of equal values to one address are allowed."""

    def __init__(self, grid: Grid, name: str, cells: int, clock: Clock, same_value: bool) -> None:
        self.grid, self.name, self.clock, self.same_value = grid, name, clock, same_value
        self.writers = Accesses(cells, clock)
        self.readers = Accesses(cells, clock)
        self.cells = cells
        self.atomics: Accesses | None = None
        self.constant: np.ndarray | None = None

    def clear(self, cells: slice) -> None:
        for accesses in (self.writers, self.readers, self.atomics):
            if accesses is not None:
                accesses.clear(cells)

    def accessed(self, cells: slice) -> tuple[np.ndarray, np.ndarray]:
        """Which cells were read, and which written."""
        read, written = (accesses.thread[cells] != _NONE for accesses in (self.readers, self.writers))
        if self.constant is not None:
            read |= self.constant[cells]
        if self.atomics is not None:
            changed = self.atomics.thread[cells] != _NONE
            read, written = read | changed, written | changed
        return read, written

    def load(self, cells: np.ndarray, group: Group, text: str) -> None:
        now = self.clock.now(group)
        self._reject(f"{self.name} race", self.writers, cells, group, now, text, "another thread wrote this")
        self._reject(f"{self.name} race", self.atomics, cells, group, now, text, "another thread changed this")
        self.readers.record(cells, group.threads, now)

    def load_constant(self, cells: np.ndarray, group: Group, text: str) -> None:
        """A load through the read-only path: nothing in the launch may write there."""
        written = self.writers.any(cells)
        if self.atomics is not None:
            written |= self.atomics.any(cells)
        self._raise("read-only load", written, group, text, "the launch writes this")
        if self.constant is None:
            self.constant = np.zeros(self.cells, bool)
        self.constant[cells] = True

    def store(self, cells: np.ndarray, changes: np.ndarray, group: Group, text: str) -> None:
        """``changes``: whether the stored value differs from the value in memory."""
        now = self.clock.now(group)
        if self.constant is not None:
            self._raise("read-only load", self.constant[cells], group, text, "the launch loads this as read-only")
        self._reject(f"{self.name} race", self.readers, cells, group, now, text, "another thread reads this")
        self._reject(f"{self.name} race", self.atomics, cells, group, now, text, "another thread changed this")
        conflicts = self.writers.conflicts(cells, group.threads, now)
        if conflicts is not None:
            self._raise(self._stores, conflicts & changes if self.same_value else conflicts, group, text)
        together = self.writers.record(cells, group.threads, now)
        if together is not None and not self.same_value:
            self._raise(self._stores, together, group, text)

    def differing(self, differs: np.ndarray, group: Group, text: str) -> None:
        """Called after a store: ``differs`` where memory does not hold a thread's value, because another one overwrote it."""
        self._raise(self._stores, differs, group, text)

    def atomic(self, cells: np.ndarray, group: Group, text: str) -> None:
        now = self.clock.now(group)
        if self.constant is not None:
            self._raise("read-only load", self.constant[cells], group, text, "the launch loads this as read-only")
        self._reject(f"{self.name} race", self.writers, cells, group, now, text, "another thread wrote this")
        self._reject(f"{self.name} race", self.readers, cells, group, now, text, "another thread reads this")
        if self.atomics is None:
            self.atomics = Accesses(self.cells, self.clock)
        self.atomics.record(cells, group.threads, now)

    @property
    def _stores(self) -> str:
        return "conflicting stores" if self.same_value else f"{self.name} race"

    def _reject(
        self, kind: str, accesses: Accesses | None, cells: np.ndarray, group: Group, now: np.ndarray, text: str, why: str
    ) -> None:
        if accesses is None:
            return
        conflicts = accesses.conflicts(cells, group.threads, now)
        if conflicts is not None:
            self._raise(kind, conflicts, group, text, why)

    def _raise(self, kind: str, where: np.ndarray, group: Group, text: str, why: str = "another thread stores here") -> None:
        if where.any():
            raise self.grid.fault(kind, text, group.threads[first(where)], why)


def first(where: np.ndarray) -> int:
    """The index of the first thread for which the mask holds. The last axis is the threads."""
    return int(np.argmax(where.reshape(-1, where.shape[-1]).any(0)))


class Space:
    """The memory of one state space. ``base``: the offset of each thread's part, ``size`` bytes long; None if there is one.

    A cell has the size of the kernel's smallest access, so that each access covers whole cells.
    """

    def __init__(self, grid: Grid, name: str, size: int, base: np.ndarray | None, parts: int, cell: int) -> None:
        self.grid, self.name, self.size, self.base, self.cell = grid, name, size, base, cell
        self.bytes = np.zeros(size * parts, np.uint8)
        self.status = np.full(size * parts // cell, OUTSIDE, np.uint8)
        self.watch: Watch | None = None

    def declare(self, offset: int, size: int, status: int) -> None:
        """Sets the status of the bytes of a variable, in every part."""
        cells = self.status.reshape(-1, self.size // self.cell)
        cells[:, offset // self.cell : -(-(offset + size) // self.cell)] = status

    def fill(self, offset: int, data: np.ndarray) -> None:
        self.bytes[offset : offset + data.size] = data

    def load(self, dtype: np.dtype, lanes: int, addresses: np.ndarray, group: Group, text: str, constant: bool) -> np.ndarray:
        """Loads vectors: one row of values for each element."""
        at, cells = self._locate(dtype.itemsize * lanes, addresses, group, text)
        self._check(cells, WRITTEN, group, text)
        if self.watch is not None:
            (self.watch.load_constant if constant else self.watch.load)(cells, group, text)
        return self.bytes.view(dtype)[_neighbours(at // dtype.itemsize, lanes)]

    def store(self, values: np.ndarray, addresses: np.ndarray, group: Group, text: str) -> None:
        """Stores vectors: one row of values for each element."""
        lanes, size = len(values), values.dtype.itemsize
        at, cells = self._locate(size * lanes, addresses, group, text)
        self._check(cells, DECLARED, group, text)
        bits = values.view(f"u{size}")
        memory, places = self.bytes.view(bits.dtype), _neighbours(at // size, lanes)
        if self.watch is not None:
            changes = np.repeat(memory[places] != bits, len(cells) // lanes, axis=0)
            self.watch.store(cells, changes, group, text)
        memory[places] = bits
        if self.watch is not None:
            self.watch.differing(memory[places] != bits, group, text)
        self.status[cells] = WRITTEN

    def update(self, dtype: np.dtype, addresses: np.ndarray, group: Group, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Prepares an atomic operation: a view of the memory, and each thread's index in it."""
        at, cells = self._locate(dtype.itemsize, addresses, group, text)
        self._check(cells, WRITTEN, group, text)
        if self.watch is not None:
            self.watch.atomic(cells, group, text)
        return self.bytes.view(dtype), at // dtype.itemsize

    def _locate(self, size: int, addresses: np.ndarray, group: Group, text: str) -> tuple[np.ndarray, np.ndarray]:
        if int(np.bitwise_or.reduce(addresses)) & (size - 1):
            thread = group.threads[first(addresses & np.uint64(size - 1) != 0)]
            raise self.grid.fault("misaligned", text, thread, f"an address is no multiple of {size}")
        limit = self.size - size
        if int(addresses.max()) > limit:
            raise self._outside(addresses > np.uint64(max(limit, 0)), group, text)
        at = addresses.view(np.int64)
        if self.base is not None:
            at = at + self.base[group.at]
        cells = at // self.cell if self.cell > 1 else at
        return at, _neighbours(cells, size // self.cell)

    def _check(self, cells: np.ndarray, least: int, group: Group, text: str) -> None:
        status = self.status[cells]
        if status.min() >= least:
            return
        if (status == OUTSIDE).any():
            raise self._outside(status == OUTSIDE, group, text)
        thread = group.threads[first(status < least)]
        raise self.grid.fault("uninitialised memory", text, thread, f"{self.name} memory is read before it is written")

    def _outside(self, where: np.ndarray, group: Group, text: str) -> Fault:
        return self.grid.fault(
            "out of bounds", text, group.threads[first(where)], f"outside of every variable in {self.name} memory"
        )


def _neighbours(places: np.ndarray, count: int) -> np.ndarray:
    return places[None] if count == 1 else places + np.arange(count)[:, None]


def rounded_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
