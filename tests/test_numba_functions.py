"""Traced functions in Numba code and in C: the same values and errors, from any thread, without Python."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest
from numba import TypingError, njit, prange

import tracer
from tracer import nn, random

ROOT = Path(__file__).parent.parent

# Sampling and optimising.

PRECISION = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, 0.3], [0.0, 0.3, 0.5]])
MEAN = np.array([1.0, -2.0, 0.5])
precision, mean = tracer.tensor(PRECISION), tracer.tensor(MEAN)


@tracer.trace
def log_density(x):
    """A correlated Gaussian."""
    d = x - mean
    return -0.5 * (d @ (precision @ d))


@tracer.trace
def valley(x):
    """Rosenbrock's function in any number of dimensions."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


# Loops, which Numba compiles faster than array expressions.


@njit
def dot(a, b):
    t = 0.0
    for i in range(a.size):
        t += a[i] * b[i]
    return t


@njit
def plus(a, t, b):
    c = np.empty(a.size)
    for i in range(a.size):
        c[i] = a[i] + t * b[i]
    return c


@njit
def put(rows, k, row):
    for i in range(row.size):
        rows[k, i] = row[i]


def test_hamiltonian_monte_carlo():
    value_and_grad = log_density.numba_value_and_grad(np.zeros(3))

    @njit(nogil=True)
    def sample(momenta, thresholds, steps, size):
        x = np.zeros(3)
        value, gradient = value_and_grad(x)
        drawn = np.empty(momenta.shape)
        calls = 0
        for n in range(len(momenta)):
            p = momenta[n]
            energy = value - 0.5 * dot(p, p)
            y, new, g = x, value, gradient
            for _ in range(steps):
                p = plus(p, 0.5 * size, g)
                y = plus(y, size, p)
                new, g = value_and_grad(y)
                p = plus(p, 0.5 * size, g)
                calls += 1
            if thresholds[n] < new - 0.5 * dot(p, p) - energy:
                x, value, gradient = y, new, g
            put(drawn, n, x)
        return drawn, calls

    rng = np.random.default_rng(0)
    drawn, calls = sample(rng.normal(size=(12_500, 3)), np.log(rng.uniform(size=12_500)), 8, 0.35)
    assert calls == 100_000
    covariance = np.linalg.inv(PRECISION)
    error = 4 * np.sqrt(np.diag(covariance) / 5000)  # four standard errors, if half of the draws were independent
    assert np.all(np.abs(drawn.mean(0) - MEAN) < error)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.15)


def test_lbfgs():
    value_and_grad = valley.numba_value_and_grad(np.zeros(3))

    @njit
    def minimise(x, memory, limit):
        f, g = value_and_grad(x)
        s, y, rho, alpha = np.zeros((memory, 3)), np.zeros((memory, 3)), np.zeros(memory), np.zeros(memory)
        kept, calls, zero = 0, 1, np.zeros(3)
        while dot(g, g) > 1e-18 and calls < limit:
            d = plus(zero, -1.0, g)
            for n in range(kept - 1, max(kept - memory, 0) - 1, -1):
                k = n % memory
                alpha[k] = rho[k] * dot(s[k], d)
                d = plus(d, -alpha[k], y[k])
            if kept:
                k = (kept - 1) % memory
                d = plus(zero, 1.0 / (rho[k] * dot(y[k], y[k])), d)
            for n in range(max(kept - memory, 0), kept):
                k = n % memory
                d = plus(d, alpha[k] - rho[k] * dot(y[k], d), s[k])
            slope, step = dot(g, d), 2.0
            new, h = f + 1.0, g
            while new > f + 1e-4 * step * slope and step > 1e-12:
                step *= 0.5
                new, h = value_and_grad(plus(x, step, d))
                calls += 1
            change = plus(h, -1.0, g)
            if dot(change, d) > 0.0:
                k = kept % memory
                put(s, k, plus(zero, step, d))
                put(y, k, change)
                rho[k] = 1.0 / dot(s[k], y[k])
                kept += 1
            x, f, g = plus(x, step, d), new, h
        return x, calls

    rng, calls = np.random.default_rng(0), 0
    while calls < 100_000:
        x, n = minimise(rng.uniform(0, 2, 3), 5, 2000)
        calls += n
        np.testing.assert_allclose(x, 1.0, atol=1e-6)


