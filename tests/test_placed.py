"""Fusions that differ only in the starts of their slices share a kernel."""

import numpy as np
import pytest

import tracer
from tracer.codegen import cpu
from tracer.codegen.fusion import lower
from tracer.codegen.placed import apart_from_places, with_places
from tracer.ir.ops import fusion, slice_, write_slice


def rows(a, b):
    for i in range(2, 9):
        a[i, 1:] += b[i - 2, 1:] * a[i - 1, :-1]
        b[i, i] = a[i, :i].sum()


def columns(a, b):
    for j in range(1, 9):
        a[2:, j] -= a[2:, j - 1] * b[j, 2:]


def triangle(a, b):
    for i in range(10):
        for j in range(i):
            a[i, j] -= a[i, :j] @ a[j, :j]
            a[i, j] /= 4.0 + a[j, j] ** 2


def strided(a, b):
    for i in range(3):
        a[i::3, ::2] = b[i::3, 1::2] + a[(i + 1) % 3 :: 3, 1::2][: a[i::3].shape[0]].sum(0)


def reversed_rows(a, b):
    for i in reversed(range(9)):
        a[i] = a[i] * 0.5 + a[i + 1] + b[9 - i]


PROGRAMS = [rows, columns, triangle, strided, reversed_rows]


def arrays():
    draw = np.random.default_rng(3).normal
    return [tracer.tensor(draw(size=(10, 10))) for _ in range(2)]


@pytest.mark.parametrize("function", PROGRAMS)
def test_results_are_those_of_eager_code(function):
    traced = tracer.trace(function)
    for _ in range(3):
        given, expected = arrays(), arrays()
        traced(*given)
        function(*expected)
        for x, y in zip(given, expected, strict=True):
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-13, atol=1e-13)


def indices(body):
    """The positions of slices of one element."""
    slices = [op.attrs for op in body.ops if op.primitive in (slice_, write_slice)]
    return [a for attrs in slices for a, b in zip(attrs["starts"], attrs["stops"], strict=True) if b - a == 1]


@pytest.mark.parametrize("function", [rows, triangle])
def test_the_shared_kernel_is_the_kernel_of_each(function):
    """Text and arguments are those that the fusion has alone, unless it has an index 0 or 1."""
    traced = tracer.trace(function)
    traced(*arrays())
    compared = 0
    for graph in traced.fused_graphs():
        for body in [op.attrs["body"] for op in graph.ops if op.primitive is fusion]:
            if min(indices(body), default=2) > 1:
                _, starts = apart_from_places(body)
                alone, shared = lower(body), lower(with_places(body))
                assert cpu.source(alone) == cpu.source(shared)
                assert shared.at(starts).values == alone.values
                compared += 1
    assert compared


def test_rows_share_one_kernel():
    def f(a):
        for i in range(2, 40):
            a[i] += a[i - 1] * 2.0 + a[i - 2]

    traced = tracer.trace(f)
    a = tracer.ones(40, 10)
    traced(a)
    structures = {apart_from_places(op.attrs["body"])[0] for op in traced.fused_graphs()[0].ops if op.primitive is fusion}
    assert len(structures) < 10


def test_equal_slices_correspond_to_equal_slices():
    """A slice that is read where it is written is another kernel than one beside it."""

    def f(a):
        a[2] = a[2] + a[3]
        a[5] = a[6] + a[7]

    def g(a):
        for i in (2, 4, 6):
            a[i] = a[i] + a[i + 1]

    for function in (f, g):
        traced = tracer.trace(function)
        for _ in range(3):
            x, y = tracer.arange(16.0).reshape(8, 2).clone(), tracer.arange(16.0).reshape(8, 2).clone()
            traced(x)
            function(y)
            assert tracer.equal(x, y)


def test_elements_that_several_slices_hold_are_loaded_once():
    """Slices of one array that start at the same place of an axis have the same text there."""

    def f(a, b):
        b[2:-2, 2:-2] = a[2:-2, 2:-2, 1] * a[2:-2, 2:-2, 0] - a[2:-2, 2:-2, 1].exp() * a[3:-1, 2:-2, 1]

    traced = tracer.trace(f)
    traced(tracer.ones(20, 20, 4), tracer.ones(20, 20))
    bodies = [op.attrs["body"] for op in traced.fused_graphs()[0].ops if op.primitive is fusion]
    (text,) = [cpu.source(lower(with_places(body))) for body in bodies]
    assert text.count("load(p0") == 3


def test_the_spacing_over_short_axes_is_known():
    """Otherwise LLVM cannot tell the elements of an iteration from those of the next."""

    def f(a, b):
        b[:, 0, 1, 0] = a.tanh()
        b[:, 1, 0, 1] = a.exp()

    traced = tracer.trace(f)
    traced(tracer.ones(20), tracer.ones(20, 4, 2, 2))
    bodies = [op.attrs["body"] for op in traced.fused_graphs()[0].ops if op.primitive is fusion]
    assert bodies and all("i0 * 16" in cpu.source(lower(with_places(body))) for body in bodies)
