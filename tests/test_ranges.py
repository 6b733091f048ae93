"""Loops divided where the conditions of shifted, padded and concatenated values change."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tracer.codegen import cpu
from tracer.codegen.fusion import lower
from tracer.codegen.ranges import divided
from tracer.ir.ops import fusion
from tracer.nn import functional as F


def texts(f, *args):
    """The text of each fusion's kernel."""
    traced = tracer.trace(f)
    for _ in range(2):
        traced(*args)
    ops = [op for graph in traced.fused_graphs() for op in graph.ops if op.primitive is fusion]
    return [cpu.source(divided(lower(op.attrs["body"]))) for op in ops]


def check(f, *args):
    traced = tracer.trace(f)
    expected = f(*args)
    before = tracer.get_num_threads()
    try:
        for threads in (1, 2):
            tracer.set_num_threads(threads)
            for _ in range(2):
                np.testing.assert_array_equal(traced(*args).numpy(), expected.numpy())
    finally:
        tracer.set_num_threads(before)


def test_rows_have_no_conditions():
    (text,) = texts(lambda x: x + x.roll(1, 1) * 2 - x.roll(-1, 1), tracer.rand(40, 50))
    assert "if " not in text and text.count("for r1") == 3


def test_the_range_that_callers_divide():
    x = tracer.rand(70_000)
    (text,) = texts(lambda x: x + x.roll(1) * 2 - x.roll(-3), x)
    assert "if " not in text and text.count("for i0") == 3
    check(lambda x: x + x.roll(1) * 2 - x.roll(-3), x)


def test_conditions_on_an_outer_loop_remain():
    f = lambda x: F.pad(x, (1, 1, 1, 1)) * 2
    (text,) = texts(f, tracer.rand(40, 50))
    assert text.count("if ") and "r1 <" not in text
    check(f, tracer.rand(40, 50))


def test_short_loops_stay():
    (text,) = texts(lambda x: x + x.roll(1, 1), tracer.rand(40, 12))
    assert "if " in text


def part(draw, x):
    """A value of the shape of ``x`` whose elements are others of it, or zeros."""
    axis = draw(st.integers(0, x.ndim - 1))
    n = x.shape[axis]
    kind = draw(st.sampled_from(["roll", "cat", "pad", "put", "flip", "itself"]))
    k = draw(st.integers(0, n))
    if kind == "roll":
        return lambda x: x.roll(k, axis)
    if kind == "cat":
        return lambda x: tracer.cat([x.narrow(axis, k, n - k), x.narrow(axis, 0, k) * 2], axis)
    if kind == "pad":
        widths = [0] * (2 * x.ndim)
        widths[2 * (x.ndim - 1 - axis) : 2 * (x.ndim - axis)] = k, n - k
        return lambda x: F.pad(x, widths, value=0.5).narrow(axis, min(k, n // 2), n)
    if kind == "put":
        step = draw(st.integers(1, 3))

        def put(x):
            y = x * 0.5
            index = [slice(None)] * x.ndim
            index[axis] = slice(k, None, step)
            y[tuple(index)] = y[tuple(index)] + x[tuple(index)]
            return y

        return put
    return (lambda x: x.flip(axis)) if kind == "flip" else lambda x: x


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_parts(data):
    shape = data.draw(st.sampled_from([(40,), (300,), (20, 33), (33, 20), (3, 18, 21), (17, 2, 40)]))
    x = tracer.tensor(np.random.default_rng(0).integers(-9, 9, shape)).double()
    parts = [part(data.draw, x) for _ in range(data.draw(st.integers(1, 4)))]

    def f(x):
        total = x * 1.0
        for p in parts:
            total = total * 3.0 + p(x)
        return total

    check(f, x)
