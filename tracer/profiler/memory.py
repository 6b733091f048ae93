"""Memory of the process over time."""

from __future__ import annotations

import os
import sys

_EVERY = 1_000_000  # nanoseconds between samples


class Memory:
    """Samples of the process's resident memory: pairs of nanoseconds and bytes."""

    def __init__(self) -> None:
        self.samples: list[tuple[int, int]] = []
        self._next = 0

    def sample(self, now: int, always: bool = False) -> None:
        """Adds a sample unless the last one is recent."""
        if now >= self._next or always:
            self._next = now + _EVERY
            used = resident()
            if used:
                self.samples.append((now, used))

    @property
    def peak(self) -> int:
        """The largest sample in bytes; 0 if the system does not tell."""
        return max((used for _, used in self.samples), default=0)


def resident() -> int:
    """The process's resident memory in bytes; 0 if the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # only the maximum so far
        return most if sys.platform == "darwin" else most * 1024
    except ImportError:
        return 0
