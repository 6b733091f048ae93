"""Words of memory that show what Python's objects hold: their addresses and current contents.

They are fields of CPython's own structures, which only this file and ``objects`` read. Their offsets are determined at
import, on known objects. A function that does not find what it expects returns None, and Python compares instead.

A *word* is an address inside an object and its content. A *look* may follow a pointer: it compares memory at an offset from
where the word points. Objects must be kept alive. Memory beyond a word may move, so looks require the GIL.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Word = tuple[int, int]  # address, expected
Look = tuple[int, int, int, int]  # address, offset from where the word points (-1: the word itself), mask, expected

_word_at = ctypes.c_size_t.from_address
_WORD = 8
_HEAD = getattr(object, "__basicsize__", 16)
_ALL = -1

_is_known = (
    sys.implementation.name == "cpython"
    and getattr(sys, "_is_gil_enabled", lambda: True)()
    and ctypes.sizeof(ctypes.c_size_t) == _WORD
)


def direct(word: Word) -> Look:
    """The look that compares the word itself."""
    return (word[0], -1, _ALL, word[1])


def _found(where: int, expected: int) -> Word | None:
    return (where, expected) if _word_at(where).value == expected else None


# Attributes of objects written in C: the words that hold an attribute's value; zero stands for None.


class _Probe:
    __slots__ = ("__weakref__", "a", "b")

    @staticmethod
    def function(a: int = 1, *, b: int = 2) -> None:
        """A function."""


_probe = _Probe.function


def _field(x: Any, value: Any) -> int | None:
    """The offset of the only word in an object that refers to ``value``."""
    if not _is_known:
        return None
    places = [at for at in range(0, type(x).__basicsize__ - 7, 8) if _word_at(id(x) + at).value == id(value)]
    return places[0] if len(places) == 1 else None


def _fields(x: Any, names: Iterable[str]) -> dict[str, int]:
    found = {name: _field(x, getattr(x, name)) for name in names}
    return {name: at for name, at in found.items() if at is not None}


_FIELDS: dict[type, dict[str, int]] = {
    types.FunctionType: _fields(
        _probe, ("__code__", "__defaults__", "__kwdefaults__", "__name__", "__qualname__", "__module__", "__doc__")
    ),
    functools.partial: _fields(functools.partial(_probe, 1, b=2), ("func", "args", "keywords")),
    type: _fields(_Probe, ("__mro__",)),
}
_CELL = _field(types.CellType(_probe), _probe)


def word_of(x: Any, name: str, value: Any) -> Word | None:
    """The word for ``x.name`` while it is ``value``: of functions, partial functions and classes."""
    if name == "__class__":
        return class_of(x) if type(x) is value and _tells_class(value) else None  # type: ignore[arg-type]
    if name == "__dict__":
        return dictionary_of(x) if vars(x) is value else None
    kind = next((cls for cls in _FIELDS if isinstance(x, cls)), None)
    offset = None if kind is None else _FIELDS[kind].get(name)
    if offset is None:
        return None
    return _found(id(x) + offset, id(value)) or (_found(id(x) + offset, 0) if value is None else None)


def word_of_cell(cell: types.CellType, *value: Any) -> Word | None:
    """The word for a closure variable's value, or for an empty cell if no value is given."""
    return None if _CELL is None else _found(id(cell) + _CELL, id(value[0]) if value else 0)


@functools.lru_cache(1024)
def _tells_class(cls: Any) -> bool:
    """True if ``__class__`` of instances is their class."""
    return not any("__class__" in vars(base) for base in cls.__mro__ if base is not object)


def class_of(x: Any) -> Word | None:
    """The word for an object's class."""
    return _found(id(x) + _HEAD - _WORD, id(type(x))) if _is_known else None


# Dictionaries: number of items, version, keys, values. Keys: references, sizes and kind (a byte each), a version, room, number
# of entries, indices, entries.

_USED, _VERSION, _KEYS, _VALUES = (_HEAD + _WORD * i for i in range(4))
_SIZES, _SIZES_MASK, _ENTRY_COUNT, _INDICES = 8, (1 << 24) - 1, 24, 32


