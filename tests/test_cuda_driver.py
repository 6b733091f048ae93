"""The calls of NVIDIA's driver and of cuBLASLt, with a driver that is not there (``fake_driver``)."""

import ctypes
import gc
import importlib
import types
import warnings

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

from cuda.bindings import driver as real
from fake_driver import Driver, library

import tracer
from tracer import nn
from tracer.ir import pipeline
from tracer.nn import functional as F
from tracer.runtime.devices import USED, WITH_STREAMS, DeviceError, cuda_graph, device
from tracer.runtime.devices import cuda as module
from tracer.runtime.devices.array import to_device, to_host


@pytest.fixture
def gpu(monkeypatch, request):
    import sys

    fake = Driver()
    monkeypatch.setattr(module, "driver", fake)
    monkeypatch.setattr(cuda_graph, "driver", fake)
    monkeypatch.setattr(module, "cubin", lambda text, architecture: types.SimpleNamespace(code=text.encode()))
    monkeypatch.setattr(module, "function_of_driver", lambda name: ctypes.cast(fake.native, ctypes.c_void_p).value)
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "nvmath", types.ModuleType("nvmath"))
    monkeypatch.setitem(sys.modules, "nvmath.bindings", library(fake))
    sys.modules.pop("tracer.runtime.devices.cublas", None)
    before = dict(device._kinds)
    device.register("cuda", module.devices)
    yield device.device_named("cuda")
    assert not fake.raised or request.node.name == "test_errors_of_a_launch"
    device._kinds.clear()
    device._kinds.update(before)
    USED.clear()
    WITH_STREAMS.clear()
    sys.modules.pop("tracer.runtime.devices.cublas", None)


def test_what_the_driver_says(gpu):
    assert (str(gpu), gpu.name, gpu.total_memory, gpu.architecture) == ("cuda:0", "a GPU", 1 << 30, "sm_90")
    assert tracer.cuda.get_device_name() == "a GPU" and tracer.cuda.device_count() == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("leads", [((), ()), ((3,), (3,)), ((2, 2), (2, 2)), ((3,), ()), ((), (3,))])
def test_products(gpu, dtype, ta, tb, leads):
    from tracer.ir.ops import matmul

    rng = np.random.default_rng(0)
    a, b = (
        rng.integers(-3, 4, (*lead, *(shape[::-1] if t else shape))).astype(getattr(tracer, dtype).numpy)
        for lead, shape, t in zip(leads, ((4, 5), (5, 7)), (ta, tb), strict=True)
    )
    found = to_host(gpu.apply(matmul, [to_device(a, gpu), to_device(b, gpu)], {"ta": ta, "tb": tb, "wide": False}))
    x, y = (z.astype(np.float64) for z in (a.swapaxes(-1, -2) if ta else a, b.swapaxes(-1, -2) if tb else b))
    assert found.dtype == a.dtype
    np.testing.assert_array_equal(found.astype(np.float64), x @ y)


def test_constants(gpu):
    """Numbers of 1, 2 and 4 bytes, and of 8 bytes with equal halves, are filled by the driver."""
    makes = [(0, "float64"), (1, "float64"), (2.5, "float32"), (-3, "int16"), (7, "uint8"), (-1, "int64"), (1.5, "bfloat16")]
    for value, dtype in makes:
        x = tracer.full((3, 5), value, dtype=getattr(tracer, dtype), device="cuda")
        assert x.tolist() == [[value] * 5] * 3
    names = [name for name in module.driver.calls if "Memset" in name]
    assert names == [f"cuMemsetD{bits}Async" for bits in (8, 32, 16, 8, 8, 16)]


def test_integer_products_are_the_hosts(gpu):
    with pytest.warns(UserWarning, match="matmul has no kernel"):
        x = tracer.arange(4).view(2, 2).cuda()
        assert (x @ x).tolist() == [[2, 3], [6, 11]]


@pytest.mark.filterwarnings("error:(?s).*runs eagerly", "ignore:(?s).*has no kernel for this device")
@pytest.mark.parametrize("traced", [False, True])
def test_training(gpu, traced):
    def losses(where):
        tracer.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).to(where)
        optimizer = tracer.optim.Adam(model.parameters(), 1e-2)
        x, y = tracer.randn(6, 8).to(where), tracer.randint(0, 4, (6,)).to(where)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = tracer.trace(step) if traced else step
        return [run(x, y).item() for _ in range(4)]

    np.testing.assert_allclose(losses("cuda"), losses("cpu"), rtol=1e-5)


def test_no_memory_left(gpu):
    with pytest.raises(tracer.cuda.OutOfMemoryError, match=r"CUDA out of memory. Tried to allocate 2.00 GiB"):
        gpu.allocate(2 << 30)


