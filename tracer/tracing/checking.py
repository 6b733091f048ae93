"""``TRACER_CHECK=1``: every replay is compared with the function itself.

A checked call runs the replay, compares, and returns the function's result. The replay's changes to tensors, gradients,
random generators and Python objects are undone before the function runs, and it prints nothing. Such a call costs an eager
run, a replay, and a copy of all reachable tensors; if the results are differentiable, also two backward passes. Eager calls
are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..autograd.hooks import OF_LEAVES, RemovableHandle
from ..autograd.node import python_runs, was_freed
from ..core.tensor import Tensor
from ..ir.graph import Graph, Op
from .apart import Whole, take_apart
from .calls import Call
from .draws import Generators, kept_unless_complete
from .effects import Before
from .failure import TraceError
from .kinds import STATIC
from .outcome import IMMUTABLE
from .recording import Recording
from .scalars import static

_DIGITS = {2: 2e-2, 4: 2e-4, 8: 1e-8, 16: 1e-8}  # tolerances, by the element size in bytes


class _Held(NamedTuple):
    """The state of a tensor: its array, the elements, its version and gradient, and the gradient's elements."""

    array: np.ndarray
    elements: np.ndarray
    version: int
    grad: Tensor | None
    grad_elements: np.ndarray | None


class Check:
    """One checked call, created before its replay."""

    def __init__(self, name: str, function: Callable[..., Any], call: Call, reached: Mapping[int, Tensor]):
        from ..random import default_generator

        self.name, self.function, self.call = name, function, call
        tensors = [*call.tensors, *call.reached.values(), *reached.values(), default_generator.state]
        self.tensors = list({id(t): t for t in tensors}.values())
        self.before = self._state()
        found = [*call.generators, *(g for e in call.environments for g in e.generators)]
        self.generators = Generators(found)
        self.drawn = kept_unless_complete(self.generators.all)
        self.replayed, self.run = self._objects(), self._objects()

    def _objects(self) -> Before:
        """The state of everything else that the function, or its replay, can change."""
        before = Before()
        for environment in self.call.environments:
            before.look_at(environment.latest_walk(), environment)
        before.look_at_arguments(self.call)
        before.look_at_growing(self.call)
        return before

    def _state(self) -> list[_Held]:
        return [
            _Held(t._data, t._data.copy(), t._counter[0], t._grad, None if t._grad is None else t._grad._data.copy())
            for t in self.tensors
        ]

    def _restore(self, state: list[_Held]) -> None:
        for t, held in zip(self.tensors, state, strict=True):
            t._data = held.array
            if held.array.tobytes() != held.elements.tobytes():
                np.copyto(held.array, held.elements)
            if t._counter[0] != held.version:
                t._changes()[0] = held.version
            if t._grad is not held.grad:
                t._grad = held.grad
            if held.grad is not None and held.grad_elements is not None:
                np.copyto(held.grad._data, held.grad_elements)

    def compare(self, got: Any, args: tuple, kwargs: dict, graph: Graph | None) -> Any:
        """The function's result. Raises TraceError if the replay, whose result is ``got``, differs."""
        changed, _ = self._state(), self.replayed.changes()
        drawn = Generators(self.generators.all)
        self.drawn.restore()
        self.replayed.undo()
        self._restore(self.before)
        try:
            want = self.function(*args, **kwargs)
        except Exception as e:
            raise TraceError(f"{self.name}: a replay gives a result where the function raises {type(e).__name__}: {e}") from e
        after = self._state()
        found = next(self._differences(got, want, changed, after), None) or drawn.differs()
        if found:
            self.run.undo()
            self.drawn.restore()
            self._restore(self.before)
            raise TraceError(f"{self.name}: {found}{self._culprit(args, kwargs, graph)}")
        return want

    def _differences(self, got: Any, want: Any, changed: list[_Held], after: list[_Held]) -> Iterator[str]:
        yield from _differences(got, want, "the result", set())
        for n, (a, b) in enumerate(zip(changed, after, strict=True)):
            name = f"tensor {n} of shape {list(b.elements.shape)} that it changes"
            yield from _apart(a.elements, b.elements, name)
            if (a.grad is None) is not (b.grad is None):
                yield f"the gradient of {name} is {'None' if a.grad is None else 'set'} after a replay"
            elif a.grad_elements is not None and b.grad_elements is not None:
                yield from _apart(a.grad_elements, b.grad_elements, f"the gradient of {name}")
        yield from self._effects()
        yield from self._derivatives(got, want)

    def _effects(self) -> Iterator[str]:
        """Differences between the changes of objects by the replay and by the function."""
        mine = {(id(c.holder), c.key if isinstance(c.key, Hashable) else id(c.key)): c for c in self.replayed.changes()}
        for c in self.run.changes():
            other = mine.pop((id(c.holder), c.key if isinstance(c.key, Hashable) else id(c.key)), None)
            new = c.old if other is None else other.new
            yield from _differences(new, c.new, f"what it changes, {c.name()},", set())
        for c in mine.values():
            yield from _differences(c.new, c.old, f"what it changes, {c.name()},", set())

    def _derivatives(self, got: Any, want: Any) -> Iterator[str]:
        """Differences between first derivatives of the results, with respect to tensors that existed before the call."""
        from ..autograd import grad
        from ..ops import ones_like

        pairs = [
            (a, b) for a, b in zip(_tensors(got), _tensors(want), strict=True) if a.requires_grad and b._grad_fn is not None
        ]
        if not pairs or any(was_freed(b._grad_fn) or python_runs(b._grad_fn, ()) for _, b in pairs):  # type: ignore[arg-type]
            return
        inputs = [t for t in self.tensors if t._requires_grad and t._grad_fn is None]
        if any(not OF_LEAVES.isdisjoint(vars(t)) for t in inputs):  # they would be called
            return
        sides = []
        for k in (0, 1):
            outputs = [pair[k] for pair in pairs]
            ones = [ones_like(t) for t in outputs]
            sides.append(grad(outputs, inputs, ones, retain_graph=True, allow_unused=True))
        for n, (a, b) in enumerate(zip(*sides, strict=True)):
            if (a is None) is not (b is None):
                yield f"the derivative with respect to tensor {n} is {'None' if a is None else 'there'} in a replay alone"
            elif a is not None:
                yield from _apart(a._data, b._data, f"the derivative with respect to tensor {n} of shape {list(a.shape)}")

    def _culprit(self, args: tuple, kwargs: dict, graph: Graph | None) -> str:
        """The first difference between the recorded graph and a new recording; otherwise, a kernel's wrong result."""
        self.call.environments[0].look_again()
        with Recording(self.name, self.call) as recording:
            if not recording.is_alone:
                return ""
            result = recording.settle(recording.run(self.function, args, kwargs))
        now = recording.recorder.builder
        if graph is None:
            last = next((v.op for t in _tensors(result) if (v := recording.recorder.value(t)) is not None and v.op), None)
            return _at("computed by", last)
        for old, new in zip(graph.ops, now.ops, strict=False):
            if old.primitive is not new.primitive or _told(old) != _told(new):
                return _at("the first operation that is another one now:", new)
        if len(graph.ops) != len(now.ops):
            return _at("the first operation that is not in both:", [*graph.ops, *now.ops][min(len(graph.ops), len(now.ops))])
        return _at("computed by", next((v.op for v in graph.outputs if v.op is not None), None))


