"""The programs of five tutorials on PyTorch's autograd, old idioms included, with this package in place of PyTorch.

Printed results are those that the tutorials show, in PyTorch's present form, unless they are random.
"""

import re
import warnings

import numpy as np
import pytest

import tracer as torch
import tracer.nn.functional as F
from tracer import nn, optim
from tracer.autograd import Variable

# 1. "PyTorch's automatic differentiation, in detail".


def test_only_floating_tensors_may_require_gradients():
    x = torch.randn(2, 2, requires_grad=True)
    assert x.requires_grad
    array = np.array([1.0, 2.0, 3.0])
    x = torch.from_numpy(array)
    assert x.requires_grad_(True) is x
    assert x.requires_grad and x.dtype is torch.float64
    array[0] = 7.0  # the memory is shared
    assert x[0].item() == 7.0
    with pytest.raises(RuntimeError, match="only Tensors of floating point"):
        torch.from_numpy(np.array([1, 2, 3])).requires_grad_(True)


def test_a_small_dynamic_graph():
    x, y = torch.tensor(1.0), torch.tensor(2.0, requires_grad=True)
    z = x * y
    assert (x.requires_grad, x.grad, x.grad_fn, x.is_leaf) == (False, None, None, True)
    assert (y.requires_grad, y.grad, y.grad_fn, y.is_leaf) == (True, None, None, True)
    assert (z.requires_grad, z.is_leaf, z.grad_fn.name()) == (True, False, "MulBackward0")
    assert [f and f.name() for f, _ in z.grad_fn.next_functions] == [None, "struct torch::autograd::AccumulateGrad"]
    z.backward()
    assert (y.grad.item(), x.grad) == (1.0, None)


def test_a_cube_backward(capsys):
    x = torch.tensor(1.0, requires_grad=True)
    z = x**3
    z.backward()
    print(x.grad.data)
    assert capsys.readouterr().out == "tensor(3.)\n"


def test_a_vector_needs_an_external_gradient():
    x = torch.tensor([0.0, 2.0, 8.0], requires_grad=True)
    y = torch.tensor([5.0, 1.0, 7.0], requires_grad=True)
    z = x * y
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        z.backward()
    z.backward(torch.FloatTensor([1.0, 1.0, 1.0]))
    assert x.grad.tolist() == [5, 1, 7]
    assert y.grad.tolist() == [0, 2, 8]
    with pytest.raises(RuntimeError, match=r"[Mm]ismatch in shape"):
        (x * y).backward(torch.ones(2))


def test_a_jacobian_vector_product():
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = torch.stack([x[0] * x[1], x[2] ** 2])
    v = torch.tensor([2.0, 0.5])
    y.backward(v, retain_graph=True)
    jacobian = torch.autograd.functional.jacobian(lambda x: torch.stack([x[0] * x[1], x[2] ** 2]), x.detach())
    assert jacobian.tolist() == [[2, 1, 0], [0, 0, 6]]
    assert x.grad.tolist() == (v @ jacobian).tolist() == [4, 2, 3]


# 2. "Automatic differentiation of Tensors".


def test_requires_grad_propagates(capsys):
    a = torch.randn(2, 3, requires_grad=True)
    b = torch.randn(2, 3)
    print(b.requires_grad)
    c = a + b
    d = a.detach()
    b.requires_grad_()
    print(c.grad_fn)
    print(a.requires_grad)
    print(b.requires_grad)
    print(c.requires_grad)
    print(d.requires_grad)
    shown = capsys.readouterr().out.split("\n")
    assert re.fullmatch(r"<AddBackward0 object at 0x[0-9a-f]+>", shown[1])
    assert [shown[0], *shown[2:6]] == ["False", "True", "True", "True", "False"]


def test_leaves_and_the_graph(capsys):
    x = torch.randn(1)
    w = torch.ones(1, requires_grad=True)
    b = torch.ones(1, requires_grad=True)
    print(x.is_leaf)
    print(w.is_leaf)
    print(b.is_leaf)
    y = x * w
    assert not y.is_leaf
    z = y = b  # as in the tutorial
    print(y.is_leaf)
    print(z.is_leaf)
    print(w.grad)
    print(b.grad)
    z.backward(retain_graph=True)
    print(w.grad)
    print(b.grad)
    assert capsys.readouterr().out == "True\n" * 5 + "None\n" * 3 + "tensor([1.])\n"


