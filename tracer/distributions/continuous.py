"""Continuous distributions on the real numbers, by location and scale."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..autograd.modes import no_grad
from ..core.device import beside
from ..core.tensor import Tensor
from ..ops.common import is_number
from ..ops.special import i0e, i1e
from ..random import rand, randn
from . import constraints
from .distribution import Distribution, ExponentialFamily
from .utils import broadcast_all

EULER = 0.57721566490153286061


class _LocationScale(Distribution):
    """``loc + scale`` times a standard variable."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _own = {"loc": 0, "scale": 0}
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None):
        self.loc, self.scale = broadcast_all(loc, scale)
        shape = () if is_number(loc) and is_number(scale) else self.loc.shape
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def _uniform(self, sample_shape: Any) -> Tensor:
        return rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=beside(self.loc))

    def _standardized(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (value - self.loc) / self.scale


class Normal(_LocationScale, ExponentialFamily):
    """exp(-((x - ``loc``) / ``scale``)^2 / 2) / (scale sqrt(2 pi)): the normal distribution with mean ``loc`` and standard
    deviation ``scale``.
    """

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return ops.square(self.scale)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=beside(self.loc)) * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._standardized(value)
        return ops.square(z) * -0.5 - ops.log(self.scale) - math.log(math.sqrt(2 * math.pi))

    def cdf(self, value: Tensor) -> Tensor:
        return 0.5 * (1 + ops.erf(self._standardized(value) / math.sqrt(2)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * ops.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + ops.log(self.scale)


class Laplace(_LocationScale):
    """exp(-|x - ``loc``| / ``scale``) / (2 scale)."""

    @property
    def variance(self) -> Tensor:
        return 2 * ops.square(self.scale)

    @property
    def stddev(self) -> Tensor:
        return math.sqrt(2) * self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = self._uniform(sample_shape) * 2 - 1
        return self.loc - self.scale * ops.sign(u) * ops.log1p(-ops.abs(u))

    def log_prob(self, value: Tensor) -> Tensor:
        return -ops.abs(self._standardized(value)) - ops.log(2 * self.scale)

    def cdf(self, value: Tensor) -> Tensor:
        z = self._standardized(value)
        return 0.5 - 0.5 * ops.sign(z) * ops.expm1(-ops.abs(z))

    def icdf(self, value: Tensor) -> Tensor:
        term = value - 0.5
        return self.loc - self.scale * ops.sign(term) * ops.log1p(-2 * ops.abs(term))

    def entropy(self) -> Tensor:
        return 1 + ops.log(2 * self.scale)


class Cauchy(_LocationScale):
    """1 / (pi scale (1 + ((x - ``loc``) / ``scale``)^2)); mean and variance are undefined."""

    @property
    def mean(self) -> Tensor:
        return ops.full_like(self.loc, math.nan)

    @property
    def variance(self) -> Tensor:
        return ops.full_like(self.loc, math.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + ops.tan((self._uniform(sample_shape) - 0.5) * math.pi) * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        return -math.log(math.pi) - ops.log(self.scale) - ops.log1p(ops.square(self._standardized(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return ops.atan(self._standardized(value)) / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return ops.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + ops.log(self.scale)


class Gumbel(_LocationScale):
    """The distribution of extreme values, with ``cdf`` exp(-exp(-(x - ``loc``) / ``scale``))."""

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * EULER

    @property
    def variance(self) -> Tensor:
        return ops.square(self.stddev)

    @property
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(6) * self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc - self.scale * ops.log(-ops.log(self._uniform(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        y = -self._standardized(value)
        return y - ops.exp(y) - ops.log(self.scale)

    def cdf(self, value: Tensor) -> Tensor:
        return ops.exp(-ops.exp(-self._standardized(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - self.scale * ops.log(-ops.log(value))

    def entropy(self) -> Tensor:
        return ops.log(self.scale) + (1 + EULER)


class _Half(Distribution):
    """The absolute value of a variable that is symmetric about 0."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _own = {"scale": 0}
    scale: Tensor
    _whole: Any

    def __init__(self, scale: Any, validate_args: bool | None = None):
        (self.scale,) = broadcast_all(scale)
        super().__init__(self.scale.shape, validate_args=validate_args)

    @property
    def base_dist(self) -> Any:
        """The distribution of the variable itself."""
        return self._whole(ops.zeros_like(self.scale), self.scale, validate_args=False)

    @property
    def mode(self) -> Tensor:
        return ops.zeros_like(self.scale)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return ops.abs(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return ops.where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)


class HalfNormal(_Half):
    """exp(-(x / ``scale``)^2 / 2) sqrt(2 / pi) / scale, for x >= 0: the absolute value of a normal variable with mean 0."""

    _whole = Normal

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return ops.square(self.scale) * (1 - 2 / math.pi)


class HalfCauchy(_Half):
    """2 / (pi scale (1 + (x / ``scale``)^2)), for x >= 0: the absolute value of a Cauchy variable about 0."""

    _whole = Cauchy

    @property
    def mean(self) -> Tensor:
        return ops.full_like(self.scale, math.inf)

    @property
    def variance(self) -> Tensor:
        return ops.full_like(self.scale, math.inf)


class Uniform(Distribution):
    """1 / (high - low): uniform in [``low``, ``high``). Raises ValueError unless low < high."""

    arg_constraints = {"low": constraints.dependent, "high": constraints.dependent}
    has_rsample = True
    _own = {"low": 0, "high": 0}

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None):
        self.low, self.high = broadcast_all(low, high)
        super().__init__(() if is_number(low) and is_number(high) else self.low.shape, validate_args=validate_args)
        if self._validate_args and not bool((self.low < self.high).all()):
            raise ValueError("Uniform is not defined when low>= high")

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return ops.full_like(self.high, math.nan)

    @property
    def stddev(self) -> Tensor:
        return (self.high - self.low) / math.sqrt(12)

    @property
    def variance(self) -> Tensor:
        return ops.square(self.high - self.low) / 12

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.low + rand(self._extended_shape(sample_shape), dtype=self.low.dtype, device=beside(self.low)) * (
            self.high - self.low
        )

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inside = ((self.low <= value) & (self.high > value)).to(self.low.dtype)
        return ops.log(inside) - ops.log(self.high - self.low)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return ops.clamp((value - self.low) / (self.high - self.low), 0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return ops.log(self.high - self.low)


class Exponential(ExponentialFamily):
    """rate exp(-``rate`` x), for x >= 0."""

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _own = {"rate": 0}

    def __init__(self, rate: Any, validate_args: bool | None = None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(() if is_number(rate) else self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return ops.reciprocal(self.rate)

    @property
    def mode(self) -> Tensor:
        return ops.zeros_like(self.rate)

    @property
    def stddev(self) -> Tensor:
        return ops.reciprocal(self.rate)

    @property
    def variance(self) -> Tensor:
        return ops.pow(self.rate, -2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = rand(self._extended_shape(sample_shape), dtype=self.rate.dtype, device=beside(self.rate))
        return -ops.log1p(-u) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return ops.log(self.rate) - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 1 - ops.exp(-self.rate * value)

    def icdf(self, value: Tensor) -> Tensor:
        return -ops.log1p(-value) / self.rate

    def entropy(self) -> Tensor:
        return 1.0 - ops.log(self.rate)


class Weibull(Distribution):
    """c / scale (x / scale)^(c - 1) exp(-(x / scale)^c), c the ``concentration``: ``scale`` times the c-th root of a standard
    exponential variable.
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive
    has_rsample = True
    _own = {"scale": 0, "concentration": 0}

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None):
        self.scale, self.concentration = broadcast_all(scale, concentration)
        super().__init__(self.scale.shape, validate_args=validate_args)

    def _moment(self, k: int) -> Tensor:
        return ops.exp(ops.lgamma(1 + k / self.concentration))

    @property
    def mean(self) -> Tensor:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> Tensor:
        c = self.concentration
        return self.scale * ops.pow((c - 1) / c, ops.reciprocal(c))

    @property
    def variance(self) -> Tensor:
        return ops.square(self.scale) * (self._moment(2) - ops.square(self._moment(1)))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = rand(self._extended_shape(sample_shape), dtype=self.scale.dtype, device=beside(self.scale))
        return self.scale * ops.pow(-ops.log1p(-u), ops.reciprocal(self.concentration))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        c, z = self.concentration, value / self.scale
        return ops.log(c / self.scale) + (c - 1) * ops.log(z) - ops.pow(z, c)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -ops.expm1(-ops.pow(value / self.scale, self.concentration))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * ops.pow(-ops.log1p(-value), ops.reciprocal(self.concentration))

    def entropy(self) -> Tensor:
        inverse = ops.reciprocal(self.concentration)
        return EULER * (1 - inverse) + ops.log(self.scale * inverse) + 1


class Pareto(Distribution):
    """alpha scale^alpha / x^(``alpha`` + 1), for x >= ``scale``."""

    arg_constraints = {"alpha": constraints.positive, "scale": constraints.positive}
    has_rsample = True
    _own = {"scale": 0, "alpha": 0}

    def __init__(self, scale: Any, alpha: float | Tensor, validate_args: bool | None = None):
        self.scale, self.alpha = broadcast_all(scale, alpha)
        super().__init__(self.scale.shape, validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Tensor:
        a = ops.clamp(self.alpha, min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        a = ops.clamp(self.alpha, min=2)
        return ops.square(self.scale) * a / (ops.square(a - 1) * (a - 2))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = rand(self._extended_shape(sample_shape), dtype=self.scale.dtype, device=beside(self.scale))
        return self.scale * ops.exp(-ops.log1p(-u) / self.alpha)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return ops.log(self.alpha) + self.alpha * ops.log(self.scale) - (self.alpha + 1) * ops.log(value)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -ops.expm1(self.alpha * ops.log(self.scale / value))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * ops.exp(-ops.log1p(-value) / self.alpha)

    def entropy(self) -> Tensor:
        return ops.log(self.scale / self.alpha) + (1 + ops.reciprocal(self.alpha))


class VonMises(Distribution):
    """The circular normal distribution of angles: exp(concentration cos(x - loc)) / (2 pi I0(concentration)), with mean ``loc``
    and ``concentration``. Samples are not differentiable: ``rsample`` raises NotImplementedError.
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False
    _own = {"loc": 0, "concentration": 0}

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance, 1 - I1 / I0."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        k = self.concentration
        return k * (ops.cos(value - self.loc) - 1) - math.log(2 * math.pi) - ops.log(i0e(k))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """By rejection (Best, Fisher 1979), in float64."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            k = ops.expand(self.concentration.double(), shape)
            tau = 1 + ops.sqrt(1 + 4 * ops.square(k))
            rho = (tau - ops.sqrt(2 * tau)) / (2 * k)
            r = ops.where(k < 1e-5, 1 / k + k, (1 + ops.square(rho)) / (2 * rho))
            angle, done = ops.zeros_like(k), ops.zeros_like(k) > 0
            while not bool(done.all()):
                u1, u2, u3 = (rand(shape, dtype=k.dtype, device=beside(k)) for _ in range(3))
                z = ops.cos(math.pi * u1)
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                accept = ((c * (2 - c) - u2) > 0) | ((ops.log(c / u2) + 1 - c) >= 0)
                drawn = ops.sign(u3 - 0.5) * ops.acos(ops.clamp(f, -1, 1))
                angle, done = ops.where(accept & ~done, drawn, angle), done | accept
            return (ops.remainder(angle + math.pi + self.loc.double(), 2 * math.pi) - math.pi).to(self.loc.dtype)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        raise NotImplementedError("VonMises has no rsample")
