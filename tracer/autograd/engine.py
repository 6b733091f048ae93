"""The backward engine. It knows no operation.

Nodes are processed from the latest to the earliest: whatever reads a value was made after it, so when a node's turn
comes its cotangent is complete. There is no recursion, hence no limit on depth.

What the cotangents are, arrays or tensors, is the pass's *form* (``forms``).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..context import context
from ..ir.halves import narrowed, widened
from ..ir.interp import current, restore, silence, using
from ..ir.ops import add, cast, reshape, sum_
from ..ir.types import DType, dtype_of
from ..tensor import Tensor
from . import anomaly, hooks
from .forms import ARRAYS, TENSORS, Form, form_for
from .node import BackwardNode


def run(
    roots: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    inputs: Sequence[Tensor] | None,
    retain_graph: bool,
    create_graph: bool,
) -> dict[int, tuple[Tensor, Any]]:
    """Cotangents of the leaves (or of ``inputs``): id -> (tensor, cotangent), as tensors."""
    form = form_for(create_graph)
    before = context.grad_enabled
    context.grad_enabled = create_graph
    token = silence()
    try:
        engine = _Engine(form, inputs)
        given = []
        for root, ct in zip(roots, cotangents, strict=True):
            if root._view is not None:
                root._refresh()
            given.append(form.take(ct if root._grad_fn is not None else ct.clone()))
        with using(form.interpreter()):
            for root, g in zip(roots, given, strict=True):
                if root._grad_fn is not None:
                    engine.send(root._grad_fn, root._output, g)
                elif engine.wants(root):
                    engine.send(root, 0, g)
            engine.drain(retain_graph)
            for i, (t, g) in engine.found.items():
                own = vars(t).get("_hooks")
                if own and t._grad_fn is None:
                    engine.found[i] = (t, hooks.call(own, g, form))
            return {i: (t, form.give(g)) for i, (t, g) in engine.found.items()}
    finally:
        restore(token)
        context.grad_enabled = before


class _Engine:
    def __init__(self, form: Form, inputs: Sequence[Tensor] | None):
        self.form = form
        self.outside = current()  # whom primitives speak to outside the rules
        self.found: dict[int, tuple[Tensor, Any]] = {}
        self.pending: dict[Any, dict[int, Any]] = {}
        self.queue: list[tuple[int, BackwardNode]] = []
        self.leaves: dict[int, Tensor] | None = None
        # Inputs that are not leaves: caught when the node that made them is reached.
        self.watched: dict[Any, list[Tensor]] = {}
        self.useful: set[Any] | None = None
        if inputs is not None:
            self.leaves = {}
            for t in inputs:
                if t._view is not None:
                    t._refresh()
                if t._grad_fn is None:
                    self.leaves[id(t)] = t
                else:
                    self.watched.setdefault(t._grad_fn, []).append(t)

    def send(self, target: Any, output: int, g: Any) -> None:
        """Adds ``g`` to the cotangent of a node's output, or of a leaf."""
        if isinstance(target, Tensor):
            self._add(target, g)
            return
        waiting = self.pending.get(target)
        if waiting is None:
            self.pending[target] = {output: g}
            heapq.heappush(self.queue, (-target.sequence, target))
        else:
            waiting[output] = add(waiting[output], g) if output in waiting else g

    def wants(self, leaf: Tensor) -> bool:
        return self.leaves is None or id(leaf) in self.leaves

    def _add(self, t: Tensor, g: Any) -> None:
        before = self.found.get(id(t))
        self.found[id(t)] = (t, g if before is None else add(before[1], g))

    def drain(self, retain_graph: bool) -> None:
        """Visits nodes until none has a cotangent waiting."""
        if self.leaves is not None:
            self.useful = self._useful_nodes()
        queue, pending, recorder = self.queue, self.pending, context.recorder
        while queue:
            node = heapq.heappop(queue)[1]
            waiting = pending.pop(node)
            if recorder is not None:
                recorder.visits(node)
            if node.extras is not None:
                hooks.apply_to_outputs(node, waiting, self.form)
            if self.leaves is None:
                wanted = [t is not None for t in node.edges[::3]]
            else:
                self._catch(node, waiting)
                wanted = [t is not None and self._leads_somewhere(t) for t in node.edges[::3]]
            if self.leaves is None or any(wanted) or not wanted:
                self._visit(node, waiting, wanted)
            if not retain_graph:
                node.release()

    def _catch(self, node: BackwardNode, waiting: dict[int, Any]) -> None:
        """Keeps the cotangents of the inputs that this node made."""
        for t in self.watched.get(node, ()):
            if t._output in waiting:
                self._add(t, self.form.own(waiting[t._output], waiting))

    def _visit(self, node: BackwardNode, given: dict[int, Any], wanted: Sequence[Any]) -> None:
        form = self.form
        if context.anomaly:
            cotangents = anomaly.watched(node, given, wanted, form)
        elif form is ARRAYS or form is TENSORS or node.by_rules:
            cotangents = node.cotangents(given, wanted, form)
        else:
            with using(self.outside):
                shown = node.cotangents({k: form.give(g) for k, g in given.items()}, wanted, TENSORS)
            cotangents = [None if g is None else form.take(g) for g in shown]
        edges = node.edges
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
                # A leaf's cotangent becomes somebody's .grad: it must be nobody else's memory.
                self._add(target, form.own(ct, given))
            else:
                self.send(target, output, ct)

    def _leads_somewhere(self, target: Any) -> bool:
        if isinstance(target, Tensor):
            return self.wants(target)
        return self.leaves is None or self.useful is None or target in self.useful

    def _useful_nodes(self) -> set[Any]:
        """The nodes from which an input is reached."""
        order: list[Any] = []
        seen: set[Any] = set()
        work = [node for _, node in self.queue]
        while work:
            node = work.pop()
            if node in seen:
                continue
            seen.add(node)
            order.append(node)
            work += [t for t in node.edges[::3] if isinstance(t, BackwardNode)]
        useful: set[Any] = set()
        for node in sorted(order, key=lambda n: n.sequence):
            targets = node.edges[::3]
            leaf = any(isinstance(t, Tensor) and id(t) in (self.leaves or ()) for t in targets)
            if leaf or node in self.watched or any(t in useful for t in targets if isinstance(t, BackwardNode)):
                useful.add(node)
        return useful


def _dtype(g: Any) -> DType:
    return dtype_of(g.dtype) if isinstance(g.dtype, np.dtype) else g.dtype


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """``g`` summed over what broadcasting repeated, back to ``shape``."""
    extra = len(g.shape) - len(shape)
    axes = tuple(i for i, n in enumerate(g.shape) if i < extra or (shape[i - extra] == 1 and n != 1))
    if axes:
        g = narrowed(sum_(widened(g), axes=axes), g)
    return g if g.shape == shape else reshape(g, shape=shape)
