"""Random numbers from a counter-based generator.

The generator's state is a tensor (seed, offset). Drawing n numbers reads the state and advances the offset in place, so eager
and traced code consume the same counters in the same order and give the same numbers.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.modes import unfollowed
from ..core.context import context
from ..core.device import CPU, memory_of, placed
from ..core.device import device as Place
from ..core.fused import fused
from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.interp import joint_shape
from ..ir.types import DType, float64, int64, uint8
from ..ops import create, pointwise
from ..ops.common import constant_in, to_dtype, within
from ..ops.complex import view_as_complex
from ..ops.create import _leaf, factory
from ..ops.offering import offer
from ..ops.reduce import argmax
from ..ops.reduce import sum as sum_
from ..ops.shape import _sizes
from ..tracing.scalars import RuntimeInt
from .drawing import Draw, below, gaussian, uniform, whole, wrapped


def _start(seed: int) -> np.ndarray:
    """The initial state of a seed's stream, counted modulo 2**64."""
    seed = int(seed)
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"manual_seed: expected a seed in [-2**63, 2**64), got {seed}")
    return np.array([wrapped(seed), 0], np.int64)


class Generator:
    """A stream of random numbers with a separate ``seed``, an integer in [-2**63, 2**64), else ValueError. ``device``, None
    for the CPU, has no effect on the numbers; one that does not exist raises RuntimeError.
    """

    def __init__(self, seed: Any = 0, *, device: Any = None):
        if isinstance(seed, (str, CPU.__class__)):  # PyTorch's only argument
            seed, device = 0, seed
        memory_of(device)  # which must exist
        self._device = CPU if device is None else Place(device)
        self.state = wrap(_start(seed))

    @property
    def device(self) -> Any:
        """The device that was named. Numbers are the same on every device."""
        return self._device

    def manual_seed(self, seed: int) -> Generator:
        """Restarts the stream from a seed: an integer in [-2**63, 2**64), else ValueError."""
        self.state.copy_(create.tensor(_start(seed).tolist(), dtype=int64, device=CPU))
        return self

    def seed(self) -> int:
        """Restarts the stream from an unpredictable seed; returns it."""
        chosen = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(chosen)
        return chosen

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return int(self.state._observed("initial_seed")[0]) % 2**64

    def get_offset(self) -> int:
        """The number of numbers drawn so far."""
        return int(self.state._observed("get_offset")[1])

    def set_offset(self, offset: int) -> None:
        """Moves to a position in the stream, as if that many numbers had been drawn."""
        self.state.copy_(create.tensor([int(self.state._observed("set_offset")[0]), offset], dtype=int64, device=CPU))

    def get_state(self) -> Tensor:
        """Seed and position in the stream, as a tensor of bytes for ``set_state``."""
        return create.tensor(list(self.state._observed("get_state").tobytes()), dtype=uint8, device=CPU)

    def set_state(self, new_state: Tensor) -> Generator:
        """Restores a state of ``get_state``. Raises TypeError or RuntimeError for anything else."""
        if not isinstance(new_state, Tensor) or new_state.dtype is not uint8:
            raise TypeError("RNG state must be a tracer.ByteTensor")
        size = self.state._data.nbytes
        if new_state.numel() != size:
            raise RuntimeError(f"expected a state of size {size} but found the input RNG state size to be {new_state.numel()}")
        words = np.frombuffer(new_state._observed("set_state").tobytes(), np.int64)
        self.state.copy_(create.tensor(words.tolist(), dtype=int64, device=CPU))
        return self

    def clone_state(self) -> Generator:
        """A separate generator with the same state."""
        return Generator().set_state(self.get_state())

    def tensor(self, draw: Draw, shape: tuple[int, ...]) -> Tensor:
        """A draw, without a gradient."""
        return draw.tensor(self.state, shape)

    def fill(self, draw: Draw, tensor: Tensor) -> Tensor:
        """Writes a draw to a tensor."""
        return draw.fill(self.state, tensor)

    def uniform(self, shape: tuple[int, ...], dtype: DType) -> Tensor:
        """Numbers in (0, 1), or 64 random bits for int64, without a gradient."""
        return self.tensor(uniform(dtype), shape)

    def fine(self, shape: tuple[int, ...], dtype: DType) -> Tensor:
        """Numbers in (0, 1) from which to compute ``dtype``: float32 for 16-bit types, which have few digits.

        Raises NotImplementedError for bool and complex numbers.
        """
        if dtype.is_complex or dtype.kind == "b":
            raise NotImplementedError(f"\"uniform_cpu\" not implemented for '{dtype.ctype}'")
        return self.uniform(shape, dtype.wide)


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator with an integer in [-2**63, 2**64), else ValueError."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Restarts the default generator from an unpredictable seed; returns it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, as a tensor of bytes."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Restores a state of ``get_rng_state``."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Any = None, enabled: bool = True, _caller: str = "fork_rng", _devices_kw: str = "devices", device_type: str = "cpu"
) -> Iterator[None]:
    """A context that restores the default generator at its end, if ``enabled``."""
    before = default_generator.get_state() if enabled else None
    try:
        yield
    finally:
        if before is not None:
            default_generator.set_state(before)


