"""CUDA devices, through NVIDIA's driver and its Python bindings. Products are cuBLASLt's (``nvmath``).

Work is started in the thread's current stream; calls return when it has been started, and copies with the host when they have
finished, unless these are not to be waited for. Streams are not ordered with the default
one (``CU_STREAM_NON_BLOCKING``), as in PyTorch.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import itertools
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from cuda.bindings import driver

from ...ir.types import DType
from ..compiler import cache
from ..compiler.cubin import cubin
from ..compiler.kept_ptx import ptx
from ..support.objects import address as host_address
from .device import Device, DeviceError, Kernel, Product, Started, Task
from .launcher import launcher


def devices() -> list[Device]:
    """The devices of this machine; none without a driver."""
    try:
        checked(driver.cuInit(0))
        count = checked(driver.cuDeviceGetCount())
    except RuntimeError:  # of the driver, or from the bindings without a driver
        return []
    return [Cuda(index) for index in range(count)]


def checked(result: tuple[Any, ...]) -> Any:
    """The result of a driver call. Raises MemoryError if there is no memory left, DeviceError for any other error."""
    status, *values = result
    if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        raise MemoryError
    if status != driver.CUresult.CUDA_SUCCESS:
        raise DeviceError(f"CUDA error: the driver reports {status.name}")
    return values[0] if len(values) == 1 else values


def function_of_driver(name: str) -> int:
    """The address of a function of the driver's library."""
    library = ctypes.CDLL(ctypes.util.find_library("cuda"))
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


