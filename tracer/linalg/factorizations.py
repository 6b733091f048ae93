"""Factorizations in LAPACK's form: LU, LDL and QR in one matrix, with what is needed to apply them."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, NamedTuple

from .. import linalg
from ..core.device import beside, placed
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.interp import joint_shape
from ..ir.types import int32
from ..ops import pointwise as F
from ..ops import reduce, shape
from ..ops.common import to_dtype
from ..ops.complex import conj
from ..ops.create import eye
from ..ops.diagonals import diag_embed, diagonal, tril, triu
from ..ops.index import gather
from ..ops.linalg import matmul

if TYPE_CHECKING:
    from . import QR


class LU(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


class Factor(NamedTuple):
    LU: Tensor
    pivots: Tensor


class FactorEx(NamedTuple):
    LU: Tensor
    pivots: Tensor
    info: Tensor


class LDL(NamedTuple):
    LD: Tensor
    pivots: Tensor


class LDLEx(NamedTuple):
    LD: Tensor
    pivots: Tensor
    info: Tensor


class Geqrf(NamedTuple):
    a: Tensor
    tau: Tensor


class Triangular(NamedTuple):
    solution: Tensor
    cloned_coefficient: Tensor


def _t(x: Tensor) -> Tensor:
    return shape.transpose(x, -2, -1)


def _rows(x: Tensor, order: Tensor) -> Tensor:
    """Permutes the rows of matrices; batches broadcast."""
    lead = joint_shape(x._data.shape[:-2], order._data.shape[:-1])
    m, n = x._data.shape[-2:]
    index = shape.expand(shape.unsqueeze(order, -1), (*lead, m, n))
    return gather(shape.expand(x, (*lead, m, n)), x.ndim - 2 if len(lead) == x.ndim - 2 else len(lead), index)


def _factored(A: Tensor, pivot: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pivots, the row order, L and U."""
    m, n = A._data.shape[-2:]
    k, lead = builtins.min(m, n), A._data.shape[:-2]
    if pivot:
        pivots = P.lu_pivots(A.detach())
    else:
        steps = F.add(placed(P.iota(shape=(k,), axis=0, dtype="i64"), A), 1)
        pivots = shape.expand(to_dtype(steps, int32), (*lead, k))
    order = P.pivot_order(pivots, rows=m)
    permuted = _rows(A, order) if pivot and A.numel() else F.clone(A)
    if A.numel() == 0:
        unit = shape.expand(eye(m, k, dtype=A.dtype, device=beside(A)), (*lead, m, k))
        nothing = reduce.sum(A)  # 0, with a gradient
        return pivots, order, F.add(unit, nothing), F.mul(shape.narrow(A, -2, 0, k), 1)
    square = shape.narrow(shape.narrow(permuted, -2, 0, k), -1, 0, k)
    L, U = P.lu_lower(square), P.lu_upper(square)
    if m > n:  # the rows below: B = L2 U; if a pivot is 0, so is the rest of its column
        pivot_zero = to_dtype(F.eq(diagonal(U.detach(), 0, -2, -1), 0), A.dtype)
        below = shape.narrow(permuted, -2, k, m - k)
        L = shape.cat([L, linalg.solve_triangular(F.add(U, diag_embed(pivot_zero)), below, upper=True, left=False)], -2)
    elif n > m:  # the columns to the right: C = L U2
        rest = shape.narrow(permuted, -1, k, n - k)
        U = shape.cat([U, linalg.solve_triangular(L, rest, upper=False, unitriangular=True)], -1)
    return pivots, order, L, U


def _joined(L: Tensor, U: Tensor) -> Tensor:
    """Both triangles in one matrix, without the unit diagonal of L."""
    m, n, k = L._data.shape[-2], U._data.shape[-1], L._data.shape[-1]
    return F.add(shape.pad(tril(L, -1), (0, n - k)), shape.pad(U, (0, 0, 0, m - k)))


