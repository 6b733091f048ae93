"""Memory of a launch, and who touched what: bounds, alignment, first writes, races."""

from __future__ import annotations

import numpy as np

from .grid import Fault, Grid, Group

OUTSIDE, DECLARED, WRITTEN = 0, 1, 2
GAP = 256  # bytes between variables that belong to none: what runs over the end of one does not end in the next

_NOBODY = 0
_SEVERAL = np.iinfo(np.int64).max
_SEVERAL_TEAMS = -1


class Clock:
    """When threads were last synchronised. Those of one team (a warp, or a block) are synchronised together.

    A moment is one number for a team and the count of its synchronisations. Two accesses of a team are in order if
    their moments differ; those of different teams never are.
    """

    def __init__(self, team: np.ndarray, teams: int) -> None:
        self.team, self.teams = team, teams
        self.moments = np.arange(teams)

    def now(self, group: Group) -> np.ndarray:
        return self.moments[self.team[group.at]]

    def advance(self, teams: np.ndarray) -> None:
        self.moments[teams] += self.teams


class Accesses:
    """For each cell of memory, the thread that last did something there and when: a summary of all that are not in order.

    Threads are numbered from 1 on. Arrays of zeros cost nothing where nobody comes: most of a large array is never touched.
    """

    def __init__(self, cells: int, clock: Clock) -> None:
        self.thread = np.zeros(cells, np.int64)
        self.moment = np.zeros(cells, np.int64)
        self.clock = clock

    def clear(self, cells: slice) -> None:
        self.thread[cells] = _NOBODY

    def any(self, cells: np.ndarray) -> np.ndarray:
        return self.thread[cells] != _NOBODY

    def conflicts(self, cells: np.ndarray, threads: np.ndarray, now: np.ndarray) -> np.ndarray | None:
        """Where another thread was, with no synchronisation since. None where nobody was anywhere, the usual case."""
        other = self.thread[cells]
        if not other.any():
            return None
        then, teams = self.moment[cells], self.clock.teams
        unordered = (then == now) | (then % teams != now % teams) | (then == _SEVERAL_TEAMS)
        return (other != _NOBODY) & (other != threads + 1) & unordered

    def record(self, cells: np.ndarray, threads: np.ndarray, now: np.ndarray) -> np.ndarray | None:
        """Gives where threads come to one cell together; None where none do."""
        before, then = self.thread[cells], self.moment[cells]
        self.thread[cells], self.moment[cells] = threads + 1, now
        together = self.thread[cells] != threads + 1
        crowded = together.any()
        if not crowded and not before.any():
            return None
        seen, teams = before != _NOBODY, self.clock.teams
        several_teams = self.moment[cells] != now
        several_teams |= seen & ((then % teams != now % teams) | (then == _SEVERAL_TEAMS))
        several = together | several_teams | (seen & (then == now) & (before != threads + 1))
        self.thread[cells[several]] = _SEVERAL
        self.moment[cells[several_teams]] = _SEVERAL_TEAMS
        return together if crowded else None


class Watch:
    """Raises for races in one space. ``same_value``: threads may store one value in one place without being in order."""

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

    def load(self, cells: np.ndarray, group: Group, text: str) -> None:
        now = self.clock.now(group)
        self._reject(f"{self.name} race", self.writers, cells, group, now, text, "another thread wrote this")
        self._reject(f"{self.name} race", self.atomics, cells, group, now, text, "another thread changed this")
        self.readers.record(cells, group.threads, now)

    def load_constant(self, cells: np.ndarray, group: Group, text: str) -> None:
        """A load that presumes that the whole launch writes nothing there."""
        written = self.writers.any(cells)
        if self.atomics is not None:
            written |= self.atomics.any(cells)
        self._raise("read-only load", written, group, text, "the launch writes this")
        if self.constant is None:
            self.constant = np.zeros(self.cells, bool)
        self.constant[cells] = True

    def store(self, cells: np.ndarray, changes: np.ndarray, group: Group, text: str) -> None:
        """``changes``: whether the store gives a place another value than it has."""
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
        """After a store: ``differs`` where a place does not hold the value that a thread has just put there."""
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
    """The place of the first thread for which something holds. The last axis is that of threads."""
    return int(np.argmax(where.reshape(-1, where.shape[-1]).any(0)))


class Space:
    """Memory of one kind. ``base``: where each thread's own part begins, of ``size`` bytes each.

    A cell is as large as the smallest element that the kernel loads or stores, so that an access is one or more of them.
    """

    def __init__(self, grid: Grid, name: str, size: int, base: np.ndarray | None, parts: int, cell: int) -> None:
        self.grid, self.name, self.size, self.base, self.cell = grid, name, size, base, cell
        self.bytes = np.zeros(size * parts, np.uint8)
        self.status = np.full(size * parts // cell, OUTSIDE, np.uint8)
        self.watch: Watch | None = None

    def declare(self, offset: int, size: int, status: int) -> None:
        """Gives these bytes of every part to a variable."""
        cells = self.status.reshape(-1, self.size // self.cell)
        cells[:, offset // self.cell : -(-(offset + size) // self.cell)] = status

    def fill(self, offset: int, data: np.ndarray) -> None:
        self.bytes[offset : offset + data.size] = data

    def load(self, dtype: np.dtype, lanes: int, addresses: np.ndarray, group: Group, text: str, constant: bool) -> np.ndarray:
        """The values of each lane of a vector, one row each."""
        at, cells = self._locate(dtype.itemsize * lanes, addresses, group, text)
        self._check(cells, WRITTEN, group, text)
        if self.watch is not None:
            (self.watch.load_constant if constant else self.watch.load)(cells, group, text)
        return self.bytes.view(dtype)[_neighbours(at // dtype.itemsize, lanes)]

    def store(self, values: np.ndarray, addresses: np.ndarray, group: Group, text: str) -> None:
        """Stores one row of values for each lane of a vector."""
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
        """For an atomic operation: memory as numbers of a type, and the place of each thread in it."""
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
        raise self.grid.fault("uninitialised memory", text, thread, f"nothing has been stored here, in {self.name} memory")

    def _outside(self, where: np.ndarray, group: Group, text: str) -> Fault:
        return self.grid.fault(
            "out of bounds", text, group.threads[first(where)], f"outside of every variable in {self.name} memory"
        )


def _neighbours(places: np.ndarray, count: int) -> np.ndarray:
    return places[None] if count == 1 else places + np.arange(count)[:, None]


def rounded_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
