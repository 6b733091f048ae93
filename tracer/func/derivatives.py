"""Derivatives of functions, as functions. Arguments and results may be nested tuples, lists and dicts of tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from .. import autograd, ops
from ..autograd.modes import enable_grad
from ..core.context import context
from ..core.device import beside
from ..core.tensor import Tensor
from ..utils._pytree import tree_flatten, tree_map, tree_unflatten
from .batching import vmap

P = ParamSpec("P")
R = TypeVar("R")


def _leaves(values: list[Any]) -> list[Tensor]:
    """Tensors to differentiate by: views of those with a gradient, so that derivatives nest; otherwise leaves."""
    return [v.view_as(v) if v.requires_grad else v.detach().requires_grad_() for v in values]


def _finished(x: Any, outer: bool) -> Any:
    """A result: detached, unless the inputs themselves require gradients."""
    return tree_map(lambda t: t if outer or not isinstance(t, Tensor) else t.detach(), x)


def _followed(*trees: Any) -> bool:
    return context.grad_enabled and any(
        isinstance(t, Tensor) and t.requires_grad for tree in trees for t in tree_flatten(tree)[0]
    )


def _checked(name: str, values: list[Any]) -> None:
    for v in values:
        if not isinstance(v, Tensor):
            raise ValueError(f"{name}: Expected all inputs to be Tensors, got {type(v).__name__}")
        if not (v.is_floating_point() or v.is_complex()):
            raise RuntimeError(f"{name}: only floating-point and complex tensors have derivatives, got {v.dtype}")


def _replaced(args: Sequence[Any], places: Sequence[int], parts: Sequence[Any]) -> list[Any]:
    """The arguments, with some replaced."""
    given = list(args)
    for p, part in zip(places, parts, strict=True):
        given[p] = part
    return given


def grad_and_value(func: Callable[P, Any], argnums: Any = 0, has_aux: bool = False) -> Callable[P, Any]:
    """The function (gradient, value) of a function that returns a single element.

    ``argnums``: the position, or positions, of the arguments to differentiate by. ``has_aux``: the function returns a pair
    whose second part is passed on: (gradient, (value, aux)). Raises RuntimeError for results that are not scalars.
    """

    @functools.wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        places = tuple(p % len(args) if -len(args) <= p < len(args) else p for p in places)
        if any(p >= len(args) for p in places):
            raise RuntimeError(f"Got argnum={argnums}, but only {len(args)} positional inputs")
        values, spec = tree_flatten(tuple(args[p] for p in places))
        _checked("grad", values)
        outer = _followed(args, kwargs)
        with enable_grad():
            xs = _leaves(values)
            out = func(*_replaced(args, places, tree_unflatten(xs, spec)), **kwargs)
            aux = None
            if has_aux:
                if not (isinstance(out, tuple) and len(out) == 2):
                    raise RuntimeError("output of function f should be a tuple: (output, aux) if has_aux is True")
                out, aux = out
            if not isinstance(out, Tensor):
                raise RuntimeError(
                    "Expected the differentiated function to return a Tensor or a tuple with a single Tensor, got "
                    f"{type(out).__name__}"
                )
            if out.numel() != 1:
                raise RuntimeError(
                    f"Expected function to return a scalar tensor, got tensor with {out.ndim} dims. Did you mean to use `vjp`?"
                )
            grads = _grads([out], xs, [None])
        found = tree_unflatten(grads, spec)
        found = found[0] if isinstance(argnums, int) else found
        value = (out, aux) if has_aux else out
        return _finished(found, outer), _finished(value, outer)

    return derived


def _grads(outputs: list[Tensor], inputs: list[Tensor], vectors: list[Any]) -> list[Tensor]:
    """The gradients, zero where there is no dependence; they can be differentiated again."""
    followed = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    if not followed:
        return [ops.zeros_like(x) for x in inputs]
    outs = [o for o, _ in followed]
    cotangents = [ops.ones_like(o) if v is None else v for o, v in followed]
    found = autograd.grad(outs, inputs, cotangents, create_graph=True, allow_unused=True)
    return [ops.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def grad(func: Callable[P, Any], argnums: Any = 0, has_aux: bool = False) -> Callable[P, Any]:
    """The gradient of a function that returns a single element, as a function. See ``grad_and_value``."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return derived


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(results, function of cotangents that returns their products with the Jacobians), and aux if ``has_aux``."""
    values, spec = tree_flatten(primals)
    _checked("vjp", values)
    outer = _followed(primals)
    with enable_grad():
        xs = _leaves(values)
        out = func(*tree_unflatten(xs, spec))
        aux = None
        if has_aux:
            out, aux = out
        results, out_spec = tree_flatten(out)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given, given_spec = tree_flatten(cotangents)
        if given_spec != out_spec:
            raise RuntimeError("Expected the structure of cotangents to be that of the outputs of the function.")
        with enable_grad():
            grads = _grads(results, xs, given)
        return _finished(tree_unflatten(grads, spec), outer or _followed(cotangents))

    shown = tree_unflatten(_finished(results, outer), out_spec)
    return (shown, pull, aux) if has_aux else (shown, pull)


def jvp(
    func: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """(results, the Jacobians' products with the tangents), and aux if ``has_aux``: by differentiating v -> vjp."""
    if not isinstance(primals, tuple):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals to be a tuple: f(*primals) is called.")
    values, spec = tree_flatten(primals)
    directions, direction_spec = tree_flatten(tangents)
    if spec != direction_spec:
        raise RuntimeError("jvp(f, primals, tangents): Expected primals and tangents to have the same python structure.")
    outer = _followed(primals, tangents)
    with enable_grad():
        xs = _leaves(values)
        out = func(*tree_unflatten(xs, spec))
        aux = None
        if has_aux:
            out, aux = out
        results, out_spec = tree_flatten(out)
        dummies = [ops.zeros_like(r).requires_grad_() for r in results]
        back = _grads(results, xs, dummies)
        pushed = _grads(back, dummies, directions)
    shown = tree_unflatten(_finished(results, outer), out_spec)
    moved = tree_unflatten(_finished(pushed, outer), out_spec)
    return (shown, moved, _finished(aux, outer)) if has_aux else (shown, moved)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(results, the Jacobian as a function of tangents)."""
    out = func(*primals)

    def push(*tangents: Any) -> Any:
        return jvp(func, primals, tangents)[1]

    return out, push


def jacrev(
    func: Callable[P, Any],
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[P, Any]:
    """The Jacobian, as a function: for each result and argument a tensor of the result's shape followed by the argument's."""
    return _jacobian("jacrev", func, argnums, has_aux, _rows)


def _jacobian(
    name: str,
    func: Callable[P, Any],
    argnums: Any,
    has_aux: bool,
    matrices: Callable[[Tensor, list[Tensor]], list[Tensor]],
) -> Callable[P, Any]:
    @functools.wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        values, spec = tree_flatten(tuple(args[p] for p in places))
        _checked(name, values)
        outer = _followed(args, kwargs)
        with enable_grad():
            xs = _leaves(values)
            out = func(*_replaced(args, places, tree_unflatten(xs, spec)), **kwargs)
            aux = None
            if has_aux:
                out, aux = out
            results, out_spec = tree_flatten(out)
            table = [matrices(r, xs) for r in results]
        found = [tree_unflatten(_finished(row, outer), spec) for row in table]
        found = tree_unflatten([f[0] if isinstance(argnums, int) else f for f in found], out_spec)
        return (found, _finished(aux, outer)) if has_aux else found

    return derived


def _units(x: Tensor) -> Tensor:
    """For each element of ``x`` a tensor of its shape, with 1 at this element."""
    return ops.reshape(ops.eye(x.numel(), dtype=x.dtype, device=beside(x)), (x.numel(), *x.shape))


def _rows(result: Tensor, xs: list[Tensor]) -> list[Tensor]:
    shape = tuple(result.shape)
    if not result.numel():
        return [x.new_zeros((*shape, *x.shape)) for x in xs]
    rows = vmap(lambda v: tuple(_grads([result], xs, [v])))(_units(result))
    return [ops.reshape(row, (*shape, *x.shape)) for row, x in zip(rows, xs, strict=True)]


def jacfwd(func: Callable[P, Any], argnums: Any = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable[P, Any]:
    """The Jacobian, like ``jacrev``, from derivatives along each element of the arguments: faster if these are fewer than the
    results.
    """
    return _jacobian("jacfwd", func, argnums, has_aux, _columns)


def _columns(result: Tensor, xs: list[Tensor]) -> list[Tensor]:
    shape, count = tuple(result.shape), sum(x.numel() for x in xs)
    if count >= result.numel() or not result.requires_grad:
        return _rows(result, xs)
    dummy = ops.zeros_like(result).requires_grad_()
    back = _grads([result], xs, [dummy])
    found = []
    for x, g in zip(xs, back, strict=True):
        # The gradient is linear in ``dummy``: its derivative along a unit is a column.
        columns = vmap(lambda v, g=g: _grads([g], [dummy], [v])[0])(_units(x)) if x.numel() else x.new_zeros((0, *shape))
        found.append(ops.reshape(ops.movedim(columns, 0, -1), (*shape, *x.shape)))
    return found


def hessian(func: Callable[P, Any], argnums: Any = 0) -> Callable[P, Any]:
    """The Jacobian of the Jacobian, as a function."""
    return jacrev(jacrev(func, argnums), argnums)


def functionalize(func: Callable[P, R], *, remove: str = "mutations") -> Callable[P, R]:
    """The function itself: in-place changes and views need no removal here."""
    return func
