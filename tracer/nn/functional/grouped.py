"""Matrix products of groups of rows or columns."""

from __future__ import annotations

from ...core.tensor import Tensor
from ...ir import ops as P
from ...ir.types import DType
from ...ops import shape as S
from ...ops.linalg import matmul
from ...ops.opmath import opmath

__all__ = ["grouped_mm"]


def grouped_mm(
    mat_a: Tensor, mat_b: Tensor, *, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: DType | None = None
) -> Tensor:
    """Matrix products by group: ``offs`` (groups), int32, are the positions at which the groups of a matrix's rows or columns
    end. What is after the last belongs to no group.

    (rows, k) and (groups, k, n) give (rows, n), by rows; (groups, m, k) and (k, columns) give (m, columns), by columns;
    (m, k) and (k, n) give (groups, m, n), by parts of k. Without ``offs``, (groups, m, k) and (groups, k, n) give
    (groups, m, n).

    Raises RuntimeError for other shapes and dtypes, and if there is a bias or an output dtype other than that of ``mat_a``.
    """
    _check(mat_a, mat_b, offs, bias, out_dtype)
    return matmul(mat_a, mat_b) if offs is None else _grouped(mat_a, mat_b, offs)


@opmath
def _grouped(mat_a: Tensor, mat_b: Tensor, offs: Tensor) -> Tensor:
    if mat_b.ndim == 3:
        return P.grouped_rows(mat_a, mat_b, offs)
    if mat_a.ndim == 3:
        return S.transpose(P.grouped_rows(S.transpose(mat_b, 0, 1), S.transpose(mat_a, 1, 2), offs), 0, 1)
    return P.grouped_sums(S.transpose(mat_a, 0, 1), mat_b, offs)


def _check(a: Tensor, b: Tensor, offs: Tensor | None, bias: Tensor | None, out_dtype: DType | None) -> None:
    for name, x in (("mat_a", a), ("mat_b", b)):
        if x.dtype.short not in ("f32", "bf16", "f16"):
            raise RuntimeError(f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {x.dtype.ctype}")
    for name, x in (("mat_a", a), ("mat_b", b)):
        if x.ndim not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d")
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError("contraction dimension of mat_a and mat_b must match")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected two operands of one numeric dtype, got {a.dtype.name} and {b.dtype.name}")
    if (offs is None) != (a.ndim == b.ndim == 3):
        raise RuntimeError("Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d")
    if offs is None and a.shape[0] != b.shape[0]:
        raise RuntimeError("batched dimension has to match")
    if offs is not None:
        if offs.ndim != 1:
            raise RuntimeError("offs has to be 1D")
        if offs.dtype.short != "i32":
            raise RuntimeError("Offsets have to be int32")
        if any(x.ndim == 3 and x.shape[0] != offs.shape[0] for x in (a, b)):
            raise RuntimeError("matrix batch sizes have to match")
    if bias is not None:
        raise RuntimeError("Bias not supported yet")
    if out_dtype is not None and out_dtype is not a.dtype:
        raise RuntimeError("Grouped gemm output dtype must match `mat_a` dtype")
