"""Hooks: user functions called when a gradient is known, before and after a node, and after accumulation."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ..core.context import context
from ..core.tensor import Tensor
from ..ir.interp import using
from .forms import Form
from .node import AccumulateGrad, BackwardNode, Extras

new_number = itertools.count().__next__  # the numbers of hooks
OF_LEAVES = frozenset(["_hooks", "_post_hooks", "_node_hooks"])  # the attributes in which leaves keep hooks


class RemovableHandle:
    """Removes a hook: by ``remove()``, or at the end of a ``with`` block."""

    def __init__(self, hooks: OrderedDict[int, Any], also: OrderedDict[int, Any] | None = None):
        """``also``: another table that may have the hook."""
        self._number, self._also = new_number(), also
        self._hooks = weakref.ref(hooks) if type(hooks) is not OrderedDict else lambda: hooks

    @property
    def id(self) -> int:
        """The number of the hook, which no other one has."""
        if context.recorder is not None:
            context.recorder.give_up("reads the number of a hook")
        return self._number

    def remove(self) -> None:
        hooks = self._hooks()
        if hooks is not None:
            if context.recorder is not None and self._number in hooks and self._number < context.recorder.hooks.start:
                context.recorder.give_up("removes a hook that was registered outside: remove it before the call,")
            hooks.pop(self._number, None)
        if self._also is not None:
            self._also.pop(self._number, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Retain:
    """Stores the gradient in ``.grad``, without keeping the tensor alive."""

    def __init__(self, t: Tensor):
        self.tensor = weakref.ref(t)

    def __call__(self, g: Tensor) -> None:
        t = self.tensor()
        if t is not None:
            before = t._grad
            t.grad = before + g if before is not None else g if g._requires_grad else g.clone()


def _own(t: Tensor, name: str, new: Callable[[], Any]) -> Any:
    """The attribute in which a leaf keeps hooks, created if necessary."""
    if name not in vars(t):
        if context.recorder is not None:
            context.recorder.hooks.attaches(t, name)
        vars(t)[name] = new()
    return vars(t)[name]


def table(of: Tensor | BackwardNode, kind: str) -> tuple[Any, OrderedDict[int, Any]]:
    """The owner of the hooks of a kind, a node or a leaf, and these hooks.

    gradient  on a tensor's gradient: a leaf has its own; others belong to the tensor's node
    added     called after the gradient was added to the ``.grad`` of a leaf
    before    called before a node computes; for a leaf, before its gradient is added
    after     called after that


    Hooks join existing ones, also if a view has a newer history that has not been looked up, as in PyTorch.
    """
    if kind == "added":
        return of, _own(of, "_post_hooks", OrderedDict)  # type: ignore[arg-type]
    if kind == "gradient":
        assert isinstance(of, Tensor)
        node = of._grad_fn
        if node is None or node.extras is None or of._output not in node.extras.hooks:
            node = of._node()
        if node is None:
            return of, _own(of, "_hooks", OrderedDict)
        return node, node.extended().hooks.setdefault(of._output, OrderedDict())
    node = (of._node() or AccumulateGrad.of(of)) if isinstance(of, Tensor) else of
    owner = node.variable if isinstance(node, AccumulateGrad) else node
    extras = _own(owner, "_node_hooks", Extras) if isinstance(owner, Tensor) else node.extended()
    return owner, extras.prehooks if kind == "before" else extras.posthooks


def add(of: Tensor | BackwardNode, kind: str, hook: Callable[..., Any]) -> RemovableHandle:
    """Registers a hook of a kind."""
    owner, hooks = table(of, kind)
    handle = RemovableHandle(hooks)
    if context.recorder is not None:
        context.recorder.hooks.registers(of, owner, kind, hooks, handle)
    hooks[handle._number] = hook
    return handle


def register(t: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    if not t.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    return add(t, "gradient", hook)


def register_post_accumulate(t: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    if not t.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if t._node() is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    return add(t, "added", hook)


def retain(t: Tensor) -> None:
    if not t.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if t._grad_fn is not None and not retains(t):
        add(t, "gradient", Retain(t))


def retains(t: Tensor) -> bool:
    node = t._grad_fn
    if node is None or node.extras is None:
        return False
    return any(isinstance(h, Retain) and h.tensor() is t for h in node.extras.hooks.get(t._output, {}).values())


def move_retained(t: Tensor, before: BackwardNode) -> None:
    """``t`` has been changed in place, and had this node before: the gradient that it retains is now that of its new value."""
    assert before.extras is not None
    for hooks in before.extras.hooks.values():
        for number, hook in list(hooks.items()):
            if isinstance(hook, Retain) and hook.tensor() is t:
                del hooks[number]
                add(t, "gradient", hook)


# Called by the engine. Hooks receive tensors, and their own operations run in eager mode.


def apply_to_outputs(extras: Extras, given: dict[int, Any], form: Form) -> None:
    """Passes a node's cotangents to the hooks on its results, which may replace them."""
    for output, hooks in extras.hooks.items():
        if output in given and hooks:
            given[output] = call(hooks, given[output], form)


def call(hooks: OrderedDict[int, Any], g: Any, form: Form) -> Any:
    """The gradient after the hooks; those that retain it run last."""
    from ..core.eager import Eager

    shown = form.give(g)
    with using(Eager()):
        for hook in sorted(hooks.values(), key=lambda h: isinstance(h, Retain)):
            result = hook(shown)
            if result is not None:
                if not isinstance(result, Tensor):
                    raise TypeError(f"expected Variable, but hook returned '{type(result).__name__}'")
                _check(hook, shown, result)
                shown = result
    return form.take(shown)


def _check(hook: Callable[..., Any], was: Tensor, got: Tensor) -> None:
    name = getattr(hook, "__name__", type(hook).__name__)
    if got.shape != was.shape:
        raise RuntimeError(f"hook '{name}' has changed the size of value")
    if got.dtype is not was.dtype:
        types = f"(was tracer.{was.dtype.ctype}Tensor got tracer.{got.dtype.ctype}Tensor)"
        raise RuntimeError(f"hook '{name}' has changed the type of value {types}")


def before(extras: Extras, given: dict[int, Any], count: int, form: Form) -> dict[int, Any]:
    """The cotangents of a node's ``count`` outputs after its pre-hooks."""
    shown = tuple([form.give(given[k]) if k in given else None for k in range(count)])
    for hook in list(extras.prehooks.values()):
        shown = replaced(hook, shown, (shown,))
    return {k: form.take(g) for k, g in enumerate(shown) if g is not None}


def after(extras: Extras, results: Sequence[Any], given: dict[int, Any], count: int, form: Form) -> list[Any]:
    """The cotangents that a node has computed, after its post-hooks."""
    outputs = tuple([form.give(given[k]) if k in given else None for k in range(count)])
    shown = tuple([None if g is None else form.give(g) for g in results])
    for hook in list(extras.posthooks.values()):
        shown = replaced(hook, shown, (shown, outputs))
    return [None if g is None else form.take(g) for g in shown]


def replaced(hook: Callable[..., Any], values: tuple[Any, ...], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, or the hook's replacement."""
    from ..core.eager import Eager

    with using(Eager()):
        result = hook(*args)
    if result is None:
        return values
    if not isinstance(result, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(result).__name__}'")
    if len(result) != len(values):
        name = getattr(hook, "__name__", type(hook).__name__)
        raise RuntimeError(
            f"hook '{name}' has returned an incorrect number of values (got {len(result)}, but expected {len(values)})"
        )
    return result
