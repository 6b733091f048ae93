"""Compiled scans and sorts give what NumPy gives, bit by bit, for all shapes, axes and special numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tracer.ir import ops as P
from tracer.ir.graph import Builder
from tracer.ir.interp import Build, evaluate, using
from tracer.ir.types import TensorType, dtype_of
from tracer.runtime.programs.planned import planned
from tracer.runtime.programs.program import Program

OPERATIONS = {
    "cumsum": lambda x, axis: P.cumsum(x, axis=axis),
    "cumsum from the end": lambda x, axis: P.cumsum(x, axis=axis, reverse=True),
    "cumprod": lambda x, axis: P.cumprod(x, axis=axis),
    "recurrence": lambda x, axis: P.recurrence(x, x, axis=axis),
    "recurrence from the end": lambda x, axis: P.recurrence(x, x, axis=axis, reverse=True),
    "cummax": lambda x, axis: P.cumargmax(x, axis=axis, largest=True),
    "cummin": lambda x, axis: P.cumargmax(x, axis=axis, largest=False),
    "argsort": lambda x, axis: P.argsort(x, axis=axis, descending=False),
    "argsort descending": lambda x, axis: P.argsort(x, axis=axis, descending=True),
}
SPECIAL = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3e38, -3e38]


def graph_of(operation, array, axis):
    builder = Builder("scan")
    x = builder.input(TensorType(dtype_of(array.dtype), array.shape))
    with using(Build(builder)):
        return builder.finish([operation(x, axis)])


@st.composite
def arrays(draw):
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64, 100]), min_size=1, max_size=3))
    dtype = np.dtype(draw(st.sampled_from(["f4", "f8", "i4", "i8", "i2", "i1", "u1"])))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    x = rng.normal(size=shape) * draw(st.sampled_from([1, 5, 100]))
    if draw(st.booleans()):
        x = np.round(x)  # equal elements
    with np.errstate(invalid="ignore"):
        x = x.astype(dtype)
    if dtype.kind == "f" and draw(st.booleans()):
        with np.errstate(over="ignore"):
            x = np.where(rng.random(shape) < 0.3, rng.choice(np.array(SPECIAL, dtype), shape), x)
    return np.ascontiguousarray(x), draw(st.integers(0, len(shape) - 1))


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=40, deadline=None)
@given(given_array=arrays())
def test_compiled_results_are_the_interpreters(name, given_array):
    array, axis = given_array
    graph = graph_of(OPERATIONS[name], array, axis)
    (expected,) = evaluate(graph, array)
    (found,) = Program(planned(graph))(array)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    if found.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(found[found == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "argsort"])
def test_they_are_kernels(name):
    graph = graph_of(OPERATIONS[name], np.zeros((4, 9), np.float32), 1)
    assert all(kind.source for kind in planned(graph).kinds)


def test_sorts_of_long_numbers_are_computed_by_numpy():
    graph = graph_of(OPERATIONS["argsort"], np.zeros(9), 0)
    assert not any(kind.source for kind in planned(graph).kinds)


@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 1000, 4097, 100_003])
def test_long_sorts(n):
    x = np.random.default_rng(n).integers(-50, 50, n).astype(np.float32)
    f = tracer.trace(lambda x: tracer.sort(x, stable=True))
    for _ in range(3):
        values, order = f(tracer.tensor(x))
    np.testing.assert_array_equal(order.numpy(), np.argsort(x, kind="stable"))
    np.testing.assert_array_equal(values.numpy(), np.sort(x))


def test_products_have_gradients_in_compiled_code():
    x = np.random.default_rng(0).normal(size=(5, 40))
    x[1, 3] = x[2, 5] = x[2, 9] = 0

    def gradient(x):
        x = x.clone().requires_grad_()
        (x.cumprod(1) * 0.5).sum().backward()
        return x.grad

    traced = tracer.trace(gradient)
    for _ in range(3):
        found = traced(tracer.tensor(x))
    np.testing.assert_allclose(found.numpy(), gradient(tracer.tensor(x)).numpy(), rtol=1e-12)
