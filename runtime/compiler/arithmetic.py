"""The arithmetic of ``codegen.math`` as LLVM instructions, on scalars or vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .machine import selected


def wide_registers() -> bool:
    """True if a register holds sixteen 32-bit numbers, for example a lookup table."""
    return selected().vector_bits == 512


def declared(module: ir.Module, type_: ir.FunctionType, name: str) -> ir.Function:
    """The function of that name, declared once."""
    found = module.globals.get(name)
    return ir.Function(module, type_, name) if found is None else found


def constant(type_: Any, x: float) -> ir.Constant:
    """The number, in all lanes of a vector."""
    return ir.Constant(type_, [x] * type_.count if isinstance(type_, ir.VectorType) else x)


def element(type_: Any) -> Any:
    return type_.element if isinstance(type_, ir.VectorType) else type_


class Number:
    """An LLVM value with Python's operators, for ``codegen.math``."""

    __slots__ = ("arithmetic", "value")

    def __init__(self, arithmetic: LLVMArithmetic, value: ir.Value):
        self.arithmetic, self.value = arithmetic, value

    def _with(self, other: Any, real: str, integer: str, swap: bool = False) -> Number:
        m = self.arithmetic
        b = other.value if isinstance(other, Number) else constant(self.value.type, other)
        operands = (b, self.value) if swap else (self.value, b)
        return Number(m, getattr(m.builder, integer if self.is_integer else real)(*operands))

    @property
    def is_integer(self) -> bool:
        return isinstance(element(self.value.type), ir.IntType)

    def _compare(self, other: Any, sign: str) -> Number:
        b = other.value if isinstance(other, Number) else constant(self.value.type, other)
        builder = self.arithmetic.builder
        compare = builder.icmp_signed if self.is_integer else builder.fcmp_ordered
        return Number(self.arithmetic, compare(sign, self.value, b))

    def __add__(self, other: Any) -> Number:
        return self._with(other, "fadd", "add")

    def __sub__(self, other: Any) -> Number:
        return self._with(other, "fsub", "sub")

    def __rsub__(self, other: Any) -> Number:
        return self._with(other, "fsub", "sub", swap=True)

    def __mul__(self, other: Any) -> Number:
        return self._with(other, "fmul", "mul")

    def __truediv__(self, other: Any) -> Number:
        return self._with(other, "fdiv", "sdiv")

    def __rtruediv__(self, other: Any) -> Number:
        return self._with(other, "fdiv", "sdiv", swap=True)

    def __lshift__(self, other: Any) -> Number:
        return self._with(other, "shl", "shl")

    def __rshift__(self, other: Any) -> Number:
        return self._with(other, "ashr", "ashr")

    def __and__(self, other: Any) -> Number:
        return self._with(other, "and_", "and_")

    def __or__(self, other: Any) -> Number:
        return self._with(other, "or_", "or_")

    def __neg__(self) -> Number:
        return Number(self.arithmetic, self.arithmetic.builder.fneg(self.value))

    def __lt__(self, other: Any) -> Number:
        return self._compare(other, "<")

    def __ge__(self, other: Any) -> Number:
        return self._compare(other, ">=")

    def __le__(self, other: Any) -> Number:
        return self._compare(other, "<=")

    def __gt__(self, other: Any) -> Number:
        return self._compare(other, ">")

    def __eq__(self, other: object) -> Number:  # type: ignore[override]
        return self._compare(other, "==")


