"""The functions that kernel source may call, as LLVM instructions.

A function here takes the builder of the current block and the operands, and returns the result. Loads and stores carry
alias scopes, one for each array of a kernel, so that LLVM vectorises loops over many arrays without run-time overlap
checks. A result that replaces an operand shares that operand's array.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from llvmlite import ir

from ...codegen import binary, circular, error, inverse, powers, special
from ...codegen.contraction import CONTRACTED
from ...codegen.math import FUNCTIONS
from ...ir.ops.source import DIGITS, GOLDEN, STREAMS
from ...ir.types import DType, bool_, dtype_named, float32, float64, int64
from . import halves, vector
from .arithmetic import LLVMArithmetic, Number, declared, wide_registers

_LINE = 64  # bytes of a cache line
I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_FLOATS = {float32: ir.FloatType(), float64: ir.DoubleType()}


@dataclass(frozen=True)
class Scalar:
    """A kernel's scalar. Booleans have one bit; unsigned and signed integers differ only in the dtype."""

    value: ir.Value
    dtype: DType


@dataclass(frozen=True)
class Buffer:
    """A kernel's array: its pointer, and its alias scope metadata."""

    pointer: ir.Value
    dtype: DType
    own: Any
    others: Any


Builder: TypeAlias = ir.IRBuilder
Intrinsic = Callable[..., Any]


def llvm_type(dtype: DType) -> ir.Type:
    """The type of a scalar in a register. 16-bit numbers stay as they are stored, because they have no arithmetic."""
    return _FLOATS.get(dtype) or (I1 if dtype is bool_ else ir.IntType(8 * dtype.itemsize))


def integer(value: int) -> Scalar:
    return Scalar(I64(value), int64)


def convert(builder: Builder, x: Scalar, dtype: DType) -> Scalar:
    """Converts a scalar as C does; to bool by comparison with 0."""
    if x.dtype is dtype:
        return x
    if x.dtype.is_half:
        return convert(builder, Scalar(halves.widened(builder, x.value, x.dtype), float32), dtype)
    if dtype.is_half:
        return Scalar(halves.narrowed(builder, convert(builder, x, float32).value, dtype), dtype)
    v, to = x.value, llvm_type(dtype)
    signed = x.dtype.kind == "i"
    if dtype is bool_:
        unlike = builder.fcmp_unordered if x.dtype.is_floating_point else builder.icmp_unsigned
        return Scalar(unlike("!=", v, v.type(0)), dtype)
    if x.dtype.is_floating_point:
        if not dtype.is_floating_point:
            return Scalar((builder.fptosi if dtype.kind == "i" else builder.fptoui)(v, to), dtype)
        return Scalar((builder.fpext if dtype is float64 else builder.fptrunc)(v, to), dtype)
    if dtype.is_floating_point:
        return Scalar((builder.sitofp if signed else builder.uitofp)(v, to), dtype)
    if v.type.width < to.width:
        return Scalar((builder.sext if signed else builder.zext)(v, to), dtype)
    return Scalar(builder.trunc(v, to) if v.type.width > to.width else v, dtype)


def alike(builder: Builder, a: Scalar, b: Scalar) -> tuple[Scalar, Scalar, DType]:
    """Two operands converted to one type: different integers and booleans become 64-bit. Raises TypeError for others."""
    if a.dtype is b.dtype and not a.dtype.is_half:
        return a, b, a.dtype
    if a.dtype.is_floating_point or b.dtype.is_floating_point:
        raise TypeError(f"a kernel combines {a.dtype.short} and {b.dtype.short}")
    return convert(builder, a, int64), convert(builder, b, int64), int64


def _call(builder: Builder, name: str, *operands: Scalar) -> Scalar:
    """LLVM's floating-point intrinsic of that name."""
    dtype = operands[0].dtype
    assert dtype.is_floating_point, name
    type_ = llvm_type(dtype)
    function = declared(builder.module, ir.FunctionType(type_, [type_] * len(operands)), f"llvm.{name}.{dtype.short}")
    return Scalar(builder.call(function, [x.value for x in operands]), dtype)


# Memory.


def _alias_scopes(module: ir.Module, n: int) -> list[Any]:
    """Metadata for a kernel's first ``n`` arrays."""
    domain = module.add_metadata([ir.MetaDataString(module, "kernel")])
    return [module.add_metadata([ir.MetaDataString(module, f"p{j}"), domain]) for j in range(n)]


