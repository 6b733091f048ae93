"""Backward passes of deep graphs, their memory, and threads."""

import gc
import threading
import time
import weakref
from contextlib import contextmanager

import pytest
from test_autograd import leaf

import tracer
from tracer.autograd import grad

# Depth, memory, threads.


def chain(x, length):
    y = x
    for _ in range(length):
        y = y * 1.0
    return y


def test_a_chain_of_100_000_operations():
    x, began = leaf([1, 2]), time.thread_time()
    y = chain(x, 100_000)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]
    del y
    unwalked = chain(x, 100_000)
    del unwalked  # freeing must not be recursive either
    assert time.thread_time() - began < 20


def test_a_chain_that_saves_its_operands_can_be_freed():
    x = leaf([1.0])
    y = x
    for _ in range(100_000):
        y = y.sin()
    first = weakref.ref(y)
    del y
    assert first() is None


def test_a_graph_with_2_to_the_50_paths():
    x = leaf(1)
    y = x
    for _ in range(50):
        y = y + y
    y.backward()
    assert x.grad.item() == 2**50


@contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_graphs_are_freed_without_the_collector():
    x = leaf([1, 2])
    with no_collector():
        for walk in (lambda y: None, lambda y: y.backward(), lambda y: grad(y, x, create_graph=True)):
            saved = x.exp()
            y = (saved * saved.tanh()).softmax(0)[0].log()
            alive = weakref.ref(saved), weakref.ref(y)
            walk(y)
            del saved, y
            assert [r() for r in alive] == [None, None]


def test_backward_frees_what_the_graph_saved():
    x = leaf([1, 2])
    with no_collector():
        saved = x * 2
        y = (saved * saved).sum()
        alive = weakref.ref(saved)
        del saved
        assert alive() is not None
        y.backward()
        assert alive() is None
        assert y.grad_fn is not None


def test_leaves_are_freed_without_the_collector():
    with no_collector():
        x = leaf([1, 2])
        (x * x).sum().backward()
        alive = weakref.ref(x), weakref.ref(x.grad)
        del x
        assert [r() for r in alive] == [None, None]


def test_threads_walk_separate_graphs():
    start, results = threading.Barrier(4), {}

    def work(k):
        x = leaf([1.0, 2.0])
        start.wait()
        for _ in range(50):
            y = x
            for _ in range(20):
                y = y * 1.0 + x * float(k)
            y.sum().backward()
        results[k] = x.grad.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {k: [50 * (1 + 20 * k)] * 2 for k in range(4)}


def test_grad_mode_belongs_to_a_thread():
    seen = []
    with tracer.no_grad():
        t = threading.Thread(target=lambda: seen.append(tracer.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


def test_in_place_on_what_a_rule_reads():
    w, x = leaf([2, 3]), tracer.ones(2)
    x.mul_(w)
    x.mul_(w)
    x.pow_(2)
    x.sum().backward()
    assert w.grad.tolist() == [32, 108]


@pytest.mark.slow
def test_a_graph_of_a_million_nodes():
    """Forward, backward and freeing, without recursion."""
    x = tracer.tensor(1.0, dtype=tracer.float64, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + 1e-6
    y.backward()
    assert x.grad.item() == 1
    assert y.item() == pytest.approx(2)
    del y
