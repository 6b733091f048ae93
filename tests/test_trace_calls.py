"""Traced programs have the eager results: signatures, floats, random numbers, errors, nested calls, threads."""

import math
import os
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
from twice import Pair, batch, both, leaf, network, outcome, same, vec

import tracer
from tracer import nn, optim
from tracer.core.context import context
from tracer.nn import functional as F

# Recording and replaying.


def test_the_first_call_runs_and_later_calls_replay():
    @tracer.trace
    def f(x):
        """Twice."""
        return x * 2

    for i in range(5):
        same(f(vec(i)), vec(i) * 2)
    assert f.cache_info()[:3] == (4, 1, 0)
    assert (f.__name__, f.__doc__, len(f.graphs())) == ("f", "Twice.", 1)
    assert "1 traces" in f.explain() and "native call" in f.explain()


ANEW = {
    "shape": lambda: [(vec(),), (vec(n=4),), (vec(n=3),), (vec(n=4),)],
    "rank": lambda: [(vec(n=6),), (vec(n=6).reshape(2, 3),), (vec(n=6),)],
    "dtype": lambda: [(vec(),), (vec().double(),), (vec().long(),), (vec(),)],
    "requires_grad": lambda: [(vec(),), (leaf(),), (vec(),), (leaf(),)],
    "static value": lambda: [(vec(), 2), (vec(), 3), (vec(), 2)],
    "bool and int": lambda: [(vec().long(), 1), (vec().long(), True), (vec().long(), 1.0), (vec().long(), 1)],
    "string": lambda: [(vec(), "a"), (vec(), "b"), (vec(), "a")],
    "structure": lambda: [(vec(), [1, 2]), (vec(), (1, 2)), (vec(), [1, 2, 3]), (vec(), {"a": 1}), (vec(), [1, 2])],
    "keys": lambda: [(vec().long(), {1: 0}), (vec().long(), {1.0: 0}), (vec().long(), {True: 0}), (vec().long(), {1: 0})],
}


@pytest.mark.parametrize("what", ANEW)
def test_new_signatures_record_anew(what):
    def program(trace):
        @trace
        def f(x, k=1):
            if isinstance(k, (int, float)):
                return x * k, str(type(k))
            if isinstance(k, dict):
                return [(x * (1 if isinstance(key, str) else key), str(type(key))) for key in k]
            return x * 1, str(type(k)), len(k)

        return [f(*args) for args in ANEW[what]() * 2]

    both(program)


def test_grad_mode_records_anew():
    def program(trace):
        f = trace(lambda x: x * 2)
        results = []
        for _ in range(2):
            results.append(f(leaf()))
            with tracer.no_grad():
                results.append(f(leaf()))
        return results

    both(program, graphs=2)


def test_default_dtype_records_anew():
    def program(trace):
        f = trace(lambda x: x * 2 + tracer.ones(3))
        results = [f(tracer.arange(3))]
        tracer.set_default_dtype(tracer.float64)
        results.append(f(tracer.arange(3)))
        tracer.set_default_dtype(tracer.float32)
        return [*results, f(tracer.arange(3))]

    both(program, graphs=2)


def test_keyword_default_and_variable_arguments():
    def program(trace):
        @trace
        def f(x, *more, k=2, **named):
            return sum(more, x * k) + sum(named.values())

        return [f(*a, **b) for a, b in [((vec(),), {}), ((vec(), vec(2)), {"k": 3}), ((vec(),), {"z": vec(5), "k": 1})] * 3]

    both(program, graphs=3)


# Dynamic floats.

