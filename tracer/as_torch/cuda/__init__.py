"""``torch.cuda``, and the same for other kinds of devices: there are none."""

from __future__ import annotations

import contextlib
from typing import Any

from ...cuda import device_count, is_available, manual_seed, manual_seed_all, synchronize
from ..absent import rest_of
from . import amp

__getattr__ = rest_of("cuda")


def empty_cache() -> None:
    """No effect: no memory is kept on another device."""


ipc_collect = reset_peak_memory_stats = reset_max_memory_allocated = empty_cache


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated
default_generators: tuple[Any, ...] = ()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_current_stream_capturing() -> bool:
    """False."""
    return False


def get_rng_state_all() -> list[Any]:
    """Empty: there is no generator on another device."""
    return []


def set_rng_state_all(new_states: Any) -> None:
    """No effect."""


def device(device: Any) -> Any:
    """A context without effect."""
    return contextlib.nullcontext()
