"""Programs that register hooks: on results, views, leaves, nodes and modules, and with what they close over."""

import functools

from hooked import LOG, Both, Cube, Doubled, Root, WithAFunction, note

import tracer
from tracer import autograd, nn
from tracer.autograd.graph import register_multi_grad_hook

TOTAL = 0


# Each makes a function of a leaf ``w`` and of ``x``, which returns tensors, and perhaps other things.


def changes_the_gradient():
    def f(w, x):
        y = (w * x).sin()
        y.register_hook(lambda g: g * 10)
        return y * y

    return f


def what_was_computed_before_the_hook_counts():
    def f(w, x):
        y = w * x
        z = y * 3
        v = y.reshape(-1)
        y.register_hook(note("y"))
        y.register_hook(lambda g: g.clamp(-1, 1))
        return z * y + v.reshape(y.shape).exp()

    return f


def several_in_order():
    def f(w, x):
        a = w * 2
        b = w.exp()
        c = a * b
        for name, t in (("b", b), ("a", a), ("c", c)):
            t.register_hook(note(name))
            t.register_hook(lambda g: g + 1)
            t.register_hook(note(name + " again"))
        return c * x, a.sum()

    return f


def made_by_a_factory():
    def scaled(by):
        def hook(g):
            LOG.append(by)
            return g * by

        return hook

    def f(w, x):
        y = w.tanh()
        for k in (2.0, 0.5, 3.0):
            y.register_hook(scaled(k))
        return y * x

    return f


def closes_over_tensors():
    def f(w, x):
        y = w * x
        size = y.abs().sum()
        y.register_hook(lambda g: g / (1 + size))
        y.register_hook(lambda g: g * y.detach())
        return y.square()

    return f


def closes_over_numbers():
    def f(w, x):
        y = w * x
        n, k = x.sum().item(), len(x)
        y.register_hook(lambda g: g * n + k)
        return y.square()

    return f


def uses_float():
    def f(w, x):
        y = w * x
        y.register_hook(lambda g: LOG.append((float(g.sum()), len(g), int(g.abs().max() > 1))))
        return y.square()

    return f


def a_list_of_its_own():
    def f(w, x):
        norms = []
        y = w * x
        y.register_hook(lambda g: norms.append(g.norm().item()))
        return y.square(), norms

    return f


def a_list_outside():
    seen = []

    def f(w, x):
        y = w * x
        y.register_hook(lambda g: seen.append(g.clone()))
        return y.square()

    return f, seen


def a_list_that_is_handed_on():
    seen = []

    def save(where, g):
        where.append(g * 2)

    def f(w, x):
        y = w * x
        y.register_hook(functools.partial(save, seen))
        return y.square()

    return f, seen


def a_dictionary_outside():
    gradients = {}

    def keep(name):
        def hook(g):
            gradients[name] = g

        return hook

    def f(w, x):
        y = w * x
        z = y.sin()
        y.register_hook(keep("y"))
        z.register_hook(keep("z"))
        return z

    return f, gradients


def a_variable_outside():
    count = 0

    def f(w, x):
        def hook(g):
            nonlocal count
            count += 1
            LOG.append(count)

        y = w * x
        y.register_hook(hook)
        return y.square()

    return f


def a_global():
    def hook(g):
        global TOTAL
        TOTAL += 1
        LOG.append(TOTAL)

    def f(w, x):
        y = w * x
        y.register_hook(hook)
        return y.square()

    return f


def an_attribute():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(tracer.tensor(2.0, dtype=tracer.float64))
            self.gradient, self.calls = None, 0

        def keep(self, g):
            self.gradient = g
            self.calls += 1

        def forward(self, w, x):
            h = (w * x).tanh() * self.scale
            h.register_hook(self.keep)
            return h.square()

    model = Model()

    def f(w, x):
        return model(w, x)

    return f, [model, lambda: (model.gradient, model.calls, model.scale.grad)]


