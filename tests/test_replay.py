"""Generated replays: native checks of arguments, and reuse of gradients."""

import gc
import threading
import types
import weakref

import numpy as np
import pytest

import tracer
from tracer.runtime.support.objects import array_checks, counts_references, holds, reads_arrays

CALLS = 6  # recorded, replayed, specialised, and some more


def gradient_step():
    x = tracer.arange(4.0).requires_grad_()

    @tracer.trace
    def step(k):
        x.grad = None
        (x * x * k).sum().backward()

    return x, step


def test_a_gradient_that_nobody_holds_becomes_the_next_one():
    x, step = gradient_step()
    seen = set()
    for k in range(CALLS):
        step(tracer.full((), float(k)))
        assert x.grad.tolist() == [2.0 * k * i for i in range(4)]
        assert x.grad._version == 0
        seen.add(id(x.grad._data))
    assert len(seen) < CALLS


def multiplied_by(g):
    leaf = tracer.ones(4).requires_grad_()
    return leaf, leaf * g


HOLD = {
    "the tensor": lambda g: g,
    "a view": lambda g: g[1:],
    "detached": lambda g: g.detach(),
    "an array": lambda g: g.numpy(),
    "a memoryview": lambda g: memoryview(g.numpy()),
    "a computation": multiplied_by,
}


@pytest.mark.parametrize("how", HOLD)
def test_a_gradient_that_somebody_holds_stays(how):
    x, step = gradient_step()
    held = []
    for k in range(CALLS):
        step(tracer.full((), float(k)))
        held.append(HOLD[how](x.grad))
    for k, kept in enumerate(held):
        expected = [2.0 * k * i for i in range(4)]
        if how == "a computation":
            leaf, product = kept
            product.sum().backward()
            assert leaf.grad.tolist() == expected
        else:
            assert np.asarray(kept).tolist() == expected[4 - len(np.asarray(kept)) :]


@pytest.mark.skipif(not counts_references, reason="references are not counted here")
def test_a_gradient_becomes_the_next_one_again_after_one_was_held():
    x, step = gradient_step()
    for _ in range(CALLS):
        step(tracer.ones(()))
    held = x.grad
    for _ in range(CALLS):
        step(tracer.ones(()))
    again = id(x.grad._data)
    for _ in range(CALLS):
        step(tracer.ones(()))
        assert id(x.grad._data) == again
    assert held.tolist() == [0.0, 2.0, 4.0, 6.0] and held._data is not x.grad._data


def test_what_was_put_on_a_gradient_is_not_on_the_next_one():
    x, step = gradient_step()
    for k in range(CALLS):
        step(tracer.full((), float(k)))
        assert not hasattr(x.grad, "note") and not x.grad.requires_grad and x.grad._version == 0
        x.grad.mul_(2)
        x.grad.note = k
        step(tracer.full((), float(k)))
        assert not hasattr(x.grad, "note")
        assert x.grad.tolist() == [2.0 * k * i for i in range(4)]
        x.grad.requires_grad_()


def test_a_gradient_of_two_tensors_is_no_longer_of_both():
    x, step = gradient_step()
    other = tracer.zeros(4).requires_grad_()
    for k in range(CALLS):
        step(tracer.full((), float(k)))
        if k % 2:
            assert other.grad.tolist() == [2.0 * (k - 1) * i for i in range(4)]
        else:
            other.grad = x.grad


def test_a_gradient_of_the_users_own_is_not_written_to():
    x, step = gradient_step()
    for k in range(CALLS):
        mine = np.full(4, 7.0, np.float32)
        x.grad = tracer.from_numpy(mine)
        step(tracer.full((), float(k)))
        assert mine.tolist() == [7.0] * 4
        assert x.grad.tolist() == [2.0 * k * i for i in range(4)]


