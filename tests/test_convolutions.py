"""Compiled convolutions, whose products read and write windows in place: compared with eager runs, with first and second
derivatives; and windows are in no plan.
"""

import numpy as np
import pytest

import tracer
import tracer.nn.functional as F
from tracer.ir import pipeline
from tracer.ir.graph import Builder
from tracer.ir.interp import evaluate
from tracer.ir.ops import contract
from tracer.ir.parse import parse_graph
from tracer.ir.types import TensorType, bfloat16, float16, float32, float64
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

# shapes of the input and the weight, settings
CASES = {
    "plain": ((2, 3, 9, 10), (4, 3, 3, 3), {}),
    "padded": ((2, 16, 12, 12), (20, 16, 3, 3), {"padding": 1}),
    "stride": ((3, 8, 13, 12), (17, 8, 3, 3), {"stride": 2, "padding": 1}),
    "stride beyond the window": ((2, 5, 14, 15), (6, 5, 2, 2), {"stride": 3}),
    "unequal": ((2, 6, 15, 11), (7, 6, 5, 2), {"stride": (3, 1), "padding": (2, 0), "dilation": (1, 2)}),
    "dilation": ((2, 8, 14, 14), (9, 8, 3, 3), {"padding": 2, "dilation": 2}),
    "one by one": ((4, 24, 7, 7), (40, 24, 1, 1), {}),
    "one by one, stride": ((4, 24, 8, 8), (40, 24, 1, 1), {"stride": 2}),
    "large window": ((1, 3, 20, 20), (8, 3, 9, 9), {"padding": 4}),
    "whole image": ((4, 16, 4, 4), (3, 16, 4, 4), {}),
    "one channel": ((2, 1, 12, 12), (24, 1, 5, 5), {"padding": 2}),
    "one result": ((2, 24, 12, 12), (1, 24, 3, 3), {"padding": 1}),
    "groups": ((2, 12, 9, 9), (18, 4, 3, 3), {"padding": 1, "groups": 3}),
    "depthwise": ((3, 10, 12, 12), (10, 1, 3, 3), {"padding": 1, "groups": 10}),
    "depthwise, stride": ((3, 10, 13, 12), (10, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 10}),
    "depthwise, window beyond the image": ((3, 10, 6, 5), (10, 1, 7, 7), {"padding": 3, "groups": 10}),
    "depthwise, dilation": ((3, 10, 12, 12), (10, 1, 3, 3), {"padding": 2, "dilation": 2, "groups": 10}),
    "depthwise, unpadded": ((3, 10, 12, 11), (10, 1, 5, 2), {"groups": 10}),
    "depthwise, much padding": ((2, 10, 7, 7), (10, 1, 3, 3), {"padding": 4, "groups": 10}),
    "depthwise, two each": ((2, 10, 12, 12), (20, 1, 5, 5), {"padding": 2, "groups": 10, "dilation": 1}),
    "no batch": ((6, 12, 12), (8, 6, 3, 3), {"padding": 1}),
    "one axis": ((3, 8, 40), (12, 8, 5), {"padding": 2}),
    "one axis, dilation": ((3, 8, 40), (12, 8, 3), {"padding": 4, "dilation": 4, "stride": 2}),
    "three axes": ((2, 4, 6, 7, 8), (6, 4, 3, 2, 3), {"padding": 1}),
    "three axes, stride": ((2, 4, 7, 7, 8), (6, 2, 3, 3, 3), {"stride": 2, "groups": 2}),
    "empty batch": ((0, 4, 6, 6), (5, 4, 3, 3), {"padding": 1}),
    "transposed": ((2, 12, 6, 6), (12, 8, 4, 4), {"transposed": True, "stride": 2, "padding": 1}),
    "transposed, of one": ((4, 20, 1, 1), (20, 16, 4, 4), {"transposed": True}),
    "transposed, groups": ((2, 12, 6, 5), (12, 4, 3, 3), {"transposed": True, "stride": 2, "groups": 3, "output_padding": 1}),
    "transposed, one axis": ((2, 12, 16), (12, 6, 5), {"transposed": True, "stride": 3, "dilation": 2}),
    "long sums": ((3, 4, 40, 40), (5, 4, 3, 3), {"padding": 1}),
}


