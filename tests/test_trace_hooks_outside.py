"""Hooks that a traced function registers, and that a backward pass outside calls: they are those of eager code.

Each program is run eagerly and traced, several times, and everything that it leaves behind is compared after each call:
results, gradients, what hooks were called with, how often, and in which order. A replay runs no Python of the function.
"""

import hook_programs
import numpy as np
import pytest
from hook_programs import PROGRAMS, Later
from hooked import LOG, RUNS

import tracer
from tracer import autograd, nn, trace


def tensors(x):
    if isinstance(x, tracer.Tensor):
        return [x]
    return [t for item in x for t in tensors(item)] if isinstance(x, (list, tuple)) else []


def backward(w, x, out):
    sum(y.sum() for y in out).backward()
    return [w.grad, *(y.grad for y in out if y.retains_grad)]


def by_grad(w, x, out):
    return autograd.grad([y.sum() for y in out], [w])


def several_passes(w, x, out):
    total = sum(y.sum() for y in out)
    for k in (True, True, False):
        total.backward(retain_graph=k)
        LOG.append("pass")
    return [w.grad, *(y.grad for y in out if y.retains_grad)]


def twice(w, x, out):
    (g,) = autograd.grad(sum(y.square().sum() for y in out), [w], create_graph=True)
    return [g, *(autograd.grad(g.exp().sum(), [w]) if g.requires_grad else [])]


def one_result(w, x, out):
    return autograd.grad(out[0].sum(), [w], retain_graph=True, allow_unused=True)


def no_pass(w, x, out):
    return []


def plain(x):
    if isinstance(x, tracer.Tensor):
        return x.detach().numpy().copy(), x.requires_grad
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(item) for item in x]
    if callable(x) and getattr(x, "__name__", "") == "<lambda>":
        return plain(x())
    if isinstance(x, (nn.Module, Later)):
        return type(x).__name__
    return plain(vars(x)) if hasattr(x, "__dict__") else x


def run(wrap, program, differentiate):
    LOG.clear()
    hook_programs.TOTAL = 0
    RUNS[0] = 0
    made = program()
    f, state = made if isinstance(made, tuple) else (made, [])

    def counted(w, x):
        RUNS[0] += 1
        return f(w, x)

    g = wrap(f)
    found = []
    for n in range(8):
        rng = np.random.default_rng(n % 4)
        w = tracer.from_numpy(rng.uniform(0.2, 1, 3)).requires_grad_()
        x = tracer.from_numpy(rng.uniform(0.2, 1, 3))
        out = g(w, x)
        parts = out if isinstance(out, tuple) else (out,)
        for part in parts:
            if isinstance(part, Later):
                part.before()
        followed = [t for t in tensors(parts) if t.requires_grad]
        found.append([(t.requires_grad, t.is_leaf, t.retains_grad) for t in tensors(parts)])
        try:
            found.append(plain(list(differentiate(w, x, followed))))
        except RuntimeError as e:
            found.append(str(e)[:60])
        found.append(plain([parts, LOG, state]))
        LOG.clear()
    return found, g


def compare(a, b):
    assert type(a) is type(b), f"{a} and {b}"
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b), f"{a} and {b}"
        for x, y in zip(a, b, strict=True):
            compare(x, y)
    elif isinstance(a, np.ndarray):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)
    elif isinstance(a, float):
        assert abs(a - b) <= 1e-9 * max(1, abs(a))
    else:
        assert a == b


@pytest.mark.parametrize("differentiate", [backward, by_grad, several_passes, twice, one_result, no_pass])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_hooks_are_called_as_by_eager_code(program, differentiate):
    want, _ = run(lambda f: f, program, differentiate)
    got, traced = run(trace, program, differentiate)
    compare(want, got)
    info = traced.cache_info()
    assert info.replays >= 3 and info.eager == 0, traced.explain()
