"""The node of a compiled function in the dynamic graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.accumulate import add_arrays
from ..autograd.forms import Form
from ..autograd.modes import unfollowed
from ..autograd.node import FREED, BackwardNode, Gradients, edges_to, latest_sequence, modified
from ..autograd.written import remember
from ..core.context import SPECIAL, context
from ..core.device import array_on, on_cpu
from ..core.eager import Eager
from ..core.tensor import Tensor, wrap
from ..core.waiting import WAITING, wait
from ..ir.interp import using
from ..ir.ops import copy
from ..runtime.devices import bounds, device_of
from .direct import direct

if TYPE_CHECKING:
    from .graph_function import GraphFunction


class Result:
    """The memory of a result that eager autograd saves."""

    __slots__ = ("array", "counter", "version")

    def __init__(self, t: Tensor):
        self.array, self.counter = t._data, t._changes()
        self.version = self.counter[0]


_NONE: frozenset[int] = frozenset()
_FIRST = frozenset([0])
NOTHING: Mapping[int, Any] = {}


class Since:
    """What has happened to a node since the call. Most nodes see one plain backward pass, and need none of this.

    exposed   memory that may have changed undetected, and a copy
    parted    the inputs that were replaced by copies, because they changed
    expanded  whether the node has become the graph that eager code would have created
    given     the outputs with cotangents in the current pass
    walked    the outputs that had cotangents in passes that freed the graph
    """

    __slots__ = ("expanded", "exposed", "given", "parted", "walked")

    def __init__(self) -> None:
        self.exposed: list[tuple[np.ndarray, np.ndarray]] = []
        self.parted: set[int] = set()
        self.expanded = False
        self.given = self.walked = _NONE


class CompiledNode(BackwardNode):
    """An application of a compiled function.

    It reads what eager autograd would: saved results, and the memory of inputs and results in its current state. If memory
    changes without a counter, it becomes the graph that eager code would have created, operation by operation (``expand``).
    Generated replays create nodes too (``express``).

    inputs    None once they are freed
    versions  of the inputs, when they were read
    kept      values that the forward program saves for the backward one
    results   by output number, the results that eager autograd saves
    spans     the memory of the inputs, then of the results; None if unknown
    waits     the reference through which it is notified of changes of memory; None if none of them matters
    """

    __slots__ = ("edges", "function", "inputs", "kept", "results", "since", "spans", "versions", "waits")

    def __init__(self, function: GraphFunction, tensors: Sequence[Tensor], kept: Sequence[np.ndarray]):
        edges: list[Any] = []
        for t, (is_active, type_) in zip(tensors, function.operands, strict=True):
            if t._view is not None:
                t._refresh()
            edges += (t._grad_fn or t, t._output, type_) if is_active and t._requires_grad else (None, 0, type_)
        self.edges = tuple(edges)
        self.function = function
        self.inputs: Sequence[Tensor] | None = tensors
        self.kept: Sequence[np.ndarray] = kept
        self.versions: Sequence[int] = tuple([t._counter[0] for t in tensors])
        self.results: Mapping[int, Result] = NOTHING
        self.since: Since | None = None
        self.spans: list[tuple[int, int]] | None = None
        self.begin()
        self.waits = wait(self) if function.waits else None

    def _happened(self) -> Since:
        """What has happened since, to be added to."""
        if self.since is None:
            self.since = Since()
        return self.since

    @property
    def expanded(self) -> bool:
        """True if it has become the graph that eager code would have created."""
        return self.since is not None and self.since.expanded

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Uses another tensor for an input without a gradient."""
        assert self.inputs is not None
        for i, t in enumerate(self.inputs):
            if t is old:
                self.inputs = [*self.inputs[:i], new, *self.inputs[i + 1 :]]
                self.versions = (*self.versions[:i], new._counter[0], *self.versions[i + 1 :])
                self.spans = None

    def name(self) -> str:
        return getattr(self, "label", None) or self.function.node_name

    @property
    def output_count(self) -> int:
        return len(self.function.outputs)

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        if self.expanded:  # the edges lead to the nodes of the results
            return [given.get(k) for k in range(len(self.function.outputs))]
        if self.inputs is None:
            raise RuntimeError(FREED)
        function, inputs, since = self.function, self.inputs, self._happened()
        since.given = _FIRST if given.keys() == _FIRST else frozenset(given)
        if since.walked and not function.needs(since.given).isdisjoint(function.needs(since.walked)):
            raise RuntimeError(FREED)
        self._check(given, wanted)
        results: Sequence[Any]
        if form.tensors and context.grad_enabled:  # which will be differentiated
            results = self._as_tensors(inputs, [given[k] for k in sorted(given)])
        else:
            arrays = {k: g._data if form.tensors else g for k, g in given.items()}
            cts = [arrays[k] if k in arrays else self._zero(k) for k in range(len(function.outputs))]
            read: list[Any] = [inputs[i]._data for i in function.reads]
            read += [*self.kept, *(np.asarray(c) if device_of(c) is None else c for c in cts)]
            found = function.backward(read)
            partial = len(given) < len(function.outputs) and function.may_multiply_zero(since.given)
            if partial and any(np.isnan(on_cpu(r)).any() for r in found):
                with using(Eager()), unfollowed():
                    found = [t._data for t in self._as_tensors(inputs, [wrap(arrays[k]) for k in sorted(arrays)])]
            results = [wrap(r) for r in found] if form.tensors else found
        places = self.function.places(since.given)
        return [results[j] if want and j is not None else None for want, j in zip(wanted, places, strict=True)]

    def _as_tensors(self, inputs: Sequence[Tensor], given: Sequence[Tensor]) -> Sequence[Tensor]:
        """The cotangents of the active inputs from exactly the given ones, differentiable."""
        function = self.function.of(self._happened().given)
        changed = {i for i in function.graph.updates.values() if inputs[i]._requires_grad}
        if not function.adjoint_reads.isdisjoint(changed):
            raise RuntimeError(
                f"{function.graph.name} changes in place what its derivative depends on: it cannot be differentiated twice"
            )
        return function.adjoint([*inputs, *given])

    def _check(self, given: Mapping[int, Any], wanted: Sequence[bool]) -> None:
        """Raises RuntimeError if something that eager autograd has saved, and reads in this pass, was changed in place."""
        inputs, versions = self.inputs, self.versions
        assert inputs is not None
        changed = [i for i, t in enumerate(inputs) if t._counter[0] != versions[i]]
        results = [(k, r) for k, r in self.results.items() if r.counter[0] != r.version]
        if not changed and not results:
            return
        saved, saved_results = self.function.saves(frozenset(given), frozenset(i for i, w in enumerate(wanted) if w))
        for i in changed:
            if i in saved:
                raise modified(inputs[i]._data, inputs[i]._counter[0], versions[i], inputs[i].grad_fn)
        for k, r in results:
            if k in saved_results:
                raise modified(r.array, r.counter[0], r.version, self)

    def _zero(self, k: int) -> np.ndarray:
        t = self.function.graph.outputs[self.function.outputs[k]].type
        return array_on(np.zeros(t.shape, t.dtype.numpy), self.function.placement.device)  # type: ignore[no-any-return]

    @property
    def released(self) -> bool:
        return self.inputs is None

    def release(self) -> None:
        """Frees what the last pass has read: another one may start from results that need none of it."""
        if self.inputs is None:
            return
        self.release_from(self._happened().given)

    def release_from(self, given: frozenset[int]) -> None:
        """The same after a pass from these results."""
        since = self._happened()
        since.walked |= given
        if self.function.needs_nothing:
            WAITING.discard(self.waits)  # no change of memory matters
        elif since.expanded or self.function.frees(since.walked):
            self.free()

    def free(self) -> None:
        """Frees everything."""
        self.inputs, self.kept, self.results = None, (), NOTHING
        if self.since is not None:
            self.since.exposed = []
        WAITING.discard(self.waits)

    def gradients(self, result: Tensor, retain_graph: bool) -> Gradients | None:
        if self.since is not None or self.extras is not None or self.inputs is None or SPECIAL or context.recorder is not None:
            return None
        number = result._output
        run = self.function.direct.get(number)
        if run is None:
            run = self.function.direct[number] = direct(self.function, number)
        return run(self, retain_graph)

    def run_alone(self, result: Tensor, retain_graph: bool) -> bool:
        found = self.gradients(result, retain_graph)
        if found is None:
            return False
        add_arrays(found)
        return True

    # Changes of memory.

    def _touched(self, low: int, high: int) -> Iterator[int]:
        """The inputs on this memory, by number; larger numbers for results."""
        if self.spans is None:
            results = [r.array for r in self.results.values()]
            self.spans = [bounds(a) for a in (*(t._data for t in self.inputs or ()), *results)]
        return iter([i for i, (a, b) in enumerate(self.spans) if a < high and low < b])

    def before_change(self, low: int, high: int, counter: Any) -> None:
        if self.inputs is None or self.expanded:
            return
        counters = [*(t._counter for t in self.inputs), *(r.counter for r in self.results.values())]
        for i in self._touched(low, high):
            if counters[i] is not counter:
                self.expand()
                return
            if i < len(self.inputs) and i not in self._happened().parted:
                self._part_with(i)

    def before_exposure(self, low: int, high: int) -> None:
        if self.inputs is None or self.expanded:
            return
        arrays = [*(t._data for t in self.inputs), *(r.array for r in self.results.values())]
        for i in self._touched(low, high):
            exposed = self._happened().exposed
            if not any(a is arrays[i] for a, _ in exposed):
                exposed.append((arrays[i], arrays[i].copy()))

    def before_pass(self) -> None:
        if self.since is not None and any(a.tobytes() != before.tobytes() for a, before in self.since.exposed):
            self.expand()

    def before_assignment(self, t: Tensor) -> None:
        if self.inputs is not None and not self.expanded and any(t is x for x in self.inputs):
            self.expand()
        elif t._grad_fn is self:  # a result: its type may change
            self._happened()

    def _part_with(self, i: int) -> None:
        """Input ``i`` is about to change, and a counter will count it: inputs that eager code does not save are replaced by a
        copy.
        """
        assert self.inputs is not None and self.spans is not None
        old = self.inputs[i]
        new = wrap(old._data.copy())
        target, output = self.edges[3 * i], self.edges[3 * i + 1]
        if target is not None:
            new._requires_grad, new._grad_fn, new._output = True, target, output
            if isinstance(target, Tensor):
                new._grad_fn, new._output = remember(copy, (target,), {}, new), 0
        new._counter = old._changes()
        self.inputs = [*self.inputs[:i], new, *self.inputs[i + 1 :]]
        self.spans[i] = 0, 0
        self._happened().parted.add(i)

    def expand(self) -> None:
        """Becomes the graph that eager code would have created, from the inputs before the change."""
        assert self.inputs is not None
        start = latest_sequence()
        with using(Eager()), _as_then(self):
            outs = self.function.run_eagerly(self.inputs, self.results)
        found = {n for t in outs for n in _newer(t._grad_fn, start)}
        # They precede the readers of the results, and follow the operands.
        for j, node in enumerate(sorted(found, key=lambda n: n.sequence)):
            node.sequence = self.sequence - 1 + (j + 1) / (len(found) + 2)
        self.edges = tuple([e for t in outs for e in (*edges_to((t,))[:2], None)])
        since, self.kept = self._happened(), ()
        since.expanded, since.exposed = True, []


