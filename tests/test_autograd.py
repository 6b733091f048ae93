"""Autograd: gradients of any order, accumulation, graph lifetime, modes, in-place changes, depth, memory, threads."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tracer
from tracer import tensor
from tracer.autograd import backward, grad

FREED = r"Trying to backward through the graph a second time .*Specify retain_graph=True"
MODIFIED = "one of the variables needed for gradient computation has been modified by an inplace operation"
LEAF = "a leaf Variable that requires grad is being used in an in-place operation."


def leaf(values, dtype=tracer.float64):
    return tensor(values, dtype=dtype, requires_grad=True)


def grad_of(f, values, dtype):
    """The gradient of sum(f(x)) at x, as a list; it must have the dtype of x."""
    x = leaf(values, dtype)
    f(x).sum().backward()
    assert x.grad.dtype is x.dtype
    return x.grad.tolist()


# First derivatives at points where they depend on a convention. Expected values are PyTorch's.

CONVENTIONS = {
    "maxima share in max()": (lambda x: x.max(), [1, 1, 0], [0.5, 0.5, 0]),
    "maxima share in amax()": (lambda x: x.amax(), [1, 1, 0], [0.5, 0.5, 0]),
    "the first maximum takes all in max(dim)": (lambda x: x.max(0).values, [1, 1, 0], [1, 0, 0]),
    "equal operands share in maximum": (lambda x: tracer.maximum(x, tensor([1.0, 1.0])), [1, 2], [0.5, 1]),
    "relu at 0": (lambda x: x.relu(), [0, -1, 2], [0, 0, 1]),
    "abs at 0": (lambda x: x.abs(), [0, -1, 2], [0, -1, 1]),
    "clamp on its limits": (lambda x: x.clamp(0, 2), [0, -1, 2], [1, 0, 1]),
    "sqrt at 0": (lambda x: x.sqrt(), [0, 4], [math.inf, 0.25]),
    "pow 2 at 0": (lambda x: x**2, [0, 4], [0, 8]),
    "pow 1 at 0": (lambda x: x**1, [0, 4], [1, 1]),
    "pow 0 at 0": (lambda x: x**0, [0, 4], [0, 0]),
    "exponent": (lambda x: 2**x, [0, 2], [math.log(2), 4 * math.log(2)]),
    "exponent of 0": (lambda x: tensor([0.0, 1.0]) ** x, [2, 3], [0, 0]),
    "where": (lambda x: tracer.where(tensor([True, False]), x, x * 3), [1, 2], [1, 3]),
    "repeated positions add up": (lambda x: x[[0, 0, 2]], [1, 2, 3], [2, 0, 1]),
    "slice": (lambda x: x[1:], [1, 2, 3], [0, 1, 1]),
    "std": (lambda x: x.std(), [1, 2, 3], [-0.5, 0, 0.5]),
    "logsumexp": (lambda x: x.logsumexp(0), [1, 1], [0.5, 0.5]),
    "logsumexp with -inf": (lambda x: x.logsumexp(0), [-math.inf, 0], [0, 1]),
    "softmax": (lambda x: x.softmax(0)[0], [1, 1], [0.25, -0.25]),
    "outer sum": (lambda x: x.unsqueeze(0) + x.unsqueeze(1), [1, 1], [4, 4]),
    "expand": (lambda x: x.expand(3, 2), [1, 1], [3, 3]),
    "parts": (lambda x: x.split(2)[0] * 2 + x.chunk(2)[1] * 3, [1, 1, 1, 1], [2, 2, 3, 3]),
    "an unused part": (lambda x: x.chunk(2)[0], [1, 1, 1, 1], [1, 1, 0, 0]),
    "nothing": (lambda x: x, [], []),
    "floor and round": (lambda x: x.floor() + x.round() + x.sign(), [0.5, 1], [0, 0]),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CONVENTIONS)
def test_convention(name, dtype):
    f, values, expected = CONVENTIONS[name]
    assert grad_of(f, values, getattr(tracer, dtype)) == pytest.approx(expected)


def test_matmul():
    a, b = leaf([[1, 2], [3, 4]]), leaf([[5, 6], [7, 8]])
    (a @ b).backward(tensor([[1.0, 0.0], [0.0, 10.0]], dtype=tracer.float64))
    assert a.grad.tolist() == [[5, 7], [60, 80]]
    assert b.grad.tolist() == [[1, 30], [2, 40]]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_gradients_are_summed_over_what_was_broadcast(data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)).input_shapes
    a, b = (data.draw(hnp.arrays(np.float64, shape, elements=st.integers(-9, 9).map(float))) for shape in shapes)
    x, y = leaf(a), leaf(b)
    (x * y).sum().backward()
    for t, other in ((x, b), (y, a)):
        full = np.broadcast_to(other, np.broadcast_shapes(a.shape, b.shape))
        extra = tuple(range(full.ndim - t.ndim))
        stretched = tuple(i for i, n in enumerate(full.shape) if i >= len(extra) and t.shape[i - len(extra)] == 1)
        np.testing.assert_array_equal(t.grad.numpy(), full.sum(extra + stretched).reshape(t.shape), strict=True)


def test_gradient_has_the_leafs_dtype():
    x = leaf([1, 2], tracer.float32)
    (x.double() * tensor([1.0, 2.0], dtype=tracer.float64)).sum().backward()
    assert x.grad.dtype is tracer.float32
    assert x.grad.tolist() == [1, 2]


# backward and grad.


def test_gradients_accumulate_in_place():
    x = leaf([1, 2])
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad is first
    assert first.tolist() == [4, 8]


def test_cotangent():
    x = leaf([1, 2])
    (x * x).backward(tensor([1.0, 10.0], dtype=tracer.float64))
    assert x.grad.tolist() == [2, 40]
    assert grad(x * x, x, tensor([1.0, 0.0], dtype=tracer.float64))[0].tolist() == [2, 0]


def test_gradients_own_their_memory():
    x, y = leaf([1, 1]), leaf([1, 1])
    given_ = tensor([1.0, 1.0], dtype=tracer.float64)
    (x + y).backward(given_)
    x.grad.add_(1)
    assert (y.grad.tolist(), given_.tolist()) == ([1, 1], [1, 1])


def test_a_leaf_is_its_own_graph():
    x, given_ = leaf([1, 1]), tensor([1.0, 1.0], dtype=tracer.float64)
    x.backward(given_)
    x.backward(given_)
    assert x.grad.tolist() == [2, 2]
    assert given_.tolist() == [1, 1]
    number = leaf(3)
    assert grad(number, number)[0].item() == 1


def test_several_roots_and_chosen_inputs():
    x, y = leaf([1, 1]), leaf([1, 1])
    backward([x.sum(), (x * 2).sum()])
    assert x.grad.tolist() == [3, 3]
    (x * y).sum().backward(inputs=[y])
    assert x.grad.tolist() == [3, 3]
    assert y.grad.tolist() == [1, 1]


def test_grad_leaves_grad_alone_and_reaches_intermediate_tensors():
    x = leaf([1, 1])
    y = x * 2
    dx, dy = grad((y * y).sum(), [x, y])
    assert (dx.tolist(), dy.tolist()) == ([8, 8], [4, 4])
    assert x.grad is None


def test_grad_of_unused_inputs():
    x, unused = leaf([1]), leaf([1])
    with pytest.raises(RuntimeError, match="The differentiated Tensor at index 1 appears to not have been used in the graph"):
        grad((x * 3).sum(), [x, unused])
    assert grad((x * 3).sum(), [x, unused], allow_unused=True)[1] is None


def test_retain_graph():
    x = leaf([1, 2])
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == pytest.approx([2 * math.e, 2 * math.e**2])


def test_second_walk_of_a_freed_graph():
    x = leaf([1, 2])
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=FREED):
        y.backward()
    with pytest.raises(RuntimeError, match=FREED):
        grad(y, x)
    z = (x + 1).sum()  # saves nothing, so there is nothing to free
    z.backward()
    z.backward()


def test_second_walk_of_a_shared_part():
    x = leaf([1, 2])
    shared = x.exp()
    shared.sum().backward()
    with pytest.raises(RuntimeError, match=FREED):
        (shared * 2).sum().backward()


BAD = {
    "not a scalar": (
        lambda x: (x * x).backward(),
        RuntimeError,
        "grad can be implicitly created only for scalar outputs",
    ),
    "grad of what is not a scalar": (
        lambda x: grad(x * 2, x),
        RuntimeError,
        "grad can be implicitly created only for scalar outputs",
    ),
    "wrong shape": (
        lambda x: (x * x).backward(tracer.ones(3)),
        RuntimeError,
        "Mismatch in shape: grad_output[0] has a shape of tracer.Size([3]) and output[0] has a shape of tracer.Size([2]).",
    ),
    "wrong shape for a number": (
        lambda x: x.sum().backward(tracer.ones(1)),
        RuntimeError,
        "Mismatch in shape: grad_output[0] has a shape of tracer.Size([1]) and output[0] has a shape of tracer.Size([]).",
    ),
    "no history": (
        lambda x: tracer.ones(()).backward(),
        RuntimeError,
        "element 0 of tensors does not require grad and does not have a grad_fn",
    ),
    "detached": (
        lambda x: x.detach().sum().backward(),
        RuntimeError,
        "element 0 of tensors does not require grad and does not have a grad_fn",
    ),
    "input without gradient": (
        lambda x: grad((x * tracer.ones(2)).sum(), [tracer.ones(2)]),
        RuntimeError,
        "One of the differentiated Tensors does not require grad",
    ),
    "no inputs for backward": (
        lambda x: x.sum().backward(inputs=[]),
        RuntimeError,
        "`inputs` argument to `backward()` cannot be empty.",
    ),
    "no inputs for grad": (lambda x: grad(x.sum(), []), RuntimeError, "`inputs` argument to `grad()` cannot be empty."),
    "a number as cotangent": (lambda x: (x * x).backward(3.0), TypeError, "float"),
    ".grad is a number": (
        lambda x: setattr(x, "grad", 3),
        TypeError,
        "assigned grad expected to be a Tensor or None but got grad of type int",
    ),
    ".grad of another shape": (
        lambda x: setattr(x, "grad", tracer.ones(3, dtype=tracer.float64)),
        RuntimeError,
        "attempting to assign a gradient of size '[3]' to a tensor of size '[2]'.",
    ),
    ".grad of another dtype": (
        lambda x: setattr(x, "grad", tracer.ones(2)),
        RuntimeError,
        "attempting to assign a gradient with dtype 'float' to a tensor with grad_dtype 'Double'",
    ),
    "requires_grad off": (
        lambda x: setattr(x * 2, "requires_grad", False),
        RuntimeError,
        "you can only change requires_grad flags of leaf variables.",
    ),
    "in-place on a leaf": (lambda x: x.add_(1), RuntimeError, LEAF),
    "augmented assignment to a leaf": (lambda x: x.__iadd__(1), RuntimeError, LEAF),
    "in-place on a view of a leaf": (lambda x: x.view(2).add_(1), RuntimeError, "a view of a leaf Variable that requires grad"),
    "item assignment to a leaf": (
        lambda x: x.__setitem__(0, 1.0),
        RuntimeError,
        "a view of a leaf Variable that requires grad",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    wrong, exception, words = BAD[name]
    with pytest.raises(exception) as caught:
        wrong(leaf([1, 2]))
    assert caught.type is exception
    assert words in str(caught.value)


# Higher orders.

# Function, first, second and third derivative.
CLOSED_FORMS = {
    "sin": (lambda x: x.sin(), math.cos, lambda x: -math.sin(x), lambda x: -math.cos(x)),
    "exp": (lambda x: x.exp(), math.exp, math.exp, math.exp),
    "log": (lambda x: x.log(), lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3),
    "sqrt": (
        lambda x: x.sqrt(),
        lambda x: 0.5 * x**-0.5,
        lambda x: -0.25 * x**-1.5,
        lambda x: 0.375 * x**-2.5,
    ),
    "x * x * x": (lambda x: x * x * x, lambda x: 3 * x * x, lambda x: 6 * x, lambda x: 6),
    "x ** 3": (lambda x: x**3, lambda x: 3 * x * x, lambda x: 6 * x, lambda x: 6),
    "x ** 4.5": (
        lambda x: x**4.5,
        lambda x: 4.5 * x**3.5,
        lambda x: 15.75 * x**2.5,
        lambda x: 39.375 * x**1.5,
    ),
    "2 ** x": (
        lambda x: 2**x,
        lambda x: math.log(2) * 2**x,
        lambda x: math.log(2) ** 2 * 2**x,
        lambda x: math.log(2) ** 3 * 2**x,
    ),
    "1 / x": (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4),
    "tanh": (
        lambda x: x.tanh(),
        lambda x: 1 - math.tanh(x) ** 2,
        lambda x: -2 * math.tanh(x) * (1 - math.tanh(x) ** 2),
        lambda x: (1 - math.tanh(x) ** 2) * (6 * math.tanh(x) ** 2 - 2),
    ),
    "erf": (
        lambda x: x.erf(),
        lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x),
        lambda x: -4 * x / math.sqrt(math.pi) * math.exp(-x * x),
        lambda x: (8 * x * x - 4) / math.sqrt(math.pi) * math.exp(-x * x),
    ),
    "exp(sin(x))": (
        lambda x: x.sin().exp(),
        lambda x: math.exp(math.sin(x)) * math.cos(x),
        lambda x: math.exp(math.sin(x)) * (math.cos(x) ** 2 - math.sin(x)),
        lambda x: math.exp(math.sin(x)) * math.cos(x) * (math.cos(x) ** 2 - 3 * math.sin(x) - 1),
    ),
    "relu": (lambda x: (x * x).relu(), lambda x: 2 * x, lambda x: 2, lambda x: 0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_derivatives_to_order_three(name, dtype):
    f, *derivatives = CLOSED_FORMS[name]
    x = leaf(0.7, getattr(tracer, dtype))
    y = f(x)
    for derivative in derivatives:
        if not y.requires_grad:  # constant in x
            assert derivative(0.7) == 0
            break
        found = grad(y, x, create_graph=True, allow_unused=True)[0]
        y = tracer.zeros_like(x) if found is None else found
        assert y.dtype is x.dtype
        assert y.item() == pytest.approx(derivative(0.7), rel=1e-10 if dtype == "float64" else 1e-5)


def test_hessian():
    """Of x**2 * y**3 at (2, 3)."""
    x, y = leaf(2), leaf(3)
    dx, dy = grad(x**2 * y**3, [x, y], create_graph=True)
    rows = [[t.item() for t in grad(d, [x, y], retain_graph=True)] for d in (dx, dy)]
    assert rows == [[54, 108], [108, 72]]


def test_backward_through_backward():
    """A gradient penalty: d/dw of |d/dx (w * x**2).sum()|**2 is 8 * w * x**2."""
    w, x = leaf([1, 2]), leaf([3, 4])
    (dx,) = grad((w * x * x).sum(), x, create_graph=True)
    (dx * dx).sum().backward()
    assert w.grad.tolist() == [72, 256]
    assert x.grad.tolist() == [24, 128]  # 8 * w**2 * x


def test_create_graph_accumulates_differentiable_gradients():
    x = leaf(2)
    (x * x * x).backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = grad(x.grad, x)
    assert (x.grad.item(), second.item()) == (12, 12)
    x.grad = None  # breaks the cycle from x to its gradient and back


def test_second_order_of_a_product_and_softmax():
    x = leaf([[1, 2], [3, 4]])
    (g,) = grad((x @ x).sum(), x, create_graph=True)
    assert g.tolist() == [[7, 11], [9, 13]]
    (h,) = grad(g[0, 0], x)
    assert h.tolist() == [[2, 1], [1, 0]]
    z = leaf([1, 2, 4])
    (g,) = grad(z.logsumexp(0), z, create_graph=True)
    (h,) = grad(g[0], z)
    p = z.softmax(0).tolist()
    assert h.tolist() == pytest.approx([p[0] - p[0] ** 2, -p[0] * p[1], -p[0] * p[2]])


def test_gradients_without_create_graph_are_constants():
    x = leaf(2)
    (g,) = grad(x * x, x)
    assert not g.requires_grad
    x.backward(gradient=leaf(1))
    assert not x.grad.requires_grad


# Modes and detachment.


def test_no_grad_and_enable_grad():
    x = leaf([1, 2])
    with tracer.no_grad():
        y = x * 2
        assert not tracer.is_grad_enabled()
        with tracer.enable_grad():
            z = x * 2
        assert not tracer.is_grad_enabled()
        x.add_(1)  # allowed here, even for a leaf
    assert tracer.is_grad_enabled()
    assert (y.requires_grad, y.is_leaf, y.grad_fn) == (False, True, None)
    assert z.requires_grad
    assert x.tolist() == [2, 3]


def test_modes_end_with_an_exception():
    with pytest.raises(ZeroDivisionError), tracer.no_grad():
        1 / 0  # noqa: B018
    assert tracer.is_grad_enabled()


def test_modes_as_decorators():
    x = leaf([1])
    assert not tracer.no_grad()(lambda: x * 2)().requires_grad
    assert not tracer.no_grad(lambda: x * 2)().requires_grad
    with tracer.set_grad_enabled(False):
        assert tracer.enable_grad()(lambda: x * 2)().requires_grad
        assert not (x * 2).requires_grad


def test_set_grad_enabled_as_a_call():
    try:
        tracer.set_grad_enabled(False)
        assert not tracer.is_grad_enabled()
    finally:
        with warnings.catch_warnings():
            tracer.set_grad_enabled(True)
    assert tracer.is_grad_enabled()


def test_detach():
    x = leaf([1, 2])
    y = (x * 2).detach()
    assert (y.requires_grad, y.is_leaf, y.grad_fn) == (False, True, None)
    assert x.detach().data_ptr() == x.data_ptr()
    (x * y).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_changes_through_detach_are_seen_and_counted():
    x = leaf([1, 2])
    y = x * x
    x.detach().add_(1)
    assert x.tolist() == [2, 3]
    with pytest.raises(RuntimeError, match=MODIFIED):
        y.sum().backward()


def test_changes_through_data_are_seen_and_not_counted():
    x = leaf([1, 1])
    y = x * x
    x.data.add_(1)
    y.sum().backward()
    assert x.grad.tolist() == [4, 4]


def test_leaves():
    x = leaf([1])
    assert x.is_leaf and tracer.ones(1).is_leaf
    y = x * 2
    assert not y.is_leaf and y.requires_grad
    assert not x.requires_grad_(False).requires_grad


def test_what_is_not_floating_has_no_gradient():
    x = leaf([1, 2])
    for y in (x > 0, x == 1, x.argmax(), x.long(), x.isnan()):
        assert not y.requires_grad


# The graph as users see it.

NAMES = {
    "AddBackward0": lambda x: x + 1,
    "SubBackward0": lambda x: x - 1,
    "MulBackward0": lambda x: x * 2,
    "DivBackward0": lambda x: x / 2,
    "PowBackward0": lambda x: x**2,
    "NegBackward0": lambda x: -x,
    "ExpBackward0": lambda x: x.exp(),
    "LogBackward0": lambda x: x.log(),
    "SqrtBackward0": lambda x: x.sqrt(),
    "TanhBackward0": lambda x: x.tanh(),
    "SigmoidBackward0": lambda x: x.sigmoid(),
    "ReluBackward0": lambda x: x.relu(),
    "SumBackward0": lambda x: x.sum(),
    "AmaxBackward0": lambda x: x.amax(0),
    "MmBackward0": lambda x: x @ x,
    "ViewBackward0": lambda x: x.reshape(4),
    "PermuteBackward0": lambda x: x.permute(1, 0),
    "SliceBackward0": lambda x: x[0:1],
    "ExpandBackward0": lambda x: x.expand(3, 2, 2),
    "CatBackward0": lambda x: tracer.cat([x, x]),
    "WhereBackward0": lambda x: tracer.where(x > 0, x, 0.0),
    "MaximumBackward0": lambda x: tracer.maximum(x, tracer.zeros_like(x)),
    "GatherBackward0": lambda x: x.gather(0, tensor([[0]])),
    "CloneBackward0": lambda x: x.clone(),
    "ToCopyBackward0": lambda x: x.float(),
}


@pytest.mark.parametrize("name", NAMES)
def test_grad_fn_names(name):
    y = NAMES[name](leaf([[1, 2], [3, 4]]))
    assert y.grad_fn.name() == name
    assert f"grad_fn=<{name}>" in repr(y)
    assert repr(y.grad_fn).startswith(f"<{name} object at 0x")


def test_next_functions():
    x, constant = leaf([1]), tracer.ones(1, dtype=tracer.float64)
    y = x.exp() + constant * x
    exp, mul = (function for function, _ in y.grad_fn.next_functions)
    assert (exp.name(), mul.name()) == ("ExpBackward0", "MulBackward0")
    assert mul.next_functions[0] == (None, 0)
    (accumulate, output) = mul.next_functions[1]
    assert type(accumulate).__name__ == "AccumulateGrad"
    assert accumulate.variable is x
    assert output == 0
    assert accumulate.next_functions == ()
    assert x.grad_fn is None


def test_reading_grad_of_an_intermediate_tensor_warns():
    x = leaf([1])
    y = x * 2
    y.sum().backward()
    with pytest.warns(UserWarning, match=r"The \.grad attribute of a Tensor that is not a leaf Tensor is being accessed"):
        assert y.grad is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert x.grad is not None
        assert tracer.ones(1).grad is None


# In-place changes.


def test_in_place_changes_are_differentiated():
    x = leaf([1, 2])
    y = x.clone()
    y.mul_(3).add_(x)
    assert y.grad_fn.name() == "AddBackward0"
    y.sum().backward()
    assert x.grad.tolist() == [4, 4]
    z = tracer.zeros(2, dtype=tracer.float64)
    z.copy_(x * 3)
    assert z.requires_grad
    z.sum().backward()
    assert x.grad.tolist() == [7, 7]


CHANGED = {
    "operand": lambda x, w: (w := w * 1, x * w, w.add_(1))[1],
    "constant": lambda x, w: (x * w, w.add_(1))[0],
    "result": lambda x, w: (y := x.exp(), y.add_(1))[1],
    "through a view": lambda x, w: (x * w, w[0:1].zero_())[0],
    "under no_grad": lambda x, w: (x * x, tracer.no_grad()(x.add_)(1))[0],
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_modified_saved_tensor_is_an_error(name):
    y = CHANGED[name](leaf([1, 2]), tracer.ones(2, dtype=tracer.float64))
    with pytest.raises(RuntimeError, match=MODIFIED) as caught:
        y.sum().backward()
    assert "[tracer.DoubleTensor [2]]" in str(caught.value)
    assert "is at version 1; expected version 0 instead" in str(caught.value)


def test_changing_what_is_not_saved_is_fine():
    x = leaf([1, 2])
    y = x + 1
    z = y * 3
    y.add_(1)
    z.sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_versions():
    x = tracer.ones(2)
    view, detached = x.view(2), x.detach()
    x.add_(1)
    assert (x._version, view._version, detached._version, x.clone()._version) == (1, 1, 1, 0)
