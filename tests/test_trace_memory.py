"""Traced programs have the eager results: shared memory, in-place changes, results."""

import collections
import dataclasses
import types

import numpy as np
import pytest
from twice import Pair, batch, both, leaf, outcome, vec

import tracer
from tracer import nn, optim

# One tensor as two arguments.


def test_the_same_tensor_twice():
    def program(trace):
        f = trace(lambda a, b: (a * b, a - b))
        return [f(*pair) for x in (vec(1), vec(2)) for pair in ((x, x), (x, vec(5)), (vec(5), x))]

    both(program, graphs=1)  # if they are only read, no other recording is needed


def pairs(n=3):
    """Two separate vectors, one vector twice, two that overlap, one and the same memory; all of one signature."""
    base = vec(n=8)
    base2 = vec(n=8)
    base3 = vec(n=8)
    return [(vec(), vec(2)), (base[0:n], base[1 : n + 1]), (base2, base2), (base3[0:n], base3[0:n]), (vec(), vec(4))]


ALIASING = {
    "first": lambda a, b: (a.add_(1), a + b)[1],
    "second": lambda a, b: (b.mul_(2), a + b)[1],
    "both": lambda a, b: (a.add_(b), b.add_(a), a * b)[2],
    "swap": lambda a, b: (a.copy_(b), b.zero_(), a + 0)[2],
    "item": lambda a, b: (a.__setitem__(1, 50.0), a * b)[1],
}


@pytest.mark.parametrize("name", ALIASING)
@pytest.mark.parametrize("order", [1, -1])
def test_arguments_that_share_memory(name, order):
    def program(trace):
        f = trace(ALIASING[name])
        results = []
        for _ in range(2):
            for a, b in pairs()[::order]:
                results += [outcome(f, a, b), a.clone(), b.clone()]
        return results

    both(program)


FOREIGN = {
    "an array and a capsule": lambda a: (tracer.from_numpy(a), tracer.from_dlpack(a)),
    "two capsules": lambda a: (tracer.from_dlpack(a), tracer.from_dlpack(a)),
    "a tensor and a capsule": lambda a: (t := tracer.from_numpy(a), tracer.from_dlpack(t)),
    "a capsule and a tensor": lambda a: (tracer.from_dlpack(t := tracer.tensor(a)), t),
    "parts of a buffer": lambda a: tuple(tracer.frombuffer(a.data, dtype=tracer.float32, count=3) for _ in range(2)),
    "a part and an array": lambda a: (tracer.from_numpy(a), tracer.from_numpy(np.asarray(a.data)[:3])),
}


@pytest.mark.parametrize("how", FOREIGN)
@pytest.mark.filterwarnings("ignore:(?s).*it changes a tensor that shares memory")
def test_memory_shared_by_another_package(how):
    """Arrays of one memory whose owners do not show that: the order of reads and writes matters."""

    def reads_before_and_after(a, b):
        before = b.sum()
        a.add_(1)
        return b * 2 + before

    f, g = tracer.trace(reads_before_and_after), tracer.trace(lambda x: reads_before_and_after(x, captured))
    captured, _ = FOREIGN[how](np.zeros(3, np.float32))
    for _ in range(5):
        f(tracer.zeros(3), tracer.ones(3))
        g(tracer.zeros(3))
    assert f.cache_info().replays == g.cache_info().replays == 4
    for _ in range(2):
        a, b = FOREIGN[how](np.zeros(3, np.float32))
        assert f(a, b).tolist() == [2, 2, 2] and a.tolist() == b.tolist() == [1, 1, 1]
        assert f(tracer.zeros(3), tracer.ones(3)).tolist() == [5, 5, 5]
    captured, other = FOREIGN[how](np.zeros(3, np.float32))
    for _ in range(2):
        captured.zero_()
        assert g(other).tolist() == [2, 2, 2]
        assert g(tracer.zeros(3)).tolist() == [5, 5, 5]


@pytest.mark.parametrize("first", ["captured", "other"])
def test_an_argument_that_is_captured_too(first):
    def program(trace):
        w, other = vec(2), vec(7)
        f = trace(lambda x: x * w + x)
        g = trace(lambda x: (w.add_(1), x * w)[1])
        order = [w, other, w, other] if first == "captured" else [other, w, other, w]
        return [(h(x), w.clone(), x.clone()) for h in (f, g) for x in order]

    both(program)


