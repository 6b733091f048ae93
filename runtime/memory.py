"""Where values live: addresses of arrays, the plan of a program's arena, and buffers for its results."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from sys import getrefcount

import numpy as np

from ..ir.types import TensorType

ALIGNMENT = 64


def _address_by_interface(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _address_by_layout(array: np.ndarray) -> int:
    # The first field of an array object after the object's head: NumPy's C ABI, read by PyArray_DATA in
    # every extension. Ten times as fast as the interface, which builds a dictionary.
    return _word_at(id(array) + _HEAD).value


_HEAD = object.__basicsize__
_word_at = ctypes.c_size_t.from_address


def _layout_holds() -> bool:
    probe = np.zeros((3, 4))
    views = (probe, probe[1:, 2:], probe.T, np.zeros(()))
    return sys.implementation.name == "cpython" and all(_address_by_layout(v) == _address_by_interface(v) for v in views)


# The address of an array's first element.
address = _address_by_layout if _layout_holds() else _address_by_interface


def aligned_empty(nbytes: int) -> np.ndarray:
    """Bytes that begin at a multiple of the vector width."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + nbytes]


def plan(lifetimes: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Offsets in one arena for buffers given as (size, first step, last step), and the arena's size.

    Buffers whose lives overlap do not overlap in memory. Greedy: largest first, each in the lowest gap that holds it.
    """
    order = sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i][0], lifetimes[i][1]))
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    total = 0
    for i in order:
        size, first, last = lifetimes[i]
        size = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        at = 0
        for o, e, f, t in placed:  # kept sorted by offset
            if f <= last and first <= t:
                if at + size <= o:
                    break
                at = max(at, e)
        offsets[i] = at
        placed.append((at, at + size, first, last))
        placed.sort()
        total = max(total, at + size)
    return offsets, total


class ResultPool:
    """Buffers for one result of a program: handed out, and used again once nobody else holds them.

    ``entries`` are arrays and their addresses; one is free if its reference count is ``FREE`` in a loop over them.
    """

    LIMIT = 8

    def __init__(self, type: TensorType):
        self.shape, self.dtype = type.shape, type.dtype.numpy
        self.entries: list[tuple[np.ndarray, int]] = []

    def grow(self) -> tuple[np.ndarray, int]:
        """A new buffer, for when none is free."""
        # It owns its memory: whatever view a caller makes refers to this very object, and is counted.
        array = np.empty(self.shape, self.dtype)
        entry = (array, address(array))
        if len(self.entries) < self.LIMIT:
            self.entries.append(entry)
        return entry


def take(pools: Sequence[ResultPool]) -> tuple[list[np.ndarray], list[int]]:
    """From each pool an array that nobody else holds; and their addresses. One thread at a time."""
    arrays, addresses = [], []
    for pool in pools:
        for entry in pool.entries:
            if getrefcount(entry[0]) == FREE:
                break
        else:
            entry = pool.grow()
        arrays.append(entry[0])
        addresses.append(entry[1])
    return arrays, addresses


def _refcount_when_free() -> int:
    for entry in [(np.empty(0), 0)]:
        return getrefcount(entry[0])
    raise AssertionError


FREE = _refcount_when_free()
