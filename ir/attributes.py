"""The attributes of operations: which each record takes, and the values that they may have.

A record's functions name its attributes: they are the parameters that are not operands. An attribute's name says what it
holds, the same for all records.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .graph import Graph
from .types import DTYPES, dtype_named

if TYPE_CHECKING:
    from .primitive import Primitive

_INTEGER = (-(2**63), 2**63)


def _is_integer(x: Any) -> bool:
    return type(x) is int and _INTEGER[0] <= x < _INTEGER[1]


def _is_number(x: Any) -> bool:
    return type(x) in (bool, int, float, complex)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "integers such as (2,3)": lambda x: type(x) is tuple and all(map(_is_integer, x)),
    "an integer": _is_integer,
    "True or False": lambda x: type(x) is bool,
    "a number": _is_number,
    "a real number": lambda x: type(x) in (int, float),
    "a string": lambda x: type(x) is str,
    "a dtype such as \"f32\"": lambda x: type(x) is str and x in {d.short for d in DTYPES},
    "a string of hexadecimal digits": lambda x: type(x) is str and set(x) <= set("0123456789abcdef"),
    "a body of operations": lambda x: type(x) is Graph,
}  # fmt: skip

_HOLDS: dict[str, str] = {
    name: what
    for what, names in {
        "integers such as (2,3)": "shape axes starts stops steps low high interior strides size stride dilation extents "
        "a_steps b_steps c_steps",
        "an integer": "axis axis1 axis2 offset extent n rows count total part folded",
        "True or False": "ta tb wide inverse reverse largest descending right lower unit upper checked complete hermitian "
        "causal whole maximize",
        "a number": "value",
        "a real number": "scale",
        "a string": "message family what of reduce",
        "a dtype such as \"f32\"": "dtype",
        "a string of hexadecimal digits": "data",
        "a body of operations": "body",
    }.items()
    for name in names.split()
}  # fmt: skip


def attributes_of(primitive: Primitive) -> dict[str, bool]:
    """The names of a record's attributes; True for those that must be given."""
    found: dict[str, bool] = {}
    functions = [primitive.infer]
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(primitive.infer).parameters.values()):
        functions.append(primitive.impl)  # the types do not depend on all of them
    for function in functions:
        if isinstance(function, np.ufunc):
            continue
        parameters = list(inspect.signature(function).parameters.values())
        if all(p.kind is not p.VAR_POSITIONAL for p in parameters):
            parameters = parameters[len(primitive.operands) :]
        else:
            parameters = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        for p in parameters:
            if p.kind is not p.VAR_KEYWORD:
                found.setdefault(p.name, p.default is p.empty and p.name not in primitive.defaults)
    return found


def holds(name: str) -> str:
    """What an attribute of that name holds, in words."""
    return _HOLDS[name]


def check_attribute(primitive: Primitive, name: str, value: Any) -> None:
    """Raises ValueError unless ``primitive`` has this attribute, and it may have this value."""
    known = primitive.attributes
    if name not in known:
        raise ValueError(f"{primitive.name} has no attribute {name!r}; it has {', '.join(known) or 'none'}")
    what = holds(name)
    if not _CHECKS[what](value):
        raise ValueError(f"the attribute {name!r} of {primitive.name} must be {what}")


def check_attributes(primitive: Primitive, attrs: Mapping[str, Any]) -> None:
    """Raises ValueError if an attribute is missing, or if a number is not one of its dtype."""
    missing = [name for name, required in primitive.attributes.items() if required and name not in attrs]
    if missing:
        raise ValueError(f"needs the attribute {missing[0]!r}: {holds(missing[0])}")
    if "value" in attrs and "dtype" in attrs:
        check_number(attrs["value"], attrs["dtype"])


def check_number(value: Any, short: str) -> None:
    """Raises ValueError if a number cannot be an element of a dtype."""
    dtype = dtype_named(short)
    if isinstance(value, complex):
        fits = dtype.is_complex
    elif dtype.kind in "ui":
        integral = not isinstance(value, float) or (math.isfinite(value) and value == int(value))
        fits = integral and np.iinfo(dtype.numpy).min <= value <= np.iinfo(dtype.numpy).max
    else:
        fits = isinstance(value, float) or abs(value) < 1 << 1023
    if not fits:
        raise ValueError(f"{value} is not a number of dtype {short}")
