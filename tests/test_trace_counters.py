"""Loops whose counters, logs and rates are Python objects: a traced function keeps them like an eager one."""

import collections
import math
import types

import pytest
from twice import both, leaf, table, tried, vec

import tracer
from tracer import optim

NS = types.SimpleNamespace
PROGRAMS, case = table()


@case
def raise_growing(tr):
    log = []
    d = {}

    def f(x, k):
        log.append(k)
        d[k % 3] = x
        if k % 4 == 3:
            raise ValueError("a")
        return x * 2

    f = tr(f)
    return (lambda i: f(vec(i), i), lambda: (log, d))


@case
def generator_state(tr):
    a = NS(n=0)

    def gen(x):
        for _i in range(3):
            a.n += 1
            yield (x * a.n)

    def f(x):
        return list(gen(x))

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: a.n)


@case
def item_counter(tr):
    a = NS(n=0, best=0.0, hist=collections.deque(maxlen=4))

    def f(x):
        v = (x * x).sum().item()
        a.hist.append(v)
        a.n += 1
        a.best = max(a.best, v)
        return (x, sum(a.hist) / len(a.hist))

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def int_tensor_item(tr):
    a = NS(n=0)

    def f(x):
        a.n += x.long().sum().item()
        return x + a.n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: a.n)


@case
def mixed_log(tr):
    log = {"loss": [], "step": [], "last": None}

    def f(x, step):
        loss = x.square().mean()
        log["loss"].append(loss.item())
        log["step"].append(step)
        log["last"] = {"l": loss.item(), "s": step}
        return loss

    f = tr(f)
    return (lambda i: f(vec(i), i), lambda: log)


@case
def deep(tr):

    class Node:
        def __init__(s, v, n=None):
            s.v = v
            s.next = n

    head = [Node(0)]

    def f(x):
        head[0] = Node(x.sum(), None)
        return x * 2

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: head[0].v)


@case
def stack_list(tr):

    def f(x):
        out = []
        h = x * 0
        for _i in range(4):
            h = h * 0.5 + x
            out.append(h)
        return (tracer.stack(out), out)

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: 0)


@case
def rng_state(tr):
    a = NS(n=0)

    def f(x):
        a.n += 1
        return x + tracer.rand(3) * a.n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: a.n)


@case
def warm(tr):
    w = leaf()
    o = optim.SGD([w], lr=0.1)
    a = NS(step=0)

    def f(x):
        a.step += 1
        for g in o.param_groups:
            g["lr"] = 0.1 * min(1.0, a.step / 5) * 0.5 * (1 + math.cos(math.pi * a.step / 20))
        o.zero_grad()
        loss = (w * x).square().sum()
        loss.backward()
        o.step()
        return loss.item()

    f = tr(f)
    return (lambda i: f(vec(i) * 0.1), lambda: (w, o.param_groups[0]["lr"]))


@case
def adam_by_hand(tr):
    w = leaf()
    s = {"t": 0, "m": vec(0) * 0, "v": vec(0) * 0}

    def f(x):
        loss = (w * x).square().sum()
        (g,) = tracer.autograd.grad(loss, [w])
        s["t"] += 1
        s["m"] = 0.9 * s["m"] + 0.1 * g
        s["v"] = 0.99 * s["v"] + 0.01 * g * g
        with tracer.no_grad():
            w.sub_(0.1 * (s["m"] / (1 - 0.9 ** s["t"])) / ((s["v"] / (1 - 0.99 ** s["t"])).sqrt() + 1e-08))
        return loss.detach()

    f = tr(f)
    return (lambda i: f(vec(i) * 0.1), lambda: (w, s))


@case
def replay_buffer(tr):
    buf = []
    a = NS(pos=0)

    def f(x):
        if len(buf) < 4:
            buf.append(x)
        else:
            buf[a.pos] = x
        a.pos = (a.pos + 1) % 4
        return tracer.stack(buf).mean(0)

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: (buf, a.pos))


@case
def memo(tr):
    cache = {}

    def get(n):
        if n not in cache:
            cache[n] = vec(n) * 2
        return cache[n]

    f = tr(lambda x, n: x + get(n))
    return (lambda i: f(vec(i), i % 3), lambda: cache)


@case
def two_threads_of_lists(tr):
    a = []
    b = []

    def f(x, flag):
        (a if flag else b).append(x.sum().item())
        return x

    f = tr(f)
    return (lambda i: f(vec(i), i % 2 == 0), lambda: (a, b))


@case
def kv(tr):
    kv = NS(k=None, n=0)

    def f(x):
        kv.k = x[None] if kv.k is None else tracer.cat([kv.k, x[None]])
        kv.n += 1
        return kv.k.sum(0) / kv.n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: (kv.k, kv.n))


@case
def set_arg(tr):
    f = tr(lambda x, s: (s.add(3), x * len(s))[1])
    s = {1}
    return (lambda i: f(vec(i), s), lambda: s)


@case
def big_int(tr):
    a = NS(n=2**52)

    def f(x):
        a.n *= 2
        return x.double() + a.n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: a.n)


