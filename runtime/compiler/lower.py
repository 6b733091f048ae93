"""Kernel source to LLVM instructions.

The kernel language is a subset of Python: one function, ``kernel(args, start, stop)``, of assignments, ``for`` over a
``range``, ``if`` and calls of intrinsics, on typed numbers. Types follow from loads and conversions, without further
inference, so translation is one walk over the text. Integers of different types, and sums, products and the like of narrow
ones, become 64-bit; floating types never mix silently.

A name that is assigned once is its value; one that is assigned again lives in a stack slot, which LLVM turns into
registers.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from ...ir.types import DType, bool_, int64
from . import halves, vector
from .intrinsics import (
    DTYPES,
    I64,
    INTRINSICS,
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
    """Writes the body of a kernel into a function under construction.

    Raises TypeError or NameError for text that is not a kernel.
    """
    definition = parsed(source)
    writer = Writer(builder, definition, {"start": Scalar(start, int64), "stop": Scalar(stop, int64)})
    writer.args = args
    writer.statements(definition.body)


def parsed(source: str) -> ast.FunctionDef:
    """The syntax tree of a kernel's text."""
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    return definition


def names_of(target: ast.expr) -> list[str]:
    """The names that an assignment sets."""
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    assert all(isinstance(n, ast.Name) for n in names)
    return [n.id for n in names]  # type: ignore[attr-defined]


class Writer:
    """Writes the body of one kernel, statement by statement.

    ``apply`` executes an operation on values: back ends with values other than numbers override it.
    """

    intrinsics: Mapping[str, Callable[..., Any]] = INTRINSICS
    args: ir.Value

    def __init__(self, builder: ir.IRBuilder, definition: ast.FunctionDef, names: dict[str, Any]):
        self.builder = builder
        self.names = names
        self.slots: dict[str, Any] = {}
        targets = [n.targets[0] for n in ast.walk(definition) if isinstance(n, ast.Assign)]
        self.assigned = Counter(name for t in targets for name in names_of(t))

    def apply(self, operation: Callable[..., Any], *operands: Any) -> Any:
        """Applies the operation, a function of a builder and operands, to values."""
        return operation(self.builder, *operands)

    # Statements.

    def statements(self, body: list[ast.stmt]) -> None:
        for s in body:
            getattr(self, f"_{type(s).__name__.lower()}")(s)

    def _pass(self, s: ast.Pass) -> None:
        pass

    def _expr(self, s: ast.Expr) -> None:
        self.evaluate(s.value)

    def _assign(self, s: ast.Assign) -> None:
        (name,) = names_of(s.targets[0])
        self.set(name, self.evaluate(s.value))

    def set(self, name: str, value: Any) -> None:
        """Assigns a name's first or next value."""
        if self.assigned[name] == 1:
            self.names[name] = value
            return
        if name not in self.slots:
            with self.builder.goto_entry_block():
                self.slots[name] = self.builder.alloca(llvm_type(value.dtype)), value.dtype
        slot, dtype = self.slots[name]
        same_type(name, dtype, value.dtype)
        self.builder.store(value.value, slot)

    def _for(self, s: ast.For) -> None:
        assert isinstance(s.target, ast.Name) and isinstance(s.iter, ast.Call) and isinstance(s.iter.func, ast.Name)
        start, stop = (self.evaluate(a).value for a in s.iter.args)
        with self.loop(start, stop, I64(1), masked=s.iter.func.id == "masked") as variable:
            self.names[s.target.id] = Scalar(variable, int64)
            self.statements(s.body)

    @contextmanager
    def loop(self, start: ir.Value, stop: ir.Value, step: ir.Value, masked: bool = False) -> Iterator[ir.Value]:
        """Generates a loop over indices from ``start`` while less than ``stop``. ``masked``: no iterations are left over by
        vectors.
        """
        builder = self.builder
        before = builder.block
        body, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", start, stop), body, after)
        builder.position_at_end(body)
        variable = builder.phi(I64)
        variable.add_incoming(start, before)
        yield variable
        following = builder.add(variable, step, flags=("nsw",))
        variable.add_incoming(following, builder.block)
        branch = builder.cbranch(builder.icmp_signed("<", following, stop), body, after)
        if masked:
            vector.mask(branch)
        builder.position_at_end(after)

    def _if(self, s: ast.If) -> None:
        self.branch(self.evaluate(s.test).value, s)

    def branch(self, condition: ir.Value, s: ast.If) -> None:
        """The branches of a statement, for a given condition."""
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
        """A number or an array; None for a call that returns nothing."""
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
        if name not in self.intrinsics:
            raise NameError(f"a kernel calls {name!r}, which is not an intrinsic")
        return self.apply(self.intrinsics[name], *[self.evaluate(a) for a in e.args])

    def _converted(self, e: ast.expr, dtype: DType) -> Any:
        number = _number(e)
        if number is None:
            return self.apply(lambda builder, x: convert(builder, x, dtype), self.evaluate(e))
        if dtype.is_half:
            return Scalar(llvm_type(dtype)(halves.bits(number, dtype)), dtype)
        return Scalar(llvm_type(dtype)(number if dtype.is_floating_point else int(number)), dtype)

    def _compare(self, e: ast.Compare) -> Any:
        (sign,), (right,) = e.ops, e.comparators
        text = _COMPARISONS[type(sign)]
        return self.apply(lambda builder, a, b: compare(builder, text, a, b), self.evaluate(e.left), self.evaluate(right))

    def _boolop(self, e: ast.BoolOp) -> Any:
        """All operands are evaluated: none has an effect."""
        sign: type[ast.operator] = ast.BitAnd if isinstance(e.op, ast.And) else ast.BitOr
        first, *others = map(self.evaluate, e.values)
        for x in others:
            first = self.apply(lambda builder, a, b: _binary(builder, sign, a, b), first, x)
        return first

    def _unaryop(self, e: ast.UnaryOp) -> Any:
        return self.apply(lambda builder, x: _unary(builder, type(e.op), x), self.evaluate(e.operand))

    def _binop(self, e: ast.BinOp) -> Any:
        kind = type(e.op)
        return self.apply(lambda builder, a, b: _binary(builder, kind, a, b), self.evaluate(e.left), self.evaluate(e.right))


