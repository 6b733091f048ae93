"""Maps from the real numbers onto constrained regions: ``biject_to`` gives invertible ones, ``transform_to`` any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import constraints
from . import transforms as T


class ConstraintRegistry:
    """Finds the map for a region: ``registry(constraint)``. Raises NotImplementedError if there is none."""

    def __init__(self, of_simplex: Callable[[], T.Transform]):
        self._of_simplex = of_simplex
        self._own: dict[Any, Callable[[Any], T.Transform]] = {}

    def register(self, constraint: Any, factory: Any = None) -> Any:
        """Registers a function that creates the map for a region, or for a type of regions."""
        if factory is None:
            return lambda f: self.register(constraint, f)
        self._own[constraint] = factory
        return factory

    def __call__(self, constraint: Any) -> T.Transform:
        for key in (constraint, type(constraint)):
            if key in self._own:
                return self._own[key](constraint)
        if isinstance(constraint, constraints.independent):
            base = self(constraint.base_constraint)
            n = constraint.reinterpreted_batch_ndims
            return T.IndependentTransform(base, n) if n else base
        if constraint is constraints.simplex:
            return self._of_simplex()
        if constraint is constraints.corr_cholesky:
            return T.CorrCholeskyTransform()
        if constraint is constraints.lower_cholesky:
            return T.LowerCholeskyTransform()
        if constraint in (constraints.positive_definite, constraints.positive_semidefinite):
            return T.PositiveDefiniteTransform()
        if constraint is constraints.real:
            return T.identity_transform
        return self._bounded(constraint)

    @staticmethod
    def _bounded(constraint: Any) -> T.Transform:
        low, high = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
        if (low is None and high is None) or constraint.is_discrete:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        if low is not None and high is not None:
            if not hasattr(low, "shape") and (low, high) == (0, 1):
                return T.SigmoidTransform()
            return T.ComposeTransform([T.SigmoidTransform(), T.AffineTransform(low, high - low)])
        if high is None:
            if not hasattr(low, "shape") and low == 0:
                return T.ExpTransform()
            return T.ComposeTransform([T.ExpTransform(), T.AffineTransform(low, 1)])
        return T.ComposeTransform([T.ExpTransform(), T.AffineTransform(high, -1)])


biject_to = ConstraintRegistry(T.StickBreakingTransform)
transform_to = ConstraintRegistry(T.SoftmaxTransform)
