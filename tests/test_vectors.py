"""Products with vectors: dot products are sums in the kernels around them, and matrices and vectors that are slices stay where
they are.
"""

import numpy as np
import pytest

import tracer
from tracer.ir import pipeline


def plan_of(f, *args):
    traced = tracer.trace(f)
    for _ in range(2):
        result = traced(*args)
    np.testing.assert_allclose(result.numpy(), f(*args).numpy(), rtol=1e-5, atol=1e-5)
    (graph,) = traced.graphs()
    return [op.primitive.name for op in pipeline.run(graph, pipeline.COMPILE).ops if op.primitive.name != "reshape"]


def drawn(*shape, dtype=tracer.float64):
    return tracer.tensor(np.random.default_rng(sum(shape)).normal(size=shape), dtype=dtype)


A, X, Y, B = drawn(60, 50), drawn(60), drawn(50), drawn(3, 60, 50)

SLICED = {
    "rows": lambda a, x, y, b: a[8:] @ y,
    "columns": lambda a, x, y, b: a[:, 8:] @ y[8:],
    "row vector": lambda a, x, y, b: x @ a[:, 8:],
    "parts of both": lambda a, x, y, b: x[8:40] @ a[8:40, 3:],
    "every second": lambda a, x, y, b: a[::2, ::3] @ y[:17],
    "a column": lambda a, x, y, b: a[:, 3] @ a[:, 8:],
    "transposed": lambda a, x, y, b: a.T[8:] @ x,
    "reversed": lambda a, x, y, b: a.flip(0) @ y,
    "one of a batch": lambda a, x, y, b: b[1] @ y,
    "a part of a batch": lambda a, x, y, b: b[1:, :, 4:] @ y[4:],
}


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.float64])
@pytest.mark.parametrize("name", SLICED)
def test_slices_are_read_in_place(name, dtype):
    assert plan_of(SLICED[name], *(t.to(dtype) for t in (A, X, Y, B))) == ["contract"]


@pytest.mark.parametrize("name", SLICED)
def test_gradients(name):
    def slope(a, x, y, b):
        given = [t.detach().requires_grad_() for t in (a, x, y, b)]
        out = SLICED[name](*given)
        (out * out).sum().backward()
        return [t.grad for t in given if t.grad is not None]

    traced = tracer.trace(slope)
    for _ in range(3):
        for a, b in zip(slope(A, X, Y, B), traced(A, X, Y, B), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: x @ y + 1,
        lambda x, y: (x[1:].exp() @ y[:49]).log(),
        lambda x, y: x[:0] @ y[:0] + y[0],
        lambda x, y: x[3:40] @ x[3:40] * 2,
        lambda x, y: tracer.dot(x, y) / y.sum(),
        lambda x, y: (x[None] @ y[:, None])[0],
        lambda x, y: (x.reshape(5, 1, 10) @ y.reshape(5, 10, 1)).sum(),
    ],
)
def test_dot_products_are_fused(f):
    assert set(plan_of(f, Y, Y * 2 + 9)) == {"fusion"}


@pytest.mark.parametrize(
    "shapes", [((5, 6), (6, 1)), ((4, 3, 5, 6), (4, 3, 6, 1)), ((4, 3, 1, 6), (4, 3, 5, 6)), ((1, 6), (4, 3, 5, 6))]
)
def test_a_matrix_that_is_computed_for_one_product_is_not_stored(shapes):
    first, second = (drawn(*shape) for shape in shapes)

    def f(a, b):
        a, b = (a.exp(), b) if shapes[0][-2] > 1 else (a, b.exp())
        return a @ (b if shapes[1][-1] == 1 else b.mT)

    assert plan_of(f, first, second) == ["fusion"]


@pytest.mark.parametrize(
    "shapes", [((0, 5), (5, 1)), ((5, 0), (0, 1)), ((1, 0), (0, 1)), ((3, 0, 5), (3, 5, 1)), ((2, 1, 0), (2, 0, 1))]
)
def test_nothing_to_add_or_nowhere_to(shapes):
    plan_of(lambda a, b: a.exp() @ b, *(tracer.ones(*shape) for shape in shapes))


def test_a_matrix_that_is_read_again_is_stored_once():
    def f(a, x, y):
        b = a * 2
        return b @ x + b @ y

    assert "matmul" in plan_of(f, A, Y, Y * 3)


def test_long_float32_dots_are_accurate():
    x = drawn(1 << 21, dtype=tracer.float32)
    traced = tracer.trace(lambda x: x @ x)
    for _ in range(3):
        found = float(traced(x))
    assert abs(found / float(x.double() @ x.double()) - 1) < 2e-7


def test_long_float32_columns_are_accurate():
    a, x = drawn(1 << 16, 6, dtype=tracer.float32), drawn(1 << 16, dtype=tracer.float32)
    traced = tracer.trace(lambda a, x: x.abs() @ a[:, 1:].abs())
    for _ in range(3):
        found = traced(a, x)
    np.testing.assert_allclose(found.numpy(), (x.double().abs() @ a[:, 1:].double().abs()).numpy(), rtol=5e-7)
