"""Programs run with and without the decorator, and helpers for such programs."""

import collections
import warnings

import numpy as np

import tracer
from tracer import nn
from tracer.core.context import context

Pair = collections.namedtuple("Pair", "a b")


def same(a, b, path="result"):
    """Equal up to rounding, in type, dtype, shape and position in the graph; structures item by item."""
    if isinstance(a, tracer.Tensor):
        assert isinstance(b, tracer.Tensor), f"{path}: {a!r} and {b!r}"
        traits = [(t.dtype, t.shape, t.requires_grad, t.is_leaf) for t in (a, b)]
        assert traits[0] == traits[1], path
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=2e-5, atol=1e-6, err_msg=path)
        return
    assert type(a) is type(b), f"{path}: {a!r} and {b!r}"
    if isinstance(a, dict):
        same(list(a), list(b), f"{path} keys")
        a, b = list(a.values()), list(b.values())
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{path}[{i}]")
    elif isinstance(a, (float, np.ndarray)):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6, err_msg=path)
    else:
        assert a == b, path


def both(program, graphs=None):
    """Runs a program with and without the decorator. ``graphs``: the total number of graphs that its traced functions
    record.
    """
    made = []

    def trace(f):
        made.append(tracer.trace(f))
        return made[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        tracer.manual_seed(0)
        eager = program(lambda f: f)
        tracer.manual_seed(0)
        traced = program(trace)
    same(eager, traced)
    assert context.recorder is None
    if graphs is not None:
        assert sum(len(f.graphs()) for f in made) == graphs, "\n".join(f.explain() for f in made)
    return made


def outcome(f, *args):
    """The result, or the type of the exception and the first words of its message."""
    try:
        return f(*args)
    except Exception as e:
        return type(e), str(e)[:20]


def vec(k=1.0, n=3):
    return tracer.arange(n).float() + k


def leaf(k=1.0, n=3):
    return vec(k, n).requires_grad_()


def network():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def batch(i):
    g = tracer.Generator(i)
    return tracer.randn(5, 4, generator=g), tracer.tensor([0, 1, 2, 1, i % 3])


def tried(program, calls=7):
    """Runs a program with and without the decorator, call by call; the traced functions.

    ``program(trace)`` returns the function to call with the call's number, and one that returns the observable state.
    """
    made = []

    def trace(f):
        made.append(tracer.trace(f))
        return made[-1]

    sides = []
    for decorate in (lambda f: f, trace):
        tracer.manual_seed(0)
        call, seen = program(decorate)
        sides.append([(outcome(call, i), snapshot(seen())) for i in range(calls)])
    same(*sides)
    assert context.recorder is None
    return made


def snapshot(x):
    """A copy of the current state: later in-place changes do not affect it."""
    if isinstance(x, tracer.Tensor):
        return x.detach().clone(), x.requires_grad, x.grad_fn is None
    if isinstance(x, dict):
        return [(snapshot(k), snapshot(v)) for k, v in x.items()]
    if isinstance(x, (list, tuple, collections.deque)):
        return [type(x).__name__, *map(snapshot, x)]
    if isinstance(x, set):
        return sorted(x, key=repr)
    return x


def table():
    """A table of programs by name, and the decorator that registers one."""
    programs = {}

    def case(f):
        programs[f.__name__] = f
        return f

    return programs, case
