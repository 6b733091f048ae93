"""What kernel source may call, for Numba. Importing this module imports Numba: only compiling does.

Loads and stores carry alias scopes, one for each array of a kernel, so that LLVM vectorises loops over many
arrays without run-time overlap checks. A result that replaces an operand shares that operand's array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

from ..codegen import circular
from ..codegen.math import FUNCTIONS

_NUMBA = {
    "bool": types.boolean,
    "u8": types.uint8,
    "i8": types.int8,
    "i16": types.int16,
    "i32": types.int32,
    "i64": types.int64,
    "f32": types.float32,
    "f64": types.float64,
}


class Buffer(types.CPointer):
    """A pointer to array ``k`` of a kernel that has ``n``."""

    def __init__(self, dtype: types.Type, k: int, n: int):
        super().__init__(dtype)
        self.name = f"Buffer({dtype}, {k}, {n})"
        self.k, self.n = k, n


@register_model(Buffer)
class _BufferModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Buffer):
        bits = 8 if fe_type.dtype is types.boolean else None
        element = ir.IntType(bits) if bits else dmm.lookup(fe_type.dtype).get_data_type()
        super().__init__(dmm, fe_type, element.as_pointer())


def _buffer(dtype: types.Type) -> Any:
    @intrinsic(prefer_literal=True)
    def buffer(tyctx, args, k, n):
        if not isinstance(k, types.Literal):
            return None
        made = Buffer(dtype, k.literal_value, n.literal_value)

        def codegen(context, builder, sig, values):
            address = builder.load(builder.gep(values[0], [values[1]]))
            return builder.inttoptr(address, context.get_value_type(made))

        return made(args, k, n), codegen

    return buffer


_MANY = 64  # arrays, more than a kernel that should be vector code has


def _scopes(module: Any, n: int) -> list[Any]:
    """The alias scopes of the first arrays of a kernel."""
    domain = module.add_metadata([ir.MetaDataString(module, "kernel")])
    return [module.add_metadata([ir.MetaDataString(module, f"p{j}"), domain]) for j in range(n)]


def _tag(builder: ir.IRBuilder, instruction: Any, array: Buffer) -> None:
    module = builder.module
    scopes = _scopes(module, array.n)
    instruction.set_metadata("alias.scope", module.add_metadata([scopes[array.k]]))
    others = [s for j, s in enumerate(scopes) if j != array.k]
    if others:
        instruction.set_metadata("noalias", module.add_metadata(others))


@intrinsic
def load(tyctx, array, i):
    def codegen(context, builder, sig, values):
        v = builder.load(builder.gep(values[0], [values[1]]))
        _tag(builder, v, array)
        return builder.icmp_unsigned("!=", v, v.type(0)) if array.dtype is types.boolean else v

    return array.dtype(array, types.int64), codegen


@intrinsic
def store(tyctx, array, i, value):
    def codegen(context, builder, sig, values):
        v = builder.zext(values[2], ir.IntType(8)) if array.dtype is types.boolean else values[2]
        _tag(builder, builder.store(v, builder.gep(values[0], [values[1]])), array)
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), codegen


@intrinsic
def accumulate(tyctx, a, b):
    """a + b, which LLVM may add up in any order: this, and nothing else in a kernel, is reassociated."""

    def codegen(context, builder, sig, values):
        if isinstance(a, types.Float):
            return builder.fadd(*values, flags=("reassoc",))
        return builder.add(*values)

    return a(a, a), codegen


@intrinsic
def select(tyctx, c, a, b):
    def codegen(context, builder, sig, values):
        return builder.select(*values)

    return a(types.boolean, a, a), codegen


def _llvm(name: str, operands: int) -> Any:
    """LLVM's floating intrinsic of that name; it takes the operands' own type."""

    def call(builder, values):
        function = builder.module.declare_intrinsic(f"llvm.{name}", [values[0].type])
        return builder.call(function, values)

    if operands == 1:

        @intrinsic
        def unary(tyctx, x):
            if not isinstance(x, types.Float):
                return None
            return x(x), lambda context, builder, sig, values: call(builder, values)

        return unary

    @intrinsic
    def binary(tyctx, a, b):
        if not isinstance(a, types.Float):
            return None
        return a(a, a), lambda context, builder, sig, values: call(builder, values)

    return binary


class _Number:
    """An LLVM value with Python's operators, as ``codegen.math`` wants it."""

    __slots__ = ("arithmetic", "value")

    def __init__(self, arithmetic: _Arithmetic, value: ir.Value):
        self.arithmetic, self.value = arithmetic, value

    def _with(self, other: Any, real: str, integer: str, swap: bool = False) -> _Number:
        m = self.arithmetic
        b = other.value if isinstance(other, _Number) else self.value.type(other)
        operands = (b, self.value) if swap else (self.value, b)
        return _Number(m, getattr(m.builder, integer if isinstance(self.value.type, ir.IntType) else real)(*operands))

    def _compare(self, other: Any, sign: str) -> _Number:
        b = other.value if isinstance(other, _Number) else self.value.type(other)
        builder = self.arithmetic.builder
        compare = builder.icmp_signed if isinstance(self.value.type, ir.IntType) else builder.fcmp_ordered
        return _Number(self.arithmetic, compare(sign, self.value, b))

    def __add__(self, other: Any) -> _Number:
        return self._with(other, "fadd", "add")

    def __sub__(self, other: Any) -> _Number:
        return self._with(other, "fsub", "sub")

    def __rsub__(self, other: Any) -> _Number:
        return self._with(other, "fsub", "sub", swap=True)

    def __mul__(self, other: Any) -> _Number:
        return self._with(other, "fmul", "mul")

    def __truediv__(self, other: Any) -> _Number:
        return self._with(other, "fdiv", "sdiv")

    def __rtruediv__(self, other: Any) -> _Number:
        return self._with(other, "fdiv", "sdiv", swap=True)

    def __lshift__(self, other: Any) -> _Number:
        return self._with(other, "shl", "shl")

    def __rshift__(self, other: Any) -> _Number:
        return self._with(other, "ashr", "ashr")

    def __and__(self, other: Any) -> _Number:
        return self._with(other, "and_", "and_")

    def __or__(self, other: Any) -> _Number:
        return self._with(other, "or_", "or_")

    def __neg__(self) -> _Number:
        return _Number(self.arithmetic, self.arithmetic.builder.fneg(self.value))

    def __lt__(self, other: Any) -> _Number:
        return self._compare(other, "<")

    def __ge__(self, other: Any) -> _Number:
        return self._compare(other, ">=")

    def __le__(self, other: Any) -> _Number:
        return self._compare(other, "<=")

    def __gt__(self, other: Any) -> _Number:
        return self._compare(other, ">")

    def __eq__(self, other: object) -> _Number:  # type: ignore[override]
        return self._compare(other, "==")


