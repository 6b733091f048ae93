"""Traced programs have the eager results: training steps, and leaves made inside."""

import copy

import numpy as np
import pytest
from twice import batch, both, leaf, network, vec

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

        def _tracer_update_group(self, group, params):
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


def test_parameters_reached_through_a_module():
    def program(trace):
        model = network()
        f = trace(lambda x: model(x))
        for i in range(4):
            x, y = batch(i)
            F.cross_entropy(f(x), y).backward()
        return [p.grad for p in model.parameters()]

    both(program, graphs=1)


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
