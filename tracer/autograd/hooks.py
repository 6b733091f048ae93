"""Hooks: user functions called when a gradient is known, before and after a node, and after accumulation."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ..ir.interp import using
from ..tensor import Tensor
from .forms import Form
from .node import BackwardNode, Extras

_numbers = itertools.count()


class RemovableHandle:
    """Removes a hook: by ``remove()``, or at the end of a ``with`` block."""

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
    """Stores the gradient in ``.grad``, without keeping the tensor alive."""

    def __init__(self, t: Tensor):
        self.tensor = weakref.ref(t)

    def __call__(self, g: Tensor) -> None:
        t = self.tensor()
        if t is not None:
            before = t._grad
            t.grad = before + g if before is not None else g if g._requires_grad else g.clone()


def _of(t: Tensor) -> OrderedDict[int, Any]:
    """The hooks on a tensor's gradient: a leaf has its own; others belong to the tensor's node.

    Hooks join existing ones, also if a view has a newer history that has not been looked up, as in PyTorch.
    """
    node = t._grad_fn
    if node is None or node.extras is None or t._output not in node.extras.hooks:
        node = t.grad_fn
    if node is None:
        if "_hooks" not in vars(t):
            vars(t)["_hooks"] = OrderedDict()
        return vars(t)["_hooks"]
    return node.extended().hooks.setdefault(t._output, OrderedDict())


def add(hooks: OrderedDict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def register(t: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    if not t.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    return add(_of(t), hook)


def register_post_accumulate(t: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    if not t.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if t.grad_fn is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    if "_post_hooks" not in vars(t):
        vars(t)["_post_hooks"] = OrderedDict()
    return add(vars(t)["_post_hooks"], hook)


def retain(t: Tensor) -> None:
    if not t.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if t._grad_fn is not None and not retains(t):
        add(t.grad_fn.extended().hooks.setdefault(t._output, OrderedDict()), _Retain(t))  # type: ignore[union-attr]


def retains(t: Tensor) -> bool:
    node = t._grad_fn
    if node is None or node.extras is None:
        return False
    return any(isinstance(h, _Retain) and h.tensor() is t for h in node.extras.hooks.get(t._output, {}).values())


def move_retained(t: Tensor, before: BackwardNode) -> None:
    """``t`` has been changed in place, and had this node before: the gradient that it retains is now that of its new value."""
    assert before.extras is not None
    for hooks in before.extras.hooks.values():
        for number, hook in list(hooks.items()):
            if isinstance(hook, _Retain) and hook.tensor() is t:
                del hooks[number]
                add(t._grad_fn.extended().hooks.setdefault(t._output, OrderedDict()), hook)  # type: ignore[union-attr]


# Called by the engine. Hooks receive tensors, and their own operations run in eager mode.


def apply_to_outputs(extras: Extras, given: dict[int, Any], form: Form) -> None:
    """Passes a node's cotangents to the hooks on its results, which may replace them."""
    for output, hooks in extras.hooks.items():
        if output in given and hooks:
            given[output] = call(hooks, given[output], form)


def call(hooks: OrderedDict[int, Any], g: Any, form: Form) -> Any:
    """The gradient after the hooks; those that retain it run last."""
    from ..eager import Eager

    shown = form.give(g)
    with using(Eager()):
        for hook in sorted(hooks.values(), key=lambda h: isinstance(h, _Retain)):
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
        types = f"(was torch.{was.dtype.ctype}Tensor got torch.{got.dtype.ctype}Tensor)"
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


def replaced(hook: Callable[..., Any], values: tuple, args: tuple) -> tuple:
    """The values, or the hook's replacement."""
    from ..eager import Eager

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
