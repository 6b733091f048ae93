"""``t.data = other`` in a run: a tensor made outside gets memory that the run has allocated, or another tensor's memory.

The graph has only values. So the assigned tensor has the other's value from then on, and a replay gives it the memory at
the end. Two names for one memory would need two values: a write to it ends the recording if both names still exist.
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

    def add(self, t: Tensor, value: Tensor) -> None:
        self.all[id(t)] = Assigned(weakref.ref(t), weakref.ref(value._root()))

    def has(self, t: Tensor) -> bool:
        known = self.all.get(id(t))
        return known is not None and known.tensor() is t

    def has_left(self, t: Tensor) -> bool:
        """True if a view is on memory that its root had before."""
        root = t._root()
        return self.has(root) and t._data.size > 0 and not np.may_share_memory(t._data, root._data)

    def refuse(self, t: Tensor) -> str:
        """Why ``t`` must not be changed in place; empty if it may."""
        if self.has_left(t):
            return "changes a view of a tensor to whose .data something was assigned since"
        root = t._root()
        for x in self.all.values():
            other, target = x.root(), x.tensor()
            if other is not None and other is not target and (root is target or root is other):
                return "changes memory that has two names since an assignment to .data: assign a clone()"
        return ""


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
            raise Unreplayable("it assigns memory to .data that has another name: assign a clone()")
        if recorder.is_new(t):
            continue
        if not t._data.flags.c_contiguous:
            raise Unreplayable("it assigns a tensor to .data whose memory is not contiguous: assign a contiguous one")
        build = results.fresh(t) if other is None else results.memory(other)
        found.append(NewMemory(recorder.owner(t), build, other is None))
    if overlapping([t._data for t, _ in everything]):
        raise Unreplayable("it assigns the same memory to the .data of two tensors: assign a clone()")
    views = [(t, t._root()) for t in results.leaves if t._view is not None and recorder.assigned.has(t._root())]
    if any(not recorder.is_new(root) or recorder.assigned.has_left(t) for t, root in views):
        raise Unreplayable("it returns a view of a tensor to whose .data it assigns: return a clone()")
    return found
