"""Elements as statements, for both back ends.

A loop nest is generated on demand, from the results backwards: ``value(v, index)`` returns a name for element ``index`` of
``v`` and appends the statements that compute it. Each statement goes to the outermost loop in which all its operands are
known. So values that depend only on the row are computed once per row, a reduction becomes a separate loop inside the row,
and loop-invariant code is never inside a loop in the first place.

A kernel takes one block of 64-bit arguments (addresses, then integers: extents, strides, offsets) and a range of its
domain. Its text depends on shapes only through extents that are 1 or short (unrolled).
"""

from __future__ import annotations

import itertools
import math
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir.graph import Graph, Op, Value
from ..ir.ops import (
    argmax,
    argmin,
    broadcast,
    cast,
    eq,
    full,
    gather,
    index_select,
    iota,
    max_,
    min_,
    neg,
    sum_,
    sum_lost,
    uniform,
    where,
)
from ..ir.ops.movement import near_axes, slice_
from ..ir.ops.reduce import SHORT
from ..ir.primitive import Kind, Piece
from ..ir.regions import Region, region_of
from ..ir.types import DType, bool_
from .jam import jam
from .nest import Array, Combine, If, Kernel, Let, Loop, Reduce, Statement, Store, wrapped
from .placed import PLACE

Index = tuple[str, ...]
_LONG = 64  # elements of an axis whose loop is worth vectorising


