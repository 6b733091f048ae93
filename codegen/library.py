"""Kernels of operations that are not fused: products and indexed writes."""

from __future__ import annotations

import itertools
import math

from ..ir.graph import Graph, Op, Value
from ..ir.ops import contract, fold, index_add, matmul, scatter_add, scatter_reduce, set_at
from . import scans
from .contraction import element, lower_contract, matrix_vector
from .loops import Index, Lowering, literal
from .nest import Accumulate, Array, Combine, Do, If, Kernel, Let, Loop, Reduce, Store

_TINY = 1 << 12  # multiplications of one product
_LONG_ROW = 64  # minimum terms for which the horizontal addition at the end of a sum pays
LARGE_PRODUCT = 4e6  # multiplications: some tens of microseconds


def lower_op(op: Op) -> Kernel:
    """The kernel of a separate operation. Raises NotImplementedError if there is none."""
    lowerings = {
        matmul: _matmul,
        contract: lower_contract,
        fold: _fold,
        index_add: _index_add,
        scatter_add: _scatter_add,
        scatter_reduce: _scatter_reduce,
        set_at: _set_at,
        **scans.LOWERINGS,
    }
    if op.primitive not in lowerings:
        raise NotImplementedError(f"no kernel for {op.primitive.name}")
    inputs = [Value(v.type) for v in op.operands]
    alone = Op(op.primitive, inputs, op.attrs, [v.type for v in op.results])
    low = Lowering(Graph(op.primitive.name, inputs, [alone], alone.results))
    out = low.add_array(alone.result)
    return lowerings[op.primitive](low, alone, low.arrays[out])


def _zero(low: Lowering, y: Value, out: Array, index: Index = ()) -> None:
    """Sets ``y`` to zero, or the part of it at the given leading indices."""
    with low.loops(range(len(index), len(y.shape)), y) as rest:
        low.scopes[-1].body.append(Store(out.name, low.offset(y, (*index, *rest)), literal(0, out.dtype)))


def _add(low: Lowering, y: Value, out: Array, index: Index, element: str) -> None:
    low.scopes[-1].body.append(Accumulate(out.name, low.atom(low.offset(y, index)), Combine.SUM, element, out.dtype))


def _fold(low: Lowering, op: Op, out: Array) -> Kernel:
    (x,), y, n = op.operands, op.result, len(op.attrs["extents"])
    lead = tuple(range(len(y.shape) - n))
    flat = x.type.with_shape((math.prod(y.shape[: len(lead)]), *x.shape[len(lead) :]))
    image = y.type.with_shape((flat.shape[0], *y.shape[len(lead) :]))
    x1, y1 = Value(flat), Value(image)
    low.array_of[x1] = low.array_of[x]
    with low.loop(Loop("i0", "start", "stop")):
        _zero(low, y1, out, ("i0",))
        with low.loops(range(1, 1 + n), x1, sequential=True) as k, low.loops(range(1 + n, 1 + 2 * n), x1) as o:
            at = []
            for ki, oi, s, d in zip(k, o, op.attrs["stride"], op.attrs["dilation"], strict=True):
                at.append(low.atom(f"{oi} * {low.param(s)} + {ki} * {low.param(d)}"))
            element = low.value(x1, ("i0", *k, *o))
            _add(low, y1, out, ("i0", *at), element)
    return low.finish(flat.shape[0])


def gathered_fold(op: Op) -> Kernel:
    """The kernel of a ``fold`` for many threads: each element of the image sums the windows that contain it.

    Terms are added in the order of ``_fold``, so results are bitwise equal.
    """
    (x,), y, n = op.operands, op.result, len(op.attrs["extents"])
    low = Lowering(Graph(op.primitive.name, [Value(x.type)], [], []))
    out = low.arrays[low.add_array(Value(y.type))]
    lead = math.prod(y.shape[: len(y.shape) - n])
    x1 = Value(x.type.with_shape((lead, *x.shape[len(y.shape) - n :])))
    y1 = Value(y.type.with_shape((lead, *y.shape[len(y.shape) - n :])))
    low.array_of[x1] = 0
    with low.loop(Loop("i0", "start", "stop")), low.loops(range(1, 1 + n), y1) as place:
        total, body = low.fresh("a"), low.scopes[-1].body
        body.append(Let(total, literal(0, out.dtype)))
        with low.loops(range(1, 1 + n), x1, sequential=True) as k:
            windows, inside = [], []
            for axis, (at, ki, s, d) in enumerate(zip(place, k, op.attrs["stride"], op.attrs["dilation"], strict=True)):
                ahead = low.atom(f"{at} - {ki} * {low.param(d)}")
                windows.append(low.atom(f"{ahead} // {low.param(s)}"))
                inside += [f"({ahead} >= 0)", f"({ahead} % {low.param(s)} == 0)"]
                inside.append(f"({windows[-1]} < {low.extent(x1, 1 + n + axis)})")
            term = low.fresh("t")
            load = Let(term, f"load(p0, {low.offset(x1, ('i0', *k, *windows))})")
            low.scopes[-1].body.append(If(" & ".join(inside), [load, Reduce(Combine.SUM, (total,), (term,), out.dtype)], []))
        body.append(Store(out.name, low.offset(y1, ("i0", *place)), total))
    return low.finish(lead)


