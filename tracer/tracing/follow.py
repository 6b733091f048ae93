"""One replay along the paths of a tree: programs and Python's arithmetic up to the next event, and so on to an ending.

Until the path is complete everything is computed into new memory. A replay that stops earlier has changed nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.tensor import Tensor, wrap
from ..core.waiting import WAITING, will_change
from ..ir.graph import Graph
from ..runtime.devices import DeviceError, address, contiguous, device_of
from ..runtime.support.objects import reads_arrays
from .applications import Application
from .calls import FOREIGN, storage
from .entered import Entered
from .overlap import is_written_over, overlap
from .scalars import ERRORS, static
from .tape import Decision, Gradient, Input, Look
from .world import muted

if TYPE_CHECKING:
    from ..autograd.function import FunctionCtx
    from ..autograd.hooks import RemovableHandle
    from ..runtime.programs.program import Program
    from .calls import Call
    from .ending import Ending
    from .graph_function import GraphFunction
    from .sources import Source
    from .tree import Node, Tree


class Unseen(Exception):
    """A replay has met a value that no recording has seen, and has changed nothing."""

    def __init__(self, node: Node):
        self.node = node


class Left(Exception):
    """A replay has reached a path whose end cannot be replayed, or an error, and has changed nothing."""


class Uncompiled(Exception):
    """A segment could not be compiled; the replay has changed nothing."""

    def __init__(self, error: Exception, graph: Graph):
        self.error, self.graph = error, graph


class Known(NamedTuple):
    """Inputs that belong to a captured tensor, with the same memory in every call.

    arrays, addresses   by the number of the input's value
    checks              the source of such an input, whether it is a gradient, and its array
    loose               the positions of inputs that are looked up in each call
    ids                 the positions of inputs, by the id of their tensor
    """

    arrays: dict[int, np.ndarray]
    addresses: dict[int, int]
    checks: list[tuple[Source, bool, np.ndarray]]
    loose: list[int]
    ids: dict[int, int]


class Inputs:
    """The inputs of a span. ``first``: the number of the first; ``before``: the number of inputs in earlier spans."""

    def __init__(self, inputs: Sequence[Input], first: int, before: int):
        self.all, self.first, self.before, self.after = inputs, first, before, before + len(inputs)
        self.known: Known | None = None

    def refreshed(self) -> Known | None:
        """The current state; None if a tensor no longer exists, or has been replaced."""
        self.known = None
        known = Known({}, {}, [], [], {})
        for i, x in enumerate(self.all):
            t = _tensor_of(x.source) if x.source.is_held else None
            if x.source.is_held and (t is None or not _fits(t._data, x)):
                return None
            if t is None or not t._data.flags.c_contiguous:
                known.loose.append(i)
            else:
                known.arrays[self.first + i], known.addresses[self.first + i] = t._data, address(t._data)
                known.checks.append((x.source, x.source.kind == "grad", t._data))
            if t is not None:
                known.ids[id(t)] = self.before + i
        self.known = known
        return known


def _fits(data: np.ndarray, x: Input) -> bool:
    return device_of(data) is x.device and data.shape == x.type.shape and data.dtype == x.type.dtype.numpy


def _tensor_of(source: Source, call: Call | None = None) -> Tensor | None:
    """The tensor that a source names; None if it no longer exists."""
    t = owner(source, call)
    return t._grad if t is not None and source.kind == "grad" else t


def owner(source: Source, call: Call | None) -> Tensor | None:
    """The tensor that a source names, or whose gradient it names; None if it no longer exists."""
    if source.is_held:
        return source.holder  # type: ignore[no-any-return]
    assert call is not None
    return call.tensors[source.index]


class Closing:
    """Data about an ending that is known in advance.

    outputs   the number of each value in the result, whether it is a copy, and whether it has a gradient
    in_place  the inputs that the last program writes to, and the values
    copied    the inputs that are written afterwards, the values, and whether those are inputs themselves
    """

    def __init__(self, ending: Ending, last: set[int], inputs: set[int], read: set[int], may_fail: bool):
        """``last``: the values computed by the last program; ``inputs``: the values that are inputs; ``read``: the inputs that
        Python reads afterwards; ``may_fail``: whether Python may fail then.
        """
        self.ending = ending
        taken = inputs.copy()
        self.outputs: list[tuple[int, bool, bool]] = []
        for j, k in enumerate(ending.outputs):
            self.outputs.append((k, k in taken, j in ending.followed))
            taken.add(k)
        in_place = not may_fail and not ending.followed
        apart = read | ending.strided
        self.in_place = {i: k for i, k in ending.updates.items() if in_place and k in last and i not in apart}
        self.copied = [(i, k, k in inputs) for i, k in ending.updates.items() if i not in self.in_place]
        self.changed = frozenset(ending.updates)
        self.counters: list[tuple[list[int], int]] | None = None
        self.loose: list[tuple[int, int]] = []
        # Cached results about the memory of captured tensors: the tensors, their memory, and which of it is changed.
        self.apart: tuple[list[Known], set[int], list[np.ndarray]] | None = None


def are_the_same(call: Call, pairs: Sequence[tuple[int, int]]) -> bool:
    """True if these tensors of a call, by number, are the same."""
    tensors = call.tensors
    return all(tensors[i] is tensors[k] for i, k in pairs)


# Python's arithmetic that never fails on floats.
_SAFE = {operator.add, operator.sub, operator.mul, operator.neg, operator.pos, operator.abs, format, str, repr}
_SAFE |= {operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne}


def may_fail(steps: Sequence[tuple[int, Any, Any]]) -> bool:
    """True if Python may raise an exception in one of these steps."""
    return any(function not in _SAFE for _, function, _ in steps)


class PathRun:
    """A replay. By the number of a graph value: ``arrays``; ``words``, passed to programs: the address of an input, the id of
    another array; ``tensors``, where they exist.
    """

    def __init__(self, tree: Tree, call: Call):
        self.tree, self.call = tree, call
        self.nodes: list[Node] = []
        self.arrays: dict[int, np.ndarray] = {}
        self.words: dict[int, int] = {}
        self.tensors: dict[int, Tensor] = {}
        self.values: list[Any] = []
        self.outputs: list[Tensor] = []
        self.made: dict[int, Tensor] = {}
        self.objects: dict[int, Any] = {}
        self.entered: Sequence[Tensor] = ()
        self.handles: Sequence[RemovableHandle] = ()
        self.contexts: list[FunctionCtx] = []  # of the applications on the path
        self._ids: dict[int, int] = {}
        self._ids_of = 0  # number of nodes
        self._compiled: list[Any] = []  # the nodes that programs have created in the dynamic graph

    def input(self, i: int) -> Tensor:
        """Input ``i`` as a tensor."""
        for node in self.nodes:
            inputs = node.inputs
            if 0 <= i - inputs.before < len(inputs.all):
                source = inputs.all[i - inputs.before].source
                if source.is_number:
                    return self.tensor(inputs.first + i - inputs.before)
                t = _tensor_of(source, self.call)
                assert t is not None
                return t
        raise AssertionError

    def run(self, node: Node) -> Any:
        """The result, from the root on."""
        arrays, words, nodes = self.arrays, self.words, self.nodes
        while True:
            span = node.span
            nodes.append(node)
            if node.pairs and not are_the_same(self.call, node.pairs):
                raise Unseen(node)
            if node.is_plain and node.caller is not None:  # the same as below, for an iteration of a loop
                outs = node.caller(*[words[k] for k in node.imports])
                if outs is None:
                    raise Left
                for k, a in zip(node.exports, outs):  # noqa: B905
                    arrays[k], words[k] = a, id(a)
                look: Any = span.event
                child = node.children.get(bool(arrays[look.value]) if look.truth else look.see(arrays[look.value]))
                if child is None:
                    raise Unseen(node)
                for k in node.dead:
                    del arrays[k]
                node = child
                continue
            if node.left:
                raise Left
            if span.constants:
                self.values += span.constants
                self._compute(node)
            if span.inputs:
                self._fetch(node)
            if node.closing is not None and node.closing.changed:
                self._check_memory(node, node.closing)
                if WAITING:
                    counted = {i for i, _ in node.closing.ending.changed}
                    for i in node.closing.changed:
                        will_change(self.input(i), i in counted, self._compiled)
            if node.flushes:
                self._flush(node)
            event = span.event
            if event is None:
                assert node.closing is not None
                return self._close(node.closing)
            child = node.children.get(self._see(event))
            if child is None:
                raise Unseen(node)
            for k in node.dead:
                arrays.pop(k, None)
                self.tensors.pop(k, None)
            node = child

    def _compute(self, node: Node) -> None:
        """Computes the numbers that do not depend on programs."""
        values = self.values
        try:
            for i, source in node.early_roots:
                values[i] = source.fetch(self.call)
            for i, function, places in node.early_steps:
                values[i] = function(*[values[k] for k in places])
        except ERRORS as e:
            raise Unseen(node) from e

    def _fetch(self, node: Node) -> None:
        """Looks up the inputs of a span."""
        inputs, n = node.inputs, node.first
        known = inputs.known or inputs.refreshed()
        if known is not None:
            for source, is_gradient, array in known.checks:
                t = source.holder
                if t is not None and is_gradient:
                    t = t._grad
                if t is None or t._data is not array:
                    known = inputs.refreshed()
                    break
        if known is None:
            self.tree.look_whether_gone(node)
            raise Unseen(node)
        arrays, words = self.arrays, self.words
        arrays.update(known.arrays)
        words.update(known.addresses)
        for i in known.loose:
            x = inputs.all[i]
            if x.source.kind == "float":
                data = np.array(self.values[x.source.index], np.float64)
            elif x.source.kind == "array":
                data = np.ascontiguousarray(self.values[x.source.index])
                if not _fits(data, x):
                    raise Unseen(node)
            else:
                found = _tensor_of(x.source, self.call)
                if found is None or not _fits(found._data, x):
                    raise Unseen(node)
                data = contiguous(found._data)
            arrays[n + i], words[n + i] = data, address(data)

    def _check_memory(self, node: Node, closing: Closing) -> None:
        """Checks that changed tensors are writeable, and share no memory with other inputs."""
        changed = closing.changed
        spans = [(n.inputs, n.inputs.known) for n in self.nodes if n.inputs.known is not None]
        known = [k for _, k in spans]
        if closing.apart is None or not all(map(operator.is_, closing.apart[0], known)):
            fixed = [(a, inputs.before + k - inputs.first) for inputs, its in spans for k, a in its.arrays.items()]
            if is_written_over((a, i in changed) for a, i in fixed):
                raise Unseen(node)
            closing.apart = known, {id(storage(a)) for a, _ in fixed}, [a for a, i in fixed if i in changed]
        if not all(a.flags.writeable for a in closing.apart[2]):
            raise Unseen(node)
        if self.call.is_foreign or id(FOREIGN) in closing.apart[1]:
            held = [a for _, its in spans for a in its.arrays.values()]
            if overlap(held, [t._data for t in self.call.tensors]):
                raise Unseen(node)
        elif not closing.apart[1].isdisjoint(self.call.storages):
            raise Unseen(node)
        loose = [(inputs.all[i], inputs.before + i) for inputs, its in spans for i in its.loose]
        for x, i in loose:
            if i in changed and not x.source.is_number:
                t = _tensor_of(x.source, self.call)
                if t is None or not t._data.flags.writeable:
                    raise Unseen(node)
                if not t._data.flags.c_contiguous and i not in closing.ending.strided:
                    raise Unseen(node)
        if any(x.source.kind == "grad" or x.source.is_held for x, _ in loose):
            all_inputs = [(i, x.source) for n, _ in spans for i, x in enumerate(n.all, n.before) if not x.source.is_number]
            every = [(i, _tensor_of(source, self.call)) for i, source in all_inputs]
            if is_written_over((t._data, i in changed) for i, t in every if t is not None):
                raise Unseen(node)

    def _flush(self, node: Node) -> None:
        """Runs the program of a node; then all numbers are known."""
        arrays, values = self.arrays, self.values
        if node.exports or (node.closing is not None and node.closing.in_place):
            function = node.function or self.tree.function(node)
            try:
                if function.active:
                    self._run_followed(node, function)
                else:
                    self._run_program(node, function)
            except DeviceError:
                raise
            except (IndexError, RuntimeError, MemoryError):  # the function raises it in the right place
                raise Left from None
        try:
            for i, k, whole in node.late_roots:
                values[i] = arrays[k] if whole else arrays[k].item()
            for i, step, places in node.late_steps:
                values[i] = step(*[values[k] for k in places])
        except ERRORS as e:
            raise Unseen(node) from e

    def _run_program(self, node: Node, function: GraphFunction) -> None:
        arrays, words, imports = self.arrays, self.words, node.imports
        program = function.plain.program
        if node.caller is None and reads_arrays and program.lock is None and function.placement.device is None:
            node.caller = self.tree.caller(program, [i for i, k in enumerate(imports) if k not in node.given])
        outs: Sequence[np.ndarray] | None
        outs = node.caller(*[words[k] for k in imports]) if node.caller is not None else self._run_and_update(node, program)
        if outs is None:
            raise Left
        for k, a in zip(node.exports, outs, strict=True):
            arrays[k], words[k] = a, id(a)

    def _run_and_update(self, node: Node, program: Program) -> Sequence[np.ndarray]:
        arrays = [self.arrays[k] for k in node.imports]
        before = [arrays[i].copy() for i in program.unsafe] if program.unsafe else ()
        try:
            return program.run([*map(address, arrays)])
        except DeviceError:
            raise
        except (IndexError, RuntimeError, MemoryError):
            for i, old in zip(program.unsafe, before, strict=True):
                np.copyto(arrays[i], old)
            raise

    def _run_followed(self, node: Node, function: GraphFunction) -> None:
        outs = function.call([self.arrays[k] for k in node.imports], [self.tensor(k) for k in node.imports])
        for k, t in zip(node.exports, outs, strict=True):
            self.arrays[k], self.words[k], self.tensors[k] = t._data, id(t._data), t
        self._compiled += dict.fromkeys(t._grad_fn for t in outs if t._grad_fn is not None)

    def _part_with(self, t: Tensor) -> None:
        """An input is about to change: derivatives of values computed from it use its current elements."""
        before = wrap(t._data.copy())
        for node in self._compiled:
            node.replace(t, before)

    def have(self, k: int, t: Tensor) -> None:
        """Sets value ``k`` to this tensor, which no program has created."""
        data = contiguous(t._data)
        self.tensors[k], self.arrays[k], self.words[k] = t, data, address(data)

    def tensor(self, k: int) -> Tensor:
        """Value ``k`` as a tensor."""
        found = self.tensors.get(k)
        if found is None:
            inside = next((n for n in self.nodes if n.first <= k < n.computed), None)
            source = None if inside is None else inside.span.inputs[k - inside.first].source
            found = None if source is None or source.is_number else _tensor_of(source, self.call)
            self.tensors[k] = found = wrap(self.arrays[k]) if found is None else found
        return found

    def _see(self, event: Any) -> Any:
        if isinstance(event, Look):
            return event.see(self.arrays[event.value])
        if isinstance(event, Decision):
            return static(self.values[event.number])
        if isinstance(event, (Application, Entered)):
            event.enter(self)
        if isinstance(event, Gradient):
            t = owner(event.owner, self.call)
            gradient = None if t is None else t._grad
            return event.see(gradient, {} if gradient is None else self._numbers())
        return None

    def _numbers(self) -> dict[int, int]:
        """The inputs met so far, by the ids of their tensors."""
        for n in self.nodes[self._ids_of :]:
            if n.inputs.known is not None:
                self._ids.update(n.inputs.known.ids)
                for i in n.inputs.known.loose:
                    x = n.inputs.all[i]
                    if not x.source.is_held and not x.source.is_number:
                        self._ids[id(_tensor_of(x.source, self.call))] = n.inputs.before + i
        self._ids_of = len(self.nodes)
        return self._ids

    def _close(self, closing: Closing) -> Any:
        """The path is complete: from here on nothing fails, and changes are made."""
        ending, arrays = closing.ending, self.arrays
        for k, copied, followed in closing.outputs:
            self.outputs.append(self.tensors[k] if followed and not copied else wrap(arrays[k].copy() if copied else arrays[k]))
        for k, leaf in ending.leaves:
            self.outputs[k]._requires_grad, self.outputs[k]._grad_fn = True, leaf
        new = [(self.input(i)._data, arrays[k].copy() if is_input else arrays[k]) for i, k, is_input in closing.copied]
        if self._compiled:
            for i in closing.changed:
                self._part_with(self.input(i))
        for data, a in new:
            np.copyto(data, a)
        if closing.counters is None:
            # Change counters: those of captured tensors are the same in every call.
            inputs = {n.inputs.before + i: x for n in self.nodes for i, x in enumerate(n.inputs.all)}
            fixed = [(i, change) for i, change in ending.changed if inputs[i].source.kind == "captured"]
            closing.counters = [(self.input(i)._changes(), change) for i, change in fixed]
            closing.loose = [row for row in ending.changed if row not in fixed]
        for counter, change in closing.counters:
            counter[0] += change
        for i, change in closing.loose:
            self.input(i)._changes()[0] += change
        self.entered = [self.tensors[k] for k in ending.entered]
        self.handles = [hook.handle(self) for hook in ending.hooks]
        result = ending.build.make(self)
        grads = [(owner(source, self.call), g.make(self)) for source, g in ending.grads]
        effects = [(place, place.find(self.call), value.make(self)) for place, value in ending.effects]
        memory = [(x, owner(x.owner, self.call), x.build.make(self)) for x in ending.memory]
        for t, g in grads:
            if t is not None:
                t._grad = g
        for x, t, other in memory:
            if t is not None:
                x.give(t, other)
        for place, holder, value in effects:
            place.put(holder, value)
        for source, flag in ending.flags:
            t = owner(source, self.call)
            if t is not None:
                t.requires_grad_(flag)
        if not muted.on:  # the function registers its own
            for hook, handle in zip(ending.hooks, self.handles, strict=True):
                hook.register(self, handle)
        for i, name, value in ending.contexts:
            setattr(self.contexts[i], name, value.make(self))
        for written in ending.prints:
            written.again(self.values)
        return result
