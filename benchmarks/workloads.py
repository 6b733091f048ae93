"""The workloads, each written once for libraries with PyTorch's API and once for JAX.

``build(lib)`` returns a function without arguments that does the work once and returns the result. A library is its module
and two compilers: ``whole`` wraps a complete step, ``part`` the computation before ``backward``. PyTorch's compiler
supports only the latter; tracer uses the former.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

Step = Callable[[], Any]


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@dataclass(frozen=True)
class Library:
    """A module like ``torch``, and its compilers."""

    module: Any
    whole: Callable[[Any], Any] = _same
    part: Callable[[Any], Any] = _same

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def tensor_of(self, x: np.ndarray, grad: bool = False) -> Any:
        t = self.module.from_numpy(np.ascontiguousarray(x))
        return t.requires_grad_() if grad else t


@dataclass(frozen=True)
class Workload:
    """``nbytes`` and ``flops`` are the minimum to move and compute, for the roofline."""

    name: str
    build: Callable[[Library], Step]
    jax: Callable[[], Step]
    nbytes: float = 0.0
    flops: float = 0.0
    tolerance: float = 1e-4


_small = False


@contextmanager
def small() -> Iterator[None]:
    """Builds workloads in this block with extents that suit an emulator: the same kernels, little data."""
    global _small
    _small = True
    try:
        yield
    finally:
        _small = False


def _size(full: int, little: int) -> int:
    return little if _small else full


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _f32(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (_rng().standard_normal(shape) * scale).astype(np.float32)


def _matrix() -> tuple[int, int]:
    return _size(4096, 5), _size(1024, 1100)


# Memory-bound: little arithmetic per byte.


def gelu_chain(lib: Library) -> Step:
    x = lib.tensor_of(_f32(_size(4_000_000, 3001)))
    gelu = lib.nn.functional.gelu
    run = lib.whole(lib.part(lambda x: gelu(x * 1.5 + 0.5) * x + 1.0))
    return lambda: run(x)


def gelu_chain_jax() -> Step:
    import jax

    x = jax.numpy.asarray(_f32(_size(4_000_000, 3001)))
    run = jax.jit(lambda x: jax.nn.gelu(x * 1.5 + 0.5, approximate=False) * x + 1.0)
    return lambda: run(x)


def sigmoid_mse(lib: Library) -> Step:
    x, y = lib.tensor_of(_f32(_size(1_000_000, 2500)), True), lib.tensor_of(_f32(_size(1_000_000, 2500)) ** 2)
    module = lib.module
    loss_of = lib.part(lambda x, y: ((module.sigmoid(x) - y) ** 2).mean())

    @lib.whole
    def run(x: Any, y: Any) -> Any:
        x.grad = None
        loss = loss_of(x, y)
        loss.backward()
        return loss

    return lambda: (run(x, y), x.grad)


def sigmoid_mse_jax() -> Step:
    import jax

    x, y = jax.numpy.asarray(_f32(_size(1_000_000, 2500))), jax.numpy.asarray(_f32(_size(1_000_000, 2500)) ** 2)
    run = jax.jit(jax.value_and_grad(lambda x, y: ((jax.nn.sigmoid(x) - y) ** 2).mean()))
    return lambda: run(x, y)


def cross_entropy(lib: Library) -> Step:
    x, y = lib.tensor_of(_f32(*_matrix()), True), lib.tensor_of(_rng().integers(0, _matrix()[1], _matrix()[0]))
    F = lib.nn.functional
    loss_of = lib.part(lambda x, y: F.cross_entropy(x, y))

    @lib.whole
    def run(x: Any, y: Any) -> Any:
        x.grad = None
        loss = loss_of(x, y)
        loss.backward()
        return loss

    return lambda: (run(x, y), x.grad)


def cross_entropy_jax() -> Step:
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(_f32(*_matrix())), jnp.asarray(_rng().integers(0, _matrix()[1], _matrix()[0]))
    run = jax.jit(jax.value_and_grad(lambda x, y: -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()))
    return lambda: run(x, y)


def layer_norm(lib: Library) -> Step:
    n = _matrix()[1]
    x, w, b = lib.tensor_of(_f32(*_matrix()), True), lib.tensor_of(_f32(n), True), lib.tensor_of(_f32(n), True)
    g = lib.tensor_of(_f32(*_matrix(), scale=0.5))
    F = lib.nn.functional
    out_of = lib.part(lambda x, w, b: F.layer_norm(x, w.shape, w, b))

    @lib.whole
    def run(x: Any, w: Any, b: Any, g: Any) -> Any:
        x.grad = w.grad = b.grad = None
        y = out_of(x, w, b)
        y.backward(g)
        return y.detach()

    return lambda: (run(x, w, b, g), x.grad, w.grad, b.grad)


def layer_norm_jax() -> Step:
    import jax
    import jax.numpy as jnp

    n = _matrix()[1]
    x, w, b, g = (jnp.asarray(a) for a in (_f32(*_matrix()), _f32(n), _f32(n), _f32(*_matrix(), scale=0.5)))

    def norm(x: Any, w: Any, b: Any) -> Any:
        d = x - x.mean(-1, keepdims=True)
        return d * jax.lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5) * w + b

    @jax.jit
    def run(x: Any, w: Any, b: Any, g: Any) -> Any:
        y, back = jax.vjp(norm, x, w, b)
        return (y, *back(g))

    return lambda: run(x, w, b, g)


# Training steps of networks.


def _weights(sizes: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = _rng()
    return [
        (rng.uniform(-1, 1, (n, m)).astype(np.float32) / np.float32(m**0.5), np.zeros(n, np.float32))
        for m, n in itertools.pairwise(sizes)
    ]


def _training(lib: Library, model: Any, optimizer: Any, inputs: np.ndarray, labels: np.ndarray) -> Step:
    """A step on cross entropy, with the loss read as a float."""
    x, y = lib.tensor_of(inputs), lib.tensor_of(labels)
    F = lib.nn.functional
    loss_of = lib.part(lambda x, y: F.cross_entropy(model(x), y))

    @lib.whole
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return lambda: step(x, y).item()


def _mlp(sizes: Sequence[int], batch: int) -> tuple[Callable[[Library], Step], Callable[[], Step]]:
    """A plain SGD step on cross entropy, with the loss read as a float."""
    inputs, labels = _f32(batch, sizes[0]), _rng().integers(0, sizes[-1], batch)

    def build(lib: Library) -> Step:
        layers: list[Any] = []
        for w, b in _weights(sizes):
            layer = lib.nn.Linear(w.shape[1], w.shape[0])
            layer.load_state_dict({"weight": lib.tensor_of(w), "bias": lib.tensor_of(b)})
            layers += [layer, lib.nn.ReLU()]
        model = lib.nn.Sequential(*layers[:-1])
        optimizer = lib.optim.SGD(model.parameters(), lr=0.01)
        return _training(lib, model, optimizer, inputs, labels)

    def jax_step() -> Step:
        import jax
        import jax.numpy as jnp

        params: Any = [(jnp.asarray(w), jnp.asarray(b)) for w, b in _weights(sizes)]
        x, y = jnp.asarray(inputs), jnp.asarray(labels)

        def loss_of(params: Any, x: Any, y: Any) -> Any:
            for i, (w, b) in enumerate(params):
                x = x @ w.T + b
                x = jax.nn.relu(x) if i < len(params) - 1 else x
            return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

        @jax.jit
        def update(params: Any, x: Any, y: Any) -> Any:
            loss, grads = jax.value_and_grad(loss_of)(params, x, y)
            return loss, jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)

        def step() -> float:
            nonlocal params
            loss, params = update(params, x, y)
            return float(loss)

        return step

    return build, jax_step


def convnet(lib: Library) -> Step:
    inputs, labels = _f32(_size(64, 3), 1, 28, 28), _rng().integers(0, 10, _size(64, 3))
    nn = lib.nn
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 10),
    )  # fmt: skip
    rng = _rng()
    state = model.state_dict()
    model.load_state_dict(
        {k: lib.tensor_of((rng.standard_normal(tuple(v.shape)) * 0.1).astype(np.float32)) for k, v in state.items()}
    )
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-3)
    return _training(lib, model, optimizer, inputs, labels)


def convnet_jax() -> Step:
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(_f32(64, 1, 28, 28)), jnp.asarray(_rng().integers(0, 10, 64))
    rng = _rng()
    shapes = [(16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (10, 32 * 49), (10,)]
    params = [jnp.asarray((rng.standard_normal(s) * 0.1).astype(np.float32)) for s in shapes]

    def conv(x: Any, w: Any, b: Any) -> Any:
        return jax.nn.relu(jax.lax.conv(x, w, (1, 1), "SAME") + b[:, None, None])

    def pool(x: Any) -> Any:
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def loss_of(p: Any, x: Any, y: Any) -> Any:
        x = pool(conv(pool(conv(x, p[0], p[1])), p[2], p[3]))
        logits = x.reshape(64, -1) @ p[4].T + p[5]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    @jax.jit
    def update(state: Any, x: Any, y: Any) -> Any:
        p, m, v, t = state
        loss, g = jax.value_and_grad(loss_of)(p, x, y)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        p = jax.tree.map(lambda p, m, v: p - 1e-3 * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), p, m, v)
        return loss, (p, m, v, t)

    zeros = [jnp.zeros_like(p) for p in params]
    state = (params, zeros, zeros, jnp.zeros((), jnp.float32))

    def step() -> float:
        nonlocal state
        loss, state = update(state, x, y)
        return float(loss)

    return step


def lstm(lib: Library) -> Step:
    """Fifty steps of a cell, unrolled, hidden 64, batch 16: the gradient of the sum of the last output."""
    x, w, u = (
        lib.tensor_of(_f32(_size(50, 3), 16, 64)),
        lib.tensor_of(_f32(256, 64, scale=0.1), True),
        lib.tensor_of(_f32(256, 64, scale=0.1), True),
    )
    b = lib.tensor_of(_f32(256, scale=0.1), True)
    module = lib.module

    @lib.part
    def loss_of(x: Any, w: Any, u: Any, b: Any) -> Any:
        h = c = module.zeros_like(x[0])
        for t in range(_size(50, 3)):
            i, f, g, o = (x[t] @ w.T + h @ u.T + b).chunk(4, 1)
            c = module.sigmoid(f) * c + module.sigmoid(i) * module.tanh(g)
            h = module.sigmoid(o) * module.tanh(c)
        return h.sum()

    @lib.whole
    def run(x: Any, w: Any, u: Any, b: Any) -> Any:
        w.grad = u.grad = b.grad = None
        loss = loss_of(x, w, u, b)
        loss.backward()
        return loss

    return lambda: (run(x, w, u, b), w.grad, u.grad, b.grad)


def lstm_jax() -> Step:
    import jax
    import jax.numpy as jnp

    x, w, u, b = (
        jnp.asarray(a) for a in (_f32(50, 16, 64), _f32(256, 64, scale=0.1), _f32(256, 64, scale=0.1), _f32(256, scale=0.1))
    )

    def loss_of(w: Any, u: Any, b: Any, x: Any) -> Any:
        h, c = jnp.zeros((16, 64)), jnp.zeros((16, 64))
        for t in range(50):
            i, f, g, o = jnp.split(x[t] @ w.T + h @ u.T + b, 4, 1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return h.sum()

    run = jax.jit(jax.value_and_grad(loss_of, (0, 1, 2)))

    def step() -> Any:
        loss, grads = run(w, u, b, x)
        return (loss, *grads)

    return step


_D, _H, _T, _B = 256, 4, 128, 4  # width, heads, positions, batch


def _block_state() -> dict[str, np.ndarray]:
    rng = _rng()
    shapes = {"qkv": (3 * _D, _D), "out": (_D, _D), "up": (4 * _D, _D), "down": (_D, 4 * _D)}
    state = {name: (rng.standard_normal(s) / s[1] ** 0.5).astype(np.float32) for name, s in shapes.items()}
    return state | {name: np.ones(_D, np.float32) for name in ("n1", "n2")}


def transformer(lib: Library) -> Step:
    """A block, forward and backward: attention and a feed-forward part, each after a layer norm."""
    p = {k: lib.tensor_of(v, True) for k, v in _block_state().items()}
    batch, positions = _size(_B, 2), _size(_T, 20)
    x = lib.tensor_of(_f32(batch, positions, _D))
    F = lib.nn.functional

    @lib.part
    def loss_of(x: Any, p: Any) -> Any:
        h = F.layer_norm(x, (_D,), p["n1"])
        q, k, v = (h @ p["qkv"].T).reshape(batch, positions, 3, _H, _D // _H).permute(2, 0, 3, 1, 4).unbind(0)
        scores = lib.softmax(q @ k.transpose(-1, -2) / math.sqrt(_D // _H), -1)
        x = x + (scores @ v).transpose(1, 2).reshape(batch, positions, _D) @ p["out"].T
        h = F.gelu(F.layer_norm(x, (_D,), p["n2"]) @ p["up"].T)
        return ((x + h @ p["down"].T) ** 2).mean()

    @lib.whole
    def run(x: Any, p: Any) -> Any:
        for t in p.values():
            t.grad = None
        loss = loss_of(x, p)
        loss.backward()
        return loss

    return lambda: (run(x, p), *(t.grad for t in p.values()))


def transformer_jax() -> Step:
    import jax
    import jax.numpy as jnp

    p = {k: jnp.asarray(v) for k, v in _block_state().items()}
    x = jnp.asarray(_f32(_B, _T, _D))

    def norm(x: Any, w: Any) -> Any:
        d = x - x.mean(-1, keepdims=True)
        return d * jax.lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5) * w

    def loss_of(p: Any, x: Any) -> Any:
        q, k, v = (norm(x, p["n1"]) @ p["qkv"].T).reshape(_B, _T, 3, _H, _D // _H).transpose(2, 0, 3, 1, 4)
        scores = jax.nn.softmax(q @ k.swapaxes(-1, -2) / math.sqrt(_D // _H), -1)
        x = x + (scores @ v).swapaxes(1, 2).reshape(_B, _T, _D) @ p["out"].T
        h = jax.nn.gelu(norm(x, p["n2"]) @ p["up"].T, approximate=False)
        return ((x + h @ p["down"].T) ** 2).mean()

    run = jax.jit(jax.value_and_grad(loss_of))

    def step() -> Any:
        loss, g = run(p, x)
        return (loss, *(g[k] for k in p))

    return step


# Scientific programs: a value and its gradient, as samplers and solvers need them.


def _gradient(lib: Library, function: Callable[..., Any], *arrays: np.ndarray) -> Step:
    """The function's value and its gradient by all arguments."""
    tensors = [lib.tensor_of(a, True) for a in arrays]
    value = lib.part(function)

    @lib.whole
    def run(*tensors: Any) -> Any:
        for t in tensors:
            t.grad = None
        y = value(*tensors)
        y.backward()
        return y

    grad_of = operator.attrgetter("grad")
    return lambda: (run(*tensors), *map(grad_of, tensors))


