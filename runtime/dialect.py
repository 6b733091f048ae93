"""The kernel language as a dialect of Numba: plain ``numba.njit`` compiles the text of every kernel.

    import numba
    from tracer.runtime.dialect import *

    @numba.njit(SIGNATURE, error_model="numpy")
    def kernel(args, start, stop):
        p0 = buffer_f32(args, 0, 2)
        p1 = buffer_f32(args, 1, 2)
        for i0 in range(start, stop):
            store(p1, i0, exp(load(p0, i0)))

    call(kernel, [x, y], [], 0, 4)

Each name is a Numba intrinsic that emits the instructions of ``intrinsics``; this file adds the types for Numba's type
inference. Only Numba's public extension interface is used, so this is a second compiler for kernels, independent of
``numba_cpu``. docs/kernels.md describes the language, and the settings with which both compilers give bitwise equal
results.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic, models, register_model

from .compiler import intrinsics
from .compiler.intrinsics import DTYPES, INTRINSICS, Scalar
from .support.objects import address
from .support.products import product

SIGNATURE = types.void(types.CPointer(types.int64), types.int64, types.int64)


class Half(types.Type):
    """The type of 16-bit numbers, which kernels move and convert."""

    def __init__(self, short: str) -> None:
        super().__init__(short)


@register_model(Half)
class _HalfModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: Half) -> None:
        super().__init__(manager, type_, ir.IntType(16))


_TYPES: dict[str, types.Type] = {
    "bool": types.boolean,
    "u8": types.uint8,
    "i8": types.int8,
    "i16": types.int16,
    "i32": types.int32,
    "i64": types.int64,
    "f16": Half("f16"),
    "bf16": Half("bf16"),
    "f32": types.float32,
    "f64": types.float64,
}
_SHORT = {t: short for short, t in _TYPES.items()}


class Buffer(types.Type):
    """The type of array ``k`` of a kernel with ``n`` arrays: a pointer, and the alias scope of its loads and stores."""

    def __init__(self, short: str, k: int, n: int) -> None:
        super().__init__(f"buffer_{short}({k}, {n})")
        self.short, self.k, self.n = short, k, n


@register_model(Buffer)
class _BufferModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: Buffer) -> None:
        dtype = DTYPES[type_.short]
        element = ir.IntType(8) if type_.short == "bool" else intrinsics.llvm_type(dtype)
        super().__init__(manager, type_, element.as_pointer())


def _operand(builder: ir.IRBuilder, type_: types.Type, value: Any) -> Any:
    """A Numba value as an operand of ``intrinsics``."""
    if isinstance(type_, Buffer):
        return intrinsics.buffer_at(builder, DTYPES[type_.short], value, type_.k, type_.n)
    return Scalar(value, DTYPES[_SHORT[types.unliteral(type_)]])


def _result_type(name: str, t: Sequence[Any]) -> types.Type:
    """The type of an intrinsic's result."""
    if name.startswith(("store", "prefetch", *intrinsics.PRODUCTS)):
        return types.void
    if name == "load":
        return _TYPES[t[0].short]
    if name in ("better", "worse"):
        return types.boolean
    if name == "real":
        return types.float64
    if name.startswith("uniform_"):
        return _TYPES[name.removeprefix("uniform_")]
    if name == "select":
        return t[1]
    if name in ("floor_div", "floor_mod", "ordered"):
        return types.int64
    if name in ("accumulate", "maximum", "minimum") and t[0] != t[1]:
        return types.int64  # integers of different types become 64-bit
    return t[0]


def _intrinsic(name: str, count: int, definition: Callable[..., Any], literal: bool = False) -> Any:
    """An intrinsic with ``count`` operands; Numba reads their number from the signature."""

    def define(context: Any, *operands: Any) -> Any:
        return definition(*operands)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["context", *(f"x{k}" for k in range(count))]
    define.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
    define.__name__ = define.__qualname__ = name
    define.__doc__ = inspect.getdoc(INTRINSICS.get(name))
    return intrinsic(prefer_literal=literal)(define)


