"""Copying variants of view functions: ``permute_copy`` is a copy of ``permute``, and so on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..core.tensor import Tensor
from ..ir import ops as P
from . import diagonals, moving, parts, shape
from .complex import view_as_complex, view_as_real
from .inquiry import filling
from .pointwise import unread
from .shape import chunk, split

__all__ = [
    "alias_copy",
    "as_strided_copy",
    "constant_pad_nd",
    "detach_copy",
    "diagonal_copy",
    "expand_copy",
    "fill",
    "narrow_copy",
    "permute_copy",
    "select_copy",
    "slice_copy",
    "split_copy",
    "split_with_sizes_copy",
    "squeeze_copy",
    "t_copy",
    "transpose_copy",
    "unbind_copy",
    "unfold_copy",
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "unsqueeze_copy",
    "view_as_complex_copy",
    "view_as_real_copy",
    "view_copy",
]


def _copied(function: Callable[..., Any], name: str) -> Any:
    @functools.wraps(function)
    def copy(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return P.copy(result) if isinstance(result, Tensor) else tuple(P.copy(part) for part in result)

    copy.__name__ = copy.__qualname__ = name
    copy.__doc__ = f"A copy of what ``{function.__name__}`` gives."
    return copy


def _slice(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    from .common import one_dim

    return input[(slice(None),) * one_dim(dim, input.ndim) + (slice(start, end, step),)]


def _same(input: Tensor) -> Tensor:
    return input


as_strided_copy = _copied(moving.as_strided, "as_strided_copy")
diagonal_copy = _copied(diagonals.diagonal, "diagonal_copy")
expand_copy = _copied(shape.expand, "expand_copy")
narrow_copy = _copied(shape.narrow, "narrow_copy")
permute_copy = _copied(shape.permute, "permute_copy")
select_copy = _copied(parts.select, "select_copy")
slice_copy = _copied(_slice, "slice_copy")
split_copy = _copied(shape.split, "split_copy")
split_with_sizes_copy = _copied(shape.split_with_sizes, "split_with_sizes_copy")
squeeze_copy = _copied(shape.squeeze, "squeeze_copy")
t_copy = _copied(shape.t, "t_copy")
transpose_copy = _copied(shape.transpose, "transpose_copy")
unbind_copy = _copied(parts.unbind, "unbind_copy")
unfold_copy = _copied(moving.unfold, "unfold_copy")
unsqueeze_copy = _copied(shape.unsqueeze, "unsqueeze_copy")
view_copy = _copied(shape.view, "view_copy")
view_as_complex_copy = _copied(view_as_complex, "view_as_complex_copy")
view_as_real_copy = _copied(view_as_real, "view_as_real_copy")
alias_copy = _copied(_same, "alias_copy")

# Views that PyTorch lets be changed in place one by one; here all parts may be.
unsafe_chunk, unsafe_split, unsafe_split_with_sizes = chunk, split, shape.split_with_sizes


def detach_copy(input: Tensor) -> Tensor:
    """A detached copy."""
    return P.copy(input.detach())


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor with the input's shape and dtype filled with ``value``, a number or a tensor without axes."""
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"fill only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.")
    return unread(input, filling(value, input.dtype))


def constant_pad_nd(input: Tensor, pad: Any, value: Any = 0) -> Tensor:
    """The input padded with ``value``; amounts in pairs from the last axis. Negative amounts crop."""
    return shape.pad(input, pad, value)
