"""Convolutions of 3 x 3 windows by Winograd's algorithm: results, gradients, accuracy, threads, and what other kernels do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
import tracer.nn.functional as F
from tracer.ir import pipeline
from tracer.ir.graph import Builder
from tracer.ir.interp import Build, using
from tracer.ir.ops import contract
from tracer.ir.ops.contract import repays_tiles
from tracer.ir.types import TensorType, dtype_of
from tracer.runtime.programs.planned import planned
from tracer.runtime.programs.program import Program

EPS = {np.dtype("f"): 6e-8, np.dtype("d"): 1.2e-16}


def exact(x, w, padding):
    """The convolution in float64."""
    x, w = (v.astype("d") for v in (x, w))
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    shown = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("nchwij,kcij->nkhw", shown, w, optimize=True)


def exact_gradients(x, w, g, padding):
    x, w, g = (v.astype("d") for v in (x, w, g))
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    shown = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    of_w = np.einsum("nchwij,nkhw->kcij", shown, g, optimize=True)
    of_x, (h, v) = np.zeros_like(padded), g.shape[2:]
    for i in range(3):
        for j in range(3):
            of_x[:, :, i : i + h, j : j + v] += np.einsum("nkhw,kc->nchw", g, w[:, :, i, j], optimize=True)
    inside = slice(padding, -padding or None)
    return of_x[:, :, inside, inside], of_w


def kernels(f, *arrays):
    """The traced function's results, and the names of products in its programs."""
    tensors = [tracer.tensor(a) for a in arrays]
    traced = tracer.trace(f)
    for _ in range(3):
        out = traced(*tensors)
    sources = [kind.source for graph in traced.graphs() for kind in planned(graph).kinds]
    names = [name for name in ("winograd", "gradient", "contract") if any(f"{name}_f" in s for s in sources)]
    return [v.numpy() for v in (out if isinstance(out, tuple) else (out,))], names


def with_gradients(padding):
    def f(x, w, g):
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        y = F.conv2d(x, w, padding=padding)
        y.backward(g)
        return y.detach(), x.grad, w.grad

    return f


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_results_and_gradients(data):
    draw = lambda *choices: data.draw(st.sampled_from(choices))
    n, c, k = draw(1, 2, 3, 5), draw(16, 17, 24, 33, 64), draw(16, 20, 31, 48)
    h, w = draw(12, 13, 16, 31, 33), draw(12, 16, 31, 32, 33, 66)
    padding, dtype = draw(0, 1, 2), np.dtype(draw("f", "d"))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, weight = (rng.standard_normal(s).astype(dtype) for s in ((n, c, h, w), (k, c, 3, 3)))
    y = exact(x, weight, padding)
    g = rng.standard_normal(y.shape).astype(dtype)
    found, _ = kernels(with_gradients(padding), x, weight, g)
    for a, b, terms in zip(found, (y, *exact_gradients(x, weight, g, padding)), (9 * c, 9 * k, y[:, 0].size), strict=True):
        assert np.abs(a - b).max() <= 90 * EPS[dtype] * np.sqrt(terms), (a.shape, terms)


def test_which_kernels_are_used():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype("f")
    x, w, g = draw(4, 32, 16, 16), draw(48, 32, 3, 3), draw(4, 48, 16, 16)
    assert kernels(with_gradients(1), x, w, g)[1] == ["winograd", "gradient"]
    assert kernels(with_gradients(1), draw(4, 8, 16, 16), draw(8, 8, 3, 3), draw(4, 8, 16, 16))[1] == [
        "contract"
    ]  # few channels
    assert kernels(with_gradients(1), draw(1, 32, 8, 8), draw(48, 32, 3, 3), draw(1, 48, 8, 8))[1] == ["contract"]  # few tiles
    strided = kernels(lambda x, w: F.conv2d(x, w, padding=1, stride=2), x, w)
    dilated = kernels(lambda x, w: F.conv2d(x, w, padding=2, dilation=2), x, w)
    five = kernels(lambda x, w: F.conv2d(x, w, padding=2), x, draw(48, 32, 5, 5))
    assert strided[1] == dilated[1] == five[1] == ["contract"]
    assert not repays_tiles(64, 64, 64, 3, 3)  # a third of the tiles' results would be outside