@dataclass
class _Scope:
    """The inside of a loop or a branch under construction."""

    body: list[Statement]
    known: dict[Any, str] = field(default_factory=dict)
    guard: bool = False


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
    """Generates the nest of one fusion body."""

    def __init__(self, body: Graph):
        self.graph = body
        self.arrays: list[Array] = []
        self.params: list[str] = []
        self.values: list[int] = []
        self.places: dict[int, int] = {}  # integers that are the starts of slices, by number (see ``placed.py``)
        self.checks: list[tuple[type[Exception], str]] = []
        self.depth: dict[str, int] = {}
        self.scopes = [_Scope([])]
        self.count = 0
        self.array_of: dict[Value, int] = {}
        self.strides: dict[tuple[int, ...], list[str]] = {}
        self.constants: dict[float, str] = {}
        self.extents: dict[tuple[tuple[int, ...], int], str] = {}
        self.grain = 1
        self.kept: dict[Value, str] = {}  # values kept between the loops of a row, and the array that holds them
        self._complete: set[tuple[Value, Index]] = set()  # and the rows that are complete
        self.memory: set[Value] = set()  # arrays of which slices are written
        self._places: dict[tuple[Value, int, int, int], tuple[str, str]] = {}  # starts and steps of slices, by value and axis
        for v in body.inputs:
            self.add_array(v)

    # Names and scopes.

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def param(self, value: int) -> str:
        """A run-time integer. 0 and 1 are text, because they change the code (no offset, no stride)."""
        if value >= PLACE:
            self.places[len(self.values)] = value - PLACE
        return str(value) if value in (0, 1) else self.fixed_param(value)

    def fixed_param(self, value: int) -> str:
        """A run-time integer, whatever its value: kernels that differ only in it share one text."""
        name = f"n{len(self.params)}"
        self.params.append(name)
        self.values.append(int(value))
        self.depth[name] = 0
        return name

    def constant(self, value: Any, dtype: DType) -> str:
        """A number. Floating-point numbers are run-time parameters, so that kernels that differ only in them share one text.

        Numbers that change LLVM's code are text: powers of two, zeros, and non-finite numbers.
        """
        if dtype.kind != "f":
            return literal(value, dtype)
        number = float(dtype.numpy.type(value))
        if not math.isfinite(number) or abs(math.frexp(number)[0]) in (0.0, 0.5):
            return literal(value, dtype)
        if number not in self.constants:
            self.constants[number] = self.fixed_param(*struct.unpack("q", struct.pack("d", number)))
        return f"{dtype.short}(real({self.constants[number]}))"

    def add_array(self, v: Value) -> int:
        k = len(self.arrays)
        self.arrays.append(Array(f"p{k}", v.type.dtype))
        self.depth[f"p{k}"] = 0
        self.array_of.setdefault(v, k)
        return k

    def depth_of(self, *texts: str) -> int:
        """The innermost scope of any name in the texts, but not outside a branch."""
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
        """A name for an expression, computed once and as far out as possible."""
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
        """The offset of element ``index`` of ``v``, in elements from its start."""
        if v.shape not in self.strides:
            inner = [v.shape[a + 1 :] for a in range(len(v.shape))]
            # The stride over short axes is text, so that the spacing within a vector is known.
            texts = [str(math.prod(i)) if max(i, default=1) <= SHORT else self.param(math.prod(i)) for i in inner]
            self.strides[v.shape] = [s if n != 1 else "0" for s, n in zip(texts, v.shape, strict=True)]
        terms = [
            i if s == "1" else f"{i} * {s}"
            for i, s, n in zip(index, self.strides[v.shape], v.shape, strict=True)
            if n != 1 and i != "0"
        ]
        return " + ".join(terms) or "0"

    def placed(self, x: Value, region: Region, shape: tuple[int, ...], index: Index) -> Index:
        """The position in ``x`` of element ``index`` of a slice of it, which may lack axes of extent 1.

        Slices of one value that start at the same place along an axis have equal text there. So it is visible that a replaced
        element is read before, in the same iteration, and LLVM loads an element once, and adjacent ones as a vector.
        """
        places = []
        moving = iter([i for i, n in zip(index, shape, strict=True) if n != 1])
        for axis, (r, near) in enumerate(zip(region, near_axes(x.shape), strict=True)):
            key = x, axis, r.start, r.step
            if key not in self._places:
                param = str if near else self.param
                self._places[key] = param(r.start), param(r.step)
            start, step = self._places[key]
            i = next(moving) if len(r) != 1 else "0"
            terms = [f"{i} * {step}" if step != "1" else i] if i != "0" else []
            terms += [start] if start != "0" else []
            places.append(self.atom(" + ".join(terms) or "0"))
        return tuple(places)

    def finish(self, domain: int) -> Kernel:
        body = jam(self.scopes[0].body)
        return Kernel(self.arrays, self.params, self.values, body, domain, self.checks, self.grain, self.places)

    # Elements.

    def value(self, v: Value, index: Index) -> str:
        """A name for element ``index`` of ``v``."""
        name = self.known((v, index))
        if name is not None:
            return name
        # Chains of elementwise operations may exceed Python's stack: their operands are generated first.
        work = [v]
        while work:
            u = work[-1]
            if _is_elementwise(u) and not self._is_kept(u, index):
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
            if self._is_kept(v, index):
                return self.let(f"load({self.kept[v]}, {self.offset(v, index)})")
            names = [self.value(o, index) for o in op.operands]
            return self.let(self._scalar(op, names))
        if kind is Kind.REDUCTION:
            return self._reduction(op, index)
        if kind is Kind.MOVEMENT:
            return self._movement(op, index)
        if op.primitive is full:
            return self.let(self.constant(op.attrs["value"], v.type.dtype))
        if op.primitive is iota:
            return self.let(f"{v.type.dtype.short}({index[op.attrs['axis']]})")
        if op.primitive is uniform:
            return self._uniform(op, index)
        if op.primitive in (index_select, gather):
            return self._indexed(op, index)
        raise NotImplementedError(f"no code for {op.primitive.name} inside a fusion")

    def _is_kept(self, v: Value, index: Index) -> bool:
        """True if an earlier loop over the row has stored the element."""
        return v in self.kept and (v, index[:-1]) in self._complete

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
        return wrapped(text, result)

    def site(self, error: type[Exception], message: str) -> str:
        """The number of a place in the kernel that may fail, with its error."""
        self.checks.append((error, message))
        return str(len(self.checks) - 1)

    def _movement(self, op: Op, index: Index) -> str:
        if op.primitive is slice_ or (op.operands and op.operands[0] in self.memory):
            return self.value(op.operands[0], self.placed(op.operands[0], region_of(op), op.result.shape, index))
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

    def _branches(self, op: Op, pieces: list[Piece], name: str) -> None:
        """``name`` = the first piece whose condition holds, by bisection. Loads stay in the branch that makes them safe."""
        if len(pieces) > 1:
            half = len(pieces) // 2
            sides: list[list[Statement]] = []
            for side in (pieces[:half], pieces[half:]):
                sides.append([])
                with self.scope(sides[-1], guard=True):
                    self._branches(op, side, name)
            when = pieces[half - 1].when
            assert when is not None
            self.scopes[-1].body.append(If(when, *sides))
            return
        (piece,) = pieces
        if piece.operand is None:
            text = literal(piece.value, op.result.type.dtype)
        else:
            text = self.value(op.operands[piece.operand], tuple(map(self.atom, piece.index)))
        self.scopes[-1].body.append(Let(name, text))

    def _indexed(self, op: Op, index: Index) -> str:
        x, where = op.operands
        axis, rank = op.attrs["axis"], len(where.shape)
        own = index if op.primitive is gather else index[axis : axis + rank]
        position = self.value(where, own)
        extent = self.param(x.shape[axis])
        message = f"index {{}} is out of bounds for dimension {axis} with size {x.shape[axis]}"
        safe = self.let(f"check_index({position}, {extent}, status, {self.site(IndexError, message)})")
        if x.shape[axis] == 0:  # the check fails, so nothing is read
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
        """A loop over the reduced axes, in the row's scope."""
        (x,) = op.operands
        if op.primitive is sum_lost:  # row sums go by blocks, which lose nothing
            return self.let(literal(0, op.result.type.dtype))
        position = picks_one(op)
        if position is not None:
            return self._picked(op, index, position)
        depth = self.depth_of(*index)
        name, best = self.fresh("a"), self.fresh("b")
        self.depth[name] = self.depth[best] = depth
        with self.at(depth):
            body = self.scopes[-1].body
            combine = combination(op)
            is_arg = combine.is_pair
            # NaN wins. Handling it separately gives better vector code for comparisons.
            nan_apart = op.primitive in (max_, min_) and x.type.dtype.kind == "f"
            start = identity(op)
            if is_arg:
                body += [Let(name, "0"), Let(best, start)]
            else:
                body += [Let(name, start), *([Let(best, literal(False, bool_))] if nan_apart else [])]
            kept: list[tuple[Value, Index]] = []
            with self.iterations(op.attrs["axes"], x) as elements:
                for variables in elements:
                    whole = self.join(index, op.attrs["axes"], variables)
                    element = self.value(x, whole)
                    kept += self._keep(whole)
                    inside, dtype = self.scopes[-1].body, op.result.type.dtype
                    if is_arg:
                        inside.append(Reduce(combine, (name, best), (variables[0], element), dtype))
                    elif nan_apart:
                        number = Combine.GREATER if combine is Combine.MAX else Combine.LESS
                        inside.append(Reduce(number, (name,), (element,), dtype))
                        inside.append(Reduce(Combine.ANY, (best,), (f"{element} != {element}",), bool_))
                    else:
                        inside.append(Reduce(combine, (name,), (element,), dtype))
            self._complete.update(kept)
            if nan_apart:
                return self.let(f"select({best}, {literal(np.nan, x.type.dtype)}, {name})")
        return name

    def _keep(self, index: Index) -> Iterator[tuple[Value, Index]]:
        """Stores an element's kept values, if this loop has computed them; yields the rows that are begun."""
        for v, array in self.kept.items():
            name = self.scopes[-1].known.get((v, index))
            if name is not None and (v, index[:-1]) not in self._complete:
                self.scopes[-1].body.append(Store(array, self.offset(v, index), name))
                yield v, index[:-1]

    def _picked(self, op: Op, index: Index, position: Value) -> str:
        """A sum with a single non-zero term: that term, if the position is within the axis."""
        (x,), axes = op.operands, op.attrs["axes"]
        at = self.value(position, self.join(index, axes, ("0",)))
        inside = self.let(f"({at} >= 0) & ({at} < {self.extent(x, axes[0])})")
        safe = self.let(f"select({inside}, i64({at}), 0)")
        element = self.value(x, self.join(index, axes, (safe,)))
        picked = f"select({inside}, {element}, {literal(0, x.type.dtype)})"
        return self.let(wrapped(combination(op).text(identity(op), picked), op.result.type.dtype))

    @contextmanager
    def loops(self, axes: Sequence[int], v: Value, sequential: bool = False) -> Iterator[Index]:
        """Enters nested loops over the given axes of ``v``; yields the variables."""
        variables = tuple(self.fresh("r") if v.shape[a] != 1 else "0" for a in axes)
        with ExitStack() as stack:
            for i, a in zip(variables, axes, strict=True):
                if i != "0":
                    stack.enter_context(self.loop(Loop(i, "0", self.extent(v, a), sequential=sequential)))
            yield variables

    @contextmanager
    def iterations(self, axes: Sequence[int], v: Value) -> Iterator[list[Index]]:
        """Like ``loops``, but short axes are unrolled: elements share values, and the surrounding loop is the innermost, which
        LLVM vectorises.

        Short axes around a long one are loops: the long one is vectorised, and unrolling would multiply the streams of memory
        accesses.
        """
        short: list[int] = []
        last = max((a for a in axes if v.shape[a] >= _LONG), default=-1)
        for a in sorted(axes, key=lambda a: v.shape[a]):
            if a > last and math.prod(v.shape[b] for b in (*short, a)) <= SHORT:
                short.append(a)
        with self.loops([a for a in axes if a not in short], v) as variables:
            long = iter(variables)
            choices = [[str(i) for i in range(v.shape[a])] if a in short else [next(long)] for a in axes]
            yield list(itertools.product(*choices))

    @contextmanager
    def loop(self, loop: Loop) -> Iterator[None]:
        """Enters the loop. It is appended when complete, because statements hoisted from its body must precede it."""
        outside = self.scopes[-1].body
        with self.scope(loop.body, loop.variable):
            yield
        outside.append(loop)

    @staticmethod
    def join(row: Index, axes: Sequence[int], variables: Index) -> Index:
        """The index in the whole domain, from the row's index and the reduced axes' variables."""
        kept, reduced = iter(row), dict(zip(axes, variables, strict=True))
        return tuple(reduced[i] if i in reduced else next(kept) for i in range(len(row) + len(axes)))