def _gradient_jax(function: Callable[..., Any], *arrays: np.ndarray) -> Step:
    import jax

    values = [jax.numpy.asarray(a) for a in arrays]
    run = jax.jit(jax.value_and_grad(function, tuple(range(len(values)))))

    def step() -> Any:
        y, g = run(*values)
        return (y, *g)

    return step


def _options() -> list[np.ndarray]:
    rng = _rng()
    return [rng.uniform(*r, _size(1_000_000, 700)) for r in ((80, 120), (80, 120), (0.2, 2.0), (0.1, 0.5))]


def _call_price(s: Any, k: Any, t: Any, v: Any, log: Any, sqrt: Any, exp: Any, erf: Any) -> Any:
    d1 = (log(s / k) + (0.02 + 0.5 * v * v) * t) / (v * sqrt(t))
    d2 = d1 - v * sqrt(t)

    def cdf(x: Any) -> Any:
        return 0.5 * (1 + erf(x * 0.7071067811865476))

    return (s * cdf(d1) - k * exp(-0.02 * t) * cdf(d2)).sum()


def black_scholes(lib: Library) -> Step:
    module = lib.module
    price = lambda s, k, t, v: _call_price(s, k, t, v, module.log, module.sqrt, module.exp, module.erf)
    return _gradient(lib, price, *_options())


