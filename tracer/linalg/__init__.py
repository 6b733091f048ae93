"""Linear algebra on (batches of) matrices: decompositions, solutions, norms. Differentiable where the result is."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.device import beside, placed
from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.interp import joint_shape
from ..ir.ops.decompose import LinAlgError
from ..ir.types import DType, int64
from ..ops import diagonals, reduce, shape
from ..ops import pointwise as F
from ..ops.common import to_dtype
from ..ops.complex import conj
from ..ops.create import eye, tensor
from ..ops.diagonals import tril, triu
from ..ops.linalg import matmul
from ..ops.offering import offer
from ..ops.opmath import opmath
from ..ops.products import linalg_cross as cross
from ..ops.products import matrix_trace as trace
from ..ops.products import multi_dot, vecdot
from ..ops.stats import vector_norm
from .factorizations import (
    householder_product,
    ldl_factor,
    ldl_factor_ex,
    ldl_solve,
    lu,
    lu_factor,
    lu_factor_ex,
    lu_solve,
)

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "ldl_factor",
    "ldl_factor_ex",
    "ldl_solve",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vander",
    "vecdot",
    "vector_norm",
]


class Eig(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


class Eigh(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class QR(NamedTuple):
    Q: Tensor
    R: Tensor


class SlogDet(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class WithInfo(NamedTuple):
    """A result, with an error code for each matrix: 0 if there is no error."""

    result: Tensor
    info: Tensor


class LstSq(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def _matrix(name: str, a: Tensor, square: bool = True, letter: str = "A") -> None:
    if a.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {letter} must have at least 2 dimensions.")
    if square and a._data.shape[-1] != a._data.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {a._data.shape[-2]} by {a._data.shape[-1]} matrices"
        )
    if not (a.is_floating_point() or a.is_complex()):
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {a.dtype.ctype}")


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with A = L L'; or its conjugate transpose if ``upper``. Only the lower half of A is read. Raises LinAlgError unless A
    is symmetric or Hermitian and positive definite.
    """
    _matrix("linalg.cholesky", A)
    return _factor(A, upper, True)


def _factor(A: Tensor, upper: bool, checked: bool) -> Tensor:
    L = P.cholesky(A, upper=upper, checked=checked)
    return _adjoint(L) if upper else L


def _t(A: Tensor) -> Tensor:
    return shape.transpose(A, -2, -1)


def _adjoint(A: Tensor) -> Tensor:
    return conj(_t(A))


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> WithInfo:
    """``cholesky`` and, in ``info``, the order of the first leading minor that is not positive-definite, 0 if all are.

    Returns the factor as far as it exists, or raises LinAlgError if ``check_errors``.
    """
    _matrix("linalg.cholesky_ex", A)
    return WithInfo(_factor(A, upper, check_errors), P.cholesky_info(A.detach(), upper=upper))


def inv(A: Tensor) -> Tensor:
    """The inverse. Raises LinAlgError if there is none."""
    _matrix("linalg.inv", A)
    return P.inv(A)


