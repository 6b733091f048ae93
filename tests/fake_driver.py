"""NVIDIA's driver and cuBLASLt without a GPU: some functions of their Python bindings, on the emulated device's memory.

Kernels arrive as PTX instead of machine code. Arguments are read from the packed block. Products are computed as cuBLASLt
documents them: column by column, from descriptions that are set attribute by attribute.
"""

import ctypes
import types
from functools import partialmethod

import ml_dtypes
import numpy as np
from cuda.bindings import driver as real

from tracer.runtime import emulator
from tracer.runtime.devices.emulated import EmulatedCuda

OK = real.CUresult.CUDA_SUCCESS
DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
BEFORE = (
    *("cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuDeviceGetName", "cuDeviceTotalMem"),
    *("cuDeviceGetAttribute", "cuCtxSetCurrent", "cuCtxPushCurrent"),
)


class Driver:
    """Some functions of ``cuda.bindings.driver``. A stream that captures notes work instead of doing it."""

    CUresult, CUdevice_attribute = real.CUresult, real.CUdevice_attribute
    CUstream_flags, CUevent_flags, CUstreamCaptureMode = real.CUstream_flags, real.CUevent_flags, real.CUstreamCaptureMode
    CUDA_KERNEL_NODE_PARAMS = types.SimpleNamespace

    def __init__(self):
        self.memory = EmulatedCuda(0)
        self.current = None
        self.calls = []
        self.captured = {}
        self.functions, self.raised, self.contexts = [], [], []
        kinds = [ctypes.c_void_p, *[ctypes.c_uint] * 7, *[ctypes.c_void_p] * 3]
        self.native = ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(self.cuLaunchKernel)
        self.sizes = {}

    def __getattribute__(self, name):
        if name[:2] == "cu" and name[2].isupper() and name != "cuLaunchKernel":
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
        assert not self.captured, "the context is waited for while a stream captures"
        self.memory.synchronize()
        return (OK,)

    def cuCtxPushCurrent(self, context):
        self.contexts.append(self.current)
        self.current = context
        return (OK,)

    def cuCtxPopCurrent(self):
        found, self.current = self.current, self.contexts.pop()
        return OK, found

    def cuStreamQuery(self, stream):
        return (OK if self.memory.happened(stream) else real.CUresult.CUDA_ERROR_NOT_READY,)

    # Memory.

    def cuMemAlloc(self, nbytes):
        if self.memory._used + nbytes > 1 << 30:
            return real.CUresult.CUDA_ERROR_OUT_OF_MEMORY, 0
        self.memory.used.add(address := self.memory.reserve(nbytes))
        self.sizes[address] = nbytes
        return OK, address

    def cuMemFree(self, address):
        self.memory.release(address, self.sizes.pop(address))
        return (OK,)

    def cuMemAllocHost(self, nbytes):
        return OK, self.memory.reserve_host(nbytes)

    def cuMemFreeHost(self, address):
        self.memory.release_host(address, 0)
        return (OK,)

    def cuMemcpyDtoHAsync(self, to, source, nbytes, stream):
        out = np.frombuffer((ctypes.c_char * nbytes).from_address(to), np.uint8)
        self._started(stream, lambda: self.memory.read(source, out, wait=False))
        return (OK,)

    def cuMemcpyHtoDAsync(self, to, source, nbytes, stream):
        data = np.frombuffer((ctypes.c_char * nbytes).from_address(source), np.uint8)
        self._started(stream, lambda: self.memory.write(to, data, wait=False))
        return (OK,)

    def cuMemcpyDtoDAsync(self, to, source, nbytes, stream):
        self._started(stream, lambda: self.memory.copy(to, source, nbytes))
        return (OK,)

    def _filled(self, address, value, count, stream, nbytes):
        self._started(stream, lambda: self.memory.fill(address, value.to_bytes(nbytes, "little"), count))
        return (OK,)

    cuMemsetD8Async = partialmethod(_filled, nbytes=1)
    cuMemsetD16Async = partialmethod(_filled, nbytes=2)
    cuMemsetD32Async = partialmethod(_filled, nbytes=4)

    def _started(self, stream, work):
        assert stream not in self.captured, "work that cannot be captured"
        with self.memory.using_stream(stream):
            work()

    # Kernels.

    def cuModuleLoadData(self, code):
        return OK, emulator.Kernel(bytes(code).decode())

    def cuModuleGetFunction(self, module, name):
        assert name == b"kernel"
        self.functions.append(module)
        return OK, len(self.functions) - 1

    def cuLaunchKernel(self, function, x, y, z, threads, ty, tz, shared, stream, parameters, extra):
        """Called by native code: nothing is raised here."""
        self.calls.append("cuLaunchKernel")
        try:
            assert (y, z, ty, tz, shared, parameters) == (1, 1, 1, 1, 0, None)
            words = _unpacked(extra)
            self._started(stream or 0, lambda: self._launch(stream or 0, function or 0, x, threads, words))
        except BaseException as e:
            self.raised.append(e)
            return 700  # CUDA_ERROR_ILLEGAL_ADDRESS
        return 0

    def _launch(self, place, function, blocks, threads, words, after=()):
        kernel = self.functions[function]
        self.memory.launch(self.memory.order.start(place, "a kernel", after), kernel, blocks, threads, words)

    # Streams and events.

    def cuStreamCreateWithPriority(self, flags, priority):
        assert flags == real.CUstream_flags.CU_STREAM_NON_BLOCKING
        return OK, self.memory.create_stream(priority)

    def cuStreamSynchronize(self, stream):
        self.memory.synchronize(stream)
        return (OK,)

    def cuEventCreate(self, flags):
        return OK, types.SimpleNamespace(event=None, timed=not flags)

    def cuEventRecord(self, event, stream):
        with self.memory.using_stream(stream):
            event.event = self.memory.event()
        return (OK,)

    def cuStreamWaitEvent(self, stream, event, flags):
        with self.memory.using_stream(stream):
            self.memory.wait(event.event)
        return (OK,)

    def cuEventQuery(self, event):
        return (OK if self.memory.happened(event.event) else real.CUresult.CUDA_ERROR_NOT_READY,)

    def cuEventSynchronize(self, event):
        self.memory.synchronize(event.event)
        return (OK,)

    def cuEventElapsedTime(self, start, end):
        assert start.timed and end.timed
        return OK, self.memory.elapsed(start.event, end.event)

    def cuEventDestroy(self, event):
        return (OK,)

    # Graphs: nodes, each a task and its predecessors. An executable graph has its own copies.

    def cuGraphCreate(self, flags):
        return OK, []

    def cuGraphAddKernelNode(self, graph, before, count, parameters):
        assert len(before or ()) == count and all(node in range(len(graph)) for node in before or ())
        graph.append((_task(parameters), list(before or ())))
        return OK, len(graph) - 1

    def cuGraphAddChildGraphNode(self, graph, before, count, child):
        assert len(before or ()) == count and all(node in range(len(graph)) for node in before or ())
        graph.append((list(child), list(before or ())))
        return OK, len(graph) - 1

    def cuGraphInstantiate(self, graph, flags):
        return OK, list(graph)

    def cuGraphExecKernelNodeSetParams(self, executable, node, parameters):
        executable[node] = _task(parameters), executable[node][1]
        return (OK,)

    def cuGraphExecChildGraphNodeSetParams(self, executable, node, child):
        executable[node] = list(child), executable[node][1]
        return (OK,)

    def cuGraphLaunch(self, executable, stream):
        order = self.memory.order
        before, works = order.start(stream, "a graph").clock, []
        for i, (task, after) in enumerate(executable):
            clocks, place = [before, *(works[j] for j in after)], f"node {i} in stream {stream}"
            if isinstance(task, list):
                for product in task:
                    product(order.start(place, "a product", clocks))
            else:
                self._launch(place, *task, after=clocks)
            works.append(order.clock(place))
        order.wait(stream, emulator.joined(*works))
        return (OK,)

    def cuGraphDestroy(self, graph):
        graph.clear()
        return (OK,)

    cuGraphExecDestroy = cuGraphDestroy

    def cuStreamBeginCapture(self, stream, mode):
        assert stream and stream not in self.captured
        self.captured[stream] = []
        return (OK,)

    def cuStreamEndCapture(self, stream):
        return OK, self.captured.pop(stream)


