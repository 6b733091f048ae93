"""The gamma distribution and related ones: chi-squared, beta, Dirichlet, Student's t, and others.

Their samples are differentiable in all parameters (Figurnov, Mohamed, Mnih 2018).
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..core.device import beside
from ..core.tensor import Tensor
from ..ops.common import is_number
from ..ops.special import gammainc
from ..random import rand, randn
from ..random.sampling import standard_gamma
from . import constraints
from .distribution import Distribution, ExponentialFamily
from .utils import broadcast_all


def _positive(x: Tensor) -> Tensor:
    """Clamps to the smallest normal number, so that underflow does not give 0."""
    return ops.clamp(x, min=ops.finfo(x.dtype).tiny)


class Gamma(ExponentialFamily):
    """rate^c x^(c - 1) exp(-``rate`` x) / Gamma(c), c the ``concentration``."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _own = {"concentration": 0, "rate": 0}

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None):
        self.concentration, self.rate = broadcast_all(concentration, rate)
        shape = () if is_number(concentration) and is_number(rate) else self.concentration.shape
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ops.clamp((self.concentration - 1) / self.rate, min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / ops.square(self.rate)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return _positive(standard_gamma(ops.expand(self.concentration, shape)) / ops.expand(self.rate, shape))

    def log_prob(self, value: Tensor) -> Tensor:
        value = ops.as_tensor(value, dtype=self.rate.dtype)
        if self._validate_args:
            self._validate_sample(value)
        c, r = self.concentration, self.rate
        return ops.xlogy(c, r) + ops.xlogy(c - 1, value) - r * value - ops.lgamma(c)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return gammainc(*ops.broadcast_tensors(self.concentration, self.rate * value))

    def entropy(self) -> Tensor:
        c = self.concentration
        return c - ops.log(self.rate) + ops.lgamma(c) + (1 - c) * ops.digamma(c)


class Chi2(Gamma):
    """x^(df / 2 - 1) exp(-x / 2) / (2^(df / 2) Gamma(df / 2)): the sum of the squares of ``df`` standard normal variables."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None):
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    @property
    def df(self) -> Tensor:
        return self.concentration * 2


class InverseGamma(Distribution):
    """rate^c x^(-c - 1) exp(-``rate`` / x) / Gamma(c), c the ``concentration``: the reciprocal of a gamma variable."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True
    _own = {"concentration": 0, "rate": 0}

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None):
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def _gamma(self) -> Gamma:
        return Gamma(self.concentration, self.rate, validate_args=False)

    @property
    def mean(self) -> Tensor:
        c = self.concentration
        return ops.where(c > 1, self.rate / (c - 1), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        c = self.concentration
        return ops.where(c > 2, ops.square(self.rate) / (ops.square(c - 1) * (c - 2)), math.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return ops.reciprocal(self._gamma.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._gamma.log_prob(ops.reciprocal(value)) - 2 * ops.log(value)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 1 - self._gamma.cdf(ops.reciprocal(value))

    def entropy(self) -> Tensor:
        c = self.concentration
        return c + ops.log(self.rate) + ops.lgamma(c) - (1 + c) * ops.digamma(c)


class Dirichlet(ExponentialFamily):
    """Probabilities (..., K) with densities proportional to the product of p^(``concentration`` - 1), which is (..., K). Raises
    ValueError for a scalar.
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _own = {"concentration": 1}

    def __init__(self, concentration: Tensor, validate_args: bool | None = None):
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / ops.sum(self.concentration, -1, True)

    @property
    def mode(self) -> Tensor:
        above = ops.clamp(self.concentration - 1, min=0.0)
        mode = above / ops.sum(above, -1, True)
        corner = ops.all(self.concentration < 1, -1, True)
        if not bool(corner.any()):
            return mode
        place = ops.argmax(self.concentration, -1, True)
        one = ops.eq(ops.arange(self.concentration.shape[-1], device=beside(place)), place).to(mode.dtype)
        return ops.where(corner, one, mode)

    @property
    def variance(self) -> Tensor:
        total = ops.sum(self.concentration, -1, True)
        return self.concentration * (total - self.concentration) / (ops.square(total) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = _positive(standard_gamma(ops.expand(self.concentration, self._extended_shape(sample_shape))))
        return drawn / ops.sum(drawn, -1, True)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        c = self.concentration
        return ops.sum(ops.xlogy(c - 1.0, value), -1) + ops.lgamma(ops.sum(c, -1)) - ops.sum(ops.lgamma(c), -1)

    def entropy(self) -> Tensor:
        c, k = self.concentration, self.concentration.shape[-1]
        total = ops.sum(c, -1)
        spread = ops.sum((c - 1.0) * ops.digamma(c), -1)
        return ops.sum(ops.lgamma(c), -1) - ops.lgamma(total) - (k - total) * ops.digamma(total) - spread


class Beta(ExponentialFamily):
    """x^(``concentration1`` - 1) (1 - x)^(``concentration0`` - 1) / B, for 0 < x < 1."""

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None):
        pair = broadcast_all(concentration1, concentration0)
        self._dirichlet = Dirichlet(ops.stack(list(pair), -1), validate_args=validate_args)
        super().__init__(self._dirichlet._batch_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(type(self), _instance)
        new._dirichlet = self._dirichlet.expand(batch_shape)
        Distribution.__init__(new, batch_shape, (), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def concentration1(self) -> Tensor:
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Tensor:
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (ops.square(total) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._dirichlet.log_prob(ops.stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()


class StudentT(Distribution):
    """(1 + z^2 / df)^(-(df + 1) / 2) Gamma((df + 1) / 2) / (Gamma(df / 2) sqrt(pi df) scale), z = (x - ``loc``) / ``scale``: a
    normal variable over the square root of an independent chi-squared one divided by its ``df`` degrees of freedom (Student
    1908).
    """

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _own = {"df": 0, "loc": 0, "scale": 0}

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return ops.where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        wide = ops.where(self.df > 2, self.df, 3.0)
        finite = ops.square(self.scale) * wide / (wide - 2)
        return ops.where(self.df > 2, finite, ops.where(self.df > 1, math.inf, math.nan))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        normal = randn(shape, dtype=self.df.dtype, device=beside(self.df))
        squares = _positive(standard_gamma(ops.expand(self.df * 0.5, shape)) * 2)
        return self.loc + self.scale * normal * ops.rsqrt(squares / self.df)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y, half = (value - self.loc) / self.scale, 0.5 * self.df
        constant = ops.log(self.scale) + 0.5 * ops.log(self.df) + 0.5 * math.log(math.pi)
        constant = constant + ops.lgamma(half) - ops.lgamma(half + 0.5)
        return -0.5 * (self.df + 1.0) * ops.log1p(ops.square(y) / self.df) - constant

    def entropy(self) -> Tensor:
        half = 0.5 * self.df
        lbeta = ops.lgamma(half) + math.lgamma(0.5) - ops.lgamma(0.5 * (self.df + 1))
        slope = ops.digamma(half + 0.5) - ops.digamma(half)
        return ops.log(self.scale) + 0.5 * (self.df + 1) * slope + 0.5 * ops.log(self.df) + lbeta


class FisherSnedecor(Distribution):
    """The quotient of two independent chi-squared variables, each divided by its degrees of freedom, ``df1`` and ``df2``: (d
    x)^(df1 / 2) (1 + d x)^(-(df1 + df2) / 2) / (x B(df1 / 2, df2 / 2)), d = df1 / df2.
    """

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True
    _own = {"df1": 0, "df2": 0}

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None):
        self.df1, self.df2 = broadcast_all(df1, df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        d = ops.where(self.df2 > 2, self.df2, math.nan)
        return d / (d - 2)

    @property
    def mode(self) -> Tensor:
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return ops.where(self.df1 > 2, mode, math.nan)

    @property
    def variance(self) -> Tensor:
        d = ops.where(self.df2 > 4, self.df2, math.nan)
        return 2 * ops.square(d) * (self.df1 + d - 2) / (self.df1 * ops.square(d - 2) * (d - 4))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        top, bottom = (_positive(standard_gamma(ops.expand(d * 0.5, shape)) / (0.5 * d)) for d in (self.df1, self.df2))
        return _positive(top / bottom)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, b, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        constant = ops.lgamma(a + b) - ops.lgamma(a) - ops.lgamma(b)
        return constant + a * ops.log(ratio) + (a - 1) * ops.log(value) - (a + b) * ops.log1p(ratio * value)


class Kumaraswamy(Distribution):
    """a b x^(a - 1) (1 - x^a)^(b - 1), for 0 < x < 1, a = ``concentration1``, b = ``concentration0`` (Kumaraswamy 1980)."""

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True
    _own = {"concentration1": 0, "concentration0": 0}

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None):
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.shape, validate_args=validate_args)

    def _moment(self, n: int) -> Tensor:
        b, x = self.concentration0, 1 + n / self.concentration1
        return ops.exp(ops.log(b) + ops.lgamma(x) + ops.lgamma(b) - ops.lgamma(x + b))

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        found = ops.exp(ops.reciprocal(a) * (ops.log(a - 1) - ops.log(a * b - 1)))
        return ops.where((a < 1) | (b < 1), math.nan, found)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - ops.square(self._moment(1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = rand(self._extended_shape(sample_shape), dtype=self.concentration1.dtype, device=beside(self.concentration1))
        return self.icdf(u)

    def icdf(self, value: Tensor) -> Tensor:
        inner = -ops.expm1(ops.log1p(-value) / self.concentration0)
        return ops.pow(inner, ops.reciprocal(self.concentration1))

    def cdf(self, value: Tensor) -> Tensor:
        inside = ops.clamp(value, 0.0, 1.0)
        return 1 - ops.pow(1 - ops.pow(inside, self.concentration1), self.concentration0)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        inside = (value >= 0) & (value <= 1)
        x = ops.where(inside, value, 0.5)
        found = ops.log(a * b) + ops.xlogy(a - 1, x) + ops.special.xlog1py(b - 1, -ops.pow(x, a))
        return ops.where(inside | (value != value), found + (value - value), -math.inf)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = ops.digamma(b + 1) + 0.57721566490153286061
        return 1 - ops.reciprocal(b) + (1 - ops.reciprocal(a)) * harmonic - ops.log(a) - ops.log(b)
