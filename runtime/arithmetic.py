"""The arithmetic of ``codegen.math`` in LLVM's instructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

_MANY = 64  # arrays, more than a kernel that should be vector code has


def alias_scopes(module: ir.Module, n: int) -> list[Any]:
    """Metadata that stand for the first arrays of a kernel."""
    domain = module.add_metadata([ir.MetaDataString(module, "kernel")])
    return [module.add_metadata([ir.MetaDataString(module, f"p{j}"), domain]) for j in range(n)]


def declared(module: ir.Module, type_: ir.FunctionType, name: str) -> ir.Function:
    """The function of that name, declared once."""
    found = module.globals.get(name)
    return ir.Function(module, type_, name) if found is None else found


class Number:
    """An LLVM value with Python's operators, as ``codegen.math`` wants it."""

    __slots__ = ("arithmetic", "value")

    def __init__(self, arithmetic: LLVMArithmetic, value: ir.Value):
        self.arithmetic, self.value = arithmetic, value

    def _with(self, other: Any, real: str, integer: str, swap: bool = False) -> Number:
        m = self.arithmetic
        b = other.value if isinstance(other, Number) else self.value.type(other)
        operands = (b, self.value) if swap else (self.value, b)
        return Number(m, getattr(m.builder, integer if isinstance(self.value.type, ir.IntType) else real)(*operands))

    def _compare(self, other: Any, sign: str) -> Number:
        b = other.value if isinstance(other, Number) else self.value.type(other)
        builder = self.arithmetic.builder
        compare = builder.icmp_signed if isinstance(self.value.type, ir.IntType) else builder.fcmp_ordered
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
    """``codegen.math.Arithmetic`` in LLVM, for one floating type."""

    def __init__(self, builder: ir.IRBuilder, type_: Any):
        self.builder, self.type = builder, type_
        self.bits = 32 if isinstance(type_, ir.FloatType) else 64
        self.integer = ir.IntType(self.bits)

    def _call(self, name: str, *values: Number) -> Number:
        type_ = ir.FunctionType(self.type, [self.type] * len(values))
        function = declared(self.builder.module, type_, f"llvm.{name}.f{self.bits}")
        return Number(self, self.builder.call(function, [v.value for v in values]))

    def real(self, x: float) -> Number:
        return Number(self, self.type(x))

    def fma(self, a: Number, b: Number, c: Number) -> Number:
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

    def rint(self, x: Number) -> Number:
        return self._call("rint", x)

    def table(self, name: str, numbers: Sequence[float], index: Number) -> Number:
        array = ir.ArrayType(self.type, len(numbers))
        found = self.builder.module.globals.get(name)
        if found is None:
            found = ir.GlobalVariable(self.builder.module, array, name)
            found.linkage, found.global_constant, found.initializer = "internal", True, array(list(numbers))
        element = self.builder.load(self.builder.gep(found, [self.integer(0), index.value]))
        element.set_metadata("noalias", self.builder.module.add_metadata(alias_scopes(self.builder.module, _MANY)))
        return Number(self, element)

    @property
    def wide(self) -> LLVMArithmetic:
        return LLVMArithmetic(self.builder, ir.DoubleType())

    def widened(self, x: Number) -> Number:
        return Number(self, self.builder.fpext(x.value, self.type))

    def narrowed(self, x: Number) -> Number:
        return Number(self, self.builder.fptrunc(x.value, self.type))
