"""How many threads compiled kernels are shared among. (The compiler is imported on the first call.)"""

from __future__ import annotations

from .context import Structure, context, set_setting

_SETTING = "threads"


def set_num_threads(n: int) -> None:
    """Shares large kernels among ``n`` threads from now on.

    ``TRACER_NUM_THREADS`` says how many to begin with; by default as many as there are CPUs. Results do not depend on it, bit
    for bit. Raises ValueError unless 1 <= n <= 64.
    """
    from .runtime import team

    team.set_num_threads(n)
    if _SETTING in Structure.settings:
        set_setting(_SETTING, n)


def get_num_threads() -> int:
    """How many threads large kernels are shared among."""
    from .runtime import team

    n = team.get_num_threads()
    if context.recorder is not None and _SETTING not in Structure.settings:
        set_setting(_SETTING, n)  # from now on traces depend on it
    return n