def convolution(n, settings):
    settings = dict(settings)
    f = getattr(F, f"conv_transpose{n}d" if settings.pop("transposed", False) else f"conv{n}d")
    return lambda x, w: f(x, w, **settings)


def derivatives(f, x, w, g, h):
    """The result, its gradients, and the gradients of a function of these."""
    y = f(x, w)
    first = tracer.autograd.grad(y, (x, w), g, create_graph=True)
    second = tracer.autograd.grad(sum((d * d * k).sum() for d, k in zip(first, h, strict=True)), (x, w, g))
    return y.detach(), *(d.detach() for d in first), *second


def inputs(shape, kernel, f, dtype):
    tracer.manual_seed(3)
    x, w = (tracer.randn(*s, dtype=tracer.float64) / max(1, s[-1]) for s in (shape, kernel))
    g = tracer.randn(*f(x, w).shape, dtype=tracer.float64)
    h = [tracer.randn_like(v) for v in (x, w)]
    x, w, g, *h = (v.to(dtype) for v in (x, w, g, *h))
    return [v.requires_grad_() for v in (x, w, g)], h


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.float64], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_eager_runs(name, dtype):
    shape, kernel, settings = CASES[name]
    f = convolution(len(kernel) - 2, settings)
    values, h = inputs(shape, kernel, f, dtype)
    expected = derivatives(f, *values, h)
    step = tracer.trace(lambda x, w, g, *h: derivatives(f, x, w, g, h))
    for _ in range(3):
        found = step(*values, *h)
    tolerance = 1e-9 if dtype is tracer.float64 else 2e-3
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance * (1 + abs(b.numpy()).max(initial=0)))


