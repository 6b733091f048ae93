"""Equal iterations of long graphs are compiled once: results, what is divided, and what is not."""

import numpy as np
import pytest

import tracer
from tracer.ir import iterations, pipeline, validate
from tracer.ir.interp import evaluate
from tracer.ir.ops import fusion
from tracer.ir.verify import verify
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

N = 24  # iterations


@pytest.fixture(autouse=True)
def _short_graphs(monkeypatch):
    """Graphs of a few hundred operations count as long."""
    for name, value in {"_LONG": 60, "_BLOCK": 16, "_SAVED": 40, "_WINDOW": 4, "_APART": 3}.items():
        monkeypatch.setattr(iterations, name, value)


def drift(u, c):
    for _ in range(N):
        u = u + c * (u.roll(1) - u) * 0.1
    return u


def read(u, c):
    """Each iteration reads another row."""
    rows = c.reshape(N, -1)
    for t in range(N):
        u = (u * 0.5 + rows[t].sum()).tanh()
    return u


def written(u, c):
    """Each iteration writes another row of a result."""
    rows = tracer.zeros(N, *u.shape, dtype=u.dtype)
    for t in range(N):
        u = (u * c).sin() + 0.25
        rows[t] = u
    return rows, u


def collected(u, c):
    found = []
    for _ in range(N):
        u = (u - c).cos() * 1.5
        found.append(u.sum())
    return tracer.stack(found), u


def numbers(u, c):
    """Each iteration has other numbers."""
    for t in range(N):
        u = u * 0.5 + c * (0.1 / (t + 1)) - (u * (0.02 * t)).sin()
    return u


def momentum(u, c):
    v = tracer.zeros_like(u)
    for t in range(1, N):
        v = v * 0.9 + (u - c) * 0.1
        u = u - v / (1 - 0.9**t)
    return u, v


def overwritten(u, c):
    """An array that each iteration overwrites before it reads it."""
    p = tracer.zeros(3, *u.shape, dtype=u.dtype)
    for _ in range(N):
        p[0] = u * 0.5
        p[1] = p[0] + c
        p[2] = (p[0] * p[1]).tanh()
        u = u + p[1] - p[2]
    return u


def in_place(u, c):
    a = u.clone()
    for _ in range(N):
        for i in range(1, 5):
            a[i] = (a[i - 1] + a[i + 1]) * 0.5 + c[i]
    return a


def given(u, c):
    """Writes into the memory of an argument."""
    for _ in range(N):
        u[1:] += 0.25 * (u[:-1] - c[1:])
        u.mul_(0.9)
    return u.sum()


def trained(u, c):
    w = u.detach().requires_grad_()
    h = c
    for _ in range(N):
        h = (h * w + 0.3).tanh()
    h.sum().backward()
    return w.grad, h.detach()


def rows_trained(u, c):
    """The gradients of what was read by iterations."""
    w = c.detach().requires_grad_()
    h = u
    for row in w.reshape(N, -1):
        h = (h + row.mean()).sin()
    h.sum().backward()
    return w.grad


def steps(u, c):
    """An optimizer's steps, each with a backward pass."""
    w = u.detach().requires_grad_()
    for _ in range(N):
        loss = ((w * c).tanh() - 0.5).square().sum()
        (g,) = tracer.autograd.grad(loss, [w])
        w = (w - 0.1 * g).detach().requires_grad_()
    return w.detach()


def two_loops(u, c):
    for _ in range(N):
        u = (u + c).tanh()
    v = u
    for _ in range(N):
        v = (v * c).sin() - u
    return u, v


def nested(u, c):
    for _ in range(N):
        for _ in range(4):
            u = (u * 0.5 + c).cos()
        u = u - u.mean()
    return u


def again(u, c):
    """The same results twice, an argument, a constant, and views of results."""
    v = u
    for _ in range(N):
        v = (v + c).tanh() * 0.5
    return v, v, u, tracer.ones(3), v.reshape(1, -1), v + 0, c[:2]


def products(u, c):
    w = c.reshape(N, -1)[: u.shape[0]] * 0.1
    for _ in range(N):
        u = (w.T @ (w @ u[: w.shape[1]])).tanh() + 0.1
        u = tracer.cat([u, u])[: w.shape[0]]
    return u


