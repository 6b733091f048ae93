"""Sums of many equal numbers: the error does not grow with their number, along any axis, in any layout."""

import numpy as np
import pytest

import tracer
import tracer.nn.functional as F

K = float(np.float32(0.1))
LIMIT = 1e-6


def full(*shape):
    return tracer.full(shape, 0.1)


MANY = pytest.param(10_000_000, marks=pytest.mark.slow)
# The summand, the number of terms, and the result.
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


def gradient(f):
    """The gradient of a function of the first tensor and others."""

    def run(x, *others):
        x = x.detach().requires_grad_()
        f(x, *others).backward()
        return x.grad

    return run


def zeros(n):
    return tracer.zeros(n, dtype=tracer.int64)


# The number of terms, the arguments; the function; the result.
AT_POSITIONS = {
    "index_add": lambda n: ((zeros(n), full(n)), lambda i, x: tracer.zeros(3).index_add(0, i, x * 1)[:1], K * n),
    "index_add of rows": lambda n: ((zeros(n), full(n, 3)), lambda i, x: tracer.zeros(2, 3).index_add(0, i, x * 1)[0], K * n),
    "index_add of columns": lambda n: (
        (zeros(n), full(3, n)),
        lambda i, x: tracer.zeros(3, 2).index_add(1, i, x * 1)[:, 0],
        K * n,
    ),
    "index_add to many": lambda n: ((zeros(n), full(n)), lambda i, x: tracer.zeros(5 * n).index_add(0, i, x * 1)[:1], K * n),
    "scatter_add": lambda n: ((zeros(n), full(n)), lambda i, x: tracer.zeros(3).scatter_add(0, i, x * 1)[:1], K * n),
    "scatter_reduce": lambda n: (
        (zeros(n), full(n)),
        lambda i, x: tracer.zeros(3).scatter_reduce(0, i, x * 1, "mean", include_self=False)[:1],
        K,
    ),
    "index_put": lambda n: (
        (zeros(n), full(n)),
        lambda i, x: tracer.zeros(3, 2).index_put((i, i), x * 1, accumulate=True)[0, :1],
        K * n,
    ),
    "bincount": lambda n: ((zeros(n), full(n)), lambda i, x: tracer.bincount(i, x)[:1], K * n),
    "embedding": lambda n: (
        (tracer.ones(2, 3), zeros(n)),
        lambda w, i: gradient(lambda w: (F.embedding(i, w) * 0.1).sum())(w)[0],
        K * n,
    ),
    "embedding_bag": lambda n: (
        (full(2, 3), zeros(n)),
        lambda w, i: F.embedding_bag(i, w, tracer.tensor([0]), mode="sum"),
        K * n,
    ),
    "gather": lambda n: (
        (tracer.ones(2), zeros(n)),
        lambda w, i: gradient(lambda w: (w.gather(0, i) * 0.1).sum())(w)[:1],
        K * n,
    ),
}
PRODUCTS = {
    "vectors": lambda n: ((full(n), full(n)), lambda a, b: a @ b, K * K * n),
    "matrix and vector": lambda n: ((full(4, n), full(n)), lambda a, b: a @ b, K * K * n),
    "transposed matrix and vector": lambda n: ((full(n, 4), full(n)), lambda a, b: a.t() @ b, K * K * n),
    "vector and matrix": lambda n: ((full(n), full(n, 9)), lambda a, b: a @ b, K * K * n),
    "matrices": lambda n: ((full(4, n), full(n, 3)), lambda a, b: a @ b, K * K * n),
    "transposed": lambda n: ((full(n, 4), full(3, n)), lambda a, b: a.t() @ b.t(), K * K * n),
    "larger": lambda n: ((full(70, n // 16), full(n // 16, 65)), lambda a, b: a @ b, K * K * (n // 16)),
    "batches": lambda n: ((full(2, 3, n), full(2, n, 5)), lambda a, b: a @ b, K * K * n),
    "einsum": lambda n: ((full(n, 3), full(n, 2)), lambda a, b: tracer.einsum("ni,nj->ij", a, b), K * K * n),
    "a weight": lambda n: ((full(3, 4), full(n, 4)), gradient(lambda w, x: F.linear(x, w).sum()), K * n),
    "a filter": lambda n: ((full(2, 1, 3), full(1, 1, n + 2)), gradient(lambda w, x: F.conv1d(x, w).sum()), K * n),
    "a filter of many images": lambda n: (
        (full(2, 1, 1, 1), full(n // 16, 1, 4, 4)),
        gradient(lambda w, x: F.conv2d(x, w).sum()),
        K * (n // 16 * 16),
    ),
    "a long filter": lambda n: ((full(1, 1, n), full(1, 1, n)), lambda x, w: F.conv1d(x, w), K * K * n),
    "attention": lambda n: (
        (full(1, 2, 4), full(1, n, 4), full(1, n, 4)),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
        K,
    ),
}
RUNNING = {
    "logarithms": lambda n: ((full(n),), lambda x: x.logcumsumexp(0), K + np.log(np.arange(1, n + 1))),
    "logarithms of columns": lambda n: ((full(n, 3),), lambda x: x.logcumsumexp(0)[-1], K + np.log(n)),
    "products": lambda n: ((tracer.full((n,), 1 + 2.0**-20),), lambda x: x.cumprod(0)[-1], np.exp(n * np.log1p(2.0**-20))),
    "a product": lambda n: ((tracer.full((n,), 1 + 2.0**-20),), lambda x: x.prod(), np.exp(n * np.log1p(2.0**-20))),
    "gradient of products": lambda n: (
        (tracer.ones(n),),
        gradient(lambda x: (x.cumprod(0) * 0.1).sum()),
        K * np.arange(n, 0, -1),
    ),
}
OTHERS = {**AT_POSITIONS, **PRODUCTS, **RUNNING}


@pytest.mark.parametrize("n", [100_000, 1_000_003, MANY])
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_sums(name, traced, n):
    arguments, f, expected = OTHERS[name](n)
    f = tracer.trace(f) if traced else f
    for _ in range(3 if traced else 1):
        y = np.asarray(f(*arguments).numpy(), np.float64)
    assert np.abs(y / expected - 1).max() < LIMIT


def test_rounding_errors_do_not_add_up():
    """Millions of numbers of one sign: what additions lose has one sign too."""
    a, b = full(6_000_000), full(9)
    f = tracer.trace(lambda a, b: (a.unsqueeze(1) * b).sum(0))
    for _ in range(2):
        y = np.asarray(f(a, b).numpy(), np.float64)
    assert np.abs(y / (K * K * 6_000_000) - 1).max() < LIMIT


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 9, 40])
@pytest.mark.parametrize("numbers", [(np.inf,), (-np.inf,), (np.inf, -np.inf), (np.nan,), ("largest",) * 4])
def test_sums_that_are_not_finite(numbers, columns, dtype):
    x = np.random.default_rng(0).standard_normal((30_000, columns)).astype(dtype)
    x[[5, 6, 7000, 29_999][: len(numbers)], 0] = [np.finfo(dtype).max if n == "largest" else n for n in numbers]
    x = tracer.tensor(x)
    for f in (lambda x: x.sum(0), lambda x: (x * 2).sum(0), lambda x: x.mean(0)):
        traced = tracer.trace(f)
        for _ in range(2):
            np.testing.assert_allclose(traced(x).numpy(), f(x).numpy(), rtol=1e-4, atol=1e-3)


def test_running_logarithms_have_gradients_everywhere():
    x = tracer.tensor([[0.5, -1e4, 3.0, 3.0, 700.0], [-80.0, 2.0, -np.inf, 1.0, -1e30]], requires_grad=True)
    (g,) = tracer.autograd.grad((x.logcumsumexp(1) * tracer.tensor([1.0, -2.0, 3.0, 0.0, 0.5])).sum(), x)
    wide, weights = x.detach().numpy().astype(np.float64), np.array([1.0, -2.0, 3.0, 0.0, 0.5])
    expected = np.zeros((2, 5))
    for j in range(5):
        row = wide[:, : j + 1] - wide[:, : j + 1].max(1, keepdims=True)
        expected[:, : j + 1] += weights[j] * np.exp(row) / np.exp(row).sum(1, keepdims=True)
    np.testing.assert_allclose(g.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(1, 1, 2049), (3, 5, 4100), (700, 17, 2500), (33, 129, 6145), (0, 3, 5000), (3, 0, 5000)])
def test_deep_products_do_not_depend_on_threads(shape):
    m, n, k = shape
    rng = np.random.default_rng(k)
    a, b = (tracer.tensor(rng.standard_normal(s).astype(np.float32)) for s in ((m, k), (k, n)))
    f = tracer.trace(lambda a, b: a @ b)
    before, results = tracer.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            tracer.set_num_threads(threads)
            f(a, b)
            results.append(f(a, b).numpy().copy())
    finally:
        tracer.set_num_threads(before)
    assert all((r == results[0]).all() for r in results)
    exact = a.numpy().astype(np.float64) @ b.numpy().astype(np.float64)
    assert (np.abs(results[0] - exact) <= 1e-6 * (np.abs(a.numpy()).astype(np.float64) @ np.abs(b.numpy()))).all()


@pytest.mark.parametrize(
    "name, f, exact",
    [
        ("log", lambda x: x.log().mean(), np.log),
        ("exp", lambda x: x.exp().mean(), np.exp),
        ("sin", lambda x: x.sin().mean(), np.sin),
        ("tanh", lambda x: x.tanh().mean(), np.tanh),
        ("pow", lambda x: (x**1.7).mean(), lambda x: x**1.7),
        ("entropy", lambda x: F.binary_cross_entropy(x, x * 0 + 1), lambda x: -np.log(x)),
    ],
)
def test_sums_of_functions(name, f, exact):
    """Loops that call functions have fewer vector lanes than their number of statements suggests."""
    traced = tracer.trace(f)
    for v in np.random.default_rng(0).uniform(0.05, 0.95, 12).astype(np.float32):
        x = tracer.full((300_000,), float(v))
        assert abs(traced(x).item() / exact(float(v)) - 1) < 1e-6, v
