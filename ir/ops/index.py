"""Indexed reads and writes. Indices out of range raise IndexError."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..primitive import Kind, primitive
from ..types import TensorType, float64
from .elementwise import add, cast, div, eq, mul, sub, where
from .movement import broadcast, zeros
from .source import full, iota
from .summation import added_at, rows_added_at


def _integers(index: TensorType) -> None:
    if index.dtype.kind not in "ui":
        raise RuntimeError(f"expected integer dtype for index, got {index.dtype.name}")


_UNSIGNED = {np.dtype(t): np.dtype(t.replace("i", "u")) for t in ("i1", "i2", "i4", "i8")}


def in_range(index: np.ndarray, extent: int) -> bool:
    """True if all integers are in [0, extent)."""
    unsigned = index.view(_UNSIGNED.get(index.dtype, index.dtype))  # where negative numbers are large
    return not index.size or bool(np.maximum.reduce(unsigned, None) < extent)


def _check(index: Any, extent: int, axis: int) -> np.ndarray:
    index = np.asarray(index)
    if not in_range(index, extent):
        bad = (index < 0) | (index >= extent)
        raise IndexError(f"index {index[bad].flat[0]} is out of bounds for dimension {axis} with size {extent}")
    return index


# index_select: result[a..., i..., b...] = x[a..., index[i...], b...], the index in place of `axis`; index_add is its adjoint.
# ``wide``: float32 is summed in float64. Only compiled graphs use it (``passes.wide``); it is not differentiated.


def _infer_select(x: TensorType, index: TensorType, axis: int) -> TensorType:
    _integers(index)
    if not 0 <= axis < x.rank:
        raise IndexError(f"axis {axis} does not fit {x}")
    return x.with_shape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


def _summed(x: TensorType, wide: bool) -> TensorType:
    """The type of sums of elements of ``x``."""
    return x.with_dtype(float64) if wide else x


def _infer_index_add(x: TensorType, index: TensorType, axis: int, extent: int, wide: bool) -> TensorType:
    _integers(index)
    if x.shape[axis : axis + index.rank] != index.shape:
        raise ValueError(f"index {index} does not fit {x} at axis {axis}")
    return _summed(x, wide).with_shape((*x.shape[:axis], extent, *x.shape[axis + index.rank :]))


def _index_add(x: Any, index: Any, axis: int, extent: int, wide: bool) -> np.ndarray:
    x, index = np.asarray(x), _check(index, extent, axis)
    flat = np.moveaxis(x.reshape(*x.shape[:axis], index.size, *x.shape[axis + index.ndim :]), axis, 0)
    y = rows_added_at((extent, *flat.shape[1:]), index.reshape(-1), flat, wide)
    return np.ascontiguousarray(np.moveaxis(y, 0, axis))


index_select = primitive(
    "index_select",
    Kind.INDEXING,
    "x index",
    in_format=True,
    infer=_infer_select,
    impl=lambda x, index, axis: np.take(x, _check(index, x.shape[axis], axis), axis),
    vjp=(lambda g, index, x_type, axis: index_add(g, index, axis=axis, extent=x_type.shape[axis]), None),
)
index_add = primitive(
    "index_add",
    Kind.INDEXING,
    "x index",
    infer=_infer_index_add,
    impl=_index_add,
    vjp=(lambda g, index, axis: index_select(g, index, axis=axis), None),
    defaults={"wide": False},
)

# set_at: x with x[a..., index : index + n, b...] replaced by v, whose extent along `axis` is n. A program writes v directly
# into the memory of x.


def _infer_set_at(x: TensorType, v: TensorType, index: TensorType, axis: int) -> TensorType:
    _integers(index)
    if not 0 <= axis < x.rank:
        raise IndexError(f"axis {axis} does not fit {x}")
    n = v.shape[axis] if v.rank == x.rank else 0
    if index.rank or not 0 < n <= x.shape[axis] or v != x.with_shape((*x.shape[:axis], n, *x.shape[axis + 1 :])):
        raise RuntimeError(f"{v} and index {index} do not fit {x} at axis {axis}")
    return x


def _set_at(x: Any, v: Any, index: Any, axis: int) -> np.ndarray:
    y, n = np.array(x), v.shape[axis]
    at = int(_check(index, y.shape[axis] - n + 1, axis))
    np.moveaxis(y, axis, 0)[at : at + n] = np.moveaxis(np.asarray(v), axis, 0)
    return y


def elements_at(x: Any, index: Any, axis: int, n: int) -> Any:
    """The ``n`` slices of ``x`` along an axis from a computed index on."""
    first = broadcast(cast(index, dtype="i64"), shape=(n,), axes=())
    return index_select(x, first if n == 1 else add(first, iota(shape=(n,), axis=0, dtype="i64")), axis=axis)


set_at = primitive(
    "set_at",
    Kind.INDEXING,
    "x v index",
    in_format=True,
    infer=_infer_set_at,
    impl=_set_at,
    vjp=(
        lambda g, v_type, index, axis: set_at(g, zeros(v_type), index, axis=axis),
        lambda g, v_type, index, axis: elements_at(g, index, axis, v_type.shape[axis]),
        None,
    ),
)

# gather: result[i, j, k] = x[i, index[i, j, k], k] for axis 1; scatter_add is its adjoint.


def _infer_gather(x: TensorType, index: TensorType, axis: int) -> TensorType:
    _integers(index)
    if x.rank != index.rank or not 0 <= axis < x.rank:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for i, (m, n) in enumerate(zip(index.shape, x.shape, strict=True)):
        if i != axis and m > n:
            raise RuntimeError(
                f"Size does not match at dimension {i} expected index {list(index.shape)} to be no larger than "
                f"self {list(x.shape)} apart from dimension {axis}"
            )
    return x.with_shape(index.shape)


def _infer_scatter_add(x: TensorType, index: TensorType, axis: int, shape: tuple[int, ...], wide: bool) -> TensorType:
    whole = x.with_shape(tuple(shape))
    if _infer_gather(whole, index, axis) != x:
        raise ValueError(f"{x} and index {index} do not scatter into {whole}")
    return _summed(whole, wide)


def _at(index: np.ndarray, axis: int) -> tuple[Any, ...]:
    before, after = _grid(index.shape, axis)
    return (*before, index, *after)


@functools.lru_cache(256)
def _grid(shape: tuple[int, ...], axis: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The positions on the axes before and after one, as arrays that broadcast to the shape."""
    grid = [np.arange(n).reshape(-1, *(1,) * (len(shape) - 1 - i)) for i, n in enumerate(shape)]
    return grid[:axis], grid[axis + 1 :]