def inv_ex(A: Tensor, *, check_errors: bool = False) -> WithInfo:
    """The inverse, and in ``info`` the first zero pivot, counted from 1, 0 if there is none.

    The inverse of a singular matrix has infinities and NaN; LinAlgError is raised if ``check_errors``.
    """
    _matrix("linalg.inv_ex", A)
    if check_errors:
        return WithInfo(inv(A), _zero_pivot(A))
    return solve_ex(A, shape.expand(eye(A._data.shape[-1], dtype=A.dtype, device=beside(A)), A._data.shape))


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (X A = B if not ``left``); B is a vector, a matrix, or a batch. Raises LinAlgError if A is singular."""
    _matrix("linalg.solve", A)
    _same_dtype("linalg.solve", A, B)
    if _is_vector(A, B):
        if not left:
            raise RuntimeError(
                "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. In this case "
                "linalg.solve is equivalent to B / A.squeeze(-1)"
            )
        return shape.squeeze(solve(A, shape.unsqueeze(B, -1)), -1)
    a, b = _equation("linalg.solve", A, B, left)
    return P.solve(a, b) if left else _t(P.solve(_t(a), _t(b)))


def _same_dtype(name: str, A: Tensor, B: Tensor) -> None:
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {A.dtype.ctype} and B of type "
            f"{B.dtype.ctype} instead"
        )


def _equation(name: str, A: Tensor, B: Tensor, left: bool) -> tuple[Tensor, Tensor]:
    """Both sides of A X = B (X A = B if not ``left``) with broadcast batches."""
    (m, n), (rows, columns) = A._data.shape[-2:], B._data.shape[-2:]
    if n != (rows if left else columns):
        form = "AX = B" if left else "XA = B"
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {form} ({m}x{n} and {rows}x{columns})")
    lead = joint_shape(A._data.shape[:-2], B._data.shape[:-2])
    return shape.expand(A, (*lead, m, n)), shape.expand(B, (*lead, rows, columns))


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> WithInfo:
    """``solve``, and in ``info`` the first zero pivot of A, counted from 1, 0 if there is none.

    A singular matrix gives infinities and NaN; LinAlgError is raised if ``check_errors``.
    """
    from .factorizations import lu_factor_ex, lu_solve

    if check_errors:
        return WithInfo(solve(A, B, left=left), _zero_pivot(A))
    _matrix("linalg.solve_ex", A)
    factor = lu_factor_ex(A)
    columns = shape.unsqueeze(B, -1) if _is_vector(A, B) else B
    X = lu_solve(factor.LU, factor.pivots, columns, left=left)
    return WithInfo(X if columns is B else shape.squeeze(X, -1), factor.info)


def _zero_pivot(A: Tensor) -> Tensor:
    from .factorizations import lu_factor_ex

    return lu_factor_ex(A.detach()).info


def _is_vector(A: Tensor, B: Tensor) -> bool:
    """True if B is the right hand side of a system, or a batch of them, rather than matrices."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and B._data.shape == A._data.shape[:-1])


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (X A = B if not ``left``); only a triangle of A is read.

    ``unitriangular``: its diagonal is taken as ones. A and B are matrices or batches of them. A zero on the diagonal gives
    infinities and NaN. Raises RuntimeError for other shapes, and for two dtypes.
    """
    name = "linalg.solve_triangular"
    _matrix(name, A)
    _matrix(name, B, square=False, letter="B")
    _same_dtype(name, A, B)
    a, b = _equation(name, A, B, left)
    if left:
        return P.solve_triangular(a, b, lower=not upper, unit=unitriangular)
    return _t(P.solve_triangular(_t(a), _t(b), lower=upper, unit=unitriangular))


def det(A: Tensor) -> Tensor:
    """The determinant."""
    _matrix("linalg.det", A)
    return P.determinant(A)


def slogdet(A: Tensor) -> SlogDet:
    """The sign and the logarithm of the absolute value of the determinant."""
    _matrix("linalg.slogdet", A)
    return SlogDet(P.detsign(A), P.logabsdet(A))


def logdet(A: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN if it is negative, complex for complex matrices."""
    sign, value = slogdet(A)
    if A.is_complex():
        return F.add(F.log(sign), value)
    return F.where(F.lt(sign, 0), math.nan, value)


def eigh(A: Tensor, UPLO: str = "L") -> Eigh:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix; only one triangle is read."""
    _matrix("linalg.eigh", A)
    S = _from_triangle(A, UPLO)
    return Eigh(P.eigvalsh(S), P.eigvecsh(S))


def eig(A: Tensor) -> Eig:
    """Eigenvalues and eigenvectors of a square matrix, complex, unordered."""
    _matrix("linalg.eig", A)
    return Eig(P.eigvals(A), P.eigvecs(A))


def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of a square matrix, complex, unordered."""
    _matrix("linalg.eigvals", A)
    return P.eigvals(A)


def _from_triangle(A: Tensor, UPLO: str) -> Tensor:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return A if UPLO.upper() == "L" else _adjoint(A)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a symmetric matrix, ascending."""
    _matrix("linalg.eigvalsh", A)
    return P.eigvalsh(_from_triangle(A, UPLO))


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """The singular value decomposition A = U diag(S) Vh, singular values descending.

    Differentiable with ``full_matrices=False``, or if the results are the same.
    """
    _matrix("linalg.svd", A, square=False)
    m, n = A._data.shape[-2:]
    if full_matrices and m != n:
        # The columns beyond the thin decomposition are an arbitrary orthonormal basis, and have no gradient.
        full = np.linalg.svd(A._observed("svd"))
        k = min(m, n)
        u = shape.cat([P.svd_u(A), wrap(full[0][..., k:])], -1) if m > n else P.svd_u(A)
        vh = shape.cat([P.svd_vh(A), wrap(full[2][..., k:, :])], -2) if n > m else P.svd_vh(A)
        return SVD(u, P.svdvals(A), vh)
    return SVD(P.svd_u(A), P.svdvals(A), P.svd_vh(A))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, descending."""
    _matrix("linalg.svdvals", A, square=False)
    return P.svdvals(A)


