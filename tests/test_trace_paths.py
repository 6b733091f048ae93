"""Control flow on values: each path is compiled, and paths share common segments."""

import math
import warnings

import numpy as np
import pytest
from twice import both, leaf, outcome, vec

import tracer
import tracer.nn.functional as F
from tracer import nn


def newton(x):
    n = 0
    while True:
        f = x * x * x - 2 * x - 5
        if abs(f.item()) < 1e-9:
            return x, n
        x = x - f / (3 * x * x - 2)
        n += 1


def clipped(x):
    g = x * 2
    norm = g.norm()
    if norm > 4:
        g = g * (4 / norm)
    return g


def doubled(x):
    turns = 0
    while x.abs().sum() < 40:
        x = x * 2 + 1
        turns += 1
    return x, turns


def early(x):
    for k in range(6):
        x = x * 1.5
        if (x > 10).any():
            return x, k
    return x.sum(), -1


def recursive(x, depth=0):
    if depth == 5 or x.sum() > 30:
        return x * depth
    return recursive(x + x.sigmoid(), depth + 1)


def tried(x):
    try:
        if x.sum() < 0:
            raise ValueError("negative")
        return x.sqrt()
    except ValueError:
        return x.abs()


def generated(x):
    def halves(y):
        while y.sum() > 1:
            y = y / 2
            yield y

    return sum(halves(x)) + x


def chosen(x):
    return [y * 2 for y in x if y > 1], [k for k, y in enumerate(x) if y.item() < 2]


def numbers(x):
    a, b = x.sum().item(), x.max().item()
    return x * (a / 2 + b), a, [b, -a, a * b + 1], {"k": a > 3, "n": round(b, 1)}


def mixed(x):
    a = x.mean().item()
    y = x * a
    if y.sum() > 5:
        y = y - a
    b = (y * a).sum().item()
    return y / (abs(b) + 1), b


def drawn(x):
    n = 0
    while True:
        u = tracer.rand(3)
        n += 1
        if (u.sum() < x.sum() / 6).item() or n > 8:
            return u, n


def listed(x):
    return max((x * 2).tolist()), sorted(x.tolist())


def shown(x):
    return float(np.sum((x.detach() * 2).numpy())), int(x.argmax())


def looked_at_twice(x):
    y = x * 2
    return (y.sum() if y.sum() > 0 else y.prod()) + (1 if y.sum() > 5 else 2)


def argument(x):
    return x * 2 if x[0] > 0 else x * 3


def nothing_but_a_look(x):
    return 1 if x.sum() > 0 else 2


def changes(x):
    y = x.detach().clone()
    y[0] = 5
    if y.sum() > 10:
        y.mul_(2)
    y[1:] += 1
    return y


