"""Linear algebra by LAPACK, through NumPy; compiled programs call it on the host. Batches of matrices are supported.

The rules are those of Giles, "An extended collection of matrix derivative results" (2008), and, for the QR and singular
value decompositions of rectangular matrices, of Walter and Lehmann (2010) and Townsend (2016). For complex matrices they
use conjugate transposes, and give cotangents in PyTorch's convention directly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import host
from ..types import TensorType
from .complex import conj, imag
from .contract import matmul
from .elementwise import add, cast, div, eq, mul, neg, sub, where
from .movement import broadcast, permute
from .source import full, iota


def t(x: Any) -> Any:
    """The transpose of the last two axes."""
    n = len(x.shape)
    return permute(x, axes=(*range(n - 2), n - 1, n - 2))


def h(x: Any) -> Any:
    """The conjugate transpose."""
    return conj(t(x)) if _is_complex(x) else t(x)


def _is_complex(x: Any) -> bool:
    return x.dtype.kind == "c"


def _like(x: Any, other: Any) -> Any:
    """A real array in the dtype of another, which may be complex."""
    return cast(x, dtype=_short(other)) if _is_complex(other) else x


def _eye(type_: TensorType, n: int) -> Any:
    rows, columns = _positions(n, n)
    one = full(value=1, shape=(n, n), dtype=type_.dtype.short)
    return _batch(where(eq(rows, columns), one, 0), type_.shape[:-2])


def _positions(m: int, n: int) -> tuple[Any, Any]:
    return iota(shape=(m, n), axis=0, dtype="i64"), iota(shape=(m, n), axis=1, dtype="i64")


def _batch(x: Any, lead: tuple[int, ...]) -> Any:
    n = len(lead)
    return broadcast(x, shape=(*lead, *x.shape), axes=tuple(range(n, n + len(x.shape)))) if n else x


def _mask(x: Any, lower: bool, diagonal: float) -> Any:
    """The lower (or upper) triangle of ``x``, with its diagonal times ``diagonal``."""
    from .elementwise import gt, lt

    rows, columns = _positions(*x.shape[-2:])
    lead = tuple(x.shape[:-2])
    inside = _batch(gt(rows, columns) if lower else lt(rows, columns), lead)
    on = _batch(eq(rows, columns), lead)
    return where(inside, x, where(on, mul(x, diagonal), 0))


def _columns(v: Any, rows: int) -> Any:
    """A vector repeated as the rows of a matrix: element j in column j."""
    n = len(v.shape)
    return broadcast(v, shape=(*v.shape[:-1], rows, v.shape[-1]), axes=(*range(n - 1), n))


def _rows(v: Any, columns: int) -> Any:
    n = len(v.shape)
    return broadcast(v, shape=(*v.shape, columns), axes=tuple(range(n)))


def _square(x: TensorType) -> TensorType:
    if x.rank < 2 or x.shape[-1] != x.shape[-2]:
        raise RuntimeError(f"A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices")
    return x


class LinAlgError(RuntimeError):
    """The result does not exist, or was not found, for a matrix."""


def _guarded(function: Any, message: str) -> Any:
    def impl(*args: Any, **attrs: Any) -> Any:
        try:
            return function(*args, **attrs)
        except np.linalg.LinAlgError as e:
            raise LinAlgError(message.format(e)) from None

    return impl


def _solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b)


_SINGULAR = "linalg.solve: The solver failed because the input matrix is singular."
# X with A X = B.
solve = host(
    "solve",
    _guarded(_solve, _SINGULAR),
    "a b",
    infer=lambda a, b: b,
    vjp=(lambda g, y, a: neg(matmul(solve(t(a), g), y, tb=True)), lambda g, a: solve(t(a), g)),
    torch_name="LinalgSolveEx",
)


inv = host(
    "inv",
    _guarded(
        np.linalg.inv,
        "linalg.inv: The diagonal element is zero, the inversion could not be completed because the input matrix is singular.",
    ),
    infer=_square,
    vjp=(lambda g, y: neg(matmul(matmul(y, g, ta=True), y, tb=True)),),
    torch_name="LinalgInvEx",
)


def _infer_vector(a: TensorType) -> TensorType:
    return _square(a).with_shape(a.shape[:-1])


def _eigvecs(a: Any) -> Any:
    return np.linalg.eigh(a)[1]


def _gaps(w: Any, n: int) -> Any:
    """1 / (w[j] - w[i]) off the diagonal, 0 on it."""
    difference = sub(_columns(w, n), _rows(w, n))
    rows, columns = _positions(n, n)
    on = _batch(eq(rows, columns), tuple(w.shape[:-1]))
    return where(on, 0, div(full(value=1, shape=tuple(difference.shape), dtype=_short(w)), where(on, 1, difference)))


def _short(x: Any) -> str:
    from ..types import dtype_of

    return (
        x.type.dtype.short if hasattr(x, "type") and hasattr(x.type, "dtype") else dtype_of(getattr(x, "_data", x).dtype).short
    )


_NO_CONVERGENCE = (
    "linalg.{}: The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated "
    "eigenvalues."
)
# Eigenvalues of a symmetric matrix, ascending, and its eigenvectors; only the lower triangle is read.
eigvalsh = host(
    "eigvalsh",
    _guarded(np.linalg.eigvalsh, _NO_CONVERGENCE.format("eigh")),
    "a",
    infer=lambda a: _infer_vector(a).with_dtype(a.dtype.real),
    holomorphic=False,
    vjp=(lambda g, a: _eigvalsh_vjp(g, a),),
    torch_name="LinalgEigh",
)
eigvecsh = host(
    "eigvecsh",
    _guarded(_eigvecs, _NO_CONVERGENCE.format("eigh")),
    "a",
    infer=_square,
    holomorphic=False,
    vjp=(lambda g, y, a: _eigvecsh_vjp(g, y, a),),
    torch_name="LinalgEigh",
)


def _eigvalsh_vjp(g: Any, a: Any) -> Any:
    v = eigvecsh(a)
    return matmul(mul(v, _like(_columns(g, v.shape[-1]), v)), h(v))


def _eigvecsh_vjp(g: Any, v: Any, a: Any) -> Any:
    w = eigvalsh(a)
    skew = matmul(h(v), g)  # only its antisymmetric part rotates the vectors
    inner = mul(mul(sub(skew, h(skew)), 0.5), _like(_gaps(w, v.shape[-1]), v))
    return matmul(matmul(v, inner), h(v))


def _determinant(a: Any) -> Any:
    return np.linalg.det(a).astype(np.asarray(a).dtype, copy=False)


def _adjugate(a: Any) -> np.ndarray:
    """The transposed cofactors, by the singular value decomposition; singular matrices are supported."""
    a = np.asarray(a)
    n = a.shape[-1]
    if n == 0:
        return a.copy()
    u, s, vh = np.linalg.svd(a)
    products = np.ones_like(s)
    for i in range(n):
        products[..., i] = np.prod(np.delete(s, i, axis=-1), axis=-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    result = np.swapaxes(vh, -1, -2).conj() * products[..., None, :] @ np.swapaxes(u, -1, -2).conj()
    return (result * sign[..., None, None]).astype(a.dtype, copy=False)


def _determinant_vjp(g: Any, a: Any) -> Any:
    n = a.shape[-1]
    spread = broadcast(g, shape=(*a.shape[:-2], n, n), axes=tuple(range(len(a.shape) - 2)))
    return mul(spread, t(adjugate(a)))


determinant = host(
    "det",
    _determinant,
    "a",
    infer=lambda a: _square(a).with_shape(a.shape[:-2]),
    vjp=(_determinant_vjp,),
    torch_name="LinalgDet",
)


def _adjugate_vjp(g: Any, y: Any, a: Any) -> Any:
    """adj(A) = det(A) inv(A): exact for invertible matrices."""
    from .reduce import sum_

    rank = len(a.shape)
    n = a.shape[-1]
    b = inv(a)
    total = sum_(mul(g, t(t(b))), axes=(rank - 2, rank - 1))
    spread = broadcast(total, shape=tuple(a.shape), axes=tuple(range(rank - 2)))
    d = broadcast(determinant(a), shape=(*a.shape[:-2], n, n), axes=tuple(range(rank - 2)))
    return sub(mul(spread, t(y)), mul(d, matmul(matmul(b, g, ta=True), b, tb=True)))


adjugate = host("adjugate", _adjugate, "a", infer=_square, vjp=(_adjugate_vjp,))


def _logabsdet(a: Any) -> Any:
    return np.linalg.slogdet(a)[1].astype(np.asarray(a).real.dtype, copy=False)


def _spread(x: Any, a: Any) -> Any:
    """A number per matrix, broadcast to the matrix's elements."""
    return broadcast(_like(x, a), shape=tuple(a.shape), axes=tuple(range(len(a.shape) - 2)))


