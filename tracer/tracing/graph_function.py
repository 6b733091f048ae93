"""A graph as a differentiable function on tensors.

The forward program is compiled at the first call, the backward program at the first backward. Which values the forward
run keeps for the backward one is decided by cost: products, reductions and reads at positions that are data are kept,
elementwise work and movements are repeated from them. Differentiating the backward pass again (``create_graph``)
makes the adjoint graph a ``GraphFunction`` of its own, and so on to any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.forms import Form
from ..autograd.node import FREED, BackwardNode, edges_to, look_up, modified
from ..context import context
from ..ir import pipeline
from ..ir.autodiff import vjp
from ..ir.graph import Builder, Graph, Op, Rewriter, Value
from ..ir.interp import evaluate
from ..ir.ops import check_index, reshape, uniform
from ..ir.primitive import Kind
from ..runtime.objects import address
from ..tensor import Tensor, wrap
from ..warning import warn
from .failure import TraceWarning, describe, with_room
from .recording import signals_apart

if TYPE_CHECKING:
    from ..runtime.program import Program


def _program(graph: Graph) -> Program:
    from ..runtime.planned import planned
    from ..runtime.program import Program  # brings llvmlite: not before something is compiled

    return Program(planned(graph))


class Executable:
    """A compiled graph that takes and gives arrays; updates go to the inputs' memory."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.program = with_room(lambda: _program(graph))
        self.run = self.program.run

    @cached_property
    def fused(self) -> Graph:
        """What is run, as a graph."""
        return pipeline.run(self.graph, pipeline.COMPILE, thorough=False)

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        whole = [np.ascontiguousarray(a) if a.ndim else a for a in arrays]
        return self.run([address(a) for a in whole])


