"""The eager interpreter: applies a primitive to tensors with NumPy immediately.

The result stores its history (``autograd.node``), and a current recording is notified (``tracing.recorder``). Elementwise
operands may have different shapes, as in NumPy; the engine sums a cotangent over the broadcast axes, and a trace gets
explicit broadcasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd.written import remember
from ..ir.halves import compute
from ..ir.interp import joint_shape, restore, silence
from ..ir.primitive import Kind, Primitive
from .context import context
from .tensor import Tensor, wrap
from .views import LazyView, Made


def apply(primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Tensor:
    """Applies a primitive to tensors (and, if it is elementwise, Python numbers). Returns a new tensor."""
    follow, real = context.grad_enabled and primitive.differentiable, primitive.real
    followed = short = False
    arrays = []
    for a in args:
        if isinstance(a, Tensor):
            arrays.append(data := a._data)
            if data.itemsize == 2:
                short = True
            elif real and data.dtype.kind == "c":
                primitive.require_real(a.dtype)
            if follow:
                if a._view is not None:
                    followed = a._followed() or followed
                elif a._requires_grad:
                    followed = True
        else:
            arrays.append(a)
    token = silence()
    try:
        data = compute(primitive, primitive.eager, arrays, attrs) if short else primitive.eager(*arrays, **attrs)
    except Exception as e:
        if context.recorder is not None:
            context.recorder.failed(primitive, args, attrs)
        if not isinstance(e, ValueError):
            raise
        raise _clearer(e, primitive, args) from None
    finally:
        restore(token)
    if primitive.makes_views and _is_view(primitive, data, arrays[0]):
        parent = args[0]
        out = wrap(data) if not primitive.lazy and "_data" in vars(parent) else object.__new__(LazyView)
        out._view = (parent, primitive, attrs)
        out._counter = parent._changes()
        if parent._formers:
            out._since = len(parent._formers)
        out._history = parent._counter[0]
        if out._inference is not parent._inference:
            out._inference = parent._inference
        if primitive.differentiable:
            if not context.grad_enabled:
                out._made = Made("inference" if context.inference else "no_grad", 0)
            elif parent._made is not None:
                out._made = Made(parent._made.kind, 0)
    else:
        out = wrap(data)
    if followed and data.dtype.kind in "fcV":
        out._requires_grad = True
        out._grad_fn = remember(primitive, args, attrs, out)
    if context.recorder is not None:
        context.recorder.record(primitive, args, attrs, out)
    return out


def _is_view(primitive: Primitive, data: np.ndarray, viewed: np.ndarray) -> bool:
    """True if the result is a view: reshapes are, where memory allows."""
    if primitive.lazy or data.__class__ is not np.ndarray or data.base is None:
        return primitive.lazy
    return data.size == 0 or np.may_share_memory(data, viewed)


def _clearer(error: ValueError, primitive: Primitive, args: Sequence[Any]) -> Exception:
    """NumPy's error about shapes, with PyTorch's message."""
    if primitive.kind is Kind.ELEMENTWISE:
        try:
            joint_shape(*(a.shape for a in args if isinstance(a, Tensor)))
        except RuntimeError as e:
            return e
    return RuntimeError(str(error))


class Eager:
    """The interpreter of primitives once ``tracer`` is imported."""

    bind = staticmethod(apply)
