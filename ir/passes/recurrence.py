"""Merges the products of an unrolled recurrence into one large product.

A network that is applied step by step multiplies each step's input by the same weights, and its gradient is a sum of
products, one for each step:

    x1 W, x2 W, ...                 is  [x1; x2; ...] W, in parts, where the x do not depend on one another
    a1' b1 + a2' b2 + ...           is  [a1; a2; ...]' [b1; b2; ...]
    sum(a1, 0) + sum(a2, 0) + ...   is  sum([a1; a2; ...], 0)

Vertical concatenation costs nothing if the operands are computed directly in the result's memory (``adjoin``). The rounding
differs from that of the separate sums only in the order of terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph import Graph, Op, Rewriter, Value
from ..ops import add, adjoin, constant, matmul, reshape, slice_, sum_
from ..primitive import Kind

_FEWEST = 4  # products worth merging
_TALLEST = 512  # rows: taller operands are large enough by themselves


def batch_products(graph: Graph) -> Graph:
    return _Batcher(graph).run()


class _Batcher:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.rewriter = Rewriter(graph)
        self.users = graph.users()
        self.outputs = set(graph.outputs)
        self.position = {op: i for i, op in enumerate(graph.ops)}
        self.joined: dict[tuple[Value, ...], Value] = {}

    def run(self) -> Graph:
        sums, inside = self.find_sums()
        shared = self.find_shared()
        for op in self.graph.ops:
            if op in inside or any(v in self.rewriter.map for v in op.results):
                continue
            if op in sums:
                self.emit_sum(op, *sums[op])
            elif op in shared:
                self.emit_shared(shared[op])
            else:
                self.rewriter.copy(op)
        return self.rewriter.finish()

    # Sums of products.

    def find_sums(self) -> tuple[dict[Op, tuple[list[Value], list[list[Op]]]], set[Op]]:
        """For each last addition of a long sum its other terms and the groups to be merged; and the operations that are
        removed.
        """
        sums: dict[Op, tuple[list[Value], list[list[Op]]]] = {}
        inside: set[Op] = set()
        for op in self.graph.ops:
            if op.primitive is not add or self.is_partial(op.result):
                continue
            terms, partial = self.terms(op)
            groups: dict[Any, list[Op]] = {}
            for v in terms:
                if (key := self.kind(v)) is not None and v.op is not None:
                    groups.setdefault(key, []).append(v.op)
            long = [sorted(g, key=self.position.__getitem__, reverse=True) for g in groups.values() if len(g) >= _FEWEST]
            if long:
                joined = {o for group in long for o in group}
                sums[op] = [v for v in terms if v.op not in joined], long
                inside |= joined | partial
        return sums, inside

    def is_partial(self, v: Value) -> bool:
        """True if a sum is only read to be added to something else."""
        readers = self.users.get(v, [])
        once = len(readers) == 1 and readers[0].primitive is add and readers[0].operands.count(v) == 1
        return once and v not in self.outputs and v.op is not None and v.op.primitive is add

    def terms(self, op: Op) -> tuple[list[Value], set[Op]]:
        """The terms of a sum, and its partial additions."""
        terms: list[Value] = []
        partial: set[Op] = set()
        work = list(reversed(op.operands))
        while work:
            v = work.pop()
            if self.is_partial(v) and v.op is not None:
                partial.add(v.op)
                work += reversed(v.op.operands)
            else:
                terms.append(v)
        return terms, partial

    def kind(self, v: Value) -> Any:
        """The kind of a term: terms of one kind can be merged; None if it cannot."""
        op = v.op
        if op is None or len(self.users[v]) != 1 or v in self.outputs or not v.dtype.is_floating_point:
            return None
        shapes = [x.shape for x in op.operands]
        if any(len(s) != 2 or s[0] > _TALLEST for s in shapes):
            return None
        if op.primitive is matmul and op.attrs["ta"] and not op.attrs["tb"]:
            return matmul, shapes[0][1], shapes[1][1]
        return (sum_, shapes[0][1]) if op.primitive is sum_ and op.attrs["axes"] == (0,) else None

    def emit_sum(self, op: Op, others: list[Value], groups: list[list[Op]]) -> None:
        builder = self.rewriter.builder
        builder.loc = op.loc
        values = [self.rewriter.map[v] for v in others]
        for group in groups:
            columns = zip(*(o.operands for o in group), strict=True)
            operands = [self.join([self.rewriter.map[v] for v in column]) for column in columns]
            values += builder.append(group[0].primitive, operands, group[0].attrs)
        total = values[0]
        for v in values[1:]:
            (total,) = builder.append(add, [total, v], {})
        self.rewriter.map[op.result] = total

    # Products with the same right operand.

    def find_shared(self) -> dict[Op, list[Op]]:
        """The products with a common right operand, by the first one, if their left operands are available from the start."""
        groups: dict[Any, list[Op]] = {}
        given: set[Value] = set(self.graph.inputs)
        for op in self.graph.ops:
            moves = op.primitive.kind is Kind.MOVEMENT or op.primitive is constant
            if moves and all(v in given for v in op.operands):
                given.update(op.results)
            if op.primitive is matmul and not op.attrs["ta"]:
                a, b = op.operands
                if (
                    a in given
                    and b in given
                    and len(a.shape) == len(b.shape) == 2
                    and a.shape[0] <= _TALLEST
                    and a.dtype.is_floating_point
                ):
                    groups.setdefault((b, op.attrs["tb"], a.shape), []).append(op)
        return {group[0]: group for group in groups.values() if len(group) >= _FEWEST}

    def emit_shared(self, group: Sequence[Op]) -> None:
        builder = self.rewriter.builder
        left = [self.early(op.operands[0]) for op in group]
        right = self.early(group[0].operands[1])
        builder.loc = group[0].loc
        (whole,) = builder.append(matmul, [self.join(left), right], group[0].attrs)
        rows, columns = group[0].result.shape
        for k, op in enumerate(group):
            attrs = {"starts": (k * rows, 0), "stops": ((k + 1) * rows, columns), "steps": (1, 1)}
            (self.rewriter.map[op.result],) = builder.append(slice_, [whole], attrs, op.loc)

    def early(self, v: Value) -> Value:
        """``v``, a movement of inputs, in the new graph: created now if it does not exist yet."""
        work = [v]
        while work:
            u = work[-1]
            before = [w for w in u.op.operands if w not in self.rewriter.map] if u.op is not None else []
            if u in self.rewriter.map:
                work.pop()
            elif before:
                work += before
            else:
                assert u.op is not None
                self.rewriter.copy(u.op)
        return self.rewriter.map[v]

    # Vertical concatenation.

    def join(self, values: Sequence[Value]) -> Value:
        key = tuple(values)
        if key not in self.joined:
            whole = _cut_from(values)
            builder = self.rewriter.builder
            if whole is not None:
                shape = (sum(v.shape[0] for v in values), *values[0].shape[1:])
                self.joined[key] = builder.append(reshape, [whole], {"shape": shape})[0] if whole.shape != shape else whole
            else:
                self.joined[key] = builder.append(adjoin, values, {})[0]
        return self.joined[key]


def _cut_from(values: Sequence[Value]) -> Value | None:
    """The value of which these are consecutive slices along its first axis."""
    whole: Value | None = None
    reached = 0
    for v in values:
        op = v.op.operands[0].op if v.op is not None and v.op.primitive is reshape else v.op
        if op is None or op.primitive is not slice_ or (whole is not None and op.operands[0] is not whole):
            return None
        whole = op.operands[0]
        starts, stops, rest = op.attrs["starts"], op.attrs["stops"], whole.shape[1:]
        same = set(op.attrs["steps"]) == {1} and starts == (reached, *(0 for _ in rest)) and stops[1:] == rest
        if not same or v.shape[1:] != (whole.shape[-1:] if len(rest) else ()):
            return None
        reached = stops[0]
    return whole if whole is not None and reached == whole.shape[0] else None
