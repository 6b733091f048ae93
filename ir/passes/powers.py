"""Powers by whole numbers as products: a power takes as long as 20 of them.

Each product rounds, so the error grows with the exponent: half a unit in the last place for each factor at most. The
derivative of a quotient is not that of a power at 0: this pass runs when nothing is differentiated any more.
"""

from __future__ import annotations

from typing import Any

from ..graph import Graph, Op, Rewriter, Value
from ..interp import Build, using
from ..ops import div, full, mul, pow_, square

_MOST = 16  # factors


def whole_powers(graph: Graph) -> Graph:
    if not any(op.primitive is pow_ for op in graph.ops):
        return graph
    rewriter = Rewriter(graph)

    def replace(op: Op) -> Any:
        n = _exponent(op)
        if n == 0:
            return None
        x = rewriter.map[op.operands[0]]
        power = _product(x, abs(n))
        return power if n > 0 else div(full(value=1, shape=x.shape, dtype=x.dtype.short), power)

    with using(Build(rewriter.builder)):
        return rewriter.replaced(replace)


def _exponent(op: Op) -> int:
    """The exponent of a power to write as products; 0 for other operations."""
    if op.primitive is not pow_ or not op.result.dtype.is_floating_point:
        return 0
    x, exponent = op.operands
    if exponent.op is None or exponent.op.primitive is not full or exponent.dtype is not x.dtype:
        return 0
    n = exponent.op.attrs["value"]
    return int(n) if n == n and abs(n) <= _MOST and n == int(n) else 0


def _product(x: Value, n: int) -> Any:
    """x to the power of n > 0, by squaring."""
    if n == 1:
        return x
    half = square(_product(x, n // 2))
    return mul(half, x) if n % 2 else half
