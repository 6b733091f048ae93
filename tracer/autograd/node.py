"""A node of the dynamic graph: one application of a primitive, seen from behind.

It keeps what the primitive's rules read and nothing else, and refers to the nodes (or leaves) that made its operands. It
does not refer to its own result, so that a graph is freed the moment its last tensor is.
"""

from __future__ import annotations

import itertools
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..context import context
from ..ir.ops import cast, full
from ..ir.primitive import Primitive
from ..ir.types import TensorType, dtype_of
from ..tensor import Tensor, wrap
from .forms import ARRAYS, Form

_sequence = itertools.count()


def latest_sequence() -> int:
    """A number between those of the nodes made so far and those still to come."""
    return next(_sequence)


FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
    "saved tensors after calling backward."
)


class BackwardNode:
    """What the engine needs of a node; made by operations (``Node``) and by compiled functions.

    edges     for each operand where its cotangent goes, as (node or leaf, output number), or None
    shapes    (shape, NumPy dtype) of each operand, None for a Python number
    sequence  later nodes have larger numbers; a node is later than all it depends on
    hooks     by output number what is called with its cotangent; None if there are none
    made_at   the stack of the forward call, in anomaly mode
    label     what to call it, if the operation was composed of several primitives
    by_rules  whether its cotangents come from a primitive's rules, which speak in primitives alone
    """

    by_rules = False

    __slots__ = ("__weakref__", "edges", "hooks", "label", "made_at", "sequence", "shapes")

    edges: Sequence[tuple[Any, int] | None]
    shapes: Sequence[Any]
    sequence: int
    hooks: dict[int, OrderedDict[int, Any]] | None
    made_at: Any
    label: str

    def __init__(self, args: Sequence[Any]):
        edges: list[Any] = []
        shapes: list[Any] = []
        for a in args:
            if isinstance(a, Tensor):
                data = a._data
                shapes.append((data.shape, data.dtype))
                edges.append(None if not a._requires_grad else (a, 0) if a._grad_fn is None else (a._grad_fn, a._output))
            else:
                shapes.append(None)
                edges.append(None)
        self.edges, self.shapes = edges, shapes
        self.sequence = next(_sequence)
        self.hooks = None
        self.made_at = traceback.extract_stack()[:-4] if context.anomaly else None

    def name(self) -> str:
        raise NotImplementedError

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        """A cotangent for each operand, None where none is wanted, from those given by output number, all in one form.

        Raises RuntimeError when what was saved has been freed or modified.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Frees what was saved."""

    @property
    def released(self) -> bool:
        """Whether what was saved has been freed."""
        return False

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """PyTorch's view of the edges: (function, output number) pairs."""
        return tuple(
            (None, 0) if e is None else (AccumulateGrad(e[0]) if isinstance(e[0], Tensor) else e[0], e[1]) for e in self.edges
        )

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class Packed:
    """A saved tensor in the hands of the saved-tensors hooks that were in force: what ``pack`` returned."""

    __slots__ = ("grad_fn", "output", "packed", "requires_grad", "unpacker")

    def __init__(self, t: Tensor):
        pack, self.unpacker = context.saved_tensors_hooks[-1]
        self.requires_grad, self.grad_fn, self.output = t._requires_grad, t._grad_fn, t._output
        before, context.saved_tensors_hooks = context.saved_tensors_hooks, ()
        try:
            self.packed = pack(t)
        finally:
            context.saved_tensors_hooks = before

    def unpack(self) -> Tensor:
        t = self.unpacker(self.packed)
        if not isinstance(t, Tensor):
            raise TypeError(f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(t)}")
        out = wrap(t._data)
        out._requires_grad, out._grad_fn, out._output = self.requires_grad, self.grad_fn, self.output
        if self.requires_grad and self.grad_fn is None:
            return t  # a leaf is itself
        return out


class CopySlices(BackwardNode):
    """A change in place of a view, or of the whole, as the tensor it belongs to sees it.

    Operands are that tensor as it was, and the view's new value. The cotangent of the former is zero where the view
    is; that of the latter is the view of the cotangent.
    """

    __slots__ = ("chain",)

    def __init__(self, base: Tensor, new: Tensor, chain: Sequence[tuple[Primitive, Mapping[str, Any]]]):
        super().__init__((base, new))
        self.chain = chain

    def name(self) -> str:
        return "CopySlices" if self.chain else "CopyBackwards"

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        parts = [given[0]]
        for primitive, attrs in self.chain:
            parts.append(primitive(parts[-1], **attrs))
        rest: Any = None
        if wanted[0]:
            types = [TensorType(dtype_of(self.shapes[0][1]), tuple(part.shape)) for part in parts]
            rest = full(value=0, shape=types[-1].shape, dtype=types[-1].dtype.short)
            for (primitive, attrs), part, type_ in zip(reversed(self.chain), parts[-2::-1], types[-2::-1], strict=True):
                assert primitive.put is not None
                rest = primitive.put(part, rest, type_, **attrs)
        new = cast(parts[-1], dtype=dtype_of(self.shapes[1][1]).short) if wanted[1] else None
        return rest, new


