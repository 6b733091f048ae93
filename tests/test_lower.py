"""Kernel source is Python: the compiled code does what Python does with the same text."""

from __future__ import annotations

import ctypes
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.runtime.compiler import compile as compiler
from tracer.runtime.support.objects import address

KINDS = {
    "bool": np.bool_,
    "u8": np.uint8,
    "i8": np.int8,
    "i32": np.int32,
    "i64": np.int64,
    "f32": np.float32,
    "f64": np.float64,
}


def as_python(source: str, arrays: list[np.ndarray], start: int, stop: int) -> None:
    """Executes the text with NumPy's 64-bit scalars and Python's integers."""

    def store(array, i, value):
        array[i] = value

    def converter(kind):
        return lambda x: kind(x) if kind in (np.float32, np.float64) else int(np.array(int(x) % 2**64, np.uint64).astype(kind))

    space = {
        "load": lambda array, i: array[i] if array.dtype.kind == "f" else int(array[i]),
        "store": store,
        "select": lambda c, a, b: a if c else b,
        "accumulate": lambda a, b: a + b,
        "prefetch": lambda array, first, last: None,
        "maximum": max,
        "minimum": min,
        "abs_": abs,
        "floor_div": operator.floordiv,
        "floor_mod": operator.mod,
        "fmod": np.fmod,
        "inf": np.inf,
        "nan": np.nan,
        **{f"buffer_{short}": lambda args, k, n: args[k] for short in KINDS},
        **{short: converter(kind) for short, kind in KINDS.items()},
    }
    exec(source, space)
    with np.errstate(all="ignore"):
        space["kernel"](arrays, start, stop)


def compiled(source: str, arrays: list[np.ndarray], start: int, stop: int) -> None:
    block = np.array([a if isinstance(a, int) else address(a) for a in arrays], np.int64)
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(compiler.load([source])[0])
    function(address(block), start, stop)


def agree(body: str, x: np.ndarray, y: np.ndarray, out: str, *integers: int, count: int | None = None) -> None:
    """Compares a kernel over i0 that reads a = x[i0] and b = y[i0] and stores to p2."""
    names = {v: k for k, v in KINDS.items()}
    params = "".join(f"    n{k} = args[{3 + k}]\n" for k in range(len(integers)))
    source = (
        "def kernel(args, start, stop):\n"
        f"    p0 = buffer_{names[x.dtype.type]}(args, 0, 3)\n    p1 = buffer_{names[y.dtype.type]}(args, 1, 3)\n"
        f"    p2 = buffer_{out}(args, 2, 3)\n{params}"
        "    for i0 in range(start, stop):\n        a = load(p0, i0)\n        b = load(p1, i0)\n"
        + "".join(f"        {line}\n" for line in body.splitlines())
    )
    results = []
    for run in (as_python, compiled):
        made = np.zeros(len(x), KINDS[out])
        run(source, [x, y, made, *integers], 0, len(x) if count is None else count)
        results.append(made)
    np.testing.assert_array_equal(*results)


INTEGERS = np.array([0, 1, -1, 2, 7, -7, 100, -100, 2**40, -(2**62), 2**63 - 1, -(2**63)], np.int64)


@pytest.mark.parametrize("text", ["a // b", "a % b", "floor_div(a, b)", "floor_mod(a, b)"])
@pytest.mark.parametrize("divisor", [1, -1, 2, 3, -3, 2**33])
def test_integers_divide_as_in_python(text, divisor):
    agree(f"store(p2, i0, i64({text}))", INTEGERS, np.full(len(INTEGERS), divisor), "i64")


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1).filter(bool))
def test_any_integers_divide_as_in_python(a, b):
    x, y = np.array([a]), np.array([b])
    agree("store(p2, i0, i64(a // b))", x, y, "i64")
    agree("store(p2, i0, i64(a % b))", x, y, "i64")


@pytest.mark.parametrize("kind", ["u8", "i8", "i32", "i64"])
@pytest.mark.parametrize("text", ["a + b", "a - b", "a * b", "-a", "~a", "a & b", "a | b", "a ^ b", "maximum(a, b)", "abs_(a)"])
def test_integers_wrap_when_they_are_stored(kind, text):
    x = INTEGERS.astype(KINDS[kind])
    agree(f"store(p2, i0, {kind}({text}))", x, x[::-1].copy(), kind)


REALS = np.array([0.0, -0.0, 1.5, -2.5, 3e38, -1e-40, np.inf, -np.inf, np.nan, 1.0, 7.0, 0.1])


@pytest.mark.parametrize("kind", ["u8", "i8", "i64", "f32", "f64"])
@pytest.mark.parametrize("sign", ["==", "!=", "<", "<=", ">", ">="])
def test_comparisons(kind, sign):
    x = (REALS if kind[0] == "f" else INTEGERS).astype(KINDS[kind])
    agree(f"store(p2, i0, a {sign} b)", x, np.roll(x, 1), "bool")
    agree(f"store(p2, i0, a {sign} a)", x, x, "bool")


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize(
    "text", ["a + b", "a - b", "a * b", "-a", "a * {T}(-1.5)", "a + {T}(inf)", "fmod(a, b)", "{T}(i64({T}(3.7)))", "{T}(i0)"]
)
def test_floating_arithmetic(kind, text):
    x = REALS.astype(KINDS[kind])
    agree(f"store(p2, i0, {text.format(T=kind)})", x, np.roll(x, 1), kind)


@pytest.mark.parametrize(
    "text", ["a > 0 and b > 0", "a > 0 or b > 0", "not a > 0", "(a > 0) & (b > 0)", "(a > 0) == (b > 0)", "True", "False"]
)
def test_truth_values(text):
    agree(f"store(p2, i0, {text})", INTEGERS, INTEGERS[::-1].copy(), "bool")


def test_names_that_change_in_branches_and_loops():
    body = """t1 = i64(0)
if a > 0:
    t1 = a % 5
else:
    if b < 3:
        t1 = i64(-1)
    else:
        t1 = b * n0
for r1 in range(0, n0):
    if r1 % 2 == 0:
        t1 = accumulate(t1, r1 * a)
t2 = t1
for r2 in range(2, 1):
    t1 = i64(1000)
store(p2, i0, i64(t1 + t2 - t1))"""
    agree(body, INTEGERS, INTEGERS[::-1].copy(), "i64", 5)


def test_the_range_is_the_callers():
    agree("store(p2, i0, a)", INTEGERS, INTEGERS, "i64", count=3)
    agree("store(p2, i0, a)", INTEGERS, INTEGERS, "i64", count=0)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("t = other(start)", NameError, "not an intrinsic"),
        ("t = t1", NameError, "not defined"),
        ("t = f32(1) + f64(1)", TypeError, "combines f32 and f64"),
        ("t = 1.5", TypeError, "has no type"),
        ("t = i64(1)\n    t = f32(1)", TypeError, "is i64 and f32"),
        ("p = buffer_f32(args, 0, 1)\n    store(p, 0, f64(1))", TypeError, "stores f64 in an array of f32"),
    ],
)
def test_text_that_is_no_kernel(text, error, message):
    with pytest.raises(error, match=message):
        compiler.llvm_ir(f"def kernel(args, start, stop):\n    {text}\n")
