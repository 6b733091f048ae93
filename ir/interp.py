"""Dispatch of primitives.

The current interpreter defines what applying a primitive does: run NumPy (``Evaluate``), append to a graph (``Build``), or,
once ``tracer`` is imported, act on tensors and record for autograd. The choice depends on the context, never on the
operands, so one rule serves all interpreters.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import halves
from .graph import Builder, Graph, Value
from .types import TensorType

if TYPE_CHECKING:
    from .primitive import Primitive


class Interpreter(Protocol):
    def bind(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Any: ...


def _numpy_errors() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Two functions: one silences NumPy's floating-point errors, the other restores the state that the first returned.

    NumPy keeps its error state in a context variable. Setting it takes a tenth of the time of ``np.errstate``. It has no
    public name, but it is the variable that ``np.seterr`` changes in an empty context.
    """
    trial = contextvars.Context()
    trial.run(np.seterr, all="ignore")
    if len(trial) != 1:
        return functools.partial(np.seterr, all="ignore"), lambda before: np.seterr(**before)
    (variable,) = trial
    return functools.partial(variable.set, trial[variable]), variable.reset


silence, restore = _numpy_errors()


def compute_into(ufunc: Any, *args: Any) -> None:
    """Runs a NumPy function, whose last argument is an existing array for the result, without floating-point warnings."""
    token = silence()
    try:
        ufunc(*args)
    finally:
        restore(token)


class Evaluate:
    """NumPy arrays in, NumPy arrays out: the reference semantics."""

    def bind(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
        token = silence()
        try:
            return halves.compute(primitive, primitive.impl, args, attrs)
        finally:
            restore(token)


EVALUATE = Evaluate()
# For callers that have silenced NumPy and apply many primitives to arrays: calls the implementation directly.
DIRECT = Evaluate()


class Build:
    """Values in, values out: appends to a graph.

    Elementwise operands may have different shapes, or be Python numbers; the broadcasts that
    NumPy would do implicitly are appended as operations. Dtypes must already agree.
    """

    def __init__(self, builder: Builder):
        from . import ops
        from .primitive import Kind

        self.builder = builder
        self._ops, self._elementwise = ops, Kind.ELEMENTWISE
        # One constant for each number of a dtype and one broadcast for each value and shape are enough.
        self._numbers: dict[tuple[str, str], Value] = {}
        self._expanded: dict[tuple[Value, tuple[int, ...]], Value] = {}

    def bind(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
        if primitive.kind is self._elementwise and len(args) > 1:
            args = self._broadcast_operands(args)
        results = self.builder.append(primitive, args, attrs)
        return results[0] if len(results) == 1 else results

    def bind_typed(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any], type: TensorType) -> Value:
        """Appends an operation with one result of a known type, which is not inferred again."""
        if primitive.kind is self._elementwise and len(args) > 1:
            args = self._broadcast_operands(args)
        return self.builder.add(primitive, args, attrs, (type,))[0]

    def _broadcast_operands(self, args: Sequence[Any]) -> Sequence[Any]:
        types = [a.type for a in args if a.__class__ is Value]
        like, shape = types[0], types[0].shape
        for t in types:
            if t is not like:
                if t.shape != shape:
                    shape = joint_shape(shape, t.shape)
                # A number takes the dtype of the other operand; a condition (bool) does not count.
                if t.dtype.category > like.dtype.category:
                    like = t
        return [
            (a if a.type.shape == shape else self.expand(a, shape)) if a.__class__ is Value else self.number(a, like, shape)
            for a in args
        ]

    def number(self, value: Any, like: TensorType, shape: tuple[int, ...]) -> Value:
        """A Python number as a tensor."""
        key = repr(value), like.dtype.short
        if key not in self._numbers:
            (v,) = self.builder.append(self._ops.full, (), {"value": value, "shape": (), "dtype": like.dtype.short})
            self._numbers[key] = v
        return self.expand(self._numbers[key], shape)

    def expand(self, v: Value, shape: tuple[int, ...]) -> Value:
        """``v`` broadcast to ``shape`` by NumPy's rule, in the IR's explicit form."""
        if v.type.shape == shape:
            return v
        expanded = self._expanded.get((v, shape))
        if expanded is None:
            expanded = self._expanded[v, shape] = self._expand(v, shape)
        return expanded

    def _expand(self, v: Value, shape: tuple[int, ...]) -> Value:
        offset = len(shape) - len(v.shape)
        kept = tuple(i for i, n in enumerate(v.shape) if n == shape[i + offset])
        if len(kept) < len(v.shape):
            (v,) = self.builder.append(self._ops.reshape, (v,), {"shape": tuple(v.shape[i] for i in kept)})
        axes = tuple(i + offset for i in kept)
        return self.builder.append(self._ops.broadcast, (v,), {"shape": shape, "axes": axes})[0]


@functools.lru_cache(1024)
def joint_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all the given ones broadcast to. Raises RuntimeError with PyTorch's message."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return functools.reduce(_pair_shape, shapes)


def _pair_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    rank = max(len(a), len(b))
    for i in range(1, min(len(a), len(b)) + 1):
        if a[-i] != b[-i] and 1 not in (a[-i], b[-i]):
            raise RuntimeError(
                f"The size of tensor a ({a[-i]}) must match the size of tensor b ({b[-i]}) "
                f"at non-singleton dimension {rank - i}"
            )
    return np.broadcast_shapes(a, b)


class _Selection(threading.local):
    """The interpreter of the thread's primitives; None stands for the default. ``using`` sets it for a block.

    Restoring it after an error must be an assignment: an interrupt could prevent a call.
    """

    interpreter: Interpreter | None = None


_default: Interpreter = EVALUATE
selection = _Selection()


def current() -> Interpreter:
    return selection.interpreter or _default


def set_default(interpreter: Interpreter) -> None:
    """Sets the interpreter of primitives outside any ``using`` block, in every thread."""
    global _default
    _default = interpreter


@contextlib.contextmanager
def using(interpreter: Interpreter | None) -> Iterator[None]:
    """Applies primitives in this block, in this thread, with ``interpreter``; None stands for the default."""
    # A generator also restores if an interrupt prevents ``__exit__`` from running.
    before = selection.interpreter
    try:
        selection.interpreter = interpreter
        yield
    finally:
        selection.interpreter = before


def evaluate(graph: Graph, *arrays: Any) -> tuple[np.ndarray, ...]:
    """Runs a graph on NumPy arrays, operation by operation: the reference for every pass and back end.

    Returns the outputs; inputs are not modified. Raises TypeError if the arrays do not fit the inputs.
    """
    if len(arrays) != len(graph.inputs):
        raise TypeError(f"@{graph.name} takes {len(graph.inputs)} inputs, got {len(arrays)}")
    env: dict[Value, np.ndarray] = {}
    for v, a in zip(graph.inputs, arrays, strict=True):
        array = np.asarray(a)
        if array.shape != v.shape or array.dtype != v.type.dtype.numpy:
            raise TypeError(f"input %{v.name} of @{graph.name} is {v.type}, got {array.dtype}{list(array.shape)}")
        env[v] = array
    for op in graph.ops:
        out = EVALUATE.bind(op.primitive, [env[v] for v in op.operands], op.attrs)
        outs = out if isinstance(out, tuple) else (out,)
        for v, o in zip(op.results, outs, strict=True):
            env[v] = array = np.asarray(o)
            if array.shape != v.shape or array.dtype != v.type.dtype.numpy:
                raise TypeError(f"{op.primitive.name} computed {array.dtype}{list(array.shape)}, but %{v.name} is {v.type}")
    return tuple(env[v] for v in graph.outputs)