# Values and gradients, compared with eager runs.


@tracer.trace
def mixed(x, k, flags, s):
    y = tracer.where(flags, x * s, x) * k
    return y.sum(), (y, (y.T, k)), flags


def eager(function, *args):
    return function.function(*[tracer.tensor(a) for a in args])


def same(given, expected):
    if isinstance(expected, tuple):
        assert len(given) == len(expected)
        for a, b in zip(given, expected, strict=True):
            same(a, b)
        return
    assert np.shape(given) == tuple(expected.shape)
    if np.ndim(given):
        assert given.dtype == expected.numpy().dtype and given.flags.c_contiguous
    largest = np.abs(expected.numpy()).max(initial=0)  # terms of a sum may cancel
    np.testing.assert_allclose(given, expected.numpy(), rtol=1e-6, atol=1e-6 * largest)


def test_dtypes_ranks_and_structures():
    rng = np.random.default_rng(0)
    x, k, flags = rng.normal(size=(2, 3)).astype(np.float32), np.arange(3, dtype=np.float32), np.array([[True], [False]])
    f = mixed.numba(x, k, flags, np.float32(2))
    same(f(x, k, flags, np.float32(2)), eager(mixed, x, k, flags, np.float32(2)))


def test_every_dtype():
    names = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
    xs = [np.ones(2, name) for name in names]
    f = tracer.trace(lambda *xs: tuple((x, x[0]) for x in xs)).numba(*xs)
    for x, (y, first) in zip(xs, f(*xs), strict=True):
        assert y.dtype == x.dtype and y.tolist() == x.tolist() and first == 1


def test_from_numba_code():
    f = mixed.numba(np.zeros((2, 3)), np.zeros(3), np.zeros((2, 1), bool), 0.0)

    @njit
    def use(x, k, flags):
        total, (y, (z, _)), _ = f(x.T, k, flags, 2)  # an int for a float parameter
        return total, y, z

    x, k, flags = np.arange(6.0).reshape(3, 2), np.arange(3.0), np.array([[True], [False]])
    total, y, z = use(x, k, flags)
    expected = eager(mixed, x.T, k, flags, 2.0)
    same((total, y, z), (expected[0], expected[1][0], expected[1][1][0]))


def test_scalars_and_constants():
    @tracer.trace
    def f(x, n, s, name, flag, nothing=None):
        return (x * n + s) if name == "plus" and nothing is None else x, x > s, flag & (x > 0)

    g = f.numba(1.0, 3, np.float32(0), "plus", np.True_)
    assert g(np.float32(2), np.float32(1), True) == (7.0, True, True)
    assert g(np.array(2.0), np.array(1, np.float32), np.array(True)) == (7.0, True, True)
    assert g(x=np.float32(2), s=np.float32(3), flag=False) == (9.0, False, False)
    assert g.__name__ == "f" and "s: a scalar of float32" in g.__doc__


def test_arrays_of_any_layout():
    f = tracer.trace(lambda x: x * 2).numba(np.zeros((2, 3)))
    x = np.arange(6.0).reshape(2, 3)
    locked = x.copy()
    locked.flags.writeable = False
    for y in (x, x.repeat(2, 1)[:, ::2], x[::-1, ::-1][::-1, ::-1], locked):
        assert f(y).tolist() == (x * 2).tolist()


def test_without_parameters():
    f = tracer.trace(lambda n, name: (mean * n, ())).numba(2, "name")
    values, nothing = f()
    assert values.tolist() == (MEAN * 2).tolist() and nothing == ()


