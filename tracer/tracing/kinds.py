"""The kinds of objects for guards: values, containers, plain objects, and those with hidden state."""

from __future__ import annotations

import abc
import collections
import contextlib
import contextvars
import datetime
import decimal
import enum
import fractions
import functools
import io
import operator
import pathlib
import re
import sys
import threading
import types
import typing
import weakref
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..autograd.hooks import RemovableHandle
from ..core.tensor import ATTRIBUTES, Tensor
from ..ir.types import DType, exact
from .announce import Announcing
from .scalars import static

STATIC = (bool, int, float, complex, str, bytes, type(None), DType, range, slice)
_EXACTLY = frozenset([*STATIC, np.dtype])


LOCKS = (type(threading.Lock()), type(threading.RLock()))
# Immutable, or irrelevant for the results.
OPAQUE = (
    types.BuiltinFunctionType,
    types.CodeType,
    types.EllipsisType,
    types.NotImplementedType,
    types.GenericAlias,
    types.UnionType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    typing.TypeVar,
    type(typing.Union[int, str]),  # noqa: UP007
    np.ufunc,
    np.dtype,
    type(np.sum),
    type(NamedTuple("_One", [("x", int)]).x),  # type: ignore[attr-defined]
    re.Pattern,
    pathlib.PurePath,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    io.TextIOBase,
    operator.itemgetter,
    operator.attrgetter,
    operator.methodcaller,
    *LOCKS,
)
CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque, types.MappingProxyType, bytearray)
# Written in C, but without hidden state.
_SEEN_THROUGH = {object, types.SimpleNamespace, threading.local, collections.OrderedDict, collections.defaultdict, *CONTAINERS}
CLASS_NOISE = re.compile(
    r"__(dict|weakref|doc|module|slots|annotations|annotate\w*|dataclass_\w+|match_args|orig_bases|parameters|type_params"
    r"|static_attributes|firstlineno|qualname|abstractmethods|annotations_cache)__$|_abc_"
)
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "nothing"})()
# the key that stands for all contents of a container
CONTENTS: Any = type("Contents", (), {"__repr__": lambda self: "contents"})()
GROWTH: Any = type("Growth", (), {"__repr__": lambda self: "growth"})()  # the key that stands for additions to a container
CELL = "cell_contents"
OF_A_TENSOR = frozenset(ATTRIBUTES)


class _Registrations:
    """``token`` is another object after a class was registered with an abstract one, on which ``isinstance`` depends."""

    _token: object = None

    @property
    def token(self) -> object:
        current = abc.get_cache_token()
        if current != self._token:
            self._token = current
        return self._token


REGISTRATIONS = _Registrations()
Slots = Mapping[int, Collection[Any]]


class Untraceable(Exception):
    """An argument or environment that guards cannot describe."""


def dictionary_class(x: dict) -> Any:
    """The class written in C whose methods change a dictionary. ``dict``'s do not know the order of an OrderedDict."""
    return collections.OrderedDict if isinstance(x, collections.OrderedDict) else dict


def is_lock(x: Any) -> bool:
    """True for a lock, or one of its methods."""
    return isinstance(x.__self__ if isinstance(x, types.BuiltinFunctionType) else x, LOCKS)


def is_unbound(x: Any) -> bool:
    """True for a function written in C that belongs to a module or class, not to an object."""
    return isinstance(x, types.BuiltinFunctionType) and isinstance(x.__self__, (types.ModuleType, type, type(None)))


class Wrapper:
    """Base of objects that stand for a function or a module: their dependencies are those of ``__wrapped__``."""

    __slots__ = ("__dict__", "__weakref__")
    __wrapped__: Any


# Objects for which more than the attributes matters.
_SPECIAL = (
    type,
    types.FunctionType,
    types.MethodType,
    types.ModuleType,
    functools.partial,
    property,
    staticmethod,
    classmethod,
    functools._lru_cache_wrapper,
    enum.Enum,
    np.ndarray,
    np.generic,
    Tensor,
    Announcing,
    Wrapper,
)


def is_static(x: Any) -> bool:
    """True for an object that is only its value: subclasses may have attributes and methods."""
    return type(x) in _EXACTLY or isinstance(x, DType)


def plain_value(x: Any) -> tuple:
    """A token for the value of an object whose class derives from one of Python's value types."""
    return static(exact(x))


# The items of containers, whatever methods subclasses have.
_ITEMS: tuple[tuple[type, Any], ...] = (
    (collections.OrderedDict, collections.OrderedDict.items),
    (dict, dict.items),
    *((cls, cls.__iter__) for cls in (list, tuple, set, frozenset, collections.deque, bytearray)),
)
_PLAIN_CONTAINERS = frozenset([list, tuple, set, frozenset, collections.deque])


def contained(x: Any) -> Collection[Any]:
    """The items of a container, (key, value) for dictionaries, in order."""
    if type(x) in _PLAIN_CONTAINERS:
        return x  # type: ignore[no-any-return]
    for cls, items in _ITEMS:
        if isinstance(x, cls):
            return list(items(x))
    return list(x.items())  # a view of a dictionary


