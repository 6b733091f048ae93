"""Functions of ``(x, t)`` on captured leaves, with losses among their results, that are differentiated from outside."""

import numpy as np

import tracer
from tracer import nn
from tracer.nn import functional as F


class Leaves:
    """What the functions capture, their arguments ``x``, a view of ``whole``, and ``t``, and the results of the last call."""

    def __init__(self, seed, dtype=np.float64):
        rng = np.random.default_rng(seed)
        self.w, self.b, self.whole, self.t = (
            tracer.from_numpy(rng.uniform(0.2, 1, shape).astype(dtype)) for shape in ((3, 2), (2,), (6, 3), (4, 2))
        )
        self.x = self.whole[:4]
        self.w.requires_grad_()
        self.b.requires_grad_()
        self.buffers = []
        self.results = ()

    @property
    def all(self):
        return [self.w, self.b, self.x]


def layer(leaves):
    w, b = leaves.w, leaves.b
    return lambda x, t: ((x @ w + b).tanh() - t).square().mean()


def of_one_element(leaves):
    w, b = leaves.w, leaves.b
    return lambda x, t: (x @ w + b).exp().sum((0, 1), keepdim=True)


def views(leaves):
    w, b = leaves.w, leaves.b

    def f(x, t):
        y = x @ w + b
        loss = (y.t() - t.t()).square().sum()
        return loss.detach(), loss.reshape(1), y.t(), y[1:], y.detach()[:, 0], w.view(-1)

    return f


def saves_nothing(leaves):
    w, b = leaves.w, leaves.b
    return lambda x, t: w.sum() + b.sum() - t.mean()


def loss_first(leaves):
    w, b = leaves.w, leaves.b

    def f(x, t):
        y = x @ w
        return (y + b - t).square().sum(), y, y.sigmoid() * b

    return f


def loss_last(leaves):
    w, b = leaves.w, leaves.b

    def f(x, t):
        y = (x @ w + b).sigmoid()
        return y.detach(), y, (y * t).sum()

    return f


def a_result_that_is_saved(leaves):
    w, b = leaves.w, leaves.b
    return lambda x, t: ((x * x.mean()) @ w * b * t).sum().exp()


def reaches_some(leaves):
    w, b = leaves.w, leaves.b
    return lambda x, t: (b.square().sum() * t.mean(), (w * 2).sum())


def in_a_dictionary(leaves):
    model = nn.Linear(3, 2)
    model.weight, model.bias = nn.Parameter(leaves.w.detach().t().clone()), nn.Parameter(leaves.b.detach().clone())
    leaves.w, leaves.b = model.weight, model.bias
    return lambda x, t: {"loss": F.mse_loss(model(x).to(t.dtype), t)}


def a_result_captured(leaves):
    w, b = leaves.w, leaves.b
    h = w + 1
    return lambda x, t: (x @ h + b - t).square().sum()


def one_leaf_twice(leaves):
    w = leaves.w
    leaves.b = w
    return lambda x, t, b=None: (x @ w * w.sum() - t).abs().sum()


def with_statistics(leaves):
    w, b = leaves.w, leaves.b
    leaves.buffers = [tracer.zeros(2, dtype=w.dtype), tracer.ones(2, dtype=w.dtype)]
    return lambda x, t: (F.batch_norm(x @ w, *leaves.buffers, b, training=True) * t).square().sum()


def with_draws(leaves):
    w, b = leaves.w, leaves.b
    return lambda x, t: (F.dropout((x @ w).sigmoid(), 0.3) + b - t).square().sum()


FUNCTIONS = [
    layer,
    of_one_element,
    views,
    saves_nothing,
    loss_first,
    loss_last,
    a_result_that_is_saved,
    reaches_some,
    in_a_dictionary,
    a_result_captured,
    one_leaf_twice,
    with_statistics,
    with_draws,
]


def losses(out):
    """The results of one element that require a gradient."""
    found = out.values() if isinstance(out, dict) else out if isinstance(out, tuple) else [out]
    return [y for y in found if y.requires_grad and y.numel() == 1]