def _versions_hold() -> tuple[bool, bool]:
    """Whether exactly the changes of a dictionary change that word; and whether changes of an attribute do."""
    if not _is_known or sys.version_info >= (3, 14) or {}.__sizeof__() < _VERSION + _WORD:
        return False, False

    class Probe:
        a = 1

    probe: Any = Probe()
    module: Any = types.ModuleType("probe")
    plain = {"a": 1}
    changes: list[tuple[dict[str, Any], list[Callable[[], Any]]]] = [
        (plain, [lambda: plain.update(a=2), lambda: plain.pop("a"), lambda: plain.update(b=1), plain.clear]),
        (vars(module), [lambda: setattr(module, "a", 1), lambda: setattr(module, "a", 2), lambda: delattr(module, "a")]),
        (namespace(Probe), [lambda: setattr(Probe, "a", 2), lambda: setattr(Probe, "b", 2), lambda: delattr(Probe, "b")]),
        (vars(probe), [lambda: setattr(probe, "a", 1), lambda: setattr(probe, "a", 2), lambda: delattr(probe, "a")]),
    ]
    *spaces, objects = [_counts(space, several) for space, several in changes]
    return all(spaces), all(spaces) and objects


def _counts(space: dict[str, Any], changes: list[Callable[[], Any]]) -> bool:
    for change in changes:
        before = _word_at(id(space) + _VERSION).value
        len(space), space.get("a"), list(space)
        if _word_at(id(space) + _VERSION).value != before:
            return False
        change()
        if _word_at(id(space) + _VERSION).value == before:
            return False
    return True


def namespace(x: Any) -> dict[str, Any]:
    """The dictionary of a class's, module's or object's attributes; or the one behind a proxy."""
    space = x if isinstance(x, types.MappingProxyType) else vars(x)
    if isinstance(space, types.MappingProxyType):
        space = next(d for d in gc.get_referents(space) if isinstance(d, dict))
    return space


# For dictionaries, and for the dictionaries of objects, whose attributes some interpreters store elsewhere.
tells_versions, tells_versions_of_objects = _versions_hold()


def version_of(space: dict[Any, Any]) -> Word | None:
    """The word for a dictionary's version; None if unknown."""
    if not tells_versions or (_word_at(id(space) + _VALUES).value and not tells_versions_of_objects):
        return None
    where = id(space) + _VERSION
    return (where, _word_at(where).value)


def length_of(space: dict[Any, Any], length: int) -> Word | None:
    """The word for a dictionary's number of items, while it is ``length``."""
    return _found(id(space) + _USED, length) if _reads_dictionaries else None


def entries_of(space: dict[Any, Any], found: dict[Any, Any], absent: bool, anything: Sequence[Any] = ()) -> list[Look] | None:
    """The looks that say what a dictionary holds at the keys of ``found``, but where that may be ``anything``.

    With ``absent``, they also say that it has no other keys than now.
    """
    if not _reads_dictionaries or _word_at(id(space) + _VALUES).value:
        return None
    at = id(space) + _KEYS
    keys = _word_at(at).value
    sizes, count = _word_at(keys + _SIZES).value & _SIZES_MASK, _word_at(keys + _ENTRY_COUNT).value
    general = sizes >> 16 == 0
    size, first = (3, 1) if general else (2, 0)  # words of an entry, position of the key in it
    start = _INDICES + (1 << ((sizes >> 8) & 0xFF))
    there = list((ctypes.c_size_t * (count * size)).from_address(keys + start))[first::size]
    looks = [direct((at, keys)), (at, _SIZES, _SIZES_MASK, sizes)]
    if absent:
        looks.append((at, _ENTRY_COUNT, _ALL, count))
    for key, value in found.items():
        try:
            place = start + _WORD * (size * there.index(id(key)) + first)
        except ValueError:
            return None
        looks.append((at, place, _ALL, id(key)))
        if not any(value is x for x in anything):
            looks.append((at, place + _WORD, _ALL, id(value)))
    return looks


