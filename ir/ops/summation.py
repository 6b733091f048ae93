"""NumPy sums whose error does not grow with the number of terms.

NumPy adds pairwise only along the axis of its inner loop, and sequentially along all others. Here float32 is summed in
blocks of a few terms, and the blocks in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_FEW = 128  # terms that may be added sequentially in the format itself
_BLOCK = 32  # block size for longer sums
_LINE = 2048  # approximate elements per inner loop
_DEEP = 2048  # terms of a matrix product that the library adds up
_DEPTH, _SMALL_DEPTH = 512, 64  # block size for deeper products; smaller if the result is small, because it costs nothing then
_SMALL = 1 << 12  # elements of a small result
_PARTS = 1 << 18  # elements of products in memory at a time
_LARGE = 1 << 14  # elements of a block worth a separate call
WIDE = {np.dtype(np.float32): np.dtype(np.float64), np.dtype(np.complex64): np.dtype(np.complex128)}


def is_summed_in_parts(shape: tuple[int, ...], axes: tuple[int, ...], dtype: np.dtype) -> bool:
    """True if a sum of so many terms needs more than NumPy's own."""
    count = 1
    for a in axes:
        count *= shape[a]
    return count > _FEW and dtype in WIDE


def total(x: Any, axes: tuple[int, ...]) -> Any:
    """The sum over the axes, in the dtype of ``x``."""
    x = np.asarray(x)
    if (len(axes) == x.ndim and x.flags.c_contiguous) or not is_summed_in_parts(x.shape, axes, x.dtype):
        return np.add.reduce(x, axis=axes, dtype=x.dtype)
    pairwise = _pairwise(x, axes)
    others = sorted((a for a in axes if a not in pairwise), key=lambda a: -x.shape[a])
    if math.prod(x.shape[a] for a in others) <= _FEW // 2:
        return np.add.reduce(x, axis=axes, dtype=x.dtype)
    y = x
    if math.prod(x.shape[a] for a in pairwise) > 8:
        y = np.add.reduce(y, axis=pairwise, keepdims=True, dtype=x.dtype)
        pairwise = ()
    for a in (*others, *pairwise):
        y = _along(y, a)
    return y.reshape([n for a, n in enumerate(x.shape) if a not in axes]).astype(x.dtype)[()]


