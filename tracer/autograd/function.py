"""Operations with a user-defined derivative."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from ..core.context import context
from ..core.inplace import rebase, require_changeable
from ..core.tensor import Tensor, wrap
from ..core.views import Made, base_of
from ..ir.interp import using
from ..ir.ops import reshape
from .forms import Form
from .modes import unfollowed
from .node import FREED, SAVED_IN_INFERENCE, BackwardNode, Packed, edges_to, look_up, modified

F = TypeVar("F", bound=Callable[..., Any])


class FunctionCtx:
    """Passes data from ``forward`` to ``backward``. Attributes may be set on it freely."""

    needs_input_grad: tuple[bool, ...] = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._saved: list[Any] = []
        self._versions: list[int] = []
        self._dirty: tuple[Tensor, ...] = ()
        self._not_differentiable: set[int] = set()
        self._materialize = True
        self._released = False

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Saves inputs or outputs for ``backward``, which reads them from ``saved_tensors``."""
        self._to_save = tensors
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(f"save_for_backward can only save variables, but argument {i} is of type {type(t).__name__}")

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Declares inputs that ``forward`` has changed in place; they must be among the outputs."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Declares outputs without a gradient."""
        self._not_differentiable = {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """Sets whether ``backward`` receives zeros (default) or None for unused outputs."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The saved tensors. Raises RuntimeError if they have been freed, or changed in place since."""
        if self._released:
            raise RuntimeError(FREED)
        found = []
        for t, version in zip(self._saved, self._versions, strict=True):
            if isinstance(t, Packed):
                found.append(t.unpack())
                continue
            if t is not None and t._counter[0] != version:
                raise modified(t._data, t._counter[0], version, t._node())
            found.append(t.tensor() if isinstance(t, _Output) else t)
        return tuple(found)

    saved_variables = saved_tensors

    def _keep(self, outputs: Sequence[Any], node: FunctionNode | None) -> None:
        """Saves, once the outputs are in the graph. A node does not keep its own outputs alive."""
        for t in self._to_save:
            its_own = node is not None and t is not None and any(t is o for o in outputs)
            if t is None:
                self._saved.append(None)
            elif node is not None and t._inference:
                raise RuntimeError(SAVED_IN_INFERENCE)
            elif context.saved_tensors_hooks:
                self._saved.append(Packed(t, node if its_own else None))
            else:
                self._saved.append(_Output(t, node) if its_own else t)  # type: ignore[arg-type]
            self._versions.append(0 if t is None else t._counter[0])
        self._to_save = ()


class _Output:
    """A saved output: its memory and its position in the graph, without the tensor, which refers to the node."""

    def __init__(self, t: Tensor, node: FunctionNode):
        self._data, self._counter, self._output = t._data, t._changes(), t._output
        self.requires_grad, self._node = t.requires_grad, weakref.ref(node)
        self.grad_fn = None

    def tensor(self) -> Tensor:
        t = wrap(self._data)
        t._counter = self._counter
        t._requires_grad, t._grad_fn, t._output = self.requires_grad, self._node(), self._output
        if context.recorder is not None:
            context.recorder.identify(t)
        return t


class FunctionNode(BackwardNode):
    """An application of a ``Function``. ``ctx`` is the object that the user sees."""

    __slots__ = ("ctx", "edges", "function", "outputs")

    def __init__(self, function: type[Function], ctx: FunctionCtx, args: Sequence[Any]):
        self.edges = edges_to(args)
        self.function, self.ctx = function, ctx
        self.outputs: list[Any] = []
        self.begin()

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def cotangents(self, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
        from ..core.eager import Eager

        ctx = self.ctx
        grads: list[Any] = []
        for k, type_ in enumerate(self.outputs):
            if k in given:
                grads.append(form.give(given[k]))
            elif type_ is not None and ctx._materialize:
                from ..ops import zeros

                with using(Eager()):
                    grads.append(zeros(type_.shape, dtype=type_.dtype))
            else:
                grads.append(None)
        with using(Eager()):
            if form.tensors:
                results = self.function.backward(ctx, *grads)
            else:
                with unfollowed():
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
        from ..core.eager import Eager

        if g is None or self.edges[3 * i] is None:
            return None
        if not isinstance(g, Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(g).__name__})")
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
        if g.is_complex() and not self.edges[3 * i + 2].dtype.is_complex:
            raise RuntimeError(f"Function {self.name()} returned a complex gradient at index {i} for an input that is real")
        if isinstance(self.edges[3 * i], Tensor) and not form.tensors and context.recorder is None:
            with using(Eager()):
                g = g.detach().clone()  # the function may keep it, and later gradients of a leaf are added in place
        return form.take(g)

    @property
    def output_count(self) -> int:
        return len(self.outputs)

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
    """Base of operations with a custom derivative: subclasses define static ``forward`` and ``backward``.

    ``forward(ctx, *args)``, or ``forward(*args)`` with ``setup_context(ctx, inputs, output)``; ``backward(ctx,
    *cotangents)`` returns a cotangent, or None, for each argument. Called by ``apply``. Raises NotImplementedError for
    a method that is missing, RuntimeError for another number of cotangents, or shapes that do not fit.
    """

    if TYPE_CHECKING:  # subclasses define them with other parameters
        forward: Any
        setup_context: Any
        backward: Any
    else:

        @staticmethod
        def forward(*args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
            raise NotImplementedError("setup_context is not implemented.")

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            raise NotImplementedError(
                "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
                "backward mode AD."
            )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs ``forward``, and adds the operation to the graph."""
        ctx = FunctionCtx()
        apart = cls.setup_context is not Function.setup_context
        if apart:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, {}
        ctx.needs_input_grad = tuple([isinstance(a, Tensor) and a.requires_grad for a in args])
        node = None
        if context.grad_enabled and any(ctx.needs_input_grad):
            look_up(args)
            node = FunctionNode(cls, ctx, args)
        with unfollowed():
            if apart:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        outputs, several = _flat(result)
        outputs = _entered(node, ctx, outputs, args)
        ctx._keep(outputs, node)
        if node is not None and context.recorder is not None:
            context.recorder.applies(node, args, outputs)
        return tuple(outputs) if several else outputs[0]


def _entered(node: FunctionNode | None, ctx: FunctionCtx, outputs: list[Any], args: Sequence[Any]) -> list[Any]:
    """The outputs with their position in the graph, if any. An unchanged input becomes a view of itself."""
    inputs = {id(a) for a in args if isinstance(a, Tensor)}
    dirty = {id(t) for t in ctx._dirty}
    for t in ctx._dirty:
        if not any(t is o for o in outputs):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. The inputs that are "
                "modified inplace must all be outputs of the Function."
            )
        t._changes()[0] += 1
    if node is not None:
        node.outputs = [o.type_ if isinstance(o, Tensor) else None for o in outputs]
    count = sum([isinstance(o, Tensor) for o in outputs])
    entered: dict[int, Tensor] = {}  # a tensor that is returned twice is one tensor
    followed = 0
    for k, out in enumerate(outputs):
        if not isinstance(out, Tensor):
            continue
        given, changed = id(out) in inputs, id(out) in dirty
        follows = (
            node is not None and id(out) not in ctx._not_differentiable and (out.is_floating_point() or out.dtype.is_complex)
        )
        followed += follows
        if id(out) in entered:
            if follows:
                entered[id(out)]._output = k
            continue
        t = entered[id(out)] = _placed(node if follows else None, k, out, given, changed, count)
        if base_of(t) is not None and not (given and changed) and not (t._made is not None and t._made.kind == "inference"):
            t._made = Made("function", k)  # a view that autograd cannot track after an in-place change
    if followed > 1:
        for t in entered.values():
            if t._made is not None and t._made.kind == "function":
                t._made = t._made._replace(kind="multiple")
    return [entered[id(o)] if isinstance(o, Tensor) else o for o in outputs]


def _placed(node: FunctionNode | None, k: int, out: Tensor, given: bool, changed: bool, count: int) -> Tensor:
    """Output ``k`` of ``count`` with the node as its history; ``given``: it is an input; ``changed``: it was changed
    in place.
    """
    if node is None and out.requires_grad and given:
        return out.detach()
    if given and not changed:
        with unfollowed():
            out = reshape(out, shape=out._data.shape)
    if node is None:
        return out
    if not changed:
        out._follow(node, k)
        return out
    base = out._followed_base()
    if base is not out and count > 1:
        raise RuntimeError(
            "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot return more "
            "than one Tensor. This is not supported by the current autograd engine. You should either make sure the input is "
            "not a view (using .clone() for example) or make your Function only return one Tensor (potentially splitting it "
            "into two Functions: one doing the inplace that returns a single Tensor and a second one that does the other "
            "operations)."
        )
    require_changeable(out, base)
    if base is out:
        out._follow(node, k)
    else:
        new = out._like()
        new._requires_grad, new._grad_fn, new._output = True, node, k
        rebase(out, base, new, False)
    return out


def once_differentiable(function: F) -> F:
    """Decorator for a ``backward`` that cannot be differentiated: an attempt raises RuntimeError."""

    def backward(ctx: Any, *grads: Any) -> Any:
        with unfollowed():
            results = function(ctx, *grads)
        if not context.grad_enabled or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return results
        several = isinstance(results, tuple)
        marked = [_Refuse.apply(r, *[g for g in grads if isinstance(g, Tensor)]) for r in (results if several else (results,))]
        return tuple(marked) if several else marked[0]

    return cast(F, backward)


class _Refuse(Function):
    @staticmethod
    def forward(ctx: Any, value: Any, *grads: Tensor) -> Any:
        return value.clone() if isinstance(value, Tensor) else value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
