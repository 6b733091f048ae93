"""The names that code looks up."""

from __future__ import annotations

import dis
import functools
import sys
import types
from typing import NamedTuple


class Reference(NamedTuple):
    """A name that code looks up, with the attributes that it reads from it directly. ``kind``: global, free, import, or store:
    an assigned global. ``is_called``: whether the code only calls the result.
    """

    kind: str
    name: str
    attributes: tuple[str, ...] = ()
    level: int = 0
    is_called: bool = False


_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
_ONE_BIT = sys.version_info >= (3, 12)  # in an attribute's argument, a flag for a call


@functools.lru_cache(4096)
def references(code: types.CodeType) -> tuple[Reference, ...]:
    """The globals, closure variables and imports of a function's code, without the functions that it defines."""
    found: list[Reference] = []
    instructions = list(dis.get_instructions(code))
    for i, instruction in enumerate(instructions):
        name = instruction.opname
        if name == "IMPORT_NAME":
            level = instructions[i - 2].argval
            found.append(Reference("import", instruction.argval, (), level if isinstance(level, int) else 0))
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            found.append(Reference("store", instruction.argval))
        elif name in _LOADS:
            attributes, follower = [], instruction
            alone = name == "LOAD_GLOBAL" and bool((instruction.arg or 0) & 1)  # the result of the attributes is called
            called = alone
            for follower in instructions[i + 1 :]:
                if follower.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
                    break
                attributes.append(follower.argval)
                called = alone or follower.opname == "LOAD_METHOD" or (_ONE_BIT and bool((follower.arg or 0) & 1))
            if attributes == ["modules"] and follower.opname == "CONTAINS_OP":  # ``"einops" in sys.modules``
                attributes.append("__contains__")
            called = called or follower.opname == "PUSH_NULL"
            kind = "free" if "DEREF" in name else "global"
            found.append(Reference(kind, instruction.argval, tuple(attributes), is_called=called))
    return tuple(dict.fromkeys(found))


_INSIDE_OF_FUNCTIONS = frozenset(["__closure__", "__code__", "__defaults__", "__kwdefaults__", "cell_contents", "inspect"])


@functools.lru_cache(4096)
def looks_inside(code: types.CodeType) -> bool:
    """True if a function's code may read parts of functions that it does not call: defaults, closures, code."""
    return not _INSIDE_OF_FUNCTIONS.isdisjoint((*code.co_names, *(c for c in code.co_consts if type(c) is str)))


_OF_FUNCTIONS_AND_CLASSES = frozenset(["__name__", "__qualname__", "__module__", "__doc__"])
_GETTERS = frozenset(["getattr", "attrgetter", "inspect"])


@functools.lru_cache(4096)
def mentioned(code: types.CodeType) -> frozenset[str]:
    """The names of functions' and classes' attributes that a function's code may read."""
    if not _GETTERS.isdisjoint(code.co_names):
        return _OF_FUNCTIONS_AND_CLASSES
    return _OF_FUNCTIONS_AND_CLASSES.intersection(code.co_names)


def nested(code: types.CodeType) -> list[types.CodeType]:
    """The code of the functions that a function defines."""
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def line_of(code: types.CodeType, name: str) -> str:
    """The place where code first looks up a name."""
    lines = [i.positions.lineno for i in dis.get_instructions(code) if i.argval == name and i.positions is not None]
    return f"{code.co_filename}:{lines[0] if lines else code.co_firstlineno}"
