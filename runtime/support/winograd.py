"""Convolutions of 3 x 3 windows with stride 1 by Winograd's algorithm, for compiled code.

F(2 x 2, 3 x 3) of A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016): a tile of 2 x 2
results needs 16 multiplications for each pair of channels instead of 36. The tile's 4 x 4 elements d, and the weights g, are
transformed,

    V = B'd B,   U = G g G',   M = U V (elementwise, summed over the channels),   result = A'M A

so the sums over channels are sixteen matrix products. As many tiles as a register tile has columns are computed at a time, and
their V, M and the weights' U stay in the cache: no transformed image is stored.

Lanes of a vector are tiles. In a row of an image with enough tiles they are read and written as vectors; other tiles are read
and written one by one, by masks at the edges of an image. The order of additions depends on the number of channels alone.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...codegen.contraction import AXES
from ...ir.types import DType
from ..compiler import compile as compiler
from ..compiler.machine import CPU, selected
from .contraction import TABLE, ViewWriter
from .gemm import KC, POOLED, tile_product

_INT, _BIT, _WORD = ir.IntType(64), ir.IntType(1), ir.IntType(32)
POINTS = 16  # of a transformed tile
SIDE = 4  # elements of a tile's side
_MOST_KEPT = 1 << 26  # bytes of a block of memory that is kept for later calls


class WinogradWriter(ViewWriter):
    """Generates the functions. ``side`` is a line of a tile of 4 x 4, ``pair`` one of a tile of 2 x 2."""

    def __init__(self, dtype: DType):
        super().__init__(dtype)
        self.side = ir.VectorType(self.element, SIDE)
        self.pair = ir.VectorType(self.element, 2)

    def take(self, size: Any) -> Any:
        """Memory of so many bytes, aligned to 64: from the pool if a block there is large enough, or newly allocated.

        New memory for each call would cost a page fault for every 4 KiB.
        """
        b, found, nothing = self.b, self.b.alloca(self.pointer), ir.Constant(self.pointer, None)
        b.store(nothing, found)
        with self.loop(0, POOLED) as i, b.if_then(b.icmp_unsigned("==", b.load(found), nothing)):
            taken = b.atomic_rmw("xchg", self._pooled(i), nothing, "acquire")
            there, block = b.icmp_unsigned("!=", taken, nothing), self._size(taken)
            with b.if_then(there), b.if_else(b.icmp_signed(">=", b.load(block), size)) as (large, small):
                with large:
                    b.store(taken, found)
                with small:
                    b.call(self.free, [b.load(self._allocation(taken))])
        with b.if_then(b.icmp_unsigned("==", b.load(found), nothing)):
            raw = b.ptrtoint(b.call(self.malloc, [b.add(size, _INT(128))]), _INT)
            aligned = b.inttoptr(b.and_(b.add(raw, _INT(127)), _INT(-64)), self.pointer)
            b.store(raw, self._allocation(aligned))
            b.store(size, self._size(aligned))
            b.store(aligned, found)
        return b.load(found)

    def leave(self, memory: Any) -> None:
        """Returns it to the pool, or frees a large block."""
        b = self.b
        with b.if_else(b.icmp_signed(">", b.load(self._size(memory)), _INT(_MOST_KEPT))) as (large, small):
            with large:
                b.call(self.free, [b.load(self._allocation(memory))])
            with small:
                self.give_back(memory)

    def _size(self, memory: Any) -> Any:
        """The place of a block's size: before its memory."""
        return self.b.gep(self.b.bitcast(memory, _INT.as_pointer()), [_INT(-2)])

    def fours(self, p: Any, mask: Any) -> Any:
        """The four elements at an address of which the marked ones are read; the others are zero."""
        load = self.masked_function("load", self.side)
        return self.b.call(load, [self.vectors_at(p, self.side), _WORD(1), mask, ir.Constant(self.side, [0.0] * SIDE)])

    def put_pair(self, v: Any, p: Any, mask: Any) -> None:
        """Stores the marked ones of two elements."""
        self.b.call(self.masked_function("store", self.pair), [v, self.vectors_at(p, self.pair), _WORD(1), mask])

    def near(self, p: Any) -> Any:
        """A vector at any address."""
        return self.b.load(self.vectors_at(p, self.vector), align=1)

    def vectors_at(self, p: Any, vector: Any) -> Any:
        """The same address, of vectors of that type."""
        return self.b.bitcast(p, vector.as_pointer())

    def joined(self, vectors: Sequence[Any]) -> Any:
        """Equal vectors, of which there is a power of two, as one."""
        while len(vectors) > 1:
            size = 2 * vectors[0].type.count
            vectors = [self.shuffled(x, y, range(size)) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
        return vectors[0]

    def first(self, count: Any, of: int) -> Any:
        """The mask of the first ``count`` of a few lanes."""
        bits = self.b.sub(self.b.shl(_INT(1), count), _INT(1))
        return self.lanes_of(bits, of)

    def inside(self, count: Any, most: int) -> Any:
        """``count``, at least 0 and at most ``most``."""
        low = self.b.select(self.b.icmp_signed("<", count, _INT(0)), _INT(0), count)
        return self.least(most, low)


@dataclass(frozen=True)
class Call:
    """The axes of a call, each as (extent, two steps), and its tiles."""

    rows: tuple[Any, Any, Any]
    columns: list[tuple[Any, Any, Any]]  # three axes
    terms: list[tuple[Any, Any, Any]]
    per_line: Any
    per_image: Any
    tiles: Any


def call_of(w: WinogradWriter, axes: Any, images: int) -> Call:
    """Reads the table of axes. ``images``: 1 if the columns are images, lines and columns of images, 2 if the terms are."""
    b, last = w.b, 3 * (AXES - 1)
    groups = [w.at(axes, 1 + 3 * AXES * g) for g in range(3)]

    def axis(group: int, before_last: int) -> tuple[Any, Any, Any]:
        extent, first, second = (w.get(groups[group], last - 3 * before_last + k) for k in range(3))
        return extent, first, second

    three = {group: [axis(group, a) for a in (2, 1, 0)] for group in (1, 2)}
    count, lines, columns = (extent for extent, _, _ in three[images])
    per_line, per_column = (b.sdiv(b.add(n, _INT(1)), _INT(2)) for n in (columns, lines))
    per_image = b.mul(per_line, per_column)
    return Call(axis(0, 0), three[1], three[2], per_line, per_image, b.mul(per_image, count))


def tile_products(w: WinogradWriter, by_rows: int = 0) -> dict[int, ir.Function]:
    """Register tiles by their numbers of rows."""
    rows = w.tile.rows
    return {n: tile_product(w, n, by_rows=by_rows) for n in (rows // 4, rows // 2, 3 * rows // 4, rows) if n}


def _input_side(w: WinogradWriter, d: Sequence[Any]) -> list[Any]:
    """B' times four values."""
    b = w.b
    return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]


def _output_side(w: WinogradWriter, m: Sequence[Any]) -> list[Any]:
    """A' times four values."""
    b = w.b
    return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])]


