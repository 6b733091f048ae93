"""A description of everything that a function can reach, which changes whenever something in it does.

The walk starts at the function, goes through its closure, the globals its code names, the attributes it reads from modules,
containers, objects and their classes, and ends at values, tensors and the standard library. It refuses objects with hidden
state (an iterator, a random generator, an array): a guard that misses a change would allow a wrong replay.
"""

from __future__ import annotations

import abc
import builtins
import collections
import contextvars
import enum
import functools
import importlib.util
import inspect
import io
import logging
import sys
import types
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.tensor import Tensor, wrap
from ..ops.offering import is_offered
from ..runtime.support.words import namespace, tells_versions_of_objects
from .announce import Announcing, AnnouncingDict, AnnouncingList
from .arrays import Changeable, Elements, is_input
from .callsites import code_of, has_substitute
from .findings import Findings
from .kinds import (
    CELL,
    CLASS_NOISE,
    CONTAINERS,
    CONTENTS,
    GENERATED,
    GROWTH,
    LOCKS,
    MISSING,
    OPAQUE,
    REGISTRATIONS,
    STATIC,
    Wrapper,
    contents,
    hides_state,
    is_lock,
    is_static,
    is_unbound,
    items_of,
    plain_value,
    slots_of,
    token_of,
)
from .known import generators, is_installed, is_library, is_ours, is_quiet, is_strict, refusal, root_of, unseen_call
from .library import altered, cache_of, cached_tensors, forgotten, is_quiet_function, patchable, replaced, taken
from .references import nested, references
from .scalars import RuntimeNumber, static
from .substitutes import original, substitute_for

_LIMIT = 20_000  # objects a function may reach
UNREAD = -1  # the number of objects that only functions reach which have not run
_COMPARED = "whose elements are compared in every call: pass it as an argument, or make it a tensor by tracer.from_numpy"
_HIDDEN = "whose contents guards cannot compare: pass its values as arguments"
_TOO_MANY = "more than guards can compare in every call: pass the needed ones as arguments"
_OF_MODULES = frozenset(["__builtins__", "__cached__", "__loader__", "__spec__", "__warningregistry__"])  # set by Python
_VARIES = "whose result may differ between calls: pass the result as an argument"


