"""Products of matrices by cuBLAS, through NVIDIA's Python bindings.

cuBLAS stores columns one after the other. A row-major matrix is to it the transpose, and C = A B is C' = B' A': the operands
are exchanged.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
from nvmath.bindings import cublas

from .array import DeviceArray

_REAL = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType
_ANY = -1  # the algorithm: cuBLAS chooses
_HOST = {"float64": np.float64}  # of alpha and beta; float32 for all others


class Library:
    """A handle of the thread's current device."""

    def __init__(self) -> None:
        self._handle = cublas.create()
        compute = cublas.ComputeType
        # Exact float32 products unless TF32 is asked for; 16-bit operands are accumulated in float32.
        self._compute = dict.fromkeys(("float32", "float16", "bfloat16"), compute.COMPUTE_32F)
        self._compute["float64"] = compute.COMPUTE_64F

    def product(self, a: DeviceArray, b: DeviceArray, out: DeviceArray, ta: bool, tb: bool) -> None:
        """The product of contiguous matrices, or of batches of them, into ``out``. Raises TypeError for other dtypes."""
        name = _name(a.dtype)
        if name not in _REAL:
            raise TypeError(f"cuBLAS has no products of {a.dtype}")
        m, n = out.shape[-2:]
        k = a.shape[-2 if ta else -1]
        batches = math.prod(out.shape[:-2])
        number = np.array([1.0, 0.0], _HOST.get(name, np.float32))
        one, zero = number.ctypes.data, number.ctypes.data + number.itemsize
        transposed, plain = cublas.Operation.T, cublas.Operation.N
        cublas.gemm_strided_batched_ex(
            self._handle,
            *(transposed if tb else plain, transposed if ta else plain),
            *(n, m, k, one),
            *(b.address, _REAL[name], b.shape[-1], _stride(b)),
            *(a.address, _REAL[name], a.shape[-1], _stride(a)),
            *(zero, out.address, _REAL[_name(out.dtype)], n, _stride(out)),
            *(batches, self._compute[name], _ANY),
        )


def _name(dtype: np.dtype[Any]) -> str:
    return "bfloat16" if dtype == ml_dtypes.bfloat16 else dtype.name


def _stride(x: DeviceArray) -> int:
    """The elements from one matrix of a batch to the next; 0 for one matrix that all share."""
    return math.prod(x.shape[-2:]) if len(x.shape) > 2 else 0