def test_transposed_convolutions_and_turned_weights():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((4, 32, 20, 20)).astype("f"), rng.standard_normal((32, 24, 3, 3)).astype("f")
    (found,), names = kernels(lambda x, w: F.conv_transpose2d(x, w, padding=1), x, w)
    expected = exact_gradients(np.zeros((4, 24, 20, 20)), w, x, 1)[0]
    assert names == ["winograd"]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    (found,), _ = kernels(lambda x, w: F.conv2d(x, w.transpose(0, 1).flip(2).flip(3), padding=1), x, w)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_results_do_not_depend_on_threads():
    rng = np.random.default_rng(2)
    x, w, g = (rng.standard_normal(s).astype("f") for s in ((7, 64, 40, 40), (80, 64, 3, 3), (7, 80, 40, 40)))
    before, results = tracer.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            tracer.set_num_threads(threads)
            results.append(kernels(with_gradients(1), x, w, g)[0])
    finally:
        tracer.set_num_threads(before)
    for found in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found, results[0], strict=True))


def test_long_sums_of_a_gradient_keep_their_accuracy():
    x, w, g = np.full((64, 16, 50, 50), 1, "f"), np.zeros((16, 16, 3, 3), "f"), np.full((64, 16, 48, 48), 0.1, "f")
    found, names = kernels(with_gradients(0), x, w, g)
    assert "gradient" in names
    assert np.abs(found[2] / (64 * 48 * 48 * float(np.float32(0.1))) - 1).max() < 1e-6


@pytest.mark.usefixtures("each_cpu")
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_what_is_outside_an_image_is_neither_read_nor_written(dtype):
    """Images between NaNs: elements beyond the last lines and columns belong to no tile."""
    rng = np.random.default_rng(3)
    frame = np.full((3, 16, 21, 40), np.nan, dtype)
    frame[:, :, :17, :21] = rng.standard_normal((3, 16, 17, 21))
    w = rng.standard_normal((20, 16, 3, 3)).astype(dtype)
    builder = Builder("convolution")
    x, weight = (builder.input(TensorType(dtype_of(np.dtype(dtype)), s)) for s in (frame.shape, w.shape))
    a_steps, b_steps = (144, 0, 0, 0, 9, 3, 1), (0, 16 * 21 * 40, 40, 1, 21 * 40, 40, 1)
    attrs = {
        "shape": (3, 20, 15, 19),
        "extents": (20, 3, 15, 19, 16, 3, 3),
        "a_steps": a_steps,
        "b_steps": b_steps,
        "c_steps": (15 * 19, 20 * 15 * 19, 19, 1, 0, 0, 0),
        "starts": (0, 0, 0),
        "folded": 0,
        "wide": False,
    }
    with using(Build(builder)):
        graph = builder.finish([contract(weight, x, **attrs)])
    program = Program(planned(graph))
    assert "winograd" in planned(graph).kinds[0].source
    (found,) = program(frame, w)
    np.testing.assert_allclose(found, exact(frame[:, :, :17, :21], w, 0), atol=5e-5 if dtype == "f" else 1e-12)


def test_the_gradient_of_images_is_a_convolution_of_the_part_that_is_read():
    rng = np.random.default_rng(4)
    draw = lambda *shape: tracer.tensor(rng.standard_normal(shape).astype("f"))
    x, w, g = draw(4, 32, 16, 16).requires_grad_(), draw(48, 32, 3, 3), draw(4, 48, 16, 16)
    traced = tracer.trace(lambda x, w, g: tracer.autograd.grad(F.conv2d(x, w, padding=1), x, g))
    traced(x, w, g)
    (graph,) = traced.graphs()
    text = str(pipeline.run(graph, pipeline.COMPILE))
    assert "fold " not in text and "shape=(4,32,16,16)" in text and "low=(0,0,1,1), high=(0,0,1,1)" in text
