"""Fusions that differ only in where their slices begin: one kernel, which reads the starts from its arguments.

A loop over the rows of a matrix has a fusion for each row. Generating the nest takes longer than everything else that
happens to such a fusion, and the nests are equal: the text of a kernel depends on the start of a slice only if it is 0 or 1.
That is kept for slices such as ``x[1:]``, but an index, a slice of one element, may be any number.
"""

from __future__ import annotations

import operator
from typing import Any

from ..ir.graph import Graph, Op, Rewriter
from ..ir.ops import slice_, write_slice

PLACE = 1 << 62  # this and larger numbers stand for starts; no extent or stride is as large

_PLACED = (slice_, write_slice)


class _Starts:
    """Numbers the different starts of a body's slices, in the order of their first occurrence."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def of(self, op: Op) -> tuple[int, ...]:
        """The starts of a slice, with ``PLACE`` and a number for each, but for 0 and 1 of slices that are longer than 1."""
        numbers, starts = self.numbers, op.attrs["starts"]
        longer = [b - a != 1 or n == 1 for n, a, b in zip(op.operands[0].shape, starts, op.attrs["stops"], strict=True)]
        return tuple(
            [
                s if s < 2 and is_longer else PLACE + numbers.setdefault(s, len(numbers))
                for s, is_longer in zip(starts, longer, strict=True)
            ]
        )


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
