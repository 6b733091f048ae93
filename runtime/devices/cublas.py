"""Products of matrices by cuBLASLt, through NVIDIA's Python bindings.

cuBLASLt stores columns one after the other. It reads a row-major matrix as its transpose, and C = A B is C' = B' A': the
operands are exchanged. A bias for each column of C is then one for each row of C', which is the form that its epilogue takes.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from nvmath.bindings import cublas
from nvmath.bindings import cublasLt as lt

from ...ir.types import TensorType
from .array import ALIGNED, Memory
from .device import DeviceError, Product

if TYPE_CHECKING:
    from .cuda import Cuda

_CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType
_MIB = 1 << 20


class Library:
    """A handle of a device, what was prepared for products, and a workspace for each stream."""

    def __init__(self, device: Cuda):
        device.enter()
        self._device = device
        self._handle = lt.create()
        self._lock = threading.Lock()  # the address of a bias is an attribute of the prepared product
        self._size = (32 if device.capability[0] >= 9 else 4) * _MIB  # for Hopper NVIDIA's recommendation
        self._workspaces: dict[int, Memory] = {}
        self._prepared = functools.lru_cache(maxsize=4096)(self._prepare)
        self.capturing_stream = device.create_stream(0)

    def workspace(self, stream: int) -> int:
        """The address of the workspace of a stream's products, which follow one another."""
        with self._lock:
            if stream not in self._workspaces:
                self._workspaces[stream] = Memory(self._device, self._size)
            return self._workspaces[stream].address

    def prepare(self, product: Product) -> None:
        """Finds the algorithm of a product. Raises DeviceError if there is none."""
        with self._lock:
            self._prepared(product)

    def start(self, product: Product, arguments: Sequence[int], stream: int, workspace: int) -> None:
        """Starts a product of contiguous matrices, or of batches of them. ``arguments`` are the addresses of the operands and
        the result.
        """
        if not product.out.numel:
            return
        a, b, *bias, out = arguments[: len(product.operands) + 1]
        with self._lock:
            prepared = self._prepared(product)
            if bias:
                _describe(
                    lt.matmul_desc_set_attribute, prepared.operation, lt.MatmulDescAttribute.BIAS_POINTER, np.intp(bias[0])
                )
            one, zero = prepared.numbers.ctypes.data, prepared.numbers.ctypes.data + prepared.numbers.itemsize
            self._multiply(
                *(self._handle, prepared.operation, one),
                *(b, prepared.layouts[0], a, prepared.layouts[1], zero, out, prepared.layouts[2], out, prepared.layouts[2]),
                *(prepared.found.ctypes.data, workspace, self._size, stream),
            )

    @staticmethod
    def _multiply(*given: Any) -> None:
        try:
            lt.matmul(*given)
        except lt.cuBLASLtError as e:
            raise DeviceError(f"CUDA error: cuBLASLt reports {e}") from None

    def _prepare(self, product: Product) -> _Prepared:
        """The descriptions of a product, and the algorithm that cuBLASLt chooses for it. Raises DeviceError if it has none."""
        kinds, attributes = cublas.ComputeType, lt.MatmulDescAttribute
        name = product.out.dtype.name
        # float32 products do not use TF32 unless it is allowed; 16-bit operands are accumulated in float32.
        compute = kinds.COMPUTE_64F if name == "float64" else kinds.COMPUTE_32F_FAST_TF32 if product.tf32 else kinds.COMPUTE_32F
        scale = np.dtype(np.float64 if name == "float64" else np.float32)
        operation = lt.matmul_desc_create(compute, _CODES[scale.name])
        for attribute, transposed in ((attributes.TRANSA, product.tb), (attributes.TRANSB, product.ta)):
            chosen = cublas.Operation.T if transposed else cublas.Operation.N
            _describe(lt.matmul_desc_set_attribute, operation, attribute, np.int32(chosen))
        if product.bias is not None:
            _describe(lt.matmul_desc_set_attribute, operation, attributes.EPILOGUE, np.uint32(lt.Epilogue.BIAS))
        batches = math.prod(product.out.shape[:-2])
        layouts = [_layout(type, batches) for type in (product.b, product.a, product.out)]
        wanted = lt.MatmulPreferenceAttribute
        preference = lt.matmul_preference_create()
        _describe(lt.matmul_preference_set_attribute, preference, wanted.MAX_WORKSPACE_BYTES, np.uint64(self._size))
        for operand in (
            wanted.MIN_ALIGNMENT_A_BYTES,
            wanted.MIN_ALIGNMENT_B_BYTES,
            wanted.MIN_ALIGNMENT_C_BYTES,
            wanted.MIN_ALIGNMENT_D_BYTES,
        ):
            _describe(lt.matmul_preference_set_attribute, preference, operand, np.uint32(ALIGNED))
        prepared = _Prepared(operation, layouts, np.zeros(1, lt.matmul_heuristic_result_dtype), np.array([1, 0], scale))
        first, second, third = layouts
        found, count = prepared.found, np.zeros(1, np.int32)
        try:
            lt.matmul_algo_get_heuristic(
                self._handle, operation, first, second, third, third, preference, 1, found.ctypes.data, count.ctypes.data
            )
        except lt.cuBLASLtError:
            count[0] = 0
        finally:
            lt.matmul_preference_destroy(preference)
        if not count[0] or found["state"][0]:
            raise DeviceError(f"cuBLASLt has no algorithm for {product}")
        return prepared


class _Prepared:
    """The descriptions of a product, destroyed with the object."""

    def __init__(self, operation: int, layouts: list[int], found: np.ndarray[Any, Any], numbers: np.ndarray[Any, Any]):
        """``found``: the library's answer, which begins with the algorithm. ``numbers``: one and zero."""
        self.operation, self.layouts, self.found, self.numbers = operation, layouts, found, numbers

    def __del__(self) -> None:
        if lt is None:  # modules are emptied when the interpreter ends
            return
        lt.matmul_desc_destroy(self.operation)
        for layout in self.layouts:
            lt.matrix_layout_destroy(layout)


def _describe(setter: Any, described: int, attribute: int, value: np.generic) -> None:
    data = np.asarray(value)
    setter(described, attribute, data.ctypes.data, data.nbytes)


def _layout(type: TensorType, batches: int) -> int:
    """The description of contiguous matrices. One matrix is shared by all products of a batch."""
    rows, columns = type.shape[-2:]
    layout: int = lt.matrix_layout_create(_CODES[type.dtype.name], columns, rows, columns)
    attributes = lt.MatrixLayoutAttribute
    _describe(lt.matrix_layout_set_attribute, layout, attributes.BATCH_COUNT, np.int32(batches))
    stride = rows * columns if len(type.shape) > 2 else 0
    _describe(lt.matrix_layout_set_attribute, layout, attributes.STRIDED_BATCH_OFFSET, np.int64(stride))
    return layout
