"""The backward engine. It is independent of operations.

Nodes are processed from the latest to the earliest. Every reader of a value was created after it, so a node's cotangent is
complete when the node is processed. There is no recursion, hence no limit on depth; passes that a node starts itself run on
a new thread from time to time (``nesting``).

The pass's *form* (``forms``) defines the cotangents: arrays or tensors.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor
from ..core.waiting import WAITING, pass_begins
from ..ir.interp import current, restore, selection, silence, using
from ..ir.ops import add, cast, slices
from ..ir.types import DType, dtype_of
from ..runtime.devices import WITH_STREAMS
from . import anomaly, hooks, nesting
from .accumulate import accumulate
from .forms import ARRAYS, ON_DEVICES, TENSORS, Form, form_for
from .node import BackwardNode
from .unbroadcast import unbroadcast


class Edge(NamedTuple):
    """A position in the graph: an output of a node, or a leaf, whose output is 0. ``tensor``: the requested tensor."""

    target: Any
    output: int
    tensor: Tensor | None = None

    @property
    def key(self) -> tuple[int, int]:
        return id(self.target), self.output


class _Running(threading.local):
    engine: _Engine | None = None  # of the innermost pass


_running = _Running()


def running() -> _Engine | None:
    """This thread's current pass."""
    return _running.engine


def run(
    roots: Sequence[Edge],
    cotangents: Sequence[Tensor],
    inputs: Sequence[Edge] | None,
    retain_graph: bool,
    create_graph: bool,
    accumulates: bool,
) -> list[Any]:
    """The cotangents of ``inputs``, None where there is none.

    If ``accumulates``, adds them to the ``.grad`` of the inputs, or of the leaves.
    """
    return nesting.guarded(_run, roots, cotangents, inputs, retain_graph, create_graph, accumulates)


def _run(
    roots: Sequence[Edge],
    cotangents: Sequence[Tensor],
    inputs: Sequence[Edge] | None,
    retain_graph: bool,
    create_graph: bool,
    accumulates: bool,
) -> list[Any]:
    form, token = form_for(create_graph), None
    mode, outer, interpreter = context.grad_enabled, _running.engine, selection.interpreter
    for device in WITH_STREAMS:  # the pass runs in this stream, whatever streams its operands are from
        device.gather()
    try:
        if WAITING:
            pass_begins()
        context.grad_enabled = create_graph
        token = silence()
        engine = _running.engine = _Engine(form, roots, inputs, accumulates)
        given = []
        for root, ct in zip(roots, cotangents, strict=True):
            given.append(form.take(ct.clone() if isinstance(root.target, Tensor) else ct))
        selection.interpreter = form.interpreter()
        for root, g in zip(roots, given, strict=True):
            if not isinstance(root.target, Tensor) or engine.wants(root.target):
                engine.send(root.target, root.output, g)
        engine.drain(retain_graph)
        engine.call_hooks_of_leaves()
        results = engine.results()
        selection.interpreter = interpreter
        if accumulates:
            for t, g in results:
                if t._requires_grad:  # it may have left the graph meanwhile
                    accumulate(t, g, create_graph)
        for callback in engine.callbacks:  # callbacks may add callbacks
            callback()
        return results
    finally:  # assignments first, because an interrupt could prevent a call
        selection.interpreter, _running.engine, context.grad_enabled = interpreter, outer, mode
        if token is not None:
            restore(token)
        for device in WITH_STREAMS:  # memory that it has used is given back to other streams
            device.spread()


