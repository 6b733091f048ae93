"""Traced programs have the eager results: training steps, and derivatives from outside."""

import copy

import numpy as np
import pytest
from twice import batch, both, leaf, network, outcome, same, vec

import tracer
from tracer import nn, optim
from tracer.nn import functional as F

# Training steps.

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_steps(name):
    def program(trace):
        model = network()
        optimizer = OPTIMIZERS[name](model.parameters())

        @trace
        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        losses = []
        for i in range(20):
            optimizer.param_groups[0]["lr"] *= 0.95
            losses.append(step(*batch(i)))
        state = [dict(s) for s in optimizer.state.values()]
        return losses, list(model.parameters()), [p.grad for p in model.parameters()], state

    both(program, graphs=1)


ZEROING = {
    "never": lambda model, optimizer: None,
    "to none": lambda model, optimizer: optimizer.zero_grad(),
    "to zero": lambda model, optimizer: optimizer.zero_grad(set_to_none=False),
    "by the model": lambda model, optimizer: model.zero_grad(),
}


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("zeroing", ZEROING)
def test_gradients_are_zeroed_inside_or_outside(zeroing, outside):
    def program(trace):
        model = nn.Linear(4, 3)
        optimizer = optim.SGD(model.parameters(), lr=0.01)

        @trace
        def step(x, y):
            if not outside:
                ZEROING[zeroing](model, optimizer)
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        seen = []
        for i in range(8):
            if outside and i % 2:
                ZEROING[zeroing](model, optimizer)
            step(*batch(i))
            seen.append([p.grad.clone() for p in model.parameters()])
        return seen, list(model.parameters())

    both(program)


def test_accumulation_over_small_batches():
    def program(trace):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        accumulate = trace(lambda x, y: (F.cross_entropy(model(x), y) / 4).backward())
        update = trace(lambda: (optimizer.step(), optimizer.zero_grad())[0])
        for i in range(16):
            accumulate(*batch(i))
            if i % 4 == 3:
                update()
        return list(model.parameters()), [p.grad for p in model.parameters()]

    both(program)


def test_an_integer_learning_rate_may_change():
    def program(trace):
        p = leaf()
        optimizer = optim.SGD([p], lr=1)

        @trace
        def step(x):
            optimizer.zero_grad()
            (p * x).sum().backward()
            optimizer.step()

        seen = []
        for lr in (1, 1, 1, 2, 3, 0.5, 0.25, 4, 5, np.float64(0.125), np.float64(2)):
            optimizer.param_groups[0]["lr"] = lr
            step(vec())
            seen.append(p.detach().clone())
        return seen

    both(program)


def test_a_learning_rate_read_by_the_function_itself():
    def program(trace):
        p = leaf()
        optimizer = optim.SGD([p], lr=0.5)
        f = trace(lambda x: x * optimizer.param_groups[0]["lr"])
        results = []
        for i in range(6):
            optimizer.param_groups[0]["lr"] = 0.5 + i
            results.append(f(vec()))
        return results

    both(program)


