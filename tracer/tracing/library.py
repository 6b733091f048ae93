"""Rarely changing namespaces, and caches of functions: the parts that guards must know."""

from __future__ import annotations

import functools
import gc
import logging
import sys
import types
import weakref
from typing import Any

from ..core.tensor import Tensor
from ..runtime.support.words import namespace, version_of
from .kinds import MISSING
from .known import PACKAGE, is_library, is_quiet
from .substitutes import original

# Namespaces of this package when first seen, by id; and the changes in the last examined version.
_first: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
_latest: dict[int, tuple[int, list[tuple[str, Any]]]] = {}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, staticmethod, classmethod, property, type)


def altered(space: dict[str, Any]) -> list[tuple[str, Any]]:
    """The functions and classes that users have put in a namespace of this package, by name."""
    version = version_of(space)
    known = _latest.get(id(space))
    if known is not None and version is not None and known[0] == version[1]:
        return known[1]
    if id(space) not in _first:
        _first[id(space)] = space, dict(space)
    _, before = _first[id(space)]
    found = [
        (name, value)
        for name, value in space.items()
        if (before.get(name) is not value and isinstance(value, _FUNCTIONS)) or _is_foreign(value)
    ]
    found += [(name, None) for name, value in before.items() if name not in space and isinstance(value, _FUNCTIONS)]
    if version is not None:
        _latest[id(space)] = version[1], found
    return found


def replaced(space: dict[str, Any]) -> list[tuple[str, Any]]:
    """The changes in a library namespace since it was first seen, except modules: by name, ``MISSING`` if deleted."""
    _, before = _first.setdefault(id(space), (space, {name: original(value) for name, value in space.items()}))
    now = {name: original(value) for name, value in space.items()}
    names = [name for name, value in now.items() if before.get(name, MISSING) is not value]
    names += [name for name in before if name not in now]
    found = [(name, now.get(name, MISSING)) for name in names]
    return [(name, value) for name, value in found if not isinstance(value, types.ModuleType)]


def _is_foreign(x: Any) -> bool:
    """True for a function of neither this package nor the libraries."""
    function = getattr(x, "__func__", x)
    return isinstance(function, types.FunctionType) and not is_library(function.__globals__.get("__name__"))


def is_quiet_function(x: Any) -> bool:
    """True for a function of this package, which ``altered`` covers."""
    return isinstance(x, types.FunctionType) and is_quiet(x.__globals__.get("__name__")) and x.__module__.startswith(PACKAGE)


def patchable() -> list[dict[str, Any]]:
    """The namespaces that functions of this package read, whichever is called."""
    modules = [sys.modules.get(name) for name in (PACKAGE, f"{PACKAGE}.nn.functional")]
    return [_of(Tensor), *(vars(m) for m in modules if m is not None)]


@functools.lru_cache(1024)
def _of(cls: type) -> dict[str, Any]:
    return namespace(cls)


# Caches of functions (``functools.lru_cache``).

_remembered: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()


def cache_of(function: Any) -> dict[Any, Any]:
    """The dictionary of a cached function's results; a new one if it has none."""
    own = vars(function)
    return next((d for d in gc.get_referents(function) if type(d) is dict and d is not own), own)


def cached_tensors(function: Any) -> list[Tensor]:
    """The tensors among a cached function's results, also in tuples, lists and dicts."""
    found: list[Tensor] = []
    work: list[Any] = []
    for x in cache_of(function).values():
        work += gc.get_referents(x) if type(x).__name__ == "_lru_list_elem" else [x]
    while work:
        x = work.pop()
        if isinstance(x, Tensor):
            found.append(x)
        elif type(x) in (tuple, list, dict):
            work += x.values() if type(x) is dict else x
    return found


def taken(logger: logging.Logger) -> list[tuple[Any, str, Any]]:
    """The records that a logger accepts, as attributes: (object, name, value). Their handling is not described."""
    found: list[tuple[Any, str, Any]] = [(logger.manager, "disable", logger.manager.disable)]
    at: logging.Logger | None = logger
    while at is not None:
        found += [(at, name, getattr(at, name)) for name in ("level", "disabled", "propagate", "parent")]
        at = at.parent
    return found


def forgotten(function: Any) -> int:
    """How often a cached function was found to have removed a result."""
    known = _remembered.get(function)
    now = dict(cache_of(function))
    if known is None:
        known = _remembered[function] = [0, now]
    elif any(now.get(key, known) is not value for key, value in known[1].items()):
        known[0] += 1
    known[1] = now
    count: int = known[0]
    return count