class _Arithmetic:
    """``codegen.math.Arithmetic`` in LLVM, for one floating type."""

    def __init__(self, builder: ir.IRBuilder, type_: Any):
        self.builder, self.type = builder, type_
        self.bits = 32 if isinstance(type_, ir.FloatType) else 64
        self.integer = ir.IntType(self.bits)

    def _call(self, name: str, *values: _Number) -> _Number:
        type_ = ir.FunctionType(self.type, [self.type] * len(values))
        function = cgutils.get_or_insert_function(self.builder.module, type_, f"llvm.{name}.f{self.bits}")
        return _Number(self, self.builder.call(function, [v.value for v in values]))

    def real(self, x: float) -> _Number:
        return _Number(self, self.type(x))

    def fma(self, a: _Number, b: _Number, c: _Number) -> _Number:
        return self._call("fma", a, b, c)

    def select(self, condition: _Number, a: _Number, b: _Number) -> _Number:
        return _Number(self, self.builder.select(condition.value, a.value, b.value))

    def absolute(self, x: _Number) -> _Number:
        return self._call("fabs", x)

    def copysign(self, x: _Number, sign: _Number) -> _Number:
        return self._call("copysign", x, sign)

    def to_bits(self, x: _Number) -> _Number:
        return _Number(self, self.builder.bitcast(x.value, self.integer))

    def from_bits(self, n: _Number) -> _Number:
        return _Number(self, self.builder.bitcast(n.value, self.type))

    def to_real(self, n: _Number) -> _Number:
        return _Number(self, self.builder.sitofp(n.value, self.type))

    def sqrt(self, x: _Number) -> _Number:
        return self._call("sqrt", x)

    def table(self, name: str, numbers: Sequence[float], index: _Number) -> _Number:
        array = ir.ArrayType(self.type, len(numbers))
        found = self.builder.module.globals.get(name)
        if found is None:
            found = ir.GlobalVariable(self.builder.module, array, name)
            found.linkage, found.global_constant, found.initializer = "internal", True, array(list(numbers))
        element = self.builder.load(self.builder.gep(found, [self.integer(0), index.value]))
        element.set_metadata("noalias", self.builder.module.add_metadata(_scopes(self.builder.module, _MANY)))
        return _Number(self, element)

    def library(self, name: str, x: _Number) -> _Number:
        type_ = ir.FunctionType(self.type, [self.type])
        function = cgutils.get_or_insert_function(self.builder.module, type_, name if self.bits == 64 else f"{name}f")
        return _Number(self, self.builder.call(function, [x.value]))

    @property
    def wide(self) -> _Arithmetic:
        return _Arithmetic(self.builder, ir.DoubleType())

    def widened(self, x: _Number) -> _Number:
        return _Number(self, self.builder.fpext(x.value, self.type))

    def narrowed(self, x: _Number) -> _Number:
        return _Number(self, self.builder.fptrunc(x.value, self.type))


