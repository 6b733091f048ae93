"""The replay of a trace, generated as a Python function for its signature.

``Trace.replay`` defines a replay, for every trace. For the most common ones this module generates the same as straight-line
source: each guard is a comparison with a constant, each tensor an unpacked name, and between the last guard and the native
call nothing constant is looked up. If a guard fails, the function returns ``MISS`` and has changed nothing: the call then
takes the general path, which also handles the cases that are not generated here.
"""

from __future__ import annotations

import collections
import functools
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.node import edges_to, new_sequence
from ..core.context import SPECIAL, context
from ..core.device import CHOSEN
from ..core.tensor import UNCHANGED, Tensor, wrap
from ..core.waiting import WAITING, wait
from ..runtime.devices import device_of
from ..runtime.forks import reentrant_lock
from ..runtime.support import memory, objects
from . import express_device as device
from .alike import is_only_read
from .calls import FOREIGN, Call, is_settled, storage
from .compiled_node import NOTHING, CompiledNode, Result
from .guards import Environment
from .kinds import CONTENTS, GROWTH, MISSING, OF_A_TENSOR, is_static
from .scalars import Argument, Item, Length, Whole, static

if TYPE_CHECKING:
    from .effects import Place, Slot
    from .replay import Trace

MISS: Any = object()  # the result of a generated replay that does not apply

Express = Callable[[tuple, Mapping[str, Any]], Any]


class Unwritten(Exception):
    """A case that only the general replay handles."""


def _refcount_when_alone() -> int:
    """The reference count of an object that only a local variable refers to."""
    own: list[Any] = []
    return objects.references(own)


ALONE = _refcount_when_alone()


def express(trace: Trace, call: Call, args: tuple, kwargs: Mapping, environment: Environment, key: tuple) -> Express | None:
    """The replay of ``trace`` for calls like this one, whose key is ``key``; None if it is not one of the simple ones."""
    try:
        return _Writer(trace, call, environment, key).write(args, kwargs)
    except Unwritten:
        return None


