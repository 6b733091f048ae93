"""A training step of a network 8-16-16-2, batch 8, plain SGD: microseconds a step, ours and the peers', in one process.

    python benchmarks/small_step.py [--write]

Every contender does the same work on the same data: forward, cross entropy, backward, update of all parameters. They are
run in turn, in rounds, so that the machine's drift meets all of them; the table gives the minimum and the median round.
Peers that are not installed are left out. ``--write`` keeps the table in ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

SIZES = (8, 16, 16, 2)
BATCH = 8
LR = 0.1
ROUNDS = 15
STEPS = 200

Step = Callable[[], float]


def data() -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Inputs, labels, and initial weights as (out, in) matrices with biases."""
    rng = np.random.default_rng(0)
    weights = [
        (rng.uniform(-1, 1, (n, m)).astype(np.float32) / np.float32(m**0.5), np.zeros(n, np.float32))
        for m, n in itertools.pairwise(SIZES)
    ]
    return rng.standard_normal((BATCH, SIZES[0])).astype(np.float32), rng.integers(0, 2, BATCH), weights


def ours(traced: bool) -> Step:
    import tracer
    from tracer import nn, optim
    from tracer.nn import functional as F

    inputs, labels, weights = data()
    layers = [nn.Linear(m, n) for m, n in itertools.pairwise(SIZES)]
    for layer, (w, b) in zip(layers, weights, strict=True):
        layer.load_state_dict({"weight": tracer.from_numpy(w), "bias": tracer.from_numpy(b)})
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = optim.SGD(model.parameters(), lr=LR)
    x, y = tracer.from_numpy(inputs), tracer.from_numpy(labels)

    def step(x: tracer.Tensor, y: tracer.Tensor) -> tracer.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = tracer.trace(step) if traced else step
    return lambda: run(x, y).item()


def torch_step(compiled: bool) -> Step:
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(2)
    inputs, labels, weights = data()
    layers = [torch.nn.Linear(m, n) for m, n in itertools.pairwise(SIZES)]
    with torch.no_grad():
        for layer, (w, b) in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.from_numpy(w))
            layer.bias.copy_(torch.from_numpy(b))
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(x), y)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> float:
        optimizer.zero_grad()
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def jax_step() -> Step:
    import jax
    import jax.numpy as jnp

    inputs, labels, weights = data()
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in weights]
    x, y = jnp.asarray(inputs), jnp.asarray(labels)

    def loss_of(params, x, y):
        for i, (w, b) in enumerate(params):
            x = x @ w.T + b
            x = jax.nn.relu(x) if i < len(params) - 1 else x
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    @jax.jit
    def update(params, x, y):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        return loss, jax.tree.map(lambda p, g: p - LR * g, params, grads)

    def step() -> float:
        nonlocal params
        loss, params = update(params, x, y)
        return float(loss)

    return step


CONTENDERS: dict[str, Callable[[], Step]] = {
    "tracer, traced": lambda: ours(True),
    "tracer, eager": lambda: ours(False),
    "PyTorch, eager": lambda: torch_step(False),
    "torch.compile": lambda: torch_step(True),
    "JAX, jit": jax_step,
}


def measure(steps: dict[str, Step]) -> dict[str, list[float]]:
    """Microseconds a step, by contender and round."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            begin = time.perf_counter()
            for _ in range(STEPS):
                step()
            times[name].append((time.perf_counter() - begin) / STEPS * 1e6)
    return times


def main() -> None:
    steps: dict[str, Step] = {}
    losses: dict[str, list[float]] = {}
    for name, make in CONTENDERS.items():
        try:
            step = make()
            losses[name] = [step() for _ in range(20)]
        except ImportError as e:
            print(f"{name}: left out ({e})")
            continue
        steps[name] = step
    reference = losses["tracer, eager"]
    for name, values in losses.items():
        gap = max(abs(a - b) for a, b in zip(values, reference, strict=True))
        assert gap < 1e-5, f"{name} does something else: losses differ by {gap}"
    times = measure(steps)
    best = min(times["tracer, traced"])
    lines = ["| 8-16-16-2, batch 8, SGD step | minimum, us | median, us | times ours |", "| --- | ---: | ---: | ---: |"]
    for name, rounds in times.items():
        lines.append(f"| {name} | {min(rounds):.1f} | {statistics.median(rounds):.1f} | {min(rounds) / best:.1f} |")
    table = "\n".join(lines)
    print(table)
    if "--write" in sys.argv:
        names = ("numpy", "numba", "llvmlite", "torch", "jax")
        versions = ", ".join(f"{p} {version(p)}" for p in names if p in ("numpy", "numba", "llvmlite") or p in sys.modules)
        text = (
            f"# Results\n\nMeasured by `{Path(__file__).name}` on {_cpu()}, Python {platform.python_version()}, {versions}.\n"
        )
        text += "A step here includes reading the loss as a Python float.\n\n"
        Path(__file__).with_name("RESULTS.md").write_text(text + table + "\n")


def _cpu() -> str:
    import os

    import llvmlite.binding as llvm

    return f"{os.cpu_count()} CPUs ({llvm.get_host_cpu_name()})"


if __name__ == "__main__":
    main()
