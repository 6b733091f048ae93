"""Embeddings: rows of a table by index."""

from __future__ import annotations

import math
from typing import Any

from ...autograd.modes import no_grad
from ...core.tensor import Tensor
from ...ir import ops as P
from ...ops import pointwise as F
from ...ops import shape as S
from ...ops.common import constant_in
from ...ops.opmath import opmath
from ...ops.stats import vector_norm

__all__ = [
    "embedding",
    "embedding_bag",
]


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight`` at the indices ``input``. The row ``padding_idx`` gets no gradient; ``max_norm`` renormalizes in
    place.
    """
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    rows = weight._data.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if input.dtype.name not in ("int64", "int32"):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"tracer.{input.dtype.ctype}Tensor instead (while checking arguments for embedding)"
        )
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    found = P.index_select(weight, input, axis=0)
    if scale_grad_by_freq:
        ones = P.full(value=1, shape=(input.numel(),), dtype=weight.dtype.short)
        freq = P.index_add(ones, S.reshape(input, (-1,)), axis=0, extent=rows)
        scale = S.unsqueeze(F.reciprocal(P.index_select(freq, input, axis=0)), -1)
        found = F.add(found.detach(), F.mul(F.sub(found, found.detach()), scale))
    if padding_idx is not None and found.requires_grad:
        found = F.where(S.unsqueeze(P.eq(input, padding_idx), -1), found.detach(), found)
    return found


def _renormalize(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    with no_grad():
        ones = P.full(value=1, shape=(input.numel(),), dtype="i64")
        used = P.index_add(ones, S.reshape(input.detach(), (-1,)), axis=0, extent=weight._data.shape[0])
        size = vector_norm(weight, norm_type, 1, keepdim=True)
        shrink = F.bitwise_and(S.unsqueeze(F.gt(used, 0), 1), F.gt(size, max_norm))
        weight.copy_(F.where(shrink, F.mul(weight, F.div(max_norm, F.add(size, 1e-7))), weight))


@opmath
def _require_offsets(starts: Any, count: int) -> None:
    """Raises RuntimeError unless the bags' start positions are non-decreasing, at most ``count``, and the first is 0."""
    if len(starts) and starts[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got "
            f"{starts[0]}"
        )
    if len(starts) and starts[-1] > count:
        raise RuntimeError(f"offsets[-1] can not be greater than input's length {count} but got offsets[-1] of {starts[-1]}")
    if (starts[1:] < starts[:-1]).any():
        raise RuntimeError("embedding_bag(): offsets must not decrease")


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows of ``weight`` in each bag: the rows of a matrix, or the parts of a vector that
    begin at ``offsets``.
    """
    import numpy as np

    from ...ops.create import fixed

    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got mode="
            f"'{mode}'). Please open a feature request on GitHub."
        )
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences."
            )
        bags = np.repeat(np.arange(input._data.shape[0]), input._data.shape[1])
        count = input._data.shape[0]
    else:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        starts = offsets._observed("offsets of bags")
        if include_last_offset:
            starts = starts[:-1]
        _require_offsets(starts, input.numel())
        count = len(starts)
        bags = np.searchsorted(starts, np.arange(input.numel()), "right") - 1
    flat = S.reshape(input, (-1,))
    rows = embedding(flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = F.mul(rows, S.unsqueeze(S.reshape(per_sample_weights, (-1,)), 1))
    where = fixed(bags)
    counted = None
    if padding_idx is not None:
        padding_idx %= weight._data.shape[0]
        counted = F.ne(flat, padding_idx)
        rows = F.where(S.unsqueeze(counted, 1), rows, 0.0 if mode != "max" else -math.inf)
    if mode == "max":
        from ...ops.writes import scatter_reduce

        base = P.full(value=-math.inf, shape=(count, weight._data.shape[1]), dtype=weight.dtype.short)
        index = S.expand(S.unsqueeze(where, 1), rows._data.shape)
        values = rows.detach()
        out = scatter_reduce(base, 0, index, values, "amax")
        # The first row of a bag that attains the maximum gets the gradient.
        n = rows._data.shape[0]
        numbers = S.expand(S.unsqueeze(P.iota(shape=(n,), axis=0, dtype="i64"), 1), rows._data.shape)
        best = F.bitwise_or(F.eq(values, P.index_select(out, where, axis=0)), F.isnan(values))
        last = P.full(value=n, shape=out._data.shape, dtype="i64")
        first = scatter_reduce(last, 0, index, F.where(best, numbers, n), "amin")
        chosen = P.gather(rows, F.clamp(first, max=n - 1), axis=0) if n else constant_in(out, rows)
        empty = F.eq(first, n)
        if padding_idx is not None:
            empty = F.bitwise_or(empty, F.eq(out, -math.inf))
        return F.where(empty, 0.0, chosen)
    total = P.index_add(rows, where, axis=0, extent=count)
    if mode == "sum":
        return total
    ones = P.full(value=1, shape=(flat.numel(),), dtype=weight.dtype.short)
    if counted is not None:
        ones = P.cast(counted, dtype=weight.dtype.short)
    number = P.index_add(ones, where, axis=0, extent=count)
    return F.div(total, S.unsqueeze(F.clamp(number, min=1), 1))
