"""Observes a run: which Python code runs, and which C functions it calls.

Guards describe only code that has run. If such code calls a function whose result may differ in each call, the run is not
replayed.
"""

from __future__ import annotations

import functools
import gc
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..core.context import context
from ..core.eager import Eager, apply
from ..core.tensor import Tensor
from ..ir.interp import using
from ..ir.primitive import Primitive
from ..runtime.support import profile
from .alike import tells_apart
from .callsites import as_written, code_of
from .draws import Generators
from .known import PACKAGE, is_library, is_ours, is_quiet, refusal, refusal_of_code, root_of
from .references import looks_inside, mentioned, nested

Profile = Callable[[types.FrameType, str, Any], Any]


class Ran:
    """The code that has run under a traced function, in the runs that were watched.

    codes   by id, each with the globals it ran with
    found   functions of such code that nothing may lead to which guards see
    looks_inside  whether some of it reads what belongs to functions: defaults, closures, code
    mentioned     attributes of functions and classes that it may read, such as ``__name__``
    tells_apart   whether some of it may ask whether two tensors are the same
    """

    def __init__(self) -> None:
        self.codes: dict[int, tuple[types.CodeType, dict[str, Any]]] = {}
        self.found: list[types.FunctionType] = []
        self.mentioned: frozenset[str] = frozenset()
        self.looks_inside = self.tells_apart = False

    def __contains__(self, code: types.CodeType) -> bool:
        return id(code) in self.codes

    def has(self, codes: Sequence[tuple[types.CodeType, dict[str, Any]]]) -> bool:
        """True if all of it has run before."""
        return all(id(code) in self.codes for code, _ in codes)

    def names(self, names: frozenset[str]) -> bool:
        """True if some of the code mentions one of these."""
        return any(not names.isdisjoint(code.co_names) for code, _ in self.codes.values())

    def may_read(self, name: str) -> bool:
        """True if some of the code mentions an attribute, or has its name as text."""
        return any(name in code.co_names or name in code.co_consts for code, _ in self.codes.values())

    def grown(self, codes: Sequence[tuple[types.CodeType, dict[str, Any]]], root: Any) -> Ran | None:
        """This with more code; None if none of it is new. ``root`` is the called object."""
        new = {id(code): (code, space) for code, space in codes if id(code) not in self.codes}
        if not new:
            return None
        ran = Ran()
        ran.codes = {**self.codes, **new}
        ran.mentioned = self.mentioned.union(*(mentioned(code) for code, _ in new.values()))
        ran.looks_inside = self.looks_inside or any(looks_inside(code) for code, _ in new.values())
        ran.tells_apart = self.tells_apart or any(tells_apart(code) for code, _ in new.values())
        made = {id(inner) for code, _ in ran.codes.values() for inner in nested(code)}
        made.add(id(getattr(getattr(root, "__wrapped__", root), "__code__", None)))  # that function is known
        closures = [code for code, _ in new.values() if code.co_freevars not in ((), ("__class__",)) and id(code) not in made]
        ran.found = (
            [*self.found, *(x for x in gc.get_referrers(*closures) if _is_one_of(x, closures))] if closures else self.found
        )
        return ran


def _is_one_of(x: Any, codes: list[types.CodeType]) -> bool:
    return isinstance(x, types.FunctionType) and any(code_of(x) is code for code in codes)


