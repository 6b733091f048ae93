"""Guards cover the code that ran, and cannot be bypassed: each program is changed between calls without an announcement."""

import enum
import functools
import logging
import math
import random
import sys
import time
import types

import numpy as np
import pytest
from twice import both, vec

import tracer
from tracer import nn, optim
from tracer.core.context import Structure
from tracer.nn import functional as F

SCALE = 1.0


class Mode(enum.Enum):
    A = 1

    def of(self, x):
        return x * SCALE


class Level(int):
    def of(self, x):
        return x * SCALE


class CHANGES:
    """Each creates a function, and a function that changes what the first one reads."""

    def class_of_an_object():
        class P:
            k = 1.0

        class Q:
            k = 3.0

        o = P()
        return (lambda x: x * o.k), lambda: setattr(o, "__class__", Q)

    def bases_of_a_class():
        class P:
            k = 1.0

        class Q:
            k = 3.0

        class C(P):
            pass

        return (lambda x: x * C().k), lambda: setattr(C, "__bases__", (Q,))

    def metaclass():
        class Meta(type):
            k = 1.0

        class C(metaclass=Meta):
            pass

        return (lambda x: x * C.k), lambda: setattr(Meta, "k", 3.0)

    def method_of_an_enum_member():
        return (lambda x, m=Mode.A: m.of(x)), lambda: globals().update(SCALE=3.0)

    def method_of_a_number():
        level = Level(2)
        return (lambda x: level.of(x)), lambda: globals().update(SCALE=3.0)

    def attribute_of_a_number():
        level = Level(2)
        level.k = 1.0
        return (lambda x: x * level.k), lambda: setattr(level, "k", 3.0)

    def attribute_of_an_enum_member():
        return (lambda x: x * getattr(Mode.A, "k", 1.0)), lambda: setattr(Mode.A, "k", 3.0)

    def state_of_a_partial():
        q = functools.partial(lambda k, x: x * k, 1.0)
        return (lambda x: q(x)), lambda: q.__setstate__((q.func, (3.0,), {}, {}))

    def keyword_of_a_partial():
        q = functools.partial(lambda x, k: x * k, k=1.0)
        return (lambda x: q(x)), lambda: q.keywords.update(k=3.0)

    def cache_cleared():
        held = [1.0]
        k = functools.lru_cache(lambda: held[0])
        k()
        held[0] = 3.0
        return (lambda x: x * k()), k.cache_clear

    def attribute_that_a_module_computes():
        held, m = {"k": 1.0}, types.ModuleType("settings_of_a_test")
        m.__getattr__ = lambda name: held[name]
        return (lambda x: x * m.k), lambda: held.update(k=3.0)

    def dictionary_of_a_module():
        m = nn.Identity()
        m.k = 1.0
        return (lambda x: x * m.k), lambda: m.__dict__.update(k=3.0)

    def dictionary_of_a_submodule():
        m = nn.Sequential(nn.Identity())
        m[0].k = 1.0
        return (lambda x: x * m[0].k), lambda: m[0].__dict__.update(k=3.0)

    def level_of_a_logger():
        log = logging.getLogger("a logger of a test")
        log.setLevel(logging.INFO)
        return (lambda x: x * (3 if log.isEnabledFor(logging.DEBUG) else 1)), lambda: log.setLevel(logging.DEBUG)

    def level_of_a_parent():
        log, parent = logging.getLogger("parent_of_a_test.child"), logging.getLogger("parent_of_a_test")
        parent.setLevel(logging.INFO)
        return (lambda x: x * (3 if log.isEnabledFor(logging.DEBUG) else 1)), lambda: parent.setLevel(logging.DEBUG)

    def number_of_threads():
        tracer.set_num_threads(1)
        return (lambda x: x * tracer.get_num_threads()), lambda: tracer.set_num_threads(2)

    def rate_by_setdefault():
        group = optim.SGD([vec().requires_grad_()], lr=0.5).param_groups[0]
        return (lambda x: x * (group.setdefault("lr", 9.0) + (group | {})["lr"])), lambda: group.update(lr=1.5)


PATCHES = {
    "a function": (F, "relu", lambda x: F.relu(x)),
    "a function of the package": (tracer, "exp", lambda x: tracer.exp(x)),
    "a layer": (nn.ReLU, "forward", lambda x, m=nn.ReLU(): m(x)),  # noqa: B008
    "a layer that a function makes": (nn.ReLU, "forward", lambda x: nn.ReLU()(x)),
    "a method": (tracer.Tensor, "exp", lambda x: x.exp()),
    "a function of Python": (math, "floor", lambda x: x * math.floor(2.5)),
    "a function of NumPy": (np, "prod", lambda x: x * int(np.prod((1, 2)))),
}


