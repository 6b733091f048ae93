"""Values at the edges of functions' domains, recorded from PyTorch 2.13."""

import math
import warnings

import numpy as np
import pytest

import tracer
from tracer import tensor
from tracer.nn import functional as F

INF, NAN = math.inf, math.nan


def row(*numbers, **kwargs):
    return tensor(numbers, **kwargs).reshape(1, 1, -1)


@pytest.mark.parametrize(
    ("x", "options", "want"),
    [
        # An axis that keeps its extent is copied, whatever the scale; of the modes nearest only in images.
        (tracer.arange(4.0).reshape(1, 1, 2, 2), {"scale_factor": 1.4}, [[0, 1], [2, 3]]),
        (tracer.arange(4.0).reshape(1, 1, 2, 2), {"scale_factor": (1.4, 2.2)}, [[0, 0, 1, 1], [2, 2, 3, 3]]),
        (row(0.0, 1.0), {"scale_factor": 1.4}, [0, 0]),
        (row(0.0, 1.0, 2.0), {"scale_factor": 2.2}, [0, 0, 0, 1, 1, 2]),
        (row(0.0, 1.0, 2.0), {"scale_factor": 1.3, "mode": "linear"}, [0, 1, 2]),
        (row(0.0, 1.0, 2.0), {"scale_factor": 1.3, "mode": "nearest-exact"}, [0, 1, 1]),
    ],
)
def test_interpolate_by_scales_that_round_down(x, options, want):
    assert F.interpolate(x, **options)[0, 0].tolist() == want


def test_lerp_ends_exactly_and_keeps_infinities():
    assert tracer.lerp(tensor(-INF), tensor(0.0), 0.5).item() == -INF
    assert tracer.lerp(tensor([1e8, -INF]), tensor([1.0, 0.0]), tensor([1.0, 0.5])).tolist() == [1.0, -INF]
    assert tensor([-INF, 0.0]).quantile(0.75).item() == -INF
    assert tensor([1.0, 2.0, 4.0]).quantile(0.75).item() == 3.0


def test_each_nan_is_a_different_element():
    x = tensor([NAN, NAN, 1.0])
    unique = tracer.trace(lambda x: x.unique(return_counts=True))
    for _ in range(3):
        values, counts = unique(x)
        assert values.isnan().tolist() == [False, True, True] and counts.tolist() == [1, 1, 1]
    assert len(x.unique()) == 3


@pytest.mark.parametrize("dtype", [tracer.float16, tracer.bfloat16])
def test_remainders_by_numbers_round_these_to_the_format(dtype):
    x = tensor([1.4, 0.7, 2.1]).to(dtype)
    rounded = tensor(0.7).to(dtype)
    remainder = tracer.trace(lambda x: x % 0.7)
    for got in (x % 0.7, remainder(x), remainder(x), tracer.fmod(x, 0.7), tracer.remainder(x, 0.7)):
        assert got.tolist() == (x % rounded).tolist()
    assert (x % 0.7)[1].item() == 0.0


@pytest.mark.parametrize(("dtype", "number"), [(tracer.float16, 1e6), (tracer.bfloat16, 1e39)])
def test_numbers_beyond_16_bit_formats(dtype, number):
    """Stored they are infinities; ``fill_`` and its relatives refuse them."""
    x = tracer.zeros(2, dtype=dtype)
    x[0] = number
    assert x.tolist() == [INF, 0.0]
    for made in (tracer.full((1,), -number, dtype=dtype), x.new_full((1,), -number), tracer.full_like(x, -number)):
        assert made[0].item() == -INF
    for refuse in (lambda: x.fill_(number), lambda: x.masked_fill(x == 0, number)):
        with pytest.raises(RuntimeError, match="without overflow"):
            refuse()


def test_inverse_functions_at_their_ends():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = tensor([-1.0, 1.0, -0.0, 0.0, 1.5, NAN], dtype=tracer.float64)
        inverse = x.erfinv().numpy()
    assert inverse[:4].tolist() == [-INF, INF, -0.0, 0.0] and np.signbit(inverse[2]) and np.isnan(inverse[4:]).all()
    assert tracer.polygamma(1, tensor([0.0, INF])).tolist() == [INF, 0.0]
    assert tracer.polygamma(1, tensor([0.5, 1.0])).tolist() == pytest.approx([math.pi**2 / 2, math.pi**2 / 6])


@pytest.mark.parametrize("function", [tracer.any, tracer.all])
def test_a_test_over_no_axes_is_a_new_tensor(function):
    x = tensor([True, False])
    y = function(x, dim=())
    y[0] = False
    assert x.tolist() == [True, False] and y.tolist() == [False, False]
