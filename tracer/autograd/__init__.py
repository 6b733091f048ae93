"""Reverse-mode differentiation of recorded operations: ``backward`` and ``grad``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np

from ..core.attributes import separate
from ..core.context import context
from ..core.device import beside, moved
from ..core.size import Size
from ..core.tensor import Tensor, wrap
from ..runtime.devices import USED
from . import forward_ad, functional, graph
from .anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from .edges import GradientEdge, find, type_of
from .engine import Edge, run, running
from .function import Function
from .gradcheck import gradcheck, gradgradcheck
from .modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
    unfollowed,
)

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


class _Engine:
    """The object that PyTorch programs know as ``Variable._execution_engine``."""

    @staticmethod
    def queue_callback(callback: Callable[[], Any]) -> None:
        """Calls ``callback()`` at the end of this thread's current backward pass. Raises RuntimeError outside one."""
        engine = running()
        if engine is None:
            raise RuntimeError("Final callbacks can only be installed during backward pass.")
        engine.callbacks.append(callback)


class _IsTensor(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_IsTensor):
    """A tensor on the memory of ``data``, with its shape and dtype; PyTorch's former autograd interface. All tensors are
    instances.

    Raises RuntimeError if ``requires_grad`` and the dtype is neither floating nor complex.
    """

    _execution_engine = _Engine()

    def __new__(cls, data: Tensor, requires_grad: bool = False) -> Any:
        out = separate(data.detach(), data)
        return out.requires_grad_() if requires_grad else out


def _list(x: Any) -> list[Any]:
    return [x] if isinstance(x, (Tensor, GradientEdge)) or x is None else list(x)


def _seeds(outputs: list[Any], given: Sequence[Tensor | None], batched: bool = False) -> list[Tensor]:
    """The initial cotangents; implicit ones only for scalars."""
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    seeds = []
    for i, (out, g) in enumerate(zip(outputs, given, strict=True)):
        if isinstance(out, Tensor) and not (out._requires_grad or out.requires_grad):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        type_ = type_of(out)
        if g is None:
            if type_ is None or (type_.shape and math.prod(type_.shape) != 1):
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if type_.dtype.is_complex:
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {type_.dtype}")
            if context.recorder is None:
                g = wrap(np.array(1, type_.dtype.numpy, ndmin=len(type_.shape)))
                if USED and isinstance(out, Tensor):
                    g = moved(g, out.device)
            else:
                from ..ops import ones

                with unfollowed():
                    g = ones(type_.shape, dtype=type_.dtype, device=beside(out) if isinstance(out, Tensor) else None)
        elif not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif type_ is not None and g.shape[batched:] != type_.shape:
            if batched:
                raise RuntimeError(
                    "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension. "
                    "The sizes of the remaining dimensions are expected to match the shape of corresponding output, but a "
                    f"mismatch was detected: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of "
                    f"{Size(type_.shape)}."
                )
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of "
                f"{Size(type_.shape)}."
            )
        elif type_ is not None and g.dtype is not type_.dtype:
            with unfollowed():
                g = g.to(type_.dtype)
        seeds.append(g)
    return seeds


def backward(
    tensors: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Tensor | Sequence[Tensor | None] | None = None,
    inputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge] | None = None,
) -> None:
    """Adds the gradients of ``tensors`` to the ``.grad`` of the leaves that they depend on (or of ``inputs``).

    ``grad_tensors`` are the cotangents, with the tensors' shapes; the default for a tensor with a single element is one.
    The graph is freed unless ``retain_graph`` (default: ``create_graph``). ``grad_variables`` is the old name of
    ``grad_tensors``. Gradients have the shapes and dtypes of the leaves. Raises RuntimeError for tensors that require no
    gradient, and for a graph that was freed.
    """
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only use "
                "`grad_tensors`."
            )
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        grad_tensors = grad_variables
    outputs = _list(tensors)
    if inputs is not None and len(_list(inputs)) == 0:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    wrt = None if inputs is None else _list(inputs)
    for t in wrt or ():
        if isinstance(t, Tensor) and not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors given as 'inputs' to backward does not require grad")
    seeds = _seeds(outputs, [None] * len(outputs) if grad_tensors is None else _list(grad_tensors))
    retain = create_graph if retain_graph is None else retain_graph
    for t in wrt or ():
        if isinstance(t, Tensor) and not t.is_leaf:
            t.retain_grad()
    places = None if wrt is None else [find(t) for t in wrt]
    run([find(t) for t in outputs], seeds, places, retain, create_graph, True)


@overload
def grad(
    outputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    inputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: Literal[False] | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]: ...
@overload
def grad(
    outputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    inputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]: ...
def grad(
    outputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    inputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``, as a tuple; no ``.grad`` is changed.

    They have the shapes and dtypes of the inputs.

    Inputs that the outputs do not depend on give None if ``allow_unused``, zeros if ``materialize_grads``, else
    RuntimeError. ``is_grads_batched``: each of ``grad_outputs`` is a batch of cotangents along a first axis, and so are the
    results. ``only_inputs`` is accepted, and has no effect.
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if not only_inputs:
        warnings.warn("only_inputs argument is deprecated and is ignored now (defaults to True).", FutureWarning, stacklevel=2)
    outs, wrt = _list(outputs), _list(inputs)
    if not wrt:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for t in wrt:
        if not isinstance(t, (Tensor, GradientEdge)):
            raise TypeError(f"grad(): inputs must be tensors or gradient edges, but got {type(t).__name__}")
        if isinstance(t, Tensor) and not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    found = _alone(outs, wrt, retain) if grad_outputs is None and not create_graph else None
    if found is None:
        seeds = _seeds(outs, [None] * len(outs) if grad_outputs is None else _list(grad_outputs), is_grads_batched)
        roots, places = [find(t) for t in outs], [find(t) for t in wrt]
        if is_grads_batched and grad_outputs is not None:
            found = _batched(roots, seeds, places, retain, create_graph)
        else:
            found = run(roots, seeds, places, retain, create_graph, False)
    for i, t in enumerate(wrt):
        if found[i] is None and materialize_grads:
            from ..ops import zeros

            type_ = type_of(t)
            if type_ is not None:
                found[i] = zeros(type_.shape, dtype=type_.dtype)
        elif found[i] is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {i} appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
    return tuple(found)


def _alone(outputs: list[Any], inputs: list[Any], retain_graph: bool) -> list[Any] | None:
    """The gradients of an output with respect to leaves, if its node needs no engine."""
    out = outputs[0] if len(outputs) == 1 else None
    if not isinstance(out, Tensor) or out._grad_fn is None or out._view is not None:
        return None
    if not all(isinstance(t, Tensor) and t._grad_fn is None and t._view is None for t in inputs):
        return None
    gradients = out._grad_fn.gradients(out, retain_graph)
    if gradients is None:
        return None
    by_leaf = {id(t): wrap(g) for t, g in gradients}
    return [by_leaf.get(id(t)) for t in inputs]


def _batched(roots: list[Edge], seeds: list[Tensor], places: list[Edge], retain: bool, create_graph: bool) -> list[Any]:
    """Runs one pass for each row of the seeds."""
    from ..ops import stack

    count = min((len(g) for g in seeds), default=0)
    passes = []
    for k in range(count):
        last = k == count - 1
        passes.append(run(roots, [g[k] for g in seeds], places, retain or not last, create_graph, False))
    if not passes:
        return [None] * len(places)
    return [None if rows[0] is None else stack(rows) for rows in zip(*passes, strict=True)]
