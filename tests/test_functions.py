"""Operations with user-defined derivatives: what they may return, save, change and declare. Expectations are PyTorch's."""

import gc
import warnings
import weakref

import pytest

import tracer
from tracer import tensor
from tracer.autograd import Function
from tracer.autograd.graph import saved_tensors_hooks

RUN = [pytest.param(lambda f: f, id="eager"), pytest.param(tracer.trace, id="traced")]


def leaf(values):
    return tensor(values, requires_grad=True)


def scaled(forward, scale=7):
    """A function whose backward uses another scale than its forward."""

    class Scaled(Function):
        @staticmethod
        def backward(ctx, g):
            return (g * scale).reshape(2, 2) if g.dim() == 1 else g * scale

    Scaled.forward = staticmethod(forward)
    return Scaled.apply


# A function's result -> the gradient of its sum at ones (2, 2), if the backward multiplies by 7.
RETURNS = {
    "its input": (lambda ctx, x: x, 7),
    "a view of its input": (lambda ctx, x: x.view_as(x), 7),
    "a reshaped input": (lambda ctx, x: x.reshape(4), 7),
    "its transposed input": (lambda ctx, x: x.t(), 7),
    "a detached input": (lambda ctx, x: x.detach(), 7),
    "a computed value": (lambda ctx, x: x * 3, 7),
    "a view of a computed value": (lambda ctx, x: (x * 3).view(4), 7),
    "a constant": (lambda ctx, x: tracer.ones(2, 2), 7),
}


@pytest.mark.parametrize("trace", RUN)
@pytest.mark.parametrize("then", [lambda y: y, lambda y: y * 1, lambda y: y.reshape(-1)], ids=["alone", "times 1", "reshaped"])
@pytest.mark.parametrize("name", RETURNS)
def test_the_backward_is_never_dropped(name, then, trace, recwarn):
    forward, expected = RETURNS[name]
    apply = scaled(forward)
    f = trace(lambda x: then(apply(x)))
    for k in range(4):
        x = leaf([[1.0, 1.0], [1.0 + k, 1.0]])
        f(x).sum().backward()
        assert x.grad.tolist() == [[expected, expected], [expected, expected]]
        y = leaf([[1.0, 1.0], [1.0, 1.0]])
        f(y * 2).sum().backward()
        assert y.grad.tolist() == [[2 * expected] * 2] * 2


class Several(Function):
    @staticmethod
    def forward(ctx, x):
        y = x * 2
        return "head", y, 4, x * 3, None, y

    @staticmethod
    def backward(ctx, *grads):
        Several.seen = [g is None for g in grads]
        return grads[1] * 2 + grads[3] * 3 + grads[5] * 2


@pytest.mark.parametrize("trace", RUN)
def test_several_outputs_and_what_is_no_tensor(trace, recwarn):
    f = trace(lambda x: Several.apply(x))
    for _ in range(3):
        x = leaf([1.0])
        head, p, four, q, nothing, r = f(x)
        assert (head, four, nothing) == ("head", 4, None)
        assert p is r
        (p + q + r).sum().backward()
        assert x.grad.tolist() == [7.0]
        assert Several.seen == [True, False, True, False, True, False]


def test_unmaterialized_gradients_are_none():
    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            seen.append((g is None, h is None))
            return g * 2

    seen, x = [], leaf([1.0])
    Two.apply(x)[0].sum().backward()
    assert seen == [(False, True)]


def test_setup_context_gets_the_defaults():
    class Power(Function):
        @staticmethod
        def forward(x, n=3, *, m=1):
            return x**n * m

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.inputs = inputs[1:]
            ctx.save_for_backward(inputs[0], output)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            n = ctx.inputs[0]
            return g * n * y / x, None

    x = leaf(2.0)
    Power.apply(x).backward()
    assert x.grad.item() == 12
    x = leaf(2.0)
    Power.apply(x, n=2).backward()
    assert x.grad.item() == 4


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ((None, None, None), None),
        ((), "expected 2, got 0"),
        ((1,), "expected 2, got 1"),
        ((1, None, 1), "expected 2, got 3"),
        ((1, None, None), None),
        ((1, 2), None),
    ],
    ids=str,
)
def test_numbers_of_gradients(returned, error):
    class Two(Function):
        @staticmethod
        def forward(ctx, x, n):
            return x * n

        @staticmethod
        def backward(ctx, g):
            return tuple(None if r is None else g for r in returned)

    x = leaf([1.0])
    y = Two.apply(x, 3).sum()
    if error:
        with pytest.raises(RuntimeError, match=f"returned an incorrect number of gradients.*{error}"):
            y.backward()
    else:
        y.backward()