class Linear(nn.Module):
    def __init__(self, in_dim, out_dim):
        super(Linear, self).__init__()  # noqa: UP008 - the old idiom
        self.w = nn.Parameter(torch.randn(in_dim, out_dim))
        self.b = nn.Parameter(torch.randn(out_dim))

    def forward(self, x):
        x = x.matmul(self.w)
        y = x + self.b.expand_as(x)
        return y


class Perception(nn.Module):
    def __init__(self, in_dim, hid_dim, out_dim):
        super(Perception, self).__init__()  # noqa: UP008
        self.layer1 = Linear(in_dim, hid_dim)
        self.relu = nn.ReLU(inplace=True)
        self.layer2 = Linear(hid_dim, out_dim)
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        x = self.layer1(x)
        y = torch.relu(x)
        y = self.layer2(y)
        y = torch.softmax(y, dim=1)
        return y


def test_a_module_of_modules(capsys):
    pcp = Perception(3, 3, 3)
    print(pcp)
    assert capsys.readouterr().out == (
        "Perception(\n"
        "  (layer1): Linear()\n"
        "  (relu): ReLU(inplace=True)\n"
        "  (layer2): Linear()\n"
        "  (fc): Linear(in_features=3, out_features=3, bias=True)\n"
        ")\n"
    )
    names = [name for name, parameter in pcp.named_parameters()]
    assert names == ["layer1.w", "layer1.b", "layer2.w", "layer2.b", "fc.weight", "fc.bias"]
    with torch.no_grad():
        pcp.layer1.b.copy_(torch.tensor([-0.8985, -0.9285, 0.4434]))
    print("layer1.b", pcp.layer1.b)
    expected = "layer1.b Parameter containing:\ntensor([-0.8985, -0.9285,  0.4434], requires_grad=True)\n"
    assert capsys.readouterr().out == expected
    out = pcp(torch.randn(4, 3))
    assert repr(out).endswith("grad_fn=<SoftmaxBackward0>)")
    assert out.sum(1).tolist() == pytest.approx([1, 1, 1, 1], abs=1e-6)


def test_a_sequential_model(capsys):
    class Perception(nn.Module):
        def __init__(self, in_dim, hid_dim, out_dim):
            super(Perception, self).__init__()  # noqa: UP008
            self.layer = nn.Sequential(nn.Linear(in_dim, hid_dim), nn.Sigmoid(), nn.Linear(hid_dim, out_dim), nn.Sigmoid())

        def forward(self, x):
            y = self.layer(x)
            return y

    pcp = Perception(1000, 10000, 10)
    print(pcp)
    assert capsys.readouterr().out == (
        "Perception(\n"
        "  (layer): Sequential(\n"
        "    (0): Linear(in_features=1000, out_features=10000, bias=True)\n"
        "    (1): Sigmoid()\n"
        "    (2): Linear(in_features=10000, out_features=10, bias=True)\n"
        "    (3): Sigmoid()\n"
        "  )\n"
        ")\n"
    )
    assert pcp(torch.randn(2, 1000)).shape == (2, 10)


def test_a_criterion_and_its_function_agree():
    pcp = Perception(3, 3, 3)
    output = pcp(torch.randn(4, 3))
    label = torch.Tensor([0, 1, 2, 0]).long()
    criterion = nn.CrossEntropyLoss()
    loss_functional = F.cross_entropy(output, label)
    loss = criterion(output, label)
    assert loss.item() == loss_functional.item()
    assert repr(loss) == repr(loss_functional)
    assert re.fullmatch(r"tensor\(\d\.\d{4}, grad_fn=<NllLossBackward0>\)", repr(loss))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.002, momentum=0.9, weight_decay=1e-5),
        lambda p: optim.Adam(p, lr=0.002, weight_decay=1e-4),
        lambda p: torch.optim.RMSprop(p, lr=0.002, alpha=0.9),
    ],
    ids=["SGD", "Adam", "RMSprop"],
)
def test_the_optimizers(make):
    torch.manual_seed(0)
    model_ft = nn.Linear(3, 3)
    optimizer_ft = make(model_ft.parameters())
    x, label = torch.randn(16, 3), torch.randint(0, 3, (16,))
    losses = []
    for _ in range(50):
        optimizer_ft.zero_grad()
        loss = F.cross_entropy(model_ft(x), label)
        loss.backward()
        optimizer_ft.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


