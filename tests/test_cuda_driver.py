"""The calls of NVIDIA's driver and of cuBLAS, with a driver that is not there: its memory and kernels are emulated.

Kernels arrive as PTX instead of machine code. Arguments are read from the packed block, and products as cuBLAS documents them:
column by column.
"""

import ctypes
import types

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

import ml_dtypes
from cuda.bindings import driver as real

import tracer
from tracer import nn
from tracer.nn import functional as F
from tracer.runtime import emulator
from tracer.runtime.devices import USED, device
from tracer.runtime.devices import cuda as module
from tracer.runtime.devices.array import to_device, to_host
from tracer.runtime.devices.emulated import EmulatedCuda

OK = real.CUresult.CUDA_SUCCESS
DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}


class Driver:
    """Some functions of ``cuda.bindings.driver``."""

    CUresult, CUdevice_attribute = real.CUresult, real.CUdevice_attribute

    def __init__(self):
        self.memory = EmulatedCuda(0)
        self.current = None
        self.calls = []

    def __getattribute__(self, name):
        if name[:2] == "cu" and name[2].isupper():
            self.calls.append(name)
            assert name in BEFORE or self.current is not None, f"{name} without a context"
        return object.__getattribute__(self, name)

    def cuInit(self, flags):
        return (OK,)

    def cuDeviceGetCount(self):
        return OK, 1

    def cuDeviceGet(self, index):
        return OK, index

    def cuDevicePrimaryCtxRetain(self, device):
        return OK, "context"

    def cuDeviceGetName(self, length, device):
        return OK, b"a GPU".ljust(length, b"\0")

    def cuDeviceTotalMem(self, device):
        return OK, 1 << 30

    def cuDeviceGetAttribute(self, kind, device):
        return OK, 9 if "MAJOR" in kind.name else 0

    def cuCtxSetCurrent(self, context):
        self.current = context
        return (OK,)

    def cuCtxSynchronize(self):
        return (OK,)

    def cuMemAlloc(self, nbytes):
        if self.memory._used + nbytes > 1 << 30:
            return real.CUresult.CUDA_ERROR_OUT_OF_MEMORY, 0
        return OK, self.memory.reserve(nbytes)

    def cuMemFree(self, address):
        self.memory.release(address, self.memory._memory[address].size)
        return (OK,)

    def cuMemcpyDtoH(self, to, source, nbytes):
        data = self.memory.read(source, nbytes)
        ctypes.memmove(to, data.ctypes.data, nbytes)
        return (OK,)

    def cuMemcpyHtoD(self, to, source, nbytes):
        self.memory.write(to, np.frombuffer(ctypes.string_at(source, nbytes), np.uint8))
        return (OK,)

    def cuMemcpyDtoDAsync(self, to, source, nbytes, stream):
        self.memory.copy(to, source, nbytes)
        return (OK,)

    def cuModuleLoadData(self, code):
        return OK, emulator.Kernel(bytes(code).decode())

    def cuModuleGetFunction(self, module, name):
        assert name == b"kernel"
        return OK, module

    def cuLaunchKernel(self, kernel, x, y, z, threads, ty, tz, shared, stream, parameters, extra):
        assert (y, z, ty, tz, shared, stream, parameters) == (1, 1, 1, 1, 0, 0, 0)
        one, block, two, size, end = (ctypes.c_void_p * 5).from_address(extra)
        assert (one, two, end) == (1, 2, None)
        words = (ctypes.c_int64 * (ctypes.c_size_t.from_address(size).value // 8)).from_address(block)
        self.memory.run(kernel, (x, threads), list(words))
        return (OK,)


BEFORE = (
    *("cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuDeviceGetName", "cuDeviceTotalMem"),
    *("cuDeviceGetAttribute", "cuCtxSetCurrent"),
)


def cublas(memory):
    """``nvmath.bindings.cublas`` on emulated memory."""

    def matrices(address, kind, transposed, rows, columns, leading, stride, count):
        dtype = np.dtype(DTYPES[kind])
        height, width = (columns, rows) if transposed else (rows, columns)
        found = []
        for i in range(count):
            data = memory.bytes_at(address + i * stride * dtype.itemsize)
            stored = data[: leading * width * dtype.itemsize].view(dtype).reshape(width, leading)[:, :height].T
            found.append(stored.T if transposed else stored)
        return found

    def gemm(handle, ta, tb, m, n, k, alpha, a, at, lda, sa, b, bt, ldb, sb, beta, c, ct, ldc, sc, count, compute, algorithm):
        assert handle == "handle" and algorithm == -1 and lda >= (k if ta else m) and ldb >= (n if tb else k) and ldc >= m
        number = ctypes.c_double if compute == "64F" else ctypes.c_float
        assert number.from_address(alpha).value == 1 and number.from_address(beta).value == 0
        wide = np.float64 if compute == "64F" else np.float32
        for i, (x, y) in enumerate(
            zip(matrices(a, at, ta, m, k, lda, sa, count), matrices(b, bt, tb, k, n, ldb, sb, count), strict=True)
        ):
            result = np.matmul(x.astype(wide), y.astype(wide)).astype(DTYPES[ct])
            at_ = c + i * sc * result.itemsize
            memory.bytes_at(at_, result.nbytes)[:] = np.ascontiguousarray(result.T).reshape(-1).view(np.uint8)

    return types.SimpleNamespace(
        create=lambda: "handle",
        gemm_strided_batched_ex=gemm,
        Operation=types.SimpleNamespace(N=0, T=1),
        ComputeType=types.SimpleNamespace(COMPUTE_32F="32F", COMPUTE_64F="64F"),
    )


@pytest.fixture
def gpu(monkeypatch):
    import sys

    fake = Driver()
    monkeypatch.setattr(module, "driver", fake)
    monkeypatch.setattr(module, "cubin", lambda text, architecture: types.SimpleNamespace(code=text.encode()))
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "nvmath", types.ModuleType("nvmath"))
    monkeypatch.setitem(sys.modules, "nvmath.bindings", types.SimpleNamespace(cublas=cublas(fake.memory)))
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
