"""Functions that keep state in Python objects: counters, logs, caches, configurations."""

import collections
import contextlib
import dataclasses
import functools
import itertools
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


@program(runs=3, programs=3, order=0)
def ints_that_change(wrap):
    @wrap
    def f(x, k, shift=0):
        return x * k + shift

    return f, [(vectors()[0][0], k, k % 2) for k in range(8)]


@program(runs=5, programs=6, order=0)
def ints_that_index(wrap):
    @wrap
    def f(table, i):
        return table[i] * i

    return f, [(tracer.arange(8.0).reshape(4, 2), i) for i in (0, 1, 2, 3, 0, 1, 2, 3)]


@program(runs=2, programs=3)
def floats_that_change(wrap):
    @wrap
    def f(x, lr, decay):
        rate = lr / (1 + decay * 2) ** 0.5
        return x * rate - math.sqrt(lr) + max(lr, 0.01)

    return f, [(tracer.tensor([1.0, 2.0], requires_grad=True), 0.1 * k, k / 3) for k in range(1, 7)]


@program(runs=3, programs=5)
def annealed_probability_compared_with_a_draw(wrap):
    @wrap
    def f(x, p):
        if tracer.rand(()) < p:
            return x * 2
        return x / 2

    return f, [(tracer.tensor([1.0], requires_grad=True), 1.0 - 0.1 * k) for k in range(10)]


@program(runs=3, programs=4)
def recursion_on_a_value(wrap):
    @wrap
    def halve(x):
        def go(x, depth):
            return (x, depth) if x.sum() < 1 or depth > 8 else go(x / 2, depth + 1)

        return go(x, 0)

    return halve, [(tracer.tensor([k, 1.0], requires_grad=True),) for k in (3.0, 20.0)] * 3


@program(runs=3, programs=5)
def try_and_except(wrap):
    @wrap
    def f(x):
        try:
            if x.min() < 0:
                raise ValueError("negative")
            y = x.sqrt()
        except ValueError as e:
            y = x.abs().sqrt() * len(str(e))
        else:
            y = y + 1
        finally:
            y = y * 2
        return y

    return f, [(tracer.tensor(v, requires_grad=True),) for v in ([1.0, 4.0], [-1.0, 4.0])] * 3


@program(runs=6, programs=2, order=0, raises=ValueError)
def exceptions_leave_effects_behind(wrap):
    seen = []

    @wrap
    def f(x):
        seen.append(len(seen))
        y = x * 2
        if y.sum() > 10:
            seen.append("too large")
            raise ValueError("sum is", y.sum().item())
        return y

    return f, vectors()


@program(runs=3, programs=17)
def generators_and_comprehensions(wrap):
    def chunks(x):
        for row in x:
            if row.sum() > 0:
                yield row

    @wrap
    def f(x):
        kept = [row.tanh() for row in chunks(x)]
        signs = [bool(row[0] > 0) for row in x]
        return sum(kept, tracer.zeros(2)), signs, {i: r.sum() for i, r in enumerate(kept)}

    a = tracer.tensor([[1.0, 2.0], [-3.0, 1.0], [0.5, 0.5]], requires_grad=True)
    return f, [(a,), (a,), ((-a).detach(),), (a,), ((-a).detach(),)]


@program(runs=4, programs=12)
def nested_traced_functions(wrap):
    @wrap
    def inner(x, k):
        return x.tanh() * k if x.sum() > 0 else x * k

    @wrap
    def outer(x):
        y = inner(x, 2.0)
        return inner(y - 3, 0.5) + y

    def call(x):
        return outer(x), inner(x, 1.0)

    return call, [(tracer.tensor([v, 1.0], requires_grad=True),) for v in (2.0, -4.0)] * 3


@program(runs=3, programs=6)
def walrus_match_and_ternary(wrap):
    @wrap
    def f(x, mode):
        match mode:
            case {"kind": "scale", "by": k}:
                y = x * k
            case ["shift", k]:
                y = x + k
            case _:
                y = x
        return y if (n := len(y)) > 2 else y.repeat(n)

    modes = [{"kind": "scale", "by": 2}, ("shift", 1), None]
    return f, [(tracer.tensor([1.0, 2.0], requires_grad=True), list(m) if isinstance(m, tuple) else m) for m in modes] * 2


@program(runs=3, programs=3, order=0)
def context_managers_of_ones_own(wrap):
    state = {"depth": 0, "scale": 1.0}

    @contextlib.contextmanager
    def scaled(k):
        before = state["scale"]
        state["scale"], state["depth"] = before * k, state["depth"] + 1
        try:
            yield state["scale"]
        finally:
            state["scale"] = before

    @wrap
    def f(x):
        with scaled(2.0):
            y = x * state["scale"]
            with scaled(3.0) as k:
                y = y + k
        return y * state["scale"]

    return f, vectors()


@program(runs=2, programs=3)
def itertools_and_functools(wrap):
    @wrap
    def f(*xs, **options):
        pairs = [a * b for a, b in itertools.combinations(xs, 2)]
        return functools.reduce(lambda a, b: a + b, pairs) * options.get("scale", 1.0)

    return wrap(functools.partial(f, scale=2.0)), [(x, x + 1, x * 2) for (x,) in vectors(4)]


@program(runs=2, programs=3, order=0)
def schedule_held_in_an_iterator(wrap):
    rates = itertools.cycle([0.1, 0.2, 0.3])

    @wrap
    def f(x, rate):
        return x * rate

    def call(x):
        return f(x, next(rates))

    return call, vectors()


@program(runs=3, programs=3, order=0)
def weights_assigned_inside(wrap):
    w = tracer.ones(3)

    @wrap
    def step(x):
        nonlocal w
        w = w - 0.1 * x
        return w.sum()

    return step, vectors()


@program(runs=3, programs=3, order=0)
def data_assigned_inside(wrap):
    p = nn.Parameter(tracer.ones(3))

    @wrap
    def step(x):
        loss = (p * x).sum().square()
        loss.backward()
        p.data = p.data - 0.001 * p.grad
        p.grad = None
        return loss.detach()

    return step, vectors()


@program(runs=6, programs=4, order=0)
def a_flag_set_when_something_happened(wrap):
    class Monitor:
        def __init__(self):
            self.warned, self.worst = False, 0.0

    monitor = Monitor()

    @wrap
    def check(x):
        worst = x.abs().max().item()
        if worst > 8 and not monitor.warned:
            monitor.warned = True
            print("large values")
        monitor.worst = max(monitor.worst, worst)
        return x / 2

    return check, vectors() * 2


@program(runs=2, programs=2)
def linked_list_of_layers(wrap):
    class Node:
        def __init__(self, k, rest):
            self.k, self.rest = k, rest

    head = None
    for k in range(30):
        head = Node(tracer.tensor(1.0 + 0.01 * k, requires_grad=True), head)

    @wrap
    def f(x):
        node = head
        while node is not None:
            x = x * node.k
            node = node.rest
        return x

    return f, vectors(4)


@program(runs=4, programs=8)
def optional_arguments_and_keywords(wrap):
    @wrap
    def f(x, mask=None, *, scale=1.0, names=("a",)):
        y = x * scale
        if mask is not None:
            y = y * mask
        return dict.fromkeys(names, y)

    x = tracer.tensor([1.0, 2.0], requires_grad=True)
    calls = [lambda: f(x), lambda: f(x, x.detach() > 1), lambda: f(x, scale=3.0), lambda: f(x, names=("a", "b"), scale=2.0)]

    return lambda i: calls[i](), [(i,) for i in (0, 1, 2, 3, 0, 1, 2, 3, 0, 1)]
