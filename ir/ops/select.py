"""Selections and counts whose extent depends on values. The extent is an attribute, known before the operation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import host
from ..types import TensorType, int64


def _row(count: int) -> TensorType:
    return TensorType(int64, (count,))


def _flat_nonzero(x: Any, count: int) -> np.ndarray:
    found = np.flatnonzero(x)
    if len(found) != count:
        raise RuntimeError(f"{len(found)} elements are not zero, not {count}")
    return found.astype(np.int64, copy=False)


# The positions of the non-zero elements in the flattened operand; ``count`` of them.
flat_nonzero = host("flat_nonzero", _flat_nonzero, infer=lambda x, count: _row(count), in_format=True)


def _unique(x: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, equal_nan=False)
    return values, inverse.reshape(np.shape(x)).astype(np.int64, copy=False), counts.astype(np.int64, copy=False)


# The distinct elements in order, ``count`` of them; each element's index among them; their counts.
unique_count = host(
    "unique_count",
    lambda x: np.asarray(len(np.unique(x, equal_nan=False)), np.int64),
    infer=lambda x: TensorType(int64, ()),
    real=True,
)
unique_values = host(
    "unique_values", lambda x, count: _unique(x)[0], infer=lambda x, count: TensorType(x.dtype, (count,)), real=True
)
unique_inverse = host("unique_inverse", lambda x: _unique(x)[1], infer=lambda x: x.with_dtype(int64), real=True)
unique_counts = host("unique_counts", lambda x, count: _unique(x)[2], infer=lambda x, count: _row(count), real=True)


def _assignment(cost: Any, maximize: bool) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    try:
        return np.stack(linear_sum_assignment(cost, maximize)).astype(np.int64, copy=False)
    except ValueError as e:
        raise RuntimeError(str(e)) from None


# The rows and columns of a matrix, in a row each, whose elements have the least sum, or the largest: as many as fit.
assignment = host(
    "assignment",
    _assignment,
    infer=lambda cost, maximize: TensorType(int64, (2, min(cost.shape))),
    real=True,
)

# 0, 1, ..., each repeated as often as ``counts`` says; ``total`` in all.
repeat_positions = host(
    "repeat_positions",
    lambda counts, total: np.repeat(np.arange(len(counts)), counts),
    "counts",
    infer=lambda counts, total: _row(total),
)
