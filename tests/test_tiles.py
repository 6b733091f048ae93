"""Transposes: kernels whose inner loop reads across rows compute a cache line of the result at a time."""

import numpy as np
import pytest

import tracer
from tracer.codegen.cpu import source
from tracer.codegen.fusion import lower


def swapped(x):
    return x.mT.contiguous()


def rotated(x):
    return x.permute(2, 0, 1).contiguous()


def added(x):
    return x.mT * 2 + x


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.float64])
@pytest.mark.parametrize(
    ("function", "shape", "tiled"),
    [
        (swapped, (1024, 1024), True),
        (swapped, (500, 603), False),
        (swapped, (603, 515), True),
        (swapped, (100, 256), True),
        (swapped, (100, 250), False),
        (swapped, (3, 600, 70), True),
        (rotated, (30, 600, 5), False),
        (added, (520, 520), True),
        (added, (9, 9), False),
    ],
)
def test_tiles(function, shape, tiled, dtype):
    x = tracer.randn(*shape, dtype=dtype)
    traced = tracer.trace(function)
    for _ in range(3):
        np.testing.assert_allclose(traced(x).numpy(), function(x).numpy(), rtol=1e-6)
    (op,) = traced.fused_graphs()[0].ops
    assert ("in range(b" in source(lower(op.attrs["body"]))) == tiled
