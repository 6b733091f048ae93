"""Kernel source to LLVM instructions.

The language of kernels is a small part of Python: one function, ``kernel(args, start, stop)``, of assignments, ``for`` over a
``range``, ``if`` and calls of intrinsics, on typed numbers. What a type is follows from what is loaded and converted; there is
no inference beyond that, so translation is one walk over the text. Integers that differ in type, and sums,
products and the like of narrow ones, have 64 bits; floating types never mix silently.

A name that is assigned once is its value; one that is assigned again lives in a stack slot, which LLVM turns into registers.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..ir.types import DType, bool_, int64
from .intrinsics import (
    DTYPES,
    I64,
    INTRINSICS,
    Buffer,
    Scalar,
    alike,
    buffer,
    compare,
    convert,
    floor_div,
    floor_mod,
    integer,
    llvm_type,
)

_COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_CONSTANTS = {"inf": math.inf, "nan": math.nan}


def write(builder: ir.IRBuilder, source: str, args: ir.Value, start: ir.Value, stop: ir.Value) -> None:
    """Writes the body of a kernel into a function that is under construction.

    Raises TypeError or NameError for text that is not a kernel.
    """
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    _Writer(builder, definition, args, start, stop).statements(definition.body)


class _Writer:
    """Writes the body of one kernel."""

    def __init__(self, builder: ir.IRBuilder, definition: ast.FunctionDef, args: ir.Value, start: ir.Value, stop: ir.Value):
        self.builder, self.args = builder, args
        self.names: dict[str, Scalar | Buffer] = {"start": Scalar(start, int64), "stop": Scalar(stop, int64)}
        self.slots: dict[str, tuple[ir.Value, DType]] = {}
        targets = [n.targets[0] for n in ast.walk(definition) if isinstance(n, ast.Assign)]
        self.assigned = Counter(t.id for t in targets if isinstance(t, ast.Name))

    # Statements.

    def statements(self, body: list[ast.stmt]) -> None:
        for s in body:
            getattr(self, f"_{type(s).__name__.lower()}")(s)

    def _pass(self, s: ast.Pass) -> None:
        pass

    def _expr(self, s: ast.Expr) -> None:
        self.evaluate(s.value)

    def _assign(self, s: ast.Assign) -> None:
        (target,) = s.targets
        assert isinstance(target, ast.Name)
        value = self.evaluate(s.value)
        if self.assigned[target.id] == 1:
            self.names[target.id] = value
            return
        if target.id not in self.slots:
            with self.builder.goto_entry_block():
                self.slots[target.id] = self.builder.alloca(llvm_type(value.dtype)), value.dtype
        slot, dtype = self.slots[target.id]
        if value.dtype is not dtype:
            raise TypeError(f"{target.id} is {dtype.short} and {value.dtype.short} in a kernel")
        self.builder.store(value.value, slot)

    def _for(self, s: ast.For) -> None:
        assert isinstance(s.target, ast.Name) and isinstance(s.iter, ast.Call)
        start, stop = (self.evaluate(a).value for a in s.iter.args)
        builder = self.builder
        before = builder.block
        body, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", start, stop), body, after)
        builder.position_at_end(body)
        variable = builder.phi(I64)
        variable.add_incoming(start, before)
        self.names[s.target.id] = Scalar(variable, int64)
        self.statements(s.body)
        following = builder.add(variable, I64(1), flags=("nsw",))
        variable.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, stop), body, after)
        builder.position_at_end(after)

    def _if(self, s: ast.If) -> None:
        condition = self.evaluate(s.test).value
        if not s.orelse:
            with self.builder.if_then(condition):
                self.statements(s.body)
            return
        with self.builder.if_else(condition) as (then, otherwise):
            with then:
                self.statements(s.body)
            with otherwise:
                self.statements(s.orelse)

    # Expressions.

    def evaluate(self, e: ast.expr) -> Any:
        """A number, or an array; None for a call that returns nothing."""
        visit: Callable[[Any], Any] = getattr(self, f"_{type(e).__name__.lower()}")
        return visit(e)

    def _name(self, e: ast.Name) -> Any:
        if e.id in self.slots:
            slot, dtype = self.slots[e.id]
            return Scalar(self.builder.load(slot), dtype)
        if e.id not in self.names:
            raise NameError(f"a kernel reads {e.id!r}, which it has not defined")
        return self.names[e.id]

    def _constant(self, e: ast.Constant) -> Scalar:
        if isinstance(e.value, bool):
            return Scalar(llvm_type(bool_)(int(e.value)), bool_)
        if not isinstance(e.value, int):
            raise TypeError(f"the number {e.value!r} in a kernel has no type")
        return integer(e.value)

    def _subscript(self, e: ast.Subscript) -> Scalar:
        """``args[k]``."""
        return Scalar(self.builder.load(self.builder.gep(self.args, [self.evaluate(e.slice).value])), int64)

    def _call(self, e: ast.Call) -> Any:
        assert isinstance(e.func, ast.Name)
        name = e.func.id
        if name in DTYPES:
            (operand,) = e.args
            return self._converted(operand, DTYPES[name])
        if name.startswith("buffer_"):
            k, n = (ast.literal_eval(a) for a in e.args[1:])
            return buffer(self.builder, DTYPES[name.removeprefix("buffer_")], self.args, k, n)
        if name not in INTRINSICS:
            raise NameError(f"a kernel calls {name!r}, which is no intrinsic")
        return INTRINSICS[name](self.builder, *[self.evaluate(a) for a in e.args])

    def _converted(self, e: ast.expr, dtype: DType) -> Scalar:
        number = _number(e)
        if number is None:
            return convert(self.builder, self.evaluate(e), dtype)
        return Scalar(llvm_type(dtype)(number if dtype.is_floating_point else int(number)), dtype)

    def _compare(self, e: ast.Compare) -> Scalar:
        (sign,), (right,) = e.ops, e.comparators
        return compare(self.builder, _COMPARISONS[type(sign)], self.evaluate(e.left), self.evaluate(right))

    def _boolop(self, e: ast.BoolOp) -> Scalar:
        """All operands are evaluated: none has an effect."""
        join = self.builder.and_ if isinstance(e.op, ast.And) else self.builder.or_
        first, *others = (self.evaluate(v).value for v in e.values)
        for v in others:
            first = join(first, v)
        return Scalar(first, bool_)

    def _unaryop(self, e: ast.UnaryOp) -> Scalar:
        x = self.evaluate(e.operand)
        if isinstance(e.op, (ast.Not, ast.Invert)):
            return Scalar(self.builder.not_(x.value), x.dtype)
        assert isinstance(e.op, ast.USub)
        return Scalar((self.builder.fneg if x.dtype.is_floating_point else self.builder.neg)(x.value), x.dtype)

    def _binop(self, e: ast.BinOp) -> Scalar:
        builder = self.builder
        a, b, dtype = alike(builder, self.evaluate(e.left), self.evaluate(e.right))
        kind = type(e.op)
        if dtype.is_floating_point:
            real = {ast.Add: builder.fadd, ast.Sub: builder.fsub, ast.Mult: builder.fmul, ast.Div: builder.fdiv}
            return Scalar(real[kind](a.value, b.value), dtype)
        bits = {ast.BitAnd: builder.and_, ast.BitOr: builder.or_, ast.BitXor: builder.xor}
        if kind in bits:
            return Scalar(bits[kind](a.value, b.value), dtype)
        if kind in (ast.FloorDiv, ast.Mod):
            return (floor_div if kind is ast.FloorDiv else floor_mod)(builder, a, b)
        whole = {ast.Add: builder.add, ast.Sub: builder.sub, ast.Mult: builder.mul}
        return Scalar(whole[kind](convert(builder, a, int64).value, convert(builder, b, int64).value), int64)


def _number(e: ast.expr) -> float | None:
    """The literal that an expression is, if it is one."""
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
        number = _number(e.operand)
        return None if number is None else -number
    if isinstance(e, ast.Constant) and isinstance(e.value, (int, float)):
        return e.value
    return _CONSTANTS.get(e.id) if isinstance(e, ast.Name) else None
