"""``scatter_reduce``: products and extrema at positions, against loops over elements; and their derivatives."""

import numpy as np
import pytest

import tracer
from tracer.autograd import gradcheck

COMBINE = {"amax": max, "amin": min, "prod": lambda a, b: a * b}
SHAPES = [((5,), (9,), 0), ((3, 4), (3, 6), 1), ((4, 3), (7, 2), 0)]


def by_loops(x, v, index, axis, reduce, include_self):
    y, seen = x.copy(), set()
    for at in np.ndindex(index.shape):
        to = (*at[:axis], index[at], *at[axis + 1 :])
        own = include_self or to in seen
        y[to] = COMBINE[reduce](y[to], v[at]) if own else v[at]
        seen.add(to)
    return y


def data(shape, index_shape, axis, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), rng.standard_normal(index_shape), rng.integers(0, shape[axis], index_shape)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", COMBINE)
@pytest.mark.parametrize(("shape", "index_shape", "axis"), SHAPES)
@pytest.mark.parametrize("wrap", [lambda f: f, tracer.trace])
def test_values(wrap, shape, index_shape, axis, reduce, include_self):
    f = wrap(lambda x, index, v: x.scatter_reduce(axis, index, v, reduce, include_self=include_self))
    for seed in range(3):
        x, v, index = data(shape, index_shape, axis, seed)
        found = f(tracer.tensor(x), tracer.tensor(index), tracer.tensor(v))
        np.testing.assert_array_equal(found.numpy(), by_loops(x, v, index, axis, reduce, include_self))


@pytest.mark.parametrize("reduce", COMBINE)
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "float16", "bfloat16"])
def test_dtypes(dtype, reduce):
    rng = np.random.default_rng(2)
    x, v, index = rng.integers(0, 4, 6), rng.integers(0, 4, 9), rng.integers(0, 6, 9)
    f = tracer.trace(lambda x, index, v: x.scatter_reduce(0, index, v, reduce))
    for _ in range(3):
        found = f(
            *(
                tracer.tensor(a).to(t)
                for a, t in ((x, getattr(tracer, dtype)), (index, tracer.int64), (v, getattr(tracer, dtype)))
            )
        )
        assert found.tolist() == by_loops(x, v, index, 0, reduce, True).tolist()


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", COMBINE)
@pytest.mark.parametrize(("shape", "index_shape", "axis"), SHAPES)
def test_derivatives(shape, index_shape, axis, reduce, include_self):
    x, v, index = data(shape, index_shape, axis)
    inputs = [tracer.tensor(a, requires_grad=True) for a in (x, v)]
    assert gradcheck(lambda x, v: x.scatter_reduce(axis, tracer.tensor(index), v, reduce, include_self=include_self), inputs)


def test_extrema_share_the_gradient():
    x = tracer.tensor([2.0, 1.0], requires_grad=True)
    v = tracer.tensor([2.0, 2.0, 0.0], requires_grad=True)
    x.scatter_reduce(0, tracer.tensor([0, 0, 1]), v, "amax").backward(tracer.tensor([3.0, 5.0]))
    assert x.grad.tolist() == [1.0, 5.0] and v.grad.tolist() == [1.0, 1.0, 0.0]


def test_products_with_zeros():
    """One zero: its gradient is the product of the others. Two: all are 0."""
    x = tracer.tensor([2.0, 3.0, 1.0], requires_grad=True)
    v = tracer.tensor([0.0, 5.0, 0.0, 0.0, 4.0], requires_grad=True)
    x.scatter_reduce(0, tracer.tensor([0, 0, 1, 1, 2]), v, "prod").sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 4.0] and v.grad.tolist() == [10.0, 0.0, 0.0, 0.0, 1.0]


def test_not_a_number_stays():
    x = tracer.tensor([1.0, float("nan"), 2.0]).scatter_reduce(
        0, tracer.tensor([0, 1, 2]), tracer.tensor([float("nan"), 5.0, 3.0]), "amax"
    )
    assert x.isnan().tolist() == [True, True, False]


def test_an_index_out_of_range():
    f = tracer.trace(lambda x, index, v: x.scatter_reduce(0, index, v, "amax"))
    for _ in range(3):
        f(tracer.zeros(3), tracer.tensor([0, 2]), tracer.ones(2))
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        f(tracer.zeros(3), tracer.tensor([0, 3]), tracer.ones(2))


def test_memory_is_that_of_the_result():
    """A table of all positions by all indices would have 40 GB."""
    n = 100_000
    index = tracer.arange(n) % (n // 2)
    assert tracer.zeros(n // 2).scatter_reduce(0, index, tracer.ones(n), "amax").sum() == n // 2


def test_the_last_of_equal_positions_stays():
    f = tracer.trace(lambda x, index, v: x.scatter(1, index, v))
    index = tracer.tensor([[0, 1, 0], [4, 4, 4]])
    for _ in range(3):
        found = f(tracer.full((2, 5), -1.0), index, tracer.arange(6.0).reshape(2, 3))
        assert found.tolist() == [[2.0, 1.0, -1.0, -1.0, -1.0], [-1.0, -1.0, -1.0, -1.0, 5.0]]
