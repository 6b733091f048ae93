"""Nodes of the dynamic graph: one per application of a primitive.

A node keeps only what the primitive's rules read, and refers to the nodes (or leaves) of its operands. It does not refer to
its own result, so a graph is freed as soon as its last tensor is.
"""

from __future__ import annotations

import itertools
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.context import context
from ..core.tensor import UNCHANGED, Tensor, wrap
from ..ir.interp import using
from ..ir.ops import cast, copy, full
from ..ir.primitive import Primitive
from .forms import ARRAYS, Form

new_sequence = itertools.count().__next__  # sequence numbers of nodes


def latest_sequence() -> int:
    """A number between those of existing and future nodes."""
    return new_sequence()


FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
    "saved tensors after calling backward."
)
SAVED_IN_INFERENCE = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation "
    "tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use "
    "`tracer.no_grad()` instead of `tracer.inference_mode()`."
)


Gradients = Sequence[tuple[Tensor, np.ndarray]]


class Extras:
    """Rarely used attributes of nodes.

    hooks      by output number, the functions called with its cotangent
    prehooks   called with all cotangents before the node is processed
    posthooks  called afterwards, with the cotangents that it computed and received
    metadata   users' data
    made_at    the stack of the forward call, in anomaly mode
    """

    __slots__ = ("hooks", "made_at", "metadata", "posthooks", "prehooks")

    def __init__(self) -> None:
        self.hooks: dict[int, OrderedDict[int, Any]] = {}
        self.prehooks: OrderedDict[int, Any] = OrderedDict()
        self.posthooks: OrderedDict[int, Any] = OrderedDict()
        self.metadata: dict[str, Any] = {}
        self.made_at: Any = None


def edges_to(args: Sequence[Any]) -> tuple[Any, ...]:
    """The edges of a node, with the types of all operands."""
    edges: list[Any] = []
    for a in args:
        if not isinstance(a, Tensor):
            edges += (None, 0, None)
        elif a._requires_grad:
            edges += (a._grad_fn or a, a._output, a.type_)
        else:
            edges += (None, 0, a.type_)
    return tuple(edges)


def look_up(args: Sequence[Any]) -> None:
    """Looks up the graph positions of operands that are views. Raises RuntimeError if autograd cannot track one."""
    for a in args:
        if isinstance(a, Tensor) and a._view is not None:
            a._refresh()


