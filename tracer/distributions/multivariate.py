"""Normal distributions of vectors."""

from __future__ import annotations

import math
from typing import Any

from .. import linalg, ops
from ..core.device import beside
from ..core.tensor import Tensor
from ..ops.linalg import matmul
from ..random import randn
from . import constraints
from .distribution import Distribution
from .utils import lazy_property


class Covariant(Distribution):
    """Distributions with a covariance matrix (..., N, N), given directly, by its inverse, or by its Cholesky factor."""

    _own = {"_unbroadcasted_scale_tril": 2, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}

    @staticmethod
    def _only(**given: Tensor | None) -> tuple[str, Tensor]:
        """The name and value of the only given parameter."""
        known = [(k, m) for k, m in given.items() if m is not None]
        if len(known) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = known
        if matrix.ndim < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        return name, matrix

    def _factor(self, name: str, matrix: Tensor) -> None:
        if name == "scale_tril":
            self._unbroadcasted_scale_tril = matrix
        elif name == "covariance_matrix":
            self._unbroadcasted_scale_tril = linalg.cholesky(matrix)
        else:
            self._unbroadcasted_scale_tril = _inverse_factor(matrix)

    def _spread(self, matrix: Tensor) -> Tensor:
        return ops.expand(matrix, (*self._batch_shape, *matrix.shape[-2:]))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        return self._spread(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix."""
        L = self._unbroadcasted_scale_tril
        return self._spread(matmul(L, ops.transpose(L, -1, -2)))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance matrix."""
        return self._spread(linalg.cholesky_inverse(self._unbroadcasted_scale_tril))

    def _half_log_det(self) -> Tensor:
        return ops.sum(ops.log(ops.diagonal(self._unbroadcasted_scale_tril, 0, -2, -1)), -1)


class MultivariateNormal(Covariant):
    """exp(-(x - loc)' C^-1 (x - loc) / 2) / sqrt(det(2 pi C)): normal vectors (..., N) with mean ``loc`` (..., N), and the
    ``covariance_matrix`` C (..., N, N), its inverse ``precision_matrix``, or its Cholesky factor ``scale_tril``. Exactly one of
    the three must be given, else ValueError; None is not given.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True
    _own = {**Covariant._own, "loc": 1}

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = self._only(covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril)
        batch = ops.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.__dict__[name] = ops.expand(matrix, (*batch, -1, -1))
        self.loc = ops.expand(loc, (*batch, -1))
        super().__init__(batch, self.loc.shape[-1:], validate_args)
        self._factor(name, matrix)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        squares = ops.sum(ops.square(self._unbroadcasted_scale_tril), -1)
        return ops.expand(squares, (*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=beside(self.loc))
        return self.loc + ops.squeeze(matmul(self._unbroadcasted_scale_tril, ops.unsqueeze(noise, -1)), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - self._half_log_det()

    def entropy(self) -> Tensor:
        found = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()
        return found if len(self._batch_shape) == 0 else ops.expand(found, self._batch_shape)


def mahalanobis(L: Tensor, x: Tensor) -> Tensor:
    """x' (L L')^-1 x, for vectors along the last axis."""
    shape = ops.broadcast_shapes(L.shape[:-2], x.shape[:-1])
    n = L.shape[-1]
    columns = ops.unsqueeze(ops.expand(x, (*shape, n)), -1)
    solved = linalg.solve_triangular(ops.expand(L, (*shape, n, n)), columns, upper=False)
    return ops.sum(ops.square(ops.squeeze(solved, -1)), -1)


def _inverse_factor(P: Tensor) -> Tensor:
    """The Cholesky factor of the inverse: with rows and columns reversed, inv(chol(P))' is triangular."""
    turned = linalg.cholesky(ops.flip(P, (-2, -1)))
    L = ops.transpose(ops.flip(turned, (-2, -1)), -2, -1)
    one = ops.eye(P.shape[-1], dtype=P.dtype, device=beside(P))
    return linalg.solve_triangular(L, ops.expand(one, P.shape), upper=False)


class LowRankMultivariateNormal(MultivariateNormal):
    """Normal vectors as in ``MultivariateNormal``, with mean ``loc`` (..., N) and covariance W W' + diag(d), W being
    ``cov_factor`` (..., N, K) and d ``cov_diag`` (..., N).
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    _own = {**MultivariateNormal._own, "cov_factor": 2, "cov_diag": 1}

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None):
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        if cov_factor.ndim < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        n = loc.shape[-1]
        if cov_factor.shape[-2] != n:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {n} x m")
        if cov_diag.shape[-1:] != (n,):
            raise ValueError(f"cov_diag must be a batch of vectors with shape {(n,)}")
        batch = ops.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.cov_factor = ops.expand(cov_factor, (*batch, *cov_factor.shape[-2:]))
        self.cov_diag = ops.expand(cov_diag, (*batch, n))
        covariance = matmul(cov_factor, ops.transpose(cov_factor, -1, -2)) + ops.diag_embed(cov_diag)
        self.loc = ops.expand(loc, (*batch, n))
        Distribution.__init__(self, batch, (n,), validate_args)
        self._unbroadcasted_scale_tril = linalg.cholesky(covariance)
