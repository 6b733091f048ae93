"""Random programs: passes, kernels and differentiation agree with the interpreter."""

import warnings

import numpy as np
import pytest
from checks import _check_graph
from programs import RandomGraph, arguments

from tracer.ir import pipeline
from tracer.ir.autodiff import vjp
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

pytestmark = pytest.mark.usefixtures("each_cpu")


def agree(results, expected, graph):
    for a, b in zip(results, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=str(graph))


def check(seed, compiled, empty=False):
    graph = RandomGraph(seed, 4 + seed % 20, empty=empty).finish()
    args = arguments(graph, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = evaluate(graph, *args)
        for passes in (pipeline.SIMPLIFY, pipeline.COMPILE):
            after = pipeline.run(graph, passes)
            assert parse_graph(str(after)) == after
            agree(evaluate(after, *args), expected, after)
        if compiled:
            agree(Program(lay_out(after))(*args), expected, after)


@pytest.mark.parametrize("block", range(6))
def test_passes(block):
    for seed in range(50 * block, 50 * block + 50):
        check(seed, compiled=False)
        check(seed, compiled=False, empty=True)


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_kernels(seed):
    check(seed, compiled=True, empty=seed % 4 == 0)


@pytest.mark.parametrize("block", range(4))
def test_gradients(block):
    for seed in range(2000 + 10 * block, 2010 + 10 * block):
        graph = RandomGraph(seed, 6 + seed % 12, smooth=True).finish()
        args = arguments(graph, seed)
        wrt = [i for i, a in enumerate(args) if a.dtype.kind == "f"]
        _check_graph(graph, args, wrt, 1, f"seed {seed}")


@pytest.mark.parametrize("seed", range(3000, 3006))
def test_compiled_gradients(seed):
    joint = vjp(RandomGraph(seed, 8, smooth=True).finish())
    args = arguments(joint, seed)
    agree(Program(lay_out(pipeline.run(joint, pipeline.COMPILE)))(*args), evaluate(joint, *args), joint)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(40))
def test_many_kernels(block):
    for seed in range(10_000 + 10 * block, 10_010 + 10 * block):
        check(seed, compiled=True, empty=seed % 3 == 0)