def test_a_gradient_stays_where_another_signature_adds_to_it():
    x = tracer.ones(3).requires_grad_()

    @tracer.trace
    def step(y):
        if y.shape[0] == 1:
            x.grad = None
        (x * y).sum().backward()

    for k in range(CALLS):
        step(tracer.full((1,), float(k)))
        step(tracer.full((3,), 10.0))
        assert x.grad.tolist() == [k + 10.0] * 3


def test_a_gradient_dies_with_its_owner():
    x, step = gradient_step()
    for k in range(CALLS):
        step(tracer.full((), float(k)))
    gone = weakref.ref(x.grad)
    x.grad = None
    gc.collect()
    assert gone() is None


ARRAYS = {
    "shape": lambda a: tracer.from_numpy(np.ones((3, 2), np.float32)),
    "rank": lambda a: tracer.from_numpy(np.ones((2, 3, 1), np.float32)),
    "dtype": lambda a: tracer.from_numpy(np.ones((2, 3), np.float64)),
    "strides": lambda a: tracer.from_numpy(np.ones((3, 2), np.float32).T),
    "order": lambda a: tracer.from_numpy(np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))),
    "part": lambda a: tracer.from_numpy(np.arange(12, dtype=np.float32).reshape(4, 3)[1:3]),
    "view": lambda a: tracer.arange(6.0).reshape(2, 3),
    "unaligned": lambda a: tracer.from_numpy(np.frombuffer(bytes(1) + np.ones(6, np.float32).tobytes(), np.float32, 6, 1)),
    "same": lambda a: a,
}


@pytest.mark.filterwarnings("ignore:.*not writable")
@pytest.mark.parametrize("what", ARRAYS)
def test_an_argument_of_another_kind_goes_the_general_way(what):
    def plain(a, b):
        return a * 2 + b.sum(), a.sum()

    f = tracer.trace(plain)
    a = tracer.arange(6.0).clone().reshape(2, 3).clone()
    for _ in range(CALLS):
        f(a, tracer.ones(2, 3))
    other = ARRAYS[what](a)
    for _ in range(CALLS):
        for pair in ((other, a), (a, other), (a, a.clone())):
            assert [x.tolist() for x in f(*pair)] == [x.tolist() for x in plain(*pair)]


@pytest.mark.skipif(not reads_arrays, reason="the layout of array objects is unknown, so programs receive addresses")
def test_checks_of_arrays_tell_what_they_say():
    probe = np.zeros((2, 3), np.float32)
    checks = array_checks(probe.shape, probe.dtype)
    assert all(holds(probe, c) for c in checks)
    for other in (probe[:1], probe[:], probe.T, probe.reshape(3, 2), np.zeros((2, 3)), np.zeros((2, 3), np.int32), np.zeros(2)):
        assert not all(holds(other, c) for c in checks)


def test_a_graph_without_kernels_is_not_run():
    x = tracer.ones(3)
    f = tracer.trace(lambda y: (y, x, None, 3))
    for _ in range(CALLS):
        y = tracer.ones(2)
        result = f(y)
        assert result[0] is y and result[1] is x and result[2:] == (None, 3)


def test_changes_in_place_are_counted():
    x = tracer.zeros(3)

    @tracer.trace
    def f(y):
        x.add_(y)
        y.mul_(2)

    y = tracer.ones(3)
    versions = []
    for _ in range(CALLS):
        f(y)
        versions.append((x._version, y._version))
    assert versions == [(k + 1, k + 1) for k in range(CALLS)]
    assert x.tolist() == [2.0**CALLS - 1] * 3


