"""GPU kernel source to NVVM instructions: the walk of ``lower``, with loops divided among threads.

In a loop that takes several adjacent iterations at once a value may be a ``Pack``, one number for each of them, and
operations are applied elementwise. A name that is assigned several times has a register per lane if it begins inside the
loop, and one otherwise.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...ir.types import DType, int64
from . import nvvm
from .intrinsics import DTYPES, I64, Scalar, llvm_type
from .lower import Writer, names_of, parsed, same_type
from .nvvm import COMBINE, INTRINSICS, Builder, GlobalArray, Pack, special

_LOOP = re.compile(r"(range|grid|blocks|warps|threads)(\d*)$")
_JOIN = re.compile(rf"(block|warp)_({'|'.join(COMBINE)})$")
_ACCESS = re.compile(r"(load|store)(\d+)$")
_WARP = 32


@dataclass(frozen=True)
class Signature:
    """A kernel's parameters according to its text: the dtypes of its arrays, and the number of integers after them."""

    dtypes: tuple[DType, ...]
    integers: int

    @staticmethod
    def of(source: str) -> Signature:
        arrays = re.findall(r"(?:buffer|readonly)_(\w+)\(args, \d+, \d+\)", source)
        last = max((int(k) for k in re.findall(r"args\[(\d+)\]", source)), default=len(arrays) - 1)
        return Signature(tuple(DTYPES[short] for short in arrays), last + 1 - len(arrays))

    @property
    def names(self) -> list[str]:
        """The parameters' names: arrays, integers, and the range."""
        return [*(f"p{k}" for k in range(len(self.dtypes))), *(f"n{k}" for k in range(self.integers)), "start", "stop"]


def write(builder: ir.IRBuilder, source: str, parameters: list[ir.Value], threads: int) -> None:
    """Writes the body of a kernel, for blocks of ``threads``, into a function under construction.

    Raises TypeError or NameError for text that is not a kernel.
    """
    own = Builder(builder.block)
    definition = parsed(source)
    *arguments, start, stop = parameters
    writer = _GridWriter(own, definition, {"start": Scalar(start, int64), "stop": Scalar(stop, int64)})
    writer.arguments, writer.threads = arguments, threads
    writer.statements(definition.body)
    builder.position_at_end(own.block)