def test_a_view_of_a_captured_tensor_as_argument():
    def program(trace):
        w = vec(2, n=6)
        f = trace(lambda x: (w.add_(1), x * 2)[1])
        return [f(x) for x in (vec(), w[:3], vec(), w[1:4])]

    both(program)


def test_a_gradient_as_argument():
    def program(trace):
        p, q = leaf(), leaf(2)
        p.grad, q.grad = vec(3), vec(4)
        f = trace(lambda g: p.grad * g + g)
        h = trace(lambda g: (p.grad.add_(1), g * 2)[1])
        return [k(x) for k in (f, h) for x in (p.grad, q.grad, p.grad, q.grad, vec(4))]

    both(program)


def test_parameters_that_share_a_gradient():
    def program(trace):
        p, q = leaf(), leaf(2)
        step = trace(lambda x: (p * x + q).sum().backward())
        results = []
        for i in range(8):
            if i in (2, 6):
                p.grad = q.grad = tracer.zeros(3)
            if i == 4:
                p.grad, q.grad = tracer.zeros(3), tracer.zeros(3)
            step(vec(i))
            results.append((p.grad.clone(), q.grad.clone()))
        return results

    both(program)


def test_gradients_that_share_memory():
    def program(trace):
        p, q = leaf(), leaf(2)
        f = trace(lambda x: (p.grad.add_(x), q.grad.mul_(2), p.grad * 1)[2])
        results = []
        for i in range(8):
            base = vec(i, n=4)
            p.grad, q.grad = [(vec(i), vec(2)), (base[:3], base[1:]), (base[:3], base[:3])][i % 3]
            results += [f(vec(i)), p.grad.clone(), q.grad.clone()]
            p.grad = q.grad = vec(i)
            results += [f(vec(i)), p.grad.clone()]
        return results

    both(program)


def test_parameters_that_share_memory():
    def program(trace):
        base = vec(n=6)
        p, q = nn.Parameter(vec()), nn.Parameter(vec(2))
        optimizer = optim.SGD([p, q], lr=0.1, weight_decay=0.5)

        @trace
        def step(x):
            optimizer.zero_grad()
            (p * x + q * x * x).sum().backward()
            optimizer.step()

        results = []
        for i in range(6):
            if i == 3:
                p.data, q.data = base[:3], base[1:4]
            step(vec(i))
            results.append((p.detach().clone(), q.detach().clone()))
        return results, base

    both(program)


def test_a_gradient_whose_memory_is_not_contiguous():
    def program(trace):
        p = tracer.ones(2, 3, requires_grad=True)
        step = trace(lambda x: (p * x).sum().backward())
        x = vec(n=6).reshape(2, 3)
        step(x)
        step(x)
        p.grad = tracer.zeros(3, 2).t()
        step(x)
        step(x)
        return p.grad

    both(program)


# In-place changes.

IN_PLACE = {
    "item": lambda x: x.__setitem__(0, 5.0),
    "row": lambda x: x.__setitem__(1, vec(9)),
    "column": lambda x: x.__setitem__((slice(None), 1), 5.0),
    "from itself": lambda x: x.__setitem__(0, x[1]),
    "row added": lambda x: x[0].add_(1),
    "strided": lambda x: x[:, ::2].mul_(3),
    "transposed": lambda x: x.t().add_(vec(n=2)),
    "transposed item": lambda x: x.t()[2].sub_(1),
    "reshaped": lambda x: x.reshape(6)[1:4].mul_(2),
    "view of a view": lambda x: x[0][1:][0].fill_(8.0),
    "detached": lambda x: x.detach().mul_(2),
    "data": lambda x: x.data.mul_(2),
    "iterated": lambda x: [row.add_(i) for i, row in enumerate(x)] and None,
    "split": lambda x: [part.mul_(i) for i, part in enumerate(x.split(1, 0))] and None,
    "operator": lambda x: x.__iadd__(1) and None if x is None else x.__imul__(x.sum()),
    "twice": lambda x: (x.add_(1).mul_(2), x[0].sub_(x[1]), x.mul_(x))[0],
    "masked": lambda x: x.__setitem__(x > 3, 0.0),
    "two views": lambda x: (x[0].add_(x[1]), x[1].add_(x[0]), x.sum())[2],
    "view read later": lambda x: (lambda row: (x.mul_(10), row + 1)[1])(x[0]),
    "whole through a view": lambda x: x.reshape(6).copy_(vec(n=6)),
    "cast": lambda x: x.copy_(tracer.arange(6).reshape(2, 3)),
}


