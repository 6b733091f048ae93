"""The number of threads of NumPy's BLAS, which computes eager matrix products."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_NAMES = [f"{prefix}openblas_set_num_threads{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", "")]


def set_num_threads(n: int) -> None:
    """Sets the number for OpenBLAS, if NumPy brings it; another BLAS keeps its own."""
    for function in _setters():
        function(n)


@functools.cache
def _setters() -> list[Callable[[int], Any]]:
    return [found for library in _libraries() for name in _NAMES if (found := getattr(library, name, None)) is not None]


def _libraries() -> Iterator[ctypes.CDLL]:
    """The copies of OpenBLAS in NumPy's wheels."""
    root = Path(np.__file__).parent
    for folder in (root.parent / "numpy.libs", root / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")) if folder.is_dir() else ():
            try:
                yield ctypes.CDLL(str(path))
            except OSError:  # for another system
                continue
