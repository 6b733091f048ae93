"""Powers by whole numbers are products in compiled code."""

import numpy as np
import pytest

import tracer
from tracer.codegen import cpu
from tracer.codegen.fusion import lower
from tracer.ir.ops import fusion

EXPONENTS = [1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, -1, -2, -3, -4, -6, -12]


def texts(traced):
    graphs = traced.fused_graphs()
    return [cpu.source(lower(op.attrs["body"])) for g in graphs for op in g.ops if op.primitive is fusion]


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.float64])
@pytest.mark.parametrize("n", EXPONENTS)
def test_values(n, dtype):
    traced = tracer.trace(lambda x: (x**n) * 1.5)
    x = tracer.randn(500, dtype=dtype) * 1.5
    for _ in range(3):
        found = traced(x)
    with np.errstate(over="ignore"):
        expected = (np.power(x.numpy().astype(np.longdouble), n) * np.longdouble(1.5)).astype(x.numpy().dtype)
    room = (abs(n) / 2 + 2) * float(tracer.finfo(dtype).eps)
    np.testing.assert_allclose(found.numpy(), expected, rtol=room, atol=0 if dtype is tracer.float64 else 1e-30)
    assert not any("pow_" in text for text in texts(traced))


@pytest.mark.parametrize("n", EXPONENTS)
def test_special_numbers(n):
    x = tracer.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-300, -1e-300, 1e300], dtype=tracer.float64)
    traced = tracer.trace(lambda x: x**n)
    traced(x)
    with np.errstate(all="ignore"):
        expected = np.power(x.numpy(), n)
    np.testing.assert_array_equal(traced(x).numpy(), expected)
    np.testing.assert_array_equal(np.signbit(traced(x).numpy()[:4]), np.signbit(expected[:4]))


@pytest.mark.parametrize("n", [3, 4, -2, 7])
def test_derivatives(n):
    def f(x):
        (first,) = tracer.autograd.grad((x**n).sum(), x, create_graph=True)
        (second,) = tracer.autograd.grad(first.sum(), x)
        return first.detach(), second

    traced, x = tracer.trace(f), (tracer.rand(50, dtype=tracer.float64) + 0.5).requires_grad_()
    for _ in range(3):
        first, second = traced(x)
    v = x.detach()
    assert tracer.allclose(first, n * v ** float(n - 1), rtol=1e-13)
    assert tracer.allclose(second, n * (n - 1) * v ** float(n - 2), rtol=1e-13)


@pytest.mark.parametrize("n", [17, 2.5, -0.25])
def test_other_powers(n):
    traced = tracer.trace(lambda x: x**n * 2.0)
    x = tracer.rand(100, dtype=tracer.float64) + 0.1
    traced(x)
    assert tracer.allclose(traced(x), x**n * 2.0, rtol=1e-14)
    assert any("pow_" in text for text in texts(traced))
