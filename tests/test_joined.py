"""Paths of several segments as one program, as long as Python reads the same values."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twice import both, same

import tracer


def tree_of(f):
    (tree,) = f._all_traces()
    return tree


def is_joined(f):
    return tree_of(f).joins.current is not None


def vec(*xs):
    return tracer.tensor(list(xs), dtype=tracer.float64)


def by_index(x, index):
    total = x[0] * 0
    for i in map(int, index):
        total = total + x[i] * x[i - 1]
    return total


def by_truth(x):
    for _ in range(5):
        x = x * 2 if x.sum() < 10 else x - 3
    return x


def by_number(x):
    a, b = x.sum().item(), x.max().item()
    if a > 3:
        x = x * a
    if b > 2:
        x = x + b
    return x, a, round(b, 1)


def by_mask(x):
    x = x.clone()
    for _ in range(3):
        x[x > 1] = x[x > 1] ** 2 - 1
    return x, x[x < 2].sum(), len(x[x < 2])


def in_place(x, out):
    for i in range(3):
        if x[i] > 0:
            out[i] = x[i]
        out += 1
    return out.sum()


def by_argument(x, n, flag):
    for _ in range(n.item() if flag else int(n) + 1):
        x = x * 2 if x.sum() < 40 else x
    return x[n]


def test_arguments_decide():
    traced = tracer.trace(by_argument)
    x, flag = vec(1, 2, 3, 4), tracer.tensor(True)
    for n in (3, 3, 3, 3, 3, 3, 2, 2, 2, 3, 3):
        same(by_argument(x, tracer.tensor(n), flag), traced(x, tracer.tensor(n), flag))
        same(by_argument(x, tracer.tensor(n), ~flag), traced(x, tracer.tensor(n), ~flag)) if n == 2 else None
    for _ in range(10):
        traced(x, tracer.tensor(3), flag)
    assert is_joined(traced)
    same(by_argument(x, tracer.tensor(1), flag), traced(x, tracer.tensor(1), flag))


@pytest.mark.parametrize("f", [by_truth, by_mask])
def test_same_reads_take_one_program(f):
    traced = tracer.trace(f)
    for k in range(8):
        x = vec(0.5, 1.5, 2.5) * (1 + k * 1e-6)
        same(f(x), traced(x))
    assert is_joined(traced) and tree_of(traced).joins.current.function.plain.program.steps


@pytest.mark.parametrize("f", [by_truth, by_number, by_mask])
def test_other_reads_give_other_results(f):
    traced = tracer.trace(f)
    for k in range(30):
        x = vec(*np.random.default_rng(k % 7).normal(size=3) * 3)
        same(f(x), traced(x))


def test_positions_that_are_read():
    traced = tracer.trace(by_index)
    x, index = vec(1, 2, 3, 4), tracer.tensor([2, 1, 3])
    for _ in range(6):
        same(by_index(x, index), traced(x, index))
    assert is_joined(traced)
    other = tracer.tensor([3, 3, 0])
    for _ in range(3):
        same(by_index(x, other), traced(x, other))
        same(by_index(x, index), traced(x, index))


def test_a_path_of_many_segments_is_compiled_at_once():
    traced = tracer.trace(by_index)
    x, index = vec(1, 2, 3, 4), tracer.tensor([2, 1, 3] * 20)
    for _ in range(2):
        same(by_index(x, index), traced(x, index))
    assert is_joined(traced) and len(tree_of(traced).functions) == 1
    other = tracer.tensor([2, 1, 0] * 20)
    for _ in range(2):
        same(by_index(x, other), traced(x, other))
        same(by_index(x, index), traced(x, index))


def test_a_missed_path_has_changed_nothing():
    traced = tracer.trace(in_place)
    for signs in [(1, -1, 1)] * 6 + [(1, 1, 1), (1, -1, 1), (-1, -1, -1), (1, 1, 1)] * 3:
        x = vec(*signs)
        ours, theirs = tracer.zeros(3, dtype=tracer.float64), tracer.zeros(3, dtype=tracer.float64)
        same(in_place(x, theirs), traced(x, ours))
        same(theirs, ours)


def test_an_error_is_raised_where_the_function_raises_it():
    @tracer.trace
    def f(x, index):
        out = x * 1
        for i in range(3):
            if x[i] > 0:
                out = out + x[index]
        return out

    x, good = vec(1, 1, 1), tracer.tensor([0, 2, 1])
    for _ in range(6):
        f(x, good)
    assert is_joined(f)
    with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
        f(x, tracer.tensor([0, 3, 1]))
    same(f(x, good), x + 3 * x)


def test_a_path_taken_several_times_is_joined_again():
    traced = tracer.trace(by_truth)
    a, b = vec(0.5, 1, 1.5), vec(5, 6, 7)
    for _ in range(6):
        traced(a)
    first = tree_of(traced).joins.current
    for _ in range(12):
        same(by_truth(b), traced(b))
    second = tree_of(traced).joins.current
    assert first is not None and second is not None and first is not second
    same(by_truth(a), traced(a))


def test_draws_are_made_once():
    def program(trace):
        generator = random.Random(1)

        @trace
        def f(x):
            for _ in range(3):
                if x.sum() > 0:
                    x = x + generator.random()
                else:
                    x = x - generator.random()
            return x

        return [f(vec(k, 1)) for k in (1, 1, 1, 1, 1, 1, -5, 1, -5, -5, 1)], generator.random()

    both(program)


def test_a_loop_keeps_its_segments():
    """Its iterations share a program, and another number of them needs no new one."""

    @tracer.trace
    def f(x):
        n = 0
        while x.sum() > 1:
            x = (x * 0.9).sin() + x.exp() * 0 + x.cos() * 0 + x.tanh() * 0
            n += 1
        return x, n

    for k in range(4):
        f(vec(*np.linspace(0.5, 1 + k / 10, 8)))
    assert len(tree_of(f).functions) < 10


def test_large_updates_are_written_in_place():
    state = tracer.zeros(1 << 18)

    @tracer.trace
    def f(x):
        for i in range(3):
            if x[i] > 0:
                x = x + 1
        state.add_(x[0])

    for _ in range(6):
        f(tracer.ones(3))
    assert not is_joined(f) and float(state[5]) == 24


def test_gradients_that_go_on_outside_take_segments():
    @tracer.trace
    def f(x):
        for _ in range(3):
            x = x * 2 if x.sum() < 10 else x - 3
        return x.sum()

    for _ in range(6):
        x = vec(1, 2, 3).requires_grad_()
        f(x).backward()
        y = vec(1, 2, 3).requires_grad_()
        f.__wrapped__(y).backward()
        same(x.grad, y.grad)
    assert not is_joined(f)


def test_a_path_that_cannot_be_compiled_says_so(monkeypatch):
    traced = tracer.trace(by_truth)
    x = vec(0.5, 1, 1.5)
    for _ in range(4):
        traced(x)
    monkeypatch.setattr("tracer.tracing.tree.GraphFunction.prepare", lambda *_: 1 / 0)
    for _ in range(6):
        same(by_truth(x), traced(x))
    assert not is_joined(traced) and "could not be compiled: ZeroDivisionError: division by zero" in traced.explain()
    assert len(traced.fused_graphs()) == len(tree_of(traced).functions)


def test_explain_says_so():
    traced = tracer.trace(by_truth)
    for _ in range(6):
        traced(vec(0.5, 1, 1.5))
    assert " programs (one for the whole path, while Python reads the same values)" in traced.explain()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(-4, 4), min_size=4, max_size=4), min_size=6, max_size=14), st.integers(0, 2**16))
def test_random_reads(calls, seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 5, 4)

    def f(x, state):
        for k in kinds:
            if k == 0:
                x = x + x[int(x[0].abs().item()) % 4]
            elif k == 1 and x.sum() > 0:
                x = x - 2
            elif k == 2:
                x = x.clone()
                x[x > 0] = x[x > 0] * 2
            elif k == 3:
                state[0] += x[x < 3].sum()
            else:
                x = x * 2 if bool((x > 1).any()) else x + state[1]
        state[1] += 1
        return x

    traced = tracer.trace(f)
    ours, theirs = vec(0, 0), vec(0, 0)
    for call in calls:
        for _ in range(1 + call[0] % 6):
            same(f(vec(*call), theirs), traced(vec(*call), ours))
            same(theirs, ours)
