"""A fusion as a loop nest over its domain: what both back ends read.

The nest is made on demand, from the results backwards: ``value(v, index)`` gives a name for element ``index`` of ``v``,
writing the statements that compute it. Each statement goes to the outermost loop in which all it reads is
known. So what depends on the row alone is computed once a row, a reduction becomes a loop of its own inside the row, and what
depends on nothing is computed before the loops: loop-invariant code is never inside a loop in the first place.

A kernel takes one block of 64-bit arguments, addresses first, then integers (extents, strides, offsets), and a range of its
domain to work on. Its text depends on the shapes only through what is 1 and what is short (written out).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir.graph import Builder, Graph, Op, Value
from ..ir.ops import argmax, argmin, broadcast, full, gather, index_select, iota, max_, min_, sum_, uniform
from ..ir.ops.reduce import kept_axes
from ..ir.primitive import Kind
from ..ir.types import DType
from .jam import jam
from .nest import Array, If, Kernel, Let, Loop, Statement, Store

Index = tuple[str, ...]


@dataclass
class _Scope:
    """The inside of a loop or a branch under construction."""

    body: list[Statement]
    known: dict[Any, str] = field(default_factory=dict)
    guard: bool = False


_SHORT = 8  # iterations that are written out
_FEW = 8  # columns: fewer are summed one by one
_COLUMNS = 128  # that a part of a kernel gets at least: some cache lines


_NAME = re.compile(r"[a-z]\d+\b")
_ATOM = re.compile(r"\w+$")


def literal(value: Any, dtype: DType) -> str:
    """A number of the given dtype, as kernel source."""
    if dtype.kind == "b":
        return "True" if value else "False"
    if dtype.kind == "f":
        number = float(dtype.numpy.type(value))
        text = {np.inf: "inf", -np.inf: "-inf"}.get(number, "nan" if number != number else repr(number))
        return f"{dtype.short}({text})"
    return f"{dtype.short}({int(value)})"


class Lowering:
    """Writes the nest of one fusion body."""

    def __init__(self, body: Graph):
        self.graph = body
        self.arrays: list[Array] = []
        self.params: list[str] = []
        self.values: list[int] = []
        self.checks: list[tuple[type[Exception], str]] = []
        self.depth: dict[str, int] = {}
        self.scopes = [_Scope([])]
        self.count = 0
        self.array_of: dict[Value, int] = {}
        self.strides: dict[tuple[int, ...], list[str]] = {}
        self.extents: dict[tuple[tuple[int, ...], int], str] = {}
        self.grain = 1
        for v in body.inputs:
            self.add_array(v)

    # Names and scopes.

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def param(self, value: int) -> str:
        """A run-time integer. 0 and 1 are text: what they mean (no offset, no stride) changes the code."""
        if value in (0, 1):
            return str(value)
        name = f"n{len(self.params)}"
        self.params.append(name)
        self.values.append(int(value))
        self.depth[name] = 0
        return name

    def add_array(self, v: Value) -> int:
        k = len(self.arrays)
        self.arrays.append(Array(f"p{k}", v.type.dtype))
        self.depth[f"p{k}"] = 0
        self.array_of.setdefault(v, k)
        return k

    def depth_of(self, *texts: str) -> int:
        """The innermost scope that any name in the texts belongs to, but never outside a branch."""
        deepest = max((self.depth.get(n, 0) for t in texts for n in _NAME.findall(t)), default=0)
        floor = max((i for i, s in enumerate(self.scopes) if s.guard), default=0)
        return max(deepest, floor)

    @contextmanager
    def at(self, depth: int) -> Iterator[None]:
        """Statements go to the scope at ``depth`` and to scopes opened inside it."""
        before = self.scopes
        self.scopes = before[: depth + 1]
        try:
            yield
        finally:
            self.scopes = before

    @contextmanager
    def scope(self, body: list[Statement], *variables: str, guard: bool = False) -> Iterator[None]:
        self.scopes = [*self.scopes, _Scope(body, guard=guard)]
        for v in variables:
            self.depth[v] = len(self.scopes) - 1
        try:
            yield
        finally:
            self.scopes = self.scopes[:-1]

    def known(self, key: Any) -> str | None:
        for s in reversed(self.scopes):
            if key in s.known:
                return s.known[key]
        return None

    def let(self, expression: str, letter: str = "t") -> str:
        """A name for an expression, computed as far out as possible, once."""
        name = self.known(expression)
        if name is None:
            d = self.depth_of(expression)
            name = self.fresh(letter)
            self.depth[name] = d
            self.scopes[d].body.append(Let(name, expression))
            self.scopes[d].known[expression] = name
        return name

    def atom(self, expression: str) -> str:
        return expression if _ATOM.match(expression) else self.let(expression, "j")

    def extent(self, v: Value, axis: int) -> str:
        """The extent of an axis. Values of one shape in one kernel share their extents and strides."""
        key = (v.shape, axis)
        if key not in self.extents:
            self.extents[key] = self.param(v.shape[axis])
        return self.extents[key]

    def offset(self, v: Value, index: Index) -> str:
        """Where element ``index`` of ``v`` is, in elements from its start."""
        if v.shape not in self.strides:
            steps = [math.prod(v.shape[a + 1 :]) for a in range(len(v.shape))]
            self.strides[v.shape] = [self.param(s) if n != 1 else "0" for s, n in zip(steps, v.shape, strict=True)]
        terms = [
            i if s == "1" else f"{i} * {s}"
            for i, s, n in zip(index, self.strides[v.shape], v.shape, strict=True)
            if n != 1 and i != "0"
        ]
        return " + ".join(terms) or "0"

    def finish(self, domain: int) -> Kernel:
        return Kernel(self.arrays, self.params, self.values, jam(self.scopes[0].body), domain, self.checks, self.grain)

    # Elements.

    def value(self, v: Value, index: Index) -> str:
        """A name for element ``index`` of ``v``."""
        name = self.known((v, index))
        if name is not None:
            return name
        # Chains of elementwise operations may be longer than Python's stack: their operands are written first.
        work = [v]
        while work:
            u = work[-1]
            if _is_elementwise(u):
                assert u.op is not None
                before = next((o for o in u.op.operands if _is_elementwise(o) and self.known((o, index)) is None), None)
                if before is not None:
                    work.append(before)
                    continue
            work.pop()
            name = self._compute(u, index)
            self.scopes[self.depth_of(name)].known[u, index] = name
        assert name is not None
        return name

    def _compute(self, v: Value, index: Index) -> str:
        op = v.op
        if op is None:
            return self.let(self._load(v, index))
        kind = op.primitive.kind
        if kind is Kind.ELEMENTWISE:
            names = [self.value(o, index) for o in op.operands]
            return self.let(self._scalar(op, names))
        if kind is Kind.REDUCTION:
            return self._reduction(op, index)
        if kind is Kind.MOVEMENT:
            return self._movement(op, index)
        if op.primitive is full:
            return self.let(literal(op.attrs["value"], v.type.dtype))
        if op.primitive is iota:
            return self.let(f"{v.type.dtype.short}({index[op.attrs['axis']]})")
        if op.primitive is uniform:
            return self._uniform(op, index)
        if op.primitive in (index_select, gather):
            return self._indexed(op, index)
        raise NotImplementedError(f"no code for {op.primitive.name} inside a fusion")

    def _load(self, v: Value, index: Index) -> str:
        return f"load({self.arrays[self.array_of[v]].name}, {self.offset(v, index)})"

    def _scalar(self, op: Op, names: Sequence[str]) -> str:
        record, types = op.primitive, [o.type for o in op.operands]
        template = record.scalar(types, op.attrs) if callable(record.scalar) else record.scalar
        assert template is not None, record.name
        result = op.result.type.dtype
        words = dict(zip(record.operands, names, strict=True), T=result.short, D=types[0].dtype.short)
        if "extent" in op.attrs:
            words.update(extent=self.param(op.attrs["extent"]))
        if "{site}" in template:
            words.update(site=self.site(*(record.error or (IndexError, op.attrs["message"]))))
        text = template.format(**words)
        # Integer arithmetic is done in 64 bits and wraps when it is stored in fewer.
        return f"{result.short}({text})" if result.kind in "ui" and result.short != "i64" else text

    def site(self, error: type[Exception], message: str) -> str:
        """The number of a place in the kernel that may fail, and how."""
        self.checks.append((error, message))
        return str(len(self.checks) - 1)

    def _movement(self, op: Op, index: Index) -> str:
        types = [o.type for o in op.operands]
        assert op.primitive.pieces is not None, op.primitive.name
        pieces = op.primitive.pieces(index, types, op.attrs, self.param)
        if pieces[0].when is None and pieces[0].operand is not None:
            return self.value(op.operands[pieces[0].operand], tuple(map(self.atom, pieces[0].index)))
        name = self.fresh("t")
        depth = self.depth_of(*index)
        self.depth[name] = depth
        with self.at(depth):
            self._branches(op, pieces, name)
        return name

    def _branches(self, op: Op, pieces: list, name: str) -> None:
        """``name`` = the first piece whose condition holds. Loads stay inside the branch that makes them safe."""
        piece, rest = pieces[0], pieces[1:]
        then: list[Statement] = []
        with self.scope(then, guard=True):
            if piece.operand is None:
                text = literal(piece.value, op.result.type.dtype)
            else:
                text = self.value(op.operands[piece.operand], tuple(map(self.atom, piece.index)))
        then.append(Let(name, text))
        if piece.when is None:
            self.scopes[-1].body.extend(then)
            return
        otherwise: list[Statement] = []
        with self.scope(otherwise, guard=True):
            self._branches(op, rest, name)
        self.scopes[-1].body.append(If(piece.when, then, otherwise))

    def _indexed(self, op: Op, index: Index) -> str:
        x, where = op.operands
        axis, rank = op.attrs["axis"], len(where.shape)
        own = index if op.primitive is gather else index[axis : axis + rank]
        position = self.value(where, own)
        extent = self.param(x.shape[axis])
        message = f"index {{}} is out of bounds for dimension {axis} with size {x.shape[axis]}"
        safe = self.let(f"check_index({position}, {extent}, status, {self.site(IndexError, message)})")
        if x.shape[axis] == 0:  # the check fails, and there is nothing to read
            return self.let(literal(0, op.result.type.dtype))
        before, after = index[:axis], index[axis + (1 if op.primitive is gather else rank) :]
        return self.value(x, (*before, safe, *after))

    def _uniform(self, op: Op, index: Index) -> str:
        state = op.operands[0]
        seed, start = self.value(state, ("0",)), self.value(state, ("1",))
        flat = "0"
        for a, i in enumerate(index):
            flat = i if flat == "0" else f"({flat} * {self.extent(op.result, a)} + {i})"
        return self.let(f"uniform_{op.result.type.dtype.short}({seed}, {start}, {flat})")

    # Reductions.

    def _reduction(self, op: Op, index: Index) -> str:
        """A loop over the reduced axes, in the scope of the row."""
        (x,) = op.operands
        depth = self.depth_of(*index)
        name, best = self.fresh("a"), self.fresh("b")
        self.depth[name] = self.depth[best] = depth
        with self.at(depth):
            body = self.scopes[-1].body
            is_arg = op.primitive in (argmax, argmin)
            start = identity(op)
            if is_arg:
                body += [Let(name, "0"), Let(best, start)]
            else:
                body.append(Let(name, start))
            with self.iterations(op.attrs["axes"], x) as elements:
                for variables in elements:
                    element = self.value(x, self.join(index, op.attrs["axes"], variables))
                    if is_arg:
                        better = f"{'better' if op.primitive is argmax else 'worse'}({element}, {best})"
                        first = " or ".join([better, f"{variables[0]} == 0"])
                        self.scopes[-1].body.append(If(first, [Let(name, variables[0]), Let(best, element)], []))
                    else:
                        self.scopes[-1].body.append(Let(name, combine(op, name, element)))
        return name

    @contextmanager
    def loops(self, axes: Sequence[int], v: Value) -> Iterator[Index]:
        """Nested loops over the given axes of ``v``, entered; gives the variables."""
        variables = tuple(self.fresh("r") if v.shape[a] != 1 else "0" for a in axes)
        with ExitStack() as stack:
            for i, a in zip(variables, axes, strict=True):
                if i != "0":
                    stack.enter_context(self.loop(Loop(i, "0", self.extent(v, a))))
            yield variables

    @contextmanager
    def iterations(self, axes: Sequence[int], v: Value) -> Iterator[list[Index]]:
        """As ``loops``, but short axes are written out: what an element needs is then known to the others, and the loop around
        them is the innermost, which is the one that becomes vector code."""
        short: list[int] = []
        for a in sorted(axes, key=lambda a: v.shape[a]):
            if math.prod(v.shape[b] for b in (*short, a)) <= _SHORT:
                short.append(a)
        with self.loops([a for a in axes if a not in short], v) as variables:
            long = iter(variables)
            choices = [[str(i) for i in range(v.shape[a])] if a in short else [next(long)] for a in axes]
            yield list(itertools.product(*choices))

    @contextmanager
    def loop(self, loop: Loop) -> Iterator[None]:
        """Inside the loop. It is appended when complete: what its body hoists must come before it."""
        outside = self.scopes[-1].body
        with self.scope(loop.body, loop.variable):
            yield
        outside.append(loop)

    @staticmethod
    def join(row: Index, axes: Sequence[int], variables: Index) -> Index:
        """The index of the whole domain, from that of the row and the reduced axes' variables."""
        kept, reduced = iter(row), dict(zip(axes, variables, strict=True))
        return tuple(reduced[i] if i in reduced else next(kept) for i in range(len(row) + len(axes)))


