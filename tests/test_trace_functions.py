"""Operations whose derivative is the user's own, in traced functions whose results are differentiated outside."""

import numpy as np
import pytest

import tracer
from tracer import autograd, nn
from tracer.autograd.function import once_differentiable
from tracer.nn import functional as F

SCALE = {"value": 2.0}
SEEN = []


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx, x, k):
        ctx.save_for_backward(x)
        ctx.k = k
        return k * x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * ctx.k * x**2 * g, None


class Exp(autograd.Function):
    """Saves its result; in the newer style."""

    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output, None)

    @staticmethod
    def backward(ctx, g):
        y, nothing = ctx.saved_tensors
        return g * y if nothing is None else nothing


class Round(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


class Identity(autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None


class Reverse(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -g


class Two(autograd.Function):
    """Several arguments and results, of which one has no gradient, and what is wanted decides."""

    @staticmethod
    def forward(ctx, a, b, flags):
        ctx.save_for_backward(a, b)
        ctx.flags, ctx.more = flags, {"half": [a * 0.5, 3]}
        largest = a.argmax()
        order = (a * b).detach()
        ctx.mark_non_differentiable(largest, order)
        return a * b, largest, a + b, order

    @staticmethod
    def backward(ctx, g, _, h, __):
        a, b = ctx.saved_tensors
        ga = g * b + h + ctx.more["half"][0] * ctx.more["half"][1] if ctx.needs_input_grad[0] else None
        gb = g * a * len(ctx.flags) + h if ctx.needs_input_grad[1] else None
        return ga, gb, None


class Lazy(autograd.Function):
    """Gets None for what nothing depends on."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, g, h):
        SEEN.append((g is None, h is None))
        return (0 if g is None else g * 2) + (0 if h is None else h * 3)


class Once(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class Effects(autograd.Function):
    """Its backward looks at values, changes things and depends on them."""

    @staticmethod
    def forward(ctx, x):
        return x * 1.5

    @staticmethod
    def backward(ctx, g):
        SEEN.append(round(float(g.sum()), 4))
        return g * SCALE["value"] if g.sum() > 0 else g


class Dirty(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 2


class Keeps(autograd.Function):
    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return ctx.change(g), None


class Intermediate(autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        h = x.tanh()
        ctx.save_for_backward(h, w)
        return F.linear(h, w)

    @staticmethod
    def backward(ctx, g):
        h, w = ctx.saved_tensors
        return (g @ w) * (1 - h * h), g.reshape(-1, 3).t() @ h.reshape(-1, 3)


def cube(w, x):
    return Cube.apply((w * x).sin(), 2.0) + w


def of_a_leaf(w, x):
    return Exp.apply(w) * x


def in_a_row(w, x):
    return Round.apply(Exp.apply(Cube.apply(w * x, 0.5)) * 4) / 4 * w


def returned_as_it_came(w, x):
    return Identity.apply(w * x, 3.0) * w, Reverse.apply(w * 2).sum()


def of_several(w, x):
    y, largest, z, order = Two.apply(w * 2, x[0], "ab")
    return (y * z).sum() + w[largest], order * w


def of_what_requires_none(w, x):
    y, largest, z, _ = Two.apply(x[0], w, "abc")
    return y * z * largest


def some_results(w, x):
    a, b = Lazy.apply(w * x)
    return a * w, b.detach()


def only_once(w, x):
    return Once.apply(w * x) * w


def with_effects(w, x):
    return Effects.apply(w * x) * w


def with_a_weight(w, x):
    return Intermediate.apply(x * w, w.outer(w)).square()


def in_a_loop(w, x):
    h = w * x
    for _ in range(4):
        h = h + Cube.apply(h * 0.1, 1.0)
    return h


def after_a_look(w, x):
    y = Exp.apply(w * x)
    return Cube.apply(y, 1.0) if y.sum() > 7 else Round.apply(y * 3)


def with_numbers(w, x):
    return Cube.apply(w * x, x.sum().item()) * x.mean().item()


MODEL = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()


def in_a_module(w, x):
    return Cube.apply(MODEL(w * x), 1.0)


class OnCtx(autograd.Function):
    """Keeps its result, and another tensor, without saving them."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.y, ctx.w = x.sigmoid(), w
        return ctx.y

    @staticmethod
    def backward(ctx, g):
        y = ctx.y
        return g * y * (1 - y) * ctx.w, None


def kept_on_ctx(w, x):
    return OnCtx.apply(w * x, w) * 2


def differentiated_inside_too(w, x):
    (g,) = autograd.grad(Cube.apply(w, 1.0).sum(), [w])
    return Cube.apply(w * x, 2.0) * g


def changed_in_place(w, x):
    return Dirty.apply(w * x) * w


def with_a_function_on_ctx(w, x):
    return Keeps.apply(w * x, lambda g: g * 5)


def not_differentiated(w, x):
    return Cube.apply(w * x, 2.0).detach()


FUNCTIONS = [
    cube,
    of_a_leaf,
    in_a_row,
    returned_as_it_came,
    of_several,
    of_what_requires_none,
    some_results,
    only_once,
    with_effects,
    with_a_weight,
    in_a_loop,
    after_a_look,
    with_numbers,
    in_a_module,
    kept_on_ctx,
    differentiated_inside_too,
    not_differentiated,
    changed_in_place,
    with_a_function_on_ctx,
]


def backward(w, x, out):
    if not any(y.requires_grad for y in out):
        return []
    sum(y.sum() for y in out).backward()
    return [w.grad]


def twice(w, x, out):
    followed = [y for y in out if y.requires_grad]
    if not followed:
        return []
    (g,) = autograd.grad(sum(y.square().sum() for y in followed), [w], create_graph=True)
    return [g, *(autograd.grad(g.exp().sum(), [w]) if g.requires_grad else [])]


def again(w, x, out):
    followed = [y for y in out if y.requires_grad]
    total = sum(y.sum() for y in followed)
    if not followed:
        return []
    total.backward(retain_graph=True)
    total.backward()
    return [w.grad]


def after_data_changed(w, x, out):
    w.data.mul_(1.5)
    SCALE["value"] += 1
    return backward(w, x, out)


def after_a_change_in_place(w, x, out):
    with tracer.no_grad():
        w.mul_(1.5)
    return backward(w, x, out)


def run(f, differentiate):
    SCALE["value"] = 2.0
    SEEN.clear()
    found = []
    for n in range(6):
        rng = np.random.default_rng(n % 4)
        w = tracer.from_numpy(rng.uniform(0.2, 1, 3)).requires_grad_()
        x = tracer.from_numpy(rng.uniform(0.2, 1, (2, 3)))
        out = f(w, x)
        out = out if isinstance(out, tuple) else (out,)
        found += [(y.detach().numpy().copy(), y.requires_grad, y.is_leaf) for y in out]
        try:
            found.append([None if g is None else g.detach().numpy().copy() for g in differentiate(w, x, out)])
        except RuntimeError as e:
            found.append(str(e)[:50])
        found.append(list(SEEN))
    return found


def compare(a, b):
    assert type(a) is type(b), f"{a} and {b}"
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            compare(x, y)
    elif isinstance(a, np.ndarray):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)
    else:
        assert a == b


@pytest.mark.parametrize("differentiate", [backward, twice, again, after_data_changed, after_a_change_in_place])
@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_gradients_are_those_of_eager_code(f, differentiate):
    traced = tracer.trace(f)
    compare(run(f, differentiate), run(traced, differentiate))
    assert "eager" not in traced.explain()
    assert traced.cache_info().replays > 1


def a_view_changed_in_place(w, x):
    return Dirty.apply((w * x)[0]) * w


def what_it_saved_changes(w, x):
    h = w * x
    y = Cube.apply(h, 1.0)
    h.mul_(2)
    return y


@pytest.mark.parametrize("f", [a_view_changed_in_place, what_it_saved_changes], ids=lambda f: f.__name__)
def test_what_cannot_be_made_again_runs_eagerly(f):
    traced = tracer.trace(f)
    with pytest.warns(tracer.TraceWarning, match=f"{__name__}.py:\\d+"):
        compare(run(f, backward), run(traced, backward))
    assert traced.cache_info().replays == 0


def test_tensors_made_by_their_class():
    row, list_ = np.array([3.0, 4.0], np.float32), [1.0, 2.0]

    @tracer.trace
    def f(x):
        return x + tracer.Tensor([[1.0, 2.0]]) * tracer.Tensor([3.0]).log() + tracer.Tensor(row) + tracer.Tensor(list_)

    for k in range(4):
        row[0] = list_[1] = 10.0 * k
        x = tracer.rand(2)
        assert tracer.allclose(f(x), f.function(x))
    assert not f.eager_reasons


OF_TENSORS = [
    lambda x: tracer.tensor([x[0], x[1]]) * 2,
    lambda x: tracer.tensor([x.sum(), 3.0, 2]) + x.mean(),
    lambda x: tracer.tensor(x) + 1,
    lambda x: tracer.tensor([x.argmax(), x.argmin(), 2]),
    lambda x: tracer.tensor([x[0].double(), x[1]]),
    lambda x: tracer.tensor((x[0],), dtype=tracer.float64),
]


@pytest.mark.parametrize("function", OF_TENSORS)
def test_tensors_made_of_tensors_are_not_read(function):
    traced = tracer.trace(function)
    for k in range(5):
        x = tracer.tensor(np.random.default_rng(k).uniform(0, 3, 4).astype(np.float32))
        given, expected = traced(x), function(x)
        assert given.dtype is expected.dtype and given.requires_grad is expected.requires_grad
        assert tracer.allclose(given.detach(), expected.detach())
    assert traced.cache_info().recordings == 1


def test_tensors_with_axes_in_lists():
    traced = tracer.trace(lambda x: tracer.tensor([x[:1], x[1:2]]))
    for k in range(3):
        assert tracer.equal(traced(tracer.arange(2.0) + k), tracer.tensor([[0.0 + k], [1.0 + k]]))
