"""Batches: a graph of one sample, applied to many samples at once.

A value of the graph is *batched* if it differs between samples: then it has the batch as a new first axis. Each primitive has
a rule by its kind. Where there is none (host operations, rare cases), the primitive is applied to each sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import ops as P
from .graph import Graph, Op, Value

Batched = tuple[Any, bool]  # a tensor, and whether its first axis is the batch
Rule = Callable[[int, Op, list[Any], list[bool]], Any]


def apply_to_batch(graph: Graph, given: Sequence[Batched], count: int) -> list[Batched]:
    """The results of a graph for ``count`` samples, by the current interpreter of primitives."""
    known: dict[Value, Batched] = dict(zip(graph.inputs, given, strict=True))
    for op in _needed(graph):
        operands = [known[v] for v in op.operands]
        if not any(batched for _, batched in operands):
            out, batched = op.primitive(*(x for x, _ in operands), **op.attrs), False
        else:
            rule = _elementwise if op.primitive.is_elementwise else _RULES.get(op.primitive.name, _each)
            out, batched = rule(count, op, [x for x, _ in operands], [b for _, b in operands]), True
        for k, result in enumerate(op.results):
            known[result] = (out if len(op.results) == 1 else out[k]), batched
    return [known[v] for v in graph.outputs]


def _needed(graph: Graph) -> list[Op]:
    """The operations that the results depend on."""
    wanted, found = set(graph.outputs), []
    for op in reversed(graph.ops):
        if not wanted.isdisjoint(op.results):
            wanted.update(op.operands)
            found.append(op)
    return found[::-1]


def repeated(x: Any, count: int) -> Any:
    """A value that is the same for all samples, as a batch."""
    return P.broadcast(x, shape=(count, *x.shape), axes=tuple(range(1, len(x.shape) + 1)))


def _all(count: int, xs: list[Any], batched: list[bool]) -> list[Any]:
    return [x if b else repeated(x, count) for x, b in zip(xs, batched, strict=True)]


def _elementwise(count: int, op: Op, xs: list[Any], batched: list[bool]) -> Any:
    return op.primitive(*_all(count, xs, batched), **op.attrs)


def _each(count: int, op: Op, xs: list[Any], batched: list[bool]) -> Any:
    """The primitive, applied to each sample."""
    rows = [op.primitive(*(_row(x, i) if b else x for x, b in zip(xs, batched, strict=True)), **op.attrs) for i in range(count)]
    if len(op.results) == 1:
        return _stacked(rows)
    return [_stacked(list(column)) for column in zip(*rows, strict=True)]


def _row(x: Any, i: int) -> Any:
    rank = len(x.shape)
    row = P.slice_(x, starts=(i,) + (0,) * (rank - 1), stops=(i + 1, *x.shape[1:]), steps=(1,) * rank)
    return P.reshape(row, shape=tuple(x.shape[1:]))


def _stacked(rows: list[Any]) -> Any:
    return P.concatenate(*(P.reshape(x, shape=(1, *x.shape)) for x in rows), axis=0)


def _with(attributes: Callable[[int, Mapping[str, Any], tuple[int, ...]], dict[str, Any]]) -> Rule:
    """A rule of an operation whose operands all get the batch: new attributes from the count, the old ones and the shape of
    the first operand of a sample.
    """

    def rule(count: int, op: Op, xs: list[Any], batched: list[bool]) -> Any:
        changed = attributes(count, op.attrs, op.operands[0].shape)
        return op.primitive(*_all(count, xs, batched), **{**op.attrs, **changed})

    return rule


def _later(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + 1 for a in axes)


def _matmul(count: int, op: Op, xs: list[Any], batched: list[bool]) -> Any:
    (a, b), (left, right) = op.operands, batched
    ta, tb, wide = (op.attrs[k] for k in ("ta", "tb", "wide"))
    x, y = xs
    if len(a.shape) == len(b.shape) == 2 and left != right:
        # One matrix for all samples: a single product, where rows or columns of the samples can be adjacent.
        if left and not ta:
            rows = P.reshape(x, shape=(count * a.shape[0], a.shape[1]))
            return P.reshape(P.matmul(rows, y, tb=tb, wide=wide), shape=(count, *op.results[0].shape))
        if right and 1 in b.shape and op.results[0].shape[1] == 1:
            columns = P.reshape(y, shape=(count, math.prod(b.shape)))
            return P.reshape(P.matmul(columns, x, tb=not ta, wide=wide), shape=(count, *op.results[0].shape))
        return P.matmul(x, y, **op.attrs)
    if len(a.shape) == len(b.shape):
        x, y = _all(count, xs, batched)
    else:  # a matrix and a batch of matrices
        lead = op.results[0].shape[:-2]
        if (left and len(a.shape) == 2) or (right and len(b.shape) == 2):
            x, y = (
                P.broadcast(z, shape=(count, *lead, *v.shape), axes=(0, len(lead) + 1, len(lead) + 2))
                if own and rank == 2
                else z
                for z, v, own, rank in ((x, a, left, len(a.shape)), (y, b, right, len(b.shape)))
            )
            x, y = (z if own or len(z.shape) == 2 else repeated(z, count) for z, own in ((x, left), (y, right)))
    return P.matmul(x, y, **op.attrs)


def _positions(index: Any, count: int, batched: bool, axis: int, shape: Sequence[int]) -> Any:
    """Positions along an axis of a sample, for each element of a batch of that shape without this axis."""
    size = math.prod(index.shape[1:] if batched else index.shape)
    index = P.reshape(index, shape=(count, size) if batched else (size,))
    whole = (count, *shape[:axis], size, *shape[axis + 1 :])
    return P.broadcast(index, shape=whole, axes=(0, axis + 1) if batched else (axis + 1,))


def _index_select(count: int, op: Op, xs: list[Any], batched: list[bool]) -> Any:
    axis, shape = op.attrs["axis"], op.operands[0].shape
    if not batched[1]:
        return P.index_select(xs[0], xs[1], axis=axis + 1)
    x = xs[0] if batched[0] else repeated(xs[0], count)
    out = P.gather(x, _positions(xs[1], count, True, axis, shape), axis=axis + 1)
    return P.reshape(out, shape=(count, *op.results[0].shape))


def _index_add(count: int, op: Op, xs: list[Any], batched: list[bool]) -> Any:
    axis, extent, wide = (op.attrs[k] for k in ("axis", "extent", "wide"))
    if not batched[1]:
        return P.index_add(xs[0], xs[1], axis=axis + 1, extent=extent, wide=wide)
    x = xs[0] if batched[0] else repeated(xs[0], count)
    rank = len(op.operands[1].shape)
    shape = op.operands[0].shape
    flat = (*shape[:axis], math.prod(shape[axis : axis + rank]), *shape[axis + rank :])
    index = _positions(xs[1], count, True, axis, flat)
    whole = (count, *op.results[0].shape)
    return P.scatter_add(P.reshape(x, shape=(count, *flat)), index, axis=axis + 1, shape=whole, wide=wide)


def _set_at(count: int, op: Op, xs: list[Any], batched: list[bool]) -> Any:
    if batched[2]:
        return _each(count, op, xs, batched)
    x, v = _all(count, xs[:2], batched[:2])
    return P.set_at(x, v, xs[2], axis=op.attrs["axis"] + 1)


def _of_batch(count: int, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """A region of a sample, in all samples."""
    return {"starts": (0, *attrs["starts"]), "stops": (count, *attrs["stops"]), "steps": (1, *attrs["steps"])}


_axes = _with(lambda count, attrs, shape: {"axes": _later(attrs["axes"])})
_axis = _with(lambda count, attrs, shape: {"axis": attrs["axis"] + 1})
_region = _with(lambda count, attrs, shape: _of_batch(count, attrs))
_diagonal = _with(lambda count, attrs, shape: {k: attrs[k] % len(shape) + 1 for k in ("axis1", "axis2")})
_same = _with(lambda count, attrs, shape: {})
_RULES: dict[str, Rule] = {
    "broadcast": _with(lambda count, attrs, shape: {"shape": (count, *attrs["shape"]), "axes": (0, *_later(attrs["axes"]))}),
    "reshape": _with(lambda count, attrs, shape: {"shape": (count, *attrs["shape"])}),
    "permute": _with(lambda count, attrs, shape: {"axes": (0, *_later(attrs["axes"]))}),
    "slice": _region,
    "slice_update": _region,
    "select": _with(lambda count, attrs, shape: {**_of_batch(count, attrs), "shape": (count, *attrs["shape"])}),
    "pad": _with(lambda count, attrs, shape: {k: (0, *attrs[k]) for k in ("low", "high", "interior")}),
    "flip": _axes,
    "concatenate": _axis,
    "diagonal": _diagonal,
    "diagonal_update": _diagonal,
    "windows": _same,
    "fold": _same,
    "matmul": _matmul,
    "index_select": _index_select,
    "index_add": _index_add,
    "set_at": _set_at,
    **dict.fromkeys(("gather", "cumsum", "cumprod", "recurrence", "logcumsumexp", "cumargmax", "argsort"), _axis),
    "scatter_reduce": _axis,
    "scatter_add": _with(lambda count, attrs, shape: {"axis": attrs["axis"] + 1, "shape": (count, *attrs["shape"])}),
    **dict.fromkeys(("sum", "sum_lost", "max", "min", "argmax", "argmin"), _axes),
}