class BackwardNode:
    """The engine's interface to a node; implemented by operations (``Node``) and compiled functions.

    edges     three entries for each operand: the target of its cotangent (a node, a leaf, or None), the output number there,
              and its type, None if the cotangent is known to have its shape
    sequence  later nodes have larger numbers (not necessarily integers); a node is later than all its dependencies
    extras    hooks and other rare attributes; None if there are none
    label     its name, if the operation was composed of several primitives
    by_rules  whether its cotangents come from a primitive's rules, which use primitives only
    """

    by_rules = False
    # For a node with one output: sends the operands' cotangents, as arrays, to the engine, given the output's. Returns False,
    # and has done nothing, if ``cotangents`` must be called. Generated for each primitive.
    pull: Callable[..., bool] | None = None

    __slots__ = ("__weakref__", "extras", "label", "sequence")

    edges: tuple[Any, ...]
    sequence: float
    extras: Extras | None
    label: str

    def begin(self) -> None:
        """Assigns its sequence number."""
        self.sequence = new_sequence()
        self.extras = None
        if context.watches_nodes:
            self.made()

    def made(self) -> None:
        """In anomaly mode: stores the forward stack."""
        if context.anomaly:
            self.extended().made_at = traceback.extract_stack()[:-4]

    def extended(self) -> Extras:
        """Its extras, created if necessary."""
        if self.extras is None:
            self.extras = Extras()
        return self.extras

    def name(self) -> str:
        """The node's name in PyTorch."""
        raise NotImplementedError

    def register_hook(self, fn: Callable[..., Any]) -> Any:
        """Calls ``fn(grad_inputs, grad_outputs)`` after this node has computed its gradients, in a backward pass.

        A tuple that it returns replaces ``grad_inputs``. Returns a handle whose ``remove()`` removes the hook.
        """
        from .hooks import add

        return add(self, "after", fn)

    def register_prehook(self, fn: Callable[..., Any]) -> Any:
        """Calls ``fn(grad_outputs)`` before this node computes; a tuple that it returns replaces ``grad_outputs``."""
        from .hooks import add

        return add(self, "before", fn)

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for users."""
        if context.recorder is not None:
            context.recorder.give_up("stores metadata on a graph node")
        return self.extended().metadata

    def _sequence_nr(self) -> int:
        return int(self.sequence)

    @property
    def output_count(self) -> int:
        """The number of outputs that may have cotangents."""
        return 1

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        """A cotangent for each operand, None where ``wanted`` is false, from those given by output number, all in one form.

        Raises RuntimeError if saved values have been freed or modified.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Frees the saved values."""

    @property
    def released(self) -> bool:
        """True if the saved values have been freed."""
        return False

    def gradients(self, result: Tensor, retain_graph: bool) -> Gradients | None:
        """A whole backward pass from this node's result, with the cotangent 1, if the node needs no engine for it: the leaves,
        which have no hooks, and their gradients, in new memory. Otherwise None, and nothing has changed.
        """
        return None

    def run_alone(self, result: Tensor, retain_graph: bool) -> bool:
        """The same, added to the leaves' ``.grad``. Returns False if the node needs the engine."""
        return False

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """PyTorch's view of the edges: (function, output number) pairs."""
        targets = [AccumulateGrad.of(t) if isinstance(t, Tensor) else t for t in self.edges[::3]]
        return tuple(zip(targets, self.edges[1::3], strict=True))

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class Packed:
    """A saved tensor after the active saved-tensors hooks: the result of ``pack``.

    ``node`` is the node that saves it, if ``t`` is the node's result, which it must not keep alive.
    """

    __slots__ = ("node", "output", "packed", "requires_grad", "target", "unpacker")

    def __init__(self, t: Tensor, node: BackwardNode | None = None):
        pack, self.unpacker = context.saved_tensors_hooks[-1]
        self.requires_grad, self.output = t.requires_grad, t._output
        self.target: Any = None if node is not None else t._grad_fn or (t if self.requires_grad else None)
        self.node = None if node is None else weakref.ref(node)
        version = t._counter[0]
        self.packed = self._call(pack, t)
        if t._counter[0] != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook cannot be "
                "modified by in-place operations as this can lead to unexpected side-effects."
            )

    def _call(self, hook: Callable[[Any], Any], x: Any) -> Any:
        """Calls a hook; its operations run eagerly, without hooks."""
        from ..core.eager import Eager

        hooks, mode = context.saved_tensors_hooks, context.grad_enabled
        context.saved_tensors_hooks, context.grad_enabled = (), False
        try:
            with using(Eager()):
                return hook(x)
        finally:
            context.saved_tensors_hooks, context.grad_enabled = hooks, mode

    def unpack(self) -> Tensor:
        """The tensor that replaces the saved one; its gradient goes where the saved tensor's gradient goes."""
        t = self._call(self.unpacker, self.packed)
        if not isinstance(t, Tensor):
            raise TypeError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(t).__name__}"
            )
        out = t.detach()
        if not self.requires_grad:
            return out
        target = self.target if self.node is None else self.node()
        out._view = None
        out._requires_grad, out._output = True, self.output
        if isinstance(target, Tensor):
            from .written import remember

            target = remember(copy, (target,), {}, out)  # leads to the leaf
        out._grad_fn = target
        return out


