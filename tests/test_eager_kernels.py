"""Functions that eager code computes by NumPy on small arrays, and in the first calls, and then by kernels: the same bits."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import tracer
from tracer.core import kernels
from tracer.ir import ops as P
from tracer.runtime.support import allocation

pytestmark = pytest.mark.filterwarnings("error::tracer.TraceWarning")


@pytest.fixture
def at_once(monkeypatch):
    for primitive in (P.relu, P.where):
        monkeypatch.setattr(primitive.eager, "later", 0)


def same(found, expected):
    found = np.ascontiguousarray(found.numpy())
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert np.array_equal(found.view(np.uint8), np.ascontiguousarray(expected).view(np.uint8))


def drawn(dtype, shape=(8, 64, 129)):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    x[0, 0, :6] = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0]
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(8, 64, 129), (1, 181, 182), (2, 2, 8192)])
def test_the_same_bits(at_once, dtype, shape):
    x, y = drawn(dtype, shape), drawn(dtype, shape)[::-1].copy()
    mask = x > 0.1
    a, b, m = map(tracer.from_numpy, (x, y, mask))
    same(a.relu(), np.maximum(x, 0))
    same(tracer.where(m, a, b), np.where(mask, x, y))
    same(a.masked_fill(m, -1e9), np.where(mask, dtype(-1e9), x))
    same(tracer.where(m, 2, b), np.where(mask, dtype(2), y))
    same(tracer.where(m, tracer.tensor(0.5, dtype=a.dtype), b), np.where(mask, dtype(0.5), y))
    same(tracer.where(m, float("inf"), float("nan")), np.where(mask, np.float32(np.inf), np.float32(np.nan)))


def test_other_operands_are_left_to_numpy(at_once):
    x = drawn(np.float32)
    mask = x > 0
    a, m = tracer.from_numpy(x), tracer.from_numpy(mask)
    same(a.transpose(0, 1).relu(), np.maximum(x.transpose(1, 0, 2), 0))
    same(tracer.where(m[:, :1], a, 0.0), np.where(mask[:, :1], x, np.float32(0)))
    same(tracer.where(m, a, a.double()), np.where(mask, x, x.astype(np.float64)))
    same(tracer.where(m, tracer.ones(x.shape, dtype=tracer.int32), 3), np.where(mask, np.int32(1), np.int32(3)))
    whole = np.arange(-50_000, 50_000)
    same(tracer.from_numpy(whole).relu(), np.maximum(whole, 0))
    assert tracer.where(m, m, ~m).all()


def test_gradients(at_once):
    x = tracer.from_numpy(drawn(np.float64)).nan_to_num(0.0, 1.0, -1.0).requires_grad_()
    mask = x > 0.5
    tracer.where(mask, x.relu() * 2, x.relu()).sum().backward()
    assert tracer.equal(x.grad, (x > 0) * (1.0 + mask))


def test_numpy_computes_until_a_kernel_pays(monkeypatch):
    function = kernels._Exact(P.relu, 3 * 2**14)
    used = []
    monkeypatch.setattr(kernels, "_elementwise_kernel", lambda *a: used.append(a))
    x = np.ones(2**14, np.float32)
    for _ in range(3):
        function(x)
        function(x[:100])
    assert not used
    assert function(x).sum() == x.size and len(used) == 1  # no kernel: NumPy again


PAGES = """
import resource, sys
import tracer
x = tracer.ones(2**20)
for _ in range(5):
    x * 2 + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    x * 2 + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the options are glibc's")
def test_freed_memory_is_kept():
    """Results of later operations need no new pages."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", PAGES], env=plain, capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 200


def test_options_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    monkeypatch.setattr(allocation.ctypes, "CDLL", None)  # a call would raise
    allocation.keep_freed_memory()
