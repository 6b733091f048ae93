"""Kernels of contractions: products whose operands and result are strided views."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ..ir.graph import Op
from ..ir.ops.contract import repays_tiles, roles, tiles
from ..ir.types import float32, float64
from .loops import Lowering, literal
from .nest import Accumulate, Array, Combine, Do, Kernel, Let, Loop, Reduce, Store

AXES = 4  # of the rows, columns or terms of a call
CONTRACTED = 1 + 3 * 3 * AXES  # numbers that describe a call
_STREAMS = 4  # rows that a matrix-vector product reads at once
_COLUMNS = 512  # per call: enough to pack the rows again
_FEW_ROWS = 28  # per call, at least
MOST_TERMS = 64  # terms that are added for a vector of columns
_LEAST = 4  # terms in a vector
_REPAID = 400  # tiles of a call that transforms the weights
_MANY_CHANNELS = 64  # that are divided among two calls, which transform the cotangent
_MOST_SUMS = 1 << 17  # pairs of channels: the sums of products stay in a cache
_MANY = 8  # matrices that are enough parts


@dataclass
class _Axis:
    """``extent`` is text, and so are the steps in a, b and c."""

    count: int
    extent: str
    steps: tuple[str, str, str]
    numbers: tuple[int, int, int]


def element(array: Array, offset: str) -> str:
    """A matrix element, in the type of the product's arithmetic."""
    text = f"load({array.name}, {offset})"
    return f"{array.dtype.wide.short}({text})" if array.dtype.is_half else text


def offset(start: str, *terms: tuple[str, str]) -> str:
    """The text of an offset: a start, and positions times steps."""
    parts = [] if start == "0" else [start]
    parts += [i if s == "1" else f"{i} * {s}" for i, s in terms if "0" not in (i, s)]
    return " + ".join(parts) or "0"


