"""Conversions between PTX types, in all rounding modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .numbers import flush, saturate
from .parse import DTYPES

Values = Any

_TO_INTEGRAL: dict[str, Callable[[Values], Values]] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
_DIRECTED = ("rz", "rm", "rp")
_WIDE = np.longdouble  # holds 64-bit integers exactly on Linux


def conversion(to: str, source: str, modifiers: frozenset[str]) -> Callable[[Values], Values]:
    """The function that ``cvt`` with these modifiers applies."""
    steps: list[Callable[[Values], Values]] = []
    if "ftz" in modifiers and source == "f32":
        steps.append(flush)
    steps.append(_rounding(to, source, modifiers))
    if "sat" in modifiers and _is_float(to):
        steps.append(saturate)
    if "ftz" in modifiers and to == "f32":
        steps.append(flush)

    def convert(v: Values) -> Values:
        for step in steps:
            v = step(v)
        return v

    return convert


def _is_float(type_: str) -> bool:
    return DTYPES[type_].kind not in "iub"


def _rounding(to: str, source: str, modifiers: frozenset[str]) -> Callable[[Values], Values]:
    dtype = DTYPES[to]
    integral = next((f for m, f in _TO_INTEGRAL.items() if m in modifiers), None)
    directed = next((m for m in _DIRECTED if m in modifiers), None)
    if _is_float(source) and not _is_float(to):
        if integral is None:
            raise ValueError("a conversion to integers names its rounding")
        return lambda v: _to_integer(integral(_double(v)), dtype, DTYPES[source])
    if integral is not None:
        return lambda v: integral(_double(v)).astype(dtype)
    if directed is not None:
        return lambda v: _directed(v, dtype, directed)
    if to == "bf16" and DTYPES[source].kind in "iu":
        raise NotImplementedError("integers to bf16")  # the cast rounds twice
    if _is_float(to):
        # The casts of NumPy and ml_dtypes round once, to nearest even.
        return lambda v: v.astype(dtype)
    if "sat" in modifiers:
        return lambda v: _clamped_integer(v, dtype)
    return lambda v: v.astype(dtype)


def _double(v: Values) -> Values:
    return v.astype(np.float64)


def _to_integer(v: Values, dtype: np.dtype, source: np.dtype) -> Values:
    """Clamps. As the PTX ISA says, NaN gives 0, or only the highest bit if one of the two types has 64 bits."""
    info = np.iinfo(dtype)
    low, high = float(info.min), float(info.max) + 1 if dtype.itemsize < 8 else 2.0 ** (63 + (dtype.kind == "u"))
    inside = (v >= low) & (v < high)
    result = np.where(inside, v, 0.0).astype(dtype)
    result = np.where(v >= high, dtype.type(info.max), np.where(v < low, dtype.type(info.min), result))
    if source.itemsize < 8 and dtype.itemsize < 8:
        return result
    odd = dtype.type(info.min) if dtype.kind == "i" else dtype.type(1 << (8 * dtype.itemsize - 1))
    return np.where(np.isnan(v), odd, result)


def _clamped_integer(v: Values, dtype: np.dtype) -> Values:
    info, own = np.iinfo(dtype), np.iinfo(v.dtype)
    low, high = v.dtype.type(max(info.min, own.min)), v.dtype.type(min(info.max, own.max))
    return np.clip(v, low, high).astype(dtype)


def _directed(v: Values, dtype: np.dtype, mode: str) -> Values:
    """Rounds to nearest, then moves to the adjacent number where that was the wrong direction."""
    near = np.asarray(v.astype(dtype))
    exact, result = np.asarray(v).astype(_WIDE), near.astype(_WIDE)
    if mode == "rz":
        return _stepped(near, np.where(np.abs(result) > np.abs(exact), -1, 0))
    wrong = result < exact if mode == "rp" else result > exact
    outward = result >= 0 if mode == "rp" else result <= 0
    return _stepped(near, np.where(wrong, np.where(outward, 1, -1), 0))


def _stepped(near: Values, steps: Values) -> Values:
    """Moves numbers away from zero by some units in the last place: bit patterns are ordered by magnitude."""
    integers = near.view(f"i{near.dtype.itemsize}")
    return (integers + steps.astype(integers.dtype)).view(near.dtype)
