"""Low-discrepancy sequences."""

from __future__ import annotations

from typing import Any

from . import ops
from .core.context import context
from .core.tensor import Tensor
from .ir.types import DType
from .random import randint

__all__ = ["SobolEngine"]


class SobolEngine:
    """Points of a Sobol sequence in the unit cube of ``dimension`` axes, at most 21,201. The sequence is SciPy's, with the
    direction numbers of Joe and Kuo (2008), like PyTorch's.

    ``scramble``: randomly, by a linear matrix scramble and a digital shift, with ``seed``; None draws one from the default
    generator. Raises ValueError for other dimensions.
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None):
        if not 1 <= dimension <= self.MAXDIM:
            raise ValueError(f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}]")
        self.dimension, self.scramble, self.seed = dimension, scramble, seed
        drawn = int(randint(0, 2**31, ()).item()) if scramble and seed is None else seed
        from scipy.stats import qmc  # half a second

        self._sequence = qmc.Sobol(dimension, scramble=scramble, bits=self.MAXBIT, rng=drawn if scramble else None)

    @property
    def num_generated(self) -> int:
        """The number of points that have been drawn."""
        return int(self._sequence.num_generated)

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: DType | None = None) -> Tensor:
        """The next ``n`` points, as rows, of the default dtype."""
        found = ops.as_tensor(self._sequence.random(n), dtype=dtype or context.default_dtype)
        return found if out is None else out.resize_(found.shape).copy_(found)

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: DType | None = None) -> Tensor:
        """The next 2^m points. Raises ValueError unless the number of all points is then a power of two."""
        n = 2**m
        total = self.num_generated + n
        if total & (total - 1):
            raise ValueError(
                "The balance properties of Sobol' points require n to be a power of 2. "
                f"{self.num_generated} points have been previously generated, then: n={self.num_generated}+2**{m}={total}. "
                "If you still want to do this, please use 'SobolEngine.draw()' instead."
            )
        return self.draw(n, out, dtype)

    def reset(self) -> SobolEngine:
        """Begins again."""
        self._sequence.reset()
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Leaves out ``n`` points."""
        self._sequence.fast_forward(n)
        return self

    def __repr__(self) -> str:
        more: list[Any] = ["scramble=True"] * self.scramble + ([f"seed={self.seed}"] if self.seed is not None else [])
        return f"SobolEngine({', '.join([f'dimension={self.dimension}', *more])})"
