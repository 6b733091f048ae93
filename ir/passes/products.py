"""Sums of products over broadcast operands as matrix products: ``(x[:, :, None] * y[None]).sum(1)`` is ``x @ y``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import broadcast, matmul, mul, permute, reshape, sum_
from ..types import float32, float64
from .dce import dce

_LITTLE = 1 << 11  # multiplications of a matrix product that a fused sum computes as fast
_THIN = 4  # rows or columns
_SHORT = 16  # terms: a fused sum of fewer does not store what the operands are computed from


def find_products(graph: Graph) -> Graph:
    if not any(op.primitive is sum_ for op in graph.ops):
        return graph
    users, outputs = graph.users(), set(graph.outputs)
    found: dict[Op, _Product] = {}
    for op in graph.ops:
        if op.primitive is sum_ and op.result.dtype in (float32, float64):
            (v,) = op.operands
            alone = v not in outputs and users[v] == [op]
            product = _product(op) if alone and v.op is not None and v.op.primitive is mul else None
            if product is not None:
                found[op] = product
    if not found:
        return graph
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op in found:
            rewriter.map[op.result] = found[op].append(rewriter)
        else:
            rewriter.copy(op)
    return dce(rewriter.finish())


@dataclass
class _Factor:
    """An operand before it is broadcast, and the axes of the product that its axes become."""

    value: Value
    axes: tuple[int, ...]


@dataclass
class _Product:
    """The axes of the products' array by role: those of a batch, of the rows, of the columns, and of the terms of a sum."""

    op: Op
    a: _Factor
    b: _Factor
    shape: tuple[int, ...]
    batch: list[int]
    rows: list[int]
    columns: list[int]
    terms: list[int]

    def size(self, axes: list[int]) -> int:
        return math.prod(self.shape[i] for i in axes)

    def append(self, rewriter: Rewriter) -> Value:
        """The result, computed by a matrix product."""
        builder, loc = rewriter.builder, self.op.loc
        a, ta = self._matrix(rewriter, self.a, self.rows, self.terms)
        b, tb = self._matrix(rewriter, self.b, self.terms, self.columns)
        (c,) = builder.append(matmul, [a, b], {"ta": ta, "tb": tb, "wide": False}, loc)
        order = [*self.batch, *self.rows, *self.columns]
        c = _arranged(builder, c, self.shape, order, sorted(order), loc)
        return _shaped(builder, c, self.op.result.shape, loc)

    def _matrix(self, rewriter: Rewriter, x: _Factor, first: list[int], second: list[int]) -> tuple[Value, bool]:
        """An operand as matrices, and whether they are transposed."""
        builder, loc, present = rewriter.builder, self.op.loc, [i for i in x.axes if self.shape[i] != 1]
        transposed = present == [*self.batch, *second, *first]
        if transposed:
            first, second = second, first
        v = _arranged(builder, rewriter.map[x.value], self.shape, present, [*self.batch, *first, *second], loc)
        batch = [self.size(self.batch)] if self.batch else []
        return _shaped(builder, v, (*batch, self.size(first), self.size(second)), loc), transposed


def _product(op: Op) -> _Product | None:
    """A sum of products as a matrix product, if that is faster."""
    product = op.operands[0].op
    assert product is not None
    shape, reduced = product.result.shape, op.attrs["axes"]
    a, b = map(_factor, product.operands)
    batch, rows, columns, terms = list[int](), list[int](), list[int](), list[int]()
    for i, n in enumerate(shape):
        if n == 1:
            continue
        both = i in a.axes and i in b.axes
        if i in reduced and not both:
            return None
        (terms if i in reduced else batch if both else rows if i in a.axes else columns).append(i)
    if rows and columns and columns[0] < rows[0]:  # the result's order
        a, b, rows, columns = b, a, columns, rows
    found = _Product(op, a, b, shape, batch, rows, columns, terms)
    m, n, k = (found.size(axes) for axes in (rows, columns, terms))
    return found if min(m, n) >= _THIN and k >= _SHORT and m * n * k > _LITTLE else None


def _factor(v: Value) -> _Factor:
    if v.op is not None and v.op.primitive is broadcast:
        return _Factor(v.op.operands[0], v.op.attrs["axes"])
    return _Factor(v, tuple(range(len(v.shape))))


def _arranged(builder: Builder, v: Value, shape: tuple[int, ...], axes: list[int], order: list[int], loc: str) -> Value:
    """A value with these axes of ``shape``, and others of extent 1, with its axes in another order."""
    v = _shaped(builder, v, tuple([shape[i] for i in axes]), loc)
    if axes == order:
        return v
    return builder.append(permute, [v], {"axes": tuple(map(axes.index, order))}, loc)[0]


def _shaped(builder: Builder, v: Value, shape: tuple[int, ...], loc: str) -> Value:
    return v if v.shape == shape else builder.append(reshape, [v], {"shape": shape}, loc)[0]
