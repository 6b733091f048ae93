"""Functions that keep state in Python objects: counters, logs, caches, configurations."""

import collections
import dataclasses
import functools
import math
import types

import tracer
import tracer.nn.functional as F
from gallery.harness import program
from tracer import nn


def vectors(n=6):
    return [(tracer.tensor([1.0, 2.0, 3.0]) * k,) for k in range(1, n + 1)]


@program(runs=3, programs=3)
def step_counter(wrap):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.calls = nn.Linear(3, 2), 0

        def forward(self, x):
            self.calls += 1
            return self.linear(x) / self.calls

    layer = Layer()
    return wrap(layer.forward), vectors()


@program(runs=3, programs=3)
def hidden_state_carried_from_call_to_call(wrap):
    class Agent:
        def __init__(self):
            self.cell, self.h = nn.GRUCell(3, 4), tracer.zeros(1, 4)

        def act(self, x):
            self.h = self.cell(x[None], self.h)
            self.h = self.h.detach()
            return self.h.argmax(1)

    return wrap(Agent().act), vectors()


@program(runs=3, programs=3, order=0)
def running_total_of_losses(wrap):
    total, count = tracer.zeros(()), 0

    @wrap
    def add(x):
        nonlocal total, count
        total = total + x.square().mean()
        count += 1
        return total / count

    return add, vectors()


@program(runs=3, programs=3, order=0)
def log_of_items(wrap):
    log = []

    @wrap
    def step(x):
        y = x.exp().sum()
        log.append(y.item())
        log.append({"y": y.detach(), "text": "step"})
        return y.log()

    return step, vectors()


@program(runs=3, programs=3, order=0)
def log_whose_length_is_read(wrap):
    log = []

    @wrap
    def step(x):
        log.append((len(log), x.sum().item()))
        return x * len(log)

    return step, vectors()


@program(runs=3, programs=3, order=0)
def running_mean_and_variance(wrap):
    @dataclasses.dataclass
    class Stats:
        count: int = 0
        mean: float = 0.0
        m2: float = 0.0

        def push(self, value):
            self.count += 1
            delta = value - self.mean
            self.mean += delta / self.count
            self.m2 += delta * (value - self.mean)

        @property
        def deviation(self):
            return math.sqrt(self.m2 / (self.count - 1)) if self.count > 1 else 0.0

    stats = Stats()

    @wrap
    def step(x):
        stats.push(x.sin().sum().item())
        return x * stats.count

    def call(x):
        return step(x), stats.deviation

    return call, vectors() * 2


@program(runs=5, programs=4, order=0)
def memo_by_shape(wrap):
    memo = {}

    def mask(n):
        if n not in memo:
            memo[n] = tracer.ones(n, n).tril()
        return memo[n]

    @wrap
    def masked(x):
        return (x * mask(x.shape[0])).sum(0)

    return masked, [(tracer.randn(n, n),) for n in (2, 2, 3, 2, 3, 2, 3)]


@program(runs=4, programs=4, order=0)
def mask_by_lru_cache(wrap):
    @functools.lru_cache(maxsize=None)  # noqa: UP033
    def mask(n):
        return tracer.full((n, n), -math.inf).triu(1)

    @wrap
    def attend(q):
        return (q @ q.T + mask(len(q))).softmax(-1) @ q

    return attend, [(tracer.randn(n, 3),) for n in (2, 2, 3, 3, 2, 3)]


