"""A recording in chronological order, cut at events: the basis for comparing and building paths.

A *span* is the part of a run between two events: the inputs it met, the operations, the steps of Python's arithmetic with
numbers. An *event* ends it, and the value that Python read selects the next span. Values and numbers are counted along the
path, so two recordings that begin alike use the same numbers as long as they agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..ir.graph import Op, Value
from ..ir.primitive import Primitive
from ..ir.types import TensorType
from ..runtime.devices import device_of
from .alike import Classes, chosen
from .applications import Application
from .counts import COUNT
from .entered import Entered
from .scalars import Element

if TYPE_CHECKING:
    from ..runtime.devices import Device
    from .recorder import Recorder
    from .sources import Source


@dataclass(frozen=True)
class Look:
    """Python reads the elements of a tensor, or the truth of its only one (``truth``)."""

    value: Any  # of the graph; in a span, its number
    truth: bool
    how: str
    loc: str
    counts: bool = field(default=False, compare=False)  # it is how many elements a mask selects, which Python has not read
    late = True

    def see(self, data: np.ndarray) -> Any:
        """The value read, as something hashable."""
        if self.truth:
            return bool(data)
        held = data.tobytes()
        return held if len(held) <= 256 else hashlib.blake2b(held, digest_size=16).digest()

    def __str__(self) -> str:
        return f"{self.how} at {self.loc}"


@dataclass(frozen=True)
class Decision:
    """A dynamic number decides how the run continues; ``late``: it depends on computed values."""

    number: int
    late: bool
    loc: str

    def __str__(self) -> str:
        return f"a number at {self.loc}"


@dataclass(frozen=True)
class Needed:
    """A number that depends on computed values enters the graph. Python reads no value here."""

    number: int
    loc: str
    late = True

    def __str__(self) -> str:
        return f"a number at {self.loc}"


@dataclass(frozen=True)
class Moment:
    """A clock is read, after the preceding values are computed. Python reads no value here."""

    loc: str
    late = True

    def __str__(self) -> str:
        return f"a clock at {self.loc}"


@dataclass(frozen=True)
class Gradient:
    """Whether a tensor has a gradient when the call begins, and which of the inputs it is, if any."""

    owner: Source
    loc: str
    late = False

    def see(self, gradient: Any, inputs: Mapping[int, int]) -> Any:
        """``inputs`` are the numbers of the inputs met so far, by the ids of their tensors."""
        if gradient is None:
            return None
        data = gradient._data
        return inputs.get(id(gradient), (data.dtype.char, data.shape, gradient._requires_grad))

    def __str__(self) -> str:
        return f"whether a tensor has a gradient, at {self.loc}"


Event = Look | Decision | Needed | Moment | Gradient | Application | Entered


class Seen(NamedTuple):
    """An event of a recording: the numbers of inputs, operations and numbers so far, and the value read."""

    event: Event
    at: tuple[int, int, int]
    what: Any


class Row(NamedTuple):
    """An operation whose operands are numbers of values; ``attributes`` as text, for comparison."""

    primitive: Primitive
    operands: tuple[int, ...]
    attributes: str
    types: tuple[TensorType, ...]
    op: Op

    def is_like(self, other: Row) -> bool:
        return self[:4] == other[:4]


class Input(NamedTuple):
    """A tensor that the run has met: its source, its type, whether gradients flow there, and its device, None for the CPU."""

    source: Source
    type: TensorType
    follows: bool
    device: Device | None = None


class Span(NamedTuple):
    inputs: tuple[Input, ...]
    rows: tuple[Row, ...]
    constants: tuple[Any, ...]  # one for each number: its value if that is a constant, else None
    roots: tuple[tuple[int, Any], ...]
    steps: tuple[tuple[int, Any, tuple[int, ...]], ...]
    event: Event | None
    seen: Any
    sensitive: frozenset[int]  # the values through which gradients of the inputs could flow

    def is_like(self, other: Span) -> bool:
        """True if another recording did the same, whatever value it read at the end."""
        same = len(self.inputs) == len(other.inputs) and len(self.rows) == len(other.rows)
        return (
            same
            and (self.event, self.steps) == (other.event, other.steps)
            and repr(self.constants) == repr(other.constants)
            and (self.roots, self.inputs) == (other.roots, other.inputs)
            and all(a.is_like(b) for a, b in zip(self.rows, other.rows, strict=True))
        )


def merged(a: Span, its: Classes, b: Span, others: Classes) -> Span | None:
    """What two recordings of one span have in common, in which different arguments are the same; None if they differ."""
    if its or others:
        mine, yours = _read(a), _read(b)
        if len(mine) != len(yours):
            return None
        common = [chosen(k, its, other, others) for k, other in zip(mine, yours, strict=True)]
        if -1 in common:
            return None
        a, b = (a if common == mine else _reading(a, common)), _reading(b, common)
    return a if a.is_like(b) else None


def _read(span: Span) -> list[int]:
    """The numbers of the values that a span reads."""
    found = [k for row in span.rows for k in row.operands]
    found += [source.value for _, source in span.roots if isinstance(source, Element)]
    return [*found, span.event.value] if isinstance(span.event, Look) else found


def _reading(span: Span, numbers: Sequence[int]) -> Span:
    """The same where these are the values that it reads."""
    number = iter(numbers)
    rows = tuple([row._replace(operands=tuple([next(number) for _ in row.operands])) for row in span.rows])
    roots = tuple([(i, replace(s, value=next(number)) if isinstance(s, Element) else s) for i, s in span.roots])
    event = replace(span.event, value=next(number)) if isinstance(span.event, Look) else span.event
    return span._replace(rows=rows, roots=roots, event=event)


def spans(recorder: Recorder, number: dict[Value, int], whole: bool = True) -> list[Span]:
    """The spans of a recording; up to its last event, if not ``whole``. ``number`` gets the number of each value."""
    builder, floats = recorder.builder, recorder.floats
    ends = [(seen.at, seen.event, seen.what) for seen in recorder.events]
    if whole:
        ends.append(((len(builder.inputs), len(builder.ops), len(floats.template)), None, None))  # type: ignore[arg-type]
    found: list[Span] = []
    before = (0, 0, 0)
    for at, event, what in ends:
        (i, o, n), (i1, o1, n1) = before, at
        values = builder.inputs[i:i1]
        inputs = tuple(
            Input(s, v.type, t._requires_grad, device_of(t._data))
            for s, v, t in zip(recorder.sources[i:i1], values, recorder.inputs[i:i1], strict=True)
        )
        first = len(number)
        for v in values:
            number[v] = len(number)
        rows = []
        for op in builder.ops[o:o1]:
            operands = tuple([number[v] for v in op.operands])
            rows.append(Row(op.primitive, operands, repr(op.attrs), tuple([v.type for v in op.results]), op))
            values.extend(op.results)
            for v in op.results:
                number[v] = len(number)
        if isinstance(event, Look):
            counts = event.how == COUNT and not recorder.counts.are_read
            event = replace(event, value=number[event.value], counts=counts)
        elif isinstance(event, (Application, Entered)):
            event = event.numbered(number)
        sensitive = frozenset(k for k, v in enumerate(values, first) if v in recorder.sensitive)
        constants = tuple(floats.template[n:n1])
        roots = tuple([(k, _numbered(s, number)) for k, s in floats.roots if n <= k < n1])
        steps = tuple([step for step in floats.steps if n <= step[0] < n1])
        found.append(Span(inputs, tuple(rows), constants, roots, steps, event, what, sensitive))
        before = at
    return found


def _numbered(source: Any, number: Mapping[Value, int]) -> Any:
    return Element(number[source.value], source.whole) if isinstance(source, Element) else source
