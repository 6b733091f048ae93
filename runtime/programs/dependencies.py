"""Which steps of a plan must follow which: the edges of a graph of steps that may otherwise run at the same time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple


class Access(NamedTuple):
    """Bytes that a step reads or writes: a memory, and the range in it."""

    memory: Hashable
    low: int
    high: int
    written: bool


_Range = tuple[int, int, int]  # the step, and the range that it accessed


class _Latest:
    """The accesses to a memory that later ones may conflict with."""

    def __init__(self) -> None:
        self.readers: list[_Range] = []
        self.writers: list[_Range] = []

    def conflicts(self, i: int, new: Access) -> set[int]:
        low, high = new.low, new.high
        earlier = (self.writers, self.readers) if new.written else (self.writers,)
        return {j for rows in earlier for j, a, b in rows if a < high and low < b and j != i}

    def add(self, i: int, new: Access) -> None:
        if not new.written:
            self.readers.append((i, new.low, new.high))
            return
        # What follows a write need not be compared with what the write followed.
        self.readers, self.writers = (
            [row for row in rows if row[0] == i or not (new.low <= row[1] and row[2] <= new.high)]
            for rows in (self.readers, self.writers)
        )
        self.writers.append((i, new.low, new.high))


def predecessors(steps: Sequence[Sequence[Access]]) -> list[list[int]]:
    """For each step, the earlier ones that it must follow: they access the same bytes, and one of the two writes them. Steps
    that others imply are left out.
    """
    latest: dict[Hashable, _Latest] = {}
    ancestors: list[int] = []  # of each step, one bit for each earlier step
    found: list[list[int]] = []
    for i, accesses in enumerate(steps):
        conflicts: set[int] = set()
        for new in accesses:
            conflicts |= latest.setdefault(new.memory, _Latest()).conflicts(i, new)
        known, direct = 0, []
        for j in sorted(conflicts, reverse=True):
            if not known >> j & 1:
                direct.append(j)
                known |= ancestors[j] | 1 << j
        ancestors.append(known)
        found.append(direct[::-1])
        for new in accesses:
            latest[new.memory].add(i, new)
    return found