@case
def negative_pow(tr):
    f = tr(lambda x, n: x * 2**n + n ** (-1))
    return (lambda i: f(vec(i), [1, 2, 3, -1, -2, 5, 1, 2, 3][i % 9]), lambda: 0)


@case
def zero_div(tr):
    f = tr(lambda x, n: x / (10 // n))
    return (lambda i: f(vec(i), [1, 2, 3, 0, 4, 0, 5][i % 7]), lambda: 0)


@case
def index_changes(tr):
    loss = [1.0, 2.0, 3.0]
    a = NS(i=0)

    def f(x):
        a.i = (a.i + 1) % 3
        loss[a.i] += 1
        return x * loss[a.i]

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: (loss, a.i))


# Functions whose calls all differ: growing extents, ints beyond float64.
ANEW = {"replay_buffer", "kv", "big_int"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_counters(name):
    f = tried(PROGRAMS[name], 12)[-1]
    assert not f.eager_reasons
    if name not in ANEW:
        assert f.cache_info().replays >= 5, f.explain()


# Writes at a position that changes.

RINGS = {
    "a row": (lambda: tracer.zeros(5, 3), lambda b, i, x: b.__setitem__(i, x)),
    "an element": (lambda: tracer.zeros(5), lambda b, i, x: b.__setitem__(i, x.sum())),
    "a number": (lambda: tracer.zeros(5), lambda b, i, x: b.__setitem__(i, 2.5)),
    "a number of the run": (lambda: tracer.zeros(5, 2), lambda b, i, x: b.__setitem__((i, 1), x.sum().item())),
    "itself": (lambda: tracer.zeros(5, dtype=tracer.int64), lambda b, i, x: b.__setitem__(i, i)),
    "a column": (lambda: tracer.zeros(3, 5), lambda b, i, x: b.__setitem__((slice(None), i), x)),
    "a part of a row": (lambda: tracer.zeros(5, 4), lambda b, i, x: b.__setitem__((i, slice(1, None)), x)),
    "in the middle": (lambda: tracer.zeros(2, 5, 3), lambda b, i, x: b.__setitem__((1, i), x)),
    "behind": (lambda: tracer.zeros(2, 5, 3), lambda b, i, x: b.__setitem__((slice(None), i, slice(0, 2)), x[:2])),
    "spread": (lambda: tracer.zeros(5, 2, 3), lambda b, i, x: b.__setitem__(i, x)),
    "with ones": (lambda: tracer.zeros(5, 3), lambda b, i, x: b.__setitem__(i, x.reshape(1, 3))),
    "another dtype": (lambda: tracer.zeros(5, 3, dtype=tracer.float64), lambda b, i, x: b.__setitem__(i, x)),
    "a bool": (lambda: tracer.zeros(5, dtype=tracer.bool), lambda b, i, x: b.__setitem__(i, True)),
    "its own row": (
        lambda: tracer.arange(15.0).reshape(5, 3).clone(),
        lambda b, i, x: b.__setitem__(i, b[0] + 0) or b.__setitem__(i, b[1]),
    ),
    "from behind": (lambda: tracer.zeros(5, 3), lambda b, i, x: b.__setitem__(i - 5, x)),
    "out of range": (lambda: tracer.zeros(3, 3), lambda b, i, x: b.__setitem__(i, x)),
    "a shape that does not fit": (lambda: tracer.zeros(5, 2), lambda b, i, x: b.__setitem__(i, x)),
    "followed": (lambda: tracer.zeros(5, 3), lambda b, i, x: b.clone().__setitem__(i, x.clone().requires_grad_())),
    "read": (lambda: tracer.arange(5.0), lambda b, i, x: b.__setitem__(i, b[i] + 1)),
}


@pytest.mark.parametrize("name", RINGS)
def test_a_tensor_is_written_to_at_a_position_that_changes(name):
    make, write = RINGS[name]

    def program(trace):
        ring = types.SimpleNamespace(buffer=make(), at=0, count=0)

        @trace
        def push(x):
            write(ring.buffer, ring.at, x)
            ring.at = (ring.at + 1) % 5
            ring.count += 1

        seen = []
        for k in range(13):
            try:
                push(vec(k))
                seen.append(ring.buffer.clone())
            except (RuntimeError, IndexError) as e:
                seen.append((type(e).__name__, str(e)))
                ring.at = (ring.at + 1) % 5
        return seen, ring.at, ring.count

    (f,) = both(program)
    if name not in ("out of range", "a shape that does not fit", "followed", "read"):
        assert f.cache_info().replays >= 8 and not f.eager_reasons, f.explain()


def test_random_ints_below_a_number_that_changes():
    def program(trace):
        state = types.SimpleNamespace(n=1)

        @trace
        def draw(x):
            state.n += 3
            return tracer.randint(0, state.n, (4,)), tracer.randint(-state.n, state.n, (2,)), x * state.n

        return [draw(vec()) for _ in range(10)]

    (f,) = both(program)
    assert f.cache_info().replays >= 6, f.explain()
