"""Assignments to ``.data`` inside traced functions, and results that share memory with internal tensors."""

import linecache

import numpy as np
import pytest

import tracer
from tracer import nn, optim


def step_of_gradient_descent(p, q, x):
    (p * x).square().sum().backward()
    p.data = p.data - 0.01 * p.grad
    p.grad = None
    return (p * x).detach()


def average_of_parameters(p, q, x):
    with tracer.no_grad():
        q.data = 0.9 * q.data + 0.1 * p.data
        p.add_(x.mean() * 0.1)
    return (q * x).sum().detach()


def assigned_twice(p, q, x):
    p.data = p.data + x
    y = (p * 2).detach()
    p.data = p.data * 0.5
    return y, (p + 0).detach()


def changed_after_it(p, q, x):
    p.data = p.data + x
    with tracer.no_grad():
        p.mul_(0.5)
        p[0] = 1
    p.data.add_(1)
    return (p * x).detach()


def changed_before_it(p, q, x):
    with tracer.no_grad():
        p.add_(x)
        p.data = p * 2
        p.sub_(1)
    return (p * x).detach()


def restored(p, q, x):
    old = p.data.clone()
    with tracer.no_grad():
        p.add_(x)
    y = (p * x).detach()
    p.data = old
    return y


def written_under_two_names(p, q, x):
    new = p.data.clone()
    p.data = new
    with tracer.no_grad():
        p.mul_(0.5)
        new[1:] += x[1:]
    return (p * x).detach(), new * 2


def memory_that_is_returned(p, q, x):
    new = p.detach() * 0.5 + x
    p.data = new
    return new


def memory_of_another_tensor(p, q, x):
    p.data = q.data
    return (p * x).detach()


def an_argument(p, q, x):
    x.data = x.data * 2
    return x.sum()


def along_a_path(p, q, x):
    loss = (p * x).sum()
    if loss > 1:
        p.data = p.data - 0.1 * x
    else:
        p.data = p.data + 0.1 * x.abs()
    return loss.item()


def of_what_it_made(p, q, x):
    delta = tracer.zeros(3, requires_grad=True)
    for _ in range(3):
        ((p.detach() + delta) * x).exp().sum().backward()
        delta.data = (delta.data + 0.1 * delta.grad.sign()).clamp(-0.2, 0.2)
        delta.grad.zero_()
    return delta.detach()


def a_leaf_with_its_gradient(p, q, x):
    w = tracer.ones(3, requires_grad=True)
    (w * x).sum().backward()
    return w


def fitted(p, q, x):
    w = tracer.zeros(3, requires_grad=True)
    optimizer = optim.Adam([w], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (w - x).square().sum().backward()
        optimizer.step()
    return w.detach()


def detached_of_a_hooked(p, q, x):
    y = p * x
    y.register_hook(lambda g: g * 2)
    (y * y).sum().backward()
    g, p.grad = p.grad, None
    return y.detach(), y.detach().reshape(3, 1), g


def detached_and_shown(p, q, x):
    y = (x * 2).exp()
    return y.detach(), y


def a_parameter_of_its_own(p, q, x):
    w = nn.Parameter(tracer.empty(3, dtype=x.dtype))
    nn.init.constant_(w, 0.5)
    (w * x).square().sum().backward()
    return w.grad, w.detach()


def a_model_of_its_own(p, q, x):
    model = nn.Linear(3, 2, dtype=x.dtype)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.25)
    for _ in range(3):
        optimizer.zero_grad()
        (model(x) - 1).square().sum().backward()
        optimizer.step()
    return tuple(parameter.detach() for parameter in model.parameters())


def a_buffer_of_its_own(p, q, x):
    b = nn.Buffer(x * 2)
    b.add_(1)
    return b * x


def a_parameter_changes(p, q, x):
    w = x * 1
    parameter = nn.Parameter(w, requires_grad=False)
    parameter.add_(1)
    return w * 2


def the_data_of_a_parameter_changes(p, q, x):
    w = x * 1
    parameter = nn.Parameter(w)
    w.mul_(3)
    return (parameter * x).detach()


def the_data_of_a_variable_changes(p, q, x):
    w = x * 1
    v = tracer.autograd.Variable(w)
    w[1:] = 0.5
    v.mul_(2)
    return v * x, v.sum()


