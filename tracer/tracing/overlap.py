"""Pairs of arrays that share memory, in time proportional to the number of arrays and pairs.

Like ``np.may_share_memory``, this compares the bounds of arrays: the elements of two strided arrays may interleave.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..runtime.devices import address, bounds


def overlapping(arrays: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of arrays that share memory, in order."""
    found: list[tuple[int, int]] = []
    open_: list[tuple[int, int]] = []  # the ends of arrays that began before, and their numbers
    for low, high, i in sorted((*_bounds(a), i) for i, a in enumerate(arrays) if a.size):
        open_ = [(end, j) for end, j in open_ if end > low]
        found += [(min(i, j), max(i, j)) for _, j in open_]
        open_.append((high, i))
    return sorted(found)


def is_written_over(arrays: Iterable[tuple[np.ndarray, bool]]) -> bool:
    """True if two of the arrays share memory and at least one of them is written."""
    last = last_written = 0
    for low, high, written in sorted((*_bounds(a), written) for a, written in arrays if a.size):
        if low < (last if written else last_written):
            return True
        last = max(last, high)
        if written:
            last_written = max(last_written, high)
    return False


def overlap(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Whether one of some arrays shares memory with one of others."""
    return any(i < len(some) <= j for i, j in overlapping([*some, *others]))


def _bounds(a: np.ndarray) -> tuple[int, int]:
    """The start and end of an array's memory."""
    if a.flags.c_contiguous:
        start = address(a)
        return start, start + a.nbytes
    return bounds(a)
