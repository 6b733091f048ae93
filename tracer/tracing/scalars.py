"""Python numbers that are dynamic, not constants of the trace.

While a function is recorded, its float arguments, an optimizer's learning rate, and ints that were seen to change between
calls are ``RuntimeNumber``. Python's computations with them are recorded as steps that a replay repeats in Python, so
arithmetic and errors are Python's in both. If the program depends on a value (a comparison, ``int()``, a shape),
the value becomes a guard.
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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.context import context
from ..ir import ops as P
from ..ir.types import DType, exact, float64, int64
from .formats import Formats

if TYPE_CHECKING:
    from ..core.tensor import Tensor


def static(x: Any) -> tuple:
    """A token for a value of a plain type; equal but different values (1, True, 1.0; 0.0, -0.0) have different tokens."""
    if isinstance(x, (float, complex, slice, range)):
        return type(x), repr(x)
    if isinstance(x, (tuple, frozenset)):
        return type(x), (tuple if isinstance(x, tuple) else frozenset)(map(static, x))
    return type(x), x


@dataclass(frozen=True)
class Argument:
    """Float number ``index`` of a call."""

    index: int

    def fetch(self, call: Any) -> float:
        return call.floats[self.index]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Whole:
    """Int number ``index`` of a call."""

    index: int

    def fetch(self, call: Any) -> int:
        return call.ints[self.index]  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Item:
    """``holder[key]``: an optimizer's value under a name."""

    holder: dict
    key: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and self.holder is other.holder and self.key == other.key

    def fetch(self, call: Any) -> float:
        value = dict.__getitem__(self.holder, self.key)
        if type(value) is not float:
            raise TypeError
        return value


class Length:
    """The length of a list or deque when the call begins: of a ``holder``, or of object ``index`` of the call."""

    def __init__(self, holder: Any, index: int):
        self.holder, self.index = holder, index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Length) and self.holder is other.holder and self.index == other.index

    __hash__ = None  # type: ignore[assignment]

    def fetch(self, call: Any) -> int:
        return len(call.objects[self.index] if self.holder is None else self.holder)


@dataclass(frozen=True)
class Element:
    """The only element of a tensor that the run computes: known to a replay once its program has run.

    ``value`` is a value of the graph; in a span, its number. ``whole``: the array of all elements instead.
    """

    value: Any
    whole: bool = False


class Hidden:
    """A value that replays compute, and that Python never reads: its number, and the value."""

    __slots__ = ("_index", "_value")

    def __init__(self, index: int, value: Any):
        self._index, self._value = index, value


Step = tuple[int, Callable[..., Any], tuple[int, ...]]
# Python's exceptions when it computes with other numbers than the run had.
ERRORS = (ArithmeticError, ValueError, TypeError, LookupError)


