"""The kinds of arguments that functions accept, from their annotations. Mostly the type alone decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.tensor import Tensor
from ..ir.types import as_dtype
from ..tracing.scalars import RuntimeInt


class Unfit(Exception):
    """An argument is not of its parameter's kind."""


# Readers for each kind: return the argument in the function's form, or raise Unfit.


def _tensor(x: Any) -> Any:
    if not isinstance(x, Tensor):
        raise Unfit
    return x


def _int(x: Any) -> Any:
    if type(x) is RuntimeInt:  # a shape or an axis: a constant of the graph
        return int(x.pinned())
    if isinstance(x, int) and not isinstance(x, bool):
        return x
    if isinstance(x, np.integer) or (isinstance(x, Tensor) and x._data.ndim == 0 and x._data.dtype.kind in "ui"):
        return int(x)
    raise Unfit


def _runtime_int(x: Any) -> Any:
    """An int of a recorded run, for arithmetic."""
    if type(x) is RuntimeInt:
        return x.item() if isinstance(x._value, np.generic) else x
    raise Unfit


def _number(x: Any) -> Any:
    if isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic):
        return x
    if isinstance(x, (np.number, np.bool_)):
        return x.item()
    if isinstance(x, Tensor) and x._data.ndim == 0:
        return x
    raise Unfit


def _float(x: Any) -> Any:
    if isinstance(x, (complex, np.complexfloating)):
        raise Unfit
    return _number(x)


def _operand(x: Any) -> Any:
    return x if isinstance(x, Tensor) else _number(x)


def _bool(x: Any) -> Any:
    if not isinstance(x, (bool, np.bool_)):
        raise Unfit
    return bool(x)


def _flag(x: Any) -> Any:
    return bool(x) if isinstance(x, int) else _bool(x)


def _str(x: Any) -> Any:
    if not isinstance(x, str):
        raise Unfit
    return x


def _dtype(x: Any) -> Any:
    try:
        return as_dtype(x)
    except TypeError:
        raise Unfit from None


def _ints(x: Any) -> Any:
    if not isinstance(x, (list, tuple, range)):
        raise Unfit
    return x if all(type(i) is int for i in x) else type(x)(map(_element, enumerate(x)))  # type: ignore[call-overload]


def _element(item: tuple[int, Any]) -> int:
    try:
        return _int(item[1])
    except Unfit:
        raise Unfit(f"found element of type {_name(item[1])} at pos {item[0]}") from None


def _sizes(x: Any) -> Any:
    return _ints(x) if isinstance(x, (list, tuple, range)) else _int(x)


def _some_sizes(x: Any) -> Any:
    """``_sizes``, where None keeps an extent."""
    return type(x)(i if i is None else _int(i) for i in x) if isinstance(x, (list, tuple)) else x if x is None else _int(x)


def _floats(x: Any) -> Any:
    return type(x)(map(_float, x)) if isinstance(x, (list, tuple)) else _float(x)


def _pair(x: Any) -> Any:
    if not isinstance(x, (list, tuple)) or len(x) != 2:
        raise Unfit
    for number in x:
        _float(number)
    return x


def _tensors(x: Any) -> Any:
    if not isinstance(x, (list, tuple)):
        raise Unfit
    for i, t in enumerate(x):
        if not isinstance(t, Tensor):
            raise Unfit(f"found element of type {_name(t)} at pos {i}")
    return x


def _callable(x: Any) -> Any:
    if not callable(x):
        raise Unfit
    return x


def _any(x: Any) -> Any:
    return x


@dataclass(frozen=True)
class Kind:
    """The kind of a parameter: its name, and its reader."""

    word: str
    read: Callable[[Any], Any]
    by_type: bool = True  # whether the type alone decides for a sequence or a tensor


# Kinds for which the type alone does not decide.
_LOOKED_INTO = (list, tuple, range, Tensor, type)

