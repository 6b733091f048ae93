"""Distributions of integers."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..autograd.modes import no_grad
from ..core.device import beside
from ..core.size import Size
from ..core.tensor import Tensor
from ..ops.common import is_number
from ..random import multinomial, rand
from ..random.sampling import binomial, poisson, standard_gamma
from . import constraints
from .distribution import Distribution, ExponentialFamily
from .utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits, require, softplus


def _either(probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


def _cross_entropy(logits: Tensor, value: Tensor) -> Tensor:
    """-log p from log odds, for values of 0, 1 and between: max(l, 0) - l v + log(1 + exp(-|l|))."""
    return softplus(logits) - logits * value


class _Binary(ExponentialFamily):
    """The success probability is ``probs``, or given by its log odds ``logits``, log(probs / (1 - probs)). Exactly one of them
    must be given, else ValueError; None is not given.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    _own = {"probs": 0, "logits": 0}

    def _given(self, probs: Any, logits: Any, *others: Any) -> tuple[Tensor, ...]:
        """Stores the given one, broadcast with the other parameters; returns the others."""
        _either(probs, logits)
        self._single = is_number(probs if logits is None else logits)
        *rest, value = broadcast_all(*others, probs if logits is None else logits)
        if logits is None:
            self.probs = value
        else:
            self.logits = value
        self._param = value
        return tuple(rest)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new._param = new.__dict__["probs" if "probs" in self.__dict__ else "logits"]
        return new

    @lazy_property
    def logits(self) -> Tensor:
        """The log odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """The probabilities."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def param_shape(self) -> Size:
        return self._param.shape


