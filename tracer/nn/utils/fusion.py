"""Fusion of batch normalization, in evaluation mode, into the preceding layer."""

from __future__ import annotations

import copy
from typing import Any

from ... import ops
from ...core.tensor import Tensor
from ..parameter import Parameter


def _scales(mean: Tensor, var: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    weight = ops.ones_like(mean) if weight is None else weight
    bias = ops.zeros_like(mean) if bias is None else bias
    scale = weight * ops.rsqrt(var + eps)
    return scale, bias - mean * scale


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """The weight and bias of a convolution that includes the normalization. ``transpose``: outputs are the weight's axis 1.

    The weight is (O, I, ...), the others are (O), all of one floating dtype. Other shapes raise RuntimeError.
    """
    scale, shift = _scales(bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    axis = 1 if transpose else 0
    lifted = scale.reshape(tuple(-1 if i == axis else 1 for i in range(conv_w.ndim)))
    bias = shift if conv_b is None else conv_b * scale + shift
    return Parameter((conv_w * lifted).detach(), conv_w.requires_grad), Parameter(bias.detach(), conv_w.requires_grad)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution that includes the batch normalization after it, both in evaluation mode."""
    if conv.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """The weight and bias of a linear layer that includes the normalization.

    The weight is (O, I), the others are (O), all of one floating dtype. Other shapes raise RuntimeError.
    """
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a linear layer that includes the batch normalization after it, both in evaluation mode."""
    if linear.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused
