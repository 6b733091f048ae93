"""Numerical methods: loops that end depending on a value."""

import math

import numpy as np

import tracer
from gallery.harness import program
from tracer import nn, optim


def times(values, n=3):
    """The arguments of calls that repeat the values ``n`` times."""
    return [(v,) for _ in range(n) for v in values]


@program(runs=4, programs=6)
def newton_to_a_tolerance(wrap):
    @wrap
    def root(a):
        x = a / 2 + 0.5
        while abs(x * x - a) > 1e-5 * a:
            x = (x + a / x) / 2
        return x

    return root, times([tracer.tensor(v, dtype=tracer.float64, requires_grad=True) for v in (2.0, 30.0, 700.0)])


@program(runs=3, programs=8, order=2)
def newton_for_a_vector_stops_at_the_largest_step(wrap):
    @wrap
    def roots(a):
        x = a.abs() + 1
        for turn in range(50):
            step = (x**3 - a) / (3 * x**2)
            x = x - step
            if step.abs().max().item() < 1e-6:
                break
        return x, turn

    return roots, times([tracer.tensor([1.5, k, 3.0], dtype=tracer.float64, requires_grad=True) for k in (2.0, 9.0)], 4)


@program(runs=3, programs=6)
def bisection(wrap):
    def f(x, k):
        return x**3 - k * x - 1

    @wrap
    def bisect(k):
        low, high = tracer.tensor(0.0, dtype=tracer.float64), tracer.tensor(4.0, dtype=tracer.float64)
        path = ""
        while high - low > 0.2:
            middle = (low + high) / 2
            if f(middle, k) > 0:
                high = middle
                path += "L"
            else:
                low = middle
                path += "R"
        return (low + high) / 2 + 0 * k, path

    return bisect, times([tracer.tensor(v, dtype=tracer.float64, requires_grad=True) for v in (1.0, 2.5, 1.01)])


@program(runs=3, programs=23, order=0)
def golden_section_search(wrap):
    @wrap
    def minimum(a):
        lo, hi = -2.0, 3.0
        g = (math.sqrt(5) - 1) / 2
        c, d = hi - g * (hi - lo), lo + g * (hi - lo)
        for _ in range(12):
            if ((c - a) ** 2).sum() < ((d - a) ** 2).sum():
                hi, d = d, c
                c = hi - g * (hi - lo)
            else:
                lo, c = c, d
                d = lo + g * (hi - lo)
        return (lo + hi) / 2

    return minimum, times([tracer.tensor([0.3, 0.5]), tracer.tensor([1.0, 1.4])], 4)


def rk45(f, t, x, end, tol, h):
    """The Dormand-Prince pair, with steps as large as the tolerance allows."""
    steps = 0
    while t < end:
        h = min(h, end - t)
        k1 = f(x)
        k2 = f(x + h * k1 / 5)
        k3 = f(x + h * (3 * k1 + 9 * k2) / 40)
        k4 = f(x + h * (44 / 45 * k1 - 56 / 15 * k2 + 32 / 9 * k3))
        k5 = f(x + h * (19372 / 6561 * k1 - 25360 / 2187 * k2 + 64448 / 6561 * k3 - 212 / 729 * k4))
        k6 = f(x + h * (9017 / 3168 * k1 - 355 / 33 * k2 + 46732 / 5247 * k3 + 49 / 176 * k4 - 5103 / 18656 * k5))
        new = x + h * (35 / 384 * k1 + 500 / 1113 * k3 + 125 / 192 * k4 - 2187 / 6784 * k5 + 11 / 84 * k6)
        k7 = f(new)
        error = h * (71 / 57600 * k1 - 71 / 16695 * k3 + 71 / 1920 * k4 - 17253 / 339200 * k5 + 22 / 525 * k6 - k7 / 40)
        ratio = (error.abs().max() / tol).item()
        if ratio <= 1:
            t, x, steps = t + h, new, steps + 1
        h = h * min(4.0, max(0.2, 0.9 * (ratio + 1e-12) ** -0.2))
    return x, steps


@program(runs=3, programs=9)
def adaptive_runge_kutta(wrap):
    @wrap
    def solve(x, w):
        return rk45(lambda x: (w @ x).tanh() - x, 0.0, x, 2.0, 1e-4, 0.5)

    w = tracer.tensor([[0.0, 2.0], [-2.0, 0.0]], dtype=tracer.float64, requires_grad=True)
    xs = [tracer.tensor(v, dtype=tracer.float64) for v in ([1.0, 0.0], [0.2, -0.7])]
    return solve, [(x, w) for _ in range(4) for x in xs]


