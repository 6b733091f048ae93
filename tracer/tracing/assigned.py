"""``t.data = other`` in a run: a tensor made outside gets memory that the run has allocated, or another tensor's memory. A
parameter also has the memory of another tensor, and is no view of it.

The graph has only values. So the assigned tensor has the other's value from then on, and a replay gives it the memory at
the end. While both exist, what is written to one of them is the value of both; if autograd follows that, or the other one was
made outside, the recording ends.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.context import structure_changed
from ..core.layout import is_same_memory
from ..core.tensor import Tensor
from ..core.waiting import WAITING, will_be_assigned
from .overlap import overlapping

if TYPE_CHECKING:
    from ..ir.graph import Value
    from .ending import Build
    from .outcome import Results
    from .recorder import Recorder, Source


@dataclass
class Assigned:
    """``tensor`` has the memory of ``root``, while both exist."""

    tensor: weakref.ref[Tensor]
    root: weakref.ref[Tensor]


class Assignments:
    """A run's assignments, the last one for each tensor, by the tensor's id."""

    def __init__(self) -> None:
        self.all: dict[int, Assigned] = {}
        self.changed: list[np.ndarray] = []  # memory that was changed before it was replaced
        self._left: dict[int, Value] = {}  # by a tensor's id: the value that its first memory keeps

    def add(self, t: Tensor, value: Tensor, before: Value, is_changed: bool) -> None:
        """``before``: the value of ``t`` until now; ``is_changed``: the run has changed its memory."""
        if is_changed and not self.has(t):
            self.changed.append(t._data)
        self._left.setdefault(id(t), before)
        self.all[id(t)] = Assigned(weakref.ref(t), weakref.ref(value._root()))

    def share(self, t: Tensor, data: Tensor) -> None:
        """``t``, a new tensor, has the memory of ``data`` and is no view of it."""
        self.all[id(t)] = Assigned(weakref.ref(t), weakref.ref(data._root()))

    def left(self, t: Tensor) -> Value | None:
        """The value that the memory has that ``t`` had when the run began; None if it still has it."""
        return self._left[id(t)] if self.has(t) else None

    def has(self, t: Tensor) -> bool:
        known = self.all.get(id(t))
        return known is not None and known.tensor() is t

    def has_left(self, t: Tensor) -> bool:
        """True if a view is on memory that its root had before."""
        root = t._root()
        return self.has(root) and t._data.size > 0 and not np.may_share_memory(t._data, root._data)

    def refuse(self, recorder: Recorder, t: Tensor, followed: bool) -> str:
        """Why ``t`` must not be changed in place; empty if it may."""
        if self.has_left(t):
            return "changes a view of a tensor to whose .data something was assigned since"
        root = t._root()
        for other in self._other_names(root):
            alike = is_same_memory(root._data, other._data)
            if followed or not alike or not (recorder.is_new(other) or self.has(other)):
                return (
                    "changes the memory of two tensors, neither a view of the other (nn.Parameter(x), .data = x): use x.clone()"
                )
        return ""

    def wrote(self, recorder: Recorder, root: Tensor, v: Value) -> None:
        """The memory of ``root`` was written, and has this value now."""
        if not self.has(root):
            recorder.written[id(root)] = root
        for other in self._other_names(root):
            recorder.epochs[id(other)] = recorder.epochs.get(id(other), 0) + 1
            recorder.set(other, v)

    def _other_names(self, root: Tensor) -> list[Tensor]:
        """The other tensors with the memory of ``root`` since an assignment."""
        found = []
        for x in self.all.values():
            other, target = x.root(), x.tensor()
            if other is not None and target is not None and other is not target and (root is target or root is other):
                found.append(other if root is target else target)
        return found


@dataclass(frozen=True)
class NewMemory:
    """A replay gives a tensor the memory of the built result; ``is_fresh``: the memory is unshared."""

    owner: Source
    build: Build
    is_fresh: bool

    def give(self, t: Tensor, other: Tensor) -> None:
        """Gives ``t`` the memory of ``other``."""
        if WAITING:
            will_be_assigned(t)
        alike = t._data.shape == other._data.shape and t._data.dtype == other._data.dtype
        t._data = other._data
        if not (alike and self.is_fresh):
            structure_changed()


def assigned(recorder: Recorder, results: Results) -> list[NewMemory]:
    """The tensors that get other memory. Raises Unreplayable if a replay cannot do that."""
    from .outcome import Unreplayable

    found = []
    everything = [(t, x.root()) for x in recorder.assigned.all.values() if (t := x.tensor()) is not None]
    for t, other in everything:
        if other is not None and (recorder.is_new(t) or not is_same_memory(t._data, other._data) or other is t):
            raise Unreplayable(
                "two tensors have the same memory, neither a view of the other (nn.Parameter(x), .data = x): use x.clone()"
            )
        if recorder.is_new(t):
            continue
        if not t._data.flags.c_contiguous:
            raise Unreplayable("it assigns a tensor to .data whose memory is not contiguous: assign a contiguous one")
        build = results.fresh(t) if other is None else results.memory(other)
        # Views of memory that was changed, and are read through the tensor, have left it.
        is_fresh = other is None and id(t) not in recorder.written
        found.append(NewMemory(recorder.owner(t), build, is_fresh))
    if overlapping([t._data for t, _ in everything]):
        raise Unreplayable("it assigns the same memory to the .data of two tensors: assign a clone()")
    views = [(t, t._root()) for t in results.leaves if t._view is not None and recorder.assigned.has(t._root())]
    if any(not recorder.is_new(root) or recorder.assigned.has_left(t) for t, root in views):
        raise Unreplayable("it returns a view of a tensor to whose .data it assigns: return a clone()")
    return found
