"""Long graphs that repeat: equal iterations of a loop are compiled once.

A loop in Python is recorded as its iterations one after another, and passes take a time for each operation. A graph of
thousands of operations that repeat is divided: what precedes the loop, iterations in blocks of at least ``_BLOCK`` operations,
what follows. Equal blocks become one part, whose fused graph then stands in for each of them. Kernels do not join operations
of different blocks; the memory plan is made for the whole graph.

Iterations need not be equal to the last operation. Reads of slices of arrays from outside (``x[t]``) are computed before a
block; what only later code needs (``result[t] = h``) after it.
"""

from __future__ import annotations

import contextlib
import itertools
import marshal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import Builder, Graph, Op, Value, free
from .interp import EVALUATE
from .ops import broadcast, check_index, constant, full
from .ops.source import encode
from .passes.dce import dce
from .passes.fold import fold
from .primitive import Kind

_LONG = 8000  # operations of a graph that is divided
_BLOCK = 1500  # operations of a block
_SAVED = 4000  # operations that passes must be spared
_WINDOW = 12  # operations that are compared to find periods
_APART = 10  # at most one of this many operations of an iteration differs from those of others
_NEAR = 8  # movements between a value and the stored one
_TRIES = 6  # loops that are examined
_PASSED = 2**26  # bytes of a block's values that are computed before it, or read after it: they exist together
_SMALL = 2**16  # elements of a constant


@dataclass
class Call:
    """One execution of a part: the values of the whole graph that it reads and computes."""

    part: Graph
    args: Sequence[Value]
    results: Sequence[Value]

    def without(self, used: set[Value]) -> Call:
        """The call without results that are not used."""
        stays = [j for j, v in enumerate(self.results) if v in used]
        part = Graph(self.part.name, self.part.inputs, self.part.ops, [self.part.outputs[j] for j in stays])
        return Call(part, self.args, [self.results[j] for j in stays])


class _DifferError(Exception):
    """Two iterations are not equal."""


def divided(graph: Graph, simplify: Callable[[Graph], Graph]) -> tuple[list[Call], list[Value]] | None:
    """The parts in order, and the graph's outputs among their results. None if the graph is short or does not repeat.

    ``simplify``: passes that show what a block does not need, as an array of which it overwrites what it reads.
    """
    if len(graph.ops) < _LONG:
        return None
    graph = dce(fold(graph))
    repeated = _constants(graph)
    ops = [op for op in graph.ops if op not in repeated]
    if len(ops) < _LONG:
        return None
    alike, equal = _keys(ops)
    users = graph.users()
    for loop in itertools.islice(_loops(alike, equal), _TRIES):
        with contextlib.suppress(_DifferError):
            calls, outputs = _Division(graph, ops, users, equal, loop).calls()
            return _needed(calls, outputs, simplify), outputs
    return None


def _needed(calls: Sequence[Call], outputs: Sequence[Value], simplify: Callable[[Graph], Graph]) -> list[Call]:
    """The calls with the arguments and results of blocks that something needs, other than blocks for such results."""
    counts = Counter(id(call.part) for call in calls)
    (block,) = {id(call.part): call.part for call in calls if counts[id(call.part)] > 1}.values()
    blocks = [call for call in calls if call.part is block]
    number = {v: j for call in blocks for j, v in enumerate(call.results)}
    found = {*outputs, *(v for call in calls if call.part is not block for v in call.args)}
    results = {number[v] for v in found if v in number}
    if len(results) == len(block.outputs):
        return list(calls)
    simple = simplify(block)
    place = {v: i for i, v in enumerate(simple.inputs)}
    seen: set[Value] = set()
    work = [simple.outputs[j] for j in results] + [v for op in simple.ops if op.primitive is check_index for v in op.operands]
    while work:
        v = work.pop()
        if v in seen:
            continue
        seen.add(v)
        if v.op is not None:
            work += v.op.operands
            continue
        needed = {number[u] for call in blocks if (u := call.args[place[v]]) in number} - results
        results |= needed
        work += [simple.outputs[j] for j in needed]
    inputs, order = [i for i, v in enumerate(simple.inputs) if v in seen], sorted(results)
    small = dce(Graph(block.name, simple.inputs, simple.ops, [simple.outputs[j] for j in order]))
    small = Graph(block.name, [small.inputs[i] for i in inputs], small.ops, small.outputs)
    kept = [
        Call(small, [call.args[i] for i in inputs], [call.results[j] for j in order]) if call.part is block else call
        for call in calls
    ]
    used = {*outputs, *(v for call in kept for v in call.args)}
    return [call if call.part is small else call.without(used) for call in kept]