@pytest.mark.parametrize("where", ["argument", "captured", "view", "transposed"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name, where):
    def program(trace):
        change, results = IN_PLACE[name], []
        base = vec(n=6).reshape(2, 3)
        captured = trace(lambda: change(base))
        argument = trace(lambda x: change(x))
        for i in range(4):
            x = vec(i, n=6).reshape(2, 3)
            if where == "captured":
                r, x = captured(), base
            elif where == "argument":
                r = argument(x)
            elif where == "view":
                x = vec(i, n=9).reshape(3, 3)
                r = argument(x[1:])
            else:
                x = vec(i, n=6).reshape(3, 2)
                r = argument(x.t())
            results += [r.clone() if isinstance(r, tracer.Tensor) else r, x.clone()]
        return results

    both(program)


def test_versions_count_changes():
    def program(trace):
        buffer = vec()
        f = trace(lambda x: (x.add_(1), buffer.mul_(2), x * 2)[2])
        seen = []
        for k in range(4):
            x = vec(k)
            before = x._version, buffer._version
            f(x)
            seen.append((x._version > before[0], buffer._version > before[1]))
        return seen

    both(program, graphs=1)


DATA = {
    "in place": lambda x: (x.mul_(2), None)[1],
    "a view in place": lambda x: (x[1:].mul_(2), None)[1],
    "data": lambda x: (x.data.mul_(2), None)[1],  # autograd does not detect that
}


@pytest.mark.parametrize("name", DATA)
def test_a_change_inside_and_a_backward_pass_outside(name):
    def program(trace):
        f, results = trace(DATA[name]), []
        for _ in range(4):
            x, w = vec(), leaf()
            y = (x * w).sum()
            f(x)
            results.append((outcome(y.backward), w.grad))
        return results

    both(program)


def test_a_running_mean():
    def program(trace):
        mean, steps = tracer.zeros(4), tracer.tensor(0)

        @trace
        def f(x):
            steps.add_(1)
            mean.copy_(mean * 0.9 + x.mean(0) * 0.1)
            return x - mean, steps * 1

        return [f(batch(i)[0]) for i in range(6)], mean, steps

    both(program, graphs=1)


# Results.

RESULTS = {
    "argument": lambda x: x,
    "argument changed": lambda x: x.add_(1),
    "argument twice": lambda x: (x, x),
    "contiguous": lambda x: x.contiguous(),
    "cast to itself": lambda x: x.float(),
    "view": lambda x: x[1:],
    "reshaped": lambda x: x.reshape(3, 1),
    "detached": lambda x: x.detach(),
    "whole": lambda x: x[:],
    "expanded": lambda x: x.expand(2, 3),
    "view of new": lambda x: (x * 2)[1:],
    "transposed new": lambda x: (x * 2).reshape(3, 1).t(),
    "new twice": lambda x: [x * 2] * 2,
    "new and its view": lambda x: (lambda y: (y, y[0]))(x * 2),
    "parts": lambda x: (x * 2).split(1),
    "nested": lambda x: {"a": [x * 2, (x + 1, None)], "b": Pair(x - 1, {"c": x.sum()}), 3: "s"},
    "nothing": lambda x: None,
    "constants": lambda x: (1, 2.5, True, "s", b"b", None, 1j, x.shape, x.dtype, x.ndim),
    "empty": lambda x: ([], (), {}),
    "ordered dict": lambda x: collections.OrderedDict(a=x * 2),
    "default dict": lambda x: collections.defaultdict(list, a=x * 2),
    "set": lambda x: (x * 2, {1, 2}),
    "list subclass": lambda x: types.SimpleNamespace(a=x * 2).__dict__,
    "fresh": lambda x: (tracer.zeros(2), tracer.arange(3), tracer.tensor([1.0, 2.0])),
    "bool": lambda x: x > 2,
    "extremum": lambda x: tuple(x.reshape(1, 3).max(1)),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results(name):
    def program(trace):
        f, results = trace(RESULTS[name]), []
        for k in range(4):
            x = vec(k)
            r = f(x)
            results += [r, r is x, x]
        return results

    both(program)


@pytest.mark.parametrize(
    "name", ["argument", "view", "reshaped", "detached", "whole", "new twice", "new and its view", "parts"]
)
def test_results_share_memory_as_without_the_decorator(name):
    def program(trace):
        f, results = trace(RESULTS[name]), []
        for k in range(4):
            x = vec(k)
            r = f(x)
            (r[0] if isinstance(r, (tuple, list)) else r).add_(10)
            results += [r, x]
        return results

    both(program)


def test_a_result_that_holds_tensors_in_an_object():
    def program(trace):
        @dataclasses.dataclass
        class Out:
            y: object
            n: int

        f = trace(lambda x: Out(x * 2, len(x)))
        g = trace(lambda x: (x * i for i in range(2)))
        h = trace(lambda x: lambda: x * 2)
        j = trace(lambda x: iter([x * 2]))
        results = []
        for k in range(3):
            out = f(vec(k))
            results += [out.y, out.n, list(g(vec(k))), h(vec(k))(), list(j(vec(k)))]
        return results

    both(program)


def test_a_mutable_result_is_new_in_every_call():
    def program(trace):
        f = trace(lambda x: {"a": [x * 2], "n": []})
        results = []
        for k in range(4):
            r = f(vec(k))
            r["n"].append(k)
            results.append(r)
        return results

    both(program, graphs=1)


def test_a_captured_tensor_as_result():
    def program(trace):
        w = vec()
        f = trace(lambda x: (w.add_(x), w)[1])
        results = []
        for k in range(4):
            r = f(vec(k))
            results.append(r is w)
        return results, w

    both(program)


def test_a_gradient_as_result():
    def program(trace):
        p = leaf()

        @trace
        def f(x):
            p.grad = None
            (p * x).sum().backward()
            return p.grad

        results = []
        for k in range(4):
            g = f(vec(k))
            g.mul_(2)
            results += [g, p.grad]
        return results

    both(program)


GRADIENTS = {
    "argument": lambda p, q, x: setattr(p, "grad", x),
    "view of argument": lambda p, q, x: setattr(p, "grad", x.reshape(3)),
    "computed": lambda p, q, x: setattr(p, "grad", x * 2),
    "shared": lambda p, q, x: (lambda g: (setattr(p, "grad", g), setattr(q, "grad", g), None)[2])(x * 2),
    "swapped": lambda p, q, x: (lambda a, b: (setattr(p, "grad", b), setattr(q, "grad", a), None)[2])(p.grad, q.grad),
    "moved": lambda p, q, x: (setattr(p, "grad", q.grad), setattr(q, "grad", None))[0],
    "scaled": lambda p, q, x: (p.grad.mul_(0.5), None)[1],
    "clipped": lambda p, q, x: (p.grad.clamp_(0, 1), q.grad.clamp_(0, 1), None)[2],
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_assigned_inside(name):
    def program(trace):
        p, q = leaf(), leaf(2)
        f = trace(lambda x: GRADIENTS[name](p, q, x))
        results = []
        for k in range(5):
            p.grad, q.grad = vec(k), vec(2 * k)
            x = vec(5 + k)
            f(x)
            results += [None if t.grad is None else t.grad.clone() for t in (p, q)] + [p.grad is x]
            if p.grad is not None:
                p.grad.add_(1)  # is this memory shared?
            results += [q.grad, x.clone()]
        return results

    both(program)


def test_results_are_not_overwritten_by_later_calls():
    def program(trace):
        f = trace(lambda x: (x * 2, x.sum(), (x * x).reshape(3, 1)))
        g = trace(lambda x: x * x)
        results = []
        for i in range(20):
            a, b, c = f(vec(i))
            results.append((a, b, c[1:], a.detach(), a.numpy(), f(vec(-i))[0].numpy()[1:]))
            x = leaf(i)
            y = g(x)
            y.sum().backward()
            results.append((y.detach(), x.grad, g(x).detach()[1:]))
        return results

    both(program, graphs=2)
