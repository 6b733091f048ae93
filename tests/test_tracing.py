"""Tracing: a program has the same results with and without the decorator."""

import math
import sys
import threading
import types
import warnings
from collections import namedtuple

import numpy as np
import pytest

import tracer
from tracer import nn, optim
from tracer.core.context import context
from tracer.nn import functional as F


def same(a, b):
    """Equal up to rounding: tensors, or nested tuples of them."""
    if isinstance(a, tracer.Tensor):
        assert a.dtype is b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
    elif isinstance(a, (tuple, list)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b


def network(seed=0):
    tracer.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_is_recorded_once_and_equals_eager(name):
    def run(traced):
        model = network()
        optimizer = OPTIMIZERS[name](model.parameters())

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        function = tracer.trace(step) if traced else step
        losses = []
        for i in range(20):
            optimizer.param_groups[0]["lr"] *= 0.97  # a scheduler causes no new recording
            x = tracer.randn(5, 4, generator=tracer.Generator(i))
            losses.append(function(x, tracer.tensor([0, 1, 2, 1, 0])))
        gradients = [p.grad for p in model.parameters()]
        return losses, list(model.parameters()), gradients, function

    eager, traced = run(False), run(True)
    same(eager[:3], traced[:3])
    assert len(traced[3].graphs()) == 1
    with pytest.raises(RuntimeError, match="second time"):
        traced[0][-1].backward()


def test_gradients_accumulate_and_may_be_cleared_outside():
    def f(p, x):
        ((p * x) ** 2).sum().backward()

    g = tracer.trace(f)
    p, q = tracer.ones(3, requires_grad=True), tracer.ones(3, requires_grad=True)
    for i in range(8):
        if i == 4:
            p.grad = q.grad = None
        if i == 6:
            p.grad.zero_()
            q.grad.zero_()
        x = tracer.randn(3)
        f(p, x)
        g(q, x)
        same(p.grad, q.grad)


def test_gradients_flow_through_from_outside_to_any_order():
    def f(x, y):
        return (x.sin() * y).sum(), x.exp() * y

    g = tracer.trace(f)
    x, y = tracer.randn(5, requires_grad=True), tracer.randn(5, requires_grad=True)
    for _ in range(3):
        results = []
        for h in (f, g):
            u, v = h(x, y)
            first = tracer.autograd.grad(u * 2 + v.sum(), (x, y), create_graph=True)
            second = tracer.autograd.grad((first[0] * first[1]).sum(), (x, y), create_graph=True)
            third = tracer.autograd.grad(second[0].sum(), (x,))
            results.append((u, v, *first, *second, *third))
        same(*results)
    assert len(g.graphs()) == 1


def test_detach_and_no_grad_hold_in_compiled_gradients():
    def f(x):
        with tracer.no_grad():
            w = x * 2
        return (x * x.detach() * w).sum()

    g = tracer.trace(f)
    x = tracer.randn(5, requires_grad=True)
    for _ in range(3):
        same(tracer.autograd.grad(f(x), x), tracer.autograd.grad(g(x), x))
    assert len(g.graphs()) == 1


def test_a_saved_input_that_changed_is_noticed():
    g = tracer.trace(lambda x, w: (x * w).exp().sum())
    w = tracer.ones(3, requires_grad=True)
    for _ in range(3):
        x = tracer.ones(3)
        loss = g(x, w)
        x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_new_signatures_record_anew_and_old_ones_replay():
    g = tracer.trace(lambda x, k, flag=True: x * k if flag else x - k)
    a, b = tracer.ones(3), tracer.ones(2, 2).double()
    calls = [(a, 2), (b, 2), (a, 3), (a, 2.5), (a, 3.5)]
    for args in calls * 3:
        for flag in (True, False):
            same(g(*args, flag=flag), args[0] * args[1] if flag else args[0] - args[1])
    assert len(g.graphs()) == 2 * 4  # 2.5 and 3.5 share one
    with tracer.no_grad():
        assert not g(a.clone().requires_grad_(), 2).requires_grad
    assert g(a.clone().requires_grad_(), 2).requires_grad


FLOATS = {
    "arithmetic": lambda x, a: x * a + (a * 2 + 1) / 3 - a**2,
    "compared": lambda x, a: x * a if a > 0.25 else x - a,
    "math": lambda x, a: x * math.exp(a),
    "numpy": lambda x, a: x * np.sqrt(a),
    "returned": lambda x, a: (x + a, a * 2),
    "formatted": lambda x, a: x * len(f"{a:.1f}"),
}


@pytest.mark.parametrize("name", FLOATS)
def test_floats_of_the_run(name):
    f = FLOATS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        g, x = tracer.trace(f), tracer.ones(3)
        for i in [1, 2, 3, 1, 2, 3]:
            same(g(x, 0.1 * i), f(x, 0.1 * i))
    if name == "arithmetic":
        assert len(g.graphs()) == 1


def test_in_place_changes_of_arguments_and_their_views():
    def f(x, y):
        x.add_(y)
        x[0] = 5.0
        x[1:3].mul_(2)
        x.reshape(2, 3)[1].sub_(1)
        return x.sum()

    g = tracer.trace(f)
    for i in range(4):
        a, b, y = tracer.arange(6).float(), tracer.arange(6).float(), tracer.ones(6) * i
        before = b._version
        same(f(a, y), g(b, y))
        same(a, b)
        assert b._version > before
    assert len(g.graphs()) == 1


def test_aliasing_arguments():
    def f(a, b):
        a.add_(1)
        return a + b

    g = tracer.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        for kind in ("apart", "same", "overlapping") * 3:
            results = []
            for h in (f, g):
                base = tracer.zeros(6)
                pair = {"apart": (base[:3], tracer.ones(3)), "same": (base, base), "overlapping": (base[:4], base[2:])}[kind]
                results.append((h(*pair), base))
            same(*results)


def test_results_belong_to_the_caller():
    g = tracer.trace(lambda x: (x * 2, x.sum()))
    xs = [tracer.ones(3) * i for i in range(20)]
    for x, (double, total) in zip(xs, [g(x) for x in xs], strict=True):
        same((double, total), (x * 2, x.sum()))
    h = tracer.trace(lambda x: x * 2)
    views = [h(x)[1:] for x in xs] + [tracer.from_numpy(h(x).numpy()[1:]) for x in xs]
    for x, view in zip(xs * 2, views, strict=True):
        same(view, (x * 2)[1:])


def test_gradients_belong_to_the_caller():
    p = tracer.ones(3, requires_grad=True)

    @tracer.trace
    def step(x):
        p.grad = None
        (p * x).sum().backward()

    kept = []
    for i in range(6):
        step(tracer.ones(3) * i)
        kept.append(p.grad)
    same(kept, [tracer.ones(3) * i for i in range(6)])


def test_structured_results():
    Pair = namedtuple("Pair", "a b")
    g = tracer.trace(lambda x: {"p": Pair(x * 2, [x + 1, None, 3, "s"]), "x": x})
    for _ in range(3):
        x = tracer.ones(2)
        result = g(x)
        assert result["x"] is x and isinstance(result["p"], Pair) and result["p"].b[1:] == [None, 3, "s"]
        same(result["p"].a, x * 2)
    assert len(g.graphs()) == 1


def test_a_view_of_an_argument_stays_a_view():
    g = tracer.trace(lambda x: x[0:1])
    for i in range(3):
        x = tracer.ones(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tracer.TraceWarning)
            g(x).add_(1)
        assert x[0].item() == 2, i


def test_random_numbers_are_those_of_eager_code():
    def f(n):
        return tracer.rand(4) + tracer.randn(4) * n

    g = tracer.trace(f)
    tracer.manual_seed(3)
    expected = [f(2) for _ in range(4)]
    tracer.manual_seed(3)
    same(expected, [g(2) for _ in range(4)])
    assert len(g.graphs()) == 1 and not expected[0].eq(expected[1]).any()


SCALE = 1.0
settings = types.ModuleType("settings_of_a_user")
settings.scale = 1.0
sys.modules["settings_of_a_user"] = settings


class Config:
    scale = 1.0


def helper(x):
    return x * SCALE


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.k, self.options, self.terms = 2.0, {"a": 1.0}, [1.0]
        self.weight = nn.Parameter(tracer.ones(2))
        self.register_buffer("mean", tracer.zeros(2))

    def forward(self, x):
        y = helper(x * self.k) * self.options["a"] + self.terms[0] + (1 if self.training else 100)
        with tracer.no_grad():
            self.mean.mul_(0.9)
            self.mean.add_(x.detach() * 0.1)
        return y * self.weight * Config.scale * settings.scale + self.mean


CHANGES = {
    "attribute": lambda m: setattr(m, "k", 3.0),
    "dict": lambda m: m.options.update(a=7.0),
    "list": lambda m: m.terms.__setitem__(0, -1.0),
    "eval": lambda m: m.eval(),
    "global of a helper": lambda m: globals().update(SCALE=4.0),
    "class attribute": lambda m: setattr(Config, "scale", 5.0),
    "module attribute": lambda m: setattr(settings, "scale", 6.0),
    "parameter": lambda m: setattr(m, "weight", nn.Parameter(tracer.ones(2) * 8)),
    "data": lambda m: setattr(m.weight, "data", tracer.ones(2) * 9),
    "in place": lambda m: m.weight.data.mul_(2),
    "buffer": lambda m: m.mean.fill_(3.0),
    "requires_grad": lambda m: m.weight.requires_grad_(False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_function_reads_may_change(change, monkeypatch):
    monkeypatch.setattr(Config, "scale", 1.0)
    monkeypatch.setattr(settings, "scale", 1.0)
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    plain, traced = Model(), Model()
    g = tracer.trace(lambda x: traced(x))
    for i in range(6):
        if i == 3:
            CHANGES[change](plain)
            CHANGES[change](traced)
        x = tracer.ones(2) * i
        a, b = plain(x), g(x)
        same(a, b)
        assert a.requires_grad == b.requires_grad
        same(plain.mean, traced.mean)
    assert g.graphs()


def test_methods():
    class C:
        def __init__(self, k):
            self.w, self.k = tracer.ones(3) * k, k

        @tracer.trace
        def f(self, x):
            return x * self.w * self.k

    c, d, x = C(1.0), C(5.0), tracer.ones(3)
    for i in range(6):
        if i == 3:
            c.k, c.w = 4.0, tracer.ones(3) * 9
        same((c.f(x), d.f(x)), (x * c.w * c.k, x * d.w * d.k))


LOOKS = {
    "item": lambda x: x * 2 if x.sum().item() > 0 else -x,
    "bool": lambda x: x * 2 if x.sum() > 0 else -x,
    "numpy": lambda x: x + float(x.numpy().max()),
    "tolist": lambda x: x + x.tolist()[0],
    "mask": lambda x: x[x > 0].sum(),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_at_a_value_selects_a_path(name):
    f = LOOKS[name]
    g = tracer.trace(f)
    for i in (1, -1, 2, -2, 1, 2):
        same(g(tracer.ones(3) * i), f(tracer.ones(3) * i))
    assert "eager" not in g.explain() and g.graphs()


def test_a_tensor_that_escapes_is_never_stale():
    class Keeper(nn.Module):
        def forward(self, x):
            self.last = x * 2
            return self.last.sum()

    hidden = {}.setdefault("list", [])

    def appends(x, keep=hidden.append):
        y = x * 3
        keep(y)
        return x.sum()

    keeper = Keeper()
    g, h = tracer.trace(lambda x: keeper(x)), tracer.trace(appends)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        for i in range(7):
            x = tracer.ones(2) * i
            g(x)
            h(x)
            same((keeper.last, hidden[-1]), (x * 2, x * 3))


def test_a_backward_pass_that_leaves_the_function_runs_eagerly():
    p = tracer.ones(2, requires_grad=True)

    def f(h):
        p.grad = None
        (h * 2).sum().backward()
        return p.grad.clone()

    g = tracer.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        for k in range(1, 5):
            same(g(p + k if k % 2 else p * k), f(p + k if k % 2 else p * k))


def test_an_argument_that_autograd_follows_may_be_changed_in_place():
    g = tracer.trace(lambda x, w: x.mul_(w))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        for k in range(1, 4):
            w = tracer.full((2,), float(k), requires_grad=True)
            x = tracer.ones(2)
            g(x, w)
            x.sum().backward()
            assert x.requires_grad
            same(w.grad, tracer.ones(2))


def test_an_exception_leaves_nothing_behind():
    @tracer.trace
    def f(x):
        if x.shape[0] == 2:
            raise KeyError("two")
        return x + 1

    with pytest.raises(KeyError):
        f(tracer.ones(2))
    assert context.recorder is None
    same(f(tracer.ones(3)), tracer.ones(3) + 1)


def test_an_index_out_of_range_in_a_replay():
    g = tracer.trace(lambda x, i: x.index_select(0, i))
    x = tracer.arange(6).float().reshape(3, 2)
    for _ in range(2):
        same(g(x, tracer.tensor([2, 0])), x.index_select(0, tracer.tensor([2, 0])))
    with pytest.raises(IndexError, match="index 7 is out of bounds for dimension 0 with size 3"):
        g(x, tracer.tensor([0, 7]))
    same(g(x, tracer.tensor([1, 1])), x.index_select(0, tracer.tensor([1, 1])))


def test_a_mask_with_more_places_than_there_are_elements_in_a_replay():
    g = tracer.trace(lambda x, mask, source: x.masked_scatter(mask, source))
    x, source = tracer.zeros(4), tracer.tensor([1.0, 2.0])
    fits, wide = tracer.tensor([True, False, True, False]), tracer.tensor([True, True, True, False])
    for _ in range(3):
        same(g(x, fits, source), tracer.tensor([1.0, 0.0, 2.0, 0.0]))
    with pytest.raises(RuntimeError, match="same number of elements"):
        g(x, wide, source)
    same(g(x, fits, source), tracer.tensor([1.0, 0.0, 2.0, 0.0]))


def test_odd_arguments():
    g = tracer.trace(lambda x: x * 2 + x.sum())
    x = tracer.arange(12).float().reshape(3, 4)
    for y in (x, x.t(), x[:, 1:3], tracer.zeros(0, 3), tracer.tensor(2.0)) * 2:
        same(g(y), y * 2 + y.sum())


def test_traced_functions_inside_traced_functions():
    inner = tracer.trace(lambda x: x.exp())
    outer = tracer.trace(lambda x: inner(x) + inner(x * 2))
    for _ in range(3):
        x = tracer.randn(3)
        same(outer(x), x.exp() + (x * 2).exp())
    assert len(outer.graphs()) == 1 and not inner.graphs()


def test_threads():
    model = network()
    g = tracer.trace(lambda x: model(x).sum(1))
    wrong = []

    def work(k):
        for i in range(100):
            x = tracer.ones(2, 4) * (k + i % 7)
            if not np.allclose(g(x).detach().numpy(), model(x).sum(1).detach().numpy(), atol=1e-5):
                wrong.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_tracing_can_be_turned_off():
    calls = []
    g = tracer.trace(lambda x: (calls.append(1), x)[1])
    with tracer.eager():
        for _ in range(3):
            g(tracer.ones(1))
    assert len(calls) == 3 and not g.graphs()
    assert tracer.trace(g) is g
    with pytest.raises(TypeError, match="takes a function"):
        tracer.trace(3)
