"""The demo: trains two networks on handwritten digits, eagerly and traced.

The data are the UCI handwritten digits that come with scikit-learn: 1,797 images of 8x8 pixels. Both runs of a network
start from the same weights and see the same batches, so their losses can be compared step by step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from .. import Tensor, from_numpy, manual_seed, nn, no_grad, optim, trace
from ..ir.graph import Graph
from ..nn import functional as F
from ..runtime.compiler import compile as compiler
from .report import write_report

BATCH = 64
TEST = 360  # test images


@dataclass
class Digits:
    """Images in [0, 1], of shape (n, 64), and their digits."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @staticmethod
    def load() -> Digits:
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(images))
        images = (images[order] / 16).astype(np.float32)
        labels = labels[order].astype(np.int64)
        return Digits(images[TEST:], labels[TEST:], images[:TEST], labels[:TEST])

    def batches(self, steps: int) -> list[tuple[Tensor, Tensor]]:
        """Batches of 64; each pass has a new order of the training set."""
        rng = np.random.default_rng(1)
        order = np.empty(0, np.int64)
        found = []
        for _ in range(steps):
            if len(order) < BATCH:
                order = rng.permutation(len(self.train_images))
            now, order = order[:BATCH], order[BATCH:]
            found.append((from_numpy(self.train_images[now]), from_numpy(self.train_labels[now])))
        return found


def dense_network() -> nn.Module:
    """64-128-10."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


class Convolutional(nn.Module):
    """Two convolutions and a linear layer, on 8x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 4 * 4, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.reshape(-1, 1, 8, 8))


@dataclass
class Run:
    """The results of a training run."""

    losses: list[float] = field(default_factory=list)
    microseconds: float = 0.0  # per step, median
    accuracy: float = 0.0
    compiled: int = 0
    loaded: int = 0
    fused: Graph | None = None


def train(make: Callable[[], nn.Module], data: Digits, steps: int, traced: bool, advance: Callable[[], object]) -> Run:
    """Trains a network with Adam. Steps are timed individually; the median excludes recording and compiling."""
    manual_seed(0)
    model = make()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)

    def step(images: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = Run()
    compiled, loaded = compiler.stats.compiled, compiler.stats.loaded
    fast = trace(step)
    function = fast if traced else step
    times, losses = [], []
    for images, labels in data.batches(steps):
        begin = time.perf_counter()
        losses.append(function(images, labels))
        times.append(time.perf_counter() - begin)
        advance()
    run.losses = [loss.item() for loss in losses]
    run.microseconds = statistics.median(times) * 1e6
    run.compiled, run.loaded = compiler.stats.compiled - compiled, compiler.stats.loaded - loaded
    if traced:
        run.fused = fast.fused_graphs()[-1]
    with no_grad():
        guesses = model(from_numpy(data.test_images)).argmax(1).numpy()
    run.accuracy = float((guesses == data.test_labels).mean())
    return run


def run(out: Path, epochs: int) -> dict[str, tuple[Run, Run]]:
    """Trains both networks both ways; prints a table, writes ``digits.png`` and ``digits.html`` to ``out``."""
    console = Console()
    data = Digits.load()
    per_epoch = len(data.train_images) // BATCH
    plan = {
        "dense": (dense_network, epochs * per_epoch),
        "conv": (Convolutional, max(1, epochs // 4) * per_epoch),
    }
    results: dict[str, tuple[Run, Run]] = {}
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    # One thread for the BLAS of eager products, as for traced ones of this size: on a busy machine its threads wait for each
    # other for longer than the products take.
    with threadpool_limits(1, "blas"), Progress(*columns, console=console) as progress:
        for name, (make, steps) in plan.items():
            runs = []
            for traced in (False, True):
                task = progress.add_task(f"{name}, {'traced' if traced else 'eager'}", total=steps)
                runs.append(train(make, data, steps, traced, partial(progress.advance, task)))
            results[name] = (runs[0], runs[1])
    console.print(_table(results))
    compiled = sum(r.compiled for pair in results.values() for r in pair)
    loaded = sum(r.loaded for pair in results.values() for r in pair)
    if compiled:
        console.print(f"{compiled} kernels compiled in {compiler.stats.seconds:.1f} s and kept; run again and none will be.")
    else:
        console.print(f"No kernel was compiled: all {loaded} came from the cache on disk.")
    page = write_report(out, results)
    console.print(f"Curves and graphs: {page.with_suffix('.png')}, {page}", soft_wrap=True)
    return results


def _table(results: dict[str, tuple[Run, Run]]) -> Table:
    table = Table(title="UCI handwritten digits, Adam, batches of 64", caption="gap: the largest difference of the two losses")
    table.add_column("network", no_wrap=True)
    for heading in ("accuracy", "gap", "us a step", "speed-up", "compiled", "cached"):
        table.add_column(heading, justify="right")
    for name, (eager, traced) in results.items():
        gap = max(abs(a - b) for a, b in zip(eager.losses, traced.losses, strict=True))
        faster = f"{eager.microseconds / traced.microseconds:.1f}x"
        table.add_row(f"{name}, eager", f"{eager.accuracy:.1%}", "", f"{eager.microseconds:.0f}")
        row = (f"{traced.accuracy:.1%}", f"{gap:.1e}", f"{traced.microseconds:.0f}", faster, str(traced.compiled))
        table.add_row(f"{name}, traced", *row, str(traced.loaded))
    return table