def black_scholes_jax() -> Step:
    import jax
    import jax.numpy as jnp

    price = lambda s, k, t, v: _call_price(s, k, t, v, jnp.log, jnp.sqrt, jnp.exp, jax.scipy.special.erf)
    return _gradient_jax(price, *_options())


def _regression() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = _rng()
    n = _size(1000, 60)
    return rng.standard_normal(25), rng.standard_normal((n, 25)), rng.integers(0, 2, n).astype(np.float64)


def logistic(lib: Library) -> Step:
    w, x, y = _regression()
    x, y = lib.tensor_of(x), lib.tensor_of(y)
    F = lib.nn.functional

    def log_density(w: Any) -> Any:
        z = x @ w
        return (y * z - F.softplus(z)).sum() - 0.5 * (w * w).sum()

    return _gradient(lib, log_density, w)


def logistic_jax() -> Step:
    import jax
    import jax.numpy as jnp

    w, x, y = _regression()
    x, y = jnp.asarray(x), jnp.asarray(y)

    def log_density(w: Any) -> Any:
        z = x @ w
        return (y * z - jax.nn.softplus(z)).sum() - 0.5 * (w * w).sum()

    return _gradient_jax(log_density, w)


def _mixture() -> tuple[np.ndarray, ...]:
    rng = _rng()
    return (
        rng.standard_normal((_size(1000, 40), 10)),
        rng.standard_normal(5),
        rng.standard_normal((5, 10)),
        rng.standard_normal((5, 10)) * 0.1,
    )


