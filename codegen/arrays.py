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
from ..ir.ops import broadcast, matmul, max_, min_, permute, reshape, sum_
from ..ir.ops.reduce import is_reduced_whole
from ..ir.ops.summation import is_split, is_summed_in_parts
from ..ir.primitive import Primitive

ArrayFunction = Callable[..., "tuple[np.ndarray, ...]"]


def array_function(graph: Graph) -> ArrayFunction:
    """A function from arrays for the inputs to arrays for the outputs, which may be views of inputs or of each other.

    It writes to no input: the new values of inputs that the graph changes are among the outputs. No value is 16-bit.
    """
    source = _Source(graph)
    exec(compile(source.text(), f"<{graph.name} by NumPy>", "exec"), source.names)
    found: ArrayFunction = source.names["run"]
    return found


_NAMES = {
    "silence": silence,
    "restore": restore,
    "asarray": np.asarray,
    "matmul": np.matmul,
    "sum_": np.add.reduce,
    "max_": np.maximum.reduce,
    "min_": np.minimum.reduce,
}


class _Source:
    """The source of a graph. ``names`` are the objects to which it refers."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.names: dict[str, Any] = dict(_NAMES)
        self._text: dict[Value, str] = {v: f"a{i}" for i, v in enumerate(graph.inputs)}
        self._constants: dict[Value, np.ndarray] = {}
        self._lines: list[str] = []
        self._views: dict[tuple[Value, tuple[int, ...]], str] = {}  # reshaped values

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
        if all(v in self._constants for v in op.operands):
            self._compute(op)
        elif op.primitive not in _VIEWS:  # those are written where they are used
            operands = self._narrow(op) if op.primitive.is_elementwise else [self._name(v) for v in op.operands]
            self._call(op, operands)

    def _call(self, op: Op, operands: list[str]) -> None:
        for v in op.results:
            self._text[v] = f"v{len(self._text)}"
        written = _WRITTEN.get(op.primitive)
        text = None if written is None else written(op, *operands)
        if text is not None:
            self._lines.append(f"{self._text[op.result]} = {text}")
            return
        given = [*operands, *(f"{name}={self._constant(x)}" for name, x in op.attrs.items())]
        results = ", ".join(self._text[v] for v in op.results)
        self._lines.append(f"{results} = {self._constant(op.primitive.eager)}({', '.join(given)})")

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
            elif _is(v, reshape):
                self._text[v] = self._reshaped(v, v.shape)
            else:
                assert v.op is not None  # a broadcast
                self._call(v.op, [self._name(v.op.operands[0])])
        return self._text[v]

    def _reshaped(self, v: Value, shape: tuple[int, ...]) -> str:
        """A value's elements in another shape."""
        if v in self._constants:
            return self._constant(self._constants[v].reshape(shape))
        while _is(v, reshape):
            v = v.op.operands[0]  # type: ignore[union-attr]
        if v.shape == shape:
            return self._name(v)
        if (v, shape) not in self._views:
            self._views[v, shape] = f"n{len(self._views)}"
            self._lines.append(f"{self._views[v, shape]} = {self._name(v)}.reshape({shape})")
        return self._views[v, shape]

    def _narrow(self, op: Op) -> list[str]:
        """The operands of an elementwise operation, without the broadcasts that NumPy does itself."""
        shapes = [_lifted(v) if _is(v, broadcast) else v.shape for v in op.operands]
        if joint_shape(*shapes) != op.result.shape:
            return [self._name(v) for v in op.operands]
        return [
            self._reshaped(v.op.operands[0], s) if v.op is not None and v.op.primitive is broadcast else self._name(v)
            for v, s in zip(op.operands, shapes, strict=True)
        ]

    def _result(self, v: Value) -> str:
        name = self._name(v)
        if v in self._constants:
            return f"{name}.copy()"
        return name if v.shape else f"asarray({name})"  # NumPy's functions return numbers for arrays without axes


_VIEWS = (broadcast, reshape)


def _product(op: Op, a: str, b: str) -> str | None:
    (x, y), ta, tb = op.operands, op.attrs["ta"], op.attrs["tb"]
    if is_split(x.shape[-2 if ta else -1], x.dtype.numpy):
        return None
    a = a if not ta else f"{a}.T" if len(x.shape) == 2 else f"{a}.swapaxes(-1, -2)"
    b = b if not tb else f"{b}.T" if len(y.shape) == 2 else f"{b}.swapaxes(-1, -2)"
    return f"matmul({a}, {b})"


def _total(op: Op, x: str) -> str | None:
    axes, type_ = op.attrs["axes"], op.operands[0].type
    if is_summed_in_parts(type_.shape, axes, type_.dtype.numpy) or type_.dtype.kind != "f":
        return None
    return f"sum_({x}, {axes[0] if len(axes) == 1 else axes})"


def _extremum(function: str) -> Callable[..., str | None]:
    def text(op: Op, x: str) -> str | None:
        axes = op.attrs["axes"]
        if not is_reduced_whole(op.operands[0].shape, axes):
            return None
        return f"{function}({x}, {axes[0] if len(axes) == 1 else axes})"

    return text


# Primitives whose implementations only choose the NumPy function for the operands' types and the attributes.
_WRITTEN: dict[Primitive, Callable[..., str | None]] = {
    matmul: _product,
    max_: _extremum("max_"),
    min_: _extremum("min_"),
    sum_: _total,
    permute: lambda op, x: f"{x}.transpose({op.attrs['axes']})",
}


def _is(v: Value, primitive: Primitive) -> bool:
    return v.op is not None and v.op.primitive is primitive


def _lifted(v: Value) -> tuple[int, ...]:
    """The shape of a broadcast's operand with axes of extent 1, without leading ones."""
    assert v.op is not None
    axes, rank = v.op.attrs["axes"], len(v.shape)
    first = min(axes, default=rank)
    shape = [1] * (rank - first)
    for a, n in zip(axes, v.op.operands[0].shape, strict=True):
        shape[a - first] = n
    return tuple(shape)
