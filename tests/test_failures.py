"""If compilation fails, traced functions run eagerly, with one warning. A failure is planted in every stage."""

import re
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import tracer
from tracer.codegen import cpu
from tracer.ir import interp, pipeline
from tracer.ir.parse import parse_graph
from tracer.runtime.compiler import compile as compiler
from tracer.runtime.programs import layout, planned, program
from tracer.tracing import function, graph_function, outcome

STAGES = {
    "verifier": (pipeline, "verify"),
    "code generator": (layout, "lower"),
    "layout": (layout, "lay_out"),
    "kernel source": (cpu, "source"),
    "key of the plan": (planned, "_key"),
    "Numba": (compiler, "_linkable"),
    "linker": (compiler._Loader, "add"),
    "driver": (program, "_driver"),
    "written-out replay": (function, "express"),
    "recorder": (interp.Build, "bind_typed"),
    "end of the recording": (function, "finish"),
    "description of results": (outcome.Results, "describe"),
    "dependence": (graph_function, "_dependence"),
}
ERRORS = [TypeError("planted"), RecursionError("planted"), MemoryError(), AssertionError("planted")]


class Stateful:
    """A step that draws random numbers, changes a buffer in place and sets a gradient."""

    def __init__(self):
        tracer.manual_seed(3)
        self.w = w = tracer.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
        self.total = total = tracer.zeros(4)

        def step(x):
            w.grad = None
            y = (w * x + tracer.rand(4)).softmax(-1)
            loss = (y * y).sum()
            loss.backward()
            total.add_(y.detach())
            return loss.detach()

        self.step = step

    def run(self, step, calls=5):
        seen = []
        for i in range(calls):
            loss = step(tracer.full((4,), float(i % 3)))
            seen += [loss.item(), *self.w.grad.tolist(), *self.total.tolist(), self.total._version]
        return [*seen, tracer.rand(1).item()]


def expected():
    it = Stateful()
    return it.run(it.step)


def plant(monkeypatch, where, name, error):
    def fail(*args, **kwargs):
        raise type(error)(*error.args)  # a new one: a traceback grows each time its exception is raised

    monkeypatch.setattr(where, name, fail)


@pytest.fixture(autouse=True)
def cold(tmp_path, monkeypatch):
    """Starts with an empty disk cache and no kernels in this process."""
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))
    LOADERS.append(compiler._Loader())
    monkeypatch.setattr(compiler, "_loader", lambda: LOADERS[-1])


