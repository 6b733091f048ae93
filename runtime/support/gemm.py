"""A custom GEMM for calls from compiled code: C = A B, with any strides.

After K. Goto and R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM Transactions on Mathematical
Software 34 (2008), and F. Van Zee and R. van de Geijn, "BLIS", the same 41 (2015). A block of A that fits the L2 cache is
packed, and one sliver of B at a time that fits the L1 cache, so that the innermost loop reads both contiguously. It keeps a
tile of C in registers:

    for the inner dimension, KC at a time
        for rows, MC at a time
            pack a block of A into slivers of MR rows
            for columns, NR at a time
                pack a sliver of B
                for each sliver of A
                    tile of C += sliver of A times sliver of B

Products of float32 with a long inner extent are split into parts along it, which are summed in float64. Within such a part,
tiles leave the registers more often, so that the error does not grow with the number of terms.

The order in which an element's terms are added depends only on the inner extent, hence not on how C is divided among
threads. The code is LLVM IR, with vectors of the machine's width.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...ir.types import DType, bfloat16, float64
from ..compiler import compile as compiler
from ..compiler.halves import widened
from ..compiler.machine import CPU, selected

_INT, _VOID, _BIT = ir.IntType(64), ir.VoidType(), ir.IntType(1)
KC, MC = 256, 640  # of a packed block of A: inner extent, maximum rows
DEEP, SHORT = 2048, 64  # inner extents: of a product that is split, and of sums in registers within a part
# Adds the products of 32 pairs of bfloat16 to 16 sums. Subnormal numbers count as zero.
_OF_PAIRS = "llvm.x86.avx512bf16.dpbf16ps.512"
POOLED = 16  # workspaces kept for later calls; with more concurrent threads, the others allocate


class _BFloat(ir.Type):
    """LLVM's type, which llvmlite lacks."""

    def _to_string(self) -> str:
        return "bfloat"


@dataclass(frozen=True)
class Tile:
    """The register tile: ``rows`` times ``columns`` elements of C, the columns in two vectors of ``lanes``."""

    rows: int
    lanes: int

    @property
    def columns(self) -> int:
        return 2 * self.lanes