@pytest.mark.parametrize("what", [name for name in vars(CHANGES) if not name.startswith("_")])
def test_what_changes_unannounced(what, monkeypatch):
    threads = tracer.get_num_threads()
    monkeypatch.setattr(Structure, "settings", {})  # what traced functions read from now on

    def program(trace):
        monkeypatch.setitem(globals(), "SCALE", 1.0)
        vars(Mode.A).pop("k", None)
        function, change = getattr(CHANGES, what)()
        f = trace(function)
        before = [f(vec(i)) for i in range(3)]
        change()
        return before, [f(vec(i)) for i in range(4)]

    try:
        both(program)
    finally:
        tracer.set_num_threads(threads)


@pytest.mark.parametrize("name", PATCHES)
def test_what_is_patched(name, monkeypatch):
    holder, attribute, function = PATCHES[name]

    def program(trace):
        f = trace(lambda x: function(x))
        results = [f(vec(i)) for i in range(3)]
        with monkeypatch.context() as m:
            m.setattr(holder, attribute, lambda *args: 3)
            results += [f(vec(i)) for i in range(3)]
        return results, [f(vec(i)) for i in range(3)]

    both(program)


def _called(f):
    return f()


SOURCES = {
    "the clock": lambda: time.perf_counter_ns(),
    "the clock by another name": lambda now=time.perf_counter_ns: now(),
    "the clock, called by C code": lambda: next(iter(map(_called, [time.perf_counter_ns]))),
    "a generator": lambda g=np.random.default_rng(0): g.integers(1 << 40),  # noqa: B008
    "Python's random numbers": lambda: random.getrandbits(40),
    "NumPy's, through a value": lambda xp=np: int(xp.random.randint(1 << 40)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_differs_in_every_call_is_called_again_or_refused(name):
    source = SOURCES[name]
    f = tracer.trace(lambda x: x + float(source()))
    seen = {f(tracer.zeros(1, dtype=tracer.float64)).item() for _ in range(6)}
    assert len(seen) == 6
    assert f.eager_reasons or name in ("the clock", "a generator", "Python's random numbers", "NumPy's, through a value")


def test_only_what_ran_counts():
    import inspect

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def generate(self, x):
            return x * time.time() * random.random()

        def configure(self):
            return inspect.signature(self.forward)

        def forward(self, x):
            if self.layer.bias is None:
                x = x * random.random() + np.random.rand()
            return self.layer(x)

    model = Model()
    f = tracer.trace(lambda x: model(x))
    for _ in range(4):
        f(vec())
    assert not f.eager_reasons and f.cache_info().recordings == 1, f.explain()


def test_code_that_runs_later_keeps_what_is_known():
    def other(x):
        return x - 1

    class Model(nn.Module):
        def forward(self, x):
            return x * 2 if self.training else other(x)

    model = Model()
    f = tracer.trace(lambda x: model(x))
    for i in range(12):
        model.train(i % 4 < 2)
        f(vec())
    assert f.cache_info().recordings == 2, f.explain()


def test_a_profile_function_goes_on():
    calls = []

    def profile(frame, event, arg):
        if event == "call" and frame.f_code.co_name == "scaled":
            calls.append(event)

    def scaled(x):
        return x * 2

    f = tracer.trace(lambda x: scaled(x))
    sys.setprofile(profile)
    try:
        f(vec())
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    assert calls == ["call"]


def starts(t, q):
    t.mul_(q)


def stops(t, q):
    t.detach_()


def becomes_a_result(t, q):
    t.detach_()
    t.mul_(q)


def becomes_a_leaf(t, q):
    t.detach_()
    t.requires_grad_()


@pytest.mark.parametrize("before", [(), (starts, stops), (stops, starts), (stops, becomes_a_leaf), (starts, becomes_a_leaf)])
@pytest.mark.parametrize("change", [starts, stops, becomes_a_result, becomes_a_leaf])
def test_autograd_begins_or_stops_to_follow_a_captured_tensor(before, change):
    w, p, t = (tracer.ones(3, requires_grad=True) for _ in range(3))
    w.grad = p.grad = t.grad = None  # attributes may exist already
    t.detach_()
    for step in before:
        step(t, p * 2)
    if change is starts and t.is_leaf and t.requires_grad:
        t.detach_()

    def plain(x):
        return (x * w * t).sum()

    f = tracer.trace(plain)
    x = tracer.ones(3)
    for _ in range(12):
        f(x)
    change(t, p * 3)
    found = []
    for function in (f, plain, f):
        w.grad = p.grad = None
        if t.is_leaf:
            t.grad = None
        function(x).backward(retain_graph=True)
        found.append([None if u._grad is None else u._grad.tolist() for u in (w, p, t)])
    assert found[0] == found[1] == found[2]