def an_attribute_of_a_plain_object():
    class Keeper:
        def __init__(self):
            self.gradients, self.last = [], None

        def __call__(self, g):
            self.gradients.append(g.sum().item())
            self.last = g

    keeper = Keeper()

    def f(w, x):
        y = (w * x).exp()
        y.register_hook(keeper)
        return y

    return f, keeper


def retained():
    def f(w, x):
        y = w * x
        z = y.sin()
        y.retain_grad()
        z.retain_grad()
        return z.square(), y, z

    return f


def retained_and_changed():
    def f(w, x):
        y = w * x
        y.retain_grad()
        y.register_hook(lambda g: g * 5)
        return y.square(), y

    return f


def retained_and_changed_in_place():
    def f(w, x):
        y = w * 2
        y.retain_grad()
        y.register_hook(note("first"))
        y.mul_(x)
        y.register_hook(note("second"))
        return y.square(), y

    return f


def retained_but_not_kept():
    def f(w, x):
        y = w * x
        y.retain_grad()
        return y.square()

    return f


def retained_by_a_hook():
    def f(w, x):
        y = w * x
        y.retain_grad()
        z = y.exp()
        z.register_hook(lambda g: LOG.append(y.grad is None))
        return z

    return f


def of_a_view():
    def f(w, x):
        h = w.outer(w) * x
        row, t = h[0], h.t()
        row.register_hook(note("row"))
        row.retain_grad()
        t.register_hook(lambda g: g * 2)
        return row * 2, t.square(), h, row

    return f


def of_parts():
    def f(w, x):
        a, b = (w * 2).split([1, 2])
        a.register_hook(note("a"))
        b.register_hook(lambda g: g * 3)
        return b * 2, a * x[0]

    return f


def of_a_sum():
    def f(w, x):
        loss = (w * x).sum()
        loss.register_hook(lambda g: g * 4)
        return loss

    return f


def of_a_result_that_is_returned():
    def f(w, x):
        y = w.exp()
        y.register_hook(note("y"))
        return y

    return f


def around_a_node():
    def f(w, x):
        y = w * x
        z = y.sin() + y
        z.grad_fn.register_hook(lambda gi, go: LOG.append([None if g is None else g.numpy().copy() for g in (*gi, *go)]))
        z.grad_fn.register_prehook(lambda go: (go[0] * 2,))
        y.grad_fn.register_hook(lambda gi, go: (gi[0] * 3, *gi[1:]))
        return z.square()

    return f


def of_nodes_further_down():
    def f(w, x):
        z = (w * x).sin().sum()
        n = z.grad_fn.next_functions[0][0]
        n.register_prehook(lambda go: LOG.append(go[0].numpy().copy()))
        n.next_functions[0][0].register_hook(lambda gi, go: LOG.append(len(gi)))
        return z

    return f


def on_several():
    def f(w, x):
        a, b = w * x, w.sin()
        register_multi_grad_hook([a, b], lambda gs: LOG.append([None if g is None else g.numpy().copy() for g in gs]))
        register_multi_grad_hook([a, b], lambda g: LOG.append(g.numpy().copy()), mode="any")
        return a.square() + b, a * 1.0

    return f


def on_a_leaf_too():
    def f(w, x):
        y = w * x
        register_multi_grad_hook([y, w], lambda gs: LOG.append([g.numpy().copy() for g in gs]))
        return y.square()

    return f


def on_the_argument():
    def f(w, x):
        w.register_hook(note("w"))
        w.register_hook(lambda g: g * 2)
        return (w * x).square()

    return f


def once_it_was_added():
    def f(w, x):
        w.register_post_accumulate_grad_hook(lambda p: LOG.append(p.grad.numpy().copy()))
        return w * x

    return f


def around_what_adds_it():
    def f(w, x):
        w.view_as(w).grad_fn.next_functions[0][0].register_prehook(lambda g: (g[0] * 2,))
        return w * x

    return f


def on_an_argument_with_a_graph():
    def f(w, x):
        h = yield_through(w)
        return h

    def yield_through(w):
        w.register_hook(note("w"))
        return w.square()

    return lambda w, x: f(w, x)


