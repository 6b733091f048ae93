"""Kernels of contractions: products whose operands and result are strided views."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ..ir.graph import Op
from ..ir.ops.contract import roles
from ..ir.types import DType, float64
from .loops import Lowering, literal
from .nest import Accumulate, Array, Combine, Do, Kernel, Let, Loop, Reduce, Store

AXES = 4  # of the rows, columns or terms of a call
CONTRACTED = 1 + 3 * 3 * AXES  # numbers that describe a call
_COLUMNS = 512  # per call: enough to pack the rows again
_FEW_ROWS = 28  # per call, at least
_SHORT = 64  # terms that are added in one expression
_LONG = 128  # terms that are added in their own format


@dataclass
class _Axis:
    """``extent`` is text, and so are the steps in a, b and c."""

    count: int
    extent: str
    steps: tuple[str, str, str]
    numbers: tuple[int, int, int]


def lower_contract(low: Lowering, op: Op, out: Array) -> Kernel:
    return _Contraction(low, op, out).kernel()


def is_direct(rows: int, columns: int) -> bool:
    """True if a product is computed by loops over the views: without reuse, packing does not pay."""
    return min(rows, columns) == 1 or rows * columns < _SHORT


class _Contraction:
    def __init__(self, low: Lowering, op: Op, out: Array):
        self.low, self.op, self.out = low, op, out
        attrs = op.attrs
        steps = [attrs[name] for name in ("a_steps", "b_steps", "c_steps")]
        axes = [_Axis(n, low.param(n), (*map(low.param, s),), s) for n, *s in zip(attrs["extents"], *steps, strict=True)]  # type: ignore[arg-type]
        self.batch, self.rows, self.columns, self.inner = ([axes[i] for i in kind] for kind in roles(*steps).values())
        self.at = [low.param(s) for s in attrs["starts"]]
        shape = attrs["shape"]
        self.image = math.prod(shape[len(shape) - attrs["folded"] :]) if attrs["folded"] else 0

    def kernel(self) -> Kernel:
        low = self.low
        rows, columns = (math.prod(x.count for x in part) for part in (self.rows, self.columns))
        batch = math.prod(x.count for x in self.batch)
        direct = is_direct(rows, columns)
        axis, parts = self._divided(batch, rows, columns, direct)
        with low.loop(Loop("i0", "start", "stop")):
            rest = "i0"
            if axis is not None:
                each = -(-axis.count // parts)
                parts = -(-axis.count // each)
                part = low.let(f"i0 % {low.param(parts)}") if parts > 1 else "0"
                rest = low.let(f"i0 // {low.param(parts)}") if parts > 1 else "i0"
                first = low.let(f"{part} * {low.param(each)}")
                self._move(axis, first)
                axis.extent = low.let(f"minimum({low.param(each)}, {axis.extent} - {first})")
            for x in reversed(self.batch):
                self._move(x, low.let(f"{rest} % {x.extent}"))
                rest = low.let(f"{rest} // {x.extent}")
            if self.image:
                self._clear()
            if direct:
                self._loops()
            else:
                self._call()
        return low.finish(batch * parts)

    def _divided(self, batch: int, rows: int, columns: int, direct: bool) -> tuple[_Axis | None, int]:
        """The axis that is divided among calls, and the number of parts. Calls do not write to the same elements."""

        def free(x: _Axis) -> bool:
            return x.count > 1 and (not self.image or x.numbers[2] % self.image == 0)

        wide = next((x for x in self.columns if free(x)), None)
        if wide is not None:
            parts = -(-columns // _COLUMNS) if not direct else wide.count
            parts += parts % 2  # two threads are the commonest number
            if parts > 1:
                return wide, min(parts, wide.count)
        tall = next((x for x in self.rows if free(x)), None)
        if batch == 1 and tall is not None and tall.count >= 2 * _FEW_ROWS:
            return tall, 2
        return None, 1

    def _move(self, axis: _Axis, by: str) -> None:
        """Starts at position ``by`` of an axis."""
        for k, step in enumerate(axis.steps):
            if step != "0":
                self.at[k] = self._sum(self.at[k], [(by, step)])

    def _sum(self, start: str, terms: Sequence[tuple[str, str]]) -> str:
        """The offset at positions of axes, given their steps."""
        parts = [] if start == "0" else [start]
        parts += [i if s == "1" else f"{i} * {s}" for i, s in terms if i != "0" and s != "0"]
        return self.low.atom(" + ".join(parts)) if parts else "0"

    def _place(self, array: int, index: Sequence[tuple[_Axis, str]]) -> str:
        return self._sum(self.at[array], [(i, x.steps[array]) for x, i in index])

    @contextmanager
    def _over(self, axes: Sequence[_Axis], sequential: bool = False) -> Iterator[list[tuple[_Axis, str]]]:
        """Nested loops over axes; yields each with its variable."""
        with ExitStack() as stack:
            index = []
            for x in axes:
                index.append((x, self.low.fresh("r")))
                stack.enter_context(self.low.loop(Loop(index[-1][1], "0", x.extent, sequential=sequential)))
            yield index

    def _clear(self) -> None:
        """Sets the images that this call adds to to zero."""
        low = self.low
        lead = [x for x in (*self.rows, *self.columns) if x.numbers[2] % self.image == 0]
        with self._over(lead) as index:
            start, i = self._place(2, index), low.fresh("r")
            with low.loop(Loop(i, "0", low.param(self.image))):
                low.scopes[-1].body.append(Store(self.out.name, f"{start} + {i}", literal(0, self.out.dtype)))

    def _call(self) -> None:
        numbers = [str(int(self.image > 0))]
        for axes, arrays in ((self.rows, (0, 2)), (self.columns, (1, 2)), (self.inner, (0, 1))):
            missing = AXES - len(axes)
            numbers += ["1", "0", "0"] * missing
            numbers += [text for x in axes for text in (x.extent, *(x.steps[k] for k in arrays))]
        places = itertools.chain(*zip((x.name for x in self.low.arrays), self.at, strict=True))
        short = self.op.operands[0].dtype.short
        self.low.scopes[-1].body.append(Do(f"contract_{short}(gemm, {', '.join([*places, *numbers])})"))

    # Loops.

    def _term(self, index: Sequence[tuple[_Axis, str]]) -> str:
        a, b = (_element(x, self._place(k, index)) for k, x in enumerate(self.low.arrays[:2]))
        return f"{a} * {b}"

    def _loops(self) -> None:
        terms = math.prod(x.count for x in self.inner)
        if self.image:
            with self._over([*self.rows, *self.inner, *self.columns], sequential=True) as index:
                place = self._place(2, index)
                self.low.scopes[-1].body.append(
                    Accumulate(self.out.name, place, Combine.SUM, self._term(index), self.out.dtype)
                )
        elif terms <= _SHORT:
            self._short_sums()
        else:
            self._long_sums()

    def _short_sums(self) -> None:
        """The terms of an element in one expression; the innermost loop is over columns."""
        low = self.low
        with self._over([*self.rows, *self.columns]) as index:
            total = literal(0, self.out.dtype)
            for position in itertools.product(*(range(x.count) for x in self.inner)):
                term = self._term([*index, *((x, str(i)) for x, i in zip(self.inner, position, strict=True))])
                total = low.let(f"accumulate({total}, {term})")
            low.scopes[-1].body.append(Store(self.out.name, self._place(2, index), total))

    def _long_sums(self) -> None:
        """The innermost loop is over terms; the sums of many loops are added in float64."""
        low, dtype = self.low, self.out.dtype
        *outer, last = self.inner
        wide: DType = float64 if math.prod(x.count for x in self.inner) > _LONG else dtype
        with self._over([*self.rows, *self.columns]) as index:
            total, part = low.fresh("a"), low.fresh("a")
            low.scopes[-1].body.append(Let(total, literal(0, wide)))
            with self._over(outer) as more:
                low.scopes[-1].body.append(Let(part, literal(0, dtype)))
                k = low.fresh("r")
                with low.loop(Loop(k, "0", last.extent)):
                    term = self._term([*index, *more, (last, k)])
                    low.scopes[-1].body.append(Reduce(Combine.SUM, (part,), (term,), dtype))
                low.scopes[-1].body.append(Reduce(Combine.SUM, (total,), (f"{wide.short}({part})",), wide))
            low.scopes[-1].body.append(Store(self.out.name, self._place(2, index), f"{dtype.short}({total})"))


def _element(array: Array, offset: str) -> str:
    """An element of an operand, in the type of the product's arithmetic."""
    text = f"load({array.name}, {offset})"
    return f"{array.dtype.wide.short}({text})" if array.dtype.is_half else text
