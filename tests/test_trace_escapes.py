"""Traced programs have the eager results: escaping tensors, reads of values, unusual tensors, memory of a recorded run."""

import collections
import copy
import functools
import gc
import math
import tracemalloc
import types
import warnings

import numpy as np
import pytest
from twice import both, leaf, outcome, same, vec

import tracer
from tracer import nn

# Tensors that escape.


class Keeper(nn.Module):
    def forward(self, x):
        self.last = x * 2
        return self.last


KEEPERS = {
    "list": lambda x, kept: kept.append(x * 3),
    "returned too": lambda x, kept: (lambda y: (kept.append(y), y)[1])(x * 3),
    "returned in a tuple": lambda x, kept: (lambda y: (kept.append(y), (y, x + 1))[1])(x * 3),
    "returned in a dict": lambda x, kept: (lambda y: (kept.append(y), {"y": y})[1])(x * 3),
    "returned in a nest": lambda x, kept: (lambda y: (kept.append(y), [{"y": [y]}])[1])(x * 3),
    "view": lambda x, kept: (lambda y: (kept.append(y[:2]), y)[1])(x * 3),
    "viewed": lambda x, kept: (lambda y: (kept.append(y), y[:2])[1])(x * 3),
    "detached": lambda x, kept: (lambda y: (kept.append(y.detach()), y)[1])(x * 3),
    "in a tuple": lambda x, kept: kept.append((x * 3, 1)),
    "closure": lambda x, kept: kept.append((lambda y: lambda: y)(x * 3)()),
    "twice": lambda x, kept: (lambda y: (kept.append(y), kept.append(y), y)[2])(x * 3),
}


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("name", KEEPERS)
def test_a_tensor_that_escapes_is_not_stale(name, hidden):
    def program(trace):
        kept = []
        holder = types.SimpleNamespace(append=kept.append) if hidden else kept
        f = trace(lambda x: KEEPERS[name](x, holder))
        results = []
        for i in range(7):
            r = f(vec(i))
            results += [r, kept[-1]]
        return results

    both(program)


def test_a_tensor_stored_on_a_module():
    def program(trace):
        keeper, results = Keeper(), []
        f = trace(lambda x: keeper(x).sum())
        g = trace(keeper)
        for i in range(7):
            for h in (f, g):
                results += [h(vec(i)), keeper.last]
        return results

    both(program)


def test_an_argument_that_is_a_container_is_filled():
    def program(trace):
        @trace
        def f(x, items, named):
            items.append(x * 2)
            named["y"] = x * 3
            return x + 1

        results = []
        for i in range(4):
            items, named = [], {}
            results += [f(vec(i), items, named), items, named]
        return results

    both(program)


def test_an_argument_that_is_a_container_is_returned():
    def program(trace):
        f = trace(lambda d: d)
        g = trace(lambda d: {**d, "y": d["x"] * 2})
        results = []
        for i in range(3):
            d, items = {"x": vec(i)}, [vec(i), 0.5]
            results += [f(d) is d, f(items) is items, g(d)]
        return results

    both(program)


def test_an_argument_is_emptied():
    def program(trace):
        f = trace(lambda items: items.pop() * 2)
        results = []
        for i in range(4):
            items = [vec(i), vec(i + 1)]
            results += [f(items), items]
        return results

    both(program)


# Reads of values.

