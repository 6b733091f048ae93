"""Composite functions that eager mode computes by one compiled function on large tensors (``core/fused.py``)."""

import threading
import warnings

import numpy as np
import pytest

import tracer
from tracer import nn
from tracer.autograd import graph
from tracer.autograd.node import walk
from tracer.core import fused
from tracer.nn import functional as F
from tracer.optim import compiled
from tracer.tracing.compiled_node import CompiledNode
from tracer.tracing.graph_function import GraphFunction
from tracer.tracing.numpy_function import NumpyFunction

f64 = tracer.float64
CASES = {
    "softmax": lambda x: F.softmax(x, 1),
    "softmax of an axis": lambda x: x.softmax(0),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "layer_norm": lambda x: F.layer_norm(x, (6,), WEIGHT, BIAS),
    "layer_norm without weights": lambda x: F.layer_norm(x, [6], eps=1e-3),
    "rms_norm": lambda x: F.rms_norm(x, (6,), WEIGHT),
    "group_norm": lambda x: F.group_norm(x, 3, WEIGHT, BIAS),
    "batch_norm": lambda x: F.batch_norm(x, None, None, WEIGHT, BIAS, training=True),
    "batch_norm with fixed statistics": lambda x: F.batch_norm(x, ZEROS.to(x.dtype), ONES.to(x.dtype), WEIGHT, BIAS),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1, is_causal=True),
    "attention with a mask": lambda x: F.scaled_dot_product_attention(x, x, x.sin(), MASK),
    "mse_loss": lambda x: F.mse_loss(x, x.detach().cos()),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, x.detach().sigmoid()),
    "cross_entropy": lambda x: F.cross_entropy(x, TARGET),
    "cross_entropy with options": lambda x: F.cross_entropy(x, TARGET, WEIGHT.abs(), ignore_index=2, label_smoothing=0.1),
    "cross_entropy without reduction": lambda x: F.cross_entropy(x, TARGET, reduction="none"),
}
WEIGHT, BIAS = (tracer.linspace(a, 1.5, 6, dtype=f64).requires_grad_() for a in (-1, 0.25))
ZEROS, ONES, MASK = tracer.zeros(6), tracer.ones(6), tracer.ones(4, 4, dtype=tracer.bool).tril(-1)
TARGET = tracer.tensor([0, 2, 5, 1])


@pytest.fixture
def always(monkeypatch):
    """Small tensors count as large."""
    monkeypatch.setattr(fused, "LEAST", 1)


def is_compiled(t):
    return any(isinstance(node, CompiledNode) for node in walk(t.grad_fn))


def run(f, dtype, order=2):
    """The result and its derivatives of all orders up to ``order``."""
    rng = np.random.default_rng(0)
    x = tracer.from_numpy(rng.standard_normal((4, 6))).to(dtype).requires_grad_()
    y = f(x)
    found, inputs = [y], [x, *(t for t in (WEIGHT, BIAS) if dtype == f64)]
    for _ in range(order):
        seed = tracer.from_numpy(rng.standard_normal(y.shape)).to(y.dtype)
        grads = tracer.autograd.grad((y * seed).sum(), inputs, create_graph=True, allow_unused=True)
        grads = [g for g in grads if g is not None and g.requires_grad]
        if not grads:
            break
        found += grads
        y = tracer.cat([g.reshape(-1) for g in grads])
    return found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [tracer.float32, f64, tracer.bfloat16], ids=str)
def test_values_and_derivatives(name, dtype, always):
    def f(x):
        if x.dtype == f64:
            return CASES[name](x)
        with weights_as(x.dtype):
            return CASES[name](x)

    found = run(f, dtype)
    assert is_compiled(found[0])
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        expected = run(f, dtype)
    assert not is_compiled(expected[0])
    assert found[0].grad_fn.name() == expected[0].grad_fn.name()
    tolerance = {tracer.float32: 1e-4, f64: 1e-11, tracer.bfloat16: 0.1}[dtype]
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert tracer.allclose(a, b, tolerance, tolerance)


class weights_as:
    def __init__(self, dtype):
        self.dtype = dtype

    def __enter__(self):
        global WEIGHT, BIAS
        self.before = WEIGHT, BIAS
        WEIGHT, BIAS = (t.detach().to(self.dtype).requires_grad_() for t in self.before)

    def __exit__(self, *error):
        global WEIGHT, BIAS
        WEIGHT, BIAS = self.before


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [tracer.float32, f64], ids=str)
def test_small_tensors_give_bitwise_the_same_at_any_time(name, dtype):
    def f(x):
        with weights_as(x.dtype):
            return CASES[name](x)

    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        expected = run(f, dtype, order=1)
    assert not is_compiled(expected[0])
    for _ in range(7):
        found = run(f, dtype, order=1)
        assert len(found) == len(expected) and all(a.equal(b) for a, b in zip(found, expected, strict=True))
    assert is_compiled(found[0])


