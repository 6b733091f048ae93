"""Complex numbers and Fourier transforms; gradients recorded from PyTorch 2.13."""

import numpy as np
import pytest

import tracer
from tracer import fft


def leaf(values):
    return tracer.tensor(values, dtype=tracer.complex128, requires_grad=True)


def close(t, expected):
    np.testing.assert_allclose(t.detach().numpy(), expected, atol=1e-12)


def test_parts():
    z = tracer.tensor([1 + 2j, -3.25 - 1j])
    assert z.dtype is tracer.complex64 and z.is_complex()
    assert z.real.tolist() == [1, -3.25] and z.imag.tolist() == [2, -1]
    assert z.conj().tolist() == [1 - 2j, -3.25 + 1j]
    assert z.abs().dtype is tracer.float32
    assert tracer.angle(tracer.tensor([1j, -1 + 0j])).tolist() == pytest.approx([np.pi / 2, np.pi])
    assert tracer.complex(tracer.tensor([1.0]), tracer.tensor([2.0])).tolist() == [1 + 2j]
    assert tracer.view_as_real(z).shape == (2, 2)
    assert tracer.equal(tracer.view_as_complex(tracer.view_as_real(z)), z)
    with pytest.raises(RuntimeError, match="imag is not implemented"):
        tracer.imag(tracer.ones(2))


NAN, INF = float("nan"), float("inf")


def test_infinite_and_nan_parts():
    z = tracer.tensor([1 + 2j, complex(NAN, 1), complex(1, INF), complex(NAN, -INF), 3e38 + 3e38j])
    assert tracer.isinf(z).tolist() == [False, False, True, True, False]
    assert tracer.isfinite(z).tolist() == [True, False, False, False, True]
    assert tracer.isnan(z).tolist() == [False, True, False, True, False]
    largest = tracer.finfo(tracer.float32).max
    assert tracer.nan_to_num(z, nan=5.0, neginf=-2.0).tolist()[1:4] == [5 + 1j, complex(1, largest), 5 - 2j]
    assert tracer.isclose(z, z, equal_nan=True)[:2].all()


REFUSED = """
    z < z; z >= 1; z.max(); z.amin(0); z.argmax(); z.sort(); z.argsort(); z.topk(1); z.median(); z.mode(); z.cummax(0)
    z.kthvalue(1); z.unique(); z.aminmax(); z.msort(); z.round(); z.round(decimals=1); z.floor(); z.ceil(); z.trunc(); z.frac()
    z.fix(); z.sign(); z.relu(); z.clamp(0, 1); z.clip(min=0); z % 2; z // 2; z.fmax(z); z.maximum(z); z.minimum(z); z.erf()
    z.lgamma(); z.digamma(); z.heaviside(z); z.deg2rad(); z.rad2deg(); z.isposinf(); z.isneginf(); z.nansum(); z.logit()
    z.atan2(z); z.hypot(z); z.copysign(z); z.xlogy(z); z.floor_divide(z); z.remainder(z); z.round_(); z.floor_(); z.relu_()
    tracer.searchsorted(z, z); tracer.bucketize(z, z); tracer.softmax(z, 0); tracer.log_softmax(z, 0); z.histc(3)
    tracer.nn.functional.hardshrink(z); tracer.nn.functional.threshold(z, 0, 0); tracer.nn.functional.softplus(z)
"""


@pytest.mark.parametrize("call", [c.strip() for c in REFUSED.replace("\n", ";").split(";") if c.strip()])
def test_what_needs_an_order_is_refused(call):
    z = tracer.tensor([1 + 2j, -3.25 - 1j])
    with pytest.raises((RuntimeError, TypeError, ValueError)):
        eval(call, {"z": z, "tracer": tracer})


def test_promotion():
    z, x = tracer.tensor([1j]), tracer.tensor([2.0], dtype=tracer.float64)
    assert (z + 1).dtype is tracer.complex64
    assert (z * x).dtype is tracer.complex128
    assert (tracer.ones(1) * 2j).dtype is tracer.complex64


def test_print():
    assert repr(tracer.tensor([1 + 2j, -3.25 - 1j])) == "tensor([ 1.0000+2.j, -3.2500-1.j])"
    assert repr(tracer.tensor([1 + 2j], dtype=tracer.complex128)) == "tensor([1.+2.j], dtype=tracer.complex128)"


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda z: (z * z.conj()).real.sum(), [2 + 4j, 6 - 2j]),
        (lambda z: (z**2).abs().sum(), [2 + 4j, 6 - 2j]),
        (lambda z: z.abs().sum(), [1 / 5**0.5 + 2j / 5**0.5, 3 / 10**0.5 - 1j / 10**0.5]),
        (lambda z: (z * (2 - 1j)).imag.sum(), [-1 + 2j, -1 + 2j]),
        (lambda z: z.angle().sum(), [-0.4 + 0.2j, 0.1 + 0.3j]),
        (lambda z: tracer.exp(z).real.sum(), np.conj(np.exp([1 + 2j, 3 - 1j]))),
        (lambda z: (z @ z).real, [2 - 4j, 6 + 2j]),
    ],
)
def test_gradients(function, expected):
    z = leaf([1 + 2j, 3 - 1j])
    function(z).backward()
    close(z.grad, expected)


