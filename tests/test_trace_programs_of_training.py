"""Realistic training: stored weights, schedules by metrics, L-BFGS."""

import copy
import math
import random

import pytest
from gallery.harness import compare

import tracer
import tracer.nn.functional as F
from tracer import nn, optim


def batches(n):
    return [(tracer.randn(6, 4), tracer.randint(0, 3, (6,))) for _ in range(n)]


def training(make_step, optimizer=optim.SGD, lr=0.3, n=12, more=tuple):
    """Training steps: ``make_step`` returns the code after the optimizer's step; ``more`` other arguments."""

    def make(wrap):
        model = nn.Linear(4, 3)
        opt = optimizer(model.parameters(), lr=lr)
        after = make_step(model, opt)

        @wrap
        def step(x, y, *more):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if more:
                after(loss, *more)
            opt.step()
            return loss.item(), None if more else after(loss)

        return step, [(*batch, *more()) for batch in batches(n)]

    return make


def kept(copied):
    """Stores the result of ``copied`` for the best model, in a dictionary."""

    def make(model, opt):
        best = {"loss": math.inf, "kept": None}

        def after(loss):
            if loss.item() < best["loss"]:
                best["loss"], best["kept"] = loss.item(), copied(model, opt)
            return best["loss"]

        return after

    return make


KEPT = {
    "deep copy": lambda model, opt: copy.deepcopy(model.state_dict()),
    "of the optimizer": lambda model, opt: (copy.deepcopy(model.state_dict()), copy.deepcopy(opt.state_dict())),
    "clones": lambda model, opt: {k: v.clone() for k, v in model.state_dict().items()},
    "detached clones": lambda model, opt: {k: p.detach().clone() for k, p in model.named_parameters()},
    "list of copies": lambda model, opt: [copy.deepcopy(p.data) for p in model.parameters()],
    "one parameter": lambda model, opt: copy.deepcopy(model.weight.detach()),
}


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("name", KEPT)
def test_the_best_weights(name, optimizer):
    cost = compare(training(kept(KEPT[name]), optimizer, lr=0.1), order=0, name=name)
    assert cost.runs <= 6 and "eager" not in cost.explained, cost.explained


def test_weights_that_are_taken_back():
    class Stopping:
        def __init__(self, model):
            self.model, self.best, self.bad, self.weights = model, math.inf, 0, copy.deepcopy(model.state_dict())

        def __call__(self, loss):
            if loss < self.best - 1e-3:
                self.best, self.bad, self.weights = loss.item(), 0, copy.deepcopy(self.model.state_dict())
                return False
            self.bad += 1
            if self.bad < 2:
                return False
            self.model.load_state_dict(self.weights)
            self.bad = 0
            return True

    cost = compare(training(lambda model, opt: Stopping(model), optim.Adam, n=20), order=0)
    assert cost.runs <= 8 and "eager" not in cost.explained, cost.explained


def test_copies_of_leaves():
    def make(wrap):
        w = tracer.randn(3, requires_grad=True)

        @wrap
        def step(x):
            (w * x).sum().backward()
            first, second = copy.deepcopy(w), copy.deepcopy([w, w])
            w.grad = None
            (first * x * x).sum().backward()
            return first.grad, second, x

        return step, [(tracer.randn(3),) for _ in range(6)]

    cost = compare(make, order=0)
    assert cost.runs <= 2, cost.explained


def test_a_copy_is_the_value_of_then():
    def make(wrap):
        def step(x):
            before = copy.deepcopy(x)
            x.mul_(2)
            return before, copy.deepcopy(x), before * x

        return wrap(step), [(tracer.randn(3),) for _ in range(6)]

    cost = compare(make)
    assert cost.runs <= 2, cost.explained


@pytest.mark.parametrize("metric", [lambda loss: loss.item(), lambda loss: loss.detach(), lambda loss: float(loss)])
def test_a_schedule_by_a_metric(metric):
    def make(model, opt):
        scheduler = optim.lr_scheduler.ReduceLROnPlateau(opt, patience=1)
        return lambda loss: (scheduler.step(metric(loss)), opt.param_groups[0]["lr"])[1]

    cost = compare(training(make, n=14), order=0)
    assert cost.runs <= 8, cost.explained


def test_clipping_by_numbers_that_change():
    def make(model, opt):
        def after(loss, limit):
            nn.utils.clip_grad_value_(model.parameters(), limit)
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=loss.item())

        return after

    cost = compare(training(make, more=lambda: (random.random() / 5,)), order=0)
    assert cost.runs <= 2, cost.explained


# L-BFGS.


def lbfgs(closure_gives=lambda loss: loss, n=8, dtype=tracer.float64, scheduled=False, **options):
    def make(wrap):
        w, b = tracer.zeros(3, dtype=dtype, requires_grad=True), tracer.zeros(1, dtype=dtype, requires_grad=True)
        x = tracer.randn(10, 3, dtype=dtype)
        y = x @ tracer.tensor([1.0, -2.0, 0.5], dtype=dtype) + 0.3
        optimizer = optim.LBFGS([w, b], **options)
        losses = []

        @wrap
        def step():
            def closure():
                optimizer.zero_grad()
                loss = ((x @ w + b - y) ** 2).mean() + 0.1 * (w**4).sum()
                loss.backward()
                return closure_gives(loss)

            first = optimizer.step(closure)
            losses.append(first.item() if isinstance(first, tracer.Tensor) else first)
            return w.detach().clone()

        def call(lr):
            if scheduled:
                optimizer.param_groups[0]["lr"] = lr
            return step()

        return call, [(0.5 + k / 50,) for k in range(n)]

    return make


LBFGS = {
    "plain": ({"max_iter": 3, "history_size": 3, "lr": 0.5}, 6),
    "single precision": ({"max_iter": 2, "history_size": 2, "lr": 0.5, "dtype": tracer.float32, "n": 6}, 6),
    "closure of numbers": ({"max_iter": 3, "history_size": 2, "lr": 0.5, "closure_gives": lambda loss: loss.item()}, 6),
    "rates that change": ({"max_iter": 3, "history_size": 2, "scheduled": True}, 7),
    "to the end": ({"max_iter": 4, "history_size": 3, "lr": 1.0, "n": 12}, 12),
    "line search": ({"max_iter": 3, "history_size": 2, "line_search_fn": "strong_wolfe"}, 8),
}


@pytest.mark.parametrize("name", LBFGS)
def test_lbfgs(name):
    options, runs = LBFGS[name]
    cost = compare(lbfgs(**options), order=0, name=name)
    assert cost.runs <= runs and "eager" not in cost.explained, cost.explained


def test_lbfgs_whose_closure_looks_at_the_loss():
    def looks(loss):
        return loss * 1.0 if loss > 0.4 else loss + 0.0

    cost = compare(lbfgs(looks, n=12, max_iter=2, history_size=2, lr=0.3), order=0)
    assert cost.runs < 12, cost.explained
