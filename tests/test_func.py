"""Function transforms: derivatives, batches, ensembles; trees."""

import collections

import numpy as np
import pytest

import tracer
from tracer import func
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
        func.functional_call(models[0], {"nothing": x}, (x,))


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
