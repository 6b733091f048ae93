"""What a trace depends on: the call's arguments, and everything else the function can reach.

``Call`` describes the arguments: their structure, the dtype, shape and requires_grad of tensors, which of them are the
same tensor, and the values of everything static. ``Environment`` describes what is reachable through closure cells
and globals: the identity of tensors, static values, and the contents of plain containers and objects. Modules and
optimizers announce their changes (``context.Structure``), so they are looked at again only after one.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from ..context import Structure
from ..ir.types import DType
from ..tensor import Tensor

_STATIC = (bool, int, float, complex, str, bytes, type(None), DType, range, slice)
_LIMIT = 20_000


class Untraceable(Exception):
    """An argument or environment that guards cannot describe."""


class Announcing:
    """Base of objects that call ``structure_changed`` whenever an attribute of theirs changes.

    ``_announced`` names the attributes that are containers and announce changes of their contents too.
    """

    _announced: frozenset[str] = frozenset()


class Wrapper:
    """Base of objects that stand for a function: what they depend on is what ``function`` depends on."""

    function: Callable[..., Any]


class Call:
    """A call's arguments, flattened: ``key`` says all that a trace of it takes for granted."""

    __slots__ = ("floats", "key", "reached", "tensors")

    def __init__(self, args: tuple, kwargs: dict):
        self.tensors: list[Tensor] = []
        self.floats: list[float] = []
        self.reached: dict[int, Tensor] = {}  # through arguments that are objects
        tokens: list[Any] = []
        for a in args:
            self._add(a, tokens)
        for name in kwargs:
            tokens.append(name)
            self._add(kwargs[name], tokens)
        if len(self.tensors) > 1:
            ids = [id(t) for t in self.tensors]
            if len(set(ids)) < len(ids):
                tokens.append(tuple(map(ids.index, ids)))
        self.key = tuple(tokens)

    def _add(self, a: Any, tokens: list[Any]) -> None:
        if isinstance(a, Tensor):
            data = a._data
            tokens.append((data.dtype.char, data.shape, a._requires_grad, data.flags.c_contiguous))
            self.tensors.append(a)
        elif type(a) is float:
            tokens.append(float)
            self.floats.append(a)
        elif isinstance(a, _STATIC):
            tokens.append((type(a), a if not isinstance(a, (slice, range)) else repr(a)))
        elif isinstance(a, (list, tuple)):
            tokens.append((type(a), len(a)))
            for item in a:
                self._add(item, tokens)
        elif isinstance(a, dict):
            tokens.append((dict, tuple(a)))
            for item in a.values():
                self._add(item, tokens)
        elif isinstance(a, np.ndarray):
            raise Untraceable("an argument is a NumPy array; pass a tensor")
        else:
            walk = _Walk()
            tokens.append(walk.describe(a))
            self.reached.update(walk.tensors)


class _Walk:
    """Describes an object and what it reaches, as a hashable token."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # identities are compared, so what has one must stay alive
        self.tensors: dict[int, Tensor] = {}
        self.live: list[Any] = []  # plain objects inside announcing ones: they change without saying so

    def describe(self, x: Any) -> Any:
        tokens: list[Any] = []
        self._describe(x, tokens, False)
        return tuple(tokens)

    def _describe(self, x: Any, out: list[Any], inside: bool) -> None:
        if isinstance(x, Wrapper):
            x = x.function
        if isinstance(x, _STATIC):
            out.append((type(x), repr(x) if isinstance(x, (float, complex, slice, range)) else x))
            return
        if id(x) in self.seen:
            out.append(("again", self.seen[id(x)]))
            return
        if len(self.kept) > _LIMIT:
            raise Untraceable("the function can reach too many objects")
        self.seen[id(x)] = len(self.seen)
        self.kept.append(x)
        if isinstance(x, Tensor):
            self.tensors[id(x)] = x
            out.append(("tensor", id(x), x._data.dtype, x._data.shape, x._requires_grad))
        elif isinstance(x, Announcing):
            out.append(("object", id(x)))
            for name, value in vars(x).items():
                out.append(name)
                if isinstance(value, (list, dict)) and name not in x._announced:
                    self.live.append(value)
                self._describe(value, out, True)
        elif isinstance(x, (list, tuple, set, frozenset)):
            out.append((type(x), len(x)))
            for item in x:
                self._describe(item, out, inside)
        elif isinstance(x, dict):
            out.append((dict, len(x)))
            hidden = getattr(x, "runtime_keys", ())
            for key, value in x.items():
                out.append(key if isinstance(key, _STATIC) else id(key))
                if isinstance(key, Tensor):
                    self.tensors[id(key)] = key
                if key not in hidden:
                    self._describe(value, out, inside)
        elif isinstance(x, (types.FunctionType, types.MethodType)) and (len(self.seen) == 1 or not _is_ours(x)):
            out.append(("function", id(getattr(x, "__func__", x))))
            if isinstance(x, types.MethodType):
                self._describe(x.__self__, out, inside)
            for name, value in reachable(x):
                out.append(name)
                self._describe(value, out, inside)
        elif isinstance(x, (types.ModuleType, type, types.BuiltinFunctionType)) or not hasattr(x, "__dict__"):
            out.append(("opaque", id(x)))
        else:
            out.append(("object", id(x)))
            if inside:
                self.live.append(x)
            for name, value in vars(x).items():
                out.append(name)
                self._describe(value, out, inside)


def reachable(function: Any) -> list[tuple[str, Any]]:
    """What a function refers to outside itself: closure cells and globals by the names its code mentions, and defaults."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType):
        return []
    found = [(name, _contents(cell)) for name, cell in _cells(function)]
    found += [(name, function.__globals__[name]) for name in _names(function.__code__) if name in function.__globals__]
    found += [("default", d) for d in function.__defaults__ or ()]
    found += list((function.__kwdefaults__ or {}).items())
    return found


