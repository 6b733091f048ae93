"""A recording's actions after all values have been computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..autograd.node import FreedNode
from ..ir.graph import Value
from ..runtime.devices import device_of
from .express import Unwritten
from .graph_function import GraphFunction
from .placement import Placement

if TYPE_CHECKING:
    from ..autograd.hooks import RemovableHandle
    from ..core.tensor import Tensor
    from .assigned import NewMemory
    from .calls import Call
    from .effects import Place
    from .hooked import Hook
    from .recorder import Recorder
    from .sources import Source
    from .world import Written


def _unwritten(writer: Any) -> str:
    raise Unwritten


class Run(Protocol):
    """One replay: its call, its numbers, the outputs of its graph, and the objects created from them."""

    call: Call
    values: list[Any]
    outputs: list[Tensor]
    made: dict[int, Tensor]
    objects: dict[int, Any]
    entered: Sequence[Tensor]
    handles: Sequence[RemovableHandle]

    def input(self, i: int) -> Tensor: ...


class Recorded:
    """The common part of recordings, as one graph or as a tree, and the data for ``explain``.

    kept         objects that its key identifies
    paths        number of recordings that it consists of
    replays      number of calls
    called_with  the arguments of the recorded call, as text
    recorded_in  seconds, of all recordings
    fastest      seconds, of the timed replays: not of generated ones
    """

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.paths = 1
        self.replays = 0
        self.called_with: list[str] = []
        self.recorded_in = 0.0
        self.fastest = math.inf

    def took(self, seconds: float) -> None:
        """Records the time of a replay."""
        self.fastest = min(self.fastest, seconds)


@dataclass(frozen=True)
class Build:
    """How a replay creates an object that the run leaves behind; ``write`` is the same as source, for ``express``."""

    make: Callable[[Run], Any]
    write: Callable[[Any], str] = _unwritten


@dataclass(frozen=True)
class Ending:
    """The actions after a recording's values have been computed.

    build     creates the result
    outputs   the values of which it, and gradients, consist; in a tree of paths, their numbers
    followed  the outputs at which a backward pass outside may begin
    updates   the new values of inputs that are changed in place, by input; ``changed``, how often each was
    grads     the tensors whose ``.grad`` is set, and its value
    prints    printed and logged text
    leaves    outputs that require gradients without a graph: leaves, or their graph was walked and freed
    flags     the tensors that start or stop requiring gradients
    effects   other places that are written, and their values
    memory    the tensors that get other memory
    entered   the values computed by operations with separate graph nodes
    hooks     hooks that wait for gradients
    contexts  the objects on the ``ctx`` of applications of custom operations, by name
    strided   the inputs that are changed in place and not contiguous: their new values are copied
    """

    build: Build
    outputs: list[Any]
    followed: list[int]
    updates: dict[int, Any]
    changed: list[tuple[int, int]]
    grads: list[tuple[Source, Build]]
    leaves: list[tuple[int, FreedNode | None]]
    flags: list[tuple[Source, bool]]
    effects: list[tuple[Place, Build]]
    prints: list[Written]
    memory: list[NewMemory]
    entered: list[Any]
    hooks: list[Hook]
    contexts: list[tuple[int, str, Build]]
    device: Any  # on which a replay computes; None is the CPU
    strided: frozenset[int] = frozenset()

    @property
    def changes(self) -> bool:
        """True if it has observable effects besides the result."""
        made = (
            self.updates or self.changed or self.grads or self.flags or self.effects or self.prints or self.memory or self.hooks
        )
        return bool(made)

    @property
    def done(self) -> tuple[Any, ...]:
        """What a replay does at the end, without the values."""
        found = [(p.holder if p.slot is None else p.slot.holder, p.key, p.index) for p, _ in self.effects]
        places = [(id(holder), key if isinstance(key, (str, int)) else id(key), i) for holder, key, i in found]
        rest = places, [source for source, _ in self.grads], self.flags, len(self.prints), len(self.memory)
        return self.outputs, self.followed, self.updates, self.changed, rest

    def numbered(self, number: Mapping[Value, int]) -> Ending:
        """With numbers for values."""
        updates = {i: number[v] for i, v in self.updates.items()}
        outputs, entered = [number[v] for v in self.outputs], [number[v] for v in self.entered]
        return replace(self, outputs=outputs, updates=updates, entered=entered)


def whole(recorder: Recorder, ending: Ending) -> GraphFunction:
    """The whole recording as one graph."""
    outputs = [*ending.outputs, *ending.updates.values()]
    updates = {len(ending.outputs) + j: i for j, i in enumerate(ending.updates)}
    active = [i for i, t in enumerate(recorder.inputs) if t._requires_grad] if ending.followed else []
    placement = Placement.of([device_of(t._data) for t in recorder.inputs], ending.device)
    return GraphFunction(recorder.builder.finish(outputs, updates), active, ending.followed, placement=placement)


def is_tree(recorder: Recorder, ending: Ending) -> bool:
    """True if a recording becomes a path of a tree: its events, hooks or the identity of arguments are not in a graph."""
    return bool(recorder.branches or recorder.alike.first or ending.hooks or ending.strided)
