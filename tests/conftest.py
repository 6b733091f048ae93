"""The kernel cache of the tests, and the CPUs that code is generated for."""

import os
import tempfile
from pathlib import Path

import pytest

# Kernels compiled by tests go to a cache of their own, shared by the processes of one run and of the next.
os.environ.setdefault("TRACER_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"tracer-tests-{os.getuid()}"))


@pytest.fixture(params=["host", "x86-64-v2", "x86-64-v3"])
def each_cpu(request):
    """Runs a test once for each CPU that this machine can stand in for."""
    from tracer.runtime import machine

    with machine.selecting(request.param) as cpu:
        try:
            machine.check_runs_here(cpu)
        except RuntimeError as e:
            pytest.skip(str(e))
        yield cpu
