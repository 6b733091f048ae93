"""What a trace depends on: the call's arguments, and everything else the function can reach.

``Call`` describes the arguments: their structure, the dtype, shape and requires_grad of tensors, which of them are the
same tensor, and the values of everything static. ``Environment`` describes what is reachable through closure cells
and globals: the identity of tensors, static values, and the contents of plain containers and objects. Modules and
optimizers announce their changes (``context.Structure``), so they are looked at again only after one.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..context import Structure
from ..ir.types import DType
from ..tensor import Tensor

_STATIC = (bool, int, float, complex, str, bytes, type(None), DType, range, slice)
_LIMIT = 20_000  # objects a function may reach
# Modules whose functions and classes depend on nothing that changes.
_TRUSTED = {__name__.split(".")[0], "numpy", "scipy", *sys.stdlib_module_names} - {"__main__"}


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
            if any(t._view is not None or t._data.base is not None for t in self.tensors):
                tokens.append(("overlap", *self._overlaps()))
        self.key = tuple(tokens)

    def _overlaps(self) -> list[tuple[int, int]]:
        """Pairs of different tensors that share memory."""
        arrays = [t._data for t in self.tensors]
        pairs = [(i, j) for j in range(len(arrays)) for i in range(j)]
        return [(i, j) for i, j in pairs if np.may_share_memory(arrays[i], arrays[j])]

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
    """Describes an object and all it reaches, as a hashable token; and collects what may change unannounced."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # identities are compared, so what has one must stay alive
        self.tensors: dict[int, Tensor] = {}
        self.live: list[Any] = []  # plain containers and objects
        self.cells: list[tuple[Any, Any]] = []  # closure cells of functions, and what they held
        self.names: list[tuple[Mapping[str, Any], str, Any]] = []  # names in modules and classes, and what they meant

    def describe(self, x: Any) -> Any:
        tokens: list[Any] = []
        self._describe(x, tokens, False)
        return tuple(tokens)

    def _describe(self, x: Any, out: list[Any], announced: bool) -> None:
        if isinstance(x, Wrapper):
            x = x.function
        if isinstance(x, _STATIC):
            out.append(_static(x))
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
            out.append(("tensor", id(x), x._data.dtype.char, x._data.shape, x._requires_grad))
        elif isinstance(x, (list, tuple, set, frozenset, dict)):
            self._container(x, out, announced)
        elif isinstance(x, types.MethodType):
            out.append("method")
            self._describe(x.__self__, out, False)
            self._describe(x.__func__, out, False)
        elif isinstance(x, types.FunctionType):
            out.append(("function", id(x)))
            if len(self.kept) == 1 or not _is_trusted(x.__module__):
                self._function(x, out)
        elif isinstance(x, type):
            out.append(("class", id(x)))
            self._class(x, out)
        elif isinstance(x, types.ModuleType) or not hasattr(x, "__dict__"):
            out.append(("opaque", id(x)))
        else:
            out.append(("object", id(x)))
            own = x._announced if isinstance(x, Announcing) else None
            if own is None:
                self.live.append(x)
            for name, value in vars(x).items():
                out.append(name)
                self._describe(value, out, own is not None and name in own)
            self._describe(type(x), out, False)

    def _container(self, x: Any, out: list[Any], announced: bool) -> None:
        out.append((type(x), len(x)))
        if not announced and not isinstance(x, (tuple, frozenset)):
            self.live.append(x)
        if not isinstance(x, dict):
            for item in x:
                self._describe(item, out, announced)
            return
        hidden = getattr(x, "runtime_keys", ())
        for key, value in x.items():
            self._describe(key, out, announced)
            if key not in hidden:
                self._describe(value, out, announced)

    def _function(self, x: types.FunctionType, out: list[Any]) -> None:
        for cell in x.__closure__ or ():
            value = _contents(cell)
            self.cells.append((cell, value))
            self._describe(value, out, False)
        for name in _globals(x.__code__):
            self._name(x.__globals__, name, x.__code__, out)
        for value in (*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()):
            self._describe(value, out, False)

    def _name(self, space: Mapping[str, Any], name: str, code: types.CodeType, out: list[Any]) -> None:
        """A name that a function's code looks up; in a module, the attributes that the code mentions too."""
        value = space.get(name, _MISSING)
        self.names.append((space, name, value))
        if value is _MISSING:
            return
        out.append(name)
        if isinstance(value, types.ModuleType) and not _is_trusted(value.__name__) and id(value) not in self.seen:
            self._describe(value, out, False)
            for attribute in code.co_names:
                if attribute in vars(value):
                    self._name(vars(value), attribute, code, out)
        else:
            self._describe(value, out, False)

    def _class(self, x: type, out: list[Any]) -> None:
        for base in x.__mro__:
            if _is_trusted(base.__module__):
                continue
            for name, value in vars(base).items():
                if name in ("__dict__", "__weakref__", "__doc__"):
                    continue
                self.names.append((vars(base), name, value))
                if isinstance(value, (staticmethod, classmethod)):
                    value = value.__func__
                for part in (value.fget, value.fset) if isinstance(value, property) else (value,):
                    out.append(name)
                    self._describe(part, out, False)


_MISSING = object()


def _static(x: Any) -> Any:
    """Values that are equal and yet differ (1, True, 1.0; 0.0, -0.0) get tokens that differ."""
    return type(x), repr(x) if isinstance(x, (float, complex, slice, range)) else x


def _is_trusted(module: str | None) -> bool:
    return (module or "").split(".")[0] in _TRUSTED


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # not assigned yet


@functools.cache
def _globals(code: types.CodeType) -> tuple[str, ...]:
    """The globals that a function's code, and that of functions defined in it, refers to."""
    names = [i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _globals(constant)
    return tuple(dict.fromkeys(names))


class Environment:
    """What a function can reach outside its arguments."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self._epoch = -1
        self._walk = _Walk()
        self._live: list[Any] = []
        self._keys: dict[Any, int] = {}
        self._kept: list[list[Any]] = []
        self._key = -1

    @property
    def tensors(self) -> dict[int, Tensor]:
        """The tensors that the function can reach, by id."""
        return self._walk.tensors

    def key(self) -> int:
        """A number that is the same as long as nothing the function can reach has changed. Raises Untraceable."""
        if self._epoch != Structure.epoch or self._names_changed() or (self._live and self._look_live() != self._live):
            walk = _Walk()
            description = walk.describe(self.function)
            if description not in self._keys:
                self._keys[description] = len(self._keys)
                self._kept.append(walk.kept)
            self._key, self._walk, self._epoch = self._keys[description], walk, Structure.epoch
            self._live = self._look_live()
        return self._key

    def _names_changed(self) -> bool:
        """Whether a variable, a module's or a class's attribute refers to something else."""
        for cell, was in self._walk.cells:
            if _contents(cell) is not was:
                return True
        for space, name, was in self._walk.names:
            now = space.get(name, _MISSING)
            if now is not was and (not isinstance(now, _STATIC) or _static(now) != _static(was)):
                return True
        return False

    def _look_live(self) -> list[Any]:
        """What the plain containers and objects hold: they change without saying so."""
        tokens: list[Any] = []
        for x in self._walk.live:
            items = x if isinstance(x, (list, set, frozenset)) else x.items() if isinstance(x, dict) else vars(x).items()
            for item in items:
                for part in item if isinstance(item, tuple) else (item,):
                    tokens.append(_static(part) if isinstance(part, _STATIC) else id(part))
            tokens.append(len(items))
        return tokens