def assembled(graph: Graph, calls: Sequence[Call], outputs: Sequence[Value], fuse: Callable[[Graph], Graph]) -> Graph:
    """The fused graph of a divided one. ``fuse``: the fused graph of a part."""
    builder = Builder(graph.name)
    builder.inputs = list(graph.inputs)
    map: dict[Value, Value] = {v: v for v in graph.inputs}
    parts: dict[int, Graph] = {}
    shared: dict[Op, Value] = {}  # constants of parts
    for call in calls:
        if id(call.part) not in parts:
            parts[id(call.part)] = fuse(call.part)
        part = parts[id(call.part)]
        inner = {
            x: map[v] if v in map else map.setdefault(v, _stored(builder, v))
            for x, v in zip(part.inputs, call.args, strict=True)
        }
        for op in part.ops:
            if op in shared:
                inner[op.result] = shared[op]
                continue
            results = builder.add(op.primitive, [inner[v] for v in op.operands], op.attrs, [v.type for v in op.results], op.loc)
            for old, new in zip(op.results, results, strict=True):
                new.name = old.name
                inner[old] = new
            if op.primitive is constant:
                shared[op] = results[0]
        map.update(zip(call.results, [inner[v] for v in part.outputs], strict=True))
    for part in parts.values():
        free(part)
    return builder.finish([map[v] for v in outputs], graph.updates)


def _stored(builder: Builder, v: Value) -> Value:
    """A constant in memory."""
    assert v.op is not None
    attrs = {"data": encode(_evaluated(v)), "shape": v.shape, "dtype": v.dtype.short}
    return builder.append(constant, [], attrs, v.op.loc)[0]


def _evaluated(v: Value) -> Any:
    assert v.op is not None
    return EVALUATE.bind(v.op.primitive, [_evaluated(u) for u in v.op.operands], v.op.attrs)


def _constants(graph: Graph) -> dict[Op, int]:
    """Constants that parts repeat, and movements of them, each with the number of its movements."""
    found: dict[Op, int] = {}
    for op in graph.ops:
        if not op.operands:
            found[op] = 0
        elif _is_repeated(op) and (inner := op.operands[0].op) in found and inner is not None and found[inner] < _NEAR:
            found[op] = found[inner] + 1
    return found


def _is_repeated(op: Op) -> bool:
    """True for a movement that loses nothing."""
    return op.primitive.kind is Kind.MOVEMENT and len(op.operands) == 1 and op.result.type.numel >= op.operands[0].type.numel


def _text(op: Op) -> bytes | None:
    """The attributes, to be compared; None for an operation with a body. The format distinguishes 1, 1.0 and True, and -0.0
    from 0.0.
    """
    try:
        return marshal.dumps(list(op.attrs.items()), 2)
    except ValueError:
        return None


def _keys(ops: Sequence[Op]) -> tuple[np.ndarray, np.ndarray]:
    """A number for each operation: equal for those that may differ only in where slices begin, and equal for equal ones.

    What their operands are is not compared.
    """
    types: dict[int, int] = {}
    numbers: dict[Any, int] = {}

    def number(x: Any) -> int:
        return numbers.setdefault(x, len(numbers))

    alike, equal = np.empty(len(ops), np.uint64), np.empty(len(ops), np.uint64)
    for i, op in enumerate(ops):
        values = (*op.operands, *op.results)
        for v in values:
            if id(v.type) not in types:
                types[id(v.type)] = number(v.type)
        said = (op.primitive, *[types[id(v.type)] for v in values])
        if "starts" in op.attrs:
            attrs = op.attrs
            alike[i] = number((said, attrs.get("steps"), attrs.get("shape")))
            equal[i] = number((said, _text(op)))
        else:
            alike[i] = equal[i] = number((said, _text(op) or op))
    return alike, equal


@dataclass(frozen=True)
class _Loop:
    start: int  # the position of the first operation
    period: int
    count: int  # of iterations

    def repeats(self, other: _Loop) -> bool:
        """True if an iteration is several of another loop."""
        return self.start == other.start and self.period % other.period == 0


