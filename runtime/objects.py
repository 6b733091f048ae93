"""What native code may read of Python's and NumPy's objects, where their fields are as expected: found out, not assumed.

A program is handed array objects and finds their memory.

This file and ``words`` read CPython's own structures and NumPy's C ABI, and no other does. What is read is probed at import, on
objects that are known. Each has a plain path, for interpreters where it is not as expected:

- ``reads_arrays`` is False, and ``address`` asks the array interface: programs are given addresses, never array objects;
- ``sets_classes`` is False, and containers are not listened to;
- ``counts_references`` is False, and no buffer is used a second time (``memory``).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_word_at = ctypes.c_size_t.from_address
_INT = (1 << 32) - 1

Check = tuple[int, int, int, int]  # offset, further, mask, expected: as the driver reads them

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