def test_a_step_that_fails_leaves_gradients_as_they_were():
    """A gradient written after the last step that may fail is reused; after a failure all are as before."""
    w = tracer.ones(4, 3).requires_grad_()

    @tracer.trace
    def step(x, y):
        w.grad = None
        loss = tracer.nn.functional.cross_entropy(x @ w, y)
        loss.backward()
        return loss

    x, good, bad = tracer.ones(2, 4), tracer.tensor([0, 2]), tracer.tensor([0, 3])
    seen = set()
    for k in range(CALLS):
        step(x * k, good)
        seen.add(id(w.grad._data))
        before, values = w.grad, w.grad.tolist()
        if k % 2:
            with pytest.raises(IndexError):
                step(x, bad)
            assert before.tolist() == values
        del before
    assert len(seen) < CALLS


def test_a_learning_rate_is_read_in_every_call():
    w = tracer.zeros(3).requires_grad_()
    optimizer = tracer.optim.SGD([w], lr=1.0)

    @tracer.trace
    def step(x, scale):
        optimizer.zero_grad()
        (w * x * scale).sum().backward()
        optimizer.step()

    expected = 0.0
    for k in range(CALLS):
        optimizer.param_groups[0]["lr"] = 0.5 * k
        step(tracer.ones(3), 1.0 + k)
        expected -= 0.5 * k * (1.0 + k)
        assert w.tolist() == [expected] * 3
    optimizer.param_groups[0]["lr"] = 1  # an int is another signature
    step(tracer.ones(3), 1.0)
    assert w.tolist() == [expected - 1.0] * 3


def surroundings():
    """A traced function that reaches another one and a variable; and ways to change them."""
    factor = 2.0

    def scaled(x, shift=1.0, *, power=1):
        return (x * factor + shift) ** power

    def set_factor(value):
        nonlocal factor
        factor = value

    def clear_factor():
        nonlocal factor
        del factor

    return tracer.trace(lambda x: scaled(x)), scaled, set_factor, clear_factor


