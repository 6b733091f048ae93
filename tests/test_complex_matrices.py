"""Linear algebra of complex matrices: the defining equations of each result, and gradients by central differences."""

import numpy as np
import pytest

import tracer

L = tracer.linalg


def matrix(*shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def definite(a):
    return a @ a.mH + 2 * tracer.eye(a.shape[-1], dtype=a.dtype)


def upper_factor(a):
    return L.cholesky(definite(a), upper=True)


# Real functions of a complex matrix that do not depend on undetermined phases.
LOSSES = {
    "cholesky": lambda a: (L.cholesky(definite(a)) * WEIGHTS).real.sum(),
    "cholesky upper": lambda a: (upper_factor(a) * WEIGHTS).real.sum(),
    "cholesky_solve": lambda a: (tracer.cholesky_solve(a, L.cholesky(definite(a))) * WEIGHTS).real.sum(),
    "cholesky_solve upper": lambda a: (tracer.cholesky_solve(a, upper_factor(a), upper=True) * WEIGHTS).imag.sum(),
    "cholesky_inverse": lambda a: (tracer.cholesky_inverse(L.cholesky(definite(a))) * WEIGHTS).real.sum(),
    "eigvalsh": lambda a: (L.eigvalsh(a + a.mH) * tracer.arange(1.0, 4.0)).sum(),
    "eigh": lambda a: (L.eigh(a + a.mH)[1].abs() * WEIGHTS.real).sum(),
    "svdvals": lambda a: (L.svdvals(a) * tracer.arange(1.0, 4.0)).sum(),
    "svd": lambda a: svd_loss(a, 3),
    "svd wide": lambda a: svd_loss(a[..., :2, :], 2),
    "svd tall": lambda a: svd_loss(a[..., :2], 2),
    "qr": lambda a: sum((part * WEIGHTS).real.sum() for part in L.qr(a)),
    "qr wide": lambda a: (L.qr(a[..., :2, :])[1] * WEIGHTS[..., :2, :]).real.sum(),
    "qr tall": lambda a: (L.qr(a[..., :2])[0] * WEIGHTS[..., :2]).real.sum(),
    "pinv": lambda a: (L.pinv(a) * WEIGHTS).real.sum(),
    "pinv tall": lambda a: (L.pinv(a[..., :2]).mT * WEIGHTS[..., :2]).real.sum(),
    "pinv wide": lambda a: (L.pinv(a[..., :2, :]).mT * WEIGHTS[..., :2, :]).imag.sum(),
    "pinv hermitian": lambda a: (L.pinv(a + a.mH, hermitian=True) * WEIGHTS).real.sum(),
    "lstsq": lambda a: (L.lstsq(a[..., :2], a).solution * WEIGHTS[..., :2, :]).real.sum(),
    "lu": lambda a: sum((part * WEIGHTS).real.sum() for part in L.lu(a)[1:]),
    "lu tall": lambda a: (L.lu(a[..., :2])[1] * WEIGHTS[..., :2]).real.sum(),
    "lu wide": lambda a: (L.lu(a[..., :2, :])[2] * WEIGHTS[..., :2, :]).real.sum(),
    "slogdet": lambda a: L.slogdet(a).logabsdet.sum() + (L.slogdet(a).sign * (1 + 2j)).real.sum(),
    "logdet": lambda a: (tracer.logdet(a) * (1 + 2j)).real.sum(),
    "householder_product": lambda a: (L.householder_product(a, a[..., 0] * 0.3) * WEIGHTS).real.sum(),
    "ormqr": lambda a: sum(
        (tracer.ormqr(a, a[..., 0] * 0.3, a, left=left, transpose=adjoint) * WEIGHTS).real.sum()
        for left in (True, False)
        for adjoint in (True, False)
    ),
}  # fmt: skip


WEIGHTS = tracer.tensor(matrix(3, 3, seed=5))


def svd_loss(a, k):
    """The factors are determined up to the phases of pairs of vectors."""
    u, s, vh = L.svd(a, full_matrices=False)
    return ((u * s.exp()) @ vh * WEIGHTS[: a.shape[0], : a.shape[1]]).real.sum() + (u.abs()[..., :k] ** 2 * s).sum()


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name, traced):
    a = matrix(3, 3)
    loss = tracer.trace(LOSSES[name]) if traced else LOSSES[name]
    for _ in range(1 + traced):
        x = tracer.tensor(a, requires_grad=True)
        (g,) = tracer.autograd.grad(loss(x), x)
    for index in [(0, 0), (1, 0), (0, 2), (2, 1), (2, 2)]:
        for step in (1e-6, 1e-6j):
            up, down = a.copy(), a.copy()
            up[index] += step
            down[index] -= step
            slope = (LOSSES[name](tracer.tensor(up)).item() - LOSSES[name](tracer.tensor(down)).item()) / 2e-6
            found = g[index].item()
            assert (found.imag if isinstance(step, complex) else found.real) == pytest.approx(slope, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_factors_make_up_the_matrix(dtype):
    a = tracer.tensor(matrix(2, 4, 3), dtype=getattr(tracer, dtype))
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype == "complex64" else 1e-12}
    u, s, v = a.svd()
    p, lower, upper = L.lu(a)
    packed, tau = tracer.geqrf(a)
    q, r = L.householder_product(packed, tau), packed.triu()[:, :3]
    whole = tracer.ormqr(packed, tau, tracer.nn.functional.pad(r, (0, 0, 0, 1)))
    for product in ((u * s[:, None]) @ v.mH, p @ lower @ upper, q @ r, whole):
        assert tracer.allclose(product, a, **tolerance)
    square = a[:, :3]
    sign, size = L.slogdet(square)
    assert tracer.allclose(sign * size.exp(), L.det(square), **tolerance) and size.dtype is a.dtype.to_real()
    assert tracer.allclose(tracer.logdet(square).exp(), L.det(square), **tolerance)
    big = definite(square)
    factor = L.cholesky(big, upper=True)
    assert tracer.allclose(factor.mH @ factor, big, **tolerance)
    one = tracer.eye(3, dtype=a.dtype).expand(2, 3, 3)
    assert tracer.allclose(tracer.cholesky_inverse(factor, upper=True) @ big, one, **tolerance)
    assert tracer.allclose(L.pinv(a) @ a, one, **tolerance)


