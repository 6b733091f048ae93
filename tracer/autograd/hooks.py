"""Hooks: what users have called when a gradient is known."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..context import context
from ..tensor import Tensor
from .forms import Form
from .node import BackwardNode

_numbers = itertools.count()


class RemovableHandle:
    """Takes a hook away: ``remove()``, or at the end of a ``with`` block."""

    def __init__(self, hooks: OrderedDict[int, Any]):
        self.id = next(_numbers)
        self._hooks = weakref.ref(hooks) if type(hooks) is not OrderedDict else lambda: hooks

    def remove(self) -> None:
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class _Retain:
    """Puts the gradient into ``.grad``. Does not keep the tensor alive."""

    def __init__(self, t: Tensor):
        self.tensor = weakref.ref(t)

    def __call__(self, g: Tensor) -> None:
        t = self.tensor()
        if t is not None:
            t.grad = g if g._requires_grad else g.clone()


def _of(t: Tensor) -> OrderedDict[int, Any]:
    """The hooks on a tensor's gradient: a leaf's are its own, others belong to the node that made it."""
    node = t.grad_fn
    if node is None:
        if "_hooks" not in vars(t):
            vars(t)["_hooks"] = OrderedDict()
        return vars(t)["_hooks"]
    return node.extended().hooks.setdefault(t._output, OrderedDict())


def _add(hooks: OrderedDict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def register(t: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    if not t.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    return _add(_of(t), hook)


def register_post_accumulate(t: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    if not t.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if t.grad_fn is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    if "_post_hooks" not in vars(t):
        vars(t)["_post_hooks"] = OrderedDict()
    return _add(vars(t)["_post_hooks"], hook)


def retain(t: Tensor) -> None:
    if not t.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if t.grad_fn is not None and not retains(t):
        _add(_of(t), _Retain(t))


def retains(t: Tensor) -> bool:
    node = t._grad_fn
    if node is None or node.extras is None:
        return False
    return any(isinstance(h, _Retain) and h.tensor() is t for h in node.extras.hooks.get(t._output, {}).values())


def move_retained(t: Tensor, before: BackwardNode) -> None:
    """``t`` has been changed in place, and had this node before: what it retains is now the gradient of its new value."""
    assert before.extras is not None
    for hooks in before.extras.hooks.values():
        for number, hook in list(hooks.items()):
            if isinstance(hook, _Retain) and hook.tensor() is t:
                del hooks[number]
                _add(_of(t), hook)


def apply_to_outputs(node: BackwardNode, given: dict[int, Any], form: Form) -> None:
    """Shows a node's cotangents to its hooks, which may replace them."""
    assert node.extras is not None
    for output, hooks in node.extras.hooks.items():
        if output in given:
            given[output] = call(hooks, given[output], form)


def call(hooks: OrderedDict[int, Any], g: Any, form: Form) -> Any:
    """The gradient after the hooks, those that retain it last; hooks see tensors."""
    from ..eager import Eager
    from ..ir.interp import using

    shown = form.give(g)
    with using(Eager()):
        for hook in sorted(hooks.values(), key=lambda h: isinstance(h, _Retain)):
            result = hook(shown)
            if result is not None:
                if not isinstance(result, Tensor):
                    raise TypeError(f"expected Tensor, but hook returned '{type(result).__name__}'")
                shown = result
    return form.take(shown)


def accumulated(t: Tensor) -> None:
    """Calls the hooks that wait for a leaf's gradient to have been added."""
    hooks = vars(t).get("_post_hooks")
    if hooks:
        if context.recorder is not None:
            context.recorder.give_up("a hook runs after a gradient was added")
        for hook in list(hooks.values()):
            hook(t)
