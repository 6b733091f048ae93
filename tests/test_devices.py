"""An emulated CUDA device: the same programs, eager and traced, with the CPU's results.

Its memory is out of the host's reach: an access by mistake ends the process. The emulator checks what kernels do.
"""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

from checks import cast_args
from expressions import EXPRESSIONS, compute
from marks import needs_two
from samples import cases
from test_expressions import RECORDED, check

import tracer
from tracer import nn
from tracer.ir.interp import EVALUATE
from tracer.nn import functional as F
from tracer.runtime.devices import to_host
from tracer.runtime.devices.array import to_device

pytestmark = [
    pytest.mark.usefixtures("cuda"),
    pytest.mark.filterwarnings("error:(?s).*runs eagerly", "ignore:(?s).*has no kernel for this device"),
]


def number(x):
    x = np.asarray(x)
    return x.astype(complex if x.dtype.kind == "c" else float)


# Primitives, expressions, models.


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_samples(cuda, dtype):
    for name, primitive, sample in cases():
        args, attrs = cast_args(sample.args, dtype), {**primitive.defaults, **sample.attrs}
        if not args or (dtype == "bfloat16" and primitive.kind.value == "host"):
            continue
        expected = EVALUATE.bind(primitive, args, attrs)
        found = cuda.apply(primitive, [to_device(a, cuda) for a in args], attrs)
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
            assert a.device is cuda and a.shape == b.shape and a.dtype == b.dtype, name
            room = {"float32": 2e-4, "float64": 1e-9, "bfloat16": 0.05}[dtype]
            np.testing.assert_allclose(number(to_host(a)), number(b), rtol=room, atol=room, err_msg=name)


@pytest.mark.parametrize(
    ("expression", "how"), [*((e, "eager") for e in EXPRESSIONS[::2]), *((e, "traced") for e in EXPRESSIONS[1::4])]
)
def test_expressions(on_cuda, expression, how):
    found = compute(tracer, expression, tracer.trace if how == "traced" else lambda f: f)
    expected = RECORDED[expression]
    for k, (a, b) in enumerate(zip(found["out"], expected["out"], strict=True)):
        check(a, b, f"result {k}", 1e-5)
    for name in found["grads"].keys() & expected["grads"].keys():
        check(found["grads"][name], expected["grads"][name], f"gradient of {name}", 1e-5)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(x + self.attend(x, x, x)[0])[:, 0]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.rnn = nn.Embedding(7, 8), nn.LSTM(8, 8, batch_first=True)

    def forward(self, x):
        return self.rnn(self.words((x[..., 0].abs() * 3).long().clamp(max=6)))[0][:, -1]


MODELS = {
    "layers": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(40, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 8)
    ),
    "convolutions": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 5)),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 8),
    ),
    "attention": Attention,
    "recurrent": Recurrent,
}
OPTIMIZERS = {
    "SGD": lambda p: tracer.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: tracer.optim.Adam(p, 1e-2),
    "AdamW": lambda p: tracer.optim.AdamW(p, 1e-2, amsgrad=True),
    "RMSprop": lambda p: tracer.optim.RMSprop(p, 1e-2),
    "Adagrad": lambda p: tracer.optim.Adagrad(p, 1e-2),
    "NAdam": lambda p: tracer.optim.NAdam(p, 1e-2),
    "Rprop": lambda p: tracer.optim.Rprop(p, 1e-2),
}


def losses(make, optimizer, where, how, steps=4):
    tracer.manual_seed(0)
    model = make().to(where)
    optimizer = optimizer(model.parameters())
    x, target = tracer.randn(6, 5, 8).to(where), tracer.randint(0, 8, (6,)).to(where)

    def forward(x, target):
        return F.cross_entropy(model(x), target)

    def step(x, target):
        optimizer.zero_grad()
        loss = (forward if how != "outside" else traced)(x, target)
        loss.backward()
        optimizer.step()
        return loss

    traced = tracer.trace(forward)
    run = tracer.trace(step) if how == "traced" else step
    found = [run(x, target).item() for _ in range(steps)]
    if how != "eager":
        compiled = traced if how == "outside" else run
        assert compiled.cache_info().replays >= steps - 2, compiled.explain()
    return found