class CopySlices(BackwardNode):
    """An in-place change of a view, or of the base, as a node of the base.

    Its operands are the base's old value and the view's new value. The former's cotangent is zero in the view's elements;
    the latter's is the view of the cotangent.
    """

    __slots__ = ("chain", "edges")

    def __init__(self, base: Tensor, new: Tensor, chain: Sequence[tuple[Primitive, Mapping[str, Any]]]):
        self.edges, self.chain = edges_to((base, new)), chain
        self.begin()

    def name(self) -> str:
        return "CopySlices" if self.chain else "CopyBackwards"

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        parts = [given[0]]
        types = [self.edges[2]]
        for primitive, attrs in self.chain:
            parts.append(primitive(parts[-1], **attrs))
            types += primitive.infer_types(types[-1:], attrs)
        rest: Any = None
        if wanted[0]:
            rest = full(value=0, shape=types[-1].shape, dtype=types[-1].dtype.short)
            for (primitive, attrs), part, type_ in zip(reversed(self.chain), parts[-2::-1], types[-2::-1], strict=True):
                assert primitive.put is not None
                rest = primitive.put(part, rest, type_, **attrs)
        new = cast(parts[-1], dtype=self.edges[5].dtype.short) if wanted[1] else None
        return rest, new


class AccumulateGrad(BackwardNode):
    """The end of an edge to a leaf, for inspection by users. The edge itself leads to the leaf."""

    __slots__ = ("variable",)

    edges = ()

    @staticmethod
    def of(leaf: Tensor) -> AccumulateGrad:
        """The leaf's node; the same object as long as something refers to it."""
        known = leaf._accumulator and leaf._accumulator()
        if known is None:
            known = object.__new__(AccumulateGrad)
            known.variable = leaf
            known.sequence = new_sequence()
            known.extras = None
            leaf._accumulator = weakref.ref(known)
        return known

    variable: Tensor

    def name(self) -> str:
        return "struct torch::autograd::AccumulateGrad"

    def extended(self) -> Extras:
        """The leaf's extras."""
        return vars(self.variable).setdefault("_node_hooks", Extras())

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


