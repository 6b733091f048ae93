"""A CUDA device without a GPU, for tests: ``TRACER_CUDA=emulate``.

Its memory is not the host's: addresses are in a range that cannot be read or written, so an access by mistake ends the process.
Kernels are compiled to PTX, which an emulator runs, with checks of every access. NumPy computes products.
"""

from __future__ import annotations

import bisect
import functools
import mmap
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.types import DType
from .. import emulator
from ..compiler.kept_ptx import ptx
from .array import DeviceArray
from .device import Device

_TOTAL = int(os.environ.get("TRACER_CUDA_MEMORY", 4 << 30))  # bytes
_PAGE = 4096
_MOST_BLOCKS = 64  # of a launch: loops over the grid support any number, and each thread costs the emulator time


class EmulatedCuda(Device):
    def __init__(self, index: int, type: str = "cuda"):
        super().__init__(type, index, "emulated CUDA device", _TOTAL)
        # Addresses without memory: any access by the host is a fault.
        self._range = mmap.mmap(-1, 4 * _TOTAL, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=0)
        self._base = int(np.frombuffer(self._range, np.uint8).__array_interface__["data"][0])
        self._next = self._base
        self._free: dict[int, list[int]] = {}
        self._starts: list[int] = []  # of allocations, ascending
        self._memory: dict[int, np.ndarray[Any, Any]] = {}  # their bytes
        self._used = 0

    def reserve(self, nbytes: int) -> int:
        if self._used + nbytes > self.total_memory:
            raise MemoryError
        if found := self._free.get(nbytes):
            address = found.pop()
        else:
            address = self._next
            self._next += -(-(nbytes + _PAGE) // _PAGE) * _PAGE  # a gap, so that no access runs into the next
            if self._next > self._base + 4 * _TOTAL:
                raise MemoryError
        self._used += nbytes
        bisect.insort(self._starts, address)
        self._memory[address] = np.full(nbytes, 255, np.uint8)
        return address

    def release(self, address: int, nbytes: int) -> None:
        self._used -= nbytes
        self._starts.remove(address)
        del self._memory[address]
        self._free.setdefault(nbytes, []).append(address)

    def bytes_at(self, address: int, nbytes: int | None = None) -> np.ndarray[Any, Any]:
        """The memory from an address on, to the end of its allocation. Raises RuntimeError for an address outside all."""
        k = bisect.bisect_right(self._starts, address) - 1
        start = self._starts[k] if k >= 0 else 0
        memory = self._memory.get(start)
        if memory is None or address - start + (nbytes or 0) > memory.size:
            raise RuntimeError(f"CUDA error: an illegal memory access was encountered: {nbytes} bytes at {address:#x}")
        offset = address - start
        return memory[offset:] if nbytes is None else memory[offset : offset + nbytes]

    def read(self, address: int, nbytes: int) -> np.ndarray[Any, Any]:
        return self.bytes_at(address, nbytes).copy()

    def write(self, address: int, array: np.ndarray[Any, Any]) -> None:
        self.bytes_at(address, array.nbytes)[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def copy(self, to: int, source: int, nbytes: int) -> None:
        self.bytes_at(to, nbytes)[:] = self.bytes_at(source, nbytes).copy()

    def prepare(self, source: str, launch: Sequence[int]) -> None:
        _kernel(source, launch[1])

    def launch(self, source: str, launch: Sequence[int], arguments: Sequence[int]) -> None:
        self.run(_kernel(source, launch[1]), launch, arguments)

    def run(self, kernel: emulator.Kernel, launch: Sequence[int], arguments: Sequence[int]) -> None:
        """Runs a kernel."""
        blocks, threads = launch
        given: list[Any] = list(arguments)
        pointers = [k for k, a in enumerate(arguments) if self._base <= a < self._next]
        for k in pointers:
            given[k] = self.bytes_at(arguments[k])
        results = emulator.launch(kernel, given, min(blocks, _MOST_BLOCKS), threads)
        for k, result in zip(pointers, results, strict=True):
            given[k][:] = result[: given[k].size]

    def multiplies(self, dtype: DType) -> bool:
        return True

    def product(self, a: DeviceArray, b: DeviceArray, out: DeviceArray, ta: bool, tb: bool) -> None:
        x, y = self._elements(a), self._elements(b)
        x, y = (x.swapaxes(-1, -2) if ta else x), (y.swapaxes(-1, -2) if tb else y)
        wide = np.float32 if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x.dtype
        with np.errstate(all="ignore"):
            self._elements(out)[...] = np.matmul(x.astype(wide), y.astype(wide))

    def _elements(self, array: DeviceArray) -> np.ndarray[Any, Any]:
        return self.bytes_at(array.address, array.nbytes).view(array.dtype).reshape(array.shape)

    def synchronize(self) -> None:
        """Nothing is under way: every call has finished when it returns."""


@functools.lru_cache(maxsize=4096)
def _kernel(source: str, threads: int) -> emulator.Kernel:
    return emulator.Kernel(ptx(source, threads))
