"""Layers that infer their number of inputs from the first input."""

from __future__ import annotations

from typing import Any, ClassVar

from ...autograd.modes import no_grad
from ...core.tensor import Tensor
from ..module import Module
from ..parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)


class LazyModuleMixin:
    """Mixin of layers whose parameters have no shape before the first call; then they become layers of ``cls_to_become``."""

    cls_to_become: ClassVar[type[Module]]
    _lazy_arguments: tuple[Any, ...]

    def has_uninitialized_params(self: Any) -> bool:
        """True if a parameter or buffer has no shape yet."""
        return any(is_lazy(t) for t in (*self._parameters.values(), *self._buffers.values()))

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._become_whole(args[0])
        return self(*args, **kwargs)

    def initialize_parameters(self: Any, input: Tensor) -> None:
        """Gives the parameters their shapes, from an input."""
        self._become_whole(input)

    def _become_whole(self: Any, input: Tensor) -> None:
        made = self._whole(input)
        with no_grad():
            for name, value in made._parameters.items():
                held = self._parameters.get(name)
                if held is None or value is None:
                    self._parameters[name] = value
                    continue
                if is_lazy(held):  # and not loaded meanwhile
                    held.materialize(value.shape)
                    held.copy_(value)
            for name, value in made._buffers.items():
                held = self._buffers.get(name)
                if is_lazy(held):
                    held.materialize(value.shape)
                    held.copy_(value)
                elif held is None:
                    self._buffers[name] = value
        for name, value in made.__dict__.items():
            if name not in ("_parameters", "_buffers", "_modules", "training", "_tracer_hooks", "_tracer_transient"):
                self.__dict__[name] = value
        del self.__dict__["_lazy_arguments"]
        object.__setattr__(self, "__class__", self.cls_to_become)

    def _whole(self: Any, input: Tensor) -> Module:
        """The initialized layer, for an input."""
        _, args, kwargs = self._lazy_arguments
        return self.cls_to_become(self._count(input), *args, **kwargs)

    def _count(self, input: Tensor) -> int:
        raise NotImplementedError

    def _setup_lazily(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any], parameters: dict[str, bool]) -> None:
        Module.__init__(self)
        self.__dict__["_lazy_arguments"] = (None, args, kwargs)
        for name, wanted in parameters.items():
            self.register_parameter(name, UninitializedParameter(dtype=kwargs.get("dtype")) if wanted else None)


class LazyLinear(LazyModuleMixin, Linear):
    """``Linear``, to ``out_features`` features, whose ``in_features`` is the extent of the first input's last axis."""

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool | None = True, device: Any = None, dtype: Any = None):
        kwargs = {"bias": bias, "device": device, "dtype": dtype}
        self._setup_lazily((out_features,), kwargs, {"weight": True, "bias": bool(bias)})
        self.in_features, self.out_features = 0, out_features

    def _count(self, input: Tensor) -> int:
        return input.shape[-1]

    def reset_parameters(self) -> None:
        """No effect before the first call."""


class _LazyConv(LazyModuleMixin):
    def __init__(self: Any, out_channels: int, kernel_size: Any, *args: Any, **kwargs: Any):
        probe = self.cls_to_become(max(1, kwargs.get("groups", 1)), out_channels, kernel_size, *args, **kwargs)
        self._setup_lazily((out_channels, kernel_size, *args), kwargs, {"weight": True, "bias": probe.bias is not None})
        for name, value in probe.__dict__.items():
            if name not in self.__dict__:
                self.__dict__[name] = value
        self.in_channels = 0

    def _count(self: Any, input: Tensor) -> int:
        rank = self.cls_to_become.rank
        if input.ndim not in (rank + 1, rank + 2):
            raise RuntimeError(
                f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {type(self).__name__}, but got input of "
                f"size: {input.shape}"
            )
        return input.shape[-rank - 1]

    def reset_parameters(self) -> None:
        """No effect before the first call."""


class LazyConv1d(_LazyConv, Conv1d):
    """``Conv1d`` with ``in_channels`` from the first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """``Conv2d`` with ``in_channels`` from the first input."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """``Conv3d`` with ``in_channels`` from the first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """``ConvTranspose1d`` with ``in_channels`` from the first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """``ConvTranspose2d`` with ``in_channels`` from the first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """``ConvTranspose3d`` with ``in_channels`` from the first input."""

    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModuleMixin):
    def __init__(self: Any, *args: Any, **kwargs: Any):
        probe = self.cls_to_become(1, *args, **kwargs)
        self._setup_lazily(args, kwargs, {name: p is not None for name, p in probe._parameters.items()})
        for name, value in probe.__dict__.items():
            if name not in self.__dict__:
                self.__dict__[name] = value
        self.num_features = 0
        for name, value in probe._buffers.items():
            lazy = value is not None and value.ndim > 0
            self.register_buffer(name, UninitializedBuffer(dtype=value.dtype) if lazy else value)

    def _count(self: Any, input: Tensor) -> int:
        self._check(input)
        if isinstance(self, (InstanceNorm1d, InstanceNorm2d, InstanceNorm3d)):
            return input.shape[0 if input.ndim == min(self.ranks) else 1]
        return input.shape[1]

    def reset_parameters(self) -> None:
        """No effect before the first call."""

    def reset_running_stats(self) -> None:
        """No effect before the first call."""


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """``BatchNorm1d`` with ``num_features`` from the first input."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """``BatchNorm2d`` with ``num_features`` from the first input."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """``BatchNorm3d`` with ``num_features`` from the first input."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """``InstanceNorm1d`` with ``num_features`` from the first input."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """``InstanceNorm2d`` with ``num_features`` from the first input."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """``InstanceNorm3d`` with ``num_features`` from the first input."""

    cls_to_become = InstanceNorm3d