def counted(x):
    right = (x > 1).sum().item()
    wrong = int((x <= 1).sum())
    total = right + wrong * 2
    return x * total, right, 100 * right / (wrong + 5), {"right": right // 2}


def ranged(x):
    return [x * k for k in range((x > 1).sum().item())]


def asserted(x):
    if x.sum() <= -100:
        raise AssertionError
    return x * 2


def zipped(x):
    return [a * b.item() for a, b in zip(x, x.flip(0), strict=True)]


PROGRAMS = [
    *(newton, clipped, doubled, early, recursive, tried, generated, chosen, numbers, mixed, drawn, listed, shown),
    *(looked_at_twice, argument, nothing_but_a_look, changes, asserted, zipped, counted, ranged),
]
VALUES = (1, 3, -2, 1, 3, 0.5, 20, -2, 1)


def followed(y):
    """The tensors of a result that require gradients."""
    return [t for t in (y if isinstance(y, (tuple, list)) else [y]) if isinstance(t, tracer.Tensor) and t.requires_grad]


def is_compiled(f):
    """True if every call has been recorded or replayed."""
    info = f.cache_info()
    assert info.replays and not info.eager and "eager" not in f.explain(), (info, f.explain())


def starts(f, k):
    return tracer.tensor(2.0 + abs(k), dtype=tracer.float64) if f is newton else vec(k)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_paths(f):
    def program(trace):
        g = trace(f)
        return [outcome(g, starts(f, k)) for k in VALUES], tracer.rand(2)

    (traced,) = both(program)
    is_compiled(traced)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_derivatives_outside(f):
    def program(trace):
        g, found = trace(f), []
        for k in VALUES:
            x = starts(f, k).requires_grad_()
            y = g(x)
            parts = [
                t for t in (y if isinstance(y, (tuple, list)) else [y]) if isinstance(t, tracer.Tensor) and t.requires_grad
            ]
            found += [y]
            for t in parts:
                (first,) = tracer.autograd.grad(t.sum(), x, create_graph=True)
                found.append(first)
                if first.requires_grad:
                    found.append(tracer.autograd.grad((first * first).sum(), x, allow_unused=True)[0])
        return found

    (traced,) = both(program)
    is_compiled(traced)


@pytest.mark.parametrize(
    "f", [g for g in PROGRAMS if g not in (numbers, listed, shown, drawn, nothing_but_a_look)], ids=lambda f: f.__name__
)
def test_derivatives_inside(f):
    def program(trace):
        w = leaf(0.5)

        @trace
        def step(x):
            y = f(x * w.sum()) if f is newton else f(x * w)
            total = sum(t.sum() for t in (y if isinstance(y, (tuple, list)) else [y]) if isinstance(t, tracer.Tensor))
            if isinstance(total, tracer.Tensor) and total.requires_grad:
                total.backward()
            return total

        found = []
        for k in VALUES:
            found += [step(starts(f, k)), None if w.grad is None else w.grad.clone()]
            if k == 3:
                w.grad = None
        return found, w

    (traced,) = both(program)
    is_compiled(traced)


def test_a_training_step_that_looks_at_its_loss():
    def program(trace):
        tracer.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Linear(8, 3))
        optimizer = tracer.optim.AdamW(model.parameters(), lr=0.01)

        @trace
        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            if not tracer.isfinite(loss):
                return None
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            if norm > 1.0:
                return loss.item()
            optimizer.step()
            return loss.item()

        found = []
        for i in range(9):
            x, y = tracer.randn(6, 4), tracer.tensor([0, 1, 2, 0, 1, 2])
            if i == 5:
                x = x / 0
            found.append(step(x * (1 + i % 3), y))
        return found, list(model.state_dict().values()), [p.grad for p in model.parameters()], tracer.rand(2)

    (step,) = both(program)
    is_compiled(step)


def test_a_loop_costs_one_program():
    f = tracer.trace(doubled)
    for k in (20, 1, 0.1, 3, 0.1, 1, 30):
        f(tracer.ones(3) * k)
    (tree,) = (t for traces in f.traces.values() for t in traces)
    assert tree.paths == 4 and len(tree.graphs) == 2, f.explain()


def test_values_of_constants_are_constants():
    @tracer.trace
    def f(x):
        k = int(tracer.arange(5)[3])
        if tracer.eye(4).sum() == 4:
            k += 1
        return x * k + tracer.ones(2).sum().item()

    for i in range(3):
        assert f(vec(i)).tolist() == (vec(i) * 4 + 2).tolist()
    assert len(f.graphs()) == 1 and "segment" not in f.explain()


def test_a_replay_that_meets_something_new_has_done_nothing():
    def program(trace):
        counts, total = tracer.zeros(3), leaf(0)

        @trace
        def f(x):
            counts.add_(1)
            noise = tracer.rand(3)
            (total * x * noise).sum().backward()
            if x.sum() > 10:
                counts.mul_(2)
                return noise
            if x.sum() > 5:
                return noise + counts
            return noise - 1

        found = []
        for k in (1, 1, 4, 2, 1, 4, 2, 1):
            found += [f(vec(k)), counts.clone(), total.grad.clone()]
        return found, tracer.rand(3)

    both(program)


def test_a_branch_that_cannot_be_replayed_leaves_the_others_compiled():
    def program(trace):
        @trace
        def f(x):
            y = x * 2
            if y.sum() > 10:
                with tracer.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                    y = y + x
            return y

        return [f(vec(k)) for k in (-1, 5, -1, 6, 0, 2)]

    (f,) = both(program)
    assert "2 paths" in f.explain(), f.explain()


def test_a_number_that_is_another_one_in_each_call_is_given_up_with_one_warning():
    @tracer.trace
    def f(x):
        return {round(x.sum().item(), 6): x * 2}

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(60):
            assert list(f(vec(i / 7))) == [round(vec(i / 7).sum().item(), 6)]
    (message,) = [str(w.message) for w in caught if issubclass(w.category, tracer.TraceWarning)]
    assert "test_trace_paths.py" in message.partition("eagerly")[2] and "differs in each call" in message


def test_arithmetic_that_fails():
    def program(trace):
        state = tracer.zeros(3)

        @trace
        def f(x):
            state.add_(1)
            return x / math.sqrt(x.sum().item() - 3) + 1 / x[0].item()

        return [outcome(f, vec(k)) for k in (1, 2, 0, -4, 3, 0)], state

    both(program)


