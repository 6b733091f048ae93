"""``torch.testing``: comparisons, and random tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.tensor import Tensor
from ..ir.types import DType, float64
from ..ops import complex as complex_
from ..ops import where
from ..ops.construct import tensor
from ..ops.inquiry import finfo
from ..random import rand, randint

_TOLERANCES = {"float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}
_TOLERANCES |= {"complex64": _TOLERANCES["float32"], "complex128": _TOLERANCES["float64"]}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raises AssertionError unless tensors, arrays, numbers, or sequences and mappings of them, are close.

    The tolerances are by default those of the dtype: 1.3e-6 and 1e-5 for float32, 0 for integers.
    """
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol must both be specified or both be unspecified")
    try:
        _compare(actual, expected, rtol, atol, equal_nan, check_dtype)
    except AssertionError as e:
        if msg is None:
            raise
        raise AssertionError(msg(str(e)) if callable(msg) else msg) from None


def assert_allclose(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None, equal_nan: bool = True, msg: str = ""
) -> None:
    """``assert_close`` of tensors, or of what can be made into tensors, whatever their dtypes; the older form."""
    pair = [x if isinstance(x, Tensor) else tensor(x) for x in (actual, expected)]
    assert_close(*pair, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: Any = "cpu",
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Random numbers in [low, high), by default [-9, 9), or [0, 10) for unsigned integers; zeros are replaced by a small number
    if ``exclude_zero``.
    """
    size = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    unsigned = dtype.kind in "bu"
    start = (0 if unsigned else -9) if low is None else low
    stop = (2 if dtype.kind == "b" else 10 if unsigned else 9) if high is None else high
    if dtype.is_complex:
        parts = [make_tensor(*size, dtype=dtype.real, low=low, high=high, exclude_zero=exclude_zero) for _ in range(2)]
        drawn = complex_(*parts)
    elif dtype.is_floating_point:
        drawn = (rand(size, dtype=float64) * (stop - start) + start).to(dtype)
    else:
        drawn = randint(math.ceil(start), max(math.ceil(stop), math.ceil(start) + 1), size).to(dtype)
    if exclude_zero:
        drawn = where(drawn == 0, finfo(dtype).tiny if dtype.is_floating_point or dtype.is_complex else 1, drawn).to(dtype)
    if noncontiguous and drawn.numel() > 1:
        drawn = drawn.repeat_interleave(2, -1)[..., ::2]
    drawn = drawn.to(device)
    return drawn.requires_grad_() if requires_grad else drawn


def _compare(x: Any, y: Any, rtol: float | None, atol: float | None, equal_nan: bool, check_dtype: bool) -> None:
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        if set(x) != set(y):
            raise AssertionError("the keys of the mappings do not match")
        for key in x:
            _compare(x[key], y[key], rtol, atol, equal_nan, check_dtype)
        return
    if all(isinstance(v, Sequence) and not isinstance(v, str) for v in (x, y)):
        if len(x) != len(y):
            raise AssertionError(f"the length of the sequences do not match: {len(x)} != {len(y)}")
        for a, b in zip(x, y, strict=True):
            _compare(a, b, rtol, atol, equal_nan, check_dtype)
        return
    a, b = (v.detach() if isinstance(v, Tensor) else tensor(v) for v in (x, y))
    if a.shape != b.shape:
        raise AssertionError(f"the values for attribute 'shape' do not match: {a.shape} != {b.shape}")
    if a.dtype is not b.dtype and check_dtype and isinstance(x, Tensor) and isinstance(y, Tensor):
        raise AssertionError(f"the values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}")
    if rtol is None or atol is None:
        known = [_tolerance(t.dtype) for t in (a, b)]
        rtol, atol = max(t[0] for t in known), max(t[1] for t in known)
    first, second = (t.numpy().astype(np.complex128 if t.dtype.is_complex else np.float64) for t in (a, b))
    close = np.isclose(first, second, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if not close.all():
        worst = np.nanmax(np.abs(first - second))
        raise AssertionError(
            f"Tensor-likes are not close!\n\nMismatched elements: {close.size - close.sum()} / {close.size}\n"
            f"Greatest absolute difference: {worst} (up to {atol} allowed, and up to {rtol} of the expected value)"
        )


def _tolerance(dtype: DType) -> tuple[float, float]:
    return _TOLERANCES.get(dtype.name, (0.0, 0.0))
