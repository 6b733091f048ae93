"""Substitutes of library functions while a run is recorded, wherever code refers to the originals."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .scalars import RuntimeNumber


class _Place(NamedTuple):
    """A name of a module, or of a class, that refers to ``substitute`` instead of ``original`` while a run is recorded."""

    holder: Any
    name: str
    original: Any
    substitute: Any

    def put(self, old: Any, new: Any) -> None:
        """Replaces ``old``; users' replacements stay."""
        if vars(self.holder).get(self.name) is old:
            setattr(self.holder, self.name, new)


_places: list[_Place] = []
_substitutes: dict[int, Any] = {}  # by the id of the original
_originals: dict[int, Any] = {}  # by the id of the substitute
# the functions that create substitutes of objects that programs replace
_made: list[tuple[Any, str, Callable[[str, Any], Any]]] = []
# modules that may not be imported yet, with the functions that create substitutes of their functions
_later: list[tuple[str, str, Callable[[Any], Any]]] = []
_of_arrays: list[Any] = []  # the substitutes of functions of arrays
_meanwhile: list[_Place] = []  # of these, while a run is recorded
_lock = threading.Lock()
_users: set[object] = set()  # recordings, of all threads


def register(holder: Any, name: str, substitute: Callable[..., Any]) -> None:
    """Registers a substitute for a name of a module or a class. Where nothing is recorded, in another thread for example, it
    must do the same as the original.
    """
    original = vars(holder)[name]
    substitute = _substitutes.setdefault(id(original), functools.update_wrapper(substitute, original, updated=()))
    _originals[id(substitute)] = original
    _places.append(_Place(holder, name, original, substitute))


def register_made(holder: Any, name: str, make: Callable[[str, Any], Any]) -> None:
    """The same for an object that programs replace: ``make(name, object)`` creates its substitute at the start of a
    recording.
    """
    _made.append((holder, name, make))


def register_later(module: str, name: str, substitute: Callable[[Any], Any]) -> None:
    """Registers ``substitute(original)`` for a function of arrays in a module that programs import, before the first recording
    after that.
    """
    _later.append((module, name, substitute))


def complete() -> None:
    """Registers the substitutes for modules that have been imported meanwhile."""
    for entry in list(_later):
        module, name, substitute = entry
        if module in sys.modules:
            _later.remove(entry)
            register(sys.modules[module], name, made := substitute(getattr(sys.modules[module], name)))
            _of_arrays.append(made)


def is_of_arrays(substitute: Any) -> bool:
    """True for the substitute of a function of arrays, which code may need that accepts no dynamic numbers."""
    return any(substitute is known for known in _of_arrays)


def substitute_for(x: Any) -> Any:
    """The substitute of a function; None if there is none."""
    return _substitutes.get(id(x))


def original(x: Any) -> Any:
    """The original of a substitute; everything else unchanged."""
    return _originals.get(id(x), x)


@contextlib.contextmanager
def substituted() -> Iterator[None]:
    """Installs substitutes in this block. They are shared by all threads that record at that time."""
    user = object()
    try:
        _use(user, True)
        yield
    finally:
        _use(user, False)


@contextlib.contextmanager
def originals_in_place() -> Iterator[None]:
    """Inside a recording: restores the originals in this block, for the import of a library that keeps references."""
    try:
        with _lock:
            _put_all(substitutes=False)
        yield
    finally:
        with _lock:
            _put_all(substitutes=True)


def _put_all(substitutes: bool) -> None:
    for p in (*_places, *_meanwhile):
        p.put(*((p.original, p.substitute) if substitutes else (p.substitute, p.original)))


def _use(user: object, begins: bool) -> None:
    """Installs substitutes for the first user, and restores originals after the last."""
    with _lock:
        before = bool(_users)
        (_users.add if begins else _users.discard)(user)
        if bool(_users) is before:
            return
        if begins:
            _meanwhile[:] = [
                _Place(holder, name, x, make(name, x))
                for holder, name, make in _made
                if (x := getattr(holder, name, None)) is not None
            ]
        _put_all(substitutes=begins)
        if not begins:
            _meanwhile.clear()


# Functions of ``math`` that accept dynamic numbers: C code would read the value, and the trace would be valid only for it.

_OF_SEQUENCES = {"fsum", "prod", "dist", "sumprod"}


def _of_numbers(original: Callable[..., Any]) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        number = next((x for x in args if isinstance(x, RuntimeNumber)), None)
        if number is None or kwargs:
            return original(*args, **kwargs)
        return number._program.apply(original, args)

    return function


for _name, _function in list(vars(math).items()):
    if callable(_function) and _name[0] != "_" and _name not in _OF_SEQUENCES:
        register(math, _name, _of_numbers(_function))


# NumPy's reductions of a list of numbers, such as ``np.min([step**-0.5, step * rate])`` in a schedule.


def _of_a_list(original: Callable[..., Any]) -> Callable[..., Any]:
    def of_numbers(*numbers: Any) -> Any:
        return original(numbers)

    def function(a: Any, *args: Any, **kwargs: Any) -> Any:
        if type(a) not in (list, tuple) or args or kwargs or not all(isinstance(x, (int, float)) for x in a):
            return original(a, *args, **kwargs)
        number = next((x for x in a if isinstance(x, RuntimeNumber)), None)
        return original(a) if number is None else number._program.apply(of_numbers, tuple(a))

    return function


for _name in ("min", "max", "amin", "amax", "sum", "mean", "median", "prod", "std", "var"):
    register(np, _name, _of_a_list(vars(np)[_name]))
