"""What is computed from elements that a mask selects, and what is written there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twice import both, same

import tracer
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph


def program_of(f, *args):
    """The compiled graph of a function whose path is one program."""
    traced = tracer.trace(f)
    for _ in range(3):
        traced(*args)
    (tree,) = traced._all_traces()
    return pipeline.run(tree.joins._join(tree.only_leaf()).function.recorded, pipeline.COMPILE)


def searches(graph):
    bodies = [op.attrs["body"].ops if op.primitive.name == "fusion" else [op] for op in graph.ops]
    return [
        op.primitive.name for ops in bodies for op in ops if op.primitive.name in ("flat_nonzero", "index_select", "index_add")
    ]


X = np.random.default_rng(0).normal(size=(12, 5))
NAMES = {"tracer": tracer, "inf": np.inf}

# Programs of x, a matrix, in which all that is selected is computed elementwise, and written back or reduced.
DENSE = """
y = x * 1; y[x > 0] = x[x > 0] ** 2 + 1; y
y = x * 1; m = x > 0; y[m] = (x[m].exp() - 1) * y[m]; y[m] += 2; y
x[x > 0].sum()
x[x > 0].mean(), x[x > 0].amax(), x[x > 0].amin()
((x[x > 0] - 1) ** 2).sum() / 3
m = x[:, 0] > 0; y = x * 1; y[m] = y[m] * 2; y
m = x[:, 0] > 0; x[m].sum(0), x[m].sum()
m = x[:, 0] > 0; y = x * 1; y[m] = x[0]; y
m = x > 0; x[m].abs().sum() + x[m].sum() + (x[m] * x[m]).sum()
m = x[0] > 0; y = x * 1; y[:, m] = x[:, m] * 3; y
y = x * 1; y[x > 0] = 1 / x[x > 0]; y
(x[x > 0] > 1).sum()
k = (x * 10).long(); k[k > 3].sum(), k[k > 3].amax(), k[k > 3].amin()
z = x + 1j; y = z * 1; y[x > 0] = z[x > 0] ** 2; y
""".strip().splitlines()

# Some elements are read in their order.
ORDERED = """
y = x * 1; y[x > 0] = x[x < 0][:1].expand(int((x > 0).sum())) * x[x > 0]; y
x[x > 0]
m = x[:, 0] > 0; x[m][:, None].sum()
x[x > 0].sort()[0].sum()
x[x > 0].cumsum(0).sum()
y = x * 1; n = int((x > 0).sum()); y[x > 0] = tracer.arange(n, dtype=x.dtype); y
m = x > 0; a = x[m]; y = x * 1; y[m] = a.flip(0); y
m = x > 0; (x[m] * tracer.arange(len(x[m]), dtype=x.dtype)).sum()
m = x > 0; n = x > -9; y = x * 1; y[m] = x[m]; (x[m] * 2).sum() + x[n].sum()
x[x > 9].sum(), x[x > -9].sum()
y = x * 1; y[x > 9] = x[x > 9] * 2; y
x[x > 0].prod(), x[x > 0].argmax(), x[x > 0].std()
k = (x * 10).long(); y = k * 1; y[k > 3] = 100 // k[k > 3]; y
""".strip().splitlines()


def function(text):
    *before, last = text.split("; ")
    lines = [f"    {line}" for line in before] + [f"    return {last}"]
    names = dict(NAMES)
    exec("\n".join(["def f(x):", *lines]), names)
    return names["f"]


@pytest.mark.parametrize("text", DENSE)
def test_nothing_is_searched(text):
    f, x = function(text), tracer.tensor(X)
    assert searches(program_of(f, x)) == []


@pytest.mark.parametrize("text", DENSE + ORDERED)
def test_results_and_gradients(text):
    f = function(text)
    rng = np.random.default_rng(1)
    values = [
        X,
        X,
        X,
        X,
        X,
        X * (1 + 1e-9),
        X,
        -X,
        X,
        rng.normal(size=X.shape),
        np.where(X > 0, np.nan, X),
        np.zeros_like(X),
        X,
    ]

    def program(trace):
        g = trace(f)

        def sloped(x):
            out = f(x)
            outs = [t for t in (out if isinstance(out, tuple) else (out,)) if t.requires_grad]
            total = sum((t.real if t.is_complex() else t).sum() for t in outs)
            return tracer.autograd.grad(total, x) if outs else None

        h = trace(sloped)
        found = []
        for value in values:
            for function in (g, h):
                x = tracer.tensor(value).requires_grad_(function is h)
                try:
                    found.append(function(x))
                except (IndexError, RuntimeError, ZeroDivisionError) as e:
                    found.append(str(e).split("\n")[0])
        return [None if t is None else t for t in found]

    with np.errstate(all="ignore"):
        both(program)


def test_positions_that_only_resemble_ranks():
    """They are clamped by another condition, or counted from the end."""
    text = """func @f(%x: f64[6], %y: f64[6], %c: bool[6]) -> f64[6] {
  %z: f64[6] = full {value=0, shape=(6), dtype="f64"}
  %m: bool[6] = gt %x, %z
  %p: i64[3] = flat_nonzero %m {count=3}
  %s: f64[3] = index_select %x, %p {axis=0}
  %i: i64[6] = cast %m {dtype="i64"}
  %k: i64[6] = cumsum %i {axis=0, reverse=REVERSE}
  %o: i64[6] = full {value=1, shape=(6), dtype="i64"}
  %r: i64[6] = sub %k, %o
  %n: i64[6] = full {value=0, shape=(6), dtype="i64"}
  %w: i64[6] = where CONDITION, %n, %r
  %l: bool[6] = lt %w, %n
  %q: i64[6] = where %l, %n, %w
  %v: f64[6] = index_select %s, %q {axis=0}
  %a: f64[6] = where %m, %v, %y
  return %a
}
"""
    x, y, c = np.array([1.0, -1, 2, -2, 3, -3]), np.zeros(6), np.array([0, 0, 0, 0, 1, 0], bool)
    for reverse, condition in (("False", "%c"), ("True", "%c"), ("True", "%m")):
        graph = parse_graph(text.replace("REVERSE", reverse).replace("CONDITION", condition))
        after = pipeline.run(graph, pipeline.COMPILE)
        np.testing.assert_array_equal(evaluate(after, x, y, c)[0], evaluate(graph, x, y, c)[0])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**20), st.integers(1, 4), st.sampled_from(["f32", "f64", "i64"]))
def test_random_selections(seed, steps, kind):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 6, rng.integers(1, 4)))
    dtype = {"f32": np.float32, "f64": np.float64, "i64": np.int64}[kind]
    value = (rng.normal(size=shape) * 4).astype(dtype)
    plan = [(rng.integers(0, 5), rng.integers(0, len(shape)), int(rng.integers(-3, 3))) for _ in range(steps)]

    def f(x):
        y, total = x * 1, 0
        for step, axis, bound in plan:
            m = x > bound if step < 3 else x.select(axis, 0) > bound if len(shape) == 1 else x.flatten(1).sum(1) > bound
            if step == 0:
                y[m] = x[m] + y[m] * 2
            elif step == 1:
                total = total + (x[m] - bound).sum()
            elif step == 2:
                y[m] = -1
            elif step == 3 and m.ndim:
                y[m] = y[m] - x[m]
            elif m.ndim:
                total = total + y[m].sum()
        return y, total

    traced = tracer.trace(f)
    for scale in (1, 1, 1, 1, 1, 1, -1, 1):
        x = tracer.tensor((value * scale).astype(dtype))
        same(f(x), traced(x))
