"""A profile function that reports only new events: which code runs, and which C functions it calls.

CPython reports every call and return in a profiled thread. A profile function written in Python takes a microsecond per
pair, and nearly all of them are known. Here native code looks them up.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .objects import HEAD, address, reads_arrays

QUIET, DESCRIBED, CHECKED = 1, 2, 3  # code whose calls of C functions do not matter; other code; a C function
_METHOD = HEAD  # offset of the definition in a built-in function; it starts with the name

_CODE = f"""
define i64 @SYMBOL_find(ptr %state, ptr %x) {{
entry:
  %p1 = getelementptr i64, ptr %state, i64 1
  %p2 = getelementptr i64, ptr %state, i64 2
  %table = load ptr, ptr %p1
  %mask = load i64, ptr %p2
  %key = ptrtoint ptr %x to i64
  %start = lshr i64 %key, 4
  br label %look
look:
  %i = phi i64 [%start, %entry], [%next, %other]
  %at = and i64 %i, %mask
  %at2 = mul i64 %at, 2
  %k = getelementptr i64, ptr %table, i64 %at2
  %found = load i64, ptr %k
  %is_it = icmp eq i64 %found, %key
  br i1 %is_it, label %known, label %not_it
not_it:
  %is_free = icmp eq i64 %found, 0
  br i1 %is_free, label %unknown, label %other
other:
  %next = add i64 %i, 1
  br label %look
known:
  %v = getelementptr i64, ptr %k, i64 1
  %value = load i64, ptr %v
  ret i64 %value
unknown:
  ret i64 0
}}

define i32 @SYMBOL_profile(ptr %self, ptr %frame, i32 %what, ptr %arg) {{
entry:
  %data = getelementptr i8, ptr %self, i64 {HEAD}
  %state = load ptr, ptr %data
  %ignoring_word = load i64, ptr %state
  %ignoring = icmp ne i64 %ignoring_word, 0
  %p4 = getelementptr i64, ptr %state, i64 4
  %p5 = getelementptr i64, ptr %state, i64 5
  %code_of = load ptr, ptr %p4
  %release = load ptr, ptr %p5
  switch i32 %what, label %nothing [i32 0, label %call i32 3, label %return i32 4, label %c_call]
return:
  br i1 %ignoring, label %tell, label %nothing
call:
  br i1 %ignoring, label %nothing, label %code
c_call:
  br i1 %ignoring, label %nothing, label %code
code:
  %x = call ptr %code_of(ptr %frame)
  call void %release(ptr %x)
  %kind = call i64 @SYMBOL_find(ptr %state, ptr %x)
  %is_call = icmp eq i32 %what, 0
  br i1 %is_call, label %is_new, label %from
is_new:
  %new = icmp eq i64 %kind, 0
  br i1 %new, label %tell, label %nothing
from:
  %matters = icmp eq i64 %kind, {DESCRIBED}
  br i1 %matters, label %function, label %nothing
function:
  %method_at = getelementptr i8, ptr %arg, i64 {_METHOD}
  %method = load ptr, ptr %method_at
  %checked = call i64 @SYMBOL_find(ptr %state, ptr %method)
  %unchecked = icmp eq i64 %checked, 0
  br i1 %unchecked, label %tell, label %nothing
tell:
  %what64 = zext i32 %what to i64
  %place = add i64 %what64, 7
  %name_at = getelementptr ptr, ptr %state, i64 %place
  %name = load ptr, ptr %name_at
  %p3 = getelementptr ptr, ptr %state, i64 3
  %p6 = getelementptr ptr, ptr %state, i64 6
  %callback = load ptr, ptr %p3
  %apply = load ptr, ptr %p6
  %no_arg = icmp eq ptr %arg, null
  %given = select i1 %no_arg, ptr %name, ptr %arg
  %result = call ptr (ptr, ...) %apply(ptr %callback, ptr %frame, ptr %name, ptr %given, ptr null)
  %failed = icmp eq ptr %result, null
  br i1 %failed, label %error, label %told
told:
  call void %release(ptr %result)
  br label %nothing
nothing:
  ret i32 0
error:
  ret i32 -1
}}
"""


class Filter:
    """Calls ``callback(frame, event, arg)`` for a thread's calls of unknown code, and for calls of unknown C functions by
    ``DESCRIBED`` code. While set to ``ignore`` calls, it reports returns instead.
    """

    def __init__(self, callback: Callable[..., Any]):
        self._events = ["call", "exception", "line", "return", "c_call"]  # by number
        functions = [_address(name) for name in ("PyFrame_GetCode", "Py_DecRef", "PyObject_CallFunctionObjArgs")]
        self._callback = callback
        self.key = np.array([0, 0, 0, id(callback), *functions, *map(id, self._events)], np.int64)
        self._known: dict[int, int] = {}
        self._kept: list[Any] = []
        self._table = np.zeros(0, np.int64)
        self._fill(256)

    def ignore(self, ignores: bool) -> None:
        """Sets whether calls are ignored and returns reported."""
        self.key[0] = ignores

    def remember(self, x: types.CodeType | types.BuiltinFunctionType, kind: int) -> None:
        """Stops reporting calls of this code, or of this function that is no method of a class."""
        is_code = isinstance(x, types.CodeType)
        key = id(x) if is_code else _method_of(x)
        if is_code:  # a function may be a method of an object that nothing else holds
            self._kept.append(x)
        self._known[key] = kind
        if 3 * len(self._known) > self._table.size // 2:
            self._fill(self._table.size)
        else:
            self._put(key, kind)

    def _fill(self, size: int) -> None:
        """Creates a table with ``size`` places."""
        table = np.zeros(2 * size, np.int64)
        before, self._table = self._table, table
        for key, kind in self._known.items():
            self._put(key, kind)
        self.key[1:3] = address(table), size - 1
        del before  # in use until now

    def _put(self, key: int, kind: int) -> None:
        mask = self._table.size // 2 - 1
        at = (key >> 4) & mask
        while self._table[2 * at] not in (0, key):
            at = (at + 1) & mask
        self._table[2 * at + 1] = kind
        self._table[2 * at] = key

    def start(self) -> None:
        """Installs this as the thread's profile function; ``sys.getprofile`` then returns ``key``."""
        _set_profile()(_profile(), self.key)


def _method_of(function: Any) -> int:
    return ctypes.c_size_t.from_address(id(function) + _METHOD).value


def _address(name: str) -> int:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


@functools.cache
def _profile() -> int:
    from ..compiler import compile as compiler  # imports llvmlite, which is slow

    return compiler.native("profile", lambda: _CODE, ("profile",))["profile"]


@functools.cache
def _set_profile() -> Any:
    api: Any = ctypes.pythonapi
    return ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.py_object)(("PyEval_SetProfile", api))


@functools.cache
def is_available() -> bool:
    """True if this process has such a function."""
    known = reads_arrays and getattr(sys, "_is_gil_enabled", lambda: True)()
    try:
        named = known and ctypes.string_at(ctypes.c_size_t.from_address(_method_of(len)).value) == b"len"
        return bool(named and _profile())
    except Exception:  # then Python does the lookups
        return False
