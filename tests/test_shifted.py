"""Values that a kernel reads at several shifts are computed in it, if that takes little arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tracer.ir import pipeline
from tracer.ir.graph import Builder
from tracer.ir.interp import Build, evaluate, using
from tracer.ir.ops import add, broadcast, exp, full, mul, slice_, sub, sum_, where
from tracer.ir.ops import gt as greater
from tracer.ir.passes import shifted
from tracer.ir.types import TensorType, float64

N, M = 400, 300  # more bytes than are kept near


def part(x, *ranges):
    """A slice, with a step if a range has three numbers."""
    starts, stops, steps = zip(*((r.start, r.stop, r.step) for r in ranges), strict=True)
    return slice_(x, starts=starts, stops=stops, steps=steps)


def graph_of(make, *shapes):
    builder = Builder("f")
    values = [builder.input(TensorType(float64, shape)) for shape in shapes]
    with using(Build(builder)):
        result = make(*values)
    return builder.finish(result if isinstance(result, tuple) else [result])


def kernels(graph, passes=pipeline.COMPILE):
    return [op for op in pipeline.run(graph, passes).ops if op.primitive.name == "fusion"]


def check(graph, passes=pipeline.COMPILE):
    """The number of kernels, whose results are those of the graph."""
    arrays = [0.1 * np.random.default_rng(k).normal(size=v.shape) for k, v in enumerate(graph.inputs)]
    after = pipeline.run(graph, passes)
    for a, b in zip(evaluate(after, *arrays), evaluate(graph, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    return len(kernels(graph, passes))


def rows(x, first, count):
    return part(x, range(first, first + count), range(M))


def flux(x, y):
    f = sub(rows(x, 1, N - 1), rows(x, 0, N - 1))
    return where(greater(mul(f, rows(y, 1, N - 1)), full(value=0.0, shape=(N - 1, M), dtype="f64")), f, mul(f, f))


def difference(f):
    return sub(rows(f, 1, N - 2), rows(f, 0, N - 2))


@pytest.mark.parametrize("passes", [pipeline.COMPILE, pipeline.COMPILE_FOR_GRIDS])
def test_a_flux(passes):
    assert check(graph_of(lambda x, y: difference(flux(x, y)), (N, M), (N, M)), passes) == 1


def test_text():
    graph = graph_of(lambda x: difference(mul(sub(rows(x, 1, N - 1), rows(x, 0, N - 1)), rows(x, 1, N - 1))), (N, M))
    (op,) = kernels(graph)
    reads = [o.attrs["starts"][0] for o in op.attrs["body"].ops if o.primitive is slice_]
    assert sorted(reads) == [0, 1, 2] and all(o.primitive.name in ("slice", "sub", "mul") for o in op.attrs["body"].ops)


def test_broadcasts_and_steps():
    def make(x, row):
        wide = mul(rows(x, 1, N - 1), broadcast(part(row, range(M)), shape=(N - 1, M), axes=(1,)))
        f = sub(wide, rows(x, 0, N - 1))
        return sub(part(f, range(1, N - 1, 2), range(1, M, 3)), part(f, range(0, N - 2, 2), range(0, M - 1, 3)))

    assert check(graph_of(make, (N, M), (M,))) == 1


def slow(x):
    for _ in range(9):
        x = mul(exp(x), x)
    return x


STAY = {
    "it is a result": lambda x, y: (f := flux(x, y), difference(f)),
    "two kernels read it": lambda x, y: (difference(f := flux(x, y)), sum_(f, axes=(0,))),
    "too much arithmetic": lambda x, y: difference(flux(slow(x), y)),
    "many shifts": lambda x, y: add(
        add(*(rows(f := slow(flux(x, y)), k, N - 5) for k in (0, 1))), add(*(rows(f, k, N - 5) for k in (2, 3)))
    ),
}


@pytest.mark.parametrize("why", STAY)
def test_what_stays(why):
    assert check(graph_of(STAY[why], (N, M), (N, M))) >= 2


def test_small_values_stay():
    traced, x = tracer.trace(lambda x: (y := x[1:] - x[:-1])[1:] * y[:-1] * y.sin()[1:]), tracer.randn(90, 90)
    for _ in range(2):
        traced(x)
    assert len(kernels(traced.graphs()[0])) >= 2


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_stencils(data):
    """Differences of differences, along any axes, written into arrays, with gradients."""
    before, shifted._SMALLEST = shifted._SMALLEST, 0
    try:
        shape = data.draw(st.lists(st.integers(5, 9), min_size=1, max_size=3))
        tracer.manual_seed(0)
        x = tracer.randn(shape, dtype=tracer.float64)
        steps = data.draw(st.lists(st.tuples(st.integers(0, len(shape) - 1), st.sampled_from("smxw")), min_size=1, max_size=3))

        def f(x):
            out, y = x.clone(), x * 1
            for axis, kind in steps:
                a, b = y.narrow(axis, 1, y.shape[axis] - 1), y.narrow(axis, 0, y.shape[axis] - 1)
                y = {"s": a - b, "m": a * b, "x": tracer.maximum(a, b) * a, "w": tracer.where(a > b, a, b - a)}[kind]
            out[tuple(slice(0, n) for n in y.shape)] += y
            return out, y

        def loss(x):
            x = x.detach().requires_grad_()
            out, y = f(x)
            (g,) = tracer.autograd.grad((out * out).sum() + y.sum(), x)
            return out.detach(), g

        traced = tracer.trace(loss)
        for _ in range(3):
            for a, b in zip(traced(x), loss(x), strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-10)
    finally:
        shifted._SMALLEST = before
