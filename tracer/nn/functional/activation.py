"""Activation functions."""

from __future__ import annotations

import functools
import math
from typing import Any

from ...core.fused import fused
from ...core.tensor import Tensor
from ...core.warning import warn
from ...ir import ops as P
from ...ir.types import DType
from ...ops import pointwise as F
from ...ops import reduce, sigmoid, tanh
from ...ops import shape as S
from ...ops.common import element, one_dim, require_real, to_dtype
from ...ops.contracts import in_place
from ...ops.inquiry import filling
from ...ops.opmath import opmath
from ...random import default_generator

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "swish",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]


def _require_floating(name: str, x: Tensor) -> None:
    if not x.is_floating_point():
        raise NotImplementedError(f"\"{name}\" not implemented for '{x.dtype.ctype}'")


def _result(input: Tensor, out: Tensor, inplace: bool) -> Tensor:
    return input._become(out) if inplace else out


def _before(input: Tensor, inplace: bool) -> Tensor:
    """A copy for the rules to read, if the input will be changed in place."""
    return input._snapshot() if inplace and input.requires_grad else input


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return _result(input, F.relu(_before(input, inplace)), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6). Raises RuntimeError for bools."""
    if input.dtype.name == "bool":
        raise RuntimeError("Boolean inputs not supported for relu6")
    return hardtanh(input, 0.0, 6.0, inplace)


@fused
@opmath
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """x * Phi(x) (Hendrycks, Gimpel 2016); ``approximate='tanh'`` for their approximation."""
    _require_floating("GeluKernelImpl", input)
    if approximate == "tanh":
        inner = F.mul(F.add(input, F.mul(F.mul(F.square(input), input), 0.044715)), math.sqrt(2 / math.pi))
        return F.mul(F.mul(input, 0.5), F.add(tanh(inner), 1.0))
    if approximate != "none":
        raise RuntimeError("approximate argument must be either none or tanh.")
    return F.mul(F.mul(input, 0.5), F.add(F.erf(F.mul(input, 1 / math.sqrt(2))), 1.0))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)."""
    return _result(input, _silu(_before(input, inplace)), inplace)


@fused
@opmath
def _silu(x: Tensor) -> Tensor:
    return F.mul(x, sigmoid(x))


swish = silu


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019)."""
    return _result(input, _mish(_before(input, inplace)), inplace)


@fused
@opmath
def _mish(x: Tensor) -> Tensor:
    return F.mul(x, tanh(softplus(x)))


@fused
@opmath
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x is above ``threshold``."""
    _require_floating("softplus_cpu", input)
    z = input if beta == 1 else F.mul(input, beta)
    linear = F.gt(z, threshold)
    safe = F.where(linear, 0.0, z)
    smooth = P.softplus(safe)
    return F.where(linear, input, smooth if beta == 1 else F.div(smooth, beta))


@opmath
def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x)))."""
    _require_floating("log_sigmoid_cpu", input)
    return F.neg(P.softplus(F.neg(input)))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, negative_slope * x elsewhere."""
    return _result(input, _leaky_relu(_before(input, inplace), negative_slope), inplace)


@fused
def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    return F.where(F.gt(x, 0), x, F.mul(x, slope))


