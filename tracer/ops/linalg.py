"""Matrix products."""

from __future__ import annotations

import math

from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.interp import current, joint_shape
from .pointwise import mul
from .shape import expand, reshape

__all__ = [
    "bmm",
    "dot",
    "matmul",
    "mm",
    "mv",
    "outer",
]


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The product of vectors, matrices or batches of matrices; batches broadcast."""
    if not isinstance(other, Tensor):
        raise TypeError(f"matmul(): argument 'other' must be Tensor, not {type(other).__name__}")
    x, y = input._data, other._data
    if x.ndim == y.ndim == 2 and x.dtype is y.dtype and x.shape[1] == y.shape[0]:
        return current().bind(P.matmul, (input, other), P.matmul.defaults)
    if x.dtype != y.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {input.dtype.ctype.lower()} != {other.dtype.ctype.lower()}"
        )
    a, b = input, other
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a.ndim}D and {b.ndim}D")
    if a.ndim == b.ndim == 2:
        _check(a._data.shape, b._data.shape)
    m, n = a._data.shape, b._data.shape
    if a.ndim == b.ndim == 1:
        require_one_length(a, b)
    if (a.ndim, b.ndim) == (2, 1) and m[1] != n[0]:
        raise RuntimeError(f"size mismatch, got input ({m[0]}), mat ({m[0]}x{m[1]}), vec ({n[0]})")
    if a.ndim == b.ndim == 3 and m[0] == n[0] and m[2] != n[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{m[0]}, {m[2]}] but got: [{n[0]}, {n[1]}]."
        )
    if a.ndim == 1:
        a = reshape(a, (1, -1))
    if b.ndim == 1:
        b = reshape(b, (-1, 1))
    _check(a._data.shape, b._data.shape)
    out = _batched(a, b)
    shape = out._data.shape
    if input.ndim == 1:
        shape = (*shape[:-2], shape[-1])
    if other.ndim == 1:
        shape = shape[:-1]
    return out if shape == out._data.shape else reshape(out, shape)


def require_one_length(a: Tensor, b: Tensor) -> None:
    """Raises RuntimeError unless two vectors have the same length."""
    (m,), (n,) = a._data.shape, b._data.shape
    if m != n:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{m}] and src [{n}] to have the same number of elements, "
            f"but got {m} and {n} elements respectively"
        )


def _check(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if a[-1] != b[-2]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a[-2]}x{a[-1]} and {b[-2]}x{b[-1]})")


def _batched(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim == b.ndim == 2:
        return P.matmul(a, b)
    if b.ndim == 2:
        # One large product instead of many small ones.
        lead = a._data.shape[:-1]
        flat = P.matmul(reshape(a, (math.prod(lead), a._data.shape[-1])), b)
        return reshape(flat, (*lead, b._data.shape[-1]))
    if a._data.shape[:-2] == b._data.shape[:-2]:
        return P.matmul(a, b)
    lead = joint_shape(a._data.shape[:-2], b._data.shape[:-2])
    return P.matmul(expand(a, (*lead, *a._data.shape[-2:])), expand(b, (*lead, *b._data.shape[-2:])))


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError("mat1 and mat2 must be matrices" if input.ndim == 2 else "self must be a matrix")
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices."""
    if input.ndim != 3 or mat2.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor" if input.ndim != 3 else "batch2 must be a 3D tensor")
    if input._data.shape[0] != mat2._data.shape[0]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: "
            f"{[input._data.shape[0], input._data.shape[2]]} but got: {list(mat2.shape[:2])}."
        )
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {vec.ndim}, {input.ndim}, {vec.ndim}")
    return matmul(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors."""
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    require_one_length(input, tensor)
    if input.dtype is not tensor.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {input.dtype.ctype} and {tensor.dtype.ctype}"
        )
    return P.sum_(mul(input, tensor), axes=(0,))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors."""
    return mul(reshape(input, (-1, 1)), reshape(vec2, (1, -1)))
