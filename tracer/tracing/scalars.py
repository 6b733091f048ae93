"""Python floats that stay numbers of the run, not constants of the trace.

While a function is recorded, its float arguments and an optimizer's learning rate are ``RuntimeFloat``: arithmetic on
them is recorded. Where Python needs the very value (a comparison, ``float()``, printing), it gets
it, and the trace from then on holds for that value only.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..context import context
from ..ir import ops as P
from ..ir.types import DType

if TYPE_CHECKING:
    from ..tensor import Tensor


class RuntimeFloat:
    """A float of the run: its value now, and the float64 tensor of no dimensions that holds it in the trace."""

    __slots__ = ("_tensor", "_value", "roots")

    def __init__(self, value: float, tensor: Tensor, roots: frozenset[int]):
        self._value = value
        self._tensor = tensor
        self.roots = roots  # the inputs of the trace it was computed from

    def tensor(self, dtype: DType) -> Tensor:
        """As an operand of the given dtype."""
        t = self._tensor
        return t if t.dtype is dtype else P.cast(t, dtype=dtype.short)

    def pinned(self) -> float:
        """The value; the trace will only be replayed for this one."""
        if context.recorder is not None:
            context.recorder.pin(self.roots)
        return self._value

    def _combine(self, other: Any, primitive: Any, function: Callable[[float, float], float], swap: bool) -> Any:
        if isinstance(other, RuntimeFloat):
            value, operand, roots = other._value, other._tensor, self.roots | other.roots
        elif isinstance(other, (int, float)):
            value, operand, roots = other, float(other), self.roots  # type: ignore[assignment]
        else:
            return NotImplemented
        if swap:
            return RuntimeFloat(function(value, self._value), primitive(operand, self._tensor), roots)
        return RuntimeFloat(function(self._value, value), primitive(self._tensor, operand), roots)

    def __neg__(self) -> RuntimeFloat:
        return RuntimeFloat(-self._value, P.neg(self._tensor), self.roots)

    def __float__(self) -> float:
        return self.pinned()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pinned(), dtype)

    def __int__(self) -> int:
        return int(self.pinned())

    def __bool__(self) -> bool:
        return bool(self.pinned())

    def __hash__(self) -> int:
        return hash(self.pinned())

    def __repr__(self) -> str:
        return repr(self.pinned())

    def __format__(self, spec: str) -> str:
        return format(self.pinned(), spec)

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.pinned(), digits)

    def __eq__(self, other: object) -> bool:
        return self.pinned() == other

    def __lt__(self, other: Any) -> Any:
        return self.pinned() < other

    def __le__(self, other: Any) -> Any:
        return self.pinned() <= other

    def __gt__(self, other: Any) -> Any:
        return self.pinned() > other

    def __ge__(self, other: Any) -> Any:
        return self.pinned() >= other


def _install() -> None:
    table: dict[str, tuple[Any, Callable[[float, float], float]]] = {
        "add": (P.add, lambda a, b: a + b),
        "sub": (P.sub, lambda a, b: a - b),
        "mul": (P.mul, lambda a, b: a * b),
        "truediv": (P.div, lambda a, b: a / b),
        "pow": (P.pow_, lambda a, b: math.pow(a, b)),
        "mod": (P.remainder, lambda a, b: a % b),
    }
    for name, (primitive, function) in table.items():

        def method(self: RuntimeFloat, other: Any, p: Any = primitive, f: Any = function) -> Any:
            return self._combine(other, p, f, swap=False)

        def reflected(self: RuntimeFloat, other: Any, p: Any = primitive, f: Any = function) -> Any:
            return self._combine(other, p, f, swap=True)

        setattr(RuntimeFloat, f"__{name}__", method)
        setattr(RuntimeFloat, f"__r{name}__", reflected)


_install()
numbers.Real.register(RuntimeFloat)


def runtime_float(holder: Any, key: str) -> Any:
    """``holder[key]``, a float that may change from call to call without a new trace."""
    recorder = context.recorder
    return holder[key] if recorder is None else recorder.host_float(holder, key)
