"""Views at indices that are tensors of a recorded run.

``x[i]`` with a tensor ``i`` of one integer is a view of ``x``, as with a number. Reading the number would make it a constant of
the recording. Instead the eager run gets the view, and the graph reads the elements at the computed position.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.context import context
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.graph import Value
from ..ir.interp import Build

if TYPE_CHECKING:
    from .recorder import Recorder


@dataclass(frozen=True)
class Moving:
    """A view of a tensor at one position of an axis, which is a value of the graph."""

    view: weakref.ref[Tensor]
    at: Value
    axis: int

    def read(self, build: Build, base: Value) -> Value:
        """The elements of the view, from those of the tensor."""
        shape = base.shape[: self.axis] + base.shape[self.axis + 1 :]
        one = build.bind(P.index_select, [base, build.bind(P.reshape, [self.at], {"shape": (1,)})], {"axis": self.axis})
        return build.bind(P.reshape, [one], {"shape": shape})  # type: ignore[no-any-return]

    def write(self, build: Build, base: Value, elements: Value) -> Value:
        """The elements of the tensor, after a change of the view."""
        return build.bind(P.set_at, [base, elements, self.at], {"axis": self.axis})  # type: ignore[no-any-return]


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

    def add(self, t: Tensor, at: Value, axis: int) -> None:
        self._all[id(t)] = Moving(weakref.ref(t), at, axis)

    def require_apart(self, recorder: Recorder, t: Tensor, other: Tensor) -> None:
        """``t`` gets the elements of ``other``. If they overlap in part at some positions, and not at all at others, the
        positions must be read: eager code raises an error there.
        """
        if not self._all or t._root() is not other._root():
            return
        for view in (t, other):
            moving = self.of(view)
            if moving is not None:
                apart = abs(t._address() - other._address()) % (view._viewed()[0]._data.strides[moving.axis] or 1)
                if (t._data.shape, t._data.strides) == (other._data.shape, other._data.strides) and not apart:
                    return  # the same elements, or others
        if self.refuse(t) or self.refuse(other):
            recorder.give_up("writes to memory that it reads, at an index that is a tensor")

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


def view_at(recorder: Recorder, x: Tensor, axis: int, position: Tensor) -> Tensor:
    """The view of ``x`` at a position of an axis, a checked tensor of one non-negative integer."""
    shape = x._data.shape
    rest = shape[:axis] + shape[axis + 1 :]
    copy = P.reshape(P.index_select(x, P.reshape(position, shape=(1,)), axis=axis), shape=rest)
    n = int(position._data)
    starts = tuple([n if i == axis else 0 for i in range(len(shape))])
    stops = tuple([n + 1 if i == axis else k for i, k in enumerate(shape)])
    context.recorder = None
    try:
        out: Tensor = P.select_(x, starts=starts, stops=stops, steps=(1,) * len(shape), shape=rest)
    finally:
        context.recorder = recorder
    # Its derivative is that of the elements at the position.
    out._requires_grad, out._grad_fn, out._output = copy._requires_grad, copy._grad_fn, copy._output
    recorder.moves(out, copy, position, axis)
    return out
