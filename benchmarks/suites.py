"""Programs like those of suites for speed: ocean codes, array codes and derivatives; traced, and in JAX, in one run.

    python -m benchmarks.suites [--only NAME] [--rounds 12]

Each program is one function of a library and arrays. Both libraries compile it; results are compared, then the two are timed
alternately, with one thread each. The programs are re-creations from the mathematics: PyHPC's equation of state and mixing
along density surfaces, NPBench's diffusion and azimuthal means, GradBench's mixtures, bundle adjustment, hand tracking and
LSTM, and the transposes and gathers of micro-benchmarks.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import tracer


@dataclass(frozen=True)
class Library:
    """Functions of arrays, ``module``, and of functions."""

    module: Any
    grad: Callable[..., Any]
    jacfwd: Callable[..., Any]
    jacrev: Callable[..., Any]
    vmap: Callable[..., Any]
    logsumexp: Callable[..., Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


TRACER = Library(tracer, tracer.func.grad, tracer.func.jacfwd, tracer.func.jacrev, tracer.func.vmap, tracer.logsumexp)
JAX = Library(jax.numpy, jax.grad, jax.jacfwd, jax.jacrev, jax.vmap, jax.scipy.special.logsumexp)
PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[[np.random.Generator], list[np.ndarray]]]] = {}


def program(name: str, inputs: Callable[[np.random.Generator], list[np.ndarray]]) -> Callable[..., Any]:
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS[name] = function, inputs
        return function

    return enter


@program("equation of state, 72 x 72 x 26", lambda r: [r.uniform(1, 2, (72, 72, 26)) for _ in range(3)])
def state(lib: Library, s: Any, t: Any, p: Any) -> Any:
    root = lib.sqrt(s)

    def polynomial(*c: float) -> Any:
        in_t = c[0] + t * (c[1] + t * (c[2] + c[3] * t))
        in_s = s * (c[4] + t * (c[5] + t * (c[6] + c[7] * t)) + root * (c[8] + t * (c[9] + c[10] * t)))
        return in_t + in_s + p * (c[11] + t * (c[12] + c[13] * t) + s * c[14] + p * (c[15] + t * c[16]))

    k = np.cos(np.arange(34)) / 4
    return (polynomial(*k[:17].tolist()) + 1000) / (polynomial(*k[17:].tolist()) + 10)


@program(
    "mixing along density surfaces, 36 x 36 x 26",
    lambda r: [r.normal(size=(36, 36, 26)), 30 + r.normal(size=(36, 36, 26)), 1.0 * (r.uniform(size=(36, 36, 26)) > 0.1)],
)
def mixing(lib: Library, t: Any, s: Any, water: Any) -> Any:
    by_t, by_s = -0.2 - 0.01 * t + 0.002 * s, 0.8 - 0.002 * t
    open_x, open_z = water[1:] * water[:-1], water[:, :, 1:] * water[:, :, :-1]
    tx, sx = open_x * (t[1:] - t[:-1]), open_x * (s[1:] - s[:-1])
    tz, sz = open_z * (t[:, :, 1:] - t[:, :, :-1]), open_z * (s[:, :, 1:] - s[:, :, :-1])
    total = 0 * tx[:, :, 1:]
    for shift in (0, 1):
        at = slice(shift, t.shape[0] - 1 + shift)
        a, b = by_t[at, :, 1:], by_s[at, :, 1:]
        along = a * tx[:, :, 1:] + b * sx[:, :, 1:]
        down = a * tz[at] + b * sz[at]
        slope = -along / lib.where(down < -1e-20, down, -1e-20)
        taper = 0.5 * (1 + lib.tanh((1e-3 - abs(slope)) / 1e-3))
        total = total + 0.25 * lib.maximum(0.02 * open_x[:, :, 1:], taper) * slope * slope
    return total


@program("horizontal diffusion, 64 x 64 x 60", lambda r: [r.normal(size=(68, 68, 60)), r.uniform(size=(64, 64, 60))])
def diffusion(lib: Library, x: Any, c: Any) -> Any:
    lap = 4 * x[1:-1, 1:-1] - (x[2:, 1:-1] + x[:-2, 1:-1] + x[1:-1, 2:] + x[1:-1, :-2])
    fx, fy = lap[1:, 1:-1] - lap[:-1, 1:-1], lap[1:-1, 1:] - lap[1:-1, :-1]
    fx = lib.where(fx * (x[2:-1, 2:-2] - x[1:-2, 2:-2]) > 0, 0.0, fx)
    fy = lib.where(fy * (x[2:-2, 2:-1] - x[2:-2, 1:-2]) > 0, 0.0, fy)
    return x[2:-2, 2:-2] - c * (fx[1:] - fx[:-1] + fy[:, 1:] - fy[:, :-1])


@program("azimuthal means, 40000 in 50 rings", lambda r: [r.uniform(size=40000), r.uniform(size=40000)])
def azimuthal(lib: Library, data: Any, radius: Any) -> Any:
    longest, means = radius.max(), []
    for i in range(50):
        ring = (longest * (i / 50) <= radius) & (radius < longest * ((i + 1) / 50))
        means.append(lib.where(ring, data, 0.0).sum() / ring.sum())
    return lib.stack(means)


@program("transpose, 1024 x 1024 f32", lambda r: [r.normal(size=(1024, 1024)).astype("f4") for _ in range(2)])
def transpose(lib: Library, x: Any, y: Any) -> Any:
    return x.T * y


@program("gather, 4096 of 10000 x 64 f32", lambda r: [r.normal(size=(10000, 64)).astype("f4"), r.integers(0, 10000, 4096)])
def gather(lib: Library, x: Any, at: Any) -> Any:
    return x[at]


@program(
    "Gaussian mixture, gradient",
    lambda r: [
        r.normal(size=10),
        *(0.3 * r.normal(size=s) for s in ((10, 16), (10, 16), (10, 16, 16))),
        r.normal(size=(500, 16)),
    ],
)
def mixture(lib: Library, weights: Any, means: Any, logs: Any, lower: Any, x: Any) -> Any:
    def loss(weights: Any, means: Any, logs: Any, lower: Any) -> Any:
        apart = x[:, None, :] - means
        scaled = lib.exp(logs) * apart + lib.einsum("kij,nkj->nki", lib.tril(lower, -1), apart)
        parts = weights + logs.sum(1) - 0.5 * (scaled * scaled).sum(2)
        prior = 0.5 * ((lib.exp(logs) ** 2).sum() + (lower * lower).sum())
        return lib.logsumexp(parts, 1).sum() - len(x) * lib.logsumexp(weights, 0) - prior

    return lib.grad(loss, argnums=(0, 1, 2, 3))(weights, means, logs, lower)


def _crossed(lib: Library, a: Any, b: Any) -> Any:
    return lib.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


@program(
    "bundle adjustment, 2000 blocks of the Jacobian",
    lambda r: [
        r.normal(size=(20, 11)),
        r.normal(0, 1, (200, 3)) + np.array([0, 0, 8]),
        r.integers(0, 20, 2000),
        r.integers(0, 200, 2000),
    ],
)
def bundle(lib: Library, cameras: Any, points: Any, camera_of: Any, point_of: Any) -> Any:
    def projected(camera: Any, point: Any) -> Any:
        angle = lib.sqrt((camera[:3] * camera[:3]).sum())
        axis, v = camera[:3] / angle, point - camera[3:6]
        turned = v * lib.cos(angle) + _crossed(lib, axis, v) * lib.sin(angle) + axis * (axis * v).sum() * (1 - lib.cos(angle))
        flat = turned[:2] / turned[2]
        r2 = (flat * flat).sum()
        return flat * (1 + camera[9] * r2 + camera[10] * r2 * r2) * camera[6] + camera[7:9]

    return lib.vmap(lib.jacrev(projected, argnums=(0, 1)))(cameras[camera_of], points[point_of])


@program(
    "hand tracking, Jacobian",
    lambda r: [0.2 * r.normal(size=20), r.normal(size=(8, 3)), r.normal(size=(200, 3)), r.uniform(size=(200, 8))],
)
def hand(lib: Library, angles: Any, offsets: Any, vertices: Any, weights: Any) -> Any:
    def positions(angles: Any) -> Any:
        turn, shift, moved = None, 0 * offsets[0], 0.0
        for bone in range(8):
            (cx, cy), (sx, sy) = ((f(angles[2 * bone]), f(angles[2 * bone + 1])) for f in (lib.cos, lib.sin))
            own = lib.stack([cy, sx * sy, cx * sy, 0 * cx, cx, -sx, -sy, sx * cy, cx * cy]).reshape(3, 3)
            shift = shift + (offsets[bone] if turn is None else turn @ offsets[bone])
            turn = own if turn is None else turn @ own
            moved = moved + weights[:, bone, None] * (vertices @ turn.T + shift)
        return moved

    return lib.jacfwd(positions)(angles)


@program(
    "LSTM with diagonal gates, gradient",
    lambda r: [0.3 * r.normal(size=(2, 8, 256)), 0.3 * r.normal(size=(3, 256)), 1.0 * (r.uniform(size=(14, 256)) > 0.9)],
)
def lstm(lib: Library, gates: Any, ends: Any, sequence: Any) -> Any:
    def loss(gates: Any, ends: Any) -> Any:
        hidden, cells, total = [0 * ends[0]] * 2, [0 * ends[0]] * 2, 0.0
        for t in range(13):
            x = sequence[t] * ends[0]
            for k in range(2):
                forget, into, out, new = (
                    y * gates[k, 2 * i] + gates[k, 2 * i + 1] for i, y in enumerate((x, hidden[k], x, hidden[k]))
                )
                cells[k] = cells[k] / (1 + lib.exp(-forget)) + lib.tanh(new) / (1 + lib.exp(-into))
                x = hidden[k] = lib.tanh(cells[k]) / (1 + lib.exp(-out))
            y = x * ends[1] + ends[2]
            total = total + (sequence[t + 1] * (y - lib.log(lib.exp(y).sum() + 2))).sum()
        return -total

    return lib.grad(loss, argnums=(0, 1))(gates, ends)


def _flat(x: Any) -> list[Any]:
    return [a for part in x for a in _flat(part)] if isinstance(x, (tuple, list)) else [x]


def _seconds(step: Callable[[], Any]) -> float:
    """Seconds of processor time per call in a round of some milliseconds."""
    start = time.process_time()
    jax.block_until_ready(step())
    calls = min(500, max(1, int(0.02 / (time.process_time() - start))))
    start = time.process_time()
    for _ in range(calls):
        result = step()
    jax.block_until_ready(result)
    return (time.process_time() - start) / calls


def compare(name: str, rounds: int) -> list[str]:
    """A row of the table."""
    function, inputs = PROGRAMS[name]
    arrays = inputs(np.random.default_rng(0))
    traced, jitted = tracer.trace(lambda *xs: function(TRACER, *xs)), jax.jit(lambda *xs: function(JAX, *xs))
    ours, theirs = [tracer.tensor(a) for a in arrays], [jax.numpy.asarray(a) for a in arrays]
    steps: dict[str, Callable[[], Any]] = {"traced": lambda: traced(*ours), "JAX": lambda: jitted(*theirs)}
    firsts, results = {}, {}
    for k, step in steps.items():
        start = time.perf_counter()
        step()
        results[k] = [np.asarray(x) for x in _flat(step())]
        firsts[k] = time.perf_counter() - start
    for a, b in zip(results["traced"], results["JAX"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(rounds):
        for k, step in steps.items():
            best[k] = min(best[k], _seconds(step))
    times = [f"{best[k] * 1e6:.1f}" for k in steps]
    return [name, *times, f"{best['JAX'] / best['traced']:.2f}", *(f"{firsts[k]:.2f}" for k in steps)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="a pattern for names of programs")
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    tracer.set_num_threads(1)
    table = Table("program", "traced, us", "JAX, us", "JAX/traced", "first calls traced, s", "JAX, s")
    for name in PROGRAMS:
        if fnmatch.fnmatch(name, f"*{options.only}*"):
            table.add_row(*(row := compare(name, options.rounds)))
            print(*row, flush=True)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
