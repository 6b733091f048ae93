"""Tasks as a CUDA graph: one call starts them all, and those that do not depend on one another run at the same time.

Kernels are nodes whose arguments are set when they change (``cuGraphExecKernelNodeSetParams``). A product of cuBLASLt is a
child graph, captured from the library's call; if its addresses change, that call alone is captured again. The products of a
stream share one workspace, so each follows the one before.

A launch copies the arguments, so setting them does not disturb launches that have not finished. Launches of one graph follow
one another.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from cuda.bindings import driver

from ..support.objects import address as host_address
from .cuda import Cuda, checked
from .device import DeviceError, Kernel, NotStarted, Product, Task

_KEPT = 2  # executable graphs: a result's memory is often used in turn with that of the result before


class _Arguments:
    """The arguments of a kernel as one block, in the form of the driver's parameter ``extra``. The words must live on."""

    def __init__(self, words: np.ndarray[Any, Any]):
        self._size = ctypes.c_size_t(words.nbytes)
        # CU_LAUNCH_PARAM_BUFFER_POINTER, the block, CU_LAUNCH_PARAM_BUFFER_SIZE, its size, CU_LAUNCH_PARAM_END
        self._extra = (ctypes.c_void_p * 5)(1, host_address(words), 2, ctypes.addressof(self._size), 0)
        self.address = ctypes.addressof(self._extra)


class _Bound:
    """An executable graph, the words that are its arguments, and the stream whose workspace its products use."""

    def __init__(self, device: Cuda, executable: Any, words: np.ndarray[Any, Any], stream: int):
        self._device, self.executable, self.words, self.stream = device, executable, words, stream

    def __del__(self) -> None:
        if driver is not None:  # modules are emptied when the interpreter ends
            with self._device.aside():
                driver.cuGraphExecDestroy(self.executable)


class _Built:
    """A graph with the first arguments, and its nodes."""

    def __init__(self, device: Cuda, words: np.ndarray[Any, Any], stream: int):
        self._device, self.words, self.stream = device, words, stream
        self.graph = checked(driver.cuGraphCreate(0))
        self.nodes: list[Any] = []

    def __del__(self) -> None:
        if hasattr(self, "graph") and driver is not None:
            with self._device.aside():
                driver.cuGraphDestroy(self.graph)


class CudaGraph:
    def __init__(self, device: Cuda, tasks: Sequence[Task], spans: Sequence[slice], after: Sequence[Sequence[int]]):
        self._device, self._tasks, self._after = device, tasks, _one_by_one(tasks, after)
        first = spans[0].start
        self._words = slice(first, spans[-1].stop)
        self._spans = [slice(span.start - first, span.stop - first) for span in spans]
        self._owner = np.repeat(np.arange(len(tasks)), [span.stop - span.start for span in spans])  # the task of each word
        self._products = [i for i, task in enumerate(tasks) if isinstance(task, Product)]
        self._built: _Built | None = None
        self._bound: list[_Bound] = []  # the one that was used last is the last one

    def start(self, words: np.ndarray[Any, Any]) -> None:
        device = self._device
        device.enter()
        stream, given = device.stream, words[self._words]
        bound = next((b for b in self._bound if b.stream == stream and np.array_equal(b.words, given)), None)
        if bound is not None:
            self._bound.remove(bound)
        else:
            try:
                bound = self._bound.pop(0) if len(self._bound) == _KEPT else self._instantiated(given, stream)
                self._bind(bound, given, stream)  # if it fails, this one is not used again
            except MemoryError:
                raise NotStarted("no memory is left for a CUDA graph") from None
            except DeviceError as e:
                raise NotStarted(str(e)) from e
        self._bound.append(bound)
        checked(driver.cuGraphLaunch(bound.executable, stream))

    def _instantiated(self, words: np.ndarray[Any, Any], stream: int) -> _Bound:
        """A new executable graph."""
        if self._built is None:
            self._built = self._build(words.copy(), stream)
        built = self._built
        return _Bound(self._device, checked(driver.cuGraphInstantiate(built.graph, 0)), built.words, built.stream)

    def _build(self, words: np.ndarray[Any, Any], stream: int) -> _Built:
        built = _Built(self._device, words, stream)
        for task, span, after in zip(self._tasks, self._spans, self._after, strict=True):
            before = [built.nodes[j] for j in after] or None
            if isinstance(task, Kernel):
                parameters, _kept = self._parameters(task, words[span])
                node = driver.cuGraphAddKernelNode(built.graph, before, len(after), parameters)
            else:
                child = self._captured(task, words[span], stream)
                node = driver.cuGraphAddChildGraphNode(built.graph, before, len(after), child)  # copies the child
                driver.cuGraphDestroy(child)
            built.nodes.append(checked(node))
        return built

    def _bind(self, bound: _Bound, words: np.ndarray[Any, Any], stream: int) -> None:
        """Sets the arguments that differ."""
        changed = dict.fromkeys(self._owner[words != bound.words].tolist())
        if stream != bound.stream:
            changed |= dict.fromkeys(self._products)
        for i in changed:
            self._set(bound.executable, i, words[self._spans[i]], stream)
        bound.words, bound.stream = words.copy(), stream

    def _set(self, executable: Any, i: int, arguments: np.ndarray[Any, Any], stream: int) -> None:
        """Sets the arguments of a task."""
        assert self._built is not None
        task, node = self._tasks[i], self._built.nodes[i]
        if isinstance(task, Kernel):
            parameters, _kept = self._parameters(task, arguments)
            checked(driver.cuGraphExecKernelNodeSetParams(executable, node, parameters))
        else:
            child = self._captured(task, arguments, stream)
            status = driver.cuGraphExecChildGraphNodeSetParams(executable, node, child)
            driver.cuGraphDestroy(child)
            checked(status)

    def _parameters(self, task: Kernel, arguments: np.ndarray[Any, Any]) -> tuple[Any, _Arguments]:
        """The description of a kernel's node, and the block of arguments, which must live until it has been passed on."""
        parameters, block = driver.CUDA_KERNEL_NODE_PARAMS(), _Arguments(arguments)
        parameters.func = self._device.function(task.source, task.threads)
        parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ = task.blocks, 1, 1
        parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ = task.threads, 1, 1
        parameters.extra = block.address
        return parameters, block

    def _captured(self, task: Product, arguments: np.ndarray[Any, Any], stream: int) -> Any:
        """The library's work for a product, as a graph."""
        library = self._device.library
        workspace, capturing = library.workspace(stream), library.capturing_stream
        with self._device.capturing:
            checked(driver.cuStreamBeginCapture(capturing, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED))
            try:
                library.start(task, arguments.tolist(), capturing, workspace)
            except BaseException:
                status, graph = driver.cuStreamEndCapture(capturing)
                if status == driver.CUresult.CUDA_SUCCESS:
                    driver.cuGraphDestroy(graph)
                raise
            return checked(driver.cuStreamEndCapture(capturing))


def _one_by_one(tasks: Sequence[Task], after: Sequence[Sequence[int]]) -> list[list[int]]:
    """The tasks' predecessors; a product also follows the one before it."""
    found = [list(before) for before in after]
    products = [i for i, task in enumerate(tasks) if isinstance(task, Product)]
    for earlier, later in itertools.pairwise(products):
        if earlier not in found[later]:
            found[later].append(earlier)
    return found
