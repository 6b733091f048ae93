"""Invertible transforms between regions, with the logarithms of their Jacobian determinants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..core.device import beside
from ..core.tensor import Tensor
from ..ir.types import int64
from . import constraints
from .mapping import ComposeTransform, IndependentTransform, ReshapeTransform, Transform
from .utils import broadcast_all, softplus, sum_rightmost

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "CatTransform",
    "ComposeTransform",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "ExpTransform",
    "IndependentTransform",
    "LowerCholeskyTransform",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "TanhTransform",
    "Transform",
    "identity_transform",
]


class _Elementwise(Transform):
    """Increasing transforms of numbers, without parameters."""

    bijective = True
    sign = 1  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    __hash__ = Transform.__hash__


class ExpTransform(_Elementwise):
    """y = exp(x)."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return ops.exp(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.log(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class PowerTransform(Transform):
    """y = x^``exponent``, for positive numbers; the exponent broadcasts with them."""

    domain = constraints.positive
    codomain = constraints.positive
    bijective = True

    def __init__(self, exponent: Any, cache_size: int = 0):
        super().__init__(cache_size)
        (self.exponent,) = broadcast_all(exponent)

    @property
    def sign(self) -> Any:
        return ops.sign(self.exponent)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PowerTransform) and bool((self.exponent == other.exponent).all())

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return ops.pow(x, self.exponent)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.pow(y, 1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.log(ops.abs(self.exponent * y / x))

    def forward_shape(self, shape: Any) -> Any:
        return ops.broadcast_shapes(shape, self.exponent.shape)

    inverse_shape = forward_shape


class SigmoidTransform(_Elementwise):
    """y = 1 / (1 + exp(-x)), clamped away from 0 and 1."""

    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        limits = ops.finfo(x.dtype)
        return ops.clamp(ops.sigmoid(x), limits.tiny, 1.0 - limits.eps)

    def _inverse(self, y: Tensor) -> Tensor:
        limits = ops.finfo(y.dtype)
        y = ops.clamp(y, limits.tiny, 1.0 - limits.eps)
        return ops.log(y) - ops.log1p(-y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x) - softplus(x)


class SoftplusTransform(_Elementwise):
    """y = log(1 + exp(x))."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return softplus(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.log(-ops.expm1(-y)) + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x)


class TanhTransform(_Elementwise):
    """y = tanh(x)."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Tensor) -> Tensor:
        return ops.tanh(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.atanh(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))


class AbsTransform(Transform):
    """y = |x|; not invertible: ``inv`` returns y."""

    codomain = constraints.positive

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbsTransform)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return ops.abs(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class AffineTransform(Transform):
    """y = ``loc`` + ``scale`` x; both broadcast with x. ``event_dim``: the number of the last axes that make an event."""

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0):
        super().__init__(cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    @property
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.real if self._event_dim == 0 else constraints.independent(constraints.real, self._event_dim)

    codomain = domain  # type: ignore[assignment]

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, Tensor):
            return ops.sign(self.scale)
        return (self.scale > 0) - (self.scale < 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AffineTransform):
            return False
        pairs = [(self.loc, other.loc), (self.scale, other.scale)]
        return all(bool((ops.as_tensor(a) == ops.as_tensor(b)).all()) for a, b in pairs)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.scale, Tensor):
            result = ops.expand(ops.log(ops.abs(self.scale)), ops.broadcast_shapes(x.shape, self.scale.shape))
        else:
            result = ops.full_like(x, math.log(abs(self.scale)))
        return sum_rightmost(result, self._event_dim)

    def forward_shape(self, shape: Any) -> Any:
        return ops.broadcast_shapes(shape, getattr(self.loc, "shape", ()), getattr(self.scale, "shape", ()))

    inverse_shape = forward_shape


