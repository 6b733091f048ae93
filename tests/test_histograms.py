"""Histograms and counts, which are computed by kernels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.floats(-4, 4, width=32), max_size=40),
    st.integers(1, 12),
    st.one_of(st.none(), st.tuples(st.floats(-5, 0, width=16), st.floats(0.5, 5, width=16))),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
def test_counts_and_sums(values, bins, limits, dtype, weighted):
    x = np.array(values, dtype)
    weight = np.linspace(1, 2, len(x), dtype=dtype) if weighted else None
    given = {} if weight is None else {"weight": tracer.tensor(weight)}
    found = tracer.histogram(tracer.tensor(x), bins, range=limits, **given)
    edges = found.bin_edges.numpy()
    expected = np.histogram(x, edges, weights=weight)[0]
    np.testing.assert_allclose(found.hist.numpy(), expected, rtol=1e-5)
    assert found.hist.dtype is found.bin_edges.dtype and found.hist.numpy().dtype == dtype
    traced = tracer.trace(lambda x: tracer.histogram(x, bins, range=limits, **given).hist)
    for _ in range(3):
        np.testing.assert_array_equal(traced(tracer.tensor(x)).numpy(), found.hist.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8"])
def test_equal_intervals(dtype):
    x = tracer.tensor([0, 1, 1, 2, 3, 3, 3, 5]).to(getattr(tracer, dtype))
    counts = tracer.histc(x, 5, 0, 5)
    assert counts.dtype is x.dtype and counts.tolist() == [1, 2, 1, 3, 1]
    assert tracer.histc(x, 2, 1, 2).tolist() == [2, 1] and tracer.histc(x, 3).tolist() == [3, 4, 1]
    assert tracer.histc(x[:0], 2).tolist() == [0, 0] and tracer.histc(x[1:3], 3).tolist() == [0, 2, 0]


def test_not_a_number_is_nowhere():
    x = tracer.tensor([float("nan"), 0.5, float("inf"), -float("inf")])
    assert tracer.histc(x, 2, 0, 1).tolist() == [0, 1] and tracer.histogram(x, 2, range=(0.0, 1.0)).hist.tolist() == [0, 1]
    with pytest.raises(RuntimeError, match=r"tracer.histc: range of \[nan, nan\] is not finite"):
        tracer.histc(x, 2)


@pytest.mark.parametrize(("dtype", "high"), [("float32", 1e37), ("float32", 2e38), ("float64", 1e307)])
def test_large_ranges(dtype, high):
    """The range times the number of bins is too large for the dtype."""
    x = tracer.linspace(0, high, 11, dtype=getattr(tracer, dtype))
    expected = [*range(0, 100, 10), 99]
    assert tracer.histogram(x, 100).hist.nonzero().flatten().tolist() == expected
    near = tracer.histc(x, 100).nonzero().flatten().tolist()  # by arithmetic alone: at an edge it may be the bin beside
    assert len(near) == 11 and all(abs(a - b) <= 1 for a, b in zip(near, expected, strict=True))


def test_large_counts_are_exact():
    """More than a float32 counts in steps of one."""
    x = tracer.zeros((1 << 24) + 3)
    assert tracer.histogram(x, 1).hist.tolist() == [(1 << 24) + 4] and tracer.bincount(x.to(tracer.uint8)).tolist() == [
        (1 << 24) + 3
    ]


def test_weights_of_integers():
    where = tracer.tensor([2, 0, 2, 5], dtype=tracer.int32)
    weights = tracer.tensor([0.5, 1.0, 2.0, 4.0])
    f = tracer.trace(lambda w: tracer.bincount(where, w, minlength=8))
    for _ in range(3):
        assert f(weights).tolist() == [1, 0, 2.5, 0, 0, 4, 0, 0]
    assert tracer.bincount(where).tolist() == [1, 0, 2, 0, 0, 1]
