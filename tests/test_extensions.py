"""Custom functions, hooks, function transforms, gradient checks, checkpoints: with PyTorch's values."""

import gc
import math
import subprocess
import sys
import warnings

import pytest

import tracer
from tracer import nn
from tracer.autograd import Function, functional, gradcheck, gradgradcheck
from tracer.autograd.function import once_differentiable
from tracer.utils.checkpoint import checkpoint, checkpoint_sequential


def leaf(values):
    return tracer.tensor(values, dtype=tracer.float64, requires_grad=True)


# Custom functions.


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


def test_function():
    x = leaf([1.0, 2.0])
    y = Cube.apply(x)
    assert y.grad_fn.name() == "CubeBackward"
    assert not y.is_leaf and y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [3, 12]


def test_function_is_differentiable_twice():
    x = leaf([1.0, 2.0])
    (g,) = tracer.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    (h,) = tracer.autograd.grad(g.sum(), x)
    assert h.tolist() == [6, 12]
    assert gradcheck(Cube.apply, (x,)) and gradgradcheck(Cube.apply, (x,))


def test_function_with_setup_context_and_other_arguments():
    class Scale(Function):
        @staticmethod
        def forward(x, factor, name):
            assert name == "twice"
            return x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            _, ctx.factor, _ = inputs
            assert ctx.needs_input_grad == (True, False, False)

        @staticmethod
        def backward(ctx, g):
            return g * ctx.factor, None, None

    x = leaf([1.0, 2.0])
    Scale.apply(x, 2.0, "twice").sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_function_of_several_results_some_of_them_unused():
    seen = []

    class Split(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a is None, b is None))
            return b * 3

    x = leaf([1.0])
    _, b = Split.apply(x)
    b.backward()
    assert x.grad.tolist() == [3] and seen == [(True, False)]


def test_function_results_that_are_not_differentiable():
    class Sort(Function):
        @staticmethod
        def forward(ctx, x):
            values, order = tracer.sort(x)
            ctx.mark_non_differentiable(order)
            ctx.save_for_backward(order)
            return values, order

        @staticmethod
        def backward(ctx, g, _):
            (order,) = ctx.saved_tensors
            return tracer.zeros_like(g).index_add(0, order, g)

    x = leaf([3.0, 1.0, 2.0])
    values, order = Sort.apply(x)
    assert values.requires_grad and not order.requires_grad
    values.backward(leaf([1.0, 10.0, 100.0]).detach())
    assert x.grad.tolist() == [100, 1, 10]