def buffer(builder: Builder, dtype: DType, args: ir.Value, k: int, n: int) -> Buffer:
    """Array ``k`` of a kernel with ``n`` arrays."""
    element = I8 if dtype is bool_ else llvm_type(dtype)
    address = builder.load(builder.gep(args, [I64(k)]))
    return buffer_at(builder, dtype, builder.inttoptr(address, element.as_pointer()), k, n)


def buffer_at(builder: Builder, dtype: DType, pointer: ir.Value, k: int, n: int) -> Buffer:
    """Array ``k`` of a kernel with ``n`` arrays, from its pointer."""
    scopes = _alias_scopes(builder.module, n)
    others = [s for j, s in enumerate(scopes) if j != k]
    add = builder.module.add_metadata
    return Buffer(pointer, dtype, add([scopes[k]]), add(others) if others else None)


def _tag(instruction: Any, array: Buffer) -> None:
    instruction.set_metadata("alias.scope", array.own)
    if array.others is not None:
        instruction.set_metadata("noalias", array.others)


def load(builder: Builder, array: Buffer, i: Scalar) -> Scalar:
    v = builder.load(builder.gep(array.pointer, [i.value], inbounds=True))
    _tag(v, array)
    return Scalar(builder.icmp_unsigned("!=", v, v.type(0)) if array.dtype is bool_ else v, array.dtype)


def store(builder: Builder, array: Buffer, i: Scalar, value: Scalar) -> None:
    if value.dtype is not array.dtype:
        raise TypeError(f"a kernel stores {value.dtype.short} in an array of {array.dtype.short}")
    v = builder.zext(value.value, I8) if array.dtype is bool_ else value.value
    _tag(builder.store(v, builder.gep(array.pointer, [i.value], inbounds=True)), array)


def prefetch(builder: Builder, array: Buffer, first: Scalar, last: Scalar) -> None:
    """Prefetches elements ``first`` to ``last``, which may lie beyond the array, into the L2 cache.

    It is a separate function, so that LLVM optimises its loop once and not at every call.
    """
    at = [builder.bitcast(builder.gep(array.pointer, [i.value]), I8.as_pointer()) for i in (first, last)]
    builder.call(_prefetch_function(builder.module), at)


def _prefetch_function(module: ir.Module) -> ir.Function:
    name, pointer, flag = "prefetch_lines", I8.as_pointer(), ir.IntType(32)
    found = module.globals.get(name)
    if found is not None:
        return found
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer]), name)
    function.linkage = "internal"
    function.attributes.update(("noinline", "minsize", "optsize"))
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
    start, stop = function.args
    entry = builder.block
    builder.cbranch(builder.icmp_unsigned("<", start, stop), loop, done)
    builder.position_at_end(loop)
    line = builder.phi(pointer)
    request = declared(module, ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag]), "llvm.prefetch.p0")
    builder.call(request, [line, flag(0), flag(2), flag(1)])  # to read; into the L2 cache; data
    following = builder.gep(line, [I64(_LINE)])
    line.add_incoming(start, entry)
    line.add_incoming(following, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, stop), loop, done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


# Numbers.


def accumulate(builder: Builder, a: Scalar, b: Scalar) -> Scalar:
    """a + b, which LLVM may reassociate; no other operation in a kernel is reassociated."""
    a, b, dtype = alike(builder, a, b)
    if dtype.is_floating_point:
        return Scalar(builder.fadd(a.value, b.value, flags=("reassoc",)), dtype)
    return Scalar(builder.add(a.value, b.value), dtype)


def real(builder: Builder, bits: Scalar) -> Scalar:
    """The f64 whose bits an integer parameter holds."""
    return Scalar(builder.bitcast(bits.value, _FLOATS[float64]), float64)


def ordered(builder: Builder, x: Scalar) -> Scalar:
    """An integer of at most 32 bits in the order of sorts: equal for equal elements, NaN greatest."""
    if x.dtype is not float32:
        return convert(builder, x, int64)
    zero = ir.Constant(x.value.type, 0.0)
    bits = builder.bitcast(builder.fadd(x.value, zero), I32)  # -0 becomes 0
    negative = builder.ashr(bits, ir.Constant(I32, 31))
    key = builder.xor(bits, builder.and_(negative, ir.Constant(I32, 0x7FFFFFFF)))
    key = builder.select(builder.fcmp_unordered("uno", x.value, x.value), ir.Constant(I32, 0x7FFFFFFF), key)
    return Scalar(builder.sext(key, I64), int64)


def select(builder: Builder, c: Scalar, a: Scalar, b: Scalar) -> Scalar:
    if a.dtype is not b.dtype and (a.dtype.is_floating_point or b.dtype.is_floating_point):
        raise TypeError(f"a kernel chooses between {a.dtype.short} and {b.dtype.short}")
    else:
        b = convert(builder, b, a.dtype)
    return Scalar(builder.select(c.value, a.value, b.value), a.dtype)


