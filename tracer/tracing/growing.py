"""Containers that a run adds to without reading them, such as logs and caches: what was in them is no concern of its trace.

While such a run is recorded, the container has a class that hears what is done to it. A list, set or deque must only be added
to; of a dictionary the keys that are read become slots, as all other keys are of no consequence.
"""

from __future__ import annotations

import collections
import copy
from collections.abc import Callable, Iterable
from typing import Any

from ..context import context
from ..runtime.objects import set_class


class Heard:
    """What a run did to a container: the items that it added, in order, the keys it read, and whether it read more."""

    def __init__(self, holder: Any):
        self.holder = holder
        self.added: list[Any] = []
        self.read: dict[Any, None] = {}
        self.is_read = False
        self._length = len(holder)
        self._written: set[Any] = set()

    def begin(self) -> None:
        listening = _LISTENING.get(type(self.holder))
        if listening is None:  # another thread listens
            self.is_read = True
            return
        _heard[id(self.holder)] = self
        set_class(self.holder, listening)

    def end(self) -> None:
        if _heard.get(id(self.holder)) is self:
            set_class(self.holder, type(self.holder).__bases__[0])
            del _heard[id(self.holder)]
            if type(self.holder) is list and len(self.holder) != self._length + len(self.added):
                self.is_read = True  # something has happened unheard

    def adds(self, items: Iterable[Any]) -> None:
        self.added += items

    def puts(self, key: Any, value: Any) -> None:
        if key in self._written:
            self.added[:] = [pair for pair in self.added if pair[0] != key]
        self._written.add(key)
        self.added.append((key, value))

    def reads(self, key: Any) -> None:
        if key not in self._written:
            self.read[key] = None


_heard: dict[int, Heard] = {}


def _of(x: Any) -> Heard | None:
    """Who hears what the running function does to a container; nobody hears other threads."""
    return _heard.get(id(x)) if context.recorder is not None else None


def _method(base: type, name: str) -> Callable[..., Any]:
    """A method that may read anything."""
    original = getattr(base, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        heard = _of(self)
        if heard is not None:
            heard.is_read = True
        return original(self, *args, **kwargs)

    method.__name__ = name
    return method


def _reduce(base: type) -> dict[str, Callable[..., Any]]:
    """Copies, which are of the plain class."""

    def plain(self: Any) -> Any:
        heard = _of(self)
        if heard is not None:
            heard.is_read = True
        limit = (self.maxlen,) if base is collections.deque else ()
        return base(base.copy(self), *limit)  # type: ignore[attr-defined]

    return {
        "__reduce_ex__": lambda self, protocol: plain(self).__reduce_ex__(protocol),
        "__copy__": lambda self: plain(self),
        "__deepcopy__": lambda self, memo: copy.deepcopy(plain(self), memo),
    }


_KEPT = {
    "__class__",
    "__class_getitem__",
    "__delattr__",
    "__dir__",
    "__doc__",
    "__getattribute__",
    "__hash__",
    "__init__",
    "__init_subclass__",
    "__new__",
    "__setattr__",
    "__sizeof__",
    "__subclasshook__",
}


def _listening(base: type, **own: Callable[..., Any]) -> type:
    """The class of containers that are listened to: all that it does not define itself may read anything."""
    names = [name for name in dir(base) if name not in _KEPT and callable(getattr(base, name))]
    methods = {name: _method(base, name) for name in names}
    shown = property(lambda self: base)
    return type(base.__name__, (base,), {**methods, **_reduce(base), **own, "__slots__": (), "__class__": shown})


def _adding(base: type, name: str, many: bool) -> Callable[..., Any]:
    original = getattr(base, name)

    def add(self: Any, x: Any) -> Any:
        heard = _of(self)
        if heard is None:
            return original(self, x)
        items = list(x) if many else [x]
        result = original(self, items if many else x)
        heard.adds(items)
        return result

    add.__name__ = name
    return add


def _put(self: dict, key: Any, value: Any) -> None:
    dict.__setitem__(self, key, value)
    heard = _of(self)
    if heard is not None:
        heard.puts(key, value)


def _update(self: dict, *args: Any, **kwargs: Any) -> None:
    for key, value in dict(*args, **kwargs).items():
        _put(self, key, value)


def _merge(self: dict, other: Any) -> dict:
    _update(self, other)
    return self


def _reading(name: str) -> Callable[..., Any]:
    original = getattr(dict, name)

    def read(self: dict, key: Any, *default: Any) -> Any:
        heard = _of(self)
        if heard is not None:
            heard.reads(key)
        return original(self, key, *default)

    read.__name__ = name
    return read


def _set_default(self: dict, key: Any, default: Any = None) -> Any:
    heard = _of(self)
    if heard is not None:
        heard.reads(key)
        if not dict.__contains__(self, key):
            _put(self, key, default)
    return dict.setdefault(self, key, default)


def _sequence(base: type) -> type:
    adding = {"append": _adding(base, "append", False), "extend": _adding(base, "extend", True)}
    return _listening(base, **adding, __iadd__=_adding(base, "__iadd__", True))


_LISTENING: dict[type, type] = {
    list: _sequence(list),
    collections.deque: _sequence(collections.deque),
    set: _listening(set, add=_adding(set, "add", False)),
    dict: _listening(
        dict,
        __setitem__=_put,
        update=_update,
        __ior__=_merge,
        setdefault=_set_default,
        **{name: _reading(name) for name in ("__getitem__", "__contains__", "get")},
    ),
}


def can_be_heard(x: Any) -> bool:
    """Whether it is of one of the classes."""
    return type(x) in _LISTENING