def _at(what: str, op: Op | None) -> str:
    return "" if op is None else f"; {what} {op.primitive.name}" + (f" at {op.loc}" if op.loc else "")


def _told(op: Op) -> tuple[Any, ...]:
    return tuple(v.type for v in op.operands), sorted((name, repr(value)) for name, value in op.attrs.items())


def _differences(got: Any, want: Any, name: str, seen: set[int]) -> Iterator[str]:
    """The differences between a replay's object and the function's."""
    if got is want or id(want) in seen or isinstance(want, RemovableHandle):
        return
    seen.add(id(want))
    if type(got) is not type(want):
        yield f"{name} is a {type(got).__name__} in a replay, a {type(want).__name__} in the function"
    elif isinstance(want, Tensor):
        if got.requires_grad is not want.requires_grad:
            yield f"{name} {'requires' if got.requires_grad else 'does not require'} gradients in a replay alone"
        yield from _apart(got._data, want._data, name)
    elif isinstance(want, (np.ndarray, np.generic)):
        yield from _apart(np.asarray(got), np.asarray(want), name)
    elif isinstance(want, float):
        yield from _apart(np.array(got), np.array(want), name, 4)  # it may be an element of float32
    elif isinstance(want, STATIC):
        if static(got) != static(want):
            yield f"{name} is {got!r} in a replay, {want!r} in the function"
    elif isinstance(want, IMMUTABLE):
        if got != want:
            yield f"{name} is {got!r} in a replay, {want!r} in the function"
    else:
        try:
            mine, its = take_apart(got)[1], take_apart(want)[1]
        except Whole:
            return
        if len(mine) != len(its):
            yield f"{name} has {len(mine)} parts in a replay, {len(its)} in the function"
        for k, (a, b) in enumerate(zip(mine, its, strict=False)):
            yield from _differences(a, b, f"part {k} of {name}", seen)


def _apart(got: np.ndarray, want: np.ndarray, name: str, itemsize: int = 0) -> Iterator[str]:
    if got.shape != want.shape or got.dtype != want.dtype:
        yield f"{name} is {got.dtype}{list(got.shape)} in a replay, {want.dtype}{list(want.shape)} in the function"
        return
    if got.tobytes() == want.tobytes():
        return
    if want.dtype.kind in "biu":
        yield f"{name} differs in {int((got != want).sum())} of {want.size} elements"
        return
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    a, b = got.astype(wide), want.astype(wide)
    with np.errstate(all="ignore"):
        finite = np.isfinite(a) & np.isfinite(b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        off = np.where(finite, np.abs(a - b), np.where(same, 0.0, np.inf))
        size = np.abs(b[finite]).max(initial=1.0)
        parts = itemsize or want.dtype.itemsize // (2 if want.dtype.kind == "c" else 1)
        worst = off.max(initial=0.0)
    if worst > _DIGITS.get(parts, 2e-2) * size:
        yield f"{name} is off by {worst:.3g} in a replay"


def _tensors(x: Any) -> list[Tensor]:
    """The tensors of a result, in order."""
    found: list[Tensor] = []
    work, seen = [x], set()
    while work:
        item = work.pop()
        if isinstance(item, Tensor):
            found.append(item)
        elif not isinstance(item, (*STATIC, np.ndarray, np.generic, type)) and id(item) not in seen:
            seen.add(id(item))
            try:
                work += reversed(take_apart(item)[1])
            except Whole:
                continue
    return found
