"""A trace, and its replay: one native call, then the effects on tensors that the graph cannot express."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..core.tensor import Tensor, wrap
from ..core.waiting import WAITING, will_change
from ..ir.graph import Graph
from ..runtime.devices import DeviceError, address, contiguous
from .calls import FOREIGN, Call, storage
from .ending import Ending, Recorded, whole
from .graph_function import Executable, GraphFunction
from .kinds import alive
from .overlap import is_written_over, overlap
from .recorder import Recorder
from .scalars import static
from .sources import Source
from .tape import Decision


class Refused(Exception):
    """A replay met an error for which an eager run raises an exception, and has changed nothing."""


class TraceRun:
    """A ``Run`` of a trace."""

    __slots__ = ("call", "made", "objects", "outputs", "trace", "values")
    entered: Sequence[Tensor] = ()
    handles: Sequence[Any] = ()

    def __init__(self, trace: Trace, call: Call):
        self.trace, self.call, self.values = trace, call, call.values
        self.outputs: list[Tensor] = []
        self.made: dict[int, Tensor] = {}
        self.objects: dict[int, Any] = {}

    def input(self, i: int) -> Tensor:
        return self.trace.fetch(i, self.call)


class Trace(Recorded):
    """A recorded graph as a function, with the sources of its inputs and the actions on its outputs."""

    def __init__(self, recorder: Recorder, ending: Ending):
        super().__init__()
        self.function = whole(recorder, ending)
        self.graph = self.function.recorded
        self.flags = ending.flags
        self.build, self.leaves, self.effects, grads = ending.build, ending.leaves, ending.effects, ending.grads
        self.prints, self.memory = ending.prints, ending.memory
        self.replayed = False  # at least once
        self.written_out = 0  # times
        self.floats = recorder.floats
        self.decisions = [(e.event.number, e.what) for e in recorder.events if isinstance(e.event, Decision)]
        self.sources = recorder.sources
        self.types = [v.type for v in self.graph.inputs]
        # What was not contiguous may have been asked for its strides.
        self.strides = [None if t._data.flags.c_contiguous else t._data.strides for t in recorder.inputs]
        self.written = sorted(self.graph.updates.values())
        # A captured tensor's data are known now; an argument's, in each call.
        self.counted = {i for i, _ in ending.changed}
        bumps = [(self.sources[i], recorder.inputs[i], change) for i, change in ending.changed]
        self.fixed_bumps = [(t._changes(), change) for source, t, change in bumps if source.kind == "captured"]
        self.bumps = [(source, change) for source, _, change in bumps if source.kind != "captured"]
        self.all_grads = grads
        self.fixed_grads = [(source, grad) for source, grad in grads if source.is_held]
        self.grads = [(source, grad) for source, grad in grads if not source.is_held]
        # A captured tensor, or its gradient, keeps its memory between calls: it is looked up only after a change.
        self.fixed = [i for i, s in enumerate(self.sources) if s.is_held]
        self.strided = [i for i in self.fixed if self.strides[i] is not None]  # whose elements each run copies
        self.captured = [(i, s) for i, s in enumerate(self.sources) if s.kind == "captured"]
        self.arguments = [(i, s.index) for i, s in enumerate(self.sources) if s.kind == "argument"]
        # The numbers of those that it reads or changes; a view may be read through its base.
        needed = {v for op in self.graph.ops for v in op.operands} | set(self.graph.outputs)
        used = {i for i, v in enumerate(self.graph.inputs) if v in needed or recorder.inputs[i]._view is not None}
        self.read = [k for i, k in self.arguments if i in used or i in self.written]
        self.others = [i for i, s in enumerate(self.sources) if s.kind != "argument" and not s.is_held]
        # Inputs that are looked up in each call, except floats.
        self.others_changing = [i for i in self.others if not self.sources[i].is_number]
        self.addresses = [0] * len(self.sources)
        self.arrays: list[Any] = [None] * len(self.sources)
        self.storages: set[int] = set()  # of the fixed inputs, except moving ones
        self.moving: frozenset[int] = frozenset()  # gradients for which a generated replay accepts other memory in each call
        gradients = [i for i, s in enumerate(self.sources) if s.kind == "grad"]
        self.gradients = [(i, recorder.inputs[i]._requires_grad) for i in gradients]
        # The gradients that are read: None, or, if another input is the same tensor, that one.
        self.same_gradient: list[tuple[Source, int | None]] = []
        for t, g in recorder.grads_read.values():
            at = next((i for i, known in enumerate(recorder.inputs) if known is g), None)
            if at is None or self.sources[at].kind != "grad" or self.sources[at].holder is not t:
                self.same_gradient.append((recorder.owner(t), at))
        read = {(id(s.holder), s.index) for s in self.sources if s.kind == "grad"}
        # A gradient that is only replaced returns its buffer before the run, for the next one.
        early = [s for s, _ in grads if (id(s.holder), s.index) not in read]
        self.fixed_early = [s for s in early if s.is_held]
        self.early = [s for s in early if not s.is_held]
        self.gone = False  # a tensor that it reads no longer exists: it can never match again
        for i in self.fixed:
            self.sources[i].when_gone(_forget(weakref.ref(self), i))

    def fetch(self, i: int, call: Call) -> Tensor:
        """Input ``i`` as a tensor."""
        source = self.sources[i]
        if source.kind == "float":
            return wrap(np.array(call.values[source.index], np.float64))
        if source.kind == "array":
            return wrap(call.values[source.index])
        t = _locate(source, call)
        return t if source.kind != "grad" else t._grad  # type: ignore[return-value]

    @property
    def may_match(self) -> bool:
        """True if everything that it reads, and that its key identifies, still exists."""
        return not self.gone and all(map(alive, self.kept)) and not any(place.is_gone for place, _ in self.effects)

    def matches(self, call: Call) -> bool:
        """The guards that are not part of the signature. Stores the values of the float program in ``call``."""
        if not self.may_match:
            return False
        values = self.floats.evaluate(call)
        if values is None or any(static(values[i]) != seen for i, seen in self.decisions):
            return False
        moved: list[tuple[int, np.ndarray]] = []
        for i, follows in self.gradients:
            g = _locate(self.sources[i], call)._grad
            if g is None or g._requires_grad != follows:
                return False
            if g._data is not self.arrays[i]:
                moved.append((i, g._data))
        for source, at in self.same_gradient:
            if _locate(source, call)._grad is not (None if at is None else self.fetch(at, call)):
                return False
        held = [(i, source.holder) for i, source in self.captured]
        moved += [(i, t._data) for i, t in held if t._data is not self.arrays[i]]
        if moved and not self._adopt(moved):
            return False
        if self.written and not (self._apart(call) and self._writable(call)):
            return False
        call.values = values
        return True

    def _fits(self, i: int, data: np.ndarray) -> bool:
        t = self.types[i]
        here = self.function.placement.holds(i, data)
        strides = None if data.flags.c_contiguous else data.strides
        return here and data.shape == t.shape and data.dtype == t.dtype.numpy and strides == self.strides[i]

    def _adopt(self, moved: Sequence[tuple[int, np.ndarray]]) -> bool:
        """Accepts other memory for inputs, if it is of the same kind and no changed tensor shares memory."""
        if not all(self._fits(i, data) for i, data in moved):
            return False
        fixed = [(i, data) for i, data in moved if self.sources[i].is_held]  # an argument's is new in each call
        if not fixed:
            return True
        arrays = self.arrays.copy()
        for i, data in fixed:
            arrays[i] = data
        known, written = [k for k in self.fixed if arrays[k] is not None], set(self.written)
        if is_written_over((arrays[k], k in written) for k in known):
            return False
        addresses = self.addresses.copy()
        for i, data in fixed:
            addresses[i] = address(data)
        storages = self._storages(arrays)
        # No interrupt comes between these.
        self.storages, self.arrays[:], self.addresses[:] = storages, arrays, addresses
        return True

    def let_move(self, gradients: Iterable[int]) -> None:
        """From now on a generated replay accepts other memory for these gradients."""
        self.moving = self.moving.union(gradients)
        self.storages = self._storages(self.arrays)

    def _storages(self, arrays: Sequence[Any]) -> set[int]:
        return {id(storage(arrays[i])) for i in self.fixed if arrays[i] is not None and i not in self.moving}

    def release(self) -> None:
        """Keeps the memory of moving gradients no longer, so that a backward pass may use it again once they are replaced."""
        for i in self.moving:
            self.arrays[i] = None

    def _apart(self, call: Call) -> bool:
        """True if the call's tensors that it reads share no memory with captured ones, where something is changed."""
        moving = {id(storage(a)) for i in self.moving if (a := self.arrays[i]) is not None}
        known = self.storages | moving
        if call.is_foreign or id(FOREIGN) in known:
            fixed = [self.arrays[i] for i in self.fixed if self.arrays[i] is not None]
            if overlap(fixed, [call.tensors[k]._data for k in self.read]):
                return False
        elif not known.isdisjoint(call.storages) and not known.isdisjoint(
            id(storage(call.tensors[k]._data)) for k in self.read
        ):
            return False
        for i, _ in self.gradients:
            if not self.sources[i].is_held:  # an argument's: its memory is unknown
                mine = self.fetch(i, call)._data
                for k, source in enumerate(self.sources):
                    if k != i and not source.is_number and np.may_share_memory(mine, self.fetch(k, call)._data):
                        return False
        return True

    def _writable(self, call: Call) -> bool:
        """True if changed tensors are writeable: an eager run raises otherwise."""
        return all(self.fetch(i, call)._data.flags.writeable for i in self.written)

    def replay(self, call: Call) -> Any:
        """Runs the trace for a matching call. Raises Refused, with nothing changed, if the program meets an error."""
        addresses = self.addresses.copy()
        arrays = self.arrays.copy()  # alive until the call is over
        for i, k in self.arguments:
            data = contiguous(call.tensors[k]._data)
            arrays[i] = data
            addresses[i] = address(data)
        for i in self.strided:
            arrays[i] = data = contiguous(arrays[i])
            addresses[i] = address(data)
        for i in self.others:
            arrays[i] = data = self.fetch(i, call)._data
            addresses[i] = address(data)
        if WAITING:
            for i in self.written:
                will_change(self.fetch(i, call), i in self.counted)
        run = TraceRun(self, call)
        function, program = self.function, self.executable.program
        before = [arrays[i].copy() for i in program.unsafe] if program.unsafe else ()
        self._bump(call, 1)
        if not program.may_fail:
            for source in self.fixed_early:
                source.holder._grad = None
            for source in self.early:
                _locate(source, call)._grad = None
        try:
            if function.active:
                run.outputs = function.call(arrays, [self.fetch(i, call) for i in range(len(arrays))])
            else:
                run.outputs = [wrap(a) for a in function.plain.run(addresses)]
        except DeviceError:
            raise
        except (IndexError, RuntimeError, MemoryError):
            for i, old in zip(program.unsafe, before, strict=True):
                np.copyto(arrays[i], old)
            self._bump(call, -1)
            raise Refused from None
        for k, node in self.leaves:
            out = run.outputs[k]
            out._requires_grad, out._grad_fn = True, node
        result = self.build.make(run)
        self.replays += 1
        new = [(source.holder, grad.make(run)) for source, grad in self.fixed_grads]
        if self.grads:
            new += [(_locate(source, call), grad.make(run)) for source, grad in self.grads]
        values = [(place, place.find(call), value.make(run)) for place, value in self.effects]
        memory = [(x, _locate(x.owner, call), x.build.make(run)) for x in self.memory]
        for t, g in new:
            t._grad = g
        for x, t, other in memory:
            x.give(t, other)
        for place, holder, value in values:
            place.put(holder, value)
        for source, flag in self.flags:
            _locate(source, call).requires_grad_(flag)
        for written in self.prints:
            written.again(run.values)
        return result

    def _bump(self, call: Call, sign: int) -> None:
        """Counts the run's in-place changes, or takes them back."""
        for counter, change in self.fixed_bumps:
            counter[0] += sign * change
        for source, change in self.bumps:
            t = _locate(source, call)
            (t if source.kind == "argument" else t._grad)._changes()[0] += sign * change  # type: ignore[union-attr]

    @cached_property
    def executable(self) -> Executable:
        """The program that a replay runs."""
        return self.function.executable

    @property
    def functions(self) -> list[GraphFunction]:
        """Its program."""
        return [self.function]

    def recorded_functions(self) -> list[GraphFunction]:
        """Its program, compiled or not."""
        return [self.function]

    @property
    def graphs(self) -> list[Graph]:
        """The recorded graph."""
        return [self.graph]

    @property
    def fused_graphs(self) -> list[Graph]:
        """The compiled graph, after all passes."""
        return [self.executable.fused]

    @property
    def nbytes(self) -> int:
        """The memory that it keeps between calls."""
        return self.function.nbytes


def _locate(source: Source, call: Call) -> Tensor:
    """The tensor that a source names, or whose gradient it names."""
    return source.holder if source.is_held else call.tensors[source.index]


def _forget(trace: weakref.ref[Trace], i: int) -> Callable[[Any], None]:
    """The callback for when input ``i``'s tensor no longer exists."""

    def forget(_: Any) -> None:
        its = trace()
        if its is not None:
            its.gone, its.arrays[i] = True, None

    return forget