def picks_one(op: Op) -> Value | None:
    """For a sum over one axis whose terms are non-zero only where the axis's index equals a value: that value.

    Such a sum selects the score of a class, for example.
    """
    axes = op.attrs["axes"]
    (x,) = op.operands
    if op.primitive is not sum_ or len(axes) != 1 or x.shape[axes[0]] <= SHORT:  # short axes are unrolled
        return None
    while x.op is not None and x.op.primitive in (neg, cast):
        (x,) = x.op.operands
    if x.op is None or x.op.primitive is not where:
        return None
    condition, _, otherwise = (v.op for v in x.op.operands)
    if otherwise is None or otherwise.primitive is not full or otherwise.attrs["value"] != 0:
        return None
    if condition is None or condition.primitive is not eq:
        return None
    for numbers, position in itertools.permutations(condition.operands):
        made, moved = numbers.op, position.op
        counts = made is not None and made.primitive is iota and made.attrs["axis"] == axes[0]
        if counts and moved is not None and moved.primitive is broadcast and axes[0] not in moved.attrs["axes"]:
            return position
    return None


def _is_elementwise(v: Value) -> bool:
    return v.op is not None and v.op.primitive.kind is Kind.ELEMENTWISE


def identity(op: Op) -> str:
    dtype = op.result.type.dtype
    if op.primitive in (sum_, sum_lost):
        return literal(0, dtype)
    dtype = op.operands[0].type.dtype
    if dtype.kind == "f":
        return literal(-np.inf if op.primitive in (max_, argmax) else np.inf, dtype)
    if dtype.kind == "b":
        return literal(op.primitive in (min_, argmin), dtype)
    info = np.iinfo(dtype.numpy)
    return literal(info.min if op.primitive in (max_, argmax) else info.max, dtype)


def combination(op: Op) -> Combine:
    """How a reduction combines two elements."""
    if op.primitive is sum_ and op.result.type.dtype is bool_:
        return Combine.ANY
    kinds = {max_: Combine.MAX, min_: Combine.MIN, argmax: Combine.ARGMAX, argmin: Combine.ARGMIN}
    return kinds.get(op.primitive, Combine.SUM)
