"""``torch.cuda``, and the same for other kinds of devices: there are none."""

from __future__ import annotations

from typing import Any

from ...cuda import *
from ...cuda import reset_peak_memory_stats
from ..absent import rest_of
from . import amp

__getattr__ = rest_of("cuda")


def reset_max_memory_allocated(device: Any = None) -> None:
    """``reset_peak_memory_stats``."""
    reset_peak_memory_stats(device)


def ipc_collect() -> None:
    """No effect: tensors are copied to other processes."""


default_generators: tuple[Any, ...] = ()


def is_bf16_supported(including_emulation: bool = True) -> bool:
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