@pytest.mark.parametrize("how", ["eager", "traced", "outside"])
@pytest.mark.parametrize("model", MODELS)
def test_models_train(model, how):
    pair = [losses(MODELS[model], OPTIMIZERS["Adam"], where, how) for where in ("cpu", "cuda")]
    np.testing.assert_allclose(pair[1], pair[0], rtol=2e-5)


@pytest.mark.parametrize("how", ["eager", "traced"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, how):
    pair = [
        losses(lambda: nn.Sequential(nn.Flatten(), nn.Linear(40, 8)), OPTIMIZERS[name], where, how) for where in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(pair[1], pair[0], rtol=2e-5)


def test_a_traced_function_that_reads_numbers():
    def clipped(x):
        y = x * 2
        return y / y.max() if y.max().item() > 1 else y

    f = tracer.trace(clipped)
    for scale in (1.0, 0.1, 1.0, 0.1, 1.0):
        x = tracer.linspace(0, scale, 5)
        np.testing.assert_allclose(f(x.cuda()).cpu().numpy(), clipped(x).numpy(), rtol=1e-6)
    assert f.cache_info().replays >= 2, f.explain()


@pytest.mark.parametrize("devices", [("cpu", "cuda:0"), pytest.param(("cpu", "cuda:0", "cuda:1"), marks=needs_two)])
def test_the_device_is_part_of_a_call(devices):
    f = tracer.trace(lambda x: (x * 2).sum(-1))
    x = tracer.randn(3, 4)
    for _ in range(3):
        for where in devices:
            y = f(x.to(where))
            assert str(y.device) == where
            np.testing.assert_allclose(y.cpu().numpy(), (x * 2).sum(-1).numpy(), rtol=1e-6)


def test_a_module_that_moves_after_it_was_traced():
    layer, x = nn.Linear(4, 3), tracer.randn(2, 4)
    f = tracer.trace(lambda x: layer(x))
    for where in ("cpu", "cuda", "cpu", "cuda"):
        layer.to(where)
        for _ in range(3):
            y = f(x.to(where))
        np.testing.assert_allclose(
            y.detach().cpu().numpy(), nn.functional.linear(x, layer.weight.cpu(), layer.bias.cpu()).detach().numpy(), rtol=1e-5
        )


def test_transposed_operands_are_not_copied(cuda, monkeypatch):
    from tracer.runtime.devices import apply

    monkeypatch.setattr(apply, "contiguous", lambda x: pytest.fail("an operand is copied"))
    x, y = tracer.randn(2, 3, 4), tracer.randn(2, 5, 4)
    for a, b in ((x, y.mT), (x[0], y[0].t()), (x[0].t(), x[0]), (y[0].t(), y.mT[0].t()), (x.mT, x)):
        there = [t.cuda() if t.is_contiguous() else t.mT.cuda().mT for t in (a, b)]
        assert [t.stride() for t in there] == [a.stride(), b.stride()]
        np.testing.assert_allclose((there[0] @ there[1]).cpu().numpy(), (a @ b).numpy(), rtol=1e-5, atol=1e-6)


def test_what_compilers_do_is_not_recorded():
    """The first call compiles its operations: this reads clocks, and runs code of other packages."""
    number = np.random.default_rng().random()  # no kernel is on disk
    f = tracer.trace(lambda x: (x * number + x @ x).sum())
    for _ in range(3):
        f(tracer.ones(2, 2, device="cuda"))
    assert len(f.graphs()) == 1 and f.cache_info().replays == 2, f.explain()


def test_programs_that_are_given_nothing():
    """They compute where the recorded results were."""
    f = tracer.trace(lambda: tracer.ones(3, device="cuda") * 2)
    g = tracer.trace(lambda x: (tracer.arange(3, device="cuda") + 1, x.sum().item()))
    for _ in range(3):
        assert f().is_cuda and f().tolist() == [2, 2, 2]
        y, total = g(tracer.ones(2, device="cuda"))
        assert y.is_cuda and y.tolist() == [1, 2, 3] and total == 2
    assert f.cache_info().replays == 5 and g.cache_info().replays == 2


def test_what_is_not_compiled_runs_eagerly():
    for function in (lambda x: (x * 2, (x * 3).cpu()), lambda x: x.cpu() + 1, lambda x: tracer.ones(2) * x.sum().item()):
        f, x = tracer.trace(function), tracer.ones(2, device="cuda")
        with pytest.warns(match="runs eagerly"):
            f(x)
        for _ in range(2):
            for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (f(x), function(x))), strict=True):
                assert a.device == b.device and a.tolist() == b.tolist()