def test_results_are_new_and_may_be_the_same_value():
    @tracer.trace
    def f(x):
        y = x + 1
        return x, y, y, y[::2], tracer.zeros(2), x.T

    g = f.numba(np.zeros(3))
    x = np.arange(3.0)
    first = g(x)
    kept = [a.copy() for a in first]
    first[0][:] = -1
    assert x[1] == 1
    g(np.full(3, 9.0))
    for a, b in zip(first[1:], kept[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    assert len({a.ctypes.data for a in first}) == 6
    same(tuple(kept), eager(f, x))


def test_gradients_are_those_of_autograd():
    @tracer.trace
    def f(x, w, s, n):
        return tracer.tanh(w @ x * s).sum() * n

    rng = np.random.default_rng(0)
    x, w = rng.normal(size=3), rng.normal(size=(4, 3))
    leaves = [tracer.tensor(a).requires_grad_() for a in (x, w, 0.7)]
    value = f.function(*leaves, 2)
    gradients = tracer.autograd.grad(value, leaves)
    g = f.numba_value_and_grad(x, w, 0.7, 2, argnums=(1, 0, 2))
    same(g(x, w, 0.7), (value.detach(), (gradients[1], gradients[0], gradients[2])))
    same(f.numba_value_and_grad(x, w, 0.7, 2)(x, w, 0.7), (value.detach(), gradients[0]))
    same(f.numba_value_and_grad(x, w, 0.7, 2, argnums=-2)(x, w, 0.7), (value.detach(), gradients[2]))


def test_gradients_of_unused_arguments_are_zero():
    @tracer.trace
    def f(x, y):
        return (x * x).sum().reshape(1)

    value, (dx, dy) = f.numba_value_and_grad(np.zeros(2), np.zeros(3), argnums=(0, 1))(np.ones(2), np.full(3, np.inf))
    assert value == 2.0 and dx.tolist() == [2.0, 2.0] and dy.tolist() == [0.0, 0.0, 0.0]

    @tracer.trace
    def constant(x):
        return tracer.tensor(3.0)

    assert constant.numba_value_and_grad(1.0)(5.0) == (3.0, 0.0)


def test_a_function_that_takes_gradients_itself():
    @tracer.trace
    def score(x):
        y = x.detach().requires_grad_()
        (g,) = tracer.autograd.grad((y**3).sum(), [y])
        return g

    np.testing.assert_allclose(score.numba(np.zeros(2))(np.array([1.0, 2.0])), [3.0, 12.0])


def test_a_network_and_its_parameters_changed_in_place():
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    @tracer.trace
    def potential(x):
        return model(x).sum()

    x = np.ones((2, 3), np.float32)
    g = potential.numba_value_and_grad(x)
    before = g(x)
    with tracer.no_grad():
        model[0].weight.mul_(2.0)
    leaf = tracer.tensor(x).requires_grad_()
    value = potential.function(leaf)
    same(g(x), (value.detach(), tracer.autograd.grad(value, [leaf])[0]))
    assert g(x)[0] != before[0]
    assert potential.numba_value_and_grad(x) is g
    model[0].weight.data = tracer.zeros(4, 3)  # other memory: another object
    again = potential.numba_value_and_grad(x)
    assert again is not g and not again(x)[1].any()


def test_the_same_object_is_given_again():
    a = log_density.numba(np.zeros(3))
    assert log_density.numba(np.ones(3)) is a and log_density.numba(tracer.zeros(3, dtype=tracer.float64)) is a
    assert log_density.numba_value_and_grad(np.zeros(3)) is not a
    assert log_density.cfunc(np.zeros(3)) is log_density.cfunc(np.zeros(3))
    assert log_density.cfunc(np.zeros(3)) is not log_density.cfunc(np.zeros(3), signature="double (int, double *)")


# Threads.


def test_python_threads():
    value_and_grad = valley.numba_value_and_grad(np.zeros(6))

    @njit(nogil=True)
    def total(seed, n):
        np.random.seed(seed)
        x, t = np.random.random(6), 0.0
        for i in range(n):
            value, gradient = value_and_grad(x * (i % 7))
            t += value + gradient.sum()
        return t

    expected = [total(seed, 20_000) for seed in range(12)]
    found = [0.0] * 12

    def work(seed):
        found[seed] = total(seed, 20_000)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert found == expected


def test_prange():
    value_and_grad = valley.numba_value_and_grad(np.zeros(6))

    @njit(parallel=True)
    def together(xs, values):
        for i in prange(len(xs)):
            value, gradient = value_and_grad(xs[i])
            values[i] = value + gradient[0]

    xs, values = np.random.default_rng(0).normal(size=(5000, 6)), np.empty(5000)
    together(xs, values)
    for i in range(0, 5000, 50):
        value, gradient = value_and_grad(xs[i])
        assert value + gradient[0] == values[i]


def test_failures_beside_successes_in_threads():
    @tracer.trace
    def pick(table, i):
        return table[i]

    f = pick.numba(np.zeros(4), np.zeros(2, np.int64))

    @njit(nogil=True)
    def many(positions, n):
        t = 0.0
        table = np.ones(4)
        for _ in range(n):
            t += f(table, positions)[1]
        return t

    good, bad = np.array([0, 3]), np.array([0, 8])
    many(good, 1)
    outcomes = []

    def work(k):
        for _ in range(20):
            try:
                outcomes.append((k, many(bad if k % 2 else good, 500)))
            except IndexError as e:
                outcomes.append((k, str(e)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(outcomes) == 160
    for k, outcome in outcomes:
        assert outcome == 500.0 if k % 2 == 0 else "index 8 is out of bounds" in outcome


def test_large_steps_are_shared_among_threads():
    @tracer.trace
    def f(x):
        return tracer.exp(x) + tracer.sin(x), x.sum()

    x = np.random.default_rng(0).normal(size=300_000)
    g = f.numba(x)
    same(g(x), eager(f, x))


# Errors.


def test_errors_of_kernels():
    @tracer.trace
    def f(table, i, n, d):
        return table[i], n // d

    g = f.numba(np.zeros((4, 2)), np.zeros(3, np.int64), np.zeros(2, np.int64), np.ones(2, np.int64))

    @njit
    def use(table, i, n, d):
        return g(table, i, n, d)

    table, i, n, d = np.arange(8.0).reshape(4, 2), np.array([0, 3, -1]), np.array([7, 8]), np.array([2, 3])
    for function in (g, use):
        same(function(table, i, n, d), eager(f, table, i, n, d))
        for wrong in ((table, np.array([0, 4, 0]), n, d), (table, i, n, np.array([1, 0]))):
            with pytest.raises((IndexError, RuntimeError)) as expected:
                eager(f, *wrong)
            with pytest.raises(expected.type, match=re.escape(str(expected.value))):
                function(*wrong)
        same(function(table, i, n, d), eager(f, table, i, n, d))  # an error has no lasting effect


def test_an_error_is_caught_in_numba_code():
    @tracer.trace
    def f(table, i):
        return table[i].sum()

    g = f.numba(np.zeros(4), np.zeros(1, np.int64))

    @njit
    def use(i):
        try:
            return g(np.ones(4), i)
        except Exception:
            return -1.0

    assert use(np.array([1])) == 1.0 and use(np.array([5])) == -1.0


def test_mistakes_in_types_and_shapes():
    f = mixed.numba(np.zeros((2, 3), np.float32), np.zeros(3, np.float32), np.zeros((2, 1), bool), np.float32(0))
    good = (np.ones((2, 3), np.float32), np.ones(3, np.float32), np.ones((2, 1), bool), np.float32(2))

    @njit
    def use(x, k, flags, s):
        return f(x, k, flags, s)[0]

    wrong = {
        r"'x' must be an array of float32, shape \(2, 3\), got array\(float64, 2d, C\)": (0, np.ones((2, 3))),
        r"'k' must be an array of float32, shape \(3,\), got array\(float32, 2d, C\)": (1, np.ones((3, 1), np.float32)),
        r"'k' must be an array of float32, shape \(3,\), got int64": (1, 1),
        r"'flags' must be an array of bool, shape \(2, 1\), got array\(int64, 2d, C\)": (2, np.ones((2, 1), int)),
        r"'s' must be a scalar of float32, got complex128": (3, 1j),
        r"'s' must be a scalar of float32, got float64": (3, 1.0),
        r"'s' must be a scalar of float32, got array\(float32, 1d, C\)": (3, np.ones(1, np.float32)),
    }
    for function in (f, use):
        function(*good)
        for message, (i, value) in wrong.items():
            with pytest.raises(TypingError, match=message):
                function(*good[:i], value, *good[i + 1 :])
        with pytest.raises(ValueError, match=re.escape("mixed: argument 'x' must have the shape (2, 3), got (2, 4)")):
            function(np.ones((2, 4), np.float32), *good[1:])
    with pytest.raises(TypeError):
        f(*good[:2])


def refused(error, message, function, *examples, gradient=False, **settings):
    traced = tracer.trace(function)
    with pytest.raises(error, match=message):
        (traced.numba_value_and_grad if gradient else traced.numba)(*examples, **settings)


state, counter = tracer.zeros(3), tracer.zeros(2, dtype=tracer.int64)
sliced = tracer.zeros(4, 3).T
generator = random.Generator(3)
array = np.zeros(3)


def adds_to_state(x):
    state.add_(1)
    return x


def counts(x):
    counter.add_(1)
    return x


def keeps(x, kept=[]):  # noqa: B006
    kept.append(x * 2)
    return x


leaf = tracer.zeros(3, requires_grad=True)


def goes_backward(x):
    (x * leaf).sum().backward()
    return x


def by_a_transform(x):
    return tracer.fft.fft(x).real


def test_complex_intermediates():
    x = np.linspace(0.5, 2, 3)
    f = tracer.trace(lambda x: ((x + 2j) * x / (x - 1j)).abs()).numba(x)
    np.testing.assert_allclose(f(x), np.abs((x + 2j) * x / (x - 1j)))


def test_what_cannot_be_compiled_is_refused():
    x = np.ones(3)
    refused(NotImplementedError, "argument 'x' in place. Return the new value", lambda x: x.add_(1), x)
    refused(NotImplementedError, r"a tensor of shape \[3\] in place", adds_to_state, x)
    refused(NotImplementedError, r"a tensor of shape \[2\] in place", counts, x)
    refused(NotImplementedError, "every call changes what it depends on", keeps, x)
    refused(NotImplementedError, "sets the gradient of a tensor. Use numba_value_and_grad", goes_backward, x)
    refused(NotImplementedError, "computed by NumPy, which needs Python: fft", by_a_transform, x)
    refused(NotImplementedError, "draws random numbers. Draw them in the calling code", lambda x: x + tracer.rand(3), x)
    refused(NotImplementedError, "draws random numbers", lambda x: x + tracer.rand(3, generator=generator), x)
    refused(NotImplementedError, rf"sort.*\({re.escape(__file__)}:\d+\)", lambda x: x.sort().values, x)
    refused(NotImplementedError, "looks at a value", lambda x: x if float(x.sum()) > 0 else -x, x)
    refused(NotImplementedError, "not contiguous. Make it so", lambda x: x + sliced.sum(), x)
    refused(NotImplementedError, "cannot be called from native code", lambda x: x + array, x)
    refused(TypeError, "return a tensor or a tuple of tensors, not a dict", lambda x: {"a": x}, x)
    refused(TypeError, "argument 'x' is a list", lambda x: x[0], [x])
    refused(TypeError, "dtype complex128", lambda x: x, np.ones(3, complex))
    refused(TypeError, "dtype float16", lambda x: x, np.ones(3, np.float16))
    refused(TypeError, "missing a required argument", lambda x, y: x, x)
    refused(ZeroDivisionError, "by zero", lambda x: x / (1 // 0), x)


def test_gradients_that_do_not_exist_are_refused():
    x = np.ones(3)
    refused(TypeError, r"not a float64 tensor of shape \[3\]", lambda x: x * 2, x, gradient=True)
    refused(TypeError, "not a int64 tensor", lambda x: x.long().sum(), x, gradient=True)
    refused(TypeError, "has no gradient", lambda x, n: x.sum() * n, x, 2, gradient=True, argnums=1)
    refused(TypeError, "has no gradient", lambda x: x.sum(), np.ones(3, int), gradient=True)
    refused(TypeError, "int or a tuple of ints", lambda x: x.sum(), x, gradient=True, argnums=[0])
    refused(ValueError, "there are 1 example", lambda x: x.sum(), x, gradient=True, argnums=1)
    refused(ValueError, "different arguments", lambda x: x.sum(), x, gradient=True, argnums=(0, 0))
    refused(ValueError, "at least one", lambda x: x.sum(), x, gradient=True, argnums=())


def test_inside_a_traced_function_it_is_refused():
    @tracer.trace
    def outer(x):
        log_density.numba(np.zeros((2, 3)))
        return x

    with pytest.raises(RuntimeError, match="inside a traced function"):
        outer(tracer.ones(3))
