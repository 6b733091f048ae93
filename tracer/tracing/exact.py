"""Code that runs for the first time during a recording, and needs exact numbers.

Some C functions accept no dynamic numbers, and code may ask for types. If code that has run does so, nothing is recorded with
dynamic numbers; code that has not run does not count. When such code begins to run, what it can reach gets plain numbers, and
the recording is not kept.
"""

from __future__ import annotations

import builtins
import ctypes
import gc
import sys
import types
from typing import TYPE_CHECKING, Any

from .escape import plain
from .kinds import MISSING
from .known import is_library, is_strict
from .references import nested, references
from .scalars import RuntimeNumber

if TYPE_CHECKING:
    from .recorder import Recorder

_WRITES_BACK = sys.version_info >= (3, 13)  # an assignment to a frame's variables reaches the frame


def needs_exact(code: types.CodeType, space: dict[str, Any]) -> bool:
    """True if code, or a function that it defines, mentions ``type`` or a C function that accepts no dynamic numbers."""
    if "type" in code.co_names or any(needs_exact(inner, space) for inner in nested(code)):
        return True
    for kind, name, attributes, *_ in references(code):
        if kind == "import" and is_strict(".".join((name, *attributes))):
            return True
        if kind != "global":
            continue
        value = space.get(name, MISSING)
        if value is MISSING:
            strict = hasattr(builtins, name) and is_strict(".".join(("builtins", name, *attributes)))
        elif isinstance(value, types.ModuleType):
            strict = is_strict(".".join((str(value.__name__), *attributes)))
        else:
            module, own = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
            strict = type(module) is str and is_library(module) and is_strict(".".join((module, own, *attributes)))
        if strict:
            return True
    return False


def give_exact(recorder: Recorder, frame: types.FrameType) -> None:
    """Puts plain numbers in the place of dynamic ones: in the arguments of a frame, and wherever containers and objects of the
    program hold them.
    """
    recorder.plain_numbers = True
    variables = frame.f_locals
    changed = {name: new for name, value in list(variables.items()) if (new := plain(value)) is not value}
    if changed:
        variables.update(changed)
        if not _WRITES_BACK:
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
    numbers = [x for x in (ref() for ref in recorder.floats.made) if isinstance(x, RuntimeNumber)]
    own = _ids_inside(recorder)
    for holder in gc.get_referrers(*numbers) if numbers else ():
        if holder is numbers or id(holder) in own or str(type(holder).__module__).startswith(__package__):
            continue
        if isinstance(holder, (list, dict)):
            plain(holder)
        elif hasattr(holder, "__dict__"):  # its attributes may have no dictionary yet
            plain(vars(holder))


def _ids_inside(recorder: Recorder) -> set[int]:
    """The ids of the recorder's own containers."""
    found: set[int] = set()
    for x in (recorder, *vars(recorder).values()):
        if hasattr(x, "__dict__"):
            found.add(id(vars(x)))
            found.update(id(value) for value in vars(x).values())
    return found
