"""NVIDIA's devices: programs that ask whether there are any are told."""

from __future__ import annotations


def is_available() -> bool:
    """False: tensors live on the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed_all(seed: int) -> None:
    """Nothing: there is no generator on another device."""


manual_seed = manual_seed_all


def synchronize(device: object = None) -> None:
    """Nothing: everything has been done when a call returns."""
