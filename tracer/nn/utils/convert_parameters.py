"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from ...core.tensor import Tensor
from ...ops import shape


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, of any shapes, flattened into one vector of their common dtype. Raises ValueError for no parameters."""
    return shape.cat([shape.reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copies the elements of a vector to the parameters, in order; they take its dtype.

    Raises RuntimeError if it is too short.
    """
    at = 0
    for p in parameters:
        p.data = vec[at : at + p.numel()].reshape(p.shape).data
        at += p.numel()