def _is_elementwise(v: Value) -> bool:
    return v.op is not None and v.op.primitive.kind is Kind.ELEMENTWISE


def identity(op: Op) -> str:
    dtype = op.result.type.dtype
    if op.primitive is sum_:
        return literal(0, dtype)
    dtype = op.operands[0].type.dtype
    if dtype.kind == "f":
        return literal(-np.inf if op.primitive in (max_, argmax) else np.inf, dtype)
    if dtype.kind == "b":
        return literal(op.primitive in (min_, argmin), dtype)
    info = np.iinfo(dtype.numpy)
    return literal(info.min if op.primitive in (max_, argmax) else info.max, dtype)


def combine(op: Op, so_far: str, element: str) -> str:
    function = {sum_: "accumulate", max_: "maximum", min_: "minimum"}[op.primitive]
    text = f"{function}({so_far}, {element})"
    dtype = op.result.type.dtype
    return f"{dtype.short}({text})" if dtype.kind in "ui" and dtype.short != "i64" else text


Results = Sequence[tuple[Value, int]]  # values to store, with the number of the array


def lower(body: Graph, inplace: Mapping[int, int] | None = None) -> Kernel:
    """The loop nest of a fusion's body. ``inplace`` maps a result's position to that of the operand it replaces."""
    body = _collapsed(body)
    low = Lowering(body)
    reused = inplace or {}
    results = [(v, reused[i] if i in reused else low.add_array(v)) for i, v in enumerate(body.outputs)]
    reductions = [op for op in body.ops if op.primitive.kind is Kind.REDUCTION]
    if reductions:
        # Where both rows and columns are reduced, the columns say how the nest is made: rows are complete inside it.
        last = next((op for op in reductions if len(op.operands[0].shape) - 1 not in op.attrs["axes"]), reductions[0])
        axes, x = last.attrs["axes"], last.operands[0]
        both = any(op.attrs["axes"] != axes for op in reductions)
        columns = len(x.shape) - 1 not in axes and (x.shape[-1] >= _FEW or both)
        if columns and all(op.primitive in (sum_, max_, min_) for op in reductions):
            domain = _column_nest(low, results, x.shape, axes, x)
        else:
            domain = _row_nest(low, results, x.shape, axes)
    else:
        shape = max((v.shape for v in body.outputs), key=len)
        rank = min(len(v.shape) for v in body.outputs)
        # Without reductions the last axis is the inner loop, unless it is the only one; or those that rows lack.
        inner = range(rank, len(shape)) if rank < len(shape) else range(max(len(shape) - 1, 1), len(shape))
        domain = _row_nest(low, results, shape, tuple(inner))
    return low.finish(domain)


