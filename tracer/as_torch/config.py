"""``torch.__config__``: what the library was built with."""

from __future__ import annotations

import numpy

from ..core.threads import get_num_threads
from .version import __version__


def show() -> str:
    """A text about the build."""
    return f"tracer as PyTorch {__version__}: kernels by Numba, NumPy {numpy.__version__}\n"


def parallel_info() -> str:
    """A text about threads."""
    return f"ATen/Parallel:\n\tat::get_num_threads() : {get_num_threads()}\n"
