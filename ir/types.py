"""Types of the IR: element types, and the type of a tensor.

A type says everything about a value but its contents: element type, shape and device.
Types are frozen and compare by value, so the verifier can infer again and compare.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np


class _Shown:
    """How the package is called in the text of dtypes, shapes and layouts: PyTorch's name in programs written for that."""

    package = "tracer"


shown = _Shown()


class DType:
    """An element type. There is one object per type; comparison is by identity. It is no dataclass: ``dataclasses.asdict`` of a
    configuration would take it apart.

    ``name`` is PyTorch's name, ``short`` the IR's, ``kind`` one of ``b u i f`` (bool, unsigned, signed, floating),
    ``numpy`` the NumPy storage type.
    """

    __slots__ = ("__weakref__", "kind", "name", "numpy", "short")
    name: str
    short: str
    kind: str
    numpy: np.dtype

    def __init__(self, name: str, short: str, kind: str, numpy: np.dtype):
        for slot, value in {"name": name, "short": short, "kind": kind, "numpy": numpy}.items():
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self!r} cannot be changed")

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "f"

    @property
    def is_complex(self) -> bool:
        return self.kind == "c"

    @property
    def is_half(self) -> bool:
        """True for 16-bit floating types, which are computed in ``wide``."""
        return self.itemsize == 2 and self.kind == "f"

    @property
    def wide(self) -> DType:
        """The type of its arithmetic: float32 for 16-bit floating types, any other type itself."""
        return float32 if self.is_half else self

    @property
    def is_native(self) -> bool:
        """True if kernels support this type; NumPy computes in the others."""
        return self.short in _NATIVE

    @property
    def category(self) -> int:
        """bool < integer < floating < complex: a higher category wins a promotion, whatever the widths."""
        return {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}[self.kind]

    @property
    def real(self) -> DType:
        """The type of the parts of a complex number; any other type itself."""
        return {"c64": float32, "c128": float64}.get(self.short, self)

    def to_real(self) -> DType:
        return self.real

    def to_complex(self) -> DType:
        """The complex type with parts of this type."""
        return self if self.is_complex else complex128 if self is float64 else complex64

    @property
    def ctype(self) -> str:
        """The name in PyTorch's messages: Float, Double, Long ..."""
        return _CTYPES[self.name]

    @property
    def is_signed(self) -> bool:
        return self.kind in "if"

    @property
    def itemsize(self) -> int:
        return int(self.numpy.itemsize)

    def __repr__(self) -> str:
        return f"{shown.package}.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return dtype_named, (self.short,)


_CTYPES = {
    "bool": "Bool",
    "uint8": "Byte",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "float32": "Float",
    "float64": "Double",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}
_NATIVE = frozenset({"bool", "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64"})


def _dtype(name: str, short: str, kind: str = "") -> DType:
    numpy = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    return DType(name, short, kind or numpy.kind, numpy)


bool_ = _dtype("bool", "bool")
uint8 = _dtype("uint8", "u8")
uint16 = _dtype("uint16", "u16")
uint32 = _dtype("uint32", "u32")
uint64 = _dtype("uint64", "u64")
int8 = _dtype("int8", "i8")
int16 = _dtype("int16", "i16")
int32 = _dtype("int32", "i32")
int64 = _dtype("int64", "i64")
float32 = _dtype("float32", "f32")
float64 = _dtype("float64", "f64")

float16 = _dtype("float16", "f16")
bfloat16 = _dtype("bfloat16", "bf16", "f")
complex64 = _dtype("complex64", "c64")
complex128 = _dtype("complex128", "c128")

DTYPES = (
    bool_,
    uint8,
    uint16,
    uint32,
    uint64,
    int8,
    int16,
    int32,
    int64,
    float16,
    bfloat16,
    float32,
    float64,
    complex64,
    complex128,
)
HALVES = (float16.numpy, bfloat16.numpy)
_BY_NUMPY = {d.numpy: d for d in DTYPES}
_BY_PYTHON = {bool: bool_, int: int64, float: float64, complex: complex128}
_BY_SHORT = {d.short: d for d in DTYPES}