def test_errors_of_the_driver(gpu, monkeypatch):
    monkeypatch.setattr(Driver, "cuCtxSynchronize", lambda self: (real.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,))
    with pytest.raises(RuntimeError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        tracer.cuda.synchronize()


def test_without_a_driver(monkeypatch):
    none = lambda flags: (real.CUresult.CUDA_ERROR_NO_DEVICE,)
    monkeypatch.setattr(module, "driver", types.SimpleNamespace(cuInit=none, CUresult=real.CUresult))
    assert module.devices() == []


def test_launches_are_native_and_in_order(gpu):
    """The first run of a program launches its kernels in order; products are between them."""
    fake = module.driver
    f = tracer.trace(lambda x: ((x * 2).sum(0) * x).sum(1) @ x)
    x = tracer.arange(12.0).view(3, 4).cuda()
    f(x)
    fake.calls.clear()
    y = f(x)
    expected = ((x.cpu() * 2).sum(0) * x.cpu()).sum(1) @ x.cpu()
    assert y.tolist() == expected.tolist() and fake.calls.count("cuLaunchKernel") >= 2 and not fake.raised


def test_errors_of_a_launch(gpu, monkeypatch):
    x = tracer.ones(3).cuda()
    monkeypatch.setattr(Driver, "_launch", lambda *args: 1 / 0)
    with pytest.raises(DeviceError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        x * 3
    assert len(module.driver.raised) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 6), (2, 3, 4, 6)])
def test_a_layer_is_one_product_with_a_bias(gpu, dtype, shape):
    x, w, b = (tracer.randint(-3, 4, s).to(getattr(tracer, dtype)) for s in (shape, (5, 6), (5,)))
    f = tracer.trace(lambda x, w, b: F.linear(x, w, b))
    for _ in range(3):
        found = f(x.cuda(), w.cuda(), b.cuda())
        assert found.dtype is x.dtype and found.tolist() == F.linear(x, w, b).tolist()
    names = [op.primitive.name for op in pipeline.run(f.graphs()[0], pipeline.COMPILE_FOR_GRIDS).ops]
    assert names.count("addmm") == (dtype != "float64") and names.count("matmul") == (dtype == "float64")


# Streams and graphs.


def test_graphs(gpu):
    """From the third call on there is one launch; arguments are set again only if they changed."""
    fake = module.driver
    f = tracer.trace(lambda x, w, b: F.relu(F.linear(x, w, b)).sum(-1))
    x, w, b = tracer.randn(4, 6).cuda(), tracer.randn(300, 6).cuda(), tracer.randn(300).cuda()
    other = x.clone()
    expected = F.relu(F.linear(x.cpu(), w.cpu(), b.cpu())).sum(-1).tolist()

    def calls(x):
        fake.calls.clear()
        np.testing.assert_allclose(f(x, w, b).tolist(), expected, rtol=1e-5)
        interesting = ("cuLaunchKernel", "cuGraphInstantiate", "cuGraphLaunch")
        return [name for name in fake.calls if name in interesting or name.endswith("SetParams")]

    for _ in range(2):
        calls(x)
    assert calls(x) == ["cuGraphInstantiate", "cuGraphLaunch"]
    assert calls(x) == ["cuGraphLaunch"]
    assert calls(other) == ["cuGraphInstantiate", "cuGraphExecChildGraphNodeSetParams", "cuGraphLaunch"]  # the product reads it
    assert calls(x) == calls(other) == ["cuGraphLaunch"]
    kept = f(other, w, b)
    assert calls(other) == ["cuGraphExecChildGraphNodeSetParams", "cuGraphExecKernelNodeSetParams", "cuGraphLaunch"]
    assert calls(other) == ["cuGraphLaunch"]  # one of the two has the memory of this result
    assert kept.tolist() == f(other, w, b).tolist()


def test_products_follow_one_another_in_a_graph(gpu):
    """They share a workspace."""
    from tracer.runtime.devices.cuda_graph import _one_by_one
    from tracer.runtime.devices.device import Kernel, Product

    kernel, product = Kernel("", 1, 1), Product(None, None, None, False, False)
    assert _one_by_one([product, kernel, product, product], [[], [], [1], [2]]) == [[], [], [1, 0], [2]]


