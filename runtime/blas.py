"""Addresses of SciPy's BLAS, for calls from compiled code."""

from __future__ import annotations

import ctypes
import functools

from ..ir.types import DType, float32, float64

_ROUTINE = {float32: "sgemm", float64: "dgemm"}


@functools.cache
def gemm(dtype: DType) -> int:
    """The address of the Fortran-convention matrix product for a dtype."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__[_ROUTINE[dtype]]
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = pointer(capsule, name_of(capsule))
    assert address is not None
    return int(address)
