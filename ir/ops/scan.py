"""Scans along an axis, and sorting."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import Kind, host, inexact, primitive, same_type, scan
from ..types import TensorType, int64
from .elementwise import add, eq, exp, mul, sub, where
from .movement import pad, slice_
from .summation import WIDE, running, running_product, total_product


def _infer(x: TensorType, axis: int, **attrs: Any) -> TensorType:
    if not 0 <= axis < x.rank:
        raise ValueError(f"axis {axis} does not fit {x}")
    return x


def _accumulate(run: Callable[..., Any]) -> Any:
    """The running results of ``run``, a function of an array and an axis, from either end."""

    def impl(x: Any, axis: int, reverse: bool = False) -> Any:
        x = np.asarray(x)
        if reverse:
            return np.ascontiguousarray(np.flip(run(np.flip(x, axis), axis=axis), axis))
        return run(x, axis=axis)

    return impl


cumsum = scan(
    "cumsum",
    _accumulate(running),
    infer=_infer,
    vjp=(lambda g, axis, reverse: cumsum(g, axis=axis, reverse=not reverse),),
    defaults={"reverse": False},
)


def _recurrence(a: Any, b: Any, axis: int, reverse: bool) -> np.ndarray:
    a, b = np.moveaxis(np.asarray(a), axis, 0), np.moveaxis(np.asarray(b), axis, 0)
    y = np.empty_like(b)
    order = range(len(b))[::-1] if reverse else range(len(b))
    before = np.zeros(b.shape[1:], WIDE.get(b.dtype, b.dtype))
    if before.size == 1 and b.dtype.kind == "f":  # Python numbers are faster than arrays of one element
        step = -1 if reverse else 1
        terms = zip(a.reshape(-1)[::step].tolist(), b.reshape(-1)[::step].tolist(), strict=True)
        steps = itertools.accumulate(terms, lambda so_far, term: term[0] * so_far + term[1], initial=0.0)
        y.reshape(-1)[::step] = np.fromiter(itertools.islice(steps, 1, None), before.dtype, len(b))
    else:
        for i in order:
            y[i] = before = a[i] * before + b[i]
    return np.ascontiguousarray(np.moveaxis(y, 0, axis))


def _shift(x: Any, x_type: TensorType, axis: int, back: bool) -> Any:
    """``x`` shifted by one position along ``axis`` (backwards if ``back``), with a zero at the open end."""
    n = x_type.shape[axis]
    if n == 0:
        return x
    whole = (0,) * x_type.rank
    starts = tuple(int(back) if i == axis else 0 for i in range(x_type.rank))
    stops = tuple(m - (0 if back else 1) if i == axis else m for i, m in enumerate(x_type.shape))
    cut = slice_(x, starts=starts, stops=stops, steps=(1,) * x_type.rank)
    one = tuple(int(i == axis) for i in range(x_type.rank))
    return pad(cut, low=whole if back else one, high=one if back else whole, interior=whole, value=0)


# y[i] = a[i] * y[i - 1] + b[i] along the axis, from the end if reversed. Its adjoint is a recurrence the other way.
recurrence = scan(
    "recurrence",
    _recurrence,
    "a b",
    infer=lambda a, b, axis, reverse: _infer(same_type(a, b), axis),
    vjp=(
        lambda g, y, a, a_type, axis, reverse: mul(
            _adjoint(g, a, a_type, axis, reverse), _shift(y, a_type, axis, back=reverse)
        ),
        lambda g, a, a_type, axis, reverse: _adjoint(g, a, a_type, axis, reverse),
    ),
    defaults={"reverse": False},
)


def _adjoint(g: Any, a: Any, a_type: TensorType, axis: int, reverse: bool) -> Any:
    return recurrence(_shift(a, a_type, axis, back=not reverse), g, axis=axis, reverse=not reverse)


def _cumprod_vjp(g: Any, x: Any, x_type: TensorType, axis: int) -> Any:
    """With L the products of the preceding elements: dx[k] = L[k] * S[k], S[k] = g[k] + x[k + 1] * S[k + 1]."""
    left = _shift(cumprod(x, axis=axis), x_type, axis, back=False)
    first = tuple(1 if i == axis else n for i, n in enumerate(x_type.shape))
    if x_type.shape[axis]:
        from .source import full

        ones = full(value=1, shape=first, dtype=x_type.dtype.short)
        high = tuple(x_type.shape[axis] - 1 if i == axis else 0 for i in range(x_type.rank))
        left = add(left, pad(ones, low=(0,) * x_type.rank, high=high, interior=(0,) * x_type.rank, value=0))
    return mul(left, _adjoint(g, x, x_type, axis, False))


cumprod = scan(
    "cumprod",
    _accumulate(running_product),
    infer=_infer,
    vjp=(_cumprod_vjp,),
)


def _running_complex_log(x: Any, axis: int) -> np.ndarray:
    """Term by term, as log(exp(a) + exp(b)) = b + log1p(exp(a - b)), with the larger real part in b; phases are not wrapped."""
    out = np.array(x)
    rows = np.moveaxis(out, axis, 0)
    for k in range(1, len(rows)):
        a, b = rows[k - 1], rows[k]
        small, large = np.where(a.real <= b.real, a, b), np.where(a.real <= b.real, b, a)
        total = np.log1p(np.exp(small - large)) + large
        same = np.isinf(large.real) & (large.real == small.real)
        total = np.where(same, np.where(large.real < 0, small, np.log(np.exp(small) + np.exp(large))), total)
        rows[k] = np.where(np.isnan(a) | np.isnan(b), complex(np.nan, np.nan), total)
    return out


def _running_log(x: Any, axis: int) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind == "c":
        return _running_complex_log(x, axis)
    with np.errstate(invalid="ignore"):
        return np.logaddexp.accumulate(x, axis=axis, dtype=WIDE.get(x.dtype, x.dtype)).astype(x.dtype, copy=False)


def _running_log_vjp(g: Any, x: Any, y: Any, x_type: TensorType, axis: int) -> Any:
    """dx[k] = exp(x[k] - y[k]) * S[k], S[k] = g[k] + exp(y[k] - y[k + 1]) * S[k + 1]: no exponent is positive."""
    n, rank = x_type.shape[axis], x_type.rank
    if n == 0:
        return g
    one, none = tuple(int(i == axis) for i in range(rank)), (0,) * rank
    ends = tuple(m - i for m, i in zip(x_type.shape, one, strict=True))
    here = slice_(y, starts=none, stops=ends, steps=(1,) * rank)
    after = slice_(y, starts=one, stops=x_type.shape, steps=(1,) * rank)
    factor = exp(where(eq(here, after), 0, sub(here, after)))  # infinities are equal, and their difference is undefined
    factor = pad(factor, low=none, high=one, interior=none, value=0)
    return mul(exp(sub(x, y)), recurrence(factor, g, axis=axis, reverse=True))


# Running log-sum-exp.
logcumsumexp = host("logcumsumexp", _running_log, infer=lambda x, axis: _infer(inexact(x), axis), vjp=(_running_log_vjp,))


def _extreme_positions(x: Any, axis: int, largest: bool) -> np.ndarray:
    """The position of the running extremum, the last one of several; a NaN counts as the extremum."""
    x = np.asarray(x)
    extreme = (np.maximum if largest else np.minimum).accumulate(x, axis=axis)
    places = np.arange(x.shape[axis]).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    found = np.where((x == extreme) | np.isnan(x), places, 0)
    return np.maximum.accumulate(found, axis=axis).astype(np.int64, copy=False)


cumargmax = scan("cumargmax", _extreme_positions, infer=lambda x, axis, largest: _infer(x, axis).with_dtype(int64), real=True)


def _argsort(x: Any, axis: int, descending: bool) -> np.ndarray:
    x = np.asarray(x)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable").astype(np.int64, copy=False)
    # Reversed twice, so that equal elements keep their order.
    order = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.ascontiguousarray(x.shape[axis] - 1 - np.flip(order, axis)).astype(np.int64, copy=False)


# Stable; NaN sorts above every number.
argsort = scan("argsort", _argsort, infer=lambda x, axis, descending: _infer(x, axis).with_dtype(int64), real=True)


def _infer_searchsorted(x: TensorType, values: TensorType, right: bool) -> TensorType:
    return values.with_dtype(int64)


def _searchsorted(x: Any, values: Any, right: bool) -> np.ndarray:
    x, values = np.asarray(x), np.asarray(values)
    side: Any = "right" if right else "left"
    if x.ndim == 1:
        return np.asarray(np.searchsorted(x, values, side)).astype(np.int64, copy=False)
    y = np.empty(values.shape, np.int64)
    for i in np.ndindex(x.shape[:-1]):
        y[i] = np.searchsorted(x[i], values[i], side)
    return y


searchsorted = host("searchsorted", _searchsorted, "x values", infer=_infer_searchsorted, real=True)


def _infer_prod(x: TensorType, axis: int) -> TensorType:
    return x.with_shape(tuple(n for i, n in enumerate(x.shape) if i != axis))


def _prod_vjp(g: Any, x: Any, x_type: TensorType, axis: int) -> Any:
    """The cotangent times the product of the other elements: of those before, and of those after."""
    from .movement import broadcast, flip

    axes = tuple(i for i in range(x_type.rank) if i != axis)
    spread = broadcast(g, shape=x_type.shape, axes=axes)
    if not x_type.shape[axis]:
        return spread
    before = _exclusive(x, x_type, axis)
    after = flip(_exclusive(flip(x, axes=(axis,)), x_type, axis), axes=(axis,))
    return mul(spread, mul(before, after))


def _exclusive(x: Any, x_type: TensorType, axis: int) -> Any:
    """At each position the product of the elements before it."""
    from .movement import concatenate
    from .source import full

    shape = tuple(1 if i == axis else n for i, n in enumerate(x_type.shape))
    n = x_type.shape[axis]
    ones = full(value=1, shape=shape, dtype=x_type.dtype.short)
    stops = tuple(n - 1 if i == axis else m for i, m in enumerate(x_type.shape))
    cut = slice_(x, starts=(0,) * x_type.rank, stops=stops, steps=(1,) * x_type.rank)
    return cumprod(concatenate(ones, cut, axis=axis), axis=axis)


prod = primitive(
    "prod",
    Kind.HOST,
    "x",
    infer=_infer_prod,
    impl=total_product,
    vjp=(_prod_vjp,),
)

__all__ = ["argsort", "cumargmax", "cumprod", "cumsum", "logcumsumexp", "prod", "recurrence", "searchsorted"]