def lu(A: Tensor, *, pivot: bool = True) -> LU:
    """A = P L U: a permutation, a lower triangle with unit diagonal, and an upper triangle. L and U are differentiable.

    P is empty unless ``pivot``.
    """
    linalg._matrix("linalg.lu", A, square=False)
    _, order, L, U = _factored(A, pivot)
    if not pivot:
        return LU(placed(P.full(value=0, shape=(0,), dtype=A.dtype.short), A), L, U)
    return LU(_permutation(order, A), L, U)


def _permutation(order: Tensor, like: Tensor) -> Tensor:
    m = order._data.shape[-1]
    rows = P.iota(shape=(m, m), axis=0, dtype="i64")
    return to_dtype(F.eq(rows, shape.unsqueeze(order, -2)), like.dtype)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> FactorEx:
    """L and U in one matrix, the row exchanged at each step, counted from 1, and the first step whose pivot is 0 (0: none).

    Raises RuntimeError if there is such a step and ``check_errors``.
    """
    linalg._matrix("linalg.lu_factor_ex", A, square=False)
    pivots, _, L, U = _factored(A, pivot)
    zero = F.eq(diagonal(U.detach(), 0, -2, -1), 0)
    if zero._data.shape[-1]:
        first = F.add(reduce.argmax(to_dtype(zero, int32), -1), 1)
        info = to_dtype(F.where(reduce.any(zero, -1), first, 0), int32)
    else:
        info = placed(P.full(value=0, shape=A._data.shape[:-2], dtype="i32"), A)
    if check_errors:
        _check_pivots("lu_factor_ex", info)
    return FactorEx(_joined(L, U), pivots, info)


def _check_pivots(name: str, info: Tensor) -> None:
    found = info._observed(name)
    if found.any():
        k = int(found[found > 0].flat[0]) if found.ndim else int(found)
        raise linalg.LinAlgError(
            f"tracer.linalg.{name}: U[{k},{k}] is zero and using it on lu_solve would result in a division by zero. If you "
            "still want to perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
        )


def lu_factor(A: Tensor, *, pivot: bool = True) -> Factor:
    """``lu_factor_ex``, raising RuntimeError if a pivot is 0."""
    linalg._matrix("linalg.lu_factor", A, square=False)
    found = lu_factor_ex(A, pivot=pivot)
    _check_pivots("lu_factor", found.info)
    return Factor(found.LU, found.pivots)


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B (X A = B if not ``left``; A^H for A if ``adjoint``), from the result of ``lu_factor(A)``."""
    linalg._matrix("linalg.lu_solve", LU)
    if pivots.dtype is not int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type tracer.int32")
    if LU.dtype is not B.dtype:
        raise RuntimeError(
            f"linalg.lu_solve: Expected LU and B to have the same dtype, but found LU of type {LU.dtype.ctype} and B of type "
            f"{B.dtype.ctype} instead"
        )
    n = LU._data.shape[-1]
    if B.ndim < 2 or B._data.shape[-2 if left else -1] != n:
        sizes = f"({n}x{n} and {'x'.join(map(str, B._data.shape[-2:]))})"
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} {sizes}"
        )
    if pivots.ndim == 0 or pivots._data.shape[-1] != n:
        raise RuntimeError("linalg.lu_solve: Number of pivots per batch should be same as the dimension of the matrix")
    if pivots._data.shape != LU._data.shape[:-1]:
        raise RuntimeError("linalg.lu_solve: Expected LU.shape[:-1] and pivots.shape to be the same")
    if not left:
        return conj(_t(lu_solve(LU, pivots, conj(_t(B)), adjoint=not adjoint)))
    order = P.pivot_order(pivots, rows=n)
    solve = linalg.solve_triangular
    if not adjoint:
        return solve(LU, solve(LU, _rows(B, order), upper=False, unitriangular=True), upper=True)
    H = conj(_t(LU))
    found = solve(H, solve(H, B, upper=False), upper=True, unitriangular=True)
    back = to_dtype(P.argsort(order, axis=order.ndim - 1, descending=False), order.dtype)
    return _rows(found, back)


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> LDLEx:
    """L and D with A = L D L' in one matrix, for a symmetric (or Hermitian) A; LAPACK's pivots; 0 for each matrix (Bunch,
    Kaufman 1977). Not differentiable.
    """
    linalg._matrix("linalg.ldl_factor_ex", A)
    data, pivots = P.ldl_data(A, hermitian=hermitian), P.ldl_pivots(A.detach(), hermitian=hermitian)
    return LDLEx(data, pivots, placed(P.full(value=0, shape=A._data.shape[:-2], dtype="i32"), A))


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> LDL:
    """``ldl_factor_ex`` without the last part."""
    return LDL(*ldl_factor_ex(A, hermitian=hermitian)[:2])


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B, from the result of ``ldl_factor(A)``. Not differentiable."""
    linalg._matrix("linalg.ldl_solve", LD)
    lead = joint_shape(LD._data.shape[:-2], B._data.shape[:-2])
    n = LD._data.shape[-1]
    if B.ndim < 2 or B._data.shape[-2] != n:
        raise RuntimeError(
            f"Incompatible matrix sizes for tracer.linalg.ldl_solve: each A matrix is {n} by {n} but each b matrix is "
            f"{' by '.join(map(str, B._data.shape[-2:]))}"
        )
    if pivots._data.shape != LD._data.shape[:-1]:
        raise RuntimeError("tracer.linalg.ldl_solve: Expected LD.shape[:-1] and pivots.shape to be the same")
    b = shape.expand(B, (*lead, *B._data.shape[-2:]))
    return P.ldl_solve(
        shape.expand(LD, (*lead, n, n)).detach(),
        shape.expand(pivots, (*lead, n)),
        b.detach(),
        hermitian=hermitian,
    )