def a_tensor_of_a_class_changes(p, q, x):
    w = x * 1
    t = tracer.Tensor._make_subclass(tracer.Tensor, w)
    t[0] = 7
    w.add_(1)
    return w * x, t + 0


# Run eagerly, because the assigned memory has two names; and forbidden effects on it.


def a_parameter_of_an_argument(p, q, x):
    w = nn.Parameter(x, requires_grad=False)
    w.mul_(2)
    return w + 0


def a_parameter_beside_its_data(p, q, x):
    w = x * 2
    return w, nn.Parameter(w, requires_grad=False)


def changed_with_two_names(p, q, x):
    p.data = q.data
    with tracer.no_grad():
        q.add_(1)
    return (p * x).detach()


def a_part(p, q, x):
    big = tracer.cat([p.detach(), x])
    p.data = big[:3]
    return (p + big.sum()).detach(), big


def an_old_view_changes(p, q, x):
    old = p.data
    p.data = p.data + x
    old.add_(1)
    return (p * x).detach(), old.clone()


def a_new_view_is_returned(p, q, x):
    p.data = p.data + x
    return p.data


def one_for_two(p, q, x):
    new = p.detach() + x
    p.data = new
    q.data = new
    return (p + q).detach()


COMPILED = [
    step_of_gradient_descent,
    average_of_parameters,
    assigned_twice,
    changed_after_it,
    changed_before_it,
    restored,
    written_under_two_names,
    memory_that_is_returned,
    an_argument,
    along_a_path,
    of_what_it_made,
    a_leaf_with_its_gradient,
    fitted,
    detached_of_a_hooked,
    detached_and_shown,
    a_parameter_of_its_own,
    a_model_of_its_own,
    a_buffer_of_its_own,
    a_parameter_changes,
    the_data_of_a_variable_changes,
    a_tensor_of_a_class_changes,
]
NOT_COMPILED = [
    memory_of_another_tensor,
    changed_with_two_names,
    a_part,
    an_old_view_changes,
    a_new_view_is_returned,
    one_for_two,
    a_parameter_of_an_argument,
    a_parameter_beside_its_data,
    the_data_of_a_parameter_changes,
]


def run(f, p, q, function):
    found = []
    for n in range(6):
        rng = np.random.default_rng(n % 4)
        before, version = p.data, p._version
        x = tracer.from_numpy(rng.uniform(-1, 1, 3).astype(np.float32))
        out = function(p, q, x)
        out = out if isinstance(out, tuple) else (out,)
        found += [t.detach().numpy().copy() if isinstance(t, tracer.Tensor) else np.array(t) for t in out]
        found += [t.detach().numpy().copy() for t in (p, q, x, before)]
        found += [np.zeros(0) if t.grad is None else t.grad.numpy().copy() for t in (*filter(is_leaf, out), p)]
        tensors = [t.detach().numpy() for t in (*filter(lambda t: isinstance(t, tracer.Tensor), out), p, q, before)]
        found.append(np.array([np.may_share_memory(a, b) for a in tensors for b in tensors]))
        found.append(np.array([p._version - version, p.requires_grad, p.is_leaf]))
        if f in NOT_COMPILED:
            p.data, q.data = p.data.clone(), q.data.clone()
    return found


def is_leaf(t):
    return isinstance(t, tracer.Tensor) and t.is_leaf


@pytest.mark.parametrize("f", [*COMPILED, *NOT_COMPILED], ids=lambda f: f.__name__)
def test_it_leaves_what_an_eager_run_leaves(f):
    runs = []
    for function in (f, tracer.trace(f)):
        p, q = (nn.Parameter(tracer.tensor(v)) for v in ([1.0, 2.0, 3.0], [0.5, -1.0, 2.0]))
        runs.append(run(f, p, q, function))
    assert ("eager" in function.explain()) is (f in NOT_COMPILED), function.explain()
    if f not in NOT_COMPILED:
        assert function.cache_info().replays > 0
    for eager, traced in zip(*runs, strict=True):
        np.testing.assert_allclose(traced, eager, rtol=1e-5, atol=1e-6)


