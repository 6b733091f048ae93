"""A path of many segments as one program, for calls in which Python reads the same values as before.

The program computes all of the path, and besides it what Python would read, for comparison. It writes only into new memory, so
if a value differs nothing has changed, and the replay goes along the segments instead.

Two paths that differ only in how many elements masks select may have the same program, once it computes for all elements what
they compute for those selected. Then it is valid for other counts, too, unless Python has read these.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.waiting import WAITING, will_change
from ..ir.graph import Builder, Graph, Value
from ..ir.ops import concatenate, full, ne, reshape
from ..ir.passes.masks import compute_at_masks
from ..ir.pipeline import COMPILE, SIMPLIFY, run
from ..runtime.support.objects import reads_arrays
from .draws import Draw
from .follow import Closing, Left, PathRun, Unseen, are_the_same
from .scalars import ERRORS, Element, static
from .tape import Decision, Gradient, Look

if TYPE_CHECKING:
    from ..runtime.programs.calling import Caller
    from .calls import Call
    from .tree import Node, Tree

_LEAST = 2  # segments
_MOST = 50_000  # operations
_REPEATED = 3  # operations for each different one: more are a loop, whose segments share programs
_FEW = 1000  # operations that may be a loop
_COPIED = 1 << 16  # bytes of updates for each segment: about what calling it takes
_STEADY = 4  # replays along one path
_LONGEST = 256
_PATHS = 8  # of a tree
_MANY = 50  # segments
_SHORT = 256  # bytes that Python reads at once
_PLURAL = 2  # the smallest count for which a path may stand for another one
_GENERAL = 4  # paths for any count
_ATTEMPTS = 4  # to find two paths with one program


Counts = frozenset[int]


class Missed(Exception):
    """A replay along a joined path has met another value, or its program is not ready. It has changed nothing."""


class Joins:
    """Which path of a tree is run as one program: one that several replays in a row have taken; of very many segments, which
    would take long to compile, the only one.
    """

    def __init__(self, tree: Tree):
        self._tree = tree
        self._known: dict[int, Joined | None] = {}  # by the id of a path's last node; None if it is not worth it
        self._last: Node | None = None
        self._streak = 0
        self._needed = _STEADY  # more after each miss, because that run was in vain
        self._first = True
        # The last node of the latest path with counts that Python has not read, and the numbers of their values.
        self._counting: tuple[Node, Counts] | None = None
        self._attempts = 0
        self._general: list[Joined] = []  # those for any count
        self.current: Joined | None = None
        self.failure = ""  # why a path's program cannot be compiled

    def begin(self) -> list[Joined]:
        """The paths to try first."""
        if self._first:
            self._first = False
            leaf = self._tree.only_leaf() if self._tree.paths == 1 else None
            if leaf is not None and sum(n.flushes for n in self._tree.path_to(leaf)) >= _MANY:
                self.current = self._join(leaf)
        current = [self.current] if self.current is not None else []
        return current + [x for x in self._general if x is not self.current]

    def missed(self, joined: Joined) -> None:
        """The replay took another path."""
        if joined is self.current:
            self.current, self._streak, self._needed = None, 0, min(2 * self._needed, _LONGEST)

    def took(self, leaf: Node) -> None:
        """A replay has taken the path to this node, by its segments."""
        self._streak = self._streak + 1 if leaf is self._last else 1
        self._last = leaf
        if self._streak == self._needed:
            self.current = self._join(leaf)

    def counted(self, leaf: Node, counts: Counts) -> None:
        """A path was added on which Python has not read how many elements masks select: the values with these numbers."""
        if not _are_plural(self._tree.path_to(leaf), counts):
            return
        before, self._counting = self._counting, (leaf, counts)
        if before is None or before[1] != counts or self._attempts >= _ATTEMPTS:
            return
        self._attempts += 1
        try:
            joined = _for_any_count(self._tree, before[0], leaf, counts)
        except Exception as e:
            self.failure, joined = f"{type(e).__name__}: {e}", None
        if joined is not None:
            self._known[id(before[0])] = self._known[id(leaf)] = self.current = joined
            self._general = [joined, *self._general][:_GENERAL]
            self._attempts = 0

    def failed(self, joined: Joined, error: Exception) -> None:
        """The program of a path cannot be compiled."""
        self._known[id(joined.nodes[-1])] = self.current = None
        self._general = [x for x in self._general if x is not joined]
        self.failure = f"{type(error).__name__}: {error}"

    def _join(self, leaf: Node) -> Joined | None:
        if id(leaf) not in self._known:
            nodes = self._tree.path_to(leaf)
            room = sum(joined is not None for joined in self._known.values()) < _PATHS
            self._known[id(leaf)] = Joined(self._tree, nodes) if room and _is_worth_it(nodes) else None
        return self._known[id(leaf)]


def _is_worth_it(nodes: Sequence[Node]) -> bool:
    """True if a path can be joined, and if calling its segments takes long compared with what they compute."""
    leaf, flushes = nodes[-1], [n for n in nodes if n.flushes]
    if len(flushes) < _LEAST or not _can_be_joined(nodes) or any(n.follows for n in nodes):
        return False
    lengths = {
        hash(tuple([(row.primitive, row.attributes, row.types) for row in n.rows.values()])): len(n.rows) for n in flushes
    }
    assert leaf.closing is not None
    inputs = [x for n in nodes for x in n.span.inputs]
    changed = sum(inputs[i].type.nbytes for i in leaf.closing.ending.updates)
    count = sum(len(n.rows) for n in flushes)
    return count <= _REPEATED * sum(lengths.values()) + _FEW and changed <= _COPIED * len(flushes)


def _can_be_joined(nodes: Sequence[Node]) -> bool:
    leaf = nodes[-1]
    if leaf.closing is None:
        return False
    if any(n.left or n.entered or not isinstance(n.span.event, (Look, Decision, Gradient, type(None))) for n in nodes):
        return False
    inputs = [x for n in nodes for x in n.span.inputs]
    if any(x.device is not None or (x.source.is_number and x.source.index in leaf.late_numbers) for x in inputs):
        return False
    return sum(len(n.rows) for n in nodes if n.flushes) <= _MOST


def _for_any_count(tree: Tree, a: Node, b: Node, counts: Counts) -> Joined | None:
    """The program that two paths have in common, if they differ only in counts; None if there is none."""
    one, other = tree.path_to(a), tree.path_to(b)
    if len(one) != len(other) or not all(map(_do_the_same, one, other)):
        return None
    seen = zip(one, _all_seen(one), _all_seen(other), strict=True)
    if any(x != y and not _is_count(n.span.event, counts) for n, x, y in seen):
        return None
    if not (_can_be_joined(one) and _can_be_joined(other)):
        return None
    if a.closing is None or b.closing is None or a.closing.ending.done != b.closing.ending.done:
        return None
    mine, others = Joined(tree, one, counts), Joined(tree, other, counts)
    tree.forget(others.function)
    if mine.function.recorded.structure() == others.function.recorded.structure():
        return mine
    tree.forget(mine.function)
    return None


def _without_counts(graph: Graph, is_differentiated: bool) -> Graph:
    """The graph with what it computes from selected elements, or rows, computed for all of them, where that is possible."""
    before = SIMPLIFY if is_differentiated else COMPILE[: COMPILE.index(compute_at_masks)]
    return compute_at_masks(run(graph, before, thorough=False), rows=True, safe=is_differentiated)


def _do_the_same(a: Node, b: Node) -> bool:
    """True if two nodes do the same, with extents that may differ."""
    x, y = a.span, b.span
    same = (x.inputs, x.event, x.roots, x.steps) == (y.inputs, y.event, y.roots, y.steps)
    rows = [[(row.primitive, row.operands) for row in s.rows] for s in (x, y)]
    return same and repr(x.constants) == repr(y.constants) and a.pairs == b.pairs and rows[0] == rows[1]


def _are_plural(nodes: Sequence[Node], counts: Counts) -> bool:
    """True if the path to these nodes may stand for paths with other counts."""
    seen = [x for n, x in zip(nodes, _all_seen(nodes), strict=True) if _is_count(n.span.event, counts)]
    return all(int(np.frombuffer(x, np.int64)[0]) >= _PLURAL for x in seen)


def _is_count(event: Any, counts: Counts) -> bool:
    return isinstance(event, Look) and event.value in counts


def _all_seen(nodes: Sequence[Node]) -> list[Any]:
    """What Python read at the ends of the nodes of a path."""
    return [*map(_seen, nodes, nodes[1:]), None]


def _seen(node: Node, after: Node) -> Any:
    """What Python read at the end of a node, before it went on with another."""
    return next(seen for seen, child in node.children.items() if child is after)


class Joined:
    """The path along these nodes: one program, and what a call compares before and after it.

    ``counts``: the numbers of values that need not be the same: how many elements masks select. They may be any numbers but 0
    and 1, for which functions may do something else.
    """

    def __init__(self, tree: Tree, nodes: list[Node], counts: Counts = frozenset()):
        self._tree, self.nodes = tree, nodes
        ending = nodes[-1].ending
        assert ending is not None and not isinstance(ending, str)
        given = {k for n in nodes for k in range(n.first, n.computed)}
        self.closing = Closing(ending, set(), given, set(), True)
        self.seen = _all_seen(nodes)
        events = [(n.span.event, x) for n, x in zip(nodes, self.seen, strict=True)]
        self._arrange_numbers([(e.number, x) for e, x in events if isinstance(e, Decision)])
        self.counts = sorted(counts)
        looks = [(e, x) for e, x in events if isinstance(e, Look) and e.value not in counts] + self.read
        self.early_looks = [(e, seen) for e, seen in looks if e.value in given]
        looks = [(e, seen) for e, seen in looks if e.value not in given]
        needed = [*ending.outputs, *ending.entered, *(k for _, k, _ in self.closing.copied), *(k for _, k, _ in self.elements)]
        self.exports = list(dict.fromkeys(k for k in needed if k not in given))
        read = {k for n in nodes for row in n.span.rows for k in row.operands}
        self.imports = [k for k in sorted(given) if k in read]
        graph, self.expected, self.long_looks = _graph(tree, nodes, self.imports, [*self.exports, *self.counts], looks)
        active = [i for i, k in enumerate(self.imports) if tree.is_sensitive(nodes[-1], k)] if ending.followed else []
        outputs = [i for i, k in enumerate(self.exports) if tree.is_sensitive(nodes[-1], k)] if ending.followed else []
        if counts:
            graph = _without_counts(graph, bool(active))
        self.function = tree.joined_function(graph, active, outputs)
        self.caller: Caller | None = None

    def _arrange_numbers(self, decisions: list[tuple[int, Any]]) -> None:
        """Which of Python's numbers a call computes. Those that decide are what they were; so are those that follow from them.

        values      all of them, as far as they are known
        elements    the computed values that numbers are read from
        late_steps  Python's arithmetic with these
        """
        spans = [n.span for n in self.nodes]
        elements = {i: s for span in spans for i, s in span.roots if isinstance(s, Element)}
        steps = [step for span in spans for step in span.steps]
        late = self.nodes[-1].late_numbers
        self.values = [x for span in spans for x in span.constants]
        known = set(range(len(self.values))) - {i for span in spans for i, _ in span.roots} - {i for i, _, _ in steps}
        self.decisions = [(i, seen) for i, seen in decisions if i not in late]
        self.read: list[tuple[Look, Any]] = []  # elements that decide
        self.late_decisions = []
        read_as = {i: places[0] for i, function, places in steps if function in (int, operator.index)}
        for i, (kind, value) in dict(decisions).items():
            at = i if i in elements else read_as.get(i, i)
            s = elements.get(at)
            t = None if s is None or s.whole else self._tree.type(self.nodes[-1], s.value)
            if s is None or t is None or kind not in (int, float, bool) or t.dtype.kind not in ("fiub" if at == i else "iu"):
                self.late_decisions += [(i, (kind, value))] if i in late else []
                continue
            number = np.full(t.shape, kind(value), t.dtype.numpy)
            self.read.append((Look(s.value, False, "", ""), number.tobytes()))
            self.values[at] = number.item()
            known.add(at)
        self.elements = [(i, s.value, s.whole) for i, s in elements.items() if i not in known]
        self.late_steps = []
        for i, function, places in steps:
            if known.issuperset(places) and not isinstance(function, Draw):
                self.values[i] = function(*[self.values[k] for k in places])
                known.add(i)
            elif i in late:
                self.late_steps.append((i, function, places))
        # The nodes for which a call computes numbers before the program runs.
        self.numbered = [n for n in self.nodes if n.early_roots or n.early_steps]

    def run(self, call: Call) -> Any:
        """The result of a call. Raises Missed."""
        return _JoinedRun(self._tree, call).along(self)


def _graph(
    tree: Tree, nodes: Sequence[Node], imports: Sequence[int], exports: Sequence[int], looks: Sequence[tuple[Look, Any]]
) -> tuple[Graph, list[bytes], list[tuple[Look, Any]]]:
    """The graph of a path: the exports, then what Python reads, concatenated for each dtype. Also the bytes that it has read of
    these before; and the reads of many elements, whose values come last.
    """
    builder = Builder(tree.name)
    env = {k: builder.input(tree.type(nodes[-1], k)) for k in imports}
    for node in nodes:
        for first, row in dict(node.own.values()).items():
            made = builder.add(row.primitive, [env[k] for k in row.operands], row.op.attrs, row.types, row.op.loc)
            env.update((first + k, v) for k, v in enumerate(made))
    short: dict[Any, list[tuple[Value, bytes]]] = {}
    long: list[tuple[Look, Any]] = []
    for event, seen in looks:
        v = env[event.value]
        if event.truth and v.dtype.kind != "c":
            truth = _flat(builder, v)
            if v.dtype.kind != "b":
                zero = builder.append(full, (), {"value": 0, "shape": (1,), "dtype": v.dtype.short}, "")[0]
                truth = builder.append(ne, [truth, zero], {}, "")[0]
            short.setdefault(truth.dtype, []).append((truth, np.bool_(seen).tobytes()))
        elif v.type.nbytes <= _SHORT and not event.truth:
            short.setdefault(v.dtype, []).append((_flat(builder, v), seen))
        else:
            long.append((event, seen))
    together = [_concatenated(builder, [v for v, _ in parts]) for parts in short.values()]
    results = [env[k] for k in exports] + together + [env[event.value] for event, _ in long]
    return builder.finish(results, {}), [b"".join(seen for _, seen in parts) for parts in short.values()], long


def _flat(builder: Builder, v: Value) -> Value:
    shape = (v.type.numel,)
    return v if v.shape == shape else builder.append(reshape, [v], {"shape": shape}, "")[0]


def _concatenated(builder: Builder, parts: list[Value]) -> Value:
    return parts[0] if len(parts) == 1 else builder.append(concatenate, parts, {"axis": 0}, "")[0]


class _JoinedRun(PathRun):
    """A replay along a joined path."""

    def along(self, joined: Joined) -> Any:
        try:
            self._before(joined)
            self._program(joined)
            self._compare(joined)
        except (Unseen, Left, *ERRORS) as e:
            raise Missed from e
        return self._close(joined.closing)

    def _before(self, joined: Joined) -> None:
        """All that does not depend on the program."""
        self.values = joined.values.copy()
        for node in joined.numbered:
            self._compute(node)
        if any(not are_the_same(self.call, node.pairs) for node in joined.nodes if node.pairs):
            raise Missed
        for node, seen in zip(joined.nodes, joined.seen, strict=True):
            self.nodes.append(node)
            if node.span.inputs:
                self._fetch(node)
            if isinstance(node.span.event, Gradient) and self._see(node.span.event) != seen:
                raise Missed
        self._require(joined.decisions)
        if any(event.see(self.arrays[event.value]) != seen for event, seen in joined.early_looks):
            raise Missed
        if joined.closing.changed:
            self._check_memory(joined.nodes[-1], joined.closing)
            if WAITING:
                counted = {i for i, _ in joined.closing.ending.changed}
                for i in joined.closing.changed:
                    will_change(self.input(i), i in counted, self._compiled)

    def _require(self, decisions: Sequence[tuple[int, Any]]) -> None:
        if any(static(self.values[number]) != seen for number, seen in decisions):
            raise Missed

    def _program(self, joined: Joined) -> None:
        outs: Sequence[np.ndarray] | None
        try:
            outs = self._computed(joined) if not joined.function.active else self._followed(joined)
        except (IndexError, RuntimeError, MemoryError) as e:
            raise Missed from e
        if outs is None:
            raise Missed
        if any(a.item() < _PLURAL for a in outs[len(joined.exports) : len(joined.exports) + len(joined.counts)]):
            raise Missed
        for k, a in zip(joined.exports, outs, strict=False):
            self.arrays[k], self.words[k] = a, id(a)
        self._looked = outs[len(joined.exports) + len(joined.counts) :]

    def _computed(self, joined: Joined) -> Sequence[np.ndarray] | None:
        program = joined.function.plain.program
        if joined.caller is None and reads_arrays and program.lock is None:
            joined.caller = self.tree.caller(program, [])
        words = [self.words[k] for k in joined.imports]
        return joined.caller(*words) if joined.caller is not None else program.run(words)

    def _followed(self, joined: Joined) -> Sequence[np.ndarray]:
        """The same, if a backward pass outside may follow."""
        tensors = [self.tensor(k) for k in joined.imports]
        outs = joined.function.call([self.arrays[k] for k in joined.imports], tensors)
        self.tensors.update(zip(joined.exports, outs, strict=False))
        self._compiled += dict.fromkeys(t._grad_fn for t in outs if t._grad_fn is not None)
        return [t._data for t in outs]

    def _compare(self, joined: Joined) -> None:
        """Whether Python would read what it has read before."""
        looked = self._looked
        if any(a.tobytes() != seen for a, seen in zip(looked, joined.expected, strict=False)):
            raise Missed
        if any(e.see(a) != seen for a, (e, seen) in zip(looked[len(joined.expected) :], joined.long_looks, strict=True)):
            raise Missed
        for i, k, whole in joined.elements:
            self.values[i] = self.arrays[k] if whole else self.arrays[k].item()
        for i, step, places in joined.late_steps:
            self.values[i] = step(*[self.values[k] for k in places])
        self._require(joined.late_decisions)
