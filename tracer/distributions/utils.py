"""Helpers of the distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd.modes import enable_grad
from ..core.context import context
from ..core.device import beside
from ..core.fused import fused
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ops.common import is_number


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the tensors' dtype, or the default one.

    Raises ValueError for other arguments.
    """
    if not all(isinstance(v, Tensor) or is_number(v) for v in values):
        raise ValueError("Input arguments must all be instances of Number or tracer.Tensor.")
    given = [v for v in values if isinstance(v, Tensor)]
    more = {"dtype": given[0].dtype, "device": beside(given[0])} if given else {"dtype": context.default_dtype}
    return ops.broadcast_tensors(*(v if isinstance(v, Tensor) else ops.full((), v, **more) for v in values))


def require(ok: Tensor, error: Callable[[], Exception]) -> None:
    """Raises an exception unless all elements are true; replays of a trace repeat the check."""
    if not bool(ok._data.all()):
        raise error()
    if context.recorder is not None:
        wrong = P.cast(ops.logical_not(ops.all(ok)), dtype="i64")
        P.check_index(wrong, extent=1, message="a value of a distribution is out of its region ({})")


@fused
def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities clamped away from 0 and 1 by the dtype's precision."""
    eps = ops.finfo(probs.dtype).eps
    return ops.clamp(probs, eps, 1 - eps)


@fused
def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """log p, or log(p / (1 - p)) for binary variables."""
    clamped = clamp_probs(probs)
    return ops.log(clamped) - ops.log1p(-clamped) if is_binary else ops.log(clamped)


@fused
def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """The probabilities: a sigmoid for binary variables, else a softmax."""
    return ops.sigmoid(logits) if is_binary else ops.softmax(logits, -1)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return P.softplus(x)


class lazy_property:
    """An attribute that is computed on first use."""

    def __init__(self, wrapped: Callable[[Any], Any]):
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last ``dim`` axes."""
    return value if dim == 0 else ops.sum(value, tuple(range(-dim, 0)))
