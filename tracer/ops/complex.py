"""Complex numbers and their parts."""

from __future__ import annotations

from ..core.tensor import Tensor
from ..core.views import conjugated, without_conjugation
from ..ir import ops as P
from . import pointwise as F
from .common import match

__all__ = [
    "angle",
    "complex",
    "conj",
    "conj_physical",
    "imag",
    "is_complex",
    "is_conj",
    "is_neg",
    "polar",
    "real",
    "resolve_conj",
    "resolve_neg",
    "view_as_complex",
    "view_as_real",
]


def is_complex(input: Tensor) -> bool:
    """True if the dtype is complex."""
    return input.is_complex()


def is_conj(input: Tensor) -> bool:
    """True for a conjugating view of complex numbers."""
    return input.is_complex() and conjugated(input)


def is_neg(input: Tensor) -> bool:
    """True for a negating view: the imaginary part of a conjugated one."""
    return not input.is_complex() and conjugated(input)


def real(input: Tensor) -> Tensor:
    """The real part, a view; a real tensor itself."""
    return P.real(without_conjugation(input) if is_conj(input) else input) if input.is_complex() else input


def imag(input: Tensor) -> Tensor:
    """The imaginary part, a view. Raises RuntimeError for real tensors."""
    if not input.is_complex():
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return P.imag(input)


def conj(input: Tensor) -> Tensor:
    """The complex conjugate, a view; a real tensor itself."""
    if not input.is_complex():
        return input
    return without_conjugation(input) if is_conj(input) else P.conj(input)


def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate, in new memory; a real tensor itself."""
    return P.copy(conj(input)) if input.is_complex() else input


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself, or a copy of a conjugated view."""
    return P.copy(input) if is_conj(input) else input


def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself, or a copy of a negating view."""
    return P.copy(input) if is_neg(input) else input


def angle(input: Tensor) -> Tensor:
    """The angle of complex numbers in radians; 0 or pi for real ones."""
    if not (input.is_complex() or input.is_floating_point()):
        (input,) = match(input, floating=True)
    return P.angle(input)


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers with the given parts. Raises RuntimeError unless both are floating and of one dtype."""
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
    """Complex numbers with the given magnitudes and angles; the derivative by a magnitude of 0 is 0."""
    if not (abs.is_floating_point() and angle.is_floating_point()):
        raise RuntimeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {abs.dtype.ctype} and {angle.dtype.ctype}"
        )
    size = F.where(F.eq(abs, 0), abs.detach(), abs)
    return P.complex_(F.mul(size, F.cos(angle)), F.mul(size, F.sin(angle)))


def view_as_real(input: Tensor) -> Tensor:
    """The two parts along a new last axis, a view. Raises RuntimeError for real tensors, and for conjugated views."""
    if not input.is_complex():
        raise RuntimeError("view_as_real is only supported for complex tensors")
    if is_conj(input):
        raise RuntimeError(
            "view_as_real doesn't work on unresolved conjugated tensors.  To resolve the conjugate tensor so you can view it "
            "as real, use self.resolve_conj(); however, be warned that the resulting tensor will NOT alias the original."
        )
    return P.view_as_real(input)


def view_as_complex(input: Tensor) -> Tensor:
    """Complex numbers from their parts along the last axis, a view. Raises RuntimeError unless the parts are adjacent in
    memory.
    """
    if input.dtype.name not in ("float32", "float64"):
        raise RuntimeError(
            f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: "
            f"{input.dtype.ctype}"
        )
    if input.ndim == 0:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input._data.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    *others, last = input.stride()
    if last != 1 and input.numel():
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % 2 for s in others) and input.numel():
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if input.storage_offset() % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    return P.view_as_complex(resolve_neg(input))
