"""Fusions that differ only in where their slices begin: one kernel, which reads the starts from its arguments.

A loop over the rows of a matrix has a fusion for each row. Generating the nest takes longer than everything else that
happens to such a fusion, and the nests are equal: the text of a kernel depends on the start of a slice only if it is 0 or 1,
or that along a short last axis. An index, a slice of one element, may be any number.
"""

from __future__ import annotations

import operator
from typing import Any

from ..ir.graph import Graph, Op, Rewriter
from ..ir.ops import slice_, write_slice
from ..ir.ops.movement import near_axes

PLACE = 1 << 62  # this and larger numbers stand for starts; no extent or stride is as large

_PLACED = (slice_, write_slice)


class _Starts:
    """Numbers the different starts of a body's slices, in the order of their first occurrence."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def of(self, op: Op) -> tuple[int, ...]:
        """The starts of a slice, with ``PLACE`` and a number for each that is not part of a kernel's text."""
        shape = op.operands[0].shape
        rows = zip(op.attrs["starts"], _spans(op), shape, near_axes(shape), strict=True)
        return tuple([s if near or (s < 2 and (span != 1 or n == 1)) else self._place(s) for s, span, n, near in rows])

    def _place(self, start: int) -> int:
        return PLACE + self.numbers.setdefault(start, len(self.numbers))


def _spans(op: Op) -> tuple[int, ...]:
    return tuple(map(operator.sub, op.attrs["stops"], op.attrs["starts"]))


def apart_from_places(body: Graph) -> tuple[tuple[Any, ...], list[int]]:
    """The structure of a fusion's body without the starts of its slices, and the starts, each once.

    Bodies of equal structure have equal starts at the same places, so equal slices correspond to equal slices.
    """
    starts = _Starts()

    def described(op: Op) -> Any:
        return (starts.of(op), _spans(op), op.attrs["steps"]) if op.primitive in _PLACED else repr(op.attrs)

    return body.structure(described), list(starts.numbers)


def with_places(body: Graph) -> Graph:
    """The body, with ``PLACE`` and a number instead of each start. Its slices are out of bounds: it is only for generating a
    nest.
    """
    starts, new = _Starts(), Rewriter(body)
    for op in body.ops:
        if op.primitive in _PLACED:
            at = starts.of(op)
            attrs = {"starts": at, "stops": tuple(map(operator.add, at, _spans(op))), "steps": op.attrs["steps"]}
            operands = [new.map[v] for v in op.operands]
            (new.map[op.result],) = new.builder.add(op.primitive, operands, attrs, [op.result.type], op.loc)
        else:
            new.copy(op)
    return new.finish()
