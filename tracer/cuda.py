"""CUDA's interface, for programs that ask for devices: there are none."""

from __future__ import annotations


def is_available() -> bool:
    """False: tensors live on the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed_all(seed: int) -> None:
    """No effect: there is no generator on another device."""


manual_seed = manual_seed_all


def synchronize(device: object = None) -> None:
    """No effect: calls are complete when they return."""