OPERAND = Kind("Tensor", _operand)
KINDS = {
    "Tensor": Kind("Tensor", _tensor),
    "int": Kind("int", _int, False),
    "RuntimeInt": Kind("int", _runtime_int),
    "float": Kind("float", _float, False),
    "bool": Kind("bool", _bool),
    "Flag": Kind("bool", _flag),
    "str": Kind("str", _str),
    "Number": Kind("Number", _number, False),
    "Operand": OPERAND,
    "DType": Kind("tracer.dtype", _dtype, False),
    "Sequence[int]": Kind("tuple of ints", _ints, False),
    "Sizes": Kind("tuple of ints", _sizes, False),
    "SomeSizes": Kind("tuple of ints", _some_sizes, False),
    "Floats": Kind("tuple of floats", _floats, False),
    "tuple[float, float]": Kind("tuple of two floats", _pair, False),
    "Sequence[Tensor]": Kind("tuple of Tensors", _tensors, False),
    "Callable": Kind("callable", _callable),
    "Any": Kind("", _any),
}
# The kinds of parameters with these names, where the annotation does not say.
_NAMED = {
    "alpha": "Number",
    "beta": "Number",
    "ceil_mode": "bool",
    "dilation": "Sizes",
    "dim": "Dims",
    "dims": "Dims",
    "dim0": "int",
    "exponent": "Operand",
    "fill_value": "Number",
    "base": "Number",
    "end": "Number",
    "hook": "Callable",
    "input": "Tensor",
    "kernel_size": "Sizes",
    "mat": "Tensor",
    "other": "Operand",
    "output_padding": "Sizes",
    "output_size": "SomeSizes",
    "padding": "Sizes | str",
    "q": "float | Tensor",
    "repeats": "Sizes",
    "scale_factor": "Floats | None",
    "max": "Operand | None",
    "min": "Operand | None",
    "self": "Tensor",
    "shape": "Sizes",
    "shifts": "Sizes",
    "size": "Sizes",
    "src": "Operand | None",
    "start": "Number",
    "step": "Number",
    "stride": "Sizes | None",
    "value": "Operand",
    "values": "Operand",
}
# Binary functions that accept no numbers, or accept one in either position.
_TENSORS = """
    arctan2 atan2 fmax fmin gcd gammainc gammaincc heaviside hypot igamma igammac lcm ldexp logaddexp logaddexp2 logical_and
    logical_or logical_xor maximum minimum nextafter
"""
_NUMBERS = """
    bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor float_power pow remainder where xlog1py xlogy zeta
    chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w hermite_polynomial_h
    hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p shifted_chebyshev_polynomial_t
    shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w
"""

# Functions of which all operands may be numbers.
ARITHMETIC = frozenset(["add", "div", "divide", "floor_divide", "mul", "multiply", "sub", "subtract", "true_divide"])

# Parameters with other kinds than their names suggest.
_SPECIAL = {
    ("copy_", "other"): "Operand",
    ("fill_", "value"): "Operand",
    **{(name, "dim"): "Dims | bool" for name in ("std", "std_mean", "var", "var_mean")},
    ("max", "dim"): "Tensor | Dims",
    ("min", "dim"): "Tensor | Dims",
    ("repeat_interleave", "repeats"): "int | Tensor",
    ("tensordot", "dims"): "Any",
    ("view", "shape"): "Sizes | DType",
}


@dataclass(frozen=True)
class Taken:
    """A parameter: the kinds that it accepts."""

    name: str
    kinds: tuple[Kind, ...]
    optional: bool  # whether None is accepted
    annotation: str  # the kinds as a type

    def read(self, x: Any, function: str, position: int | None) -> tuple[Any, Callable[[Any], Any] | None]:
        """The argument in the function's form; and the reader for others of its type, None if they can be passed unchanged.

        Raises TypeError for an argument of none of the kinds.
        """
        if x is None and self.optional:
            return x, None
        why = ""
        for kind in self.kinds:
            try:
                got = kind.read(x)
            except Unfit as e:
                why = why or str(e)
            else:
                return got, None if got is x and (kind.by_type or not isinstance(x, _LOOKED_INTO)) else kind.read
        words = " or ".join(dict.fromkeys(kind.word for kind in self.kinds))
        where = "" if position is None else f" (position {position + 1})"
        why = f"but {why}" if why else f"not {_name(x)}"
        raise TypeError(f"{function}(): argument '{self.name}'{where} must be {words}, {why}")


def _name(x: Any) -> str:
    kind = type(x)
    if isinstance(x, Tensor):
        return "Tensor"
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def taken(function: str, name: str, annotation: str, optional: bool = False) -> Taken:
    """The kinds that a parameter accepts, from its annotation."""
    if (function, name) in _SPECIAL:
        annotation = _SPECIAL[function, name]
    elif annotation == "Any":
        annotation = _NAMED.get(name, "Any")
        if name in ("input", "other", "exponent", "n"):
            if function in _TENSORS.split():
                annotation = "Tensor"
            elif function in ARITHMETIC or function in _NUMBERS.split():
                annotation = "Operand"
    annotation = annotation.replace("Dims", "int | Sequence[int] | None")
    words = ["Callable" if word.startswith("Callable[") else word for word in annotation.split(" | ")]
    kinds = tuple(KINDS.get(word, KINDS["Any"]) for word in words if word != "None")
    return Taken(name.rstrip("_"), kinds, optional or "None" in words or not kinds, annotation)


def of_constructor(annotation: str) -> str:
    """The annotation of a constructor's parameter: PyTorch's constructors, unlike its functions, accept 0 and 1 as flags."""
    return " | ".join("Flag" if word == "bool" else word for word in annotation.split(" | "))


def combination(function: str, args: Sequence[Any], kwargs: dict[str, Any]) -> TypeError:
    """The error for arguments that do not go together."""
    got = ", ".join([*map(_name, args), *(f"{name}={_name(x)}" for name, x in kwargs.items())])
    return TypeError(f"{function}() received an invalid combination of arguments - got ({got})")
