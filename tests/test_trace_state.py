"""Training loops that change optimizers, schedules, modules and user-defined objects inside a traced function."""

import copy
import types

import numpy as np
import pytest
from twice import both, table, tried, vec

import tracer
from tracer import nn, optim, trace

PROGRAMS, case = table()


def data(i):
    return tracer.randn(5, 3, generator=tracer.Generator(i))


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


@case
def train_mode(tr):
    m = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))

    @tr
    def f(x):
        m.train()
        y = m(x)
        m.eval()
        z = m(x)
        return (y, z)

    return (lambda i: (f(data(i)), m.train(bool(i % 3)))[0], lambda: m.training)


@case
def train_only(tr):
    m = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))

    @tr
    def f(x):
        m.train()
        return m(x)

    def call(i):
        if i % 3 == 0:
            m.eval()
        return f(data(i))

    return (call, lambda: [k.training for k in m.modules()])


@case
def batchnorm(tr):
    m = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    f = tr(lambda x: m(x))
    return (lambda i: f(data(i)), lambda: list(m.buffers()))


def sched(make):

    def p(tr):
        m = net()
        o = optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
        s = make(o)

        @tr
        def step(x):
            o.zero_grad()
            loss = m(x).square().mean()
            loss.backward()
            o.step()
            s.step()
            return loss

        return (lambda i: step(data(i)), lambda: (list(m.parameters()), o.param_groups[0]["lr"], s.last_epoch, s.get_last_lr()))

    return p


L = optim.lr_scheduler
for n, mk in {
    "step": lambda o: L.StepLR(o, 3),
    "exp": lambda o: L.ExponentialLR(o, 0.9),
    "cos": lambda o: L.CosineAnnealingLR(o, 10),
    "lam": lambda o: L.LambdaLR(o, lambda e: 0.95**e),
    "lin": lambda o: L.LinearLR(o, total_iters=5),
    "one": lambda o: L.OneCycleLR(o, 0.2, total_steps=30),
    "multi": lambda o: L.MultiStepLR(o, [2, 5]),
    "poly": lambda o: L.PolynomialLR(o, 8),
    "warm": lambda o: L.CosineAnnealingWarmRestarts(o, 4),
    "cyc": lambda o: L.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "seq": lambda o: L.SequentialLR(o, [L.ConstantLR(o, 0.5, 2), L.ExponentialLR(o, 0.9)], [3]),
}.items():
    PROGRAMS["sched_" + n] = sched(mk)


@case
def lr_inside(tr):
    m = net()
    o = optim.Adam(m.parameters(), lr=0.1)

    @tr
    def step(x):
        o.zero_grad()
        loss = m(x).square().mean()
        loss.backward()
        o.step()
        for g in o.param_groups:
            g["lr"] *= 0.5
        return loss

    return (lambda i: step(data(i)), lambda: (list(m.parameters()), o.param_groups[0]["lr"]))


@case
def requires_grad_toggle(tr):
    m = net()
    d = net()
    o = optim.SGD(m.parameters(), lr=0.1)

    @tr
    def step(x):
        for p in d.parameters():
            p.requires_grad_(False)
        o.zero_grad()
        loss = (m(x) + d(x)).square().mean()
        loss.backward()
        o.step()
        for p in d.parameters():
            p.requires_grad_(True)
        return loss.detach()

    return (
        lambda i: step(data(i)),
        lambda: (list(m.parameters()), [p.grad for p in d.parameters()], [p.requires_grad for p in d.parameters()]),
    )


@case
def freeze(tr):
    m = net()

    @tr
    def f(x):
        for p in m[0].parameters():
            p.requires_grad_(False)
        return m(x)

    return (lambda i: f(data(i)), lambda: [p.requires_grad for p in m.parameters()])


@case
def data_assign(tr):
    m = net()
    o = optim.SGD(m.parameters(), lr=0.1)

    @tr
    def step(x):
        o.zero_grad()
        loss = m(x).square().mean()
        loss.backward()
        for p in m.parameters():
            p.data = p.data - 0.1 * p.grad
        return loss.detach()

    return (lambda i: step(data(i)), lambda: list(m.parameters()))


@case
def data_inplace(tr):
    m = net()

    @tr
    def step(x):
        loss = m(x).square().mean()
        loss.backward()
        for p in m.parameters():
            p.data -= 0.1 * p.grad
            p.grad = None
        return loss.detach()

    return (lambda i: step(data(i)), lambda: list(m.parameters()))