def _term(low: Lowering, x: Value, index: Index, out: Array) -> str:
    """An element of ``x``, in its accumulator's format."""
    element = low.value(x, index)
    return element if x.dtype is out.dtype else low.let(f"{out.dtype.short}({element})")


def _index_add(low: Lowering, op: Op, out: Array) -> Kernel:
    (x, where), y, axis = op.operands, op.result, op.attrs["axis"]
    with low.loop(Loop("i0", "start", "stop")):
        _zero(low, y, out)
        with low.loops(range(len(x.shape)), x, sequential=True) as index:
            position = low.value(where, index[axis : axis + len(where.shape)])
            safe = checked(low, position, op.attrs["extent"], axis)
            if op.attrs["extent"]:
                _add(low, y, out, (*index[:axis], safe, *index[axis + len(where.shape) :]), _term(low, x, index, out))
    return low.finish(1)


def _scatter_add(low: Lowering, op: Op, out: Array) -> Kernel:
    (x, where), y, axis = op.operands, op.result, op.attrs["axis"]
    with low.loop(Loop("i0", "start", "stop")):
        _zero(low, y, out)
        with low.loops(range(len(x.shape)), x, sequential=True) as index:
            safe = checked(low, low.value(where, index), y.shape[axis], axis)
            if y.shape[axis]:
                _add(low, y, out, (*index[:axis], safe, *index[axis + 1 :]), _term(low, x, index, out))
    return low.finish(1)


def _scatter_reduce(low: Lowering, op: Op, out: Array) -> Kernel:
    (x, v, where), y, axis = op.operands, op.result, op.attrs["axis"]
    with low.loop(Loop("i0", "start", "stop")):
        with low.loops(range(len(y.shape)), y) as index:
            low.scopes[-1].body.append(Store(out.name, low.offset(y, index), low.value(x, index)))
        with low.loops(range(len(v.shape)), v, sequential=True) as index:
            safe = checked(low, low.value(where, index), y.shape[axis], axis)
            if y.shape[axis]:
                at = low.atom(low.offset(y, (*index[:axis], safe, *index[axis + 1 :])))
                combine = Combine(op.attrs["reduce"])
                low.scopes[-1].body.append(Accumulate(out.name, at, combine, low.value(v, index), out.dtype))
    return low.finish(1)


def _set_at(low: Lowering, op: Op, out: Array) -> Kernel:
    """Writes ``v`` into the result, whose memory is that of ``x``. The index has been checked; it is clipped to be safe."""
    (_, v, where), y, axis = op.operands, op.result, op.attrs["axis"]
    last = low.param(y.shape[axis] - v.shape[axis])
    first = low.let(f"minimum(maximum(i64({low.value(where, ())}), 0), {last})")
    split = next((a for a, n in enumerate(v.shape) if n != 1), None)
    others = [a for a in range(len(v.shape)) if a != split]
    with low.loop(Loop("i0", "start", "stop")), low.loops(others, v) as variables:
        names = dict(zip(others, variables, strict=True))
        index = tuple("i0" if a == split else names[a] for a in range(len(v.shape)))
        position = first if v.shape[axis] == 1 else low.let(f"{first} + {index[axis]}")
        place = low.offset(y, (*index[:axis], position, *index[axis + 1 :]))
        low.scopes[-1].body.append(Store(out.name, place, low.value(v, index)))
    return low.finish(1 if split is None else v.shape[split])


def checked(low: Lowering, position: str, extent: int, axis: int) -> str:
    """A position along an axis; 0 after reporting an error."""
    site = low.site(IndexError, f"index {{}} is out of bounds for dimension {axis} with size {extent}")
    return low.let(f"check_index({position}, {low.param(extent)}, status, {site})")


_NARROW = 16  # columns: fewer than the widest vector holds
_SHARE = 64  # rows or columns of a part of a large product, at most
_SHARES = 4  # and its parts, at least: they are divided among threads


