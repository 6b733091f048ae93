"""The paths that calls of one signature take: a tree of segments, each one native program.

Where Python looked at what had been computed (``tape``), a node of the tree ends, and what is seen in a replay selects the
node that follows. What a replay does before its path is complete is computed into new memory; only then the changes are made
that others can see. So a replay that meets something never seen has done nothing, and the function can run instead.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.graph import Builder, Graph
from ..ir.primitive import Kind
from ..ir.types import TensorType
from ..runtime.objects import address
from ..tensor import Tensor, wrap
from .graph_function import Executable, GraphFunction
from .overlap import is_written_over
from .recording import signals_apart
from .scalars import ERRORS, Element, static
from .tape import Decision, Gradient, Input, Look, Row, Span
from .walk import alive

if TYPE_CHECKING:
    from .ending import Ending
    from .guards import Call
    from .recorder import Source

_MAX_NODES = 20_000
_MAX_MISSES = 100  # in a row
_MAX_SEEN = 16  # different elements, or numbers, that are seen at one place, and never a second time


_NOTHING = Span((), (), (), (), (), None, None, frozenset())


class Unseen(Exception):
    """A replay has met something that no recording has, and has changed nothing."""

    def __init__(self, node: Node):
        self.node = node


class Left(Exception):
    """A replay has come to a path whose end cannot be replayed, and has changed nothing."""


class Uncompiled(Exception):
    """A segment could not be compiled; the replay has changed nothing."""

    def __init__(self, error: Exception, graph: Graph):
        self.error, self.graph = error, graph


class Node:
    """What follows something seen: a span; then ``children`` by what is seen next, or an ``ending``.

    flushes   whether a program runs here, of all operations that have not run before: those of the ``pending`` nodes
    rows      these operations, by the number of their first result, and those of earlier ones that are computed again, in order
    imports   the values they read that are there already, by number
    exports   the values they compute that are read later
    """

    def __init__(self, span: Span, above: Node | None, ending: Ending | str | None):
        self.span, self.above, self.ending = span, above, ending
        self.children: dict[Any, Node] = {}
        self.first: int = 0 if above is None else above.next
        self.computed = self.first + len(span.inputs)  # the number of the first value that is computed
        self.own: dict[int, tuple[int, Row]] = {}  # its operations, with the first of their numbers, by each of their numbers
        self.next: int = self.computed
        for row in span.rows:
            self.own.update((self.next + k, (self.next, row)) for k in range(len(row.types)))
            self.next += len(row.types)
        before = [] if above is None or above.flushes else above.pending
        self.pending: list[Node] = [*before, self]
        self.flushes: bool = ending is not None or (span.event is not None and span.event.late)
        self.follows = False  # whether a backward pass outside may follow on a path from here
        self.rows: dict[int, Row] = {}
        self.imports: list[int] = []
        self.exports: list[int] = []
        self.function: GraphFunction | None = None

        late: frozenset[int] = frozenset() if above is None else above.late_numbers
        more = {i for i, s in span.roots if isinstance(s, Element)}
        for i, _, places in span.steps:
            if not late.isdisjoint(places) or not more.isdisjoint(places):
                more.add(i)
        self.late_numbers: frozenset[int] = late | more if more else late
        # What is known of the span's numbers before a program runs; and what, of all pending spans, once it has.
        self.early_roots = [(i, s) for i, s in span.roots if not isinstance(s, Element)]
        self.early_steps = [step for step in span.steps if step[0] not in more]
        self.late_roots = [(i, s.value) for node in self.pending for i, s in node.span.roots if isinstance(s, Element)]
        self.late_steps = [step for node in self.pending for step in node.span.steps if step[0] in self.late_numbers]


class _Path:
    """The nodes from the root of a tree to one of them, which say what each value of the path is."""

    def __init__(self, node: Node):
        self.nodes: list[Node] = []
        above: Node | None = node
        while above is not None:
            self.nodes.append(above)
            above = above.above
        self.nodes.reverse()
        self._firsts = [n.first for n in self.nodes]

    def place(self, k: int) -> int:
        """Which node has value ``k``."""
        return bisect.bisect_right(self._firsts, k) - 1

    def row(self, k: int) -> tuple[int, Row] | None:
        """The operation that computes a value, and the number of its first result; None for an input."""
        return self.nodes[self.place(k)].own.get(k)

    def type(self, k: int) -> TensorType:
        node = self.nodes[self.place(k)]
        if k < node.computed:
            return node.span.inputs[k - node.first].type
        first, row = node.own[k]
        return row.types[k - first]

    def is_sensitive(self, k: int) -> bool:
        return k in self.nodes[self.place(k)].span.sensitive

    def flushed_by(self, k: int) -> Node:
        """The node whose program computes a value."""
        i = self.place(k)
        while not self.nodes[i].flushes:
            i += 1
        return self.nodes[i]


class Tree:
    """The paths recorded for one signature. ``matches`` and ``replay`` are as those of a ``Trace``."""

    def __init__(self, name: str):
        self.name = name
        self.root: Node | None = None
        self.kept: list[Any] = []  # what its key refers to by identity
        self.nodes = 0
        self.paths = 0
        self.replays = 0  # calls
        self.misses = 0  # in a row
        self.changes = False  # whether a path writes to something
        self._gone = False
        self._lock = threading.RLock()
        self._functions: dict[Any, GraphFunction] = {}

    # Growth.

    def attach(self, spans: Sequence[Span], ending: Ending | str) -> bool:
        """Adds a path; ``ending`` is a reason if it cannot be replayed to its end. False if a recording that saw the same did
        something else.
        """
        if isinstance(ending, str):
            spans = [*spans, _NOTHING]
        node, k = None, 0
        child = self.root
        while child is not None:
            node = child
            if not node.span.is_like(spans[k]):
                return False
            if k == len(spans) - 1:  # another thread has recorded it
                return node.ending is not None
            child = node.children.get(spans[k].seen)
            k += 1
        for j in range(k, len(spans)):
            new = Node(spans[j], node, ending if j == len(spans) - 1 else None)
            self.nodes += 1
            if new.flushes:
                self._link(new)
            if node is None:
                self.root = new
            else:
                node.children[spans[j - 1].seen] = new
            node = new
        self.paths += 1
        return True

    def leave(self, spans: list[Span], reason: str) -> bool:
        """Adds a path whose end cannot be replayed: from where Python last saw something else than numbers, if it can be."""
        short = len(spans)
        while short and _is_exact(spans[short - 1].event):
            short -= 1
        return bool(short and self.attach(spans[:short], reason)) or self.attach(spans, reason)

    def _link(self, node: Node) -> None:
        """Decides what the program of a node computes and reads, and has earlier ones give it."""
        if isinstance(node.ending, str):
            return
        path = _Path(node)
        imports: dict[int, None] = {}
        own = {first: row for n in node.pending for first, row in n.own.values()}
        # In the order in which a recording would have them that begins here, so that equal segments have equal graphs.
        work = [(first, row, 0) for first, row in reversed(own.items())]
        while work:
            first, row, at = work.pop()
            if first in node.rows:
                continue
            if at == len(row.operands):
                node.rows[first] = row
                continue
            work.append((first, row, at + 1))
            k = row.operands[at]
            found = path.row(k)
            if found is not None and (found[0] in own or _is_cheap(found[1])):
                work.append((*found, 0))
            else:
                imports[k] = None
        node.imports = list(imports)
        wanted = {*imports, *(value for _, value in node.late_roots)}
        if isinstance(node.span.event, Look):
            wanted.add(node.span.event.value)
        if node.ending is not None:
            wanted.update(node.ending.outputs, node.ending.updates.values())
            self.changes |= node.ending.changes
            if node.ending.followed:
                for n in path.nodes:
                    if not n.follows:
                        n.follows, n.function = True, None
        for k in wanted:
            if path.row(k) is not None:
                by = path.flushed_by(k)
                if k not in by.exports:
                    by.exports, by.function = sorted([*by.exports, k]), None

    # Replay.

    @property
    def may_match(self) -> bool:
        return not self._gone and all(map(alive, self.kept))

    def matches(self, call: Call) -> bool:
        return self.may_match

    def replay(self, call: Call) -> Any:
        """Runs along a known path. Raises Unseen, Left or Uncompiled; IndexError and RuntimeError as the programs do."""
        if not self.changes:
            return _Run(self, call).run()
        with self._lock:
            return _Run(self, call).run()

    def function(self, node: Node) -> GraphFunction:
        """The program of a node; equal ones have one."""
        graph, active, outputs = self._graph(node)
        key = graph.structure(), tuple(active), tuple(outputs)
        found = self._functions.get(key)
        if found is None:
            found = self._functions[key] = GraphFunction(graph, active, outputs)
        try:
            with signals_apart():
                _ = found.forward if found.active else found.plain
        except RecursionError:
            raise
        except Exception as e:
            raise Uncompiled(e, graph) from e
        node.function = found
        return found

    def _graph(self, node: Node) -> tuple[Graph, list[int], list[int]]:
        """The graph of a segment, and the positions of inputs and outputs through which gradients flow."""
        path = _Path(node)
        builder = Builder(self.name)
        env = {k: builder.input(path.type(k)) for k in node.imports}
        for first, row in node.rows.items():
            made = builder.add(row.primitive, [env[k] for k in row.operands], row.op.attrs, row.types, row.op.loc)
            env.update((first + k, v) for k, v in enumerate(made))
        graph = builder.finish([env[k] for k in node.exports])
        if not node.follows:
            return graph, [], []
        active = [i for i, k in enumerate(node.imports) if path.is_sensitive(k)]
        outputs = [i for i, k in enumerate(node.exports) if path.is_sensitive(k) and path.type(k).dtype.kind in "fc"]
        return (graph, active, outputs) if active and outputs else (graph, [], [])

    # Budgets.

    def missed(self, node: Node) -> str:
        """Counts a call that met something unseen; the reason to give up, if there is one."""
        self.misses += 1
        event = node.span.event
        if _is_exact(event) and len(node.children) >= _MAX_SEEN and self.misses >= _MAX_SEEN:
            return f"{event} is another one in each call"
        if self.misses >= _MAX_MISSES:
            return f"it goes another way in each call, the last time after {event}"
        if self.nodes >= _MAX_NODES:
            return f"it has gone too many ways: {self.paths}, with {self.nodes} looks at values"
        return ""

    @property
    def nbytes(self) -> int:
        """The memory that it keeps between calls."""
        functions = list(self._functions.values())
        compiled = [x for f in functions for x in vars(f).values() if isinstance(x, Executable)]
        return sum(x.program.nbytes for x in compiled)

    @property
    def graphs(self) -> list[Graph]:
        """Those of its programs, as they were recorded."""
        return [f.recorded for f in list(self._functions.values())]

    @property
    def fused_graphs(self) -> list[Graph]:
        """What is run, after all passes."""
        return [(f.forward if f.active else f.plain).fused for f in list(self._functions.values())]

    def summary(self) -> str:
        return f"{self.paths} paths, {self.nodes} looks at values, {len(self._functions)} programs"


def _is_exact(event: Any) -> bool:
    """Whether it is an event of which there may be as many outcomes as there are numbers."""
    return isinstance(event, Decision) or (isinstance(event, Look) and not event.truth)


def _is_cheap(row: Row) -> bool:
    """Whether computing a value again costs less than keeping it: a constant does, and what only moves elements."""
    return row.primitive.kind is Kind.SOURCE or row.primitive.put is not None


class _Run:
    """One replay. ``values`` are the graph's, by number: arrays; ``tensors`` what is a tensor already."""

    def __init__(self, tree: Tree, call: Call):
        self.tree, self.call = tree, call
        self.arrays: list[Any] = []
        self.tensors: dict[int, Tensor] = {}
        self.inputs: list[Tensor] = []
        self.values: list[Any] = []
        self.outputs: list[Tensor] = []
        self.made: dict[int, Tensor] = {}
        self.objects: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}  # of inputs, by id
        self._given: set[int] = set()  # the values that are inputs

    def input(self, i: int) -> Tensor:
        return self.inputs[i]

    def run(self) -> Any:
        node = self.tree.root
        assert node is not None
        while True:
            span = node.span
            for x in span.inputs:
                self._fetch(x, node)
            self.arrays += [None] * (node.next - node.first - len(span.inputs))
            self.values += span.constants
            if isinstance(node.ending, str):
                raise Left
            try:
                self._compute(node)
                if node.flushes:
                    self._flush(node)
            except ERRORS as e:
                raise Unseen(node) from e
            event = span.event
            if event is None:
                return self._commit(node)
            child = node.children.get(self._see(event))
            if child is None:
                raise Unseen(node)
            node = child

    def _fetch(self, x: Input, node: Node) -> None:
        source, call = x.source, self.call
        t: Tensor | None
        if source.kind == "float":
            t = wrap(np.array(self.values[source.index], np.float64))
        else:
            t = _owner(source, call)
            if source.kind == "grad" and t is not None:
                t = t._grad
            if t is None:
                self.tree._gone = True
                raise Unseen(node)
        data = t._data
        if data.shape != x.type.shape or data.dtype != x.type.dtype.numpy:
            raise Unseen(node)
        n = len(self.arrays)
        self._numbers[id(t)] = len(self.inputs)
        self.inputs.append(t)
        self.tensors[n] = t
        self._given.add(n)
        self.arrays.append(data if data.flags.c_contiguous else np.ascontiguousarray(data))

    def _compute(self, node: Node) -> None:
        """The numbers that depend on nothing that a program computes."""
        values = self.values
        for i, source in node.early_roots:
            values[i] = source.fetch(self.call)
            if type(values[i]) is not float:
                raise TypeError
        for i, function, places in node.early_steps:
            values[i] = function(*[values[k] for k in places])

    def _flush(self, node: Node) -> None:
        """Runs the program of a node; then all numbers are known."""
        arrays, values = self.arrays, self.values
        if node.exports:
            function = node.function or self.tree.function(node)
            given = [arrays[k] for k in node.imports]
            if function.active:
                outs = function.call(given, [self._tensor(k) for k in node.imports])
                for k, t in zip(node.exports, outs, strict=True):
                    arrays[k], self.tensors[k] = t._data, t
            else:
                for k, a in zip(node.exports, function.plain.run([address(a) for a in given]), strict=True):
                    arrays[k] = a
        for i, k in node.late_roots:
            values[i] = arrays[k].item()
        for i, step, places in node.late_steps:
            values[i] = step(*[values[k] for k in places])

    def _tensor(self, k: int) -> Tensor:
        if k not in self.tensors:
            self.tensors[k] = wrap(self.arrays[k])
        return self.tensors[k]

    def _see(self, event: Any) -> Any:
        if isinstance(event, Look):
            return event.see(self.arrays[event.value])
        if isinstance(event, Decision):
            return static(self.values[event.number])
        if isinstance(event, Gradient):
            owner = _owner(event.owner, self.call)
            return event.see(None if owner is None else owner._grad, self._numbers)
        return None

    def _commit(self, node: Node) -> Any:
        """The path is complete: from here on nothing fails, and what it changes is changed."""
        ending, arrays, inputs = node.ending, self.arrays, self.inputs
        assert ending is not None and not isinstance(ending, str)
        if ending.updates and is_written_over((t._data, i in ending.updates) for i, t in enumerate(inputs)):
            raise Unseen(node)
        if not all(inputs[i]._data.flags.writeable for i in ending.updates):
            raise Unseen(node)
        taken = self._given.copy()
        for j, k in enumerate(ending.outputs):
            array, t = arrays[k], self.tensors.get(k)
            if k in taken:  # a tensor of the user's, or another result
                t, array = None, array.copy()
            if t is None or (t._requires_grad and j not in ending.followed):
                t = wrap(array)
            taken.add(k)
            self.outputs.append(t)
        for k, leaf in ending.leaves:
            self.outputs[k]._requires_grad, self.outputs[k]._grad_fn = True, leaf
        given = {i: arrays[k].copy() if k in self._given else arrays[k] for i, k in ending.updates.items()}
        for i, a in given.items():
            np.copyto(inputs[i]._data, a)
        for i, change in ending.changed:
            inputs[i]._changes()[0] += change
        result = ending.build.make(self)  # type: ignore[arg-type]
        new = [(_owner(source, self.call), g.make(self)) for source, g in ending.grads]  # type: ignore[arg-type]
        for t, g in new:
            if t is not None:
                t._grad = g
        for written in ending.prints:
            written.again(self.values)
        self.tree.misses = 0
        self.tree.replays += 1
        return result


def _owner(source: Source, call: Call) -> Tensor | None:
    """The tensor that a source names, or whose gradient it names; None once it is gone."""
    return source.holder if source.is_held else call.tensors[source.index]
