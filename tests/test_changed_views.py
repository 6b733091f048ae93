"""Views whose memory is changed later through another name: their position in the graph, hooks and gradients, as in PyTorch."""

import numpy as np
import pytest

import tracer

LEAF = "a leaf Variable that requires grad is being used in an in-place operation"


def base():
    leaf = tracer.ones(3, requires_grad=True)
    return leaf, leaf * 1


def followed(x):
    x.mul_(2)


def through_a_view(x):
    x[:1].mul_(2)


def unfollowed(x):
    with tracer.no_grad():
        x.mul_(2)


def detached(x):
    x.detach().mul_(2)


CHANGES = [followed, through_a_view, unfollowed, detached]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("view", [lambda x: x[1:], lambda x: x.view(3, 1), lambda x: x[None][..., 1:], lambda x: x.T])
def test_hooks_from_before_a_change_belong_to_the_old_value(view, change):
    _, x = base()
    v, calls = view(x), []
    v.register_hook(lambda g: calls.append("old"))
    w = v * 1
    change(x)
    assert v.grad_fn.name() == "AsStridedBackward0"
    v.register_hook(lambda g: calls.append("new"))
    v.sum().backward(retain_graph=True)
    assert calls == ["new"]
    w.sum().backward()
    assert calls == ["new", "old"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_hook_joins_those_that_nobody_has_looked_past(change):
    _, x = base()
    v, calls = x[1:], []
    v.register_hook(lambda g: calls.append("old"))
    change(x)
    v.register_hook(lambda g: calls.append("joined"))
    v.sum().backward()
    assert calls == []


@pytest.mark.parametrize("change", CHANGES)
def test_retained_gradients_are_of_the_new_value(change):
    leaf, x = base()
    v = x[1:]
    v.retain_grad()
    w = v[:1]
    change(x)
    (v.sum() + w.sum()).backward()  # the view of the view is now one of the base
    assert v.retains_grad and v.grad.tolist() == [1, 1]
    factor = 2 if change is followed else 1
    assert leaf.grad.tolist() == [0, 2 * factor, factor]


def test_mark_dirty_moves_retained_gradients():
    class Double(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    leaf, x = base()
    x.retain_grad()
    Double.apply(x)
    x.sum().backward()
    assert x.retains_grad and x.grad.tolist() == [1, 1, 1] and leaf.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    "change",
    [
        lambda v, w: v.mul_(2),
        lambda v, w: v.mul_(w),
        lambda v, w: v.copy_(w),
        lambda v, w: v.fill_(1),
        lambda v, w: v.__setitem__(..., 1),
        lambda v, w: v.__setitem__(slice(None), w),
        lambda v, w: v.relu_(),
        lambda v, w: tracer.nn.functional.relu(v, inplace=True),
    ],
)
def test_a_view_older_than_the_history_of_its_base_counts_as_a_leaf_until_it_is_looked_up(change):
    w = tracer.ones((), requires_grad=True)
    x = tracer.zeros(3)
    v, other = x[1:], x[:1]
    other.mul_(w)
    assert v.requires_grad
    with pytest.raises(RuntimeError, match=LEAF):
        change(v, w)
    assert not v.is_leaf and v.grad_fn.name() == "AsStridedBackward0"
    change(v, w)


def test_a_part_may_be_written_to_although_it_is_older():
    w = tracer.ones((), requires_grad=True)
    x = tracer.zeros(3)
    v, other = x[1:], x[:1]
    other.mul_(w)
    v[:1] = w  # a new view, whose creation looks up the old one
    x.sum().backward()
    assert w.grad.item() == 1


def test_a_function_of_the_users_own_looks_its_arguments_up():
    class Scale(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 3

        @staticmethod
        def backward(ctx, g):
            return g * 5

    leaf, x = base()
    v = x[1:]
    x.mul_(2)
    Scale.apply(v).sum().backward()
    assert leaf.grad.tolist() == [0, 10, 10]
    leaf, x = base()
    v = x.unbind()[0]
    x.mul_(2)
    with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and its base"):
        Scale.apply(v)


@pytest.mark.parametrize("in_place", [lambda x, w: x.mul_(other=w), lambda x, w: x.addcmul_(x.detach() * 1, tensor2=w)])
def test_operands_by_name_are_followed(in_place):
    w = tracer.full((3,), 2.0, requires_grad=True)
    x = tracer.ones(3)
    in_place(x, w)
    x.sum().backward()
    assert w.grad.tolist() == [1, 1, 1]


def test_a_view_of_what_becomes_a_leaf_requires_gradients_without_reaching_it():
    x = tracer.zeros(3)
    v = x[1:]
    x.requires_grad_()
    assert v.requires_grad and v.is_leaf and v.grad_fn is None
    y = v * 2
    assert y.requires_grad
    y.sum().backward()
    assert x.grad is None and v.grad is None


def test_a_source_that_was_changed_gives_its_new_history():
    leaf, x = base()
    v, y = x[1:], tracer.zeros(2)
    x.mul_(2)
    y.copy_(v)
    y.sum().backward()
    assert leaf.grad.tolist() == [0, 2, 2]


# as_strided: through its tensor, whose elements alone have gradients.


@pytest.mark.parametrize(
    ("view", "arguments", "expected"),
    [
        (lambda x: x[1:], ((2,), (1,), 0), [0, 1, 0, 0, 0, 0]),
        (lambda x: x[::2], ((3,), (1,), 0), [1, 0, 1, 0, 0, 0]),
        (lambda x: x[::2], ((2,), (2,), 0), [1, 0, 1, 0, 0, 0]),
        (lambda x: x.view(2, 3)[:, 1:], ((2, 2), (2, 1)), [0, 1, 1, 0, 1, 0]),
        (lambda x: x.view(2, 3).t(), ((3, 2), (1, 3)), [1, 1, 1, 1, 1, 1]),
        (lambda x: x.view(2, 3).select(0, 1), ((5,), (1,), 1), [0, 0, 0, 1, 1, 1]),
        (lambda x: x.expand(3, 6), ((3, 6), (0, 1)), [3, 3, 3, 3, 3, 3]),
    ],
)
def test_as_strided_goes_back_through_its_tensor(view, arguments, expected):
    leaf = tracer.arange(6.0).requires_grad_()
    v, calls = view(leaf), []
    v.register_hook(lambda g: calls.append(g.shape))
    y = v.as_strided(*arguments)
    y.sum().backward()
    assert leaf.grad.tolist() == expected and calls == [v.shape]
    assert y.grad_fn.name() == "AsStridedBackward0" and y._base is leaf


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize("start", [0, 1])
def test_as_strided_beyond_its_tensor_traced(start):
    @tracer.trace
    def f(x):
        return x[1:].as_strided((2,), (1,), start)

    for _ in range(3):
        leaf = tracer.arange(6.0).requires_grad_()
        f(leaf).sum().backward()
        assert leaf.grad.tolist() == [0, 1, start, 0, 0, 0]


def test_as_strided_of_a_leaf_that_is_a_view():
    x = tracer.arange(6.0).reshape(2, 3).requires_grad_()
    x[:, 1:].as_strided((2, 2), (3, 1)).sum().backward()
    assert x.grad.tolist() == [[0, 1, 1], [0, 1, 1]]


# Views without elements also have an offset.


@pytest.mark.parametrize(
    ("view", "offset"),
    [
        (lambda x: x[2:], 6),
        (lambda x: x[1:1], 3),
        (lambda x: x[:, 3:], 3),
        (lambda x: x[:, 3:][1:], 6),
        (lambda x: x[2:][:, 1], 7),
        (lambda x: x[1][3:], 6),
        (lambda x: x.narrow(0, 2, 0), 6),
        (lambda x: x.narrow(1, 1, 0).t()[None], 1),
        (lambda x: x.split([2, 0])[1], 6),
        (lambda x: x.tensor_split(5)[-1], 6),
        (lambda x: x[1:][1:].chunk(2)[-1], 6),
        (lambda x: x[:, ::2][2:][:, 1:], 8),
        (lambda x: x[:, 1:1].select(0, 1), 4),
        (lambda x: x[2:].as_strided((0,), (1,)), 6),
        (lambda x: x[2:].as_strided((0,), (1,), 4), 4),
        (lambda x: x[:, 3:].reshape(-1).view(3, 0), 3),
        (lambda x: x[:, 3:].expand(4, 2, 0), 3),
        (lambda x: x[2:].unfold(1, 1, 1), 6),
        (lambda x: x[2:].view(tracer.int32), 6),
        (lambda x: x[2:].detach(), 6),
        (lambda x: x.diagonal(5), 0),
        (lambda x: x[2:].clone(), 0),
    ],
)
def test_offsets_of_what_has_no_elements(view, offset):
    x = tracer.arange(6.0).reshape(2, 3)
    v = view(x)
    assert v.numel() == 0 and v.storage_offset() == offset and v.data_ptr() == 0


def test_elements_from_an_empty_view():
    x = tracer.arange(6.0).reshape(2, 3).requires_grad_()
    y = x[1:][1:].as_strided((2,), (1,), x[1:].storage_offset())
    assert y.tolist() == [3, 4]
    y.sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(("shape", "strides"), [((0, 3), (3, 1)), ((2, 0), (1, 1)), ((2, 0, 3), (3, 3, 1)), ((0,), (1,))])
def test_strides_of_what_has_no_elements(shape, strides):
    assert tracer.zeros(shape).stride() == strides


def test_a_view_assigned_to_its_own_place_counts_as_a_change():
    x = tracer.zeros(3, 4)
    x[1] += 1.0  # changes the view, then assigns it to x[1]
    assert x._version == 2 and x.tolist()[1] == [1.0] * 4
    x[:, 2] = x[:, 2]
    x[...] = x[:]
    assert x._version == 4
    y = x[1]
    x[2] = y
    assert x._version == 5 and x.tolist()[2] == [1.0] * 4


def test_a_view_assigned_to_its_own_place_is_refused_where_a_change_is():
    leaf = tracer.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        leaf[0] = leaf[0]
    expanded = tracer.zeros(1).expand(3)
    with pytest.raises(RuntimeError, match="single memory location"):
        expanded[:2] = expanded[:2]
    array = np.zeros(3)
    array.flags.writeable = False
    fixed = tracer.from_numpy(array)
    with pytest.raises(RuntimeError, match="read-only"):
        fixed[:2] = fixed[:2]
