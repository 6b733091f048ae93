"""A small launcher of kernels on an NVIDIA GPU, through the driver API, for checks and measurements."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from cuda.bindings import driver

from tracer.runtime.compiler.cubin import cubin
from tracer.runtime.compiler.numba_cuda import ptx


class NoDevice(RuntimeError):
    """There is no NVIDIA GPU, or no driver for it."""


def _checked(result: tuple) -> Any:
    """The result of a driver call. Raises RuntimeError with the driver's name for an error."""
    status, *values = result
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"the NVIDIA driver reports {status.name}")
    return values[0] if len(values) == 1 else values


class Memory:
    """Device memory, freed with the object."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.pointer = _checked(driver.cuMemAlloc(max(nbytes, 1)))

    def __del__(self) -> None:
        driver.cuMemFree(self.pointer)

    def write(self, array: np.ndarray) -> None:
        data = np.ascontiguousarray(array)
        if data.nbytes:
            _checked(driver.cuMemcpyHtoD(self.pointer, data.ctypes.data, data.nbytes))

    def read(self, array: np.ndarray) -> None:
        """Reads the memory into an array. Waits for earlier kernels."""
        if array.nbytes:
            _checked(driver.cuMemcpyDtoH(array.ctypes.data, self.pointer, array.nbytes))


class Device:
    """The first GPU. Raises NoDevice if there is none."""

    def __init__(self) -> None:
        try:
            _checked(driver.cuInit(0))
            device = _checked(driver.cuDeviceGet(0))
        except RuntimeError as e:  # from the driver, or from the bindings without a driver
            raise NoDevice(f"no NVIDIA GPU can be used: {e}") from None
        self.context = _checked(driver.cuDevicePrimaryCtxRetain(device))
        _checked(driver.cuCtxSetCurrent(self.context))
        self.name = _checked(driver.cuDeviceGetName(128, device)).split(b"\0")[0].decode()
        attribute = driver.CUdevice_attribute
        kinds = (
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
        major, minor = (_checked(driver.cuDeviceGetAttribute(kind, device)) for kind in kinds)
        self.architecture = f"sm_{major}{minor}"
        self.driver_version = _checked(driver.cuDriverGetVersion())
        self._modules: list[Any] = []
        self.function = functools.lru_cache(maxsize=None)(self._function)

    def _function(self, source: str, threads: int) -> Any:
        """The kernel with that text, loaded."""
        code = cubin(ptx(source, threads), self.architecture).code
        module = _checked(driver.cuModuleLoadData(code))
        self._modules.append(module)
        return _checked(driver.cuModuleGetFunction(module, b"kernel"))

    def launch(self, function: Any, launch: Sequence[int], arguments: Sequence[Memory | int]) -> None:
        """Starts a kernel. The arguments are passed by value, as one packed block."""
        words = [int(a.pointer) if isinstance(a, Memory) else a for a in arguments]
        block = (ctypes.c_int64 * len(words))(*words)
        size = ctypes.c_size_t(ctypes.sizeof(block))
        # CU_LAUNCH_PARAM_BUFFER_POINTER, the block, CU_LAUNCH_PARAM_BUFFER_SIZE, its size, CU_LAUNCH_PARAM_END
        extra = (ctypes.c_void_p * 5)(1, ctypes.addressof(block), 2, ctypes.addressof(size), 0)
        blocks, threads = launch
        at = ctypes.addressof(extra)
        _checked(driver.cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 0, 0, 0, at))

    def synchronize(self) -> None:
        _checked(driver.cuCtxSynchronize())

    def milliseconds(self, work: Any, repeat: int = 20) -> float:
        """The minimum device time of ``work`` over several runs, by the device's clock."""
        begin, end = (_checked(driver.cuEventCreate(0)) for _ in range(2))
        work()
        best = float("inf")
        for _ in range(repeat):
            _checked(driver.cuEventRecord(begin, 0))
            work()
            _checked(driver.cuEventRecord(end, 0))
            _checked(driver.cuEventSynchronize(end))
            best = min(best, _checked(driver.cuEventElapsedTime(begin, end)))
        for event in (begin, end):
            _checked(driver.cuEventDestroy(event))
        return best

    def copy(self, to: Memory, source: Memory) -> None:
        _checked(driver.cuMemcpyDtoDAsync(to.pointer, source.pointer, source.nbytes, 0))
