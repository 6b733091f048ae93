"""Factorizations in LAPACK's compact form, through SciPy; compiled programs call them on the host. Batches are supported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import host, underivable
from ..types import TensorType, int32, int64


def _each(function: Callable[..., Any], shapes: Callable[..., tuple[int, ...]], dtype: Any = None) -> Callable[..., np.ndarray]:
    """Extends a function of matrices to batches; ``shapes`` gives the shape of each result."""

    def impl(*args: Any, **attrs: Any) -> np.ndarray:
        arrays = [np.asarray(a) for a in args]
        lead = arrays[0].shape[:-2]
        out = np.empty((*lead, *shapes(*arrays)), dtype or arrays[0].dtype)
        if out.size:
            for i in np.ndindex(lead):
                out[i] = function(*(a[i] for a in arrays), **attrs)
        return out

    return impl


def _lapack(name: str, *arrays: Any) -> Any:
    from scipy.linalg import lapack

    return lapack.get_lapack_funcs((name,), arrays)[0]


def _pivots(a: Any) -> np.ndarray:
    """The pivot of each column: the largest element, the first of equal ones. For complex numbers LAPACK compares |re| + |im|.

    Libraries eliminate large matrices by blocks, so their choice among elements that are equal up to rounding may differ.
    """
    k = min(a.shape)
    if k > 64:
        return _lapack("getrf", a)(a)[1] + 1
    a, pivots = np.array(a), np.empty(k, np.int32)
    for i in range(k):
        column = a[i:, i]
        p = i + int(np.argmax(np.abs(column.real) + np.abs(column.imag)))
        pivots[i] = p + 1
        a[[i, p]] = a[[p, i]]
        if a[i, i] != 0:
            a[i + 1 :, i] *= 1 / a[i, i]
        a[i + 1 :, i + 1 :] -= a[i + 1 :, i, None] * a[i, i + 1 :]
    return pivots


def _order(pivots: Any, rows: int) -> np.ndarray:
    """The row order that results from the exchanges."""
    p = np.asarray(pivots)
    order = np.broadcast_to(np.arange(rows), (*p.shape[:-1], rows)).copy()
    for i in np.ndindex(p.shape[:-1]):
        row = order[i]
        for k, other in enumerate(p[i] - 1):
            row[k], row[other] = row[other], row[k]
    return order


def _smaller(a: Any) -> tuple[int, ...]:
    return (min(a.shape[-2:]),)


def _vector(a: TensorType, dtype: Any = None) -> TensorType:
    return (a.with_dtype(dtype) if dtype else a).with_shape((*a.shape[:-2], min(a.shape[-2:])))


# The rows that Gaussian elimination exchanges at each step, counted from 1, and the resulting row order.
lu_pivots = host("lu_pivots", _each(_pivots, _smaller, np.int32), "a", infer=lambda a: _vector(a, int32))
pivot_order = host(
    "pivot_order", _order, "pivots", infer=lambda pivots, rows: pivots.with_dtype(int64).with_shape((*pivots.shape[:-1], rows))
)
# QR: R with the reflections' directions below it, and the reflections' coefficients.
geqrf_a = host(
    "geqrf_a",
    _each(lambda a: _lapack("geqrf", a)(a)[0], lambda a: a.shape[-2:]),
    "a",
    infer=lambda a: a,
    vjp=(underivable("geqrf"),),
)
geqrf_tau = host(
    "geqrf_tau",
    _each(lambda a: _lapack("geqrf", a)(a)[1], _smaller),
    "a",
    infer=lambda a: _vector(a),
    vjp=(underivable("geqrf"),),
)


def _ldl(part: int) -> Callable[..., Any]:
    def function(a: Any, hermitian: bool) -> Any:
        found = _lapack("hetrf" if hermitian and np.iscomplexobj(a) else "sytrf", a)(a, lower=1)[part]
        return found if part else np.tril(found)

    return function


def _ldl_solve(ld: Any, pivots: Any, b: Any, hermitian: bool) -> Any:
    solve = _lapack("hetrs" if hermitian and np.iscomplexobj(ld) else "sytrs", ld, b)
    return solve(ld, pivots, b, lower=1)[0]


def _ldl_solve_each(ld: Any, pivots: Any, b: Any, hermitian: bool) -> np.ndarray:
    out = np.empty_like(np.asarray(b))
    for i in np.ndindex(out.shape[:-2] if out.size else (0,)):
        out[i] = _ldl_solve(ld[i], pivots[i], b[i], hermitian)
    return out


# L and D of a symmetric matrix in one array (Bunch, Kaufman 1977), with LAPACK's pivots; and solutions with them.
ldl_data = host(
    "ldl_data",
    _each(_ldl(0), lambda a: a.shape[-2:]),
    "a",
    infer=lambda a, hermitian: a,
    vjp=(underivable("linalg_ldl_factor_ex"),),
)
ldl_pivots = host("ldl_pivots", _each(_ldl(1), _smaller, np.int32), "a", infer=lambda a, hermitian: _vector(a, int32))
ldl_solve = host("ldl_solve", _ldl_solve_each, "ld pivots b", infer=lambda ld, pivots, b, hermitian: b)

__all__ = ["geqrf_a", "geqrf_tau", "ldl_data", "ldl_pivots", "ldl_solve", "lu_pivots", "pivot_order"]
