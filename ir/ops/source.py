"""Sources: values made from attributes alone, and random numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..primitive import Kind, primitive
from ..types import TensorType, dtype_named, int64


def _full(value: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if value.__class__ is int and value == 0:
        return np.zeros(shape, dtype_named(dtype).numpy)
    array = np.empty(shape, dtype_named(dtype).numpy)
    array.fill(value)
    return array


full = primitive(
    "full",
    Kind.SOURCE,
    "",
    infer=lambda value, shape, dtype: TensorType(dtype_named(dtype), tuple(shape)),
    impl=_full,
)


def _infer_iota(shape: tuple[int, ...], axis: int, dtype: str) -> TensorType:
    if not 0 <= axis < len(shape):
        raise ValueError(f"axis {axis} does not fit the shape {shape}")
    return TensorType(dtype_named(dtype), tuple(shape))


def _iota(shape: tuple[int, ...], axis: int, dtype: str) -> np.ndarray:
    line = np.arange(shape[axis], dtype=dtype_named(dtype).numpy)
    if len(shape) == 1:
        return line
    return np.array(np.broadcast_to(line.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape))


iota = primitive("iota", Kind.SOURCE, "", infer=_infer_iota, impl=_iota)


# Memory for slices that are written to it; what is not written is undefined. Those of a graph have different ``n``: equal
# operations become one.
blank = primitive(
    "blank",
    Kind.SOURCE,
    "",
    infer=lambda shape, dtype, n: TensorType(dtype_named(dtype), tuple(shape)),
    impl=lambda shape, dtype, n: np.zeros(shape, dtype_named(dtype).numpy),
)


def encode(array: np.ndarray) -> str:
    """The bytes of an array as text, for the attribute `data` of `constant`."""
    return np.ascontiguousarray(array).tobytes().hex()


def _decode(data: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(data), dtype_named(dtype).numpy).reshape(shape)


def _infer_constant(data: str, shape: tuple[int, ...], dtype: str) -> TensorType:
    t = TensorType(dtype_named(dtype), tuple(shape))
    if len(data) != 2 * t.nbytes:
        raise ValueError(f"constant of type {t} needs {t.nbytes} bytes, got {len(data) / 2:g}")
    return t


constant = primitive("constant", Kind.SOURCE, "", infer=_infer_constant, impl=_decode)


GOLDEN = 0x9E3779B97F4A7C15


def splitmix64(z: Any) -> Any:
    """SplitMix64's finalizer (Steele, Lea, Flood, OOPSLA 2014): a bijection that scatters 64-bit integers."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


# Random binary digits of a number in (0, 1): as many as the significand holds, so that all are exact and none rounds up to 1.
DIGITS = {"f32": 24, "f64": 53}
# Each dtype has separate streams: the keys of a seed differ by this many increments.
STREAMS = {"f64": 1, "i64": 1, "f32": 2}


def _infer_uniform(state: TensorType, shape: tuple[int, ...], dtype: str) -> TensorType:
    if state.dtype is not int64 or state.shape != (2,):
        raise TypeError(f"a generator's state is i64[2], got {state}")
    if dtype not in DIGITS and dtype != "i64":
        raise TypeError(f"random numbers are f32, f64, or 64 bits as i64, not {dtype}")
    return TensorType(dtype_named(dtype), tuple(shape))


_AT_ONCE = 2**14  # counters mixed at a time: intermediates stay in the cache


@functools.cache
def _increments() -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.arange(_AT_ONCE, dtype=np.uint64) * np.uint64(GOLDEN)


def _bits(seed: int, stream: int, first: int, n: int) -> Iterator[np.ndarray]:
    """The 64 random bits of each of ``n`` counters from ``first`` on, by blocks; each block overwrites the one before."""
    key = int(splitmix64(np.uint64((seed + stream * GOLDEN) % 2**64)))
    z, t = np.empty((2, min(n, _AT_ONCE)), np.uint64)
    for start in range(0, n, _AT_ONCE):
        m = min(_AT_ONCE, n - start)
        z, t = z[:m], t[:m]
        np.add(_increments()[:m], np.uint64((key + (first + start) * GOLDEN) % 2**64), out=z)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            np.multiply(np.bitwise_xor(z, np.right_shift(z, np.uint64(shift), out=t), out=z), np.uint64(factor), out=z)
        yield np.bitwise_xor(z, np.right_shift(z, np.uint64(31), out=t), out=z)


def _uniform(state: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    seed, offset = (int(s) % 2**64 for s in np.asarray(state))
    kind = dtype_named(dtype).numpy.type
    out = np.empty(shape, kind)
    flat = out.reshape(-1)
    with np.errstate(over="ignore"):
        if dtype == "f32":
            _halves(seed, offset, flat)
            return out
        at = 0
        for bits in _bits(seed, STREAMS[dtype], offset, flat.size):
            part = flat[at : (at := at + bits.size)]
            if dtype == "i64":
                part[...] = bits.view(np.int64)
            else:
                part[...] = np.right_shift(bits, np.uint64(64 - DIGITS[dtype]), out=bits).view(np.int64)
                np.multiply(np.maximum(part, 0.5, out=part), 2.0 ** -DIGITS[dtype], out=part)
    return out


def _halves(seed: int, offset: int, flat: np.ndarray) -> None:
    """Two float32 numbers from each counter: from its lower half first."""
    if flat.size > (left := 2**64 - offset):  # offsets count modulo 2**64
        _halves(seed, 0, flat[left:])
        flat = flat[:left]
    odd = offset % 2
    at = -odd
    digits = DIGITS["f32"]
    for bits in _bits(seed, STREAMS["f32"], offset // 2, (flat.size + odd + 1) // 2):
        halves = bits.view("<u4")
        part = flat[max(at, 0) : at + halves.size]
        halves = halves[at < 0 :][: part.size]
        part[...] = np.right_shift(halves, np.uint32(32 - digits), out=halves).view(np.int32)
        np.multiply(np.maximum(part, np.float32(0.5), out=part), np.float32(2.0**-digits), out=part)
        at += 2 * bits.size


# Numbers in (0, 1), or, as i64, all 64 bits. `state` is (seed, offset); element i comes from counter offset + i alone (of
# float32 from a half of counter (offset + i) // 2), so results depend neither on the order of evaluation nor on the number of
# threads. The caller advances the offset. All binary fractions of a dtype's digits are equally probable; 0 is replaced by half
# of the smallest.
uniform = primitive("uniform", Kind.SOURCE, "state", infer=_infer_uniform, impl=_uniform)