def mixture(lib: Library) -> Step:
    data, *parameters = _mixture()
    x, module = lib.tensor_of(data), lib.module

    def log_likelihood(weights: Any, means: Any, scales: Any) -> Any:
        z = (x[:, None, :] - means) * module.exp(-scales)
        log_p = module.log_softmax(weights, 0) - 0.5 * (z * z).sum(-1) - scales.sum(-1)
        return module.logsumexp(log_p, 1).sum()

    return _gradient(lib, log_likelihood, *parameters)


def mixture_jax() -> Step:
    import jax
    import jax.numpy as jnp

    data, *parameters = _mixture()
    x = jnp.asarray(data)

    def log_likelihood(weights: Any, means: Any, scales: Any) -> Any:
        z = (x[:, None, :] - means) * jnp.exp(-scales)
        log_p = jax.nn.log_softmax(weights, 0) - 0.5 * (z * z).sum(-1) - scales.sum(-1)
        return jax.scipy.special.logsumexp(log_p, 1).sum()

    return _gradient_jax(log_likelihood, *parameters)


def _particles() -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(float(_size(8, 3)))] * 3), -1).reshape(-1, 3)
    return grid * 1.2 + _rng().standard_normal((_size(512, 27), 3)) * 0.05


def lennard_jones(lib: Library) -> Step:
    diagonal = lib.tensor_of(np.eye(_size(512, 27)))

    def energy(x: Any) -> Any:
        d = x[:, None, :] - x
        r2 = (d * d).sum(-1) + diagonal
        inverse = 1.0 / (r2 * r2 * r2)
        return 2.0 * ((inverse * inverse - inverse) * (1.0 - diagonal)).sum()

    return _gradient(lib, energy, _particles())


