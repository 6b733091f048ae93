"""Gradients of the weights of convolutions of 3 x 3 windows with stride 1 by Winograd's algorithm, for compiled code.

The adjoint of ``winograd`` in the weights: with V = B'd B of the images' tiles, and

    M = A m A'   of the cotangent's tiles m of 2 x 2
    U = M V      summed over the tiles: sixteen matrix products

the gradient is G'U G. V has tiles in its rows, so it is turned in blocks; elements of M are read one by one, so it is not. The
products of some thousand tiles are added in the format of the operands, and these sums in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from ...ir.types import DType
from ..compiler import compile as compiler
from ..compiler.machine import CPU, selected
from .gemm import KC, transposed
from .winograd import POINTS, SIDE, WinogradWriter, both, call_of, inputs_of, places_of, tile_products

_INT, _BIT = ir.IntType(64), ir.IntType(1)
_TABLE = _INT.as_pointer()
_PASSES = 64  # of which the sums are added in the format of the operands
_MOST = 8  # blocks of tiles in a pass: more for larger U, which a pass reads and writes once
_SMALL = 1 << 12  # elements of a point of U for each of them
_WINDOW = 9


def _cotangent_side(w: WinogradWriter, m: Sequence[Any]) -> list[Any]:
    """A times two values."""
    b = w.b
    return [m[0], b.fadd(m[0], m[1]), b.fsub(m[0], m[1]), b.fneg(m[1])]


def _window_side(w: WinogradWriter, u: Sequence[Any], half: Any) -> list[Any]:
    """G' times four values."""
    b = w.b
    middle = b.fmul(half, b.fadd(u[1], u[2]))
    return [b.fadd(u[0], middle), b.fmul(half, b.fsub(u[1], u[2])), b.fadd(middle, u[3])]


