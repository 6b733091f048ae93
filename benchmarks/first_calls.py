"""First calls of training steps: where the time of recording and compiling goes.

    python -m benchmarks.first_calls [--only NAME] [--write]

Each step runs in two new processes with an empty cache folder: *cold*, then *warm* with what the first left on disk. The second
call compiles: passes on the graph, layout and kernel text, kernels as LLVM instructions (``lowering``), waiting for the
workers that run LLVM (``LLVM``), and linking. With state that appears in the first steps (Adam), the third call compiles.
The table goes to ``FIRST_CALLS.md``.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tracer
import tracer.nn.functional as F
from tracer import nn

Case = tuple[Callable[[], Any], float]  # a training step; the seconds allowed for its cold second call


class Block(nn.Module):
    """Two convolutions of 3 x 3 around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet18() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for n, wide in enumerate([64, 128, 256, 512]):
        layers += [Block(width, wide, 2 if n else 1), Block(wide, wide, 1)]
        width = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Dense(nn.Module):
    """A layer whose result is appended to its input."""

    def __init__(self, inputs: int, growth: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 4 * growth, 1, bias=False)),
            *(nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)),
        )

    def forward(self, x: Any) -> Any:
        return tracer.cat([x, self.layers(x)], 1)


def densenet121() -> nn.Module:
    width, growth = 64, 32
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for n, count in enumerate([6, 12, 24, 16]):
        if n:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
        for _ in range(count):
            layers.append(Dense(width, growth))
            width += growth
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


class Attention(nn.Module):
    """Causal attention, and a network with one hidden layer; each behind a layer norm."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, c // self.heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(c, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, words: int = 65, length: int = 64):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Attention(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, x: Any) -> Any:
        y = self.words(x) + self.places(tracer.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(y))).flatten(0, 1)


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.head = nn.Embedding(65, 64), nn.LSTM(64, 128, batch_first=True), nn.Linear(128, 65)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(self.words(x))[0]).flatten(0, 1)


def training(model: nn.Module, x: Any, y: Any, adam: bool = False) -> Callable[[], Any]:
    kind = functools.partial(tracer.optim.AdamW, lr=1e-3) if adam else functools.partial(tracer.optim.SGD, lr=0.01)
    optimizer = kind(model.parameters())

    @tracer.trace
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return lambda: step(x, y)


def images(model: nn.Module, size: int) -> Callable[[], Any]:
    return training(model, tracer.randn(4, 3, size, size), tracer.randint(0, 10, (4,)))


def words(model: nn.Module, batch: int, length: int, adam: bool = True) -> Callable[[], Any]:
    return training(model, tracer.randint(0, 65, (batch, length)), tracer.randint(0, 65, (batch * length,)), adam)


CASES: dict[str, tuple[Callable[[], Callable[[], Any]], float]] = {
    "ResNet-18": (lambda: images(resnet18(), 64), 6),
    "DenseNet-121": (lambda: images(densenet121(), 64), 12),
    "GPT, 6 layers": (lambda: words(GPT(6, 96, 6), 4, 64), 4),
    "GPT, 12 layers": (lambda: words(GPT(12, 96, 6), 4, 64), 5),
    "LSTM, 128 steps": (lambda: words(LSTM(), 8, 128, adam=False), 3),
}
_CALLS = 5


def measure(name: str) -> dict[str, Any]:
    """The times of the first calls in this process, the seconds of each stage, and the number of kernels."""
    spent: Counter[str] = Counter()

    def timed(where: Any, attribute: str, stage: str) -> None:
        original = getattr(where, attribute)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            begin, inner = time.perf_counter(), spent.total()
            try:
                return original(*args, **kwargs)
            finally:
                spent[stage] += time.perf_counter() - begin - (spent.total() - inner)

        setattr(where, attribute, call)

    from tracer.ir import pipeline
    from tracer.runtime.compiler import compile as compiler
    from tracer.runtime.programs import planned, program

    timed(pipeline, "run", "passes")
    timed(program, "Program", "rest")
    timed(planned, "planned", "layout")
    timed(compiler, "_compile", "LLVM")
    timed(compiler, "_instructions", "lowering")
    timed(compiler._Loader, "add", "link")
    build, _ = CASES[name]
    tracer.manual_seed(0)
    step = build()
    calls = []
    for _ in range(_CALLS):
        begin, cpu = time.perf_counter(), time.process_time()
        step()
        calls.append((time.perf_counter() - begin, time.process_time() - cpu))
    return {"calls": calls, "spent": dict(spent), "compiled": compiler.stats.compiled, "loaded": compiler.stats.loaded}


def in_new_process(name: str, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.first_calls", "--child", name]
    environment = {**os.environ, "TRACER_CACHE_DIR": folder}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    if run.returncode:
        raise RuntimeError(run.stderr)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


STAGES = ("passes", "layout", "lowering", "LLVM", "link", "rest")


def row(name: str, kind: str, found: dict[str, Any]) -> list[str]:
    """The compiling call is the longest after the first."""
    first, *later = found["calls"]
    wall, cpu = max(later)
    limit = CASES[name][1] if kind == "cold" else 0.5
    stages = [f"{found['spent'].get(stage, 0):.2f}" for stage in STAGES]
    return [
        name,
        kind,
        f"{first[0]:.2f}",
        f"{wall:.2f}",
        f"{limit:g}",
        f"{cpu:.2f}",
        *stages,
        str(found["compiled"] or found["loaded"]),
    ]


HEAD = ["step", "disk", "first call, s", "compiling call, s", "at most", "its CPU time here", *STAGES, "kernels"]


def write(rows: list[list[str]]) -> None:
    cells = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    (Path(__file__).parent / "FIRST_CALLS.md").write_text(
        f"""# First calls

Written by `python -m benchmarks.first_calls --write` on {os.cpu_count()} CPUs, Python {platform.python_version()}.
Each row is a new process: *cold* with an empty cache folder, *warm* with what the cold one left there. The first call runs
eagerly and is recorded. Seconds by stage: passes on graphs; layout and kernel text; lowering to LLVM's instructions;
waiting for the processes that run LLVM; linking; the rest.

| {" | ".join(HEAD)} |
|{" --- |" * 2}{" ---: |" * (len(HEAD) - 2)}
{cells}
"""
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child)))
        return
    rows = []
    for name in CASES:
        if options.only in name:
            with tempfile.TemporaryDirectory() as folder:
                for kind in ("cold", "warm"):
                    rows.append(row(name, kind, in_new_process(name, folder)))
                    print("  ".join(f"{title}: {cell}" for title, cell in zip(HEAD, rows[-1], strict=True)), flush=True)
    if options.write:
        write(rows)


if __name__ == "__main__":
    main()