def _collapsed(body: Graph) -> Graph:
    """The same body with neighbouring axes as one where all of its operations treat them alike: longer loops, and fewer.

    Those are elementwise, or reduce the same axes, or repeat rows along them.
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

    The range that is split among callers is the outermost axis of the rows that has more than one element.
    """
    kept = kept_axes(len(shape), axes)
    like = Value(results[0][0].type.with_shape(shape))
    first = next((a for a in kept if shape[a] != 1), None)
    others = [a for a in kept if a != first]
    with low.loop(Loop("i0", "start", "stop")), low.loops(others, like) as variables:
        names = dict(zip(others, variables, strict=True))
        row = tuple("i0" if a == first else names[a] for a in kept)
        _store(low, [(v, k) for v, k in results if len(v.shape) != len(shape)], row)
        whole = [(v, k) for v, k in results if len(v.shape) == len(shape)]
        if whole:
            with low.iterations(axes, like) as elements:
                for inner in elements:
                    _store(low, whole, low.join(row, axes, inner))
    return 1 if first is None else shape[first]


def _store(low: Lowering, results: Results, index: Index) -> None:
    """Stores element ``index`` of each result, all of them computed before any is stored: one may replace an operand."""
    names = [low.value(v, index) for v, _ in results]
    for (v, k), name in zip(results, names, strict=True):
        low.scopes[-1].body.append(Store(low.arrays[k].name, low.offset(v, index), name))


