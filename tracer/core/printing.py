"""Text of tensors, as PyTorch prints them: four digits, aligned, with the middle of large tensors omitted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.markup import preformatted
from ..runtime.devices import Device, device_of, to_host
from .context import context

if TYPE_CHECKING:
    from ..ir.types import DType
    from .tensor import Tensor

_WIDTH, _THRESHOLD, _EDGE, _PREFIX = 80, 1000, 3, "tensor("


class _Formatter:
    """A common format for all elements: decimal, integer with a point, or scientific; and their width."""

    def __init__(self, data: np.ndarray):
        self.floating = data.dtype.kind == "f"
        self.form = "{:.4f}"
        self.whole = False
        self.width = 1
        if not self.floating:
            self.width = max((len(str(v)) for v in data.flat), default=1)
            return
        finite = np.abs(data[np.isfinite(data) & (data != 0)]).astype(np.float64)
        self.whole = True
        if finite.size == 0:
            self.form = "{:.0f}"
            return
        small, big = float(finite.min()), float(finite.max())
        self.whole = bool(np.all(np.ceil(finite) == finite))
        scientific = big / small > 1000 or big > 1e8 or (not self.whole and small < 1e-4)
        self.form = "{:.4e}" if scientific else "{:.0f}" if self.whole else "{:.4f}"
        signed = data[np.isfinite(data) & (data != 0)]
        self.width = max(len(self.form.format(float(v))) for v in signed.flat)
        if self.whole and not scientific:
            self.width += 1
        self.whole &= not scientific

    def __call__(self, v: Any) -> str:
        if not self.floating:
            return str(v).rjust(self.width)
        text = self.form.format(float(v))
        if self.whole and math.isfinite(v):
            text += "."
        return text.rjust(self.width)


def _summary(data: np.ndarray) -> np.ndarray:
    """The elements of a large tensor that are printed."""
    for axis, n in enumerate(data.shape):
        if n > 2 * _EDGE:
            data = np.take(data, [*range(_EDGE), *range(n - _EDGE, n)], axis)
    return data


class _ComplexFormatter:
    """A format for the real parts and one for the imaginary parts."""

    def __init__(self, data: np.ndarray):
        self.real, self.imag = _Formatter(data.real), _Formatter(data.imag)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, v: Any) -> str:
        imag = self.imag(v.imag).lstrip() + "j"
        return self.real(v.real) + (imag if imag[0] == "-" else "+" + imag)


def _formatter(data: np.ndarray) -> _Formatter | _ComplexFormatter:
    return _ComplexFormatter(data) if data.dtype.kind == "c" else _Formatter(data)


def _body(data: np.ndarray, indent: int, summarize: bool, form: _Formatter | _ComplexFormatter) -> str:
    if data.ndim == 0:
        return form(data[()])
    short = summarize and len(data) > 2 * _EDGE
    parts: list[Any] = [data[i] for i in (*range(_EDGE), *range(-_EDGE, 0))] if short else list(data)
    if data.ndim == 1:
        cells = [form(v) for v in parts]
        if short:
            cells.insert(_EDGE, " ...")
        per_line = max(1, (_WIDTH - indent) // (form.width + 2))
        lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = [_body(p, indent + 1, summarize, form) for p in parts]
    if short:
        rows.insert(_EDGE, "...")
    return "[" + ("," + "\n" * (data.ndim - 1) + " " * (indent + 1)).join(rows) + "]"


def show(t: Tensor) -> str:
    """The text of a tensor, with non-default properties and the history."""
    return text_of(t._observed("the text of a tensor"), t.dtype, history(t))


def html(t: Tensor) -> str:
    """A tensor in a notebook: its type, then its text."""
    more = ", requires grad" if t.requires_grad else ""
    return preformatted(repr(t), f"{t.dtype.name}{list(t.shape)}{more}")


def shows_elements(t: Tensor) -> bool:
    """True if the text of a tensor is ``show``, not that of a user's class."""
    cls, base = type(t), next(c for c in type(t).__mro__ if c.__name__ == "Tensor")
    return cls.__repr__ is base.__repr__ and cls.__str__ is object.__str__ and cls.__format__ is base.__format__


def history(t: Tensor) -> str:
    """The part of a tensor's text about its position in the graph."""
    if t._grad_fn is not None:
        return f"grad_fn=<{t._grad_fn.name()}>"
    return "requires_grad=True" if t._requires_grad else ""


def place_of(device: Device) -> str:
    """The part of a tensor's text about its device."""
    return f"device='{device}'"


def text_of(data: np.ndarray, kind: DType, history: str) -> str:
    """The text of a tensor with these elements."""
    suffixes = []
    if (device := device_of(data)) is not None:
        data, history = to_host(data), ", ".join(filter(None, (place_of(device), history)))
    dtype = f"dtype={kind}"
    default = kind in (context.default_dtype, context.default_dtype.to_complex()) or kind.name in ("int64", "bool")
    if data.size == 0:
        text = "[]"
        if data.ndim != 1:
            suffixes.append(f"size={tuple(data.shape)}")
        if kind is not context.default_dtype:
            suffixes.append(dtype)
    else:
        summarize = data.size > _THRESHOLD
        data = data.astype(np.float32) if kind.is_half else data  # NumPy does not know bfloat16 as a floating type
        text = _body(data, len(_PREFIX), summarize, _formatter(_summary(data) if summarize else data))
        if not default:
            suffixes.append(dtype)
    if history:
        suffixes.append(history)
    out = _PREFIX + text
    used = len(out) - out.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _WIDTH:
            out += ",\n" + " " * len(_PREFIX) + suffix
            used = len(_PREFIX) + len(suffix)
        else:
            out += ", " + suffix
            used += len(suffix) + 2
    return out + ")"
