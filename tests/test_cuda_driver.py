"""The calls of NVIDIA's driver and of cuBLASLt, with a driver that is not there (``fake_driver``)."""

import types

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

from cuda.bindings import driver as real
from fake_driver import Driver, library

import tracer
from tracer import nn
from tracer.nn import functional as F
from tracer.runtime.devices import USED, cuda_graph, device
from tracer.runtime.devices import cuda as module
from tracer.runtime.devices.array import to_device, to_host


@pytest.fixture
def gpu(monkeypatch):
    import sys

    fake = Driver()
    monkeypatch.setattr(module, "driver", fake)
    monkeypatch.setattr(cuda_graph, "driver", fake)
    monkeypatch.setattr(module, "cubin", lambda text, architecture: types.SimpleNamespace(code=text.encode()))
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "nvmath", types.ModuleType("nvmath"))
    monkeypatch.setitem(sys.modules, "nvmath.bindings", library(fake))
    sys.modules.pop("tracer.runtime.devices.cublas", None)
    before = dict(device._kinds)
    device.register("cuda", module.devices)
    yield device.device_named("cuda")
    device._kinds.clear()
    device._kinds.update(before)
    USED.clear()
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
