"""What native code may read of Python's and NumPy's objects, where their fields are as expected: found out, not assumed.

A program is handed array objects and finds their memory; and it looks at what a call depends on in a nanosecond a word,
where Python takes thirty to compare an attribute.

This file reads CPython's own structures and NumPy's C ABI, and no other does. What is read is probed at import, on objects
that are known. Each has a plain path, for interpreters where it is not as expected:

- ``reads_arrays`` is False, and ``address`` asks the array interface: programs are given addresses, never array objects;
- ``word_of`` knows no word, and Python compares attributes;
- ``sets_classes`` is False, and containers are not listened to;
- ``counts_references`` is False, and no buffer is used a second time (``memory``).
"""

from __future__ import annotations

import ctypes
import gc
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_word_at = ctypes.c_size_t.from_address
_INT = (1 << 32) - 1

Check = tuple[int, int, int, int]  # offset, further, mask, expected: as the driver reads them
Word = tuple[int, int]  # address, expected

# Arrays: ``PyArrayObject_fields`` in NumPy's C ABI, which is data, nd, dimensions, strides, base, descr, flags.

HEAD = getattr(object, "__basicsize__", 16)  # where in an array object the address is


def _address_by_interface(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _address_by_layout(array: np.ndarray) -> int:
    # As PyArray_DATA in every extension. Ten times as fast as the interface, which builds a dictionary.
    return _word_at(id(array) + HEAD).value


def array_checks(shape: Sequence[int], dtype: np.dtype, written: bool = False) -> list[Check]:
    """What holds for the array objects of this shape and dtype that are contiguous and own their memory, and for no others;
    if they are written to, of those that may be.
    """
    extents = [(HEAD + 16, 8 * i, -1, n) for i, n in enumerate(shape)]
    flags = 1 | 0x100 | (0x400 if written else 0)  # NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE
    rank, base = (HEAD + 8, -1, _INT, len(shape)), (HEAD + 32, -1, -1, 0)
    return [rank, base, (HEAD + 40, -1, -1, id(dtype)), (HEAD + 48, -1, flags, flags), *extents]


def holds(x: Any, check: Check) -> bool:
    """What the driver finds."""
    offset, further, mask, expected = check
    word = _word_at(id(x) + offset).value
    if further >= 0:
        word = _word_at(word + further).value
    return word & (mask & (1 << 64) - 1) == expected


def _layout_holds() -> bool:
    """Whether array objects are laid out as assumed."""
    if sys.implementation.name != "cpython":
        return False
    probe, locked = np.zeros((3, 4)), np.zeros((3, 4))
    locked.flags.writeable = False
    others = (
        np.zeros(()),
        np.zeros((4, 3)),
        np.zeros((3, 4), np.float32),
        np.zeros((3, 4, 1)),
        np.zeros((3, 4), order="F"),
    )
    arrays = (probe, locked, probe[1:, 2:], probe.T, probe[:], *others)
    checks = array_checks(probe.shape, probe.dtype, written=True)
    return all(
        _address_by_layout(a) == _address_by_interface(a) and all(holds(a, c) for c in checks) is (a is probe) for a in arrays
    )


# Whether array objects may be handed to programs, and the address of an array's first element.
reads_arrays = _layout_holds()
address = _address_by_layout if reads_arrays else _address_by_interface


# Reference counts. They say whether anything else refers to an object.

tells_references = hasattr(sys, "getrefcount")
references: Callable[[Any], int] = getattr(sys, "getrefcount", lambda x: 0)


def _counts_hold() -> bool:
    """Whether ``references`` counts every reference at once: on CPython, where one lock guards all objects."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    probe = np.zeros(1)
    before = references(probe)
    others = [probe, probe[:]]  # a view refers to what it is a view of
    held = references(probe)
    del others
    return held == before + 2 and references(probe) == before


counts_references = _counts_hold()


# Functions and closure cells: the words that refer to what an attribute gives; zero stands for None.


def _probe(a: int = 1, *, b: int = 2) -> None: ...


def _field(x: Any, value: Any) -> int | None:
    """Where in an object the one word is that refers to ``value``."""
    if sys.implementation.name != "cpython":
        return None
    places = [at for at in range(0, x.__sizeof__() - 7, 8) if _word_at(id(x) + at).value == id(value)]
    return places[0] if len(places) == 1 else None


_FUNCTION = {name: _field(_probe, getattr(_probe, name)) for name in ("__code__", "__defaults__", "__kwdefaults__")}
_CELL = _field(types.CellType(_probe), _probe)


def word_of(x: Any, name: str, value: Any) -> Word | None:
    """The word that says what ``x.name`` is, and what is there while that is ``value``; None if not known.

    Of functions and of closure cells that are not empty. The object must be kept alive.
    """
    offset = _CELL if isinstance(x, types.CellType) else _FUNCTION.get(name) if isinstance(x, types.FunctionType) else None
    if offset is None:
        return None
    expected = 0 if value is None and isinstance(x, types.FunctionType) else id(value)
    where = id(x) + offset
    return (where, expected) if _word_at(where).value == expected else None


# Classes: ``ob_type``, the last word of an object's head.

_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: instances count references to the class


def set_class(x: Any, cls: type) -> None:
    """Sets a container's class to a subclass without attributes, or back to its original class.

    Python refuses to assign such a class to an instance of a class written in C, though nothing else is different. While it has
    the subclass, Python code that uses the container runs what the subclass overrides.
    """
    before = type(x)
    if cls.__flags__ & _HEAP:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(cls))
    _word_at(id(x) + HEAD - ctypes.sizeof(ctypes.c_size_t)).value = id(cls)
    if before.__flags__ & _HEAP:
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(before))


def _classes_can_be_set() -> bool:
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    heads = [(x, _word_at(id(x) + HEAD - ctypes.sizeof(ctypes.c_size_t)).value) for x in ([1], {}, set(), object())]
    if any(word != id(type(x)) for x, word in heads):
        return False

    class Sub(list):
        __slots__ = ()

        def append(self, x: Any) -> None:
            list.append(self, -x)

    probe = [1]
    set_class(probe, Sub)
    probe.append(2)
    set_class(probe, list)
    probe.append(3)
    return type(probe) is list and probe == [1, -2, 3]


sets_classes = _classes_can_be_set()


# Dictionaries: the word that is another one after every change.

_VERSION = 8 * 3  # behind the head of the object and the number of items


def _versions_hold() -> tuple[bool, bool]:
    """Whether every change of a dictionary changes that word, and nothing else does; and whether one of an attribute does."""
    if sys.implementation.name != "cpython" or sys.version_info >= (3, 14) or {}.__sizeof__() < _VERSION + 8:
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
    """The dictionary in which a class, a module or an object keeps its attributes."""
    space = vars(x)
    if isinstance(space, types.MappingProxyType):
        space = next(d for d in gc.get_referents(space) if type(d) is dict)
    return space


# Of dictionaries; and of the dictionaries of objects, whose attributes are written elsewhere by some interpreters.
tells_versions, tells_versions_of_objects = _versions_hold()


def version_of(space: dict[Any, Any]) -> Word | None:
    """The word that says which version of a dictionary this is, and what is there now; None if not known.

    The dictionary must be kept alive.
    """
    where = id(space) + _VERSION
    return (where, _word_at(where).value) if tells_versions else None


def reader(word: Word) -> Any:
    """An object whose ``value`` is what is at the place of the word now."""
    return _word_at(word[0])
