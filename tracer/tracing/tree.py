"""The paths of one signature's calls: a tree of segments, each a native program.

A node of the tree ends where Python read a computed value (``tape``), and the value that a replay reads selects the next
node. Before its path is complete, a replay computes only into new memory; observable changes are made afterwards. So a
replay that meets a new value has changed nothing, and the function can run instead.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..ir.graph import Builder, Graph
from ..ir.primitive import Kind
from ..ir.types import TensorType
from ..runtime.forks import reentrant_lock
from .alike import Classes, common
from .applications import Application
from .draws import Draw, kept_unless_complete
from .ending import Ending, Recorded
from .entered import Entered
from .follow import Closing, Inputs, Left, PathRun, Uncompiled, may_fail
from .graph_function import GraphFunction
from .joined import Joined, Joins, Missed
from .kinds import alive
from .placement import CPU, Placement
from .scalars import Element
from .tape import Decision, Input, Look, Row, Span, merged

if TYPE_CHECKING:
    from ..runtime.devices import Device
    from ..runtime.programs.calling import Caller
    from ..runtime.programs.program import Program
    from .calls import Call
    from .effects import Slot

_MAX_NODES = 20_000
_MAX_LEFT = 64  # reasons to leave paths
_MAX_MISSES = 100  # in a row
_MAX_SEEN = 16  # different elements, or numbers, that are read at one place, and never a second time


_JOINED = "joined"  # in keys of functions

_NOTHING = Span((), (), (), (), (), None, None, frozenset())


_ALL_DIFFERENT: Classes = {}


class Node:
    """The continuation after an event: a span; then ``children`` by the next value read, or an ``ending``.

    flushes   whether a program runs here, with all operations that have not run before: those of the ``pending`` nodes
    rows      these operations, by the number of their first result, and recomputed earlier ones, in order
    imports   the existing values that they read, by number
    exports   the values they compute that are read later
    """

    def __init__(self, span: Span, above: Node | None, ending: Ending | str | None, same: Classes = _ALL_DIFFERENT):
        self.span, self.above = span, above
        self.arguments: Sequence[Input] = span.inputs if above is None else above.arguments  # those of the root come first
        self.are_the_same(same)
        self.ending, self.left = (None, ending) if isinstance(ending, str) else (ending, "")
        self.children: dict[Any, Node] = {}
        self.depth: int = 0 if above is None else above.depth + 1
        self.first: int = 0 if above is None else above.next
        self.computed = self.first + len(span.inputs)  # the number of the first computed value
        self.own: dict[int, tuple[int, Row]] = {}  # its operations, with the first of their numbers, by each of their numbers
        self.next: int = self.computed
        # The outputs of user-defined operations: the replay provides them, like inputs.
        self.entered: dict[int, TensorType] = {}
        entered = {*span.event.entered.values()} if isinstance(span.event, (Application, Entered)) else ()
        for row in span.rows:
            if self.next in entered:
                self.entered[self.next] = row.types[0]
            else:
                self.own.update((self.next + k, (self.next, row)) for k in range(len(row.types)))
            self.next += len(row.types)
        before = [] if above is None or above.flushes else above.pending
        self.pending: list[Node] = [*before, self]
        self.flushes: bool = ending is not None or (span.event is not None and span.event.late)
        self.follows = False  # whether a backward pass outside may follow on a path from here
        self.rows: dict[int, Row] = {}
        self.imports: list[int] = []
        self.exports: list[int] = []
        self.given: frozenset[int] = frozenset()  # the imports that are inputs
        self.needed: set[int] = set()  # the already computed values that nodes below read
        self.dead: tuple[int, ...] = ()  # values that exist after the node has run, and that nothing reads any more
        self.function: GraphFunction | None = None
        self.caller: Caller | None = None  # of its program
        self.inputs: Inputs = Inputs(
            span.inputs, self.first, 0 if above is None else above.inputs.before + len(above.span.inputs)
        )
        self.closing: Closing | None = None  # of a node with an ending

        late: frozenset[int] = frozenset() if above is None else above.late_numbers
        more = {i for i, s in span.roots if isinstance(s, Element)}
        for i, _, places in span.steps:
            if not late.isdisjoint(places) or not more.isdisjoint(places):
                more.add(i)
        self.late_numbers: frozenset[int] = late | more if more else late
        # The span's numbers that are known before a program runs; and those of all pending spans that are known afterwards.
        self.early_roots = [(i, s) for i, s in span.roots if not isinstance(s, Element)]
        self.early_steps = [step for step in span.steps if step[0] not in more]
        elements = [(i, s) for node in self.pending for i, s in node.span.roots if isinstance(s, Element)]
        self.late_roots = [(i, s.value, s.whole) for i, s in elements]
        numbers = span.constants or span.roots or any(n.span.roots for n in self.pending)
        self.is_plain = isinstance(span.event, Look) and not span.inputs and not numbers  # it has only a program and a read
        self.late_steps = [step for node in self.pending for step in node.span.steps if step[0] in self.late_numbers]

    def are_the_same(self, same: Classes) -> None:
        """In all recordings these arguments were the same tensor, by the numbers of their values: the span may read one for
        the other.
        """
        self.same = same
        firsts = [(i, min(its)) for i, its in same.items()]
        self.pairs = [(self.arguments[i].source.index, self.arguments[k].source.index) for i, k in firsts if i != k]


class _Path:
    """The nodes from the root of a tree to one of them, and possibly beyond: they define each value."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._firsts: list[int] = []

    def to(self, node: Node) -> _Path:
        """The path to a node; if it already contains the node, itself."""
        new: list[Node] = []
        n: Node | None = node
        while n is not None and not (n.depth < len(self.nodes) and self.nodes[n.depth] is n):
            new.append(n)
            n = n.above
        if new:
            start = 0 if n is None else n.depth + 1
            self.nodes[start:] = new[::-1]
            self._firsts[start:] = [m.first for m in self.nodes[start:]]
        return self

    def place(self, k: int) -> int:
        """The node that has value ``k``."""
        return bisect.bisect_right(self._firsts, k) - 1

    def row(self, k: int) -> tuple[int, Row] | None:
        """The operation that computes a value, and the number of its first result; None for an input."""
        return self.nodes[self.place(k)].own.get(k)

    def type(self, k: int) -> TensorType:
        node = self.nodes[self.place(k)]
        if k < node.computed:
            return node.span.inputs[k - node.first].type
        if k in node.entered:
            return node.entered[k]
        first, row = node.own[k]
        return row.types[k - first]

    def device(self, k: int) -> Device | None:
        """The device of a value: a program's results are on that of its inputs."""
        node = self.nodes[self.place(k)]
        return node.span.inputs[k - node.first].device if k < node.computed else self.computes_on(node)

    def computes_on(self, node: Node) -> Device | None:
        """The device of a node's program."""
        met = (x.device for n in self.nodes[: node.depth + 1] for x in n.span.inputs)
        return next((d for d in met if d is not None), None)

    def name(self, k: int) -> str:
        """The user's name of a value, if it is an input."""
        node = self.nodes[self.place(k)]
        return node.span.inputs[k - node.first].source.name if k < node.computed else ""

    def input(self, i: int) -> int:
        """The value of input ``i``."""
        node = next(n for n in self.nodes if 0 <= i - n.inputs.before < len(n.span.inputs))
        return node.first + i - node.inputs.before

    def is_sensitive(self, k: int) -> bool:
        return k in self.nodes[self.place(k)].span.sensitive

    def flushed_by(self, k: int) -> Node:
        """The node whose program computes a value."""
        i = self.place(k)
        while not self.nodes[i].flushes:
            i += 1
        return self.nodes[i]