class FloatProgram:
    """Python's computations with a run's numbers, repeated in a replay.

    The values are numbered. ``roots`` say where a call finds theirs, the others are functions of earlier ones. ``late`` are
    those that depend on elements of computed tensors; a decision on them is an event of the recording. ``calls``: whether
    some come from functions with a different result each time.
    """

    def __init__(self) -> None:
        self.template: list[Any] = []
        self.roots: list[tuple[int, Argument | Whole | Item | Length | Element]] = []
        self.steps: list[Step] = []
        self.late: set[int] = set()
        self.calls = False
        self.decided: set[int] = set()  # those that are the same in each run that gets this far
        self._drawn: int | None = None  # the latest of those whose order matters
        self.formats = Formats(self)
        self._pure: dict[tuple[Callable[..., Any], tuple[Any, ...]], int] = {}  # results of pure functions
        self.made: list[weakref.ref[RuntimeNumber]] = []

    def _new(self, value: Any) -> int:
        self.template.append(value)
        return len(self.template) - 1

    def root(self, source: Argument | Whole | Item | Length | Element, value: float) -> RuntimeNumber:
        """A number from the call, or a computed one."""
        i = self._new(None)
        self.roots.append((i, source))
        if isinstance(source, Element):
            self.late.add(i)
        return _KINDS[type(value)](self, i, value)

    def apply(self, function: Callable[..., Any], args: Sequence[Any], decides: bool = False) -> Any:
        """The function's result: a dynamic number if it is a float or an int; otherwise, or if it ``decides``, it becomes part
        of the path.
        """
        try:
            value = function(*map(_now, args))
        except Exception:  # the caller may handle it
            for a in args:
                if isinstance(a, RuntimeNumber):
                    a.pinned()
            raise
        if not self.recording or all(a._index in self.decided for a in args if isinstance(a, _OF_RUNS)):
            return value
        i = self._pure_step(function, args)
        kind = None if decides else _KINDS.get(type(value))
        if kind is None:
            self.decides(i, value)
            return value
        number = kind(self, i, value)
        if function in _OF_MANY_TYPES:
            self.apply(_type_of, (number,), decides=True)
        return number

    def call(self, function: Callable[..., Any], args: Sequence[Any], ordered: bool) -> int:
        """The number of a function's result that replays compute again; if ``ordered``, after the last such function."""
        self.calls = True
        before = self._new(None) if self._drawn is None or not ordered else self._drawn
        i = self._step(function, (Hidden(before, None), *args))
        if ordered:
            self._drawn = i
        return i

    def array(self, value: Any, data: np.ndarray) -> Hidden:
        """The elements of a tensor that the run computes."""
        i = self._new(None)
        self.roots.append((i, Element(value, whole=True)))
        self.late.add(i)
        return Hidden(i, data)

    def items(self, held: Hidden) -> Any:
        """Nested lists of dynamic numbers; a number, if it is one."""
        if type(held._value) is not list:
            return self.number(held._index, held._value)
        return [self.items(self.hidden(operator.getitem, (held, k))) for k in range(len(held._value))]

    def nested(self, held: Hidden) -> Any:
        """The elements of an array as nested lists of dynamic numbers."""
        return self.items(self.hidden(_listed, (held,)))

    def hidden(self, function: Callable[..., Any], args: Sequence[Any]) -> Hidden:
        """The function's result, only for other steps."""
        value = function(*map(_now, args))
        return Hidden(self._step(function, args), value)

    def number(self, i: int, value: Any) -> RuntimeNumber | None:
        """Number ``i``, currently ``value``, as a dynamic number; None if it is not a number."""
        kind = _KINDS.get(type(value))
        return None if kind is None else kind(self, i, value)

    def format(self, x: RuntimeNumber, spec: str, frame: types.FrameType | None) -> str:
        """The text of a number formatted by ``frame``."""
        text = format(x._value, spec)
        if self.recording:
            self.formats.made(self._step(format, (x, spec)), text, frame)
        return text

    def _step(self, function: Callable[..., Any], args: Sequence[Any]) -> int:
        """The number of a step's result."""
        places = tuple([a._index if isinstance(a, _OF_RUNS) else self._new(a) for a in args])
        i = self._new(None)
        self.steps.append((i, function, places))
        if not self.late.isdisjoint(places):
            self.late.add(i)
        return i

    def _pure_step(self, function: Callable[..., Any], args: Sequence[Any]) -> int:
        """The number of a step's result: an earlier one's, if that was the same function of the same numbers."""
        if not all(isinstance(a, _OF_RUNS) or type(a) in (int, float) for a in args):
            return self._step(function, args)
        said = tuple([a._index if isinstance(a, _OF_RUNS) else (type(a), repr(a)) for a in args])
        i = self._pure.get((function, said))
        if i is None:
            i = self._pure[function, said] = self._step(function, args)
        return i

    def decides(self, i: int, value: Any) -> None:
        """The path depends on number ``i`` having this value."""
        assert context.recorder is not None
        context.recorder.decides(i, static(value))

    @property
    def recording(self) -> bool:
        return context.recorder is not None and context.recorder.floats is self

    def evaluate(self, call: Any) -> list[Any] | None:
        """All values of a call, if none is late; None if Python raises an error."""
        values = self.template.copy()
        try:
            for i, source in self.roots:
                values[i] = source.fetch(call)  # type: ignore[union-attr]
            for i, function, places in self.steps:
                values[i] = function(*[values[k] for k in places])
        except ERRORS:
            return None
        return values


class Array(NamedTuple):
    """Creates an array of numbers."""

    dtype: DType
    shape: tuple[int, ...]

    def __call__(self, *numbers: Any) -> np.ndarray:
        return np.array(numbers, np.int64 if self.dtype is int64 else np.float64).astype(self.dtype.numpy).reshape(self.shape)


class RuntimeNumber:
    """A dynamic number: its current value, and its index in the recording's ``FloatProgram``. It behaves like the value."""

    __slots__ = ("__weakref__", "_index", "_program", "_value")

    def __init__(self, program: FloatProgram, index: int, value: Any):
        self._program, self._index, self._value = program, index, value
        program.made.append(weakref.ref(self))

    def tensor(self, dtype: DType) -> Tensor:
        """As an operand of the given dtype."""
        from ..core.tensor import wrap

        t = wrap(np.array(self._value, np.float64))
        if self._program.recording:
            assert context.recorder is not None
            t = context.recorder.float_operand(self)
        return t if dtype is float64 else P.cast(t, dtype=dtype.short)

    def pinned(self) -> Any:
        """The value; the trace will only be replayed for this one."""
        if self._program.recording:
            self._program.decides(self._index, self._value)
        return self._value

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._value)

    def __float__(self) -> float:
        return float(self.pinned())

    def __format__(self, spec: str) -> str:
        return self._program.format(self, spec, sys._getframe(1))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pinned(), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs and all(isinstance(x, _OPERANDS) for x in inputs):
            return self._program.apply(ufunc, inputs)
        return getattr(ufunc, method)(*[x.pinned() if isinstance(x, RuntimeNumber) else x for x in inputs], **kwargs)

    def item(self) -> Any:
        """For a NumPy scalar, the Python number."""
        if isinstance(self._value, np.generic):
            return self._program.apply(np.generic.item, (self,))
        raise AttributeError(f"{type(self._value).__name__!r} object has no attribute 'item'")

    def __hash__(self) -> int:
        return hash(self.pinned())

    def __reduce__(self) -> Any:
        return type(self._value), (self.pinned(),)

    def __copy__(self) -> RuntimeNumber:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RuntimeNumber:
        return self

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pinned(), name)


