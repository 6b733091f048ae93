"""Layers and losses as functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..ir import ops as P
from ..ops import (
    erf,
    log_softmax,
    matmul,
    mean,
    mul,
    permute,
    relu,
    reshape,
    sigmoid,
    softmax,
    square,
    sub,
    sum,
    tanh,
    where,
)
from ..ops.pointwise import abs, add, softplus
from ..ops.shape import pad, squeeze, transpose, unsqueeze
from ..tensor import Tensor

__all__ = [
    "conv2d",
    "cross_entropy",
    "gelu",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias; the weight is (out, in)."""
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {input.dtype.ctype} and {weight.dtype.ctype}")
    out = matmul(input, transpose(weight, 0, 1) if weight.ndim == 2 else weight)
    return out if bias is None else add(out, bias)


def _pair(x: int | Sequence[int], n: int) -> tuple[int, ...]:
    return (x,) * n if isinstance(x, int) else tuple(x)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of images (N, C, H, W), or one image (C, H, W), with a weight of (O, C / groups, kH, kW).

    All windows as the columns of one matrix, then one product (Chellapilla, Puri, Simard 2006).
    """
    if input.ndim == 3:
        return squeeze(conv2d(unsqueeze(input, 0), weight, bias, stride, padding, dilation, groups), 0)
    if input.ndim != 4:
        raise RuntimeError(
            f"Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: {list(input.shape)}"
        )
    n, c = input._data.shape[:2]
    out, per_group, *size = weight._data.shape
    if min(_pair(stride, 2)) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if not isinstance(padding, str) and min(_pair(padding, 2)) < 0:
        raise RuntimeError("negative padding is not supported")
    if bias is not None and bias._data.shape != (out,):
        raise RuntimeError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {out} elements, "
            f"but got bias of size {list(bias.shape)} instead"
        )
    if out % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {list(weight.shape)} instead"
        )
    if c != per_group * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{per_group * groups} channels, but got {c} channels instead"
        )
    step, gap = _pair(stride, 2), _pair(dilation, 2)
    x = _padded(input, size, step, padding, gap)
    reach = [(k - 1) * d + 1 for k, d in zip(size, gap, strict=True)]
    if any(r > e for r, e in zip(reach, x._data.shape[2:], strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, x._data.shape[2:]))}). "
            f"Kernel size: ({' x '.join(map(str, reach))}). Kernel size can't be greater than actual input size"
        )
    windows = P.windows(x, size=tuple(size), stride=step, dilation=gap)
    height, width = windows._data.shape[-2:]
    columns = permute(windows, (1, 2, 3, 0, 4, 5))
    inner, count = per_group * math.prod(size), n * height * width
    if groups == 1:
        product = matmul(reshape(weight, (out, inner)), reshape(columns, (inner, count)))
    else:
        product = matmul(reshape(weight, (groups, out // groups, inner)), reshape(columns, (groups, inner, count)))
    image = permute(reshape(product, (out, n, height, width)), (1, 0, 2, 3))
    return image if bias is None else add(image, reshape(bias, (out, 1, 1)))


def _padded(x: Tensor, size: Sequence[int], step: Sequence[int], padding: Any, gap: Sequence[int]) -> Tensor:
    if padding == "valid":
        return x
    if padding == "same":
        if any(s != 1 for s in step):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        total = [(k - 1) * d for k, d in zip(size, gap, strict=True)]
        amounts = [a for t in reversed(total) for a in (t // 2, t - t // 2)]
    else:
        amounts = [a for p in reversed(_pair(padding, 2)) for a in (p, p)]
    return pad(x, amounts) if any(amounts) else x


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x) (Hendrycks, Gimpel 2016); ``approximate='tanh'`` for their approximation."""
    if approximate == "tanh":
        inner = mul(add(input, mul(mul(square(input), input), 0.044715)), math.sqrt(2 / math.pi))
        return mul(mul(input, 0.5), add(tanh(inner), 1.0))
    if approximate != "none":
        raise RuntimeError("approximate argument must be either none or tanh.")
    return mul(mul(input, 0.5), add(erf(mul(input, 1 / math.sqrt(2))), 1.0))


