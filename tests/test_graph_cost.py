"""The cost of the dynamic graph: objects tracked by the garbage collector, and the time it takes to traverse them."""

import gc
import threading
import time

import pytest

import tracer
from tracer import nn


def leaf(*shape):
    return tracer.ones(*shape, requires_grad=True)


X, Y, M, B, C = leaf(8), leaf(8), leaf(4, 4), leaf(4), tracer.ones(8)
W = leaf(8)
with tracer.no_grad():
    W.mul_(2)  # its version is not 0
LINEAR = nn.Linear(4, 4)

OPERATIONS = {
    "tensor * tensor": lambda: X * Y,
    "tensor * constant": lambda: X * C,
    "tensor * changed tensor": lambda: X * W,
    "tensor * number": lambda: X * 2.0,
    "number * tensor": lambda: 2.0 * X,
    "sum": lambda: X + Y,
    "difference": lambda: X - Y,
    "quotient": lambda: X / Y,
    "with broadcasting": lambda: M * B,
    "sum with a number": lambda: X + 1.0,
    "negative": lambda: -X,
    "power": lambda: X**2,
    "exp": lambda: X.exp(),
    "sin": lambda: X.sin(),
    "tanh": lambda: X.tanh(),
    "sigmoid": lambda: X.sigmoid(),
    "relu": lambda: X.relu(),
    "product of matrices": lambda: M @ M,
    "concatenation": lambda: tracer.cat([X, Y]),
}


def tracked(make, count=100):
    """The number of tracked objects in a result of ``make``."""
    made = [None] * count
    make()
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for i in range(count):
            made[i] = make()
        return (len(gc.get_objects()) - before) / count
    finally:
        gc.enable()


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_makes_few_objects_for_the_collector(name):
    assert tracked(OPERATIONS[name]) <= 4


def test_an_operation_that_nobody_follows_makes_one():
    assert tracked(lambda: C * C) == 1


def test_the_collector_takes_little_of_a_long_chain():
    def seconds():
        gc.collect()
        begin = time.thread_time()
        y = X
        for _ in range(100_000):
            y = y * C
        return time.thread_time() - begin

    ratios = []
    for _ in range(4):
        on = seconds()
        gc.disable()
        try:
            ratios.append(on / seconds())
        finally:
            gc.enable()
    assert min(ratios) < 1.3


def test_a_deep_graph_is_freed_without_recursion():
    def run():
        y = X
        for i in range(200_000):
            y = y.sin() if i % 2 else y * C
        del y
        done.append(True)

    done = []
    size = threading.stack_size(1 << 18)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(size)
    thread.join()
    assert done
