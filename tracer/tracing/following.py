"""A graph under construction that tracks where gradients could flow, and which values vary."""

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
        self._varies: dict[Value, bool] = {}

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

    def varies(self, v: Value) -> bool:
        """True if a value depends on the call."""
        known = self._varies
        work = [v]
        while work:
            u = work[-1]
            if u in known:
                work.pop()
            elif u.op is None:
                known[u] = True
            else:
                operands = [known.get(w) for w in u.op.operands]
                if None in operands and True not in operands:
                    work += [w for w in u.op.operands if w not in known]
                else:
                    known.update(dict.fromkeys(u.op.results, True in operands))
        return known[v]