def _logabsdet_vjp(g: Any, a: Any) -> Any:
    return mul(_spread(g, a), h(inv(a)))


def _detsign_vjp(g: Any, y: Any, a: Any) -> Any:
    """The sign is exp(i Im log det A), and d log det A = tr(inv(A) dA)."""
    if not _is_complex(a):
        return mul(_spread(g, a), 0)
    return mul(_spread(imag(mul(g, conj(y))), a), mul(h(inv(a)), 1j))


logabsdet = host(
    "logabsdet",
    _logabsdet,
    "a",
    infer=lambda a: _square(a).with_shape(a.shape[:-2]).with_dtype(a.dtype.real),
    holomorphic=False,
    vjp=(_logabsdet_vjp,),
    torch_name="LinalgSlogdet",
)
detsign = host(
    "detsign",
    lambda a: np.linalg.slogdet(a)[0].astype(np.asarray(a).dtype, copy=False),
    "a",
    infer=lambda a: _square(a).with_shape(a.shape[:-2]),
    holomorphic=False,
    vjp=(_detsign_vjp,),
)


def _rank_shapes(a: TensorType) -> tuple[int, int, int]:
    m, n = a.shape[-2:]
    return m, n, min(m, n)


# The thin singular value decomposition A = U diag(s) V', in parts.
def _svd_part(k: int) -> Any:
    def impl(a: Any) -> Any:
        return np.ascontiguousarray(np.linalg.svd(a, full_matrices=False)[k])

    return _guarded(impl, _NO_CONVERGENCE.format("svd"))


