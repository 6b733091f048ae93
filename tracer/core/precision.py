"""The precision of products of float32 on a CUDA device."""

from __future__ import annotations

from ..runtime.devices import Device
from .context import set_setting

_PRECISIONS = ("highest", "high", "medium")
_chosen = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """With "high" or "medium", products of float32 on a CUDA device may round their operands to TF32, which has 11 bits; with
    "highest", the default, they do not. On the CPU they never do. Raises RuntimeError for other names.
    """
    if precision not in _PRECISIONS:
        raise RuntimeError(f"{precision} is not one of 'highest', 'high', or 'medium'; it cannot be set")
    global _chosen
    allow_tf32(precision != "highest")
    _chosen = precision


def get_float32_matmul_precision() -> str:
    """The precision that was set; ``"high"`` if TF32 was allowed otherwise."""
    if not Device.tf32:
        return "highest"
    return _chosen if _chosen != "highest" else "high"


def allow_tf32(allowed: bool) -> None:
    """Sets whether products of float32 on a CUDA device may use TF32. Traces recorded under one value are not replayed under
    the other.
    """
    if allowed != Device.tf32:
        Device.tf32 = allowed
        set_setting("tf32", allowed)
