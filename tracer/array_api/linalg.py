"""Linear algebra."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import linalg as L
from .. import ops
from ..core.tensor import Tensor
from ..ir.types import DType
from .dtypes import promote
from .reductions import sum


class EigResult(NamedTuple):
    """The result of ``eig``."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EighResult(NamedTuple):
    """The result of ``eigh``."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """The result of ``qr``."""

    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    """The result of ``slogdet``."""

    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    """The result of ``svd``."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The product of matrices, of batches of them, or of vectors."""
    return ops.matmul(*promote(x1, x2))


def matrix_transpose(x: Tensor, /) -> Tensor:
    """Swaps the last two axes. Raises ValueError for fewer than two axes."""
    if x.ndim < 2:
        raise ValueError("matrix_transpose needs at least two dimensions")
    return ops.transpose(x, -1, -2)


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """The sum of products over common axes."""
    a, b = promote(x1, x2)
    return ops.tensordot(a, b, axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Inner products of vectors along an axis; the first operand is conjugated. Raises ValueError for unequal lengths."""
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"vectors of lengths {x1.shape[axis]} and {x2.shape[axis]}")
    return L.vecdot(*promote(x1, x2), dim=axis)


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The triangle L with x = L L', or its transpose if ``upper``."""
    return L.cholesky(x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The cross products of vectors of three elements."""
    return L.cross(*promote(x1, x2), dim=axis)


def det(x: Tensor, /) -> Tensor:
    """The determinant."""
    return L.det(x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """A diagonal of each matrix."""
    return ops.diagonal(x, offset, -2, -1)


def eig(x: Tensor, /) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices, complex."""
    return EigResult(*L.eig(x))


def eigvals(x: Tensor, /) -> Tensor:
    """Eigenvalues of square matrices, complex."""
    return L.eigvals(x)


def eigh(x: Tensor, /) -> EighResult:
    """Eigenvalues, in ascending order, and eigenvectors of symmetric matrices."""
    return EighResult(*L.eigh(x))


def eigvalsh(x: Tensor, /) -> Tensor:
    """Eigenvalues of symmetric matrices, in ascending order."""
    return L.eigvalsh(x)


def inv(x: Tensor, /) -> Tensor:
    """The inverse."""
    return L.inv(x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """A norm of each matrix."""
    return L.matrix_norm(x, ord, keepdim=keepdims)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """The n-th power of each matrix."""
    return L.matrix_power(x, n)


def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The number of singular values above the tolerance."""
    return L.matrix_rank(x, rtol=rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The products of all pairs of elements of two vectors."""
    return ops.outer(*promote(x1, x2))


def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The pseudoinverse."""
    return L.pinv(x, rtol=rtol)


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    """An orthogonal and a triangular factor."""
    return QRResult(*L.qr(x, mode))


def slogdet(x: Tensor, /) -> SlogdetResult:
    """The determinant's sign and the logarithm of its absolute value."""
    return SlogdetResult(*L.slogdet(x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The solution x of x1 x = x2."""
    return L.solve(*promote(x1, x2))


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVDResult:
    """The singular value decomposition."""
    return SVDResult(*L.svd(x, full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    """The singular values, in descending order."""
    return L.svdvals(x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The sum of a diagonal of each matrix."""
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """The norm of vectors along axes, by default all."""
    return L.vector_norm(x, ord, axis, keepdims)
