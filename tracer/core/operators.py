"""The operators of tensors: ``+``, ``@``, ``<`` and others, also with a number on the left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from .. import linalg
from ..autograd.written import maker
from ..ir import ops as P
from ..ir.interp import restore, selection, silence
from ..ir.primitive import Primitive
from ..ops import pointwise, special
from ..ops.common import Operand, is_number
from ..ops.names import separate
from ..runtime.devices import USED
from .autocasting import AUTOCAST, cast_operands
from .context import SPECIAL, context
from .device import require_one_device
from .eager import Eager, apply, raised
from .tensor import UNCHANGED, Tensor

Operator = Callable[[Tensor, Operand], Tensor]


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of vectors, matrices or batches of matrices; batches broadcast."""
    out = linalg.matmul(a, b)
    if out._view is not None:
        separate(out, (a, b), {})
    return out


ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "add": pointwise.add,
    "sub": pointwise.sub,
    "mul": pointwise.mul,
    "truediv": pointwise.div,
    "pow": pointwise.pow,
    "floordiv": pointwise.floor_divide,
    "mod": pointwise.remainder,
    "matmul": _matmul,
    "and": pointwise.bitwise_and,
    "or": pointwise.bitwise_or,
    "xor": pointwise.bitwise_xor,
    "lshift": special.bitwise_left_shift,
    "rshift": special.bitwise_right_shift,
}
COMPARISONS: dict[str, Callable[..., Tensor]] = {
    name: getattr(pointwise, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")
}
# Operators that are one primitive, on floating tensors of one dtype and Python numbers.
DIRECT: dict[Any, Primitive] = {pointwise.add: P.add, pointwise.sub: P.sub, pointwise.mul: P.mul, pointwise.div: P.div}


def operator(function: Callable[..., Tensor], reflected: bool) -> Operator:
    """The method of a binary operator. ``reflected``: the tensor is on the right."""

    def method(self: Tensor, other: Operand) -> Tensor:
        if reflected and not isinstance(self, Tensor):
            raise TypeError(f"the operator requires a 'Tensor' but received a '{type(self).__name__}'")
        if isinstance(other, Tensor):
            if USED:
                require_one_device(function.__name__, (self, other))
        elif not is_number(other) or function is _matmul:
            return NotImplemented
        if AUTOCAST and context.autocast and function is _matmul:
            (self, other), _ = cast_operands("matmul", (self, other), {})
        return function(other, self) if reflected else function(self, other)

    found = _quick(DIRECT[function], reflected, method) if function in DIRECT else method
    found.__doc__ = function.__doc__
    if function is _matmul:
        found.__annotations__["other"] = "Tensor"
    return found


def comparison(function: Callable[..., Tensor]) -> Operator:
    """The method of a comparison."""

    def method(self: Tensor, other: Operand) -> Tensor:
        if not (isinstance(other, Tensor) or is_number(other)):
            return NotImplemented
        return function(self, other)

    method.__doc__ = function.__doc__
    return method


_new, _NO_ATTRIBUTES = object.__new__, dict[str, Any]()
_EXACT = 1 << 24  # float32 represents the integers up to this


def _quick(primitive: Primitive, reflected: bool, otherwise: Operator) -> Operator:
    """A method that computes a primitive of a float32 or float64 tensor and another one or a number as ``eager.apply`` does,
    and is ``otherwise`` in all other cases. The general loop over operands, and its calls, take as long as NumPy's addition.
    """
    compute = primitive.eager
    make: Any = None

    def method(self: Tensor, other: Operand) -> Tensor:
        nonlocal make
        if isinstance(other, Tensor):
            y: Any = other._data
            fits = y.__class__ is ndarray
        else:
            y = other
            fits = y.__class__ is float or (y.__class__ is int and -_EXACT <= y <= _EXACT)
        if (
            not fits
            or not isinstance(self, Tensor)
            or (x := self._data).__class__ is not ndarray
            or (dtype := x.dtype).char not in "fd"
            or (y is not other and y.dtype is not dtype)
            or context.recorder is not None
            or selection.interpreter is not None
            or Eager.bind is not apply  # a profiler counts operations
        ):
            return otherwise(self, other)
        token = silence()
        try:
            data: Any = compute(y, x) if reflected else compute(x, y)
        except Exception as e:
            raise raised(e, primitive, (self, other), _NO_ATTRIBUTES) from None
        finally:
            restore(token)
        out: Tensor = _new(Tensor)
        out._data = data if data.__class__ is ndarray else np.array(data)
        out._counter = UNCHANGED
        if SPECIAL and context.inference:
            out._inference = True
        if context.grad_enabled:
            followed = self._requires_grad if self._view is None else self._followed()
            if y is not other:
                followed = (other._requires_grad if other._view is None else other._followed()) or followed  # type: ignore[union-attr]
            if followed:
                out._requires_grad = True
                make = make or maker(primitive)
                out._grad_fn = make((other, self) if reflected else (self, other), _NO_ATTRIBUTES, out)
        return out

    return method
