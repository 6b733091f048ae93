"""Random numbers from a counter-based generator.

The generator's state is a tensor (seed, offset). Drawing n numbers reads the state and advances the offset in place, so eager
and traced code consume the same counters in the same order and give the same numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .autograd.modes import no_grad
from .context import context
from .ir import ops as P
from .ir.types import DType, float16, int64
from .ops import create, pointwise
from .ops.common import to_dtype
from .ops.create import _leaf, factory
from .ops.offering import offer
from .ops.opmath import widened
from .ops.shape import _sizes
from .tensor import Tensor, wrap


def _start(seed: int) -> np.ndarray:
    """The state at the beginning of the stream of a seed, which counts modulo 2**64."""
    return np.array([(int(seed) + 2**63) % 2**64 - 2**63, 0], np.int64)


class Generator:
    """A stream of random numbers with a seed of its own."""

    def __init__(self, seed: int = 0):
        self.state = wrap(_start(seed))

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream again from a seed."""
        self.state.copy_(create.tensor(_start(seed).tolist(), dtype=int64))
        return self

    def uniform(self, shape: tuple[int, ...], dtype: DType) -> Tensor:
        """Numbers in [0, 1), outside any graph; in float32 where 16 bits are asked for, which few numbers fit in."""
        with no_grad():
            out = P.uniform(self.state, shape=shape, dtype=dtype.wide.short)
            self.state.add_(create.tensor([0, math.prod(shape)], dtype=int64))
        return out


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator."""
    return default_generator.manual_seed(seed)


@factory
def rand(*size: Any, dtype: DType | None = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Uniform in [0, 1)."""
    kind = dtype or context.default_dtype
    out = (generator or default_generator).uniform(_sizes(size), kind)
    return _leaf(_below_one(out, kind) if kind.is_half else out, requires_grad)


def _below_one(u: Tensor, dtype: DType) -> Tensor:
    """Uniform numbers of float32 in a format of 16 bits: odd multiples of half a step, so none is rounded to 0 or to 1."""
    with no_grad():
        steps = 2.0 ** (10 if dtype is float16 else 7)
        return P.cast((P.floor(u * steps) + 0.5) / steps, dtype=dtype.short)


@factory
def randn(*size: Any, dtype: DType | None = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Standard normal, by the transform of Box and Muller (1958)."""
    shape = _sizes(size)
    stream, kind = generator or default_generator, dtype or context.default_dtype
    with no_grad():
        radius = pointwise.sqrt(pointwise.log1p(-stream.uniform(shape, kind)) * -2.0)
        out = to_dtype(radius * pointwise.cos(stream.uniform(shape, kind) * (2 * math.pi)), kind)
    return _leaf(out, requires_grad)


@factory
def randint(low: int, high: Any, size: Any = None, *, dtype: DType = int64, generator: Generator | None = None) -> Tensor:
    """Integers in [low, high), or, as ``randint(high, size)``, in [0, high)."""
    if size is None:
        low, high, size = 0, low, high
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    from .ir.types import float64

    u = (generator or default_generator).uniform(tuple(size), float64)
    return P.cast(P.floor(u * (high - low)) + low, dtype=dtype.short)


@factory
def rand_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1), with the shape and dtype of ``input``."""
    return rand(input._data.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


@factory
def randn_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Standard normal, with the shape and dtype of ``input``."""
    return randn(input._data.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


@factory
def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Integers in [low, high), or [0, low), with the shape and dtype of ``input``."""
    start, end = (0, low) if high is None else (low, high)
    return randint(start, end, input._data.shape, dtype=dtype or input.dtype)


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Ones with the probabilities in ``input`` (or ``p``), else zeros."""
    chance = input if p is None else p
    drawn = (generator or default_generator).uniform(input._data.shape, input.dtype)
    return P.cast(pointwise.lt(drawn, chance), dtype=input.dtype.short)


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: DType | None = None
) -> Tensor:
    """Normal numbers with the given means and standard deviations."""
    if size is None:
        like = mean if isinstance(mean, Tensor) else std
        other = std if like is mean else mean
        size = np.broadcast_shapes(like._data.shape, other._data.shape if isinstance(other, Tensor) else ())
        dtype = like.dtype
    if not isinstance(std, Tensor) and std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    with no_grad():
        return pointwise.add(pointwise.mul(randn(tuple(size), dtype=dtype, generator=generator), std), mean)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> Tensor:
    """Positions drawn with the weights in the last axis: Gumbel's trick without replacement, else by the distribution
    function.
    """
    if input.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not input.is_floating_point():
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype.ctype}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input._data.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    weights = input._observed("multinomial")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (weights.sum(-1) <= 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    from .ops.order import cumsum, searchsorted, topk

    stream = generator or default_generator
    with no_grad():
        if not replacement:
            input = widened(input)
            noise = -pointwise.log(-pointwise.log(stream.uniform(input._data.shape, input.dtype) * (1 - 1e-7) + 1e-30))
            return topk(pointwise.log(input) + noise, num_samples).indices
        total = cumsum(widened(input), -1)
        whole = total[..., -1:]
        drawn = stream.uniform((*input._data.shape[:-1], num_samples), input.dtype) * whole
        return searchsorted(total, drawn, right=True)


@factory
def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """The integers 0..n-1 in random order."""
    from .ir.types import float64

    u = (generator or default_generator).uniform((n,), float64)
    return create.tensor(np.argsort(u.numpy(), kind="stable").astype(np.int64))


if not TYPE_CHECKING:  # a type checker goes by what is above
    offer(globals(), ["bernoulli", "multinomial", "normal"])
