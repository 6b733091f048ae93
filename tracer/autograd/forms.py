"""What a backward pass computes with: arrays, where gradients have no graph, or tensors, where they have one.

A recorder has a form of its own (``tracing.cotangents``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ..context import context
from ..ir.interp import DIRECT, Interpreter, current
from ..tensor import Tensor, wrap


class Form(Protocol):
    """How a tensor becomes what rules compute with, and the way back.

    ``tensors``: whether nodes that are no applications of primitives are given tensors.
    """

    tensors: bool

    def interpreter(self) -> Interpreter:
        """What applies the rules' primitives."""
        ...

    def take(self, t: Tensor) -> Any: ...

    def give(self, x: Any) -> Tensor: ...

    def number(self, x: np.generic) -> Any:
        """A number that was saved."""
        ...

    def result(self, y: np.ndarray, node: Any) -> Any:
        """The result of a node, which it saved."""
        ...

    def own(self, x: Any, given: Mapping[int, Any]) -> Any:
        """A cotangent that becomes a ``.grad``, in memory that nothing else shares. ``given`` are those it was made of."""
        ...


class Arrays:
    tensors = False

    def interpreter(self) -> Interpreter:
        return DIRECT

    def take(self, t: Tensor) -> np.ndarray:
        return t._data

    def give(self, x: Any) -> Tensor:
        return wrap(x)

    def number(self, x: np.generic) -> np.generic:
        return x

    def result(self, y: np.ndarray, node: Any) -> np.ndarray:
        return y

    def own(self, x: Any, given: Mapping[int, Any]) -> np.ndarray:
        if not isinstance(x, np.ndarray):
            return np.array(x)
        if x.base is not None:
            return x.copy()
        for g in given.values():
            if x is g:
                return x.copy()
        return x


class Tensors:
    tensors = True

    def interpreter(self) -> Interpreter:
        return current()

    def take(self, t: Tensor) -> Tensor:
        return t

    def give(self, x: Tensor) -> Tensor:
        return x

    def number(self, x: np.generic) -> Tensor:
        t = wrap(np.array(x))
        if context.recorder is not None:
            context.recorder.constant(t)
        return t

    def result(self, y: np.ndarray, node: Any) -> Tensor:
        """The result as a tensor whose history is the node."""
        t = wrap(y)
        t._requires_grad, t._grad_fn, t._counter = True, node, node.counter
        if context.recorder is not None:
            context.recorder.identify(t)
        return t

    def own(self, x: Tensor, given: Mapping[int, Any]) -> Tensor:
        return x  # a tensor that is changed in place says so


ARRAYS, TENSORS = Arrays(), Tensors()


def form_for(create_graph: bool) -> Form:
    """The form of a backward pass that starts now."""
    if create_graph or (context.recorder is not None and context.anomaly):
        return TENSORS
    return ARRAYS if context.recorder is None else context.recorder.cotangents()
