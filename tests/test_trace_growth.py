"""The memory that traced functions keep is bounded, for any number and kind of calls."""

import gc
import sys
import warnings
import weakref
from types import SimpleNamespace

import pytest

import tracer
from tracer import nn
from tracer.core.context import Structure

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

CALLS = 5000
N = 150  # a matrix of this extent has 90 KB: kept for every call, they would take 450 MB
LIMIT = 60 << 20


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def matrix():
    return tracer.ones(N, N)


def captured_in_a_list():
    held = [None]
    f = tracer.trace(lambda x: x * held[0])

    def call(i):
        held[0] = matrix()
        f(tracer.ones(N))

    return call


def replaced_parameter():
    m = nn.Linear(N, N, bias=False)
    f = tracer.trace(lambda x: m(x))

    def call(i):
        m.weight = nn.Parameter(matrix())
        f(tracer.ones(1, N))

    return call


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(matrix())

    @tracer.trace
    def forward(self, x):
        return x * self.weight


def module_as_argument():
    f = tracer.trace(lambda m, x: x * m.weight)
    return lambda i: f(Scale(), tracer.ones(N))


def method_of_a_new_module():
    return lambda i: Scale()(tracer.ones(N))


def object_as_argument():
    f = tracer.trace(lambda o, x: x * o.weight)
    return lambda i: f(SimpleNamespace(weight=matrix()), tracer.ones(N))


def helper_with_a_tensor():
    f = tracer.trace(lambda g, x: g(x))

    def call(i):
        w = matrix()
        f(lambda x: x * w, tracer.ones(N))

    return call


def attribute_set_by_the_function():
    o = SimpleNamespace(last=None)

    def f(x):
        o.last = x.sum().detach()
        return x * 2

    f = tracer.trace(f)
    return lambda i: f(matrix())


def changing_int():
    f = tracer.trace(lambda x, n: x * n)
    return lambda i: f(tracer.ones(N), i)


def changing_text():
    f = tracer.trace(lambda x, name: x * len(name))
    return lambda i: f(tracer.ones(N), str(i))


def new_shape():
    f = tracer.trace(lambda x: x * 2)
    return lambda i: f(tracer.ones(i + 1))


def decided_by_a_value():
    f = tracer.trace(lambda x, n: x * n if x.sum() > 0 else x)
    return lambda i: f(tracer.ones(N), i)


def new_function():
    def call(i):
        w = matrix()
        tracer.trace(lambda x: x * w)(tracer.ones(N))

    return call


KINDS = [
    captured_in_a_list, replaced_parameter, module_as_argument, method_of_a_new_module, object_as_argument,
    helper_with_a_tensor, attribute_set_by_the_function, changing_int, changing_text, new_shape, decided_by_a_value,
    new_function,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_growth(kind):
    call = kind()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        for i in range(CALLS // 10):
            call(i)
        gc.collect()
        before = resident()
        for i in range(CALLS // 10, CALLS):
            call(i)
        gc.collect()
    assert resident() - before < LIMIT


def test_replaced_tensors_are_freed():
    held = [matrix()]
    f = tracer.trace(lambda x: x * held[0])
    for _ in range(4):
        f(tracer.ones(N))
    old = weakref.ref(held[0])
    held[0] = matrix()
    f(tracer.ones(N))
    gc.collect()
    assert old() is None


def test_tensors_of_arguments_are_freed():
    f = tracer.trace(lambda m, x: x * m.weight)
    m = Scale()
    for _ in range(4):
        f(m, tracer.ones(N))
    gone = [weakref.ref(m), weakref.ref(m.weight)]
    del m
    gc.collect()
    assert [r() for r in gone] == [None, None]


def test_those_used_least_recently_go_first():
    f = tracer.trace(lambda x, n: x * n)
    x = tracer.ones(2)
    for n in range(400):
        f(x, 0)
        f(x, n)
    assert len(f.graphs()) <= 256
    count = len(f.graphs())
    f(x, 0), f(x, 399)
    assert len(f.graphs()) == count  # both were kept


def test_an_object_in_the_place_of_one_that_is_gone():
    """New tensors may have the ids of old ones: the old ones' trace is not replayed."""
    f = tracer.trace(lambda g, x: g(x))
    for i in range(300):
        w = tracer.full((3,), float(i))
        for _ in range(3):
            assert f(lambda x, w=w: x + w, tracer.ones(3)).tolist() == [1.0 + i] * 3
        held = [w]
        del w

        def helper(x, held=held):
            return x + held[0]

        assert f(helper, tracer.ones(3)).tolist() == [1.0 + i] * 3


def test_modules_by_turns():
    models = [nn.Linear(3, 3) for _ in range(3)]
    current = [None]
    f = tracer.trace(lambda x: current[0](x))
    x = tracer.ones(2, 3)
    for i in range(60):
        current[0] = models[i % 3]
        assert f(x).tolist() == models[i % 3](x).tolist()


def test_what_is_known_of_written_places_goes_with_the_function():
    """The places that replays write to are known to all functions, as long as the writing function exists."""
    gc.collect()
    before = len(Structure.written)

    def counting():
        counts = {"n": 0}

        @tracer.trace
        def f(x):
            counts["n"] += 1
            return x * counts["n"]

        return f

    for _ in range(20):
        f = counting()
        for _ in range(4):
            f(tracer.ones(2))
    assert len(Structure.written) > before
    del f
    gc.collect()
    assert len(Structure.written) <= before