class Node(BackwardNode):
    """An application of a primitive. ``written`` generates a class for each primitive, which defines what a node keeps.

    The garbage collector repeatedly traverses the many objects of a long computation's graph, so a node is a single object.

    saved     two entries for each operand: the operand, or None if no rule reads it, and its version
    result    the memory of the result, if a rule will read it, else None; ``counter`` and ``version`` say whether it has
              changed since. Not the tensor: that refers to this node, and a cycle would keep both alive
    keeps     whether any of these is kept; None once they are freed
    """

    by_rules = True

    __slots__ = ("attrs",)

    primitive: Primitive
    attrs: Mapping[str, Any]
    saved: tuple[Any, ...] = ()
    result: Any = None
    counter: Sequence[int] = UNCHANGED
    version: int = 0
    keeps: bool | None = False
    types: Sequence[Any] = ()  # of the operands, if a rule reads one

    def drop(self) -> None:
        """Sets everything that it keeps to None. Generated for each class."""
        raise NotImplementedError

    def made(self) -> None:
        """Passes saved tensors to the innermost pair of saved-tensors hooks, if there is one."""
        super().made()
        if any(isinstance(a, Tensor) and a._inference for a in self.saved[::2]):
            raise RuntimeError(SAVED_IN_INFERENCE)
        if context.saved_tensors_hooks:
            for i, a in enumerate(self.saved[::2]):
                if isinstance(a, Tensor):
                    setattr(self, f"saved{i}", Packed(a))
            if self.result is not None:
                out = wrap(self.result)
                out._requires_grad, out._grad_fn = True, self
                self.result = Packed(out, self)

    def name(self) -> str:
        return getattr(self, "label", None) or self.primitive.torch_name

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        if self.keeps is None:
            raise RuntimeError(FREED)
        saved = self.saved
        operands: list[Any] = []
        for i in range(0, len(saved), 2):
            a = saved[i]
            if isinstance(a, Tensor):
                if a._counter[0] != saved[i + 1]:
                    raise modified(a._data, a._counter[0], saved[i + 1], a._node())
                if not a._requires_grad and wanted[i // 2] and self.edges[i // 2 * 3] is not a:
                    raise RuntimeError(
                        "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_().This is not "
                        "supported, please use out-of-place `.detach()` instead"
                    )
                operands.append(a._data if form is ARRAYS else form.take(a))
            else:
                operands.append(a if a is None else _read(a, form))
        y = self.result
        if y is not None:
            if isinstance(y, Packed):  # results of hooks have no version to check
                y = form.take(y.unpack())
            elif self.counter[0] != self.version:
                raise modified(y, self.counter[0], self.version, self)
            elif form is not ARRAYS:
                y = form.result(y, self)
        g, record, attrs, types = given[0], self.primitive, self.attrs, self.types
        if record.vjp_all is not None:
            return record.vjp_all(g, list(types), **attrs)
        cotangents: list[Any] = []
        for want, rule in zip(wanted, record.vjp or ()):  # noqa: B905  both are as long as the operands
            cotangents.append(rule(g, y, operands, types, attrs) if want and rule is not None else None)
        return cotangents

    @property
    def stale(self) -> bool:
        """True if a saved value has been changed in place since."""
        for a, version in zip(self.saved[::2], self.saved[1::2], strict=True):
            if isinstance(a, Tensor) and a._counter[0] != version:
                return True
        return isinstance(self.result, np.ndarray) and self.counter[0] != self.version

    @property
    def released(self) -> bool:
        return self.keeps is None

    def release(self) -> None:
        if self.keeps:
            self.drop()


def _read(saved: Any, form: Form) -> Any:
    """A saved operand in the rule's form."""
    if isinstance(saved, Packed):
        saved = saved.unpack()
    return form.take(saved) if isinstance(saved, Tensor) else form.number(saved)


class FreedNode(BackwardNode):
    """The node of a result whose graph was walked and freed by the traced function itself."""

    __slots__ = ("_name",)

    edges = ()

    def __init__(self, name: str):
        self._name = name
        self.begin()

    def name(self) -> str:
        return self._name

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        raise RuntimeError(FREED)

    released = True


def walk(node: BackwardNode) -> Iterator[BackwardNode]:
    """The node and all nodes that a backward pass from it reaches."""
    seen: set[BackwardNode] = set()
    work = [node]
    while work:
        n = work.pop()
        if n not in seen:
            seen.add(n)
            yield n
            work += [t for t in n.edges[::3] if isinstance(t, BackwardNode)]


def was_freed(node: BackwardNode) -> bool:
    """True if a saved value that a backward pass from this node needs has been freed."""
    return any(n.released for n in walk(node))


def was_modified(node: BackwardNode) -> bool:
    """True if a saved value that a backward pass from this node needs has been changed in place."""
    return any(isinstance(n, Node) and n.stale for n in walk(node))


def python_runs(node: BackwardNode, but: Collection[BackwardNode], start: float = 0) -> str | None:
    """A description of the user code that a backward pass from this node calls, ignoring the nodes ``but`` and those created
    before ``start``; None if there is none.
    """
    for n in walk(node):
        if n in but or n.sequence < start:
            continue
        extras = n.extras
        if extras is not None and (any(extras.hooks.values()) or extras.prehooks or extras.posthooks):
            return "a hook on a result of its operations"
        if isinstance(n, Node):
            if any(isinstance(a, Packed) for a in (n.result, *n.saved)):
                return "a hook on a saved tensor"
        elif not isinstance(n, CopySlices):
            return f"the backward of {n.name()}"
    return None


def modified(saved: np.ndarray, version: int, expected: int, made_by: Any) -> RuntimeError:
    """PyTorch's error for a saved value that has been modified."""
    names = {"float32": "tracer.FloatTensor", "float64": "tracer.DoubleTensor"}
    dtype = str(saved.dtype)
    origin = f", which is output 0 of {made_by.name()}," if made_by is not None else ""
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{names.get(dtype, dtype)} {list(saved.shape)}]{origin} is at version {version}; "
        f"expected version {expected} instead. "
        "Hint: the backtrace further above shows the operation that failed to compute its gradient."
    )
