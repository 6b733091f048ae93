"""Losses as functions. ``reduction`` is mean, sum or none."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

from ...core.fused import fused
from ...core.tensor import Tensor
from ...core.warning import warn
from ...ir import ops as P
from ...ops import log_softmax, mean, sum
from ...ops import pointwise as F
from ...ops import shape as S
from ...ops.common import match, number_of_elements, within
from ...ops.linalg import matmul
from ...ops.opmath import opmath
from ...ops.special import xlogy
from ...random import require
from .activation import logsigmoid

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """int64, 1 at each element's position along a new last axis; by default the number of classes is the largest one plus 1."""
    if input.dtype.name != "int64":
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if num_classes <= 0 and input.numel() == 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if num_classes == -1:
        num_classes = int(input.max().item()) + 1
    if num_classes <= 0:
        raise RuntimeError("num_classes should be positive")
    checked = within(input, num_classes, "Class values must be smaller than num_classes.")
    shape = (*input._data.shape, num_classes)
    classes = P.iota(shape=shape, axis=input.ndim, dtype="i64")
    return P.cast(P.eq(S.unsqueeze(checked, -1), classes), dtype="i64")


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str = "mean") -> str:
    """The reduction for the legacy arguments, with PyTorch's warning; ``reduction`` if they are not given."""
    if size_average is None and reduce is None:
        return reduction
    found = "none" if reduce is False else "sum" if size_average is False else "mean"
    text = f"size_average and reduce args will be deprecated, please use reduction='{found}' instead."
    warn(text)
    return found