TIES = [[[1.0, 2.0], [-1.0, 3.0]], [[0.5, 1.0, 0.0], [0.5, 0.0, 1.0], [-0.5, 1.0, 1.0]], [[1 + 1j, 1], [2, 1j]]]


@pytest.mark.parametrize("rows", TIES)
def test_the_first_of_equal_pivots_is_taken(rows):
    """For complex numbers, equal in |re| + |im|."""
    _, pivots = L.lu_factor(tracer.tensor(rows))
    assert pivots[0].item() == 1


def test_results_that_are_conjugated_views_keep_their_elements():
    a = tracer.tensor(matrix(3, 3))
    assert tracer.allclose(tracer.tensor(a.svd().V.numpy()), L.svd(a).Vh.mH)
    assert tracer.allclose(tracer.tensor(definite(a).cholesky(upper=True).numpy()), L.cholesky(definite(a)).mH)


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_a_bool_in_the_place_of_axes_says_whether_to_correct(name):
    x = tracer.tensor([1.0, 2.0, 4.0])
    for unbiased in (False, True):
        found, expected = (getattr(tracer, name)(x, *args) for args in [(unbiased,), (None, unbiased)])
        assert (found if isinstance(found, tuple) else (found,)) == (expected if isinstance(expected, tuple) else (expected,))


def test_log_of_a_sum_of_one_complex_number_has_a_phase_in_the_principal_range():
    assert tracer.logsumexp(tracer.tensor(1 + 7j), 0).item() == pytest.approx(1 + (7 - 2 * np.pi) * 1j)


def test_the_derivative_of_polar_at_size_zero_is_zero():
    r = tracer.tensor([0.0, 2.0], requires_grad=True)
    tracer.polar(r, tracer.tensor([1.0, 1.0])).real.sum().backward()
    assert r.grad.tolist() == pytest.approx([0.0, np.cos(1.0)])


def test_inverse_spectra_of_both_sides():
    """Real signals use half of the frequencies; complex ones use all."""
    x = tracer.tensor(np.random.default_rng(0).standard_normal(32))
    window = tracer.hann_window(8, dtype=tracer.float64)
    both = tracer.stft(x, 8, window=window, onesided=False, return_complex=True)
    for complex_ in (False, True):
        found = tracer.istft(both, 8, window=window, onesided=False, return_complex=complex_)
        assert found.is_complex() is complex_ and tracer.allclose(found.real, x)


@pytest.mark.parametrize("length", [8, 10, 12])
def test_spectra_of_windows_that_are_as_many_as_they_are_long(length):
    x = np.random.default_rng(0).standard_normal(length)
    found = tracer.stft(tracer.tensor(x), 4, hop_length=2, center=False, window=tracer.ones(4), return_complex=True)
    np.testing.assert_allclose(found.numpy(), np.stack([np.fft.rfft(x[k : k + 4]) for k in range(0, length - 3, 2)], 1))


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
def test_running_logarithms_of_sums(traced):
    """Their exponentials are the running sums, however large; the derivative is g times the conjugate of exp(x - y), summed."""
    f = tracer.trace(lambda x: tracer.logcumsumexp(x, 1)) if traced else lambda x: tracer.logcumsumexp(x, 1)
    a = matrix(2, 5)
    for shift in (0.0, 1e4):
        for _ in range(1 + traced):
            x = tracer.tensor(a + shift, requires_grad=True)
            y = f(x)
            (g,) = tracer.autograd.grad(y, x, tracer.ones_like(y))
        sums = np.cumsum(np.exp(a), 1)
        np.testing.assert_allclose(np.exp(y.detach().numpy() - shift), sums, rtol=1e-9)
        expected = np.exp(a) * np.cumsum((1 / sums)[:, ::-1], 1)[:, ::-1]
        np.testing.assert_allclose(g.numpy(), expected.conj(), rtol=1e-9)
    assert f(tracer.tensor([[-np.inf + 0j, -np.inf, 1 + 2j]]))[0, 2].item() == 1 + 2j
