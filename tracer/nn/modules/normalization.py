"""Normalization layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ...core.tensor import Tensor
from ...ir.types import DType, int64
from ...ops import create
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter
from .declared import Declared


def _affine(module: Module, shape: Any, weight: bool, bias: bool, device: Any, dtype: DType | None) -> None:
    for name, wanted in (("weight", weight), ("bias", bias)):
        module.register_parameter(name, Parameter(create.empty(shape, device=device, dtype=dtype)) if wanted else None)


def _reset_affine(module: Module) -> None:
    if module.weight is not None:
        init.ones_(module.weight)
    if getattr(module, "bias", None) is not None:
        init.zeros_(module.bias)


class _NormBase(Module):
    """``num_features`` is the number of channels. ``momentum`` is the weight of a batch in the running moments; None is the
    mean of all batches. ``track_running_stats`` keeps the running moments, as buffers. ``affine`` adds the weight, of ones,
    and, if ``bias``, the bias, of zeros. Raises ValueError for other numbers of axes.
    """

    ranks: ClassVar[tuple[int, ...]]
    words: ClassVar[str]

    def _setup(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: DType | None,
        bias: bool,
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        _affine(self, num_features, affine, affine and bias, device, dtype)
        if track_running_stats:
            self.register_buffer("running_mean", create.zeros(num_features, device=device, dtype=dtype))
            self.register_buffer("running_var", create.ones(num_features, device=device, dtype=dtype))
            self.register_buffer("num_batches_tracked", create.zeros((), dtype=int64))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        _reset_affine(self)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.ranks:
            raise ValueError(f"expected {self.words} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_NormBase):
    """(x - mean) / sqrt(var + ``eps``) * weight + bias, with the moments of each channel over the batch and the last axes; in
    evaluation, with the running ones.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self._setup(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        momentum: Any = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # a cumulative average over all batches
                momentum = 1.0 / self.num_batches_tracked.to(self.running_mean.dtype)
        kept = self.running_mean, self.running_var
        if self.training and not self.track_running_stats:
            kept = None, None
        training = self.training or self.running_mean is None
        return F.batch_norm(input, *kept, self.weight, self.bias, training, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Standardizes the channels of (N, C) or (N, C, L) over the batch (Ioffe, Szegedy 2015)."""

    ranks, words = (2, 3), "2D or 3D"


class BatchNorm2d(_BatchNorm):
    """Standardizes the channels of (N, C, H, W) over the batch (Ioffe, Szegedy 2015)."""

    ranks, words = (4,), "4D"


class BatchNorm3d(_BatchNorm):
    """Standardizes the channels of (N, C, D, H, W) over the batch (Ioffe, Szegedy 2015)."""

    ranks, words = (5,), "5D"


class _InstanceNorm(_NormBase):
    """(x - mean) / sqrt(var + ``eps``) * weight + bias, with the moments of each channel of each sample; in evaluation with the
    running ones, if there are. Raises ValueError for another number of channels if ``affine``.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self._setup(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        single = input.ndim == min(self.ranks)
        channels = input.shape[0 if single else 1]
        if channels != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={0 if single else 1} to match num_features ({self.num_features}), "
                f"but got: {channels}."
            )
        batch = input.unsqueeze(0) if single else input
        by_input = self.training or not self.track_running_stats
        moments = (self.running_mean, self.running_var, self.weight, self.bias)
        out = F.instance_norm(batch, *moments, by_input, self.momentum or 0.0, self.eps)
        return out.squeeze(0) if single else out


class InstanceNorm1d(_InstanceNorm):
    """Standardizes the channels of each (C, L) (Ulyanov et al. 2016)."""

    ranks, words = (2, 3), "2D or 3D"


class InstanceNorm2d(_InstanceNorm):
    """Standardizes the channels of each (C, H, W) (Ulyanov et al. 2016)."""

    ranks, words = (3, 4), "3D or 4D"


class InstanceNorm3d(_InstanceNorm):
    """Standardizes the channels of each (C, D, H, W) (Ulyanov et al. 2016)."""

    ranks, words = (4, 5), "4D or 5D"


def _shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


class LayerNorm(Module):
    """(x - mean) / sqrt(var + ``eps``) * weight + bias over the last axes, whose extents are ``normalized_shape`` (Ba et al.
    2016). ``elementwise_affine`` adds the weight, of ones, and, if ``bias``, the bias, of zeros; both have these extents.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = _shape(normalized_shape), eps, elementwise_affine
        _affine(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return f"{text}, bias={self.bias is not None}"


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + ``eps``) * weight over the last axes, whose extents are ``normalized_shape`` (Zhang, Sennrich 2019).
    ``eps`` None is the dtype's machine epsilon. ``elementwise_affine`` adds the weight, of ones.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = _shape(normalized_shape), eps, elementwise_affine
        weight = Parameter(create.empty(self.normalized_shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """(x - mean) / sqrt(var + ``eps``) * weight + bias, with the moments of each of the ``num_groups`` groups of channels of
    each sample (Wu, He 2018). ``affine`` adds a weight of ones and, if ``bias``, a bias of zeros, per channel. Raises
    ValueError unless ``num_channels`` is divisible by ``num_groups``.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        _affine(self, num_channels, affine, affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class LocalResponseNorm(Declared):
    """x / (``k`` + ``alpha`` * mean(x^2))^``beta``, the mean being over ``size`` adjacent channels
    (Krizhevsky et al. 2012). Fewer than three axes raise ValueError in a call."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    function = F.local_response_norm

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """``LocalResponseNorm``, x / (``k`` + ``alpha`` * mean(x^2))^``beta``, for images (N, C, H, W): ``size`` is the number of
    channels (Krizhevsky et al. 2012). Fewer than three axes raise ValueError in a call.
    """
