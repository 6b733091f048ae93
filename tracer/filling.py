"""Tensors filled with random numbers, in place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .autograd.modes import unfollowed
from .ir.types import DType
from .ops import pointwise
from .random import Generator, bernoulli_draw, check_limits, default_generator, floating, randn, standard_deviation
from .tensor import Tensor


def _limits(dtype: DType) -> tuple[float, float]:
    """The largest number of a floating dtype, and the distance from 1 to the next number below."""
    if dtype.short == "bf16":
        return float.fromhex("0x1.fep127"), 2.0**-8
    info = np.finfo(dtype.numpy)
    return float(info.max), float(info.epsneg)


def uniform_(tensor: Tensor, from_: float = 0, to: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [from_, to). Raises RuntimeError for limits that the dtype does not hold, or in the wrong order."""
    kind = floating(tensor.dtype, "check_uniform_bounds")
    most, _ = _limits(kind)
    for name, limit in (("from", from_), ("to", to)):
        if not abs(limit) <= most:
            raise RuntimeError(f"{name} is out of bounds for {kind.name}")
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
    if to - from_ > most:
        raise RuntimeError(f"uniform_ expects to-from <= {most}, but found to={to} and from={from_}")
    stream, shape = generator or default_generator, tensor._data.shape
    with unfollowed():
        if (from_, to) == (0, 1):
            numbers = stream.uniform(shape, kind)
        else:
            numbers = stream.fine(shape, kind) * (to - from_) + from_
            if from_ or numbers.dtype is not kind:  # rounding must not give the upper limit
                last = np.nextafter(kind.numpy.type(to), kind.numpy.type(-math.inf))
                numbers = pointwise.clamp(numbers, max=max(float(last), from_))
    return tensor.copy_(numbers)


def normal_(tensor: Tensor, mean: float = 0, std: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Normal numbers. Raises RuntimeError for a negative standard deviation."""
    standard_deviation(std)
    with unfollowed():
        numbers = randn(tensor._data.shape, dtype=tensor.dtype, generator=generator) * std + mean
    return tensor.copy_(numbers)


def exponential_(tensor: Tensor, lambd: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Numbers of the exponential distribution, by the inverse of its distribution function; none is 0.

    Raises RuntimeError unless ``lambd`` is positive and the dtype floating.
    """
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    if not tensor.is_floating_point():
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. dtype must be a floating point but you "
            f"specified {tensor.dtype.ctype}"
        )
    with unfollowed():
        u = (generator or default_generator).fine(tensor._data.shape, tensor.dtype)
        numbers = pointwise.log1p(-u) / -lambd
    return tensor.copy_(numbers)


def bernoulli_(tensor: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Ones with probability ``p``, a number or a tensor, else zeros. Raises RuntimeError for one outside of [0, 1]."""
    return tensor.copy_(bernoulli_draw(tensor._data.shape, p, generator))


def random_(tensor: Tensor, from_: int | None = None, to: Any = ..., *, generator: Generator | None = None) -> Tensor:
    """Integers in [from_, to); ``random_(to)``: in [0, to). With ``to=None``, or without limits, up to the largest number to
    which the dtype holds all.

    Raises RuntimeError where there are none, or where the dtype does not hold them all.
    """
    kind = tensor.dtype
    if to is ...:
        from_, to = 0, from_
    if to is None and kind.is_floating_point:
        to = round(1 / _limits(kind)[1]) + 1
    elif to is None:
        to = 2 if kind.kind == "b" else int(np.iinfo(kind.numpy).max) + 1
    low, high = int(from_ or 0), int(to)
    check_limits(low, high, kind)
    return tensor.copy_((generator or default_generator).integers(low, high, tensor._data.shape))
