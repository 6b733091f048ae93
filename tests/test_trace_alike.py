"""Identical and overlapping arguments: not part of the key if they are only read, and never stale."""

import copy
import functools
import itertools
import operator
import random
import warnings
import weakref
from collections import Counter, OrderedDict, deque, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
from gallery.harness import compare

import tracer
from tracer import nn

warnings.simplefilter("ignore", tracer.TraceWarning)


def patterns(n=1):
    """Calls of three tensors: different, two or all of them identical, in all orders, with overlapping memory."""

    def new():
        return tracer.rand(n) + 0.1

    calls = []
    for _ in range(2):
        for which in ((0, 1, 2), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0), (2, 1, 0)):
            some = [new(), new(), new()]
            calls.append(tuple(some[i] for i in which))
        base = tracer.rand(n + 2) + 0.1
        calls += [(base[:n], base[:n], new()), (base[:n], base[1 : n + 1], base[2:]), (base[:n], base[:n].detach(), base[:n])]
        one = new()
        calls.append((one, one.view(n), one.detach()))
    first = calls[:10]
    random.Random(3).shuffle(first)
    return [*first, *calls[10:]]


READ = {
    "arithmetic": lambda a, b, c: a * b - c,
    "stacked": lambda a, b, c: tracer.stack([a, b, c]).sum(0),
    "reversed": lambda a, b, c: tracer.cat([c, b, a]) * tracer.arange(3 * a.numel()),
    "looked at": lambda a, b, c: a - b if (a + c).sum() > (b * 2).sum() else c - a,
    "item": lambda a, b, c: (a.sum().item() - b.sum().item(), c.sum().item() * a.max().item()),
    "items of arguments": lambda a, b, c: (
        (a[0].item(), b[0].item(), c[0].item()) if a.numel() == 1 else (a.tolist(), c.tolist())
    ),
    "loop": lambda a, b, c: [x.sum() for x in (a, b, c) if x.sum() > 0.6],
    "nothing of one": lambda a, b, c: b + c,
    "number": lambda a, b, c: float(a.sum()) * c - int(b.sum() * 3),
    "masked": lambda a, b, c: (a[a > 0.5], (b + c)[b > 0.7]),
    "views": lambda a, b, c: (a.view(-1, 1) @ b.view(1, -1)).flatten()[: c.numel()] + c,
    "sorted": lambda a, b, c: sorted([x.sum() for x in (a, b, c)], key=lambda x: x.item())[0],
}

DEPENDS = {
    "is": lambda a, b, c: a + 1 if a is b else c - 1,
    "is not": lambda a, b, c: [x for x in (b, c) if x is not a][:1],
    "in": lambda a, b, c: c * 2 if any(x is a for x in (b, c)) else c,
    "id": lambda a, b, c: a * len({id(a), id(b), id(c)}),
    "ids": lambda a, b, c: a * len(set(map(id, (a, b, c)))),
    "operator": lambda a, b, c: a * 2 if operator.is_(a, b) else c,
    "set": lambda a, b, c: a * len({a, b, c}),
    "frozen set": lambda a, b, c: a * len(frozenset([a, b, c])),
    "dict": lambda a, b, c: a * len(dict.fromkeys((a, b, c), 1)),
    "counter": lambda a, b, c: a * max(Counter([a, b, c]).values()),
    "ordered": lambda a, b, c: list(OrderedDict.fromkeys([a, b, c])),
    "assigned": lambda a, b, c: _by_key(a, b, c),
    "hash": lambda a, b, c: a * 2 if hash(a) == hash(c) else b,
    "weak": lambda a, b, c: a * len(weakref.WeakSet([a, b, c])),
    "weak dict": lambda a, b, c: a * len(weakref.WeakKeyDictionary([(a, 1), (b, 2), (c, 3)])),
    "cached": lambda a, b, c: _cached()(a) + _cached()(b) - _cached()(c),
    "deep copies": lambda a, b, c: copy.deepcopy([a, b, c]),
    "deep copy of a dict": lambda a, b, c: copy.deepcopy({"a": a, "b": (b, c)}),
    "index": lambda a, b, c: c * [a, b, c].index(b) if a.numel() == 1 else c,
    "groups": lambda a, b, c: [len(list(g)) for _, g in itertools.groupby([a, b, c], key=id)],
    "address": lambda a, b, c: a * 2 if a.data_ptr() == b.data_ptr() else c,
    "storage": lambda a, b, c: a * 2 if a.untyped_storage() == b.untyped_storage() else c,
    "numpy memory": lambda a, b, c: a * 2 if np.shares_memory(a.numpy(), b.numpy()) else c,
    "base": lambda a, b, c: c * 2 if a._base is b or b._base is a else c,
    "in place": lambda a, b, c: (a.add_(1), b + c)[1],
    "in place, through a view": lambda a, b, c: (a.view(-1).mul_(2), b * c)[1],
    "item set": lambda a, b, c: (c.__setitem__(0, 7.0), a + b)[1],
    "copied": lambda a, b, c: (b.copy_(a), c.zero_(), a + 1)[2],
    "out": lambda a, b, c: (tracer.add(a, 1, out=b), b + c)[1],
    "returned": lambda a, b, c: (a, [c, b]),
    "views returned": lambda a, b, c: (a[:1], b.view(-1), c.detach()),
    "view changed": lambda a, b, c: (b[:1].fill_(3.0), a * c)[1],
    "data": lambda a, b, c: (setattr(a, "data", tracer.ones(a.shape)), b + c)[1],
    "gradients": lambda a, b, c: _gradients(a, b, c),
    "gradient set": lambda a, b, c: [setattr(a, "grad", tracer.ones(a.shape)), b.grad, c.grad],
    "attribute": lambda a, b, c: [setattr(a, "seen", 1), getattr(b, "seen", 0), getattr(c, "seen", 0)],
}


