"""Integers and bools, compared with PyTorch: values, dtypes, and errors."""

import contextlib
import json
import math

import numpy as np
import pytest

import tracer
from tests.integers import DTYPES, FILE, expressions, function, inputs, plain

RECORD = json.loads(FILE.read_text())


def agree(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(agree, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b) or math.isclose(a, b, rel_tol=2e-4, abs_tol=1e-5)
    return type(a) is type(b) and a == b


def differences(dtype, chosen, traced):
    found = []
    for e in chosen:
        expected = RECORD[dtype][e]
        if expected == "refused":
            continue
        f = function(tracer, dtype, e)
        try:
            if traced:
                f = tracer.trace(f)
                f(*inputs(tracer, dtype).values())
            got = json.loads(json.dumps(plain(f(*inputs(tracer, dtype).values()))))
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
        if not agree(expected, got):
            found.append(f"{e}: {got} instead of {expected}")
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", DTYPES)
def test_expressions(dtype):
    assert not differences(dtype, expressions(), False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_traced_expressions(dtype, part):
    assert not differences(dtype, expressions()[part::4], True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_refusals(dtype):
    """Operations that would lose or invent a value raise where PyTorch raises."""
    wrong = []
    for e in expressions():
        makes = e.startswith(("T.tensor(", "T.full", "T.arange(", "T.linspace(", "T.logspace(", "T.add("))
        if RECORD[dtype][e] == "refused" and (
            makes or any(n in e for n in (".fill_(", "masked_fill", ".mean(", "//", "max=300"))
        ):
            with contextlib.suppress(RuntimeError, TypeError, ValueError, OverflowError, NotImplementedError):
                wrong.append(f"{e}: {function(tracer, dtype, e)(*inputs(tracer, dtype).values())}")
    assert not wrong


@pytest.mark.parametrize("python, dtype", [(float, "float64"), (int, "int64"), (bool, "bool"), (complex, "complex128")])
def test_python_types_are_dtypes(python, dtype):
    x = tracer.tensor([1, 0])
    made = [
        tracer.tensor([1, 0], dtype=python),
        tracer.zeros(2, dtype=python),
        tracer.full((2,), 1, dtype=python),
        tracer.zeros_like(x, dtype=python),
        x.new_ones(2, dtype=python),
        x.to(python),
        x.to(dtype=python),
        x.to("cpu", python),
        x.type(python),
        x.sum(dtype=python),
        tracer.cumsum(x, 0, dtype=python),
        tracer.as_tensor(np.array([1, 0]), dtype=python),
        tracer.eye(2, dtype=python),
    ]
    assert [str(t.dtype) for t in made] == [f"tracer.{dtype}"] * len(made)
    assert str(tracer.promote_types(python, tracer.bool)) == f"tracer.{dtype}" and tracer.can_cast(tracer.bool, python)


@pytest.mark.parametrize("wrong", ["float32", np.float32, str, object(), 3])
def test_other_things_are_no_dtypes(wrong):
    x = tracer.ones(2)
    for call in (
        lambda: tracer.zeros(2, dtype=wrong),
        lambda: tracer.tensor([1], dtype=wrong),
        lambda: x.to(dtype=wrong),
        lambda: x.sum(dtype=wrong),
        lambda: tracer.rand(2, dtype=wrong),
    ):
        with pytest.raises(TypeError, match="dtype"):
            call()


def test_the_least_integer_divided_by_minus_one_is_itself():
    for dtype in ("int8", "int16", "int32", "int64"):
        x = tracer.tensor([inputs(tracer, dtype)["b"][0].item(), 7, -7], dtype=getattr(tracer, dtype))
        for f in (
            lambda x: x // -1,
            lambda x: x % -1,
            lambda x: tracer.fmod(x, -1),
            lambda x: tracer.div(x, -1, rounding_mode="trunc"),
        ):
            g = tracer.trace(f)
            g(x)
            assert f(x).tolist() == g(x).tolist() and f(x).dtype is x.dtype
        assert (x // -1).tolist() == [x[0].item(), -7, 7]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_division_by_zero_raises_traced_too(dtype):
    for f in (lambda x, y: x // y, lambda x, y: x % y, tracer.fmod, lambda x, y: tracer.div(x, y, rounding_mode="trunc")):
        g = tracer.trace(f)
        x, y = (tracer.tensor([6, 7], dtype=getattr(tracer, dtype)) for _ in range(2))
        g(x, y), g(x, y)
        for h in (f, g):
            with pytest.raises(RuntimeError, match="ZeroDivisionError"):
                h(x, y - 6)


@pytest.mark.parametrize("align", [False, True])
def test_images_of_bytes_are_near_the_exact_resizing(align):
    """Rounded after each axis: within the sum of both rounding errors of the float64 result."""
    image = tracer.tensor(np.random.default_rng(0).integers(0, 256, (1, 3, 7, 9)).astype(np.uint8))
    out = tracer.nn.functional.interpolate(image, size=(5, 13), mode="bilinear", align_corners=align)
    exact = tracer.nn.functional.interpolate(image.double(), size=(5, 13), mode="bilinear", align_corners=align)
    assert out.dtype is tracer.uint8
    inside = (exact > 3) & (exact < 252)
    assert ((out.double() - exact).abs() * inside).max().item() <= 1.1


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc", "fix"])
def test_rounded_integers_are_copies(name):
    i = tracer.tensor([3, 4])
    getattr(i, name)()[0] = 7
    getattr(tracer, name)(i).zero_()
    assert i.tolist() == [3, 4]
    with pytest.raises(NotImplementedError, match="Bool"):
        getattr(tracer, name)(i > 3)
