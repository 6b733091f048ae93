"""Modules, layers and losses, compared with values recorded from PyTorch 2.13 in float64."""

import copy
import math
import pickle
from collections import OrderedDict

import pytest
from values import flat, leaf, raises_exactly

import tracer
from tracer import nn, optim, tensor
from tracer.nn import functional as F


def pattern(*shape, period):
    """0, 1, ... modulo ``period``, centred at 0: small integers, so that sums of products are exact."""
    return tensor([i % period - period // 2 for i in range(math.prod(shape))], dtype=tracer.float64).reshape(shape)


# Layers.


def test_linear():
    x, w, b = (pattern(*s, period=p).requires_grad_() for s, p in (((2, 3), 5), ((4, 3), 7), ((4,), 3)))
    y = F.linear(x, w, b)
    y.backward(pattern(2, 4, period=3))
    assert flat(y) == [7, -1, -2, 1, -6, -2, 2, -4]
    assert flat(x.grad) == [7, -1, -2, -3, 4, 4]
    assert flat(w.grad) == [2, 1, 0, 1, 2, -2, -3, -3, 2, 2, 1, 0]
    assert flat(b.grad) == [-1, 1, 0, -1]


def test_linear_takes_any_leading_dims():
    layer = nn.Linear(3, 2)
    assert layer(tracer.ones(3)).shape == (2,)
    assert layer(tracer.ones(4, 5, 3)).shape == (4, 5, 2)
    assert nn.Linear(3, 2, bias=False).bias is None


# Options; then for x (1, 2, 4, 3), w (2, 2 / groups, 2, 2), b = (1, -2): the result's shape, the result, and the gradients of x
# and w.
# fmt: off
CONV_CASES = [
    ({}, (1, 2, 3, 2), [7, 4, -12, 10, 4, -4, 16, 9, -20, -7, 9, -8],
     [5, 3, 0, -4, 1, 3, -1, -3, -4, 0, -1, 1, -3, -5, 0, 3, 7, -5, 0, -2, 10, 0, 0, -5],
     [1, 6, -4, -4, 1, -4, 1, 6, 1, 6, -4, -4, 1, -4, 1, 6]),
    ({"stride": 2, "padding": 1}, (1, 2, 3, 2), [1, -1, -8, 10, -5, 11, -4, -9, -12, -7, -7, 6],
     [-1, 0, 0, -3, 5, 3, 1, 1, -1, 0, -5, -3, 5, 0, 0, 5, -3, -5, -5, 0, 5, 0, 3, 5],
     [-4, 2, 0, 0, 1, -1, -2, 3, -4, 2, 0, 0, 1, -1, -2, 3]),
    ({"padding": (0, 1)}, (1, 2, 3, 4), [11, 7, 4, 5, -8, -12, 10, 0, 8, 4, -4, 0, 5, 16, 9, 2, -12, -20, -7, 8, 6, 9, -8, -11],
     [3, -5, 2, -6, 1, 5, 1, 5, -6, 2, -1, -1, -5, 3, 2, 8, 2, -10, 2, -10, 8, -5, 5, 0],
     [0, 5, 0, 0, -5, 0, 0, 5, 0, 5, 0, 0, -5, 0, 0, 5]),
    ({"dilation": 2}, (1, 2, 2, 1), [21, -8, 10, -6],
     [1, 0, 1, 2, 0, 1, 1, 0, 1, 0, 0, -1, 1, 0, 1, -2, 0, -3, -6, 0, 1, 3, 0, 2],
     [2, 0, 1, -1, 0, -2, -1, 2, -3, 2, -3, 2, 2, 2, 2, -3]),
    ({"groups": 2}, (1, 2, 3, 2), [8, 2, -5, -1, 2, 1, -3, 0, -9, 9, 0, -7],
     [3, 2, 0, -2, 1, 2, -1, -2, -2, 0, -1, 0, -1, -2, 0, -2, 4, -2, 3, -5, 5, 0, 3, -3],
     [1, 6, -4, -4, 1, -4, 1, 6]),
    ({"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}, (1, 2, 3, 1), [3, 3, -3, -8, 5, -1],
     [1, 0, 0, 0, 0, 0, 0, 0, 0, -3, 0, -2, -3, 0, 3, 0, 0, 0, 0, 0, 0, 1, 0, 2],
     [2, -1, 2, 0, -1, 1, 0, -2]),
    ({"padding": "same"}, (1, 2, 4, 3), [7, 4, 5, -12, 10, 0, 4, -4, 0, -2, 11, 5, 16, 9, 2, -20, -7, 8, 9, -8, -11, -6, 6, 2],
     [5, 3, -5, 6, 2, -6, 6, 2, -6, 6, 2, -6, -3, -5, 3, -3, 0, 3, -3, 0, 3, -3, 0, 3],
     [-2, 1, -4, 0, 3, -2, 1, -1, -2, 1, -4, 0, 3, -2, 1, -1]),
]
# fmt: on


@pytest.mark.parametrize(("options", "shape", "result", "grad_x", "grad_w"), CONV_CASES, ids=[str(c[0]) for c in CONV_CASES])
def test_conv2d(options, shape, result, grad_x, grad_w):
    x = pattern(1, 2, 4, 3, period=5).requires_grad_()
    w = pattern(2, 2 // options.get("groups", 1), 2, 2, period=7).requires_grad_()
    b = leaf([1, -2])
    y = F.conv2d(x, w, b, **options)
    cotangent = pattern(*shape, period=3)
    y.backward(cotangent)
    assert y.shape == shape
    assert flat(y) == result
    assert flat(x.grad) == grad_x
    assert flat(w.grad) == grad_w
    assert flat(b.grad) == flat(cotangent.sum((0, 2, 3)))


def test_conv2d_of_one_image():
    x, w = pattern(2, 4, 3, period=5), pattern(3, 2, 2, 2, period=7)
    one, batch = F.conv2d(x, w), F.conv2d(x[None], w)
    assert one.shape == (3, 3, 2)
    assert flat(one) == flat(batch)
    layer = nn.Conv2d(2, 3, (2, 1), stride=(1, 2), padding=1)
    assert layer.weight.shape == (3, 2, 2, 1)
    assert layer(tracer.ones(5, 2, 4, 3)).shape == (5, 3, 5, 3)


def test_initial_values():
    tracer.manual_seed(0)
    linear, conv = nn.Linear(100, 50), nn.Conv2d(4, 8, 5)
    for layer, fan_in in ((linear, 100), (conv, 100)):
        for p in (layer.weight, layer.bias):
            assert p.requires_grad and p.is_leaf and p.dtype is tracer.float32
            assert 0.07 < p.abs().max().item() <= 1 / math.sqrt(fan_in) + 1e-6
    assert abs(linear.weight.mean().item()) < 0.003


def test_activations():
    x = tensor([-1.0, 0.0, 1.0])
    assert nn.ReLU()(x).tolist() == [0, 0, 1]
    assert nn.Tanh()(x).tolist() == pytest.approx([-0.76159416, 0, 0.76159416])
    assert nn.Sigmoid()(x).tolist() == pytest.approx([0.26894142, 0.5, 0.73105858])
    assert F.gelu(x).tolist() == pytest.approx([-0.15865525, 0, 0.84134475])
    assert F.gelu(x, approximate="tanh").tolist() == pytest.approx([-0.15880801, 0, 0.84119199])
    assert F.silu(x).tolist() == pytest.approx([-0.26894142, 0, 0.73105858])
    assert F.leaky_relu(x).tolist() == pytest.approx([-0.01, 0, 1])
    assert F.softplus(tensor([-100.0, 0.0, 100.0])).tolist() == pytest.approx([0, math.log(2), 100])
    y = x.clone()
    assert nn.ReLU(inplace=True)(y) is y
    assert y.tolist() == [0, 0, 1]


def test_sequential():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2), nn.ReLU())
    assert model(tracer.ones(4, 2, 3)).shape == (4, 2)
    assert (len(model), [type(m).__name__ for m in model]) == (3, ["Flatten", "Linear", "ReLU"])
    assert model[-1] is model[2]
    assert len(model[1:]) == 2
    model.append(nn.Tanh())
    assert len(model) == 4
    named = nn.Sequential(OrderedDict(first=nn.Linear(1, 1)))
    assert list(named.state_dict()) == ["first.weight", "first.bias"]


# Losses.

LOGITS = [[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.0, 1.0], [-0.5, 0.25, 4.0]]
CLASSES = [0, 2, 1, 2]
PROBABILITIES = [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]

# Target, options, loss, and the gradient of its sum.
# fmt: off
LOSSES = [
    (CLASSES, {}, [1.6072373868],
     [-0.0536007414, 0.0097781433, 0.043822598, 0.0117808541, 0.2366247806, -0.2484056348, 0.0833333333, -0.1666666667,
      0.0833333333, 0.0026843006, 0.0056826643, -0.0083669649]),
    (CLASSES, {"reduction": "sum"}, [6.428949547],
     [-0.2144029654, 0.0391125733, 0.1752903921, 0.0471234165, 0.9464991226, -0.9936225391, 0.3333333333, -0.6666666667,
      0.3333333333, 0.0107372022, 0.0227306572, -0.0334678594]),
    (CLASSES, {"reduction": "none"}, [0.2413112967, 5.0549852354, 1.0986122887, 0.0340407263],
     [-0.2144029654, 0.0391125733, 0.1752903921, 0.0471234165, 0.9464991226, -0.9936225391, 0.3333333333, -0.6666666667,
      0.3333333333, 0.0107372022, 0.0227306572, -0.0334678594]),
    (CLASSES, {"ignore_index": 2}, [0.6699617927],
     [-0.1072014827, 0.0195562866, 0.0876451961, 0.0, 0.0, 0.0, 0.1666666667, -0.3333333333, 0.1666666667, 0.0, 0.0, 0.0]),
    (CLASSES, {"ignore_index": 2, "reduction": "none"}, [0.2413112967, 0.0, 1.0986122887, 0.0],
     [-0.2144029654, 0.0391125733, 0.1752903921, 0.0, 0.0, 0.0, 0.3333333333, -0.6666666667, 0.3333333333, 0.0, 0.0, 0.0]),
    (CLASSES, {"ignore_index": 2, "reduction": "sum"}, [1.3399235853],
     [-0.2144029654, 0.0391125733, 0.1752903921, 0.0, 0.0, 0.0, 0.3333333333, -0.6666666667, 0.3333333333, 0.0, 0.0, 0.0]),
    (CLASSES, {"label_smoothing": 0.1}, [1.6551540534],
     [-0.0369340747, 0.00144481, 0.0354892647, 0.0034475208, 0.2282914473, -0.2317389681, 0.075, -0.15, 0.075, -0.0056490328,
      -0.002650669, 0.0082997018]),
    (CLASSES, {"label_smoothing": 0.1, "reduction": "none"}, [0.3913112967, 4.821651902, 1.0986122887, 0.3090407263],
     [-0.1477362987, 0.0057792399, 0.1419570588, 0.0137900832, 0.9131657892, -0.9269558724, 0.3, -0.6, 0.3, -0.0225961311,
      -0.0106026761, 0.0331988072]),
    (CLASSES, {"label_smoothing": 0.1, "reduction": "sum"}, [6.6206162137],
     [-0.1477362987, 0.0057792399, 0.1419570588, 0.0137900832, 0.9131657892, -0.9269558724, 0.3, -0.6, 0.3, -0.0225961311,
      -0.0106026761, 0.0331988072]),
    (CLASSES, {"label_smoothing": 0.1, "ignore_index": 2}, [0.7449617927],
     [-0.0738681494, 0.00288962, 0.0709785294, 0.0, 0.0, 0.0, 0.15, -0.3, 0.15, 0.0, 0.0, 0.0]),
    (CLASSES, {"ignore_index": 2, "reduction": "none", "label_smoothing": 0.25}, [0.6163112967, 0.0, 1.0986122887, 0.0],
     [-0.0477362987, -0.0442207601, 0.0919570588, 0.0, 0.0, 0.0, 0.25, -0.5, 0.25, 0.0, 0.0, 0.0]),
    (PROBABILITIES, {}, [0.8447373868],
     [0.0713992586, -0.0527218567, -0.018677402, 0.0117808541, -0.0133752194, 0.0015943652, 0.0333333333, 0.0083333333,
      -0.0416666667, -0.0223156994, -0.0193173357, 0.0416330351]),
    (PROBABILITIES, {"reduction": "sum"}, [3.378949547],
     [0.2855970346, -0.2108874267, -0.0747096079, 0.0471234165, -0.0535008774, 0.0063774609, 0.1333333333, 0.0333333333,
      -0.1666666667, -0.0892627978, -0.0772693428, 0.1665321406]),
    (PROBABILITIES, {"reduction": "none"}, [1.3663112967, 0.0549852354, 1.0986122887, 0.8590407263],
     [0.2855970346, -0.2108874267, -0.0747096079, 0.0471234165, -0.0535008774, 0.0063774609, 0.1333333333, 0.0333333333,
      -0.1666666667, -0.0892627978, -0.0772693428, 0.1665321406]),
    (PROBABILITIES, {"label_smoothing": 0.1}, [0.9689040534],
     [0.0755659253, -0.05480519, -0.0207607353, 0.0034475208, 0.0032914473, -0.0067389681, 0.03, 0.0075, -0.0375,
      -0.0281490328, -0.025150669, 0.0532997018]),
]
# fmt: on


@pytest.mark.parametrize(("target", "options", "loss", "gradient"), LOSSES, ids=[f"{c[0]} {c[1]}" for c in LOSSES])
def test_cross_entropy(target, options, loss, gradient):
    x = leaf(LOGITS)
    y = F.cross_entropy(x, tensor(target) if target is CLASSES else tensor(target, dtype=tracer.float64), **options)
    y.sum().backward()
    assert y.shape == ((4,) if options.get("reduction") == "none" else ())
    assert flat(y) == pytest.approx(loss, abs=1e-9)
    assert flat(x.grad) == pytest.approx(gradient, abs=1e-9)


def test_cross_entropy_of_other_shapes():
    assert F.cross_entropy(tracer.ones(3), tensor(1)).item() == pytest.approx(math.log(3))
    images, classes = tracer.ones(2, 3, 2), tensor([[0, 1], [2, 0]])
    assert F.cross_entropy(images, classes, reduction="none").shape == (2, 2)
    assert F.cross_entropy(images, classes).item() == pytest.approx(math.log(3))
    assert math.isnan(F.cross_entropy(tracer.ones(2, 3), tensor([-100, -100])).item())
    assert nn.CrossEntropyLoss(reduction="sum")(tracer.ones(2, 3), tensor([0, 1])).item() == pytest.approx(2 * math.log(3))


def test_cross_entropy_of_large_logits():
    x = leaf([[1e4, 0], [-1e4, 1e4]])
    y = F.cross_entropy(x, tensor([0, 0]), reduction="none")
    y.sum().backward()
    assert flat(y) == [0, 2e4]
    assert flat(x.grad) == [0, 0, -1, 1]


def test_other_losses():
    x, y = tensor([1.0, 2.0, 4.0]), tensor([1.0, 0.0, 1.0])
    assert F.mse_loss(x, y).item() == pytest.approx(13 / 3)
    assert nn.MSELoss(reduction="sum")(x, y).item() == 13
    assert F.l1_loss(x, y, reduction="none").tolist() == [0, 2, 3]
    assert F.nll_loss(tensor([[-1.0, -2.0], [-3.0, -4.0]]), tensor([0, 1])).item() == 2.5


def ones(*shape):
    return tracer.ones(*shape)


BAD_CALLS = {
    "target out of range": (lambda: F.cross_entropy(ones(2, 3), tensor([0, 3])), IndexError, "Target 3 is out of bounds."),
    "negative target": (lambda: F.cross_entropy(ones(2, 3), tensor([0, -1])), IndexError, "Target -1 is out of bounds."),
    "target of nll_loss": (lambda: F.nll_loss(ones(2, 3), tensor([0, 5])), IndexError, "Target 5 is out of bounds."),
    "batch sizes": (
        lambda: F.cross_entropy(ones(2, 3), tensor([0])),
        ValueError,
        "Expected input batch_size (2) to match target batch_size (1).",
    ),
    "target size": (
        lambda: F.cross_entropy(ones(2, 3, 2), tensor([[0, 1, 0], [2, 0, 0]])),
        RuntimeError,
        "Expected target size [2, 2], got [2, 3]",
    ),
    "target dtype": (
        lambda: F.cross_entropy(ones(2, 3), tensor([True, False])),
        RuntimeError,
        "expected target dtype to be Long or Byte, but got Bool",
    ),
    "floating target": (
        lambda: F.cross_entropy(ones(2, 3), tensor([0.0, 1.0])),
        RuntimeError,
        "expected target dtype to be Long or Byte, but got Float",
    ),
    "reduction": (
        lambda: F.cross_entropy(ones(2, 3), tensor([0, 1]), reduction="nope"),
        ValueError,
        "nope is not a valid value for reduction",
    ),
    "label_smoothing": (
        lambda: F.cross_entropy(ones(2, 3), tensor([0, 1]), label_smoothing=2.0),
        RuntimeError,
        "label_smoothing must be between 0.0 and 1.0. Got: 2",
    ),
    "mse_loss": (
        lambda: F.mse_loss(tracer.ones(2), tracer.ones(3)),
        RuntimeError,
        "The size of tensor a (2) must match the size of tensor b (3)",
    ),
    "linear": (
        lambda: nn.Linear(2, 1)(tracer.ones(1, 3)),
        RuntimeError,
        "mat1 and mat2 shapes cannot be multiplied (1x3 and 2x1)",
    ),
    "linear of integers": (
        lambda: nn.Linear(2, 1)(tensor([[1, 2]])),
        RuntimeError,
        "mat1 and mat2 must have the same dtype, but got Long and Float",
    ),
    "channels": (
        lambda: F.conv2d(ones(1, 3, 4, 4), ones(2, 2, 3, 3)),
        RuntimeError,
        "Given groups=1, weight of size [2, 2, 3, 3], expected input[1, 3, 4, 4] to have 2 channels, but got 3",
    ),
    "kernel size": (
        lambda: F.conv2d(ones(1, 2, 2, 2), ones(2, 2, 3, 3)),
        RuntimeError,
        "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3).",
    ),
    "rank": (
        lambda: F.conv2d(ones(4, 4), ones(2, 2, 3, 3)),
        RuntimeError,
        "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [4, 4]",
    ),
    "bias": (
        lambda: F.conv2d(ones(1, 2, 4, 4), ones(2, 2, 3, 3), tracer.ones(3)),
        RuntimeError,
        "expected bias to be 1-dimensional with 2 elements, but got bias of size [3] instead",
    ),
    "strided same": (
        lambda: F.conv2d(ones(1, 2, 4, 4), ones(2, 2, 3, 3), stride=2, padding="same"),
        RuntimeError,
        "padding='same' is not supported for strided convolutions",
    ),
    "stride": (
        lambda: F.conv2d(ones(1, 2, 4, 4), ones(2, 2, 3, 3), stride=0),
        RuntimeError,
        "non-positive stride is not supported",
    ),
    "padding": (
        lambda: F.conv2d(ones(1, 2, 4, 4), ones(2, 2, 3, 3), padding=-1),
        RuntimeError,
        "negative padding is not supported",
    ),
    "groups of outputs": (
        lambda: F.conv2d(ones(1, 2, 4, 4), ones(3, 1, 3, 3), groups=2),
        RuntimeError,
        "Given groups=2, expected weight to be divisible by 2 at dimension 0",
    ),
    "in_channels": (lambda: nn.Conv2d(3, 2, 3, groups=2), ValueError, "in_channels must be divisible by groups"),
    "out_channels": (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, "out_channels must be divisible by groups"),
    "groups": (lambda: nn.Conv2d(2, 2, 3, groups=0), ValueError, "groups must be a positive integer"),
    "padding string": (lambda: nn.Conv2d(2, 2, 3, padding="nope"), ValueError, "Invalid padding string 'nope'"),
    "strided same layer": (
        lambda: nn.Conv2d(2, 2, 3, stride=2, padding="same"),
        ValueError,
        "padding='same' is not supported for strided convolutions",
    ),
    "Sequential of a number": (lambda: nn.Sequential(3), TypeError, "int is not a Module subclass"),
    "Sequential index": (lambda: nn.Sequential(nn.ReLU())[3], IndexError, "index 3 is out of range"),
    "attribute": (lambda: nn.ReLU().nope, AttributeError, "'ReLU' object has no attribute 'nope'"),
    "no forward": (lambda: nn.Module()(1), NotImplementedError, 'Module [Module] is missing the required "forward" function'),
    "a number as parameter": (
        lambda: setattr(nn.Linear(1, 1), "weight", 3),
        TypeError,
        "cannot assign 'int' as parameter 'weight' (tracer.nn.Parameter or None expected)",
    ),
    "a tensor as parameter": (
        lambda: setattr(nn.Linear(1, 1), "weight", tracer.ones(1, 1)),
        TypeError,
        "as parameter 'weight' (tracer.nn.Parameter or None expected)",
    ),
    "a number as module": (
        lambda: setattr(nn.Sequential(nn.ReLU()), "0", 3),
        TypeError,
        "cannot assign 'int' as child module '0' (tracer.nn.Module or None expected)",
    ),
    "a number as buffer": (
        lambda: nn.Module().register_buffer("b", 3),
        TypeError,
        "cannot assign 'int' object to buffer 'b' (tracer Tensor or None required)",
    ),
    "register a tensor": (
        lambda: nn.Module().register_parameter("p", tracer.ones(1)),
        TypeError,
        "object to parameter 'p' (tracer.nn.Parameter or None required)",
    ),
    "register under a dotted name": (
        lambda: nn.Module().register_parameter("a.b", nn.Parameter(tracer.ones(1))),
        KeyError,
        'parameter name can\'t contain "."',
    ),
    "register what exists": (
        lambda: nn.Linear(1, 1).register_buffer("training", tracer.ones(1)),
        KeyError,
        "attribute 'training' already exists",
    ),
    "add a number": (lambda: nn.Module().add_module("m", 3), TypeError, "int is not a Module subclass"),
    "training mode": (lambda: nn.Linear(1, 1).train(3), ValueError, "training mode is expected to be boolean"),
    "integer parameter": (
        lambda: nn.Parameter(tensor([1, 2])),
        RuntimeError,
        "Only Tensors of floating point and complex dtype can require gradients",
    ),
    "empty optimizer": (lambda: optim.SGD([], lr=0.1), ValueError, "optimizer got an empty parameter list"),
    "optimizer of a tensor": (
        lambda: optim.SGD(tracer.ones(1), lr=0.1),
        TypeError,
        "should be an iterable of Tensors or dicts, but got tracer.FloatTensor",
    ),
    "optimizer of numbers": (
        lambda: optim.SGD([1], lr=0.1),
        TypeError,
        "optimizer can only optimize Tensors, but one of the params is int",
    ),
    "optimizer of a result": (lambda: optim.SGD([leaf([1]) * 2], lr=0.1), ValueError, "can't optimize a non-leaf Tensor"),
    "group without params": (lambda: optim.SGD([{"lr": 0.1}], lr=0.1), KeyError, "params"),
    "lr": (lambda: optim.SGD([leaf([1])], lr=-1.0), ValueError, "Invalid learning rate: -1.0"),
    "momentum": (lambda: optim.SGD([leaf([1])], momentum=-1.0), ValueError, "Invalid momentum value: -1.0"),
    "weight_decay": (lambda: optim.SGD([leaf([1])], weight_decay=-1.0), ValueError, "Invalid weight_decay value: -1.0"),
    "nesterov": (
        lambda: optim.SGD([leaf([1])], nesterov=True),
        ValueError,
        "Nesterov momentum requires a momentum and zero dampening",
    ),
    "nesterov with dampening": (
        lambda: optim.SGD([leaf([1])], nesterov=True, momentum=0.9, dampening=0.1),
        ValueError,
        "Nesterov momentum requires a momentum and zero dampening",
    ),
    "Adam's lr": (lambda: optim.Adam([leaf([1])], lr=-1.0), ValueError, "Invalid learning rate: -1.0"),
    "eps": (lambda: optim.Adam([leaf([1])], eps=-1.0), ValueError, "Invalid epsilon value: -1.0"),
    "beta 0": (lambda: optim.Adam([leaf([1])], betas=(1.0, 0.9)), ValueError, "Invalid beta parameter at index 0: 1.0"),
    "beta 1": (lambda: optim.Adam([leaf([1])], betas=(0.9, -0.1)), ValueError, "Invalid beta parameter at index 1: -0.1"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_call(name):
    raises_exactly(*BAD_CALLS[name])


# Modules.


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.scale = nn.Parameter(tracer.ones(3))
        self.register_buffer("count", tensor([0]))
        self.nothing = None
        self.inner = nn.Sequential(nn.ReLU(), nn.Linear(3, 1))

    def forward(self, x):
        return self.inner(self.first(x) * self.scale)


STATE = ["scale", "count", "first.weight", "first.bias", "inner.1.weight", "inner.1.bias"]


def test_registration():
    net = Net()
    assert list(net.state_dict()) == STATE
    assert [n for n, _ in net.named_parameters()] == [n for n in STATE if n != "count"]
    assert [n for n, _ in net.named_buffers()] == ["count"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "inner", "inner.0", "inner.1"]
    assert [n for n, _ in net.named_children()] == ["first", "inner"]
    assert sum(p.numel() for p in net.parameters()) == 16
    assert all(isinstance(p, nn.Parameter) for p in net.parameters())


def test_replacing_and_deleting():
    net = Net()
    net.scale = new = nn.Parameter(tracer.zeros(3))
    assert dict(net.named_parameters())["scale"] is new
    net.count = tensor([5])
    assert net.state_dict()["count"].tolist() == [5]
    net.first.bias = None
    del net.scale
    assert [n for n, _ in net.named_parameters()] == ["first.weight", "inner.1.weight", "inner.1.bias"]
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'scale'"):
        _ = net.scale


def test_assignment_before_init():
    class Early(nn.Module):
        def __init__(self, value):
            self.value = value

    with pytest.raises(AttributeError, match=r"cannot assign parameters before Module.__init__\(\) call"):
        Early(nn.Parameter(tracer.ones(1)))
    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early(nn.ReLU())


def test_a_shared_module_is_walked_once_and_saved_twice():
    layer = nn.Linear(1, 1)
    model = nn.Sequential(layer, layer)
    assert len(list(model.parameters())) == 2
    assert [n for n, _ in model.named_modules()] == ["", "0"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_train_and_eval():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.inner.train()
    assert (net.training, net.inner.training, net.inner[1].training) == (False, True, True)


def test_apply_requires_grad_zero_grad_to():
    net, order = Net(), []
    net.apply(lambda m: order.append(type(m).__name__))
    assert order == ["Linear", "ReLU", "Linear", "Sequential", "Net"]
    net(tracer.ones(1, 2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    assert net.to(tracer.float64) is net
    assert all(p.dtype is tracer.float64 for p in net.parameters())
    assert net.count.dtype is tracer.int64


def test_state_dict_shares_memory_and_load_copies():
    a, b = Net(), Net()
    state = a.state_dict()
    assert not state["scale"].requires_grad
    assert state["first.weight"].data_ptr() == a.first.weight.data_ptr()
    weight = b.first.weight
    result = b.load_state_dict(state)
    assert (list(result.missing_keys), list(result.unexpected_keys)) == ([], [])
    assert b.first.weight is weight
    assert weight.tolist() == a.first.weight.tolist()
    assert weight.data_ptr() != a.first.weight.data_ptr()
    assert weight.requires_grad


def test_load_casts():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": tensor([[1.0, 2.0]], dtype=tracer.float64), "bias": tensor([3])})
    assert (layer.weight.dtype, layer.weight.tolist(), layer.bias.tolist()) == (tracer.float32, [[1, 2]], [3])


def test_load_without_strict():
    result = nn.Linear(2, 1).load_state_dict({"weight": tracer.ones(1, 2), "x": tracer.ones(1)}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["x"]


LOADED = {
    "missing": ({"weight": (1, 2)}, '\n\tMissing key(s) in state_dict: "bias". '),
    "unexpected": ({"weight": (1, 2), "bias": (1,), "x": (1,)}, '\n\tUnexpected key(s) in state_dict: "x". '),
    "shape": (
        {"weight": (1, 3), "bias": (1,)},
        "\n\tsize mismatch for weight: copying a param with shape tracer.Size([1, 3]) from checkpoint, "
        "the shape in current model is tracer.Size([1, 2]).",
    ),
    "all of it": (
        {"weight": (1, 3), "b": (1,)},
        '\n\tMissing key(s) in state_dict: "bias". \n\tUnexpected key(s) in state_dict: "b". \n\tsize mismatch for weight: '
        "copying a param with shape tracer.Size([1, 3]) from checkpoint, the shape in current model is tracer.Size([1, 2]).",
    ),
}


@pytest.mark.parametrize("name", LOADED)
def test_load_errors(name):
    shapes, words = LOADED[name]
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 1).load_state_dict({k: tracer.ones(*shape) for k, shape in shapes.items()})
    assert str(caught.value) == f"Error(s) in loading state_dict for Linear:{words}"


def test_load_of_something_else():
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'int'>"):
        nn.Linear(2, 1).load_state_dict(3)
    with pytest.raises(RuntimeError, match=r'While copying the parameter named "bias", expected tracer\.Tensor'):
        nn.Linear(2, 1).load_state_dict({"weight": tracer.ones(1, 2), "bias": 3})


def test_failed_load_changes_nothing_of_the_wrong_shape():
    layer = nn.Linear(2, 1)
    before = layer.weight.tolist()
    with pytest.raises(RuntimeError):
        layer.load_state_dict({"weight": tracer.ones(1), "bias": tracer.ones(1)})
    assert layer.weight.tolist() == before


def test_copies():
    net = Net()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert type(twin.scale) is nn.Parameter
        assert twin.scale.requires_grad
        assert twin.first.weight.tolist() == net.first.weight.tolist()
        assert twin.first.weight.data_ptr() != net.first.weight.data_ptr()


REPRS = [
    (lambda: nn.Linear(3, 2), "Linear(in_features=3, out_features=2, bias=True)"),
    (lambda: nn.Linear(3, 2, bias=False), "Linear(in_features=3, out_features=2, bias=False)"),
    (lambda: nn.Conv2d(3, 2, 3), "Conv2d(3, 2, kernel_size=(3, 3), stride=(1, 1))"),
    (
        lambda: nn.Conv2d(4, 2, (3, 2), stride=2, padding=1, dilation=(1, 2), groups=2, bias=False),
        "Conv2d(4, 2, kernel_size=(3, 2), stride=(2, 2), padding=(1, 1), dilation=(1, 2), groups=2, bias=False)",
    ),
    (lambda: nn.Conv2d(3, 2, 3, padding="same"), "Conv2d(3, 2, kernel_size=(3, 3), stride=(1, 1), padding=same)"),
    (lambda: nn.Conv2d(3, 2, 3, padding="valid"), "Conv2d(3, 2, kernel_size=(3, 3), stride=(1, 1), padding=valid)"),
    (lambda: nn.ReLU(inplace=True), "ReLU(inplace=True)"),
    (lambda: nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
    (lambda: nn.CrossEntropyLoss(), "CrossEntropyLoss()"),
    (lambda: nn.Module(), "Module()"),
    (lambda: nn.Sequential(), "Sequential()"),
    (
        lambda: Net(),
        """Net(
  (first): Linear(in_features=2, out_features=3, bias=True)
  (inner): Sequential(
    (0): ReLU()
    (1): Linear(in_features=3, out_features=1, bias=True)
  )
)""",
    ),
]


@pytest.mark.parametrize(("make", "expected"), REPRS, ids=[text.split("(")[0] + str(i) for i, (_, text) in enumerate(REPRS)])
def test_repr(make, expected):
    assert repr(make()) == expected