def _less(builder: Builder, sign: str, a: Scalar, b: Scalar) -> ir.Value:
    """An ordered comparison."""
    if a.dtype.is_floating_point:
        return builder.fcmp_ordered(sign, a.value, b.value)
    return (builder.icmp_signed if a.dtype.kind == "i" else builder.icmp_unsigned)(sign, a.value, b.value)


def compare(builder: Builder, sign: str, a: Scalar, b: Scalar) -> Scalar:
    """A comparison, by IEEE 754 for floating-point numbers: NaN is not equal to itself."""
    a, b, dtype = alike(builder, a, b)
    if dtype.is_floating_point and sign == "!=":
        return Scalar(builder.fcmp_unordered(sign, a.value, b.value), bool_)
    return Scalar(_less(builder, sign, a, b), bool_)


def _extremum(name: str, sign: str) -> Intrinsic:
    def extremum(builder: Builder, a: Scalar, b: Scalar) -> Scalar:
        a, b, dtype = alike(builder, a, b)
        if dtype.is_floating_point:
            return _call(builder, name, a, b)  # llvm.maximum: NaN wins, as in PyTorch and NumPy
        return Scalar(builder.select(_less(builder, sign, a, b), a.value, b.value), dtype)

    return extremum


def _extreme_number(sign: str) -> Intrinsic:
    """The greater or the smaller of two numbers; undefined if one is NaN."""

    def call(builder: Builder, a: Scalar, b: Scalar) -> Scalar:
        flags = ("nnan", "nsz")
        condition = builder.fcmp_ordered(sign, a.value, b.value, flags=flags)
        return Scalar(builder.select(condition, a.value, b.value, flags=flags), a.dtype)

    return call


def _better(sign: str) -> Intrinsic:
    """True if a precedes b in an argmax (`>`) or argmin (`<`): NaN comes first, and the first of equal elements stays."""

    def better(builder: Builder, a: Scalar, b: Scalar) -> Scalar:
        before = _less(builder, sign, a, b)
        if a.dtype.is_floating_point:
            a_nan = builder.fcmp_unordered("uno", a.value, a.value)
            b_nan = builder.fcmp_unordered("uno", b.value, b.value)
            before = builder.and_(builder.or_(before, a_nan), builder.not_(b_nan))
        return Scalar(before, bool_)

    return better


def _floating(name: str) -> Intrinsic:
    return lambda builder, *operands: _call(builder, name, *operands)


def _elementary(name: str, function: Callable[..., Any]) -> Intrinsic:
    """A function of ``codegen.math``."""

    def call(builder: Builder, *operands: Scalar) -> Scalar:
        dtype, values = operands[0].dtype, [x.value for x in operands]
        if name in error.BY_TABLE and dtype is float32 and wide_registers():
            return Scalar(vector.call(builder, name, error.BY_TABLE[name], values, inline=True), dtype)
        if function in _BRANCHING:
            return Scalar(vector.call(builder, name, function, values, inline=False), dtype)
        m = LLVMArithmetic(builder, values[0].type)
        return Scalar(function(m, *[Number(m, v) for v in values]).value, dtype)

    return call


def abs_(builder: Builder, x: Scalar) -> Scalar:
    if x.dtype.is_floating_point:
        return _call(builder, "fabs", x)
    if x.dtype.kind != "i":
        return x
    negative = builder.icmp_signed("<", x.value, x.value.type(0))
    return Scalar(builder.select(negative, builder.neg(x.value), x.value), x.dtype)