def items_of(x: Any) -> Collection[Any]:
    """The contents of a container or object, in order."""
    if type(x) in (dict, types.MappingProxyType):
        return x.items()  # type: ignore[no-any-return]
    if isinstance(x, bytearray):
        return (bytes(x),)
    if isinstance(x, CONTAINERS):
        return contained(x)
    if isinstance(x, np.ndarray):
        return (x.tobytes(), x.shape)
    if isinstance(x, RemovableHandle):  # a recording ends where one from outside is used
        return ()
    if isinstance(x, Tensor):
        return [(name, value) for name, value in vars(x).items() if name not in OF_A_TENSOR]
    slots = slots_of(type(x))
    own: Iterable[Any] = ()
    if hasattr(x, "__dict__") and isinstance(vars(x), dict):  # a class may respond to any name
        own = vars(x).items()
    if not slots:
        return list(own)
    return [*own, *((name, value) for name in slots if (value := get_slot(x, name)) is not MISSING)]


def is_plain(x: Any) -> bool:
    """True if all contents of an object are in its dictionary."""
    return hasattr(x, "__dict__") and not isinstance(x, (Tensor, bytearray, *CONTAINERS)) and not slots_of(type(x))


def slots_of(cls: type) -> tuple[str, ...]:
    """The names of the attributes that instances do not keep in a dictionary."""
    found = _slots_of(cls)  # type: ignore[arg-type]
    if found and not all(type(vars(base).get(name)) is types.MemberDescriptorType for base, name in found):
        _slots_of.cache_clear()  # something else has been assigned to the name
        found = _slots_of(cls)  # type: ignore[arg-type]
    return tuple([name for _, name in found])


@functools.lru_cache(1024)
def _slots_of(cls: Any) -> list[tuple[type, str]]:
    """The classes and names whose descriptors read these attributes."""
    found = [(base, name) for base in cls.__mro__ for name, v in vars(base).items() if type(v) is types.MemberDescriptorType]
    return [(base, name) for base, name in found if name != "__dict__"]


def get_slot(x: Any, name: str) -> Any:
    """The value of an attribute that is not kept in a dictionary; ``MISSING`` if it is unassigned.

    It is read by its descriptor: a subclass may have a property of the same name, which computes something else.
    """
    descriptor = _descriptor(type(x), name)
    try:
        return getattr(x, name, MISSING) if descriptor is None else descriptor.__get__(x, type(x))
    except AttributeError:
        return MISSING


def put_slot(x: Any, name: str, value: Any) -> None:
    """Assigns such an attribute; ``MISSING`` deletes it."""
    descriptor = _descriptor(type(x), name)
    if descriptor is None:  # the class has changed
        object.__delattr__(x, name) if value is MISSING else object.__setattr__(x, name, value)
    else:
        descriptor.__delete__(x) if value is MISSING else descriptor.__set__(x, value)


def _descriptor(cls: Any, name: str) -> Any:
    return next((vars(base)[name] for base, known in _slots_of(cls) if known == name), None)


def _is_of(cls: type, x: Any) -> bool:
    """True if an attribute is a method of the class written in C."""
    if isinstance(x, (types.MethodDescriptorType, types.WrapperDescriptorType)):
        return x.__objclass__ is cls
    return isinstance(x, types.BuiltinFunctionType) and x.__self__ is cls


@functools.lru_cache(1024)
def hides_state(cls: Any) -> bool:
    """True if instances have state, besides attributes, that only C code can see."""
    for base in cls.__mro__:
        if base in _SEEN_THROUGH:
            continue
        if not base.__flags__ & (1 << 9) or any(_is_of(base, v) for v in vars(base).values()):
            return True
    return False


def is_class_noise(name: str) -> bool:
    """True for an irrelevant attribute of classes."""
    return CLASS_NOISE.match(name) is not None


def is_constant(x: Any) -> bool:
    """True if an object never changes, and is the same in every run that uses it."""
    if isinstance(x, (type, types.FunctionType)):
        return getattr(sys.modules.get(x.__module__), x.__qualname__, None) is x
    return isinstance(x, (*OPAQUE, types.ModuleType))


def is_described(cls: type) -> bool:
    """True if instances consist only of their class and their attributes."""
    return _is_described(cls)  # type: ignore[arg-type]


@functools.lru_cache(1024)
def _is_described(cls: Any) -> bool:
    return not issubclass(cls, (*STATIC, *OPAQUE, *CONTAINERS, *_SPECIAL)) and not hides_state(cls)


def token_of(t: Tensor) -> tuple:
    """The properties of a reachable tensor that a trace depends on."""
    data = t._data
    strides = None if data.flags.c_contiguous else data.strides
    return ("tensor", id(t), type(t), data.dtype.char, data.shape, strides, t.requires_grad, t._grad_fn is None)


GENERATED = type(contextlib.contextmanager(lambda: iter(()))())  # the class of context managers made from generator functions
# Objects that hold one value: closure variables, and context variables, whose value is the calling thread's.
VARIABLES = (types.CellType, contextvars.ContextVar)


def contents(cell: Any) -> Any:
    """The value of a closure variable or context variable; ``MISSING`` if it is unassigned or deleted."""
    if isinstance(cell, contextvars.ContextVar):
        return cell.get(MISSING)
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def weakened(kept: Iterable[Any]) -> list[Any]:
    """The objects that a description identifies, as weak references where possible; containers do not support them.

    While ``alive`` holds for each, equal descriptions are of the same objects.
    """
    found: list[Any] = []
    for x in kept:
        try:
            found.append(weakref.ref(x))
        except TypeError:
            if not isinstance(x, CONTAINERS):
                found.append(x)
    return found


def alive(x: Any) -> bool:
    """True if one of the ``weakened`` objects still exists."""
    return type(x) is not weakref.ref or x() is not None
