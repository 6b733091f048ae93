"""Complex numbers and their parts."""

from __future__ import annotations

from ..ir import ops as P
from ..tensor import Tensor
from . import pointwise as F
from .common import match
from .shape import stack

__all__ = [
    "angle",
    "complex",
    "conj",
    "conj_physical",
    "imag",
    "is_complex",
    "is_conj",
    "polar",
    "real",
    "resolve_conj",
    "resolve_neg",
    "view_as_complex",
    "view_as_real",
]


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input.is_complex()


def is_conj(input: Tensor) -> bool:
    """False: conjugates are computed at once."""
    return False


def real(input: Tensor) -> Tensor:
    """The real part; a real tensor itself."""
    return P.real(input) if input.is_complex() else input


def imag(input: Tensor) -> Tensor:
    """The imaginary part. Raises RuntimeError for real tensors."""
    if not input.is_complex():
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return P.imag(input)


def conj(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor itself."""
    return P.conj(input) if input.is_complex() else input


def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate, in memory of its own."""
    return P.conj(input) if input.is_complex() else F.clone(input)


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugates are computed at once."""
    return input


resolve_neg = resolve_conj


def angle(input: Tensor) -> Tensor:
    """The angle of complex numbers in radians; 0 or pi of real ones."""
    if not (input.is_complex() or input.is_floating_point()):
        (input,) = match(input, floating=True)
    return P.angle(input)


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers of the given parts. Raises RuntimeError unless both are floating and of one dtype."""
    if not (real.is_floating_point() and imag.is_floating_point()):
        raise RuntimeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {real.dtype.ctype} and {imag.dtype.ctype}"
        )
    if real.dtype is not imag.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {real.dtype.ctype} but got scalar type {imag.dtype.ctype} for second argument"
        )
    return P.complex_(real, imag)


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """Complex numbers of the given sizes and angles."""
    if not (abs.is_floating_point() and angle.is_floating_point()):
        raise RuntimeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {abs.dtype.ctype} and {angle.dtype.ctype}"
        )
    return P.complex_(F.mul(abs, F.cos(angle)), F.mul(abs, F.sin(angle)))


def view_as_real(input: Tensor) -> Tensor:
    """The two parts along a new last axis. A copy, not a view. Raises RuntimeError for real tensors."""
    if not input.is_complex():
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return stack([P.real(input), P.imag(input)], -1)


def view_as_complex(input: Tensor) -> Tensor:
    """Complex numbers from their parts along the last axis. A copy, not a view."""
    if not input.is_floating_point():
        raise RuntimeError(
            f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: "
            f"{input.dtype.ctype}"
        )
    if input.ndim == 0 or input.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    return P.complex_(input[..., 0], input[..., 1])
