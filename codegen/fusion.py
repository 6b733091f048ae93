"""The kernel of a fusion: the loop nest over its domain, by rows or by columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from ..ir.graph import Builder, Graph, Op, Value
from ..ir.ops import argmax, argmin, broadcast, full, max_, min_, reshape, slice_, sum_, sum_lost, uniform, write_slice
from ..ir.ops.movement import is_unit_reshape
from ..ir.ops.reduce import SHORT, kept_axes
from ..ir.primitive import Kind
from ..ir.regions import Region, region_of
from .loops import Index, Lowering, combination, identity, picks_one
from .nest import Accumulate, Compensated, Kernel, Loop, Store

_FEW = 8  # columns: fewer are summed one by one
_COLUMNS = 128  # minimum per part of a kernel: some cache lines
_VECTOR = 64  # bytes: the widest vectors of CPUs
_LONG = 1 << 15  # elements: a longer row leaves the cache before it is read again
_DEAR = (
    "exp",
    "expm1",
    "exp2",
    "log",
    "log1p",
    "log2",
    "tanh",
    "sigmoid",
    "erf",
    "sin",
    "cos",
    "sinh",
    "cosh",
    "pow",
    "erfc",
    "lgamma",
    "digamma",
    "trigamma",
    "erfinv",
    "asinh",
    "acosh",
    "atanh",
)


class Result(NamedTuple):
    """A value to store, the array's number, and, if the value is only a slice of it, the array and the slice."""

    value: Value
    array: int
    into: tuple[Value, Region] | None = None


Results = Sequence[Result]


def lower(body: Graph, inplace: Mapping[int, int] | None = None) -> Kernel:
    """The loop nest of a fusion's body. ``inplace`` maps a result's position to the operand that it replaces.

    The arrays are the operands, the arrays of which it writes slices, and the other results that replace no operand.
    """
    writes = written(body)
    if writes:
        body = _with_memory(body, writes)
    else:
        body = _collapsed(body)
    low = Lowering(body)
    reused = inplace or {}
    results: list[Result] = []
    for i, v in enumerate(body.outputs):
        if i in writes:
            memory = chain_of(v)[0].operands[0]
            low.memory.add(memory)
            results += [Result(op.operands[1], low.array_of[memory], (memory, region_of(op))) for op in chain_of(v)]
        else:
            results.append(Result(v, reused[i] if i in reused else low.add_array(v)))
    reductions = [op for op in body.ops if op.primitive.kind is Kind.REDUCTION]
    if reductions:
        # If both rows and columns are reduced, the nest is by columns: rows are complete inside it.
        last = next((op for op in reductions if len(op.operands[0].shape) - 1 not in op.attrs["axes"]), reductions[0])
        axes, x = last.attrs["axes"], last.operands[0]
        both = any(op.attrs["axes"] != axes for op in reductions)
        # A few rows are unrolled for each column.
        many = x.shape[-1] >= _FEW and math.prod(x.shape[a] for a in axes) > SHORT
        columns = len(x.shape) - 1 not in axes and (many or both)
        if columns and all(op.primitive in (sum_, sum_lost, max_, min_) for op in reductions):
            domain = _column_nest(low, results, x.shape, axes, x)
        else:
            low.kept = _kept(low, [r for i, r in enumerate(results) if i not in reused], x.shape, axes)
            domain = _row_nest(low, results, x.shape, axes)
    else:
        shape = max((r.value.shape for r in results), key=len)
        rank = min(len(r.value.shape) for r in results)
        # Without reductions the last axis is the inner loop, unless it is the only one; otherwise the axes that rows lack.
        inner = range(rank, len(shape)) if rank < len(shape) else range(max(len(shape) - 1, 1), len(shape))
        domain = _row_nest(low, results, shape, tuple(inner))
    return low.finish(domain)


def written(body: Graph) -> list[int]:
    """The positions of the results that are arrays of which the kernel writes only slices, in the arrays' memory."""
    return [i for i, v in enumerate(body.outputs) if v.op is not None and v.op.primitive is write_slice]


def chain_of(v: Value) -> list[Op]:
    """The writes that make an array, in order."""
    ops: list[Op] = []
    while v.op is not None and v.op.primitive is write_slice:
        ops.insert(0, v.op)
        v = v.op.operands[0]
    return ops


def read_elsewhere(body: Graph) -> set[Value]:
    """The values inside a kernel that are read at other elements than the one that is computed, or that others are computed
    from which are.
    """
    found: set[Value] = set()
    for op in reversed(body.ops):
        if op.primitive is write_slice:
            found.add(op.operands[0])
            continue
        unit = op.primitive is reshape and is_unit_reshape(op.operands[0].shape, op.result.shape)
        if not (unit or op.primitive.kind is Kind.ELEMENTWISE) or not found.isdisjoint(op.results):
            found.update(op.operands)
    return found


