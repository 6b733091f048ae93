"""Convolutions and networks of them, in tracer and PyTorch, timed alternately.

    python -m benchmarks.convolutions [--only NAME] [--rounds 30] [--threads 1] [--layers | --steps]

For each layer: the forward pass, the gradient of the input and the gradient of the weight, in GFLOP/s of the traced function
and of PyTorch, and the ratio. Then whole training steps. Every result is compared before it is timed.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tracer

Step = Callable[[], Any]

# name: shape of the input, shape of the weight, and the arguments of the convolution; "transposed" if it is one
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "ResNet 7x7 /2": ((8, 3, 64, 64), (64, 3, 7, 7), {"stride": 2, "padding": 3}),
    "ResNet 3x3, 64": ((8, 64, 32, 32), (64, 64, 3, 3), {"padding": 1}),
    "ResNet 3x3, 128 /2": ((8, 64, 32, 32), (128, 64, 3, 3), {"stride": 2, "padding": 1}),
    "ResNet 3x3, 256": ((8, 256, 14, 14), (256, 256, 3, 3), {"padding": 1}),
    "ResNet 3x3, 512": ((8, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}),
    "ResNet 1x1, 128 /2": ((8, 64, 32, 32), (128, 64, 1, 1), {"stride": 2}),
    "MobileNet 1x1, 144": ((8, 24, 28, 28), (144, 24, 1, 1), {}),
    "MobileNet depthwise, 144": ((8, 144, 28, 28), (144, 1, 3, 3), {"padding": 1, "groups": 144}),
    "MobileNet depthwise, 144 /2": ((8, 144, 28, 28), (144, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 144}),
    "super-resolution 5x5": ((4, 1, 64, 64), (64, 1, 5, 5), {"padding": 2}),
    "super-resolution 3x3, 64": ((4, 64, 64, 64), (64, 64, 3, 3), {"padding": 1}),
    "super-resolution 3x3, 9": ((4, 32, 64, 64), (9, 32, 3, 3), {"padding": 1}),
    "DCGAN transposed 4x4 /2": ((16, 256, 8, 8), (256, 128, 4, 4), {"stride": 2, "padding": 1, "transposed": True}),
    "DCGAN transposed 4x4": ((16, 100, 1, 1), (100, 256, 4, 4), {"transposed": True}),
    "DCGAN 4x4 /2": ((16, 64, 32, 32), (128, 64, 4, 4), {"stride": 2, "padding": 1}),
    "9x9": ((4, 3, 64, 64), (32, 3, 9, 9), {"padding": 4}),
    "grouped 3x3, 8 groups": ((8, 64, 28, 28), (64, 8, 3, 3), {"padding": 1, "groups": 8}),
    "conv1d 5": ((16, 64, 256), (128, 64, 5), {"padding": 2}),
    "conv1d dilated 3": ((16, 64, 256), (64, 64, 3), {"padding": 4, "dilation": 4}),
}


def layer(name: str) -> tuple[dict[str, tuple[Step, Step]], float]:
    """For each pass, the traced function and PyTorch's; and the arithmetic operations of a pass."""
    shape, kernel, settings = LAYERS[name]
    settings = dict(settings)
    n, transposed = len(shape) - 2, settings.pop("transposed", False)
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype("f") for s in (shape, kernel))

    def convolution(lib: Any) -> Callable[[Any, Any], Any]:
        f = getattr(lib.nn.functional, f"conv_transpose{n}d" if transposed else f"conv{n}d")
        return lambda x, w: f(x, w, **settings)

    with torch.no_grad():
        y = convolution(torch)(torch.from_numpy(x), torch.from_numpy(w)).numpy()
    g = rng.standard_normal(y.shape).astype("f")
    positions = x if transposed else y
    flops = 2.0 * math.prod(kernel) * shape[0] * math.prod(positions.shape[2:])

    @tracer.trace
    def forward(x: Any, w: Any) -> Any:
        with tracer.no_grad():
            return convolution(tracer)(x, w)

    @tracer.trace
    def data(x: Any, w: Any, g: Any) -> Any:
        return tracer.autograd.grad(convolution(tracer)(x, w), x, g)[0]

    @tracer.trace
    def weight(x: Any, w: Any, g: Any) -> Any:
        return tracer.autograd.grad(convolution(tracer)(x, w), w, g)[0]

    tx, tw, tg = (tracer.from_numpy(v) for v in (x, w, g))
    gx, gw = (tracer.from_numpy(v).requires_grad_() for v in (x, w))
    px, pw, pg = (torch.from_numpy(v) for v in (x, w, g))
    spread = {
        key: [v] * n if isinstance(v := settings.get(key, d), int) else v
        for key, d in (("stride", 1), ("padding", 0), ("dilation", 1))
    }

    def backward(which: int) -> Step:
        mask = [which == 0, which == 1, False]
        return lambda: torch.ops.aten.convolution_backward(
            pg, px, pw, None, *spread.values(), transposed, [0] * n, settings.get("groups", 1), mask
        )[which]

    pairs: dict[str, tuple[Step, Step]] = {
        "forward": (lambda: forward(tx, tw), lambda: convolution(torch)(px, pw)),
        "data": (lambda: data(gx, tw, tg), backward(0)),
        "weight": (lambda: weight(tx, gw, tg), backward(1)),
    }
    return pairs, flops


