"""Derivatives: custom functions, hooks, checkpoints, views and in-place changes, higher orders."""

import tracer
import tracer.nn.functional as F
from gallery.harness import program
from tracer import nn
from tracer.utils.checkpoint import checkpoint


def leaf(*values):
    return tracer.tensor([float(v) for v in values], dtype=tracer.float64, requires_grad=True)


def leaves():
    return [(leaf(1.0, 2.0, 3.0),), (leaf(0.5, -1.0, 2.0),), (leaf(-0.2, 0.1, 0.3),)]


@program(runs=2, programs=6, order=2)  # forward, backward and its derivative, before and after the function
def a_function_of_ones_own(wrap):
    class Cube(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(x)
            ctx.k = k
            return k * x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * ctx.k * x**2 * g, None

    @wrap
    def f(x):
        return Cube.apply(x.sin(), 2.0) + x

    return f, leaves()


@program(runs=2, programs=4)
def straight_through_rounding(wrap):
    class Round(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, g):
            return g

    @wrap
    def f(x):
        return Round.apply(x * 4) / 4 * x + (x.round() - x).detach()

    return f, leaves()


@program(runs=3, programs=3)
def reversed_gradient(wrap):
    class Reverse(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x, strength):
            ctx.strength = strength
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return -ctx.strength * g, None

    feature, domain = nn.Linear(3, 3).double(), nn.Linear(3, 1).double()

    @wrap
    def f(x, strength):
        h = feature(x).tanh()
        loss = domain(Reverse.apply(h, strength)).square().sum()
        loss.backward()
        return loss.detach()

    return f, [(x, 0.1 * i) for i, (x,) in enumerate(leaves() * 2)]


@program(runs=3, programs=3)
def a_checkpointed_block(wrap):
    block = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()

    @wrap
    def step(x):
        y = checkpoint(block, x, use_reentrant=False)
        y = checkpoint(block, y, use_reentrant=False)
        loss = y.square().sum()
        loss.backward()
        return loss.detach()

    return step, leaves() * 2


@program(runs=3, programs=3)
def a_checkpoint_with_dropout(wrap):
    block = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()

    @wrap
    def step(x):
        loss = checkpoint(block, x, use_reentrant=False).square().sum()
        loss.backward()
        return loss.detach()

    return step, leaves() * 2


@program(runs=3, programs=2)  # the first run reveals what grows; the others differ in the existence of gradients
def hooks_on_tensors(wrap):
    norms = []

    @wrap
    def step(x):
        y = x.tanh()
        y.retain_grad()
        y.register_hook(lambda g: norms.append(g.norm().item()))
        y.register_hook(lambda g: g.clamp(-0.5, 0.5))
        (y**3).sum().backward()
        return y.detach(), y.grad

    return step, leaves() * 2


@program(runs=3, programs=2)
def hooks_on_modules(wrap):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    activations = {}
    model[1].register_forward_hook(lambda module, args, out: activations.__setitem__("relu", out.detach()))
    model[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    model[2].register_full_backward_hook(lambda module, gin, gout: activations.__setitem__("grad", gout[0]))

    @wrap
    def step(x):
        loss = model(x).sum()
        loss.backward()
        return loss.detach(), activations["relu"].mean()

    return step, leaves() * 2


@program(runs=2, programs=2, order=0)
def product_of_the_hessian_and_a_vector(wrap):
    @wrap
    def product(x, v):
        loss = (x**4).sum() + (x[0] * x[1]).sin()
        (g,) = tracer.autograd.grad(loss, x, create_graph=True)
        return tracer.autograd.grad(g @ v, x)[0]

    return product, [(x, x.detach().flip(0)) for (x,) in leaves()]


@program(runs=2, programs=2, order=0)
def jacobian_row_by_row(wrap):
    @wrap
    def jacobian(x):
        y = tracer.stack([x.prod(), x.sin().sum(), x[0] ** 2])
        return tracer.stack([tracer.autograd.grad(y[i], x, retain_graph=True)[0] for i in range(len(y))])

    return jacobian, leaves()


@program(runs=1, programs=3, order=2)
def derivatives_of_third_order(wrap):
    @wrap
    def f(x):
        y = x.sin() * x
        for _ in range(2):
            (y,) = tracer.autograd.grad(y.sum(), x, create_graph=True)
        return y

    return f, leaves()


@program(runs=2, programs=2)
def functional_transforms(wrap):
    @wrap
    def f(x):
        loss = lambda x: (x.exp() * x).sum()
        gradient = tracer.func.grad(loss)(x)
        return gradient, tracer.func.vmap(lambda v: v * v)(x), tracer.func.jacrev(lambda x: x.sin())(x)

    return f, leaves()


@program(runs=1, programs=3, order=2)
def views_changed_in_place(wrap):
    @wrap
    def f(x):
        y = x * 2
        first, rest = y[0], y[1:]
        rest.mul_(x[:2])
        first.add_(1)
        y.view(3, 1)[1].zero_()
        return y.sin(), rest * first

    return f, leaves()


@program(runs=2, programs=2)
def results_that_share_memory(wrap):
    @wrap
    def f(x):
        y = x * 2
        return y, y[1:], y.view(1, 3), x, x[:2]

    return f, leaves()


@program(runs=2, programs=2, order=0)
def arguments_changed_in_place(wrap):
    @wrap
    def f(a, b, k):
        a.mul_(k).add_(b)
        b[0] = a.sum()
        return a[1:]

    return f, [(tracer.randn(3), tracer.randn(3), 0.5 + i) for i in range(3)] + [(t := tracer.randn(3), t, 2.0)]


@program(runs=2, programs=2)
def no_grad_and_detach(wrap):
    w = leaf(1.0, -1.0, 0.5)

    @wrap
    def f(x):
        with tracer.no_grad():
            scale = (w * x).abs().mean()
        with tracer.enable_grad():
            y = x * scale + w.detach() * w
        return y, scale

    return f, leaves()


@program(runs=2, programs=2)
def gumbel_softmax_and_straight_through(wrap):
    @wrap
    def f(logits, tau):
        soft = F.gumbel_softmax(logits, tau=tau)
        hard = F.one_hot(soft.argmax(-1), 3).to(soft.dtype)
        return hard - soft.detach() + soft

    return f, [(x, 0.5 + 0.1 * i) for i, (x,) in enumerate(leaves())]


@program(runs=3, programs=7, order=2)
def branch_on_a_value_differentiated_outside(wrap):
    @wrap
    def f(x):
        if x.sum() > 1:
            return x.exp()
        return x**3 * x[0]

    return f, leaves() * 2


@program(runs=3, programs=7, order=2)
def loop_on_a_value_differentiated_outside(wrap):
    @wrap
    def f(x):
        y = x
        while y.square().sum() > 0.5:
            y = y * 0.6 + 0.01 * x.sin()
        return y

    return f, [(leaf(1.0, 2.0),), (leaf(3.0, -8.0),)] * 3


@program(runs=3, programs=4)
def backward_inside_a_branch(wrap):
    w = leaf(1.0, 1.0, 1.0)

    @wrap
    def f(x):
        loss = (w * x).sum().square()
        if loss.item() > 3:
            loss.backward()
            return w.grad.norm().item()
        return None

    return f, leaves() * 3


@program(runs=2, programs=3)
def implicit_differentiation(wrap):
    @wrap
    def f(a):
        with tracer.no_grad():
            x = tracer.ones_like(a)
            for _ in range(6):
                x = x - (x**3 + a * x - 1) / (3 * x**2 + a)
        return x - (x**3 + a * x - 1) / (3 * x**2 + a).detach()

    return f, [(x.detach().abs().requires_grad_(),) for (x,) in leaves()]


@program(runs=3, programs=3, order=0)
def retain_graph_and_two_losses(wrap):
    model = nn.Linear(3, 2).double()

    @wrap
    def step(x):
        model.zero_grad()
        a, b = model(x)
        a.square().backward(retain_graph=True)
        first = model.weight.grad.clone()
        b.exp().backward()
        return first, model.weight.grad - first

    return step, leaves() * 2


@program(runs=2, programs=2, order=0)
def graph_walked_twice_raises(wrap):
    @wrap
    def step(x):
        y = (x * x).sum()
        y.backward()
        try:
            y.backward()
        except RuntimeError as e:
            return str(e)[:30]

    return step, leaves()


@program(runs=3, programs=2, order=0, raises=IndexError)
def a_position_out_of_range_raises(wrap):
    table = tracer.randn(4, 2)
    reads = []

    @wrap
    def read(index):
        reads.append(1)
        return table[index] * 2

    return read, [(tracer.tensor([0, 3]),), (tracer.tensor([1, 2]),), (tracer.tensor([1, 7]),), (tracer.tensor([3, 3]),)]


@program(runs=2, programs=2)
def numpy_inside(wrap):
    weights = (0.5 + 0.1 * tracer.arange(3.0)).double().numpy()

    @wrap
    def f(x):
        return x * tracer.from_numpy(weights) + tracer.tensor(weights).sum()

    return f, leaves()
