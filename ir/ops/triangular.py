"""Triangular systems of equations, and triangular factors of matrices (Cholesky, LU)."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from ..primitive import host
from ..types import TensorType, int32
from .contract import matmul
from .decompose import LinAlgError, _mask, _square, h, t
from .elementwise import add, mul, neg


def _solve_triangular(a: Any, b: Any, lower: bool, unit: bool, whole: bool) -> np.ndarray:
    from scipy.linalg import blas

    a, b = np.asarray(a), np.asarray(b)
    solve_one = blas.get_blas_funcs("trsm", (a, b))
    out = np.empty_like(b)
    if out.size:
        for i in np.ndindex(b.shape[:-2]):
            out[i] = solve_one(1, a[i], b[i], lower=lower, diag=unit)
    return out


def _solve_triangular_vjp(g: Any, y: Any, a: Any, lower: bool, unit: bool, whole: bool) -> Any:
    slope = neg(matmul(_solve_for_b(g, a, lower, unit, whole), y, tb=True))
    return slope if whole else _mask(slope, lower=lower, diagonal=0 if unit else 1)


def _solve_for_b(g: Any, a: Any, lower: bool, unit: bool, whole: bool) -> Any:
    return solve_triangular(t(a), g, lower=not lower, unit=unit, whole=whole)


# X with A X = B for a triangle A; only the triangle is read, and without its diagonal if ``unit``, where ones are assumed. A
# zero on the diagonal gives infinity or NaN. ``whole``: A is a matrix whose other elements are zero, and has the gradient of
# all of them.
solve_triangular = host(
    "solve_triangular",
    _solve_triangular,
    "a b",
    infer=lambda a, b, lower, unit, whole: b,
    vjp=(_solve_triangular_vjp, _solve_for_b),
    defaults={"whole": False},
    torch_name="LinalgSolveTriangular",
)


def _potrf(a: Any, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """Cholesky factors as far as they exist, and the order of the first leading minor that is not positive (0: none)."""
    from scipy.linalg import lapack

    a = np.conj(np.swapaxes(a, -1, -2)) if upper else np.asarray(a)
    factor_one = lapack.get_lapack_funcs("potrf", (a,))
    out, info = np.empty_like(a), np.zeros(a.shape[:-2], np.int32)
    if out.size:
        for i in np.ndindex(a.shape[:-2]):
            out[i], info[i] = factor_one(a[i], lower=1)
    return out, info


def _cholesky(a: Any, upper: bool, checked: bool) -> np.ndarray:
    if checked:
        with contextlib.suppress(np.linalg.LinAlgError):  # faster for batches of small matrices
            return np.linalg.cholesky(np.conj(np.swapaxes(a, -1, -2)) if upper else a)
    factor, info = _potrf(a, upper)
    if checked and info.any():
        first = tuple(np.argwhere(info)[0])
        where = f"(Batch element {np.ravel_multi_index(first, info.shape)}): " if first else ""
        raise LinAlgError(
            f"linalg.cholesky: {where}The factorization could not be completed because the input is not positive-definite (the "
            f"leading minor of order {info[first]} is not positive-definite)."
        )
    return factor


# L with A = L L', from the upper or the lower triangle of A; if not ``checked``, as much of it as exists.
cholesky = host(
    "cholesky",
    _cholesky,
    infer=lambda x, upper, checked: _square(x),
    holomorphic=False,
    vjp=(lambda g, y: _cholesky_vjp(g, y),),
    torch_name="LinalgCholeskyEx",
)
cholesky_info = host(
    "cholesky_info",
    lambda a, upper: _potrf(a, upper)[1],
    infer=lambda x, upper: TensorType(int32, _square(x).shape[:-2]),
    vjp=(None,),
)


def _cholesky_vjp(g: Any, y: Any) -> Any:
    middle = matmul(h(y), g)
    both = mul(add(h(_mask(middle, lower=True, diagonal=1)), _mask(middle, lower=True, diagonal=0)), 0.5)
    left = solve_triangular(h(y), both, lower=False, unit=False)
    return solve_triangular(h(y), h(left), lower=False, unit=False)  # L^-H both^H L^-1


def _eliminate(a: Any) -> tuple[np.ndarray, np.ndarray]:
    """L and U with A = L U, by Gaussian elimination without exchanges."""
    u = np.array(a)
    n = u.shape[-1]
    lower = np.zeros_like(u)
    for k in range(n):
        lower[..., k, k] = 1
        pivot = u[..., k, k][..., None]
        # After exchanges a pivot is zero only if the whole column is.
        factor = np.where(pivot == 0, u[..., k + 1 :, k], u[..., k + 1 :, k] / np.where(pivot == 0, 1, pivot))
        lower[..., k + 1 :, k] = factor
        u[..., k + 1 :, k:] -= factor[..., None] * u[..., None, k, k:]
        u[..., k + 1 :, k] = 0
    return lower, u


def _lu_lower_vjp(g: Any, y: Any, a: Any) -> Any:
    inner = _mask(matmul(h(y), g), lower=True, diagonal=0)
    return _lu_back(inner, y, lu_upper(a))


def _lu_upper_vjp(g: Any, y: Any, a: Any) -> Any:
    inner = _mask(matmul(g, h(y)), lower=False, diagonal=1)
    return _lu_back(inner, lu_lower(a), y)


def _lu_back(inner: Any, lower: Any, upper: Any) -> Any:
    """L^-H F U^-H: with F = L^-1 dA U^-1, dL = L tril(F, -1) and dU = triu(F) U."""
    left = solve_triangular(h(lower), inner, lower=False, unit=True)
    return h(solve_triangular(upper, h(left), lower=False, unit=False))


# The triangles of a square matrix whose rows are already exchanged.
lu_lower = host(
    "lu_lower",
    lambda a: _eliminate(a)[0],
    "a",
    infer=_square,
    holomorphic=False,
    vjp=(_lu_lower_vjp,),
    torch_name="LinalgLu",
)
lu_upper = host(
    "lu_upper",
    lambda a: _eliminate(a)[1],
    "a",
    infer=_square,
    holomorphic=False,
    vjp=(_lu_upper_vjp,),
    torch_name="LinalgLu",
)

__all__ = ["cholesky", "cholesky_info", "lu_lower", "lu_upper", "solve_triangular"]
