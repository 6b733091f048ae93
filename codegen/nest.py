"""Kernels before they are text: statements, loops and branches over named numbers and arrays.

A nest says once, for all back ends, what may run in parallel. The iterations of a loop are independent, except for what its
reductions carry, unless the loop is ``sequential``. ``mapping`` decides what runs them (the threads of a block, for
example); the text for the CPU ignores that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ..ir.types import DType


@dataclass
class Let:
    """``name = expression``."""

    name: str
    expression: str


@dataclass
class Store:
    """``lanes``: adjacent elements stored at once."""

    array: str
    offset: str
    value: str
    lanes: int = 1


class Combine(StrEnum):
    """How a reduction combines two values. ``GREATER`` and ``LESS`` ignore NaN; ``ARGMAX`` and ``ARGMIN`` combine pairs."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    GREATER = "greater"
    LESS = "less"
    PROD = "prod"
    ANY = "any"
    ARGMAX = "argmax"
    ARGMIN = "argmin"

    @property
    def is_pair(self) -> bool:
        return self in (Combine.ARGMAX, Combine.ARGMIN)

    def text(self, so_far: str, value: str) -> str:
        """The two values combined, as an expression."""
        if self is Combine.ANY:
            return f"{so_far} | ({value})"
        if self is Combine.PROD:
            return f"{so_far} * {value}"
        function = {"sum": "accumulate", "max": "maximum", "min": "minimum"}.get(self, self.value)
        return f"{function}({so_far}, {value})"


@dataclass
class Reduce:
    """A reduction step: ``names`` combined with ``values``. Pairs are a position and its element.

    ``dtype``: narrow integers wrap to it.
    """

    combine: Combine
    names: tuple[str, ...]
    values: tuple[str, ...]
    dtype: DType

    def lines(self) -> list[Statement]:
        """The step as plain statements."""
        if self.combine.is_pair:
            (position, best), (index, element) = self.names, self.values
            better = "better" if self.combine is Combine.ARGMAX else "worse"
            return [If(f"{better}({element}, {best}) or {index} == 0", [Let(position, index), Let(best, element)], [])]
        (name,), (value,) = self.names, self.values
        return [Let(name, wrapped(self.combine.text(name, value), self.dtype))]


@dataclass
class Accumulate:
    """Combines an element of an array with a value."""

    array: str
    offset: str
    combine: Combine
    value: str
    dtype: DType

    def lines(self) -> list[Statement]:
        """The step as plain statements."""
        text = self.combine.text(f"load({self.array}, {self.offset})", self.value)
        return [Store(self.array, self.offset, wrapped(text, self.dtype))]


@dataclass
class Compensated(Accumulate):
    """Adds a value to a sum in memory, and keeps the rounding error in an element of another array.

    The next value takes the error along, so it stays small however many values there are (W. Kahan, Further remarks on reducing
    truncation errors, 1965). It is not a number after the sum has become infinite, and is left out then.
    """

    lost: str = ""

    def lines(self) -> list[Statement]:
        """The step as plain statements: a sum's exact error is representable in its format (Knuth, TAOCP 2, 4.2.2)."""
        before, after, part, error, value = (f"{letter}{self.value[1:]}0{self.array[1:]}" for letter in "suzlv")
        return [
            Let(before, f"load({self.array}, {self.offset})"),
            Let(error, f"load({self.lost}, {self.offset})"),
            Let(value, f"{self.value} + select({error} == {error}, {error}, {self.dtype.short}(0.0))"),
            Let(after, f"{before} + {value}"),
            Let(part, f"{after} - {before}"),
            Store(self.array, self.offset, after),
            Store(self.lost, self.offset, f"(({before} - ({after} - {part})) + ({value} - {part}))"),
        ]


def wrapped(text: str, dtype: DType) -> str:
    """Integer arithmetic uses 64 bits, and wraps when it is stored in fewer."""
    return f"{dtype.short}({text})" if dtype.kind in "ui" and dtype.short != "i64" else text


