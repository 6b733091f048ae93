"""Margin and distance losses. ``reduction`` is mean, sum or none."""

from __future__ import annotations

import math
from typing import Any

from ...core.fused import fused
from ...core.tensor import Tensor
from ...ir import ops as P
from ...ir.interp import joint_shape
from ...ir.types import int64
from ...ops import pointwise as F
from ...ops import shape as S
from ...ops import sum
from ...ops.common import within
from ...ops.opmath import opmath
from ...ops.products import pdist
from ...ops.stats import vector_norm
from .activation import logsigmoid, softplus
from .loss import _legacy, reduced

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "pairwise_distance",
    "pdist",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


@_legacy
@opmath
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    apart = F.where(F.ne(target, 1), F.clamp(F.sub(margin, input), min=0.0), 0.0)
    near = F.where(F.ne(target, -1), input, 0.0)
    return reduced(F.add(apart, near), reduction)


@_legacy
@opmath
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin)."""
    if len({input1.ndim, input2.ndim, target.ndim}) > 1:
        raise RuntimeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: {input1.shape}, "
            f"input2: "
            f"{input2.shape}, target: {target.shape} "
        )
    return reduced(F.clamp(F.add(F.mul(F.neg(target), F.sub(input1, input2)), margin + 0.0), min=0), reduction)


@_legacy
@opmath
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target * x))."""
    return reduced(softplus(F.mul(F.neg(target), input), threshold=math.inf), reduction)


@fused
@opmath
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The inner products of vectors along ``dim``, divided by their norms of at least ``eps``."""
    shape = joint_shape(x1._data.shape, x2._data.shape)
    a, b = S.expand(x1, shape), S.expand(x2, shape)

    def scaled(x: Tensor) -> Tensor:
        size = vector_norm(x, 2, dim, keepdim=True)
        return F.div(x, F.add(size, F.sub(F.clamp(size.detach(), min=eps), size.detach())))

    return sum(F.mul(scaled(a), scaled(b)), dim)


@_legacy
@opmath
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""
    if target.ndim > 1:
        raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported")  # noqa: F541
    if input1.ndim != target.ndim + 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    axis = input1.ndim - 1
    tiny = 1e-12
    dot = sum(F.mul(input1, input2), axis)
    a, b = F.add(sum(F.square(input1), axis), tiny), F.add(sum(F.square(input2), axis), tiny)
    cos = F.div(dot, F.sqrt(F.mul(a, b)))
    near = F.where(F.eq(target, 1), F.sub(1, cos), 0.0)
    apart = F.where(F.eq(target, -1), F.clamp(F.sub(cos, margin), min=0), 0.0)
    return reduced(F.add(near, apart), reduction)


@fused
@opmath
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The ``p`` norm of x1 - x2 + eps along the last axis."""
    return vector_norm(F.add(F.sub(x1, x2), eps), p, -1, keepdim)


@_legacy
@opmath
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) (Balntas et al. 2016)."""
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """``triplet_margin_loss`` with a custom distance."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = F.minimum(far, distance(positive, negative))
    return reduced(F.clamp(F.add(F.sub(near, far), margin), min=0), reduction)


@_legacy
@opmath
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of the binary cross entropy with logits, -(t log(s) + (1 - t) log(1 - s)) with s = sigmoid(x)."""
    losses = F.neg(F.add(F.mul(target, logsigmoid(input)), F.mul(F.sub(1, target), logsigmoid(F.neg(input)))))
    if weight is not None:
        losses = F.mul(losses, weight)
    axis = input.ndim - 1
    return reduced(F.div(sum(losses, axis), input._data.shape[axis]), reduction)


def _labelled(name: str, input: Tensor, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if input.ndim > 2 or 0 in input._data.shape[1 if input.ndim > 1 else 0 :]:
        raise RuntimeError(
            f"{name}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )


@_legacy
@fused
@opmath
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the other classes of max(0, margin - x[target] + x[i])**p."""
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    _labelled("multi_margin_loss", input, reduction)
    if target._data.shape != input._data.shape[:-1] and target.numel() != 1:
        raise RuntimeError(
            f"target tensor should be 1-D with size equal to batch size. Expected target size {list(input.shape[:-1])}, got "
            f"{list(target.shape)}"
        )
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    x = S.reshape(input, (1, -1)) if input.ndim < 2 else input
    if weight is not None and weight.numel() != x._data.shape[1]:
        raise RuntimeError(f"inconsistent weight size, expected {x._data.shape[1]} but got {list(weight.shape)}")
    if target.dtype is not int64:
        raise RuntimeError(f"expected scalar type Long but found {target.dtype.ctype}")
    t = S.reshape(target, (-1,))
    n, classes = x._data.shape
    t = within(t, classes, "target out of range")
    chosen = P.eq(S.unsqueeze(t, 1), P.iota(shape=(n, classes), axis=1, dtype=t.dtype.short))
    own = sum(F.where(chosen, x, 0.0), 1, keepdim=True)
    z = F.add(F.sub(x, own), margin)
    z = F.where(F.gt(z, 0), z, 0.0)
    z = F.square(z) if p == 2 else z
    if weight is not None:
        z = F.mul(z, S.unsqueeze(P.index_select(weight, t, axis=0), 1))
    losses = F.div(sum(F.where(chosen, 0.0, z), 1), classes)
    return reduced(S.squeeze(losses, 0) if input.ndim < 2 and reduction == "none" else losses, reduction)


@_legacy
@fused
@opmath
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """The mean of max(0, 1 - (x[label] - x[other])) over labels (up to the first -1) and the other classes."""
    _labelled("multilabel_margin_loss", input, reduction)
    if input._data.shape != target._data.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    x = S.reshape(input, (1, -1)) if input.ndim < 2 else input
    t = S.reshape(target, x._data.shape)
    n, classes = x._data.shape
    within(F.add(t, 1), classes + 1, "argument #2 'target' is out of range")
    ended = P.cumsum(P.cast(F.lt(t, 0), dtype="i64"), axis=1)
    counts = F.eq(ended, 0)
    safe = F.where(counts, t, 0)
    ones = P.cast(counts, dtype=x.dtype.short)
    is_label = F.gt(P.scatter_add(ones, safe, axis=1, shape=(n, classes)), 0)
    at_label = P.gather(x, safe, axis=1)
    table = F.add(F.sub(S.unsqueeze(x, 1), S.unsqueeze(at_label, 2)), 1)
    table = F.where(F.gt(table, 0), table, 0.0)
    keep = F.bitwise_and(S.unsqueeze(counts, 2), S.unsqueeze(F.logical_not(is_label), 1))
    losses = F.div(sum(F.where(keep, table, 0.0), (1, 2)), classes)
    return reduced(S.squeeze(losses, 0) if input.ndim < 2 and reduction == "none" else losses, reduction)