class _Writer:
    """Generates the function; ``constants`` are the objects that its source names."""

    def __init__(self, trace: Trace, call: Call, environment: Environment, key: tuple):
        self.trace, self.call, self.environment, self.key = trace, call, environment, key
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.tensors = self.floats = self.ints = self.slots_read = 0
        self.objects: list[str] = []  # the places of the call's objects
        self.shared: dict[Any, str] = {}  # names of objects created once, by key
        self.constants: dict[str, Any] = {
            "__name__": __name__,
            "MISS": MISS,
            "Tensor": Tensor,
            "UNCHANGED": UNCHANGED,
            "is_settled": is_settled,
            "context": context,
            "new": object.__new__,
            "of_a_tensor": OF_A_TENSOR.issuperset,
            "refcount": objects.references,
            "special": SPECIAL,
            "chosen": CHOSEN,
            "waiting": WAITING,
            "MISSING": MISSING,
            "get": dict.get,
            "put": dict.__setitem__,
            "pop": dict.pop,
            "static": static,
            "storage": storage,
            "FREE": memory.FREE,
            "HELD": memory.FREE + 1,
            "item": dict.__getitem__,
            "ALONE": ALONE,
        }
        self.device = trace.function.placement.device
        # Programs check array objects themselves; a graph without kernels has no program to call.
        self.native = objects.reads_arrays and bool(trace.executable.program.steps) and self.device is None
        self.looked_at: set[int] = set()  # the tensors whose arrays the program checks
        self.updated: set[int] = set()  # and the changed inputs that are not arguments, whose arrays it checks
        self.moving: set[int] = set()  # and the gradients whose arrays may be others in each call
        self.used: Counter[int] = Counter()  # outputs, by the number of references in the result and gradients

    def constant(self, x: Any) -> str:
        if id(x) not in self.names:
            self.names[id(x)] = name = f"c{len(self.constants)}"
            self.constants[name] = x
        return self.names[id(x)]

    def literal(self, x: Any) -> str:
        """A value of a plain type as an expression."""
        return "MISSING" if x is MISSING else repr(x) if type(x) in (int, bool, str, type(None)) else self.constant(x)

    def say(self, line: str, depth: int = 1) -> None:
        self.lines.append("    " * depth + line)

    def require(self, condition: str) -> None:
        self.say(f"if not ({condition}): return MISS")

    # The parts of a replay.

    def write(self, args: tuple, kwargs: Mapping[str, Any]) -> Express:
        trace, (_, surroundings, grad_enabled, dtype, mode) = self.trace, self.key
        program = trace.executable.program
        if mode or program.unsafe or trace.others_changing or trace.strided or trace.prints or trace.flags or trace.memory:
            raise Unwritten
        self.require(f"len(args) == {len(args)} and " + (f"tuple(kwargs) == {tuple(kwargs)!r}" if kwargs else "not kwargs"))
        for i, a in enumerate(args):
            self.argument(f"args[{i}]", a)
        for name, a in kwargs.items():
            self.argument(f"kwargs[{name!r}]", a)
        for slot in self.environment.slots:
            self.slot(slot)
        self.apart()
        if trace.written:
            self.require("not waiting")
        modes = f"context.grad_enabled is {grad_enabled} and context.default_dtype is {self.constant(dtype)}"
        self.require(f"not context.recording and not special and not chosen and {modes}")
        self.surroundings(surroundings)
        self.memory()
        self.values()
        self.captured()
        result = trace.build.write(self)
        new = [(self.owner(source), grad.write(self)) for source, grad in trace.all_grads]
        written = [(place, value.write(self)) for place, value in trace.effects]
        if trace.function.active:
            inputs = self.inputs()
        self.program(dict(new))
        if trace.function.active:
            self.node(inputs)
        for k, node in trace.leaves:
            self.say(f"o{k}._requires_grad = True; o{k}._grad_fn = {self.constant(node)}")
        self.say(f"result = {result}")
        if any("_grad" in g for _, g in new):  # gradients may be swapped: all are read before any is set
            self.say(f"{', '.join(t + '._grad' for t, _ in new)} = {', '.join(g for _, g in new)}")
        else:
            for t, g in new:
                self.say(f"{t}._grad = {g}")
        self.say(f"{self.constant(trace)}.replays += 1")
        self.effects(written)
        self.say("return result")
        text = "\n".join(["def replay(args, kwargs):", *self.lines])
        exec(compile(text, f"<replay of {trace.graph.name}>", "exec"), self.constants)
        trace.let_move(self.moving)
        return self.constants["replay"]

    def surroundings(self, key: int) -> None:
        """Checks that nothing reachable has changed."""
        if self.environment.key() != key:  # compiling has imported modules, which changes their packages' versions
            raise Unwritten
        seen = self.constant(self.environment)
        self.require(f"{seen}.same() == {key} or {seen}.key() == {key}")

    def argument(self, place: str, x: Any) -> None:
        """Checks what ``Call`` would put into the key, and names the tensors and floats in its order."""
        if isinstance(x, Tensor):
            self.tensor(place, x)
        elif type(x) is float and not self.environment.asks_types:
            self.say(f"f{self.floats} = {place}")
            self.require(f"type(f{self.floats}) is float")
            self.floats += 1
        elif type(x) is int and self.ints in self.call.promoted and not self.environment.asks_types:
            self.say(f"n{self.ints} = {place}")
            self.require(f"type(n{self.ints}) is int")
            self.ints += 1
        elif is_static(x):
            if type(x) is int and not self.environment.asks_types:
                if any(isinstance(source, Whole) and source.index == self.ints for _, source in self.trace.floats.roots):
                    self.say(f"n{self.ints} = {place}")
                self.ints += 1
            if type(x) in (int, bool, str, type(None)):
                self.require(f"type({place}) is {self.constant(type(x))} and {place} == {x!r}")
            else:
                self.require(f"static({place}) == {self.constant(static(x))}")
        elif type(x) in (list, tuple) or (isinstance(x, tuple) and hasattr(x, "_fields")):
            if type(x) is list and self.grows(place, x):
                return
            self.require(f"type({place}) is {self.constant(type(x))} and len({place}) == {len(x)}")
            for i, item in enumerate(x):
                self.argument(f"{place}[{i}]", item)
        elif type(x) is dict and all(type(name) is str for name in x):
            if self.grows(place, x):
                return
            self.require(f"type({place}) is dict and tuple({place}) == {tuple(x)!r}")
            for name, item in x.items():
                self.argument(f"{place}[{name!r}]", item)
        else:
            raise Unwritten

    def grows(self, place: str, x: Any) -> bool:
        """Counts an object of the call. Returns True if its contents do not matter."""
        self.objects.append(place)
        if len(self.objects) - 1 not in self.environment.growing:
            return False
        self.require(f"type({place}) is {self.constant(type(x))}")
        return True

    def slot(self, slot: Slot) -> None:
        """Reads a slot, and checks its value like an argument."""
        if slot.key is GROWTH:
            return
        found, key, value = _dictionary(slot.holder), slot.key, slot.get()
        holder = self.constant(found)
        name = f"x{self.slots_read}"
        self.slots_read += 1
        if key is CONTENTS:
            raise Unwritten
        elif isinstance(found, dict):
            self.say(f"{name} = get({holder}, {self.literal(key)}, MISSING)")
        elif type(slot.holder) is list:
            self.say(f"{name} = {holder}[{key}] if len({holder}) > {key} else MISSING")
        elif isinstance(slot.holder, types.CellType):
            self.say(f"try: {name} = {holder}.cell_contents")
            self.say(f"except ValueError: {name} = MISSING")
        else:
            raise Unwritten
        if value is MISSING:
            self.require(f"{name} is MISSING")
        else:
            self.argument(name, value)

    def apart(self) -> None:
        """Checks that lists and dictionaries are distinct, and that the function does not reach them otherwise."""
        ids = [f"id({place})" for place in self.objects]
        if len(set(map(id, self.call.objects))) != len(ids) or not self.environment.reached.keys().isdisjoint(
            map(id, self.call.objects)
        ):
            raise Unwritten
        if len(ids) > 1:
            self.require(f"len({{{', '.join(ids)}}}) == {len(ids)}")
        if ids and self.environment.reaches_containers:
            self.require(f"{self.constant(self.environment)}.reached.keys().isdisjoint(({', '.join(ids)},))")

    def effects(self, written: list[tuple[Place, str]]) -> None:
        """Writes to slots and to the call's objects, after all their values have been read."""
        values = [value for _, value in written]
        if len(values) > 1:
            names = [f"e_{i}" for i in range(len(values))]
            self.say(f"{', '.join(names)} = {', '.join(values)}")
            values = names
        for (place, _), value in zip(written, values, strict=True):
            found = _dictionary(place.slot.holder if place.slot is not None else place.holder)
            holder = self.constant(found) if place.index < 0 else self.objects[place.index]
            ordered = isinstance(found if place.index < 0 else self.call.objects[place.index], collections.OrderedDict)
            if place.announces or ordered or type(place.key) is not str or isinstance(found, type):
                self.say(f"{self.constant(place)}.put({holder}, {value})")
            elif isinstance(found, types.CellType):
                self.say(f"{holder}.cell_contents = {value}")
            elif place.index < 0 and not isinstance(found, dict):
                raise Unwritten
            elif value == "MISSING":
                self.say(f"pop({holder}, {place.key!r}, None)")
            else:
                self.say(f"put({holder}, {place.key!r}, {value})")

    def once(self, key: Any, write: Callable[[Any], str]) -> str:
        """Creates an object once, however often it is used."""
        if key in self.shared:
            return self.shared[key]
        text = write(self)
        name = self.shared[key] = f"m{len(self.shared)}"
        return f"({name} := {text})"

    def object(self, index: int) -> str:
        """Object number ``index`` of the call."""
        return self.objects[index]

    def tensor(self, place: str, x: Tensor) -> None:
        k, data = self.tensors, x._data
        self.tensors += 1
        if not data.flags.c_contiguous or (len(vars(x)) > 2 and not OF_A_TENSOR.issuperset(vars(x))):
            raise Unwritten
        self.say(f"a{k} = {place}")
        self.require(f"type(a{k}) is {self.constant(type(x))}")
        self.say(f"d{k} = a{k}._data")
        if device_of(data) is not None:
            device.check(self, k, data)
        elif self.native and data.base is None:
            self.looked_at.add(k)
        else:
            kind = f"d{k}.__class__ is {self.constant(np.ndarray)} and d{k}.flags.c_contiguous"
            kind += f" and d{k}.dtype is {self.constant(data.dtype)}"
            kind += f" and d{k}.flags.writeable" if self.is_written(k) else ""
            self.require(f"d{k}.shape == {data.shape!r} and {kind}")
        leaf, view = ("is" if y is None else "is not" for y in (x._grad_fn, x._view))
        as_it_was = f"a{k}._requires_grad is {x._requires_grad} and a{k}._grad_fn {leaf} None and a{k}._view {view} None"
        as_it_was += f" and of_a_tensor(a{k}.__dict__)"
        if x._view is not None:
            as_it_was += f" and a{k}.requires_grad is {x.requires_grad} and is_settled(a{k})"
        short = ""
        if len(vars(x)) == 2:
            # Only memory and a change counter: it does not require a gradient, and is neither a result nor a view.
            short = f"len(a{k}.__dict__) == 2"
        elif x._requires_grad and vars(x).keys() == {"_data", "_counter", "_requires_grad", "_grad"}:
            short = f"a{k}._requires_grad is True and '_grad' in a{k}.__dict__ and len(a{k}.__dict__) == 4"
        self.require(f"{short} or ({as_it_was})" if short else as_it_was)

    def is_written(self, k: int) -> bool:
        """True if tensor ``k`` of the call is changed."""
        sources = [self.trace.sources[i] for i in self.trace.written]
        return any(s.kind == "argument" and s.index == k for s in sources)

    def memory(self) -> None:
        """Checks that no argument shares memory with another one, if that matters, nor with captured tensors, if something is
        changed.
        """
        n, call = self.tensors, self.call
        if not n:
            return
        told = self.environment.told_apart(call.structure)
        alike = told is not None and not told and all(map(is_only_read, call.tensors))
        written = bool(self.trace.written)
        if written and (call.is_foreign or id(FOREIGN) in self.trace.storages):
            raise Unwritten
        if not alike and len(set(call.storages)) < n:
            raise Unwritten
        # An array that the program checks owns its memory.
        for k in range(n) if not alike or written else ():
            owns = f"id(d{k})" if k in self.looked_at else f"id(d{k} if d{k}.base is None else storage(d{k}))"
            self.say(f"s{k} = {owns}")
        names = ", ".join(f"s{k}" for k in range(n))
        if n > 1 and not alike:
            self.require("s0 != s1" if n == 2 else f"len({{{names}}}) == {n}")
        if written:  # foreign memory may overlap any array
            self.require(f"{self.constant(self.trace)}.storages.isdisjoint(({names},)) and {id(FOREIGN)} not in ({names},)")
        captured = self.environment.captured
        if captured:
            if any(id(t) in captured or id(t._root()) in captured for t in self.call.tensors):
                raise Unwritten  # the graph confuses the two
            views = [f"a{k}._root()" for k, t in enumerate(self.call.tensors) if t._view is not None]
            them = [*(f"a{k}" for k in range(n)), *views]
            if len(captured) == 1:
                (only,) = map(self.constant, captured.values())
                self.require(" and ".join(f"{t} is not {only}" for t in them))
            else:
                ids = ", ".join(f"id({t})" for t in them)
                self.require(f"{self.constant(frozenset(captured))}.isdisjoint(({ids},))")

    def values(self) -> None:
        """The float program."""
        floats = self.trace.floats
        if not floats.template:
            return
        self.say("try:")
        for i, source in floats.roots:
            if isinstance(source, (Argument, Whole)):  # the type is right, or the call would not have come this far
                self.say(f"v{i} = {'f' if isinstance(source, Argument) else 'n'}{source.index}", 2)
            elif isinstance(source, Item):
                self.say(f"v{i} = item({self.constant(source.holder)}, {source.key!r})", 2)
                self.say(f"if type(v{i}) is not float: return MISS", 2)
            elif isinstance(source, Length):
                holder = self.objects[source.index] if source.holder is None else self.constant(source.holder)
                self.say(f"v{i} = len({holder})", 2)
        known = {i for i, _ in floats.roots} | {i for i, _, _ in floats.steps}
        for i, function, places in floats.steps:
            operands = ", ".join(f"v{k}" if k in known else self.literal(floats.template[k]) for k in places)
            self.say(f"v{i} = {self.constant(function)}({operands})", 2)
        self.say("except (ArithmeticError, ValueError, TypeError, LookupError): return MISS")
        for i, seen in self.trace.decisions:
            self.require(f"static(v{i}) == {self.constant(seen)}")

    def captured(self) -> None:
        """Checks that captured tensors, and gradients that it reads, have not moved."""
        trace = self.trace
        arrays = self.constant(trace.arrays)
        for i, follows in trace.gradients:
            self.say(f"g{i} = {self.constant(trace.sources[i].holder)}._grad")
            if self.native and trace.arrays[i].base is None:
                self.moving.add(i)
                self.require(f"g{i} is not None and g{i}._requires_grad is {follows}")
                self.say(f"h{i} = g{i}._data")
            else:
                self.require(f"g{i} is not None and g{i}._requires_grad is {follows} and g{i}._data is {arrays}[{i}]")
        if self.moving and trace.written:  # what is written are no gradients, and these own their memory
            ids = ", ".join([f"id(h{i})" for i in sorted(self.moving)])
            self.require(f"{self.constant(trace)}.storages.isdisjoint(({ids},))")
            if self.tensors:
                self.require(f"{{{ids}}}.isdisjoint(({', '.join(f's{k}' for k in range(self.tensors))},))")
        for i, source in trace.captured:
            name, t = self.constant(source.holder), source.holder
            followed = f" and {name}._requires_grad and {name}._grad_fn is not None" if t._grad_fn is not None else ""
            self.require(f"{name}._data is {arrays}[{i}]{followed}")
        for i in trace.written:
            if trace.sources[i].kind == "grad":  # its changes are counted
                raise Unwritten
            if trace.sources[i].kind == "argument":
                continue
            if self.native and trace.arrays[i].base is None:
                self.updated.add(i)
            elif device_of(trace.arrays[i]) is None:  # the others are always writeable
                self.require(f"{arrays}[{i}].flags.writeable")
        for source, at in trace.same_gradient:
            self.require(f"{self.owner(source)}._grad is {None if at is None else self.fetch(at)}")

    def program(self, gradients: Mapping[str, str]) -> None:
        """The native call; ``gradients`` are set afterwards, by owner."""
        trace, program = self.trace, self.trace.executable.program
        n, followed = len(program.plan.results), trace.function.outputs
        # The others are kept for the backward program.
        made = n if not followed else len(trace.graph.outputs) - len(trace.graph.updates)
        if not program.steps:
            if followed:
                raise Unwritten
            return
        if self.device is not None:
            device.program(self, made, gradients)
            return
        # A gradient that is only replaced and has no other references becomes the new one, unless it may be written before the
        # program fails.
        only_replaced = {*map(self.owner, trace.early), *map(self.owner, trace.fixed_early)}
        replaced = {g: t for t, g in gradients.items() if t in only_replaced}
        others = {*program.unsafe_results, *(k for k, _ in trace.leaves), *followed}
        reused = {j: replaced[f"o{j}"] for j in range(n) if f"o{j}" in replaced and self.used[j] == 1 and j not in others}
        slots, looked_at = self.slots()
        frames, make_frame = program.look_at(looked_at), functools.partial(program.frame, looked_at)
        give_back, entries = f"{self.constant(frames.append)}(frame)", "".join(f", p{j}" for j in range(n))
        # Programs that change something run in one thread at a time. An interrupt does not leave a ``with`` block locked.
        self.say(f"with {self.constant(program.lock or reentrant_lock())}:" if program.lock or gradients else "if True:")
        self.say(f"try: frame = {self.constant(frames.pop)}()", 2)
        self.say(f"except IndexError: frame = {self.constant(make_frame)}()", 2)
        self.say(f"view, header{entries} = frame.written", 2)
        for j in range(n):
            depth = 2
            if j in reused:
                # It is removed first, so that other threads cannot get it.
                self.say(f"was{j} = {reused[j]}._grad; {reused[j]}._grad = None; o{j} = None", 2)
                alone = f"refcount(was{j}) == ALONE and was{j}.__weakref__ is None and len(was{j}.__dict__) == 2"
                self.say(f"if was{j} is not None and {alone}:", 2)
                self.say(f"o{j} = was{j}", 3)
                self.say(f"for e{j} in p{j}:", 3)
                self.say(f"if e{j}[0] is o{j}._data and refcount(e{j}[0]) == HELD: break", 4)
                self.say(f"else: o{j} = None", 3)
                self.say(f"if o{j} is None:", 2)
                depth = 3
            self.say(f"for e{j} in p{j}:", depth)
            self.say(f"if refcount(e{j}[0]) == FREE: break", depth + 1)
            self.say(f"else: e{j} = frame.pools[{j}].grow()", depth)
        for i, source in enumerate(trace.sources):
            if source.kind == "float":
                self.say(f"frame.cells_view[{i}] = {self.value(source.index)}", 2)
        if any(not kind.source for kind in program.steps):
            self.say("frame.arm()", 2)
        self.say(f"{self.constant(program.pack)}(view, 0, {', '.join([*slots, *(f'e{j}[1]' for j in range(n))])})", 2)
        self.say(f"failed = {self.constant(program.call)}(header)", 2)
        # The frame is returned last: a buffer without a reference here is free for the next call.
        self.say("if failed:", 2)
        self.say("if failed == 1: frame.forget_failure()", 3)
        for j, t in reused.items():
            self.say(f"{t}._grad = was{j}", 3)
        self.say(give_back, 3)
        self.say("return MISS", 3)
        for j in range(made):
            make = f"o{j} = new(Tensor); o{j}._data = e{j}[0]; o{j}._counter = UNCHANGED"
            self.say(f"if o{j} is None: {make}" if j in reused else make, 2)
            if j in reused:
                self.say(f"else: o{j}._counter = UNCHANGED", 2)
        self.say(give_back, 2)
        self.count_changes()

    def slots(self) -> tuple[list[str], list[int]]:
        """The words for the inputs' slots, and the numbers of the slots that get array objects."""
        trace, result = self.trace, []
        fixed, arrays = self.constant(trace.addresses), self.constant(trace.arrays)
        arguments = [i for i, s in enumerate(trace.sources) if s.kind == "argument" and s.index in self.looked_at]
        looked_at = [*arguments, *sorted(self.updated | self.moving)]
        for i, source in enumerate(trace.sources):
            if source.kind == "argument":
                array = f"d{source.index}"
                result.append(f"id({array})" if i in looked_at else f"{self.constant(objects.address)}({array})")
            elif source.kind == "float":
                result.append(f"frame.cells_at + {8 * i}")
            elif source.kind == "array":
                result.append(f"{self.constant(objects.address)}({self.value(source.index)})")
            elif i in self.moving:
                result.append(f"id(h{i})")
            else:
                result.append(f"id({arrays}[{i}])" if i in self.updated else f"{fixed}[{i}]")
        return result, looked_at

    def inputs(self) -> list[str]:
        """The tensors that a graph node refers to; copies of those that the program changes."""
        inputs = [self.operand(i) for i in range(len(self.trace.sources))]
        for i in sorted(self.trace.function.overwritten):
            if self.trace.fetch(i, self.call)._requires_grad:
                raise Unwritten
            self.say(f"b{i} = {self.constant(wrap)}({inputs[i]}._data.copy())")
            inputs[i] = f"b{i}"
        return inputs

    def node(self, inputs: Sequence[str]) -> None:
        """The graph node of results that may be differentiated from outside: what ``GraphFunction.call`` does."""
        trace, function = self.trace, self.trace.function
        found = [trace.fetch(i, self.call) for i in range(len(trace.sources))]
        made, kept = len(trace.graph.outputs) - len(trace.graph.updates), len(trace.executable.program.plan.results)
        array = "e{}[0]" if self.device is None else "r[{}]"
        saved = ", ".join([f"{k}: {self.constant(Result)}(o{k})" for k in sorted(function.saved_results) if k < made])
        self.say(f"node = new({self.constant(CompiledNode)}); node.function = {self.constant(function)}; node.since = None")
        self.say(f"node.edges = {self.edges(inputs, found)}; node.inputs = {_tuple(inputs)}")
        self.say(f"node.versions = {_tuple([f'{t}._counter[0]' for t in inputs])}; node.spans = None")
        self.say(f"node.kept = {_tuple([array.format(j) for j in range(made, kept)])}")
        self.say(f"node.results = {{{saved}}}" if saved else f"node.results = {self.constant(NOTHING)}")
        self.say(f"node.sequence = {self.constant(new_sequence)}(); node.extras = None")
        self.say(f"node.waits = {self.constant(wait)}(node)")
        for number, k in enumerate(function.outputs):
            if any(found[i]._requires_grad for i in function.reached[number]):
                self.say(f"o{k}._requires_grad = True; o{k}._grad_fn = node" + f"; o{k}._output = {number}" * bool(number))

    def edges(self, inputs: Sequence[str], found: Sequence[Tensor]) -> str:
        """A node's edges. Those to leaves that are the same in each call are constant."""
        edges: list[Any] = list(edges_to(found))
        written: list[str] = []
        for i, (name, t) in enumerate(zip(inputs, found, strict=True)):
            if i not in self.trace.function.active:
                edges[3 * i] = None
            target, output, type_ = edges[3 * i : 3 * i + 3]
            if target is None or (t._grad_fn is None and self.trace.sources[i].kind == "captured"):
                written += [self.literal(target), str(output), self.constant(type_)]
            else:
                edges[3 * i] = self
                written += [name if target is t else f"{name}._grad_fn", f"{name}._output", self.constant(type_)]
        return _tuple(written) if any(e is self for e in edges) else self.constant(tuple(edges))

    def operand(self, i: int) -> str:
        """Input ``i`` as a tensor, also if it is a number."""
        source = self.trace.sources[i]
        if source.kind == "float":
            return f"{self.constant(wrap)}({self.constant(np.array)}({self.value(source.index)}, {self.constant(np.float64)}))"
        return f"{self.constant(wrap)}({self.value(source.index)})" if source.is_number else self.fetch(i)

    def count_changes(self) -> None:
        for counter, change in self.trace.fixed_bumps:
            self.say(f"{self.constant(counter)}[0] += {change}")
        for source, change in self.trace.bumps:
            if source.kind != "argument":
                raise Unwritten
            self.say(f"a{source.index}._changes()[0] += {change}")

    # The parts of results and gradients: called by ``Build.write``.

    def output(self, k: int) -> str:
        self.used[k] += 1
        return f"o{k}"

    def value(self, i: int) -> str:
        floats = self.trace.floats
        known = any(i == k for k, _ in floats.roots) or any(i == k for k, _, _ in floats.steps)
        return f"v{i}" if known else self.literal(floats.template[i])

    def fetch(self, i: int) -> str:
        """Input ``i`` as a tensor."""
        source = self.trace.sources[i]
        if source.is_number:
            raise Unwritten
        return self.owner(source) + ("._grad" if source.kind == "grad" else "")

    def owner(self, source: Any) -> str:
        return f"a{source.index}" if not source.is_held else self.constant(source.holder)


def _tuple(items: Sequence[str]) -> str:
    return f"({''.join(f'{item}, ' for item in items)})"


def no_replay(args: tuple, kwargs: Mapping[str, Any], /) -> Any:
    return MISS


def shapes(args: tuple) -> tuple:
    """The shapes of the tensors among arguments."""
    return tuple([a._data.shape for a in args if a.__class__ is Tensor])


def _dictionary(holder: Any) -> Any:
    """A tensor's attributes; any other holder itself."""
    return vars(holder) if isinstance(holder, Tensor) else holder
