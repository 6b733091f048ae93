"""Views at positions that are numbers or tensors of a recorded run.

``x[i]`` and ``x[i : i + 4]`` are views of ``x``, whether ``i`` is a number of the call or a tensor of one integer. Reading it
would make it a constant of the recording. Instead the eager run gets the view, and the graph reads the elements there.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..core.context import context
from ..core.tensor import Tensor
from ..core.views import LazyView
from ..ir import ops as P
from ..ir.graph import Value
from ..ir.interp import Build, using
from ..ir.primitive import Primitive
from ..ir.types import int64
from .scalars import RuntimeNumber

if TYPE_CHECKING:
    from .recorder import Recorder


@dataclass(frozen=True)
class Place:
    """Where a view is on an axis.

    at      the position of its first element there: a tensor of one integer or a number, for a graph a value
    length  how many elements it shows; None: one, and the view does not have the axis
    """

    axis: int
    at: Any
    length: int | None


# A primitive that makes a view, and its attributes.
Step = tuple[Primitive, Mapping[str, Any]]


@dataclass(frozen=True)
class Moving:
    """A view of a tensor at computed positions: at ``places``, one after another, of the tensor or of ``cut``, a view of it."""

    view: weakref.ref[Tensor]
    cut: Step | None
    places: tuple[Place, ...]

    def read(self, build: Build, base: Value) -> Value:
        """The elements of the view, from those of the tensor."""
        with using(build):
            return _parts(base, self.cut, self.places)[-1]  # type: ignore[no-any-return]

    def write(self, build: Build, base: Value, elements: Value) -> Value:
        """The elements of the tensor, after a change of the view."""
        with using(build):
            *parts, _ = _parts(base, self.cut, self.places)
            for place, part in zip(self.places[::-1], parts[::-1], strict=True):
                axis = place.axis
                if place.length is None:
                    elements = P.reshape(elements, shape=(*part.shape[:axis], 1, *part.shape[axis + 1 :]))
                elements = P.set_at(part, elements, place.at, axis=axis)
            if self.cut is None:
                return elements
            primitive, attrs = self.cut
            assert primitive.put is not None
            return primitive.put(base, elements, base.type, **attrs)  # type: ignore[no-any-return]


def _parts(x: Any, cut: Step | None, places: Sequence[Place]) -> list[Any]:
    """Copies of the elements of a tensor or value: before the first place, and after each."""
    parts = [x if cut is None else cut[0](x, **cut[1])]
    for place in places:
        part, axis = P.elements_at(parts[-1], place.at, place.axis, place.length or 1), place.axis
        parts.append(part if place.length else P.reshape(part, shape=(*part.shape[:axis], *part.shape[axis + 1 :])))
    return parts


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

    def add(self, t: Tensor, cut: Step | None, places: Sequence[Place]) -> None:
        self._all[id(t)] = Moving(weakref.ref(t), cut, tuple(places))

    def are_one(self, t: Tensor, other: Tensor) -> bool:
        """True if two views show the same elements of one tensor, because they were made in the same way."""
        if t is other or t._view is None or other._view is None:
            return t is other
        (parent, *step), (its_parent, *its_step) = t._viewed(), other._viewed()
        a, b = self.of(t), self.of(other)
        if a is None or b is None:
            same = a is b and step == its_step
        else:
            same = a.cut == b.cut and len(a.places) == len(b.places) and all(map(_is_one_place, a.places, b.places))
        return same and self.are_one(parent, its_parent)

    def require_apart(self, recorder: Recorder, t: Tensor, other: Tensor) -> None:
        """``t`` gets the elements of ``other``. If they overlap in part at some positions, and not at all at others, the
        positions must be read: eager code raises an error there.
        """
        if not self._all or t._root() is not other._root() or self.are_one(t, other):
            return
        moves = {stride for view in (t, other) for stride in self._strides(view)}
        if not moves:
            return
        alike = (t._data.shape, t._data.strides) == (other._data.shape, other._data.strides)
        if alike and len(moves) == 1 and None not in moves:
            (stride,) = moves
            if not (t._address() - other._address()) % (stride or 1):
                return  # the same elements, or others
        self.refuse(t)
        self.refuse(other)
        recorder.give_up("writes to memory that it reads, at a computed index")

    def _strides(self, t: Tensor) -> Iterator[int | None]:
        """By which distances in memory a view moves if its positions change; None for a range or several positions."""
        while t._view is not None:
            moving = self.of(t)
            t = t._viewed()[0]
            if moving is not None:
                one = len(moving.places) == 1 and moving.cut is None and moving.places[0].length is None
                yield t._data.strides[moving.places[0].axis] if one else None

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
    return recorder if recorder is not None and recorder.movings.allowed and not isinstance(x, LazyView) else None


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


def _is_one_place(a: Place, b: Place) -> bool:
    return (a.axis, a.length) == (b.axis, b.length) and _are_alike(a.at, b.at)


def _are_alike(a: Value, b: Value, depth: int = 8) -> bool:
    """True if two values are computed in the same way from the same ones: positions are, anew for each use of an index."""
    if a is b:
        return True
    if a.op is None or b.op is None or not depth:
        return False
    same = a.op.primitive is b.op.primitive and a.op.attrs == b.op.attrs and len(a.op.operands) == len(b.op.operands)
    return same and all(_are_alike(x, y, depth - 1) for x, y in zip(a.op.operands, b.op.operands, strict=True))


def view_at(recorder: Recorder, x: Tensor, seen: Step, cut: Step | None, places: Sequence[Place]) -> Tensor:
    """The view of ``x``, or of its view ``cut``, at positions where all elements exist. ``seen`` makes it in the eager run."""
    tensors = [replace(p, at=p.at if isinstance(p.at, Tensor) else RuntimeNumber.tensor(p.at, int64)) for p in places]
    copy = _parts(x, cut, tensors)[-1]
    context.recorder = None
    try:
        out: Tensor = seen[0](x, **seen[1])
    finally:
        context.recorder = recorder
    # Its derivative is that of the elements at the positions.
    out._requires_grad, out._grad_fn, out._output = copy._requires_grad, copy._grad_fn, copy._output
    if out._grad_fn is not None:
        out._grad_fn.label = seen[0].torch_name
    recorder.moves(out, copy, cut, tensors)
    return out
