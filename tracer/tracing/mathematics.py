"""Functions of Python's ``math`` for numbers of a run: C code would read the value, and the trace would be for it alone."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .scalars import RuntimeNumber

_OF_SEQUENCES = {"fsum", "prod", "dist", "sumprod"}


def _of_numbers(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        number = next((x for x in args if isinstance(x, RuntimeNumber)), None)
        if number is None or kwargs:
            return original(*args, **kwargs)
        return number._program.apply(original, args)

    return function


# By the id of the function that each stands for.
_standing_in: dict[int, Callable[..., Any]] = {
    id(f): _of_numbers(f) for name, f in vars(math).items() if callable(f) and name[0] != "_" and name not in _OF_SEQUENCES
}
_names = {name: f for name, f in vars(math).items() if id(f) in _standing_in}
_originals = {id(_standing_in[id(f)]): f for f in _names.values()}
_lock = threading.Lock()
_users = 0


def for_numbers(x: Any) -> Any:
    """What stands for a function of ``math``; None for everything else."""
    return _standing_in.get(id(x))


def original(x: Any) -> Any:
    """The function for which one stands; everything else itself."""
    return _originals.get(id(x), x)


@contextlib.contextmanager
def mathematics() -> Iterator[None]:
    """Meanwhile the functions of ``math`` take numbers of a run."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            space = vars(math)
            space.update((name, _standing_in[id(f)]) for name, f in _names.items() if space.get(name) is f)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                space = vars(math)
                space.update((name, f) for name, f in _names.items() if space.get(name) is _standing_in[id(f)])
