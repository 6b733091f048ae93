"""The texts of ``explain`` and warnings: the tree, effects, times, and the line to change."""

import inspect
import os
import random
import re
import types
import warnings

import numpy as np
import pytest
from twice import vec

import tracer
from tracer import trace


def told_by(f, *calls):
    """The warnings while a function is called."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for args in calls:
            f(*args)
    return [str(w.message) for w in caught if w.category is tracer.TraceWarning]


class Model:
    def __init__(self):
        self.calls, self.log = 0, []

    @trace
    def step(self, x, tol):
        self.calls += 1
        while (x * x).sum() > tol:
            x = x / 2
        if x.sum() > 0:
            self.log.append(x.sum().item())
        return x[: int(x.argmax()) + 1]


def test_the_tree_of_paths():
    """Segments, branches with their line and the value read, effects; consecutive equal segments are shown once."""
    model = Model()
    for k in (1, 1, 300, 300, -1, -1):
        model.step(tracer.arange(1.0, 4.0) * k, 0.5)
    told = model.step.explain()
    first = inspect.getsourcelines(Model.step.function)[1]
    file = re.escape(__file__)
    assert re.search(rf"bool\(\) at {file}:{first + 3}: True", told), told
    assert re.search(rf"bool\(\) at {file}:{first + 5}:\n +(True|False):\n", told), told
    assert re.search(r"\d times:\n +segment: program \d, \d operations in \d kernel", told), told
    assert re.search(rf"a number at {file}:{first + 7}: [13]\n", told), told
    assert "effects: adds to an argument; sets 'calls' of an argument\n" in told, told
    assert told.count("the call ends") == 3 and len(told.splitlines()) < 60, told


def test_a_long_tree_is_shortened():
    @trace
    def f(x):
        return [bool(v > 9) for v in x]

    for n in range(8):
        f(tracer.arange(n, n + 12))
    told = f.explain()
    assert re.search(r"\.\.\. and \d+ more lines", told) and len(told.splitlines()) < 80, told


def test_effects_of_one_graph():
    counts = {"n": 0}
    p = tracer.ones(3, requires_grad=True)
    optimizer = tracer.optim.SGD([p], lr=0.1)

    @trace
    def step(x):
        counts["n"] += 1
        optimizer.zero_grad()
        loss = (p * x).sum()
        loss.backward()
        optimizer.step()
        print("loss", loss.item())

    for _ in range(6):
        step(vec())
    told = step.explain()
    assert "effects: sets counts['n']; changes 1 tensor in place; sets 1 gradient; prints or logs 1 time" in told, told


def test_times():
    @trace
    def f(x):
        return (x * 2).sum()

    for _ in range(3):
        f(vec())
    took = r"[\d.e+]+ (s|ms|us)"
    line = rf"recorded in {took}, compiled in {took}, replayed 2 times, the fastest that was timed in {took}\n"
    assert re.search(line, f.explain() + "\n"), f.explain()


def reads_an_open_file(path):
    file = open(path)  # noqa: SIM115

    def f(x):
        return x * len(file.read())

    return f, 1


def draws(_):
    generator = random.SystemRandom()

    def f(x):
        y = x * 2
        return y * generator.random()

    return f, 2


def changes_what_autograd_follows(_):
    followed = tracer.ones(3, requires_grad=True) * 2

    def f(x):
        followed.add_(x)
        return x

    return f, 1


def changes_a_leaf(_):
    weight = tracer.ones(3, requires_grad=True)

    def f(x):
        with tracer.no_grad():
            weight.add_(x)
        return weight * x

    return f, 2


def reads_the_clock_in_c(_):
    def f(x):
        return x * os.stat(".").st_mtime_ns

    return f, 1


CULPRITS = [reads_an_open_file, draws, changes_what_autograd_follows, changes_a_leaf, reads_the_clock_in_c]


@pytest.mark.parametrize("make", CULPRITS, ids=lambda make: make.__name__)
def test_the_line_that_is_to_be_changed(make, tmp_path):
    """A warning, and ``explain``, name the line that makes a function eager, and say what to write instead."""
    (tmp_path / "file").touch()
    f, line = make(tmp_path / "file")
    where = f"{f.__code__.co_filename}:{f.__code__.co_firstlineno + line}"
    f = trace(f)
    [told] = told_by(f, (vec(),), (vec(),))
    assert f"({where})" in told or f" at {where}" in told, told
    assert ": " in told.rpartition(where)[2], told
    assert where in f.explain(), f.explain()


settings = types.SimpleNamespace(mode="x0")
mode = "k"


def test_what_changes_in_every_call():
    """A function that keeps recording says so once, with what differed between the last two calls."""
    global mode

    @trace
    def shapes(x):
        return x * 2

    @trace
    def text(x, name):
        return x * len(name)

    @trace
    def attribute(x):
        return x * len(settings.mode)

    @trace
    def name(x):
        return x * len(mode)

    found = dict.fromkeys(("shapes", "text", "attribute", "name"), ())
    for n in range(70):
        settings.mode, mode = f"x{n}", f"k{n}"
        for f, *args in ((shapes, tracer.ones(n + 1)), (text, vec(), f"n{n}"), (attribute, vec()), (name, vec())):
            found[f.__name__] += tuple(told_by(f, args))
    assert all(len(told) == 1 and "keeps recording" in told[0] for told in found.values()), found
    for f, how in (
        ("shapes", r"x: float32\[\d+\], and then float32\[\d+\]"),
        ("text", r"name: str 'n\d+', and then str 'n\d+'"),
        ("attribute", r"mode was str 'x\d+', and then str 'x\d+'"),
        ("name", r"mode was str 'k\d+', and then str 'k\d+'"),
    ):
        assert re.search(how, found[f][0]), found[f]


def test_elements_that_were_seen():
    """The elements that NumPy computed with; of many elements, their number."""

    @trace
    def f(x):
        return np.sort(x.numpy())[0]

    for n in (2, 1000):
        for k in range(2):
            f(tracer.full((n,), float(k)))
    told = f.explain()
    assert "numpy() at" in told and "[0., 0.]" in told and "[1., 1.]" in told and "1000 elements" in told, told