def matrix_vector(
    low: Lowering,
    matrix: tuple[Array, str, str, str],
    vector: tuple[Array, str, str],
    out: tuple[Array, str, str],
    count: int,
    terms: str,
    in_columns: bool,
    divided: bool,
) -> int:
    """A matrix-vector product with ``count`` results: each element is read once, so packing does not pay. Returns the number of
    parts; if ``divided``, those from ``start`` to ``stop`` are computed.

    An array has a start, and steps along the elements of the result and along the terms. If the matrix has its terms in rows,
    each row is summed; if in columns, scaled rows are added to the result.
    """
    a, a_start, a_step, a_inner = matrix
    x, x_start, x_inner = vector
    y, y_start, y_step = out
    bounds = ("start", "stop") if divided else ("0", low.param(count))

    def store(i: str, text: str) -> None:
        low.scopes[-1].body.append(Store(y.name, offset(y_start, (i, y_step)), text))

    def number(k: str) -> str:
        return element(x, offset(x_start, (k, x_inner)))

    def product(i: str, k: str, by: str) -> str:
        return f"{element(a, offset(a_start, (i, a_step), (k, a_inner)))} * {by}"

    def columns(ks: Sequence[str]) -> None:
        numbers = [low.let(number(k)) for k in ks]
        j = low.fresh("r")
        with low.loop(Loop(j, *bounds)):
            for k, t in zip(ks, numbers, strict=True):
                text = product(j, k, t)
                low.scopes[-1].body.append(Accumulate(y.name, offset(y_start, (j, y_step)), Combine.SUM, text, y.dtype))

    def rows(indices: Sequence[str]) -> None:
        totals, k = [low.fresh("a") for _ in indices], low.fresh("r")
        low.scopes[-1].body += [Let(total, literal(0, y.dtype)) for total in totals]
        with low.loop(Loop(k, "0", terms)):
            texts = [product(i, k, number(k)) for i in indices]
            for total, text in zip(totals, texts, strict=True):
                low.scopes[-1].body.append(Reduce(Combine.SUM, (total,), (text,), y.dtype))
        for i, total in zip(indices, totals, strict=True):
            store(i, total)

    if not in_columns:
        _by_groups(low, low.param(count), rows, divided)
        return -(-count // _STREAMS)
    i = low.fresh("r")
    with low.loop(Loop(i, *bounds)):
        store(i, literal(0, y.dtype))
    _by_groups(low, terms, columns)
    return count


def _by_groups(low: Lowering, count: str, body: Callable[[Sequence[str]], None], divided: bool = False) -> None:
    """Loops over groups of adjacent indices, then over those left: memory is read faster as several streams. A ``divided`` loop
    takes the groups from ``start`` to ``stop``; those left are the last one. So each index is always computed by the same loop.
    """
    whole = low.let(f"{count} // {_STREAMS}")
    first, last = ("start", low.let(f"minimum(stop, {whole})")) if divided else ("0", whole)
    g, i = low.fresh("r"), low.fresh("r")
    with low.loop(Loop(g, first, last, sequential=True)):
        start = low.let(f"{g} * {_STREAMS}")
        body([start, *(low.let(f"{start} + {n}") for n in range(1, _STREAMS))])
    after = low.let(f"maximum(start, {whole})") if divided else whole
    end = low.let(f"minimum(stop * {_STREAMS}, {count})") if divided else count
    with low.loop(Loop(i, low.let(f"{after} * {_STREAMS}"), end, sequential=True)):
        body([i])


def lower_contract(low: Lowering, op: Op, out: Array) -> Kernel:
    return _Contraction(low, op, out).kernel()


def is_direct(rows: int, columns: int, inner: Sequence[int]) -> bool:
    """True if a product is computed without packing, by vectors along the innermost axis of the columns or of the terms.

    Packing does not pay without reuse.
    """
    if math.prod(inner) <= MOST_TERMS:
        return 1 in (rows, columns, math.prod(inner))
    return (min(rows, columns) == 1 and inner[-1] >= _LEAST) or (rows * columns < MOST_TERMS and inner[-1] >= _LEAST)


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
        if self._is_matrix_vector():
            return self._matrices_by_vectors()
        rows, columns = (math.prod(x.count for x in part) for part in (self.rows, self.columns))
        batch = math.prod(x.count for x in self.batch)
        direct = is_direct(rows, columns, [x.count for x in self.inner])
        function, division = "direct" if direct else "contract", self._divided(batch, rows, columns, direct)
        if self._is_winograd():
            function, division = "winograd", self._images()
        elif self._is_gradient():
            function, division = "gradient", self._channels()
        axis, parts = division
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
            self._move_batch(rest)
            if self.image:
                self._clear()
            self._call(function)
        return low.finish(batch * parts)

    def _is_matrix_vector(self) -> bool:
        """True for products of matrices and vectors with one step per axis."""
        one = len(self.rows) + len(self.columns) == len(self.inner) == 1
        return one and not self.image and not self.op.operands[0].dtype.is_half

    def _matrices_by_vectors(self) -> Kernel:
        (axis,) = self.rows or self.columns
        if not self.batch:
            return self.low.finish(self._matrix_vector(axis, divided=True))
        with self.low.loop(Loop("i0", "start", "stop")):
            self._move_batch("i0")
            self._matrix_vector(axis, divided=False)
        return self.low.finish(math.prod(x.count for x in self.batch))

    def _matrix_vector(self, axis: _Axis, divided: bool) -> int:
        (term,) = self.inner
        m, v = (0, 1) if self.rows else (1, 0)
        matrix = self.low.arrays[m], self.at[m], axis.steps[m], term.steps[m]
        vector, out = (self.low.arrays[v], self.at[v], term.steps[v]), (self.out, self.at[2], axis.steps[2])
        in_columns = abs(axis.numbers[m]) < abs(term.numbers[m])
        return matrix_vector(self.low, matrix, vector, out, axis.count, term.extent, in_columns, divided)

    def _move_batch(self, number: str) -> None:
        """Starts at one of the products of a batch."""
        low = self.low
        for x in reversed(self.batch):
            self._move(x, low.let(f"{number} % {x.extent}"))
            number = low.let(f"{number} // {x.extent}")

    def _is_winograd(self) -> bool:
        """True for a convolution of 3 x 3 windows with stride 1 that has enough channels and tiles to repay transformations."""
        return self._has_windows(self.columns, self.inner) and self.columns[-1].numbers[2] == 1

    def _is_gradient(self) -> bool:
        """True for the gradient of such a convolution's weights."""
        large = self.rows[0].count * self.columns[0].count > _MOST_SUMS if self.rows and self.columns else True
        return not large and self._has_windows(self.inner, self.columns) and self.inner[-1].numbers[0] == 1

    def _has_windows(self, image: Sequence[_Axis], window: Sequence[_Axis]) -> bool:
        """True if b is read by windows of 3 x 3 with stride 1, one at each position in images, and Winograd's algorithm
        pays.
        """
        if self.image or self.batch or len(self.rows) != 1 or len(image) not in (2, 3) or len(window) != 3:
            return False
        if self.out.dtype not in (float32, float64) or self.op.operands[0].dtype is not self.out.dtype:
            return False
        steps = [[x.numbers[1] for x in axes[-2:]] for axes in (image, window)]
        if [x.count for x in window[-2:]] != [3, 3] or steps[0] != steps[1] or steps[0][1] != 1:
            return False
        *images, lines, columns = (x.count for x in image)
        return repays_tiles(self.rows[0].count, window[0].count, math.prod(images), lines, columns)

    def _channels(self) -> tuple[_Axis | None, int]:
        """Each call transforms the cotangent."""
        return (self.columns[0], 2) if self.columns[0].count >= _MANY_CHANNELS else (None, 1)

    def _images(self) -> tuple[_Axis | None, int]:
        """Each call transforms the weights, which takes about as long as the products of a few tiles."""
        if len(self.columns) == 2:
            return None, 1
        images, lines, columns = (x.count for x in self.columns)
        parts = min(images, images * tiles(lines, columns) // _REPAID)
        return (self.columns[0], parts) if parts > 1 else (None, 1)

    def _divided(self, batch: int, rows: int, columns: int, direct: bool) -> tuple[_Axis | None, int]:
        """The axis that is divided among calls, and the number of parts. Calls do not write to the same elements."""

        def free(x: _Axis) -> bool:
            return x.count > 1 and (not self.image or x.numbers[2] % self.image == 0)

        wide = next((x for x in self.columns if free(x)), None)
        if wide is not None:
            parts = -(-columns // _COLUMNS) if not direct else 1 if batch >= _MANY else wide.count
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
        text = offset(start, *terms)
        return text if text == "0" else self.low.atom(text)

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

    def _call(self, function: str) -> None:
        numbers = [str(int(self.image > 0))]
        for axes, arrays in ((self.rows, (0, 2)), (self.columns, (1, 2)), (self.inner, (0, 1))):
            missing = AXES - len(axes)
            numbers += ["1", "0", "0"] * missing
            numbers += [text for x in axes for text in (x.extent, *(x.steps[k] for k in arrays))]
        places = itertools.chain(*zip((x.name for x in self.low.arrays), self.at, strict=True))
        short = self.op.operands[0].dtype.short
        self.low.scopes[-1].body.append(Do(f"{function}_{short}(gemm, {', '.join([*places, *numbers])})"))
