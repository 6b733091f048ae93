"""What a function can reach: a description of it that changes whenever something in it does.

The walk starts at the function, goes through its closure, the globals its code names, the attributes it
reads from modules, containers, objects and their classes, and ends at values, tensors and the standard library. What it
cannot see through (an iterator, a random generator, an array) it refuses: a guard that misses a change would let
a trace be replayed where it is wrong.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import dis
import enum
import fractions
import functools
import importlib.util
import io
import logging
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

from ..context import Structure
from ..ir.types import DType
from ..ops.offering import is_offered
from ..tensor import ATTRIBUTES, Tensor, wrap
from .announce import Announcing, AnnouncingDict, AnnouncingList
from .arrays import Changeable, Elements, is_input
from .scalars import static

STATIC = (bool, int, float, complex, str, bytes, type(None), DType, range, slice)
_LIMIT = 20_000  # objects a function may reach


class Reference(NamedTuple):
    """A name that code looks up, with the attributes it reads from it at once. ``kind``: global, free, import, or store: a
    global that it assigns.
    """

    kind: str
    name: str
    attributes: tuple[str, ...] = ()
    level: int = 0


# Modules whose functions and classes depend on nothing that changes, but for these.
_TRUSTED = {__name__.split(".")[0], "numpy", "scipy", *sys.stdlib_module_names} - {"__main__", "test"}
_CHANGING = re.compile(
    r"(random|secrets|uuid|time(?!\.sleep)|numpy\.(random|load|loadtxt|genfromtxt|fromfile|memmap|fromregex)|os\.(urandom|getenv|getrandom)"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)|builtins\.(globals|eval|exec|input|open|__import__)"
    r"|(inspect|importlib|gc|threading\.(get_ident|current_thread)))(\.|$)"
)
# What takes floats alone, nothing that behaves as one.
_STRICT = re.compile(
    r"(_?heapq|array|csv|datetime|decimal|fractions|json|marshal|sqlite3|statistics|struct"
    r"|time\.(sleep|ctime|gmtime|localtime|strftime)|builtins\.(type|memoryview|bytearray))(\.|$)"
)
# Immutable, or of no consequence for what is computed.
_OPAQUE = (
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
    type(Reference.kind),
    re.Pattern,
    pathlib.PurePath,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    enum.Enum,
    logging.Logger,
    io.TextIOBase,
    operator.itemgetter,
    operator.attrgetter,
    operator.methodcaller,
    type(threading.Lock()),
    type(threading.RLock()),
)
_CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque, types.MappingProxyType, bytearray)
_FIXED = (tuple, frozenset, AnnouncingDict, AnnouncingList)  # contents do not change, or say so
# Written in C, but with all their state in view.
_SEEN_THROUGH = {object, types.SimpleNamespace, threading.local, collections.OrderedDict, collections.defaultdict, *_CONTAINERS}
_CLASS_NOISE = re.compile(
    r"__(dict|weakref|doc|module|slots|annotations|annotate\w*|dataclass_\w+|match_args|orig_bases|parameters|type_params"
    r"|static_attributes|firstlineno|qualname|hash|abstractmethods|annotations_cache)__$|_abc_"
)
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "nothing"})()
CONTENTS: Any = type("Contents", (), {"__repr__": lambda self: "contents"})()  # the key that stands for all a container holds
GROWTH: Any = type("Growth", (), {"__repr__": lambda self: "growth"})()  # the key that stands for what is added to it
CELL = "cell_contents"
OF_A_TENSOR = frozenset(ATTRIBUTES)


Slots = Mapping[int, Collection[Any]]


class Untraceable(Exception):
    """An argument or environment that guards cannot describe."""


class Wrapper:
    """Base of objects that stand for a function or a module: what they depend on is what ``__wrapped__`` depends on."""

    __slots__ = ("__dict__", "__weakref__")
    __wrapped__: Any


# Objects of which not the attributes alone matter.
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
    np.ndarray,
    np.generic,
    Tensor,
    Announcing,
    Wrapper,
)


@functools.lru_cache(4096)
def references(code: types.CodeType) -> tuple[Reference, ...]:
    """The globals, closure variables and imports of a function's code and of the functions defined in it."""
    found: list[Reference] = []
    instructions = list(dis.get_instructions(code))
    for i, instruction in enumerate(instructions):
        name = instruction.opname
        if name == "IMPORT_NAME":
            level = instructions[i - 2].argval
            found.append(Reference("import", instruction.argval, (), level if isinstance(level, int) else 0))
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            found.append(Reference("store", instruction.argval))
        elif name in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"):
            attributes = []
            for follower in instructions[i + 1 :]:
                if follower.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
                    break
                attributes.append(follower.argval)
            found.append(Reference("free" if "DEREF" in name else "global", instruction.argval, tuple(attributes)))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += references(constant)
    return tuple(dict.fromkeys(found))