@program(runs=1, programs=3, order=2)
def fixed_step_runge_kutta(wrap):
    @wrap
    def solve(x, h):
        f = lambda x: x.cos() - 0.1 * x
        for _ in range(4):
            k1 = f(x)
            k2 = f(x + h / 2 * k1)
            k3 = f(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(x + h * k3))
        return x

    return solve, [(tracer.linspace(0, 1, 3, dtype=tracer.float64).requires_grad_(), h) for h in (0.1, 0.2, 0.3, 0.1)]


@program(runs=3, programs=5, order=0)
def power_iteration(wrap):
    @wrap
    def largest(a):
        v = tracer.ones(a.shape[0], dtype=a.dtype)
        before = None
        for turn in range(100):
            v = a @ v
            v /= v.norm()
            value = v @ a @ v
            if before is not None and bool((value - before).abs() < 1e-6):
                return value, v, turn
            before = value
        raise RuntimeError("no convergence")

    m = tracer.randn(4, 4, dtype=tracer.float64)
    return largest, times([m @ m.T, m.T @ m + 3 * tracer.eye(4, dtype=tracer.float64)])


@program(runs=2, programs=5, order=0)
def conjugate_gradients(wrap):
    @wrap
    def solve(a, b):
        x, r = tracer.zeros_like(b), b.clone()
        p, rs = r.clone(), (r * r).sum()
        count = 0
        while rs.sqrt() > 1e-6:
            ap = a @ p
            alpha = rs / (p @ ap)
            x += alpha * p
            r -= alpha * ap
            new = (r * r).sum()
            p = r + new / rs * p
            rs = new
            count += 1
        return x, count

    m = tracer.randn(5, 5, dtype=tracer.float64)
    a = m @ m.T + tracer.eye(5, dtype=tracer.float64)
    return solve, [(a, tracer.full((5,), k, dtype=tracer.float64)) for k in (1.0, 2.0, 3.0, 1.0, 2.0, 3.0)]


@program(runs=3, programs=6, order=0)
def backtracking_line_search(wrap):
    x = tracer.tensor([3.0, -2.0], dtype=tracer.float64, requires_grad=True)

    def loss():
        return (x[0] ** 2 + 10 * x[1] ** 2 + x[0] * x[1]).cosh().log()

    @wrap
    def step():
        value = loss()
        (g,) = tracer.autograd.grad(value, x)
        rate = 1.0
        with tracer.no_grad():
            start = x.clone()
            while True:
                x.copy_(start - rate * g)
                if loss() <= value - 0.3 * rate * g.square().sum():
                    break
                rate /= 2
        return value.item(), rate

    return step, [()] * 8


@program(runs=3, programs=4, order=0)
def gradient_descent_until_the_gradient_is_small(wrap):
    x = tracer.tensor([2.0, 1.0], dtype=tracer.float64)

    @wrap
    def minimise(target):
        y = x.clone().requires_grad_()
        for turn in range(200):
            loss = ((y - target) ** 2).sum()
            (g,) = tracer.autograd.grad(loss, y)
            if g.norm() < 1e-3:
                break
            with tracer.no_grad():
                y -= 0.3 * g
        return y.detach(), turn

    return minimise, times(
        [tracer.tensor([0.5, 0.25], dtype=tracer.float64), tracer.tensor([1.9, 1.1], dtype=tracer.float64)], 3
    )


@program(runs=6, programs=6, order=0)
def lbfgs_with_a_closure(wrap):
    w = tracer.zeros(3, dtype=tracer.float64, requires_grad=True)
    x = tracer.randn(10, 3, dtype=tracer.float64)
    y = x @ tracer.tensor([1.0, -2.0, 0.5], dtype=tracer.float64)
    optimizer = optim.LBFGS([w], lr=0.5, max_iter=3, history_size=3)

    @wrap
    def step():
        def closure():
            optimizer.zero_grad()
            loss = ((x @ w - y) ** 2).mean()
            loss.backward()
            return loss

        return optimizer.step(closure).detach()

    return step, [()] * 8


@program(runs=2, programs=3, order=0)
def rejection_sampling(wrap):
    g = tracer.Generator(3)

    @wrap
    def sample():
        tries = 0
        while True:
            tries += 1
            x = tracer.rand(2, generator=g) * 2 - 1
            if (x * x).sum() <= 1:
                return x, tries

    return sample, [()] * 16


@program(runs=4, programs=8, order=0)
def monte_carlo_to_a_standard_error(wrap):
    @wrap
    def estimate(k):
        n, total, squares = 0, tracer.zeros(()), tracer.zeros(())
        while True:
            x = tracer.rand(64).pow(k)
            total, squares, n = total + x.sum(), squares + (x * x).sum(), n + 64
            mean = total / n
            if ((squares / n - mean * mean) / n).sqrt() < 0.025:
                return mean.item(), n

    return estimate, times([1.0, 2.0], 5)


