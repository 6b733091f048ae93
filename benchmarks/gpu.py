"""The workloads on a GPU, beside PyTorch, torch.compile and JAX there: ``make bench-gpu``.

    python -m benchmarks.gpu [--only NAME] [--rounds 12] [--small] [--write]

A time is that of one call and the wait for its results. ``--small`` takes small extents, for a trial on the emulated device:
``TRACER_CUDA=emulate python -m benchmarks.gpu --small --rounds 1``; its times mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import platform
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from .suite import PEERS, run, waiting
from .workloads import WORKLOADS, Library, Step, Workload, small


class OnDevice(Library):
    """A library whose tensors are on the GPU."""

    def tensor_of(self, x: np.ndarray, grad: bool = False) -> Any:
        t = self.module.from_numpy(np.ascontiguousarray(x)).cuda()
        return t.requires_grad_() if grad else t


def built(workload: Workload, library: OnDevice) -> Step:
    """The step with the wait for its results."""
    library.module.set_default_device("cuda")
    try:
        step = workload.build(library)
    finally:
        library.module.set_default_device("cpu")

    def timed() -> Any:
        result = step()
        library.module.cuda.synchronize()
        return result

    return timed


def contenders(workload: Workload) -> dict[str, Callable[[], Step]]:
    """The contenders that have a GPU."""
    import tracer

    found: dict[str, Callable[[], Step]] = {
        "traced": lambda: built(workload, OnDevice(tracer, whole=tracer.trace)),
        "eager": lambda: built(workload, OnDevice(tracer)),
    }
    with contextlib.suppress(ImportError):
        import torch

        if torch.cuda.is_available():
            found["PyTorch"] = lambda: built(workload, OnDevice(torch))
            found["torch.compile"] = lambda: built(workload, OnDevice(torch, part=torch.compile))
    with contextlib.suppress(ImportError):
        import jax

        if jax.default_backend() == "gpu":
            found["JAX"] = lambda: waiting(workload.jax())
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _row(name: str, names: list[str], best: dict[str, float]) -> str:
    peers = [best[n] for n in PEERS if n in best]
    ratio = f"{min(peers) / best['traced']:.2f}" if peers else ""
    cells = [f"{best[n]:.1f}" if n in best else "" for n in names]
    return f"| {' | '.join([name, *cells, ratio])} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--small", action="store_true", help="small extents, for the emulated device")
    parser.add_argument("--write", action="store_true", help="write RESULTS-GPU.md")
    options = parser.parse_args()
    import tracer

    if not tracer.cuda.is_available():
        raise SystemExit("there is no GPU: set TRACER_CUDA=emulate and pass --small to try the script without one")
    warnings.simplefilter("ignore")
    console, names = Console(width=160), ["traced", "eager", *PEERS]
    rows = [
        f"| workload | {' | '.join(f'{n}, us' for n in names)} | best peer / traced |",
        "| --- |" + " ---: |" * (len(names) + 1),
    ]
    for workload in WORKLOADS:
        if options.only and not any(fnmatch.fnmatch(workload.name, p) for p in options.only):
            continue
        with small() if options.small else contextlib.nullcontext():
            times = run(workload, options.rounds, [], contenders)["times"]
        rows.append(_row(workload.name, names, {n: min(ts) * 1e6 for n, ts in times.items()}))
        console.print(rows[-1])
    if options.write:
        packages = ", ".join(f"{p} {_version(p)}" for p in ("numba-cuda", "nvidia-cublas", "torch", "jax"))
        text = [
            "# Results on a GPU",
            "",
            f"Measured by `make bench-gpu` on {tracer.cuda.get_device_name()}, Python {platform.python_version()}, {packages}.",
            "Minimum time of one call and the wait for its results, in microseconds.",
            "",
            *rows,
        ]
        Path(__file__).with_name("RESULTS-GPU.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
