"""Calls of ``float``, ``int`` and the like in recorded code: they return dynamic numbers.

Python requires these functions to return their own type, so methods of a dynamic number or a tensor cannot be used. While a
function is recorded, the functions that it may call get code with substitutes in these calls, and otherwise unchanged.
"""

from __future__ import annotations

import dis
import functools
import gc
import threading
import types
import warnings
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from ..core.context import context
from ..core.tensor import Tensor
from ..runtime.support.objects import references
from .arrays import is_runtime_array
from .growing import length_of, plain_class
from .scalars import RuntimeNumber

_MANY = 8192  # functions whose code is remembered
_LOCK = threading.Lock()


def _conversion(kind: type, method: str) -> Callable[..., Any]:
    """The substitute of ``float`` or ``int``."""

    def convert(*args: Any, **kwargs: Any) -> Any:
        recorder = context.recorder
        if len(args) != 1 or kwargs or recorder is None or recorder.plain_numbers:
            return kind(*args, **kwargs)
        (x,) = args
        own = getattr(type(x), method, None)
        if isinstance(own, types.FunctionType) and id(own) in _running:
            name, got = type(x).__name__, _running[id(own)].function(x)
            if not isinstance(got, kind):
                return kind(type(name, (), {method: lambda self: _decided(got)})())  # raises the original error
            x = got
        elif isinstance(x, Tensor) and x._data.size == 1 and own is getattr(Tensor, method):
            x = recorder.item(x)
        return x._program.apply(kind, (x,)) if issubclass(type(x), RuntimeNumber) else kind(x)

    return convert


def _type(*args: Any, **kwargs: Any) -> Any:
    if len(args) == 1 and not kwargs:
        (x,) = args
        if issubclass(type(x), RuntimeNumber) or is_runtime_array(x):
            return x.__class__
        return plain_class(x) or type(x)
    return type(*args, **kwargs)


def _len(*args: Any, **kwargs: Any) -> Any:
    length = None if context.recorder is None or len(args) != 1 or kwargs else length_of(args[0])
    return len(*args, **kwargs) if length is None else length


# ``float(x)`` and ``int(x)``, for code of this package, which is not rewritten.
as_float, as_int = _conversion(float, "__float__"), _conversion(int, "__int__")

_SUBSTITUTES: dict[str, Callable[..., Any]] = {
    "float": as_float,
    "int": as_int,
    "type": _type,
    "len": _len,
}


def has_substitute(name: str) -> bool:
    """True if calls of a built-in function are replaced."""
    return name in _SUBSTITUTES and _works()


class _Running:
    """A function with replaced code, and the number of recordings that use it. ``function``: an equivalent function with the
    other code.
    """

    def __init__(self, original: types.FunctionType, code: types.CodeType, function: types.FunctionType):
        self.original, self.code, self.function, self.users = original, code, function, 0


# Methods that C code calls, which require a result of a certain type.
_TYPES: dict[str, type] = {"__float__": float, "__int__": int, "__index__": int, "__hash__": int, "__complex__": complex}


# By the id of a code: that code, and the one with substitutes, if it has such calls. And codes by the id of the replacement.
_known: dict[int, tuple[types.CodeType, types.CodeType | None]] = {}
_originals: dict[int, tuple[types.CodeType, types.CodeType]] = {}
_running: dict[int, _Running] = {}  # by the id of a function


def code_of(function: types.FunctionType) -> types.CodeType:
    """The original code of a function."""
    return as_written(function.__code__)


def as_written(code: types.CodeType) -> types.CodeType:
    """The original of a replaced code, or the code itself."""
    known = _originals.get(id(code))
    return code if known is None else known[0]


def _with_substitutes(code: types.CodeType) -> types.CodeType | None:
    known = _known.get(id(code))
    if known is None:
        known = _known[id(code)] = code, _rewritten(code)
    return known[1]


_NOP = dis.opmap["NOP"]
_CALLED = ("LOAD_ATTR", "LOAD_METHOD")  # after a name, these lead to the called object


def _null_comes_first() -> bool:
    """True if a call pushes NULL below the function."""
    names = [i.opname for i in dis.get_instructions(compile("f()()", "", "eval"))]
    return "PUSH_NULL" in names and names.index("PUSH_NULL") < names.index("LOAD_NAME")


_NULL_FIRST = _null_comes_first()


def _push(constant: int) -> bytes:
    """Instructions that push a constant for a call."""
    load, null = [dis.opmap["LOAD_CONST"], constant], [dis.opmap["PUSH_NULL"], 0]
    return bytes(null + load if _NULL_FIRST else load + null)


