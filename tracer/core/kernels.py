"""Compiled kernels for eager mode: elementwise functions that NumPy lacks, and draws of random numbers.

The records implement these functions with SciPy, whose import takes longer than most programs' use of them. Uniform numbers
from the kernel and from NumPy are bitwise equal; NumPy takes about four times as long but needs no compilation.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import ops as P
from ..ir.graph import Builder
from ..ir.primitive import Primitive
from ..ir.types import TensorType, dtype_named, dtype_of, int64
from ..runtime.support.objects import address
from .context import context
from .warning import warn

if TYPE_CHECKING:
    from ..runtime.programs.program import Program

_FUNCTIONS = (P.erf, P.erfc)
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_LEAST = 64  # minimum elements of a kernel: shorter arrays would need separate kernels


def use_kernels() -> None:
    """Makes eager mode compute these functions by kernels."""
    for primitive in _FUNCTIONS:
        primitive.compute_eagerly_by(functools.partial(_compute, primitive))
    P.uniform.compute_eagerly_by(_Uniform())


class _Uniform:
    """Uniform numbers, by NumPy until that has taken about as long as loading a kernel, and compiling it if it is not in the
    cache.
    """

    LATER = 2**25
    A_CALL = 2**13  # numbers that NumPy draws in the time of a call's constant part

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, state: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if self.drawn < self.LATER:
            self.drawn += self.A_CALL + math.prod(shape)
            return P.uniform.impl(state, shape=shape, dtype=dtype)
        kernel = _uniform_kernel(dtype)
        if kernel is None:
            return P.uniform.impl(state, shape=shape, dtype=dtype)
        result = np.empty(shape, dtype_named(dtype).numpy)
        kernel((ctypes.c_int64 * 2)(address(state), address(result)), 0, result.size)
        return result


@functools.cache
def _uniform_kernel(dtype: str) -> Callable[..., None] | None:
    """The kernel for a draw of any size: it takes addresses, and the range of elements; None if it cannot be compiled."""
    shape = (2**14,)  # of the graph; the kernel's range is given
    program = _program(P.uniform, TensorType(int64, (2,)), TensorType(dtype_named(dtype), shape), dtype=dtype, shape=shape)
    if program is None:
        return None
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(program.kernels[0])


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
        vector = TensorType(dtype_of(x.dtype), (x.size,))
        program = _program(primitive, vector, vector)
        if program is None:
            return primitive.impl(x)
        program.run([address(x), address(result)])
    else:
        result[...] = _compute(primitive, np.ascontiguousarray(x))
    return result


def _like(x: np.ndarray) -> np.ndarray:
    """New memory with the axis order that NumPy's functions would give it."""
    if x.flags.c_contiguous:
        return np.empty(x.shape, x.dtype)
    return np.nditer((x, None), ["zerosize_ok"], [["readonly"], ["writeonly", "allocate"]]).operands[1]


@functools.lru_cache(64)
def _program(primitive: Primitive, operand: TensorType, result: TensorType, **attrs: Any) -> Program | None:
    """The kernel as a program that writes to its second input; None, with a warning, if it cannot be compiled."""
    from ..runtime.programs.planned import planned
    from ..runtime.programs.program import Program

    builder = Builder(primitive.name)
    x, _ = builder.input(operand), builder.input(result)
    graph = builder.finish(builder.append(primitive, (x,), attrs), {0: 1})
    try:
        with _importing_numba():
            return Program(planned(graph))
    except Exception as e:
        from ..tracing.failure import TraceWarning, describe

        warn(f"{primitive.name} is computed without compiled code: {describe(e, graph)}", TraceWarning)
        return None


@contextlib.contextmanager
def _importing_numba() -> Iterator[None]:
    """Numba, which the first compilation imports, keeps ``print`` and functions of ``math``: not those of a recording."""
    if context.recorder is None or "numba" in sys.modules:
        yield
        return
    from ..tracing.substitutes import originals_in_place

    with originals_in_place():
        yield
