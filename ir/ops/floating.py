"""Floating-point decomposition: x = mantissa * 2**exponent, computed by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import elementwise, floating
from ..types import int32
from .elementwise import cast, mul, neg
from .special import exp2


def _parts(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Computed in float32 for smaller types, which is exact. The exponent of non-finite numbers is 0."""
    x = np.asarray(x)
    wide = x if x.dtype.itemsize >= 4 else x.astype(np.float32)
    mantissa, exponent = np.frexp(wide)
    return mantissa.astype(x.dtype, copy=False), np.where(np.isfinite(wide), exponent, 0).astype(np.int32)


frexp_exponent = elementwise(
    "frexp_exponent", lambda x: _parts(x)[1], None, infer=lambda x: floating(x).with_dtype(int32), torch_name="Frexp"
)
frexp_mantissa = elementwise(
    "frexp_mantissa",
    lambda x: _parts(x)[0],
    None,
    infer=floating,
    vjp=(lambda g, x, x_type: mul(g, exp2(neg(cast(frexp_exponent(x), dtype=x_type.dtype.short)))),),
    torch_name="Frexp",
)

__all__ = ["frexp_exponent", "frexp_mantissa"]
