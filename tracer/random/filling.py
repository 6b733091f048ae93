"""In-place random filling of tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.tensor import Tensor
from ..ir.types import DType
from ..ops import pointwise
from . import (
    Generator,
    bernoulli_draw,
    check_limits,
    default_generator,
    floating,
    normal,
    probability,
    standard_deviation,
)
from .drawing import Draw, below, gaussian, uniform, whole


def _limits(dtype: DType) -> tuple[float, float]:
    """The largest number of a floating dtype, and the distance from 1 to the next number below."""
    if dtype.short == "bf16":
        return float.fromhex("0x1.fep127"), 2.0**-8
    info = np.finfo(dtype.numpy)
    return float(info.max), float(info.epsneg)


def uniform_(tensor: Tensor, from_: float = 0, to: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [from_, to). Raises RuntimeError for limits outside the dtype's range or in the wrong order."""
    kind = floating(tensor.dtype, "check_uniform_bounds")
    most, _ = _limits(kind)
    for name, limit in (("from", from_), ("to", to)):
        if not abs(limit) <= most:
            raise RuntimeError(f"{name} is out of bounds for {kind.name}")
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
    if to - from_ > most:
        raise RuntimeError(f"uniform_ expects to-from <= {most}, but found to={to} and from={from_}")
    return (generator or default_generator).fill(uniform(kind) if (from_, to) == (0, 1) else _between(from_, to, kind), tensor)


def _between(low: float, high: float, dtype: DType) -> Draw:
    of, kind = dtype.wide.numpy.type, dtype.numpy.type
    most = of(of(1 - _limits(dtype.wide)[1]) * of(high - low)) + of(low)  # which rounding must not turn into the upper limit
    last = np.nextafter(kind(high), kind(-math.inf)) if kind(most) >= kind(high) else None

    def between(u: Tensor) -> Tensor:
        numbers = u * (high - low) + low
        return numbers if last is None else pointwise.clamp(numbers, max=max(float(last), low))

    return Draw(between, dtype.wide, dtype)


def normal_(tensor: Tensor, mean: float = 0, std: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Normal numbers. Raises RuntimeError for a negative standard deviation."""
    standard_deviation(std)
    if tensor.is_complex():
        return tensor.copy_(normal(mean, std, tensor._data.shape, dtype=tensor.dtype, generator=generator))
    draw = gaussian(floating(tensor.dtype, "normal_kernel_cpu"), mean, std)
    return (generator or default_generator).fill(draw, tensor)


def exponential_(tensor: Tensor, lambd: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Exponentially distributed numbers, by the inverse of the distribution function; none is 0.

    Raises RuntimeError unless ``lambd`` is positive and the dtype floating.
    """
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    if not tensor.is_floating_point():
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. dtype must be a floating point but you "
            f"specified {tensor.dtype.ctype}"
        )
    draw = Draw(lambda u: pointwise.log(u) / -lambd, tensor.dtype.wide, tensor.dtype)
    return (generator or default_generator).fill(draw, tensor)


def bernoulli_(tensor: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Ones with probability ``p``, a number or a tensor, else zeros. Raises RuntimeError for probabilities outside [0, 1]."""
    if isinstance(p, Tensor):
        return tensor.copy_(bernoulli_draw(tensor._data.shape, p, generator))
    return (generator or default_generator).fill(below(probability(p), dtype=tensor.dtype), tensor)


def random_(tensor: Tensor, from_: int | None = None, to: Any = ..., *, generator: Generator | None = None) -> Tensor:
    """Integers in [from_, to); ``random_(to)``: in [0, to). With ``to=None``, or without limits, up to the largest number up
    to which the dtype represents all integers.

    Raises RuntimeError for an empty range, or one that the dtype does not represent.
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
    return (generator or default_generator).fill(whole(low, high, kind), tensor)
