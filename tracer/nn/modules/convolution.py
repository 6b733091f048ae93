"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from ...core.tensor import Tensor
from ...ir.types import DType
from ...ops import create
from .. import functional as F
from .. import init
from ..functional.convolution import ntuple
from ..module import Module
from ..parameter import Parameter

_PADDINGS = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """The weight is (out_channels, in_channels / groups, k...), or (in_channels, out_channels / groups, k...) if transposed;
    the bias is (out_channels). Both are uniform in [-b, b], b = 1 / sqrt(fan_in). ``groups`` divides the channels into groups
    that are computed separately. Raises ValueError for channels that are not divisible by it, and for invalid paddings.
    """

    rank: ClassVar[int]
    function: ClassVar[Any]

    def _setup(
        self,
        transposed: bool,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool | None,
        padding_mode: str,
        device: Any,
        dtype: DType | None,
    ) -> None:
        n = self.rank
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of 'valid', 'same'")
            if padding == "same" and any(s != 1 for s in ntuple(stride, n)):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDINGS:
            raise ValueError(f"padding_mode must be one of {set(_PADDINGS)}, but got padding_mode='{padding_mode}'")
        if transposed and padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        self.in_channels, self.out_channels, self.groups, self.padding_mode = in_channels, out_channels, groups, padding_mode
        self.kernel_size, self.stride, self.dilation = (ntuple(x, n) for x in (kernel_size, stride, dilation))
        self.padding = padding if isinstance(padding, str) else ntuple(padding, n)
        self.output_padding, self.transposed = ntuple(output_padding, n), transposed
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(create.empty(*shape, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(create.empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        n = self.rank
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * n:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * n:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * n:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Convolution(_ConvNd):
    """``padding`` is the amount on both sides, or "valid" (none), or "same", for a result as long as the input, if the stride
    is 1. ``padding_mode``: "zeros", "reflect", "replicate" or "circular". ``dilation`` is the distance between the kernel's
    elements.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool | None = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation, 0)
        self._setup(False, *sizes, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._amounts(), mode=self.padding_mode)
            padding = 0
        return type(self).function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _amounts(self) -> list[int]:
        """The padding before and after, from the last axis on."""
        if self.padding == "valid":
            return [0] * (2 * self.rank)
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            pairs = [(t // 2, t - t // 2) for t in totals]
        else:
            pairs = [(p, p) for p in ntuple(self.padding, self.rank)]
        return [amount for pair in reversed(pairs) for amount in pair]


class Conv1d(_Convolution):
    """Cross-correlation of signals (N, C, L), or (C, L)."""

    rank = 1
    function = F.conv1d


class Conv2d(_Convolution):
    """Cross-correlation of images (N, C, H, W), or (C, H, W)."""

    rank = 2
    function = F.conv2d


class Conv3d(_Convolution):
    """Cross-correlation of volumes (N, C, D, H, W), or (C, D, H, W)."""

    rank = 3
    function = F.conv3d


class _ConvTransposeNd(_ConvNd):
    """``padding`` and ``dilation`` are those of the convolution whose adjoint this is: ``padding`` shortens the result.
    ``output_padding`` extends it on one side; the optional argument ``output_size`` of a call gives its extents instead.
    ``padding_mode`` can only be "zeros".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool | None = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding)
        self._setup(True, *sizes, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """``output_size``: the extents of the result, among those possible for the stride."""
        more = self.output_padding if output_size is None else self._missing(input, list(output_size))
        return type(self).function(input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)

    def _missing(self, input: Tensor, output_size: list[int]) -> tuple[int, ...]:
        n = self.rank
        if len(output_size) == n + 2:
            output_size = output_size[2:]
        if len(output_size) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.ndim}D input, output_size must have {n} or {n + 2} elements "
                f"(got {len(output_size)})"
            )
        padding = ntuple(self.padding, n)
        rows = zip(input.shape[-n:], self.stride, padding, self.dilation, self.kernel_size, strict=True)
        least = [(e - 1) * s - 2 * p + d * (k - 1) + 1 for e, s, p, d, k in rows]
        most = [m + s - 1 for m, s in zip(least, self.stride, strict=True)]
        if any(not a <= size <= b for a, size, b in zip(least, output_size, most, strict=True)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {least} to {most} "
                f"(for an input of {input.shape[2:]})"
            )
        return tuple(size - a for size, a in zip(output_size, least, strict=True))


class ConvTranspose1d(_ConvTransposeNd):
    """The adjoint of ``Conv1d`` with respect to its input."""

    rank = 1
    function = F.conv_transpose1d


class ConvTranspose2d(_ConvTransposeNd):
    """The adjoint of ``Conv2d`` with respect to its input."""

    rank = 2
    function = F.conv_transpose2d


class ConvTranspose3d(_ConvTransposeNd):
    """The adjoint of ``Conv3d`` with respect to its input."""

    rank = 3
    function = F.conv_transpose3d
