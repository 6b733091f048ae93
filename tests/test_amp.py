"""Mixed precision: dtypes of results and the scaler are PyTorch's, and training works, eager and traced."""

import numpy as np
import pytest

import tracer
from tracer import amp, nn
from tracer.nn import functional as F

A = tracer.tensor([[0.5, -1.0, 2.0, 0.3], [1.0, 0.2, -0.7, 1.1], [-0.4, 0.9, 0.1, -1.3], [0.8, -0.6, 1.7, 0.25]])
W = A.flip(0) * 0.7
TARGET = tracer.tensor([0, 1, 2, 3])
H = tracer.bfloat16

# As PyTorch 2.13 computes them in ``autocast("cpu")``; h is a product, a and w are float32.
RESULTS = {
    "bfloat16": {
        "product": lambda a, w, h: a @ w,
        "method": lambda a, w, h: a.matmul(w),
        "mm": lambda a, w, h: tracer.mm(a, w),
        "vector": lambda a, w, h: tracer.matmul(a, w[0]),
        "bmm": lambda a, w, h: tracer.bmm(a[None], w[None]),
        "addmm": lambda a, w, h: tracer.addmm(a, a, w),
        "einsum": lambda a, w, h: tracer.einsum("ij,jk->ik", a, w),
        "tensordot": lambda a, w, h: tracer.tensordot(a, w, 1),
        "half": lambda a, w, h: a.half() @ w.half(),
        "linear": lambda a, w, h: F.linear(a, w),
        "convolution": lambda a, w, h: F.conv1d(a[None], a.view(4, 4, 1)),
        "attention": lambda a, w, h: F.scaled_dot_product_attention(a[None], a[None], a[None]),
        "softmax": lambda a, w, h: h.softmax(-1),
        "layer norm": lambda a, w, h: F.layer_norm(h, (4,), a[0], a[1]),
        "batch norm": lambda a, w, h: nn.BatchNorm1d(4)(h),
        "gelu": lambda a, w, h: F.gelu(h),
        "sum": lambda a, w, h: h.sum(),
        "power": lambda a, w, h: h**2,
        "LSTM": lambda a, w, h: nn.LSTM(4, 4)(a[:, None])[0],
        "heads": lambda a, w, h: nn.MultiheadAttention(4, 2)(a[:, None], a[:, None], a[:, None])[0],
        "layers": lambda a, w, h: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2))(a),
    },
    "float32": {
        "cross entropy": lambda a, w, h: F.cross_entropy(h, TARGET),
        "squares": lambda a, w, h: F.mse_loss(h, h),
        "logits": lambda a, w, h: F.binary_cross_entropy_with_logits(h, a.sigmoid()),
        "divergence": lambda a, w, h: F.kl_div(h, a.softmax(-1), reduction="sum"),
        "addition": lambda a, w, h: h + a,
        "concatenation": lambda a, w, h: tracer.cat([h, a]),
        "stack": lambda a, w, h: tracer.stack([h, a]),
        "prod": lambda a, w, h: h.prod(),
        "inverse": lambda a, w, h: tracer.linalg.inv(a @ w.T),
        "dot": lambda a, w, h: tracer.dot(a[0], w[0]),
        "mv": lambda a, w, h: tracer.mv(a, w[0]),
        "distances": lambda a, w, h: tracer.cdist(h, a),
        "a layer of a transformer": lambda a, w, h: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)(a[None]),
    },
    "float64": {"double": lambda a, w, h: a.double() @ w.double()},
}


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize(("dtype", "name"), [(d, n) for d, found in RESULTS.items() for n in found])
def test_dtypes(dtype, name, traced):
    def run(a, w):
        with amp.autocast("cpu"):
            return RESULTS[dtype][name](a, w, a @ w)

    makes_modules = name in ("LSTM", "heads", "layers", "batch norm", "a layer of a transformer")
    f = tracer.trace(run) if traced and not makes_modules else run
    for _ in range(3):
        assert f(A, W).dtype.name == dtype
    assert (A @ W).dtype is tracer.float32


def network():
    tracer.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 4))