@program(runs=4, programs=5, order=0)
def metropolis(wrap):
    x = tracer.zeros(2)
    accepted = [0, 0]

    @wrap
    def move(width):
        proposal = x + width * tracer.randn(2)
        ratio = (x.square().sum() - proposal.square().sum()).exp()
        accepted[1] += 1
        if tracer.rand(()) < ratio:
            x.copy_(proposal)
            accepted[0] += 1
        return x.clone()

    return move, [(0.5,), (1.0,)] * 8


@program(runs=3, programs=10, order=0)
def k_means_to_convergence(wrap):
    def blobs(shift):
        centers = tracer.tensor([[0.0, 0.0], [5.0, 5.0], [0.0, 6.0]])
        return (centers[:, None] + 0.4 * tracer.randn(3, 6, 2) + shift).reshape(-1, 2)

    @wrap
    def k_means(x):
        centers = x[:3].clone()
        labels = None
        for turn in range(20):
            new = ((x[:, None] - centers) ** 2).sum(-1).argmin(1)
            if labels is not None and bool((new == labels).all()):
                break
            labels = new
            for k in range(3):
                mine = x[labels == k]
                if len(mine):
                    centers[k] = mine.mean(0)
        return centers, labels, turn

    return k_means, times([blobs(0.0), blobs(1.0)], 4)


@program(runs=2, programs=4, order=0)
def k_means_by_sums_of_one_hot(wrap):
    x = tracer.cat([tracer.randn(8, 2), tracer.randn(8, 2) + 6])

    @wrap
    def k_means(x):
        centers = tracer.stack([x[0], x[-1]])
        while True:
            hot = nn.functional.one_hot(tracer.cdist(x, centers).argmin(1), 2).to(x.dtype)
            new = hot.T @ x / hot.sum(0)[:, None]
            if tracer.allclose(new, centers):
                return new
            centers = new

    return k_means, times([x, x + 1], 3)


@program(runs=2, programs=5, order=0)
def expectation_maximisation(wrap):
    x = tracer.cat([tracer.randn(30) * 0.5, tracer.randn(20) + 5])

    @wrap
    def fit(x):
        mean, weight = tracer.stack([x.min(), x.max()]), tracer.tensor([0.5, 0.5])
        last = -math.inf
        for n in range(30):
            log = weight.log() - (x[:, None] - mean) ** 2 / 2
            likelihood = log.logsumexp(1).sum().item()
            if likelihood - last < 1e-3:
                break
            last = likelihood
            r = log.softmax(1)
            weight = r.mean(0)
            mean = (r * x[:, None]).sum(0) / r.sum(0)
        return mean, weight, last, n

    return fit, times([x, x * 0.9], 3)


@program(runs=3, programs=4, order=0)
def page_rank(wrap):
    links = (tracer.rand(6, 6) > 0.5).float() + tracer.eye(6)

    @wrap
    def rank(links, damping):
        p = links / links.sum(0)
        r = tracer.full((6,), 1 / 6)
        delta = 1.0
        while delta > 1e-4:
            new = damping * (p @ r) + (1 - damping) / 6
            delta = float((new - r).abs().sum())
            r = new
        return r

    return rank, [(links, d) for d in (0.85, 0.85, 0.85, 0.5, 0.5, 0.85)]


@program(runs=4, programs=9, order=0)
def jacobi_eigenvalues(wrap):
    @wrap
    def eigenvalues(a):
        a = a.clone()
        for _ in range(30):
            off = (a - a.diag().diag()).abs()
            if off.max() < 1e-5:
                break
            k = int(off.argmax())
            i, j = divmod(k, a.shape[0])
            theta = 0.5 * tracer.atan2(2 * a[i, j], a[i, i] - a[j, j])
            r = tracer.eye(a.shape[0], dtype=a.dtype)
            r[i, i] = r[j, j] = theta.cos()
            r[i, j], r[j, i] = -theta.sin(), theta.sin()
            a = r.T @ a @ r
        return a.diag().sort().values

    m = tracer.randn(3, 3, dtype=tracer.float64)
    return eigenvalues, times([m + m.T, m @ m.T], 3)


@program(runs=3, programs=10)
def sinkhorn_until_marginals_fit(wrap):
    cost = tracer.rand(4, 5, dtype=tracer.float64)

    @wrap
    def plan(cost):
        k = (-cost / 0.3).exp()
        u, v = tracer.ones(4, dtype=cost.dtype), tracer.ones(5, dtype=cost.dtype)
        for turn in range(100):
            u = 0.25 / (k @ v)
            v = 0.2 / (k.T @ u)
            p = u[:, None] * k * v
            if (p.sum(1) - 0.25).abs().sum() < 1e-4:
                break
        return (p * cost).sum(), turn

    return plan, times([cost.clone().requires_grad_(), (2 * cost).requires_grad_()], 3)