def _divided(builder: Builder, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Quotient, rounded down, and remainder. The smallest integer divided by -1 wraps to itself and does not trap."""
    opposite = builder.icmp_signed("==", b, I64(-1))
    divisor = builder.select(opposite, I64(1), b)
    q, r = builder.sdiv(a, divisor), builder.srem(a, divisor)
    below = builder.and_(builder.icmp_signed("!=", r, I64(0)), builder.icmp_signed("<", builder.xor(r, divisor), I64(0)))
    q = builder.select(opposite, builder.neg(a), builder.sub(q, builder.zext(below, I64)))
    return q, builder.add(r, builder.select(below, divisor, I64(0)))


def floor_div(builder: Builder, a: Scalar, b: Scalar) -> Scalar:
    """The quotient of integers rounded down, in 64 bits."""
    return Scalar(_divided(builder, convert(builder, a, int64).value, convert(builder, b, int64).value)[0], int64)


def floor_mod(builder: Builder, a: Scalar, b: Scalar) -> Scalar:
    """The remainder with the divisor's sign, in 64 bits."""
    return Scalar(_divided(builder, convert(builder, a, int64).value, convert(builder, b, int64).value)[1], int64)


def int_pow(builder: Builder, a: Scalar, b: Scalar) -> Scalar:
    """a to the power of b, modulo the width, by squaring; for negative b, 0 unless a is 1 or -1."""
    base, exponent = a.value, b.value
    before = builder.block
    test, step, done = (builder.append_basic_block(name) for name in ("pow.test", "pow.step", "pow.done"))
    builder.branch(test)
    builder.position_at_end(test)
    r, square, left = (builder.phi(t) for t in (base.type, base.type, exponent.type))
    builder.cbranch(builder.icmp_unsigned("!=", left, left.type(0)), step, done)
    builder.position_at_end(step)
    odd = builder.trunc(left, I1)
    nexts = (
        builder.select(odd, builder.mul(r, square), r),
        builder.mul(square, square),
        builder.lshr(left, left.type(1)),
    )
    builder.branch(test)
    for phi, first, after in zip((r, square, left), (base.type(1), base, exponent), nexts, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(after, step)
    builder.position_at_end(done)
    if b.dtype.kind == "i":  # the powers of 1 and -1 are correct: only the last bit counts
        fraction = builder.icmp_signed("<", exponent, exponent.type(0))
        for unit in (1, -1):
            fraction = builder.and_(fraction, builder.icmp_signed("!=", base, base.type(unit)))
        r = builder.select(fraction, r.type(0), r)
    return Scalar(r, a.dtype)


# Checks: a bad operand is written to the status cell as (site + 1, operand) and replaced by a harmless one.


Report = Callable[[Builder, ir.Value, Any, Scalar, ir.Value], None]


def _report(builder: Builder, bad: ir.Value, status: Scalar, site: Scalar, what: ir.Value) -> None:
    """Writes to the status cell, given as an address or an array."""
    with builder.if_then(bad, likely=False):
        pointer = builder.inttoptr(status.value, I64.as_pointer()) if isinstance(status, Scalar) else status.pointer
        builder.store(builder.add(site.value, I64(1)), pointer)
        builder.store(what, builder.gep(pointer, [I64(1)]))


def check_index(
    builder: Builder, i: Scalar, extent: Scalar, status: Scalar, site: Scalar, *, report: Report = _report
) -> Scalar:
    """``i`` if 0 <= i < extent; otherwise 0."""
    position = convert(builder, i, int64).value
    bad = builder.icmp_unsigned(">=", position, extent.value)  # a negative position is a huge unsigned one
    report(builder, bad, status, site, position)
    return convert(builder, Scalar(builder.select(bad, I64(0), position), int64), i.dtype)


def check_divisor(builder: Builder, d: Scalar, status: Scalar, site: Scalar, *, report: Report = _report) -> Scalar:
    """``d`` if it is not zero; otherwise 1."""
    bad = builder.icmp_unsigned("==", d.value, d.value.type(0))
    report(builder, bad, status, site, I64(0))
    return Scalar(builder.select(bad, d.value.type(1), d.value), d.dtype)


def _gemm(builder: Builder, function: Scalar, m: Scalar, n: Scalar, k: Scalar, *matrices: Any) -> None:
    """Calls the function of ``gemm`` at an address, on matrices at offsets in arrays: (array, offset, row, column) three
    times.
    """
    arguments = [m.value, n.value, k.value]
    for at in range(0, 12, 4):
        array, offset, row, column = matrices[at : at + 4]
        arguments += [builder.gep(array.pointer, [offset.value]), row.value, column.value]
    signature = ir.FunctionType(ir.VoidType(), [p.type for p in arguments])
    builder.call(builder.inttoptr(function.value, signature.as_pointer()), arguments)


def _contract(builder: Builder, function: Scalar, *operands: Any) -> None:
    """Calls a function for strided views at an address: (array, offset) three times, then its axes."""
    arrays, numbers = operands[:6], operands[6:]
    with builder.goto_entry_block():
        axes = builder.alloca(ir.ArrayType(I64, len(numbers)))
    for i, number in enumerate(numbers):
        builder.store(number.value, builder.gep(axes, [I64(0), I64(i)]))
    arguments = [builder.gep(axes, [I64(0), I64(0)])]
    arguments += [builder.gep(array.pointer, [at.value]) for array, at in zip(arrays[::2], arrays[1::2], strict=True)]
    signature = ir.FunctionType(ir.VoidType(), [p.type for p in arguments])
    builder.call(builder.inttoptr(function.value, signature.as_pointer()), arguments)


# Random numbers.


def _random_bits(builder: Builder, stream: int, seed: Scalar, counter: ir.Value) -> ir.Value:
    """SplitMix64 of a counter; the same arithmetic as the reference in ``ir.ops.source``."""

    def mix(z: ir.Value) -> ir.Value:
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = builder.mul(builder.xor(z, builder.lshr(z, I64(shift))), I64(factor))
        return builder.xor(z, builder.lshr(z, I64(31)))

    key = mix(builder.add(seed.value, I64(stream * GOLDEN % 2**64)))
    return mix(builder.add(key, builder.mul(counter, I64(GOLDEN))))


def _uniform(dtype: DType) -> Intrinsic:
    """A number in (0, 1) with that many random binary digits; zero is replaced by half of the smallest number."""
    digits, stream = DIGITS[dtype.short], STREAMS[dtype.short]

    def uniform(builder: Builder, seed: Scalar, start: Scalar, i: Scalar) -> Scalar:
        counter = builder.add(start.value, i.value)
        if dtype is float32:  # half of the bits
            bits = _random_bits(builder, stream, seed, builder.lshr(counter, I64(1)))
            bits = builder.lshr(bits, builder.shl(builder.and_(counter, I64(1)), I64(5)))
            bits = builder.and_(builder.lshr(bits, I64(32 - digits)), I64(2**digits - 1))
        else:
            bits = builder.lshr(_random_bits(builder, stream, seed, counter), I64(64 - digits))
        type_ = llvm_type(dtype)
        number = builder.uitofp(bits, type_)
        number = builder.select(builder.fcmp_ordered(">", number, type_(0.5)), number, type_(0.5))
        return Scalar(builder.fmul(number, type_(2.0**-digits)), dtype)

    return uniform


def _bits(builder: Builder, seed: Scalar, start: Scalar, i: Scalar) -> Scalar:
    """64 random bits."""
    return Scalar(_random_bits(builder, STREAMS["i64"], seed, builder.add(start.value, i.value)), int64)


_SHORTS = ("bool", "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64")
DTYPES: dict[str, DType] = {short: dtype_named(short) for short in _SHORTS}
_BRANCHING = (*circular.BRANCHING, *special.BRANCHING, *inverse.BRANCHING, *binary.BRANCHING)
ELEMENTARY: tuple[dict[str, Any], ...] = (
    FUNCTIONS,
    circular.FUNCTIONS,
    circular.BINARY,
    error.FUNCTIONS,
    powers.FUNCTIONS,
    powers.BINARY,
    binary.BINARY,
    special.FUNCTIONS,
    inverse.FUNCTIONS,
)
PRODUCTS = ("gemm_", "contract_", "direct_", "winograd_", "gradient_")  # how the names of products begin
INTRINSICS: dict[str, Intrinsic] = {
    **{f.__name__: f for f in (load, store, prefetch, accumulate, real, ordered, select, abs_, floor_div, floor_mod, int_pow)},
    **{f.__name__: f for f in (check_index, check_divisor)},
    "maximum": _extremum("maximum", ">"),
    "minimum": _extremum("minimum", "<"),
    "greater": _extreme_number(">"),
    "less": _extreme_number("<"),
    "better": _better(">"),
    "worse": _better("<"),
    **{name: _floating(name) for name in ("sqrt", "floor", "ceil", "rint", "trunc")},
    **{name: _elementary(name, f) for table in ELEMENTARY for name, f in table.items()},
    "uniform_f32": _uniform(float32),
    "uniform_f64": _uniform(float64),
    "uniform_i64": _bits,
    **{f"gemm_{short}": _gemm for short in ("f16", "bf16", "f32", "f64")},
    **{f"{kind}_{short}": _contract for kind in ("contract", "direct") for short in ("f16", "bf16", "f32", "f64")},
    **{f"{kind}_{short}": _contract for kind in ("winograd", "gradient") for short in ("f32", "f64")},
}


def operand_count(name: str) -> int:
    """An intrinsic's number of operands."""
    if name.startswith("gemm_"):
        return 16
    if name.startswith(PRODUCTS):
        return 7 + CONTRACTED
    if any(name in table for table in ELEMENTARY):
        return 2 if any(name in module.BINARY for module in (circular, powers, binary)) else 1
    kinds = [p.kind for p in inspect.signature(INTRINSICS[name]).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 1
    return len(kinds) - kinds.count(inspect.Parameter.KEYWORD_ONLY) - 1