def _loops(alike: np.ndarray, equal: np.ndarray) -> Iterator[_Loop]:
    """Possible loops, those first that cover most."""
    found: dict[tuple[int, int], _Loop] = {}
    for keys, many in ((equal, 4), (alike, 8)):
        powers = np.uint64(0x9E3779B97F4A7C15) ** np.arange(_WINDOW, dtype=np.uint64)
        windows = np.lib.stride_tricks.sliding_window_view(keys + np.uint64(1), _WINDOW) @ powers
        for sixth in range(1, 6):
            anchor = len(windows) * sixth // 6
            distances = np.abs(np.flatnonzero(windows == windows[anchor]) - anchor)
            for period in np.unique(distances)[1 : many + 1].tolist():
                same = alike[:-period] == alike[period:]
                differ = np.flatnonzero(~same)
                at = int(np.searchsorted(differ, min(anchor, len(same) - 1)))
                start = int(differ[at - 1]) + 1 if at else 0
                end = (int(differ[at]) if at < len(differ) else len(same)) + period
                found[start, period] = _Loop(start, period, (end - start) // period)
    shares: list[tuple[_Loop, float]] = []
    for loop in sorted(found.values(), key=lambda loop: (-loop.period * loop.count, loop.period)):
        if loop.period * loop.count >= _SAVED + max(_BLOCK, loop.period):
            blocks = equal[loop.start : loop.start + loop.period * loop.count].reshape(loop.count, loop.period)
            share = np.count_nonzero((blocks != blocks[0]).any(0)) / loop.period
            if share * _APART <= 1 and not any(loop.repeats(other) and share >= least for other, least in shares):
                shares.append((loop, share))
                yield loop


class _Part:
    """A graph under construction that stands for operations in several places of the whole graph, ``count`` times."""

    def __init__(self, name: str, count: int, place: dict[Value, tuple[_Part, int, int]]):
        self.builder = Builder(name)
        self.count = count
        self.place = place  # of values that parts compute: the part, the number of the instance and of the value
        self.made: list[tuple[Value, tuple[Value, ...]]] = []  # each value, and those that it stands for
        self.slots: dict[tuple[Value, ...], Value] = {}
        self.args: list[tuple[Value, ...]] = []  # of the inputs
        self.copies: list[tuple[Value, Value]] = []  # values, and the results that are copies of them

    def add(self, ops: Sequence[Op]) -> None:
        """Appends an operation that stands for these, which differ in their operands alone."""
        first = ops[0]
        operands = [self.value(values) for values in zip(*[op.operands for op in ops], strict=True)]
        results = self.builder.add(first.primitive, operands, first.attrs, [v.type for v in first.results], first.loc)
        for new, old in zip(results, zip(*[op.results for op in ops], strict=True), strict=True):
            new.name = old[0].name
            for k, v in enumerate(old):
                self.place[v] = self, k, len(self.made)
            self.made.append((new, old))

    def value(self, values: tuple[Value, ...], near: int = _NEAR) -> Value:
        """The part's value that stands for these of its instances: computed in it, repeated in it, or an input."""
        inside = [self._number(v, k) for k, v in enumerate(values)]
        if inside[0] is not None or any(n is not None for n in inside):
            if inside[0] is None or any(n != inside[0] for n in inside):
                raise _DifferError
            return self.made[inside[0]][0]
        if values not in self.slots:
            self.slots[values] = self._repeated(values, near) or self._input(values)
        return self.slots[values]

    def _number(self, v: Value, k: int) -> int | None:
        """The number of a value that instance ``k`` computes; None for others."""
        place = self.place.get(v)
        return place[2] if place is not None and place[0] is self and place[1] == k else None

    def _input(self, values: tuple[Value, ...]) -> Value:
        self.args.append(values)
        return self.builder.input(values[0].type, values[0].name)

    def _repeated(self, values: tuple[Value, ...], near: int) -> Value | None:
        """Constants, and movements that lose nothing, are repeated instead of stored."""
        first, ops = values[0].op, [v.op for v in values if v.op is not None]
        if first is None or len(ops) < len(values) or any(op.primitive is not first.primitive for op in ops):
            return None
        text = _text(first)
        if text is None or any(_text(op) != text for op in ops):
            if first.primitive is full and first.result.shape and all(v.type == first.result.type for v in values):
                numbers = [Op(full, (), {**op.attrs, "shape": ()}, [op.result.type.with_shape(())]).result for op in ops]
                attrs = {"shape": first.result.shape, "axes": ()}
                return self.builder.append(broadcast, [self.value(tuple(numbers))], attrs, first.loc)[0]
            return None
        if first.operands and not (near and _is_repeated(first)):
            return None
        operands = [self.value(inner, near - 1) for inner in zip(*[op.operands for op in ops], strict=True)]
        return self.builder.add(first.primitive, operands, first.attrs, [first.result.type], first.loc)[0]

    def copy(self, v: Value) -> Value:
        """A result that has the elements of a value."""
        self.copies.append((self.value((v,)), Value(v.type, None, v.name)))
        return self.copies[-1][1]

    def finish(self, needed: set[Value]) -> list[Call]:
        """The calls; results are what ``needed`` contains of any instance, and copies."""
        stored = [(new, old) for new, old in self.made if not needed.isdisjoint(old)]
        stored += [(new, (copied,)) for new, copied in self.copies]
        graph = self.builder.finish([new for new, _ in stored])
        return [Call(graph, [v[k] for v in self.args], [old[k] for _, old in stored]) for k in range(self.count)]


class _Division:
    """A graph divided at a loop: what precedes it, equal blocks of iterations with what differs before and after each."""

    def __init__(self, graph: Graph, ops: Sequence[Op], users: Mapping[Value, Sequence[Op]], equal: np.ndarray, loop: _Loop):
        self.graph, self.ops, self.users = graph, ops, users
        self.size = loop.period * -(-_BLOCK // loop.period)
        self.start = loop.start + self._rotation(loop)
        self.count = (loop.start + loop.period * loop.count - self.start) // self.size
        if self.size * (self.count - 1) < _SAVED:
            raise _DifferError
        self.end = self.start + self.size * self.count
        blocks = equal[self.start : self.end].reshape(self.count, self.size)
        different = np.flatnonzero((blocks != blocks[0]).any(0)).tolist()
        if len(different) * _APART > self.size:
            raise _DifferError
        self.offset = {op: i % self.size for i, op in enumerate(ops[self.start : self.end])}
        self.before = self._computed_before(different)
        self.after = self._computed_after([o for o in different if o not in self.before])
        apart = self.before | self.after
        passed = {v for o in self.before for v in ops[self.start + o].results}
        passed |= {v for o in self.after for v in ops[self.start + o].operands if self._is_kept(v, apart)}
        if len(apart) * _APART > self.size or sum(v.type.nbytes for v in passed) > _PASSED:
            raise _DifferError

    def _rotation(self, loop: _Loop) -> int:
        """Where in an iteration blocks begin: where few values are needed later."""
        first = loop.start + loop.period * (loop.count // 2)
        numbers = {op: i for i, op in enumerate(self.ops[first - loop.period : first + 2 * loop.period])}
        change = [0] * (loop.period + 1)
        for op, i in numbers.items():
            for v in op.results:
                last = max((numbers.get(user, i) for user in self.users.get(v, ())), default=i)
                low, high = max(i + 1 - loop.period, 0), min(last - loop.period, loop.period - 1)
                if low <= high:
                    change[low] += 1
                    change[high + 1] -= 1
        alive = list(itertools.accumulate(change[: loop.period]))
        return alive.index(min(alive))

    def _instances(self, o: int) -> Sequence[Op]:
        return self.ops[self.start + o : self.end : self.size]

    def _is_kept(self, v: Value, apart: set[int]) -> bool:
        """True if a block computes the value."""
        return v.op in self.offset and self.offset[v.op] not in apart

    def _computed_before(self, different: list[int]) -> set[int]:
        """Those of some operations of a block that need nothing of the loop."""
        found: set[int] = set()
        for o in different:
            operands = {v.op for op in self._instances(o) for v in op.operands}
            if all(op not in self.offset or self.offset[op] in found for op in operands):
                found.add(o)
        return found

    def _computed_after(self, different: list[int]) -> set[int]:
        """Some operations of a block, and all that needs their results."""
        found, work = set(different), list(different)
        while work:
            for op in self._instances(work.pop()):
                for v in op.results:
                    needed = {self.offset[user] for user in self.users.get(v, ()) if user in self.offset} - found
                    found |= needed
                    work += needed
        return found

    def calls(self) -> tuple[list[Call], list[Value]]:
        """The calls of the parts in order, and the values of the graph's outputs."""
        name, place = self.graph.name, dict[Value, tuple[_Part, int, int]]()
        between = [_Part(f"{name}_{k}", 1, place) for k in range(self.count + 1)]
        body = _Part(f"{name}_block", self.count, place)
        first = range(self.start, self.end, self.size)
        for op in self.ops[: self.start]:
            between[0].add([op])
        for part, at in zip(between, first, strict=False):
            for o in sorted(self.before):
                part.add([self.ops[at + o]])
        for o in range(self.size):
            if o not in self.before and o not in self.after:
                body.add(self._instances(o))
        for part, at in zip(between[1:], first, strict=True):
            for o in sorted(self.after):
                part.add([self.ops[at + o]])
        for op in self.ops[self.end :]:
            between[-1].add([op])
        outputs: list[Value] = []
        for v in self.graph.outputs:
            is_own = v in place and v not in outputs
            outputs.append(v if is_own else between[-1].copy(v))
        needed = {*outputs, *(v for part in (*between, body) for values in part.args for v in values)}
        if any(v.type.numel > _SMALL for v in needed if v not in place and v.op is not None):
            raise _DifferError  # of constants
        blocks = body.finish(needed)
        calls = [call for part, block in zip(between, [*blocks, None], strict=True) for call in (*part.finish(needed), block)]
        return [call for call in calls if call is not None and call.part.ops], outputs