def _adapted(name: str) -> Any:
    """A kernel intrinsic as a Numba intrinsic."""
    function = INTRINSICS[name]

    def define(*operands: Any) -> Any:
        operands = tuple(map(types.unliteral, operands))
        signature = _result_type(name, operands)(*operands)

        def write(context: Any, builder: ir.IRBuilder, sig: Any, values: Sequence[Any]) -> Any:
            result = function(builder, *[_operand(builder, t, v) for t, v in zip(sig.args, values, strict=True)])
            return context.get_dummy_value() if result is None else result.value

        return signature, write

    return _intrinsic(name, intrinsics.operand_count(name), define)


def _buffer(short: str) -> Any:
    """``buffer_f32(args, k, n)``, where ``k`` and ``n`` are literals."""

    def define(args: Any, k: Any, n: Any) -> Any:
        if not isinstance(k, types.Literal) or not isinstance(n, types.Literal):
            return None
        result = Buffer(short, k.literal_value, n.literal_value)

        def write(context: Any, builder: ir.IRBuilder, sig: Any, values: Sequence[Any]) -> Any:
            return intrinsics.buffer(builder, DTYPES[short], values[0], result.k, result.n).pointer

        return result(args, k, n), write

    return _intrinsic(f"buffer_{short}", 3, define, literal=True)


def _conversion(short: str) -> Any:
    """``f32(x)``."""

    def define(x: Any) -> Any:
        x = types.unliteral(x)

        def write(context: Any, builder: ir.IRBuilder, sig: Any, values: Sequence[Any]) -> Any:
            return intrinsics.convert(builder, Scalar(values[0], DTYPES[_SHORT[x]]), DTYPES[short]).value

        return _TYPES[short](x), write

    return _intrinsic(short, 1, define)


NAMES: dict[str, Any] = {
    **{name: _adapted(name) for name in INTRINSICS},
    **{f"buffer_{short}": _buffer(short) for short in DTYPES},
    **{short: _conversion(short) for short in DTYPES},
    "inf": math.inf,
    "nan": math.nan,
    "masked": range,  # a hint for the vectors of the other compiler
}
globals().update(NAMES)
__all__ = ["SIGNATURE", "call", "compiled", *NAMES]


def compiled(source: str) -> Any:
    """The kernel of that text, compiled by ``numba.njit``."""
    space = dict(NAMES)
    exec(compile(source, "<kernel>", "exec"), space)
    return njit(SIGNATURE, error_model="numpy")(space["kernel"])


def call(kernel: Any, arrays: Sequence[np.ndarray], integers: Sequence[int], start: int, stop: int) -> None:
    """Runs a compiled kernel on arrays, then integers, for the part of its domain from ``start`` to ``stop``.

    The arrays are those of ``buffer_...(args, k, n)``, in that order and with those dtypes; they must be contiguous. Reads
    and writes are not bounds-checked. Raises RuntimeError, with the number of the check and the operand, if a ``check_...``
    intrinsic fails.
    """
    for k, a in enumerate(arrays):
        if not a.flags.c_contiguous:
            raise ValueError(f"array {k} is not contiguous")
    status = np.zeros(2, np.int64)
    called = [product(name) for name in kernel.py_func.__code__.co_names if name.startswith(intrinsics.PRODUCTS)]
    words = np.array([*map(address, arrays), *integers, address(status), *called], np.int64)
    _entry(kernel).ctypes(words.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)), start, stop)
    if status[0]:
        raise RuntimeError(f"check {status[0] - 1} of the kernel failed for {status[1]}")


@functools.cache
def _entry(kernel: Any) -> Any:
    """A C function that calls a compiled kernel."""

    @cfunc(SIGNATURE)
    def run(args: Any, start: int, stop: int) -> None:
        kernel(args, start, stop)

    return run


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The names of ``NAMES``, for type checkers."""
