"""Distributions of matrices."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import linalg, ops
from ..autograd.modes import no_grad
from ..core.device import beside
from ..core.tensor import Tensor
from ..ops.common import is_number
from ..ops.linalg import matmul
from ..ops.special import multigammaln
from ..random import randn
from . import constraints
from .distribution import Distribution, ExponentialFamily
from .gamma import Beta, Chi2
from .multivariate import Covariant
from .utils import broadcast_all


def multidigamma(x: Tensor, p: int) -> Tensor:
    """The derivative of ``multigammaln``."""
    return ops.sum(ops.digamma(ops.unsqueeze(x, -1) - ops.arange(p, dtype=x.dtype, device=beside(x)) / 2), -1)


class Wishart(Covariant, ExponentialFamily):
    """The sum of the outer products of ``df`` normal vectors with themselves: positive definite matrices (..., N, N) (Wishart
    1928). The vectors' covariance is ``covariance_matrix``, the inverse of ``precision_matrix``, or given by its Cholesky
    factor ``scale_tril``. Exactly one of the three must be given, else ValueError; None is not given.

    ``df`` must be greater than N - 1. Raises ValueError otherwise.
    """

    support = constraints.positive_definite
    has_rsample = True
    _own = {**Covariant._own, "df": 0}

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        name, matrix = self._only(covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril)
        batch = ops.broadcast_shapes(matrix.shape[:-2], () if is_number(df) else df.shape)
        self.df = ops.expand(ops.full((), df, dtype=matrix.dtype, device=beside(matrix)) if is_number(df) else df, batch)
        size = matrix.shape[-1]
        if bool((self.df <= size - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {size - 1}.")
        if bool((self.df < size).any()):
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.", stacklevel=2
            )
        self.__dict__[name] = ops.expand(matrix, (*batch, -1, -1))
        super().__init__(batch, matrix.shape[-2:], validate_args)
        self._factor(name, matrix)

    @property
    def arg_constraints(self) -> dict[str, Any]:  # type: ignore[override]
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

    def _of_matrices(self, numbers: Tensor) -> Tensor:
        return ops.reshape(numbers, (*self._batch_shape, 1, 1))

    @property
    def mean(self) -> Tensor:
        return self._of_matrices(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._event_shape[-1] - 1
        return self._of_matrices(ops.where(factor > 0, factor, math.nan)) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        V = self.covariance_matrix
        diagonal = ops.diagonal(V, 0, -2, -1)
        return self._of_matrices(self.df) * (ops.square(V) + ops.unsqueeze(diagonal, -1) * ops.unsqueeze(diagonal, -2))

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Tensor:
        """Products of the factor with triangular matrices (Bartlett 1933). ``max_try_correction`` is ignored."""
        p = self._event_shape[-1]
        shape = self._extended_shape(sample_shape)
        squares = Chi2(
            ops.unsqueeze(self.df, -1) - ops.arange(p, dtype=self.df.dtype, device=beside(self.df)), validate_args=False
        ).rsample(sample_shape)
        diagonal = ops.sqrt(ops.clamp(squares, min=ops.finfo(squares.dtype).tiny))
        lower = ops.tril(randn(shape, dtype=self.df.dtype, device=beside(self.df)), -1) + ops.diag_embed(diagonal)
        factor = matmul(self._unbroadcasted_scale_tril, lower)
        return matmul(factor, ops.transpose(factor, -1, -2))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        p, n = self._event_shape[-1], self.df
        ratio = linalg.cholesky_solve(value, self._spread(self._unbroadcasted_scale_tril))
        trace = ops.sum(ops.diagonal(ratio, 0, -2, -1), -1)
        constant = n * (p * math.log(2) / 2 + self._half_log_det()) + multigammaln(n / 2, p)
        return (n - p - 1) / 2 * linalg.slogdet(value).logabsdet - trace / 2 - constant

    def entropy(self) -> Tensor:
        p, n = self._event_shape[-1], self.df
        scale = (p + 1) * (p * math.log(2) / 2 + self._half_log_det())
        return scale + multigammaln(n / 2, p) - (n - p - 1) / 2 * multidigamma(n / 2, p) + n * p / 2


class LKJCholesky(Distribution):
    """Cholesky factors of correlation matrices (..., ``dim``, ``dim``) whose density is proportional to det^(``concentration``
    - 1).

    Lewandowski, Kurowicka, Joe (2009). Raises ValueError for ``dim`` below 2.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    _own = {"concentration": 0}

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None):
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new.dim = self.dim
        return new

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Row i is a point on the unit sphere: its first i numbers have a uniform direction, and their squared length is
        Beta-distributed.
        """
        before = ops.arange(
            1, self.dim, dtype=self.concentration.dtype, device=beside(self.concentration)
        )  # the rows after the first
        with no_grad():
            concentration = ops.unsqueeze(self.concentration, -1)
            length = Beta(before / 2, concentration + (self.dim - 1 - before) / 2, validate_args=False).sample(sample_shape)
            normal = ops.tril(
                randn((*sample_shape, *self._batch_shape, self.dim - 1, self.dim), dtype=length.dtype, device=beside(length))
            )
            direction = normal / linalg.vector_norm(normal, dim=-1, keepdim=True)
            rows = direction * ops.sqrt(ops.unsqueeze(length, -1))
            rest = ops.sqrt(ops.clamp(1 - length, min=ops.finfo(length.dtype).tiny))
            rows = rows + ops.diag_embed(rest, 1)[..., :-1, :]
            first = ops.expand(
                ops.eye(self.dim, dtype=length.dtype, device=beside(length))[:1], (*rows.shape[:-2], 1, self.dim)
            )
            return ops.cat([first, rows], -2)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n, c = self.dim - 1, self.concentration
        order = 2 * ops.unsqueeze(c - 1, -1) + ops.arange(n - 1, -1, -1, dtype=c.dtype, device=beside(c))
        logs = ops.log(ops.diagonal(value, 0, -2, -1)[..., 1:])
        half = c + n / 2
        constant = n * math.log(math.pi) / 2 + multigammaln(half - 0.5, n) - n * ops.lgamma(half)
        return ops.sum(order * logs, -1) - constant
