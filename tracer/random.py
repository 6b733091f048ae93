"""Random numbers from a counter-based generator.

The generator's state is a tensor (seed, offset). Drawing n numbers reads the state and advances the offset in place, so eager
and traced code consume the same counters in the same order and give the same numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .autograd.modes import no_grad
from .context import context
from .ir import ops as P
from .ir.types import DType, int64
from .ops import create, pointwise
from .ops.create import _leaf
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
        """Numbers in [0, 1), outside any graph."""
        with no_grad():
            out = P.uniform(self.state, shape=shape, dtype=dtype.short)
            self.state.add_(create.tensor([0, math.prod(shape)], dtype=int64))
        return out


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator."""
    return default_generator.manual_seed(seed)


def rand(*size: Any, dtype: DType | None = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Uniform in [0, 1)."""
    shape = _sizes(size)
    return _leaf((generator or default_generator).uniform(shape, dtype or context.default_dtype), requires_grad)


def randn(*size: Any, dtype: DType | None = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Standard normal, by the transform of Box and Muller (1958)."""
    shape = _sizes(size)
    stream, kind = generator or default_generator, dtype or context.default_dtype
    with no_grad():
        radius = pointwise.sqrt(pointwise.log1p(-stream.uniform(shape, kind)) * -2.0)
        out = radius * pointwise.cos(stream.uniform(shape, kind) * (2 * math.pi))
    return _leaf(out, requires_grad)


def randint(low: int, high: int, size: Any, *, dtype: DType = int64, generator: Generator | None = None) -> Tensor:
    """Integers in [low, high)."""
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    from .ir.types import float64

    u = (generator or default_generator).uniform(tuple(size), float64)
    return P.cast(P.floor(u * (high - low)) + low, dtype=dtype.short)


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """The integers 0..n-1 in random order."""
    from .ir.types import float64

    u = (generator or default_generator).uniform((n,), float64)
    return create.tensor(np.argsort(u.numpy(), kind="stable").astype(np.int64))
