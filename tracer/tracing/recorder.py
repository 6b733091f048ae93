"""Records eager operations in a graph.

Every tensor that the recorder meets has a value in the graph. A tensor that was not created during the recording is an
input, with a *source* that says where a replay finds it. The graph has no in-place changes: a changed tensor gets a new
value, its views are written through (``Primitive.put``) or read again, and at the end inputs whose value has changed become
updates of the graph.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.node import BackwardNode, latest_sequence
from ..core.context import context, structure_changed
from ..core.inplace import straightened
from ..core.printing import history, shows_elements
from ..core.tensor import Tensor, wrap
from ..core.views import LazyView
from ..ir import ops as P
from ..ir.graph import Value
from ..ir.interp import Build, using
from ..ir.ops.source import encode
from ..ir.primitive import Primitive
from ..ir.types import DType, TensorType, type_of
from .alike import Alike
from .applications import applies
from .arrays import RuntimeArray, is_input, is_kept
from .assigned import Assignments
from .cotangents import Cotangents
from .counts import Counts
from .draws import Generators
from .following import Following
from .formats import Shown, Text
from .hooked import Hooks
from .moving import Movings, Place, Step
from .roots import Known, Roots
from .scalars import Array, Element, FloatProgram, Hidden, Item, RuntimeNumber, Whole, pinned
from .sources import Locations, Source
from .tape import Decision, Event, Gradient, Look, Moment, Needed, Seen

if TYPE_CHECKING:
    from .world import Written


_MANY_NUMBERS = 4096  # maximum length of a list of dynamic numbers


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that eager code calls: if building the graph fails, the recording ends, and the run continues."""

    @functools.wraps(method)
    def call(self: Recorder, *args: Any) -> Any:
        try:
            return method(self, *args)
        except Exception as e:
            self.fail(e)

    return call


