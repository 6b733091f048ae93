"""Whole programs, with control flow on values, effects and random numbers: eager and traced.

    python -m benchmarks.whole_programs [--only NAME] [--rounds 8] [--write]

Each program is built with and without the decorator. Both are run on the same data and compared, call by call; then they
are timed alternately, in rounds. ``replayed`` is the share of timed calls that were replays; the others ran in Python,
because they reached a new branch. The table goes to ``WHOLE_PROGRAMS.md``.
"""

from __future__ import annotations

import argparse
import collections
import copy
import fnmatch
import itertools
import math
import os
import platform
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import tracer
import tracer.nn.functional as F
from tracer import nn, optim
from tracer.tracing.function import TracedFunction

Step = Callable[[], Any]
Trace = Callable[[Callable[..., Any]], Callable[..., Any]]
_WARM = 150  # calls before timing, which reach the branches
_COMPARED = 12

PROGRAMS: dict[str, Callable[[Trace], Step]] = {}


def program(name: str) -> Callable[[Callable[[Trace], Step]], Callable[[Trace], Step]]:
    def enter(build: Callable[[Trace], Step]) -> Callable[[Trace], Step]:
        PROGRAMS[name] = build
        return build

    return enter


def cycling(data: list[Any]) -> Callable[[], Any]:
    return itertools.cycle(data).__next__


@program("Newton's method to a tolerance")
def newton(trace: Trace) -> Step:
    @trace
    def roots(a: Any) -> Any:
        x = a / 2 + 0.5
        while ((x * x - a).abs() > 1e-8 * a).any():
            x = (x + a / x) / 2
        return x

    inputs = cycling([tracer.rand(100, dtype=tracer.float64) * 10**k + 0.1 for k in range(4)])
    return lambda: roots(inputs())


@program("k-means to convergence")
def k_means(trace: Trace) -> Step:
    @trace
    def cluster(x: Any) -> Any:
        centers = x[:3]
        while True:
            nearest = ((x[:, None] - centers) ** 2).sum(-1).argmin(1)
            hot = F.one_hot(nearest, 3).to(x.dtype)
            new = hot.T @ x / hot.sum(0).clamp(min=1)[:, None]
            if (new - centers).abs().max() < 1e-5:
                return centers, nearest
            centers = new

    corners = tracer.tensor([[0.0, 0.0], [4.0, 4.0], [0.0, 5.0]])
    inputs = cycling([(corners + 0.7 * tracer.randn(60, 3, 2)).reshape(-1, 2) for _ in range(4)])
    return lambda: cluster(inputs())


@program("rejection sampling")
def rejection(trace: Trace) -> Step:
    @trace
    def sample(mean: Any) -> Any:
        while True:
            x = tracer.rand(2) * 8 - 4
            density = (-((x - mean) ** 2).sum() / 2).exp()
            if tracer.rand(()) < density:
                return x

    mean = tracer.tensor([0.3, -0.4])
    return lambda: sample(mean)


