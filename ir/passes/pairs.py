"""Computes with complex numbers as pairs of real ones, so that their arithmetic fuses into kernels like any other.

A complex value becomes two real values. One that is in memory (an input, a constant, the result or the operand of an operation
that stays complex, such as a Fourier transform) is read and written through ``view_as_real`` and ``view_as_complex``, which
only rename memory. The formulas are NumPy's; quotients are Smith's (Algorithm 116, CACM 1962), which do not overflow early.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..graph import Graph, Op, Rewriter, Value
from ..interp import Build, using
from ..ops import (
    abs_,
    add,
    and_,
    atan2,
    blank,
    cast,
    cos,
    div,
    eq,
    exp,
    full,
    lt,
    matmul,
    mul,
    ne,
    neg,
    or_,
    pad,
    reshape,
    sin,
    slice_,
    slice_update,
    sqrt,
    sub,
    view_as_complex,
    view_as_real,
    where,
)

Pair = tuple[Value, Value]


def complex_as_pairs(graph: Graph) -> Graph:
    if not any(v.dtype.is_complex for op in graph.ops for v in (*op.operands, *op.results)):
        return graph
    return _Pairing(graph).run()


class _Pairing(Rewriter):
    """``map`` has real values, and complex ones that are in memory; ``pairs`` the others. Each form is created on first use."""

    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.pairs: dict[Value, Pair] = {}
        self.arrays = 0

    def run(self) -> Graph:
        with using(Build(self.builder)):
            for op in self.graph.ops:
                self.builder.loc = op.loc
                if not any(v.dtype.is_complex for v in (*op.operands, *op.results)):
                    self.copy(op)
                else:
                    self._rewrite(op)
            for v in self.graph.outputs:
                self.whole(v)
        return self.finish()

    def _rewrite(self, op: Op) -> None:
        name = op.primitive.name
        if op.primitive is reshape and op.operands[0] in self.map:
            self.copy(op)  # it only renames the memory
        elif name in _OF_PARTS:
            self.pairs[op.result] = self._each(op, 0), self._each(op, 1)
        elif name in _REAL:
            self.map[op.result] = _REAL[name](*map(self.pair, op.operands))
        elif name in _ARITHMETIC:
            self.pairs[op.result] = _ARITHMETIC[name](*map(self.pair, op.operands))
        elif name in _OTHERS:
            _OTHERS[name](self, op)
        else:
            for v in op.operands:
                self.whole(v)
            self.copy(op)

    def _each(self, op: Op, k: int) -> Value:
        """The operation on part ``k`` of its complex operands."""
        operands = [self.pair(v)[k] if v.dtype.is_complex else self.map[v] for v in op.operands]
        return self.builder.append(op.primitive, operands, op.attrs, op.loc)[0]

    def pair(self, v: Value) -> Pair:
        """The real and the imaginary part."""
        if v not in self.pairs:
            source, lead, parts = self.map[v], v.shape, []
            viewed = source.op is not None and source.op.primitive is view_as_complex
            both = source.op.operands[0] if viewed and source.op is not None else view_as_real(source)
            for k in range(2):
                starts, stops = (*(0 for _ in lead), k), (*lead, k + 1)
                parts.append(reshape(slice_(both, starts=starts, stops=stops, steps=(1,) * len(stops)), shape=lead))
            self.pairs[v] = parts[0], parts[1]
        return self.pairs[v]

    def whole(self, v: Value) -> Value:
        """The value in memory."""
        if v not in self.map:
            self.map[v] = view_as_complex(self.adjacent(self.pairs[v]))
        return self.map[v]

    def adjacent(self, pair: Pair) -> Value:
        """An array whose last axis has the two parts, which are written to it where they are computed."""
        self.arrays += 1
        shape = pair[0].shape
        if 0 in shape:
            return full(value=0, shape=(*shape, 2), dtype=pair[0].dtype.short)
        both = blank(shape=(*shape, 2), dtype=pair[0].dtype.short, n=self.arrays)
        for k, part in enumerate(pair):
            region = {"starts": (*(0 for _ in shape), k), "stops": (*shape, k + 1), "steps": (1,) * (len(shape) + 1)}
            both = slice_update(both, reshape(part, shape=(*shape, 1)), **region)
        return both


# Formulas on pairs.


def _product(x: Pair, y: Pair, times: Callable[..., Value] = mul) -> Pair:
    (a, b), (c, d) = x, y
    return sub(times(a, c), times(b, d)), add(times(a, d), times(b, c))


def _quotient(x: Pair, y: Pair) -> Pair:
    (a, b), (c, d) = x, y
    steep = lt(abs_(c), abs_(d))
    large, small = where(steep, d, c), where(steep, c, d)
    zero = eq(large, 0.0)
    ratio = where(zero, 0.0, div(small, large))
    size = where(zero, abs_(large), add(large, mul(small, ratio)))
    re = where(steep, add(mul(a, ratio), b), add(a, mul(b, ratio)))
    im = where(steep, sub(mul(b, ratio), a), sub(b, mul(a, ratio)))
    return div(re, size), div(im, size)


def _reciprocal(x: Pair) -> Pair:
    shape, dtype = x[0].shape, x[0].dtype.short
    one, zero = full(value=1, shape=shape, dtype=dtype), full(value=0, shape=shape, dtype=dtype)
    return _quotient((one, zero), x)


def _exponential(x: Pair) -> Pair:
    a, b = x
    size = exp(a)
    nothing = eq(size, 0.0)  # also for an infinite angle
    return (
        where(nothing, 0.0, mul(size, cos(b))),
        where(or_(nothing, eq(b, 0.0)), mul(b, 0.0), mul(size, sin(b))),
    )


def _size(x: Pair) -> Value:
    """sqrt(a^2 + b^2), without overflow."""
    a, b = abs_(x[0]), abs_(x[1])
    steep = lt(a, b)
    large, small = where(steep, b, a), where(steep, a, b)
    ratio = where(or_(eq(large, 0.0), eq(large, math.inf)), 0.0, div(small, large))
    size = mul(large, sqrt(add(mul(ratio, ratio), 1.0)))
    infinite = or_(eq(a, math.inf), eq(b, math.inf))
    return where(infinite, math.inf, where(ne(small, small), small, size))


_ARITHMETIC: Mapping[str, Callable[..., Pair]] = {
    "mul": _product,
    "div": _quotient,
    "square": lambda x: _product(x, x),
    "reciprocal": _reciprocal,
    "conj": lambda x: (x[0], neg(x[1])),
    "exp": _exponential,
}
_REAL: Mapping[str, Callable[..., Value]] = {
    "real": lambda x: x[0],
    "imag": lambda x: x[1],
    "abs": _size,
    "angle": lambda x: atan2(x[1], x[0]),
    "eq": lambda x, y: and_(eq(x[0], y[0]), eq(x[1], y[1])),
    "ne": lambda x, y: or_(ne(x[0], y[0]), ne(x[1], y[1])),
    "isnan": lambda x: or_(ne(x[0], x[0]), ne(x[1], x[1])),
}
# Operations that do the same to both parts.
_OF_PARTS = frozenset(
    [
        *("add", "sub", "neg", "copy", "detach", "where"),
        *("reshape", "broadcast", "permute", "flip", "concatenate", "diagonal", "diagonal_update"),
        *("slice", "select", "slice_update"),
        *("windows", "fold", "sum", "index_select", "gather", "index_add", "scatter_add", "set_at"),
    ]
)


# Operations with other operands, or attributes that are numbers.


def _complex(pairing: _Pairing, op: Op) -> None:
    re, im = (pairing.map[v] for v in op.operands)
    pairing.pairs[op.result] = re, im


def _view_as_real(pairing: _Pairing, op: Op) -> None:
    (x,) = op.operands
    if x in pairing.map:
        pairing.copy(op)
    else:
        pairing.map[op.result] = pairing.adjacent(pairing.pairs[x])


def _cast(pairing: _Pairing, op: Op) -> None:
    (x,), to = op.operands, op.result.dtype
    if not x.dtype.is_complex:
        re = cast(pairing.map[x], dtype=to.real.short)
        pairing.pairs[op.result] = re, full(value=0, shape=x.shape, dtype=to.real.short)
        return
    re, im = pairing.pair(x)
    if to.is_complex:
        pairing.pairs[op.result] = cast(re, dtype=to.real.short), cast(im, dtype=to.real.short)
    elif to.kind == "b":
        pairing.map[op.result] = or_(ne(re, 0.0), ne(im, 0.0))
    else:
        pairing.map[op.result] = re if re.dtype is to else cast(re, dtype=to.short)


def _full(pairing: _Pairing, op: Op) -> None:
    (re, im), shape, real = _parts_of(op.attrs["value"]), op.attrs["shape"], op.result.dtype.real.short
    pairing.pairs[op.result] = full(value=re, shape=shape, dtype=real), full(value=im, shape=shape, dtype=real)


def _pad(pairing: _Pairing, op: Op) -> None:
    x = pairing.pair(op.operands[0])
    values = _parts_of(op.attrs["value"])
    re, im = (pad(part, **{**op.attrs, "value": value}) for part, value in zip(x, values, strict=True))
    pairing.pairs[op.result] = re, im


def _matmul(pairing: _Pairing, op: Op) -> None:
    def times(a: Value, b: Value) -> Value:
        return matmul(a, b, **op.attrs)

    x, y = map(pairing.pair, op.operands)
    pairing.pairs[op.result] = _product(x, y, times)


def _unread(pairing: _Pairing, op: Op) -> None:
    """The value alone: compiled graphs are not differentiated."""
    v = op.operands[0]
    if v.dtype.is_complex:
        pairing.pairs[op.result] = pairing.pair(v)
    else:
        pairing.map[op.result] = pairing.map[v]


def _parts_of(value: Any) -> tuple[float, float]:
    return complex(value).real, complex(value).imag


_OTHERS: Mapping[str, Callable[[_Pairing, Op], None]] = {
    "complex": _complex,
    "view_as_real": _view_as_real,
    "cast": _cast,
    "full": _full,
    "pad": _pad,
    "matmul": _matmul,
    "unread": _unread,
}
