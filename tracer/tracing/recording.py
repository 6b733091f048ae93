"""One eager run of a function while a recorder is active."""

from __future__ import annotations

import collections
import contextlib
import enum
import gc
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..autograd.hooks import RemovableHandle
from ..autograd.node import latest_sequence
from ..core.context import context
from ..core.tensor import Tensor
from ..ir.interp import using
from ..ir.pipeline import collector_paused
from ..runtime.forks import waits_for
from ..runtime.interrupts import gated
from .announce import Announcing
from .arrays import RuntimeArray
from .calls import FLATTENED, Call
from .callsites import CallSites
from .depth import room
from .draws import Generators
from .effects import Before, fields, put
from .escape import plain, release
from .exact import give_exact, needs_exact
from .guards import Environment
from .kinds import CONTENTS, GROWTH, MISSING, contained, is_described, is_static
from .known import is_library, root_of, state_of
from .recorder import Recorder
from .scalars import Argument, RuntimeNumber, Whole, is_number
from .sources import Source
from .substitutes import complete, substitute_for, substituted
from .watch import Ran, Watch

_turn = threading.Lock()  # held while a thread records
waits_for(_turn, lambda: context.recording)


def is_under_way() -> bool:
    """True if a thread records."""
    return _turn.locked()


class Recording:
    """A run of a function in which numbers among the arguments, and in slots, are dynamic numbers.

    It changes objects that the function reaches, and restores them: it is used in a ``with`` block, in which signal
    handlers run only while the function itself does, and the garbage collector does not run.

    is_alone  whether it may run: one thread records at a time
    before    the contents of everything that the run can change
    """

    is_alone = False

    def __init__(self, name: str, call: Call):
        self.generators = Generators([*call.generators, *(g for e in call.environments for g in e.generators)])
        self._states = list(self.generators.states)
        complete()
        self.recorder = Recorder(name, generators=self.generators)
        self.call = call
        self.before = Before()
        self._caches: list[tuple[Any, int]] = []
        self._unvisited: set[str] = set()
        self._is_whole = True
        self.watch = Watch(self.generators)
        self.watch.ran = call.environments[0].ran
        self.needed_exact = False  # whether code ran for the first time that accepts no dynamic numbers
        self.recorder.apart = self.watch.apart
        self.recorder.roots.look_at(call)
        same = call.same
        for i, t in enumerate(call.tensors):
            if i in same:  # the other one stands for both
                self.recorder.alike.add(self.recorder, t, Source("argument", i))
            elif not self.recorder.knows(t):
                self.recorder.input(t, Source("argument", i))
        self.recorder.array_arguments = list(call.arrays.values())
        self._signals, self._collector = gated(apart), collector_paused()  # no part of the graph is garbage

    def __enter__(self) -> Recording:
        self._gate = self._signals.__enter__()
        self._collector.__enter__()
        self.is_alone = _turn.acquire(blocking=False)
        return self

    def __exit__(self, *error: Any) -> None:
        if self.is_alone:
            _turn.release()
        self._collector.__exit__(None, None, None)
        self._signals.__exit__(*error)

    def run(self, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """The function's result, possibly with dynamic numbers."""
        sites, functions = CallSites(), list[types.FunctionType]()
        for environment in self.call.environments:
            walk = environment.latest_walk()
            self.before.look_at(walk, environment)
            functions += walk.functions
            self._unvisited |= walk.unvisited
            self._is_whole = self._is_whole and walk.is_whole
            self._caches += [(f, f.cache_info().misses) for f in walk.caches]
        self.before.look_at_arguments(self.call)
        numbers = _Numbers(self.recorder, self.call, self.before)
        try:
            with room():
                new_args, new_kwargs = numbers.put(args, kwargs)
            del numbers
            if not self.recorder.plain_numbers:
                self.before.put_rates(self.recorder)
            self.before.put_substitutes(not self.recorder.plain_numbers)
            self.before.cover()
            self.before.track()
            sites.begin(functions, [f for f, _ in self._caches])
            context.recorder, context.recording = self.recorder, True
            if self.watch.ran.codes and not self.recorder.plain_numbers:
                self.watch.met = self._met
            with substituted(), self.watch.watching():
                with self._gate.open:
                    result = function(*new_args, **new_kwargs)
                self.recorder.floats.formats.settle()
            if latest_sequence() != self.recorder.start:
                gc.collect(0)  # cycles of nodes that the run has left, before something refers to tensors in them
            return result
        except BaseException as e:
            self.recorder.reason = self.recorder.reason or "it raised an exception"
            new_args, new_kwargs = (), {}
            self.before.take_out()
            e.args = self.settle(e.args)
            raise
        finally:
            context.recorder, context.recording = None, False
            self.watch.met = None
            self.recorder.counts.release()
            sites.end()
            self.before.take_out()

    def _met(self, code: types.CodeType, frame: types.FrameType) -> None:
        """Code runs for the first time."""
        if needs_exact(code, frame.f_globals):
            self.needed_exact, self.watch.met = True, None
            self.before.take_out()
            give_exact(self.recorder, frame)

    @contextlib.contextmanager
    def excusing(self, report: Callable[[str], object]) -> Iterator[None]:
        """Reports a TypeError of a run with dynamic numbers or arrays, perhaps of C code that accepts none. It is not
        raised if what the run has changed could be taken back.
        """
        try:
            yield
        except TypeError as e:
            if not self.recorder.floats.made:
                raise
            report(f"it raised {e!r} for what stands for its numbers or arrays")
            if not self._undone():
                raise

    def _undone(self) -> bool:
        r = self.recorder
        if self.watch.refusal or r.written or r.grads_written or r.assigned.all or r.flags or r.prints:
            return False
        if any(state_of(g) != state for g, state in self._states):
            return False
        if any(c.key is GROWTH for c in self.before.changes()):
            return False
        self.before.undo()
        return True

    def ran_elsewhere(self, ran: Ran) -> bool:
        """True if code has run, other than known one, that the walk had left out: what it changes is not known."""
        new = [space for code, space in self.watch.codes if code not in ran]
        return any(not self._is_whole or root_of(space.get("__name__")) in self._unvisited for space in new)

    def filled_caches(self) -> bool:
        """True if functions have cached results of the run: the next one finds these."""
        return any(f.cache_info().misses != misses for f, misses in self._caches)

    def settle(self, result: Any) -> Any:
        """The result with plain numbers; dynamic numbers that were stored become plain ones too."""
        seen: dict[int, tuple[Any, Any]] = {}
        result = plain(result, seen)
        for change in self.before.changes():
            new = plain(change.new, seen)
            if change.key is CONTENTS or change.key is GROWTH:
                plain(change.holder, seen)
            elif new is not change.new:
                put(change.holder, change.key, new)
            change.new = new
        self.recorder.hosts.clear()
        self.recorder.elements.clear()
        seen.clear()
        release(self.recorder.floats)
        return result


class _Numbers:
    """Inserts dynamic numbers for a call's numbers, in the order of ``Call``."""

    def __init__(self, recorder: Recorder, call: Call, before: Before):
        self.call, self.before, program = call, before, recorder.floats
        self.arrays = {at: RuntimeArray(recorder, t, t._data, t) for at, t in call.arrays.items()}
        self.floats = iter([program.root(Argument(i), x) for i, x in enumerate(call.floats)])
        whole = [program.root(Whole(i), x) if i in call.promoted else x for i, x in enumerate(call.ints)]
        self.ints: Iterator[Any] = iter(whole)
        self.seen: set[int] = set()
        self.environments: list[Environment] = [call.environments[0]]

    def put(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The arguments to run the function with."""
        new_args = tuple(map(self._put, args))
        new_kwargs = {name: self._put(x) for name, x in kwargs.items()}
        self._put_slots(self.environments[0])
        self.floats = self.ints = iter(())  # an unfinished iterator holds its last result
        self.arrays.clear()
        return new_args, new_kwargs

    def _put(self, x: Any) -> Any:
        """The replacement of ``x``: itself, a dynamic number, or a tuple with such numbers."""
        root = self.environments[0]
        if issubclass(type(x), RuntimeNumber):  # a slot of two environments
            next(self.ints if isinstance(x._value, (int, np.integer)) else self.floats)
            return x
        if type(x) is float and not root.asks_types:
            return next(self.floats)
        if type(x) is int and not root.asks_types:
            return next(self.ints)
        if isinstance(x, np.number) and not root.asks_types and is_number(x):
            return next(self.ints if isinstance(x, np.integer) else self.floats)
        if id(x) in self.arrays:
            return self.arrays[id(x)]
        if type(x) is types.BuiltinFunctionType and not root.asks_types:
            return substitute_for(x) or x
        if is_static(x) or isinstance(x, (Tensor, RemovableHandle)):
            return x
        if type(x) is tuple or (isinstance(x, tuple) and hasattr(x, "_fields")):
            held = contained(x)
            new = [self._put(item) for item in held]
            if all(a is b for a, b in zip(new, held, strict=True)):
                return x
            return type(x)(*new) if hasattr(x, "_fields") else tuple(new)
        if isinstance(x, Announcing):
            self._put_environment(x)
        elif isinstance(x, enum.Enum):
            self._put_environment(type(x))
        elif isinstance(x, FLATTENED) or is_described(type(x)):
            self._put_into(x)
        return x

    def _put_into(self, x: Any) -> None:
        if any(x is known for known in self.call.growing) or id(x) in self.seen or id(x) in self.environments[0].reached:
            return
        self.seen.add(id(x))
        if type(x) not in (list, dict) and not is_library(type(x).__module__):
            self._put_environment(type(x))
        if isinstance(x, FLATTENED):
            self._put_items(x)
        if type(x) not in (list, dict) and hasattr(x, "__dict__"):
            self._put_into(vars(x))
        if not isinstance(x, FLATTENED):
            self._put_fields(x)

    def _put_items(self, x: Any) -> None:
        if isinstance(x, collections.defaultdict):
            self._put(x.default_factory)
        self._put_fields(x)

    def _put_fields(self, x: Any) -> None:
        for key, value in enumerate(contained(x)) if isinstance(x, collections.deque) else fields(x):
            if value is not MISSING:
                new = self._put(value)
                if new is not value:
                    self.before.put(x, key, new)

    def _put_environment(self, x: Any) -> None:
        environment = self.environments[0].of(x)
        if environment not in self.environments:
            self.environments.append(environment)
            self._put_slots(environment)

    def _put_slots(self, environment: Environment) -> None:
        for slot in environment.slots:
            value = slot.get()
            if slot.key is GROWTH:
                continue
            if slot.key is CONTENTS:
                if id(value) not in self.seen and isinstance(value, FLATTENED):
                    self.seen.add(id(value))
                    self._put_items(value)
            elif value is not MISSING:
                new = self._put(value)
                if new is not value:
                    self.before.put(slot.holder, slot.key, new)


def apart(handler: Callable[..., Any], number: int, frame: Any) -> None:
    """Calls a signal handler. Its actions are neither recorded nor compiled."""
    recorder = context.recorder
    try:
        context.recorder = None
        with using(None):
            handler(number, frame)
    finally:
        context.recorder = recorder if recorder is not None and not recorder.reason else None


@contextlib.contextmanager
def signals_apart() -> Iterator[None]:
    """In this block signal handlers' actions are not compiled."""
    with gated(apart) as gate, gate.open:
        yield
