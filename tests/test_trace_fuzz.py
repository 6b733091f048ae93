"""Random programs with changes in place, views, randomness and gradients: traced or not, they give the same."""

import warnings

import numpy as np
import pytest

import tracer
from tracer import optim
from tracer.context import context

pytestmark = pytest.mark.usefixtures("each_cpu")
SHAPE = (2, 3)

# What makes a new tensor of SHAPE from two, and a float of the run.
PURE = {
    "add": lambda v, u, k: v + u * k,
    "mul": lambda v, u, k: (v * u).tanh(),
    "sin": lambda v, u, k: v.sin() - u,
    "exp": lambda v, u, k: (-(v * v) * k).exp(),
    "div": lambda v, u, k: v / (u * u + 1),
    "matmul": lambda v, u, k: (v @ u.t()).tanh() @ v * 0.3,
    "softmax": lambda v, u, k: (v + u).softmax(1),
    "center": lambda v, u, k: v - u.mean(0),
    "scale": lambda v, u, k: v * u.sum(1, keepdim=True).tanh(),
    "total": lambda v, u, k: v * u.tanh().sum(),
    "where": lambda v, u, k: tracer.where(v > u, v, u * k),
    "relu": lambda v, u, k: v.relu() + u.abs() * 0.1,
    "max": lambda v, u, k: v - u.max(1, keepdim=True)[0],
    "shuffle": lambda v, u, k: v.t().reshape(2, 3),
    "flip": lambda v, u, k: v.flip(1) * u,
    "halves": lambda v, u, k: tracer.cat([v[:1], u[1:]], 0),
    "columns": lambda v, u, k: tracer.stack([v[:, 0], u[:, 2], v[:, 1]], 1),
    "pick": lambda v, u, k: v[:, tracer.tensor([2, 0, 0])],
    "row": lambda v, u, k: v[1] * u,
    "view": lambda v, u, k: v.reshape(6)[:6].reshape(2, 3),
    "detach": lambda v, u, k: v.detach() * k + u,
    "noise": lambda v, u, k: v + tracer.rand(2, 3, dtype=v.dtype),
    "drop": lambda v, u, k: v * (tracer.rand(2, 3) > 0.3),
    "double": lambda v, u, k: (v.double() * 0.5 + u.double()).to(v.dtype),
    "clone": lambda v, u, k: v.clone(),
    "number": lambda v, u, k: v * (k * 2 - 1) / (k + 3),
}

# What changes the first tensor in place; the second shares no memory with the first.
IN_PLACE = {
    "add": lambda v, u, k: v.add_(u),
    "tanh": lambda v, u, k: v.mul_(k).tanh_(),
    "copy": lambda v, u, k: v.copy_(u),
    "item": lambda v, u, k: v.__setitem__((1, 2), k),
    "row": lambda v, u, k: v.__setitem__(0, u[1]),
    "column": lambda v, u, k: v[:, 1].mul_(u[:, 2]),
    "strided": lambda v, u, k: v[:, ::2].sub_(k),
    "transposed": lambda v, u, k: v.t()[1].add_(u[:, 0]),
    "reshaped": lambda v, u, k: v.reshape(6)[2:5].copy_(u.reshape(6)[:3]),
    "rows": lambda v, u, k: [row.add_(k) for row in v],
    "itself": lambda v, u, k: v[0].add_(v[1]),
    "masked": lambda v, u, k: v.__setitem__(u > 0, 0.25),
    "data": lambda v, u, k: v.data.mul_(0.5),
}


def grow(rng, size):
    """A program: (kind, name, operand, operand), operands as positions among the tensors there are by then."""
    steps = []
    for n in range(size):
        kind = "in place" if rng.random() < 0.3 else "pure"
        table = IN_PLACE if kind == "in place" else PURE
        name = list(table)[rng.integers(len(table))]
        steps.append((kind, name, int(rng.integers(0, 6 + n)), int(rng.integers(0, 6 + n))))
    return tuple(steps)


def execute(steps, env, k):
    """Runs a program on the tensors in ``env`` and adds what it makes."""
    for kind, name, i, j in steps:
        v, u = env[i % len(env)], env[j % len(env)]
        if kind == "pure":
            env.append(PURE[name](v, u, k))
        elif j % 3 and not v.requires_grad:
            with tracer.no_grad():
                IN_PLACE[name](v, u.detach().clone(), k)
        elif v.requires_grad or not v.is_leaf:
            IN_PLACE[name](v, u.clone(), k)
    return env