# 3. "Automatic differentiation".


def test_a_scalar_of_a_variable(capsys):
    x = Variable(torch.Tensor([2]), requires_grad=True)
    y = x + 2
    z = y**2 + 3
    print(z)
    z.backward()
    print(x.grad)
    assert capsys.readouterr().out == "tensor([19.], grad_fn=<AddBackward0>)\ntensor([8.])\n"


def test_a_mean_of_a_product():
    x = Variable(torch.randn(10, 20), requires_grad=True)
    y = Variable(torch.randn(10, 5), requires_grad=True)
    w = Variable(torch.randn(20, 5), requires_grad=True)
    out = torch.mean(y - torch.matmul(x, w))
    assert out.grad_fn.name() == "MeanBackward0"
    out.backward()
    # As printed there: every row of x's gradient is the same, y's is 0.02 everywhere, every column of w's is the same.
    assert torch.allclose(x.grad, (-w.detach().sum(1) / 50).expand(10, 20), atol=1e-6)
    assert torch.equal(y.grad, torch.full((10, 5), 0.02))
    assert torch.allclose(w.grad, (-x.detach().sum(0) / 50).reshape(20, 1).expand(20, 5), atol=1e-6)


def test_elements_assigned_one_by_one(capsys):
    m = Variable(torch.FloatTensor([[2, 3]]), requires_grad=True)
    n = Variable(torch.zeros(1, 2))
    print(m)
    print(n)
    n[0, 0] = m[0, 0] ** 2
    n[0, 1] = m[0, 1] ** 3
    print(n)
    n.backward(torch.ones_like(n))
    print(m.grad)
    assert capsys.readouterr().out == (
        "tensor([[2., 3.]], requires_grad=True)\n"
        "tensor([[0., 0.]])\n"
        "tensor([[ 4., 27.]], grad_fn=<CopySlices>)\n"
        "tensor([[ 4., 27.]])\n"
    )


def test_backward_twice(capsys):
    x = Variable(torch.FloatTensor([3]), requires_grad=True)
    y = x * 2 + x**2 + 3
    print(y)
    y.backward(retain_graph=True)
    print(x.grad)
    y.backward()
    print(x.grad)
    assert capsys.readouterr().out == "tensor([18.], grad_fn=<AddBackward0>)\ntensor([8.])\ntensor([16.])\n"
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_a_jacobian_row_by_row(capsys):
    x = Variable(torch.FloatTensor([2, 3]), requires_grad=True)
    k = Variable(torch.zeros(2))
    k[0] = x[0] ** 2 + 3 * x[1]
    k[1] = x[1] ** 2 + 2 * x[0]
    print(k)
    j = torch.zeros(2, 2)
    k.backward(torch.FloatTensor([1, 0]), retain_graph=True)
    j[0] = x.grad.data
    x.grad.data.zero_()
    k.backward(torch.FloatTensor([0, 1]))
    j[1] = x.grad.data
    print(j)
    assert capsys.readouterr().out == "tensor([13., 13.], grad_fn=<CopySlices>)\ntensor([[4., 3.],\n        [2., 6.]])\n"


# 4. "PyTorch's autograd, and some details met with".


def test_tensors_print(capsys):
    x = torch.tensor([1.0], requires_grad=True)
    print(x)
    y = x + 1
    print(y)
    assert capsys.readouterr().out == "tensor([1.], requires_grad=True)\ntensor([2.], grad_fn=<AddBackward0>)\n"


def test_leaves(capsys):
    x = torch.tensor([1.0], requires_grad=True)
    k = torch.tensor([2.0])
    y = k * x
    print(k.is_leaf)
    print(x.is_leaf)
    print(y.is_leaf)
    assert capsys.readouterr().out == "True\nTrue\nFalse\n"


