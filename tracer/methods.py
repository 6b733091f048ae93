"""Attaches the functions of ``tracer.ops`` to ``Tensor`` as methods, operators and in-place methods."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .context import context
from .ir import ops as P
from .ir.types import DType, bool_, float32, float64, int32, int64, uint8
from .ops import create, index, linalg, pointwise, reduce, shape
from .ops.common import is_number, to_dtype
from .tensor import Tensor

_METHODS: dict[Any, str] = {
    pointwise: "exp expm1 log log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh sigmoid erf reciprocal neg abs sign "
    "square relu add sub mul div maximum minimum remainder atan2 eq ne lt le gt ge pow floor ceil round isnan clamp clone "
    "floor_divide logical_not bitwise_not bitwise_and bitwise_or bitwise_xor true_divide multiply",
    reduce: "sum mean var std amax amin argmax argmin max min all any logsumexp softmax log_softmax",
    shape: "reshape view flatten permute transpose t squeeze unsqueeze expand expand_as broadcast_to split chunk narrow flip "
    "contiguous",
    index: "gather scatter_add index_select masked_fill",
    linalg: "matmul mm bmm mv dot outer addmm",
}

_OPERATORS = {
    "add": pointwise.add,
    "sub": pointwise.sub,
    "mul": pointwise.mul,
    "truediv": pointwise.div,
    "pow": pointwise.pow,
    "floordiv": pointwise.floor_divide,
    "mod": pointwise.remainder,
    "matmul": linalg.matmul,
    "and": pointwise.bitwise_and,
    "or": pointwise.bitwise_or,
    "xor": pointwise.bitwise_xor,
}
_COMPARISONS = {name: getattr(pointwise, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
_IN_PLACE = ("add", "sub", "mul", "div", "pow", "clamp", "exp", "relu", "sigmoid", "tanh", "sqrt", "neg", "masked_fill")


def _operator(function: Callable[..., Tensor], reflected: bool) -> Callable[[Tensor, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        if not (isinstance(other, Tensor) or (is_number(other) and function is not linalg.matmul)):
            return NotImplemented
        return function(other, self) if reflected else function(self, other)

    return method


def _comparison(function: Callable[..., Tensor]) -> Callable[[Tensor, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        if not (isinstance(other, Tensor) or is_number(other)):
            return NotImplemented
        return function(self, other)

    return method


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        followed = context.grad_enabled and any(isinstance(a, Tensor) and a._requires_grad for a in (self, *args))
        # Rules may read the old value, which is about to be overwritten.
        before = self._snapshot() if followed else self
        return self._become(function(before, *args, **kwargs))

    method.__doc__ = f"``{function.__name__}``, in place."
    return method


def _to(self: Tensor, *args: Any, dtype: DType | None = None, **ignored: Any) -> Tensor:
    """The tensor in another dtype (or that of another tensor); itself if there is nothing to do."""
    for a in args:
        if isinstance(a, DType):
            dtype = a
        elif isinstance(a, Tensor):
            dtype = a.dtype
        elif isinstance(a, str):
            if a != "cpu":
                raise RuntimeError(f"no device {a!r}: tensors live on 'cpu'")
        else:
            raise TypeError(f"to() received an invalid argument: {a!r}")
    return self if dtype is None else to_dtype(self, dtype)


def _copy_(self: Tensor, src: Any) -> Tensor:
    """Takes the values of ``src``, which broadcasts to this shape and is cast to this dtype."""
    if not isinstance(src, Tensor):
        src = create.full((), src, dtype=self.dtype)
    src = to_dtype(src, self.dtype)
    if src._data.shape != self._data.shape:
        src = shape.expand(src, self._data.shape)
    return self._become(src)


def _fill_(self: Tensor, value: Any) -> Tensor:
    """Sets every element to ``value``."""
    return _copy_(self, value)


def _zero_(self: Tensor) -> Tensor:
    """Sets every element to zero."""
    return _copy_(self, 0)


def attach() -> None:
    """Called once, when ``tracer`` is imported."""
    for module, names in _METHODS.items():
        for name in names.split():
            setattr(Tensor, name, getattr(module, name))
    for name, function in _OPERATORS.items():
        setattr(Tensor, f"__{name}__", _operator(function, False))
        setattr(Tensor, f"__r{name}__", _operator(function, True))
    for name, function in _COMPARISONS.items():
        setattr(Tensor, f"__{name}__", _comparison(function))
    for name in _IN_PLACE:
        setattr(Tensor, f"{name}_", _in_place(getattr(index if name == "masked_fill" else pointwise, name)))
    for name in ("add", "sub", "mul", "truediv", "pow"):
        setattr(Tensor, f"__i{name}__", _in_place(_OPERATORS[name]))
    for name, dtype in (
        ("float", float32),
        ("double", float64),
        ("long", int64),
        ("int", int32),
        ("bool", bool_),
        ("byte", uint8),
    ):
        setattr(Tensor, name, functools.partialmethod(_to, dtype=dtype))
    extra: dict[str, Any] = {
        "__neg__": pointwise.neg,
        "__pos__": lambda self: self,
        "__abs__": pointwise.abs,
        "__invert__": pointwise.bitwise_not,
        "__getitem__": index.getitem,
        "__setitem__": index.setitem,
        "__hash__": object.__hash__,
        "T": property(lambda self: P.permute(self, axes=tuple(reversed(range(self.ndim))))),
        "mT": property(lambda self: shape.transpose(self, -1, -2)),
        "to": _to,
        "type_as": lambda self, other: _to(self, other.dtype),
        "cpu": lambda self: self,
        "copy_": _copy_,
        "fill_": _fill_,
        "zero_": _zero_,
    }
    for name, value in extra.items():
        setattr(Tensor, name, value)
