"""Freed memory, kept for later allocations: allocation by the driver is slow, and waits for the device.

Memory belongs to the stream that it was allocated in. Work in a stream runs in order, so freed memory is used again at once
there, and never in another stream. Work of other streams that used it has events, which must have happened first. PyTorch's
allocators have the same rules.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

_ROUND = 512  # bytes: sizes of allocations are multiples


class OutOfMemoryError(RuntimeError):
    """A device has no memory left for an allocation."""


class DeviceError(RuntimeError):
    """A device has reported an error. Work that was under way is lost."""


class Pool:
    """Allocations of one kind of memory, and the numbers of bytes."""

    def __init__(self, reserve: Callable[[int], int], release: Callable[[int, int], None], happened: Callable[[Any], bool]):
        """``reserve(nbytes)`` is the address of new memory or raises MemoryError, ``release(address, nbytes)`` gives it back,
        ``happened(event)`` says whether the work before an event has finished.
        """
        self._reserve, self._release, self._happened = reserve, release, happened
        self._lock = threading.RLock()  # an array may be freed while another is allocated
        self._unused: dict[tuple[int, int], list[int]] = {}  # addresses by stream and size
        self._pending: list[tuple[Sequence[Any], tuple[int, int], int]] = []  # freed, but events have not happened
        self.allocated = self.reserved = self.most_allocated = self.most_reserved = 0  # bytes

    def allocate(self, nbytes: int, stream: int = 0) -> int:
        """The address of memory of at least that size. Raises MemoryError if there is none."""
        size = -(-max(nbytes, 1) // _ROUND) * _ROUND
        with self._lock:
            if self._pending:
                self._collect()
            if unused := self._unused.get((stream, size)):
                address = unused.pop()
            else:
                address = self._reserve(size)
                self.reserved += size
                self.most_reserved = max(self.reserved, self.most_reserved)
            self.allocated += size
            self.most_allocated = max(self.allocated, self.most_allocated)
        return address

    def free(self, address: int, nbytes: int, stream: int = 0, events: Sequence[Any] = ()) -> None:
        """Takes memory back. ``events``: of work in other streams that uses it."""
        size = -(-max(nbytes, 1) // _ROUND) * _ROUND
        with self._lock:
            self.allocated -= size
            if events:
                self._pending.append((events, (stream, size), address))
            else:
                self._unused.setdefault((stream, size), []).append(address)

    def _collect(self) -> None:
        """Makes the memory available whose events have happened."""
        pending, self._pending = self._pending, []
        for entry in pending:
            events, key, address = entry
            if all(map(self._happened, events)):
                self._unused.setdefault(key, []).append(address)
            else:
                self._pending.append(entry)

    def empty(self) -> None:
        """Releases all unused memory. The device must have finished its work."""
        with self._lock:
            self._collect()
            unused, self._unused = self._unused, {}  # releasing may collect garbage, which is freed here
            for (_, size), addresses in unused.items():
                for address in addresses:
                    self._release(address, size)
                    self.reserved -= size
