"""Backward passes inside traced functions: hooks and callers may treat gradients as in eager runs."""

import numpy as np
import pytest

import tracer
from tracer import autograd, trace
from tracer.nn import functional as F


class Twice(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 + x * 0


def a_hook_replaces(w, x):
    w.grad = None
    y = (x @ w).tanh()
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    return w.grad.clone()


def a_hook_changes_its_argument(w, x):
    w.grad = None
    y = w * 1.0
    y.register_hook(lambda g: None if g.mul_(2) is g else g)
    y.exp().sum().backward()
    return w.grad * 1


def one_cotangent_for_two(w, x):
    a, b = w * 1.0, w * 2.0
    ga, gb = autograd.grad((a + b).sum(), [a, b])
    ga.mul_(3)
    return ga, gb


def a_cotangent_and_views_of_it(w, x):
    v, u = w.reshape(-1), w.t()
    gv, gu, gw = autograd.grad((v * v).sum() + u.sum(), [v, u, w])
    gv.mul_(2)
    return gv, gu, gw


def of_what_is_no_leaf(w, x):
    h = x @ w
    gh, gw = autograd.grad((h.relu() ** 2).sum(), [h, w])
    gh.add_(1)
    return gh, gw


def a_given_cotangent_changes_afterwards(w, x):
    g = tracer.ones(4, 3)
    w.grad = None
    (x @ w).backward(g)
    g.mul_(5)
    return w.grad * 1, g


def through_a_function_of_ones_own(w, x):
    w.grad = None
    Twice.apply(x @ w).exp().mean().backward()
    return w.grad * 1


def differentiated_again(w, x):
    (g,) = autograd.grad((x @ w).sin().sum(), [w], create_graph=True)
    (h,) = autograd.grad((g * g).sum(), [w])
    return g.detach(), h


def accumulated(w, x):
    w.grad = None
    w.sum().backward()
    w.grad.add_(1)
    (w * 1).sum().backward()
    return w.grad * 1


def retained(w, x):
    y = x @ w
    y.retain_grad()
    w.grad = None
    (y * y).sum().backward()
    y.grad.mul_(2)
    return y.grad * 1, w.grad * 1


def after_a_change_in_place(w, x):
    y = w * x[:3, :3].sum()
    y[0].mul_(2)
    return autograd.grad((y**3).sum(), [w])[0]


def of_complex_numbers(w, x):
    c = tracer.complex(w, w * 2)
    return autograd.grad((c * c.conj()).real.sum(), [w])[0]


def of_many_kinds(w, x):
    y = tracer.where(w > 0, w, 2.0 * w) * 3.0 / (w.abs() + 1.0)
    s = y.max() + y.min() + y.std() + y.softmax(0).prod() + F.cross_entropy(w, tracer.tensor([0, 1, 2]))
    return autograd.grad(s, [w])[0]


FUNCTIONS = [f for f in list(globals().values()) if callable(f) and getattr(f, "__module__", "") == __name__ and f is not Twice]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_gradients_made_inside_are_those_of_an_eager_run(function):
    runs = []
    for f in (function, tracer.trace(function)):
        rng = np.random.default_rng(0)
        w = tracer.from_numpy(rng.standard_normal((3, 3)).astype(np.float32)).requires_grad_()
        x = tracer.from_numpy(rng.standard_normal((4, 3)).astype(np.float32))
        found = []
        for _ in range(4):
            out = f(w, x)
            found += [t.detach().numpy().copy() for t in (out if isinstance(out, tuple) else (out,))]
            found.append(np.zeros(0) if w.grad is None else w.grad.numpy().copy())
            with tracer.no_grad():
                w.add_(0.1)
        runs.append(found)
    assert "eager" not in f.explain()
    for traced, eager in zip(runs[1], runs[0], strict=True):
        np.testing.assert_allclose(traced, eager, rtol=1e-4, atol=1e-5)


def test_what_no_grad_made_is_a_constant_after_a_change_in_place():
    def f(a):
        with tracer.no_grad():
            made = tracer.cat([a * 2, a])
        made[:1] = (a * 2).sum()
        return made

    traced = tracer.trace(f)
    for _ in range(3):
        a = tracer.tensor([1.0, 2.0], requires_grad=True)
        (traced(a) * tracer.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
        assert a.grad.tolist() == [2.0, 2.0]


def _rows(x, z):
    y = x.clone()
    y[0], y[1] = z[0], z[1]
    return y


def _whole(x, z):
    y = x.clone()
    y[:] = z
    return y


# x is overwritten completely, but its gradient is 0 and not None, as in eager code.
OVERWRITTEN = {
    "rows": _rows,
    "whole": _whole,
    "copy_": lambda x, z: x.clone().copy_(z),
    "zero_": lambda x, z: (x * 2).zero_() + z,
    "fill_": lambda x, z: (x * 2).fill_(3.0) + z,
    "uniform_": lambda x, z: (x * 2).uniform_() + z,
    "slice_scatter": lambda x, z: x.slice_scatter(z),
    "index_put": lambda x, z: x.index_put((tracer.tensor([0, 1]),), z),
    "masked_fill": lambda x, z: x.masked_fill(tracer.ones(2, dtype=tracer.bool), 0.0) + z,
    "floor": lambda x, z: x.floor() + z,
    "power": lambda x, z: x**0 + z,
    "detached": lambda x, z: x.detach() + z,
    "new": lambda x, z: x.new_zeros(2) + z,
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", OVERWRITTEN)
def test_gradients_of_what_was_overwritten_are_eager_modes(name, inside):
    def f(x, z):
        loss = OVERWRITTEN[name](x, z).sum()
        if inside:
            loss.backward()
        return loss

    traced = tracer.trace(f)
    found = []
    for g in (f, traced, traced, traced):
        x, z = (tracer.ones(2, requires_grad=True) for _ in range(2))
        loss = g(x, z)
        if not inside:
            loss.backward()
        found.append([None if t.grad is None else t.grad.tolist() for t in (x, z)])
    assert found[1:] == found[:1] * 3


PASSES = {
    "sum of operands": lambda x, y: x + y,
    "a number times": lambda x, y: x * 2,
    "a constant times": lambda x, y: x * tracer.full((2, 3), 2.0),
    "a mean over an axis": lambda x, y: x.mean(1) - x.std(),
    "moved": lambda x, y: x.T.reshape(-1),
    "sums": lambda x, y: x.sum(0) - x.mean(),
    "product": lambda x, y: x * y,
    "square": lambda x, y: x.square(),
    "one of two saves": lambda x, y: (x + 1, y.square()),
    "through both": lambda x, y: x + y.square(),
}


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("chained", [False, True])
def test_a_graph_without_saved_values_is_walked_again(name, chained):
    """Only graphs whose gradients need values are freed."""

    def run(wrap):
        f = wrap(PASSES[name])
        found = []
        for _ in range(5):
            x, y = (tracer.ones(2, 3, requires_grad=True) for _ in range(2))
            out = f(x, y)
            outs = out if isinstance(out, tuple) else (out,)
            if chained:
                outs = tuple(o * 3 for o in outs)
            for o in outs:
                for _ in range(2):
                    try:
                        o.sum().backward()
                    except RuntimeError as e:
                        found.append(str(e)[:50])
            found.append([None if t.grad is None else t.grad.tolist() for t in (x, y)])
        return found

    assert run(trace) == run(lambda f: f)


def test_results_are_differentiated_one_after_another():
    """Each has its own part of the graph, as in eager code: only what a pass has read is freed."""

    def run(wrap):
        f = wrap(lambda x, y: (x * y, x.square(), y + 1, (x * y).sum() * y))
        found = []
        for n in range(6):
            x, y = tracer.tensor([1.0, 2.0], requires_grad=True), tracer.tensor([3.0, 4.0], requires_grad=True)
            outs = f(x, y)
            for k in [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 0), (2, 2, 3, 3), (1, 1), (0, 3, 1)][n]:
                try:
                    outs[k].sum().backward()
                except RuntimeError as e:
                    found.append(str(e)[:50])
            found.append([None if t.grad is None else t.grad.tolist() for t in (x, y)])
        return found

    assert run(trace) == run(lambda f: f)


@pytest.mark.parametrize("changed", ["operand", "input", "nothing"])
def test_parts_of_a_graph_after_a_change_in_place(changed):
    def run(wrap):
        f = wrap(lambda a, b: (a + b, a.square() * 2, b * 3 + a))
        found = []
        for n in range(6):
            w = tracer.tensor([1.0, 2.0], requires_grad=True)
            a, b = w * 1, tracer.tensor([3.0, 4.0])
            outs = f(a, b)
            if changed != "nothing":
                (b if changed == "operand" else a).add_(1)
            for k in [(0, 0, 1), (1, 0, 2), (2, 2, 1), (0, 1), (1,), (2, 0, 1)][n]:
                try:
                    outs[k].sum().backward()
                except RuntimeError as e:
                    found.append(str(e)[:50])
            found.append(None if w.grad is None else w.grad.tolist())
        return found

    assert run(trace) == run(lambda f: f)


def test_a_pass_that_goes_on_outside_has_one_reason():
    """Nodes made before the call saved results that the recording does not know: that is no failure of the compiler."""

    def run(wrap):
        w, kept, found = tracer.ones(3, requires_grad=True), [], []

        def finish():
            total = tracer.stack([y * 2 for y in kept]).sum()
            total.backward()
            del kept[:]
            return total.item()

        finish = wrap(finish)
        for n in range(5):
            kept += [(w * n).exp().sum().sigmoid(), (w + n).softmax(0)[1]]
            found += [finish(), w.grad.tolist()]
        return found, finish

    expected, _ = run(lambda f: f)
    with pytest.warns(tracer.TraceWarning, match="goes on in a graph made outside") as told:
        found, finish = run(trace)
    assert found == expected
    assert len(told) == 1
    assert "failed" not in finish.explain()