def _with_memory(body: Graph, writes: Sequence[int]) -> Graph:
    """The body with one more input for each array of which it writes slices: the same memory, but the kernel may write it.

    Elements that it replaces are read there. Everything else that it reads of the array is outside the slices, so the two
    inputs do not overlap.
    """
    builder = Builder(body.name)
    new = {v: builder.input(v.type, v.name) for v in body.inputs}
    memory: dict[Op, Value] = {}  # for the first write of each array
    replaced: dict[tuple[Value, Region], Value] = {}
    elsewhere = read_elsewhere(body)
    for i in writes:
        chain = chain_of(body.outputs[i])
        (x, _) = chain[0].operands
        memory[chain[0]] = builder.input(x.type, x.name)
        replaced |= {(x, region_of(op)): memory[chain[0]] for op in chain}
    for op in body.ops:
        operands = [new[v] for v in op.operands]
        if op in memory:
            operands[0] = memory[op]
        elif op.primitive is slice_ and (op.operands[0], region_of(op)) in replaced and op.result not in elsewhere:
            operands[0] = replaced[op.operands[0], region_of(op)]
        new[op.result] = builder.add(op.primitive, operands, op.attrs, [op.result.type], op.loc)[0]
    return builder.finish([new[v] for v in body.outputs])


def _kept(low: Lowering, results: Results, shape: tuple[int, ...], axes: tuple[int, ...]) -> dict[Value, str]:
    """Expensive values that several loops of a row need, kept in the memory of one of the row's results.

    The last loop writes the result, each element after the kept value there has been read. ``results`` are those that
    replace no operand. In rows that are shorter than a vector, reading what was just stored takes as long as computing it.
    """
    last = len(shape) - 1
    if axes != (last,) or not SHORT < shape[last] <= _LONG:
        return {}
    places = {
        v.type.dtype: low.arrays[k].name
        for v, k, _ in results
        if v.shape == shape and shape[last] * v.type.dtype.itemsize >= _VECTOR
    }
    sums = [op for op in low.graph.ops if op.primitive.kind is Kind.REDUCTION and op.operands[0].shape == shape]
    earlier = [(op.result, _expensive(op.operands, shape)[0]) for op in sums if picks_one(op) is None]
    kept: dict[Value, str] = {}
    for roots in ([v for v in low.graph.outputs if v.shape == shape], *(op.operands for op in sums)):
        needed, awaited = _expensive(roots, shape)
        for sum_of, made in earlier:
            # ``jam`` merges independent loops, so that nothing is computed twice.
            for v in [v for v in made if v in needed] if sum_of in awaited else ():
                if v not in kept and v.type.dtype in places:
                    kept[v] = places.pop(v.type.dtype)
    return kept


def _expensive(roots: Sequence[Value], shape: tuple[int, ...]) -> tuple[dict[Value, None], set[Value]]:
    """The expensive values that the elements ``roots`` are computed from, outermost first, and the reductions."""
    expensive: dict[Value, None] = {}  # ordered: kernel text must be deterministic
    reductions: set[Value] = set()
    seen: set[tuple[Value, bool]] = set()
    work = [(v, True) for v in roots]
    while work:
        v, outermost = work.pop()
        if (v, outermost) in seen or v.op is None:
            continue
        seen.add((v, outermost))
        if v.op.primitive.kind is Kind.REDUCTION:
            reductions.add(v)
        if outermost and v.shape == shape and v.op.primitive.name in _DEAR:
            expensive[v] = None
            outermost = False
        work += [(u, outermost and v.op.primitive.kind is Kind.ELEMENTWISE) for u in v.op.operands]
    return expensive, reductions


def _collapsed(body: Graph) -> Graph:
    """The same body with adjacent axes merged where all operations treat them alike: fewer and longer loops.

    Such operations are elementwise, or reduce the same axes, or repeat rows along them.
    """
    reductions = [op for op in body.ops if op.primitive.kind is Kind.REDUCTION]
    shape = reductions[0].operands[0].shape if reductions else body.outputs[0].shape
    axes = reductions[0].attrs["axes"] if reductions else ()
    kept = kept_axes(len(shape), axes)
    runs = [list(run) for _, run in itertools.groupby(range(len(shape)), lambda a: a in axes)]
    if len(runs) == len(shape):
        return body
    new_shape = {shape: tuple(math.prod(shape[a] for a in run) for run in runs)}
    new_axes = {axes: tuple(i for i, run in enumerate(runs) if run[0] in axes)}
    if reductions:
        new_shape[tuple(shape[a] for a in kept)] = tuple(math.prod(shape[a] for a in run) for run in runs if run[0] not in axes)
        new_axes[kept] = tuple(i for i, run in enumerate(runs) if run[0] not in axes)

    def simple(op: Op) -> bool:
        if op.primitive.kind is Kind.REDUCTION:
            return op.attrs["axes"] == axes and op.operands[0].shape == shape and op.primitive not in (argmax, argmin)
        if op.primitive is broadcast:
            return not op.operands[0].shape or (op.result.shape == shape and op.attrs["axes"] == kept != ())
        return op.primitive.kind is Kind.ELEMENTWISE or op.primitive is full or (op.primitive is uniform and not reductions)

    state = {v for v in body.inputs if v.shape == (2,) and _only_state(body, v)}
    values = [*(v for v in body.inputs if v not in state), *(op.result for op in body.ops)]
    if not all(map(simple, body.ops)) or any(v.shape and v.shape not in new_shape for v in values):
        return body
    builder = Builder(body.name)
    new = {
        v: builder.input(v.type.with_shape(new_shape.get(v.shape, v.shape) if v not in state else v.shape)) for v in body.inputs
    }
    for op in body.ops:
        attrs = dict(op.attrs)
        if attrs.get("shape"):
            attrs["shape"] = new_shape[attrs["shape"]]
        if attrs.get("axes"):
            attrs["axes"] = new_axes[attrs["axes"]]
        new[op.result] = builder.append(op.primitive, [new[v] for v in op.operands], attrs, op.loc)[0]
    return builder.finish([new[v] for v in body.outputs])