# Networks, each written once for both libraries.


def resnet18(lib: Any) -> Any:
    nn = lib.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
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
            y = nn.functional.relu(self.bn1(self.conv1(x)))
            return nn.functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))

    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for n, wide in enumerate([64, 128, 256, 512]):
        layers += [Block(width, wide, 2 if n else 1), Block(wide, wide, 1)]
        width = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def mobilenet_v2(lib: Any) -> Any:
    nn = lib.nn

    def unit(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[Any]:
        conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU6()]

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, inputs: int, outputs: int, stride: int, factor: int):
            super().__init__()
            wide = inputs * factor
            first = unit(inputs, wide, 1) if factor > 1 else []
            last = [nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
            self.layers = nn.Sequential(*first, *unit(wide, wide, 3, stride, wide), *last)
            self.adds = stride == 1 and inputs == outputs

        def forward(self, x: Any) -> Any:
            return x + self.layers(x) if self.adds else self.layers(x)

    layers, width = unit(3, 32, 3, 2), 32
    for factor, wide, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ):  # fmt: skip
        for i in range(count):
            layers.append(Block(width, wide, stride if i == 0 else 1, factor))
            width = wide
    return nn.Sequential(*layers, *unit(320, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10))


def super_resolution(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 5, 1, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(64, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 9, 3, 1, 1), nn.PixelShuffle(3)),
    )


def generator(lib: Any) -> Any:
    nn, layers, width = lib.nn, [], 100
    for wide, stride in ((512, 1), (256, 2), (128, 2), (64, 2)):
        layers += [nn.ConvTranspose2d(width, wide, 4, stride, stride - 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
        width = wide
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())


def discriminator(lib: Any) -> Any:
    nn = lib.nn
    layers, width = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)], 64
    for wide in (128, 256, 512):
        layers += [nn.Conv2d(width, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
        width = wide
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 0, bias=False), nn.Flatten(0))


def alike(lib: Any, make: Callable[[Any], Any]) -> Any:
    """A network with the parameters that it has in the other library."""
    torch.manual_seed(0)
    reference = make(torch)
    if lib is torch:
        return reference
    model = make(lib)
    with lib.no_grad():
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            p.copy_(lib.from_numpy(q.detach().numpy().copy()))
    return model


def supervised(make: Callable[[Any], Any], loss: str, x: np.ndarray, y: np.ndarray) -> Callable[[Any], Step]:
    def build(lib: Any) -> Step:
        model = alike(lib, make)
        optimizer = lib.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        data = lib.from_numpy(x), lib.from_numpy(y)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            value = getattr(lib.nn.functional, loss)(model(x), y)
            value.backward()
            optimizer.step()
            return value.detach()

        whole = tracer.trace(step) if lib is tracer else step
        return lambda: whole(*data)

    return build


