"""From a finished recording to something that can be replayed, and the replay."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.node import FreedNode, was_freed
from ..context import context
from ..ir.graph import Graph, Value
from ..ir.types import DType
from ..runtime.memory import address
from ..tensor import Tensor, wrap
from .graph_function import Executable, GraphFunction
from .guards import Call
from .recorder import Recorder, Source
from .scalars import RuntimeFloat

_STATIC = (bool, int, float, complex, str, bytes, type(None), DType)


def finish(recorder: Recorder, call: Call, result: Any, allowed: dict[int, Tensor]) -> Trace | None:
    """The trace of a recording; None, with ``recorder.reason`` set, where a replay would not do what the run did."""
    outputs: list[Value] = []
    leaves: list[Tensor] = []
    build = _describe(recorder, result, outputs, leaves)
    reason = build if isinstance(build, str) else _objection(recorder, allowed, leaves)
    if reason:
        recorder.reason = reason
        return None
    assert not isinstance(build, str)
    grads: list[tuple[Tensor, int | None]] = []
    for t in recorder.grads_written.values():
        if t._grad is None:
            grads.append((t, None))
        elif not any(t._grad is i for i in recorder.inputs):
            grads.append((t, len(outputs)))
            outputs.append(recorder.value(t._grad))
    updates: dict[int, int] = {}
    changed: list[int] = []
    for i, t in enumerate(recorder.inputs):
        if id(t) in recorder.written:
            updates[len(outputs)] = i
            outputs.append(recorder.known[id(t)].value)
            changed.append(i)
    graph = recorder.builder.finish(outputs, updates)
    freed = {k: t._grad_fn.name() for k, t in enumerate(leaves) if t._grad_fn is not None and was_freed(t._grad_fn)}
    followed = [k for k, t in enumerate(leaves) if t._requires_grad and k not in freed]
    active = [i for i, t in enumerate(recorder.inputs) if t._requires_grad] if followed else []
    pins = {i: float(recorder.inputs[i]._data) for i in recorder.pins}
    inputs = list(zip(recorder.sources, recorder.inputs, strict=True))
    return Trace(graph, active, inputs, build, grads, changed, pins, followed, freed, recorder)


def _describe(recorder: Recorder, x: Any, outputs: list[Value], leaves: list[Tensor]) -> Callable[[Any], Any] | str:
    """A function that builds the result from the graph's outputs; or why there is none."""
    if isinstance(x, RuntimeFloat):
        x = x.pinned()
        return "a float computed in the function is returned"
    if isinstance(x, Tensor):
        for i, t in enumerate(recorder.inputs):
            if t is x:
                return lambda run: run.tensor(i)
        k = len(outputs)
        outputs.append(recorder.value(x))
        leaves.append(x)
        return lambda run: run.outputs[k]
    if isinstance(x, _STATIC):
        return lambda run: x
    if isinstance(x, (list, tuple)):
        parts = [_describe(recorder, item, outputs, leaves) for item in x]
        wrong = next((p for p in parts if isinstance(p, str)), None)
        if wrong:
            return wrong
        kind = type(x)
        if hasattr(x, "_fields"):
            return lambda run: kind(*[p(run) for p in parts])  # type: ignore[operator]
        return lambda run: kind([p(run) for p in parts])  # type: ignore[operator]
    if isinstance(x, dict):
        keys = list(x)
        values = [_describe(recorder, v, outputs, leaves) for v in x.values()]
        wrong = next((p for p in values if isinstance(p, str)), None)
        return wrong or (lambda run: {k: v(run) for k, v in zip(keys, values, strict=True)})  # type: ignore[operator]
    return f"it returns a {type(x).__name__}"


