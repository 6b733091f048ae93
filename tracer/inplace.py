"""Changes in place: a tensor takes another value, its memory, its views and its history with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .context import context
from .tensor import Tensor, overlaps, wrap
from .views import LazyView, refused

if TYPE_CHECKING:
    from .autograd.node import BackwardNode


def become(t: Tensor, new: Tensor, overwritten: bool = False, may_overlap: bool = False) -> Tensor:
    """``t`` takes the value and the history of ``new``, keeping its memory: every in-place operation ends here.

    ``overwritten``: ``new`` was not computed from ``t``. ``may_overlap``: elements that share memory may be written to,
    for they get equal values.
    """
    if context.recorder is not None:
        context.recorder.value(t)  # as it was before
    if t._view is not None:
        t._refresh()
    base = t._followed_base()
    if t._inference and not context.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a normal "
            "tensor before doing inplace update."
        )
    follows = context.grad_enabled and (new._requires_grad or t._requires_grad or base._requires_grad)
    if follows:
        require_changeable(t, base)
    if overlaps(t._data) and (isinstance(t, LazyView) or not may_overlap):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    if not isinstance(t, LazyView) and not t._data.flags.writeable:
        raise RuntimeError("the memory of this tensor is an array of NumPy that is read-only: change a clone() of it")
    if new._data.shape != t._data.shape:
        raise RuntimeError(f"output with shape {list(t._data.shape)} doesn't match the broadcast shape {list(new._data.shape)}")
    if new._data.dtype != t._data.dtype and new.dtype.category > t.dtype.category:
        raise RuntimeError(f"result type {new.dtype.ctype} can't be cast to the desired output type {t.dtype.ctype}")
    if new._data.dtype != t._data.dtype:
        new = new.to(t.dtype)
    followed_before = base._requires_grad
    if isinstance(t, LazyView):
        t.write(new._data)
    else:
        t._data[...] = new._data
    t._changes()[0] += 1
    if follows:
        rebase(t, base, new, overwritten)
    if context.recorder is not None:
        context.recorder.update(t, new, follows, followed_before)
    return t


def require_changeable(t: Tensor, base: Tensor) -> None:
    """Raises RuntimeError, as PyTorch does, where autograd cannot follow a change in place of ``t``, a view of ``base``."""
    if t._made is not None:
        raise refused(t, False)
    if base is not t and (base._requires_grad or t._requires_grad) and base._grad_fn is None:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if t._requires_grad and t._grad_fn is None:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def require_apart(t: Tensor, other: Tensor) -> None:
    """Raises RuntimeError, as PyTorch does, where an operand has some of the memory to be written to but is not the same."""
    a, b = t._data, other._data
    if t is other or not np.may_share_memory(a, b) or not (_dense(a) and _dense(b)):
        return
    if a.strides != b.strides or t.data_ptr() != other.data_ptr() or a.size != b.size:
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )


def _dense(data: np.ndarray) -> bool:
    """Whether the elements fill their memory, each once."""
    expected = data.itemsize
    for s, n in sorted((s, n) for s, n in zip(data.strides, data.shape, strict=True) if n > 1):
        if s != expected:
            return False
        expected *= n
    return True


def rebase(t: Tensor, base: Tensor, new: Tensor, overwritten: bool) -> None:
    """Gives the history of a change in place to the tensor changed, or to the one it is a view of."""
    t._changes()[1] += 1
    if base is t and not overwritten:
        if new._grad_fn is not None:
            t._follow(new._grad_fn)
        t._requires_grad, t._output = new._requires_grad, new._output
        return
    from .autograd.node import CopySlices

    chain: list[Any] = []
    at = t
    while at is not base:
        at, *step = at._viewed()
        chain.append(step)
    base._follow(CopySlices(base, new, chain[::-1]))
    t._refresh()


def snapshot(t: Tensor) -> Tensor:
    """The tensor as it is now, with its history, in memory of its own."""
    if t._view is not None:
        t._refresh()
    out = wrap(t._data.copy())
    out._requires_grad, out._grad_fn, out._output = t._requires_grad, t._grad_fn, t._output
    base = t._base
    if base is not None and base._requires_grad:
        out._grad_fn = unhooked(t, base)
    if context.recorder is not None:
        context.recorder.snapshot(t, out)
    return out


def unhooked(t: Tensor, base: Tensor) -> BackwardNode | None:
    """The history of a view about to be changed. Hooks on it belong to the view as it was, which nobody reads any more."""
    chain: list[Tensor] = []
    at = t
    while at is not base:
        chain.append(at)
        at = at._viewed()[0]
    if not any(v._grad_fn is not None and v._grad_fn.extras is not None for v in chain):
        return t._grad_fn
    from .autograd.written import remember

    for view in reversed(chain):
        _, primitive, attrs = view._viewed()
        seen = view._like()
        seen._view, seen._requires_grad, seen._grad_fn = view._view, True, remember(primitive, (base,), attrs, view)
        base = seen
    return base._grad_fn