def _unpacked(extra):
    one, block, two, size, end = (ctypes.c_void_p * 5).from_address(extra)
    assert (one, two, end) == (1, 2, None)
    return list((ctypes.c_int64 * (ctypes.c_size_t.from_address(size).value // 8)).from_address(block))


def _task(p):
    assert (p.gridDimY, p.gridDimZ, p.blockDimY, p.blockDimZ) == (1, 1, 1, 1)
    return p.func, p.gridDimX, p.blockDimX, _unpacked(p.extra)


class Names:
    """An enumeration: each name is its own value's."""

    def __init__(self, **values):
        self.values = values

    def __getattr__(self, name):
        return self.values.get(name, name)


class Lt:
    """``nvmath.bindings.cublasLt``."""

    MatmulDescAttribute = MatmulPreferenceAttribute = MatrixLayoutAttribute = Names()
    Epilogue = Names(BIAS=4)
    cuBLASLtError = type("cuBLASLtError", (Exception,), {})
    matmul_heuristic_result_dtype = np.dtype(
        [("algo", "u8", 8), ("workspace_size", "u8"), ("state", "i4"), ("waves_count", "f4"), ("reserved", "i4", 4)]
    )

    def __init__(self, driver):
        self.driver = driver

    def create(self):
        return "handle"

    def matmul_desc_create(self, compute, scale):
        assert DTYPES[scale] is (np.float64 if compute == "64F" else np.float32)
        return {"compute": compute}

    def matrix_layout_create(self, kind, rows, columns, leading):
        assert leading >= max(rows, 1)
        return {"dtype": np.dtype(DTYPES[kind]), "rows": rows, "columns": columns, "leading": leading}

    def matmul_preference_create(self):
        return {}

    def _set(self, described, attribute, address, size):
        width = {"BIAS_POINTER": "i8", "STRIDED_BATCH_OFFSET": "i8", "MAX_WORKSPACE_BYTES": "u8"}.get(attribute, "i4")
        (described[attribute],) = np.frombuffer(ctypes.string_at(address, size), width).tolist()

    matmul_desc_set_attribute = matrix_layout_set_attribute = matmul_preference_set_attribute = _set

    def _destroy(self, described):
        described.clear()

    matmul_desc_destroy = matrix_layout_destroy = matmul_preference_destroy = _destroy

    def matmul_algo_get_heuristic(self, handle, operation, a, b, c, d, preference, requested, results, count):
        assert c is d and requested == 1 and preference["MIN_ALIGNMENT_A_BYTES"] == 16
        assert a["BATCH_COUNT"] == b["BATCH_COUNT"] == d["BATCH_COUNT"]
        found = np.frombuffer((ctypes.c_char * 96).from_address(results), self.matmul_heuristic_result_dtype)
        found["algo"], found["state"] = 7, 0
        ctypes.c_int32.from_address(count).value = 1

    def matmul(self, handle, operation, alpha, a, al, b, bl, beta, c, cl, d, dl, algorithm, workspace, size, stream):
        number = ctypes.c_double if operation["compute"] == "64F" else ctypes.c_float
        assert (number.from_address(alpha).value, number.from_address(beta).value) == (1, 0) and c == d and cl is dl
        assert ctypes.c_uint64.from_address(algorithm).value == 7 and self.driver.memory.bytes_at(workspace, size).size
        given, layouts = dict(operation), [dict(x) for x in (al, bl, dl)]
        run = lambda work: self._run(work, given, (a, b, d), layouts)
        if stream in self.driver.captured:
            self.driver.captured[stream].append(run)
        else:
            run(self.driver.memory.order.start(stream, "a product"))

    def _run(self, work, operation, addresses, layouts):
        memory = self.driver.memory
        wide = np.float64 if operation["compute"] == "64F" else np.float32

        def stored(address, layout, i, written=False):
            rows, columns, leading, dtype = (layout[name] for name in ("rows", "columns", "leading", "dtype"))
            where = address + i * layout["STRIDED_BATCH_OFFSET"] * dtype.itemsize
            data = memory._noted(work, where, leading * columns * dtype.itemsize, written=written)
            return data.view(dtype).reshape(columns, leading)[:, :rows].T

        for i in range(layouts[2]["BATCH_COUNT"]):
            x, y = (stored(address, layout, i) for address, layout in zip(addresses[:2], layouts[:2], strict=True))
            x, y = (x.T if operation.get("TRANSA") else x), (y.T if operation.get("TRANSB") else y)
            result = x.astype(wide) @ y.astype(wide)
            out = stored(addresses[2], layouts[2], i, written=True)
            if operation.get("EPILOGUE") == 4:
                bias = memory._noted(work, operation["BIAS_POINTER"], out.shape[0] * out.dtype.itemsize, written=False)
                result = result + bias.view(out.dtype).astype(wide)[:, None]
            out[...] = result


def library(driver):
    """``nvmath.bindings``."""
    kinds = Names(COMPUTE_32F="32F", COMPUTE_64F="64F", COMPUTE_32F_FAST_TF32="TF32")
    cublas = types.SimpleNamespace(Operation=types.SimpleNamespace(N=0, T=1), ComputeType=kinds)
    return types.SimpleNamespace(cublas=cublas, cublasLt=Lt(driver))
