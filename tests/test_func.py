"""Function transforms: derivatives, batches, ensembles; trees."""

import collections

import numpy as np
import pytest

import tracer
from tracer import func
from tracer.func import batching
from tracer.utils import _pytree as pytree


def f(x):
    return (x**3).sum()


X = tracer.tensor([1.0, 2.0, -1.0], dtype=tracer.float64)


def test_derivatives():
    assert func.grad(f)(X).tolist() == [3.0, 12.0, 3.0]
    assert func.grad(lambda x: func.grad(f)(x).sum())(X).tolist() == [6.0, 12.0, -6.0]
    g, (value, aux) = func.grad_and_value(lambda x: (f(x), "aux"), has_aux=True)(X)
    assert value.item() == 8.0 and aux == "aux" and not g.requires_grad
    assert func.jacrev(lambda x: x**2)(X).tolist() == np.diag(2 * X.numpy()).tolist()
    assert func.jacfwd(lambda x: x**2)(X).tolist() == np.diag(2 * X.numpy()).tolist()
    assert func.hessian(f)(X).tolist() == np.diag(6 * X.numpy()).tolist()
    _, pull = func.vjp(lambda x: {"a": x * 2, "b": x.sum()}, X)
    assert pull({"a": X, "b": tracer.ones((), dtype=X.dtype)})[0].tolist() == (2 * X + 1).tolist()
    _, moved = func.jvp(lambda x: x**2, (X,), (tracer.ones_like(X),))
    assert moved.tolist() == (2 * X).tolist()
    assert func.linearize(lambda x: x**2, X)[1](X).tolist() == (2 * X * X).tolist()
    two = func.grad(lambda p, y: (p["w"] * y).sum(), argnums=(0, 1))({"w": X}, X + 1)
    assert two[0]["w"].tolist() == (X + 1).tolist() and two[1].tolist() == X.tolist()


def test_derivatives_of_what_is_followed():
    x = X.clone().requires_grad_()
    func.grad(f)(x).sum().backward()
    assert x.grad.tolist() == (6 * X).tolist()


def test_traced():
    function = tracer.trace(lambda x: func.vmap(func.grad(lambda v: (v**3).sum()))(x))
    x = tracer.randn(4, 3, dtype=tracer.float64)
    for _ in range(3):
        np.testing.assert_allclose(function(x).numpy(), 3 * x.numpy() ** 2)
    assert function.graphs()


def test_vmap():
    a, b = tracer.randn(4, 3), tracer.randn(3, 4)
    np.testing.assert_allclose(func.vmap(tracer.dot, in_dims=(0, 1))(a, b).numpy(), (a * b.T).sum(1).numpy(), rtol=1e-5)
    assert func.vmap(lambda x, y: x + y, in_dims=(0, None), out_dims=1)(a, tracer.ones(3)).shape == (3, 4)
    out = func.vmap(lambda d: {"s": d["x"].sum()}, in_dims=({"x": 0},))({"x": a})
    assert out["s"].shape == (4,)
    assert func.vmap(func.vmap(lambda x: x * 2))(a).tolist() == (a * 2).tolist()
    same = func.vmap(lambda x: x * 0 + tracer.rand(()), randomness="same")(tracer.ones(3))
    assert len(set(same.tolist())) == 1
    different = func.vmap(lambda x: x * 0 + tracer.rand(()), randomness="different")(tracer.ones(3))
    assert len(set(different.tolist())) == 3
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        func.vmap(lambda x: x + tracer.rand(()))(a)
    for bad in (
        lambda: func.vmap(lambda x: x)(3),
        lambda: func.vmap(lambda x: x, in_dims=5)(a),
        lambda: func.vmap(lambda x: 1)(a),
        lambda: func.vmap(tracer.dot)(a, b),
        lambda: func.vmap(lambda x: x, in_dims=None)(a),
    ):
        with pytest.raises(ValueError, match="vmap"):
            bad()


