"""Moves permutations of elementwise results to the operands.

Reading a stored value in another order is free, but a computed value must be stored first. Operands are mostly stored
anyway: inputs, products, values with other readers.
"""

from __future__ import annotations

from ..graph import Graph, Op, Rewriter, Value
from ..ops import broadcast, full, iota, permute
from ..primitive import Kind
from .canonicalize import canonicalize
from .dce import dce


def hoist_permutes(graph: Graph) -> Graph:
    hoister = _Hoister(graph)
    better = {op for op in graph.ops if op.primitive is permute and hoister.is_better(op)}
    if not better:
        return graph
    for op in graph.ops:
        if op in better:
            hoister.builder.loc = op.loc
            hoister.map[op.result] = hoister.permuted(op.operands[0], op.attrs["axes"])
        else:
            hoister.copy(op)
    return dce(canonicalize(hoister.finish()))  # merges two successive permutations


class _Hoister(Rewriter):
    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.users, self.outputs = graph.users(), set(graph.outputs)

    def is_inside(self, v: Value) -> bool:
        """True if a value is computed elementwise for a single reader."""
        op = v.op
        if op is None or op.primitive.kind is not Kind.ELEMENTWISE or op.primitive.error is not None:
            return False
        return len(self.users[v]) == 1 and v not in self.outputs

    def is_better(self, op: Op) -> bool:
        """True if at most one additional value must be stored."""
        if not self.is_inside(op.operands[0]):
            return False
        new = 0
        work = [op.operands[0]]
        while work:
            v = work.pop()
            if self.is_inside(v) and v.op is not None:
                work += v.op.operands
            elif v.op is not None and v.op.primitive.kind is Kind.REDUCTION and len(self.users[v]) == 1:
                new += 1
        return new <= 1

    def permuted(self, v: Value, axes: tuple[int, ...]) -> Value:
        made: dict[Value, Value] = {}
        work = [v]
        while work:
            u = work[-1]
            before = [w for w in u.op.operands if w not in made] if u.op is not None and self.is_inside(u) else []
            if before:
                work += before
                continue
            work.pop()
            made[u] = self.one_permuted(u, axes, made)
        return made[v]

    def one_permuted(self, v: Value, axes: tuple[int, ...], made: dict[Value, Value]) -> Value:
        op, append, shape = v.op, self.builder.append, tuple(v.shape[a] for a in axes)
        if op is not None and op.primitive is full:
            return append(full, (), {**op.attrs, "shape": shape})[0]
        if op is not None and op.primitive is iota:
            return append(iota, (), {**op.attrs, "shape": shape, "axis": axes.index(op.attrs["axis"])})[0]
        if op is not None and op.primitive is broadcast:
            kept = [axes.index(a) for a in op.attrs["axes"]]
            if kept == sorted(kept):
                return append(broadcast, [self.map[op.operands[0]]], {"shape": shape, "axes": tuple(kept)})[0]
        if op is None or not self.is_inside(v):
            return append(permute, [self.map[v]], {"axes": axes})[0]
        return append(op.primitive, [made[u] for u in op.operands], op.attrs)[0]
