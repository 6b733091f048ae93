"""Selections and counts whose extent depends on values. The extent is an attribute, known before the operation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import host
from ..types import TensorType, int64


def _row(count: int) -> TensorType:
    return TensorType(int64, (count,))


# The positions of the non-zero elements in the flattened operand; ``count`` of them.
flat_nonzero = host(
    "flat_nonzero",
    lambda x, count: np.flatnonzero(x).astype(np.int64, copy=False),
    infer=lambda x, count: _row(count),
    in_format=True,
)
nonzero_count = host(
    "nonzero_count",
    lambda x: np.asarray(np.count_nonzero(x), np.int64),
    infer=lambda x: TensorType(int64, ()),
    in_format=True,
)


def _unique(x: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return values, inverse.reshape(np.shape(x)).astype(np.int64, copy=False), counts.astype(np.int64, copy=False)


# The distinct elements in order, ``count`` of them; each element's index among them; their counts.
unique_count = host(
    "unique_count", lambda x: np.asarray(len(np.unique(x)), np.int64), infer=lambda x: TensorType(int64, ()), real=True
)
unique_values = host(
    "unique_values", lambda x, count: _unique(x)[0], infer=lambda x, count: TensorType(x.dtype, (count,)), real=True
)
unique_inverse = host("unique_inverse", lambda x: _unique(x)[1], infer=lambda x: x.with_dtype(int64), real=True)
unique_counts = host("unique_counts", lambda x, count: _unique(x)[2], infer=lambda x, count: _row(count), real=True)

# 0, 1, ..., each repeated as often as ``counts`` says; ``total`` in all.
repeat_positions = host(
    "repeat_positions",
    lambda counts, total: np.repeat(np.arange(len(counts)), counts),
    "counts",
    infer=lambda counts, total: _row(total),
)

# The number of occurrences of each integer from 0 to ``size - 1``, or the sum of the weights there.
bincount = host("bincount", lambda x, size: np.bincount(x, minlength=size).astype(np.int64), infer=lambda x, size: _row(size))

weighted_bincount = host(
    "weighted_bincount",
    lambda x, weights, size: np.bincount(x, weights, size).astype(weights.dtype),
    "x weights",
    infer=lambda x, weights, size: TensorType(weights.dtype, (size,)),
)
