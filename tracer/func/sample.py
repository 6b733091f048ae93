"""The graph of a function of one sample, for ``vmap`` and Jacobians: its operations are then applied to all samples at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..autograd.modes import set_grad_enabled
from ..autograd.node import BackwardNode
from ..core.context import context
from ..core.tensor import Tensor, wrap
from ..ir.batching import apply_to_batch, repeated
from ..ir.graph import Value
from ..tracing.recorder import Recorder
from ..tracing.sources import Source
from ..utils._pytree import TreeSpec, tree_flatten


class _Sample(Recorder):
    """Records the run for one sample, perhaps during another recording, ``outer``.

    Tensors that the function reaches otherwise are the same for all samples. Python numbers are those of the outer recording;
    none depends on the sample, as reading an element is an event, which ends the attempt.
    """

    def __init__(self, outer: Recorder | None):
        super().__init__("sample")
        self.before: list[tuple[Tensor, np.ndarray]] = []
        self.outer = outer
        if outer is not None:
            self.floats, self.plain_numbers, self.prints = outer.floats, outer.plain_numbers, outer.prints
            self.apart, self.generators = outer.apart, outer.generators
            self.captures_output = outer.captures_output
            for name in ("float_operand", "array_of", "rate", "decides", "called", "reads_clock"):
                setattr(self, name, getattr(outer, name))

    def input(self, t: Tensor, source: Source, name: str = "") -> Value:
        if source.kind != "argument":
            self.before.append((t, t._data.copy()))
        return super().input(t, source, name)

    def _meet(self, t: Tensor) -> None:
        """``t`` is a new tensor on an array that a node made outside has saved."""
        if self.outer is not None:
            self.outer.identify(t)
        self.input(t, Source("captured", holder=t))

    def identify(self, t: Tensor) -> None:
        super().identify(t) if self.has_array(t._data) else self._meet(t)

    def value_of(self, data: np.ndarray) -> Value:
        if not self.has_array(data):
            self._meet(wrap(data))
        return super().value_of(data)

    def visits(self, node: BackwardNode) -> None:
        """A backward pass may go on in a graph made outside: what its nodes saved is the same for all samples."""

    def _element(self, t: Tensor, value: float) -> None:
        self.observe(t, "item()")

    def _array_of(self, t: Tensor) -> None:
        self.observe(t, "tolist()")

    def array(self, t: Tensor) -> np.ndarray:
        self.observe(t, "numpy()")
        return t._data.view()

    def undo(self) -> None:
        """Tensors made outside get the elements and gradients that they had before the run."""
        for t, data in reversed(self.before):
            if id(t._root()) in self.written:
                np.copyto(t._data, data)
        for t, grad in self.grads_read.values():
            t._grad = grad


def at_once(
    func: Callable[..., Any], rows: Sequence[Any], values: Sequence[Any], dims: Sequence[int | None], count: int
) -> tuple[list[tuple[Any, bool]], TreeSpec] | None:
    """The results of ``func(rows)`` for all samples, and their structure: each result with whether its first axis is the batch.

    ``rows`` are the values for the first sample, ``dims`` the axes along which ``values`` are sliced. None if the function
    does more than compute results from tensors: it reads elements, changes tensors made outside, or draws random numbers.
    Then nothing has changed.
    """
    outer = context.recorder
    recorder = _Sample(outer)
    given: list[Any] = []
    batches: list[Tensor] = []
    for row, value, dim in zip(rows, values, dims, strict=True):
        if dim is None:
            given.append(value)
            continue
        new = wrap(row._data.copy())
        new._requires_grad = value.requires_grad
        recorder.input(new, Source("argument", len(batches)))
        batches.append(ops.movedim(value, dim, 0))
        given.append(new)
    own = list(recorder.inputs)
    try:
        context.recorder = recorder
        results, spec = tree_flatten(func(given))
        outs = [recorder.value(t) for t in results] if all(isinstance(t, Tensor) for t in results) else []
    finally:
        context.recorder = outer
        if outer is not None and outer.reason:  # it has given up meanwhile
            context.recorder = None
    unclear = recorder.failure or recorder.reason or recorder.events or recorder.grads_written
    changes = any(id(t) in recorder.written for t in recorder.inputs)
    if unclear or changes or not outs or any(v is None for v in outs):
        recorder.undo()
        return None
    graph = recorder.builder.finish(outs)
    captured = [(t, False) for t in recorder.inputs[len(own) :]]
    with set_grad_enabled(any(t.requires_grad for t in results)):
        found = apply_to_batch(graph, [*((b, True) for b in batches), *captured], count)
    return [(x if t.requires_grad else x.detach(), b) for (x, b), t in zip(found, results, strict=True)], spec


def with_batch(x: Tensor, batched: bool, count: int) -> Tensor:
    """A result with the batch as its first axis."""
    return x if batched else repeated(x, count)  # type: ignore[no-any-return]
