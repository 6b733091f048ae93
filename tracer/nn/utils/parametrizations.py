"""Parametrizations for normalized and orthogonal weights."""

from __future__ import annotations

from typing import Any

from ... import linalg, ops
from ...autograd.modes import no_grad
from ...core.device import beside
from ...core.tensor import Tensor
from ...ops.numeric import norm_except_dim
from ...random import randn
from .. import functional as F
from ..module import Module
from ..modules.convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .parametrize import register_parametrization


class _WeightNorm(Module):
    """A magnitude g for each slice along ``dim``, times a direction v (Salimans, Kingma 2016)."""

    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, 2, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Parametrizes the weight by a magnitude for each slice along ``dim`` (None: one for all) and a direction (Salimans,
    Kingma 2016).
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


def spectral_axis(module: Module, dim: int | None) -> int:
    """The output axis of a module's weight, unless one is given."""
    transposed = isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d))
    return (1 if transposed else 0) if dim is None else dim


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix whose rows are the slices along ``dim``."""
    return ops.reshape(ops.movedim(weight, dim, 0), (weight.shape[dim], -1))


class _SpectralNorm(Module):
    """The weight divided by an estimate of its largest singular value, by power iteration (Miyato et al. 2018)."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.dim, self.eps = dim % weight.ndim, eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                W = as_matrix(weight, self.dim)
                self.register_buffer("_u", F.normalize(randn(W.shape[0], dtype=W.dtype), dim=0, eps=eps))
                self.register_buffer("_v", F.normalize(randn(W.shape[1], dtype=W.dtype), dim=0, eps=eps))
                self._iterate(W, 15)

    def _iterate(self, W: Tensor, n: int) -> None:
        for _ in range(n):
            self._u.copy_(F.normalize(ops.mv(W, self._v), dim=0, eps=self.eps))
            self._v.copy_(F.normalize(ops.mv(ops.t(W), self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        W = as_matrix(weight, self.dim)
        if self.training:
            with no_grad():
                self._iterate(W, self.n_power_iterations)
        return weight / ops.dot(self._u.clone(), ops.mv(W, self._v.clone()))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """The weight divided by an estimate of its largest singular value (Miyato et al. 2018).

    Each use in training improves the estimate by ``n_power_iterations`` steps of power iteration.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    made = _SpectralNorm(weight, n_power_iterations, spectral_axis(module, dim), eps)
    return register_parametrization(module, name, made)


def _orthonormal(A: Tensor) -> Tensor:
    """Q of A = Q R with the diagonal of R positive: A itself if it is orthogonal."""
    Q, R = linalg.qr(A)
    return Q * ops.unsqueeze(ops.sgn(ops.diagonal(R, 0, -2, -1)), -2)


class _Orthogonal(Module):
    """Maps any matrix to one with orthonormal columns (or rows): by the matrix exponential or Cayley map of its skew part, or
    by reflections; relative to a base matrix, which an assignment sets (Lezcano-Casado 2019).
    """

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool = True):
        super().__init__()
        self.shape, self.orthogonal_map, self.use_trivialization = weight.shape, orthogonal_map, use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        n, k = X.shape[-2:]
        turned = n < k
        if turned:
            X, n, k = ops.transpose(X, -1, -2), k, n
        if self.orthogonal_map == "householder":
            below = ops.tril(X, -1)
            tau = 2.0 / (1.0 + ops.sum(ops.square(below), -2))
            signs = ops.trunc(ops.diagonal(X, 0, -2, -1).detach())
            Q = linalg.householder_product(below, tau) * ops.unsqueeze(signs, -2)
        else:
            X = ops.tril(X)
            if n != k:
                X = ops.cat([X, X.new_zeros((*X.shape[:-2], n, n - k))], -1)
            A = X - ops.transpose(X, -1, -2)
            if self.orthogonal_map == "matrix_exp":
                Q = linalg.matrix_exp(A)
            else:
                one = ops.expand(ops.eye(n, dtype=A.dtype, device=beside(A)), A.shape)
                Q = linalg.solve(one - A * 0.5, one + A * 0.5)
            Q = Q[..., :k]
        if self.use_trivialization:
            Q = self.base @ Q
        return ops.transpose(Q, -1, -2) if turned else Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.")
        turned = Q.shape[-2] < Q.shape[-1]
        A = ops.transpose(Q, -1, -2) if turned else Q
        n, k = A.shape[-2:]
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            from ...linalg.factorizations import geqrf

            a, tau = geqrf(A)
            signs = ops.sgn(ops.diagonal(a, 0, -2, -1)) * ops.where(tau == 0, -1.0, 1.0)
            a = ops.tril(a, -1) + ops.diagonal_scatter(ops.zeros_like(a), signs, 0, -2, -1)
            return ops.transpose(a, -1, -2) if turned else a
        if n != k:
            A = ops.cat([A, randn((*A.shape[:-2], n, n - k), dtype=A.dtype)], -1)
        self.base = _orthonormal(A)
        minus = ops.diagonal_scatter(
            ops.zeros_like(Q), ops.full((*Q.shape[:-2], k), -1.0, dtype=Q.dtype, device=beside(Q)), 0, -2, -1
        )
        return minus


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Parametrizes the weight as a matrix with orthonormal columns, or rows if there are fewer.

    ``orthogonal_map``: matrix_exp (default for square matrices), cayley, or householder (default for others). Raises
    ValueError for other maps, and weights that are not matrices.
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