@pytest.mark.parametrize("status", ["CUDA_ERROR_OUT_OF_MEMORY", "CUDA_ERROR_NOT_SUPPORTED"])
@pytest.mark.parametrize(
    "name",
    [
        *("cuGraphCreate", "cuGraphAddKernelNode", "cuGraphAddChildGraphNode", "cuGraphInstantiate", "cuStreamBeginCapture"),
        *("cuStreamEndCapture", "cuGraphExecKernelNodeSetParams", "cuGraphExecChildGraphNodeSetParams"),
    ],
)
def test_without_a_graph_kernels_are_launched_one_by_one(gpu, monkeypatch, name, status):
    f = tracer.trace(lambda x, w: F.relu(x @ w).sum(-1))
    arguments = [(tracer.randn(4, 6).cuda(), tracer.randn(6, 300).cuda()) for _ in range(5)]
    result = (getattr(real.CUresult, status), *([None] if "SetParams" not in name and name != "cuStreamBeginCapture" else []))
    original, runs = getattr(Driver, name), []

    def fails(self, *given):
        if name == "cuStreamEndCapture":
            original(self, *given)
        return result

    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        patch.setattr(Driver, name, fails)
        warnings.simplefilter("always")
        for x, w in arguments:
            runs.append(f(x, w))
    for (x, w), y in zip(arguments, runs, strict=True):
        np.testing.assert_allclose(y.cpu().numpy(), F.relu(x.cpu() @ w.cpu()).sum(-1).numpy(), rtol=1e-4, atol=1e-5)
    (warning,) = [str(w.message) for w in caught if "one by one" in str(w.message)]
    assert ("memory" if "MEMORY" in status else status) in warning
    module.driver.calls.clear()
    assert f(*arguments[0]).tolist() == runs[0].tolist() and "cuGraphLaunch" not in module.driver.calls


def test_an_error_of_a_graph_launch(gpu, monkeypatch):
    """What it would have computed is lost; the next call starts again."""
    f = tracer.trace(lambda x: (x * 2).sum(0) @ x)
    x = tracer.randn(4, 4).cuda()
    for _ in range(3):
        expected = f(x).tolist()
    with monkeypatch.context() as patch:
        patch.setattr(Driver, "cuGraphLaunch", lambda *args: (real.CUresult.CUDA_ERROR_LAUNCH_FAILED,))
        with pytest.raises(DeviceError, match="CUDA_ERROR_LAUNCH_FAILED"):
            f(x)
    assert f(x).tolist() == expected


def test_graphs_in_streams(gpu):
    f = tracer.trace(lambda x, w: (x @ w) * 2)
    x, w = tracer.randn(4, 4).cuda(), tracer.randn(4, 4).cuda()
    expected = ((x.cpu() @ w.cpu()) * 2).tolist()
    streams = [tracer.cuda.Stream(), tracer.cuda.Stream(), None]
    for stream in streams * 3:
        with tracer.cuda.stream(stream):
            y = f(x, w)
            tracer.cuda.current_stream().synchronize()
        np.testing.assert_allclose(y.tolist(), expected, rtol=1e-5)


def test_graphs_are_destroyed(gpu):
    f = tracer.trace(lambda x: (x * 2).sum(0) @ x)
    x = tracer.randn(4, 4).cuda()
    for _ in range(4):
        f(x)
    fake = module.driver
    fake.calls.clear()
    del f
    gc.collect()
    assert {"cuGraphExecDestroy", "cuGraphDestroy"} <= set(fake.calls)


def test_events_and_page_locked_memory(gpu):
    start, end, side = tracer.cuda.Event(enable_timing=True), tracer.cuda.Event(enable_timing=True), tracer.cuda.Stream()
    x = tracer.arange(6.0).pin_memory()
    with tracer.cuda.stream(side):
        start.record()
        y = (x.to("cuda", non_blocking=True) * 2).to("cpu", non_blocking=True)
        end.record()
    assert not end.query()
    end.synchronize()
    assert y.tolist() == (x * 2).tolist() and start.elapsed_time(end) > 0
    assert {"cuMemAllocHost", "cuEventQuery", "cuStreamCreateWithPriority"} <= set(module.driver.calls)


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_only_if_it_is_allowed(gpu, monkeypatch, allowed):
    cublas = importlib.import_module("tracer.runtime.devices.cublas")

    seen = []
    create = cublas.lt.matmul_desc_create
    monkeypatch.setattr(cublas.lt, "matmul_desc_create", lambda compute, scale: seen.append(compute) or create(compute, scale))
    tracer.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        x = tracer.randn(3, 3).cuda()
        f = tracer.trace(lambda x: x @ x)
        for _ in range(2):
            f(x)
        (x.double() @ x.double()).sum()
        (x.bfloat16() @ x.bfloat16()).sum()
    finally:
        tracer.set_float32_matmul_precision("highest")
    assert seen == ["TF32" if allowed else "32F", "64F", "32F"]
