"""Writes what runs eagerly into a graph.

Every tensor the recorder meets has a value in the graph. A tensor it has not seen made is an input, with a *source*
that says where a replay finds it. In-place changes do not exist in the graph: a changed tensor gets a new value, its
views are written through (``Primitive.put``) or read anew, and at the end inputs whose value has changed become
updates of the graph.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd.node import BackwardNode, latest_sequence
from ..context import context
from ..ir import ops as P
from ..ir.graph import Builder, Value
from ..ir.interp import Build, using
from ..ir.ops.source import encode
from ..ir.primitive import Primitive
from ..tensor import Tensor, wrap
from .scalars import FloatProgram, RuntimeFloat

_PACKAGE = __name__.split(".")[0] + "."


def user_location() -> str:
    """``file:line`` of the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


@dataclass(frozen=True)
class Source:
    """Where a replay finds an input.

    argument   tensor number ``index`` among the call's tensors
    captured   ``holder``, a tensor that existed before the call
    grad       the ``.grad`` of ``holder``, or of the call's tensor number ``index`` if there is no holder
    float      number ``index`` of the float program
    """

    kind: str
    index: int = 0
    holder: Any = None


@dataclass
class _Known:
    """What the recorder knows of a tensor. ``epoch``: how often its storage had been written to by then."""

    tensor: Tensor
    value: Value
    epoch: int


