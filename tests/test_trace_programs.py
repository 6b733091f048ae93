"""Programs with unusual kernels: they compile, and have the eager results and gradients."""

import warnings
from functools import reduce

import numpy as np
import pytest

import tracer
import tracer.nn.functional as F


def data(shape, seed):
    """A leaf of this shape, or a tensor of this array."""
    if isinstance(shape, np.ndarray):
        return tracer.from_numpy(shape.copy())
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return tracer.from_numpy(values).requires_grad_()


def size(y):
    return y.abs().pow(2).sum() if y.is_complex() else (y * y).sum()


def close(actual, expected, rtol):
    assert actual.dtype == expected.dtype
    actual, expected = actual.detach().numpy(), expected.detach().numpy()
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0) if expected.dtype.kind in "fc" else 1.0
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * scale * 0.1)


def same_as_eager(f, *shapes, rtol=2e-5):
    traced = tracer.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error", tracer.TraceWarning)
        for seed in range(3):
            mine, theirs = ([data(s, seed + 10 * k) for k, s in enumerate(shapes)] for _ in range(2))
            actual, expected = traced(*mine), f(*theirs)
            if isinstance(expected, tracer.Tensor):
                actual, expected = (actual,), (expected,)
            for a, b in zip(actual, expected, strict=True):
                close(a, b, rtol)
                assert a.requires_grad == b.requires_grad
            for ys in (actual, expected):
                followed = [size(y) for y in ys if y.requires_grad]
                if followed:
                    sum(followed).backward()
            for a, b in zip(mine, theirs, strict=True):
                assert (a.grad is None) == (b.grad is None)
                if b.grad is not None:
                    close(a.grad, b.grad, 10 * rtol)


def mask(*shape):
    return np.random.default_rng(5).random(shape) < 0.5


# Concatenations of many parts.


@pytest.mark.parametrize("n", [15, 16, 17, 99])
def test_values_above_one_another(n):
    same_as_eager(lambda x: tracer.stack([x[i] * i for i in range(n)]), (n, 3))
    same_as_eager(lambda x: tracer.cat([x[i : i + 1 + i % 2].tanh() for i in range(n - 1)]), (n, 3))


@pytest.mark.parametrize("n", [16, 17, 120])
@pytest.mark.parametrize("dim", [1, -1])
def test_values_side_by_side(n, dim):
    same_as_eager(lambda x: tracer.stack([x[:, i % 5].cos() for i in range(n)], dim), (4, 5))
    same_as_eager(lambda x: tracer.cat([x[:, i % 3 : i % 5] * 2 for i in range(n)], dim)[:, 1:].exp(), (2, 6))


def test_large_values_above_one_another():
    same_as_eager(lambda x: tracer.cat([(x * i).sin() for i in range(20)]).sum(0), (64, 300), rtol=1e-4)


def test_nothing_above_nothing():
    same_as_eager(lambda x: tracer.cat([x[i:i] for i in range(100)]), (4, 3))
    same_as_eager(lambda x: tracer.cat([*(x[i:i] for i in range(100)), x * 2]), (4, 3))


def test_one_more_row_in_each_step():
    same_as_eager(lambda x: reduce(lambda a, i: tracer.cat([a, x[i : i + 1] * a[:1]]), range(110), x[:1]), (110, 2))


@pytest.mark.parametrize("between", [lambda x: x, lambda x: x * 1.01])
def test_pads_of_pads(between):
    def f(x):
        for _ in range(110):
            x = between(F.pad(x, (1, 0)))
        return x.sin()

    same_as_eager(f, (2, 3))


def test_a_long_recurrence_with_its_states():
    def f(x, w):
        h, states = tracer.zeros(1, 3), []
        for i in range(105):
            h = (x[i] + h @ w).tanh()
            states.append(h)
        return tracer.stack(states)

    same_as_eager(f, (105, 1, 3), (3, 3), rtol=1e-3)


# Softmaxes, norms and surrounding operations, small and large.

