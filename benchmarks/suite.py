"""The workloads in tracer, PyTorch and JAX, in one run: ``make bench``.

    python -m benchmarks.suite [--only NAME] [--rounds 12] [--without CONTENDER] [--write]

Every contender is run once and its results are compared. Then all are timed alternately, in rounds, so that the machine's
drift affects all of them. The table gives the minimum time of a round, the ratio of the best peer's to the traced
function's, and the fraction of the roofline: the minimum time is the bytes that must be moved divided by the measured copy
bandwidth, or the arithmetic divided by the measured rate of a matrix product, whichever is longer.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from . import overheads
from .workloads import WORKLOADS, Library, Step, Workload

PEERS = ("PyTorch", "torch.compile", "JAX")
_PAUSE = 0.01  # seconds, after which the previous contender's threads no longer spin
_MOST, _MORE = 500, 4  # maximum calls per round; short steps get this many times the rounds


def contenders(workload: Workload) -> dict[str, Callable[[], Step]]:
    """The contenders whose library is installed."""
    import tracer

    found: dict[str, Callable[[], Step]] = {
        "traced": lambda: workload.build(Library(tracer, whole=tracer.trace)),
        "eager": lambda: workload.build(Library(tracer)),
    }
    try:
        import torch

        found["PyTorch"] = lambda: workload.build(Library(torch))
        found["torch.compile"] = lambda: workload.build(Library(torch, part=torch.compile))
    except ImportError:
        pass
    try:
        import jax

        jax.config.update("jax_enable_x64", True)
        found["JAX"] = lambda: waiting(workload.jax())
    except ImportError:
        pass
    return found


def arrays(result: Any) -> list[np.ndarray]:
    """A step's results as NumPy arrays."""
    parts = result if isinstance(result, (tuple, list)) else [result]
    return [np.asarray(p.detach().cpu() if hasattr(p, "detach") else p) for p in parts]


def waiting(step: Step) -> Step:
    """The step, plus the wait for its results: JAX computes asynchronously."""
    import jax

    return lambda: jax.block_until_ready(step())


def run(
    workload: Workload,
    rounds: int,
    without: list[str],
    contenders: Callable[[Workload], dict[str, Callable[[], Step]]] = contenders,
) -> dict[str, Any]:
    """Times of each contender in seconds, and of its first call."""
    steps: dict[str, Step] = {}
    first: dict[str, float] = {}
    reference: list[np.ndarray] | None = None
    for name, make in contenders(workload).items():
        if name in without:
            continue
        step = make()
        begin = time.perf_counter()
        result = step()
        first[name] = time.perf_counter() - begin
        values = arrays(result)
        if reference is None:
            reference = values
        for a, b in zip(values, reference, strict=True):
            gap = float(np.abs(a - b).max() / (np.abs(b).max() + 1e-12))
            if not gap < workload.tolerance:
                raise AssertionError(f"{workload.name}: {name} has other results, off by {gap:.1e}")
        for _ in range(3):
            step()
        steps[name] = step
    counts: dict[str, int] = {}
    for name, step in steps.items():
        begin = time.perf_counter()
        step()
        counts[name] = max(1, min(_MOST, int(0.03 / (time.perf_counter() - begin))))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds * (_MORE if max(counts.values()) == _MOST else 1)):
        for name, step in steps.items():
            time.sleep(_PAUSE)
            step()
            begin = time.perf_counter()
            for _ in range(counts[name]):
                step()
            times[name].append((time.perf_counter() - begin) / counts[name])
    return {"workload": workload, "times": times, "first": first}


def roof() -> tuple[float, float]:
    """The bandwidth of a copy that does not fit the cache, and the flop rate of a large product, by NumPy on all cores."""
    a, b = np.ones(40_000_000, np.float32), np.ones(40_000_000, np.float32)
    m = np.ones((1024, 1024), np.float32)
    copies, products = [], []
    for _ in range(7):
        begin = time.perf_counter()
        np.copyto(b, a)
        copies.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        m @ m
        products.append(time.perf_counter() - begin)
    return 2 * a.nbytes / min(copies), 2 * 1024**3 / min(products)


