"""Take the decorator away and the program means the same: each program here is run without it and with it."""

import collections
import dataclasses
import functools
import itertools
import math
import os
import random
import subprocess
import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest

import tracer
from tracer import nn, optim
from tracer.context import context
from tracer.nn import functional as F

Pair = collections.namedtuple("Pair", "a b")


def same(a, b, path="result"):
    """Equal up to rounding, in type, dtype, shape and place in the graph; structures item by item."""
    if isinstance(a, tracer.Tensor):
        assert isinstance(b, tracer.Tensor), f"{path}: {a!r} and {b!r}"
        traits = [(t.dtype, t.shape, t.requires_grad, t.is_leaf) for t in (a, b)]
        assert traits[0] == traits[1], path
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=2e-5, atol=1e-6, err_msg=path)
        return
    assert type(a) is type(b), f"{path}: {a!r} and {b!r}"
    if isinstance(a, dict):
        same(list(a), list(b), f"{path} keys")
        a, b = list(a.values()), list(b.values())
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{path}[{i}]")
    elif isinstance(a, (float, np.ndarray)):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6, err_msg=path)
    else:
        assert a == b, path


def both(program, graphs=None):
    """Runs a program with and without the decorator. ``graphs``: how many its traced functions record in all."""
    made = []

    def trace(f):
        made.append(tracer.trace(f))
        return made[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        tracer.manual_seed(0)
        eager = program(lambda f: f)
        tracer.manual_seed(0)
        traced = program(trace)
    same(eager, traced)
    assert context.recorder is None
    if graphs is not None:
        assert sum(len(f.graphs()) for f in made) == graphs, "\n".join(f.explain() for f in made)
    return made


def outcome(f, *args):
    """The result, or the type of the exception and its message's first words."""
    try:
        return f(*args)
    except Exception as e:
        return type(e), str(e)[:20]


def vec(k=1.0, n=3):
    return tracer.arange(n).float() + k


def leaf(k=1.0, n=3):
    return vec(k, n).requires_grad_()


# Recording and replaying.


def test_the_first_call_runs_and_later_calls_replay(capsys):
    @tracer.trace
    def f(x):
        """Twice."""
        print("ran")
        return x * 2

    for i in range(5):
        same(f(vec(i)), vec(i) * 2)
    assert capsys.readouterr().out == "ran\n"
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


# Floats are numbers of the run.

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


# Training steps.

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
}


def network():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def batch(i):
    g = tracer.Generator(i)
    return tracer.randn(5, 4, generator=g), tracer.tensor([0, 1, 2, 1, i % 3])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_steps(name):
    def program(trace):
        model = network()
        optimizer = OPTIMIZERS[name](model.parameters())

        @trace
        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        losses = []
        for i in range(20):
            optimizer.param_groups[0]["lr"] *= 0.95
            losses.append(step(*batch(i)))
        state = [dict(s) for s in optimizer.state.values()]
        return losses, list(model.parameters()), [p.grad for p in model.parameters()], state

    both(program, graphs=1)


ZEROING = {
    "never": lambda model, optimizer: None,
    "to none": lambda model, optimizer: optimizer.zero_grad(),
    "to zero": lambda model, optimizer: optimizer.zero_grad(set_to_none=False),
    "by the model": lambda model, optimizer: model.zero_grad(),
}


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("zeroing", ZEROING)
def test_gradients_are_zeroed_inside_or_outside(zeroing, outside):
    def program(trace):
        model = nn.Linear(4, 3)
        optimizer = optim.SGD(model.parameters(), lr=0.01)

        @trace
        def step(x, y):
            if not outside:
                ZEROING[zeroing](model, optimizer)
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        seen = []
        for i in range(8):
            if outside and i % 2:
                ZEROING[zeroing](model, optimizer)
            step(*batch(i))
            seen.append([p.grad.clone() for p in model.parameters()])
        return seen, list(model.parameters())

    both(program)


def test_accumulation_over_small_batches():
    def program(trace):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        accumulate = trace(lambda x, y: (F.cross_entropy(model(x), y) / 4).backward())
        update = trace(lambda: (optimizer.step(), optimizer.zero_grad())[0])
        for i in range(16):
            accumulate(*batch(i))
            if i % 4 == 3:
                update()
        return list(model.parameters()), [p.grad for p in model.parameters()]

    both(program)


def test_an_integer_learning_rate_may_change():
    def program(trace):
        p = leaf()
        optimizer = optim.SGD([p], lr=1)

        @trace
        def step(x):
            optimizer.zero_grad()
            (p * x).sum().backward()
            optimizer.step()

        seen = []
        for lr in (1, 1, 1, 2, 3, 0.5, 0.25, 4, 5, np.float64(0.125), np.float64(2)):
            optimizer.param_groups[0]["lr"] = lr
            step(vec())
            seen.append(p.detach().clone())
        return seen

    both(program)


def test_a_learning_rate_read_by_the_function_itself():
    def program(trace):
        p = leaf()
        optimizer = optim.SGD([p], lr=0.5)
        f = trace(lambda x: x * optimizer.param_groups[0]["lr"])
        results = []
        for i in range(6):
            optimizer.param_groups[0]["lr"] = 0.5 + i
            results.append(f(vec()))
        return results

    both(program)