A, M = tracer.randn(5, 3, 4, dtype=tracer.float64), tracer.randn(6, 3, 4, dtype=tracer.float64)
V, W = tracer.randn(5, 3, dtype=tracer.float64), tracer.randn(4, 3, dtype=tracer.float64)
K, KS = tracer.tensor([2, 0, 1, 1, 0]), tracer.tensor([[0, 2], [1, 1], [2, 0], [0, 0], [1, 2]])
IMAGES, FILTERS = tracer.randn(4, 3, 8, 8, dtype=tracer.float64), tracer.randn(2, 3, 3, 3, dtype=tracer.float64)
F = tracer.nn.functional


def write(v):
    y = tracer.zeros(3, dtype=v.dtype)
    y[:2] = v[1:] * 2
    y[2] += v[0]
    return y


def partly_followed(v):
    with tracer.no_grad():
        s = v.sum()
    return v * s


AT_ONCE = {
    "dot": (tracer.dot, V, V),
    "matrix of all, vectors": (lambda v: W @ v, V),
    "vectors, matrix of all": (lambda v: v @ W.T, V),
    "matrices of all, left": (lambda a: W @ a, A),
    "matrices of all, right": (lambda a: a @ W, A),
    "transposed matrices": (lambda a: a.T @ W.T, A),
    "batches of all, right": (lambda a: a.T @ M, A),
    "batches of all, left": (lambda a: M.transpose(1, 2) @ a, A),
    "batches of each, vectors of each": (lambda a, v: (a[None] * M).transpose(1, 2) @ v, A, V),
    "batches of each, matrices of each": (lambda a: (a[None] * M) @ a.T, A),
    "gradients": (func.grad(lambda v: (W @ v).tanh().sum()), V),
    "Jacobians": (func.jacrev(lambda v: (W @ v).tanh()), V),
    "Jacobians by columns": (func.jacfwd(lambda v: (W @ v).tanh()), V),
    "Hessians": (func.hessian(lambda v: (W @ v).tanh().sum()), V),
    "positions": (lambda v, k: v[k], V, KS),
    "positions in a tensor of all": (lambda k: W[:, k], KS),
    "gradients at positions": (func.grad(lambda v, k: (v[k] ** 2).sum()), V, KS),
    "gradients of what all share": (lambda k, v: func.grad(lambda w: (w[:, k] * v[k]).sum())(W), KS, V),
    "gather": (lambda v, k: v.gather(0, k), V, KS),
    "host operations": (lambda v: v.sort()[0].cumsum(0).prod(), V),
    "decompositions": (lambda a: tracer.linalg.inv(a @ a.T + tracer.eye(3, dtype=a.dtype)), A),
    "writes of slices": (write, V),
    "choices": (lambda v: tracer.where(v > 0, v, v * 2).amax(), V),
    "softmax": (lambda v: F.softmax(v, -1), V),
    "convolutions": (lambda a: F.conv2d(a[None], FILTERS)[0], IMAGES),
    "gradients of filters": (lambda a: func.grad(lambda w: (F.conv2d(a[None], w) ** 2).sum())(FILTERS), IMAGES),
    "pooling": (lambda a: F.max_pool2d(a[None], 2)[0], IMAGES),
    "diagonals": (lambda a: (a @ a.T).diagonal() + tracer.diag(a[:, 0]).sum(0), A),
    "flips and pads": (lambda a: F.pad(a.flip(0), (1, 2)) @ F.pad(a, (1, 2)).T, A),
    "a result of all": (lambda v: (W, v), V),
    "nested": (func.vmap(lambda v, u: v * u, in_dims=(0, None)), A, A[:, 0]),
}


def assert_trees_close(actual, expected):
    for a, b in zip(pytree.tree_leaves(actual), pytree.tree_leaves(expected), strict=True):
        assert a.requires_grad == b.requires_grad
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", AT_ONCE)
def test_vmap_at_once(name, monkeypatch):
    function, *args = AT_ONCE[name]
    calls = []
    batched = func.vmap(lambda *xs: (calls.append(1), function(*xs))[1])
    found = batched(*args)
    assert calls == [1]
    monkeypatch.setattr(batching, "at_once", lambda *_: None)
    expected = func.vmap(function)(*args)
    monkeypatch.undo()
    assert_trees_close(found, expected)
    traced = tracer.trace(func.vmap(function))
    for _ in range(3):
        assert_trees_close(traced(*args), expected)
    assert traced.graphs()


