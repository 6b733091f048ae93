"""DLPack capsules: those of NumPy are opened, NumPy reads those that are made, and memory of a CUDA device is shared."""

import gc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marks import only_emulated

import tracer
from tracer.runtime.support import dlpack
from tracer.runtime.support.dlpack import capsule, opened

DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


class Exporter:
    """An array of another library, on the device of this kind and number."""

    def __init__(self, layout, device=(1, 0), owner=None, old=False):
        self.layout, self.device, self.owner, self.old = layout, device, owner, old

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream=None, **more):
        if self.old and more:
            raise TypeError("no such argument")
        self.stream = stream
        return capsule(self.layout, self.device, self.owner, versioned=bool(more.get("max_version")))


def views(dtype):
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    return [x, x.T, x[:, 1:, ::2], x[:, :0], x[1, 2, 3, ...], np.broadcast_to(x[:1], (2, 3, 4)).copy()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("versioned", [False, True])
def test_numpy_reads_capsules(dtype, versioned):
    for x in views(dtype):
        exporter = Exporter(x, owner=x, old=not versioned)
        y = np.from_dlpack(exporter)
        assert y.dtype == x.dtype and y.strides == x.strides and np.array_equal(y, x)
        assert y.size == 0 or np.shares_memory(x, y)
        del y
    gc.collect()
    assert not dlpack._exported


@pytest.mark.parametrize("dtype", DTYPES)
def test_capsules_of_numpy_are_opened(dtype):
    for x in views(dtype):
        found = opened(x.__dlpack__())
        assert (found.shape, found.dtype, found.device) == (x.shape, x.dtype, (1, 0))
        assert found.address == x.ctypes.data or not x.size
        y = tracer.from_dlpack(x.__dlpack__())
        assert y.tolist() == x.tolist() and (not x.size or y.data_ptr() == x.ctypes.data)
    read_only = np.arange(3.0)
    read_only.flags.writeable = False
    y = tracer.from_dlpack(read_only.__dlpack__(max_version=(1, 0)))
    assert y.data_ptr() != read_only.ctypes.data and y.tolist() == [0, 1, 2]


@given(st.lists(st.integers(0, 3), max_size=4), st.randoms(use_true_random=False))
def test_capsules_keep_strides(shape, random):
    axes = list(range(len(shape)))
    random.shuffle(axes)
    x = np.zeros(shape, np.float32).transpose(axes)
    found = opened(capsule(x, (2, 3), x, versioned=random.random() < 0.5))
    assert (found.shape, found.device) == (x.shape, (2, 3)) and (found.strides == x.strides or not x.size or not x.ndim)


def test_a_capsule_that_nobody_takes():
    x = np.ones(3)
    for versioned in (False, True):
        made = capsule(x, (1, 0), x, versioned)
        assert len(dlpack._exported) == 1
        del made
        assert not dlpack._exported


def test_a_capsule_is_used_once():
    made = np.ones(3).__dlpack__()
    tracer.from_dlpack(made)
    with pytest.raises(TypeError, match="used once"):
        tracer.from_dlpack(made)
    with pytest.raises(TypeError, match="must have __dlpack__"):
        tracer.from_dlpack(3)


def test_bfloat16():
    x = np.arange(3).astype(ml_dtypes.bfloat16)
    assert opened(capsule(x, (1, 0), x, True)).dtype == x.dtype
    with pytest.raises(BufferError, match="no dtype"):
        capsule(np.array(["a"]), (1, 0), None, True)


@pytest.mark.filterwarnings("ignore:(?s).*has no kernel for this device")
class TestDevices:
    @pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64", "bool", "complex64"])
    @pytest.mark.parametrize("old", [False, True])
    def test_memory_is_shared(self, cuda, dtype, old):
        x = tracer.arange(12).view(3, 4).to(getattr(tracer, dtype)).cuda()
        for part in (x, x.t(), x[1:, ::2], x[:, :0], x[1, 2]):
            assert part.__dlpack_device__() == (2, 0)
            data = part._data
            y = tracer.from_dlpack(Exporter(data.layout, (2, 0), data.memory, old))
            assert y.device == x.device and y.dtype is x.dtype and y.stride() == part.stride() and y.tolist() == part.tolist()
            assert not y.numel() or y.data_ptr() == part.data_ptr()
        y = tracer.from_dlpack(x)
        y.fill_(1)
        assert x.tolist() == y.tolist()
        assert tracer.from_dlpack(x, copy=True).data_ptr() != x.data_ptr() and tracer.from_dlpack(x, device="cpu").is_cpu
        del y
        gc.collect()
        assert not dlpack._exported

    def test_memory_lives_as_long_as_the_capsule(self, cuda):
        x = tracer.ones(1000, device="cuda")
        made, used = x.__dlpack__(), tracer.cuda.memory_allocated()
        del x
        assert tracer.cuda.memory_allocated() == used
        y = tracer.from_dlpack(made)
        assert y.sum().item() == 1000
        del y, made
        gc.collect()
        assert tracer.cuda.memory_allocated() < used

    def test_errors(self, cuda):
        x = tracer.ones(3, device="cuda")
        with pytest.raises(BufferError, match="require gradient"):
            x.clone().requires_grad_().__dlpack__()
        with pytest.raises(BufferError, match="without a copy"):
            x.__dlpack__(dl_device=(1, 0), copy=False)
        assert np.from_dlpack(Exporter(np.ones(2), owner=None)).tolist() == [1, 1]
        assert tracer.from_dlpack(x.__dlpack__(dl_device=(1, 0))).tolist() == [1, 1, 1]
        with pytest.raises(BufferError, match="CUDA device 7"):
            tracer.from_dlpack(Exporter(x._data.layout, (2, 7), x))
        with pytest.raises(BufferError, match="kind 10"):
            tracer.from_dlpack(capsule(np.ones(2), (10, 0), None, True))
        with pytest.raises(ValueError, match="copy"):
            tracer.from_dlpack(x, device="cpu", copy=False)

    @only_emulated("a GPU does not report races")
    def test_streams(self, cuda):
        """The exporter's work comes before the consumer's, in the stream that the consumer names."""
        side = tracer.cuda.Stream()
        x = tracer.ones(3, device="cuda") * 2
        made = x.__dlpack__(stream=side.cuda_stream)
        with tracer.cuda.stream(side):
            assert tracer.from_dlpack(made).tolist() == [2, 2, 2]
        x = tracer.ones(3, device="cuda") * 2
        made = x.__dlpack__(stream=-1)
        with tracer.cuda.stream(side), pytest.raises(tracer.runtime.emulator.Unordered):
            tracer.from_dlpack(made).tolist()
        tracer.cuda.synchronize()
        exporter = Exporter(x._data.layout, (2, 0), x)
        with tracer.cuda.stream(side):
            tracer.from_dlpack(exporter)
        assert exporter.stream == side.cuda_stream
        tracer.from_dlpack(exporter)
        assert exporter.stream == 1  # the default one
