"""A graph as a differentiable function that NumPy computes: nothing is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..codegen.arrays import array_function
from ..core.context import context
from ..core.tensor import Tensor, wrap
from ..ir.autodiff import vjp
from ..ir.graph import Graph
from .graph_function import GraphFunction
from .split import split


class NumpyFunction(GraphFunction):
    """NumPy computes it as eager code does, with bitwise the same results, but without a tensor for each value."""

    @cached_property
    def graph(self) -> Graph:
        return self.recorded

    @cached_property
    def waits(self) -> bool:  # type: ignore[override]
        """True if a saved value, which second derivatives recompute, depends on an input that eager autograd does not save."""
        graph, saving = self.as_written, self._saving(frozenset(range(len(self.outputs))), frozenset(self.active))
        needed = set().union(*saving.values())
        for op in reversed(graph.ops):
            if not needed.isdisjoint(op.results):
                needed.update(op.operands)
        return any(v in needed for i, v in enumerate(graph.inputs) if i not in self._saved)

    @cached_property
    def joint(self) -> Graph:
        return vjp(self.graph, self.active, self.outputs)

    @cached_property
    def _split(self) -> tuple[Graph, Graph, list[int]]:
        unsaved = [i for i in range(len(self.graph.inputs)) if i not in self._saved]
        return split(self.joint, self.graph, unsaved, recompute=False)

    @cached_property
    def forward(self) -> Any:
        return array_function(self.parts[0])

    @cached_property
    def backward(self) -> Any:
        function = array_function(self.parts[1])
        return lambda arrays: function(*arrays)

    @cached_property
    def plain(self) -> Any:
        return array_function(self.recorded)

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        if context.recorder is not None:
            return self._inline(tensors)
        arrays = [t._data for t in tensors]
        if context.grad_enabled and self.outputs:
            for i in self.active:
                if tensors[i]._requires_grad:
                    return self.call(arrays, tensors)
        return [wrap(a) for a in self.plain(*arrays)]

    def _run(self, executable: Any, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        results: Sequence[np.ndarray] = executable(*arrays)
        return results
