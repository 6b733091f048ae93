"""Installed packages: what only unused functions reach costs nothing; what runs is guarded, and its effects are replayed."""

import importlib
import sys
import time

import pytest

import tracer
from tracer import trace
from tracer.tracing.failure import TraceWarning
from tracer.tracing.known import is_installed

SOURCE = """
COUNT = 0
SEEN = []
TABLE = {i: [i] for i in range(5000)}
SCALE = 2.0
KEPT = None

class Holder:
    value = 0

HOLDER = Holder()

def count():
    global COUNT
    COUNT += 1
    return COUNT

def see(x):
    SEEN.append(len(SEEN))
    return x + len(SEEN)

def scaled(x):
    return x * SCALE

def hold(x):
    HOLDER.value += 1
    return x * HOLDER.value

def keep(x):
    global KEPT
    before, KEPT = KEPT, x
    return x if before is None else x + before

def draw():
    return TABLE, SEEN, COUNT
"""


@pytest.fixture(params=["site-packages", "records of an installer"])
def package(request, tmp_path, monkeypatch):
    """A package that looks installed."""
    place = tmp_path / request.param
    place.mkdir()
    if request.param != "site-packages":
        (place / "installed_package-1.0.dist-info").mkdir()
    is_installed.cache_clear()
    (place / "installed_package.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(place)
    import installed_package

    yield installed_package
    del sys.modules["installed_package"]
    is_installed.cache_clear()


def test_what_unused_functions_reach_in_packages_is_left_out(package):
    class Model:
        def step(self, x):
            return x * 2

        def plot(self):
            return package.draw()

    model = Model()
    f = trace(lambda x: model.step(x))
    for _ in range(3):
        f(tracer.ones(2))
    assert f.cache_info().replays == 2
    assert len(f.environment.latest_walk().seen) < 20


def test_rewritten_asserts_reach_nothing():
    def f(x):
        assert x.shape == (2,), "two"
        assert 1 in {1: 2}
        return x * 2

    g = trace(f)
    for _ in range(3):
        g(tracer.ones(2))
    assert g.cache_info().replays == 2
    assert len(g.environment.latest_walk().seen) < 20


PROGRAMS = {
    "a global is counted": lambda p: lambda x, k: x + p.count(),
    "a list grows": lambda p: lambda x, k: p.see(x),
    "a constant is read": lambda p: lambda x, k: p.scaled(x),
    "an object is changed": lambda p: lambda x, k: p.hold(x),
    "a tensor is kept": lambda p: lambda x, k: p.keep(x),
    "one runs later": lambda p: lambda x, k: p.hold(x) if k else p.see(x),
    "a later path runs it": lambda p: lambda x, k: p.hold(x) if x[0] > 4 else x * 2,
    "all of them": lambda p: lambda x, k: p.keep(p.hold(p.see(p.scaled(x)))) + p.count(),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_code_of_packages_that_runs(package, name):
    program = PROGRAMS[name]

    def run(wrap):
        package.COUNT, package.SEEN[:], package.SCALE, package.KEPT, package.HOLDER.value = 0, [], 2.0, None, 0
        f = wrap(program(package))
        found = []
        for n in range(12):
            if n == 7:
                package.SCALE = 3.0
            found.append(f(tracer.full((2,), float(n)), n > 3).tolist())
            kept = None if package.KEPT is None else package.KEPT.tolist()
            found.append((package.COUNT, list(package.SEEN), package.HOLDER.value, kept))
        return found, f

    want, _ = run(lambda f: f)
    got, traced = run(trace)
    assert got == want
    assert traced.cache_info().replays >= 6 and traced.cache_info().traces, traced.explain()


def test_effects_behind_very_many_objects_that_only_unused_functions_reach():
    """The walk before the first run ends after very many objects; what it left out is described before a run is replayed."""
    many = [[i] for i in range(30_000)]

    class Model:
        def unused(self):
            return many

        def scale(self, x):
            return x * 2

    def counting(wrap):
        model, state = Model(), {}

        def step(x):
            if "count" not in state:
                state["count"] = tracer.zeros(())
            state["count"] += 1
            return model.scale(x) * state["count"]

        return wrap(step), state

    for wrap in (lambda f: f, trace):
        step, state = counting(wrap)
        assert [step(tracer.ones(1)).item() for _ in range(5)] == [2, 4, 6, 8, 10]
        assert state["count"].item() == 5
    assert step.cache_info().replays >= 2


PROGRESS = """
import sys, threading, time

class tqdm:
    lock = threading.RLock()
    bars = []

    def __init__(self, items):
        self.items, self.began = items, time.time()
        with self.lock:
            self.bars.append(self)

    def __iter__(self):
        for k, item in enumerate(self.items):
            sys.stderr.write(f"{k} {time.time() - self.began} ")
            yield item
        self.bars.remove(self)

    @classmethod
    def write(cls, text):
        sys.stdout.write(text)
"""


def test_progress_bars_are_drawn_by_recordings_alone(tmp_path, monkeypatch, capsys):
    """They read clocks, hold locks and change classes, and nothing depends on that."""
    (tmp_path / "tqdm.py").write_text(PROGRESS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tqdm", raising=False)
    tqdm = importlib.import_module("tqdm").tqdm

    def steps(x):
        for k in tqdm(range(3)):
            x = x * 0.5 + k
        tqdm.write("done")
        return x

    traced = trace(steps)
    for call in range(4):
        assert traced(tracer.full((2,), float(call))).tolist() == [call / 8 + 2.5] * 2
        written = capsys.readouterr()
        assert written.out == "done" and (written.err.startswith("0 ") if call == 0 else written.err == "")
    assert traced.cache_info()[:3] == (3, 1, 0)
    del sys.modules["tqdm"]


def functions(n):
    """Functions that refer to one another."""
    space = {}
    exec("\n".join(f"def g{i}(): return g{(7 * i + 1) % n}, g{(11 * i + 3) % n}" for i in range(n)), space)
    return [space[f"g{i}"] for i in range(n)]


def test_functions_in_arguments_are_compared_once():
    several = functions(400)
    traced, started = trace(lambda x, table: x * len(table)), time.process_time()
    for _ in range(4):
        traced(tracer.ones(2), several)
    assert traced.cache_info().replays == 3
    assert time.process_time() - started < 5  # a walk for each took 10 s


def test_too_many_objects_are_refused_once():
    several = functions(6000)
    traced = trace(lambda x, table: x * len(table))
    with pytest.warns(TraceWarning, match="more than 5000 objects"):
        assert traced(tracer.ones(2), several).tolist() == [6000, 6000]
    started = time.process_time()
    assert traced(tracer.ones(2), several).tolist() == [6000, 6000]
    assert time.process_time() - started < 0.05
