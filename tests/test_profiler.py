"""The profiler: what it measures, and that a program behaves the same with it."""

import json
import threading

import pytest

import tracer
from tracer import nn, optim, profiler
from tracer.nn import functional as F
from tracer.profiler.spans import Span, nested


def training():
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @tracer.trace
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, tracer.randn(64, 64), tracer.zeros(64, dtype=tracer.int64)


def test_the_steps_of_a_training_step_have_times_bytes_flops_lines_modules_and_phases():
    step, x, y = training()
    with profiler.profile() as p:
        for _ in range(20):
            step(x, y)
    assert p.kernels and all(k.calls == p.kernels[0].calls >= 15 and k.nanoseconds > 0 for k in p.kernels)
    products = [k for k in p.kernels if k.name == "matmul"]
    assert products[0].flops == 2 * 64 * 64 * 128 and products[0].nbytes == 4 * (64 * 64 + 64 * 128 + 64 * 128)
    assert products[0].modules == ("Sequential/0",) and products[0].phase == "forward"
    assert products[-1].phase == "backward"
    phases = {name for k in p.kernels for name in k.phase.split("+")}
    assert phases == {"forward", "backward", "optimizer"}
    lines = [line for k in p.kernels for line in k.lines]
    assert lines and all("test_profiler.py:" in line for line in lines)
    assert all(k.function == "step" and k.share > 0 for k in p.kernels)


def test_the_phases_make_up_the_whole_time():
    step, x, y = training()
    with profiler.profile() as p:
        for _ in range(20):
            step(x, y)
    assert sum(p.phases.values()) == pytest.approx(p.seconds, rel=0.02)
    assert {"recording", "compiling", "guards", "forward", "backward", "optimizer", "results", "Python"} <= set(p.phases)
    assert p.phases["forward"] * 1e9 <= sum(k.nanoseconds for k in p.kernels)


def test_passes_outside_have_times():
    w = tracer.ones(8, requires_grad=True)
    f = tracer.trace(lambda x: (x * w).sin().sum())
    for _ in range(4):
        f(tracer.ones(8)).backward()
    with profiler.profile() as p:
        for _ in range(10):
            f(tracer.ones(8)).backward()
            (f(tracer.ones(8)) * 2).backward()
    assert sum(x.span.kind == "backward" for x in p.nested) == 20
    assert "backward" in {k.phase for k in p.kernels}


def test_code_compiled_before_the_profile_is_measured_and_stays_compiled():
    step, x, y = training()
    for _ in range(5):
        step(x, y)
    before = step.cache_info()
    for _ in range(2):
        with profiler.profile() as p:
            for _ in range(10):
                step(x, y)
        assert {k.calls for k in p.kernels} == {10}
    step(x, y)
    after = step.cache_info()
    assert (after.replays, after.recordings, after.eager) == (before.replays + 21, before.recordings, before.eager)
    assert {k.calls for k in p.kernels} == {10}


def test_a_program_computes_the_same():
    def losses(profiled):
        step, x, y = training()
        with profiler.profile() if profiled else tracer.enable_grad():
            return [step(x, y).item() for _ in range(8)]

    assert losses(True) == losses(False)


def test_backward_outside_of_a_traced_function():
    @tracer.trace
    def f(x):
        return (x.sin() * x).sum()

    x = tracer.ones(1000, requires_grad=True)
    with profiler.profile() as p:
        for _ in range(5):
            f(x).backward()
    assert {k.phase for k in p.kernels} == {"forward", "backward"}
    assert {k.function for k in p.kernels} == {"f"}


def test_eager_operations_by_phase():
    w = tracer.ones(3, requires_grad=True)
    optimizer = optim.Adam([w])
    with profiler.profile() as p:
        (w * 2).sum().backward()
        optimizer.step()
    assert p.eager["mul", "forward"][0] >= 1 and ("sqrt", "optimizer") in p.eager
    assert not p.kernels and {"eager forward", "eager backward", "eager optimizer"} <= set(p.phases)


