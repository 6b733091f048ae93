"""The order of work in streams, with vector clocks: finds accesses to the same memory that nothing orders.

Each stream counts its work. A clock says how much work of each stream is known to have finished before: an event keeps a
stream's clock, waiting for the event joins it to another stream's, and synchronising joins it to the host's. Two pieces of work
are ordered if the later one's clock includes the earlier one. If they are not, and one of them writes what the other one
accesses, the result would depend on chance.

Vector clocks: C. Flanagan and S. Freund, FastTrack: efficient and precise dynamic race detection, 2009; without its epochs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

Clock = Mapping[Hashable, int]


class Unordered(Exception):
    """Two pieces of work access the same memory, one of them writes it, and nothing orders them."""


HOST: Hashable = "the host"


def joined(*clocks: Clock) -> dict[Hashable, int]:
    """The clock that includes all of these."""
    found: dict[Hashable, int] = {}
    for clock in clocks:
        for stream, count in clock.items():
            found[stream] = max(found.get(stream, 0), count)
    return found


@dataclass(frozen=True)
class Work:
    """A piece of work: its stream, its number there, what came before it, and its name for messages."""

    stream: Hashable
    number: int
    clock: Clock
    name: str

    def is_before(self, clock: Clock) -> bool:
        """Whether a clock includes this work."""
        return self.number <= clock.get(self.stream, 0)


@dataclass(frozen=True)
class _Access:
    work: Work
    start: int
    read: np.ndarray  # one element for each byte from ``start`` on
    written: np.ndarray

    def overlap(self, other: _Access) -> tuple[slice, slice] | None:
        low, high = max(self.start, other.start), min(self.start + self.read.size, other.start + other.read.size)
        if low >= high:
            return None
        return slice(low - self.start, high - self.start), slice(low - other.start, high - other.start)

    def conflicts(self, other: _Access) -> bool:
        """Whether one of two accesses writes what the other accesses."""
        if (both := self.overlap(other)) is None:
            return False
        here, there = both
        written = self.written[here] & (other.read[there] | other.written[there])
        return bool((written | (self.read[here] & other.written[there])).any())

    def covers(self, other: _Access) -> bool:
        """Whether whatever conflicts with the other access conflicts with this one."""
        if other.start < self.start or other.start + other.read.size > self.start + self.read.size:
            return False
        _, here = other.overlap(self)  # type: ignore[misc]
        return not ((other.written & ~self.written[here]).any() or (other.read & ~(self.read[here] | self.written[here])).any())


class Order:
    """The streams of a device, and the accesses of work that later work may conflict with."""

    def __init__(self) -> None:
        self._clocks: dict[Hashable, dict[Hashable, int]] = {}
        self._accesses: list[_Access] = []

    def clock(self, stream: Hashable) -> Clock:
        """What has finished when the work that was started in a stream so far has."""
        return self._clocks.get(stream, {})

    def start(self, stream: Hashable, name: str, after: Iterable[Clock] = ()) -> Work:
        """Work that is started now, after the work that ``after`` includes. Everything the host knows of comes before it."""
        clock = joined(self.clock(stream), self.clock(HOST), *after)
        number = self._clocks.get(stream, {}).get(stream, 0) + 1
        clock[stream] = number
        self._clocks[stream] = clock
        return Work(stream, number, clock, name)

    def wait(self, stream: Hashable, clock: Clock) -> None:
        """What is started in a stream from now on follows what a clock includes."""
        self._clocks[stream] = joined(self.clock(stream), clock)
        if stream is HOST:
            self._accesses = [a for a in self._accesses if not a.work.is_before(self.clock(HOST))]

    def synchronize(self) -> None:
        """The host waits for all streams."""
        self.wait(HOST, joined(*self._clocks.values()))

    def happened(self, clock: Clock) -> bool:
        """Whether the host knows that what a clock includes has finished."""
        known = self.clock(HOST)
        return all(count <= known.get(stream, 0) for stream, count in clock.items())

    def access(self, work: Work, start: int, read: np.ndarray, written: np.ndarray) -> None:
        """Notes which bytes from an address on were read and written. Raises Unordered."""
        if not read.size:
            return
        new = _Access(work, start, read, written)
        kept = []
        for old in self._accesses:
            ordered = old.work is work or old.work.is_before(work.clock)
            if not ordered and new.conflicts(old):
                raise Unordered(
                    f"{work.name} in {_named(work.stream)} accesses memory that {old.work.name} in "
                    f"{_named(old.work.stream)} accesses, and nothing orders them: wait for an event, or synchronise"
                )
            if not (ordered and old.work is not work and new.covers(old)):
                kept.append(old)
        self._accesses = [*kept, new]


def _named(stream: Hashable) -> str:
    return f"stream {stream}" if isinstance(stream, int) else str(stream)
