"""Constraints: the regions of parameters and values of distributions. ``check`` tests each event."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

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


class _Region(Constraint):
    """A region that a function of its bounds, which may be tensors, and of a value defines."""

    bounds: ClassVar[tuple[str, ...]] = ()
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, *given: Any, **named: Any):
        values = {**dict(zip(self.bounds, given, strict=False)), **named}
        if len(given) + len(named) != len(self.bounds) or set(values) != set(self.bounds):
            raise TypeError(f"{type(self).__name__}() takes {', '.join(self.bounds) or 'no arguments'}")
        vars(self).update(values)

    def check(self, value: Tensor) -> Tensor:
        return type(self).function(*(getattr(self, name) for name in self.bounds), value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in self.bounds)
        return f"{type(self).__name__.removeprefix('_')}({shown})"


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


class _IndependentConstraint(Constraint):
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
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


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


class _GreaterThan(_Region):
    """x > lower_bound."""

    bounds, function = ("lower_bound",), staticmethod(operator.lt)


class _GreaterThanEq(_Region):
    """x >= lower_bound."""

    bounds, function = ("lower_bound",), staticmethod(operator.le)


class _LessThan(_Region):
    """x < upper_bound."""

    bounds, function = ("upper_bound",), staticmethod(operator.gt)


class _Interval(_Region):
    """lower_bound <= x <= upper_bound."""

    bounds, function = ("lower_bound", "upper_bound"), staticmethod(_between)


class _HalfOpenInterval(_Region):
    """lower_bound <= x < upper_bound."""

    bounds, function = ("lower_bound", "upper_bound"), staticmethod(_below)


class _IntegerInterval(_Region):
    """Integers from lower_bound to upper_bound, both included."""

    is_discrete = True
    bounds, function = ("lower_bound", "upper_bound"), staticmethod(_whole_between)


class _IntegerGreaterThan(_Region):
    """Integers from lower_bound on."""

    is_discrete = True
    bounds, function = ("lower_bound",), staticmethod(_whole_from)


class _Multinomial(_Region):
    """Vectors of counts whose sum is at most ``upper_bound``."""

    is_discrete, event_dim = True, 1
    bounds, function = ("upper_bound",), staticmethod(_counts)


class _Sequence(Constraint):
    """Constraints for the parts of a tensor along an axis."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0):
        self.cseq, self.dim = list(cseq), dim

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)


class _Cat(_Sequence):
    """A constraint for each part, of the given lengths, along an axis."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None):
        super().__init__(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return max(c.event_dim for c in self.cseq)

    def check(self, value: Tensor) -> Tensor:
        parts = ops.split(value, self.lengths, self.dim)
        return ops.cat([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


class _Stack(_Sequence):
    """A constraint for each slice along an axis."""

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return max(-self.dim, *(c.event_dim for c in self.cseq), 0)

    def check(self, value: Tensor) -> Tensor:
        parts = [ops.select(value, self.dim, k) for k in range(value.shape[self.dim])]
        return ops.stack([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


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


def _positive_semidefinite(x: Tensor) -> Tensor:
    from ..linalg import eigvalsh

    return _symmetric(x) & ops.all(eigvalsh(x.detach()) >= 0, -1)


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


class _Real(_Region):
    function = staticmethod(_number)


class _Boolean(_Region):
    is_discrete, function = True, staticmethod(_zero_or_one)


class _OneHot(_Region):
    is_discrete, event_dim, function = True, 1, staticmethod(_one_hot)


class _Simplex(_Region):
    event_dim, function = 1, staticmethod(_simplex)


class _Square(_Region):
    event_dim, function = 2, staticmethod(_square)


class _Symmetric(_Square):
    function = staticmethod(_symmetric)


class _PositiveSemidefinite(_Symmetric):
    function = staticmethod(_positive_semidefinite)


class _PositiveDefinite(_Symmetric):
    function = staticmethod(_positive_definite)


class _LowerTriangular(_Region):
    event_dim, function = 2, staticmethod(_lower)


class _LowerCholesky(_Region):
    event_dim, function = 2, staticmethod(_lower_cholesky)


class _CorrCholesky(_Region):
    event_dim, function = 2, staticmethod(_corr_cholesky)


independent, cat, stack, multinomial = _IndependentConstraint, _Cat, _Stack, _Multinomial
greater_than, greater_than_eq, less_than = _GreaterThan, _GreaterThanEq, _LessThan
interval, half_open_interval, integer_interval = _Interval, _HalfOpenInterval, _IntegerInterval
dependent, boolean, one_hot, simplex, real = _Dependent(), _Boolean(), _OneHot(), _Simplex(), _Real()
real_vector = independent(real, 1)
nonnegative_integer, positive_integer = _IntegerGreaterThan(0), _IntegerGreaterThan(1)
positive, nonnegative, unit_interval = greater_than(0.0), greater_than_eq(0.0), interval(0.0, 1.0)
square, symmetric = _Square(), _Symmetric()
positive_semidefinite, positive_definite = _PositiveSemidefinite(), _PositiveDefinite()
lower_triangular, lower_cholesky, corr_cholesky = _LowerTriangular(), _LowerCholesky(), _CorrCholesky()