def _newer(node: Any, start: int) -> list[BackwardNode]:
    """The nodes created after ``start`` among those that a backward pass from ``node`` reaches."""
    found: dict[BackwardNode, None] = {}
    work = [node]
    while work:
        n = work.pop()
        if isinstance(n, BackwardNode) and n.sequence > start and n not in found:
            found[n] = None
            work += n.edges[::3]
    return list(found)


class _as_then:
    """While a node expands, its inputs have their former elements and position in the graph; nothing is recorded."""

    def __init__(self, node: CompiledNode):
        self.node = node

    def __enter__(self) -> None:
        node, inputs, since = self.node, self.node.inputs, self.node._happened()
        assert inputs is not None
        self.mode = context.grad_enabled, context.recorder, context.inference, context.saved_tensors_hooks
        context.grad_enabled, context.recorder, context.inference, context.saved_tensors_hooks = True, None, False, ()
        self.elements = [(a, a.copy()) for a, _ in since.exposed]
        for a, before in since.exposed:
            np.copyto(a, before)
        self.tensors = [(t, t._requires_grad, t._grad_fn, t._output, t._history) for t in inputs]
        counted = [*((t._counter, v) for t, v in zip(inputs, node.versions, strict=True))]
        counted += [(r.counter, r.version) for r in node.results.values()]
        self.counters = [(counter, counter[0]) for counter, version in counted if counter[0] != version]
        for counter, version in counted:
            if counter[0] != version:
                counter[0] = version  # type: ignore[index]
        for i, t in enumerate(inputs):
            if t._view is not None:
                t._history = t._counter[0]
            target, output = node.edges[3 * i], node.edges[3 * i + 1]
            grad_fn = None if target is t else target
            if i not in since.parted and (t._requires_grad, t._grad_fn, t._output) != (target is not None, grad_fn, output):
                t._requires_grad, t._grad_fn, t._output = target is not None, grad_fn, output

    def __exit__(self, *exception: object) -> None:
        context.grad_enabled, context.recorder, context.inference, context.saved_tensors_hooks = self.mode
        for t, follows, grad_fn, output, history in self.tensors:
            if (t._requires_grad, t._grad_fn, t._output, t._history) != (follows, grad_fn, output, history):
                t._requires_grad, t._grad_fn, t._output, t._history = follows, grad_fn, output, history
        for counter, count in self.counters:
            counter[0] = count  # type: ignore[index]
        for a, elements in self.elements:
            np.copyto(a, elements)
