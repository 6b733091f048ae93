"""The representation of cotangents in a backward pass: arrays, if gradients have no graph, or tensors, if they have one.

The recorder has another form (``tracing.cotangents``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor, wrap
from ..ir.interp import DIRECT, Interpreter, current
from ..runtime.devices import USED


class Form(Protocol):
    """The conversion between tensors and the values that rules compute with.

    ``tensors``: whether nodes other than primitive applications receive tensors.
    """

    tensors: bool

    def interpreter(self) -> Interpreter:
        """The interpreter for the rules' primitives."""
        ...

    def take(self, t: Tensor) -> Any: ...

    def give(self, x: Any) -> Tensor: ...

    def number(self, x: np.generic) -> Any:
        """A saved number."""
        ...

    def result(self, y: np.ndarray, node: Any) -> Any:
        """A node's saved result."""
        ...

    def own(self, x: Any, given: Mapping[int, Any]) -> Any:
        """A cotangent for use as ``.grad``, in unshared memory. ``given`` are the cotangents that it was computed from."""
        ...


def own(x: Any, *given: Any) -> np.ndarray:
    """An array in unshared memory: ``x``, or a copy if it may be a view or is one of those ``given``."""
    if not isinstance(x, np.ndarray):
        return np.array(x)
    if x.base is not None:
        return x.copy()
    for g in given:
        if x is g:
            return x.copy()
    return x


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
        return own(x, *given.values())


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
        """The result as a tensor with this node as its history."""
        t = wrap(y)
        t._requires_grad, t._grad_fn, t._counter = True, node, node.counter
        if context.recorder is not None:
            context.recorder.identify(t)
        return t

    def own(self, x: Tensor, given: Mapping[int, Any]) -> Tensor:
        return x  # in-place changes of tensors are detected


class OnDevices(Tensors):
    """Tensors without a graph, of passes that may reach arrays on devices."""

    def own(self, x: Tensor, given: Mapping[int, Any]) -> Tensor:
        data = x._data
        shared = x._view is not None or any(np.may_share_memory(data, g._data) for g in given.values())
        return x.clone() if shared or not data.flags.c_contiguous else x


ARRAYS, TENSORS, ON_DEVICES = Arrays(), Tensors(), OnDevices()


def form_for(create_graph: bool) -> Form:
    """The form of a new backward pass. Arrays are NumPy's, so it is tensors as soon as there are arrays on devices."""
    if create_graph or (context.recorder is not None and context.anomaly):
        return TENSORS
    if context.recorder is not None:
        return TENSORS if USED else context.recorder.cotangents()
    return ON_DEVICES if USED else ARRAYS
