"""The short ways of eager mode give what the general ones give: views by plans, and generated backward steps."""

import numpy as np
import pytest
from samples import cases

import tracer

CASES = [case for case in cases() if case[1].differentiable]


def operands(sample):
    return [tracer.tensor(np.asarray(a)).requires_grad_(np.asarray(a).dtype.kind == "f") for a in sample.args]


def gradients(primitive, sample, general):
    """The gradients of all operands; ``general``: through the engine's general path, which nodes with hooks take."""
    xs = operands(sample)
    followed = [x for x in xs if x.requires_grad]
    y = primitive(*xs, **sample.attrs)
    if not followed or not y.requires_grad:
        return None
    if general:
        y.grad_fn.register_prehook(lambda g: None)
    g = tracer.tensor(np.random.default_rng(0).standard_normal(y.shape), dtype=y.dtype)
    return tracer.autograd.grad(y, followed, g, allow_unused=True), y.grad_fn


@pytest.mark.parametrize("primitive, sample", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_generated_backward_steps_are_the_rules(primitive, sample):
    try:
        found = gradients(primitive, sample, False)
    except (NotImplementedError, RuntimeError) as e:
        with pytest.raises(type(e)):
            gradients(primitive, sample, True)
        return
    if found is None:
        return
    expected = gradients(primitive, sample, True)[0]
    for a, b in zip(found[0], expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype is b.dtype and a.shape == b.shape
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_most_primitives_have_such_a_step():
    nodes = [found[1] for _, primitive, sample in CASES if (found := safely(primitive, sample)) is not None]
    assert sum(node.pull is not None for node in nodes) > 0.9 * len(nodes) > 100


def safely(primitive, sample):
    try:
        return gradients(primitive, sample, False)
    except (NotImplementedError, RuntimeError):
        return None


def test_steps_check_what_they_read():
    def passes(change):
        x, w = tracer.ones(3, requires_grad=True), tracer.ones(3, requires_grad=True)
        a = x * 1
        y = a * w
        change(a, w, y)
        y.sum().backward()
        return x.grad, w.grad

    passes(lambda a, w, y: None)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"), tracer.no_grad(), tracer.enable_grad():
        passes(lambda a, w, y: a.data.add_(0) is None or changed(a))
    with pytest.raises(RuntimeError, match="a second time"):
        passes(lambda a, w, y: y.sum().backward())


def changed(t):
    with tracer.no_grad():
        t.add_(1)


INDICES = {
    "a number": lambda n: n,
    "a NumPy number": lambda n: np.int64(n),
    "a tensor": lambda n: tracer.tensor(n),
    "a slice": lambda n: slice(n, None),
    "a slice of NumPy numbers": lambda n: slice(None, np.int32(n + 1)),
    "with None": lambda n: (None, n, None),
    "an ellipsis": lambda n: (..., n),
    "steps": lambda n: (slice(None, None, n + 1), slice(None), n),
    "negative": lambda n: (-n - 1, slice(-2, None)),
    "everything": lambda n: ...,
    "beyond the end": lambda n: (slice(n, 99), slice(5, 2)),
}


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("n", [0, 1])
def test_views_by_an_index_are_numpys(name, n):
    array = np.arange(24.0).reshape(2, 3, 4)
    index = INDICES[name](n)
    plain = index.item() if isinstance(index, tracer.Tensor) else index
    for _ in range(2):
        x = tracer.tensor(array, requires_grad=True)
        view = x[index]
        assert view.tolist() == array[plain].tolist()
        strides = zip(view.stride(), array[plain].strides, view.shape, strict=True)
        assert all(own == theirs // 8 for own, theirs, n in strides if n > 1)
        view.sum().backward()
        expected = np.zeros_like(array)
        expected[plain] = 1
        assert x.grad.tolist() == expected.tolist()
        y = tracer.tensor(array)
        y[index].zero_()  # a view
        assert (y.numpy() == np.where(expected == 1, 0, array)).all()


def test_equal_numbers_of_other_types_are_other_indices():
    x = tracer.arange(6).reshape(2, 3)
    assert x[1].tolist() == [3, 4, 5] and x[True].tolist() == [[[0, 1, 2], [3, 4, 5]]]
    for _ in range(2):
        with pytest.raises(IndexError):
            x[1.0]
        with pytest.raises(IndexError, match="out of bounds"):
            x[2]
        with pytest.raises(TypeError):
            x.reshape(3.0, 2)
        with pytest.raises(RuntimeError, match="invalid for input of size 6"):
            x.reshape(4, 2)
        with pytest.raises(ValueError, match="step must be greater than zero"):
            x[::-1]
        assert x.reshape(3, -1).shape == (3, 2) and x.transpose(0, -1).shape == (3, 2)


def test_names_of_nodes():
    x = tracer.ones(2, 3, requires_grad=True)
    assert x[0].grad_fn.name() == x[:, 1].grad_fn.name() == "SelectBackward0"
    assert x[:, 1:].grad_fn.name() == "SliceBackward0"


def test_numbers_that_differ_between_calls():
    f = tracer.trace(lambda x, n: (x[n], x[:n], x.reshape(n, -1), x.transpose(0, n - 1), x.split(n)[0], x.narrow(0, 0, n)))
    for _ in range(2):
        for n in (1, 2, 1, 2):
            x = tracer.randn(4, 6)
            for a, b in zip(f(x, n), (x[n], x[:n], x.reshape(n, -1), x.transpose(0, n - 1), x.split(n)[0], x[:n]), strict=True):
                assert a.equal(b)