def _only_state(body: Graph, v: Value) -> bool:
    return all(op.primitive is uniform for op in body.users().get(v, []))


def _row_nest(low: Lowering, results: Results, shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """for each row: its reductions, what depends on the row alone, and a loop over its elements.

    The range that is divided among callers is the outermost axis of the rows with more than one element.
    """
    kept = kept_axes(len(shape), axes)
    like = Value(results[0].value.type.with_shape(shape))
    first = next((a for a in kept if shape[a] != 1), None)
    others = [a for a in kept if a != first]
    with low.loop(Loop("i0", "start", "stop")), low.loops(others, like) as variables:
        names = dict(zip(others, variables, strict=True))
        row = tuple("i0" if a == first else names[a] for a in kept)
        _store(low, [r for r in results if len(r.value.shape) != len(shape)], row)
        whole = [r for r in results if len(r.value.shape) == len(shape)]
        if low.kept:  # the sums first: the last loop then finds the kept values
            for op in low.graph.ops:
                if op.primitive.kind is Kind.REDUCTION and op.operands[0].shape == shape and op.attrs["axes"] == axes:
                    low.value(op.result, row)
        if whole:
            with low.iterations(axes, like) as elements:
                for inner in elements:
                    _store(low, whole, low.join(row, axes, inner))
    return 1 if first is None else shape[first]


def _store(low: Lowering, results: Results, index: Index) -> None:
    """Stores element ``index`` of each result. All are computed before any is stored, because one may replace an operand."""
    names = [low.value(r.value, index) for r in results]
    for (v, k, into), name in zip(results, names, strict=True):
        offset = low.offset(v, index) if into is None else low.offset(into[0], low.placed(*into, v.shape, index))
        low.scopes[-1].body.append(Store(low.arrays[k].name, offset, name))


def _is_sum(v: Value, axes: tuple[int, ...]) -> bool:
    """True if a value is a reduction over these axes."""
    return v.op is not None and v.op.primitive.kind is Kind.REDUCTION and v.op.attrs["axes"] == axes


def _column_nest(low: Lowering, results: Results, shape: tuple[int, ...], axes: tuple[int, ...], x: Value) -> int:
    """for each row: add its elements to results that stay in memory.

    The range that is divided is the outermost kept axis, or ranges of columns if there is no other.
    """
    last = len(shape) - 1
    sums = [(v, k, v.op) for v, k, _ in results if v.op is not None and _is_sum(v, axes)]
    whole = [r for r in results if len(r.value.shape) == len(shape)]
    rows = [r for r in results if len(r.value.shape) < len(shape) and not _is_sum(r.value, axes)]
    outer = [a for a in kept_axes(len(shape), axes) if a != last]
    split = next((a for a in outer if shape[a] != 1), None)
    others = [a for a in outer if a != split]

    def columns() -> Loop:
        return Loop(low.fresh("c"), *(("start", "stop") if split is None else ("0", low.extent(x, last))))

    with ExitStack() as stack:
        if split is not None:
            stack.enter_context(low.loop(Loop("i0", "start", "stop")))
        names = dict(zip(others, stack.enter_context(low.loops(others, x)), strict=True))
        lead = tuple("i0" if a == split else names[a] for a in outer)
        with low.loop(first := columns()):
            for v, k, op in sums:
                low.scopes[-1].body.append(Store(low.arrays[k].name, low.offset(v, (*lead, first.variable)), identity(op)))
        with low.loops(axes, x, sequential=True) as reduced:
            _store(low, rows, low.join((*lead, ""), axes, reduced)[:-1])
            with low.loop(loop := columns()):
                index = low.join((*lead, loop.variable), axes, reduced)
                body = low.scopes[-1].body
                elements = [low.value(op.operands[0], index) for _, _, op in sums]
                _store(low, whole, index)
                lost = {op.operands[0]: low.arrays[k].name for _, k, op in sums if op.primitive is sum_lost}
                for (v, k, op), element in zip(sums, elements, strict=True):
                    offset = low.offset(v, (*lead, loop.variable))
                    place = low.arrays[k].name, offset, combination(op), element, v.type.dtype
                    if op.primitive is sum_ and op.operands[0] in lost:
                        body.append(Compensated(*place, lost[op.operands[0]]))
                    elif op.primitive is not sum_lost:
                        body.append(Accumulate(*place))
    if split is None:
        low.grain = _COLUMNS
        return shape[last]
    return shape[split]