def _objection(recorder: Recorder, allowed: dict[int, Tensor], leaves: list[Tensor]) -> str:
    """Why a replay would differ from the run; empty if it would not."""
    from ..random import default_generator

    known = {*allowed, id(default_generator.state)}
    for t, source in zip(recorder.inputs, recorder.sources, strict=True):
        if source.kind == "captured" and id(t) not in known:
            return f"it reads a tensor of shape {list(t.shape)} that no argument, closure variable or global leads to"
        if source.kind == "grad" and id(source.holder) not in {*known, *map(id, recorder.inputs)}:
            return "it reads the gradient of a tensor that no argument, closure variable or global leads to"
        if id(t) in recorder.written and not t._data.flags.c_contiguous:
            return "it changes a tensor whose memory is not contiguous"
        if id(t) in recorder.written and t._grad_fn is not None:
            return "it changes in place a tensor that autograd follows"
    for t in recorder.grads_written.values():
        if id(t) not in known and not any(t is i for i in recorder.inputs):
            return "it sets the gradient of a tensor that no argument, closure variable or global leads to"
    written = [t for t in recorder.inputs if id(t) in recorder.written]
    for t in written:
        for other in recorder.inputs:
            if other is not t and np.may_share_memory(t._data, other._data):
                return "it changes a tensor that shares memory with another one it reads"
    if len(written) < len(recorder.written):
        outside = [t for i, t in recorder.written.items() if not any(t is w for w in written)]
        new = {id(t) for t in recorder.made}
        if any(id(t) not in new for t in outside):
            return "it changes, through a view made outside, a tensor it was not given"
    roots = [id(t._root()) for t in leaves]
    if len(set(roots)) < len(roots) or any(any(t._root() is i for i in recorder.inputs) for t in leaves):
        return "it returns views that share memory"
    return _escapes(recorder, leaves)


def _escapes(recorder: Recorder, leaves: list[Tensor]) -> str:
    """Looks for tensors made by the run that something outside it still holds: a replay would not renew them."""
    counts = _references(recorder, leaves)
    results = {id(t) for t in leaves}
    for t in recorder.made:
        # Beside the references that are accounted for: this loop's variable, and getrefcount's argument.
        expected = counts[id(t)] + 2 + (_HELD_RESULT if id(t) in results else 0)
        if sys.getrefcount(t) > expected:
            return f"a tensor of shape {list(t.shape)} made by the function is kept by something outside it"
    return ""


def _references(recorder: Recorder, leaves: list[Tensor]) -> Counter[int]:
    """How often each tensor is referred to by the recorder, by the dynamic graph, by views and by gradients."""
    found: list[Any] = [k.tensor for k in recorder.known.values()]
    found += [*recorder.made, *leaves, *recorder.written.values(), *recorder.grads_written.values()]
    found += [t for t, _ in recorder.grads_read.values()]
    found += [f._tensor for f in recorder.floats.values()]
    holders = {id(t): t for t in (*recorder.made, *recorder.inputs, *recorder.grads_written.values())}
    for t in holders.values():
        found += [t._grad, t._view[0] if t._view is not None else None]
    nodes: dict[int, Any] = {}
    work: list[Any] = [t._grad_fn for t in recorder.made if t._grad_fn is not None]
    while work:
        node = work.pop()
        if id(node) in nodes:
            continue
        nodes[id(node)] = node
        targets = [e[0] for e in node.edges if e is not None]
        work += [n for n in targets if not isinstance(n, Tensor)]
        found += [n for n in targets if isinstance(n, Tensor)]
        found += getattr(node, "operands", None) or getattr(node, "inputs", None) or ()
    return Counter(id(t) for t in found if isinstance(t, Tensor))


# A result is held by the structure that was returned as well, or, if it is not in one, by the frames that pass it on.
_HELD_RESULT = 3


class _Run:
    """One replay: its inputs as tensors, and its outputs."""

    __slots__ = ("call", "outputs", "trace")

    def __init__(self, trace: Trace, call: Call):
        self.trace, self.call = trace, call
        self.outputs: list[Tensor] = []

    def tensor(self, i: int) -> Tensor:
        return self.trace.fetch(i, self.call)


