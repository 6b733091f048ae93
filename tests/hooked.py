"""What programs with hooks have in common: functions of users, and the records of calls.

``LOG`` has what hooks were called with, ``RUNS`` how often functions ran.
"""

from tracer import autograd

LOG = []
RUNS = [0]


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx, x, k):
        ctx.save_for_backward(x)
        ctx.k = k
        return k * x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        LOG.append("cube")
        return 3 * ctx.k * x**2 * g, None


class Both(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, g, h):
        return g * 2 + h * 3


class WithAFunction(autograd.Function):
    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        ctx.log = LOG
        return x * 2

    @staticmethod
    def backward(ctx, g):
        ctx.log.append("with")
        return ctx.change(g), None


class Doubled(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 2


class Root(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.sqrt_()
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g / (2 * y)


def note(name):
    return lambda g: LOG.append((name, g.detach().numpy().copy()))
