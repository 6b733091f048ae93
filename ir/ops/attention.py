"""Attention by parts: softmax(scale q k' + bias) v without storing the whole score matrix.

These operations and their gradients are composed of other operations, one part of the scores at a time. In a recording, and
in a graph until common subexpressions have been eliminated (``passes.expand``), each stays one operation. Otherwise the
scores that a gradient recomputes would be merged with those of the forward pass, and stored.

After T. Dao et al., "FlashAttention" (2022), and M. Rabe and C. Staats, "Self-attention does not need O(n^2) memory"
(2021).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph import Builder, Graph
from ..interp import DIRECT, Build, using
from ..primitive import Kind, Primitive, primitive
from ..types import TensorType
from .contract import matmul
from .elementwise import add, detach, div, eq, exp, le, mul, sub, where
from .movement import concatenate, pad, reshape, slice_
from .reduce import max_, sum_
from .source import iota

PART = 1 << 21  # scores in memory at a time: some megabytes, which fit a cache


@dataclass(frozen=True)
class _Part:
    """Matrices ``first`` to ``last`` of the batch, rows ``top`` to ``bottom`` of their scores, and the columns visible to
    those rows.
    """

    first: int
    last: int
    top: int
    bottom: int
    columns: int


def _parts(q: Any, k: Any, group: int, causal: bool, part: int) -> list[list[_Part]]:
    """The parts, by batches: whole score matrices if they are small enough, else rows of one."""
    (n, rows, _), columns = q.shape, k.shape[1]
    many = max(1, min(group, part // (rows * columns)))
    many = next(c for c in range(many, 0, -1) if group % c == 0)
    height = min(rows, max(1, part // columns))
    tops = range(0, rows, height)

    def at(first: int, top: int) -> _Part:
        bottom = min(rows, top + height)
        return _Part(first, first + many, top, bottom, min(bottom, columns) if causal else columns)

    return [[at(first, top) for top in tops] for first in range(0, n, many)]


def _cut(x: Any, first: int, last: int, top: int, bottom: int) -> Any:
    return slice_(x, starts=(first, top, 0), stops=(last, bottom, x.shape[2]), steps=(1, 1, 1))


def _column(x: Any) -> Any:
    return _row(x, 2)


class _Attention:
    """The composition. A bias is one matrix, or one row, per ``group`` of the batch."""

    def __init__(self, q: Any, k: Any, v: Any, bias: Any, scale: float, causal: bool, part: int, constant: Any):
        self.lead = tuple(q.shape[:-2])
        self.q, self.k, self.v = (_flat(x) for x in (q, k, v))
        self.bias, self.scale, self.causal = bias, scale, causal
        self.constant = constant
        n = self.q.shape[0]
        self.group = n if bias is None or bias.shape[0] == 1 else n // bias.shape[0]
        # A bias with one matrix per batch element is cut like the batch.
        self.parts = _parts(self.q, self.k, n if self.group == 1 else self.group, causal, part)

    def keys(self, x: Any, part: _Part) -> Any:
        return _cut(x, part.first, part.last, 0, part.columns)

    def rows(self, x: Any, part: _Part) -> Any:
        return _cut(x, part.first, part.last, part.top, part.bottom)

    def weights(self, part: _Part) -> tuple[Any, Any]:
        """Exponentials of a part's scores minus their row's maximum, and the row sums: 1 for empty rows."""
        scores = mul(matmul(self.rows(self.q, part), self.keys(self.k, part), tb=True), self.scale)
        if self.bias is not None:
            shared = self.group > 1
            first, last = (part.first // self.group, part.first // self.group + 1) if shared else (part.first, part.last)
            top, bottom = (0, 1) if self.bias.shape[1] == 1 else (part.top, part.bottom)
            starts, stops = (first, top, 0), (last, bottom, part.columns)
            scores = add(scores, slice_(self.bias, starts=starts, stops=stops, steps=(1, 1, 1)))
        if self.causal:
            row, column = (iota(shape=tuple(scores.shape), axis=axis, dtype="i64") for axis in (1, 2))
            scores = where(le(column, add(row, part.top)), scores, -math.inf)
        greatest = self.constant(max_(scores, axes=(2,)))
        e = exp(sub(scores, _column(where(eq(greatest, -math.inf), 0.0, greatest))))
        total = sum_(e, axes=(2,))
        return e, _column(where(eq(total, 0.0), 1.0, total))

    def joined(self, of_part: Callable[[_Part], Any]) -> Any:
        """The results of parts as rows of one."""
        return self.shaped(_joined([_joined([of_part(p) for p in batch], 1) for batch in self.parts], 0))

    def shaped(self, x: Any) -> Any:
        """``x`` with the operands' batch axes."""
        return x if len(self.lead) == 1 else reshape(x, shape=(*self.lead, *x.shape[1:]))

    def whole(self, x: Any, part: _Part, axis: int) -> Any:
        """A tensor over the keys visible to a part, padded with zeros for the other keys."""
        missing = self.k.shape[1] - part.columns
        high = tuple(missing if a == axis else 0 for a in range(3))
        return pad(x, low=(0, 0, 0), high=high, interior=(0, 0, 0), value=0.0) if missing else x

    def summed(self, of_part: Callable[[_Part], Any]) -> Any:
        """The sum over the rows of the parts' results, which are per key."""
        return self.shaped(_joined([_sum([self.whole(of_part(p), p, 1) for p in batch]) for batch in self.parts], 0))

    def result(self, *_: Any) -> Any:
        def of_part(part: _Part) -> Any:
            e, total = self.weights(part)
            return div(matmul(e, self.keys(self.v, part)), total)

        return self.joined(of_part)

    # Cotangents. With p = softmax(s), y = p v: dv = p' g, dp = g v', ds = p (dp - rows of g y), dq = ds k, dk = ds' q.

    def to_scores(self, part: _Part, g: Any, y: Any) -> Any:
        e, total = self.weights(part)
        ours = self.rows(_flat(g), part)
        seen = _column(sum_(mul(ours, self.rows(_flat(y), part)), axes=(2,)))
        return mul(div(e, total), sub(matmul(ours, self.keys(self.v, part), tb=True), seen))

    def to_bias(self, g: Any, y: Any) -> Any:
        one_row = self.bias.shape[1] == 1
        batches: list[list[Any]] = [[] for _ in range(self.bias.shape[0] if self.group > 1 else 1)]
        for batch in self.parts:
            pieces = []
            for p in batch:
                d = self.whole(self.to_scores(p, g, y), p, 2)
                d = _row(sum_(d, axes=(1,)), 1) if one_row else d
                pieces.append(_row(sum_(d, axes=(0,)), 0) if self.group > 1 else d)
            joined = _sum(pieces) if one_row else _joined(pieces, 1)
            batches[batch[0].first // self.group if self.group > 1 else 0].append(joined)
        return _joined([_sum(b) for b in batches], 0) if self.group > 1 else _joined(batches[0], 0)

    def to_query(self, g: Any, y: Any) -> Any:
        return mul(self.joined(lambda part: matmul(self.to_scores(part, g, y), self.keys(self.k, part))), self.scale)

    def to_key(self, g: Any, y: Any) -> Any:
        return mul(self.summed(lambda part: matmul(self.to_scores(part, g, y), self.rows(self.q, part), ta=True)), self.scale)

    def to_value(self, g: Any, y: Any) -> Any:
        def of_part(part: _Part) -> Any:
            e, total = self.weights(part)
            return matmul(div(e, total), self.rows(_flat(g), part), ta=True)

        return self.summed(of_part)


def _flat(x: Any) -> Any:
    """``x`` with a single batch axis."""
    return x if len(x.shape) == 3 else reshape(x, shape=(math.prod(x.shape[:-2]), *x.shape[-2:]))


def _row(x: Any, axis: int) -> Any:
    """``x`` with an additional axis of extent 1."""
    return reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


def _sum(xs: list[Any]) -> Any:
    total = xs[0]
    for x in xs[1:]:
        total = add(total, x)
    return total


def _joined(xs: list[Any], axis: int) -> Any:
    return xs[0] if len(xs) == 1 else concatenate(*xs, axis=axis)


_COMPOSED = {
    "y": _Attention.result,
    "q": _Attention.to_query,
    "k": _Attention.to_key,
    "v": _Attention.to_value,
    "bias": _Attention.to_bias,
}


def composed(what: str, operands: Sequence[Any], constant: Callable[[Any], Any] = detach, **attrs: Any) -> Any:
    """The result ``y``, or the cotangent of q, k, v or the bias, composed of other operations of the current interpreter.

    ``operands`` are the operation's; ``constant`` marks values that are not differentiated.
    """
    g, y, q, k, v, *bias = operands if what != "y" else (None, None, *operands)
    return _COMPOSED[what](_Attention(q, k, v, bias[0] if bias else None, constant=constant, **attrs), g, y)


def _infer(q: TensorType, k: TensorType, v: TensorType, *bias: TensorType, scale: float, causal: bool, part: int) -> TensorType:
    if any(t.dtype is not q.dtype or t.rank < 3 for t in (q, k, v, *bias)):
        raise TypeError(f"attention needs batches of matrices of one dtype, got {', '.join(map(str, (q, k, v, *bias)))}")
    lead, (rows, inner), (columns, width) = q.shape[:-2], q.shape[-2:], v.shape[-2:]
    if k.shape != (*lead, columns, inner) or v.shape[:-2] != lead or not q.numel or not columns:
        raise ValueError(f"attention of {q} to {k} with values {v}")
    for b in bias:
        if b.rank != 3 or not b.numel or math.prod(lead) % b.shape[0] or b.shape[1] not in (1, rows) or b.shape[2] != columns:
            raise ValueError(f"a bias of {b} for attention of {q} to {k}")
    return v.with_shape((*lead, rows, width))


def _infer_gradient(
    g: TensorType, y: TensorType, *operands: TensorType, what: str, scale: float, causal: bool, part: int
) -> TensorType:
    if g != y or y != _infer(*operands, scale=scale, causal=causal, part=part):
        raise ValueError(f"a cotangent of {g} for attention with a result of {y}")
    return operands[["q", "k", "v", "bias"].index(what)]


def _impl(*operands: Any, what: str = "y", **attrs: Any) -> Any:
    with using(DIRECT):
        return composed(what, operands, **attrs)


@functools.cache
def _derivative(position: int, types: tuple[TensorType, ...], what: str, **attrs: Any) -> Graph:
    """The cotangent of one operand (g, y, q ...) of a gradient, given all of them and the gradient's cotangent."""
    from ..autodiff import vjp
    from ..passes.dce import dce

    builder = Builder("gradient")
    inputs = [builder.input(t) for t in types]
    with using(Build(builder)):
        joint = vjp(builder.finish([composed(what, inputs, **attrs)]), [position], [0])
    return dce(Graph(joint.name, joint.inputs, joint.ops, joint.outputs[1:]))


def _again(position: int, g: Any, operands: tuple[Any, ...], types: tuple[TensorType, ...], **attrs: Any) -> Any:
    graph = _derivative(position, types, **attrs)
    values = dict(zip(graph.inputs, (*operands, g), strict=True))
    for op in graph.ops:
        values[op.result] = op.primitive(*(values[v] for v in op.operands), **op.attrs)
    return values[graph.outputs[0]]


def _rule(what: str) -> Callable[..., Any]:
    return lambda g, y, q, k, v, scale, causal, part: attention_gradient(
        g, y, q, k, v, what=what, scale=scale, causal=causal, part=part
    )


def _biased_rule(what: str) -> Callable[..., Any]:
    return lambda g, y, q, k, v, bias, scale, causal, part: biased_attention_gradient(
        g, y, q, k, v, bias, what=what, scale=scale, causal=causal, part=part
    )


def _second(position: int) -> Callable[..., Any]:
    return lambda g, ct, out, q, k, v, ct_type, out_type, q_type, k_type, v_type, what, scale, causal, part: _again(
        position,
        g,
        (ct, out, q, k, v),
        (ct_type, out_type, q_type, k_type, v_type),
        what=what,
        scale=scale,
        causal=causal,
        part=part,
    )


def _biased_second(position: int) -> Callable[..., Any]:
    return lambda g, ct, out, q, k, v, bias, ct_type, out_type, q_type, k_type, v_type, bias_type, what, scale, causal, part: (
        _again(
            position,
            g,
            (ct, out, q, k, v, bias),
            (ct_type, out_type, q_type, k_type, v_type, bias_type),
            what=what,
            scale=scale,
            causal=causal,
            part=part,
        )
    )


def _attention(name: str, operands: str, rule: Any, second: Any) -> tuple[Primitive, Primitive]:
    """The operation, and its gradients as a second operation."""
    names = operands.split()
    shown = "ScaledDotProductAttention"
    first = primitive(name, Kind.HOST, operands, infer=_infer, impl=_impl, vjp=[rule(what) for what in names], torch_name=shown)
    gradient = primitive(
        f"{name}_gradient",
        Kind.HOST,
        f"ct out {operands}",
        infer=_infer_gradient,
        impl=_impl,
        vjp=[second(k) for k in range(2 + len(names))],
        torch_name=shown,
    )
    return first, gradient


attention, attention_gradient = _attention("attention", "q k v", _rule, _second)
biased_attention, biased_attention_gradient = _attention("biased_attention", "q k v bias", _biased_rule, _biased_second)


__all__ = ["PART", "attention", "attention_gradient", "biased_attention", "biased_attention_gradient"]