def _cotangents(w: WinogradWriter) -> ir.Function:
    """(a, step of a line, of a row, rows, positions of tiles, lines below and columns beside each, whether the tiles of a
    vector are adjacent, size of a point, to): M.
    """
    lanes, width = w.lanes, w.tile.columns
    f, b = w.function("cotangents", (w.pointer, _INT, _INT, _INT, *[_TABLE] * 4, _INT, w.pointer))
    source, line, row, rows, at, below, beside, adjacent, size, target = f.args
    even, odd = (list(range(k, 2 * lanes, 2)) for k in (0, 1))
    load, zeros = w.masked_function("load", w.pair), ir.Constant(w.pair, [0.0] * 2)
    for v in range(2):
        together = b.icmp_signed("!=", w.get(adjacent, v), _INT(0))
        with b.if_else(together) as (near, apart):
            for block, is_near in ((near, True), (apart, False)):
                with block, w.loop(0, rows) as k:
                    plane, lines = w.at(source, (k, row)), list[list[Any]]()
                    for r in range(2):
                        if is_near:
                            start = w.at(plane, w.get(at, v * lanes), (r, line))
                            halves = [w.near(w.at(start, j * lanes)) for j in range(2)]
                        else:
                            found = []
                            for t in range(v * lanes, (v + 1) * lanes):
                                there = b.icmp_signed(">", w.get(below, t), _INT(r))
                                mask = w.first(b.select(there, w.get(beside, t), _INT(0)), 2)
                                place = w.vectors_at(w.at(plane, w.get(at, t), (r, line)), w.pair)
                                found.append(b.call(load, [place, ir.IntType(32)(1), mask, zeros]))
                            halves = [w.joined(found[: lanes // 2]), w.joined(found[lanes // 2 :])]
                        lines.append([w.shuffled(halves[0], halves[1], by) for by in (even, odd)])
                    place = w.at(target, (k, width), v * lanes)
                    for i, x in enumerate(x for points in both(w, _cotangent_side, lines) for x in points):
                        w.store(x, w.at(place, (i, size)))
    b.ret_void()
    return f


def _turned(w: WinogradWriter, inputs: ir.Function) -> ir.Function:
    """(b, step of a row, of a channel, channels, positions of tiles and so on as for ``inputs``, V of one block of channels,
    size of a point, to): V as slivers of channels, with a row for each tile.
    """
    lanes, width = w.lanes, w.tile.columns
    f, b = w.function("turned", (w.pointer, _INT, _INT, _INT, *[_TABLE] * 4, w.pointer, _INT, w.pointer))
    source, row, channel, channels, at, below, beside, adjacent, part, size, target = f.args
    own = _INT(lanes * width)
    with w.loop(0, channels, lanes) as c:
        here = w.least(lanes, b.sub(channels, c))
        b.call(inputs, [w.at(source, (c, channel)), row, channel, here, at, below, beside, adjacent, own, part])
        sliver, column = b.sdiv(c, _INT(width)), b.srem(c, _INT(width))
        place = w.at(target, (sliver, width * width), column)
        with w.loop(0, POINTS) as i:
            for v in range(2):
                block = [w.load(w.at(part, (i, own), k * width + v * lanes)) for k in range(lanes)]
                for t, x in enumerate(transposed(w, block)):
                    w.store(x, w.at(place, (i, size), (v * lanes + t) * width))
    b.ret_void()
    return f


def _windows(w: WinogradWriter) -> ir.Function:
    """(U, size of a point, columns, rows, sums, whether these are the first): adds G'U G to sums in float64."""
    lanes, double = w.lanes, ir.VectorType(ir.DoubleType(), w.lanes)
    f, b = w.function("windows", (w.pointer, _INT, _INT, _INT, ir.DoubleType().as_pointer(), _BIT))
    source, size, columns, rows, sums, starts = f.args
    half = ir.Constant(w.vector, [0.5] * lanes)
    with w.loop(0, rows) as k, w.loop(0, columns, lanes) as c:
        place = w.at(source, (k, columns), c)
        points = [[w.load(w.at(place, (SIDE * i + j, size))) for j in range(SIDE)] for i in range(SIDE)]
        window = both(w, lambda w, u: _window_side(w, u, half), points)
        for i, x in enumerate(x for line in window for x in line):
            target = b.bitcast(w.at(sums, b.mul(b.add(b.mul(k, _INT(_WINDOW)), _INT(i)), columns), c), double.as_pointer())
            wide = x if x.type == double else b.fpext(x, double)
            before = b.select(starts, ir.Constant(double, [0.0] * lanes), b.load(target, align=8))
            b.store(b.fadd(before, wide), target, align=8)
    b.ret_void()
    return f


def _code(dtype: DType) -> str:
    w = WinogradWriter(dtype)
    height, width, lanes = w.tile.rows, w.tile.columns, w.lanes
    products = tile_products(w, by_rows=width)
    places, cotangents, inputs, windows = places_of(w), _cotangents(w), inputs_of(w), _windows(w)
    turned = _turned(w, inputs)
    f, b = w.function("SYMBOL_gradient", (_TABLE, *[w.pointer] * 3), True)
    axes, left, right, out = f.args
    call = call_of(w, axes, images=2)
    rows, row_a, row_c = call.rows
    (channels, channel_b, channel_c), (_, _, down_c), (_, _, across_c) = call.columns
    (_, image_a, image_b), (lines, line_a, line_b), (columns, _, _) = call.terms
    slivers = b.sdiv(b.add(channels, _INT(width - 1)), _INT(width))
    whole = b.mul(slivers, _INT(width))  # columns of U
    padded = b.mul(b.sdiv(b.add(rows, _INT(height - 1)), _INT(height)), _INT(height))  # a product has more rows than are left
    u_size = b.mul(padded, whole)
    blocks = w.inside(b.sdiv(u_size, _INT(_SMALL)), _MOST)
    blocks = b.select(b.icmp_signed("<", blocks, _INT(1)), _INT(1), blocks)
    m_size, v_size = b.mul(padded, _INT(width)), b.mul(whole, _INT(width))
    part_size = POINTS * lanes * width
    sizes = [
        b.mul(u_size, _INT(POINTS)),
        b.mul(b.mul(m_size, blocks), _INT(POINTS)),
        b.mul(b.mul(v_size, blocks), _INT(POINTS)),
    ]
    elements = functools.reduce(b.add, sizes, _INT(part_size))
    sums_bytes = b.mul(b.mul(rows, whole), _INT(8 * _WINDOW))
    memory = w.take(b.add(b.mul(elements, _INT(w.itemsize)), sums_bytes))
    sums = b.bitcast(memory, ir.DoubleType().as_pointer())
    part = b.inttoptr(b.add(b.ptrtoint(memory, _INT), sums_bytes), w.pointer)
    u = w.at(part, part_size)
    m = w.at(u, sizes[0])
    v = w.at(m, sizes[1])
    tables = [w.table(width) for _ in range(6)]
    in_b, in_a, below_b, beside_b, below_a, beside_a = tables
    adjacent = w.table(2)
    step = b.mul(blocks, _INT(width))
    period = b.mul(step, _INT(_PASSES))
    with w.loop(0, call.tiles, step) as first:
        # A block beyond the last tile has nothing inside: it is zero.
        with w.loop(0, blocks) as s:
            shape = [b.add(first, b.mul(s, _INT(width))), call.tiles, call.per_line, call.per_image, lines, columns]
            b.call(places, [*shape, image_b, line_b, image_a, line_a, *tables, adjacent])
            into = w.at(m, (s, m_size)), w.at(v, (s, v_size))
            sized = b.mul(m_size, blocks), b.mul(v_size, blocks)
            b.call(cotangents, [left, line_a, row_a, rows, in_a, below_a, beside_a, adjacent, sized[0], into[0]])
            b.call(turned, [right, line_b, channel_b, channels, in_b, below_b, beside_b, adjacent, part, sized[1], into[1]])
        begins = b.icmp_signed("==", b.srem(first, period), _INT(0))
        with w.loop(0, POINTS) as i, w.loop(0, slivers) as c, w.loop(0, rows, height) as k:
            tall = w.least(height, b.sub(rows, k))
            product = w.smallest(products, tall)
            target = w.at(u, (i, u_size), (k, whole), (c, width))
            with w.loop(0, blocks) as s:
                sliver = w.at(v, b.mul(b.add(b.mul(i, blocks), s), v_size), (c, width * width))
                lines_m = w.at(m, b.mul(b.add(b.mul(i, blocks), s), m_size), (k, width))
                adds = b.or_(b.not_(begins), b.icmp_signed(">", s, _INT(0)))
                b.call(product, [_INT(width), _INT(KC), lines_m, sliver, _INT(width), target, whole, adds])
        after = b.add(first, step)
        ends = b.or_(b.icmp_signed("==", b.srem(after, period), _INT(0)), b.icmp_signed(">=", after, call.tiles))
        with b.if_then(ends):
            b.call(windows, [u, u_size, whole, rows, sums, b.icmp_signed("<", first, period)])
    with w.loop(0, rows) as k, w.loop(0, channels) as c:
        place = w.at(out, (k, row_c), (c, channel_c))
        for i in range(_WINDOW):
            x = b.load(w.at(sums, b.mul(b.add(b.mul(k, _INT(_WINDOW)), _INT(i)), whole), c))
            b.store(x if w.element == x.type else b.fptrunc(x, w.element), w.at(place, (i // 3, down_c), (i % 3, across_c)))
    w.leave(memory)
    b.ret_void()
    return str(w.module)


def winograd_gradient(dtype: DType) -> int:
    """The address of the function for float32 or float64, with the arguments of ``contraction``: one axis of rows, of the
    cotangent; channels and the two axes of a window; images, lines and columns.
    """
    return _winograd_gradient(dtype, selected())


@functools.cache
def _winograd_gradient(dtype: DType, cpu: CPU) -> int:
    return compiler.native(f"gradient_{dtype.short}", lambda: _code(dtype), ("gradient",))["gradient"]
