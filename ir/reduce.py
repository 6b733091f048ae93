"""Reduces a graph that shows a failure to a small one that still shows it (delta debugging: Zeller and Hildebrandt 2002).

An operation is removed by making its results inputs. Then fewer outputs, smaller extents and shorter ways are tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .graph import Graph, Op, Value
from .ops import fusion
from .types import TensorType
from .verify import verify

Fails = Callable[[Graph], bool]


class _OutOfTime(Exception):
    pass


class _Search:
    """The smallest failing graph so far, and the time left."""

    def __init__(self, graph: Graph, fails: Fails, seconds: float):
        self.graph, self._fails = graph, fails
        self._until = time.monotonic() + seconds

    def accepts(self, make: Callable[[], Graph | None]) -> bool:
        """Takes the graph that ``make`` returns if it fails."""
        if time.monotonic() > self._until:
            raise _OutOfTime
        try:
            candidate = make()
            if candidate is None:
                return False
            verify(candidate)
            if not self._fails(candidate):
                return False
        except Exception:  # not a graph, or it cannot be run
            return False
        self.graph = candidate
        return True


def reduced(graph: Graph, fails: Fails, seconds: float = 60.0) -> Graph:
    """A small graph for which ``fails`` is true, as it must be for ``graph``. The search ends after ``seconds``.

    ``fails`` may raise: this counts as false.
    """
    search = _Search(graph, fails, seconds)
    try:
        while True:
            before = str(search.graph)
            for step in (_fewer_outputs, _fewer_ops, _smaller_extents, _shorter, _open_fusion, _smaller_body):
                step(search)
            if str(search.graph) == before:
                break
    except _OutOfTime:
        pass
    return search.graph


def size(graph: Graph) -> int:
    """The number of operations, those in fusions included."""
    return sum(size(op.attrs["body"]) if op.primitive is fusion else 1 for op in graph.ops)


def _rebuilt(
    graph: Graph, kept: Iterable[Op], outputs: Iterable[Value], instead: Mapping[Value, Value] | None = None
) -> Graph | None:
    """The graph of some operations. Values that others compute become inputs; ``instead`` replaces values."""
    instead = instead or {}
    kept, outputs = set(kept), list(outputs)
    read: dict[Value, None] = {}
    for op in graph.ops:
        if op in kept:
            read.update(dict.fromkeys(instead.get(v, v) for v in op.operands))
    read.update(dict.fromkeys(outputs))
    made = {v for op in kept for v in op.results}
    order = [*graph.inputs, *(v for op in graph.ops for v in op.results)]
    new = {v: Value(v.type, None, v.name) for v in order if v in read and v not in made}
    inputs = list(new.values())
    ops = []
    for op in graph.ops:
        if op in kept:
            copy = Op(
                op.primitive, [new[instead.get(v, v)] for v in op.operands], op.attrs, [v.type for v in op.results], op.loc
            )
            for old, result in zip(op.results, copy.results, strict=True):
                result.name = old.name
                new[old] = result
            ops.append(copy)
    return Graph(graph.name, inputs, ops, [new[v] for v in outputs]) if outputs and ops else None


def _needed(graph: Graph, outputs: Iterable[Value]) -> list[Op]:
    live, found = set(outputs), []
    for op in reversed(graph.ops):
        if any(v in live for v in op.results):
            live.update(op.operands)
            found.append(op)
    return found


def _fewer_outputs(search: _Search) -> None:
    """One output if possible, else as few as possible; no updates; nothing that no output needs."""
    graph = search.graph
    for v in dict.fromkeys(graph.outputs):
        if search.accepts(lambda: _rebuilt(graph, _needed(graph, [v]), [v])):
            return
    search.accepts(lambda: _rebuilt(graph, _needed(graph, graph.outputs), graph.outputs))
    for k in reversed(range(len(graph.outputs))):
        now = search.graph
        if len(now.outputs) > 1:
            rest = [v for i, v in enumerate(now.outputs) if i != k]
            search.accepts(lambda: _rebuilt(now, _needed(now, rest), rest))


def _without(graph: Graph, removed: set[Op]) -> Graph | None:
    """The graph without some operations. What they read is returned in their place."""
    kept = [op for op in graph.ops if op not in removed]
    made = {v for op in kept for v in op.results}
    outputs = [v for v in graph.outputs if v in made]
    outputs += [v for op in graph.ops if op in removed for v in op.operands if v in made]
    return _rebuilt(graph, kept, dict.fromkeys(outputs))


def _fewer_ops(search: _Search) -> None:
    """Removes blocks of operations, from halves to single ones."""
    length = max(1, len(search.graph.ops) // 2)
    while True:
        at = 0
        while at < len(search.graph.ops) and len(search.graph.ops) > 1:
            graph = search.graph
            removed = set(graph.ops[at : at + length])
            if not search.accepts(lambda: _without(graph, removed)):
                at += length
        if length == 1:
            return
        length = max(1, length // 2)


def _shorter(search: _Search) -> None:
    """Replaces an operation's result by an operand of the same type, or by the result of an earlier operation."""
    at = 0
    while at < len(search.graph.ops):
        graph = search.graph
        op = graph.ops[at]
        others = [op_ for op_ in graph.ops if op_ is not op]
        ways = [v for v in dict.fromkeys(op.operands) if len(op.results) == 1 and v.type == op.result.type]
        if not any(search.accepts(lambda: _bypassed(graph, others, op.result, v)) for v in ways):
            at += 1


