"""The matrix product."""

from __future__ import annotations

import math
from typing import Any

from ..primitive import Kind, primitive
from ..types import TensorType, bool_
from .movement import permute, reshape
from .reduce import sum_
from .summation import product


def _infer(a: TensorType, b: TensorType, ta: bool, tb: bool, wide: bool) -> TensorType:
    if a.dtype is not b.dtype or a.dtype is bool_:
        raise RuntimeError(f"expected two operands of one numeric dtype, got {a.dtype.name} and {b.dtype.name}")
    if min(a.rank, b.rank) < 2 or (a.shape[:-2] != b.shape[:-2] and 2 not in (a.rank, b.rank)):
        raise ValueError(f"matmul needs matrices, or equal batches of them, got {a} and {b}")
    m, k = a.shape[-2:][::-1] if ta else a.shape[-2:]
    k2, n = b.shape[-2:][::-1] if tb else b.shape[-2:]
    if k != k2:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    return TensorType(a.dtype.wide if wide else a.dtype, (*(a.shape[:-2] or b.shape[:-2]), m, n), a.device)


def _impl(a: Any, b: Any, ta: bool, tb: bool, wide: bool) -> Any:
    return product(a.swapaxes(-1, -2) if ta else a, b.swapaxes(-1, -2) if tb else b)


def _product(x: Any, y: Any, ta: bool, tb: bool, like: TensorType) -> Any:
    """A product, summed over the batch if it is the cotangent of one matrix for a whole batch.

    If the products are smaller than the operands they are computed and summed; otherwise the matrices are concatenated for
    a single product.
    """
    lead = len(x.shape) - 2
    if like.rank > 2 or not lead:
        return matmul(x, y, ta=ta, tb=tb)
    inner, (m, n) = x.shape[-2 if ta else -1], like.shape
    if m * n <= inner * (m + n):
        return sum_(matmul(x, y, ta=ta, tb=tb), axes=tuple(range(lead)))
    return matmul(_side_by_side(x, ta), _side_by_side(y, not tb), tb=True)


def _side_by_side(x: Any, transposed: bool) -> Any:
    """The matrices of a batch, or their transposes, concatenated along the columns."""
    lead = len(x.shape) - 2
    row, column = (lead + 1, lead) if transposed else (lead, lead + 1)
    x = permute(x, axes=(row, *range(lead), column))
    return reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))


# C = A' B' with A' = A or its transpose (ta), likewise B. Operands are matrices, or equal batches of matrices, or a matrix and
# a batch. ``wide``: 16-bit operands give a 32-bit result. The cotangents, dA' = G B'^T and dB' = A'^T G, are products of the
# same form: transposes stay flags.
matmul = primitive(
    "matmul",
    Kind.CONTRACTION,
    "a b",
    infer=_infer,
    impl=_impl,
    vjp=(
        lambda g, b, a_type, ta, tb: _product(b, g, tb, True, a_type) if ta else _product(g, b, False, not tb, a_type),
        lambda g, a, b_type, ta, tb: _product(g, a, True, ta, b_type) if tb else _product(a, g, not ta, False, b_type),
    ),
    defaults={"ta": False, "tb": False, "wide": False},
    torch_name="Mm",
)
