"""Random numbers computed from uniform ones, by blocks. A draw needs only the memory of its result; intermediates stay in the
cache.

A draw is a formula for its elements. Traces record it as operations on whole tensors, with the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..autograd.modes import unfollowed
from ..core.context import context
from ..core.device import CPU
from ..core.fused import fused
from ..core.inplace import become
from ..core.tensor import Tensor, wrap
from ..core.views import LazyView
from ..core.waiting import WAITING, will_change
from ..ir import ops as P
from ..ir.types import DType, bool_, float16, float32, float64, int64
from ..ops import create, pointwise
from ..ops.common import to_dtype
from ..ops.moving import cat
from ..ops.shape import expand, reshape

Formula = Callable[..., Any]
_BYTES = 2**17  # of the uniform numbers of a block


class Draw:
    """``formula`` computes an element from a uniform number of the dtype ``of``.

    With ``together`` = k the formula takes k numbers for k elements: one from each of the k parts of the draw.
    """

    def __init__(self, formula: Formula, of: DType, dtype: DType, together: int = 1):
        self.formula, self.of, self.dtype, self.together = formula, of, dtype, together
        self._block = _BYTES // of.itemsize

    def tensor(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A new tensor from the numbers after ``state``, which is advanced."""
        with unfollowed():
            if context.recorder is not None:
                return self._whole(state, shape)
            n = math.prod(shape)
            if 0 < n <= self._block:
                return wrap(self._one_block(state, n).reshape(shape))
            out = np.empty(shape, self.dtype.numpy)
            self._write(state, out)
            return wrap(out)

    def fill(self, state: Tensor, tensor: Tensor) -> Tensor:
        """Writes the numbers of ``tensor(state, tensor.shape)`` to the tensor."""
        in_order = not isinstance(tensor, LazyView) and tensor._data.flags.c_contiguous and self.dtype is tensor.dtype
        if context.recorder is not None or not in_order:
            return tensor.copy_(self.tensor(state, tensor._data.shape))
        with unfollowed():
            blank = expand(create.zeros((), dtype=self.dtype), tensor._data.shape)
        return become(tensor, blank, overwritten=True, write=unfollowed()(lambda out: self._write(state, out)))

    def _whole(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        n = math.prod(shape)
        each = shape if self.together == 1 else (-(-n // self.together),)
        uniform = []
        for _ in range(self.together):
            uniform.append(P.uniform(state, shape=each, dtype=self.of.short))
            state.add_(create.tensor([0, math.prod(each)], dtype=int64, device=CPU))
        drawn = self.formula(*uniform)
        if self.together > 1:
            drawn = reshape(cat(drawn)[:n], shape)
        return to_dtype(drawn, self.dtype)

    def _one_block(self, state: Tensor, n: int) -> np.ndarray:
        seed, offset = state._data.tolist()
        part = -(-n // self.together)
        numbers = self._uniform(seed, offset, part * self.together)
        if self.together == 1:
            out = to_dtype(self.formula(wrap(numbers)), self.dtype)._data
        else:
            drawn = self.formula(*map(wrap, numbers.reshape(self.together, part)))
            out = np.concatenate([to_dtype(x, self.dtype)._data for x in drawn])[:n]
        _advance(state, offset + numbers.size)
        return out

    def _write(self, state: Tensor, out: np.ndarray) -> None:
        flat, n = out.reshape(-1), out.size
        if n <= self._block:
            flat[...] = self._one_block(state, n)
            return
        seed, offset = state._data.tolist()
        part = -(-n // self.together)
        for start in range(0, part, self._block):
            size = min(self._block, part - start)
            starts = [i * part + start for i in range(self.together)]
            drawn = self.formula(*(wrap(self._uniform(seed, offset + s, size)) for s in starts))
            for s, block in zip(starts, drawn if self.together > 1 else (drawn,), strict=True):
                flat[s : s + size] = to_dtype(block, self.dtype)._data[: n - s]
        _advance(state, offset + part * self.together)

    def _uniform(self, seed: int, offset: int, size: int) -> np.ndarray:
        at = np.array([seed, wrapped(offset)], np.int64)
        return P.uniform.eager(at, shape=(size,), dtype=self.of.short)


def _advance(state: Tensor, offset: int) -> None:
    if WAITING:
        will_change(state)
    state._changes()[0] += 1
    state._data[1] = wrapped(offset)


def wrapped(n: int) -> int:
    """``n`` modulo 2**64, as an int64."""
    return (n + 2**63) % 2**64 - 2**63


@fused(by_numpy=True)
def _coarse(u: Tensor, steps: float) -> Tensor:
    """Odd multiples of half a step, so that none rounds to 0 or 1."""
    return (pointwise.floor(u * steps) + 0.5) / steps


def uniform(dtype: DType) -> Draw:
    """Numbers in (0, 1), or 64 random bits for int64."""
    if not dtype.is_half:
        return Draw(lambda u: u, dtype, dtype)
    return Draw(partial(_coarse, steps=2.0 ** (10 if dtype is float16 else 7)), float32, dtype)


@fused(by_numpy=True)
def _pair(u: Tensor, v: Tensor, mean: Any, std: Any) -> tuple[Tensor, Tensor]:
    radius, angle = pointwise.sqrt(pointwise.log(u) * -2.0), v * (2 * math.pi)
    if std != 1:
        radius = radius * std
    a, b = radius * pointwise.cos(angle), radius * pointwise.sin(angle)
    return (a, b) if mean == 0 else (a + mean, b + mean)


def gaussian(dtype: DType, mean: Any = 0.0, std: Any = 1.0) -> Draw:
    """Normal numbers, by the Box-Muller transform (1958)."""
    return Draw(partial(_pair, mean=mean, std=std), dtype.wide, dtype, together=2)


@fused(by_numpy=True)
def _scaled(u: Tensor, low: Any, span: Any) -> Tensor:
    """A product with a number below 1 stays below the span; uniform up to 2**-13."""
    return P.cast(pointwise.floor(u * span), dtype="i64") + low


@fused(by_numpy=True)
def _reduced(bits: Tensor, low: Any, span: Any) -> Tensor:
    if span == 2**64:
        return bits + 0
    if span > 2**63:  # modulo the span, as unsigned numbers, which are the bits plus 2**63
        return bits - P.cast(pointwise.ge(bits, span - 2**63), dtype="i64") * wrapped(span) + wrapped(low + 2**63)
    half = bits.bitwise_and(2**63 - 1)
    return (half if span == 2**63 else pointwise.remainder(half, span)) + low


def whole(low: int, high: int, dtype: DType = int64) -> Draw:
    """Integers in [low, high), which must be within int64's range."""
    span = high - low
    return Draw(partial(_scaled if span <= 2**40 else _reduced, low=low, span=span), float64 if span <= 2**40 else int64, dtype)


def below(p: float, dtype: DType = bool_) -> Draw:
    """True, or 1, with probability ``p``; otherwise False, or 0."""
    return Draw(lambda u: pointwise.lt(u, p), float32, dtype)