def added(t):
    with tracer.no_grad():
        t.add_(1)


CHANGES = {
    "input": lambda x, w, y: added(x),
    "weight": lambda x, w, y: added(w),
    "result": lambda x, w, y: added(y),
    "other memory for the input": lambda x, w, y: setattr(x, "data", x.data * 3),
    "other memory for the weight": lambda x, w, y: setattr(w, "data", w.data * 3),
    "input, past its counter": lambda x, w, y: x.detach().numpy().__setitem__(0, 7.0),
    "weight, past its counter": lambda x, w, y: w.data.add_(1),
    "result, past its counter": lambda x, w, y: y.detach().numpy().__setitem__((), 2.0),
}
BETWEEN = {
    "linear": F.linear,
    "softmax": lambda x, w: F.softmax(x @ w, -1),
    "layer_norm": lambda x, w: F.layer_norm(x, (6,), w[0]),
    "attention": lambda x, w: F.scaled_dot_product_attention(x[None], x[None], x[None]).sum() * w.sum(),
    "cross_entropy": lambda x, w: F.cross_entropy(x, TARGET) + w.sum(),
    "clamp": lambda x, w: x.clamp(-0.5, 0.5) * w.sum(),
    "std": lambda x, w: x.std(1) * w[0, 0],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("views", [False, True])
def test_changes_between_a_small_function_and_its_backward_pass(name, change, views, monkeypatch):
    def gradients(change, passes):
        tracer.manual_seed(3)
        x, w = tracer.randn(4, 6).requires_grad_(), tracer.randn(6, 6).requires_grad_()
        a, b = (x * 1, w.T) if views else (x, w)
        try:
            y = BETWEEN[name](a, b)
            if passes < 3:
                change(a, w, y)
            found = tracer.autograd.grad((y * y.detach().sin()).sum(), (x, w), create_graph=passes > 1, allow_unused=True)
            if passes == 3:
                change(a, w, y)
            if passes > 1:
                found = tracer.autograd.grad(sum(g.square().sum() for g in found if g is not None), (x, w), allow_unused=True)
            return [None if g is None else pytest.approx(g.flatten().tolist(), rel=1e-4, abs=1e-5) for g in found]
        except RuntimeError as e:
            return str(e)[:60]

    for passes in (1, 2, 3):  # the change is before both of two passes, or between them
        with monkeypatch.context() as patched:
            patched.setattr(fused, "CALLS", 10**9)  # operation by operation
            expected = gradients(CHANGES[change], passes)
        for _ in range(6):
            gradients(lambda x, w, y: None, passes)
        found = gradients(CHANGES[change], passes)
        plain = [g if g is None else g.expected for g in found] if isinstance(found, list) else found
        assert plain == expected


def test_which_tensors_are_large_depends_on_shapes_alone():
    small, large = tracer.randn(8, 8, requires_grad=True), tracer.randn(64, 64, requires_grad=True)
    for _ in range(7):
        F.gelu(small)
        assert isinstance(F.gelu(large).grad_fn.function, GraphFunction)
    assert isinstance(F.gelu(small).grad_fn.function, NumpyFunction)
    assert F.gelu(large).equal(F.gelu(large))


def test_where_single_operations_are_observed(always):
    x = tracer.randn(4, 6, requires_grad=True)
    with tracer.autograd.detect_anomaly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not isinstance(F.gelu(x).grad_fn, CompiledNode)
    with tracer.inference_mode():
        assert F.softmax(x, 1).is_inference()
    f = tracer.trace(lambda x: F.layer_norm(x, (6,)).sum())
    assert tracer.allclose(f(x), f(x), atol=1e-5)
    assert any(op.primitive.name == "rsqrt" for op in f.graphs()[0].ops)


@pytest.mark.parametrize("mode", [tracer.no_grad, tracer.inference_mode])
def test_a_first_call_without_gradients(mode, always):
    function = fused.fused(lambda x: x * 2 + 1)
    x = tracer.randn(4, 6, requires_grad=True)
    with mode():
        assert not function(x).requires_grad
    assert function(x).requires_grad
    with mode():
        assert not function(x).requires_grad
        assert tracer.is_inference_mode_enabled() is (mode is tracer.inference_mode)


def test_the_default_dtype_matters(always):
    x = tracer.ones(4, 6, dtype=tracer.int64)
    assert tracer.softmax(x, 1).dtype is tracer.float32
    tracer.set_default_dtype(f64)
    try:
        assert tracer.softmax(x, 1).dtype is f64
    finally:
        tracer.set_default_dtype(tracer.float32)


def test_errors_are_those_of_the_code(always):
    x = tracer.randn(4, 6)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="normalized_shape"):
            F.layer_norm(x, (5,))
        with pytest.raises(IndexError, match="Target 9 is out of bounds"):
            F.cross_entropy(x, tracer.tensor([0, 1, 2, 9]))


