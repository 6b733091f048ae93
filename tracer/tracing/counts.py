"""How many elements masks select in a recorded run.

Shapes depend on such a count, so a recording reads it, and another count is another path. Where everything that is computed
from the selected elements can be computed for all of them instead (``passes.masks``), a path is valid for any count, as long as
Python does not read it: ``Counts`` notes whether user code asks for the shape of a tensor that depends on one.
"""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.context import COUNTED
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.graph import Value
from ..ir.types import bool_
from .extents import Extents, asked_whether_any

if TYPE_CHECKING:
    from .recorder import Recorder

_DEEP = 6  # operations that are compared
COUNT = "a number of elements"  # how a recording reads one


class Counts:
    """The counts of a recorded run.

    are_read  whether user code has read one, or may have: two masks that select equally many cannot be told apart by shapes.
            That none is 0 may be known, as paths for any number are for two and more.
    """

    def __init__(self) -> None:
        self._found: dict[Value, tuple[int, Tensor]] = {}  # by the value of the mask
        self.are_read = False
        self._extents = Extents()

    def of(self, x: Tensor, recorder: Recorder) -> int:
        """How many elements are not zero. Read once for each mask."""
        value = _elements(recorder.value(x))
        known = next((n for mask, (n, _) in self._found.items() if _are_equal(mask, value)), None)
        if known is not None:
            return known
        there = x if x.dtype is bool_ else P.ne(x, P.full(value=0, shape=x._data.shape, dtype=x.dtype.short))
        count = P.sum_(P.cast(there, dtype="i64"), axes=tuple(range(x.ndim)))
        events = len(recorder.events)
        number = int(count._observed(COUNT))
        if len(recorder.events) > events:
            self.are_read = self.are_read or number in [n for n, _ in self._found.values()]
            self._found[value] = number, count
            COUNTED[:] = [self]
        return number

    def show(self, x: Tensor, recorder: Recorder, frame: types.FrameType | None) -> None:
        """User code reads a shape, itself in this frame. It may only ask whether anything is selected."""
        if self.are_read or not recorder.knows(x):
            return
        shape, counts = x._data.shape, {n for n, _ in self._found.values()}
        axes = self._extents.of(recorder.value(x), counts)
        if axes or not counts.isdisjoint(shape):
            axis = None if frame is None else asked_whether_any(frame)
            self.are_read = axis is None or len(axes) != 1 or axes.get(axis % len(shape)) is not True or 0 in shape

    def divide(self, x: Tensor, axis: int, recorder: Recorder) -> None:
        """A function gives as many tensors as the extent of an axis says."""
        if not self.are_read and recorder.knows(x):
            counts = {n for n, _ in self._found.values()}
            self.are_read = axis in self._extents.of(recorder.value(x), counts) or x._data.shape[axis] in counts

    def release(self) -> None:
        """The run is over: its tensors are no longer needed."""
        self._found.clear()
        COUNTED.clear()

    def product(self, extents: Sequence[int]) -> int | Tensor:
        """The product of extents; where one of them is a count, a tensor computed from it."""
        known = dict(self._found.values())
        count = next((known[n] for n in extents if n in known), None)
        if count is None:
            return math.prod(extents)
        rest = math.prod(extents) // int(count._data) if count._data else 0
        return P.mul(count, P.full(value=rest, shape=(), dtype="i64")) if rest != 1 else count


def _elements(v: Value) -> Value:
    """The value with the same elements in the same order, before it got this shape."""
    while v.op is not None and v.op.primitive in (P.reshape, P.broadcast) and v.op.operands[0].type.numel == v.type.numel:
        (v,) = v.op.operands
    return v


def _are_equal(a: Value, b: Value, depth: int = 0) -> bool:
    """True if two values are computed in the same way, like those of ``x > 0`` when it is written twice."""
    a, b = _elements(a), _elements(b)
    if a is b:
        return True
    if depth == _DEEP or a.op is None or b.op is None or a.op.primitive is not b.op.primitive or a.type != b.type:
        return False
    if len(a.op.results) != 1 or repr(a.op.attrs) != repr(b.op.attrs) or len(a.op.operands) != len(b.op.operands):
        return False
    return all(_are_equal(x, y, depth + 1) for x, y in zip(a.op.operands, b.op.operands, strict=True))