@case
def ema(tr):
    m = net()
    shadow = {n: p.detach().clone() for n, p in m.named_parameters()}
    o = optim.SGD(m.parameters(), lr=0.1)

    @tr
    def step(x):
        o.zero_grad()
        loss = m(x).square().mean()
        loss.backward()
        o.step()
        with tracer.no_grad():
            for n, p in m.named_parameters():
                shadow[n] = 0.9 * shadow[n] + 0.1 * p
        return loss.detach()

    return (lambda i: step(data(i)), lambda: (shadow, list(m.parameters())))


@case
def tagged(tr):

    def f(x):
        y = x * 3
        y.tag = 5
        y.name = "n"
        return y

    f = tr(f)
    last = []

    def call(i):
        y = f(data(i))
        last.append((y.tag, y.name))
        return y

    return (call, lambda: last[-1:])


@case
def buffer_replaced(tr):

    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.register_buffer("mean", tracer.zeros(3))
            s.register_buffer("n", tracer.tensor(0))
            s.count = 0

        def forward(s, x):
            s.mean = 0.9 * s.mean + 0.1 * x.mean(0)
            s.n = s.n + 1
            s.count += 1
            return x - s.mean

    m = M()
    f = tr(m.forward if False else lambda x: m(x))
    return (lambda i: f(data(i)), lambda: (dict(m.named_buffers()), m.count))


@case
def module_as_argument(tr):

    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.loss = nn.Linear(3, 3)
            s.calls = 0
            s.h = None

        def forward(s, x):
            s.calls += 1
            s.h = s.loss(x) if s.h is None else s.loss(x) + s.h.detach()
            return s.h

    a, b = (M(), M())
    f = tr(lambda m, x: m(x))
    return (lambda i: f(a if i % 3 else b, data(i)), lambda: (a.calls, b.calls, a.h, b.h))


@case
def optimizer_in_args(tr):
    m = net()
    o = optim.Adam(m.parameters(), lr=0.01)

    @tr
    def step(m, o, x):
        o.zero_grad()
        loss = m(x).square().mean()
        loss.backward()
        o.step()
        return loss.detach()

    return (lambda i: step(m, o, data(i)), lambda: (list(m.parameters()), [s["exp_avg"] for s in o.state.values()]))


@case
def lstm_state(tr):
    loss = nn.LSTM(3, 4, batch_first=True)
    h = types.SimpleNamespace(state=None)

    @tr
    def f(x):
        y, s = loss(x, h.state)
        h.state = tuple(t.detach() for t in s)
        return y

    def call(i):
        if i == 5:
            h.state = None
        return f(data(i)[None])

    return (call, lambda: h.state)


@case
def accumulate(tr):
    m = net()
    o = optim.SGD(m.parameters(), lr=0.1)
    s = types.SimpleNamespace(step=0)

    @tr
    def f(x):
        loss = m(x).square().mean() / 2
        loss.backward()
        s.step += 1
        if s.step % 2 == 0:
            o.step()
            o.zero_grad()
        return loss.detach()

    return (lambda i: f(data(i)), lambda: (s.step, list(m.parameters())))


@case
def metrics(tr):

    class Metric:
        def __init__(s):
            s.total = 0.0
            s.n = 0
            s.hist = []

        def update(s, v, n=1):
            s.total += v * n
            s.n += n
            s.hist.append(v)

        @property
        def mean(s):
            return s.total / max(s.n, 1)

    m = Metric()

    @tr
    def f(x):
        loss = x.square().mean()
        m.update(loss.item(), len(x))
        return loss

    return (lambda i: (f(data(i)), m.mean), lambda: (m.total, m.n, m.hist))


@case
def momentum_changes(tr):
    m = net()
    o = optim.SGD(m.parameters(), lr=0.1, momentum=0.5)

    @tr
    def step(x):
        o.zero_grad()
        loss = m(x).square().mean()
        loss.backward()
        o.step()
        return loss.detach()

    def call(i):
        o.param_groups[0]["momentum"] = 0.5 + i * 0.01
        return step(data(i))

    return (call, lambda: list(m.parameters()))


