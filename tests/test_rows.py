"""Results in row-major order, whatever the order in memory of the operands' axes."""

import operator

import pytest

import tracer
from tracer.nn import functional as F

COLUMNS = tracer.arange(12.0).reshape(3, 4).T
PERMUTED = tracer.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)

FUNCTIONS = {
    "cat": lambda: tracer.cat([COLUMNS, COLUMNS]),
    "stack": lambda: tracer.stack([COLUMNS, COLUMNS]),
    "softmax": lambda: COLUMNS.softmax(0),
    "log_softmax": lambda: F.log_softmax(COLUMNS, 1),
    "cumsum": lambda: COLUMNS.cumsum(0),
    "cummax": lambda: COLUMNS.cummax(0).values,
    "sum": lambda: PERMUTED.sum(1),
    "mean": lambda: PERMUTED.mean(2),
    "std": lambda: PERMUTED.std(1),
    "masked_fill": lambda: COLUMNS.masked_fill(COLUMNS > 5, 0.0),
    "layer_norm": lambda: F.layer_norm(COLUMNS, (3,)),
    "batch_norm": lambda: F.batch_norm(COLUMNS, None, None, training=True),
    "roll": lambda: COLUMNS.roll(1, 0),
    "one_hot": lambda: F.one_hot(tracer.tensor([[0, 1, 2], [1, 0, 2]]), 4),
    "einsum": lambda: tracer.einsum("bij,bjk->bki", tracer.ones(2, 3, 4), tracer.ones(2, 4, 5)),
    "grid_sample": lambda: F.grid_sample(tracer.ones(2, 3, 4, 4), tracer.zeros(2, 5, 5, 2), align_corners=False),
    "conv1d": lambda: F.conv1d(tracer.ones(2, 3, 8), tracer.ones(4, 3, 3)),
    "conv2d": lambda: F.conv2d(tracer.ones(2, 1, 3, 3), tracer.ones(3, 1, 2, 2)),
    "conv3d": lambda: F.conv3d(tracer.ones(2, 3, 4, 4, 4), tracer.ones(4, 3, 3, 3, 3)),
    "depthwise": lambda: F.conv2d(tracer.ones(2, 4, 5, 5), tracer.ones(4, 1, 3, 3), groups=4),
    "pool": lambda: F.max_pool1d(tracer.ones(2, 6, 3).transpose(1, 2), 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_flat_view_shares_the_memory(name):
    for function in (FUNCTIONS[name], *[tracer.trace(FUNCTIONS[name])] * 2):
        result = function()
        assert result.is_contiguous() and result._base is None
        result.flatten().zero_()
        assert not result.any()


def test_a_penalty_on_gradients_of_images():
    x = tracer.rand(2, 1, 3, 3).requires_grad_()
    (g,) = tracer.autograd.grad((F.conv2d(x, tracer.ones(3, 1, 2, 2)) ** 2).sum(), x, create_graph=True)
    assert g.view(2, -1).shape == (2, 9)


def test_the_network_in_front_of_a_flat_layer():
    net = tracer.nn.Conv2d(1, 4, 3)
    assert net(tracer.rand(2, 1, 5, 5)).view(2, -1).shape == (2, 36)


def test_elementwise_results_keep_the_order():
    assert (COLUMNS + 1).stride() == COLUMNS.stride() == F.relu(COLUMNS).stride()


def test_parts_and_sums_of_shapes_are_shapes():
    size = tracer.rand(2, 3, 4).shape
    assert size[1:].numel() == 12 and type(size[:-1]) is tracer.Size and type(size[0]) is int
    one = (1,)
    for whole in (operator.add(size, one), operator.add(one, size), size * 2, 2 * size):
        assert type(whole) is tracer.Size
    with pytest.raises(TypeError):
        operator.add(size, [1])


def test_no_bias_is_none():
    assert tracer.nn.Linear(2, 3, bias=None).bias is None and tracer.nn.Conv2d(1, 1, 1, bias=None).bias is None


@pytest.mark.parametrize("traced", [False, True])
def test_gradients_through_padding(traced):
    """A gradient penalty takes a view of them."""
    layer = tracer.nn.Conv2d(3, 4, 4, 2, 1)

    def penalty(x):
        out = layer(x)
        (g,) = tracer.autograd.grad(out, x, tracer.ones_like(out), create_graph=True)
        return g.view(g.size(0), -1).norm(2, dim=1).square().mean()

    x = tracer.randn(2, 3, 8, 8, requires_grad=True)
    function = tracer.trace(penalty) if traced else penalty
    for _ in range(3):
        assert tracer.allclose(function(x), penalty(x))