class Interpreted:
    """What stands for an ``Executable`` where compilation fails, and no code of the user's could run instead."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.array(a) for a in evaluate(self.graph, *arrays)]


class GraphFunction:
    """A function on tensors given by a graph, differentiable to any order.

    ``active`` are the positions of the inputs that gradients may be asked for, ``outputs`` those of the outputs that may
    receive cotangents.
    """

    def __init__(self, graph: Graph, active: Sequence[int], outputs: Sequence[int]):
        self.recorded = graph
        self.active = tuple(active)
        self.outputs = list(outputs)
        self.reached, self._saved = _dependence(graph, self.active, self.outputs)
        self._parts: dict[frozenset[int], GraphFunction] = {}
        self._failed = False  # to compile: what it computes is computed operation by operation

    @cached_property
    def graph(self) -> Graph:
        """What was recorded, simplified; as it is where that fails, for then it does not compile either."""
        try:
            return pipeline.run(self.recorded, pipeline.SIMPLIFY, thorough=False)
        except Exception:
            return self.recorded

    @cached_property
    def forward(self) -> Executable:
        """Computes the outputs, then the values kept for the backward program."""
        return Executable(self._split[0])

    @cached_property
    def backward(self) -> Executable | Interpreted:
        """Computes the cotangents of the active inputs, from inputs, kept values and the outputs' cotangents."""
        graph = self._split[1]
        try:
            with signals_apart():
                return Executable(graph)
        except Exception as e:
            self._warn(e, graph)
            return Interpreted(graph)

    @cached_property
    def plain(self) -> Executable:
        """Computes the outputs alone, for calls that are not differentiated."""
        return Executable(self.recorded)

    @cached_property
    def joint(self) -> Graph:
        return pipeline.run(vjp(self.graph, self.active, self.outputs), pipeline.SIMPLIFY, thorough=False)

    @cached_property
    def adjoint(self) -> GraphFunction:
        """The cotangents as a function of inputs and output cotangents; differentiable in both."""
        rewriter = Rewriter(self.joint, f"{self.graph.name}.adjoint")
        for op in self.joint.ops:
            rewriter.copy(op)
        results = [rewriter.map[v] for v in self.joint.outputs[len(self.graph.outputs) :]]
        graph = rewriter.builder.finish(results)
        floating = [i for i, v in enumerate(graph.inputs) if v.type.dtype.is_floating_point]
        return GraphFunction(graph, floating, range(len(results)))

    def of(self, outputs: frozenset[int]) -> GraphFunction:
        """The same function, of which only some of ``outputs``, by their places among them, receive cotangents.

        That the others' are zero is not enough: second derivatives tell what does not exist from zero.
        """
        if len(outputs) == len(self.outputs):
            return self
        if outputs not in self._parts:
            self._parts[outputs] = GraphFunction(self.recorded, self.active, [self.outputs[k] for k in sorted(outputs)])
        return self._parts[outputs]

    @cached_property
    def adjoint_reads(self) -> set[int]:
        """The inputs that the cotangents depend on."""
        graph = self.adjoint.graph
        read = {v for op in graph.ops for v in op.operands} | set(graph.outputs)
        return {i for i, v in enumerate(graph.inputs[: len(self.graph.inputs)]) if v in read}

    @cached_property
    def overwritten(self) -> frozenset[int]:
        """The inputs that are others after a call, and that second derivatives may read as they were: those that the function
        changes, and states of random generators, from which derivatives draw again what the function drew.
        """
        needed = {op.operands[0] for op in self.graph.ops if op.primitive is uniform}
        for op in reversed(self.graph.ops) if needed else ():
            if not needed.isdisjoint(op.results):
                needed.update(op.operands)
        return frozenset(i for i, v in enumerate(self.graph.inputs) if v in needed).union(self.graph.updates.values())

    @cached_property
    def _split(self) -> tuple[Graph, Graph, list[int]]:
        unsaved = [i for i in range(len(self.graph.inputs)) if i not in self._saved]
        return split(self.joint, self.graph, unsaved)

    @property
    def reads(self) -> list[int]:
        """The inputs that the backward program reads."""
        return self._split[2]

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, as tensors."""
        if context.recorder is not None or self._failed:
            return self._inline(tensors)
        wanted = context.grad_enabled and any(tensors[i]._requires_grad for i in self.active) and bool(self.outputs)
        try:
            _ = self.forward if wanted else self.plain
        except Exception as e:
            self._warn(e, self.recorded)
            self._failed = True
            return self._inline(tensors)
        arrays = [t._data for t in tensors]
        return self.call([np.ascontiguousarray(a) if a.ndim else a for a in arrays], tensors if wanted else None)

    def _warn(self, error: Exception, graph: Graph) -> None:
        said = f"{graph.name} is computed without compiled code: {describe(error, graph)}"
        warn(said, TraceWarning)

    def call(self, arrays: Sequence[np.ndarray], tensors: Sequence[Tensor] | None) -> list[Tensor]:
        """Runs on contiguous arrays; ``tensors`` are the inputs as tensors if the results shall remember them."""
        if tensors is None:
            return [wrap(a) for a in self.plain.run([address(a) for a in arrays])]
        if self.overwritten:
            kept = {i for i in self.overwritten if not tensors[i]._requires_grad}
            tensors = [wrap(arrays[i].copy()) if i in kept else t for i, t in enumerate(tensors)]
        results = self.forward.run([address(a) for a in arrays])
        count = len(self.graph.outputs) - len(self.graph.updates)
        outs = [wrap(a) for a in results[:count]]
        node = CompiledNode(self, tensors, results[count:])
        places = [k for k in range(len(self.graph.outputs)) if k not in self.graph.updates]
        for number, k in enumerate(self.outputs):
            if any(tensors[i]._requires_grad for i in self.reached[number]):
                t = outs[places.index(k)]
                t._requires_grad, t._grad_fn, t._output = True, node, number
        return outs

    def _inline(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Operation by operation, for a recorder or a debugger to see."""
        graph = self.recorded if self._failed else self.graph
        env: dict[Value, Tensor] = dict(zip(graph.inputs, tensors, strict=True))
        for op in graph.ops:
            env[op.result] = op.primitive(*(env[v] for v in op.operands), **op.attrs)
        return [env[v] for v in graph.outputs]