def losses(enabled, traced, where="cpu", dtype=None, steps=6):
    model = network().to(where)
    optimizer = tracer.optim.SGD(model.parameters(), 0.1)
    x, y = tracer.randn(8, 16).to(where), tracer.randint(0, 4, (8,)).to(where)

    def step(x, y):
        optimizer.zero_grad()
        with amp.autocast(where, dtype, enabled=enabled):
            out = model(x)
            loss = F.cross_entropy(out, y)
        loss.backward()
        optimizer.step()
        return loss, out

    f = tracer.trace(step) if traced else step
    found = []
    for _ in range(steps):
        loss, out = f(x, y)
        assert loss.dtype is tracer.float32 and out.dtype is ((dtype or H) if enabled else tracer.float32)
        found.append(loss.item())
    assert all(p.dtype is p.grad.dtype is tracer.float32 for p in model.parameters())
    if traced:
        assert f.cache_info().replays >= steps - 2, f.explain()
    return found


@pytest.mark.parametrize("dtype", [None, tracer.float16])
def test_training(dtype):
    exact, eager, compiled = losses(False, False), losses(True, False, dtype=dtype), losses(True, True, dtype=dtype)
    np.testing.assert_allclose(eager, exact, rtol=0.02)
    np.testing.assert_allclose(compiled, eager, rtol=0.01)
    assert eager != exact


def test_training_on_a_device(cuda):
    for traced in (False, True):
        found = losses(True, traced, "cuda", tracer.bfloat16, 4)
        np.testing.assert_allclose(found, losses(True, False, steps=4), rtol=0.02)


def test_a_traced_function_is_recorded_for_each_mode():
    f = tracer.trace(lambda a, w: a @ w)
    for _ in range(3):
        assert f(A, W).dtype is tracer.float32
        with amp.autocast("cpu"):
            assert f(A, W).dtype is H
        with amp.autocast("cpu", tracer.float16):
            assert f(A, W).dtype is tracer.float16
    assert f.cache_info().recordings == 3


def test_fused_functions_are_recorded_for_each_mode():
    cell = nn.GRUCell(32, 32)
    x = tracer.randn(32, 32)
    expected = cell(x, x)
    for _ in range(3):
        with amp.autocast("cpu"):
            cell(x, x)
        assert np.array_equal(cell(x, x).detach().numpy(), expected.detach().numpy())


def test_contexts_nest():
    assert not amp.is_autocast_enabled("cpu") and amp.get_autocast_dtype("cpu") is H
    with amp.autocast("cpu"):
        assert amp.is_autocast_enabled("cpu") and not amp.is_autocast_enabled("cuda")
        with amp.autocast("cpu", enabled=False):
            assert (A @ W).dtype is tracer.float32 and not amp.is_autocast_enabled("cpu")
        with amp.autocast("cuda"):
            assert (A @ W).dtype is H
        with amp.autocast("cpu", dtype=tracer.float16):
            assert (A @ W).dtype is tracer.float16 is amp.get_autocast_dtype("cpu")
        assert (A @ W).dtype is H
    try:
        with amp.autocast("cpu"):
            raise KeyError
    except KeyError:
        assert (A @ W).dtype is tracer.float32
    decorated = amp.autocast("cpu")(lambda a, w: a @ w)
    assert decorated(A, W).dtype is H and decorated(A, W).dtype is H
    for wrong in (lambda: amp.autocast("cpu", tracer.float64), lambda: amp.autocast("meta"), lambda: amp.autocast("no such")):
        with pytest.raises(RuntimeError):
            wrong()


def test_gradients_pass_casts():
    a, w = A.clone().requires_grad_(), W.clone().requires_grad_()
    with amp.autocast("cpu"):
        y = (a @ w).square().sum()
    y.backward()
    b, v = A.clone().requires_grad_(), W.clone().requires_grad_()
    (b @ v).square().sum().backward()
    for g, expected in ((a.grad, b.grad), (w.grad, v.grad)):
        assert g.dtype is tracer.float32
        np.testing.assert_allclose(g.numpy(), expected.numpy(), atol=0.1)