def _matmul(low: Lowering, op: Op, out: Array) -> Kernel:
    """Calls the back end's GEMM: for each matrix of a batch, or for a part of the rows or columns of a large product.

    The division does not affect results: the order of additions is per element.
    """
    a, b = op.operands
    c, ta, tb = op.result, op.attrs["ta"], op.attrs["tb"]
    if c.type.dtype.kind != "f":
        return _integer_matmul(low, op, out)
    (m, n), k = c.shape[-2:], a.shape[-2] if ta else a.shape[-1]
    batch = math.prod(c.shape[:-2])
    if 0 < m * n * k <= _TINY:
        return _tiny_matmul(low, op, out)
    in_columns = ta if n == 1 else not tb  # whether the matrix's terms are in columns
    if batch == 1 and 1 in (m, n) and k and (in_columns or k >= _LONG_ROW):
        return _matrix_vector(low, op, out, in_columns)
    divided = batch == 1 and 2.0 * m * n * k >= LARGE_PRODUCT
    # Strides between adjacent rows and columns.
    strides = [(1, m) if ta else (k, 1), (1, k) if tb else (n, 1), (n, 1)]
    extents = [low.param(m), low.param(n)]
    if divided:
        split = 0 if m >= n else 1  # the rows of A and C, or the columns of B and C
        share = min(_SHARE, -(-(m, n)[split] // _SHARES))
        first = low.let(f"start * {low.param(share)}")
        last = low.let(f"minimum(stop * {low.param(share)}, {extents[split]})")
        extents[split] = low.let(f"{last} - {first}")
        places = [f"{first} * {low.param(s[split])}" if x in (split, 2) else "0" for x, s in enumerate(strides)]
        _call(low, op, extents, low.param(k), places, strides)
        return low.finish(-(-(m, n)[split] // share))
    with low.loop(Loop("i0", "start", "stop")):
        places = ["0" if len(v.shape) < len(c.shape) else f"i0 * {low.param(math.prod(v.shape[-2:]))}" for v in (a, b, c)]
        _call(low, op, extents, low.param(k), places, strides)
    return low.finish(batch)


def _call(low: Lowering, op: Op, extents: list[str], inner: str, places: list[str], strides: list[tuple[int, int]]) -> None:
    steps = [[low.param(s) for s in pair] for pair in strides]
    matrices = [[x.name, at, *by] for x, at, by in zip(low.arrays, places, steps, strict=True)]
    m, n = op.result.shape[-2:]
    if n < min(m, _NARROW):
        # C' = B' A': few rows are faster than few columns.
        extents = extents[::-1]
        matrices = [[name, at, column, row] for name, at, row, column in (matrices[1], matrices[0], matrices[2])]
    arguments = ", ".join([*extents, inner, *itertools.chain(*matrices)])
    low.scopes[-1].body.append(Do(f"gemm_{op.operands[0].type.dtype.short}(gemm, {arguments})"))


def _tiny_matmul(low: Lowering, op: Op, out: Array) -> Kernel:
    """As loops with constant extents, which LLVM unrolls: faster than packing."""
    (a, b), c = op.operands, op.result
    ta, tb = op.attrs["ta"], op.attrs["tb"]
    (m, n), inner = c.shape[-2:], a.shape[-2] if ta else a.shape[-1]
    with low.loop(Loop("i0", "start", "stop")):
        i, j, k = (low.fresh("r") for _ in range(3))
        rows = [f"{k} * {m} + {i}" if ta else f"{i} * {inner} + {k}", f"{j} * {inner} + {k}" if tb else f"{k} * {n} + {j}"]
        sizes = [0 if len(v.shape) < len(c.shape) else math.prod(v.shape[-2:]) for v in (a, b)]
        x, y = (element(p, f"i0 * {size} + {at}") for p, size, at in zip(low.arrays, sizes, rows, strict=False))
        total = low.fresh("a")
        with low.loop(Loop(i, "0", str(m))), low.loop(Loop(j, "0", str(n))):
            low.scopes[-1].body.append(Let(total, literal(0, c.type.dtype)))
            with low.loop(Loop(k, "0", str(inner))):
                low.scopes[-1].body.append(Reduce(Combine.SUM, (total,), (f"{x} * {y}",), c.type.dtype))
            low.scopes[-1].body.append(Store(out.name, f"i0 * {m * n} + {i} * {n} + {j}", total))
    return low.finish(math.prod(c.shape[:-2]))


def _matrix_vector(low: Lowering, op: Op, out: Array, in_columns: bool) -> Kernel:
    c = op.result
    matrix, vector = low.arrays[:2] if c.shape[-1] == 1 else low.arrays[1::-1]
    count, terms = c.type.numel, low.param(op.operands[0].shape[-2 if op.attrs["ta"] else -1])
    steps = ("1", low.param(count)) if in_columns else (terms, "1")
    y = out, "0", "1"
    return low.finish(matrix_vector(low, (matrix, "0", *steps), (vector, "0", "1"), y, count, terms, in_columns, True))


def _integer_matmul(low: Lowering, op: Op, out: Array) -> Kernel:
    a, b = op.operands
    y = op.result
    n = len(y.shape)
    inner = a.shape[-2] if op.attrs["ta"] else a.shape[-1]
    with low.loop(Loop("i0", "start", "stop")):
        _zero(low, y, out)
        with low.loops(range(n), y) as index:
            k = low.fresh("r")
            with low.loop(Loop(k, "0", low.param(inner), sequential=True)):
                i, j = index[-2:]
                lead_a, lead_b = (index[:-2] if len(v.shape) == n else () for v in (a, b))
                left = low.value(a, (*lead_a, k, i) if op.attrs["ta"] else (*lead_a, i, k))
                right = low.value(b, (*lead_b, j, k) if op.attrs["tb"] else (*lead_b, k, j))
                _add(low, y, out, index, f"{left} * {right}")
    return low.finish(1)
