"""A small loss differentiated from outside, ``f(x, y).backward()``, and in one traced call: microseconds of CPU time per call,
compared with PyTorch and JAX if they are installed.

python -m benchmarks.outside
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tracer
from tracer import nn, optim

F = nn.functional
_RNG = np.random.default_rng(0)
X, Y, W, B = (_RNG.normal(size=shape).astype(np.float32) for shape in ((8, 16), (8, 4), (16, 4), (4,)))


def least(function: Callable[[], Any], calls: int = 200, rounds: int = 30) -> float:
    """Minimum microseconds of CPU time per call."""
    for _ in range(10):
        function()
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(calls):
            function()
        times.append((time.process_time() - begin) / calls)
    return min(times) * 1e6


def layer(x: Any, y: Any, w: Any, b: Any) -> Any:
    return ((x @ w + b).tanh() - y).square().mean()


def leaves(library: Any) -> tuple[Any, ...]:
    x, y, w, b = (library.tensor(a.copy()) for a in (X, Y, W, B))
    return x, y, w.requires_grad_(), b.requires_grad_()


def of_a_layer() -> Iterator[tuple[str, Callable[[], Any]]]:
    x, y, w, b = leaves(tracer)
    f = tracer.trace(lambda x, y: layer(x, y, w, b))

    @tracer.trace
    def whole(x: Any, y: Any) -> Any:
        w.grad = None
        b.grad = None
        loss = layer(x, y, w, b)
        loss.backward()
        return loss

    def pair() -> None:
        w.grad = b.grad = None
        f(x, y).backward()

    yield "layer 16x4: forward and backward in one traced call", lambda: whole(x, y)
    yield "layer 16x4: forward without gradients", tracer.no_grad()(lambda: f(x, y))
    yield "layer 16x4: forward", lambda: f(x, y)
    yield "layer 16x4: forward, backward outside", pair
    w.grad, b.grad = tracer.zeros(16, 4), tracer.zeros(4)
    yield "layer 16x4: forward, backward outside that adds to .grad", lambda: f(x, y).backward()
    yield "layer 16x4: forward, backward outside of half the loss", lambda: (f(x, y) / 2).backward()


def of_two_layers() -> Iterator[tuple[str, Callable[[], Any]]]:
    x, y, _, _ = leaves(tracer)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    f, traced, step = tracer.trace(lambda x, y: F.mse_loss(model(x), y)), tracer.trace(model), tracer.trace(optimizer.step)

    def pair() -> None:
        optimizer.zero_grad()
        f(x, y).backward()

    def eager_loss() -> None:
        optimizer.zero_grad()
        F.mse_loss(traced(x), y).backward()

    def trained() -> None:
        pair()
        step()

    yield "two layers: zero_grad, loss, backward outside", pair
    yield "two layers: the same with an eager loss of the traced model", eager_loss
    yield "two layers: zero_grad, loss, backward outside, traced step", trained


def of_torch() -> Iterator[tuple[str, Callable[[], Any]]]:
    torch = importlib.import_module("torch")
    x, y, w, b = leaves(torch)

    def pair() -> None:
        w.grad = b.grad = None
        layer(x, y, w, b).backward()

    yield "layer 16x4: PyTorch", pair


def of_jax() -> Iterator[tuple[str, Callable[[], Any]]]:
    jax = importlib.import_module("jax")
    jnp = importlib.import_module("jax.numpy")
    f = jax.jit(jax.value_and_grad(lambda w, b, x, y: jnp.mean((jnp.tanh(x @ w + b) - y) ** 2), argnums=(0, 1)))
    w, b, x, y = map(jnp.asarray, (W, B, X, Y))
    yield "layer 16x4: JAX, value_and_grad", lambda: jax.block_until_ready(f(w, b, x, y))


def main() -> None:
    first = 0.0
    for rows in (of_a_layer, of_two_layers, of_torch, of_jax):
        try:
            for name, function in rows():
                took = least(function)
                first = first or took
                print(f"{name}: {took:.2f} ({took / first:.2f})")
        except ImportError as e:
            print(f"left out: {e}")


if __name__ == "__main__":
    main()