FLOATS = {
    "arithmetic": lambda x, a: x * a + (a * 2 - 1) / 3 - a**2 + (-a) + 2 / a + a % 0.3,
    "integers": lambda x, a: x.long() * a,
    "alpha": lambda x, a: x.add(x, alpha=a),
    "power": lambda x, a: (x**a, a**x, 2.0**a * x),
    "clamp": lambda x, a: x.clamp(a, a + 1),
    "where": lambda x, a: tracer.where(x > a, x, a),
    "full": lambda x, a: tracer.full((3,), a) + tracer.tensor(a) + tracer.tensor([a, 1.0, a]),
    "comparison": lambda x, a: x > a,
    "abs": lambda x, a: x * abs(a - 0.5),
    "floor division": lambda x, a: x * (a // 0.2),
    "divmod": lambda x, a: x * divmod(a, 0.2)[1],
    "plus": lambda x, a: x * +a,
    "compared": lambda x, a: x * 2 if a > 0.5 else x * 3,
    "max": lambda x, a: x * max(a, 0.5, min(a, 0.1)),
    "truth": lambda x, a: x * 2 if a else x * 3,
    "printed": lambda x, a: (x * a, str(a)),
    "formatted": lambda x, a: (x * a, f"{a:.2f}", f"{a:.1f}"),
    "rounded": lambda x, a: x * round(a) + round(a, 1),
    "int": lambda x, a: x * int(a * 10) + math.floor(a * 10) + math.ceil(a * 10),
    "math": lambda x, a: x * math.sin(a) + math.sqrt(a),
    "numpy": lambda x, a: x * float(np.exp(a)) + np.array([a, a]).sum(),
    "key": lambda x, a: x * {0.25: 2, 0.5: 3}.get(a, 4),
    "type": lambda x, a: x * 2 if type(a) is float else x * 3,
    "isinstance": lambda x, a: x * 2 if isinstance(a, float) else x * 3,
    "method": lambda x, a: x * 2 if (a * 2).is_integer() else x * 3,
    "sorted": lambda x, a: x * sorted([a, 0.4])[0],
    "nothing": lambda x, a: x + 1,
    "in place": lambda x, a: x.clone().fill_(a),
    "item": lambda x, a: x.clone().__setitem__(0, a),
    "returned": lambda x, a: (x, a),
    "computed": lambda x, a: (x, {"lr": a * 2}),
    "list": lambda x, a: x * sum([a, a, 1.0]),
    "string": lambda x, a: (x, "%.2f" % a),  # noqa: UP031
    "negative power": lambda x, a: x * (a - 2.0) ** -2,
    "linspace": lambda x, a: tracer.linspace(0.0, a, 3) + x,
    "normalized": lambda x, a: x * (a / math.hypot(a, 1.0)),
}


@pytest.mark.parametrize("name", FLOATS)
def test_a_float_argument_may_change(name):
    def program(trace):
        f = trace(FLOATS[name])
        return [f(vec(), a) for a in (0.25, 0.75, 0.5, 1.0, 0.75)]

    both(program)


def test_a_float_that_only_enters_arithmetic_does_not_record_anew():
    def program(trace):
        f = trace(lambda x, a, b: x * a + b / 2)
        return [f(vec(), 0.1 * i, b=1.0 + i) for i in range(10)]

    both(program, graphs=1)


def test_a_float_inside_a_structure():
    def program(trace):
        f = trace(lambda x, c: x * c["a"] + c["b"][1] * c["c"].b)
        return [f(vec(), {"a": 0.5 * i, "b": [1, 2.0 + i], "c": Pair(1.0, -1.0 * i)}) for i in range(6)]

    both(program, graphs=1)


def test_zero_has_a_sign():
    def program(trace):
        f = trace(lambda x, a: x * math.copysign(1.0, a))
        g = trace(lambda x, a: x * math.copysign(1.0, a))
        zeros = (0.0, -0.0, 0.0, -0.0)
        return [f(vec(), a) for a in zeros], [g(vec(), np.float64(a)) for a in zeros]

    both(program)


def test_a_float_may_be_infinite_or_not_a_number():
    def program(trace):
        f = trace(lambda x, a: x * a)
        g = trace(lambda x, a: x * 2 if a == a else x * 3)
        return [h(vec(), a) for h in (f, g) for a in (1.0, math.inf, math.nan, 2.0, math.nan, -math.inf)]

    both(program)


ARITHMETIC = {
    "division": lambda x, a: x * (1.0 / a),
    "remainder": lambda x, a: x * (1.0 % a),
    "power": lambda x, a: x * a**-1.0,
    "overflow": lambda x, a: x * (a + 1e200) ** 2.0,
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_python_refuses_the_same_arithmetic(name):
    def program(trace):
        f = trace(ARITHMETIC[name])
        return [outcome(f, vec(), a) for a in (2.0, 4.0, 0.0, 8.0)]

    both(program)


def test_a_float_kept_outside_is_a_float():
    def program(trace):
        kept, box = [], types.SimpleNamespace(a=None)

        @trace
        def f(x, a):
            kept.append(a)
            box.a = a * 2
            return x * a

        results = [f(vec(), 0.5), kept[0], box.a]
        return results

    both(program)


# Random numbers.


def test_random_numbers_continue_the_same_stream():
    def program(trace):
        own = tracer.Generator(5)
        f = trace(lambda: (tracer.rand(3), tracer.randn(2, 2), tracer.randint(0, 10, (4,))))
        g = trace(lambda x: x * (tracer.rand(3) > 0.5))
        h = trace(lambda: tracer.rand(3, generator=own))
        results = []
        for i in range(6):
            results += [f(), tracer.rand(2), g(vec()), h(), tracer.rand(2, generator=own)]
            if i == 3:
                tracer.manual_seed(1)
        return results

    (f, *_) = both(program, graphs=3)
    assert not f()[0].eq(f()[0]).all()


def test_seeding_and_shuffling_inside():
    def program(trace):
        def seeded():
            tracer.manual_seed(4)
            return tracer.rand(3)

        f, g, h = trace(seeded), trace(lambda: tracer.randperm(5)), trace(lambda: tracer.rand(2, generator=tracer.Generator(3)))
        return [k() for _ in range(4) for k in (f, g, h, tracer.default_generator.state.clone)]

    both(program)


# Errors.


def test_an_exception_inside():
    def program(trace):
        log = vec(0)

        @trace
        def f(x, fail=False):
            log.add_(1)
            if fail:
                raise KeyError("asked for")
            return x * 2

        return [(outcome(f, vec(i), i % 3 == 0), context.recorder is None, log.clone()) for i in range(8)]

    both(program)


def test_an_index_out_of_range_in_a_replay():
    def program(trace):
        count = tracer.zeros(1)
        f = trace(lambda x, i: (count.add_(1), x[i])[1])
        results = []
        for i in (1, 2, 7, 0, -3, -4, 2):
            results.append((outcome(f, vec(), tracer.tensor([0, i])), count.clone()))
        return results

    (f,) = both(program)
    assert len(f.graphs()) == 1


def test_an_error_in_a_replay_leaves_gradients_as_they_were():
    def program(trace):
        p = leaf()
        f = trace(lambda i: (p[i] * p[i]).sum().backward())
        results = []
        for i in (1, 2, 7, 0, 9):
            if i == 7:
                p.grad = None
            results.append((outcome(f, tracer.tensor([0, i])), None if p.grad is None else p.grad.clone()))
        return results

    both(program)


def test_errors_of_shape_and_dtype():
    def program(trace):
        f = trace(lambda x, y: x @ y)
        g = trace(lambda x: x.sum(3))
        return [outcome(f, vec(), vec(n=n)) for n in (3, 4, 3, 4)] + [outcome(g, vec()) for _ in range(3)]

    both(program)


# Nested calls.


def test_traced_functions_call_traced_functions():
    def program(trace):
        inner = trace(lambda x, k: x * k)
        outer = trace(lambda x, k: inner(x, k) + inner(inner(x, 2.0), k * 2))
        results = [outer(vec(), 0.5 + i) for i in range(4)]
        return results + [inner(vec(), 0.5 + i) for i in range(4)]

    both(program, graphs=2)


def test_a_recursive_function():
    def program(trace):
        @trace
        def power(x, n):
            return x if n == 0 else power(x, n - 1) * 2

        return [power(vec(i), n) for n in (3, 2, 3) for i in range(3)]

    both(program)


def test_a_function_traced_inside_a_function():
    def program(trace):
        def make(k):
            return trace(lambda x: x * k)

        return [make(k)(vec()) for k in (1.0, 2.0, 3.0) for _ in range(3)]

    both(program)


def test_a_generator_function_and_a_callable_object():
    def program(trace):
        def numbers(x):
            for k in range(3):
                yield x * k

        class Scale:
            def __init__(self, k):
                self.k = k

            def __call__(self, x):
                return x * self.k

        f, scale = trace(numbers), Scale(2.0)
        g = trace(scale)
        results = []
        for i in range(6):
            if i == 3:
                scale.k = 5.0
            results += [list(f(vec(i))), g(vec(i))]
        return results

    both(program)


def test_a_traced_step_around_a_traced_forward():
    def program(trace):
        model = network()
        forward = trace(lambda x: model(x))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        @trace
        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        results = []
        for i in range(5):
            x, y = batch(i)
            results += [step(x, y), forward(x).detach()]
            F.cross_entropy(forward(x), y).backward()
        return results, [p.grad for p in model.parameters()]

    both(program)


def test_a_step_with_a_closure():
    def program(trace):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        @trace
        def step(x, y):
            def closure():
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            return optimizer.step(closure).detach()

        return [step(*batch(i)) for i in range(6)], list(model.parameters())

    both(program, graphs=1)


def test_two_optimizers_and_a_moving_average():
    def program(trace):
        a, b, average = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 4)
        one, two = optim.Adam(a.parameters(), lr=0.01), optim.SGD(b.parameters(), lr=0.1)

        @trace
        def step(x, y):
            one.zero_grad()
            two.zero_grad()
            loss = F.cross_entropy(b(a(x).tanh()), y)
            loss.backward()
            one.step()
            two.step()
            with tracer.no_grad():
                for p, q in zip(average.parameters(), a.parameters(), strict=True):
                    p.mul_(0.9).add_(q, alpha=0.1)
            return loss.detach()

        return [step(*batch(i)) for i in range(6)], list(average.parameters()), list(b.parameters())

    both(program, graphs=1)


def test_a_clipped_step_and_a_logged_norm():
    def program(trace):
        p = leaf()
        optimizer = optim.SGD([p], lr=0.1)

        @trace
        def step(x, limit):
            optimizer.zero_grad()
            loss = (p * x).square().sum()
            loss.backward()
            with tracer.no_grad():
                norm = p.grad.square().sum().sqrt()
                p.grad.mul_((limit / (norm + 1e-6)).clamp(max=1.0))
            optimizer.step()
            return loss.detach(), norm

        return [(*step(vec(k), 0.5 + k), p.grad.clone(), p.detach().clone()) for k in range(5)]

    both(program, graphs=1)


def test_tensors_made_inside_are_changed_in_place():
    def program(trace):
        @trace
        def f(x):
            y = x * 2
            y.add_(1)
            y[0] = 7.0
            return y * 3

        return [f(vec(k)) for k in range(4)]

    both(program, graphs=1)


def test_gradients_accumulate_on_arguments():
    def program(trace):
        f = trace(lambda x, y: ((x * y).sum().backward(), x.grad * 1)[1])
        results = []
        for k in range(4):
            x = leaf(k)
            results += [f(x, vec(2)), f(x, vec(3)), x.grad]
        return results

    both(program)


def test_gradients_of_arguments_inside():
    def program(trace):
        grad = trace(lambda x: tracer.autograd.grad((x * x * x).sum(), x)[0])
        attack = trace(lambda x, eps: x + eps * tracer.autograd.grad((x * x).sum(), x)[0].sign())
        results = []
        for k in range(4):
            x = leaf(k)
            results += [grad(x), attack(x, 0.1 * k).detach(), outcome(grad, vec()), grad(x * 1), x.grad]
        return results

    both(program)


# Threads and switches.


def test_threads_share_a_function():
    model = network()
    scale = tracer.trace(lambda x, k: (x * k, x.sum()))
    forward = tracer.trace(lambda x: model(x).sum())
    wrong = []

    def work(t):
        for i in range(60):
            n = 2 + (i + t) % 3
            x, k = vec(t + i, n=n), 0.5 * t + i
            u, v = scale(x, k)
            if not (np.allclose(u.numpy(), x.numpy() * k) and np.allclose(v.item(), x.numpy().sum())):
                wrong.append((t, i))
            y = (vec(i, n=4 * n).reshape(n, 4) * 0.01).requires_grad_()
            forward(y).backward(inputs=[y])
            (g,) = tracer.autograd.grad(model(y).sum(), y)
            if not np.allclose(g.numpy(), y.grad.numpy(), atol=1e-5):
                wrong.append((t, i, "gradient"))

    def guarded(t):
        try:
            work(t)
        except BaseException as e:
            wrong.append(repr(e))

    threads = [threading.Thread(target=guarded, args=(t,)) for t in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:3]
    assert scale.graphs()


def test_threads_record_a_signature_once():
    @tracer.trace
    def f(x):
        time.sleep(0.05)
        return x * 2

    threads = [threading.Thread(target=f, args=(vec(),)) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(f.graphs()) == 1


def test_an_environment_variable_turns_tracing_off():
    code = "import tracer\nf = tracer.trace(lambda x: x * 2)\nfor i in range(3): f(tracer.ones(2))\nprint(f.cache_info()[:3])"
    for value, counts in (("1", (0, 0, 3)), ("0", (2, 1, 0))):
        environment = {**os.environ, "TRACER_DISABLE": value}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == str(counts), done.stderr


def test_a_block_turns_tracing_off():
    f = tracer.trace(lambda x: x * 2)
    f(vec())
    with tracer.eager():
        f(vec())
        with tracer.eager():
            f(vec())
        f(vec())
    f(vec())
    assert f.cache_info()[:3] == (1, 1, 3)
    with pytest.raises(KeyError), tracer.eager():
        raise KeyError
    f(vec())
    assert f.cache_info()[:3] == (2, 1, 3)
