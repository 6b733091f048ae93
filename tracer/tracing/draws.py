"""Results of Python's and NumPy's random generators, and of clocks, in a recorded run: replays call them again, in the same
order.

The functions of ``random`` and ``numpy.random`` have substitutes meanwhile, and reachable generators have recording
subclasses. A draw that changes a generator's state without being recorded is detected, and such a run is not replayed.
"""

from __future__ import annotations

import functools
import operator
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.context import context
from ..core.size import Size
from ..core.tensor import Tensor
from ..runtime.forks import waits_for
from ..runtime.interrupts import uninterrupted
from ..runtime.support.objects import set_class, sets_classes
from .arrays import is_runtime_array
from .kinds import STATIC
from .known import global_generators, is_quiet, state_of
from .scalars import Hidden, RuntimeNumber
from .substitutes import register

if TYPE_CHECKING:
    from .recorder import Recorder


class Draw:
    """A generator's method, for replays to call. ``before`` is the previous draw, which gives an order."""

    __slots__ = ("generator", "keywords", "method")

    def __init__(self, generator: Any, method: Callable[..., Any], keywords: tuple[str, ...] = ()):
        self.generator, self.method, self.keywords = generator, method, keywords

    def __eq__(self, other: object) -> bool:
        alike = isinstance(other, Draw) and (self.method, self.keywords) == (other.method, other.keywords)
        return alike and self.generator is other.generator  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((id(self.generator), self.method, self.keywords))

    def __call__(self, before: Any, *args: Any) -> Any:
        n = len(args) - len(self.keywords)
        return self.method(self.generator, *args[:n], **dict(zip(self.keywords, args[n:], strict=True)))


