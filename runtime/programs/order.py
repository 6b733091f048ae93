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


def predecessors(steps: Sequence[Sequence[Access]]) -> list[list[int]]:
    """For each step, the earlier ones that it must follow: they access the same bytes, and one of the two writes them. Steps
    that others imply are left out.
    """
    latest: dict[Hashable, list[tuple[int, Access]]] = {}
    ancestors: list[int] = []  # of each step, one bit for each earlier step
    found: list[list[int]] = []
    for i, accesses in enumerate(steps):
        conflicts: set[int] = set()
        for new in accesses:
            for j, old in latest.get(new.memory, ()):
                if j != i and (new.written or old.written) and old.low < new.high and new.low < old.high:
                    conflicts.add(j)
        known, direct = 0, []
        for j in sorted(conflicts, reverse=True):
            if not known >> j & 1:
                direct.append(j)
                known |= ancestors[j] | 1 << j
        ancestors.append(known)
        found.append(direct[::-1])
        for new in accesses:
            before = latest.get(new.memory, [])
            # What follows a write need not be compared with what the write followed.
            kept = [
                (j, old) for j, old in before if j == i or not (new.written and new.low <= old.low and old.high <= new.high)
            ]
            latest[new.memory] = [*kept, (i, new)]
    return found