@dataclass
class Recorder:
    """One recording. ``reason`` is set, with the place, if the run turns out not to be replayable.

    ``failure`` is the exception if building the graph failed.
    """

    name: str
    builder: Following = field(init=False)
    sources: list[Source] = field(default_factory=list)
    reason: str = ""
    failure: Exception | None = None
    floats: FloatProgram = field(default_factory=FloatProgram)
    plain_numbers: bool = False  # whether running code needs plain numbers
    apart: Callable[..., Any] = lambda function, *args: function(*args)  # calls a function unwatched
    generators: Generators = field(default_factory=Generators)

    def __post_init__(self) -> None:
        self.builder = Following(self.name)
        self.build = Build(self.builder)
        self.start = latest_sequence()  # nodes of the dynamic graph with smaller numbers are older than the run
        self.locations = Locations()
        self._known: dict[int, Known] = {}
        self.sensitive = self.builder.sensitive
        # ``fails``: an operation has failed for its values; it may succeed for others
        self.started, self.fails = perf_counter(), False
        self._by_array: dict[int, tuple[weakref.ref[np.ndarray], Value]] = {}
        self.inputs: list[Tensor] = []
        self.alike = Alike()
        self.written: dict[int, Tensor] = {}  # roots written in place
        self.arrays: Mapping[int, Tensor] = {}  # tensors on the reachable NumPy arrays, by the array's id
        self.array_arguments: list[Tensor] = []  # array arguments
        self.looked_at: list[Tensor] = []  # array arguments whose elements NumPy reads
        self.roots, self.movings, self.counts = Roots(), Movings(), Counts()
        self.epochs: dict[int, int] = {}
        self.assigned = Assignments()
        self.made: list[weakref.ref[Tensor]] = []  # tensors created while recording
        self.grads_read: dict[int, tuple[Tensor, Tensor | None]] = {}  # tensor, and its .grad at the start
        self.grads_written: dict[int, Tensor] = {}
        self.versions: list[int] = []  # of the inputs, at the start
        self.float_tensors: dict[int, Tensor] = {}
        self.hooks = Hooks(self.locations)
        self.hosts: dict[tuple[int, str], RuntimeNumber] = {}
        self.elements: dict[Value, RuntimeNumber] = {}
        self.events: list[Seen] = []
        self.flags: dict[int, tuple[Tensor, bool]] = {}  # tensors made outside, and whether they required gradients
        self.prints: list[Written] = []  # printed and logged text
        self.captures_output = True
        # Arrays on the memory of tensors: the array, that memory, and its contents.
        self._shown: dict[int, list[tuple[weakref.ref[np.ndarray], np.ndarray, np.ndarray]]] = {}

    # Inputs.

    def input(self, t: Tensor, source: Source, name: str = "") -> Value:
        v = self.builder.input(t.type_, name)
        self.sources.append(source)
        if t._requires_grad:
            self.sensitive.add(v)
        self.inputs.append(t)
        self.versions.append(t._counter[0])
        self.set(t, v)
        return v

    def owner(self, t: Tensor) -> Source:
        """The source of a tensor whose gradient is read or set."""
        for source, known in zip(self.sources, self.inputs, strict=True):
            if known is t:
                return source
        return Source("captured", holder=t)

    def float_operand(self, x: RuntimeNumber) -> Tensor:
        """A dynamic number as a zero-dimensional float64 tensor."""
        t = self.float_tensors.get(x._index)
        if t is None:
            t = self.float_tensors[x._index] = wrap(np.array(x._value, np.float64))
            if x._index in self.floats.late:
                self.event(Needed(x._index, self.locations.here()), None)
            self.input(t, Source("float", x._index))
        return t

    def array_of(self, numbers: Sequence[Any], dtype: DType, shape: tuple[int, ...]) -> Tensor:
        """Numbers, dynamic and others, as a tensor."""
        made = self.floats.hidden(Array(dtype, shape), numbers)  # type: ignore[arg-type]
        if made._index in self.floats.late:
            self.event(Needed(made._index, self.locations.here()), None)
        self.input(t := wrap(made._value), Source("array", made._index))
        return t

    def host_float(self, holder: Any, key: str, value: float) -> Any:
        """``holder[key]``, currently ``value``, as a dynamic number where these are allowed and the run has not created it."""
        return self.rate(holder, key, value).pinned() if self.plain_numbers else value

    def rate(self, holder: Any, key: str, value: float) -> RuntimeNumber:
        """The dynamic number for ``holder[key]``."""
        at = id(holder), key
        if at not in self.hosts:
            self.hosts[at] = self.floats.root(Item(holder, key), value)
        return self.hosts[at]

    # Recorded actions.

    @_guarded
    def record(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any], out: Tensor) -> None:
        self.builder.loc = self.locations.here(primitive.name)
        operands = [self._operand(a, out) if isinstance(a, Tensor) else pinned(a) for a in args]
        attrs = {name: pinned(x) for name, x in attrs.items()}
        v = self.build.bind_typed(primitive, operands, attrs, out.type_)
        self.made.append(self.set(out, v))
        if out._grad_fn is not None:
            self.hooks.nodes[id(out._grad_fn)] = weakref.ref(out._grad_fn), v

    @_guarded
    def bind(self, primitive: Primitive, operands: Sequence[Any], attrs: Mapping[str, Any], type: TensorType) -> Value:
        """The value of a computed result whose operands are values and numbers."""
        return self.build.bind_typed(primitive, operands, attrs, type)

    def _operand(self, a: Tensor, out: Tensor) -> Value:
        """The value of an operand; detached if only ``out`` has a gradient: ``a`` was made under ``no_grad``."""
        v, is_lost = self._value(a), out._requires_grad and not a._requires_grad
        return self.build.bind(P.detach, [v], {}) if is_lost and v in self.sensitive else v

    def _value(self, t: Tensor) -> Value:
        """The graph's value of a tensor's current state."""
        known = self._known.get(id(t))
        if known is None or known.tensor() is not t:
            return self.input(t, Source("captured", holder=t))
        if t._view is not None and known.epoch != self.epochs.get(id(self.roots.of(t)), 0) and not self.assigned.has_left(t):
            parent, primitive, attrs = t._viewed()
            base, moving = self._value(parent), self.movings.of(t)
            known.value = self.build.bind(primitive, [base], attrs) if moving is None else moving.read(self.build, base)
            known.epoch = self.epochs.get(id(self.roots.of(t)), 0)
        return known.value

    def knows(self, t: Tensor) -> bool:
        """True if it has met this tensor."""
        known = self._known.get(id(t))
        return known is not None and known.tensor() is t

    def set(self, t: Tensor, v: Value) -> weakref.ref[Tensor]:
        self._known[id(t)] = known = Known(weakref.ref(t), v, self.epochs.get(id(self.roots.of(t)), 0) if self.epochs else 0)
        if not isinstance(t, LazyView):  # whose elements are not stored
            self._by_array[id(t._data)] = weakref.ref(t._data), v
        return known.tensor

    def alive(self) -> list[Tensor]:
        """The tensors created by the run that still exist."""
        return [t for t in [made() for made in self.made] if t is not None]

    @_guarded
    def make(self, t: Tensor, v: Value) -> None:
        """Registers a tensor created by the run."""
        self.made.append(self.set(t, v))

    @_guarded
    def moves(self, t: Tensor, copy: Tensor, cut: Step | None, places: Sequence[Place]) -> None:
        """Registers ``t``, a view at computed positions, with the elements of ``copy``."""
        self.make(t, self._value(copy))
        self.movings.add(t, cut, [replace(place, at=self._value(place.at)) for place in places])

    @_guarded
    def identify(self, t: Tensor) -> None:
        """Registers ``t``, a new tensor on an array that some tensor of the run has or had."""
        self.make(t, self.value_of(t._data))

    @_guarded
    def value_of(self, data: np.ndarray) -> Value:
        """The value of an array that some tensor of the run has or had."""
        array, v = self._by_array[id(data)]
        assert array() is data
        return v

    def has_array(self, data: np.ndarray) -> bool:
        """True if some tensor of the run has or had this array."""
        known = self._by_array.get(id(data))
        return known is not None and known[0]() is data

    @_guarded
    def number(self, x: np.generic) -> Value:
        """A number as a zero-dimensional value."""
        return self.build.number(x.item(), type_of(x), ())

    def cotangents(self) -> Cotangents:
        """The form of a backward pass that begins now."""
        return Cotangents(self)

    @_guarded
    def snapshot(self, t: Tensor, copy: Tensor) -> None:
        """Registers ``copy``, a new tensor with the current value of ``t``."""
        self.make(copy, self.value(t))

    @_guarded
    def copies(self, t: Tensor, copy: Tensor) -> None:
        """Registers ``copy``, a new leaf with the value of ``t``; if ``t`` has a gradient, it is copied too."""
        v = self.value(t)
        self.alike.tell_apart(t)  # a tensor has one copy
        self.make(copy, self.build.bind(P.detach, [v], {}) if v in self.sensitive else v)
        if t._grad is not None or self.owner(t).kind != "grad":  # gradients have none, as a rule
            self.reads_grad(t)

    @_guarded
    def constant(self, t: Tensor) -> None:
        """Registers a tensor made from Python numbers."""
        self.builder.loc = self.locations.here()
        attrs: dict[str, Any] = {"shape": t._data.shape, "dtype": t.dtype.short}
        if t._data.ndim == 0:
            v = self.build.bind(P.full, (), {"value": t._data.item(), **attrs})
        else:
            v = self.build.bind(P.constant, (), {"data": encode(t._data), **attrs})
        self.make(t, v)

    @_guarded
    def update(self, t: Tensor, new: Tensor, followed: bool, before: bool, overwritten: bool) -> None:
        """``t`` has taken the values of ``new``; ``followed``: autograd records it; ``before``: it tracked the base of ``t``
        until then; ``overwritten``: ``new`` was not computed from ``t``.
        """
        if why := self.assigned.refuse(self, t, followed):
            self.give_up(why)
            return
        self.builder.loc = self.locations.here()
        v = self.value(new)
        if not new._requires_grad and v in self.sensitive:
            v = self.build.bind(P.detach, [v], {})
        root = self.roots.of(t)
        if overwritten and followed and before and t._data.size == root._data.size:
            # The gradient of the old elements is 0, as for overwritten elements.
            v = self.build.bind(P.unread, [v, self._known[id(t)].value], {})
            self.sensitive.add(v)
        epoch = self.epochs[id(root)] = self.epochs.get(id(root), 0) + 1
        chain: list[Any] = []
        view = t
        while view is not root:
            view, *step = view._viewed()
            chain.append(step)
        given = chain[::-1]
        steps = straightened(root._data, given)
        if (followed or steps is not given) and self.movings.refuse(t):
            self.give_up("changes a view at a computed index")
            return
        if steps is not given:  # views between them are read again
            self._known[id(t)] = Known(weakref.ref(t), v if followed else self._unfollowed(t, v), epoch)
            base = self._known[id(root)].value if self.knows(root) else self.value(root)
            followed = followed and all(primitive.differentiable for primitive, _ in chain)
            if followed and not before and base in self.sensitive:
                base = self.build.bind(P.detach, [base], {})
            v, t = self._written(base, steps, v), root
        while t is not root:
            # The value of the base, with the viewed elements replaced.
            parent, primitive, attrs = t._viewed()
            base = self._known[id(parent)].value if self.knows(parent) else self.value(parent)
            self._known[id(t)] = Known(weakref.ref(t), v if followed else self._unfollowed(t, v), epoch)
            if followed and not before and base in self.sensitive:
                base = self.build.bind(P.detach, [base], {})
            moving = self.movings.of(t)
            with using(self.build):
                assert primitive.put is not None
                v = primitive.put(base, v, base.type, **attrs) if moving is None else moving.write(self.build, base, v)
            t, followed = parent, followed and primitive.differentiable
        self.set(t, v if followed else self._unfollowed(t, v))
        self.assigned.wrote(self, root, v)
        if id(root) in self._shown:
            self.give_up("changes a tensor on whose memory there is a NumPy array")

    @_guarded
    def assigns(self, t: Tensor, value: Tensor) -> None:
        """``t`` is about to get the memory of ``value``."""
        before = self.value(t)
        has_gaps = id(t) in self.written and not t._data.flags.c_contiguous
        if t._view is not None or "_data" not in vars(t) or has_gaps or id(t) in self._shown:
            self.give_up("assigns to .data of a view, of a changed tensor with gaps, or of one that it has shown to NumPy")
            return
        v = self.value(value)
        if v in self.sensitive:
            v = self.build.bind(P.detach, [v], {})
        self._known[id(t)] = Known(weakref.ref(t), v, self.epochs.get(id(t), 0))
        self.assigned.add(t, value, before, id(t) in self.written)

    def _written(self, base: Value, steps: Sequence[Any], v: Value) -> Value:
        """The value of a view chain's base, with the chain's end replaced."""
        shown = [base]
        for primitive, attrs in steps:
            shown.append(self.build.bind(primitive, [shown[-1]], attrs))
        with using(self.build):
            for (primitive, attrs), part in zip(reversed(steps), shown[-2::-1], strict=True):
                v = primitive.put(part, v, part.type, **attrs)
        return v

    def _unfollowed(self, t: Tensor, v: Value) -> Value:
        """The new value of a tensor that was changed without autograd: its gradient goes where it went before."""
        before = self._known[id(t)].value
        if t._grad_fn is None or before not in self.sensitive:
            return v
        kept = self.build.bind(P.substitute, [before, v], {})
        self.sensitive.add(kept)
        return kept

    @_guarded
    def reshapes(self, t: Tensor) -> None:
        """``t`` is about to change its shape."""
        if not self.is_new(t) or self.movings.refuse(t):
            self.give_up("changes the shape of a tensor made outside, or of a view at a computed index")

    @_guarded
    def reads_grad(self, t: Tensor) -> None:
        if id(t) in self.grads_written or id(t) in self.grads_read or self.is_new(t):
            return
        self.grads_read[id(t)] = (t, t._grad)
        owner = self.owner(t)
        event = Gradient(owner, self.locations.here())
        known = t._grad is not None and self.knows(t._grad)
        self.event(event, event.see(t._grad, {id(x): i for i, x in enumerate(self.inputs)} if known else {}))
        if t._grad is not None and not self.knows(t._grad):
            self.input(t._grad, Source("grad", owner.index) if owner.kind == "argument" else Source("grad", holder=t))

    @_guarded
    def writes_grad(self, t: Tensor) -> None:
        if not self.is_new(t):
            self.grads_written[id(t)] = t

    @_guarded
    def becomes_leaf(self, t: Tensor) -> None:
        """``t`` starts or stops requiring a gradient, as a leaf and not through its history."""
        v = self.value(t)
        if self.is_new(t):
            self.set(t, self.build.bind(P.detach, [v], {}))
        elif t._grad_fn is not None:
            self.give_up("detaches a tensor made outside")
        else:
            self.flags.setdefault(id(t), (t, t._requires_grad))

    def exchange(self) -> None:
        """Restores the ``requires_grad`` flags and hooks that tensors made outside had before the run; or those after it."""
        self.hooks.exchange()
        for t, before in list(self.flags.values()):
            self.flags[id(t)] = t, t._requires_grad
            t._requires_grad = before
            structure_changed()

    def is_new(self, t: Tensor) -> bool:
        """True if the run has created this tensor."""
        return self.knows(t) and not any(t is i for i in self.inputs)

    @_guarded
    def visits(self, node: BackwardNode) -> None:
        """A backward pass reaches a node. A node made before the call differs in the next call."""
        if node.sequence < self.start:
            self.give_up("a backward pass goes on in a graph made outside the function")
        self.locations.visits(self.hooks.value(node))

    def fail(self, error: Exception) -> None:
        """The graph could not be built. After the recording has ended, what a pass that goes on does is not part of it."""
        if not self.reason:
            self.failure = error
            self.give_up("the graph cannot be written")

    @contextlib.contextmanager
    def output_ignored(self) -> Iterator[None]:
        """In this block output does not count as the function's."""
        self.captures_output = False
        try:
            yield
        finally:
            self.captures_output = True

    # Reads of values.

    @property
    def branches(self) -> bool:
        """True if a computed value decides something or is a Python number, or if something is called again."""
        return bool(self.floats.late) or self.floats.calls or any(seen.event.late for seen in self.events)

    applies = _guarded(applies)
    value = _guarded(_value)

    def event(self, event: Event, seen: Any) -> None:
        here = len(self.builder.inputs), len(self.builder.ops), len(self.floats.template)
        self.events.append(Seen(event, here, seen))

    @_guarded
    def observe(self, t: Tensor, how: str, truth: bool = False) -> None:
        """Python reads a value; with ``truth`` only the truth of its one element."""
        v = self.value(t)
        if truth:
            self.alike.decides(v, self.inputs)
        if self.builder.varies(v):
            look = Look(v, truth, how, self.locations.here())
            self.event(look, look.see(t._data))

    @_guarded
    def look_at_array(self, t: Tensor, array: np.ndarray) -> None:
        """NumPy or Python reads the elements of an array: of an argument, which is ``t`` here, or on the memory of ``t``."""
        if any(t is x for x in self.array_arguments):
            self.looked_at.append(t)
        else:
            self.observe(t, "numpy()")
            self.shows(t, array)

    def array(self, t: Tensor) -> Any:
        """``t.numpy()``: an array of the run, if its elements depend on the call."""
        array = t._data.view()
        v = self.value(t)
        if v is None or not self.builder.varies(v):
            if context.recorder is self:
                self.shows(t, array)
            return array
        t = t.detach() if t._requires_grad else t
        return RuntimeArray(self, t, array, t)

    def shows(self, t: Tensor, array: np.ndarray) -> None:
        """Python gets an array on the memory of a tensor."""
        self._shown.setdefault(id(self.roots.of(t)), []).append((weakref.ref(array), t._data, t._data.copy()))

    def kept_array(self) -> str:
        """An error about the arrays that Python got; empty if there is none."""
        for array, data, before in (row for rows in self._shown.values() for row in rows):
            if is_kept(array, data):
                return "it keeps a NumPy array on the memory of a tensor; keep a copy of it"
            if data.tobytes() != before.tobytes():
                return "it changes a tensor through a NumPy array on its memory; change the tensor"
        return ""

    def item(self, t: Tensor) -> Any:
        """The only element of a tensor: a dynamic number, if it is a float or an int."""
        value = t._data.item()
        if type(value) not in (int, float) or self.plain_numbers:
            self.observe(t, "item()")
            return value
        number = self._element(t, value)
        return value if number is None else number

    @_guarded
    def _element(self, t: Tensor, value: float) -> RuntimeNumber | None:
        v = self.value(t)
        if not self.builder.varies(v):
            return None
        if v not in self.elements or v in self.alike.values:
            self.elements[v] = self.floats.root(Element(v), value)
        return self.elements[v]

    def listed(self, t: Tensor) -> Any:
        """The elements of a tensor as nested lists: of dynamic numbers, if they are floats or ints, and not too many."""
        many = t._data.size > _MANY_NUMBERS or t._data.dtype.kind not in "fiu" or self.plain_numbers
        held = None if many else self._array_of(t)
        if held is None:
            self.observe(t, "tolist()")
            return t._data.tolist()
        return self.floats.nested(held)

    def text(self, t: Tensor) -> Text | None:
        """The text of a tensor, with its index among the dynamic numbers; None if it is the same in each run."""
        held = self._array_of(t)
        if held is None:
            return None
        made = self.floats.hidden(Shown(t.dtype, history(t)), (held,))  # type: ignore[arg-type]
        return Text(made._value, made._index, made._value.number)

    def formatted(self, t: Tensor) -> str:
        """The text of a tensor for formatting by the caller."""
        text = self.text(t) if shows_elements(t) else None
        if text is None:
            return str(t)
        self.floats.formats.made(text.place, text, sys._getframe(1))
        return str(text)

    @_guarded
    def _array_of(self, t: Tensor) -> Hidden | None:
        v = self.value(t)
        return self.floats.array(v, t._data) if self.builder.varies(v) else None

    @_guarded
    def decides(self, number: int, seen: tuple) -> None:
        """The run depends on a dynamic number's value: on this path, it is the same in each run."""
        if number in self.floats.decided:
            return
        self.floats.decided.add(number)
        self.event(Decision(number, number in self.floats.late, self.locations.here()), seen)

    def pinned(self) -> list[int]:
        """The numbers of the call's ints that must have one value."""
        decided = {seen.event.number for seen in self.events if isinstance(seen.event, Decision)}
        return [source.index for i, source in self.floats.roots if i in decided and isinstance(source, Whole)]

    def called(self, function: Callable[..., Any], args: Sequence[Any], value: Any, ordered: bool = True) -> Any:
        """The result of a function that replays call again: for a ``value`` that is a number, a list of numbers or an array, a
        dynamic one.
        """
        i = self.floats.call(function, args, ordered)
        if isinstance(value, np.ndarray) and is_input(value):
            if any(isinstance(x, RuntimeNumber) for x in args):
                self.floats.apply(np.shape, (Hidden(i, value),), decides=True)
            if i in self.floats.late:
                self.event(Needed(i, self.locations.here()), None)
            self.input(t := wrap(value), Source("array", i))
            return RuntimeArray(self, t, value, t)
        if type(value) is list:
            return [self.floats.apply(operator.getitem, (Hidden(i, value), k)) for k in range(len(value))]
        number = self.floats.number(i, value)
        if number is not None:
            return number.pinned() if self.plain_numbers else number
        if isinstance(value, np.ndarray):
            self.give_up("draws an array of Python objects")
        elif value is not None:
            self.floats.decides(i, value)
        return value

    def reads_clock(self, clock: Callable[..., Any], value: Any) -> Any:
        """A clock's current value: replays read it after the computations before it."""
        if self.plain_numbers:
            self.give_up("reads a clock")
            return value
        computed = next((seen.at[1] for seen in reversed(self.events) if seen.event.late), 0)
        if len(self.builder.ops) > computed:
            self.event(Moment(self.locations.here()), None)
        return self.called(clock, (), value, ordered=False)

    @_guarded
    def failed(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> None:
        """An operation has raised: if not because of its operands' types, then because of their values, and other calls may
        succeed.
        """
        try:
            self.build.bind(primitive, [self.value(a) if isinstance(a, Tensor) else pinned(a) for a in args], attrs)
        except (TypeError, ValueError, RuntimeError, IndexError):  # errors of type inference; all others are failures
            return
        self.fails = True
        self.give_up(f"{primitive.name} fails for the values it is given,")

    def give_up(self, why: str) -> None:
        """This run cannot be replayed; it continues eagerly."""
        self.reason = self.reason or f"{why} at {self.locations.here()}"
        context.recorder = None
