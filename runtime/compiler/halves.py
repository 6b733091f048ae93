"""Conversion of 16-bit numbers in LLVM: from float32, rounded to nearest even, and back.

In registers they are stored as in memory, as 16-bit integers. float16 is converted by the CPU where it can; otherwise, and
bfloat16 always, by integer arithmetic on 32 bits, which vectorises. NaN stays NaN.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from ...ir.types import DType, bfloat16
from .machine import selected

_I16, _I32, _F32 = ir.IntType(16), ir.IntType(32), ir.FloatType()


def bits(number: float, dtype: DType) -> int:
    """The bits of a number in a 16-bit format."""
    return int(np.array(number, np.float32).astype(dtype.numpy).view(np.uint16))


def _of(type_: ir.Type, element: ir.Type) -> ir.Type:
    """A type with as many lanes as ``type_``."""
    return ir.VectorType(element, type_.count) if isinstance(type_, ir.VectorType) else element


def _constant(type_: ir.Type, x: int) -> ir.Constant:
    return ir.Constant(type_, [x] * type_.count if isinstance(type_, ir.VectorType) else x)


def _converted_by_cpu(builder: ir.IRBuilder) -> bool:
    """True if there are instructions for float16: on GPUs, 64-bit ARM, and CPUs of x86-64-v3."""
    if "nvptx" in builder.module.triple:
        return True
    cpu = selected()
    return cpu.arch == "aarch64" or cpu.has("f16c")


def widened(builder: ir.IRBuilder, x: ir.Value, dtype: DType) -> ir.Value:
    """A 16-bit number, or a vector of them, in float32: exact."""
    whole, real = _of(x.type, _I32), _of(x.type, _F32)
    if dtype is bfloat16:
        return builder.bitcast(builder.shl(builder.zext(x, whole), _constant(whole, 16)), real)
    if _converted_by_cpu(builder):
        return builder.fpext(builder.bitcast(x, _of(x.type, ir.HalfType())), real)
    v = builder.zext(x, whole)
    sign = builder.shl(builder.and_(v, _constant(whole, 0x8000)), _constant(whole, 16))
    rest = builder.shl(builder.and_(v, _constant(whole, 0x7FFF)), _constant(whole, 13))
    # The exponent is 112 too small, for subnormal numbers too: one exact multiplication corrects it.
    scale = ir.Constant(real, [2.0**112] * real.count if isinstance(real, ir.VectorType) else 2.0**112)
    size = builder.bitcast(builder.fmul(builder.bitcast(rest, real), scale), whole)
    special = builder.icmp_unsigned(">=", rest, _constant(whole, 0x7C00 << 13))
    size = builder.select(special, builder.or_(rest, _constant(whole, 0x7F800000)), size)
    return builder.bitcast(builder.or_(size, sign), real)


def narrowed(builder: ir.IRBuilder, x: ir.Value, dtype: DType) -> ir.Value:
    """A float32, or a vector of them, rounded to 16 bits."""
    whole, short = _of(x.type, _I32), _of(x.type, _I16)
    if dtype is not bfloat16 and _converted_by_cpu(builder):
        return builder.bitcast(builder.fptrunc(x, _of(x.type, ir.HalfType())), short)
    v = builder.bitcast(x, whole)
    if dtype is bfloat16:
        odd = builder.and_(builder.lshr(v, _constant(whole, 16)), _constant(whole, 1))
        rounded = builder.lshr(builder.add(v, builder.add(odd, _constant(whole, 0x7FFF))), _constant(whole, 16))
        quiet = builder.or_(builder.lshr(v, _constant(whole, 16)), _constant(whole, 0x40))
        return builder.trunc(builder.select(builder.fcmp_unordered("uno", x, x), quiet, rounded), short)
    sign = builder.and_(v, _constant(whole, 0x80000000))
    size = builder.xor(v, sign)
    # Subnormal numbers: an addition shifts and rounds them.
    magic = _constant(whole, (127 - 15 + 23 - 10 + 1) << 23)
    real = x.type
    shifted = builder.fadd(builder.bitcast(size, real), builder.bitcast(magic, real))
    subnormal = builder.sub(builder.bitcast(shifted, whole), magic)
    # Normal numbers: adjust the exponent, and add half a unit in the last place, or slightly less if that is even.
    odd = builder.and_(builder.lshr(size, _constant(whole, 13)), _constant(whole, 1))
    biased = builder.add(builder.add(size, _constant(whole, (((15 - 127) << 23) + 0xFFF) & 0xFFFFFFFF)), odd)
    normal = builder.lshr(biased, _constant(whole, 13))
    infinite = builder.icmp_unsigned(">", size, _constant(whole, 0x7F800000))
    special = builder.select(infinite, _constant(whole, 0x7E00), _constant(whole, 0x7C00))
    small = builder.icmp_unsigned("<", size, _constant(whole, 113 << 23))
    large = builder.icmp_unsigned(">=", size, _constant(whole, (127 + 16) << 23))
    result = builder.select(large, special, builder.select(small, subnormal, normal))
    return builder.trunc(builder.or_(result, builder.lshr(sign, _constant(whole, 16))), short)