class RuntimeFloat(RuntimeNumber):
    """A dynamic float."""

    __slots__ = ()


class RuntimeInt(RuntimeNumber):
    """A dynamic int."""

    __slots__ = ()

    def tensor(self, dtype: DType) -> Tensor:
        """As an operand of the given dtype. For integers the low bits, as C converts them."""
        if not _is_exact(self._value):
            return P.full(value=int(self.pinned()), shape=(), dtype=dtype.short)
        self._program.apply(_is_exact, (self,), decides=True)
        whole = RuntimeNumber.tensor(self, int64 if dtype.kind in "ui" else dtype)
        return whole if whole.dtype is dtype else P.cast(whole, dtype=dtype.short)

    def __index__(self) -> int:
        return int(self.pinned())


# The names in Python's messages.
RuntimeFloat.__name__, RuntimeInt.__name__ = "float", "int"
_OF_RUNS = (RuntimeNumber, Hidden)


def _listed(array: Any) -> Any:
    return array.tolist()


def _now(x: Any) -> Any:
    """The current value of a dynamic value."""
    return x._value if isinstance(x, _OF_RUNS) else x


_NUMBER = (bool, int, float, complex)
_OPERANDS = (*_NUMBER, np.number, np.bool_)
_KINDS: dict[type, type[RuntimeNumber]] = {float: RuntimeFloat, int: RuntimeInt}
_KINDS |= {np.dtype(char).type: RuntimeFloat for char in "efd"}
_KINDS |= {np.dtype(char).type: RuntimeInt for char in np.typecodes["AllInteger"]}


def is_number(x: Any) -> bool:
    """True if a value can be a dynamic number."""
    return type(x) in _KINDS


def _is_exact(x: int) -> bool:
    """True if a float64 represents this int exactly."""
    return -(1 << 53) <= x <= 1 << 53


def _type_of(x: Any) -> str:
    return type(x).__name__


_OF_MANY_TYPES = {operator.pow, round}  # the type of whose result depends on the operands' values


def _install() -> None:
    def method(function: Callable[..., Any], reflected: bool = False, decides: bool = False) -> Callable[..., Any]:
        def call(self: RuntimeNumber, *others: Any) -> Any:
            if not all(isinstance(x, (*_OPERANDS, str, type(None))) for x in others):
                return NotImplemented
            return self._program.apply(function, (*others, self) if reflected else (self, *others), decides)

        return call

    def install(cls: type, names: str, reflected: bool) -> None:
        for name in names.split():
            function = getattr(operator, name if hasattr(operator, name) else f"{name}_")
            setattr(cls, f"__{name}__", method(function))
            if reflected:
                setattr(cls, f"__r{name}__", method(function, reflected=True))

    install(RuntimeNumber, "add sub mul truediv floordiv mod pow", True)
    install(RuntimeNumber, "lt le gt ge eq ne neg pos abs", False)
    install(RuntimeInt, "and or xor lshift rshift", True)
    install(RuntimeInt, "invert", False)
    functions: dict[str, Callable[..., Any]] = {"round": round, "trunc": math.trunc, "floor": math.floor, "ceil": math.ceil}
    for name, function in functions.items():
        setattr(RuntimeNumber, f"__{name}__", method(function))
    for function in (int, bool, str, repr):
        setattr(RuntimeNumber, f"__{function.__name__}__", method(function, decides=True))


_install()
numbers.Real.register(RuntimeFloat)
numbers.Integral.register(RuntimeInt)


_PLAIN = frozenset([bool, int, float, complex, str, type(None)])


def pinned(x: Any) -> Any:
    """An operand or attribute of an operation with constants for dynamic numbers."""
    if type(x) in _PLAIN or (type(x) is tuple and _PLAIN.issuperset(map(type, x))):
        return x
    if isinstance(x, RuntimeNumber):
        return x.pinned()
    if isinstance(x, np.generic):
        return x.item()
    return tuple(map(pinned, x)) if type(x) is tuple else exact(x)


def runtime_float(holder: Any, key: str) -> Any:
    """``holder[key]``, a float that may differ between calls without a new trace."""
    value = dict.__getitem__(holder, key)
    recorder = context.recorder
    return value if recorder is None or type(value) is not float else recorder.host_float(holder, key, value)