def _rewritten(code: types.CodeType) -> types.CodeType | None:
    """The code with substitutes; None if it has no such calls."""
    constants = list(code.co_consts)
    changed = False
    for i, inner in enumerate(constants):
        if isinstance(inner, types.CodeType):
            other = _with_substitutes(inner)
            if other is not None:
                constants[i], changed = other, True
    text = bytearray(code.co_code)
    if not _SUBSTITUTES.keys().isdisjoint(code.co_names):
        instructions = list(dis.get_instructions(code))
        for instruction, following in pairwise(instructions):
            if instruction.opname != "LOAD_GLOBAL" or not (instruction.arg or 0) & 1 or following.opname in _CALLED:
                continue
            substitute, at, end = _SUBSTITUTES.get(instruction.argval), instruction.offset, following.offset
            if substitute is None or len(constants) > 255 or end - at < 4:
                continue
            text[at:end] = _push(len(constants)) + bytes([_NOP, 0]) * ((end - at) // 2 - 2)
            while at >= 2 and text[at - 2] == dis.EXTENDED_ARG:
                at -= 2
                text[at : at + 2] = bytes([_NOP, 0])
            constants.append(substitute)
            changed = True
    if not changed:
        return None
    new = code.replace(co_code=bytes(text), co_consts=tuple(constants))
    _originals[id(new)] = code, new
    return new


@functools.cache
def _works() -> bool:
    """True if rewritten code calls substitutes, and is otherwise unchanged."""

    def probe(x: Any, y: int = 3) -> Any:
        several = [float(x), [type(x) for _ in range(2)], y, isinstance(x, (float, int))]
        return several, float

    class Number(RuntimeNumber):
        def __init__(self) -> None:
            pass

        @property  # type: ignore[misc]
        def __class__(self) -> type:
            return bytes

        def __float__(self) -> float:
            return 2.5

    try:
        new = _rewritten(probe.__code__)
        plain = probe(1)
        assert new is not None
        probe.__code__ = new
        return probe(1) == plain and probe(Number()) == ([2.5, [bytes, bytes], 3, False], float)
    except (AssertionError, TypeError, ValueError, KeyError, SystemError):
        return False


class CallSites:
    """Installs code with substitutes in functions while a run is recorded."""

    def __init__(self) -> None:
        self._functions: list[types.FunctionType] = []

    def begin(self, functions: Iterable[types.FunctionType], caches: Iterable[Any] = ()) -> None:
        """Installs such code in these functions. Functions of ``caches`` have remembered results, so they return plain
        numbers.
        """
        cached = {id(getattr(f, "__wrapped__", None)) for f in caches}
        with _LOCK:
            if len(_known) >= _MANY and not _running:
                _known.clear()
                _originals.clear()
            for f in functions:
                known = _running.get(id(f))
                if known is None:
                    code, gives_plain = f.__code__, f.__name__ in _TYPES or id(f) in cached
                    shadowed = not _works() or not _SUBSTITUTES.keys().isdisjoint(f.__globals__)
                    new = None if shadowed else _with_substitutes(code)
                    if new is None and not gives_plain:
                        continue
                    same = types.FunctionType(new or code, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
                    same.__kwdefaults__ = f.__kwdefaults__
                    known = _running[id(f)] = _Running(f, code, same)
                    f.__code__ = _giving_plain(same, code) if gives_plain else same.__code__
                known.users += 1
                self._functions.append(f)

    def end(self) -> None:
        with _LOCK:
            left = []
            for f in self._functions:
                known = _running[id(f)]
                known.users -= 1
                if known.users == 0:
                    del _running[id(f)]
                    left.append(known.function.__code__)
                    if f.__code__ is not known.function.__code__:
                        _originals.pop(id(f.__code__), None)
                    f.__code__ = known.code
            self._functions = []
            _restore_made(left)


def _giving_plain(function: types.FunctionType, code: types.CodeType) -> types.CodeType:
    """Code that calls a function and converts dynamic numbers to plain ones, which become part of the path."""

    def call(args: tuple, kwargs: dict[str, Any]) -> Any:
        return _decided(function(*args, **kwargs))

    template = _calling(code.co_freevars)
    constants = tuple([call if x == _PLACE else x for x in template.co_consts])
    new = template.replace(
        co_consts=constants,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,
    )
    _originals[id(new)] = code, new
    return new


_PLACE = "what is called"


@functools.cache
def _calling(names: tuple[str, ...]) -> types.CodeType:
    """The code of a function with these free variables that calls a constant."""
    text = (
        f"def outer({', '.join(names)}):\n def f(*args, **kwargs):\n  return {_PLACE!r}(args, kwargs)\n  {', '.join(names)}\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        outer = compile(text, "", "exec").co_consts[0]
    found: types.CodeType = next(x for x in outer.co_consts if isinstance(x, types.CodeType))
    return found


def _decided(x: Any) -> Any:
    if issubclass(type(x), RuntimeNumber):
        return x.pinned()
    if type(x) is tuple:
        return tuple(map(_decided, x))
    if type(x) is list:
        x[:] = map(_decided, x)
    elif type(x) is dict:
        x.update({name: _decided(value) for name, value in x.items()})
    return x


def _restore_made(codes: list[types.CodeType]) -> None:
    """Restores the code of functions that the run has created from code inside these."""
    inner, work = [], list(codes)
    while work:
        code = work.pop()
        for x in code.co_consts:
            if isinstance(x, types.CodeType) and id(x) in _originals:
                work.append(x)
                inner.append(x)
    used = [x for x, count in _counted(inner) if count > _references_of_unused_code()]
    for f in gc.get_referrers(*used) if used else ():
        if isinstance(f, types.FunctionType):
            f.__code__ = as_written(f.__code__)


def _counted(codes: list[types.CodeType]) -> list[tuple[types.CodeType, int]]:
    return [(x, references(x)) for x in codes]


@functools.cache
def _references_of_unused_code() -> int:
    """The references to nested code without a function."""
    new = _with_substitutes(compile("lambda: lambda: float()", "", "eval").co_consts[0])
    if new is None:
        return 0
    return _counted([x for x in new.co_consts if isinstance(x, types.CodeType)])[0][1]