class _Engine:
    def __init__(self, form: Form, roots: Sequence[Edge], inputs: Sequence[Edge] | None, accumulates: bool):
        self.form = form
        self.outside = current()  # the interpreter outside the rules
        self.roots, self.inputs, self.accumulates = roots, inputs, accumulates
        self.callbacks: list[Callable[[], Any]] = []
        self.gathered: dict[Any, tuple[int, list[Any]]] = {}  # by hook on several gradients: how many are to come, and these
        self.found: dict[tuple[int, int], tuple[Any, Any]] = {}  # by key: leaf or node, cotangent
        self.pending: dict[Any, dict[int, Any]] = {}
        self.parts: dict[tuple[int, int], Any] = {}  # cotangents that are sums of parts, in unshared memory
        self.queue: list[tuple[int, BackwardNode]] = []
        self.leaves: dict[int, Tensor] | None = None
        # Inputs that are not leaves: caught when their node is processed.
        self.watched: dict[Any, set[int]] = {}
        self.useful: set[Any] | None = None
        self._reached: set[Any] | None = None
        if inputs is not None:
            self.leaves = {}
            for edge in inputs:
                if isinstance(edge.target, Tensor):
                    self.leaves[id(edge.target)] = edge.target
                else:
                    self.watched.setdefault(edge.target, set()).add(edge.output)

    def send(self, target: Any, output: int, g: Any) -> None:
        """Adds ``g`` to the cotangent of a node's output, or of a leaf."""
        if isinstance(target, Tensor):
            self._add(target, 0, g)
            return
        waiting = self.pending.get(target)
        if waiting is None:
            self.pending[target] = {output: g}
            heapq.heappush(self.queue, (-target.sequence, target))
        else:
            waiting[output] = add(waiting[output], g) if output in waiting else g

    def add_to_leaf(self, leaf: Tensor, g: np.ndarray) -> None:
        """The same for a leaf; ``g`` is in unshared memory."""
        key = id(leaf), 0
        before = self.found.get(key)
        self.found[key] = leaf, g if before is None else add(before[1], g)

    def wants(self, leaf: Tensor) -> bool:
        return self.leaves is None or id(leaf) in self.leaves

    def _add(self, target: Any, output: int, g: Any) -> None:
        key = id(target), output
        before = self.found.get(key)
        self.found[key] = (target, g if before is None else add(before[1], g))

    def drain(self, retain_graph: bool) -> None:
        """Processes nodes until no cotangent is pending."""
        if self.leaves is not None:
            self.useful = self._useful_nodes()
        queue, pending, recorder, inputs = self.queue, self.pending, context.recorder, self.leaves is not None
        watches = context.anomaly
        quick = self.form is ARRAYS and not watches
        while queue:
            node = heapq.heappop(queue)[1]
            waiting = pending.pop(node)
            if self.parts:
                for output in waiting:
                    self.parts.pop((id(node), output), None)
            if recorder is not None:
                recorder.visits(node)
            extras = node.extras
            if extras is not None and extras.hooks:
                hooks.apply_to_outputs(extras, waiting, self.form)
            pull = node.pull if quick and extras is None else None
            if inputs:
                self._catch(node, waiting)
                targets = node.edges[::3]
                wanted = [t is not None and self._leads_somewhere(t) for t in targets]
                if any(wanted) or not wanted:
                    whole = pull is not None and wanted == [t is not None for t in targets]
                    if not (whole and pull(waiting[0], self)):  # type: ignore[misc]
                        self._visit(node, node.edges, waiting, wanted, watches)
            elif pull is None or not pull(waiting[0], self):
                edges = node.edges
                self._visit(node, edges, waiting, [t is not None for t in edges[::3]], watches)
            if not retain_graph:
                node.release()

    def _catch(self, node: BackwardNode, waiting: dict[int, Any]) -> None:
        """Stores the cotangents of the inputs that this node computed."""
        for output in self.watched.get(node, ()):
            if output in waiting:
                self._add(node, output, self.form.own(waiting[output], waiting))

    def _visit(
        self, node: BackwardNode, edges: Sequence[Any], given: dict[int, Any], wanted: Sequence[Any], watches: bool
    ) -> None:
        form, extras = self.form, node.extras
        if extras is not None and extras.prehooks:
            given = hooks.before(extras, given, node.output_count, form)
        if watches:
            cotangents = anomaly.watched(node, given, wanted, form)
        elif form is ARRAYS or form is TENSORS or form is ON_DEVICES or node.by_rules:
            cotangents = node.cotangents(given, wanted, form)
        else:
            with using(self.outside):
                shown = node.cotangents({k: form.give(g) for k, g in given.items()}, wanted, TENSORS)
            cotangents = [None if g is None else form.take(g) for g in shown]
        if extras is not None and extras.posthooks:
            cotangents = hooks.after(extras, cotangents, given, node.output_count, form)
        for i, ct in enumerate(cotangents):
            target = edges[3 * i]
            if ct is None or target is None:
                continue
            output, type_ = edges[3 * i + 1], edges[3 * i + 2]
            if type_ is not None and ct.shape != type_.shape:
                ct = unbroadcast(ct, type_.shape)
            if not node.by_rules and type_ is not None and type_.dtype is not _dtype(ct):
                ct = cast(ct, dtype=type_.dtype.short)
            if isinstance(target, Tensor):
                # A leaf's cotangent becomes a .grad, whose memory must not be shared.
                self._add(target, 0, form.own(ct, given))
            else:
                self.send(target, output, ct)

    def send_part(self, node: Any, g: np.ndarray) -> None:
        """Adds the cotangent of a slice to the operand's, in place from the second one on: code that reads an array row by row
        would add arrays of its size for each row.
        """
        target, output, type_ = node.edges
        key = id(target), output
        region = slices(node.attrs["starts"], node.attrs["stops"], node.attrs["steps"])
        before = self._so_far(target, output)
        if key in self.parts and self.parts[key] is before:
            part = before[region]
            part += g.reshape(part.shape)
            return
        whole = np.zeros(type_.shape, g.dtype)
        part = whole[region]
        part[...] = g.reshape(part.shape)
        if isinstance(target, Tensor):
            self.add_to_leaf(target, whole)
        else:
            self.send(target, output, whole)
        if whole.dtype.kind in "fc":  # sums of 16-bit numbers are rounded by ``add``
            self.parts[key] = self._so_far(target, output)

    def _so_far(self, target: Any, output: int) -> Any:
        """The sum of what was sent to a leaf, or to a node's output; None if that is nothing."""
        if isinstance(target, Tensor):
            found = self.found.get((id(target), 0))
            return None if found is None else found[1]
        return self.pending.get(target, {}).get(output)

    def _leads_somewhere(self, target: Any) -> bool:
        if isinstance(target, Tensor):
            return self.wants(target)
        return self.leaves is None or self.useful is None or target in self.useful

    def call_hooks_of_leaves(self) -> None:
        for key, (t, g) in self.found.items():
            if isinstance(t, Tensor) and (own := vars(t).get("_hooks")):
                self.found[key] = t, hooks.call(own, g, self.form)

    def results(self) -> list[Any]:
        """The cotangents of the inputs, or pairs of a tensor and the value to add to its gradient."""
        give = self.form.give
        if self.inputs is None:
            return [(t, give(g)) for t, g in self.found.values()]
        gradients = {key: give(g) for key, (_, g) in self.found.items()}
        found = [(edge, gradients.get(edge.key)) for edge in self.inputs]
        if not self.accumulates:
            return [g for _, g in found]
        # Non-leaf inputs retain their gradients.
        leaves = {id(t): (t, g) for (t, _, _), g in found if g is not None and isinstance(t, Tensor)}
        return [*leaves.values()]

    def executes(self, target: Any) -> bool:
        """True if this pass computes the cotangent of a leaf, or processes a node."""
        if self._reached is None:
            self._reached = set(self._nodes([r.target for r in self.roots]))
        if isinstance(target, Tensor):
            leads = any(target is t for n in self._reached for t in n.edges[::3]) or any(target is r.target for r in self.roots)
            return leads and self.wants(target)
        return target in self._reached and (self.useful is None or target in self.useful or target in self.watched)

    @staticmethod
    def _nodes(work: list[Any]) -> list[Any]:
        """The nodes among these and those reachable from them."""
        order: list[Any] = []
        seen: set[Any] = set()
        while work:
            node = work.pop()
            if node in seen or not isinstance(node, BackwardNode):
                continue
            seen.add(node)
            order.append(node)
            work += [t for t in node.edges[::3] if isinstance(t, BackwardNode)]
        return order

    def _useful_nodes(self) -> set[Any]:
        """The nodes that lead to an input."""
        useful: set[Any] = set()
        for node in sorted(self._nodes([node for _, node in self.queue]), key=lambda n: n.sequence):
            targets = node.edges[::3]
            leaf = any(isinstance(t, Tensor) and id(t) in (self.leaves or ()) for t in targets)
            if leaf or node in self.watched or any(t in useful for t in targets if isinstance(t, BackwardNode)):
                useful.add(node)
        return useful


def _dtype(g: Any) -> DType:
    return dtype_of(g.dtype) if isinstance(g.dtype, np.dtype) else g.dtype