def test_function_in_place():
    class AddOne(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x += 1
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    x = leaf([1.0])
    y = x * 2
    z = AddOne.apply(y)
    assert z is y and y.tolist() == [3] and y.grad_fn.name() == "AddOneBackward"
    y.backward()
    assert x.grad.tolist() == [10]


def test_once_differentiable():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * g

    x = leaf([3.0])
    Square.apply(x).backward()
    assert x.grad.tolist() == [6]
    (g,) = tracer.autograd.grad((Square.apply(x) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_function_mistakes():
    class TooFew(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match="returned an incorrect number of gradients"):
        TooFew.apply(leaf([1.0]), leaf([2.0])).backward()

    class WrongShape(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return tracer.zeros(7, dtype=tracer.float64)

    with pytest.raises(RuntimeError, match="returned an invalid gradient"):
        WrongShape.apply(leaf([1.0, 2.0])).sum().backward()

    class NoBackward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    with pytest.raises(RuntimeError, match="implement either the backward"):
        NoBackward.apply(leaf([1.0])).backward()


def test_saved_tensors_are_freed_and_watched():
    x = leaf([2.0])
    y = Cube.apply(x)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    x = leaf([2.0]) * 1
    y = Cube.apply(x)
    x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


# Hooks.


def test_hooks_see_and_replace_gradients():
    x = leaf([1.0, 2.0])
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert seen == [[1, 1]] and x.grad.tolist() == [31, 31]
    handle.remove()
    x.grad = None
    (y.detach() * 1).requires_grad_()
    z = x * 3
    z.sum().backward()
    assert x.grad.tolist() == [4, 4]


def test_post_accumulate_hooks():
    x = leaf([1.0])
    seen = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    (x * 2).backward()
    (x * 2).backward()
    assert seen == [[2], [4]]
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_hooks_need_gradients():
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        tracer.ones(2).register_hook(print)
    with pytest.raises(RuntimeError, match="can't retain_grad"):
        tracer.ones(2).retain_grad()


def test_module_hooks():
    layer = nn.Linear(2, 2).double()
    calls = []
    h1 = layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    h2 = layer.register_forward_hook(lambda m, args, out: calls.append(args[0].tolist()))
    x = leaf([[1.0, 1.0]])
    expected = nn.functional.linear(x * 2, layer.weight, layer.bias)
    assert layer(x).tolist() == expected.tolist() and calls == [[[2, 2]]]
    h1.remove()
    h2.remove()
    layer(x)
    assert len(calls) == 1
    layer.register_forward_hook(lambda m, args, kwargs, out: out + 1, with_kwargs=True)
    assert layer(x).tolist() == (nn.functional.linear(x, layer.weight, layer.bias) + 1).tolist()


def test_module_backward_hooks():
    layer = nn.Linear(2, 1, bias=False).double()
    with tracer.no_grad():
        layer.weight.copy_(tracer.tensor([[3.0, 4.0]]))
    seen = []

    def hook(module, grad_input, grad_output):
        seen.append((grad_input[0].tolist(), grad_output[0].tolist()))
        return (grad_input[0] * 10,)

    layer.register_full_backward_hook(hook)
    x = leaf([[1.0, 1.0]])
    (layer(x) * 2).sum().backward()
    assert seen == [([[6, 8]], [[2]])]
    assert x.grad.tolist() == [[60, 80]] and layer.weight.grad.tolist() == [[2, 2]]
    other = nn.Linear(2, 1, bias=False).double()
    other.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 100,))
    other(x).sum().backward()
    assert other.weight.grad.tolist() == [[100, 100]]


# Function transforms.


def square_sum(x, y):
    return (x * x * y).sum()


def test_functional_derivatives():
    x, y = leaf([1.0, 2.0]).detach(), leaf([3.0, 4.0]).detach()
    jx, jy = functional.jacobian(lambda a, b: tracer.stack([a[0] * b[1], a[1] ** 2]), (x, y))
    assert jx.tolist() == [[4, 0], [0, 4]] and jy.tolist() == [[0, 1], [0, 0]]
    assert functional.hessian(lambda a: (a**3).sum(), x).tolist() == [[6, 0], [0, 12]]
    (hxx, hxy), (hyx, hyy) = functional.hessian(square_sum, (x, y))
    assert hxx.tolist() == [[6, 0], [0, 8]] and hxy.tolist() == hyx.tolist() == [[2, 0], [0, 4]]
    assert hyy.tolist() == [[0, 0], [0, 0]]
    v = leaf([1.0, 10.0]).detach()
    out, g = functional.vjp(lambda a: a**2, x, v)
    assert out.tolist() == [1, 4] and g.tolist() == [2, 40]
    out, t = functional.jvp(lambda a: a**2, x, v)
    assert out.tolist() == [1, 4] and t.tolist() == [2, 40]
    assert functional.hvp(lambda a: (a**3).sum(), x, v)[1].tolist() == [6, 120]
    assert functional.vhp(lambda a: (a**3).sum(), x, v)[1].tolist() == [6, 120]
    assert not jx.requires_grad
    assert functional.jacobian(lambda a: a**2, leaf([1.0]), create_graph=True).requires_grad


def test_gradcheck_catches_a_wrong_gradient():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    assert gradcheck(tracer.sin, (leaf([0.3, 0.7]),))
    assert gradgradcheck(lambda a, b: a @ b, (leaf([[1.0, 2.0]]), leaf([[3.0], [4.0]])))
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(Wrong.apply, (leaf([1.0, 2.0]),))
    assert gradcheck(Wrong.apply, (leaf([1.0, 2.0]),), raise_exception=False) is False
    with pytest.raises(ValueError, match="require gradient"):
        gradcheck(tracer.sin, (leaf([1.0]).detach(),))


# Anomaly mode, modes, saved tensors.


def test_anomaly_mode_names_the_forward_line():
    with warnings.catch_warnings(record=True) as caught, tracer.autograd.detect_anomaly():
        warnings.simplefilter("always")
        x = leaf([0.0])
        y = tracer.sqrt(x) * 0  # the cause
        with pytest.raises(RuntimeError, match=r"returned nan values in its 0th output"):
            y.backward()
    text = "".join(str(w.message) for w in caught)
    assert "the cause" in text


@pytest.mark.filterwarnings("ignore:Error detected")
def test_anomaly_mode_looks_into_traced_functions():
    w = leaf([1.0])

    def plain(x):
        w.grad = None
        (x * w).sqrt().sum().backward()

    step = tracer.trace(plain)
    for _ in range(4):
        step(tracer.ones(1))
    with tracer.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="returned nan values in its 1th output"):
        step(tracer.zeros(1))
    step(tracer.zeros(1))
    assert w.grad.isnan().item() and len(step.graphs()) == 1

    @tracer.trace
    def inside(x):
        with tracer.autograd.detect_anomaly():
            plain(x)

    with pytest.warns(tracer.TraceWarning, match="uses anomaly mode"):
        inside(tracer.ones(1))
    with pytest.raises(RuntimeError, match="returned nan values"):
        inside(tracer.zeros(1))


def test_inference_mode():
    x = leaf([1.0])
    with tracer.inference_mode():
        y = x * 2
    assert not y.requires_grad and y.is_leaf

    @tracer.inference_mode()
    def f():
        return (x * 2).requires_grad

    assert not f()


def test_modes_as_decorators_and_functions():
    x = leaf([1.0])

    @tracer.no_grad()
    def f():
        return x * 2

    @tracer.enable_grad()
    def g():
        return x * 2

    assert not f().requires_grad
    with tracer.no_grad():
        assert g().requires_grad
        with tracer.set_grad_enabled(True):
            assert (x * 2).requires_grad
    assert tracer.is_grad_enabled()


def test_saved_tensors_hooks():
    packed = []

    def pack(t):
        packed.append(t.tolist())
        return t.tolist()

    def unpack(values):
        return tracer.tensor(values, dtype=tracer.float64)

    x = leaf([2.0, 3.0])
    with tracer.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = x * x
    y.sum().backward()
    assert x.grad.tolist() == [4, 6] and packed == [[2, 3], [2, 3]]


# Checkpoints.


def test_checkpoint_computes_again_and_agrees():
    calls = []

    def block(x, w):
        calls.append(1)
        return tracer.tanh(x * w)

    x, w = leaf([0.5, 1.0]), leaf([2.0, 3.0])
    block(x, w).sum().backward()
    expected = x.grad.tolist(), w.grad.tolist()
    x.grad = w.grad = None
    calls.clear()
    y = checkpoint(block, x, w, use_reentrant=False)
    assert len(calls) == 1
    y.sum().backward()
    assert len(calls) == 2 and (x.grad.tolist(), w.grad.tolist()) == expected


def test_checkpoint_sequential():
    tracer.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(4)])
    x = tracer.randn(2, 3, requires_grad=True)
    model(x).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    checkpoint_sequential(model, 2, x, use_reentrant=False).sum().backward()
    for p, g in zip(model.parameters(), expected, strict=True):
        assert tracer.allclose(p.grad, g)


