"""Elementwise functions that NumPy does not have, as compiled kernels for eager runs.

The implementation in their records is SciPy's, whose import takes longer than most programs' use of these functions.
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING

import numpy as np

from .ir import ops as P
from .ir.graph import Builder
from .ir.primitive import Primitive
from .ir.types import TensorType, dtype_of
from .runtime.objects import address

if TYPE_CHECKING:
    from .runtime.program import Program

_FUNCTIONS = (P.erf, P.erfc)
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_LEAST = 64  # elements of a kernel: shorter ones would be kernels of their own


def use_kernels() -> None:
    """From here on eager runs compute these functions by kernels."""
    for primitive in _FUNCTIONS:
        primitive.compute_eagerly_by(functools.partial(_compute, primitive))


def _compute(primitive: Primitive, x: np.ndarray) -> np.ndarray:
    if x.dtype not in _DTYPES:
        return primitive.impl(x)
    x = np.asarray(x)
    if x.size < _LEAST:
        padded = np.zeros(_LEAST, x.dtype)
        padded[: x.size] = x.reshape(-1)
        result = _like(x)
        result[...] = _compute(primitive, padded)[: x.size].reshape(x.shape)
        return result
    result = _like(x)
    if result.strides == x.strides or x.flags.c_contiguous:
        program = _program(primitive, x.dtype, x.size)
        if program is None:
            return primitive.impl(x)
        program.run([address(x), address(result)])
    else:
        result[...] = _compute(primitive, np.ascontiguousarray(x))
    return result


def _like(x: np.ndarray) -> np.ndarray:
    """New memory with its axes in the order that NumPy's functions would give it."""
    if x.flags.c_contiguous:
        return np.empty(x.shape, x.dtype)
    return np.nditer((x, None), ["zerosize_ok"], [["readonly"], ["writeonly", "allocate"]]).operands[1]


@functools.lru_cache(64)
def _program(primitive: Primitive, dtype: np.dtype, n: int) -> Program | None:
    """The kernel as a program; None, with a warning, where it cannot be compiled."""
    from .runtime.planned import planned
    from .runtime.program import Program

    builder = Builder(primitive.name)
    vector = TensorType(dtype_of(dtype), (n,))
    x, _ = builder.input(vector), builder.input(vector)
    graph = builder.finish(builder.append(primitive, (x,), {}), {0: 1})
    try:
        return Program(planned(graph))
    except Exception as e:
        from .tracing.failure import describe

        warnings.warn(f"{primitive.name} is computed without compiled code: {describe(e, graph)}", UserWarning, stacklevel=2)
        return None