class LLVMArithmetic:
    """``codegen.math.Arithmetic`` in LLVM, for a floating type or a vector of it."""

    def __init__(self, builder: ir.IRBuilder, type_: Any):
        self.builder, self.type = builder, type_
        self.lanes = type_.count if isinstance(type_, ir.VectorType) else 0
        self.bits = 32 if isinstance(element(type_), ir.FloatType) else 64
        self.integer = self.of(ir.IntType(self.bits))

    def of(self, type_: Any) -> Any:
        """The type with this arithmetic's number of lanes."""
        return ir.VectorType(type_, self.lanes) if self.lanes else type_

    def _call(self, name: str, *values: Number) -> Number:
        type_ = ir.FunctionType(self.type, [self.type] * len(values))
        function = declared(self.builder.module, type_, f"llvm.{name}.{f'v{self.lanes}' if self.lanes else ''}f{self.bits}")
        return Number(self, self.builder.call(function, [v.value for v in values]))

    def real(self, x: float) -> Number:
        return Number(self, constant(self.type, x))

    def fma(self, a: Number, b: Number, c: Number) -> Number:
        if self.bits == 32 and not selected().fuses:
            # Without the instruction, LLVM calls a function for each number. A product of two f32 is exact in 64 bits.
            x, y, z = (self.builder.fpext(v.value, self.wide.type) for v in (a, b, c))
            return self.narrowed(Number(self, self.builder.fadd(self.builder.fmul(x, y), z)))
        return self._call("fma", a, b, c)

    def select(self, condition: Number, a: Number, b: Number) -> Number:
        return Number(self, self.builder.select(condition.value, a.value, b.value))

    def absolute(self, x: Number) -> Number:
        return self._call("fabs", x)

    def copysign(self, x: Number, sign: Number) -> Number:
        return self._call("copysign", x, sign)

    def to_bits(self, x: Number) -> Number:
        return Number(self, self.builder.bitcast(x.value, self.integer))

    def from_bits(self, n: Number) -> Number:
        return Number(self, self.builder.bitcast(n.value, self.type))

    def to_real(self, n: Number) -> Number:
        return Number(self, self.builder.sitofp(n.value, self.type))

    def sqrt(self, x: Number) -> Number:
        return self._call("sqrt", x)

    @property
    def scales(self) -> bool:
        return self.bits == 32 and wide_registers()

    def scaled(self, x: Number, n: Number) -> Number:
        lanes = f"v{self.lanes}" if self.lanes else ""
        type_ = ir.FunctionType(self.type, [self.type, self.integer])
        function = declared(self.builder.module, type_, f"llvm.ldexp.{lanes}f32.{lanes}i32")
        return Number(self, self.builder.call(function, [x.value, n.value]))

    def rint(self, x: Number) -> Number:
        return self._call("rint", x)

    def table(self, name: str, numbers: Sequence[float], index: Number) -> Number:
        builder, array = self.builder, ir.ArrayType(element(self.type), len(numbers))
        found = builder.module.globals.get(name)
        if found is None:
            found = ir.GlobalVariable(builder.module, array, name)
            found.linkage, found.global_constant, found.initializer = "internal", True, array(list(numbers))

        def at(place: Any) -> Any:
            return builder.load(builder.gep(found, [element(self.integer)(0), place]))

        if not self.lanes:
            return Number(self, at(index.value))
        if self.bits == 32 and len(numbers) == 16 and wide_registers():
            return Number(self, self._permuted(numbers, index.value))
        vector = ir.Constant(self.type, ir.Undefined)
        for i in range(self.lanes):
            lane = ir.IntType(32)(i)
            vector = builder.insert_element(vector, at(builder.extract_element(index.value, lane)), lane)
        return Number(self, vector)

    def _permuted(self, numbers: Sequence[float], index: ir.Value) -> ir.Value:
        """Selects from 16 numbers in a register, by index."""
        wide, places = ir.VectorType(ir.FloatType(), 16), ir.VectorType(ir.IntType(32), 16)
        type_ = ir.FunctionType(wide, [wide, places])
        pick = declared(self.builder.module, type_, "llvm.x86.avx512.permvar.sf.512")
        return self._of_lanes(
            self.builder.call(pick, [ir.Constant(wide, list(numbers)), self._of_lanes(index, 16)]), self.lanes
        )

    def _of_lanes(self, x: ir.Value, lanes: int) -> ir.Value:
        """A vector with fewer lanes, or with additional undefined ones."""
        if x.type.count == lanes:
            return x
        places = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [i % x.type.count for i in range(lanes)])
        return self.builder.shuffle_vector(x, x, places)

    def rarely(self, condition: Number, usual: Sequence[Number], rare: Callable[[], Sequence[Number]]) -> list[Number]:
        builder, at_all = self.builder, condition.value
        if self.lanes:
            mask = ir.VectorType(ir.IntType(1), self.lanes)
            name = f"llvm.vector.reduce.or.v{self.lanes}i1"
            at_all = builder.call(declared(builder.module, ir.FunctionType(ir.IntType(1), [mask]), name), [at_all])
        before = builder.block
        with builder.if_then(at_all, likely=False):
            chosen = [self.select(condition, a, b) for a, b in zip(rare(), usual, strict=True)]
            after = builder.block
        results = []
        for a, b in zip(chosen, usual, strict=True):
            phi = builder.phi(b.value.type)
            phi.add_incoming(b.value, before)
            phi.add_incoming(a.value, after)
            results.append(Number(self, phi))
        return results

    @property
    def wide(self) -> LLVMArithmetic:
        return LLVMArithmetic(self.builder, self.of(ir.DoubleType()))

    def widened(self, x: Number) -> Number:
        return Number(self, self.builder.fpext(x.value, self.type))

    def narrowed(self, x: Number) -> Number:
        return Number(self, self.builder.fptrunc(x.value, self.type))