class World:
    """Everything a program can touch, its traced function, and what is seen of it between calls."""

    def __init__(self, seed, trace):
        rng = self.rng = np.random.default_rng(seed)
        self.dtype = tracer.float32 if seed % 2 else tracer.float64
        self.steps = grow(rng, int(rng.integers(3, 14)))
        self.inside, self.adam, self.zeroes = rng.random() < 0.6, rng.random() < 0.3, rng.random() < 0.7
        tracer.manual_seed(seed)
        self.p, self.q = (self.new().requires_grad_() for _ in range(2))
        self.m = self.new()
        made = optim.Adam if self.adam else optim.SGD
        self.optimizer = made([self.p, self.q], lr=0.05, **({} if self.adam else {"momentum": 0.5}))
        self.function = trace(self.inner() if self.inside else self.outer())

    def new(self):
        return tracer.tensor(self.rng.uniform(-1, 1, SHAPE), dtype=self.dtype)

    def outer(self):
        steps, m, p, q = self.steps, self.m, self.p, self.q

        def f(a, b, c, k):
            env = execute(steps, [m, a, b, c, p * 1, q * 1], k)
            return {"last": env[-1] * 1, "some": [t * 1 for t in env[3::4]], "m": m.sum()}

        return f

    def inner(self):
        steps, m, p, q, optimizer, zeroes = self.steps, self.m, self.p, self.q, self.optimizer, self.zeroes

        def f(a, b, c, k):
            if zeroes:
                optimizer.zero_grad()
            env = execute(steps, [m, a, b, c, p * 1, q * 1], k)
            loss = (env[-1] * p).tanh().mean() + (env[-2] * q + env[len(env) // 2]).sin().mean()
            loss.backward()
            optimizer.step()
            return loss.detach(), env[-1].detach() * 2

        return f

    def arguments(self, kind):
        a, b, c = self.new(), self.new(), self.new()
        base = tracer.tensor(self.rng.uniform(-1, 1, (5, 3)), dtype=self.dtype)
        return {
            "apart": (a, b, c),
            "twice": (a, b, a),
            "transposed": (a, tracer.tensor(self.rng.uniform(-1, 1, (3, 2)), dtype=self.dtype).t(), c),
            "overlapping": (base[:2], base[1:3], base[3:]),
            "captured": (a, self.m, c),
            "view of captured": (self.m.reshape(2, 3), b, c),
        }[kind]

    def call(self, kind):
        args = self.arguments(kind)
        k = float(self.rng.uniform(0.5, 1.5))
        if self.rng.random() < 0.3:
            self.optimizer.param_groups[0]["lr"] *= 0.9
        if self.rng.random() < 0.2:
            self.m.mul_(0.5)
        if self.rng.random() < 0.1:
            self.p.data = self.new()
        try:
            result = self.function(*args, k)
            if not self.inside:
                tensors = [t for t in (result["last"], *result["some"]) if t.requires_grad]
                if tensors:
                    sum(t.sin().sum() for t in tensors).backward()
                result = [t.detach() for t in (result["last"], *result["some"], result["m"])]
        except RuntimeError as e:
            result = str(e)[:60]
        grads = [None if t.grad is None else t.grad.clone() for t in (self.p, self.q)]
        return result, [t.detach().clone() for t in (self.p, self.q, self.m, *args)], grads


def flat(x):
    return [y for item in x for y in flat(item)] if isinstance(x, (list, tuple)) else [x]


def check(seed, kinds):
    """Two runs of one world, call by call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        seen = []
        for trace in (lambda f: f, tracer.trace):
            world = World(seed, trace)
            seen.append([world.call(kind) for kind in kinds])
    for n, (eager, traced) in enumerate(zip(*seen, strict=True)):
        for a, b in zip(flat(eager), flat(traced), strict=True):
            assert type(a) is type(b), f"seed {seed}, call {n}: {a} and {b}"
            if not isinstance(a, tracer.Tensor):
                assert a == b, f"seed {seed}, call {n}"
                continue
            assert a.dtype is b.dtype and a.shape == b.shape
            tolerance = 1e-4 if a.dtype is tracer.float32 else 1e-8
            message = f"seed {seed}, call {n} ({kinds[n]}): {world.steps}"
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=tolerance, atol=tolerance, err_msg=message)
    assert context.recorder is None
    return world


def test_random_programs_replay():
    """Most of them; the rest run eagerly for a reason."""
    worlds = [check(seed, ["apart"] * 4) for seed in range(12)]
    assert sum(bool(w.function.graphs()) for w in worlds) >= 6


@pytest.mark.parametrize("seed", range(100, 116))
def test_random_programs_and_arguments_of_all_kinds(seed):
    kinds = ["apart", "twice", "transposed", "overlapping", "captured", "view of captured"]
    order = list(np.random.default_rng(seed).permutation(kinds * 2))
    check(seed, order)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_programs(block):
    for seed in range(1000 + 20 * block, 1020 + 20 * block):
        check(seed, ["apart", "apart", "transposed", "twice", "apart", "transposed", "twice"])


SMOOTH = (
    "add",
    "mul",
    "sin",
    "exp",
    "div",
    "matmul",
    "softmax",
    "center",
    "scale",
    "total",
    "shuffle",
    "flip",
    "halves",
    "columns",
)


def derivatives(f, x, y):
    """The value of a function, its gradients, and the gradients of a sum of their squares, all taken from outside."""
    value = f(x, y)
    first = tracer.autograd.grad((value * value).sum(), (x, y), create_graph=True, allow_unused=True)
    first = [g for g in first if g is not None]
    second = tracer.autograd.grad(sum((g.sin() * g).sum() for g in first), (x, y), allow_unused=True)
    return [value, *first, *(g for g in second if g is not None)]


@pytest.mark.parametrize("block", range(4))
def test_random_functions_are_differentiated_twice_from_outside(block):
    for seed in range(10 * block, 10 * block + 10):
        rng = np.random.default_rng(900 + seed)
        steps = [(rng.choice(SMOOTH), int(rng.integers(9)), int(rng.integers(9)), float(rng.uniform(0.5, 2))) for _ in range(6)]

        def f(x, y, steps=steps):
            values = [x, y]
            for name, i, j, k in steps:
                values.append(PURE[name](values[i % len(values)], values[j % len(values)], k))
            return values[-1] + values[-2]

        x, y = (tracer.tensor(rng.standard_normal(SHAPE), requires_grad=True) for _ in range(2))
        expected = derivatives(f, x, y)
        traced = tracer.trace(f)
        for _ in range(3):
            results = derivatives(traced, x, y)
        assert not traced.eager_reasons, traced.explain()
        for a, b in zip(results, expected, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-9, err_msg=str((seed, steps)))