class Cuda(Device):
    """One GPU."""

    def __init__(self, index: int):
        self._device = device = checked(driver.cuDeviceGet(index))
        self._context = checked(driver.cuDevicePrimaryCtxRetain(device))
        name = checked(driver.cuDeviceGetName(128, device)).split(b"\0")[0].decode()
        super().__init__("cuda", index, name, checked(driver.cuDeviceTotalMem(device)))
        kinds = driver.CUdevice_attribute
        wanted = (kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
        major, minor = (checked(driver.cuDeviceGetAttribute(kind, device)) for kind in wanted)
        self.capability, self.architecture = (major, minor), f"sm_{major}{minor}"
        self._modules: list[Any] = []
        self._library: Any = None
        self.capturing = threading.RLock()  # while a stream captures, the context must not be waited for
        self.launch_kernel = function_of_driver("cuLaunchKernel")
        self.function = functools.lru_cache(maxsize=None)(self._loaded)

    def enter(self) -> None:
        """Makes this device's context the thread's."""
        checked(driver.cuCtxSetCurrent(self._context))

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        checked(driver.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            driver.cuCtxPopCurrent()

    # Memory.

    def reserve(self, nbytes: int) -> int:
        self.enter()
        return int(checked(driver.cuMemAlloc(nbytes)))

    def release(self, address: int, nbytes: int) -> None:
        self.enter()
        checked(driver.cuMemFree(address))

    def reserve_host(self, nbytes: int) -> int:
        self.enter()
        return int(checked(driver.cuMemAllocHost(nbytes)))

    def release_host(self, address: int, nbytes: int) -> None:
        self.enter()
        checked(driver.cuMemFreeHost(address))

    def read(self, address: int, out: np.ndarray[Any, Any], wait: bool = True) -> None:
        self.enter()
        stream = self.stream
        checked(driver.cuMemcpyDtoHAsync(host_address(out), address, out.nbytes, stream))
        if wait:
            checked(driver.cuStreamSynchronize(stream))

    def write(self, address: int, array: np.ndarray[Any, Any], wait: bool = True) -> None:
        if not array.nbytes:
            return
        self.enter()
        stream = self.stream
        checked(driver.cuMemcpyHtoDAsync(address, host_address(array), array.nbytes, stream))
        if wait:  # the array may be freed afterwards
            checked(driver.cuStreamSynchronize(stream))

    def copy(self, to: int, source: int, nbytes: int) -> None:
        if nbytes:
            self.enter()
            checked(driver.cuMemcpyDtoDAsync(to, source, nbytes, self.stream))

    def fill(self, address: int, pattern: bytes, count: int) -> None:
        self.enter()
        start = getattr(driver, f"cuMemsetD{8 * len(pattern)}Async")
        checked(start(address, int.from_bytes(pattern, sys.byteorder), count, self.stream))

    # Tasks.

    def prepare(self, task: Task) -> None:
        self.enter()
        if isinstance(task, Kernel):
            self.function(task.source, task.threads)
        else:
            self.library.prepare(task)

    def in_order(self, tasks: Sequence[Task], spans: Sequence[slice]) -> Started:
        return _InOrder(self, tasks, spans)

    def graph(self, tasks: Sequence[Task], spans: Sequence[slice], after: Sequence[Sequence[int]]) -> Started:
        from .cuda_graph import CudaGraph

        return CudaGraph(self, tasks, spans, after)

    def _loaded(self, source: str, threads: int) -> Any:
        """The kernel of a text, loaded; its machine code is kept on disk."""
        text = ptx(source, threads)
        code = cache.kept(f"{self.architecture}\n{text}", lambda: cubin(text, self.architecture).code)
        module = checked(driver.cuModuleLoadData(code))
        self._modules.append(module)
        return checked(driver.cuModuleGetFunction(module, b"kernel"))

    def multiplies(self, dtype: DType) -> bool:
        return dtype.is_floating_point and find_spec("nvmath") is not None

    @property
    def library(self) -> Any:
        """cuBLASLt, for this device."""
        with self._lock:
            if self._library is None:
                from .cublas import Library

                self._library = Library(self)
            return self._library

    # Streams. Their numbers are the driver's handles.

    def create_stream(self, priority: int) -> int:
        self.enter()
        flags = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        return int(checked(driver.cuStreamCreateWithPriority(flags, priority)))

    def event(self, timed: bool = False) -> _Event:
        self.enter()
        event = _Event(self, timed)
        checked(driver.cuEventRecord(event.handle, self.stream))
        return event

    def wait(self, event: _Event) -> None:
        self.enter()
        checked(driver.cuStreamWaitEvent(self.stream, event.handle, 0))

    def happened(self, what: _Event | int) -> bool:
        with self.aside():
            status, *_ = driver.cuEventQuery(what.handle) if isinstance(what, _Event) else driver.cuStreamQuery(what)
        if status == driver.CUresult.CUDA_ERROR_NOT_READY:
            return False
        checked((status,))
        return True

    def elapsed(self, start: _Event, end: _Event) -> float:
        self.enter()
        return float(checked(driver.cuEventElapsedTime(start.handle, end.handle)))

    def synchronize(self, what: _Event | int | None = None) -> None:
        self.enter()
        if isinstance(what, _Event):
            checked(driver.cuEventSynchronize(what.handle))
        elif what is None:
            with self.capturing:
                checked(driver.cuCtxSynchronize())
        else:
            checked(driver.cuStreamSynchronize(what))


class _InOrder:
    """Tasks in order: products, and between them runs of kernels, each launched by one native call."""

    def __init__(self, device: Cuda, tasks: Sequence[Task], spans: Sequence[slice]):
        self._device = device
        self._parts: list[tuple[Product, slice] | np.ndarray[Any, Any]] = []
        for are_kernels, pairs in itertools.groupby(zip(tasks, spans, strict=True), lambda pair: isinstance(pair[0], Kernel)):
            if are_kernels:
                rows = [self._row(task, span) for task, span in pairs if isinstance(task, Kernel)]
                self._parts.append(np.array(rows, np.int64))
            else:
                self._parts += [(task, span) for task, span in pairs if isinstance(task, Product)]

    def _row(self, task: Kernel, span: slice) -> tuple[int, ...]:
        function = int(self._device.function(task.source, task.threads))
        return function, task.blocks, task.threads, span.start, 8 * (span.stop - span.start)

    def start(self, words: np.ndarray[Any, Any]) -> None:
        device = self._device
        device.enter()
        stream, where = device.stream, host_address(words)
        for part in self._parts:
            if isinstance(part, np.ndarray):
                status = launcher()(device.launch_kernel, host_address(part), len(part), where, stream)
                checked((driver.CUresult(status),))
            else:
                product, span = part
                device.library.start(product, words[span].tolist(), stream, device.library.workspace(stream))


class _Event:
    """An event of the driver, destroyed with the object."""

    def __init__(self, device: Cuda, timed: bool):
        self._device = device
        flags = driver.CUevent_flags
        self.handle = checked(driver.cuEventCreate(flags.CU_EVENT_DEFAULT if timed else flags.CU_EVENT_DISABLE_TIMING))

    def __del__(self) -> None:
        if hasattr(self, "handle") and driver is not None:  # modules are emptied when the interpreter ends
            with self._device.aside():
                driver.cuEventDestroy(self.handle)
