"""A graph that is being recorded, with what gradients could flow through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..ir.graph import Builder, Value
from ..ir.primitive import Primitive
from ..ir.types import TensorType


class Following(Builder):
    """A builder that tracks the values through which gradients of the inputs could flow, for all appended operations."""

    def __init__(self, name: str):
        super().__init__(name)
        self.sensitive: set[Value] = set()

    def add(
        self,
        primitive: Primitive,
        operands: Sequence[Value],
        attrs: Mapping[str, Any],
        types: Sequence[TensorType],
        loc: str | None = None,
    ) -> tuple[Value, ...]:
        results = super().add(primitive, operands, attrs, types, loc)
        if primitive.differentiable and not self.sensitive.isdisjoint(operands):
            self.sensitive.update(results)
        return results