CHANGES = {
    "a variable": lambda f, scaled, set, clear: set(3.0),
    "a default": lambda f, scaled, set, clear: setattr(scaled, "__defaults__", (5.0,)),
    "no default": lambda f, scaled, set, clear: setattr(scaled, "__defaults__", None),
    "a default by name": lambda f, scaled, set, clear: setattr(scaled, "__kwdefaults__", {"power": 2}),
    "no default by name": lambda f, scaled, set, clear: setattr(scaled, "__kwdefaults__", None),
    "no variable": lambda f, scaled, set, clear: clear(),
    "an attribute": lambda f, scaled, set, clear: setattr(scaled, "note", 1),
    "nothing": lambda f, scaled, set, clear: None,
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_function_reaches_is_looked_at_in_every_call(what):
    f, *rest = surroundings()
    plain = f.function
    x = tracer.arange(3.0).clone()
    for _ in range(CALLS):
        assert f(x).tolist() == [1.0, 3.0, 5.0]
    CHANGES[what](f, *rest)
    for _ in range(CALLS):
        try:
            expected = plain(x).tolist()
        except (NameError, TypeError) as e:
            with pytest.raises(type(e)):
                f(x)
        else:
            assert f(x).tolist() == expected


def test_other_code_in_the_same_function_is_another_function():
    def first(x):
        return x + 1

    def second(x):
        return x * 10

    f = tracer.trace(lambda x: first(x))
    x = tracer.ones(2).clone()
    for _ in range(CALLS):
        assert f(x).tolist() == [2.0, 2.0]
    first.__code__ = second.__code__
    for _ in range(CALLS):
        assert f(x).tolist() == [10.0, 10.0]


@pytest.mark.skipif(not reads_arrays, reason="the interpreter's object layout is unknown, so Python compares attributes")
def test_words_of_functions_and_cells():
    from tracer.runtime.support.words import word_of, word_of_cell

    def outer():
        inner = [1]

        def function(a=3, *, b=4):
            return inner

        return function

    function = outer()
    (cell,) = function.__closure__
    known = [
        (function, name, getattr(function, name))
        for name in ("__code__", "__defaults__", "__kwdefaults__", "__name__", "__doc__")
    ]
    for x, name, value in known:
        assert word_of(x, name, value) is not None
        assert word_of(x, name, object()) is None
    assert word_of_cell(cell, function()) is not None
    assert word_of_cell(cell, object()) is None
    assert word_of_cell(types.CellType()) is not None
    function.__defaults__ = function.__kwdefaults__ = None
    assert word_of(function, "__defaults__", None) is not None
    assert word_of(function, "__kwdefaults__", {}) is None
    assert word_of(function, "__dict__", vars(function)) is not None
    assert word_of(function, "__dict__", {}) is None
    assert word_of(function, "__annotations__", function.__annotations__) is None
    assert word_of(object(), "__code__", None) is None


def test_a_gradient_that_is_only_watched_is_not_written_to():
    x, step = gradient_step()
    watched = []
    for k in range(CALLS):
        step(tracer.full((), float(k)))
        watched.append(weakref.ref(x.grad))
    assert [w() is None for w in watched] == [True] * (CALLS - 1) + [False]


def test_another_thread_sees_whole_gradients():
    p = tracer.zeros(1 << 18).requires_grad_()

    @tracer.trace
    def step(x):
        p.grad = None
        (p * x).sum().backward()

    stop, torn = threading.Event(), []

    def watch():
        while not stop.is_set():
            g = p.grad
            if g is not None:
                a = g.numpy().copy()
                if a.min() != a.max():
                    torn.append((a.min(), a.max()))

    thread = threading.Thread(target=watch)
    thread.start()
    for k in range(200):
        step(tracer.full((1 << 18,), float(k)))
    stop.set()
    thread.join()
    assert not torn


def test_after_an_announced_change_elsewhere_replays_look_no_further(monkeypatch):
    from tracer.core.context import structure_changed
    from tracer.tracing import guards

    w = tracer.ones(3).requires_grad_()
    f = tracer.trace(lambda x: (x * w.detach()).sum())
    x = tracer.ones(3)
    for _ in range(CALLS):
        f(x)
    structure_changed()
    f(x)
    monkeypatch.setattr(guards, "Walk", None)
    monkeypatch.setattr(guards.Environment, "key", None)
    assert f._latest((x,), {}).item() == 3.0


def test_other_memory_of_an_updated_tensor_is_looked_at_instead():
    """The old array is gone: nothing of it is checked any more."""
    w = tracer.zeros(1000)
    f = tracer.trace(lambda x: w.add_(x).sum())
    x = tracer.ones(1000)
    for _ in range(CALLS):
        f(x)
    for k in range(3):
        w.data = tracer.full((1000,), 10.0 * k)
        gc.collect()
        for i in range(CALLS):
            assert f(x).item() == 1000 * (10 * k + i + 1)
        assert f._latest((x,), {}).item() == 1000 * (10 * k + CALLS + 1)


@pytest.mark.parametrize("last", [0, 1])
def test_replays_of_one_trace_written_by_two_threads_at_once(monkeypatch, last):
    """One puts the array object of its argument into a slot, the other an address: each has a separate list of frames."""
    from tracer.tracing import function

    both, first, express = threading.Barrier(2, timeout=60), threading.Event(), function.express

    def at_once(trace, call, args, *more):
        both.wait()
        if args[0] is arguments[last]:
            assert first.wait(60)
        try:
            return express(trace, call, args, *more)
        finally:
            first.set()

    f = tracer.trace(lambda x: x * 2 + 1)
    arguments = [tracer.arange(4.0).clone(), tracer.from_numpy(np.arange(5, dtype=np.float32)[1:])]
    f(arguments[0])
    monkeypatch.setattr(function, "express", at_once)
    threads = [threading.Thread(target=f, args=(x,)) for x in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [replay for alike in f._express.values() for replay in alike]
    assert len(written) == 2
    for replay in written * CALLS:
        for x in arguments:
            result = replay((x,), {})
            assert result is function.MISS or result.tolist() == (x * 2 + 1).tolist()