@opmath
def rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False) -> Tensor:
    """``leaky_relu`` with a random slope in training, the mean slope otherwise."""
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, but got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    require_real("rrelu_with_noise", input)
    x = _before(input, inplace)
    slope = F.add(F.mul(to_dtype(default_generator.fine(x._data.shape, x.dtype), x.dtype), upper - lower), lower)
    return _result(input, F.where(F.ge(x, 0), x, F.mul(x, slope)), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, weight * x elsewhere; one weight, or one per channel."""
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input._data.shape[1] if input.ndim > 1 else 1
        if weight.numel() != channels:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.numel()} and channel "
                f"size = {channels}."
            )
    w = weight
    if weight.ndim:
        w = S.reshape(weight, tuple(-1 if i == 1 or input.ndim == 1 else 1 for i in range(input.ndim)))
    return F.where(F.gt(input, 0), input, F.mul(input, w))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2016)."""
    return _result(input, _elu(_before(input, inplace), alpha), inplace)


@fused
@opmath
def _elu(x: Tensor, alpha: float, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    _require_floating("elu_cpu", x)
    positive = F.gt(x, 0)
    low = F.where(positive, 0.0, x)
    bent = F.mul(F.expm1(low if input_scale == 1 else F.mul(low, input_scale)), alpha * scale)
    return F.where(positive, x if scale == 1 else F.mul(x, scale), bent)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """``elu`` scaled so that activations keep mean 0 and variance 1 (Klambauer et al. 2017)."""
    out = _elu(_before(input, inplace), 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)
    return _result(input, out, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, alpha * (exp(x / alpha) - 1) elsewhere (Barron 2017)."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _result(input, _elu(_before(input, inplace), alpha, 1.0, 1 / alpha), inplace)


@fused
@opmath
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along ``dim`` times the sigmoid of the second (Dauphin et al. 2017)."""
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    axis = one_dim(dim, input.ndim)
    extent = input._data.shape[axis]
    if extent % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {extent}")
    a, b = S.narrow(input, axis, 0, extent // 2), S.narrow(input, axis, extent // 2, extent // 2)
    return F.mul(a, sigmoid(b))


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x clamped to [min_val, max_val] by min(max(x, min_val), max_val).

    The limits are truncated for integers; the derivative at the limits is 0.

    Raises NotImplementedError for bools, and RuntimeError for unsigned integers with a negative limit.
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if input.dtype.name == "bool":
        raise NotImplementedError("\"hardtanh\" not implemented for 'Bool'")
    if input.dtype.kind == "u" and min(min_val, max_val) < 0:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    min_val, max_val = element(min_val, input.dtype), element(max_val, input.dtype)
    return _result(input, _hardtanh(_before(input, inplace), min_val, max_val), inplace)


@fused
def _hardtanh(x: Tensor, low: float, high: float) -> Tensor:
    return F.where(F.le(x, low), low, F.where(F.ge(x, high), high, _known(x)))


def _known(x: Tensor) -> Tensor:
    """``x``, with no derivative at NaN."""
    return F.where(F.ne(x, x), x.detach(), x) if x._requires_grad else x


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """0 below -3, 1 above 3, x / 6 + 1 / 2 between."""
    return _result(input, _hardsigmoid(_before(input, inplace)), inplace)


@fused
@opmath
def _hardsigmoid(x: Tensor) -> Tensor:
    line = F.add(F.div(_known(x), 6.0), 0.5)
    return F.where(F.le(x, -3), 0.0, F.where(F.ge(x, 3), 1.0, line))


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * relu6(x + 3) / 6 (Howard et al. 2019)."""
    return _result(input, _hardswish(_before(input, inplace)), inplace)


@fused
@opmath
def _hardswish(x: Tensor) -> Tensor:
    low, high = F.le(x, -3), F.ge(x, 3)
    inside = F.where(F.bitwise_or(low, high), 0.0, x)
    middle = F.div(F.mul(inside, F.add(inside, 3.0)), 6.0)
    return F.where(low, F.mul(x, 0.0), F.where(high, x, middle))


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 where |x| <= lambd, x elsewhere."""
    inside = F.bitwise_and(F.ge(input, -lambd), F.le(input, lambd))
    return F.where(inside, 0.0, _known(input))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by ``lambd``, 0 where |x| <= lambd."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    out = F.where(F.gt(input, lambd), F.sub(input, lambd), F.where(F.lt(input, -lambd), F.add(input, lambd), F.mul(input, 0.0)))
    return out


@opmath
def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return F.div(input, F.add(F.abs(input), 1))


@opmath
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return F.sub(input, tanh(input))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above the threshold, ``value`` elsewhere, in the dtype of x: for integers both are truncated."""
    x = _before(input, inplace)
    low = F.le(x, element(threshold, x.dtype))
    return _result(input, P.where(low, filling(value, x.dtype), x), inplace)


def _axis(name: str, dim: int | None, rank: int) -> int:
    """The given axis, or PyTorch's default with its warning."""
    if dim is not None:
        return dim
    text = f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument."
    warn(text)
    return 0 if rank in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along ``dim``, without overflow."""
    return reduce.softmax(input, _axis("softmax", dim, input.ndim), dtype=dtype)


@opmath
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """``softmax`` of -x."""
    return reduce.softmax(F.neg(input), _axis("softmin", dim, input.ndim), dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """log(softmax(x)) along ``dim``, without overflow."""
    return reduce.log_softmax(input, _axis("log_softmax", dim, input.ndim), dtype=dtype)


@opmath
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the Gumbel-softmax distribution (Jang et al. 2017); one-hot if ``hard``, with the soft sample's gradient."""
    u = default_generator.fine(logits._data.shape, logits.dtype)
    noise = to_dtype(F.neg(F.log(F.neg(F.log(u)))), logits.dtype)
    soft = softmax(F.div(F.add(logits, noise), tau), dim)
    if not hard:
        return soft
    axis = one_dim(dim, soft.ndim)
    best = soft.argmax(axis, keepdim=True)
    one = P.cast(P.eq(P.iota(shape=soft._data.shape, axis=axis, dtype="i64"), best), dtype=soft.dtype.short)
    return F.add(F.sub(one, soft.detach()), soft)


def _in_place(function: Any) -> Any:
    @functools.wraps(function)
    def call(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, inplace=True, **kwargs)

    call.__name__ = call.__qualname__ = f"{function.__name__}_"
    call.__doc__ = in_place(function.__name__)
    return call


relu_, elu_, selu_, celu_ = map(_in_place, (relu, elu, selu, celu))
leaky_relu_, hardtanh_, threshold_ = map(_in_place, (leaky_relu, hardtanh, threshold))