def test_second_derivatives():
    z = leaf([1 + 2j, 3 - 1j])
    (g,) = tracer.autograd.grad((z * z * z).real.sum(), z, create_graph=True)
    (h,) = tracer.autograd.grad(g.real.sum(), z)
    close(g, 3 * np.conj(np.array([1 + 2j, 3 - 1j])) ** 2)
    close(h, 6 * np.conj(np.array([1 + 2j, 3 - 1j])))


def test_a_complex_loss_is_refused():
    with pytest.raises(RuntimeError, match="real scalar outputs"):
        leaf([1j]).sum().backward()


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ["fft", "ifft", "fftn", "ifftn", "fft2", "hfft", "irfft", "irfftn"])
def test_transforms_agree_with_numpy(name, norm):
    x = np.random.default_rng(0).standard_normal((3, 4, 6)) + 1j * np.random.default_rng(1).standard_normal((3, 4, 6))
    close(getattr(fft, name)(tracer.tensor(x), norm=norm), getattr(np.fft, name)(x, norm=norm))


@pytest.mark.parametrize("name", ["rfft", "rfftn", "rfft2", "ihfft"])
def test_transforms_of_real_numbers_agree_with_numpy(name):
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    close(getattr(fft, name)(tracer.tensor(x)), getattr(np.fft, name)(x))
    if name.endswith("fft"):
        close(getattr(fft, name)(tracer.tensor(x), 8, dim=1), getattr(np.fft, name)(x, 8, axis=1))


def test_round_trip_and_gradient():
    x = tracer.tensor(np.random.default_rng(0).standard_normal(7)).requires_grad_()
    close(fft.irfft(fft.rfft(x), 7), x.detach().numpy())
    fft.rfft(x).abs().square().sum().backward()
    # Parseval, with the frequencies that occur only once counted once.
    total = np.fft.rfft(x.detach().numpy())
    close(x.grad, np.fft.irfft(np.concatenate([total[:1] * 2, total[1:]]), 7) * 7)


def test_frequencies():
    assert fft.fftfreq(5).tolist() == pytest.approx(np.fft.fftfreq(5).tolist())
    assert fft.rfftfreq(6, 0.5).tolist() == pytest.approx(np.fft.rfftfreq(6, 0.5).tolist())
    x = tracer.arange(7)
    assert fft.fftshift(x).tolist() == np.fft.fftshift(np.arange(7)).tolist()
    assert fft.ifftshift(fft.fftshift(x)).tolist() == x.tolist()


def test_traced():
    f = tracer.trace(lambda x: fft.irfft(fft.rfft(x) * 2j).sum() + (x * 3).sum())
    for seed in range(3):
        x = tracer.tensor(np.random.default_rng(seed).standard_normal(8)).requires_grad_()
        y = f(x)
        expected = np.fft.irfft(np.fft.rfft(x.detach().numpy()) * 2j).sum() + (x.detach().numpy() * 3).sum()
        assert y.item() == pytest.approx(expected)
        y.backward()
    assert len(f.graphs()) == 1


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_eigenvalues_and_their_gradients(kind):
    """A V = V diag(w); gradients by central differences of phase-independent functions."""
    a = np.random.default_rng(0).standard_normal((2, 4, 4))
    if kind == "complex":
        a = a + 1j * np.random.default_rng(1).standard_normal((2, 4, 4))

    def loss(x):
        w, v = tracer.linalg.eig(x)
        return (w.real**2 + w.imag.cos()).sum() + (v.abs() ** 2 * w.real[..., None, :]).sum()

    x = tracer.tensor(a, requires_grad=True)
    w, v = (t.detach().numpy() for t in tracer.linalg.eig(x))
    np.testing.assert_allclose(a @ v, v * w[..., None, :], atol=1e-12)
    alone = tracer.linalg.eigvals(x).detach().numpy()
    np.testing.assert_allclose(np.sort_complex(alone[0]), np.sort_complex(w[0]))
    (g,) = tracer.autograd.grad(loss(x), x)
    assert g.dtype is x.dtype
    steps = (1e-6, 1e-6j) if kind == "complex" else (1e-6,)
    for index in [(0, 0, 0), (0, 2, 1), (1, 3, 3)]:
        for step in steps:
            up, down = a.copy(), a.copy()
            up[index] += step
            down[index] -= step
            slope = (loss(tracer.tensor(up)) - loss(tracer.tensor(down))).item() / 2e-6
            part = g.numpy()[index]
            assert slope == pytest.approx(float(np.imag(part) if step == 1e-6j else np.real(part)), rel=1e-5, abs=1e-6)


def test_data_of_a_conjugated_view_is_exchanged_like_any():
    z = tracer.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    y, part = (z * 2).conj(), tracer.tensor([1 + 2j]).conj().imag
    y.data = tracer.tensor([5 + 5j, 1 + 1j])
    part.data = tracer.zeros(1)
    assert y.tolist() == [5 + 5j, 1 + 1j] and (y * 1).tolist() == y.tolist() and not y.is_conj()
    assert part.tolist() == [0.0] and not part.is_neg()
    y.real.sum().backward()
    assert z.grad.tolist() == [2, 2]


@pytest.mark.parametrize("weights", [{"fweights": [1, 2, 1]}, {"aweights": [0.5, 1.0, 2.0]}])
def test_weighted_covariances_are_numpys(weights):
    x = np.array([[1 + 1j, 2.0, 0.5j], [0.5, 1j, 1.0]])
    close(tracer.cov(tracer.tensor(x), **{k: tracer.tensor(v) for k, v in weights.items()}), np.cov(x, **weights))
