"""A run's result, and how a replay recreates it.

Tensors are the graph's outputs, its inputs, or views of either. Objects that the run created are recreated from their class
and contents, without calling their methods. Existing objects are found by the walk of the surroundings. Immutable values
are returned unchanged.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import re
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.hooks import OF_LEAVES, RemovableHandle, Retain
from ..autograd.modes import unfollowed
from ..autograd.node import BackwardNode, FreedNode, was_freed
from ..core.context import context
from ..core.device import device
from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.graph import Value
from .apart import Plan, Whole, take_apart
from .arrays import is_runtime_array
from .ending import Build, Run
from .kinds import MISSING, OF_A_TENSOR, STATIC, Wrapper
from .recorder import Recorder
from .scalars import RuntimeNumber
from .substitutes import original

if TYPE_CHECKING:
    from .calls import Call
    from .guards import Environment

IMMUTABLE = (
    *STATIC,
    np.generic,
    np.dtype,
    np.ufunc,
    types.BuiltinFunctionType,
    types.EllipsisType,
    types.NotImplementedType,
    types.ModuleType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GenericAlias,
    decimal.Decimal,
    fractions.Fraction,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    enum.Enum,
    pathlib.PurePath,
    re.Pattern,
    device,
    type(MISSING),
)
_DEEP = 100  # nested objects


class Unreplayable(Exception):
    """Why a replay would not do what the run did."""


@dataclass
class _Object:
    """An object to create: how, from which parts, and its number of occurrences in the result."""

    plan: Plan
    parts: list[Any]
    places: int = 1


class Results:
    """Determines how a replay finds the objects that a run leaves behind; collects the graph's outputs for them.

    outputs   the graph's outputs; ``tensors``: the corresponding tensors of the run
    leaves    the tensors of the result, once for each occurrence
    """

    def __init__(self, recorder: Recorder, call: Call):
        self.recorder = recorder
        self.environments = call.environments
        self.given = {id(x): i for i, x in enumerate(call.objects)}
        # The ids of objects that something outside refers to.
        self.held = {*call.held, *self.given, *(i for e in call.environments for i in e.reached)}
        self.outputs: list[Value] = []
        self.tensors: list[Tensor] = []
        self.leaves: list[Tensor] = []
        self.of_arrays: list[Tensor] = []  # the tensors of the arrays in the result
        self._places: dict[int, Build] = {}
        self._hidden: dict[int, Build] = {}  # tensors of which only the memory exists
        self._numbers: dict[int, int] = {}  # of outputs, by the ids of their tensors
        self._objects: dict[int, _Object] = {}  # the objects to create, by id
        self._entered: dict[Value, int] = {}
        self._depth = 0

    def describe(self, found: Sequence[Any]) -> list[Build]:
        """How all objects found after a run are built from a replay's outputs."""
        for x in found:
            self._count(x)
        builds = [self._describe(x) for x in found]
        for known in self._objects.values():
            known.parts = []  # references to them are counted next
        return builds

    def _count(self, x: Any) -> None:
        """Takes the objects of a result apart, and counts their occurrences."""
        work = [x]
        while work:
            x = original(work.pop())
            if isinstance(x, Tensor):
                work += self._attributes(x).values()
            if isinstance(x, (Tensor, RuntimeNumber, type, np.ndarray)) or _is_immutable(x):
                continue
            if id(x) in self.held or _is_importable(x):
                continue
            if self._is_found_apart(x):
                continue
            if id(x) in self._objects:
                self._objects[id(x)].places += 1
                continue
            try:
                plan, parts = take_apart(x)
            except Whole as e:
                raise Unreplayable(f"it returns {e}, which a replay cannot make again: return what is in it") from None
            self._objects[id(x)] = _Object(plan, parts)
            work += parts

    def _is_found_apart(self, x: Any) -> bool:
        """True if replays find an object of the run in a special way."""
        if isinstance(x, types.CellType):
            return self._cell(x) is not None
        return isinstance(x, BackwardNode) or (isinstance(x, RemovableHandle) and self.recorder.hooks.number(x) is not None)

    def _describe(self, x: Any) -> Build:
        x = original(x)
        if isinstance(x, Tensor):
            self.leaves.append(x)
            return self._place(x)
        if isinstance(x, RuntimeNumber):
            index = x._index
            return Build(lambda run: run.values[index], lambda writer: writer.value(index))
        if is_runtime_array(x):
            place = self._place(x._tensor)
            self.of_arrays.append(x._tensor)
            if any(x._tensor is t for t in self.recorder.array_arguments):
                return Build(lambda run: place.make(run)._data, lambda writer: f"{place.write(writer)}._data")
            return Build(lambda run: place.make(run)._data.view(), lambda writer: f"{place.write(writer)}._data.view()")
        if _is_immutable(x):
            return Build(lambda run: x, lambda writer: writer.literal(x))
        if isinstance(x, RemovableHandle) and (number := self.recorder.hooks.number(x)) is not None:
            return Build(lambda run: run.handles[number])
        if isinstance(x, BackwardNode):
            return self._node(x)
        if isinstance(x, types.CellType) and (cell := self._cell(x)) is not None:
            return cell
        if id(x) in self.held:
            return self._found(x)
        if type(x) is tuple and all(_is_immutable(item) and not isinstance(item, RuntimeNumber) for item in x):
            return Build(lambda run: x, lambda writer: writer.constant(x))
        if _is_importable(x):
            return Build(lambda run: x, lambda writer: writer.constant(x))
        if isinstance(x, type):
            raise Unreplayable(f"it returns the class {x.__name__}, which it made: define the class outside")
        if isinstance(x, np.ndarray):
            return self._array(x)
        self._depth += 1
        try:
            if self._depth > _DEEP:
                raise Unreplayable(f"it returns objects that are nested more than {_DEEP} deep: return a list of them")
            return self._made(x)
        finally:
            self._depth -= 1

    def _made(self, x: Any) -> Build:
        """An object that the run created."""
        known, key = self._objects[id(x)], id(x)
        if key in self._places:
            return self._places[key]
        if known.places == 1 and not isinstance(x, types.CellType):
            builds = [self._describe(part) for part in known.parts]
            if type(x) is tuple:
                return Build(lambda run: tuple([b.make(run) for b in builds]), lambda writer: f"({_written(builds, writer)},)")
            if type(x) is list:
                return Build(lambda run: [b.make(run) for b in builds], lambda writer: f"[{_written(builds, writer)}]")
            make = known.plan.make
            return Build(
                lambda run: make([b.make(run) for b in builds]),
                lambda writer: f"{writer.constant(make)}([{_written(builds, writer)}])",
            )
        # It occurs several times, perhaps in itself: it is created once, and empty at first if possible.
        several: list[Build] = []
        self._places[key] = _made_once(key, known.plan, several)
        several += [self._describe(part) for part in known.parts]
        return self._places[key]

    def _found(self, x: Any) -> Build:
        """An object that existed before the call."""
        index = self.given.get(id(x))
        if index is not None:
            return Build(lambda run: run.call.objects[index], lambda writer: writer.object(index))
        for environment in self.environments:
            number = environment.reached.get(id(x))
            if number is not None and environment.find(number) is x:
                return _at(environment, number)
        else:
            raise Unreplayable(f"it returns a {type(x).__name__} that it was given: the caller has it, return what is new")

    def _cell(self, x: types.CellType) -> Build | None:
        """A closure variable of a function that was there before the call."""
        if id(x) not in self._cells:
            return None
        function, i = self._cells[id(x)]
        found = self._found(function)
        return Build(lambda run: found.make(run).__closure__[i])

    @functools.cached_property
    def _cells(self) -> dict[int, tuple[types.FunctionType, int]]:
        """The closure variables of such functions, by id."""
        functions = [f for environment in self.environments for f in environment.latest_walk().functions]
        return {id(cell): (f, i) for f in functions for i, cell in enumerate(f.__closure__ or ())}

    def _node(self, x: BackwardNode) -> Build:
        """A node of the dynamic graph."""
        if x in self.recorder.hooks.entered:
            tensor = self.entered(self.recorder.hooks.entered[x])
            return Build(lambda run: tensor.make(run)._grad_fn)
        raise Unreplayable("it returns a node of the graph: return the tensor")

    def entered(self, v: Value) -> Build:
        """The tensor that an operation with a separate graph node has made."""
        k = self._entered.setdefault(v, len(self._entered))
        return Build(lambda run: run.entered[k])

    @property
    def entered_values(self) -> list[Value]:
        return list(self._entered)

    def tensor(self, t: Tensor) -> Build | None:
        """A tensor that a hook is on; None if it is no part of what the run leaves behind."""
        return self._places.get(id(t)) if self.recorder.is_new(t) else self._place(t)

    def retaining(self, t: Tensor | None) -> Build | None:
        """The hook that keeps a tensor's gradient; None if the tensor is no part of what the run leaves behind."""
        place = None if t is None else self._places.get(id(t))
        if t is None or place is None:
            return None
        if not self.recorder.hooks.gives(t._grad_fn, self.recorder.value(t)):
            raise Unreplayable("it keeps the gradient of a tensor that it changes in place: return a clone")
        return Build(lambda run: Retain(place.make(run)))

    def _array(self, x: np.ndarray) -> Build:
        if type(x) is not np.ndarray or x.dtype.hasobject or not x.flags.owndata or self.recorder.has_array(x):
            raise Unreplayable("it returns a NumPy array that shows a tensor's memory: return the tensor")
        return Build(lambda run: x.copy(order="K"), lambda writer: f"{writer.constant(x)}.copy(order='K')")

    def gradient(self, t: Tensor) -> Build:
        """How a replay sets ``t.grad``."""
        return Build(lambda run: None, lambda writer: "None") if t._grad is None else self._place(t._grad)

    def _place(self, t: Tensor) -> Build:
        """How the replay's tensor that corresponds to ``t`` is found."""
        if id(t) not in self._places:
            found = self._find(t)
            self._places[id(t)] = _of_inference(found) if t._inference and not context.inference else found
            own = {name: self._describe(value) for name, value in self._attributes(t).items()}
            if t._grad is not None and self.recorder.is_new(t):
                own["_grad"] = self._place(t._grad)
            if own:
                self._places[id(t)] = _with_attributes(id(t), self._places[id(t)], own)
        return self._places[id(t)]

    def memory(self, t: Tensor) -> Build:
        """How a tensor on the same memory is found; it is not visible outside."""
        if id(t) in self._places or not self.recorder.is_new(t):
            return self._place(t)
        if id(t) not in self._hidden:
            self._hidden[id(t)] = self._view(t, True) if t._view is not None else self._output(t, wrap(t._data))
        return self._hidden[id(t)]

    def fresh(self, t: Tensor) -> Build:
        """A tensor with the final elements of ``t``, in separate memory."""
        return self._output(t, wrap(t._data))

    def _attributes(self, t: Tensor) -> dict[str, Any]:
        """The attributes that the function has set on a tensor that it created."""
        if OF_A_TENSOR.issuperset(vars(t)) or not self.recorder.is_new(t):
            return {}
        return {name: value for name, value in vars(t).items() if name not in OF_A_TENSOR and name not in OF_LEAVES}

    def _find(self, t: Tensor) -> Build:
        if not self.recorder.knows(t) and t._view is None:
            self.recorder.value(t)  # a tensor not created in the run is an input
        for i, known in enumerate(self.recorder.inputs):
            if known is t:
                self.recorder.alike.fetched.add(i)
                return Build(lambda run: run.input(i), lambda writer: writer.fetch(i))
        if context.inference and not t._inference:
            raise Unreplayable("it returns a tensor made outside of the call's mode of inference")
        if self.recorder.hooks.gives(t._grad_fn, self.recorder.value(t)):
            if t._view is None and not t._data.flags.c_contiguous:
                raise Unreplayable("it registers a hook on a result whose memory is not contiguous: return t.contiguous()")
            k = self._new_output(t, t)
            self.outputs.append(self.recorder.value(t))
            return Build(lambda run: run.outputs[k])
        if t._view is not None:
            return self._view(t)
        if type(t) is not Tensor:
            raise Unreplayable(f"it returns a {type(t).__name__} it made")
        hidden = self._hidden.get(id(t))
        if hidden is not None:
            self.tensors[self._numbers[id(t)]] = t
            return hidden
        return self._output(t, t)

    def _output(self, t: Tensor, shown: Tensor) -> Build:
        """``t`` as an output of the graph; ``shown`` is the visible tensor."""
        k, value = self._new_output(t, shown), self.recorder.value(t)
        output = Build(lambda run: run.outputs[k], lambda writer: writer.output(k))
        if t._data.flags.c_contiguous:
            self.outputs.append(value)
            return output
        # Eager arithmetic keeps the memory order of axes; a program's results are contiguous.
        order = sorted(range(t.ndim), key=lambda d: -t._data.strides[d])
        self.outputs.append(self.recorder.build.bind(P.permute, [value], {"axes": tuple(order)}))
        back = tuple(map(order.index, range(t.ndim)))
        return _tensor_once((id(t), True), t._requires_grad, output, lambda whole: _in_order(whole, back))

    def _new_output(self, t: Tensor, shown: Tensor) -> int:
        k = self._numbers[id(t)] = len(self.outputs)
        self.tensors.append(shown)
        return k

    def _view(self, t: Tensor, hidden: bool = False) -> Build:
        """A view of a result or of an input shares its memory, so it is recreated from it."""
        if self.recorder.movings.refuse(t):
            raise Unreplayable("it returns a view at a computed index")
        parent, primitive, attrs = t._viewed()
        made = t._made
        if not hidden:
            if made is not None and parent.requires_grad and t._history != t._counter[0]:
                raise Unreplayable("it returns a view whose base was changed in place after the view was made")
            t._refresh()
        follows, counted = t._requires_grad and not hidden, t._counter is parent._counter
        freed = FreedNode(t._grad_fn.name()) if follows and t._grad_fn is not None and was_freed(t._grad_fn) else None
        follows = follows and freed is None
        if follows and (not primitive.differentiable or t._grad_fn is None or not parent.requires_grad):
            raise Unreplayable("it returns a view that requires gradients which cannot flow to its base")
        if follows and getattr(t._grad_fn, "primitive", None) is not primitive:
            raise Unreplayable("it returns a view whose derivative is that of an autograd.Function")
        base = self.memory(parent) if hidden or primitive is P.detach else self._place(parent)

        def view(parent: Tensor) -> Tensor:
            if primitive is P.detach:
                return parent.detach() if counted else parent.data
            out: Tensor = primitive(parent, **attrs)
            out._made = made
            if freed is not None:
                out._requires_grad, out._grad_fn = True, freed
            return out

        return _tensor_once((id(t), hidden), follows, base, view)


