"""Operations that need a separate graph node in a replay, because hooks are registered on it.

A program computes many values and is one graph node. So such an operation ends a segment of the recording, and a replay
applies it eagerly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..core.context import context
from ..ir.graph import Value

if TYPE_CHECKING:
    from .follow import PathRun


@dataclass(frozen=True)
class Entered:
    """An operation that a replay applies eagerly. Nothing is observed.

    It is the last one of its span. ``value``: its result in the graph; the result's number in a span.
    """

    value: Any
    name: str
    label: str = field(compare=False)
    loc: str = field(compare=False)
    late = True

    def __str__(self) -> str:
        return f"{self.name} at {self.loc}, whose gradient has hooks"

    def numbered(self, number: Mapping[Value, int]) -> Entered:
        """With numbers for values."""
        return replace(self, value=number[self.value])

    @property
    def entered(self) -> Mapping[int, Any]:
        """The computed value, by output number."""
        return {0: self.value}

    def enter(self, run: PathRun) -> None:
        """Applies the operation."""
        row, mode = run.nodes[-1].span.rows[-1], context.grad_enabled
        operands = [run.tensor(k) for k in row.operands]
        try:
            context.grad_enabled = True
            out = row.primitive(*operands, **row.op.attrs)
        finally:
            context.grad_enabled = mode
        if self.label and out._grad_fn is not None:
            out._grad_fn.label = self.label
        run.have(self.value, out)
