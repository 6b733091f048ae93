"""Checks whether anything reachable has changed.

A walk's findings are *facts*. Most of them correspond to words of memory, which one native call compares. If a word
differs, only its fact is examined: replacing an object by an equal one changes nothing, nor does setting an attribute and
restoring it. Facts without words are compared by one Python expression.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any

import numpy as np

from ..core.context import Structure
from ..core.tensor import Tensor
from ..runtime.support import table
from ..runtime.support.words import (
    Look,
    Word,
    dictionary_of,
    direct,
    entries_of,
    items_of_list,
    length_of,
    member_of,
    namespace,
    version_of,
    word_of,
    word_of_cell,
)
from .kinds import CONTAINERS, MISSING, contents, is_plain, is_static, items_of, slots_of, token_of
from .scalars import static
from .substitutes import original
from .walk import Walk

_MAPPINGS = (dict, types.MappingProxyType, collections.OrderedDict, collections.defaultdict, collections.Counter)
ANY: Any = object()  # the value of a place that may hold anything
ANY_FLOAT: Any = object()  # and of one that may hold any float
_OFTEN = 2  # number of checks without a change before words are compared
Constant = Callable[[Any], str]  # names an object in source


def unknown() -> int:
    """The answer for a walk that has not been queried often."""
    return -1


class Fact:
    """A finding that may change."""

    __slots__ = ()

    def holds(self) -> bool:
        """True if it still holds, or has been replaced by something equivalent, which then becomes the fact."""
        raise NotImplementedError

    def looks(self) -> list[Look] | None:
        """The words of memory that represent it; None if there are none."""
        return None

    def terms(self, constant: Constant) -> list[str]:
        """Expressions that represent it."""
        return [f"{constant(self.holds)}()"]


class Held(Fact):
    """The value of a closure variable or context variable."""

    __slots__ = ("cell", "was")

    def __init__(self, cell: Any, was: Any):
        self.cell, self.was = cell, was

    def holds(self) -> bool:
        return contents(self.cell) is self.was

    def looks(self) -> list[Look] | None:
        if type(self.cell) is not types.CellType:
            return None
        return _one(word_of_cell(self.cell, *([] if self.was is MISSING else [self.was])))

    def terms(self, constant: Constant) -> list[str]:
        if self.was is MISSING or type(self.cell) is not types.CellType:
            return super().terms(constant)
        return [f"{constant(self.cell)}.cell_contents is {constant(self.was)}"]


class Names(Fact):
    """The values of names in a namespace."""

    __slots__ = ("found", "space")

    def __init__(self, space: Mapping[Any, Any]):
        self.space, self.found = space, dict[Any, Any]()

    def holds(self) -> bool:
        for name, was in self.found.items():
            now = original(self.space.get(name, MISSING))
            if now is not was:
                if differs(now, was):
                    return False
                self.found[name] = now
        return True

    def looks(self) -> list[Look] | None:
        if not isinstance(self.space, (dict, types.MappingProxyType)):
            return None
        there = {name: value for name, value in self.found.items() if value is not MISSING}
        space = namespace(self.space) if isinstance(self.space, types.MappingProxyType) else self.space
        return entries_of(space, there, absent=len(there) < len(self.found))

    def terms(self, constant: Constant) -> list[str]:
        space = constant(self.space)
        return [
            f"{name!r} not in {space}" if was is MISSING else f"{space}[{name!r}] is {constant(was)}"
            for name, was in self.found.items()
        ]


class Attribute(Fact):
    """An attribute of an object."""

    __slots__ = ("name", "was", "x")

    def __init__(self, x: Any, name: str, was: Any):
        self.x, self.name, self.was = x, name, was

    def holds(self) -> bool:
        return getattr(self.x, self.name, MISSING) is self.was

    def looks(self) -> list[Look] | None:
        return _one(word_of(self.x, self.name, self.was))

    def terms(self, constant: Constant) -> list[str]:
        return [f"{constant(self.x)}.{self.name} is {constant(self.was)}"]


class Length(Fact):
    """The number of items in a namespace."""

    __slots__ = ("space", "was")

    def __init__(self, space: Any, was: int):
        self.space, self.was = space, was

    def holds(self) -> bool:
        return len(self.space) == self.was

    def looks(self) -> list[Look] | None:
        return _one(length_of(namespace(self.space) if type(self.space) is types.MappingProxyType else self.space, self.was))

    def terms(self, constant: Constant) -> list[str]:
        return [f"len({constant(self.space)}) == {self.was}"]


class Contents(Fact):
    """The contents of a container or an object, in order, with ``ANY`` for arbitrary values."""

    __slots__ = ("items", "space", "x")

    def __init__(self, x: Any, items: list[Any]):
        self.x, self.items = x, items
        self.space = vars(x) if _is_object(x) and hasattr(x, "__dict__") else None

    def holds(self) -> bool:
        now = items_of(self.x)
        if len(now) != len(self.items) or (self.space is not None and vars(self.x) is not self.space):
            return False
        known = []
        for item, was in zip(now, self.items, strict=True):
            if item is not was and differs(item, was):
                return False
            known.append(merged(item, was))
        self.items = known
        return True

    def looks(self) -> list[Look] | None:
        x = self.x
        if isinstance(x, list):
            return items_of_list(x, self.items, ANY)
        if isinstance(x, dict):  # an ordered dictionary's order is stored elsewhere
            return None if isinstance(x, collections.OrderedDict) else self._of_dictionary(x)
        if not _is_object(x):
            return None
        looks = []
        if self.space is not None:
            more = self._of_dictionary(self.space) if type(self.space) is dict else None
            place = dictionary_of(x)
            if more is None or place is None:
                return None
            looks = [direct(place), *more]
        known = dict(self.items)
        for name in slots_of(type(x)):
            if known.get(name) is not ANY:
                word = member_of(x, name, *([known[name]] if name in known else []))
                if word is None:
                    return None
                looks.append(direct(word))
        return looks

    def _of_dictionary(self, space: dict[Any, Any]) -> list[Look] | None:
        some = any((value is ANY or value is ANY_FLOAT) and key in space for key, value in self.items)
        version = None if some else version_of(space)
        return entries_of(space, dict(self.items), True, (ANY, ANY_FLOAT)) if version is None else [direct(version)]

    def terms(self, constant: Constant) -> list[str]:
        x, items = self.x, self.items
        if type(x) in _MAPPINGS:
            return _mapping(constant(x), items, constant)
        if type(x) in (list, set):
            return _sequence(constant(x), items, constant)
        if isinstance(x, Tensor):  # as a rule its own attributes, which do not matter, are the same ones, too
            own, holds = constant(vars(x)), super().terms(constant)
            same = [f"{own}[{name!r}] is {constant(value)}" for name, value in items]
            same = [f"{constant(x)}.__dict__ is {own}", f"[*{own}] == {constant([*vars(x)])}", *same]
            return [f"({' and '.join(same)} or {holds[0]})"]
        if not is_plain(x):
            return super().terms(constant)
        space = f"{constant(x)}.__dict__"
        return [f"{space} is {constant(self.space)}", *_mapping(space, items, constant)]


class Namespace(Fact):
    """All contents of a rarely changing dictionary."""

    __slots__ = ("items", "space")

    def __init__(self, space: dict[Any, Any]):
        self.space, self.items = space, list(space.items())

    def holds(self) -> bool:
        space = self.space
        same = len(space) == len(self.items) and all(a is b for a, (b, _) in zip(space, self.items, strict=True))
        return same and all(map(is_, space.values(), [value for _, value in self.items]))

    def looks(self) -> list[Look] | None:
        return _one(version_of(self.space))


class Announced(Fact):
    """The objects of a walk that announce their changes: they are compared after an announcement."""

    __slots__ = ("epoch", "objects", "settings", "tensors", "written")

    def __init__(self, objects: Iterable[tuple[Any, list[Any]]], tensors: Iterable[Tensor]):
        self.epoch = Structure.epoch
        self.objects = [(weakref.ref(x), type(x), vars(x), items) for x, items in objects]
        self.tensors = [(t, token_of(t)) for t in tensors]
        self.settings, self.written = dict(Structure.settings), _written()

    def holds(self) -> bool:
        if self.epoch == Structure.epoch:
            return True
        epoch = Structure.epoch
        same = self.settings == Structure.settings and self.written >= _written()
        if same and all(map(_is_like, self.objects)) and all(token_of(t) == token for t, token in self.tensors):
            self.epoch = epoch
            return True
        return False

    def looks(self) -> list[Look] | None:
        found = version_of(_STRUCTURE)
        return None if found is None or self.epoch != Structure.epoch else [direct(found)]

    def terms(self, constant: Constant) -> list[str]:
        return [f"{constant(Structure)}.epoch == {constant(self)}.epoch"]


_STRUCTURE = namespace(Structure)


def facts_of(walk: Walk, live: Iterable[tuple[Any, list[Any]]]) -> list[Fact]:
    """The facts of a walk, whose announced changes are current. ``live``: containers and objects, and their contents."""
    names: dict[int, Names] = {}
    for space, name, was in walk.names:
        names.setdefault(id(space), Names(space)).found[name] = was
    return [
        *itertools.starmap(Held, walk.cells),
        *names.values(),
        *itertools.starmap(Attribute, walk.attributes),
        *itertools.starmap(Length, walk.sizes),
        *itertools.starmap(Contents, live),
        *map(Namespace, walk.tagged.values()),
    ]


def _written() -> set[tuple[int, Any]]:
    """The places that replays write to."""
    return {(id(slot.holder), slot.key) for slot in list(Structure.written)}


def _is_like(known: tuple[Any, type, dict[str, Any], list[Any]]) -> bool:
    """True if an object that announces its changes is unchanged."""
    reference, cls, space, items = known
    x = reference()
    if x is None or type(x) is not cls or vars(x) is not space:
        return False
    now = items_of(x)
    return len(now) == len(items) and not any(a is not b and differs(a, b) for a, b in zip(now, items, strict=True))


class Unchanged:
    """Checks whether facts still hold.

    ``same``: returns ``key`` if everything is unchanged, and -1 if something has changed, or is only equal; fast.
    """

    def __init__(self, facts: Iterable[Fact], key: int):
        self.key = key
        self.facts = list(facts)
        self.same: Callable[[], int] = unknown
        self._asked = 0
        self._table: table.Table | None = None
        self._count = 0  # number of its looks
        self._starts: list[int] = []  # of the facts in it, the number of the first look
        self._said: list[Fact] = []  # by words
        self._others: list[Fact] = self.facts

    def again(self) -> bool:
        """Whether they hold, if ``same`` has not confirmed it. It is created after some queries."""
        if not self._renew() or not all(fact.holds() for fact in self._others):
            return False
        self._asked += 1
        if self._asked == _OFTEN:
            self._write()
        return True

    def _write(self) -> None:
        """Creates ``same``."""
        looks: list[Look] = []
        self._others = []
        usable = table.is_available()
        for fact in self.facts:
            found = fact.looks() if usable else None
            if found is None:
                self._others.append(fact)
            elif found:
                self._starts.append(len(looks))
                self._said.append(fact)
                looks += found
        if looks:
            self._table, self._count = table.Table(self.key, looks), len(looks)
        # Words are read before facts are examined: concurrent changes are detected next time.
        if not all(fact.holds() for fact in self.facts):
            self._starts, self._said, self._table, self._others = [], [], None, self.facts
        elif self._others or self._table is None:
            self.same = _written_out(self._others, self.key, self._table)
        else:
            self.same = self._table.same

    def _renew(self) -> bool:
        """True if the facts with words hold. If the words differ, the table is updated."""
        if self._table is None:
            return True
        at = self._table.differs(0)
        while at >= 0:
            number = bisect.bisect_right(self._starts, at) - 1
            fact, start = self._said[number], self._starts[number]
            end = self._starts[number + 1] if number + 1 < len(self._starts) else self._count
            looks = fact.looks()
            for _ in range(3):  # words are read before the fact is examined, and again if they have changed since
                if not fact.holds():
                    return False
                before, looks = looks, fact.looks()
                if looks is not None and looks == before:
                    break
            else:
                return False
            if len(looks) != end - start:
                return False
            self._table.replace(start, looks)
            at = self._table.differs(end)
        return True


def _written_out(facts: list[Fact], key: int, words: table.Table | None) -> Callable[[], int]:
    """``same``, if not all facts have words."""
    constants: dict[str, Any] = {"__name__": __name__, "is_": is_}

    def constant(x: Any) -> str:
        name = f"c{len(constants)}"
        constants[name] = x
        return name

    terms = [] if words is None else [f"{constant(words.same)}() >= 0"]
    terms += itertools.chain.from_iterable(fact.terms(constant) for fact in facts)
    lines = ["def same():", "    try:", f"        return {key} if {' and '.join(terms) or True} else -1"]
    lines += ["    except (KeyError, IndexError, AttributeError, ValueError): return -1"]
    exec(compile("\n".join(lines), "<unchanged>", "exec"), constants)
    same: Callable[[], int] = constants["same"]
    return same


def _one(word: Word | None) -> list[Look] | None:
    return None if word is None else [direct(word)]


def _is_object(x: Any) -> bool:
    """True if an object consists of its attributes, as far as guards compare."""
    return not isinstance(x, (*CONTAINERS, Tensor, np.ndarray))


def differs(now: Any, was: Any) -> bool:
    """True if an item of a container, or a (name, value) pair, differs."""
    if now is was or was is ANY:
        return False
    if was is ANY_FLOAT:
        return type(now) is not float
    if type(now) is tuple and type(was) is tuple and len(now) == len(was):
        return any(map(differs, now, was))
    return not is_static(now) or static(now) != static(was)


def merged(now: Any, was: Any) -> Any:
    """The new known state of an item that does not differ."""
    return was if was is ANY or (type(was) is tuple and was and (was[-1] is ANY or was[-1] is ANY_FLOAT)) else now


def _mapping(place: str, before: list[tuple[Any, Any]], constant: Constant) -> list[str]:
    """Expressions: a dictionary has the same keys in the same order, and the same values."""
    keys, values = [k for k, _ in before], [v for _, v in before]
    same = _sequence(place, keys, constant)
    if any(v is ANY for v in values):
        return [*same, *(f"{place}[{constant(k)}] is {constant(v)}" for k, v in before if v is not ANY)]
    return [*same, f"all(map(is_, {place}.values(), {constant(values)}))"] if before else same


def _sequence(place: str, before: list[Any], constant: Constant) -> list[str]:
    """Expressions: a container has the same items in the same order."""
    if any(x is ANY for x in before):
        same = [f"{place}[{i}] is {constant(x)}" for i, x in enumerate(before) if x is not ANY]
    else:
        same = [f"all(map(is_, {place}, {constant(before)}))"] if before else []
    return [f"len({place}) == {len(before)}", *same]