class Tree(Recorded):
    """The paths recorded for one signature. ``matches`` and ``replay`` are like those of a ``Trace``."""

    def __init__(self, name: str, wait: bool = True):
        super().__init__()
        self.name = name
        self._wait = wait  # for compilations
        self.root: Node | None = None
        self.nodes = 0
        self.paths = 0
        self.left: dict[str, None] = {}  # why paths are left
        self.misses = 0  # in a row
        self.changes = False  # whether a path writes to something
        self._written: dict[int, Slot] = {}  # by their ids
        self.generators: list[Any] = []  # of random numbers, from which paths draw
        self._gone = False
        self._lock = reentrant_lock()
        self._path = _Path()
        self._functions: dict[Any, GraphFunction] = {}
        self._callers: dict[Any, Caller] = {}
        self.joins = Joins(self)

    # Growth.

    def attach(self, spans: Sequence[Span], ending: Ending | str, same: Classes = _ALL_DIFFERENT) -> bool:
        """Adds a path; ``ending`` is a reason if it cannot be replayed to its end. ``same``: the arguments that were the same.
        False if a recording that saw the same did something else.
        """
        if isinstance(ending, str):
            self.left[f"after {spans[-1].event}: {ending}"] = None
            spans = [*spans, _NOTHING]
        drawn = {id(f.generator): f.generator for span in spans for _, f, _ in span.steps if isinstance(f, Draw)}
        self.generators += [g for g in drawn.values() if all(g is not known for known in self.generators)]
        self.changes |= bool(drawn)
        node, k = None, 0
        path: list[tuple[Node, Span]] = []
        child = self.root
        while child is not None:
            node = child
            span = merged(node.span, node.same, spans[k], same)
            if span is None:
                return False
            path.append((node, span))
            k += 1
            child = node.children.get(spans[k - 1].seen) if k < len(spans) else None
        is_known = node is not None and k == len(spans)  # by another thread, or while other arguments were the same
        if node is not None and is_known and not _is_like(node.ending or node.left, ending, bool(same or node.same)):
            return False
        if any(span is not n.span for n, span in path):
            node = self._rebuild(path)
            self.joins = Joins(self)
            self._functions = {key: f for key, f in self._functions.items() if key[0] != _JOINED}
        for n in self._path.to(node).nodes[: node.depth + 1] if node is not None else ():
            n.are_the_same(common(n.same, same))
        if is_known:
            return True
        for j in range(k, len(spans)):
            new = Node(spans[j], node, ending if j == len(spans) - 1 else None, same)
            self.nodes += 1
            if new.flushes:
                self._link(new)
            if node is None:
                self.root = new
            else:
                node.children[spans[j - 1].seen] = new
            node = new
        self.paths += 1
        counts = frozenset(s.event.value for s in spans if isinstance(s.event, Look) and s.event.counts)
        if node is not None and node.closing is not None and counts:
            self.joins.counted(node, counts)
        return True

    def _rebuild(self, path: Sequence[tuple[Node, Span]]) -> Node:
        """Makes the tree again where nodes have other spans, which read other ones of the arguments that were the same. Gives
        the node that is in the place of the last one.
        """
        spans = {id(node): span for node, span in path}
        new: dict[int, Node] = {}
        work: list[tuple[Node, Any]] = [(path[0][0], None)]
        while work:
            old, seen = work.pop()
            above = None if old.above is None else new[id(old.above)]
            node = new[id(old)] = Node(spans.get(id(old), old.span), above, old.ending or old.left or None, old.same)
            if node.flushes:
                self._link(node)
            if above is not None:
                above.children[seen] = node
            work += [(child, seen) for seen, child in old.children.items()]
        self.root = new[id(path[0][0])]
        return new[id(path[-1][0])]

    def leave(self, spans: list[Span], reason: str, same: Classes = _ALL_DIFFERENT) -> bool:
        """Adds a path whose end cannot be replayed: from the last event that is not a number, if it can be."""
        if len(self.left) >= _MAX_LEFT:
            return False
        short = len(spans)
        while short and _is_exact(spans[short - 1].event):
            short -= 1
        return bool(short and self.attach(spans[:short], reason, same)) or self.attach(spans, reason, same)

    def _link(self, node: Node) -> None:
        """Determines what the program of a node computes and reads, and makes earlier ones export it."""
        if node.left:
            return
        path = self._path.to(node)
        imports: set[int] = set()
        own = {first: row for n in node.pending for first, row in n.own.values()}
        # In the order of a recording that begins here, so that equal segments have equal graphs.
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
                imports.add(k)
        # In the order in which the rows read them, whatever was recomputed.
        node.imports = list(dict.fromkeys([k for row in node.rows.values() for k in row.operands if k in imports]))
        wanted = {*imports, *(value for _, value, _ in node.late_roots)}
        if isinstance(node.span.event, Look):
            wanted.add(node.span.event.value)
        elif isinstance(node.span.event, Application):
            wanted.update(node.span.event.reads)
        elif isinstance(node.span.event, Entered):
            wanted.update(node.span.rows[-1].operands)
        if node.ending is not None:
            nodes = path.nodes[: node.depth + 1]
            given = {k for n in nodes for k in range(n.first, n.computed)}
            last = {k for n in node.pending for k in n.own}
            seen = {value for _, value, _ in node.late_roots}
            read = {i for i in node.ending.updates if path.input(i) in seen}
            node.closing = closing = Closing(node.ending, last, given, read, may_fail(node.late_steps))
            node.imports += [k for k in map(path.input, closing.in_place) if k not in imports]
            wanted.update(node.ending.outputs, node.ending.entered, (k for _, k, _ in closing.copied))
            self.changes |= node.ending.changes
            slots = [place.slot for place, _ in node.ending.effects if place.slot is not None]
            self._written.update({id(slot): slot for slot in slots})
            if node.ending.followed:
                for n in nodes:
                    if not n.follows:
                        n.follows, n.function, n.caller = True, None, None
        node.given = frozenset(k for k in node.imports if path.row(k) is None)
        touched = {node}
        for k in wanted:
            if path.row(k) is not None:
                by = path.flushed_by(k)
                if k not in by.exports:
                    by.exports, by.function, by.caller = sorted([*by.exports, k]), None, None
                above = node.above
                while above is not None and k < above.next and k not in above.needed:
                    above.needed.add(k)
                    touched.add(above)
                    above = above.above
        for n in touched:
            n.dead = tuple([k for k in (*n.exports, *n.imports) if k not in n.given and k not in n.needed])

    # Replay.

    @property
    def needs_the_same(self) -> bool:
        """True if it is known only for calls in which some arguments are the same."""
        return self.root is not None and bool(self.root.same)

    @property
    def may_match(self) -> bool:
        return not self._gone and all(map(alive, self.kept)) and not any(s.is_gone for s in self._written.values())

    def matches(self, call: Call) -> bool:
        return self.may_match

    def replay(self, call: Call) -> Any:
        """Runs along a known path. Raises Unseen, Left or Uncompiled."""
        start, functions = perf_counter(), len(self._functions)
        if not self.changes:
            result = self._replay(call)
        else:
            with self._lock:
                result = self._replay(call)
        self.misses = 0
        self.replays += 1
        if len(self._functions) == functions:  # nothing was compiled
            self.took(perf_counter() - start)
        return result

    def _replay(self, call: Call) -> Any:
        joins = self.joins
        for joined in joins.begin():
            if not self._is_ready(joined):
                continue
            try:
                with kept_unless_complete(self.generators):
                    result = joined.run(call)
            except Missed:
                joins.missed(joined)
            else:
                joins.current = joined
                return result
        assert self.root is not None
        run = PathRun(self, call)
        with kept_unless_complete(self.generators):
            result = run.run(self.root)
        joins.took(run.nodes[-1])
        return result

    def _is_ready(self, joined: Joined) -> bool:
        """True if the program of a joined path is compiled; False while it is, or if that failed: then its segments run, and
        ``explain`` says why.
        """
        try:
            return joined.function.prepare(self._wait)
        except RecursionError:
            raise
        except Exception as e:
            self.joins.failed(joined, e)
            self.forget(joined.function)
            return False

    def only_leaf(self) -> Node | None:
        """The last node of the only path; None if there are several."""
        node = self.root
        while node is not None and node.children:
            node = next(iter(node.children.values())) if len(node.children) == 1 else None
        return node

    def path_to(self, node: Node) -> list[Node]:
        return self._path.to(node).nodes[: node.depth + 1]

    def joined_function(self, graph: Graph, active: Sequence[int], outputs: Sequence[int]) -> GraphFunction:
        """The function of a joined path."""
        found = self._functions[_JOINED, id(graph)] = GraphFunction(graph, active, outputs, placement=CPU)
        return found

    def caller(self, program: Program, looked_at: list[int]) -> Caller:
        """The call of a program; equal segments share it."""
        from ..runtime.programs.calling import caller  # imports llvmlite

        key = id(program), tuple(looked_at)
        if key not in self._callers:
            self._callers[key] = caller(program, looked_at)
        return self._callers[key]

    def look_whether_gone(self, node: Node) -> None:
        """An input of a node has changed: if its tensor no longer exists, the tree will never match again."""
        self._gone |= any(x.source.is_held and x.source.holder is None for x in node.span.inputs)

    def function(self, node: Node) -> GraphFunction:
        """The compiled program of a node. Raises Left while it is compiled in the background, or Uncompiled."""
        found = self._function(node)
        try:
            is_ready = found.prepare(self._wait)
        except RecursionError:
            raise
        except Exception as e:
            raise Uncompiled(e, found.recorded) from e
        if not is_ready:
            raise Left
        node.function = found
        return found

    def _function(self, node: Node) -> GraphFunction:
        """The program of a node, compiled or not; equal ones share it."""
        path = self._path.to(node)
        key, active, outputs = self._key(node, path)
        found = self._functions.get(key)
        if found is None:
            *_, placement = key
            found = self._functions[key] = GraphFunction(self._graph(node, path), active, outputs, placement=placement)
        return found

    def _key(self, node: Node, path: _Path) -> tuple[Any, list[int], list[int]]:
        """The common key of equal segments, and the positions of inputs and outputs through which gradients flow."""
        number = {k: i for i, k in enumerate(node.imports)}
        rows = []
        for first, row in node.rows.items():
            rows.append((row.primitive.name, tuple([number[k] for k in row.operands]), row.attributes, row.types))
            for k in range(first, first + len(row.types)):
                number[k] = len(number)
        types = [path.type(k) for k in node.imports]
        active = [i for i, k in enumerate(node.imports) if path.is_sensitive(k)] if node.follows else []
        outputs = [i for i, k in enumerate(node.exports) if path.is_sensitive(k) and path.type(k).dtype.kind in "fc"]
        if not active or not outputs:
            active, outputs = [], []
        results = [number[k] for k in node.exports]
        updates = [(path.input(i), number[k]) for i, k in (node.closing.in_place if node.closing is not None else {}).items()]
        key = tuple(types), tuple(rows), tuple(results), tuple([(number[i], k) for i, k in updates])
        placement = Placement.of([path.device(k) for k in node.imports], path.computes_on(node))
        return (*key, tuple(active), tuple(outputs), placement), active, outputs

    def _graph(self, node: Node, path: _Path) -> Graph:
        """The graph of a segment."""
        builder = Builder(self.name)
        env = {k: builder.input(path.type(k), path.name(k)) for k in node.imports}
        for first, row in node.rows.items():
            made = builder.add(row.primitive, [env[k] for k in row.operands], row.op.attrs, row.types, row.op.loc)
            env.update((first + k, v) for k, v in enumerate(made))
        targets = node.closing.in_place if node.closing is not None else {}
        updates = {len(node.exports) + j: node.imports.index(path.input(i)) for j, i in enumerate(targets)}
        return builder.finish([env[k] for k in (*node.exports, *targets.values())], updates)

    @property
    def functions(self) -> list[GraphFunction]:
        """The programs of its segments; equal segments share one."""
        return list(self._functions.values())

    def recorded_functions(self) -> list[GraphFunction]:
        """The programs of all segments, compiled or not, in the order of the paths."""
        found: list[GraphFunction] = []
        nodes = [self.root] if self.root is not None else []
        for node in nodes:
            nodes += node.children.values()
            if node.flushes and node.rows and not node.left:
                found.append(self._function(node))
        return list(dict.fromkeys(found))

    def type(self, node: Node, k: int) -> TensorType:
        """The type of value ``k`` on the path to a node."""
        return self._path.to(node).type(k)

    def forget(self, function: GraphFunction) -> None:
        """A joined path's function is not needed."""
        self._functions = {key: f for key, f in self._functions.items() if f is not function}

    def is_sensitive(self, node: Node, k: int) -> bool:
        """True if gradients of the inputs could flow through value ``k``, on the path to a node."""
        path = self._path.to(node)
        return path.is_sensitive(k) and path.type(k).dtype.kind in "fc"

    # Limits.

    def missed(self, node: Node) -> str:
        """Counts a call that met a new value; returns the reason to give up, if there is one."""
        self.misses += 1
        event = node.span.event
        if _is_exact(event) and len(node.children) >= _MAX_SEEN and self.misses >= _MAX_SEEN:
            return f"{event} differs in each call"
        if self.misses >= _MAX_MISSES:
            return f"it takes a different path in each call, the last time after {event}"
        if self.nodes >= _MAX_NODES:
            return f"it has taken too many paths: {self.paths}, with {self.nodes} segments"
        return ""

    @property
    def nbytes(self) -> int:
        """The memory that it keeps between calls."""
        return sum(f.nbytes for f in self.functions)

    @property
    def graphs(self) -> list[Graph]:
        """The graphs of its programs, as recorded."""
        return [f.recorded for f in self.functions]

    @property
    def fused_graphs(self) -> list[Graph]:
        """The compiled graphs, after all passes."""
        return [f.executable.fused for f in self.functions]


def _is_like(a: Ending | str, b: Ending | str, aliased: bool) -> bool:
    """True if two recordings of one path end alike: if arguments were ``aliased``, they may have other effects."""
    if isinstance(a, str) or isinstance(b, str):
        return bool(a and b)
    return not aliased or a.done == b.done


def _is_exact(event: Any) -> bool:
    """True for an event with as many possible outcomes as there are numbers."""
    return isinstance(event, Decision) or (isinstance(event, Look) and not event.truth)


def _is_cheap(row: Row) -> bool:
    """True if recomputing a value costs less than keeping it: constants, and movements."""
    return row.primitive.kind is Kind.SOURCE or row.primitive.put is not None


def forget_trees(all_traces: Iterable[list[Any]]) -> int:
    """Removes the trees from lists of traces. Returns how often they were replayed."""
    replays = 0
    for traces in all_traces:
        replays += sum(trace.replays for trace in traces if isinstance(trace, Tree))
        traces[:] = [trace for trace in traces if not isinstance(trace, Tree)]
    return replays
