"""NumPy's functions on tensors: NumPy's values, with NumPy's argument names, and gradients where they exist."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tracer

A = np.array([[1.23, -2.3, 0.6], [3.1, 4.4, -1.7]])
S = np.array([[4.0, 1.0], [1.0, 3.0]])
V = np.array([3.0, 1.0, 2.0])
W = np.array([0.5, -1.0, 2.0])
N = np.array([[1.0, np.nan, 2.0], [0.5, 3.0, np.nan]])

CALLS: dict[str, list[str]] = {
    "A": """
        np.maximum(x, 0) | np.maximum(0, x) | np.minimum(x, W) | np.fmax(x, 0.25) | np.arctan2(x, 1.0) | np.arctan2(1.0, x)
        np.hypot(x, 2.0) | np.logaddexp(x, 0) | np.copysign(x, -1.0) | np.fmod(x, 2) | np.mod(x, 2) | np.remainder(x, 2)
        np.floor_divide(x, 2) | np.power(x, 2) | np.float_power(x, 2) | np.square(x) | np.abs(x) | np.absolute(x)
        np.fabs(x) | np.sign(x) | np.negative(x) | np.positive(x) | np.reciprocal(x) | np.exp(x) | np.exp2(x) | np.expm1(x)
        np.tanh(x) | np.sin(x) | np.cos(x) | np.sinh(x) | np.cosh(x) | np.arctan(x) | np.arcsinh(x) | np.degrees(x)
        np.radians(x) | np.deg2rad(x) | np.rad2deg(x) | np.rint(x) | np.floor(x) | np.ceil(x) | np.trunc(x) | np.fix(x)
        np.isnan(x) | np.isfinite(x) | np.signbit(x) | np.logical_and(x, 1) | np.logical_not(x) | np.greater(x, 0)
        np.equal(x, 1.0) | np.add(x, 1) | np.add(1, x) | np.subtract(1.5, x) | np.true_divide(x, 4) | np.divide(1, x)
        np.heaviside(x, 0.5) | np.nextafter(x, 1.0) | np.ldexp(x, 2) | np.sinc(x) | np.i0(x) | np.cbrt(x)
        np.sqrt(np.abs(x)) | np.divmod(x, 2)[0] | np.divmod(x, 2)[1] | np.modf(x)[0] | np.modf(x)[1]
        np.add(x, 1, dtype=np.float64) | np.gcd(np.int64(4), 6) + x | np.sum(x) | np.sum(x, axis=0)
        np.sum(x, 1, keepdims=True) | np.sum(x, axis=(0, 1)) | np.prod(x) | np.prod(x, axis=1) | np.prod(x, axis=(0, 1))
        np.mean(x) | np.mean(x, axis=1) | np.std(x) | np.std(x, axis=0) | np.std(x, ddof=1) | np.var(x)
        np.var(x, axis=1, ddof=1, keepdims=True) | np.max(x) | np.max(x, axis=0) | np.amax(x, 1) | np.min(x, axis=1)
        np.ptp(x) | np.ptp(x, axis=1) | np.median(x) | np.median(x, axis=0) | np.median(x, axis=1, keepdims=True)
        np.percentile(x, 30) | np.percentile(x, [25, 75], axis=1) | np.quantile(x, 0.3, axis=0) | np.quantile(x, [0.1, 0.9])
        np.average(x) | np.average(x, axis=1, weights=np.abs(W)) | np.argmax(x) | np.argmax(x, axis=1) | np.argmin(x, 0)
        np.cumsum(x) | np.cumsum(x, axis=1) | np.cumprod(x, 0) | np.cumprod(x) | np.cumulative_sum(x, axis=1)
        np.count_nonzero(x) | np.count_nonzero(x, axis=0) | np.all(x) | np.all(x, axis=1) | np.any(x, axis=0, keepdims=True)
        np.reshape(x, (3, 2)) | np.reshape(x, -1) | np.ravel(x) | np.transpose(x) | np.transpose(x, (1, 0))
        np.swapaxes(x, 0, 1) | np.moveaxis(x, 0, 1) | np.moveaxis(x, source=0, destination=1) | np.rollaxis(x, 1)
        np.expand_dims(x, 0) | np.expand_dims(x, (0, 2)) | np.expand_dims(x, axis=-1) | np.squeeze(x[None])
        np.squeeze(x[:, None], axis=1) | np.broadcast_to(x, (2, 2, 3)) | np.broadcast_arrays(x, W)[1]
        np.concatenate([x, x]) | np.concatenate((x, x), axis=1) | np.concatenate([x, x], axis=None) | np.concatenate([x, A])
        np.stack([x, x]) | np.stack([x, x], axis=2) | np.vstack([x, x]) | np.hstack([x, x]) | np.dstack([x, x])
        np.column_stack([x, x]) | np.append(x, W) | np.append(x, x, axis=0) | np.split(x, 3, axis=1)[1]
        np.split(x, [1], axis=1)[1] | np.array_split(x, 2, axis=1)[0] | np.hsplit(x, 3)[2] | np.vsplit(x, 2)[0]
        np.tile(x, 2) | np.tile(x, (2, 1)) | np.repeat(x, 2) | np.repeat(x, 2, axis=0) | np.repeat(x, [1, 2, 3], axis=1)
        np.flip(x) | np.flip(x, 0) | np.flip(x, axis=(0, 1)) | np.fliplr(x) | np.flipud(x) | np.roll(x, 1)
        np.roll(x, 1, axis=1) | np.roll(x, (1, 2), axis=(0, 1)) | np.rot90(x) | np.rot90(x, k=2) | np.atleast_1d(x)
        np.atleast_2d(x) | np.atleast_3d(x) | np.pad(x, 1) | np.pad(x, ((1, 0), (0, 2)))
        np.pad(x, (1, 2), constant_values=7.0) | np.pad(x, 1, mode="edge") | np.pad(x, 1, mode="reflect")
        np.pad(x, 1, mode="symmetric") | np.pad(x, 1, mode="wrap") | np.pad(x, [(0, 0), (2, 1)], "edge") | np.diagonal(x)
        np.diagonal(x, 1) | np.diagonal(x, offset=-1, axis1=1, axis2=0) | np.trace(x) | np.trace(x, offset=1) | np.diag(x)
        np.diag(x, k=1) | np.diagflat(x) | np.diagflat(x, k=1) | np.tril(x) | np.tril(x, k=-1) | np.triu(x, 1)
        np.triu(x, k=1) | np.dot(x, W) | np.dot(x, x.T) | np.dot(x, 2.0) | np.matmul(x, W) | np.inner(x, W) | np.inner(x, x)
        np.vdot(x, x) | np.outer(x, W) | np.tensordot(x, x, axes=2) | np.tensordot(x, x, axes=([1], [1]))
        np.einsum("ij,ij->i", x, x) | np.kron(x, x) | np.cross(x, W) | np.cross(x, x[::1], axis=1) | np.clip(x, 0, 1)
        np.clip(x, a_min=0, a_max=3.5) | np.clip(x, None, 1) | np.round(x, 1) | np.around(x) | np.round(x, decimals=1)
        np.where(x > 0, x, 0) | np.where(x > 0, 1.0, x) | np.where(x > 0)[1] | np.nan_to_num(x) | np.diff(x)
        np.diff(x, axis=0) | np.diff(x, n=2) | np.gradient(x, axis=1) | np.gradient(x)[0] | np.ediff1d(x) | np.trapezoid(x)
        np.trapezoid(x, dx=0.5, axis=0) | np.sort(x) | np.sort(x, axis=0) | np.sort(x, axis=None) | np.argsort(x)
        np.argsort(x, axis=0) | np.argsort(x, axis=None) | np.take(x, [0, 2], axis=1) | np.take(x, [0, 5])
        np.take(x, 1, axis=0) | np.take_along_axis(x, np.argsort(x, axis=1), axis=1)
        np.compress([True, False, True], x, axis=1) | np.nonzero(x)[0] | np.flatnonzero(x) | np.argwhere(x)
        np.isclose(x, A) | np.isin(x, [1.0, 4.0]) | np.real(x) | np.imag(x) | np.angle(x) | np.copy(x) | np.zeros_like(x)
        np.ones_like(x) | np.full_like(x, 3.0) | np.corrcoef(x) | np.cov(x) | np.add.reduce(x) | np.add.reduce(x, axis=1)
        np.add.reduce(x, axis=None) | np.multiply.reduce(x, axis=0) | np.maximum.reduce(x)
        np.minimum.reduce(x, axis=1, keepdims=True) | np.logical_or.reduce(x > 0) | np.add.accumulate(x)
        np.add.accumulate(x, axis=1) | np.maximum.accumulate(x, 1) | np.multiply.outer(x, W) | np.add.outer(W, x)
        np.subtract.outer(x, x) | np.linalg.norm(x) | np.linalg.norm(x, axis=1) | np.linalg.norm(x, ord=1, axis=0)
        np.linalg.norm(x, "fro") | np.linalg.svd(x)[1] | np.linalg.svd(x, full_matrices=False)[1]
        np.linalg.svd(x, compute_uv=False) | np.linalg.pinv(x) | np.linalg.matrix_rank(x) | np.linalg.qr(x.T)[1]
        np.linalg.qr(x.T, mode="r") | np.linalg.cond(x) | np.linalg.multi_dot([x, x.T, x]) | np.linalg.matrix_norm(x)
        np.linalg.vector_norm(x, axis=1) | np.linalg.svdvals(x) | np.linalg.outer(W, W) + np.sum(x) | np.fft.fft(x).real
        np.fft.fft(x, axis=0).imag | np.fft.fft(x, n=4).real | np.fft.rfft(x).real | np.fft.fft2(x).real
        np.fft.fftn(x).real | np.fft.ifft(x).real | np.fft.fftshift(x) | np.fft.fftshift(x, axes=0)
        np.fft.fft(x, norm="ortho").real | np.fft.irfft(np.fft.rfft(x), n=3) | np.permute_dims(x, (1, 0))
        np.matrix_transpose(x) | np.unstack(x)[1]
    """,
    "S": """
        np.linalg.inv(x) | np.linalg.det(x) | np.linalg.slogdet(x)[1] | np.linalg.solve(x, V[:2]) | np.linalg.solve(x, x)
        np.linalg.eigvalsh(x) | np.linalg.eigh(x)[0] | np.linalg.cholesky(x) | np.linalg.matrix_power(x, 3)
        np.linalg.cond(x) | np.linalg.trace(x) | np.linalg.diagonal(x) | np.linalg.matrix_rank(x)
        np.linalg.eigvals(x).real
    """,
    "V": """
        np.searchsorted(np.sort(x), [1.5, 2.0]) | np.searchsorted(np.sort(x), 2.0, side="right")
        np.digitize(x, np.array([1.5, 2.5])) | np.interp(x, np.array([0.0, 2.5, 4.0]), np.array([1.0, 5.0, 2.0]))
        np.interp([0.5, 9.0], [0.0, 1.0, 2.0], x) | np.convolve(x, W) | np.convolve(x, W, mode="same")
        np.convolve(x, W, "valid") | np.correlate(x, W) | np.correlate(x, W, "full") | np.unique(x) | np.vander(x)
        np.vander(x, 2) | np.meshgrid(x, W)[0] | np.meshgrid(x, W, indexing="ij")[1] | np.dot(x, W) | np.vdot(x, W)
        np.inner(x, W) | np.outer(x, W) | np.cross(x, W) | np.diag(x) | np.diag(x, k=-1) | np.ediff1d(x)
        np.average(x, weights=[1.0, 2.0, 3.0]) | np.gradient(x) | np.gradient(x, 0.5) | np.flip(x) | np.atleast_2d(x)
        np.bincount(np.int64([1, 2])) + x | np.column_stack([x, x]) | np.tile(x, (2, 2)) | np.linalg.norm(x)
        np.linalg.norm(x, 1) | np.linalg.norm(x, np.inf)
    """,
    "N": """
        np.nansum(x) | np.nanmean(x, axis=0) | np.nanmax(x, axis=1) | np.nanmin(x) | np.nanstd(x)
        np.nanvar(x, axis=1, ddof=1) | np.nanprod(x) | np.nancumsum(x) | np.nan_to_num(x, nan=3.0) | np.isnan(x)
        np.nanvar(x) | np.nanvar(x, dtype=np.float64) | np.nanstd(x, dtype=np.float64)
    """,
}
PAIRS = [
    (which, call.strip()) for which, text in CALLS.items() for line in text.strip().splitlines() for call in line.split("|")
]
# Functions that read one triangle, whose derivative NumPy's values do not determine, or that have none in PyTorch.
UNEVEN = ("np.linalg.eig", "np.linalg.cholesky", "np.linalg.tensorinv", "np.heaviside", "np.unique")


@pytest.mark.parametrize(("which", "call"), PAIRS, ids=lambda p: p)
def test_values_and_gradients_are_numpys(which: str, call: str) -> None:
    value = globals()[which]

    def f(x: Any) -> Any:
        return eval(call, {"np": np, "x": x, "A": A, "W": W, "V": V})

    want = f(value)
    x = tracer.tensor(value, requires_grad=True)
    got = f(x)
    if not isinstance(got, tracer.Tensor):
        assert isinstance(want, (bool, np.bool_, int)) and got == want
        return
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-6, atol=1e-9)
    if not got.requires_grad or call.startswith(UNEVEN):
        return
    weights = np.arange(1.0, 1 + np.size(want)).reshape(np.shape(want))
    (got * tracer.tensor(weights)).sum().backward()
    slope = np.zeros_like(value)
    for i in np.ndindex(value.shape):
        step = np.zeros_like(value)
        step[i] = 1e-6
        slope[i] = ((f(value + step) - f(value - step)) * weights).sum() / 2e-6
    finite = np.isfinite(slope)
    np.testing.assert_allclose(x.grad.numpy()[finite], slope[finite], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("which", "call"), PAIRS, ids=lambda p: p)
def test_complex_operands_are_computed_as_numpy_does_or_refused(which: str, call: str) -> None:
    value = globals()[which]
    z = value + 1j * np.random.default_rng(0).standard_normal(value.shape)

    def f(x: Any) -> Any:
        return eval(call, {"np": np, "x": x, "A": A, "W": W + 1j, "V": V})

    try:
        want = f(z)
    except (TypeError, ValueError, np.exceptions.ComplexWarning):
        return
    try:
        got = f(tracer.tensor(z))
    except RuntimeError as e:
        assert re.search(
            "not implemented for 'ComplexDouble'|to have floating|to have the same dtype|either float or double", str(e)
        )
        return
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6, atol=1e-9)


def test_integers_have_float_means_as_in_numpy() -> None:
    a = np.arange(6).reshape(2, 3)
    for f in (np.mean, np.std, np.var, np.median, np.average):
        np.testing.assert_allclose(f(tracer.tensor(a)).numpy(), f(a))


def test_questions_about_tensors_that_require_gradients() -> None:
    x = tracer.ones(2, 3, requires_grad=True)
    assert (np.ndim(x), np.shape(x), np.size(x), np.size(x, 1), np.iscomplexobj(x), np.isrealobj(x)) == (
        2,
        (2, 3),
        6,
        3,
        False,
        True,
    )
    assert np.result_type(x, np.float64) == np.float64 and np.can_cast(np.float32, np.float64)
    assert "1." in np.array_repr(x)
    assert np.allclose(x, 1.0) and np.array_equal(x, x)


def test_the_graph_is_never_lost_silently() -> None:
    """Functions without an equivalent refuse tensors that require gradients, and return tensors for others."""
    x = tracer.tensor([3.0, 1.0, 2.0], dtype=tracer.float64)
    for f in (
        np.sort_complex,
        lambda a: np.partition(a, 1),
        np.unwrap,
        lambda a: np.polyval(a, 2.0),
        lambda a: np.hanning(3) @ a,
    ):
        found = f(x)
        assert isinstance(found, tracer.Tensor)
        np.testing.assert_allclose(found.numpy(), f(x.numpy()))
    y = x.clone().requires_grad_()
    for f in (
        np.sort_complex,
        lambda a: np.partition(a, 1),
        np.unwrap,
        lambda a: np.add.reduceat(a, [0, 1]),
    ):
        with pytest.raises(RuntimeError, match="requires grad"):
            f(y)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda x: np.sum(x, where=np.array([True, False, True])), "where"),
        (lambda x: np.sum(x, initial=2.0), "initial"),
        (lambda x: np.mean(x, out=np.zeros(())), "out"),
        (lambda x: np.add(x, x, where=np.array([True, False, True])), "where"),
        (lambda x: np.cumsum(x, out=np.zeros(3)), "out"),
        (lambda x: np.std(x, mean=2.0), "mean"),
    ],
)
def test_arguments_without_an_equivalent_are_refused_by_name(call: Any, word: str) -> None:
    with pytest.raises(TypeError, match=f"argument '{word}'"):
        call(tracer.tensor([1.0, 2.0, 3.0]))


def test_ufuncs_write_into_tensors() -> None:
    x, out = tracer.tensor([1.0, 2.0]), tracer.zeros(2)
    assert np.exp(x, out=out) is out and out[0].item() == pytest.approx(np.e)
    np.add.at(x, [0, 0], 5.0)
    np.subtract.at(x, np.array([1]), np.array([1.0], np.float32))
    assert x.tolist() == [11.0, 1.0]


def test_numpy_functions_are_traced() -> None:
    @tracer.trace
    def f(x: tracer.Tensor) -> tracer.Tensor:
        return np.sum(np.maximum(np.dot(x, W), 0.0)) + np.std(x)

    for k in (1.0, 1.0, 1.0, 2.0):
        x = tracer.tensor(A * k, requires_grad=True)
        np.testing.assert_allclose(f(x).detach().numpy(), np.maximum(A * k @ W, 0).sum() + np.std(A * k))