@pytest.mark.parametrize("dtype", [tracer.float16, tracer.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["padded", "stride", "depthwise", "groups", "transposed", "one axis"])
def test_halves(name, dtype):
    shape, kernel, settings = CASES[name]
    f = convolution(len(kernel) - 2, settings)
    (x, w, g), _ = inputs(shape, kernel, f, dtype)

    def step(x, w, g):
        y = f(x, w)
        return y.detach(), *tracer.autograd.grad(y, (x, w), g)

    traced = tracer.trace(step)
    for _ in range(3):
        found = traced(x, w, g)
    wide = step(*(v.detach().double().requires_grad_() for v in (x, w, g)))
    for a, b in zip(found, wide, strict=True):
        exact = b.numpy()
        np.testing.assert_allclose(a.double().numpy(), exact, rtol=0.02, atol=0.02 * abs(exact).max())


def test_views_that_are_not_contiguous():
    tracer.manual_seed(0)
    x = tracer.randn(2, 12, 14, 8).permute(0, 3, 1, 2)[:, :, ::2, 1:]
    w = tracer.randn(3, 3, 8, 16).permute(3, 2, 0, 1)
    f = lambda x, w: F.conv2d(x, w, padding=1)
    traced = tracer.trace(f)
    for _ in range(3):
        found = traced(x, w)
    np.testing.assert_allclose(found.numpy(), f(x, w).numpy(), rtol=1e-4, atol=1e-4)


def plans(step, *args):
    for _ in range(3):
        step(*args)
    return [lay_out(graph) for graph in step.fused_graphs()]


@pytest.mark.parametrize("settings", [{"padding": 1}, {"padding": 1, "stride": 2}, {"padding": 1, "groups": 32}])
def test_windows_are_not_in_memory(settings):
    x = tracer.randn(4, 32, 24, 24, requires_grad=True)
    w = tracer.randn(32, 32 // settings.get("groups", 1), 3, 3, requires_grad=True)
    f = lambda x, w: F.conv2d(x, w, **settings)
    g = tracer.randn(*f(x, w).shape)
    step = tracer.trace(lambda x, w, g: tracer.autograd.grad(f(x, w), (x, w), g))
    padded = 4 * 32 * 26 * 26 * 4  # bytes of the padded image, and of its gradient
    assert max(plan.arena for plan in plans(step, x, w, g)) <= 2.1 * padded


def test_a_product_with_unfolded_windows_reads_them_in_place():
    x, w = tracer.randn(4, 16, 24, 24), tracer.randn(20, 16 * 9)
    f = lambda x, w: w @ F.unfold(x, 3)
    step = tracer.trace(f)
    assert max(plan.arena for plan in plans(step, x, w)) < x.numel() * 4
    np.testing.assert_allclose(step(x, w).numpy(), f(x, w).numpy(), rtol=1e-4, atol=1e-4)


def test_results_do_not_depend_on_the_number_of_threads():
    x, w = tracer.randn(6, 32, 20, 20, requires_grad=True), tracer.randn(48, 32, 3, 3, requires_grad=True)
    g = tracer.randn(6, 48, 20, 20)
    step = tracer.trace(lambda x, w, g: tracer.autograd.grad(F.conv2d(x, w, padding=1), (x, w), g))
    before, results = tracer.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            tracer.set_num_threads(n)
            for _ in range(3):
                found = step(x, w, g)
            results.append([v.numpy().copy() for v in found])
    finally:
        tracer.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


# Contractions alone.


def drawn(rng):
    """Extents and steps of random views: batches, rows, columns and terms."""
    kinds = {"batch": "abc", "rows": "ac", "columns": "bc", "inner": "ab"}
    axes = [(kind, int(rng.integers(2, 20 if i else 40))) for kind in kinds for i in range(rng.integers(0, 3))]
    rng.shuffle(axes)
    steps, sizes = {v: [0] * len(axes) for v in "abc"}, {}
    for v in "abc":
        size = 1
        for i in rng.permutation(len(axes)):
            if v in kinds[axes[i][0]]:
                steps[v][i] = size
                size *= axes[i][1] * (1 if v == "c" else int(rng.integers(1, 3)))
        sizes[v] = size
    attrs = {f"{v}_steps": tuple(steps[v]) for v in "abc"}
    return sizes, {**attrs, "shape": (sizes["c"],), "extents": tuple(n for _, n in axes), "starts": (0, 0, 0)}


@pytest.mark.usefixtures("each_cpu")
@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=lambda d: d.short)
def test_random_views(dtype):
    rng = np.random.default_rng(5)
    done = 0
    while done < 12:
        sizes, attrs = drawn(rng)
        if np.prod(attrs["extents"]) > 3e5:
            continue
        done += 1
        builder = Builder("f")
        operands = [builder.input(TensorType(dtype, (sizes[v],), "cpu")) for v in "ab"]
        attrs.update(folded=0, wide=dtype.is_half)
        graph = builder.finish(builder.append(contract, operands, attrs))
        assert parse_graph(str(graph)).ops[0].attrs == graph.ops[0].attrs
        a, b = (rng.standard_normal(sizes[v]).astype(dtype.numpy) for v in "ab")
        (expected,) = (
            evaluate(graph, *(np.asarray(v, np.float64) for v in (a, b))) if dtype is float64 else evaluate(graph, a, b)
        )
        (found,) = Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(a, b)
        scale = 1e-10 if dtype is float64 else 1e-3
        np.testing.assert_allclose(np.asarray(found), expected, rtol=scale, atol=scale * (1 + abs(expected).max()))


@pytest.mark.parametrize(
    "change",
    [
        {"extents": (2, 3)},
        {"a_steps": (0, 0, 0)},
        {"starts": (0, 0, 9)},
        {"shape": (7,)},
        {"starts": (0, 40, 0)},
        {"folded": 3},
    ],
    ids=str,
)
def test_contractions_that_are_not_possible(change):
    attrs = {"extents": (2, 3, 4), "a_steps": (4, 0, 1), "b_steps": (0, 1, 3), "c_steps": (3, 1, 0), "starts": (0, 0, 0)}
    attrs.update(shape=(2, 3), folded=0, wide=False)
    a, b = TensorType(float32, (8,), "cpu"), TensorType(float32, (12,), "cpu")
    assert contract.infer_types([a, b], attrs)[0].shape == (2, 3)
    with pytest.raises(ValueError):
        contract.infer_types([a, b], {**attrs, **change})


def test_a_transposed_convolution_without_a_result():
    weight = tracer.ones(1, 1, 1, 1)
    with pytest.raises(
        RuntimeError, match=r"\(2 x 1\). Calculated output size per channel: \(0 x 1\). Output size is too small"
    ):
        F.conv_transpose2d(tracer.ones(1, 1, 2, 1), weight, padding=(1, 0))
    assert F.conv_transpose2d(tracer.ones(0, 1, 2, 1), weight, padding=(1, 0)).shape == (0, 1, 0, 1)
