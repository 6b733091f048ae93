"""The work of recording and compiling is near-linear in the program, and kernels have bounded size.

Work is counted in calls of Python functions and in characters of kernel text, not in seconds: these counts are the same on
every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracer
from tracer import nn, optim
from tracer.ir import pipeline
from tracer.ir.graph import Graph
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.plan import Plan

Program = tuple[Callable[..., Any], tuple]
LONGEST = 40_000  # characters per kernel


def chain(n: int) -> Program:
    def f(x):
        for _ in range(n):
            x = x * 1.0001 + 0.1
        return x

    return f, (tracer.ones(100),)


def gradient(n: int) -> Program:
    def f(x):
        y = chain(n)[0](x)
        y.sum().backward()
        return y.detach()

    return f, (tracer.ones(100, requires_grad=True),)


def branching(n: int) -> Program:
    def f(x):
        for _ in range(n):
            x = (x.sin() + x.cos()) * 0.5
        return x

    return f, (tracer.ones(50),)


def products(n: int) -> Program:
    w = tracer.full((8, 8), 0.1)

    def f(x):
        for _ in range(n):
            x = tracer.tanh(x @ w)
        return x

    return f, (tracer.ones(4, 8),)


def items_written(n: int) -> Program:
    def f(x):
        y = tracer.zeros(n)
        for i in range(n):
            y[i] = x[i] * i
        return y

    return f, (tracer.ones(n),)


def rows_written(n: int) -> Program:
    def f(x):
        x = x * 1
        for i in range(1, n):
            x[i] = x[i - 1] * 0.5 + x[i]
        return x

    return f, (tracer.ones(n, n),)


def history(n: int) -> Program:
    def f(x, h):
        rows = tracer.zeros_like(x)
        for t in range(n):
            h = (h * 0.9 + x[t] * 0.1).tanh()
            rows[t] = h
        return rows

    return f, (tracer.ones(n, 64), tracer.ones(64))


def diagonal_read(n: int) -> Program:
    def f(x):
        total = 0
        for i in range(n):
            total = total + x[i, i].log() * i
        total.backward()
        return total.detach()

    return f, (tracer.ones(n, n, requires_grad=True),)


def stacked(n: int) -> Program:
    return lambda x: tracer.stack([x[i] * i for i in range(n)]), (tracer.ones(n),)


def added(n: int) -> Program:
    return lambda tensors: sum(x * i for i, x in enumerate(tensors)), ([tracer.ones(10) for _ in range(n)],)


def means(n: int) -> Program:
    return lambda x: sum((x * i).mean(0).sum() for i in range(n)), (tracer.ones(40, 20),)


def rows_reduced(n: int) -> Program:
    return lambda x: sum((x[i] * x[i]).sum() for i in range(n)), (tracer.ones(n, 16),)


def floats(n: int) -> Program:
    return lambda x, numbers: x * sum(numbers), (tracer.ones(10), [1.0] * n)


def layers(n: int) -> Program:
    model = nn.Sequential(*[nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(n)])
    optimizer = optim.Adam(model.parameters())

    def f(x):
        optimizer.zero_grad()
        loss = model(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return f, (tracer.ones(8, 16),)


PROGRAMS = (
    (chain, 100),
    (gradient, 80),
    (branching, 50),
    (products, 20),
    (items_written, 20),
    (rows_written, 20),
    (history, 200),
    (diagonal_read, 20),
    (stacked, 40),
    (added, 40),
    (means, 30),
    (rows_reduced, 20),
    (floats, 200),
    (layers, 8),
)


def _calls(function: Callable[[], Any]) -> int:
    """The number of Python function calls that a function makes."""
    count = 0

    def see(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(see)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def _planned(graph: Graph) -> Plan:
    return lay_out(pipeline.run(graph, pipeline.COMPILE, thorough=False))


def _texts(plan: Plan) -> set[str]:
    return {kind.source for kind in plan.kinds}


def _work(make: Callable[[int], Program], n: int) -> tuple[int, int, int, int]:
    """Calls to record and to plan, characters of distinct kernels' text, and of the longest."""
    f, args = make(n)
    traced = tracer.trace(f)
    if make is layers:
        f(*args)  # the optimizer creates its state
    recording = _calls(lambda: traced(*args))
    (graph,) = traced.graphs()
    plans: list[Plan] = []
    planning = _calls(lambda: plans.append(_planned(graph)))
    texts = _texts(plans[0])
    return recording, planning, sum(map(len, texts)), max(map(len, texts), default=0)


@pytest.mark.parametrize(("make", "n"), PROGRAMS, ids=lambda x: getattr(x, "__name__", ""))
def test_work_is_near_linear(make, n):
    short, long = _work(make, n), _work(make, 4 * n)
    for what, a, b in zip(("recording", "planning", "text"), short, long, strict=False):
        assert b <= 6 * max(a, 2000), what
    assert long[3] <= LONGEST


def test_a_program_that_repeats_itself_compiles_few_kernels():
    f, args = chain(3000)
    traced = tracer.trace(f)
    expected = traced(*args)
    (graph,) = traced.graphs()
    plan = _planned(graph)
    assert len(plan.steps) > 10 and len(_texts(plan)) <= 4
    np.testing.assert_array_equal(traced(*args), expected)


def test_kernels_that_differ_in_constants_have_one_text():
    texts = set()
    for k in (0.1, 0.3, 7.7, -1e-30):
        traced = tracer.trace(lambda x, k=k: (x * k).tanh() + k)
        traced(tracer.ones(8))
        (graph,) = traced.graphs()
        texts |= _texts(_planned(graph))
    assert len(texts) == 1


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.float64])
@pytest.mark.parametrize("k", [0.1, -0.0, 3.0, 1e-310, 1e30, float("inf"), float("nan"), 2.0**-130])
def test_constants_keep_their_bits(dtype, k):
    f = lambda x: x * k + k
    x = tracer.tensor([0.0, 1.0, -2.5, float("inf")], dtype=dtype)
    traced = tracer.trace(f)
    for _ in range(2):
        np.testing.assert_array_equal(traced(x), f(x))
