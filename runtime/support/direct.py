"""Products of strided views without packing, for compiled code: few rows, or few terms, as in depthwise convolutions.

Vectors are along the innermost axis of the columns, or, if the terms are many, of the terms. The last one is read and written
with a mask, because that axis is often short.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from llvmlite import ir

from ...codegen.contraction import AXES, MOST_TERMS
from ...ir.types import DType
from ..compiler import compile as compiler
from ..compiler.machine import CPU, selected
from .contraction import LANES, TABLE, ViewWriter, locating
from .gemm import KC

_INT, _BIT = ir.IntType(64), ir.IntType(1)
_ROWS = 64  # whose positions are in tables
_LINES = 32
_TOGETHER = 3  # lines or columns that are computed together
_EVEN = 0x5555555555555555


class _Writer(ViewWriter):
    @contextlib.contextmanager
    def over(self, axes: Any, count: int) -> Iterator[list[Any]]:
        """Loops over the first ``count`` axes; yields the two positions."""
        with contextlib.ExitStack() as stack:
            places = [_INT(0), _INT(0)]
            for a in range(count):
                i = stack.enter_context(self.loop(0, self.get(axes, 3 * a)))
                places = [self.b.add(p, self.b.mul(i, self.get(axes, 3 * a + 1 + k))) for k, p in enumerate(places)]
            yield places

    @contextlib.contextmanager
    def steps(self, stop: Any, step: Any) -> Iterator[Any]:
        """A loop over 0, ``step``, ... less than ``stop``."""
        b = self.b
        with self.loop(0, b.sdiv(b.sub(b.add(stop, step), _INT(1)), step)) as i:
            yield b.mul(i, step)

    def blocks(self, count: Any, size: int) -> Iterator[tuple[Any, int]]:
        """Loops over blocks of ``size`` indices, then over those that remain; yields the first index and the number."""
        whole = self.b.mul(self.b.sdiv(count, _INT(size)), _INT(size))
        with self.loop(0, whole, size) as i:
            yield i, size
        with self.loop(whole, count) as i:
            yield i, 1

    def mask(self, lanes: Any, step: int) -> Any:
        """That of a piece of so many lanes."""
        b = self.b
        first = b.sub(b.shl(_INT(1), lanes), _INT(1))
        inside = first if step == 1 else b.and_(b.sub(b.shl(_INT(1), b.mul(lanes, _INT(2))), _INT(1)), _INT(_EVEN))
        return b.or_(inside, b.shl(first, _INT(LANES)))


def _near(w: _Writer, steps: list[Any]) -> tuple[Any, list[Any]]:
    """Whether the steps are one or two; which are two."""
    b = w.b
    two = [b.icmp_signed("==", s, _INT(2)) for s in steps]
    near = [b.or_(t, b.icmp_signed("==", s, _INT(1))) for s, t in zip(steps, two, strict=True)]
    return b.and_(*near), two


def _by_columns(w: _Writer, locate: ir.Function, step: int, out_step: int) -> ir.Function:
    """(rows, columns, terms, lanes of a vector, a, b, c, add): vectors are along the innermost axis of the columns."""
    operand = w.stored.as_pointer()
    f, b = w.function(f"columns_{step}_{out_step}", (*[TABLE] * 3, _INT, operand, operand, w.pointer, _BIT))
    rows, columns, terms, most, left, right, out, adds = f.args
    m, k = (functools.reduce(b.mul, [w.get(axes, 3 * a) for a in range(AXES)]) for axes in (rows, terms))
    row_a, row_c, term_a, term_b = w.table(_ROWS), w.table(_ROWS), w.table(KC), w.table(KC)
    factors = w.b.gep(b.alloca(ir.ArrayType(w.element, KC)), [_INT(0), _INT(0)])
    zeros, nothing = ir.Constant(w.operand, [0] * w.lanes), ir.Constant(w.vector, [0.0] * w.lanes)
    (lines, line_b, line_c), (extent, gap, out_gap) = ([w.get(columns, 3 * a + x) for x in range(3)] for a in (2, 3))
    with w.loop(0, k, KC) as k0, w.loop(0, m, _ROWS) as i0:
        depth, height = w.least(KC, b.sub(k, k0)), w.least(_ROWS, b.sub(m, i0))
        more = b.or_(adds, b.icmp_signed(">", k0, _INT(0)))
        b.call(locate, [terms, k0, depth, term_a, term_b])
        b.call(locate, [rows, i0, height, row_a, row_c])
        with w.loop(0, height) as i:
            with w.loop(0, depth) as p:
                place = w.at(left, w.get(row_a, i), w.get(term_a, p))
                b.store(w.computed(b.load(place)), w.at(factors, p))
            with w.steps(extent, most) as x:
                here = w.least(most, b.sub(extent, x))
                mask, out_mask = w.mask(here, step), w.mask(here, out_step)
                with w.over(columns, AXES - 2) as (from_b, from_c):
                    start = w.at(right, from_b, (x, gap))
                    target = w.at(out, w.get(row_c, i), from_c, (x, out_gap))
                    for line, count in w.blocks(lines, _TOGETHER):  # lines that share what is loaded for a term
                        starts = [w.at(start, (b.add(line, _INT(r)), line_b)) for r in range(count)]
                        with w.carrying(depth, *[nothing] * count) as (p, totals, following):
                            term, factor = w.get(term_b, p), w.splat(b.load(w.at(factors, p)))
                            for place, total in zip(starts, totals, strict=True):
                                element = w.computed(w.read(w.at(place, term), mask, step, zeros))
                                following.append(b.call(w.fma, [factor, element, total]))
                        targets = [w.at(target, (b.add(line, _INT(r)), line_c)) for r in range(count)]
                        with b.if_else(more) as (adding, setting):
                            for block, adds_here in ((adding, True), (setting, False)):
                                with block:
                                    for place, total in zip(targets, totals, strict=True):
                                        w.write(total, place, out_mask, out_step, adds_here)
    b.ret_void()
    return f


def _by_terms(w: _Writer, locate: ir.Function, step_a: int, step_b: int) -> ir.Function:
    """(rows, columns, terms, lanes of a vector, a, b, c, add): vectors are along the innermost axis of the terms.

    The sums of the innermost two axes, of at most ``_LINES`` positions of the outer one, are added in float64.
    """
    operand, double = w.stored.as_pointer(), ir.VectorType(ir.DoubleType(), w.lanes)
    f, b = w.function(f"terms_{step_a}_{step_b}", (*[TABLE] * 3, _INT, operand, operand, w.pointer, _BIT))
    rows, columns, terms, most, left, right, out, adds = f.args
    zeros, nothing = ir.Constant(w.operand, [0] * w.lanes), ir.Constant(w.vector, [0.0] * w.lanes)
    sums = [b.alloca(double) for _ in range(_TOGETHER)]
    (lines, line_a, line_b), (extent, gap_a, gap_b) = ([w.get(terms, 3 * a + x) for x in range(3)] for a in (2, 3))
    neighbours, next_b, next_c = (w.get(columns, 3 * (AXES - 1) + x) for x in range(3))
    with w.over(rows, AXES) as (row_a, row_c), w.over(columns, AXES - 1) as (column_b, column_c):
        for j, count in w.blocks(neighbours, _TOGETHER):  # columns that share the elements of a
            for total in sums[:count]:
                b.store(ir.Constant(double, [0.0] * w.lanes), total)
            with w.over(terms, AXES - 2) as (from_a, from_b), w.steps(extent, most) as x, w.loop(0, lines, _LINES) as first:
                here = w.least(most, b.sub(extent, x))
                mask_a, mask_b = w.mask(here, step_a), w.mask(here, step_b)
                start_a = w.at(left, row_a, from_a, (x, gap_a), (first, line_a))
                start_b = w.at(right, column_b, from_b, (x, gap_b), (first, line_b))
                starts = [w.at(start_b, (b.add(j, _INT(r)), next_b)) for r in range(count)]
                block = w.least(_LINES, b.sub(lines, first))
                with w.carrying(block, *[nothing] * count) as (i, parts, following):
                    element = w.computed(w.read(w.at(start_a, (i, line_a)), mask_a, step_a, zeros))
                    for place, part in zip(starts, parts, strict=True):
                        other = w.computed(w.read(w.at(place, (i, line_b)), mask_b, step_b, zeros))
                        following.append(b.call(w.fma, [element, other, part]))
                for total, part in zip(sums[:count], parts, strict=True):
                    wide = part if w.vector == double else b.fpext(part, double)
                    b.store(b.fadd(b.load(total), wide), total)
            for r, lanes in enumerate(sums[:count]):
                whole = b.load(lanes)
                total = functools.reduce(b.fadd, [b.extract_element(whole, ir.IntType(32)(i)) for i in range(w.lanes)])
                value = total if w.vector == double else b.fptrunc(total, w.element)
                target = w.at(out, row_c, column_c, (b.add(j, _INT(r)), next_c))
                with b.if_else(adds) as (adding, setting):
                    with adding:
                        b.store(b.fadd(b.load(target), value), target)
                    with setting:
                        b.store(value, target)
    b.ret_void()
    return f


def _code(dtype: DType) -> str:
    w = _Writer(dtype)
    locate = locating(w)
    by_columns, by_terms = (
        {(x, y): make(w, locate, x, y) for x in (1, 2) for y in (1, 2)} for make in (_by_columns, _by_terms)
    )
    operand = w.stored.as_pointer()
    f, b = w.function("SYMBOL_direct", (TABLE, operand, operand, w.pointer), True)
    axes, left, right, out = f.args
    adds = b.icmp_signed("!=", w.get(axes, 0), _INT(0))
    groups = [w.at(axes, 1 + 3 * AXES * g) for g in range(3)]
    terms, last = functools.reduce(b.mul, [w.get(groups[2], 3 * a) for a in range(AXES)]), 3 * (AXES - 1)
    few = b.or_(adds, b.icmp_signed("<=", terms, _INT(MOST_TERMS)))
    with b.if_else(few) as (columns, others):
        for block, functions, group in ((columns, by_columns, groups[1]), (others, by_terms, groups[2])):
            with block:
                near, two = _near(w, [w.get(group, last + 1), w.get(group, last + 2)])
                most = b.select(near, _INT(w.lanes), _INT(1))  # elements further apart are taken one by one
                two = [b.and_(near, t) for t in two]
                for (x, y), function in functions.items():
                    fits = b.and_(*(t if s == 2 else b.not_(t) for s, t in zip((x, y), two, strict=True)))
                    with b.if_then(fits):
                        b.call(function, [*groups, most, left, right, out, adds])
    b.ret_void()
    return str(w.module)


def direct(dtype: DType) -> int:
    """The address of the function for a dtype, with the arguments of ``contraction``."""
    return _direct(dtype, selected())


@functools.cache
def _direct(dtype: DType, cpu: CPU) -> int:
    return compiler.native(f"direct_{dtype.short}", lambda: _code(dtype), ("direct",))["direct"]
