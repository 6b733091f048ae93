"""Views at positions that are numbers or tensors of a recorded run.

``x[i]`` and ``x[i : i + 4]`` are views of ``x``, whether ``i`` is a number of the call or a tensor of one integer. Reading it
would make it a constant of the recording. Instead the eager run gets the view, and the graph reads the elements there.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.context import context
from ..core.tensor import Tensor
from ..core.views import LazyView
from ..ir import ops as P
from ..ir.graph import Value
from ..ir.interp import Build, using
from ..ir.types import int64
from .scalars import RuntimeInt, RuntimeNumber

if TYPE_CHECKING:
    from .recorder import Recorder


@dataclass(frozen=True)
class Moving:
    """A view of a tensor at a position of an axis, which is a value of the graph.

    length  how many elements along the axis it shows; None: one, and it does not have the axis
    """

    view: weakref.ref[Tensor]
    at: Value
    axis: int
    length: int | None

    def read(self, build: Build, base: Value) -> Value:
        """The elements of the view, from those of the tensor."""
        with using(build):
            return _elements(base, self.at, self.axis, self.length)  # type: ignore[no-any-return]

    def write(self, build: Build, base: Value, elements: Value) -> Value:
        """The elements of the tensor, after a change of the view."""
        with using(build):
            if self.length is None:
                elements = P.reshape(elements, shape=(*base.shape[: self.axis], 1, *base.shape[self.axis + 1 :]))
            return P.set_at(base, elements, self.at, axis=self.axis)  # type: ignore[no-any-return]


def _number(at: Value) -> Value:
    """A position, before it became an integer: the numbers of a call are floats."""
    return at.op.operands[0] if at.op is not None and at.op.primitive is P.cast else at


def _elements(x: Any, at: Any, axis: int, length: int | None) -> Any:
    """A copy of the elements of such a view of a tensor or a value."""
    part = P.elements_at(x, at, axis, length or 1)
    return part if length is not None else P.reshape(part, shape=(*x.shape[:axis], *x.shape[axis + 1 :]))


class Movings:
    """The views of a run at computed positions.

    allowed  whether there may be any; otherwise the positions are read
    refused  whether the run does something with one that a graph cannot say without reading the position
    """

    allowed, refused = True, False

    def __init__(self) -> None:
        self._all: dict[int, Moving] = {}

    def of(self, t: Tensor) -> Moving | None:
        found = self._all.get(id(t))
        return found if found is not None and found.view() is t else None

    def add(self, t: Tensor, at: Value, axis: int, length: int | None) -> None:
        self._all[id(t)] = Moving(weakref.ref(t), at, axis, length)

    def are_one(self, t: Tensor, other: Tensor) -> bool:
        """True if two views show the same elements of one tensor, because they were made in the same way."""
        if t is other or t._view is None or other._view is None:
            return t is other
        (parent, *step), (its_parent, *its_step) = t._viewed(), other._viewed()
        moving, its = self.of(t), self.of(other)
        if moving is not None and its is not None:
            if (moving.axis, moving.length) != (its.axis, its.length) or _number(moving.at) is not _number(its.at):
                return False
        elif moving is not its or step != its_step:
            return False
        return self.are_one(parent, its_parent)

    def require_apart(self, recorder: Recorder, t: Tensor, other: Tensor) -> None:
        """``t`` gets the elements of ``other``. If they overlap in part at some positions, and not at all at others, the
        positions must be read: eager code raises an error there.
        """
        if not self._all or t._root() is not other._root():
            return
        for view in (t, other):
            moving = self.of(view)
            if moving is not None and moving.length is None:
                apart = abs(t._address() - other._address()) % (view._viewed()[0]._data.strides[moving.axis] or 1)
                if (t._data.shape, t._data.strides) == (other._data.shape, other._data.strides) and not apart:
                    return  # the same elements, or others
        if self.refuse(t) or self.refuse(other):
            recorder.give_up("writes to memory that it reads, at a computed index")

    def read_offset(self, recorder: Recorder, t: Tensor) -> None:
        """The run asks where a tensor begins in memory."""
        if self.refuse(t):
            recorder.give_up("asks where in memory a view at a computed index begins")

    def refuse(self, t: Tensor) -> bool:
        """Notes that if a tensor is a view through such a view, or is one, its position must be read. Returns whether it is."""
        while self._all and t._view is not None:
            if self.of(t) is not None:
                self.refused = True
                return True
            t = t._viewed()[0]
        return False


def is_computed(recorder: Recorder, t: Tensor) -> bool:
    """True if a tensor's value depends on the call, and need not be read. Tensors on a device are."""
    here = recorder.movings.allowed and type(t) is Tensor and t.device.type == "cpu"
    return here and recorder.builder.varies(recorder.value(t))


def recorder_for(x: Tensor) -> Recorder | None:
    """The recorder, if views of ``x`` at computed positions can be made."""
    recorder = context.recorder
    if recorder is None or not recorder.movings.allowed or isinstance(x, LazyView) or x.device.type != "cpu":
        return None
    return recorder


def distance(recorder: Recorder, start: Any, stop: Any) -> int | None:
    """``stop - start`` for two tensors of one integer, if it is the same in each call: both are one value plus a number."""
    if not isinstance(start, Tensor) or not isinstance(stop, Tensor):
        return None
    (v, before), (w, after) = (_as_sum(recorder.value(t)) for t in (start, stop))
    return after - before if v is w else None


def _as_sum(v: Value) -> tuple[Value, int]:
    """A value as another one plus a number."""
    number = 0
    while v.op is not None and v.op.primitive in (P.add, P.sub) and v.dtype is int64:
        is_sum, (x, y) = v.op.primitive is P.add, v.op.operands
        if is_sum and (n := _constant(x)) is not None:
            v, number = y, number + n
        elif (n := _constant(y)) is not None:
            v, number = x, number + (n if is_sum else -n)
        else:
            break
    return v, number


def _constant(v: Value) -> int | None:
    return v.op.attrs["value"] if v.op is not None and v.op.primitive is P.full else None


def view_at(recorder: Recorder, x: Tensor, axis: int, position: Tensor | RuntimeInt, length: int | None = None) -> Tensor:
    """The view of ``x`` at a position of an axis, or of ``length`` elements from there. The position is a number, or a tensor
    of one integer, at which all of them exist.
    """
    if not isinstance(position, Tensor):
        position = RuntimeNumber.tensor(position, int64)
    n, shape = int(position._data), x._data.shape
    copy = _elements(x, position, axis, length)
    starts = tuple([n if i == axis else 0 for i in range(len(shape))])
    stops = tuple([n + (length or 1) if i == axis else k for i, k in enumerate(shape)])
    region = {"starts": starts, "stops": stops, "steps": (1,) * len(shape)}
    context.recorder = None
    try:
        out: Tensor = P.slice_(x, **region) if length is not None else P.select_(x, **region, shape=copy._data.shape)
    finally:
        context.recorder = recorder
    # Its derivative is that of the elements at the position.
    out._requires_grad, out._grad_fn, out._output = copy._requires_grad, copy._grad_fn, copy._output
    recorder.moves(out, copy, position, axis, length)
    return out
