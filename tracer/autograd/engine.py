"""The backward engine. It knows no operation.

Nodes are processed from the latest to the earliest: whatever reads a value was made after it, so when a node's turn
comes its cotangent is complete. There is no recursion, hence no limit on depth.

Rules run on plain arrays where nobody will look behind the gradients, and on tensors where somebody will: when the backward
pass is itself differentiated (``create_graph``) or recorded into a trace.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..context import context
from ..ir.interp import DIRECT, current, restore, silence, using
from ..ir.ops import add, reshape, sum_
from ..tensor import Tensor, wrap
from . import anomaly, hooks
from .node import BackwardNode


def run(
    roots: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    inputs: Sequence[Tensor] | None,
    retain_graph: bool,
    create_graph: bool,
) -> dict[int, tuple[Tensor, Any]]:
    """Cotangents of the leaves (or of ``inputs``): id -> (tensor, cotangent), as tensors."""
    tensors = create_graph or context.recorder is not None
    before = context.grad_enabled
    context.grad_enabled = create_graph
    token = silence()
    try:
        with using(current() if tensors else DIRECT):
            engine = _Engine(tensors, inputs)
            for root, ct in zip(roots, cotangents, strict=True):
                if root._view is not None:
                    root._refresh()
                if root._grad_fn is not None:
                    engine.send(root._grad_fn, root._output, ct if tensors else ct._data)
                elif engine.wants(root):
                    engine.send(root, 0, ct.clone() if tensors else np.array(ct._data))
            engine.drain(retain_graph)
            for i, (t, g) in engine.found.items():
                own = vars(t).get("_hooks")
                if own and t._grad_fn is None:
                    engine.found[i] = (t, hooks.call(own, g, tensors))
    finally:
        restore(token)
        context.grad_enabled = before
    return {i: (t, g if isinstance(g, Tensor) else wrap(g)) for i, (t, g) in engine.found.items()}


class _Engine:
    def __init__(self, tensors: bool, inputs: Sequence[Tensor] | None):
        self.tensors = tensors
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
            if node.hooks:
                hooks.apply_to_outputs(node, waiting, self.tensors)
            wanted: Sequence[Any] = node.edges  # every edge that there is
            if self.leaves is not None:
                self._catch(node, waiting)
                wanted = [e is not None and self._leads_somewhere(e) for e in wanted]
            if self.leaves is None or any(wanted) or not wanted:
                self._visit(node, waiting, wanted)
            if not retain_graph:
                node.release()

    def _catch(self, node: BackwardNode, waiting: dict[int, Any]) -> None:
        """Keeps the cotangents of the inputs that this node made."""
        for t in self.watched.get(node, ()):
            if t._output in waiting:
                g = waiting[t._output]
                self._add(t, g if self.tensors else np.array(g))

    def _visit(self, node: BackwardNode, given: dict[int, Any], wanted: Sequence[Any]) -> None:
        if context.anomaly:
            cotangents = anomaly.watched(node, given, wanted, self.tensors)
        else:
            cotangents = node.cotangents(given, wanted, self.tensors)
        for edge, shape, ct in zip(node.edges, node.shapes, cotangents):  # noqa: B905  lengths are the node's affair
            if ct is None or edge is None:
                continue
            if ct.shape != shape[0]:
                ct = unbroadcast(ct, shape[0])
            target, output = edge
            if isinstance(target, Tensor):
                # A leaf's cotangent becomes somebody's .grad: it must be nobody else's memory.
                self._add(target, ct if self.tensors else _own(ct, given))
            else:
                self.send(target, output, ct)

    def _leads_somewhere(self, edge: tuple[Any, int]) -> bool:
        target = edge[0]
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
            work += [e[0] for e in node.edges if e is not None and not isinstance(e[0], Tensor)]
        useful: set[Any] = set()
        for node in sorted(order, key=lambda n: n.sequence):
            targets = [e[0] for e in node.edges if e is not None]
            leaf = any(isinstance(t, Tensor) and id(t) in (self.leaves or ()) for t in targets)
            if leaf or node in self.watched or any(t in useful for t in targets if not isinstance(t, Tensor)):
                useful.add(node)
        return useful


def _own(ct: Any, given: dict[int, Any]) -> Any:
    if not isinstance(ct, np.ndarray):
        return np.array(ct)
    if ct.base is not None:
        return ct.copy()
    for g in given.values():
        if ct is g:
            return ct.copy()
    return ct


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """``g`` summed over what broadcasting repeated, back to ``shape``."""
    extra = len(g.shape) - len(shape)
    axes = tuple(i for i, n in enumerate(g.shape) if i < extra or (shape[i - extra] == 1 and n != 1))
    if axes:
        g = sum_(g, axes=axes)
    return g if g.shape == shape else reshape(g, shape=shape)
