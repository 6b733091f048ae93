"""Accelerators: there are none; tensors live on the CPU."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """False: tensors live on the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


def current_accelerator(check_available: bool = False) -> None:
    """None: there is no accelerator."""
    return None


def current_device_index() -> int:
    """Raises RuntimeError: there is no accelerator."""
    raise RuntimeError("there is no accelerator: tensors live on 'cpu'")


def synchronize(device: Any = None) -> None:
    """No effect: calls are complete when they return."""


def empty_cache() -> None:
    """No effect: no memory is kept on another device."""