class Watch:
    """Watches a run. Afterwards ``codes`` has run, and ``refusal``, if any, names a call that cannot be replayed.

    ``ran``: code that has run before. ``met``, if any, is called with other code that must be described, and its frame,
    at its start.
    """

    def __init__(self, generators: Generators | None = None):
        self.refusal = ""
        self.ran = Ran()
        self.met: Callable[[types.CodeType, types.FrameType], None] | None = None
        self._filter: profile.Filter | None = None
        self._start: Callable[[], None] = lambda: None
        self._mine: Any = None  # the profile function while it is set, unless it calls another one
        self._codes: dict[int, tuple[types.CodeType, dict[str, Any], bool]] = {}  # whether it is quiet
        self._generators = Generators() if generators is None else generators

    @property
    def codes(self) -> list[tuple[types.CodeType, dict[str, Any]]]:
        """The code that has run and must be described, with its globals."""
        return [(code, space) for code, space, quiet in self._codes.values() if not quiet]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches the thread. An existing profile function is still called."""
        before: Any = sys.getprofile()
        if before is not None and not callable(before):  # one written in C, which only its owner can set again
            before.disable()
        watch = self._profile(before if callable(before) else None)
        self._filter = profile.Filter(watch) if before is None and profile.is_available() else None
        self._start = functools.partial(sys.setprofile, watch) if self._filter is None else self._filter.start
        mine = None
        try:
            self._generators.begin()
            self._start()
            mine = sys.getprofile()
            self._mine = mine if before is None else None
            with using(Unwatched(self)):
                yield
        finally:
            self._mine = None
            if sys.getprofile() is mine:
                sys.setprofile(before if callable(before) else None)
                if before is not None and not callable(before):
                    before.enable()
            else:
                self.refusal = self.refusal or "it sets a profile function"
            self._generators.end()
            unseen = self._generators.differs()
            if unseen and not self.refusal:
                self.refusal = f"{unseen} in an unsupported way: call its methods"
            self._filter = None

    def apart(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls a function of this package unwatched: it must not run user code."""
        if self._mine is None or sys.getprofile() is not self._mine:
            return function(*args)
        sys.setprofile(None)
        try:
            return function(*args)
        finally:
            self._start()

    def _profile(self, before: Profile | None) -> Profile:
        """The profile function; if there is a filter, only for unknown events."""
        known, checked = self._codes, set[Any]()
        ignored: Any = None  # a frame whose calls are not the function's

        def watch(frame: types.FrameType, event: str, arg: Any) -> None:
            nonlocal ignored
            if before is not None:
                before(frame, event, arg)
            if event == "call":
                if ignored is not None:
                    return
                code = as_written(frame.f_code)
                if id(code) not in known:
                    if code.co_name == "<module>" or context.recorder is None or _is_inside(frame):
                        ignored = frame
                        if self._filter is not None:
                            self._filter.ignore(True)
                        return
                    known[id(code)] = self._meet(frame, code)
                if self._filter is not None:
                    self._filter.remember(frame.f_code, profile.QUIET if known[id(code)][2] else profile.DESCRIBED)
            elif event == "c_call":
                code = as_written(frame.f_code)
                found = known.get(id(code))
                if found is None or found[2] or ignored is not None:
                    return
                holder = arg.__self__
                key = (
                    arg
                    if holder is None or type(holder) is types.ModuleType or isinstance(holder, type)
                    else (type(holder), arg.__name__)
                )
                if key not in checked:
                    checked.add(key)
                    self._check(frame, arg)
                    # A method of a class is also one of derived classes.
                    is_own = key is not arg and arg.__name__ in vars(type(holder))
                    if self._filter is not None and (is_own or holder is None or type(holder) is types.ModuleType):
                        self._filter.remember(arg, profile.CHECKED)
            elif event == "return" and frame is ignored:
                ignored = None
                if self._filter is not None:
                    self._filter.ignore(False)

        return watch

    def _meet(self, frame: types.FrameType, code: types.CodeType) -> tuple[types.CodeType, dict[str, Any], bool]:
        space = frame.f_globals
        name = _name(space)
        quiet = is_quiet(name)
        if quiet and not is_ours(name):
            path = refusal_of_code(name, getattr(code, "co_qualname", code.co_name))
            if path is not None and not _is_called_by_quiet(frame):
                self._refuse(frame.f_back or frame, path)
        if self.met is not None and not quiet and code not in self.ran:
            self.met(code, frame)
        return code, space, quiet

    def _check(self, frame: types.FrameType, function: Any) -> None:
        path = refusal(function)
        if path is not None:
            self._refuse(frame, path)

    def _refuse(self, frame: types.FrameType, path: str) -> None:
        if self.refusal:
            return
        where: types.FrameType | None = frame
        while where is not None and is_library(_name(where.f_globals)):
            where = where.f_back
        where = where or frame
        self.refusal = (
            f"it calls {path} ({where.f_code.co_filename}:{where.f_lineno}), whose result may differ between calls: "
            "pass the result as an argument"
        )


class Unwatched(Eager):
    """Applies primitives unwatched, unless there are hooks for saved tensors."""

    def __init__(self, watch: Watch):
        self._apart = watch.apart

    def bind(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Tensor:  # type: ignore[override]
        return apply(primitive, args, attrs) if context.watches_nodes else self._apart(apply, primitive, args, attrs)


_WORLD = f"{__package__}.world"
_RUNTIME = f"{PACKAGE}.runtime."


def _name(space: dict[str, Any]) -> Any:
    return space.get("__name__")


def _is_inside(frame: types.FrameType) -> bool:
    """True if code is called by what runs no code of the user, or is of a library and called by quiet code: then it does not
    matter.
    """
    name, caller = _name(frame.f_globals), frame.f_back
    if caller is not None:
        outer = _name(caller.f_globals)
        if outer == _WORLD or root_of(outer) in ("warnings", "logging", "importlib"):
            return True  # printing, warnings, logging, and imports
        if type(outer) is str and outer.startswith(_RUNTIME):
            return True  # compilers and drivers, which run no code of the user
    return is_library(name) and not is_quiet(name) and _is_called_by_quiet(frame)


def _is_called_by_quiet(frame: types.FrameType) -> bool:
    return frame.f_back is not None and is_quiet(_name(frame.f_back.f_globals))
