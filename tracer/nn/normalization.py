"""Normalizations, dropout and embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd.modes import no_grad
from ..ir import ops as P
from ..ops import pointwise as F
from ..ops import reduce as R
from ..ops import shape as S
from ..ops.stats import vector_norm
from ..random import rand
from ..tensor import Tensor

__all__ = [
    "alpha_dropout",
    "batch_norm",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
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
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input of "
            f"size{list(input.shape)}"
        )
    out = _standardized(input, tuple(range(input.ndim - len(shape), input.ndim)), eps) if input.numel() else F.clone(input)
    out = out if weight is None else F.mul(out, weight)
    return out if bias is None else F.add(out, bias)


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / sqrt(mean of squares + eps) over the last axes, times weight (Zhang, Sennrich 2019)."""
    import numpy as np

    shape = tuple(normalized_shape)
    if not shape or input._data.shape[-len(shape) :] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input of "
            f"size{list(input.shape)}"
        )
    small = float(np.finfo(input._data.dtype).eps) if eps is None else eps
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    out = F.mul(input, F.rsqrt(F.add(R.mean(F.square(input), axes, keepdim=True), small)))
    return out if weight is None else F.mul(out, weight)


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
    """Each channel (axis 1) standardized by the batch's moments while training, by the running ones otherwise (Ioffe, Szegedy 2015)."""
    channels = input._data.shape[1] if input.ndim > 1 else 0
    axes = tuple(i for i in range(input.ndim) if i != 1)
    lifted = tuple(channels if i == 1 else 1 for i in range(input.ndim))
    if input.numel() == 0:
        return F.clone(input)
    count = math.prod(input._data.shape[i] for i in axes)
    if training and count <= 1 and input.numel():
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
    if training:
        mean = R.mean(input, axes)
        centred = F.sub(input, S.reshape(mean, lifted))
        var = R.mean(F.square(centred), axes)
        if running_mean is not None and running_var is not None:
            with no_grad():
                unbiased = F.mul(var.detach(), count / max(count - 1, 1))
                running_mean.copy_(F.add(F.mul(running_mean, 1 - momentum), F.mul(mean.detach(), momentum)))
                running_var.copy_(F.add(F.mul(running_var, 1 - momentum), F.mul(unbiased, momentum)))
    else:
        assert running_mean is not None and running_var is not None
        centred = F.sub(input, S.reshape(running_mean, lifted))
        var = running_var
    out = F.mul(centred, S.reshape(F.rsqrt(F.add(var, eps)), lifted))
    out = out if weight is None else F.mul(out, S.reshape(weight, lifted))
    return out if bias is None else F.add(out, S.reshape(bias, lifted))


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
    """Each channel of each sample standardized (Ulyanov et al. 2016)."""
    n, c, *rest = input._data.shape
    if use_input_stats and math.prod(rest) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    lifted = (1, c, *(1,) * len(rest))
    if use_input_stats:
        axes = tuple(range(2, input.ndim))
        out = _standardized(input, axes, eps)
        if running_mean is not None and running_var is not None:
            with no_grad():
                x = input.detach()
                mean = R.mean(R.mean(x, axes), 0)
                var = R.mean(R.var(x, axes), 0)
                running_mean.copy_(F.add(F.mul(running_mean, 1 - momentum), F.mul(mean, momentum)))
                running_var.copy_(F.add(F.mul(running_var, 1 - momentum), F.mul(var, momentum)))
    else:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats=False")
        out = F.sub(input, S.reshape(running_mean, lifted))
        out = F.mul(out, S.reshape(F.rsqrt(F.add(running_var, eps)), lifted))
    out = out if weight is None else F.mul(out, S.reshape(weight, lifted))
    return out if bias is None else F.add(out, S.reshape(bias, lifted))


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """The channels of each sample standardized in groups (Wu, He 2018)."""
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    n, c, *rest = input._data.shape
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if c % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(input.shape)} and "
            f"num_groups={num_groups}"
        )
    grouped = S.reshape(input, (n, num_groups, (c // num_groups) * math.prod(rest)))
    out = S.reshape(_standardized(grouped, (2,), eps) if input.numel() else grouped, input._data.shape)
    lifted = (1, c, *(1,) * len(rest))
    out = out if weight is None else F.mul(out, S.reshape(weight, lifted))
    return out if bias is None else F.add(out, S.reshape(bias, lifted))


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * the mean of squares over neighbouring channels)**beta (Krizhevsky et al. 2012)."""
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality                          input (got {input.ndim} dimensions)")
    if input.numel() == 0:
        return F.clone(input)
    squares = S.transpose(F.square(input), 1, -1)
    padded = S.pad(squares, (size // 2, (size - 1) // 2))
    w = P.windows(padded, size=(size,), stride=(1,), dilation=(1,))
    mean = S.transpose(R.mean(w, -2), 1, -1)
    return F.div(input, F.pow(F.add(F.mul(mean, alpha), k), beta))


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along ``dim`` divided by their ``p`` norm, of at least ``eps``."""
    size = vector_norm(input, p, dim, keepdim=True)
    return F.div(input, F.clamp(size, min=eps))


# Dropout.


def _check(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _drop(input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    _check(p)
    if not training or p == 0:
        return input
    kept = P.cast(F.ge(rand(shape, dtype=input.dtype), p), dtype=input.dtype.short)
    scale = F.mul(kept, 1 / (1 - p)) if p < 1 else kept
    if inplace:
        return input.mul_(scale)
    return F.mul(input, scale)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeros with probability ``p``, the others divided by 1 - p (Srivastava et al. 2014); the input if not ``training``."""
    return _drop(input, p, training, inplace, input._data.shape)


def _drop_channels(input: Tensor, p: float, training: bool, inplace: bool, batched: int) -> Tensor:
    lead = 2 if input.ndim >= batched else 1
    return _drop(input, p, training, inplace, (*input._data.shape[:lead], *(1,) * (input.ndim - lead)))


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of signals."""
    return _drop_channels(input, p, training, inplace, 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of images."""
    return _drop_channels(input, p, training, inplace, 2)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of volumes."""
    return _drop_channels(input, p, training, inplace, 2)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout to the saturated value of ``selu``, keeping mean and variance (Klambauer et al. 2017)."""
    return _alpha(input, p, training, inplace, input._data.shape)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """``alpha_dropout`` of whole channels."""
    return _alpha(input, p, training, inplace, (*input._data.shape[:2], *(1,) * (input.ndim - 2)))


def _alpha(input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    _check(p)
    if not training or p == 0:
        return input
    if p == 1:
        return F.mul(input, 0.0)
    low = -1.7580993408473766
    a = 1 / math.sqrt((1 - p) * (1 + p * low * low))
    kept = F.ge(rand(shape, dtype=input.dtype), p)
    out = F.add(F.mul(F.where(kept, input, low), a), -a * low * p)
    return input._become(out) if inplace else out


# Embeddings.


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight`` that ``input`` names. The row ``padding_idx`` gets no gradient; ``max_norm`` renormalizes in place."""
    rows = weight._data.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if input.dtype.name not in ("int64", "int32"):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"torch.{input.dtype.ctype}Tensor instead (while checking arguments for embedding)"
        )
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    table = weight
    if scale_grad_by_freq:
        ones = P.full(value=1, shape=(input.numel(),), dtype=weight.dtype.short)
        freq = P.index_add(ones, S.reshape(input, (-1,)), axis=0, extent=rows)
        scale = S.unsqueeze(F.reciprocal(F.clamp(freq, min=1)), 1)
        table = F.add(F.mul(weight, scale), F.sub(weight.detach(), F.mul(weight.detach(), scale)))
    if padding_idx is not None:
        is_padding = S.unsqueeze(P.eq(P.iota(shape=(rows,), axis=0, dtype="i64"), padding_idx), 1)
        table = F.where(is_padding, table.detach(), table)
    return P.index_select(table, input, axis=0)


def _renormalize(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    with no_grad():
        ones = P.full(value=1, shape=(input.numel(),), dtype="i64")
        used = P.index_add(ones, S.reshape(input.detach(), (-1,)), axis=0, extent=weight._data.shape[0])
        size = vector_norm(weight, norm_type, 1, keepdim=True)
        shrink = F.bitwise_and(S.unsqueeze(F.gt(used, 0), 1), F.gt(size, max_norm))
        weight.copy_(F.where(shrink, F.mul(weight, F.div(max_norm, F.add(size, 1e-7))), weight))


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows of ``weight`` in each bag: rows of a matrix, or parts of a vector from ``offsets`` on."""
    import numpy as np

    from ..ops.create import tensor

    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got mode="
            f"'{mode}'). Please open a feature request on GitHub."
        )
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences."
            )
        bags = np.repeat(np.arange(input._data.shape[0]), input._data.shape[1])
        count = input._data.shape[0]
    else:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        starts = offsets._observed("offsets of bags")
        if include_last_offset:
            starts = starts[:-1]
        count = len(starts)
        bags = np.searchsorted(starts, np.arange(input.numel()), "right") - 1
    flat = S.reshape(input, (-1,))
    rows = embedding(flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = F.mul(rows, S.unsqueeze(S.reshape(per_sample_weights, (-1,)), 1))
    where = tensor(bags)
    counted = None
    if padding_idx is not None:
        padding_idx %= weight._data.shape[0]
        counted = F.ne(flat, padding_idx)
        rows = F.where(S.unsqueeze(counted, 1), rows, 0.0 if mode != "max" else -math.inf)
    if mode == "max":
        from ..ops.writes import scatter_reduce

        base = P.full(value=-math.inf, shape=(count, weight._data.shape[1]), dtype=weight.dtype.short)
        index = S.expand(S.unsqueeze(where, 1), rows._data.shape)
        out = scatter_reduce(base, 0, index, rows, "amax")
        return F.where(F.eq(out, -math.inf), 0.0, out)
    total = P.index_add(rows, where, axis=0, extent=count)
    if mode == "sum":
        return total
    ones = P.full(value=1, shape=(flat.numel(),), dtype=weight.dtype.short)
    if counted is not None:
        ones = P.cast(counted, dtype=weight.dtype.short)
    number = P.index_add(ones, where, axis=0, extent=count)
    return F.div(total, S.unsqueeze(F.clamp(number, min=1), 1))
