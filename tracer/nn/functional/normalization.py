"""Normalizations, dropout and embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...autograd.modes import no_grad
from ...core.fused import fused
from ...core.tensor import Tensor
from ...ir import ops as P
from ...ops import pointwise as F
from ...ops import reduce as R
from ...ops import shape as S
from ...ops.index import getitem
from ...ops.opmath import opmath, widened
from ...ops.stats import vector_norm
from .pooling import quotient

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]


def _standardized(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    centred = F.sub(x, R.mean(x, axes, keepdim=True))
    return F.mul(centred, F.rsqrt(F.add(R.mean(F.square(centred), axes, keepdim=True), eps)))


def _require_vectors(size: int, **vectors: Tensor | None) -> None:
    """Raises RuntimeError unless the given vectors have one number per channel."""
    for name, x in vectors.items():
        if x is not None and x.numel() != size:
            raise RuntimeError(f"{name} should contain {size} elements not {x.numel()}")


def _update(running: Tensor, new: Tensor, momentum: float) -> None:
    """Moves a running mean towards a new mean."""
    running.copy_(F.add(F.mul(widened(running), 1 - momentum), F.mul(new, momentum)))


def _require_shape(name: str, x: Tensor | None, shape: tuple[int, ...]) -> None:
    if x is not None and x._data.shape != shape:
        raise RuntimeError(
            f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(x.shape)} and "
            f"normalized_shape = {list(shape)}"
        )


@fused
@opmath(as_input=True)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the last axes, times weight, plus bias (Ba, Kiros, Hinton 2016)."""
    shape = tuple(normalized_shape)
    if not shape or input._data.shape[-len(shape) :] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got "
            f"input of "
            f"size{list(input.shape)}"
        )
    for name, x in (("weight", weight), ("bias", bias)):
        _require_shape(name, x, shape)
    out = _standardized(input, tuple(range(input.ndim - len(shape), input.ndim)), eps) if input.numel() else F.clone(input)
    out = out if weight is None else F.mul(out, weight)
    return out if bias is None else F.add(out, bias)


@fused
@opmath(as_input=True)
def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / sqrt(mean of squares + eps) over the last axes, times weight (Zhang, Sennrich 2019)."""
    import numpy as np

    shape = tuple(normalized_shape)
    if not shape or input._data.shape[-len(shape) :] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got "
            f"input of "
            f"size{list(input.shape)}"
        )
    _require_shape("weight", weight, shape)
    small = float(np.finfo(input._data.dtype).eps) if eps is None else eps
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    out = F.mul(input, F.rsqrt(F.add(R.mean(F.square(input), axes, keepdim=True), small)))
    return out if weight is None else F.mul(out, weight)


@opmath(as_input=True, written=("running_mean", "running_var"))
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardizes each channel (axis 1) by the batch's moments in training, by the running ones otherwise (Ioffe, Szegedy
    2015).
    """
    channels = input._data.shape[1] if input.ndim > 1 else 0
    axes = tuple(i for i in range(input.ndim) if i != 1)
    if input.numel() == 0:  # PyTorch reads the first element of weight and bias
        out = input if weight is None else F.mul(input, getitem(weight, 0))
        return F.clone(out) if bias is None else F.add(out, getitem(bias, 0))
    _require_vectors(channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    count = math.prod(input._data.shape[i] for i in axes)
    if training and count <= 1 and input.numel():
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
    if not training:
        assert running_mean is not None and running_var is not None
        return _scaled(input, running_mean, widened(running_var), weight, bias, eps)
    out, mean, var = _batch_normalized(input, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        with no_grad():
            _update(running_mean, mean, momentum)
            _update(running_var, F.mul(var, count / max(count - 1, 1)), momentum)
    return out


@fused
def _batch_normalized(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """A batch norm, and the batch's mean and variance by channel."""
    axes = tuple(i for i in range(x.ndim) if i != 1)
    mean = R.mean(x, axes)
    centred = F.sub(x, _lifted(mean, x.ndim))
    var = R.mean(F.square(centred), axes)
    return _affine(F.mul(centred, _lifted(F.rsqrt(F.add(var, eps)), x.ndim)), weight, bias), mean.detach(), var.detach()


@fused
def _scaled(x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """A batch norm with fixed statistics."""
    centred = F.sub(x, _lifted(mean, x.ndim))
    return _affine(F.mul(centred, _lifted(F.rsqrt(F.add(var, eps)), x.ndim)), weight, bias)


def _lifted(x: Tensor, rank: int) -> Tensor:
    """One number per channel, for images of this rank."""
    return S.reshape(x, (1, -1, *(1 for _ in range(rank - 2))))


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """x * weight + bias, by channel."""
    out = x if weight is None else F.mul(x, _lifted(weight, x.ndim))
    return out if bias is None else F.add(out, _lifted(bias, x.ndim))


@opmath(as_input=True, written=("running_mean", "running_var"))
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardizes each channel of each sample (Ulyanov et al. 2016)."""
    _, c, *rest = input._data.shape
    if use_input_stats and math.prod(rest) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    lifted = (1, c, *(1,) * len(rest))
    _require_vectors(c, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if use_input_stats:
        axes = tuple(range(2, input.ndim))
        out = _standardized(input, axes, eps)
        if running_mean is not None and running_var is not None and math.prod(rest):
            with no_grad():
                x = input.detach()
                mean = R.mean(R.mean(x, axes), 0)
                var = R.mean(R.var(x, axes), 0)
                _update(running_mean, mean, momentum)
                _update(running_var, var, momentum)
    else:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats=False")
        out = F.sub(input, S.reshape(running_mean, lifted))
        out = F.mul(out, S.reshape(F.rsqrt(F.add(widened(running_var), eps)), lifted))
    out = out if weight is None else F.mul(out, S.reshape(weight, lifted))
    return out if bias is None else F.add(out, S.reshape(bias, lifted))


@fused
@opmath(as_input=True)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Standardizes groups of channels of each sample (Wu, He 2018)."""
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    n, c, *rest = input._data.shape
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if c % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(input.shape)} "
            f"and "
            f"num_groups={num_groups}"
        )
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and x._data.shape != (c,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape "
                f"{list(x.shape)} and input of shape {list(input.shape)}"
            )
    grouped = S.reshape(input, (n, num_groups, (c // num_groups) * math.prod(rest)))
    out = S.reshape(_standardized(grouped, (2,), eps) if input.numel() else grouped, input._data.shape)
    lifted = (1, c, *(1,) * len(rest))
    out = out if weight is None else F.mul(out, S.reshape(weight, lifted))
    return out if bias is None else F.add(out, S.reshape(bias, lifted))


@opmath
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * the mean of squares over adjacent channels)**beta (Krizhevsky et al. 2012)."""
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality                          input (got {input.ndim} dimensions)")
    if input.numel() == 0:
        return F.clone(input)
    squares = S.transpose(F.square(input), 1, -1)
    padded = S.pad(squares, (size // 2, (size - 1) // 2))
    w = P.windows(padded, size=(size,), stride=(1,), dilation=(1,))
    mean = S.transpose(quotient(R.sum(w, -2), size), 1, -1)
    return F.div(input, F.pow(F.add(F.mul(mean, alpha), k), beta))


@fused
@opmath
def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along ``dim`` divided by their ``p`` norm, which is at least ``eps``."""
    size = vector_norm(input, p, dim, keepdim=True)
    return F.div(input, F.clamp(size, min=eps))


# Dropout.
