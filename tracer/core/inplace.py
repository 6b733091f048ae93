"""In-place changes: a tensor takes another value and history, with its memory and views."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import ops as P
from .context import context
from .layout import is_apart, overlaps
from .tensor import Tensor, wrap
from .views import LazyView, refused
from .waiting import WAITING, will_change

if TYPE_CHECKING:
    from ..autograd.node import BackwardNode


def become(
    t: Tensor,
    new: Tensor,
    overwritten: bool = False,
    may_overlap: bool = False,
    partly: bool = False,
    write: Callable[[np.ndarray], object] | None = None,
) -> Tensor:
    """``t`` takes the value and the history of ``new`` and keeps its memory. Every in-place operation ends here.

    ``overwritten``: ``new`` was not computed from ``t``; otherwise only changed elements are written where some share memory.
    ``may_overlap``: elements that share memory may be written, because they get equal values. ``partly``: they may be, unless
    autograd tracks the change. ``write`` writes the elements to the memory of ``t`` without being recorded; then only the
    dtype, shape and history of ``new`` are used.
    """
    if write is None and is_plain(t) and _is_plain_value(new, t):
        np.copyto(t._data, new._data)
        t._changes()[0] += 1
        return t
    if context.recorder is not None:
        context.recorder.value(t)  # before the change
    base = t._followed_base()
    if t._inference and not context.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a normal "
            "tensor before doing inplace update."
        )
    follows = context.grad_enabled and (t.requires_grad or (new._requires_grad if new._view is None else new._followed()))
    if follows:
        require_changeable(t, base)
    shared = overlaps(t._data)
    changed_only = not overwritten and not is_apart(t._data)
    if shared and (isinstance(t, LazyView) or not (may_overlap or (partly and not follows))):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    if not isinstance(t, LazyView) and not t._data.flags.writeable:
        raise RuntimeError("this tensor's memory is a read-only NumPy array: change a clone() of it")
    if new._data.shape != t._data.shape:
        raise RuntimeError(f"output with shape {list(t._data.shape)} doesn't match the broadcast shape {list(new._data.shape)}")
    if new._data.dtype != t._data.dtype and new.dtype.category > t.dtype.category:
        raise RuntimeError(f"result type {new.dtype.ctype} can't be cast to the desired output type {t.dtype.ctype}")
    if new._data.dtype != t._data.dtype:
        new = new.to(t.dtype)
    followed_before = base._requires_grad
    if WAITING:
        will_change(t)
    if isinstance(t, LazyView):
        t.write(new._data)
    elif write is not None:
        write(t._data)
    else:
        np.copyto(t._data, new._data, where=_changed(t._data, new._data) if changed_only else True)
    if context.recorder is not None and (changed_only or not is_apart(context.recorder.roots.of(t)._data)):
        context.recorder.give_up("writes to elements that share memory")
    t._changes()[0] += 1
    if follows:
        rebase(t, base, new, overwritten)
    if context.recorder is not None:
        context.recorder.update(t, new, follows, followed_before, overwritten)
    return t


def _changed(old: np.ndarray, new: np.ndarray) -> Any:
    """The elements with another value. A NaN that stays one has not changed."""
    return (new != old) & ((new == new) | (old == old))


def is_plain(t: Tensor) -> bool:
    """True if all there is to a change of ``t`` is writing its memory, row-major on the CPU, and counting the change."""
    data = t._data
    if data.__class__ is not np.ndarray or context.recorder is not None or WAITING or isinstance(t, LazyView):
        return False
    if t._inference or (context.grad_enabled and (t._requires_grad or t._view is not None)):
        return False
    flags = data.flags
    return flags.c_contiguous and flags.writeable


def _is_plain_value(new: Tensor, t: Tensor) -> bool:
    """True if elements of ``new``, of the dtype and shape of ``t``, have no history for it."""
    theirs, data = new._data, t._data
    if theirs.__class__ is not np.ndarray or theirs.dtype != data.dtype or theirs.shape != data.shape:
        return False
    return not (context.grad_enabled and (new._requires_grad if new._view is None else new._followed()))


def may_change_untracked(t: Tensor) -> bool:
    """True if every element of ``t`` may be changed in place, and autograd does not track it."""
    if isinstance(t, LazyView) or t._inference or overlaps(t._data) or (context.grad_enabled and t.requires_grad):
        return False
    return t._data.flags.writeable


def require_changeable(t: Tensor, base: Tensor) -> None:
    """Raises RuntimeError, as PyTorch does, if autograd cannot track an in-place change of ``t``, a view of ``base``.

    A view made before its base had a history counts as a leaf until its own is looked up.
    """
    if t._made is not None:
        raise refused(t, False)
    if not t.requires_grad:
        return
    if base is not t and base._grad_fn is None:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if t._grad_fn is None:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def require_apart(t: Tensor, other: Tensor, or_same: bool = True) -> None:
    """Raises RuntimeError, as PyTorch does, if an operand overlaps the memory to be written.

    ``or_same``: it may be exactly that memory, element by element.
    """
    if context.recorder is not None:
        context.recorder.movings.require_apart(context.recorder, t, other)
    a, b = t._data, other._data
    if (or_same and t is other) or not np.may_share_memory(a, b) or not (_dense(a) and _dense(b)):
        return
    if not or_same or a.strides != b.strides or t._address() != other._address() or a.size != b.size:
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )


def _dense(data: np.ndarray) -> bool:
    """True if each memory location in the elements' range is used exactly once."""
    expected = data.itemsize
    for s, n in sorted((s, n) for s, n in zip(data.strides, data.shape, strict=True) if n > 1):
        if s != expected:
            return False
        expected *= n
    return True