def _bypassed(graph: Graph, kept: list[Op], old: Value, new: Value) -> Graph | None:
    made = {v for op in kept for v in op.results}
    outputs = [new if v is old else v for v in graph.outputs]
    return _rebuilt(graph, kept, [v for v in dict.fromkeys(outputs) if v in made], {old: new})


def _smaller_extents(search: _Search) -> None:
    """Replaces an extent by a smaller one, in all types and attributes."""
    for n in sorted(_extents(search.graph), reverse=True):
        for small in (1, 2, 3, 4, n // 4, n // 2):
            graph = search.graph
            if small < n and search.accepts(lambda: _resized(graph, {n: small})):
                break


def _extents(graph: Graph) -> set[int]:
    values = [*graph.inputs, *(v for op in graph.ops for v in op.results)]
    return {n for v in values for n in v.shape if n > 1}


def _resized(graph: Graph, sizes: Mapping[int, int]) -> Graph:
    """The graph with other extents. Raises what type inference raises if they do not fit."""

    def size_of(x: Any) -> Any:
        if isinstance(x, Graph):
            return _resized(x, sizes)
        if isinstance(x, tuple):
            return tuple(map(size_of, x))
        return sizes.get(x, x) if type(x) is int else x

    def type_of(t: TensorType) -> TensorType:
        return t.with_shape(size_of(t.shape))

    new = {v: Value(type_of(v.type), None, v.name) for v in graph.inputs}
    inputs, ops = list(new.values()), []
    for op in graph.ops:
        attrs = {k: x if k in ("value", "axes", "axis") else size_of(x) for k, x in op.attrs.items()}
        operands = [new[v] for v in op.operands]
        copy = Op(op.primitive, operands, attrs, op.primitive.infer_types([v.type for v in operands], attrs), op.loc)
        for old, result in zip(op.results, copy.results, strict=True):
            result.name = old.name
            new[old] = result
        ops.append(copy)
    return Graph(graph.name, inputs, ops, [new[v] for v in graph.outputs])


def _open_fusion(search: _Search) -> None:
    """Replaces fusions by the operations of their bodies."""
    for k in reversed(range(len(search.graph.ops))):
        graph = search.graph
        if k < len(graph.ops) and graph.ops[k].primitive is fusion:
            search.accepts(lambda: _opened(graph, graph.ops[k]))


def _opened(graph: Graph, opened: Op) -> Graph:
    new: dict[Value, Value] = {v: Value(v.type, None, v.name) for v in graph.inputs}
    inputs, ops = list(new.values()), []

    def copy(op: Op) -> None:
        made = Op(op.primitive, [new[v] for v in op.operands], op.attrs, [v.type for v in op.results], op.loc)
        new.update(zip(op.results, made.results, strict=True))
        ops.append(made)

    for op in graph.ops:
        if op is not opened:
            copy(op)
            continue
        body = op.attrs["body"]
        new.update({x: new[v] for x, v in zip(body.inputs, op.operands, strict=True)})
        for o in body.ops:
            copy(o)
        new.update({old: new[v] for old, v in zip(op.results, body.outputs, strict=True)})
    return Graph(graph.name, inputs, ops, [new[v] for v in graph.outputs])


def _smaller_body(search: _Search) -> None:
    """Reduces the body of a fusion that is the only operation."""
    graph = search.graph
    if len(graph.ops) != 1 or graph.ops[0].primitive is not fusion:
        return
    op = graph.ops[0]
    inner = _Search(op.attrs["body"], lambda body: search.accepts(lambda: _alone(graph.name, body, op.loc)), 1e9)
    for step in (_fewer_outputs, _fewer_ops, _shorter):
        step(inner)


def _alone(name: str, body: Graph, loc: str) -> Graph:
    """The graph of one fusion."""
    inputs = [Value(v.type, None, v.name) for v in body.inputs]
    op = Op(fusion, inputs, {"body": body}, [v.type for v in body.outputs], loc)
    return Graph(name, inputs, [op], op.results)
