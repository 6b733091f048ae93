"""Matrix products of groups of rows: those of mixtures of experts. The groups' extents are data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..primitive import host
from ..types import TensorType
from .movement import permute
from .summation import product


def _groups(ends: Any) -> Iterator[tuple[int, int, int]]:
    """The number, start and end of each group that is not empty."""
    start = 0
    for group, end in enumerate(ends.tolist()):
        if end > start:
            yield group, start, end
            start = end


def _rows(a: Any, b: Any, ends: Any) -> Any:
    y = np.zeros((a.shape[0], b.shape[2]), a.dtype)
    for group, start, end in _groups(ends):
        y[start:end] = product(a[start:end], b[group])
    return y


def _sums(a: Any, b: Any, ends: Any) -> Any:
    y = np.zeros((ends.shape[0], a.shape[1], b.shape[1]), a.dtype)
    for group, start, end in _groups(ends):
        y[group] = product(a[start:end].T, b[start:end])
    return y


def _infer_rows(a: TensorType, b: TensorType, ends: TensorType) -> TensorType:
    return a.with_shape((a.shape[0], b.shape[2]))


def _infer_sums(a: TensorType, b: TensorType, ends: TensorType) -> TensorType:
    return a.with_shape((ends.shape[0], a.shape[1], b.shape[1]))


def _t(b: Any) -> Any:
    return permute(b, axes=(0, 2, 1))


# ``ends`` (groups) are the rows at which the groups end; rows after the last belong to none.
# ``grouped_rows``: the rows of each group of ``a`` (rows, k) times its matrix in ``b`` (groups, k, n); else zero.
# ``grouped_sums``: for each group, A^T B of its rows of ``a`` (rows, m) and ``b`` (rows, n).
grouped_rows = host(
    "grouped_rows",
    _rows,
    "a b ends",
    infer=_infer_rows,
    vjp=(lambda g, b, ends: grouped_rows(g, _t(b), ends), lambda g, a, ends: grouped_sums(a, g, ends), None),
    torch_name="GroupedMm",
)
grouped_sums = host(
    "grouped_sums",
    _sums,
    "a b ends",
    infer=_infer_sums,
    vjp=(lambda g, b, ends: grouped_rows(b, _t(g), ends), lambda g, a, ends: grouped_rows(a, g, ends), None),
    torch_name="GroupedMm",
)