def lennard_jones_jax() -> Step:
    import jax.numpy as jnp

    diagonal = jnp.asarray(np.eye(_size(512, 27)))

    def energy(x: Any) -> Any:
        d = x[:, None, :] - x
        r2 = (d * d).sum(-1) + diagonal
        inverse = 1.0 / (r2 * r2 * r2)
        return 2.0 * ((inverse * inverse - inverse) * (1.0 - diagonal)).sum()

    return _gradient_jax(energy, _particles())


def _ode(tanh: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """The classical Runge-Kutta method, a hundred steps, of y' = a small network of y."""

    def f(y: Any) -> Any:
        return tanh(y @ w1 + b1) @ w2 + b2

    h = 0.01
    for _ in range(_size(100, 3)):
        k1 = f(y)
        k2 = f(y + 0.5 * h * k1)
        k3 = f(y + 0.5 * h * k2)
        k4 = f(y + h * k3)
        y = y + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4)
    return (y * y).mean()


def _ode_arrays() -> list[np.ndarray]:
    return [_f32(16, 4), _f32(4, 32, scale=0.5), _f32(32, scale=0.1), _f32(32, 4, scale=0.2), _f32(4, scale=0.1)]


def neural_ode(lib: Library) -> Step:
    return _gradient(lib, lambda *a: _ode(lib.tanh, *a), *_ode_arrays())


