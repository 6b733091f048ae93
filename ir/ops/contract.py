"""The matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Kind, primitive
from ..types import TensorType, bool_


def _infer(a: TensorType, b: TensorType, ta: bool, tb: bool) -> TensorType:
    if a.dtype is not b.dtype or a.dtype is bool_:
        raise RuntimeError(f"expected two operands of one numeric dtype, got {a.dtype.name} and {b.dtype.name}")
    if a.rank < 2 or a.rank != b.rank or a.shape[:-2] != b.shape[:-2]:
        raise ValueError(f"matmul needs matrices, or equal batches of them, got {a} and {b}")
    m, k = a.shape[-2:][::-1] if ta else a.shape[-2:]
    k2, n = b.shape[-2:][::-1] if tb else b.shape[-2:]
    if k != k2:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    return a.with_shape((*a.shape[:-2], m, n))


def _impl(a: Any, b: Any, ta: bool, tb: bool) -> Any:
    return np.matmul(a.swapaxes(-1, -2) if ta else a, b.swapaxes(-1, -2) if tb else b)


# C = A' B' with A' = A or its transpose (ta), likewise B. Operands are matrices, or equal batches of matrices.
# The cotangents, dA' = G B'^T and dB' = A'^T G, are products of the same form: transposes stay flags.
matmul = primitive(
    "matmul",
    Kind.CONTRACTION,
    "a b",
    infer=_infer,
    impl=_impl,
    vjp=(
        lambda g, b, ta, tb: matmul(b, g, ta=tb, tb=True) if ta else matmul(g, b, tb=not tb),
        lambda g, a, ta, tb: matmul(g, a, ta=True, tb=ta) if tb else matmul(a, g, ta=not ta),
    ),
    defaults={"ta": False, "tb": False},
    torch_name="Mm",
)
