"""Functions that take the place of library functions while a run is recorded, wherever code refers to those."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .scalars import RuntimeNumber


class _Place(NamedTuple):
    """A name of a module that stands for ``substitute`` instead of ``original`` meanwhile."""

    space: dict[str, Any]
    name: str
    original: Any
    substitute: Any


_places: list[_Place] = []
_substitutes: dict[int, Any] = {}  # by the id of the original
_originals: dict[int, Any] = {}  # by the id of the substitute
_lock = threading.Lock()
_users: set[object] = set()  # recordings


def register(space: dict[str, Any], name: str, substitute: Callable[..., Any]) -> None:
    """From now on ``substitute`` takes the place of what a module has under a name. Outside recordings it must do the same."""
    original = space[name]
    substitute = _substitutes.setdefault(id(original), functools.update_wrapper(substitute, original, updated=()))
    _originals[id(substitute)] = original
    _places.append(_Place(space, name, original, substitute))


def substitute_for(x: Any) -> Any:
    """What takes the place of a function; None if nothing does."""
    return _substitutes.get(id(x))


def original(x: Any) -> Any:
    """The function whose place a function takes; everything else itself."""
    return _originals.get(id(x), x)


@contextlib.contextmanager
def substituted() -> Iterator[None]:
    """Meanwhile substitutes are in place."""
    user = object()
    try:
        _use(user, True)
        yield
    finally:
        _use(user, False)


def _use(user: object, begins: bool) -> None:
    """Puts substitutes in place for the first user, and originals after the last."""
    with _lock:
        before = bool(_users)
        (_users.add if begins else _users.discard)(user)
        for p in _places if bool(_users) is not before else ():
            old, new = (p.original, p.substitute) if _users else (p.substitute, p.original)
            if p.space.get(p.name) is old:
                p.space[p.name] = new


# Functions of ``math`` take numbers of a run: C code would read the value, and the trace would be for it alone.

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
        register(vars(math), _name, _of_numbers(_function))
