"""Checks of derivatives against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.tensor import Tensor


class GradcheckError(RuntimeError):
    """A derivative that differs from its finite difference."""


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _differentiable(x: Any) -> bool:
    return isinstance(x, Tensor) and (x.is_floating_point() or x.dtype.is_complex)


def _outputs(func: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    return [o for o in _tuple(func(*inputs)) if _differentiable(o)]


def _numerical(func: Callable[..., Any], inputs: Sequence[Any], x: Tensor, eps: float) -> list[np.ndarray]:
    """For each output the Jacobian by central differences, (inputs, outputs), with respect to real parameters."""
    flat = x._data.reshape(-1)
    if not np.may_share_memory(flat, x._data):
        raise ValueError("gradcheck needs inputs that are contiguous in memory")
    columns: list[list[np.ndarray]] = []
    steps = [eps, eps * 1j] if x.dtype.is_complex else [eps]
    for i in range(flat.size):
        for step in steps:
            before = flat[i].copy()
            flat[i] = before + step
            above = [np.array(o.detach().cpu()._data).reshape(-1) for o in _outputs(func, inputs)]
            flat[i] = before - step
            below = [np.array(o.detach().cpu()._data).reshape(-1) for o in _outputs(func, inputs)]
            flat[i] = before
            columns.append([(a - b) / (2 * eps) for a, b in zip(above, below, strict=True)])
    count = len(_outputs(func, inputs))
    return [np.array([column[k] for column in columns]) for k in range(count)]


def _analytical(outputs: Sequence[Tensor], x: Tensor) -> list[np.ndarray]:
    """The same by backward passes, one row of an output's Jacobian at a time."""
    from ..ops import zeros_like
    from . import grad

    found = []
    for o in outputs:
        columns = []
        for i in range(o.numel()):
            for one in [1, 1j] if o.dtype.is_complex else [1]:
                v = zeros_like(o.detach())
                v._data.reshape(-1)[i] = one
                (g,) = grad(o, x, v, retain_graph=True, allow_unused=True) if o.requires_grad else (None,)
                data = np.zeros(x.numel(), x._data.dtype) if g is None else g._data.reshape(-1)
                columns.append(np.stack([data.real, data.imag], 1).reshape(-1) if x.dtype.is_complex else data)
        if o.dtype.is_complex:
            columns = [a + 1j * b for a, b in zip(columns[::2], columns[1::2], strict=True)]
        width = x.numel() * (2 if x.dtype.is_complex else 1)
        found.append(np.stack(columns, 1) if columns else np.zeros((width, 0)))
    return found


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_batched_grad: bool = False,
    fast_mode: bool = False,
    **ignored: Any,
) -> bool:
    """True if the derivatives of ``func``'s backward pass agree with finite differences. Inputs should be float64.

    If not, raises GradcheckError, or returns False without ``raise_exception``.
    """
    xs = _tuple(inputs)
    checked = [x for x in xs if _differentiable(x) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True."
        )
    for i, x in enumerate(xs):
        if isinstance(x, Tensor) and x.requires_grad and x.dtype.name not in ("float64", "complex128"):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check will likely "
                "fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=2,
            )
    outputs = _outputs(func, xs)
    for n, x in enumerate(checked):
        numerical = _numerical(func, xs, x, eps)
        for k, (a, b) in enumerate(zip(_analytical(outputs, x), numerical, strict=True)):
            if not np.allclose(a, b, rtol, atol, equal_nan=True):
                if raise_exception:
                    raise GradcheckError(
                        f"Jacobian mismatch for output {k} with respect to input {n},\nnumerical:{b}\nanalytical:{a}\n"
                    )
                return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    gen_non_contig_grad_outputs: bool = False,
    **options: Any,
) -> bool:
    """``gradcheck`` of the backward pass: compares second derivatives with finite differences."""
    from ..random import rand_like
    from . import grad

    xs = _tuple(inputs)
    outputs = [o for o in _outputs(func, xs) if o.requires_grad]
    vs = _tuple(grad_outputs) if grad_outputs is not None else tuple(rand_like(o.detach()).requires_grad_() for o in outputs)
    count = len(xs)

    def first(*all_inputs: Any) -> tuple[Any, ...]:
        mine, cotangents = all_inputs[:count], all_inputs[count:]
        outs = [o for o in _outputs(func, mine) if o.requires_grad]
        wrt = [x for x in mine if _differentiable(x) and x.requires_grad]
        found = grad(outs, wrt, cotangents, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(first, (*xs, *vs), **options)
