"""Parts of tensors along an axis: views."""

from __future__ import annotations

import itertools
from itertools import pairwise
from typing import Any

from ..core.eager import slices
from ..core.tensor import Tensor
from ..core.views import one_of_several
from ..ir import ops as P
from ..tracing.moving import Place, recorder_for, view_at
from ..tracing.scalars import RuntimeInt
from .common import one_dim
from .shape import narrow, region_at, slice_at

__all__ = [
    "dsplit",
    "hsplit",
    "select",
    "tensor_split",
    "unbind",
    "vsplit",
]


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along ``dim``, as views."""
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    axis = one_dim(dim, input.ndim)
    size = input._data.shape
    return one_of_several(slices(input, axis, [region_at(size, axis, i) for i in range(size[axis])]))


def select(input: Tensor, dim: int, index: RuntimeInt | int) -> Tensor:
    """The slice at ``index`` along ``dim``, a view."""
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = one_dim(dim, input.ndim)
    extent = input._data.shape[axis]
    if not -extent <= index < extent:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {dim}")
    position = index % extent
    if type(position) is RuntimeInt and (recorder := recorder_for(input)) is not None:
        seen = P.select_, region_at(input._data.shape, axis, position._value)
        return view_at(recorder, input, seen, None, [Place(axis, position, None)])
    return slice_at(input, axis, position)


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of nearly equal size, or the parts between the given positions."""
    if input.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    axis = one_dim(dim, input.ndim)
    extent = input._data.shape[axis]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        if n <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {n}")
        ends = itertools.accumulate(extent // n + (i < extent % n) for i in range(n))
        indices_or_sections = list(ends)[:-1]
    bounds = [0, *(slice(i, None).indices(extent)[0] for i in indices_or_sections), extent]
    return tuple(narrow(input, axis, a, max(b - a, 0)) for a, b in pairwise(bounds))


def _split_along(input: Tensor, indices_or_sections: Any, dim: int, name: str, least: int) -> tuple[Tensor, ...]:
    if input.ndim < least:
        raise RuntimeError(
            f"tracer.{name} requires a tensor with at least {least} dimension{'s' if least > 1 else ''}, but got a tensor with "
            f"{input.ndim} dimensions!"
        )
    if isinstance(indices_or_sections, int):
        n, extent = indices_or_sections, input._data.shape[dim]
        if n <= 0 or extent % n:
            raise RuntimeError(
                f"tracer.{name} attempted to split along dimension {dim}, but the size of the dimension {extent} is not "
                f"divisible "
                f"by the split_size {n}!"
            )
    return tensor_split(input, indices_or_sections, dim)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Splits along the second axis (the first of a vector)."""
    return _split_along(input, indices_or_sections, 0 if input.ndim == 1 else 1, "hsplit", 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Splits along the first axis."""
    return _split_along(input, indices_or_sections, 0, "vsplit", 2)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Splits along the third axis."""
    return _split_along(input, indices_or_sections, 2, "dsplit", 3)
