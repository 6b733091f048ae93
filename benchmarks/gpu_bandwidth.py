"""The share of a GPU's bandwidth that memory-bound kernels reach: ``make check-gpu``, on a machine with a GPU.

    python -m benchmarks.gpu_bandwidth [--write]

The limit is the measured bandwidth of a copy on the device. A program's bandwidth is the number of bytes that it must move
divided by its kernels' time. Exits with code 1 if a share is below 85%.
"""

from __future__ import annotations

import argparse
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tracer.ir import pipeline
from tracer.ir.parse import parse_graph
from tracer.runtime.programs.layout import Layout

from .launcher import Device, Memory, NoDevice

LEAST = 0.85
_CHAIN = """\
func @chain(%x: f32[{n}]) -> f32[{n}] {{
  %a: f32[{n}] = full {{value=1.5, shape=({n}), dtype="f32"}}
  %b: f32[{n}] = full {{value=0.5, shape=({n}), dtype="f32"}}
  %y: f32[{n}] = mul %x, %a
  %z: f32[{n}] = add %y, %b
  %c: f32[{n}] = full {{value=0.7071067811865476, shape=({n}), dtype="f32"}}
  %h: f32[{n}] = mul %z, %c
  %e: f32[{n}] = erf %h
  %o: f32[{n}] = full {{value=1, shape=({n}), dtype="f32"}}
  %p: f32[{n}] = add %e, %o
  %q: f32[{n}] = mul %z, %b
  %g: f32[{n}] = mul %p, %q
  %r: f32[{n}] = mul %g, %x
  return %r
}}
"""
_SOFTMAX = """\
func @softmax(%x: f32[{m},{n}]) -> f32[{m},{n}] {{
  %m: f32[{m}] = max %x {{axes=(1)}}
  %mb: f32[{m},{n}] = broadcast %m {{shape=({m},{n}), axes=(0)}}
  %d: f32[{m},{n}] = sub %x, %mb
  %e: f32[{m},{n}] = exp %d
  %s: f32[{m}] = sum %e {{axes=(1)}}
  %sb: f32[{m},{n}] = broadcast %s {{shape=({m},{n}), axes=(0)}}
  %y: f32[{m},{n}] = div %e, %sb
  return %y
}}
"""
_LAYER_NORM = """\
func @layer_norm(%x: f32[{m},{n}], %w: f32[{n}], %b: f32[{n}]) -> f32[{m},{n}] {{
  %c: f32[{m}] = full {{value={n}, shape=({m}), dtype="f32"}}
  %t: f32[{m}] = full {{value=1e-05, shape=({m}), dtype="f32"}}
  %s: f32[{m}] = sum %x {{axes=(1)}}
  %u: f32[{m}] = div %s, %c
  %ub: f32[{m},{n}] = broadcast %u {{shape=({m},{n}), axes=(0)}}
  %d: f32[{m},{n}] = sub %x, %ub
  %q: f32[{m},{n}] = square %d
  %v: f32[{m}] = sum %q {{axes=(1)}}
  %v1: f32[{m}] = div %v, %c
  %v2: f32[{m}] = add %v1, %t
  %r: f32[{m}] = rsqrt %v2
  %rb: f32[{m},{n}] = broadcast %r {{shape=({m},{n}), axes=(0)}}
  %n: f32[{m},{n}] = mul %d, %rb
  %wb: f32[{m},{n}] = broadcast %w {{shape=({m},{n}), axes=(1)}}
  %bb: f32[{m},{n}] = broadcast %b {{shape=({m},{n}), axes=(1)}}
  %y: f32[{m},{n}] = mul %n, %wb
  %z: f32[{m},{n}] = add %y, %bb
  return %z
}}
"""
_MATRIX = {"m": 65_536, "n": 1024}
PROGRAMS = {
    "gelu chain, 64M elements": _CHAIN.format(n=1 << 26),
    "softmax, 65536 x 1024": _SOFTMAX.format(**_MATRIX),
    "layer norm, 65536 x 1024": _LAYER_NORM.format(**_MATRIX),
    "softmax, 8192 x 8192": _SOFTMAX.format(m=8192, n=8192),
}


def copy_bandwidth(device: Device) -> float:
    """The bandwidth, read plus written, of a copy of the largest size that certainly fits, in bytes per second."""
    source, target = Memory(1 << 29), Memory(1 << 29)
    return 2 * source.nbytes / device.milliseconds(lambda: device.copy(target, source)) * 1e3


def bandwidth(device: Device, text: str) -> float:
    """The bytes that a program must move divided by its kernels' time."""
    layout = Layout(pipeline.run(parse_graph(text), pipeline.COMPILE_FOR_GRIDS), "cuda")
    layout.write()
    memory: dict[object, Memory] = {}
    calls = []
    status = Memory(16)
    status.write(np.zeros(2, np.int64))
    for step in layout.steps:
        kind = layout.plan.kinds[step.kind]
        assert step.kernel is not None
        for v in step.arrays:
            place = layout.place(v)
            if place not in memory:
                memory[place] = Memory(v.type.nbytes)
                values = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
                memory[place].write(np.resize(values, v.shape))
        arguments = [*(memory[layout.place(v)] for v in step.arrays), status, *step.kernel.values, 0, kind.domain]
        calls.append((device.function(kind.source, kind.launch[1]), kind.launch, arguments))

    def run() -> None:
        for call in calls:
            device.launch(*call)

    moved = sum(v.type.nbytes for v in (*layout.graph.inputs, *layout.graph.outputs))
    return moved / device.milliseconds(run) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="to benchmarks/RESULTS-GPU.md")
    options = parser.parse_args()
    try:
        device = Device()
    except NoDevice as e:
        sys.exit(f"gpu_bandwidth: {e}")
    roof = copy_bandwidth(device)
    shares = {name: bandwidth(device, text) / roof for name, text in PROGRAMS.items()}
    lines = [
        "# Memory-bound kernels on a GPU",
        "",
        f"{device.name} ({device.architecture}), driver {device.driver_version}, numba-cuda {version('numba-cuda')}, "
        f"nvJitLink {version('nvidia-nvjitlink')}, Python {platform.python_version()}.",
        f"A copy on the device moves {roof / 1e9:.0f} GB/s. Made by `make check-gpu`.",
        "",
        "| program | GB/s | share of the copy's bandwidth |",
        "| --- | --- | --- |",
        *(f"| {name} | {share * roof / 1e9:.0f} | {share:.0%} |" for name, share in shares.items()),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        Path(__file__).with_name("RESULTS-GPU.md").write_text(text)
    slow = [name for name, share in shares.items() if share < LEAST]
    if slow:
        sys.exit(f"gpu_bandwidth: below {LEAST:.0%} of the copy's bandwidth: {', '.join(slow)}")


if __name__ == "__main__":
    main()
