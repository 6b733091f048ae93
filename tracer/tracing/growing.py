"""Containers that a run only adds to, such as logs and caches: their earlier contents need no guard.

While such a run is recorded, the container's class is a subclass that records each access. A list, set or deque must only
be added to; for a dictionary, the keys that are read become slots, and other keys need no guard.
"""

from __future__ import annotations

import collections
import copy
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..core.context import context
from ..runtime.support.objects import set_class
from .scalars import Length


class Accesses:
    """A run's accesses to a container: the added items, in order, the keys it read, and whether it read more."""

    def __init__(self, holder: Any, index: int = -1):
        self.holder, self.index = holder, index  # the number of an object of the call
        self._root: Any = None
        self.added: list[Any] = []
        self.read: dict[Any, None] = {}
        self.is_read = False
        self._length = len(holder)
        self._written: set[Any] = set()
        self._thread = 0

    def begin(self) -> None:
        tracked = _TRACKED.get(type(self.holder))
        if tracked is None:  # another thread tracks it
            self.is_read = True
            return
        self._thread = threading.get_ident()
        _current[id(self.holder)] = self
        set_class(self.holder, tracked)

    def end(self) -> None:
        if _current.get(id(self.holder)) is self:
            set_class(self.holder, type(self.holder).__bases__[0])
            del _current[id(self.holder)]
            if type(self.holder) is list and len(self.holder) != self._length + len(self.added):
                self.is_read = True  # an access was not recorded

    def adds(self, items: Iterable[Any]) -> None:
        self.added += items

    def puts(self, key: Any, value: Any) -> None:
        if key in self._written:
            self.added[:] = [pair for pair in self.added if pair[0] != key]
        self._written.add(key)
        self.added.append((key, value))

    def length(self) -> Any:
        """The current number of items: a dynamic number, if the container is a sequence."""
        recorder = context.recorder
        if recorder is None or recorder.plain_numbers or not isinstance(self.holder, (list, collections.deque)):
            return None
        if self.is_read:  # possibly by a method that removes something; the run is not replayed
            return None
        if isinstance(self.holder, collections.deque) and self.holder.maxlen is not None:
            return None
        if self._root is None:
            at = Length(self.holder, -1) if self.index < 0 else Length(None, self.index)
            self._root = recorder.floats.root(at, self._length)
        return self._root + len(self.added) if self.added else self._root

    def has_added(self, i: Any) -> bool:
        """True if the run has added the item at a position, or the items of a slice."""
        if type(i) is slice:
            whole = i.stop is None and i.step in (None, 1) and type(i.start) is int
            return whole and self.has_added(i.start)
        return type(i) is int and -len(self.added) <= i < 0

    def reads(self, key: Any) -> None:
        if key not in self._written:
            self.read[key] = None


_current: dict[int, Accesses] = {}


def length_of(x: Any) -> Any:
    """The length of a container that the run only adds to, as a dynamic number; None for others."""
    accesses = _of(x)
    return None if accesses is None else accesses.length()


def plain_class(x: Any) -> type | None:
    """The class of a container whose accesses are recorded; None for others."""
    return type(x).__bases__[0] if type(x) in _CLASSES else None


def _of(x: Any) -> Accesses | None:
    """The record of the running function's accesses to a container; other threads' accesses are not recorded."""
    accesses = None if context.recorder is None else _current.get(id(x))
    return accesses if accesses is not None and accesses._thread == threading.get_ident() else None


def _method(base: type, name: str) -> Callable[..., Any]:
    """A method that may read anything."""
    original = getattr(base, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        accesses = _of(self)
        if accesses is not None:
            accesses.is_read = True
        return original(self, *args, **kwargs)

    method.__name__ = name
    return method


def _reduce(base: type) -> dict[str, Callable[..., Any]]:
    """Copies are of the plain class."""

    def plain(self: Any) -> Any:
        accesses = _of(self)
        if accesses is not None:
            accesses.is_read = True
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


def _tracked(base: type, **own: Callable[..., Any]) -> type:
    """The subclass that records accesses: every method that is not given here counts as reading everything."""
    names = [name for name in dir(base) if name not in _KEPT and callable(getattr(base, name))]
    methods = {name: _method(base, name) for name in names}
    shown = property(lambda self: base)
    own |= {"__new__": lambda cls, *args, **kwargs: base(*args, **kwargs)}  # of ``type(x)(...)`` in a library
    if hasattr(base, "__add__"):  # C code adds a list to another one without a call of the other's methods
        own["__radd__"] = _added_to
    return type(base.__name__, (base,), {**methods, **_reduce(base), **own, "__slots__": (), "__class__": shown})


def _added_to(self: Any, other: Any) -> Any:
    accesses = _of(self)
    if accesses is not None:
        accesses.is_read = True
    return NotImplemented


def _adding(base: type, name: str, many: bool) -> Callable[..., Any]:
    original = getattr(base, name)

    def add(self: Any, x: Any) -> Any:
        accesses = _of(self)
        if accesses is None:
            return original(self, x)
        items = list(x) if many else [x]
        result = original(self, items if many else x)
        accesses.adds(items)
        return result

    add.__name__ = name
    return add


def _put(self: dict, key: Any, value: Any) -> None:
    dict.__setitem__(self, key, value)
    accesses = _of(self)
    if accesses is not None:
        accesses.puts(key, value)


def _update(self: dict, *args: Any, **kwargs: Any) -> None:
    for key, value in dict(*args, **kwargs).items():
        _put(self, key, value)


def _merge(self: dict, other: Any) -> dict:
    _update(self, other)
    return self


def _reading(name: str) -> Callable[..., Any]:
    original = getattr(dict, name)

    def read(self: dict, key: Any, *default: Any) -> Any:
        accesses = _of(self)
        if accesses is not None:
            accesses.reads(key)
        return original(self, key, *default)

    read.__name__ = name
    return read


def _set_default(self: dict, key: Any, default: Any = None) -> Any:
    accesses = _of(self)
    if accesses is not None:
        accesses.reads(key)
        if not dict.__contains__(self, key):
            _put(self, key, default)
    return dict.setdefault(self, key, default)


def _item(base: type) -> Callable[..., Any]:
    original: Any = base.__getitem__  # type: ignore[index]

    def read(self: Any, i: Any) -> Any:
        accesses = _of(self)
        if accesses is not None and not accesses.has_added(i):
            accesses.is_read = True
        return original(self, i)

    return read


def _sequence(base: type) -> type:
    adding = {"append": _adding(base, "append", False), "extend": _adding(base, "extend", True)}
    return _tracked(base, **adding, __iadd__=_adding(base, "__iadd__", True), __getitem__=_item(base))


_TRACKED: dict[type, type] = {
    list: _sequence(list),
    collections.deque: _sequence(collections.deque),
    set: _tracked(set, add=_adding(set, "add", False)),
    dict: _tracked(
        dict,
        __setitem__=_put,
        update=_update,
        __ior__=_merge,
        setdefault=_set_default,
        **{name: _reading(name) for name in ("__getitem__", "__contains__", "get")},
    ),
}
# Names in code that may read another set without a call of that set's methods.
OF_SETS = frozenset(
    [
        *("set", "frozenset", "update", "union", "isdisjoint", "issubset", "issuperset"),
        *("intersection", "intersection_update", "difference", "difference_update"),
        *("symmetric_difference", "symmetric_difference_update"),
    ]
)
_CLASSES = frozenset(_TRACKED.values())


def can_be_tracked(x: Any) -> bool:
    """True if accesses to a container of this class can be recorded."""
    return type(x) in _TRACKED
