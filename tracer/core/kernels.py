"""Compiled kernels for eager mode: elementwise functions that NumPy lacks or computes slowly, and draws of random numbers.

The records implement the first ones with SciPy, whose import takes longer than most programs' use of them. The others are
bitwise equal, computed by NumPy or by a kernel: NumPy takes 4 (uniform numbers, ``relu``) to 25 times as long (``where``,
whose branches are mispredicted), but needs no compilation.
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

_FUNCTIONS = (P.erf, P.erfc, P.erfinv, P.trigamma)
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_LEAST = 64  # minimum elements of a kernel: shorter arrays would need separate kernels


def use_kernels() -> None:
    """Makes eager mode compute these functions by kernels."""
    for primitive in _FUNCTIONS:
        primitive.compute_eagerly_by(functools.partial(_compute, primitive))
    P.uniform.compute_eagerly_by(_Uniform())
    P.relu.compute_eagerly_by(_Exact(P.relu, 2**26))
    P.where.compute_eagerly_by(_Exact(P.where, 2**24))


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


class _Exact:
    """An elementwise function of large arrays, by NumPy until that has taken about as long as loading a kernel.

    Operands of the kernel have the first one's shape, or are numbers; all but masks have one dtype.
    """

    LEAST = 2**14  # elements: below, a call of the kernel gains nothing

    def __init__(self, primitive: Primitive, later: int):
        self.primitive, self.later, self.computed = primitive, later, 0

    def __call__(self, *operands: Any) -> Any:
        first = operands[0]
        size = getattr(first, "size", 0)
        if size < self.LEAST:
            return self.primitive.impl(*operands)
        if self.computed < self.later:
            self.computed += size
            return self.primitive.impl(*operands)
        dtype = next((x.dtype for x in operands if isinstance(x, np.ndarray) and x.ndim and x.dtype != bool), None)
        if dtype is None or dtype not in _DTYPES:
            return self.primitive.impl(*operands)
        arrays = [a for x in operands if (a := _operand(x, first.shape, dtype)) is not None]
        call = None
        if len(arrays) == len(operands):
            call = _elementwise_kernel(self.primitive, tuple([(a.dtype, bool(a.ndim)) for a in arrays]), dtype)
        if call is None:
            return self.primitive.impl(*operands)
        result = np.empty(first.shape, dtype)
        call([*arrays, result])
        return result


def _operand(x: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray | None:
    """An operand as a kernel takes it; None if it does not."""
    if isinstance(x, (int, float)) and not isinstance(x, np.generic):
        return np.array(x, dtype)
    x = np.asarray(x)
    if x.ndim:
        return x if x.shape == shape and x.flags.c_contiguous and x.dtype in (dtype, bool) else None
    return x if x.dtype == dtype else None


@functools.cache
def _elementwise_kernel(
    primitive: Primitive, operands: tuple[tuple[np.dtype, bool], ...], dtype: np.dtype
) -> Callable[[list[np.ndarray]], None] | None:
    """A function of operands, by dtype and whether they are arrays, and the result, of any size; None without a kernel."""
    n = 2**14  # of the graph; the kernel's range is given
    types = [TensorType(dtype_of(kind), (n,) if is_array else ()) for kind, is_array in operands]
    program = _program(primitive, *types, TensorType(dtype_of(dtype), (n,)))
    if program is None:
        return None
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(program.kernels[0])
    block, patches = ctypes.c_int64 * len(program.plan.words), program.plan.patches

    def call(arrays: list[np.ndarray]) -> None:
        words = block()
        for place, slot, _ in patches:
            words[place] = address(arrays[slot])
        kernel(words, 0, arrays[-1].size)

    return call


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
def _program(primitive: Primitive, *types: TensorType, **attrs: Any) -> Program | None:
    """The kernel as a program that writes to its last input, which has the result's type; None, with a warning, if it cannot be
    compiled. Operands of other shapes are broadcast if the primitive is elementwise.
    """
    from ..runtime.programs.planned import planned
    from ..runtime.programs.program import Program

    builder = Builder(primitive.name)
    *operands, result = map(builder.input, types)
    for i, x in enumerate(operands if primitive.is_elementwise else ()):
        if x.type.shape != result.type.shape:
            (operands[i],) = builder.append(P.broadcast, (x,), {"shape": result.type.shape, "axes": ()})
    graph = builder.finish(builder.append(primitive, operands, attrs), {0: len(operands)})
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