class SoftmaxTransform(Transform):
    """y = exp(x), normalized along the last axis; its inverse, the logarithm, is determined up to a constant."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftmaxTransform)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return ops.softmax(x, -1)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.log(y)


class StickBreakingTransform(Transform):
    """K - 1 numbers (..., K - 1) to K probabilities (..., K): each is a fraction, z_i = sigmoid(x_i - log(K - i)) for i = 1, 2
    ..., of the remainder.
    """

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StickBreakingTransform)

    __hash__ = Transform.__hash__

    @staticmethod
    def _shift(x: Tensor) -> Tensor:
        n = x.shape[-1]
        return ops.log(n - ops.arange(n, dtype=x.dtype, device=beside(x)))

    def _call(self, x: Tensor) -> Tensor:
        z = SigmoidTransform()(x - self._shift(x))
        left = ops.cumprod(1 - z, -1)
        one = ops.ones_like(left[..., :1])
        return ops.cat([z, one], -1) * ops.cat([one, left], -1)

    def _inverse(self, y: Tensor) -> Tensor:
        cropped = y[..., :-1]
        left = ops.clamp(1 - ops.cumsum(cropped, -1), min=ops.finfo(y.dtype).tiny)
        return ops.log(cropped) - ops.log(left) + self._shift(cropped)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        x = x - self._shift(x)
        return ops.sum(-x - softplus(-x) + ops.log(y[..., :-1]), -1)

    def forward_shape(self, shape: Any) -> Any:
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Any) -> Any:
        return (*shape[:-1], shape[-1] - 1)


class LowerCholeskyTransform(Transform):
    """The lower triangle of a matrix (..., N, N), with its diagonal exponentiated: y = tril(x, -1) + diag(exp(x))."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowerCholeskyTransform)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return ops.tril(x, -1) + ops.diag_embed(ops.exp(ops.diagonal(x, 0, -2, -1)))

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.tril(y, -1) + ops.diag_embed(ops.log(ops.diagonal(y, 0, -2, -1)))


class CorrCholeskyTransform(Transform):
    """D (D - 1) / 2 numbers to the Cholesky factor (D, D) of a correlation matrix.

    Row i uses i of the numbers. Rows have length 1, and squared elements are obtained by stick breaking: tanh of each
    number is the fraction of the remaining length.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CorrCholeskyTransform)

    __hash__ = Transform.__hash__

    @staticmethod
    def _left(rest: Tensor) -> Tensor:
        """Numbers along the last axis, shifted by one position after a leading 1."""
        return ops.cat([ops.ones_like(rest[..., :1]), rest[..., :-1]], -1)

    @staticmethod
    def _places(size: int, x: Tensor, diagonal: int = -1) -> Tensor:
        """The positions, in flattened rows of a matrix, of the elements up to a diagonal; on the device of ``x``."""
        places = [size * i + j for i in range(size) for j in range(i + diagonal + 1)]
        return ops.tensor(places, dtype=int64, device=beside(x))

    def _call(self, x: Tensor) -> Tensor:
        size = self.forward_shape(x.shape)[-1]
        eps = ops.finfo(x.dtype).eps
        shares = ops.clamp(ops.tanh(x), eps - 1, 1 - eps)
        empty = ops.zeros((*x.shape[:-1], size * size), dtype=x.dtype, device=beside(x))
        places = self._places(size, x)
        shares = ops.reshape(ops.index_copy(empty, -1, places, shares), (*x.shape[:-1], size, size))
        left = ops.cumprod(ops.sqrt(1 - ops.square(shares)), -1)
        return (shares + ops.eye(size, dtype=x.dtype, device=beside(x))) * self._left(left)

    def _inverse(self, y: Tensor) -> Tensor:
        left = self._left(1 - ops.cumsum(ops.square(y), -1))
        places = self._places(y.shape[-1], y)
        elements, lefts = (ops.index_select(ops.flatten(m, -2), -1, places) for m in (y, left))
        return ops.atanh(elements / ops.sqrt(lefts))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """With respect to the elements below the diagonal."""
        left = ops.flatten(1 - ops.cumsum(ops.square(y), -1), -2)
        broken = 0.5 * ops.sum(ops.log(ops.index_select(left, -1, self._places(y.shape[-1], y, -2))), -1)
        return broken + ops.sum(2.0 * (math.log(2.0) - x - softplus(-2.0 * x)), -1)

    def forward_shape(self, shape: Any) -> Any:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        n = shape[-1]
        size = round(math.sqrt(0.25 + 2 * n) + 0.5)
        if size * (size - 1) // 2 != n:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return (*shape[:-1], size, size)

    def inverse_shape(self, shape: Any) -> Any:
        if len(shape) < 2:
            raise ValueError("Too few dimensions on input")
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return (*shape[:-2], shape[-1] * (shape[-1] - 1) // 2)


class CumulativeDistributionTransform(Transform):
    """y = cdf(x), the cumulative distribution function of ``distribution``; its inverse is ``icdf``."""

    bijective = True
    codomain = constraints.unit_interval
    sign = 1  # type: ignore[assignment]

    def __init__(self, distribution: Any, cache_size: int = 0):
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:  # type: ignore[override]
        return self.distribution.support

    def _call(self, x: Tensor) -> Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.distribution.log_prob(x)


class PositiveDefiniteTransform(Transform):
    """y = L L', where L (..., N, N) is the result of ``LowerCholeskyTransform``."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        lower = LowerCholeskyTransform()(x)
        return lower @ ops.transpose(lower, -1, -2)

    def _inverse(self, y: Tensor) -> Tensor:
        from ..linalg import cholesky

        return LowerCholeskyTransform().inv(cholesky(y))


