"""``torch.distributed``: a program with one process."""

from __future__ import annotations

from typing import Any

from .absent import rest_of

__getattr__ = rest_of("distributed")


def is_available() -> bool:
    """False."""
    return False


is_initialized = is_mpi_available = is_nccl_available = is_gloo_available = is_torchelastic_launched = is_available


def get_rank(group: Any = None) -> int:
    """0."""
    return 0


def get_world_size(group: Any = None) -> int:
    """1."""
    return 1


class group:
    """Groups of processes: there is one process."""

    WORLD = None
