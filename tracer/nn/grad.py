"""The gradients of convolutions with respect to the input and the weight, as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import grad
from ..autograd.modes import enable_grad
from ..core.tensor import Tensor
from . import functional as F

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _input(convolve: Any, size: Sequence[int], weight: Tensor, grad_output: Tensor, *rest: Any) -> Tensor:
    with enable_grad():
        x = grad_output.new_zeros(tuple(size)).requires_grad_()
        (g,) = grad(
            convolve(x, weight, None, *rest), x, grad_output, create_graph=weight.requires_grad or grad_output.requires_grad
        )
    return g


def _weight(convolve: Any, input: Tensor, size: Sequence[int], grad_output: Tensor, *rest: Any) -> Tensor:
    with enable_grad():
        w = grad_output.new_zeros(tuple(size)).requires_grad_()
        (g,) = grad(
            convolve(input, w, None, *rest), w, grad_output, create_graph=input.requires_grad or grad_output.requires_grad
        )
    return g


def conv1d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv1d`` with respect to an input of shape ``input_size``, for the gradient of the output. This and the
    functions below raise what the convolution raises, and RuntimeError if the gradient's shape is not that of its output.
    """
    return _input(F.conv1d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv1d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv1d`` with respect to a weight of shape ``weight_size``."""
    return _weight(F.conv1d, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv2d`` with respect to an input of shape ``input_size``."""
    return _input(F.conv2d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv2d`` with respect to a weight of shape ``weight_size``."""
    return _weight(F.conv2d, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv3d`` with respect to an input of shape ``input_size``."""
    return _input(F.conv3d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv3d`` with respect to a weight of shape ``weight_size``."""
    return _weight(F.conv3d, input, weight_size, grad_output, stride, padding, dilation, groups)