@dataclass
class Recorder:
    """One recording. ``reason`` is set, with the place, when the run turns out not to be replayable."""

    name: str
    builder: Builder = field(init=False)
    sources: list[Source] = field(default_factory=list)
    reason: str = ""
    floats: FloatProgram = field(default_factory=FloatProgram)

    def __post_init__(self) -> None:
        self.builder = Builder(self.name)
        self.build = Build(self.builder)
        self.start = latest_sequence()  # nodes of the dynamic graph with smaller numbers are not ours
        self.known: dict[int, _Known] = {}
        self.sensitive: set[Value] = set()  # values through which gradients of the inputs could flow
        self.by_array: dict[int, Value] = {}
        self.inputs: list[Tensor] = []
        self.written: dict[int, Tensor] = {}  # roots written to in place
        self.epochs: dict[int, int] = {}
        self.made: list[Tensor] = []  # tensors made while recording
        self.grads_read: dict[int, tuple[Tensor, Tensor | None]] = {}  # tensor, and its .grad at the start
        self.grads_written: dict[int, Tensor] = {}
        self.versions: list[int] = []  # of the inputs, at the start
        self.float_tensors: dict[int, Tensor] = {}
        self.hosts: dict[tuple[int, str], RuntimeFloat] = {}

    # Inputs.

    def input(self, t: Tensor, source: Source, name: str = "") -> Value:
        v = self.builder.input(t.type_, name)
        self.sources.append(source)
        if t._requires_grad:
            self.sensitive.add(v)
        self.inputs.append(t)
        self.versions.append(t._counter[0])
        self._set(t, v)
        return v

    def owner(self, t: Tensor) -> Source:
        """Where a replay finds a tensor whose gradient is read or set."""
        for source, known in zip(self.sources, self.inputs, strict=True):
            if known is t:
                return source
        return Source("captured", holder=t)

    def float_operand(self, x: RuntimeFloat) -> Tensor:
        """A float of the run as a float64 tensor of no dimensions."""
        t = self.float_tensors.get(x._index)
        if t is None:
            t = self.float_tensors[x._index] = wrap(np.array(x._value, np.float64))
            self.input(t, Source("float", x._index))
        return t

    def host_float(self, holder: Any, key: str, value: float) -> RuntimeFloat:
        """``holder[key]``, which is ``value`` now."""
        at = (id(holder), key)
        if at not in self.hosts:
            self.hosts[at] = self.floats.root(lambda call: dict.__getitem__(holder, key), value)
        return self.hosts[at]

    # What happens.

    def record(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any], out: Tensor) -> None:
        self.builder.loc = user_location()
        operands = [self._operand(a, out) if isinstance(a, Tensor) else a for a in args]
        v = self.build.bind(primitive, operands, attrs)
        if v.type != out.type_:
            raise AssertionError(f"{primitive.name} was recorded as {v.type} but computed {out.type_}")
        if primitive.differentiable and any(o in self.sensitive for o in operands if isinstance(o, Value)):
            self.sensitive.add(v)
        self._set(out, v)
        self.made.append(out)

    def _operand(self, a: Tensor, out: Tensor) -> Value:
        """The value of an operand; detached if autograd follows ``out`` but did not follow ``a``, made under ``no_grad``."""
        v = self.value(a)
        if out._requires_grad and not a._requires_grad and v in self.sensitive:
            return self.build.bind(P.detach, [v], {})
        return v

    def value(self, t: Tensor) -> Value:
        """The graph's value of a tensor as it is now."""
        known = self.known.get(id(t))
        if known is None:
            return self.input(t, Source("captured", holder=t))
        if known.epoch != self.epochs.get(id(t._root()), 0) and t._view is not None:
            parent, primitive, attrs = t._viewed()
            base = self.value(parent)
            known.value = self.build.bind(primitive, [base], attrs)
            known.epoch = self.epochs.get(id(t._root()), 0)
        return known.value

    def _set(self, t: Tensor, v: Value) -> None:
        self.known[id(t)] = _Known(t, v, self.epochs.get(id(t._root()), 0))
        self.by_array[id(t._data)] = v

    def identify(self, t: Tensor) -> None:
        """``t`` is a new tensor on an array that some known tensor has."""
        self._set(t, self.by_array[id(t._data)])
        self.made.append(t)

    def snapshot(self, t: Tensor, copy: Tensor) -> None:
        """``copy`` is a new tensor with the value that ``t`` has now."""
        self._set(copy, self.value(t))
        self.made.append(copy)

    def constant(self, t: Tensor) -> None:
        """``t`` was made from Python numbers."""
        self.builder.loc = user_location()
        attrs: dict[str, Any] = {"shape": t._data.shape, "dtype": t.dtype.short}
        if t._data.ndim == 0:
            v = self.build.bind(P.full, (), {"value": t._data.item(), **attrs})
        else:
            v = self.build.bind(P.constant, (), {"data": encode(t._data), **attrs})
        self._set(t, v)
        self.made.append(t)

    def update(self, t: Tensor, new: Tensor) -> None:
        """``t`` has been overwritten with the values of ``new``."""
        self.builder.loc = user_location()
        v = self.value(new)
        root = t._root()
        epoch = self.epochs[id(root)] = self.epochs.get(id(root), 0) + 1
        while t._view is not None:
            # The value of what is viewed, with the viewed elements replaced.
            parent, primitive, attrs = t._viewed()
            if parent._grad_fn is not None and not primitive.differentiable:
                self.give_up("changes the data of a tensor that autograd follows")
                return
            before = self.known.get(id(parent))
            base = before.value if before is not None else self.value(parent)
            self.known[id(t)] = _Known(t, v, epoch)
            with using(self.build):
                assert primitive.put is not None
                v = primitive.put(base, v, base.type, **attrs)
            t = parent
        self._set(t, v)
        self.written[id(root)] = root

    def reshapes(self, t: Tensor) -> None:
        """``t`` is about to change its shape."""
        if not self._is_new(t):
            self.give_up("changes the shape of a tensor made outside")

    def reads_grad(self, t: Tensor) -> None:
        if id(t) in self.grads_written or id(t) in self.grads_read or self._is_new(t):
            return
        self.grads_read[id(t)] = (t, t._grad)
        if t._grad is not None and id(t._grad) not in self.known:
            owner = self.owner(t)
            self.input(t._grad, Source("grad", owner.index) if owner.kind == "argument" else Source("grad", holder=t))

    def writes_grad(self, t: Tensor) -> None:
        if not self._is_new(t):
            self.grads_written[id(t)] = t

    def becomes_leaf(self, t: Tensor) -> None:
        """``t`` shall require gradients, or no longer: of its own, not through what it was computed from."""
        if not self._is_new(t):
            self.give_up("changes requires_grad of a tensor made outside")
        else:
            self._set(t, self.build.bind(P.detach, [self.value(t)], {}))

    def _is_new(self, t: Tensor) -> bool:
        known = self.known.get(id(t))
        return known is not None and not any(t is i for i in self.inputs)

    def visits(self, node: BackwardNode) -> None:
        """A backward pass reaches a node. One made before the call is another one in the next call."""
        if node.sequence < self.start:
            self.give_up("a backward pass leaves the function")

    def observe(self, t: Tensor, how: str) -> None:
        """Python looks at a value."""
        self.give_up(f"{how} looks at a value")

    def give_up(self, why: str) -> None:
        """This run cannot be replayed; it goes on eagerly."""
        self.reason = f"{why} at {user_location()}"
        context.recorder = None