def _shape(size: Any) -> tuple[int, ...]:
    for n in size:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(size)}")
    return tuple(size)


def floating(dtype: DType, kernel: str) -> DType:
    """The dtype, which must be floating. Raises NotImplementedError with the name of PyTorch's kernel."""
    if not dtype.is_floating_point:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype.ctype}'")
    return dtype


@factory
def rand(*size: Any, dtype: DType | None = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [0, 1); exact 0 and 1 are not drawn. The parts of complex numbers are uniform.

    Raises NotImplementedError for dtypes that are neither floating nor complex.
    """
    shape, kind = _shape(_sizes(size)), dtype or context.default_dtype
    stream = generator or default_generator
    if kind.is_complex:
        return _leaf(view_as_complex(stream.uniform((*shape, 2), kind.real)), requires_grad)
    return _leaf(stream.uniform(shape, floating(kind, "check_uniform_bounds")), requires_grad)


@factory
def randn(*size: Any, dtype: DType | None = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Standard normal numbers, by the Box-Muller transform (1958). Complex numbers have variance 1, half of it in each part.

    Raises NotImplementedError for dtypes that are neither floating nor complex.
    """
    shape, kind = _shape(_sizes(size)), dtype or context.default_dtype
    stream = generator or default_generator
    if kind.is_complex:
        parts = stream.tensor(gaussian(kind.real, std=math.sqrt(0.5)), (*shape, 2))
        return _leaf(view_as_complex(parts), requires_grad)
    return _leaf(stream.tensor(gaussian(floating(kind, "normal_kernel_cpu")), shape), requires_grad)


def check_limits(low: Any, high: Any, dtype: DType) -> None:
    """Raises RuntimeError unless [low, high) is non-empty and within the range of ``dtype``."""
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if not dtype.is_floating_point:
        least, most = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype.numpy).min), int(np.iinfo(dtype.numpy).max))
        name = {"uint8": "unsigned char", "int8": "signed char", "int16": "short", "int32": "int"}.get(dtype.name, dtype.name)
        for what, n in (("from", low), ("to - 1", high - 1)):
            if not least <= n <= most:
                raise RuntimeError(f"{what} is out of bounds for {name}")


@factory
def randint(
    low: RuntimeInt | int = 0, high: Any = None, size: Any = None, *, dtype: DType = int64, generator: Generator | None = None
) -> Tensor:
    """Integers in [low, high), or, as ``randint(high, size)`` or ``randint(high, size=size)``, in [0, high).

    Raises RuntimeError for an empty range, or one that the dtype does not represent.
    """
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    start, stop = low, _whole(high)
    check_limits(start, stop, dtype)
    stream = generator or default_generator
    return stream.tensor(whole(_whole(start), stop, dtype), _shape(size))


def _whole(x: Any) -> Any:
    """A number as an int; a number of a recorded run is unchanged."""
    return x if type(x) is RuntimeInt else int(x)