def _is_sum(v: Value, axes: tuple[int, ...]) -> bool:
    """Whether a value is a reduction over these axes."""
    return v.op is not None and v.op.primitive.kind is Kind.REDUCTION and v.op.attrs["axes"] == axes


def _column_nest(low: Lowering, results: Results, shape: tuple[int, ...], axes: tuple[int, ...], x: Value) -> int:
    """for each row: add its elements to results that stay in memory.

    The range that is split is the outermost axis that is kept; the columns, a range of them at a time, where there is no other.
    """
    last = len(shape) - 1
    sums = [(v, k, v.op) for v, k in results if v.op is not None and _is_sum(v, axes)]
    whole = [(v, k) for v, k in results if len(v.shape) == len(shape)]
    rows = [(v, k) for v, k in results if len(v.shape) < len(shape) and not _is_sum(v, axes)]
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
        with low.loops(axes, x) as reduced:
            _store(low, rows, low.join((*lead, ""), axes, reduced)[:-1])
            with low.loop(loop := columns()):
                index = low.join((*lead, loop.variable), axes, reduced)
                body = low.scopes[-1].body
                elements = [low.value(op.operands[0], index) for _, _, op in sums]
                _store(low, whole, index)
                for (v, k, op), element in zip(sums, elements, strict=True):
                    name, offset, so_far = low.arrays[k].name, low.offset(v, (*lead, loop.variable)), low.fresh("t")
                    body.append(Let(so_far, f"load({name}, {offset})"))
                    body.append(Store(name, offset, combine(op, so_far, element)))
    if split is None:
        low.grain = _COLUMNS
        return shape[last]
    return shape[split]
