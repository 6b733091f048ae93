"""``torch.distributed``: a program with one process."""

from __future__ import annotations

from typing import Any

from .absent import absent


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


def __getattr__(name: str) -> Any:
    if name in _ABSENT:
        return absent(f"distributed.{name}")
    raise AttributeError(f"module 'torch.distributed' has no attribute {name!r}")


_ABSENT = frozenset(
    """
    DeviceMesh Join P2POp ProcessGroup ReduceOp Work all_gather all_gather_into_tensor all_gather_object all_reduce all_to_all
    all_to_all_single barrier batch_isend_irecv broadcast broadcast_object_list destroy_process_group gather gather_object
    get_backend get_process_group_ranks init_device_mesh init_process_group irecv isend new_group recv reduce reduce_scatter
    reduce_scatter_tensor scatter scatter_object_list send monitored_barrier
    """.split()
)