def test_paths_and_steps_in_python():
    @tracer.trace
    def f(x):
        y, _ = tracer.sort(x)  # NumPy computes it
        return y * 2 if y.sum() > 0 else y

    with profiler.profile() as p:
        for _ in range(5):
            f(tracer.arange(5.0))
    assert {"argsort"} <= {name for k in p.kernels for name in (*k.operations, k.name)}
    assert len({k.program for k in p.kernels}) == 2


def test_threads():
    @tracer.trace
    def f(x):
        return (x * 2).sum()

    x = tracer.ones(100)
    for _ in range(3):
        f(x)
    with profiler.profile() as p:
        threads = [threading.Thread(target=lambda: [f(x) for _ in range(100)]) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert {k.calls for k in p.kernels} == {400}
    assert len({x.span.thread for x in p.nested if x.span.kind == "call"}) >= 1
    assert all(x.span.kind != "kernel" for x in p.nested)  # each is in a program, in a call


def test_a_failed_program_is_measured_up_to_its_failure():
    @tracer.trace
    def f(x, i):
        return x[i] * 2

    x = tracer.ones(3)
    for _ in range(3):
        f(x, tracer.tensor([1]))
    with profiler.profile() as p, pytest.raises(IndexError):
        f(x, tracer.tensor([7]))
    assert p.kernels[0].calls >= 1 and p.kernels[0].nanoseconds > 0


def test_the_trace_file(tmp_path):
    step, x, y = training()
    with profiler.profile() as p, profiler.record_function("everything"):
        for _ in range(5):
            step(x, y)
    p.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert {"mark", "call", "record", "compile", "program", "kernel"} <= {e["cat"] for e in spans}
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in spans)
    mark = next(e for e in spans if e["cat"] == "mark")
    inside = [e for e in spans if e["cat"] == "kernel"]
    assert mark["name"] == "everything" and inside
    assert all(mark["ts"] <= e["ts"] and e["ts"] + e["dur"] <= mark["ts"] + mark["dur"] for e in inside)
    assert {"bytes", "flops", "phase", "lines"} <= set(inside[0]["args"])
    assert any(e["ph"] == "C" and e["args"]["bytes"] > 0 for e in events)


def test_the_table():
    step, x, y = training()
    with profiler.profile() as p:
        for _ in range(5):
            step(x, y)
    text = p.table(limit=3)
    assert "matmul" in text and "GFLOP/s" in text and "more kernels" in text and "test_profiler.py" in text
    assert "<table>" in p._repr_html_()
    with pytest.raises(ValueError, match="sort_by must be one of time, calls, bytes, flops, roof, got 'size'"):
        p.table("size")


def test_one_profile_at_a_time():
    with profiler.profile(), pytest.raises(RuntimeError, match="active already"):
        profiler.profile().start()
    with profiler.profile():
        pass


def test_a_profile_ends_with_an_exception_and_leaves_nothing_behind():
    from tracer.core.eager import Eager
    from tracer.tracing.function import TracedFunction

    plain = TracedFunction.__dict__["__call__"], Eager.__dict__["bind"]
    with pytest.raises(KeyError), profiler.profile():
        raise KeyError
    assert (TracedFunction.__dict__["__call__"], Eager.__dict__["bind"]) == plain


def test_spans_are_nested_by_time_and_thread():
    spans = [
        Span("call", "a", 0, 10, 1),
        Span("kernel", "b", 2, 4, 1),
        Span("kernel", "c", 4, 10, 1),
        Span("call", "d", 3, 5, 2),
    ]
    outer = nested(spans)
    assert [x.span.name for x in outer] == ["a", "d"]
    assert [x.span.name for x in outer[0].inner] == ["b", "c"] and outer[0].own == 2


def test_operations_that_are_left_to_numpy_are_in_the_profile():
    x, y, rows = tracer.ones(4, 4), tracer.zeros(4, 4), tracer.tensor([0, 1])
    with profiler.profile() as p:
        x[rows], x.unbind(), tracer.stack([x, y])
        y[rows] = x[:2]
    names = {name for name, _ in p.eager}
    assert {"index", "select", "concatenate", "index_put"} <= names
