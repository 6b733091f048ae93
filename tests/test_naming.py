"""The names of values and kernels: those that the user's program has for them."""

import collections
import re

import pytest

import tracer
from tracer import nn, optim
from tracer.ir import ops, pipeline
from tracer.ir.graph import Builder
from tracer.ir.parse import parse_graph
from tracer.ir.types import TensorType, float32
from tracer.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return F.softmax(self.norm(self.fc1(x)), -1)

    @tracer.trace
    def method(self, x):
        return self.fc1(x)


Pair = collections.namedtuple("Pair", "left right")
net, other, table, chain = Net(), Net(), {"a b": tracer.ones(4), "c": [tracer.ones(4)]}, nn.Sequential(nn.Linear(4, 2))
bias = tracer.ones(4)


def names(function, *args, **kwargs):
    """The input names of the only recording of a function."""
    traced = tracer.trace(function)
    for _ in range(4):
        traced(*args, **kwargs)
    (graph,) = traced.graphs()
    text = str(graph)
    assert str(parse_graph(text)) == text
    return [v.name for v in graph.inputs]


X = tracer.ones(2, 4)


def captures_a_list():
    inner = [tracer.ones(4), tracer.ones(4) * 2]
    return names(lambda x: x + inner[0] * inner[1], X)


@pytest.mark.parametrize(
    "found, expected",
    [
        (lambda: names(lambda images, scale: images * scale, X, 2.0), ["images", "scale"]),
        (lambda: names(lambda x, *, y=None: x + y, X, y=tracer.ones(4)), ["x", "y"]),
        (lambda: names(lambda *xs: xs[0] + xs[1], X, X + 1), ["xs.0", "xs.1"]),
        (lambda: names(lambda **kw: kw["first"] + kw["last"], first=X, last=X + 1), ["first", "last"]),
        (lambda: names(lambda b: b["x"] + b["y"][0], {"x": X, "y": (X + 1,)}), ["b.x", "b.y.0"]),
        (lambda: names(lambda p: p.left + p.right, Pair(X, X + 1)), ["p.left", "p.right"]),
        (lambda: names(lambda x: x + bias, X), ["x", "bias"]),
        (lambda: names(lambda x: net.fc1(x), X), ["x", "fc1.weight", "fc1.bias"]),
        (lambda: names(lambda x: chain(x), X), ["x", "chain.0.weight", "chain.0.bias"]),
        (lambda: names(lambda x: table["a b"] + x + table["c"][0], X), ["x", "table.a_b", "table.c.0"]),
        (lambda: names(lambda m, x: m.fc1(x), net, X), ["x", "fc1.weight", "fc1.bias"]),
        (captures_a_list, ["x", "inner.0", "inner.1"]),
    ],
)
def test_inputs_have_the_names_of_the_program(found, expected):
    assert found() == expected


def test_two_modules_with_equal_names_are_told_apart():
    found = names(lambda x: net.fc1(x) + other.fc1(x), X)
    assert set(found) == {"x", "net.fc1.weight", "net.fc1.bias", "other.fc1.weight", "other.fc1.bias"}


def test_modules_and_methods_have_no_prefix():
    traced = tracer.trace(nn.Sequential(nn.Linear(4, 3)))
    net.eval()
    for _ in range(2):
        traced(X)
        net.method(X)
    assert [v.name for v in Net.method.graphs()[0].inputs] == ["x", "fc1.weight", "fc1.bias"]
    assert [v.name for v in traced.graphs()[0].inputs] == ["input", "0.weight", "0.bias"]


def test_the_state_of_an_optimizer_is_named_after_its_parameter():
    model = Net()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    @tracer.trace
    def step(images, labels):
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(5):
        step(X, tracer.tensor([0, 1]))
    found = {v.name for graph in step.graphs() for v in graph.inputs}
    parameters = {"fc1.weight", "fc1.bias", "norm.weight", "norm.bias"}
    assert found >= {"images", "labels", "lr", "norm.running_mean", *parameters}
    assert found >= {f"{p}.{state}" for p in parameters for state in ("grad", "exp_avg", "exp_avg_sq", "step")}
    kernels = re.findall(r"fusion @(\w+)", str(step.fused_graphs()[0]))
    assert len(set(kernels)) == len(kernels)
    for what in ("batch_norm1d", "softmax", "cross_entropy", "cross_entropy_backward", "linear_backward", "adam"):
        assert any(what in kernel for kernel in kernels), (what, kernels)


def test_branches_have_names_too():
    @tracer.trace
    def f(images, scale):
        y = images * scale
        return y * bias if y.sum() > 0 else -y

    for _ in range(3):
        f(X, 2.0)
    assert {v.name for graph in f.graphs() for v in graph.inputs} >= {"images", "scale", "bias"}


def test_kernels_without_an_origin_are_named_after_their_operations():
    builder = Builder("f")
    x = builder.input(TensorType(float32, (4, 5)), "x")
    (y,) = builder.append(ops.tanh, [x], {})
    (z,) = builder.append(ops.sum_, [y], {"axes": (1,)})
    fused = pipeline.run(builder.finish([y, z]), pipeline.COMPILE)
    assert "fusion @tanh_sum_0 %x" in str(fused)
