"""Distributions on bounded intervals, or with a lower bound."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..core.device import beside
from ..core.size import Size
from ..core.tensor import Tensor
from ..random import rand
from . import constraints
from .distribution import Distribution, ExponentialFamily
from .utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs, probs_to_logits


class ContinuousBernoulli(ExponentialFamily):
    """Numbers from 0 to 1 with a density proportional to exp(logits x) (Loaiza-Ganem, Cunningham 2019).

    ``probs`` is the sigmoid of ``logits``, not a probability. Exactly one of them must be given, else ValueError; None is not
    given. Within ``lims``, series about 1/2 are used.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _own = {"probs": 0, "logits": 0}

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ):
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        if logits is None:
            (self.probs,) = broadcast_all(probs)
            if self._validate_args if validate_args is None else validate_args:  # before values are clamped to the interval
                self._check_parameter("probs", constraints.unit_interval)
            self.probs = clamp_probs(self.probs)
        else:
            (self.logits,) = broadcast_all(logits)
        self._lims = lims
        super().__init__((self.probs if logits is None else self.logits).shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new._lims = self._lims
        return new

    @lazy_property
    def logits(self) -> Tensor:
        """log(probs / (1 - probs))."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """The sigmoid of the logits."""
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    @property
    def param_shape(self) -> Size:
        return self._batch_shape

    def _near(self) -> tuple[Tensor, Tensor]:
        """The mask where the series are used, and logits that are not near 0."""
        near = (self.probs > self._lims[0]) & (self.probs <= self._lims[1])
        return near, ops.where(near, 1.0, self.logits)

    def _log_normalizer(self) -> Tensor:
        """The logarithm of the integral of exp(logits x), which is (exp(logits) - 1) / logits."""
        near, x = self._near()
        size, small = ops.abs(x), ops.square(self.logits)
        exact = ops.clamp(x, min=0) + ops.log(-ops.expm1(-size) / size)
        return ops.where(near, self.logits / 2 + small / 24 - ops.square(small) / 2880, exact)

    @property
    def mean(self) -> Tensor:
        near, x = self._near()
        small = self.logits
        return ops.where(near, 0.5 + small / 12 - small * ops.square(small) / 720, -1 / ops.expm1(-x) - 1 / x)

    @property
    def variance(self) -> Tensor:
        near, x = self._near()
        small, decay = ops.square(self.logits), ops.exp(-ops.abs(x))
        exact = ops.reciprocal(ops.square(x)) - decay / ops.square(ops.expm1(-ops.abs(x)))
        return ops.where(near, 1 / 12 - small / 240 + ops.square(small) / 6048, exact)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=beside(self.probs)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return logits * value - self._log_normalizer()

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        near, x = self._near()
        size = ops.abs(x)  # as decreasing densities; the others are mirror images
        inside = ops.where((value > 0) & (value < 1), value, (value >= 1).to(value.dtype))
        down = ops.expm1(-size * ops.where(x > 0, 1 - inside, inside)) / ops.expm1(-size)
        return ops.where(near, inside, ops.where(x > 0, 1 - down, down))

    def icdf(self, value: Tensor) -> Tensor:
        near, x = self._near()
        size = ops.abs(x)
        down = -ops.log1p(ops.where(x > 0, 1 - value, value) * ops.expm1(-size)) / size
        return ops.where(near, value, ops.where(x > 0, 1 - down, down))

    def entropy(self) -> Tensor:
        return self._log_normalizer() - self.logits * self.mean


class GeneralizedPareto(Distribution):
    """(1 + ``concentration`` z)^(-1/concentration - 1) / scale, for z = (x - ``loc``) / ``scale`` >= 0; exp(-z) / scale if it
    is 0 (Pickands 1975).
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True
    _own = {"loc": 0, "scale": 0, "concentration": 0}

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None):
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> Any:
        c = self.concentration
        return constraints.interval(self.loc, ops.where(c < 0, self.loc - self.scale / c, math.inf))

    def _shape(self) -> tuple[Tensor, Tensor]:
        """The mask where the concentration counts as 0, and the concentration replaced there by a non-zero number."""
        c = self.concentration
        zero = ops.isclose(c, ops.zeros_like(c))
        return zero, ops.where(zero, 1.0, c)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=beside(self.loc)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        zero, c = self._shape()
        z = (value - self.loc) / self.scale
        return -ops.log(self.scale) - ops.where(zero, z, ops.special.xlog1py(1 / c + 1, c * z))

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of larger values."""
        if self._validate_args:
            self._validate_sample(value)
        zero, c = self._shape()
        z = (value - self.loc) / self.scale
        return ops.where(zero, -z, -ops.log1p(c * z) / c)

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of ``cdf``."""
        return ops.log(self.cdf(value))

    def cdf(self, value: Tensor) -> Tensor:
        return -ops.expm1(self.log_survival_function(value))

    def icdf(self, value: Tensor) -> Tensor:
        zero, c = self._shape()
        log_left = ops.log1p(-value)
        return self.loc + self.scale * ops.where(zero, -log_left, ops.expm1(-c * log_left) / c)

    @property
    def mean(self) -> Tensor:
        c = self.concentration
        return ops.where(c < 1, self.loc + self.scale / (1 - ops.where(c < 1, c, 0.0)), math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        c = ops.where(self.concentration < 0.5, self.concentration, 0.0)
        found = ops.square(self.scale) / (ops.square(1 - c) * (1 - 2 * c))
        return ops.where(self.concentration < 0.5, found, math.nan)

    def entropy(self) -> Tensor:
        return ops.log(self.scale) + self.concentration + 1