class Bernoulli(_Binary):
    """p^x (1 - p)^(1 - x): 1 with probability ``probs``, else 0."""

    support = constraints.boolean
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        self._given(probs, logits)
        super().__init__(() if self._single else self._param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        mode = (self.probs >= 0.5).to(self.probs.dtype)
        return ops.where(self.probs == 0.5, math.nan, mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            p = ops.expand(self.probs, self._extended_shape(sample_shape))
            return (rand(p.shape, dtype=p.dtype, device=beside(p)) < p).to(p.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -_cross_entropy(*ops.broadcast_tensors(self.logits, value))

    def entropy(self) -> Tensor:
        return _cross_entropy(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(ops.arange(2, dtype=self._param.dtype, device=beside(self._param)), expand)


class Geometric(_Binary):
    """(1 - p)^x p: the number of failures before the first success, which has probability ``probs``, greater than 0."""

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        self._given(probs, logits)
        super().__init__(() if self._single else self._param.shape, validate_args=validate_args)
        if self._validate_args and probs is not None:
            value = self.probs
            require(
                value > 0,
                lambda: ValueError(
                    f"Expected parameter probs ({type(value).__name__} of shape {tuple(value.shape)}) of distribution {self!r} "
                    f"to be positive but found invalid values:\n{value}"
                ),
            )

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return ops.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return ops.floor(ops.log(rand(shape, dtype=self.probs.dtype, device=beside(self.probs))) / ops.log1p(-self.probs))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, p = ops.broadcast_tensors(value, self.probs)
        p = ops.where((p == 1) & (value == 0), 0.0, p)
        return value * ops.log1p(-p) + ops.log(self.probs)

    def entropy(self) -> Tensor:
        return _cross_entropy(self.logits, self.probs) / self.probs


class Binomial(_Binary):
    """C(n, x) p^x (1 - p)^(n - x): the number of successes in n = ``total_count`` trials."""

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True
    _own = {"total_count": 0, "probs": 0, "logits": 0}

    def __init__(self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        (count,) = self._given(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ops.minimum(ops.floor((self.total_count + 1) * self.probs), self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(ops.expand(self.total_count, shape), ops.expand(self.probs, shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.total_count, self.logits
        ways = ops.lgamma(n + 1) - ops.lgamma(value + 1) - ops.lgamma(n - value + 1)
        return ways + value * logits - n * softplus(logits)

    def entropy(self) -> Tensor:
        count = int(self.total_count.max())
        if not float(self.total_count.min()) == count:
            raise NotImplementedError("Inhomogeneous total count not supported by `entropy`.")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -ops.sum(ops.exp(log_prob) * log_prob, 0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        count = int(self.total_count.max())
        if not float(self.total_count.min()) == count:
            raise NotImplementedError("Inhomogeneous total count not supported by `enumerate_support`.")
        return self._enumerated(ops.arange(1 + count, dtype=self._param.dtype, device=beside(self._param)), expand)


class NegativeBinomial(_Binary):
    """C(n + x - 1, x) p^x (1 - p)^n: the number of successes, of probability ``probs`` each, before n = ``total_count``
    failures.
    """

    arg_constraints = {
        "total_count": constraints.nonnegative,
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer
    _own = {"total_count": 0, "probs": 0, "logits": 0}

    def __init__(self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        (count,) = self._given(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * ops.exp(self.logits)

    @property
    def mode(self) -> Tensor:
        return ops.maximum(ops.floor((self.total_count - 1) * ops.exp(self.logits)), ops.zeros_like(self.total_count))

    @property
    def variance(self) -> Tensor:
        return self.mean / ops.sigmoid(-self.logits)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            rate = standard_gamma(ops.expand(self.total_count, shape)) * ops.exp(self.logits)
            return poisson(rate)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n = self.total_count
        weight = n * _log_sigmoid(-self.logits) + value * _log_sigmoid(self.logits)
        constant = -ops.lgamma(n + value) + ops.lgamma(1.0 + value) + ops.lgamma(n)
        constant = ops.where(n + value == 0, 0.0, constant)
        return weight - constant


def _log_sigmoid(x: Tensor) -> Tensor:
    return -softplus(-x)


class Poisson(ExponentialFamily):
    """rate^k exp(-rate) / k!, for the numbers k = 0, 1, 2, ...; ``rate`` is the mean."""

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    _own = {"rate": 0}

    def __init__(self, rate: Any, validate_args: bool | None = None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(() if is_number(rate) else self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return ops.floor(self.rate)

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return poisson(ops.expand(self.rate, self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return ops.xlogy(value, rate) - rate - ops.lgamma(value + 1)


class Categorical(Distribution):
    """The numbers 0 ... K - 1 with probabilities ``probs`` (..., K), which need not sum to 1; or by their logarithms,
    ``logits``. Exactly one of them must be given, with an axis at least, else ValueError; None is not given. Values are int64.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True
    _own = {"probs": 1, "logits": 1}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        _either(probs, logits)
        given = probs if logits is None else logits
        if given.ndim < 1:
            raise ValueError(f"`{'probs' if logits is None else 'logits'}` parameter must be at least one-dimensional.")
        if logits is None:
            self.probs = probs / ops.sum(probs, -1, keepdim=True)
        else:
            self.logits = logits - ops.logsumexp(logits, -1, keepdim=True)
        self._param = self.probs if logits is None else self.logits
        self._num_events = self._param.shape[-1]
        super().__init__(self._param.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new._param = new.__dict__["probs" if "probs" in self.__dict__ else "logits"]
        new._num_events = self._num_events
        return new

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @lazy_property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self) -> Tensor:
        """The probabilities."""
        return logits_to_probs(self.logits)

    @property
    def param_shape(self) -> Size:
        return self._param.shape

    @property
    def mean(self) -> Tensor:
        return ops.full(self._extended_shape(), math.nan, dtype=self.probs.dtype, device=beside(self.probs))

    @property
    def mode(self) -> Tensor:
        return ops.argmax(self.probs, -1)

    @property
    def variance(self) -> Tensor:
        return ops.full(self._extended_shape(), math.nan, dtype=self.probs.dtype, device=beside(self.probs))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            rows = ops.reshape(self.probs, (-1, self._num_events))
            drawn = multinomial(rows, Size(sample_shape).numel(), True)
            return ops.reshape(ops.t(drawn), shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        index = ops.unsqueeze(value.long(), -1)
        shape = ops.broadcast_shapes(index.shape[:-1], self.logits.shape[:-1])
        index = ops.expand(index, (*shape, 1))
        logits = ops.expand(self.logits, (*shape, self._num_events))
        return ops.squeeze(ops.gather(logits, -1, index), -1)

    def entropy(self) -> Tensor:
        logits = ops.clamp(self.logits, min=ops.finfo(self.logits.dtype).min)
        return -ops.sum(logits * self.probs, -1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(ops.arange(self._num_events, device=beside(self._param)), expand)


class OneHotCategorical(Distribution):
    """One-hot vectors (..., K) with a categorical position, by ``probs`` or ``logits`` (..., K), as in ``Categorical``. Exactly
    one of them must be given, else ValueError; None is not given.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        self._categorical = Categorical(probs, logits, validate_args=validate_args)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(type(self), _instance)
        new._categorical = self._categorical.expand(batch_shape)
        Distribution.__init__(new, batch_shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def _param(self) -> Tensor:
        return self._categorical._param

    @property
    def param_shape(self) -> Size:
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._one_hot(self._categorical.mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _one_hot(self, places: Tensor) -> Tensor:
        numbers = ops.arange(self._event_shape[0], device=beside(self._param))
        return ops.eq(ops.unsqueeze(places, -1), numbers).to(self._param.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._one_hot(self._categorical.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._categorical.log_prob(ops.argmax(value, -1))

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._event_shape[0]
        values = ops.reshape(
            ops.eye(n, dtype=self._param.dtype, device=beside(self._param)), (n, *(1,) * len(self._batch_shape), n)
        )
        return ops.expand(values, (n, *self._batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """One-hot vectors (..., K) as in ``OneHotCategorical``, by ``probs`` or ``logits``, with the gradient of the probabilities
    (Bengio et al. 2013). Exactly one of them must be given, else ValueError; None is not given.
    """

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        samples = self.sample(sample_shape)
        return samples + (self.probs - self.probs.detach())


class Multinomial(Distribution):
    """How often each of K categories occurs, (..., K), in n = ``total_count`` draws, an int: n! / (x1! ... xK!) times the
    product of p^x. ``probs`` and ``logits`` are those of ``Categorical``. Exactly one of them must be given, else ValueError;
    None is not given.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(type(self), _instance)
        new.total_count, new._categorical = self.total_count, self._categorical.expand(batch_shape)
        Distribution.__init__(new, batch_shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def param_shape(self) -> Size:
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn = self._categorical.sample((self.total_count, *sample_shape))
        numbers = ops.arange(self._event_shape[0], device=beside(drawn))
        return ops.sum(ops.eq(ops.unsqueeze(drawn, -1), numbers).to(self.probs.dtype), 0)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        logits = ops.where((value == 0) & (logits == -math.inf), 0.0, logits)
        ways = ops.lgamma(ops.sum(value, -1) + 1) - ops.sum(ops.lgamma(value + 1), -1)
        return ways + ops.sum(logits * value, -1)

    def entropy(self) -> Tensor:
        n = self.total_count
        one = Binomial(n, probs=self.probs, validate_args=False)
        support = one.enumerate_support(False)[1:]
        chances = ops.exp(one.log_prob(support))
        term = ops.sum(chances * ops.lgamma(support + 1), (0, -1))
        return n * self._categorical.entropy() - math.lgamma(n + 1) + term
