"""Cotangents of operands that were broadcast."""

from __future__ import annotations

import functools
from typing import Any

from ..ir.halves import narrowed, widened
from ..ir.ops import reshape, sum_


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """``g`` summed over the broadcast axes, back to ``shape``."""
    axes = _repeated(tuple(g.shape), shape)
    if axes:
        g = sum_(g, axes=axes) if g.dtype.itemsize != 2 else narrowed(sum_(widened(g), axes=axes), g)
    return g if g.shape == shape else reshape(g, shape=shape)


@functools.lru_cache(1024)
def _repeated(whole: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which an array was repeated."""
    extra = len(whole) - len(shape)
    return tuple(i for i, n in enumerate(whole) if i < extra or (shape[i - extra] == 1 and n != 1))
