"""``torch.ops``: operators by name: those that a program defines (``torch.library``); all others are stand-ins."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from .absent import absent
from .library import operators


class _Namespace(types.SimpleNamespace):
    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return operators.get(f"{self._name}::{name}") or absent(f"ops.{self._name}.{name}")


def load_library(path: Any) -> None:
    """Raises OSError: libraries of compiled operators need PyTorch itself. Only torchvision's are replaced."""
    file = Path(path)
    if file.parent.name != "torchvision" or not file.name.startswith("_C"):
        raise OSError(f"{path} needs PyTorch itself")
    from . import vision


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module 'torch.ops' has no attribute {name!r}")
    globals()[name] = found = _Namespace(name)
    return found
