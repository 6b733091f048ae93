"""Kullback-Leibler divergences, by pair of types."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from .. import linalg, ops
from ..core.tensor import Tensor
from ..ops.special import multigammaln
from .bounded import ContinuousBernoulli
from .composed import Independent, TransformedDistribution
from .continuous import (
    EULER,
    Cauchy,
    Exponential,
    Gumbel,
    HalfNormal,
    Laplace,
    Normal,
    Pareto,
    Uniform,
)
from .discrete import Bernoulli, Binomial, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution
from .gamma import Beta, Dirichlet, Gamma
from .matrices import Wishart, multidigamma
from .multivariate import MultivariateNormal, mahalanobis
from .utils import softplus, sum_rightmost

_RULES: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Any], Any]:
    """Decorator for a function (p, q) that computes the divergence of two types. Raises TypeError for other types."""
    for t in (type_p, type_q):
        if not isinstance(t, type):  # classes of other packages have no common base
            raise TypeError(f"Expected a Distribution subclass but got {t}")

    def enter(function: Any) -> Any:
        _RULES[type_p, type_q] = function
        _rule.cache_clear()
        return function

    return enter


@functools.lru_cache(maxsize=1024)
def _rule(type_p: type, type_q: type) -> Callable[[Any, Any], Tensor] | None:
    """The rule of the nearest base classes."""
    found = [
        (type_p.__mro__.index(a) + type_q.__mro__.index(b), k, rule)
        for k, ((a, b), rule) in enumerate(_RULES.items())
        if issubclass(type_p, a) and issubclass(type_q, b)
    ]
    return min(found)[2] if found else None


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The expectation, under ``p``, of log p - log q. It has the batch shape and the dtype of the parameters.

    Raises NotImplementedError for pairs without a rule.
    """
    rule = _rule(type(p), type(q))  # type: ignore[arg-type]  # types are hashable
    if rule is None:
        raise NotImplementedError(f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}")
    return rule(p, q)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Tensor:
    first = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    first = ops.where(q.probs == 0, math.inf, first)
    first = ops.where(p.probs == 0, 0.0, first)
    second = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    second = ops.where(q.probs == 1, math.inf, second)
    return first + ops.where(p.probs == 1, 0.0, second)


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    found = p.total_count * (p.probs * (p.logits - q.logits) + ops.log1p(-p.probs) - ops.log1p(-q.probs))
    return ops.where(p.total_count > q.total_count, math.inf, found)


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> Tensor:
    term = p.probs * (p.logits - q.logits)
    term = ops.where(q.probs == 0, math.inf, term)
    return ops.sum(ops.where(p.probs == 0, 0.0, term), -1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Tensor:
    return -p.entropy() - ops.log1p(-q.probs) / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Tensor:
    return p.rate * (ops.log(p.rate) - ops.log(q.rate)) - (p.rate - q.rate)


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Tensor:
    ratio = ops.square(p.scale / q.scale)
    return 0.5 * (ratio + ops.square((p.loc - q.loc) / q.scale) - 1 - ops.log(ratio))


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Tensor:
    ratio, apart = p.scale / q.scale, ops.abs(p.loc - q.loc)
    return -ops.log(ratio) + apart / q.scale + ratio * ops.exp(-apart / p.scale) - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Tensor:
    top = ops.log(ops.square(p.scale + q.scale) + ops.square(p.loc - q.loc))
    return top - ops.log(4 * p.scale * q.scale)


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Tensor:
    ratio, a, b = p.scale / q.scale, q.loc / q.scale, p.loc / q.scale
    return -ops.log(ratio) - a + b + ratio * EULER + ops.exp(a + ops.lgamma(1 + ratio) - b) - (1 + EULER)


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return -ops.log(ratio) + ratio - 1


@register_kl(Gamma, Gamma)
def _gamma(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    return (
        b * ops.log(p.rate / q.rate)
        + ops.lgamma(b)
        - ops.lgamma(a)
        + (a - b) * ops.digamma(a)
        + (q.rate - p.rate) * (a / p.rate)
    )


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> Tensor:
    return _gamma(Gamma(ops.ones_like(p.rate), p.rate, validate_args=False), q)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Any, q: Any) -> Tensor:
    return _gamma(p, Gamma(ops.ones_like(q.rate), q.rate, validate_args=False))


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> Tensor:
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    total = ops.sum(a, -1)
    constant = ops.lgamma(total) - ops.lgamma(ops.sum(b, -1))
    constants = ops.sum(ops.lgamma(a) - ops.lgamma(b), -1)
    slopes = ops.digamma(a) - ops.unsqueeze(ops.digamma(total), -1)
    return constant - constants + ops.sum((a - b) * slopes, -1)


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    found = q.alpha * ops.log(ratio) - ops.log(q.alpha / p.alpha) + q.alpha / p.alpha - 1
    return ops.where(p.scale < q.scale, math.inf, found)


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Tensor:
    found = ops.log((q.high - q.low) / (p.high - p.low))
    return ops.where((q.low > p.low) | (q.high < p.high), math.inf, found)


@register_kl(Uniform, Normal)
def _uniform_normal(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    first = ops.log(math.sqrt(math.pi * 2) * q.scale / width)
    return first + 0.5 * (ops.square(width) / 12 + ops.square((p.high + p.low - 2 * q.loc) / 2)) / ops.square(q.scale)


@register_kl(Laplace, Normal)
def _laplace_normal(p: Any, q: Any) -> Tensor:
    variance = ops.square(q.scale)
    ratio = ops.square(p.scale) / variance
    return (
        -0.5 * ops.log(2 * ratio / math.pi)
        + ratio
        + 0.5 * ops.square(p.loc) / variance
        - p.loc * q.loc / variance
        + 0.5 * ops.square(q.loc) / variance
        - 1
    )


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two Multivariate Normals with different event shapes cannot be computed")
    a, b = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    half = q._half_log_det() - p._half_log_det()
    n = p.event_shape[0]
    batch = ops.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    solved = linalg.solve_triangular(ops.expand(b, (*batch, n, n)), ops.expand(a, (*batch, n, n)), upper=False)
    traces = ops.sum(ops.square(solved), (-2, -1))
    return half + 0.5 * (traces + mahalanobis(b, q.loc - p.loc) - n)


@register_kl(Wishart, Wishart)
def _wishart(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two Wishart distributions of matrices of different sizes cannot be computed")
    n = p.event_shape[-1]
    ratio = linalg.cholesky_solve(p.covariance_matrix, q.scale_tril)
    trace = ops.sum(ops.diagonal(ratio, 0, -2, -1), -1)
    gammas = multigammaln(q.df / 2, n) - multigammaln(p.df / 2, n)
    slope = (p.df - q.df) / 2 * multidigamma(p.df / 2, n)
    return q.df * (q._half_log_det() - p._half_log_det()) + p.df / 2 * (trace - n) + gammas + slope


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return p.mean * (p.logits - q.logits) - p._log_normalizer() + q._log_normalizer()


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)
