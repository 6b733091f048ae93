"""The current place in the user's code, and the sources of a run's inputs."""

from __future__ import annotations

import re
import sys
import types
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from ..core.tensor import Tensor
from ..ir.graph import Value
from ..ir.location import Location, backward_of
from ..nn.module import Module

_PACKAGE = __name__.split(".")[0] + "."
_OPTIMIZERS = _PACKAGE + "optim."
_MODULE_CALL = Module.__call__.__code__
_COMMANDS = _PACKAGE + "cli."  # the demo is a program like those of users
_INTERNAL = tuple([_PACKAGE + name for name in ("ir.", "core.eager", "core.kernels", "core.inplace", "tracing.")])


class _Code:
    """A function's code: of the user's, the places of its instructions; of this package's, what its frames say.

    origin     the name by which users call it
    is_method  whether it calls a module, or is its ``forward``, or an optimizer's ``step``
    phase      ``optimizer`` of the latter
    """

    __slots__ = ("code", "is_method", "origin", "phase", "places")

    def __init__(self, frame: types.FrameType):
        self.code, name = frame.f_code, frame.f_globals.get("__name__", "")
        ours = name.startswith(_PACKAGE) and not name.startswith(_COMMANDS)
        self.places: dict[Any, Location] | None = None if ours else {}
        self.origin = _called(self.code) if ours and not name.startswith(_INTERNAL) else ""
        self.is_method = self.code is _MODULE_CALL or self.code.co_name in ("forward", "step")
        self.phase = "optimizer" if self.code.co_name == "step" and name.startswith(_OPTIMIZERS) else ""


class Locations:
    """The current place in the user's code, and what is called there. Each instruction is looked up once.

    ``visited`` is the operation whose gradient a backward pass computes.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Code] = {}  # by id
        self._paths: dict[tuple[int, ...], tuple[list[weakref.ref[Module]], str]] = {}
        self.visited = Location()

    def here(self, operation: str = "") -> Location:
        """``file:line`` of the innermost frame outside this package. The origin is the innermost module or optimizer that is
        called there, or else the outermost function, or else ``operation``.
        """
        frame: types.FrameType | None = sys._getframe(1)
        origin, module, phase = "", "", "forward"
        calls: list[Module] = []
        while frame is not None:
            code = frame.f_code
            known = self._known.get(id(code))
            if known is None:
                known = self._known[id(code)] = _Code(frame)
            places = known.places
            if places is not None:
                path, visited = self._path(frame, calls), self.visited
                key = frame.f_lasti, module or origin or operation, visited, visited.origin, visited.module, path
                place = places.get(key)
                if place is None:
                    place = places[key] = self._place(f"{code.co_filename}:{frame.f_lineno}", key[1], path, phase)
                return place
            if known.is_method:
                if code is _MODULE_CALL:
                    calls.append(frame.f_locals["self"])
                elif not module:
                    module = _snake(type(frame.f_locals.get("self")).__name__)
                phase = known.phase or phase
            origin = known.origin or origin
            frame = frame.f_back
        return Location()

    def _path(self, frame: types.FrameType | None, calls: list[Module]) -> str:
        """``Net/layers.0/linear``: the class of the outermost module that is called, then each module's name within the one
        before. ``calls`` are the modules that are called from ``frame`` on, the innermost first.
        """
        while frame is not None:
            if frame.f_code is _MODULE_CALL:
                calls.append(frame.f_locals["self"])
            frame = frame.f_back
        if not calls:
            return ""
        calls.reverse()
        key = tuple(map(id, calls))
        known = self._paths.get(key)
        if known is None or any(ref() is not m for ref, m in zip(known[0], calls, strict=True)):
            names = [type(calls[0]).__name__]
            for outer, inner in pairwise(calls):
                names.append(next((name for name, m in outer.named_modules() if m is inner and name), type(inner).__name__))
            known = self._paths[key] = [weakref.ref(m) for m in calls], "/".join(names)
        return known[1]

    def _place(self, place: str, origin: str, path: str, phase: str) -> Location:
        return self.gradient(place) if origin in _BACKWARD else Location(place, origin, path, phase)

    def gradient(self, place: str) -> Location:
        """A place where a backward pass is."""
        visited = self.visited
        if not visited.origin:
            return Location(place, "backward", visited.module, "backward")
        return backward_of(Location(place, visited.origin, visited.module))

    def visits(self, v: Value | None) -> None:
        """A backward pass computes the gradient of the operation that computes ``v``; None if that is not known."""
        op = None if v is None else v.op
        self.visited = op.loc if op is not None and isinstance(op.loc, Location) else Location()


_BACKWARD = ("backward", "grad")


def _called(code: types.CodeType) -> str:
    """The name of a function of this package; empty if it is internal, or shared by several classes."""
    name = code.co_name
    if name.startswith("__") and name not in ("__call__", "__init__", "__enter__", "__exit__"):
        return name.strip("_")
    return "" if name.startswith(("_", "<")) or "<locals>" in code.co_qualname else name.strip("_")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name).lower()


class Source:
    """The source of an input for replays.

    argument   tensor number ``index`` among the call's tensors
    captured   ``holder``, a tensor that existed before the call
    grad       the ``.grad`` of ``holder``, or of the call's tensor number ``index`` if there is no holder
    float      number ``index`` of the float program
    array      the same, where that is an array

    A holder is not kept alive: its lifetime is that of the object through which the function reached it. ``is_held``:
    whether there is one. ``name`` is the user's name for it, or empty.
    """

    __slots__ = ("_holder", "index", "is_held", "kind", "name")

    def __init__(self, kind: str, index: int = 0, holder: Tensor | None = None):
        self.kind, self.index, self.is_held, self.name = kind, index, holder is not None, ""
        self._holder = None if holder is None else weakref.ref(holder)

    @property
    def is_number(self) -> bool:
        """True if it is made from a dynamic number or an array."""
        return self.kind in ("float", "array")

    @property
    def holder(self) -> Any:
        """The tensor; None if it no longer exists."""
        return None if self._holder is None else self._holder()

    def __eq__(self, other: object) -> bool:
        """True if both name the same tensor."""
        alike = isinstance(other, Source) and (self.kind, self.index) == (other.kind, other.index)
        return alike and self.holder is other.holder  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def when_gone(self, do: Callable[[Any], None]) -> None:
        """Calls ``do`` when the holder no longer exists."""
        self._holder = weakref.ref(self.holder, do)
