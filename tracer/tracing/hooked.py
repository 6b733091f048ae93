"""Hooks that are registered during a recorded call and still exist at its end: a backward pass outside may call them.

Hooks called by a backward pass inside are part of the recording. A hook that remains is registered again by each replay. For a
tensor created outside, nothing else is needed. Values computed inside have no separate graph node in a replay, so an
operation whose node has hooks ends a segment of the recording and is applied eagerly (``entered``).
"""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..autograd.function import FunctionNode
from ..autograd.hooks import RemovableHandle, Retain, new_number, table
from ..autograd.node import BackwardNode, Extras, Node, walk, was_freed
from ..core.tensor import Tensor
from ..ir.graph import Value
from .applications import Application
from .entered import Entered
from .tape import Seen

if TYPE_CHECKING:
    from .ending import Build, Run
    from .outcome import Results
    from .recorder import Recorder
    from .sources import Locations


@dataclass(eq=False)
class _Registration:
    """A registered hook. ``owner``: the node or leaf that has the table; ``tensor``: the tensor that was named, if any."""

    tensor: weakref.ref[Tensor] | None
    owner: weakref.ref[Any]
    kind: str
    output: int
    table: weakref.ref[OrderedDict[int, Any]]
    handle: weakref.ref[RemovableHandle]
    number: int
    loc: str

    @property
    def hook(self) -> Any:
        """The hook; None once it is removed."""
        hooks = self.table()
        return None if hooks is None else hooks.get(self.number)


class Hook(NamedTuple):
    """A hook that a replay registers, or the handle of a removed one.

    place   builds the tensor that the hook belongs to; None if nothing can call the hook
    hook    builds the hook; None if it is removed
    """

    place: Build | None
    kind: str
    hook: Build | None

    def handle(self, run: Run) -> RemovableHandle:
        """A new handle, before the hook is registered."""
        if self.place is None:
            return RemovableHandle(OrderedDict())
        return RemovableHandle(table(self.place.make(run), self.kind)[1])

    def register(self, run: Run, handle: RemovableHandle) -> None:
        hooks = handle._hooks()
        if self.hook is not None and hooks is not None:
            hooks[handle._number] = self.hook.make(run)