LOADERS: list[compiler._Loader] = []  # machine code outlives the test: the driver is used later


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("stage", STAGES)
def test_a_failure_in_a_stage(stage, error, monkeypatch, tmp_path):
    want = expected()
    it = Stateful()
    plant(monkeypatch, *STAGES[stage], error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert it.run(tracer.trace(it.step), 5) == pytest.approx(want, abs=1e-6)
    said = [w for w in caught if issubclass(w.category, tracer.TraceWarning)]
    assert len(said) == 1
    assert said[0].filename == __file__
    if isinstance(error, RecursionError):
        return  # another call may have room, so there is no report
    message = str(said[0].message)
    assert type(error).__name__ in message
    assert re.search(rf"operation \w+.* at {re.escape(__file__)}:\d+", message)
    path = Path(message.rsplit(" ", 1)[1])
    assert path.parent == tmp_path
    assert parse_graph(path.read_text()).name == "step"


@pytest.mark.parametrize("position", range(len(pipeline.COMPILE)))
def test_a_failure_in_a_pass(position, monkeypatch):
    want = expected()
    it = Stateful()

    def fail(graph):
        raise KeyError("planted")

    monkeypatch.setattr(pipeline, "COMPILE", (*pipeline.COMPILE[:position], fail, *pipeline.COMPILE[position + 1 :]))
    with pytest.warns(tracer.TraceWarning, match="compiling operation .* failed \\(KeyError"):
        assert it.run(tracer.trace(it.step), 5) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("stage", ["vjp", "split", "Executable", "_program"])
def test_a_failure_of_a_function_that_is_differentiated_outside(stage, monkeypatch):
    plant(monkeypatch, graph_function, stage, TypeError("planted"))
    x = tracer.tensor([1.0, 2.0], requires_grad=True)
    f = tracer.trace(lambda x: (x * x * x).sum())
    with pytest.warns(tracer.TraceWarning, match="planted"):
        for _ in range(4):
            x.grad = None
            f(x).backward()
            assert x.grad.tolist() == [3.0, 12.0]


def test_a_failure_of_the_backward_half(monkeypatch):
    x = tracer.tensor([1.0, 2.0], requires_grad=True)
    f = tracer.trace(lambda x: (x.exp() * x * x).sum())
    want = tracer.autograd.grad(f.function(x), x)[0].tolist()
    f(x)
    y = f(x)
    plant(monkeypatch, graph_function, "_program", TypeError("planted"))
    with pytest.warns(tracer.TraceWarning, match="planted") as caught:
        y.backward()
        assert x.grad.tolist() == pytest.approx(want)
        assert tracer.autograd.grad(f(x), x)[0].tolist() == pytest.approx(want)
    assert len(caught) == 1


@pytest.mark.parametrize("stage", ["_program", "SIMPLIFY"])
def test_a_failure_of_the_second_derivative(stage, monkeypatch):
    x = tracer.tensor([1.0, 2.0], requires_grad=True)
    f = tracer.trace(lambda x: (x**4).sum())
    f(x)
    tracer.autograd.grad(f(x), x)
    if stage == "SIMPLIFY":
        monkeypatch.setattr(pipeline, "SIMPLIFY", (lambda graph: graph.missing,))
    else:
        plant(monkeypatch, graph_function, stage, TypeError("planted"))
    with pytest.warns(tracer.TraceWarning):
        (g,) = tracer.autograd.grad(f(x), x, create_graph=True)
        g.sum().backward()
    assert x.grad.tolist() == pytest.approx([12.0, 48.0])


def test_recording_of_a_backward_pass_fails(monkeypatch):
    want = expected()
    it = Stateful()
    count = [0]
    bind = interp.Build.bind_typed

    def fail_later(self, *args):
        count[0] += 1
        if count[0] == 20:
            raise TypeError("planted")
        return bind(self, *args)

    monkeypatch.setattr(interp.Build, "bind_typed", fail_later)
    with pytest.warns(tracer.TraceWarning, match="planted"):
        assert it.run(tracer.trace(it.step), 5) == pytest.approx(want, abs=1e-6)


def test_exports_raise(monkeypatch):
    plant(monkeypatch, layout, "lay_out", TypeError("planted"))
    with pytest.raises(TypeError, match="planted"):
        tracer.trace(lambda x: x * 2 + 17).numba(np.ones(3))


def test_eager_kernels_have_a_second_way(monkeypatch):
    plant(monkeypatch, compiler, "load", TypeError("planted"))
    x = tracer.linspace(-1.5, 1.5, 71)
    with pytest.warns(UserWarning, match="planted"):
        assert x.erf()[35].item() == pytest.approx(0, abs=1e-7)


def test_interrupts_are_not_failures(monkeypatch):
    plant(monkeypatch, layout, "lay_out", KeyboardInterrupt())
    f = tracer.trace(lambda x: x * 2)
    f(tracer.ones(2))
    with pytest.raises(KeyboardInterrupt):
        f(tracer.ones(2))
    monkeypatch.undo()
    assert f(tracer.ones(2)).tolist() == [2.0, 2.0]


def deep(n, f, *args):
    return f(*args) if n <= 0 else deep(n - 1, f, *args)


@pytest.mark.parametrize("more", [3, 5, 8, 12, 20, 40, 80, 130])
def test_calls_from_deep_in_the_stack(more):
    """If there is room for the function there is room for the call, and later calls from elsewhere are compiled."""
    x = tracer.tensor([1.0, 2.0], requires_grad=True)
    f = tracer.trace(lambda x: (x * 3).relu() + 1)

    def depth():
        frame, n = sys._getframe(1), 0
        while frame is not None:
            frame, n = frame.f_back, n + 1
        return n

    def enough(room):
        try:
            deep(sys.getrecursionlimit() - depth() - room, f.function, x)
        except RecursionError:
            return False
        return True

    def called():
        n = sys.getrecursionlimit() - depth() - more - next(filter(enough, range(100)))
        return [deep(n, f, x).tolist() for _ in range(3)]

    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(called()))
    thread.start()
    thread.join()
    assert outcome == [[[4.0, 7.0]] * 3]
    assert f(x).tolist() == [4.0, 7.0]


def test_objects_nested_deeply():
    chain = None
    for i in range(3000):
        chain = [chain, float(i)]
    f = tracer.trace(lambda x: x * chain[1])
    for _ in range(6):
        assert f(tracer.ones(2)).tolist() == [2999.0] * 2
    assert f.cache_info().recordings == 1 and not f.eager_reasons