def qr(A: Tensor, mode: str = "reduced") -> QR:
    """Q with orthonormal columns and R upper triangular with A = Q R. ``mode`` is reduced, complete, or r (R only)."""
    _matrix("linalg.qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    if mode == "r":
        return QR(placed(P.full(value=0, shape=(0,), dtype=A.dtype.short), A), P.qr_r(A.detach(), complete=False))
    complete = mode == "complete" and A._data.shape[-2] > A._data.shape[-1]
    return QR(P.qr_q(A, complete=complete), P.qr_r(A, complete=complete))


def pinv(A: Tensor, rtol: Any = None, *, atol: Any = None, hermitian: bool = False, rcond: Any = None) -> Tensor:
    """The pseudoinverse (Moore, Penrose): singular values below max(atol, rtol * the largest) count as zero."""
    _matrix("linalg.pinv", A, square=False)
    if A.numel() == 0:
        return F.mul(shape.transpose(A, -2, -1), 1)
    if hermitian:
        # Only the lower triangle is read.
        symmetric = F.add(tril(A), _adjoint(tril(A, -1)))
        A = F.add(A, F.sub(symmetric, A).detach())
    s = P.svdvals(A.detach())
    limit = _tolerance(A, s, rtol if rcond is None else rcond, atol)
    return P.pinv(A, F.gt(s, limit))


def _tolerance(A: Tensor, s: Tensor, rtol: Any, atol: Any) -> Tensor:
    if rtol is None:
        rtol = 0.0 if atol is not None else builtins.max(A._data.shape[-2:]) * float(np.finfo(A._data.dtype).eps)
    top = reduce.amax(s, -1, keepdim=True)
    if isinstance(rtol, Tensor):
        rtol = shape.unsqueeze(rtol, -1)
    relative = F.mul(top, rtol)
    if atol is None:
        return relative
    if isinstance(atol, Tensor):
        atol = shape.unsqueeze(atol, -1)
    return F.maximum(relative, atol)


def matrix_rank(A: Tensor, tol: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """The number of singular values above max(atol, rtol * the largest)."""
    _matrix("linalg.matrix_rank", A, square=False)
    if A.numel() == 0:
        return placed(P.full(value=0, shape=A._data.shape[:-2], dtype="i64"), A)
    x = _from_triangle(A, "L")
    s = F.abs(P.eigvalsh(x.detach())) if hermitian else P.svdvals(A.detach())
    limit = _tolerance(A, s, rtol, atol) if tol is None else tol
    if isinstance(tol, Tensor):
        limit = shape.unsqueeze(tol, -1)
    return reduce.sum(F.gt(s, limit), -1)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """The n-th power, by repeated squaring; for negative n of the inverse."""
    if A.dtype.category != 1 or n < 0 or A.ndim < 2:
        _matrix("linalg.matrix_power", A)
    if n < 0:
        return matrix_power(inv(A), -n)
    if n == 0:
        one = eye(A._data.shape[-1], dtype=A.dtype, device=beside(A))
        return F.add(F.mul(A, 0), one)
    out, base = None, A
    while n:
        if n & 1:
            out = base if out is None else matmul(out, base)
        n >>= 1
        if n:
            base = matmul(base, base)
    assert out is not None
    return F.clone(out) if out is A else out


def _largest(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """The maximum along ``dim`` of non-negative numbers; for no elements 0 without a gradient."""
    return reduce.amax(x, dim, keepdim) if x._data.shape[dim] else reduce.sum(x.detach(), dim, keepdim)


@opmath
def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """A norm of matrices: Frobenius, nuclear, spectral (2, -2), or the extreme column sums (1, -1) or row sums (inf, -inf)."""
    if A.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    x = to_dtype(A, dtype) if dtype else A
    a, b = (d % A.ndim for d in dim)
    if a == b:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    if ord == "fro":
        return vector_norm(x, 2, (a, b), keepdim)
    if ord in ("nuc", 2, -2):
        order = [i for i in range(x.ndim) if i not in (a, b)] + [a, b]
        s = P.svdvals(shape.permute(x, order))
        out = reduce.sum(s, -1) if ord == "nuc" else _largest(s, -1) if ord == 2 else reduce.amin(s, -1)
    elif ord in (1, -1, math.inf, -math.inf):
        inner, outer = (a, b) if abs(ord) == 1 else (b, a)
        sums = reduce.sum(F.abs(x), inner, keepdim=True)
        pick = _largest if ord > 0 else reduce.amin
        out = (
            shape.squeeze(pick(sums, outer, keepdim=True), (a, b)) if x.ndim > 2 else shape.reshape(pick(sums, outer, True), ())
        )
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if keepdim:
        out = shape.reshape(out, tuple(1 if i in (a, b) else n for i, n in enumerate(x._data.shape)))
    return out


@opmath
def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """A vector norm over one axis or (without ``ord``) all; a matrix norm over two axes."""
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D.")
        if A.ndim == 1 and isinstance(ord, str):
            return matrix_norm(A, ord)
        return (
            vector_norm(A, ord, None, keepdim, dtype=dtype)
            if A.ndim == 1
            else matrix_norm(A, ord, (0, 1), keepdim, dtype=dtype)
        )
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(axes) == 1:
        if isinstance(ord, str):
            raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {axes[0]}")
        return vector_norm(A, ord, axes, keepdim, dtype=dtype)
    if len(axes) == 2:
        return matrix_norm(A, ord, axes, keepdim, dtype=dtype)
    raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(axes)}")


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, in the plane of two axes, as a last axis; a view."""
    return diagonals.diagonal(A, offset, dim1, dim2)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number: the norm of A times that of its inverse."""
    if isinstance(p, str):
        _matrix("linalg.cond", A)
    if A.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if A.numel() == 0:
        return placed(P.full(value=0, shape=A._data.shape[:-2], dtype=A.dtype.real.short), A)
    if p in (None, 2, -2):
        s = svdvals(A)
        large, small = reduce.amax(s, -1), reduce.amin(s, -1)
        return F.div(small, large) if p == -2 else F.div(large, small)
    _matrix("linalg.cond", A)
    return F.mul(matrix_norm(A, p), matrix_norm(inv(A), p))


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> LstSq:
    """The least squares solution X of A X = B, with residuals, rank and singular values (by ``driver``)."""
    _matrix("linalg.lstsq", A, square=False)
    vector = A.ndim - 1 == B.ndim and A._data.shape[:-1] == B._data.shape
    b = shape.unsqueeze(B, -1) if vector else B
    X = matmul(pinv(A), b)
    m, n = A._data.shape[-2:]
    empty = placed(P.full(value=0, shape=(0,), dtype=A.dtype.real.short), A)
    residuals = empty
    rank = matrix_rank(A) if driver in (None, "gelsy", "gelsd", "gelss") else placed(tensor([], dtype=int64), A)
    if m > n and driver != "gelsy" and bool((matrix_rank(A)._data == n).all()):
        residuals = reduce.sum(F.square(F.abs(F.sub(matmul(A, X), b))), -2)
    values = svdvals(A) if driver in ("gelsd", "gelss") else empty
    return LstSq(shape.squeeze(X, -1) if vector else X, residuals, rank, values)


def matrix_exp(A: Tensor) -> Tensor:
    """The matrix exponential, by scaling and squaring of a Taylor polynomial of degree 18 (Bader, Blanes, Casas 2019)."""
    _matrix("linalg.matrix_exp", A)
    return F.clone(A) if A.numel() == 0 else P.matrix_exp(A)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """The powers of each element, from 0 to N - 1, along a last axis."""
    x = shape.reshape(x, (1,)) if x.ndim == 0 else x
    x = to_dtype(x, int64) if x.dtype.category < 2 else x
    n = x._data.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    columns = [F.pow(shape.unsqueeze(x, -1), k) for k in range(n)]
    return shape.cat(columns, -1)


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B."""
    a = A
    if dims is not None:
        order = [i for i in range(A.ndim) if i not in [d % A.ndim for d in dims]] + [d % A.ndim for d in dims]
        a = shape.permute(A, order)
    head, tail = a._data.shape[: B.ndim], a._data.shape[B.ndim :]
    n = math.prod(tail)
    if n != B.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got "
            f"{n} != {B.numel()}"
        )
    return shape.reshape(solve(shape.reshape(a, (math.prod(head), n)), shape.reshape(B, (-1,))), tail)


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of tensordot with A over the axes after the first ``ind``."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    head, tail = A._data.shape[:ind], A._data.shape[ind:]
    if math.prod(head) != math.prod(tail):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{math.prod(tail)} != {math.prod(head)}"
        )
    return shape.reshape(inv(shape.reshape(A, (math.prod(head), math.prod(tail)))), (*tail, *head))


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with L L' X = B."""
    name = "cholesky_solve"
    _matrix(name, L)
    _matrix(name, B, square=False, letter="B")
    _same_dtype(name, L, B)
    a, b = _equation(name, L, B, True)
    # Only one triangle is read; the gradient is that of a full matrix, as in PyTorch.
    for factor, lower in ((_adjoint(a), True), (a, False)) if upper else ((a, True), (_adjoint(a), False)):
        b = P.solve_triangular(factor, b, lower=lower, unit=False, whole=True)
    return b


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L L'."""
    return cholesky_solve(shape.expand(eye(L._data.shape[-1], dtype=L.dtype, device=beside(L)), L._data.shape), L, upper)


if not TYPE_CHECKING:  # a type checker uses the definitions above
    offer(globals(), (*__all__, "cholesky_inverse", "cholesky_solve", "logdet"))
