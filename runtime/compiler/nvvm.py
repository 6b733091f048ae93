"""The functions that kernel source may call on a GPU, in NVVM's dialect of LLVM IR.

For GPUs before Blackwell that is the dialect of LLVM 7. It lacks ``fneg``, ``llvm.maximum``, ``llvm.copysign``,
``llvm.ldexp`` and ``frem``. It accepts few of LLVM's floating-point intrinsics, and has its own instead. The elementary
functions are those of ``codegen.math`` and related files, over ``NVVMArithmetic``, bitwise equal to the CPU's. Sums are not
reassociated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...ir.types import DType, bool_, float64
from . import intrinsics as cpu
from .arithmetic import LLVMArithmetic, Number, declared, element
from .intrinsics import I1, I8, I64, Scalar, alike, llvm_type

GLOBAL, SHARED = 1, 3  # address spaces
_I32 = ir.IntType(32)
_WARP = 32


@dataclass(frozen=True)
class Pack:
    """The numbers of the adjacent iterations that one thread computes together."""

    parts: tuple[Scalar, ...]

    @property
    def dtype(self) -> DType:
        return self.parts[0].dtype


@dataclass(frozen=True)
class GlobalArray:
    """An array in global memory. One that is only read is loaded through the read-only cache."""

    pointer: ir.Value
    dtype: DType
    only_read: bool


class Builder(ir.IRBuilder):
    """LLVM's builder, without instructions that NVVM rejects."""

    def fneg(self, arg: ir.Value, name: str = "", flags: Sequence[str] = ()) -> ir.Value:
        return self.fsub(arg.type(-0.0), arg, name)


def _own(builder: ir.IRBuilder, name: str, *operands: ir.Value) -> ir.Value:
    """NVVM's intrinsic of that name, for f32 or f64."""
    type_ = operands[0].type
    suffix = "f" if isinstance(type_, ir.FloatType) else "d"
    function = declared(builder.module, ir.FunctionType(type_, [type_] * len(operands)), f"llvm.nvvm.{name}.{suffix}")
    return builder.call(function, operands)


class NVVMArithmetic(LLVMArithmetic):
    """``codegen.math.Arithmetic`` in instructions that NVVM accepts."""

    @property
    def scales(self) -> bool:
        return False

    @property
    def wide(self) -> NVVMArithmetic:
        return NVVMArithmetic(self.builder, ir.DoubleType())

    def fma(self, a: Number, b: Number, c: Number) -> Number:
        return self._call("fma", a, b, c)

    def absolute(self, x: Number) -> Number:
        return Number(self, _own(self.builder, "fabs", x.value))

    def rint(self, x: Number) -> Number:
        return Number(self, _own(self.builder, "round", x.value))

    def sqrt(self, x: Number) -> Number:
        return Number(self, _own(self.builder, "sqrt.rn", x.value))

    def copysign(self, x: Number, sign: Number) -> Number:
        high = 1 << (self.bits - 1)
        return self.from_bits((self.to_bits(x) & (high - 1)) | (self.to_bits(sign) & -high))

    def table(self, name: str, numbers: Sequence[float], index: Number) -> Number:
        """In global memory: threads look up different elements, which constant memory would serve sequentially."""
        array = ir.ArrayType(element(self.type), len(numbers))
        found = self.builder.module.globals.get(name)
        if found is None:
            found = ir.GlobalVariable(self.builder.module, array, name, addrspace=GLOBAL)
            found.linkage, found.global_constant, found.initializer = "internal", True, array(list(numbers))
        return Number(self, self.builder.load(self.builder.gep(found, [self.integer(0), index.value])))


# Memory.


def stored_type(dtype: DType) -> ir.Type:
    return I8 if dtype is bool_ else llvm_type(dtype)


def _from_memory(builder: ir.IRBuilder, v: ir.Value, dtype: DType) -> Scalar:
    return Scalar(builder.icmp_unsigned("!=", v, v.type(0)) if dtype is bool_ else v, dtype)


def _to_memory(builder: ir.IRBuilder, x: Scalar) -> ir.Value:
    return builder.zext(x.value, I8) if x.dtype is bool_ else x.value


def _loaded(builder: ir.IRBuilder, array: GlobalArray, pointer: ir.Value, align: int | None = None) -> ir.Value:
    v = builder.load(pointer, align=align)
    if array.only_read:
        v.set_metadata("invariant.load", builder.module.add_metadata([]))
    return v


