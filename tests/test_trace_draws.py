"""Random numbers of Python and NumPy in traced functions: the same draws as in eager mode, none twice, and compiled."""

import copy
import os
import random
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from twice import same, vec

import tracer
from tracer import nn

RATE = np.random.default_rng(3)


def states(*generators):
    found = [random.getstate(), np.random.get_state(legacy=False)]
    found += [g.getstate() if isinstance(g, random.Random) else repr(getattr(g, "bit_generator", g)) for g in generators]
    return repr(found), [g.bit_generator.state for g in generators if isinstance(g, np.random.Generator)]


def outcome(f, *args):
    try:
        return f(*args)
    except Exception as e:
        return type(e), str(e)


def run(make, trace, calls):
    random.seed(5)
    np.random.seed(5)
    tracer.manual_seed(5)
    python, numpy, old = random.Random(7), np.random.default_rng(7), np.random.RandomState(7)
    f = make(trace, python, numpy, old)
    seen = []
    for i in range(calls):
        result = outcome(f, vec(i % 3))
        seen.append((result, repr(python.getstate()), repr(numpy.bit_generator.state), repr(old.get_state()), states()[0]))
    return seen


def twice(make, calls=12, compiled=True, recordings=None):
    """Calls a function with and without the decorator, and compares results and the generators after each call."""
    made = []

    def trace(f):
        made.append(tracer.trace(f))
        return made[-1]

    same(run(make, lambda f: f, calls), run(make, trace, calls))
    if compiled:
        info, explained = made[0].cache_info(), made[0].explain()
        assert not made[0].eager_reasons and info.replays, explained
        assert recordings is None or info.recordings <= recordings, explained


# Functions of the sources of random numbers: Python's module, and instances of generators.

