"""Traced functions that read gradients made outside: every call may find them in other memory, and in shared memory."""

import numpy as np
import pytest

import tracer
from tracer import nn, optim


class Parameters:
    def __init__(self):
        rng = np.random.default_rng(0)
        memory = tracer.from_numpy(rng.uniform(0.5, 1, (3, 4)))
        self.p = nn.Parameter(memory[0].clone())
        self.q = nn.Parameter(memory[1].clone())
        self.memory = tracer.from_numpy(rng.uniform(0.5, 1, 4))  # which a parameter may be a view of
        self.r = nn.Parameter(self.memory[:])
        self.rng = rng

    @property
    def all(self):
        return [self.r, self.p, self.q]

    def new(self, *shape):
        return tracer.from_numpy(self.rng.uniform(-1, 1, shape or (4,)))


def other_memory(k):
    for t in k.all:
        t.grad = k.new().clone()


def the_same_memory(k):
    for t in k.all:
        if t.grad is not None and t.grad._plain() and not t.grad.requires_grad:
            t.grad.copy_(k.new())
        else:
            t.grad = k.new()


def exchanged(k):
    k.p.grad, k.q.grad = k.q.grad, k.p.grad


def views(k):
    whole = k.new(3, 4)
    for i, t in enumerate(k.all):
        t.grad = whole[i]


def one_memory_location(k):
    for t in k.all:
        t.grad = k.new().sum().expand(4)


def one_for_two(k):
    k.p.grad = k.q.grad = k.new()


def one_memory_for_two(k):
    k.p.grad = k.new().clone()
    k.q.grad = k.p.grad.detach()


def overlapping(k):
    whole = k.new(6)
    k.p.grad, k.q.grad = whole[:4], whole[2:]


def the_parameter(k):
    k.p.grad = k.p.detach()


def another_parameter(k):
    k.p.grad = k.q.detach()


def the_memory_of_a_parameter(k):
    k.p.grad = k.memory


def none(k):
    k.q.grad = None


def with_history(k):
    k.p.grad = (k.q * k.new()).clone()


def backwards(k):
    k.p.grad = k.new().flip(0)


def read_only(k):
    array = k.new().numpy().copy()
    array.flags.writeable = False
    k.p.grad = tracer.from_numpy(array)


def another_tensor_of_its_own(k):
    k.p.grad = k.p.grad.detach() if k.p.grad is not None else None


GRADIENTS = [
    *(other_memory, the_same_memory, exchanged, views, one_memory_location, one_for_two, one_memory_for_two, overlapping),
    *(the_parameter, another_parameter, the_memory_of_a_parameter, none, with_history, backwards, read_only),
    another_tensor_of_its_own,
]


def descent(k):
    return optim.SGD(k.all, lr=0.1, momentum=0.9).step


def adam(k):
    return optim.Adam(k.all, lr=0.1, weight_decay=0.1).step


def that_changes_gradients(k):
    optimizer = optim.SGD(k.all, lr=0.1)

    def step():
        nn.utils.clip_grad_value_(k.all, 0.9)
        for t in k.all:
            if t.grad is not None:
                t.grad.mul_(0.5)
        optimizer.step()

    return step


def only_read(k):
    def step():
        return sum((t.grad * t).sum() for t in k.all if t.grad is not None)

    return step


def that_reads_late(k):
    def step():
        with tracer.no_grad():
            for t in k.all:
                t.mul_(0.9)
            for t in reversed(k.all):
                if t.grad is not None:
                    t.add_(t.grad.sum() - t.grad)

    return step


def with_an_argument(k):
    def step(x):
        with tracer.no_grad():
            x.add_(1)
            for t in k.all:
                if t.grad is not None:
                    t.add_(t.grad * x)

    return step


def run(make, trace, kinds):
    k = Parameters()
    step, found = trace(make(k)), []
    for n, kind in enumerate(kinds):
        kind(k)
        args = () if make is not with_an_argument else (k.new(),) if n % 4 else (k.all[n // 4 % 3].grad,)
        try:
            result = step(*args)
        except (RuntimeError, TypeError) as e:
            result = type(e).__name__
        tensors = [result, *k.all, *(t.grad for t in k.all), k.memory]
        found.append([t.detach().numpy().copy() if isinstance(t, tracer.Tensor) else t for t in tensors])
    return found


@pytest.mark.parametrize("kind", GRADIENTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "make", [descent, adam, that_changes_gradients, that_reads_late, only_read, with_an_argument], ids=lambda f: f.__name__
)
@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
def test_gradients_in_other_memory(make, kind):
    for other in GRADIENTS[GRADIENTS.index(kind) % 4 :: 4]:
        kinds = [*[other_memory] * 3, kind, *[the_same_memory] * 2, other, kind, other_memory, kind, other_memory, other]
        for a, b in zip(run(make, lambda f: f, kinds), run(make, tracer.trace, kinds), strict=True):
            for x, y in zip(a, b, strict=True):
                assert type(x) is type(y)
                if isinstance(x, np.ndarray):
                    np.testing.assert_allclose(y, x, rtol=1e-9)
                else:
                    assert x == y


def test_gradients_that_move_are_guarded_once(monkeypatch):
    k = Parameters()
    step = tracer.trace(descent(k))
    for _ in range(6):
        other_memory(k)
        step()
    monkeypatch.setattr(type(step), "_call", None)  # the general way
    for _ in range(6):
        other_memory(k)
        step()


def test_the_memory_of_gradients_is_used_again():
    k = Parameters()
    optimizer = optim.SGD([k.p], lr=0.1)
    f, step = tracer.trace(lambda x: (k.p * x).sum()), tracer.trace(optimizer.step)
    arrays = []
    for _ in range(8):
        f(k.new()).backward()
        step()
        arrays.append(id(k.p.grad._data))
        optimizer.zero_grad()
    assert len(set(arrays[4:])) == 1