def test_what_cannot_be_saved():
    class Saves(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3)
            return x

    with pytest.raises(TypeError, match="save_for_backward can only save variables, but argument 0 is of type int"):
        Saves.apply(leaf([1.0]))


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 7


@pytest.mark.parametrize("trace", RUN)
@pytest.mark.parametrize("part", [0, slice(0, 1), slice(None), ...], ids=str)
def test_a_function_changes_a_view_in_place(part, trace, recwarn):
    @trace
    def f(x):
        b = x * 1
        Doubled.apply(b[part])
        return b

    for _ in range(3):
        x = leaf([[1.0, 1.0], [1.0, 1.0]])
        y = f(x)
        assert y.tolist() == ([[2, 2], [1, 1]] if part in (0, slice(0, 1)) else [[2, 2], [2, 2]])
        y.sum().backward()
        assert x.grad.tolist() == ([[7, 7], [1, 1]] if part in (0, slice(0, 1)) else [[7, 7], [7, 7]])


def test_a_leaf_cannot_be_changed_by_a_function():
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        Doubled.apply(leaf([1.0]))
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        Doubled.apply(leaf([1.0, 2.0])[0:1])


def test_what_is_marked_dirty_is_returned():
    class Forgets(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x * 2

    with pytest.raises(RuntimeError, match="Some elements marked as dirty"):
        Forgets.apply(leaf([1.0]).clone())


@pytest.mark.parametrize("name", ["its input", "a view of its input", "a reshaped input"])
def test_a_view_that_a_function_returned_is_not_changed_in_place(name):
    y = scaled(RETURNS[name][0])(leaf([[1.0, 2.0], [3.0, 4.0]]).clone())
    with pytest.raises(RuntimeError, match="This view was created inside a custom Function"):
        y.add_(1)
    with tracer.no_grad():
        scaled(RETURNS[name][0])(leaf([[1.0, 2.0], [3.0, 4.0]]).clone()).add_(1)


def test_a_function_that_saves_its_output_is_freed_without_the_collector():
    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[1]

    gc.collect()
    gc.disable()
    try:
        before = len([o for o in gc.get_objects() if type(o).__name__ == "FunctionNode"])
        for k in range(20):
            y = Exp.apply(leaf([1.0]))
            if k % 2:
                y.sum().backward()
            with saved_tensors_hooks(lambda t: t.detach(), lambda t: t):
                Exp.apply(leaf([1.0]))
        del y
        assert len([o for o in gc.get_objects() if type(o).__name__ == "FunctionNode"]) == before
    finally:
        gc.enable()


def test_second_derivatives_of_a_function():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            y = x**3
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * 3 * y / x

    x = leaf([2.0])
    (g,) = tracer.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    assert g.item() == 12
    (h,) = tracer.autograd.grad(g.sum(), x)
    assert h.item() == 12


@pytest.mark.parametrize("depth", [20, 100, 1000])
def test_backward_inside_backward(depth):
    class Down(Function):
        @staticmethod
        def forward(ctx, x):
            with tracer.enable_grad():
                ctx.x = x.detach().requires_grad_() - 1
            return ctx.x.detach()

        @staticmethod
        def backward(ctx, g):
            if ctx.x.item() >= 0:
                with tracer.enable_grad():
                    Down.apply(ctx.x).sum().backward()
            else:
                seen.append(tracer.is_grad_enabled())
            return g

    seen = []
    x = leaf(float(depth))
    Down.apply(x).sum().backward()
    assert x.grad.item() == 1
    assert seen == [False]
    assert tracer.is_grad_enabled()


def test_an_error_inside_many_passes_reaches_the_first():
    class Down(Function):
        @staticmethod
        def forward(ctx, x, n):
            ctx.n = n
            return x * 1

        @staticmethod
        def backward(ctx, g):
            if not ctx.n:
                raise KeyError("deepest")
            with tracer.enable_grad():
                Down.apply(leaf([1.0]), ctx.n - 1).sum().backward()
            return g, None

    with pytest.raises(KeyError, match="deepest"):
        Down.apply(leaf([1.0]), 50).sum().backward()
    assert tracer.is_grad_enabled()


def test_generators_under_modes():
    for enter, expected in [
        (tracer.no_grad(), False),
        (tracer.enable_grad(), True),
        (tracer.inference_mode(), False),
        (tracer.set_grad_enabled(False), False),
    ]:
        events = []

        @enter
        def generate(events=events):
            try:
                got = yield tracer.is_grad_enabled()
                events.append((got, tracer.is_grad_enabled()))
                yield 2
            except ValueError:
                events.append(("thrown", tracer.is_grad_enabled()))
                yield 3
            finally:
                events.append(("closed", tracer.is_grad_enabled()))
            return 5

        with tracer.set_grad_enabled(not expected):
            g = generate()
            assert next(g) is expected
            assert tracer.is_grad_enabled() is not expected
            assert g.send(7) == 2
            assert g.throw(ValueError) == 3
            with pytest.raises(StopIteration) as stop:
                next(g)
            assert stop.value.value == 5
            h = generate()
            next(h)
            h.close()
            assert tracer.is_grad_enabled() is not expected
        assert events == [(7, expected), ("thrown", expected), ("closed", expected), ("closed", expected)]
    assert tracer.is_grad_enabled()


def test_classes_and_functions_under_modes():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")

        @tracer.no_grad()
        class Model:
            def __init__(self):
                self.made = tracer.is_grad_enabled()

            def run(self):
                return tracer.is_grad_enabled()

    assert [w.category for w in seen] == [FutureWarning]
    assert (Model().made, Model().run()) == (False, True)
    assert tracer.no_grad(tracer.is_grad_enabled)() is False
    assert tracer.enable_grad()(tracer.is_grad_enabled)() is True
    assert tracer.inference_mode(tracer.is_inference_mode_enabled)() is True
    assert tracer.set_grad_enabled(False)(tracer.is_grad_enabled)() is False
    assert tracer.is_grad_enabled()
    with pytest.raises(TypeError, match="must be bool, not str"):
        tracer.set_grad_enabled("a")


def test_inference_mode():
    x, t = leaf([1.0, 1.0]), tracer.zeros(2)
    with tracer.inference_mode():
        assert tracer.is_inference_mode_enabled()
        with tracer.enable_grad():
            assert tracer.is_grad_enabled()
            y = x * 2
        assert not y.requires_grad
        z = tracer.ones(2)
        assert y.is_inference()
        assert tracer.is_inference(z)
        assert not t.view(2).is_inference()
        assert t.clone().is_inference()
        with tracer.inference_mode(False):
            assert (x * 2).requires_grad
            assert not tracer.ones(2).is_inference()
        t.add_(1)
    assert not tracer.is_inference_mode_enabled()
    assert z.view(2).is_inference()
    assert z.detach().is_inference()
    assert not z.clone().is_inference()
    assert not (z * 2).is_inference()
    assert (x + z).requires_grad
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        x * z
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
        z.add_(1)
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor"):
        z.requires_grad_()
    with pytest.raises(RuntimeError, match="do not track version counter"):
        z._version  # noqa: B018


def test_a_traced_function_in_inference_mode():
    f = tracer.trace(lambda x: x * 2)
    for _ in range(3):
        x = leaf([1.0])
        with tracer.inference_mode():
            assert f(x).is_inference()
        assert not f(x).is_inference()
        assert f(x).requires_grad


def test_numpy_of_what_requires_gradients():
    x = leaf([1.0])
    with pytest.raises(RuntimeError, match="Can't call numpy"):
        x.numpy()
    with tracer.no_grad():
        assert x.numpy().tolist() == [1.0]
    assert x.numpy(force=True).tolist() == [1.0]


def test_what_is_detached_keeps_no_graph_alive():
    kept = []
    for detach in (lambda y: y.detach(), lambda y: y.data, lambda y: y[0].detach(), lambda y: y.view(1, 2).detach().view(2)):
        y = (leaf([1.0, 2.0]) * 3).exp()
        graph = weakref.ref(y.grad_fn)
        kept.append(detach(y))
        del y
        assert graph() is None
    y = leaf([1.0, 2.0]) * 3
    d = y[1:].detach()
    d.zero_()
    assert y.tolist() == [3, 0]
    assert d.storage_offset() == 1
    assert y._version == 1


@pytest.mark.parametrize(
    ("call", "expected", "dtype"),
    [
        ("mul(3, tensor(2))", 6, "int64"),
        ("add(3.5, tensor([2]))", [5.5], "float32"),
        ("sub(1, tensor([2., 3.]))", [-1, -2], "float32"),
        ("div(3, tensor([2]))", [1.5], "float32"),
        ("floor_divide(7, tensor([2]))", [3], "int64"),
        ("multiply(2, tensor(True))", 2, "int64"),
        ("div(7, tensor([2]), rounding_mode='trunc')", [3], "int64"),
        ("subtract(3, 2.5)", 0.5, "float32"),
        ("mul(True, False)", False, "bool"),
        ("divide(True, False)", float("inf"), "float32"),
        ("add(3, tensor([2], dtype=tracer.uint8))", [5], "uint8"),
        ("sub(1, tensor([2.]), alpha=3)", [-5], "float32"),
    ],
)
def test_numbers_as_first_operands(call, expected, dtype):
    found = eval(f"tracer.{call}", {"tracer": tracer, "tensor": tracer.tensor})
    assert found.tolist() == expected and found.dtype is getattr(tracer, dtype)
