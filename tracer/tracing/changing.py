"""The ints of a call that differ between calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_CHANGES, _PINNED = "changes", object()
_MANY = 1024  # remembered structures


class Changing:
    """Which int arguments are dynamic numbers: those that have changed, unless a trace needs their values.

    Calls are distinguished by their structure, ints by their number in it.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple, list[Any]] = {}

    def expect(self, tokens: list[Any]) -> None:
        """Expects the next int to change."""
        tokens.append(_CHANGES)

    def positions(self, structure: tuple, ints: Sequence[int], inside: Sequence[int]) -> frozenset[int]:
        """The numbers of the ints that are not part of a call's key. If one of those ``inside`` containers changes, all of
        them are expected to.
        """
        seen = self._seen.get(structure)
        if seen is None:
            if len(self._seen) >= _MANY:
                self._seen.clear()
            seen = self._seen[structure] = list(ints)
            at = -1
            for token, before in zip(structure, (None, *structure), strict=False):
                if token is int:
                    at += 1
                    if before is _CHANGES:
                        seen[at] = _CHANGES
        for i, (x, was) in enumerate(zip(ints, seen, strict=True)):
            if was is not _CHANGES and was is not _PINNED and x != was:
                seen[i] = _CHANGES
                if i in inside:
                    seen[:] = [_CHANGES if k in inside and was is not _PINNED else was for k, was in enumerate(seen)]
        return frozenset([i for i, was in enumerate(seen) if was is _CHANGES])

    def copy(self, structure: tuple, to: tuple) -> None:
        """Copies the knowledge about calls of one structure to another one."""
        if structure in self._seen:
            self._seen[to] = list(self._seen[structure])

    def pin(self, structure: tuple, positions: Iterable[int]) -> None:
        """Makes these ints constants from now on."""
        seen = self._seen.get(structure)
        if seen is not None:
            for i in positions:
                seen[i] = _PINNED