def items_of(x: Any) -> Collection[Any]:
    """What a container or object holds, in order."""
    if isinstance(x, (dict, types.MappingProxyType)):
        return x.items()
    if isinstance(x, bytearray):
        return (bytes(x),)
    if isinstance(x, _CONTAINERS):
        return x
    if isinstance(x, np.ndarray):
        return (x.tobytes(), x.shape)
    if isinstance(x, Tensor):
        return [(name, value) for name, value in vars(x).items() if name not in OF_A_TENSOR]
    slots = slots_of(type(x))
    own: Iterable[Any] = vars(x).items() if hasattr(x, "__dict__") else ()
    return [*own, *((name, getattr(x, name)) for name in slots if hasattr(x, name))] if slots else list(own)


def is_plain(x: Any) -> bool:
    """Whether all that an object holds is in its dictionary."""
    return hasattr(x, "__dict__") and not isinstance(x, (Tensor, bytearray, *_CONTAINERS)) and not slots_of(type(x))


def slots_of(cls: type) -> tuple[str, ...]:
    """The names of the attributes that instances keep elsewhere than in a dictionary."""
    return _slots_of(cls)  # type: ignore[arg-type]


@functools.lru_cache(1024)
def _slots_of(cls: Any) -> tuple[str, ...]:
    found = [name for base in cls.__mro__ for name, v in vars(base).items() if isinstance(v, types.MemberDescriptorType)]
    return tuple(name for name in found if name != "__dict__")


def _is_of(cls: type, x: Any) -> bool:
    """Whether an attribute is a method of the class that is written in C."""
    if isinstance(x, (types.MethodDescriptorType, types.WrapperDescriptorType)):
        return x.__objclass__ is cls
    return isinstance(x, types.BuiltinFunctionType) and x.__self__ is cls


@functools.lru_cache(1024)
def hides_state(cls: Any) -> bool:
    """Whether instances hold, beside attributes, what only C code can see."""
    for base in cls.__mro__:
        if base in _SEEN_THROUGH:
            continue
        if not base.__flags__ & (1 << 9) or any(_is_of(base, v) for v in vars(base).values()):
            return True
    return False


def is_class_noise(name: str) -> bool:
    """Whether an attribute of classes is of no consequence."""
    return _CLASS_NOISE.match(name) is not None


def is_constant(x: Any) -> bool:
    """Whether an object never changes, and is the same in every run that mentions it."""
    if isinstance(x, (type, types.FunctionType)):
        return getattr(sys.modules.get(x.__module__), x.__qualname__, None) is x
    return isinstance(x, (*_OPAQUE, types.ModuleType))


def is_described(cls: type) -> bool:
    """Whether instances are their class and their attributes, nothing else."""
    return _is_described(cls)  # type: ignore[arg-type]


@functools.lru_cache(1024)
def _is_described(cls: Any) -> bool:
    return not issubclass(cls, (*STATIC, *_OPAQUE, *_CONTAINERS, *_SPECIAL)) and not hides_state(cls)


def is_trusted(module: str | None) -> bool:
    return (module or "").split(".")[0] in _TRUSTED