class Walk(Findings):
    """Describes an object and all it reaches, as a hashable token; collects objects that may change without announcement.

    For functions whose code has not ``ran`` only their existence counts. Everything that they reach is walked afterwards,
    as they may change or use it when they run: it has number ``UNREAD`` in ``seen``; tensors are among ``others``. Functions
    and classes of other installed packages are left out, as they may reach very much; ``unvisited`` names these packages. The
    rest is left out after very many objects.
    """

    def describe(self, x: Any, alone: bool = True) -> tuple:
        """The token of an object; unless ``alone``, with all code that has run."""
        tokens: list[Any] = []
        self.add(x, tokens)
        if not alone:
            self._rest(tokens)
        self.finish(tokens)
        return tuple(tokens)

    def add(self, x: Any, tokens: list[Any]) -> None:
        """Adds the token of an object, one of several."""
        self._homes.add(root_of(getattr(x, "__module__", "")))
        self._describe(x, tokens)

    def finish(self, tokens: list[Any]) -> None:
        """Adds what weak references refer to, and walks what functions reach that have not run."""
        tokens += [self._referent(reference()) for reference in self._weak]
        self._look_at_others()

    def _referent(self, x: Any) -> tuple:
        """What a weak reference refers to. Guards keep alive what they describe, so something else must hold it."""
        for known in (self.seen, self.identified or {}, self.arguments):
            if id(x) in known:
                return "weak", known[id(x)]
        if x is not None and not isinstance(x, (type, types.FunctionType, types.ModuleType)):
            self._refuse(
                "it reads a weak reference", "whose object nothing else holds that it reaches: pass that as an argument"
            )
        return "weak", None if x is None else id(x)

    def _rest(self, out: list[Any]) -> None:
        """Describes code that has run but was not reached by the walk; and patches of this package."""
        if self.ran is not None:
            for function in self.ran.found:
                self._describe(function, out)
            for code, space in self.ran.codes.values():
                if id(code) not in self._codes:
                    self.asks_types |= "type" in code.co_names
                    self._code(code, space, {}, out)
        for space in patchable():
            self._library(space, out)

    def _look_at_others(self) -> None:
        """Walks what functions reach that have not run."""
        if not self._later:
            return
        counts = ("kept", "live", "names", "attributes", "cells", "sizes", "numbers", "announcing")
        kept, asks = {name: getattr(self, name) for name in counts}, self.asks_types
        tensors, tagged, names = self.tensors, self.tagged, list(self.names)
        self.tensors, self.tagged, self._unread, self._modules = self.others, {}, True, {}
        for name in counts:
            setattr(self, name, [])
        for function in self._later:
            if not self._is_elsewhere(function):
                self._function(function, [])
        if self.ran is not None and self.ran.codes:  # see ``exact``
            self.asks_types = asks
        self._later, self._unread = [], False
        self.unread_names, self.unread_cells = self.names, self.cells
        self.tensors, self.tagged, self.names = tensors, tagged, names
        for name in counts:
            setattr(self, name, kept[name])

    def _describe(self, x: Any, out: list[Any]) -> None:
        if isinstance(x, Wrapper):
            x = x.__wrapped__
        elif isinstance(x, RuntimeNumber):  # another thread records at the same time
            x = x._value
        elif type(x) is types.FunctionType:
            x = original(x)
        if isinstance(x, np.generic):
            out.append((type(x), x.tobytes()))
            return
        if is_static(x):
            out.append(static(x))
            return
        if id(x) in self.seen:
            out.append(("again", self.seen[id(x)]))
            return
        if len(self.kept) > _LIMIT:
            self.is_whole = False
            return self._refuse("it can reach too many objects", _TOO_MANY)
        if self._unread and self._is_elsewhere(x):
            return
        self.seen[id(x)] = number = UNREAD if self._unread else len(self.seen)
        self.kept.append(x)
        if number != UNREAD and not isinstance(x, (Tensor, AnnouncingDict, AnnouncingList)):
            self.placed[number] = weakref.ref(x) if isinstance(x, Announcing) else x
        if isinstance(x, Tensor):
            self._tensor(x, out)
        elif isinstance(x, CONTAINERS) and (type(x) in CONTAINERS or not hasattr(x, "__dict__")):
            self._container(x, out)
        elif isinstance(x, types.MethodType):
            out.append("method")
            self._describe(x.__self__, out)
            if not isinstance(x.__self__, generators()):
                self._describe(x.__func__, out)
        elif isinstance(x, types.FunctionType):
            self._function(x, out)
        elif isinstance(x, types.BuiltinFunctionType):
            self._builtin(x, out)
        elif isinstance(x, type):
            out.append(("class", id(x)))
            self._class(x, out)
        elif isinstance(x, types.ModuleType):
            self._module(x, (), False, out)
        elif isinstance(x, functools.partial):
            out.append("partial")
            self.attributes += [(x, name, getattr(x, name)) for name in ("func", "args", "keywords", "__dict__")]
            self._describe((x.func, x.args, x.keywords, vars(x)), out)
        elif isinstance(x, (property, staticmethod, classmethod)):
            self._describe((x.fget, x.fset, x.fdel) if isinstance(x, property) else x.__func__, out)
        elif isinstance(x, functools._lru_cache_wrapper):
            self._cache(x, out)
        elif isinstance(x, generators()):
            out.append(("generator", id(x)))
            self.generators.append(x)
        elif isinstance(x, logging.Logger):
            self.attributes += (found := taken(x))
            out += [("logger", id(x)), *(id(value) if name == "parent" else value for _, name, value in found)]
        elif isinstance(x, weakref.ref):
            self._weak.append(x)
        elif isinstance(x, contextvars.ContextVar):
            self._variable(x, out)
        elif isinstance(x, GENERATED) and inspect.getgeneratorstate(x.gen) == inspect.GEN_CREATED:
            self._generated(x, out)
        elif isinstance(x, LOCKS):
            self._refuse("it uses a lock", "which each call must take: take it around the call")
        elif isinstance(x, io.StringIO):
            self._refuse("it uses a StringIO from outside", "whose text guards cannot compare: write to it after the call")
        elif isinstance(x, OPAQUE):
            out.append(("opaque", id(x)))
        else:
            self._object(x, out)

    def _is_elsewhere(self, x: Any) -> bool:
        root = root_of(x.__module__) if isinstance(x, (type, types.FunctionType)) else ""
        if root in self._homes or not is_installed(root):
            return False
        self.unvisited.add(root)
        return True

    def _builtin(self, x: types.BuiltinFunctionType, out: list[Any]) -> None:
        """A C function that unwatched code may call."""
        if is_unbound(x):
            self.asks_types |= is_strict(f"{x.__module__}.{x.__name__}")
            path = refusal(x)
            if path is not None:
                self._refuse(f"it uses {path}", _VARIES)
            out.append(("opaque", id(x)))
        else:
            out.append(("bound", x.__name__))
            self.bound.add(id(x.__self__))
            self._describe(x.__self__, out)

    def _cache(self, x: Any, out: list[Any]) -> None:
        """A caching function. Results that it adds later change nothing."""
        found = {id(t): t for t in cached_tensors(x)}
        self.tensors.update(found)
        traits = {(t.requires_grad, t._grad_fn is None) for t in found.values()}
        out.append(("cache", id(x), forgotten(x), tuple(sorted(traits))))
        self.caches.append(x)
        space = cache_of(x)
        self.tagged[id(space)] = space
        self._describe(x.__wrapped__, out)

    def _variable(self, x: contextvars.ContextVar, out: list[Any]) -> None:
        """A context variable: its value in the calling thread."""
        out.append(("variable", id(x)))
        if not self._is_slot(x, CELL, out):
            self.cells.append((x, value := contents(x)))
            out.append("empty") if value is MISSING else self._describe(value, out)

    def _generated(self, x: Any, out: list[Any]) -> None:
        """A context manager that has not been entered: as a decorator it makes others from its function and arguments."""
        out.append(("context", id(x)))
        self.attributes += [(x.gen, "gi_suspended", False), *((x, name, getattr(x, name)) for name in ("func", "args", "kwds"))]
        self._describe((x.func, x.args, x.kwds), out)

    def _tensor(self, x: Tensor, out: list[Any]) -> None:
        self.tensors[id(x)] = x
        out.append(token_of(x))
        self.sizes.append((vars(x), len(vars(x))))  # hooks, and what users may put there
        self.holders.append((x, False, False))
        own = items_of(x)
        if own:
            self.live.append(x)
            for name, value in own:
                out.append(name)
                if not self._is_slot(x, name, out):
                    self._describe(value, out)

    def _container(self, x: Any, out: list[Any]) -> None:
        if not isinstance(x, (tuple, frozenset, types.MappingProxyType)):
            self._note(x, isinstance(x, (AnnouncingDict, AnnouncingList)), container=True)
        if self._is_slot(x, GROWTH, out) or self._is_slot(x, CONTENTS, out):
            return
        items, hidden = items_of(x), getattr(type(x), "runtime_keys", ())
        out.append((type(x), len(items), id(x) if hidden or id(x) in self.written_to else None))
        if not isinstance(x, (tuple, frozenset)):
            self.live.append(x)
        if isinstance(x, (AnnouncingDict, AnnouncingList)):
            self._watch(x)
        if isinstance(x, collections.defaultdict):
            self._describe(x.default_factory, out)
        if not isinstance(x, (dict, types.MappingProxyType)):
            slots = self.slots.get(id(x), ())
            for i, item in enumerate(items):
                if i not in slots or not self._is_slot(x, i, out):
                    self._describe(item, out)
            return
        for key, value in items:
            self._describe(key, out)
            if key in hidden and type(value) is float:
                out.append(float)
            elif not self._is_slot(x, key, out):
                if type(value) in (int, float) and type(key) is str and isinstance(x, AnnouncingDict):
                    self.numbers.append((x, key, value))
                self._describe(value, out)

    def _function(self, x: types.FunctionType, out: list[Any]) -> None:
        code, space = code_of(x), x.__globals__
        cells = dict(zip(code.co_freevars, x.__closure__ or (), strict=True))
        if is_quiet(space.get("__name__")):
            self.asks_types |= is_strict(f"{x.__module__}.{x.__qualname__}")
            out.append(("function", id(x)))
            if cells and not is_offered(x):
                self._closure(cells, out)
            return
        out.append(("function", id(code), id(space)))
        self.functions.append(x)
        has_run = self.ran is None or code in self.ran or self._unread
        if has_run or self.ran.looks_inside:  # type: ignore[union-attr]
            self.kept.append(code)
            defaults = x.__defaults__, x.__kwdefaults__
            self.attributes += [(x, "__code__", code), (x, "__defaults__", defaults[0]), (x, "__kwdefaults__", defaults[1])]
            self._closure(cells, out)
            if has_run:
                self._code(code, space, cells, out)
            for value in defaults:
                self._describe(value, out)
        if not has_run:
            self._later.append(x)
        self.attributes.append((x, "__dict__", vars(x)))
        self._mentioned(x, out)
        if vars(x):
            self._describe(vars(x), out)
        else:
            self._note(vars(x))
            self.sizes.append((vars(x), 0))

    def _mentioned(self, x: Any, out: list[Any]) -> None:
        for name in () if self.ran is None else self.ran.mentioned:
            value = getattr(x, name)
            self.attributes.append((x, name, value))
            self._describe(value, out)

    def _closure(self, cells: Mapping[str, types.CellType], out: list[Any]) -> None:
        for cell in cells.values():
            if self._is_slot(cell, CELL, out):
                continue
            value = contents(cell)
            self.cells.append((cell, value))
            if value is MISSING:
                out.append("empty")
            elif not isinstance(value, (types.ModuleType, weakref.WeakKeyDictionary)):
                self._describe(value, out)

    def _is_unused_lock(self, name: str, value: Any) -> bool:
        """True for a lock that is an attribute which no code mentions that has run."""
        return is_lock(value) and self.ran is not None and not self.ran.may_read(name)

    def _code(self, code: types.CodeType, space: dict[str, Any], cells: Mapping[str, Any], out: list[Any]) -> None:
        """The names that code looks up, including those of the functions it creates, if they have run."""
        self._codes.add(id(code))
        before = self._looked_up
        for kind, name, attributes, level, is_called in references(code):
            self._looked_up = code, name
            if kind == "store":
                self.stored.append((space, name))
                self._is_slot(space, name, [])
            elif kind == "global":
                self._global(space, name, attributes, is_called, out)
            elif kind == "import":
                package = space.get("__package__") or ""
                whole = importlib.util.resolve_name("." * level + name, package) if level else name
                self._name(sys.modules, whole, attributes, False, out)
            elif name in cells and isinstance(contents(cells[name]), types.ModuleType):
                self._module(contents(cells[name]), attributes, is_called, out)
        self._looked_up = before
        for inner in nested(code):
            if self.ran is None or self._unread or inner in self.ran:
                self._code(inner, space, cells, out)

    def _global(
        self, space: Mapping[str, Any], name: str, attributes: tuple[str, ...], is_called: bool, out: list[Any]
    ) -> None:
        if name not in space:
            self.names.append((space, name, MISSING))
            if not (is_called and not attributes and has_substitute(name)):
                self.asks_types |= is_strict(".".join(("builtins", name, *attributes)))
            own = vars(builtins)
            self.tagged[id(own)] = own
            value = original(own.get(name, MISSING))
            if not (is_called and not attributes and isinstance(value, types.BuiltinFunctionType)):
                self._describe(value, out)
            else:
                out.append(id(value))
                self.kept.append(value)
        else:
            self._name(space, name, attributes, is_called, out)

    def _name(self, space: Mapping[str, Any], name: str, attributes: tuple[str, ...], is_called: bool, out: list[Any]) -> None:
        """A name that code looks up, and the attributes that it reads from the result if that is a module."""
        if self._is_slot(space, name, out):
            return
        value = original(space.get(name, MISSING))
        self.names.append((space, name, value))
        if value is MISSING:
            return
        out.append(name)
        self._read(value, attributes, is_called, out)

    def _read(self, value: Any, attributes: tuple[str, ...], is_called: bool, out: list[Any]) -> None:
        """A value that code looks up, with the attributes that it reads."""
        if isinstance(value, types.ModuleType):
            return self._module(value, attributes, is_called, out)
        if isinstance(value, type) and is_library(value.__module__) and attributes:
            self.asks_types |= is_strict(".".join((value.__module__, value.__name__, *attributes)))
            self._describe(value, out)
            found = getattr(value, attributes[0], None)
            if isinstance(found, types.BuiltinFunctionType):
                self._read(found, attributes[1:], is_called, out)
            return
        if is_called and not attributes:
            if is_unbound(value):
                out.append(("opaque", id(value)))  # the call is watched
                self.kept.append(value)
                return
            path = unseen_call(value)
            if path is not None and substitute_for(value) is None:
                self._refuse(f"it uses {path}", _VARIES)
        self._describe(value, out)

    def _module(self, module: types.ModuleType, attributes: tuple[str, ...], is_called: bool, out: list[Any]) -> None:
        """A module of which code reads an attribute, or which it uses as a value: then all of it counts."""
        out.append(("module", id(module)))
        space = vars(module)
        own_name = space.get("__name__", "")
        if is_library(own_name):
            self.asks_types |= is_strict(".".join((own_name, *attributes)))
            if is_ours(own_name):
                self._library(space, out)
            if attributes:
                value = original(getattr(module, attributes[0], MISSING))
                if value is sys.modules and attributes[1:] == ("__contains__",):
                    self.tagged[id(value)] = value
                    return out.append(frozenset(value))
                if value is sys.modules:
                    return self._refuse("it reads sys.modules", "which holds all modules: import the needed ones")
                out.append(attributes[0])
                if not is_quiet_function(value):
                    self.tagged[id(space)] = space
                if value is not MISSING:
                    self._read(value, attributes[1:], is_called, out)
            else:
                self.tagged[id(space)] = space
                for name, value in replaced(space):
                    out.append(name)
                    self._describe(value, out)
            return
        if attributes and attributes[0] not in space and hasattr(type(module), attributes[0]):
            attributes = ()  # such as ``__getattribute__``, which may read any of it
        seen = self._modules.setdefault(id(module), set())
        self.kept.append(module)
        if type(module) is not types.ModuleType:
            self._describe(type(module), out)
        self.attributes.append((module, "__class__", type(module)))
        if not attributes:
            self.sizes.append((space, len(space)))
            self._note(space)
        for path in [attributes] if attributes else [(n,) for n in ("__getattr__", *space) if n not in _OF_MODULES]:
            if path not in seen:
                seen.add(path)
                asks, value = self.asks_types, space.get(path[0])
                self._name(space, path[0], path[1:], is_called, out)
                if not attributes and isinstance(value, types.ModuleType) and is_library(vars(value).get("__name__")):
                    self.asks_types = asks  # imported there: what uses it is described on its own
                if path[0] not in space:
                    self._name(space, "__getattr__", (), False, out)

    def _class(self, x: type, out: list[Any]) -> None:
        self.asks_types |= is_strict(x.__module__)
        if isinstance(x, abc.ABCMeta):
            self.attributes.append((REGISTRATIONS, "token", token := REGISTRATIONS.token))
            out.append(token)
        if not is_library(x.__module__):
            self.attributes += [(x, "__mro__", x.__mro__), (x, "__class__", type(x))]
            self._mentioned(x, out)
            if not is_library(type(x).__module__):
                self._describe(type(x), out)
        for base in x.__mro__:
            out.append(id(base))
            if is_library(base.__module__):
                if is_ours(base.__module__):
                    self._library(namespace(base), out)
                continue
            space = vars(base)
            self.sizes.append((space, len(space)))
            self._note(base)
            for name, value in space.items():
                if not CLASS_NOISE.match(name) and not self._is_slot(base, name, out):
                    self.names.append((space, name, value))
                    out.append(name)
                    if not self._is_unused_lock(name, value):
                        self._describe(value, out)

    def _library(self, space: dict[str, Any], out: list[Any]) -> None:
        """A namespace of this package: users' changes to it."""
        if id(space) not in self.tagged:
            self.tagged[id(space)] = space
            for name, value in altered(space):
                out.append(name)
                self._describe(value, out)

    def _object(self, x: Any, out: list[Any]) -> None:
        cls = type(x)
        if isinstance(x, np.ndarray):
            self._array(x, out)
            return
        if cls.__name__ == "cython_function_or_method":
            path = unseen_call(x)
            if path is not None and substitute_for(x) is None:
                self._refuse(f"it uses {path}", _VARIES)
            out.append(("opaque", id(x)))
            return
        if isinstance(x, STATIC):
            out.append(plain_value(x))
        elif hides_state(cls):  # type: ignore[arg-type]
            return self._refuse(f"it reads a {cls.__module__}.{cls.__qualname__}", _HIDDEN)
        if not isinstance(x, Announcing):
            self.attributes.append((x, "__class__", cls))
        announces = isinstance(x, Announcing)
        matters = announces or isinstance(x, enum.Enum) or self.identified is None or id(x) in self.identified
        out.append(("object", id(x) if matters else 0))
        if isinstance(x, CONTAINERS):
            self._container(x, out)
            self._describe(vars(x), out)
        else:
            if not announces:
                self.live.append(x)
            self._attributes(x, out)
        self._describe(cls, out)

    def _array(self, x: np.ndarray, out: list[Any]) -> None:
        """A NumPy array, with its elements: NumPy may compute with them, undetected."""
        if not is_input(x):
            if type(x) is not np.ndarray:
                return self._refuse(
                    f"it reads a {type(x).__name__}, a subclass of NumPy's arrays", "pass tracer.from_numpy of it"
                )
            return self._refuse(f"it reads a NumPy array of dtype {x.dtype}", "which tensors do not have: pass what is in it")
        elements = None
        if not self._unread:
            try:
                elements = self._elements.setdefault(id(x), Elements()).token(x)
            except Changeable as e:
                self._refuse(f"it reads a {e}", _COMPARED)
        known = self._known_arrays.get(id(x))
        t = self.arrays[id(x)] = known if known is not None and known._data is x else wrap(x)
        self.tensors[id(t)] = t
        self.live.append(x)
        out.append((np.ndarray, x.dtype.char, x.shape, x.flags.c_contiguous, elements))

    def _attributes(self, x: Any, out: list[Any]) -> None:
        if hasattr(x, "__dict__"):
            self._note(vars(x), isinstance(x, Announcing))
            if isinstance(x, Announcing):
                self._watch_object(x)
        if slots_of(type(x)):
            self._note(x)
        for name, value in items_of(x):
            out.append(name)
            if type(value) in (int, float) and isinstance(x, Announcing):
                self.numbers.append((vars(x), name, value))
            if self._is_unused_lock(name, value):
                continue
            own = getattr(x, "__dict__", None)
            if not self._is_slot(own if isinstance(own, dict) and name in own else x, name, out):
                self._describe(value, out)

    def _watch(self, space: Any) -> None:
        """For objects that announce changes: compares the places that replays write to, because replays announce nothing."""
        for name in self.written.get(id(space), ()):
            if name not in self.slots.get(id(space), ()):
                self.names.append((space, name, dict.get(space, name, MISSING)))

    def _watch_object(self, x: Any) -> None:
        """For an object that announces changes, writes that bypass the announcement."""
        space = vars(x)
        self.announcing.append(weakref.ref(x))
        self._watch(space)
        if id(space) not in self.written and id(space) not in self.slots:
            self.tagged.update({id(space): space}) if tells_versions_of_objects else self.live.append(space)
