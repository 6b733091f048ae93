"""Accumulation of gradients in ``.grad``."""

from __future__ import annotations

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor, wrap
from ..core.waiting import WAITING, will_change
from ..ir.interp import compute_into
from .hooks import replaced
from .modes import unfollowed
from .node import Extras, Gradients


def accumulate(t: Tensor, g: Tensor, create_graph: bool) -> None:
    """Adds a gradient to a tensor's ``.grad``, and calls the hooks of its AccumulateGrad node and post-accumulate hooks."""
    extras: Extras | None = vars(t).get("_node_hooks")
    if extras is not None:
        for hook in list(extras.prehooks.values()):
            (g,) = replaced(hook, (g,), ((g,),))
    is_shown = vars(t).get("_hooks") or (extras is not None and extras.prehooks)
    if is_shown and t._grad is None and not create_graph and context.recorder is None:
        g = g.detach().clone()  # hooks may keep it, and later gradients are added in place
    add(t, g, create_graph)
    waiting = vars(t).get("_post_hooks")
    if waiting:
        for hook in list(waiting.values()):
            result = hook(t)
            if result is not None and not isinstance(result, Tensor):
                raise TypeError(f"expected Variable, but hook returned '{type(result).__name__}'")
            if result is not None and result is not t:
                raise RuntimeError("Tensor post accumulate grad hooks should return None.")
    if extras is not None:
        for hook in list(extras.posthooks.values()):
            replaced(hook, (), ((), (g,)))


def add(t: Tensor, g: Tensor, create_graph: bool) -> None:
    """Adds a gradient without calling hooks; in place, unless the sum is to be differentiated."""
    if t._grad_fn is None and context.recorder is not None:
        context.recorder.reads_grad(t)
    before = t._grad
    if before is None:
        if g._requires_grad and not create_graph:
            g = g.detach()
        if context.recorder is not None and not create_graph:
            g = g.clone()
        if context.recorder is None and g._data.dtype is t._data.dtype:
            t._grad = g  # the engine ensures the right shape
        else:
            t.grad = g
    elif create_graph:
        t.grad = before + g
    elif context.recorder is not None or not add_in_place(before, g._data):
        with unfollowed():
            before.add_(g)


def add_arrays(gradients: Gradients) -> None:
    """Adds gradients of leaves without hooks, outside recordings. Nothing else refers to the memory of the gradients."""
    for t, g in gradients:
        before = t._grad
        if before is None:
            t._grad = wrap(g)
        elif not add_in_place(before, g):
            add(t, wrap(g), False)


def add_in_place(before: Tensor, g: np.ndarray) -> bool:
    """Adds an array to a gradient, in its memory. Returns False for a gradient that needs more than that."""
    array = before._data
    if array.dtype is not g.dtype or not before._plain():
        return False
    if WAITING:
        will_change(before)
    compute_into(np.add, array, g, array)
    before._changes()[0] += 1
    return True
