"""The eager interpreter: applies a primitive to tensors with NumPy immediately.

The result stores its history (``autograd.node``), and a current recording is notified (``tracing.recorder``). Elementwise
operands may have different shapes, as in NumPy; the engine sums a cotangent over the broadcast axes, and a trace gets
explicit broadcasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from ..autograd.written import remember
from ..ir.halves import compute
from ..ir.interp import joint_shape, restore, selection, silence
from ..ir.ops import select_
from ..ir.primitive import Kind, Primitive
from ..runtime.devices import device_of
from .context import context
from .tensor import Tensor, wrap
from .views import IN_INFERENCE, IN_NO_GRAD, LazyView, Made


def apply(primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Tensor:
    """Applies a primitive to tensors (and, if it is elementwise, Python numbers). Returns a new tensor."""
    if primitive.makes_views:
        return _view(primitive, args[0], attrs)
    follow, real = context.grad_enabled and primitive.differentiable, primitive.real
    followed = short = False
    arrays = []
    for a in args:
        if isinstance(a, Tensor):
            arrays.append(data := a._data)
            if data.__class__ is not ndarray:
                return _on_device(primitive, args, attrs)
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
        raise raised(e, primitive, args, attrs) from None
    finally:
        restore(token)
    out = wrap(data)
    if followed and data.dtype.kind in "fcV":
        out._requires_grad = True
        out._grad_fn = remember(primitive, args, attrs, out)
    if (recorder := context.recorder) is not None:
        recorder.record(primitive, args, attrs, out)
    return out


def _on_device(primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Tensor:
    """``apply`` where an operand is on a device with its own memory. Operands on the CPU are constants of composite operations:
    users' tensors were checked.
    """
    arrays = [a._data if isinstance(a, Tensor) else a for a in args]
    for a, data in zip(args, arrays, strict=True):
        if isinstance(a, Tensor) and primitive.real and data.dtype.kind == "c":
            primitive.require_real(a.dtype)
    try:
        device = next(filter(None, map(device_of, arrays)))
        out = wrap(device.apply(primitive, arrays, attrs))
    except Exception as e:
        raise raised(e, primitive, args, attrs) from None
    tracked = [a._requires_grad if a._view is None else a._followed() for a in args if isinstance(a, Tensor)]
    if any(tracked) and context.grad_enabled and primitive.differentiable and out._data.dtype.kind in "fcV":
        out._requires_grad = True
        out._grad_fn = remember(primitive, args, attrs, out)
    if (recorder := context.recorder) is not None:
        recorder.record(primitive, args, attrs, out)
    return out


def _view(primitive: Primitive, parent: Tensor, attrs: Mapping[str, Any]) -> Tensor:
    """Applies a primitive whose result shares its operand's memory; a reshape only where the memory allows it."""
    viewed: Any = parent._data
    try:
        if viewed.__class__ is not ndarray:
            data = viewed.device.apply(primitive, [viewed], attrs)
        elif viewed.itemsize == 2:
            data = compute(primitive, primitive.eager, [viewed], attrs)
        else:
            data = primitive.eager(viewed, **attrs)
    except Exception as e:
        raise raised(e, primitive, (parent,), attrs) from None
    if primitive.lazy or _shares(data, viewed):
        is_lazy = primitive.lazy or isinstance(parent, LazyView)
        out = object.__new__(LazyView) if is_lazy else wrap(data)
        _shows(out, parent, primitive, attrs)
    else:
        out = wrap(data)
    if (
        context.grad_enabled
        and primitive.differentiable
        and (parent._requires_grad if parent._view is None else parent._followed())
        and data.dtype.kind in "fcV"
    ):
        out._requires_grad = True
        out._grad_fn = remember(primitive, (parent,), attrs, out)
    if (recorder := context.recorder) is not None:
        recorder.record(primitive, (parent,), attrs, out)
    return out


def _shows(out: Tensor, parent: Tensor, primitive: Primitive, attrs: Mapping[str, Any]) -> None:
    """Makes ``out`` a view of ``parent``."""
    out._view = (parent, primitive, attrs)
    out._counter = counter = parent._changes()
    if counter[0]:
        out._history = counter[0]
    if parent._formers:
        out._since = len(parent._formers)
    if out._inference is not parent._inference:
        out._inference = parent._inference
    if primitive.differentiable:
        if not context.grad_enabled:
            out._made = IN_INFERENCE if context.inference else IN_NO_GRAD
        elif parent._made is not None:
            out._made = Made(parent._made.kind, 0)


def slices(parent: Tensor, axis: int, regions: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    """The slices of a tensor at each position of an axis: ``select_`` with the attributes of each."""
    if (
        parent._data.__class__ is not ndarray
        or isinstance(parent, LazyView)
        or context.recorder is not None
        or selection.interpreter
    ):
        return [select_(parent, **attrs) for attrs in regions]
    data: Any = parent._data
    before = (slice(None),) * axis
    follows = context.grad_enabled and data.dtype.kind in "fcV"
    follows = follows and (parent._requires_grad if parent._view is None else parent._followed())
    found = []
    for i, attrs in enumerate(regions):
        out = wrap(data[(*before, i, ...)])
        _shows(out, parent, select_, attrs)
        if follows:
            out._requires_grad = True
            out._grad_fn = remember(select_, (parent,), attrs, out)
        found.append(out)
    return found


def _shares(data: Any, viewed: Any) -> bool:
    """True if an operation's result is a view of its operand."""
    base = data.base
    if base is None:
        return False
    return base is viewed or base is viewed.base or data.size == 0 or np.may_share_memory(data, viewed)


def raised(error: Exception, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Exception:
    """The error to raise where the implementation has raised one."""
    if context.recorder is not None:
        context.recorder.failed(primitive, args, attrs)
    return _clearer(error, primitive, args) if isinstance(error, ValueError) else error


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
