"""Batching: functions of batches from functions of samples."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .. import ops
from ..core.tensor import Tensor
from ..utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from .sample import at_once, with_batch

P = ParamSpec("P")
R = TypeVar("R")


def _spread(dims: Any, spec: TreeSpec, what: str) -> list[Any]:
    """The axis for each leaf of a structure, given for the leaf or for a subtree."""
    if spec.type is None:
        return [dims]
    if not isinstance(dims, (tuple, list, dict)) or not dims:
        return [dims] * spec.num_leaves
    parts = list(dims.values()) if isinstance(dims, dict) else list(dims)
    if len(parts) != spec.num_children:
        raise ValueError(
            f"vmap: {what} is not compatible with the structure of what it is given for: {len(parts)} entries for "
            f"{spec.num_children}"
        )
    return [d for part, child in zip(parts, spec.children_specs, strict=True) for d in _spread(part, child, what)]


def vmap(
    func: Callable[P, R],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[P, R]:
    """Vectorises ``func``: applies it to slices of the arguments and stacks the results.

    ``in_dims``: the axis along which each argument is sliced, None for shared arguments; a number, or a structure like the
    arguments'. Keyword arguments are shared. ``out_dims``: the position of the batch axis in the results. The function runs
    for the first slice, and its operations are then applied to all slices at once. It is called once for each slice if it
    reads elements (``item``, ``if``), changes tensors made outside or draws random numbers. ``randomness``: "same" draws the
    same numbers in each call, "different" new ones; "error" raises RuntimeError if the function draws from the default
    generator. Raises ValueError for axes that do not fit, or extents that differ.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def batched(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        dims = _spread(in_dims, spec, "in_dims")
        keyed, key_spec = tree_flatten(kwargs)
        dims = dims + [None] * len(keyed)
        values = leaves + keyed
        dims = [_axis(func, v, d) for v, d in zip(values, dims, strict=True)]
        sizes = {v.shape[d] for v, d in zip(values, dims, strict=True) if d is not None}
        if not sizes:
            raise ValueError(f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): at least one input must be mapped over")
        if len(sizes) > 1:
            raise ValueError(
                f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)}"
            )
        (count,) = sizes
        state = _state() if randomness == "same" else None
        drawn = _times_drawn()
        results = []
        if not count:  # for an empty batch, shapes and dtypes are those of the results for a slice of zeros
            values = [v if d is None else _one_slice(v, d) for v, d in zip(values, dims, strict=True)]

        def row(i: int) -> list[Any]:
            return [v if d is None else ops.select(v, d, i) for v, d in zip(values, dims, strict=True)]

        def call(row: list[Any]) -> Any:
            return func(*tree_unflatten(row[: len(leaves)], spec), **tree_unflatten(row[len(leaves) :], key_spec))

        if randomness == "error" and count > 1:
            found = at_once(call, row(0), values, dims, count)
            if found is not None:
                return _moved(*found, out_dims, count)
        for i in range(count or 1):
            if state is not None:
                _state(state)
            results.append(call(row(i)))
            if randomness == "error" and _times_drawn() != drawn:
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
                )
        return _stacked(results, out_dims, func, count)

    return batched


def _state(given: Tensor | None = None) -> Tensor:
    from ..random import default_generator

    if given is None:
        return default_generator.state.clone()
    return default_generator.state.copy_(given)


def _times_drawn() -> int:
    """How often the default generator's state has changed."""
    from ..random import default_generator

    return default_generator.state._changes()[0]


def _name(func: Any) -> str:
    return getattr(func, "__name__", repr(func))


def _axis(func: Any, value: Any, dim: Any) -> int | None:
    if dim is None:
        return None
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise ValueError(
            f"vmap({_name(func)}): Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
        )
    if not isinstance(value, Tensor):
        raise ValueError(
            f"vmap({_name(func)}): Got in_dim={dim} for an input but the input is of type {type(value)}. We cannot vmap over "
            "non-Tensor arguments, please use None as the respective in_dim"
        )
    if not -value.ndim <= dim < value.ndim:
        raise ValueError(
            f"vmap({_name(func)}): Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {value.ndim} "
            f"so expected in_dim to satisfy -{value.ndim} <= in_dim < {value.ndim}."
        )
    return dim % value.ndim


def _one_slice(x: Tensor, dim: int) -> Tensor:
    return ops.cat([x, x.new_zeros([1 if i == dim else n for i, n in enumerate(x.shape)])], dim)


def _moved(results: list[tuple[Tensor, bool]], spec: TreeSpec, out_dims: Any, count: int) -> Any:
    """Results with the batch as their first axis, or the same for all samples, in their structure."""
    out = []
    for (x, batched), dim in zip(results, _spread(out_dims, spec, "out_dims"), strict=True):
        if dim is None:
            out.append(ops.select(x, 0, 0) if batched else x)
        else:
            out.append(ops.movedim(with_batch(x, batched, count), 0, dim))
    return tree_unflatten(out, spec)


def _stacked(results: list[Any], out_dims: Any, func: Any, count: int) -> Any:
    columns, spec = zip(*(tree_flatten(r) for r in results), strict=True)
    dims = _spread(out_dims, spec[0], "out_dims")
    out = []
    for parts, dim in zip(zip(*columns, strict=True), dims, strict=True):
        if not isinstance(parts[0], Tensor):
            raise ValueError(
                f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type {type(parts[0])} as a return."
            )
        whole = parts[0] if dim is None else ops.stack(list(parts), dim)
        out.append(whole if dim is None or count else ops.narrow(whole, dim, 0, 0))
    return tree_unflatten(out, spec[0])