class _GridWriter(Writer):
    intrinsics = INTRINSICS
    arguments: list[ir.Value]
    threads: int  # per block
    unit = "block"  # that computes a row: block or warp
    shared = False  # inside a loop that is divided among threads
    width = 1  # adjacent iterations taken at once
    lane: int | None = None  # the lane that statements are written for; None: all
    joins = 0  # barriers of joins in the body of the current loop
    inner_joins = False  # whether inner loops have barriers

    def apply(self, operation: Callable[..., Any], *operands: Any) -> Any:
        if not any(isinstance(x, Pack) for x in operands):
            return operation(self.builder, *operands)
        parts = [operation(self.builder, *[_part(x, k) for x in operands]) for k in range(self.width)]
        return None if parts[0] is None else Pack(tuple(parts))

    # Names.

    def set(self, name: str, value: Any) -> None:
        if self.assigned[name] == 1:
            self.names[name] = value
            return
        if name not in self.slots:
            with self.builder.goto_entry_block():
                places = [self.builder.alloca(llvm_type(value.dtype)) for _ in range(self.width)]
            self.slots[name] = places, value.dtype
        places, dtype = self.slots[name]
        same_type(name, dtype, value.dtype)
        for k, place in enumerate(places):
            if self.lane is None or len(places) == 1 or k == self.lane:
                self.builder.store(_part(value, k).value, place)

    def _assign(self, s: ast.Assign) -> None:
        names = names_of(s.targets[0])
        if len(names) > 1:
            for name, value in zip(names, self.evaluate(s.value), strict=True):
                self.set(name, value)
            return
        carried = names[0] in self.slots and len(self.slots[names[0]][0]) == 1
        if carried and self.width > 1 and self.lane is None:
            for _ in self._lanes():
                super()._assign(s)
            return
        super()._assign(s)

    def _lanes(self) -> Iterator[None]:
        """Writes the statements for one lane after the other."""
        for k in range(self.width):
            self.lane = k
            yield
        self.lane = None

    def _name(self, e: ast.Name) -> Any:
        if e.id not in self.slots:
            value = super()._name(e)
        else:
            places, dtype = self.slots[e.id]
            parts = tuple(Scalar(self.builder.load(p), dtype) for p in places)
            value = parts[0] if len(parts) == 1 else Pack(parts)
        return _part(value, self.lane) if self.lane is not None else value

    def _subscript(self, e: ast.Subscript) -> Scalar:
        """``args[k]``: arguments are parameters."""
        return Scalar(self.arguments[ast.literal_eval(e.slice)], int64)

    # Statements.

    def _for(self, s: ast.For) -> None:
        assert isinstance(s.target, ast.Name) and isinstance(s.iter, ast.Call) and isinstance(s.iter.func, ast.Name)
        match = _LOOP.match(s.iter.func.id)
        assert match is not None, s.iter.func.id
        who, lanes = match[1], int(match[2] or 1)
        start, stop = (self.evaluate(a).value for a in s.iter.args)
        first, step = self._divided(who, lanes)
        with self._inside(who, lanes), self.loop(self.builder.add(start, first), stop, step) as variable:
            parts = tuple(Scalar(self.builder.add(variable, I64(k)), int64) for k in range(lanes))
            self.names[s.target.id] = parts[0] if lanes == 1 else Pack(parts)
            self.statements(s.body)
            # A barrier before the next iteration overwrites what slower warps still read. Between two joins there is a barrier
            # anyway.
            if self.joins == 1 or self.inner_joins:
                nvvm.block_barrier(self.builder)

    def _divided(self, who: str, lanes: int) -> tuple[ir.Value, ir.Value]:
        """A thread's first iteration, and the step to its next one."""
        if who == "range":
            return I64(0), I64(1)
        builder, size = self.builder, I64(self.threads)
        thread, block, blocks = (special(builder, name) for name in ("tid.x", "ctaid.x", "nctaid.x"))
        if who == "grid":
            first, step = builder.add(builder.mul(block, size), thread), builder.mul(blocks, size)
        elif who == "blocks":
            first, step = block, blocks
        elif who == "warps":
            warps = I64(self.threads // _WARP)
            first = builder.add(builder.mul(block, warps), builder.lshr(thread, I64(5)))
            step = builder.mul(blocks, warps)
        else:
            first, step = (thread, size) if self.unit == "block" else (self._lane_of_warp(), I64(_WARP))
        return (first, step) if lanes == 1 else (builder.mul(first, I64(lanes)), builder.mul(step, I64(lanes)))

    def _lane_of_warp(self) -> ir.Value:
        return self.builder.and_(special(self.builder, "tid.x"), I64(_WARP - 1))

    @contextmanager
    def _inside(self, who: str, lanes: int) -> Iterator[None]:
        before = self.unit, self.shared, self.width, self.joins, self.inner_joins
        self.unit = "warp" if who == "warps" else self.unit
        self.shared = self.shared or who in ("grid", "threads")
        self.width = max(self.width, lanes)
        self.joins, self.inner_joins = 0, False
        yield
        used = self.joins > 0 or self.inner_joins
        self.unit, self.shared, self.width, self.joins, self.inner_joins = before
        self.inner_joins = self.inner_joins or used

    def _if(self, s: ast.If) -> None:
        condition = self.evaluate(s.test)
        if isinstance(condition, Scalar):
            self.branch(condition.value, s)
            return
        for k, _ in enumerate(self._lanes()):
            self.branch(condition.parts[k].value, s)

    def _expr(self, s: ast.Expr) -> None:
        """Outside divided loops only the first thread stores."""
        assert isinstance(s.value, ast.Call) and isinstance(s.value.func, ast.Name)
        if self.shared or s.value.func.id != "store":
            self.evaluate(s.value)
            return
        thread = special(self.builder, "tid.x") if self.unit == "block" else self._lane_of_warp()
        with self.builder.if_then(self.builder.icmp_unsigned("==", thread, I64(0))):
            self.evaluate(s.value)

    # Expressions.

    def _call(self, e: ast.Call) -> Any:
        assert isinstance(e.func, ast.Name)
        name = e.func.id
        kind, _, short = name.partition("_")
        if kind in ("buffer", "readonly"):
            return GlobalArray(self.arguments[ast.literal_eval(e.args[1])], DTYPES[short], kind == "readonly")
        if match := _JOIN.match(name):
            self.joins += match[1] == "block"
            values = tuple(self.evaluate(a) for a in e.args)
            threads = self.threads if match[1] == "block" else _WARP
            results = nvvm.joined(self.builder, values, COMBINE[match[2]], threads)
            return results[0] if len(results) == 1 else results
        if match := _ACCESS.match(name):
            return self._neighbours_access(match[1], int(match[2]), e)
        if name in ("first", "neighbours"):
            (x,) = map(self.evaluate, e.args)
            if name == "first":
                return _part(x, 0)
            return Pack(tuple(Scalar(self.builder.add(x.value, I64(k)), x.dtype) for k in range(self.width)))
        return super()._call(e)

    def _neighbours_access(self, kind: str, count: int, e: ast.Call) -> Any:
        array, offset, *value = map(self.evaluate, e.args)
        if kind == "load":
            return nvvm.load_neighbours(self.builder, array, _part(offset, 0), count)
        nvvm.store_neighbours(self.builder, array, _part(offset, 0), [_part(value[0], k) for k in range(count)])
        return None


def _part(x: Any, k: int) -> Any:
    """The number of one lane; a value that is not a pack is the same for all."""
    return x.parts[k] if isinstance(x, Pack) else x
