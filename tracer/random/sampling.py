"""Random numbers of named distributions: quantiles at uniform numbers, so that eager and traced code draw the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..autograd.modes import unfollowed
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import float64
from ..ops import pointwise
from ..ops.common import constant_in, to_dtype
from ..ops.moving import broadcast_tensors
from ..ops.offering import offer
from . import Generator, default_generator
from .drawing import Draw, gaussian

__all__ = ["binomial", "poisson"]


def _uniform(sizes: tuple[int, ...], generator: Generator | None) -> Tensor:
    return (generator or default_generator).uniform(sizes, float64)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers with the rates in ``input``, in its dtype.

    Raises RuntimeError for negative rates, NotImplementedError for dtypes that are not floating.
    """
    if not input.is_floating_point():
        raise NotImplementedError(f"\"poisson_cpu\" not implemented for '{input.dtype.ctype}'")
    with unfollowed():
        out = P.poisson_quantile(_uniform(input._data.shape, generator), input)
    return constant_in(out, input)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """The number of successes in ``count`` trials, each with probability ``prob``; both broadcast. In the dtype of ``prob``.

    Raises ValueError for counts that are not of a floating dtype.
    """
    if not count.is_floating_point():
        raise ValueError(f"binomial only supports floating-point dtypes for count, got: {count.dtype.ctype}")
    n, p = broadcast_tensors(to_dtype(count, prob.dtype), prob)
    with unfollowed():
        out = P.binomial_quantile(_uniform(p._data.shape, generator), n, p)
    return constant_in(out, n, p)


def standard_gamma(alpha: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma numbers with shape ``alpha`` and rate 1, once differentiable in the shape (Figurnov et al. 2018)."""
    return P.gamma_quantile(_uniform(alpha._data.shape, generator), alpha)


# In-place functions.


def _require_continuous(name: str, t: Tensor) -> None:
    if not t.is_floating_point():
        raise RuntimeError(
            f"{name} distribution is a continuous probability distribution. dtype must be a floating point but you specified "
            f"{t.dtype.name}"
        )


def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Cauchy numbers, in place. Raises RuntimeError for a ``sigma`` that is not positive, and dtypes that are not floating."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    _require_continuous("Cauchy", self)
    draw = Draw(lambda u: pointwise.tan((u - 0.5) * math.pi) * sigma + median, float64, self.dtype)
    return (generator or default_generator).fill(draw, self)


def log_normal_(self: Tensor, mean: float = 1, std: float = 2, *, generator: Generator | None = None) -> Tensor:
    """Numbers whose logarithm is normal, in place. Raises RuntimeError for a ``std`` that is not positive."""
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    if not self.is_floating_point():
        raise NotImplementedError(f"\"log_normal_cpu\" not implemented for '{self.dtype.ctype}'")
    normal = gaussian(self.dtype, mean, std)
    draw = Draw(lambda *u: [pointwise.exp(x) for x in normal.formula(*u)], normal.of, self.dtype, normal.together)
    return (generator or default_generator).fill(draw, self)


def geometric_(self: Tensor, p: Any, *, generator: Generator | None = None) -> Tensor:
    """The number of trials up to the first success, which has probability ``p``, in place. Raises RuntimeError unless ``p`` is
    between 0 and 1.
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    draw = Draw(lambda u: pointwise.clamp(pointwise.ceil(pointwise.log(u) / math.log1p(-p)), min=1.0), float64, self.dtype)
    return (generator or default_generator).fill(draw, self)


def bernoulli(self: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """``bernoulli`` with this tensor's probabilities, or with ``p``."""
    from . import bernoulli as function

    return function(self, p, generator=generator)


def multinomial(self: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> Tensor:
    """``multinomial`` with this tensor's weights."""
    from . import multinomial as function

    return function(self, num_samples, replacement, generator=generator)


METHODS: dict[str, Any] = {
    "cauchy_": cauchy_,
    "geometric_": geometric_,
    "log_normal_": log_normal_,
    "bernoulli": bernoulli,
    "multinomial": multinomial,
}

if not TYPE_CHECKING:  # a type checker uses the definitions above
    offer(globals(), __all__)
