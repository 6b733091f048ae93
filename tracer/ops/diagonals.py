"""Diagonals and triangular parts of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.fused import fused
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import DType, int64
from . import pointwise as F
from .common import one_dim, result_dtype, to_dtype, walked_again
from .create import factory, full, zeros_like
from .moving import atleast_2d, movedim
from .shape import cat, expand, pad, reshape, unsqueeze

__all__ = [
    "block_diag",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "diagonal_scatter",
    "tril",
    "tril_indices",
    "triu",
    "triu_indices",
]


@fused
def _triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"{'tril' if lower else 'triu'}: input tensor must have at least 2 dimensions")
    m, n = input._data.shape[-2:]
    rows, columns = P.iota(shape=(m, n), axis=0, dtype="i64"), P.iota(shape=(m, n), axis=1, dtype="i64")
    distance = P.sub(columns, rows)
    return walked_again(F.where((P.le if lower else P.ge)(distance, diagonal), input, zeros_like(input)))


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The part of a matrix on and below a diagonal; zeros above."""
    return _triangle(input, diagonal, True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The part of a matrix on and above a diagonal; zeros below."""
    return _triangle(input, diagonal, False)


def _triangle_positions(keep: np.ndarray) -> Tensor:
    from .create import fixed

    return fixed(np.stack(np.nonzero(keep)).astype(np.int64))


@factory
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: DType = int64) -> Tensor:
    """The positions on and below a diagonal: a row of row numbers, a row of column numbers."""
    return to_dtype(_triangle_positions(np.tri(row, col, offset, dtype=bool)), dtype)


@factory
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: DType = int64) -> Tensor:
    """The positions on and above a diagonal."""
    return to_dtype(_triangle_positions(~np.tri(row, col, offset - 1, dtype=bool)), dtype)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the plane of two axes, as a last axis; a view."""
    a, b = one_dim(dim1, input.ndim), one_dim(dim2, input.ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return P.diagonal(input, offset=offset, axis1=a, axis2=b)


@fused
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the vectors along the last axis as a diagonal, in the plane of two axes."""
    rank = input.ndim + 1
    a, b = one_dim(dim1, rank), one_dim(dim2, rank)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = input._data.shape[-1]
    size = n + abs(offset)
    # Element i is in row i of matrices above the main diagonal, in column i below it.
    long = pad(input, (0, abs(offset)), 0)
    lifted = unsqueeze(long, long.ndim if offset >= 0 else long.ndim - 1)
    whole = expand(lifted, (*long._data.shape[:-1], size, size))
    rows, columns = P.iota(shape=(size, size), axis=0, dtype="i64"), P.iota(shape=(size, size), axis=1, dtype="i64")
    out = walked_again(F.where(P.eq(P.sub(columns, rows), offset), whole, zeros_like(whole)))
    return movedim(out, (-2, -1), (a, b))


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a vector as a diagonal, or the diagonal of a matrix."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim == 2:
        return F.clone(_diagonal(input, diagonal))
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")


_diagonal = diagonal


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all elements as a diagonal."""
    return diag_embed(reshape(input, (-1,)), offset)


def block_diag(*tensors: Any) -> Tensor:
    """The block diagonal matrix of the given matrices."""
    xs = [atleast_2d(x) for x in tensors]
    for i, x in enumerate(xs):
        if x.ndim > 2:
            raise RuntimeError(
                f"tracer.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {x.ndim} dimensions"
            )
    if not xs:
        return full((1, 0), 0.0)
    dtype = result_dtype(*xs)
    width = sum(x._data.shape[1] for x in xs)
    rows, left = [], 0
    for x in xs:
        n = x._data.shape[1]
        rows.append(pad(to_dtype(x, dtype), (left, width - left - n), 0))
        left += n
    return cat(rows, 0)


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of the input with ``src`` as a diagonal."""
    part = diagonal(input, offset, dim1, dim2)
    if part._data.shape != src._data.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(part.shape)}"
        )
    return P.diagonal_update(input, src, offset=offset, axis1=one_dim(dim1, input.ndim), axis2=one_dim(dim2, input.ndim))
