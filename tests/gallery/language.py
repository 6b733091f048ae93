"""Functions that use what Python has: numbers that change, recursion, exceptions, generators, context managers, iterators."""

import contextlib
import functools
import itertools
import math

import tracer
from gallery.harness import program
from gallery.state import vectors
from tracer import nn


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
