"""The machine's limits, measured by kernels of this package: memory bandwidth by working set, and arithmetic by dtype.

A kernel's *roof* is the shortest time that these limits allow for its bytes and floating-point operations (S. Williams,
A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009). It includes what a call of a kernel costs, so it is meaningful for
small kernels too.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..ir.graph import Builder, Graph
from ..ir.ops import matmul, neg
from ..ir.types import TensorType, dtype_named
from ..runtime.programs.planned import planned
from ..runtime.programs.program import Program
from ..runtime.programs.timing import WHOLE, Timing, start, stop
from ..runtime.support.objects import address

_SIZES = (1 << 8, 1 << 12, 1 << 16, 1 << 20, 1 << 23)  # elements of float32
_PRODUCTS = (128, 512)  # rows of the square matrices: on one thread, and on all
_RUNS = 12


class Roof(NamedTuple):
    """bandwidth: pairs of the bytes that a kernel reads and writes, and the nanoseconds that it takes at least."""

    bandwidth: tuple[tuple[int, float], ...]

    def nanoseconds(self, nbytes: int, flops: int, dtype: str) -> float:
        """The shortest time for a kernel, in nanoseconds."""
        sizes, times = zip(*self.bandwidth, strict=True)
        if nbytes >= sizes[-1]:
            moving = times[-1] * nbytes / sizes[-1]
        else:
            moving = float(np.interp(nbytes, sizes, times))
        return max(moving, flops / peak(dtype) if flops else 0.0)


@functools.cache
def roof() -> Roof:
    """The limits of this machine, measured once in a process: takes about 0.2 seconds."""
    found = []
    for n in _SIZES:
        t = TensorType(dtype_named("f32"), (n,))
        builder = Builder("copy")
        graph = builder.finish(builder.append(neg, [builder.input(t)], {}))
        found.append((2 * t.nbytes, _fastest(graph, [np.zeros(n, np.float32)])))
    return Roof(tuple(found))


@functools.cache
def peak(dtype: str) -> float:
    """Floating-point operations per nanosecond of a product of square matrices; that of f32 for what has no products."""
    if dtype not in ("f32", "f64"):
        return peak("f32")
    best = 0.0
    for n in _PRODUCTS:
        t = TensorType(dtype_named(dtype), (n, n))
        builder = Builder("product")
        operands = [builder.input(t), builder.input(t)]
        graph = builder.finish(builder.append(matmul, operands, {**matmul.defaults, "ta": False, "tb": False}))
        best = max(best, 2 * n**3 / _fastest(graph, [np.ones(t.shape, t.dtype.numpy)] * 2))
    return best


def _fastest(graph: Graph, inputs: list[np.ndarray]) -> float:
    """The shortest time of the graph's first step, in nanoseconds."""
    program = Program(planned(graph))
    timing = Timing(2 * _RUNS * max(len(program.steps), 1) + _RUNS)
    start(timing)
    try:
        for _ in range(_RUNS):
            program.run([address(a) for a in inputs])
    finally:
        stop(timing)
    times = [end - begin for _, step, begin, end, _ in timing.events() if step != WHOLE]
    return float(min(times, default=1)) or 1.0