class Generators:
    """The generators that a run may draw from, and their states after the recorded draws."""

    def __init__(self, found: Iterable[Any] = ()):
        _prepare()
        self._states = {id(g): (g, state_of(g)) for g in (*global_generators(), *found)}
        self._classes: list[tuple[Any, type]] = []
        self.is_inside = False  # inside a recorded method, or a comparison of states

    def begin(self) -> None:
        """Starts recording the methods of these generators."""
        for g, _ in self._states.values():
            if sets_classes and type(g) in _RECORDING:
                self._classes.append((g, type(g)))
                set_class(g, _RECORDING[type(g)])

    def end(self) -> None:
        for g, cls in self._classes:
            set_class(g, cls)
        self._classes.clear()

    @property
    def all(self) -> list[Any]:
        return [g for g, _ in self._states.values()]

    @property
    def states(self) -> Iterable[tuple[Any, Any]]:
        """The generators with their states after the recorded draws."""
        return self._states.values()

    def differs(self) -> str:
        """A description of a generator that was used in another way; empty if there is none."""
        for g, state in self._states.values():
            if self._state(g) != state:
                return f"it draws random numbers from a {type(g).__module__}.{type(g).__qualname__}"
        return ""

    def draw(self, recorder: Recorder, generator: Any, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The result of a generator's method in the run."""
        known = self._states.get(id(generator))
        if known is None or self.is_inside:
            return method(generator, *args, **kwargs)
        if self._state(generator) != known[1]:
            recorder.give_up(f"draws random numbers from a {type(generator).__qualname__}, and not all of its draws are seen")
            return method(generator, *args, **kwargs)
        self.is_inside = True
        try:
            return _LOWERED.get(method, _as_it_is)(_Drawn(recorder, generator, method), *args, **kwargs)
        finally:
            self.is_inside = False
            self._states[id(generator)] = generator, self._state(generator)

    def _state(self, generator: Any) -> Any:
        before, self.is_inside = self.is_inside, True
        try:
            return state_of(generator)
        finally:
            self.is_inside = before


class _Drawn:
    """One call of a generator's method in a run."""

    def __init__(self, recorder: Recorder, generator: Any, method: Callable[..., Any]):
        self.recorder, self.generator, self.method = recorder, generator, method

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The method's result: dynamic numbers, lists of them, or an array of the run."""
        recorder = self.recorder
        try:
            if "out" in kwargs:
                raise TypeError("an array to write to")
            fixed = [_fixed(x) for x in (*args, *kwargs.values())]
        except TypeError as e:
            recorder.give_up(f"draws random numbers with {e}")
            return self.method(self.generator, *args, **kwargs)
        draw = Draw(self.generator, self.method, tuple(kwargs))
        value = draw(None, *[x._value if isinstance(x, RuntimeNumber) else x for x in fixed])
        if context.recorder is not recorder:
            return value
        return recorder.called(draw, fixed, value)

    def order(self, n: int, *args: Any, **kwargs: Any) -> Hidden:
        """The result of the method on the list of the first ``n`` numbers, which it shuffles or chooses from."""
        return self.call(list(range(n)), *args, **kwargs)  # type: ignore[no-any-return]


def _fixed(x: Any) -> Any:
    """An argument for replays: a dynamic number, or a constant. Raises TypeError for others."""
    if isinstance(x, RuntimeNumber):
        return x
    if is_runtime_array(x) or isinstance(x, np.ndarray):
        return np.array(x.pinned() if is_runtime_array(x) else x)
    if isinstance(x, Tensor):
        return np.array(x.detach().numpy())
    if isinstance(x, (*STATIC, np.generic, np.dtype, type)):
        return x
    if isinstance(x, Size):
        return tuple(x)
    if type(x) in (list, tuple):
        return type(x)([item.pinned() if isinstance(item, RuntimeNumber) else _fixed(item) for item in x])
    raise TypeError(f"an argument of type {type(x).__name__}")


def _as_it_is(drawn: _Drawn, *args: Any, **kwargs: Any) -> Any:
    return drawn.call(*args, **kwargs)


# Draws that depend only on the lengths of sequences are drawn as positions.


def _choice(drawn: _Drawn, seq: Any) -> Any:
    if not len(seq):
        return drawn.method(drawn.generator, seq)
    return _items(drawn, seq, [drawn.call(range(len(seq)))])[0]


def _choices(drawn: _Drawn, population: Any, weights: Any = None, *, cum_weights: Any = None, k: int = 1) -> Any:
    options = {name: x for name, x in (("weights", weights), ("cum_weights", cum_weights)) if x is not None}
    return _items(drawn, population, drawn.call(range(len(population)), **options, k=_int(k)))


def _sample(drawn: _Drawn, population: Any, k: Any, *, counts: Any = None) -> Any:
    if counts is not None or not isinstance(population, (list, tuple, range, str)):
        return drawn.call(population, k, **({} if counts is None else {"counts": counts}))
    return _items(drawn, population, drawn.call(range(len(population)), _int(k)))


def _shuffle(drawn: _Drawn, x: Any) -> None:
    recorder, generator = drawn.recorder, drawn.generator
    if type(x) is not list:
        instead = "write x = np.random.permutation(x)" if isinstance(x, np.ndarray) else "shuffle a list, or positions in it"
        recorder.give_up(f"shuffles a {type(x).__name__} in place ({instead})")
        drawn.method(generator, x)
        return
    order: list[Any] = _Drawn(recorder, generator, _SHUFFLED[drawn.method]).call(len(x))
    x[:] = _items(drawn, list(x), order)


def _int(k: Any) -> Any:
    return k.pinned() if isinstance(k, RuntimeNumber) else k


def _items(drawn: _Drawn, items: Any, positions: Sequence[Any]) -> list[Any]:
    """The items at drawn positions: dynamic numbers, if all items are floats, or ints; otherwise the positions are observed."""
    floats = drawn.recorder.floats
    if type(items) in (list, tuple) and {x.__class__ for x in items} in ({int}, {float}):
        numbers = any(isinstance(x, RuntimeNumber) for x in items)
        items = floats.hidden(_listed, items) if numbers and floats.recording else tuple(items)
    elif type(items) is not range:
        return [items[_int(i)] for i in positions]
    return [floats.apply(operator.getitem, (items, i)) for i in positions]


def _listed(*items: Any) -> tuple[Any, ...]:
    return items


def _shuffled(method: Callable[..., Any]) -> Callable[..., Any]:
    def order(generator: Any, n: int) -> list[int]:
        found = list(range(n))
        method(generator, found)
        return found

    return order


_LOWERED: dict[Any, Callable[..., Any]] = {
    random.Random.choice: _choice,
    random.Random.choices: _choices,
    random.Random.sample: _sample,
}
_SHUFFLED: dict[Any, Callable[..., Any]] = {}  # methods that shuffle

# Classes with recorded methods.

_OF_STATE = frozenset({"getstate", "setstate", "get_state", "set_state", "spawn", "bit_generator", "_bit_generator"})


def _recorded(method: Callable[..., Any]) -> Callable[..., Any]:
    def drawing(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = context.recorder
        if recorder is None:
            return method(self, *args, **kwargs)
        return recorder.generators.draw(recorder, self, method, args, kwargs)

    return drawing


def _of_state(name: str, base: type) -> property:
    def state(self: Any) -> Any:
        _reads_state(self, name)
        return getattr(super(_RECORDING[base], self), name)

    return property(state)


def _reads_state(generator: Any, name: str) -> None:
    recorder = context.recorder
    if recorder is not None and not recorder.generators.is_inside:
        recorder.give_up(f"uses {name} of a random generator")


def _methods(base: type) -> dict[str, Callable[..., Any]]:
    """The methods that draw, or seed, by name."""
    found = {name: getattr(base, name) for name in dir(base) if name[0] != "_" and name not in _OF_STATE}
    return {name: f for name, f in found.items() if callable(f) and name != "VERSION"}


def _recording(base: type) -> type:
    methods = {name: _recorded(f) for name, f in _methods(base).items()}
    state = {name: _of_state(name, base) for name in _OF_STATE if hasattr(base, name)}
    copied = {name: _of_state(name, base) for name in ("__reduce__", "__getstate__") if hasattr(base, name)}
    shown = property(lambda self: base)
    return type(base.__name__, (base,), {**methods, **state, **copied, "__slots__": (), "__class__": shown})


_RECORDING: dict[type, type] = {}


def _of_global(generator: Any, method: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def drawing(*args: Any, **kwargs: Any) -> Any:
        recorder = context.recorder
        if recorder is None:
            return original(*args, **kwargs)
        return recorder.generators.draw(recorder, generator, method, args, kwargs)

    return drawing


def _of_global_state(original: Callable[..., Any], generator: Any, name: str) -> Callable[..., Any]:
    def state(*args: Any, **kwargs: Any) -> Any:
        _reads_state(generator, name)
        return original(*args, **kwargs)

    return state


_importing = threading.Lock()
waits_for(_importing)  # an import that a fork interrupts never ends in the child


@functools.cache
@uninterrupted
def _prepare() -> None:
    """Creates the classes, and the substitutes of module functions, on first use."""
    with _importing:
        import numpy.random  # noqa: F401
    for base in (random.Random, np.random.Generator, np.random.RandomState):
        _LOWERED[base.shuffle], _SHUFFLED[base.shuffle] = _shuffle, _shuffled(base.shuffle)
    _RECORDING.update((base, _recording(base)) for base in (random.Random, np.random.Generator, np.random.RandomState))
    for module, generator in zip((random, np.random), global_generators(), strict=True):
        methods = _methods(type(generator))
        aliases = {"ranf": "random_sample", "sample": "random_sample"} if module is np.random else {}
        for name, original in list(vars(module).items()):
            method = methods.get(aliases.get(name, name))
            if method is not None and callable(original) and not isinstance(original, type):
                register(module, name, _of_global(generator, method, original))
            elif name in _OF_STATE:
                register(module, name, _of_global_state(original, generator, name))


# Clocks.


def _of_clock(original: Callable[[], Any]) -> Callable[[], Any]:
    def read(before: Any) -> Any:
        return original()

    def clock() -> Any:
        recorder = context.recorder
        value = original()
        if recorder is None or not recorder.captures_output:
            return value
        if is_quiet(sys._getframe(1).f_globals.get("__name__")):  # the logging library reads the clock for its records
            return value
        return recorder.reads_clock(read, value)

    return clock


for _name in ("time", "perf_counter", "monotonic", "process_time", "thread_time"):
    for _clock in (_name, f"{_name}_ns"):
        register(time, _clock, _of_clock(getattr(time, _clock)))


# Replays.


class kept_unless_complete:
    """Restores the generators if the block raises an exception."""

    __slots__ = ("_before",)

    def __init__(self, generators: Sequence[Any]):
        self._before = [(g, _state_to_set(g)) for g in generators]

    def __enter__(self) -> None: ...

    def __exit__(self, error: Any, *_: Any) -> None:
        if error is not None:
            self.restore()

    def restore(self) -> None:
        """Restores the generators."""
        for g, state in self._before:
            if isinstance(g, random.Random):
                g.setstate(state)
            elif isinstance(g, np.random.RandomState):
                g.set_state(state)
            else:
                g.bit_generator.state = state


def _state_to_set(g: Any) -> Any:
    if isinstance(g, random.Random):
        return g.getstate()
    return g.get_state(legacy=False) if isinstance(g, np.random.RandomState) else g.bit_generator.state