def _elementary(function: Any) -> Any:
    """A function of ``codegen.math`` on f32 and f64."""

    @intrinsic
    def call(tyctx, x):
        if not isinstance(x, types.Float):
            return None

        def codegen(context, builder, sig, values):
            arithmetic = _Arithmetic(builder, values[0].type)
            return function(arithmetic, _Number(arithmetic, values[0])).value

        return x(x), codegen

    return call


def _extremum(name: str, signed: str) -> Any:
    @intrinsic
    def extremum(tyctx, a, b):
        def codegen(context, builder, sig, values):
            if isinstance(a, types.Float):
                # llvm.maximum: NaN wins, as in PyTorch and NumPy.
                type_ = values[0].type
                suffix = {"float": "f32", "double": "f64"}[str(type_)]
                function = cgutils.get_or_insert_function(
                    builder.module, ir.FunctionType(type_, [type_, type_]), f"llvm.{name}.{suffix}"
                )
                return builder.call(function, values)
            compare = builder.icmp_signed if getattr(a, "signed", False) else builder.icmp_unsigned
            return builder.select(compare(signed, *values), *values)

        return a(a, a), codegen

    return extremum


def _better(sign: str) -> Any:
    """Whether a comes before b in an argmax (`>`) or argmin (`<`): a NaN comes first, the first of equals stays."""

    @intrinsic
    def better(tyctx, a, b):
        def codegen(context, builder, sig, values):
            if not isinstance(a, types.Float):
                compare = builder.icmp_signed if getattr(a, "signed", False) else builder.icmp_unsigned
                return compare(sign, *values)
            a_nan = builder.fcmp_unordered("uno", values[0], values[0])
            b_nan = builder.fcmp_unordered("uno", values[1], values[1])
            either = builder.or_(builder.fcmp_ordered(sign, *values), a_nan)
            return builder.and_(either, builder.not_(b_nan))

        return types.boolean(a, a), codegen

    return better


@intrinsic
def fmod(tyctx, a, b):
    return a(a, a), lambda context, builder, sig, values: builder.frem(*values)


@intrinsic
def check_index(tyctx, i, extent, status, site):
    """``i`` if 0 <= i < extent; otherwise 0, after writing (site + 1, i) to the status cell."""

    def codegen(context, builder, sig, values):
        position, n, cell, where = values
        wide = position.type.width
        position = builder.sext(position, n.type) if wide < 64 and sig.args[0].signed else position
        position = builder.zext(position, n.type) if position.type.width < 64 else position
        bad = builder.icmp_unsigned(">=", position, n)  # a negative position is a huge unsigned one
        with builder.if_then(bad, likely=False):
            pointer = builder.inttoptr(cell, n.type.as_pointer())
            builder.store(builder.add(where, n.type(1)), pointer)
            builder.store(position, builder.gep(pointer, [n.type(1)]))
        safe = builder.select(bad, n.type(0), position)
        return builder.trunc(safe, values[0].type) if wide < 64 else safe

    return i(i, types.int64, types.int64, types.int64), codegen


@intrinsic
def check_divisor(tyctx, d, status, site):
    """``d`` if it is not zero; otherwise 1, after writing (site + 1, 0) to the status cell."""

    def codegen(context, builder, sig, values):
        divisor, cell, where = values
        bad = builder.icmp_unsigned("==", divisor, divisor.type(0))
        with builder.if_then(bad, likely=False):
            pointer = builder.inttoptr(cell, where.type.as_pointer())
            builder.store(builder.add(where, where.type(1)), pointer)
            builder.store(where.type(0), builder.gep(pointer, [where.type(1)]))
        return builder.select(bad, divisor.type(1), divisor)

    return d(d, types.int64, types.int64), codegen


@intrinsic
def check_exponent(tyctx, e, status, site):
    """``e`` if it is not negative; otherwise 0, after writing (site + 1, e) to the status cell."""

    def codegen(context, builder, sig, values):
        exponent, cell, where = values
        if not e.signed:
            return exponent
        bad = builder.icmp_signed("<", exponent, exponent.type(0))
        with builder.if_then(bad, likely=False):
            pointer = builder.inttoptr(cell, where.type.as_pointer())
            builder.store(builder.add(where, where.type(1)), pointer)
            builder.store(where.type(0), builder.gep(pointer, [where.type(1)]))
        return builder.select(bad, exponent.type(0), exponent)

    return e(e, types.int64, types.int64), codegen


