"""Places that hooks may write to when a backward pass outside calls them.

Such places differ in every call, but the function rarely reads them: a list to which hooks append, an attribute that stores a
gradient. They become slots (``effects``) before they change. If one is not found here, calls are only recorded more often.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..core.tensor import Tensor
from .callsites import code_of
from .effects import Slot, get
from .growing import can_be_tracked
from .kinds import CELL, CONTAINERS, CONTENTS, GROWTH, contents, is_static
from .known import is_library
from .references import nested

if TYPE_CHECKING:
    from .calls import Call
    from .guards import Environment

_MANY = 200  # inspected objects


@functools.lru_cache(1024)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]]:
    """The names of attributes, closure variables and globals that code assigns, including nested functions; and of all
    attributes and globals that it mentions.
    """
    instructions = [*dis.get_instructions(code)]
    found = [
        frozenset(i.argval for i in instructions if i.opname == name) for name in ("STORE_ATTR", "STORE_DEREF", "STORE_GLOBAL")
    ]
    found.append(frozenset(code.co_names))
    for inner in nested(code):
        found = [a | b for a, b in zip(found, _names(inner), strict=True)]
    return found[0], found[1], found[2], found[3]


def learn_from_hooks(hooks: Iterable[Any], call: Call) -> bool:
    """Makes slots of the places that hooks may write to. Returns True if the run must be recorded again."""
    again = False
    for x, holder, key in _places(list(hooks)):
        if key is GROWTH and any(x is known for known in call.objects):
            again |= call.grows(x)
            continue
        owner = next((e for e in call.environments if _has(e, x, holder, key)), None)
        if owner is None or any(owner.slot(holder, k) is not None for k in (key, GROWTH, CONTENTS)):
            continue
        if key is not GROWTH or owner.can_track(x):
            again = True
            owner.learn(Slot(holder, key, key is not GROWTH and type(get(holder, key)) in (int, float)))
    return again


def _has(environment: Environment, x: Any, holder: Any, key: Any) -> bool:
    """True if a place belongs to surroundings."""
    if key is CELL:
        return any(cell is holder for f in environment.latest_walk().functions for cell in f.__closure__ or ())
    return id(x) in environment.reached or (isinstance(x, types.FunctionType) and holder is x.__globals__)


def _places(work: list[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """A reachable object, the holder of its values, and the key of one that may change."""
    seen: dict[int, Any] = {}
    objects: list[Any] = []
    assigned: set[str] = set()
    read: set[str] = set()
    while work and len(seen) < _MANY:
        while work and len(seen) < _MANY:
            x = work.pop()
            if id(x) in seen:
                continue
            seen[id(x)] = x
            if is_static(x) or isinstance(x, (Tensor, type, types.ModuleType)):
                continue
            if isinstance(x, types.FunctionType):
                cells = dict(zip(x.__code__.co_freevars, x.__closure__ or (), strict=True))
                work += [contents(cell) for cell in cells.values()]
                work += x.__defaults__ or ()
                if is_library(x.__module__):
                    continue
                attributes, variables, globals_, mentioned = _names(code_of(x))
                assigned |= attributes
                read |= mentioned
                work += [x.__globals__[name] for name in mentioned if name in x.__globals__]
                yield from ((x, cells[name], CELL) for name in variables if name in cells)
                yield from ((x, x.__globals__, name) for name in globals_)
            elif isinstance(x, types.MethodType):
                work += (x.__self__, x.__func__)
            elif isinstance(x, functools.partial):
                work += (x.func, *x.args, *x.keywords.values())
            elif isinstance(x, CONTAINERS):
                if can_be_tracked(x):
                    yield x, x, GROWTH
                elif isinstance(x, (tuple, list)):
                    work += x
            elif isinstance(getattr(x, "__dict__", None), dict):
                objects.append(x)
                work += [f for c in type(x).__mro__ if (f := vars(c).get("__call__")) is not None]
        for x in objects:
            own = vars(x)
            work += [own[name] for name in (own if is_library(type(x).__module__) else read) if name in own]
            work += [f for name in read if isinstance(f := getattr(type(x), name, None), types.FunctionType)]
        work = [x for x in work if id(x) not in seen]
    for x in objects:
        if not is_library(type(x).__module__):
            yield from ((x, vars(x), name) for name in assigned)