def dtype_of(numpy: object) -> DType:
    """The DType with the given NumPy storage type. Raises TypeError if there is none."""
    found = _BY_NUMPY.get(numpy) or _BY_NUMPY.get(np.dtype(numpy))  # type: ignore[call-overload]
    if found is None:
        known = ", ".join(d.name for d in DTYPES)
        raise TypeError(f"can't convert np.ndarray of type {np.dtype(numpy)}. The only supported types are: {known}.")  # type: ignore[call-overload]
    return found


def as_dtype(x: object) -> DType:
    """The DType itself; for Python's ``float``, ``int``, ``bool`` and ``complex`` the widest type. Raises TypeError for
    others.
    """
    if isinstance(x, DType):
        return x
    found = _BY_PYTHON.get(x) if isinstance(x, type) else None
    if found is None:
        raise TypeError(f"dtype must be a dtype such as float32, or float, int, bool or complex, not {x!r}")
    return found


def dtype_named(short: str) -> DType:
    """The DType with the IR's name (``f32``). Raises KeyError if there is none."""
    return _BY_SHORT[short]


def promote(a: DType, b: DType) -> DType:
    """PyTorch's promotion lattice for two tensors of the same rank class.

    A floating type wins over every integer type, whatever their widths (NumPy would widen it).
    """
    if a is b:
        return a
    if a.is_complex or b.is_complex:
        wide = complex128 in (a, b) or float64 in (a, b)
        return complex128 if wide else complex64
    if a.is_floating_point != b.is_floating_point:
        return a if a.is_floating_point else b
    if a.is_floating_point and {a, b} == {float16, bfloat16}:
        return float32
    if bfloat16 in (a, b):
        return a if b is bfloat16 else b
    return _BY_NUMPY[np.promote_types(a.numpy, b.numpy)]


@dataclass(frozen=True, slots=True)
class TensorType:
    """``f32[4,8]``: element type, shape (a tuple of extents), and a device."""

    dtype: DType
    shape: tuple[int, ...]
    device: str = "cpu"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return TensorType(self.dtype, shape, self.device)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape, self.device)

    def __str__(self) -> str:
        place = "" if self.device == "cpu" else f"@{self.device}"
        return f"{self.dtype.short}[{','.join(map(str, self.shape))}]{place}"


@functools.lru_cache(1 << 14)
def array_type(numpy: np.dtype, shape: tuple[int, ...]) -> TensorType:
    """The type of NumPy arrays of this dtype and shape; cached, so that equal types are usually one object."""
    return TensorType(dtype_of(numpy), shape)


def type_of(array: np.ndarray | np.generic) -> TensorType:
    """The type of a NumPy array or scalar."""
    return array_type(array.dtype, array.shape)


def combine(strong: DType | None, weak: DType | None) -> DType | None:
    """``strong`` unless ``weak`` is of a higher category; if one is None, the other."""
    if strong is None or weak is None:
        return weak if strong is None else strong
    if weak.category <= strong.category:
        return strong
    if weak.is_complex and strong.is_floating_point:
        return strong.to_complex()  # a complex number keeps the width of real tensors
    return weak


def promoted(types: Sequence[TensorType]) -> DType | None:
    """PyTorch's result dtype of tensors: those with dimensions decide, unless a 0-d one is of a higher category."""
    best: dict[bool, DType] = {}
    for t in types:
        key = t.rank > 0
        best[key] = promote(best[key], t.dtype) if key in best else t.dtype
    return combine(best.get(True), best.get(False))


_EXACT: tuple[tuple[type, Any], ...] = (
    (int, int.__pos__),
    (float, float.__pos__),
    (complex, complex.__pos__),
    (str, str.__str__),
    (bytes, lambda x: bytes.__getitem__(x, slice(None))),
)


def exact(x: Any) -> Any:
    """The plain value of an object whose class derives from one of Python's value types; others are returned unchanged."""
    if type(x) not in _VALUES:
        for cls, value in _EXACT:
            if issubclass(type(x), cls):
                return value(x)
    return x


_VALUES = frozenset([bool, int, float, complex, str, bytes])


def scalar_dtype(value: bool | int | float | complex, default_float: DType) -> DType:
    """The dtype that a Python number has as a tensor."""
    if isinstance(value, complex) and not isinstance(value, (float, int)):
        return default_float.to_complex()
    if isinstance(value, bool):
        return bool_
    return int64 if isinstance(value, int) else default_float