def _by_key(a, b, c):
    found = {}
    for i, x in enumerate((a, b, c)):
        found[x] = found.get(x, 0) + i
    return a * sum(k * v for k, v in enumerate(found.values()))


def _gradients(a, b, c):
    x = a.detach() if a.requires_grad else a
    y = (x * 2).requires_grad_()
    (y * b * c).sum().backward()
    return y.grad


@functools.cache
def _cached():
    return functools.lru_cache(None)(lambda x: x * 2)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", READ)
def test_where_arguments_are_only_read(name, n):
    calls = patterns(n)
    cost = compare(lambda wrap: (wrap(READ[name]), calls), order=0, name=name)
    branches = name in ("looked at", "loop", "number", "masked", "sorted")
    assert cost.runs <= (len(calls) - 1 if branches else 5), cost.explained


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", DEPENDS)
def test_where_it_matters(name, n):
    def make(wrap):
        tracer.manual_seed(0)
        return wrap(DEPENDS[name]), patterns(n)

    compare(make, order=0, name=name)


def test_where_code_that_has_not_run_asks():
    def helper(a, b):
        return 2.0 if a is b else 1.0

    def f(a, b, c):
        return (a + b) * helper(b, c) if a.sum() > 1 else a - c

    calls = [(t * 0.1, t * 0.1 + 1, t) for t in (tracer.rand(3) for _ in range(3))]
    for _ in range(2):
        for scale in (0.1, 3.0):
            x, y = tracer.rand(3) * scale + scale / 10, tracer.rand(3)
            calls += [(x, y, y), (x, x, x), (x, y, x), (x, y, tracer.rand(3))]
    compare(lambda wrap: (wrap(f), calls), order=0)


@dataclass
class Point:
    at: object
    next: object
    reward: float


Transition = namedtuple("Transition", "at action next reward")


def walk(n, of):
    """The steps of a walk: each begins at the tensor at which the previous one ends."""
    states = [tracer.rand(3) for _ in range(n + 1)]
    return [of(states[i], states[i + 1], i) for i in range(n)]


CONTAINERS = {
    "tuples": lambda a, b, i: (a, i % 2, b, float(i)),
    "named": lambda a, b, i: Transition(a, i % 2, b, float(i)),
    "lists": lambda a, b, i: [a, i % 2, b, float(i)],
    "with tensors": lambda a, b, i: (a, tracer.tensor(i % 2), b, tracer.tensor(float(i))),
}