def test_an_optimizer_of_the_user():
    class Plain(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def _update_group(self, group, params):
            for p in params:
                p.sub_(p.grad * group["lr"])

    def program(trace):
        p = leaf()
        optimizer = Plain([p], 0.5)

        @trace
        def step(x):
            optimizer.zero_grad()
            (p * x).sum().backward()
            optimizer.step()

        seen = []
        for i in range(6):
            optimizer.param_groups[0]["lr"] = 0.5 + i
            step(vec())
            seen.append(p.detach().clone())
        return seen

    both(program)


OPTIMIZER_CHANGES = {
    "momentum": lambda o, p, q: o.param_groups[0].update(momentum=0.5),
    "momentum merged": lambda o, p, q: o.param_groups[0].__ior__({"momentum": 0.5}),
    "decay": lambda o, p, q: o.param_groups[0].__setitem__("weight_decay", 0.5),
    "state cleared": lambda o, p, q: o.state.clear(),
    "state popped": lambda o, p, q: o.state.pop(p),
    "buffer replaced": lambda o, p, q: o.state[p].update(momentum_buffer=tracer.ones(3) * 9),
    "buffer changed": lambda o, p, q: o.state[p]["momentum_buffer"].zero_(),
    "loaded": lambda o, p, q: o.load_state_dict(o.state_dict()),
    "group added": lambda o, p, q: o.add_param_group({"params": [q], "lr": 0.3}),
    "parameter appended": lambda o, p, q: o.param_groups[0]["params"].append(q),
    "parameter removed": lambda o, p, q: o.param_groups[0]["params"].clear(),
    "groups replaced": lambda o, p, q: o.param_groups.clear(),
    "frozen": lambda o, p, q: p.requires_grad_(False),
    "gradient taken": lambda o, p, q: setattr(p, "grad", None),
    "gradient given": lambda o, p, q: setattr(p, "grad", tracer.ones(3)),
}


@pytest.mark.parametrize("change", OPTIMIZER_CHANGES)
def test_an_optimizer_is_changed_between_steps(change):
    def program(trace):
        p, q = leaf(), leaf(2)
        optimizer = optim.SGD([p], lr=0.1, momentum=0.9)

        @trace
        def step(x):
            (p * x * q).sum().backward()
            optimizer.step()

        seen = []
        for i in range(10):
            if i == 6:
                OPTIMIZER_CHANGES[change](optimizer, p, q)
            step(vec(i))
            seen.append((p.detach().clone(), q.detach().clone(), None if p.grad is None else p.grad.clone()))
        return seen

    both(program)


def test_gradients_kept_by_the_caller():
    def program(trace):
        p, kept = leaf(), []

        @trace
        def step(x):
            p.grad = None
            (p * x).sum().backward()

        for i in range(20):
            step(vec(i))
            kept.append((p.grad, p.grad.detach(), p.grad.numpy()))
        return kept

    both(program, graphs=1)


def test_an_accumulated_gradient_stays_the_same_tensor():
    def program(trace):
        p, same_object = leaf(), []
        step = trace(lambda x: (p * x).sum().backward())
        step(vec())
        kept = p.grad
        for i in range(5):
            step(vec(i))
            same_object.append(kept is p.grad)
        return kept, same_object

    both(program)


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


def test_parameters_reached_through_a_module():
    def program(trace):
        model = network()
        f = trace(lambda x: model(x))
        for i in range(4):
            x, y = batch(i)
            F.cross_entropy(f(x), y).backward()
        return [p.grad for p in model.parameters()]

    both(program, graphs=1)


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


def test_gradients_enabled_inside_a_block_without():
    def program(trace):
        @trace
        def f(x):
            with tracer.enable_grad():
                return (x * x).sum()

        results = []
        for k in range(3):
            x = leaf(k)
            with tracer.no_grad():
                y = f(x)
            y.backward()
            results += [y.detach(), x.grad]
        return results

    both(program)


def test_requires_grad_set_inside():
    def program(trace):
        @trace
        def f(x):
            x.requires_grad_()
            (x * x).sum().backward()

        results = []
        for k in range(4):
            x = vec(k)
            f(x)
            results += [x, x.grad]
        return results

    both(program)


def test_a_leaf_made_inside():
    def program(trace):
        f = trace(lambda x: (tracer.zeros(3, requires_grad=True), (x * 2).detach().requires_grad_()))
        results = []
        for k in range(4):
            u, v = f(vec(k))
            (u * v * v).sum().backward()
            results += [u, u.grad, v, v.grad]
        return results

    both(program)


def test_a_leaf_and_what_was_computed_from_one_are_not_alike():
    def program(trace):
        backward = trace(lambda x: (x * x).sum().backward())
        look = trace(lambda x: x * 2 if x.is_leaf else x * 3)
        results = []
        for k in range(6):
            p = leaf(k)
            x = p * 2 if k % 2 else p
            backward(x)
            results += [p.grad, look(x).detach()]
        return results

    both(program)


def test_a_parameter_and_a_tensor_are_not_alike():
    def program(trace):
        f = trace(lambda x: x * 2 if isinstance(x, nn.Parameter) else x * 3)
        return [f(nn.Parameter(vec()) if k % 2 else leaf()) for k in range(4)]

    both(program)


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


def test_a_learning_rate_that_the_function_sets_is_the_one_it_reads():
    def program(trace):
        w, steps, found = leaf(), [0], []
        optimizer = optim.SGD([w], lr=0.1)

        @trace
        def step(x):
            steps[0] += 1
            optimizer.param_groups[0]["lr"] = 0.1 * min(1.0, steps[0] / 4)
            optimizer.zero_grad()
            (w * x).square().sum().backward()
            optimizer.step()
            return optimizer.param_groups[0]["lr"]

        for k in range(6):
            found += [step(vec(k) / 9), w.detach().clone()]
            if k == 3:
                optimizer.param_groups[0]["lr"] = 7.0
        return found

    both(program)


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


def test_copies_of_models_with_gradients():
    """The first order of meta-learning: steps of a copy, then a step toward it."""

    def program(trace):
        model, data = nn.Linear(4, 2), tracer.arange(20.0).reshape(5, 4) / 20
        with tracer.no_grad():
            for p in model.parameters():
                p.copy_(tracer.arange(p.numel()).reshape(p.shape) / 10)
        model(data).sum().backward()

        @trace
        def step(x):
            fast = copy.deepcopy(model)
            optimizer = optim.SGD(fast.parameters(), lr=0.1)
            for _ in range(2):
                optimizer.zero_grad()
                fast(x).pow(2).mean().backward()
                optimizer.step()
            with tracer.no_grad():
                for p, q in zip(model.parameters(), fast.parameters(), strict=True):
                    p.add_(q - p, alpha=0.1)

        for _ in range(5):
            step(data)
        return step, [p.detach() for p in model.parameters()]

    (traced, given), (_, expected) = program(tracer.trace), program(lambda f: f)
    assert all(map(tracer.allclose, given, expected))
    assert traced.cache_info().replays >= 3 and not traced.eager_reasons