def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of the reflections I - tau[i] v[i] v[i]', where v[i] are the columns of A below its
    diagonal.
    """
    name = "tracer.linalg.householder_product"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    m, n = A._data.shape[-2:]
    if m < n:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if tau.ndim and tau._data.shape[-1] > n:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    _require_batch(name, A, tau)
    one = shape.expand(eye(m, dtype=A.dtype, device=beside(A)), (*A._data.shape[:-2], m, m))
    one = F.add(one, F.mul(reduce.sum(tau), 0)) if tau.numel() == 0 else one
    return shape.narrow(_reflected(A, tau, one, False), -1, 0, n)


def _require_batch(name: str, A: Tensor, tau: Tensor) -> None:
    if tau._data.shape[:-1] != A._data.shape[:-2] or tau.ndim != A.ndim - 1:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau.shape[:-1])}"
        )


def _reflected(A: Tensor, tau: Tensor, x: Tensor, adjoint: bool) -> Tensor:
    """x times the product of the reflections, or times its adjoint."""
    m, n = A._data.shape[-2:]
    v = F.add(tril(A, -1), eye(m, n, dtype=A.dtype, device=beside(A)))
    tau = conj(tau) if adjoint else tau
    steps = range(tau._data.shape[-1])
    for i in reversed(steps) if adjoint else steps:
        column = shape.narrow(v, -1, i, 1)
        t = shape.unsqueeze(shape.narrow(tau, -1, i, 1), -1)
        x = F.sub(x, matmul(F.mul(matmul(x, column), t), conj(_t(column))))
    return x


def geqrf(input: Tensor) -> Geqrf:
    """R of A = Q R, with the directions of the reflections whose product is Q below it; their coefficients. Not
    differentiable.
    """
    linalg._matrix("geqrf", input, square=False)
    return Geqrf(P.geqrf_a(input), P.geqrf_tau(input))


def orgqr(input: Tensor, tau: Tensor) -> Tensor:
    """``linalg.householder_product`` under its old name."""
    return householder_product(input, tau)


def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q ``other`` (``other`` Q if not ``left``; Q' for Q if ``transpose``), from the result of ``geqrf``."""
    name, rows = "tracer.ormqr", "other.shape[-2]" if left else "other.shape[-1]"
    if input.ndim < 2 or other.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    size, (m, n) = other._data.shape[-2 if left else -1], input._data.shape[-2:]
    if size < tau._data.shape[-1]:
        raise RuntimeError(f"{name}: {rows} must be greater than or equal to tau.shape[-1]")
    if tau._data.shape[-1] != builtins.min(size, n):
        raise RuntimeError(f"{name}: tau.shape[-1] must be equal to min({rows}, input.shape[-1])")
    if size != m:
        raise RuntimeError(f"{name}: {rows} must be equal to input.shape[-2]")
    _require_batch(name, input, tau)
    if other._data.shape[:-2] != input._data.shape[:-2]:
        raise RuntimeError(
            f"{name}: batch dimensions of other should be equal to input.shape[:-2], but got {list(other.shape[:-2])}"
        )
    if left:
        return conj(_t(_reflected(input, tau, conj(_t(other)), not transpose)))
    return _reflected(input, tau, other, transpose)