def test_a_function_that_autograd_enters():
    class Scaled(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return tracer.ones(2, 2, device=x.device)

        @staticmethod
        def backward(ctx, g):
            return g * 7

    f = tracer.trace(lambda x: Scaled.apply(x) * 1)
    for k in range(3):
        x = tracer.full((2, 2), float(k), device="cuda", requires_grad=True)
        f(x).sum().backward()
        assert x.grad.is_cuda and x.grad.tolist() == [[7, 7], [7, 7]]


def test_the_networks_of_the_demo_train():
    from tracer.cli import demo

    for make in (demo.dense_network, demo.Convolutional):
        found = []
        for where in ("cpu", "cuda"):
            for traced in (False, True):
                tracer.manual_seed(0)
                model = make().to(where)
                optimizer = tracer.optim.Adam(model.parameters(), 1e-3)
                x, y = tracer.rand(8, 64).to(where), tracer.randint(0, 10, (8,)).to(where)
                x = x.view(8, 1, 8, 8) if make is demo.Convolutional else x

                def step(x, y, model=model, optimizer=optimizer):
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    return loss

                run = tracer.trace(step) if traced else step
                found.append([run(x, y).item() for _ in range(4)])
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=2e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda **to: tracer.zeros(1000, 3, **to),
        lambda **to: tracer.ones(3000, dtype=tracer.int32, **to),
        lambda **to: tracer.full((1000,), -2.5, dtype=tracer.bfloat16, **to),
        lambda **to: tracer.full((1000,), True, **to),
        lambda **to: tracer.zeros(1000, dtype=tracer.complex128, **to),
        lambda **to: tracer.full_like(tracer.zeros(1000, **to), 7.0),
        lambda **to: tracer.empty_like(tracer.zeros(1000, 2, **to)),
        lambda **to: tracer.ones(1000, **to).new_full((500,), 3.0),
    ],
)
def test_constant_tensors_are_filled_on_the_device(cuda, monkeypatch, make):
    written = []
    write = type(cuda).write

    def noted(self, address, array, wait=True):
        written.append(array)
        write(self, address, array, wait)

    monkeypatch.setattr(type(cuda), "write", noted)
    x = make(device="cuda")
    assert not written and x.device == tracer.device("cuda:0")
    expected = make(device="cpu")
    assert x.dtype is expected.dtype and x.cpu().tolist() == expected.tolist()


@pytest.mark.parametrize("value", [0, 1, -1, 2.5, float("nan")])
@pytest.mark.parametrize("dtype", ["float64", "int64", "complex64", "float16", "int16", "uint8"])
def test_constants_of_each_dtype(value, dtype):
    dtype = getattr(tracer, dtype)
    if (value < 0 and not dtype.is_signed) or (value not in (0, 1, -1) and not (dtype.is_floating_point or dtype.is_complex)):
        value = 3
    for shape in [(), (0,), (3,), (2, 0, 4), (5, 7)]:
        x, expected = (tracer.full(shape, value, dtype=dtype, device=d) for d in ("cuda", "cpu"))
        assert (
            x.shape == expected.shape and x.dtype is dtype and np.array_equal(x.cpu().numpy(), expected.numpy(), equal_nan=True)
        )
    for device in ("cuda", "cpu"):
        with pytest.raises(RuntimeError, match="negative dimensions"):
            tracer.full((2, -1), value, dtype=dtype, device=device)
