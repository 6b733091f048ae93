"""The base of all distributions."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import ops
from ..autograd.modes import no_grad
from ..core.context import set_setting
from ..core.size import Size
from ..core.tensor import Tensor
from . import constraints
from .utils import lazy_property, require


class Distribution:
    """A batch of probability distributions. ``batch_shape``: the shape of the batch; ``event_shape``: the shape of one value.
    Methods that a distribution does not have raise NotImplementedError.

    Subclasses list their parameters, with the number of event axes, in ``_own``.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    _own: ClassVar[dict[str, int]] = {}
    arg_constraints: ClassVar[dict[str, Any]] = {}
    support: Any = constraints.dependent

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Sets whether parameters and values are checked if ``validate_args`` is not given. Raises ValueError unless a bool."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value
        set_setting("validate_args", value)

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None):
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                if constraints.is_dependent(constraint):
                    continue
                if name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property):
                    continue
                self._check_parameter(name, constraint)

    def _check_parameter(self, name: str, constraint: Any) -> None:
        value = getattr(self, name)
        require(
            constraint.check(value),
            lambda: ValueError(
                f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution {self!r} to "
                f"satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
            ),
        )

    @property
    def batch_shape(self) -> Size:
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        return self._event_shape

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions, expanded to another batch shape."""
        new = self._get_checked_instance(type(self), _instance)
        sizes = Size(batch_shape)
        for name, axes in self._own.items():
            if name in self.__dict__:
                value = self.__dict__[name]
                new.__dict__[name] = ops.expand(value, (*sizes, *value.shape[value.ndim - axes :]))
        Distribution.__init__(new, sizes, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """``_instance``, or else a new object of this object's class, without calling ``__init__``. ``expand`` of subclasses
        calls it.
        """
        return type(self).__new__(type(self)) if _instance is None else _instance

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        return ops.sqrt(self.variance)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples of shape ``sample_shape + batch_shape + event_shape``, outside any graph."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples that are differentiable in the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        """``sample((n,))``."""
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at ``value``."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values <= ``value``."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of ``cdf``."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a first axis."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The expected value of -log_prob."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return ops.exp(self.entropy())

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        if not isinstance(sample_shape, tuple):
            sample_shape = tuple(sample_shape)
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _enumerated(self, values: Tensor, expand: bool) -> Tensor:
        """Values 0, 1, ... in the shape of ``enumerate_support``."""
        values = ops.reshape(values, (-1, *(1,) * len(self._batch_shape)))
        return ops.expand(values, (-1, *self._batch_shape)) if expand else values

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        first = value.ndim - len(self._event_shape)
        if value.shape[first:] != self._event_shape:
            raise ValueError(f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}.")
        shape = Size((*self._batch_shape, *self._event_shape))
        for i, j in zip(reversed(value.shape), reversed(shape), strict=False):
            if 1 not in (i, j) and i != j:
                raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {shape}.")
        try:
            support = self.support
        except NotImplementedError:
            return
        if constraints.is_dependent(support):
            return
        require(
            support.check(value),
            lambda: ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            ),
        )

    def __repr__(self) -> str:
        names = [name for name in self.arg_constraints if name in self.__dict__]
        values = (self.__dict__[name] for name in names)
        shown = ", ".join(
            f"{name}: {v if not isinstance(v, Tensor) or v.numel() == 1 else v.size()}"
            for name, v in zip(names, values, strict=True)
        )
        return f"{type(self).__name__}({shown})"


class ExponentialFamily(Distribution):
    """Distributions whose log density is linear in the natural parameters; gives their entropy. ``batch_shape``: the shape of
    the batch; ``event_shape``: the shape of one value. Methods that a distribution does not have raise NotImplementedError.
    """