def registered_and_removed():
    def f(w, x):
        y = w * x
        handle = y.register_hook(lambda g: g * 100)
        with y.register_hook(note("never")):
            z = y.sin()
        y.register_hook(note("stays"))
        handle.remove()
        h = w.register_hook(note("never"))
        h.remove()
        return z

    return f


def handles_are_returned():
    def f(w, x):
        y = w * x
        handles = [y.register_hook(lambda g: g * 2), w.register_hook(lambda g: g + 1), y.register_hook(note("y"))]
        handles[0].remove()
        return y.square(), Later(handles)

    return f


class Later:
    """Handles, of which one is removed before the backward pass."""

    def __init__(self, handles):
        self.handles = handles

    def before(self):
        assert len({h.id for h in self.handles}) == 3
        self.handles[1].remove()


def takes_itself_away():
    def f(w, x):
        y = w * x

        def hook(g):
            handle.remove()
            LOG.append("once")
            return g * 2

        handle = y.register_hook(hook)
        return y.square()

    return f


def in_a_loop():
    def f(w, x):
        h = w
        for k in range(4):
            h = (h * x).tanh()
            h.register_hook(lambda g, k=k: LOG.append((k, g.numpy().copy())))
        return h

    return f


def after_a_look():
    def f(w, x):
        y = w * x
        z = y.exp()
        if x[0] > 0.4:
            return z
        z.register_hook(lambda g: g * 2)
        return z

    return f


def a_look_between():
    def f(w, x):
        y = w * x
        y.register_hook(note("y"))
        return y * 3 if y.sum() > 0.5 else y.square()

    return f


def with_an_operation_of_its_own():
    def f(w, x):
        y = w * x
        z = Cube.apply(y, 2.0)
        y.register_hook(note("y"))
        z.register_hook(lambda g: LOG.append("z") or g * 2)
        z.grad_fn.register_prehook(lambda go: LOG.append("before"))
        return z.sin()

    return f


def of_one_of_two_results():
    def f(w, x):
        a, b = Both.apply(w * x)
        b.register_hook(lambda g: g * 7)
        return a + b.square()

    return f


def keeps_a_function():
    def f(w, x):
        y = w * x
        n = x.sum()
        return WithAFunction.apply(y, lambda g: g * 5 + n) * y

    return f


def in_place_by_its_own():
    def f(w, x):
        y = w * x
        z = Doubled.apply(y)
        return z * w + y

    return f


def in_place_and_saved():
    def f(w, x):
        y = Root.apply((w * x).abs() + 1)
        y.register_hook(note("y"))
        return y.square() * y

    return f


def of_modules():
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    model[0].register_full_backward_hook(lambda m, gi, go: LOG.append([None if g is None else g.numpy().copy() for g in gi]))
    model[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 2,))
    model[2].register_full_backward_pre_hook(lambda m, go: (go[0] + 1,))
    model[2].register_forward_hook(lambda m, a, out: out.register_hook(note("out")) and None)

    def f(w, x):
        return model(w * x)

    return f, [lambda: [p.grad for p in model.parameters()]]


def of_activations():
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    activations, gradients = {}, {}

    def keep(module, args, out):
        activations["relu"] = out.detach()
        out.register_hook(lambda g: gradients.__setitem__("relu", g.detach()))

    model[1].register_forward_hook(keep)

    def f(w, x):
        return model(w * x)

    return f, [activations, gradients]


def inside_and_outside():
    def f(w, x):
        y = w * x
        y.register_hook(note("y"))
        loss = y.square().sum()
        (g,) = autograd.grad(loss, [w], retain_graph=True)
        return loss, g

    return f


def inside_with_a_graph():
    def f(w, x):
        y = w * x
        y.register_hook(lambda g: g * 2)
        (g,) = autograd.grad(y.exp().sum(), [w], create_graph=True)
        return g

    return f


PROGRAMS = [value for value in list(globals().values()) if callable(value) and getattr(value, "__code__", None) is not None]
PROGRAMS = [p for p in PROGRAMS if p.__module__ == __name__ and p.__code__.co_argcount == 0]
