"""Checked replays: a correct replay passes, and its effects occur once; a wrong one is reported, with its operation
and line.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import tracer
from tracer import nn, optim, trace
from tracer.nn import functional as F
from tracer.tracing import replay


def vec(*values, grad=False):
    return tracer.tensor(values or (1.0, 2.0, 3.0), requires_grad=grad)


def test_a_training_step_is_done_once():
    results = []
    for wrap in (lambda f: f, trace(check=True)):
        tracer.manual_seed(0)
        m = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2))
        optimizer = optim.Adam(m.parameters(), lr=0.1)

        @wrap
        def step(x, y, m=m, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(m(x), y)
            loss.backward()
            optimizer.step()
            return loss

        losses = [step(tracer.randn(6, 3), tracer.arange(6) % 2).item() for _ in range(8)]
        results.append(np.array([*losses, *m[0].weight.flatten().tolist(), *m[2].running_mean.tolist(), tracer.rand(1).item()]))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-6)
    assert step.cache_info().replays >= 6


def test_gradients_outside_branches_and_prints(capsys):
    @trace(check=True)
    def f(x):
        y = x * 2
        print("sum", y.sum().item())
        if y.sum() > 10:
            y = y.exp()
        return {"y": y, "l": [y.sum(), 3]}

    for i in range(8):
        x = vec(1.0, float(i % 3), 2.0 + i % 2, grad=True)
        out = f(x)
        out["l"][0].backward()
        assert x.grad is not None
    assert f.cache_info().replays >= 3
    assert len(capsys.readouterr().out.splitlines()) == 8


def spoiled(monkeypatch):
    """Lets replays run whatever they depend on."""
    from tracer.tracing.guards import Environment

    monkeypatch.setattr(Environment, "key", lambda self: 0)


def test_a_stale_constant_is_named(monkeypatch):
    factor = [2.0]

    @trace(check=True)
    def f(x):
        y = x + 1
        return y * factor[0]

    f(vec()), f(vec())
    spoiled(monkeypatch)
    factor[0] = 3.0
    f.environment._walk.asks_types = False
    key = next(iter(f.traces))
    f.traces[(key[0], 0, *key[2:])] = f.traces[key]
    line = f.__code__.co_firstlineno + 3
    with pytest.raises(
        tracer.TraceError, match=rf"f: the result is off by 4 in a replay; .* full at .*test_trace_check.py:{line}"
    ):
        f(vec())


def test_a_wrong_kernel_is_named(monkeypatch):
    f = trace(lambda x: x.exp() + 1, check=True)
    f(vec()), f(vec())
    right = replay.Trace.replay
    monkeypatch.setattr(replay.Trace, "replay", lambda self, call: right(self, call) + 1)
    with pytest.raises(tracer.TraceError, match=r"off by 1 in a replay; computed by add at .*test_trace_check.py"):
        f(vec())


def test_a_wrong_update_is_named_and_state_is_as_before(monkeypatch):
    total = vec()

    @trace(check=True)
    def f(x):
        total.add_(x)
        return x * 2

    f(vec()), f(vec())
    assert total.tolist() == [3, 6, 9]
    right = replay.Trace.replay

    def wrong(self, call):
        result = right(self, call)
        total._data += 1
        return result

    monkeypatch.setattr(replay.Trace, "replay", wrong)
    with pytest.raises(tracer.TraceError, match="that it changes is off by 1"):
        f(vec())


def test_what_the_function_raises_instead_is_named(monkeypatch):
    switch = [True]

    @trace(check=True)
    def f(x):
        if not switch[0]:
            raise ValueError("no")
        return x * 2

    f(vec()), f(vec())
    spoiled(monkeypatch)
    key = next(iter(f.traces))
    f.traces[(key[0], 0, *key[2:])] = f.traces[key]
    switch[0] = False
    with pytest.raises(tracer.TraceError, match="where the function raises ValueError: no"):
        f(vec())


def test_the_environment_variable_checks_all_functions():
    program = """
import tracer
f = tracer.trace(lambda x: x * 2)
for _ in range(3): assert f(tracer.ones(2)).tolist() == [2, 2]
assert f.cache_info().replays == 2 and not f._express
"""
    for value, code in (("1", 0), ("0", 1)):
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "TRACER_CHECK": value}, stderr=subprocess.DEVNULL
        )
        assert done.returncode == code


def test_checked_modules_stay_checked():
    import copy

    m = trace(nn.Linear(3, 2), check=True)
    assert m._tracer_function._check and copy.deepcopy(m)._tracer_function._check
    for _ in range(3):
        assert m(vec()).shape == (2,)


def test_effects_on_objects_are_done_once():
    class Counter:
        steps, last = 0, None

    counter, log, table = Counter(), [], {"n": 0}

    @trace(check=True)
    def f(x, items):
        counter.steps += 1
        counter.last = x * counter.steps
        log.append(x.sum().item())
        table["n"] = table["n"] + 2
        items.append(x)
        return counter.last

    for i in range(1, 10):
        items = []
        assert f(vec(), items).tolist() == [i, 2 * i, 3 * i] and len(items) == 1
        assert counter.steps == len(log) == i and table["n"] == 2 * i and counter.last.tolist() == [i, 2 * i, 3 * i]
    assert f.cache_info().replays >= 3


def test_a_wrong_effect_is_named(monkeypatch):
    table = {"n": 0}

    @trace(check=True)
    def f(x):
        table["n"] += 1
        return x * 2

    while f.cache_info().replays < 2:
        f(vec())
    right = replay.Trace.replay

    def wrong(self, call):
        result = right(self, call)
        table["n"] += 1
        return result

    monkeypatch.setattr(replay.Trace, "replay", wrong)
    with pytest.raises(tracer.TraceError, match="what it changes, item 'n' of a dict"):
        f(vec())
