"""Activations. The formulas are those of the functions of the same name."""

from __future__ import annotations

from ...core.tensor import Tensor
from ...ir.types import DType
from ...ops import create
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter
from .declared import Declared


class ReLU(Declared):
    """max(x, 0)."""

    inplace: bool = False
    function = F.relu


class ReLU6(Declared):
    """min(max(x, 0), 6)."""

    inplace: bool = False
    function = F.relu6


class Threshold(Declared):
    """x where x > ``threshold``, else ``value``."""

    threshold: float
    value: float
    inplace: bool = False
    function = F.threshold


class RReLU(Declared):
    """x where positive, else a random slope times x (Xu et al. 2015). In training the slope is uniform between ``lower`` and
    ``upper``; in evaluation it is their mean.
    """

    lower: float = 1 / 8
    upper: float = 1 / 3
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Hardtanh(Declared):
    """x clamped to [``min_val``, ``max_val``]: min(max(x, min_val), max_val). Raises AssertionError unless ``max_val`` is
    greater than ``min_val``.
    """

    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False
    function = F.hardtanh

    def check(self) -> None:
        if self.max_val <= self.min_val:
            raise AssertionError("max_val must be greater than min_val")


class Hardsigmoid(Declared):
    """min(max(x + 3, 0), 6) / 6."""

    inplace: bool = False
    function = F.hardsigmoid

    def extra_repr(self) -> str:
        return ""


class Hardswish(Declared):
    """x * hardsigmoid(x)."""

    inplace: bool = False
    function = F.hardswish

    def extra_repr(self) -> str:
        return ""


class Tanh(Declared):
    """The hyperbolic tangent, sinh(x) / cosh(x)."""

    function = F.tanh


class Sigmoid(Declared):
    """1 / (1 + exp(-x))."""

    function = F.sigmoid


class LogSigmoid(Declared):
    """log(sigmoid(x))."""

    function = F.logsigmoid


class SiLU(Declared):
    """x * sigmoid(x)."""

    inplace: bool = False
    function = F.silu


class Mish(Declared):
    """x * tanh(softplus(x)) (Misra 2019)."""

    inplace: bool = False
    function = F.mish


class ELU(Declared):
    """x where positive, else ``alpha`` * (exp(x) - 1) (Clevert et al. 2016)."""

    alpha: float = 1.0
    inplace: bool = False
    function = F.elu


class CELU(Declared):
    """x where positive, else ``alpha`` * (exp(x / alpha) - 1) (Barron 2017). An ``alpha`` of 0 raises RuntimeError."""

    alpha: float = 1.0
    inplace: bool = False
    function = F.celu


class SELU(Declared):
    """The self-normalizing ELU (Klambauer et al. 2017)."""

    inplace: bool = False
    function = F.selu


class GLU(Declared):
    """The first half of the axis ``dim`` times the sigmoid of the second (Dauphin et al. 2017): a * sigmoid(b). An odd extent
    raises RuntimeError.
    """

    dim: int = -1
    function = F.glu


class GELU(Declared):
    """x * Phi(x), where Phi is the normal distribution function (Hendrycks, Gimpel 2016). ``approximate`` is "none", or "tanh"
    for x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))); anything else raises RuntimeError in a call.
    """

    approximate: str = "none"
    function = F.gelu

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Hardshrink(Declared):
    """x where abs(x) > ``lambd``, else 0."""

    lambd: float = 0.5
    function = F.hardshrink

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Declared):
    """x moved towards 0 by ``lambd``: x - lambd above it, x + lambd below -lambd, else 0. A negative ``lambd`` raises
    RuntimeError in a call.
    """

    lambd: float = 0.5
    function = F.softshrink

    def extra_repr(self) -> str:
        return str(self.lambd)


class Tanhshrink(Declared):
    """x - tanh(x)."""

    function = F.tanhshrink


class LeakyReLU(Declared):
    """x where positive, else ``negative_slope`` * x."""

    negative_slope: float = 0.01
    inplace: bool = False
    function = F.leaky_relu


class Softplus(Declared):
    """log(1 + exp(beta * x)) / beta; and x itself where ``beta`` * x is above ``threshold``."""

    beta: float = 1.0
    threshold: float = 20.0
    function = F.softplus


class Softsign(Declared):
    """x / (1 + abs(x))."""

    function = F.softsign


class Softmin(Declared):
    """softmax(-x) along an axis."""

    dim: int | None = None
    function = F.softmin


class Softmax(Declared):
    """exp(x) divided by its sum along an axis."""

    dim: int | None = None
    function = F.softmax


class LogSoftmax(Declared):
    """log(softmax(x)) along an axis."""

    dim: int | None = None
    function = F.log_softmax


class Softmax2d(Module):
    """Softmax over the channels of images: exp(x) / sum(exp(x)). Input (N, C, H, W) or (C, H, W); the result has the same
    shape. Takes floating, integer and bool tensors; integers and bools give the default dtype. Raises ValueError for other
    numbers of axes.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)


class PReLU(Module):
    """x where positive, else a learned slope times x (He et al. 2015). ``num_parameters`` is the number of slopes: 1, or one
    per channel, which is axis 1 of the input. ``init`` is their initial value.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: object = None, dtype: DType | None = None):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(create.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