def dcgan(lib: Any) -> Step:
    g, d = alike(lib, generator), alike(lib, discriminator)
    d_optimizer, g_optimizer = (lib.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (d, g))
    rng = np.random.default_rng(1)
    real = lib.from_numpy(rng.uniform(-1, 1, (16, 3, 64, 64)).astype("f"))
    noise = lib.from_numpy(rng.standard_normal((16, 100, 1, 1)).astype("f"))
    ones, zeros = lib.ones(16), lib.zeros(16)
    loss = lib.nn.functional.binary_cross_entropy_with_logits

    def step(real: Any, noise: Any) -> Any:
        d_optimizer.zero_grad()
        fake = g(noise)
        first = loss(d(real), ones) + loss(d(fake.detach()), zeros)
        first.backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        second = loss(d(fake), ones)
        second.backward()
        g_optimizer.step()
        return (first + second).detach()

    whole = tracer.trace(step) if lib is tracer else step
    return lambda: whole(real, noise)


def _images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, *shape)).astype("f")


_LABELS = np.random.default_rng(0).integers(0, 10, 8)
STEPS: dict[str, Callable[[Any], Step]] = {
    "ResNet-18": supervised(resnet18, "cross_entropy", _images(8, 3, 64, 64), _LABELS),
    "MobileNet v2": supervised(mobilenet_v2, "cross_entropy", _images(8, 3, 64, 64), _LABELS),
    "super-resolution": supervised(super_resolution, "mse_loss", _images(4, 1, 64, 64), _images(4, 1, 192, 192)),
    "DCGAN": dcgan,
}


def compared(name: str, ours: Step, theirs: Step, tolerance: float = 1e-4) -> None:
    """Raises AssertionError if the first results differ. Then lets a step be compiled."""
    a, b = np.asarray(ours()), theirs().numpy()
    gap = float(np.abs(a - b).max() / (np.abs(b).max() + 1e-12))
    if not gap < tolerance:
        raise AssertionError(f"{name}: results differ by {gap:.1e}")
    for _ in range(3):
        ours()
    theirs()


def timed(ours: Step, theirs: Step, rounds: int) -> tuple[float, float]:
    """The minimum seconds of a call of each, measured alternately."""
    counts = []
    for step in (ours, theirs):
        step()
        begin = time.perf_counter()
        step()
        counts.append(max(1, int(0.004 / (time.perf_counter() - begin))))
    best = [math.inf, math.inf]
    for _ in range(rounds):
        for i, step in enumerate((ours, theirs)):
            time.sleep(0.0005)  # the other library's threads no longer spin
            begin = time.perf_counter()
            for _ in range(counts[i]):
                step()
            best[i] = min(best[i], (time.perf_counter() - begin) / counts[i])
    return best[0], best[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.convolutions", description=__doc__)
    parser.add_argument("--only", default="*")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--steps", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    tracer.set_num_threads(options.threads)
    ratios: dict[str, list[float]] = {}
    for name in LAYERS if options.layers or not options.steps else ():
        if not fnmatch.fnmatch(name, options.only):
            continue
        pairs, flops = layer(name)
        cells = []
        for which, (ours, theirs) in pairs.items():
            with torch.no_grad():
                compared(f"{name}, {which}", ours, theirs)
                a, b = timed(ours, theirs, options.rounds)
            ratios.setdefault(which, []).append(b / a)
            cells.append(f"{which} {flops / a / 1e9:6.1f} {flops / b / 1e9:6.1f} {b / a:5.2f}")
        print(f"{name:28}", "   ".join(cells), flush=True)
    for which, found in ratios.items():
        print(f"{which}: mean {statistics.geometric_mean(found):.2f}, minimum {min(found):.2f}")
    for name, build in STEPS.items() if options.steps or not options.layers else ():
        if fnmatch.fnmatch(name, options.only):
            ours, theirs = build(tracer), build(torch)
            compared(name, ours, theirs, 1e-3)
            a, b = timed(ours, theirs, options.rounds)
            print(f"{name:28} {a * 1e3:8.1f} ms, PyTorch {b * 1e3:8.1f} ms {b / a:5.2f}", flush=True)


if __name__ == "__main__":
    main()
