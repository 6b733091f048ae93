"""Eigenvalues and eigenvectors of general square matrices; both are complex.

The rules are those of Boeddeker et al., On the Computation of Complex-valued Gradients (2017), equations 4.60 and 4.77. The
vectors have norm 1 and an arbitrary phase; gradients are defined only for functions that do not depend on the phase.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import host
from ..types import TensorType
from .complex import conj, real
from .contract import matmul
from .decompose import _NO_CONVERGENCE, _columns, _eye, _gaps, _guarded, _rows, _square, solve, t
from .elementwise import cast, mul, sub
from .reduce import sum_


def _complex(dtype: np.dtype) -> np.dtype:
    return np.result_type(dtype, np.complex64)


def _eigvals(a: Any) -> np.ndarray:
    return np.linalg.eigvals(a).astype(_complex(np.asarray(a).dtype), copy=False)


def _eigvecs(a: Any) -> np.ndarray:
    return np.linalg.eig(a)[1].astype(_complex(np.asarray(a).dtype), copy=False)


def _infer_values(a: TensorType) -> TensorType:
    return _square(a).with_shape(a.shape[:-1]).with_dtype(a.dtype.to_complex())


def _back(inner: Any, vh: Any, a_type: TensorType) -> Any:
    """V^-H inner V^H; for a real matrix its real part."""
    g = solve(vh, matmul(inner, vh))
    return g if a_type.dtype.is_complex else cast(real(g), dtype=a_type.dtype.short)


def _values_vjp(g: Any, a: Any, a_type: TensorType) -> Any:
    v = eigvecs(a)
    n = v.shape[-1]
    return _back(mul(_rows(g, n), _eye(_like(v, a_type), n)), conj(t(v)), a_type)


def _vectors_vjp(g: Any, y: Any, a: Any, a_type: TensorType) -> Any:
    n = y.shape[-1]
    vh = conj(t(y))
    turned = matmul(vh, g)
    diagonal = sum_(real(mul(turned, _eye(_like(y, a_type), n))), axes=(len(y.shape) - 1,))
    scaled = mul(y, cast(_columns(diagonal, n), dtype=a_type.dtype.to_complex().short))
    return _back(mul(sub(turned, matmul(vh, scaled)), conj(_gaps(eigvals(a), n))), vh, a_type)


def _like(v: Any, a_type: TensorType) -> TensorType:
    return TensorType(a_type.dtype.to_complex(), tuple(v.shape))


eigvals = host(
    "eigvals",
    _guarded(_eigvals, _NO_CONVERGENCE.format("eig")),
    "a",
    infer=_infer_values,
    holomorphic=False,
    vjp=(_values_vjp,),
    torch_name="LinalgEig",
)
eigvecs = host(
    "eigvecs",
    _guarded(_eigvecs, _NO_CONVERGENCE.format("eig")),
    "a",
    infer=lambda a: _square(a).with_dtype(a.dtype.to_complex()),
    holomorphic=False,
    vjp=(_vectors_vjp,),
    torch_name="LinalgEig",
)

__all__ = ["eigvals", "eigvecs"]