def _weight_side(w: WinogradWriter, g: Sequence[Any], half: Any) -> list[Any]:
    """G times three values."""
    b = w.b
    ends = b.fadd(g[0], g[2])
    return [g[0], b.fmul(half, b.fadd(ends, g[1])), b.fmul(half, b.fsub(ends, g[1])), g[2]]


def both(w: WinogradWriter, side: Any, rows: list[list[Any]]) -> list[list[Any]]:
    """A transformation of the columns of a matrix, then of its rows."""
    columns = [side(w, [row[q] for row in rows]) for q in range(len(rows[0]))]
    return [side(w, [column[p] for column in columns]) for p in range(len(columns[0]))]


def _weights(w: WinogradWriter) -> ir.Function:
    """(a, step of a row, of a channel, of a window's two axes, rows, channels, size of a point, to): U as slivers of rows."""
    height, lanes = w.tile.rows, w.lanes
    f, b = w.function("weights", (w.pointer, *[_INT] * 7, w.pointer))
    source, row, channel, down, across, rows, channels, size, target = f.args
    half = ir.Constant(w.vector, [0.5] * lanes)
    slivers = b.sdiv(b.add(rows, _INT(height - 1)), _INT(height))
    with w.loop(0, slivers) as s, w.loop(0, channels) as c:
        first = b.mul(s, _INT(height))
        last = b.sub(b.sub(rows, first), _INT(1))
        place = w.at(target, b.mul(b.add(b.mul(s, channels), c), _INT(height)))
        for j in range(0, height, lanes):
            places = [w.at(source, (b.add(first, w.least(j + i, last)), row), (c, channel)) for i in range(lanes)]
            window: list[list[Any]] = [[], [], []]
            for p, q in itertools.product(range(3), range(3)):
                v = ir.Constant(w.vector, ir.Undefined)
                for i, start in enumerate(places):
                    v = b.insert_element(v, b.load(w.at(start, (p, down), (q, across))), _WORD(i))
                window[p].append(v)
            points = both(w, lambda w, g: _weight_side(w, g, half), window)
            for i, v in enumerate(v for line in points for v in line):
                w.store(v, w.at(place, (i, size), j))  # lanes beyond a sliver's rows are overwritten by the next channel's
    b.ret_void()
    return f


