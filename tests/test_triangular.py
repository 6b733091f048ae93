"""Triangular systems and factors of singular matrices; magnitudes of complex numbers, distances, and sampled grids at ties."""

import math

import numpy as np
import pytest

import tracer
import tracer.linalg as L

INF = math.inf


def both(f, *arguments):
    """A function's result, eager and in a replay, which must be equal."""
    eager = f(*arguments)
    traced = tracer.trace(f)
    traced(*arguments)
    again = traced(*arguments)
    assert np.array_equal(eager.numpy(), again.numpy(), equal_nan=True)
    return eager


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.float64, tracer.complex64, tracer.complex128])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("lead", [((), ()), ((2,), (2,)), ((3, 1), (2,)), ((), (2,))])
def test_only_a_triangle_is_read(dtype, upper, left, unit, lead):
    tracer.manual_seed(0)
    a = tracer.randn(*lead[0], 4, 4, dtype=dtype) + 3 * tracer.eye(4, dtype=dtype)
    b = tracer.randn(*lead[1], *((4, 2) if left else (2, 4)), dtype=dtype)
    part = a.triu() if upper else a.tril()
    if unit:
        part = part - tracer.diag_embed(part.diagonal(0, -2, -1)) + tracer.eye(4, dtype=dtype)
    found = L.solve_triangular(a, b, upper=upper, left=left, unitriangular=unit)
    tolerance = 1e-4 if dtype in (tracer.float32, tracer.complex64) else 1e-10
    assert found.dtype is dtype
    assert tracer.allclose(part @ found if left else found @ part, b.expand(found.shape), tolerance, tolerance)


def test_a_zero_on_the_diagonal_divides():
    a, b = tracer.tensor([[2.0, 1.0], [5.0, 0.0]]), tracer.tensor([[1.0], [1.0]])
    assert both(lambda a, b: L.solve_triangular(a, b, upper=True), a, b).tolist() == [[-INF], [INF]]
    assert tracer.triangular_solve(b, a)[0].tolist() == [[-INF], [INF]]
    assert L.solve_triangular(a, b, upper=True, unitriangular=True).tolist() == [[0.0], [1.0]]
    assert L.solve_triangular(a, b, upper=False)[0].item() == 0.5


def test_triangular_systems_refuse_other_shapes():
    a = tracer.eye(3)
    for b, kwargs, message in [
        (tracer.ones(3), {}, "B must have at least 2 dimensions"),
        (tracer.ones(2, 2), {}, r"AX = B \(3x3 and 2x2\)"),
        (tracer.ones(2, 2), {"left": False}, r"XA = B \(3x3 and 2x2\)"),
        (tracer.ones(3, 2, dtype=tracer.float64), {}, "same dtype"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            L.solve_triangular(a, b, upper=True, **kwargs)
    with pytest.raises(RuntimeError, match=r"XA = B \(3x3 and 2x2\)"):
        L.solve(a, tracer.ones(2, 2), left=False)


SINGULAR = [
    [[1.0, 2.0], [2.0, 4.0]],
    [[0.0, 0.0], [0.0, 0.0]],
    [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]],
    [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]],
    [[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]],
    [[1.0, 0.0, 2.0], [2.0, 0.0, 4.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]],
]


@pytest.mark.parametrize("rows", SINGULAR)
def test_factors_of_singular_matrices(rows):
    a = tracer.tensor(rows, dtype=tracer.float64, requires_grad=True)
    P, lower, upper = L.lu(a)
    assert tracer.equal(P @ lower @ upper, a)
    (lower.sum() + upper.sum()).backward()  # infinite or NaN, but no error
    assert a.grad.shape == a.shape


def test_what_does_not_exist_is_told_in_info():
    """A pivot, or a minor, is counted from 1; PyTorch raises only on request."""
    one, singular = tracer.eye(2), tracer.tensor([[1.0, 2.0], [2.0, 4.0]])
    batch = tracer.stack([one, singular])
    inverse, info = L.inv_ex(batch)
    assert info.tolist() == [0, 2] and info.dtype is tracer.int32
    assert inverse[0].tolist() == one.tolist() and inverse[1].tolist() == [[-INF, INF], [INF, -INF]]
    x, info = L.solve_ex(singular, tracer.ones(2))
    assert info.item() == 2 and x.tolist() == [-INF, INF]
    for upper in (False, True):
        factor, info = L.cholesky_ex(batch, upper=upper)
        assert info.tolist() == [0, 2]
        assert factor[1].tolist() == ([[1.0, 2.0], [0.0, 0.0]] if upper else [[1.0, 0.0], [2.0, 0.0]])
    for refuses, message in [
        (lambda: L.cholesky(batch), r"\(Batch element 1\).*leading minor of order 2"),
        (lambda: L.cholesky_ex(batch, check_errors=True), "order 2"),
        (lambda: L.inv_ex(batch, check_errors=True), "singular"),
        (lambda: L.solve_ex(batch, tracer.ones(2, 1), check_errors=True), "singular"),
    ]:
        with pytest.raises(L.LinAlgError, match=message):
            refuses()