def _legacy(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Adds the arguments ``size_average`` and ``reduce`` to a loss."""
    names = list(inspect.signature(function).parameters)
    first = min(names.index("size_average"), names.index("reduce"))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tensor:
        if len(args) > first or "size_average" in kwargs or "reduce" in kwargs:
            given = dict(zip(names, args, strict=False)) | kwargs
            old = given.pop("size_average", None), given.pop("reduce", None)
            given["reduction"] = legacy_reduction(*old, given.get("reduction", "mean"))
            return function(**given)
        return function(*args, **kwargs)

    return call


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Losses as ``reduction`` says. Raises ValueError for an unknown one."""
    if reduction == "mean":
        return mean(losses)
    if reduction == "sum":
        return sum(losses)
    if reduction == "none":
        return losses
    raise ValueError(f"{reduction} is not a valid value for reduction")


def _weighted(losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return reduced(losses if weight is None else F.mul(losses, weight), reduction)


def _require_classes(weight: Tensor | None, classes: int) -> None:
    if weight is not None and weight._data.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: "
            f"{list(weight.shape)}"
        )


@_legacy
@fused
@opmath
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the input at the target class: input (N, C, ...) or (C), target (N, ...) or () with class numbers.

    Elements with target ``ignore_index`` do not count; the others count with their class's ``weight``. Raises IndexError
    for targets out of range.
    """
    if input.ndim == 1 and target.ndim == 0:
        out = nll_loss(S.unsqueeze(input, 0), S.unsqueeze(target, 0), weight, None, ignore_index, None, reduction)
        return out if reduction != "none" else S.squeeze(out, 0)
    if input.ndim == 1:
        raise ValueError(
            f"Expected input batch_size ({input._data.shape[0]}) to match target batch_size ({target._data.shape[0]})."
        )
    shape = input._data.shape
    if target._data.shape != (shape[0], *shape[2:]):
        if target.ndim and target._data.shape[0] != shape[0]:
            raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({target._data.shape[0]}).")
        raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {list(target.shape)}")
    if target.dtype.kind not in "ui":
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {target.dtype.ctype}")
    _require_classes(weight, shape[1])
    counted = P.ne(target, ignore_index)
    safe = F.where(counted, target, 0)
    safe = P.check_index(safe, extent=shape[1], message="Target {} is out of bounds.")
    # The class is found by comparison, not by an indexed read, so that it fuses with the row.
    chosen = P.eq(S.unsqueeze(safe, 1), P.iota(shape=shape, axis=1, dtype=target.dtype.short))
    picked = sum(F.where(chosen, input, 0.0), 1)
    factor = P.cast(counted, dtype=input.dtype.short)
    if weight is not None:
        factor = F.where(counted, P.index_select(weight, safe, axis=0), 0.0)
    losses = F.where(counted, F.neg(picked), 0.0)
    if weight is not None:
        losses = F.mul(losses, factor)
    if reduction == "mean":
        return F.div(sum(losses), sum(factor))
    return reduced(losses, reduction)


@_legacy
@fused
@opmath
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Minus the log-probability of the target; targets are class numbers, or probabilities of the input's shape.

    ``weight`` has one factor per class. Raises IndexError for class numbers out of range.
    """
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    axis = 0 if input.ndim == 1 else 1
    logp = log_softmax(input, axis)
    classes = input._data.shape[axis]
    by_class = None
    _require_classes(weight, classes)
    if weight is not None:
        by_class = S.reshape(weight, tuple(-1 if i == axis else 1 for i in range(input.ndim)))
    if target._data.shape == input._data.shape:
        if not target.is_floating_point():
            raise RuntimeError(f"Expected floating point type for target with class probabilities, got {target.dtype.ctype}")
        if label_smoothing:
            target = F.add(F.mul(target, 1 - label_smoothing), label_smoothing / classes)
        terms = F.mul(logp, target)
        losses = F.neg(sum(terms if by_class is None else F.mul(terms, by_class), axis))
        if reduction == "mean":
            return F.div(sum(losses), losses.numel() if classes else 0)
        return reduced(losses, reduction)
    main = nll_loss(logp, target, weight, None, ignore_index, None, reduction)
    if not label_smoothing:
        return main
    counted = P.ne(target, ignore_index)
    spread = sum(logp if by_class is None else F.mul(logp, by_class), axis)
    smooth = F.where(counted, F.neg(spread), 0.0)
    if reduction == "mean":
        factor = P.cast(counted, dtype=input.dtype.short)
        if weight is not None:
            factor = F.where(counted, P.index_select(weight, F.where(counted, target, 0), axis=0), 0.0)
        smooth = F.div(sum(smooth), sum(factor))
    elif reduction == "sum":
        smooth = sum(smooth)
    return F.add(F.mul(main, 1 - label_smoothing), F.mul(smooth, label_smoothing / classes))


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """``cross_entropy`` of ``linear(input, linear_weight, linear_bias)``. A weight (C, d1, ..., in) gives logits (N, C,
    d1...).

    ``options`` select among PyTorch's implementations, and are ignored. Raises RuntimeError for an ``ignore_index`` with
    probabilities.
    """
    if ignore_index is not None and target.is_floating_point():
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    *sizes, width = linear_weight._data.shape
    logits = matmul(input, S.transpose(S.reshape(linear_weight, (math.prod(sizes), width)), 0, 1))
    if len(sizes) > 1:
        logits = S.reshape(logits, (*input._data.shape[:-1], *sizes))
    if linear_bias is not None:
        logits = F.add(logits, linear_bias)
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(logits, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing)


def _same_size(input: Tensor, target: Tensor) -> None:
    if input._data.shape != target._data.shape:
        warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will likely "
            f"lead to "
            "incorrect results due to broadcasting. Please ensure they have the same size."
        )


@_legacy
@opmath
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared difference, (input - target)**2."""
    _same_size(input, target)
    return _squared_error(input, target, weight, reduction)


@fused
def _squared_error(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _averaged(F.square(F.sub(input, target)), weight, reduction)


def _averaged(losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The loss with ``weight``; a mean divides by the sum of the weights."""
    if weight is None:
        return reduced(losses, reduction)
    if weight._data.shape != losses._data.shape:
        raise ValueError("Weights and input must have the same size.")
    losses = F.mul(losses, weight)
    return F.div(sum(losses), sum(weight)) if reduction == "mean" else reduced(losses, reduction)


