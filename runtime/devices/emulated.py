"""A CUDA device without a GPU, for tests: ``TRACER_CUDA=emulate``.

Its memory is not the host's: addresses are in a range that cannot be read or written, so an access by mistake ends the process.
Kernels are compiled to PTX, which an emulator runs, with checks of every access. NumPy computes products.

Work is done when it is started, and its order is checked (``emulator.Order``): work that another stream's or graph's work
should follow, and does not, raises ``Unordered``. Memory that was freed must not be accessed, even if the pool keeps it. A copy
that is not waited for has arrived after a synchronisation. Until then the host array holds filler bytes.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import mmap
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.types import DType, TensorType
from .. import emulator
from ..compiler.kept_ptx import ptx
from .device import Device, DeviceError, Kernel, Product, Task
from .pool import Pool

_TOTAL = int(os.environ.get("TRACER_CUDA_MEMORY", 4 << 30))  # bytes
_PAGE = 4096
_MOST_BLOCKS = 64  # of a launch: loops over the grid support any number, and each thread costs the emulator time


class _Watched(Pool):
    """A pool that notes which allocations are in use."""

    def __init__(self, used: set[int], *given: Any):
        super().__init__(*given)
        self._in_use = used

    def allocate(self, nbytes: int, stream: int = 0) -> int:
        address = super().allocate(nbytes, stream)
        self._in_use.add(address)
        return address

    def free(self, address: int, nbytes: int, stream: int = 0, events: Sequence[Any] = ()) -> None:
        self._in_use.discard(address)
        super().free(address, nbytes, stream, events)


@dataclass
class _Event:
    clock: emulator.Clock
    time: float


@dataclass
class _Copy:
    """A copy between the device and page-locked memory: what arrives there, or what must not change before it was read."""

    work: emulator.Work
    host: np.ndarray[Any, Any]
    data: np.ndarray[Any, Any]
    to_host: bool


class EmulatedCuda(Device):
    def __init__(self, index: int, type: str = "cuda"):
        # Addresses without memory: any access by the host is a fault.
        self._range = mmap.mmap(-1, 4 * _TOTAL, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=0)
        self._base = int(np.frombuffer(self._range, np.uint8).__array_interface__["data"][0])
        self._next = self._base
        self._free: dict[int, list[int]] = {}
        self._starts: list[int] = []  # of allocations, ascending
        self._memory: dict[int, np.ndarray[Any, Any]] = {}  # their bytes
        self._used = 0
        self.used: set[int] = set()  # the addresses of allocations that were not freed
        self._pages: dict[int, np.ndarray[Any, Any]] = {}  # page-locked memory of the host
        self._numbers = itertools.count(16)  # of streams: 0 to 2 mean default ones
        self.order = emulator.Order()
        self._copies: list[_Copy] = []
        super().__init__(type, index, "emulated CUDA device", _TOTAL)

    def new_pool(self, *given: Any) -> Pool:
        return _Watched(self.used, *given, self.happened)

    # Memory.

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

    def reserve_host(self, nbytes: int) -> int:
        page = np.empty(nbytes, np.uint8)
        address = page.ctypes.data
        self._pages[address] = page
        return address

    def release_host(self, address: int, nbytes: int) -> None:
        del self._pages[address]

    def bytes_at(self, address: int, nbytes: int | None = None) -> np.ndarray[Any, Any]:
        """The memory from an address on, to the end of its allocation. Raises DeviceError for an address outside all."""
        k = bisect.bisect_right(self._starts, address) - 1
        start = self._starts[k] if k >= 0 else 0
        memory = self._memory.get(start)
        if memory is None or address - start + (nbytes or 0) > memory.size:
            raise DeviceError(f"CUDA error: an illegal memory access was encountered: {nbytes} bytes at {address:#x}")
        if start not in self.used:
            raise DeviceError(f"CUDA error: memory that was freed is accessed: {nbytes} bytes at {address:#x}")
        offset = address - start
        return memory[offset:] if nbytes is None else memory[offset : offset + nbytes]

    def _noted(self, work: emulator.Work, address: int, nbytes: int, *, written: bool) -> np.ndarray[Any, Any]:
        """The memory, which some work reads or writes."""
        yes, no = np.ones(nbytes, bool), np.zeros(nbytes, bool)
        memory = self.bytes_at(address, nbytes)
        self.order.access(work, address, *((no, yes) if written else (yes, no)))
        return memory

    def read(self, address: int, out: np.ndarray[Any, Any], wait: bool = True) -> None:
        work = self.order.start(self.stream, "a copy to the host")
        data = self._noted(work, address, out.nbytes, written=False).copy()
        host = out.reshape(-1).view(np.uint8)
        if wait:
            host[:] = data
            self.synchronize(self.stream)
        else:
            host[:] = 255
            self._copies.append(_Copy(work, host, data, to_host=True))

    def write(self, address: int, array: np.ndarray[Any, Any], wait: bool = True) -> None:
        work = self.order.start(self.stream, "a copy from the host")
        host = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._noted(work, address, array.nbytes, written=True)[:] = host
        if wait:
            self.synchronize(self.stream)
        else:
            self._copies.append(_Copy(work, host, host.copy(), to_host=False))

    def copy(self, to: int, source: int, nbytes: int) -> None:
        work = self.order.start(self.stream, "a copy")
        data = self._noted(work, source, nbytes, written=False).copy()
        self._noted(work, to, nbytes, written=True)[:] = data

    def fill(self, address: int, pattern: bytes, count: int) -> None:
        work = self.order.start(self.stream, "a fill")
        nbytes = len(pattern) * count
        self._noted(work, address, nbytes, written=True)[:] = np.frombuffer(pattern * count, np.uint8)

    # Tasks.

    def prepare(self, task: Task) -> None:
        if isinstance(task, Kernel):
            _compiled(task)

    def in_order(self, tasks: Sequence[Task], spans: Sequence[slice]) -> _InOrder:
        return _InOrder(self, tasks, spans)

    def run(self, work: emulator.Work, task: Task, arguments: np.ndarray[Any, Any]) -> None:
        """Does a piece of work."""
        if isinstance(task, Kernel):
            self.launch(work, _compiled(task), task.blocks, task.threads, arguments.tolist())
        else:
            self._multiply(work, task, arguments.tolist())

    def launch(self, work: emulator.Work, kernel: emulator.Kernel, blocks: int, threads: int, arguments: Sequence[int]) -> None:
        """Runs a kernel."""
        given: list[Any] = list(arguments)
        pointers = [k for k, a in enumerate(arguments) if self._base <= a < self._next]
        for k in pointers:
            given[k] = self.bytes_at(arguments[k])
        results = emulator.outcomes(kernel, given, min(blocks, _MOST_BLOCKS), threads)
        for k, result in zip(pointers, results, strict=True):
            self.order.access(work, arguments[k], result.read, result.written)
            given[k][result.written] = result.data[result.written]

    def multiplies(self, dtype: DType) -> bool:
        return True

    def _multiply(self, work: emulator.Work, product: Product, addresses: Sequence[int]) -> None:
        def elements(address: int, type: TensorType, written: bool = False) -> np.ndarray[Any, Any]:
            return self._noted(work, address, type.nbytes, written=written).view(type.dtype.numpy).reshape(type.shape)

        x, y, *bias = map(elements, addresses, product.operands)
        x, y = (x.swapaxes(-1, -2) if product.ta else x), (y.swapaxes(-1, -2) if product.tb else y)
        wide = np.float32 if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x.dtype
        with np.errstate(all="ignore"):
            result = np.matmul(x.astype(wide), y.astype(wide))
            result = result + bias[0].astype(wide) if bias else result
        elements(addresses[len(product.operands)], product.out, written=True)[...] = result

    def graph(self, tasks: Sequence[Task], spans: Sequence[slice], after: Sequence[Sequence[int]]) -> EmulatedGraph:
        return EmulatedGraph(self, tasks, spans, after)

    # Streams.

    def create_stream(self, priority: int) -> int:
        return next(self._numbers)

    def event(self, timed: bool = False) -> _Event:
        return _Event(self.order.clock(self.stream), time.perf_counter())

    def wait(self, event: _Event) -> None:
        self.order.wait(self.stream, event.clock)

    def happened(self, what: _Event | int) -> bool:
        return self.order.happened(what.clock if isinstance(what, _Event) else self.order.clock(what))

    def elapsed(self, start: _Event, end: _Event) -> float:
        return (end.time - start.time) * 1e3

    def synchronize(self, what: _Event | int | None = None) -> None:
        if what is None:
            self.order.synchronize()
        else:
            self.order.wait(emulator.HOST, what.clock if isinstance(what, _Event) else self.order.clock(what))
        known = self.order.clock(emulator.HOST)
        done = [c for c in self._copies if c.work.is_before(known)]
        self._copies = [c for c in self._copies if not c.work.is_before(known)]
        for copy in done:
            if copy.to_host:
                copy.host[:] = copy.data
            elif not np.array_equal(copy.host, copy.data):
                raise DeviceError("CUDA error: page-locked memory was changed before the copy from it had finished")


class _InOrder:
    """Tasks that are started one after the other."""

    def __init__(self, device: EmulatedCuda, tasks: Sequence[Task], spans: Sequence[slice]):
        self._device, self._tasks, self._spans = device, tasks, spans

    def start(self, words: np.ndarray[Any, Any]) -> None:
        device = self._device
        for task, span in zip(self._tasks, self._spans, strict=True):
            device.run(device.order.start(device.stream, _name(task)), task, words[span])


class EmulatedGraph:
    """Tasks with fixed edges. Each task is ordered only by them, and the graph's arguments are set when they change."""

    def __init__(self, device: EmulatedCuda, tasks: Sequence[Task], spans: Sequence[slice], after: Sequence[Sequence[int]]):
        self._device, self._tasks, self._spans, self._after = device, tasks, spans, after
        self.bound: np.ndarray[Any, Any] = np.zeros(0, np.int64)

    def bind(self, words: np.ndarray[Any, Any]) -> None:
        """Sets the tasks' arguments."""
        self.bound = words.copy()

    def start(self, words: np.ndarray[Any, Any]) -> None:
        if not np.array_equal(words, self.bound):
            self.bind(words)
        if not np.array_equal(words, self.bound):
            raise DeviceError("CUDA error: a graph was launched with arguments of an earlier call")
        order, stream = self._device.order, self._device.stream
        before = order.start(stream, "a graph").clock
        works: list[emulator.Work] = []
        for i, (task, span, after) in enumerate(zip(self._tasks, self._spans, self._after, strict=True)):
            place = f"step {i} of a graph in stream {stream}"  # graphs in one stream follow one another
            works.append(order.start(place, _name(task), [before, *(works[j].clock for j in after)]))
            self._device.run(works[-1], task, self.bound[span])
        order.wait(stream, emulator.joined(*(work.clock for work in works)))


def _name(task: Task) -> str:
    return "a kernel" if isinstance(task, Kernel) else "a product"


@functools.lru_cache(maxsize=4096)
def _compiled(task: Kernel) -> emulator.Kernel:
    return emulator.Kernel(ptx(task.source, task.threads))
