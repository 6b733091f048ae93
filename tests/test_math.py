"""The elementary functions of kernels: at most 2 units in the last place, and correct special values."""

from __future__ import annotations

import ctypes
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.special

from tracer.codegen import binary, circular, error, inverse, math, powers, special
from tracer.ir.primitive import PRIMITIVES
from tracer.runtime.compiler import compile as compiler
from tracer.runtime.support.objects import address

pytestmark = pytest.mark.usefixtures("each_cpu")
FUNCTIONS = {
    **math.FUNCTIONS,
    **error.FUNCTIONS,
    **circular.FUNCTIONS,
    **powers.FUNCTIONS,
    **special.FUNCTIONS,
    **inverse.FUNCTIONS,
}
_ARC = {name: getattr(np, f"arc{name[1:]}") for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")}
REFERENCE = {name: _ARC.get(name) or getattr(np, name, None) or getattr(scipy.special, name, None) for name in FUNCTIONS}
REFERENCE["sigmoid"] = scipy.special.expit
REFERENCE |= {name: PRIMITIVES[name].impl for name in ("lgamma", "digamma", "trigamma")}
RECORDED = {
    name: np.array([[float.fromhex(v) for v in row] for row in rows]).T
    for name, rows in json.loads(Path(__file__).with_name("exact.json").read_text()).items()
}
SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1.0,
    -1.0,
    0.5,
    -0.5,
    0.625,
    4.0,
    6.0,
    88.7,
    89.0,
    -103.9,
    -104.0,
    709.7,
    -745.1,
    -746.0,
]


def computed(name: str, *operands: np.ndarray) -> np.ndarray:
    """A kernel of the single function, on arrays."""
    x, n = operands[0], len(operands)
    t = {np.float32: "f32", np.float64: "f64"}[x.dtype.type]
    buffers = "".join(f"    p{k} = buffer_{t}(args, {k}, {n + 1})\n" for k in range(n + 1))
    loads = ", ".join(f"load(p{k}, i)" for k in range(n))
    source = (
        f"def kernel(args, start, stop):\n{buffers}    for i in range(start, stop):\n        store(p{n}, i, {name}({loads}))\n"
    )
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(compiler.load([source])[0])
    y = np.empty_like(x)
    block = np.array([address(a) for a in (*operands, y)], np.int64)
    kernel(address(block), 0, len(x))
    return y


@np.errstate(all="ignore")
def check(name: str, x: np.ndarray, exact: np.ndarray) -> None:
    """``exact`` has a wider type."""
    y = computed(name, x)
    within_2_ulp(y, exact, x)
    odd = name in ("expm1", "log1p", "tanh", "erf", "sinh", "sin", "tan", "asin", "atan", "cbrt", "erfinv", "asinh", "atanh")
    zeros = (x == 0) & ~np.isnan(y)
    assert np.array_equal(np.signbit(y[zeros]), np.signbit(x[zeros]) if odd else np.signbit(exact[zeros]))


def within_2_ulp(y: np.ndarray, exact: np.ndarray, x: np.ndarray, rest: np.ndarray | float = 0.0) -> None:
    """``exact`` has a wider type, or the same one with its rounding error in ``rest``."""
    rounded = exact.astype(y.dtype)
    same = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
    assert np.isfinite(rounded[~same]).all() and np.isfinite(y[~same]).all(), x[
        ~same & ~(np.isfinite(rounded) & np.isfinite(y))
    ]
    unit = np.spacing(np.maximum(np.abs(rounded), np.finfo(y.dtype).tiny)).astype(exact.dtype)
    error = np.abs((y.astype(exact.dtype) - exact) - rest) / unit
    error[same] = 0
    assert error.max() <= 2, (error.max(), x[error.argmax()])


