"""The threads of a launch, groups of threads, and faults."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

WARP = 32


class Fault(Exception):
    """An operation that hardware rejects, or whose result is undefined.

    ``kind`` is one of: out of bounds, misaligned, uninitialised memory, uninitialised register, divergent barrier,
    barrier after exit, missing lanes, shared race, global race, conflicting stores, read-only load, endless, trap.
    """

    def __init__(self, kind: str, text: str, thread: int, block: int, detail: str = "") -> None:
        self.kind, self.text, self.thread, self.block = kind, text, thread, block
        super().__init__(f"{kind}: {text!r} by thread {thread} of block {block}" + (f": {detail}" if detail else ""))


class Group:
    """Threads at one instruction, in ascending order. ``at`` indexes their elements in a register, as a slice if possible."""

    __slots__ = ("at", "count", "present", "threads", "whole")

    def __init__(self, threads: np.ndarray) -> None:
        self.threads = threads
        self.count = count = len(threads)
        contiguous = count and int(threads[-1]) - int(threads[0]) == count - 1
        self.at = slice(int(threads[0]), int(threads[-1]) + 1) if contiguous else threads
        self.present: np.ndarray | None = None
        self.whole = False

    def where(self, mask: np.ndarray) -> Group:
        """The threads of the group for which ``mask`` holds."""
        chosen = np.count_nonzero(mask)
        if chosen == self.count:
            return self
        return Group(self.threads[mask]) if chosen else EMPTY

    def merged(self, other: Group) -> Group:
        return Group(np.sort(np.concatenate([self.threads, other.threads])))


EMPTY = Group(np.zeros(0, np.int64))


def _extents(size: int | Sequence[int]) -> tuple[int, int, int]:
    sizes = (size,) if isinstance(size, int) else tuple(size)
    return (*sizes, 1, 1)[:3]  # type: ignore[return-value]


class Grid:
    """The coordinates of all threads of a launch. Threads are numbered across the grid, block by block."""

    def __init__(self, blocks: int | Sequence[int], threads: int | Sequence[int]) -> None:
        grid, block = _extents(blocks), _extents(threads)
        self.blocks, self.threads = math.prod(grid), math.prod(block)
        self.count = self.blocks * self.threads
        self.everyone = np.arange(self.count)
        self.block = self.everyone // self.threads
        within = self.everyone % self.threads
        warps = -(-self.threads // WARP)
        self.warps = self.blocks * warps
        self.warp = self.block * warps + within // WARP
        self.lane = within % WARP
        self.bit = np.left_shift(np.uint32(1), self.lane.astype(np.uint32))
        self.existing = self._bits_by_warp(self.everyone)
        self.special = {
            **_coordinates("%tid", within, block),
            **_coordinates("%ctaid", self.block, grid),
            **{f"%ntid.{axis}": np.full(self.count, n, np.uint32) for axis, n in zip("xyz", block, strict=True)},
            **{f"%nctaid.{axis}": np.full(self.count, n, np.uint32) for axis, n in zip("xyz", grid, strict=True)},
            "%laneid": self.lane.astype(np.uint32),
            "%warpid": (within // WARP).astype(np.uint32),
            "%nwarpid": np.full(self.count, warps, np.uint32),
            **_lane_masks(self.lane),
        }

    def present(self, group: Group) -> np.ndarray:
        """For each warp of the grid, the mask of its lanes in the group. Cached in the group."""
        if group.present is None:
            group.present = self._bits_by_warp(group.threads)
            group.whole = not ((group.present != 0) & (group.present != self.existing)).any()
        return group.present

    def ballot(self, group: Group, votes: np.ndarray) -> np.ndarray:
        """For each thread of the group, the mask of the lanes of its warp that vote for it."""
        return self._bits_by_warp(group.threads[votes])[self.warp[group.threads]]

    def fault(self, kind: str, text: str, thread: int, detail: str = "") -> Fault:
        """A fault of the thread with that number in the grid."""
        return Fault(kind, text, int(thread) % self.threads, int(thread) // self.threads, detail)

    def _bits_by_warp(self, threads: np.ndarray) -> np.ndarray:
        # Each bit occurs once, so the sums are exact in double precision.
        return np.bincount(self.warp[threads], self.bit[threads], self.warps).astype(np.uint32)


def _coordinates(name: str, number: np.ndarray, extents: tuple[int, int, int]) -> dict[str, np.ndarray]:
    x, y, _ = extents
    parts = (number % x, number // x % y, number // (x * y))
    return {f"{name}.{axis}": part.astype(np.uint32) for axis, part in zip("xyz", parts, strict=True)}


def _lane_masks(lane: np.ndarray) -> dict[str, np.ndarray]:
    bit = 1 << lane.astype(np.int64)
    masks = {"eq": bit, "lt": bit - 1, "le": 2 * bit - 1, "ge": -bit, "gt": -2 * bit}
    return {f"%lanemask_{name}": (mask & 0xFFFFFFFF).astype(np.uint32) for name, mask in masks.items()}
