"""A graph as a differentiable function on tensors.

The forward program is compiled at the first call, the backward program at the first backward. Differentiating the backward
pass again (``create_graph``) turns the adjoint graph into a separate ``GraphFunction``, and so on to any order.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor, wrap
from ..core.warning import warn
from ..ir import pipeline
from ..ir.autodiff import vjp
from ..ir.graph import Graph, Op, Rewriter, Value
from ..ir.interp import evaluate
from ..ir.ops import broadcast, detach, reshape, uniform
from ..ir.primitive import Kind
from ..runtime.devices import address, contiguous
from ..runtime.support.objects import reads_arrays
from .background import Compilation
from .compiled_node import CompiledNode, Result
from .direct import Direct
from .failure import TraceWarning, describe, with_room
from .placement import CPU, Placement
from .recording import signals_apart
from .split import split

if TYPE_CHECKING:
    from ..runtime.programs.calling import Caller
    from ..runtime.programs.program import Program


def _program(graph: Graph, placement: Placement) -> Program:
    return placement.program(graph)  # type: ignore[no-any-return]


class Executable:
    """A compiled graph on arrays; updates are written to the inputs' memory."""

    existing: ClassVar[weakref.WeakSet[Executable]] = weakref.WeakSet()

    def __init__(self, graph: Graph, placement: Placement = CPU):
        self.graph, self.placement = graph, placement
        self.existing.add(self)
        start = perf_counter()
        self.program = with_room(lambda: _program(graph, placement))
        self.compiled_in = perf_counter() - start  # seconds
        self.run = self.program.run

    @cached_property
    def fused(self) -> Graph:
        """The compiled graph."""
        return pipeline.compiled(self.graph, pipeline.COMPILE)

    @cached_property
    def called(self) -> Caller | None:
        """A function of the ids of array objects, that returns None unless they are contiguous and of the right types; None if
        there is no such function.
        """
        from ..runtime.programs.calling import caller

        program = self.program
        simple = self.placement.device is None and reads_arrays and program.lock is None and not program.unsafe
        return caller(program, range(len(program.plan.inputs)), views=True) if simple else None

    def __call__(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        found = None if self.called is None else self.called(*map(id, arrays))
        if found is not None:
            return found
        whole = [contiguous(a) for a in arrays]
        return self.run([address(a) for a in whole])


class Interpreted:
    """Replaces an ``Executable`` if compilation fails, and no user code could run instead."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.array(a) for a in evaluate(self.graph, *arrays)]


class GraphFunction:
    """A function on tensors given by a graph, differentiable to any order.

    ``active`` are the positions of the inputs that may need gradients, ``outputs`` those of the outputs that may receive
    cotangents.

    operands       for each input, whether it is active, and its type
    waits          whether nodes must be notified before the memory of an input changes, because derivatives read inputs that
                   eager autograd does not save
    keeps_nothing  whether the nodes of the eager code save nothing, so that its graph can be walked repeatedly
    """

    waits: bool = True
    keeps_nothing: bool = False

    def __init__(
        self,
        graph: Graph,
        active: Sequence[int],
        outputs: Sequence[int],
        primal: GraphFunction | None = None,
        placement: Placement = CPU,
    ):
        """``primal``: the function whose cotangents this computes."""
        self.recorded, self.placement = graph, placement
        self.active = tuple(active)
        self.operands = [(i in self.active, v.type) for i, v in enumerate(graph.inputs)]
        self.outputs = list(outputs)
        self.primal = primal
        self.node_name = f"{graph.name}Backward"  # in the dynamic graph
        self.reached, self._saved = _dependence(graph, self.active, self.outputs)
        self._needs: dict[frozenset[int], frozenset[Op]] = {}
        self._frees: dict[frozenset[int], bool] = {}
        self._multiplies: dict[frozenset[int], bool] = {}
        self._places: dict[frozenset[int], Sequence[int | None]] = {}
        self._parts: dict[frozenset[int], Self] = {}
        self.direct: dict[int, Direct] = {}  # backward passes without the engine, by output
        self._compilation: Compilation | None = None  # in the background
        self._failed = False  # whether compilation failed: then it is computed operation by operation

    @cached_property
    def graph(self) -> Graph:
        """The recorded graph, simplified; unchanged if that fails, because then it does not compile either."""
        try:
            return pipeline.run(self.recorded, pipeline.SIMPLIFY, thorough=False)
        except Exception:
            return self.recorded

    @cached_property
    def forward(self) -> Executable:
        """Computes the outputs, then the values saved for the backward program."""
        return Executable(self._split[0], self.placement)

    @cached_property
    def backward(self) -> Executable | Interpreted:
        """Computes the cotangents of the active inputs, from inputs, saved values and the outputs' cotangents."""
        graph = self._split[1]
        try:
            with signals_apart():
                return Executable(graph, self.placement.of_some(self.reads))
        except Exception as e:
            self._warn(e, graph)
            return Interpreted(graph)

    @cached_property
    def plain(self) -> Executable:
        """Computes only the outputs, for calls that are not differentiated."""
        return Executable(self.recorded, self.placement)

    @property
    def nbytes(self) -> int:
        """The memory that its programs keep between calls."""
        return sum(x.program.nbytes for x in [*vars(self).values()] if isinstance(x, Executable))

    @property
    def compiled_in(self) -> float:
        """Seconds, of its programs so far."""
        return sum(x.compiled_in for x in [*vars(self).values()] if isinstance(x, Executable))

    @property
    def executable(self) -> Executable:
        """The program of a call."""
        return self.forward if self.active else self.plain

    def prepare(self, wait: bool) -> bool:
        """Compiles the program of a call, now or in the background. Returns whether it is compiled; raises the error if that
        failed.
        """
        if ("forward" if self.active else "plain") in vars(self):
            return True
        if not wait:
            return self.is_ready()
        with signals_apart():
            _ = self.executable
        return True

    @property
    def is_being_compiled(self) -> bool:
        """True while that is done in the background."""
        return self._compilation is not None and self._compilation.is_under_way

    def is_ready(self, timeout: float | None = 0) -> bool:
        """True if the programs of a call and of its backward pass are compiled. If not, they are from now on compiled in the
        background, which is waited for at most ``timeout`` seconds. Raises the error if that failed.
        """
        if self._compilation is None or self._compilation.is_lost:
            if ("backward" if self.active else "plain") in vars(self):
                return True
            self._compilation = Compilation(lambda: (self.executable, self.active and self.backward))
        return self._compilation.is_complete(timeout)

    @cached_property
    def joint(self) -> Graph:
        return pipeline.run(vjp(self.graph, self.active, self.outputs), pipeline.SIMPLIFY, thorough=False)

    @cached_property
    def adjoint(self) -> Self:
        """The cotangents as a function of inputs and output cotangents; differentiable in both."""
        graph = _cotangents_alone(self.joint, self.graph)
        floating = [i for i, v in enumerate(graph.inputs) if v.type.dtype.is_floating_point]
        return type(self)(graph, floating, range(len(graph.outputs)), self, self.placement)

    @cached_property
    def as_written(self) -> Graph:
        """The operations that eager code applies."""
        if self.primal is None:
            return self.recorded
        graph = self.primal.as_written
        return _cotangents_alone(vjp(graph, self.primal.active, self.primal.outputs), graph)

    def of(self, outputs: frozenset[int]) -> Self:
        """The same function, of which only some of ``outputs``, by their positions among them, receive cotangents.

        Zero cotangents for the others are not enough: second derivatives distinguish None from zero.
        """
        if len(outputs) == len(self.outputs):
            return self
        if outputs not in self._parts:
            chosen = [self.outputs[k] for k in sorted(outputs)]
            self._parts[outputs] = type(self)(self.recorded, self.active, chosen, self.primal, self.placement)
        return self._parts[outputs]

    @cached_property
    def adjoint_reads(self) -> set[int]:
        """The inputs that the cotangents depend on."""
        graph = self.adjoint.graph
        read = {v for op in graph.ops for v in op.operands} | set(graph.outputs)
        return {i for i, v in enumerate(graph.inputs[: len(self.graph.inputs)]) if v in read}

    @cached_property
    def overwritten(self) -> frozenset[int]:
        """The inputs that change in a call, and whose old values second derivatives may read: those that the function changes,
        and states of random generators, from which derivatives repeat the draws.
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
    def parts(self) -> tuple[Graph, Graph]:
        """The graphs of the forward and the backward program."""
        return self._split[:2]

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
        arrays = [contiguous(t._data) for t in tensors]
        return self.call(arrays, tensors if wanted else None)

    def _warn(self, error: Exception, graph: Graph) -> None:
        said = f"{graph.name} is computed without compiled code: {describe(error, graph)}"
        warn(said, TraceWarning)

    def call(self, arrays: Sequence[np.ndarray], tensors: Sequence[Tensor] | None) -> list[Tensor]:
        """Runs on contiguous arrays; ``tensors`` are the inputs as tensors if the results must store their history."""
        if tensors is None:
            return [wrap(a) for a in self._run(self.plain, arrays)]
        if self.overwritten:
            kept = {i for i in self.overwritten if not tensors[i]._requires_grad}
            tensors = [wrap(arrays[i].copy()) if i in kept else t for i, t in enumerate(tensors)]
        results = self._run(self.forward, arrays)
        count, saved, followed = self._returned
        outs = [wrap(a) for a in results[:count]]
        node = CompiledNode(self, tensors, results[count:])
        if saved:
            node.results = {k: Result(outs[place]) for k, place in saved}
        for number, (place, sources) in enumerate(followed):
            for i in sources:
                if tensors[i]._requires_grad:
                    t = outs[place]
                    t._requires_grad, t._grad_fn, t._output = True, node, number
                    break
        return outs

    @cached_property
    def _returned(self) -> tuple[int, list[tuple[int, int]], list[tuple[int, frozenset[int]]]]:
        """The number of tensors that a call returns, the places among them of the results that eager autograd saves, and of
        those that may receive cotangents, with the inputs that these reach.
        """
        place = {k: j for j, k in enumerate(k for k in range(len(self.graph.outputs)) if k not in self.graph.updates)}
        saved = [(k, place[k]) for k in self.saved_results if k in place]
        return len(place), saved, [(place[k], self.reached[number]) for number, k in enumerate(self.outputs)]

    def _run(self, executable: Any, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        results: Sequence[np.ndarray] = executable.run([address(a) for a in arrays])
        return results

    def saves(self, outputs: frozenset[int], inputs: frozenset[int]) -> tuple[set[int], set[int]]:
        """The inputs, and the results, whose memory eager autograd saves for a pass from some of ``outputs``, by their
        positions among them, to some inputs.
        """
        graph = self.as_written
        origin: dict[Value, tuple[bool, int]] = {v: (False, k) for k, v in enumerate(graph.outputs) if k not in graph.updates}
        origin |= {v: (True, i) for i, v in enumerate(graph.inputs)}
        for op in graph.ops:
            if _shows(op) and op.operands[0] in origin:
                origin.setdefault(op.result, origin[op.operands[0]])
        saved = set().union(*self._saving(outputs, inputs).values())
        found = [origin[v] for v in saved if v in origin]
        return {k for is_input, k in found if is_input}, {k for is_input, k in found if not is_input}

    def needs(self, outputs: frozenset[int]) -> frozenset[Op]:
        """The operations whose eager nodes a backward pass from some of ``outputs`` frees."""
        if self.keeps_nothing:
            return frozenset()
        if outputs not in self._needs:
            sources = [op for op in self.as_written.ops if op.primitive.kind is Kind.SOURCE]
            constants = {v for op in sources for v in op.results if not v.type.shape}  # eager nodes have numbers
            saving = self._saving(outputs, frozenset(self.active))
            self._needs[outputs] = frozenset(op for op, values in saving.items() if not values <= constants)
        return self._needs[outputs]

    @cached_property
    def needs_nothing(self) -> bool:
        """True if a backward pass frees nothing."""
        return not self.needs(frozenset(range(len(self.outputs))))

    def frees(self, outputs: frozenset[int]) -> bool:
        """True if passes from these of ``outputs`` free something that is needed by a pass from any of them."""
        if outputs not in self._frees:
            freed = self.needs(outputs)
            self._frees[outputs] = not any(self.needs(frozenset([k])).isdisjoint(freed) for k in range(len(self.outputs)))
        return self._frees[outputs]

    def places(self, outputs: frozenset[int]) -> Sequence[int | None]:
        """By input, the place of its cotangent among those of the active inputs; None if autograd does not reach it from these
        of ``outputs``.
        """
        if outputs not in self._places:
            reached = frozenset().union(*(self.reached[k] for k in outputs))
            place = {i: j for j, i in enumerate(self.active) if i in reached}
            self._places[outputs] = [place.get(i) for i in range(len(self.graph.inputs))]
        return self._places[outputs]

    def may_multiply_zero(self, outputs: frozenset[int]) -> bool:
        """True if a cotangent of zero for the other outputs can meet a derivative that is not finite. Their product is NaN,
        while eager autograd does not visit what only leads to these outputs.
        """
        if outputs not in self._multiplies:
            graph = self.graph
            places = {graph.outputs[self.outputs[k]] for k in outputs}
            visited, follows = set(places), {graph.inputs[i] for i in self.active}
            for op in reversed(graph.ops):
                if op.results[0] in visited:
                    visited.update(op.operands)
            others = {graph.outputs[k] for k in self.outputs} - visited
            for op in graph.ops:
                if not follows.isdisjoint(op.operands):
                    follows.update(op.results)
            found = False
            for op in reversed(graph.ops):
                if op.results[0] in others and op.results[0] in follows:
                    others.update(v for v in op.operands if v not in visited)
                    for v, rule in zip(op.operands, _rules(op), strict=False):
                        saved = [op.operands[i] for i in getattr(rule, "saves_operands", ())]
                        numbers = any(x.dtype.is_floating_point or x.dtype.is_complex for x in saved)
                        found |= v in follows and (numbers or getattr(rule, "saves_result", False))
            self._multiplies[outputs] = found
        return self._multiplies[outputs]

    def _saving(self, outputs: frozenset[int], inputs: frozenset[int]) -> dict[Op, set[Value]]:
        """The values that eager autograd saves for such a pass, by operation."""
        graph = self.as_written
        follows, leads = {graph.inputs[i] for i in self.active}, {graph.inputs[i] for i in inputs}
        for op in graph.ops:
            rules = _rules(op)
            for values in (follows, leads):
                if any(rule is not None and v in values for v, rule in zip(op.operands, rules, strict=False)):
                    values.update(op.results)
        visited = {graph.outputs[self.outputs[k]] for k in outputs}
        saving: dict[Op, set[Value]] = {}
        for op in reversed(graph.ops):
            if op.result not in visited or op.result not in leads:
                continue
            for v, rule in zip(op.operands, _rules(op), strict=False):
                if rule is not None and v in follows:
                    visited.add(v)
                    saved = saving.setdefault(op, set())
                    saved.update(op.operands[i] for i in getattr(rule, "saves_operands", ()))
                    if getattr(rule, "saves_result", False):
                        saved.add(op.result)
        return saving

    @cached_property
    def saved_results(self) -> set[int]:
        """The results whose memory eager autograd saves."""
        return self.saves(frozenset(range(len(self.outputs))), frozenset(self.active))[1]

    def run_eagerly(self, tensors: Sequence[Tensor], results: Mapping[int, Result]) -> list[Tensor]:
        """The outputs that may receive cotangents, with the history that eager code gives them.

        ``results`` are existing outputs: values computed from them are saved with their memory.
        """
        graph = self.as_written
        env: dict[Value, Tensor] = dict(zip(graph.inputs, tensors, strict=True))
        there = {graph.outputs[k]: r for k, r in results.items()}
        implicit: dict[Value, Value] = {}  # broadcasts that are implicit in eager code's elementwise operations
        now: list[tuple[np.ndarray, np.ndarray]] = []

        def value(v: Value) -> Tensor:
            if v not in env:
                assert v.op is not None
                env[v] = broadcast(value(implicit[v]), **v.op.attrs)
            return env[v]

        for op in graph.ops:
            if op.primitive is broadcast and _is_implicit(op):
                implicit[op.result] = op.operands[0]
                continue
            short: Sequence[Value] = op.operands
            if op.primitive.is_elementwise:
                short = [implicit.get(v, v) for v in op.operands]
                if np.broadcast_shapes(*(v.shape for v in short)) != op.result.shape:  # its result was broadcast
                    short = [u if u.op is None else v for u, v in zip(short, op.operands, strict=True)]
            operands = [value(v) for v in short]
            out = operands[0].detach() if op.primitive is detach else op.primitive(*operands, **op.attrs)
            env[op.result] = out
            if op.result in there:
                r = there[op.result]
                now.append((r.array, r.array.copy()))
                np.copyto(r.array, out._data)
                out._data, out._counter = r.array, r.counter
                node: Any = out._grad_fn
                if getattr(node, "result", None) is not None:
                    node.result, node.counter, node.version = r.array, r.counter, r.version
        outs = [value(graph.outputs[k]) for k in self.outputs]
        for array, elements in now:
            np.copyto(array, elements)
        return outs

    def _inline(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Operation by operation, for a recorder or a debugger."""
        graph = self.recorded if self._failed else self.graph
        env: dict[Value, Tensor] = dict(zip(graph.inputs, tensors, strict=True))
        for op in graph.ops:
            env[op.result] = op.primitive(*(env[v] for v in op.operands), **op.attrs)
        return [env[v] for v in graph.outputs]


def _rules(op: Op) -> Sequence[Any]:
    """For each operand, its cotangent rule; None where no gradient flows."""
    primitive = op.primitive
    return primitive.vjp or ([True] * len(op.operands) if primitive.vjp_all is not None else [])


def _shows(op: Op) -> bool:
    """True if the result may share the first operand's memory."""
    return op.primitive.put is not None or op.primitive in (reshape, detach)


def _is_implicit(op: Op) -> bool:
    """True if NumPy does a broadcast implicitly."""
    shape, small = op.result.shape, op.operands[0].shape
    return op.attrs["axes"] == tuple(range(len(shape) - len(small), len(shape)))


def _cotangents_alone(joint: Graph, graph: Graph) -> Graph:
    """A joint graph without the outputs of ``graph``."""
    rewriter = Rewriter(joint, f"{graph.name}.adjoint")
    for op in joint.ops:
        rewriter.copy(op)
    return rewriter.builder.finish([rewriter.map[v] for v in joint.outputs[len(graph.outputs) :]])


def _dependence(graph: Graph, active: Sequence[int], outputs: Sequence[int]) -> tuple[list[frozenset[int]], set[int]]:
    """For each of ``outputs`` the active inputs that autograd reaches from it; and the inputs that eager autograd saves."""
    if not outputs:
        return [], set()
    masks: dict[Value, int] = {graph.inputs[i]: 1 << i for i in active}
    origin: dict[Value, int] = {v: i for i, v in enumerate(graph.inputs)}  # values that are views of inputs
    saved: set[int] = set()
    for op in graph.ops:
        primitive = op.primitive
        mask = 0
        for v, rule in zip(op.operands, _rules(op), strict=False):
            if rule is not None and masks.get(v):
                mask |= masks[v]
                for i in getattr(rule, "saves_operands", ()):
                    if op.operands[i] in origin:
                        saved.add(origin[op.operands[i]])
        if mask and primitive.differentiable:
            masks.update(dict.fromkeys(op.results, mask))
        if _shows(op) and op.operands[0] in origin:
            origin[op.result] = origin[op.operands[0]]
    return [frozenset(i for i in active if masks.get(graph.outputs[k], 0) >> i & 1) for k in outputs], saved
