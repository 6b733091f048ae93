"""Regions of arrays: what slices read and write, as one progression of positions per axis."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from typing import Generic, TypeVar

from .graph import Op

Region = tuple[range, ...]
T = TypeVar("T")


def region_of(op: Op) -> Region:
    """The region that a ``slice`` reads, or that an update of a slice writes."""
    attrs = op.attrs
    return tuple(map(range, attrs["starts"], attrs["stops"], attrs["steps"]))


def attributes(region: Region) -> dict[str, tuple[int, ...]]:
    """The attributes of a slice: the same for equal regions."""
    return {
        "starts": tuple(r.start for r in region),
        "stops": tuple(r[-1] + 1 if r else r.start for r in region),
        "steps": tuple(r.step if len(r) > 1 else 1 for r in region),
    }


def whole(shape: tuple[int, ...]) -> Region:
    return tuple(map(range, shape))


def extents(region: Region) -> tuple[int, ...]:
    return tuple(map(len, region))


def disjoint(a: Region, b: Region) -> bool:
    """True if the regions have no common element. May be False for disjoint regions whose steps are unusual."""
    return any(map(_disjoint, a, b))


def _disjoint(a: range, b: range) -> bool:
    if not a or not b or a[-1] < b.start or b[-1] < a.start:
        return True
    if len(a) == 1:
        return a.start not in b
    if len(b) == 1:
        return b.start not in a
    return (a.start - b.start) % math.gcd(a.step, b.step) != 0


def inside(a: Region, b: Region) -> bool:
    """True if every element of ``a`` is one of ``b``."""
    return all(map(_inside, a, b)) or 0 in extents(a)


def _inside(a: range, b: range) -> bool:
    return not a or (a.start in b and a[-1] in b and (len(a) == 1 or a.step % b.step == 0))


def part_of(a: Region, b: Region) -> Region:
    """The elements ``a`` of an array whose elements are ``b`` of another, as a region of the latter."""
    return tuple(q[r.start : r[-1] + 1 : r.step] if r else q[:0] for r, q in zip(a, b, strict=True))


class _Group(Generic[T]):
    """Regions with the same positions along some axes: each with its note, and the number of those that were added before."""

    __slots__ = ("items", "last", "low")

    def __init__(self, rank: int) -> None:
        self.items: list[tuple[Region, T, int]] = []
        self.low, self.last = [sys.maxsize] * rank, [-1] * rank  # the first and last positions that any of them has

    def add(self, region: Region, note: T, number: int) -> None:
        self.items.append((region, note, number))
        low, last = self.low, self.last
        for a, r in enumerate(region):
            if r:
                low[a], last[a] = min(low[a], r[0]), max(last[a], r[-1])

    def may_overlap(self, region: Region) -> bool:
        """False if no region in the group has elements in common with ``region``."""
        return all(r.start <= b and r.stop > a for r, a, b in zip(region, self.low, self.last, strict=True))


class Noted(Generic[T]):
    """Regions of one array, each with a note; finds those that overlap another region.

    A region with one position along some axes is found by these, so that sweeps over rows, columns or elements take linear
    time.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[int, ...], dict[tuple[int, ...], _Group[T]]] = {}  # by axes, and the positions there
        self._count = 0

    def add(self, region: Region, note: T) -> None:
        axes = tuple([a for a, r in enumerate(region) if len(r) == 1])
        groups = self._groups.setdefault(axes, {})
        at = tuple([region[a].start for a in axes])
        if at not in groups:
            groups[at] = _Group(len(region))
        groups[at].add(region, note, self._count)
        self._count += 1

    def __len__(self) -> int:
        """The number of regions that were added."""
        return self._count

    def _near(self, region: Region) -> Iterator[list[tuple[Region, T, int]]]:
        for axes, groups in self._groups.items():
            along = [region[a] for a in axes]
            if math.prod(map(len, along)) < len(groups):
                near = [groups[key] for key in itertools.product(*along) if key in groups]
            else:
                near = [group for key, group in groups.items() if all(i in r for i, r in zip(key, along, strict=True))]
            yield from [group.items for group in near if group.may_overlap(region)]

    def notes(self) -> Iterator[T]:
        """All notes."""
        return (note for groups in self._groups.values() for group in groups.values() for _, note, _ in group.items)

    def overlapping(self, region: Region) -> Iterator[T]:
        """The notes of the regions that have elements in common with ``region``."""
        return (note for items in self._near(region) for there, note, _ in items if not disjoint(there, region))

    def take(self, region: Region) -> list[T]:
        """Removes the regions that have elements in common with ``region``, and returns their notes."""
        taken: list[T] = []
        for items in self._near(region):
            here = [note for there, note, _ in items if not disjoint(there, region)]
            if here:
                taken += here
                items[:] = [item for item in items if disjoint(item[0], region)]
        return taken


_RECENT = 16


class History(Noted[T]):
    """Regions that are added one after another, and stay; finds the latest that overlaps another region."""

    def __init__(self) -> None:
        super().__init__()
        self._all: list[tuple[Region, T]] = []

    def add(self, region: Region, note: T) -> None:
        super().add(region, note)
        self._all.append((region, note))

    def latest(self, region: Region, count: int) -> T | None:
        """Of the regions that have elements in common with ``region``, the note of the one that was added last, among the first
        ``count`` that were added.

        Of a long region, the most recent ones are looked at first: a recurrence along an array reads all that it has written so
        far.
        """
        first = max(count - _RECENT, 0) if math.prod(map(len, region)) > _RECENT else count
        for there, note in reversed(self._all[first:count]):
            if not disjoint(there, region):
                return note
        last: tuple[int, T] | None = None
        for items in self._near(region) if first else ():
            for there, note, number in reversed(items):
                if last is not None and number < last[0]:
                    break
                if number < first and not disjoint(there, region):
                    last = number, note
                    break
        return None if last is None else last[1]
