"""Methods that change the shape of a tensor itself: ``x.unsqueeze_(0)``, ``x.t_()``, ``x.resize_(2, 3)``.

The tensor becomes a view of its former self, which continues to exist as another tensor for its existing views: they keep
their shape (see ``Tensor._viewed``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..autograd.modes import set_grad_enabled
from ..ops.shape import _sizes
from ..runtime.devices import address
from .context import context
from .inplace import require_changeable
from .tensor import Tensor
from .views import base_of
from .waiting import WAITING, will_change


def _former(t: Tensor) -> Tensor:
    """Another tensor with the current state of ``t``."""
    former: Tensor = object.__new__(Tensor)
    vars(former).update({name: value for name, value in vars(t).items() if name not in ("_formers", "_grad")})
    if context.recorder is not None:
        context.recorder.snapshot(t, former)
    return former


def _transform(t: Tensor, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """Replaces memory and history of ``t`` by those of the function's result."""
    if t._view is not None:
        t._refresh()
    if context.grad_enabled and t.requires_grad:
        base = base_of(t)
        require_changeable(t, t if base is None else base)
    leaf = t._requires_grad and t._grad_fn is None
    if context.recorder is not None:
        context.recorder.reshapes(t)
    if WAITING:
        will_change(t)
    former = _former(t)
    with set_grad_enabled(
        context.grad_enabled or (t._grad_fn is not None and t._made is None)
    ):  # gradients have the new shape in both cases
        new = function(former, *args, **kwargs)
    t._formers = (*t._formers, former)
    t._data, t._view, t._history = new._data, None if leaf else new._view, new._history
    if new._requires_grad:
        t._requires_grad, t._grad_fn, t._output = True, new._grad_fn, new._output
    t._changes()[0] += 1
    if context.recorder is not None:
        context.recorder.snapshot(new, t)
    return t


def _reshaping(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A view function as a method that turns its tensor into that view."""

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return _transform(self, function, *args, **kwargs)

    method.__doc__ = f"``{function.__name__}``, in place: the tensor itself takes the shape."
    return method


def resize_(self: Tensor, *size: Any, memory_format: Any = None) -> Tensor:
    """Changes the shape to elements in memory order from the first one on; missing elements are zero.

    Memory is kept if it suffices. Raises RuntimeError if the tensor requires a gradient.
    """
    wanted = _sizes(size)
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if any(n < 0 for n in wanted):
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {next(n for n in wanted if n < 0)}: {list(wanted)}"
        )
    if wanted == self._data.shape:
        return self
    if context.recorder is not None:
        context.recorder.give_up("resizes a tensor")
    if WAITING:
        will_change(self)
    memory, count = _from_here(self), math.prod(wanted)
    if count > memory.size:
        memory = np.concatenate([memory, np.zeros(count - memory.size, memory.dtype)])
    self._formers = (*self._formers, _former(self))
    self._data, self._view = memory[:count].reshape(wanted), None
    self._changes()[0] += 1
    return self


def _from_here(t: Tensor) -> np.ndarray:
    """The elements in memory from the first element of ``t`` on."""
    root = t._root()
    storage = max((x._data for x in (root, *root._formers)), key=lambda data: data.size).ravel(order="K")
    if not np.may_share_memory(storage, t._data) or t._data.size == 0:
        return t._data.ravel()
    start = address(t._data) - address(storage)
    return storage[start // storage.itemsize :]


@functools.wraps(ops.addbmm)
def _addbmm_(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In-place ``addbmm``. A tensor that is broadcast to the product's shape takes that shape."""
    before = self._snapshot() if context.grad_enabled else self
    result = ops.addbmm(before, *args, **kwargs)
    if result._data.shape == self._data.shape:
        return self._become(result)
    return _transform(self, lambda former: result)


def _resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """``resize_`` to the shape of another tensor, of any dtype. Raises RuntimeError if this tensor requires a gradient."""
    return resize_(self, *the_template._data.shape)


METHODS: dict[str, Callable[..., Tensor]] = {
    **{f"{f.__name__}_": _reshaping(f) for f in (ops.squeeze, ops.unsqueeze, ops.transpose, ops.t, ops.as_strided)},
    "swapaxes_": _reshaping(ops.transpose),
    "swapdims_": _reshaping(ops.transpose),
    "resize_": resize_,
    "resize_as_": _resize_as_,
    "addbmm_": _addbmm_,
}