def test_vmap_one_by_one():
    """Functions that do more than compute are called for each sample, and nothing remains of the attempt."""
    count, total = tracer.zeros(3, dtype=V.dtype), tracer.zeros((), dtype=V.dtype)

    def counting(v):
        count.add_(1)
        total.copy_(v.sum())
        return v + count

    assert func.vmap(counting)(V).tolist() == (V + tracer.arange(1, 6)[:, None]).tolist()
    assert count.tolist() == [5.0] * 3 and total.item() == V[-1].sum().item()
    assert func.vmap(lambda v: v * v[0].item())(V).tolist() == (V * V[:, :1]).tolist()
    assert func.vmap(lambda v: v * 2 if v.sum() > 0 else v)(V).tolist() == (V * (1 + (V.sum(1) > 0))[:, None]).tolist()


def test_vmap_differentiated():
    for function in (partly_followed, lambda v: (W @ v).exp(), lambda v: v.detach() * v):
        grads = []
        for run in (func.vmap(function), lambda x, f=function: tracer.stack([f(v) for v in x])):
            x = V.clone().requires_grad_()
            run(x).square().sum().backward()
            grads.append(x.grad.numpy())
        np.testing.assert_allclose(*grads, rtol=1e-12)


def test_vmap_with_numbers_of_the_call():
    scaled = tracer.trace(lambda x, s: func.vmap(lambda v: v * s if s < 4 else v - s)(x))
    for s in (2.0, 3.0, 3.5, 5.0, 6.0):
        assert scaled(V, s).tolist() == (V * s if s < 4 else V - s).tolist()


def test_jacobians_by_columns():
    y = tracer.randn(2, dtype=tracer.float64)
    function = lambda v, u: ((W @ v).tanh() * u.sum()).reshape(4, 1) * tracer.cat([u, v])
    for argnums in (0, (0, 1)):
        assert_trees_close(func.jacfwd(function, argnums)(V[0], y), func.jacrev(function, argnums)(V[0], y))
    assert func.jacfwd(lambda v: W)(V[0]).shape == (4, 3, 3)
    assert_trees_close(
        func.jacfwd(func.jacfwd(lambda v: (W @ v).tanh()))(V[0]), func.jacrev(func.jacrev(lambda v: (W @ v).tanh()))(V[0])
    )


def test_ensembles():
    models = [tracer.nn.Linear(2, 1) for _ in range(3)]
    params, buffers = func.stack_module_state(models)
    x = tracer.randn(5, 2)
    run = lambda p, b: func.functional_call(models[0], (p, b), (x,))
    out = func.vmap(run)(params, buffers)
    np.testing.assert_allclose(out.detach().numpy(), np.stack([m(x).detach().numpy() for m in models]), rtol=1e-5)
    with pytest.raises(RuntimeError, match="keys"):
        func.functional_call(models[0], {}, (x,), strict=True)
    with pytest.raises(AttributeError, match="nothing"):
        func.functional_call(models[0], {"nothing.weight": x}, (x,))


Point = collections.namedtuple("Point", "x y")


def test_trees():
    tree = {"a": [1, (2, 3)], "b": Point(4, collections.OrderedDict(c=5))}
    leaves, spec = pytree.tree_flatten(tree)
    assert leaves == [1, 2, 3, 4, 5] and pytree.tree_unflatten(leaves, spec) == tree
    doubled = pytree.tree_map(lambda x: 2 * x, tree)
    assert doubled["b"] == Point(8, {"c": 10}) and isinstance(doubled["b"].y, collections.OrderedDict)
    assert pytree.tree_map(lambda a, b: a + b, [1, 2], [3, 4]) == [4, 6]
    assert pytree.tree_map_only(int, str, [1, "x"]) == ["1", "x"] and pytree.tree_any(lambda x: x == 5, tree)
    with pytest.raises(ValueError, match="leaves"):
        pytree.tree_unflatten([1], spec)
    with pytest.raises(ValueError, match="structure"):
        pytree.tree_map(lambda a, b: a, [1], [1, 2])


