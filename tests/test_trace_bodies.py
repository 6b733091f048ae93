"""Traced functions whose bodies run later or are refused; counts and messages."""

import asyncio
import gc
import inspect
import threading
import warnings
import weakref

import numpy as np
import pytest
from test_trace_decorator import replays, vec

import tracer
from tracer import trace

# Bodies that run later.


def squares(x, n=3):
    for i in range(n):
        yield x * i


async def awaited(x):
    await asyncio.sleep(0)
    return x * 2


async def asynchronous(x):
    for i in range(3):
        yield x * i


@pytest.mark.parametrize(
    "function, run",
    [
        (squares, lambda f: [t.tolist() for t in f(vec())]),
        (awaited, lambda f: asyncio.run(f(vec())).tolist()),
        (asynchronous, lambda f: asyncio.run(_all(f(vec())))),
    ],
)
def test_generators_and_coroutines_pass_through(function, run):
    f = trace(function)
    for is_ in (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction):
        assert is_(f) == is_(function)
    assert asyncio.iscoroutinefunction(f) == asyncio.iscoroutinefunction(function)
    with pytest.warns(tracer.TraceWarning, match=r"trace (the function|what)"):
        got = run(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert got == run(f) == run(function)
    assert f.cache_info().eager == 2 and "eager: it is a" in f.explain()


async def _all(items):
    return [t.tolist() async for t in items]


def test_a_generator_consumed_inside_is_recorded():
    inner = trace(squares)

    @trace
    def total(x):
        return sum(inner(x, 4))

    @trace
    def first_half(x):
        out = []
        for i, t in enumerate(inner(x, 10)):
            if i == 3:
                break
            out.append(t)
        return out

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert total(vec()).tolist() == [6, 12, 18]
            assert [t.tolist() for t in first_half(vec())] == [[0, 0, 0], [1, 2, 3], [2, 4, 6]]
    assert replays(total) == replays(first_half) == 2


def test_traced_functions_in_coroutines():
    f = trace(lambda x: x * 2 + 1)

    async def main():
        return await asyncio.gather(*[asyncio.to_thread(f, vec()) for _ in range(8)], one(), one())

    async def one():
        return f(vec())

    for t in asyncio.run(main()):
        assert t.tolist() == [3, 5, 7]


# Counts.


def test_cache_info_counts_calls():
    f = trace(lambda x: x * 2)
    assert f.cache_info() == (0, 0, 0, 0, 0)
    for n in (3, 4):
        for _ in range(5):
            f(tracer.ones(n))
    info = f.cache_info()
    assert (info.replays, info.recordings, info.eager, info.traces) == (8, 2, 0, 2) and info.bytes > 0
    with tracer.eager():
        f(tracer.ones(3))
    assert f.cache_info().eager == 1
    f.clear()
    assert f.cache_info() == (0, 0, 0, 0, 0) and f.graphs() == []
    for _ in range(3):
        assert f(tracer.ones(3)).tolist() == [2, 2, 2]
    assert f.cache_info()[:4] == (2, 1, 0, 1)


def test_clear_forgets_why_a_function_ran_eagerly():
    switch = [True]

    @trace
    def f(x):
        return iter([x]) if switch[0] else x * 2

    with pytest.warns(tracer.TraceWarning):
        f(vec())
    assert f.cache_info()[:4] == (0, 1, 0, 0) and "eager" in f.explain()
    f.clear()
    assert "eager" not in f.explain()
    with pytest.warns(tracer.TraceWarning):  # reported again
        f(vec())


def test_clear_frees_what_was_compiled_and_captured():
    held = [tracer.ones(100)]
    f = trace(lambda x: x + held[0])
    for _ in range(3):
        f(tracer.ones(100))
    ref = weakref.ref(held[0])
    held[0] = tracer.zeros(100)
    f.clear()
    f(tracer.ones(100))
    gc.collect()
    assert ref() is None


def test_counts_of_calls_inside_and_of_threads():
    inner = trace(lambda x: x * 2)
    outer = trace(lambda x: inner(x) + 1)
    for _ in range(4):
        outer(vec())
    assert inner.cache_info() == (0, 0, 0, 0, 0) and outer.cache_info()[:3] == (3, 1, 0)
    threads = [threading.Thread(target=lambda: [outer(vec()) for _ in range(50)]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert 3 < replays(outer) <= 203


# Messages.


def test_explain_lists_arguments_guards_and_counts():
    factor = 2.0

    @trace
    def f(x, k, *rest, mode="fast", items=None):
        return x * k * factor if mode == "fast" else x

    x = tracer.ones(3, 4, requires_grad=True)
    f(x, 0.5), f(x, 0.5)
    f(tracer.ones(2, dtype=tracer.int64), 3, np.ones(2), mode="slow", items=[vec(), {"a": 1.5, "b": None}])
    told = f.explain()
    for line in (
        "f: 2 traces, 1 replays, 2 recordings, 0 other calls",
        "x: float32[3, 4], requires grad",
        "k: float",
        "x: int64[2]",
        "k: int 3",
        "rest: tuple (NumPy array float64[2])",
        "mode: str 'slow'",
        "items: list (float32[3], dict {'a': float, 'b': None})",
        "replayed 1 times",
    ):
        assert line in told, told
    assert "guards: the names factor" in told
