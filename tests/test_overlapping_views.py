"""In-place changes through a part of a view that repeats elements: values and gradients as in PyTorch, eager and traced."""

import pytest

import tracer

# A part to multiply by w, and how often it contains each element of the vector of four.
PARTS = [
    (lambda y: y.expand(2, 4)[0], [1, 1, 1, 1]),
    (lambda y: y.expand(2, 4)[1], [1, 1, 1, 1]),
    (lambda y: y.expand(3, 4)[1, 1:3], [0, 1, 1, 0]),
    (lambda y: tracer.broadcast_to(y, (2, 4))[0], [1, 1, 1, 1]),
    (lambda y: y.view(2, 2)[:, None].expand(2, 3, 2)[:, 0], [1, 1, 1, 1]),
    (lambda y: y.view(2, 2).t()[:, None].expand(2, 3, 2)[0, 1], [1, 0, 1, 0]),
    (lambda y: y.unfold(0, 2, 1)[0], [1, 1, 0, 0]),
    (lambda y: y.unfold(0, 2, 1)[1], [0, 1, 1, 0]),
    (lambda y: y.unfold(0, 2, 1)[:, 0], [1, 1, 1, 0]),
    (lambda y: y.as_strided((3, 2), (1, 1))[1], [0, 1, 1, 0]),
    (lambda y: y.as_strided((3, 2), (1, 1))[:, 1], [0, 1, 1, 1]),
    (lambda y: y[1:].expand(2, 3)[0, :2], [0, 1, 1, 0]),
]


@pytest.mark.parametrize("trace", [lambda f: f, tracer.trace])
@pytest.mark.parametrize(("part", "written"), PARTS)
@pytest.mark.parametrize("inside", [True, False])
def test_written_once(part, written, trace, inside):
    @trace
    def f(x, w):
        y = x * 1
        part(y).mul_(w)
        if inside:
            (y * tracer.arange(1.0, 5.0)).sum().backward()
        return y

    for _ in range(3):
        x, w = tracer.arange(1.0, 5.0).requires_grad_(), tracer.tensor(3.0, requires_grad=True)
        y = f(x, w)
        if not inside:
            (y * tracer.arange(1.0, 5.0)).sum().backward()
        assert y.tolist() == [(k + 1) * (3 if m else 1) for k, m in enumerate(written)]
        assert x.grad.tolist() == [(k + 1) * (3 if m else 1) for k, m in enumerate(written)]
        assert w.grad.item() == sum((k + 1) ** 2 * m for k, m in enumerate(written))


@pytest.mark.parametrize("trace", [lambda f: f, tracer.trace])
@pytest.mark.parametrize(("part", "written"), PARTS)
def test_arguments_are_written_to(part, written, trace):
    @trace
    def f(x):
        part(x)[...] = 9
        return x.sum()

    for _ in range(3):
        x = tracer.arange(1.0, 5.0)
        total = f(x)
        assert x.tolist() == [9 if m else k + 1 for k, m in enumerate(written)] and total.item() == sum(x.tolist())


def test_filling_what_repeats_elements():
    x = tracer.zeros(2)
    x.expand(3, 2).fill_(4)
    assert x.tolist() == [4, 4]
    with pytest.raises(RuntimeError, match="refers to a single memory location"):
        x.expand(3, 2).fill_(tracer.tensor(4.0))


# Graphs that may be walked again, because their derivatives read nothing that is freed.


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(),
        lambda x: x.mean(0),
        lambda x: x.tril(),
        lambda x: x.triu(1),
        lambda x: x.sign(),
        lambda x: x.deg2rad(),
        lambda x: x.view(-1).diag_embed(),
        lambda x: x.sum(0).cumsum(0),
    ],
)
def test_a_second_backward_pass(function):
    x = tracer.tensor([[1.0, 2.0], [0.5, 3.0]], requires_grad=True)
    for _ in range(6):  # small functions become NumPy functions after some calls
        y = function(x)
    y.backward(tracer.ones(y.shape))
    once = x.grad.clone()
    y.backward(tracer.ones(y.shape))
    assert x.grad.tolist() == (2 * once).tolist()


def test_ravel_copies_where_rows_are_apart():
    x = tracer.arange(6.0).reshape(3, 2)
    assert x.ravel().data_ptr() == x.data_ptr()
    assert x[:, ::2].ravel().data_ptr() != x.data_ptr() and x[:, ::2].ravel().tolist() == [0, 2, 4]