def test_an_optimizer_of_the_user():
    class Plain(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def _update_group(self, group, params):
            for p in params:
                p.sub_(p.grad * group["lr"])

    def program(trace):
        p = leaf()
        optimizer = Plain([p], 0.5)

        @trace
        def step(x):
            optimizer.zero_grad()
            (p * x).sum().backward()
            optimizer.step()

        seen = []
        for i in range(6):
            optimizer.param_groups[0]["lr"] = 0.5 + i
            step(vec())
            seen.append(p.detach().clone())
        return seen

    both(program)


OPTIMIZER_CHANGES = {
    "momentum": lambda o, p, q: o.param_groups[0].update(momentum=0.5),
    "momentum merged": lambda o, p, q: o.param_groups[0].__ior__({"momentum": 0.5}),
    "decay": lambda o, p, q: o.param_groups[0].__setitem__("weight_decay", 0.5),
    "state cleared": lambda o, p, q: o.state.clear(),
    "state popped": lambda o, p, q: o.state.pop(p),
    "buffer replaced": lambda o, p, q: o.state[p].update(momentum_buffer=tracer.ones(3) * 9),
    "buffer changed": lambda o, p, q: o.state[p]["momentum_buffer"].zero_(),
    "loaded": lambda o, p, q: o.load_state_dict(o.state_dict()),
    "group added": lambda o, p, q: o.add_param_group({"params": [q], "lr": 0.3}),
    "parameter appended": lambda o, p, q: o.param_groups[0]["params"].append(q),
    "parameter removed": lambda o, p, q: o.param_groups[0]["params"].clear(),
    "groups replaced": lambda o, p, q: o.param_groups.clear(),
    "frozen": lambda o, p, q: p.requires_grad_(False),
    "gradient taken": lambda o, p, q: setattr(p, "grad", None),
    "gradient given": lambda o, p, q: setattr(p, "grad", tracer.ones(3)),
}


@pytest.mark.parametrize("change", OPTIMIZER_CHANGES)
def test_an_optimizer_is_changed_between_steps(change):
    def program(trace):
        p, q = leaf(), leaf(2)
        optimizer = optim.SGD([p], lr=0.1, momentum=0.9)

        @trace
        def step(x):
            (p * x * q).sum().backward()
            optimizer.step()

        seen = []
        for i in range(10):
            if i == 6:
                OPTIMIZER_CHANGES[change](optimizer, p, q)
            step(vec(i))
            seen.append((p.detach().clone(), q.detach().clone(), None if p.grad is None else p.grad.clone()))
        return seen

    both(program)


def test_gradients_kept_by_the_caller():
    def program(trace):
        p, kept = leaf(), []

        @trace
        def step(x):
            p.grad = None
            (p * x).sum().backward()

        for i in range(20):
            step(vec(i))
            kept.append((p.grad, p.grad.detach(), p.grad.numpy()))
        return kept

    both(program, graphs=1)


def test_an_accumulated_gradient_stays_the_same_tensor():
    def program(trace):
        p, same_object = leaf(), []
        step = trace(lambda x: (p * x).sum().backward())
        step(vec())
        kept = p.grad
        for i in range(5):
            step(vec(i))
            same_object.append(kept is p.grad)
        return kept, same_object

    both(program)


def test_a_gradient_penalty():
    def program(trace):
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        @trace
        def step(x):
            optimizer.zero_grad()
            x = x.detach().clone().requires_grad_()
            y = model(x).sum()
            (g,) = tracer.autograd.grad(y, x, create_graph=True)
            loss = ((g * g).sum(1) - 1).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return [step(batch(i)[0]) for i in range(6)], list(model.parameters())

    both(program, graphs=1)


# Differentiated from outside.


def test_derivatives_to_order_three():
    def program(trace):
        f = trace(lambda x, w: ((x * w).tanh().sum(), (x * x * w).exp()))
        results = []
        for i in range(4):
            x, w = leaf(i * 0.1), leaf(0.3)
            u, v = f(x * 0.2, w)
            first = tracer.autograd.grad(u * v.sum(), (x, w), create_graph=True)
            second = tracer.autograd.grad((first[0] * first[1]).sum(), (x, w), create_graph=True)
            third = tracer.autograd.grad(second[0].sum() + second[1].sum(), (x, w))
            results.append([t.detach() for t in (u, v, *first, *second, *third)])
        return results

    both(program, graphs=1)


def test_one_output_of_two_and_one_output_twice():
    def program(trace):
        f = trace(lambda x: (x.sin(), x.exp(), x.detach() * 2))
        results = []
        for k in range(3):
            x = leaf(k)
            u, v, w = f(x)
            results.append(tracer.autograd.grad(v.sum(), x))
            u, v, w = f(x)
            (u * u + u * w).sum().backward()
            results += [x.grad, w]
        return results

    both(program, graphs=1)


def test_a_parameter_that_a_result_does_not_depend_on_gets_no_gradient():
    def program(trace):
        p, q = leaf(), leaf(2)
        f = trace(lambda x: (p * x, q * x, x * 2))
        results = []
        for k in range(4):
            p.grad = q.grad = None
            f(vec(k))[0].sum().backward()
            results += [p.grad, q.grad]
            results.append(outcome(tracer.autograd.grad, f(vec(k))[1].sum(), (p, q)))
            results.append(tracer.autograd.grad(f(vec(k))[1].sum(), (p, q), None, None, False, True))
        return results

    both(program)


def test_a_parameter_that_is_only_read_detached_gets_no_gradient():
    def program(trace):
        p, q = leaf(), leaf(2)
        f = trace(lambda x: p * x + q.detach())
        for k in range(4):
            f(vec(k)).sum().backward()
        return p.grad, q.grad

    both(program)


def test_a_graph_is_walked_twice_only_if_retained():
    def program(trace):
        f = trace(lambda x: x.exp().sum())
        results = []
        for _ in range(3):
            x = leaf()
            y = f(x)
            y.backward(retain_graph=True)
            y.backward()
            results += [x.grad, outcome(y.backward)]
        return results

    both(program, graphs=1)


def test_a_graph_retained_inside_is_walked_outside():
    def program(trace):
        p = leaf()

        @trace
        def f(x):
            y = (p * x).exp().sum()
            y.backward(retain_graph=True)
            return y

        for k in range(4):
            f(vec(0.1 * k)).backward()
        return p.grad

    both(program)


def test_parameters_reached_through_a_module():
    def program(trace):
        model = network()
        f = trace(lambda x: model(x))
        for i in range(4):
            x, y = batch(i)
            F.cross_entropy(f(x), y).backward()
        return [p.grad for p in model.parameters()]

    both(program, graphs=1)


def test_an_input_that_gradients_do_not_need_may_change_before_backward():
    def program(trace):
        f = trace(lambda h, w: (h * 2 + w).tanh().sum())
        w = leaf(0.1)
        for k in range(3):
            h = vec(0.1 * k)
            y = f(h, w)
            h.add_(1)
            y.backward()
        return w.grad

    both(program)


def test_a_saved_result_changed_by_the_caller_is_no_silent_error():
    f = tracer.trace(lambda x: x.exp())
    for _ in range(3):
        x = leaf(0.1)
        y = f(x)
        with tracer.no_grad():
            y.mul_(5)
        try:
            y.sum().backward()
        except RuntimeError as e:
            assert "modified by an inplace operation" in str(e)
        else:
            same(x.grad, x.detach().exp())


def test_gradients_enabled_inside_a_block_without():
    def program(trace):
        @trace
        def f(x):
            with tracer.enable_grad():
                return (x * x).sum()

        results = []
        for k in range(3):
            x = leaf(k)
            with tracer.no_grad():
                y = f(x)
            y.backward()
            results += [y.detach(), x.grad]
        return results

    both(program)


def test_requires_grad_set_inside():
    def program(trace):
        @trace
        def f(x):
            x.requires_grad_()
            (x * x).sum().backward()

        results = []
        for k in range(4):
            x = vec(k)
            f(x)
            results += [x, x.grad]
        return results

    both(program)


def test_a_leaf_made_inside():
    def program(trace):
        f = trace(lambda x: (tracer.zeros(3, requires_grad=True), (x * 2).detach().requires_grad_()))
        results = []
        for k in range(4):
            u, v = f(vec(k))
            (u * v * v).sum().backward()
            results += [u, u.grad, v, v.grad]
        return results

    both(program)


def test_a_leaf_and_what_was_computed_from_one_are_not_alike():
    def program(trace):
        backward = trace(lambda x: (x * x).sum().backward())
        look = trace(lambda x: x * 2 if x.is_leaf else x * 3)
        results = []
        for k in range(6):
            p = leaf(k)
            x = p * 2 if k % 2 else p
            backward(x)
            results += [p.grad, look(x).detach()]
        return results

    both(program)


def test_a_parameter_and_a_tensor_are_not_alike():
    def program(trace):
        f = trace(lambda x: x * 2 if isinstance(x, nn.Parameter) else x * 3)
        return [f(nn.Parameter(vec()) if k % 2 else leaf()) for k in range(4)]

    both(program)


# What a function reads may change.

SCALE = 1.0
LAST = 0
outer_settings = types.ModuleType("settings_that_tests_change")
outer_settings.__dict__.update(a=1.0, b=1.0)
sys.modules["settings_that_tests_change"] = outer_settings


class Slots:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k

    @tracer.trace
    def times(self, x):
        return x * self.k


@dataclasses.dataclass(slots=True)
class Batch:
    k: int


class Empty:
    pass


def scaled(x):
    return x * SCALE


def read_b(x):
    return x * outer_settings.b


def read_both(x):
    return read_b(x * outer_settings.a)


def imports(x):
    import settings_that_tests_change as s

    return x * s.a


def imports_name(x):
    from settings_that_tests_change import a

    return x * a


def read_attribute_of_function(x):
    return x * read_attribute_of_function.k


read_attribute_of_function.k = 1.0


def add_k(options, x):
    return x + options["k"]


class CHANGES:
    """Each makes a function, and a function that changes what the first one reads."""

    def closure_variable():
        k = 1.0

        def change(v):
            nonlocal k
            k = v

        return (lambda x: x * k), change

    def global_of_a_helper():
        return scaled, lambda v: globals().update(SCALE=v)

    def list_item():
        a = [1.0]
        return (lambda x: x * a[0]), lambda v: a.__setitem__(0, v)

    def list_order():
        a = [1.0, 2.0]
        return (lambda x: x * a[0] - a[1]), lambda v: a.reverse()

    def nested_dict():
        a = {"a": {"b": [1.0]}}
        return (lambda x: x * a["a"]["b"][0]), lambda v: a["a"].update(b=[v])

    def dict_order():
        a = {"a": 1.0, "b": 2.0}
        return (lambda x: x * next(iter(a)).count("a")), lambda v: a.__setitem__("a", a.pop("a"))

    def set_member():
        a = {1}
        return (lambda x: x * sum(a)), lambda v: a.add(int(v) + 7)

    def attribute():
        a = types.SimpleNamespace(k=1.0)
        return (lambda x: x * a.k), lambda v: setattr(a, "k", v)

    def slot():
        a = Slots(1.0)
        return (lambda x: x * a.k), lambda v: setattr(a, "k", v)

    def deque():
        a = collections.deque([1.0])
        return (lambda x: x * a[0]), lambda v: a.__setitem__(0, v)

    def array():
        a = np.ones(3, np.float32)
        return (lambda x: x + tracer.tensor(a)), lambda v: a.__setitem__(0, v)

    def array_item():
        a = np.ones(3)
        return (lambda x: x * float(a[0])), lambda v: a.__setitem__(0, v)

    def shared_array():
        a = np.ones(3, np.float32)
        return (lambda x: x + tracer.from_numpy(a)), lambda v: a.__setitem__(0, v)

    def bytes_item():
        a = bytearray(b"\1")
        return (lambda x: x * a[0]), lambda v: a.__setitem__(0, int(v))

    def partial_of_a_dict():
        a = {"k": 1.0}
        add = functools.partial(add_k, a)
        return (lambda x: add(x)), lambda v: a.update(k=v)

    def traced_partial():
        a = {"k": 1.0}
        return functools.partial(add_k, a), lambda v: a.update(k=v)

    def bound_builtin():
        a = {"k": 1.0}
        get = a.get
        return (lambda x: x * get("k")), lambda v: a.update(k=v)

    def mapping_proxy():
        a = {"k": 1.0}
        proxy = types.MappingProxyType(a)
        return (lambda x: x * proxy["k"]), lambda v: a.update(k=v)

    def attribute_of_a_function():
        read_attribute_of_function.k = 1.0
        return read_attribute_of_function, lambda v: setattr(read_attribute_of_function, "k", v)

    def attribute_added_to_a_class():
        class C(Empty):
            pass

        return (lambda x: x * getattr(C, "k", 1.0)), lambda v: setattr(C, "k", v)

    def attribute_added_to_an_object():
        a = Empty()
        return (lambda x: x * getattr(a, "k", 1.0)), lambda v: setattr(a, "k", v)

    def attribute_of_a_module():
        outer_settings.a = outer_settings.b = 1.0
        return read_both, lambda v: setattr(outer_settings, "a", v)

    def attribute_of_a_module_read_by_a_helper():
        outer_settings.a = outer_settings.b = 1.0
        return read_both, lambda v: setattr(outer_settings, "b", v)

    def attribute_of_a_module_by_its_name():
        outer_settings.a = 1.0
        return (lambda x: x * getattr(outer_settings, "a")), lambda v: setattr(outer_settings, "a", v)  # noqa: B009

    def module_imported_inside():
        outer_settings.a = 1.0
        return imports, lambda v: setattr(outer_settings, "a", v)

    def name_imported_inside():
        outer_settings.a = 1.0
        return imports_name, lambda v: setattr(outer_settings, "a", v)

    def global_by_its_name():
        return (lambda x: x * globals()["SCALE"]), lambda v: globals().update(SCALE=v)

    def environment_variable():
        os.environ["SCALE_OF_A_TEST"] = "1"
        return (lambda x: x * float(os.environ["SCALE_OF_A_TEST"])), lambda v: os.environ.update(SCALE_OF_A_TEST=str(v))

    def attribute_of_a_tensor():
        p = leaf()
        p.k = 1.0
        return (lambda x: x * p.k), lambda v: setattr(p, "k", v)

    def default_of_a_function():
        def helper(x, k=1.0):
            return x * k

        return (lambda x: helper(x)), lambda v: setattr(helper, "__defaults__", (v,))

    def code_of_a_function():
        def helper(x):
            return x * 2

        return (lambda x: helper(x)), lambda v: setattr(helper, "__code__", (lambda x: x * 3).__code__)

    def mutable_default():
        a = {"k": 1.0}

        def f(x, options=a):
            return x * options["k"]

        return f, lambda v: a.update(k=v)

    def property_of_a_class():
        class C:
            k = 1.0
            twice = property(lambda self: self.k * 2)

        a = C()
        return (lambda x: x * a.twice), lambda v: setattr(C, "k", v)

    def method_replaced():
        a = Empty()
        a.f = lambda x: x
        return (lambda x: a.f(x) * 2), lambda v: setattr(a, "f", lambda x: x + v)

    def module_attribute():
        m = nn.Linear(3, 3)
        m.k = 1.0
        return (lambda x: x * m.k), lambda v: setattr(m, "k", v)

    def module_flag():
        m = nn.Linear(3, 3)
        return (lambda x: x * 2 if m.training else x), lambda v: m.eval()

    def parameter_replaced():
        m = nn.Linear(3, 3)
        return (lambda x: m(x)), lambda v: setattr(m, "weight", nn.Parameter(tracer.ones(3, 3)))

    def parameter_data():
        m = nn.Linear(3, 3)
        return (lambda x: m(x)), lambda v: setattr(m.weight, "data", tracer.ones(3, 3))

    def parameter_frozen():
        m = nn.Linear(3, 3)
        return (lambda x: m(x)), lambda v: m.weight.requires_grad_(False)

    def captured_in_place():
        w = vec()
        return (lambda x: x * w), lambda v: w.fill_(v)

    def captured_view_in_place():
        w = vec(n=6)
        part = w[::2]
        return (lambda x: x * part), lambda v: w.fill_(v)

    def captured_reshaped():
        w = vec()
        return (lambda x: x * w), lambda v: setattr(w, "data", tracer.ones(1) * v)

    def captured_made_a_view():
        w = vec()
        return (lambda x: x * w), lambda v: setattr(w, "data", vec(n=6)[::2])

    def captured_of_another_dtype():
        w = vec()
        return (lambda x: x * w), lambda v: setattr(w, "data", vec().double())

    def submodule_replaced():
        m = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        return (lambda x: m(x)), lambda v: setattr(m, "0", nn.Linear(3, 3))

    def helper_replaced():
        helpers = {"f": lambda x: x * 2}
        return (lambda x: helpers["f"](x)), lambda v: helpers.update(f=lambda x: x * 3)

    def context_variable():
        import contextvars

        k = contextvars.ContextVar("k", default=1.0)
        return (lambda x: x * k.get()), k.set

    def thread_local():
        a = threading.local()
        a.k = 1.0
        return (lambda x: x * a.k), lambda v: setattr(a, "k", v)


@pytest.mark.parametrize("what", [name for name in vars(CHANGES) if not name.startswith("_")])
def test_what_a_function_reads_is_changed(what, monkeypatch):
    def program(trace):
        monkeypatch.setitem(globals(), "SCALE", 1.0)
        monkeypatch.setenv("SCALE_OF_A_TEST", "1")
        function, change = getattr(CHANGES, what)()
        f = trace(function)
        results = []
        for i in range(6):
            if i == 3:
                change(3.0)
            results.append(f(vec(i)))
        return results

    both(program)


SOURCES = {
    "random": lambda: (lambda: random.seed(0), random.random),
    "numpy": lambda: (lambda: np.random.seed(0), np.random.rand),
    "numpy generator": lambda: (lambda: None, np.random.default_rng(0).random),
    "counter": lambda: (lambda: None, itertools.count().__next__),
    "iterator": lambda: (lambda: None, iter(range(100)).__next__),
    "generator": lambda: (lambda: None, (i for i in range(100)).__next__),
    "pop": lambda: (lambda: None, list(range(100)).pop),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_number_python_makes_anew_in_every_call(name):
    def program(trace):
        seed, draw = SOURCES[name]()
        seed()
        f = trace(lambda x: x * float(draw()))
        return [f(vec()) for _ in range(6)]

    both(program)


def test_python_random_called_by_its_name():
    def program(trace):
        random.seed(0)
        np.random.seed(0)
        numbers = iter([1.0, 2.0, 3.0, 4.0, 5.0])
        functions = [
            trace(lambda x: x * random.random()),
            trace(lambda x: x * float(np.random.rand())),
            trace(lambda x: x * next(numbers)),
        ]
        return [[outcome(f, vec()) for _ in range(4)] for f in functions]

    both(program)


def test_what_a_function_counts():
    def program(trace):
        counts, box, n = [0], types.SimpleNamespace(calls=0), 0

        @trace
        def f(x):
            nonlocal n
            n += 1
            counts[0] += 1
            box.calls += 1
            return x * counts[0]

        return [f(vec()) for _ in range(8)], counts, box.calls, n

    both(program)


def test_what_a_function_assigns_without_reading():
    def program(trace):
        class Box:
            last = 0

        box = Empty()

        @trace
        def f(x):
            global LAST
            LAST = len(x)
            box.last = Box.last = len(x)
            return x * 2

        seen = []
        for n in (2, 2, 3, 3, 2, 3, 2, 2, 3):
            f(vec(n=n))
            seen.append((LAST, box.last, Box.last))
        return seen

    both(program)


def test_modes_set_inside_stay_set():
    def program(trace):
        seen = []

        @trace
        def f(x):
            tracer.set_grad_enabled(False)
            return x * 2

        for _ in range(3):
            f(vec())
            seen.append(tracer.is_grad_enabled())
            tracer.set_grad_enabled(True)
        return seen

    try:
        both(program)
    finally:
        tracer.set_grad_enabled(True)


# Arguments that are objects.


def test_objects_as_arguments():
    def program(trace):
        f = trace(lambda x, o: x * o.k)
        results = [f(vec(), Batch(k % 3)) for k in range(8)]
        results += [f(vec(), Slots(k % 3)) for k in range(8)]
        results += [f(vec(), types.SimpleNamespace(k=k % 3)) for k in range(8)]
        results += [f(vec(), types.SimpleNamespace(k=vec(k))) for k in range(8)]
        return results

    both(program)


def test_numpy_numbers_as_arguments():
    def program(trace):
        f = trace(lambda x, k: x * int(k))
        return [f(vec(), k) for kind in (np.int64, np.int32, np.float32, np.float64) for k in np.arange(6).astype(kind)]

    both(program)


def test_arrays_as_arguments():
    def program(trace):
        f = trace(lambda x, a: x + tracer.tensor(a))
        return [f(vec(), np.full(3, k, np.float32)) for k in range(4)]

    both(program)


def test_functions_as_arguments():
    def program(trace):
        f = trace(lambda x, g: g(x))
        results = []
        for i in range(12):
            results.append(f(vec(), (lambda t: t * 2) if i % 2 else (lambda t: t * 3)))
        for i in range(6):
            results.append(f(vec(), lambda t, i=i: t * i))
        return results

    both(program)


def test_methods_of_all_kinds():
    def program(trace):
        class C:
            k = 2.0

            def __init__(self, w):
                self.w = w

            @trace
            def plain(self, x, y=1.0):
                return x * self.w * self.k * y

            @classmethod
            @trace
            def of_class(cls, x):
                return x * cls.k

            @staticmethod
            @trace
            def static(x):
                return x * 3

        a, b = C(vec()), C(vec(5))
        results = []
        for i in range(6):
            if i == 3:
                C.k, a.w = 7.0, vec(9)
            results += [a.plain(vec(), y=0.5 + i), b.plain(vec()), C.of_class(vec()), a.static(vec()), C.plain(b, vec())]
        return results

    both(program)


def test_a_method_of_an_object_with_slots():
    a = Slots(1.0)
    for k in (1.0, 1.0, 2.0, 3.0):
        a.k = k
        same(a.times(vec()), vec() * k)


def test_a_traced_forward():
    def program(trace):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4, 3)
                self.register_buffer("mean", tracer.zeros(4))

            @trace
            def forward(self, x):
                if self.training:
                    with tracer.no_grad():
                        self.mean.mul_(0.9).add_(x.mean(0) * 0.1)
                return self.layer(x - self.mean)

        model, results = Model(), []
        for i in range(8):
            model.train(i % 4 < 2)
            x, y = batch(i)
            F.cross_entropy(model(x), y).backward()
            results.append((model.mean.clone(), model.layer.weight.grad.clone()))
        return results

    both(program)


# One tensor in two places.


def test_the_same_tensor_twice():
    def program(trace):
        f = trace(lambda a, b: (a * b, a - b))
        return [f(*pair) for x in (vec(1), vec(2)) for pair in ((x, x), (x, vec(5)), (vec(5), x))]

    both(program, graphs=2)


def pairs(n=3):
    """Two vectors in memory of their own, one vector twice, two that overlap, one and the same memory; all of one signature."""
    base = vec(n=8)
    base2 = vec(n=8)
    base3 = vec(n=8)
    return [(vec(), vec(2)), (base[0:n], base[1 : n + 1]), (base2, base2), (base3[0:n], base3[0:n]), (vec(), vec(4))]


ALIASING = {
    "first": lambda a, b: (a.add_(1), a + b)[1],
    "second": lambda a, b: (b.mul_(2), a + b)[1],
    "both": lambda a, b: (a.add_(b), b.add_(a), a * b)[2],
    "swap": lambda a, b: (a.copy_(b), b.zero_(), a + 0)[2],
    "item": lambda a, b: (a.__setitem__(1, 50.0), a * b)[1],
}


@pytest.mark.parametrize("name", ALIASING)
@pytest.mark.parametrize("order", [1, -1])
def test_arguments_that_share_memory(name, order):
    def program(trace):
        f = trace(ALIASING[name])
        results = []
        for _ in range(2):
            for a, b in pairs()[::order]:
                results += [f(a, b), a.clone(), b.clone()]
        return results

    both(program)


@pytest.mark.parametrize("first", ["captured", "other"])
def test_an_argument_that_is_captured_too(first):
    def program(trace):
        w, other = vec(2), vec(7)
        f = trace(lambda x: x * w + x)
        g = trace(lambda x: (w.add_(1), x * w)[1])
        order = [w, other, w, other] if first == "captured" else [other, w, other, w]
        return [(h(x), w.clone(), x.clone()) for h in (f, g) for x in order]

    both(program)


def test_a_view_of_a_captured_tensor_as_argument():
    def program(trace):
        w = vec(2, n=6)
        f = trace(lambda x: (w.add_(1), x * 2)[1])
        return [f(x) for x in (vec(), w[:3], vec(), w[1:4])]

    both(program)


def test_a_gradient_as_argument():
    def program(trace):
        p, q = leaf(), leaf(2)
        p.grad, q.grad = vec(3), vec(4)
        f = trace(lambda g: p.grad * g + g)
        h = trace(lambda g: (p.grad.add_(1), g * 2)[1])
        return [k(x) for k in (f, h) for x in (p.grad, q.grad, p.grad, q.grad, vec(4))]

    both(program)


def test_parameters_that_share_a_gradient():
    def program(trace):
        p, q = leaf(), leaf(2)
        step = trace(lambda x: (p * x + q).sum().backward())
        results = []
        for i in range(8):
            if i in (2, 6):
                p.grad = q.grad = tracer.zeros(3)
            if i == 4:
                p.grad, q.grad = tracer.zeros(3), tracer.zeros(3)
            step(vec(i))
            results.append((p.grad.clone(), q.grad.clone()))
        return results

    both(program)


def test_gradients_that_share_memory():
    def program(trace):
        p, q = leaf(), leaf(2)
        f = trace(lambda x: (p.grad.add_(x), q.grad.mul_(2), p.grad * 1)[2])
        results = []
        for i in range(8):
            base = vec(i, n=4)
            p.grad, q.grad = [(vec(i), vec(2)), (base[:3], base[1:]), (base[:3], base[:3])][i % 3]
            results += [f(vec(i)), p.grad.clone(), q.grad.clone()]
            p.grad = q.grad = vec(i)
            results += [f(vec(i)), p.grad.clone()]
        return results

    both(program)


def test_parameters_that_share_memory():
    def program(trace):
        base = vec(n=6)
        p, q = nn.Parameter(vec()), nn.Parameter(vec(2))
        optimizer = optim.SGD([p, q], lr=0.1, weight_decay=0.5)

        @trace
        def step(x):
            optimizer.zero_grad()
            (p * x + q * x * x).sum().backward()
            optimizer.step()

        results = []
        for i in range(6):
            if i == 3:
                p.data, q.data = base[:3], base[1:4]
            step(vec(i))
            results.append((p.detach().clone(), q.detach().clone()))
        return results, base

    both(program)


def test_a_gradient_whose_memory_is_not_contiguous():
    def program(trace):
        p = tracer.ones(2, 3, requires_grad=True)
        step = trace(lambda x: (p * x).sum().backward())
        x = vec(n=6).reshape(2, 3)
        step(x)
        step(x)
        p.grad = tracer.zeros(3, 2).t()
        step(x)
        step(x)
        return p.grad

    both(program)


# Changes in place.

IN_PLACE = {
    "item": lambda x: x.__setitem__(0, 5.0),
    "row": lambda x: x.__setitem__(1, vec(9)),
    "column": lambda x: x.__setitem__((slice(None), 1), 5.0),
    "from itself": lambda x: x.__setitem__(0, x[1]),
    "row added": lambda x: x[0].add_(1),
    "strided": lambda x: x[:, ::2].mul_(3),
    "transposed": lambda x: x.t().add_(vec(n=2)),
    "transposed item": lambda x: x.t()[2].sub_(1),
    "reshaped": lambda x: x.reshape(6)[1:4].mul_(2),
    "view of a view": lambda x: x[0][1:][0].fill_(8.0),
    "detached": lambda x: x.detach().mul_(2),
    "data": lambda x: x.data.mul_(2),
    "iterated": lambda x: [row.add_(i) for i, row in enumerate(x)] and None,
    "split": lambda x: [part.mul_(i) for i, part in enumerate(x.split(1, 0))] and None,
    "operator": lambda x: x.__iadd__(1) and None if x is None else x.__imul__(x.sum()),
    "twice": lambda x: (x.add_(1).mul_(2), x[0].sub_(x[1]), x.mul_(x))[0],
    "masked": lambda x: x.__setitem__(x > 3, 0.0),
    "two views": lambda x: (x[0].add_(x[1]), x[1].add_(x[0]), x.sum())[2],
    "view read later": lambda x: (lambda row: (x.mul_(10), row + 1)[1])(x[0]),
    "whole through a view": lambda x: x.reshape(6).copy_(vec(n=6)),
    "cast": lambda x: x.copy_(tracer.arange(6).reshape(2, 3)),
}


@pytest.mark.parametrize("where", ["argument", "captured", "view", "transposed"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name, where):
    def program(trace):
        change, results = IN_PLACE[name], []
        base = vec(n=6).reshape(2, 3)
        captured = trace(lambda: change(base))
        argument = trace(lambda x: change(x))
        for i in range(4):
            x = vec(i, n=6).reshape(2, 3)
            if where == "captured":
                r, x = captured(), base
            elif where == "argument":
                r = argument(x)
            elif where == "view":
                x = vec(i, n=9).reshape(3, 3)
                r = argument(x[1:])
            else:
                x = vec(i, n=6).reshape(3, 2)
                r = argument(x.t())
            results += [r.clone() if isinstance(r, tracer.Tensor) else r, x.clone()]
        return results

    both(program)


def test_versions_count_changes():
    def program(trace):
        buffer = vec()
        f = trace(lambda x: (x.add_(1), buffer.mul_(2), x * 2)[2])
        seen = []
        for k in range(4):
            x = vec(k)
            before = x._version, buffer._version
            f(x)
            seen.append((x._version > before[0], buffer._version > before[1]))
        return seen

    both(program, graphs=1)


DATA = {
    "in place": lambda x: (x.mul_(2), None)[1],
    "a view in place": lambda x: (x[1:].mul_(2), None)[1],
    "data": lambda x: (x.data.mul_(2), None)[1],  # autograd does not see that
}


@pytest.mark.parametrize("name", DATA)
def test_a_change_inside_and_a_backward_pass_outside(name):
    def program(trace):
        f, results = trace(DATA[name]), []
        for _ in range(4):
            x, w = vec(), leaf()
            y = (x * w).sum()
            f(x)
            results.append((outcome(y.backward), w.grad))
        return results

    both(program)


def test_a_running_mean():
    def program(trace):
        mean, steps = tracer.zeros(4), tracer.tensor(0)

        @trace
        def f(x):
            steps.add_(1)
            mean.copy_(mean * 0.9 + x.mean(0) * 0.1)
            return x - mean, steps * 1

        return [f(batch(i)[0]) for i in range(6)], mean, steps

    both(program, graphs=1)


# Results.

RESULTS = {
    "argument": lambda x: x,
    "argument changed": lambda x: x.add_(1),
    "argument twice": lambda x: (x, x),
    "contiguous": lambda x: x.contiguous(),
    "cast to itself": lambda x: x.float(),
    "view": lambda x: x[1:],
    "reshaped": lambda x: x.reshape(3, 1),
    "detached": lambda x: x.detach(),
    "whole": lambda x: x[:],
    "expanded": lambda x: x.expand(2, 3),
    "view of new": lambda x: (x * 2)[1:],
    "transposed new": lambda x: (x * 2).reshape(3, 1).t(),
    "new twice": lambda x: [x * 2] * 2,
    "new and its view": lambda x: (lambda y: (y, y[0]))(x * 2),
    "parts": lambda x: (x * 2).split(1),
    "nested": lambda x: {"a": [x * 2, (x + 1, None)], "b": Pair(x - 1, {"c": x.sum()}), 3: "s"},
    "nothing": lambda x: None,
    "constants": lambda x: (1, 2.5, True, "s", b"b", None, 1j, x.shape, x.dtype, x.ndim),
    "empty": lambda x: ([], (), {}),
    "ordered dict": lambda x: collections.OrderedDict(a=x * 2),
    "default dict": lambda x: collections.defaultdict(list, a=x * 2),
    "set": lambda x: (x * 2, {1, 2}),
    "list subclass": lambda x: types.SimpleNamespace(a=x * 2).__dict__,
    "fresh": lambda x: (tracer.zeros(2), tracer.arange(3), tracer.tensor([1.0, 2.0])),
    "bool": lambda x: x > 2,
    "extremum": lambda x: tuple(x.reshape(1, 3).max(1)),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results(name):
    def program(trace):
        f, results = trace(RESULTS[name]), []
        for k in range(4):
            x = vec(k)
            r = f(x)
            results += [r, r is x, x]
        return results

    both(program)


@pytest.mark.parametrize(
    "name", ["argument", "view", "reshaped", "detached", "whole", "new twice", "new and its view", "parts"]
)
def test_results_share_memory_as_without_the_decorator(name):
    def program(trace):
        f, results = trace(RESULTS[name]), []
        for k in range(4):
            x = vec(k)
            r = f(x)
            (r[0] if isinstance(r, (tuple, list)) else r).add_(10)
            results += [r, x]
        return results

    both(program)


def test_a_result_that_holds_tensors_in_an_object():
    def program(trace):
        @dataclasses.dataclass
        class Out:
            y: object
            n: int

        f = trace(lambda x: Out(x * 2, len(x)))
        g = trace(lambda x: (x * i for i in range(2)))
        h = trace(lambda x: lambda: x * 2)
        j = trace(lambda x: iter([x * 2]))
        results = []
        for k in range(3):
            out = f(vec(k))
            results += [out.y, out.n, list(g(vec(k))), h(vec(k))(), list(j(vec(k)))]
        return results

    both(program)


def test_a_mutable_result_is_new_in_every_call():
    def program(trace):
        f = trace(lambda x: {"a": [x * 2], "n": []})
        results = []
        for k in range(4):
            r = f(vec(k))
            r["n"].append(k)
            results.append(r)
        return results

    both(program, graphs=1)


def test_a_captured_tensor_as_result():
    def program(trace):
        w = vec()
        f = trace(lambda x: (w.add_(x), w)[1])
        results = []
        for k in range(4):
            r = f(vec(k))
            results.append(r is w)
        return results, w

    both(program)


def test_a_gradient_as_result():
    def program(trace):
        p = leaf()

        @trace
        def f(x):
            p.grad = None
            (p * x).sum().backward()
            return p.grad

        results = []
        for k in range(4):
            g = f(vec(k))
            g.mul_(2)
            results += [g, p.grad]
        return results

    both(program)


GRADIENTS = {
    "argument": lambda p, q, x: setattr(p, "grad", x),
    "view of argument": lambda p, q, x: setattr(p, "grad", x.reshape(3)),
    "computed": lambda p, q, x: setattr(p, "grad", x * 2),
    "shared": lambda p, q, x: (lambda g: (setattr(p, "grad", g), setattr(q, "grad", g), None)[2])(x * 2),
    "swapped": lambda p, q, x: (lambda a, b: (setattr(p, "grad", b), setattr(q, "grad", a), None)[2])(p.grad, q.grad),
    "moved": lambda p, q, x: (setattr(p, "grad", q.grad), setattr(q, "grad", None))[0],
    "scaled": lambda p, q, x: (p.grad.mul_(0.5), None)[1],
    "clipped": lambda p, q, x: (p.grad.clamp_(0, 1), q.grad.clamp_(0, 1), None)[2],
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_assigned_inside(name):
    def program(trace):
        p, q = leaf(), leaf(2)
        f = trace(lambda x: GRADIENTS[name](p, q, x))
        results = []
        for k in range(5):
            p.grad, q.grad = vec(k), vec(2 * k)
            x = vec(5 + k)
            f(x)
            results += [None if t.grad is None else t.grad.clone() for t in (p, q)] + [p.grad is x]
            if p.grad is not None:
                p.grad.add_(1)  # who shares this memory?
            results += [q.grad, x.clone()]
        return results

    both(program)


def test_results_are_not_overwritten_by_later_calls():
    def program(trace):
        f = trace(lambda x: (x * 2, x.sum(), (x * x).reshape(3, 1)))
        g = trace(lambda x: x * x)
        results = []
        for i in range(20):
            a, b, c = f(vec(i))
            results.append((a, b, c[1:], a.detach(), a.numpy(), f(vec(-i))[0].numpy()[1:]))
            x = leaf(i)
            y = g(x)
            y.sum().backward()
            results.append((y.detach(), x.grad, g(x).detach()[1:]))
        return results

    both(program, graphs=2)


# Tensors that escape.


class Keeper(nn.Module):
    def forward(self, x):
        self.last = x * 2
        return self.last


KEEPERS = {
    "list": lambda x, kept: kept.append(x * 3),
    "returned too": lambda x, kept: (lambda y: (kept.append(y), y)[1])(x * 3),
    "returned in a tuple": lambda x, kept: (lambda y: (kept.append(y), (y, x + 1))[1])(x * 3),
    "returned in a dict": lambda x, kept: (lambda y: (kept.append(y), {"y": y})[1])(x * 3),
    "returned in a nest": lambda x, kept: (lambda y: (kept.append(y), [{"y": [y]}])[1])(x * 3),
    "view": lambda x, kept: (lambda y: (kept.append(y[:2]), y)[1])(x * 3),
    "viewed": lambda x, kept: (lambda y: (kept.append(y), y[:2])[1])(x * 3),
    "detached": lambda x, kept: (lambda y: (kept.append(y.detach()), y)[1])(x * 3),
    "in a tuple": lambda x, kept: kept.append((x * 3, 1)),
    "closure": lambda x, kept: kept.append((lambda y: lambda: y)(x * 3)()),
    "twice": lambda x, kept: (lambda y: (kept.append(y), kept.append(y), y)[2])(x * 3),
}


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("name", KEEPERS)
def test_a_tensor_that_escapes_is_not_stale(name, hidden):
    def program(trace):
        kept = []
        holder = types.SimpleNamespace(append=kept.append) if hidden else kept
        f = trace(lambda x: KEEPERS[name](x, holder))
        results = []
        for i in range(7):
            r = f(vec(i))
            results += [r, kept[-1]]
        return results

    both(program)


def test_a_tensor_stored_on_a_module():
    def program(trace):
        keeper, results = Keeper(), []
        f = trace(lambda x: keeper(x).sum())
        g = trace(keeper)
        for i in range(7):
            for h in (f, g):
                results += [h(vec(i)), keeper.last]
        return results

    both(program)


def test_an_argument_that_is_a_container_is_filled():
    def program(trace):
        @trace
        def f(x, items, named):
            items.append(x * 2)
            named["y"] = x * 3
            return x + 1

        results = []
        for i in range(4):
            items, named = [], {}
            results += [f(vec(i), items, named), items, named]
        return results

    both(program)


def test_an_argument_that_is_a_container_is_returned():
    def program(trace):
        f = trace(lambda d: d)
        g = trace(lambda d: {**d, "y": d["x"] * 2})
        results = []
        for i in range(3):
            d, items = {"x": vec(i)}, [vec(i), 0.5]
            results += [f(d) is d, f(items) is items, g(d)]
        return results

    both(program)


def test_an_argument_is_emptied():
    def program(trace):
        f = trace(lambda items: items.pop() * 2)
        results = []
        for i in range(4):
            items = [vec(i), vec(i + 1)]
            results += [f(items), items]
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


# Looks at values.

LOOKS = {
    "item": lambda x: x * 2 if x.sum().item() > 0 else -x,
    "bool": lambda x: x * 2 if (x > 0).all() else -x,
    "numpy": lambda x: x + float(x.numpy().max()),
    "tolist": lambda x: x + x.tolist()[0],
    "float": lambda x: x * float(x[0]) + math.exp(x[1]),
    "int": lambda x: x * int(x[2]),
    "index": lambda x: x[: x.long()[0].abs() + 1] * 1,
    "range": lambda x: x * sum(range(x.long()[2].abs())),
    "print": lambda x: (x * 2, str(x), f"{x[0]}", repr(x)),
    "in": lambda x: x * 2 if 2.0 in x else x,
    "array": lambda x: x + tracer.tensor(np.asarray(x)),
    "mask": lambda x: x[x > 0],
    "while": lambda x: functools.reduce(lambda y, _: y * 2 if y.abs().sum() < 20 else y, range(9), x),
    "assert": lambda x: (x * 2, [v for v in x if v > 1]),
    "max": lambda x: max(*x) * x,
    "zip": lambda x: sorted(x),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_at_a_value(name):
    def program(trace):
        f = trace(LOOKS[name])
        return [f(vec(i)) for i in (1, -1, 2, -5, 1)]

    (f,) = both(program)
    f = tracer.trace(LOOKS[name])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in (1, -1, 2):
            f(vec(i))
    messages = [str(w.message) for w in caught if issubclass(w.category, tracer.TraceWarning)]
    line = LOOKS[name].__code__.co_firstlineno
    assert len(messages) == 1 and f"test_trace.py:{line}" in messages[0].partition("eagerly")[2], messages


def test_a_copy_or_pickle_of_a_value():
    import copy
    import pickle

    def program(trace):
        f = trace(lambda x: pickle.dumps(x * 2))
        g = trace(lambda x: copy.deepcopy(x.detach() * 2) + 1)
        h = trace(lambda x: copy.copy(x) * 2)
        return [pickle.loads(f(vec(i))) for i in range(3)], [k(vec(i)) for k in (g, h) for i in range(3)]

    both(program)


def test_a_change_before_a_look_happens_once():
    def program(trace):
        w = vec()

        @trace
        def f(x):
            w.add_(x)
            return x * 2 if w.sum().item() > 20 else x * 3

        return [(f(vec(i)), w.clone()) for i in range(6)]

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


# Calls within calls.


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


# Odd tensors.

ODD = {
    "transposed": lambda: vec(n=6).reshape(2, 3).t(),
    "strided": lambda: vec(n=9).reshape(3, 3)[:, ::2],
    "reversed": lambda: tracer.from_numpy(np.arange(6, dtype=np.float32)[::-1]),
    "expanded": lambda: tracer.ones(1, 3).expand(2, 3),
    "empty": lambda: tracer.zeros(0, 3),
    "empty rows": lambda: tracer.zeros(2, 0),
    "number": lambda: tracer.tensor(2.5),
    "one": lambda: tracer.tensor([[2.5]]),
    "offset": lambda: vec(n=7)[1:],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_arguments(name):
    def program(trace):
        f = trace(lambda x: (x * 2 + x.sum(), x.exp().mean()))
        g = trace(lambda x: (x * x).sum())
        results = []
        for k in range(3):
            x = ODD[name]()
            results.append(f(x * k) if k == 2 else f(x))
            y = ODD[name]().detach().requires_grad_()
            g(y).backward()
            results.append(y.grad)
        return results

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        both(program)


def test_contiguous_and_not_of_one_shape():
    def program(trace):
        f = trace(lambda x: x * vec(n=4).reshape(2, 2) + x.t())
        a = vec(n=4).reshape(2, 2)
        return [f(x) for x in (a, a.t(), a, a.t(), vec(n=8).reshape(2, 4)[:, ::2])]

    both(program)


def test_layout_of_results():
    def program(trace):
        f = trace(lambda x: ((x * 2).t(), (x * 2)[:, ::2], x.t().clone()))
        return [[t.is_contiguous() for t in f(vec(n=6).reshape(2, 3))] for _ in range(3)]

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
    code = (
        "import tracer\nf = tracer.trace(lambda x: (print('ran'), x * 2)[1])\n"
        "for i in range(3): f(tracer.ones(2))\nassert not f.graphs()"
    )
    for value, runs in (("1", 3), ("0", 1)):
        environment = {**os.environ, "TRACER_DISABLE": value}
        code = code if value == "1" else code.replace("assert not", "assert")
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("ran") == runs


def test_a_block_turns_tracing_off(capsys):
    f = tracer.trace(lambda x: (print("ran"), x * 2)[1])
    f(vec())
    with tracer.eager():
        f(vec())
        with tracer.eager():
            f(vec())
        f(vec())
    f(vec())
    assert capsys.readouterr().out.count("ran") == 4
    with pytest.raises(KeyError), tracer.eager():
        raise KeyError
    f(vec())
    assert capsys.readouterr().out == ""


# What a backward pass outside would call in Python.


class _Seven(tracer.autograd.Function):
    """Rounds; its gradient is 7 everywhere, which no derivative of its forward pass is."""

    @staticmethod
    def forward(ctx, x):
        return tracer.round(x)

    @staticmethod
    def backward(ctx, g):
        return g * 7


def _hooked(x):
    y = x * 2
    y.register_hook(lambda g: g * 7)
    return y.sum()


@pytest.mark.parametrize("function", [lambda x: _Seven.apply(x * 2).sum(), _hooked], ids=["function", "hook"])
def test_functions_and_hooks_of_ones_own_run_eagerly(function):
    f = tracer.trace(function)
    for _ in range(3):
        x = tracer.tensor([0.3, 1.2], requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tracer.TraceWarning)
            f(x).backward()
        assert x.grad.tolist() == [14, 14]
    assert not f.graphs()


def test_a_function_of_ones_own_inside_a_traced_step_is_replayed():
    @tracer.trace
    def step(x):
        (g,) = tracer.autograd.grad(_Seven.apply(x * 2).sum(), x)
        return g

    for _ in range(3):
        assert step(tracer.tensor([0.3, 1.2], requires_grad=True)).tolist() == [14, 14]
    assert len(step.graphs()) == 1