def test_strides_of_results(always):
    x = tracer.randn(6, 4).T
    assert F.gelu(x).stride() == x.stride()
    assert F.gelu(x.contiguous()).stride() == (6, 1)


def test_changes_in_place_are_noticed(always):
    x = tracer.randn(4, 6, requires_grad=True)
    y = x * 1
    z = F.silu(y)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
    y = x * 1
    z = F.softmax(y, 1)
    y.add_(1)  # softmax saves its result
    z.sum().backward()


def test_views(always):
    base = tracer.randn(8, 6)
    x = base[:4]
    base.requires_grad_()
    y = F.silu(base[:4] * 1).sum() + F.silu(base[4:]).sum()
    y.backward()
    assert x.requires_grad is base.requires_grad
    expected = base.detach().requires_grad_()
    (expected * expected.sigmoid()).sum().backward()
    assert tracer.allclose(base.grad, expected.grad)


def compiled_signatures(function):
    tables = [c.cell_contents for c in function.__closure__ if isinstance(c.cell_contents, fused.Compiled)]
    return sum(len(c.known) for c in tables)


@pytest.mark.parametrize(("limit", "first"), [("_MOST", fused.LEAST), ("_SHAPES", fused.LEAST), ("_MOST_SMALL", 1)])
def test_signatures_are_bounded(monkeypatch, limit, first):
    monkeypatch.setattr(fused, limit, 5)
    function = fused.fused(lambda x: x * 2 + 1)
    for n in range(first, first + 10):
        for _ in range(6):
            assert function(tracer.ones(n)).tolist() == [3] * n
    assert compiled_signatures(function) == 5


def test_layers_are_compiled_whose_data_have_few_shapes():
    """Networks have many layers of different sizes; batches of sentences or images have many shapes."""
    linear = fused.fused(lambda x, w: x @ w.mT)
    layers = [tracer.randn(n, 16) for n in range(40, 80)]
    for w in layers:
        linear(tracer.randn(40, 16), w)
    assert compiled_signatures(linear) == len(layers)
    known, results = [tracer.randn(3, n, 16) for n in range(100, 130)], []
    for _ in range(3):
        results.append([linear(x, layers[0]) for x in known])
    assert compiled_signatures(linear) == len(layers) + fused._SHAPES
    assert all((a == b).all() for later in results for a, b in zip(results[0], later, strict=True))


def test_huge_tensors_are_computed_by_compiled_code_whatever_their_shape(monkeypatch):
    monkeypatch.setattr(fused, "_HUGE", 1 << 12)
    square = fused.fused(lambda x: x * x)
    for n in range(30):
        square(tracer.ones(64, 64 + n))
    assert compiled_signatures(square) == 30


def test_equal_numbers_of_different_types_are_different(always):
    scaled = fused.fused(lambda x, k: x * k)
    x = tracer.ones(4, dtype=tracer.int64)
    assert [scaled(x, k).dtype for k in (1, 1.0, True)] == [tracer.int64, tracer.float32, tracer.int64]
    assert [1 / float(scaled(tracer.ones(1), k)) for k in (0.5, 2.0)] == [2, 0.5]
    assert [np.signbit(scaled(tracer.ones(1), k).numpy())[0] for k in (0.0, -0.0)] == [False, True]


def test_threads(always):
    x = tracer.randn(64, 64, requires_grad=True)
    expected, wrong = F.layer_norm(x, (64,)).tolist(), []

    def calls():
        for _ in range(20):
            y = F.layer_norm(x, (64,))
            tracer.autograd.grad(y.sum(), x)
            if y.tolist() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


CELLS = {"rnn": nn.RNNCell, "relu": lambda a, b: nn.RNNCell(a, b, nonlinearity="relu"), "lstm": nn.LSTMCell, "gru": nn.GRUCell}