def reads_old(u, c):
    """An iteration reads what it overwrites later."""
    a, b = u.clone(), c[: u.shape[0]].clone()
    for _ in range(N):
        a[2:], b[1:] = b[:-2] * 0.5, a[:-1] + 0.25
    return a, b


def selected(u, c):
    for _ in range(N):
        u = tracer.where(u > 0.2, u * 0.7, u + c)
        u[u.argmax()] = 0.1
    return u


PROGRAMS = (
    drift,
    read,
    written,
    collected,
    numbers,
    momentum,
    overwritten,
    in_place,
    given,
    trained,
    rows_trained,
    steps,
    two_loops,
    nested,
    again,
    products,
    reads_old,
    selected,
)
WIDE = {read, rows_trained, products}  # programs whose second argument has N rows


def arguments(f, dtype):
    rng = np.random.default_rng(0)
    shape = (N * 8,) if f in WIDE else (8,)
    return [rng.uniform(0.1, 0.9, s).astype(dtype) for s in ((8,), shape)]


def recorded(f, *args):
    traced = tracer.trace(f)
    traced(*(tracer.tensor(a.copy()) for a in args))
    (graph,) = traced.graphs()
    return graph


def bodies(graph):
    return [op.attrs["body"] for op in graph.ops if op.primitive is fusion]


def check(graph, tolerance=1e-6):
    """The compiled graph, interpreted and run, agrees with the graph; returns it."""
    rng = np.random.default_rng(1)
    args = [rng.uniform(0.1, 0.9, v.shape).astype(v.dtype.numpy) for v in graph.inputs]
    expected = evaluate(graph, *[a.copy() for a in args])
    after = pipeline.compiled(graph, pipeline.COMPILE)
    verify(after)
    for got in (evaluate(after, *[a.copy() for a in args]), Program(lay_out(after))(*[a.copy() for a in args])):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    return after


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_results(f, dtype):
    graph = recorded(f, *arguments(f, dtype))
    after = check(graph, {"f4": 1e-4, "f8": 1e-11}[dtype])
    found = bodies(after)
    assert len({id(body) for body in found}) < len(found), "nothing was divided"
    counts = {body.name for body in found}
    assert len(counts) == len({id(body) for body in found}), "kernels share names"


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_replays(f):
    """Whole calls: results, changed arguments, and the same results in a second replay."""
    args = arguments(f, "f8")
    traced = tracer.trace(f)
    for _ in range(3):
        given_eager, given_traced = ([tracer.tensor(a.copy()) for a in args] for _ in range(2))
        expected, got = f(*given_eager), traced(*given_traced)
        expected, got = ((x if isinstance(x, tuple) else (x,)) for x in (expected, got))
        for a, b in zip([*expected, *given_eager], [*got, *given_traced], strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-10, atol=1e-10)


