"""Pooling, windows, padding and resampling as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ...core.tensor import Tensor
from .. import functional as F
from ..functional.convolution import ntuple
from .declared import Declared


class _MaxPoolNd(Declared):
    """``return_indices`` also returns the positions of the maxima, int64, in the flattened last axes. ``padding`` adds
    positions that are never the maximum; more than half of the window raises RuntimeError in a call.
    """

    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False

    def check(self) -> None:
        self.stride = self.kernel_size if self.stride is None else self.stride

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The maximum of each window of (N, C, L)."""

    function = F.max_pool1d


class MaxPool2d(_MaxPoolNd):
    """The maximum of each window of (N, C, H, W)."""

    function = F.max_pool2d


class MaxPool3d(_MaxPoolNd):
    """The maximum of each window of (N, C, D, H, W)."""

    function = F.max_pool3d


class _MaxUnpoolNd(Declared):
    """The other elements are 0. Called with the maxima, their positions, and optionally ``output_size``, for inputs whose
    extent the windows do not determine. Positions outside of the result raise RuntimeError.
    """

    rank: ClassVar[int]
    kernel_size: Any
    stride: Any = None
    padding: Any = 0

    def check(self) -> None:
        stride = self.kernel_size if self.stride is None else self.stride
        self.kernel_size, self.stride, self.padding = (ntuple(x, self.rank) for x in (self.kernel_size, stride, self.padding))

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return type(self).function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpoolNd):
    """Places elements at the positions of the maxima of ``MaxPool1d(return_indices=True)``."""

    rank = 1
    function = F.max_unpool1d


class MaxUnpool2d(_MaxUnpoolNd):
    """Places elements at the positions of the maxima of ``MaxPool2d(return_indices=True)``."""

    rank = 2
    function = F.max_unpool2d


class MaxUnpool3d(_MaxUnpoolNd):
    """Places elements at the positions of the maxima of ``MaxPool3d(return_indices=True)``."""

    rank = 3
    function = F.max_unpool3d


class AvgPool1d(Declared):
    """The mean of each window of (N, C, L). ``padding`` adds zeros, at most half of the window; they count in the mean unless
    ``count_include_pad`` is False. More raises RuntimeError in a call.
    """

    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    function = F.avg_pool1d

    def check(self) -> None:
        stride = self.kernel_size if self.stride is None else self.stride
        self.kernel_size, self.stride, self.padding = (ntuple(x, 1) for x in (self.kernel_size, stride, self.padding))

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(Declared):
    """``padding`` adds zeros, at most half of the window; they count in the mean unless ``count_include_pad`` is False.
    ``divisor_override`` replaces the number of elements by which the sum is divided; None is that number. More padding, or a
    divisor of 0, raises RuntimeError in a call.
    """

    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None

    def check(self) -> None:
        self.stride = self.kernel_size if self.stride is None else self.stride

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of (N, C, H, W)."""

    function = F.avg_pool2d


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of (N, C, D, H, W)."""

    function = F.avg_pool3d


class _LPPoolNd(Declared):
    """``norm_type`` is p; infinity gives the maximum."""

    norm_type: float
    kernel_size: Any
    stride: Any = None
    ceil_mode: bool = False

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class LPPool1d(_LPPoolNd):
    """The p-norm of each window of (N, C, L): sum(x^p)^(1/p)."""

    function = F.lp_pool1d


class LPPool2d(_LPPoolNd):
    """The p-norm of each window of (N, C, H, W): sum(x^p)^(1/p)."""

    function = F.lp_pool2d


class LPPool3d(_LPPoolNd):
    """The p-norm of each window of (N, C, D, H, W): sum(x^p)^(1/p)."""

    function = F.lp_pool3d