class Hooks:
    """The hooks registered during a recorded call.

    attached   leaves that got an attribute for hooks, and its name
    entered    the graph values of nodes with hooks
    places     primitives, and the lines that apply them: paths enter all these operations, so that equal beginnings stay equal
    grew       whether this call has added places
    waiting    the hooks that exist at the end, during an exchange
    left       the registrations of which a hook or a handle exists at the end
    """

    def __init__(self, locations: Locations):
        self.locations, self.start = locations, new_number()  # hooks with smaller numbers are older than the run
        self.nodes: dict[int, tuple[weakref.ref[BackwardNode], Value]] = {}  # node and value, by the node's id
        self.attached: list[tuple[weakref.ref[Tensor], str]] = []
        self.entered: dict[BackwardNode, Value] = {}
        self.places: set[tuple[str, str | None]] = set()
        self.grew = False
        self.waiting: list[Any] = []
        self._given: dict[BackwardNode, set[Value]] = {}  # by the nodes that replays have
        self.left: list[_Registration] = []
        self._all: list[_Registration] = []
        self._apart: list[tuple[Any, Any, Any]] | None = None  # removed entries: of a dictionary, a key and its value

    def value(self, node: BackwardNode) -> Value | None:
        """The value that a node's operation computes, if it is known."""
        known = self.nodes.get(id(node))
        return known[1] if known is not None and known[0]() is node else None

    def attaches(self, leaf: Tensor, name: str) -> None:
        """A leaf is about to get an attribute for hooks."""
        self.attached.append((weakref.ref(leaf), name))

    def registers(self, of: Any, owner: Any, kind: str, hooks: OrderedDict[int, Any], handle: RemovableHandle) -> None:
        """A hook is about to be added to a table that belongs to ``owner``, a node or a leaf."""
        t = of if isinstance(of, Tensor) else None
        tensor = None if t is None else weakref.ref(t)
        output = 0 if t is None else t._output
        row = tensor, weakref.ref(owner), kind, output, weakref.ref(hooks), weakref.ref(handle), handle._number
        self._all.append(_Registration(*row, self.locations.here()))

    def exchange(self) -> None:
        """Gives leaves the hooks that they had before the call; the next call of this undoes it."""
        if self._apart is None:
            self._apart, self.waiting = [], [r.hook for r in self._all if r.hook is not None]
            for leaf, name in [(ref(), name) for ref, name in self.attached]:
                kept = () if leaf is None else vars(leaf).pop(name, ())
                if leaf is not None and (kept.prehooks or kept.posthooks if isinstance(kept, Extras) else kept):
                    self._apart.append((vars(leaf), name, kept))
            for r in self._all:
                hooks = r.table()
                if hooks is not None and r.number in hooks and isinstance(r.owner(), Tensor):
                    self._apart.append((hooks, r.number, hooks.pop(r.number)))
        else:
            for holder, key, value in self._apart:
                holder[key] = value
            self._apart, self.waiting = None, []

    def settle(self, recorder: Recorder) -> set[BackwardNode]:
        """Determines the hooks that exist at the end. Returns the nodes that a backward pass outside can reach."""
        if self._all:
            gc.collect(0)  # cycles keep hooks alive; objects of the call are in the youngest generation
        self.left = [r for r in self._all if r.hook is not None or r.handle() is not None]
        if not self.left and not any(isinstance(s.event, Application) for s in recorder.events):
            return set()
        roots = [t._grad_fn for t in recorder.alive() if t._requires_grad and t._grad_fn is not None]
        return {n for node in roots if not was_freed(node) for n in walk(node)}

    def number(self, handle: RemovableHandle) -> int | None:
        """The number of a handle among those left."""
        return next((i for i, r in enumerate(self.left) if r.handle() is handle), None)

    def gives(self, node: BackwardNode | None, v: Value) -> bool:
        """True if a replay has a tensor of this value whose node corresponds to ``node``."""
        return node is not None and v in self._given.get(node, ())

    def stays(self, r: _Registration, recorder: Recorder) -> bool:
        """True if a backward pass outside can call a hook. ``enter`` has been called."""
        owner = r.owner()
        if owner is None or r.hook is None:
            return False
        return owner in self.entered if isinstance(owner, BackwardNode) and owner.sequence >= recorder.start else True

    def enter(self, recorder: Recorder, reached: set[BackwardNode], applied: Mapping[BackwardNode, Application]) -> str:
        """Adds events for the operations that need nodes, among those ``reached``. Returns the reason if that is impossible."""
        self._given = {node: {*event.entered.values()} for node, event in applied.items()}
        for r in self.left:
            node = r.owner()
            if r.hook is None or not isinstance(node, BackwardNode) or node not in reached or node.sequence < recorder.start:
                continue
            if isinstance(node, FunctionNode) and node in applied:
                event = applied[node]
                self.entered[node] = event.entered[r.output if r.kind == "gradient" else min(event.entered)]
                continue
            v = self.value(node)
            op = None if v is None else v.op
            if v is None or op is None or not isinstance(node, Node) or op.primitive is not node.primitive:
                return f"it registers a hook on a tensor that was changed through a view, at {r.loc}: register it on a clone"
            if op.primitive.makes_views and recorder.written:
                return f"it registers a hook on a view, at {r.loc}, and changes tensors in place: register it on a clone"
            self.entered[node] = v
            self._given[node] = {v}
            self.grew |= (op.primitive.name, op.loc) not in self.places
            self.places.add((op.primitive.name, op.loc))
        if self.places:
            labels = {v: getattr(n, "label", None) for n, v in self.entered.items()}
            alike = [op.results[0] for op in recorder.builder.ops if (op.primitive.name, op.loc) in self.places]
            _enter(recorder, {v: labels.get(v) or "" for v in alike if v in recorder.sensitive})
        return ""

    def describe(self, recorder: Recorder, results: Results, builds: Iterable[Build]) -> list[Hook]:
        """How replays register the hooks; ``builds`` are those of ``functions``, in order."""
        made = iter(builds)
        found = []
        for r in self.left:
            place = hook = None
            if self.stays(r, recorder):
                place, x = self._place(r, recorder, results), r.hook
                hook = results.retaining(x.tensor()) if isinstance(x, Retain) else next(made)
            found.append(Hook(place, r.kind, hook if place is not None else None))
        return found

    def functions(self, recorder: Recorder) -> list[Any]:
        """The hooks that a backward pass outside can call."""
        return [r.hook for r in self.left if self.stays(r, recorder) and not isinstance(r.hook, Retain)]

    def _place(self, r: _Registration, recorder: Recorder, results: Results) -> Build | None:
        """Builds the tensor that a hook belongs to."""
        owner = r.owner()
        if owner in self.entered:
            return results.entered(self.entered[owner])
        if isinstance(owner, Tensor):
            return results.tensor(owner)
        named = None if r.tensor is None else r.tensor()
        for t in (*recorder.inputs, named):
            if t is not None and t._grad_fn is owner and t._output == r.output and not recorder.is_new(t):
                return results.tensor(t)
        from .outcome import Unreplayable

        raise Unreplayable(f"it registers a hook on a node made outside, at {r.loc}: register it on a tensor")


def _enter(recorder: Recorder, labels: Mapping[Value, str]) -> None:
    """Inserts an event after each operation that computes one of these values; ``labels`` are the names of their nodes."""
    number = {v: i for i, v in enumerate(recorder.builder.inputs)}
    later, events = recorder.events[::-1], list[Seen]()
    inputs = numbers = 0  # numbers needed so far
    for o, op in enumerate(recorder.builder.ops, 1):
        read = [number[v] + 1 for v in op.operands if v in number]
        if read and max(read) > inputs:
            new = recorder.sources[inputs : max(read)]
            inputs, numbers = max(read), max([numbers, *(s.index + 1 for s in new if s.is_number)])
        v = op.results[0]
        if v not in labels:
            continue
        while later and later[-1].at[1] < o:
            events.append(later.pop())
        before = events[-1].at if events else (0, 0, 0)
        at = max(inputs, before[0]), o, max(numbers, before[2])
        events.append(Seen(Entered(v, op.primitive.name, labels[v], op.loc or ""), at, None))
    recorder.events = [*events, *later[::-1]]
