"""Traced programs have the eager results: derivatives, inside and from outside."""

import pytest
from twice import batch, both, leaf, outcome, same, vec

import tracer
from tracer import nn, optim
from tracer.nn import functional as F


def test_a_gradient_penalty():
    def program(trace):
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        @trace
        def step(x):
            optimizer.zero_grad()
            x = x.detach().clone().requires_grad_()
            y = model(x).sum()
            (g,) = tracer.autograd.grad(y, x, create_graph=True)
            loss = ((g * g).sum(1) - 1).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return [step(batch(i)[0]) for i in range(6)], list(model.parameters())

    both(program, graphs=1)


# Differentiated from outside.


def test_derivatives_to_order_three():
    def program(trace):
        f = trace(lambda x, w: ((x * w).tanh().sum(), (x * x * w).exp()))
        results = []
        for i in range(4):
            x, w = leaf(i * 0.1), leaf(0.3)
            u, v = f(x * 0.2, w)
            first = tracer.autograd.grad(u * v.sum(), (x, w), create_graph=True)
            second = tracer.autograd.grad((first[0] * first[1]).sum(), (x, w), create_graph=True)
            third = tracer.autograd.grad(second[0].sum() + second[1].sum(), (x, w))
            results.append([t.detach() for t in (u, v, *first, *second, *third)])
        return results

    both(program, graphs=1)


def test_one_output_of_two_and_one_output_twice():
    def program(trace):
        f = trace(lambda x: (x.sin(), x.exp(), x.detach() * 2))
        results = []
        for k in range(3):
            x = leaf(k)
            u, v, w = f(x)
            results.append(tracer.autograd.grad(v.sum(), x))
            u, v, w = f(x)
            (u * u + u * w).sum().backward()
            results += [x.grad, w]
        return results

    both(program, graphs=1)


def test_a_parameter_that_a_result_does_not_depend_on_gets_no_gradient():
    def program(trace):
        p, q = leaf(), leaf(2)
        f = trace(lambda x: (p * x, q * x, x * 2))
        results = []
        for k in range(4):
            p.grad = q.grad = None
            f(vec(k))[0].sum().backward()
            results += [p.grad, q.grad]
            results.append(outcome(tracer.autograd.grad, f(vec(k))[1].sum(), (p, q)))
            results.append(tracer.autograd.grad(f(vec(k))[1].sum(), (p, q), allow_unused=True))
        return results

    both(program)


def test_a_parameter_that_is_only_read_detached_gets_no_gradient():
    def program(trace):
        p, q = leaf(), leaf(2)
        f = trace(lambda x: p * x + q.detach())
        for k in range(4):
            f(vec(k)).sum().backward()
        return p.grad, q.grad

    both(program)


def test_a_graph_is_walked_twice_only_if_retained():
    def program(trace):
        f = trace(lambda x: x.exp().sum())
        results = []
        for _ in range(3):
            x = leaf()
            y = f(x)
            y.backward(retain_graph=True)
            y.backward()
            results += [x.grad, outcome(y.backward)]
        return results

    both(program, graphs=1)


def test_a_graph_retained_inside_is_walked_outside():
    def program(trace):
        p = leaf()

        @trace
        def f(x):
            y = (p * x).exp().sum()
            y.backward(retain_graph=True)
            return y

        for k in range(4):
            f(vec(0.1 * k)).backward()
        return p.grad

    both(program)


def test_an_input_that_gradients_do_not_need_may_change_before_backward():
    def program(trace):
        f = trace(lambda h, w: (h * 2 + w).tanh().sum())
        w = leaf(0.1)
        for k in range(3):
            h = vec(0.1 * k)
            y = f(h, w)
            h.add_(1)
            y.backward()
        return w.grad

    both(program)


def test_a_saved_result_changed_by_the_caller_is_no_silent_error():
    f = tracer.trace(lambda x: x.exp())
    for _ in range(3):
        x = leaf(0.1)
        y = f(x)
        with tracer.no_grad():
            y.mul_(5)
        try:
            y.sum().backward()
        except RuntimeError as e:
            assert "modified by an inplace operation" in str(e)
        else:
            same(x.grad, x.detach().exp())


