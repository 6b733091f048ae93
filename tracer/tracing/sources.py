"""The current place in the user's code, and the sources of a run's inputs."""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor

_PACKAGE = __name__.split(".")[0] + "."


class Locations:
    """The current place in the user's code. Each instruction is looked up once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[types.CodeType, dict[int, str] | None]] = {}  # None: code of this package

    def here(self) -> str:
        """``file:line`` of the innermost frame outside this package."""
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            known = self._known.get(id(code))
            if known is None:
                ours = frame.f_globals.get("__name__", "").startswith(_PACKAGE)
                known = self._known[id(code)] = code, None if ours else {}
            lines = known[1]
            if lines is not None:
                at = frame.f_lasti
                if at not in lines:
                    lines[at] = f"{code.co_filename}:{frame.f_lineno}"
                return lines[at]
            frame = frame.f_back
        return ""


class Source:
    """The source of an input for replays.

    argument   tensor number ``index`` among the call's tensors
    captured   ``holder``, a tensor that existed before the call
    grad       the ``.grad`` of ``holder``, or of the call's tensor number ``index`` if there is no holder
    float      number ``index`` of the float program
    array      the same, where that is an array

    A holder is not kept alive: its lifetime is that of the object through which the function reached it. ``is_held``:
    whether there is one.
    """

    __slots__ = ("_holder", "index", "is_held", "kind")

    def __init__(self, kind: str, index: int = 0, holder: Tensor | None = None):
        self.kind, self.index, self.is_held = kind, index, holder is not None
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