@factory
def rand_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1), with the shape and dtype of ``input``."""
    return rand(input._data.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


@factory
def randn_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Standard normal, with the shape and dtype of ``input``."""
    return randn(input._data.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


@factory
def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Integers in [low, high), or [0, low), with the shape and dtype of ``input``."""
    start, end = (0, low) if high is None else (low, high)
    return randint(start, end, input._data.shape, dtype=dtype or input.dtype)


def require(condition: Tensor, x: Tensor, message: str) -> Tensor:
    """``x``, of a floating dtype. Raises RuntimeError unless the condition is true everywhere, in compiled code too. The
    condition's shape is that of ``x`` or broadcasts to it.
    """
    checked = within(P.cast(~condition, dtype="i64"), 1, message)
    return pointwise.add(x, P.cast(checked, dtype=x.dtype.short))


def probability(p: Any) -> Any:
    """``p``, a number or a tensor. Raises RuntimeError for values outside [0, 1]."""
    if isinstance(p, Tensor):
        floating(p.dtype, "bernoulli_tensor_cpu_p_")
        inside = pointwise.ge(p, 0.0) & pointwise.le(p, 1.0)
        return require(inside, p, "Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return p


@fused(by_numpy=True)
def _chosen(u: Tensor, p: Tensor) -> Tensor:
    return pointwise.lt(u, probability(p).expand(u.shape))


def bernoulli_draw(shape: tuple[int, ...], p: Any, generator: Generator | None) -> Tensor:
    """True with the probabilities ``p``, a number or a tensor that broadcasts to the shape."""
    stream = generator or default_generator
    with unfollowed():
        if not isinstance(p, Tensor):
            return stream.tensor(below(probability(p)), shape)
        floating(p.dtype, "bernoulli_tensor_cpu_p_")
        return _chosen(stream.fine(shape, p.dtype), p)


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Ones with the probabilities in ``input`` (or ``p``), else zeros; the derivative is 0. Raises RuntimeError for
    probabilities outside [0, 1].
    """
    drawn = bernoulli_draw(input._data.shape, input if p is None else p, generator)
    out = placed(to_dtype(drawn, input.dtype), input) if p is not None else to_dtype(drawn, input.dtype)
    return pointwise.unread(input, out) if input.requires_grad else out


def standard_deviation(std: Any) -> Any:
    """``std``, a number or a tensor. Raises RuntimeError for negative values and NaN."""
    if isinstance(std, Tensor):
        return require(pointwise.ge(std, 0.0), std, "normal expects all elements of std >= 0.0")
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return std


@factory
def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: DType | None = None
) -> Tensor:
    """Normal numbers with the given means and standard deviations. Raises RuntimeError for a negative standard deviation."""
    if size is None:
        like = mean if isinstance(mean, Tensor) else std
        other = std if like is mean else mean
        size = joint_shape(like._data.shape, other._data.shape if isinstance(other, Tensor) else ())
        dtype = like.dtype
    kind = dtype or context.default_dtype
    if not (isinstance(mean, Tensor) or isinstance(std, Tensor) or kind.is_complex):
        draw = gaussian(floating(kind, "normal_kernel_cpu"), mean, standard_deviation(std))
        return (generator or default_generator).tensor(draw, _shape(size))
    with unfollowed():
        scale = standard_deviation(std)
        drawn = randn(tuple(size), dtype=dtype, generator=generator)
        for x in (mean, std):
            drawn = placed(drawn, x) if isinstance(x, Tensor) else drawn
        out = pointwise.add(pointwise.mul(drawn, scale), mean)
    return constant_in(out, mean, std)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> Tensor:
    """Positions drawn with the weights in the last axis: without replacement by exponential numbers divided by the weights
    (Efraimidis and Spirakis 2006), else by the distribution function.
    """
    if input.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not input.is_floating_point():
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype.ctype}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input._data.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    from ..ops.order import searchsorted, topk

    stream, shape = generator or default_generator, input._data.shape
    with unfollowed():
        weights = _weights(input)
        if not replacement:
            keys = _keys(weights, placed(stream.uniform(shape, float64), input))
            return argmax(keys, -1, keepdim=True) if num_samples == 1 else topk(keys, num_samples).indices
        drawn = placed(stream.uniform((*shape[:-1], num_samples), float64), input)
        return searchsorted(*_sums(weights, drawn), right=True)


@fused(by_numpy=True)
def _weights(input: Tensor) -> Tensor:
    weights = to_dtype(input, float64)
    possible = (weights >= 0) & (weights < math.inf)
    weights = require(possible, weights, "probability tensor contains either `inf`, `nan` or element < 0")
    some = sum_(weights, -1, keepdim=True) > 0
    return require(some, weights, "invalid multinomial distribution (sum of probabilities <= 0)")


@fused(by_numpy=True)
def _keys(weights: Tensor, u: Tensor) -> Tensor:
    return weights / -pointwise.log(u)


@fused(by_numpy=True)
def _sums(weights: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of the first weights, and parts of the sum of all."""
    from ..ops.order import cumsum

    sums = cumsum(weights, -1)
    return sums, u * sums[..., -1:]


@factory
def randperm(n: int, *, dtype: DType = int64, generator: Generator | None = None) -> Tensor:
    """The integers 0..n-1 in random order. Raises RuntimeError for a negative ``n``, or one out of the dtype's range."""
    (n,) = _shape((n,))
    if not dtype.is_floating_point and n - 1 > np.iinfo(dtype.numpy).max:
        raise RuntimeError(f"value cannot be converted to type {dtype.name}_t without overflow")
    bits = (generator or default_generator).uniform((n,), int64)
    return to_dtype(P.argsort(bits, axis=0, descending=False), dtype)


_OFFERED = [
    "bernoulli",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
]

if not TYPE_CHECKING:  # a type checker uses the definitions above
    offer(globals(), _OFFERED)