def test_results_that_outlive_a_replay_do_not_change():
    traced = tracer.trace(again)
    args = [tracer.tensor(a) for a in arguments(again, "f8")]
    traced(*args)
    first = traced(*args)
    copies = [x.clone() for x in first]
    traced(*(a * 2 for a in args))
    for x, y in zip(first, copies, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def statements(rng, count):
    """A random iteration on three arrays of rank 2, and the numbers of the arrays that it may write in parts."""
    lines = []
    for _ in range(count):
        i, j, k = rng.integers(0, 3, 3)
        lines.append(
            [
                f"s[{i}] = (s[{j}] * 0.5 + s[{k}]).sin()",
                f"s[{i}] = s[{j}].roll(1, 0) - s[{k}] * w",
                f"s[{i}] = s[{i}].clone(); s[{i}][1:, :2] = s[{j}][:-1, 1:3] * 0.5",
                f"s[{i}] = s[{i}].clone(); s[{i}][t % 4] = s[{j}][1] + 0.25",
                f"s[{i}] = (s[{j}] @ w).tanh()",
                f"s[{i}] = s[{j}] - s[{k}].mean(1, keepdim=True)",
                f"s[{i}] = s[{j}] * (1.0 / (t + 1)) + s[{k}] * 0.5",
                f"s[{i}] = (s[{j}] + rows[t]).cos()",
                f"out[t] = s[{i}][{k}]",
                f"s[{i}] = s[{j}].T.contiguous() * 0.5",
                f"total = total + s[{i}].amax()",
                f"s[{i}] = s[{j}].where(s[{k}] > 0, s[{i}])",
            ][rng.integers(0, 12)]
        )
    return lines


@pytest.mark.parametrize("seed", range(40))
def test_random_loops(seed):
    rng = np.random.default_rng(seed)
    lines = statements(rng, int(rng.integers(2, 7)))
    text = ["def f(a, b, w, rows):", "    s, total = [a, b, a + b], a.sum()", "    out = tracer.zeros(24, 4, dtype=a.dtype)"]
    text += ["    for t in range(24):", *(f"        {line}" for line in lines), "    return *s, total, out"]
    space = {"tracer": tracer}
    exec("\n".join(text), space)
    shapes = [(4, 4), (4, 4), (4, 4), (24, 4)]
    graph = recorded(space["f"], *[rng.uniform(0.1, 0.9, s) for s in shapes])
    check(graph, 1e-9)


def test_gradients_of_a_loop_from_outside():
    def f(u, c):
        for _ in range(N):
            u = (u * c + 0.1).tanh()
        return u.sum()

    traced = tracer.trace(f)
    for _ in range(3):
        found = []
        for function in (f, traced):
            u, c = (tracer.tensor(a, requires_grad=True) for a in arguments(f, "f8"))
            function(u, c).backward()
            found.append((u.grad.numpy(), c.grad.numpy()))
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)


def test_validation_sees_the_parts(monkeypatch):
    monkeypatch.setattr(validate, "ENABLED", True)
    seen = []
    monkeypatch.setattr(validate, "require", lambda graph, passes: seen.append(graph.name))
    pipeline.compiled(recorded(drift, *arguments(drift, "f4")), pipeline.COMPILE)
    assert any(name.endswith("_block") for name in seen)


def test_passes_see_a_block_once(monkeypatch):
    """The work for four times as many iterations is less than twice as much."""

    def longer(n):
        def f(u, c):
            for _ in range(n):
                u = u + c * (u.roll(1) - u) * 0.1
            return u

        return f

    work = []
    for n in (100, 400):
        graph = recorded(longer(n), *arguments(drift, "f4"))
        sizes = []
        run = pipeline.run
        monkeypatch.setattr(pipeline, "run", lambda g, p, **k: (len(p) > 1 and sizes.append(len(g.ops)), run(g, p, **k))[1])
        pipeline.compiled(graph, pipeline.COMPILE)
        monkeypatch.undo()
        work.append(sum(sizes))
        for name, value in {"_LONG": 60, "_BLOCK": 16, "_SAVED": 40, "_WINDOW": 4, "_APART": 3}.items():
            monkeypatch.setattr(iterations, name, value)
    assert work[1] < 2 * work[0]


def test_iterations_that_differ_are_not_divided():
    def triangle(u, c):
        a = u.clone()
        for i in range(1, 8):
            for j in range(i):
                a[i] = a[i] - (a[:j] * c[:j]).sum()
        return a

    graph = recorded(triangle, *arguments(triangle, "f8"))
    check(graph, 1e-10)
    assert iterations.divided(graph, lambda g: pipeline.run(g, pipeline.SIMPLIFY)) is None


@pytest.mark.parametrize("f", [read, written], ids=lambda f: f.__name__)
def test_large_values_that_would_exist_together_are_not_divided(f, monkeypatch):
    graph = recorded(f, *arguments(f, "f8"))
    simplify = lambda g: pipeline.run(g, pipeline.SIMPLIFY)
    assert iterations.divided(graph, simplify) is not None
    monkeypatch.setattr(iterations, "_PASSED", 64)
    assert iterations.divided(graph, simplify) is None


def test_short_graphs_are_not_divided(monkeypatch):
    monkeypatch.undo()
    graph = recorded(drift, *arguments(drift, "f4"))
    assert pipeline.compiled(graph, pipeline.COMPILE) == pipeline.run(graph, pipeline.COMPILE)
