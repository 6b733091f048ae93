"""Constraints: the regions of parameters and values of distributions. ``check`` tests each event."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import ops
from ..core.fused import fused
from ..core.tensor import Tensor

__all__ = [
    "Constraint",
    "MixtureSameFamilyConstraint",
    "boolean",
    "cat",
    "corr_cholesky",
    "dependent",
    "dependent_property",
    "greater_than",
    "greater_than_eq",
    "half_open_interval",
    "independent",
    "integer_interval",
    "interval",
    "is_dependent",
    "less_than",
    "lower_cholesky",
    "lower_triangular",
    "multinomial",
    "nonnegative",
    "nonnegative_integer",
    "one_hot",
    "positive",
    "positive_definite",
    "positive_integer",
    "positive_semidefinite",
    "real",
    "real_vector",
    "simplex",
    "square",
    "stack",
    "symmetric",
    "unit_interval",
]


class Constraint:
    """Base of constraints. ``event_dim``: the number of last axes in an event; ``is_discrete``: whether values are integers."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        """A bool for each event: True if it lies in the region."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__.removeprefix('_')}()"


class _Simple(Constraint):
    """A region defined by a function of each element."""

    def __init__(self, name: str, function: Callable[[Tensor], Tensor], discrete: bool = False, event_dim: int = 0):
        self.name, self.function, self.is_discrete, self.event_dim = name, function, discrete, event_dim

    def check(self, value: Tensor) -> Tensor:
        return self.function(value)

    def __repr__(self) -> str:
        return self.name


class _Dependent(Constraint):
    """A region that depends on other variables and cannot be checked."""

    def __init__(self, *, is_discrete: bool = False, event_dim: int = 0):
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def check(self, value: Tensor) -> Tensor:
        raise ValueError("Cannot determine validity of dependent constraint")


class dependent_property(property, _Dependent):
    """A property of a distribution that is a region; the class knows whether it is discrete, and its events' axes."""

    def __init__(self, fn: Any = None, *, is_discrete: bool = False, event_dim: int = 0):
        property.__init__(self, fn)
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, fn: Any) -> dependent_property:
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


def is_dependent(constraint: Any) -> bool:
    """True if a region depends on other variables."""
    return isinstance(constraint, _Dependent)


class _Independent(Constraint):
    """A region whose events have additional axes, with all elements in a base region."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int):
        self.base_constraint, self.reinterpreted_batch_ndims = base_constraint, reinterpreted_batch_ndims

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        result = self.base_constraint.check(value)
        if result.ndim < self.reinterpreted_batch_ndims:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.ndim}")
        for _ in range(self.reinterpreted_batch_ndims):
            result = ops.all(result, -1)
        return result

    def __repr__(self) -> str:
        return f"Independent({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _Bound(Constraint):
    """A region between bounds, which may be tensors."""

    def __init__(self, text: str, check: Callable[[Tensor], Tensor], discrete: bool, **limits: Any):
        self._text, self._check, self.is_discrete = text, check, discrete
        self.__dict__.update(limits)

    def check(self, value: Tensor) -> Tensor:
        return self._check(value)

    def __repr__(self) -> str:
        return self._text


def _whole(x: Tensor) -> Tensor:
    return ops.eq(ops.remainder(x, 1), 0)


@fused
def _whole_from(lower: Any, x: Tensor) -> Tensor:
    return _whole(x) & (x >= lower)


@fused
def _between(lower: Any, upper: Any, x: Tensor) -> Tensor:
    return (x >= lower) & (x <= upper)


def _below(lower: Any, upper: Any, x: Tensor) -> Tensor:
    return (x >= lower) & (x < upper)


@fused
def _whole_between(lower: Any, upper: Any, x: Tensor) -> Tensor:
    return _whole(x) & _between(lower, upper, x)


@fused
def _counts(most: Any, x: Tensor) -> Tensor:
    return ops.all(x >= 0, -1) & (ops.sum(x, -1) <= most)


def greater_than(lower_bound: Any) -> Constraint:
    """x > lower_bound."""
    return _Bound(f"GreaterThan(lower_bound={lower_bound})", partial(operator.lt, lower_bound), False, lower_bound=lower_bound)


def greater_than_eq(lower_bound: Any) -> Constraint:
    """x >= lower_bound."""
    return _Bound(
        f"GreaterThanEq(lower_bound={lower_bound})", partial(operator.le, lower_bound), False, lower_bound=lower_bound
    )


def less_than(upper_bound: Any) -> Constraint:
    """x < upper_bound."""
    return _Bound(f"LessThan(upper_bound={upper_bound})", partial(operator.gt, upper_bound), False, upper_bound=upper_bound)


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """lower_bound <= x <= upper_bound."""
    limits = {"lower_bound": lower_bound, "upper_bound": upper_bound}
    text = f"Interval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return _Bound(text, partial(_between, lower_bound, upper_bound), False, **limits)


def half_open_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """lower_bound <= x < upper_bound."""
    limits = {"lower_bound": lower_bound, "upper_bound": upper_bound}
    text = f"HalfOpenInterval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return _Bound(text, partial(_below, lower_bound, upper_bound), False, **limits)


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Integers from lower_bound to upper_bound, both included."""
    limits = {"lower_bound": lower_bound, "upper_bound": upper_bound}
    text = f"IntegerInterval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return _Bound(text, partial(_whole_between, lower_bound, upper_bound), True, **limits)


