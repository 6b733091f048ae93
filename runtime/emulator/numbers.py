"""PTX arithmetic that NumPy lacks or defines differently. NaN payloads are not modelled."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Values = Any  # an array, or a NumPy number that stands for all elements

_FMA = """
declare {t} @llvm.fma.{name}({t}, {t}, {t})
define void @f(ptr noalias %d, ptr %a, ptr %b, ptr %c, i64 %sa, i64 %sb, i64 %sc, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %ia = mul i64 %i, %sa
  %ib = mul i64 %i, %sb
  %ic = mul i64 %i, %sc
  %pa = getelementptr {t}, ptr %a, i64 %ia
  %pb = getelementptr {t}, ptr %b, i64 %ib
  %pc = getelementptr {t}, ptr %c, i64 %ic
  %pd = getelementptr {t}, ptr %d, i64 %i
  %x = load {t}, ptr %pa
  %y = load {t}, ptr %pb
  %z = load {t}, ptr %pc
  %r = call {t} @llvm.fma.{name}({t} %x, {t} %y, {t} %z)
  store {t} %r, ptr %pd
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""


@functools.cache
def _fma_loop(dtype: np.dtype) -> Callable[..., None]:
    """A loop over the CPU's fused multiply-add: NumPy has none, and exact emulation in NumPy is slow."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )
    t, name = {4: ("float", "f32"), 8: ("double", "f64")}[dtype.itemsize]
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_FMA.format(t=t, name=name)), machine)
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 4)(engine.get_function_address("f"))
    call.engine = engine  # type: ignore[attr-defined]  # the code lives as long as the engine
    return call


def fma(a: Values, b: Values, c: Values) -> Values:
    """a * b + c, rounded once."""
    a, b, c = np.asarray(a), np.asarray(b), np.asarray(c)
    result = np.empty(max(a.size, b.size, c.size), a.dtype)
    strides = [x.strides[0] // x.itemsize if x.ndim else 0 for x in (a, b, c)]
    # Several times faster than `ctypes.data`; this is the most frequent instruction.
    pointers = [ctypes.byref(ctypes.c_char.from_buffer(x)) for x in (result, a, b, c)]
    _fma_loop(a.dtype)(*pointers, *strides, result.size)
    return result


def flush(x: Values) -> Values:
    """Subnormal numbers become zeros of their sign."""
    small = np.abs(x) < np.finfo(np.float32).tiny
    return np.where(small, np.copysign(np.float32(0), x), x) if small.any() else x


def saturate(x: Values) -> Values:
    """Clamps to [0, 1]; NaN becomes 0."""
    return np.fmin(np.fmax(x, x.dtype.type(0)), x.dtype.type(1)) + x.dtype.type(0)


def minimum(a: Values, b: Values) -> Values:
    """The other operand if one is NaN; -0 is less than +0."""
    return np.where(a == b, np.where(np.signbit(a), a, b), np.fmin(a, b))


def maximum(a: Values, b: Values) -> Values:
    return np.where(a == b, np.where(np.signbit(a), b, a), np.fmax(a, b))


def minimum_nan(a: Values, b: Values) -> Values:
    """As ``minimum``, but NaN if one operand is NaN."""
    return np.where(a == b, np.where(np.signbit(a), a, b), np.minimum(a, b))


def maximum_nan(a: Values, b: Values) -> Values:
    return np.where(a == b, np.where(np.signbit(a), b, a), np.maximum(a, b))


def quotient(a: Values, b: Values) -> Values:
    """Integer division towards zero. Division by zero gives all ones: undefined in PTX, but hardware's result."""
    one = a.dtype.type(1)
    if a.dtype.kind == "u":
        return np.where(b == 0, ~a.dtype.type(0), a // np.where(b == 0, one, b))
    plain = (b != 0) & (b != -1)
    divisor = np.where(plain, b, one)
    result = (a - np.fmod(a, divisor)) // divisor
    return np.where(plain, result, np.where(b == 0, -one, np.negative(a)))


def remainder(a: Values, b: Values) -> Values:
    """The remainder with the sign of the dividend; the dividend if the divisor is zero."""
    one = a.dtype.type(1)
    plain = (b != 0) if a.dtype.kind == "u" else (b != 0) & (b != -1)
    return np.where(plain, np.fmod(a, np.where(plain, b, one)), np.where(b == 0, a, a.dtype.type(0)))


def high_product(a: Values, b: Values) -> Values:
    """The upper half of a product."""
    bits = 8 * a.dtype.itemsize
    if bits < 64:
        wide = np.dtype(f"{a.dtype.kind}{a.dtype.itemsize * 2}")
        return (a.astype(wide) * b.astype(wide) >> wide.type(bits)).astype(a.dtype)
    if a.dtype.kind == "u":
        return _high_product_64(a, b)
    unsigned = _high_product_64(a.view(np.uint64), b.view(np.uint64)).view(np.int64)
    zero = np.int64(0)
    return unsigned - np.where(a < 0, b, zero) - np.where(b < 0, a, zero)


def _high_product_64(a: Values, b: Values) -> Values:
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    middle = (a >> half) * (b & low) + ((a & low) * (b & low) >> half)
    other = (a & low) * (b >> half) + (middle & low)
    return (a >> half) * (b >> half) + (middle >> half) + (other >> half)


def wide_product(a: Values, b: Values) -> Values:
    wide = np.dtype(f"{a.dtype.kind}{a.dtype.itemsize * 2}")
    return a.astype(wide) * b.astype(wide)


def _count(count: Values, dtype: np.dtype) -> Values:
    return count.astype(f"u{dtype.itemsize}").view(dtype)


def shift_left(a: Values, count: Values) -> Values:
    """Shift counts of the width and more give 0."""
    bits = 8 * a.dtype.itemsize
    if not count.ndim and count < bits:  # a literal
        return np.left_shift(a, a.dtype.type(count))
    near = count < bits
    shifted = np.left_shift(a, _count(np.where(near, count, np.uint32(0)), a.dtype))
    return np.where(near, shifted, a.dtype.type(0))


def shift_right(a: Values, count: Values) -> Values:
    """Shift counts of the width and more give 0, or copies of the sign bit for signed types."""
    bits = 8 * a.dtype.itemsize
    if not count.ndim and count < bits:  # a literal
        return np.right_shift(a, a.dtype.type(count))
    if a.dtype.kind == "i":
        return np.right_shift(a, _count(np.minimum(count, np.uint32(bits - 1)), a.dtype))
    near = count < bits
    shifted = np.right_shift(a, _count(np.where(near, count, np.uint32(0)), a.dtype))
    return np.where(near, shifted, a.dtype.type(0))


def funnel(low: Values, high: Values, count: Values, left: bool, wrap: bool) -> Values:
    """Shifts the 64 bits high:low, and returns the upper (left) or lower (right) 32."""
    count = (count & np.uint32(31) if wrap else np.minimum(count, np.uint32(32))).astype(np.uint64)
    both = high.astype(np.uint64) << np.uint64(32) | low
    return ((both << count) >> np.uint64(32) if left else both >> count).astype(np.uint32)


def population(a: Values) -> Values:
    return np.bitwise_count(a).astype(np.uint32)


def leading_zeros(a: Values) -> Values:
    bits = 8 * a.dtype.itemsize
    smeared, step = a, 1
    while step < bits:
        smeared = smeared | smeared >> a.dtype.type(step)
        step *= 2
    return np.uint32(bits) - population(smeared)


def highest_bit(a: Values) -> Values:
    """The index of the highest bit that differs from the sign; all ones if there is none."""
    u = np.where(a < 0, ~a, a).view(f"u{a.dtype.itemsize}") if a.dtype.kind == "i" else a
    return np.uint32(8 * a.dtype.itemsize - 1) - leading_zeros(u)


def reversed_bits(a: Values) -> Values:
    masks = (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F)
    full = (1 << 8 * a.dtype.itemsize) - 1
    for k, mask in enumerate(masks):
        m, s = a.dtype.type(mask & full), a.dtype.type(1 << k)
        a = (a >> s & m) | (a & m) << s
    return a.byteswap()


def extract_bits(a: Values, position: Values, length: Values) -> Values:
    """The bit field at ``position``; for signed types, sign-extended."""
    u, bits = np.dtype(f"u{a.dtype.itemsize}"), 8 * a.dtype.itemsize
    position, length = np.broadcast_arrays(position & np.uint32(0xFF), length & np.uint32(0xFF))
    inside = np.minimum(length, np.where(position < bits, np.uint32(bits) - position, np.uint32(0)))
    mask = _low_bits(inside, u)
    field = shift_right(a.view(u), position) & mask
    if a.dtype.kind == "u":
        return field
    last = np.minimum(position + length - np.uint32(1), np.uint32(bits - 1))
    sign = (shift_right(a.view(u), last) & u.type(1)).astype(bool) & (length != 0)
    return np.where(sign, field | ~mask, field).view(a.dtype)


def insert_bits(a: Values, b: Values, position: Values, length: Values) -> Values:
    """``b`` with the lowest ``length`` bits of ``a`` at ``position``."""
    position, length = position & np.uint32(0xFF), length & np.uint32(0xFF)
    mask = shift_left(_low_bits(length, a.dtype), position)
    return (b & ~mask) | (shift_left(a, position) & mask)


def _low_bits(count: Values, dtype: np.dtype) -> Values:
    return ~shift_left(~dtype.type(0), count)


def permuted_bytes(a: Values, b: Values, selectors: Values) -> Values:
    """Selects four of the eight bytes of b:a. The high bit of a selector replicates the sign of its byte."""
    both = b.astype(np.uint64) << np.uint64(32) | a
    result = np.uint32(0)
    for k in range(4):
        selector = selectors >> np.uint32(4 * k) & np.uint32(15)
        byte = (both >> (np.uint64(8) * (selector & np.uint32(7))) & np.uint64(0xFF)).astype(np.uint32)
        sign = np.where(byte & np.uint32(0x80), np.uint32(0xFF), np.uint32(0))
        result = result | np.where(selector & np.uint32(8), sign, byte) << np.uint32(8 * k)
    return result


def logic3(a: Values, b: Values, c: Values, table: int) -> Values:
    """The bitwise function with that truth table."""
    result = a & ~a
    for k in range(8):
        if table >> k & 1:
            result = result | ((a if k & 4 else ~a) & (b if k & 2 else ~b) & (c if k & 1 else ~c))
    return result


def _unordered(a: Values, b: Values) -> Values:
    return (a != a) | (b != b)


# Ordered comparisons with NaN are false, including `ne`; the unordered ones (-u) are true.
FLOAT_COMPARISONS: dict[str, Callable[[Values, Values], Values]] = {
    "eq": np.equal, "ne": lambda a, b: (a < b) | (a > b),
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "equ": lambda a, b: ~((a < b) | (a > b)), "neu": np.not_equal,
    "ltu": lambda a, b: ~(a >= b), "leu": lambda a, b: ~(a > b), "gtu": lambda a, b: ~(a <= b), "geu": lambda a, b: ~(a < b),
    "num": lambda a, b: ~_unordered(a, b), "nan": _unordered,
}  # fmt: skip
INTEGER_COMPARISONS: dict[str, Callable[[Values, Values], Values]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
