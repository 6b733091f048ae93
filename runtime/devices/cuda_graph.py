"""Tasks as a CUDA graph: one call starts them all, and those that do not depend on one another run at the same time.

Kernels are nodes whose arguments are set when they change (``cuGraphExecKernelNodeSetParams``). A product of cuBLASLt is a
child graph, captured from the library's call; if its addresses change, that call alone is captured again. The products of a
stream share one workspace, so each follows the one before.

A launch copies the arguments, so setting them does not disturb launches that have not finished. Launches of one graph follow
one another.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from cuda.bindings import driver

from .cuda import Cuda, Packed, checked
from .device import Kernel, Product, Task


class CudaGraph:
    def __init__(self, device: Cuda, tasks: Sequence[Task], spans: Sequence[slice], after: Sequence[Sequence[int]]):
        self._device, self._tasks, self._spans, self._after = device, tasks, spans, _one_by_one(tasks, after)
        self._owner = np.repeat(np.arange(len(tasks)), [span.stop - span.start for span in spans])  # the task of each word
        self._first = spans[0].start
        self._bound: np.ndarray[Any, Any] | None = None
        self._nodes: list[Any] = []
        self._stream = 0  # whose workspace the products use

    def start(self, words: np.ndarray[Any, Any]) -> None:
        device = self._device
        device.enter()
        stream = device.stream
        given = words[self._first : self._first + len(self._owner)]
        moved, self._stream = stream != self._stream, stream
        if self._bound is None:
            self._instantiate(words)
        else:
            changed = dict.fromkeys(self._owner[given != self._bound].tolist())
            if moved:
                changed |= {i: None for i, task in enumerate(self._tasks) if isinstance(task, Product)}
            for i in changed:
                self._set(i, words[self._spans[i]])
        self._bound = given.copy()
        checked(driver.cuGraphLaunch(self._executable, stream))

    def _instantiate(self, words: np.ndarray[Any, Any]) -> None:
        self._graph = graph = checked(driver.cuGraphCreate(0))
        for task, span, after in zip(self._tasks, self._spans, self._after, strict=True):
            before = [self._nodes[j] for j in after] or None
            count = len(after)
            if isinstance(task, Kernel):
                parameters, _kept = self._parameters(task, words[span])
                node = driver.cuGraphAddKernelNode(graph, before, count, parameters)
            else:
                child = self._captured(task, words[span])
                node = driver.cuGraphAddChildGraphNode(graph, before, count, child)  # copies the child
                checked(driver.cuGraphDestroy(child))
            self._nodes.append(checked(node))
        self._executable = checked(driver.cuGraphInstantiate(graph, 0))

    def _set(self, i: int, arguments: np.ndarray[Any, Any]) -> None:
        """Sets the arguments of a task."""
        task, node = self._tasks[i], self._nodes[i]
        if isinstance(task, Kernel):
            parameters, _kept = self._parameters(task, arguments)
            checked(driver.cuGraphExecKernelNodeSetParams(self._executable, node, parameters))
        else:
            child = self._captured(task, arguments)
            checked(driver.cuGraphExecChildGraphNodeSetParams(self._executable, node, child))
            checked(driver.cuGraphDestroy(child))

    def _parameters(self, task: Kernel, arguments: np.ndarray[Any, Any]) -> tuple[Any, Packed]:
        """The description of a kernel's node, and the block of arguments, which must live until it has been passed on."""
        parameters, packed = driver.CUDA_KERNEL_NODE_PARAMS(), Packed(arguments)
        parameters.func = self._device.function(task.source, task.threads)
        parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ = task.blocks, 1, 1
        parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ = task.threads, 1, 1
        parameters.extra = packed.address
        return parameters, packed

    def _captured(self, task: Product, arguments: np.ndarray[Any, Any]) -> Any:
        """The library's work for a product, as a graph."""
        library = self._device.library
        workspace = library.workspace(self._stream)
        stream = library.capturing_stream
        checked(driver.cuStreamBeginCapture(stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED))
        try:
            library.start(task, arguments.tolist(), stream, workspace)
        finally:
            graph = driver.cuStreamEndCapture(stream)
        return checked(graph)

    def __del__(self) -> None:
        if hasattr(self, "_graph") and not sys.is_finalizing():  # then modules are gone, and the driver ends with the process
            self._device.enter()
            if hasattr(self, "_executable"):
                driver.cuGraphExecDestroy(self._executable)
            driver.cuGraphDestroy(self._graph)


def _one_by_one(tasks: Sequence[Task], after: Sequence[Sequence[int]]) -> list[list[int]]:
    """The tasks' predecessors; a product also follows the one before it."""
    found = [list(before) for before in after]
    products = [i for i, task in enumerate(tasks) if isinstance(task, Product)]
    for earlier, later in itertools.pairwise(products):
        if earlier not in found[later]:
            found[later].append(earlier)
    return found
