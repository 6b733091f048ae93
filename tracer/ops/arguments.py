"""Which operands must be tensors: PyTorch takes numbers in some places only, and refuses them with these errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor

# Those that take a number as the second operand only, in neither place, or in one of the two.
_SECOND = [
    "clamp_max",
    "clamp_min",
    "copysign",
    "eq",
    "fmod",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "le",
    "less",
    "less_equal",
    "lt",
    "ne",
    "not_equal",
    "rsub",
]
_NEITHER = [
    "arctan2",
    "atan2",
    "fmax",
    "fmin",
    "gcd",
    "gammainc",
    "gammaincc",
    "heaviside",
    "hypot",
    "lcm",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "nextafter",
]
_ONE = [
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "float_power",
    "pow",
    "remainder",
    "xlog1py",
    "xlogy",
    "zeta",
]


def checked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, which raises TypeError for numbers where PyTorch does."""
    if name in _SECOND:
        places: tuple[int, ...] = (0,)
    elif name in _NEITHER:
        places = (0, 1)
    elif name in _ONE:
        return _one(function, name)
    else:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for i in places:
            if i < len(args) and not isinstance(args[i], Tensor):
                what = ("input", "other")[i]
                raise TypeError(f"{name}(): argument '{what}' (position {i + 1}) must be Tensor, not {type(args[i]).__name__}")
        return function(*args, **kwargs)

    return call


def _one(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) > 1 and not isinstance(args[0], Tensor) and not isinstance(args[1], Tensor):
            got = ", ".join(type(a).__name__ for a in args[:2])
            raise TypeError(f"{name}() received an invalid combination of arguments - got ({got}), but expected a Tensor")
        return function(*args, **kwargs)

    return call
