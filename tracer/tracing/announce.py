"""Objects that announce their changes, so that guards need not compare them in every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.context import structure_changed


class Announcing:
    """Base of objects that call ``structure_changed`` when one of their attributes changes."""


class AnnouncingDict(dict):
    """A dict that announces its changes."""

    __slots__ = ()


class AnnouncingList(list):
    """A list that announces its changes."""

    __slots__ = ()


def _announce(cls: Any, base: type, names: str) -> None:
    for name in names.split():
        setattr(cls, name, _announced(getattr(base, name)))


def _announced(change: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        structure_changed()
        return change(self, *args, **kwargs)

    return method


_announce(AnnouncingDict, dict, "__setitem__ __delitem__ __ior__ clear pop popitem setdefault update")
_announce(
    AnnouncingList,
    list,
    "__setitem__ __delitem__ __iadd__ __imul__ append clear extend insert pop remove reverse sort",
)