class Trace:
    """A recorded graph, with where its inputs come from and what is to be done with its outputs."""

    def __init__(
        self,
        graph: Graph,
        active: list[int],
        inputs: list[tuple[Source, Tensor]],
        build: Callable[[Any], Any],
        grads: list[tuple[Tensor, int | None]],
        changed: list[int],
        pins: dict[int, float],
        followed: list[int],
        freed: dict[int, str],
        recorder: Recorder,
    ):
        self.graph = graph
        self.function = GraphFunction(graph, active, followed)
        self.sources = [s for s, _ in inputs]
        self.build = build
        places = [(self._locate(t, inputs), k) for t, k in grads]
        # What belongs to captured tensors is known now; what belongs to arguments, in each call.
        self.grads = [(s.holder, k) for s, k in places if s.kind != "argument"]
        self.argument_grads = [(s.index, k) for s, k in places if s.kind == "argument"]
        self.counters = [t._counter for i, (s, t) in enumerate(inputs) if i in changed and s.kind == "captured"]
        self.changed = [i for i in changed if inputs[i][0].kind != "captured"]
        self.freed = [(k, FreedNode(name)) for k, name in freed.items()]
        self.pins = [(self.sources[i], value) for i, value in pins.items()]
        self.none_grads = [(self._locate(t, inputs), none) for t, none in recorder.grads_read.values()]
        # Captured tensors keep their memory from call to call: their addresses are looked up once.
        self.cached: list[tuple[np.ndarray | None, int]] = [(None, 0)] * len(inputs)
        self.types = [v.type for v in graph.inputs]
        self.moving = [i for i, s in enumerate(self.sources) if s.kind != "captured"]
        self.fixed = [i for i, s in enumerate(self.sources) if s.kind == "captured"]
        self.hosts = [s for s in self.sources if s.kind == "host"]
        self.addresses = [0] * len(inputs)
        self.arrays: list[Any] = [None] * len(inputs)

    @staticmethod
    def _locate(t: Tensor, inputs: list[tuple[Source, Tensor]]) -> Source:
        """Where a replay finds a tensor whose gradient matters."""
        for source, known in inputs:
            if known is t:
                return source
        return Source("captured", holder=t)

    def _find(self, source: Source, call: Call) -> Tensor:
        return call.tensors[source.index] if source.kind == "argument" else source.holder

    def fetch(self, i: int, call: Call) -> Tensor:
        """Input ``i`` as a tensor."""
        source = self.sources[i]
        if source.kind in ("argument", "captured"):
            return self._find(source, call)
        if source.kind == "grad":
            return source.holder._grad
        value = call.floats[source.index] if source.kind == "float" else source.holder[source.key]
        return wrap(np.array(value, np.float64))

    def matches(self, call: Call) -> bool:
        """The guards that are not part of the signature."""
        for source, none in self.none_grads:
            if (self._find(source, call)._grad is None) != none:
                return False
        for source, value in self.pins:
            now = call.floats[source.index] if source.kind == "float" else source.holder[source.key]
            if now != value:
                return False
        for i in self.fixed:
            data = self.sources[i].holder._data
            if data is not self.arrays[i]:
                t = self.types[i]
                if data.shape != t.shape or data.dtype != t.dtype.numpy or not data.flags.c_contiguous:
                    return False
                self.arrays[i], self.addresses[i] = data, address(data)
        return all(type(s.holder[s.key]) is float for s in self.hosts)

    def replay(self, call: Call) -> Any:
        """One native call, then the effects on tensors that the graph cannot express."""
        addresses = self.addresses.copy()
        arrays = self.arrays.copy()
        for i in self.moving:
            data = self.fetch(i, call)._data
            if not data.flags.c_contiguous:
                data = np.ascontiguousarray(data)
            arrays[i] = data  # alive until the call is over
            addresses[i] = address(data)
        grads = self.grads
        if self.argument_grads:
            grads = grads + [(call.tensors[i], k) for i, k in self.argument_grads]
        for t, _ in grads:
            t._grad = None  # its buffer may be the one to take next
        function = self.function
        run = _Run(self, call)
        if function.active and context.grad_enabled:
            tensors = [self.fetch(i, call) for i in range(len(arrays))]
            outputs = function.call(arrays, tensors)
        else:
            outputs = [wrap(a) for a in function.plain.run(addresses)]
        run.outputs = outputs
        for k, node in self.freed:
            out = outputs[k]
            out._requires_grad, out._grad_fn = True, node
        for counter in self.counters:
            counter[0] += 1
        for i in self.changed:
            self.fetch(i, call)._counter[0] += 1
        for t, at in grads:
            if at is not None:
                t._grad = outputs[at]
        return self.build(run)

    @property
    def executable(self) -> Executable:
        """The program a replay runs."""
        return self.function.forward if self.function.active else self.function.plain

    def summary(self) -> str:
        """One line on the graph and its kernels."""
        program = self.executable.program
        return (
            f"{len(self.graph.ops)} operations in {len(program.steps)} kernels "
            f"({len({s.source for s in program.steps})} different), one native call"
        )