def table(results: list[dict[str, Any]], bandwidth: float, rate: float) -> list[list[str]]:
    names = ["traced", "eager", *PEERS]
    rows = [
        [
            "workload",
            *(f"{n}, us" for n in names),
            "medians: traced, best peer",
            "best peer / traced",
            "of the roofline",
            "first call, s: " + ", ".join(["traced", *PEERS]),
        ]
    ]
    for r in results:
        best = {name: min(ts) for name, ts in r["times"].items()}
        peers = [best[n] for n in PEERS if n in best]
        middle = {name: statistics.median(ts) for name, ts in r["times"].items()}
        middles = [middle["traced"], *([min(middle[n] for n in PEERS if n in middle)] if peers else [])]
        w = r["workload"]
        limit = max(w.nbytes / bandwidth, w.flops / rate)
        rows.append(
            [
                w.name,
                *(f"{best[n] * 1e6:.1f}" if n in best else "" for n in names),
                ", ".join(f"{t * 1e6:.1f}" for t in middles),
                f"{min(peers) / best['traced']:.2f}" if peers else "",
                f"{limit / best['traced']:.0%}" if limit else "",
                ", ".join(f"{r['first'][n]:.1f}" if n in r["first"] else "-" for n in ("traced", *PEERS)),
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.suite", description=__doc__)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    console = Console(width=200)
    results = []
    for w in WORKLOADS:
        if options.only and not any(fnmatch.fnmatch(w.name, p) for p in options.only):
            continue
        results.append(run(w, options.rounds, options.without))
        best = {n: min(ts) * 1e6 for n, ts in results[-1]["times"].items()}
        console.print(w.name, {n: round(t, 1) for n, t in best.items()})
    bandwidth, rate = roof()
    rows = table(results, bandwidth, rate)
    shown = Table(*rows[0])
    for row in rows[1:]:
        shown.add_row(*row)
    console.print(shown)
    ratios = [float(row[7]) for row in rows[1:] if row[7]]
    mean = math.exp(statistics.fmean(map(math.log, ratios))) if ratios else float("nan")
    summary = f"Geometric mean of best peer / traced: {mean:.2f}; minimum {min(ratios, default=float('nan')):.2f}."
    console.print(summary)
    if options.write:
        costs = {**overheads.calls(), "import tracer, s": overheads.importing()}
        first = {w.name: overheads.first_calls(w.name) for w in WORKLOADS}
        write(rows, summary, bandwidth, rate, costs, first)
        plot(results)


def write(
    rows: list[list[str]],
    summary: str,
    bandwidth: float,
    rate: float,
    costs: dict[str, float],
    first: dict[str, tuple[float, float, float]],
) -> None:
    import llvmlite.binding as llvm

    versions = ", ".join(f"{p} {version(p)}" for p in ("numpy", "llvmlite", "torch", "jax"))
    text = [
        "# Results",
        "",
        f"Measured by `make bench` on {os.cpu_count()} CPUs ({llvm.get_host_cpu_name()}), Python {platform.python_version()},",
        f"{versions}. Copy bandwidth {bandwidth / 1e9:.0f} GB/s, product of matrices {rate / 1e9:.0f} GFLOP/s.",
        "Minimum time per call in microseconds.",
        "",
        *(f"| {' | '.join(row)} |" for row in rows[:1]),
        f"| --- |{' ---: |' * (len(rows[0]) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows[1:]),
        "",
        summary,
        "",
        "| overhead | |",
        "| --- | ---: |",
        *(f"| {what} | {value:.2f} |" for what, value in costs.items()),
        "",
        "First calls, up to the second replay, after importing tracer, with empty (cold) and filled (warm) caches.",
        "",
        "| workload | cold, s | warm, s | peak memory of the process, MiB |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {name} | {cold:.2f} | {warm:.2f} | {peak:.0f} |" for name, (cold, warm, peak) in first.items()),
        "",
        "![times of the peers relative to a traced function](results.svg)",
    ]
    Path(__file__).with_name("RESULTS.md").write_text("\n".join(text) + "\n")


def plot(results: list[dict[str, Any]]) -> None:
    """Writes ``results.svg``: each peer's minimum time relative to the traced function's, per workload."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "tracer"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.36 * len(results) + 1.2), layout="constrained")
    for name, mark in zip(PEERS, "os^", strict=True):
        points = [(min(r["times"][name]) / min(r["times"]["traced"]), k) for k, r in enumerate(results) if name in r["times"]]
        if points:
            axes.plot(*zip(*points, strict=True), mark, label=name, alpha=0.8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("time / time of a traced function")
    axes.set_yticks(range(len(results)), [r["workload"].name for r in results])
    axes.invert_yaxis()
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.legend()
    figure.savefig(Path(__file__).with_name("results.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