def same_type(name: str, expected: DType, found: DType) -> None:
    """Raises TypeError if a name would have two types."""
    if expected is not found:
        raise TypeError(f"{name} is {expected.short} and {found.short} in a kernel")


def _unary(builder: ir.IRBuilder, kind: type[ast.unaryop], x: Scalar) -> Scalar:
    if kind in (ast.Not, ast.Invert):
        return Scalar(builder.not_(x.value), x.dtype)
    assert kind is ast.USub
    return Scalar((builder.fneg if x.dtype.is_floating_point else builder.neg)(x.value), x.dtype)


def _binary(builder: ir.IRBuilder, kind: type[ast.operator], a: Scalar, b: Scalar) -> Scalar:
    a, b, dtype = alike(builder, a, b)
    if dtype.is_floating_point:
        real: dict[Any, Any] = {ast.Add: builder.fadd, ast.Sub: builder.fsub, ast.Mult: builder.fmul, ast.Div: builder.fdiv}
        return Scalar(real[kind](a.value, b.value), dtype)
    bits: dict[Any, Any] = {ast.BitAnd: builder.and_, ast.BitOr: builder.or_, ast.BitXor: builder.xor}
    if kind in bits:
        return Scalar(bits[kind](a.value, b.value), dtype)
    if kind in (ast.FloorDiv, ast.Mod):
        return (floor_div if kind is ast.FloorDiv else floor_mod)(builder, a, b)
    whole: dict[Any, Any] = {ast.Add: builder.add, ast.Sub: builder.sub, ast.Mult: builder.mul}
    whole |= {ast.LShift: builder.shl, ast.RShift: builder.ashr}
    return Scalar(whole[kind](convert(builder, a, int64).value, convert(builder, b, int64).value), int64)


def _number(e: ast.expr) -> float | None:
    """The number that an expression is, if it is a literal."""
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
        number = _number(e.operand)
        return None if number is None else -number
    if isinstance(e, ast.Constant) and isinstance(e.value, (int, float)):
        return e.value
    return _CONSTANTS.get(e.id) if isinstance(e, ast.Name) else None