def _cells(function: types.FunctionType) -> list[tuple[str, Any]]:
    return list(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # not assigned yet


@functools.cache
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The globals that a function's code, and that of functions defined in it, refers to."""
    names = [i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return tuple(dict.fromkeys(names))


def _is_ours(x: Any) -> bool:
    """Whether ``x`` is a function of this package: it depends on nothing that changes."""
    return isinstance(x, types.FunctionType) and (x.__module__ or "").split(".")[0] == __name__.split(".")[0]


def _is_plain(x: Any) -> bool:
    """Whether what ``x`` holds can change without ``x`` becoming another object and without being announced."""
    if isinstance(x, (*_STATIC, Tensor, Announcing, types.ModuleType, type, types.BuiltinFunctionType)):
        return False
    if _is_ours(x):
        return False
    return hasattr(x, "__dict__") or isinstance(x, (list, dict, set, tuple))


class Environment:
    """What a function can reach outside its arguments."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.tensors: dict[int, Tensor] = {}
        self._epoch = -1
        self._plain: Any = None
        self._live: list[Any] = []
        self._deep = True  # whether it reaches things that change without saying so
        self._cells: list[tuple[Any, Any]] = []
        self._globals: list[tuple[dict, str, Any]] = []
        self._keys: dict[Any, int] = {}
        self._kept: list[list[Any]] = []
        self._key = -1

    def key(self) -> int:
        """A number that is the same as long as nothing the function can reach has changed. Raises Untraceable."""
        if self._epoch != Structure.epoch or self._names_changed() or (self._deep and self._describe_plain() != self._plain):
            self._look()
        return self._key

    def _names_changed(self) -> bool:
        """Whether a variable that the function's own code names refers to something else."""
        for cell, was in self._cells:
            if cell.cell_contents is not was:
                return True
        for space, name, was in self._globals:
            now = space.get(name)
            if now is not was and (not isinstance(now, _STATIC) or type(now) is not type(was) or now != was):
                return True
        return False

    def _look(self) -> None:
        """Looks at everything."""
        walk = _Walk()
        description = walk.describe(self.function)
        if description not in self._keys:
            self._keys[description] = len(self._keys)
            self._kept.append(walk.kept)
        self._key = self._keys[description]
        self.tensors, self._live, self._epoch = walk.tensors, walk.live, Structure.epoch
        function = getattr(self.function, "__func__", self.function)
        self._cells, self._globals = [], []
        plain = function is self.function and isinstance(function, types.FunctionType)
        if plain:
            self._cells = [(cell, _contents(cell)) for _, cell in _cells(function)]  # type: ignore[arg-type]
            space = function.__globals__
            self._globals = [(space, name, space[name]) for name in _names(function.__code__) if name in space]
        found = [value for _, value in reachable(function)]
        self._deep = not plain or bool(self._live) or any(_is_plain(v) for v in found)
        self._plain = self._describe_plain() if self._deep else None

    def _describe_plain(self) -> Any:
        """The part that does not announce its changes: looked at in every call."""
        tokens: list[Any] = []
        seen: set[int] = set()
        work = [*self._live, *(value for _, value in reachable(self.function))]
        if isinstance(self.function, types.MethodType):
            work.append(self.function.__self__)
        while work:
            x = work.pop()
            if isinstance(x, Wrapper):
                x = x.function
            if isinstance(x, _STATIC):
                tokens.append(x if not isinstance(x, (float, complex, slice, range)) else repr(x))
                continue
            tokens.append(id(x))
            if id(x) in seen or isinstance(x, (types.ModuleType, type, types.BuiltinFunctionType)) or _is_ours(x):
                continue
            seen.add(id(x))
            if len(seen) > _LIMIT:
                raise Untraceable("the function can reach too many objects")
            if isinstance(x, Tensor):
                tokens.append((x._data.shape, x._data.dtype, x._requires_grad))
            elif isinstance(x, Announcing):
                continue
            elif isinstance(x, (list, tuple, set, frozenset)):
                tokens.append(len(x))
                work += x
            elif isinstance(x, dict):
                tokens.append(tuple(k if isinstance(k, _STATIC) else id(k) for k in x))
                work += x.values()
            elif isinstance(x, (types.FunctionType, types.MethodType)):
                work += [value for _, value in reachable(x)]
                if isinstance(x, types.MethodType):
                    work.append(x.__self__)
            elif hasattr(x, "__dict__"):
                tokens.append(tuple(vars(x)))
                work += vars(x).values()
        return tokens