LOOKS = {
    "item": lambda x: x * 2 if x.sum().item() > 0 else -x,
    "bool": lambda x: x * 2 if (x > 0).all() else -x,
    "numpy": lambda x: x + float(x.numpy().max()),
    "tolist": lambda x: x + x.tolist()[0],
    "float": lambda x: x * float(x[0]) + math.exp(x[1]),
    "int": lambda x: x * int(x[2]),
    "index": lambda x: x[: x.long()[0].abs() + 1] * 1,
    "range": lambda x: x * sum(range(x.long()[2].abs())),
    "print": lambda x: (x * 2, str(x), f"{x[0]}", repr(x)),
    "in": lambda x: x * 2 if 2.0 in x else x,
    "array": lambda x: x + tracer.tensor(np.asarray(x)),
    "mask": lambda x: x[x > 0],
    "while": lambda x: functools.reduce(lambda y, _: y * 2 if y.abs().sum() < 20 else y, range(9), x),
    "assert": lambda x: (x * 2, [v for v in x if v > 1]),
    "max": lambda x: max(*x) * x,
    "zip": lambda x: sorted(x),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_at_a_value(name):
    def program(trace):
        f = trace(LOOKS[name])
        return [f(vec(i)) for i in (1, -1, 2, -5, 1)]

    (f,) = both(program)
    assert f.explain().count(" segments, ") == 1 and "eager" not in f.explain(), f.explain()


def test_a_copy_or_pickle_of_a_value():
    import copy
    import pickle

    def program(trace):
        f = trace(lambda x: pickle.dumps(x * 2))
        g = trace(lambda x: copy.deepcopy(x.detach() * 2) + 1)
        h = trace(lambda x: copy.copy(x) * 2)
        return [pickle.loads(f(vec(i))) for i in range(3)], [k(vec(i)) for k in (g, h) for i in range(3)]

    both(program)


def test_a_change_before_a_look_happens_once():
    def program(trace):
        w = vec()

        @trace
        def f(x):
            w.add_(x)
            return x * 2 if w.sum().item() > 20 else x * 3

        return [(f(vec(i)), w.clone()) for i in range(6)]

    both(program)


# Unusual tensors.

ODD = {
    "transposed": lambda: vec(n=6).reshape(2, 3).t(),
    "strided": lambda: vec(n=9).reshape(3, 3)[:, ::2],
    "reversed": lambda: tracer.from_numpy(np.arange(6, dtype=np.float32)[::-1]),
    "expanded": lambda: tracer.ones(1, 3).expand(2, 3),
    "empty": lambda: tracer.zeros(0, 3),
    "empty rows": lambda: tracer.zeros(2, 0),
    "number": lambda: tracer.tensor(2.5),
    "one": lambda: tracer.tensor([[2.5]]),
    "offset": lambda: vec(n=7)[1:],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_arguments(name):
    def program(trace):
        f = trace(lambda x: (x * 2 + x.sum(), x.exp().mean()))
        g = trace(lambda x: (x * x).sum())
        results = []
        for k in range(3):
            x = ODD[name]()
            results.append(f(x * k) if k == 2 else f(x))
            y = ODD[name]().detach().requires_grad_()
            g(y).backward()
            results.append(y.grad)
        return results

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        both(program)


def test_contiguous_and_not_of_one_shape():
    def program(trace):
        f = trace(lambda x: x * vec(n=4).reshape(2, 2) + x.t())
        a = vec(n=4).reshape(2, 2)
        return [f(x) for x in (a, a.t(), a, a.t(), vec(n=8).reshape(2, 4)[:, ::2])]

    both(program)


def test_layout_of_results():
    def program(trace):
        f = trace(lambda x: ((x * 2).t(), (x * 2)[:, ::2], x.t().clone()))
        return [[t.is_contiguous() for t in f(vec(n=6).reshape(2, 3))] for _ in range(3)]

    both(program)


# Memory of the recorded run.


def test_a_recorded_run_keeps_no_intermediate_values():
    x = tracer.ones(1 << 18)  # 1 MiB

    def chain(x):
        with tracer.no_grad():
            for _ in range(40):
                x = x * 1.5 - 0.5
        return x

    def peak(f):
        tracemalloc.start()
        f(x)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(tracer.trace(chain)) < peak(chain) + (1 << 20)


def test_a_tensor_that_died_in_the_run_is_not_taken_for_another():
    """New tensors, created where the recorder does not see it, may have the id of deleted ones."""

    def program(trace):
        kept = [vec(k) for k in range(20)]

        @trace
        def f(x):
            total = x * 0
            for k in range(20):
                total = total + (x * k).exp().log() * kept[k]
            return total

        return [f(vec(k)) for k in range(4)]

    both(program)


# Regressions.


def test_what_is_updated_in_place_is_read_elsewhere_too():
    """An element computed from the old values of others must not be in the kernel that overwrites them."""

    def program(trace):
        @trace
        def f(x):
            y = x * 1.5
            x.mul_(0.5)
            y[:, 1] = y[:, 0]
            return (x + y).sum(), y

        xs = [vec(k, 16).reshape(4, 4).clone() for k in range(3)]
        return [(f(x), x.clone()) for x in xs]

    both(program)


@pytest.mark.parametrize("what", ["bytes", "locked"])
@pytest.mark.parametrize("where", ["argument", "captured"])
def test_memory_that_may_not_be_written_to_is_not(what, where):
    def array(lock):
        if what == "bytes":
            return np.frombuffer(bytes(40) if lock else bytearray(40), np.float32)
        a = np.zeros(10, np.float32)
        a.flags.writeable = not lock
        return a

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good, bad = (tracer.from_numpy(array(lock)) for lock in (False, True))
    held = tracer.from_numpy(np.zeros(10, np.float32))
    if where == "argument":
        f = tracer.trace(lambda x: x.add_(1).sum())
    else:
        g = tracer.trace(lambda y: held.add_(y).sum())

        def f(x):
            held._data.flags.writeable = x is good
            return g(tracer.ones(10))

    for _ in range(5):
        f(good)
    for _ in range(3):
        with pytest.raises((RuntimeError, ValueError)):
            f(bad)
    assert bad.sum().item() == 0
    if where == "captured":
        assert held.tolist() == [5.0] * 10


def test_hooks_and_attributes_put_on_a_captured_tensor_later():
    def program(trace):
        p = leaf()
        scale_of = lambda t: getattr(t, "scale", 1.0)

        @trace
        def f(x):
            p.grad = None
            loss = (p * x * scale_of(p)).sum()
            loss.backward()
            return loss, p.grad.clone()

        results = [f(vec(k)) for k in range(4)]
        handle = p.register_hook(lambda g: g * 2)
        results += [f(vec(k)) for k in range(4)]
        handle.remove()
        results += [f(vec(k)) for k in range(2)]
        p.scale = 3.0
        results += [f(vec(k)) for k in range(4)]
        return results

    both(program)


def test_a_variable_that_is_deleted_is_missed():
    def program(trace):
        z = None

        def delete():
            nonlocal z
            del z

        @trace
        def f(x):
            return x * z if z is not None else x + 0

        results = [f(vec()).tolist() for _ in range(4)]
        delete()
        return [*results, outcome(f, vec())]

    assert program(tracer.trace) == program(lambda f: f)
    assert program(tracer.trace)[-1][0] is NameError


def test_tensors_in_cycles_that_the_function_left_are_not_kept():
    @tracer.trace
    def f(x):
        y = x * 2
        cycle = [y, y.exp().sum()]
        cycle.append(cycle)
        return y + 1

    gc.disable()
    try:
        for _ in range(3):
            same(f(vec()), vec() * 2 + 1)
    finally:
        gc.enable()
    assert not f.eager_reasons


NESTED = {
    "a set of tuples": (set(), lambda kept, a, b: kept.add(((a, b), ("sum", (a,))))),
    "keys of a dict": ({}, lambda kept, a, b: kept.update({(a, (b, 1)): None})),
    "a tuple in a list in a tuple": ([], lambda kept, a, b: kept.append(([(a,)], b))),
    "a deque": (collections.deque(maxlen=2), lambda kept, a, b: kept.append((a, (b,)))),
    "an attribute": (types.SimpleNamespace(), lambda kept, a, b: setattr(kept, "pair", (a, (b,)))),
}


@pytest.mark.parametrize("name", NESTED)
def test_numbers_that_are_kept_become_plain(name):
    """Wherever a run has stored results of ``item()``, users find floats there."""
    empty, put = NESTED[name]

    def kinds(x):
        if isinstance(x, (tuple, list, set, collections.deque)):
            return {kind for item in x for kind in kinds(item)}
        return {type(x)}

    def run(wrap):
        kept = copy.deepcopy(empty)

        @wrap
        def f(x):
            put(kept, x.sum().item(), x.mean().item())
            return x * 2

        for n in range(1, 5):
            f(tracer.tensor([1.0, 2.0, 3.0]) * n)
        items = list(vars(kept).values()) if isinstance(kept, types.SimpleNamespace) else list(kept)
        items = sorted(items) if isinstance(kept, set) else items
        return items, kinds(items)

    eager, traced = run(lambda f: f), run(tracer.trace)
    assert traced == eager and tracer.tracing.scalars.RuntimeFloat not in traced[1]


def test_recording_does_not_search_the_process(monkeypatch):
    """A search for referrers visits all objects: only numbers without a known holder justify one."""
    searched, search = [], gc.get_referrers
    monkeypatch.setattr(gc, "get_referrers", lambda *objects: searched.append(len(objects)) or search(*objects))
    log, pairs = [], set()

    @tracer.trace
    def f(x):
        log.append((x.sum().item(), x.mean().item()))
        while x.sum().item() > 1:
            x = x / 2
        return x.max().item()

    f(tracer.tensor([1.0, 2.0, 3.0]))
    assert not searched

    @tracer.trace
    def g(x):
        pairs.update((x.sum().item(), x[i].item()) for i in range(20))
        return x * 2

    g(tracer.arange(20.0))
    assert len(searched) <= 4


def test_a_cycle_of_nodes_is_not_kept():
    """Garbage that a run leaves is collected before anything refers to what is in it."""

    class Exponential(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.exp()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x.exp()

    outer, inner = tracer.nn.Linear(5, 5), tracer.nn.Linear(5, 1)

    @tracer.trace
    def f(x):
        Exponential.apply(outer(x))
        return tracer.func.hessian(lambda z: inner(z).pow(3).sum())(x[0])

    for _ in range(3):
        f(tracer.rand(4, 5))
    assert f.cache_info().replays == 2 and not f.eager_reasons
