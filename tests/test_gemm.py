"""The GEMM for compiled code: any strides and extents, compared with NumPy in double precision."""

import ctypes
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.ir.types import bfloat16, float16, float32, float64
from tracer.runtime.support.gemm import gemm, tile

_WORD = ctypes.c_int64
_DTYPES = {t.numpy: t for t in (float16, bfloat16, float32, float64)}
HALVES = [float16.numpy, bfloat16.numpy]
pytestmark = pytest.mark.usefixtures("each_cpu")


def product(a, b, out=None):
    (m, k), n, size = a.shape, b.shape[1], a.itemsize
    c = np.full((m, n), np.nan, np.float32 if size == 2 else a.dtype) if out is None else out
    left, right = ([x.ctypes.data, *(s // size for s in x.strides)] for x in (a, b))
    function = ctypes.CFUNCTYPE(None, *[_WORD] * 12)(gemm(_DTYPES[a.dtype]))
    function(m, n, k, *left, *right, c.ctypes.data, *(s // c.itemsize for s in c.strides))
    return c


def drawn(rng, rows, columns, dtype, layout):
    """A matrix stored by rows, by columns, or with gaps in both directions."""
    if layout == "rows":
        return rng.standard_normal((rows, columns)).astype(dtype)
    if layout == "columns":
        return rng.standard_normal((columns, rows)).astype(dtype).T
    return rng.standard_normal((2 * rows, 3 * columns)).astype(dtype)[::2, ::3]


def check(m, n, k, dtype="f", layouts=("rows", "rows"), seed=0):
    rng = np.random.default_rng(seed)
    a, b = drawn(rng, m, k, dtype, layouts[0]), drawn(rng, k, n, dtype, layouts[1])
    exact = a.astype("d") @ b.astype("d")
    scale = np.abs(a.astype("d")) @ np.abs(b.astype("d"))
    # The bound for sums of k products in any order (Higham, Accuracy and Stability of Numerical Algorithms, 3.5).
    found = product(a, b)
    assert (np.abs(found - exact) <= (k + 1) * np.finfo(found.dtype).eps * scale).all()


LAYOUTS = ["rows", "columns", "gaps"]


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(*[st.integers(0, 70)] * 3),
    st.sampled_from(["f", "d", *HALVES]),
    st.sampled_from(LAYOUTS),
    st.sampled_from(LAYOUTS),
    st.integers(),
)
def test_any_product(extents, dtype, left, right, seed):
    check(*extents, dtype, (left, right), seed % 2**32)


@pytest.mark.parametrize("layouts", [(a, b) for a in LAYOUTS for b in LAYOUTS])
@pytest.mark.parametrize("dtype", ["f", "d", *HALVES], ids=str)
def test_extents_beyond_every_block(dtype, layouts):
    check(701, 67, 530, dtype, layouts)


@pytest.mark.parametrize("dtype", ["f", "d", *HALVES], ids=str)
def test_extents_around_a_tile(dtype):
    t = tile(_DTYPES[np.dtype(dtype)])
    for rows in (t.rows - 1, t.rows, t.rows + 1, 3 * t.rows):
        for columns in (t.columns - 1, t.columns, t.columns + 1):
            check(rows, columns, 257, dtype)


def test_an_empty_sum_is_zero():
    assert (product(np.ones((3, 0), "f"), np.ones((0, 5), "f")) == 0).all()


@pytest.mark.parametrize("dtype", ["f", *HALVES], ids=str)
@pytest.mark.parametrize("inner", [19, 20])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_outside_the_matrices_is_neither_read_nor_written(dtype, inner, turned):
    """The operands are surrounded by NaNs, the result by a marker."""
    left, right = np.full((40, 80), np.nan, dtype), np.full((80, 40) if turned else (40, 80), np.nan, dtype)
    a, b = left[:33, :inner], right.T[:inner, :70] if turned else right[:inner, :70]
    a[...], b[...] = 1, 1
    out = np.full((40, 80), 7, "f")
    product(a, b, out[:33, :70])
    assert (out[:33, :70] == inner).all()
    assert (out[33:] == 7).all()
    assert (out[:, 70:] == 7).all()


def test_a_result_stored_by_columns():
    rng = np.random.default_rng(3)
    a, b = drawn(rng, 50, 270, "d", "rows"), drawn(rng, 270, 33, "d", "columns")
    np.testing.assert_array_equal(product(a, b, np.empty((33, 50)).T), product(a, b))


def test_not_a_number_and_infinity_stay_in_their_rows_and_columns():
    a, b = np.ones((20, 40), "f"), np.ones((40, 50), "f")
    a[3, 5], b[7, 11] = np.nan, np.inf
    c = product(a, b)
    assert np.isnan(c[3]).all()
    assert np.isinf(np.delete(c[:, 11], 3)).all()
    assert np.isfinite(np.delete(np.delete(c, 3, 0), 11, 1)).all()


def test_parts_have_the_bits_of_the_whole():
    """Dividing the rows and columns of a result among threads does not affect its elements."""
    rng = np.random.default_rng(1)
    a, b = drawn(rng, 200, 300, "f", "rows"), drawn(rng, 300, 150, "f", "columns")
    whole = product(a, b)
    for cut in (1, 14, 64, 90, 149):
        np.testing.assert_array_equal(np.hstack([product(a, b[:, :cut]), product(a, b[:, cut:])]), whole)
        np.testing.assert_array_equal(np.vstack([product(a[:cut], b), product(a[cut:], b)]), whole)


def test_long_products_of_halves_are_as_accurate_as_those_of_float32():
    for dtype in HALVES:
        a, b = np.full((20, 100_001), 1, dtype), np.full((100_001, 40), 0.1, dtype)
        exact = 100_001 * float(b[0, 0])
        assert np.abs(product(a, b) / exact - 1).max() < 1e-6


def test_many_threads_at_once():
    rng = np.random.default_rng(2)
    a, b = drawn(rng, 90, 300, "d", "rows"), drawn(rng, 300, 80, "d", "rows")
    expected, wrong = product(a, b), []

    def work():
        for _ in range(50):
            if not np.array_equal(product(a, b), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