class CatTransform(Transform):
    """One transform of ``tseq`` for each of several parts, of the given ``lengths``, along the axis ``dim``. ``lengths``
    None: one element for each. Other sums of the lengths raise RuntimeError.
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0):
        super().__init__(cache_size)
        self.transforms, self.dim = list(tseq), dim
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)

    @property
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(t.bijective for t in self.transforms)

    def _call(self, x: Tensor) -> Tensor:
        parts = ops.split(x, self.lengths, self.dim)
        return ops.cat([t(p) for t, p in zip(self.transforms, parts, strict=True)], self.dim)

    def _inverse(self, y: Tensor) -> Tensor:
        parts = ops.split(y, self.lengths, self.dim)
        return ops.cat([t.inv(p) for t, p in zip(self.transforms, parts, strict=True)], self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        xs, ys = ops.split(x, self.lengths, self.dim), ops.split(y, self.lengths, self.dim)
        found = [t.log_abs_det_jacobian(a, b) for t, a, b in zip(self.transforms, xs, ys, strict=True)]
        return ops.cat(found, self.dim)


class StackTransform(Transform):
    """One transform of ``tseq`` for each slice along the axis ``dim``. Another number of slices raises AssertionError."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0):
        super().__init__(cache_size)
        self.transforms, self.dim = list(tseq), dim

    @property
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(t.bijective for t in self.transforms)

    def _slices(self, x: Tensor) -> Any:
        """The slices, one for each transform. Raises AssertionError if there is another number of them."""
        slices = ops.unbind(x, self.dim)
        if len(slices) != len(self.transforms):
            raise AssertionError(f"x.size({self.dim}) is {len(slices)}, but there are {len(self.transforms)} transforms")
        return slices

    def _call(self, x: Tensor) -> Tensor:
        return ops.stack([t(p) for t, p in zip(self.transforms, self._slices(x), strict=True)], self.dim)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.stack([t.inv(p) for t, p in zip(self.transforms, self._slices(y), strict=True)], self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(self.transforms, self._slices(x), self._slices(y), strict=True)
        return ops.stack([t.log_abs_det_jacobian(a, b) for t, a, b in pairs], self.dim)


identity_transform = ComposeTransform([])