def inputs_of(w: WinogradWriter) -> ir.Function:
    """(b, step of a row, of a channel, channels, positions of tiles, rows below and columns beside each, whether the tiles of a
    vector are adjacent, size of a point, to): V.
    """
    lanes, width = w.lanes, w.tile.columns
    f, b = w.function("inputs", (w.pointer, _INT, _INT, _INT, TABLE, TABLE, TABLE, TABLE, _INT, w.pointer))
    source, row, channel, channels, at, below, beside, adjacent, size, target = f.args
    even, odd = (list(range(k, 2 * lanes, 2)) for k in (0, 1))
    for v in range(2):
        tiles = range(v * lanes, (v + 1) * lanes)
        together = b.icmp_signed("!=", w.get(adjacent, v), _INT(0))
        with b.if_else(together) as (near, apart):
            for block, is_near in ((near, True), (apart, False)):
                with block, w.loop(0, channels) as c:
                    plane = w.at(source, (c, channel))
                    lines: list[list[Any]] = []
                    for r in range(SIDE):
                        if is_near:
                            start = w.at(plane, w.get(at, v * lanes), (r, row))
                            pieces = [w.near(w.at(start, k)) for k in (0, lanes, 2, lanes + 2)]
                            lines.append([w.shuffled(pieces[k], pieces[k + 1], by) for k in (0, 2) for by in (even, odd)])
                        else:
                            found = []
                            for t in tiles:
                                there = b.icmp_signed(">", w.get(below, t), _INT(r))
                                mask = w.first(b.select(there, w.get(beside, t), _INT(0)), SIDE)
                                found.append(w.fours(w.at(plane, w.get(at, t), (r, row)), mask))
                            lines.append(_across(w, found))
                    place = w.at(target, (c, width), v * lanes)
                    for i, x in enumerate(x for line in both(w, _input_side, lines) for x in line):
                        w.store(x, w.at(place, (i, size)))
    b.ret_void()
    return f


def _across(w: WinogradWriter, found: list[Any]) -> list[Any]:
    """The four elements of each tile, as vectors of the tiles' first, second, third and fourth elements."""
    if w.lanes < SIDE:
        return [w.shuffled(found[0], found[1], [q, SIDE + q]) for q in range(SIDE)]
    quads = [w.joined(found[j::SIDE]) for j in range(SIDE)]  # vector j has the elements of tiles j, j + 4, ...
    n, units = w.lanes, w.lanes // SIDE
    low = [x for u in range(units) for x in (4 * u, n + 4 * u, 4 * u + 1, n + 4 * u + 1)]
    high = [x + 2 for x in low]
    pairs = [w.shuffled(quads[k], quads[k + 1], by) for k in (0, 2) for by in (low, high)]  # 0 1 of (0, 1), 2 3, of (2, 3)
    first = [x for u in range(units) for x in (4 * u, 4 * u + 1, n + 4 * u, n + 4 * u + 1)]
    second = [x + 2 for x in first]
    return [w.shuffled(pairs[k], pairs[k + 2], by) for k in (0, 1) for by in (first, second)]