class Who(StrEnum):
    """What runs the iterations of a loop."""

    EACH = "range"  # every thread runs all iterations
    GRID = "grid"  # divided among all threads
    BLOCKS = "blocks"  # a block takes one at a time
    WARPS = "warps"  # a warp takes one at a time
    THREADS = "threads"  # divided among the threads of the block or warp that runs the enclosing loop


@dataclass
class Loop:
    """``lanes``: adjacent iterations that a thread takes at once. ``masked``: a vector with masks computes the last ones."""

    variable: str
    start: str
    stop: str
    body: list[Any] = field(default_factory=list)
    sequential: bool = False
    who: Who = Who.EACH
    lanes: int = 1
    masked: bool = False


@dataclass
class If:
    condition: str
    then: list[Any]
    otherwise: list[Any]

    @property
    def terms(self) -> list[str]:
        """The comparisons that must all hold."""
        return self.condition.split(" and ")


@dataclass
class Do:
    """An expression evaluated for its effect."""

    expression: str


@dataclass
class Join:
    """Combines a reduction's values from all threads of a ``unit`` (block or warp) into one, the same in all threads."""

    combine: Combine
    names: tuple[str, ...]
    unit: str


Statement = Let | Store | Reduce | Accumulate | Loop | If | Do | Join


def walk(statements: Sequence[Statement]) -> Iterator[Statement]:
    """The statements and those inside them."""
    for s in statements:
        yield s
        if isinstance(s, Loop):
            yield from walk(s.body)
        elif isinstance(s, If):
            yield from walk(s.then)
            yield from walk(s.otherwise)


_NAME = re.compile(r"[a-z]\d+\b")


def renamed(s: Statement, names: Mapping[str, str]) -> Statement:
    """The statement with other names."""

    def text(t: str) -> str:
        return _NAME.sub(lambda m: names.get(m.group(), m.group()), t)

    def body(statements: Sequence[Statement]) -> list[Statement]:
        return [renamed(x, names) for x in statements]

    if isinstance(s, Let):
        return Let(text(s.name), text(s.expression))
    if isinstance(s, Store):
        return replace(s, offset=text(s.offset), value=text(s.value))
    if isinstance(s, Reduce):
        return replace(s, names=tuple(map(text, s.names)), values=tuple(map(text, s.values)))
    if isinstance(s, Join):
        return replace(s, names=tuple(map(text, s.names)))
    if isinstance(s, Accumulate):
        return replace(s, offset=text(s.offset), value=text(s.value))
    if isinstance(s, Loop):
        return replace(s, variable=text(s.variable), start=text(s.start), stop=text(s.stop), body=body(s.body))
    if isinstance(s, If):
        return If(text(s.condition), body(s.then), body(s.otherwise))
    return Do(text(s.expression))


@dataclass(frozen=True)
class Array:
    """An operand or result of a kernel: contiguous, in row-major order."""

    name: str
    dtype: DType


@dataclass
class Kernel:
    """A loop nest. ``domain`` is the range to divide: a call of the kernel computes a part of [0, domain)."""

    arrays: list[Array]
    params: list[str]  # names of the integers that follow the addresses in the argument block
    values: list[int]  # and their values for the current shapes
    body: list[Statement]
    domain: int
    checks: list[tuple[type[Exception], str]]  # errors to raise, by site
    grain: int = 1  # the minimum part of the domain worth a separate call
    places: dict[int, int] = field(default_factory=dict)  # the positions of starts of slices in ``values``, with their numbers

    def at(self, starts: Sequence[int]) -> Kernel:
        """The kernel for slices that begin there."""
        values = list(self.values)
        for position, number in self.places.items():
            values[position] = starts[number]
        return replace(self, values=values, places={})

    @property
    def written(self) -> set[str]:
        """The names of the arrays that the kernel writes."""
        return {s.array for s in walk(self.body) if isinstance(s, Store | Accumulate)}
