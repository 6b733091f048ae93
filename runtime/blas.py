"""SciPy's BLAS, for calls from compiled code: its addresses, and what keeps it from starting threads beside ours."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np

from ..ir.types import DType, float32, float64
from .memory import address

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
    found = pointer(capsule, name_of(capsule))
    assert found is not None
    return int(found)


@functools.cache
def guard() -> int:
    """The address of the words by which programs set the library's threads (see ``driver``); 0 if it has no such functions.

    It is OpenBLAS in SciPy's wheels; elsewhere its threads are left alone, and products are not shared among ours.
    """
    import scipy

    for path in Path(scipy.__file__).parent.parent.glob("scipy.libs/*openblas*"):
        library = ctypes.CDLL(str(path))
        names = ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads")
        if all(hasattr(library, name) for name in names):
            functions = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names]
            words = np.array([0, 0, 0, *functions], np.int64)
            _kept.append(words)
            return address(words)
    return 0


_kept: list[np.ndarray] = []
