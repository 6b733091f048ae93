"""Dropout of elements or whole channels."""

from __future__ import annotations

import math
from functools import partial

from ...core.fused import fused
from ...core.tensor import Tensor
from ...ir import ops as P
from ...ir.types import DType, bool_
from ...ops import pointwise as F
from ...random import default_generator
from ...random.drawing import Draw, Formula

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]


def _check(p: float) -> None:
    if not 0 <= p <= 1:
        error = ValueError if p == p else RuntimeError
        raise error(f"dropout probability has to be between 0 and 1, but got {p}")


@fused(by_numpy=True)
def _is_kept(u: Tensor, p: float) -> Tensor:
    return F.ge(u, p)


@fused(by_numpy=True)
def _scale(u: Tensor, p: float) -> Tensor:
    kept = P.cast(F.ge(u, p), dtype=u.dtype.short)
    return F.mul(kept, 1 / (1 - p)) if p < 1 else kept


def _drawn(input: Tensor, formula: Formula, p: float, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    if not input.is_floating_point():
        raise RuntimeError(f"result type Float can't be cast to the desired output type {input.dtype.ctype}")
    return default_generator.tensor(Draw(partial(formula, p=p), input.dtype.wide, dtype), shape)


def _drop(input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    _check(p)
    if not training or p == 0:
        return input
    scale = _drawn(input, _scale, p, input.dtype, shape)
    return input.mul_(scale) if inplace else F.mul(input, scale)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Elements become zero with probability ``p``, the others are divided by 1 - p (Srivastava et al. 2014); the input if not
    ``training``.
    """
    return _drop(input, p, training, inplace, input._data.shape)


def _drop_channels(input: Tensor, p: float, training: bool, inplace: bool, batched: int) -> Tensor:
    lead = 2 if input.ndim >= batched else 1
    return _drop(input, p, training, inplace, (*input._data.shape[:lead], *(1,) * (input.ndim - lead)))


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of signals."""
    return _drop_channels(input, p, training, inplace, 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of images."""
    return _drop_channels(input, p, training, inplace, 2)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of volumes."""
    return _drop_channels(input, p, training, inplace, 2)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout to the saturated value of ``selu``, keeping mean and variance (Klambauer et al. 2017)."""
    return _alpha(input, p, training, inplace, input._data.shape)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """``alpha_dropout`` of whole channels."""
    return _alpha(input, p, training, inplace, (*input._data.shape[:2], *(1,) * (input.ndim - 2)))


def _alpha(input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    _check(p)
    if not training or p == 0:
        return input
    if p == 1:
        return F.mul(input, 0.0)
    low = -1.7580993408473766
    a = 1 / math.sqrt((1 - p) * (1 + p * low * low))
    kept = _drawn(input, _is_kept, p, bool_, shape)
    out = F.add(F.mul(F.where(kept, input, low), a), -a * low * p)
    return input._become(out) if inplace else out


# Embeddings.