def test_custom_functions():
    class Double(tracer.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cpu", cast_inputs=tracer.float32)
        def forward(ctx, x):
            assert x.dtype is tracer.float32 and not amp.is_autocast_enabled("cpu")
            return x * 2

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            return g * 2

    a = A.clone().requires_grad_()
    with amp.autocast("cpu"):
        y = Double.apply(a @ W)
    y.sum().backward()
    assert y.dtype is tracer.float32 and a.grad is not None


class Product(tracer.autograd.Function):
    @staticmethod
    @amp.custom_fwd(device_type="cpu")
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a.mm(b)

    @staticmethod
    @amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g.mm(b.t()), a.t().mm(g)


class Float32Product(Product):
    @staticmethod
    @amp.custom_fwd(device_type="cpu", cast_inputs=tracer.float32)
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a.mm(b)


@pytest.mark.parametrize("where", ["backward outside", "backward inside", "backward outside the trace"])
@pytest.mark.parametrize("how", ["eager", "traced"])
@pytest.mark.parametrize("given", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("function", [Product, Float32Product])
def test_backward_of_custom_functions_is_cast_as_forward_was(function, given, how, where):
    def run(a, b):
        with amp.autocast("cpu"):
            y = function.apply(a, b)
            if where == "backward inside":
                y.sum().backward()
        if where == "backward outside":
            y.sum().backward()
        return y

    step = tracer.trace(run) if how == "traced" else run
    for _ in range(3):
        a, b = (tracer.full((3, 3), 1.0, dtype=getattr(tracer, given), requires_grad=True) for _ in range(2))
        y = step(a, b)
        if where == "backward outside the trace":
            y.sum().backward()
        wide = "float64" if given == "float64" else "bfloat16" if function is Product else "float32"  # recorded from PyTorch
        assert (y.dtype.name, a.grad.dtype.name, b.grad.dtype.name) == (wide, given, given)
        assert (y == 3).all() and (a.grad == 3).all() and (b.grad == 3).all()


def test_custom_bwd_needs_custom_fwd():
    class Alone(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        backward = staticmethod(amp.custom_bwd(lambda ctx, g: g * 2, device_type="cpu"))

    with pytest.raises(RuntimeError, match="custom_bwd on backward needs custom_fwd on forward"):
        Alone.apply(tracer.ones(2, requires_grad=True)).sum().backward()


# The scaler.


def test_the_scale_grows_and_backs_off():
    p = tracer.ones(2, requires_grad=True)
    optimizer = tracer.optim.SGD([p], 1.0)
    scaler = amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)

    def step(factor):
        optimizer.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    step(1.0)
    assert p.tolist() == [0, 0] and scaler.get_scale() == 8
    step(1.0)
    assert p.tolist() == [-1, -1] and scaler.get_scale() == 16
    step(float("inf"))
    assert p.tolist() == [-1, -1] and scaler.get_scale() == 8
    step(2.0)
    assert p.tolist() == [-3, -3]
    twin = amp.GradScaler("cpu")
    twin.load_state_dict(scaler.state_dict())
    assert twin.state_dict() == scaler.state_dict() and twin.get_scale() == 8
    assert set(scaler.state_dict()) == {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}


def test_gradients_can_be_clipped_between():
    p = tracer.ones(2, requires_grad=True)
    optimizer = tracer.optim.SGD([p], 1.0)
    scaler = amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale((p * 100).sum()).backward()
    assert p.grad.tolist() == [102400, 102400]
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [100, 100]
    with pytest.raises(RuntimeError, match="has already been called"):
        scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_([p], 1.0)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="has already been called since the last update"):
        scaler.step(optimizer)
    scaler.update()
    np.testing.assert_allclose(p.detach().numpy(), 1 - 0.5**0.5, rtol=1e-5)
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.update()


def test_a_disabled_scaler_does_nothing():
    p = tracer.ones(2, requires_grad=True)
    optimizer = tracer.optim.SGD([p], 1.0)
    scaler = amp.GradScaler(enabled=False)
    y = (p * 2).sum()
    assert scaler.scale(y) is y and scaler.get_scale() == 1 and scaler.state_dict() == {} and not scaler.is_enabled()
    y.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [-1, -1]


def test_a_traced_step_with_a_scaler():
    model = network()
    optimizer = tracer.optim.SGD(model.parameters(), 0.1)
    scaler = amp.GradScaler("cpu", init_scale=256.0)
    x, y = tracer.randn(8, 16), tracer.randint(0, 4, (8,))

    @tracer.trace
    def gradients(x, y):
        optimizer.zero_grad()
        with amp.autocast("cpu", tracer.float16):
            loss = F.cross_entropy(model(x), y)
        (loss * 256.0).backward()
        return loss

    found = []
    for _ in range(5):
        found.append(gradients(x, y).item())
        scaler.step(optimizer)
        scaler.update()
    assert found == sorted(found, reverse=True) and gradients.cache_info().replays >= 3
