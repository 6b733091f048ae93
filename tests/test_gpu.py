"""Kernels on a GPU, if there is one: ``make check-gpu``. The checks of ``test_cuda``, with a device instead of the emulator."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

import test_cuda
from checks import cast_args, graph_of
from emulated import Emulated
from programs import RandomGraph, arguments
from samples import cases
from test_cuda import ARGUMENTS, COLUMNS, SHAPES, SOFTMAX, UNITS, same_functions
from traced_workloads import graphs

from benchmarks.launcher import Device, Memory, NoDevice
from benchmarks.workloads import WORKLOADS
from tracer.ir.autodiff import vjp
from tracer.ir.parse import parse_graph

pytestmark = pytest.mark.gpu
__all__ = ["same_functions"]


@pytest.fixture(scope="module")
def device():
    try:
        return Device()
    except NoDevice as e:
        pytest.skip(str(e))


@pytest.fixture(autouse=True)
def on_device(device, monkeypatch):
    """Programs run on the device: ``Emulated`` launches there."""

    def launch(self, kind, kernel, views, shared):
        self.launches += 1
        places = {v.ctypes.data: Memory(v.nbytes) for v in views}
        memory = [places[v.ctypes.data] for v in views]
        for m, v in zip(memory, views, strict=True):
            m.write(v)
        function = device.function(kind.source, kind.launch[1])
        device.launch(function, kind.launch, [*memory, *kernel.values, 0, kind.domain])
        results = [np.empty_like(v) for v in views]
        for m, r in zip(memory, results, strict=True):
            m.read(r)
        return results

    monkeypatch.setattr(Emulated, "_launch", launch)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples(dtype):
    for _, primitive, sample in cases():
        args = cast_args(sample.args, dtype)
        test_cuda.check(graph_of(primitive, args, sample.attrs), args)


@pytest.mark.parametrize("block", range(10))
def test_random_programs(block):
    for seed in range(20_000 + 10 * block, 20_010 + 10 * block):
        graph = RandomGraph(seed, 4 + seed % 20, empty=seed % 3 == 0).finish()
        test_cuda.check(graph, arguments(graph, seed))
    graph = vjp(RandomGraph(30_000 + block, 8, smooth=True).finish())
    test_cuda.check(graph, arguments(graph, 30_000 + block))


@pytest.mark.parametrize("workload", WORKLOADS, ids=[w.name for w in WORKLOADS])
def test_workloads(workload):
    for _, graph, arrays in graphs(workload):
        test_cuda.check(graph, arrays, 2 * UNITS)


@pytest.mark.parametrize("text", [SOFTMAX, COLUMNS, ARGUMENTS], ids=["softmax", "columns", "arguments"])
def test_extents(text):
    """Small enough for compute-sanitizer."""
    for m, n in SHAPES:
        graph = parse_graph(text.format(t="f32", m=m, n=n))
        rng = np.random.default_rng(m * n)
        test_cuda.check(graph, [rng.integers(-8, 8, v.shape).astype(np.float32) / 4 for v in graph.inputs])
