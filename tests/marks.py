"""Marks of tests that not every device can run. With ``TRACER_TEST_CUDA=gpu`` they run on this machine's GPUs, with
``TRACER_TEST_DEVICE=cuda`` tests of programs make their tensors on the emulated device.
"""

import os

import pytest

import tracer

ON_DEVICE = os.environ.get("TRACER_TEST_DEVICE") == "cuda"
_ON_GPU = os.environ.get("TRACER_TEST_CUDA") == "gpu"

# There are always two emulated devices.
needs_two = pytest.mark.skipif(_ON_GPU and tracer.cuda.device_count() < 2, reason="needs two GPUs")


def only_emulated(reason):
    return pytest.mark.skipif(_ON_GPU, reason=reason)