def test_the_graph_is_in_the_results_grad_fn(capsys):
    x = torch.tensor([1.0])
    print(x)
    x += 1
    print(x)
    y = torch.tensor([2.0], requires_grad=True)
    print(y)
    z = y + 1.0
    print(z)
    print(y)
    print(y.grad_fn)
    assert capsys.readouterr().out == (
        "tensor([1.])\ntensor([2.])\n"
        "tensor([2.], requires_grad=True)\n"
        "tensor([3.], grad_fn=<AddBackward0>)\n"
        "tensor([2.], requires_grad=True)\n"
        "None\n"
    )


def test_grad_of_a_leaf_and_of_a_result(capsys):
    y = torch.tensor([2.0], requires_grad=True)
    print(y.grad)
    z = y + 1.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        print(z.grad)
        z.backward()
        print(y.grad)
        print(z.grad)
    assert capsys.readouterr().out == "None\nNone\ntensor([1.])\nNone\n"
    assert len(caught) == 2
    assert all("not a leaf Tensor" in str(w.message) for w in caught)


def test_the_gradient_of_a_result_is_kept_on_demand():
    y = torch.tensor([2.0], requires_grad=True)
    z = y * 3
    z.retain_grad()
    seen = []
    handle = z.register_hook(seen.append)
    (z * 2).backward()
    assert (y.grad.item(), z.grad.item(), seen[0].item()) == (6, 2, 2)
    handle.remove()
    (z.detach().requires_grad_() * 2).backward()
    assert len(seen) == 1


def test_no_grad(capsys):
    y = torch.tensor([1.0], requires_grad=True)
    print(y)
    z = y + 1.0
    print(z)
    assert re.fullmatch(r"<AddBackward0 object at 0x[0-9a-f]+>", repr(z.grad_fn))
    with torch.no_grad():
        z = y - 2
    print(z)
    print(z.grad_fn)
    assert capsys.readouterr().out == (
        "tensor([1.], requires_grad=True)\ntensor([2.], grad_fn=<AddBackward0>)\ntensor([-1.])\nNone\n"
    )


def test_data_is_not_followed(capsys):
    y = torch.tensor([1.0], requires_grad=True)
    z = y + 1.0
    print(z)
    before = z.grad_fn
    z.data = y.data - 2
    print(z)
    assert z.grad_fn is before
    assert capsys.readouterr().out == "tensor([2.], grad_fn=<AddBackward0>)\ntensor([-1.], grad_fn=<AddBackward0>)\n"


# 5. "Automatic differentiation of PyTorch under Python".


def test_a_function_of_ones_own():
    class Add(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a + b

        @staticmethod
        def backward(ctx, grad_output):
            _a, _b = ctx.saved_tensors
            return grad_output, grad_output

    a, b = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0], requires_grad=True)
    c = Add.apply(a, b)
    assert c.grad_fn.name() == "AddBackward"
    torch.autograd.backward(c, torch.tensor([1.0, 10.0]))
    assert a.grad.tolist() == b.grad.tolist() == [1, 10]


def test_a_tensor_class_of_ones_own():
    """The simplified class of the tutorial, on top of this package."""

    class Tensor:
        def __init__(self, data, requires_grad=False):
            self.data = torch.tensor(data, requires_grad=requires_grad)

        def backward(self, gradient=None):
            torch.autograd.backward(self.data, gradient)

        def __add__(self, other):
            out = Tensor(0.0)
            out.data = self.data + other.data
            return out

    a, b = Tensor([1.0], True), Tensor([2.0], True)
    (a + b).backward(torch.ones(1))
    assert a.data.grad.item() == b.data.grad.item() == 1


def test_gradients_accumulate():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    for times in (1, 2, 3):
        (x * x).sum().backward()
        assert x.grad.tolist() == [2 * times, 4 * times]
    x.grad.zero_()
    assert x.grad.tolist() == [0, 0]


def test_a_picture_of_the_graph():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = (x * 2).exp().sum()
    dot = torch.autograd.graph.to_dot(loss, {"x": x})
    assert dot.startswith("digraph") and all(name in dot for name in ("SumBackward0", "ExpBackward0", "MulBackward0", "x"))
    svg = torch.autograd.graph.to_svg(loss, {"x": x})
    assert svg.startswith("<svg") and svg.count("<rect") == 4