def _outputs(w: WinogradWriter) -> ir.Function:
    """(M, its size for a point, rows, c, step of a row of C, of a line, and as for ``inputs``): the tiles' results."""
    lanes, width = w.lanes, w.tile.columns
    f, b = w.function("outputs", (w.pointer, _INT, _INT, w.pointer, _INT, _INT, TABLE, TABLE, TABLE, TABLE))
    source, size, rows, target, row, line, at, below, beside, adjacent = f.args
    low = [x for t in range(lanes // 2) for x in (t, lanes + t)]
    high = [x + lanes // 2 for x in low]
    for v in range(2):
        together = b.icmp_signed("!=", w.get(adjacent, v), _INT(0))
        with b.if_else(together) as (near, apart):
            for block, is_near in ((near, True), (apart, False)):
                with block, w.loop(0, rows) as k:
                    place = w.at(source, (k, width), v * lanes)
                    points = [[w.load(w.at(place, (SIDE * i + j, size))) for j in range(SIDE)] for i in range(SIDE)]
                    results, plane = both(w, _output_side, points), w.at(target, (k, row))
                    for r, (left, right) in enumerate(results):
                        halves = [w.shuffled(left, right, by) for by in (low, high)]  # pairs of each tile
                        if is_near:
                            start = w.at(plane, w.get(at, v * lanes), (r, line))
                            for j, x in enumerate(halves):
                                b.store(x, w.vectors_at(w.at(start, j * lanes), w.vector), align=1)
                            continue
                        for t in range(lanes):
                            x, i = halves[2 * t // lanes], 2 * t % lanes
                            pair = w.shuffled(x, ir.Constant(x.type, ir.Undefined), [i, i + 1])
                            there = b.icmp_signed(">", w.get(below, v * lanes + t), _INT(r))
                            mask = w.first(b.select(there, w.get(beside, v * lanes + t), _INT(0)), 2)
                            w.put_pair(pair, w.at(plane, w.get(at, v * lanes + t), (r, line)), mask)
    b.ret_void()
    return f


def places_of(w: WinogradWriter) -> ir.Function:
    """(first tile, tiles, of a line, of an image; lines and columns of the result; steps of b and c of an image and of a line;
    seven tables): positions of tiles in b and in c, what is inside the arrays of each, and whether a vector's tiles are
    adjacent. Tiles beyond the last one have nothing inside.
    """
    lanes, width = w.lanes, w.tile.columns
    f, b = w.function("places", (*[_INT] * 10, *[TABLE] * 7))
    first, total, per_line, per_image, rows, columns, *steps = f.args[:10]
    image_b, row_b, image_c, row_c = steps
    in_b, in_c, below_b, beside_b, below_c, beside_c, adjacent = f.args[10:]
    with w.loop(0, width) as t:
        tile = b.add(first, t)
        real = b.icmp_signed("<", tile, total)
        tile = b.select(real, tile, _INT(0))
        image, rest = b.sdiv(tile, per_image), b.srem(tile, per_image)
        y, x = b.mul(b.sdiv(rest, per_line), _INT(2)), b.mul(b.srem(rest, per_line), _INT(2))
        for table, by_image, by_row in ((in_b, image_b, row_b), (in_c, image_c, row_c)):
            w.put(b.add(b.add(b.mul(image, by_image), b.mul(y, by_row)), x), table, t)
        for table, whole, at, more, most in (
            (below_b, rows, y, 2, SIDE),
            (beside_b, columns, x, 2, SIDE),
            (below_c, rows, y, 0, 2),
            (beside_c, columns, x, 0, 2),
        ):
            left = w.inside(b.sub(b.add(whole, _INT(more)), at), most)
            w.put(b.select(real, left, _INT(0)), table, t)
    for v in range(2):
        start, end = b.add(first, _INT(v * lanes)), b.add(first, _INT((v + 1) * lanes - 1))
        same = b.icmp_signed("==", b.sdiv(start, per_line), b.sdiv(end, per_line))
        last = [w.get(table, (v + 1) * lanes - 1) for table in (below_c, beside_c)]
        whole = b.and_(*(b.icmp_signed("==", x, _INT(2)) for x in last))
        w.put(b.zext(b.and_(same, whole), _INT), adjacent, v)
    b.ret_void()
    return f


def _code(dtype: DType) -> str:
    w = WinogradWriter(dtype)
    height, width = w.tile.rows, w.tile.columns
    products = tile_products(w)
    weights, inputs, outputs, places = (make(w) for make in (_weights, inputs_of, _outputs, places_of))
    f, b = w.function("SYMBOL_winograd", (TABLE, *[w.pointer] * 3), True)
    axes, left, right, out = f.args
    call = call_of(w, axes, images=1)
    rows, row_a, row_c = call.rows
    (_, image_b, image_c), (lines, line_b, line_c), (columns, _, _) = call.columns
    (channels, channel_a, channel_b), (_, down, _), (_, across, _) = call.terms
    slivers = b.sdiv(b.add(rows, _INT(height - 1)), _INT(height))
    u_size = b.add(b.mul(b.mul(slivers, channels), _INT(height)), _INT(w.lanes))  # the last channel's store is a whole vector
    v_size = b.mul(channels, _INT(width))
    m_size = b.mul(b.mul(slivers, _INT(height)), _INT(width))
    elements = b.mul(b.add(b.add(u_size, v_size), m_size), _INT(POINTS))
    u = w.take(b.mul(elements, _INT(w.itemsize)))
    v = w.at(u, (u_size, POINTS))
    m = w.at(v, (v_size, POINTS))
    b.call(weights, [left, row_a, channel_a, down, across, rows, channels, u_size, u])
    tables = [w.table(width) for _ in range(6)]
    in_b, in_c, below_b, beside_b, below_c, beside_c = tables
    adjacent = w.table(2)
    with w.loop(0, call.tiles, width) as first:
        shape = [first, call.tiles, call.per_line, call.per_image, lines, columns, image_b, line_b, image_c, line_c]
        b.call(places, [*shape, *tables, adjacent])
        b.call(inputs, [right, line_b, channel_b, channels, in_b, below_b, beside_b, adjacent, v_size, v])
        with w.loop(0, POINTS) as i, w.loop(0, slivers) as s:
            tall = w.least(height, b.sub(rows, b.mul(s, _INT(height))))
            product = w.smallest(products, tall)
            sliver = w.at(u, (i, u_size), b.mul(b.mul(s, channels), _INT(height)))
            target = w.at(m, (i, m_size), b.mul(s, _INT(height * width)))
            b.call(product, [channels, _INT(KC), sliver, w.at(v, (i, v_size)), _INT(width), target, _INT(width), _BIT(0)])
        b.call(outputs, [m, m_size, rows, out, row_c, line_c, in_c, below_c, beside_c, adjacent])
    w.leave(u)
    b.ret_void()
    return str(w.module)


def winograd(dtype: DType) -> int:
    """The address of the function for float32 or float64, with the arguments of ``contraction``: one axis of rows; images,
    lines and columns; channels and the two axes of a window.
    """
    return _winograd(dtype, selected())


@functools.cache
def _winograd(dtype: DType, cpu: CPU) -> int:
    return compiler.native(f"winograd_{dtype.short}", lambda: _code(dtype), ("winograd",))["winograd"]
