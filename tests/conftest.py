"""The kernel cache of the tests, the tested CPUs, and the garbage collector."""

import gc
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Hypothesis draws the same examples in each run: one fails for what has changed. ``make test-fuzz`` runs many others.
settings.register_profile("same examples", derandomize=True)
settings.load_profile("same examples")

# Kernels compiled by tests go to a separate cache, shared by the processes of this run and later ones.
os.environ.setdefault("TRACER_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"tracer-tests-{os.getuid()}"))


@pytest.fixture(autouse=True, scope="module")
def _without_earlier_objects():
    """Takes what other modules have left, up to a million objects, out of the searches for garbage and for references."""
    gc.callbacks.clear()  # hypothesis has one that reads the clock, also while a function is recorded
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_numbers():
    """Random numbers of a test are the same in each run, and do not depend on the tests before it."""
    import numpy as np

    import tracer

    tracer.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(scope="module")
def cuda():
    """The first of two emulated CUDA devices; with ``TRACER_TEST_CUDA=gpu`` the first GPU."""
    from tracer.runtime.devices import USED, WITH_STREAMS, device

    if os.environ.get("TRACER_TEST_CUDA") == "gpu":
        yield device.device_named("cuda")
        return
    from tracer.runtime.devices.emulated import EmulatedCuda

    before = dict(device._kinds)
    device.register("cuda", lambda: [EmulatedCuda(0), EmulatedCuda(1)])
    yield device.device_named("cuda")
    device._kinds.clear()
    device._kinds.update(before)
    WITH_STREAMS.clear()
    USED.clear()  # backward passes of later tests are those of programs without devices


@pytest.fixture(autouse=True)
def _everywhere(request, monkeypatch):
    """With ``TRACER_TEST_DEVICE=cuda`` all tests make their tensors on that device. They print them as on the CPU."""
    if os.environ.get("TRACER_TEST_DEVICE") == "cuda":
        from tracer.core import printing

        pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")
        request.getfixturevalue("on_cuda")
        monkeypatch.setattr(printing, "place_of", lambda data: "")
    yield


@pytest.fixture
def on_cuda(cuda):
    """New tensors are made there."""
    import tracer

    tracer.set_default_device("cuda")
    yield
    tracer.set_default_device(None)


@pytest.fixture(params=["host", "x86-64-v2", "x86-64-v3"])
def each_cpu(request):
    """Runs a test once for each CPU whose code this machine can run."""
    from tracer.runtime.compiler import machine

    with machine.selecting(request.param) as cpu:
        try:
            machine.check_runs_here(cpu)
        except RuntimeError as e:
            pytest.skip(str(e))
        yield cpu