def load(builder: ir.IRBuilder, array: GlobalArray, i: Scalar) -> Scalar:
    v = _loaded(builder, array, builder.gep(array.pointer, [i.value], inbounds=True))
    return _from_memory(builder, v, array.dtype)


def store(builder: ir.IRBuilder, array: GlobalArray, i: Scalar, value: Scalar) -> None:
    if value.dtype is not array.dtype:
        raise TypeError(f"a kernel stores {value.dtype.short} in an array of {array.dtype.short}")
    builder.store(_to_memory(builder, value), builder.gep(array.pointer, [i.value], inbounds=True))


def _pieces(builder: ir.IRBuilder, array: GlobalArray, first: Scalar, count: int) -> tuple[list[ir.Value], int, int]:
    """Pointers to vectors of adjacent elements, of at most 16 bytes and four elements; the elements and bytes of each."""
    size = 1 if array.dtype is bool_ else array.dtype.itemsize
    lanes = min(count, 16 // size, 4)
    at = builder.gep(array.pointer, [first.value], inbounds=True)
    vectors = builder.bitcast(at, ir.VectorType(at.type.pointee, lanes).as_pointer(GLOBAL))
    return [builder.gep(vectors, [_I32(k)]) for k in range(count // lanes)], lanes, lanes * size


def load_neighbours(builder: ir.IRBuilder, array: GlobalArray, first: Scalar, count: int) -> Pack:
    """Loads ``count`` elements in as few instructions as possible. ``first`` is a multiple of ``count``."""
    pointers, lanes, nbytes = _pieces(builder, array, first, count)
    parts = []
    for pointer in pointers:
        v = _loaded(builder, array, pointer, align=nbytes)
        parts += [_from_memory(builder, builder.extract_element(v, _I32(k)), array.dtype) for k in range(lanes)]
    return Pack(tuple(parts))


def store_neighbours(builder: ir.IRBuilder, array: GlobalArray, first: Scalar, values: Sequence[Scalar]) -> None:
    """Stores adjacent values; ``first`` is a multiple of their number."""
    if values[0].dtype is not array.dtype:
        raise TypeError(f"a kernel stores {values[0].dtype.short} in an array of {array.dtype.short}")
    pointers, lanes, nbytes = _pieces(builder, array, first, len(values))
    for n, pointer in enumerate(pointers):
        v = ir.Constant(pointer.type.pointee, ir.Undefined)
        for k in range(lanes):
            v = builder.insert_element(v, _to_memory(builder, values[n * lanes + k]), _I32(k))
        builder.store(v, pointer, align=nbytes)


# Threads.


def special(builder: ir.IRBuilder, name: str) -> ir.Value:
    """A special register, as 64 bits."""
    function = declared(builder.module, ir.FunctionType(_I32, []), f"llvm.nvvm.read.ptx.sreg.{name}")
    return builder.zext(builder.call(function, []), I64)


def block_barrier(builder: ir.IRBuilder) -> None:
    builder.call(declared(builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.nvvm.barrier0"), [])


def _shuffled(builder: ir.IRBuilder, x: ir.Value, distance: int) -> ir.Value:
    """The value of the lane whose number differs in one bit."""
    function = declared(builder.module, ir.FunctionType(_I32, [_I32] * 4), "llvm.nvvm.shfl.sync.bfly.i32")

    def of_32_bits(v: ir.Value) -> ir.Value:
        return builder.call(function, [_I32(-1), v, _I32(distance), _I32(31)])

    bits = {ir.FloatType(): 32, ir.DoubleType(): 64}.get(x.type) or x.type.width
    whole = builder.bitcast(x, ir.IntType(bits)) if not isinstance(x.type, ir.IntType) else x
    if bits == 64:
        low, high = (builder.trunc(v, _I32) for v in (whole, builder.lshr(whole, I64(32))))
        low, high = (builder.zext(of_32_bits(v), I64) for v in (low, high))
        whole = builder.or_(low, builder.shl(high, I64(32)))
    else:
        whole = of_32_bits(whole) if bits == 32 else builder.trunc(of_32_bits(builder.zext(whole, _I32)), whole.type)
    return builder.bitcast(whole, x.type) if not isinstance(x.type, ir.IntType) else whole


Combine = Callable[..., tuple[Scalar, ...]]


def joined(builder: ir.IRBuilder, values: tuple[Scalar, ...], combine: Combine, threads: int) -> tuple[Scalar, ...]:
    """Combines the values of all threads of a warp (32 threads) or block; all threads get the result.

    Uses shuffles within warps and shared memory among them, in an order that depends only on the number of threads.
    """
    for distance in (16, 8, 4, 2, 1):
        others = tuple(Scalar(_shuffled(builder, x.value, distance), x.dtype) for x in values)
        values = combine(builder, values, others)
    if threads == _WARP:
        return values
    warps = threads // _WARP
    places = [_shared(builder.module, x.dtype, warps) for x in values]
    thread = special(builder, "tid.x")
    with builder.if_then(builder.icmp_unsigned("==", builder.and_(thread, I64(_WARP - 1)), I64(0))):
        for x, place in zip(values, places, strict=True):
            builder.store(_to_memory(builder, x), builder.gep(place, [I64(0), builder.lshr(thread, I64(5))]))
    block_barrier(builder)

    def of_warp(w: int) -> tuple[Scalar, ...]:
        loads = [builder.load(builder.gep(place, [I64(0), I64(w)])) for place in places]
        return tuple(_from_memory(builder, v, x.dtype) for v, x in zip(loads, values, strict=True))

    total = of_warp(0)
    for w in range(1, warps):
        total = combine(builder, total, of_warp(w))
    return total


def _shared(module: ir.Module, dtype: DType, count: int) -> ir.GlobalVariable:
    array = ir.ArrayType(stored_type(dtype), count)
    variable = ir.GlobalVariable(module, array, module.get_unique_name("shared"), addrspace=SHARED)
    variable.linkage, variable.initializer, variable.align = "internal", ir.Constant(array, ir.Undefined), 8
    return variable


def _single(function: Callable[..., Scalar]) -> Combine:
    return lambda builder, a, b: (function(builder, a[0], b[0]),)


def _pair(before: Callable[..., Scalar]) -> Combine:
    """Combines pairs of a position and its element: the pair that comes first; among equal elements the lower position."""

    def combine(builder: ir.IRBuilder, a: tuple[Scalar, ...], b: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        (i, x), (j, y) = a, b
        later = before(builder, y, x).value
        neither = builder.not_(builder.or_(later, before(builder, x, y).value))
        lower = builder.icmp_signed("<", j.value, i.value)
        chosen = builder.or_(later, builder.and_(neither, lower))
        return tuple(Scalar(builder.select(chosen, q.value, p.value), p.dtype) for p, q in zip(a, b, strict=True))

    return combine


def report(builder: ir.IRBuilder, bad: ir.Value, status: GlobalArray, site: Scalar, what: ir.Value) -> None:
    """Writes to the status cell, unless another thread has."""
    with builder.if_then(bad, likely=False):
        number = builder.add(site.value, I64(1))
        found = builder.cmpxchg(status.pointer, I64(0), number, "monotonic", "monotonic")
        with builder.if_then(builder.extract_value(found, 1)):
            builder.store(what, builder.gep(status.pointer, [I64(1)]))


# Numbers.


def accumulate(builder: ir.IRBuilder, a: Scalar, b: Scalar) -> Scalar:
    a, b, dtype = alike(builder, a, b)
    return Scalar((builder.fadd if dtype.is_floating_point else builder.add)(a.value, b.value), dtype)


def either(builder: ir.IRBuilder, a: Scalar, b: Scalar) -> Scalar:
    return Scalar(builder.or_(a.value, b.value), a.dtype)


def abs_(builder: ir.IRBuilder, x: Scalar) -> Scalar:
    return Scalar(_own(builder, "fabs", x.value), x.dtype) if x.dtype.is_floating_point else cpu.abs_(builder, x)


def _extremum(sign: str) -> Callable[..., Scalar]:
    """The greater or the smaller: NaN if one is NaN, and -0 is less than 0."""

    def extremum(builder: ir.IRBuilder, a: Scalar, b: Scalar) -> Scalar:
        a, b, dtype = alike(builder, a, b)
        if not dtype.is_floating_point:
            return Scalar(builder.select(cpu.compare(builder, sign, a, b).value, a.value, b.value), dtype)
        number = _own(builder, "fmax" if sign == ">" else "fmin", a.value, b.value)
        none = builder.fcmp_unordered("uno", a.value, b.value)
        return Scalar(builder.select(none, llvm_type(dtype)(float("nan")), number), dtype)

    return extremum


def _of_numbers(name: str) -> Callable[..., Scalar]:
    """The greater or the smaller of two numbers; if one is NaN, the other."""
    return lambda builder, a, b: Scalar(_own(builder, name, a.value, b.value), a.dtype)


def _own_function(name: str) -> Callable[..., Scalar]:
    return lambda builder, x: Scalar(_own(builder, name, x.value), x.dtype)


def _elementary(function: Callable[..., Any]) -> Callable[..., Scalar]:
    """A function of ``codegen.math``."""

    def call(builder: ir.IRBuilder, *operands: Scalar) -> Scalar:
        m = NVVMArithmetic(builder, operands[0].value.type)
        return Scalar(function(m, *[Number(m, x.value) for x in operands]).value, operands[0].dtype)

    return call


def fmod(builder: ir.IRBuilder, a: Scalar, b: Scalar) -> Scalar:
    """The exact remainder with the dividend's sign, by long division in 64 bits."""
    x, y = (cpu.convert(builder, v, float64).value for v in (a, b))
    m = NVVMArithmetic(builder, ir.DoubleType())
    r0, divisor = m.absolute(Number(m, x)), m.absolute(Number(m, y))
    before = builder.block
    head, body, done = (builder.append_basic_block(f"fmod.{name}") for name in ("test", "step", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    r = builder.phi(r0.value.type)
    r.add_incoming(r0.value, before)
    left = Number(m, r)
    more = builder.and_((left >= divisor).value, builder.and_((divisor > 0.0).value, (left < float("inf")).value))
    builder.cbranch(more, body, done)
    builder.position_at_end(body)
    digits = _exponent(m, left) - _exponent(m, divisor)
    digits = m.select(digits > 1000, Number(m, I64(1000)), digits)
    step = divisor * m.from_bits((digits + 1023) << 52)
    step = m.select(step > left, step * 0.5, step)
    r.add_incoming((left - step).value, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    # Undefined remainders (NaN, an infinite dividend, a divisor of 0) are NaN.
    none = builder.or_(builder.fcmp_unordered("uno", x, y), builder.or_((r0 == float("inf")).value, (divisor == 0.0).value))
    result = m.select(Number(m, none), m.real(float("nan")), m.copysign(left, Number(m, x)))
    return cpu.convert(builder, Scalar(result.value, float64), a.dtype)


def _exponent(m: NVVMArithmetic, x: Number) -> Number:
    """The biased exponent of a positive number; for a subnormal one, extended below 1."""
    subnormal = x < 2.0**-1022
    normal = m.select(subnormal, x * 2.0**54, x)
    exponent = m.to_bits(normal) >> 52
    return m.select(subnormal, exponent - 54, exponent)


def _divided(bits: int, remainder: bool) -> Callable[..., Scalar]:
    """Quotient or remainder of non-negative integers of this width."""

    def divided(builder: ir.IRBuilder, a: Scalar, b: Scalar) -> Scalar:
        x, y = (builder.trunc(v.value, _I32) if bits == 32 else v.value for v in (a, b))
        result = (builder.urem if remainder else builder.udiv)(x, y)
        return Scalar(builder.zext(result, I64) if bits == 32 else result, a.dtype)

    return divided


INTRINSICS: dict[str, Callable[..., Any]] = {
    **{name: f for name, f in cpu.INTRINSICS.items() if not name.startswith(("prefetch", *cpu.PRODUCTS))},
    **{name: _elementary(function) for table in cpu.ELEMENTARY for name, function in table.items()},
    **{f.__name__: f for f in (load, store, accumulate, abs_, fmod, block_barrier)},
    **{f.__name__: functools.partial(f, report=report) for f in (cpu.check_index, cpu.check_divisor)},
    "maximum": _extremum(">"),
    "minimum": _extremum("<"),
    "greater": _of_numbers("fmax"),
    "less": _of_numbers("fmin"),
    "sqrt": _own_function("sqrt.rn"),
    "floor": _own_function("floor"),
    "ceil": _own_function("ceil"),
    "trunc": _own_function("trunc"),
    "rint": _own_function("round"),
    **{f"quotient{bits}": _divided(bits, remainder=False) for bits in (32, 64)},
    **{f"remainder{bits}": _divided(bits, remainder=True) for bits in (32, 64)},
}
COMBINE: dict[str, Combine] = {
    "sum": _single(accumulate),
    "max": _single(INTRINSICS["maximum"]),
    "min": _single(INTRINSICS["minimum"]),
    "greater": _single(INTRINSICS["greater"]),
    "less": _single(INTRINSICS["less"]),
    "any": _single(either),
    "argmax": _pair(cpu.INTRINSICS["better"]),
    "argmin": _pair(cpu.INTRINSICS["worse"]),
}
__all__ = ["COMBINE", "I1", "INTRINSICS", "Builder", "GlobalArray", "Pack", "joined", "special"]