def wide(name: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return REFERENCE[name](x.astype(np.float64))


def test_cached_kernels_depend_on_the_source_of_every_function():
    files = {f.resolve() for f in compiler.sources()}
    assert {Path(inspect.getfile(f)).resolve() for f in FUNCTIONS.values()} <= files


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32(name):
    bits = np.arange(0, 2**32, 9973, dtype=np.uint64).astype(np.uint32)
    x = np.concatenate([bits.view(np.float32), np.array(SPECIAL, np.float32)])
    check(name, x, wide(name, x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_result_does_not_depend_on_the_place(name):
    """The remainder of a vector loop is computed one by one."""
    x = np.random.default_rng(0).standard_normal(200).astype(np.float32) * 3
    whole = computed(name, x)
    for n in (1, 7, 15, 31):
        parts = [computed(name, x[i : i + n].copy()) for i in range(0, 200, n)]
        assert np.array_equal(np.concatenate(parts), whole, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_float32(name):
    for start in range(0, 2**32, 2**24):
        x = np.arange(start, start + 2**24, dtype=np.uint64).astype(np.uint32).view(np.float32)
        check(name, x, wide(name, x))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="no type wider than float64")
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in RECORDED])
def test_float64(name):
    rng = np.random.default_rng(0)
    spread = [rng.standard_normal(20_000) * s for s in (1e-3, 0.3, 1, 5, 100)]
    x = np.concatenate([*spread, 2.0 ** rng.uniform(-1070, 1020, 20_000), np.array(SPECIAL)])
    with np.errstate(all="ignore"):
        exact = _exact(name, x.astype(np.longdouble))
    check(name, x, exact)


@pytest.mark.parametrize("name", RECORDED)
def test_float64_at_recorded_points(name):
    x, y, rest = (np.ascontiguousarray(column) for column in RECORDED[name])
    within_2_ulp(computed(name, x), y, x, rest)


@pytest.mark.parametrize("name", RECORDED)
def test_special_values(name):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, -2.0, -3.5, -1e300])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(computed(name, x), PRIMITIVES[name].impl(x), rtol=1e-14)


def _exact(name: str, x: np.ndarray) -> np.ndarray:
    """In extended precision; erf by its series and its continued fraction, because NumPy lacks it."""
    if name == "sigmoid":
        return 1 / (1 + np.exp(-x))
    if name != "erf":
        return REFERENCE[name](x)
    a = np.minimum(np.abs(x), 7)
    term = total = a.copy()
    for n in range(1, 200):
        term = -term * a * a / n
        total = total + term / (2 * n + 1)
    series = total * 2 / np.sqrt(np.arctan(np.longdouble(1)) * 4)
    fraction = a.copy()
    for n in range(120, 0, -1):
        fraction = a + np.longdouble(n) / 2 / fraction
    complement = np.exp(-a * a) / np.sqrt(np.arctan(np.longdouble(1)) * 4) / fraction
    value = np.where(a < 2, series, 1 - complement)
    return np.where(np.isnan(x), x, np.copysign(value, x))


BINARY = {"atan2": np.arctan2, "pow_": np.power, "hypot": np.hypot, "fmod": np.fmod, "copysign": np.copysign}


def test_every_function_of_two_numbers_is_tested():
    assert BINARY.keys() == {**circular.BINARY, **powers.BINARY, **binary.BINARY}.keys()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, kind):
    wider = {np.float32: np.float64, np.float64: np.longdouble}[kind]
    if np.finfo(wider).nmant <= np.finfo(kind).nmant:
        pytest.skip(f"no type wider than {kind.__name__}")
    rng, special = np.random.default_rng(0), np.array(SPECIAL, kind)
    bits = 32 if kind is np.float32 else 64
    anything = rng.integers(0, 2**bits - 1, (2, 100_000), dtype=f"u{bits // 8}", endpoint=True).view(kind)
    near = np.array([rng.standard_normal(100_000), rng.standard_normal(100_000)]).astype(kind)
    pairs = np.concatenate([anything, near, np.array(np.meshgrid(special, special)).reshape(2, -1)], axis=1)
    a, b = np.ascontiguousarray(pairs[0]), np.ascontiguousarray(pairs[1])
    with np.errstate(all="ignore"):
        exact = BINARY[name](a.astype(wider), b.astype(wider))
        result = computed(name, a, b)
        within_2_ulp(result, exact, a)
    zero = result == 0
    assert np.array_equal(np.signbit(result[zero]), np.signbit(exact[zero]))