def multinomial(upper_bound: Any) -> Constraint:
    """Vectors of counts whose sum is at most ``upper_bound``."""
    found = _Bound(
        f"Multinomial(upper_bound={upper_bound})",
        partial(_counts, upper_bound),
        True,
        upper_bound=upper_bound,
    )
    found.event_dim = 1
    return found


class _Sequenced(Constraint):
    """Constraints for the parts of a tensor along an axis: concatenated or stacked."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None):
        self.cseq, self.dim, self.lengths = list(cseq), dim, lengths

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        deepest = max(c.event_dim for c in self.cseq)
        return max(deepest, -self.dim if self.dim < 0 else 0) if self.lengths is None else deepest

    def check(self, value: Tensor) -> Tensor:
        if self.lengths is None:
            parts = [ops.select(value, self.dim, k) for k in range(value.shape[self.dim])]
            return ops.stack([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)
        parts = list(ops.split(value, list(self.lengths), self.dim))
        return ops.cat([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


def stack(cseq: Sequence[Constraint], dim: int = 0) -> Constraint:
    """A constraint for each slice along an axis."""
    return _Sequenced(cseq, dim)


def cat(cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None) -> Constraint:
    """A constraint for each part, of the given lengths, along an axis."""
    return _Sequenced(cseq, dim, [1] * len(cseq) if lengths is None else lengths)


class MixtureSameFamilyConstraint(Constraint):
    """The constraint of a mixture's components, whose batches have one more axis, the components."""

    def __init__(self, base_constraint: Constraint):
        self.base_constraint = base_constraint

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self.base_constraint.event_dim

    def check(self, value: Tensor) -> Tensor:
        """A bool for each event: True if it lies in the region of all components. Raises ValueError for too few axes."""
        if value.ndim < self.event_dim:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.ndim}")
        kept = value.ndim - self.event_dim
        found = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        return found.reshape((*found.shape[:kept], -1)).all(-1)

    def __repr__(self) -> str:
        return f"MixtureSameFamilyConstraint({self.base_constraint!r})"


def _number(x: Tensor) -> Tensor:
    return x == x


def _zero_or_one(x: Tensor) -> Tensor:
    return (x == 0) | (x == 1)


def _square(x: Tensor) -> Tensor:
    return ops.full(x.shape[:-2], x.shape[-2] == x.shape[-1])


@fused
def _simplex(x: Tensor) -> Tensor:
    return ops.all(x >= 0, -1) & (ops.abs(ops.sum(x, -1) - 1) < 1e-6)


def _one_hot(x: Tensor) -> Tensor:
    return ops.all(_zero_or_one(x), -1) & (ops.sum(x, -1) == 1)


def _symmetric(x: Tensor) -> Tensor:
    close = ops.isclose(x, ops.transpose(x, -1, -2), atol=1e-6)
    return ops.all(ops.all(close, -1), -1)


def _positive_definite(x: Tensor) -> Tensor:
    from ..linalg import eigvalsh

    return _symmetric(x) & ops.all(eigvalsh(x.detach()) > 0, -1)


def _lower(x: Tensor) -> Tensor:
    return ops.all(ops.reshape(ops.tril(x) == x, (*x.shape[:-2], -1)), -1)


def _lower_cholesky(x: Tensor) -> Tensor:
    return _lower(x) & ops.all(ops.diagonal(x, 0, -2, -1) > 0, -1)


def _corr_cholesky(x: Tensor) -> Tensor:
    lengths = ops.sqrt(ops.sum(ops.square(x.detach()), -1))
    close = ops.abs(lengths - 1) <= x.shape[-1] * 10 * ops.finfo(x.dtype).eps
    return _lower_cholesky(x) & ops.all(close, -1)


dependent = _Dependent()
independent = _Independent
boolean = _Simple("Boolean()", _zero_or_one, True)
one_hot = _Simple("OneHot()", _one_hot, True, 1)
nonnegative_integer = _Simple("IntegerGreaterThan(lower_bound=0)", partial(_whole_from, 0), True)
positive_integer = _Simple("IntegerGreaterThan(lower_bound=1)", partial(_whole_from, 1), True)
real = _Simple("Real()", _number)
real_vector = _Independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
simplex = _Simple("Simplex()", _simplex, False, 1)
symmetric = _Simple("Symmetric()", _symmetric, False, 2)
square = _Simple("Square()", _square, False, 2)
positive_semidefinite = _Simple("PositiveSemidefinite()", _symmetric, False, 2)
positive_definite = _Simple("PositiveDefinite()", _positive_definite, False, 2)
lower_triangular = _Simple("LowerTriangular()", _lower, False, 2)
lower_cholesky = _Simple("LowerCholesky()", _lower_cholesky, False, 2)
corr_cholesky = _Simple("CorrCholesky()", _corr_cholesky, False, 2)
