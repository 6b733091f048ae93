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
from .device import Kernel, Product, Task


class _Packed:
    """The arguments of a kernel as one block, in the form of the driver's parameter ``extra``. The words must live on."""

    def __init__(self, words: np.ndarray[Any, Any]):
        self._size = ctypes.c_size_t(words.nbytes)
        # CU_LAUNCH_PARAM_BUFFER_POINTER, the block, CU_LAUNCH_PARAM_BUFFER_SIZE, its size, CU_LAUNCH_PARAM_END
        self._extra = (ctypes.c_void_p * 5)(1, host_address(words), 2, ctypes.addressof(self._size), 0)
        self.address = ctypes.addressof(self._extra)


_KEPT = 2  # executable graphs: a result's memory is often used in turn with that of the result before


class _Bound:
    """An executable graph, the words that are its arguments, and the stream whose workspace its products use."""

    def __init__(self, executable: Any, words: np.ndarray[Any, Any], stream: int):
        self.executable, self.words, self.stream = executable, words, stream


class CudaGraph:
    def __init__(self, device: Cuda, tasks: Sequence[Task], spans: Sequence[slice], after: Sequence[Sequence[int]]):
        self._device, self._tasks, self._spans, self._after = device, tasks, spans, _one_by_one(tasks, after)
        self._owner = np.repeat(np.arange(len(tasks)), [span.stop - span.start for span in spans])  # the task of each word
        self._first = spans[0].start
        self._products = [i for i, task in enumerate(tasks) if isinstance(task, Product)]
        self._nodes: list[Any] = []
        self._bound: list[_Bound] = []  # the one that was used last is the last one

    def start(self, words: np.ndarray[Any, Any]) -> None:
        self._device.enter()
        stream = self._device.stream
        given = words[self._first : self._first + len(self._owner)]
        bound = next((b for b in self._bound if b.stream == stream and np.array_equal(b.words, given)), None)
        if bound is None:
            if not self._nodes:
                self._build(words, stream)
            new = len(self._bound) < _KEPT
            bound = _Bound(checked(driver.cuGraphInstantiate(self._graph, 0)), *self._built) if new else self._bound.pop(0)
            self._bind(bound, words, stream)
        else:
            self._bound.remove(bound)
        self._bound.append(bound)
        checked(driver.cuGraphLaunch(bound.executable, stream))

    def _build(self, words: np.ndarray[Any, Any], stream: int) -> None:
        """Builds the graph with the first arguments."""
        self._graph = graph = checked(driver.cuGraphCreate(0))
        for task, span, after in zip(self._tasks, self._spans, self._after, strict=True):
            before = [self._nodes[j] for j in after] or None
            if isinstance(task, Kernel):
                parameters, _kept = self._parameters(task, words[span])
                node = driver.cuGraphAddKernelNode(graph, before, len(after), parameters)
            else:
                child = self._captured(task, words[span], stream)
                node = driver.cuGraphAddChildGraphNode(graph, before, len(after), child)  # copies the child
                checked(driver.cuGraphDestroy(child))
            self._nodes.append(checked(node))
        self._built = words[self._first : self._first + len(self._owner)].copy(), stream

    def _bind(self, bound: _Bound, words: np.ndarray[Any, Any], stream: int) -> None:
        """Sets the arguments that differ."""
        given = words[self._first : self._first + len(self._owner)]
        changed = dict.fromkeys(self._owner[given != bound.words].tolist())
        if stream != bound.stream:
            changed |= dict.fromkeys(self._products)
        for i in changed:
            self._set(bound.executable, i, words[self._spans[i]], stream)
        bound.words, bound.stream = given.copy(), stream

    def _set(self, executable: Any, i: int, arguments: np.ndarray[Any, Any], stream: int) -> None:
        """Sets the arguments of a task."""
        task, node = self._tasks[i], self._nodes[i]
        if isinstance(task, Kernel):
            parameters, _kept = self._parameters(task, arguments)
            checked(driver.cuGraphExecKernelNodeSetParams(executable, node, parameters))
        else:
            child = self._captured(task, arguments, stream)
            checked(driver.cuGraphExecChildGraphNodeSetParams(executable, node, child))
            checked(driver.cuGraphDestroy(child))

    def _parameters(self, task: Kernel, arguments: np.ndarray[Any, Any]) -> tuple[Any, _Packed]:
        """The description of a kernel's node, and the block of arguments, which must live until it has been passed on."""
        parameters, packed = driver.CUDA_KERNEL_NODE_PARAMS(), _Packed(arguments)
        parameters.func = self._device.function(task.source, task.threads)
        parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ = task.blocks, 1, 1
        parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ = task.threads, 1, 1
        parameters.extra = packed.address
        return parameters, packed

    def _captured(self, task: Product, arguments: np.ndarray[Any, Any], stream: int) -> Any:
        """The library's work for a product, as a graph."""
        library = self._device.library
        workspace, capturing = library.workspace(stream), library.capturing_stream
        with library.capturing:
            checked(driver.cuStreamBeginCapture(capturing, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED))
            try:
                library.start(task, arguments.tolist(), capturing, workspace)
            finally:
                graph = driver.cuStreamEndCapture(capturing)
            return checked(graph)

    def __del__(self) -> None:
        if hasattr(self, "_graph") and driver is not None:  # modules are emptied when the interpreter ends
            self._device.enter()
            for bound in self._bound:
                driver.cuGraphExecDestroy(bound.executable)
            driver.cuGraphDestroy(self._graph)


def _one_by_one(tasks: Sequence[Task], after: Sequence[Sequence[int]]) -> list[list[int]]:
    """The tasks' predecessors; a product also follows the one before it."""
    found = [list(before) for before in after]
    products = [i for i, task in enumerate(tasks) if isinstance(task, Product)]
    for earlier, later in itertools.pairwise(products):
        if earlier not in found[later]:
            found[later].append(earlier)
    return found