def holds(look: Look) -> bool:
    """Evaluates a look as native code does."""
    where, further, mask, expected = look
    word = _word_at(where).value
    if further >= 0:
        word = _word_at(word + further).value
    return word & mask & ((1 << 64) - 1) == expected


def _dictionaries_hold() -> bool:
    if not _is_known or {}.__sizeof__() < _VALUES + _WORD:
        return False
    module: Any = types.ModuleType("probe")
    for i in range(300):
        setattr(module, f"a{i}", object())
    del module.a7
    texts, others = {"a": object(), "b": object()}, {1: object(), "b": object()}
    for space in (texts, others, vars(module), namespace(_Probe)):
        some = dict(list(space.items())[:5] + list(space.items())[-2:])
        looks = entries_of(space, some, absent=True)
        if looks is None or not all(map(holds, looks)) or _word_at(id(space) + _USED).value != len(space):
            return False
    looks = entries_of(texts, dict(texts), absent=True)
    before = texts["b"]
    texts["b"] = object()
    if looks is None or sum(map(holds, looks)) != len(looks) - 1:
        return False
    texts["b"] = before
    texts["c"] = before
    return sum(map(holds, looks)) == len(looks) - 1


_reads_dictionaries = _is_known  # for the probe
_reads_dictionaries = _dictionaries_hold()


# Lists: the number of items, and their address.

_LENGTH, _ITEMS = _HEAD, _HEAD + _WORD


def items_of_list(x: list[Any], items: Sequence[Any], anything: Any) -> list[Look] | None:
    """The looks for a list's items, except where they may be ``anything``."""
    if not _reads_lists:
        return None
    at = id(x) + _ITEMS
    looks = [(at, _WORD * i, _ALL, id(item)) for i, item in enumerate(items) if item is not anything]
    return [direct((id(x) + _LENGTH, len(items))), *looks]


def _lists_hold() -> bool:
    if not _is_known or [].__sizeof__() < _ITEMS + _WORD:
        return False
    probe = [object() for _ in range(5)]
    where = _word_at(id(probe) + _ITEMS).value
    return _word_at(id(probe) + _LENGTH).value == 5 and [id(x) for x in probe] == list(
        (ctypes.c_size_t * 5).from_address(where)
    )


_reads_lists = _lists_hold()


# Objects: the position of their dictionary, and their other fields.

_MANAGED = -3 * _WORD  # of classes written in Python, without ``__slots__``
_OBJECT = (6, 16)  # T_OBJECT, T_OBJECT_EX: a reference
_MEMBER = _HEAD + 3 * _WORD  # of a descriptor: name, type, offset


def dictionary_of(x: Any) -> Word | None:
    """The word for the dictionary of an object's attributes."""
    if not _is_known:
        return None
    cls = type(x)
    if cls.__flags__ & (1 << 4):  # Py_TPFLAGS_MANAGED_DICT
        return _found(id(x) + _MANAGED, id(vars(x)))
    return _found(id(x) + cls.__dictoffset__, id(vars(x))) if cls.__dictoffset__ > 0 else None


def member_of(x: Any, name: str, *value: Any) -> Word | None:
    """The word for one of an object's ``__slots__``, or for an empty one if no value is given."""
    descriptor = getattr(type(x), name, None)
    if not _reads_members or not isinstance(descriptor, types.MemberDescriptorType):
        return None
    member = _word_at(id(descriptor) + _MEMBER).value
    if ctypes.c_int.from_address(member + _WORD).value not in _OBJECT:
        return None
    return _found(id(x) + _word_at(member + 2 * _WORD).value, id(value[0]) if value else 0)


def _members_hold() -> bool:
    if not _is_known:
        return False
    probe: Any = _Probe()
    probe.b = value = object()
    where = [at for at in range(0, _Probe.__basicsize__, _WORD) if _word_at(id(probe) + at).value == id(value)]
    descriptor: Any = _Probe.__dict__["b"]
    if type(descriptor).__basicsize__ < _MEMBER + _WORD:
        return False
    member = _word_at(id(descriptor) + _MEMBER).value
    named = ctypes.string_at(_word_at(member).value) == b"b"
    return named and [_word_at(member + 2 * _WORD).value] == where


_reads_members = _members_hold()
