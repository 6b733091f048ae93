"""``torch.onnx``: programs can ask whether they are exported, which they never are."""

from __future__ import annotations

from typing import Any

from .absent import rest_of

__getattr__ = rest_of("onnx")


def is_in_onnx_export() -> bool:
    """False."""
    return False


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Any, opset_version: int, custom_opsets: Any = None) -> None:
    """No effect."""
