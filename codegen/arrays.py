"""A graph as Python source that calls NumPy: for small arrays, where a call costs more than the elements.

The operations are those of eager code, in its order, so results are bitwise the same. Two things are cheaper: operations on
constants are computed once, and NumPy broadcasts the operands of elementwise operations itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.graph import Graph, Op, Value
from ..ir.interp import joint_shape, restore, silence
from ..ir.ops import broadcast

ArrayFunction = Callable[..., "tuple[np.ndarray, ...]"]


def array_function(graph: Graph) -> ArrayFunction:
    """A function from arrays for the inputs to arrays for the outputs, which may be views of inputs or of each other.

    Raises NotImplementedError for graphs that change inputs.
    """
    if graph.updates:
        raise NotImplementedError(f"@{graph.name} changes its inputs")
    source = _Source(graph)
    exec(compile(source.text(), f"<{graph.name} by NumPy>", "exec"), source.names)
    found: ArrayFunction = source.names["run"]
    return found


class _Source:
    """The source of a graph. ``names`` are the objects to which it refers."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.names: dict[str, Any] = {"silence": silence, "restore": restore, "asarray": np.asarray}
        self._text: dict[Value, str] = {v: f"a{i}" for i, v in enumerate(graph.inputs)}
        self._constants: dict[Value, np.ndarray] = {}
        self._lines: list[str] = []
        self._lifted: dict[Value, str] = {}  # operands of broadcasts, by the result

    def text(self) -> str:
        live = set(self.graph.outputs)
        for op in reversed(self.graph.ops):
            if not live.isdisjoint(op.results):
                live.update(op.operands)
        for op in self.graph.ops:
            if not live.isdisjoint(op.results):
                self._write(op)
        results = [self._result(v) for v in self.graph.outputs]
        lines = [f"def run({', '.join(f'a{i}' for i in range(len(self.graph.inputs)))}):", "    token = silence()", "    try:"]
        lines += [f"        {line}" for line in self._lines]
        lines += [f"        return {''.join(f'{r}, ' for r in results) or '()'}", "    finally:", "        restore(token)"]
        return "\n".join(lines)

    def _write(self, op: Op) -> None:
        primitive, attrs = op.primitive, op.attrs
        if all(v in self._constants for v in op.operands):
            self._compute(op)
        elif primitive is not broadcast:  # that is written where it is used
            function = primitive.eager
            operands = self._narrow(op) if primitive.is_elementwise else [self._name(v) for v in op.operands]
            for v in op.results:
                self._text[v] = f"v{len(self._text)}"
            call = self._constant(function if not attrs else _with(function, attrs))
            self._lines.append(f"{', '.join(self._text[v] for v in op.results)} = {call}({', '.join(operands)})")

    def _compute(self, op: Op) -> None:
        token = silence()
        try:
            out = op.primitive.eager(*(self._constants[v] for v in op.operands), **op.attrs)
        finally:
            restore(token)
        for v, x in zip(op.results, out if isinstance(out, tuple) else (out,), strict=True):
            self._constants[v] = np.asarray(x)

    def _constant(self, x: Any) -> str:
        name = f"c{len(self.names)}"
        self.names[name] = x
        return name

    def _name(self, v: Value) -> str:
        """A value of its full shape."""
        if v not in self._text:
            if v in self._constants:
                self._text[v] = self._constant(self._constants[v])
            else:
                assert v.op is not None  # a broadcast
                self._text[v] = f"v{len(self._text)}"
                call = self._constant(_with(broadcast.eager, v.op.attrs))
                self._lines.append(f"{self._text[v]} = {call}({self._name(v.op.operands[0])})")
        return self._text[v]

    def _narrow(self, op: Op) -> list[str]:
        """The operands of an elementwise operation, without the broadcasts that NumPy does itself."""
        shapes = [_lifted_shape(v) if _is_broadcast(v) else v.shape for v in op.operands]
        if not any(map(_is_broadcast, op.operands)) or joint_shape(*shapes) != op.result.shape:
            return [self._name(v) for v in op.operands]
        return [self._lift(v, s) if _is_broadcast(v) else self._name(v) for v, s in zip(op.operands, shapes, strict=True)]

    def _lift(self, v: Value, shape: tuple[int, ...]) -> str:
        """The operand of a broadcast, of a shape that NumPy broadcasts to the result's."""
        if v not in self._lifted:
            assert v.op is not None
            (x,) = v.op.operands
            if x in self._constants:
                self._lifted[v] = self._constant(self._constants[x].reshape(shape))
            elif x.shape == shape:
                self._lifted[v] = self._name(x)
            else:
                self._lifted[v] = f"n{len(self._lifted)}"
                self._lines.append(f"{self._lifted[v]} = {self._name(x)}.reshape({shape})")
        return self._lifted[v]

    def _result(self, v: Value) -> str:
        name = self._name(v)
        if v in self._constants:
            return f"{name}.copy()"
        return name if v.shape else f"asarray({name})"  # NumPy's functions return numbers for arrays without axes


def _with(function: Callable[..., Any], attrs: Any) -> Callable[..., Any]:
    return lambda *arrays: function(*arrays, **attrs)


def _is_broadcast(v: Value) -> bool:
    return v.op is not None and v.op.primitive is broadcast


def _lifted_shape(v: Value) -> tuple[int, ...]:
    """The shape of a broadcast's operand with axes of extent 1, without leading ones."""
    assert v.op is not None
    axes, rank = v.op.attrs["axes"], len(v.shape)
    first = min(axes, default=rank)
    shape = [1] * (rank - first)
    for a, n in zip(axes, v.op.operands[0].shape, strict=True):
        shape[a - first] = n
    return tuple(shape)