NUMBERS = {
    "random": lambda x, p, n, o: x * random.random(),
    "uniform": lambda x, p, n, o: x * random.uniform(1, 2) + random.uniform(2, 3),
    "betavariate": lambda x, p, n, o: x * random.betavariate(0.4, 0.4),
    "gauss": lambda x, p, n, o: x + random.gauss(0, 1) + random.gauss(1, 2) * random.gauss(),
    "normalvariate": lambda x, p, n, o: x + random.normalvariate(mu=0.0, sigma=2.0),
    "several": lambda x, p, n, o: x + random.expovariate(2) + random.triangular() + random.lognormvariate(0, 1),
    "returned": lambda x, p, n, o: (random.random(), x.sum(), [random.random()], {"k": random.randint(1, 1000)}),
    "an int": lambda x, p, n, o: x * random.randint(1, 1 << 20),
    "randrange": lambda x, p, n, o: (x, random.randrange(0, 1000, 5) * 2.0),
    "bits": lambda x, p, n, o: (x * 2, random.getrandbits(70)),
    "choice of floats": lambda x, p, n, o: x * random.choice([0.5, 1.5, 2.5, 4.0]),
    "choice of a range": lambda x, p, n, o: x * random.choice(range(2, 1000)),
    "choices": lambda x, p, n, o: x * random.choices([1.0, 2.0, 3.0], weights=[1, 2, 3], k=2)[1],
    "sample of a range": lambda x, p, n, o: (
        x[random.sample(range(3), 2)] if x.numel() < 0 else (x, random.sample(range(99), 3))
    ),
    "sample of floats": lambda x, p, n, o: (x, sum(random.sample([1.0, 2.0, 3.0, 4.0], 2))),
    "an instance": lambda x, p, n, o: x * p.random() + p.uniform(0, 1),
    "NumPy": lambda x, p, n, o: x * np.random.rand() + np.random.uniform(1, 2) + np.random.normal(),
    "NumPy's ints": lambda x, p, n, o: (x, np.random.randint(1000)),
    "a generator of NumPy": lambda x, p, n, o: x * n.random() + n.normal(1.0, scale=0.5),
    "its ints": lambda x, p, n, o: (x * 1, n.integers(1 << 40)),
    "a RandomState": lambda x, p, n, o: x * o.rand() + o.standard_normal(),
    "a late bound": lambda x, p, n, o: (random.uniform(0, x.sum().item()), random.random(), random.uniform(0, 1) * x),
    "late, of NumPy": lambda x, p, n, o: (n.normal(x.mean().item()), n.random()),
    "seeded": lambda x, p, n, o: (random.seed(3), x * random.random(), random.random()),
    "seeded, NumPy": lambda x, p, n, o: (np.random.seed(3), x * np.random.rand()),
    "arithmetic": lambda x, p, n, o: (
        x * (1 - random.random()) ** 2 / 3,
        abs(random.random() - 0.5),
        round(random.random(), 3),
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name):
    twice(lambda trace, p, n, o: trace(lambda x: NUMBERS[name](x, p, n, o)), recordings=1)


ARRAYS = {
    "normal": lambda x, n, o: x + tracer.from_numpy(n.normal(size=3).astype(np.float32)),
    "tensor": lambda x, n, o: x * tracer.tensor(np.random.rand(3)),
    "size": lambda x, n, o: x * tracer.tensor(np.random.random(size=x.shape)),
    "permutation": lambda x, n, o: x[np.random.permutation(3)],
    "parts of a permutation": lambda x, n, o: [x[part] for part in (lambda p: (p[:2], p[2:]))(n.permutation(3))],
    "indices": lambda x, n, o: x[np.random.randint(0, 3, (5,))],
    "choice": lambda x, n, o: x[n.choice(3, 2, replace=False)],
    "weighted": lambda x, n, o: x[o.choice(3, size=4, p=[0.2, 0.3, 0.5])],
    "returned": lambda x, n, o: (n.normal(size=(2, 2)), x),
    "written to": lambda x, n, o: tracer.from_numpy(n.normal(size=3)).mul_(2).add_(x),
    "after a look": lambda x, n, o: (x.sum().item(), tracer.from_numpy(n.normal(x.mean().item(), 1.0, size=3)) + x),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name):
    twice(lambda trace, p, n, o: trace(lambda x: ARRAYS[name](x, n, o)), recordings=1)


LOOKS = {
    "a coin": lambda x, p, n: x * 2 if random.random() < 0.5 else x + 1,
    "a coin, then more": lambda x, p, n: (x * random.random(), random.random()) if p.random() < 0.5 else x + random.gauss(),
    "a coin after a look": lambda x, p, n: x * random.random() if x.sum() > 5 and random.random() < 0.5 else x,
    "a look after a draw": lambda x, p, n: (random.random(), x * 2) if (x * random.random()).sum() > 3 else random.random(),
    "choice of strings": lambda x, p, n: getattr(x, random.choice(["exp", "sin", "neg"]))(),
    "choice of tensors": lambda x, p, n: random.choice([x, x * 2]) + 1,
    "choice of functions": lambda x, p, n: random.choice((tracer.exp, tracer.sin))(x),
    "shuffled strings": lambda x, p, n: shuffled(random, ["a", "b", "c"]),
    "an index": lambda x, p, n: x[n.integers(3)],
    "a bool": lambda x, p, n: x if n.random() > 0.5 and bool(n.integers(2)) else x * 3,
    "an int of NumPy": lambda x, p, n: (int(n.integers(2)), x),
    "rejection": lambda x, p, n: rejection(x),
    "a failing draw": lambda x, p, n: random.choice([] if x.sum() > 5 else [1.0, 2.0]) * x,
    "a failing branch": lambda x, p, n: fails(x) if random.random() < 0.5 else x * random.random(),
}


def shuffled(module, items):
    module.shuffle(items)
    return items


def rejection(x):
    count = 0
    while random.random() < 0.5:
        count += 1
    return x * count, random.random()


def fails(x):
    random.random()
    raise ValueError("after a draw")


@pytest.mark.parametrize("name", LOOKS)
def test_what_is_drawn_decides(name):
    twice(lambda trace, p, n, o: trace(lambda x: LOOKS[name](x, p, n)), calls=40)


def test_a_shuffled_list_of_ints():
    def make(trace, p, n, o):
        order = list(range(50))

        @trace
        def f(x):
            mine = list(range(10))
            random.shuffle(mine)
            n.shuffle(mine)
            random.shuffle(order)
            return mine, order[:2], x * mine[0]

        return f

    twice(make, calls=6)


def test_a_generator_among_the_arguments_and_in_an_object():
    class Noise(nn.Module):
        def __init__(self, rng):
            super().__init__()
            self.rng, self.own = rng, random.Random(1)

        def forward(self, x):
            return x + self.rng.normal() * self.own.random()

    def make(trace, p, n, o):
        module, holder = Noise(n), types.SimpleNamespace(rng=n)
        f = trace(lambda x, rng, holder: module(x) * rng.random() + holder.rng.random())
        return lambda x: (f(x, p, holder), module.own.getstate()[1][-1])

    twice(make, compiled=False)


def test_by_names_that_were_imported():
    from random import random as draw
    from random import uniform

    from numpy.random import rand

    def make(trace, p, n, o):
        return trace(lambda x: x * draw() + uniform(0, 1) * rand() + RATE.random() * 0)

    twice(make, recordings=1)


def test_nested_traced_functions():
    def make(trace, p, n, o):
        inner = trace(lambda x: x * random.random() if random.random() < 0.5 else x)
        return trace(lambda x: inner(x) + inner(x * 2) * p.random())

    twice(make, calls=30, compiled=False)


UNSEEN = {
    "a default": lambda x, p, n, o, draw=random.random: x * draw(),
    "a bound method": lambda x, p, n, o: x * (lambda f: f())(o.rand),
    "the state": lambda x, p, n, o: x * random.getstate()[1][0],
    "the state, set": lambda x, p, n, o: (random.setstate(p.getstate()), x * random.random()),
    "the state of a generator": lambda x, p, n, o: x * (n.bit_generator.state["state"]["state"] % 7),
    "the state of another": lambda x, p, n, o: x * float(o.get_state()[1][0] % 7),
    "a copy": lambda x, p, n, o: x * copy.deepcopy(p).random(),
    "a shuffled array": lambda x, p, n, o: (n.shuffle(a := np.arange(5)), a, x),
    "into an array": lambda x, p, n, o: (n.random(out=(a := np.zeros(3))), a, x),
    "many values": lambda x, p, n, o: x * {0: 1}.get(random.getrandbits(40), 2.0),
    "bytes": lambda x, p, n, o: (x, random.randbytes(8)),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_cannot_be_drawn_again_runs_eagerly(name):
    twice(lambda trace, p, n, o: trace(lambda x: UNSEEN[name](x, p, n, o)), calls=30, compiled=False)


def test_other_draws_between_calls_and_other_states():
    def make(trace, p, n, o):
        f = trace(lambda x: x * random.random() + n.random())

        def call(x):
            random.random()
            if x[0] > 1:
                random.seed(0)
                n.bit_generator.advance(3)
            return f(x)

        return call

    def program(trace):
        return run(make, trace, 8)

    same(program(lambda f: f), program(tracer.trace))


def test_a_checked_replay_draws_once():
    def make(trace, p, n, o):
        return trace(lambda x: x * random.random() + n.random() * p.random())

    same(run(make, lambda f: f, 6), run(make, lambda f: tracer.trace(f, check=True), 6))


# Clocks.


def test_clocks_are_read_in_every_call():
    log = []

    @tracer.trace
    def step(x):
        start = time.perf_counter()
        y = (x @ x).tanh() @ x
        took = time.perf_counter() - start
        log.append((start, took, time.time(), time.monotonic_ns()))
        return y, took

    x = tracer.randn(200, 200)
    before = time.perf_counter(), time.time(), time.monotonic_ns()
    for _ in range(5):
        step(x)
    after = time.perf_counter(), time.time(), time.monotonic_ns()
    assert not step.eager_reasons and step.cache_info().recordings <= 2, step.explain()
    starts, times, walls, monotonic = zip(*log, strict=True)
    for values, low, high in zip((starts, walls, monotonic), before, after, strict=True):
        assert list(values) == sorted(values) and low <= values[0] and values[-1] <= high and len(set(values)) == 5
    assert all(t > 1e-5 for t in times)  # computations before a clock are complete when it is read


def test_a_limit_of_time():
    @tracer.trace
    def search(x, limit):
        start, turns = time.monotonic(), 0
        while turns < 3:
            if time.monotonic() - start > limit:
                return x, turns
            x, turns = x * 2, turns + 1
        return x, turns

    for limit in (100.0, 100.0, -1.0, -1.0, 50.0):
        y, turns = search(vec(), limit)
        assert turns == (0 if limit < 0 else 3) and y[0] == 1.0 * 2**turns
    assert not search.eager_reasons and search.cache_info().recordings == 2


def test_files_of_the_cache_draw_from_no_generator_of_the_program(tmp_path):
    """The names of temporary files come from a generator, which a program reaches whose packages make such files."""
    code = """
import tempfile, warnings
import numpy as np
warnings.simplefilter("error")
import tracer
from tracer import nn
from tracer.runtime.compiler import cache

names = tempfile._get_candidate_names()
next(names)
generator = names.rng
model = nn.Linear(3, 3)
optimizer = tracer.optim.Adam(model.parameters())

@tracer.trace
def step(x):
    optimizer.zero_grad()
    cache.write("h_1", b"as a library that is compiled on its first use does")
    loss = model(x).mean() * len(names.characters) + (0 if generator else 1)
    loss.backward()
    optimizer.step()
    return loss

state = generator.getstate()
for _ in range(4):
    step(tracer.ones(2, 3))
assert generator.getstate() == state
"""
    environment = {**os.environ, "TRACER_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
