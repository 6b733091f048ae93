"""Replaces arithmetic on 16-bit floating types by float32 arithmetic, with casts where such values are read and stored.

Later passes need not handle these types: sums are float32 sums, and 16-bit intermediates of smooth arithmetic are not
rounded. Operations with discrete results (comparisons, positions, rounding down) see rounded values, as in eager mode;
otherwise equal numbers might differ. Matrix products read 16-bit operands directly; movements move whichever form exists.
The program's own casts stay, and round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..graph import Graph, Op, Rewriter, Value
from ..ops import cast, constant, copy, full, matmul
from ..primitive import Kind


def widen(graph: Graph) -> Graph:
    if not any(v.dtype.is_half for op in graph.ops for v in (*op.operands, *op.results)):
        return graph
    return _Widening(graph).run()


# Discontinuous operations: a small difference of the operand may change the result, so they see the rounded values of eager
# mode.
_STEPS = ("floor", "ceil", "round", "trunc", "floor_divide", "remainder", "fmod", "sign", "heaviside")


class _Widening(Rewriter):
    """``map`` has the values in their own types, ``wide`` the 16-bit values in float32; each is created on first use."""

    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.wide: dict[Value, Value] = {}
        self.stored = _stored(graph)

    def run(self) -> Graph:
        for op in self.graph.ops:
            self.builder.loc = op.loc
            if not any(v.dtype.is_half for v in (*op.operands, *op.results)):
                self.copy(op)
            elif op.primitive is cast:
                self._cast(op)
            elif op.primitive is matmul:
                self._computed(op, [self.narrow(v) for v in op.operands], {**op.attrs, "wide": True})
            elif op.primitive.keeps_format:
                self._move(op)
            else:
                exact = op.primitive.name in _STEPS or not all(v.dtype.is_floating_point for v in op.results)
                self._computed(op, [self.widened(v, exact) for v in op.operands], op.attrs)
        for v in self.graph.outputs:
            self.narrow(v)
        return self.finish()

    def _computed(self, op: Op, operands: Sequence[Value], attrs: Mapping[str, Any]) -> None:
        """The operation on other operands, with float32 results."""
        for v, new in zip(op.results, self.builder.append(op.primitive, operands, attrs, op.loc), strict=True):
            if not v.dtype.is_half:
                self.map[v] = new
                continue
            self.wide[v] = new
            if v in self.stored:
                self.wide[v] = self._cast_to(self.narrow(v), "f32")

    def narrow(self, v: Value) -> Value:
        """The value in its own type."""
        if v not in self.map:
            self.map[v] = self._cast_to(self.wide[v], v.dtype.short)
        return self.map[v]

    def widened(self, v: Value, exact: bool = False) -> Value:
        """The value, in float32 if it is 16-bit; ``exact``: rounded as if it had been stored."""
        if not v.dtype.is_half:
            return self.map[v]
        if exact:
            return self._cast_to(self.narrow(v), "f32")
        if v not in self.wide:
            self.wide[v] = self._cast_to(self.map[v], "f32")
        return self.wide[v]

    def _cast_to(self, v: Value, dtype: str) -> Value:
        return v if v.dtype.short == dtype else self.builder.append(cast, (v,), {"dtype": dtype})[0]

    def _cast(self, op: Op) -> None:
        """Kernels convert between float32 and 16 bits; other types are converted by way of float32."""
        (x,), y = op.operands, op.result
        if x.dtype is y.dtype:
            self.map[y] = self.narrow(x)
            return
        source = self.widened(x, exact=True)
        if y.dtype.is_half:
            source = self._cast_to(source, "f32")
        self.map[y] = self._cast_to(source, y.dtype.short)

    def _move(self, op: Op) -> None:
        """Movements and sources: in float32 if all operands are computed in it."""
        computed = all(v in self.wide and v not in self.map for v in op.operands if v.dtype.is_half)
        if op.primitive is full or op.primitive.name == "iota":
            attrs = {**op.attrs, "dtype": "f32"}
            self._computed(op, (), attrs)
        elif computed and op.primitive is not constant and (op.primitive.kind is Kind.MOVEMENT or op.primitive is copy):
            self._computed(op, [self.widened(v) for v in op.operands], op.attrs)
        else:
            for v in op.operands:
                self.narrow(v)
            self.copy(op)


def _stored(graph: Graph) -> set[Value]:
    """The 16-bit values that are stored in any case, for outputs or for operations that read them from memory; all their
    readers read the stored value.
    """
    found = {v for v in graph.outputs if v.dtype.is_half}
    for op in reversed(graph.ops):
        moves = op.primitive.kind is Kind.MOVEMENT or op.primitive is copy
        if op.primitive is matmul or (op.primitive.keeps_format and op.primitive is not cast and not moves):
            found.update(v for v in op.operands if v.dtype.is_half)
        elif moves and op.result in found:
            found.update(op.operands)
    return found
