"""Reverse-mode differentiation of what was just run: ``backward`` and ``grad``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..context import context
from ..tensor import Tensor, wrap
from . import functional, graph
from .anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from .engine import run
from .function import Function
from .gradcheck import gradcheck, gradgradcheck
from .hooks import accumulated
from .modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def Variable(data: Tensor, requires_grad: bool = False) -> Tensor:
    """A tensor on the data of another one, as it was once needed for autograd."""
    out = data.detach()
    out._view = None
    return out.requires_grad_() if requires_grad else out


def _list(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (tuple, list)) else [x]


def _seeds(outputs: list[Tensor], given: Sequence[Tensor | None]) -> list[Tensor]:
    """The cotangents to start from: implicit ones for numbers only."""
    seeds = []
    for i, (out, g) in enumerate(zip(outputs, given, strict=True)):
        if not (out._requires_grad or out.requires_grad):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if out._data.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if out._data.dtype.kind == "c":
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {out.dtype}")
            if context.recorder is None:
                g = wrap(np.array(1, out._data.dtype, ndmin=out._data.ndim))
            else:
                from ..ops import ones_like

                with no_grad():
                    g = ones_like(out)
        elif not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif g.shape != out.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of {out.shape}."
            )
        elif g.dtype is not out.dtype:
            with no_grad():
                g = g.to(out.dtype)
        seeds.append(g)
    return seeds


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Adds the gradients of ``tensors`` to the ``.grad`` of the leaves they depend on (or of ``inputs``).

    ``grad_tensors`` are the cotangents, of the tensors' shapes; ones where a tensor has a single element. The
    graph is freed unless ``retain_graph`` (default: as ``create_graph``). Raises RuntimeError as PyTorch does.
    """
    outputs = _list(tensors)
    if inputs is not None and len(_list(inputs)) == 0:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    given = [None] * len(outputs) if grad_tensors is None else _list(grad_tensors)
    seeds = _seeds(outputs, given)
    retain = create_graph if retain_graph is None else retain_graph
    found = run(outputs, seeds, None if inputs is None else _list(inputs), retain, create_graph)
    for t, g in found.values():
        t._accumulate(g, create_graph)
        accumulated(t)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``, as a tuple; no ``.grad`` is touched."""
    outs, wrt = _list(outputs), _list(inputs)
    if not wrt:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for t in wrt:
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    given = [None] * len(outs) if grad_outputs is None else _list(grad_outputs)
    seeds = _seeds(outs, given)
    retain = create_graph if retain_graph is None else retain_graph
    found = run(outs, seeds, wrt, retain, create_graph)
    results: list[Tensor | None] = []
    for i, t in enumerate(wrt):
        if id(t) in found:
            results.append(found[id(t)][1])
        elif allow_unused:
            results.append(None)
        else:
            raise RuntimeError(
                f"The differentiated Tensor at index {i} appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
    return tuple(results)