@intrinsic
def int_pow(tyctx, a, b):
    """a to the power of b >= 0, modulo the width, by squaring."""

    def codegen(context, builder, sig, values):
        base, exponent = values
        before = builder.block
        test, step, done = (builder.append_basic_block(name) for name in ("pow.test", "pow.step", "pow.done"))
        builder.branch(test)
        builder.position_at_end(test)
        r, square, left = (builder.phi(t) for t in (base.type, base.type, exponent.type))
        builder.cbranch(builder.icmp_unsigned("!=", left, left.type(0)), step, done)
        builder.position_at_end(step)
        odd = builder.trunc(left, ir.IntType(1))
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
        return r

    return a(a, b), codegen


def _gemm(dtype: types.Type) -> Any:
    @intrinsic
    def gemm(tyctx, function, m, n, k, a, ia, a_row, a_column, b, ib, b_row, b_column, c, ic, c_row, c_column):
        """Calls the function of ``gemm`` at an address, on matrices at offsets in arrays."""

        def codegen(context, builder, sig, values):
            address, m_, n_, k_, *matrices = values
            arguments = [m_, n_, k_]
            for array, offset, row, column in (matrices[:4], matrices[4:8], matrices[8:]):
                arguments += [builder.gep(array, [offset]), row, column]
            signature = ir.FunctionType(ir.VoidType(), [p.type for p in arguments])
            builder.call(builder.inttoptr(address, signature.as_pointer()), arguments)
            return context.get_dummy_value()

        matrices = [t for array in (a, b, c) for t in (array, *[types.int64] * 3)]
        return types.void(*[types.int64] * 4, *matrices), codegen

    return gemm


@intrinsic
def _random_bits(tyctx, seed, offset, i):
    """SplitMix64 of a counter; the same arithmetic as the reference in ``ir.ops.source``."""

    def codegen(context, builder, sig, values):
        u64 = ir.IntType(64)

        def mix(z):
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                z = builder.mul(builder.xor(z, builder.lshr(z, u64(shift))), u64(factor))
            return builder.xor(z, builder.lshr(z, u64(31)))

        counter = builder.add(values[1], values[2])
        return mix(builder.add(mix(values[0]), builder.mul(counter, u64(0x9E3779B97F4A7C15))))

    return types.uint64(types.int64, types.int64, types.int64), codegen


def _uniform_f32(seed, offset, i):
    return np.float32(_random_bits(seed, offset, i) >> np.uint64(40)) * np.float32(2**-24)


def _uniform_f64(seed, offset, i):
    return np.float64(_random_bits(seed, offset, i) >> np.uint64(11)) * 2.0**-53


def _inline(function: Any) -> Any:
    """A plain function that kernels may call."""

    def stub(*args):
        raise NotImplementedError

    def resolve(seed, offset, i):
        return function

    overload(stub, inline="always")(resolve)
    return stub


def _overload_abs() -> Any:
    def stub(x):
        raise NotImplementedError

    native = _llvm("fabs", 1)

    @overload(stub, inline="always")
    def resolve(x):
        if isinstance(x, types.Float):
            return lambda x: native(x)
        if x is types.boolean or not x.signed:
            return lambda x: x
        return lambda x: x if x >= 0 else -x

    return stub


NAMESPACE: dict[str, Any] = {
    "load": load,
    "store": store,
    "accumulate": accumulate,
    "select": select,
    "check_index": check_index,
    "check_divisor": check_divisor,
    "check_exponent": check_exponent,
    "int_pow": int_pow,
    "pow_": _llvm("pow", 2),
    "maximum": _extremum("maximum", ">"),
    "minimum": _extremum("minimum", "<"),
    "better": _better(">"),
    "worse": _better("<"),
    "fmod": fmod,
    "abs_": _overload_abs(),
    "uniform_f32": _inline(_uniform_f32),
    "uniform_f64": _inline(_uniform_f64),
    "gemm_f32": _gemm(types.float32),
    "gemm_f64": _gemm(types.float64),
    "inf": math.inf,
    "nan": math.nan,
    **{name: _elementary(function) for name, function in {**FUNCTIONS, **circular.FUNCTIONS}.items()},
    **{name: _llvm(name, 1) for name in ("sqrt", "floor", "ceil", "rint", "trunc")},
    "atan2": math.atan2,
    **{f"buffer_{short}": _buffer(t) for short, t in _NUMBA.items()},
    **{short: getattr(np, str(t) if short != "bool" else "bool_") for short, t in _NUMBA.items()},
}