class _Adaptive(Declared):
    """``output_size``: the number of windows, for all axes or one for each; None keeps the axis. Window i of n covers the
    positions from floor(i extent / n) to ceil((i + 1) extent / n).
    """

    output_size: Any

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPoolNd(_Adaptive):
    """Base of the layers for one, two and three axes."""


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of ``output_size`` windows that cover the input."""

    function = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of ``output_size`` windows that cover the input."""

    function = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of ``output_size`` windows that cover the input."""

    function = F.adaptive_avg_pool3d


class _AdaptiveMaxPoolNd(_Adaptive):
    """``return_indices`` also returns the positions of the maxima, int64, in the flattened last axes."""

    return_indices: bool = False


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The maxima of ``output_size`` windows that cover the input."""

    function = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The maxima of ``output_size`` windows that cover the input."""

    function = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The maxima of ``output_size`` windows that cover the input."""

    function = F.adaptive_max_pool3d


class _FractionalMax(Declared):
    """The number of windows is ``output_size``, or the extent times ``output_ratio``, between 0 and 1; None is not given.
    Raises ValueError unless one of the two is given. ``return_indices`` also returns the positions of the maxima, int64, in the
    flattened last axes.
    """

    kernel_size: Any
    output_size: Any = None
    output_ratio: Any = None
    return_indices: bool = False
    _random_samples: Any = None

    def check(self) -> None:
        if self.output_size is None and self.output_ratio is None:
            raise ValueError(f"{type(self).__name__} requires specifying either an output size, or a pooling ratio")
        if self.output_size is not None and self.output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None:
            ratios = self.output_ratio if isinstance(self.output_ratio, (tuple, list)) else (self.output_ratio,)
            if not all(0 < r < 1 for r in ratios):
                raise ValueError(f"output_ratio must be between 0 and 1 (got {self.output_ratio})")
        self.register_buffer("_random_samples", self.__dict__.pop("_random_samples"))

    def settings(self) -> dict[str, Any]:
        own = self.__dict__
        return {name: own.get(name, self._random_samples) for name in self._defaults}

    def extra_repr(self) -> str:
        return ""


del _FractionalMax._random_samples  # registered as a buffer


class FractionalMaxPool2d(_FractionalMax):
    """Maxima of randomly placed windows (Graham 2014), for (N, C, H, W) or (C, H, W)."""

    function = F.fractional_max_pool2d


class FractionalMaxPool3d(_FractionalMax):
    """Maxima of randomly placed windows (Graham 2014), for (N, C, D, H, W) or (C, D, H, W)."""

    function = F.fractional_max_pool3d


class Unfold(Declared):
    """The windows of images as columns: (N, C * k, L), for L windows of k elements. ``padding`` adds zeros."""

    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1
    function = F.unfold


class Fold(Declared):
    """The adjoint of ``Unfold``: the columns' elements are summed into images of extents ``output_size``. ``padding`` is that
    of ``Unfold``. Columns that do not belong to such images raise RuntimeError in a call.
    """

    output_size: Any
    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1
    function = F.fold


# Padding.