def neural_ode_jax() -> Step:
    import jax.numpy as jnp

    return _gradient_jax(lambda *a: _ode(jnp.tanh, *a), *_ode_arrays())


def layer(lib: Library) -> Step:
    x = lib.tensor_of(_f32(8, 16))
    module = lib.module
    return _gradient(lib, lambda w, b: module.sigmoid(x @ w + b).sum(), _f32(16, 4), _f32(4))


def layer_jax() -> Step:
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(_f32(8, 16))
    return _gradient_jax(lambda w, b: jax.nn.sigmoid(x @ w + b).sum(), _f32(16, 4), _f32(4))


def _mlp_flops(sizes: Sequence[int], batch: int) -> float:
    """Forward, and backward by weights and (except for the first layer) by inputs."""
    products = [m * n for m, n in itertools.pairwise(sizes)]
    return 2.0 * batch * (3 * sum(products) - products[0])


M, N = 1_000_000, 4096 * 1024
WORKLOADS = [
    Workload("gelu chain 4M", gelu_chain, gelu_chain_jax, nbytes=2 * 4 * 4 * M),
    Workload("sigmoid+MSE 1M", sigmoid_mse, sigmoid_mse_jax, nbytes=3 * 4 * M),
    Workload("cross entropy 4096x1024", cross_entropy, cross_entropy_jax, nbytes=2 * 4 * N),
    Workload("layer norm 4096x1024", layer_norm, layer_norm_jax, nbytes=4 * 4 * N),
    Workload("MLP 784-128-10 b64", *_mlp((784, 128, 10), 64), flops=_mlp_flops((784, 128, 10), 64)),
    Workload("MLP 8-16-16-2 b8", *_mlp((8, 16, 16, 2), 8)),
    Workload("MLP 1024x4 b256", *_mlp((1024,) * 5, 256), flops=_mlp_flops((1024,) * 5, 256)),
    Workload("Black-Scholes 1M f64", black_scholes, black_scholes_jax, nbytes=8 * 8 * M),
    Workload("LSTM 50 steps", lstm, lstm_jax, flops=3 * 2 * 50 * 16 * 2 * 64 * 256, tolerance=1e-3),
    Workload("transformer block", transformer, transformer_jax, flops=3 * 2 * _B * _T * (12 * _D * _D + 2 * _T * _D)),
    Workload("convolutional Adam step", convnet, convnet_jax, flops=3 * 2 * 64 * (784 * 16 * 9 + 196 * 32 * 144)),
    Workload("logistic regression", logistic, logistic_jax, flops=4 * 1000 * 25),
    Workload("Gaussian mixture", mixture, mixture_jax),
    Workload("Lennard-Jones 512", lennard_jones, lennard_jones_jax),
    Workload("neural ODE, RK4", neural_ode, neural_ode_jax, tolerance=1e-3),
    Workload("layer 16x4", layer, layer_jax),
]
