"""The cost of eager mode, compared with PyTorch and NumPy in the same run.

    python -m benchmarks.eager            # needs the extra `bench`

Small tensors show the overhead of an operation; large ones show that it becomes negligible. The results are minima of
several rounds, in microseconds, and ratios, which are comparable between machines.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import tracer

ROUNDS = 15


def seconds(functions: dict[str, Callable[[], Any]], calls: int) -> dict[str, float]:
    """The minimum time per call of each function. Rounds alternate, so that other load affects all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, f in functions.items():
            begin = time.perf_counter()
            for _ in range(calls):
                f()
            times[name].append((time.perf_counter() - begin) / calls)
    return {name: min(ts) for name, ts in times.items()} | {"noise": statistics.median(times["tracer"]) / min(times["tracer"])}


def layer(lib: Any) -> Callable[[], Any]:
    make = torch.from_numpy if lib is torch else tracer.from_numpy
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((8, 16), (16, 4), (4,)))
    x, w, b = make(x), make(w).requires_grad_(), make(b).requires_grad_()
    return lambda: lib.sigmoid(x @ w + b).sum().backward()


def small(lib: Any) -> dict[str, Callable[[], Any]]:
    a, b = lib.ones(8), lib.ones(8, requires_grad=True)
    return {
        "a + b, recorded": lambda: a + b,
        "b * 2.0, recorded": lambda: b * 2.0,
        "layer, forward and backward": layer(lib),
    }


def large(n: int = 4_000_000) -> dict[str, dict[str, Callable[[], Any]]]:
    a, b = (np.random.default_rng(k).standard_normal(n).astype(np.float32) for k in range(2))
    s, t = tracer.from_numpy(a.copy()), tracer.from_numpy(b)
    u, v = torch.from_numpy(a.copy()), torch.from_numpy(b)
    c = a.copy()

    def numpy_in_place() -> None:
        nonlocal c
        c += b

    def in_place(x: Any, y: Any) -> None:
        x += y

    return {
        "a + b": {"tracer": lambda: s + t, "numpy": lambda: a + b, "torch": lambda: u + v},
        "a * 2": {"tracer": lambda: s * 2.0, "numpy": lambda: a * np.float32(2), "torch": lambda: u * 2.0},
        "exp(a)": {"tracer": lambda: tracer.exp(s), "numpy": lambda: np.exp(a), "torch": lambda: torch.exp(u)},
        "a += b": {"tracer": lambda: in_place(s, t), "numpy": numpy_in_place, "torch": lambda: in_place(u, v)},
        "sum": {"tracer": lambda: s.sum(), "numpy": lambda: a.sum(), "torch": lambda: u.sum()},
    }


def main() -> None:
    torch.set_num_threads(1)
    console = Console()
    table = Table("small", "tracer", "torch", "tracer / torch", "median / minimum")
    theirs = small(torch)
    for name, mine in small(tracer).items():
        found = seconds({"tracer": mine, "torch": theirs[name]}, 200)
        row = [f"{found[k] * 1e6:.2f} us" for k in ("tracer", "torch")]
        table.add_row(name, *row, f"{found['tracer'] / found['torch']:.2f}", f"{found['noise']:.2f}")
    console.print(table)
    table = Table("4 million floats", "tracer", "numpy", "torch, one thread", "tracer / numpy", "median / minimum")
    for name, functions in large().items():
        found = seconds(functions, 3)
        row = [f"{found[k] * 1e3:.2f} ms" for k in ("tracer", "numpy", "torch")]
        table.add_row(name, *row, f"{found['tracer'] / found['numpy']:.2f}", f"{found['noise']:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
