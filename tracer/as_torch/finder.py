"""Imports of ``torch`` and its modules, and the version that tools ask the installed packages for."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

VERSION = "2.13.0"
_OURS, _ADDED = __name__.partition(".")[0], __name__.rpartition(".")[0]


def enter() -> None:
    """Registers the finder. No effect the second time. Raises ImportError if PyTorch has been imported."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if "torch" in sys.modules:
        raise ImportError("import tracer.as_torch before torch: PyTorch itself has been imported")
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.metadata.DistributionFinder):
    """Finds ``torch.a.b`` as ``tracer.as_torch.a.b``, or else as ``tracer.a.b``."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None) -> Any:
        root, _, rest = name.partition(".")
        if root != "torch":
            return None
        own = _own_name(rest)
        if own is None:
            return None
        return importlib.machinery.ModuleSpec(name, _Loader(own), is_package=True)

    def find_distributions(self, context: Any = None) -> Iterable[importlib.metadata.Distribution]:
        return [_Distribution()] if getattr(context, "name", None) == "torch" else []


class _Loader(importlib.abc.Loader):
    """Puts a module of this package in the place of a module of PyTorch."""

    def __init__(self, own: str):
        self.own = own

    def exec_module(self, module: types.ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self.own)


class _Distribution(importlib.metadata.Distribution):
    """The installed package ``torch``, for tools that compare its version."""

    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(path)


def _own_name(rest: str) -> str | None:
    """The module that stands for ``torch.<rest>``; None if there is none."""
    if not rest:
        return f"{_ADDED}.namespace"
    for name in (f"{_ADDED}.{rest}", f"{_OURS}.{rest}"):
        if name in sys.modules:
            return name
        try:
            if importlib.util.find_spec(name) is not None:
                return name
        except ModuleNotFoundError:
            continue
    return None
