"""What a recording leaves to be done when all that it computes has been computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..autograd.node import FreedNode
from ..ir.graph import Value
from .express import Unwritten
from .graph_function import GraphFunction

if TYPE_CHECKING:
    from ..autograd.hooks import RemovableHandle
    from ..tensor import Tensor
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
    """One replay: its call, its numbers, the outputs of its graph, and what was made of them."""

    call: Call
    values: list[Any]
    outputs: list[Tensor]
    made: dict[int, Tensor]
    objects: dict[int, Any]
    entered: Sequence[Tensor]
    handles: Sequence[RemovableHandle]

    def input(self, i: int) -> Tensor: ...


class Recorded:
    """What is kept of recordings, as one graph or as a tree, and what ``explain`` says of it.

    kept         what its key refers to by identity
    replays      calls
    called_with  the arguments of the recorded call, in words
    recorded_in  seconds, of all recordings
    fastest      seconds, of the replays that were timed: not those that are written out as source
    """

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.replays = 0
        self.called_with: list[str] = []
        self.recorded_in = 0.0
        self.fastest = math.inf

    def took(self, seconds: float) -> None:
        """Of a replay."""
        self.fastest = min(self.fastest, seconds)


@dataclass(frozen=True)
class Build:
    """How something that a run leaves behind is made in a replay; ``write`` says the same as source, to ``express``."""

    make: Callable[[Run], Any]
    write: Callable[[Any], str] = _unwritten


@dataclass(frozen=True)
class Ending:
    """What is to be done when all of a recording has been computed.

    build     makes the result
    outputs   the values that it, and gradients, are made of; in a tree of paths, their numbers
    followed  which of them a backward pass outside may begin at
    updates   the new values of inputs that are changed in place, by input; ``changed``, how often each was
    grads     of which tensors ``.grad`` is set, and to what
    prints    what is printed and logged
    leaves    outputs that require gradients without a graph to follow: leaves, or their graph was walked and freed
    flags     which tensors come to require gradients, or no longer do
    effects   where else something is written, and what
    memory    which tensors get other memory
    entered   the values that operations with nodes of their own have computed
    hooks     what waits for gradients
    contexts  what is kept on the ``ctx`` of which of the applications of users' own operations, by name
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

    @property
    def changes(self) -> bool:
        """Whether others can see that it was run, beside the result."""
        made = (
            self.updates or self.changed or self.grads or self.flags or self.effects or self.prints or self.memory or self.hooks
        )
        return bool(made)

    def numbered(self, number: Mapping[Value, int]) -> Ending:
        """With numbers for values."""
        updates = {i: number[v] for i, v in self.updates.items()}
        outputs, entered = [number[v] for v in self.outputs], [number[v] for v in self.entered]
        return replace(self, outputs=outputs, updates=updates, entered=entered)


def whole(recorder: Recorder, ending: Ending) -> GraphFunction:
    """All of a recording as one graph."""
    outputs = [*ending.outputs, *ending.updates.values()]
    updates = {len(ending.outputs) + j: i for j, i in enumerate(ending.updates)}
    active = [i for i, t in enumerate(recorder.inputs) if t._requires_grad] if ending.followed else []
    return GraphFunction(recorder.builder.finish(outputs, updates), active, ending.followed)