def tile(dtype: DType) -> Tile:
    """As many rows as leave registers for two vectors of B and one of A."""
    bits = selected().vector_bits
    return Tile({512: 14, 256: 6, 128: 4}[bits], bits // 8 // dtype.wide.itemsize)


class Writer:
    """Generates the functions of one module, for elements of one dtype.

    16-bit operands (``stored``) are packed as float32; computation and result are float32. With ``pairs``, two adjacent terms
    of bfloat16 are packed as one word, and multiplied and added by one instruction.
    """

    def __init__(self, dtype: DType, pairs: bool = False):
        self.dtype = dtype
        self.pairs = pairs
        self.element = ir.DoubleType() if dtype is float64 else ir.FloatType()
        self.stored = ir.IntType(16) if dtype.is_half else self.element
        self.pointer = self.element.as_pointer()
        self.itemsize = dtype.wide.itemsize
        self.tile = tile(dtype)
        self.vector = ir.VectorType(self.element, self.tile.lanes)
        self.module = ir.Module("gemm")
        name = f"llvm.fmuladd.v{self.tile.lanes}f{8 * self.itemsize}"
        self.fma = ir.Function(self.module, ir.FunctionType(self.vector, [self.vector] * 3), name)
        self.malloc = ir.Function(self.module, ir.FunctionType(ir.IntType(8).as_pointer(), [_INT]), "malloc")
        self.free = ir.Function(self.module, ir.FunctionType(_VOID, [_INT]), "free")
        if pairs:
            self.twins = ir.VectorType(_BFloat(), 2 * self.tile.lanes)
            self.fma = ir.Function(self.module, ir.FunctionType(self.vector, [self.vector, self.twins, self.twins]), _OF_PAIRS)
        slots = ir.ArrayType(self.pointer, POOLED)
        self.pool = ir.GlobalVariable(self.module, slots, "pool")
        self.pool.linkage, self.pool.initializer = "private", ir.Constant(slots, None)
        word, mask = ir.IntType(32), ir.VectorType(_BIT, self.tile.lanes)
        self.operand = ir.VectorType(self.stored, self.tile.lanes)
        load = ir.FunctionType(self.operand, [self.operand.as_pointer(), word, mask, self.operand])
        short = f"{'i' if dtype.is_half else 'f'}{8 * dtype.itemsize}"
        self.masked_load = ir.Function(self.module, load, f"llvm.masked.load.v{self.tile.lanes}{short}.p0")
        self.prefetch = ir.Function(self.module, ir.FunctionType(_VOID, [self.pointer, word, word, word]), "llvm.prefetch.p0")

    def function(self, name: str, types: Sequence[Any], public: bool = False) -> tuple[ir.Function, ir.IRBuilder]:
        f = ir.Function(self.module, ir.FunctionType(_VOID, types), name)
        if not public:
            f.linkage = "private"
            f.attributes.add("noinline")
        self.b = ir.IRBuilder(f.append_basic_block("entry"))
        return f, self.b

    @contextlib.contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1) -> Iterator[Any]:
        """Generates a loop over indices from ``start`` while less than ``stop``."""
        b = self.b
        before, head = b.block, b.append_basic_block("head")
        body, after = b.append_basic_block("body"), b.append_basic_block("after")
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(_INT)
        index.add_incoming(self.number(start), before)
        b.cbranch(b.icmp_signed("<", index, self.number(stop)), body, after)
        b.position_at_end(body)
        yield index
        index.add_incoming(b.add(index, self.number(step)), b.block)
        b.branch(head)
        b.position_at_end(after)

    def borrow(self, elements: int) -> Any:
        """Memory for ``elements``, aligned to 64 bytes: from the pool, or newly allocated."""
        b, found = self.b, self.b.alloca(self.pointer)
        nothing = ir.Constant(self.pointer, None)
        b.store(nothing, found)
        with self.loop(0, POOLED) as i, b.if_then(b.icmp_unsigned("==", b.load(found), nothing)):
            b.store(b.atomic_rmw("xchg", self._pooled(i), nothing, "acquire"), found)
        with b.if_then(b.icmp_unsigned("==", b.load(found), nothing)):
            raw = b.ptrtoint(b.call(self.malloc, [_INT(elements * self.itemsize + 128)]), _INT)
            aligned = b.inttoptr(b.and_(b.add(raw, _INT(127)), _INT(-64)), self.pointer)
            b.store(raw, self._allocation(aligned))
            b.store(aligned, found)
        return b.load(found)

    def _allocation(self, memory: Any) -> Any:
        """The place of the address that ``malloc`` returned: before the memory."""
        return self.b.gep(self.b.bitcast(memory, _INT.as_pointer()), [_INT(-1)])

    def give_back(self, memory: Any) -> None:
        """Returns the memory to the pool, or frees it if the pool is full."""
        b, kept = self.b, self.b.alloca(_BIT)
        b.store(_BIT(0), kept)
        with self.loop(0, POOLED) as i, b.if_then(b.not_(b.load(kept))):
            pair = b.cmpxchg(self._pooled(i), ir.Constant(self.pointer, None), memory, "release", "monotonic")
            b.store(b.extract_value(pair, 1), kept)
        with b.if_then(b.not_(b.load(kept))):
            b.call(self.free, [b.load(self._allocation(memory))])

    def _pooled(self, i: Any) -> Any:
        return self.b.gep(self.pool, [_INT(0), i])

    @staticmethod
    def number(x: Any) -> Any:
        return _INT(x) if isinstance(x, int) else x

    def least(self, x: Any, y: Any) -> Any:
        x, y = self.number(x), self.number(y)
        return self.b.select(self.b.icmp_signed("<", x, y), x, y)

    def smallest(self, functions: dict[int, ir.Function], rows: Any) -> Any:
        """The function for the fewest rows that has at least ``rows``, which the largest has."""
        chosen: Any = functions[max(functions)]
        for count, function in sorted(functions.items(), reverse=True):
            chosen = self.b.select(self.b.icmp_signed("<=", rows, _INT(count)), function, chosen)
        return chosen

    def at(self, p: Any, *terms: Any) -> Any:
        """The address at an offset in elements: the sum of ``terms``, where pairs are products."""
        offset: Any = None
        for term in terms:
            value = self.b.mul(*map(self.number, term)) if isinstance(term, tuple) else self.number(term)
            offset = value if offset is None else self.b.add(offset, value)
        return self.b.gep(p, [offset])

    def load(self, p: Any) -> Any:
        return self.b.load(self.b.bitcast(p, self.vector.as_pointer()), align=self.itemsize)

    def store(self, v: Any, p: Any) -> None:
        self.b.store(v, self.b.bitcast(p, self.vector.as_pointer()), align=self.itemsize)

    def lanes_below(self, count: Any) -> Any:
        """The mask of the first ``count`` lanes."""
        numbers = ir.Constant(ir.VectorType(_INT, self.tile.lanes), list(range(self.tile.lanes)))
        return self.b.icmp_signed("<", numbers, self.splat(count))

    def computed(self, x: Any) -> Any:
        """Elements of an operand, converted to the type of the computation."""
        return widened(self.b, x, self.dtype) if self.dtype.is_half else x

    def multiplied(self, x: Any, y: Any, total: Any) -> Any:
        """The sum of ``total`` and the products of two packed vectors."""
        if self.pairs:
            return self.b.call(self.fma, [total, *(self.b.bitcast(v, self.twins) for v in (x, y))])
        return self.b.call(self.fma, [x, y, total])

    def packed_rows(self, depth: Any) -> Any:
        """The number of packed rows for so many terms."""
        return self.b.lshr(self.b.add(depth, _INT(1)), _INT(1)) if self.pairs else depth

    def load_operand(self, p: Any) -> Any:
        """Loads a vector of an operand's elements."""
        return self.computed(self.b.load(self.b.bitcast(p, self.operand.as_pointer()), align=self.dtype.itemsize))

    def load_some(self, p: Any, mask: Any) -> Any:
        """Loads the masked lanes of a vector of an operand's elements; the others are zero and not read."""
        zeros = ir.Constant(self.operand, [0] * self.tile.lanes)
        place = self.b.bitcast(p, self.operand.as_pointer())
        return self.computed(self.b.call(self.masked_load, [place, ir.IntType(32)(self.dtype.itemsize), mask, zeros]))

    def splat(self, x: Any) -> Any:
        nothing = ir.Constant(ir.VectorType(x.type, self.tile.lanes), ir.Undefined)
        one = self.b.insert_element(nothing, x, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.tile.lanes), [0] * self.tile.lanes)
        return self.b.shuffle_vector(one, nothing, lanes)

    def shuffled(self, x: Any, y: Any, lanes: Sequence[int]) -> Any:
        return self.b.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes)))


