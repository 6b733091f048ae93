"""A table of memory comparisons (``words``), and native functions that evaluate it: two nanoseconds per comparison.

One of these functions becomes a built-in method, so a call's guards are compared by one built-in method call.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .objects import HEAD, address, reads_arrays
from .words import Look

_FRONT = 4  # words before the comparisons: their number, the key, the function that creates an int; one is unused
_NO_ARGUMENTS = 4  # METH_NOARGS

_CODE = f"""
define i64 @SYMBOL_differs(ptr %table, i64 %start) {{
entry:
  %count = load i64, ptr %table
  %looks = getelementptr i64, ptr %table, i64 {_FRONT}
  br label %test
test:
  %i = phi i64 [%start, %entry], [%next, %compare]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %same
look:
  %i4 = mul i64 %i, 4
  %p0 = getelementptr i64, ptr %looks, i64 %i4
  %p1 = getelementptr i64, ptr %p0, i64 1
  %p2 = getelementptr i64, ptr %p0, i64 2
  %p3 = getelementptr i64, ptr %p0, i64 3
  %where = load ptr, ptr %p0
  %word = load i64, ptr %where
  %further = load i64, ptr %p1
  %is_direct = icmp slt i64 %further, 0
  br i1 %is_direct, label %compare, label %follow
follow:
  %target = inttoptr i64 %word to ptr
  %target_at = getelementptr i8, ptr %target, i64 %further
  %pointed = load i64, ptr %target_at
  br label %compare
compare:
  %seen = phi i64 [%word, %look], [%pointed, %follow]
  %mask = load i64, ptr %p2
  %expected = load i64, ptr %p3
  %masked = and i64 %seen, %mask
  %holds = icmp eq i64 %masked, %expected
  %next = add i64 %i, 1
  br i1 %holds, label %test, label %other
same:
  ret i64 -1
other:
  ret i64 %i
}}

define ptr @SYMBOL_same(ptr %self, ptr %nothing) {{
entry:
  %data = getelementptr i8, ptr %self, i64 {HEAD}
  %table = load ptr, ptr %data
  %k1 = getelementptr i64, ptr %table, i64 1
  %k2 = getelementptr i64, ptr %table, i64 2
  %key = load i64, ptr %k1
  %make = load ptr, ptr %k2
  %at = call i64 @SYMBOL_differs(ptr %table, i64 0)
  %holds = icmp slt i64 %at, 0
  %answer = select i1 %holds, i64 %key, i64 -1
  %number = call ptr %make(i64 %answer)
  ret ptr %number
}}
"""


class _Method(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


class Table:
    """``same()`` returns the key if every word has its expected value, else -1. Like ``differs`` it holds the GIL, so that the
    objects that it reads do not move.
    """

    def __init__(self, key: int, looks: Sequence[Look]):
        make, method, self._differs, make_number = _functions()
        self._words = np.zeros(_FRONT + 4 * len(looks), np.int64)
        self._words[:3] = len(looks), key, make_number
        self.replace(0, looks)
        self.same: Callable[[], int] = make(ctypes.addressof(method), self._words, None)
        self._at = address(self._words)

    def differs(self, start: int) -> int:
        """The number of the first word from ``start`` on that differs; negative if none does."""
        found: int = self._differs(self._at, start)
        return found

    def replace(self, start: int, looks: Sequence[Look]) -> None:
        """Replaces the comparisons from number ``start`` on."""
        if looks:
            rows = np.array(looks, np.int64).reshape(-1)
            self._words[_FRONT + 4 * start :][: rows.size] = rows


def is_available() -> bool:
    """True if this process supports such tables."""
    try:
        return reads_arrays and _functions() is not None
    except Exception:  # then Python compares
        return False


@functools.cache
def _functions() -> tuple[Any, _Method, Any, int]:
    """The constructor of built-in methods and the method definition; the function ``differs``; and the address of the function
    that creates ints.
    """
    from ..compiler import compile as compiler  # imports llvmlite, which is slow

    found = compiler.native("table", lambda: _CODE, ("differs", "same"))
    api: Any = ctypes.pythonapi
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    differs = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(found["differs"])
    make_number = ctypes.cast(api.PyLong_FromLongLong, ctypes.c_void_p).value or 0
    method = _Method(b"same", found["same"], _NO_ARGUMENTS, None)
    make = prototype(("PyCFunction_NewEx", api))
    return make, method, differs, make_number