def contents(cell: Any) -> Any:
    """What a closure variable holds; ``MISSING`` if it has not been assigned, or deleted."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def weakened(kept: Iterable[Any]) -> list[Any]:
    """What a description refers to by identity, as weak references where that can be; containers have none in it.

    While ``alive`` holds of each, equal descriptions are of the same objects.
    """
    found: list[Any] = []
    for x in kept:
        try:
            found.append(weakref.ref(x))
        except TypeError:
            if not isinstance(x, _CONTAINERS):
                found.append(x)
    return found


def alive(x: Any) -> bool:
    """Whether one of the ``weakened`` is still there."""
    return type(x) is not weakref.ref or x() is not None


class Walk:
    """Describes an object and all it reaches, as a hashable token; and collects what may change unannounced.

    tensors     that were reached, by id
    live        containers and objects to look at in every call
    names       (mapping, key, value) of variables, attributes of modules and classes
    attributes  (object, name, value) of functions and cells
    sizes       (mapping, length): whose values are among the names, or of which more would matter
    stored      (mapping, key) of variables that code assigns
    numbers     (mapping, key, value) of attributes of what announces its changes
    holders     if they are to be ``noted``, all that can be changed; whether it announces changes; whether it is a container
    bound       ids of objects of which a method, written in C, was reached

    What is in ``slots``, keys by the ids of their holders, is not described; ``met`` are the ids of those holders.
    """

    def __init__(
        self,
        identified: Mapping[int, Any] | None = None,
        arrays: Mapping[int, Tensor] | None = None,
        elements: dict[int, Elements] | None = None,
        slots: Slots | None = None,
        noted: bool = False,
    ) -> None:
        self.slots: Slots = slots or {}
        self.noted = noted
        self.holders: list[tuple[Any, bool, bool]] = []
        self.met: set[int] = set()
        self.has_containers = False
        self.bound: set[int] = set()
        self.stored: list[tuple[dict[str, Any], str]] = []
        self.numbers: list[tuple[dict[str, Any], str, Any]] = []
        self.identified = identified  # objects whose identity matters; all if None
        self._known_arrays, self._elements = arrays or {}, {} if elements is None else elements
        self.arrays: dict[int, Tensor] = {}
        self.seen: dict[int, int] = {}
        self.placed: dict[int, Any] = {}  # objects by their number, those that announce changes as weak references
        self.kept: list[Any] = []  # identities are compared, so what has one must stay alive
        self.tensors: dict[int, Tensor] = {}
        self.live: list[Any] = []
        self.names: list[tuple[Mapping[str, Any], str, Any]] = []
        self.attributes: list[tuple[Any, str, Any]] = []
        self.cells: list[tuple[Any, Any]] = []
        self.sizes: list[tuple[Any, int]] = []
        self.asks_types = False  # whether code mentions ``type``, or functions in C, to which a float of the run is none
        self._modules: dict[int, set[str]] = {}

    def describe(self, x: Any) -> tuple:
        tokens: list[Any] = []
        self._describe(x, tokens)
        return tuple(tokens)

    def _describe(self, x: Any, out: list[Any]) -> None:
        if isinstance(x, Wrapper):
            x = x.__wrapped__
        if isinstance(x, np.generic):
            out.append((type(x), x.tobytes()))
            return
        if isinstance(x, STATIC):
            out.append(static(x))
            return
        if id(x) in self.seen:
            out.append(("again", self.seen[id(x)]))
            return
        if len(self.kept) > _LIMIT:
            raise Untraceable("the function can reach too many objects")
        self.seen[id(x)] = number = len(self.seen)
        self.kept.append(x)
        if not isinstance(x, (Tensor, AnnouncingDict, AnnouncingList)):
            self.placed[number] = weakref.ref(x) if isinstance(x, Announcing) else x
        if isinstance(x, Tensor):
            self._tensor(x, out)
        elif isinstance(x, _CONTAINERS) and (type(x) in _CONTAINERS or not hasattr(x, "__dict__")):
            self._container(x, out)
        elif isinstance(x, types.MethodType):
            out.append("method")
            self._describe(x.__self__, out)
            self._describe(x.__func__, out)
        elif isinstance(x, types.FunctionType):
            self._function(x, out)
        elif isinstance(x, types.BuiltinFunctionType) and not isinstance(x.__self__, (types.ModuleType, type(None))):
            out.append(("bound", x.__name__))
            self.bound.add(id(x.__self__))
            self._describe(x.__self__, out)
        elif isinstance(x, type):
            out.append(("class", id(x)))
            self._class(x, out)
        elif isinstance(x, types.ModuleType):
            self._module(x, (), out)
        elif isinstance(x, functools.partial):
            out.append("partial")
            self._describe((x.func, x.args, x.keywords), out)
        elif isinstance(x, (property, staticmethod, classmethod)):
            self._describe((x.fget, x.fset, x.fdel) if isinstance(x, property) else x.__func__, out)
        elif isinstance(x, functools._lru_cache_wrapper):
            self._describe(x.__wrapped__, out)
        elif isinstance(x, _OPAQUE):
            self._refuse_changing(f"{getattr(x, '__module__', None)}.{getattr(x, '__name__', '')}")
            out.append(("opaque", id(x)))
        else:
            self._object(x, out)

    def _tensor(self, x: Tensor, out: list[Any]) -> None:
        self.tensors[id(x)] = x
        out.append(("tensor", id(x), type(x), x._data.dtype.char, x._data.shape, x.requires_grad, x._grad_fn is None))
        self.sizes.append((vars(x), len(vars(x))))  # hooks, and what users may put there
        own = items_of(x)
        if own:
            self.live.append(x)
            for name, value in own:
                out.append(name)
                self._describe(value, out)

    def _is_slot(self, holder: Any, key: Any, out: list[Any]) -> bool:
        """Whether a call brings what a holder holds at a key."""
        found = self.slots.get(id(holder))
        if found is None:
            return False
        self.met.add(id(holder))
        if key not in found:
            return False
        out.append("slot")
        return True

    def _note(self, holder: Any, announces: bool = False, container: bool = False) -> None:
        self.has_containers = True
        if self.noted:
            self.holders.append((holder, announces, container))

    def _container(self, x: Any, out: list[Any]) -> None:
        if not isinstance(x, (tuple, frozenset, types.MappingProxyType)):
            self._note(x, isinstance(x, (AnnouncingDict, AnnouncingList)), container=True)
        if self._is_slot(x, GROWTH, out) or self._is_slot(x, CONTENTS, out):
            return
        out.append((type(x), len(x)))
        if not isinstance(x, _FIXED):
            self.live.append(x)
        if isinstance(x, (AnnouncingDict, AnnouncingList)):
            self._watch(x)
        if isinstance(x, collections.defaultdict):
            self._describe(x.default_factory, out)
        if not isinstance(x, (dict, types.MappingProxyType)):
            slots = self.slots.get(id(x), ())
            for i, item in enumerate(items_of(x)):
                if i not in slots or not self._is_slot(x, i, out):
                    self._describe(item, out)
            return
        hidden = getattr(type(x), "runtime_keys", ())
        for key, value in x.items():
            self._describe(key, out)
            if key in hidden and type(value) is float:
                out.append(float)
            elif not self._is_slot(x, key, out):
                if type(value) in (int, float) and type(key) is str and isinstance(x, AnnouncingDict):
                    self.numbers.append((x, key, value))
                self._describe(value, out)

    def _function(self, x: types.FunctionType, out: list[Any]) -> None:
        if len(self.kept) > 1 and is_trusted(x.__module__) and (not x.__closure__ or is_offered(x)):
            self._refuse_changing(f"{x.__module__}.{x.__qualname__}")
            out.append(("function", id(x)))
            return
        code = x.__code__
        self.kept.append(code)
        out.append(("function", id(code), id(x.__globals__)))
        self.attributes += [(x, "__code__", code), (x, "__defaults__", x.__defaults__), (x, "__kwdefaults__", x.__kwdefaults__)]
        cells = dict(zip(code.co_freevars, x.__closure__ or (), strict=True))
        for cell in cells.values():
            if self._is_slot(cell, CELL, out):
                continue
            value = contents(cell)
            self.cells.append((cell, value))
            if value is MISSING:
                out.append("empty")
            elif not isinstance(value, types.ModuleType):
                self._describe(value, out)
        for kind, name, attributes, level in references(code):
            if kind == "store":
                self.stored.append((x.__globals__, name))
                self._is_slot(x.__globals__, name, [])
            elif kind == "global":
                self._global(x.__globals__, name, attributes, out)
            elif kind == "import":
                package = x.__globals__.get("__package__") or ""
                whole = importlib.util.resolve_name("." * level + name, package) if level else name
                self._name(sys.modules, whole, attributes, out)
            elif name in cells and isinstance(contents(cells[name]), types.ModuleType):
                self._module(contents(cells[name]), attributes, out)
        for value in (x.__defaults__, x.__kwdefaults__):
            self._describe(value, out)
        if vars(x):
            self._describe(vars(x), out)
        else:
            self._note(vars(x))
            self.sizes.append((vars(x), 0))

    def _global(self, space: Mapping[str, Any], name: str, attributes: tuple[str, ...], out: list[Any]) -> None:
        if name not in space:
            self.names.append((space, name, MISSING))
            self._refuse_changing(f"builtins.{name}")
        else:
            self._name(space, name, attributes, out)

    def _name(self, space: Mapping[str, Any], name: str, attributes: tuple[str, ...], out: list[Any]) -> None:
        """A name that code looks up, and the attributes it reads from what it finds if that is a module."""
        if self._is_slot(space, name, out):
            return
        value = space.get(name, MISSING)
        self.names.append((space, name, value))
        if value is MISSING:
            return
        out.append(name)
        if isinstance(value, types.ModuleType):
            self._module(value, attributes, out)
            return
        if isinstance(value, type) and is_trusted(value.__module__) and attributes:
            self._refuse_changing(f"{value.__module__}.{value.__qualname__}.{attributes[0]}")
        self._describe(value, out)

    def _module(self, module: types.ModuleType, attributes: tuple[str, ...], out: list[Any]) -> None:
        """A module of which code reads an attribute, or which it uses as a value: then all of it counts."""
        out.append(("module", id(module)))
        space = vars(module)
        if is_trusted(module.__name__):
            path = module.__name__
            value: Any = module
            for attribute in attributes:
                if isinstance(value, types.ModuleType):
                    path = value.__name__
                value = getattr(value, attribute, None)
                path += f".{attribute}"
                self._refuse_changing(path)
                if not isinstance(value, (types.ModuleType, type)):
                    break
            self._refuse_changing(path)
            if not isinstance(value, (types.ModuleType, type, types.FunctionType)):
                self._describe(value, out)
            return
        seen = self._modules.setdefault(id(module), set())
        self.kept.append(module)
        if not attributes:
            self.sizes.append((space, len(space)))
        for name in [attributes[0]] if attributes else [n for n in space if not n.startswith("__")]:
            if name not in seen:
                if not attributes[1:]:
                    seen.add(name)
                self._name(space, name, attributes[1:], out)

    def _class(self, x: type, out: list[Any]) -> None:
        self.asks_types |= _STRICT.match(x.__module__) is not None
        for base in x.__mro__:
            if is_trusted(base.__module__):
                continue
            self.sizes.append((vars(base), len(vars(base))))
            self._note(base)
            for name, value in vars(base).items():
                if not _CLASS_NOISE.match(name) and not self._is_slot(base, name, out):
                    self.names.append((vars(base), name, value))
                    out.append(name)
                    self._describe(value, out)

    def _object(self, x: Any, out: list[Any]) -> None:
        cls = type(x)
        if isinstance(x, np.ndarray):
            self._array(x, out)
            return
        if hides_state(cls):  # type: ignore[arg-type]
            raise Untraceable(f"it reads a {cls.__module__}.{cls.__qualname__}, whose contents guards cannot compare")
        announces = isinstance(x, Announcing)
        matters = announces or self.identified is None or id(x) in self.identified
        out.append(("object", id(x) if matters else 0))
        if isinstance(x, _CONTAINERS):
            self._container(x, out)
            self._describe(vars(x), out)
        else:
            if not announces:
                self.live.append(x)
            self._attributes(x, out)
        self._describe(cls, out)

    def _array(self, x: np.ndarray, out: list[Any]) -> None:
        """A NumPy array, with its elements: NumPy may compute with them, unseen."""
        if not is_input(x):
            raise Untraceable(f"it reads a NumPy array of dtype {x.dtype}: pass what is in it")
        try:
            elements = self._elements.setdefault(id(x), Elements()).token(x)
        except Changeable as e:
            raise Untraceable(f"it reads a {e}: pass it as an argument, or make it a tensor by tracer.from_numpy") from None
        known = self._known_arrays.get(id(x))
        t = self.arrays[id(x)] = known if known is not None and known._data is x else wrap(x)
        self.tensors[id(t)] = t
        self.live.append(x)
        out.append((np.ndarray, x.dtype.char, x.shape, x.flags.c_contiguous, elements))

    def _attributes(self, x: Any, out: list[Any]) -> None:
        if hasattr(x, "__dict__"):
            self._note(vars(x), isinstance(x, Announcing))
            if isinstance(x, Announcing):
                self._watch(vars(x))
        if slots_of(type(x)):
            self._note(x)
        for name, value in items_of(x):
            out.append(name)
            if type(value) in (int, float) and isinstance(x, Announcing):
                self.numbers.append((vars(x), name, value))
            if not self._is_slot(vars(x) if hasattr(x, "__dict__") and name in vars(x) else x, name, out):
                self._describe(value, out)

    def _watch(self, space: Any) -> None:
        """Of what announces its changes, the places that replays write to are looked at in every call: replays say nothing."""
        for name in Structure.written.get(id(space), ()):
            if name not in self.slots.get(id(space), ()):
                self.names.append((space, name, dict.get(space, name, MISSING)))

    def _refuse_changing(self, path: str) -> None:
        self.asks_types |= _STRICT.match(path) is not None
        if _CHANGING.match(path):
            raise Untraceable(f"it uses {path}, whose value may be another one in each call")