ALONG_AXES = {
    "an index": lambda t: t[1],
    "an index of a later axis": lambda t: t[:, 2],
    "None and a slice": lambda t: t[None, 0, 1:3],
    "cumsum": lambda t: t.cumsum(0),
    "cumprod": lambda t: t.cumprod(1),
    "logcumsumexp": lambda t: t.logcumsumexp(1),
    "cummax": lambda t: t.cummax(0)[0],
    "sort": lambda t: t.sort(1)[0],
    "argsort": lambda t: t.argsort(0).to(t.dtype),
    "topk": lambda t: t.topk(2)[0],
    "max": lambda t: t.max(1)[0],
}


@pytest.mark.parametrize("name", ALONG_AXES)
def test_operations_along_an_axis_of_each_sample(name):
    f, x = ALONG_AXES[name], tracer.randn(5, 4, 6, dtype=tracer.float64)
    assert tracer.func.vmap(f)(x).equal(tracer.stack([f(t) for t in x]))
    if name != "argsort":
        gradient = tracer.func.grad(lambda t: (f(t) ** 2).sum())
        assert tracer.allclose(tracer.func.vmap(gradient)(x), tracer.stack([gradient(t) for t in x]))


def test_dual_tensors():
    from tracer.autograd import forward_ad as forward

    x, t, w = (tracer.randn(3, dtype=tracer.float64) for _ in range(3))
    w.requires_grad_()
    f = lambda x: tracer.sin(x) * x + w * x.sum()
    expected = func.jvp(f, (x,), (t,))
    with forward.dual_level() as level:
        dual = forward.make_dual(x, t)
        y = f(dual)
        found = forward.unpack_dual(y)
        assert level == 0 and tracer.allclose(found.primal, expected[0]) and tracer.allclose(found.tangent, expected[1])
        assert forward.unpack_dual(dual).tangent is t and forward.unpack_dual(x).tangent is None
        assert forward.unpack_dual(w * 2).tangent is None
        assert tracer.equal(forward.unpack_dual(3 * dual).tangent, 3 * t)
        assert tracer.equal(forward.unpack_dual(dual.sign() + 0 * dual.detach()).tangent, tracer.zeros_like(t))
        other = forward.make_dual(x, 2 * t)
        assert tracer.allclose(forward.unpack_dual(other * dual).tangent, 3 * x * t)
        with pytest.raises(RuntimeError, match="Nested"):
            forward.enter_dual_level()
        with tracer.no_grad(), pytest.raises(RuntimeError, match="no_grad"):
            forward.make_dual(x, t)
        with pytest.raises(RuntimeError, match="different size"):
            forward.make_dual(x, t[:2])
        with pytest.raises(ValueError, match="floating point"):
            forward.make_dual(tracer.ones(3, dtype=tracer.int64), t)
    assert forward.unpack_dual(y).tangent is None
    for wrong in (lambda: forward.make_dual(x, t), forward.exit_dual_level):
        with pytest.raises(RuntimeError, match="level"):
            wrong()


def test_keyword_arguments_are_shared_by_all_slices():
    scaled = func.vmap(lambda a, k: a * k)(tracer.tensor([1.0, 2.0]), k=tracer.tensor([10.0, 20.0]))
    assert scaled.tolist() == [[10.0, 20.0], [20.0, 40.0]]


def test_a_module_is_called_with_names_that_it_does_not_have():
    layer = tracer.nn.Linear(1, 1)
    x = tracer.ones(1, 1)
    assert func.functional_call(layer, {"other": x}, (x,)).item() == layer(x).item()
    with pytest.raises(RuntimeError, match="unexpected keys"):
        func.functional_call(layer, {"other": x}, (x,), strict=True)
