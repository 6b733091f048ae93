"""Complex arithmetic in compiled programs: pairs of real numbers in fused kernels."""

import numpy as np
import pytest

import tracer
from tracer import nn, optim
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.passes.pairs import complex_as_pairs


def assert_close(a, b, **tolerance):
    if isinstance(b, tuple):
        for x, y in zip(a, b, strict=True):
            assert_close(x, y, **tolerance)
    else:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), **{"rtol": 1e-12, "atol": 1e-12, **tolerance})


c64, c128 = tracer.complex64, tracer.complex128


def numbers(*shape, dtype=c128, seed=0):
    rng = np.random.default_rng(seed)
    return tracer.from_numpy(np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).to(dtype)


FUNCTIONS = {
    "product": lambda x, y: x * y,
    "quotient": lambda x, y: x / y,
    "quotient by zero": lambda x, y: x / (y * 0),
    "polynomial": lambda x, y: (x * x + 2 * y - 1j * x).conj() * 0.5,
    "power": lambda x, y: x**2 + y**3,
    "reciprocal": lambda x, y: x.reciprocal(),
    "abs": lambda x, y: (x * y).abs(),
    "abs of large and small ones": lambda x, y: tracer.cat([(x * 1e30).abs(), (y * 1e-30).abs()]),
    "angle": lambda x, y: (x + y).angle(),
    "exp": lambda x, y: (x * 0.1).exp() * y,
    "real and imag": lambda x, y: (x * y).real + y.imag,
    "sum": lambda x, y: (x * y).sum(0),
    "sum of all": lambda x, y: (x * y.conj()).sum(),
    "matmul": lambda x, y: x @ y.T,
    "matmul with conjugates": lambda x, y: x @ y.mH,
    "matmul of batches": lambda x, y: x.reshape(2, 2, 4) @ y.reshape(2, 4, 2),
    "equal": lambda x, y: x == tracer.where(x.real > 0, x, y),
    "where": lambda x, y: tracer.where(x.real > 0, x, y),
    "cat": lambda x, y: tracer.cat([x, y * 2], 1),
    "permuted and sliced": lambda x, y: (x.T * 2).T[1:],
    "flipped": lambda x, y: (x * y).flip(1),
    "reshaped": lambda x, y: x.reshape(-1) * 1j,
    "indexed": lambda x, y: x[[1, 0, 2]] * y[:3],
    "padded": lambda x, y: nn.functional.pad(x * y, (1, 2), value=2.0),
    "cast": lambda x, y: (x * y).to(c64),
    "cast to real": lambda x, y: tracer.complex((x * y).real, y.imag).real,
    "of parts": lambda x, y: tracer.complex(x.real, y.real),
    "view as real": lambda x, y: tracer.view_as_real(x * y),
    "view as complex": lambda x, y: tracer.view_as_complex(tracer.stack([x.real, y.real], -1)) * x,
    "constant": lambda x, y: x + tracer.full((4,), 1j) * tracer.tensor([1j, 2, 3, 4]).to(x.dtype),
    "transform": lambda x, y: tracer.fft.fft(x * 2) * y,
    "transforms in a row": lambda x, y: tracer.fft.ifft(tracer.fft.fft(x) * tracer.fft.fft(y)),
    "not a kernel": lambda x, y: (x * y).sqrt() * x.log(),
    "arguments": lambda x, y: (x, y, x.T),
    "isnan": lambda x, y: tracer.isnan(x / (x * 0)),
}


@pytest.mark.parametrize("dtype", [c64, c128], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name, dtype):
    x, y = numbers(4, 4, dtype=dtype), numbers(4, 4, dtype=dtype, seed=1)
    f = tracer.trace(FUNCTIONS[name])
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name](x, y)
    for _ in range(3):
        found = f(x, y)
    assert f.cache_info().eager == 0
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype is c64 else {"rtol": 1e-12, "atol": 1e-12}
    assert_close(found, expected, **tolerance)


