"""Derivatives of functions: Jacobian and Hessian products, and the matrices themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.tensor import Tensor
from .modes import enable_grad


def _tuple(x: Any) -> tuple[tuple[Tensor, ...], bool]:
    return (tuple(x), True) if isinstance(x, (tuple, list)) else ((x,), False)


def _prepared(inputs: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    """The inputs as tensors that require gradients; new leaves unless the result must be differentiable."""
    return tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in inputs)


def _grads(outputs: Any, inputs: Any, vectors: Any, create_graph: bool, strict: bool) -> tuple[Tensor, ...]:
    from . import grad

    followed = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    if not followed:
        if strict:
            raise RuntimeError("Output 0 of the user-provided function does not require gradients.")
        return tuple(_zeros(x) for x in inputs)
    outs, vs = zip(*followed, strict=True)
    found = grad(outs, inputs, vs, allow_unused=True, create_graph=create_graph, retain_graph=True)
    if strict and any(g is None for g in found):
        raise RuntimeError("The output of the user-provided function is independent of an input.")
    return tuple(_zeros(x) if g is None else g for g, x in zip(found, inputs, strict=True))


def _zeros(x: Tensor) -> Tensor:
    from ..ops import zeros_like

    return zeros_like(x)


def _result(xs: tuple[Any, ...], several: bool, create_graph: bool) -> Any:
    if not create_graph:
        xs = tuple(x.detach() for x in xs)
    return xs if several else xs[0]


def _vectors(v: Any, like: tuple[Tensor, ...], what: str) -> tuple[Tensor, ...]:
    from ..ops import ones_like

    if v is None:
        if len(like) == 1 and like[0].numel() == 1:
            return (ones_like(like[0]),)
        raise RuntimeError(f"The vector v can only be None if the {what} has a single element.")
    vs, _ = _tuple(v)
    for i, (a, b) in enumerate(zip(vs, like, strict=True)):
        if a.shape != b.shape:
            raise RuntimeError(f"v has invalid size: should be {b.shape} but got {a.shape} (entry {i}).")
    return vs


def _run(func: Callable[..., Any], inputs: tuple[Tensor, ...], name: str) -> tuple[tuple[Tensor, ...], bool]:
    outputs, several = _tuple(func(*inputs))
    for o in outputs:
        if not isinstance(o, Tensor):
            raise TypeError(f"The outputs of the user-provided function given to {name} must be Tensors, got {type(o)}.")
    return outputs, several


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, v times the Jacobian) of ``func`` at ``inputs``; ``v`` has the outputs' shapes."""
    with enable_grad():
        xs, many_in = _tuple(inputs)
        xs = _prepared(xs, create_graph)
        outputs, many_out = _run(func, xs, "vjp")
        grads = _grads(outputs, xs, _vectors(v, outputs, "user-provided function returns"), create_graph, strict)
    return _result(outputs, many_out, create_graph), _result(grads, many_in, create_graph)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, the Jacobian times v) of ``func`` at ``inputs``, by differentiating v -> vjp; ``v`` has the inputs' shapes."""
    with enable_grad():
        xs, _ = _tuple(inputs)
        xs = _prepared(xs, create_graph)
        vs = _vectors(v, xs, "input to the user-provided function")
        outputs, many_out = _run(func, xs, "jvp")
        dummies = tuple(_zeros(o).requires_grad_() for o in outputs)
        back = _grads(outputs, xs, dummies, True, strict)
        forward = _grads(back, dummies, vs, create_graph, False)
    return _result(outputs, many_out, create_graph), _result(forward, many_out, create_graph)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian: for each output and input a tensor of the output's shape followed by the input's.

    ``vectorize`` and ``strategy`` are accepted for compatibility; rows are computed one by one, in reverse mode.
    """
    from ..ops import stack, zeros_like

    with enable_grad():
        xs, many_in = _tuple(inputs)
        xs = _prepared(xs, create_graph)
        outputs, many_out = _run(func, xs, "jacobian")
        table = []
        for o in outputs:
            rows = []
            for k in range(o.numel()):
                v = zeros_like(o.detach()).reshape(-1)
                v[k] = 1
                rows.append(_grads((o,), xs, (v.reshape(o.shape),), create_graph, strict))
            columns = zip(*rows, strict=True) if rows else [[] for _ in xs]
            parts = [
                stack(list(column)).reshape((*o.shape, *x.shape)) if column else zeros_like(x).new_zeros((*o.shape, *x.shape))
                for column, x in zip(columns, xs, strict=True)
            ]
            table.append(_result(tuple(parts), many_in, create_graph))
    return tuple(table) if many_out else table[0]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a function with a single output element: for each pair of inputs, a tensor of their concatenated
    shapes.
    """
    _, many = _tuple(inputs)

    def gradient(*xs: Tensor) -> tuple[Tensor, ...]:
        out = func(*xs)
        if not isinstance(out, Tensor) or out.numel() != 1:
            raise RuntimeError("The Tensor returned by the function given to hessian should contain a single element")
        return _grads((out.reshape(()),), xs, _vectors(None, (out.reshape(()),), ""), True, strict)

    table = jacobian(gradient, inputs if many else (inputs,), create_graph, strict)
    return table if many else table[0][0]


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(output, v times the Hessian) of a function with a single output element."""
    with enable_grad():
        xs, many = _tuple(inputs)
        xs = _prepared(xs, create_graph)
        vs = _vectors(v, xs, "input to the user-provided function")
        out, _ = _run(func, xs, "vhp")
        if len(out) != 1 or out[0].numel() != 1:
            raise RuntimeError("The Tensor returned by the function given to vhp should contain a single element")
        first = _grads(out, xs, _vectors(None, out, ""), True, strict)
        grads = _grads(first, xs, vs, create_graph, strict)
    return _result(out, False, create_graph), _result(grads, many, create_graph)


# The Hessian is symmetric.
hvp = vhp