class AccumulateGrad:
    """The end of an edge that leads to a leaf."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor):
        self.variable = variable

    next_functions: tuple = ()

    def name(self) -> str:
        return "AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"


class Node(BackwardNode):
    """An application of a primitive."""

    by_rules = True

    __slots__ = ("attrs", "counter", "operands", "primitive", "result", "version", "versions")

    def __init__(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any], out: Tensor):
        super().__init__(args)
        self.primitive = primitive
        self.attrs = attrs
        self.operands: Sequence[Any] | None = ()
        self.versions: Sequence[int] = ()
        self.result: np.ndarray | None = None
        if primitive.saves_something:
            self._save(args, out)

    def _save(self, args: Sequence[Any], out: Tensor) -> None:
        """Keeps what the rules of the operands that require gradients will read."""
        operands: list[Any] = [None] * len(args)
        versions = [0] * len(args)
        for saved, edge in zip(self.primitive.saves, self.edges):  # noqa: B905  variadic operations save nothing
            if edge is None or saved is None:
                continue
            if saved[0]:
                # Not the tensor: it refers to this node, and a cycle would keep both alive.
                self.result, self.counter, self.version = out._data, out._counter, out._counter[0]
            for i in saved[1]:
                a = args[i]
                if isinstance(a, Tensor):
                    operands[i] = a
                    versions[i] = a._counter[0]
                else:  # a number takes the result's dtype now: rules compute with it, and its weakness would be lost
                    operands[i] = out._data.dtype.type(a)
        self.operands, self.versions = operands, versions
        if context.saved_tensors_hooks:
            self._pack()

    def _pack(self) -> None:
        """Hands what is saved to the innermost pair of saved-tensors hooks."""
        assert self.operands is not None
        self.operands = [Packed(a) if isinstance(a, Tensor) else a for a in self.operands]
        if self.result is not None:
            self.result = Packed(wrap(self.result))  # type: ignore[assignment]

    def name(self) -> str:
        return getattr(self, "label", None) or self.primitive.torch_name

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        saved = self.operands
        if saved is None:
            raise RuntimeError(FREED)
        operands: list[Any] = []
        for a, version in zip(saved, self.versions):  # noqa: B905  of one length
            if isinstance(a, Tensor):
                if a._counter[0] != version:
                    raise modified(a._data, a._counter[0], version, a._grad_fn)
                operands.append(a._data if form is ARRAYS else form.take(a))
            else:
                operands.append(a if a is None else _read(a, form))
        y: Any = self.result
        if y is not None:
            if isinstance(y, Packed):  # what hooks return has no version to follow
                y = y.unpack()._data
            elif self.counter[0] != self.version:
                raise modified(y, self.counter[0], self.version, self)
            if form is not ARRAYS:
                y = form.result(y, self)
        g, record, attrs, types = given[0], self.primitive, self.attrs, _Types(self.shapes)
        if record.vjp_all is not None:
            return record.vjp_all(g, list(types), **attrs)
        cotangents: list[Any] = []
        for want, rule in zip(wanted, record.vjp or ()):  # noqa: B905  both are as long as the operands
            cotangents.append(rule(g, y, operands, types, attrs) if want and rule is not None else None)
        return cotangents

    @property
    def stale(self) -> bool:
        """Whether something saved has been changed in place since."""
        for a, version in zip(self.operands or (), self.versions, strict=False):
            if isinstance(a, Tensor) and a._counter[0] != version:
                return True
        return isinstance(self.result, np.ndarray) and self.counter[0] != self.version

    @property
    def released(self) -> bool:
        return self.operands is None

    def release(self) -> None:
        if self.result is not None or any(a is not None for a in self.operands or ()):
            self.operands = self.result = None


def _read(saved: Any, form: Form) -> Any:
    """A saved operand as its rule wants it."""
    if isinstance(saved, Packed):
        saved = saved.unpack()
    return form.take(saved) if isinstance(saved, Tensor) else form.number(saved)


class FreedNode(BackwardNode):
    """The node of a result whose graph was walked and freed by the traced function itself."""

    __slots__ = ("_name",)

    def __init__(self, name: str):
        super().__init__(())
        self._name = name

    def name(self) -> str:
        return self._name

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        raise RuntimeError(FREED)

    released = True


def walk(node: BackwardNode) -> Iterator[BackwardNode]:
    """The node and all that a backward pass from it reaches."""
    seen: set[BackwardNode] = set()
    work = [node]
    while work:
        n = work.pop()
        if n not in seen:
            seen.add(n)
            yield n
            work += [e[0] for e in n.edges if e is not None and not isinstance(e[0], Tensor)]


def was_freed(node: BackwardNode) -> bool:
    """Whether anything that a backward pass from this node needs has been freed."""
    return any(n.released for n in walk(node))


def was_modified(node: BackwardNode) -> bool:
    """Whether anything that a backward pass from this node needs has been changed in place."""
    return any(isinstance(n, Node) and n.stale for n in walk(node))


def python_runs(node: BackwardNode) -> str | None:
    """What of the user's a backward pass from this node calls, in words; None if nothing."""
    for n in walk(node):
        if n.hooks and any(n.hooks.values()):
            return "a hook on a result of its operations"
        if isinstance(n, Node):
            if any(isinstance(a, Packed) for a in n.operands or ()):
                return "a hook on a saved tensor"
        elif not isinstance(n, CopySlices):
            return f"the backward of {n.name()}"
    return None


def modified(saved: np.ndarray, version: int, expected: int, made_by: Any) -> RuntimeError:
    """PyTorch's error for a saved value that is no longer what it was."""
    names = {"float32": "torch.FloatTensor", "float64": "torch.DoubleTensor"}
    dtype = str(saved.dtype)
    origin = f", which is output 0 of {made_by.name()}," if made_by is not None else ""
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{names.get(dtype, dtype)} {list(saved.shape)}]{origin} is at version {version}; "
        f"expected version {expected} instead. "
        "Hint: the backtrace further above shows the operation that failed to compute its gradient."
    )


class _Types(Sequence[TensorType]):
    """Operand types on demand: most rules do not read them."""

    __slots__ = ("shapes",)

    def __init__(self, shapes: Sequence[Any]):
        self.shapes = shapes

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, i: Any) -> Any:
        shape, dtype = self.shapes[i]
        return TensorType(dtype_of(dtype), shape)
