"""Operations whose derivative the user writes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..context import context
from ..ir.interp import using
from ..ir.types import dtype_of
from ..tensor import Tensor, wrap
from .forms import Form
from .modes import no_grad
from .node import FREED, BackwardNode, Packed, edges_to, modified


class FunctionCtx:
    """What ``forward`` hands to ``backward``. Attributes may be set on it freely."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._saved: list[Any] = []
        self._versions: list[int] = []
        self._dirty: tuple[Tensor, ...] = ()
        self._not_differentiable: set[int] = set()
        self._materialize = True
        self._released = False

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps inputs or outputs for ``backward``, which finds them in ``saved_tensors``."""
        self._to_save = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Says which inputs ``forward`` has changed in place; they must be among the outputs."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Says which outputs have no gradient."""
        self._not_differentiable = {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` gets zeros (default) or None for outputs that nothing depends on."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved. Raises RuntimeError if it has been freed, or changed in place since."""
        if self._released:
            raise RuntimeError(FREED)
        found = []
        for t, version in zip(self._saved, self._versions, strict=True):
            if isinstance(t, Packed):
                found.append(t.unpack())
                continue
            if t is not None and t._counter[0] != version:
                raise modified(t._data, t._counter[0], version, t._grad_fn)
            found.append(t.tensor() if isinstance(t, _Output) else t)
        return tuple(found)

    saved_variables = saved_tensors

    def _keep(self, outputs: Sequence[Any], node: FunctionNode | None) -> None:
        """Saves, once the outputs have their place in the graph. An output is not kept alive by its own node."""
        for t in self._to_save:
            if t is None:
                self._saved.append(None)
            elif not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {len(self._saved)} is of type {type(t)}"
                )
            elif context.saved_tensors_hooks:
                self._saved.append(Packed(t))
            elif node is not None and any(t is o for o in outputs):
                self._saved.append(_Output(t, node))
            else:
                self._saved.append(t)
            self._versions.append(0 if t is None else t._counter[0])


class _Output:
    """A saved output: its memory and its place in the graph, without the tensor, which refers to the node."""

    def __init__(self, t: Tensor, node: FunctionNode):
        self._data, self._counter, self._output = t._data, t._changes(), t._output
        self.requires_grad, self._node = t._requires_grad, weakref.ref(node)
        self._grad_fn = None

    def tensor(self) -> Tensor:
        t = wrap(self._data)
        t._counter = self._counter
        t._requires_grad, t._grad_fn, t._output = self.requires_grad, self._node(), self._output
        if context.recorder is not None:
            context.recorder.identify(t)
        return t


class FunctionNode(BackwardNode):
    """An application of a ``Function``. ``ctx`` is what the user sees of it."""

    __slots__ = ("ctx", "edges", "function", "outputs")

    def __init__(self, function: type[Function], ctx: FunctionCtx, args: Sequence[Any]):
        self.edges = edges_to(args)
        self.function, self.ctx = function, ctx
        self.outputs: list[Any] = []
        self.begin()

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        from ..eager import Eager

        ctx = self.ctx
        grads: list[Any] = []
        for k, (shape, dtype) in enumerate(self.outputs):
            if k in given:
                grads.append(form.give(given[k]))
            elif ctx._materialize:
                from ..ops import zeros

                with using(Eager()):
                    grads.append(zeros(shape, dtype=dtype_of(dtype)))
            else:
                grads.append(None)
        with using(Eager()):
            if form.tensors:
                results = self.function.backward(ctx, *grads)
            else:
                with no_grad():
                    results = self.function.backward(ctx, *grads)
        results = list(results) if isinstance(results, (tuple, list)) else [results]
        return [self._checked(i, r, form) for i, r in enumerate(self._fitted(results))]

    def _fitted(self, results: list[Any]) -> list[Any]:
        n = len(self.edges) // 3
        while len(results) > n and results[-1] is None:
            results.pop()
        if len(results) != n:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {n}, got {len(results)})"
            )
        return results

    def _checked(self, i: int, g: Any, form: Form) -> Any:
        if g is None or self.edges[3 * i] is None:
            return None
        if not isinstance(g, Tensor):
            raise TypeError(f"expected Variable or None (got {type(g).__name__})")
        shape = self.edges[3 * i + 2].shape
        if g._data.shape != shape:
            try:
                fits = np.broadcast_shapes(shape, g._data.shape) == g._data.shape
            except ValueError:
                fits = False
            if not fits:
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {i} - got {list(g.shape)} but expected "
                    f"shape "
                    f"compatible with {list(shape)}"
                )
        return form.take(g)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return self.ctx.saved_tensors

    @property
    def released(self) -> bool:
        return self.ctx._released

    def release(self) -> None:
        if self.ctx._saved:
            self.ctx._released = True
            self.ctx._saved = []


def _flat(outputs: Any) -> tuple[list[Any], bool]:
    return (list(outputs), True) if isinstance(outputs, tuple) else ([outputs], False)


class Function:
    """Base of operations with a derivative of their own: subclasses define static ``forward`` and ``backward``.

    ``forward(ctx, *args)``, or ``forward(*args)`` with ``setup_context(ctx, inputs, output)``; ``backward(ctx, *cotangents)``
    gives a cotangent, or None, for each argument. Called by ``apply``.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward "
            "mode AD."
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Runs ``forward``, and enters the operation into the graph."""
        ctx = FunctionCtx()
        follows = context.grad_enabled and any(isinstance(a, Tensor) and a.requires_grad for a in args)
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        node = FunctionNode(cls, ctx, args) if follows else None
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args)
        outputs, several = _flat(result)
        if node is not None:
            outputs = [cls._enter(node, ctx, k, out, args) for k, out in enumerate(outputs)]
        ctx._keep(outputs, node)
        return tuple(outputs) if several else outputs[0]

    @classmethod
    def _enter(cls, node: FunctionNode, ctx: FunctionCtx, k: int, out: Any, args: Sequence[Any]) -> Any:
        if not isinstance(out, Tensor):
            node.outputs.append(((), np.dtype(np.float32)))
            return out
        node.outputs.append((out._data.shape, out._data.dtype))
        if id(out) in ctx._not_differentiable or not (out.is_floating_point() or out.dtype.is_complex):
            return out
        dirty = any(out is t for t in ctx._dirty)
        if dirty and out._requires_grad and out._grad_fn is None:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        if not dirty and (any(out is a for a in args) or out._requires_grad):
            out = out._alias()
            out._view = None
        out._requires_grad, out._grad_fn, out._output = True, node, k
        if dirty:
            out._changes()[1] += 1
            out._history = out._counter[1]
        return out


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a ``backward`` that cannot itself be differentiated: trying to raises RuntimeError."""

    def backward(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            results = function(ctx, *grads)
        if not context.grad_enabled or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return results
        several = isinstance(results, tuple)
        marked = [_Refuse.apply(r, *[g for g in grads if isinstance(g, Tensor)]) for r in (results if several else (results,))]
        return tuple(marked) if several else marked[0]

    return backward


class _Refuse(Function):
    @staticmethod
    def forward(ctx: Any, value: Any, *grads: Tensor) -> Any:
        return value.clone() if isinstance(value, Tensor) else value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