svdvals = host(
    "svdvals",
    _guarded(lambda a: np.linalg.svd(a, compute_uv=False), _NO_CONVERGENCE.format("svd")),
    "a",
    infer=lambda a: a.with_shape((*a.shape[:-2], _rank_shapes(a)[2])).with_dtype(a.dtype.real),
    holomorphic=False,
    vjp=(lambda g, a: _svd_vjp(a, None, g, None),),
    torch_name="LinalgSvd",
)
svd_u = host(
    "svd_u",
    _svd_part(0),
    "a",
    infer=lambda a: a.with_shape((*a.shape[:-1], _rank_shapes(a)[2])),
    holomorphic=False,
    vjp=(lambda g, a: _svd_vjp(a, g, None, None),),
    torch_name="LinalgSvd",
)
svd_vh = host(
    "svd_vh",
    _svd_part(2),
    "a",
    infer=lambda a: a.with_shape((*a.shape[:-2], _rank_shapes(a)[2], a.shape[-1])),
    holomorphic=False,
    vjp=(lambda g, a: _svd_vjp(a, None, None, g),),
    torch_name="LinalgSvd",
)


def _svd_vjp(a: Any, gu: Any, gs: Any, gvh: Any) -> Any:
    u, s, vh = svd_u(a), svdvals(a), svd_vh(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    if gs is not None:
        return matmul(mul(u, _like(_columns(gs, m), u)), vh)
    gaps = _like(_gaps(mul(s, s), k), u)
    if gu is not None:
        skew = matmul(h(u), gu)
        skew = sub(skew, h(skew))
        inner = mul(mul(skew, gaps), _like(_columns(s, k), u))
        if _is_complex(a):
            inner = add(inner, _phases(skew, s))
        out = matmul(matmul(u, inner), vh)
        if m > k:
            rest = sub(gu, matmul(u, matmul(h(u), gu)))
            out = add(out, matmul(div(rest, _like(_columns(s, m), u)), vh))
        return out
    gv = h(gvh)
    skew = matmul(vh, gv)
    skew = sub(skew, h(skew))
    inner = mul(mul(skew, gaps), _like(_rows(s, k), u))
    if _is_complex(a):
        inner = sub(inner, _phases(skew, s))
    out = matmul(matmul(u, inner), vh)
    if n > k:
        rest = sub(gv, matmul(h(vh), matmul(vh, gv)))
        out = add(out, matmul(u, h(div(rest, _like(_columns(s, n), u)))))
    return out


def _phases(skew: Any, s: Any) -> Any:
    """The effect of the imaginary diagonal on a pair of vectors: only their relative phase can change."""
    k = s.shape[-1]
    rows, columns = _positions(k, k)
    on = _batch(eq(rows, columns), tuple(s.shape[:-1]))
    return where(on, mul(div(skew, _like(_columns(s, k), skew)), 0.25), 0)


def _qr_part(k: int) -> Any:
    return lambda a, complete: np.ascontiguousarray(np.linalg.qr(a, "complete" if complete else "reduced")[k])


def _infer_qr(k: int) -> Any:
    def infer(a: TensorType, complete: bool) -> TensorType:
        m, n, r = _rank_shapes(a)
        inner = m if complete else r
        return a.with_shape((*a.shape[:-2], m, inner) if k == 0 else (*a.shape[:-2], inner, n))

    return infer


qr_q = host(
    "qr_q",
    _qr_part(0),
    "a",
    infer=_infer_qr(0),
    holomorphic=False,
    vjp=(lambda g, a, complete: _qr_vjp(a, g, None, complete),),
    torch_name="LinalgQr",
)
qr_r = host(
    "qr_r",
    _qr_part(1),
    "a",
    infer=_infer_qr(1),
    holomorphic=False,
    vjp=(lambda g, a, complete: _qr_vjp(a, None, g, complete),),
    torch_name="LinalgQr",
)


def _qr_vjp(a: Any, gq: Any, gr: Any, complete: bool) -> Any:
    m, n = a.shape[-2:]
    if complete and m > n:
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols.")
    q, r = qr_q(a, complete=complete), qr_r(a, complete=complete)
    if m >= n:
        return _qr_tall(q, r, gq, gr)
    # The first columns determine Q; the others affect only R.
    square = _part(r, 0, m)
    g_left = None if gr is None else _part(gr, 0, m)
    right = None if gr is None else _part(gr, m, n)
    extra = None if right is None else matmul(_part(a, m, n), h(right))
    gq = extra if gq is None else gq if extra is None else add(gq, extra)
    left = _qr_tall(q, square, gq, g_left)
    if right is None:
        rest = mul(_part(a, m, n), 0)
    else:
        rest = matmul(q, right)
    from .movement import concatenate

    return concatenate(left, rest, axis=len(a.shape) - 1)


def _part(x: Any, start: int, stop: int) -> Any:
    from .movement import slice_

    shape = tuple(x.shape)
    n = len(shape)
    return slice_(x, starts=(*(0,) * (n - 1), start), stops=(*shape[:-1], stop), steps=(1,) * n)


def _qr_tall(q: Any, r: Any, gq: Any, gr: Any) -> Any:
    if gr is None:
        middle = neg(matmul(h(gq), q))
    elif gq is None:
        middle = matmul(r, h(gr))
    else:
        middle = sub(matmul(r, h(gr)), matmul(h(gq), q))
    lower = _mask(middle, lower=True, diagonal=0.5)
    rhs = matmul(q, add(lower, h(lower)))
    if gq is not None:
        rhs = add(gq, rhs)
    return h(solve(r, h(rhs)))


def _pinv(a: Any, counts: Any) -> np.ndarray:
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    inverse = np.where(counts, 1 / np.where(counts, s, 1), 0)
    v = np.swapaxes(vh, -1, -2).conj()
    return np.ascontiguousarray(v * inverse[..., None, :] @ np.swapaxes(u, -1, -2).conj()).astype(u.dtype)


def _pinv_vjp(g: Any, y: Any, a: Any) -> Any:
    """Golub and Pereyra (1973): dB = -B dA B + B B' dA' (I - A B) + (I - B A) dA' B' B."""
    gh, yh = h(g), h(y)
    first = neg(matmul(matmul(yh, g), yh))
    second = matmul(gh, matmul(y, yh))
    second = sub(second, matmul(a, matmul(y, second)))
    third = matmul(matmul(yh, y), gh)
    third = sub(third, matmul(matmul(third, y), a))
    return add(first, add(second, third))


# The pseudoinverse; singular values below the tolerance count as zero.
pinv = host(
    "pinv",
    _guarded(_pinv, _NO_CONVERGENCE.format("pinv")),
    "a counts",
    infer=lambda a, counts: a.with_shape((*a.shape[:-2], a.shape[-1], a.shape[-2])),
    holomorphic=False,
    vjp=(_pinv_vjp, None),
    torch_name="LinalgPinv",
)


__all__ = [
    "LinAlgError",
    "adjugate",
    "determinant",
    "detsign",
    "eigvalsh",
    "eigvecsh",
    "inv",
    "logabsdet",
    "pinv",
    "qr_q",
    "qr_r",
    "solve",
    "svd_u",
    "svd_vh",
    "svdvals",
]
