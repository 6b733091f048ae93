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


_LOADS = frozenset(["LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"])
_ATTRIBUTES = frozenset(["LOAD_ATTR", "LOAD_METHOD"])
_STORES = frozenset(["STORE_GLOBAL", "DELETE_GLOBAL"])
_ONE_BIT = sys.version_info >= (3, 12)  # in an attribute's argument, a flag for a call
_EXTENDED, _CACHE = dis.EXTENDED_ARG, dis.opmap.get("CACHE", 0)


@functools.lru_cache(1 << 15)  # a program of a large package reaches ten thousand functions, several times in a call
def references(code: types.CodeType) -> tuple[Reference, ...]:
    """The globals, closure variables and imports of a function's code, without the functions that it defines."""
    found: list[Reference] = []
    instructions, names = _instructions(code), code.co_names
    for i, (name, arg) in enumerate(instructions):
        if name == "IMPORT_NAME":
            of_level, constant = instructions[i - 2]
            level = code.co_consts[constant] if of_level == "LOAD_CONST" else constant
            wanted = code.co_consts[instructions[i - 1][1]]  # the names of ``from m import a, b``; else None
            paths: list[tuple[str, ...]] = [(x,) for x in wanted] if type(wanted) is tuple else [()]
            found += [Reference("import", names[arg], path, level if isinstance(level, int) else 0) for path in paths]
        elif name in _STORES:
            found.append(Reference("store", names[arg]))
        elif name in _LOADS:
            attributes: list[str] = []
            alone = name == "LOAD_GLOBAL" and bool(arg & 1)  # the result of the attributes is called
            called, at = alone, i + 1
            while at < len(instructions) and instructions[at][0] in _ATTRIBUTES:
                follower, which = instructions[at]
                attributes.append(names[which >> _ONE_BIT])
                called = alone or follower == "LOAD_METHOD" or (_ONE_BIT and bool(which & 1))
                at += 1
            follower = instructions[min(at, len(instructions) - 1)][0]
            if attributes == ["modules"] and follower == "CONTAINS_OP":  # ``"einops" in sys.modules``
                attributes.append("__contains__")
            called = called or follower == "PUSH_NULL"
            is_free = "DEREF" in name
            loaded = code._varname_from_oparg(arg) if is_free else names[arg >> (name == "LOAD_GLOBAL")]  # type: ignore[attr-defined]
            found.append(Reference("free" if is_free else "global", loaded, tuple(attributes), is_called=called))
    return tuple(dict.fromkeys(found))


def _instructions(code: types.CodeType) -> list[tuple[str, int]]:
    """The name and argument of each instruction. Twenty times as fast as ``dis.get_instructions``, which describes each."""
    found, extended, opname = [], 0, dis.opname
    text = code.co_code
    for op, arg in zip(text[::2], text[1::2], strict=True):
        if op == _EXTENDED:
            extended = (extended | arg) << 8
        elif op != _CACHE:
            found.append((opname[op], extended | arg))
            extended = 0
    return found


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
