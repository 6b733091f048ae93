"""Objects taken apart, and rebuilt from other parts, without calling their methods."""

from __future__ import annotations

import collections
import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .announce import Announcing, AnnouncingDict, AnnouncingList
from .kinds import MISSING, Wrapper, contained, contents, dictionary_class, get_slot, hides_state, put_slot, slots_of

_WHOLE = (Announcing, AnnouncingDict, AnnouncingList, Wrapper, type, types.ModuleType, np.ndarray)


class Whole(Exception):
    """An object cannot be taken apart; the message says what it is."""


@dataclass(frozen=True)
class Plan:
    """How an object is rebuilt from its parts.

    ``make`` takes all parts. If an object may contain itself, it is first created empty, by ``new``, and then filled.
    """

    make: Callable[[Sequence[Any]], Any]
    new: Callable[[], Any] | None = None
    fill: Callable[[Any, Sequence[Any]], None] | None = None


def take_apart(x: Any) -> tuple[Plan, list[Any]]:
    """An object's plan and its parts. Raises Whole."""
    cls: Any = type(x)
    if cls is tuple:
        return Plan(tuple), list(x)
    if cls is list:
        return _filled(list, list.extend), list(x)
    if cls is types.CellType:
        value = contents(x)
        return _filled(types.CellType, _fill_cell), [value] if value is not MISSING else []
    if cls is types.FunctionType:
        return _function(x)
    if cls is types.MethodType:
        return Plan(lambda parts: types.MethodType(*parts)), [x.__func__, x.__self__]
    if cls is slice:
        return Plan(lambda parts: slice(*parts)), [x.start, x.stop, x.step]
    if cls is functools.partial:
        return Plan(lambda parts: functools.partial(parts[0], *parts[1], **parts[2])), [x.func, x.args, x.keywords]
    if isinstance(x, _WHOLE) or hides_state(cls):
        raise Whole(f"{_article(cls)} {cls.__module__}.{cls.__qualname__}".replace("builtins.", ""))
    return _object(x)


def _article(cls: type) -> str:
    return "an" if cls.__qualname__[:1] in "aeiou" and cls.__module__ == "builtins" else "a"


def _filled(new: Callable[[], Any], fill: Callable[[Any, Sequence[Any]], None]) -> Plan:
    def make(parts: Sequence[Any]) -> Any:
        made = new()
        fill(made, parts)
        return made

    return Plan(make, new, fill)


def _fill_cell(cell: types.CellType, parts: Sequence[Any]) -> None:
    for value in parts:
        cell.cell_contents = value


def _function(x: types.FunctionType) -> tuple[Plan, list[Any]]:
    cells, own = x.__closure__ or (), list(vars(x))
    about = {name: getattr(x, name) for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__")}
    code, names, n = x.__code__, x.__globals__, len(cells)

    def make(parts: Sequence[Any]) -> types.FunctionType:
        made = types.FunctionType(code, names, code.co_name, parts[n], tuple(parts[:n]))
        made.__kwdefaults__ = parts[n + 1]
        for name, value in about.items():
            setattr(made, name, value)
        vars(made).update(zip(own, parts[n + 2 :], strict=True))
        return made

    return Plan(make), [*cells, x.__defaults__, x.__kwdefaults__, *vars(x).values()]


# like all classes created when Python starts
_WRITTEN_IN_C = (collections.deque, collections.defaultdict, collections.OrderedDict)


def _object(x: Any) -> tuple[Plan, list[Any]]:
    """A plain object: its class, its contents and its attributes."""
    cls: Any = type(x)
    base = next(c for c in cls.__mro__ if c in _WRITTEN_IN_C or not c.__flags__ & 1 << 9)
    own = vars(x) if hasattr(x, "__dict__") else {}
    itself = own is x  # a dict whose attributes are its items
    names = [] if itself else list(own)
    slots = [name for name in slots_of(cls) if get_slot(x, name) is not MISSING]
    state = [*([] if itself else own.values()), *(get_slot(x, name) for name in slots)]

    def restore(made: Any, parts: Sequence[Any]) -> Any:
        if itself:
            object.__setattr__(made, "__dict__", made)
        if names:
            vars(made).update(zip(names, parts, strict=False))
        for name, value in zip(slots, parts[len(names) :], strict=True):
            put_slot(made, name, value)
        return made

    if isinstance(x, (tuple, frozenset)):
        items = list(contained(x))
        n = len(items)
        return Plan(lambda parts: restore(base.__new__(cls, parts[:n]), parts[n:])), [*items, *state]
    inside, put = _contents(x)
    n = len(inside)
    limit = (x.maxlen,) if isinstance(x, collections.deque) else ()

    def new() -> Any:
        made = base.__new__(cls)
        if limit:
            collections.deque.__init__(made, (), *limit)
        return made

    def fill(made: Any, parts: Sequence[Any]) -> None:
        put(made, parts[:n])
        restore(made, parts[n:])

    return _filled(new, fill), [*inside, *state]


def _contents(x: Any) -> tuple[list[Any], Callable[[Any, Sequence[Any]], None]]:
    """An object's contents, and a function that puts contents into another object."""
    if isinstance(x, dict):
        set_item = dictionary_class(x).__setitem__
        factory = [x.default_factory] if isinstance(x, collections.defaultdict) else []
        pairs, first = contained(x), len(factory)
        n = len(pairs)

        def put(made: Any, parts: Sequence[Any]) -> None:
            for key, value in zip(parts[first : first + n], parts[first + n :], strict=True):
                set_item(made, key, value)
            if factory:
                made.default_factory = parts[0]

        return [*factory, *(key for key, _ in pairs), *(value for _, value in pairs)], put
    sequences: Any = ((list, list.extend), (collections.deque, collections.deque.extend), (set, set.update))
    for kind, add in sequences:
        if isinstance(x, kind):
            return list(kind.__iter__(x)), add
    return [], lambda made, parts: None
