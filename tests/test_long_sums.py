"""Sums of many equal numbers: their error does not grow with how many there are, along any axis, in any layout."""

import numpy as np
import pytest

import tracer
import tracer.nn.functional as F

K = float(np.float32(0.1))
LIMIT = 1e-6


def full(*shape):
    return tracer.full(shape, 0.1)


MANY = pytest.param(10_000_000, marks=pytest.mark.slow)
# What is summed, of how many numbers, and the result.
SUMS = {
    "rows": lambda n: (full(2, n // 2), lambda x: (x * 1).sum(1), K * (n // 2)),
    "squares of rows": lambda n: (full(2, n // 2), lambda x: (x * x).sum(1), K * K * (n // 2)),
    "everything": lambda n: (full(n), lambda x: (x * x).sum(), K * K * n),
    "everything, two axes": lambda n: (full(n // 8, 8), lambda x: (x * 1).sum(), K * (n // 8 * 8)),
    "few columns": lambda n: (full(n // 4, 4), lambda x: (x * 1).sum(0), K * (n // 4)),
    "columns": lambda n: (full(n // 20, 20), lambda x: (x * 1).sum(0), K * (n // 20)),
    "many columns": lambda n: (full(n // 900, 900), lambda x: (x * 1).sum(0), K * (n // 900)),
    "an axis in the middle": lambda n: (full(2, n // 32, 16), lambda x: (x * 1).sum(1), K * (n // 32)),
    "two axes": lambda n: (full(n // 80, 8, 10), lambda x: (x * 1).sum((0, 2)), K * (n // 80) * 10),
    "two axes, short": lambda n: (full(n // 24, 8, 3), lambda x: (x * 1).sum((0, 2)), K * (n // 24) * 3),
    "transposed": lambda n: (full(2, n // 2), lambda x: (x.t() * 1).sum(0), K * (n // 2)),
    "transposed columns": lambda n: (full(n // 16, 16), lambda x: (x.t() * 1).sum(1), K * (n // 16)),
    "strided": lambda n: (full(2, n // 2), lambda x: (x[:, ::3] * 1).sum(1), K * len(range(0, n // 2, 3))),
    "expanded": lambda n: (full(1, 2), lambda x: (x.expand(n // 2, 2) * 1).sum(0), K * (n // 2)),
    "reversed": lambda n: (full(n), lambda x: x.flip(0).sum(), K * n),
    "means of columns": lambda n: (full(n // 4, 4), lambda x: x.mean(0), K),
    "means of rows": lambda n: (full(2, n // 2), lambda x: x.mean(1), K),
    "a variance of columns": lambda n: (full(n // 4, 4), lambda x: x.var(0) + 1, 1.0),
    "a variance": lambda n: (full(n), lambda x: x.var() + 1, 1.0),
    "a norm": lambda n: (full(n), lambda x: x.norm(), K * n**0.5),
    "norms of columns": lambda n: (full(n // 4, 4), lambda x: x.norm(dim=0), K * (n // 4) ** 0.5),
    "softmax": lambda n: (full(1, n), lambda x: x.softmax(1), 1 / n),
    "softmax of columns": lambda n: (full(n // 4, 4), lambda x: x.softmax(0), 1 / (n // 4)),
    "softmax of few large": lambda n: (
        tracer.cat([tracer.zeros(1), tracer.full((n,), -5.0)]),
        lambda x: x.softmax(0)[:1],
        1 / (1 + n * np.exp(-5.0)),
    ),
    "logsumexp": lambda n: (full(n), lambda x: x.logsumexp(0), K + np.log(n)),
    "running sums": lambda n: (full(n), lambda x: x.cumsum(0), K * np.arange(1, n + 1)),
    "running sums of columns": lambda n: (full(n // 4, 4), lambda x: x.cumsum(0)[-1], K * (n // 4)),
    "a dot product": lambda n: (full(n), lambda x: x @ x, K * K * n),
    "a loss": lambda n: (full(n), lambda x: F.mse_loss(x, tracer.zeros(n)), K * K),
    "an l1 loss": lambda n: (full(n // 4, 4), lambda x: F.l1_loss(x, tracer.zeros(n // 4, 4)), K),
}


@pytest.mark.parametrize("n", [100_000, 1_000_003, MANY])
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("name", SUMS)
def test_sums(name, traced, n):
    x, f, expected = SUMS[name](n)
    f = tracer.trace(f) if traced else f
    for _ in range(3 if traced else 1):
        y = np.asarray(f(x).numpy(), np.float64)
    assert np.abs(y / expected - 1).max() < LIMIT


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("rows", [64, 65, 128, 129, 137, 1000, 4096, 50_001])
@pytest.mark.parametrize("columns", [7, 8, 9, 100])
def test_numbers_of_any_size_and_sign(rows, columns, traced):
    x = np.random.default_rng(rows * columns).standard_normal((rows, columns)).astype(np.float32)
    x *= np.float32(10.0) ** (np.arange(columns) % 20).astype(np.float32)[None] / 1000
    f = (
        tracer.trace(lambda x: ((x * 1).sum(0), (x * x).sum(0), (x * 1).sum(1)))
        if traced
        else (lambda x: ((x * 1).sum(0), (x * x).sum(0), (x * 1).sum(1)))
    )
    for _ in range(2):
        a, b, c = (t.numpy() for t in f(tracer.tensor(x)))
    wide = x.astype(np.float64)
    with np.errstate(over="ignore"):
        squares = (x * x).astype(np.float64)
    for found, exact, size in (
        (a, wide.sum(0), np.abs(wide).sum(0)),
        (b, squares.sum(0), squares.sum(0)),
        (c, wide.sum(1), np.abs(wide).sum(1)),
    ):
        fits = size < 3e38
        assert (np.abs(found - exact)[fits] <= 2e-6 * size[fits]).all()


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
def test_infinities_stay(traced):
    f = tracer.trace(lambda x: x.sum(0)) if traced else (lambda x: x.sum(0))
    x = np.ones((1000, 10), np.float32)
    x[500, 0], x[501, 1], x[502, 2], x[503, 2], x[504, 3] = np.inf, -np.inf, np.inf, -np.inf, np.nan
    x[10:20, 4] = 3e38
    for _ in range(2):
        y = f(tracer.tensor(x)).numpy()
    assert y[0] == np.inf and y[1] == -np.inf and np.isnan(y[2:4]).all() and y[4] == np.inf and (y[5:] == 1000).all()


@pytest.mark.parametrize("n", [300_000, MANY])
def test_gradients_of_broadcasts(n):
    @tracer.trace
    def gradients(w, x):
        w = w.detach().requires_grad_()
        (x * w).sum().backward()
        return w.grad

    x = full(n // 10, 10)
    for _ in range(3):
        g = gradients(tracer.ones(10), x).numpy()
    assert np.abs(g / (K * (n // 10)) - 1).max() < LIMIT


def test_sums_at_positions_that_are_equal():
    n = 1_000_000
    index = tracer.zeros(n, dtype=tracer.int64)
    expected = K * n
    assert abs(tracer.zeros(3).index_add(0, index, full(n))[0].item() / expected - 1) < LIMIT
    assert abs(tracer.zeros(3).scatter_add(0, index, full(n))[0].item() / expected - 1) < LIMIT
    assert abs(tracer.bincount(index, full(n))[0].item() / expected - 1) < LIMIT
    w = tracer.ones(2, 3, requires_grad=True)
    (F.embedding(index, w) * 0.1).sum().backward()
    assert np.abs(w.grad.numpy()[0] / expected - 1).max() < LIMIT
