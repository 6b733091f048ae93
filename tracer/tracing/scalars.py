"""Python floats that stay numbers of the run, not constants of the trace.

While a function is recorded, its float arguments and an optimizer's learning rate are ``RuntimeFloat``. What Python
computes from them is written down as a list of steps that a replay lets Python do again, so it is Python's arithmetic in
either, errors included. Where the program depends on a value (a comparison, ``int()``, printing), what it saw becomes a guard.
"""

from __future__ import annotations

import math
import numbers
import operator
import sys
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..context import context
from ..ir import ops as P
from ..ir.types import DType, float64
from .formats import Formats

if TYPE_CHECKING:
    from ..tensor import Tensor


def static(x: Any) -> tuple:
    """A token for a value of a plain type; equal values that yet differ (1, True, 1.0; 0.0, -0.0) get tokens that differ."""
    return type(x), repr(x) if isinstance(x, (float, complex, slice, range)) else x


@dataclass(frozen=True)
class Argument:
    """Float number ``index`` among a call's."""

    index: int

    def fetch(self, call: Any) -> float:
        return call.floats[self.index]  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Item:
    """``holder[key]``: what an optimizer has under a name."""

    holder: dict
    key: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and self.holder is other.holder and self.key == other.key

    def fetch(self, call: Any) -> float:
        return dict.__getitem__(self.holder, self.key)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Element:
    """The only element of a tensor that the run computes: known to a replay once the program has run that computes it.

    ``value`` is a value of the graph; in a span, its number.
    """

    value: Any


Step = tuple[int, Callable[..., Any], tuple[int, ...]]
# What Python may raise where it computes with other numbers than the run had.
ERRORS = (ArithmeticError, ValueError, TypeError, LookupError)


class FloatProgram:
    """What Python computes from the floats of a run, to be computed again in a replay.

    The values are numbered. ``roots`` say where a call finds theirs, the others follow from a function of earlier ones.
    ``late`` are those that depend on elements of computed tensors. What they decide is an event of the recording.
    """

    def __init__(self) -> None:
        self.template: list[Any] = []
        self.roots: list[tuple[int, Argument | Item | Element]] = []
        self.steps: list[Step] = []
        self.late: set[int] = set()
        self.formats = Formats(self)
        self.made: list[weakref.ref[RuntimeFloat]] = []

    def _new(self, value: Any) -> int:
        self.template.append(value)
        return len(self.template) - 1

    def root(self, source: Argument | Item | Element, value: float) -> RuntimeFloat:
        """A float that a call brings, or computes."""
        i = self._new(None)
        self.roots.append((i, source))
        if isinstance(source, Element):
            self.late.add(i)
        return RuntimeFloat(self, i, value)

    def apply(self, function: Callable[..., Any], args: Sequence[Any]) -> Any:
        """The function's result: a float of the run if it is a float, else a value that decides how the run goes on."""
        value = function(*[a._value if isinstance(a, RuntimeFloat) else a for a in args])
        if not self.recording:
            return value
        i = self._step(function, args)
        if type(value) is float:
            return RuntimeFloat(self, i, value)
        self.decides(i, value)
        return value

    def format(self, x: RuntimeFloat, spec: str, frame: types.FrameType | None) -> str:
        """The text of a number that ``frame`` formats."""
        text = format(x._value, spec)
        if self.recording:
            self.formats.made(self._step(format, (x, spec)), text, frame)
        return text

    def _step(self, function: Callable[..., Any], args: Sequence[Any]) -> int:
        """The number of what a function of numbers gives."""
        places = tuple([a._index if isinstance(a, RuntimeFloat) else self._new(a) for a in args])
        i = self._new(None)
        self.steps.append((i, function, places))
        if not self.late.isdisjoint(places):
            self.late.add(i)
        return i

    def decides(self, i: int, value: Any) -> None:
        """The run goes as it does because number ``i`` is this."""
        assert context.recorder is not None
        context.recorder.decides(i, static(value))

    @property
    def recording(self) -> bool:
        return context.recorder is not None and context.recorder.floats is self

    def evaluate(self, call: Any) -> list[Any] | None:
        """All values of a call, if none is late; None if Python refuses to compute one."""
        values = self.template.copy()
        try:
            for i, source in self.roots:
                values[i] = source.fetch(call)  # type: ignore[union-attr]
                if type(values[i]) is not float:
                    return None
            for i, function, places in self.steps:
                values[i] = function(*[values[k] for k in places])
        except ERRORS:
            return None
        return values


class RuntimeFloat:
    """A float of the run: its value now, and its number in the recording's ``FloatProgram``. Behaves as the float."""

    __slots__ = ("__weakref__", "_index", "_program", "_value")

    def __init__(self, program: FloatProgram, index: int, value: float):
        self._program, self._index, self._value = program, index, value
        program.made.append(weakref.ref(self))

    def tensor(self, dtype: DType) -> Tensor:
        """As an operand of the given dtype."""
        from ..tensor import wrap

        t = wrap(np.array(self._value))
        if self._program.recording:
            assert context.recorder is not None
            t = context.recorder.float_operand(self)
        return t if dtype is float64 else P.cast(t, dtype=dtype.short)

    def pinned(self) -> float:
        """The value; the trace will only be replayed for this one."""
        if self._program.recording:
            self._program.decides(self._index, self._value)
        return self._value

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return float

    def __float__(self) -> float:
        return self.pinned()

    def __format__(self, spec: str) -> str:
        return self._program.format(self, spec, sys._getframe(1))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pinned(), dtype)

    def __hash__(self) -> int:
        return hash(self.pinned())

    def __reduce__(self) -> Any:
        return float, (self.pinned(),)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pinned(), name)


_NUMBER = (bool, int, float)


def _install() -> None:
    def method(function: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
        def call(self: RuntimeFloat, *others: Any) -> Any:
            if not all(isinstance(x, (*_NUMBER, RuntimeFloat, str, type(None))) for x in others):
                return NotImplemented
            return self._program.apply(function, (*others, self) if reflected else (self, *others))

        return call

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
        setattr(RuntimeFloat, f"__{name}__", method(getattr(operator, name)))
        setattr(RuntimeFloat, f"__r{name}__", method(getattr(operator, name), reflected=True))
    for name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs"):
        setattr(RuntimeFloat, f"__{name}__", method(getattr(operator, name)))
    functions: dict[str, Callable[..., Any]] = {"int": int, "bool": bool, "round": round, "trunc": math.trunc}
    functions |= {"floor": math.floor, "ceil": math.ceil, "str": str, "repr": repr}
    for name, function in functions.items():
        setattr(RuntimeFloat, f"__{name}__", method(function))


_install()
numbers.Real.register(RuntimeFloat)


def is_runtime_float(x: Any) -> bool:
    """Whether ``x`` is one; ``isinstance(x, float)`` is true of both kinds."""
    return type(x) is RuntimeFloat


def runtime_float(holder: Any, key: str) -> Any:
    """``holder[key]``, a float that may change from call to call without a new trace."""
    value = dict.__getitem__(holder, key)
    recorder = context.recorder
    return value if recorder is None or type(value) is not float else recorder.host_float(holder, key, value)
