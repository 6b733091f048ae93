"""Hooks in traced functions run, and are compiled if the backward pass is inside."""

import functools

import numpy as np
import pytest

import tracer
from tracer import nn, optim, trace
from tracer.utils.checkpoint import checkpoint


def vec(*values, grad=False):
    return tracer.tensor(values or (1.0, 2.0, 3.0), requires_grad=grad)


class Square(tracer.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.more = [x]
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 20 * x * g


def network():
    tracer.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))


def hook_on_a_result():
    def f(x):
        y = x * 2
        y.register_hook(lambda g: g * 10)
        (y * y).sum().backward()
        return x.grad

    return f, []


def hook_on_parameters():
    m = network()
    optimizer = optim.SGD(m.parameters(), lr=0.1)
    for p in m.parameters():
        p.register_hook(lambda g: g.clamp(-1, 1))

    def f(x):
        optimizer.zero_grad()
        loss = m(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    return f, list(m.parameters())


def hook_registered_inside():
    m = nn.Linear(3, 2)

    def f(x):
        m.zero_grad()
        handle = m.weight.register_hook(lambda g: g * 3)
        m(x).sum().backward()
        handle.remove()
        return m.weight.grad.clone()

    return f, []


def optimizers_in_the_backward_pass():
    m = network()
    optimizers = {p: optim.Adam([p], lr=0.1) for p in m.parameters()}

    def step(p):
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in m.parameters():
        p.register_post_accumulate_grad_hook(step)

    def f(x):
        loss = m(x).square().sum()
        loss.backward()
        return loss

    return f, list(m.parameters())


def gradients_halved_once_added():
    w, seen = vec(grad=True), [0]

    def hook(p):
        p.grad.mul_(0.5)
        seen[0] += 1

    w.register_post_accumulate_grad_hook(hook)

    def f(x):
        (x * w).sum().backward()
        (x * w * w).sum().backward()
        return w.grad.clone()

    return f, [w, seen]


def hooks_of_modules():
    m = network()
    m[0].register_forward_hook(lambda module, args, out: out * 2)
    m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    m[0].register_full_backward_hook(lambda module, g, _: tuple(None if x is None else x * 2 for x in g))
    m[2].register_full_backward_pre_hook(lambda module, g: tuple(x * 3 for x in g))

    def f(x):
        m.zero_grad()
        m(x).sum().backward()
        return [p.grad.clone() for p in m.parameters()]

    return f, []


def retained_gradients():
    def f(x):
        y = x * 2
        y.retain_grad()
        (y * y).sum().backward()
        return y.grad

    return f, []


def checkpoints(reentrant):
    tracer.manual_seed(0)
    m = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))

    def f(x):
        m.zero_grad()
        loss = checkpoint(m, x, use_reentrant=reentrant).square().sum()
        loss.backward()
        return loss, [p.grad.clone() for p in m.parameters()]

    return f, []


def function_of_the_users_own():
    def f(x):
        Square.apply(x.sin()).sum().backward()
        return x.grad

    return f, []


PROGRAMS = [
    hook_on_a_result,
    hook_on_parameters,
    hook_registered_inside,
    optimizers_in_the_backward_pass,
    gradients_halved_once_added,
    hooks_of_modules,
    retained_gradients,
    functools.partial(checkpoints, False),
    functools.partial(checkpoints, True),
    function_of_the_users_own,
]


def flat(x):
    if isinstance(x, (list, tuple)):
        return [y for item in x for y in flat(item)]
    return [x.detach().numpy() if isinstance(x, tracer.Tensor) else np.asarray(x)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_hooks_inside_are_compiled(program):
    seen = []
    for wrap in (lambda f: f, trace):
        function, state = program()
        f = wrap(function)
        tracer.manual_seed(1)
        results = [f(vec(1.0, float(i % 3), 2.0, grad=True)) for i in range(6)]
        gradients = [t.grad for t in state if isinstance(t, tracer.Tensor) and t.grad is not None]
        seen.append(flat([results, state, gradients]))
    for a, b in zip(*seen, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert f.cache_info().replays >= 3, f.explain()


def test_hooks_that_come_and_go():
    w = vec(grad=True)
    f = trace(lambda x: (x * w).sum().backward())

    def hook(p):
        p.grad.mul_(2)

    for i in range(12):
        if i == 3:
            handle = w.register_post_accumulate_grad_hook(hook)
        if i == 6:
            handle.remove()
            handle = w.register_hook(lambda g: g * 5)
        if i == 9:
            handle.remove()
        w.grad = None
        f(vec(1.0, float(i), 2.0))
        factor = 2 if 3 <= i < 6 else 5 if 6 <= i < 9 else 1
        assert w.grad.tolist() == [factor, factor * i, factor * 2]