@pytest.mark.parametrize("batch", [2, 8])
@pytest.mark.parametrize("name", CONTAINERS)
def test_samples_of_a_replay_buffer(name, batch):
    """At first the buffer is as long as a sample: nearly all samples contain a tensor twice, each time a different one."""

    def make(wrap):
        memory = deque(walk(40, CONTAINERS[name]), maxlen=24)
        value = nn.Linear(3, 2)
        optimizer = tracer.optim.Adam(value.parameters(), lr=0.01)

        @wrap
        def learn(sample):
            at, action, after, reward = zip(*sample, strict=True)
            action = tracer.stack(action) if isinstance(action[0], tracer.Tensor) else tracer.tensor(action)
            reward = tracer.stack(reward) if isinstance(reward[0], tracer.Tensor) else tracer.tensor(reward)
            q = value(tracer.stack(at)).gather(1, action[:, None]).squeeze(1)
            with tracer.no_grad():
                target = reward + 0.9 * value(tracer.stack(after)).max(1).values
            loss = ((q - target) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        random.seed(1)
        return learn, [(random.sample(list(memory)[: batch + n], batch),) for n in range(12)]

    cost = compare(make, order=0, name=name)
    assert cost.runs <= 5, cost.explained


def test_a_sample_that_outlives_the_call_may_be_changed():
    """A backward pass outside reads the old sample, or raises, as in eager code."""

    def make(wrap):
        w = tracer.ones(3, requires_grad=True)
        step = wrap(lambda a, b, c: (a * w).sum() * (b * w).sum() + (c * w * w).sum())

        def use(a, b, c, change):
            out = step(a, b, c)
            change(b)
            try:
                out.backward()
            except RuntimeError as e:
                return str(e)[:60]
            return out.detach(), w.grad.clone()

        changes = [lambda x: None, lambda x: x.data.mul_(2), lambda x: x.add_(1), lambda x: x.detach().numpy().fill(0.5)]
        return use, [(*call, change) for call in patterns(3) for change in changes]

    compare(make, order=0)


def test_state_that_is_the_same_tensor():
    class Chain:
        def __init__(self):
            self.last = self.first = tracer.zeros(2)

        def __call__(self, x):
            out = x + self.last * 2 - self.first
            self.first, self.last = self.last, x
            return out

    def make(wrap):
        chain = Chain()
        x, y = tracer.rand(2), tracer.rand(2)
        return wrap(chain.__call__), [(t,) for t in (x, x, y, x, y, y, y, x, tracer.rand(2), x, x)]

    compare(make, order=0)


def test_arguments_that_are_stored():
    def make(wrap):
        log, best = [], {"at": None, "value": -1.0}

        @wrap
        def step(a, b, c):
            log.append(b)
            if a.sum() * c.sum() > best["value"]:
                best["value"], best["at"] = (a.sum() * c.sum()).item(), c
            return (a * b).sum()

        return step, patterns(2)

    compare(make, order=0)


def _is(a, b):
    return a is b


def random_program(seed):
    """Reads, inspects, and possibly changes or stores some of four tensors."""
    rng = random.Random(seed)
    steps = []
    for _ in range(rng.randrange(2, 7)):
        kinds = ["sum", "product", "stack", "cat", "scaled", "item", "view"] * 2 + ["look", "loop", "return"]
        kinds += ["change", "view changed", "set", "is"] * (rng.random() < 0.25)
        steps.append((rng.choice(kinds), rng.randrange(100), rng.randrange(100), rng.random()))

    def make(wrap):
        w = tracer.full((2,), 0.5, requires_grad=True)

        def f(xs, scale):
            values, given = list(xs), []
            for kind, i, k, number in steps:
                a, b = values[i % len(values)], values[k % len(values)]
                if kind == "sum":
                    values.append(a + b * w)
                elif kind == "product":
                    values.append(a * b)
                elif kind == "stack":
                    values.append(tracer.stack([a, b, xs[0]]).mean(0))
                elif kind == "cat":
                    values.append(tracer.cat([b, a])[1:3])
                elif kind == "scaled":
                    values.append(a * scale)
                elif kind == "item":
                    values.append(b * xs[i % 4].sum().item())
                elif kind == "view":
                    values.append(xs[k % 4].view(2, 1)[:, 0] - b)
                elif kind == "look" and a.sum() > number * 2:
                    values.append(b - 1)
                elif kind == "loop":
                    values += [x * 2 for x in xs if x[0] > number]
                elif kind == "return":
                    given.append(xs[i % 4])
                elif kind == "change":
                    xs[i % 4].add_(number)
                elif kind == "view changed":
                    xs[i % 4][:1].mul_(number)
                elif kind == "set":
                    values.append(a * len(set(xs)))
                elif kind == "is":
                    values.append(a * _is(xs[0], xs[k % 4]))
            return values[-1], values[len(values) // 2], given

        calls = []
        for _ in range(12):
            base = tracer.rand(8)
            pool = [tracer.rand(2), tracer.rand(2), tracer.rand(2), tracer.rand(2), base[1:3], base[2:4], base[5:7]]
            xs = [rng.choice(pool[: rng.choice([2, 4, 7])]) for _ in range(4)]
            calls.append((xs if rng.random() < 0.8 else rng.sample(pool, 4), rng.random()))
        rng.seed(seed)
        return wrap(f), calls

    return make


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    compare(lambda wrap: random_program(seed)(wrap), order=seed % 2, name=str(seed), errors=True)