@_legacy
@opmath
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute difference, |input - target|."""
    _same_size(input, target)
    return _absolute_error(input, target, weight, reduction)


@fused
def _absolute_error(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _averaged(F.abs(F.sub(input, target)), weight, reduction)


@_legacy
@opmath
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d**2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere (Girshick 2015)."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    _same_size(input, target)
    return _smooth_error(input, target, reduction, beta)


@fused
def _smooth_error(input: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
    d = F.sub(input, target)
    size = F.abs(d)
    far = F.ge(size, beta)
    bent = F.mul(F.square(F.where(far, 0.0, d)), 0.5 / beta)
    return reduced(F.where(far, F.sub(size, 0.5 * beta), bent), reduction)


@opmath
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d**2 / 2 where |d| < delta, delta * (|d| - delta / 2) elsewhere (Huber 1964)."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _same_size(input, target)
    return _bounded_error(input, target, weight, reduction, delta)


@fused
def _bounded_error(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, delta: float) -> Tensor:
    d = F.sub(input, target)
    size = F.abs(d)
    far = F.ge(size, delta)
    losses = F.where(far, F.mul(F.sub(size, 0.5 * delta), delta), F.mul(F.square(F.where(far, 0.0, d)), 0.5))
    return _averaged(losses, weight, reduction)


@_legacy
@opmath
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log(p) + (1 - t) log(1 - p)), with logarithms of at least -100. Raises ValueError for unequal shapes."""
    if input._data.shape != target._data.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    p = input.detach()
    require(F.ge(p, 0.0) & F.le(p, 1.0), p, "all elements of input should be between 0 and 1")
    losses = P.binary_cross_entropy(*match(input, target))
    return _weighted(losses, weight, reduction)


@_legacy
@fused
@opmath
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """``binary_cross_entropy`` of sigmoid(input), without overflow; ``pos_weight`` is a factor for targets of 1."""
    if input._data.shape != target._data.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if pos_weight is None:
        losses = F.sub(F.mul(F.sub(1, target), input), logsigmoid(input))
    else:
        factor = F.add(F.mul(F.sub(pos_weight, 1), target), 1)
        losses = F.sub(F.mul(F.sub(1, target), input), F.mul(factor, logsigmoid(input)))
    return _weighted(losses, weight, reduction)


@_legacy
@opmath
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log(target) - input), of log-probabilities in ``input``; ``batchmean`` divides the sum by the batch size."""
    if log_target:
        losses = F.mul(F.exp(target), F.sub(target, input))
    else:
        losses = F.sub(xlogy(target, target), F.mul(target, input))
    if reduction == "batchmean":
        return F.div(sum(losses), number_of_elements(input, (0,))) if input.ndim else sum(losses)
    if reduction == "mean":
        warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' divides only "
            "by the "
            "batch size, and aligns with the KL div math definition.'mean' will be changed to behave the same as 'batchmean' "
            "in "
            "the next major release."
        )
    return reduced(losses, reduction)


@_legacy
@opmath
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts under Poisson distributions with rate exp(input), or input."""
    if log_input:
        losses = F.sub(F.exp(input), F.mul(target, input))
    else:
        losses = F.sub(input, F.mul(target, F.log(F.add(input, eps))))
    if full:
        stirling = F.add(F.sub(F.mul(target, F.log(target)), target), F.mul(F.log(F.mul(target, 2 * math.pi)), 0.5))
        losses = F.add(losses, F.where(F.gt(target, 1), stirling, 0.0))
    return reduced(losses, reduction)


@opmath
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood of targets under normal distributions with mean ``input`` and variance ``var``."""
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = P.full(value=var, shape=input._data.shape, dtype=input.dtype.short)
    elif var._data.shape != input._data.shape:
        if input._data.shape[:-1] == var._data.shape:
            var = S.unsqueeze(var, -1)
        elif var.ndim != input.ndim or any(m not in (1, n) for m, n in zip(var._data.shape, input._data.shape, strict=True)):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    if bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    v = F.add(var, F.sub(F.clamp(var.detach(), min=eps), var.detach()))  # clamped, with the gradient of var itself
    losses = F.mul(F.add(F.log(v), F.div(F.square(F.sub(input, target)), v)), 0.5)
    return reduced(F.add(losses, 0.5 * math.log(2 * math.pi)) if full else losses, reduction)
