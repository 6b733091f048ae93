"""Compiling in the background (``trace(wait=False)``): calls run eagerly until it is done, and nothing happens twice."""

import copy
import os
import pickle
import subprocess
import sys
import threading
import warnings

import pytest

import tracer
from tracer import nn
from tracer.tracing import graph_function
from tracer.tracing.failure import TraceWarning


@pytest.fixture
def held(monkeypatch):
    """An event without which the background compiles nothing."""
    go = threading.Event()
    program = graph_function._program

    def waiting(graph, placement):
        if threading.current_thread() is not threading.main_thread():
            go.wait(60)
        return program(graph, placement)

    monkeypatch.setattr(graph_function, "_program", waiting)
    yield go
    go.set()


def counts(f):
    info = f.cache_info()
    return info.replays, info.recordings, info.eager


def training(trace):
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 1))
    optimizer = tracer.optim.Adam(model.parameters(), lr=0.1)
    x, steps = tracer.randn(16, 4), []

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        steps.append(loss.item())
        return loss

    step = trace(step)
    return step, x, steps


def test_calls_run_eagerly_until_it_is_compiled(held):
    eager, y, expected = training(lambda f: f)
    for _ in range(12):
        eager(y)
    step, x, steps = training(tracer.trace(wait=False))
    for _ in range(6):
        step(x)
    replays, recordings, others = counts(step)
    assert replays == 0
    assert others == 6 - recordings
    assert steps == expected[:6]  # the same, as the same code ran
    assert "being compiled in the background" in str(step.explain()) or "not compiled yet" in str(step.explain())
    held.set()
    assert step.wait_until_compiled()
    for _ in range(6):
        step(x)
    assert counts(step) == (6, recordings, others)
    assert steps == pytest.approx(expected, rel=1e-5)


def test_waiting_has_an_end(held):
    f = tracer.trace(lambda x: (x * 2).sin().sum(), wait=False)
    x = tracer.ones(3)
    f(x)
    assert not f.wait_until_compiled(0.01)
    held.set()
    assert f.wait_until_compiled(60)
    assert counts(f) == (0, 1, 0)
    f(x)
    assert counts(f) == (1, 1, 0)


def test_without_it_the_second_call_compiles():
    f = tracer.trace(lambda x: (x * 2).cos().sum())
    x = tracer.ones(3)
    f(x)
    f(x)
    assert counts(f) == (1, 1, 0)
    assert f.wait_until_compiled(0)


def test_paths(held):
    def halved(x):
        n = 0
        while x.sum() > 1:
            x, n = x / 2, n + 1
        return x, n

    f = tracer.trace(halved, wait=False)
    x = tracer.ones(4)
    assert f(x)[1] == f(x)[1] == 2
    assert counts(f) == (0, 1, 1)
    held.set()
    assert f.wait_until_compiled()
    assert f(x)[1] == 2
    assert counts(f) == (1, 1, 1)
    x = tracer.full((4,), 8.0)  # further along the same program
    for _ in range(3):
        assert f(x)[1] == halved(x)[1] == 5
    f.wait_until_compiled()
    assert f(x)[1] == 5
    assert counts(f)[0] >= 2


def test_a_derivative_outside_is_compiled_with_the_call(held):
    f = tracer.trace(lambda x: (x * x).exp().sum(), wait=False)
    x = tracer.ones(3, requires_grad=True)
    f(x).backward()
    held.set()
    assert f.wait_until_compiled()
    (function,) = [trace.function for trace in f._all_traces()]
    assert {"forward", "backward"} <= set(vars(function))
    x.grad = None
    f(x).backward()
    assert counts(f) == (1, 1, 0)
    assert x.grad.tolist() == pytest.approx([2 * 2.718281828] * 3)


def test_a_failure_is_reported_by_a_call_once(monkeypatch):
    def fails(graph, placement):
        raise ValueError("planted")

    monkeypatch.setattr(graph_function, "_program", fails)
    f = tracer.trace(lambda x: x.sin() * 5, wait=False)
    x = tracer.ones(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(x)
        assert f.wait_until_compiled()
    with pytest.warns(TraceWarning, match="planted") as said:
        for _ in range(3):
            f(x)
    assert len(said) == 1
    assert counts(f) == (0, 1, 3)


def test_errors_of_the_function_are_its_own(held):
    fails = False

    def f(x):
        if fails:
            raise ZeroDivisionError
        return x.sin()

    def g(x):
        y = x.sin()
        numbers.append(1 / y.numel())
        return y.reshape(5, shape)

    numbers, shape = [], 2
    traced = tracer.trace(f, wait=False)
    traced(tracer.ones(3))
    fails = True
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            traced(tracer.ones(3))
    traced = tracer.trace(g, wait=False)
    traced(tracer.ones(10))
    with pytest.raises(RuntimeError):
        traced(tracer.ones(11))
    assert not traced.eager_reasons


def test_copies_keep_the_option():
    class Doubled:
        def __call__(self, x):
            return x * 2

    f = tracer.trace(Doubled(), wait=False)
    assert not copy.copy(f)._wait
    assert not copy.deepcopy(f)._wait
    module = tracer.trace(nn.Linear(2, 2), wait=False)
    for m in (module, copy.copy(module), copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert not m._tracer_function._wait
        assert m.wait_until_compiled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_begins_anew():
    functions = [tracer.trace(lambda x, k=k: (x + k).tan(), wait=False) for k in range(4)]
    x = tracer.ones(3)
    for f in functions:
        f(x)
    child = os.fork()
    for f in functions:
        f.wait_until_compiled(60)
        f(x)
    replayed = [counts(f)[0] for f in functions] == [1] * 4
    if not child:
        os._exit(0 if replayed else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert replayed


def test_threads(held):
    f = tracer.trace(lambda x: (x * x + 1).log(), wait=False)
    x = tracer.ones(1000)
    expected = (x * x + 1).log()
    f(x)
    wrong = []

    def calls():
        for _ in range(50):
            if not tracer.allclose(f(x), expected):
                wrong.append(1)

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for t in threads:
        t.start()
    held.set()
    for t in threads:
        t.join()
    f.wait_until_compiled()
    f(x)
    assert not wrong
    assert counts(f)[1] == 1
    assert counts(f)[0] >= 1


def test_the_process_ends_while_it_compiles(tmp_path):
    script = """
import tracer
functions = [tracer.trace(lambda x, k=k: (x * k).sin().sum(k % 2), wait=False) for k in range(40)]
for f in functions:
    f(tracer.ones(3, 4))
print("over", flush=True)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TRACER_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0
    assert run.stdout == "over\n"
    assert not run.stderr