SHAPES = [(12, 10), (1100, 1200)]


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_softmax(shape):
    m = mask(*shape)
    same_as_eager(lambda x, m: tracer.softmax(tracer.where(m, x, -1e9), -1), shape, m)
    same_as_eager(lambda x, m: x.masked_fill(m, -np.inf).log_softmax(-1).exp(), shape, m)
    same_as_eager(lambda x, m: (x * m).softmax(-1), shape, m)
    same_as_eager(lambda x, m: (x * m).softmax(0), shape, m.astype(np.int64))
    same_as_eager(lambda x, m: (x.double() * m).softmax(-1).float(), shape, m)


@pytest.mark.parametrize("shape", SHAPES)
def test_learnt_temperature(shape):
    same_as_eager(lambda x, t: (x / t.exp()).softmax(-1), shape, (1,))
    same_as_eager(lambda x, t: (x * t).softmax(-1), shape, ())
    same_as_eager(lambda x, t: (x * t).log_softmax(0), shape, (1,))
    same_as_eager(lambda x, t: (x * t).softmax(-1), shape, (shape[0], 1))
    same_as_eager(lambda x, t: (x * t).softmax(0), shape, (shape[1],))
    same_as_eager(lambda x, t: (x * t.sigmoid() + x.mean(0) * t).softmax(0).sum(1), shape, (1,), rtol=1e-4)


@pytest.mark.parametrize("shape", [(5, 4, 3), (300, 33, 129)])
@pytest.mark.parametrize("softmax, mean", [(0, 1), (1, 0), (2, 0), (0, 0)])
def test_softmax_over_one_axis_mean_over_another(shape, softmax, mean):
    same_as_eager(lambda x: x.softmax(softmax).mean(mean), shape)


@pytest.mark.parametrize("batch, channels, extent", [(4, 8, 6), (16, 32, 28)])
def test_batch_norm_before_squeeze_and_excite(batch, channels, extent):
    def f(x, w, v, g, b):
        y = F.batch_norm(x, None, None, g, b, training=True)
        s = ((y.mean((2, 3)) @ w).relu() @ v).sigmoid()
        return (y * s[:, :, None, None]).relu()

    c = channels
    same_as_eager(f, (batch, c, extent, extent), (c, c // 4), (c // 4, c), (c,), (c,), rtol=2e-4)


# Mixed dtypes.


def test_real_tensors_and_imaginary_numbers():
    for x in ((40,), np.arange(5), mask(7)):
        same_as_eager(lambda x: (x * 1j, x + 2j, 1j - x if x.dtype is not tracer.bool else x * 1j, x / 2j), x)
    same_as_eager(lambda x: ((x * 1j).exp() * x).abs(), (40,))


def test_arithmetic_of_truth_values():
    a, b = mask(50), ~mask(50)[::-1]
    same_as_eager(lambda a, b: (a * b, a + b, (a + b).float(), (a + b).sum(), (a * b).float().sum(), (a + b).int()), a, b)
    same_as_eager(lambda a, b: (a * True, a + True, True * a, a * 2, a + 1.5, (a + b) & ~(a * b)), a, b)
    same_as_eager(lambda a, b: (a.reshape(5, 10).sum(0, dtype=tracer.bool), a.sum(dtype=tracer.bool), (a * b).any()), a, b)
    same_as_eager(lambda a, b: (a.sum(dtype=tracer.bool), b.sum(1, dtype=tracer.bool)), np.arange(9), np.eye(3))
    big = mask(700, 300)
    same_as_eager(lambda a: ((a + a).sum(0), (a * a).sum(dtype=tracer.bool), a.sum(1, dtype=tracer.bool), (a * a).sum()), big)


POSITIONS = {
    "resize": lambda x: F.interpolate(x, size=(7, 3), mode="bicubic"),
    "resize, nearest": lambda x: F.interpolate(x, scale_factor=1.5),
    "resize, antialias": lambda x: F.interpolate(x, size=(2, 7), mode="bilinear", antialias=True),
    "reflect": lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "circular": lambda x: F.pad(x, (1, 2, 3, 1), mode="circular"),
    "replicate": lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"),
    "triangle": lambda x: x[0, 0][tuple(tracer.tril_indices(5, 5, -1))],
    "combinations": lambda x: tracer.combinations(x[0, 0, 0], 3),
    "bags": lambda x: F.embedding_bag(tracer.tensor([[0, 1], [1, 4]]), x[0, 0]),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_positions_that_follow_from_extents_are_constants(name):
    same_as_eager(POSITIONS[name], (1, 2, 5, 5))