@pytest.mark.parametrize("dtype", [c64, c128], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name, dtype):
    def gradients(x, y):
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        out = FUNCTIONS[name](x, y)
        parts = [t for t in (out if isinstance(out, tuple) else (out,)) if t.dtype.is_floating_point or t.dtype.is_complex]
        if not parts or name in ("quotient by zero", "isnan", "abs of large and small ones"):
            return ()
        loss = sum((tracer.view_as_real(t) if t.is_complex() else t).sin().sum() for t in parts)
        return tracer.autograd.grad(loss, (x, y), allow_unused=True)

    x, y = numbers(4, 4, dtype=dtype), numbers(4, 4, dtype=dtype, seed=1)
    f = tracer.trace(gradients)
    expected = gradients(x, y)
    for _ in range(3):
        found = f(x, y)
    assert f.cache_info().eager == 0
    for a, b in zip(found, expected, strict=True):
        assert (a is None) is (b is None)
        if a is not None:
            tolerance = 2e-4 if dtype is c64 else 1e-6 if name == "cast" else 1e-11
            assert_close(a, b, rtol=tolerance, atol=tolerance)


SHAPES = [(0,), (), (1,), (2, 0, 3), (1, 1)]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((n, s) for n in ("product", "abs", "real and imag", "view as real", "of parts", "where") for s in SHAPES),
        *(("transform", s) for s in SHAPES if s and 0 not in s),
    ],
)
def test_shapes(name, shape):
    x, y = numbers(*shape), numbers(*shape, seed=1)
    f = tracer.trace(lambda x, y: (FUNCTIONS[name](x, y), tracer.ones_like(x)))
    for _ in range(3):
        assert_close(f(x, y), (FUNCTIONS[name](x, y), tracer.ones_like(x)))
    assert f.cache_info().eager == 0


def test_parameters_change_in_place():
    def run(trace):
        w = numbers(4, 3).requires_grad_()
        optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
        x, target = numbers(5, 4, seed=1), numbers(5, 3, seed=2)

        @trace
        def step():
            optimizer.zero_grad()
            loss = (x @ w - target).abs().square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return [step().item() for _ in range(6)], w.detach()

    losses, w = run(tracer.trace)
    expected, v = run(lambda f: f)
    assert losses == pytest.approx(expected, rel=1e-9)
    assert_close(w, v, rtol=1e-9, atol=1e-9)


def test_arrays_change_in_place():
    def change(x, y):
        x.mul_(y)
        x[1:, 0] = y[1:, 1] * 2
        return x.sum()

    f = tracer.trace(change)
    for k in range(4):
        x, y = numbers(4, 4, seed=k), numbers(4, 4, seed=9)
        z = x.clone()
        found, expected = f(x, y), change(z, y)
        assert_close(found, expected)
        assert_close(x, z)


def test_one_kernel_reads_and_writes_both_parts():
    f = tracer.trace(lambda x, y: (x * y + 1j).conj() * 0.5)
    for _ in range(2):
        f(numbers(8, 8), numbers(8, 8))
    fused = pipeline.run(f.graphs()[0], pipeline.COMPILE)
    names = [op.primitive.name for op in fused.ops]
    assert names.count("fusion") == 1
    assert set(names) <= {"fusion", "view_as_real", "view_as_complex", "blank"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_pass_keeps_values(name):
    f = tracer.trace(FUNCTIONS[name])
    x, y = numbers(4, 4), numbers(4, 4, seed=1)
    for _ in range(2):
        f(x, y)
    graph = f.graphs()[0]
    rng = np.random.default_rng(2)
    inputs = [rng.standard_normal((*v.shape, 2)).view(complex)[..., 0].astype(v.dtype.numpy) for v in graph.inputs]
    for a, b in zip(evaluate(complex_as_pairs(graph), *inputs), evaluate(graph, *inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_extreme_quotients_and_sizes():
    big, tiny = 1e300, 1e-300
    x = tracer.tensor(
        [complex(big, big), complex(tiny, tiny), complex(0, 0), complex(np.inf, 1), complex(np.nan, 1), 3 + 4j], dtype=c128
    )
    y = tracer.tensor([complex(big, 1), complex(tiny, -tiny), complex(1, 0), complex(1, 1), complex(1, 1), 1j], dtype=c128)
    f = tracer.trace(lambda x, y: (x / y, x.abs(), y.abs()))
    for _ in range(2):
        quotient, size, other = f(x, y)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(quotient.numpy(), x.numpy() / y.numpy(), rtol=1e-13)
        np.testing.assert_allclose(size.numpy(), np.abs(x.numpy()), rtol=1e-14)
        np.testing.assert_allclose(other.numpy(), np.abs(y.numpy()), rtol=1e-14)