def _dependence(graph: Graph, active: Sequence[int], outputs: Sequence[int]) -> tuple[list[frozenset[int]], set[int]]:
    """For each of ``outputs`` the active inputs that autograd reaches from it; and the inputs that eager autograd saves."""
    if not outputs:
        return [], set()
    masks: dict[Value, int] = {graph.inputs[i]: 1 << i for i in active}
    origin: dict[Value, int] = {v: i for i, v in enumerate(graph.inputs)}  # values that are views of inputs
    saved: set[int] = set()
    for op in graph.ops:
        primitive = op.primitive
        rules: Sequence[Any] = primitive.vjp or ([True] * len(op.operands) if primitive.vjp_all is not None else [])
        mask = 0
        for v, rule in zip(op.operands, rules, strict=False):
            if rule is not None and masks.get(v):
                mask |= masks[v]
                for i in getattr(rule, "saves_operands", ()):
                    if op.operands[i] in origin:
                        saved.add(origin[op.operands[i]])
        if mask and primitive.differentiable:
            masks.update(dict.fromkeys(op.results, mask))
        if (primitive.put is not None or primitive is reshape) and op.operands[0] in origin:
            origin[op.result] = origin[op.operands[0]]
    return [frozenset(i for i in active if masks.get(graph.outputs[k], 0) >> i & 1) for k in outputs], saved


_DEAR = (Kind.CONTRACTION, Kind.REDUCTION, Kind.INDEXING)


def split(joint: Graph, graph: Graph, unsaved: Sequence[int] = ()) -> tuple[Graph, Graph, list[int]]:
    """Cuts a joint graph in two: a forward graph that also gives what is kept, and a backward graph.

    Returns both, and the positions of the inputs that the backward graph reads. Its inputs are those, the kept values,
    the cotangents. Inputs in ``unsaved`` may have changed by then, as far as eager autograd cares: it reads none of them.
    """
    n, m = len(graph.inputs), len(graph.outputs)
    cotangents = joint.inputs[n:]
    after: set[Value] = set(cotangents)
    for op in joint.ops:
        if any(v in after for v in op.operands):
            after.update(op.results)
    results = joint.outputs[m:]
    # An input that the forward run overwrites is gone by then: its old value is kept like a computed one.
    overwritten = {joint.inputs[i] for i in (*graph.updates.values(), *unsaved)}
    needed = _needed(joint, results, after)
    kept = _kept(needed, joint, overwritten)

    forward = Rewriter(joint, graph.name)
    forward.builder.inputs = forward.builder.inputs[:n]
    checks = [op.results[0] for op in joint.ops if op.primitive is check_index and op.results[0] not in after]
    wanted = _ancestors(joint, [*joint.outputs[:m], *kept, *checks])
    for op in joint.ops:
        if op in wanted:
            forward.copy(op)
    outs = [forward.map[v] for v in (*joint.outputs[:m], *kept)]
    fore = forward.builder.finish(outs, graph.updates)

    backward = Builder(f"{graph.name}.backward")
    wanted = _ancestors(joint, results, stop=set(kept))
    reads = [i for i, v in enumerate(joint.inputs[:n]) if v not in kept and any(v in op.operands for op in wanted)]
    reads += [i for i, v in enumerate(joint.inputs[:n]) if v in results and i not in reads and v not in kept]
    env: dict[Value, Value] = {}
    for v in (*(joint.inputs[i] for i in reads), *kept, *cotangents):
        env[v] = backward.input(v.type, v.name)
    for op in joint.ops:
        if op in wanted:
            made = backward.append(op.primitive, [env[v] for v in op.operands], op.attrs, op.loc)
            env.update(zip(op.results, made, strict=True))
    return fore, backward.finish([env[v] for v in results]), reads


def _needed(joint: Graph, results: Sequence[Value], after: set[Value]) -> list[Value]:
    """The values known before the cotangents that the operations after them read, in order."""
    useful = _ancestors(joint, results)
    found = [v for op in joint.ops if op in useful and op.results[0] in after for v in op.operands if v not in after]
    return list(dict.fromkeys([*found, *(v for v in results if v not in after)]))