@pytest.mark.parametrize("name", CELLS)
def test_recurrent_cells(name, always):
    tracer.manual_seed(0)
    cell, layer = CELLS[name](6, 6).double(), nn.LSTM(6, 6, proj_size=3, bidirectional=True).double()

    def f(x):
        h = cell(x)
        h = cell(x.sin(), h)
        h = h if isinstance(h, tracer.Tensor) else sum(h)
        return h + layer(x.unsqueeze(1))[0].squeeze(1)

    found = run(f, f64)
    assert is_compiled(found[0])
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        expected = run(f, f64)
    for a, b in zip(found, expected, strict=True):
        assert tracer.allclose(a, b, 1e-10, 1e-11)


OPTIMIZERS = {
    "Adam": {"amsgrad": True},
    "AdamW": {"weight_decay": 0.1},
    "NAdam": {"decoupled_weight_decay": True, "weight_decay": 0.1},
    "RAdam": {"maximize": True},
    "Adamax": {},
    "Adadelta": {},
    "Adagrad": {"lr_decay": 0.1},
    "ASGD": {},
    "Adafactor": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Rprop": {},
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
}


def test_small_tensors_with_sixteen_bit_intermediates():
    function = fused.fused(lambda x: ((x.bfloat16() * 1.1 + 0.3).sigmoid() @ x.bfloat16().T).float().softmax(-1))
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        expected = run(function, tracer.float32, order=1)
    for _ in range(7):
        found = run(function, tracer.float32, order=1)
        assert all(a.equal(b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    def trained(steps=9):
        tracer.manual_seed(0)
        params = [tracer.randn(*shape).requires_grad_() for shape in ((12, 10), (64,), (3,))]
        optimizer = getattr(tracer.optim, name)(params, **OPTIMIZERS[name])
        schedule = tracer.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        for i in range(steps):
            for p in params:
                p.grad = (p.detach() * 0.3 + 0.1 * i).clone()
            optimizer.step()
            schedule.step()
        return params, optimizer

    params, optimizer = trained()
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        expected, its = trained()
    for p, q in zip(params, expected, strict=True):
        assert tracer.allclose(p, q, 1e-5, 1e-6)
        assert p._version == q._version
        assert list(optimizer.state[p]) == list(its.state[q])
        for key, value in optimizer.state[p].items():
            assert value is None or tracer.allclose(value, its.state[q][key], 1e-5, 1e-6)
    found = [v for v in compiled._known[type(optimizer)].known.values() if v is not None]
    assert len(found) >= 3  # whatever the learning rate
    assert params[2].equal(expected[2])  # the tiny one, by NumPy


def test_optimizers_of_users_run_their_code():
    class Mine(tracer.optim.SGD):
        steps = 0

        def _tracer_update_group(self, group, params):
            Mine.steps += len(params)
            super()._tracer_update_group(group, params)

    p = tracer.ones(100, requires_grad=True)
    optimizer = Mine([p], lr=0.1)
    for _ in range(3):
        p.grad = tracer.ones(100)
        optimizer.step()
    assert Mine.steps == 3
    assert p.tolist() == pytest.approx([0.7] * 100)


def test_replaced_code_runs(monkeypatch):
    p = tracer.ones(100, requires_grad=True)
    optimizer = tracer.optim.SGD([p], lr=0.5)

    def step():
        p.grad = tracer.ones(100)
        optimizer.step()
        return float(p[0])

    assert step() == 0.5
    with monkeypatch.context() as patched:
        patched.setattr(tracer.optim.SGD, "_tracer_update_group", lambda self, group, params: params[0].add_(10))
        assert step() == 10.5
    assert step() == 10
    optimizer._tracer_update_group = lambda group, params: params[0].add_(10)
    assert step() == 20


def test_parameters_that_share_memory_with_gradients():
    p = tracer.ones(100, requires_grad=True)
    optimizer = tracer.optim.SGD([p], lr=0.5)
    p.grad = p.detach()
    optimizer.step()
    assert p.tolist() == [0.5] * 100
    both = tracer.ones(200)
    p, p.grad = both[:100].requires_grad_(), both[100:]
    tracer.optim.SGD([p], lr=0.5).step()
    assert both.tolist() == [0.5] * 100 + [1] * 100


def test_an_update_is_noticed_by_a_pass_over_the_old_graph():
    w = tracer.ones(100, requires_grad=True)
    optimizer = tracer.optim.SGD([w], lr=0.1)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_training(always):
    """Fused and other functions train alike."""

    def losses():
        tracer.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 12), nn.LayerNorm(12), nn.GELU(), nn.Linear(12, 6))
        optimizer = tracer.optim.SGD(model.parameters(), lr=0.1)
        x, found = tracer.randn(4, 6), []
        for _ in range(5):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), TARGET)
            loss.backward()
            optimizer.step()
            found.append(float(loss))
        return found

    found = losses()
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        assert losses() == pytest.approx(found, rel=1e-5)