# User code that a backward pass outside would call.


class _Seven(tracer.autograd.Function):
    """Rounds; its gradient is 7 everywhere, unlike any derivative of its forward."""

    @staticmethod
    def forward(ctx, x):
        return tracer.round(x)

    @staticmethod
    def backward(ctx, g):
        return g * 7


def _hooked(x):
    y = x * 2
    y.register_hook(lambda g: g * 7)
    return y.sum()


@pytest.mark.parametrize("function", [lambda x: _Seven.apply(x * 2).sum(), _hooked], ids=["function", "hook"])
def test_functions_and_hooks_of_ones_own_are_called_by_a_backward_pass_outside(function):
    """Both are part of replays."""
    f = tracer.trace(function)
    for _ in range(3):
        x = tracer.tensor([0.3, 1.2], requires_grad=True)
        f(x).backward()
        assert x.grad.tolist() == [14, 14]
    assert f.cache_info().replays == 2, f.explain()


def test_a_function_of_ones_own_inside_a_traced_step_is_replayed():
    @tracer.trace
    def step(x):
        (g,) = tracer.autograd.grad(_Seven.apply(x * 2).sum(), x)
        return g

    for _ in range(3):
        assert step(tracer.tensor([0.3, 1.2], requires_grad=True)).tolist() == [14, 14]
    assert len(step.graphs()) == 1


DRAWS = {
    "dropout": lambda x: F.dropout(x, 0.5) * x,
    "noise": lambda x: (x * tracer.rand(3)).sin() * tracer.randn(3),
    "a decision": lambda x: F.dropout(x.sin() if x.sum() > 0 else x, 0.5) * x * x,
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_are_differentiated_twice_from_outside(name):
    def program(trace):
        f, found = trace(DRAWS[name]), []
        for _ in range(4):
            x = leaf()
            y = f(x)
            tracer.rand(2)  # the generator advances
            (g,) = tracer.autograd.grad(y.sum(), x, create_graph=True)
            tracer.rand(2)
            found += [g, *tracer.autograd.grad(g.square().sum(), x)]
        return found

    both(program)


def test_values_written_into_views_are_followed_where_a_value_is_looked_at():
    def program(trace):
        @trace
        def f(x):
            y, z = x * 2, x * 3
            y.view(-1)[:2].zero_()
            z[0].mul_(x[1])
            return y, z, x.mean().item()

        found = []
        for k in range(3):
            x = leaf(k)
            y, z, _ = f(x)
            (y.sum() + z.sin().sum()).backward()
            found += [y, z, x.grad]
        return found

    both(program)


def test_second_derivatives_of_one_result_know_nothing_of_the_others():
    def program(trace):
        @trace
        def f(x, y):
            return x.sin(), x * y.exp()

        found = []
        for k in range(3):
            x, y = leaf(k), leaf(k + 1)
            a, _ = f(x, y)
            first = tracer.autograd.grad(a.sum(), (x, y), create_graph=True, allow_unused=True)
            found += [first, tracer.autograd.grad(first[0].square().sum(), (x, y), allow_unused=True)]
        return found

    both(program, graphs=1)


def test_second_derivatives_read_what_the_function_has_changed_since():
    def program(trace):
        w = leaf(2)

        @trace
        def f(x):
            y = (x * 2 * w).sin()
            x.mul_(0.5).tanh_()
            return y

        found = []
        for k in range(3):
            x = vec(k)
            (g,) = tracer.autograd.grad(f(x).sum(), w, create_graph=True)
            found += [x, g, *tracer.autograd.grad(g.square().sum(), w)]
        return found

    both(program, graphs=1)


def test_second_derivatives_of_a_segment_know_what_was_in_memory_that_its_path_changes():
    def program(trace):
        store, found = vec(1), []

        @trace
        def f(x):
            last = x.mean().item()
            store[0] = last
            return (x + store) / (x * x + 1)

        for k in range(4):
            x = leaf(k)
            (g,) = tracer.autograd.grad(f(x).sum(), x, create_graph=True)
            found += [g, *tracer.autograd.grad(g.square().sum(), x)]
        return found

    both(program)
