"""CUDA devices, through NVIDIA's driver and its Python bindings. Products are cuBLAS's (``nvmath``).

Everything runs in one stream per device, in order, so memory that was freed may be used again at once. Calls return when work
has been started; copies to the host wait for it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from cuda.bindings import driver

from ...ir.types import DType
from ..compiler import cache
from ..compiler.cubin import cubin
from ..compiler.kept_ptx import ptx
from .array import DeviceArray
from .device import Device


def devices() -> list[Device]:
    """The devices of this machine; none without a driver."""
    try:
        _checked(driver.cuInit(0))
        count = _checked(driver.cuDeviceGetCount())
    except RuntimeError:  # from the driver, or from the bindings without a driver
        return []
    return [Cuda(index) for index in range(count)]


def _checked(result: tuple[Any, ...]) -> Any:
    """The result of a driver call. Raises MemoryError if there is no memory left, RuntimeError for any other error."""
    status, *values = result
    if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        raise MemoryError
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA error: the driver reports {status.name}")
    return values[0] if len(values) == 1 else values


class Cuda(Device):
    """One GPU."""

    def __init__(self, index: int):
        self._device = device = _checked(driver.cuDeviceGet(index))
        self._context = _checked(driver.cuDevicePrimaryCtxRetain(device))
        name = _checked(driver.cuDeviceGetName(128, device)).split(b"\0")[0].decode()
        super().__init__("cuda", index, name, _checked(driver.cuDeviceTotalMem(device)))
        kinds = driver.CUdevice_attribute
        wanted = (kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
        major, minor = (_checked(driver.cuDeviceGetAttribute(kind, device)) for kind in wanted)
        self.capability, self.architecture = (major, minor), f"sm_{major}{minor}"
        self._modules: list[Any] = []
        self._function = functools.lru_cache(maxsize=None)(self._loaded)

    def _enter(self) -> None:
        """Makes this device's context the thread's."""
        _checked(driver.cuCtxSetCurrent(self._context))

    def reserve(self, nbytes: int) -> int:
        self._enter()
        return int(_checked(driver.cuMemAlloc(nbytes)))

    def release(self, address: int, nbytes: int) -> None:
        self._enter()
        _checked(driver.cuMemFree(address))

    def read(self, address: int, nbytes: int) -> np.ndarray[Any, Any]:
        out = np.empty(nbytes, np.uint8)
        if nbytes:
            self._enter()
            _checked(driver.cuMemcpyDtoH(out.ctypes.data, address, nbytes))
        return out

    def write(self, address: int, array: np.ndarray[Any, Any]) -> None:
        data = np.ascontiguousarray(array)
        if data.nbytes:
            self._enter()
            _checked(driver.cuMemcpyHtoD(address, data.ctypes.data, data.nbytes))

    def copy(self, to: int, source: int, nbytes: int) -> None:
        if nbytes:
            self._enter()
            _checked(driver.cuMemcpyDtoDAsync(to, source, nbytes, 0))

    def prepare(self, source: str, launch: Sequence[int]) -> None:
        self._enter()
        self._function(source, launch[1])

    def launch(self, source: str, launch: Sequence[int], arguments: Sequence[int]) -> None:
        blocks, threads = launch
        self._enter()
        function = self._function(source, threads)
        block = (ctypes.c_int64 * len(arguments))(*arguments)
        size = ctypes.c_size_t(ctypes.sizeof(block))
        # CU_LAUNCH_PARAM_BUFFER_POINTER, the block, CU_LAUNCH_PARAM_BUFFER_SIZE, its size, CU_LAUNCH_PARAM_END
        extra = (ctypes.c_void_p * 5)(1, ctypes.addressof(block), 2, ctypes.addressof(size), 0)
        _checked(driver.cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 0, 0, 0, ctypes.addressof(extra)))

    def _loaded(self, source: str, threads: int) -> Any:
        """The kernel of a text, loaded; its machine code is kept on disk."""
        text = ptx(source, threads)
        code = cache.kept(f"{self.architecture}\n{text}", lambda: cubin(text, self.architecture).code)
        module = _checked(driver.cuModuleLoadData(code))
        self._modules.append(module)
        return _checked(driver.cuModuleGetFunction(module, b"kernel"))

    def multiplies(self, dtype: DType) -> bool:
        return dtype.is_floating_point and find_spec("nvmath") is not None

    def product(self, a: DeviceArray, b: DeviceArray, out: DeviceArray, ta: bool, tb: bool) -> None:
        if not out.size:
            return
        self._enter()
        self._library.product(a, b, out, ta, tb)

    @functools.cached_property
    def _library(self) -> Any:
        from .cublas import Library

        return Library()

    def synchronize(self) -> None:
        self._enter()
        _checked(driver.cuCtxSynchronize())
