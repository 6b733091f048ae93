"""The gradients of convolutions with respect to the input and the weight, as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import grad
from ..autograd.modes import enable_grad
from ..core.tensor import Tensor
from . import functional as F

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _of_input(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def gradient(
        input_size: Sequence[int],
        weight: Tensor,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        with enable_grad():
            x = grad_output.new_zeros(tuple(input_size)).requires_grad_()
            out = convolve(x, weight, None, stride, padding, dilation, groups)
            (g,) = grad(out, x, grad_output, create_graph=weight.requires_grad or grad_output.requires_grad)
        return g

    return _described(gradient, convolve, "input", "an input of shape ``input_size``")


def _of_weight(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def gradient(
        input: Tensor,
        weight_size: Sequence[int],
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        with enable_grad():
            w = grad_output.new_zeros(tuple(weight_size)).requires_grad_()
            out = convolve(input, w, None, stride, padding, dilation, groups)
            (g,) = grad(out, w, grad_output, create_graph=input.requires_grad or grad_output.requires_grad)
        return g

    return _described(gradient, convolve, "weight", "a weight of shape ``weight_size``")


def _described(gradient: Callable[..., Tensor], convolve: Any, of: str, what: str) -> Callable[..., Tensor]:
    name = convolve.__name__
    gradient.__name__ = gradient.__qualname__ = f"{name}_{of}"
    gradient.__doc__ = (
        f"The gradient of ``{name}`` with respect to {what}, for the gradient of the output. Raises what ``{name}`` does, and "
        "RuntimeError if the gradient's shape is not that of its output."
    )
    return gradient


conv1d_input, conv2d_input, conv3d_input = map(_of_input, (F.conv1d, F.conv2d, F.conv3d))
conv1d_weight, conv2d_weight, conv3d_weight = map(_of_weight, (F.conv1d, F.conv2d, F.conv3d))
