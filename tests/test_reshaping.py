"""Methods that change a tensor's own shape, with PyTorch's numbers."""

import pytest

import tracer

LEAF = "a leaf Variable that requires grad is being used in an in-place operation"


@pytest.mark.parametrize("change", ["unsqueeze_(0)", "squeeze_()", "t_()", "transpose_(0, 0)", "swapaxes_(0, 0)"])
def test_a_leaf_that_requires_gradients_keeps_its_shape(change):
    with pytest.raises(RuntimeError, match=LEAF):
        eval(f"x.{change}", {"x": tracer.ones(3, requires_grad=True)})


def test_shapes():
    x = tracer.arange(6).reshape(2, 3)
    assert x.t_() is x
    assert x.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert x.unsqueeze_(0).shape == (1, 3, 2)
    assert x.transpose_(1, 2).shape == (1, 2, 3)
    assert x.squeeze_(0).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert x.swapdims_(0, 1).shape == (3, 2)


def test_views_made_before_and_after_share_memory():
    x = tracer.arange(6.0).reshape(2, 3)
    row = x[0]
    x.t_()
    x[0, 0] = 9
    assert row.tolist() == [9, 1, 2]
    row.mul_(2)
    x.unsqueeze_(0)
    later = x[0, 1]
    x.squeeze_(0)
    later.add_(1)
    assert x.tolist() == [[18, 3], [3, 5], [4, 5]]
    assert later.tolist() == [3, 5]
    assert row.tolist() == [18, 3, 4]


def test_a_change_counts_as_one_in_place():
    x = tracer.ones(3, requires_grad=True)
    y = x * 2
    y.unsqueeze_(0)
    assert y._version == 1
    z = y * y
    y.squeeze_(0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_without_gradients_a_leaf_changes_and_remains_one():
    x = tracer.ones(3, requires_grad=True)
    with tracer.no_grad():
        x.unsqueeze_(0)
    assert x.is_leaf
    assert x.requires_grad
    (x * 3).sum().backward()
    assert x.grad.tolist() == [[3, 3, 3]]


def test_gradients_through_views_of_both_shapes():
    x = tracer.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x * 2).unsqueeze(0)
    row = y[0]
    y.squeeze_(0)
    row.mul_(3)
    assert y.tolist() == [6, 12, 18]
    y.sum().backward()
    assert x.grad.tolist() == [6, 6, 6]

    x.grad = None
    y = x * 2
    tail = y[1:]
    y.unsqueeze_(1)
    y.mul_(x.detach().unsqueeze(1))
    assert tail.tolist() == [8, 18]
    (tail * tail).sum().backward()
    assert x.grad.tolist() == [0, 64, 216]


def _inside(x):
    y = x * 2
    tail = y[1:]
    y.unsqueeze_(1)
    y.mul_(x.unsqueeze(1))
    flipped = y.t_()
    return (tail * y[0, 1:]).sum() + flipped.sum()


def test_in_a_trace():
    x = tracer.tensor([1.0, 2.0, 3.0], requires_grad=True)
    traced = tracer.trace(_inside)
    for _ in range(3):
        x.grad = None
        result = traced(x)
        assert result.item() == 416
        result.backward()
        assert x.grad.tolist() == [4, 136, 444]
    assert len(traced.traces) == 1
    assert not traced.eager_reasons


def test_an_argument_changes_its_shape_eagerly():
    traced = tracer.trace(lambda x: x.t_())
    x = tracer.arange(6).reshape(2, 3)
    with pytest.warns(tracer.TraceWarning, match="changes the shape of a tensor made outside"):
        traced(x)
    assert x.shape == (3, 2)
    assert traced(x) is x
    assert x.shape == (2, 3)


def test_addbmm_takes_the_shape_of_the_product():
    a, b = tracer.ones(2, 3, 5), tracer.ones(2, 5, 4)
    x = tracer.ones(1, 4, requires_grad=True)
    y = (x * 2).addbmm_(a, b)
    assert y.shape == (3, 4)
    assert y.tolist() == [[12.0] * 4] * 3
    y.sum().backward()
    assert x.grad.tolist() == [[6.0] * 4]
    assert tracer.zeros(3, 4).addbmm_(a, b).tolist() == [[10.0] * 4] * 3


def test_resize():
    x = tracer.arange(6.0)
    view = x[1:3]
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    x[0, 1] = 7
    assert view.tolist() == [7, 2]
    assert x.resize_(6).tolist() == [0, 7, 2, 3, 4, 5]
    assert x.resize_(2, 4).shape == (2, 4)
    assert x.flatten()[:6].tolist() == [0, 7, 2, 3, 4, 5]
    flipped = tracer.arange(6.0).reshape(2, 3).t()
    assert flipped.resize_as_(tracer.ones(2, 2)).tolist() == [[0, 1], [2, 3]]  # in memory order
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        tracer.ones(2, requires_grad=True).resize_(3)
    with pytest.raises(RuntimeError, match="negative dimension -1"):
        x.resize_(-1)