# Memory.


def test_a_graph_is_freed_at_once():
    import weakref

    gc.disable()
    try:
        x = leaf([1.0])
        y = x
        held = []
        for k in range(20):
            y = y * 2 if k % 3 else Cube.apply(y) / 1e3
            held.append(weakref.ref(y.grad_fn))
        y.backward()
        del y
        assert all(r() is None for r in held)
    finally:
        gc.enable()


def test_threads_run_backward_on_separate_graphs():
    import threading

    results, errors = {}, []

    def work(k):
        try:
            x = leaf([float(k)])
            for _ in range(50):
                y = x
                for _ in range(20):
                    y = tracer.sin(y)
                (g,) = tracer.autograd.grad(y.sum(), x)
            results[k] = g.item()
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    for k, g in results.items():
        y, expected = float(k), 1.0
        for _ in range(20):
            expected *= math.cos(y)
            y = math.sin(y)
        assert g == pytest.approx(expected)


@pytest.mark.parametrize("reason", [None, "it prints"])
def test_functions_that_are_not_to_be_compiled(reason):
    calls = []

    @tracer.compiler.disable(reason=reason)
    def inside(x):
        calls.append(1)
        return x * 2

    step = tracer.trace(lambda x: inside(x) + 1)
    with pytest.warns(tracer.TraceWarning, match="calls a function that is disabled" + (f": {reason}" if reason else "")):
        step(tracer.ones(2))
    for _ in range(3):
        assert step(tracer.ones(2)).tolist() == [3.0, 3.0]
    assert len(calls) == 4 and inside.__name__ == "inside"


def test_inference_tensors_of_another_thread_are_noticed():
    program = """
import threading, tracer
with tracer.autograd.detect_anomaly():
    pass
made = []
def infer():
    with tracer.inference_mode():
        made.append(tracer.ones(2))
thread = threading.Thread(target=infer)
thread.start()
thread.join()
try:
    tracer.ones(2, requires_grad=True) * made[0]
except RuntimeError as e:
    print(e)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "Inference tensors cannot be saved for backward" in said