def silu(input: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return mul(input, sigmoid(input))


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where positive, negative_slope * x elsewhere."""
    return where(input > 0, input, mul(input, negative_slope))


def one_hot(input: Tensor, num_classes: int) -> Tensor:
    """int64, 1 at the position each element names along a new last axis. Raises where a position is out of range."""
    try:
        checked = P.check_index(input, extent=num_classes, message="Class values must be smaller than num_classes.")
    except IndexError as e:
        raise RuntimeError(str(e)) from None
    shape = (*input._data.shape, num_classes)
    classes = P.iota(shape=shape, axis=input.ndim, dtype="i64")
    return P.cast(P.eq(unsqueeze(checked, -1), classes), dtype="i64")


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return mean(losses)
    if reduction == "sum":
        return sum(losses)
    if reduction == "none":
        return losses
    raise ValueError(f"{reduction} is not a valid value for reduction")


def nll_loss(input: Tensor, target: Tensor, reduction: str = "mean", ignore_index: int = -100) -> Tensor:
    """Minus the input at the target class: input (N, C, ...) or (C), target (N, ...) or () of class numbers.

    Elements whose target is ``ignore_index`` count for nothing. Raises IndexError for targets out of range.
    """
    if input.ndim == 1:
        input, target = unsqueeze(input, 0), unsqueeze(target, 0)
        squeezed = nll_loss(input, target, reduction, ignore_index)
        return squeezed if reduction != "none" else squeeze(squeezed, 0)
    shape = input._data.shape
    if target._data.shape != (shape[0], *shape[2:]):
        if target.ndim and target._data.shape[0] != shape[0]:
            raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({target._data.shape[0]}).")
        raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {list(target.shape)}")
    if target.dtype.kind not in "ui":
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {target.dtype.ctype}")
    counted = P.ne(target, ignore_index)
    safe = where(counted, target, 0)
    safe = P.check_index(safe, extent=shape[1], message="Target {} is out of bounds.")
    # The chosen class is found by comparison, not by a read at a position that is data: it fuses with the row.
    chosen = P.eq(unsqueeze(safe, 1), P.iota(shape=shape, axis=1, dtype=target.dtype.short))
    picked = sum(where(chosen, input, 0.0), 1)
    losses = where(counted, -picked, 0.0)
    if reduction == "mean":
        return sum(losses) / sum(P.cast(counted, dtype=input.dtype.short))
    return _reduced(losses, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Minus the log-probability of the target; targets are class numbers, or probabilities of the input's shape.

    Raises IndexError for class numbers out of range.
    """
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    axis = 0 if input.ndim == 1 else 1
    logp = log_softmax(input, axis)
    classes = input._data.shape[axis]
    if target.shape == input.shape:
        if not target.is_floating_point():
            raise RuntimeError(f"Expected floating point type for target with class probabilities, got {target.dtype.ctype}")
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / classes
        losses = -sum(mul(logp, target), axis)
        if reduction == "mean":
            return sum(losses) / max(losses.numel(), 1)
        return _reduced(losses, reduction)
    main = nll_loss(logp, target, reduction, ignore_index)
    if not label_smoothing:
        return main
    counted = P.ne(target, ignore_index)
    smooth = where(counted, -sum(logp, axis), 0.0)
    if reduction == "mean":
        smooth = sum(smooth) / sum(P.cast(counted, dtype=input.dtype.short))
    elif reduction == "sum":
        smooth = sum(smooth)
    return main * (1 - label_smoothing) + smooth * (label_smoothing / classes)


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The squared difference."""
    return _reduced(square(sub(input, target)), reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The absolute difference."""
    return _reduced(abs(sub(input, target)), reduction)