def _scatter_add(x: Any, index: Any, axis: int, shape: tuple[int, ...], wide: bool) -> np.ndarray:
    return added_at(shape, _at(_check(index, shape[axis], axis), axis), np.asarray(x), wide)


gather = primitive(
    "gather",
    Kind.INDEXING,
    "x index",
    in_format=True,
    infer=_infer_gather,
    impl=lambda x, index, axis: np.asarray(x)[_at(_check(index, x.shape[axis], axis), axis)],
    vjp=(lambda g, index, x_type, axis: scatter_add(g, index, axis=axis, shape=x_type.shape), None),
)
scatter_add = primitive(
    "scatter_add",
    Kind.INDEXING,
    "x index",
    infer=_infer_scatter_add,
    impl=_scatter_add,
    vjp=(lambda g, index, axis: gather(g, index, axis=axis), None),
    defaults={"wide": False},
)


# scatter_reduce: x, with the elements of v combined with those at x[i, index[i, j, k], k] for axis 1: their "max", "min" or
# "prod". Cotangents are divided equally among the elements that are the extremum.

_COMBINED = {"max": np.maximum, "min": np.minimum, "prod": np.multiply}


def _infer_scatter_reduce(x: TensorType, v: TensorType, index: TensorType, axis: int, reduce: str) -> TensorType:
    if reduce not in _COMBINED:
        raise ValueError(f"reduce is one of {', '.join(_COMBINED)}, not {reduce!r}")
    if x.dtype is not v.dtype or _infer_gather(x, index, axis) != v:
        raise ValueError(f"{v} and index {index} do not scatter into {x}")
    return x


