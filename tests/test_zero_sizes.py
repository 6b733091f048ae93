"""Tensors without elements: values, dtypes, gradients and errors are PyTorch's, eager and traced."""

import builtins
import json
import math

import pytest
from zero_sizes import FILE, cases, function, outcome

import tracer

RECORDED = list(zip(cases(), json.loads(FILE.read_text()), strict=True))


def same(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-12)
    if isinstance(a, str) and isinstance(b, str) and a.endswith("Error") and b.endswith("Error"):
        return issubclass(getattr(builtins, a), getattr(builtins, b))
    return type(a) is type(b) and a == b


def differences(records, traced):
    found = []
    for (expression, shapes), expected in records:
        f = function(tracer, expression)
        if traced:
            f = tracer.trace(f)
            outcome(tracer, f, shapes), outcome(tracer, f, shapes)
        got = json.loads(json.dumps(outcome(tracer, f, shapes)))
        if not same(got, expected):
            found.append(f"{expression} of {shapes}: {got} instead of {expected}")
    return found


@pytest.mark.parametrize("part", range(4))
def test_eager(part):
    assert not differences(RECORDED[part::4], False)


@pytest.mark.parametrize("part", range(4))
def test_traced(part):
    """The third call, for every ninth case."""
    assert not differences(RECORDED[9 * part :: 36], True)


@pytest.mark.parametrize("how", ["eager", "traced"])
@pytest.mark.parametrize("name", ["remainder", "floor_divide", "fmod"])
def test_a_division_of_nothing_by_zero(name, how):
    trace = tracer.trace if how == "traced" else lambda f: f
    f = trace(lambda x, y: getattr(tracer, name)(x, y))
    for _ in range(3):
        assert f(tracer.zeros(0, 3, dtype=tracer.int64), tracer.zeros(3, dtype=tracer.int64)).shape == (0, 3)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        f(tracer.ones(1, 3, dtype=tracer.int64), tracer.zeros(3, dtype=tracer.int64))


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), (2, 3, 0)])
@pytest.mark.parametrize(
    "use", [tracer.nonzero, tracer.argwhere, lambda x: x[x > 0], lambda x: tracer.nonzero(x, as_tuple=True)]
)
def test_positions_in_nothing(use, shape):
    f = tracer.trace(use)
    expected = use(tracer.ones(shape))
    for _ in range(3):
        result = f(tracer.ones(shape))
        pairs = zip(result, expected, strict=True) if isinstance(result, tuple) else [(result, expected)]
        assert all(a.shape == b.shape and a.dtype is b.dtype for a, b in pairs)
    assert f.cache_info().eager == 0
