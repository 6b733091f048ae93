"""A backward pass while a trace is recorded: a cotangent is an array paired with its value in the graph.

Gradients without ``create_graph`` have no autograd graph, so the rules' primitives need not go through tensors, which would
do unnecessary work: each primitive computes its array and is appended to the graph. Only hooks, and nodes that are not
applications of primitives, receive tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.graph import Value
from ..ir.halves import compute
from ..ir.interp import Interpreter
from ..ir.primitive import Primitive
from ..ir.types import DType, dtype_of, type_of

if TYPE_CHECKING:
    from .recorder import Recorder


class Recorded:
    """An array and its value; None once the recording has ended."""

    __slots__ = ("array", "value")

    def __init__(self, array: Any, value: Value | None):
        self.array, self.value = array, value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> DType:
        return dtype_of(self.array.dtype)


class Cotangents:
    """The form of one backward pass (``autograd.forms``), and the interpreter of its rules."""

    tensors = False

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        recorder.locations.visits(None)
        self.loc = recorder.locations.here()

    def interpreter(self) -> Interpreter:
        return self

    def bind(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Recorded:
        found: Recorded = self.recorder.apart(self._bind, primitive, args, attrs)
        return found

    def _bind(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Recorded:
        array = compute(primitive, primitive.impl, [a.array if a.__class__ is Recorded else a for a in args], attrs)
        self.recorder.builder.loc = self.recorder.locations.gradient(self.loc)
        operands = [a.value if a.__class__ is Recorded else a for a in args]
        return Recorded(array, self.recorder.bind(primitive, operands, attrs, type_of(array)))

    def take(self, t: Tensor) -> Recorded:
        return Recorded(t._data, self.recorder.value(t))

    def give(self, x: Recorded) -> Tensor:
        """On separate memory: a hook may change the tensor, and the pass continues with the original."""
        x = self.bind(P.copy, (x,), {})
        t = wrap(x.array)
        self.recorder.make(t, x.value)
        return t

    def number(self, x: np.generic) -> Recorded:
        return Recorded(x, self.recorder.number(x))

    def result(self, y: np.ndarray, node: Any) -> Recorded:
        return Recorded(y, self.recorder.value_of(y))

    def own(self, x: Recorded, given: Mapping[int, Any]) -> Recorded:
        return x  # ``give`` copies
