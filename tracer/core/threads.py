"""The number of threads of compiled kernels and of products. (The compiler is imported on the first call.)"""

from __future__ import annotations

import contextlib
import os

from .context import Structure, context, set_setting

_SETTING = "threads"


def set_num_threads(n: int) -> None:
    """Sets the number of threads that run large kernels, and eager matrix products by NumPy.

    ``TRACER_NUM_THREADS`` sets the initial number; by default it is the number of CPUs. Results of compiled code do not depend
    on it, bit for bit. Raises ValueError unless 1 <= n <= 64.
    """
    from ..runtime.support import blas, team

    team.set_num_threads(n)
    blas.set_num_threads(n)
    if _SETTING in Structure.settings:
        set_setting(_SETTING, n)


def _set_initial_number() -> None:
    """Products use the number of threads in ``TRACER_NUM_THREADS``."""
    if os.environ.get("TRACER_NUM_THREADS"):
        from ..runtime.support import blas, team

        with contextlib.suppress(ValueError):  # which the first use of threads raises
            blas.set_num_threads(team.number_of_threads())


_set_initial_number()


def get_num_threads() -> int:
    """The number of threads that run large kernels."""
    from ..runtime.support import team

    n = team.get_num_threads()
    if context.recorder is not None and _SETTING not in Structure.settings:
        set_setting(_SETTING, n)  # traces depend on it from now on
    return n