def _scatter_reduce(x: Any, v: Any, index: Any, axis: int, reduce: str) -> np.ndarray:
    y = np.array(x, order="C")
    at = np.broadcast_arrays(*_at(_check(index, y.shape[axis], axis), axis)) if y.ndim > 1 else [_check(index, len(y), 0)]
    flat = np.ravel_multi_index(at, y.shape) if y.ndim > 1 else at[0]
    _COMBINED[reduce].at(y.reshape(-1), flat.reshape(-1), np.ascontiguousarray(v).reshape(-1))
    return y


def _extremum_cotangent(
    g: Any, y: Any, x: Any, v: Any, index: Any, x_type: TensorType, v_type: TensorType, axis: int, of: str
) -> Any:
    """The cotangent in equal parts where an element is the extremum."""
    mine, theirs, short = eq(x, y), eq(v, gather(y, index, axis=axis)), x_type.dtype.short
    others = scatter_add(cast(theirs, dtype=short), index, axis=axis, shape=x_type.shape)
    each = div(g, add(cast(mine, dtype=short), others))
    if of == "x":
        return where(mine, each, zeros(x_type))
    return where(theirs, gather(each, index, axis=axis), zeros(v_type))


def _product_cotangent(
    g: Any, y: Any, x: Any, v: Any, index: Any, x_type: TensorType, v_type: TensorType, axis: int, of: str
) -> Any:
    """The cotangent times the product of the other elements at the same place, which is a quotient unless one is zero."""
    one_x, one_v = (full(value=1, shape=t.shape, dtype=t.dtype.short) for t in (x_type, v_type))
    is_zero, v_is_zero, short = eq(x, zeros(x_type)), eq(v, zeros(v_type)), x_type.dtype.short
    count = add(cast(is_zero, dtype=short), scatter_add(cast(v_is_zero, dtype=short), index, axis=axis, shape=x_type.shape))
    own = where(is_zero, one_x, x)
    product = scatter_reduce(own, where(v_is_zero, one_v, v), index, axis=axis, reduce="prod")
    if of == "v":
        g, count, product = (gather(t, index, axis=axis) for t in (g, count, product))
        is_zero, own, x_type = v_is_zero, where(v_is_zero, one_v, v), v_type
    others = sub(count, cast(is_zero, dtype=short))
    return mul(g, where(eq(others, zeros(x_type)), div(product, own), zeros(x_type)))


def _scatter_reduce_vjp(
    g: Any, y: Any, x: Any, v: Any, index: Any, x_type: TensorType, v_type: TensorType, axis: int, reduce: str
) -> Any:
    rule = _product_cotangent if reduce == "prod" else _extremum_cotangent
    return rule(g, y, x, v, index, x_type, v_type, axis, "x")


def _scatter_reduce_vjp_v(
    g: Any, y: Any, x: Any, v: Any, index: Any, x_type: TensorType, v_type: TensorType, axis: int, reduce: str
) -> Any:
    rule = _product_cotangent if reduce == "prod" else _extremum_cotangent
    return rule(g, y, x, v, index, x_type, v_type, axis, "v")


scatter_reduce = primitive(
    "scatter_reduce",
    Kind.INDEXING,
    "x v index",
    real=True,
    infer=_infer_scatter_reduce,
    impl=_scatter_reduce,
    vjp=(_scatter_reduce_vjp, _scatter_reduce_vjp_v, None),
)