def qr(input: Tensor, some: bool = True) -> QR:
    """``linalg.qr``: reduced if ``some``, else complete."""
    return linalg.qr(input, "reduced" if some else "complete")


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """``linalg.cholesky`` under its old name; ``upper`` may be positional."""
    return linalg.cholesky(input, upper=upper)


def packed_lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
    """``linalg.lu_factor_ex`` under its old name: (LU, pivots), and infos if ``get_infos``."""
    found = lu_factor_ex(A, pivot=pivot)
    return tuple(found) if get_infos else (found.LU, found.pivots)


def solve_packed(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """``linalg.lu_solve`` under its old name."""
    return lu_solve(LU_data, LU_pivots, b)


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> LU:
    """P, L and U from the result of ``lu_factor``; empty tensors for those not requested."""
    if unpack_pivots and LU_pivots.dtype is not int32:
        raise RuntimeError(
            "tracer.lu_unpack: LU_pivots is expected to be a contiguous tensor of tracer.int32 dtype.\nNote: this function is "
            "intended to be used with the output produced by tracer.linalg.lu_factor"
        )
    empty = placed(P.full(value=0, shape=(0,), dtype=LU_data.dtype.short), LU_data)
    m, n = LU_data._data.shape[-2:]
    k = builtins.min(m, n)
    L = U = empty
    if unpack_data:
        L = F.add(tril(shape.narrow(LU_data, -1, 0, k), -1), eye(m, k, dtype=LU_data.dtype, device=beside(LU_data)))
        U = triu(shape.narrow(LU_data, -2, 0, k))
    return LU(_permutation(P.pivot_order(LU_pivots, rows=m), LU_data) if unpack_pivots else empty, L, U)


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Triangular:
    """X with A X = b (A' X = b if ``transpose``), using only a triangle of A; and a copy of A."""
    lead = joint_shape(A._data.shape[:-2], b._data.shape[:-2])
    a = shape.expand(A, (*lead, *A._data.shape[-2:]))
    right = shape.expand(b, (*lead, *b._data.shape[-2:]))
    used, side = (_t(a), not upper) if transpose else (a, upper)
    return Triangular(linalg.solve_triangular(used, right, upper=side, unitriangular=unitriangular), F.clone(a))


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The ``q`` largest singular values of A, or of A - M, with their vectors: U, S, V. Exact, whatever ``niter``."""
    x = A if M is None else F.sub(A, shape.expand(M, A._data.shape))
    k = builtins.min(6 if q is None else q, *x._data.shape[-2:])
    U, S, Vh = linalg.svd(x, full_matrices=False)
    return shape.narrow(U, -1, 0, k), shape.narrow(S, -1, 0, k), conj(_t(shape.narrow(Vh, -2, 0, k)))


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """``svd_lowrank`` of A, with column means removed if ``center``: its principal components."""
    m, n = A._data.shape[-2:]
    k = builtins.min(6, m, n) if q is None else q
    if not 0 <= k <= builtins.min(m, n):
        raise ValueError(f"q(={k}) must be non-negative integer and not greater than min(m, n)={builtins.min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(F.sub(A, reduce.mean(A, -2, keepdim=True)) if center else A, k, niter)