@program(runs=3, programs=5, order=0)
def collatz_of_a_tensor(wrap):
    @wrap
    def steps(n):
        count = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            count += 1
        return count

    return steps, times([tracer.tensor(6), tracer.tensor(7)], 4)


@program(runs=4, programs=5, order=0)
def greatest_common_divisor_by_recursion(wrap):
    def gcd(a, b):
        return a if b == 0 else gcd(b, a % b)

    @wrap
    def reduced(a, b):
        g = gcd(a, b)
        return a // g, b // g

    pairs = [(tracer.tensor(a), tracer.tensor(b)) for a, b in ((12, 18), (35, 49), (7, 3))]
    return reduced, pairs * 3


@program(runs=3, programs=11)
def romberg_integration(wrap):
    @wrap
    def integral(a):
        f = lambda x: (a * x).sin() * x
        rows = [[0.5 * (f(tracer.zeros((), dtype=a.dtype)) + f(tracer.ones((), dtype=a.dtype)))]]
        n = 1
        while True:
            n *= 2
            points = (tracer.arange(n // 2, dtype=a.dtype) * 2 + 1) / n
            row = [rows[-1][0] / 2 + f(points).sum() / n]
            for j, before in enumerate(rows[-1]):
                row.append(row[-1] + (row[-1] - before) / (4 ** (j + 1) - 1))
            if (row[-1] - rows[-1][-1]).abs() < 1e-7:
                return row[-1]
            rows.append(row)

    return integral, times([tracer.tensor(k, dtype=tracer.float64, requires_grad=True) for k in (1.0, 3.0)], 3)


@program(runs=2, programs=7, order=0)
def kalman_filter_with_missing_measurements(wrap):
    @wrap
    def filtered(zs):
        mean, var = tracer.zeros(2, dtype=tracer.float64), tracer.eye(2, dtype=tracer.float64)
        f = tracer.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=tracer.float64)
        h = tracer.tensor([[1.0, 0.0]], dtype=tracer.float64)
        means = []
        for z in zs:
            mean, var = f @ mean, f @ var @ f.T + 0.1 * tracer.eye(2, dtype=tracer.float64)
            if not z.isnan():
                s = h @ var @ h.T + 0.5
                gain = var @ h.T / s
                mean = mean + (gain * (z - h @ mean)).sum(1)
                var = var - gain @ h @ var
            means.append(mean)
        return tracer.stack(means)

    zs = [tracer.tensor(v, dtype=tracer.float64) for v in ([1.0, 2.1, math.nan, 4.2], [0.5, math.nan, math.nan, 1.0])]
    return filtered, times(zs, 3)


@program(runs=3, programs=5, order=0)
def simulated_annealing_with_a_float_temperature(wrap):
    x = tracer.tensor([2.0, -1.0])
    best = {"value": math.inf, "x": None}

    @wrap
    def step(temperature):
        new = x + tracer.randn(2) * 0.3
        gain = ((x**2).sum() - (new**2).sum()).item()
        if gain > 0 or tracer.rand(()).item() < math.exp(gain / temperature):
            x.copy_(new)
        value = (x**2).sum().item()
        if value < best["value"]:
            best["value"], best["x"] = value, x.clone()

    return step, [(1.0 / (1 + k),) for k in range(16)]


@program(runs=3, programs=14, order=0)
def secant_with_python_floats(wrap):
    @wrap
    def root(c):
        f = lambda x: float((c * x**3 - x - 1).sum())
        a, b = 1.0, 2.0
        fa, fb = f(a), f(b)
        while abs(fb) > 1e-6:
            a, b, fa = b, b - fb * (b - a) / (fb - fa), fb
            fb = f(b)
        return b

    return root, times([tracer.tensor([1.0, 1.0], dtype=tracer.float64), tracer.tensor([0.7, 0.9], dtype=tracer.float64)], 3)


@program(runs=2, programs=2, order=0)
def particles_in_a_box_with_numpy(wrap):
    box = np.array([2.0, 1.0])
    x, v = tracer.rand(5, 2, dtype=tracer.float64), tracer.randn(5, 2, dtype=tracer.float64)

    @wrap
    def step(dt):
        x.add_(v * dt)
        side = tracer.from_numpy(box)
        outside = (x < 0) | (x > side)
        v.copy_(tracer.where(outside, -v, v))
        x.clamp_(min=0).copy_(tracer.minimum(x, side))
        return float((v**2).sum())

    return step, [(0.1,), (0.1,), (0.2,), (0.3,), (0.1,)]