@program("adaptive Runge-Kutta 4(5)")
def adaptive_runge_kutta(trace: Trace) -> Step:
    a = [
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
    errors = [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40]

    @trace
    def solve(x: Any, w: Any) -> Any:
        field = lambda x: (x @ w).tanh() - 0.1 * x
        t, h, steps = 0.0, 0.1, 0
        while t < 2.0:
            h = min(h, 2.0 - t)
            ks = [field(x)]
            for row in a:
                new = x + h * sum(c * k for c, k in zip(row, ks, strict=True) if c)
                ks.append(field(new))
            error = (h * sum(c * k for c, k in zip(errors, ks, strict=True) if c)).abs().max().item() / 1e-5
            if error <= 1:
                t, x, steps = t + h, new, steps + 1
            h *= min(4.0, max(0.2, 0.9 * (error + 1e-10) ** -0.2))
        return x, steps

    w = tracer.randn(8, 8, dtype=tracer.float64)
    inputs = cycling([tracer.randn(4, 8, dtype=tracer.float64) for _ in range(4)])
    return lambda: solve(inputs(), w)


@program("beam search")
def beam_search(trace: Trace) -> Step:
    embedding, cell, head = nn.Embedding(20, 16), nn.GRUCell(16, 32), nn.Linear(32, 20)
    with tracer.no_grad():
        head.weight.mul_(4)

    @trace
    def search(h: Any) -> Any:
        with tracer.no_grad():
            tokens, scores, h = tracer.ones(1, 1, dtype=tracer.int64), tracer.zeros(1), h
            for _ in range(12):
                h = cell(embedding(tokens[:, -1]), h)
                scores, best = (scores[:, None] + head(h).log_softmax(-1)).flatten().topk(4)
                beam = best // 20
                tokens, h = tracer.cat([tokens[beam], (best % 20)[:, None]], 1), h[beam]
                if (tokens[:, -1] == 0).all():
                    break
            return tokens[scores.argmax()].tolist()

    inputs = cycling([tracer.randn(1, 32) for _ in range(4)])
    return lambda: search(inputs())


@program("LSTM over sequences of any length")
def variable_length_lstm(trace: Trace) -> Step:
    cell, head = nn.LSTMCell(8, 16), nn.Linear(16, 4)
    optimizer = optim.SGD([*cell.parameters(), *head.parameters()], lr=0.05)

    @trace
    def step(x: Any, lengths: Any, y: Any) -> Any:
        h = c = tracer.zeros(x.shape[0], 16)
        for t in range(lengths.max().item()):
            new_h, new_c = cell(x[:, t], (h, c))
            alive = (t < lengths)[:, None]
            h, c = tracer.where(alive, new_h, h), tracer.where(alive, new_c, c)
        loss = F.cross_entropy(head(h), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def batch(longest: int) -> Any:
        lengths = tracer.randint(1, longest + 1, (8,))
        lengths[0] = longest
        return tracer.randn(8, 10, 8), lengths, tracer.randint(0, 4, (8,))

    inputs = cycling([batch(longest) for longest in (4, 10, 7, 6)])
    return lambda: step(*inputs())


def network(inputs: int = 16, outputs: int = 4) -> Any:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


def batches(count: int = 8, rows: int = 16) -> Callable[[], Any]:
    return cycling([(tracer.randn(rows, 16), tracer.randint(0, 4, (rows,))) for _ in range(count)])


@program("gradient clipping with an if")
def clipping(trace: Trace) -> Step:
    model, inputs = network(), batches()
    optimizer = optim.Adam(model.parameters(), lr=1e-4)

    @trace
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        norm = sum((p.grad**2).sum() for p in model.parameters()).sqrt()
        if norm > 0.9:
            for p in model.parameters():
                p.grad.mul_(0.9 / norm)
        optimizer.step()
        return loss.item()

    return lambda: step(*inputs())


@program("GAN step")
def gan(trace: Trace) -> Step:
    generator, critic = network(4, 2), network(2, 1)
    g_optimizer = optim.Adam(generator.parameters(), lr=1e-4, betas=(0.5, 0.999))
    d_optimizer = optim.Adam(critic.parameters(), lr=1e-4, betas=(0.5, 0.999))
    loss_of, steps = nn.BCEWithLogitsLoss(), [0]
    meter = {"d": 0.0, "g": 0.0}
    generator[0], critic[0] = nn.Linear(4, 32), nn.Linear(2, 32)

    @trace
    def step(real: Any) -> Any:
        ones, zeros = tracer.ones(real.size(0), 1), tracer.zeros(real.size(0), 1)
        d_optimizer.zero_grad()
        fake = generator(tracer.randn(real.size(0), 4))
        d_loss = loss_of(critic(real), ones) + loss_of(critic(fake.detach()), zeros)
        d_loss.backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        g_loss = loss_of(critic(fake), ones)
        g_loss.backward()
        g_optimizer.step()
        steps[0] += 1
        meter["d"] = 0.9 * meter["d"] + 0.1 * d_loss.item()
        meter["g"] = 0.9 * meter["g"] + 0.1 * g_loss.item()
        return d_loss.item(), g_loss.item()

    inputs = cycling([tracer.randn(32, 2) for _ in range(4)])
    return lambda: (step(inputs()), dict(meter), steps[0])


@program("deep Q-learning with a replay buffer")
def q_learning(trace: Trace) -> Step:
    policy = network(6, 3)
    target = copy.deepcopy(policy)
    optimizer = optim.AdamW(policy.parameters(), lr=1e-4)
    memory: collections.deque[Any] = collections.deque(maxlen=200)
    state = tracer.randn(6)

    @trace
    def act(state: Any, epsilon: float) -> Any:
        with tracer.no_grad():
            if tracer.rand(()) < epsilon:
                return tracer.randint(0, 3, ()).item()
            return policy(state).argmax().item()

    @trace
    def learn(states: Any, actions: Any, rewards: Any, following: Any) -> Any:
        q = policy(states).gather(1, actions[:, None])[:, 0]
        with tracer.no_grad():
            expected = rewards + 0.99 * target(following).max(1).values
        loss = F.smooth_l1_loss(q, expected)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy.parameters(), 100)
        optimizer.step()
        for t, p in zip(target.parameters(), policy.parameters(), strict=True):
            t.data.mul_(0.995).add_(p.data, alpha=0.005)
        return loss.item()

    def turn() -> Any:
        nonlocal state
        action = act(state, 0.2)
        after = (state * 0.9 + 0.1 * (action - 1)).sin()
        memory.append((state, action, float(action == 1), after))
        state = after if len(memory) % 50 else tracer.randn(6)
        if len(memory) < 16:
            return action
        states, actions, rewards, following = zip(*random.sample(memory, 16), strict=True)
        return learn(tracer.stack(states), tracer.tensor(actions), tracer.tensor(rewards), tracer.stack(following))

    return turn


@program("early stopping")
def early_stopping(trace: Trace) -> Step:
    model, held_out, inputs = network(), batches(1), batches()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    class Stopping:
        def __init__(self) -> None:
            self.best, self.bad, self.stops = math.inf, 0, 0

        def __call__(self, loss: float) -> bool:
            if loss < self.best - 1e-4:
                self.best, self.bad = loss, 0
                return False
            self.bad += 1
            return self.bad >= 5

    stopping = Stopping()

    @trace
    def epoch(x: Any, y: Any, u: Any, v: Any) -> Any:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        with tracer.no_grad():
            loss = F.cross_entropy(model(u), v).item()
        if stopping(loss):
            stopping.best, stopping.bad = math.inf, 0
            stopping.stops += 1
        return loss

    return lambda: (epoch(*inputs(), *held_out()), stopping.stops)


@program("epoch loop with metrics")
def epochs(trace: Trace) -> Step:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    inputs, history = batches(), {"loss": [], "accuracy": []}  # type: ignore[var-annotated]

    @trace
    def train(x: Any, y: Any) -> Any:
        model.train()
        optimizer.zero_grad()
        out = model(x)
        loss = F.cross_entropy(out, y)
        loss.backward()
        optimizer.step()
        return loss.item(), (out.argmax(1) == y).sum().item()

    @trace
    def evaluate(x: Any, y: Any) -> Any:
        model.eval()
        with tracer.no_grad():
            out = model(x)
            return F.cross_entropy(out, y).item(), (out.argmax(1) == y).float().mean().item()

    def epoch() -> Any:
        total, right, seen = 0.0, 0, 0
        for _ in range(8):
            x, y = inputs()
            loss, correct = train(x, y)
            total, right, seen = total + loss * len(x), right + correct, seen + len(x)
        history["loss"].append(total / seen)
        history["accuracy"].append(right / seen)
        return history["loss"][-1], history["accuracy"][-1], evaluate(*inputs())

    return epoch


# Measurement.


def built(build: Callable[[Trace], Step], trace: Trace) -> Step:
    tracer.manual_seed(0)
    random.seed(0)
    return build(trace)


def compare(build: Callable[[Trace], Step]) -> None:
    """Raises AssertionError if the traced program differs."""
    results = []
    for trace in (lambda f: f, tracer.trace):
        step = built(build, trace)
        results.append([numbers(step()) for _ in range(_COMPARED)])
    for eager, traced in zip(*results, strict=True):
        np.testing.assert_allclose(traced, eager, rtol=1e-2, atol=1e-3)


def numbers(x: Any) -> list[float]:
    """All numbers in a result, in order."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (list, tuple)):
        return [n for item in x for n in numbers(item)]
    return x.detach().reshape(-1).tolist() if isinstance(x, tracer.Tensor) else [float(x)]


def measure(name: str, rounds: int) -> dict[str, Any]:
    """The minimum times per call in seconds, and the share of replays among the timed calls."""
    build = PROGRAMS[name]
    compare(build)
    made: list[TracedFunction] = []

    def trace(f: Callable[..., Any]) -> TracedFunction:
        made.append(tracer.trace(f))
        return made[-1]

    steps = {"eager": built(build, lambda f: f)}
    steps["traced"] = built(build, trace)
    for step in steps.values():
        for _ in range(_WARM):
            step()
    before = [f.cache_info() for f in made]
    times: dict[str, list[float]] = {"eager": [], "traced": []}
    for _ in range(rounds):
        for label, step in steps.items():
            begin = time.perf_counter()
            for _ in range(20):
                step()
            times[label].append((time.perf_counter() - begin) / 20)
    after = [f.cache_info() for f in made]
    replays = sum(a.replays - b.replays for a, b in zip(after, before, strict=True))
    others = sum(a.recordings + a.eager - b.recordings - b.eager for a, b in zip(after, before, strict=True))
    reasons = [line.strip() for f in made for line in f.explain().splitlines() if "eager" in line]
    return {
        "name": name,
        "eager": min(times["eager"]),
        "traced": min(times["traced"]),
        "replayed": replays / max(1, replays + others),
        "recordings": sum(a.recordings for a in after),
        "reasons": reasons,
    }


HEAD = ["program", "eager, us", "traced, us", "eager / traced", "replayed", "recordings"]


def row(r: dict[str, Any]) -> list[str]:
    times = [f"{r[k] * 1e6:.0f}" for k in ("eager", "traced")]
    return [r["name"], *times, f"{r['eager'] / r['traced']:.1f}", f"{r['replayed']:.0%}", str(r["recordings"])]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.whole_programs", description=__doc__)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    console, rows = Console(width=160), []
    for name in PROGRAMS:
        if options.only and not any(fnmatch.fnmatch(name, p) for p in options.only):
            continue
        result = measure(name, options.rounds)
        rows.append(row(result))
        console.print(*rows[-1], *result["reasons"], sep=" | ")
    if options.write:
        write(rows)


def write(rows: list[list[str]]) -> None:
    text = [
        "# Whole programs",
        "",
        f"Measured by `python -m benchmarks.whole_programs --write` on {os.cpu_count()} CPUs,",
        f"Python {platform.python_version()}.",
        "Minimum time per call in microseconds; `replayed` is the share of the timed calls that ran no Python.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"| --- |{' ---: |' * (len(HEAD) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    Path(__file__).with_name("WHOLE_PROGRAMS.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