def _pairwise(x: np.ndarray, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The subset of axes that NumPy adds pairwise: those with the smallest strides, as far as they are contiguous."""
    found: list[int] = []
    step = None
    for a in sorted((a for a in range(x.ndim) if x.shape[a] != 1), key=lambda a: abs(x.strides[a])):
        if a not in axes or x.strides[a] == 0 or step not in (None, x.strides[a]):
            break
        found.append(a)
        step = x.strides[a] * x.shape[a]
    return tuple(found)


def _along(x: np.ndarray, axis: int) -> np.ndarray:
    """The sum over one axis, kept with extent 1; in the wider format if the axis is long."""
    n = x.shape[axis]
    if n <= _FEW // 2 or x.dtype not in WIDE:
        return np.add.reduce(x, axis=axis, keepdims=True, dtype=x.dtype)
    wide = WIDE[x.dtype]
    if x.size // n * _BLOCK >= _LARGE:
        result = np.zeros([*x.shape[:axis], 1, *x.shape[axis + 1 :]], wide)
        for start in range(0, n, _BLOCK):
            block = x[(*(slice(None),) * axis, slice(start, start + _BLOCK))]
            result += np.add.reduce(block, axis=axis, keepdims=True, dtype=x.dtype)
        return result
    line = max(1, min(_LINE // max(1, math.prod(x.shape[axis + 1 :])), n // _BLOCK))
    count = n // (_BLOCK * line)
    main, rest = np.split(x, [count * _BLOCK * line], axis)
    blocks = main.reshape(*x.shape[:axis], count, _BLOCK, line, *x.shape[axis + 1 :])
    partial = np.add.reduce(blocks, axis=axis + 1, dtype=x.dtype).astype(wide)
    result = np.expand_dims(np.add.reduce(partial, axis=(axis, axis + 1)), axis)
    return result + _along(rest, axis) if rest.shape[axis] else result


def running(x: Any, axis: int) -> Any:
    """The running sums along an axis, in the dtype of ``x``."""
    x = np.asarray(x)
    return np.add.accumulate(x, axis=axis, dtype=WIDE.get(x.dtype, x.dtype)).astype(x.dtype, copy=False)


def added_at(shape: tuple[int, ...], at: Any, x: np.ndarray, wide: bool = False) -> np.ndarray:
    """Zeros with the elements of ``x`` added at the positions ``at``, in the dtype of ``x``; ``wide``: in the wider dtype."""
    longer = WIDE.get(x.dtype, x.dtype)
    y = np.zeros(shape, longer if wide or x.size > _FEW else x.dtype)
    np.add.at(y, at, x.astype(y.dtype, copy=False))
    return y.astype(longer if wide else x.dtype, copy=False)


_NUMEROUS = 2048  # elements from which sorting rows by their positions is faster than single additions
_LONG = 128  # elements of a row whose addition alone costs more than the call of a function


def rows_added_at(shape: tuple[int, ...], at: np.ndarray, x: np.ndarray, wide: bool = False) -> np.ndarray:
    """``added_at`` for the rows of ``x``, whose positions are the elements of ``at``."""
    if x.size < _NUMEROUS or x.ndim < 2:
        return added_at(shape, at, x, wide)
    longer = WIDE.get(x.dtype, x.dtype)
    y = np.zeros(shape, longer if wide or x.size > _FEW else x.dtype)
    if x.size >= _LONG * len(at):
        for k, row in zip(at.tolist(), x, strict=True):
            y[k] += row
    else:
        order = np.argsort(at, kind="stable")
        at = at[order]
        starts = np.flatnonzero(np.concatenate(([True], at[1:] != at[:-1])))
        y[at[starts]] += np.add.reduceat(x[order], starts, axis=0, dtype=y.dtype)
    return y.astype(longer if wide else x.dtype, copy=False)


def running_product(x: Any, axis: int) -> Any:
    """The running products along an axis, in the dtype of ``x``."""
    x = np.asarray(x)
    return np.multiply.accumulate(x, axis=axis, dtype=WIDE.get(x.dtype, x.dtype)).astype(x.dtype, copy=False)


def total_product(x: Any, axis: int) -> Any:
    """The product along an axis, in the dtype of ``x``."""
    x = np.asarray(x)
    return np.multiply.reduce(x, axis=axis, dtype=WIDE.get(x.dtype, x.dtype)).astype(x.dtype, copy=False)


def is_split(k: int, dtype: np.dtype) -> bool:
    """True if a product of this inner extent is computed in parts."""
    return k > _DEEP and dtype in WIDE


def product(a: Any, b: Any) -> Any:
    """The matrix product, in the dtype of the operands; a long inner extent is split into parts, summed in float64."""
    k = a.shape[-1]
    if not is_split(k, a.dtype):
        return np.matmul(a, b)
    m, n = a.shape[-2], b.shape[-1]
    if m * n <= _SMALL:
        return _small_product(a, b)
    result: Any = 0
    for start in range(0, k, _DEPTH):
        part = np.matmul(a[..., start : start + _DEPTH], b[..., start : start + _DEPTH, :])
        result = part.astype(WIDE[a.dtype]) if start == 0 else np.add(result, part, out=result)
    return result.astype(a.dtype)


def _small_product(a: Any, b: Any) -> Any:
    """A deep product with a small result: many parts form one batch of products."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    whole = k // _SMALL_DEPTH * _SMALL_DEPTH
    step = _SMALL_DEPTH * max(1, _PARTS // max(1, math.prod(lead) * m * n))
    result = np.zeros((*lead, m, n), WIDE[a.dtype])
    for start in range(0, whole, step):
        stop = min(whole, start + step)
        count = (stop - start) // _SMALL_DEPTH
        left = a[..., start:stop].reshape(*a.shape[:-1], count, _SMALL_DEPTH).swapaxes(-2, -3)
        right = b[..., start:stop, :].reshape(*b.shape[:-2], count, _SMALL_DEPTH, n)
        result += np.add.reduce(np.matmul(left, right), axis=-3, dtype=result.dtype)
    if whole < k:
        result += np.matmul(a[..., whole:], b[..., whole:, :])
    return result.astype(a.dtype)
