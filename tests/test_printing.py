"""Text of tensors, as in PyTorch."""

import pytest
from values import ones

import tracer
from tracer import tensor

INF, NAN = float("inf"), float("nan")


PRINTED = [
    (lambda: tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
    (lambda: tensor([1, 2, 3]), "tensor([1, 2, 3])"),
    (lambda: tensor([-1, 10, 100]), "tensor([ -1,  10, 100])"),
    (lambda: tensor(3), "tensor(3)"),
    (lambda: tensor(3.5), "tensor(3.5000)"),
    (lambda: tensor(True), "tensor(True)"),
    (lambda: tensor([True, False]), "tensor([ True, False])"),
    (lambda: tensor([True, True]), "tensor([True, True])"),
    (lambda: tensor([1.0, 2.0], dtype=tracer.float64), "tensor([1., 2.], dtype=tracer.float64)"),
    (lambda: tensor([1, 2], dtype=tracer.int32), "tensor([1, 2], dtype=tracer.int32)"),
    (lambda: tensor([[1.0, -2.0], [3.0, 4.0]]), "tensor([[ 1., -2.],\n        [ 3.,  4.]])"),
    (lambda: tracer.zeros(2, 1, 2), "tensor([[[0., 0.]],\n\n        [[0., 0.]]])"),
    (lambda: tensor([]), "tensor([])"),
    (lambda: tracer.zeros(0, 3), "tensor([], size=(0, 3))"),
    (lambda: tracer.zeros(0, dtype=tracer.int64), "tensor([], dtype=tracer.int64)"),
    (lambda: tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
    (lambda: tensor([1e-3, 1.0]), "tensor([0.0010, 1.0000])"),
    (lambda: tensor([1e10, 1.0]), "tensor([1.0000e+10, 1.0000e+00])"),
    (lambda: tensor([1.0, 1000.0]), "tensor([   1., 1000.])"),
    (lambda: tensor([1.0, 2000.0]), "tensor([1.0000e+00, 2.0000e+03])"),
    (lambda: tensor([1.0, 2.0, NAN, INF]), "tensor([1., 2., nan, inf])"),
    (lambda: tensor([1.5, NAN, -INF]), "tensor([1.5000,    nan,   -inf])"),
    (lambda: tensor([-1.5, 10.25, 100.0]), "tensor([ -1.5000,  10.2500, 100.0000])"),
    (
        lambda: tracer.arange(21),
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n        18, 19, 20])",
    ),
    (lambda: tracer.arange(1001), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    (lambda: tracer.zeros(1001), "tensor([0., 0., 0.,  ..., 0., 0., 0.])"),
    (lambda: tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
    (lambda: tensor([1.0], requires_grad=True) + 1, "tensor([2.], grad_fn=<AddBackward0>)"),
    (lambda: tensor(-2.5, requires_grad=True).neg(), "tensor(2.5000, grad_fn=<NegBackward0>)"),
    (
        lambda: tensor([1.0], dtype=tracer.float64, requires_grad=True) * 2,
        "tensor([2.], dtype=tracer.float64, grad_fn=<MulBackward0>)",
    ),
    (lambda: ones(2, 3).shape, "tracer.Size([2, 3])"),
    (lambda: tracer.nn.Parameter(ones(2)), "Parameter containing:\ntensor([1., 1.], requires_grad=True)"),
]


@pytest.mark.parametrize(("make", "expected"), PRINTED, ids=[text for _, text in PRINTED])
def test_printing(make, expected):
    assert repr(make()) == expected


def test_formatting():
    assert f"{tensor(1.5):.2f}" == "1.50"
    assert f"{tensor(1.5)}" == "1.5"
    assert f"{tensor([1.5])}" == "tensor([1.5000])"
    assert str(tensor(1.5)) == "tensor(1.5000)"