def test_an_assignment_counts_as_one_before_a_backward_pass():
    """Another traced function assigns between a compiled call and its backward pass."""
    p = nn.Parameter(tracer.tensor([1.0, 2.0]))
    forward = tracer.trace(lambda x: ((p * x) * p).sum())

    @tracer.trace
    def scale(k):
        p.data = p.data * k

    for n in range(4):
        p.grad, p.data = None, tracer.tensor([1.0, 2.0])
        y = forward(tracer.tensor([3.0, 1.0]))
        scale(tracer.tensor(2.0))
        y.backward()
        assert p.grad.tolist() == [3 + 6, 2 + 4], n
    assert "eager" not in scale.explain()


class SharpnessAware(optim.Optimizer):
    """Steps with the gradient at the worst point nearby (P. Foret and others, Sharpness-aware minimization, 2021)."""

    def __init__(self, params, base, rho=0.05, **settings):
        super().__init__(params, {"rho": rho, **settings})
        self.base = base(self.param_groups, **settings)
        self.param_groups = self.base.param_groups

    @tracer.no_grad()
    def climb(self):
        for group in self.param_groups:
            scale = group["rho"] / (sum(p.grad.square().sum() for p in group["params"]).sqrt() + 1e-12)
            for p in group["params"]:
                self.state[p]["old"] = p.data.clone()
                p.add_(p.grad * scale)
        self.zero_grad()

    @tracer.no_grad()
    def descend(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old"]
        self.base.step()
        self.zero_grad()


def test_a_step_that_goes_back_to_the_parameters_before():
    losses = []
    for wrap in (lambda f: f, tracer.trace):
        tracer.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
        optimizer = SharpnessAware(model.parameters(), optim.SGD, lr=0.1, momentum=0.9)

        @wrap
        def step(x, y):
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.climb()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.descend()
            return loss.detach()

        rng = np.random.default_rng(1)
        losses.append([step(*(tracer.tensor(rng.standard_normal((6, n))) for n in (4, 2))).item() for _ in range(12)])
        losses[-1] += [p.sum().item() for p in model.parameters()]
    assert step.cache_info().replays > 6
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)


NAMES = ["p", "q", "s['x']"]


def random_program(r):
    """Text of a function that changes three tensors in place, assigns to their ``.data``, and reads them and a view."""
    lines = []
    for _ in range(r.integers(2, 7)):
        t, u = r.choice(NAMES, 2)
        data = u if u == NAMES[2] else f"{u}.data"
        lines.append(
            r.choice(
                [
                    f"{t}.add_(x)",
                    f"{t}.mul_(2)",
                    f"{t}.copy_(x * 3)",
                    f"{t}[1:].sub_(x[1:])",
                    f"{t}.data = {data}.clone()",
                    f"{t}.data = {data} * 0.5 + x",
                    f"{t}.data = {data}",
                    f"s['x'] = {r.choice(NAMES[:2])}.data.clone()",
                    f"y = y + {u}.detach() * {r.integers(2, 5)}",
                    "y = y + a.sum()",
                ]
            )
        )
    body = "".join(f"        {line}\n" for line in lines)
    return (
        f"def f(x):\n    with tracer.no_grad():\n        y = x * 1\n{body}    return y + p.detach() * 10 + q.detach() * 100\n"
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed):
    r = np.random.default_rng(seed)
    text, chances = random_program(r), r.random(8)
    file = f"<assignments {seed}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    outcomes = []
    for wrap in (lambda f: f, tracer.trace):
        p, q = (nn.Parameter(tracer.tensor(v, dtype=tracer.float64)) for v in ([1.0, 2.0, 3.0, 4.0], [0.5] * 4))
        space = {"tracer": tracer, "p": p, "q": q, "s": {"x": tracer.full((4,), 7.0, dtype=tracer.float64)}, "a": p.detach()}
        exec(compile(text, file, "exec"), space)
        function = wrap(space["f"])
        found = []
        for call, chance in enumerate(chances):
            y = function(tracer.full((4,), 0.25 * (call + 1), dtype=tracer.float64))
            found += [t.detach().numpy().copy() for t in (y, p, q, space["s"]["x"], space["a"])]
            if chance < 0.15:
                space["a"] = p.detach()
            elif chance > 0.9:
                p.data = p.data.clone()
        outcomes.append(found)
    for eager, traced in zip(*outcomes, strict=True):
        np.testing.assert_allclose(traced, eager, rtol=1e-9, err_msg=text)