Ahead = Callable[[Writer, Any, Any], Sequence[Any]]


def strided_ahead(w: Writer, k: Any, more: Any) -> list[Any]:
    """Given (start, step for each of eight k, step for eight k): a row of a sliver."""
    start, few, many = more
    place = w.at(start, (w.b.and_(k, _INT(7)), few), (w.b.lshr(k, _INT(3)), many))
    return [w.at(place, j // w.itemsize) for j in range(0, w.tile.columns * w.itemsize, 64)]


def tile_product(
    w: Writer, rows: int, ahead: Ahead | None = None, types_ahead: Sequence[Any] = (), by_rows: int = 0
) -> ir.Function:
    """(k, short, sliver of A, of B, stride of B, C, stride of C, add): the first rows of a tile of C, or the values to add.

    Registers hold sums of ``short`` terms at a time, which then go to C.

    ``by_rows``: the distance of rows of A, whose elements of a row are adjacent; otherwise A is a sliver.

    ``ahead``: the addresses to prefetch meanwhile for each k, of the next sliver of B; ``types_ahead`` are its arguments.
    """
    pitch, apart, lanes = (1, by_rows, w.tile.lanes) if by_rows else (w.tile.rows, 1, w.tile.lanes)
    types = (_INT, _INT, w.pointer, w.pointer, _INT, w.pointer, _INT, _BIT)
    f, b = w.function(f"tile_{rows}_ahead" if ahead else f"tile_{rows}", (*types, *types_ahead))
    count, short, left, right, right_stride, out, out_stride, more = f.args[:8]
    for p in (left, right, out):
        p.attributes.add("noalias")
    places = [(i, j) for i in range(rows) for j in range(2)]
    for i, j in places:  # needed at the end; nothing else would load it into the cache
        b.call(w.prefetch, [w.at(out, (i, out_stride), j * lanes), *map(ir.IntType(32), (1, 3, 1))])
    before, part, head = b.block, b.append_basic_block("part"), b.append_basic_block("head")
    after, add, put, through, done = (b.append_basic_block(name) for name in ("after", "add", "set", "through", "done"))
    b.branch(part)
    b.position_at_end(part)
    first, adds = b.phi(_INT), b.phi(_BIT)
    first.add_incoming(_INT(0), before)
    adds.add_incoming(more, before)
    stop = w.least(b.add(first, short), count)
    b.branch(head)
    b.position_at_end(head)
    k = b.phi(_INT)
    k.add_incoming(first, part)
    sums = {}
    for place in places:
        sums[place] = b.phi(w.vector)
        sums[place].add_incoming(ir.Constant(w.vector, [0.0] * lanes), part)
    row = w.at(right, (k, right_stride))
    columns = [w.load(w.at(row, j * lanes)) for j in range(2)]
    column = w.at(left, (k, pitch))
    for place in ahead(w, k, f.args[8:]) if ahead else ():
        b.call(w.prefetch, [b.bitcast(place, w.pointer), *map(ir.IntType(32), (0, 2, 1))])
    new = {}
    for i in range(rows):
        element = w.splat(b.load(w.at(column, i * apart)))
        for j in range(2):
            new[i, j] = w.multiplied(element, columns[j], sums[i, j])
    following = b.add(k, _INT(1))
    k.add_incoming(following, head)
    for place in places:
        sums[place].add_incoming(new[place], head)
    b.cbranch(b.icmp_signed("<", following, stop), head, after)
    b.position_at_end(after)
    b.cbranch(adds, add, put)
    for block in (add, put):
        b.position_at_end(block)
        for i, j in places:
            target = w.at(out, (i, out_stride), j * lanes)
            w.store(b.fadd(w.load(target), new[i, j]) if block is add else new[i, j], target)
        b.branch(through)
    b.position_at_end(through)
    first.add_incoming(stop, through)
    adds.add_incoming(_BIT(1), through)
    b.cbranch(b.icmp_signed("<", stop, count), part, done)
    b.position_at_end(done)
    b.ret_void()
    return f


def _packing(w: Writer, name: str, width: int) -> ir.Function:
    """(from, stride along a sliver's lanes, stride along k, lanes, k, to): slivers of ``width`` lanes, padded with zeros.

    A sliver has room for one more k, because the last whole vector stored may extend into it.
    """
    lanes, zero = w.tile.lanes, ir.Constant(w.element, 0.0)
    f, b = w.function(name, (w.stored.as_pointer(), _INT, _INT, _INT, _INT, w.pointer))
    source, across, along, total, count, target = f.args
    vectors = range(0, width, lanes)
    together = b.icmp_signed("==", across, _INT(1))
    apart = b.icmp_signed("==", along, _INT(1))

    def places(k0: Any, first: Any) -> tuple[Any, Any, Any, Any]:
        """The maximum numbers of k and lanes from here on; their source and target addresses."""
        deep, here = w.least(lanes, b.sub(count, k0)), w.least(width, b.sub(total, first))
        start = w.at(source, (first, across), (k0, along))
        return deep, here, start, w.at(target, (first, b.add(count, _INT(1))), (k0, width))

    # Memory is read along its rows: a few k for all slivers, or one sliver from end to end.
    with b.if_else(together) as (copy, other):
        with copy, w.loop(0, count, lanes) as k0, w.loop(0, total, width) as first:
            deep, here, start, sliver = places(k0, first)
            # Whole vectors are read only if they end inside the matrix.
            inside = b.icmp_signed(">", b.sub(total, first), _INT(len(vectors) * lanes - 1))
            with b.if_else(inside) as (whole, part):
                with whole, w.loop(0, deep) as k:
                    for j in vectors:
                        w.store(w.load_operand(w.at(start, (k, along), j)), w.at(sliver, (k, width), j))
                with part:
                    masks = [w.lanes_below(b.sub(here, _INT(j))) for j in vectors]
                    with w.loop(0, deep) as k:
                        for j, mask in zip(vectors, masks, strict=True):
                            w.store(w.load_some(w.at(start, (k, along), j), mask), w.at(sliver, (k, width), j))
        with other, w.loop(0, total, width) as first, w.loop(0, count, lanes) as k0:
            deep, here, start, sliver = places(k0, first)
            with b.if_else(b.and_(apart, b.icmp_signed("==", deep, _INT(lanes)))) as (turn, rest):
                with turn:
                    columns = []
                    for j in vectors:
                        # Missing rows are read as the last one; zeros would do as well.
                        near = [w.least(min(i, width - 1), b.sub(here, _INT(1))) for i in range(j, j + lanes)]
                        columns.append(transposed(w, [w.load_operand(w.at(start, (p, across))) for p in near]))
                    for k in range(lanes):
                        # elements beyond a row are overwritten by the next one
                        for j, column in zip(vectors, columns, strict=True):
                            w.store(column[k], w.at(sliver, k * width + j))
                with rest, w.loop(0, deep) as k:
                    with w.loop(0, here) as i:
                        b.store(w.computed(b.load(w.at(start, (i, across), (k, along)))), w.at(sliver, (k, width), i))
                    with w.loop(here, width) as i:
                        b.store(zero, w.at(sliver, (k, width), i))
    b.ret_void()
    return f


def _packing_pairs(w: Writer, name: str, width: int) -> ir.Function:
    """The same for pairs of terms: a row of a sliver has a word for each lane. A missing last term is zero."""
    lanes, word = w.tile.lanes, ir.IntType(32)
    words = ir.VectorType(word, lanes)
    f, b = w.function(name, (w.stored.as_pointer(), _INT, _INT, _INT, _INT, w.pointer))
    source, across, along, total, count, target = f.args
    pairs, vectors = w.packed_rows(count), range(0, width, lanes)
    zeros = ir.Constant(w.operand, [0] * lanes)

    def joined(low: Any, high: Any, type_: Any) -> Any:
        sixteen = ir.Constant(type_, 16 if type_ is word else [16] * lanes)
        return b.or_(b.zext(low, type_), b.shl(b.zext(high, type_), sixteen))

    def places(p0: Any, first: Any) -> tuple[Any, Any, Any, Any]:
        deep, here = w.least(lanes, b.sub(pairs, p0)), w.least(width, b.sub(total, first))
        start = w.at(source, (first, across), (p0, b.shl(along, _INT(1))))
        return deep, here, start, w.at(target, (first, b.add(pairs, _INT(1))), (p0, width))

    def is_whole(p: Any) -> Any:
        """True if a pair has two terms."""
        return b.icmp_signed("<", b.add(b.shl(p, _INT(1)), _INT(1)), count)

    with b.if_else(b.icmp_signed("==", across, _INT(1))) as (copy, other):
        with copy, w.loop(0, pairs, lanes) as p0, w.loop(0, total, width) as first:
            deep, here, start, sliver = places(p0, first)
            masks = [w.lanes_below(b.sub(here, _INT(j))) for j in vectors]
            with w.loop(0, deep) as p:
                second = w.splat(is_whole(b.add(p0, p)))
                for j, mask in zip(vectors, masks, strict=True):
                    place = w.at(start, (p, b.shl(along, _INT(1))), j)
                    there = b.bitcast(place, w.operand.as_pointer()), b.bitcast(w.at(place, along), w.operand.as_pointer())
                    low, high = (
                        b.call(w.masked_load, [at, word(w.dtype.itemsize), m, zeros])
                        for at, m in zip(there, (mask, b.and_(mask, second)), strict=True)
                    )
                    w.store(b.bitcast(joined(low, high, words), w.vector), w.at(sliver, (p, width), j))
        with other, w.loop(0, total, width) as first, w.loop(0, pairs, lanes) as p0:
            deep, here, start, sliver = places(p0, first)
            apart = b.icmp_signed("==", along, _INT(1))
            whole = b.and_(b.icmp_signed("==", deep, _INT(lanes)), is_whole(b.add(p0, _INT(lanes - 1))))
            with b.if_else(b.and_(apart, whole)) as (turn, rest):
                with turn:
                    columns = []
                    for j in vectors:
                        near = [w.least(min(i, width - 1), b.sub(here, _INT(1))) for i in range(j, j + lanes)]
                        rows = [b.bitcast(w.at(start, (i, across)), w.vector.as_pointer()) for i in near]
                        columns.append(transposed(w, [b.load(row, align=w.dtype.itemsize) for row in rows]))
                    for k in range(lanes):
                        for j, column in zip(vectors, columns, strict=True):
                            w.store(column[k], w.at(sliver, k * width + j))
                with rest, w.loop(0, deep) as p:
                    with w.loop(0, here) as i:
                        place, two = w.at(start, (i, across), (p, b.shl(along, _INT(1)))), is_whole(b.add(p0, p))
                        second = b.load(b.select(two, w.at(place, along), place))
                        pair = joined(b.load(place), b.select(two, second, w.stored(0)), word)
                        b.store(b.bitcast(pair, w.element), w.at(sliver, (p, width), i))
                    with w.loop(here, width) as i:
                        b.store(ir.Constant(w.element, 0.0), w.at(sliver, (p, width), i))
    b.ret_void()
    return f


def transposed(w: Writer, vectors: list[Any]) -> list[Any]:
    """Transposes a square of elements: quarters first, then quarters of these."""
    n, size = len(vectors), len(vectors) // 2
    while size:
        below = [n + i - size if i & size else i for i in range(n)]
        above = [n + i if i & size else i + size for i in range(n)]
        new = list(vectors)
        for i in range(n):
            if not i & size:
                new[i] = w.shuffled(vectors[i], vectors[i + size], below)
                new[i + size] = w.shuffled(vectors[i], vectors[i + size], above)
        vectors, size = new, size // 2
    return vectors


def _copy(w: Writer, source: tuple[Any, Any, Any], target: tuple[Any, Any, Any], extents: tuple[Any, Any, Any]) -> None:
    """Copies the inner part of a tile: a number of rows, the vectors of a row, and the last element.

    Source and target are an address and the strides of rows and columns; vectors are contiguous in both.
    """
    rows, vectors, columns = extents
    with w.loop(0, rows) as p:
        old, new = (w.at(place, (p, row)) for place, row, _ in (source, target))
        with w.loop(0, vectors, w.tile.lanes) as q:
            w.store(w.load(w.at(old, q)), w.at(new, q))
        with w.loop(vectors, columns) as q:
            w.b.store(w.b.load(w.at(old, (q, source[2]))), w.at(new, (q, target[2])))


def _by_parts(w: Writer, product: ir.Function) -> None:
    """The function for all inner extents: long float32 sums are split into parts, which are summed in float64."""
    f, b = w.function("SYMBOL_gemm", product.function_type.args[1:], True)
    m, n, k, left, left_row, left_column, right, right_row, right_column, out, out_row, out_column = f.args
    if w.dtype is float64:
        b.call(product, [_INT(KC), *f.args])
        b.ret_void()
        return
    most_rows = MC // w.tile.rows * w.tile.rows  # of a whole block
    double, sizes = ir.DoubleType(), b.mul(w.least(m, most_rows), n)
    with b.if_else(b.icmp_signed("<=", k, _INT(DEEP))) as (shallow, deep):
        with shallow:
            b.call(product, [_INT(KC), *f.args])
        with deep:
            total = b.inttoptr(b.ptrtoint(b.call(w.malloc, [b.mul(sizes, _INT(8))]), _INT), double.as_pointer())
            with w.loop(0, m, most_rows) as i0:
                height, target = w.least(most_rows, b.sub(m, i0)), w.at(out, (i0, out_row))
                with w.loop(0, k, DEEP) as k0:
                    operands = [w.at(left, (i0, left_row), (k0, left_column)), left_row, left_column]
                    operands += [w.at(right, (k0, right_row)), right_row, right_column, target, out_row, out_column]
                    b.call(product, [_INT(SHORT), height, n, w.least(DEEP, b.sub(k, k0)), *operands])
                    starts = b.icmp_signed("==", k0, _INT(0))
                    with w.loop(0, height) as i, w.loop(0, n) as j:
                        new = b.fpext(b.load(w.at(target, (i, out_row), (j, out_column))), double)
                        place = w.at(total, (i, n), j)
                        b.store(b.select(starts, new, b.fadd(b.load(place), new)), place)
                with w.loop(0, height) as i, w.loop(0, n) as j:
                    b.store(b.fptrunc(b.load(w.at(total, (i, n), j)), w.element), w.at(target, (i, out_row), (j, out_column)))
            b.call(w.free, [b.ptrtoint(total, _INT)])
    b.ret_void()


def _code(dtype: DType) -> str:
    w = Writer(dtype, dtype is bfloat16 and selected().has("avx512bf16"))
    rows, columns, lanes = w.tile.rows, w.tile.columns, w.tile.lanes
    products = {n: tile_product(w, n) for n in (rows, rows // 4, rows // 2) if n}
    leading = tile_product(w, rows, strided_ahead, (w.pointer, _INT, _INT))
    packing = _packing_pairs if w.pairs else _packing
    pack_a, pack_b = packing(w, "pack_rows", rows), packing(w, "pack_columns", columns)
    most_rows = MC // rows * rows
    operand = w.stored.as_pointer()
    whole_product, b = w.function("product", (*[_INT] * 4, operand, _INT, _INT, operand, _INT, _INT, w.pointer, _INT, _INT))
    short, m, n, k, left, left_row, left_column, right, right_row, right_column, out, out_row, out_column = whole_product.args
    with b.if_then(b.icmp_signed("==", k, _INT(0))), w.loop(0, m) as i, w.loop(0, n) as j:
        b.store(ir.Constant(w.element, 0.0), w.at(out, (i, out_row), (j, out_column)))
    # A tile, a sliver of B and a block of A; stores beyond the last sliver of A may be one vector long.
    sizes = [rows * columns, (KC + 1) * columns, (KC + 1) * most_rows + lanes]
    scratch = w.borrow(sum(sizes))
    b_sliver, a_block = w.at(scratch, sizes[0]), w.at(scratch, sizes[0] + sizes[1])
    with w.loop(0, k, KC) as k0, w.loop(0, m, most_rows) as i0:
        height, depth = w.least(most_rows, b.sub(m, i0)), w.least(KC, b.sub(k, k0))
        more, steps = b.icmp_signed(">", k0, _INT(0)), w.packed_rows(depth)
        b.call(pack_a, [w.at(left, (i0, left_row), (k0, left_column)), left_row, left_column, height, depth, a_block])
        # For few rows, packing B does not pay if B is row-major.
        low = b.and_(b.icmp_signed("<=", height, _INT(2 * rows)), b.icmp_signed("==", right_column, _INT(1)))
        with w.loop(0, n, columns) as j:
            wide = w.least(columns, b.sub(n, j))
            start = w.at(right, (k0, right_row), (j, right_column))
            direct = _BIT(0) if dtype.is_half else b.and_(low, b.icmp_signed("==", wide, _INT(columns)))
            with b.if_then(b.not_(direct)):
                b.call(pack_b, [start, right_column, right_row, wide, depth, b_sliver])
            following = w.at(start, (columns, right_column))
            by_rows = b.icmp_signed("==", right_column, _INT(1))
            few = b.select(by_rows, right_row, _INT(columns))
            many = b.select(by_rows, b.mul(right_row, _INT(8)), right_column)
            b_operand = [b_sliver, _INT(columns)]
            if not dtype.is_half:
                b_operand = [b.select(direct, start, b_sliver), b.select(direct, right_row, _INT(columns))]
            with w.loop(0, height, rows) as i:
                operands = [steps, w.packed_rows(short), w.at(a_block, (i, b.add(steps, _INT(1)))), *b_operand]
                target = w.at(out, (b.add(i0, i), out_row), (j, out_column))
                tall = w.least(rows, b.sub(height, i))
                full = b.and_(b.icmp_signed("==", wide, _INT(columns)), b.icmp_signed("==", out_column, _INT(1)))
                whole = b.and_(b.icmp_signed("==", tall, _INT(rows)), full)
                with b.if_else(whole) as (inside, edge):
                    with inside, b.if_else(b.icmp_signed("==", i, _INT(0))) as (first, others):
                        with first:
                            ahead = [b.bitcast(following, w.pointer), few, many]
                            if dtype.is_half:  # distances are in float32 elements, which are twice as large
                                ahead[1:] = [b.ashr(x, _INT(1)) for x in (few, many)]
                            b.call(leading, [*operands, target, out_row, more, *ahead])
                        with others:
                            b.call(products[rows], [*operands, target, out_row, more])
                    with edge:
                        # The smallest function with enough rows, on a copy of the part inside the matrix.
                        inner, outer = (scratch, _INT(columns), _INT(1)), (target, out_row, out_column)
                        extents = tall, b.select(full, _INT(columns), _INT(0)), wide
                        with b.if_then(more):
                            _copy(w, outer, inner, extents)
                        b.call(w.smallest(products, tall), [*operands, scratch, _INT(columns), more])
                        _copy(w, inner, outer, extents)
    w.give_back(scratch)
    b.ret_void()
    _by_parts(w, whole_product)
    return str(w.module)


def gemm(dtype: DType) -> int:
    """The address of the function for a dtype:

    void gemm(m, n, k, a, row stride of a, column stride of a, b, row stride of b, column stride of b, c, row stride of c,
              column stride of c)

    with extents and strides as 64-bit integers, in elements. If a and b are 16-bit, c is 32-bit. Fastest if the columns of
    c are contiguous.
    """
    return _gemm(dtype, selected())


@functools.cache
def _gemm(dtype: DType, cpu: CPU) -> int:
    return compiler.native(f"gemm_{dtype.short}", lambda: _code(dtype), ("gemm",))["gemm"]
