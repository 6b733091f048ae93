"""Fields of Python's and NumPy's objects that native code may read, after checking that their layout is as expected.

Programs receive array objects and find their memory.

Only this file and ``words`` read CPython's own structures and NumPy's C ABI. Layouts are probed at import, on known
objects. Each has a fallback for interpreters with another layout:

- ``reads_arrays`` is False, and ``address`` asks the array interface: programs receive addresses, never array objects;
- ``sets_classes`` is False, and accesses to containers are not recorded;
- ``counts_references`` is False, and buffers are not reused (``memory``).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_word_at = ctypes.c_size_t.from_address
_INT = (1 << 32) - 1

Check = tuple[int, int, int, int]  # offset, further, mask, expected, as in the driver

# Arrays: ``PyArrayObject_fields`` in NumPy's C ABI, which is data, nd, dimensions, strides, base, descr, flags.

HEAD = getattr(object, "__basicsize__", 16)  # offset of the address in an array object


def _address_by_interface(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _address_by_layout(array: np.ndarray) -> int:
    # Like PyArray_DATA in extensions. Ten times as fast as the array interface, which builds a dictionary.
    return _word_at(id(array) + HEAD).value


def array_checks(shape: Sequence[int], dtype: np.dtype, written: bool = False, views: bool = False) -> list[Check]:
    """Checks that hold exactly for contiguous array objects of this shape and dtype that own their memory, or for all if
    ``views``; if ``written``, only for writeable ones.
    """
    extents = [(HEAD + 16, 8 * i, -1, n) for i, n in enumerate(shape)]
    flags = 1 | 0x100 | (0x400 if written else 0)  # NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE
    rank, base = (HEAD + 8, -1, _INT, len(shape)), [] if views else [(HEAD + 32, -1, -1, 0)]
    return [rank, *base, (HEAD + 40, -1, -1, id(dtype)), (HEAD + 48, -1, flags, flags), *extents]


def holds(x: Any, check: Check) -> bool:
    """Evaluates a check as the driver does."""
    offset, further, mask, expected = check
    word = _word_at(id(x) + offset).value
    if further >= 0:
        word = _word_at(word + further).value
    return word & (mask & (1 << 64) - 1) == expected


def _layout_holds() -> bool:
    """True if array objects have the expected layout."""
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
    loose = array_checks(probe.shape, probe.dtype, views=True)
    alike = [a for a in arrays if a.shape == probe.shape and a.dtype == probe.dtype and a.flags.c_contiguous]
    return all(
        _address_by_layout(a) == _address_by_interface(a)
        and all(holds(a, c) for c in checks) is (a is probe)
        and all(holds(a, c) for c in loose) is any(a is b for b in alike)
        for a in arrays
    )


# Whether programs may receive array objects, and the address of an array's first element.
reads_arrays = _layout_holds()
address = _address_by_layout if reads_arrays else _address_by_interface


# Reference counts: whether anything else refers to an object.

tells_references = hasattr(sys, "getrefcount")
references: Callable[[Any], int] = getattr(sys, "getrefcount", lambda x: 0)


def _counts_hold() -> bool:
    """True if ``references`` counts every reference immediately: on CPython with the GIL."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    probe = np.zeros(1)
    before = references(probe)
    others = [probe, probe[:]]  # a view refers to its base
    held = references(probe)
    del others
    return held == before + 2 and references(probe) == before


counts_references = _counts_hold()


# Classes: ``ob_type``, the last word of an object's header.

_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: instances count references to the class


def set_class(x: Any, cls: type) -> None:
    """Sets a container's class to a subclass without attributes, or back to its original class.

    Python refuses to assign such a class to an instance of a class written in C, though nothing else differs. While it has
    the subclass, Python code that uses the container runs the subclass's overrides.
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