@program(runs=3, programs=3)
def attribute_dict_configuration(wrap):
    class AttrDict(dict):
        __getattr__ = dict.__getitem__
        __setattr__ = dict.__setitem__

    config = AttrDict(scale=2.0, act="tanh", nested=AttrDict(bias=0.5, steps=2))

    @wrap
    def f(x):
        for _ in range(config.nested.steps):
            x = getattr(x * config.scale, config.act)() + config.nested.bias
        return x

    def call(x, scale):
        config.scale = scale
        return f(x)

    return call, [(x, 1.0 + i // 2) for i, (x,) in enumerate(vectors())]


@program(runs=3, programs=3)
def dataclass_argument_and_result(wrap):
    @dataclasses.dataclass
    class Batch:
        x: object
        weight: float
        names: list

    @dataclasses.dataclass(frozen=True)
    class Output:
        loss: object
        parts: dict

    @wrap
    def f(batch):
        y = batch.x * batch.weight
        return Output(loss=y.sum(), parts={name: y[i] for i, name in enumerate(batch.names)})

    return f, [(Batch(x, 0.5 * i, ["a", "b"]),) for i, (x,) in enumerate(vectors())]


@program(runs=3, programs=3, order=0)
def window_of_the_last_losses(wrap):
    window = collections.deque(maxlen=3)

    @wrap
    def step(x):
        window.append(x.square().sum().item())
        return x.mean()

    def call(x):
        y = step(x)
        return y, sum(window) / len(window)

    return call, vectors()


@program(runs=3, programs=3, order=0)
def average_meters_in_an_ordered_dict(wrap):
    class Meter:
        def __init__(self):
            self.sum, self.n = 0.0, 0

        def update(self, v, n=1):
            self.sum += v * n
            self.n += n

        @property
        def avg(self):
            return self.sum / max(self.n, 1)

    meters = collections.OrderedDict(loss=Meter(), norm=Meter())

    @wrap
    def step(x):
        meters["loss"].update(x.mean().item(), x.numel())
        meters["norm"].update(float(x.norm()))

    def call(x):
        step(x)
        return {k: m.avg for k, m in meters.items()}

    return call, vectors()


@program(runs=5, programs=5, order=0)
def key_value_cache(wrap):
    q, k, v = (nn.Linear(4, 4) for _ in range(3))
    cache = {"k": tracer.zeros(0, 4), "v": tracer.zeros(0, 4)}

    @wrap
    def decode(x):
        cache["k"] = tracer.cat([cache["k"], k(x)])
        cache["v"] = tracer.cat([cache["v"], v(x)])
        with_past = F.softmax(q(x) @ cache["k"].T / 2, -1) @ cache["v"]
        return with_past

    def call(x):
        if len(cache["k"]) == 3:
            cache["k"], cache["v"] = cache["k"][:0], cache["v"][:0]
        with tracer.no_grad():
            return decode(x)

    return call, [(tracer.randn(1, 4),) for _ in range(9)]


@program(runs=7, programs=4, order=0)
def cache_with_a_position(wrap):
    store, state = tracer.zeros(6, 2), types.SimpleNamespace(position=0)

    @wrap
    def push(x):
        with tracer.no_grad():
            store[state.position % 6] = x
        state.position += 1
        return store.sum()

    return push, [(tracer.randn(2),) for _ in range(9)]


@program(runs=3, programs=3, order=0)
def closure_with_nonlocal_floats(wrap):
    momentum, velocity = 0.9, 0.0

    @wrap
    def step(x, push):
        nonlocal velocity
        velocity = momentum * velocity + push
        return x + velocity

    return step, [(x, float(i % 3)) for i, (x,) in enumerate(vectors())]


@program(runs=3, programs=3, order=0)
def a_global_counter(wrap):
    module = types.ModuleType("gallery.counter")
    source = "steps = 0\nscale = 1.5\ndef f(x):\n    global steps\n    steps += 1\n    return x * scale + steps\n"
    exec(source, module.__dict__)
    f = wrap(module.f)

    def call(x):
        y = f(x)
        return y, module.steps

    return call, vectors()


@program(runs=3, programs=3, order=0)
def class_attribute_counts_calls(wrap):
    class Model:
        calls = 0

        def __call__(self, x):
            Model.calls += 1
            return x * 2

    model = Model()
    f = wrap(model)

    def call(x):
        y = f(x)
        return y, Model.calls

    return call, vectors()


@program(runs=2, programs=2, order=0)
def items_are_printed(wrap):
    @wrap
    def step(x):
        loss = x.square().mean()
        print(f"loss {loss.item():.3f} max {x.max():.2f}")
        print("sum:", x.sum().item(), x.shape)
        return loss

    return step, vectors()


@program(runs=2, programs=2, order=0)
def a_tensor_is_printed(wrap):
    @wrap
    def step(x):
        y = x * 2
        print(y)
        print("y =", y[0], file=None)
        return y.sum()

    return step, vectors()


@program(runs=2, programs=4, order=0)
def numbers_are_returned(wrap):
    @wrap
    def stats(x):
        return (
            x.mean().item(),
            x.tolist(),
            x.numpy() * 2,
            float(x.max()),
            {"argmax": int(x.argmax()), "any": bool((x > 9).any())},
        )

    return stats, vectors(2) * 4


@program(runs=2, programs=2, order=0)
def numbers_are_stored(wrap):
    class Box:
        pass

    box = Box()
    box.history = []

    @wrap
    def step(x):
        box.last = x.mean().item()
        box.values = x.tolist()
        box.array = x.numpy().copy()
        box.history.append(box.last)
        return x + 1

    return step, vectors()