def _at(environment: Environment, number: int) -> Build:
    """An object in the surroundings."""
    return Build(lambda run: environment.find(number), lambda writer: f"{writer.constant(environment)}.find({number})")


def _is_immutable(x: Any) -> bool:
    """True for an object that is its value, the same in each call. A slice may hold dynamic numbers."""
    if type(x) is slice:
        return not any(isinstance(n, RuntimeNumber) for n in (x.start, x.stop, x.step))
    return isinstance(x, IMMUTABLE)


def _is_importable(x: Any) -> bool:
    """True for a class or function that is found by its name."""
    if not isinstance(x, (type, types.FunctionType, functools._lru_cache_wrapper, Wrapper)):
        return False
    found: Any = sys.modules.get(getattr(x, "__module__", None) or "")
    for part in getattr(x, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is x


def _tensor_once(key: Any, follows: bool, base: Build, view: Callable[[Tensor], Tensor]) -> Build:
    """A view of a tensor that is found by ``base``."""

    def make(parent: Tensor) -> Tensor:
        if follows:
            return view(parent)
        with unfollowed():
            return view(parent)

    def build(run: Run) -> Tensor:
        if key not in run.made:
            run.made[key] = make(base.make(run))
        return run.made[key]

    return Build(build, lambda writer: writer.once(key, lambda _: f"{writer.constant(make)}({base.write(writer)})"))


def _of_inference(build: Build) -> Build:
    """A tensor that a block of ``inference_mode`` inside the function makes."""

    def make(run: Run) -> Tensor:
        t: Tensor = build.make(run)
        t._inference = True
        return t

    return Build(make)


def _in_order(whole: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A tensor with other axes first, which is no view. It has the history of one, and its counter of changes."""
    t: Tensor = P.permute(whole, axes=axes)
    if not t._requires_grad:
        return wrap(t._data)
    t._view = t._made = None
    return t


def _with_attributes(key: int, build: Build, own: dict[str, Build]) -> Build:
    def make(run: Run) -> Tensor:
        t: Tensor = build.make(run)
        if key not in run.objects:
            run.objects[key] = t
            vars(t).update((name, value.make(run)) for name, value in own.items())
        return t

    return Build(make)


def _made_once(key: int, plan: Plan, builds: list[Build]) -> Build:
    def build(run: Run) -> Any:
        if key not in run.objects:
            if plan.new is None or plan.fill is None:
                made = plan.make([b.make(run) for b in builds])
                run.objects.setdefault(key, made)  # it may contain itself
            else:
                empty = run.objects[key] = plan.new()
                plan.fill(empty, [b.make(run) for b in builds])
        return run.objects[key]

    return Build(build)


def _written(builds: list[Build], writer: Any) -> str:
    return ", ".join([b.write(writer) for b in builds])