ARRAYS = {
    "returned": lambda x: (x * 2).numpy(),
    "in a structure": lambda x: {"a": [(x * 2).numpy(), x.sum()]},
    "a part": lambda x: (x * 2).numpy()[1:],
    "of a view": lambda x: (x * 2).view(3, 1).numpy(),
    "beside its tensor": lambda x: (lambda y: (y, y.numpy()))(x * 2),
    "of an argument": lambda x: x.numpy(),
    "back to a tensor": lambda x: tracer.from_numpy((x * 2).numpy()) + 1,
    "copied to a tensor": lambda x: tracer.tensor((x * 2).numpy()) + 1,
    "NumPy computes": lambda x: np.sum((x * 2).numpy()),
    "NumPy converts": lambda x: np.asarray(x * 2),
    "shapes": lambda x: ((x * 2).numpy().shape, len((x * 2).numpy())),
    "another dtype": lambda x: (x * 2).numpy().astype(np.float64),
    "of a loss": lambda x: (x * x).mean().detach().cpu().numpy(),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_tensors(name):
    def program(trace):
        f = trace(ARRAYS[name])
        return [f(vec(k)) for k in (1, 2, 1, 3, 2, 0)]

    (f,) = both(program)
    if name not in ("NumPy computes", "NumPy converts"):
        assert f.cache_info()[:3] == (5, 1, 0), f.explain()


@pytest.mark.parametrize("text", [str, repr, "{}".format, lambda x: f"{x}", lambda x: f"{x[0]}"])
def test_text_of_tensors(text):
    def program(trace):
        f = trace(lambda x: (x * 2, text(x), text(x + 1)))
        return [f(vec(k)) for k in (1, 2, 1, 3, 1, 1)]

    (f,) = both(program)
    is_compiled(f)


def test_arrays_of_results_share_their_memory():
    f = tracer.trace(lambda x: (lambda y: (y, y.numpy()))(x * 2))
    for k in range(4):
        y, a = f(vec(k))
        a[0] = 7
        assert y[0] == 7 and a.flags.writeable
        a.shape = (3, 1)
        assert y.shape == (3,)


def test_an_array_of_a_tensor_that_is_kept_or_changed():
    def program(trace):
        @trace
        def keeps(x):
            return (x * 2).numpy()

        @trace
        def writes(x):
            y = x * 2
            y.numpy()[0] = 7
            return y + 1

        return [(keeps(vec(k)), writes(vec(k))) for k in (1, 1, 2, 3, 1)]

    both(program)


def test_the_same_result_twice_and_results_of_earlier_segments():
    def program(trace):
        @trace
        def f(x, w):
            y = x * w
            if y.sum() > 3:
                z = y + 1
                return y, z, y, x, [y.t(), z[0]]
            return y, x

        found = []
        for k in (1, 2, 0.1, 1, 2):
            w = leaf(k)
            out = f(vec(k), w)
            sum(t.sum() for t in out[:2]).backward()
            found += [out, w.grad, out[0] is out[2] if len(out) > 2 else None]
            with tracer.no_grad():
                out[0].add_(1)
        return found

    both(program)


SELECTIONS = {
    "mask": lambda x: x[x > 0],
    "mask of rows": lambda x: x.reshape(2, 3)[x.reshape(2, 3).sum(1) > 0],
    "mask of two axes": lambda x: x.reshape(2, 3)[x.reshape(2, 3) > 0.5] * 2,
    "mask beside positions": lambda x: x.reshape(2, 3)[x.reshape(2, 3).sum(1) > -9, tracer.tensor([0, 2])],
    "masked_select": lambda x: x.masked_select(x > 0).cumsum(0),
    "nonzero": lambda x: x[(x > 0).nonzero().squeeze(1)],
    "nonzero of two axes": lambda x: (x.reshape(3, 2) > 0).nonzero(),
    "nonzero as tuple": lambda x: x.reshape(3, 2)[(x.reshape(3, 2) > 0).nonzero(as_tuple=True)],
    "where": lambda x: tracer.where(x > 0)[0],
    "argwhere": lambda x: tracer.argwhere(x.reshape(3, 2) > 0),
    "unique": lambda x: tracer.unique(x.detach().round()),
    "unique with all": lambda x: tracer.unique(x.detach().round(), return_inverse=True, return_counts=True),
    "unique_consecutive": lambda x: tracer.unique_consecutive(x.detach().sign()),
    "bincount": lambda x: tracer.bincount(x.detach().abs().long()),
    "bincount with weights": lambda x: tracer.bincount(x.detach().abs().long(), x.detach()),
    "repeat_interleave": lambda x: x.repeat_interleave(x.detach().abs().long() % 3),
    "len": lambda x: len(x[x > 0]) * x,
    "length in a loop": lambda x: [x[x > k].sum() for k in range(len(x[x > 1]))],
    "assignment": lambda x: _assigned(x),
    "filter until few are left": lambda x: _filtered(x),
    "one hot": lambda x: F.one_hot(x.detach().abs().long()),
    "split by counts": lambda x: [p.sum() for p in x.split(tracer.bincount((x > 0).long(), minlength=2).tolist())],
}


def _assigned(x):
    y = x.clone()
    y[y > 1] = 0
    y[y < 0] = y[y < 0] * 2
    return y


def _filtered(x):
    turns = 0
    while len(x) > 2:
        x, turns = x[x > x.mean()], turns + 1
    return x, turns


@pytest.mark.parametrize("name", SELECTIONS)
def test_extents_that_are_data(name):
    def program(trace):
        f, found = trace(SELECTIONS[name]), []
        for seed in (0, 1, 2, 0, 1, 3, 4, 5, 0, 6, 1):
            x = (tracer.randn(6, generator=tracer.Generator(seed)) * 2).requires_grad_()
            y = f(x)
            found.append(y)
            parts = [
                t for t in (y if isinstance(y, (tuple, list)) else [y]) if isinstance(t, tracer.Tensor) and t.requires_grad
            ]
            if parts:
                found.append(tracer.autograd.grad(sum((t * t).sum() for t in parts), x))
        return found

    (f,) = both(program)
    is_compiled(f)


# Operations that fail for some values.

_GOOD, _BAD = [[2.0, 1.0], [1.0, 3.0]], [[1.0, 2.0], [2.0, 1.0]]


def _attempt(work, other):
    def f(*args):
        try:
            return work(*args), "worked"
        except (RuntimeError, IndexError, ZeroDivisionError) as e:
            return other(*args), type(e).__name__

    return f


def _after_a_look(a):
    if a.sum() > 3:
        try:
            return tracer.linalg.inv(a)
        except RuntimeError:
            return a
    return a * 2


def _in_a_loop(*xs):
    found = []
    for x in xs:
        try:
            found.append(tracer.linalg.cholesky(x).sum().item())
        except RuntimeError:
            found.append(None)
    return found


FAILING = {
    "cholesky": (_attempt(tracer.linalg.cholesky, lambda a: a), [(_BAD,), (_GOOD,), (_GOOD,), (_BAD,), (_GOOD,)]),
    "gather": (
        _attempt(lambda x, i: x.gather(0, i), lambda x, i: x * 0),
        [([1.0, 2.0], [5]), ([1.0, 2.0], [1]), ([1.0, 2.0], [0]), ([1.0, 2.0], [7]), ([1.0, 2.0], [0])],
    ),
    "an index": (
        _attempt(lambda x, i: x[i], lambda x, i: x * 0),
        [([1.0, 2.0], [1]), ([1.0, 2.0], [0]), ([1.0, 2.0], [7]), ([1.0, 2.0], [0]), ([1.0, 2.0], [7])],
    ),
    "division": (
        _attempt(lambda a, b: a // b, lambda a, b: a),
        [([4, 6], [0, 1]), ([4, 6], [2, 1]), ([4, 6], [3, 4]), ([4, 6], [1, 0]), ([4, 6], [3, 3])],
    ),
    "after a look": (_after_a_look, [(_GOOD,), ([[1.0, 1.0], [1.0, 1.0]],), (_GOOD,), (_BAD,), (_GOOD,)]),
    "in a loop": (_in_a_loop, [(_BAD, _GOOD), (_GOOD, _GOOD), (_GOOD, _GOOD), (_GOOD, _BAD), (_GOOD, _GOOD)]),
    "raised": (
        lambda x, i: x[i] * 2,
        [([1.0, 2.0], [5]), ([1.0, 2.0], [1]), ([1.0, 2.0], [0]), ([1.0, 2.0], [4]), ([1.0, 2.0], [1])],
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_for_some_values(name):
    """An operation that failed once may succeed in another call: the function continues, and such calls compile."""
    f, calls = FAILING[name]
    traced = tracer.trace(f)

    def result(g, args):
        try:
            return repr(g(*map(tracer.tensor, args)))
        except (RuntimeError, IndexError) as e:
            return repr(e)

    for args in calls + calls:
        assert result(traced, args) == result(f, args), traced.explain()
    assert traced.cache_info().replays >= 4 and not traced.eager_reasons, traced.explain()
