"""``torch.version`` and ``torch.torch_version``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .finder import VERSION

__all__ = ["TorchVersion", "__version__", "cuda", "debug", "git_version", "hip", "xpu"]


class TorchVersion(str):
    """A version that is compared by its numbers, with strings and with tuples of numbers."""

    def __lt__(self, other: Any) -> bool:
        return _numbers(self, other) < _numbers(other, self)

    def __le__(self, other: Any) -> bool:
        return _numbers(self, other) <= _numbers(other, self)

    def __gt__(self, other: Any) -> bool:
        return _numbers(self, other) > _numbers(other, self)

    def __ge__(self, other: Any) -> bool:
        return _numbers(self, other) >= _numbers(other, self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (str, tuple, list)) and _numbers(self, other) == _numbers(other, self)

    __hash__ = str.__hash__


def _numbers(version: Any, other: Any) -> list[int]:
    """The numbers of a release, as many as the longer of two versions has."""
    found, more = (_release(v) for v in (version, other))
    return found + [0] * (len(more) - len(found))


def _release(version: Any) -> list[int]:
    if isinstance(version, str):
        return [int(n) for n in re.findall(r"\d+", re.split(r"[+a-z]", version, maxsplit=1)[0])]
    if isinstance(version, Iterable):
        return [int(n) for n in version if str(n).isdigit()]
    raise TypeError(f"a version cannot be compared with {type(version).__name__}: write a string or a tuple of numbers")


__version__ = TorchVersion(VERSION)
cuda = hip = xpu = None
debug = False
git_version = "unknown"
