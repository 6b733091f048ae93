"""Complex numbers and their parts, and Fourier transforms, computed by NumPy.

Cotangents follow PyTorch's convention: for a real function of z = x + iy, d/dx + i d/dy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Value
from ..primitive import elementwise, host, inexact
from ..types import TensorType
from .elementwise import add, cast, div, eq, mul, neg, square, where
from .movement import reshape


def _as(g: Any, type_: TensorType) -> Any:
    return cast(g, dtype=type_.dtype.short)


def _part(x: Any, imaginary: bool) -> np.ndarray:
    """A view of the part of complex numbers; for real numbers a copy, or zeros."""
    x = np.asarray(x)
    if x.dtype.kind == "c":
        return x.imag if imaginary else x.real
    return np.zeros_like(x, order="C") if imaginary else np.array(x, order="C")


def _as_real(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return np.lib.stride_tricks.as_strided(x.real, (*x.shape, 2), (*x.strides, x.itemsize // 2))


def _as_complex(x: Any) -> np.ndarray:
    x = np.asarray(x)
    wide = np.complex128 if x.dtype == np.float64 else np.complex64
    if x.size == 0:
        return np.empty(x.shape[:-1], wide)
    if x.strides[-1] != x.itemsize:
        x = np.ascontiguousarray(x)
    return x.view(wide)[..., 0]


# A view as in PyTorch, though its elements are not stored in memory: see `Primitive.lazy`.
conj = elementwise(
    "conj",
    np.conj,
    None,
    vjp=(lambda g: conj(g),),
    put=lambda base, view, base_type: conj(view),
    lazy=True,
    holomorphic=False,
)
view_as_real = host(
    "view_as_real",
    _as_real,
    infer=lambda x: TensorType(x.dtype.real, (*x.shape, 2)),
    vjp=(lambda g: view_as_complex(g),),
    put=lambda base, view, base_type: view_as_complex(view),
    holomorphic=False,
)
view_as_complex = host(
    "view_as_complex",
    _as_complex,
    infer=lambda x: TensorType(x.dtype.to_complex(), x.shape[:-1]),
    vjp=(lambda g: view_as_real(g),),
    put=lambda base, view, base_type: view_as_real(view),
    holomorphic=False,
)
# Operations that only give memory another type: the result's memory is the operand's.
RENAMING = (reshape, view_as_real, view_as_complex)


def named(v: Value) -> Value:
    """The value whose memory ``v`` only gives another shape or type."""
    while v.op is not None and v.op.primitive in RENAMING:
        v = v.op.operands[0]
    return v


real = elementwise(
    "real",
    lambda x: _part(x, False),
    None,
    infer=lambda x: x.with_dtype(x.dtype.real),
    vjp=(lambda g, x_type: _as(g, x_type),),
    put=lambda base, view, base_type: complex_(view, imag(base)),
    holomorphic=False,
    torch_name="Select",
)
imag = elementwise(
    "imag",
    lambda x: _part(x, True),
    None,
    infer=lambda x: x.with_dtype(x.dtype.real),
    vjp=(lambda g, x_type: complex_(mul(g, 0), g) if x_type.dtype.is_complex else mul(g, 0),),
    put=lambda base, view, base_type: complex_(real(base), view),
    holomorphic=False,
    torch_name="Select",
)


def _infer_complex(a: TensorType, b: TensorType) -> TensorType:
    return inexact(a, b).with_dtype(a.dtype.to_complex())


def _complex(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.complex128 if a.dtype == np.float64 else np.complex64)
    out.real, out.imag = a, b
    return out


complex_ = elementwise(
    "complex",
    _complex,
    None,
    "a b",
    infer=_infer_complex,
    vjp=(lambda g: real(g), lambda g: imag(g)),
    holomorphic=False,
)


def _angle(x: Any) -> Any:
    x = np.asarray(x)
    if x.dtype.kind == "c":
        return np.angle(x)
    return np.where(np.isnan(x), x, np.where(x < 0, np.pi, 0.0)).astype(x.dtype)


def _angle_vjp(g: Any, x: Any, x_type: TensorType) -> Any:
    if not x_type.dtype.is_complex:
        return mul(g, 0)
    a, b = real(x), imag(x)
    size = add(square(a), square(b))
    zero = eq(size, 0)
    safe = where(zero, 1.0, size)
    return complex_(where(zero, 0.0, neg(div(mul(g, b), safe))), where(zero, 0.0, div(mul(g, a), safe)))


angle = elementwise("angle", _angle, None, infer=lambda x: x.with_dtype(x.dtype.real), vjp=(_angle_vjp,), holomorphic=False)


def _transform(x: Any, axes: tuple[int, ...], inverse: bool, scale: float) -> np.ndarray:
    x = np.asarray(x)
    run = np.fft.ifftn if inverse else np.fft.fftn
    y = run(x, axes=axes, norm="forward" if inverse else "backward")  # neither direction scales
    return (y if scale == 1 else y * scale).astype(x.dtype, copy=False)


# scale * sum over n of x[n] exp(-+ 2 pi i k n / N) along the axes. The matrix is symmetric: its own transpose.
fft = host(
    "fft",
    _transform,
    infer=lambda x, axes, inverse, scale: x,
    vjp=(lambda g, axes, inverse, scale: fft(g, axes=axes, inverse=inverse, scale=scale),),
    torch_name="FftC2C",
)

__all__ = ["RENAMING", "angle", "complex_", "conj", "fft", "imag", "named", "real", "view_as_complex", "view_as_real"]