def rebase(t: Tensor, base: Tensor, new: Tensor, overwritten: bool) -> None:
    """Assigns the history of an in-place change to the tensor, or to the base of which it is a view."""
    if base is t and not overwritten:
        if new._grad_fn is not None:
            t._follow(new._grad_fn)
        t._requires_grad, t._output = new._requires_grad, new._output
        return
    from ..autograd.node import CopySlices

    chain: list[Any] = []
    at = t
    while at is not base:
        at, *step = at._viewed()
        chain.append(step)
    base._follow(CopySlices(base, new, straightened(base._data, chain[::-1])))
    t._refresh()


_REPEATING = (P.broadcast, P.windows, P.strided)
_MOVEMENTS = (*_REPEATING, P.slice_, P.select_, P.reshape, P.permute, P.diagonal, P.detach)


def straightened(base: np.ndarray, steps: list[Any]) -> list[Any]:
    """A chain of views, as pairs of a primitive and its attributes, as one step if views of views repeat elements.

    Writing to a part of a repeated element writes the element, and all its repetitions.
    """
    if not any(p in _REPEATING for p, _ in steps[:-1]) or not all(p in _MOVEMENTS for p, _ in steps):
        return steps
    order = sorted(range(base.ndim), key=lambda d: -base.strides[d])
    back = [order.index(d) for d in range(base.ndim)]
    places = np.arange(base.size).reshape([base.shape[d] for d in order]).transpose(back)
    for primitive, attrs in steps:
        if primitive is not P.detach:
            places = primitive.impl(places, **attrs)
    if places.size == 0:
        return steps
    strides = tuple([s // places.itemsize for s in places.strides])
    whole = [(P.permute, {"axes": tuple(order)}), (P.reshape, {"shape": (base.size,)})]
    return [*whole, (P.strided, {"shape": places.shape, "strides": strides, "offset": int(places.flat[0])})]


def follow_through(out: Tensor, t: Tensor, function: Callable[[Tensor], Tensor]) -> None:
    """Gives ``out`` the history of ``function(whole)``, where ``whole`` is all the memory of ``t``, a view.

    Elements outside ``t`` have no gradient, even if ``out`` includes them.
    """
    steps: list[Any] = []
    whole = t
    while whole._view is not None:
        whole, *step = whole._viewed()
        steps.append(step)
    shown = [whole.detach()]
    for primitive, attrs in reversed(steps):
        shown.append(primitive(shown[-1], **attrs))
    part = t
    for (primitive, attrs), before in zip(steps, shown[-2::-1], strict=True):
        part = primitive.put(before, part, before.type_, **attrs)
    followed = P.copy(function(part))  # its node is not a view's: views with such a history cannot be recreated
    assert followed._grad_fn is not None
    followed._grad_fn.label = "AsStridedBackward0"
    out._follow(followed._grad_fn)
    if context.recorder is not None:
        context.recorder.snapshot(followed, out)


def snapshot(t: Tensor) -> Tensor:
    """A copy of the tensor with its current history. Raises RuntimeError if it must not be changed.

    Hooks on a view that is about to be changed belong to its old value, which is no longer read.
    """
    base = t._followed_base()
    if context.grad_enabled:
        require_changeable(t, base)
    out = wrap(t._data.copy())
    out._requires_grad, out._grad_fn, out._output = t._requires_grad, t._grad_fn, t._output
    if base is not t and base._requires_grad:
        out._requires_grad, out._grad_fn, out._output = True, seen_from(base, t), 0
    if context.recorder is not None:
        context.recorder.snapshot(t, out)
    return out


def seen_from(base: Tensor, t: Tensor) -> BackwardNode:
    """The history of a view of the current ``base``. Intermediate views, and hooks on them, are not part of it."""
    from ..autograd.written import remember

    chain: list[Tensor] = []
    at = t
    while at is not base:
        chain.append(at)
        at = at._viewed()[0]
    for view in reversed(chain):
        _, primitive, attrs = view._viewed()
        seen = view._like()
        seen._view, seen._requires_grad, seen._grad_fn = view._view, True, remember(primitive, (at,), attrs, view)
        at = seen
    assert at._grad_fn is not None
    if not isinstance(t, LazyView):
        at._grad_fn.label = "AsStridedBackward0"
    return at._grad_fn