def test_the_upper_factor_by_position():
    a = tracer.tensor([[4.0, 2.0], [2.0, 5.0]])
    upper = [[2.0, 1.0], [0.0, 2.0]]
    assert tracer.cholesky(a, True).tolist() == a.cholesky(True).tolist() == tracer.cholesky(a, upper=True).tolist() == upper
    with pytest.raises(TypeError):
        L.cholesky(a, True)


@pytest.mark.parametrize("dtype", [tracer.float64, tracer.complex128])
def test_both_factors_have_one_derivative(dtype):
    tracer.manual_seed(0)
    x, weights = tracer.randn(2, 4, 4, dtype=dtype), tracer.randn(2, 4, 4, dtype=dtype)
    a = (x @ x.mH + tracer.eye(4, dtype=dtype)).detach().requires_grad_()

    def gradient(factor):
        out = (factor * weights).sum()
        return tracer.autograd.grad(out.real if out.is_complex() else out, a)[0]

    assert tracer.allclose(gradient(L.cholesky(a)), gradient(L.cholesky(a, upper=True).mH))


@pytest.mark.parametrize("dtype", [tracer.complex64, tracer.complex128])
def test_equal_sizes_of_complex_numbers_are_equal(dtype):
    re, im = np.meshgrid(np.arange(-40, 41) / 2, np.arange(-40, 41) / 2)
    z = tracer.tensor(re + 1j * im).to(dtype)
    assert np.array_equal(z.abs().numpy(), np.sqrt(re * re + im * im).astype(z.real.numpy().dtype))
    ties = tracer.tensor([-8.5 - 2j, -8 + 3.5j, 1j], dtype=dtype, requires_grad=True)
    ties.abs().amax().backward()
    assert tracer.allclose(ties.grad.abs(), tracer.tensor([0.5, 0.5, 0.0], dtype=ties.grad.real.dtype))
    nan = float("nan")
    extreme = tracer.tensor([3e30 + 4e30j, complex(INF, nan), complex(nan, 1), 0j, 3e-30 + 4e-30j], dtype=dtype)
    expected = [5e30, INF, nan, 0.0, 5e-30]
    assert np.allclose(extreme.abs().numpy(), expected, rtol=1e-6, atol=0, equal_nan=True)
    if dtype is tracer.complex128:
        assert tracer.tensor([3e300 + 4e300j, 3e-300 + 4e-300j], dtype=dtype).abs().tolist() == [5e300, 5e-300]


def test_the_largest_differences_each_have_the_gradient_of_a_distance():
    x = tracer.tensor([[2.0, -2.0, 1.0], [INF, 0.0, 0.0]], requires_grad=True)
    zero = tracer.zeros(1, 3)
    found = both(lambda x: tracer.cdist(x, zero, p=INF), x.detach())
    assert found.tolist() == [[2.0], [INF]]
    tracer.cdist(x, zero, p=INF)[0].sum().backward()
    assert x.grad.tolist() == [[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]
    y = tracer.tensor([[0.0, 3.0], [3.0, 0.0]], requires_grad=True)
    tracer.nn.functional.pdist(y, p=INF).sum().backward()
    assert y.grad.tolist() == [[-1.0, 1.0], [1.0, -1.0]]


@pytest.mark.parametrize("dtype", [tracer.float16, tracer.bfloat16])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_sampled_grids_are_rounded_once(dtype, mode, padding):
    tracer.manual_seed(0)
    image = tracer.randn(2, 3, 5, 4).to(dtype).requires_grad_()
    grid = (tracer.rand(2, 6, 3, 2) * 3 - 1.5).to(dtype).requires_grad_()
    wide = [t.detach().float().requires_grad_() for t in (image, grid)]

    def run(image, grid):
        out = tracer.nn.functional.grid_sample(image, grid, mode, padding, align_corners=False)
        (out.float() ** 2).sum().backward()
        return out

    out, exact = run(image, grid), tracer.nn.functional.grid_sample(*wide, mode, padding, align_corners=False)
    assert out.dtype is dtype
    assert tracer.equal(out, exact.to(dtype))
    (exact.to(dtype).float() ** 2).sum().backward()
    for narrow, one in zip((image, grid), wide, strict=True):
        assert tracer.equal(narrow.grad, one.grad.to(dtype))
    with pytest.raises(RuntimeError, match="same dtype"):
        tracer.nn.functional.grid_sample(image, grid.float(), mode, padding, align_corners=False)
