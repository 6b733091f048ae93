"""Gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...autograd.modes import no_grad
from ...core.tensor import Tensor
from ...ops import pointwise, shape
from ...ops.stats import vector_norm
from ...tracing.callsites import as_float


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in given if p.grad is not None]


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of all floating tensors as one vector, a scalar.

    Raises RuntimeError if it is not finite and ``error_if_nonfinite``.
    """
    from ...ops.create import tensor

    given = list(tensors)
    if not given:
        return tensor(0.0)
    norms = shape.stack([vector_norm(t, norm_type) for t in given])
    total = vector_norm(norms, norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped. To "
            "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales the gradients in place so that their norm, as one vector, is at most ``max_norm``; returns the original norm.

    Gradients are floating, of any shapes; the norm is a scalar. Raises RuntimeError if it is not finite and
    ``error_if_nonfinite``.
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    grads = _gradients(parameters)
    with no_grad():
        total = get_total_norm(grads, as_float(norm_type), error_if_nonfinite)
        clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamps the gradients, floating and of any shapes, in place to [-clip_value, clip_value].

    Raises TypeError unless the limit is a number.
    """
    with no_grad():
        for g in _gradients(parameters):
            g.clamp_(-as_float(clip_value), as_float(clip_value))


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scales the gradients, floating and of any shapes, in place by ``max_norm / total_norm`` if that is less than 1.

    Raises TypeError unless ``max_norm`` is a number.
    """
    with no_grad():
        factor = pointwise.clamp(as_float(max_norm) / (total_norm + 1e-6), max=1.0)
        for g in _gradients(parameters):
            g.mul_(factor.to(g.dtype))


# The old name.
clip_grad_norm = clip_grad_norm_