class _Padding(Declared):
    """``padding``: the amounts before and after, beginning with the last axis: (left, right, top, bottom, front, back); one
    number is for all sides. Negative amounts remove elements.
    """

    rank: ClassVar[int]
    mode: ClassVar[str]
    padding: Any

    def check(self) -> None:
        self.padding = ntuple(self.padding, 2 * self.rank)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_Padding):
    value: float

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Pads signals with ``value``."""

    rank = 1


class ConstantPad2d(_ConstantPadNd):
    """Pads images with ``value``."""

    rank = 2


class ConstantPad3d(_ConstantPadNd):
    """Pads volumes with ``value``."""

    rank = 3


class _ZeroPad(_Padding):
    mode = "constant"

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", 0)


class ZeroPad1d(_ZeroPad):
    """Pads signals with zeros."""

    rank = 1


class ZeroPad2d(_ZeroPad):
    """Pads images with zeros."""

    rank = 2


class ZeroPad3d(_ZeroPad):
    """Pads volumes with zeros."""

    rank = 3


class _ReflectionPadNd(_Padding):
    """Base of the layers for one, two and three axes."""


class ReflectionPad1d(_ReflectionPadNd):
    """Pads signals by reflection, without repeating the ends."""

    rank, mode = 1, "reflect"


class ReflectionPad2d(_ReflectionPadNd):
    """Pads images by reflection, without repeating the edges."""

    rank, mode = 2, "reflect"


class ReflectionPad3d(_ReflectionPadNd):
    """Pads volumes by reflection, without repeating the faces."""

    rank, mode = 3, "reflect"


class _ReplicationPadNd(_Padding):
    """Base of the layers for one, two and three axes."""


class ReplicationPad1d(_ReplicationPadNd):
    """Pads signals by repeating the ends."""

    rank, mode = 1, "replicate"


class ReplicationPad2d(_ReplicationPadNd):
    """Pads images by repeating the edges."""

    rank, mode = 2, "replicate"


class ReplicationPad3d(_ReplicationPadNd):
    """Pads volumes by repeating the faces."""

    rank, mode = 3, "replicate"


class _CircularPadNd(_Padding):
    """Base of the layers for one, two and three axes."""


class CircularPad1d(_CircularPadNd):
    """Pads signals with the opposite end."""

    rank, mode = 1, "circular"


class CircularPad2d(_CircularPadNd):
    """Pads images with the opposite edge."""

    rank, mode = 2, "circular"


class CircularPad3d(_CircularPadNd):
    """Pads volumes with the opposite face."""

    rank, mode = 3, "circular"


# Resampling.


class _Resized(Declared):
    """Either ``size``, the new extents, or ``scale_factor``, which multiplies the extents and is rounded down; None is not
    given. One number is for all axes. Both or neither raise ValueError in a call.
    """

    size: Any = None
    scale_factor: Any = None

    def check(self) -> None:
        factor = self.scale_factor
        if factor is not None:
            self.scale_factor = tuple(float(f) for f in factor) if isinstance(factor, (tuple, list)) else float(factor)

    def extra_repr(self) -> str:
        what = f"scale_factor={self.scale_factor!r}" if self.scale_factor is not None else f"size={self.size!r}"
        return f"{what}, mode={self.mode!r}"


class Upsample(_Resized):
    """The last axes resized to ``size``, or by ``scale_factor``. See ``functional.interpolate`` for the formula. ``mode``:
    "nearest", "linear" (one axis), "bilinear" or "bicubic" (two), "trilinear" (three), "area" and others. ``align_corners``
    aligns the corner elements instead of the edges; None is False; it is for linear and cubic modes only, else ValueError.
    ``recompute_scale_factor`` computes with the quotient of the extents instead of the given factor; None is False.
    """

    mode: str = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None
    function = F.interpolate


class UpsamplingNearest2d(_Resized):
    """Resizes images (N, C, H, W) by the nearest pixel."""

    mode: ClassVar[str] = "nearest"

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode)


class UpsamplingBilinear2d(_Resized):
    """Resizes images (N, C, H, W) by bilinear interpolation with aligned corners."""

    mode: ClassVar[str] = "bilinear"

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, align_corners=True)


class PixelShuffle(Declared):
    """Rearranges channels to pixels (Shi et al. 2016): (N, C * r * r, H, W) to (N, C, H * r, W * r), r being
    ``upscale_factor``.
    """

    upscale_factor: int
    function = F.pixel_shuffle


class PixelUnshuffle(Declared):
    """The inverse of ``PixelShuffle``: (N, C, H * r, W * r) to (N, C * r * r, H, W), r being ``downscale_factor``."""

    downscale_factor: int
    function = F.pixel_unshuffle


class ChannelShuffle(Declared):
    """Interleaves the channels of ``groups`` groups (Zhang et al. 2018): C = g * n channels as (g, n), transposed."""

    groups: int
    function = F.channel_shuffle
