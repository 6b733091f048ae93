"""Kernels of scans and sorts, along one axis of an array.

A scan's lines are independent, and within a line each element follows from the one before. Several adjacent lines are computed
together: their elements are adjacent in memory, or their chains of dependent additions overlap.

Sorts are merge-exchange networks (Batcher; Knuth, TAOCP 3, 5.2.2, algorithm M), whose comparisons do not depend on the data.
A key has an element's order in the high half and its position in the low half, so keys differ, and the sort is stable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir.graph import Op
from ..ir.ops import argsort, cumargmax, cumprod, cumsum, recurrence
from ..ir.ops.summation import WIDE
from ..ir.primitive import Primitive
from ..ir.types import DType, dtype_of, int64
from .loops import Lowering, literal
from .nest import Array, If, Kernel, Let, Loop, Statement, Store

_TOGETHER = 16  # adjacent lines in one iteration, if they are columns of a matrix
_CHAINS = 4  # lines in one iteration, if they are rows: an addition takes four cycles
_SHORT_RUN = 8  # elements of a run, of which a vector holds several


@dataclass
class _Line:
    """One line: its state's names, and the offset of its first element."""

    state: list[str]
    base: str


Update = Callable[[Lowering, _Line, str, Sequence[str]], str]


def lower_scan(low: Lowering, op: Op, out: Array) -> Kernel:
    """The kernel of a scan."""
    start, update = _SCANS[op.primitive]
    x = op.operands[0]
    axis = op.attrs["axis"]
    n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
    lines = math.prod(x.shape[:axis]) * inner
    together = next(k for k in (_TOGETHER, 8, 4, 2, 1) if inner % k == 0) if inner > 1 else min(_CHAINS, max(lines, 1))
    extent, step = low.param(n), low.param(inner)
    with low.loop(Loop("i0", "start", "stop")):
        body = low.scopes[-1].body
        found: list[_Line] = []
        for k in range(together):
            line = f"i0 * {together} + {k}" if together > 1 else "i0"
            if inner == 1 and lines % together:  # the last iteration repeats the last line
                line = f"minimum({line}, {low.param(lines - 1)})"
            base = low.let(_first(low, low.atom(line), n, inner), "j")
            state = [low.fresh("a") for _ in start(op)]
            body += [Let(name, text) for name, text in zip(state, start(op), strict=True)]
            found.append(_Line(state, base))
        position = low.fresh("r")
        with low.loop(Loop(position, "0", extent, sequential=True)):
            at = f"({extent} - 1 - {position})" if op.attrs.get("reverse") else position
            offset = low.atom(f"{at} * {step}" if step != "1" else at)
            for one in found:
                place = low.atom(f"{one.base} + {offset}")
                elements = [low.let(_element(a, place)) for a in low.arrays[: len(op.operands)]]
                result = update(low, one, position, elements)
                low.scopes[-1].body.append(Store(out.name, place, f"{out.dtype.short}({result})"))
    return low.finish(-(-lines // together))


def _first(low: Lowering, line: str, n: int, inner: int) -> str:
    """The offset of a line's first element."""
    if inner == 1:
        return f"{line} * {low.param(n)}"
    step = low.param(inner)
    return f"{line} // {step} * {low.param(n * inner)} + {line} % {step}"


def _element(array: Array, place: str) -> str:
    """An element in the type of the state: sums of 32-bit numbers are in 64 bits."""
    return f"{_wide(array.dtype).short}(load({array.name}, {place}))"


def _wide(dtype: DType) -> DType:
    return int64 if dtype.kind in "bui" else dtype_of(WIDE.get(dtype.numpy, dtype.numpy))


def _starting_at(value: float) -> Callable[[Op], list[str]]:
    return lambda op: [literal(value, _wide(op.operands[0].type.dtype))]


def _set(low: Lowering, name: str, text: str) -> str:
    low.scopes[-1].body.append(Let(name, text))
    return name


def _sum(low: Lowering, line: _Line, position: str, elements: Sequence[str]) -> str:
    return _set(low, line.state[0], f"{line.state[0]} + {elements[0]}")


def _product(low: Lowering, line: _Line, position: str, elements: Sequence[str]) -> str:
    return _set(low, line.state[0], f"{line.state[0]} * {elements[0]}")


def _step(low: Lowering, line: _Line, position: str, elements: Sequence[str]) -> str:
    return _set(low, line.state[0], f"{elements[0]} * {line.state[0]} + {elements[1]}")


def _best(low: Lowering, line: _Line, position: str, elements: Sequence[str]) -> str:
    """The position of the last extremum so far; a NaN is one."""
    (x,), (place, best) = elements, line.state
    better = low.fresh("t")
    sign = ">=" if low.graph.ops[0].attrs["largest"] else "<="
    _set(low, better, f"({x} {sign} {best}) | ({x} != {x})")
    _set(low, best, f"select({better}, {x}, {best})")
    return _set(low, place, f"select({better}, {position}, {place})")


def _before_all(op: Op) -> list[str]:
    """A position, and an element that every other one replaces."""
    dtype = _wide(op.operands[0].type.dtype)
    largest = op.attrs["largest"]
    if dtype.kind == "f":
        return ["0", literal(-math.inf if largest else math.inf, dtype)]
    return ["0", literal(-(1 << 63) if largest else (1 << 63) - 1, dtype)]


_SCANS: dict[Primitive, tuple[Callable[[Op], list[str]], Update]] = {
    cumsum: (_starting_at(-0.0), _sum),  # which changes no element
    cumprod: (_starting_at(1), _product),
    recurrence: (_starting_at(0), _step),
    cumargmax: (_before_all, _best),
}


def lower_argsort(low: Lowering, op: Op, out: Array) -> Kernel:
    """The kernel of a stable sort. The result's memory holds the keys."""
    (x,), axis = op.operands, op.attrs["axis"]
    n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
    lines = math.prod(x.shape[:axis]) * inner
    levels = max(n - 1, 0).bit_length()  # 2**levels is at least n
    extent, step = low.param(n), low.param(inner)
    with low.loop(Loop("i0", "start", "stop")):
        base = low.let(_first(low, "i0", n, inner), "j")

        def place(position: str) -> str:
            return low.atom(f"{base} + {position} * {step}" if step != "1" else f"{base} + {position}")

        i = low.fresh("r")
        with low.loop(Loop(i, "0", extent)):
            order = low.let(f"ordered(load(p0, {place(i)}))")
            order = f"(-1 - {order})" if op.attrs["descending"] else order
            low.scopes[-1].body.append(Store(out.name, place(i), f"{order} * {1 << 32} + {i}"))
        # Pass (a, b) orders elements that are d apart, in every second run of p elements: p = 2**(levels - 1 - a).
        a, b = low.fresh("r"), low.fresh("r")
        with low.loop(Loop(a, "0", str(levels), sequential=True)):
            p = low.let(f"1 << ({levels - 1} - {a})")
            with low.loop(Loop(b, "0", low.atom(f"{a} + 1"), sequential=True)):
                apart = low.let(f"select({b} == 0, {p}, (1 << ({levels} - {b})) - {p})")
                skipped = low.let(f"select({b} == 0, 0, {p})")
                reach = low.let(f"maximum({extent} - {apart} - {skipped}, 0)")
                # The longer one of two loops, over runs and within them, is inside.
                short: list[Statement] = []
                with low.scope(short, guard=True):
                    o, run = low.fresh("r"), low.fresh("r")
                    with low.loop(Loop(o, "0", p)):
                        runs = low.let(f"(maximum({reach} - {o}, 0) + 2 * {p} - 1) // (2 * {p})")
                        start = low.let(f"{skipped} + {o}")
                        with low.loop(Loop(run, "0", runs)):
                            _exchange(low, out, place, low.atom(f"{run} * 2 * {p} + {start}"), apart)
                long: list[Statement] = []
                with low.scope(long, guard=True):
                    o, run = low.fresh("r"), low.fresh("r")
                    with low.loop(Loop(run, "0", low.let(f"({reach} + 2 * {p} - 1) // (2 * {p})"))):
                        start = low.let(f"{run} * 2 * {p} + {skipped}")
                        with low.loop(Loop(o, "0", low.let(f"minimum({p}, {extent} - {apart} - {start})"))):
                            _exchange(low, out, place, low.atom(f"{start} + {o}"), apart)
                low.scopes[-1].body.append(If(f"{p} < {_SHORT_RUN}", short, long))
        k = low.fresh("r")
        with low.loop(Loop(k, "0", extent)):
            low.scopes[-1].body.append(Store(out.name, place(k), f"load({out.name}, {place(k)}) & {(1 << 32) - 1}"))
    return low.finish(lines)


def _exchange(low: Lowering, out: Array, place: Callable[[str], str], position: str, apart: str) -> None:
    """Orders two keys."""
    here, there = place(position), place(low.atom(f"{position} + {apart}"))
    left, right = low.let(f"load({out.name}, {here})"), low.let(f"load({out.name}, {there})")
    low.scopes[-1].body += [
        Store(out.name, here, f"minimum({left}, {right})"),
        Store(out.name, there, f"maximum({left}, {right})"),
    ]


LOWERINGS = {**dict.fromkeys(_SCANS, lower_scan), argsort: lower_argsort}