def _kept(needed: Sequence[Value], joint: Graph, overwritten: set[Value]) -> list[Value]:
    """Which values the forward run keeps."""
    kept: dict[Value, None] = {}
    free: set[Value] = set(joint.inputs) - overwritten  # available at no cost
    order = {v: i for i, v in enumerate(v for op in joint.ops for v in op.results)}
    for v in sorted(needed, key=lambda v: order.get(v, -1)):
        if v in free or v in kept:
            continue
        frontier = _frontier(v, free, kept)
        if frontier is None or any(u not in kept for u in frontier):
            kept[v] = None
    return list(kept)


def _frontier(v: Value, free: set[Value], kept: Mapping[Value, None]) -> set[Value] | None:
    """The dear values from which ``v`` can be recomputed cheaply; None if it cannot."""
    frontier: set[Value] = set()
    work, seen = [v], set()
    while work:
        u = work.pop()
        if u in free or u in seen:
            continue
        seen.add(u)
        if u in kept:
            frontier.add(u)
        elif u.op is None or u.op.primitive.kind in _DEAR or len(seen) > 64:
            return None
        else:
            work += u.op.operands
    return frontier


def _ancestors(graph: Graph, values: Sequence[Value], stop: set[Value] | None = None) -> set[Op]:
    found: set[Op] = set()
    live = set(values)
    for op in reversed(graph.ops):
        if any(v in live and not (stop and v in stop) for v in op.results):
            found.add(op)
            live.update(op.operands)
    return found


class CompiledNode(BackwardNode):
    """The node of a compiled function in the dynamic graph."""

    __slots__ = ("edges", "function", "inputs", "kept", "versions")

    def __init__(self, function: GraphFunction, tensors: Sequence[Tensor], kept: list[np.ndarray]):
        active = set(function.active)
        look_up(tensors)
        self.edges = tuple([e if k // 3 in active or k % 3 else None for k, e in enumerate(edges_to(tensors))])
        self.function = function
        self.inputs: Sequence[Tensor] | None = tensors
        self.kept = kept
        self.versions = [t._counter[0] for t in tensors]
        self.begin()

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Goes on with another tensor for an input that no gradient flows to."""
        assert self.inputs is not None
        for i, t in enumerate(self.inputs):
            if t is old:
                self.inputs = [*self.inputs[:i], new, *self.inputs[i + 1 :]]
                self.versions[i] = new._counter[0]

    def name(self) -> str:
        return f"{self.function.graph.name}Backward"

    @property
    def output_count(self) -> int:
        return len(self.function.outputs)

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        tensors = form.tensors
        if self.inputs is None:
            raise RuntimeError(FREED)
        function, inputs = self.function, self.inputs
        if tensors:
            function = function.of(frozenset(given))
        for i in function.adjoint_reads if tensors else function.reads:
            if inputs[i]._counter[0] != self.versions[i]:
                raise modified(inputs[i]._data, inputs[i]._counter[0], self.versions[i], inputs[i].grad_fn)
        results: list[Any]
        if tensors:
            changed = {i for i in function.graph.updates.values() if inputs[i]._requires_grad}
            if not function.adjoint_reads.isdisjoint(changed):
                raise RuntimeError(
                    f"{function.graph.name} changes in place what its derivative depends on: it cannot be differentiated twice"
                )
            results = function.adjoint([*inputs, *(given[k] for k in sorted(given))])
        else:
            cts = [given[k] if k in given else self._zero(k) for k in range(len(function.outputs))]
            read = [inputs[i]._data for i in function.reads]
            results = function.backward([*read, *self.kept, *(np.asarray(c) for c in cts)])
        reached = frozenset().union(*(self.function.reached[k] for k in given))
        by_input = {i: ct for i, ct in zip(function.active, results, strict=True) if i in reached}
        return [by_input.get(i) if want else None for i, want in enumerate(wanted)]

    def _zero(self, k: int) -> np.ndarray:
        t = self.function.graph.outputs[self.function.outputs[k]].type
        return np.zeros(t.shape, t.dtype.numpy)

    @property
    def released(self) -> bool:
        return self.inputs is None

    def release(self) -> None:
        self.inputs = None
        self.kept = []