@case
def grad_scaler_like(tr):
    m = net()
    s = types.SimpleNamespace(scale=8.0, good=0)

    @tr
    def step(x):
        loss = m(x).square().mean() * s.scale
        loss.backward()
        s.good += 1
        if s.good == 3:
            s.scale *= 2
            s.good = 0
        for p in m.parameters():
            p.grad = None
        return loss.detach()

    return (lambda i: step(data(i)), lambda: (s.scale, s.good))


@pytest.mark.parametrize("name", PROGRAMS)
def test_training(name):
    (f,) = tried(PROGRAMS[name], 9)
    assert f.cache_info().replays >= 4, f.explain()


def test_gradients_that_are_asked_for_inside():
    def program(trace):
        w, v = tracer.ones(3, requires_grad=True), tracer.ones(3)

        @trace
        def f(x):
            w.requires_grad_(False)
            v.requires_grad_()
            (x * w * v).sum().backward()
            return x + 1

        @trace
        def frozen_meanwhile(x):
            w.requires_grad_(False)
            y = (x * w).sum()
            w.requires_grad_(True)
            (y.item() * w).sum().backward()

        found = []
        for k in range(4):
            w.requires_grad_(True)
            v.requires_grad_(False)
            found += [f(vec(k)), w.requires_grad, v.requires_grad, v.grad.clone()]
        for k in range(4):
            w.requires_grad_(True)
            frozen_meanwhile(vec(k))
            found += [w.requires_grad, w.grad.clone()]
        return found

    both(program)


RATES = [1, 1.0, True, np.float64(1.0), np.float32(1.0), tracer.tensor(1.0)]


def halved(group):
    group["lr"] *= 0.5


def doubled(group):
    group["lr"] = group["lr"] * 2 if type(group["lr"]) is int else group["lr"] + 1


def whole(group):
    group["lr"] = 1


def of_another_type(group):
    group["lr"] = int(group["lr"]) + 1 if isinstance(group["lr"], float) else float(group["lr"]) / 4


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize("rate", RATES, ids=lambda x: f"{type(x).__module__}.{type(x).__name__}")
@pytest.mark.parametrize("change", [halved, doubled, whole, of_another_type])
def test_a_run_changes_a_rate_of_any_type(change, rate):
    def run(wrap):
        w = tracer.tensor([1.0, 2.0], requires_grad=True)
        optimizer = optim.SGD([w], lr=0.125)

        @wrap
        def step(x):
            optimizer.zero_grad()
            (w * x).sum().backward()
            optimizer.step()
            change(optimizer.param_groups[0])
            return x

        found = []
        for n in range(12):
            if n in (4, 8):
                optimizer.param_groups[0]["lr"] = 0.25 if n == 8 else copy.deepcopy(rate)
            step(tracer.tensor([0.5, 0.25]))
            lr = optimizer.param_groups[0]["lr"]
            found.append((type(lr), float(lr), w.tolist()))
        return found

    assert run(lambda f: f) == run(trace)


class Number:
    __slots__ = ("v",)

    def __init__(self, v=None):
        if v is not None:
            Number.v.__set__(self, v)


class Computed(Number):
    """A property without a setter hides the slot."""

    @property
    def v(self):
        return 2.0, 1


class Doubled(Number):
    """The property computes something else than the slot holds."""

    @property
    def v(self):
        return Number.v.__get__(self) * 2

    @v.setter
    def v(self, value):
        Number.v.__set__(self, value)


@pytest.mark.parametrize("as_argument", [True, False])
def test_a_slot_that_a_property_hides(as_argument):
    def program(trace):
        computed, doubled = Computed(), Doubled(1.5)

        def use(x, c, d):
            return x * c.v[0] * d.v

        f = trace(use) if as_argument else trace(lambda x: use(x, computed, doubled))
        results = []
        for k in range(6):
            if k == 3:
                doubled.v = 5.0
            results.append(f(tracer.ones(2), computed, doubled) if as_argument else f(tracer.ones(2)))
        return results, doubled.v

    both(program)
    assert program(lambda f: f)[0][-1].tolist() == [20.0, 20.0]


def test_a_property_that_hides_a_slot_is_assigned_in_a_call():
    def program(trace):
        doubled = Doubled(1.5)

        @trace
        def f(x):
            doubled.v = doubled.v + 1.0
            return x * doubled.v

        return [f(tracer.ones(2)) for _ in range(5)], doubled.v

    both(program)
