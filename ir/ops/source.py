"""Sources: values made from attributes alone, and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Kind, primitive
from ..types import TensorType, dtype_named, int64

full = primitive(
    "full",
    Kind.SOURCE,
    "",
    infer=lambda value, shape, dtype: TensorType(dtype_named(dtype), tuple(shape)),
    impl=lambda value, shape, dtype: np.full(shape, value, dtype_named(dtype).numpy),
)

iota = primitive(
    "iota",
    Kind.SOURCE,
    "",
    infer=lambda shape, axis, dtype: TensorType(dtype_named(dtype), tuple(shape)),
    impl=lambda shape, axis, dtype: np.array(
        np.broadcast_to(
            np.arange(shape[axis], dtype=dtype_named(dtype).numpy).reshape([-1 if i == axis else 1 for i in range(len(shape))]),
            shape,
        )
    ),
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


def splitmix64(z: Any) -> Any:
    """SplitMix64's finalizer (Steele, Lea, Flood, OOPSLA 2014): a bijection that scatters 64-bit integers."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


GOLDEN = 0x9E3779B97F4A7C15


# Random binary digits of a number in (0, 1): as many as its significand holds, so that all are exact and none rounds up to 1.
DIGITS = {"f32": 24, "f64": 53}


def _infer_uniform(state: TensorType, shape: tuple[int, ...], dtype: str) -> TensorType:
    if state.dtype is not int64 or state.shape != (2,):
        raise TypeError(f"a generator's state is i64[2], got {state}")
    if dtype not in DIGITS and dtype != "i64":
        raise TypeError(f"random numbers are f32, f64, or 64 bits as i64, not {dtype}")
    return TensorType(dtype_named(dtype), tuple(shape))


_AT_ONCE = 2**15  # so many numbers are computed together: what is in between stays in the cache


def _uniform(state: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    seed, offset = np.asarray(state).astype(np.uint64)
    kind = dtype_named(dtype).numpy.type
    out = np.empty(shape, kind)
    flat = out.reshape(-1)
    with np.errstate(over="ignore"):
        key, golden = splitmix64(seed + np.uint64(GOLDEN)), np.uint64(GOLDEN)
        for start in range(0, flat.size, _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            counter = offset + np.arange(start, start + part.size, dtype=np.uint64)
            bits = splitmix64(key + counter * golden)
            if dtype == "i64":
                part[...] = bits.view(np.int64)
            else:
                number = (bits >> np.uint64(64 - DIGITS[dtype])).astype(kind)
                np.multiply(np.maximum(number, kind(0.5)), kind(2.0 ** -DIGITS[dtype]), out=part)
    return out


# Numbers in (0, 1), or, as i64, all 64 bits. `state` is (seed, offset); element i comes from counter offset + i alone, so
# results depend neither on the order of evaluation nor on the number of threads. The caller advances the offset.
# All binary fractions of a dtype's digits are equally probable; in place of 0 stands half of the least.
uniform = primitive("uniform", Kind.SOURCE, "state", infer=_infer_uniform, impl=_uniform)
