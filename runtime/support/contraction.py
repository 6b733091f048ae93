"""Products of strided views for compiled code: the GEMM of ``gemm``, where each axis of a matrix may be several axes in memory.

The windows of an image are such a view: a row for each position within the window and channel, a column for each window. So
the windows need not exist as an array (implicit GEMM): packing reads them in the image. As in D. Matthews, "High-performance
tensor contraction without transposition", SIAM J. Sci. Comput. 40 (2018), tables hold the position of each row, column and
term in each array. Vectors are read and written by *pieces*, the runs of elements of which adjacent ones are one or two apart.

The order in which an element's terms are added depends only on the extents.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from llvmlite import ir

from ...codegen.contraction import AXES
from ...ir.types import DType, float64
from ..compiler import compile as compiler
from ..compiler.machine import CPU, selected
from .gemm import DEEP, KC, MC, SHORT, Writer, tile_product, transposed

_INT, _BIT = ir.IntType(64), ir.IntType(1)
TABLE = _INT.as_pointer()
LANES = 32  # the first bit that marks a lane in a piece's mask; the bits below mark elements in memory
_FEW_TERMS, _FEW_PIECES = 16, 4  # terms packed for all slivers; pieces of a vector that are read one by one
_WIDE = 640  # columns of a block of C, whose positions are in tables


class ViewWriter(Writer):
    """Generates the functions. ``lanes`` elements are a vector; a *wide* vector holds those of a piece with gaps."""

    def __init__(self, dtype: DType):
        super().__init__(dtype)
        self.lanes = self.tile.lanes
        self._masked: dict[Any, ir.Function] = {("load", self.operand): self.masked_load}

    @contextlib.contextmanager
    def carrying(self, stop: Any, *values: Any) -> Iterator[tuple[Any, list[Any], list[Any]]]:
        """A loop over 0 ... ``stop`` - 1 that carries values: yields the index, the values, and a list for the next ones. After
        the loop the values are the last.
        """
        b = self.b
        before, head, body, after = b.block, *(b.append_basic_block(name) for name in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index, carried, following = b.phi(_INT), [b.phi(v.type) for v in values], list[Any]()
        for phi, v in zip((index, *carried), (_INT(0), *values), strict=True):
            phi.add_incoming(v, before)
        b.cbranch(b.icmp_signed("<", index, self.number(stop)), body, after)
        b.position_at_end(body)
        yield index, carried, following
        for phi, v in zip((index, *carried), (b.add(index, _INT(1)), *following), strict=True):
            phi.add_incoming(v, b.block)
        b.branch(head)
        b.position_at_end(after)

    def get(self, table: Any, *at: Any) -> Any:
        return self.b.load(self.at(table, *at))

    def put(self, value: Any, table: Any, *at: Any) -> None:
        self.b.store(value, self.at(table, *at))

    def table(self, length: int) -> Any:
        return self.b.gep(self.b.alloca(ir.ArrayType(_INT, length)), [_INT(0), _INT(0)])

    def masked_function(self, what: str, vector: Any) -> ir.Function:
        word, mask = ir.IntType(32), ir.VectorType(_BIT, vector.count)
        if (what, vector) not in self._masked:
            load = ir.FunctionType(vector, [vector.as_pointer(), word, mask, vector])
            store = ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), word, mask])
            short = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}.get(vector.element, "i16")
            name = f"llvm.masked.{what}.v{vector.count}{short}.p0"
            self._masked[what, vector] = ir.Function(self.module, load if what == "load" else store, name)
        return self._masked[what, vector]

    def lanes_of(self, bits: Any, count: int) -> Any:
        return self.b.bitcast(self.b.trunc(bits, ir.IntType(count)), ir.VectorType(_BIT, count))

    def read(self, place: Any, bits: Any, step: int, otherwise: Any) -> Any:
        """The elements at the marked positions from ``place`` on, in the lanes of a vector; other lanes are ``otherwise``'s."""
        element = otherwise.type.element
        vector, align = ir.VectorType(element, step * self.lanes), ir.IntType(32)(1)
        load = self.masked_function("load", vector)
        mask = self.lanes_of(bits, vector.count)
        start = self.b.bitcast(place, vector.as_pointer())
        if step == 1:
            return self.b.call(load, [start, align, mask, otherwise])
        nothing = ir.Constant(vector, ir.Undefined)
        found = self.b.call(load, [start, align, mask, nothing])
        here = self.lanes_of(self.b.lshr(bits, _INT(LANES)), self.lanes)
        return self.b.select(here, self.shuffled(found, nothing, list(range(0, vector.count, step))), otherwise)

    def write(self, value: Any, place: Any, bits: Any, step: int, add: bool) -> None:
        """Stores the lanes of a vector at the marked positions from ``place`` on, or adds them to what is there."""
        vector, align = ir.VectorType(self.element, step * self.lanes), ir.IntType(32)(1)
        mask = self.lanes_of(bits, vector.count)
        start = self.b.bitcast(place, vector.as_pointer())
        nothing = ir.Constant(value.type, ir.Undefined)
        if step > 1:
            value = self.shuffled(value, nothing, [i // step if i % step == 0 else self.lanes for i in range(vector.count)])
        if add:
            unread = ir.Constant(vector, ir.Undefined)
            before = self.b.call(self.masked_function("load", vector), [start, align, mask, unread])
            value = self.b.fadd(before, value)
        self.b.call(self.masked_function("store", vector), [value, start, align, mask])


def locating(w: ViewWriter) -> ir.Function:
    """(axes, first, count, table, table): the positions of ``count`` indices in two arrays.

    ``axes`` has the extent and the two steps of each axis, from the outermost to the innermost.
    """
    f, b = w.function("locate", (TABLE, _INT, _INT, TABLE, TABLE))
    axes, first, count, one, other = f.args
    extents = [w.get(axes, 3 * a) for a in range(AXES)]
    steps = [[w.get(axes, 3 * a + k) for a in range(AXES)] for k in (1, 2)]
    before, head, body, after = b.block, *(b.append_basic_block(name) for name in ("head", "body", "after"))
    b.branch(head)
    b.position_at_end(head)
    done = b.phi(_INT)
    done.add_incoming(_INT(0), before)
    b.cbranch(b.icmp_signed("<", done, count), body, after)
    b.position_at_end(body)
    rest, index = b.add(first, done), list[Any]()
    for extent in reversed(extents[1:]):
        index.insert(0, b.urem(rest, extent))
        rest = b.udiv(rest, extent)
    index.insert(0, rest)
    run = w.least(b.sub(extents[-1], index[-1]), b.sub(count, done))
    for table, by in zip((one, other), steps, strict=True):
        start: Any = _INT(0)
        for i, s in zip(index, by, strict=True):
            start = b.add(start, b.mul(i, s))
        with w.loop(0, run) as u:
            w.put(b.add(start, b.mul(u, by[-1])), table, done, u)
    done.add_incoming(b.add(done, run), b.block)
    b.branch(head)
    b.position_at_end(after)
    b.ret_void()
    return f


def _dividing(w: ViewWriter) -> ir.Function:
    """(positions, number of them, step, starts, masks, count): the pieces of a vector.

    A piece's start is the position of the vector's first lane if all were in the piece. Its mask has a bit for each element in
    memory from there on, and one for each lane.
    """
    f, b = w.function("divide", (TABLE, _INT, _INT, TABLE, TABLE, TABLE))
    table, lanes, step, starts, masks, count = f.args
    with w.carrying(lanes, _INT(0), _INT(0)) as (i, (found, bits), following):
        here = w.get(table, i)
        before = w.get(table, b.select(b.icmp_signed("==", i, _INT(0)), _INT(0), b.sub(i, _INT(1))))
        joined = b.and_(b.icmp_signed(">", i, _INT(0)), b.icmp_signed("==", b.sub(here, before), step))
        number = b.select(joined, found, b.add(found, _INT(1)))
        mark = b.or_(b.shl(_INT(1), b.mul(i, step)), b.shl(_INT(1 << LANES), i))
        mask = b.select(joined, b.or_(bits, mark), mark)
        w.put(b.sub(here, b.mul(i, step)), starts, b.sub(number, _INT(1)))
        w.put(mask, masks, b.sub(number, _INT(1)))
        following += [number, mask]
    b.store(found, count)
    b.ret_void()
    return f


def _packing_across(w: ViewWriter, name: str, width: int, step: int) -> ir.Function:
    """(from, positions of lanes, lanes, pieces of the lanes, positions of terms, terms, to): slivers of ``width`` lanes.

    The pieces of each vector of lanes are those of ``_dividing``: starts, masks and counts. A sliver has room for one more
    term, because the last whole vector stored may extend into it.
    """
    f, b = w.function(name, (w.stored.as_pointer(), TABLE, _INT, TABLE, TABLE, TABLE, TABLE, _INT, w.pointer))
    source, across, total, starts, masks, numbers, along, count, target = f.args
    zeros = ir.Constant(w.operand, [0] * w.lanes)
    vectors = range(0, width, w.lanes)
    # A few terms for all slivers: adjacent lanes of a term are often near each other in memory.
    with w.loop(0, count, _FEW_TERMS) as k0, w.loop(0, total, width) as first:
        sliver = w.at(target, (first, b.add(count, _INT(1))))
        stop = w.least(b.add(k0, _INT(_FEW_TERMS)), count)
        for v, j in reversed(list(enumerate(vectors))):  # the first vector overwrites what others store beyond a term's lanes
            number = b.add(b.mul(b.udiv(first, _INT(width)), _INT(len(vectors))), _INT(v))
            pieces = w.get(numbers, number)
            start_of, mask_of = (w.at(table, (number, w.lanes)) for table in (starts, masks))
            with b.if_else(b.icmp_signed("<=", pieces, _INT(1))) as (one, several):
                with one:
                    start, mask = w.at(source, b.load(start_of)), b.load(mask_of)
                    with w.loop(k0, stop) as k:
                        found = w.read(w.at(start, w.get(along, k)), mask, step, zeros)
                        w.store(w.computed(found), w.at(sliver, (k, width), j))
                with several, b.if_else(b.icmp_signed("<=", pieces, _INT(_FEW_PIECES))) as (few, many):
                    with few, w.loop(k0, stop) as k:
                        start = w.at(source, w.get(along, k))
                        with w.carrying(pieces, zeros) as (p, (so_far,), following):
                            following.append(w.read(w.at(start, w.get(start_of, p)), w.get(mask_of, p), step, so_far))
                        w.store(w.computed(so_far), w.at(sliver, (k, width), j))
                    with many, w.loop(k0, stop) as k:
                        start, last = w.at(source, w.get(along, k)), b.sub(total, _INT(1))
                        for i in range(j, min(j + w.lanes, width)):  # missing lanes are read as the last one
                            place = w.get(across, w.least(b.add(first, _INT(i)), last))
                            b.store(w.computed(b.load(w.at(start, place))), w.at(sliver, (k, width), i))
    b.ret_void()
    return f


def _packing_along(w: ViewWriter, name: str, width: int, step: int) -> ir.Function:
    """(from, positions of lanes, lanes, pieces of the terms, terms, to): the same; pieces are along the terms.

    The pieces of each vector of terms are those of ``_dividing``: starts, masks and counts.
    """
    f, b = w.function(name, (w.stored.as_pointer(), TABLE, _INT, TABLE, TABLE, TABLE, _INT, w.pointer))
    source, across, total, starts, masks, numbers, count, target = f.args
    zeros = ir.Constant(w.operand, [0] * w.lanes)
    with w.loop(0, total, width) as first:
        sliver = w.at(target, (first, b.add(count, _INT(1))))
        last = b.sub(total, _INT(1))
        with w.loop(0, count, w.lanes) as k0:
            number = w.get(numbers, b.udiv(k0, _INT(w.lanes)))
            columns = []
            chunk = w.at(source, w.get(starts, k0))
            for i in range(width):  # the same terms of the next sliver
                place = w.at(chunk, w.get(across, w.least(b.add(first, _INT(width + i)), last)))
                b.call(w.prefetch, [b.bitcast(place, w.pointer), *map(ir.IntType(32), (0, 3, 1))])
            for j in range(0, width, w.lanes):
                # Missing lanes are read as the last one; zeros would do as well.
                lanes = [
                    w.at(source, w.get(across, w.least(b.add(first, _INT(j + min(i, width - j - 1))), last)))
                    for i in range(w.lanes)
                ]
                with w.carrying(number, *[zeros] * w.lanes) as (p, so_far, following):
                    start, mask = w.get(starts, k0, p), w.get(masks, k0, p)
                    following += [w.read(w.at(lane, start), mask, step, v) for lane, v in zip(lanes, so_far, strict=True)]
                columns.append((j, transposed(w, [w.computed(v) for v in so_far])))
            for k in range(w.lanes):
                # elements beyond a term's lanes, and beyond the last term, are overwritten or not used
                for j, column in columns:
                    w.store(column[k], w.at(sliver, (b.add(k0, _INT(k)), width), j))
    b.ret_void()
    return f


def _putting(w: ViewWriter, step: int) -> ir.Function:
    """(tile, rows, C, positions of rows, pieces of columns: starts, masks, counts; add): writes a tile to its place."""
    f, b = w.function(f"put_{step}", (w.pointer, _INT, w.pointer, *[TABLE] * 4, _BIT))
    tile, rows, out, places, starts, masks, numbers, add = f.args
    with b.if_else(add) as (adding, setting):
        for block, adds in ((adding, True), (setting, False)):
            with block:
                for v in range(2):
                    with w.loop(0, w.get(numbers, v)) as p:
                        at = b.add(p, _INT(v * w.lanes))
                        start, mask = w.at(out, w.get(starts, at)), w.get(masks, at)
                        # Rows inside: a load that overlaps the store before it would wait.
                        with w.loop(0, rows) as i:
                            value = w.load(w.at(tile, (i, w.tile.columns), v * w.lanes))
                            w.write(value, w.at(start, w.get(places, i)), mask, step, adds)
    b.ret_void()
    return f


def _listed_ahead(w: Writer, k: Any, more: Any) -> list[Any]:
    """Given (B, positions of the next sliver's lanes, positions of terms, whether pieces are along the terms): two places.

    If pieces are along lanes, they are two lanes of a term; otherwise two terms of a lane.
    """
    b = w.b
    source, lanes, terms, along = more
    inside = _INT(w.tile.columns - 1)
    lane, term = b.select(along, b.and_(k, inside), _INT(0)), b.select(along, b.and_(k, b.not_(inside)), k)
    half = _INT(w.tile.lanes)
    other_lane, other_term = (b.select(c, b.add(x, half), x) for c, x in ((b.not_(along), lane), (along, term)))
    return [w.at(source, b.load(w.at(lanes, x)), b.load(w.at(terms, y))) for x, y in ((lane, term), (other_lane, other_term))]


class _Pack:
    """Packs one operand: of the functions for pieces along the lanes or along the terms, one or two apart, a mode selects."""

    def __init__(self, w: ViewWriter, name: str, width: int, most: int, divide: ir.Function):
        self.w, self.width, self.divide = w, width, divide
        self.across = [_packing_across(w, f"{name}_across_{s}", width, s) for s in (1, 2)]
        self.along = [_packing_along(w, f"{name}_along_{s}", width, s) for s in (1, 2)]
        self.vectors = -(-width // w.lanes)  # of a sliver
        self.sizes = [-(-most // width) * self.vectors, KC // w.lanes]

    def mode(self, lane_extent: Any, lane_step: Any, extent: Any, step: Any) -> Any:
        """0 and 1: pieces along lanes, 2 and 3: along the terms. The longer pieces, if there are two kinds."""
        b = self.w.b
        two = [b.icmp_signed("==", s, _INT(2)) for s in (lane_step, step)]
        short = [b.or_(b.icmp_signed("==", s, _INT(1)), t) for s, t in zip((lane_step, step), two, strict=True)]
        longer = b.or_(b.icmp_signed(">", extent, lane_extent), b.not_(short[0]))
        return b.select(b.and_(short[1], longer), b.select(two[1], _INT(3), _INT(2)), b.select(two[0], _INT(1), _INT(0)))

    def tables(self) -> tuple[list[Any], list[Any]]:
        """Memory for the pieces of the lanes, and of the terms."""
        w = self.w
        lanes, terms = ([w.table(n * w.lanes), w.table(n * w.lanes), w.table(n)] for n in self.sizes)
        return lanes, terms

    def lanes(self, step: Any, positions: Any, total: Any, pieces: Sequence[Any]) -> None:
        """Divides all lanes into pieces."""
        w, b = self.w, self.w.b
        with w.loop(0, total, self.width) as first:
            for v in range(self.vectors):
                here = b.sub(total, b.add(first, _INT(v * w.lanes)))
                here = w.least(
                    min(w.lanes, self.width - v * w.lanes), b.select(b.icmp_signed(">", here, _INT(0)), here, _INT(0))
                )
                number = b.add(b.mul(b.udiv(first, _INT(self.width)), _INT(self.vectors)), _INT(v))
                w.put(_INT(0), pieces[0], (number, w.lanes))
                w.put(_INT(0), pieces[1], (number, w.lanes))
                b.call(self.divide, [w.at(positions, first, v * w.lanes), here, step, *_of_vector(w, pieces, number)])

    def terms(self, mode: Any, positions: Any, count: Any, pieces: Sequence[Any]) -> None:
        """Divides the terms into pieces, if they are to be read along."""
        w, b = self.w, self.w.b
        with b.if_then(b.icmp_signed(">=", mode, _INT(2))), w.loop(0, count, w.lanes) as k:
            here, number = w.least(w.lanes, b.sub(count, k)), b.udiv(k, _INT(w.lanes))
            b.call(self.divide, [w.at(positions, k), here, b.sub(mode, _INT(1)), *_of_vector(w, pieces, number)])

    def __call__(
        self, mode: Any, source: Any, lanes: Any, total: Any, pieces: Any, terms: Any, along: Any, count: Any, to: Any
    ) -> None:
        b = self.w.b
        for k in range(4):
            with b.if_then(b.icmp_signed("==", mode, _INT(k))):
                if k < 2:
                    b.call(self.across[k], [source, lanes, total, *pieces, terms, count, to])
                else:
                    b.call(self.along[k - 2], [source, lanes, total, *along, count, to])


def _of_vector(w: ViewWriter, pieces: Sequence[Any], number: Any) -> list[Any]:
    """The pieces of a vector."""
    starts, masks, numbers = pieces
    return [w.at(starts, (number, w.lanes)), w.at(masks, (number, w.lanes)), w.at(numbers, number)]


def _code(dtype: DType) -> str:
    w = ViewWriter(dtype)
    rows, columns, lanes = w.tile.rows, w.tile.columns, w.lanes
    most_rows = MC // rows * rows
    locate, divide = locating(w), _dividing(w)
    pack_a, pack_b = _Pack(w, "rows", rows, most_rows, divide), _Pack(w, "columns", columns, _WIDE, divide)
    leading = tile_product(w, rows, _listed_ahead, (w.stored.as_pointer(), TABLE, TABLE, _BIT))
    products = {n: tile_product(w, n) for n in (rows // 4, rows // 2, 3 * rows // 4, rows) if n}
    puts = [_putting(w, s) for s in (1, 2)]
    operand = w.stored.as_pointer()

    # The terms from a first one on of a block of C, whose rows and columns have positions in tables.
    block, b = w.function(
        "block",
        (*[_INT] * 5, TABLE, operand, operand, w.pointer, *[TABLE] * 4, _INT, _INT, _BIT, _BIT),
    )
    (
        short,
        height,
        width,
        first,
        count,
        inner,
        left,
        right,
        out,
        row_a,
        row_c,
        column_b,
        column_c,
        mode_a,
        mode_b,
        apart,
        adds,
    ) = block.args
    term_a, term_b = w.table(KC), w.table(KC + columns)
    (lanes_a, along_a), (lanes_b, along_b), (pieces_c, _) = pack_a.tables(), pack_b.tables(), pack_b.tables()
    pack_a.lanes(b.select(b.icmp_signed("==", mode_a, _INT(1)), _INT(2), _INT(1)), row_a, height, lanes_a)
    pack_b.lanes(b.select(b.icmp_signed("==", mode_b, _INT(1)), _INT(2), _INT(1)), column_b, width, lanes_b)
    pack_b.lanes(b.select(apart, _INT(2), _INT(1)), column_c, width, pieces_c)
    even = w.table(most_rows // rows)
    with w.loop(0, b.sdiv(height, _INT(rows))) as i:  # whether the rows of a whole tile are equally far apart
        start = b.mul(i, _INT(rows))
        gap = b.sub(w.get(row_c, start, 1), w.get(row_c, start))
        with w.carrying(rows - 1, _BIT(1)) as (p, (so_far,), following):
            here = b.sub(w.get(row_c, start, p, 1), w.get(row_c, start, p))
            following.append(b.and_(so_far, b.icmp_signed("==", here, gap)))
        w.put(b.zext(so_far, _INT), even, i)
    # A tile, a sliver of B and a block of A; packing may store a vector of terms and a vector of lanes beyond them.
    sizes = [rows * columns, (KC + 1 + lanes) * columns, (KC + 1) * most_rows + lanes * (rows + 1)]
    scratch = w.borrow(sum(sizes))
    b_sliver, a_block = w.at(scratch, sizes[0]), w.at(scratch, sizes[0] + sizes[1])
    with w.loop(0, count, KC) as k0:
        depth = w.least(KC, b.sub(count, k0))
        more = b.or_(adds, b.icmp_signed(">", k0, _INT(0)))
        b.call(locate, [inner, b.add(first, k0), depth, term_a, term_b])
        pack_a.terms(mode_a, term_a, depth, along_a)
        pack_b.terms(mode_b, term_b, depth, along_b)
        pack_a(mode_a, left, row_a, height, lanes_a, term_a, along_a, depth, a_block)
        with w.loop(0, width, columns) as j:
            wide, vector = w.least(columns, b.sub(width, j)), b.udiv(j, _INT(lanes))
            here_b, here_c = _of_vector(w, lanes_b, vector), _of_vector(w, pieces_c, vector)
            pack_b(mode_b, right, w.at(column_b, j), wide, here_b, term_b, along_b, depth, b_sliver)
            one_piece = b.icmp_signed("==", b.or_(w.get(here_c[2], 0), w.get(here_c[2], 1)), _INT(1))
            follows = b.icmp_signed("==", b.sub(w.get(column_c, j, lanes), w.get(column_c, j)), _INT(lanes))
            whole = b.and_(b.and_(one_piece, b.not_(apart)), b.and_(follows, b.icmp_signed("==", wide, _INT(columns))))
            precedes = b.icmp_signed("<=", b.add(j, _INT(2 * columns)), width)  # another whole sliver
            with w.loop(0, height, rows) as i:
                operands = [depth, short, w.at(a_block, (i, b.add(depth, _INT(1)))), b_sliver, _INT(columns)]
                tall = w.least(rows, b.sub(height, i))
                regular = b.icmp_signed("==", w.get(even, b.udiv(i, _INT(rows))), _INT(1))
                full = b.icmp_signed("==", tall, _INT(rows))
                inside = b.and_(b.and_(whole, regular), full)
                # Other tiles are computed apart and then written by pieces.
                target = b.select(inside, w.at(out, w.get(row_c, i), w.get(column_c, j)), scratch)
                gap = b.select(inside, b.sub(w.get(row_c, i, 1), w.get(row_c, i)), _INT(columns))
                operands += [target, gap, b.and_(inside, more)]
                with b.if_else(b.and_(b.and_(full, precedes), b.icmp_signed("==", i, _INT(0)))) as (first_tile, other):
                    with first_tile:
                        following = w.at(column_b, j, columns)
                        along = b.icmp_signed(">=", mode_b, _INT(2))
                        b.call(leading, [*operands, right, following, term_b, along])
                    with other:
                        b.call(w.smallest(products, tall), operands)
                with b.if_then(b.not_(inside)):
                    put = b.select(apart, puts[1], puts[0])
                    b.call(put, [scratch, tall, out, w.at(row_c, i), *here_c, more])
    w.give_back(scratch)
    b.ret_void()

    contract, b = w.function("SYMBOL_contract", (TABLE, operand, operand, w.pointer), True)
    axes, left, right, out = contract.args
    adds = b.icmp_signed("!=", w.get(axes, 0), _INT(0))
    groups = [w.at(axes, 1 + 3 * AXES * g) for g in range(3)]
    m, n, k = (functools.reduce(b.mul, [w.get(group, 3 * a) for a in range(AXES)]) for group in groups)
    last = 3 * (AXES - 1)
    by_rows, by_columns, by_terms = ([w.get(group, last + x) for x in range(3)] for group in groups)
    mode_a = pack_a.mode(by_rows[0], by_rows[1], by_terms[0], by_terms[1])
    mode_b = pack_b.mode(by_columns[0], by_columns[1], by_terms[0], by_terms[2])
    apart = b.icmp_signed("==", by_columns[2], _INT(2))
    row_a, row_c = w.table(most_rows), w.table(most_rows)
    column_b, column_c = w.table(_WIDE), w.table(_WIDE)
    # Blocks of columns are nearly equal: the rows are packed for each.
    parts = b.mul(b.sdiv(b.add(n, _INT(_WIDE - 1)), _INT(_WIDE)), _INT(columns))
    wide = b.mul(b.sdiv(b.sub(b.add(n, parts), _INT(1)), parts), _INT(columns))
    with w.loop(0, n, wide) as j0, w.loop(0, m, most_rows) as i0:
        width, height = w.least(wide, b.sub(n, j0)), w.least(most_rows, b.sub(m, i0))
        b.call(locate, [groups[0], i0, height, row_a, row_c])
        b.call(locate, [groups[1], j0, width, column_b, column_c])
        whole = [left, right, out, row_a, row_c, column_b, column_c, mode_a, mode_b, apart, adds]
        if w.dtype is float64:
            b.call(block, [_INT(KC), height, width, _INT(0), k, groups[2], *whole])
        else:
            with b.if_else(b.icmp_signed("<=", k, _INT(DEEP))) as (shallow, deep):
                with shallow:
                    b.call(block, [_INT(KC), height, width, _INT(0), k, groups[2], *whole])
                with deep:
                    _by_parts(w, block, (height, width, k), groups[2], whole)
    b.ret_void()
    return str(w.module)


def _by_parts(w: ViewWriter, block: ir.Function, extents: Any, inner: Any, whole: list[Any]) -> None:
    """A block with long sums of float32: parts are summed in float64."""
    b, double = w.b, ir.DoubleType()
    height, width, k = extents
    left, right, out, row_a, row_c, column_b, column_c, mode_a, mode_b, _, adds = whole
    size = b.mul(height, width)
    total = b.inttoptr(b.ptrtoint(b.call(w.malloc, [b.mul(size, _INT(8))]), _INT), double.as_pointer())
    part = b.inttoptr(b.ptrtoint(b.call(w.malloc, [b.mul(size, _INT(4))]), _INT), w.pointer)
    part_rows, part_columns = w.table(MC // w.tile.rows * w.tile.rows), w.table(_WIDE)
    for table, count, step in ((part_rows, height, width), (part_columns, width, _INT(1))):
        with w.loop(0, count) as i:
            w.put(b.mul(i, step), table, i)
    with w.loop(0, k, DEEP) as k0:
        places = [left, right, part, row_a, part_rows, column_b, part_columns, mode_a, mode_b, _BIT(0), _BIT(0)]
        b.call(block, [_INT(SHORT), height, width, k0, w.least(DEEP, b.sub(k, k0)), inner, *places])
        starts = b.icmp_signed("==", k0, _INT(0))
        with w.loop(0, size) as i:
            new, place = b.fpext(b.load(w.at(part, i)), double), w.at(total, i)
            b.store(b.select(starts, new, b.fadd(b.load(place), new)), place)
    with w.loop(0, height) as i, w.loop(0, width) as j:
        target = w.at(out, w.get(row_c, i), w.get(column_c, j))
        value = b.fptrunc(b.load(w.at(total, (i, width), j)), w.element)
        with b.if_else(adds) as (more, first):
            with more:
                b.store(b.fadd(b.load(target), value), target)
            with first:
                b.store(value, target)
    for memory in (total, part):
        b.call(w.free, [b.ptrtoint(memory, _INT)])


def contraction(dtype: DType) -> int:
    """The address of the function for a dtype:

    void contract(axes, a, b, c)

    ``axes`` are 64-bit integers: whether to add to what is in c; then, for ``AXES`` axes each, from the outermost to the
    innermost, the extents of the rows with their steps in a and c, of the columns with their steps in b and c, and of the terms
    with their steps in a and b. If a and b are 16-bit, c is 32-bit. Fastest if the innermost steps are one or two.
    """
    return _contraction(dtype, selected())


@functools.cache
def _contraction(dtype: DType, cpu: CPU) -> int:
    return compiler.native(f"contract_{dtype.short}", lambda: _code(dtype), ("contract",))["contract"]
