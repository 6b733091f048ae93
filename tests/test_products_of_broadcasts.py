"""Sums of products over broadcast operands become matrix products."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tracer.ir import pipeline


def drawn(*shape, dtype=tracer.float64):
    return tracer.tensor(np.random.default_rng(sum(shape)).normal(size=shape), dtype=dtype)


def compiled(f, *args):
    """The result of a compiled call, and the names of the operations of its graph after all passes."""
    traced = tracer.trace(f)
    for _ in range(2):
        result = traced(*args)
    assert not traced.eager_reasons
    (graph,) = traced.graphs()
    return result, [op.primitive.name for op in pipeline.run(graph, pipeline.COMPILE).ops]


def is_product(names):
    return "matmul" in names or "contract" in names


def tensors(dtype=tracer.float64):
    return SimpleNamespace(
        x=drawn(20, 30, dtype=dtype),
        w=drawn(30, 12, dtype=dtype),
        y=drawn(12, 30, dtype=dtype),
        b=drawn(4, 20, 30, dtype=dtype),
        c=drawn(4, 30, 12, dtype=dtype),
        full=drawn(20, 30, 12, dtype=dtype),
        image=drawn(6, 12, 12, 3, dtype=dtype),
        filters=drawn(5, 5, 3, 16, dtype=dtype),
    )


FOUND = {
    "rows by columns": lambda t: (t.x[:, :, None] * t.w[None]).sum(1),
    "of transposed": lambda t: (t.x[:, None] * t.y[None]).sum(-1),
    "columns first": lambda t: (t.w.T[:, None] * t.x[None]).sum(-1),
    "a batch": lambda t: (t.b[:, :, :, None] * t.c[:, None]).sum(2),
    "one matrix for a batch": lambda t: (t.b[..., None] * t.w).sum(-2),
    "kept axes": lambda t: (t.x[:, :, None] * t.w).sum(1, keepdim=True),
    "a mean": lambda t: (t.x[:, :, None] * t.w).mean(1),
    "patches": lambda t: (t.image[:, 2:7, 3:8, :, None] * t.filters[None]).sum((1, 2, 3)),
    "computed operands": lambda t: (t.x.exp()[:, :, None] * (t.w + 1.0)).sum(1),
    "interleaved": lambda t: (t.b[:, None, :, None] * t.w.T[None, :, None, None]).sum(-1),
}


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("dtype", [tracer.float64, tracer.float32])
def test_it_is_a_product(name, dtype):
    result, names = compiled(FOUND[name], tensors(dtype))
    expected = FOUND[name](tensors(dtype))
    assert is_product(names)
    assert result.shape == expected.shape and result.dtype is expected.dtype
    tolerance = 1e-4 if dtype is tracer.float32 else 1e-11
    np.testing.assert_allclose(result.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance)


SUMS = {
    "little": lambda t: (t.x[:5, :6, None] * t.w[:6, :5]).sum(1),
    "a vector": lambda t: (t.x * t.w[:, 0]).sum(1),
    "outer": lambda t: (t.x[:, 0, None] * t.w[0]).sum(0),
    "one operand over all axes": lambda t: (t.full * t.w).sum(1),
    "an axis of one operand is summed": lambda t: (t.x[:, :, None] * t.w[None]).sum((0, 1)),
    "whole numbers": lambda t: (t.x.long()[:, :, None] * t.w.long()).sum(1),
}


@pytest.mark.parametrize("name", SUMS)
def test_it_stays_a_sum(name):
    result, names = compiled(SUMS[name], tensors())
    assert not is_product(names)
    np.testing.assert_allclose(result.numpy(), SUMS[name](tensors()).numpy(), rtol=1e-11, atol=1e-11)


X, W = drawn(20, 30), drawn(30, 18)


def test_products_that_are_read_elsewhere_are_kept():
    def f(x, w):
        products = x[:, :, None] * w
        return products.sum(1), products

    traced = tracer.trace(f)
    for _ in range(2):
        total, products = traced(X, W)
    np.testing.assert_allclose(total.numpy(), f(X, W)[0].numpy(), rtol=1e-11)
    np.testing.assert_allclose(products.numpy(), f(X, W)[1].numpy(), rtol=1e-11)


def test_gradients_are_products_too():
    def f(x, w):
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        (x[:, :, None] * w).sum(1).tanh().sum().backward()
        return x.grad, w.grad

    traced = tracer.trace(f)
    for _ in range(2):
        given = traced(X, W)
    for g, e in zip(given, f(X, W), strict=True):
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-10, atol=1e-11)
    names = [op.primitive.name for op in pipeline.run(traced.graphs()[0], pipeline.COMPILE).ops]
    assert names.count("matmul") + names.count("contract") == 3


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_axes(data):
    """Each axis is in both operands or in one, reduced or not, or of extent 1."""
    roles = data.draw(st.lists(st.sampled_from(["rows", "columns", "batch", "terms", "one"]), min_size=2, max_size=6))
    roles = data.draw(st.permutations([*roles, "rows", "columns", "terms"]))
    extents = {"rows": 5, "columns": 4, "batch": 2, "terms": 6, "one": 1}
    sizes = [extents[r] for r in roles]
    if np.prod(sizes) > 1 << 18:
        return
    x = drawn(*[1 if r == "columns" else n for r, n in zip(roles, sizes, strict=True)])
    y = drawn(*[1 if r == "rows" else n for r, n in zip(roles, sizes, strict=True)])
    reduced = tuple(i for i, r in enumerate(roles) if r == "terms" or (r == "one" and data.draw(st.booleans())))

    def f(x, y):
        return (x * y).sum(reduced)

    result, _ = compiled(f, x, y)
    expected = (x.numpy() * y.numpy()).sum(reduced)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-11, atol=1e-11)
