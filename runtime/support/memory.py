"""Memory of values: the layout of a program's arena, and buffers for its results."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Sequence

import numpy as np

from ...ir.types import TensorType
from .objects import address, counts_references, reads_arrays
from .objects import references as getrefcount

ALIGNMENT = 64


def aligned_empty(nbytes: int) -> np.ndarray:
    """Bytes aligned to the vector width."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + nbytes]


def arrange(lifetimes: Sequence[tuple[int, int, int]], alignment: int = ALIGNMENT) -> tuple[list[int], int]:
    """Offsets in one arena for buffers given as (size, first step, last step), and the arena's size.

    Buffers with overlapping lifetimes do not overlap in memory. In order of time, larger ones first, each takes the
    smallest gap that holds it; if there is none, the arena grows.
    """
    order = sorted(range(len(lifetimes)), key=lambda i: (lifetimes[i][1], -lifetimes[i][0]))
    offsets = [0] * len(lifetimes)
    gaps: list[tuple[int, int]] = []  # (size, offset), sorted
    begins: dict[int, int] = {}  # of gaps: offset -> size
    ends: dict[int, int] = {}  # and end -> size
    alive: list[tuple[int, int, int]] = []  # a heap of (last step, offset, size)
    total = 0

    def remove(size: int, offset: int) -> None:
        del gaps[bisect.bisect_left(gaps, (size, offset))], begins[offset], ends[offset + size]

    def insert(size: int, offset: int) -> None:
        """Inserts a gap, merged with adjacent ones."""
        if offset in ends:
            before = ends[offset]
            remove(before, offset - before)
            size, offset = size + before, offset - before
        if offset + size in begins:
            after = begins[offset + size]
            remove(after, offset + size)
            size += after
        bisect.insort(gaps, (size, offset))
        begins[offset] = ends[offset + size] = size

    for i in order:
        nbytes, first, last = lifetimes[i]
        size = -(-max(nbytes, 1) // alignment) * alignment
        while alive and alive[0][0] < first:
            _, offset, freed = heapq.heappop(alive)
            insert(freed, offset)
        k = bisect.bisect_left(gaps, (size, 0))
        if k < len(gaps):
            room, at = gaps[k]
            remove(room, at)
            if room > size:
                insert(room - size, at + size)
        else:
            # The last gap, if it ends at the arena's end, is extended.
            at = total - ends.get(total, 0)
            if at < total:
                remove(total - at, at)
            total = at + size
        offsets[i] = at
        heapq.heappush(alive, (last, at, size))
    return offsets, total


class ResultPool:
    """Buffers for one result of a program: handed out, and reused once nothing else refers to them.

    ``entries`` are arrays with the word for a program's slot. The word is the array object, which the program checks,
    because an earlier holder may have changed its shape or its memory. If the program cannot check it, the word is the
    address. A buffer is free if its reference count is ``FREE`` in a loop over the entries. If references are not counted
    (``objects.counts_references``), or arrays not checked, every buffer is new.
    """

    LIMIT = 8

    def __init__(self, type: TensorType):
        self.shape, self.dtype = type.shape, np.empty(0, type.dtype.numpy).dtype
        self.entries: list[tuple[np.ndarray, int]] = []

    def grow(self) -> tuple[np.ndarray, int]:
        """Adds a new buffer, for when none is free."""
        # It owns its memory: every view that a caller makes refers to this object, and is counted.
        array = np.empty(self.shape, self.dtype)
        if not reads_arrays:
            return array, address(array)
        entry = (array, id(array))
        if counts_references and len(self.entries) < self.LIMIT:
            self.entries.append(entry)
        return entry


def take(pools: Sequence[ResultPool]) -> tuple[list[np.ndarray], list[int]]:
    """An unreferenced array from each pool, and the words for the slots. One call at a time."""
    arrays, words = [], []
    for pool in pools:
        for entry in pool.entries:
            if getrefcount(entry[0]) == FREE:
                break
        else:
            entry = pool.grow()
        arrays.append(entry[0])
        words.append(entry[1])
    return arrays, words


def _refcount_when_free() -> int:
    """The reference count of an array that only ``entries`` holds, in a loop like that of ``take``; -1 if it is not
    meaningful.
    """
    if not counts_references:
        return -1
    for entry in [(np.empty(0), 0)]:
        return getrefcount(entry[0])
    raise AssertionError


FREE = _refcount_when_free()
