"""The C library's allocator.

Where tensors of some megabytes are created and freed in turn, glibc returns their memory to the system and asks for it again:
each page then costs a page fault, which takes longer than computing its elements.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # the numbers of mallopt(3)
_KEPT = 512 << 20  # bytes of freed memory that are kept
_LARGEST = 32 << 20  # bytes of an allocation from kept memory: the most that glibc accepts


def keep_freed_memory() -> None:
    """Makes the allocator keep freed memory for later allocations. No effect if the user has set its options by environment
    variables, or with another C library.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)


_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
