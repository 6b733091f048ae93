"""One thread records at a time: other threads' calls run eagerly meanwhile, or replay, unaffected by the recording."""

import builtins
import contextlib
import io
import logging
import math
import os
import random
import subprocess
import sys
import threading
import time

import pytest

import tracer
from tracer.core.context import context


class Model:
    def __init__(self):
        self.k, self.steps, self.log = 2.0, 0, []


def programs():
    model, logger = Model(), logging.getLogger("threads")

    def counts(x):
        model.steps += 1
        model.log.append(x.sum().item())
        return x * len(model.log) * model.steps

    return {
        "plain": lambda x: x * 2 + 1,
        "math": lambda x: x * math.sin(model.k),
        "attribute": lambda x: x * model.k * 2,
        "print": lambda x: (print("printed", end=""), x * 2)[1],
        "log": lambda x: (logger.info("a %s", 1), x * 2)[1],
        "random": lambda x: x * (random.random() > 2),
        "clock": lambda x: x + time.time() * 0,
        "float": lambda x: x * float(x.sum()),
        "counts": counts,
    }


def world():
    spaces = {"builtins": builtins, "math": math, "random": random, "time": time, "Logger": logging.Logger}
    found = {(name, key): value for name, space in spaces.items() for key, value in vars(space).items()}
    return {**found, "streams": (sys.stdout, sys.stderr), "generator": type(random._inst), "recorder": context.recorder}


@contextlib.contextmanager
def recorded_elsewhere(work=lambda x: x):
    """Another thread records a function in this block, including ``work``."""
    started, over, errors = threading.Event(), threading.Event(), []

    def slow(x):
        x = work(x) * math.cos(0.0)
        started.set()
        over.wait(30)
        return work(x) + random.random() * 0

    def run():
        try:
            tracer.trace(slow)(tracer.ones(2))
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(30)
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not errors


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = world()
    yield
    after = world()
    assert [key for key in before if before[key] is not after[key] and before[key] != after[key]] == []


@pytest.mark.parametrize("name", sorted({*programs()} - {"counts"}))  # two threads would change one object
@pytest.mark.parametrize("calls_before", [0, 4])
def test_calls_while_another_thread_records(name, calls_before):
    """They have the eager results, even if both run the same code, and are recorded or replayed afterwards."""
    x = tracer.tensor([0.5, 2.0])
    eager, function = programs()[name], programs()[name]
    f = tracer.trace(function)

    def both():
        output = [io.StringIO(), io.StringIO()]
        results = []
        for call, text in zip((eager, f), output, strict=True):
            with contextlib.redirect_stdout(text):
                results.append(call(x).tolist())
        assert results[0] == pytest.approx(results[1], rel=1e-6)
        assert output[0].getvalue() == output[1].getvalue()

    for _ in range(calls_before):
        both()
    with recorded_elsewhere(function):
        for _ in range(4):
            both()
    before = f.cache_info().replays
    for _ in range(5):
        both()
    assert f.cache_info().replays >= before + 2 and not f.eager_reasons


def test_threads_that_record_at_the_same_time():
    """The same kinds of functions, started together many times: every result is correct, and none stays eager."""
    x, made, errors = tracer.tensor([0.5, 2.0]), [], []
    expected = {name: f(x).tolist() for name, f in programs().items() if name not in ("random", "counts", "print")}

    def run(barrier):
        barrier.wait()
        for name in expected:
            f = tracer.trace(programs()[name])
            made.append(f)
            for _ in range(4):
                got = f(x).tolist()
                if got != pytest.approx(expected[name], rel=1e-6):
                    errors.append((name, got))

    for _ in range(8):
        barrier = threading.Barrier(4)
        threads = [threading.Thread(target=run, args=(barrier,)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not errors
    for f in made:
        before = f.cache_info().replays
        for _ in range(8):
            f(x)
        assert f.cache_info().replays >= before + 2 and not f.eager_reasons


FORKS = """
import os, threading, warnings
import tracer
warnings.simplefilter("ignore")
f = tracer.trace(lambda x: (x * 3).sum())
stop = []

def work():
    n = 1
    while not stop:
        f(tracer.ones(n % 50 + 1))
        n += 1

thread = threading.Thread(target=work)
thread.start()
failed = 0
for _ in range(6):
    child = os.fork()
    if child == 0:
        threading.Timer(20, os._exit, (1,)).start()
        os._exit(0 if [f(tracer.ones(200 + i)).item() for i in range(3)] == [600, 603, 606] else 2)
    failed += os.waitpid(child, 0)[1] != 0
stop.append(1)
thread.join()
print(failed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no os.fork, as Windows")
def test_a_fork_while_another_thread_calls_traced_functions():
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=280)
    assert done.stdout.split() == ["0"], done.stderr
